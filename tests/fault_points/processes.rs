//! Starting commands, and knowing when nothing of a night is alive any more: every process that loses its parent
//! becomes a child of this test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// How long anything here may take before it has failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The processes that are waited for by whoever started them.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Makes orphans of nights children of this process.
pub fn adopt() {
    nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
}

/// Starts a command and waits for its end.
pub fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn().expect("it starts");
        started.insert(child.id());
        child
    };
    let id = child.id();
    let output = child.wait_with_output().expect("it ends");
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    output
}

/// Waits until no process of the night in this folder is left over; says which ones are where it waits in vain.
pub fn quiet(base: &Path) {
    let begun = Instant::now();
    let mut empty = 0;
    loop {
        // One look can miss a process whose parent dies while it looks.
        let left = orphans(base);
        empty = if left.is_empty() { empty + 1 } else { 0 };
        if empty == 3 {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "still alive: {left:?}");
        if empty == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The adopted processes whose environment or arguments name this folder. The dead ones are reaped.
fn orphans(base: &Path) -> Vec<String> {
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mark = base.display().to_string();
    let mut left = Vec::new();
    for thread in fs::read_dir("/proc/self/task").expect("proc").flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for pid in children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()) {
            if started.contains(&pid) {
                continue;
            }
            let read = |name: &str| {
                String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()).replace('\0', " ")
            };
            let stat = read("stat");
            if stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])) {
                let pid = Pid::from_raw(i32::try_from(pid).expect("pid"));
                // Another thread may have been faster.
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                left.push("one that has just died".to_owned());
                continue;
            }
            let words = read("cmdline");
            if words.contains(&mark) || read("environ").contains(&mark) {
                left.push(words);
            }
        }
    }
    left
}
