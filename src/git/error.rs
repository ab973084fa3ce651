//! What can go wrong with git, each with the path or command that it went wrong with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::run::Version;

/// A failure of the git layer. None of these is a normal outcome of landing, which has its own type.
#[derive(Debug, Error)]
pub enum GitError {
    /// The git program could not be started at all.
    #[error("git could not be started in {dir}: {source}; install git {minimum} or newer and put it on PATH", minimum = Version::MINIMUM)]
    CannotStart {
        /// Where it was to run.
        dir: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The installed git is too old.
    #[error("git {found} is installed, and {minimum} or newer is needed; update git", minimum = Version::MINIMUM)]
    TooOld {
        /// The version that was found.
        found: Version,
    },
    /// A git command ended with a code that means failure.
    #[error("`{command}` in {dir} ended with {end}: {stderr}")]
    Failed {
        /// The argument list, without the fixed options.
        command: String,
        /// Where it ran.
        dir: PathBuf,
        /// The exit code or signal, in words.
        end: String,
        /// The end of what it said.
        stderr: String,
    },
    /// A git command ran longer than it may, and was killed.
    #[error("`{command}` in {dir} was killed after {} s; is the disk or a network mount stuck?", limit.as_secs())]
    TimedOut {
        /// The argument list, without the fixed options.
        command: String,
        /// Where it ran.
        dir: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// Git said something that this version of Autometta does not understand.
    #[error(
        "`{command}` answered {answer:?}, which is not understood; `git fsck` shows whether the repository is whole"
    )]
    Puzzling {
        /// The command, in short.
        command: &'static str,
        /// What it said.
        answer: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder is no repository.
    #[error("{path} is not a git repository: {why}; name the top folder of a repository, or run `git init` there")]
    NotARepository {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The folder is a repository without a work tree.
    #[error("{path} is a bare repository, which has no files to work on; name a clone or a worktree of it")]
    Bare {
        /// The folder.
        path: PathBuf,
    },
    /// The worktree that should be captured is gone.
    #[error("the worktree {path} has vanished, so there is nothing to capture; requeue the stage")]
    WorktreeMissing {
        /// Where it was.
        path: PathBuf,
    },
    /// A folder stands where a worktree should go, and Autometta did not make it.
    #[error("{path} was not made by autometta, so it is left alone; move it away or set `worktrees:` in the manifest")]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// A run branch is checked out by somebody else.
    #[error("branch {branch} is checked out at {path}; switch that checkout to another branch")]
    BranchInUse {
        /// The branch's short name.
        branch: String,
        /// The checkout.
        path: PathBuf,
    },
    /// A branch or ref name that git would not accept.
    #[error("`{name}` is not a usable ref name")]
    BadRefName {
        /// The name.
        name: String,
    },
    /// A path that must not enter a tree, or must not be followed.
    #[error("the path `{path}` is refused: {why}")]
    BadPath {
        /// The path, readable.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A folder of a checkout cannot be read, so what it holds is not known.
    #[error("part of {path} cannot be read ({complaint}); give its owner the permission back")]
    Unreadable {
        /// The checkout.
        path: PathBuf,
        /// Git's own words.
        complaint: String,
    },
    /// The order to land contradicts the repository.
    #[error("commit {commit} is not a child of {parent}, so it cannot be landed on it")]
    NotAChild {
        /// The commit that should land.
        commit: String,
        /// The parent that the order names.
        parent: String,
    },
    /// No name and address to commit under.
    #[error(
        "git knows no name and address to commit under in {path}; run `git config --global user.name …` and `git config --global user.email …`"
    )]
    NoIdentity {
        /// The repository.
        path: PathBuf,
    },
    /// A snapshot's ref was moved by somebody else at every try.
    #[error("{name} was moved by somebody else while a snapshot was written; the next tick writes it again")]
    RefContended {
        /// The full ref name.
        name: String,
    },
}

impl GitError {
    /// Whether the same may well succeed a little later: git was killed or could not start, or the disk was full. It
    /// says nothing about what the repository or a worktree holds.
    pub fn may_pass(&self) -> bool {
        use std::io::ErrorKind::{
            Interrupted, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StorageFull,
        };
        // Permissions that an agent took away in its own worktree are `Unreadable`.
        const PASSING: [std::io::ErrorKind; 6] =
            [Interrupted, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StorageFull];
        match self {
            Self::CannotStart { .. } | Self::TimedOut { .. } => true,
            Self::Failed { end, stderr, .. } => end.starts_with("signal") || stderr.contains("No space left on device"),
            Self::Io { source, .. } => {
                PASSING.contains(&source.kind()) || source.raw_os_error() == Some(nix::libc::EIO)
            }
            _ => false,
        }
    }
}

/// Adds the path to an error of the file system.
pub(super) trait At<T> {
    /// Names what was tried and where.
    fn at(self, action: &'static str, path: &Path) -> Result<T, GitError>;
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, GitError> {
        self.map_err(|source| GitError::Io { action, path: path.to_owned(), source })
    }
}
