//! The settings as git told them the last time: to ask it costs a process, and every tick asks.
//!
//! What git goes by are a few files whose names are known. Settings are remembered with what each of those files was; as
//! long as every one of them is that very file still, git would say the same. Nothing depends on this: what cannot be
//! remembered, read or believed is asked of git again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk;
use super::error::GitError;
use super::settings::Settings;
use super::stamp::Stamp;

/// Files with what they were when they were looked at; none for one that does not exist.
type Stamps = Vec<(PathBuf, Option<Stamp>)>;

/// What is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// The files that git reads, in its order.
    files: Stamps,
    settings: Vec<(String, String)>,
}

/// The settings that were remembered at `place` for these files, while those are the same; else what `ask` says, which is
/// remembered where the folder of that place exists.
pub(super) fn or_ask(
    place: &Path,
    files: &[PathBuf],
    ask: impl FnOnce() -> Result<Settings, GitError>,
) -> Result<Settings, GitError> {
    // Before they are read: what changes in between is seen the next time.
    let stamps = stamps(files);
    if let Some(settings) = stamps.as_ref().and_then(|stamps| recall(place, stamps)) {
        return Ok(settings);
    }
    let settings = ask()?;
    // Where other files are read as well, depending on who knows what, the names alone do not tell.
    if let Some(files) = stamps.filter(|_| !settings.includes())
        && let Ok(bytes) = serde_json::to_vec(&Memory { files, settings: settings.used() })
        && place.parent().is_some_and(Path::is_dir)
    {
        // Best effort: what is not remembered is asked again.
        let _ = disk::write_plainly(place, &bytes);
    }
    Ok(settings)
}

/// What these files are now; none where that cannot be told.
fn stamps(files: &[PathBuf]) -> Option<Stamps> {
    let stamp = |path: &PathBuf| {
        let found = disk::look_through(path).ok()?;
        let stamp = found.map(|meta| Stamp::of(&meta));
        Some((path.clone(), stamp))
    };
    files.iter().map(stamp).collect()
}

/// The settings that were remembered for files that are still the same.
fn recall(place: &Path, now: &Stamps) -> Option<Settings> {
    let meta = disk::look(place).ok()??;
    let memory: Memory = serde_json::from_slice(&disk::read(place).ok()??).ok()?;
    // A file that changed within the second in which it was remembered may have changed again since without showing it.
    let old = |stamp: &Stamp| stamp.second() + 1 < meta.mtime();
    let holds = memory.files == *now && now.iter().filter_map(|(_, stamp)| stamp.as_ref()).all(old);
    holds.then(|| Settings::of(memory.settings))
}
