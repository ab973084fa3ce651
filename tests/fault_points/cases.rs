//! The cases of a night: one fault each, tried in a world that is brought back to just before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::processes;
use super::support::night::text;
use super::world::{Act, Outcome, Passage, World, without_retry};

/// After this many acts a night that should be over never ends.
const MOST_ACTS: usize = 60;
/// The errors that stand for all, in turn.
const ERRORS: [&str; 4] = ["eio", "enospc", "eacces", "eintr"];
/// Points that only a death can show: their effect is over or belongs to somebody else, and an error has no meaning.
const DEATH_ONLY: [&str; 3] = ["git.wait", "run.hear", "run.release"];
/// Writes into a file in its place. All others write a temp file, which a tear leaves as a death at the rename does.
const IN_PLACE: [&str; 5] = ["append.write", "claim.write", "gate.header", "git.write", "ledger.write"];
/// As many cases of 256 that join a way known to end well are followed to its end all the same.
const FOLLOWED: u8 = 4;

/// The night without faults, act by act.
pub struct Reference {
    pub acts: Vec<Act>,
    /// What each act passed.
    pub passages: Vec<Vec<Passage>>,
    /// The world before each act, and at the end.
    keys: Vec<String>,
    outcome: Outcome,
    /// The same worlds by their lines, where somebody wants to see the difference.
    pub lines: Vec<Vec<String>>,
}

impl Reference {
    pub fn of(world: &World) -> Self {
        let mut found = Self {
            acts: Vec::new(),
            passages: Vec::new(),
            keys: vec![world.key()],
            outcome: Outcome::default(),
            lines: vec![world.lines()],
        };
        let mut idle = false;
        while let Some(act) = world.next(idle) {
            assert_eq!(world.keep(), found.acts.len());
            found.passages.push(world.act(&act, ""));
            let key = world.key();
            idle = act == Act::Tick && found.keys.last() == Some(&key);
            found.acts.push(act);
            found.keys.push(key);
            found.lines.push(world.lines());
            assert!(found.acts.len() < MOST_ACTS, "the reference night never ends: {:?} {}", found.acts, world.log());
        }
        found.outcome = world.outcome();
        assert_eq!(world.leftovers(), Vec::<String>::new());
        world.verify();
        found
    }

    /// Every fault that can happen in this night, in order. The errors rotate with the turn; none means all of them.
    pub fn cases(&self, turn: Option<usize>, pauses: bool) -> Vec<Case> {
        let mut all = Vec::new();
        let (mut torn, mut paused) = (BTreeSet::new(), BTreeSet::new());
        for (step, passages) in self.passages.iter().enumerate() {
            // Processes that run side by side pass theirs in any order.
            let mut passages: Vec<&Passage> = passages.iter().collect();
            passages.sort_by_key(|passage| (&passage.actor, &passage.point, passage.occurrence));
            for passage in passages {
                let mut add = |fault: &str| {
                    all.push(Case {
                        step,
                        actor: passage.actor.clone(),
                        point: passage.point.clone(),
                        occurrence: passage.occurrence,
                        fault: fault.to_owned(),
                    });
                };
                if passage.point != "run.pulse" {
                    // A pulse that never comes is every run's end in this night.
                    add("abort");
                }
                let is_act = matches!(&self.acts[step], Act::Tick) || !passage.actor.contains('-');
                let role = passage.actor.rsplit('.').next().unwrap_or_default().to_owned();
                if pauses && is_act && paused.insert((role, passage.point.clone())) {
                    add("pause");
                }
                if !DEATH_ONLY.contains(&passage.point.as_str()) {
                    let place =
                        passage.actor.len() + passage.point.len() + usize::try_from(passage.occurrence).expect("few");
                    for (number, error) in ERRORS.iter().enumerate() {
                        if turn.is_none_or(|turn| (place + turn) % ERRORS.len() == number) {
                            add(error);
                        }
                    }
                }
                if passage.point.ends_with("write") || passage.point == "gate.header" {
                    let once = torn.insert((passage.actor.clone(), passage.point.clone()));
                    if once || IN_PLACE.contains(&passage.point.as_str()) {
                        add("torn");
                    }
                }
            }
        }
        all.sort();
        all
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    step: usize,
    actor: String,
    pub point: String,
    occurrence: u64,
    pub fault: String,
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.step, self.order())
    }
}

impl FromStr for Case {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (step, order) = text.split_once(' ').ok_or(())?;
        let (actor, rest) = order.split_once('/').ok_or(())?;
        let mut parts = rest.split(':').map(str::to_owned);
        let mut part = || parts.next().ok_or(());
        let (point, occurrence, fault) = (part()?, part()?, part()?);
        let occurrence = occurrence.parse().map_err(drop)?;
        Ok(Self { step: step.parse().map_err(drop)?, actor: actor.to_owned(), point, occurrence, fault })
    }
}

impl Case {
    fn order(&self) -> String {
        format!("{}/{}:{}:{}", self.actor, self.point, self.occurrence, self.fault)
    }

    /// What kind of a thing happens where, for a table of how nights went on.
    pub fn kind(&self) -> String {
        let fault = match self.fault.as_str() {
            "abort" | "torn" => "death",
            "pause" => "pause",
            _ => "error",
        };
        let who = self.actor.rsplit('.').find(|part| part.parse::<u32>().is_err() && !part.starts_with('r'));
        format!("{fault} at {}/{}", who.unwrap_or_default(), self.point)
    }

    /// Whether this one goes to its end even where that is known.
    fn is_followed(&self) -> bool {
        Sha256::digest(self.to_string())[0] < FOLLOWED
    }
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The very world that the reference passes through, or its end.
    Same,
    /// The same end by another way: which runs there were beyond the reference's, and what the ledger says of it.
    Otherwise(String),
    /// The fault did not take place.
    NotMet,
}

/// The worlds from which a night is known to end well, and how; all processes that work on it share the folder.
pub struct Proven {
    folder: PathBuf,
}

impl Proven {
    pub fn new(folder: &Path, night: &str) -> Self {
        let folder = folder.join("proven").join(night);
        fs::create_dir_all(&folder).expect("folder");
        Self { folder }
    }

    fn end(&self, key: &str) -> Option<End> {
        let how = fs::read_to_string(self.folder.join(key)).ok()?;
        how.ends_with('.').then(|| if how == "same." { End::Same } else { End::Otherwise(how) })
    }

    fn add(&self, keys: &[String], end: &End) {
        let how = match end {
            End::Same => "same.",
            End::Otherwise(how) => how,
            End::NotMet => return,
        };
        for key in keys {
            fs::write(self.folder.join(key), how).expect("a note");
        }
    }
}

/// A world with its reference, ready for cases.
pub struct Trial<'a> {
    pub world: &'a World,
    pub reference: &'a Reference,
    pub proven: Proven,
    /// Whether what differs from the reference is printed.
    pub verbose: bool,
    /// How many acts were done.
    pub acts: usize,
}

impl Trial<'_> {
    /// Tries one fault.
    pub fn run(&mut self, case: &Case) -> Result<End, String> {
        self.world.bring_back(case.step);
        let met = if case.fault == "pause" { self.pause(case) } else { self.fail(case) };
        self.acts += 1;
        if met { self.go_on(case) } else { Ok(End::NotMet) }
    }

    fn fail(&self, case: &Case) -> bool {
        let passages = self.world.act(&self.reference.acts[case.step], &case.order());
        passages.iter().any(|passage| passage.met && passage.point == case.point)
    }

    /// Lets somebody wait at a point while a second tick and a command of the operator come.
    fn pause(&self, case: &Case) -> bool {
        let world = self.world;
        let folder = world.base().join("faults-beside");
        fs::create_dir_all(&folder).expect("folder");
        let go = folder.join("go");
        let order = format!("{}={}", case.order(), go.display());
        let mut act = world.begin(&self.reference.acts[case.step], &order).expect("a command");
        let guard = processes::Guard::begin();
        // It is reaped with everybody else.
        #[expect(clippy::zombie_processes, reason = "`passed` waits for every child")]
        let _ = act.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let reached = go.with_extension("reached");
        while !reached.exists() && processes::some_live() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let succeed = |output: std::process::Output| {
            assert!(output.status.success(), "{}", text(&output.stderr));
        };
        succeed(processes::run(world.beside(&["tick"])));
        // It waits for the lock, where the one that waits has it.
        let mut halt = world.beside(&["halt"]);
        let halt = halt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        succeed(processes::run(world.beside(&["status", "--json"])));
        fs::write(&go, "").expect("file");
        succeed(halt.wait_with_output().expect("it ends"));
        let passages = world.passed();
        assert!(!guard.was_needed(), "somebody waits for ever");
        passages.iter().any(|passage| passage.met && passage.point == case.point)
    }

    /// Lets the timer tick until the night is where the reference was then, or later, or where another case came to its
    /// end from, or over.
    fn go_on(&mut self, case: &Case) -> Result<End, String> {
        let (world, reference) = (self.world, self.reference);
        let ahead = &reference.keys[case.step..];
        let mut before = world.key();
        let mut way = Vec::new();
        let mut known = None;
        let mut idle = false;
        for _ in 0..MOST_ACTS {
            if known.is_none() {
                known = if ahead.contains(&before) { Some(End::Same) } else { self.proven.end(&before) };
                if let Some(end) = &known
                    && !case.is_followed()
                {
                    self.proven.add(&way, end);
                    return Ok(end.clone());
                }
            }
            if self.verbose {
                self.show(case.step);
            }
            way.push(before.clone());
            let Some(act) = world.next(idle) else {
                let end = self.compare(case)?;
                if known.as_ref().is_some_and(|known| *known != end) {
                    return Err(format!(
                        "it joined a way that ends as {known:?}, and ended as {end:?}\n{}",
                        world.log()
                    ));
                }
                self.proven.add(&way, &end);
                return Ok(end);
            };
            world.act(&act, "");
            self.acts += 1;
            let key = world.key();
            idle = act == Act::Tick && key == before;
            before = key;
        }
        Err(format!("the night never ends:\n{}", world.log()))
    }

    /// What differs from that world of the reference which is nearest.
    fn show(&self, step: usize) {
        let lines = self.world.lines();
        let differ = |one: &[String], other: &[String]| -> Vec<String> {
            let mut rest = other.to_vec();
            let mut left = one.to_vec();
            left.retain(|line| rest.iter().position(|there| there == line).map(|at| rest.swap_remove(at)).is_none());
            left
        };
        let nearest = self.reference.lines[step..]
            .iter()
            .min_by_key(|there| differ(&lines, there).len() + differ(there, &lines).len());
        let Some(there) = nearest else { return };
        println!("DIFF here: {:#?}\nthere: {:#?}", differ(&lines, there), differ(there, &lines));
    }

    fn compare(&self, case: &Case) -> Result<End, String> {
        let (world, reference) = (self.world, self.reference);
        let outcome = world.outcome();
        world.verify();
        let mut left = world.leftovers();
        if !left.is_empty() {
            world.an_hour_later();
            left = world.leftovers();
        }
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}\n{}", world.log()));
        }
        if outcome.fixed != reference.outcome.fixed {
            let (is, was) = (format!("{:#}", outcome.fixed), format!("{:#}", reference.outcome.fixed));
            let new: Vec<&str> = is.lines().filter(|line| !was.contains(line)).collect();
            let gone: Vec<&str> = was.lines().filter(|line| !is.contains(line)).collect();
            return Err(format!("it ends otherwise: {new:?} and not {gone:?}\n{}", world.log()));
        }
        // What the process was about to tell that the fault befell is told at most once.
        let silent = case.actor == "tell" && outcome.told.is_subset(&reference.outcome.told);
        if !silent && outcome.told != reference.outcome.told {
            return Err(format!("told {:?} and not {:?}\n{}", outcome.told, reference.outcome.told, world.log()));
        }
        // Each run of the reference took place with its end and its charge; whatever is beyond that was lost to the
        // fault.
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
        // The ledger is whole again before it says so: of a death in between, the torn end that is kept beside it tells.
        let was_torn = world.night.t().join("torn").exists();
        let is_owed = |line: &str| !line.contains(" restored ") || (was_torn && case.actor != "doctor");
        let is_short = |line: &str, count: usize| is.get(line).copied().unwrap_or(0) < count && is_owed(line);
        let missing: Vec<_> = was.iter().filter(|(line, count)| is_short(line, **count)).collect();
        if !missing.is_empty() {
            return Err(format!("transitions that did not take place: {missing:?}\n{}", world.log()));
        }
        for (line, count) in &is {
            let more = count.saturating_sub(was.get(line).copied().unwrap_or(0));
            let event = line.split(' ').nth(2).unwrap_or_default();
            beyond.extend(std::iter::repeat_n(format!("+{event}"), more));
        }
        if beyond.is_empty() && outcome == reference.outcome {
            return Ok(End::Same);
        }
        Ok(End::Otherwise(format!("{}.", beyond.join(", "))))
    }
}
