//! How long an idle fire takes over 1, 6, 100 and 1,000 subscribers: medians with their spread, in one run, beside
//! starting `/bin/true`.
//!
//! `cargo bench --bench fleet` prints a table. The repositories are copies of one, each with the name that its path gives
//! it, so that a thousand are made in seconds.

#![allow(clippy::expect_used, clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark prints")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use autometta::files::home::{Home, repo_id};
use support::{NAME, children_peak, git, head, line, once, quiet, timed};

/// How many subscribers, and how often a fire over them is timed.
const FLEETS: [(usize, usize); 4] = [(1, 60), (6, 60), (100, 40), (1_000, 20)];

struct Fleet {
    root: tempfile::TempDir,
    /// The repository that the others are copies of.
    first: PathBuf,
    made: usize,
}

impl Fleet {
    fn new() -> Self {
        let root = tempfile::Builder::new().prefix("autometta-fleet-").tempdir().expect("dir");
        let base = root.path().canonicalize().expect("path");
        let fleet = Self { root, first: base.join("repo-0"), made: 1 };
        fs::create_dir(&fleet.first).expect("folder");
        for words in [
            &["init", "-q", "-b", "main", "--template="][..],
            &["config", "user.name", "Operator"],
            &["config", "user.email", "operator@local"],
            &["commit", "-qm", "Begin", "--allow-empty"],
        ] {
            git(&fleet.first, words);
        }
        fleet.run(&["init"], &fleet.first);
        fleet
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn command(&self, words: &[&str], folder: &Path) -> Command {
        let mut command = quiet(env!("CARGO_BIN_EXE_autometta"), words, folder);
        command.env("AUTOMETTA_HOME", self.home());
        command
    }

    fn run(&self, words: &[&str], folder: &Path) {
        once(self.command(words, folder));
    }

    /// Copies until there are so many, and lets each have its first tick.
    fn grow(&mut self, count: usize) {
        let home = Home::at(&self.home());
        let machine = home.machine_id().expect("machine");
        let base = self.first.parent().expect("folder").to_owned();
        let own = repo_id(&machine, &self.first);
        for number in self.made..count {
            let copy = base.join(format!("repo-{number}"));
            let done = Command::new("cp").arg("-a").arg(&self.first).arg(&copy).status().expect("cp");
            assert!(done.success());
            let path = copy.join("state/state.yaml");
            let state = fs::read_to_string(&path).expect("state");
            fs::write(&path, state.replace(&own, &repo_id(&machine, &copy))).expect("state");
            assert!(home.subscribe(&copy).expect("subscribed"));
        }
        self.made = self.made.max(count);
        self.run(&["tick"], &self.first);
    }
}

fn main() {
    let mut fleet = Fleet::new();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}   ({cores} cores)", head(NAME));
    line("start /bin/true", timed(60, || quiet("/bin/true", &[], Path::new("/"))));
    for (count, times) in FLEETS {
        fleet.grow(count);
        if count == 1 {
            line("idle tick, --repo", timed(times, || fleet.command(&["tick", "--repo", "."], &fleet.first)));
        }
        let plural = if count == 1 { "" } else { "s" };
        line(
            &format!("idle tick, {count} subscriber{plural}"),
            timed(times, || fleet.command(&["tick"], &fleet.first)),
        );
    }
    line("subscribers, 1,000", timed(20, || fleet.command(&["subscribers"], &fleet.first)));
    line("status --all, 1,000", timed(20, || fleet.command(&["status", "--all"], &fleet.first)));
    println!("\n{:<NAME$} {:>9.1} MiB", "peak memory of all of these", children_peak());
}
