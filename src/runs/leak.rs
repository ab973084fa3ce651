//! Looking for a run's secrets in the files that it leaves, before anything makes a commit of them: what git has once, it
//! keeps.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use chrono::TimeDelta;

use super::dir::RunDir;
use super::error::RunError;
use super::program::Environment;
use super::redact::Redactor;
use super::{clock, process};
use crate::core::exit::SecretInWork;
use crate::core::run::Started;
use crate::files::regular;

/// The most findings that a record keeps.
const KEPT: usize = 20;

/// How much of a file is read at once.
const CHUNK: usize = 256 << 10;

/// What is git's or ours at the top of a checkout, and in no candidate.
const NOT_WORK: [&str; 2] = [".git", ".autometta"];

/// The moment from which a change of a file is the run's own, in the file system's time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    seconds: i64,
    nanoseconds: i64,
}

impl Since {
    /// Every file counts as changed.
    const EVER: Self = Self { seconds: i64::MIN, nanoseconds: 0 };

    /// The start of a run: its checkout was complete when it was claimed. Where nobody can tell, or the clock was set back
    /// meanwhile, every file counts.
    pub(super) fn start_of(dir: &RunDir, started: &Started) -> Self {
        let claimed = dir.started_file().symlink_metadata();
        claimed.ok().filter(|_| !set_back(started)).map_or(Self::EVER, |meta| Self::of(&meta))
    }

    fn of(meta: &Metadata) -> Self {
        Self { seconds: meta.ctime(), nanoseconds: meta.ctime_nsec() }
    }

    fn is_after(self, meta: &Metadata) -> bool {
        (meta.ctime(), meta.ctime_nsec()) < (self.seconds, self.nanoseconds)
    }
}

/// Whether the calendar has gone less far since a run's start than the clock that cannot be set.
fn set_back(started: &Started) -> bool {
    let awake = clock::awake_ns().saturating_sub(started.awake_ns);
    let awake = TimeDelta::nanoseconds(i64::try_from(awake).unwrap_or(i64::MAX));
    let expected = started.started_at.checked_add_signed(awake - TimeDelta::seconds(2));
    started.boot_id == process::boot_id() && expected.is_none_or(|expected| clock::now() < expected)
}

/// The files below `root` that changed since then and hold a secret, or cannot be looked through.
///
/// What counts is when the file's entry changed, which a program cannot set: not its contents' time, which it can.
pub(super) fn scan(root: &Path, redactor: &Redactor, since: Since) -> Vec<SecretInWork> {
    let mut found = Vec::new();
    if redactor.is_empty() {
        return found;
    }
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut unreadable = |path: &Path, error: &io::Error| {
            if error.kind() != io::ErrorKind::NotFound {
                found.push(finding(root, path, redactor, None));
            }
        };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                unreadable(&folder, &error);
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if folder == root && NOT_WORK.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let held = look(&path, redactor, since);
            match held {
                Ok(Seen::Folder) => folders.push(path),
                Ok(Seen::Holds(variable)) => found.push(finding(root, &path, redactor, Some(variable))),
                Ok(Seen::Nothing) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => found.push(finding(root, &path, redactor, None)),
            }
            if found.len() >= KEPT {
                return found;
            }
        }
    }
    found.sort();
    found
}

/// What a lost worker left in its checkout. Its supervisor took the values along, so they are resolved once more; where that
/// fails nobody can look, and that is said.
pub fn secrets_left(run_dir: &Path, given: &BTreeMap<String, String>) -> Result<Vec<SecretInWork>, String> {
    let text = |error: RunError| error.to_string();
    let dir = RunDir::new(run_dir).map_err(text)?;
    let order = dir.order().map_err(text)?;
    if !order.has_secrets() {
        return Ok(Vec::new());
    }
    let started = dir.started().map_err(text)?;
    let Some(started) = started else { return Ok(Vec::new()) };
    let redactor = Environment::redactor(&order, &started.token, given)?;
    Ok(scan(&order.cwd, &redactor, Since::start_of(&dir, &started)))
}

enum Seen {
    Folder,
    Holds(String),
    Nothing,
}

fn look(path: &Path, redactor: &Redactor, since: Since) -> io::Result<Seen> {
    let holds = |bytes: &[u8]| redactor.find(bytes).map_or(Seen::Nothing, |name| Seen::Holds(name.to_owned()));
    let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    if let Seen::Holds(variable) = holds(name) {
        return Ok(Seen::Holds(variable));
    }
    let meta = path.symlink_metadata()?;
    if meta.is_dir() {
        return Ok(Seen::Folder);
    }
    if meta.is_symlink() {
        return Ok(holds(std::fs::read_link(path)?.as_os_str().as_bytes()));
    }
    if !meta.is_file() || since.is_after(&meta) {
        return Ok(Seen::Nothing);
    }
    let file = regular::existing(path, OpenOptions::new().read(true))?;
    Ok(search(file, redactor)?.map_or(Seen::Nothing, Seen::Holds))
}

/// Looks through a file in flat memory.
fn search(mut file: File, redactor: &Redactor) -> io::Result<Option<String>> {
    let mut chunk = vec![0; CHUNK + redactor.overlap()];
    let mut kept = 0;
    loop {
        let read = match file.read(&mut chunk[kept..]) {
            Ok(0) => return Ok(None),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = kept + read;
        if let Some(variable) = redactor.find(&chunk[..end]) {
            return Ok(Some(variable.to_owned()));
        }
        let from = end.saturating_sub(redactor.overlap());
        chunk.copy_within(from..end, 0);
        kept = end - from;
    }
}

fn finding(root: &Path, path: &Path, redactor: &Redactor, variable: Option<String>) -> SecretInWork {
    let shown = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    SecretInWork { path: redactor.text(&shown), variable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test builds what a worker left")]
    fn changed_files_names_and_links_are_looked_through_and_old_files_are_not() {
        let root = tempfile::tempdir().expect("root");
        let root = root.path();
        let redactor = Redactor::new([("MY_KEY", b"hunter2hunter2".as_slice())]).expect("patterns");
        let write = |path: &str, bytes: &[u8]| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, bytes).expect("file");
        };
        let mut large = vec![b'x'; CHUNK - 5];
        large.extend_from_slice(b"hunter2hunter2 and more");
        write("a/large", &large);
        write("a/clean", b"hunter2hunter");
        write("named-hunter2hunter2", b"");
        write(".git", b"hunter2hunter2");
        write(".autometta/outbox/handoff.json", b"hunter2hunter2");
        std::os::unix::fs::symlink("to/hunter2hunter2", root.join("link")).expect("link");
        let paths = |since| -> Vec<String> { scan(root, &redactor, since).into_iter().map(|one| one.path).collect() };
        let before = Since::of(&root.join(".git").symlink_metadata().expect("meta"));
        let before = Since { seconds: before.seconds - 1, ..before };
        assert_eq!(paths(before), ["a/large", "link", "named-[redacted MY_KEY]"]);
        assert_eq!(paths(Since::EVER), paths(before));
        let later = Since { seconds: before.seconds + 3600, ..before };
        assert_eq!(paths(later), ["link", "named-[redacted MY_KEY]"], "only the file's own time says that it is old");
        assert_eq!(scan(root, &redactor, before)[0].variable.as_deref(), Some("MY_KEY"));
    }
}
