//! Providers that come and go, over the real binary: stub agents print the records that the CLIs really print.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use support::night::{Night, text};

const ONE: &str = "One Agent <one@local>";
const TWO: &str = "Two Agent <two@local>";
const THREE: &str = "Three Agent <three@local>";

/// A record of a CLI as it was captured.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/agent-output").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A usage limit of Claude Code that resets at this time.
fn limit(resets: Option<DateTime<Utc>>) -> String {
    let event = |at: DateTime<Utc>| {
        json!({"type": "rate_limit_event", "rate_limit_info":
               {"status": "rejected", "resetsAt": at.timestamp(), "rateLimitType": "five_hour"}})
    };
    resets.map(|at| format!("{}\n", event(at))).unwrap_or_default() + &fixture("claude-429.jsonl")
}

/// A night with three families, each the same stub: it prints `$T/<family>` and fails where there is such a file, else
/// it works or judges. A worker's work is `<stage>.txt`.
fn night(more: &str) -> Night {
    let night = Night::bare();
    fs::write(night.t().join("success"), fixture("claude-success.jsonl")).expect("success");
    let mut manifest = String::from("version: 1\nbase_branch: main\nfamilies:\n");
    for (family, pattern) in [("one", "One*"), ("two", "Two*"), ("three", "Three*")] {
        let text = format!(
            "if test -e \"$T/{family}\"; then cat \"$T/{family}\"; test ! -e \"$T/hang\" || sleep 600; exit 1; fi\n\
             case $2 in\n*.worker*) echo work >\"$1.txt\"\n\
             printf '{{\"stage_id\":\"%s\",\"status\":\"pass\",\"deliverables\":[],\"notes\":\"done\"}}' \"$1\" \
             >.autometta/outbox/handoff.json;;\n\
             *) printf '{{\"stage_id\":\"%s\",\"overall\":\"PASS\",\"headline\":\"Do the work\",\"criteria\":[{{\"id\":1,\
             \"name\":\"it works\",\"verdict\":\"PASS\",\"evidence\":\"README.md:1\"}}],\"additional_findings\":\"\"}}' \
             \"$1\" >.autometta/outbox/verdict.json;;\nesac\ncat \"$T/success\""
        );
        night.stub(family, &text);
        let stub = night.base().join("stubs").join(family);
        manifest.push_str(&format!(
            "  {family}: {{identities: [\"{pattern}\"], command: [\"{}\", \"{{stage}}\", \"{{run}}\"], decoder: claude, \
             pass_env: [T]}}\n",
            stub.display()
        ));
    }
    fs::write(night.repo.join(".autometta.yaml"), manifest + more).expect("manifest");
    night.ok(&["init"]);
    night
}

fn card(night: &Night, stage: &str, worker: &str, verifier: &str, metadata: &str) {
    let text = format!(
        "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** {worker}\n- **Verifier:** {verifier}\n{metadata}\n\
         ## Objective\nDo it.\n\n## Deliverables\n1. `{stage}.txt`: the work\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntest -s {stage}.txt\n```\n"
    );
    night.write(&format!("stage-cards/{stage}.md"), &text);
}

fn queue(night: &Night, stage: &str, worker: &str, verifier: &str, metadata: &str) {
    card(night, stage, worker, verifier, metadata);
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

/// From now on every run of a family prints this and fails.
fn fails_with(night: &Night, family: &str, output: &str) {
    fs::write(night.t().join(family), output).expect("output");
}

fn answers(night: &Night, family: &str) {
    fs::remove_file(night.t().join(family)).expect("it failed before");
}

/// A tick whose calendar is off by this many seconds; so are the ticks at the ends of the runs that it starts.
fn tick_at(night: &Night, offset: i64) {
    let output = night
        .command(&["tick", "--repo", &night.repo.display().to_string()])
        .env("AUTOMETTA_CLOCK_OFFSET", offset.to_string())
        .output()
        .expect("tick");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Who ran and how it went, run by run.
fn runs(stage: &Value) -> Vec<String> {
    let none = Vec::new();
    let history = stage["history"].as_array().unwrap_or(&none);
    let word = |past: &Value, key: &str| past[key].as_str().unwrap_or("-").to_owned();
    let agents = history.iter().filter(|past| past["identity"].is_string());
    agents
        .map(|past| {
            let (run, who) = (word(past, "run"), word(past, "identity"));
            let run = run.split_once('.').map(|(_, run)| run.to_owned()).expect("run");
            format!("{run} {} {}", who.split(' ').next().expect("name"), word(past, "outcome"))
        })
        .collect()
}

/// How many runs of all stages are over.
fn over(night: &Night) -> usize {
    let status = night.status();
    assert!(!night.budget().is_null());
    status["stages"].as_array().expect("stages").iter().map(|stage| runs(stage).len()).sum()
}

fn events(night: &Night, event: &str) -> Vec<String> {
    let lines = night.read("repo/state/ledger.jsonl");
    let notes = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
    notes
        .filter(|note| note["event"] == event)
        .map(|note| note["detail"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// What is paused, and until when.
fn pauses(night: &Night) -> Vec<(String, DateTime<Utc>)> {
    let budget = night.budget();
    let pauses = budget["pauses"].as_array().cloned().unwrap_or_default();
    pauses
        .iter()
        .map(|pause| {
            let until = pause["until"].as_str().expect("until").parse().expect("time");
            (pause["family"].as_str().expect("family").to_owned(), until)
        })
        .collect()
}

/// The processes that wait for this night's repository.
fn waiters(night: &Night) -> Vec<i32> {
    let repo = night.repo.display().to_string();
    let processes = fs::read_dir("/proc").expect("proc").flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let words = String::from_utf8_lossy(&words).into_owned();
            (words.contains("__wake") && words.contains(&repo)).then_some(pid)
        })
        .collect()
}

#[test]
fn scenario_33_a_limit_pauses_its_family_until_its_reset_and_other_families_go_on() {
    let night = night("");
    let resets = Utc::now() + TimeDelta::hours(2);
    fails_with(&night, "one", &limit(Some(resets)));
    queue(&night, "01-work", ONE, THREE, "");
    queue(&night, "02-work", TWO, THREE, "");
    let stage = night.tick_until_that("01-work", |stage| runs(stage).len() == 1);
    assert_eq!((&stage["status"], &stage["reason"]["code"]), (&json!("pending"), &json!("limit")), "{stage:#}");
    assert_eq!(stage["failures"], 0, "no attempt is charged");
    assert_eq!(pauses(&night), [("one".to_owned(), DateTime::from_timestamp(resets.timestamp(), 0).expect("time"))]);
    night.tick_until("02-work", "completed");
    assert_eq!(runs(&night.stage("01-work")), ["1.worker One refused"], "it waits");
    let shown = night.ok(&["status"]);
    assert!(shown.contains("PAUSED one until"), "{shown}");
    answers(&night, "one");
    tick_at(&night, 7_300);
    night.wait("01-work goes on by itself", || night.stage("01-work")["status"] == "completed");
    let stage = night.stage("01-work");
    assert_eq!(runs(&stage), ["1.worker One refused", "1.worker.r1 One done", "1.verifier Three done"]);
    assert_eq!(stage["attempt"], 1);
}

#[test]
fn scenario_34_a_reset_that_has_passed_is_now_an_unreadable_one_an_hour_and_a_far_one_is_bounded() {
    for (resets, least, most) in [
        (Some(TimeDelta::minutes(-2)), TimeDelta::seconds(1), TimeDelta::minutes(2)),
        (None, TimeDelta::minutes(1), TimeDelta::hours(1)),
        (Some(TimeDelta::days(400)), TimeDelta::days(6), TimeDelta::days(7)),
    ] {
        let night = night("");
        let begun = Utc::now();
        fails_with(&night, "one", &limit(resets.map(|resets| begun + resets)));
        queue(&night, "01-work", ONE, THREE, "");
        let stage = night.tick_until_that("01-work", |stage| runs(stage).len() == 1);
        assert_eq!((&stage["status"], &stage["failures"]), (&json!("pending"), &json!(0)), "{stage:#}");
        let (family, until) = pauses(&night).pop().expect("a pause");
        assert_eq!(family, "one");
        let (least, most) = (begun + least, Utc::now() + most);
        assert!((least..=most).contains(&until), "{resets:?}: {until} is not within {least} and {most}");
    }
}

#[test]
fn scenario_35_an_overloaded_provider_defers_the_run_longer_each_time_and_at_last_is_down() {
    let night = night("breaker: {failures: 0}\n");
    fails_with(&night, "one", &fixture("claude-529-retrying-killed.jsonl"));
    queue(&night, "01-work", ONE, THREE, "");
    for tries in 1..=13 {
        // Later than the longest backoff with its jitter.
        tick_at(&night, i64::from(tries) * 40 * 60);
        let count = usize::try_from(tries).expect("small");
        night.wait("the run is settled", || runs(&night.stage("01-work")).len() == count);
        let stage = night.stage("01-work");
        assert_eq!(stage["failures"], 0, "{stage:#}");
        if tries < 13 {
            assert_eq!((&stage["status"], &stage["reason"]["code"]), (&json!("pending"), &json!("overloaded")));
            // Nothing starts before its time.
            tick_at(&night, i64::from(tries) * 40 * 60);
            assert_eq!(runs(&night.stage("01-work")).len(), count);
        } else {
            assert_eq!((&stage["status"], &stage["reason"]["code"]), (&json!("stalled"), &json!("provider-down")));
        }
    }
    assert!(pauses(&night).is_empty() && night.budget()["breakers"].is_null(), "{}", night.budget());
}

#[test]
fn scenario_36_a_login_that_fails_while_the_cli_retries_is_stopped_early_and_halts() {
    let night = night("");
    fails_with(&night, "one", &fixture("claude-401-retrying-killed.jsonl"));
    fs::write(night.t().join("hang"), "").expect("hang");
    queue(&night, "01-work", ONE, THREE, "");
    let stage = night.tick_until_that("01-work", |stage| runs(stage).len() == 1);
    assert_eq!((&stage["status"], &stage["failures"]), (&json!("pending"), &json!(0)), "{stage:#}");
    assert_eq!(night.budget()["halt_reason"], "dispatch-configuration-fault");
    let exit: Value = serde_json::from_str(&night.read("repo/state/runs/01-work.1.worker/exit.json")).expect("json");
    assert_eq!((&exit["ended_by"], &exit["provider"]["refusal"]["class"]), (&json!("refused"), &json!("auth")));
}

#[test]
fn scenario_37_a_limit_that_an_agent_quotes_is_no_refusal() {
    let night = night("");
    let quote = json!({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
        "content": "API Error: Request rejected (429): You've hit your usage limit; rate_limit_error, overloaded_error"}]}});
    fs::write(night.t().join("success"), format!("{quote}\n{}", fixture("claude-success.jsonl"))).expect("quote");
    queue(&night, "01-work", ONE, THREE, "");
    let stage = night.tick_until("01-work", "completed");
    assert_eq!(runs(&stage), ["1.worker One done", "1.verifier Three done"]);
    assert!(pauses(&night).is_empty() && night.budget()["breakers"].is_null());
}

#[test]
fn scenario_38_a_fallback_takes_over_and_the_verifier_stays_of_another_family() {
    let fallback = "- **Fallback:** Two Agent <two@local>\n";
    for (verifier, manifest, judge) in [
        // The card's verifier is apart from the fallback already.
        (THREE, "", "Three"),
        // It is of the fallback's family, and the manifest names somebody for that.
        (TWO, "fallback: {two: \"Three Agent <three@local>\"}\n", "Three"),
    ] {
        let night = night(manifest);
        fails_with(&night, "one", &limit(Some(Utc::now() + TimeDelta::hours(2))));
        queue(&night, "01-work", ONE, verifier, fallback);
        let stage = night.tick_until("01-work", "completed");
        assert_eq!(
            runs(&stage),
            ["1.worker One refused".to_owned(), "1.worker.r1 Two done".into(), format!("1.verifier {judge} done")]
        );
        assert_eq!((&stage["worker"], &stage["fallback"]["worker"]), (&json!(TWO), &json!(ONE)), "{stage:#}");
        let message = night.git(&["log", "-1", "--format=%an%n%B", "main"]);
        for line in ["Two Agent\n", &format!("Autometta-Worker: {TWO}"), &format!("Autometta-Verifier: {judge}")] {
            assert!(message.contains(line), "{line} is not in\n{message}");
        }
        let said = events(&night, "fallback").join("\n");
        assert!(said.contains(&format!("{ONE} → {TWO}")) && said.contains("one waits until"), "{said}");
    }
}

#[test]
fn scenario_38_a_fallback_of_the_verifiers_family_is_judged_by_the_cards_worker_once_that_may_be_asked() {
    let night = night("");
    fails_with(&night, "one", &limit(Some(Utc::now() + TimeDelta::hours(2))));
    queue(&night, "01-work", ONE, TWO, "- **Fallback:** Two Agent <two@local>\n");
    let stage = night.tick_until_that("01-work", |stage| stage["phase"] == "verifying");
    assert_eq!((&stage["worker"], &stage["verifiers"]), (&json!(TWO), &json!([ONE])), "{stage:#}");
    answers(&night, "one");
    assert!(night.tick().status.success());
    assert_eq!(night.stage("01-work")["phase"], "verifying", "its verifier waits for the pause");
    tick_at(&night, 7_300);
    night.wait("it lands", || night.stage("01-work")["status"] == "completed");
    let runs = runs(&night.stage("01-work"));
    assert_eq!(runs, ["1.worker One refused", "1.worker.r1 Two done", "1.verifier One done"]);
}

#[test]
fn a_paused_verifiers_seat_goes_to_whom_the_manifest_names_and_never_to_the_workers_family() {
    for (named, judge) in [(TWO, Some("Two")), ("One More <more@local>", None)] {
        let night = night(&format!("fallback: {{three: \"{named}\"}}\n"));
        fails_with(&night, "three", &limit(Some(Utc::now() + TimeDelta::hours(2))));
        queue(&night, "01-work", ONE, THREE, "");
        match judge {
            Some(judge) => {
                let stage = night.tick_until("01-work", "completed");
                let last = format!("1.verifier.r1 {judge} done");
                assert_eq!(runs(&stage), ["1.worker One done".to_owned(), "1.verifier Three refused".into(), last]);
                let message = night.git(&["log", "-1", "--format=%B", "main"]);
                assert!(message.contains(&format!("Autometta-Verifier: {named}")), "{message}");
            }
            None => {
                night.tick_until_that("01-work", |stage| runs(stage).len() == 2);
                assert!(night.tick().status.success());
                let stage = night.stage("01-work");
                assert_eq!((&stage["phase"], runs(&stage).len()), (&json!("verifying"), 2), "{stage:#}");
            }
        }
    }
}

#[test]
fn fallbacks_that_could_never_work_are_refused_with_their_places() {
    let night = night("");
    card(&night, "01-work", ONE, TWO, "- **Fallback:** Nobody <nobody@local>; Lost <lost@local>\n");
    let said = night.fails(&["add-stage", "stage-cards/01-work.md"], 3);
    for words in
        ["line 6: Fallback: no family serves `Nobody <nobody@local>`", "line 6: Fallback: no family serves `Lost"]
    {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    let manifest = night.repo.join(".autometta.yaml");
    let good = fs::read_to_string(&manifest).expect("manifest");
    let bad = "fallback:\n  one: \"Nobody <nobody@local>\"\n  two: \"Two More <more@local>\"\n  four: \"One Agent <one@local>\"\n";
    fs::write(&manifest, good + bad).expect("manifest");
    let output = night.run(&["status"]);
    let said = text(&output.stderr);
    for words in
        ["no family serves `Nobody", "would wait with it", "there is no family `four`", "line 8", "line 9", "line 10"]
    {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
}

#[test]
fn a_provider_that_keeps_failing_makes_its_family_wait_and_one_run_alone_tries_it() {
    let night = night("max_parallel: 2\nbreaker: {failures: 2, window: 10 minutes}\n");
    fails_with(&night, "one", &fixture("claude-529-retrying-killed.jsonl"));
    queue(&night, "01-work", ONE, THREE, "");
    queue(&night, "02-work", ONE, THREE, "");
    tick_at(&night, 0);
    night.wait("both have failed", || over(&night) == 2);
    let breaker = night.budget()["breakers"][0].clone();
    assert_eq!((&breaker["family"], &breaker["opened"]), (&json!("one"), &json!(1)), "{breaker}");
    let shown = night.ok(&["status"]);
    assert!(shown.contains("PAUSED one until") && shown.contains("breaker open"), "{shown}");
    tick_at(&night, 30);
    assert_eq!(over(&night), 2, "nobody is dispatched while it is open");
    // Both could go on; one does, and its failure is held against the family, not against the other stage.
    tick_at(&night, 100);
    night.wait("the probe has failed", || night.budget()["breakers"][0]["opened"] == 2);
    tick_at(&night, 110);
    assert_eq!(over(&night), 3, "{:#}", night.status());
    answers(&night, "one");
    tick_at(&night, 300);
    for stage in ["01-work", "02-work"] {
        night.wait("the probe's success lets both go on", || {
            tick_at(&night, 300);
            night.stage(stage)["status"] == "completed"
        });
        assert_eq!(night.stage(stage)["failures"], 0);
    }
    assert!(night.budget()["breakers"].is_null(), "{}", night.budget());
    let count = |event: &str| events(&night, event).len();
    assert_eq!((count("breaker-opened"), count("breaker-probe"), count("breaker-closed")), (2, 2, 1));
}

#[test]
fn without_a_timer_one_process_waits_for_the_pause_to_end_and_the_night_goes_on_without_a_person() {
    let night = night("");
    fails_with(&night, "one", &limit(Some(Utc::now() + TimeDelta::hours(2))));
    queue(&night, "01-work", ONE, THREE, "");
    night.tick_until_that("01-work", |stage| runs(stage).len() == 1);
    for _ in 0..5 {
        assert!(night.tick().status.success());
    }
    night.wait("one waits", || waiters(&night).len() == 1);
    let (_, until) = pauses(&night).pop().expect("a pause");
    let first = waiters(&night);
    // Whoever kills it loses nothing: the next tick starts another.
    kill(Pid::from_raw(first[0]), Signal::SIGKILL).expect("killed");
    night.wait("it is gone", || waiters(&night).is_empty());
    answers(&night, "one");
    let offset = until.signed_duration_since(Utc::now()).num_seconds() - 3;
    tick_at(&night, offset);
    assert_eq!(runs(&night.stage("01-work")).len(), 1, "the pause is not over yet");
    night.wait("the stage goes on by itself", || night.stage("01-work")["status"] == "completed");
    night.wait("nobody waits any more", || waiters(&night).is_empty());
    assert!(!night.repo.join("state/wake").exists());
}

#[test]
fn where_a_timer_fires_nobody_waits_besides() {
    let night = night("");
    let timer =
        json!({"scheduler": "cron", "every_seconds": 300, "installed_at": Utc::now(), "exe": "/bin/true", "env": {}});
    fs::write(night.home.join("timer.json"), timer.to_string()).expect("timer");
    fails_with(&night, "one", &limit(Some(Utc::now() + TimeDelta::hours(2))));
    queue(&night, "01-work", ONE, THREE, "");
    night.tick_until_that("01-work", |stage| runs(stage).len() == 1);
    assert!(night.tick().status.success());
    assert_eq!(pauses(&night).len(), 1);
    assert!(waiters(&night).is_empty() && !night.repo.join("state/wake").exists());
}
