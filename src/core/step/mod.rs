//! The machine: `step` looks at a state, a budget and an observation, and says what they become and what to do.
//!
//! It is pure and total: no clock, no files, no randomness; the same input gives the same output, and called again
//! with nothing new it changes nothing. One call moves every stage at most one step:
//! `supervise` takes what runs in flight have come to, `landing` what came of landings, and `dispatch` then starts
//! what may start.

mod afford;
mod checks;
mod dispatch;
mod door;
mod escalation;
mod landing;
mod queue;
mod refusal;
mod repeat;
mod supervise;
mod turn;
mod unverified;
mod verifying;
mod weather;
mod working;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::ids::{RunId, StageId};
use super::notice::NoticeKey;
use super::observation::Observation;
use super::policy::Policy;
use super::state::{Chore, State, Stopping};

pub use checks::fault_of as fault_of_candidate;
pub use dispatch::Hold;
pub use queue::{common_claim, crowd, hold, hold_in, order};

/// What a step comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The state to commit.
    pub state: State,
    /// The budget to commit.
    pub budget: Budget,
    /// What to do once both are committed, in this order.
    pub effects: Vec<Effect>,
    /// What happened, one line of the ledger each.
    pub notes: Vec<Note>,
}

/// Something to do in the world. Each is idempotent, and what came of it is observed by a later tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Stop a run and everything that descends from it.
    Stop {
        /// The run.
        run: RunId,
        /// Why.
        why: Stopping,
    },
    /// Do a chore.
    Chore {
        /// The stage that it belongs to.
        stage: StageId,
        /// The chore.
        chore: Chore,
    },
    /// Move the base branch to the approved candidate.
    Land {
        /// The stage.
        stage: StageId,
    },
    /// Start a run that stands in the state; what it is to do follows from its stage.
    Launch {
        /// The run.
        run: RunId,
    },
    /// Tell the operator something, once.
    Tell {
        /// Which notice of the state.
        key: NoticeKey,
    },
}

/// One line of the ledger: what happened, to which stage, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Note {
    /// The stage; none for what concerns the whole repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageId>,
    /// The run that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// A stable word for it: `dispatched`, `gate-failed`, `landed`, `halted` …
    pub event: String,
    /// What the stage was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The figures, the words, the reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Moves every stage at most one step.
pub fn step(state: &State, budget: &Budget, seen: &Observation, policy: &Policy, now: DateTime<Utc>) -> Step {
    let mut turn = turn::Turn::new(budget.clone(), seen, policy, now);
    let mut next = state.clone();
    turn.end_pauses();
    turn.end_drain();
    turn.roll_for_turned_away();
    weather::take(&mut turn);
    weather::tell_sleep(&mut turn, &mut next);
    turn.drop_told(&mut next.notices);
    for stage in &mut next.stages {
        turn.drop_done_chores(stage);
        supervise::advance(&mut turn, stage);
    }
    repeat::queue_again(&mut turn, &mut next.stages);
    dispatch::dispatch(&mut turn, &mut next.stages);
    turn.finish(state, budget, next)
}
