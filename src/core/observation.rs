//! What the world looks like, as data: the machine's only way to know anything.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::FleetDay;
use super::card::Card;
use super::exit::{ExitRecord, Usage};
use super::handoff::Handoff;
use super::honesty::{Findings, FrozenFile};
use super::ids::{CommitId, FamilyName, Identity, RunId, StageId};
use super::notice::NoticeKey;
use super::pace::Pricing;
use super::quantity::Seconds;
use super::quota::Reading;
use super::run::ModelUse;
use super::sleep::Slept;
use super::state::{Candidate, Chore, Life, Reservation, Stage};
use super::verdict::Verdict;
use super::wait::Foundation;
use super::weather::Weather;

/// Everything that one fire has seen. What is absent was not looked at and changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Observation {
    /// The runs in flight.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<RunId, Sighting>,
    /// Launches that were tried and failed, of runs that did not start.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub launch_faults: BTreeMap<RunId, LaunchFaults>,
    /// What stages ask for, read from their cards; or why a card cannot be used.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub briefs: BTreeMap<StageId, Result<Box<Brief>, String>>,
    /// Contract tests as they are at the base, of stages that may start; or why they cannot be frozen.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contracts: BTreeMap<StageId, Result<Vec<FrozenFile>, String>>,
    /// What was found of the dependencies of stages that may start in the bases that they would be built on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub foundations: BTreeMap<StageId, Foundation>,
    /// The tips of base branches; none for a branch that does not exist.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tips: BTreeMap<String, Option<CommitId>>,
    /// Stages that are landing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub landings: BTreeMap<StageId, LandingSighting>,
    /// Parked stages whose base has moved since it was last compared: the new tip, and whether the change is in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parked: BTreeMap<StageId, ParkedSighting>,
    /// Chores that were seen done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub done: BTreeMap<StageId, Vec<Chore>>,
    /// Notices that were taken up.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub told: BTreeSet<NoticeKey>,
    /// Who commits: the operator's git identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committer: Option<Identity>,
    /// When the present day of this machine's clock began, where the budget's window asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_midnight: Option<DateTime<Utc>>,
    /// What the fleet's day leaves for this repository, where the fleet has caps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetDay>,
    /// Whether the providers of families that may be dispatched can be reached.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weather: BTreeMap<FamilyName, Weather>,
    /// What the quota readers of such families said; none for one that says nothing usable.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub quota: BTreeMap<FamilyName, Option<Reading>>,
    /// How long the machine has slept since the tick before, where that is worth telling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slept: Option<Slept>,
}

impl Observation {
    /// Whether a stage in progress could end in the very step that follows, so that others take its place.
    pub fn may_end(&self, stage: &Stage) -> bool {
        match &stage.life {
            Life::Landing(_) => true,
            life => life
                .flights()
                .iter()
                .any(|flight| matches!(self.runs.get(&flight.run), Some(Sighting::Ended(_) | Sighting::Lost(_)))),
        }
    }

    /// The same without what stages ask for, which is large and seldom changes.
    #[must_use]
    pub fn without_briefs(&self) -> Self {
        let Self {
            runs,
            launch_faults,
            briefs: _,
            contracts,
            foundations,
            tips,
            landings,
            parked,
            done,
            told,
            committer,
            local_midnight,
            fleet,
            weather,
            quota,
            slept,
        } = self;
        Self {
            runs: runs.clone(),
            launch_faults: launch_faults.clone(),
            briefs: BTreeMap::new(),
            contracts: contracts.clone(),
            foundations: foundations.clone(),
            tips: tips.clone(),
            landings: landings.clone(),
            parked: parked.clone(),
            done: done.clone(),
            told: told.clone(),
            committer: committer.clone(),
            local_midnight: *local_midnight,
            fleet: fleet.clone(),
            weather: weather.clone(),
            quota: quota.clone(),
            slept: slept.clone(),
        }
    }
}

/// Launches of one run that were tried and failed. An order that a killed tick did not get to is none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaunchFaults {
    /// How many.
    pub count: usize,
    /// Why the last one failed.
    pub last: String,
}

/// One run in flight, as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// Nothing of it ever ran: its launch was ordered and did not happen.
    NotStarted,
    /// It is alive.
    Running(Pulse),
    /// It has ended.
    Ended(Box<Ended>),
    /// It began, nothing of it is alive, and it left no record.
    Lost(Box<LostRun>),
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pulse {
    /// How long it has run.
    pub elapsed: Option<Seconds>,
    /// How long it has printed nothing.
    pub silent_for: Option<Seconds>,
    /// Whether somebody watches its caps.
    pub watched: Watched,
}

/// Whether a live run has its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Watched {
    /// Its supervisor lives.
    BySupervisor,
    /// Its supervisor is gone: ticks watch its wall-clock cap.
    ByTicksOnly,
}

/// A run that has ended, with what it left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Its supervisor's record.
    pub record: ExitRecord,
    /// What it left, by role.
    pub product: Product,
}

/// What a run left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// A worker: its handoff, and what its worktree holds.
    Worker {
        /// The handoff.
        handoff: Returned<Handoff>,
        /// The worktree.
        work: WorkSighting,
    },
    /// A gate: all of it stands in the record.
    Gate,
    /// A verifier: its verdict.
    Verifier {
        /// The verdict.
        verdict: Returned<Verdict>,
    },
}

/// What an agent returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Returned<T> {
    /// Nothing.
    Nothing,
    /// Something that cannot be used, and why.
    Unusable(String),
    /// A document for this run that says something possible.
    Usable(T),
}

/// What a worker's worktree holds, whatever the worker did to git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkSighting {
    /// Its files, as a commit on the base.
    Captured(Captured),
    /// There is no worktree.
    Gone,
    /// It could not be read.
    Unreadable(String),
    /// It holds a secret of the run, or nobody can tell that it holds none: nothing was made of it, and it stays.
    Withheld(String),
}

/// A worktree's files as a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Captured {
    /// The commit and its tree.
    pub candidate: Candidate,
    /// Paths that differ from the base.
    pub changed: Vec<String>,
    /// Repositories or submodules inside it that the base does not have.
    pub embedded: Vec<String>,
    /// What was found in it besides.
    pub findings: Box<Findings>,
}

/// A run that ended without a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LostRun {
    /// What its output tells of its usage.
    pub usage: Usage,
    /// How long it ran at most.
    pub elapsed: Option<Seconds>,
    /// A worker's worktree.
    pub work: Option<WorkSighting>,
    /// What is known of how it was lost.
    pub detail: String,
}

/// A stage that is landing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LandingSighting {
    /// The base is where the candidate expects it; nothing has been tried yet.
    Ready,
    /// It has landed.
    Landed(CommitId),
    /// The base has moved; the changes touch different files and were put together.
    Rebased {
        /// The base's new tip, or the candidate that is to land before this one.
        tip: CommitId,
        /// The change on top of it.
        candidate: Candidate,
        /// The stage of that other candidate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behind: Option<StageId>,
    },
    /// It stands on the candidate of this stage, which has yet to land.
    Behind(StageId),
    /// The base has moved and touches the same files.
    Overlap {
        /// The base's new tip.
        tip: CommitId,
        /// The files.
        paths: Vec<String>,
    },
    /// The base is checked out with local edits in files that the landing touches.
    Dirty(Vec<String>),
    /// The base is checked out and something else is under way there.
    Busy(String),
    /// The base branch does not exist.
    NoBase,
    /// Git failed.
    Failed(String),
}

/// A parked stage whose base has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParkedSighting {
    /// The base's tip.
    pub tip: CommitId,
    /// The commit that holds the change, if somebody merged it.
    pub merged: Option<CommitId>,
}

/// Who is to run, with the family that was found for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placed {
    /// Who.
    pub identity: Identity,
    /// Their family.
    pub family: FamilyName,
    /// The model that they stand for today; none where the family calls none.
    pub model: Option<String>,
}

/// Somebody whom a card names, in whatever place, with the caps of the runs that they might make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Who.
    pub placed: Placed,
    /// Whether its runs call a model; one that calls none only runs commands.
    pub model_use: ModelUse,
    /// The caps of a worker's run.
    pub worker_caps: Reservation,
    /// The caps of a verifier's run.
    pub verifier_caps: Reservation,
    /// How history lowers them; none where its runs call no model.
    pub pricing: Option<Pricing>,
}

/// What a stage asks for: its card, with families and caps resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Brief {
    /// The card.
    pub card: Card,
    /// The sha256 of its bytes.
    pub card_sha256: String,
    /// Who makes the change: the card's own worker, unless it was [staffed](Self::staffed_for) for a higher rung.
    pub worker: Placed,
    /// Who judges it, on the same terms.
    pub verifiers: Vec<Placed>,
    /// The worker run's own caps.
    pub worker_caps: Reservation,
    /// Each verifier run's own caps, in the order of the seats.
    pub verifier_caps: Vec<Reservation>,
    /// The gate run's own caps; none where there is nothing to run.
    pub gate_caps: Option<Reservation>,
    /// Everybody whom the card names and some family serves, the ladder's rungs and all fallbacks included.
    pub members: Vec<Member>,
    /// Who takes a run of a family while that waits for its provider, as the manifest says.
    pub fallbacks: BTreeMap<FamilyName, Identity>,
}

impl Brief {
    /// The same brief with those at work whom the state names, for a stage that has left its card's first rung or
    /// whose places others have taken.
    ///
    /// # Errors
    /// One of them is nobody whom the card names and a family serves.
    pub fn staffed_for(self, stage: &Stage) -> Result<Self, String> {
        if stage.rung == 0 && stage.fallback.is_none() {
            return Ok(self);
        }
        self.staffed_with(stage, &stage.worker, &stage.verifiers)
    }

    /// The same brief with these at work.
    ///
    /// # Errors
    /// One of them is nobody whom the card or the manifest names and a family serves.
    pub fn staffed_with(self, stage: &Stage, worker: &Identity, seats: &[Identity]) -> Result<Self, String> {
        let find = |who: &Identity| {
            self.member(who).cloned().ok_or_else(|| {
                format!(
                    "no family serves `{who}`, who is to go on with the stage; name one under `families:` in \
                     .autometta.yaml, or `autometta skip {}` and then `autometta requeue {}` starts anew",
                    stage.id, stage.id
                )
            })
        };
        let worker = find(worker)?;
        let seats = seats.iter().map(find).collect::<Result<_, _>>()?;
        Ok(self.with(worker, seats))
    }

    /// The same brief with these at work.
    #[must_use]
    pub fn with(mut self, worker: Member, seats: Vec<Member>) -> Self {
        self.worker = worker.placed;
        self.worker_caps = worker.worker_caps;
        self.verifier_caps = seats.iter().map(|seat| seat.verifier_caps).collect();
        self.verifiers = seats.into_iter().map(|seat| seat.placed).collect();
        self
    }

    /// Somebody whom the card or the manifest names and a family serves.
    pub fn member(&self, who: &Identity) -> Option<&Member> {
        self.members.iter().find(|member| member.placed.identity == *who)
    }

    /// The first verifier that shares the worker's family without a rationale on the card.
    pub fn same_family(&self) -> Option<&Placed> {
        if self.card.same_family.is_some() {
            return None;
        }
        self.verifiers.iter().find(|verifier| verifier.family == self.worker.family)
    }
}
