//! Which repositories a fire has under way, for the fire after one that died: a repository whose tick brings the whole
//! process down, by whatever fault of ours or of the machine, must not keep all others from being served.
//!
//! `fire` in the home has no bytes while no fire is under way. One that is begun puts a list into it, of the repositories
//! that the next fire is to leave for last should this one die, and takes the bytes out again at its end. Where it finds
//! none, the list has no entries, and stays so; where it finds bytes, the fire before it has died, and it writes down
//! what it begins. Only the death of a process is meant, so that nothing is synced.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::document;
use super::home::Home;
use super::lock::{self, Lock, LockError};
use crate::fault;

/// The largest list that is read, in bytes.
const MOST: u64 = 1 << 20;
/// How long somebody who only looks is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is under way. Only one fire of a home has it at a time; another goes on without.
#[derive(Debug)]
pub struct UnderWay {
    lock: Lock,
    last: Vec<PathBuf>,
    is_careful: bool,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// Those that the fire before left, and that have not begun yet.
    waiting: Vec<PathBuf>,
    /// Those that have begun and not ended, the newest first: what began before and goes on may be what it dies of, and
    /// must not keep the others from their turn.
    begun: Vec<PathBuf>,
    /// How many bytes the file has, at most.
    length: usize,
    /// Whether the fire has come to its end; what it left behind may still go on.
    is_over: bool,
}

impl UnderWay {
    /// Takes it up; none where another fire of this home has it.
    ///
    /// # Errors
    /// The file cannot be locked or read.
    pub fn begin(home: &Home) -> Result<Option<Self>, LockError> {
        let path = path(home);
        let Some(lock) = Lock::exclusive_within(&path, PATIENCE)? else { return Ok(None) };
        let mut bytes = Vec::new();
        lock.file().take(MOST).read_to_end(&mut bytes).map_err(|source| LockError { action: "read", path, source })?;
        // Whoever died in the middle of writing tells that it died, and not where.
        let last: Vec<PathBuf> = serde_json::from_slice(&bytes).unwrap_or_default();
        let list = List { waiting: last.clone(), length: bytes.len(), ..List::default() };
        let under_way = Self { lock, last, is_careful: !bytes.is_empty(), list: Mutex::new(list) };
        under_way.change(|_| {});
        Ok(Some(under_way))
    }

    /// The repositories to be left for last, one after the other.
    pub fn last(&self) -> &[PathBuf] {
        &self.last
    }

    /// A repository's tick begins: should the process die now, the next fire leaves it for last.
    pub fn begins(&self, repo: &Path) {
        if self.is_careful {
            self.change(|list| {
                list.waiting.retain(|known| known != repo);
                list.begun.insert(0, repo.to_owned());
            });
        }
    }

    /// It has come to an end.
    pub fn ends(&self, repo: &Path) {
        if self.is_careful {
            self.change(|list| list.begun.retain(|known| known != repo));
        }
    }

    /// The whole fire has, and another may begin, whatever this one leaves behind.
    pub fn end(&self) {
        let mut list = self.list();
        list.is_over = true;
        if let Err(error) = fault::point!("fire.end").and_then(|()| self.lock.file().set_len(0)) {
            warn!("the next fire will take this one for dead: {error}");
        }
        self.lock.let_go();
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without the list, which may need room on a disk, the fire goes on: the work is worth more.
    fn change(&self, change: impl FnOnce(&mut List)) {
        let mut list = self.list();
        if list.is_over {
            return;
        }
        change(&mut list);
        if let Err(error) = self.write(&mut list) {
            warn!("should this fire die, the next one does not know where: {error}");
        }
    }

    /// A list that is shorter is first filled up with spaces, so that no end of the old one ever stands behind it.
    fn write(&self, list: &mut List) -> io::Result<()> {
        let repos: Vec<&PathBuf> = list.waiting.iter().chain(&list.begun).collect();
        let mut bytes = serde_json::to_vec(&repos)?;
        let length = bytes.len();
        bytes.resize(length.max(list.length), b' ');
        list.length = bytes.len();
        let file = self.lock.file();
        fault::write!("fire.write", &bytes, |bytes| file.write_all_at(bytes, 0))?;
        if bytes.len() > length {
            file.set_len(length as u64)?;
            list.length = length;
        }
        Ok(())
    }
}

fn path(home: &Home) -> PathBuf {
    home.path().join("fire")
}

/// Whether a fire is under way, or has died.
pub fn is_there(home: &Home) -> bool {
    std::fs::metadata(path(home)).is_ok_and(|meta| meta.len() > 0)
}

/// The repositories that a fire which died has left; for those who only look. None where that cannot be told.
pub fn left(home: &Home) -> Vec<PathBuf> {
    let path = path(home);
    if lock::is_held(&path).unwrap_or(true) {
        return Vec::new();
    }
    let bytes = document::read(&path).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn what_was_under_way_at_a_death_comes_last_and_by_turns() {
        let base = TempDir::new().expect("folder");
        let home = Home::at(base.path());
        let begin = || UnderWay::begin(&home).expect("a lock").expect("free");
        let fire = begin();
        assert!(UnderWay::begin(&home).expect("a lock").is_none(), "one at a time");
        fire.begins(Path::new("a"));
        assert!(left(&home).is_empty(), "it is alive");
        drop(fire);

        // Nobody was careful, so that all is known is that it died; from now on it is written down.
        let fire = begin();
        assert!(fire.last().is_empty());
        for repo in ["a", "b", "c"] {
            fire.begins(Path::new(repo));
        }
        fire.ends(Path::new("a"));
        drop(fire);
        assert_eq!(left(&home), paths(&["c", "b"]));

        // The one that it dies of next comes after those that had no turn.
        let fire = begin();
        assert_eq!(fire.last(), paths(&["c", "b"]));
        fire.begins(Path::new("a"));
        fire.ends(Path::new("a"));
        fire.begins(Path::new("c"));
        drop(fire);
        let fire = begin();
        assert_eq!(fire.last(), paths(&["b", "c"]));
        fire.begins(Path::new("b"));
        fire.ends(Path::new("b"));
        drop(fire);
        let fire = begin();
        assert_eq!(fire.last(), paths(&["c"]));
        fire.begins(Path::new("c"));
        fire.end();
        assert!(left(&home).is_empty() && !is_there(&home));
        let next = begin();
        fire.ends(Path::new("c"));
        assert!(!next.is_careful && is_there(&home), "what the last one left behind writes no more");
        next.end();
        let fire = begin();
        assert!(!fire.is_careful && fire.last().is_empty());
        fire.end();
        drop(fire);
        assert_eq!(std::fs::metadata(path(&home)).expect("file").len(), 0);
    }

    #[test]
    fn what_goes_on_for_ever_keeps_nobody_from_a_turn() {
        let base = TempDir::new().expect("folder");
        let home = Home::at(base.path());
        let begin = || UnderWay::begin(&home).expect("a lock").expect("free");
        drop(begin());
        let fire = begin();
        fire.begins(Path::new("slow"));
        fire.begins(Path::new("next"));
        drop(fire);
        assert_eq!(begin().last(), paths(&["next", "slow"]));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the file is torn by hand")]
    fn a_list_that_cannot_be_read_tells_of_a_death_alone() {
        let base = TempDir::new().expect("folder");
        let home = Home::at(base.path());
        std::fs::write(path(&home), "[\"/a\",").expect("file");
        let fire = UnderWay::begin(&home).expect("a lock").expect("free");
        assert!(fire.is_careful && fire.last().is_empty());
        fire.begins(Path::new("b"));
        drop(fire);
        assert_eq!(left(&home), paths(&["b"]));
    }
}
