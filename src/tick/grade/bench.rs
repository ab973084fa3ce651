//! Asking: launches the runs of judgements, so many at once, and collects what comes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::warn;

use crate::core::budget::Budget;
use crate::core::exit::{EndedBy, ExitRecord, ProcessEnd, Usage};
use crate::core::grade::{Heard, Opinion, Screening, locates};
use crate::core::ids::{Identity, Role, RunId};
use crate::core::observation::{Ended, Product, Returned, Sighting};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::{Flight, Gating, Life, Reservation, Seat, Stage, Verifying};
use crate::core::verdict::Verdict;

use super::{Ask, Docket, News, Terms};
use crate::tick::clock;
use crate::tick::error::TickError;
use crate::tick::observe::{Observer, Purpose};
use crate::tick::order::Job;
use crate::tick::perform::{clear, prepare_and_launch};

/// How often runs are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What a run came to.
enum Outcome {
    Ended(Box<Ended>),
    /// Nothing usable is known of it: it could not be started, or was lost. With what it used, as far as known.
    Gone(String, Option<Usage>),
}

/// A run in flight.
struct Going {
    docket: usize,
    stage: Stage,
    run: RunId,
}

impl Docket {
    /// The stage as it is while this run is in flight.
    fn with_run(&self, run: &RunId, seat: Option<&crate::core::observation::Placed>, caps: Reservation) -> Stage {
        let flight = Flight {
            run: run.clone(),
            identity: seat.map(|seat| seat.identity.clone()),
            family: seat.map(|seat| seat.family.clone()),
            model: seat.and_then(|seat| seat.model.clone()),
            reserved: caps,
            dispatched_at: clock::now(),
            stopping: None,
        };
        let (work, candidate) = (self.work.clone(), self.candidate.clone());
        let life = match seat {
            None => Life::Gating(Gating { work, candidate, approval: None, flight: Some(flight), not_before: None }),
            Some(placed) => Life::Verifying(Verifying {
                work,
                candidate,
                gate: self.gate.clone(),
                seats: vec![Seat {
                    number: run.seat,
                    verifier: placed.identity.clone(),
                    flight: Some(flight),
                    not_before: None,
                    vote: None,
                }],
            }),
        };
        Stage { life, ..self.stage.clone() }
    }

    /// Starts a run; what kept it from starting, in words.
    fn start(&self, stage: &Stage, run: &RunId) -> Result<Option<String>, TickError> {
        let Some(job) = Job::of(stage, run) else { return Ok(Some("it has no job".to_owned())) };
        let place = &self.place;
        let dir = place.site.layout.run(run);
        let lock = place.lock()?;
        let launched = prepare_and_launch(&place.site, &place.repo, stage, &job, &dir, clock::now());
        drop(lock);
        Ok(launched.err().map(|error| error.to_string()))
    }

    /// Looks at a run, as a tick would; none while it goes on.
    fn look(&self, going: &Going) -> Result<Option<Outcome>, TickError> {
        let place = &self.place;
        let landings = BTreeMap::new();
        let observer = Observer {
            site: &place.site,
            repo: &place.repo,
            objects: &place.repo,
            purpose: Purpose::Act,
            landings: &landings,
            sky: &crate::tick::weather::Sky::default(),
            now: clock::now(),
        };
        Ok(match observer.run(&going.stage, &going.run, &self.work)? {
            None | Some(Sighting::Running(_)) => None,
            Some(Sighting::Ended(ended)) => Some(Outcome::Ended(ended)),
            Some(Sighting::Lost(lost)) => Some(Outcome::Gone(lost.detail, Some(lost.usage))),
            Some(Sighting::NotStarted) => Some(Outcome::Gone("it never started".to_owned(), None)),
        })
    }

    /// Takes a run's checkout away again.
    fn tidy(&self, run: &RunId) {
        let cleared = self.place.lock().and_then(|_lock| clear(&self.place.site, &self.place.repo, run));
        if let Err(error) = cleared {
            warn!(%run, "its checkout is left: {error}");
        }
    }
}

/// Runs the gates of every candidate that has any, and says what came of them.
pub(super) fn screen(
    dockets: &[Docket],
    parallel: usize,
    told: &mut dyn FnMut(News<'_>),
) -> Result<Vec<Screening>, TickError> {
    let mut screened = vec![Screening::Passed; dockets.len()];
    let mut waiting: Vec<usize> =
        (0..dockets.len()).rev().filter(|at| dockets[*at].brief.gate_caps.is_some()).collect();
    let (total, mut done) = (waiting.len(), 0);
    let mut going: Vec<Going> = Vec::new();
    while !waiting.is_empty() || !going.is_empty() {
        while going.len() < parallel
            && let Some(at) = waiting.pop()
        {
            let docket = &dockets[at];
            let run = gate_run(docket);
            let stage = docket.with_run(&run, None, docket.brief.gate_caps.unwrap_or_default());
            if let Some(why) = docket.start(&stage, &run)? {
                warn!(%run, "{why}");
            }
            going.push(Going { docket: at, stage, run });
        }
        let before = going.len();
        let mut still = Vec::new();
        for one in going {
            let docket = &dockets[one.docket];
            let Some(outcome) = docket.look(&one)? else {
                still.push(one);
                continue;
            };
            docket.tidy(&one.run);
            screened[one.docket] = match outcome {
                Outcome::Ended(ended) => screening(&ended.record),
                Outcome::Gone(..) => Screening::GateBroken,
            };
            done += 1;
            told(News::Screened(done, total));
        }
        going = still;
        if going.len() == before {
            std::thread::sleep(LOOK);
        }
    }
    Ok(screened)
}

/// The run that a candidate's gates are.
pub(super) fn gate_run(docket: &Docket) -> RunId {
    let attempt = docket.candidate.run.attempt;
    RunId { stage: docket.stage.id.clone(), attempt, role: Role::Gate, seat: None, retry: 0 }
}

/// What a gate's record says of its candidate.
fn screening(record: &ExitRecord) -> Screening {
    let all = !record.gates.is_empty() && record.gates.iter().all(crate::core::exit::GateResult::passed);
    let stopped = matches!(record.ended_by, EndedBy::Cancelled | EndedBy::SpawnFailed);
    match (all && record.exit == ProcessEnd::Code(0), stopped) {
        (true, false) => Screening::Passed,
        (false, false) => Screening::GateFailed,
        (_, true) => Screening::GateBroken,
    }
}

/// Asks for every judgement, in order, and gives what was heard, in the same order.
///
/// A seat whose provider has refused is not asked again, and nothing is started that could pass the limit on cost:
/// what is left is `not asked`.
pub(super) fn hold(
    dockets: &[Docket],
    asks: &[Ask],
    terms: &Terms,
    told: &mut dyn FnMut(News<'_>),
) -> Result<Vec<Heard>, TickError> {
    let mut budget = Budget { cost_cap_usd: terms.max_cost, ..Budget::default() };
    let mut heard: BTreeMap<usize, Heard> = BTreeMap::new();
    let mut refusals: BTreeMap<Identity, String> = BTreeMap::new();
    let mut going: Vec<(usize, Going)> = Vec::new();
    let mut next = 0;
    while next < asks.len() || !going.is_empty() {
        while next < asks.len() && going.len() < terms.parallel {
            let ask = &asks[next];
            let why_not = match (refusals.get(&ask.seat.placed.identity), fits(&budget, ask)) {
                (Some(line), _) => Some(format!("its provider refused: {line}")),
                (None, true) => None,
                // What is in flight may come to less than its caps.
                (None, false) if !going.is_empty() => break,
                (None, false) => Some(format!(
                    "{} are spent and it may cost {}: more than --max-cost allows",
                    budget.cost_spent_usd, ask.seat.verifier_caps.cost_usd
                )),
            };
            let at = next;
            next += 1;
            if let Some(why) = why_not {
                let not_asked = blank(dockets, ask, Opinion::NotAsked, why);
                told(News::Heard(&not_asked, heard.len() + 1, asks.len()));
                heard.insert(at, not_asked);
                continue;
            }
            let docket = &dockets[ask.docket];
            let stage = docket.with_run(&ask.run, Some(&ask.seat.placed), ask.seat.verifier_caps);
            budget.reserve(&ask.seat.verifier_caps);
            if let Some(why) = docket.start(&stage, &ask.run)? {
                warn!(run = %ask.run, "{why}");
            }
            going.push((at, Going { docket: ask.docket, stage, run: ask.run.clone() }));
        }
        let before = going.len();
        let mut still = Vec::new();
        for (at, one) in going {
            let docket = &dockets[one.docket];
            let Some(outcome) = docket.look(&one)? else {
                still.push((at, one));
                continue;
            };
            docket.tidy(&one.run);
            let opinion = settle(dockets, &asks[at], outcome, &mut budget, &mut refusals);
            told(News::Heard(&opinion, heard.len() + 1, asks.len()));
            heard.insert(at, opinion);
        }
        going = still;
        if going.len() == before && !going.is_empty() {
            std::thread::sleep(LOOK);
        }
    }
    Ok(heard.into_values().collect())
}

fn fits(budget: &Budget, ask: &Ask) -> bool {
    let Some(cap) = budget.cost_cap_usd else { return true };
    ask.seat.verifier_caps.cost_usd == MicroUsd(0)
        || budget.cost_spent_usd + budget.cost_reserved_usd + ask.seat.verifier_caps.cost_usd <= cap
}

fn blank(dockets: &[Docket], ask: &Ask, said: Opinion, words: String) -> Heard {
    Heard {
        stage: dockets[ask.docket].stage.id.clone(),
        run: ask.run.clone(),
        seat: ask.seat.placed.identity.clone(),
        round: ask.round,
        said,
        words,
        located: None,
        criteria: Vec::new(),
        tokens: Tokens(0),
        cost_usd: MicroUsd(0),
        usage_unknown: false,
        seconds: Seconds(0),
    }
}

/// Turns what a run came to into an opinion, and its reservation into spend.
fn settle(
    dockets: &[Docket],
    ask: &Ask,
    outcome: Outcome,
    budget: &mut Budget,
    refusals: &mut BTreeMap<Identity, String>,
) -> Heard {
    let (usage, seconds, verdict) = match outcome {
        Outcome::Gone(why, usage) => {
            // What never started has used nothing.
            let nothing = Usage::none();
            (usage.unwrap_or(nothing), Seconds(0), Err(why))
        }
        Outcome::Ended(ended) => {
            let record = &ended.record;
            if let Some(refusal) = &record.provider.refusal {
                refusals.insert(ask.seat.placed.identity.clone(), refusal.line.clone());
            }
            (record.usage, record.elapsed(), verdict_of(&ended))
        }
    };
    let charge = budget.settle(&ask.seat.verifier_caps, &usage, seconds, clock::now());
    let at_fault = dockets[ask.docket].at_fault.as_deref();
    let opinion = match verdict {
        Err(why) => blank(dockets, ask, Opinion::NoVerdict, why),
        Ok(verdict) => {
            let said = Opinion::from(verdict.judged());
            let located = at_fault.filter(|_| said == Opinion::Fail).map(|path| locates(&verdict, path));
            let criteria = verdict.criteria.iter().map(|one| one.verdict).collect();
            Heard { located, criteria, ..blank(dockets, ask, said, verdict.headline) }
        }
    };
    Heard { tokens: charge.tokens, cost_usd: charge.cost_usd, usage_unknown: charge.unknown, seconds, ..opinion }
}

/// The verdict of a verifier that came to its end by itself, by the rules of a stage.
fn verdict_of(ended: &Ended) -> Result<Verdict, String> {
    let record = &ended.record;
    if let Some(refusal) = &record.provider.refusal {
        return Err(format!("its provider refused: {}", refusal.line));
    }
    let well = record.ended_by == EndedBy::Exit && record.exit == ProcessEnd::Code(0);
    match &ended.product {
        Product::Verifier { verdict: Returned::Usable(verdict) } if well => Ok(verdict.clone()),
        Product::Verifier { verdict: Returned::Unusable(why) } => Err(why.clone()),
        _ => Err(format!("it ended ({:?}, {:?}) without a verdict that counts", record.ended_by, record.exit)),
    }
}
