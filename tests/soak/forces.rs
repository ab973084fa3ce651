//! What goes on around the stages: timers that fire side by side, a killer, and an operator at work in every checkout.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::model::KILLS_PER_ROLE;
use super::processes::{Kind, Process, processes};
use super::support::dice::Dice;
use super::support::night::{LIMIT, text};
use super::world::{Repo, World, word};

/// How long a fire may take, on a machine that has other things to do: each repository has a minute.
const FIRE: Duration = Duration::from_secs(300);
/// How many ticks are killed for each fire that comes to its end: on a slow machine, all would die before they are done.
const KILLS_PER_FIRE: u64 = 2;

/// What all of them share.
pub struct Soak<'a> {
    pub world: &'a World,
    pub seed: u64,
    /// Set when everything has come to rest.
    pub over: AtomicBool,
    begun: Instant,
    pub figures: Mutex<Figures>,
    pub commits: Vec<AtomicUsize>,
    pub resumed: AtomicU32,
    pub answered: AtomicU32,
}

/// What was counted and measured.
#[derive(Default)]
pub struct Figures {
    pub fires: u64,
    /// How many of them came to their end.
    pub done: u64,
    pub killed: BTreeMap<Kind, u32>,
    /// The fires that ended by themselves: when, and how long they took.
    pub times: Vec<(Duration, Duration)>,
    /// Fires that did not exit 0, with what they said.
    pub complaints: Vec<String>,
    /// Each process of ours that was seen: when last, and the most memory that it had, in KiB.
    peaks: BTreeMap<(Kind, i32, String), (Duration, u64)>,
}

impl Figures {
    /// The peaks of one kind, by the time at which they were seen.
    pub fn peaks_of(&self, kind: Kind) -> Vec<(Duration, u64)> {
        self.peaks.iter().filter(|((of, ..), _)| *of == kind).map(|(_, seen)| *seen).collect()
    }
}

impl<'a> Soak<'a> {
    pub fn new(world: &'a World, seed: u64) -> Self {
        Self {
            world,
            seed,
            over: AtomicBool::new(false),
            begun: Instant::now(),
            figures: Mutex::default(),
            commits: world.repos.iter().map(|_| AtomicUsize::new(0)).collect(),
            resumed: AtomicU32::new(0),
            answered: AtomicU32::new(0),
        }
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Does something until all is over; where it fails, everybody stops.
    pub fn while_it_lasts(&self, work: impl FnOnce(&Self)) {
        let end = End(&self.over);
        work(self);
        drop(end);
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn with_figures<T>(&self, read: impl FnOnce(&mut Figures) -> T) -> T {
        read(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A timer: fires at random moments, mostly for the whole home, whatever others fire at the same time.
    pub fn timer(&self, number: u64) {
        let mut dice = Dice::of(self.seed, 1000 + number);
        while !self.is_over() {
            std::thread::sleep(dice.moment(5, 350));
            let repo = dice.percent(30).then(|| &self.world.repos[dice.below(self.world.repos.len())]);
            self.fire(number, repo);
        }
    }

    /// One fire, to its end.
    pub fn fire(&self, number: u64, repo: Option<&Repo>) {
        let path = repo.map(|repo| repo.path.display().to_string());
        let args = match &path {
            Some(path) => vec!["tick", "--repo", path],
            None => vec!["tick"],
        };
        let said = self.world.night.t().join(format!("timer-{number}.err"));
        let stderr = File::create(&said).expect("file");
        let mut command = self.world.night.command(&args);
        command.current_dir(self.world.night.base()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let (at, begun) = (self.elapsed(), Instant::now());
        let mut tick = command.spawn().expect("a tick");
        let status = loop {
            if let Some(status) = tick.try_wait().expect("wait") {
                break status;
            }
            assert!(begun.elapsed() < FIRE, "a fire has taken {FIRE:?}: {args:?}");
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = begun.elapsed();
        self.with_figures(|figures| {
            figures.fires += 1;
            figures.done += u64::from(status.code().is_some());
            match status.code() {
                Some(0) if path.is_none() => figures.times.push((at, took)),
                Some(0) | None => {}
                Some(code) => {
                    let words = text(&fs::read(&said).unwrap_or_default());
                    figures.complaints.push(format!("{args:?} exited {code}: {words}"));
                }
            }
        });
    }

    /// Kills ticks, supervisors and the groups of gates at random moments, and notes how much memory ours take.
    pub fn killer(&self) {
        let mut dice = Dice::of(self.seed, 2000);
        let base = self.world.night.base().display().to_string();
        let mut of_role = BTreeMap::<String, u32>::new();
        let mut next = Instant::now();
        while !self.is_over() {
            std::thread::sleep(dice.moment(15, 60));
            let mut victims = processes(&base);
            self.measure(&victims);
            if Instant::now() < next {
                continue;
            }
            // Ticks are everywhere; the others have to be met.
            let kind = match dice.below(20) {
                0..=6 => Kind::Tick,
                7..=12 => Kind::Supervisor,
                13..=18 => Kind::Gate,
                _ => Kind::Waker,
            };
            let enough = self.with_figures(|figures| {
                let killed = figures.killed.get(&Kind::Tick).copied().unwrap_or_default();
                u64::from(killed) > KILLS_PER_FIRE * figures.done
            });
            if kind == Kind::Tick && enough {
                continue;
            }
            victims.retain(|victim| {
                let dealt = victim.role().and_then(|role| of_role.get(role)).copied().unwrap_or_default();
                victim.kind == kind && dealt < KILLS_PER_ROLE
            });
            if victims.is_empty() {
                continue;
            }
            let victim = &victims[dice.below(victims.len())];
            if !victim.still_is(&base) || !struck(victim) {
                continue;
            }
            next = Instant::now() + dice.moment(20, 450);
            if let Some(role) = victim.role() {
                *of_role.entry(role.to_owned()).or_default() += 1;
            }
            self.with_figures(|figures| *figures.killed.entry(kind).or_default() += 1);
        }
    }

    fn measure(&self, seen: &[Process]) {
        let at = self.elapsed();
        self.with_figures(|figures| {
            for process in seen.iter().filter(|process| process.peak > 0) {
                let key = (process.kind, process.pid, process.words.clone());
                let known = figures.peaks.entry(key).or_insert((at, 0));
                *known = (at, known.1.max(process.peak));
            }
        });
    }

    /// Works in the checkouts, lifts pauses, and answers what waits for an answer.
    pub fn operator(&self) {
        let mut dice = Dice::of(self.seed, 3000);
        let most = (1500 / self.world.repos.len()).max(60);
        while !self.is_over() {
            std::thread::sleep(dice.moment(20, most));
            let number = dice.below(self.world.repos.len());
            let repo = &self.world.repos[number];
            if dice.percent(15) {
                self.commit(repo, &self.commits[number]);
            }
            let paused = !repo.budget()["pauses"].as_array().is_none_or(Vec::is_empty);
            // Refused where the pause has just ended by itself.
            if repo.attended && paused && self.world.run(repo, &["resume"]).status.success() {
                self.resumed.fetch_add(1, Ordering::SeqCst);
            }
            for (id, stage) in repo.stages() {
                let waits = word(&stage, "/status") == "blocked" && word(&stage, "/reason/code") == "question";
                if waits && id.contains("-asked-") {
                    self.answer(repo, &id);
                }
            }
        }
    }

    /// Answers a stage; where a tick has held the lock for long, at another time.
    fn answer(&self, repo: &Repo, id: &str) {
        let output = self.world.run(repo, &["answer", id, "--text", "The left one."]);
        let said = text(&output.stderr);
        assert!(output.status.success() || said.contains("try again"), "{}: answer {id}: {said}", repo.name);
        if output.status.success() {
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Commits a file of the operator's own, so that the base moves. Git gives way to a landing that holds its lock.
    fn commit(&self, repo: &Repo, count: &AtomicUsize) {
        let number = count.load(Ordering::SeqCst) + 1;
        let path = format!("operator/{number}.txt");
        fs::create_dir_all(repo.path.join("operator")).expect("folder");
        fs::write(repo.path.join(&path), "mine\n").expect("file");
        let begun = Instant::now();
        for args in [vec!["add", "--", &path], vec!["commit", "-qm", "By the operator", "--", &path]] {
            loop {
                let output = self.world.git_raw(repo, &args);
                if output.status.success() {
                    break;
                }
                let said = text(&output.stderr);
                assert!(begun.elapsed() < LIMIT, "{}: git {args:?}: {said}", repo.name);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        count.store(number, Ordering::SeqCst);
    }
}

/// Ends a soak when whoever holds it ends, which in peace is after the soak.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Whether a victim could be killed; with a gate, its group.
fn struck(victim: &Process) -> bool {
    let pid = Pid::from_raw(victim.pid);
    match victim.kind {
        Kind::Gate => killpg(pid, Signal::SIGKILL).is_ok(),
        Kind::Tick | Kind::Supervisor | Kind::Waker | Kind::Other => kill(pid, Signal::SIGKILL).is_ok(),
    }
}
