//! What is remembered of a stage's place in the queue, besides its card: who holds it, how often others went first,
//! and where its dependencies were looked for.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{CommitId, StageId};
use super::quantity::Seconds;

/// How often stages that were queued later may start before one that waits for its turn, until it goes first.
pub const MOST_PASSES: u32 = 8;

/// A stage's place in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Wait {
    /// Set while an operator holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// How many stages that were queued later have started since it could have, but for its turn; 8 at most.
    #[serde(skip_serializing_if = "super::quantity::is_zero")]
    pub passed_over: u32,
    /// What was found when its dependencies were last looked for in its base, and it did not start at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foundation: Option<Foundation>,
    /// Not to be begun before this time, by its card; forgotten once it has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// Set where its card says that it is queued again after it has landed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

impl Wait {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it begins anew for a card that says how often it is repeated, or does not.
    pub fn set_every(&mut self, every: Option<Seconds>) {
        let Some(every) = every else { return self.repeat = None };
        self.repeat.get_or_insert_with(|| Repeat::new(every)).every = every;
    }

    /// Whether it was passed over so often that it goes first.
    pub fn has_waited_enough(&self) -> bool {
        self.passed_over >= MOST_PASSES
    }
}

/// A stage that is queued again after it has landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// How long after its last begin it begins again at the soonest.
    #[serde(rename = "every_seconds")]
    pub every: Seconds,
    /// When its last round began; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<DateTime<Utc>>,
    /// How many rounds have landed and were followed by another.
    #[serde(default, skip_serializing_if = "super::quantity::is_zero")]
    pub rounds: u32,
    /// The commit that the last of them landed as; none where there was nothing to land.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed: Option<CommitId>,
    /// The attempts of the rounds before the last one, whose runs stand in the archive only.
    #[serde(default, skip_serializing_if = "super::quantity::is_zero")]
    pub archived_attempts: u32,
    /// Why it is not queued again, where its card could not be used when its time came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl Repeat {
    /// Before the first round.
    pub fn new(every: Seconds) -> Self {
        Self { every, began_at: None, rounds: 0, landed: None, archived_attempts: 0, stopped: None }
    }

    /// When the round after the one that began last begins at the soonest; none where there will be none.
    pub fn next_at(&self) -> Option<DateTime<Utc>> {
        if self.stopped.is_some() {
            return None;
        }
        let every = TimeDelta::try_seconds(i64::try_from(self.every.0).ok()?)?;
        self.began_at?.checked_add_signed(every)
    }
}

/// An operator's hold on a stage in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Why, in the operator's words; may be empty.
    pub why: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Whether the commits of a stage's dependencies are in the base that it would be built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Foundation {
    /// The tip of the base that was looked at.
    pub tip: CommitId,
    /// The commits that were looked for, in the order of the card.
    pub commits: Vec<CommitId>,
    /// The dependencies whose commit is not in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<StageId>,
}
