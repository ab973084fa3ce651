//! How long `status` takes: on a repository with a history, and over a fleet. Nothing of it starts git.
//!
//! `cargo bench --bench status` prints a table. `FLEET` and `STAGES` say how many repositories there are, and how many
//! stages each has that have ended.

#![allow(clippy::expect_used, clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark prints")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{children_peak, git, head, once, quiet, row, timed};

/// How often each thing is done.
const TIMES: usize = 30;
/// How wide the names of rows are.
const WIDTH: usize = 52;

struct Fleet {
    root: tempfile::TempDir,
}

impl Fleet {
    fn new(repos: usize, stages: usize) -> Self {
        let fleet = Self { root: tempfile::Builder::new().prefix("autometta-bench-").tempdir().expect("dir") };
        let first = fleet.repo(0);
        fs::create_dir_all(&first).expect("repo");
        for words in
            [&["init", "-q", "-b", "main"][..], &["config", "user.name", "O"], &["config", "user.email", "o@l"]]
        {
            git(&first, words);
        }
        git(&first, &["commit", "-q", "--allow-empty", "-m", "Begin"]);
        for number in 0..repos {
            let repo = fleet.repo(number);
            if number > 0 {
                copy(&first.join(".git"), &repo.join(".git"));
            }
            once(fleet.command(&["init"], &repo));
            let path = repo.join("state/state.yaml");
            let empty = fs::read_to_string(&path).expect("state");
            fs::write(&path, with_stages(&empty, stages)).expect("state");
        }
        fleet
    }

    fn repo(&self, number: usize) -> PathBuf {
        self.root.path().join(format!("repo-{number:03}"))
    }

    fn command(&self, words: &[&str], at: &Path) -> Command {
        let mut command = quiet(env!("CARGO_BIN_EXE_autometta"), words, at);
        command.env("AUTOMETTA_HOME", self.root.path().join("home"));
        command
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("file");
        }
    }
}

/// The state with stages that have ended, and one that is pending.
fn with_stages(empty: &str, stages: usize) -> String {
    let head = empty.split("stages:").next().expect("head");
    let mut text = format!("{head}stages:\n");
    for number in 0..stages {
        text.push_str(&format!(
            "- id: {number:05}-work\n  title: Write one file\n  card: stage-cards/{number:05}-work.md\n  \
             card_sha256: 2ee19759aa\n  status: completed\n  attempt: 1\n  worker: Claude Opus 5 <claude-opus-5@local>\n  \
             verifiers:\n  - GPT-5.6 Sol <gpt-5-6-sol@local>\n  base_branch: main\n  \
             completed_at: 2026-11-20T10:00:00Z\n  commit: 0123456789012345678901234567890123456789\n  \
             path_claims:\n  - src/f{number}.rs\n  tokens: 184220\n  cost_usd: 2.31\n  history:\n"
        ));
        for role in ["worker", "gate", "verifier"] {
            text.push_str(&format!(
                "  - run: {number:05}-work.1.{role}\n    outcome: done\n    ended_by: exit\n    \
                 at: 2026-11-20T10:00:00Z\n    tokens: 61000\n    cost_usd: 0.77\n    seconds: 600\n"
            ));
        }
    }
    text.push_str(
        "- id: 99999-next\n  card: stage-cards/99999-next.md\n  status: pending\n  attempt: 0\n  \
         worker: Claude Opus 5 <claude-opus-5@local>\n  verifiers:\n  - GPT-5.6 Sol <gpt-5-6-sol@local>\n  \
         base_branch: main\n  tokens: 0\n  cost_usd: 0\n",
    );
    text.push_str(&format!("stage_count: {}\n", stages + 1));
    text
}

/// Rows are in the order of their memory.
fn measure(name: &str, make: impl FnMut() -> Command) {
    println!("{} {:>9.1}", row(WIDTH, name, timed(TIMES, make)), children_peak());
}

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn main() {
    let (repos, few) = (number("FLEET", 500), number("STAGES", 3));
    println!("{} {:>9}", head(WIDTH), "peak MiB");
    let one = Fleet::new(1, 100);
    measure("status, one repository with 101 stages", || one.command(&["status"], &one.repo(0)));
    // The others stand in the archive, which nobody reads for this.
    let archive = one.repo(0).join("state/archive");
    fs::create_dir_all(&archive).expect("folder");
    for number in 0..10_000 {
        fs::write(archive.join(format!("{number:05}-work.yaml")), "id: x\n").expect("file");
    }
    measure("the same with 10,000 in the archive", || one.command(&["status"], &one.repo(0)));
    let fleet = Fleet::new(repos, few);
    // Every one has had a tick, as a fleet with a timer has.
    let _ = fleet.command(&["tick"], fleet.root.path()).stderr(Stdio::null()).status().expect("tick");
    let name = format!("status --all, {repos} repositories of {} stages", few + 1);
    measure(&name, || fleet.command(&["status", "--all"], fleet.root.path()));
    measure("the same as --json", || fleet.command(&["status", "--all", "--json"], fleet.root.path()));
}
