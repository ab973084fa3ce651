//! Ending a run from outside, and making sure that nothing of a lost run lives.

use std::path::Path;
use std::time::Duration;

use super::clock;
use super::dir::{self, RunDir};
use super::error::RunError;
use super::probe::{SupervisorState, supervisor_state};
use super::registry;
use super::tree::Traces;
use crate::core::run::{CancelMarker, RegistryEntry, Started, StopReason};
use crate::files::atomic::Durability;
use crate::files::lock;

/// How long a supervisor may take beyond its grace to act on a request, before it is taken for hung and killed.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(30);

/// The grace of a run whose order cannot be read.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// The least grace: whoever asked before may have died before the run's processes were told to end.
const LEAST_GRACE: Duration = Duration::from_millis(500);

/// How long KILL is repeated.
const KILL_LIMIT: Duration = Duration::from_secs(3);

/// What came of a request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Its supervisor lives, and ends it within a quarter of a second plus its grace.
    Asked,
    /// Its supervisor is gone; its processes were ended here, and the run is lost.
    Ended,
    /// It was over already.
    AlreadyOver,
    /// It has not started; should it be launched, it ends as cancelled without starting anything.
    BeforeStart,
}

/// Asks for the end of a run, and ends it where there is no supervisor to ask.
///
/// Takes up to the run's grace plus three seconds in that case. Calling it again is safe, and the grace then counts from
/// the first call: callers that are killed one after the other come to an end all the same. A supervisor that has not
/// acted on an earlier request for half a minute is killed together with its program.
pub fn stop(run_dir: &Path, reason: StopReason) -> Result<Stopped, RunError> {
    let dir = RunDir::new(run_dir)?;
    let held = lock::is_held(&dir.lock())?;
    let claim = dir.started();
    if !held && (dir.exit_file().exists() || !matches!(claim, Ok(None))) {
        return Ok(Stopped::AlreadyOver);
    }
    let asked_for = dir.cancel_file().metadata().and_then(|meta| meta.modified()).ok().map(clock::since);
    if asked_for.is_none() {
        dir::write(&dir.cancel_file(), &CancelMarker { reason }, Durability::Durable)?;
    }
    let started = match claim {
        Ok(None) => return Ok(if held { Stopped::Asked } else { Stopped::BeforeStart }),
        Ok(Some(started)) => Some(started),
        // A claim that cannot be read names nobody to ask.
        Err(_) => None,
    };
    let grace = dir.order().map_or(DEFAULT_GRACE, |order| Duration::from_secs(order.grace_seconds.0));
    let hung = asked_for.is_some_and(|age| age > grace + SUPERVISOR_PATIENCE);
    let lives = started.is_some() && supervisor_state(started.as_ref()) == SupervisorState::Alive;
    if lives && !hung {
        return Ok(Stopped::Asked);
    }
    let left = match asked_for {
        Some(age) if !lives => grace.saturating_sub(age).max(LEAST_GRACE.min(grace)),
        // A supervisor that hangs has told nobody to end.
        Some(_) | None => grace,
    };
    end(&dir, started, left)?;
    Ok(Stopped::Ended)
}

/// Why the run's end was asked for, if it was. A cancelled run without this was told to end by the system.
pub fn asked_to_stop(run_dir: &Path) -> Result<Option<StopReason>, RunError> {
    Ok(RunDir::new(run_dir)?.cancel()?.map(|marker| marker.reason))
}

/// Kills whatever a lost run left behind and moves it out of the registry of live runs.
///
/// Only after this may another run take its place. Returns at once where the run never started.
pub fn reap_lost(run_dir: &Path) -> Result<(), RunError> {
    let dir = RunDir::new(run_dir)?;
    if lock::is_held(&dir.lock())? {
        return Err(RunError::StillRunning { path: dir.path().to_owned() });
    }
    let started = match dir.started() {
        Ok(None) => return Ok(()),
        Ok(started) => started,
        // What it began cannot be told any more; whoever still holds its lock is found all the same.
        Err(_) => None,
    };
    end(&dir, started.clone(), Duration::ZERO)?;
    match (dir.order(), started) {
        (Ok(order), Some(started)) => {
            let entry = RegistryEntry::new(&order, &started, dir.stdout_log(), dir.stderr_log());
            registry::retire(&dir, &entry, clock::now(), None)
        }
        // The registry is for people; files of the run that cannot be read must not keep it from being cleared away.
        _ => registry::forget(&dir),
    }
}

fn end(dir: &RunDir, started: Option<Started>, grace: Duration) -> Result<(), RunError> {
    // An unreadable agent.json costs one of four ways to recognise the run's processes, not the kill.
    let agent = dir.agent().unwrap_or_default();
    let traces = Traces { run_dir: dir.path().to_owned(), lock: dir.lock(), started, agent };
    match traces.end(grace, KILL_LIMIT).as_slice() {
        [] => Ok(()),
        alive @ [.., pid] => Err(RunError::Undead { path: dir.path().to_owned(), count: alive.len(), pid: *pid }),
    }
}
