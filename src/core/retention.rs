//! What of the past goes, and why: a plan made from what is there and the manifest's rules. Nothing is touched here.
//!
//! A run may go once its stage has landed or was closed, nothing of it is left only on a branch, and a report was
//! written since. Then:
//!
//! - the runs of a stage whose end is longer ago than `keep.runs` go whole;
//! - while all runs together take more than `keep.size`, or less than `keep.floor` is free, the oldest lose everything
//!   but their records: order, claim, end, gates, flags, handoff and verdict are small and tell how it came out.
//!
//! Besides, logs of ended runs are compressed after `keep.compress`, which loses nothing, and segments of the journal
//! go after `keep.journal`. Branches never go.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{RunId, StageId};
use super::manifest::{Keep, TimeLimit};
use super::state::{EndStatus, Life, Stage};

/// What became of a stage, as far as its runs' staying goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It landed, then.
    Landed(DateTime<Utc>),
    /// A person closed it, then.
    Closed(DateTime<Utc>),
    /// Its runs stay.
    Stays(Stays),
}

/// Why a run stays, the strongest reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stays {
    /// It is in flight.
    InFlight,
    /// Its stage is not over.
    NotOver,
    /// Its stage waits for a person.
    WaitsForYou,
    /// Work of its stage stands on a branch and has not landed.
    Unmerged,
    /// No report was written since its stage ended.
    Unreported,
    /// Neither the state nor the archive knows its stage.
    Unknown,
    /// It is too young to go.
    Young,
}

impl Stays {
    /// The reason in words, after a number of runs.
    pub fn words(self) -> &'static str {
        match self {
            Self::InFlight => "in flight",
            Self::NotOver => "of stages that are not over",
            Self::WaitsForYou => "of stages that wait for you (`autometta inbox`)",
            Self::Unmerged => {
                "of closed stages whose work stands on a branch (`git branch --list 'autometta/*' 'wip/*'`)"
            }
            Self::Unreported => "not reported yet (`autometta report` writes the report)",
            Self::Unknown => "of stages that neither the queue nor the archive knows",
            Self::Young => "neither old nor in the way",
        }
    }
}

/// One run's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPast {
    /// The run.
    pub run: RunId,
    /// When it ended, or was last heard of.
    pub ended_at: DateTime<Utc>,
    /// What became of its stage.
    pub fate: Fate,
    /// The room that all of it takes, in bytes.
    pub bytes: u64,
    /// The room of everything but its records.
    pub bulk: u64,
    /// The room of its logs that are not compressed.
    pub plain: u64,
}

/// One segment of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentPast {
    /// Its number.
    pub number: u64,
    /// When it was last written to.
    pub at: DateTime<Utc>,
    /// The room that it takes, in bytes.
    pub bytes: u64,
}

/// All that is there.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// The runs.
    pub runs: Vec<RunPast>,
    /// Stages of which a branch has work that has not landed.
    pub unmerged: BTreeSet<StageId>,
    /// When the newest report was written.
    pub reported_at: Option<DateTime<Utc>>,
    /// The journal's segments, the oldest first.
    pub segments: Vec<SegmentPast>,
    /// Bytes that are free on the volume, where the system says.
    pub free: Option<u64>,
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is old enough.
    Age,
    /// All runs together take too much room.
    Size,
    /// Too little room is free on the volume.
    Floor,
}

/// One thing that is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Item {
    /// A run's directory goes whole.
    Remove {
        /// The run.
        run: RunId,
        /// The room that it takes, in bytes.
        bytes: u64,
        /// Why.
        why: Why,
    },
    /// A run's directory keeps its records only.
    Strip {
        /// The run.
        run: RunId,
        /// The room of what goes, in bytes.
        bytes: u64,
        /// Why.
        why: Why,
    },
    /// A run's logs are compressed.
    Compress {
        /// The run.
        run: RunId,
        /// The room that they take before, in bytes.
        bytes: u64,
    },
    /// A segment of the journal goes, and then what only it names.
    Segment {
        /// Its number.
        number: u64,
        /// The room that it takes, in bytes.
        bytes: u64,
    },
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What goes, and what is compressed.
    pub items: Vec<Item>,
    /// How many runs stay as they are, by why.
    pub stays: BTreeMap<Stays, usize>,
    /// Bytes by which all runs together are still above `keep.size` after it.
    pub above_size: u64,
    /// Bytes by which the free room is still below `keep.floor` after it.
    pub below_floor: u64,
}

/// What became of a stage that stands in the state or in the archive.
pub fn fate(stage: &Stage) -> Fate {
    match &stage.life {
        Life::Over(over) if stage.chores.is_empty() => match over.status {
            EndStatus::Completed => Fate::Landed(over.at),
            EndStatus::Superseded => Fate::Closed(over.at),
            EndStatus::Failed | EndStatus::Stalled | EndStatus::VerifierFailed | EndStatus::Blocked => {
                Fate::Stays(Stays::WaitsForYou)
            }
        },
        _ => Fate::Stays(Stays::NotOver),
    }
}

/// Decides what goes.
pub fn plan(past: &Past, rules: &Keep, now: DateTime<Utc>) -> Plan {
    let is_older = |at: DateTime<Utc>, limit: TimeLimit| now.signed_duration_since(at) >= span(limit);
    let ends = ends(past);
    let mut plan = Plan { items: segments(past, rules, now), ..Plan::default() };
    let mut may_go: Vec<(DateTime<Utc>, &RunPast)> = Vec::new();
    let mut taken = 0_u64;
    let mut freed = plan.items.iter().map(Item::bytes).fold(0, u64::saturating_add);
    let mut left: BTreeMap<&RunId, Stays> = BTreeMap::new();
    for run in &past.runs {
        match end_of(past, &ends, run) {
            Ok(at) if is_older(at, rules.runs) => {
                freed = freed.saturating_add(run.bytes);
                plan.items.push(Item::Remove { run: run.run.clone(), bytes: run.bytes, why: Why::Age });
            }
            Ok(at) => {
                taken = taken.saturating_add(run.bytes);
                left.insert(&run.run, Stays::Young);
                may_go.push((at, run));
            }
            Err(stays) => {
                taken = taken.saturating_add(run.bytes);
                left.insert(&run.run, stays);
            }
        }
    }
    may_go.sort_by_key(|(at, run)| (*at, run.ended_at, run.run.clone()));
    let short = |freed: u64| past.free.map_or(0, |free| rules.floor.0.saturating_sub(free.saturating_add(freed)));
    for (_, run) in may_go.into_iter().filter(|(_, run)| run.bulk > 0) {
        let why = if taken > rules.size.0 {
            Why::Size
        } else if short(freed) > 0 {
            Why::Floor
        } else {
            break;
        };
        taken = taken.saturating_sub(run.bulk);
        freed = freed.saturating_add(run.bulk);
        left.remove(&run.run);
        plan.items.push(Item::Strip { run: run.run.clone(), bytes: run.bulk, why });
    }
    for run in past.runs.iter().filter(|run| run.plain > 0 && is_older(run.ended_at, rules.compress)) {
        if left.get(&run.run).is_some_and(|stays| *stays != Stays::InFlight) {
            plan.items.push(Item::Compress { run: run.run.clone(), bytes: run.plain });
        }
    }
    plan.above_size = taken.saturating_sub(rules.size.0);
    plan.below_floor = short(freed);
    for stays in left.into_values() {
        *plan.stays.entry(stays).or_default() += 1;
    }
    plan
}

impl Item {
    /// The room that it is about, in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Remove { bytes, .. }
            | Self::Strip { bytes, .. }
            | Self::Compress { bytes, .. }
            | Self::Segment { bytes, .. } => *bytes,
        }
    }
}

fn span(limit: TimeLimit) -> TimeDelta {
    TimeDelta::try_seconds(i64::try_from(limit.seconds().0).unwrap_or(i64::MAX)).unwrap_or(TimeDelta::MAX)
}

/// When the last run of each stage ended: a stage that was brought back out of the archive may be told of by an older
/// end than its newest run's.
fn ends(past: &Past) -> BTreeMap<&StageId, DateTime<Utc>> {
    let mut ends = BTreeMap::new();
    for run in &past.runs {
        let end = ends.entry(&run.run.stage).or_insert(run.ended_at);
        *end = run.ended_at.max(*end);
    }
    ends
}

/// When everything around a run was over; or why it stays.
fn end_of(past: &Past, ends: &BTreeMap<&StageId, DateTime<Utc>>, run: &RunPast) -> Result<DateTime<Utc>, Stays> {
    let over_at = match run.fate {
        Fate::Stays(stays) => return Err(stays),
        Fate::Closed(_) if past.unmerged.contains(&run.run.stage) => return Err(Stays::Unmerged),
        Fate::Closed(at) | Fate::Landed(at) => at,
    };
    let end = ends.get(&run.run.stage).map_or(over_at, |last| over_at.max(*last));
    // What was started by hand stands in no report.
    let is_told = run.run.is_manual() || past.reported_at.is_some_and(|reported_at| reported_at >= end);
    if is_told { Ok(end) } else { Err(Stays::Unreported) }
}

/// The oldest segments, up to the first that is young; the newest always stays.
fn segments(past: &Past, rules: &Keep, now: DateTime<Utc>) -> Vec<Item> {
    let older = past.segments.split_last().map_or(&[][..], |(_, older)| older);
    let old = older.iter().take_while(|segment| now.signed_duration_since(segment.at) >= span(rules.journal));
    old.map(|segment| Item::Segment { number: segment.number, bytes: segment.bytes }).collect()
}

#[cfg(test)]
mod tests;
