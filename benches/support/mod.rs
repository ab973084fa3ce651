//! What several benches share: timing programs, rows of a table, the memory of children, and a repository to work in.

#![allow(dead_code, reason = "each bench uses its own part")]
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a bench whose world is broken should fail loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// How wide the names of rows are.
pub const NAME: usize = 44;
/// How long a landing may take before it has failed.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How many files the stages of a repository write, by turns.
const FILES: usize = 64;

/// The number that stands behind `--name` on the bench's command line.
pub fn argument<T: FromStr>(name: &str, usual: T) -> T {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(usual)
}

/// A program that reads nothing and whose output nobody sees.
pub fn quiet(program: &str, words: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).stdout(Stdio::null()).stdin(Stdio::null());
    command
}

/// How long a program takes, which has to succeed.
pub fn once(mut command: Command) -> Duration {
    let begun = Instant::now();
    assert!(command.status().expect("it runs").success(), "{command:?}");
    begun.elapsed()
}

/// How long these programs take, one after the other.
pub fn timed(times: usize, mut make: impl FnMut() -> Command) -> Vec<Duration> {
    (0..times).map(|_| once(make())).collect()
}

/// What stands above rows of times.
pub fn head(width: usize) -> String {
    format!("{:<width$} {:>9} {:>9} {:>9}", "milliseconds", "median", "p10", "p90")
}

/// The median of some times and what the shortest and the longest tenth begin with, in milliseconds.
pub fn figures(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort();
    [50, 10, 90].map(|part| part_of(&times, part).as_secs_f64() * 1e3)
}

/// Times as a row.
pub fn row(width: usize, name: &str, times: Vec<Duration>) -> String {
    let [median, low, high] = figures(times);
    format!("{name:<width$} {median:>9.2} {low:>9.2} {high:>9.2}")
}

/// What so many in a hundred of sorted values do not pass.
pub fn part_of<T: Copy>(sorted: &[T], part: usize) -> T {
    sorted[(sorted.len() - 1) * part / 100]
}

/// Prints times as a row of the usual width.
pub fn line(name: &str, times: Vec<Duration>) {
    println!("{}", row(NAME, name, times));
}

/// How long it takes to write a file durably: its bytes and its name.
pub fn fsyncs(times: usize, folder: &Path) -> Vec<Duration> {
    (0..times)
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

/// The largest memory that a child has taken so far, in MiB. The kernel keeps the largest of all: what is measured by
/// this goes in the order of its size.
#[expect(clippy::cast_precision_loss, reason = "a few MiB")]
pub fn children_peak() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0.0, |usage| usage.max_rss() as f64 / 1024.0)
}

/// The processor time of all children that have been waited for, and of theirs.
pub fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage");
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(microseconds.unsigned_abs())
}

/// Runs git in a folder.
pub fn git(folder: &Path, words: &[&str]) {
    let done = Command::new("git").args(words).current_dir(folder).status().expect("git");
    assert!(done.success(), "git {words:?}");
}

/// A repository that is ready, with a home of its own.
pub struct Place {
    root: tempfile::TempDir,
}

impl Place {
    /// With the manifest that `init` writes.
    pub fn new() -> Self {
        Self::with("")
    }

    /// With these overrides of it.
    pub fn with(overrides: &str) -> Self {
        let root = tempfile::Builder::new().prefix("autometta-bench-").tempdir().expect("dir");
        let place = Self { root };
        fs::create_dir(place.repo()).expect("repo");
        for words in [
            &["init", "-q", "-b", "main"][..],
            &["config", "user.name", "Operator"],
            &["config", "user.email", "operator@local"],
        ] {
            git(&place.repo(), words);
        }
        fs::write(place.repo().join(".gitignore"), "/state/\n/.autometta.local.yaml\n").expect("file");
        git(&place.repo(), &["add", "-A"]);
        git(&place.repo(), &["commit", "-qm", "Begin"]);
        if !overrides.is_empty() {
            fs::write(place.repo().join(".autometta.local.yaml"), overrides).expect("file");
        }
        place.autometta(&["init"]);
        place
    }

    /// The folder around all of it.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    /// The program with these words, ready to run in the repository.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = quiet(env!("CARGO_BIN_EXE_autometta"), words, &self.repo());
        command.env("AUTOMETTA_HOME", self.root.path().join("home"));
        command
    }

    /// Runs the program.
    pub fn autometta(&self, words: &[&str]) {
        once(self.command(words));
    }

    /// Writes the card of a stage that writes its number into a file, for families that need no model; gives its path.
    pub fn card(&self, number: usize) -> String {
        let (stage, file) = (format!("{number:04}-work"), file_of(number));
        let text = format!(
            "# Stage card {stage}: Write one file\n\n## Metadata\n- **Worker:** Script <script@local>\n\
             - **Verifier:** Check <check@local>\n\n## Objective\nOne file.\n\n## Deliverables\n1. `{file}`: it\n\n\
             ## Acceptance criteria\n1. it is there\n\n## Acceptance command\n```sh\n\
             read -r found <{file}\ntest \"$found\" = {number}\n```\n\n\
             ## Script\n```sh\necho {number} >{file}\n```\n"
        );
        self.write_card(&stage, &text)
    }

    /// Writes a card; gives its path.
    pub fn write_card(&self, stage: &str, text: &str) -> String {
        let path = format!("stage-cards/{stage}.md");
        fs::create_dir_all(self.repo().join("stage-cards")).expect("folder");
        fs::write(self.repo().join(&path), text).expect("card");
        path
    }

    /// Queues cards; gives how long that took.
    pub fn queue(&self, cards: &[String]) -> Duration {
        let mut command = self.command(&["add-stage"]);
        command.args(cards);
        once(command)
    }

    /// A tick of the repository, ready to run.
    pub fn tick(&self) -> Command {
        self.command(&["tick", "--repo", "."])
    }

    /// Waits until these stages have landed; gives how long after `begun` the last of them did.
    pub fn wait(&self, mut numbers: Vec<usize>, begun: Instant) -> Duration {
        loop {
            numbers.retain(|number| !self.has_landed(*number));
            if numbers.is_empty() {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < LIMIT, "{numbers:?} do not land: {}", self.last_words());
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// The end of the ledger, for whoever has to find out why something does not land.
    pub fn last_words(&self) -> String {
        let ledger = fs::read_to_string(self.repo().join("state/ledger.jsonl")).unwrap_or_default();
        ledger[ledger.len().saturating_sub(2_000)..].to_owned()
    }

    /// Whether what a stage of [`Place::card`] has written is in the operator's checkout.
    pub fn has_landed(&self, number: usize) -> bool {
        let text = fs::read_to_string(self.repo().join(file_of(number))).unwrap_or_default();
        text.trim_end() == number.to_string()
    }

    /// Waits until the last tick of a landing has let go of the lock, so that measurements do not run into each other.
    pub fn settle(&self) {
        let lock = fs::File::open(self.repo().join("state/.tick.lock")).expect("lock");
        lock.lock().expect("locked");
    }
}

/// The file that a stage writes: one of so few that the repository stays as it is however many stages land.
pub fn file_of(number: usize) -> String {
    format!("f{}", number % FILES)
}
