//! Which repositories a fire has under way, for the fire after one that died: a repository whose tick brings the whole
//! process down, by whatever fault of ours or of the machine, must not keep all others from being served.
//!
//! `fire` in the home is empty while no fire is under way, and holds a list of repositories otherwise: those that the
//! next fire is to leave for last. A fire that follows one that came to its end writes an empty list, and nothing more
//! until its own end. One that follows a death writes down what it begins. Only the death of a process is meant, so
//! that nothing is synced.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::document;
use super::home::Home;
use super::lock::{self, Lock, LockError};
use crate::fault;

/// The largest list that is read, in bytes.
const MOST: u64 = 1 << 20;

/// What is under way. Only one fire of a home has it at a time; another goes on without.
#[derive(Debug)]
pub struct UnderWay {
    lock: Lock,
    last: Vec<PathBuf>,
    is_careful: bool,
    listed: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    repos: Vec<PathBuf>,
    /// How many bytes the file has.
    length: u64,
    /// Whether the fire has come to its end; what it left behind may still go on.
    is_over: bool,
}

impl UnderWay {
    /// Takes it up; none where another fire of this home has it.
    ///
    /// # Errors
    /// The file cannot be locked, read or written.
    pub fn begin(home: &Home) -> Result<Option<Self>, LockError> {
        let path = path(home);
        let Some(lock) = Lock::try_exclusive(&path)? else { return Ok(None) };
        let fail = |action| move |source| LockError { action, path, source };
        let left = read(lock.file()).map_err(fail.clone()("read"))?;
        let length = left.as_ref().map_or(0, |left| left.length);
        let last = left.as_ref().map(|left| left.repos.clone()).unwrap_or_default();
        let listed = Mutex::new(Listed { repos: last.clone(), length, is_over: false });
        let under_way = Self { lock, last, is_careful: left.is_some(), listed };
        under_way.change(|_| {}).map_err(fail("write"))?;
        Ok(Some(under_way))
    }

    /// The repositories to be left for last, one after the other.
    pub fn last(&self) -> &[PathBuf] {
        &self.last
    }

    /// A repository's tick begins: should the process die now, the next fire leaves it for the very last.
    pub fn begins(&self, repo: &Path) {
        if self.is_careful {
            self.try_to_change(|repos| {
                repos.retain(|known| known != repo);
                repos.push(repo.to_owned());
            });
        }
    }

    /// It has come to an end.
    pub fn ends(&self, repo: &Path) {
        if self.is_careful {
            self.try_to_change(|repos| repos.retain(|known| known != repo));
        }
    }

    /// The whole fire has. The lock is held until the process ends.
    pub fn end(&self) {
        // What fails makes the next fire a careful one.
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.is_over = true;
        drop(fault::point!("fire.end").and_then(|()| self.lock.file().set_len(0)));
    }

    /// Without the list, which needs room on a disk, there is no care; the work is worth more.
    fn try_to_change(&self, change: impl FnOnce(&mut Vec<PathBuf>)) {
        drop(self.change(change));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<PathBuf>)) -> io::Result<()> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.is_over {
            return Ok(());
        }
        change(&mut listed.repos);
        let bytes = serde_json::to_vec(&listed.repos)?;
        let file = self.lock.file();
        fault::write!("fire.write", &bytes, |bytes| file.write_all_at(bytes, 0))?;
        let length = bytes.len() as u64;
        if listed.length > length {
            file.set_len(length)?;
        }
        listed.length = length;
        Ok(())
    }
}

fn path(home: &Home) -> PathBuf {
    home.path().join("fire")
}

/// What a fire that died has left; none where the last one came to its end.
fn read(file: &std::fs::File) -> io::Result<Option<Listed>> {
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    // Whoever died in the middle of writing tells that it died, and not where.
    Ok(Some(Listed {
        repos: serde_json::from_slice(&bytes).unwrap_or_default(),
        length: bytes.len() as u64,
        is_over: false,
    }))
}

/// The repositories that a fire which is no more has left; for those who only look. None where that cannot be told.
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
        assert_eq!(left(&home), paths(&["b", "c"]));

        // The one that it dies of next is the very last from then on.
        let fire = begin();
        assert_eq!(fire.last(), paths(&["b", "c"]));
        fire.begins(Path::new("a"));
        fire.ends(Path::new("a"));
        fire.begins(Path::new("b"));
        drop(fire);
        let fire = begin();
        assert_eq!(fire.last(), paths(&["c", "b"]));
        fire.begins(Path::new("c"));
        fire.ends(Path::new("c"));
        drop(fire);
        let fire = begin();
        assert_eq!(fire.last(), paths(&["b"]));
        fire.end();
        fire.ends(Path::new("b"));
        drop(fire);
        assert!(left(&home).is_empty());
        let fire = begin();
        assert!(!fire.is_careful && fire.last().is_empty());
        fire.end();
        drop(fire);
        assert_eq!(std::fs::metadata(path(&home)).expect("file").len(), 0);
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
