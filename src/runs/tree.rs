//! Which processes belong to a run, and signalling all of them.
//!
//! While the supervisor lives, everything that descends from it belongs to the run: as a subreaper it inherits its
//! orphans. Once it is gone, a process belongs to the run where it carries the run's random token in its
//! environment, or holds the run's lock, or sits in the agent's process group *and* the supervisor's session; and so
//! does whatever descends from such a process. A pid alone is never a reason to signal anything.
//!
//! On macOS there is no subreaper, and sessions and held locks cannot be read: an orphan that left the process group
//! *and* threw away its environment escapes. Its lock descriptor still marks the run as running.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{self, Row};
use crate::core::run::{AgentStarted, Started, TOKEN_VARIABLE};
use crate::fault;
use crate::files::lock;

/// How long an interval between two rounds of KILL is.
const ROUND: Duration = Duration::from_millis(20);

/// Signals every process below this one, and every process that carries `token`.
pub(super) fn signal_descendants(token: &str, signals: &[Signal]) {
    let own = own_pid();
    let rows = process::rows();
    let mut roots = HashSet::from([own]);
    roots.extend(rows.iter().filter(|row| process::has_variable(row.pid, TOKEN_VARIABLE, token)).map(|row| row.pid));
    send(with_descendants(&rows, roots).iter().filter(|pid| **pid != own), signals);
}

/// What identifies the processes of a run whose supervisor is gone.
#[derive(Debug, Clone)]
pub(super) struct Traces {
    pub run_dir: PathBuf,
    pub lock: PathBuf,
    /// None where the claim cannot be read; its processes are then known by their lock alone.
    pub started: Option<Started>,
    pub agent: Option<AgentStarted>,
}

impl Traces {
    /// The living processes of the run.
    pub(super) fn members(&self) -> Vec<i32> {
        let own = own_pid();
        let rows = process::rows();
        let same_boot = self.started.as_ref().is_some_and(|started| started.boot_id == process::boot_id());
        // Whose descriptors lead to it has to be looked for only where somebody's do.
        let is_held = lock::is_held(&self.lock).unwrap_or(true);
        let roots = rows
            .iter()
            .filter(|row| row.pid != own && !row.zombie)
            .filter(|row| {
                self.claimed(row)
                    || (is_held && process::holds_lock(row.pid, &self.lock))
                    || (same_boot && self.grouped(row))
            })
            .map(|row| row.pid)
            .collect();
        let members = with_descendants(&rows, roots);
        let living: HashSet<i32> = rows.iter().filter(|row| !row.zombie).map(|row| row.pid).collect();
        members.into_iter().filter(|pid| *pid != own && living.contains(pid)).collect()
    }

    /// TERM, up to `grace`, then KILL for up to `limit`; returns who is still there.
    pub(super) fn end(&self, grace: Duration, limit: Duration) -> Vec<i32> {
        if !grace.is_zero() {
            send(self.members().iter(), &[Signal::SIGTERM, Signal::SIGCONT]);
            let begun = Instant::now();
            while begun.elapsed() < grace && !self.members().is_empty() {
                std::thread::sleep(ROUND.min(grace));
            }
        }
        let begun = Instant::now();
        loop {
            let members = self.members();
            if members.is_empty() || begun.elapsed() > limit {
                return members;
            }
            send(members.iter(), &[Signal::SIGKILL]);
            std::thread::sleep(ROUND);
        }
    }

    /// The run's own mark: its token, or being its supervisor.
    fn claimed(&self, row: &Row) -> bool {
        self.started.as_ref().is_some_and(|started| {
            process::has_variable(row.pid, TOKEN_VARIABLE, &started.token)
                || (row.stamp == started.supervisor && process::is_our_supervisor(row.pid, &self.run_dir))
        })
    }

    /// In the agent's group and the supervisor's session, both of which would have to be reused together, in the
    /// same relation, for a stranger to be taken for one of ours.
    fn grouped(&self, row: &Row) -> bool {
        let (Some(started), Some(agent)) = (&self.started, &self.agent) else { return false };
        let (supervisor, leader) = (started.supervisor.pid, &agent.process);
        leader.pid != supervisor
            && row.group == leader.pid
            && row.session == supervisor
            && (row.pid != leader.pid || row.stamp == *leader)
    }
}

/// The processes in `roots` and everything below them.
fn with_descendants(rows: &[Row], mut found: HashSet<i32>) -> HashSet<i32> {
    loop {
        let before = found.len();
        let children: Vec<i32> = rows.iter().filter(|row| found.contains(&row.parent)).map(|row| row.pid).collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

fn send<'a>(pids: impl Iterator<Item = &'a i32>, signals: &[Signal]) {
    // Neither 0 (our own group), nor 1, nor a negative number (a group) can be somebody's pid here.
    for pid in pids.filter(|pid| **pid > 1) {
        for signal in signals {
            // A process that is gone by now is what was wanted.
            let _ = fault::point!("process.signal", signal).map(|()| kill(Pid::from_raw(*pid), *signal));
        }
    }
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::run::ProcessStamp;

    fn row(pid: i32, parent: i32) -> Row {
        let stamp = ProcessStamp { pid, start: String::new() };
        Row { pid, parent, group: pid, session: pid, stamp, zombie: false }
    }

    #[test]
    fn descendants_are_found_in_any_order_of_the_table() {
        let rows = [row(5, 4), row(4, 3), row(3, 2), row(9, 1), row(2, 1)];
        assert_eq!(with_descendants(&rows, HashSet::from([3])), HashSet::from([3, 4, 5]));
    }
}
