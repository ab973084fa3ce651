//! Re-brief, escalate, stop: the main rows of the table in docs/how-it-works.md, over the real binary with stub agents.
//! Every row over the pure machine is tests/escalation.rs.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests play the operator, and a broken test environment should fail loudly"
)]

mod support;

use std::fs;

use serde_json::{Value, json};

use support::night::{HAND_IN, Night, SAY_PASS, WORKER};

/// Another tier of the worker's family.
const TIER: &str = "Stub Strong <strong@local>";
/// Another family: the verifier's.
const FAMILY: &str = "Judge Dredd <dredd@local>";

/// A night whose agents are one script by role: families `stub` and `judge` both work and judge, as the run says.
fn night(worker: &str, verifier: &str, more: &str) -> Night {
    let night = Night::bare();
    let text = format!("case $2 in\n*.worker*)\n{worker}\n;;\n*)\n{verifier}\n;;\nesac");
    night.stub("worker", &text);
    night.stub("verifier", &text);
    night.manifest(more);
    night.ok(&["init"]);
    night
}

/// Queues a card whose ladder this is, with a second criterion and a path out of scope.
fn queue(night: &Night, ladder: &str) {
    night.card_with(
        "01-work",
        &format!("- **Escalation:** {ladder}\n"),
        "1. `a.txt`: the work",
        "test -s a.txt\ngrep -q good a.txt",
    );
    let path = night.repo.join("stage-cards/01-work.md");
    let card = fs::read_to_string(&path).expect("card").replace("1. it works\n", "1. it works\n2. it is short\n");
    fs::write(&path, format!("{card}\n## Out of scope\n- `b.txt`\n")).expect("card");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
}

/// A stub's line that returns a verdict with these two words.
fn verdict(one: &str, two: &str) -> String {
    let overall = if one == "PASS" && two == "PASS" { "PASS" } else { "FAIL" };
    let entry = |id: u64, word: &str| json!({"id": id, "name": "n", "verdict": word, "evidence": "a.txt:1"});
    let verdict = json!({"stage_id": "01-work", "overall": overall, "headline": "Do the work",
                         "criteria": [entry(1, one), entry(2, two)], "additional_findings": ""});
    format!("printf '%s' '{verdict}' >.autometta/outbox/verdict.json")
}

/// Who worked and judged, run by run, as the history has it.
fn runs(stage: &Value) -> Vec<String> {
    let history = stage["history"].as_array().expect("history");
    let agents = history.iter().filter(|past| past["identity"].is_string());
    agents
        .map(|past| {
            let (run, who) = (past["run"].as_str().expect("run"), past["identity"].as_str().expect("who"));
            format!("{} {}", run.trim_start_matches("01-work."), who.split(" <").next().expect("name"))
        })
        .collect()
}

fn prompt(night: &Night, run: &str) -> String {
    night.read(format!("repo/state/runs/01-work.{run}/prompt.md"))
}

/// The details of the ledger's notes of this event.
fn noted(night: &Night, event: &str) -> Vec<String> {
    let ledger = night.read("repo/state/ledger.jsonl");
    let lines = ledger.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
    lines
        .filter(|line| line["event"] == event)
        .map(|line| line["detail"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// A worker that gets it right in its third attempt, each time with other content.
const THIRD_IS_GOOD: &str = "case $2 in *.3.worker) echo good >a.txt;; *) echo \"$2\" >a.txt;; esac";

#[test]
fn a_gate_that_fails_twice_gives_the_stage_to_another_family_and_the_verifier_changes_with_it() {
    let worker = format!("{THIRD_IS_GOOD}\n{}", HAND_IN.replace("done", "I tried it with $2"));
    let night = night(&worker, &verdict("PASS", "PASS"), "");
    queue(&night, FAMILY);
    let stage = night.tick_until("01-work", "completed");
    assert_eq!(
        runs(&stage),
        ["1.worker Stub Worker", "2.worker Stub Worker", "3.worker Judge Dredd", "3.verifier Stub Worker"]
    );
    assert_eq!((&stage["rung"], &stage["worker"], &stage["verifiers"]), (&json!(1), &json!(FAMILY), &json!([WORKER])));
    assert_eq!(
        noted(&night, "escalated"),
        [format!("{WORKER} → {FAMILY} (rung 1 of 1); verifier Judge <judge@local> → {WORKER}")]
    );
    let message = night.git(&["log", "-1", "--format=%an%n%B", "main"]);
    for line in ["Judge Dredd", "Autometta-Worker: Judge Dredd <dredd@local>", "Autometta-Verifier: Stub Worker"] {
        assert!(message.contains(line), "{line} is not in\n{message}");
    }
    // The same worker hears what failed; its successor hears that and what the worker had to say.
    let (second, third) = (prompt(&night, "2.worker"), prompt(&night, "3.worker"));
    assert!(second.contains("### The gates of 01-work.1.gate failed"), "{second}");
    assert!(!second.contains("You take over"), "{second}");
    for words in [
        "### You take over from Stub Worker <stub@local>",
        "I tried it with $2",
        "### The gates of 01-work.2.gate failed",
        "### What must not change",
        "- `b.txt` is out of scope",
    ] {
        assert!(third.contains(words), "{words} is not in\n{third}");
    }
    night.tick_until_that("01-work", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty));
    for attempt in ["1", "2"] {
        let kept = night.git(&["show", &format!("refs/heads/wip/01-work-attempt-{attempt}:a.txt")]);
        assert_eq!(kept, format!("01-work.{attempt}.worker"));
    }
    let shown = night.ok(&["show", "01-work"]);
    assert!(shown.contains("1 (escalated from Stub Worker)"), "{shown}");
}

#[test]
fn a_verdict_that_fails_is_told_with_what_held_and_is_sealed_to_the_worker_that_it_was_about() {
    let gives_up = HAND_IN.replace("pass", "fail");
    let worker = format!("echo good >a.txt\ncase $2 in *.1.worker) {HAND_IN};; *) {gives_up};; esac");
    let night = night(&worker, &verdict("PASS", "FAIL"), "retry: {work: 0}");
    queue(&night, TIER);
    let stage = night.tick_until("01-work", "failed");
    assert_eq!(runs(&stage), ["1.worker Stub Worker", "1.verifier Judge", "2.worker Stub Strong"]);
    night.tick_until_that("01-work", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty));
    let published: Value = serde_json::from_str(&night.read("repo/state/verifiers/01-work.json")).expect("json");
    assert_eq!((&published["run_id"], &published["worker"]), (&json!("01-work.1.verifier"), &json!(WORKER)));
    assert_eq!(stage["worker"], TIER, "{stage:#}");
    let second = prompt(&night, "2.worker");
    for words in [
        "### The verdict of 01-work.1.verifier",
        "- criterion 1 was met: it works",
        "- the gate acceptance passed: `test -s a.txt`",
    ] {
        assert!(second.contains(words), "{words} is not in\n{second}");
    }
    assert!(!second.contains("criterion 2 was met"), "{second}");
}

#[test]
fn a_worker_that_gives_up_or_says_nothing_is_followed_by_the_next_rung_at_once() {
    let gives_up = HAND_IN.replace("pass", "fail").replace("done", "it is beyond me");
    for (name, first, heard) in [
        ("gives up", format!("echo half >a.txt\n{gives_up}"), "it is beyond me"),
        ("says nothing", "echo half >a.txt".to_owned(), "It left no notes."),
        ("breaks its handoff", "echo half >a.txt\necho '{' >.autometta/outbox/handoff.json".to_owned(), "not JSON"),
    ] {
        let worker =
            format!("case $2 in *.1.worker) {first};; *) cp a.txt \"$T/found\"\necho good >a.txt\n{HAND_IN};; esac");
        let night = night(&worker, &verdict("PASS", "PASS"), "retry: {work: 2}");
        queue(&night, TIER);
        let stage = night.tick_until("01-work", "completed");
        assert_eq!(runs(&stage), ["1.worker Stub Worker", "2.worker Stub Strong", "2.verifier Judge"], "{name}");
        assert_eq!(night.read("t/found"), "half\n", "{name}: it goes on from what was there");
        let second = prompt(&night, "2.worker");
        assert!(second.contains(heard), "{name}: {heard} is not in\n{second}");
    }
}

#[test]
fn the_identical_tree_climbs_at_once_and_the_top_of_the_ladder_is_one_notice_to_a_person() {
    let night = night(&format!("echo bad >a.txt\n{HAND_IN}"), SAY_PASS, "retry: {work: 3}");
    queue(&night, TIER);
    let stage = night.tick_until("01-work", "verifier_failed");
    assert_eq!(runs(&stage), ["1.worker Stub Worker", "2.worker Stub Worker", "3.worker Stub Strong"]);
    assert_eq!(stage["reason"]["code"], "no-progress", "{stage:#}");
    assert!(prompt(&night, "3.worker").contains("### The gates of 01-work.1.gate failed"));
    assert_eq!(noted(&night, "no-progress").len(), 2);
    assert_eq!(night.git(&["rev-list", "--count", "main"]), "1", "nothing has landed");
    // A person starts it anew: by its own worker again.
    night.ok(&["requeue", "01-work"]);
    assert_eq!(night.stage("01-work")["rung"], Value::Null);
    let stage = night.tick_until("01-work", "verifier_failed");
    assert_eq!(runs(&stage)[3..], ["4.worker Stub Worker", "5.worker Stub Worker", "6.worker Stub Strong"]);
}

#[test]
fn a_rung_that_nobody_may_judge_is_refused_at_queueing() {
    let night = night("true", "true", "  lone: {identities: [\"Lone*\"], command: [\"true\"]}");
    for (ladder, said) in [
        ("Judge Dredd <dredd@local>", ""),
        ("Nobody <nobody@local>", "rung 1: no family serves `Nobody <nobody@local>`"),
        ("Stub Strong <strong@local>; Script <script@local>", "a worker of the script family needs"),
    ] {
        night.card_with("01-work", &format!("- **Escalation:** {ladder}\n"), "1. `a.txt`: it", "true");
        let output = night.run(&["card", "lint", "stage-cards/01-work.md"]);
        let text = support::night::text(&output.stdout);
        assert_eq!(output.status.success(), said.is_empty(), "{ladder}: {text}");
        assert!(text.contains(said), "{ladder}: {text}");
    }
    // Two seats of one family, and only one other to take them.
    let panel = "- **Verifier panel:** 1 of Judge <judge@local>; Judge Two <two@local>\n";
    let card = |ladder: &str| {
        night.card_with("01-work", &format!("- **Escalation:** {ladder}\n"), "1. `a.txt`: it", "true");
        let path = night.repo.join("stage-cards/01-work.md");
        let text = fs::read_to_string(&path).expect("card");
        fs::write(&path, text.replace("- **Verifier:** Judge <judge@local>\n", panel)).expect("card");
    };
    card(FAMILY);
    let said = night.fails(&["add-stage", "stage-cards/01-work.md"], 3);
    assert!(said.contains("rung 1: `Judge Dredd <dredd@local>` and the verifier `Judge Two <two@local>`"), "{said}");
    card(&format!("{FAMILY}; Lone <lone@local>"));
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
}
