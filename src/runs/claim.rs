//! A supervisor's first acts: leaving its parent behind, proving that the run is its own, and claiming it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};

use super::clock;
use super::dir::{self, RunDir};
use super::error::RunError;
use super::process;
use crate::core::run::{RunOrder, Started};
use crate::fault;
use crate::files::atomic::Durability;
use crate::files::lock::Lock;

/// A run that belongs to this process alone.
#[derive(Debug)]
pub(super) struct Claim {
    pub dir: RunDir,
    pub order: RunOrder,
    pub started: Started,
    pub lock: Lock,
}

/// The signals that a supervisor takes by itself, one at a time, instead of dying of them.
pub(super) fn handled_signals() -> SigSet {
    [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].into_iter().collect()
}

/// Closes what our parent left open beyond the three standard streams. Cron, CI systems and shells leak pipes, and an
/// agent that runs for hours would keep their readers waiting. Nothing of ours is open yet.
fn close_inherited() {
    let folder = if cfg!(target_os = "macos") { "/dev/fd" } else { "/proc/self/fd" };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let open: Vec<i32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The listing's own descriptor is closed by now, which is all that can fail.
        let _ = nix::unistd::close(descriptor);
    }
}

/// Detaches this process and claims the run: from here on, the run counts as started.
///
/// The process must be fresh: it loses every descriptor beyond its standard streams, and its working directory.
pub(super) fn claim(run_dir: &Path) -> Result<Claim, RunError> {
    close_inherited();
    // A session of our own: whoever kills the tick's process group or closes its terminal does not reach us.
    // The only failure is that we lead one already.
    let _ = fault::point!("run.detach").map(|()| nix::unistd::setsid());
    #[cfg(target_os = "linux")]
    fault::point!("run.adopt")
        .and_then(|()| Ok(nix::sys::prctl::set_child_subreaper(true)?))
        .map_err(|error| RunError::io("adopt orphans of", run_dir)(error))?;
    handled_signals().thread_block().map_err(|error| RunError::io("block signals for", run_dir)(error.into()))?;
    let dir = RunDir::new(run_dir)?;
    std::env::set_current_dir("/").map_err(RunError::io("change to", Path::new("/")))?;

    let handed = io::stdin().as_fd().try_clone_to_owned().map_err(RunError::io("copy the handle of", &dir.lock()))?;
    let lock = Lock::adopt(File::from(handed), &dir.lock())?.ok_or_else(|| RunError::NotHanded { path: dir.lock() })?;
    let order = dir.order()?;
    if dir.started()?.is_some() || dir.exit_file().exists() {
        return Err(RunError::Claimed { path: dir.path().to_owned() });
    }
    let started = Started {
        run_id: order.run_id.clone(),
        supervisor: process::stamp(nix::unistd::getpid().as_raw()),
        token: random_token().map_err(RunError::io("read", Path::new("/dev/urandom")))?,
        boot_id: process::boot_id(),
        awake_ns: clock::awake_ns(),
        started_at: clock::now(),
    };
    dir::write(&dir.started_file(), &started, Durability::Durable)?;
    Ok(Claim { dir, order, started, lock })
}

fn random_token() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
