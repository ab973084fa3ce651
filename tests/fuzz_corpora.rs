//! The corpora of the fuzzer on every change: each file, files cut off and changed, and arbitrary bytes go through the
//! same functions as under libFuzzer (`tests/fuzz/run.sh`).

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]
#![allow(clippy::disallowed_macros, reason = "tests say how many inputs there were")]

#[path = "fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use targets::{TARGETS, Target};

/// The most that all corpora hold together, in bytes.
const MOST: u64 = 200 * 1024;

/// Files that are no longer than this are cut off at every byte; longer ones at as many places.
const CUTS: usize = 160;

/// How long one input may take. It is generous: the machine may be loaded.
const PATIENCE: Duration = Duration::from_secs(10);

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora").join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("entry").path())
        .map(|path| (path.clone(), fs::read(&path).expect("file")))
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{}: a corpus needs seeds", folder.display());
    files
}

/// Feeds an input, and says which one it was where that fails.
fn feed(target: &Target, what: &str, bytes: &[u8]) {
    let begun = Instant::now();
    let held = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_ok();
    assert!(held, "{} fails at {what}: {:?}", target.name, String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]));
    assert!(begun.elapsed() < PATIENCE, "{} takes {:?} at {what}", target.name, begun.elapsed());
}

#[test]
fn every_file_of_the_corpora_holds() {
    let (mut files, mut size) = (0, 0);
    for target in TARGETS {
        for (path, bytes) in corpus(target) {
            feed(target, &path.display().to_string(), &bytes);
            files += 1;
            size += bytes.len() as u64;
        }
    }
    println!("{files} files, {size} bytes, {} targets", TARGETS.len());
    assert!(size <= MOST, "the corpora hold {size} bytes; tests/fuzz/run.sh says how to choose the smallest");
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora")).expect("corpora");
    assert_eq!(folders.count(), TARGETS.len(), "a corpus without a target");
}

#[test]
fn files_that_are_cut_off_hold() {
    let mut inputs = 0;
    for target in TARGETS {
        for (path, bytes) in corpus(target) {
            let step = bytes.len().div_ceil(CUTS).max(1);
            for end in (0..bytes.len()).step_by(step) {
                feed(target, &format!("{}, cut at {end}", path.display()), &bytes[..end]);
                inputs += 1;
            }
        }
    }
    println!("{inputs} inputs");
}

#[test]
fn files_with_a_flipped_bit_or_a_piece_of_another_hold() {
    for target in TARGETS {
        let files: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
        let (one, other) = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
        let places = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>());
        let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        let strategy = (one, other, places, changes).prop_map(|(one, other, (at, from, to), changes)| {
            let (mut bytes, piece) = (one.get(&files).clone(), other.get(&files));
            let (from, to) = (from.index(piece.len() + 1), to.index(piece.len() + 1));
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, piece[from.min(to)..from.max(to)].iter().copied());
            if !bytes.is_empty() {
                for (at, bits) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] ^= bits;
                }
            }
            bytes
        });
        hold(target, 60, &strategy);
    }
}

#[test]
fn arbitrary_bytes_hold() {
    for target in TARGETS {
        hold(target, 100, &vec(any::<u8>(), 0..300));
        hold(target, 60, &"[ -~\n{}\\[\\]\":,]{0,200}".prop_map(String::into_bytes));
    }
}

fn hold(target: &Target, cases: u32, strategy: &impl Strategy<Value = Vec<u8>>) {
    // Failures are kept as files of the corpus, by hand: an input says more than a seed.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(strategy, |bytes| {
        (target.run)(&bytes);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{}: {failure}", target.name));
}

/// Lines beyond every limit, which are too large for a corpus.
#[test]
fn huge_lines_are_passed_over_in_little_time() {
    let mut line = br#"0{"type":"result","subtype":"success","is_error":false,"result":""#.to_vec();
    line.resize(17 << 20, b'x');
    line.extend_from_slice(b"\"}\n{\"type\":\"turn.completed\"}");
    let nested = [b"0".as_slice(), &vec![b'['; 1 << 20]].concat();
    for target in TARGETS.iter().filter(|target| matches!(target.name, "claude" | "codex" | "git")) {
        feed(target, "a line of 17 MiB", &line);
        feed(target, "a million brackets", &nested);
    }
}
