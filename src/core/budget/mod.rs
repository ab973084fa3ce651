//! Caps, spend and reservations: what may be dispatched, and what a run is charged.
//!
//! The one rule: a run is dispatched only where spent + reserved + its own reservation stays within every cap, and a
//! reservation is turned into spend exactly once, in the transaction that takes the run out of flight.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod admission;
mod breaker;
mod caps;
mod charge;
mod deferral;
mod drain;
mod fleet;
mod halt;
mod pause;
mod progress;
mod sheet;
mod spend;
mod start;
mod window;

pub use admission::Admission;
pub use breaker::{Breaker, Change};
pub use caps::{Cap, CapChange, parse_dollars, parse_tokens};
pub use charge::Charge;
pub use deferral::{Deferral, DeferralCause};
pub use drain::Drain;
pub use fleet::{FleetDay, Places};
pub use halt::{Halt, HaltReason};
pub use pause::Pause;
pub use progress::{NoProgress, SinceLanding};
pub use sheet::{CapLine, NextAsk, Sheet, Unit};
pub use spend::{Bucket, Spend};
pub use start::Start;
pub use window::{MOST_BREACHES, Window, utc_midnight};

use super::pace::{Attempts, Pace};
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::state::Reservation;

/// `budget.json`. A cap that is absent or null does not bind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The document's version.
    pub version: BudgetVersion,
    /// The most tokens that may be spent in the window.
    pub token_cap_total: Option<Tokens>,
    /// Tokens spent in the window.
    pub tokens_spent: Tokens,
    /// Tokens set aside for runs in flight.
    pub tokens_reserved: Tokens,
    /// Tokens spent since `init`; never reset.
    pub lifetime_tokens_spent: Tokens,
    /// The most money that may be spent in the window, in dollars.
    pub cost_cap_usd: Option<MicroUsd>,
    /// Money spent in the window, in dollars.
    pub cost_spent_usd: MicroUsd,
    /// Money set aside for runs in flight, in dollars.
    pub cost_reserved_usd: MicroUsd,
    /// Money spent since `init`, in dollars; never reset.
    pub lifetime_cost_usd: MicroUsd,
    /// The longest that all runs together may take in the window.
    pub wall_clock_cap_seconds: Option<Seconds>,
    /// How long all runs of the window took, while the machine was awake.
    pub wall_clock_elapsed_seconds: Seconds,
    /// Wall-clock time set aside for runs in flight.
    pub wall_clock_reserved_seconds: Seconds,
    /// The most ticks that may do work in the window.
    pub clock_tick_cap: Option<u64>,
    /// Ticks that did work.
    pub clock_ticks_used: u64,
    /// Ticks that found nothing to do.
    pub idle_ticks_used: u64,
    /// How many stages in a row may fail before the repository halts.
    pub consecutive_failure_cap: Option<u64>,
    /// How many stages in a row have failed.
    pub consecutive_failures: u64,
    /// Whether nothing is dispatched until a person says `resume`.
    pub halted: bool,
    /// The first of the reasons.
    pub halt_reason: Option<HaltReason>,
    /// Every reason, with its figures.
    pub halt_reasons: Vec<Halt>,
    /// Since when.
    pub halted_at: Option<DateTime<Utc>>,
    /// Families that wait for their provider.
    pub pauses: Vec<Pause>,
    /// Families that are put off because their provider cannot be reached or their quota is kept back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deferrals: Vec<Deferral>,
    /// Families whose provider failed lately.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<Breaker>,
    /// What the next run would have taken that a cap on spend turned away; its halt ends by itself once that fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turned_away: Option<Reservation>,
    /// What the window is: `none` (nothing is reset by the clock), `utc-day`, `local-day`, or so many hours back, such
    /// as `5h`.
    #[serde(skip_serializing_if = "Window::is_none")]
    pub window: Window,
    /// When the window began.
    pub window_started_at: Option<DateTime<Utc>>,
    /// Caps that were reached in earlier windows, oldest first; the newest hundred.
    pub breaches: Vec<Breach>,
    /// What was spent when, by quarters of an hour, oldest first; as far back as a window or a day needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spend: Vec<Bucket>,
    /// A permission to pass the window's caps by a bounded amount, until a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// How much may be spent without a landing.
    #[serde(skip_serializing_if = "NoProgress::is_empty")]
    pub no_progress: NoProgress,
    /// What was spent since something landed.
    #[serde(skip_serializing_if = "SinceLanding::is_nothing")]
    pub since_landing: SinceLanding,
    /// What runs usually take, by role and family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pace: Vec<Pace>,
    /// How many attempts stages usually take.
    #[serde(skip_serializing_if = "Attempts::is_empty")]
    pub attempts: Attempts,
}

/// The version of `budget.json`: always 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
pub struct BudgetVersion(#[schemars(range(min = 2, max = 2))] u32);

impl Default for BudgetVersion {
    fn default() -> Self {
        Self(2)
    }
}

impl TryFrom<u32> for BudgetVersion {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        if version == 2 { Ok(Self(2)) } else { Err(format!("version {version} is not one that this autometta reads")) }
    }
}

impl From<BudgetVersion> for u32 {
    fn from(version: BudgetVersion) -> Self {
        version.0
    }
}

/// A cap that was reached in an earlier window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breach {
    /// When the window was closed.
    pub at: DateTime<Utc>,
    /// Which cap.
    pub reason: HaltReason,
    /// Its figures.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::{Usage, UsageSource};

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn ask(tokens: u64) -> Reservation {
        Reservation { tokens: Tokens(tokens), ..Reservation::default() }
    }

    #[test]
    fn a_run_is_admitted_only_while_spent_and_reserved_stay_within_the_cap() {
        let mut budget = Budget { token_cap_total: Some(Tokens(100)), ..Budget::default() };
        assert_eq!(budget.admits(&ask(100)), Admission::Fits);
        assert!(matches!(budget.admits(&ask(101)), Admission::Over(_)));
        budget.reserve(&ask(60));
        assert!(matches!(budget.admits(&ask(41)), Admission::Later(_)));
        assert_eq!(budget.admits(&ask(40)), Admission::Fits);
        let usage = Usage { input_tokens: Tokens(70), source: UsageSource::Result, ..Usage::default() }.totalled();
        let charge = budget.settle(&ask(60), &usage, Seconds(9), NOW);
        assert_eq!((charge.tokens, budget.tokens_reserved, budget.tokens_spent), (Tokens(70), Tokens(0), Tokens(70)));
        assert!(matches!(budget.admits(&ask(31)), Admission::Over(_)));
    }

    #[test]
    fn unknown_usage_is_charged_at_its_reservation() {
        let mut budget = Budget::default();
        budget.reserve(&ask(60));
        let charge = budget.settle(&ask(60), &Usage::default(), Seconds(1), NOW);
        assert_eq!(charge, Charge { tokens: Tokens(60), cost_usd: MicroUsd(0), unknown: true });
        assert_eq!(budget.lifetime_tokens_spent, Tokens(60));
    }

    #[test]
    fn every_cap_that_is_over_is_named() {
        let budget = Budget {
            token_cap_total: Some(Tokens(10)),
            tokens_spent: Tokens(10),
            cost_cap_usd: Some(MicroUsd(1)),
            cost_spent_usd: MicroUsd(2),
            clock_tick_cap: Some(1),
            clock_ticks_used: 1,
            ..Budget::default()
        };
        let reasons: Vec<_> = budget.reached_caps().iter().map(|halt| halt.reason).collect();
        assert_eq!(reasons, [HaltReason::TokenCap, HaltReason::CostCap, HaltReason::TickCap]);
    }

    #[test]
    fn a_halt_is_news_once() {
        let mut budget = Budget::default();
        let now = DateTime::UNIX_EPOCH;
        let halt = |detail: &str| vec![Halt { reason: HaltReason::Operator, detail: detail.to_owned() }];
        assert!(budget.halt(halt("a"), now));
        assert!(!budget.halt(halt("b"), now));
        assert_eq!((budget.halt_reasons.len(), budget.halt_reasons[0].detail.as_str()), (1, "b"));
    }
}
