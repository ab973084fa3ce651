//! The published schemas are those of the types: `schemas/` is made from them, and this holds it to that.
//!
//! After a change of a document's type: `UPDATE_SCHEMAS=1 cargo test --test schemas`, and commit the difference.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

use std::fs;
use std::path::Path;

use autometta::cli::AttachPlan;
use autometta::cli::{Fleet, PastDoc, QueueDoc, ReplayDoc, RepoStatus, Story};
use autometta::core::budget::{Budget, Sheet};
use autometta::core::card::Card;
use autometta::core::exit::ExitRecord;
use autometta::core::fleet::{HomeConfig, Share};
use autometta::core::grade::{Answer, Bakeoff, Regrade};
use autometta::core::graph::Graph;
use autometta::core::handoff::Handoff;
use autometta::core::honesty::Report as Flags;
use autometta::core::journal::Record;
use autometta::core::manifest::Manifest;
use autometta::core::models::ModelTable;
use autometta::core::night::Night;
use autometta::core::outlook::Outlook;
use autometta::core::rates::RateTable;
use autometta::core::run::{AgentStarted, RegistryEntry, RunOrder, Started};
use autometta::core::state_doc::StateDoc;
use autometta::core::subscriber::Subscriber;
use autometta::core::timer::TimerRecord;
use autometta::core::verdict::Verdict;
use autometta::files::ledger::Line;
use autometta::tick::auth::{AuthCheck, AuthStatus};
use autometta::tick::doctor::Report;
use autometta::tick::heartbeat::Heartbeat;
use autometta::tick::keep::{Cleaned, Memory};
use autometta::tick::register::Watched;
use autometta::tick::restore::Restoration;
use autometta::tick::subscribers::{Subscription, Unsubscribed};
use autometta::tick::weather::QuotaRecord;
use autometta::timers::{Plan as TimerPlan, status::Status as TimerStatus};
use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

fn of<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

/// Every document that another tool may read, with its schema.
fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("attach", of::<AttachPlan>()),
        ("state", of::<StateDoc>()),
        ("budget", of::<Budget>()),
        ("budget-sheet", of::<Sheet>()),
        ("config", of::<HomeConfig>()),
        ("fleet-share", of::<Share>()),
        ("card", of::<Card>()),
        ("handoff", Handoff::schema()),
        ("verdict", Verdict::schema()),
        ("verdict-scored", Verdict::scored_schema()),
        ("run", of::<RunOrder>()),
        ("started", of::<Started>()),
        ("agent", of::<AgentStarted>()),
        ("exit", of::<ExitRecord>()),
        ("flags", of::<Flags>()),
        ("registry-entry", of::<RegistryEntry>()),
        ("manifest", of::<Manifest>()),
        ("models", of::<ModelTable>()),
        ("rates", of::<RateTable>()),
        ("subscriber", of::<Subscriber>()),
        ("ledger-line", of::<Line>()),
        ("journal", of::<Record>()),
        ("replay", of::<ReplayDoc>()),
        ("heartbeat", of::<Heartbeat>()),
        ("keep", of::<Memory>()),
        ("clean", of::<Cleaned>()),
        ("quota", of::<QuotaRecord>()),
        ("status", of::<RepoStatus>()),
        ("fleet", of::<Fleet>()),
        ("subscribers", of::<Vec<Subscription>>()),
        ("unsubscribed", of::<Unsubscribed>()),
        ("queue", of::<QueueDoc>()),
        ("graph", of::<Graph>()),
        ("show", of::<Story>()),
        ("show-at", of::<PastDoc>()),
        ("doctor", of::<Report>()),
        ("auth-status", of::<AuthStatus>()),
        ("auth-check", of::<AuthCheck>()),
        ("restore", of::<Restoration>()),
        ("watch", of::<Watched>()),
        ("report", of::<Night>()),
        ("simulate", of::<Outlook>()),
        ("planted-answer", of::<Answer>()),
        ("bakeoff", of::<Bakeoff>()),
        ("regrade", of::<Regrade>()),
        ("timer", of::<TimerRecord>()),
        ("timer-plan", of::<TimerPlan>()),
        ("timer-status", of::<TimerStatus>()),
    ]
}

#[test]
fn the_published_schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut stale = Vec::new();
    for (name, schema) in all() {
        let path = folder.join(format!("{name}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).expect("schema") + "\n";
        if update {
            fs::write(&path, &text).expect("written");
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "stale: {stale:?}; run UPDATE_SCHEMAS=1 cargo test --test schemas and commit");
}

#[test]
fn every_schema_compiles_and_refuses_a_document_of_another_kind() {
    for (name, schema) in all() {
        let validator = jsonschema::validator_for(&schema).expect(name);
        assert!(!validator.is_valid(&json!(["nothing", "of", "the", "kind"])), "{name}");
        if !["manifest", "models", "rates", "budget", "config"].contains(&name) {
            assert!(!validator.is_valid(&json!({})), "{name} has required keys");
        }
        assert!(!validator.is_valid(&json!({"surprise": 1})) || name == "ledger-line", "{name} refuses unknown keys");
    }
}

#[test]
fn documents_of_the_contract_are_valid_by_their_schemas() {
    let handoff = json!({"stage_id": "01-a", "status": "pass", "deliverables": ["a"], "notes": "n",
                         "failed_acceptance": [], "question": null});
    let verdict = json!({"stage_id": "01-a", "overall": "PASS", "headline": "h", "additional_findings": "",
                         "criteria": [{"id": 1, "name": "n", "verdict": "PASS", "evidence": "a:1"}]});
    let subscriber = json!({"repo_path": "/r", "weight": 3, "enabled": false});
    let cases = [("handoff", handoff), ("verdict", verdict), ("subscriber", subscriber), ("budget", json!({}))];
    for (name, document) in cases {
        let schema = all().into_iter().find(|(known, _)| *known == name).expect(name).1;
        let validator = jsonschema::validator_for(&schema).expect(name);
        let faults: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}
