//! Waiting for everything that a tick has started, however far it went its own way.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// How long what was started may go on.
const LIMIT: Duration = Duration::from_secs(120);

/// Lets every process fall to this one whose parent dies, so that it can be waited for.
pub fn adopt() {
    set_child_subreaper(true).expect("a subreaper");
}

/// Whether nothing that was started is left.
pub fn are_gone() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("waiting for what was started: {error}"),
        }
    }
}

/// Waits until nothing that was started is left.
pub fn settle() {
    let begun = Instant::now();
    while !are_gone() {
        assert!(begun.elapsed() < LIMIT, "what was started does not end");
        sleep(Duration::from_millis(1));
    }
}
