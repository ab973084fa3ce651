//! Nothing that a tick does grows with what was done before it: its opens, its listings and its reads are counted
//! with a short and with a long history.
//!
//! `AUTOMETTA_HISTORY=10000` makes the history that long, and prints the figures.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand and say what they counted"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use support::night::{HAND_IN, Night, SAY_PASS};
use support::past;

/// What was done below the state directory and home.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    /// Files and folders opened.
    opens: u64,
    /// Bytes of folder entries.
    listed: u64,
    /// Bytes of files.
    read: u64,
}

/// Runs a tick and all that it starts; counts what they do, but for the report of a night, which is about the night.
fn counted(night: &Night) -> Counted {
    let recording = night.t().join("recording");
    let tick = night.command(&["tick", "--repo", &night.repo.display().to_string()]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-qq", "-s", "4096", "-e", "trace=openat,getdents64,read,pread64,execve", "-o"]);
    strace.arg(&recording).arg(tick.get_program()).args(tick.get_args()).current_dir(&night.repo).env_clear();
    strace.envs(tick.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = strace.output().expect("strace (Debian package strace) runs");
    assert!(output.status.success(), "{}", support::night::text(&output.stderr));
    let text = fs::read(&recording).expect("the recording");
    let mut counted = Counted::default();
    let mut tellers = BTreeSet::new();
    let (state, home) = (night.repo.join("state"), night.home.clone());
    let (state, home) = (state.display().to_string(), home.display().to_string());
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        if call.trim_start().starts_with("execve(") && call.contains("\"__tell\"") {
            tellers.insert(pid.to_owned());
        }
        if tellers.contains(pid) || !(call.contains(&state) || call.contains(&home)) {
            continue;
        }
        let given = call.rsplit_once(" = ").and_then(|(_, given)| given.split([' ', '<']).next()?.parse::<u64>().ok());
        match (call.trim_start().split('(').next(), given) {
            (Some("openat"), _) => counted.opens += 1,
            (Some("getdents64"), Some(bytes)) => counted.listed += bytes,
            (Some("read" | "pread64"), Some(bytes)) => counted.read += bytes,
            _ => {}
        }
    }
    counted
}

/// A stage from its queueing to its landing, and an idle tick after it.
fn work(night: &Night, stage: &str) -> (Counted, Counted) {
    night.queue(stage);
    let busy = counted(night);
    let archived = night.repo.join(format!("state/archive/{stage}.yaml"));
    // The night has ended, and nobody is at work.
    night.wait("the report", || {
        let _ = night.tick();
        archived.exists() && night.repo.join("state/report.html").exists()
    });
    (busy, counted(night))
}

/// Makes everything there that this many landed stages leave, all of it long over.
fn age(night: &Night, first: usize, stages: usize) {
    let archived = night.read("repo/state/archive/01-a.yaml");
    past::leave(&night.repo.join("state"), "01-a", &archived, first..first + stages);
}

#[test]
fn a_tick_costs_the_same_however_much_was_done_before_it() {
    let length = std::env::var("AUTOMETTA_HISTORY").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000);
    let night = Night::bare();
    night.stub("worker", &format!("echo \"$1\" >a.txt\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    night.manifest("caps: {tokens: 900000000}\nretention: {finished_stages: 0}");
    night.ok(&["init"]);
    for stage in ["01-a", "02-b"] {
        work(&night, stage);
    }
    // Enough for whatever looks at an end to find as much as it looks at.
    age(&night, 0, 60);
    let (busy, idle) = work(&night, "03-c");
    age(&night, 60, length);
    let (busy_then, idle_then) = work(&night, "04-d");
    println!("busy {busy:?}, after {length} stages {busy_then:?}\nidle {idle:?}, after {length} stages {idle_then:?}");
    assert!(busy.opens > 100 && busy.listed > 100 && busy.read > 1_000 && idle.opens > 5, "{busy:?} {idle:?}");
    // What a run goes on printing while it is watched differs from time to time; a history that is gone through does not.
    let some = length as u64 / 4;
    let grown = |then: u64, before: u64| then.saturating_sub(before);
    assert!(grown(busy_then.opens, busy.opens) < some, "{busy:?}, then {busy_then:?}");
    assert!(grown(busy_then.listed, busy.listed) < some * 32, "{busy:?}, then {busy_then:?}");
    assert!(grown(busy_then.read, busy.read) < some * 1_000, "{busy:?}, then {busy_then:?}");
    assert!(grown(idle_then.opens, idle.opens) < 5, "{idle:?}, then {idle_then:?}");
    assert!(grown(idle_then.listed, idle.listed) < 200, "{idle:?}, then {idle_then:?}");
    assert!(grown(idle_then.read, idle.read) < 4_000, "{idle:?}, then {idle_then:?}");
}
