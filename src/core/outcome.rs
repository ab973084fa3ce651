//! How a run can come out, and the one course that each outcome has: the table that the steps go by.
//!
//! What counts is evidence: the supervisor's record, the provider's own refusal, the documents that were handed in. How
//! often a course may be taken in a row is `core::policy`'s; where it leads is the steps' business.

use chrono::TimeDelta;

use super::exit::{EndedBy, ExitRecord, ProcessEnd, RefusalClass, RefusalScope};
use super::handoff::{Handoff, HandoffStatus};
use super::ids::RunId;
use super::observation::Returned;
use super::quantity::{Seconds, Tokens};
use super::state::RunOutcome;
use super::verdict::Verdict;

/// The longest time that a family or a run is put off by backing off, before its jitter.
pub const BACKOFF_CAP: TimeDelta = TimeDelta::minutes(30);
/// How much earlier or later than its backoff a run is asked again at most, in percent.
const JITTER_PERCENT: u64 = 20;
/// A run that ends by itself within this time and has used nothing was brought down before any answer.
const EARLY: Seconds = Seconds(120);

/// How a run came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It did what it was for: a handoff to judge, gates that passed, a verdict.
    Done,
    /// What was handed in did not pass: our own checks, a gate, or the verifiers' verdict.
    WorkFailed,
    /// The worker said that it failed.
    GaveUp,
    /// The worker asked a question.
    Asked,
    /// The verifiers could not look.
    CouldNotLook,
    /// A gate failed that may be run again.
    Flaked,
    /// One of the worker's own caps ended it: time, tokens, cost, output, silence.
    OverCap,
    /// The worker came to its end without a usable handoff.
    NoHandoff,
    /// The verifier came to its end without a usable verdict.
    NoVerdict,
    /// Its provider, or its CLI, would not do the work.
    Refused(RefusalClass, RefusalScope),
    /// Its supervisor could not be started.
    NeverStarted,
    /// The agent was brought down, or ended with a fault and said nothing.
    Crashed,
    /// Its supervisor was told to end by somebody else, as a system that shuts down does.
    StoppedFromOutside,
    /// Neither its end nor its process could be found.
    Lost,
    /// An operator stopped it, or its stage.
    Cancelled,
}

/// What is done about an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Course {
    /// The stage goes on to its next phase.
    GoOn,
    /// Nobody of the family is dispatched until the limit resets. No attempt is used up.
    PauseFamily,
    /// Nobody with the same model is dispatched until the limit resets. No attempt is used up.
    PauseModel,
    /// The run is asked again later, each time after a longer wait. No attempt is used up.
    Defer,
    /// Nothing is dispatched until a person has mended it. No attempt is used up.
    Halt,
    /// The run is tried again as it was. No attempt is used up.
    RetryFree,
    /// The worker is briefed again with the evidence, which uses up an attempt; then the next rung of the ladder.
    ChargeAttempt,
    /// The stage waits for a person's answer.
    AskPerson,
    /// The worker is not asked again: the next rung of the ladder takes over, or the stage ends.
    End,
}

impl Outcome {
    /// The one course of an outcome.
    pub fn course(self) -> Course {
        match self {
            Self::Done => Course::GoOn,
            Self::WorkFailed => Course::ChargeAttempt,
            Self::Asked | Self::CouldNotLook => Course::AskPerson,
            Self::GaveUp | Self::OverCap | Self::NoHandoff | Self::Cancelled => Course::End,
            Self::Flaked
            | Self::NoVerdict
            | Self::NeverStarted
            | Self::Crashed
            | Self::StoppedFromOutside
            | Self::Lost => Course::RetryFree,
            Self::Refused(class, scope) => match (class, scope) {
                (RefusalClass::Limit, RefusalScope::Family) => Course::PauseFamily,
                (RefusalClass::Limit, RefusalScope::Model) => Course::PauseModel,
                (RefusalClass::Overloaded | RefusalClass::Network, _) => Course::Defer,
                (RefusalClass::Auth | RefusalClass::Billing | RefusalClass::Model | RefusalClass::Configuration, _) => {
                    Course::Halt
                }
                (RefusalClass::Context, _) => Course::End,
            },
        }
    }

    /// How the history of its stage puts it.
    pub fn recorded(self) -> RunOutcome {
        match self {
            Self::Done | Self::CouldNotLook => RunOutcome::Done,
            Self::WorkFailed | Self::GaveUp => RunOutcome::Failed,
            Self::Asked => RunOutcome::Asked,
            Self::Flaked => RunOutcome::Flaked,
            Self::OverCap => RunOutcome::OverCap,
            Self::NoHandoff => RunOutcome::NoHandoff,
            Self::NoVerdict => RunOutcome::NoVerdict,
            Self::Refused(..) => RunOutcome::Refused,
            Self::NeverStarted => RunOutcome::NeverStarted,
            Self::Crashed | Self::StoppedFromOutside => RunOutcome::Crashed,
            Self::Lost => RunOutcome::Lost,
            Self::Cancelled => RunOutcome::Cancelled,
        }
    }

    /// How a worker's run came out. The order is the policy: what ended its supervisor first, then what the provider
    /// refused, then caps, then what the worker says of itself, and a crash only where it says nothing.
    pub fn of_worker(record: &ExitRecord, handoff: &Returned<Handoff>) -> Self {
        if let Some(outcome) = Self::before_its_word(record) {
            return outcome;
        }
        match handoff {
            _ if is_over_cap(record) => Self::OverCap,
            Returned::Usable(handoff) => match handoff.status {
                HandoffStatus::Pass | HandoffStatus::Partial => Self::Done,
                HandoffStatus::Fail => Self::GaveUp,
                HandoffStatus::Blocked => Self::Asked,
            },
            Returned::Nothing if crashed(record) => Self::Crashed,
            Returned::Nothing | Returned::Unusable(_) => Self::NoHandoff,
        }
    }

    /// How a verifier's run came out. A verdict is the last word of a verifier that came to its end; one that was
    /// brought down may have written it beforehand, to be filled in.
    pub fn of_verifier(record: &ExitRecord, verdict: &Returned<Verdict>) -> Self {
        if let Some(outcome) = Self::before_its_word(record) {
            return outcome;
        }
        match (record.ended_by, record.exit, verdict) {
            (EndedBy::Exit, ProcessEnd::Code(0), Returned::Usable(_)) => Self::Done,
            (EndedBy::Exit, ProcessEnd::Signal(_) | ProcessEnd::None, _) => Self::Crashed,
            _ => Self::NoVerdict,
        }
    }

    /// What outweighs whatever the agent says of itself.
    fn before_its_word(record: &ExitRecord) -> Option<Self> {
        if record.ended_by == EndedBy::Cancelled {
            return Some(Self::StoppedFromOutside);
        }
        record.provider.refusal.as_ref().map(|refusal| Self::Refused(refusal.class, refusal.scope))
    }
}

/// Whether a process was brought down rather than ending by its own will.
pub fn crashed(record: &ExitRecord) -> bool {
    match record.exit {
        ProcessEnd::Code(code) => code != 0,
        ProcessEnd::Signal(_) | ProcessEnd::None => true,
    }
}

/// Whether one of the run's own caps ended it.
pub fn is_over_cap(record: &ExitRecord) -> bool {
    match record.ended_by {
        EndedBy::Timeout | EndedBy::TokenCap | EndedBy::CostCap | EndedBy::OutputCap | EndedBy::Stalled => true,
        EndedBy::Exit | EndedBy::Refused | EndedBy::Cancelled | EndedBy::SpawnFailed => false,
    }
}

/// What a run's end says about its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Answers,
    /// It does not, in these words.
    Fails(String),
    /// Nothing.
    Untold,
}

/// What a run that called a model says about its provider.
pub fn health(record: &ExitRecord) -> Health {
    if let Some(refusal) = &record.provider.refusal {
        return match refusal.class {
            RefusalClass::Overloaded | RefusalClass::Network => Health::Fails(refusal.line.clone()),
            RefusalClass::Limit | RefusalClass::Context => Health::Answers,
            RefusalClass::Auth | RefusalClass::Billing | RefusalClass::Model | RefusalClass::Configuration => {
                Health::Untold
            }
        };
    }
    if record.usage.total_tokens > Tokens(0) || record.outbox.is_some() {
        return Health::Answers;
    }
    if record.ended_by == EndedBy::Exit && crashed(record) && record.elapsed() <= EARLY {
        return Health::Fails("its CLI crashed before any answer".to_owned());
    }
    Health::Untold
}

/// How long to wait after this many waits in a row: 1, 2, 4 … minutes, at most [`BACKOFF_CAP`].
pub fn backoff(waits: u32) -> TimeDelta {
    let cap = BACKOFF_CAP.num_minutes();
    1_i64.checked_shl(waits).filter(|minutes| (1..cap).contains(minutes)).map_or(BACKOFF_CAP, TimeDelta::minutes)
}

/// The same for one run, up to a fifth earlier or later, so that runs that were put off together do not come back
/// together. The same run always waits the same time.
pub fn backoff_of(run: &RunId, waits: u32) -> TimeDelta {
    let wait = backoff(waits);
    let seconds = u64::try_from(wait.num_seconds()).unwrap_or(0);
    let most = seconds * JITTER_PERCENT / 100;
    let shift = hash(&format!("{run} {waits}")) % (2 * most + 1);
    let seconds = seconds - most + shift;
    i64::try_from(seconds).map_or(wait, TimeDelta::seconds)
}

/// FNV-1a, 64 bits, with its upper half folded in.
fn hash(text: &str) -> u64 {
    let mixed = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::exit::{Outbox, ProviderReport, Refusal, Usage, UsageSource};

    const CLASSES: [RefusalClass; 8] = [
        RefusalClass::Limit,
        RefusalClass::Overloaded,
        RefusalClass::Network,
        RefusalClass::Auth,
        RefusalClass::Billing,
        RefusalClass::Model,
        RefusalClass::Context,
        RefusalClass::Configuration,
    ];

    fn record(change: impl FnOnce(&mut ExitRecord)) -> ExitRecord {
        let at = chrono::DateTime::UNIX_EPOCH;
        let mut record = ExitRecord {
            run_id: "01-a.1.worker".parse().expect("run"),
            started_at: at,
            ended_at: at,
            elapsed_seconds: 3.0,
            exit: ProcessEnd::Code(0),
            ended_by: EndedBy::Exit,
            usage: Usage::default(),
            provider: ProviderReport::default(),
            peak_rss_bytes: 0,
            cpu_seconds: 0.0,
            outbox: None,
            outbox_fault: None,
            secrets_in_work: Vec::new(),
            gates: Vec::new(),
        };
        change(&mut record);
        record
    }

    fn refused(class: RefusalClass, scope: RefusalScope) -> impl FnOnce(&mut ExitRecord) {
        move |record| record.provider.refusal = Some(Refusal { class, scope, line: "no".to_owned() })
    }

    #[test]
    fn every_refusal_has_its_course_and_none_uses_up_an_attempt() {
        use Course::{Defer, End, Halt, PauseFamily};
        let expected = [PauseFamily, Defer, Defer, Halt, Halt, Halt, End, Halt];
        for (class, course) in CLASSES.into_iter().zip(expected) {
            for scope in [RefusalScope::Family, RefusalScope::Model] {
                let outcome = Outcome::of_worker(&record(refused(class, scope)), &Returned::Nothing);
                let course = match (course, scope) {
                    (PauseFamily, RefusalScope::Model) => Course::PauseModel,
                    (course, _) => course,
                };
                assert_eq!(
                    (outcome.course(), outcome.recorded()),
                    (course, RunOutcome::Refused),
                    "{class:?} {scope:?}"
                );
            }
        }
    }

    #[test]
    fn only_failed_work_uses_up_an_attempt_and_what_is_nobodys_work_is_tried_again() {
        for (outcome, course) in [
            (Outcome::Done, Course::GoOn),
            (Outcome::WorkFailed, Course::ChargeAttempt),
            (Outcome::GaveUp, Course::End),
            (Outcome::Asked, Course::AskPerson),
            (Outcome::CouldNotLook, Course::AskPerson),
            (Outcome::Flaked, Course::RetryFree),
            (Outcome::OverCap, Course::End),
            (Outcome::NoHandoff, Course::End),
            (Outcome::NoVerdict, Course::RetryFree),
            (Outcome::NeverStarted, Course::RetryFree),
            (Outcome::Crashed, Course::RetryFree),
            (Outcome::StoppedFromOutside, Course::RetryFree),
            (Outcome::Lost, Course::RetryFree),
            (Outcome::Cancelled, Course::End),
        ] {
            assert_eq!(outcome.course(), course, "{outcome:?}");
            // What the history counts as infrastructure is exactly what is tried again for that reason.
            if outcome.recorded().is_infrastructure() {
                assert_eq!(course, Course::RetryFree, "{outcome:?}");
            }
        }
    }

    #[test]
    fn a_worker_is_judged_by_evidence_in_a_fixed_order() {
        let handoff = |status: &str| {
            let json = serde_json::json!({"stage_id": "01-a", "status": status, "deliverables": [], "notes": "n",
                                          "question": "which?"});
            let stage = "01-a".parse().expect("stage");
            Returned::Usable(Handoff::parse(json.to_string().as_bytes(), &stage).expect("handoff"))
        };
        let killed = |record: &mut ExitRecord| record.exit = ProcessEnd::Signal(9);
        let refuse = refused(RefusalClass::Limit, RefusalScope::Family);
        for (record, handoff, expected) in [
            (record(|_| ()), handoff("pass"), Outcome::Done),
            (record(|_| ()), handoff("partial"), Outcome::Done),
            (record(|_| ()), handoff("fail"), Outcome::GaveUp),
            (record(|_| ()), handoff("blocked"), Outcome::Asked),
            (record(killed), handoff("pass"), Outcome::Done),
            (record(killed), Returned::Nothing, Outcome::Crashed),
            (record(killed), Returned::Unusable("torn".to_owned()), Outcome::NoHandoff),
            (record(|_| ()), Returned::Nothing, Outcome::NoHandoff),
            (record(|record| record.ended_by = EndedBy::Timeout), handoff("pass"), Outcome::OverCap),
            (record(|record| record.ended_by = EndedBy::Cancelled), handoff("pass"), Outcome::StoppedFromOutside),
            (record(refuse), handoff("pass"), Outcome::Refused(RefusalClass::Limit, RefusalScope::Family)),
        ] {
            assert_eq!(Outcome::of_worker(&record, &handoff), expected, "{record:?} {handoff:?}");
        }
    }

    #[test]
    fn a_provider_fails_by_what_it_says_or_by_a_crash_before_any_answer() {
        let is = |change: fn(&mut ExitRecord)| match health(&record(change)) {
            Health::Answers => "answers",
            Health::Fails(_) => "fails",
            Health::Untold => "untold",
        };
        let used = |record: &mut ExitRecord| {
            record.usage =
                Usage { output_tokens: Tokens(1), source: UsageSource::Stream, ..Usage::default() }.totalled();
            record.exit = ProcessEnd::Code(1);
        };
        for (change, expected) in [
            ((|record| record.exit = ProcessEnd::Code(1)) as fn(&mut ExitRecord), "fails"),
            (|record| record.exit = ProcessEnd::Signal(11), "fails"),
            (used, "answers"),
            (|record| (record.exit, record.elapsed_seconds) = (ProcessEnd::Code(1), 3000.0), "untold"),
            (|record| (record.exit, record.ended_by) = (ProcessEnd::Signal(15), EndedBy::Cancelled), "untold"),
            (|record| (record.exit, record.ended_by) = (ProcessEnd::Signal(15), EndedBy::Timeout), "untold"),
            (|record| (record.exit, record.outbox) = (ProcessEnd::Code(1), Some(Outbox::Handoff)), "answers"),
            (|_| (), "untold"),
            (|record| refused(RefusalClass::Overloaded, RefusalScope::Family)(record), "fails"),
            (|record| refused(RefusalClass::Network, RefusalScope::Family)(record), "fails"),
            (|record| refused(RefusalClass::Limit, RefusalScope::Family)(record), "answers"),
            (|record| refused(RefusalClass::Auth, RefusalScope::Family)(record), "untold"),
        ] {
            assert_eq!(is(change), expected, "{:?}", record(change));
        }
    }

    #[test]
    fn waits_double_up_to_half_an_hour_and_runs_do_not_come_back_together() {
        let minutes: Vec<i64> = (0..8).map(|waits| backoff(waits).num_minutes()).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!([62, 63, 64, u32::MAX].map(backoff), [BACKOFF_CAP; 4]);
        let runs: Vec<RunId> = (1..=40).map(|n| format!("{n:02}-a.1.worker").parse().expect("run")).collect();
        for waits in 0..12 {
            let base = backoff(waits).num_seconds();
            let all: BTreeSet<i64> = runs.iter().map(|run| backoff_of(run, waits).num_seconds()).collect();
            assert!(all.iter().all(|wait| (base * 4 / 5..=base * 6 / 5).contains(wait)), "{waits}: {all:?}");
            assert!(all.len() > 10, "{waits}: {all:?}");
        }
        assert_eq!(backoff_of(&runs[0], 3), backoff_of(&runs[0], 3));
    }
}
