//! The note that a landing leaves in a checkout's git dir while it is under way, and the index lock it holds meanwhile.
//!
//! The note is written whole before `index.lock` is taken, and `index.lock` is a second name of the same file, so a
//! lock left by a killed tick always says that it is ours. The note goes first and the lock last: a lock without a note
//! belongs to a landing that is finished or never began.

use std::path::{Path, PathBuf};

use super::disk::{self, Taken};
use super::error::GitError;
use super::land::LandingOrder;

const HEADING: &str = "autometta landing, version 1";

/// What is left of a landing in a git dir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trace {
    /// Nothing.
    None,
    /// The lock alone: its landing has nothing more to do here.
    LockOnly,
    /// A landing that may or may not have moved its branch.
    Noted(LandingOrder),
}

fn note_in(git_dir: &Path) -> PathBuf {
    git_dir.join("autometta-landing")
}

fn lock_in(git_dir: &Path) -> PathBuf {
    git_dir.join("index.lock")
}

fn is_ours(lock: &Path) -> Result<bool, GitError> {
    Ok(disk::read(lock)?.is_some_and(|content| content.starts_with(HEADING.as_bytes())))
}

/// What a killed tick left.
pub(super) fn trace(git_dir: &Path) -> Result<Trace, GitError> {
    if let Some(order) = disk::read(&note_in(git_dir))?.as_deref().and_then(parse) {
        return Ok(Trace::Noted(order));
    }
    Ok(if is_ours(&lock_in(git_dir))? { Trace::LockOnly } else { Trace::None })
}

/// Notes the landing and takes the index lock.
pub(super) fn begin(git_dir: &Path, order: &LandingOrder) -> Result<Taken, GitError> {
    let lock = lock_in(git_dir);
    if disk::is_there(&lock)? && !is_ours(&lock)? {
        return Ok(Taken::ByAnother);
    }
    disk::write(&note_in(git_dir), write(order).as_bytes())?;
    let taken = lock_again(git_dir)?;
    if taken == Taken::ByAnother {
        disk::remove_file(&note_in(git_dir))?;
    }
    disk::sync_folder(git_dir)?;
    Ok(taken)
}

/// Takes the index lock for a landing that is noted; having it already is as good.
pub(super) fn lock_again(git_dir: &Path) -> Result<Taken, GitError> {
    let lock = lock_in(git_dir);
    if is_ours(&lock)? {
        return Ok(Taken::Now);
    }
    disk::link_exclusively(&note_in(git_dir), &lock)
}

/// Lets the operator's git in while a landing that is noted cannot be finished.
pub(super) fn let_go(git_dir: &Path) -> Result<(), GitError> {
    let lock = lock_in(git_dir);
    if is_ours(&lock)? { disk::remove_file(&lock) } else { Ok(()) }
}

/// Ends the landing in this git dir, done or not.
pub(super) fn end(git_dir: &Path) -> Result<(), GitError> {
    disk::remove_file(&note_in(git_dir))?;
    disk::sync_folder(git_dir)?;
    let_go(git_dir)
}

pub(super) fn write(order: &LandingOrder) -> String {
    format!("{HEADING}\nbranch {}\nparent {}\ncommit {}\n", order.branch, order.parent, order.commit)
}

pub(super) fn parse(content: &[u8]) -> Option<LandingOrder> {
    let mut lines = std::str::from_utf8(content).ok()?.lines();
    let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    // The heading reads as a name with a value, too.
    value("autometta")?;
    Some(LandingOrder {
        branch: value("branch")?,
        parent: value("parent")?.parse().ok()?,
        commit: value("commit")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_what_was_being_landed_and_a_torn_one_says_nothing() {
        let order = LandingOrder {
            branch: "main".into(),
            parent: "a".repeat(40).parse().expect("id"),
            commit: "b".repeat(40).parse().expect("id"),
        };
        let note = write(&order);
        assert_eq!(parse(note.as_bytes()), Some(order));
        assert_eq!(parse(&note.as_bytes()[..note.len() - 5]), None);
        assert_eq!(parse(b""), None);
    }
}
