//! What runs may cost: reservations that follow history, prices by rates, cost caps that hold for every CLI, forecasts.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::night::{HAND_IN, Night, SAY_PASS};

const METERED: &str = "Metered Worker <metered@local>";
const APPRAISER: &str = "Appraiser <appraiser@local>";
const THREAD: &str = "Threaded Worker <thread-1@local>";

/// A shell line that prints Claude's final record.
fn result(tokens: u64, dollars: f64) -> String {
    let record = json!({"type": "result", "subtype": "success", "is_error": false, "result": "done", "total_cost_usd": dollars,
        "modelUsage": {"claude-opus-4-8": {"inputTokens": tokens, "outputTokens": 0}}});
    format!("echo '{record}'")
}

/// A night with workers and verifiers of three more families: one that prints like Claude, its judge, and one that prints
/// like Codex and keeps its session in a folder of the test's.
fn night(worker: &str, verifier: &str, more: &str) -> Night {
    let night = Night::bare();
    let (stubs, t) = (night.base().join("stubs"), night.t());
    let (stubs, t) = (stubs.display(), t.display());
    night.stub("worker", worker);
    night.stub("verifier", verifier);
    night.manifest(&format!(
        "  metered: {{identities: [\"Metered*\"], decoder: claude, command: [\"{stubs}/worker\", \"{{stage}}\"], pass_env: [T]}}\n  \
         appraiser: {{identities: [\"Appraiser*\"], decoder: claude, command: [\"{stubs}/verifier\", \"{{stage}}\"]}}\n  \
         threaded: {{identities: [\"Threaded*\"], decoder: codex, command: [\"{stubs}/worker\", \"{{stage}}\"], \
         pass_env: [T], env: {{CODEX_HOME: \"{t}/codex\"}}}}\n{more}"
    ));
    night.ok(&["init"]);
    night
}

fn queue(night: &Night, stage: &str, worker: &str, more: &str) {
    let text = format!(
        "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** {worker}\n- **Verifier:** {APPRAISER}\n\n\
         ## Objective\nDo it.\n\n## Deliverables\n1. `{stage}.txt`: the work\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntest -s {stage}.txt\n```\n{more}"
    );
    night.write(&format!("stage-cards/{stage}.md"), &text);
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

fn document(night: &Night, run: &str, name: &str) -> Value {
    serde_json::from_str(&night.read(format!("repo/state/runs/{run}/{name}"))).expect("json")
}

/// A worker that uses so many tokens as Claude says, and does its work.
fn works(tokens: u64, dollars: f64) -> String {
    format!("{}\necho work >$1.txt\n{HAND_IN}", result(tokens, dollars))
}

fn judges(tokens: u64, dollars: f64) -> String {
    format!("{}\n{SAY_PASS}", result(tokens, dollars))
}

#[test]
fn a_reservation_follows_history_and_the_charge_is_what_the_cli_says() {
    let night = night(&works(400_000, 1.25), &judges(30_000, 0.05), "");
    for stage in ["01-a", "02-b", "03-c", "04-d", "05-e", "06-f"] {
        queue(&night, stage, METERED, "");
        let sheet: Value = serde_json::from_str(&night.ok(&["budget", "--json"])).expect("json");
        let next = sheet["next"]["ask"].clone();
        night.tick_until(stage, "completed");
        let reserved = document(&night, &format!("{stage}.1.worker"), "run.json")["reserved"].clone();
        assert_eq!(next, reserved, "{stage}: `budget` says what is set aside");
        let judged = document(&night, &format!("{stage}.1.verifier"), "run.json")["reserved"].clone();
        let expected = if stage == "06-f" { (800_000, 100_000) } else { (3_000_000, 1_000_000) };
        let tokens = |reserved: &Value| reserved["tokens"].as_u64().expect("tokens");
        assert_eq!((tokens(&reserved), tokens(&judged)), expected, "{stage}: {reserved} {judged}");
    }
    let usage = document(&night, "06-f.1.worker", "exit.json")["usage"].clone();
    assert_eq!((&usage["cost_usd"], &usage["cost_source"]), (&json!(1.25), &json!("cli")), "{usage}");
    let order = document(&night, "06-f.1.worker", "run.json");
    assert_eq!(order["caps"]["tokens"], 800_000, "what is set aside is where it is stopped");
    let budget = night.budget();
    assert_eq!((&budget["tokens_spent"], &budget["tokens_reserved"]), (&json!(6 * 430_000), &json!(0)));
    assert_eq!(budget["cost_spent_usd"], json!(7.8), "{budget:#}");
    let pace = budget["pace"].as_array().expect("pace");
    let worker = pace.iter().find(|pace| pace["role"] == "worker").expect("worker");
    assert_eq!((&worker["samples"], &worker["tokens"]), (&json!(6), &json!(400_000)), "each run counts once");
    assert_eq!(budget["attempts"], json!({"samples": 6, "per_1000_stages": 1000}));
    // What is written down in the manifest holds, whatever history says.
    let manifest = night.read("repo/.autometta.yaml");
    night.write(".autometta.yaml", &format!("{manifest}defaults: {{worker_tokens: 500000}}\n"));
    queue(&night, "07-g", METERED, "\n## Budget\n- **Worker cost:** $2.00\n");
    night.tick_until("07-g", "completed");
    let reserved = document(&night, "07-g.1.worker", "run.json")["reserved"].clone();
    assert_eq!((&reserved["tokens"], &reserved["cost_usd"]), (&json!(500_000), &json!(2.0)));
}

/// A worker that prints like Codex; what it does before its turn ends comes first.
fn threaded(first: &str) -> String {
    let started = json!({"type": "thread.started", "thread_id": "one"});
    let said = json!({"type": "item.completed", "item": {"id": "i", "type": "agent_message", "text": "done"}});
    let ended = json!({"type": "turn.completed",
        "usage": {"input_tokens": 1_000_000, "cached_input_tokens": 600_000, "output_tokens": 50_000}});
    format!("echo '{started}'\n{first}\necho work >$1.txt\n{HAND_IN}\necho '{said}'\necho '{ended}'")
}

fn rates(night: &Night, text: &str) {
    fs::create_dir_all(&night.home).expect("home");
    fs::write(night.home.join("rates.yaml"), text).expect("rates");
}

#[test]
fn a_cli_that_tells_no_cost_is_priced_by_the_rates_of_its_dispatch() {
    let night = night(
        &threaded("until [ -e \"$T/go\" ]; do sleep 0.02; done"),
        &judges(10, 0.0),
        "defaults: {worker_tokens: 2000000}",
    );
    rates(
        &night,
        "version: 1\nmodels:\n  thread*:\n  - {from: 2020-01-01, input: 2, cached_input: 0.5, output: 10}\n  \
         - {from: 2999-01-01, input: 200, output: 1000}\n",
    );
    queue(&night, "01-a", THREAD, "");
    night.tick_until_that("01-a", |stage| stage["phase"] == "working");
    let order = document(&night, "01-a.1.worker", "run.json");
    assert_eq!(order["rates"], json!({"input": 2.0, "cached_input": 0.5, "cache_write": 2.0, "output": 10.0}));
    // Two million tokens, a tenth of them output.
    assert_eq!(order["reserved"]["cost_usd"], json!(0.2 * 10.0 + 1.8 * 2.0));
    rates(&night, "models: {'*': [{input: 90, output: 90}]}\n");
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-a", "completed");
    let usage = document(&night, "01-a.1.worker", "exit.json")["usage"].clone();
    // 400,000 at $2, 600,000 at $0.50, 50,000 at $10: cached input once, and apart.
    assert_eq!((&usage["total_tokens"], &usage["cost_usd"]), (&json!(1_050_000), &json!(1.6)), "{usage}");
    assert_eq!(usage["cost_source"], "rates");
    assert_eq!(night.budget()["cost_spent_usd"], json!(1.6));
}

#[test]
fn a_cost_cap_stops_a_cli_that_tells_no_cost() {
    let count = json!({"type": "event_msg", "payload": {"type": "token_count",
        "info": {"total_token_usage": {"input_tokens": 300_000, "cached_input_tokens": 0, "output_tokens": 0}}}});
    let session = format!(
        "mkdir -p \"$CODEX_HOME/sessions/2026/11/21\"\necho '{count}' >\"$CODEX_HOME/sessions/2026/11/21/rollout-1-one.jsonl\"\n\
         exec sleep 600"
    );
    let night = night(&threaded(&session), &judges(10, 0.0), "");
    rates(&night, "models: {thread-1: [{input: 2, output: 10}]}\n");
    queue(&night, "01-a", THREAD, "\n## Budget\n- **Worker cost:** $0.50\n");
    let stage = night.tick_until("01-a", "stalled");
    assert_eq!(stage["reason"]["code"], "cost-cap", "{stage:#}");
    let record = document(&night, "01-a.1.worker", "exit.json");
    assert_eq!((&record["ended_by"], &record["usage"]["cost_usd"]), (&json!("cost_cap"), &json!(0.6)));
    let budget = night.budget();
    assert_eq!((&budget["cost_spent_usd"], &budget["cost_reserved_usd"]), (&json!(0.6), &json!(0.0)));
}

#[test]
fn a_run_that_is_cut_short_is_charged_for_the_output_that_it_streamed() {
    // What stands in the records as output is a placeholder of one token a message.
    let text = "x".repeat(40_000);
    let message = json!({"type": "assistant", "message": {"id": "m", "model": "claude-opus-4-8",
        "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 1000, "output_tokens": 1}}});
    let worker = format!("cat <<'EOF'\n{message}\n{message}\nEOF\nexec sleep 600");
    let night = night(&worker, &judges(10, 0.0), "");
    queue(&night, "01-a", METERED, "\n## Budget\n- **Worker tokens:** 8,000\n");
    let stage = night.tick_until("01-a", "stalled");
    assert_eq!(stage["reason"]["code"], "token-cap", "{stage:#}");
    let usage = document(&night, "01-a.1.worker", "exit.json")["usage"].clone();
    let output = usage["output_tokens"].as_u64().expect("output");
    assert!((10_000..10_100).contains(&output), "a token for four bytes, and a repeated record once: {usage}");
    assert_eq!(night.budget()["tokens_spent"], json!(1000 + output));
}

#[test]
fn faults_of_rates_are_named_with_their_lines_and_nothing_starts() {
    let night = night(&works(10, 0.1), &judges(10, 0.0), "");
    queue(&night, "01-a", METERED, "");
    for (text, words) in [
        ("models:\n  opus:\n  - {input: 1, outputs: 2}\n", "line 3"),
        ("models:\n  opus:\n  - {input: 1, output: -2}\n", "line 3"),
        ("version: 1\nmodels:\n  opus:\n  - {from: someday, input: 1, output: 2}\n", "line 4"),
        ("version: 1\nmodels:\n  opus: []\n", "it has no price"),
        ("version: 9\n", "version 9"),
        ("modles: {}\n", "modles"),
    ] {
        rates(&night, text);
        let output = night.tick();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}{said}");
        assert!(said.contains("rates.yaml") && said.contains(words), "{text}{said}");
    }
    fs::remove_file(night.home.join("rates.yaml")).expect("removed");
    assert_eq!(night.stage("01-a")["attempt"], 0);
    night.tick_until("01-a", "completed");
}

#[test]
fn status_says_when_the_queue_ends_and_what_it_takes() {
    let night = night(&works(400_000, 1.25), &judges(20_000, 0.25), "");
    queue(&night, "01-a", METERED, "");
    assert_eq!(night.status()["forecast"]["expected"], Value::Null);
    assert!(!night.ok(&["status"]).contains("queue ends"), "nothing is known yet");
    night.tick_until("01-a", "completed");
    queue(&night, "02-b", METERED, "");
    let screen = night.ok(&["status"]);
    assert!(
        screen.contains("too little is known to say when the queue ends: worker metered (1 of 3 runs)"),
        "{screen}"
    );
    night.tick_until("02-b", "completed");
    queue(&night, "03-c", METERED, "");
    night.tick_until("03-c", "completed");
    assert_eq!(night.status()["forecast"], Value::Null, "nothing is left");
    queue(&night, "04-d", METERED, "");
    queue(&night, "05-e", METERED, "");
    let screen = night.ok(&["status"]);
    assert!(
        screen.contains("at this rate the queue ends about ") && screen.contains(", 840k tokens, $3.00"),
        "{screen}"
    );
    let forecast = night.status()["forecast"].clone();
    assert_eq!((&forecast["stages"], &forecast["expected"]["tokens"]), (&json!(2), &json!(840_000)), "{forecast:#}");
}

#[test]
fn a_stage_that_would_not_come_to_its_end_is_held_until_nothing_else_is_left() {
    let more = "defaults: {worker_tokens: 420000, worker_cost: 9, verifier_tokens: 150000, verifier_cost: 9}\n\
                caps: {tokens: 1950000}";
    let night = night(&works(400_000, 1.0), &judges(100_000, 0.5), more);
    for stage in ["01-a", "02-b", "03-c"] {
        queue(&night, stage, METERED, "");
        night.tick_until(stage, "completed");
    }
    // 450,000 are left: room for a worker, and not for a worker and its verifier.
    queue(&night, "04-d", METERED, "");
    let script = "# Stage card 05-e: Write\n\n## Metadata\n- **Worker:** Script <script@local>\n- **Verifier:** Check \
                  <check@local>\n\n## Objective\nDo it.\n\n## Deliverables\n1. `e.txt`: it\n\n## Acceptance criteria\n\
                  1. it works\n\n## Acceptance command\n```sh\ntest -s e.txt\n```\n\n## Script\n```sh\n\
                  until ls ../../t/go >/dev/null 2>&1; do sleep 0.02; done\n\
                  echo work >e.txt\n```\n";
    night.write("stage-cards/05-e.md", script);
    night.ok(&["add-stage", "stage-cards/05-e.md"]);
    night.tick_until_that("05-e", |stage| stage["phase"] == "working");
    let held = night.stage("04-d");
    assert_eq!((&held["status"], &held["attempt"]), (&json!("pending"), &json!(0)));
    assert_eq!(night.budget()["halted"], false, "something else goes on");
    let status = night.status();
    let next = status["waits"].as_array().expect("waits").iter().find(|stage| stage["stage"] == "04-d").expect("held");
    let words = next["next"].as_str().expect("words");
    assert!(words.starts_with("not begun: a whole attempt usually takes 500,000 tokens"), "{words}");
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("05-e", "completed");
    night.wait("the halt", || {
        night.tick();
        night.budget()["halted"] == true
    });
    let budget = night.budget();
    assert_eq!(budget["halt_reason"], "token-cap", "{budget:#}");
    let detail = budget["halt_reasons"][0]["detail"].as_str().expect("detail");
    assert!(detail.starts_with("04-d and nothing else is left to start") && detail.contains("1,950,000"), "{detail}");
    assert_eq!(night.stage("04-d")["attempt"], 0);
    assert_eq!(budget["tokens_spent"], 1_500_000, "nothing was burnt on it");
}

#[test]
fn a_stage_that_is_held_for_its_cap_goes_on_by_itself_in_the_next_window() {
    let more = "defaults: {worker_tokens: 420000, worker_cost: 9, verifier_tokens: 150000, verifier_cost: 9}\n\
                caps: {tokens: 1950000, window: utc-day}";
    let night = night(&works(400_000, 1.0), &judges(100_000, 0.5), more);
    for stage in ["01-a", "02-b", "03-c"] {
        queue(&night, stage, METERED, "");
        night.tick_until(stage, "completed");
    }
    queue(&night, "04-d", METERED, "");
    night.tick();
    let budget = night.budget();
    assert_eq!((&budget["halted"], &budget["halt_reason"]), (&json!(true), &json!("token-cap")), "{budget:#}");
    // Spend of this quarter of an hour stays in it.
    let tomorrow = || {
        let mut tick = night.command(&["tick", "--repo", &night.repo.display().to_string()]);
        assert!(tick.env("AUTOMETTA_CLOCK_OFFSET", "90000").status().expect("tick").success());
    };
    tomorrow();
    let budget = night.budget();
    assert_eq!((&budget["halted"], &budget["tokens_spent"]), (&json!(false), &json!(0)), "{budget:#}");
    assert_eq!(budget["breaches"].as_array().map(Vec::len), Some(1), "{budget:#}");
    tomorrow();
    assert_eq!(night.stage("04-d")["attempt"], 1, "it has begun");
}
