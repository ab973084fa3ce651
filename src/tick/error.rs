//! Why a tick or a command cannot go on; each says what, where, and the way out.

use std::path::PathBuf;

use thiserror::Error;

use crate::core::ids::RunId;
use crate::core::operate::Refused;
use crate::files::atomic::WriteError;
use crate::files::document::{DocumentError, LayerFaults};
use crate::files::home::HomeError;
use crate::files::store::StoreError;
use crate::git::GitError;
use crate::runs::RunError;

/// Why it cannot go on.
#[derive(Debug, Error)]
pub enum TickError {
    /// The repository is not subscribed.
    #[error("{path} does not exist; run `autometta init` in the repository")]
    NoManifest {
        /// The manifest.
        path: PathBuf,
    },
    /// The manifest cannot be used.
    #[error("the manifest cannot be used: {0}")]
    Manifest(#[from] LayerFaults),
    /// The manifest does not say where to land.
    #[error("{path} has no `base_branch`; name the branch that stages land on")]
    NoBaseBranch {
        /// The manifest.
        path: PathBuf,
    },
    /// The state belongs to another repository or machine.
    #[error(
        "{path} was made for another place or machine (its repo_id is {found}, here it would be {expected}); if it was moved on purpose, run `autometta init --adopt`"
    )]
    Foreign {
        /// The state directory.
        path: PathBuf,
        /// The id in the state.
        found: String,
        /// The id of this place.
        expected: String,
    },
    /// One of our own files was damaged, and nothing proves what it held. Said in the log where it was found first.
    #[error(
        "{source}; nothing is decided before a person has looked: what was known last is on {reference} (`git show {reference}:state.yaml`, budget.json and ledger.jsonl likewise), and `autometta doctor --restore` brings it back; or put right what is wrong by hand, then run `autometta resume`"
    )]
    Damaged {
        /// The damage.
        source: StoreError,
        /// Where the snapshots are.
        reference: &'static str,
    },
    /// The state is a copy, and the place that it was copied from is at work.
    #[error("{path} is a copy, and {run} lives where it was copied from; adopt it once that run has ended")]
    AtWorkElsewhere {
        /// The state directory.
        path: PathBuf,
        /// The run.
        run: RunId,
    },
    /// Another checkout of the same repository has a queue.
    #[error(
        "{other} is a checkout of the same repository and has a queue already: both would use the same branches and \
         snapshots; queue the stages there, or clone {path}"
    )]
    QueueElsewhere {
        /// The checkout that was to get one.
        path: PathBuf,
        /// The one that has it.
        other: PathBuf,
    },
    /// Processes of the shell implementation are alive.
    #[error("{path} is of version 1 and its processes still run: {processes}; it is carried over once they have ended")]
    StillRunning {
        /// The state.
        path: PathBuf,
        /// The processes.
        processes: String,
    },
    /// Somebody holds the lock.
    #[error("another autometta holds {path}; try again when it is done")]
    Held {
        /// The lock.
        path: PathBuf,
    },
    /// A tick takes longer than a fire waits for one.
    #[error(
        "the tick of {path} is not done after {} s, and the fire went on without it: what it has decided stands, and the next tick goes on from there; see what hangs (a network path, git), raise `tick_timeout` in config.yaml of autometta's home, or run `autometta tick --repo {path}`, which has no limit",
        limit.as_secs()
    )]
    TooLong {
        /// The repository.
        path: PathBuf,
        /// How long it may take.
        limit: std::time::Duration,
    },
    /// Cards have faults.
    #[error("{0}")]
    Cards(String),
    /// A file cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A prompt cannot be made.
    #[error("{0}")]
    Prompt(String),
    /// The command is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What kind of failure it is, which is what the exit code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Something went wrong: exit code 1.
    Failed,
    /// It was refused: exit code 3.
    Refused,
}

impl TickError {
    /// The kind of failure.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Foreign { .. }
            | Self::AtWorkElsewhere { .. }
            | Self::QueueElsewhere { .. }
            | Self::StillRunning { .. }
            | Self::Held { .. }
            | Self::Cards(_)
            | Self::Refused(_)
            | Self::Store(StoreError::Newer { .. }) => FailureKind::Refused,
            _ => FailureKind::Failed,
        }
    }
}
