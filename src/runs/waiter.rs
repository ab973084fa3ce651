//! The short-lived process that waits for a known time and then becomes a tick.

#![expect(clippy::disallowed_methods, reason = "runs/ starts processes")]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::RunError;
use crate::fault;

/// Starts the process that waits for a repository, and forgets it. `exe` is this program, `until` what it says to `ps`.
pub fn start_waiter(exe: &Path, repo: &Path, until: &str) -> Result<(), RunError> {
    let mut waiter = Command::new(exe);
    // It leaves this session as its first act; a process group of its own would keep it from that.
    waiter.arg("__wake").arg(repo).arg(until);
    waiter.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    fault::point!("waiter.start", repo).and_then(|()| waiter.spawn()).map(drop).map_err(RunError::io("start", exe))
}

/// Starts a tick of a repository, and forgets it. Whoever ends our process group does not end it.
pub fn start_tick(exe: &Path, repo: &Path) -> Result<(), RunError> {
    let mut tick = Command::new(exe);
    tick.arg("tick").arg("--repo").arg(repo).process_group(0);
    tick.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    fault::point!("waiter.other", repo).and_then(|()| tick.spawn()).map(drop).map_err(RunError::io("start", exe))
}

/// Makes this process the tick of a repository. What it held is free at that very moment; it only comes back where that
/// is impossible.
pub fn become_tick(exe: &Path, repo: &Path) -> RunError {
    let mut tick = Command::new(exe);
    tick.arg("tick").arg("--repo").arg(repo);
    let error = fault::point!("waiter.tick", repo).err().unwrap_or_else(|| tick.exec());
    RunError::io("start", exe)(error)
}
