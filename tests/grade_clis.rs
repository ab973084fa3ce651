//! `grade --planted` with the real Claude Code and the real Codex as seats, offline: a scripted model answers them.
//!
//! Like `tests/real_clis.rs` these install the CLIs on the first run, fail where that is impossible, and are never skipped.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a test fails by panicking, and looks for itself")]

mod support;

use std::fs;
use std::path::Path;

use autometta::core::card::Card;
use autometta::core::grade::{Answer, ShownBy};
use autometta::files::document;
use serde_json::{Value, json};
use support::clis::{CLAUDE, GPT, equipped};
use support::model_server::{ModelServer, Scenario, Step};
use support::night::Night;

/// A defect that the card's command shows, one that only reading shows, and a control.
const STAGES: [(&str, u64); 3] = [("01-page-count", 3), ("23-mail-settings", 2), ("39-changelog-entry", 2)];

fn night(server: &ModelServer) -> Night {
    equipped(server, "", "")
}

fn verdict(stage: &str, criteria: u64, overall: &str, evidence: &str) -> Value {
    let criteria: Vec<_> =
        (1..=criteria).map(|id| json!({"id": id, "name": "n", "verdict": overall, "evidence": evidence})).collect();
    json!({"stage_id": stage, "overall": overall, "headline": "Look at it", "criteria": criteria,
           "additional_findings": ""})
}

/// A model that fails the first stage, passes the second (and so misses its defect), and gives prose for the third.
fn server() -> ModelServer {
    let judge = |at: usize| Scenario::when(&format!("# Judge stage {}: ", STAGES[at].0)).then(Step::run("ls"));
    let answer = |at: usize, overall: &str, evidence: &str| {
        judge(at).then(Step::answer(verdict(STAGES[at].0, STAGES[at].1, overall, evidence)))
    };
    ModelServer::start(vec![
        answer(0, "FAIL", "pages.py:8 counts a full last page twice"),
        answer(1, "PASS", "mail.py:9 reads the environment"),
        judge(2).then(Step::say("It looks good to me.")),
    ])
}

#[test]
fn the_real_clis_sit_on_the_bench_and_their_figures_are_what_they_said() {
    let server = server();
    let night = night(&server);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/planted").display().to_string();
    let mut words = vec!["grade", "--planted", &corpus, "--seat", CLAUDE, "--seat", GPT, "--yes", "--json"];
    words.extend(STAGES.iter().flat_map(|(stage, _)| ["--only", *stage]));
    let found: Value = serde_json::from_str(&night.ok(&words)).expect("json");
    let mut tokens = 0;
    for (at, name) in [CLAUDE, GPT].iter().enumerate() {
        let seat = &found["seats"][at];
        assert_eq!(seat["seat"], *name);
        assert_eq!(
            seat["defects"],
            json!({"pass": 1, "fail": 1, "blocked": 0, "no_verdict": 0, "not_asked": 0}),
            "{found:#}"
        );
        assert_eq!(seat["controls"]["no_verdict"], 1, "prose is no verdict: {found:#}");
        let recall = ["recall", "recall_by_command", "recall_by_reading"].map(|key| seat[key].as_f64());
        assert_eq!(recall, [Some(0.5), Some(1.0), Some(0.0)]);
        assert_eq!(seat["located"], 1, "the evidence names the file at fault");
        assert!(seat["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0), "{seat:#}");
        tokens += seat["tokens"].as_u64().expect("tokens");
    }
    let reported: u64 = server.answered().iter().map(|one| one.usage.total()).sum();
    assert_eq!(tokens, reported, "every token is counted once");
    let bodies: Vec<String> = server.answered().iter().map(|one| one.body.to_string()).collect();
    assert!(bodies.iter().all(|body| !body.contains("shown_by") && !body.contains("secret-in-diff")));
    // What the gates have refused, a seat is to find out by itself.
    let about = |words: &str| bodies.iter().find(|body| body.contains(words)).cloned().expect("a request");
    assert!(about("# Judge stage 01-page-count").contains("They were not run before you were asked"));
    assert!(about("# Judge stage 23-mail-settings").contains("(acceptance)"));
}

#[test]
fn the_whole_corpus_goes_by_a_real_cli_whose_model_only_reads() {
    // This model finds what only reading shows, and waves everything else through: the reverse of the check family.
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/planted");
    let scenarios = fs::read_dir(&corpus).expect("corpus").flatten().map(|entry| {
        let stage = entry.file_name().to_string_lossy().into_owned();
        let card = fs::read_to_string(entry.path().join("card.md")).expect("card");
        let card = Card::parse(stage.parse().expect("id"), &card).expect("a card without faults").card;
        let answer: Answer =
            document::from_yaml(fs::read(entry.path().join("answer.yaml")).expect("answer")).expect("an answer");
        let overall = if answer.shown_by == Some(ShownBy::Reading) { "FAIL" } else { "PASS" };
        // A PASS counts only with evidence that can be looked up in the candidate.
        let evidence = format!("{}:1 is where I read it", card.deliverables[0].path);
        let criteria = u64::try_from(card.criteria.len()).expect("few");
        Scenario::when(&format!("# Judge stage {stage}: "))
            .then(Step::answer(verdict(&stage, criteria, overall, &evidence)))
    });
    let server = ModelServer::start(scenarios.collect());
    let night = night(&server);
    let corpus = corpus.display().to_string();
    let words = ["grade", "--planted", &corpus, "--seat", GPT, "--yes", "--parallel", "3", "--json"];
    let found: Value = serde_json::from_str(&night.ok(&words)).expect("json");
    let seat = &found["seats"][0];
    let figures = ["recall_by_command", "recall_by_reading", "false_alarms"].map(|key| seat[key].as_f64());
    assert_eq!(figures, [Some(0.0), Some(1.0), Some(0.0)], "{found:#}");
    let silent = [&seat["defects"]["no_verdict"], &seat["controls"]["no_verdict"]];
    assert_eq!(silent, [&json!(0), &json!(0)], "{found:#}");
}

#[test]
fn a_seat_whose_provider_refuses_is_not_asked_again() {
    let body = json!({"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}});
    let server = ModelServer::start(vec![Scenario::when("# Judge stage").then(Step::refuse(401, body))]);
    let night = night(&server);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/planted").display().to_string();
    let mut words = vec!["grade", "--planted", &corpus, "--seat", GPT, "--parallel", "1", "--yes", "--json"];
    words.extend(STAGES.iter().flat_map(|(stage, _)| ["--only", *stage]));
    let found: Value = serde_json::from_str(&night.ok(&words)).expect("json");
    let said: Vec<_> = found["judgements"].as_array().expect("list").iter().map(|one| one["said"].clone()).collect();
    assert_eq!(said, ["no-verdict", "not-asked", "not-asked"], "{found:#}");
    assert!(found["judgements"][1]["words"].as_str().is_some_and(|words| words.contains("Incorrect API key")));
    assert_eq!(found["seats"][0]["recall"], json!(0.0), "an answer that never came is no catch");
}
