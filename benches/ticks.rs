//! How long a tick, a landing and starting anything at all take: medians with their spread, in one run, each beside
//! what the machine needs for the least that could be done.
//!
//! `cargo bench` prints a table; `docs/performance.md` holds one with the machine that it was measured on.

#![allow(clippy::expect_used, clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark prints")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often each thing is done.
const TIMES: usize = 60;
/// How many stages are landed.
const STAGES: usize = 30;

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::Builder::new().prefix("autometta-bench-").tempdir().expect("dir");
        let place = Self { root };
        fs::create_dir(place.repo()).expect("repo");
        for words in [
            &["init", "-q", "-b", "main"][..],
            &["config", "user.name", "Operator"],
            &["config", "user.email", "operator@local"],
        ] {
            place.git(words);
        }
        fs::write(place.repo().join(".gitignore"), "/state/\n/.autometta.local.yaml\n").expect("file");
        place.git(&["add", "-A"]);
        place.git(&["commit", "-qm", "Begin"]);
        place.autometta(&["init"]);
        place
    }

    fn repo(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    fn git(&self, words: &[&str]) {
        let done = Command::new("git").args(words).current_dir(self.repo()).status().expect("git");
        assert!(done.success(), "git {words:?}");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autometta"));
        command.args(words).current_dir(self.repo()).env("AUTOMETTA_HOME", self.root.path().join("home"));
        command.stdout(Stdio::null()).stdin(Stdio::null());
        command
    }

    fn autometta(&self, words: &[&str]) {
        let done = self.command(words).status().expect("autometta");
        assert!(done.success(), "autometta {words:?}");
    }

    fn card(&self, number: usize) -> String {
        let stage = format!("{number:04}-work");
        let text = format!(
            "# Stage card {stage}: Write one file\n\n## Metadata\n- **Worker:** Script <script@local>\n\
             - **Verifier:** Check <check@local>\n\n## Objective\nOne file.\n\n## Deliverables\n1. `f{number}`: it\n\n\
             ## Acceptance criteria\n1. it is there\n\n## Acceptance command\n```sh\ntest -e f{number}\n```\n\n\
             ## Script\n```sh\necho {number} >f{number}\n```\n"
        );
        let path = format!("stage-cards/{stage}.md");
        fs::create_dir_all(self.repo().join("stage-cards")).expect("folder");
        fs::write(self.repo().join(&path), text).expect("card");
        path
    }
}

fn quiet(program: &str, words: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).stdout(Stdio::null()).stdin(Stdio::null());
    command
}

fn timed(mut make: impl FnMut() -> Command) -> Vec<Duration> {
    (0..TIMES)
        .map(|_| {
            let mut command = make();
            let begun = Instant::now();
            assert!(command.status().expect("it runs").success());
            begun.elapsed()
        })
        .collect()
}

fn line(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!("{name:<44} {:>9.2} {:>9.2} {:>9.2}", at(50), at(10), at(90));
}

/// The largest memory that a program took, in MiB, as the kernel told its parent.
fn peak(mut command: Command) -> f64 {
    let before = children_peak();
    assert!(command.status().expect("it runs").success());
    children_peak().max(before)
}

#[expect(clippy::cast_precision_loss, reason = "a few MiB")]
fn children_peak() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0.0, |usage| usage.max_rss() as f64 / 1024.0)
}

fn main() {
    let idle = Place::new();
    // First, while no larger child has been waited for: the kernel keeps the largest of all.
    let memory = peak(idle.command(&["tick", "--repo", "."]));
    println!("{:<44} {:>9} {:>9} {:>9}", "milliseconds", "median", "p10", "p90");
    line("start /bin/true", timed(|| quiet("/bin/true", &[], Path::new("/"))));
    line("start git (rev-parse HEAD)", timed(|| quiet("git", &["rev-parse", "HEAD"], &idle.repo())));
    line("write and fsync a file and its folder", fsyncs(idle.root.path()));
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
        let landed = busy.repo().join(format!("f{number}"));
        while !landed.exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "stage {number} does not land");
            std::thread::sleep(Duration::from_micros(500));
        }
        landings.push(begun.elapsed());
        settle(&busy);
    }
    line("card queued → landed (worker, gate, verifier)", landings);
    println!("\n{:<44} {memory:>9.1} MiB", "idle tick, peak memory");
    println!("{:<44} {:>9.1} MiB", "supervisor, peak memory", supervisor_peak(&busy));
}

/// Waits until the last tick of a landing has let go of the lock, so that measurements do not run into each other.
fn settle(place: &Place) {
    let lock = fs::File::open(place.repo().join("state/.tick.lock")).expect("lock");
    lock.lock().expect("locked");
}

fn fsyncs(folder: &Path) -> Vec<Duration> {
    (0..TIMES)
        .map(|_| {
            let begun = Instant::now();
            let path = folder.join("synced");
            fs::write(&path, [0_u8; 3000]).expect("file");
            fs::File::open(&path).and_then(|file| file.sync_all()).expect("sync");
            fs::File::open(folder).and_then(|folder| folder.sync_all()).expect("sync");
            begun.elapsed()
        })
        .collect()
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
    let home = place.root.path().join("agents");
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
    let landed = place.repo().join(format!("f{number}"));
    while !landed.exists() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    settle(place);
    kib as f64 / 1024.0
}
