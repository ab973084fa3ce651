//! The liveness registry `active-agents/` and `recent-agents/`, and the stable links in `logs/`.
//!
//! They are for people and other tools. Nothing in the machine reads them, so a failure here is logged and forgotten,
//! and an entry that a killed supervisor left behind misleads nobody but its reader until the run is reaped.

use std::fs;
use std::path::{Path, PathBuf};

use super::dir::{self, RunDir};
use super::error::RunError;
use crate::core::exit::EndedBy;
use crate::core::run::RegistryEntry;
use crate::files::atomic::{self, Durability};
use chrono::{DateTime, Utc};

/// How many ended runs are kept in `recent-agents/`.
const RECENT_KEPT: usize = 200;

/// Lists a run as live, and points its stable log link at it.
pub(super) fn announce(dir: &RunDir, entry: &RegistryEntry) -> Result<(), RunError> {
    let active = dir.state().join("active-agents");
    atomic::make_dirs(&active, Durability::Volatile)?;
    dir::write(&file(&active, entry), entry, Durability::Volatile)?;
    let logs = dir.state().join("logs");
    atomic::make_dirs(&logs, Durability::Volatile)?;
    let target = Path::new("../runs").join(entry.run_id.to_string()).join("stdout.log");
    Ok(atomic::link(&logs.join(format!("{}-{}.log", entry.stage, entry.role)), &target)?)
}

/// Moves a run from the live to the recent ones.
///
/// The recent entry is written first: a crash between the two steps leaves the run in both places, never in none.
/// Doing it again changes nothing.
pub(super) fn retire(
    dir: &RunDir,
    entry: &RegistryEntry,
    ended_at: DateTime<Utc>,
    ended_by: Option<EndedBy>,
) -> Result<(), RunError> {
    let recent = dir.state().join("recent-agents");
    atomic::make_dirs(&recent, Durability::Volatile)?;
    let ended = RegistryEntry { ended_at: Some(ended_at), ended_by, ..entry.clone() };
    dir::write(&file(&recent, entry), &ended, Durability::Volatile)?;
    atomic::remove(&file(&dir.state().join("active-agents"), entry))?;
    prune(&recent)
}

/// Takes a run that nothing is known of out of the live ones.
pub(super) fn forget(dir: &RunDir) -> Result<(), RunError> {
    Ok(atomic::remove(&dir.state().join("active-agents").join(format!("{}.json", dir.run_id())))?)
}

/// Removes all but the newest entries.
fn prune(recent: &Path) -> Result<(), RunError> {
    let entries = fs::read_dir(recent).map_err(RunError::io("list", recent))?;
    let mut entries: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
        .collect();
    if entries.len() <= RECENT_KEPT {
        return Ok(());
    }
    entries.sort_by_cached_key(|entry| std::cmp::Reverse(entry.metadata().and_then(|meta| meta.modified()).ok()));
    entries.drain(RECENT_KEPT..).try_for_each(|old| Ok(atomic::remove(&old.path())?))
}

fn file(folder: &Path, entry: &RegistryEntry) -> PathBuf {
    folder.join(format!("{}.json", entry.run_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test builds a full registry")]
    fn only_the_newest_entries_are_kept() {
        let dir = tempfile::tempdir().expect("dir");
        for number in 0..RECENT_KEPT + 5 {
            let file = fs::File::create(dir.path().join(format!("{number}.json"))).expect("file");
            let age = std::time::Duration::from_secs(number as u64);
            file.set_modified(std::time::UNIX_EPOCH + age).expect("time");
        }
        prune(dir.path()).expect("pruned");
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), RECENT_KEPT);
        assert!(!dir.path().join("4.json").exists() && dir.path().join("5.json").exists());
    }
}
