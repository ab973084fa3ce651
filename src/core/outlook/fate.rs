//! How one simulated night went: what is counted over all of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::agents::Doer;
use crate::core::budget::{Budget, HaltReason};
use crate::core::ids::{FamilyName, StageId};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::{Reservation, Stage};

/// One night.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// When the last thing happened, where nothing was left then that goes on by itself; none where something still did
    /// when the night was over.
    pub quiet_at: Option<DateTime<Utc>>,
    /// How many runs were dispatched.
    pub dispatched: u64,
    /// Whose runs were drawn.
    pub ran: BTreeSet<Doer>,
    /// What landed, and when.
    pub landed: BTreeMap<StageId, DateTime<Utc>>,
    /// How every other stage stood at the end: the code of its reason, or one of [`Left`].
    pub left: BTreeMap<StageId, String>,
    /// What was charged in the night.
    pub spent: Amounts,
    /// The most that stood in the window's counters.
    pub peak: Amounts,
    /// The most that had to fit into the caps at once.
    pub needed: Amounts,
    /// The limits that were met, in their order, each once.
    pub limits: Vec<(Limit, DateTime<Utc>)>,
}

/// What caps count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Tokens.
    pub tokens: Tokens,
    /// Money.
    pub cost_usd: MicroUsd,
    /// Time of runs.
    pub seconds: Seconds,
    /// Ticks that did work.
    pub ticks: u64,
}

impl Amounts {
    /// What stands in the window's counters.
    pub fn in_window(budget: &Budget) -> Self {
        Self {
            tokens: budget.tokens_spent,
            cost_usd: budget.cost_spent_usd,
            seconds: budget.wall_clock_elapsed_seconds,
            ticks: budget.clock_ticks_used,
        }
    }

    /// What has to fit into the caps: that, what is set aside, and the turns by which several runs may pass it at once.
    pub fn to_fit(budget: &Budget, stages: &[Stage]) -> Self {
        let spent = Self::in_window(budget);
        let several = stages.iter().flat_map(|stage| stage.life.flights()).nth(1).is_some();
        let beyond = if several { Reservation::beyond(stages) } else { Reservation::default() };
        Self {
            tokens: spent.tokens + budget.tokens_reserved + beyond.tokens,
            cost_usd: spent.cost_usd + budget.cost_reserved_usd + beyond.cost_usd,
            seconds: spent.seconds + budget.wall_clock_reserved_seconds,
            ..spent
        }
    }

    /// A fifth more of each.
    #[must_use]
    pub fn and_a_fifth(self) -> Self {
        let more = |amount: u64| amount.saturating_add(amount.div_ceil(5));
        Self {
            tokens: Tokens(more(self.tokens.0)),
            cost_usd: MicroUsd(more(self.cost_usd.0)),
            seconds: Seconds(more(self.seconds.0)),
            ticks: more(self.ticks),
        }
    }

    /// The larger of each.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            cost_usd: self.cost_usd.max(other.cost_usd),
            seconds: self.seconds.max(other.seconds),
            ticks: self.ticks.max(other.ticks),
        }
    }
}

/// Something that holds a night up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A halt, until a person acts or the window moves on.
    Halt(HaltReason),
    /// A provider that a family waits for.
    Provider(FamilyName),
    /// A time of the day in which no worker starts.
    Curfew,
    /// What all repositories together may spend in a day.
    FleetDay,
}

/// Where a stage stands that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its runs were under way.
    UnderWay,
    /// Its turn had not come.
    Queued,
    /// The repository was halted.
    Halted,
    /// It waited for its provider.
    Provider,
    /// It stood behind a stage that had not landed.
    Dependency,
    /// It waited for the end of the curfew.
    Curfew,
    /// It was verified and waited to be let land.
    Landing,
    /// A whole attempt did not fit into what was left of a cap.
    Unaffordable,
    /// An operator held it.
    Held,
    /// Its card said not to begin it before.
    Scheduled,
}

impl Left {
    /// The word for it, beside the codes of endings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "under-way",
            Self::Queued => "queued",
            Self::Halted => "halted",
            Self::Provider => "provider",
            Self::Dependency => "dependency",
            Self::Curfew => "curfew",
            Self::Landing => "landing-waits",
            Self::Unaffordable => "unaffordable",
            Self::Held => "held",
            Self::Scheduled => "scheduled",
        }
    }
}

/// How a stage ended or stood, in a few words for people.
pub fn in_words(code: &str) -> &str {
    match code {
        "under-way" => "still under way",
        "queued" => "not its turn yet",
        "halted" => "not begun: halted",
        "held" => "held by an operator",
        "scheduled" => "not before its time",
        "provider" => "waits for its provider",
        "dependency" => "behind a stage that has not landed",
        "curfew" => "held by the curfew",
        "landing-waits" => "its landing waits for you",
        "unaffordable" => "not begun: it would not fit a cap",
        "fleet-day" => "held by the fleet's day",
        "fleet-agents" => "no place among the fleet's agents",
        "gate-failed" => "its gates fail",
        "verdict-fail" => "its verifiers refuse it",
        "verdict-blocked" => "its verifiers ask something",
        "verdict-missing" | "panel-undecided" => "no verdict comes",
        "question" => "its worker asks something",
        "approval" => "waits for you to approve it",
        "integration" => "waits for you to merge it",
        "worker-failed" => "its worker gives up",
        "handoff-missing" | "handoff-malformed" => "no handoff comes",
        "out-of-scope" | "empty-diff" => "its change does not pass the checks",
        "no-progress" => "its worker hands in the same again",
        "timed-out" => "its worker runs out of time",
        "token-cap" | "cost-cap" => "its worker reaches its own cap",
        "stage-token-cap" | "stage-cost-cap" => "the stage reaches its own cap",
        "agent-crashed" | "lost" | "never-started" | "gate-broken" | "stopped-from-outside" => "its runs crash",
        "provider-down" => "its provider does not answer",
        "card-unusable" | "same-family" | "no-base" | "contract-missing" => "its card has to be mended",
        other => other,
    }
}
