//! Cards, and the documents that we and people write: what is read can be written and read again, and is the same.

use std::fmt::Debug;
use std::path::Path;

use autometta::core::card::{Card, MAX_BYTES, MAX_SEATS};
use autometta::core::exit::{ExitRecord, GateResult};
use autometta::core::fault::Faults;
use autometta::core::manifest::Manifest;
use autometta::core::models::ModelTable;
use autometta::core::run::{AgentStarted, CancelMarker, RegistryEntry, RunOrder, Started};
use autometta::core::state_doc::StateDoc;
use autometta::core::subscriber::Subscriber;
use autometta::core::timer::TimerRecord;
use autometta::core::v1::{self, V1Budget, V1State};
use autometta::families::Families;
use autometta::files::document::{self, Layer};
use autometta::files::layout::Layout;
use autometta::files::ledger::Line;
use autometta::files::store::{self, StoreError};
use autometta::tick::heartbeat::Heartbeat;
use serde_json::Value;

use super::{hold_faults, stage};

pub(crate) fn card(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parsed = match Card::parse(stage(), text) {
        Ok(parsed) => parsed,
        Err(faults) => return hold_faults(&faults, bytes),
    };
    assert!(text.len() <= MAX_BYTES, "a card beyond the limit");
    let card = &parsed.card;
    assert_eq!(card.stage, stage());
    let seats = card.verifiers.seats().len();
    assert!(seats <= MAX_SEATS, "{seats} seats");
    let quorum = card.verifiers.quorum() as usize;
    assert!((1..=seats.max(1)).contains(&quorum), "{quorum} of {seats}");
    let seat_exists = |seat: &u32| (1..=seats).contains(&(*seat as usize));
    assert!(card.adversarial_seats.iter().all(seat_exists), "{:?} of {seats}", card.adversarial_seats);
    let paths = card.deliverables.iter().map(|one| &one.path).chain(&card.path_claims).chain(&card.out_of_scope);
    for path in paths.chain(&card.contract_tests) {
        assert!(is_inside(path.as_str()), "{path:?}");
    }
    let again = Card::parse(stage(), text).expect("the same text");
    assert_eq!(again, parsed);
}

/// Whether a path names something below the folder that it starts from, and nothing of git's.
fn is_inside(path: &str) -> bool {
    let mut parts = path.trim_end_matches('/').split('/');
    !path.starts_with('/') && parts.all(|part| !matches!(part, ".." | ".git"))
}

pub(crate) fn state(bytes: &[u8]) {
    let path = Path::new("state/state.yaml");
    let layout = Layout::new(Path::new("/repo"), "state");
    match store::decode_state(path, bytes) {
        Ok(state) => {
            let text = store::encode_state(&layout, &state).expect("a state that was read can be written");
            let again = store::decode_state(path, text.as_bytes()).expect("what was written can be read");
            assert_eq!(again, state, "{text}");
            // Its stages are written one by one, and read from JSON where there are many.
            let doc = StateDoc::from(&state);
            assert_eq!(document::to_yaml(&doc).expect("text"), text);
            let json = serde_json::to_vec(&doc).expect("JSON");
            assert_eq!(serde_json::from_slice::<StateDoc>(&json).expect("a state"), doc);
            // Nothing is lost on the way, least of all everything.
            let plain: Value = document::from_yaml(bytes).expect("a state is YAML");
            assert_eq!(plain["stages"].as_array().map(Vec::len), Some(state.stages.len()));
            assert_eq!(plain["repo_id"].as_str().map(str::trim), Some(state.repo_id.trim()));
        }
        Err(StoreError::Corrupt { faults, .. }) => hold_faults(&faults, bytes),
        Err(StoreError::VersionOne { .. }) => {
            let budget = V1Budget::default();
            match document::from_yaml::<V1State>(bytes) {
                Ok(old) => drop(v1::carry(&old, &budget).map_err(|error| error.to_string())),
                Err(faults) => hold_faults(&faults, bytes),
            }
        }
        Err(other) => assert!(matches!(other, StoreError::Newer { .. }), "{other}"),
    }
}

pub(crate) fn budget(bytes: &[u8]) {
    let path = Path::new("state/budget.json");
    let layout = Layout::new(Path::new("/repo"), "state");
    match store::decode_budget(path, bytes) {
        Ok(budget) => {
            let text = store::encode_budget(&layout, &budget).expect("a budget that was read can be written");
            let again = store::decode_budget(path, text.as_bytes()).expect("what was written can be read");
            assert_eq!(again, budget, "{text}");
            assert!(document::from_json::<Value>(bytes).is_ok_and(|value| value.is_object()), "no budget was there");
        }
        Err(StoreError::Corrupt { faults, .. }) => hold_faults(&faults, bytes),
        Err(other) => assert!(matches!(other, StoreError::Newer { .. }), "{other}"),
    }
    if let Ok(old) = document::from_json::<V1Budget>(bytes) {
        let none: V1State = document::from_yaml("version: 1\n").expect("a state of version 1");
        drop(v1::carry(&none, &old).map_err(|error| error.to_string()));
    }
}

pub(crate) fn manifest(bytes: &[u8]) {
    let path = Path::new(".autometta.yaml");
    // A NUL, which no document holds, parts the committed file from the one over it.
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let base = parts.next().unwrap_or_default();
    let local = parts.next();
    match document::from_yaml::<Manifest>(base) {
        Ok(manifest) => {
            let text = document::to_yaml(&manifest).expect("a manifest that was read can be written");
            let again: Manifest = document::from_yaml(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
            assert_eq!(again, manifest, "{text}");
            let value = document::value_from_yaml::<Manifest>(base).expect("it is a manifest");
            if let Ok(merged) = Manifest::merged(value, Value::Object(serde_json::Map::new())) {
                assert_eq!(merged, manifest, "over a generic value: {text}");
            }
            drop(document::locate(base, manifest.validate()));
            let _ = Families::new(&manifest.families).map_err(|faults| hold_faults(&faults, base));
        }
        Err(faults) => hold_faults(&faults, base),
    }
    if let Some(local) = local {
        let layer = |bytes| Layer { path, bytes };
        let both = document::from_yaml_layers(layer(base), Some(layer(local)), Manifest::merged, valid);
        if let Err(faults) = both {
            assert!(!faults.0.is_empty(), "an error without a fault");
        }
    }
}

fn valid(manifest: Manifest) -> Result<Manifest, Faults> {
    let faults = manifest.validate();
    if faults.is_empty() { Ok(manifest) } else { Err(faults) }
}

pub(crate) fn home(bytes: &[u8]) {
    match document::from_yaml::<Subscriber>(bytes) {
        Ok(known) => {
            drop(document::locate(bytes, known.validate()));
            let text = document::to_yaml(&known).expect("a subscriber can be written");
            assert_eq!(document::from_yaml::<Subscriber>(&text).expect("and read"), known, "{text}");
        }
        Err(faults) => hold_faults(&faults, bytes),
    }
    if let Ok(table) = document::from_yaml::<ModelTable>(bytes) {
        drop(document::locate(bytes, table.validate()));
    }
    match document::from_json::<TimerRecord>(bytes) {
        Ok(timer) => {
            let text = document::to_json_pretty(&timer).expect("a timer can be written");
            assert_eq!(document::from_json::<TimerRecord>(&text).expect("and read"), timer, "{text}");
        }
        Err(faults) => hold_faults(&faults, bytes),
    }
}

pub(crate) fn run_records(bytes: &[u8]) {
    if let Some(order) = twice::<RunOrder>(bytes) {
        drop(order.check().to_string());
    }
    twice::<Started>(bytes);
    twice::<AgentStarted>(bytes);
    twice::<ExitRecord>(bytes);
    twice::<Vec<GateResult>>(bytes);
    twice::<CancelMarker>(bytes);
    twice::<RegistryEntry>(bytes);
    twice::<Line>(bytes);
    if let Ok(heartbeat) = document::from_json::<Heartbeat>(bytes) {
        let text = document::to_json_pretty(&heartbeat).expect("a heartbeat can be written");
        assert_eq!(document::from_json::<Heartbeat>(&text).expect("and read"), heartbeat, "{text}");
    }
}

/// Reads a record as `runs` does, writes it, and reads that.
fn twice<T>(bytes: &[u8]) -> Option<T>
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + Debug,
{
    let record: T = serde_json::from_slice(bytes).ok()?;
    let text = serde_json::to_string(&record).expect("a record that was read can be written");
    let again: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(again, record, "{text}");
    Some(record)
}
