//! Advisory file locks, which the kernel frees when their last holder dies.
//!
//! The lock belongs to the *open file*, not to the process: a child that inherits the descriptor holds it too,
//! and it is free when the last copy is closed. Lock files are made on demand and never removed, because a
//! removed and re-made file would be a second lock. No other module calls the locking functions of the standard
//! library.

#![expect(clippy::disallowed_methods, reason = "this module is the lock module")]

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use thiserror::Error;

use crate::fault;

/// How often a lock that is waited for is tried.
const RETRY: Duration = Duration::from_millis(10);

/// A lock that could be neither taken nor found to be held.
#[derive(Debug, Error)]
#[error("cannot {action} the lock file {}: {source}", path.display())]
pub struct LockError {
    /// What was being done, as a verb.
    pub action: &'static str,
    /// The lock file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// An exclusive lock, held until it is released, or this value and every copy of its descriptor are gone.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or returns none where somebody else holds it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>, LockError> {
        let fail = |source| LockError { action: "open", path: path.to_owned(), source };
        fault::point!("lock.open", path).map_err(fail)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(path)
            .map_err(fail)?;
        Self::take(file, path)
    }

    /// Takes the lock, waiting for it at most `limit`; none where it is still held by then.
    pub fn exclusive_within(path: &Path, limit: Duration) -> Result<Option<Self>, LockError> {
        let begun = Instant::now();
        loop {
            if let Some(lock) = Self::try_exclusive(path)? {
                return Ok(Some(lock));
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(RETRY.min(left));
        }
    }

    /// Turns a descriptor that was handed over into the lock of `path`.
    ///
    /// None where the descriptor is another file, or where the lock is held through another descriptor. A lock
    /// that this very descriptor already holds is kept.
    pub fn adopt(file: File, path: &Path) -> Result<Option<Self>, LockError> {
        let fail = |source| LockError { action: "look at", path: path.to_owned(), source };
        let (ours, named) = (file.metadata().map_err(fail)?, std::fs::symlink_metadata(path).map_err(fail)?);
        if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) { Self::take(file, path) } else { Ok(None) }
    }

    /// The open file, for handing the lock to a child.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Lets go of the lock itself, whoever has a copy of the descriptor: in a process of several threads, one that another
    /// thread is just starting has a copy until it has become another program.
    pub fn release(self) {
        self.let_go();
    }

    /// The same for a lock that others look at still.
    pub fn let_go(&self) {
        // The only failure is that it is not held any more.
        let _ = self.file.unlock();
    }

    /// The open file, which keeps holding the lock.
    pub fn into_file(self) -> File {
        self.file
    }

    fn take(file: File, path: &Path) -> Result<Option<Self>, LockError> {
        match fault::point!("lock.take", path).map_err(TryLockError::Error).and_then(|()| file.try_lock()) {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(LockError { action: "take", path: path.to_owned(), source }),
        }
    }
}

/// Whether somebody holds the lock of `path`. A lock file that does not exist is held by nobody, and is not made.
///
/// The look itself takes a shared lock for an instant, so that lookers never see each other; whoever *takes* a lock
/// that may be looked at should use [`Lock::exclusive_within`] with some patience. In the same way, a process that any
/// thread of the last holder is forking off holds a copy until it has become another program: a lock may look held
/// for some instants longer than it is, never the other way round.
pub fn is_held(path: &Path) -> Result<bool, LockError> {
    let file = match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|source| LockError { action: "open", path: path.to_owned(), source })?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(LockError { action: "test", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_free_when_the_last_copy_is_closed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        assert!(!is_held(&path).expect("look") && !path.exists());
        let lock = Lock::try_exclusive(&path).expect("lock").expect("free");
        let copy = lock.file().try_clone().expect("copy");
        assert!(is_held(&path).expect("look"));
        assert!(Lock::try_exclusive(&path).expect("lock").is_none());
        drop(lock);
        assert!(is_held(&path).expect("the copy still holds it"));
        drop(copy);
        // Let go of in so many words, it is free whoever still has a copy.
        let lock = Lock::exclusive_within(&path, Duration::from_secs(20)).expect("lock").expect("free");
        let copy = lock.file().try_clone().expect("copy");
        lock.release();
        assert!(Lock::try_exclusive(&path).expect("lock").is_some());
        drop(copy);
        // A process that another test is forking off right now has a copy of its own for an instant.
        assert!(Lock::exclusive_within(&path, Duration::from_secs(20)).expect("lock").is_some());
        assert!(path.exists());
    }

    #[test]
    fn waiting_ends_at_the_limit_or_when_the_lock_is_free() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        let lock = Lock::try_exclusive(&path).expect("lock").expect("free");
        assert!(Lock::exclusive_within(&path, Duration::from_millis(30)).expect("lock").is_none());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::exclusive_within(&path, Duration::from_secs(20)).expect("lock"));
            drop(lock);
            assert!(waiter.join().expect("thread").is_some());
        });
    }

    #[test]
    fn only_the_handed_over_lock_of_this_file_is_adopted() {
        let dir = tempfile::tempdir().expect("dir");
        let (path, other) = (dir.path().join("lock"), dir.path().join("other"));
        let held = Lock::try_exclusive(&path).expect("lock").expect("free");
        let copy = held.file().try_clone().expect("copy");
        let stranger = File::open(&path).expect("open");
        let elsewhere = Lock::try_exclusive(&other).expect("lock").expect("free").into_file();
        assert!(Lock::adopt(stranger, &path).expect("look").is_none(), "the same file, without its lock");
        assert!(Lock::adopt(elsewhere, &path).expect("look").is_none(), "another file's lock");
        assert!(Lock::adopt(copy, &path).expect("look").is_some());
    }

    #[test]
    fn a_link_in_place_of_the_lock_file_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("lock");
        std::os::unix::fs::symlink("/dev/null", &path).expect("link");
        assert!(Lock::try_exclusive(&path).expect_err("a link").to_string().contains("lock"));
    }
}
