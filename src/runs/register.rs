//! Runs that a person starts by hand: their ids and directories, and waiting for a process that runs already.
//!
//! They go through the same supervisor as the machine's own runs, so their liveness is a held lock, too. A process that
//! was started before it was registered cannot be handed a lock; a child of the supervisor waits for it instead, told
//! apart from later processes with the same pid by its start time. The machine never looks at these runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dir::RunDir;
use super::error::RunError;
use super::process;
use super::registry;
use super::stop::reap_lost;
use crate::core::ids::{Role, RunId, StageId};
use crate::core::run::{ProcessStamp, RegistryEntry};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::lock::{self, Lock};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long another `register` may take to choose its number.
const PATIENCE: Duration = Duration::from_secs(10);

/// Chooses the id of a new run by hand and makes its directory; nobody else gets either.
pub fn new_manual(state: &Path, stage: &StageId, role: Role) -> Result<(RunId, PathBuf), RunError> {
    let runs = state.join("runs");
    atomic::make_dirs(&runs, Durability::Volatile)?;
    // Two hands at once wait for each other; whoever dies between lets go.
    let path = state.join(".register.lock");
    let held = || RunError::Unusable { path: path.clone(), why: "another `register` holds it".to_owned() };
    let _turn = Lock::exclusive_within(&path, PATIENCE)?.ok_or_else(held)?;
    let mut number = 0;
    loop {
        let run = RunId::manual(stage.clone(), role, number);
        let dir = runs.join(run.to_string());
        if std::fs::symlink_metadata(&dir).is_err() {
            atomic::make_dirs(&dir, Durability::Durable)?;
            return Ok((run, dir));
        }
        number += 1;
    }
}

/// The process of a pid, if it lives.
pub fn process_of(pid: i32) -> Option<ProcessStamp> {
    let stamp = process::stamp(pid);
    process::is_alive(&stamp).then_some(stamp)
}

/// Waits until exactly this process is gone. It may be anybody's child.
pub fn await_process(stamp: &ProcessStamp) {
    while process::is_alive(stamp) {
        std::thread::sleep(LOOK);
    }
}

/// A run that was started by hand and is in the registry of live runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// What the registry says.
    pub entry: RegistryEntry,
    /// Whether its lock is held.
    pub life: Life,
}

/// Whether a run by hand lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Its lock is held.
    Alive,
    /// Its lock is free: its supervisor was killed, or the machine was switched off.
    Gone,
}

/// The runs by hand that are registered as live, by id. Entries that cannot be read are passed over: they are for people.
pub fn registered(state: &Path) -> Vec<Registered> {
    let Ok(entries) = std::fs::read_dir(state.join("active-agents")) else { return Vec::new() };
    let mut found: Vec<Registered> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".manual."))
        .filter_map(|entry| serde_json::from_slice::<RegistryEntry>(&document::read(&entry.path()).ok()??).ok())
        .filter(|entry| entry.run_id.is_manual())
        .map(|entry| {
            let lock = state.join("runs").join(entry.run_id.to_string()).join("run.lock");
            let life = if lock::is_held(&lock).unwrap_or(false) { Life::Alive } else { Life::Gone };
            Registered { entry, life }
        })
        .collect();
    found.sort_by(|one, other| one.entry.run_id.cmp(&other.entry.run_id));
    found
}

/// Moves runs by hand whose supervisor is gone out of the registry of live runs, and ends what they left behind.
pub fn retire_lost(state: &Path) -> Result<(), RunError> {
    for Registered { entry, .. } in registered(state).into_iter().filter(|known| known.life == Life::Gone) {
        let dir = RunDir::new(&state.join("runs").join(entry.run_id.to_string()))?;
        match dir.exit() {
            // Its record was written; only the entry was left behind.
            Ok(Some(record)) => registry::retire(&dir, &entry, record.ended_at, Some(record.ended_by))?,
            _ if dir.path().is_dir() => reap_lost(dir.path())?,
            _ => registry::forget(&dir)?,
        }
    }
    Ok(())
}
