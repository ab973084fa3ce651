//! Plays one night: ticks when runs end, when the timer fires, and when something that was waited for has come.
//!
//! Ticks that could find nothing new are left out: called again with nothing new, the machine changes nothing.

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::budget::{Budget, Window};
use crate::core::outlook::fate::{Amounts, Fate, Left, Limit};
use crate::core::quantity::Seconds;
use crate::core::state::{EndStatus, Life, Stage, State};
use crate::core::step::{Hold, hold};
use crate::files::store::Loaded;

use super::world::{Ahead, Scene};
use crate::tick::budget::rolls_at;
use crate::tick::engine::turn;

/// The most ticks of a night.
const MOST_TICKS: usize = 20_000;
/// How long a waiter without a timer waits at most; see `tick::wake`.
const FURTHEST: TimeDelta = TimeDelta::hours(12);
/// How often a rolling window is looked at that has not moved on yet.
const QUARTER: TimeDelta = TimeDelta::minutes(15);

/// Plays the night of that number.
pub(super) fn play(scene: &Scene, number: u64) -> Fate {
    let mut world = Ahead::new(scene, number);
    let mut loaded = scene.loaded.clone();
    let mut fate = Fate::default();
    let mut last_move = scene.now;
    for _ in 0..MOST_TICKS {
        let before = loaded.budget.clock_ticks_used;
        let turned = match turn(&mut world, loaded, 0) {
            Ok(turned) => turned,
            Err(never) => match never {},
        };
        let moved = !turned.notes.is_empty();
        if moved {
            last_move = world.now;
        }
        count(&mut fate, scene, &turned.loaded, world.now);
        fate.spent.ticks += turned.loaded.budget.clock_ticks_used.saturating_sub(before).max(u64::from(moved));
        loaded = turned.loaded;
        match next(scene, &world, &loaded, moved) {
            None => {
                fate.quiet_at = Some(last_move);
                break;
            }
            Some(at) if at > scene.until => break,
            Some(at) => world.now = at,
        }
    }
    let now = world.now;
    fate.dispatched = world.dispatched;
    fate.ran = world.ran;
    let before = &scene.loaded.budget;
    let budget = &loaded.budget;
    fate.spent.tokens = budget.lifetime_tokens_spent - before.lifetime_tokens_spent;
    fate.spent.cost_usd = budget.lifetime_cost_usd - before.lifetime_cost_usd;
    for stage in &loaded.state.stages {
        let known = scene.loaded.state.stage(&stage.id).map_or(0, |before| before.history.len());
        fate.spent.seconds += stage.history.iter().skip(known).map(|past| past.seconds).sum::<Seconds>();
        if is_new(scene, stage) && !fate.landed.contains_key(&stage.id) {
            fate.left.insert(stage.id.clone(), left(scene, &loaded, stage, now));
        }
    }
    fate
}

/// Whether a stage was not over when the night began.
fn is_new(scene: &Scene, stage: &Stage) -> bool {
    scene.loaded.state.stage(&stage.id).is_some_and(|before| !matches!(before.life, Life::Over(_)))
}

/// Counts what a tick has come to.
fn count(fate: &mut Fate, scene: &Scene, loaded: &Loaded, now: DateTime<Utc>) {
    let Loaded { state, budget } = loaded;
    let mut met = |limit: Limit| {
        if !fate.limits.iter().any(|(known, _)| *known == limit) {
            fate.limits.push((limit, now));
        }
    };
    for halt in &budget.halt_reasons {
        met(Limit::Halt(halt.reason));
    }
    let queued = |stage: &&Stage| matches!(stage.life, Life::Pending(_));
    let goes_on = state.stages.iter().any(|stage| !matches!(stage.life, Life::Over(_)));
    for pause in budget.waits(now).iter().filter(|_| goes_on) {
        met(Limit::Provider(pause.family.clone()));
    }
    let busy = state.stages.iter().filter(|stage| stage.life.is_in_progress()).count();
    if busy < scene.policy.max_parallel && scene.policy.local.curfew_end(now).is_some() {
        let held = |stage: &Stage| hold(&state.stages, stage, budget, &scene.policy, now);
        if state.stages.iter().filter(queued).any(|stage| matches!(held(stage), Some(Hold::Curfew(_)))) {
            met(Limit::Curfew);
        }
    }
    let by_fleet = |stage: &Stage| match &stage.life {
        Life::Pending(pending) => pending.reason.as_ref().is_some_and(|reason| reason.code == "fleet-day"),
        _ => false,
    };
    if state.stages.iter().any(by_fleet) {
        met(Limit::FleetDay);
    }
    for stage in state.stages.iter().filter(|stage| is_new(scene, stage)) {
        if let Life::Over(over) = &stage.life
            && over.status == EndStatus::Completed
        {
            fate.landed.entry(stage.id.clone()).or_insert(over.at);
        }
    }
    fate.peak = fate.peak.or_more(Amounts::in_window(budget));
    fate.needed = fate.needed.or_more(Amounts::to_fit(budget, &state.stages));
}

/// How a stage stands at the end of the night that has not landed.
fn left(scene: &Scene, loaded: &Loaded, stage: &Stage, now: DateTime<Utc>) -> String {
    let Loaded { state, budget } = loaded;
    let stands = match &stage.life {
        Life::Over(over) => {
            return over.reason.as_ref().map_or_else(|| over.status.as_str().to_owned(), |reason| reason.code.clone());
        }
        Life::Working(_) => Left::UnderWay,
        Life::Landing(_) => Left::Landing,
        Life::Gating(gating) if gating.flight.is_some() => Left::UnderWay,
        Life::Verifying(verifying) if verifying.seats.iter().any(|seat| seat.flight.is_some()) => Left::UnderWay,
        Life::Gating(_) | Life::Verifying(_) if budget.halted => Left::Halted,
        Life::Gating(_) | Life::Verifying(_) => Left::Provider,
        Life::Pending(pending) => match hold(&state.stages, stage, budget, &scene.policy, now) {
            Some(Hold::Halted) => Left::Halted,
            Some(Hold::NotBefore(_) | Hold::Paused(..) | Hold::Deferred(..)) => Left::Provider,
            Some(Hold::Dependency(..) | Hold::Circle(_) | Hold::Elsewhere(..)) => Left::Dependency,
            Some(Hold::Held(_)) => Left::Held,
            Some(Hold::Scheduled(_)) => Left::Scheduled,
            Some(Hold::Curfew(_)) => Left::Curfew,
            Some(Hold::Unaffordable(_)) => Left::Unaffordable,
            Some(Hold::Parallel(_) | Hold::Claim(..) | Hold::Reserved(..) | Hold::Family(..)) => Left::Queued,
            None => match &pending.reason {
                Some(reason) if reason.code != "limit" => return reason.code.clone(),
                _ if !budget.waits(now).is_empty() => Left::Provider,
                _ => Left::Queued,
            },
        },
    };
    stands.as_str().to_owned()
}

/// When the next tick comes that may find something; none where none will.
fn next(scene: &Scene, world: &Ahead<'_>, loaded: &Loaded, moved: bool) -> Option<DateTime<Utc>> {
    let pulse = world.next_end();
    let known = known_time(scene, &loaded.state, &loaded.budget, world.now);
    let by_time = match scene.timer {
        // What a tick has changed, the next one looks at.
        Some(every) => {
            known.into_iter().chain(moved.then_some(world.now)).min().map(|at| fire_after(world.now, at, every))
        }
        // Without a timer somebody waits only while nothing is in flight, and for nothing that is far away.
        None if pulse.is_some() || loaded.budget.halted => None,
        None => known.filter(|at| at.signed_duration_since(world.now) <= FURTHEST),
    };
    pulse.into_iter().chain(by_time).min()
}

/// The first fire of the timer at that time or after it, and after now.
fn fire_after(now: DateTime<Utc>, at: DateTime<Utc>, every: Seconds) -> DateTime<Utc> {
    let every = i64::try_from(every.0).unwrap_or(i64::MAX).max(1);
    let wanted = at.timestamp().max(now.timestamp().saturating_add(1));
    let fire = wanted.div_euclid(every).saturating_mul(every);
    let fire = if fire < wanted { fire.saturating_add(every) } else { fire };
    DateTime::from_timestamp(fire, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The next time at which something that is waited for has come.
fn known_time(scene: &Scene, state: &State, budget: &Budget, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let open = || state.stages.iter().filter(|stage| !matches!(stage.life, Life::Over(_)));
    open().next()?;
    let mut times: Vec<DateTime<Utc>> = Vec::new();
    if !budget.halted {
        times.extend(budget.waits(now).iter().map(|pause| pause.until));
        times.extend(scene.policy.local.curfew_end(now));
        for stage in open() {
            match &stage.life {
                Life::Pending(pending) => {
                    times.extend(pending.not_before);
                    if pending.reason.as_ref().is_some_and(|reason| reason.code == "fleet-day") {
                        times.extend(scene.fleet.iter().map(|day| day.ends).find(|ends| *ends > now));
                    }
                }
                Life::Gating(gating) => times.extend(gating.not_before),
                Life::Verifying(verifying) => times.extend(verifying.seats.iter().filter_map(|seat| seat.not_before)),
                Life::Working(_) | Life::Landing(_) | Life::Over(_) => {}
            }
        }
    }
    let is_capped = budget.halt_reasons.iter().any(|halt| halt.reason.is_spend_cap());
    if budget.window != Window::None && (is_capped || !budget.halted) && state.flights().next().is_none() {
        let rolls = rolls_at(budget, now).filter(|at| *at > now);
        times.extend(rolls.or_else(|| (budget.window.hours().is_some() && is_capped).then(|| now + QUARTER)));
    }
    times.into_iter().filter(|at| *at > now).min()
}
