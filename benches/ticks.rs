//! How long a tick, a landing and starting anything at all take: medians with their spread, in one run, each beside
//! what the machine needs for the least that could be done.
//!
//! `cargo bench` prints a table; `docs/performance.md` holds one with the machine that it was measured on.

#![allow(clippy::expect_used, clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark prints")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{NAME, Place, children_peak, fsyncs, head, line, once, quiet};

/// How often each thing is done.
const TIMES: usize = 60;
/// How many stages are landed.
const STAGES: usize = 30;

fn main() {
    let idle = Place::new();
    // First, while no larger child has been waited for: the kernel keeps the largest of all.
    once(idle.command(&["tick", "--repo", "."]));
    let memory = children_peak();
    println!("{}", head(NAME));
    line("start /bin/true", timed(|| quiet("/bin/true", &[], Path::new("/"))));
    line("start git (rev-parse HEAD)", timed(|| quiet("git", &["rev-parse", "HEAD"], &idle.repo())));
    line("write and fsync a file and its folder", fsyncs(TIMES, idle.root()));
    line("autometta --version", timed(|| idle.command(&["--version"])));
    line("idle tick, one repository", timed(|| idle.command(&["tick", "--repo", "."])));
    line("idle tick, all subscribers (one)", timed(|| idle.command(&["tick"])));
    line("status --json", timed(|| idle.command(&["status", "--json"])));
    let busy = Place::new();
    let mut landings = Vec::new();
    for number in 1..=STAGES {
        let card = busy.card(number);
        busy.autometta(&["add-stage", &card]);
        let begun = Instant::now();
        busy.autometta(&["tick", "--repo", "."]);
        while !busy.has_landed(number) {
            assert!(begun.elapsed() < Duration::from_secs(30), "stage {number} does not land");
            std::thread::sleep(Duration::from_micros(500));
        }
        landings.push(begun.elapsed());
        busy.settle();
    }
    line("card queued → landed (worker, gate, verifier)", landings);
    println!("\n{:<NAME$} {memory:>9.1} MiB", "idle tick, peak memory");
    println!("{:<NAME$} {:>9.1} MiB", "supervisor, peak memory", supervisor_peak(&busy));
}

fn timed(make: impl FnMut() -> Command) -> Vec<Duration> {
    support::timed(TIMES, make)
}

/// The peak memory of a live supervisor, read from the kernel while its agent sleeps.
#[expect(clippy::cast_precision_loss, reason = "a few MiB")]
fn supervisor_peak(place: &Place) -> f64 {
    let number = STAGES + 1;
    let card = place.card(number);
    let path = place.repo().join(&card);
    let text = fs::read_to_string(&path)
        .expect("card")
        .replace("echo ", "while [ ! -e \"$HOME/go\" ]; do sleep 0.05; done\necho ");
    fs::write(&path, text).expect("card");
    place.autometta(&["add-stage", &card]);
    let home = place.root().join("agents");
    fs::create_dir(&home).expect("folder");
    let mut tick = place.command(&["tick", "--repo", "."]);
    assert!(tick.env("HOME", &home).status().expect("tick").success());
    let run = place.repo().join(format!("state/runs/{number:04}-work.1.worker"));
    let begun = Instant::now();
    let pid = loop {
        let started = fs::read(run.join("started.json")).ok();
        let pid = started
            .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
            .and_then(|started| started["supervisor"]["pid"].as_i64());
        if let Some(pid) = pid.filter(|_| run.join("agent.json").exists()) {
            break pid;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no supervisor");
        std::thread::sleep(Duration::from_millis(5));
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    fs::write(home.join("go"), "").expect("file");
    while !place.has_landed(number) && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    place.settle();
    kib as f64 / 1024.0
}
