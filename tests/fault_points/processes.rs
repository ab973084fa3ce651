//! Starting commands, and knowing when nothing of a night is alive any more: every process that loses its parent
//! becomes a child of this one, which has no others, so the kernel says when the last has ended.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long one act and all that it starts may take before it has failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Makes orphans of nights children of this process.
pub fn adopt() {
    nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Output {
    let end = Guard::begin();
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(!end.was_needed(), "{command:?} still ran after {LIMIT:?}, and was killed");
    output
}

/// Waits until no child and no adopted one is left, but for agents that hang and that nobody follows any more: those are
/// the next tick's to find.
pub fn quiet() {
    let end = Guard::begin();
    while !hang() {
        if waitpid(None, None) == Err(Errno::ECHILD) {
            break;
        }
        // What has just lost its supervisor may be about to hang.
        while lonely() && !hang() && some_live() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(!end.was_needed(), "something of this night was still alive after {LIMIT:?}, and was killed");
}

/// Whether hanging agents are all that is left.
fn hang() -> bool {
    let left = children();
    !left.is_empty() && left.iter().all(|pid| read(*pid, "comm").trim_end() == "sleep")
}

/// Whether whoever is left follows nobody: none of our own program is among them.
fn lonely() -> bool {
    let left = children();
    !left.is_empty() && left.iter().all(|pid| !read(*pid, "cmdline").contains("autometta\0"))
}

/// How many agents are left that nobody follows.
pub fn left() -> usize {
    children().len()
}

/// Ends whatever is left, and reaps it.
pub fn clear() {
    while some_live() {
        kill_all();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn children() -> Vec<i32> {
    let mut all = Vec::new();
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        all.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    // Who is dead and only has to be reaped is gone.
    let is_alive = |pid: &i32| {
        read(*pid, "stat").rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    };
    all.retain(is_alive);
    all
}

fn read(pid: i32, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()).into_owned()
}

/// Reaps whoever has ended; false where nobody is left.
pub fn some_live() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Err(Errno::ECHILD) => return false,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Kills every child and adopted one, should this live longer than the limit.
pub struct Guard {
    over: Arc<(Mutex<bool>, Condvar)>,
    needed: Arc<AtomicBool>,
}

impl Guard {
    pub fn begin() -> Self {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let needed = Arc::new(AtomicBool::new(false));
        let (watched, kills) = (Arc::clone(&over), Arc::clone(&needed));
        std::thread::spawn(move || {
            let mut wait = LIMIT;
            loop {
                let ended = watched.0.lock().unwrap_or_else(PoisonError::into_inner);
                let (ended, _) =
                    watched.1.wait_timeout_while(ended, wait, |over| !*over).unwrap_or_else(PoisonError::into_inner);
                if *ended {
                    return;
                }
                drop(ended);
                if !kills.swap(true, Ordering::Relaxed) {
                    let alive = children().into_iter().map(|pid| read(pid, "cmdline").replace('\0', " "));
                    eprintln!("killed: {:?}", alive.collect::<Vec<_>>());
                }
                kill_all();
                wait = Duration::from_millis(20);
            }
        });
        Self { over, needed }
    }

    pub fn was_needed(&self) -> bool {
        self.needed.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.1.notify_all();
    }
}

fn kill_all() {
    for pid in children() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
