//! What becomes of a stage whose run was refused: the courses of `core::outcome`, taken. None of them uses up an attempt.

use chrono::{DateTime, Utc};

use super::turn::Turn;
use crate::core::budget::{Halt, HaltReason};
use crate::core::exit::{Refusal, RefusalClass};
use crate::core::outcome::{Course, Outcome, backoff_of};
use crate::core::policy::Policy;
use crate::core::state::{EndStatus, Flight, Reason, RunOutcome, Stage};

/// What becomes of the stage.
pub(super) enum PutOff {
    /// Asked again: at once where its family is paused or the repository halted anyway, else not before a time.
    Until {
        /// The earliest time.
        not_before: Option<DateTime<Utc>>,
        /// Why.
        reason: Reason,
    },
    /// Not asked again.
    Never(EndStatus, Reason),
}

/// Takes the course of a refusal. The run must have been settled, and its provider weighed, before.
pub(super) fn put_off(
    turn: &mut Turn,
    stage: &Stage,
    flight: &Flight,
    refusal: &Refusal,
    resets_at: Option<DateTime<Utc>>,
) -> PutOff {
    let line = refusal.line.clone();
    let outcome = Outcome::Refused(refusal.class, refusal.scope);
    match outcome.course() {
        Course::PauseFamily => pause(turn, flight, None, &line, resets_at),
        Course::PauseModel => pause(turn, flight, flight.model.as_deref(), &line, resets_at),
        Course::Defer => defer(turn, stage, flight, refusal),
        Course::Halt => {
            let who = flight.identity.as_ref().map_or_else(|| "the gate".to_owned(), ToString::to_string);
            let detail = format!("{who} could not be started for {}: {line}", flight.run);
            turn.halt(vec![Halt { reason: HaltReason::DispatchConfigurationFault, detail }]);
            PutOff::Until { not_before: None, reason: Reason::new("dispatch-configuration-fault", line) }
        }
        // No other attempt of the same worker would fit either.
        Course::End | Course::GoOn | Course::RetryFree | Course::ChargeAttempt | Course::AskPerson => {
            PutOff::Never(EndStatus::Failed, Reason::new("context-too-long", line))
        }
    }
}

/// Pauses the family, or only the model where that is named, until the limit resets.
fn pause(
    turn: &mut Turn,
    flight: &Flight,
    model: Option<&str>,
    line: &str,
    resets_at: Option<DateTime<Utc>>,
) -> PutOff {
    let until = pause_end(turn.now, resets_at);
    let mut who = String::new();
    if let Some(family) = &flight.family {
        turn.budget.pause(family, model, until, line);
        who = model.map(|model| format!("{family}'s model {model} ")).unwrap_or_default();
    }
    let detail = format!("{line} ({who}paused until {})", until.format("%Y-%m-%d %H:%M:%S UTC"));
    PutOff::Until { not_before: None, reason: Reason::new("limit", detail) }
}

/// Asks again later, each time after a longer wait; where the family waits as a whole by now, with it.
fn defer(turn: &mut Turn, stage: &Stage, flight: &Flight, refusal: &Refusal) -> PutOff {
    let line = &refusal.line;
    let code = if refusal.class == RefusalClass::Overloaded { "overloaded" } else { "network" };
    let before = deferrals(stage, flight);
    if before > turn.policy.deferrals {
        let detail = format!("{line}; that was try {before} in a row, and the policy allows no more");
        return PutOff::Never(EndStatus::Stalled, Reason::new("provider-down", detail));
    }
    let hold = flight.family.as_ref().and_then(|family| turn.budget.paused(family, flight.model.as_deref(), turn.now));
    if let Some(hold) = hold {
        let detail = format!("{line} ({} waits until {})", hold.who(), hold.until.format("%Y-%m-%d %H:%M:%S UTC"));
        return PutOff::Until { not_before: None, reason: Reason::new(code, detail) };
    }
    let until = turn.now + backoff_of(&flight.run, before.saturating_sub(1));
    let detail = format!("{line} (asked again at {})", until.format("%H:%M:%S UTC"));
    PutOff::Until { not_before: Some(until), reason: Reason::new(code, detail) }
}

/// How many runs of this seat in a row were refused, the one at hand included.
fn deferrals(stage: &Stage, flight: &Flight) -> u32 {
    let same = stage
        .history
        .iter()
        .rev()
        .filter(|past| past.run.role == flight.run.role && past.run.seat == flight.run.seat)
        .take_while(|past| past.outcome == RunOutcome::Refused)
        .count();
    u32::try_from(same).unwrap_or(u32::MAX)
}

/// When a limit's pause ends: as the provider says, within bounds, or an hour from now where it does not say.
fn pause_end(now: DateTime<Utc>, resets_at: Option<DateTime<Utc>>) -> DateTime<Utc> {
    match resets_at {
        None => now + Policy::UNSTATED_PAUSE,
        Some(at) => at.clamp(now + Policy::SHORTEST_PAUSE, now + Policy::LONGEST_PAUSE),
    }
}
