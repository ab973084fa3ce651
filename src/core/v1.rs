//! Version 1: the files of the shell implementation, and what of them is carried over.
//!
//! Its `state.yaml` and `budget.json` stand in the same places as ours. The types here take them as they are, however
//! old: nearly every key may be missing, and unknown keys are left alone (`files::document::unknown_keys` lists them).
//! [`carry`] turns them into values that have been checked. It does not know what our own state looks like, and it
//! does not know whether a process still runs: it only says which ones to ask about.

mod budget;
mod stages;

use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;

use super::fault::Faults;
use super::ids::StageId;

pub use budget::{CarriedBudget, CarriedHalt, CarriedPause, V1Budget, V1Instant};
pub use stages::{CarriedReason, CarriedStage, CarriedStatus, ReasonCode, V1Gate, V1Stage};

/// The version that both files must say they have. Budgets older than the key say nothing.
pub const VERSION: u32 = 1;

/// `state.yaml` as the shell implementation writes it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct V1State {
    /// 1.
    pub version: u32,
    /// The stage that was being worked on. Its own entry says the same, so this is not carried over.
    #[serde(default)]
    pub current_stage: Option<String>,
    /// When it last ticked.
    #[serde(default)]
    pub last_tick_at: Option<String>,
    /// How often it ticked.
    #[serde(default)]
    pub tick_count: Option<u64>,
    /// A copy of what the budget says better.
    #[serde(default)]
    pub clock_tick_budget_remaining: Option<i64>,
    /// The stages, in the order of dispatch.
    #[serde(default)]
    pub stages: Option<Vec<V1Stage>>,
    /// Whether it halted; the budget says so too, but either may be behind the other.
    #[serde(default)]
    pub halted: Option<bool>,
    /// Why.
    #[serde(default)]
    pub halt_reason: Option<String>,
}

/// Everything that is carried over.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// How often version 1 ticked.
    pub tick_count: u64,
    /// The stages, in their old order.
    pub stages: Vec<CarriedStage>,
    /// Processes that version 1 may have left running. The carry-over must wait until all of them have ended.
    pub live_pids: Vec<(StageId, i32)>,
    /// The budget.
    pub budget: CarriedBudget,
}

/// What of the two files cannot be carried over. Places are JSON pointers into the file in question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
pub struct CarryFaults {
    /// Faults of `state.yaml`.
    pub state: Faults,
    /// Faults of `budget.json`.
    pub budget: Faults,
}

impl CarryFaults {
    fn sentence(&self) -> String {
        let of = |file: &str, faults: &Faults| (!faults.is_empty()).then(|| format!("{file} (version 1): {faults}"));
        let parts: Vec<String> =
            [of("state.yaml", &self.state), of("budget.json", &self.budget)].into_iter().flatten().collect();
        parts.join("; ")
    }
}

/// Checks both files and turns them into what the new state is made from.
///
/// A stage in progress becomes pending, since its process is not ours; its pids are named in its reason and listed in
/// [`Carried::live_pids`].
///
/// # Errors
/// Everything in either file that cannot be read, at once. Nothing is carried over in part.
pub fn carry(state: &V1State, budget: &V1Budget) -> Result<Carried, CarryFaults> {
    let mut faults = CarryFaults::default();
    if state.version != VERSION {
        faults.state.add(None, "/version", format!("`{}` is not {VERSION}", state.version));
    }
    let (stages, live_pids) = stages::carry(state.stages.as_deref().unwrap_or_default(), &mut faults.state);
    let budget = budget::carry(budget, state, &mut faults.budget);
    if faults.state.is_empty() && faults.budget.is_empty() {
        Ok(Carried { tick_count: state.tick_count.unwrap_or(0), stages, live_pids, budget })
    } else {
        Err(faults)
    }
}

/// A time in a version 1 file; empty text stands for none.
fn instant(text: Option<&str>, place: &str, faults: &mut Faults) -> Option<chrono::DateTime<chrono::Utc>> {
    let text = text.filter(|text| !text.trim().is_empty())?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        faults.add(None, place, format!("`{text}` is not a time such as `2026-09-06T10:00:00Z`"));
    }
    parsed
}

#[cfg(test)]
mod tests;
