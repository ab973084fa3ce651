//! What can go wrong with a run's files, each with its path.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::core::fault::Faults;
use crate::files::atomic::WriteError;
use crate::files::lock::LockError;

/// A run that could not be launched, looked at or stopped.
#[derive(Debug, Error)]
pub enum RunError {
    /// The system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the run is not what it should be.
    #[error("{} cannot be used: {why}; the run's directory is evidence, so move it aside rather than edit it", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The order contradicts itself.
    #[error("{} cannot be carried out: {faults}", path.display())]
    Order {
        /// The `run.json`.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Faults,
    },
    /// The supervisor was not handed the lock of its run.
    #[error("{} was not handed over on standard input; supervisors are started by `autometta tick` only", path.display())]
    NotHanded {
        /// The run's lock file.
        path: PathBuf,
    },
    /// The run was claimed before.
    #[error("the run in {} was started before, and a run is never started twice", path.display())]
    Claimed {
        /// The run's directory.
        path: PathBuf,
    },
    /// A stop or a reap was asked for a run that is not in the state for it.
    #[error("the run in {} still holds its lock, so it is not lost; stop it first", path.display())]
    StillRunning {
        /// The run's directory.
        path: PathBuf,
    },
    /// Processes of the run survived KILL.
    #[error("{count} processes of the run in {} survive KILL (the newest pid is {pid}); look at them with `ps` and try again", path.display())]
    Undead {
        /// The run's directory.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// One of them.
        pid: i32,
    },
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A lock could not be looked at.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl RunError {
    /// Attaches an action and a path to an IO error.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
