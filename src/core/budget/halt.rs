//! Halts: why nothing is dispatched until a person says `resume`.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Budget;

/// Why a repository is halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HaltReason {
    /// `token_cap_total`
    TokenCap,
    /// `cost_cap_usd`
    CostCap,
    /// `wall_clock_cap_seconds`
    WallClockCap,
    /// `clock_tick_cap`
    TickCap,
    /// `consecutive_failure_cap`
    FailureCap,
    /// `state.yaml` cannot be read and cannot be restored.
    StateCorrupt,
    /// An agent cannot be started as it is configured.
    DispatchConfigurationFault,
    /// Spend without a landing.
    NoProgress,
    /// A worker put commits onto the base branch by itself, which nobody has judged.
    BaseWritten,
    /// A person said `halt`.
    Operator,
}

impl HaltReason {
    /// The word in `budget.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenCap => "token-cap",
            Self::CostCap => "cost-cap",
            Self::WallClockCap => "wall-clock-cap",
            Self::TickCap => "tick-cap",
            Self::FailureCap => "failure-cap",
            Self::StateCorrupt => "state-corrupt",
            Self::DispatchConfigurationFault => "dispatch-configuration-fault",
            Self::NoProgress => "no-progress",
            Self::BaseWritten => "base-written",
            Self::Operator => "operator",
        }
    }

    /// Whether it is a cap on spend, which `resume` does not lift while it is still over.
    pub fn is_spend_cap(self) -> bool {
        matches!(self, Self::TokenCap | Self::CostCap | Self::WallClockCap | Self::TickCap)
    }
}

/// One reason for a halt, with its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    /// Which.
    pub reason: HaltReason,
    /// What is over, or what the agent said, and the way out.
    pub detail: String,
}

impl Budget {
    /// Latches a halt; reasons that stand already are brought up to date, not repeated. True when that is news.
    pub fn halt(&mut self, halts: Vec<Halt>, now: DateTime<Utc>) -> bool {
        let mut news = false;
        for halt in halts {
            match self.halt_reasons.iter_mut().find(|known| known.reason == halt.reason) {
                Some(known) => known.detail = halt.detail,
                None => {
                    news = true;
                    self.halt_reasons.push(halt);
                }
            }
        }
        if news && !self.halted {
            self.halted = true;
            self.halted_at = Some(now);
        }
        self.halt_reason = self.halt_reasons.first().map(|halt| halt.reason);
        news
    }
}
