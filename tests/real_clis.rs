//! Whole stages with the real Claude Code and the real Codex, offline: a scripted model answers them on loopback.
//!
//! The CLIs are installed from the npm registry on the first run, into `agents/` beside cargo's other output. Where that
//! is impossible these tests fail and say why; they are never skipped.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a test fails by panicking, and looks for itself")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::clis::{
    CLAUDE, GPT, approves, asked_by, await_status, begin, hand_in, installer, night_with, outcomes, pairs, pass, queue,
    record, run_of, to_judge, to_work, usage, verdict, works, write_work,
};
use support::model_server::{Api, ModelServer, Scenario, Step, StepUsage};
use support::night::{Night, text};

fn night(server: &ModelServer) -> Night {
    night_with(server, "", "")
}

/// Everything in the operator's checkout but git's own folder and the state, with its bytes and the time of its last
/// change.
fn checkout(night: &Night) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![night.repo.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder").flatten() {
            let path = entry.path();
            let kind = entry.metadata().expect("metadata");
            if path == night.repo.join(".git") || path == night.repo.join("state") {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).expect("file");
                found.insert(path, (bytes, kind.mtime(), kind.mtime_nsec()));
            }
        }
    }
    found
}

#[test]
fn scenario_27_two_families_judge_each_other_and_every_token_is_counted_once() {
    let (first, second) = ("01-greeting", "02-farewell");
    let outside = tempfile::tempdir_in("/var/tmp").expect("dir");
    let escape = format!("echo out >{}/of-the-sandbox; true", outside.path().display());
    let server = ModelServer::start(vec![
        Scenario::when(&to_work(first))
            .then(write_work(first).using(usage(1500, 700, 90, 61)))
            .then(hand_in(&pass(first)).using(usage(13, 2290, 17, 47)))
            .then(Step::say("Done.").using(usage(5, 2311, 0, 3))),
        Scenario::when(&to_judge(first))
            .then(Step::run(&format!("cat {first}.txt")).using(usage(3000, 0, 0, 29)))
            .then(Step::answer(verdict(first, "PASS", "PASS")).using(usage(211, 2816, 0, 101))),
        Scenario::when(&to_work(second))
            .then(write_work(second).using(usage(4000, 128, 0, 71)))
            .then(Step::run(&escape).using(usage(301, 4000, 0, 17)))
            .then(hand_in(&pass(second)).using(usage(100, 4096, 0, 53)))
            .then(Step::say("Done.").using(usage(19, 4224, 0, 7))),
        Scenario::when(&to_judge(second))
            .then(Step::run(&format!("cat {second}.txt")).using(usage(900, 11, 1200, 31)))
            .then(Step::answer(verdict(second, "PASS", "PASS")).using(usage(23, 2111, 5, 97))),
    ]);
    let night = night(&server);
    queue(&night, first, CLAUDE, GPT, "", "");
    queue(&night, second, GPT, CLAUDE, &format!("- **Depends on:** {first}\n"), "");
    night.write("README.md", "# Repo\n\nthe operator is writing this\n");
    let base = night.git(&["rev-parse", "HEAD"]);
    let before = checkout(&night);
    begin(&night);
    night.wait("both stages land by the supervisors' own pulses", || {
        let mut now = checkout(&night);
        now.retain(|path, _| before.contains_key(path));
        assert!(now == before, "the operator's files changed while stages ran");
        let status = night.status();
        status["stages"].as_array().is_some_and(|stages| stages.iter().all(|stage| stage["status"] == "completed"))
    });
    let mut landed: Vec<_> = checkout(&night).into_keys().collect();
    landed.retain(|path| !before.contains_key(path));
    assert_eq!(landed, [first, second].map(|stage| night.repo.join(format!("{stage}.txt"))));

    let escaped = fs::read_dir(outside.path()).expect("dir").count();
    assert_eq!(escaped, 0, "Codex works under its own sandbox");
    assert_eq!(night.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(night.git(&["rev-list", "--count", &format!("{base}..main")]), "2");
    assert_landed(&night, "main~1", first, CLAUDE, GPT);
    assert_landed(&night, "main", second, GPT, CLAUDE);
    let status = night.git(&["status", "--short", "--untracked-files=no"]);
    assert_eq!(status.trim(), "M README.md", "the index holds what landed and nothing else");

    let counted = server.reported(Api::Anthropic).total() + server.reported(Api::OpenAi).total();
    let budget = night.budget();
    assert_eq!(
        (&budget["tokens_spent"], &budget["lifetime_tokens_spent"], &budget["tokens_reserved"]),
        (&json!(counted), &json!(counted), &json!(0)),
        "{:#?}",
        server.answered()
    );
    let mut cost = 0.0;
    for (run, api) in [
        (format!("{first}.1.worker"), Api::Anthropic),
        (format!("{first}.1.verifier"), Api::OpenAi),
        (format!("{second}.1.worker"), Api::OpenAi),
        (format!("{second}.1.verifier"), Api::Anthropic),
    ] {
        let sum = assert_usage(&night, &server, &run, api);
        cost += match api {
            Api::Anthropic => claude_cost(&night, &run),
            // Codex names no price: these are the list's, a million.
            Api::OpenAi => {
                let dollars =
                    |count: u64, price: f64| f64::from(u32::try_from(count).expect("few tokens")) * price / 1e6;
                dollars(sum.input, 5.0) + dollars(sum.cached, 0.5) + dollars(sum.output, 30.0)
            }
        };
    }
    let spent = budget["cost_spent_usd"].as_f64().expect("cost");
    assert!((spent - cost).abs() < 1e-5, "{spent} instead of {cost}");
}

/// Looks at a landing commit of one stage.
fn assert_landed(night: &Night, commit: &str, stage: &str, worker: &str, verifier: &str) {
    let show = |format: &str| night.git(&["show", "-s", &format!("--format={format}"), commit]);
    let trailer = |key: &str| show(&format!("%(trailers:key={key},valueonly)")).trim().to_owned();
    assert_eq!(show("%an <%ae>"), worker);
    assert_eq!(show("%cn <%ce>"), "Operator <operator@local>");
    assert_eq!(show("%s"), format!("{stage}: Write {stage}.txt"));
    assert_eq!(trailer("Co-Authored-By"), verifier);
    assert_eq!(trailer("Autometta-Stage"), stage);
    assert_eq!(trailer("Autometta-Run"), format!("{stage}.1.worker"));
    for (key, who, role) in [("Worker", worker, "worker"), ("Verifier", verifier, "verifier")] {
        let order: Value =
            serde_json::from_str(&night.read(format!("repo/state/runs/{stage}.1.{role}/run.json"))).expect("json");
        let (model, version) = (order["model"].as_str().expect("a model"), order["cli_version"].as_str());
        assert_eq!(trailer(&format!("Autometta-{key}")), format!("{who} ({model})"));
        assert!(version.is_some_and(|version| version.contains(|c: char| c.is_ascii_digit())), "{order:#}");
    }
    assert_eq!(trailer("Autometta-Tree"), show("%T"));
    assert_eq!(night.git(&["show", &format!("{commit}:{stage}.txt")]), format!("work by {stage}.1.worker"));
    assert_eq!(night.read(format!("repo/{stage}.txt")), format!("work by {stage}.1.worker\n"));
}

/// Holds what a run's record says against what the server reported to it, and gives that.
fn assert_usage(night: &Night, server: &ModelServer, run: &str, api: Api) -> StepUsage {
    let record = record(night, run);
    let asked = asked_by(server, run);
    assert!(asked.iter().all(|one| one.api == api), "{run}");
    let sum = asked.iter().fold(StepUsage::NONE, |sum, one| {
        usage(
            sum.input + one.usage.input,
            sum.cached + one.usage.cached,
            sum.cache_write + one.usage.cache_write,
            sum.output + one.usage.output,
        )
    });
    let counted = |name: &str| record["usage"][name].as_u64().expect("count");
    let known = usage(
        counted("input_tokens"),
        counted("cached_input_tokens"),
        counted("cache_write_tokens"),
        counted("output_tokens"),
    );
    assert_eq!(known, sum, "{run}");
    assert!(sum.cached > 0 && sum.input > 0, "{run}");
    sum
}

/// What Claude Code itself says that a run cost.
fn claude_cost(night: &Night, run: &str) -> f64 {
    let output = night.read(format!("repo/state/runs/{run}/stdout.log"));
    let records = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let result = records.filter(|record| record["type"] == "result").collect::<Vec<_>>().pop().expect("result");
    let cost = result["total_cost_usd"].as_f64().expect("cost");
    assert!(cost > 0.0, "{result:#}");
    assert_eq!(record(night, run)["usage"]["cost_usd"].as_f64(), Some((cost * 1e6).round() / 1e6), "{run}");
    cost
}

#[test]
fn scenario_14_prose_and_a_wrong_shape_are_no_verdict_of_codex_and_its_seat_is_asked_again() {
    let stage = "01-work";
    let server = ModelServer::start(vec![
        works(stage),
        Scenario::when(&run_of("01-work.1.verifier.r2")).then(Step::answer(verdict(stage, "PASS", "PASS"))),
        Scenario::when(&run_of("01-work.1.verifier.r1"))
            .then(Step::answer(json!({"stage_id": stage, "overall": "PASS", "confidence": 1}))),
        Scenario::when(&run_of("01-work.1.verifier")).then(Step::say("I looked at everything and it is a PASS.")),
    ]);
    let night = night(&server);
    queue(&night, stage, CLAUDE, GPT, "", "");
    begin(&night);
    let landed = await_status(&night, stage, "completed");
    let expected = [
        ("01-work.1.worker", "done"),
        ("01-work.1.verifier", "no_verdict"),
        ("01-work.1.verifier.r1", "no_verdict"),
        ("01-work.1.verifier.r2", "done"),
    ];
    assert_eq!((outcomes(&landed), &landed["attempt"]), (pairs(&expected), &json!(1)));
    let counted = server.reported(Api::Anthropic).total() + server.reported(Api::OpenAi).total();
    assert_eq!(night.budget()["tokens_spent"], json!(counted), "answers that are no verdict were paid for, too");
}

/// Each bad word of a codex verifier that is asked only once: nothing lands, for a reason of its own, at the price of
/// what was asked.
#[test]
fn scenario_14_no_bad_word_of_codex_lands_anything_once_its_tries_are_used_up() {
    let stage = "01-work";
    for (name, word, (status, code, outcome)) in [
        ("prose", Step::say("PASS, every criterion: PASS."), ("stalled", "verdict-missing", "no_verdict")),
        (
            "another shape",
            Step::answer(json!({"stage_id": stage, "overall": "PASS", "confidence": 1})),
            ("stalled", "verdict-missing", "no_verdict"),
        ),
        (
            "another stage",
            Step::answer(verdict("02-more", "PASS", "PASS")),
            ("stalled", "verdict-missing", "no_verdict"),
        ),
        (
            "a PASS with a failed criterion",
            Step::answer(verdict(stage, "PASS", "FAIL")),
            ("verifier_failed", "verdict-fail", "done"),
        ),
        ("killed", Step::hang(Duration::from_secs(600)), ("stalled", "verdict-missing", "crashed")),
    ] {
        let server = ModelServer::start(vec![works(stage), Scenario::when(&to_judge(stage)).then(word)]);
        let night = night_with(&server, "", "retry: {work: 0, verifier: 0, infrastructure: 0}\n");
        queue(&night, stage, CLAUDE, GPT, "", "## Budget\n- **Verifier tokens:** 40,000\n");
        begin(&night);
        if name == "killed" {
            night.wait("the verifier hangs", || asked_by(&server, "01-work.1.verifier").len() == 1);
            kill_process_of(&night, "01-work.1.verifier", "agent.json", "process");
        }
        let ended = await_status(&night, stage, status);
        assert_eq!(ended["reason"]["code"], code, "{name}: {ended:#}");
        let expected = [("01-work.1.worker", "done"), ("01-work.1.verifier", outcome)];
        assert_eq!((outcomes(&ended), &ended["attempt"]), (pairs(&expected), &json!(1)), "{name}");
        assert_eq!(night.git(&["rev-list", "--count", "--grep", "Autometta-Stage", "main"]), "0", "{name}");
        let counted = server.reported(Api::Anthropic).total() + server.reported(Api::OpenAi).total();
        // Of a request that was never answered nobody knows the price: the reservation is charged.
        let unknown = if name == "killed" { 40_000 } else { 0 };
        assert_eq!(night.budget()["tokens_spent"], json!(counted + unknown), "{name}");
    }
}

#[test]
fn scenario_22_a_codex_verifier_that_is_killed_is_gone_with_its_children_and_is_asked_again() {
    let stage = "01-work";
    let server = ModelServer::start(vec![
        works(stage),
        Scenario::when(&run_of("01-work.1.verifier.r1")).then(Step::answer(verdict(stage, "PASS", "PASS"))),
        Scenario::when(&run_of("01-work.1.verifier"))
            .then(Step::run("sleep 600 & cat 01-work.txt"))
            .then(Step::hang(Duration::from_secs(600))),
    ]);
    let night = night(&server);
    queue(&night, stage, CLAUDE, GPT, "", "## Budget\n- **Verifier tokens:** 40,000\n");
    begin(&night);
    night.wait("the verifier hangs on its second request", || asked_by(&server, "01-work.1.verifier").len() == 2);
    kill_process_of(&night, "01-work.1.verifier", "agent.json", "process");
    let landed = await_status(&night, stage, "completed");
    let expected = [("01-work.1.worker", "done"), ("01-work.1.verifier", "crashed"), ("01-work.1.verifier.r1", "done")];
    assert_eq!((outcomes(&landed), &landed["attempt"]), (pairs(&expected), &json!(1)));
    assert_eq!(record(&night, "01-work.1.verifier")["exit"], json!({"signal": 9}));
    assert_eq!(alive(&night, "01-work.1.verifier"), Vec::<String>::new());
}

#[test]
fn scenario_22_a_claude_worker_that_is_killed_starts_again_without_waiting_for_the_timer() {
    let stage = "01-work";
    let server = ModelServer::start(vec![
        Scenario::when(&run_of("01-work.1.worker.r1"))
            .then(write_work(stage))
            .then(hand_in(&pass(stage)))
            .then(Step::say("Done.")),
        Scenario::when(&to_work(stage))
            .then(Step::run("echo unfinished >01-work.txt; (sleep 600 &)").using(usage(700, 300, 0, 9)))
            .then(Step::hang(Duration::from_secs(600))),
        approves(stage),
    ]);
    let night = night(&server);
    queue(&night, stage, CLAUDE, GPT, "", "");
    begin(&night);
    night.wait("the worker hangs on its second request", || asked_by(&server, "01-work.1.worker").len() == 2);
    kill_process_of(&night, "01-work.1.worker", "agent.json", "process");
    let landed = await_status(&night, stage, "completed");
    let expected = [("01-work.1.worker", "crashed"), ("01-work.1.worker.r1", "done"), ("01-work.1.verifier", "done")];
    assert_eq!((outcomes(&landed), &landed["attempt"]), (pairs(&expected), &json!(1)));
    assert_eq!(alive(&night, "01-work.1.worker"), Vec::<String>::new());
    let used = landed["history"][0]["tokens"].as_u64().expect("tokens");
    assert!((1001..=1060).contains(&used), "what its stream told: {used}");
}

#[test]
fn scenario_33_a_usage_limit_of_codex_pauses_the_family_until_its_reset() {
    let stage = "01-limited";
    let reset = chrono::Utc::now().timestamp() + 10_800;
    let message = "The usage limit has been reached";
    let body =
        json!({"error": {"type": "usage_limit_reached", "message": message, "plan_type": "pro", "resets_at": reset}});
    let limit = Step::refuse(429, body)
        .header("x-codex-primary-used-percent", "100.0")
        .header("x-codex-primary-window-minutes", "300")
        .header("x-codex-primary-reset-at", &reset.to_string());
    let server = ModelServer::start(vec![Scenario::when(&to_work(stage)).then(limit)]);
    let night = night(&server);
    queue(&night, stage, GPT, CLAUDE, "", "");
    begin(&night);
    night.wait("Codex is paused", || night.budget()["pauses"].as_array().is_some_and(|pauses| !pauses.is_empty()));
    let (limited, budget) = (night.stage(stage), night.budget());
    let figures = (&limited["status"], &limited["attempt"], &limited["reason"]["code"]);
    assert_eq!(figures, (&json!("pending"), &json!(1), &json!("limit")));
    assert_eq!((&budget["pauses"][0]["family"], &budget["tokens_spent"]), (&json!("codex"), &json!(0)));
    assert_eq!(pause_end(&budget).timestamp(), reset, "{budget:#}");
}

#[test]
fn scenario_36_a_401_of_codex_halts_once_with_the_line() {
    let stage = "01-work";
    let body = json!({"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}});
    let server = ModelServer::start(vec![Scenario::when(&to_work(stage)).then(Step::refuse(401, body))]);
    let night = night(&server);
    queue(&night, stage, GPT, CLAUDE, "", "");
    begin(&night);
    night.wait("the repository is halted", || night.budget()["halted"] == true);
    let budget = night.budget();
    let detail = budget["halt_reasons"][0]["detail"].as_str().expect("detail");
    assert!(detail.contains("401") && detail.contains("Incorrect API key provided"), "{detail}");
    assert_eq!((budget["halt_reasons"].as_array().map(Vec::len), &budget["tokens_spent"]), (Some(1), &json!(0)));
}

#[test]
fn scenario_25_a_codex_worker_is_stopped_within_one_turn_of_its_token_cap() {
    let stage = "01-work";
    let turn = usage(20_000, 9_900, 0, 100);
    let many = |scenario: Scenario, _| scenario.then(write_work(stage).using(turn).after(Duration::from_secs(1)));
    let endless = (0..30).fold(Scenario::when(&to_work(stage)), many);
    let server = ModelServer::start(vec![endless]);
    let night = night(&server);
    queue(&night, stage, GPT, CLAUDE, "", "## Budget\n- **Worker tokens:** 50,000\n");
    begin(&night);
    let stalled = await_status(&night, stage, "stalled");
    assert_eq!(record(&night, "01-work.1.worker")["ended_by"], "token_cap", "{stalled:#}");
    let used = stalled["tokens"].as_u64().expect("tokens");
    assert!((50_000..50_000 + turn.total()).contains(&used), "{used}");
}

#[test]
fn scenario_26_a_codex_worker_that_is_lost_with_its_supervisor_is_charged_its_reservation() {
    let stage = "01-work";
    let server = ModelServer::start(vec![
        Scenario::when(&run_of("01-work.1.worker.r1"))
            .then(write_work(stage))
            .then(hand_in(&pass(stage)))
            .then(Step::say("Done.")),
        Scenario::when(&to_work(stage)).then(Step::hang(Duration::from_secs(600))),
        approves(stage),
    ]);
    let night = night(&server);
    queue(&night, stage, GPT, CLAUDE, "", "## Budget\n- **Worker tokens:** 40,000\n");
    begin(&night);
    night.wait("the worker hangs", || !asked_by(&server, "01-work.1.worker").is_empty());
    kill_process_of(&night, "01-work.1.worker", "started.json", "supervisor");
    for (pid, _) in processes(&night, "01-work.1.worker") {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    night.wait("all of it is gone", || alive(&night, "01-work.1.worker").is_empty());
    // Nobody is left to start the next tick: these are the timer's.
    night.tick_until_that(stage, |stage| stage["history"].as_array().is_some_and(|past| !past.is_empty()));
    begin(&night);
    let landed = await_status(&night, stage, "completed");
    let lost = &landed["history"][0];
    assert_eq!(
        (&lost["outcome"], &lost["tokens"], &lost["usage_unknown"]),
        (&json!("lost"), &json!(40_000), &json!(true))
    );
    assert_eq!(landed["attempt"], 1);
}

/// Kills a process that a file of a run names.
fn kill_process_of(night: &Night, run: &str, file: &str, key: &str) {
    let stamp: Value = serde_json::from_str(&night.read(format!("repo/state/runs/{run}/{file}"))).expect("stamp");
    let pid = i32::try_from(stamp[key]["pid"].as_i64().expect("pid")).expect("pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("kill");
}

/// The command lines of processes that belong to a run.
fn alive(night: &Night, run: &str) -> Vec<String> {
    processes(night, run).into_iter().map(|(_, command)| command).collect()
}

fn processes(night: &Night, run: &str) -> Vec<(nix::unistd::Pid, String)> {
    let base = night.base().display().to_string();
    let mark = format!("AUTOMETTA_RUN={run}\0");
    let of_run = |process: fs::DirEntry| {
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let read = |name: &str| text(&fs::read(process.path().join(name)).unwrap_or_default());
        let environment = read("environ");
        let ours = environment.contains(&base) && environment.contains(&mark);
        ours.then(|| (nix::unistd::Pid::from_raw(pid), read("cmdline").replace('\0', " ")))
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter_map(of_run).collect()
}

/// A refusal as the provider sends it, and as the CLI does not try again by itself.
fn limit() -> Step {
    let message = "This request would exceed your account's rate limit. Please try again later.";
    Step::refuse(429, json!({"type": "error", "error": {"type": "rate_limit_error", "message": message}}))
        .header("x-should-retry", "false")
}

/// When the one pause ends.
fn pause_end(budget: &Value) -> chrono::DateTime<chrono::Utc> {
    serde_json::from_value(budget["pauses"][0]["until"].clone()).expect("time")
}

#[test]
fn scenario_33_a_limit_of_a_claude_subscription_pauses_the_family_until_its_reset_and_charges_no_attempt() {
    let (first, second) = ("01-limited", "02-other");
    let reset = chrono::Utc::now().timestamp() + 7_200;
    let server = ModelServer::start(vec![
        Scenario::when(&to_work(first)).then(
            limit()
                .header("anthropic-ratelimit-unified-status", "rejected")
                .header("anthropic-ratelimit-unified-representative-claim", "five_hour")
                .header("anthropic-ratelimit-unified-reset", &reset.to_string()),
        ),
        works(second),
    ]);
    let mut night = night(&server);
    night.set("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-test");
    let manifest = night.read("repo/.autometta.yaml").replacen("auth: api", "auth: subscription", 1);
    night.write(".autometta.yaml", &manifest.replace("      ANTHROPIC_API_KEY: sk-ant-test\n", ""));
    queue(&night, first, CLAUDE, GPT, "", "");
    queue(&night, second, GPT, "Check <check@local>", "", "");
    begin(&night);
    await_status(&night, second, "completed");
    let (limited, budget) = (night.stage(first), night.budget());
    assert_eq!(outcomes(&limited), pairs(&[("01-limited.1.worker", "refused")]));
    let figures = (&limited["status"], &limited["attempt"], &limited["failures"]);
    assert_eq!(figures, (&json!("pending"), &json!(1), &json!(0)));
    assert_eq!((&budget["pauses"][0]["family"], &budget["halted"]), (&json!("claude"), &json!(false)));
    assert_eq!(pause_end(&budget).timestamp(), reset, "{budget:#}");
    assert_eq!(budget["tokens_spent"], json!(server.reported(Api::OpenAi).total()), "a refusal costs nothing");
    begin(&night);
    assert_eq!(asked_by(&server, "01-limited.1.worker").len(), 1, "it is not asked again before");
}

#[test]
fn scenario_34_a_limit_of_claude_that_states_no_reset_pauses_the_family_for_an_hour() {
    let stage = "01-limited";
    let server = ModelServer::start(vec![Scenario::when(&to_work(stage)).then(limit())]);
    let night = night(&server);
    queue(&night, stage, CLAUDE, GPT, "", "");
    let before = chrono::Utc::now();
    begin(&night);
    night.wait("Claude is paused", || night.budget()["pauses"].as_array().is_some_and(|pauses| !pauses.is_empty()));
    let (limited, budget) = (night.stage(stage), night.budget());
    let hour = chrono::TimeDelta::hours(1);
    let until = pause_end(&budget);
    assert!(until >= before + hour && until <= chrono::Utc::now() + hour, "{budget:#}");
    let figures = (&limited["status"], &limited["attempt"], &limited["reason"]["code"]);
    assert_eq!(figures, (&json!("pending"), &json!(1), &json!("limit")));
    assert_eq!(budget["tokens_spent"], 0);
}

#[test]
fn scenario_36_a_401_under_retry_is_stopped_early_and_halts_once_with_the_line() {
    let stage = "01-work";
    let body = json!({"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}});
    let server = ModelServer::start(vec![Scenario::when(&to_work(stage)).then(Step::refuse(401, body))]);
    let night = night(&server);
    queue(&night, stage, CLAUDE, GPT, "", "");
    begin(&night);
    night.wait("the repository is halted", || night.budget()["halted"] == true);
    let (budget, pending) = (night.budget(), night.stage(stage));
    let halts = budget["halt_reasons"].as_array().expect("reasons");
    assert_eq!((halts.len(), &halts[0]["reason"]), (1, &json!("dispatch-configuration-fault")), "{budget:#}");
    let detail = halts[0]["detail"].as_str().expect("detail");
    assert!(detail.contains("status 401, authentication_failed") && detail.contains(CLAUDE), "{detail}");
    let figures = (&pending["status"], &pending["attempt"], &pending["failures"]);
    assert_eq!(figures, (&json!("pending"), &json!(1), &json!(0)));
    assert_eq!(record(&night, "01-work.1.worker")["ended_by"], "refused");
    assert!(server.answered().len() <= 3, "it was stopped while it retried, and not at the end of ten tries");
    assert_eq!((&budget["tokens_spent"], &budget["tokens_reserved"]), (&json!(0), &json!(0)));
    night.tick();
    assert_eq!(night.stage(stage)["history"].as_array().map(Vec::len), Some(1), "nothing starts while it is halted");
    let log = night.ok(&["log"]);
    assert_eq!(log.lines().filter(|line| line.contains(" halted")).count(), 1, "{log}");
}

#[test]
fn scenario_12_a_question_of_claude_is_answered_and_the_answer_reaches_the_model() {
    let stage = "01-work";
    let answer = "Coffee, and no sugar.";
    let question = json!({
        "stage_id": stage, "status": "blocked", "deliverables": [], "notes": "half of it is there",
        "question": "Tea or coffee?",
    });
    let server = ModelServer::start(vec![
        approves(stage),
        Scenario::when(answer)
            .then(Step::run("cat 01-work.txt && echo work with coffee >>01-work.txt"))
            .then(hand_in(&pass(stage)))
            .then(Step::say("Done.")),
        Scenario::when(&to_work(stage))
            .then(Step::run("echo begun >01-work.txt"))
            .then(hand_in(&question))
            .then(Step::say("I have a question.")),
    ]);
    let night = night(&server);
    queue(&night, stage, CLAUDE, GPT, "", "");
    begin(&night);
    let blocked = await_status(&night, stage, "blocked");
    assert_eq!(blocked["reason"]["detail"], "Tea or coffee?", "{blocked:#}");
    night.wait("the question is published", || night.repo.join(format!("state/questions/{stage}.json")).exists());
    assert!(night.read(format!("repo/state/questions/{stage}.json")).contains("Tea or coffee?"));
    night.ok(&["answer", stage, "--text", answer]);
    begin(&night);
    await_status(&night, stage, "completed");
    let with_answer: Vec<_> =
        server.answered().into_iter().filter(|one| one.scenario.as_deref() == Some(answer)).collect();
    assert!(with_answer.len() >= 3 && with_answer.iter().all(|one| one.api == Api::Anthropic), "{with_answer:#?}");
    assert_eq!(night.git(&["show", "main:01-work.txt"]), "begun\nwork with coffee");
}

#[test]
fn scenario_19_a_provider_that_hangs_is_cut_off_at_the_wall_clock_cap_and_the_run_is_paid_for() {
    let (claude, codex) = ("01-claude", "02-codex");
    let hangs = |stage: &str| {
        Scenario::when(&to_work(stage))
            .then(write_work(stage).using(usage(1000, 500, 0, 40)))
            .then(Step::hang(Duration::from_secs(600)))
    };
    let server = ModelServer::start(vec![hangs(claude), hangs(codex)]);
    let night = night_with(&server, "", "max_parallel: 2\n");
    let budget = "## Budget\n- **Worker wall-clock:** 9s\n- **Worker tokens:** 50,000\n";
    queue(&night, claude, CLAUDE, GPT, "", budget);
    queue(&night, codex, GPT, CLAUDE, "", budget);
    begin(&night);
    for stage in [claude, codex] {
        let run = format!("{stage}.1.worker");
        let stalled = await_status(&night, stage, "stalled");
        assert_eq!(stalled["reason"]["code"], "timed-out", "{stalled:#}");
        assert_eq!(record(&night, &run)["ended_by"], "timeout");
        assert_eq!(alive(&night, &run), Vec::<String>::new());
        assert_eq!(asked_by(&server, &run).len(), 2, "it hung on its second request");
        night.wait("its work is kept", || {
            night.git_raw(&["rev-parse", &format!("wip/{stage}-attempt-1")]).status.success()
        });
        assert_eq!(night.git(&["show", &format!("wip/{stage}-attempt-1:{stage}.txt")]), format!("work by {run}"));
    }
    // Claude streams its input, and what it wrote stands for its output; Codex writes its figures into its session file.
    let used = |stage: &str| night.stage(stage)["tokens"].as_u64().expect("tokens");
    assert!((1501..=1580).contains(&used(claude)), "{}", used(claude));
    assert_eq!(used(codex), 1540);
    assert_eq!(record(&night, "02-codex.1.worker")["usage"]["source"], "transcript");
    assert_eq!(night.budget()["tokens_spent"], json!(used(claude) + used(codex)));
}

#[test]
fn scenario_05_prompts_of_300_kb_reach_both_models_and_another_checked_out_branch_stays_as_it_is() {
    let stage = "01-long";
    let server = ModelServer::start(vec![works(stage), approves(stage)]);
    let night = night(&server);
    let line = "- It keeps \"quotes\", $dollars, `ticks`, \\slashes and ümlauts as they are.\n";
    let constraints = 200_000 / line.len();
    let more = format!("## Constraints\n{}- The last constraint ends here.\n", line.repeat(constraints));
    // A card may not be as long as that; a repository's own templates make up for it.
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    for name in ["worker.md", "verifier.md"] {
        let built_in = fs::read_to_string(templates.join(name)).expect("template");
        let advice = "\nAdvice that nobody needs.".repeat(5_000);
        night.write(&format!("templates/autometta/{name}"), &format!("{built_in}{advice}\nThe prompt ends here.\n"));
    }
    queue(&night, stage, CLAUDE, GPT, "", &more);
    night.git(&["switch", "-qc", "operators-own"]);
    night.write("README.md", "# Repo\n\nthe operator is writing this\n");
    night.git(&["add", "README.md"]);
    let git = |name: &str| fs::read(night.repo.join(".git").join(name)).expect("file");
    let before = (checkout(&night), git("HEAD"), git("index"));
    begin(&night);
    await_status(&night, stage, "completed");
    assert!((checkout(&night), git("HEAD"), git("index")) == before, "all of it is the operator's");
    assert_eq!(night.git(&["show", &format!("main:{stage}.txt")]), format!("work by {stage}.1.worker"));
    let sent = Value::from(line.trim_end()).to_string();
    for run in ["01-long.1.worker", "01-long.1.verifier"] {
        let asked = asked_by(&server, run);
        let first = asked.first().expect("a request").body.to_string();
        assert_eq!(first.matches(sent.trim_matches('"')).count(), constraints, "{run}");
        assert!(first.contains("The last constraint ends here.") && first.contains("The prompt ends here."), "{run}");
        assert!(night.read(format!("repo/state/runs/{run}/prompt.md")).len() > 300_000, "{run}");
    }
}

#[test]
fn without_npm_these_tests_fail_and_say_how_to_get_it() {
    let empty = tempfile::tempdir().expect("dir");
    let output = Command::new("/bin/bash")
        .arg(installer())
        .arg(empty.path().join("agents"))
        .env_clear()
        .env("PATH", empty.path())
        .output()
        .expect("bash runs");
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("install Node.js") && said.contains("nodejs.org"), "{said}");
}

#[test]
fn the_way_out_of_a_missing_codex_login_is_what_codex_itself_understands() {
    let server = ModelServer::start(Vec::new());
    let night = night(&server);
    let home = night.base().join("user/.codex");
    fs::remove_file(home.join("auth.json")).expect("login");
    let said = night.fails(&["auth", "check", "codex"], 1);
    let ways_out = said.lines().filter_map(|line| line.trim().strip_prefix("→ "));
    let command = ways_out.rev().find(|line| line.ends_with("codex login --with-api-key")).expect("a way out");
    night.on_a_terminal(&format!("printf %s sk-test-of-mine | sh -c '{command}'"));
    let login: Value = serde_json::from_slice(&fs::read(home.join("auth.json")).expect("login")).expect("json");
    assert_eq!(login["auth_mode"], "apikey");
    night.ok(&["auth", "check", "codex"]);
}
