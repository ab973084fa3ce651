//! Carrying version 1 over with the real binary: once, whole, and with the old files kept.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS};

/// A night of version 1: its files in `state/`, and a manifest that serves its identities with stubs.
fn night_of_v1(fixture: &str, base_branch: &str) -> Night {
    let night = Night::bare();
    night.stub("worker", &format!("echo \"$1\" >\"$1.txt\"\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    night.manifest("");
    let manifest = night
        .read("repo/.autometta.yaml")
        .replace("Stub*", "GPT*")
        .replace("Judge*", "Claude*")
        .replace(
            "  stub:",
            "  codex: {identities: [\"Nobody here*\"]}\n  claude: {identities: [\"Nobody there*\"]}\n  stub:",
        )
        .replace("base_branch: main", &format!("base_branch: {base_branch}"));
    night.write(".autometta.yaml", &manifest);
    if base_branch != "main" {
        night.git(&["branch", base_branch]);
    }
    for name in ["state.yaml", "budget.json"] {
        night.write(&format!("state/{name}"), &fixture_text(fixture, name));
    }
    night
}

fn fixture_text(fixture: &str, name: &str) -> String {
    let path = format!("{}/tests/fixtures/v1/{fixture}/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("fixture")
}

/// A process id that nothing has: its owner has ended and was waited for.
fn dead_pid() -> u32 {
    let mut child = Command::new("true").spawn().expect("true");
    let pid = child.id();
    child.wait().expect("its end");
    pid
}

fn card(night: &Night, path: &str, stage: &str) {
    night.write(
        path,
        &format!(
            "# Stage card {stage}: Carry on\n\n## Metadata\n- **Worker:** GPT-5.6 Sol <gpt-5-6-sol@local>\n\
             - **Verifier:** Claude Sonnet 5 <claude-sonnet-5@local>\n\n## Objective\nCarry on.\n\n\
             ## Deliverables\n1. `{stage}.txt`: the work\n\n## Acceptance criteria\n1. it works\n\n\
             ## Acceptance command\n```sh\ntest -s {stage}.txt\n```\n"
        ),
    );
}

fn old_files_are_kept(night: &Night, fixture: &str, state: &str) {
    assert_eq!(night.read("repo/state/state.v1.yaml"), state);
    assert_eq!(night.read("repo/state/budget.v1.json"), fixture_text(fixture, "budget.json"));
}

#[test]
fn a_fresh_queue_is_carried_over_by_init_and_runs_to_completion() {
    let night = night_of_v1("fresh", "main");
    card(&night, "stage-cards/01-scaffold.md", "01-scaffold");
    card(&night, "docs/stages/02-parser.md", "02-parser");
    assert!(night.ok(&["init"]).contains("carried 2 stages over"));
    old_files_are_kept(&night, "fresh", &fixture_text("fresh", "state.yaml"));
    let status = night.status();
    assert_eq!((&status["version"], status["stages"].as_array().map(Vec::len)), (&Value::from(2), Some(2)));
    assert_eq!(status["stages"][1]["card"], "docs/stages/02-parser.md");
    assert_eq!(status["stages"][1]["depends_on"], serde_json::json!(["01-scaffold"]));
    assert_eq!(night.budget()["token_cap_total"], 1_000_000);
    // The stub's whole reservation would not fit under the old cap: the operator raises it.
    let budget =
        night.read("repo/state/budget.json").replace("\"token_cap_total\": 1000000", "\"token_cap_total\": 90000000");
    night.write("state/budget.json", &budget);
    night.tick_until("02-parser", "completed");
    assert_eq!(night.git(&["show", "main:01-scaffold.txt"]), "01-scaffold");
    assert!(night.ok(&["log", "--verify"]).contains("each follows"));
    old_files_are_kept(&night, "fresh", &fixture_text("fresh", "state.yaml"));
}

#[test]
fn a_tick_carries_over_as_well_and_only_once() {
    let night = night_of_v1("fresh", "main");
    night.tick();
    night.tick();
    assert_eq!(night.status()["stages"].as_array().map(Vec::len), Some(2));
    assert_eq!(night.ok(&["log"]).matches("carried-over").count(), 1);
    old_files_are_kept(&night, "fresh", &fixture_text("fresh", "state.yaml"));
    // Its cards are missing here: shown, and nothing waits for ever without a reason.
    assert_eq!(night.stage("01-scaffold")["reason"]["code"], "card-unusable");
}

#[test]
fn a_night_under_way_is_refused_while_its_agent_lives_and_carried_once_it_is_dead() {
    let night = night_of_v1("mid-night", "dev");
    let mut agent = Command::new("sleep").arg("600").spawn().expect("sleep");
    let state =
        fixture_text("mid-night", "state.yaml").replace("worker_pid: 5120", &format!("worker_pid: {}", agent.id()));
    night.write("state/state.yaml", &state);
    let said = night.fails(&["init"], 3);
    assert!(said.contains(&format!("{} of 04-search", agent.id())) && said.contains("once they have ended"), "{said}");
    assert_eq!(night.tick().status.code(), Some(3));
    assert_eq!(night.read("repo/state/state.yaml"), state, "untouched");
    assert!(!night.repo.join("state/state.v1.yaml").exists());
    agent.kill().expect("kill");
    agent.wait().expect("its end");
    night.ok(&["init"]);
    old_files_are_kept(&night, "mid-night", &state);
    let stage = night.stage("04-search");
    assert_eq!(stage["status"], "pending");
    assert!(stage["reason"]["detail"].as_str().expect("detail").contains(&agent.id().to_string()), "{stage:#}");
    let status = night.status();
    let words: Vec<&str> = status["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| stage["status"].as_str().expect("status"))
        .collect();
    assert_eq!(words, ["completed", "stalled", "superseded", "pending", "pending"]);
    assert_eq!(status["stages"][0]["reason"]["detail"], "landed as 1234567");
    let budget = night.budget();
    assert_eq!(
        (&budget["tokens_spent"], &budget["lifetime_tokens_spent"]),
        (&Value::from(3_284_299), &Value::from(41_980_022))
    );
    assert_eq!((&budget["halted"], &budget["consecutive_failures"]), (&Value::from(false), &Value::from(1)));
}

#[test]
fn a_stage_of_a_night_under_way_runs_to_completion_after_the_carry_over() {
    let night = night_of_v1("mid-night", "dev");
    let state =
        fixture_text("mid-night", "state.yaml").replace("worker_pid: 5120", &format!("worker_pid: {}", dead_pid()));
    night.write("state/state.yaml", &state);
    // The pause of version 1 is long over by any clock of this machine.
    let paused = fixture_text("mid-night", "budget.json").replace("1788670800", "1500000000");
    night.write("state/budget.json", &paused);
    card(&night, "examples/self-host/04-search.md", "04-search");
    night.ok(&["init"]);
    night.tick_until("04-search", "completed");
    assert_eq!(night.git(&["show", "dev:04-search.txt"]), "04-search");
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
    let history = night.stage("04-search")["history"].clone();
    assert_eq!(history[0]["run"], "04-search.1.worker");
    // What stalled under version 1 can be taken up again.
    card(&night, "stage-cards/02-index.md", "02-index");
    night.ok(&["requeue", "02-index"]);
    assert_eq!(night.stage("02-index")["status"], "pending");
}

#[test]
fn a_halted_night_stays_halted_with_its_reasons() {
    let night = night_of_v1("halted", "main");
    night.ok(&["init"]);
    assert_eq!(night.tick().status.code(), Some(4));
    let status = night.ok(&["status"]);
    assert!(status.contains("HALTED token-cap") && status.contains("HALTED tick-cap"), "{status}");
    let said = night.fails(&["resume"], 3);
    assert!(said.contains("token-cap"), "{said}");
    assert_eq!(night.stage("02a-api")["status"], "verifier_failed");
}

#[test]
fn a_damaged_file_of_version_1_is_refused_with_its_line_and_left_as_it_is() {
    let night = night_of_v1("fresh", "main");
    let state = fixture_text("fresh", "state.yaml").replace("status: pending", "status: pondering");
    night.write("state/state.yaml", &state);
    let said = night.fails(&["init"], 1);
    assert!(said.contains("state.yaml") && said.contains("pondering"), "{said}");
    assert_eq!(night.read("repo/state/state.yaml"), state);
}
