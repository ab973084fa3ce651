//! How long a tick and starting anything at all take: medians with their spread, in one run, each beside what the machine
//! needs for the least that could be done.
//!
//! `cargo bench` prints a table; `docs/performance.md` holds one with the machine that it was measured on.

#![allow(clippy::expect_used, clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark prints")]

#[path = "../tests/support/past.rs"]
mod past;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{LIMIT, NAME, Place, children_peak, figures, fsyncs, head, line, once, processor_time, quiet};

/// How often each thing is done.
const TIMES: usize = 60;
/// How many finished stages a long past has.
const PAST: usize = 10_000;
/// How many of them stay in the state, as the manifest has it by default.
const KEPT: usize = 20;

fn main() {
    let idle = Place::new();
    // First, while no larger child has been waited for: the kernel keeps the largest of all.
    once(idle.tick());
    let memory = children_peak();
    println!("{}", head(NAME));
    line("start /bin/true", timed(|| quiet("/bin/true", &[], Path::new("/"))));
    line("start git (rev-parse HEAD)", timed(|| quiet("git", &["rev-parse", "HEAD"], &idle.repo())));
    line("write and fsync a file and its folder", fsyncs(TIMES, idle.root()));
    line("autometta --version", timed(|| idle.command(&["--version"])));
    line("idle tick, one repository", timed(|| idle.tick()));
    line("idle tick, all subscribers (one)", timed(|| idle.command(&["tick"])));
    line("status --json", timed(|| idle.command(&["status", "--json"])));
    long_past();
    println!("\n{:<NAME$} {memory:>9.1} MiB", "idle tick, peak memory");
    println!("{:<NAME$} {:>9.1} MiB", "supervisor, peak memory", supervisor_peak(&Place::new()));
}

/// Idle ticks after nothing, after as many stages as the state keeps and after very many, by turns, so that whatever else
/// the machine does is the same for all of them.
fn long_past() {
    let places = [after(0, 0), after(KEPT, 0), after(KEPT, PAST)];
    let mut times = [const { Vec::new() }; 3];
    let mut processor = times.clone();
    for _ in 0..TIMES {
        for ((place, times), processor) in places.iter().zip(&mut times).zip(&mut processor) {
            let used = processor_time();
            times.push(once(place.tick()));
            processor.push(processor_time().saturating_sub(used));
        }
    }
    for (name, times) in [("idle tick by turns", times), ("  its processor time", processor)] {
        let [none, few, many] = times.clone().map(|times| figures(times)[0]);
        let [at_first, kept, archived] = times;
        line(&format!("{name}: no stage"), at_first);
        line(&format!("  {KEPT} finished stages, in the state"), kept);
        line("  10,000 more of them, archived", archived);
        println!("{:<NAME$} {:>9.3}", "  those 10,000 make it so many times as long", many / few);
        println!("{:<NAME$} {:>9.3}", "  and all of them", many / none);
    }
}

/// A repository with stages that have landed: some in its state, and what others have left that are archived.
fn after(finished: usize, archived: usize) -> Place {
    let place = Place::new();
    if finished > 0 {
        place.queue(&[place.card(1)]);
        once(place.tick());
        place.wait(vec![1], Instant::now());
        let path = place.repo().join("state/state.yaml");
        let state = come_to_rest(&place, &path);
        let begin = state.find("- id: 0001-work").expect("the stage");
        let end = state.find("stage_count: 1").expect("the end");
        let stage = &state[begin..end];
        let stages = (1..=finished).map(|number| stage.replace("0001-work", &format!("{number:04}-work")));
        let text = format!("{}{}stage_count: {finished}\n", &state[..begin], stages.collect::<String>());
        fs::write(&path, text).expect("state");
        let alone = stage.replacen("- ", "  ", 1).replace("\n  ", "\n");
        past::leave(&place.repo().join("state"), "0001-work", &alone[2..], 0..archived);
    }
    once(place.tick());
    place
}

/// Ticks until there is nothing left to do; gives the state.
fn come_to_rest(place: &Place, path: &Path) -> String {
    let begun = Instant::now();
    let mut before = String::new();
    loop {
        place.settle();
        once(place.tick());
        let state = fs::read_to_string(path).expect("state");
        if state == before && !state.contains("notices:") {
            return state;
        }
        assert!(begun.elapsed() < LIMIT, "it does not come to rest: {}", place.last_words());
        before = state;
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn timed(make: impl FnMut() -> Command) -> Vec<Duration> {
    support::timed(TIMES, make)
}

/// The peak memory of a live supervisor, read from the kernel while its agent sleeps.
#[expect(clippy::cast_precision_loss, reason = "a few MiB")]
fn supervisor_peak(place: &Place) -> f64 {
    let card = place.card(1);
    let path = place.repo().join(&card);
    let text = fs::read_to_string(&path)
        .expect("card")
        .replace("echo ", "while [ ! -e \"$HOME/go\" ]; do sleep 0.05; done\necho ");
    fs::write(&path, text).expect("card");
    place.queue(&[card]);
    let home = place.root().join("agents");
    fs::create_dir(&home).expect("folder");
    let mut tick = place.tick();
    assert!(tick.env("HOME", &home).status().expect("tick").success());
    let run = place.repo().join("state/runs/0001-work.1.worker");
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
    while !place.has_landed(1) && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    place.settle();
    kib as f64 / 1024.0
}
