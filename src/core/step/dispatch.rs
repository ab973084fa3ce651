//! What may start: gates and verifiers of stages under way first, then pending stages in their order.
//!
//! Every dispatch passes the same [`door`](super::door).

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};

use super::afford;
use super::door::{StageCap, admit, fleet_refuses, flight, no_place, paused, stage_admits};
use super::queue::{Passing, hold_in, order, put_off, take_foundations};
use super::turn::{Turn, keep};
use crate::core::budget::{Pause, Start};
use crate::core::dependencies::{self, Web};
use crate::core::fallback::{self, Fallback};
use crate::core::fleet::agents;
use crate::core::honesty::FrozenFile;
use crate::core::ids::{CommitId, Role, StageId};
use crate::core::observation::{Brief, Placed};
use crate::core::state::{
    Awaits, Candidate, EndStatus, Gating, Life, NextRun, Pending, Reason, Reservation, Resume, Stage, Verifying, Work,
    Working,
};
use crate::core::wait::MOST_PASSES;

/// Why a stage that could go on does not, right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The repository is halted.
    Halted,
    /// It was put off.
    NotBefore(DateTime<Utc>),
    /// Its card says not to begin it before.
    Scheduled(DateTime<Utc>),
    /// A stage that it depends on has not landed.
    Dependency(StageId, String),
    /// As many stages are in progress as may be.
    Parallel(usize),
    /// A stage in progress claims one of its paths.
    Claim(StageId, String),
    /// A stage that was passed over often enough waits for one of its paths, and goes first.
    Reserved(StageId, String),
    /// It depends on itself, by a way round.
    Circle(String),
    /// A stage that it depends on has landed as a commit that is not in its base.
    Elsewhere(StageId, CommitId, String),
    /// An operator holds it; why, where that was said.
    Held(String),
    /// As many runs of its family are in flight as may be.
    Family(String, usize),
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
    /// A stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::NotBefore(_) => "put-off",
            Self::Scheduled(_) => "not-before",
            Self::Dependency(..) => "dependency",
            Self::Parallel(_) => "parallel",
            Self::Claim(..) => "claim",
            Self::Reserved(..) => "reserved",
            Self::Circle(_) => "circle",
            Self::Elsewhere(..) => "not-in-base",
            Self::Held(_) => "held",
            Self::Family(..) => "family",
            Self::Paused(..) => "paused",
            Self::Unaffordable(_) => "unaffordable",
            Self::Deferred(..) => "deferred",
            Self::Curfew(_) => "curfew",
        }
    }

    /// When it ends by itself at the latest, where that is a matter of time alone.
    pub fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Halted
            | Self::Dependency(..)
            | Self::Parallel(_)
            | Self::Claim(..)
            | Self::Reserved(..)
            | Self::Circle(_)
            | Self::Elsewhere(..)
            | Self::Held(_)
            | Self::Family(..)
            | Self::Unaffordable(_) => None,
            Self::NotBefore(until)
            | Self::Scheduled(until)
            | Self::Paused(_, until)
            | Self::Deferred(_, _, until)
            | Self::Curfew(until) => Some(*until),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted => out.write_str("the repository is halted"),
            Self::NotBefore(at) => write!(out, "put off until {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
            Self::Scheduled(at) => write!(out, "not before {}, by its card", at.format("%Y-%m-%d %H:%M:%S UTC")),
            Self::Dependency(stage, word) => write!(out, "waits for {stage}, which is {word}"),
            Self::Parallel(most) => write!(out, "waits for its turn ({most} at once)"),
            Self::Claim(stage, path) => write!(out, "waits for {stage}, which claims {path}"),
            Self::Reserved(stage, path) => {
                write!(out, "lets {stage} go first, which claims {path} and was passed over {MOST_PASSES} times")
            }
            Self::Circle(path) => write!(
                out,
                "stands in a circle, which nothing gets out of by itself: {path}; take one of them out of its card, \
                 `autometta skip` it and `autometta requeue` it"
            ),
            Self::Elsewhere(stage, commit, branch) => {
                let commit = commit.as_str().get(..7).unwrap_or_default();
                write!(
                    out,
                    "waits for {stage}: its commit {commit} is not in {branch} yet; it goes on once somebody merges it"
                )
            }
            Self::Held(why) if why.is_empty() => out.write_str("held by an operator"),
            Self::Held(why) => write!(out, "held by an operator: {why}"),
            Self::Family(family, most) => write!(out, "waits for its turn with {family} ({most} at once)"),
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

/// Starts what may start; at most one dispatch a stage.
pub(super) fn dispatch(turn: &mut Turn, stages: &mut [Stage]) {
    turn.beyond = Reservation::beyond(stages);
    turn.agents = agents(stages);
    turn.count_families(stages);
    take_foundations(turn, stages);
    for stage in stages.iter_mut() {
        match &stage.life {
            Life::Gating(gating) if gating.flight.is_none() => start_gate(turn, stage),
            Life::Verifying(_) => start_seats(turn, stage),
            _ => {}
        }
    }
    let web = Web::of(stages);
    let mut passing = Passing::default();
    for index in order(stages) {
        if let Some(held) = hold_in(&web, stages, &stages[index], &turn.budget, turn.policy, turn.now) {
            if matches!(held, Hold::Halted) {
                break;
            }
            continue;
        }
        let stage = &stages[index];
        let tip = turn.seen.tips.get(&stage.base_branch).and_then(Option::as_ref);
        // Where the base is gone, `start_worker` says so.
        if tip.is_some() && !dependencies::stands_on(stages, stage, tip) {
            continue;
        }
        let was_fresh = dependencies::is_fresh(stage);
        start_worker(turn, &mut stages[index]);
        if !stages[index].life.is_in_progress() {
            passing.unready.insert(index);
        } else if was_fresh {
            passing.started.push(index);
        }
        if waits_for_its_family(turn, &stages[index]) {
            passing.crowded.insert(index);
        }
    }
    passing.count(turn, &web, stages);
    afford::halt_where_nothing_else_goes(turn, &web, stages);
}

/// What the stage asks for, with those at work who stand on its rung now: it may have climbed in this very step.
fn brief(turn: &Turn, stage: &Stage) -> Option<Result<Brief, String>> {
    let brief = turn.seen.briefs.get(&stage.id)?;
    Some(brief.clone().and_then(|brief| brief.staffed_for(stage)))
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
        // What does not fit beside its family's other runs is asked once one of them has ended.
        let asked_of =
            asked.iter().filter(|(_, known, _): &&(usize, Placed, Reservation)| known.family == placed.family);
        if turn.is_full(&placed.family, asked_of.count()) {
            continue;
        }
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

/// Whether a pending stage's own worker is of a family with as many runs in flight as it may have.
fn waits_for_its_family(turn: &Turn, stage: &Stage) -> bool {
    if turn.policy.family_parallel.is_empty() || !matches!(stage.life, Life::Pending(_)) {
        return false;
    }
    let own = turn.seen.briefs.get(&stage.id).cloned();
    let own = own.and_then(|brief| brief.and_then(|brief| fallback::own(*brief, stage)).ok());
    own.is_some_and(|own| turn.is_full(&own.worker.family, 0))
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
    if turn.is_full(&brief.worker.family, 0) {
        return;
    }
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
    stage.leave_the_line();
    if matches!(pending.next, NextRun::Fresh) {
        stage.wait.set_every(brief.card.every);
        if let Some(repeat) = &mut stage.wait.repeat {
            repeat.began_at = Some(turn.now);
        }
    }
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
