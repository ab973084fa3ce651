//! The store: a transaction under way, and the ledger with its chain.

use std::fs;
use std::path::Path;

use autometta::core::budget::Budget;
use autometta::core::state::State;
use autometta::core::step::Note;
use autometta::files::layout::Layout;
use autometta::files::ledger::{self, LedgerError};
use autometta::files::store::{self, Loaded, Store};
use chrono::DateTime;
use serde_json::json;

use super::folder;

/// Parts of a transaction that is put together from pieces begin with this byte and are parted by it.
const PART: u8 = 0xff;

/// A state directory with a state, a budget and a ledger of a few lines, and these bytes as `.txn.json`.
///
/// Bytes that begin with [`PART`] are the state, the budget and the ledger lines of a transaction that is otherwise
/// well-formed, so that the fuzzer need not find JSON within JSON by itself.
pub(crate) fn transaction(bytes: &[u8]) {
    let repo = folder().join("txn");
    let layout = Layout::new(&repo, "state");
    fs::create_dir_all(layout.dir()).expect("state");
    let [state, budget, ledger] = sound(&layout);
    for (path, content) in [
        (layout.state_yaml(), state.as_bytes()),
        (layout.budget_json(), budget.as_bytes()),
        (layout.ledger(), ledger.as_bytes()),
        (layout.txn(), &put_together(bytes, ledger.len())),
    ] {
        fs::write(path, content).expect("file");
    }
    let files =
        || [layout.state_yaml(), layout.budget_json(), layout.ledger()].map(|path| fs::read(path).expect("file"));
    let before = files();
    let peeked = store::peek(&layout);
    assert_eq!(files(), before, "looking changed something");
    let held = Store::try_lock(&layout).expect("lock").expect("nobody else");
    match held.redo() {
        Ok(_) => {
            assert!(!layout.txn().exists(), "done, and still there");
            let after = held.load().expect("what a transaction wrote can be read");
            assert_eq!(peeked.expect("what was looked through"), after);
            ledger::walk(&layout.ledger(), |_| ()).expect("the chain holds");
            assert!(!held.redo().expect("nothing is left to do"));
        }
        Err(error) => {
            assert_eq!(files(), before, "refused ({error}), and something was changed");
            assert!(error.to_string().contains(".txn.json") || error.to_string().contains("ledger.jsonl"), "{error}");
            assert!(layout.txn().exists(), "refused, and gone");
        }
    }
}

fn put_together(bytes: &[u8], ledger_length: usize) -> Vec<u8> {
    let Some(parts) = bytes.strip_prefix(&[PART]) else { return bytes.to_vec() };
    let mut parts = parts.split(|byte| *byte == PART).map(|part| String::from_utf8_lossy(part).into_owned());
    let some = |part: Option<String>| part.filter(|part| !part.is_empty());
    let (state, budget, lines) = (some(parts.next()), some(parts.next()), parts.next().unwrap_or_default());
    let txn =
        json!({"version": 1, "state": state, "budget": budget, "ledger_offset": ledger_length, "ledger_lines": lines});
    txn.to_string().into_bytes()
}

/// State, budget and ledger of a repository that has seen two ticks.
fn sound(layout: &Layout) -> [String; 3] {
    let mut state = State::new("fuzz".to_owned());
    state.tick_count = 2;
    let note = |event: &str| Note {
        stage: None,
        run: None,
        event: event.to_owned(),
        from: None,
        to: None,
        detail: "of no matter".to_owned(),
    };
    let head = ledger::head(Path::new("/nowhere/ledger.jsonl")).expect("an empty one");
    let loaded = Loaded { state, budget: Budget::default() };
    let notes = [note("initialised"), note("halted")];
    let (tokens, cost) = (loaded.budget.tokens_spent, loaded.budget.cost_spent_usd);
    [
        store::encode_state(layout, &loaded.state).expect("state"),
        store::encode_budget(layout, &loaded.budget).expect("budget"),
        ledger::lines(&head, &notes, DateTime::UNIX_EPOCH, 2, tokens, cost, None).expect("ledger"),
    ]
}

pub(crate) fn ledger(bytes: &[u8]) {
    let path = folder().join("ledger.jsonl");
    fs::write(&path, bytes).expect("ledger");
    let tear = match ledger::tear(&path) {
        Ok(tear) => tear,
        Err(error) => panic!("{error}"),
    };
    if let Some(tear) = &tear {
        let whole = usize::try_from(tear.head.length).expect("length");
        assert_eq!(&bytes[whole..], tear.rest, "what is torn off is what stands behind the whole lines");
        assert!(matches!(ledger::head(&path), Err(LedgerError::Broken { .. })));
        assert!(ledger::walk(&path, |_| ()).is_err(), "a torn ledger is not whole");
    }
    assert!(ledger::tail(&path, 64).expect("tail").len() <= 64);
    drop(ledger::readable_after(&path, 1).expect("lines"));
    let mut count = 0;
    let Ok(head) = ledger::walk(&path, |_| count += 1) else { return };
    assert_eq!((head.seq, head.length), (count, bytes.len() as u64));
    assert_eq!(ledger::head(&path).expect("head"), head);
    assert!(tear.is_none());
    ledger::verify(&path, Some(&head)).expect("it still ends as it ends");
    if bytes.is_empty() {
        return;
    }
    // Whatever is cut off or changed shows against the head that was sealed. Two places are tried, which the text picks.
    let pick = bytes.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    for at in [pick % bytes.len(), bytes.len() - 1] {
        fs::write(&path, &bytes[..at]).expect("cut");
        assert!(ledger::verify(&path, Some(&head)).is_err(), "cut at {at}");
        if let Some(tear) = ledger::tear(&path).expect("tear") {
            let whole = usize::try_from(tear.head.length).expect("length");
            assert_eq!(ledger::following(bytes, &tear.head), &bytes[whole..], "a copy gives back what is missing");
        }
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (pick % 8);
        fs::write(&path, &flipped).expect("flipped");
        assert!(ledger::verify(&path, Some(&head)).is_err(), "bit {} of byte {at} flipped", pick % 8);
    }
}
