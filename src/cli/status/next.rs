//! What comes next for a stage, and when: one sentence, the time where it is known, and the command where a person is
//! waited for.

use std::collections::BTreeMap;
use std::fmt::Display;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::view::{Hand, Scene, Standing};
use crate::cli::terminal::look::{between, span};
use crate::cli::terminal::text::clean;
use crate::core::budget::Pause;
use crate::core::forecast;
use crate::core::ids::{Identity, StageId};
use crate::core::inbox::{Item, items};
use crate::core::quantity::Seconds;
use crate::core::state::{EndStatus, Gating, Life, Over, Pending, Reason, Said, Seat, Stage, Stopping, Verifying};
use crate::core::step::{Hold, crowd, hold, order};
use crate::core::train;

/// Where a stage stands on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Nothing moves it but a person.
    NeedsYou,
    /// It is under way.
    InFlight,
    /// It waits in the queue.
    Pending,
    /// It has ended, and nothing is asked of anybody.
    Finished,
}

/// What comes next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Next {
    /// In a sentence, safe to print.
    pub words: String,
    /// When, where that is known.
    pub at: Option<DateTime<Utc>>,
    /// The command that a person has to say.
    pub command: Option<String>,
}

impl Next {
    fn words(words: impl Into<String>) -> Self {
        Self { words: words.into(), at: None, command: None }
    }

    fn at(words: impl Into<String>, at: Option<DateTime<Utc>>) -> Self {
        Self { words: words.into(), at, command: None }
    }
}

/// The pending stages that nothing but their turn holds back, and when the next tick comes.
#[derive(Debug)]
pub struct Turns {
    /// How many go before each of them.
    before: BTreeMap<StageId, usize>,
    /// How many may start at the next tick.
    room: usize,
    /// What waits for a person.
    waiting: BTreeMap<StageId, Item>,
    /// When the next tick comes at the latest; none where no timer is installed.
    tick_at: Option<DateTime<Utc>>,
}

impl Turns {
    /// Looks at the queue.
    pub fn new(scene: &Scene<'_>) -> Self {
        let stages = &scene.loaded.state.stages;
        let items = items(&scene.loaded.state, &scene.loaded.budget).into_iter();
        let waiting: BTreeMap<StageId, Item> = items.filter_map(|item| Some((item.stage.clone()?, item))).collect();
        let held = |stage: &Stage| match hold(stages, stage, &scene.loaded.budget, scene.policy, scene.now) {
            Some(Hold::Parallel(_)) => short(scene, stage).is_some(),
            Some(_) => true,
            None => {
                provider_wait(scene, stage.own_worker()).is_some()
                    || waiting.contains_key(&stage.id)
                    || short(scene, stage).is_some()
                    || crowded(scene, stage).is_some()
            }
        };
        let free = order(stages).into_iter().map(|index| &stages[index]).filter(|stage| !held(stage));
        let before = free.enumerate().map(|(place, stage)| (stage.id.clone(), place)).collect();
        let is_busy = |stage: &&Stage| match &stage.life {
            Life::Landing(landing) => landing.waiting.is_none(),
            life => life.is_in_progress(),
        };
        let busy = stages.iter().filter(is_busy).count();
        let every = scene.timer.and_then(|timer| TimeDelta::try_seconds(i64::try_from(timer.every_seconds.0).ok()?));
        let last = scene.heartbeat.map(|beat| beat.at).or(scene.timer.map(|timer| timer.installed_at));
        let tick_at = last.zip(every).and_then(|(last, every)| last.checked_add_signed(every));
        Self { before, room: scene.policy.max_parallel.saturating_sub(busy), waiting, tick_at }
    }

    /// Something that the next tick does.
    fn next_tick(&self, what: &str, scene: &Scene<'_>) -> Next {
        let when = match self.tick_at {
            None => "at the next tick".to_owned(),
            Some(at) if at <= scene.now => "at the next tick, due now".to_owned(),
            Some(at) => format!("at the next tick, within {}", span(rounded_up(between(scene.now, at)))),
        };
        Next::at(format!("{what} {when}"), self.tick_at)
    }
}

/// Whole minutes, where it is more than one.
fn rounded_up(time: Seconds) -> Seconds {
    if time.0 > 60 { Seconds(time.0.div_ceil(60) * 60) } else { time }
}

/// What comes next for a stage, and where that puts it on the screen.
pub fn of(scene: &Scene<'_>, turns: &Turns, stage: &Stage, who: &[Hand]) -> (Group, Next) {
    if let Some(item) = turns.waiting.get(&stage.id) {
        return (Group::NeedsYou, person(item));
    }
    match &stage.life {
        Life::Pending(pending) => (Group::Pending, pending_next(scene, turns, stage, pending)),
        Life::Working(_) => (Group::InFlight, flight(scene, turns, stage, who, "then its gates")),
        Life::Gating(gating) => (Group::InFlight, gates(scene, turns, stage, gating, who)),
        Life::Verifying(verifying) => (Group::InFlight, seats(scene, turns, stage, verifying, who)),
        Life::Landing(_) => {
            let next = match train::ahead(&scene.loaded.state.stages, stage) {
                Some(ahead) => Next::at(format!("approved; lands after {ahead}"), None),
                None => turns.next_tick("approved; lands", scene),
            };
            (Group::InFlight, next)
        }
        Life::Over(over) => (Group::Finished, over_next(scene, stage, over)),
    }
}

/// What waits for a person, with the first command of its way out.
fn person(item: &Item) -> Next {
    let command = item.way_out.split('`').nth(1).map(str::to_owned);
    let why = because(&Reason::new(&item.code, item.detail.as_str()));
    Next { words: format!("{}; {}", why.trim_end_matches('.'), clean(&item.way_out)), at: None, command }
}

fn because(reason: &Reason) -> String {
    let detail = clean(&reason.detail);
    if detail.is_empty() { reason.code.clone() } else { format!("{}: {detail}", reason.code) }
}

/// What somebody waits for at their provider's, where their family or model is paused or put off.
fn provider_wait(scene: &Scene<'_>, who: &Identity) -> Option<Next> {
    let pause = (scene.pause)(who)?;
    Some(match scene.loaded.budget.deferred(&pause.family, scene.now) {
        Some(held) => put_off(scene, &pause.family, held.until, &held.reason),
        None => paused(scene, &pause),
    })
}

fn put_off(scene: &Scene<'_>, family: impl Display, until: DateTime<Utc>, why: &str) -> Next {
    let words = format!("{family} is put off until {}: {}", scene.look.until(until, scene.now), clean(why));
    Next::at(words, Some(until))
}

/// Why a whole attempt of a stage would not fit into what is left, where it would not.
fn short(scene: &Scene<'_>, stage: &Stage) -> Option<String> {
    let short = forecast::shortfall_of(&scene.loaded.budget, stage, scene.family);
    short.into_iter().next().map(|halt| halt.detail)
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to `map_or_else` as it is")]
fn not_begun(why: String) -> Next {
    Next::words(format!("not begun: {}", clean(&why)))
}

fn paused(scene: &Scene<'_>, pause: &Pause) -> Next {
    Next::at(format!("{} is paused until {}", pause.who(), scene.look.until(pause.until, scene.now)), Some(pause.until))
}

fn retries(scene: &Scene<'_>, at: DateTime<Utc>) -> Next {
    Next::at(format!("retries at {}", scene.look.until(at, scene.now)), Some(at))
}

fn halted() -> Next {
    Next::words("waits until the halt is lifted")
}

fn pending_next(scene: &Scene<'_>, turns: &Turns, stage: &Stage, pending: &Pending) -> Next {
    let next = match hold(&scene.loaded.state.stages, stage, &scene.loaded.budget, scene.policy, scene.now) {
        Some(Hold::Halted) => halted(),
        Some(Hold::NotBefore(at)) => retries(scene, at),
        Some(Hold::Scheduled(at)) => {
            Next::at(format!("not before {}, by its card", scene.look.until(at, scene.now)), Some(at))
        }
        Some(
            hold @ (Hold::Dependency(..)
            | Hold::Claim(..)
            | Hold::Reserved(..)
            | Hold::Circle(_)
            | Hold::Elsewhere(..)
            | Hold::Held(_)
            | Hold::Family(..)),
        ) => Next::words(clean(&hold.to_string())),
        Some(Hold::Paused(family, until)) => {
            Next::at(format!("{family} is paused until {}", scene.look.until(until, scene.now)), Some(until))
        }
        Some(Hold::Deferred(family, why, until)) => put_off(scene, family, until, &why),
        Some(Hold::Curfew(until)) => {
            Next::at(format!("curfew: no worker starts until {}", scene.look.until(until, scene.now)), Some(until))
        }
        Some(Hold::Parallel(_)) => short(scene, stage).map_or_else(|| in_line(turns, stage), not_begun),
        Some(Hold::Unaffordable(why)) => not_begun(why),
        None => match (provider_wait(scene, stage.own_worker()), short(scene, stage)) {
            (Some(wait), _) => wait,
            (None, Some(why)) => not_begun(why),
            (None, None) if crowded(scene, stage).is_some() => Next::words(crowded(scene, stage).unwrap_or_default()),
            (None, None) if turns.before.get(&stage.id).is_none_or(|before| *before < turns.room) => {
                turns.next_tick(&how_it_starts(stage), scene)
            }
            (None, None) => in_line(turns, stage),
        },
    };
    // A pause and a deferral are the reason themselves.
    let told = next.at.is_some() && pending.reason.as_ref().is_some_and(|reason| reason.code == "limit");
    let words = match &pending.reason {
        Some(reason) if !told => format!("{}, after {}", next.words, because(reason)),
        _ => next.words,
    };
    Next { words, ..next }
}

/// What keeps a pending stage from starting, as a code; none where it starts at the next tick.
pub fn hold_code(scene: &Scene<'_>, turns: &Turns, stage: &Stage) -> Option<&'static str> {
    let held = hold(&scene.loaded.state.stages, stage, &scene.loaded.budget, scene.policy, scene.now);
    let code = held.as_ref().map(Hold::code);
    let waits = || {
        if (scene.pause)(stage.own_worker()).is_some() {
            Some("paused")
        } else if short(scene, stage).is_some() {
            Some("unaffordable")
        } else if crowded(scene, stage).is_some() {
            Some("family")
        } else {
            turns.before.get(&stage.id).is_some_and(|before| *before >= turns.room).then_some("parallel")
        }
    };
    code.or_else(waits)
}

/// That the family of a stage's worker has as many runs in flight as it may, where that is so.
fn crowded(scene: &Scene<'_>, stage: &Stage) -> Option<String> {
    let family = (scene.family)(stage.own_worker())?;
    let most = crowd(&scene.loaded.state.stages, scene.policy, &family)?;
    Some(Hold::Family(family.to_string(), most).to_string())
}

/// How the next run of a pending stage begins.
fn how_it_starts(stage: &Stage) -> String {
    if stage.hands_over() {
        format!("goes to {}", clean(stage.worker.name()))
    } else if stage.attempt == 0 {
        "starts".to_owned()
    } else {
        "starts again".to_owned()
    }
}

fn in_line(turns: &Turns, stage: &Stage) -> Next {
    let before = turns.before.get(&stage.id).copied().unwrap_or(0);
    let ahead = (before + 1).saturating_sub(turns.room);
    Next::words(match ahead {
        0 | 1 => "waits for its turn, the next in line".to_owned(),
        2 => "waits for its turn, 1 goes before it".to_owned(),
        ahead => format!("waits for its turn, {} go before it", ahead - 1),
    })
}

/// What becomes of a stage whose runs are in flight.
fn flight(scene: &Scene<'_>, turns: &Turns, stage: &Stage, who: &[Hand], then: &str) -> Next {
    let stopping = stage.life.flights().into_iter().find_map(|flight| flight.stopping);
    let standing = |wanted: Standing| who.iter().any(|hand| hand.standing == wanted);
    match stopping {
        Some(Stopping::Cancelled) => return turns.next_tick("is being stopped, cancelled; ends", scene),
        Some(Stopping::Skipped) => return turns.next_tick("is being stopped, skipped; ends", scene),
        Some(Stopping::OverTime) => return turns.next_tick("is being stopped, out of time; ends", scene),
        None => {}
    }
    if standing(Standing::Lost) {
        turns.next_tick("its run is gone without a record; that is settled", scene)
    } else if standing(Standing::Ended) {
        turns.next_tick("its run has ended; goes on", scene)
    } else if standing(Standing::Ordered) {
        turns.next_tick("its run starts", scene)
    } else {
        let left = who.iter().filter_map(|hand| {
            let left = hand.allowed_seconds?.0.saturating_sub(hand.elapsed_seconds?.0);
            scene.now.checked_add_signed(TimeDelta::try_seconds(i64::try_from(left).ok()?)?)
        });
        let at = left.max();
        let latest = at.map_or_else(String::new, |at| format!(", at {} at the latest", scene.look.time(at, scene.now)));
        Next::at(format!("{then}{latest}"), at)
    }
}

fn gates(scene: &Scene<'_>, turns: &Turns, stage: &Stage, gating: &Gating, who: &[Hand]) -> Next {
    let then =
        if gating.approval.is_some() { "the merged tree once more, then it lands" } else { "then its verifiers" };
    match (&gating.flight, gating.not_before) {
        (Some(_), _) => flight(scene, turns, stage, who, then),
        (None, _) if scene.loaded.budget.halted => halted(),
        (None, Some(at)) if at > scene.now => retries(scene, at),
        (None, _) => turns.next_tick("gates start", scene),
    }
}

fn seats(scene: &Scene<'_>, turns: &Turns, stage: &Stage, verifying: &Verifying, who: &[Hand]) -> Next {
    let seats = &verifying.seats;
    let said =
        |word: Said| seats.iter().filter(|seat| seat.vote.as_ref().is_some_and(|vote| vote.said == word)).count();
    let votes = match (seats.len(), said(Said::Pass), said(Said::Fail)) {
        (1, ..) => String::new(),
        (all, pass, 0) => format!("{pass} of {all} PASS, {} needed; ", stage.quorum),
        (all, pass, fail) => format!("{pass} of {all} PASS, {fail} FAIL, {} needed; ", stage.quorum),
    };
    let next = if who.iter().any(|hand| hand.run.is_some()) {
        flight(scene, turns, stage, who, "then it lands")
    } else if scene.loaded.budget.halted {
        halted()
    } else {
        let open: Vec<&Seat> = seats.iter().filter(|seat| seat.vote.is_none()).collect();
        open.iter().map(|seat| seat_next(scene, turns, seat)).min_by_key(|next| next.at).unwrap_or_default()
    };
    Next { words: format!("{votes}{}", next.words), ..next }
}

fn seat_next(scene: &Scene<'_>, turns: &Turns, seat: &Seat) -> Next {
    if let Some(at) = seat.not_before.filter(|at| *at > scene.now) {
        return retries(scene, at);
    }
    provider_wait(scene, &seat.verifier).unwrap_or_else(|| turns.next_tick("verifiers start", scene))
}

fn over_next(scene: &Scene<'_>, stage: &Stage, over: &Over) -> Next {
    let why = over.reason.as_ref().map_or_else(String::new, because);
    if over.status != EndStatus::Completed {
        return Next::words(why);
    }
    let at = scene.look.time(over.at, scene.now);
    let commit = over.commit.as_ref().and_then(|commit| commit.as_str().get(..12));
    let landed = commit.map_or_else(|| "with nothing to land".to_owned(), |commit| format!("landed as {commit}"));
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    let again = stage.repeats_at().map(|at| format!("; again at {}", scene.look.time(at, scene.now)));
    Next::words(format!("{landed} at {at}{why}{}", again.unwrap_or_default()))
}
