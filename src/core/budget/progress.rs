//! Spend since something landed: a night that only burns money is stopped by it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, Halt, HaltReason, Spend};
use crate::core::quantity::{MicroUsd, Tokens, is_zero};

/// How much may be spent without a landing; what is not set does not bind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NoProgress {
    /// Tokens. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Dollars. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<MicroUsd>,
    /// Ticks that did work. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticks: Option<u64>,
}

impl NoProgress {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was spent since something landed, or since a person lifted the halt for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinceLanding {
    /// Tokens.
    #[serde(skip_serializing_if = "is_zero")]
    pub tokens: Tokens,
    /// Dollars.
    #[serde(skip_serializing_if = "is_zero")]
    pub cost_usd: MicroUsd,
    /// Ticks that did work.
    #[serde(skip_serializing_if = "is_zero")]
    pub ticks: u64,
}

impl SinceLanding {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, spend: Spend) {
        self.tokens += spend.tokens;
        self.cost_usd += spend.cost_usd;
        self.ticks = self.ticks.saturating_add(spend.ticks);
    }
}

impl Budget {
    /// Something landed.
    pub fn landed(&mut self) {
        self.consecutive_failures = 0;
        self.since_landing = SinceLanding::default();
    }

    /// The halt for spend without a landing, where a limit is reached.
    pub(super) fn without_progress(&self) -> Option<Halt> {
        let (since, limit) = (self.since_landing, self.no_progress);
        let mut over = Vec::new();
        if let Some(most) = limit.tokens.filter(|most| since.tokens >= *most) {
            over.push(format!("{} tokens (the limit is {most})", since.tokens));
        }
        if let Some(most) = limit.cost_usd.filter(|most| since.cost_usd >= *most) {
            over.push(format!("{} (the limit is {most})", since.cost_usd));
        }
        if let Some(most) = limit.ticks.filter(|most| since.ticks >= *most) {
            over.push(format!("{} working ticks (the limit is {most})", since.ticks));
        }
        (!over.is_empty()).then(|| Halt {
            reason: HaltReason::NoProgress,
            detail: format!(
                "nothing has landed for {}; see `autometta inbox`, mend what fails, then `autometta resume` counts anew",
                over.join(", ")
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::Admission;
    use crate::core::state::Reservation;

    #[test]
    fn spend_without_a_landing_halts_with_every_figure_and_a_landing_counts_anew() {
        let mut budget = Budget {
            no_progress: NoProgress { tokens: Some(Tokens(50)), cost_usd: None, ticks: Some(2) },
            ..Budget::default()
        };
        let now = chrono::DateTime::UNIX_EPOCH;
        budget.book(Spend { tokens: Tokens(49), ticks: 1, ..Spend::default() }, now);
        assert_eq!(budget.admits(&Reservation::default()), Admission::Fits);
        budget.book(Spend { tokens: Tokens(1), ticks: 1, ..Spend::default() }, now);
        let Admission::Over(halts) = budget.admits(&Reservation::default()) else { panic!("a limit is reached") };
        assert_eq!((halts.len(), halts[0].reason), (1, HaltReason::NoProgress));
        assert!(halts[0].detail.contains("50 tokens") && halts[0].detail.contains("2 working ticks"), "{halts:?}");
        budget.landed();
        assert_eq!(budget.admits(&Reservation::default()), Admission::Fits);
        assert_eq!(budget.tokens_spent, Tokens(50));
    }
}
