//! The file that some CLIs keep beside their output. It tells what a run has used while the output does not yet.
//!
//! It lies in the operator's home and may be missing: a run without it goes on, and its usage is what the output says.

#![expect(clippy::disallowed_methods, reason = "runs/ reads the variables that it hands to its programs")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::meter::StreamMeter;
use super::tail::Tail;
use crate::core::run::{EnvSource, RunOrder};

/// How often the file is looked for while it does not exist.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);
/// How many of the newest folders of each level are searched: a run may begin before midnight and its file after.
const NEWEST: usize = 2;
/// How deep the file lies below its root: year, month, day.
const LEVELS: usize = 3;

/// Where a program keeps its transcript: `<home>/<root>/<year>/<month>/<day>/<anything><name_end>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptPlace {
    /// The variable that names the program's home.
    pub home_variable: &'static str,
    /// The program's home below `$HOME` where that variable is not set.
    pub default_home: &'static str,
    /// The folder of all transcripts below the program's home.
    pub root: &'static str,
    /// How the file's name ends; it names the session, so that no other run's file is taken for it.
    pub name_end: String,
}

/// The transcript of one run, which may not exist yet, or never.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    tail: Option<Tail>,
    last_search: Option<Instant>,
}

impl Transcript {
    /// Passes on what was written since the last time, at most about `budget` bytes of it.
    pub(super) fn look(&mut self, order: &RunOrder, meter: &mut dyn StreamMeter, budget: u64) {
        if self.tail.is_none() && self.last_search.is_none_or(|last| last.elapsed() >= SEARCH_INTERVAL) {
            self.search(order, meter);
        }
        if let Some(tail) = &mut self.tail {
            // What cannot be read now is read at the next look.
            let _ = tail.advance(budget, &mut |line| meter.feed_transcript(line));
        }
    }

    /// Passes on all that is left.
    pub(super) fn finish(mut self, order: &RunOrder, meter: &mut dyn StreamMeter) {
        if self.tail.is_none() {
            self.search(order, meter);
        }
        if let Some(mut tail) = self.tail {
            // Without it the usage is what the output says, or unknown.
            let _ = tail.finish(&mut |line| meter.feed_transcript(line));
        }
    }

    fn search(&mut self, order: &RunOrder, meter: &dyn StreamMeter) {
        let Some(place) = meter.transcript() else { return };
        self.last_search = Some(Instant::now());
        let home = variable(order, place.home_variable).filter(|home| !home.is_empty()).map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(variable(order, "HOME")?).join(place.default_home)));
        let path = home.and_then(|home| find(&order.cwd.join(home).join(place.root), &place.name_end, LEVELS));
        self.tail = path.and_then(|path| Tail::open(&path).ok());
    }
}

/// The value that a run's program gets for a variable, unless it is a secret: those are resolved for the program only.
fn variable(order: &RunOrder, name: &str) -> Option<OsString> {
    match &order.env.iter().rev().find(|entry| entry.name == name)?.source {
        EnvSource::Literal(text) => Some(text.into()),
        EnvSource::Parent => std::env::var_os(name),
        EnvSource::Secret(_) => None,
    }
}

/// The file below `folder` whose name ends like this, in the newest folders of each level.
fn find(folder: &Path, name_end: &str, levels: usize) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = folder.read_dir().ok()?.flatten().map(|entry| entry.path()).collect();
    if levels == 0 {
        return entries
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(name_end)));
    }
    entries.retain(|path| path.is_dir());
    entries.sort();
    entries.iter().rev().take(NEWEST).find_map(|newest| find(newest, name_end, levels - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_this_session_is_found_on_either_side_of_midnight() {
        let root = tempfile::tempdir().expect("root");
        let make = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(&path, "").expect("file");
            path
        };
        make("2025/12/31/rollout-1-other.jsonl");
        let before = make("2026/10/31/rollout-2-mine.jsonl");
        make("2026/11/01/rollout-3-other.jsonl");
        assert_eq!(find(root.path(), "-mine.jsonl", LEVELS), Some(before));
        let after = make("2026/11/01/rollout-4-mine.jsonl");
        assert_eq!(find(root.path(), "-mine.jsonl", LEVELS), Some(after));
        assert_eq!(find(root.path(), "-nobody.jsonl", LEVELS), None);
        assert_eq!(find(&root.path().join("nowhere"), "-mine.jsonl", LEVELS), None);
    }
}
