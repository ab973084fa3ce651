//! What may start: gates and verifiers of stages under way first, then pending stages in their order.
//!
//! Every dispatch passes the same [`door`](super::door).

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::afford;
use super::door::{StageCap, admit, fleet_refuses, flight, no_place, paused, stage_admits};
use super::turn::{Turn, keep};
use crate::core::budget::{Budget, Pause, Start};
use crate::core::fallback::{self, Fallback};
use crate::core::fleet::agents;
use crate::core::honesty::FrozenFile;
use crate::core::ids::{Role, StageId};
use crate::core::observation::{Brief, Placed};
use crate::core::policy::Policy;
use crate::core::state::{
    Awaits, Candidate, EndStatus, Gating, Life, NextRun, Pending, Reason, Reservation, Resume, Stage, Verifying, Work,
    Working,
};

/// Why a stage that could go on does not, right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The repository is halted.
    Halted,
    /// It was put off.
    NotBefore(DateTime<Utc>),
    /// A stage that it depends on has not landed.
    Dependency(StageId, String),
    /// As many stages are in progress as may be.
    Parallel(usize),
    /// A stage in progress claims one of its paths.
    Claim(StageId, String),
    /// Its family waits for its provider.
    Paused(String, DateTime<Utc>),
    /// A whole attempt would not fit into what is left of a cap.
    Unaffordable(String),
    /// Its family is put off; why, and until when at most.
    Deferred(String, String, DateTime<Utc>),
    /// No worker starts at this time of the day.
    Curfew(DateTime<Utc>),
}

impl Hold {
    /// When it ends by itself at the latest, where that is a matter of time alone.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Halted | Self::Dependency(..) | Self::Parallel(_) | Self::Claim(..) | Self::Unaffordable(_) => None,
            Self::NotBefore(until) | Self::Paused(_, until) | Self::Deferred(_, _, until) | Self::Curfew(until) => {
                Some(*until)
            }
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted => out.write_str("the repository is halted"),
            Self::NotBefore(at) => write!(out, "put off until {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
            Self::Dependency(stage, word) => write!(out, "waits for {stage}, which is {word}"),
            Self::Parallel(most) => write!(out, "waits for its turn ({most} at once)"),
            Self::Claim(stage, path) => write!(out, "waits for {stage}, which claims {path}"),
            Self::Unaffordable(why) => write!(out, "not begun: {why}"),
            Self::Paused(family, until) => {
                write!(out, "{family} is paused until {}", until.format("%Y-%m-%d %H:%M:%S UTC"))
            }
            Self::Deferred(family, why, until) => {
                write!(out, "{family} is put off until {}: {why}", until.format("%Y-%m-%d %H:%M:%S UTC"))
            }
            Self::Curfew(until) => write!(out, "curfew until {}", until.format("%Y-%m-%d %H:%M:%S UTC")),
        }
    }
}

/// Why a pending stage is held back by what the state and the budget alone can tell; for `dispatch` and for `status`.
pub fn hold(state: &[Stage], stage: &Stage, budget: &Budget, policy: &Policy, now: DateTime<Utc>) -> Option<Hold> {
    let Life::Pending(pending) = &stage.life else { return None };
    if budget.halted {
        return Some(Hold::Halted);
    }
    if let Some(at) = pending.not_before
        && put_off(Some(at), now)
    {
        return Some(Hold::NotBefore(at));
    }
    for needed in &stage.depends_on {
        match state.iter().find(|other| other.id == *needed) {
            Some(other) if matches!(&other.life, Life::Over(over) if over.status == EndStatus::Completed) => {}
            Some(other) => return Some(Hold::Dependency(needed.clone(), other.life.word().to_owned())),
            None => return Some(Hold::Dependency(needed.clone(), "not queued".to_owned())),
        }
    }
    let mut busy = 0;
    for other in state.iter().filter(|other| other.id != stage.id && other.life.is_in_progress()) {
        if !matches!(&other.life, Life::Landing(landing) if landing.waiting.is_some()) {
            busy += 1;
        }
        if let Some(path) = common_claim(stage, other) {
            return Some(Hold::Claim(other.id.clone(), path));
        }
    }
    if let Some(until) = policy.local.curfew_end(now) {
        return Some(Hold::Curfew(until));
    }
    (busy >= policy.max_parallel).then_some(Hold::Parallel(policy.max_parallel))
}

/// A path that both stages claim: the same path, or a folder of one above a path of the other.
pub fn common_claim(one: &Stage, other: &Stage) -> Option<String> {
    let above = |folder: &str, path: &str| {
        let folder = folder.trim_end_matches('/');
        path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    one.path_claims
        .iter()
        .find(|mine| {
            let mine = mine.trim_end_matches('/');
            other.path_claims.iter().any(|theirs| above(theirs, mine) || above(mine, theirs.trim_end_matches('/')))
        })
        .cloned()
}

/// Starts what may start; at most one dispatch a stage.
pub(super) fn dispatch(turn: &mut Turn, stages: &mut [Stage]) {
    turn.beyond = Reservation::beyond(stages);
    turn.agents = agents(stages);
    for stage in stages.iter_mut() {
        match &stage.life {
            Life::Gating(gating) if gating.flight.is_none() => start_gate(turn, stage),
            Life::Verifying(_) => start_seats(turn, stage),
            _ => {}
        }
    }
    for index in order(stages) {
        if let Some(held) = hold(stages, &stages[index], &turn.budget, turn.policy, turn.now) {
            if matches!(held, Hold::Halted) {
                break;
            }
            continue;
        }
        start_worker(turn, &mut stages[index]);
    }
    afford::halt_where_nothing_else_goes(turn, stages);
}

/// Pending stages in the order in which they go: begun ones first, then by priority, then as queued.
pub fn order(stages: &[Stage]) -> Vec<usize> {
    let mut pending: Vec<usize> =
        (0..stages.len()).filter(|index| matches!(stages[*index].life, Life::Pending(_))).collect();
    let begun = |stage: &Stage| !matches!(&stage.life, Life::Pending(Pending { next: NextRun::Fresh, .. }));
    pending.sort_by_key(|index| (!begun(&stages[*index]), stages[*index].priority, *index));
    pending
}

/// What the stage asks for, with those at work who stand on its rung now: it may have climbed in this very step.
fn brief(turn: &Turn, stage: &Stage) -> Option<Result<Brief, String>> {
    let brief = turn.seen.briefs.get(&stage.id)?;
    Some(brief.clone().and_then(|brief| brief.staffed_for(stage)))
}

/// Nothing is put off for as long as a day, unless the clock was set back since.
fn put_off(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    at.is_some_and(|at| at > now && at.signed_duration_since(now) <= TimeDelta::days(1))
}

fn start_gate(turn: &mut Turn, stage: &mut Stage) {
    let Life::Gating(gating) = stage.life.clone() else { return };
    let brief = match brief(turn, stage) {
        None => return,
        Some(Ok(brief)) => brief,
        // What was approved keeps its approval, but only gates can vouch for a merged tree: the worker goes on from it.
        Some(Err(why)) => {
            let reason = Reason::new("card-unusable", why);
            return park(turn, stage, &gating.work, gating.candidate, Awaits::Nothing, reason);
        }
    };
    if put_off(gating.not_before, turn.now) {
        return;
    }
    let caps = brief.gate_caps.unwrap_or_default();
    if admit(turn, &Start::of(&[caps])).is_none() {
        return;
    }
    let flight = flight(turn, stage.next_run(Role::Gate, None), None, caps);
    turn.launch(&flight.run);
    turn.note(&stage.id, Some(&flight.run), "dispatched", format!("gate on tree {}", gating.candidate.tree));
    stage.life = Life::Gating(Gating { flight: Some(flight), not_before: None, ..gating });
}

/// The seats of a panel are one dispatch: all that are to be asked and that the fleet has places for, or none.
fn start_seats(turn: &mut Turn, stage: &mut Stage) {
    let Life::Verifying(verifying) = stage.life.clone() else { return };
    let mut brief = match brief(turn, stage) {
        None => return,
        Some(Ok(brief)) => brief,
        Some(Err(why)) => {
            return park_seats(turn, stage, verifying, Reason::new("card-unusable", why));
        }
    };
    let open: Vec<usize> = (0..verifying.seats.len())
        .filter(|index| {
            let seat = &verifying.seats[*index];
            seat.flight.is_none() && seat.vote.is_none() && !put_off(seat.not_before, turn.now)
        })
        .collect();
    let mut asked = Vec::new();
    let mut waits = Vec::new();
    let mut probed = BTreeSet::new();
    for index in open {
        let verifier = &verifying.seats[index].verifier;
        let at = brief.verifiers.iter().position(|placed| placed.identity == *verifier);
        let Some((at, caps)) = at.and_then(|at| Some((at, *brief.verifier_caps.get(at)?))) else {
            return;
        };
        let own = brief.verifiers[at].clone();
        if own.family == brief.worker.family && brief.card.same_family.is_none() {
            let reason = same_family_reason(&own);
            return park_seats(turn, stage, verifying, reason);
        }
        let (placed, caps) = match paused(turn, &own) {
            None => (own, caps),
            Some(hold) => match fallback::seat(&brief, at, |placed| paused(turn, placed).is_none()).cloned() {
                None => continue,
                Some(member) => {
                    waits.push(waits_for(&hold));
                    brief.verifiers[at] = member.placed.clone();
                    (member.placed, member.verifier_caps)
                }
            },
        };
        // One run alone tries whether a provider answers again.
        if turn.budget.wants_probe(&placed.family, turn.now) && !probed.insert(placed.family.clone()) {
            continue;
        }
        let caps = brief.reservation(&turn.budget, &placed.identity, Role::Verifier, caps);
        asked.push((index, placed, caps));
    }
    // A panel with more seats than the fleet has places is asked in parts, or it would wait for ever.
    if let Some(room) = turn.seen.fleet.as_ref().and_then(|day| day.room(turn.agents)) {
        asked.truncate(usize::try_from(room).unwrap_or(usize::MAX));
    }
    if asked.is_empty() {
        return;
    }
    let start = Start::of(&asked.iter().map(|(_, _, caps)| *caps).collect::<Vec<_>>());
    match stage_admits(turn, stage, &brief.card, &start.ask) {
        StageCap::Fits => {}
        StageCap::Later => return,
        StageCap::Over(reason) => return end_over_stage_cap(turn, stage, verifying, reason),
    }
    if fleet_refuses(turn, &start.ask).is_some() || admit(turn, &start).is_none() {
        return;
    }
    let before =
        Fallback { worker: stage.worker.clone(), verifiers: stage.verifiers.clone(), because: waits.join("; ") };
    let mut seats = verifying.seats.clone();
    for (index, placed, caps) in asked {
        let flight = flight(turn, stage.next_run(Role::Verifier, seats[index].number), Some(&placed), caps);
        turn.launch(&flight.run);
        let detail = format!("{} ({}) on tree {}", placed.identity.name(), placed.family, verifying.candidate.tree);
        turn.note(&stage.id, Some(&flight.run), "dispatched", detail);
        if let Some(known) = stage.verifiers.get_mut(index) {
            known.clone_from(&placed.identity);
        }
        seats[index].verifier = placed.identity;
        seats[index].flight = Some(flight);
        seats[index].not_before = None;
    }
    if before.verifiers != stage.verifiers {
        turn.note(&stage.id, None, "fallback", fallback::in_words(&before, stage));
        stage.fallback.get_or_insert(before);
    }
    stage.life = Life::Verifying(Verifying { seats, ..verifying });
}

/// What somebody waits for, in words.
fn waits_for(hold: &Pause) -> String {
    format!("{} waits until {}: {}", hold.who(), hold.until.format("%Y-%m-%d %H:%M:%S UTC"), hold.reason)
}

/// Starts a pending stage's worker.
fn start_worker(turn: &mut Turn, stage: &mut Stage) {
    let Life::Pending(pending) = stage.life.clone() else { return };
    let own = turn.seen.briefs.get(&stage.id).cloned();
    let own = match own.map(|brief| brief.and_then(|brief| fallback::own(*brief, stage))) {
        None => return,
        Some(Ok(brief)) => brief,
        Some(Err(why)) => return step_over(turn, stage, pending, Reason::new("card-unusable", why)),
    };
    if let Some(verifier) = own.same_family() {
        let reason = same_family_reason(verifier);
        return step_over(turn, stage, pending, reason);
    }
    let (brief, waits) = match paused(turn, &own.worker) {
        None => (own.clone(), None),
        Some(hold) => match fallback::relieved(&own, |placed| paused(turn, placed).is_none()) {
            None => return,
            Some(relieved) => (relieved, Some(waits_for(&hold))),
        },
    };
    let resume: Option<Resume> = match &pending.next {
        NextRun::Fresh => None,
        NextRun::Again { from } => from.clone(),
        NextRun::Continue(resume) => Some(resume.clone()),
    };
    let base_commit = match (&resume, turn.seen.tips.get(&stage.base_branch)) {
        (Some(resume), _) => resume.base_commit.clone(),
        (None, Some(Some(tip))) => tip.clone(),
        (None, Some(None)) => {
            let detail = format!("the base branch {} does not exist or has no commit", stage.base_branch);
            return step_over(turn, stage, pending, Reason::new("no-base", detail));
        }
        (None, None) => return,
    };
    let contract = match contract(turn, stage, &brief, resume.as_ref()) {
        None => return,
        Some(Ok(contract)) => contract,
        Some(Err(why)) => return step_over(turn, stage, pending, Reason::new("contract-missing", why)),
    };
    if afford::is_held(turn, stage, &brief) {
        return;
    }
    let caps = brief.reservation(&turn.budget, &brief.worker.identity, Role::Worker, brief.worker_caps);
    if let StageCap::Over(reason) = stage_admits(turn, stage, &brief.card, &caps) {
        return turn.end(stage, EndStatus::Stalled, reason, None, None);
    }
    if !turn.budget.halted
        && let Some(reason) = fleet_refuses(turn, &caps).or_else(|| no_place(turn))
    {
        return step_over(turn, stage, pending, reason);
    }
    if admit(turn, &Start::of(&[caps])).is_none() {
        return;
    }
    stage.contract = contract;
    if stage.attempt == 0 || !matches!(pending.next, NextRun::Again { .. }) {
        stage.attempt += 1;
    }
    if matches!(pending.next, NextRun::Fresh) || stage.card_sha256.is_none() {
        stage.card_sha256 = Some(brief.card_sha256.clone());
        stage.title.clone_from(&brief.card.title);
        stage.quorum = brief.card.verifiers.quorum();
        stage.unverified = brief.card.verifiers.rationale().map(str::to_owned);
    }
    let own = take_places(stage, &own, &brief, waits);
    let flight = flight(turn, stage.next_run(Role::Worker, None), Some(&brief.worker), caps);
    let run = flight.run.clone();
    turn.launch(&run);
    let detail =
        format!("{} ({}) on {} at {base_commit}", brief.worker.identity.name(), brief.worker.family, stage.base_branch);
    let work = Work { base_commit, started_at: turn.now };
    turn.moves(stage, Life::Working(Working { work, resume, flight }), Some(&run), "dispatched", detail);
    if let Some(own) = own {
        turn.note(&stage.id, Some(&run), "fallback", fallback::in_words(&own, stage));
    }
}

/// Puts those at work whom the brief names, and remembers whose places they took where that is so.
fn take_places(stage: &mut Stage, own: &Brief, now: &Brief, waits: Option<String>) -> Option<Fallback> {
    let seats = |brief: &Brief| brief.verifiers.iter().map(|placed| placed.identity.clone()).collect();
    stage.worker = now.worker.identity.clone();
    stage.verifiers = seats(now);
    stage.fallback =
        waits.map(|because| Fallback { worker: own.worker.identity.clone(), verifiers: seats(own), because });
    stage.fallback.clone()
}

/// The contract tests that an attempt has to leave alone, as they are at its base. None where nobody has looked yet.
fn contract(
    turn: &Turn,
    stage: &Stage,
    brief: &Brief,
    resume: Option<&Resume>,
) -> Option<Result<Vec<FrozenFile>, String>> {
    if brief.card.contract_tests.is_empty() {
        return Some(Ok(Vec::new()));
    }
    if resume.is_some() {
        // It goes on from the base that they were frozen at.
        return Some(Ok(stage.contract.clone()));
    }
    turn.seen.contracts.get(&stage.id).cloned()
}

fn same_family_reason(verifier: &Placed) -> Reason {
    let detail = format!(
        "worker and verifier {} are both of family {}; name another verifier or a `Same family:` rationale",
        verifier.identity.name(),
        verifier.family
    );
    Reason::new("same-family", detail)
}

/// Ends a stage whose verifiers would pass its own cap, once none of its seats is in flight; the candidate is kept.
fn end_over_stage_cap(turn: &mut Turn, stage: &mut Stage, verifying: Verifying, reason: Reason) {
    if turn.budget.halted || verifying.seats.iter().any(|seat| seat.flight.is_some()) {
        return;
    }
    let run = verifying.candidate.run.clone();
    stage.keep_work(&verifying.candidate);
    let kept = keep(&verifying.work, verifying.candidate, Awaits::Nothing);
    turn.end(stage, EndStatus::Stalled, reason, Some(kept), Some(&run));
}

/// Hands a panel that cannot be asked to a person, once none of its seats is in flight.
fn park_seats(turn: &mut Turn, stage: &mut Stage, verifying: Verifying, reason: Reason) {
    if verifying.seats.iter().all(|seat| seat.flight.is_none()) {
        park(turn, stage, &verifying.work, verifying.candidate, Awaits::VerifierAnswer, reason);
    }
}

/// Ends a stage under way that the manifest or its card no longer lets go on; the work is kept, and an answer takes it
/// up again. Nothing in progress waits for a file to change: nobody would know.
fn park(turn: &mut Turn, stage: &mut Stage, work: &Work, candidate: Candidate, awaits: Awaits, reason: Reason) {
    let run = candidate.run.clone();
    stage.keep_work(&candidate);
    let kept = keep(work, candidate, awaits);
    turn.end(stage, EndStatus::Blocked, reason, Some(kept), Some(&run));
}

/// Leaves a stage where it is, with its reason shown once; what does not depend on it goes on.
fn step_over(turn: &mut Turn, stage: &mut Stage, pending: Pending, reason: Reason) {
    if pending.reason.as_ref() != Some(&reason) {
        turn.note(&stage.id, None, &reason.code, reason.detail.clone());
        stage.life = Life::Pending(Pending { reason: Some(reason), ..pending });
    }
}
