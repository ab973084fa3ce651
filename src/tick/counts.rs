//! How a repository stands, in figures: what one line about it needs.
//!
//! The heartbeat carries them together with the identities of the files that they were counted in, so that a look at
//! hundreds of repositories need not parse their states. They are believed only while those files are the same.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::budget::{HaltReason, Pause};
use crate::core::ids::StageId;
use crate::core::inbox::items;
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::rest::is_at_rest;
use crate::core::state::{EndStatus, Life, Stage};
use crate::files::identity::Identity;
use crate::files::layout::Layout;
use crate::files::store::Loaded;

/// Landings older than this are on no calendar's today.
const LANDED_WITHIN: TimeDelta = TimeDelta::hours(48);

/// The figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// The repository's name on this machine.
    pub repo_id: String,
    /// Stages in progress that wait for nobody.
    pub in_flight: usize,
    /// Stages in the queue that wait for nobody.
    pub pending: usize,
    /// Stages that wait for a person.
    pub needs_you: usize,
    /// When stages landed in the last two days.
    pub landed: Vec<DateTime<Utc>>,
    /// Whether anything waits for a tick.
    pub needs_ticks: bool,
    /// Whether no tick can find anything to do, as long as nobody says or changes anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_rest: bool,
    /// Tokens spent in the window.
    pub tokens_spent: Tokens,
    /// The most that may be spent.
    pub token_cap: Option<Tokens>,
    /// Money spent in the window.
    pub cost_spent_usd: MicroUsd,
    /// The most that may be spent.
    pub cost_cap_usd: Option<MicroUsd>,
    /// Why it is halted.
    pub halts: Vec<HaltReason>,
    /// Families that wait for their providers.
    pub pauses: Vec<Pause>,
}

impl Counts {
    /// Counts.
    pub fn of(loaded: &Loaded, now: DateTime<Utc>) -> Self {
        let (state, budget) = (&loaded.state, &loaded.budget);
        let landed = state.stages.iter().filter_map(|stage| match &stage.life {
            Life::Over(over) if over.status == EndStatus::Completed && now - over.at < LANDED_WITHIN => Some(over.at),
            _ => None,
        });
        let items = items(state, budget);
        let waiting: BTreeSet<&StageId> = items.iter().filter_map(|item| item.stage.as_ref()).collect();
        let count = |holds: fn(&Stage) -> bool| {
            state.stages.iter().filter(|stage| holds(stage) && !waiting.contains(&stage.id)).count()
        };
        Self {
            repo_id: state.repo_id.clone(),
            in_flight: count(|stage| stage.life.is_in_progress()),
            pending: count(|stage| matches!(stage.life, Life::Pending(_))),
            needs_you: waiting.len(),
            landed: landed.collect(),
            needs_ticks: needs_ticks(loaded),
            at_rest: is_at_rest(state, budget),
            tokens_spent: budget.tokens_spent,
            token_cap: budget.token_cap_total,
            cost_spent_usd: budget.cost_spent_usd,
            cost_cap_usd: budget.cost_cap_usd,
            halts: budget.halt_reasons.iter().map(|halt| halt.reason).collect(),
            pauses: budget.waits(now),
        }
    }
}

/// Whether anything waits for a tick.
pub fn needs_ticks(loaded: &Loaded) -> bool {
    loaded.state.stages.iter().any(|stage| !matches!(stage.life, Life::Over(_)) || stage.repeats_at().is_some())
}

/// Figures with the files that they were counted in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Transaction, state and budget, as they were.
    files: [Identity; 3],
    /// What was counted.
    counts: Counts,
}

impl Counted {
    /// Counts what a tick has loaded. Only the holder of the lock may call it: nobody changes the files meanwhile.
    pub fn now(layout: &Layout, loaded: &Loaded, now: DateTime<Utc>) -> Self {
        Self { files: files(layout), counts: Counts::of(loaded, now) }
    }

    /// The figures, if the files are still those that they were counted in.
    pub fn if_current(&self, layout: &Layout) -> Option<&Counts> {
        (self.files == files(layout)).then_some(&self.counts)
    }
}

fn files(layout: &Layout) -> [Identity; 3] {
    [layout.txn(), layout.state_yaml(), layout.budget_json()].map(|path| Identity::of(&path))
}
