//! Looking at a run from outside, without trusting a pid.
//!
//! | lock | `exit.json` | `started.json` | the run |
//! | --- | --- | --- | --- |
//! | held | any | any | is running |
//! | free | there | any | has exited |
//! | free | absent | absent | never started: nothing ran |
//! | free | absent | there | is lost |
//!
//! The lock is looked at first. A supervisor writes `exit.json` before it lets go, so a free lock without a record
//! can only stay that way. A record beside a held lock is not used: either the supervisor is about to let go, which
//! is awaited for a moment, or something other than the supervisor wrote it, and the supervisor's own will replace it.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::clock;
use super::dir::RunDir;
use super::error::RunError;
use super::meter::{MeterFor, MeterResult};
use super::process;
use super::tail::Tail;
use super::transcript::Transcript;
use super::watch::last_said;
use crate::core::exit::{ExitRecord, LostLogs, ProcessEnd, ProviderReport, Usage};
use crate::core::run::{EnvSource, ModelUse, RunOrder, Started};
use crate::core::secrecy::names_secret;
use crate::files::lock;

/// How long a supervisor takes at most from its record to its release; it takes a few milliseconds.
const RELEASE: Duration = Duration::from_millis(250);

/// How a program ended whose end nobody saw. It is not [`ProcessEnd::None`]: that one never ran, and used nothing.
const UNTOLD_END: ProcessEnd = ProcessEnd::Signal(0);

/// What a look at a run found.
#[derive(Debug)]
pub enum Sighting {
    /// It was never claimed; launching it is safe.
    NotStarted,
    /// Its lock is held.
    Running(Pulse),
    /// It is over, and this is its record.
    Exited(Box<ExitRecord>),
    /// It was claimed and is gone without a record. Reap it before anything else is done about it.
    Lost(Box<LostRun>),
    /// A file of the run cannot be read; the text says which and why.
    Unreadable(String),
}

/// Whether a running run still has its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorState {
    /// It lives, and enforces the caps.
    Alive,
    /// It is gone, while something that it started holds the lock: the caps are the ticks' to enforce.
    Gone,
}

/// A run in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    /// How long nothing was printed, by the calendar, but never longer than `elapsed`.
    pub silent_for: Duration,
    /// How long it has been running while the machine was awake.
    pub elapsed: Duration,
    /// How much it has printed, both streams together.
    pub output_bytes: u64,
    /// Whether its supervisor lives.
    pub supervisor: SupervisorState,
    /// Whether `elapsed` has reached the wall-clock cap.
    pub over_wall_cap: bool,
}

/// A run that is gone without a record.
#[derive(Debug, Clone, PartialEq)]
pub struct LostRun {
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How long the machine has been awake since; none where it has been started anew.
    pub awake: Option<Duration>,
    /// What it used, as far as its logs tell.
    pub usage: Usage,
    /// What the provider said, as far as its logs tell.
    pub provider: ProviderReport,
}

/// Whether the run whose directory this is a copy of lives: its supervisor is alive and does not hold this lock.
///
/// What is written in such a copy about processes is about those of the original.
pub fn lives_elsewhere(run_dir: &Path) -> Result<bool, RunError> {
    let dir = RunDir::new(run_dir)?;
    if lock::is_held(&dir.lock())? || dir.exit_file().exists() {
        return Ok(false);
    }
    let started = dir.started()?;
    Ok(started.is_some() && supervisor_state(started.as_ref()) == SupervisorState::Alive)
}

/// Looks at the run of a directory. Never changes anything.
pub fn probe(run_dir: &Path, meter_for: &MeterFor<'_>) -> Sighting {
    RunDir::new(run_dir)
        .and_then(|dir| sight(&dir, meter_for))
        .unwrap_or_else(|error| Sighting::Unreadable(error.to_string()))
}

fn sight(dir: &RunDir, meter_for: &MeterFor<'_>) -> Result<Sighting, RunError> {
    let begun = Instant::now();
    loop {
        if lock::is_held(&dir.lock())? {
            // Whoever holds the lock lives, whatever has become of the run's files. A claim that cannot be read names no
            // supervisor to rely on, so the ticks watch the cap.
            let claim = dir.started();
            let supervisor = claim.as_ref().map_or(SupervisorState::Gone, |started| supervisor_state(started.as_ref()));
            let started = claim.unwrap_or_default();
            let releasing = supervisor == SupervisorState::Alive && dir.exit_file().exists();
            if releasing && begun.elapsed() < RELEASE {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            return Ok(running(dir, started.as_ref(), supervisor));
        }
        if let Some(record) = dir.exit()? {
            return Ok(Sighting::Exited(Box::new(record)));
        }
        let Some(started) = dir.started()? else { return Ok(Sighting::NotStarted) };
        // Somebody may have launched it between our looks at the lock and at the claim.
        if !lock::is_held(&dir.lock())? && !dir.exit_file().exists() {
            return lost(dir, &started, meter_for);
        }
    }
}

/// Whether the supervisor of a run with a held lock is there. Before the claim, nobody else can hold the lock.
pub(super) fn supervisor_state(started: Option<&Started>) -> SupervisorState {
    let alive =
        started.is_none_or(|started| started.boot_id == process::boot_id() && process::is_alive(&started.supervisor));
    if alive { SupervisorState::Alive } else { SupervisorState::Gone }
}

fn running(dir: &RunDir, started: Option<&Started>, supervisor: SupervisorState) -> Sighting {
    let cap = dir.order().map_or(Duration::MAX, |order| Duration::from_secs(order.caps.wall_clock_seconds.0));
    let elapsed = match (started, supervisor) {
        (Some(started), _) => Duration::from_nanos(clock::awake_ns().saturating_sub(started.awake_ns)),
        (None, SupervisorState::Alive) => Duration::ZERO,
        (None, SupervisorState::Gone) => {
            dir.lock().metadata().and_then(|meta| meta.modified()).map_or(Duration::ZERO, clock::since)
        }
    };
    let logs = [dir.stdout_log(), dir.stderr_log()].map(|log| log.metadata().ok());
    let newest = logs.iter().flatten().filter_map(|meta| meta.modified().ok()).max();
    Sighting::Running(Pulse {
        silent_for: newest.map_or(elapsed, clock::since).min(elapsed),
        elapsed,
        output_bytes: logs.iter().flatten().map(std::fs::Metadata::len).sum(),
        supervisor,
        over_wall_cap: elapsed >= cap,
    })
}

/// Whether what a run prints passes a redactor, as far as its order tells.
fn is_redacted(order: &RunOrder) -> bool {
    order.env.iter().any(|entry| matches!(&entry.source, EnvSource::Secret(_)) || names_secret(&entry.name))
}

fn lost(dir: &RunDir, started: &Started, meter_for: &MeterFor<'_>) -> Result<Sighting, RunError> {
    let order = dir.order()?;
    let awake = Duration::from_nanos(clock::awake_ns().saturating_sub(started.awake_ns));
    let mut lost = LostRun {
        started_at: started.started_at,
        awake: (started.boot_id == process::boot_id()).then_some(awake),
        usage: Usage::none(),
        provider: ProviderReport::default(),
    };
    if lost.awake.is_none() && order.uses_model == ModelUse::Model {
        // A power cut takes names as well that nobody has synced.
        lost.usage = Usage::default();
    }
    // Both logs are made before the program is, and `agent.json` after: without them, it never was.
    let logs = [dir.stdout_log(), dir.stderr_log()];
    if dir.agent_file().exists() || logs.iter().all(|log| log.exists()) {
        let ago = last_said(&logs);
        let mut meter = meter_for(&order);
        let read = Tail::open(&logs[0])
            .and_then(|mut log| log.finish(&mut |line| meter.feed_stdout(line)))
            .and_then(|()| Tail::open(&logs[1]))
            .and_then(|mut log| log.finish(&mut |line| meter.feed_stderr(line)));
        Transcript::default().finish(&order, meter.as_mut());
        // Logs that cannot be read leave the usage unknown, but must not keep the run from being reaped.
        let result = if read.is_ok() { meter.finish(UNTOLD_END, ago) } else { MeterResult::default() };
        lost.provider = result.provider;
        let logs = match lost.awake {
            None => LostLogs::OfAnEarlierBoot,
            Some(_) if is_redacted(&order) => LostLogs::ThroughSupervisor,
            Some(_) => LostLogs::OfThisBoot,
        };
        if order.uses_model == ModelUse::Model {
            lost.usage = result.usage.of_lost(logs);
        }
    }
    Ok(Sighting::Lost(Box::new(lost)))
}
