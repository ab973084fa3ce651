//! What the world looks like, as data: the machine's only way to know anything.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::card::Card;
use super::exit::{ExitRecord, Usage};
use super::handoff::Handoff;
use super::ids::{CommitId, FamilyName, Identity, RunId, StageId};
use super::notice::NoticeKey;
use super::quantity::Seconds;
use super::state::{Candidate, Chore, Reservation};
use super::verdict::Verdict;

/// Everything that one fire has seen. What is absent was not looked at and changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// The runs in flight.
    pub runs: BTreeMap<RunId, Sighting>,
    /// Launches that were tried and failed, of runs that did not start.
    pub launch_faults: BTreeMap<RunId, LaunchFaults>,
    /// What stages ask for, read from their cards; or why a card cannot be used.
    pub briefs: BTreeMap<StageId, Result<Box<Brief>, String>>,
    /// The tips of base branches; none for a branch that does not exist.
    pub tips: BTreeMap<String, Option<CommitId>>,
    /// Stages that are landing.
    pub landings: BTreeMap<StageId, LandingSighting>,
    /// Parked stages whose base has moved since it was last compared: the new tip, and whether the change is in it.
    pub parked: BTreeMap<StageId, ParkedSighting>,
    /// Chores that were seen done.
    pub done: BTreeMap<StageId, Vec<Chore>>,
    /// Notices that were taken up.
    pub told: BTreeSet<NoticeKey>,
    /// Who commits: the operator's git identity.
    pub committer: Option<Identity>,
}

/// Launches of one run that were tried and failed. An order that a killed tick did not get to is none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchFaults {
    /// How many.
    pub count: usize,
    /// Why the last one failed.
    pub last: String,
}

/// One run in flight, as it was found.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// How long it has run.
    pub elapsed: Option<Seconds>,
    /// How long it has printed nothing.
    pub silent_for: Option<Seconds>,
    /// Whether somebody watches its caps.
    pub watched: Watched,
}

/// Whether a live run has its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Its supervisor lives.
    BySupervisor,
    /// Its supervisor is gone: ticks watch its wall-clock cap.
    ByTicksOnly,
}

/// A run that has ended, with what it left.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its supervisor's record.
    pub record: ExitRecord,
    /// What it left, by role.
    pub product: Product,
}

/// What a run left.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, PartialEq)]
pub enum Returned<T> {
    /// Nothing.
    Nothing,
    /// Something that cannot be used, and why.
    Unusable(String),
    /// A document for this run that says something possible.
    Usable(T),
}

/// What a worker's worktree holds, whatever the worker did to git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkSighting {
    /// Its files, as a commit on the base.
    Captured(Captured),
    /// There is no worktree.
    Gone,
    /// It could not be read.
    Unreadable(String),
}

/// A worktree's files as a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The commit and its tree.
    pub candidate: Candidate,
    /// Paths that differ from the base.
    pub changed: Vec<String>,
    /// Repositories or submodules inside it that the base does not have.
    pub embedded: Vec<String>,
}

/// A run that ended without a record.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LandingSighting {
    /// The base is where the candidate expects it; nothing has been tried yet.
    Ready,
    /// It has landed.
    Landed(CommitId),
    /// The base has moved; the changes touch different files and were put together.
    Rebased {
        /// The base's new tip.
        tip: CommitId,
        /// The change on top of it.
        candidate: Candidate,
    },
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedSighting {
    /// The base's tip.
    pub tip: CommitId,
    /// The commit that holds the change, if somebody merged it.
    pub merged: Option<CommitId>,
}

/// Who is to run, with the family that was found for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// Who.
    pub identity: Identity,
    /// Their family.
    pub family: FamilyName,
    /// The model that they stand for today; none where the family calls none.
    pub model: Option<String>,
}

/// What a stage asks for: its card, with families and caps resolved.
#[derive(Debug, Clone)]
pub struct Brief {
    /// The card.
    pub card: Card,
    /// The sha256 of its bytes.
    pub card_sha256: String,
    /// Who makes the change.
    pub worker: Placed,
    /// Who judges it.
    pub verifiers: Vec<Placed>,
    /// The worker run's own caps.
    pub worker_caps: Reservation,
    /// Each verifier run's own caps, in the order of the seats.
    pub verifier_caps: Vec<Reservation>,
    /// The gate run's own caps; none where there is nothing to run.
    pub gate_caps: Option<Reservation>,
}

impl Brief {
    /// The first verifier that shares the worker's family without a rationale on the card.
    pub fn same_family(&self) -> Option<&Placed> {
        if self.card.same_family.is_some() {
            return None;
        }
        self.verifiers.iter().find(|verifier| verifier.family == self.worker.family)
    }
}
