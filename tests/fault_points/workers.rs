//! Processes that each work in worlds of their own, and get one case after the other.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::cases::{End, Proven, Reference, Trial};
use super::processes;
use super::world::{Story, World};

/// The folder in which a worker works; without it this is the one that starts them.
const FOLDER: &str = "AUTOMETTA_FAULT_WORKER";
/// How lines begin that are for whoever started the worker.
const MARK: &str = "\u{1}";

/// What a worker found its nights to be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub acts: Vec<String>,
    pub passages: usize,
    pub points: Vec<String>,
    /// Which cases there are.
    pub cases: Vec<String>,
    pub lines: Vec<Vec<String>>,
    /// What its ledger tells.
    pub told: Vec<String>,
}

/// How a case ended.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Same,
    Otherwise(String),
    NotMet,
    Failed(String),
}

/// Where this process is to work, if it is a worker.
pub fn is_worker() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Lives the nights, says what their cases are, and tries whichever it is asked to.
pub fn work(folder: &Path, stories: &[Story], turn: Option<usize>, verbose: bool) {
    processes::adopt();
    let nights: Vec<(World, Reference)> = stories
        .iter()
        .map(|story| {
            let world = World::new(*story, folder);
            let reference = Reference::of(&world);
            (world, reference)
        })
        .collect();
    let plans: BTreeMap<&str, Plan> =
        nights.iter().map(|(world, found)| (world.story.name, plan(world, found, turn))).collect();
    say(&plans);
    let mut trials: BTreeMap<&str, Trial<'_>> = nights
        .iter()
        .map(|(world, reference)| {
            let proven = Proven::new(folder, world.story.name);
            (world.story.name, Trial { world, reference, proven, verbose, acts: 0 })
        })
        .collect();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (night, case) = line.split_once(' ').expect("a night and a case");
        let trial = trials.get_mut(night).expect("a night");
        let case = case.parse().expect("a case");
        trial.acts = 0;
        let tried = catch_unwind(AssertUnwindSafe(|| trial.run(&case)));
        let answer = match tried {
            Ok(Ok(End::Same)) => Answer::Same,
            Ok(Ok(End::Otherwise(how))) => Answer::Otherwise(format!("{}: {how}", case.kind())),
            Ok(Ok(End::NotMet)) => Answer::NotMet,
            Ok(Err(why)) => Answer::Failed(why),
            Err(panic) => {
                processes::clear();
                let why = panic.downcast_ref::<String>().cloned();
                let why = why.or_else(|| panic.downcast_ref::<&str>().map(|&why| why.to_owned())).unwrap_or_default();
                Answer::Failed(format!("panicked: {why}\n{}", trial.world.log()))
            }
        };
        say(&(trial.acts, answer));
    }
}

fn plan(world: &World, found: &Reference, turn: Option<usize>) -> Plan {
    let mut points: Vec<String> = found.passages.iter().flatten().map(|passage| passage.point.clone()).collect();
    points.sort();
    points.dedup();
    Plan {
        acts: found.acts.iter().map(|act| format!("{act:?}")).collect(),
        passages: found.passages.iter().map(Vec::len).sum(),
        points,
        cases: found.cases(turn, world.story.pauses).iter().map(ToString::to_string).collect(),
        lines: found.lines.clone(),
        told: world.read("state/ledger.jsonl").lines().map(str::to_owned).collect(),
    }
}

fn say(what: &impl Serialize) {
    println!("\n{MARK}{}", serde_json::to_string(what).expect("json"));
}

/// A worker, seen from outside.
pub struct Worker {
    child: Child,
    ask: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts this program once more, for the test of this name.
    pub fn start(test: &str, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a worker");
        let (ask, said) = (child.stdin.take(), child.stdout.take().expect("output"));
        Self { child, ask, said: BufReader::new(said) }
    }

    fn hear<T: serde::de::DeserializeOwned>(&mut self) -> T {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).expect("a line") > 0, "a worker has ended");
            match line.strip_prefix(MARK) {
                Some(said) => return serde_json::from_str(said).expect("json"),
                None if !line.trim().is_empty() => print!("{line}"),
                None => {}
            }
        }
    }

    /// What its nights are, once it has lived them.
    pub fn plans(&mut self) -> BTreeMap<String, Plan> {
        self.hear()
    }

    /// Has it try a case; gives how many acts that took, and how it ended.
    pub fn attempt(&mut self, case: &str) -> (usize, Answer) {
        let mut ask = self.ask.as_ref().expect("it listens");
        ask.write_all(format!("{case}\n").as_bytes()).expect("asked");
        self.hear()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.ask.take());
        let _ = self.child.wait();
    }
}
