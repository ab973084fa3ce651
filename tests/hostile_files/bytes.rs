//! The store's files cut off at every byte and flipped in every bit of their beginning, through the store itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use autometta::core::budget::Budget;
use autometta::core::state::State;
use autometta::core::step::Note;
use autometta::files::layout::Layout;
use autometta::files::ledger;
use autometta::files::store::{Loaded, Store, StoreError, peek};
use chrono::DateTime;

/// How many bytes of each file are flipped, bit by bit.
const FLIPPED: usize = 96;

struct Files {
    layout: Layout,
    _dir: tempfile::TempDir,
}

impl Files {
    /// A repository that has begun, with three lines in its ledger.
    fn new(repo_id: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("dir");
        let layout = Layout::new(dir.path(), "state");
        fs::create_dir(layout.dir()).expect("state");
        let files = Self { layout, _dir: dir };
        let store = files.store();
        let notes = ["initialised", "halted", "resumed"].map(note);
        store.commit(None, &loaded(repo_id), &notes, DateTime::UNIX_EPOCH).expect("commit");
        files
    }

    fn store(&self) -> Store {
        // A process that another test is forking off may hold a copy of the lock for an instant.
        Store::lock_within(&self.layout, Duration::from_secs(30)).expect("lock").expect("nobody else holds it")
    }

    /// What a tick does first.
    fn load(&self) -> Result<Loaded, StoreError> {
        let store = self.store();
        store.redo()?;
        store.load()
    }
}

fn loaded(repo_id: &str) -> Loaded {
    let mut state = State::new(repo_id.to_owned());
    state.tick_count = 3;
    Loaded { state, budget: Budget { idle_ticks_used: 41, ..Budget::default() } }
}

fn note(event: &str) -> Note {
    let detail = "of no matter".to_owned();
    Note { stage: None, run: None, event: event.to_owned(), from: None, to: None, detail }
}

/// Every cut, and every flip of a bit near the beginning.
fn changes(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let cuts = (0..whole.len()).map(|end| (format!("cut at {end}"), whole[..end].to_vec()));
    let flips = (0..whole.len().min(FLIPPED) * 8).map(|bit| {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {} of byte {} flipped", bit % 8, bit / 8), bytes)
    });
    cuts.chain(flips).collect()
}

#[test]
fn a_state_that_was_cut_or_flipped_is_refused_or_whole() {
    let files = Files::new("here");
    let whole = files.load().expect("whole");
    let mut cases = 0;
    for path in [files.layout.state_yaml(), files.layout.budget_json()] {
        let text = fs::read(&path).expect("file");
        for (what, bytes) in changes(&text) {
            fs::write(&path, &bytes).expect("changed");
            let what = format!("{}: {what}", path.display());
            match files.load() {
                // A letter may have become another one; nothing is missing.
                Ok(read) if bytes.len() == text.len() => {
                    assert_eq!(read.state.stages, whole.state.stages, "{what}");
                    let spent = read.state.tick_count > 0 && read.budget.idle_ticks_used > 0;
                    assert!(spent || what.contains("flipped"), "{what}");
                }
                // What was cut off meant nothing.
                Ok(read) => assert_eq!(read, whole, "{what}"),
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.contains(&path.display().to_string()) && said.len() > 30, "{what}: {said}");
                }
            }
            assert_eq!(peek(&files.layout).is_ok(), files.load().is_ok(), "{what}: looking sees the same");
            assert_eq!(fs::read(&path).expect("file"), bytes, "{what}: reading changed it");
            cases += 1;
        }
        fs::write(&path, &text).expect("put back");
        assert_eq!(files.load().expect("put back"), whole);
    }
    println!("{cases} cases");
}

#[test]
fn a_ledger_that_was_cut_or_flipped_never_verifies() {
    let files = Files::new("here");
    let path = files.layout.ledger();
    let text = fs::read(&path).expect("ledger");
    let sealed = ledger::head(&path).expect("whole");
    let mut cases = 0;
    for (what, bytes) in changes(&text) {
        fs::write(&path, &bytes).expect("changed");
        assert!(ledger::verify(&path, Some(&sealed)).is_err(), "{what}");
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            let said = files.load().expect_err(&what).to_string();
            assert!(said.contains("ledger.jsonl"), "{what}: {said}");
        }
        cases += 1;
    }
    fs::write(&path, &text).expect("put back");
    files.load().expect("put back");
    println!("{cases} cases");
}

#[test]
fn a_transaction_that_was_cut_or_flipped_changes_nothing() {
    let files = Files::new("here");
    let before = files.load().expect("whole");
    let names = [files.layout.state_yaml(), files.layout.budget_json(), files.layout.ledger()];
    let old = names.clone().map(|path| fs::read(path).expect("file"));
    // A commit that dies before it touches any file: a directory stands in the way of the first.
    let mut after = before.clone();
    after.state.tick_count += 1;
    fs::remove_file(&names[0]).expect("removed");
    fs::create_dir(&names[0]).expect("directory");
    let died = files.store().commit(Some(&before), &after, &[note("went on")], DateTime::UNIX_EPOCH);
    assert!(died.is_err(), "nothing stood in its way");
    fs::remove_dir(&names[0]).expect("removed");
    fs::write(&names[0], &old[0]).expect("put back");
    let text = fs::read(files.layout.txn()).expect("transaction");
    let mut changes = changes(&text);
    // Its end as well: offset and lines stand there.
    for bit in 0..text.len() * 8 {
        if bit % 3 == 0 && bit / 8 > FLIPPED {
            let mut bytes = text.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            changes.push((format!("bit {} of byte {} flipped", bit % 8, bit / 8), bytes));
        }
    }
    let cases = changes.len();
    for (what, bytes) in changes {
        fs::write(files.layout.txn(), &bytes).expect("transaction");
        let error = files.load().expect_err(&what).to_string();
        assert!(error.contains(".txn.json"), "{what}: {error}");
        let now = names.clone().map(|path| fs::read(path).expect("file"));
        assert_eq!(now, old, "{what}: refused ({error}), and something was changed");
    }
    fs::write(files.layout.txn(), &text).expect("transaction");
    assert_eq!(files.load().expect("the whole transaction"), after);
    println!("{cases} cases");
}
