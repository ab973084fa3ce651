//! `autometta budget` and what it governs: caps that are set, drains, a stage's own caps, spend without a landing, and
//! the fleet's day. Over the real binary.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "a broken test environment should fail loudly")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::night::{HAND_IN, Night, SAY_PASS};

const HUNDRED_EACH: &str =
    "- **Worker tokens:** 100\n- **Verifier tokens:** 100\n- **Worker cost:** $0.10\n- **Verifier cost:** $0.10";

fn queue(night: &Night, stage: &str, budget: &str) {
    night.card_with(stage, "", &format!("1. `{stage}.txt`: the work"), &format!("test -s {stage}.txt"));
    let path = format!("stage-cards/{stage}.md");
    let card = night.read(format!("repo/{path}"));
    night.write(&path, &format!("{card}\n## Budget\n{budget}\n"));
    night.ok(&["add-stage", &path]);
}

fn worker() -> String {
    format!("echo work >\"$1.txt\"\n{HAND_IN}")
}

fn verifier() -> String {
    SAY_PASS.replace("seen=a.txt", "seen=\"$1.txt\"")
}

/// A night in which each run is charged what is set aside for it.
fn night() -> Night {
    Night::with(&worker(), &verifier())
}

fn sheet(night: &Night) -> Value {
    serde_json::from_str(&night.ok(&["budget", "--json"])).expect("json")
}

fn cap(sheet: &Value, name: &str) -> Value {
    let caps = sheet["caps"].as_array().expect("caps");
    caps.iter().find(|cap| cap["name"] == name).unwrap_or_else(|| panic!("no {name} in {sheet:#}")).clone()
}

#[test]
fn every_cap_is_shown_with_what_the_next_dispatch_would_set_aside() {
    let night = night();
    assert!(night.ok(&["budget"]).contains("nothing waits to be dispatched"));
    queue(&night, "01-work", HUNDRED_EACH);
    let before = night.budget();
    let shown = sheet(&night);
    assert_eq!(night.budget(), before, "looking changes nothing");
    assert_eq!(
        cap(&shown, "tokens"),
        json!({"name": "tokens", "unit": "tokens", "spent": 0, "reserved": 0, "cap": 20_000_000, "left": 20_000_000})
    );
    assert_eq!((&cap(&shown, "cost")["cap"], &cap(&shown, "ticks")["cap"]), (&Value::Null, &json!(400)));
    assert_eq!((&shown["next"]["fits"], &shown["next"]["ask"]["tokens"]), (&json!(true), &json!(100)));
    night.ok(&["budget", "set", "--tokens", "99"]);
    let shown = sheet(&night);
    assert_eq!(shown["next"]["fits"], false);
    assert!(night.ok(&["budget"]).contains("it does not fit; token-cap: spent 0 and reserved 0"));
    // What it said is what happens.
    let _ = night.tick();
    assert_eq!(night.budget()["halt_reason"], "token-cap");
    assert!(night.ok(&["budget"]).contains("HALTED token-cap"));
}

#[test]
fn what_is_typed_wrong_is_wrong_usage_and_changes_nothing() {
    let night = night();
    let before = night.budget();
    for args in [
        &["budget", "set"][..],
        &["budget", "set", "--tokens", "lots"],
        &["budget", "set", "--window", "week"],
        &["budget", "drain", "--tokens", "5M"],
        &["budget", "drain", "--until", "soon", "--tokens", "5M"],
    ] {
        night.fails(args, 2);
    }
    assert!(night.fails(&["budget", "drain", "--until", "8h"], 3).contains("needs an amount"));
    assert!(night.fails(&["budget", "drain", "--until", "8h", "--cost", "5"], 3).contains("no cap on cost"));
    let past = night.fails(&["budget", "drain", "--until", "2020-01-01T00:00:00Z", "--tokens", "5"], 3);
    assert!(past.contains("over already"), "{past}");
    assert!(night.fails(&["budget", "drain", "--stop"], 3).contains("there is no drain"));
    assert_eq!(night.budget(), before);
    assert!(night.ok(&["budget", "set", "--tokens", "20M"]).contains("so already"));
}

#[test]
fn a_drain_lets_a_bounded_amount_pass_and_ends_by_itself() {
    let mut night = night();
    night.ok(&["budget", "set", "--tokens", "150"]);
    for stage in ["01-work", "02-work"] {
        queue(&night, stage, HUNDRED_EACH);
    }
    night.wait("the verifier does not fit", || {
        let _ = night.tick();
        night.budget()["halted"] == true
    });
    let said = night.ok(&["budget", "drain", "--until", "8h", "--tokens", "60"]);
    assert!(said.contains("at most 60 tokens beyond the caps") && said.contains("lifted token-cap"), "{said}");
    assert!(night.ok(&["budget"]).contains("60 tokens beyond the caps, until"));
    night.tick_until("01-work", "completed");
    night.wait("the second does not fit", || {
        let _ = night.tick();
        night.budget()["halted"] == true
    });
    assert_eq!(night.budget()["tokens_spent"], 200, "150 and at most 60 more");
    // Its time comes.
    night.set("AUTOMETTA_CLOCK_OFFSET", "30000");
    let _ = night.tick();
    assert_eq!(night.budget().get("drain"), None, "{:#}", night.budget());
    assert!(night.read("repo/state/ledger.jsonl").contains("its time has come"));
    assert_eq!(night.stage("02-work")["status"], "pending");
}

#[test]
fn a_stage_over_its_own_cap_ends_with_its_work_kept_and_the_others_go_on() {
    let night = night();
    queue(&night, "01-work", &format!("{HUNDRED_EACH}\n- **Stage tokens:** 150"));
    queue(&night, "02-work", HUNDRED_EACH);
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(stage["reason"]["code"], "stage-token-cap", "{stage:#}");
    let detail = stage["reason"]["detail"].as_str().expect("detail");
    for words in ["has spent 100 tokens", "may take 100", "cap is 150", "Stage tokens", "autometta requeue 01-work"] {
        assert!(detail.contains(words), "{words}: {detail}");
    }
    night.wait("its work is kept", || {
        let _ = night.tick();
        night.git_raw(&["rev-parse", "wip/01-work-attempt-1"]).status.success()
    });
    night.tick_until("02-work", "completed");
    assert_eq!(night.budget()["halted"], false);
    // The manifest's default binds where the card says nothing.
    night.manifest("defaults: {stage_cost: 0.05}");
    queue(&night, "03-work", HUNDRED_EACH);
    assert_eq!(night.tick_until("03-work", "stalled")["reason"]["code"], "stage-cost-cap");
}

#[test]
fn spend_without_a_landing_halts_with_the_figures_and_resume_counts_anew() {
    let night = Night::with(
        "echo no >x.txt\nprintf '{\"stage_id\":\"%s\",\"status\":\"fail\",\"deliverables\":[],\"notes\":\"no\"}' \"$1\" >.autometta/outbox/handoff.json",
        &verifier(),
    );
    night.ok(&["budget", "set", "--no-progress-tokens", "200", "--failures", "none"]);
    for stage in ["01-work", "02-work", "03-work"] {
        queue(&night, stage, HUNDRED_EACH);
    }
    night.wait("it halts", || {
        let _ = night.tick();
        night.budget()["halted"] == true
    });
    let budget = night.budget();
    assert_eq!((&budget["halt_reason"], &budget["since_landing"]["tokens"]), (&json!("no-progress"), &json!(200)));
    assert!(budget["halt_reasons"][0]["detail"].as_str().expect("detail").contains("200 tokens (the limit is 200)"));
    night.stub("worker", &worker());
    night.ok(&["resume"]);
    night.tick_until("03-work", "completed");
    let budget = night.budget();
    assert_eq!(budget["halted"], false);
    assert!(budget["since_landing"].get("tokens").is_none(), "{budget:#}");
}

#[test]
fn the_fleets_day_holds_back_one_repository_for_what_another_has_spent() {
    let first = night();
    let mut second = Night::bare();
    second.set("AUTOMETTA_HOME", &first.home.display().to_string());
    second.stub("worker", &worker());
    second.stub("verifier", &verifier());
    second.manifest("");
    second.ok(&["init"]);
    let config = first.home.join("config.yaml");
    fs::write(&config, "fleet: {tokens_per_day: 250, day: utc}\n").expect("config");
    queue(&first, "01-work", HUNDRED_EACH);
    first.tick_until("01-work", "completed");
    let shares: Vec<_> =
        fs::read_dir(first.home.join("fleet")).expect("shares").flatten().map(|entry| entry.path()).collect();
    assert_eq!(shares.len(), 1);
    let share = |path: &std::path::PathBuf| -> Value {
        serde_json::from_str(&fs::read_to_string(path).expect("share")).expect("json")
    };
    let of_first = share(&shares[0]);
    assert_eq!((&of_first["tokens_spent"], &of_first["tokens_reserved"]), (&json!(200), &json!(0)), "{of_first:#}");

    queue(&second, "01-work", HUNDRED_EACH);
    let held = second.tick_until_that("01-work", |stage| !stage["reason"].is_null());
    assert_eq!((&held["status"], &held["reason"]["code"]), (&json!("pending"), &json!("fleet-day")), "{held:#}");
    assert_eq!(second.budget()["halted"], false, "a hold is no halt");
    let ledger = second.read("repo/state/ledger.jsonl");
    let _ = second.tick();
    assert_eq!(second.read("repo/state/ledger.jsonl"), ledger, "it is said once");
    let shown = sheet(&second);
    assert_eq!(
        (&cap(&shown, "fleet-tokens")["spent"], &cap(&shown, "fleet-tokens")["left"]),
        (&json!(200), &json!(50))
    );
    assert!(shown["held"].as_str().expect("held").contains("the fleet's day has less left"), "{shown:#}");

    // What a tick that died has left is put right by the repository's next one, with nothing in its queue.
    let mut stale = of_first.clone();
    stale["tokens_reserved"] = json!(500);
    fs::write(&shares[0], stale.to_string()).expect("stale");
    assert!(first.tick().status.success());
    assert_eq!(share(&shares[0]), of_first);

    // What cannot be read is not taken for nothing.
    fs::write(&config, "fleet: {tokens_per_day: 1000, day: utc}\n").expect("config");
    fs::write(&shares[0], "{").expect("torn");
    let name = shares[0].display().to_string();
    let held = second.tick_until_that("01-work", |stage| stage["reason"]["detail"].to_string().contains(&name));
    assert_eq!(held["status"], "pending");
    // The repository that it belongs to writes it anew.
    queue(&first, "02-work", HUNDRED_EACH);
    first.tick_until("02-work", "completed");
    assert_eq!(share(&shares[0])["tokens_spent"], 400);
    second.tick_until("01-work", "completed");
}

#[test]
fn a_broken_fleet_configuration_stops_dispatches_and_says_where() {
    let night = night();
    fs::write(night.home.join("config.yaml"), "fleet: {tokens_a_day: 5}\n").expect("config");
    queue(&night, "01-work", HUNDRED_EACH);
    let held = night.tick_until_that("01-work", |stage| !stage["reason"].is_null());
    assert!(held["reason"]["detail"].as_str().expect("detail").contains("config.yaml"), "{held:#}");
    fs::remove_file(night.home.join("config.yaml")).expect("removed");
    night.tick_until("01-work", "completed");
}

#[test]
fn a_local_day_is_as_long_as_the_clock_on_the_wall_makes_it() {
    let mut night = night();
    night.set("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
    night.ok(&["budget", "set", "--window", "local-day"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock").as_secs();
    // Noon of the day on which the clock goes back, of the one on which it goes forward, and of one without a change.
    for (noon, ends) in [
        (1_792_926_000_u64, "2026-10-25T23:00:00Z"),
        (1_806_228_000, "2027-03-28T22:00:00Z"),
        (1_796_727_600, "2026-12-08T23:00:00Z"),
    ] {
        let offset = i64::try_from(noon).expect("time") - i64::try_from(now).expect("time");
        night.set("AUTOMETTA_CLOCK_OFFSET", &offset.to_string());
        assert_eq!(sheet(&night)["window_rolls_at"], ends);
    }
}
