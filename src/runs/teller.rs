//! The process that tells the operator something, and the operator's own command.
//!
//! Nothing of the machine waits for either.

#![expect(clippy::disallowed_methods, reason = "runs/ starts processes")]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::error::RunError;
use super::inquiry::{FAREWELL, collect, end_group, wait};
use crate::fault;

/// How much of what it printed is told where it failed, in bytes.
const TOLD: usize = 2000;

/// How an operator's command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited 0.
    Passed,
    /// It did not, and why.
    Failed(String),
}

/// Starts the process that tells what stands in this file, and forgets it. `exe` is this program.
pub fn start_teller(exe: &Path, notice: &Path) -> Result<(), RunError> {
    let mut teller = Command::new(exe);
    teller.arg("__tell").arg(notice);
    // A session of its own comes as its first act; a process group of its own keeps it out of ours until then.
    teller.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    fault::point!("teller.start").and_then(|()| teller.spawn()).map(drop).map_err(RunError::io("start", exe))
}

/// Leaves the session of whoever started this process, so that it outlives the tick under every scheduler.
pub fn detach() {
    // It fails only for the leader of a process group, which has nothing to leave.
    let _ = fault::point!("teller.detach").map(|()| nix::unistd::setsid());
}

/// Runs an operator's command to its end, or stops it and what it started at the limit.
///
/// It gets the environment of the tick, which is the operator's own, without the variables that are `withheld`.
pub fn run_command(argv: &[String], dir: &Path, limit: Duration, withheld: &[String]) -> CommandEnd {
    let Some((program, arguments)) = argv.split_first() else { return CommandEnd::Passed };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(dir).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for name in withheld {
        command.env_remove(name);
    }
    let mut child = match fault::point!("notify.start", argv).and_then(|()| command.spawn()) {
        Ok(child) => child,
        Err(error) => return CommandEnd::Failed(format!("{program} cannot be started: {error}")),
    };
    let printed = collect(child.stderr.take());
    let status = wait(&mut child, limit);
    if status.is_some_and(|status| status.success()) {
        // What it left in the background may be the messenger.
        return CommandEnd::Passed;
    }
    end_group(&mut child);
    let Some(status) = status else {
        return CommandEnd::Failed(format!("{program} was stopped after {} s", limit.as_secs()));
    };
    let said = printed.recv_timeout(FAREWELL).unwrap_or_default();
    let said = String::from_utf8_lossy(&said[..said.len().min(TOLD)]).trim().to_owned();
    CommandEnd::Failed(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> CommandEnd {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        run_command(&argv, Path::new("/"), limit, &[])
    }

    #[test]
    fn an_end_is_told_with_what_was_printed() {
        let long = Duration::from_secs(60);
        assert_eq!(run("exit 0", long), CommandEnd::Passed);
        assert_eq!(run("echo why >&2; exit 3", long), CommandEnd::Failed("exit status: 3: why".to_owned()));
        let withheld = ["PATH".to_owned()];
        let argv = ["/bin/sh", "-c", "env | /bin/grep -q ^PATH= && exit 1; exit 0"].map(str::to_owned);
        assert_eq!(run_command(&argv, Path::new("/"), long, &withheld), CommandEnd::Passed);
        let CommandEnd::Failed(why) = run("sleep 100 & sleep 100", Duration::from_millis(50)) else { panic!("passed") };
        assert!(why.contains("was stopped after"), "{why}");
        let missing = run_command(&["/no/such".to_owned()], Path::new("/"), long, &[]);
        assert!(matches!(missing, CommandEnd::Failed(why) if why.starts_with("/no/such cannot be started")));
    }
}
