//! Power cuts: the calls by which a night changes its state directory are recorded, and every state is looked at in which
//! a disk may be left when the power goes between two of them. See `docs/proof.md`.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand and say what they tried"
)]

#[path = "power_loss/disk.rs"]
mod disk;
mod support;
#[path = "power_loss/trace.rs"]
mod trace;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use autometta::files::layout::Layout;
use autometta::files::store::Store;
use disk::{Disk, Fate, Image};
use serde_json::Value;
use support::night::{Night, text};
use trace::Change;

/// What a commit leaves in the three files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Committed {
    state: String,
    budget: String,
    ledger: Vec<u8>,
}

impl Committed {
    fn of(disk: &Disk) -> Self {
        let file = |name: &str| disk.content(Path::new(name)).unwrap_or_default().to_vec();
        let text = |name: &str| String::from_utf8(file(name)).expect("text");
        Self { state: text("state.yaml"), budget: text("budget.json"), ledger: file("ledger.jsonl") }
    }

    /// What follows from a transaction.
    fn with(&self, txn: &Value) -> Self {
        let mut next = self.clone();
        if let Some(state) = txn["state"].as_str() {
            state.clone_into(&mut next.state);
        }
        if let Some(budget) = txn["budget"].as_str() {
            budget.clone_into(&mut next.budget);
        }
        let lines = txn["ledger_lines"].as_str().expect("lines");
        if !lines.is_empty() {
            let offset = txn["ledger_offset"].as_u64().and_then(|offset| usize::try_from(offset).ok()).expect("offset");
            next.ledger.truncate(offset);
            next.ledger.extend_from_slice(lines.as_bytes());
        }
        next
    }
}

/// A command under strace; gives the state directory as it was before, and the changes.
fn record(night: &Night, arguments: &[&str], faults: &str) -> (Image, Vec<Change>) {
    let before = files(&night.repo.join("state"));
    let recording = night.base().join("recording");
    let plain = night.command(arguments);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-xx", "-s", "4194304", "--seccomp-bpf", "-e", "signal=none", "-e"]);
    strace.arg(format!("trace={}", trace::CALLS)).arg("-o").arg(&recording).arg(plain.get_program());
    strace.args(plain.get_args()).current_dir(&night.repo).env_clear();
    strace.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if !faults.is_empty() {
        let folder = night.base().join("faults");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("folder");
        strace.env("AUTOMETTA_FAULT_DIR", &folder).env("AUTOMETTA_FAULT", faults);
    }
    let output = strace.output().expect("strace (Debian package strace) runs");
    assert!(!faults.is_empty() || output.status.success(), "{}", text(&output.stderr));
    (before.clone(), trace::read(&recording, &night.repo.join("state"), &before))
}

/// The files below a folder; our git's own and links are left out.
fn files(folder: &Path) -> Image {
    fn walk(folder: &Path, top: &Path, found: &mut Image) {
        for entry in fs::read_dir(folder).expect("folder").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("type"));
            let below = path.strip_prefix(top).expect("below").to_owned();
            if kind.is_dir() && below != Path::new("git") {
                walk(&path, top, found);
            } else if kind.is_file() {
                found.insert(below, Rc::new(fs::read(&path).expect("file")));
            }
        }
    }
    let mut found = Image::new();
    walk(folder, folder, &mut found);
    found
}

fn write(image: &Image, folder: &Path) {
    for (path, bytes) in image {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, bytes.as_slice()).expect("file");
    }
}

/// Looks at an image as the next tick would; says what it found, or why that is wrong.
fn recover(image: &Image, allowed: &[Committed]) -> Result<(), String> {
    let root = tempfile::tempdir_in(memory()).expect("dir");
    let layout = Layout::new(root.path(), "state");
    fs::create_dir_all(layout.dir()).expect("folder");
    write(image, layout.dir());
    let store = Store::try_lock(&layout).map_err(|error| error.to_string())?.ok_or("the lock is held")?;
    for _ in 0..2 {
        // The second time there is nothing to redo, and nothing changes.
        store.redo().map_err(|error| format!("redo: {error}"))?;
        store.load().map_err(|error| format!("load: {error}"))?;
        let read = |path: PathBuf| fs::read(path).unwrap_or_default();
        let found = Committed {
            state: text(&read(layout.state_yaml())),
            budget: text(&read(layout.budget_json())),
            ledger: read(layout.ledger()),
        };
        if !allowed.contains(&found) {
            let lines = |found: &Committed| String::from_utf8_lossy(&found.ledger).lines().count();
            let known: Vec<usize> = allowed.iter().map(lines).collect();
            return Err(format!("another state: {} lines in the ledger, not {known:?}", lines(&found)));
        }
    }
    Ok(())
}

fn memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// The files that the store reads, and the temp files that become them.
fn is_the_stores(path: &Path) -> bool {
    let name = path.to_string_lossy();
    ["state.yaml", "budget.json", "ledger.jsonl", "txn.json"].iter().any(|known| name.contains(known))
        || path.starts_with("archive")
}

/// The documents of a run that last once they have their name.
fn is_a_runs_own(path: &Path) -> bool {
    let lasting = ["run.json", "started.json", "exit.json", "gates.json", "handoff.json", "verdict.json"];
    path.starts_with("runs") && path.file_name().is_some_and(|name| lasting.iter().any(|known| name == *known))
}

#[test]
fn whatever_a_power_cut_leaves_of_a_night_the_next_tick_finds_the_last_commit() {
    let night = Night::passing();
    // It goes through the archive as well.
    night.manifest("retention: {finished_stages: 0}");
    night.card("01-work");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    // The whole night: the tick, its supervisors, and the ticks that they become.
    let tick = ["tick", "--repo", &night.repo.display().to_string()];
    let (before, mut changes) = record(&night, &tick, "");
    changes.extend(record(&night, &tick, "").1);
    assert!(night.repo.join("state/archive/01-work.yaml").exists(), "{}", night.ok(&["log"]));
    let mut disk = Disk::with(before);
    let mut last = Committed::of(&disk);
    // What the transaction under way comes to, and whether its own name is durably gone again.
    let mut next: Option<Committed> = None;
    let mut removed = false;
    let txn = Path::new(".txn.json");
    let (mut looked_at, mut documents, mut commits, mut seen, mut faults) = (0, 0, 0, BTreeSet::new(), Vec::new());
    for (number, change) in changes.iter().enumerate() {
        // A commit may be seen from the moment in which its transaction has its name.
        if let Change::Rename { from, to } = change
            && to == txn
        {
            let bytes = disk.content(from).expect("content");
            next = Some(last.with(&serde_json::from_slice(bytes).expect("a transaction")));
            commits += 1;
        }
        disk.apply(change);
        match change {
            Change::Remove { path } if path == txn => removed = true,
            Change::SyncFolder { path } if path == Path::new("") && removed => {
                // From here on the tick acts on it.
                last = next.take().expect("a commit");
                removed = false;
                assert_eq!(Committed::of(&disk), last, "the transaction is gone, and its places hold something else");
            }
            _ => {}
        }
        let allowed: Vec<Committed> = std::iter::once(&last).chain(&next).cloned().collect();
        for (path, bytes) in disk.contents(is_a_runs_own) {
            documents += 1;
            if serde_json::from_slice::<Value>(&bytes).is_err() {
                faults.push(format!("after change {number}, {}: {} is torn", short(change), path.display()));
            }
        }
        for image in disk.images(is_the_stores) {
            looked_at += 1;
            if !seen.insert((image.clone(), commits, allowed.len())) {
                continue;
            }
            if let Err(why) = recover(&image, &allowed) {
                faults.push(format!("after change {number}, {}: {why}", short(change)));
            }
        }
    }
    println!(
        "{} changes, {commits} commits, {looked_at} images of the store, {} of them different, {documents} of runs' documents",
        changes.len(),
        seen.len()
    );
    assert!(commits >= 5 && seen.len() > 100, "too little to show anything");
    assert!(
        faults.is_empty(),
        "{} of them:\n{}",
        faults.len(),
        faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
}

fn short(change: &Change) -> String {
    format!("{change:?}").chars().take(120).collect()
}

/// The real program, killed at a real place with the state directory then put into a state that a power cut may leave.
#[test]
fn a_night_goes_on_after_a_power_cut_and_does_nothing_twice() {
    let still = "*/run.pulse:*:abort";
    let mut cuts = 0;
    for (ticks, fault) in [
        (0, "tick/atomic.sync:1:abort"),
        (0, "tick/atomic.rename:2:abort"),
        (0, "tick/run.launch:1:abort"),
        (1, "tick/ledger.sync:1:abort"),
        (1, "tick/atomic.remove:2:abort"),
        (1, "01-work.1.gate/atomic.rename:5:abort"),
        (2, "01-work.1.verifier/run.release:1:abort"),
        (3, "tick/git.lock.link:1:abort"),
        (3, "tick/git.move:1:abort"),
    ] {
        for left in [None, Some(Fate::Torn), Some(Fate::Zeros)] {
            let mut night = Night::bare_in(&memory());
            night.stub("worker", &format!("echo $2 >>$T/ran\necho work >a.txt\n{}", support::night::HAND_IN));
            night.stub("verifier", &format!("echo $2 >>$T/ran\n{}", support::night::SAY_PASS));
            night.manifest("");
            night.ok(&["init"]);
            night.queue("01-work");
            let repo = night.repo.display().to_string();
            let tick = ["tick", "--repo", &repo];
            for _ in 0..ticks {
                record(&night, &tick, still);
            }
            let (before, changes) = record(&night, &tick, &format!("{fault},{still}"));
            let mut disk = Disk::with(before);
            for change in &changes {
                disk.apply(change);
            }
            let image = left.map_or_else(|| disk.bare(), |fate| disk.named(fate));
            let state = night.repo.join("state");
            for path in files(&state).keys() {
                fs::remove_file(state.join(path)).expect("removed");
            }
            write(&image, &state);
            night.set("AFTER", "the cut");
            let stage = night.tick_until("01-work", "completed");
            assert_eq!(stage["attempt"], 1, "{fault}: {stage:#}");
            let landed = night.git(&["log", "--oneline", "--grep=Autometta-Stage", "main"]);
            assert_eq!(landed.lines().count(), 1, "{fault}, {left:?}: {landed}");
            night.ok(&["log", "--verify"]);
            let ran = fs::read_to_string(night.t().join("ran")).expect("runs");
            let twice: BTreeSet<&str> = ran.lines().collect();
            assert_eq!(twice.len(), ran.lines().count(), "{fault}, {left:?}: run twice: {ran}");
            cuts += 1;
        }
    }
    println!("{cuts} power cuts of the real program");
}
