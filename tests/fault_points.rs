//! One fault at every fault point of the reference nights, every time a night passes it: the process dies there, or the
//! effect fails, or its bytes are torn. Ticks then go on as the timer would start them, and the night must come to the
//! same end. See `docs/proof.md`.
//!
//! `cargo test` tries every point and a share of the occurrences that changes from commit to commit;
//! `tests/fault_points.sh` tries all of them. `AUTOMETTA_FAULT_MATRIX=3/10` tries every tenth beginning with the fourth,
//! `'work 3/10'` those of one night, and `'NIGHT STEP ACTOR/POINT:OCCURRENCE:FAULT'`, or how that begins, or several such
//! with commas between, what is called so, with what differs on the way.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand and say what they tried"
)]

#[path = "fault_points/cases.rs"]
mod cases;
#[path = "fault_points/copies.rs"]
mod copies;
#[path = "fault_points/key.rs"]
mod key;
#[path = "fault_points/night_of_trouble.rs"]
mod night_of_trouble;
#[path = "fault_points/night_of_work.rs"]
mod night_of_work;
#[path = "fault_points/processes.rs"]
mod processes;
mod support;
#[path = "fault_points/workers.rs"]
mod workers;
#[path = "fault_points/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use cases::Case;
use workers::{Answer, Plan, Worker};
use world::Story;

/// The nights.
const STORIES: [Story; 2] = [night_of_work::STORY, night_of_trouble::STORY];
/// This test's name, for the processes that it starts.
const TEST: &str = "a_night_ends_the_same_whatever_fails_in_it_and_wherever";
/// How many cases `cargo test` tries.
const SAMPLE: usize = 90;
/// How many of its cases let somebody wait.
const PAUSES: usize = 10;
/// Points that no night here passes, and why.
const ELSEWHERE: [(&str, &str); 31] = [
    ("agent.kill", "macOS only"),
    ("aside.move", "damage is put aside: tests/scenarios_state.rs"),
    ("fire.end", "a fire over several repositories: tests/scenarios_fleet.rs"),
    ("fire.write", "a fire over several repositories: tests/scenarios_fleet.rs"),
    ("git.kill", "a git that is out of time: tests/git_layer"),
    ("git.lock.make", "a file system without hard links"),
    ("git.lock.sync", "a file system without hard links"),
    ("git.lock.write", "a file system without hard links"),
    ("git.mode", "an agent took permissions away: tests/git_layer"),
    ("git.move.copy", "a checkout on another file system"),
    ("git.move.link", "a checkout on another file system"),
    ("git.move.rename", "a checkout on another file system"),
    ("git.remove-opened", "an agent took permissions away: tests/git_layer"),
    ("home.mode", "the first command of a machine"),
    ("inquiry.input", "`doctor` only"),
    ("journal.part-time", "a part that is named again after a day: tests/retention.rs"),
    ("link.drop-temp", "after a link that failed, so in cases of this test"),
    ("log.cut", "a program that floods its log: tests/runs_stop.rs"),
    ("spent.aside", "runs that are long over: tests/retention.rs"),
    ("spent.folder", "runs that are long over: tests/retention.rs"),
    ("spent.mode", "an agent took permissions away: src/files/spent/tests.rs"),
    ("spent.pack", "logs of a day ago: tests/retention.rs"),
    ("spent.pack-time", "logs of a day ago: tests/retention.rs"),
    ("spent.remove", "runs that are long over: tests/retention.rs"),
    ("stream.drop-temp", "logs of a day ago, where compressing is cut short: src/files/spent/tests.rs"),
    ("stream.make", "logs of a day ago: tests/retention.rs"),
    ("stream.rename", "logs of a day ago: tests/retention.rs"),
    ("stream.sync", "logs of a day ago: tests/retention.rs"),
    ("waiter.other", "a place for an agent that another repository waits for: tests/fleet.rs"),
    ("waiter.start", "a night without a timer that waits: tests/scenarios_providers.rs"),
    ("waiter.tick", "a night without a timer that waits: tests/scenarios_providers.rs"),
];

/// The commit decides which share of the cases is tried, and which error each passage gets.
fn seed() -> usize {
    if let Some(seed) = std::env::var("AUTOMETTA_FAULT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return seed;
    }
    let mut git = std::process::Command::new("git");
    git.args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let seed = Sha256::digest(processes::run(git).stdout);
    usize::from(seed[0]) << 8 | usize::from(seed[1])
}

/// What is asked for.
struct Wanted {
    /// One night only.
    night: Option<String>,
    share: Share,
}

/// The share of the cases that is tried.
enum Share {
    /// Each point once, with the fault that the seed decides, and then every so manieth.
    Sample,
    All,
    /// None, but the nights are told.
    None,
    /// Of this many the one with this number, from 0.
    Part(usize, usize),
    /// Those whose names begin so.
    Named(Vec<String>),
}

impl Wanted {
    fn from_environment() -> Self {
        let text = std::env::var("AUTOMETTA_FAULT_MATRIX").unwrap_or_default();
        let named = STORIES.iter().find(|story| text.split(' ').next() == Some(story.name));
        let rest = named.and_then(|story| text.strip_prefix(story.name)).unwrap_or(&text).trim();
        let part = rest.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
        let share = match (rest, part) {
            ("", _) if text.is_empty() => Share::Sample,
            ("" | "all", _) => Share::All,
            ("none", _) => Share::None,
            (_, Some((part, parts))) => Share::Part(part, parts),
            _ => Share::Named(text.split(',').map(|name| name.trim().to_owned()).collect()),
        };
        Self { night: named.map(|story| story.name.to_owned()), share }
    }

    fn stories(&self) -> Vec<Story> {
        let is_wanted = |story: &&Story| self.night.as_deref().is_none_or(|night| night == story.name);
        STORIES.iter().filter(is_wanted).copied().collect()
    }
}

/// The cases that are tried, of all.
fn chosen(all: &[String], share: &Share, seed: usize) -> Vec<String> {
    match share {
        Share::All => return all.to_vec(),
        Share::None => return Vec::new(),
        Share::Part(part, parts) => return all.iter().skip(*part).step_by(*parts).cloned().collect(),
        Share::Named(names) => {
            let is_wanted = |case: &&String| names.iter().any(|name| case.starts_with(name));
            return all.iter().filter(is_wanted).cloned().collect();
        }
        Share::Sample => {}
    }
    let named =
        |name: &String| -> Case { name.split_once(' ').and_then(|(_, case)| case.parse().ok()).expect("a case") };
    let mut rotated: Vec<(&String, Case)> = all.iter().map(|name| (name, named(name))).collect();
    rotated.rotate_left(seed % all.len().max(1));
    let (pauses, rotated): (Vec<_>, Vec<_>) = rotated.into_iter().partition(|(_, case)| case.fault == "pause");
    let mut points = BTreeSet::new();
    let (mut picked, rest): (Vec<_>, Vec<_>) =
        rotated.into_iter().partition(|(_, case)| points.insert(case.point.clone()));
    let stride = (rest.len() / SAMPLE.saturating_sub(picked.len()).max(1)).max(1);
    picked.extend(rest.into_iter().step_by(stride));
    let stride = (pauses.len() / PAUSES).max(1);
    picked.extend(pauses.into_iter().step_by(stride));
    let picked: BTreeSet<&String> = picked.into_iter().map(|(name, _)| name).collect();
    all.iter().filter(|name| picked.contains(name)).cloned().collect()
}

/// What has come of all cases so far.
#[derive(Default)]
struct Tally {
    tried: usize,
    acts: usize,
    same: usize,
    otherwise: BTreeMap<String, usize>,
    not_met: Vec<String>,
    failures: Vec<String>,
}

impl Tally {
    fn count(&mut self, case: &str, acts: usize, answer: Answer, aloud: bool) {
        self.acts += acts;
        self.tried += 1;
        if aloud && self.tried.is_multiple_of(500) {
            println!("{} tried, {} failed, {} acts", self.tried, self.failures.len(), self.acts);
        }
        match answer {
            Answer::Same => self.same += 1,
            Answer::Otherwise(how) => *self.otherwise.entry(how).or_default() += 1,
            Answer::NotMet => self.not_met.push(case.to_owned()),
            Answer::Failed(why) => {
                if aloud {
                    println!("FAILED {case}: {}\n", why.chars().take(400).collect::<String>());
                }
                self.failures.push(format!("{case}: {why}"));
            }
        }
    }
}

#[test]
fn a_night_ends_the_same_whatever_fails_in_it_and_wherever() {
    let wanted = Wanted::from_environment();
    let by_name = matches!(wanted.share, Share::Named(_));
    let seed = seed();
    if let Some(folder) = workers::is_worker() {
        workers::work(&folder, &wanted.stories(), (!by_name).then_some(seed), by_name);
        return;
    }
    let begun = Instant::now();
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("autometta-faults-").tempdir_in(place).expect("dir");
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let workers = std::env::var("AUTOMETTA_FAULT_WORKERS").ok().and_then(|number| number.parse().ok());
    let mut workers: Vec<Worker> =
        (0..workers.unwrap_or(cores + 1)).map(|_| Worker::start(TEST, folder.path())).collect();
    let plans: Vec<BTreeMap<String, Plan>> = workers.iter_mut().map(Worker::plans).collect();
    let mut all = Vec::new();
    let mut points = BTreeSet::new();
    for (night, plan) in &plans[0] {
        println!(
            "{night}: {} acts, {} points, {} passages, {} cases",
            plan.acts.len(),
            plan.points.len(),
            plan.passages,
            plan.cases.len()
        );
        if matches!(wanted.share, Share::None) {
            println!("{:#?}\n{}", plan.acts, plan.told.join("\n"));
        }
        all.extend(plan.cases.iter().map(|case| format!("{night} {case}")));
        points.extend(plan.points.iter().cloned());
        for other in &plans[1..] {
            agree(night, plan, &other[night]);
        }
    }
    if wanted.night.is_none() {
        every_point_is_passed(&points);
    }
    let chosen = chosen(&all, &wanted.share, seed);
    println!(
        "{} points, {} cases, {} of them tried, with seed {seed}; the nights without faults took {:.1?}",
        points.len(),
        all.len(),
        chosen.len(),
        begun.elapsed()
    );
    let queue = Mutex::new(chosen.into_iter());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for mut worker in workers {
            let (queue, tally) = (&queue, &tally);
            let aloud = !matches!(wanted.share, Share::Sample);
            scope.spawn(move || {
                loop {
                    let Some(case) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
                    let (acts, answer) = worker.attempt(&case);
                    tally.lock().unwrap_or_else(PoisonError::into_inner).count(&case, acts, answer, aloud);
                }
            });
        }
    });
    let Tally { acts, same, otherwise, not_met, failures, .. } = tally.into_inner().expect("lock");
    println!("by another way: {otherwise:#?}\nnot met: {not_met:?}");
    println!(
        "{same} joined the night without faults, {} came to its end by another way, {} failed, {} were not met; \
         {acts} acts, {:.0?}",
        otherwise.values().sum::<usize>(),
        failures.len(),
        not_met.len(),
        begun.elapsed()
    );
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n\n"));
    assert!(not_met.is_empty(), "these faults did not take place: {not_met:?}");
}

/// Two nights without faults must be the same night, or nothing can be said of one with a fault.
fn agree(night: &str, one: &Plan, other: &Plan) {
    assert_eq!(one.acts, other.acts, "{night}");
    for (step, (here, there)) in one.lines.iter().zip(&other.lines).enumerate() {
        let differ = |one: &[String], other: &[String]| -> Vec<String> {
            one.iter().filter(|line| !other.contains(line)).cloned().collect()
        };
        let (here, there) = (differ(here, there), differ(there, here));
        assert!(here.is_empty() && there.is_empty(), "{night} before act {step}: {here:#?} and {there:#?}");
    }
    let differ: Vec<&String> = one.cases.iter().filter(|case| !other.cases.contains(case)).collect();
    assert!(differ.is_empty(), "{night}: some passages are those of one night only: {differ:?}");
}

/// A point that the reference night never passes proves nothing here; each says where it is passed.
fn every_point_is_passed(passed: &BTreeSet<String>) {
    let mut points = BTreeSet::new();
    names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut points);
    let unpassed: Vec<&String> = points
        .iter()
        .filter(|name| !passed.contains(*name) && ELSEWHERE.iter().all(|(known, _)| known != name))
        .collect();
    assert!(unpassed.is_empty(), "the reference night passes none of {unpassed:?}");
    let excused: Vec<_> =
        ELSEWHERE.iter().filter(|(name, _)| passed.contains(*name) || !points.contains(*name)).collect();
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
