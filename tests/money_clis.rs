//! Money and weather with the real Claude Code and the real Codex, offline: what a refusal, a storm, a broken connection
//! and a cap come to, in pauses, charges and attempts, and what becomes of the stage once the weather has cleared.
//!
//! `tests/real_clis.rs` has more of it: a limit without a reset, a killed agent, a provider that hangs in its work.

#![allow(clippy::disallowed_macros, reason = "tests say the figures that they are about")]
#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a test fails by panicking, and looks for itself")]

mod support;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use support::clis::{
    CLAUDE, GPT, approves, asked_by, await_status, begin, hand_in, night_with, outcomes, pass, queue, record, to_work,
    usage, works, write_work,
};
use support::model_server::{Api, ModelServer, Scenario, Step};
use support::night::Night;

/// Weather that lasts until the server clears up.
const LASTING: usize = usize::MAX;

/// A verifier that calls no model.
const CHECK: &str = "Check <check@local>";

fn anthropic_error(status: u16, kind: &str, message: &str) -> Step {
    Step::refuse(status, json!({"type": "error", "error": {"type": kind, "message": message}}))
}

/// A limit of a subscription of Claude, as its service refuses it.
fn claude_limit(claim: &str, reset: DateTime<Utc>) -> Step {
    anthropic_error(429, "rate_limit_error", "This request would exceed your account's rate limit.")
        .header("x-should-retry", "false")
        .header("anthropic-ratelimit-unified-status", "rejected")
        .header("anthropic-ratelimit-unified-representative-claim", claim)
        .header("anthropic-ratelimit-unified-reset", &reset.timestamp().to_string())
}

fn overloaded(worker: &str) -> Step {
    if worker == CLAUDE {
        return anthropic_error(529, "overloaded_error", "Overloaded");
    }
    Step::refuse(529, json!({"error": {"type": "overloaded_error", "message": "Overloaded"}}))
}

/// Claude by a subscription: the reset of a limit is told to nobody else.
fn subscribed(server: &ModelServer) -> Night {
    let mut night = night_with(server, "", "");
    night.set("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-test");
    let manifest = night.read("repo/.autometta.yaml").replacen("auth: api", "auth: subscription", 1);
    night.write(".autometta.yaml", &manifest.replace("      ANTHROPIC_API_KEY: sk-ant-test\n", ""));
    night
}

/// The sum of what the server has reported.
fn reported(server: &ModelServer) -> u64 {
    server.reported(Api::Anthropic).total() + server.reported(Api::OpenAi).total()
}

fn first_pause(night: &Night) -> Value {
    night.wait("somebody is paused", || night.budget()["pauses"].as_array().is_some_and(|pauses| !pauses.is_empty()));
    night.budget()["pauses"][0].clone()
}

fn time(value: &Value) -> DateTime<Utc> {
    serde_json::from_value(value.clone()).expect("a time")
}

/// The stage waits, and nothing is held against it.
fn assert_put_off(night: &Night, stage: &str, code: &str) -> Value {
    let found = night.stage(stage);
    let figures = (&found["status"], &found["attempt"], &found["failures"], &found["reason"]["code"]);
    assert_eq!(figures, (&json!("pending"), &json!(1), &json!(0), &json!(code)), "{found:#}");
    found
}

/// The weather clears, and the time that the stage waits for comes: it lands at its first attempt, by supervisors' pulses.
fn lands_once_it_clears(night: &mut Night, server: &ModelServer, stage: &str, at: DateTime<Utc>) -> Value {
    night.wait("somebody waits for that time", || {
        let wake = std::fs::read_to_string(night.repo.join("state/wake")).unwrap_or_default();
        DateTime::parse_from_rfc3339(&wake).is_ok_and(|wake| (wake.to_utc() - at).abs() < TimeDelta::seconds(2))
    });
    server.clear_up();
    night.set("AUTOMETTA_CLOCK_OFFSET", &((at - Utc::now()).num_seconds() + 2).to_string());
    // The tick of a run that has just ended may hold the lock for a moment.
    night.tick_until_that(stage, |found| found["status"] != "pending");
    let landed = await_status(night, stage, "completed");
    assert_eq!((&landed["attempt"], &landed["failures"]), (&json!(1), &json!(0)), "{landed:#}");
    let budget = night.budget();
    assert_eq!((&budget["tokens_spent"], &budget["tokens_reserved"]), (&json!(reported(server)), &json!(0)));
    landed
}

#[test]
fn a_limit_of_claude_is_waited_out_while_another_family_lands() {
    let (first, second) = ("01-limited", "02-other");
    let reset = Utc::now() + TimeDelta::minutes(10);
    let server = ModelServer::start(vec![
        works(first).weather(0, LASTING, claude_limit("five_hour", reset)),
        works(second),
        approves(first),
    ]);
    let mut night = subscribed(&server);
    queue(&night, first, CLAUDE, GPT, "", "");
    queue(&night, second, GPT, CHECK, "", "");
    begin(&night);
    await_status(&night, second, "completed");
    let pause = first_pause(&night);
    assert_eq!((&pause["family"], time(&pause["until"]).timestamp()), (&json!("claude"), reset.timestamp()));
    assert_put_off(&night, first, "limit");
    assert_eq!(record(&night, "01-limited.1.worker")["provider"]["refusal"]["class"], "limit");
    lands_once_it_clears(&mut night, &server, first, time(&pause["until"]));
}

#[test]
fn a_limit_of_codex_is_waited_out_while_another_family_lands() {
    let (first, second) = ("01-limited", "02-other");
    let reset = Utc::now() + TimeDelta::minutes(10);
    let dated = json!({"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached",
                                 "plan_type": "pro", "resets_at": reset.timestamp()}});
    let bare = json!({"error": {"type": "rate_limit_exceeded", "message": "Rate limit reached"}});
    for (body, stated) in [(dated, true), (bare, false)] {
        let server = ModelServer::start(vec![
            works(first).weather(0, LASTING, Step::refuse(429, body)),
            works(second),
            approves(first),
        ]);
        let mut night = night_with(&server, "", "");
        queue(&night, first, GPT, CLAUDE, "", "");
        queue(&night, second, CLAUDE, CHECK, "", "");
        begin(&night);
        await_status(&night, second, "completed");
        let pause = first_pause(&night);
        let until = time(&pause["until"]);
        assert_eq!(pause["family"], "codex");
        if stated {
            // Its words name the minute only.
            assert!((until - reset).abs() <= TimeDelta::minutes(1), "{pause:#}");
        } else {
            let ended = time(&record(&night, "01-limited.1.worker")["ended_at"]);
            let late = until - ended - TimeDelta::hours(1);
            assert!(late >= TimeDelta::seconds(-1) && late < TimeDelta::minutes(1), "{pause:#}");
        }
        assert_put_off(&night, first, "limit");
        lands_once_it_clears(&mut night, &server, first, until);
    }
}

#[test]
fn a_storm_that_outlasts_the_patience_puts_the_stage_off_and_charges_nothing() {
    let stage = "01-work";
    for (worker, verifier) in [(CLAUDE, GPT), (GPT, CLAUDE)] {
        let server = ModelServer::start(vec![works(stage).weather(0, LASTING, overloaded(worker)), approves(stage)]);
        let mut night = night_with(&server, "", "retry: {patience: 2s}\n");
        queue(&night, stage, worker, verifier, "", "");
        begin(&night);
        night.wait("the stage is put off", || night.stage(stage)["history"][0].is_object());
        let put_off = assert_put_off(&night, stage, "overloaded");
        let record = record(&night, "01-work.1.worker");
        assert_eq!(record["provider"]["refusal"]["class"], "overloaded", "{record:#}");
        assert_eq!(record["ended_by"], "refused", "it is stopped in its retries");
        assert_eq!(night.budget()["tokens_spent"], 0);
        let at = time(&put_off["not_before"]);
        let wait = (at - time(&record["ended_at"])).num_seconds();
        assert!((47..=100).contains(&wait), "a minute, a fifth earlier or later: {wait} s");
        let tries = server.answered().len();
        begin(&night);
        assert_eq!(server.answered().len(), tries, "it is not asked before");
        lands_once_it_clears(&mut night, &server, stage, at);
    }
}

#[test]
fn a_storm_shorter_than_the_patience_is_left_to_the_cli() {
    let stage = "01-work";
    for (worker, verifier) in [(CLAUDE, GPT), (GPT, CLAUDE)] {
        let server = ModelServer::start(vec![works(stage).weather(1, 2, overloaded(worker)), approves(stage)]);
        let night = night_with(&server, "", "retry: {patience: 1m}\n");
        queue(&night, stage, worker, verifier, "", "");
        begin(&night);
        let landed = await_status(&night, stage, "completed");
        let runs: Vec<_> = outcomes(&landed).into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!((runs, &landed["attempt"]), (vec!["done".to_owned(), "done".to_owned()], &json!(1)));
        assert_eq!(asked_by(&server, "01-work.1.worker").len(), 5, "three turns, and two that were refused");
        assert_eq!(night.budget()["tokens_spent"], json!(reported(&server)));
    }
}

#[test]
fn a_401_halts_once_nothing_else_starts_and_the_stage_lands_after_resume() {
    let (first, second) = ("01-refused", "02-other");
    for (worker, other) in [(CLAUDE, GPT), (GPT, CLAUDE)] {
        let refused = if worker == CLAUDE {
            anthropic_error(401, "authentication_error", "invalid x-api-key")
        } else {
            Step::refuse(401, json!({"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}))
        };
        let server =
            ModelServer::start(vec![works(first).weather(0, LASTING, refused), approves(first), works(second)]);
        let night = night_with(&server, "", "");
        queue(&night, first, worker, other, "", "");
        queue(&night, second, other, CHECK, "", "");
        begin(&night);
        night.wait("the repository is halted", || night.budget()["halted"] == true);
        let halts = night.budget()["halt_reasons"].clone();
        assert_eq!(halts.as_array().map(Vec::len), Some(1), "{halts:#}");
        assert!(halts[0]["detail"].as_str().is_some_and(|line| line.contains("401")), "{halts:#}");
        assert_put_off(&night, first, "dispatch-configuration-fault");
        // Until then, the tick of the run's own supervisor may hold the lock.
        night.wait("a tick finds it halted", || night.tick().status.code() == Some(4));
        let untouched = night.stage(second);
        assert_eq!((&untouched["status"], &untouched["history"]), (&json!("pending"), &Value::Null), "{untouched:#}");
        assert_eq!(night.budget()["tokens_spent"], 0);
        assert!(server.answered().len() <= 3, "it is not tried to the end: {}", server.answered().len());
        server.clear_up();
        night.ok(&["resume"]);
        night.tick_until_that(first, |found| found["status"] != "pending");
        for stage in [first, second] {
            assert_eq!(await_status(&night, stage, "completed")["attempt"], 1);
        }
        assert_eq!(night.budget()["tokens_spent"], json!(reported(&server)));
    }
}

#[test]
fn a_hang_without_one_byte_ends_at_the_wall_clock_cap_and_is_charged_its_reservation() {
    let stages = [("01-claude", CLAUDE, GPT), ("02-codex", GPT, CLAUDE)];
    let hang = Step::hang(Duration::from_secs(600));
    let server = ModelServer::start(
        stages.iter().map(|(stage, ..)| Scenario::when(&to_work(stage)).then(hang.clone())).collect(),
    );
    let night = night_with(&server, "", "max_parallel: 2\nretry: {work: 0}\n");
    for (stage, worker, verifier) in stages {
        let budget = "## Budget\n- **Worker wall-clock:** 9s\n- **Worker tokens:** 40,000\n";
        queue(&night, stage, worker, verifier, "", budget);
    }
    begin(&night);
    for (stage, ..) in stages {
        let stalled = await_status(&night, stage, "stalled");
        let run = format!("{stage}.1.worker");
        assert_eq!(
            (&stalled["reason"]["code"], &record(&night, &run)["ended_by"]),
            (&json!("timed-out"), &json!("timeout"))
        );
        let past = &stalled["history"][0];
        assert_eq!((&past["tokens"], &past["usage_unknown"]), (&json!(40_000), &json!(true)), "{past:#}");
    }
    assert_eq!(night.budget()["tokens_spent"], 80_000);
}

/// Claude asks again without a stream, and Codex as before. What the broken answer had cost, Claude Code tells nobody: no
/// record of its output and not its result counts it, and the charge is what it says.
#[test]
fn a_dropped_stream_is_asked_for_again_by_the_cli_and_every_token_that_it_tells_is_charged() {
    let stage = "01-work";
    for (worker, verifier) in [(CLAUDE, GPT), (GPT, CLAUDE)] {
        let half = Step::say("I was about to").using(usage(900, 50, 0, 70)).dropped();
        let server = ModelServer::start(vec![works(stage).weather(1, 1, half), approves(stage)]);
        let night = night_with(&server, "", "");
        queue(&night, stage, worker, verifier, "", "");
        begin(&night);
        let landed = await_status(&night, stage, "completed");
        let asked = asked_by(&server, "01-work.1.worker");
        let sent: u64 = asked.iter().map(|one| one.usage.total()).sum();
        let lost = if worker == CLAUDE { 951 } else { 0 };
        let past = &landed["history"][0];
        println!("{worker}: {} requests, {sent} tokens sent, {lost} untold, {} charged", asked.len(), past["tokens"]);
        assert_eq!((asked.len(), &landed["attempt"], &past["outcome"]), (4, &json!(1), &json!("done")));
        assert_eq!(past["tokens"], json!(sent - lost), "{past:#}");
    }
}

#[test]
fn caps_on_tokens_and_cost_stop_both_clis_within_one_turn() {
    let turn = usage(20_000, 9_900, 0, 100);
    // 20,000 × $5 + 9,900 × $0.5 + 100 × $30, and of Claude's model at $2, $0.2 and $10, a million.
    let (codex_turn, claude_turn) = (0.107_95, 0.042_98);
    let cases = [
        ("01-claude-tokens", CLAUDE, GPT, "tokens:** 50,000", "token_cap"),
        ("02-codex-tokens", GPT, CLAUDE, "tokens:** 50,000", "token_cap"),
        ("03-codex-cost", GPT, CLAUDE, "cost:** $0.25", "cost_cap"),
        ("04-claude-cost", CLAUDE, GPT, "cost:** $0.10", "cost_cap"),
    ];
    let endless = |stage: &str| {
        let step = write_work(stage).using(turn).after(Duration::from_secs(1));
        (0..30).fold(Scenario::when(&to_work(stage)), |scenario, _| scenario.then(step.clone()))
    };
    let server = ModelServer::start(cases.iter().map(|(stage, ..)| endless(stage)).collect());
    let night = night_with(&server, "", "max_parallel: 4\nretry: {work: 0}\n");
    for (stage, worker, verifier, cap, _) in cases {
        queue(&night, stage, worker, verifier, "", &format!("## Budget\n- **Worker {cap}\n"));
    }
    begin(&night);
    for (stage, worker, _, cap, by) in cases {
        await_status(&night, stage, "stalled");
        let record = record(&night, &format!("{stage}.1.worker"));
        let tokens = record["usage"]["total_tokens"].as_u64().expect("tokens");
        let cost = record["usage"]["cost_usd"].as_f64().expect("cost");
        println!("{stage}: cap {cap}, {} by {tokens} tokens and ${cost:.4}", record["ended_by"]);
        if by == "token_cap" {
            assert!((50_000..50_000 + turn.total()).contains(&tokens), "{tokens}");
        } else {
            let (cap, price) = if worker == GPT { (0.25, codex_turn) } else { (0.10, claude_turn) };
            assert!(cost >= cap && cost <= cap + price * 1.01, "{cost}");
        }
        assert_eq!(record["ended_by"], by, "{record:#}");
        assert_eq!(night.stage(stage)["history"].as_array().map(Vec::len), Some(1), "it is not tried again");
    }
}

#[test]
fn a_limit_of_one_model_of_claude_pauses_that_model_only() {
    let (first, second) = ("01-limited", "02-other");
    let reset = Utc::now() + TimeDelta::minutes(10);
    let server = ModelServer::start(vec![
        works(first).weather(0, LASTING, claude_limit("seven_day_opus", reset)),
        works(second),
        approves(first),
    ]);
    let mut night = subscribed(&server);
    queue(&night, first, "Claude Opus 4.8 <claude-opus-4-8@local>", GPT, "", "");
    queue(&night, second, CLAUDE, CHECK, "", "");
    begin(&night);
    await_status(&night, second, "completed");
    let pause = first_pause(&night);
    assert_eq!((&pause["family"], &pause["model"]), (&json!("claude"), &json!("claude-opus-4-8")), "{pause:#}");
    assert_eq!(night.budget()["pauses"].as_array().map(Vec::len), Some(1));
    assert_put_off(&night, first, "limit");
    lands_once_it_clears(&mut night, &server, first, time(&pause["until"]));
}

#[test]
fn usage_that_differs_by_turn_is_told_to_the_token_everywhere_and_priced_by_the_rates_of_the_run() {
    let stages = [("01-claude", CLAUDE), ("02-codex", GPT)];
    let works = |stage: &str| {
        Scenario::when(&to_work(stage))
            .then(write_work(stage).using(usage(1501, 0, 0, 61)))
            .then(hand_in(&pass(stage)).using(usage(13, 2290, 0, 47)))
            .then(Step::say("Done.").using(usage(5, 3311, 0, 3)))
    };
    let server = ModelServer::start(stages.iter().map(|(stage, _)| works(stage)).collect());
    let night = night_with(&server, "", "");
    for (stage, worker) in stages {
        queue(&night, stage, worker, CHECK, "", "");
    }
    begin(&night);
    let expected = usage(1519, 5601, 0, 111);
    let (mut tokens, mut cost) = (0, 0.0);
    for (stage, worker) in stages {
        let landed = await_status(&night, stage, "completed");
        let run = format!("{stage}.1.worker");
        let told = &record(&night, &run)["usage"];
        let counts = ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens"]
            .map(|key| told[key].as_u64());
        assert_eq!(counts, [expected.input, expected.cached, expected.cache_write, expected.output].map(Some), "{run}");
        assert_eq!(landed["history"][0]["tokens"], json!(expected.total()), "{landed:#}");
        let paid = told["cost_usd"].as_f64().expect("cost");
        assert_eq!(told["cost_source"], if worker == GPT { "rates" } else { "cli" });
        if worker == GPT {
            let order: Value =
                serde_json::from_str(&night.read(format!("repo/state/runs/{run}/run.json"))).expect("json");
            let rates = ["input", "cached_input", "output"].map(|key| order["rates"][key].as_f64().expect("a rate"));
            assert!((paid - (1519.0 * rates[0] + 5601.0 * rates[1] + 111.0 * rates[2]) / 1e6).abs() < 2e-6, "{paid}");
        }
        tokens += expected.total();
        cost += paid;
    }
    let budget = night.budget();
    assert_eq!(budget["tokens_spent"], json!(tokens));
    assert!((budget["cost_spent_usd"].as_f64().expect("cost") - cost).abs() < 2e-6, "{budget:#}");
}
