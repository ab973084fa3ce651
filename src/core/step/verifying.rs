//! A candidate under judgement: first its gates, then its seats.

use super::refusal::{self, PutOff};
use super::supervise::{Look, end_stopped, look, settle_lost, settle_never_started, why_never_started};
use super::turn::{Turn, WorkFailure, keep};
use super::unverified;
use super::working::{how_it_ended, over_cap};
use crate::core::card::{LandingMode, MAX_GATE_RETRIES};
use crate::core::disagreement::{SeatVotes, disagreements};
use crate::core::exit::{EndedBy, ExitRecord, GateResult, ProcessEnd};
use crate::core::ids::{Role, RunId};
use crate::core::observation::{Ended, Product, Returned};
use crate::core::outcome::{self, Course, Outcome};
use crate::core::quorum::{self, Vote};
use crate::core::state::{
    Approval, Awaits, Ballot, Candidate, Chore, EndStatus, Flight, Gating, Kept, Landing, Life, Overlap, PastRun,
    Reason, RunOutcome, Said, Seat, Stage, Verifying, Work,
};
use crate::core::train::Train;
use crate::core::verdict::{Judgement, Verdict, commit_headline};

/// Signals that come from outside a command: a kill, or the machine being short of memory.
const KILLED: [i32; 2] = [9, 15];

/// A candidate was handed in: to the gates, or to the verifiers where there is nothing to run.
pub(super) fn begin(turn: &mut Turn, stage: &mut Stage, work: Work, candidate: Candidate, run: &RunId) {
    let detail = format!("candidate {} with tree {}", candidate.commit, candidate.tree);
    if has_gates(turn, stage) {
        let gating = Gating { work, candidate, approval: None, flight: None, not_before: None };
        turn.moves(stage, Life::Gating(gating), Some(run), "handed-in", detail);
    } else {
        to_the_verifiers(turn, stage, work, candidate, None, run, &detail);
    }
}

/// A card that cannot be read right now has gates: nothing is skipped for want of knowledge.
pub(super) fn has_gates(turn: &Turn, stage: &Stage) -> bool {
    match turn.seen.briefs.get(&stage.id) {
        Some(Ok(brief)) => brief.gate_caps.is_some(),
        Some(Err(_)) | None => true,
    }
}

/// Opens the seats, or goes on without any where the card asks for none.
pub(super) fn to_the_verifiers(
    turn: &mut Turn,
    stage: &mut Stage,
    work: Work,
    candidate: Candidate,
    gate: Option<RunId>,
    run: &RunId,
    detail: &str,
) {
    if let Some(why) = stage.unverified.clone() {
        return unverified::approve(turn, stage, work, candidate, gate, &why);
    }
    let verifying = Verifying { work, candidate, gate, seats: Seat::open(&stage.verifiers) };
    turn.moves(stage, Life::Verifying(verifying), Some(run), "to-verify", detail);
}

/// Moves a stage whose gates run.
pub(super) fn advance_gate(turn: &mut Turn, stage: &mut Stage) {
    let Life::Gating(gating) = stage.life.clone() else { return };
    let Some(mut flight) = gating.flight.clone() else { return };
    let look = look(turn, &stage.id, &mut flight);
    if let Life::Gating(current) = &mut stage.life {
        current.flight = Some(flight.clone());
    }
    match look {
        Look::Nothing => {}
        Look::NeverStarted => {
            settle_never_started(turn, stage, &flight);
            let why = why_never_started(turn, &flight.run);
            gate_again(turn, stage, &gating, &flight, "never-started", &why);
        }
        Look::Lost(lost) => {
            settle_lost(turn, stage, &flight, &lost);
            gate_again(turn, stage, &gating, &flight, "lost", &lost.detail);
        }
        Look::Ended(ended) => gate_ended(turn, stage, gating, &flight, &ended.record),
    }
}

fn gate_ended(turn: &mut Turn, stage: &mut Stage, gating: Gating, flight: &Flight, record: &ExitRecord) {
    let settle = |turn: &mut Turn, stage: &mut Stage, outcome| {
        turn.settle(stage, flight, outcome, Some(record.ended_by), &record.usage, record.elapsed());
        stage.add_chore(Chore::Clear { run: flight.run.clone() });
    };
    if let Some(why) = flight.stopping {
        settle(turn, stage, RunOutcome::Cancelled);
        stage.keep_own_work();
        return end_stopped(turn, stage, why, &flight.run);
    }
    if record.ended_by == EndedBy::Cancelled {
        settle(turn, stage, RunOutcome::Crashed);
        return gate_again(turn, stage, &gating, flight, "stopped-from-outside", "its supervisor was told to end");
    }
    if let Some(refusal) = &record.provider.refusal {
        settle(turn, stage, RunOutcome::Refused);
        match refusal::put_off(turn, stage, flight, refusal, record.provider.resets_at) {
            PutOff::Until { not_before, reason } => {
                turn.note(&stage.id, Some(&flight.run), &reason.code, reason.detail);
                stage.life = Life::Gating(Gating { flight: None, not_before, ..gating });
            }
            PutOff::Never(status, reason) => {
                stage.keep_own_work();
                turn.end(stage, status, reason, None, Some(&flight.run));
            }
        }
        return;
    }
    let failure = gate_failure(record);
    match failure {
        GateEnd::Passed => {
            let flakes = stage.flakes();
            settle(turn, stage, RunOutcome::Done);
            gate_passed(turn, stage, gating, flight, flakes);
        }
        GateEnd::Failed(gate, detail)
            if gate.is_some_and(|gate| stage.flakes() < gate.retries.min(MAX_GATE_RETRIES)) =>
        {
            settle(turn, stage, RunOutcome::Flaked);
            let detail = format!("retry {} in a fresh checkout, after {detail}", stage.flakes());
            turn.note(&stage.id, Some(&flight.run), "flaky-gate", detail);
            stage.life = Life::Gating(Gating { flight: None, ..gating });
        }
        GateEnd::Failed(_, detail) => {
            settle(turn, stage, RunOutcome::Failed);
            if gating.is_coupled() {
                return uncouple(turn, stage, &gating, flight, &detail);
            }
            let failure = WorkFailure {
                status: EndStatus::VerifierFailed,
                reason: Reason::new("gate-failed", detail),
                work: gating.work,
                candidate: gating.candidate,
                evidence: vec![flight.run.clone()],
                run: flight.run.clone(),
            };
            turn.work_failure(stage, failure);
        }
        GateEnd::Broken(detail) => {
            settle(turn, stage, RunOutcome::Crashed);
            gate_again(turn, stage, &gating, flight, "gate-broken", &detail);
        }
    }
}

/// A gate failed on top of another candidate, which may be that one's fault: the branch alone decides.
fn uncouple(turn: &mut Turn, stage: &mut Stage, gating: &Gating, flight: &Flight, detail: &str) {
    let Gating { work, candidate, approval: Some(approval), .. } = gating.uncoupled() else { return };
    let on = &gating.work.base_commit;
    let detail = format!("on top of {on}: {detail}; it is judged on {} alone", stage.base_branch);
    let landing = landing(turn, work, candidate, approval);
    turn.moves(stage, Life::Landing(landing), Some(&flight.run), "uncoupled", detail);
}

enum GateEnd<'a> {
    Passed,
    /// The gate that failed, unless the run as a whole was stopped, and how.
    Failed(Option<&'a GateResult>, String),
    Broken(String),
}

/// What a gate's record says. It passed only where every command ran, exited 0, and printed what it may.
fn gate_failure(record: &ExitRecord) -> GateEnd<'_> {
    if let Some(cap) = over_cap(record) {
        return GateEnd::Failed(None, format!("the gate as a whole was stopped: {}", cap.detail));
    }
    for gate in &record.gates {
        let failed = |how: String| {
            let words = format!("{} (`{}`) {how}\n{}", gate.name, one_line(&gate.command), gate.output_tail);
            GateEnd::Failed(Some(gate), words)
        };
        if gate.timed_out {
            return failed(format!("timed out after {:.0}s", gate.elapsed_seconds));
        }
        match (gate.exit, &gate.error_line) {
            (ProcessEnd::Code(0), None) => {}
            (ProcessEnd::Code(0), Some(line)) => return failed(format!("exited 0 and printed an error: {line}")),
            (ProcessEnd::Signal(signal), _) if KILLED.contains(&signal) => {
                return GateEnd::Broken(format!("{} was killed by signal {signal} from outside", gate.name));
            }
            (ProcessEnd::Code(code), _) => return failed(format!("exited {code}")),
            (ProcessEnd::Signal(signal), _) => return failed(format!("died of signal {signal}")),
            (ProcessEnd::None, _) => return GateEnd::Broken(format!("{} could not be started", gate.name)),
        }
    }
    if record.gates.is_empty() || record.exit != ProcessEnd::Code(0) {
        return GateEnd::Broken(format!("the gate left no complete record: {}", how_it_ended(record)));
    }
    GateEnd::Passed
}

/// The first line of a command that says something, for a sentence.
fn one_line(command: &str) -> String {
    let mut lines = command.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
}

fn gate_passed(turn: &mut Turn, stage: &mut Stage, gating: Gating, flight: &Flight, flakes: u32) {
    let again = match flakes {
        0 => String::new(),
        flakes => format!(", after {flakes} tries that failed"),
    };
    let Gating { work, candidate, approval, .. } = gating;
    match approval {
        None => {
            let detail = format!("every gate passed{again}");
            to_the_verifiers(turn, stage, work, candidate, Some(flight.run.clone()), &flight.run, &detail);
        }
        Some(approval) => {
            let approval = Approval { tree: candidate.tree.clone(), gate: Some(flight.run.clone()), ..approval };
            let detail = format!("every gate passed on the merged tree{again}");
            to_land(turn, stage, work, candidate, approval, &flight.run, &detail);
        }
    }
}

fn gate_again(turn: &mut Turn, stage: &mut Stage, gating: &Gating, flight: &Flight, code: &str, detail: &str) {
    if let Some(why) = flight.stopping {
        stage.keep_own_work();
        return end_stopped(turn, stage, why, &flight.run);
    }
    if turn.may_retry(stage, Role::Gate, None) {
        turn.note(&stage.id, Some(&flight.run), code, detail);
        stage.life = Life::Gating(Gating { flight: None, ..gating.clone() });
    } else {
        let gating = gating.uncoupled();
        stage.keep_work(&gating.candidate);
        let kept = keep(&gating.work, gating.candidate.clone(), Awaits::Nothing);
        let tries = stage.infrastructure_failures(Role::Gate, None);
        let reason = Reason::new(code, format!("{detail}; that was try {tries}, and the policy allows no more"));
        turn.end(stage, EndStatus::Stalled, reason, Some(kept), Some(&flight.run));
    }
}

/// Moves a stage whose verifiers run. Every seat is heard before the panel decides.
pub(super) fn advance_seats(turn: &mut Turn, stage: &mut Stage) {
    let Life::Verifying(mut verifying) = stage.life.clone() else { return };
    let mut stopped = None;
    for index in 0..verifying.seats.len() {
        let Some(mut flight) = verifying.seats[index].flight.clone() else { continue };
        let look = look(turn, &stage.id, &mut flight);
        verifying.seats[index].flight = Some(flight.clone());
        let ended = !matches!(look, Look::Nothing);
        let seat = &mut verifying.seats[index];
        match look {
            Look::Nothing => {}
            Look::NeverStarted => {
                settle_never_started(turn, stage, &flight);
                let why = why_never_started(turn, &flight.run);
                seat_again(turn, stage, seat, &flight, &why);
            }
            Look::Lost(lost) => {
                settle_lost(turn, stage, &flight, &lost);
                seat_again(turn, stage, seat, &flight, &lost.detail);
            }
            Look::Ended(ended) => {
                if let Some((status, reason)) = seat_ended(turn, stage, seat, &flight, &ended) {
                    stopped = Some((status, reason, flight.run.clone()));
                }
            }
        }
        if ended && let Some(why) = flight.stopping {
            verifying.seats[index].vote = None;
            verifying.seats[index].flight = None;
            if verifying.seats.iter().all(|seat| seat.flight.is_none()) {
                stage.keep_work(&verifying.candidate);
                return end_stopped(turn, stage, why, &flight.run);
            }
        }
    }
    stage.life = Life::Verifying(verifying.clone());
    if let Some((status, reason, run)) = stopped
        && verifying.seats.iter().all(|seat| seat.flight.is_none())
    {
        stage.keep_work(&verifying.candidate);
        return turn.end(stage, status, reason, None, Some(&run));
    }
    // Every seat is heard once before anything is decided; a seat that returned no verdict is asked again only where
    // its vote could still decide.
    let heard = |seat: &Seat| {
        let run = |past: &PastRun| past.run.role == Role::Verifier && past.run.seat == seat.number;
        seat.vote.is_some()
            || (seat.flight.is_none()
                && stage.history.iter().any(|past| {
                    past.run.attempt == stage.attempt && run(past) && past.outcome == RunOutcome::NoVerdict
                }))
    };
    if verifying.seats.iter().all(heard) {
        decide(turn, stage, verifying);
    }
}

/// A seat's run has ended with a record: a vote, a reason to ask again, or an end for the stage.
fn seat_ended(
    turn: &mut Turn,
    stage: &mut Stage,
    seat: &mut Seat,
    flight: &Flight,
    ended: &Ended,
) -> Option<(EndStatus, Reason)> {
    let record = &ended.record;
    let Product::Verifier { verdict } = &ended.product else { return None };
    turn.weigh(flight, outcome::health(record));
    let settle = |turn: &mut Turn, stage: &mut Stage, outcome| {
        turn.settle(stage, flight, outcome, Some(record.ended_by), &record.usage, record.elapsed());
        stage.add_chore(Chore::Clear { run: flight.run.clone() });
    };
    if flight.stopping.is_some() {
        settle(turn, stage, RunOutcome::Cancelled);
        return None;
    }
    let outcome = Outcome::of_verifier(record, verdict);
    settle(turn, stage, outcome.recorded());
    if let Some(refusal) = record.provider.refusal.as_ref().filter(|_| matches!(outcome, Outcome::Refused(..))) {
        seat.flight = None;
        return match refusal::put_off(turn, stage, flight, refusal, record.provider.resets_at) {
            PutOff::Until { not_before, reason } => {
                turn.note(&stage.id, Some(&flight.run), &reason.code, reason.detail);
                seat.not_before = not_before;
                None
            }
            PutOff::Never(status, reason) if seat.number.is_none() => Some((status, reason)),
            // The others of its panel decide without it.
            PutOff::Never(_, Reason { code, detail }) => {
                turn.note(&stage.id, Some(&flight.run), "no-verdict", format!("{code}: {detail}"));
                let (run, words) = (flight.run.clone(), format!("{code}: {detail}"));
                seat.vote = Some(Ballot { run, said: Said::Nothing, words, criteria: Vec::new() });
                None
            }
        };
    }
    match (outcome.course(), verdict) {
        (Course::GoOn, Returned::Usable(verdict)) => {
            stage.add_chore(Chore::Publish { run: flight.run.clone() });
            vote(turn, stage, seat, flight, verdict);
        }
        _ => seat_again(turn, stage, seat, flight, &why_no_verdict(record, outcome, verdict)),
    }
    None
}

/// Why a verifier's run gave no verdict, in words.
fn why_no_verdict(record: &ExitRecord, outcome: Outcome, verdict: &Returned<Verdict>) -> String {
    match (over_cap(record), verdict) {
        _ if outcome == Outcome::StoppedFromOutside => "its supervisor was told to end".to_owned(),
        (Some(cap), _) => cap.detail,
        (None, Returned::Unusable(why)) => why.clone(),
        (None, Returned::Usable(_)) => format!("{}, so the verdict that it left does not count", how_it_ended(record)),
        (None, Returned::Nothing) => format!("{} without a verdict", how_it_ended(record)),
    }
}

fn vote(turn: &mut Turn, stage: &Stage, seat: &mut Seat, flight: &Flight, verdict: &Verdict) {
    let low = verdict.below(turn.policy.review_floor);
    let said = match verdict.judged() {
        Judgement::Pass if low.is_some() => Said::Fail,
        Judgement::Pass => Said::Pass,
        Judgement::Fail => Said::Fail,
        Judgement::Blocked => Said::Blocked,
    };
    let words = match low {
        Some(low) => format!("{} ({low})", verdict.headline),
        None => verdict.headline.clone(),
    };
    turn.note(&stage.id, Some(&flight.run), "voted", format!("{} says {}: {words}", seat.verifier.name(), word(said)));
    let criteria = verdict.criteria.iter().map(|criterion| criterion.verdict).collect();
    seat.vote = Some(Ballot { run: flight.run.clone(), said, words, criteria });
    seat.flight = None;
}

fn word(said: Said) -> &'static str {
    match said {
        Said::Pass => "PASS",
        Said::Fail => "FAIL",
        Said::Blocked => "BLOCKED",
        Said::Nothing => "nothing",
    }
}

/// Asks a seat again while the policy allows it, else records that it has no vote.
fn seat_again(turn: &mut Turn, stage: &Stage, seat: &mut Seat, flight: &Flight, why: &str) {
    seat.flight = None;
    if flight.stopping.is_some() {
        return;
    }
    let same = |past: &&PastRun| {
        past.run.attempt == flight.run.attempt && past.run.role == Role::Verifier && past.run.seat == flight.run.seat
    };
    let past: Vec<RunOutcome> = stage.history.iter().filter(same).map(|past| past.outcome).collect();
    let silent = past.iter().filter(|outcome| **outcome == RunOutcome::NoVerdict).count();
    let broken = past.iter().filter(|outcome| outcome.is_infrastructure()).count();
    let spent = silent > turn.policy.verifier_retries as usize || broken > turn.policy.infrastructure_retries as usize;
    turn.note(&stage.id, Some(&flight.run), "no-verdict", why);
    if spent {
        let words = format!("{why}; that was try {}, and the policy allows no more", silent + broken);
        seat.vote = Some(Ballot { run: flight.run.clone(), said: Said::Nothing, words, criteria: Vec::new() });
    }
}

/// The panel has been heard.
fn decide(turn: &mut Turn, stage: &mut Stage, verifying: Verifying) {
    let ballots: Vec<&Ballot> = verifying.seats.iter().filter_map(|seat| seat.vote.as_ref()).collect();
    let votes: Vec<Vote> = verifying
        .seats
        .iter()
        .map(|seat| match seat.vote.as_ref().map(|ballot| ballot.said) {
            Some(Said::Pass) => Vote::Pass,
            Some(Said::Fail) => Vote::Fail,
            Some(Said::Blocked) => Vote::Blocked,
            Some(Said::Nothing) => Vote::Exhausted,
            None => Vote::None,
        })
        .collect();
    let Some(last) = ballots.last().map(|ballot| ballot.run.clone()) else { return };
    let runs_that = |said: Said| -> Vec<RunId> {
        ballots.iter().filter(|ballot| ballot.said == said).map(|ballot| ballot.run.clone()).collect()
    };
    let words_that = |said: Said| -> String {
        let words: Vec<&str> = ballots.iter().filter(|ballot| ballot.said == said).map(|b| b.words.as_str()).collect();
        words.join("; ")
    };
    let outcome = quorum::decide(&votes, stage.quorum);
    write_down(turn, stage, &verifying.seats, outcome);
    match outcome {
        quorum::Outcome::Pass => {
            let passed = |seat: &&Seat| seat.vote.as_ref().is_some_and(|ballot| ballot.said == Said::Pass);
            let headline = ballots
                .iter()
                .filter(|ballot| ballot.said == Said::Pass)
                .find_map(|ballot| commit_headline(&ballot.words))
                .or_else(|| commit_headline(&stage.title))
                .unwrap_or_else(|| "land the stage".to_owned());
            let approval = Approval {
                tree: verifying.candidate.tree.clone(),
                verified_tree: verifying.candidate.tree.clone(),
                gate: verifying.gate.clone(),
                verdicts: runs_that(Said::Pass),
                verifiers: verifying.seats.iter().filter(passed).map(|seat| seat.verifier.clone()).collect(),
                headline,
                overlap: Overlap::Park,
                train: Train::Free,
            };
            let words = words_that(Said::Pass);
            go_on(turn, stage, verifying.work, verifying.candidate, approval, &last, &words);
        }
        quorum::Outcome::Fail => {
            let failure = WorkFailure {
                status: EndStatus::VerifierFailed,
                reason: Reason::new("verdict-fail", words_that(Said::Fail)),
                work: verifying.work,
                candidate: verifying.candidate,
                evidence: runs_that(Said::Fail),
                run: last,
            };
            turn.work_failure(stage, failure);
        }
        quorum::Outcome::Retry => {}
        quorum::Outcome::Blocked => {
            stage.keep_work(&verifying.candidate);
            let kept = keep(&verifying.work, verifying.candidate.clone(), Awaits::VerifierAnswer);
            let asking = runs_that(Said::Blocked);
            let (status, code, words) = if !asking.is_empty() {
                (EndStatus::Blocked, "verdict-blocked", words_that(Said::Blocked))
            } else if votes.len() == 1 {
                (EndStatus::Stalled, "verdict-missing", words_that(Said::Nothing))
            } else {
                let silent = words_that(Said::Nothing);
                let words = format!(
                    "the panel of {} cannot decide, {} of it silent: {silent}",
                    votes.len(),
                    runs_that(Said::Nothing).len()
                );
                (EndStatus::Blocked, "panel-undecided", words)
            };
            for run in asking {
                stage.add_chore(Chore::Ask { run });
            }
            turn.end(stage, status, Reason::new(code, words), Some(kept), Some(&last));
        }
    }
}

/// An approved candidate lands, or waits for a person, as its card or the manifest says.
pub(super) fn go_on(
    turn: &mut Turn,
    stage: &mut Stage,
    work: Work,
    candidate: Candidate,
    approval: Approval,
    run: &RunId,
    words: &str,
) {
    match landing_mode(turn, stage) {
        LandingMode::Auto => to_land(turn, stage, work, candidate, approval, run, words),
        LandingMode::Ask => await_approval(turn, stage, &work, candidate, approval, words),
    }
}

/// Writes down what a panel of several came to: where its seats differ, and the panel's own verdict.
fn write_down(turn: &mut Turn, stage: &mut Stage, seats: &[Seat], outcome: quorum::Outcome) {
    let said = match outcome {
        quorum::Outcome::Pass => Said::Pass,
        quorum::Outcome::Fail => Said::Fail,
        quorum::Outcome::Blocked => Said::Blocked,
        quorum::Outcome::Retry => return,
    };
    if seats.len() < 2 {
        return;
    }
    let votes = |seat: &Seat| {
        let ballot = seat.vote.as_ref().filter(|ballot| !ballot.criteria.is_empty())?;
        Some(SeatVotes { seat: seat.number?, verifier: seat.verifier.clone(), criteria: ballot.criteria.clone() })
    };
    let votes: Vec<SeatVotes> = seats.iter().filter_map(votes).collect();
    for disagreement in disagreements(&votes) {
        turn.note(&stage.id, None, "disagreed", disagreement.to_string());
    }
    let runs = seats.iter().filter_map(|seat| seat.vote.as_ref()).map(|ballot| ballot.run.clone()).collect();
    stage.add_chore(Chore::PublishPanel { runs, said });
}

/// Whether a verified change lands by itself: as the card says, else as the manifest does.
fn landing_mode(turn: &Turn, stage: &Stage) -> LandingMode {
    let brief = turn.seen.briefs.get(&stage.id).and_then(|brief| brief.as_ref().ok());
    brief.and_then(|brief| brief.card.landing).unwrap_or(turn.policy.landing)
}

/// A verified candidate waits for a person.
fn await_approval(
    turn: &mut Turn,
    stage: &mut Stage,
    work: &Work,
    candidate: Candidate,
    approval: Approval,
    words: &str,
) {
    stage.keep_work(&candidate);
    let run = candidate.run.clone();
    let detail = format!("it passed its gates and its verifiers ({words}), and lands once a person says so");
    // What is on the branch before the candidate waits cannot be a person's merge of it.
    let tip = turn.seen.tips.get(&stage.base_branch).cloned().flatten();
    let seen_tip = Some(tip.unwrap_or_else(|| work.base_commit.clone()));
    let kept = Kept { seen_tip, approval: Some(approval), ..keep(work, candidate, Awaits::Approval) };
    turn.end(stage, EndStatus::Blocked, Reason::new("approval", detail), Some(kept), Some(&run));
}

/// An approved candidate goes to the base branch.
fn to_land(
    turn: &mut Turn,
    stage: &mut Stage,
    work: Work,
    candidate: Candidate,
    approval: Approval,
    run: &RunId,
    detail: &str,
) {
    let landing = landing(turn, work, candidate, approval);
    turn.moves(stage, Life::Landing(landing), Some(run), "approved", detail);
    super::landing::try_now(turn, stage);
}

/// A landing that begins now.
fn landing(turn: &Turn, work: Work, candidate: Candidate, approval: Approval) -> Landing {
    let committer = turn.seen.committer.clone();
    Landing { work, candidate, approval, decided_at: turn.now, committer, waiting: None }
}
