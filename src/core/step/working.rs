//! A stage whose worker runs: what its end comes to.

use super::checks;
use super::refusal::{self, PutOff};
use super::supervise::{Look, end_stopped, look, settle_lost, settle_never_started, why_never_started};
use super::turn::{Turn, WorkFailure, keep};
use super::verifying;
use crate::core::budget::{Halt, HaltReason};
use crate::core::exit::{EndedBy, ExitRecord, ProcessEnd};
use crate::core::handoff::{Handoff, HandoffStatus};
use crate::core::ids::Role;
use crate::core::observation::{Captured, Ended, Product, Returned, WorkSighting};
use crate::core::outcome::{self, Course, Outcome};
use crate::core::state::{
    Awaits, Chore, EndStatus, Flight, Life, NextRun, Over, Pending, Reason, Resume, RunOutcome, Stage, Working,
};
use crate::core::words::list;

/// Moves a stage whose worker runs.
pub(super) fn advance(turn: &mut Turn, stage: &mut Stage) {
    let Life::Working(working) = &stage.life else { return };
    let working = working.clone();
    let mut flight = working.flight.clone();
    let look = look(turn, &stage.id, &mut flight);
    if let Life::Working(current) = &mut stage.life {
        current.flight = flight.clone();
    }
    match look {
        Look::Nothing => {}
        Look::NeverStarted => {
            settle_never_started(turn, stage, &flight);
            if let Some(why) = flight.stopping {
                return end_stopped(turn, stage, why, &flight.run);
            }
            let why = why_never_started(turn, &flight.run);
            again_or_stall(turn, stage, &working, None, "never-started", &why);
        }
        Look::Lost(lost) => {
            settle_lost(turn, stage, &flight, &lost);
            let captured = captured(lost.work.as_ref());
            halt_for_strays(turn, stage, captured);
            if let Some(why) = flight.stopping {
                keep_what_is_there(stage, &working, captured);
                return end_stopped(turn, stage, why, &flight.run);
            }
            if let Some(why) = withheld(lost.work.as_ref()) {
                return end_withheld(turn, stage, &flight, why);
            }
            again_or_stall(turn, stage, &working, captured, "lost", &lost.detail);
        }
        Look::Ended(ended) => end(turn, stage, &working, &flight, &ended),
    }
}

fn captured(work: Option<&WorkSighting>) -> Option<&Captured> {
    match work {
        Some(WorkSighting::Captured(captured)) => Some(captured),
        Some(WorkSighting::Gone | WorkSighting::Unreadable(_) | WorkSighting::Withheld(_)) | None => None,
    }
}

/// What a worker's end comes to: an operator's word first, then the course of its outcome.
fn end(turn: &mut Turn, stage: &mut Stage, working: &Working, flight: &Flight, ended: &Ended) {
    let record = &ended.record;
    let Product::Worker { handoff, work } = &ended.product else { return };
    let captured = captured(Some(work));
    halt_for_strays(turn, stage, captured);
    turn.weigh(flight, outcome::health(record));
    let settle = |turn: &mut Turn, stage: &mut Stage, outcome| {
        turn.settle(stage, flight, outcome, Some(record.ended_by), &record.usage, record.elapsed());
        if !matches!(work, WorkSighting::Unreadable(_) | WorkSighting::Withheld(_)) {
            stage.add_chore(Chore::Clear { run: flight.run.clone() });
        }
    };
    if let Some(why) = flight.stopping {
        settle(turn, stage, Outcome::Cancelled.recorded());
        keep_what_is_there(stage, working, captured);
        return end_stopped(turn, stage, why, &flight.run);
    }
    if let Some(why) = withheld(Some(work)) {
        let refusal = record.provider.refusal.as_ref();
        settle(turn, stage, if refusal.is_some() { RunOutcome::Refused } else { RunOutcome::Failed });
        if let Some(refusal) = refusal {
            // What the provider said holds for other stages, whatever becomes of this one.
            refusal::put_off(turn, stage, flight, refusal, record.provider.resets_at);
        }
        return end_withheld(turn, stage, flight, why);
    }
    let outcome = Outcome::of_worker(record, handoff);
    if let (Outcome::Done | Outcome::GaveUp | Outcome::Asked, Returned::Usable(handoff)) = (outcome, handoff) {
        return handed_in(turn, stage, working, flight, work, handoff, &settle);
    }
    settle(turn, stage, outcome.recorded());
    if let (Outcome::Refused(..), Some(refusal)) = (outcome, &record.provider.refusal) {
        keep_what_is_there(stage, working, captured);
        return refused(turn, stage, working, flight, record, refusal, captured);
    }
    let reason = why_no_handoff(record, outcome, handoff);
    match outcome.course() {
        Course::RetryFree => again_or_stall(turn, stage, working, captured, &reason.code, &reason.detail),
        _ => stall(turn, stage, working, flight, captured, reason),
    }
}

/// Why a worker's run ended without anything to judge.
fn why_no_handoff(record: &ExitRecord, outcome: Outcome, handoff: &Returned<Handoff>) -> Reason {
    match (outcome, over_cap(record), handoff) {
        (Outcome::StoppedFromOutside, ..) => Reason::new("stopped-from-outside", "its supervisor was told to end"),
        (Outcome::Crashed, ..) => Reason::new("agent-crashed", how_it_ended(record)),
        (_, Some(cap), _) => cap,
        (_, None, Returned::Unusable(why)) => {
            Reason::new("handoff-malformed", format!("{why} (kept in state/runs/{}/outbox)", record.run_id))
        }
        (_, None, Returned::Nothing | Returned::Usable(_)) => {
            let detail = format!(
                "{} and left no handoff in .autometta/outbox/handoff.json; its output is in state/runs/{}",
                how_it_ended(record),
                record.run_id
            );
            Reason::new("handoff-missing", detail)
        }
    }
}

/// How a process ended, as the start of a sentence.
pub(super) fn how_it_ended(record: &ExitRecord) -> String {
    match record.exit {
        ProcessEnd::Code(code) => format!("the agent exited {code}"),
        ProcessEnd::Signal(signal) => format!("the agent was killed by signal {signal}"),
        ProcessEnd::None => "the agent did not run".to_owned(),
    }
}

/// The run's own cap that ended it.
pub(super) fn over_cap(record: &ExitRecord) -> Option<Reason> {
    let (code, words) = match record.ended_by {
        EndedBy::Timeout => ("timed-out", "it reached its wall-clock cap"),
        EndedBy::TokenCap => ("token-cap", "it reached its own token cap"),
        EndedBy::CostCap => ("cost-cap", "it reached its own cost cap"),
        EndedBy::OutputCap => ("output-cap", "it printed more than its output cap, or the disk reached its floor"),
        EndedBy::Stalled => ("silent", "it was silent for longer than its card allows"),
        EndedBy::Exit | EndedBy::Refused | EndedBy::Cancelled | EndedBy::SpawnFailed => return None,
    };
    let seconds = record.elapsed();
    Some(Reason::new(code, format!("{words} after {seconds}; its output is in state/runs/{}", record.run_id)))
}

fn keep_what_is_there(stage: &mut Stage, working: &Working, captured: Option<&Captured>) {
    if let Some(captured) = captured {
        Turn::keep_capture(stage, captured, working.resume.as_ref());
    }
}

fn stall(
    turn: &mut Turn,
    stage: &mut Stage,
    working: &Working,
    flight: &Flight,
    captured: Option<&Captured>,
    reason: Reason,
) {
    keep_what_is_there(stage, working, captured);
    give_up(turn, stage, working, flight, captured, EndStatus::Stalled, reason);
}

/// The worker will not finish: it said so, or never said anything. Nothing judged its work, so there is no evidence, and
/// whoever takes over may hand in the same tree. Where nothing could be captured, nobody can take over.
fn give_up(
    turn: &mut Turn,
    stage: &mut Stage,
    working: &Working,
    flight: &Flight,
    captured: Option<&Captured>,
    status: EndStatus,
    reason: Reason,
) {
    let Some(captured) = captured else {
        return turn.end(stage, status, reason, None, Some(&flight.run));
    };
    let failure = WorkFailure {
        status,
        reason,
        work: working.work.clone(),
        candidate: captured.candidate.clone(),
        evidence: Vec::new(),
        run: flight.run.clone(),
    };
    turn.climb_or_end(stage, failure);
}

/// Tries the same attempt again, without a charge to it, while the policy allows it.
fn again_or_stall(
    turn: &mut Turn,
    stage: &mut Stage,
    working: &Working,
    captured: Option<&Captured>,
    code: &str,
    detail: &str,
) {
    keep_what_is_there(stage, working, captured);
    let run = working.flight.run.clone();
    if turn.may_retry(stage, Role::Worker, None) {
        let reason = Some(Reason::new(code, detail));
        let next = NextRun::Again { from: working.resume.clone() };
        let pending = Pending { not_before: None, reason, next };
        turn.moves(stage, Life::Pending(pending), Some(&run), code, detail);
    } else {
        let tries = stage.infrastructure_failures(Role::Worker, None);
        let reason = Reason::new(code, format!("{detail}; that was try {tries}, and the policy allows no more"));
        turn.end(stage, EndStatus::Stalled, reason, None, Some(&run));
    }
}

fn refused(
    turn: &mut Turn,
    stage: &mut Stage,
    working: &Working,
    flight: &Flight,
    record: &ExitRecord,
    refusal: &crate::core::exit::Refusal,
    captured: Option<&Captured>,
) {
    let put_off = refusal::put_off(turn, stage, flight, refusal, record.provider.resets_at);
    // What was done before the provider refused is taken up again: it was paid for.
    let from = captured.filter(|captured| !captured.changed.is_empty()).map(|captured| Resume {
        base_commit: working.work.base_commit.clone(),
        start: captured.candidate.commit.clone(),
        // Progress is measured from the tree that was judged: what the refused run had mended already is progress.
        tree: working.resume.as_ref().map_or(&captured.candidate.tree, |resume| &resume.tree).clone(),
        evidence: working.resume.as_ref().map(|resume| resume.evidence.clone()).unwrap_or_default(),
        because: working.resume.as_ref().and_then(|resume| resume.because.clone()),
        predecessor: working.resume.as_ref().and_then(|resume| resume.predecessor.clone()),
    });
    let from = from.or_else(|| working.resume.clone());
    match put_off {
        PutOff::Until { not_before, reason } => {
            let (code, detail) = (reason.code.clone(), reason.detail.clone());
            let pending = Pending { not_before, reason: Some(reason), next: NextRun::Again { from } };
            turn.moves(stage, Life::Pending(pending), Some(&flight.run), &code, detail);
        }
        PutOff::Never(status, reason) => turn.end(stage, status, reason, None, Some(&flight.run)),
    }
}

/// A usable handoff: the only completion signal that a worker has.
fn handed_in(
    turn: &mut Turn,
    stage: &mut Stage,
    working: &Working,
    flight: &Flight,
    work: &WorkSighting,
    handoff: &Handoff,
    settle: &dyn Fn(&mut Turn, &mut Stage, RunOutcome),
) {
    let publish = Chore::Publish { run: flight.run.clone() };
    match handoff.status {
        HandoffStatus::Fail => {
            settle(turn, stage, RunOutcome::Failed);
            stage.add_chore(publish);
            let captured = captured(Some(work));
            keep_what_is_there(stage, working, captured);
            let reason = Reason::new("worker-failed", handoff.notes.clone());
            give_up(turn, stage, working, flight, captured, EndStatus::Failed, reason);
        }
        HandoffStatus::Blocked => {
            settle(turn, stage, RunOutcome::Asked);
            stage.add_chore(publish);
            stage.add_chore(Chore::Ask { run: flight.run.clone() });
            let captured = captured(Some(work));
            keep_what_is_there(stage, working, captured);
            let kept = captured.map(|captured| keep(&working.work, captured.candidate.clone(), Awaits::WorkerAnswer));
            let question = handoff.question.clone().unwrap_or_default();
            let reason = Reason::new("question", question);
            turn.end(stage, EndStatus::Blocked, reason, kept, Some(&flight.run));
        }
        HandoffStatus::Pass | HandoffStatus::Partial => match work {
            WorkSighting::Gone => {
                settle(turn, stage, RunOutcome::NoHandoff);
                let detail = "its worktree has vanished, so there is nothing to judge; `autometta requeue` starts anew";
                stall(turn, stage, working, flight, None, Reason::new("worktree-missing", detail));
            }
            WorkSighting::Unreadable(why) => {
                settle(turn, stage, RunOutcome::NoHandoff);
                let detail = format!("its worktree could not be read and is left as it is: {why}");
                stall(turn, stage, working, flight, None, Reason::new("worktree-unreadable", detail));
            }
            // It has ended above; here it would be no candidate either.
            WorkSighting::Withheld(why) => end_withheld(turn, stage, flight, why),
            WorkSighting::Captured(captured) => candidate(turn, stage, working, flight, captured, settle),
        },
    }
}

/// A candidate: our own checks first, then the gates.
fn candidate(
    turn: &mut Turn,
    stage: &mut Stage,
    working: &Working,
    flight: &Flight,
    captured: &Captured,
    settle: &dyn Fn(&mut Turn, &mut Stage, RunOutcome),
) {
    stage.add_chore(Chore::Publish { run: flight.run.clone() });
    if let Some(reason) = strays(stage, Some(captured)) {
        settle(turn, stage, RunOutcome::Failed);
        keep_what_is_there(stage, working, Some(captured));
        return turn.end(stage, EndStatus::Failed, reason, None, Some(&flight.run));
    }
    if let Some((status, reason, may_fix)) = fault_of(turn, stage, working, captured) {
        settle(turn, stage, RunOutcome::Failed);
        let failure = WorkFailure {
            status,
            reason,
            work: working.work.clone(),
            candidate: captured.candidate.clone(),
            evidence: vec![flight.run.clone()],
            run: flight.run.clone(),
        };
        if may_fix {
            return turn.work_failure(stage, failure);
        }
        stage.keep_work(&captured.candidate);
        // What was wrong with the tree before is wrong with it still.
        let evidence = working.resume.as_ref().map(|resume| resume.evidence.clone()).unwrap_or_default();
        return turn.climb_or_end(stage, WorkFailure { evidence, ..failure });
    }
    settle(turn, stage, RunOutcome::Done);
    stage.chores.retain(|chore| !matches!(chore, Chore::PointRunBranch { .. }));
    stage.add_chore(Chore::PointRunBranch { commit: captured.candidate.commit.clone() });
    verifying::begin(turn, stage, working.work.clone(), captured.candidate.clone(), &flight.run);
}

/// That a worker put commits onto its base branch by itself. It is nobody's to mend but a person's: whatever is cut from
/// that branch builds on what nobody has judged.
fn strays(stage: &Stage, captured: Option<&Captured>) -> Option<Reason> {
    let strays = &captured?.findings.strays;
    (!strays.is_empty()).then(|| {
        let commits: Vec<String> = strays.iter().map(ToString::to_string).collect();
        let (base, commits) = (&stage.base_branch, list(&commits));
        let detail = format!(
            "the worker of {} put onto {base} by itself, past every gate and verifier: {commits}; take it back or keep it, then `autometta resume`",
            stage.id
        );
        Reason::new("base-written", detail)
    })
}

fn halt_for_strays(turn: &mut Turn, stage: &Stage, captured: Option<&Captured>) {
    if let Some(reason) = strays(stage, captured) {
        turn.halt(vec![Halt { reason: HaltReason::BaseWritten, detail: reason.detail }]);
    }
}

/// Why nothing may be made of a worker's checkout, where nothing may.
fn withheld(work: Option<&WorkSighting>) -> Option<&str> {
    match work {
        Some(WorkSighting::Withheld(why)) => Some(why),
        Some(WorkSighting::Captured(_) | WorkSighting::Gone | WorkSighting::Unreadable(_)) | None => None,
    }
}

/// Ends a stage whose work holds a secret. Nothing goes on from it, and nobody but a person may throw it away.
fn end_withheld(turn: &mut Turn, stage: &mut Stage, flight: &Flight, why: &str) {
    turn.end(stage, EndStatus::Failed, Reason::new("secret-in-work", why), None, Some(&flight.run));
}

/// What is wrong with a candidate before anything runs; true when the worker may be able to mend it.
fn fault_of(turn: &Turn, stage: &Stage, working: &Working, captured: &Captured) -> Option<(EndStatus, Reason, bool)> {
    if let Some(resume) = &working.resume
        && !resume.evidence.is_empty()
        && resume.tree == captured.candidate.tree
    {
        let before = resume.because.as_ref().map(|reason| reason.detail.as_str()).unwrap_or_default();
        let detail = format!("the worker handed in the identical tree again, after: {before}");
        return Some((EndStatus::VerifierFailed, Reason::new("no-progress", detail), false));
    }
    let Some(Ok(brief)) = turn.seen.briefs.get(&stage.id) else { return None };
    checks::fault_of(brief, turn.policy, captured).map(|reason| (EndStatus::Failed, reason, true))
}

/// Ends a stage whose change turned out to be in the base already.
pub(super) fn nothing_to_land(turn: &mut Turn, stage: &mut Stage) {
    let reason = Reason::new("nothing-to-land", "the candidate's tree is the base's tree");
    let detail = reason.detail.clone();
    let over = Over { status: EndStatus::Completed, reason: Some(reason), at: turn.now, commit: None, kept: None };
    turn.moves(stage, Life::Over(over), None, "completed", detail);
    turn.budget.consecutive_failures = 0;
    stage.add_chore(Chore::DropRunBranch);
}
