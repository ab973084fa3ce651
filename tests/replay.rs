//! The journal over whole nights with the real binary: every decision made again, every past state had back, and what
//! was changed, torn or never committed told apart.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test prints its figures and fails loudly"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use autometta::core::state_doc::StateDoc;
use autometta::files::ledger::{Line, sha256_hex};
use autometta::files::store;
use serde_json::{Value, json};

use support::night::{HAND_IN, Night, text};

/// The worker of every stage: what it does follows from the stage and the attempt.
fn worker() -> String {
    format!(
        "case \"$2\" in\n\
         02-gate.1.worker) echo bad >$1.txt;;\n\
         04-ask.1.worker) printf '{{\"stage_id\":\"%s\",\"status\":\"blocked\",\"deliverables\":[],\"notes\":\"n\",\"question\":\"Which?\"}}' \"$1\" >.autometta/outbox/handoff.json; exit 0;;\n\
         *) echo work >$1.txt; echo \"$2\" >>$1.txt;;\n\
         esac\n{HAND_IN}"
    )
}

/// The verifier of every stage: it does not like the first attempt of one.
const VERIFIER: &str = r#"word=PASS; case "$2" in 03-judge.1.verifier*) word=FAIL;; esac
printf '{"stage_id":"%s","overall":"%s","headline":"Looked","criteria":[{"id":1,"name":"it works","verdict":"%s","evidence":"%s.txt:1"}],"additional_findings":"see the file"}' "$1" $word $word "$1" >.autometta/outbox/verdict.json"#;

fn card(night: &Night, stage: &str) {
    let (deliverable, gate) = (format!("1. `{stage}.txt`: the work"), format!("grep -q work {stage}.txt"));
    night.card_with(stage, "", &deliverable, &gate);
}

fn queue(night: &Night, stage: &str) {
    card(night, stage);
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

/// A night with everything in it: a landing, a gate that fails, a verdict that fails, a question, commands.
fn full() -> Night {
    let night = Night::with(&worker(), VERIFIER);
    for stage in ["01-land", "02-gate", "03-judge", "04-ask", "05-skip"] {
        queue(&night, stage);
    }
    night.ok(&["halt", "--reason", "a look first"]);
    night.tick();
    night.ok(&["budget", "set", "--tokens", "200M"]);
    night.ok(&["resume"]);
    night.ok(&["skip", "05-skip"]);
    night.ok(&["requeue", "05-skip"]);
    night.ok(&["skip", "05-skip"]);
    for stage in ["01-land", "02-gate", "03-judge"] {
        night.tick_until(stage, "completed");
    }
    night.tick_until("04-ask", "blocked");
    night.ok(&["answer", "04-ask", "--text", "The second."]);
    night.tick_until("04-ask", "completed");
    drop(night.alone());
    night
}

fn replay(night: &Night) -> Value {
    let output = night.run(&["log", "--replay", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
    let differs = document["differences"].as_u64().expect("differences") > 0;
    assert_eq!(output.status.code(), Some(i32::from(differs)), "{document:#}");
    document
}

/// A replay that finds nothing.
fn clean(night: &Night) -> Value {
    let found = replay(night);
    assert_eq!((found["differences"].as_u64(), &found["findings"]), (Some(0), &json!([])), "{found:#}");
    found
}

fn ledger(night: &Night) -> Vec<Line> {
    night.read("repo/state/ledger.jsonl").lines().map(|line| serde_json::from_str(line).expect("line")).collect()
}

fn segments(night: &Night) -> Vec<PathBuf> {
    let entries = fs::read_dir(night.repo.join("state/journal")).expect("journal");
    let paths = entries.map(|entry| entry.expect("entry").path());
    let mut all: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    all.sort();
    all
}

fn records(night: &Night) -> Vec<String> {
    segments(night)
        .iter()
        .flat_map(|path| fs::read_to_string(path).expect("text").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The state after a line of the ledger, as `show --at` has it.
fn at(night: &Night, seq: u64) -> Value {
    serde_json::from_str(&night.ok(&["show", "--at", &seq.to_string(), "--json"])).expect("json")
}

/// Every copy on `refs/autometta/state`: the ledger's last line by then, and the state.
fn copies(night: &Night) -> BTreeMap<u64, StateDoc> {
    let commits = night.git(&["rev-list", "refs/autometta/state"]);
    let copy = |commit: &str| {
        let seal: Value = serde_json::from_str(&night.git(&["show", &format!("{commit}:seal.json")])).expect("seal");
        let state = night.git(&["show", &format!("{commit}:state.yaml")]);
        let state = store::decode_state(&PathBuf::from("copy"), state.as_bytes()).expect("state");
        (seal["ledger"]["seq"].as_u64().expect("seq"), StateDoc::from(&state))
    };
    commits.lines().map(copy).collect()
}

fn assert_past_is_as_it_was(night: &Night) {
    let (lines, copies) = (ledger(night), copies(night));
    let mut compared = 0;
    for line in &lines {
        let past = at(night, line.seq);
        let commit = &past["commit"];
        let (first, last) = (commit["first"].as_u64().expect("first"), commit["last"].as_u64().expect("last"));
        assert!((first..=last).contains(&line.seq), "{}: {commit}", line.seq);
        assert_eq!((&commit["tick"], &past["state"]["tick_count"]), (&line.tick.into(), &line.tick.into()));
        assert_eq!(past["budget"]["tokens_spent"], serde_json::to_value(line.tokens_spent).expect("tokens"));
        if let Some(copy) = copies.get(&line.seq) {
            assert_eq!(past["state"], serde_json::to_value(copy).expect("json"), "line {}", line.seq);
            compared += 1;
        }
    }
    assert!(compared * 5 > lines.len(), "only {compared} of {} lines have a copy to compare with", lines.len());
    // Chores that were done since the last line are told by none.
    let without_chores = |stages: &Value| {
        let mut stages = stages.as_array().expect("stages").clone();
        for stage in &mut stages {
            stage.as_object_mut().expect("stage").remove("chores");
        }
        stages
    };
    let (last, now) = (at(night, lines.len() as u64), night.status());
    assert!(without_chores(&last["state"]["stages"]) == without_chores(&now["stages"]), "{last:#}\n{now:#}");
}

#[test]
fn a_whole_night_is_decided_again_and_every_state_of_it_is_had_back() {
    let night = full();
    let found = clean(&night);
    assert!(found["unrecorded"].as_array().expect("spans").is_empty(), "{found:#}");
    assert_eq!((&found["unfinished"], &found["lost"], &found["given"]), (&json!(0), &json!(0), &json!(1)), "{found:#}");
    let lines = ledger(&night);
    assert_eq!(found["until"], json!(lines.len()));
    let commits = lines.iter().filter(|line| line.record.is_some()).count() as u64;
    assert!(found["recomputed"].as_u64() >= Some(commits - 1), "{found:#}");
    for event in ["gate-failed", "answered", "landed", "halted", "resumed", "requeued"] {
        assert!(
            lines.iter().any(|line| line.note.event == event),
            "no {event} in {:#?}",
            lines.iter().map(|line| &line.note.event).collect::<Vec<_>>()
        );
    }
    assert_past_is_as_it_was(&night);
    // The same from the middle on.
    let middle = lines.len() / 2;
    let said = night.ok(&["log", "--replay", "--from", &middle.to_string()]);
    assert!(said.contains(&format!("lines {middle} to {}: nothing differs", lines.len())), "{said}");
    // And for people.
    let question = lines.iter().find(|line| line.note.to.as_deref() == Some("blocked")).expect("blocked").seq;
    let said = night.ok(&["show", "--at", &question.to_string()]);
    assert!(said.contains("of the ledger left it") && said.contains("04-ask") && said.contains("needs you"), "{said}");
    let said = night.ok(&["show", "04-ask", "--at", &question.to_string()]);
    assert!(said.contains("Which?") && !said.contains("landed as"), "{said}");
    let said = night.fails(&["show", "--at", "9999"], 1);
    assert!(said.contains(&format!("the lines 1 to {}", lines.len())), "{said}");
}

#[test]
fn a_record_is_small() {
    let night = full();
    let mut sizes: Vec<usize> = records(&night).iter().map(String::len).collect();
    sizes.sort_unstable();
    let (median, largest) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    println!("{} records, median {median} bytes, largest {largest}", sizes.len());
    assert!(median < 4_000 && largest < 8_000, "{sizes:?}");
}

#[test]
fn what_was_edited_by_hand_and_what_was_restored_is_a_new_beginning() {
    let night = Night::with(&worker(), VERIFIER);
    queue(&night, "01-land");
    queue(&night, "02-gate");
    let path = night.repo.join("state/state.yaml");
    let before = fs::read_to_string(&path).expect("state");
    fs::write(&path, before.replacen("title: Do the work", "title: Edited by hand", 1)).expect("edited");
    night.tick_until("01-land", "completed");
    drop(night.alone());
    let edited = records(&night).iter().filter(|record| record.contains("\"why\":\"edited\"")).count();
    assert_eq!(edited, 1, "{:#?}", records(&night));
    clean(&night);
    // Damage that the next tick mends from the copy, and damage that a person mends.
    night.tick_until_that("02-gate", |stage| stage["attempt"] == 2);
    let lock = night.alone();
    fs::write(&path, "version: 2\n").expect("damaged");
    drop(lock);
    night.tick();
    night.tick_until("02-gate", "completed");
    let lock = night.alone();
    fs::write(night.repo.join("state/budget.json"), "{").expect("damaged");
    night.git(&["update-ref", "refs/autometta/state", "refs/autometta/state~2"]);
    drop(lock);
    night.tick();
    night.ok(&["doctor", "--restore", "--yes"]);
    queue(&night, "03-judge");
    night.tick_until("03-judge", "completed");
    drop(night.alone());
    let found = clean(&night);
    let restored = ledger(&night).iter().filter(|line| line.note.event == "restored").count();
    assert_eq!(restored, 2, "{}", night.ok(&["log"]));
    assert_eq!(found["given"], json!(1 + restored), "{found:#}");
    assert!(found["unrecorded"].as_array().expect("spans").is_empty(), "{found:#}");
    for line in ledger(&night) {
        at(&night, line.seq);
    }
}

#[test]
fn a_tick_killed_around_its_record_leaves_a_journal_that_tells_so() {
    let mut unfinished = 0;
    for fault in [
        "tick/journal.write:1:abort",
        "tick/journal.write:1:torn",
        "tick/ledger.write:1:abort",
        "tick/ledger.write:1:torn",
        "tick/atomic.sync@.txn.json:*:abort",
        "tick/atomic.rename@.txn.json:*:abort",
    ] {
        let mut night = Night::with(&worker(), VERIFIER);
        queue(&night, "01-land");
        night.tick_until_that("01-land", |stage| stage["status"] != "pending");
        night.tick_until_that("01-land", |stage| stage["phase"] != "working");
        night.ok(&["halt"]);
        night.wait("nothing runs", || {
            night.status()["stages"][0]["phase"] != "gating"
                || night.repo.join("state/runs/01-land.1.gate/exit.json").exists()
        });
        drop(night.alone());
        let faults = night.base().join("faults");
        fs::create_dir_all(&faults).expect("folder");
        queue(&night, "02-gate");
        night.ok(&["resume"]);
        night.set("AUTOMETTA_FAULT_DIR", &faults.display().to_string());
        night.set("AUTOMETTA_FAULT", fault);
        let mut died = 0;
        for _ in 0..3 {
            died += u64::from(night.tick().status.code().is_none());
        }
        night.set("AUTOMETTA_FAULT", "");
        assert!(died > 0, "{fault}: nobody died");
        night.tick_until("01-land", "completed");
        night.tick_until("02-gate", "completed");
        drop(night.alone());
        let found = clean(&night);
        unfinished += found["unfinished"].as_u64().expect("a count");
        assert!(found["unrecorded"].as_array().expect("spans").is_empty(), "{fault}: {found:#}");
        assert_eq!(
            found["unread"].as_array().map(Vec::len),
            Some(usize::from(fault.contains("journal.write:1:torn"))),
            "{fault}: {found:#}"
        );
        assert_past_is_as_it_was(&night);
    }
    assert!(unfinished > 0, "no record was left without its commit");
}

#[test]
fn a_journal_that_cannot_be_written_stops_nothing_and_is_told() {
    let mut night = Night::with(&worker(), VERIFIER);
    queue(&night, "01-land");
    let last = ledger(&night).len() as u64;
    night.fail(|_| "*/journal.write:*:enospc".to_owned());
    night.tick_until("01-land", "completed");
    drop(night.alone());
    night.set("AUTOMETTA_FAULT", "");
    let log = night.tick_log();
    assert!(log.contains("will say that it is not recorded"), "{log}");
    let until = ledger(&night).len() as u64;
    queue(&night, "02-gate");
    night.tick_until("02-gate", "completed");
    drop(night.alone());
    let found = clean(&night);
    assert_eq!(found["unrecorded"], json!([{"first": last + 1, "last": until}]), "{found:#}");
    let said = night.ok(&["log", "--replay"]);
    assert!(said.contains(&format!("not recorded: lines {}–{until}", last + 1)), "{said}");
    let said = night.fails(&["show", "--at", &until.to_string()], 1);
    assert!(said.contains("is not recorded") && said.contains(&format!("show --at {last}`")), "{said}");
    at(&night, last);
    at(&night, until + 1);
}

/// Writes the journal anew, each record as `change` leaves it; with `sealed`, all hashes in journal and ledger fit.
fn rewrite(night: &Night, sealed: bool, mut change: impl FnMut(&mut Value)) {
    let (mut names, mut prev) = (BTreeMap::new(), None);
    for path in segments(night) {
        let mut out = String::new();
        for line in fs::read_to_string(&path).expect("segment").lines() {
            let mut record: Value = serde_json::from_str(line).expect("record");
            change(&mut record);
            if let (true, Some(prev)) = (sealed, prev.take()) {
                record["prev"] = Value::String(prev);
            }
            let text = if record == serde_json::from_str::<Value>(line).expect("record") {
                line.to_owned()
            } else {
                record.to_string()
            };
            let sha256 = sha256_hex(text.as_bytes());
            names.insert(sha256_hex(line.as_bytes()), sha256.clone());
            prev = Some(sha256);
            out.push_str(&text);
            out.push('\n');
        }
        fs::write(&path, out).expect("written");
    }
    if sealed {
        let (mut out, mut prev) = (String::new(), "0".repeat(64));
        for mut line in ledger(night) {
            line.prev.clone_from(&prev);
            line.record = line.record.map(|name| names[&name].clone());
            let text = serde_json::to_string(&line).expect("line");
            prev = sha256_hex(text.as_bytes());
            out.push_str(&text);
            out.push('\n');
        }
        fs::write(night.repo.join("state/ledger.jsonl"), out).expect("written");
    }
}

fn keep_part(night: &Night, value: &Value) -> String {
    let bytes = serde_json::to_vec(value).expect("json");
    let name = sha256_hex(&bytes);
    fs::write(night.repo.join("state/journal/parts").join(&name), bytes).expect("part");
    name
}

fn part(night: &Night, name: &Value) -> Value {
    let path = night.repo.join("state/journal/parts").join(name.as_str().expect("name"));
    serde_json::from_slice(&fs::read(path).expect("part")).expect("json")
}

#[test]
fn a_changed_rule_is_named_with_the_first_place_that_differs() {
    let night = full();
    let failed = ledger(&night).into_iter().find(|line| line.note.event == "gate-failed").expect("failed");
    // Today's rules would not brief the worker of the failed gate again.
    rewrite(&night, true, |record| {
        if record["first"] == json!(failed.seq) && record["lines"] != json!(0) {
            let mut policy = part(&night, &record["cause"]["policy"]);
            policy["work_retries"] = json!(0);
            record["cause"]["policy"] = Value::String(keep_part(&night, &policy));
        }
    });
    let found = replay(&night);
    let findings = found["findings"].as_array().expect("findings");
    assert_eq!((findings.len(), &findings[0]["seq"]), (1, &json!(failed.seq)), "{found:#}");
    assert_eq!(findings[0]["transition"], "gate-failed 02-gate", "{found:#}");
    let place = findings[0]["difference"]["at"].as_str().expect("place");
    assert!(place.starts_with("stages[1]."), "{found:#}");
    let said = night.fails(&["log", "--replay"], 1);
    let wanted =
        format!("seq {} (gate-failed 02-gate): the machine of today decides otherwise; {place}: expected ", failed.seq);
    assert!(said.contains(&wanted) && said.contains(", decided ") && said.contains("1 difference"), "{said}");
    // What came after is recomputed all the same, and every past state is had.
    assert!(found["unrecorded"].as_array().expect("spans").is_empty(), "{found:#}");
    assert_past_is_as_it_was(&night);
}

#[test]
fn evidence_that_was_changed_is_named() {
    let night = full();
    let whole: Vec<(PathBuf, String)> =
        segments(&night).into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("segment"))).collect();
    let landed = ledger(&night).into_iter().find(|line| line.note.event == "landed").expect("landed").seq;
    // A record that the ledger names: another time.
    rewrite(&night, false, |record| {
        if record["first"] == json!(landed) && record["lines"] != json!(0) {
            record["at"] = json!("2020-01-01T00:00:00Z");
        }
    });
    let said = night.fails(&["log", "--replay"], 1);
    assert!(
        said.contains(&format!("seq {landed} (landed ")) && said.contains("it was changed after the commit"),
        "{said}"
    );
    let put_back = || whole.iter().for_each(|(path, text)| fs::write(path, text).expect("put back"));
    put_back();
    clean(&night);
    // A record that was taken away.
    let mut gone = 0;
    for (path, text) in &whole {
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains(&format!("\"first\":{landed},"))).collect();
        gone += text.lines().count() - kept.len();
        fs::write(path, kept.join("\n") + "\n").expect("written");
    }
    assert!(gone > 0);
    let said = night.fails(&["log", "--replay"], 1);
    assert!(said.contains("was changed or taken away") && said.contains("not recorded: lines"), "{said}");
    put_back();
    // A part.
    let record = records(&night).into_iter().find(|record| record.contains("\"policy\"")).expect("step");
    let record: Value = serde_json::from_str(&record).expect("record");
    let path = night.repo.join("state/journal/parts").join(record["cause"]["policy"].as_str().expect("name"));
    let policy = fs::read_to_string(&path).expect("part");
    fs::write(&path, policy.replace("\"work_retries\":1", "\"work_retries\":2")).expect("changed");
    let said = night.fails(&["log", "--replay"], 1);
    assert!(said.contains("is not what it was"), "{said}");
    fs::remove_file(&path).expect("removed");
    let said = night.ok(&["log", "--replay"]);
    assert!(said.contains("is gone") && said.contains("not recorded: lines"), "{said}");
    fs::write(&path, policy).expect("put back");
    clean(&night);
}

#[test]
fn lines_from_before_there_was_a_journal_are_told_and_nothing_else() {
    let night = Night::with(&worker(), VERIFIER);
    queue(&night, "01-land");
    night.tick_until("01-land", "completed");
    drop(night.alone());
    // As an older program left it: no journal, no names.
    fs::remove_dir_all(night.repo.join("state/journal")).expect("removed");
    let (mut out, mut prev) = (String::new(), "0".repeat(64));
    for mut line in ledger(&night) {
        (line.prev, line.record) = (prev, None);
        let text = serde_json::to_string(&line).expect("line");
        prev = sha256_hex(text.as_bytes());
        out.push_str(&(text + "\n"));
    }
    fs::write(night.repo.join("state/ledger.jsonl"), out).expect("written");
    let old = ledger(&night).len() as u64;
    assert_eq!(clean(&night)["unrecorded"], json!([{"first": 1, "last": old}]));
    queue(&night, "02-gate");
    night.tick_until("02-gate", "completed");
    drop(night.alone());
    assert_eq!(clean(&night)["unrecorded"], json!([{"first": 1, "last": old}]));
    let said = night.fails(&["show", "--at", "1"], 1);
    assert!(said.contains("is not recorded") && said.contains("refs/autometta/state"), "{said}");
    at(&night, old + 1);
}
