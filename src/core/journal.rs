//! The journal's records: for every commit what it followed from and what it changed, so that each decision can be made
//! again and each past state be had back.
//!
//! A record is evidence and no state: nobody decides by it. What repeats from record to record, such as a policy or a
//! card, stands in a *part* of its own, which is named by the sha256 of its bytes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::StageId;
use super::observation::Observation;
use super::operate::Command;
use super::state::Stage;
use super::state_doc::StageDoc;

mod changes;

pub use changes::{Change, Changes, Difference, first_difference};

/// The version of the records that this program writes.
pub const JOURNAL_VERSION: u32 = 1;

/// One commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The version of the program that decided.
    pub program: String,
    /// The sha256 of the line before, in hex, without its newline; none where that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    /// The commit's first line of the ledger; for one without lines, the line before it.
    pub first: u64,
    /// The commit's last line of the ledger; less than `first` never, and the same for one without lines.
    pub last: u64,
    /// How many lines that are.
    pub lines: u64,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// The tick that decided it.
    pub tick: u64,
    /// How many records ago both documents stood whole; 0 where they do here.
    pub since_whole: u64,
    /// What was known before; none where the documents stand here whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Sums>,
    /// What is known from now on.
    pub after: Sums,
    /// What it followed from.
    pub cause: Cause,
    /// What it changed.
    #[serde(default, skip_serializing_if = "Changes::is_empty")]
    pub changes: Changes,
}

/// The sha256 of both documents as they stand in their files, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Of `state.yaml`.
    pub state: String,
    /// Of `budget.json`.
    pub budget: String,
}

/// What a commit followed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// A tick's step.
    Step {
        /// Ticks before it that did nothing and are counted with it.
        idle: u64,
        /// The part that holds the policy.
        policy: String,
        /// What stages ask for.
        #[serde(default, skip_serializing_if = "Briefs::is_empty")]
        briefs: Briefs,
        /// Everything else that was seen.
        seen: Box<Observation>,
    },
    /// An operator's commands.
    Commands {
        /// The commands, in order.
        commands: Vec<Command>,
        /// Archived stages that were put in front of the queue for them, one after the other.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        brought_back: Vec<Stage>,
    },
    /// Nothing that could be decided again: both documents stand whole in the parts that their sums name.
    Whole {
        /// Why: the event of the commit's first line, such as `initialised` or `restored`; for a record that is no
        /// commit `edited` (the documents are not as the last record left them), `segment` or `interval`.
        why: String,
    },
}

/// What the stages ask for, each in a part of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Briefs {
    /// By stage.
    Here(BTreeMap<StageId, BriefRef>),
    /// The part that holds the same, where there are many.
    Part(String),
}

impl Default for Briefs {
    fn default() -> Self {
        Self::Here(BTreeMap::new())
    }
}

impl Briefs {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Here(briefs) if briefs.is_empty())
    }
}

/// What one stage asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BriefRef {
    /// The part that holds it.
    Part(String),
    /// Why its card cannot be used.
    Unusable(String),
}

impl Record {
    /// Whether both documents stand here whole.
    pub fn is_whole(&self) -> bool {
        matches!(self.cause, Cause::Whole { .. })
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        StageDoc::from(self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        StageDoc::deserialize(from)?.into_archived().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Stage {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        StageDoc::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        StageDoc::json_schema(generator)
    }
}
