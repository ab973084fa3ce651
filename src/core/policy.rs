//! Policy as data: how often what is tried again, how many stages run at once, how long a pause may last.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::card::LandingMode;
use super::ids::FamilyName;
use super::manifest::RepoPath;
use super::notice::NoticeKind;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::schedule::LocalRules;

/// What the machine goes by. The manifest's `retry:` and `max_parallel:` fill it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// How often a worker is briefed again after a work failure.
    pub work_retries: u32,
    /// How often a seat that returned no verdict is asked again.
    pub verifier_retries: u32,
    /// How often a run is tried again that was lost, crashed, or never started.
    pub infrastructure_retries: u32,
    /// How often a launch is tried before the run counts as never started.
    pub launch_tries: usize,
    /// How many stages may be in progress at once.
    pub max_parallel: usize,
    /// How many runs of a family may be in flight at once, workers and verifiers together, where there is a limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub family_parallel: BTreeMap<FamilyName, usize>,
    /// Whether a verified change lands by itself, where its card does not say.
    pub landing: LandingMode,
    /// The lowest score that a passing review may give, 1 to 10; none where reviews give none.
    pub review_floor: Option<u32>,
    /// What the operator is told of.
    pub tells: BTreeSet<NoticeKind>,
    /// What no worker may ever change.
    pub protected: Vec<RepoPath>,
    /// How many stages that are done with stand in the state; older ones are archived.
    pub finished_kept: usize,
    /// How often a run is put off while its provider is overloaded or unreachable, before the stage stalls.
    pub deferrals: u32,
    /// Tokens of all runs of a stage, where its card does not say; none where there is no limit.
    pub stage_tokens: Option<Tokens>,
    /// Money of all runs of a stage, likewise.
    pub stage_cost: Option<MicroUsd>,
    /// When a family whose provider keeps failing waits as a whole.
    pub breaker: BreakerPolicy,
    /// What goes by the clock on the operator's wall.
    pub local: LocalRules,
}

/// When a family's circuit breaker opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerPolicy {
    /// After how many failures of its provider; 0 for never.
    pub failures: u32,
    /// Within how long; and how long a probe may run until it counts as answered.
    #[serde(serialize_with = "in_seconds", deserialize_with = "from_seconds")]
    #[schemars(with = "i64")]
    pub window: TimeDelta,
}

fn in_seconds<S: Serializer>(time: &TimeDelta, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(time.num_seconds())
}

fn from_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<TimeDelta, D::Error> {
    let seconds = i64::deserialize(from)?;
    TimeDelta::try_seconds(seconds).ok_or_else(|| serde::de::Error::custom(format!("{seconds} seconds are too many")))
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            work_retries: 1,
            verifier_retries: 3,
            infrastructure_retries: 3,
            launch_tries: 3,
            max_parallel: 1,
            family_parallel: BTreeMap::new(),
            landing: LandingMode::Auto,
            review_floor: None,
            tells: BTreeSet::from([NoticeKind::NightEnd]),
            protected: Vec::new(),
            finished_kept: 20,
            deferrals: 12,
            stage_tokens: None,
            stage_cost: None,
            breaker: BreakerPolicy { failures: 4, window: TimeDelta::minutes(10) },
            local: LocalRules::default(),
        }
    }
}

impl Policy {
    /// How long an agent may retry while its provider only refuses, where the manifest does not say.
    pub const PATIENCE: Seconds = Seconds(180);
    /// How long a limit without a stated reset pauses its family.
    pub const UNSTATED_PAUSE: TimeDelta = TimeDelta::hours(1);
    /// The shortest pause: a reset that has just passed is asked again after this.
    pub const SHORTEST_PAUSE: TimeDelta = TimeDelta::minutes(1);
    /// The longest pause that a provider's word can cause: the longest window known is a week.
    pub const LONGEST_PAUSE: TimeDelta = TimeDelta::days(7);
}
