//! Launching a run: the tick's part, which is over as soon as the supervisor has spoken.

#![expect(clippy::disallowed_methods, reason = "runs/ starts supervisors")]

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::dir::{RunDir, open_log};
use super::error::RunError;
use crate::core::secrecy::GIVEN_PREFIX;
use crate::fault;
use crate::files::lock::Lock;

/// How long a tick waits for the supervisor's first word. Resolving secrets may take longer, and need not be awaited.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a lock may be held by somebody who is only looking at it.
const LOOKERS: Duration = Duration::from_millis(100);

/// The first word of a supervisor whose program runs.
pub(super) const STARTED: &str = "started";

/// How the word of a supervisor begins whose program does not run.
pub(super) const COULD_NOT_START: &str = "could not start: ";

/// What came of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launched {
    /// The program runs.
    Started,
    /// It was launched before and still runs.
    AlreadyRunning,
    /// It was launched before and has ended, with its record or lost; it is never run again.
    AlreadyOver,
    /// The supervisor says why it could not start the program. Its record says so as well, unless it died.
    CouldNotStart(String),
    /// The supervisor lives but has not said anything yet; a later look tells.
    NotYetHeard,
}

/// Starts the supervisor of a run whose directory already holds its `run.json`.
///
/// `exe` is this program. Call it while holding the tick lock. Calling it again is safe at any time: a run that was
/// never claimed is launched under the same id, and any other one is left alone.
pub fn launch(run_dir: &Path, exe: &Path) -> Result<Launched, RunError> {
    launch_given(run_dir, exe, &BTreeMap::new())
}

/// The same for a run whose order asks for values by `given:NAME`. They travel in memory and are written to no file.
pub fn launch_given(run_dir: &Path, exe: &Path, given: &BTreeMap<String, String>) -> Result<Launched, RunError> {
    let dir = RunDir::new(run_dir)?;
    dir.order()?;
    // The lock is taken before the supervisor exists and travels with it, so there is no instant in which the run
    // has a process and no lock.
    let Some(lock) = Lock::exclusive_within(&dir.lock(), LOOKERS)? else { return Ok(Launched::AlreadyRunning) };
    if dir.exit_file().exists() || dir.started_file().exists() {
        return Ok(Launched::AlreadyOver);
    }
    let (answer, word) = io::pipe().map_err(RunError::io("make a pipe for", dir.path()))?;
    let log = open_log(&dir.supervisor_log())?;
    let mut supervisor = Command::new(exe);
    supervisor.arg("__supervise").arg(dir.path()).stdin(Stdio::from(lock.into_file())).stdout(word).stderr(log);
    supervisor.envs(given.iter().map(|(name, value)| (format!("{GIVEN_PREFIX}{name}"), value)));
    let spawned = fault::point!("run.launch").and_then(|()| supervisor.current_dir(dir.path()).spawn());
    // Our copies of the lock and of the pipe's writing end must go: the supervisor's are the ones that count.
    drop(supervisor);
    spawned.map_err(RunError::io("start", exe))?;
    let _ = fault::point!("run.hear");

    let (sender, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(answer).read_line(&mut line);
        sender.send(read.map(|_| line))
    });
    let Ok(line) = heard.recv_timeout(PATIENCE) else { return Ok(Launched::NotYetHeard) };
    let line = line.map_err(RunError::io("hear from the supervisor of", dir.path()))?;
    Ok(match line.trim_end() {
        STARTED => Launched::Started,
        "" => Launched::CouldNotStart(format!(
            "its supervisor ended without a word; see {}",
            dir.supervisor_log().display()
        )),
        other => Launched::CouldNotStart(other.strip_prefix(COULD_NOT_START).unwrap_or(other).to_owned()),
    })
}
