//! What is fuzzed: each target feeds bytes to one of our readers and holds what comes of it against what must be true.
//!
//! The fuzzer's program (`tests/fuzz/run.sh`) and `tests/fuzz_corpora.rs`, which runs in `cargo test`, share this file.
//! A target fails by panicking, by taking too long, or by needing too much memory.

#![allow(clippy::expect_used, clippy::missing_panics_doc, clippy::disallowed_methods, reason = "a finding is a panic")]

mod agents;
mod documents;
mod git;
mod night;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use autometta::core::fault::Faults;
use autometta::core::ids::StageId;

/// One reader, and what must hold of it.
#[derive(Debug)]
pub struct Target {
    /// The name, which is also that of its corpus below `tests/corpora`.
    pub name: &'static str,
    /// Feeds these bytes to the reader.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "card", run: documents::card },
    Target { name: "state", run: documents::state },
    Target { name: "budget", run: documents::budget },
    Target { name: "manifest", run: documents::manifest },
    Target { name: "home", run: documents::home },
    Target { name: "run_records", run: documents::run_records },
    Target { name: "claude", run: agents::claude },
    Target { name: "codex", run: agents::codex },
    Target { name: "refusal", run: agents::refusal },
    Target { name: "handoff", run: agents::handoff },
    Target { name: "verdict", run: agents::verdict },
    Target { name: "git", run: git::answers },
    Target { name: "transaction", run: night::transaction },
    Target { name: "ledger", run: night::ledger },
];

/// The stage that cards and envelopes are read for.
fn stage() -> StageId {
    "01-greeting".parse().expect("a stage")
}

/// An error lists at least one fault, and each says something, about a line that the text has.
fn hold_faults(faults: &Faults, bytes: &[u8]) {
    assert!(!faults.is_empty(), "an error without a fault");
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    for fault in &faults.0 {
        assert!(!fault.message.trim().is_empty(), "a fault that says nothing: {fault:?}");
        assert!(fault.line.is_none_or(|line| (1..=lines + 1).contains(&line)), "of {lines} lines: {fault:?}");
    }
}

/// A folder of this thread's own, in memory where the machine has such a place: the targets sync what they write.
fn folder() -> PathBuf {
    thread_local! {
        static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|cell| {
        let make = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix("autometta-fuzz-");
            let memory = Path::new("/dev/shm");
            if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.expect("a folder")
        };
        cell.get_or_init(make).path().to_owned()
    })
}
