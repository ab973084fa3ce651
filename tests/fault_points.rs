//! One fault at every fault point of a reference night, every time the night passes it: the process dies there, or the
//! effect fails, or its bytes are torn. Ticks then go on as the timer would start them, and the night must come to the
//! same end. See `docs/proof.md`.
//!
//! `cargo test` tries every point and a share of the occurrences that changes from commit to commit;
//! `AUTOMETTA_FAULT_MATRIX=all` tries all of them, `3/10` every tenth beginning with the fourth, and
//! `'STEP ACTOR/POINT:OCCURRENCE:FAULT'`, or how that begins, what is called so.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand and say what they tried"
)]

#[path = "fault_points/processes.rs"]
mod processes;
mod support;
#[path = "fault_points/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use world::{Act, Outcome, Passage, World, without_retry};

/// How many worlds are worked in at once.
const WORLDS: usize = 2;
/// How many cases `cargo test` tries.
const SAMPLE: usize = 160;
/// How many of its cases let somebody wait.
const PAUSES: usize = 10;
/// After this many acts a night that should be over never ends.
const MOST_ACTS: usize = 60;
/// The errors that stand for all, in turn.
const ERRORS: [&str; 4] = ["eio", "enospc", "eacces", "eintr"];
/// Points that only a death can show: their effect is over or belongs to somebody else, and an error has no meaning.
const DEATH_ONLY: [&str; 3] = ["git.wait", "run.hear", "run.release"];
/// Writes into a file in its place. All others write a temp file, which a tear leaves as a death at the rename does.
const IN_PLACE: [&str; 5] = ["append.write", "claim.write", "gate.header", "git.write", "ledger.write"];
/// Points that this night does not pass, and why.
const ELSEWHERE: [(&str, &str); 34] = [
    ("agent.kill", "macOS only"),
    ("append.open", "a launch that failed leaves a line"),
    ("append.sync", "a launch that failed leaves a line"),
    ("append.write", "a launch that failed leaves a line"),
    ("aside.move", "damage is put aside: tests/scenarios_state.rs"),
    ("aside.set", "something stands where a run will be: tests/red_team.rs"),
    ("atomic.drop-temp", "after a write that failed, so in cases of this test"),
    ("atomic.mode", "files of the repository's own: `init`"),
    ("git.copy-once", "an operator's split index: tests/git_layer"),
    ("git.kill", "a git that is out of time: tests/git_layer"),
    ("git.lock.make", "a file system without hard links"),
    ("git.lock.sync", "a file system without hard links"),
    ("git.lock.write", "a file system without hard links"),
    ("git.mode", "an agent took permissions away: tests/git_layer"),
    ("git.move.copy", "a checkout on another file system"),
    ("git.move.link", "a checkout on another file system"),
    ("git.move.rename", "a checkout on another file system"),
    ("git.remove-opened", "an agent took permissions away: tests/git_layer"),
    ("group.kill", "a question or a notify command that hangs"),
    ("home.make", "the first command of a machine"),
    ("home.mode", "the first command of a machine"),
    ("inquiry.input", "`doctor` only"),
    ("inquiry.start", "the version of an agent's CLI: tests/real_clis.rs"),
    ("ledger.cut", "`doctor --restore`"),
    ("ledger.cut-sync", "`doctor --restore`"),
    ("ledger.folder-sync", "the first line: `init`"),
    ("link.drop-temp", "after a link that failed, so in cases of this test"),
    ("log.cut", "a program that floods its log: tests/runs_stop.rs"),
    ("log.end-redacted", "a run with secrets: tests/leaks.rs"),
    ("log.write-redacted", "a run with secrets: tests/leaks.rs"),
    ("process.signal", "a run that is stopped: tests/runs_stop.rs"),
    ("secret.start", "a secret from a program"),
    ("waiter.start", "a night without a timer that waits: tests/scenarios_providers.rs"),
    ("waiter.tick", "a night without a timer that waits: tests/scenarios_providers.rs"),
];

/// The night without faults, act by act.
struct Reference {
    acts: Vec<Act>,
    /// What each act passed.
    passages: Vec<Vec<Passage>>,
    /// The world before each act, and at the end.
    keys: Vec<String>,
    outcome: Outcome,
}

fn reference(world: &World) -> Reference {
    let (mut acts, mut passages, mut keys) = (Vec::new(), Vec::new(), vec![world.key()]);
    let mut idle = false;
    while let Some(act) = world.next(idle) {
        world.keep(acts.len());
        let (passed, _) = world.act(&act, "");
        let key = world.key();
        idle = act == Act::Tick && keys.last() == Some(&key);
        acts.push(act);
        passages.push(passed);
        keys.push(key);
        assert!(acts.len() < MOST_ACTS, "the reference night never ends: {}", world.log());
    }
    let outcome = world.outcome();
    assert_eq!(world.leftovers(), Vec::<String>::new());
    world.verify();
    Reference { acts, passages, keys, outcome }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    step: usize,
    actor: String,
    point: String,
    occurrence: u64,
    fault: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.step, self.order())
    }
}

impl Case {
    fn order(&self) -> String {
        format!("{}/{}:{}:{}", self.actor, self.point, self.occurrence, self.fault)
    }
}

/// Every fault that can happen in this night, in order.
fn cases(reference: &Reference) -> Vec<Case> {
    let mut all = Vec::new();
    let (mut torn, mut paused) = (BTreeSet::new(), BTreeSet::new());
    for (step, passages) in reference.passages.iter().enumerate() {
        for passage in passages {
            let case = |fault| Case {
                step,
                actor: passage.actor.clone(),
                point: passage.point.clone(),
                occurrence: passage.occurrence,
                fault,
            };
            if passage.point != "run.pulse" {
                // A pulse that never comes is every run's end in this night.
                all.push(case("abort"));
            }
            let is_act = matches!(&reference.acts[step], Act::Tick) || !passage.actor.contains('-');
            let role = passage.actor.rsplit('.').next().unwrap_or_default().to_owned();
            if is_act && paused.insert((role, passage.point.clone())) {
                all.push(case("pause"));
            }
            if !DEATH_ONLY.contains(&passage.point.as_str()) {
                let turn =
                    passage.actor.len() + passage.point.len() + usize::try_from(passage.occurrence).expect("few");
                all.push(case(ERRORS[turn % ERRORS.len()]));
            }
            if passage.point.ends_with("write") || passage.point == "gate.header" {
                let once = torn.insert((passage.actor.clone(), passage.point.clone()));
                if once || IN_PLACE.contains(&passage.point.as_str()) {
                    all.push(case("torn"));
                }
            }
        }
    }
    all.sort();
    all
}

/// How a case ended.
enum End {
    /// The very world that the reference passes through.
    Same,
    /// The same end, by another way: which runs there were beyond the reference's, and what the ledger says of it.
    Otherwise(Vec<String>),
    /// The fault did not take place.
    NotMet,
}

fn try_case(world: &World, reference: &Reference, case: &Case) -> Result<End, String> {
    world.bring_back(case.step);
    let (_, met) = world.act(&reference.acts[case.step], &case.order());
    if !met {
        return Ok(End::NotMet);
    }
    go_on(world, reference, case.step)
}

/// Lets the timer tick until the night is where the reference was after this step, or later, or over.
fn go_on(world: &World, reference: &Reference, step: usize) -> Result<End, String> {
    let mut before = world.key();
    let ahead = &reference.keys[step + 1..];
    let mut idle = false;
    for _ in 0..MOST_ACTS {
        if ahead.contains(&before) && world.leftovers_match(reference.keys.last() == Some(&before)) {
            return Ok(End::Same);
        }
        let Some(act) = world.next(idle) else { return compare(world, reference) };
        world.act(&act, "");
        let key = world.key();
        idle = act == Act::Tick && key == before;
        before = key;
    }
    Err(format!("the night never ends:\n{}", world.log()))
}

/// Lets somebody wait at a point while a second tick and a command of the operator come.
fn try_paused(world: &World, reference: &Reference, case: &Case) -> Result<End, String> {
    world.bring_back(case.step);
    let folder = world.base().join("faults-beside");
    std::fs::create_dir_all(&folder).expect("folder");
    let go = folder.join("go");
    let order = format!("{}/{}:{}:pause={}", case.actor, case.point, case.occurrence, go.display());
    let met = std::thread::scope(|scope| {
        let act = scope.spawn(|| world.act(&reference.acts[case.step], &order));
        let reached = go.with_extension("reached");
        while !reached.exists() && !act.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let tick = world.beside(&["tick"]);
        assert!(tick.status.success(), "{}", String::from_utf8_lossy(&tick.stderr));
        // It waits for the lock, where the one that waits has it.
        let halt = scope.spawn(|| world.beside(&["halt"]));
        let status = world.beside(&["status", "--json"]);
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        std::fs::write(&go, "").expect("file");
        let halt = halt.join().expect("the command");
        assert!(halt.status.success(), "{}", String::from_utf8_lossy(&halt.stderr));
        act.join().expect("the act").1
    });
    processes::quiet(&world.base());
    if !met {
        return Ok(End::NotMet);
    }
    go_on(world, reference, case.step)
}

fn compare(world: &World, reference: &Reference) -> Result<End, String> {
    let outcome = world.outcome();
    world.verify();
    let left = world.leftovers();
    if !left.is_empty() {
        return Err(format!("left behind: {left:?}\n{}", world.log()));
    }
    if outcome.fixed != reference.outcome.fixed {
        let (is, was) = (format!("{:#}", outcome.fixed), format!("{:#}", reference.outcome.fixed));
        let new: Vec<&str> = is.lines().filter(|line| !was.contains(line)).collect();
        let gone: Vec<&str> = was.lines().filter(|line| !is.contains(line)).collect();
        return Err(format!("it ends otherwise: {new:?} and not {gone:?}\n{}", world.log()));
    }
    // Each run of the reference took place with its end and its charge; whatever is beyond that was lost to the fault.
    let mut wanted: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for (run, end) in &reference.outcome.runs {
        wanted.entry(without_retry(run)).or_default().push(end.clone());
    }
    let mut beyond = Vec::new();
    for (run, end) in &outcome.runs {
        let ends = wanted.entry(without_retry(run)).or_default();
        match ends.iter().position(|wanted| wanted == end) {
            Some(at) => drop(ends.remove(at)),
            None => beyond.push(format!("{} ({} tokens)", end.0, end.1)),
        }
    }
    wanted.retain(|_, ends| !ends.is_empty());
    let sum: u64 = outcome.runs.values().map(|(_, tokens)| tokens).sum();
    if !wanted.is_empty() || sum != outcome.tokens || beyond.len() > 1 {
        return Err(format!(
            "missing {wanted:?}, beyond {beyond:?}, charged {sum}, spent {}\n{}",
            outcome.tokens,
            world.log()
        ));
    }
    let plain = |ledger: &BTreeMap<String, usize>| {
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        for (line, count) in ledger {
            *all.entry(without_retry(line)).or_default() += count;
        }
        all
    };
    let (was, is) = (plain(&reference.outcome.ledger), plain(&outcome.ledger));
    let missing: Vec<_> = was.iter().filter(|(line, count)| is.get(*line) < Some(count)).collect();
    if !missing.is_empty() {
        return Err(format!("transitions that did not take place: {missing:?}\n{}", world.log()));
    }
    for (line, count) in &is {
        let more = count - was.get(line).copied().unwrap_or(0);
        let event = line.split(' ').nth(2).unwrap_or_default();
        beyond.extend(std::iter::repeat_n(format!("+{event}"), more));
    }
    Ok(End::Otherwise(beyond))
}

/// The share of the cases that is tried: all, one by its name, or each point once and then every so manieth, beginning
/// at a place that the commit decides.
fn chosen(all: &[Case]) -> Vec<Case> {
    let wanted = std::env::var("AUTOMETTA_FAULT_MATRIX").unwrap_or_default();
    if wanted == "all" {
        return all.to_vec();
    }
    if let Some((part, parts)) = wanted.split_once('/')
        && let (Ok(part), Ok(parts)) = (part.parse::<usize>(), parts.parse::<usize>())
    {
        return all.iter().skip(part).step_by(parts).cloned().collect();
    }
    if !wanted.is_empty() {
        return all.iter().filter(|case| case.to_string().starts_with(&wanted)).cloned().collect();
    }
    let mut git = std::process::Command::new("git");
    git.args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let head = processes::run(git).stdout;
    let seed = Sha256::digest(&head);
    let seed = usize::from(seed[0]) << 8 | usize::from(seed[1]);
    let mut rotated = all.to_vec();
    rotated.rotate_left(seed % all.len().max(1));
    let mut points = BTreeSet::new();
    let (mut picked, rest): (Vec<Case>, Vec<Case>) = rotated
        .into_iter()
        .filter(|case| case.fault != "pause")
        .partition(|case| points.insert((case.point.clone(), case.fault == "abort")));
    let stride = (rest.len() / SAMPLE.saturating_sub(picked.len()).max(1)).max(1);
    picked.extend(rest.into_iter().step_by(stride));
    let pauses: Vec<&Case> = all.iter().filter(|case| case.fault == "pause").collect();
    picked.extend((0..PAUSES).map(|number| pauses[(seed + number * pauses.len() / PAUSES) % pauses.len()].clone()));
    picked.sort();
    picked
}

#[test]
fn a_night_ends_the_same_whatever_fails_in_it_and_wherever() {
    processes::adopt();
    let begun = Instant::now();
    let worlds: Vec<(World, Reference)> = std::thread::scope(|scope| {
        let started: Vec<_> = {
            // One after the other: their commands are waited for by hand.
            (0..WORLDS).map(|_| World::new()).collect::<Vec<_>>()
        }
        .into_iter()
        .map(|world| {
            scope.spawn(move || {
                let reference = reference(&world);
                (world, reference)
            })
        })
        .collect();
        started.into_iter().map(|thread| thread.join().expect("a reference")).collect()
    });
    let all = cases(&worlds[0].1);
    let again = cases(&worlds[1].1);
    let other: Vec<String> =
        all.iter().filter(|case| !again.contains(case)).map(ToString::to_string).take(20).collect();
    let points: BTreeSet<&str> = all.iter().map(|case| case.point.as_str()).collect();
    let chosen = chosen(&all);
    println!(
        "{} acts, {} points, {} passages, {} cases, {} of them tried; the reference took {:.1?}",
        worlds[0].1.acts.len(),
        points.len(),
        worlds[0].1.passages.iter().map(Vec::len).sum::<usize>(),
        all.len(),
        chosen.len(),
        begun.elapsed()
    );
    println!("cases of one reference and not of the other: {other:?}");
    if std::env::var("AUTOMETTA_FAULT_MATRIX").is_ok_and(|wanted| wanted == "none") {
        println!("{:#?}\n{}", worlds[0].1.acts, worlds[0].0.read("state/ledger.jsonl"));
    }
    every_point_is_passed(&points);
    let queue = Mutex::new(chosen.into_iter());
    let (same, failures) = (Mutex::new(0_usize), Mutex::new(Vec::new()));
    let (otherwise, not_met) = (Mutex::new(BTreeMap::<String, usize>::new()), Mutex::new(Vec::new()));
    let verbose = std::env::var("AUTOMETTA_FAULT_MATRIX").is_ok();
    std::thread::scope(|scope| {
        for (world, reference) in &worlds {
            let (queue, same, failures, otherwise, not_met) = (&queue, &same, &failures, &otherwise, &not_met);
            scope.spawn(move || {
                loop {
                    let Some(case) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
                    let how = if case.fault == "pause" { try_paused } else { try_case };
                    let tried = catch_unwind(AssertUnwindSafe(|| how(world, reference, &case)));
                    match tried.unwrap_or_else(|_| Err(format!("panicked\n{}", world.log()))) {
                        Ok(End::Same) => *same.lock().unwrap_or_else(PoisonError::into_inner) += 1,
                        Ok(End::NotMet) => {
                            not_met.lock().unwrap_or_else(PoisonError::into_inner).push(case.to_string());
                        }

                        Ok(End::Otherwise(how)) => {
                            let fault = match case.fault {
                                "abort" | "torn" => "death",
                                "pause" => "pause",
                                _ => "error",
                            };
                            let who = case.actor.rsplit('.').find(|part| part.parse::<u32>().is_err());
                            let who = who.unwrap_or_default();
                            let line = format!("{fault} at {who}/{}: {}", case.point, how.join(", "));
                            *otherwise.lock().unwrap_or_else(PoisonError::into_inner).entry(line).or_default() += 1;
                        }
                        Err(why) => {
                            if verbose {
                                println!("FAILED {case}: {}\n", why.chars().take(400).collect::<String>());
                            }
                            failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{case}: {why}"));
                        }
                    }
                }
            });
        }
    });
    let (same, failures) = (same.into_inner().expect("lock"), failures.into_inner().expect("lock"));
    let (otherwise, not_met) = (otherwise.into_inner().expect("lock"), not_met.into_inner().expect("lock"));
    println!(
        "{same} joined the reference exactly, {} came to its end with a run more, {} failed, {} were not met; {:.0?}",
        otherwise.values().sum::<usize>(),
        failures.len(),
        not_met.len(),
        begun.elapsed()
    );
    println!("by another way: {otherwise:#?}\nnot met: {not_met:?}");
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n\n"));
}

/// A point that the reference night never passes proves nothing here; each says where it is passed.
fn every_point_is_passed(passed: &BTreeSet<&str>) {
    let mut points = BTreeSet::new();
    names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut points);
    let unpassed: Vec<&String> = points
        .iter()
        .filter(|name| !passed.contains(name.as_str()) && ELSEWHERE.iter().all(|(known, _)| known != name))
        .collect();
    assert!(unpassed.is_empty(), "the reference night passes none of {unpassed:?}");
    let excused: Vec<_> =
        ELSEWHERE.iter().filter(|(name, _)| passed.contains(name) || !points.contains(*name)).collect();
    assert!(excused.is_empty(), "the reference night passes these after all, or they are gone: {excused:?}");
}

/// The names of the points in the source.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            names(&path, found);
        } else if !path.ends_with("fault.rs") {
            let text = std::fs::read_to_string(&path).expect("source");
            let points =
                text.split("fault::").filter(|part| part.starts_with("point!(") || part.starts_with("write!("));
            found.extend(points.filter_map(|part| part.split('"').nth(1).map(str::to_owned)));
        }
    }
}
