//! `simulate` over the real binary: what it says of queues whose runs are known, and that it only looks.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use autometta::files::ledger::sha256_hex;
use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS};

/// What `simulate --json` says.
fn outlook(night: &Night, args: &[&str]) -> Value {
    let args = [&["simulate", "--json"], args].concat();
    serde_json::from_str(&night.ok(&args)).expect("json")
}

/// What it says to people, on a narrow screen without colour.
fn screen(night: &Night, args: &[&str]) -> String {
    let said = night.ok(&[&["simulate", "--color", "never", "--width", "100"], args].concat());
    for line in said.lines() {
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    said
}

fn first_line(text: &str) -> &str {
    text.lines().next().expect("a line")
}

/// Every file below a folder, with the hash of its bytes.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder").flatten() {
            let path = entry.path();
            if entry.file_type().expect("type").is_dir() {
                found.insert(path.display().to_string(), "folder".to_owned());
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap_or_default();
                found.insert(path.display().to_string(), sha256_hex(&bytes));
            }
        }
    }
    found
}

/// A night in which so many stages have landed already, each at its first attempt.
fn with_history(count: usize) -> Night {
    let night = Night::with(&format!("echo \"$1\" >\"$1.txt\"\n{HAND_IN}"), &SAY_PASS.replace("a.txt", "$1.txt"));
    let stages: Vec<String> = (10..10 + count).map(|number| format!("{number}-past")).collect();
    for stage in &stages {
        queue(&night, stage, "");
    }
    for stage in &stages {
        night.tick_until(stage, "completed");
    }
    night
}

fn queue(night: &Night, stage: &str, metadata: &str) {
    let file = format!("{stage}.txt");
    night.card_with(stage, metadata, &format!("1. `{file}`"), &format!("test -s {file}"));
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

#[test]
fn an_empty_queue_and_a_halted_one_say_that_nothing_will_run_and_the_way_out() {
    let night = Night::passing();
    let said = screen(&night, &[]);
    assert_eq!(first_line(&said), "Nothing will run: nothing is queued; `autometta add-stage` queues a card.");
    night.queue("01-work");
    night.ok(&["halt", "--reason", "releasing"]);
    let said = screen(&night, &["--until", "8h"]);
    assert!(first_line(&said).starts_with("Nothing will run: halted, operator: releasing"), "{said}");
    assert!(first_line(&said).contains("`autometta resume`"), "{said}");
    let outlook = outlook(&night, &[]);
    assert_eq!((&outlook["verdict"], &outlook["stages"]), (&"nothing".into(), &1.into()), "{outlook:#}");
    assert_eq!(outlook["queue"][0]["otherwise"]["code"], "halted");
}

/// Queues a stage of the built-in families, which call no model; its worker asks where `asks` is a file.
fn queue_built_in(night: &Night, stage: &str, metadata: &str) {
    let file = format!("{stage}.txt");
    let text = format!(
        "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** Script Runner <script-runner@local>\n\
         - **Verifier:** Check Runner <check-runner@local>\n{metadata}\n## Objective\nDo it.\n\n\
         ## Deliverables\n1. `{file}`\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntest -s {file}\n```\n\n## Script\n```sh\necho {stage} >{file}\n```\n"
    );
    night.write(&format!("stage-cards/{stage}.md"), &text);
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

#[test]
fn stages_with_a_known_history_come_to_exact_figures_by_their_seed() {
    let night = Night::passing();
    for stage in ["11-past", "12-past", "13-past"] {
        queue_built_in(&night, stage, "");
        night.tick_until(stage, "completed");
    }
    for (stage, more) in [("21-a", ""), ("22-b", ""), ("23-c", "- **Depends on:** 21-a\n")] {
        queue_built_in(&night, stage, more);
    }
    let first = outlook(&night, &["--seed", "7", "--nights", "200"]);
    let lands = |outlook: &Value| {
        let queue = outlook["queue"].as_array().expect("queue");
        queue.iter().map(|stage| stage["lands_percent"].as_u64().expect("percent")).collect::<Vec<_>>()
    };
    let exact = [96, 95, 91];
    assert_eq!(lands(&first), exact, "{first:#}");
    assert_eq!(lands(&outlook(&night, &["--seed", "7", "--nights", "200"])), exact, "the same seed");
    assert_ne!(lands(&outlook(&night, &["--seed", "8", "--nights", "200"])), exact, "another");
    assert_eq!((&first["nights"], &first["seed"], &first["timer_seconds"]), (&200.into(), &7.into(), &Value::Null));
    assert_eq!(first["spend"][0]["adds"]["high"], 0, "its agents call no model");
    let basis = first["basis"].as_array().expect("basis");
    let runs: Vec<(&str, u64)> = basis
        .iter()
        .map(|basis| (basis["role"].as_str().expect("role"), basis["runs"].as_u64().expect("runs")))
        .collect();
    assert_eq!(runs, [("worker", 3), ("gate", 3), ("verifier", 3)]);
    let said = screen(&night, &["--seed", "7", "--nights", "200", "--until", "8h"]);
    assert!(first_line(&said).starts_with("You can leave it: "), "{said}");
    assert!(said.contains("drawn     worker script: from 3 runs\n"), "{said}");
    // What is thought likely is what the machine then does.
    for stage in ["21-a", "22-b", "23-c"] {
        night.tick_until(stage, "completed");
    }
}

#[test]
fn where_a_night_is_said_to_stop_it_stops() {
    // Its agents do not tell what they use, so each stage is charged at its reservations: four of the twenty million.
    let night = with_history(3);
    for stage in ["21-a", "22-b", "23-c"] {
        queue(&night, stage, "");
    }
    let outlook = outlook(&night, &["--nights", "100"]);
    assert_eq!((&outlook["verdict"], &outlook["first_limit"]["limit"]["halt"]), (&"look".into(), &"token-cap".into()));
    assert!(outlook["spend"][0]["halts_percent"].as_u64().expect("percent") > 80, "{outlook:#}");
    assert_eq!((&outlook["landed"]["median"], &outlook["queue"][2]["lands_percent"]), (&2.into(), &0.into()));
    let advice = outlook["advice"][0].as_str().expect("advice").to_owned();
    night.tick_until("22-b", "completed");
    night.wait("the halt", || {
        let _ = night.tick();
        night.budget()["halted"] == true
    });
    assert_eq!(night.budget()["halt_reason"], "token-cap");
    assert_eq!(night.stage("23-c")["status"], "pending");
    // What it advised lets the rest go on.
    let tokens = advice.split("--tokens ").nth(1).and_then(|rest| rest.split('`').next()).expect("a figure");
    night.ok(&["budget", "set", "--tokens", tokens]);
    night.tick_until("23-c", "completed");
}

#[test]
fn without_history_it_says_so_and_a_little_history_is_told_apart() {
    let night = with_history(1);
    queue(&night, "21-a", "");
    let said = screen(&night, &["--nights", "50"]);
    let helped = "from 1 run, and 2 of 3 parts by the card's own caps";
    assert!(said.contains(&format!("drawn     worker stub stub: {helped}\n")), "{said}");
    let night = Night::passing();
    night.queue("01-work");
    let said = screen(&night, &["--nights", "50"]);
    assert!(said.contains("drawn     worker stub stub: no history: the card's own caps\n"), "{said}");
    assert!(said.contains("drawn     gate: no history: the card's own caps\n"), "{said}");
}

#[test]
fn a_cap_that_surely_stops_is_named_with_the_cap_that_would_do() {
    let night = Night::passing();
    for stage in ["01-work", "02-work", "03-work"] {
        night.queue(stage);
    }
    night.ok(&["budget", "set", "--ticks", "2", "--failures", "none"]);
    let outlook = outlook(&night, &["--nights", "100"]);
    assert_eq!((&outlook["verdict"], &outlook["first_limit"]["limit"]["halt"]), (&"look".into(), &"tick-cap".into()));
    let ticks = outlook["spend"].as_array().expect("spend").iter().find(|line| line["name"] == "ticks").expect("ticks");
    assert_eq!((&ticks["cap"], &ticks["halts_percent"]), (&2.into(), &100.into()), "{outlook:#}");
    assert_eq!(outlook["landed"]["high"], 0, "two ticks bring no stage to its end");
    let needed = ticks["needed"].as_u64().expect("a figure");
    assert!((9..100).contains(&needed), "{needed}");
    let said = screen(&night, &["--nights", "100"]);
    assert!(first_line(&said).contains("the cap on ticks halts 100 of 100 nights"), "{said}");
    assert!(said.contains(&format!("`autometta budget set --ticks {needed}` lets nine of ten go on")), "{said}");
    night.ok(&["budget", "set", "--ticks", &needed.to_string()]);
    let after = self::outlook(&night, &["--nights", "100"]);
    let halts = after["spend"][3]["halts_percent"].as_u64().expect("percent");
    assert!(halts <= 20, "nine of ten of the nights that it was found by: {halts}");
}

#[test]
fn a_stage_behind_a_question_does_not_land_and_the_question_comes_first() {
    let asks = r#"printf '{"stage_id":"%s","status":"blocked","deliverables":[],"notes":"","question":"Which?"}' "$1" >.autometta/outbox/handoff.json"#;
    let night = Night::with(asks, SAY_PASS);
    night.queue("01-asks");
    night.tick_until("01-asks", "blocked");
    night.card_with("02-behind", "- **Depends on:** 01-asks\n", "1. `a.txt`", "true");
    night.ok(&["add-stage", "stage-cards/02-behind.md"]);
    let said = screen(&night, &["--nights", "50"]);
    let line = first_line(&said);
    assert!(line.starts_with("Nothing will run: 01-asks waits for you: Which?, 1 behind it; "), "{said}");
    assert!(line.contains("autometta answer 01-asks"), "{said}");
    night.queue("03-free");
    let outlook = outlook(&night, &["--nights", "50"]);
    assert_eq!(outlook["verdict"], "look", "{outlook:#}");
    assert_eq!(outlook["waits"][0]["behind"], serde_json::json!(["02-behind"]));
    let behind = &outlook["queue"][0];
    assert_eq!((&behind["stage"], &behind["lands_percent"]), (&"02-behind".into(), &0.into()), "{behind:#}");
    assert_eq!(behind["otherwise"]["code"], "dependency");
    assert!(outlook["advice"][0].as_str().expect("advice").contains("autometta answer 01-asks"), "{outlook:#}");
}

#[test]
fn a_run_under_way_is_part_of_the_night() {
    let night = Night::with(
        &format!("touch \"$T/here\"\nwhile [ ! -e \"$T/go\" ]; do sleep 0.02; done\necho work >a.txt\n{HAND_IN}"),
        SAY_PASS,
    );
    night.queue("01-work");
    let here = night.t().join("here");
    night.tick_until_that("01-work", |_| here.exists());
    let outlook = outlook(&night, &["--nights", "100"]);
    assert_eq!((&outlook["queue"][0]["now"], &outlook["nothing"]), (&"working".into(), &Value::Null), "{outlook:#}");
    let lands = outlook["queue"][0]["lands_percent"].as_u64().expect("percent");
    assert!((20..100).contains(&lands), "{lands}");
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-work", "completed");
}

#[test]
fn a_time_that_is_past_is_tomorrows_and_a_moment_that_is_past_is_refused() {
    let mut night = Night::passing();
    night.set("TZ", "UTC");
    night.queue("01-work");
    let now = chrono::Utc::now();
    let past = (now - chrono::TimeDelta::minutes(2)).format("%H:%M").to_string();
    let outlook = outlook(&night, &["--nights", "10", "--until", &past]);
    let until: chrono::DateTime<chrono::Utc> = outlook["until"].as_str().expect("time").parse().expect("time");
    let ahead = until - now;
    assert!((chrono::TimeDelta::hours(23)..chrono::TimeDelta::hours(24)).contains(&ahead), "{until}");
    let said = night.fails(&["simulate", "--until", "2020-01-01T00:00:00Z"], 1);
    assert!(said.contains("is over") && said.contains("still to come"), "{said}");
    let said = night.fails(&["simulate", "--until", "soon"], 2);
    assert!(said.contains("06:00"), "{said}");
    let said = night.fails(&["simulate", "--nights", "0"], 2);
    assert!(said.contains("--nights"), "{said}");
}

#[test]
fn the_hour_that_the_clock_leaves_out_is_the_one_after_it() {
    let mut night = Night::passing();
    // Clocks go from 02:00 to 03:00 on the last Sunday of March.
    night.set("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
    night.queue("01-work");
    let until = |text: &str| outlook(&night, &["--nights", "1", "--until", text])["until"].clone();
    assert_eq!(until("2099-03-29 02:30"), "2099-03-29T01:30:00Z");
    assert_eq!(until("2099-03-29 03:30"), "2099-03-29T01:30:00Z");
    assert_eq!(until("2099-10-25 02:30"), "2099-10-25T00:30:00Z", "of an hour that comes twice, the first");
}

#[test]
fn what_is_printed_as_json_is_valid_by_its_schema() {
    let night = with_history(1);
    queue(&night, "21-a", "");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/simulate.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).expect("schema")).expect("json");
    let validator = jsonschema::validator_for(&schema).expect("schema");
    let valid = |night: &Night| {
        let outlook = outlook(night, &["--nights", "20", "--until", "8h"]);
        let faults: Vec<String> = validator.iter_errors(&outlook).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{faults:?}");
    };
    valid(&night);
    night.ok(&["budget", "set", "--ticks", "1"]);
    valid(&night);
    night.ok(&["halt"]);
    valid(&night);
}

#[test]
fn looking_ahead_changes_nothing() {
    let night = with_history(1);
    queue(&night, "21-a", "");
    let before = files(&night.base());
    for args in [&[][..], &["--until", "8h", "--json"], &["--nights", "30", "--seed", "5"]] {
        night.ok(&[&["simulate"], args].concat());
    }
    let after = files(&night.base());
    let changed: Vec<_> = before.iter().filter(|(path, hash)| after.get(*path) != Some(hash)).collect();
    assert!(changed.is_empty() && after.len() == before.len(), "{changed:?}");
}
