//! The short-lived process that waits for a known time and then becomes a tick.

#![expect(clippy::disallowed_methods, reason = "runs/ starts processes")]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::RunError;

/// Starts the process that waits for a repository, and forgets it. `exe` is this program, `until` what it says to `ps`.
pub fn start_waiter(exe: &Path, repo: &Path, until: &str) -> Result<(), RunError> {
    let mut waiter = Command::new(exe);
    // It leaves this session as its first act; a process group of its own would keep it from that.
    waiter.arg("__wake").arg(repo).arg(until);
    waiter.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    waiter.spawn().map(drop).map_err(RunError::io("start", exe))
}

/// Makes this process the tick of a repository. What it held is free at that very moment; it only comes back where that
/// is impossible.
pub fn become_tick(exe: &Path, repo: &Path) -> RunError {
    let error = Command::new(exe).arg("tick").arg("--repo").arg(repo).exec();
    RunError::io("start", exe)(error)
}
