//! What a provider's refusal means: one policy per class. None of them uses up an attempt.

use chrono::{DateTime, Utc};

use super::turn::Turn;
use crate::core::budget::{Halt, HaltReason};
use crate::core::exit::{Refusal, RefusalClass};
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

/// Applies the policy of a refusal's class. The run must have been settled before.
pub(super) fn put_off(
    turn: &mut Turn,
    stage: &Stage,
    flight: &Flight,
    refusal: &Refusal,
    resets_at: Option<DateTime<Utc>>,
) -> PutOff {
    let line = refusal.line.clone();
    match refusal.class {
        RefusalClass::Limit => {
            let until = pause_end(turn.now, resets_at);
            if let Some(family) = &flight.family {
                turn.budget.pause(family, until, &line);
            }
            let detail = format!("{line} (paused until {})", until.format("%Y-%m-%d %H:%M:%S UTC"));
            PutOff::Until { not_before: None, reason: Reason::new("limit", detail) }
        }
        RefusalClass::Overloaded | RefusalClass::Network => {
            let code = if refusal.class == RefusalClass::Overloaded { "overloaded" } else { "network" };
            let before = deferrals(stage, flight);
            if before > turn.policy.deferrals {
                let detail = format!("{line}; that was try {before} in a row, and the policy allows no more");
                return PutOff::Never(EndStatus::Stalled, Reason::new("provider-down", detail));
            }
            let until = turn.now + Policy::backoff(before.saturating_sub(1));
            let detail = format!("{line} (asked again at {})", until.format("%H:%M:%S UTC"));
            PutOff::Until { not_before: Some(until), reason: Reason::new(code, detail) }
        }
        RefusalClass::Auth | RefusalClass::Billing | RefusalClass::Model | RefusalClass::Configuration => {
            let who = flight.identity.as_ref().map_or_else(|| "the gate".to_owned(), ToString::to_string);
            let detail = format!("{who} could not be started for {}: {line}", flight.run);
            turn.halt(vec![Halt { reason: HaltReason::DispatchConfigurationFault, detail }]);
            PutOff::Until { not_before: None, reason: Reason::new("dispatch-configuration-fault", line) }
        }
        RefusalClass::Context => PutOff::Never(EndStatus::Failed, Reason::new("context-too-long", line)),
    }
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
