//! What an operator says and reads, over the real binary: every command, its refusals, its exit code, its words.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;

use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS, text};

/// Blocks until the test lets everybody go.
const WAIT_FOR_GO: &str = r#"while [ ! -e "$T/go" ]; do sleep 0.02; done"#;

fn go(night: &Night) {
    fs::write(night.t().join("go"), "").expect("go");
}

/// A night whose stage is in this phase and stays there until [`go`].
fn held_in(phase: &str) -> Night {
    let wait = |here: &str| if phase == here { format!("touch \"$T/here\"; {WAIT_FOR_GO}\n") } else { String::new() };
    let night = Night::with(
        &format!("echo work >a.txt\n{}{HAND_IN}", wait("working")),
        &format!("{}{SAY_PASS}", wait("verifying")),
    );
    // A gate has no variable of the test's.
    let gate = format!("T='{}'\n{}test -s a.txt", night.t().display(), wait("gating"));
    night.card_with("01-work", "", "1. `a.txt`", &gate);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    let here = night.t().join("here");
    night.tick_until_that("01-work", |stage| here.exists() && stage["phase"] == phase);
    night
}

/// What a refused command must leave as it was: every decision is a line of the ledger. Ticks that follow on the ends of
/// runs may tidy up meanwhile, which is none.
fn memory(night: &Night) -> String {
    night.read("repo/state/ledger.jsonl")
}

/// A command that is refused: exit code 3, a sentence, and nothing changed.
fn refused(night: &Night, args: &[&str], words: &[&str]) {
    let before = memory(night);
    let said = night.fails(args, 3);
    for word in words {
        assert!(said.contains(word), "{args:?} should say `{word}`:\n{said}");
    }
    assert!(said.starts_with("autometta: "), "{said}");
    assert_eq!(memory(night), before, "{args:?} was refused and changed something");
}

#[test]
fn requeue_starts_an_ended_stage_anew_from_its_card_as_it_is_now() {
    let night = Night::with(&format!("cat >\"$T/$2\"\necho work >a.txt\n{HAND_IN}"), SAY_PASS);
    night.stub("verifier", &SAY_PASS.replace("PASS", "FAIL"));
    night.queue("01-work");
    let failed = night.tick_until("01-work", "verifier_failed");
    let card = night.read("repo/stage-cards/01-work.md");
    night.write("stage-cards/01-work.md", &card.replace("Do it.", "Do it better."));
    night.stub("verifier", SAY_PASS);
    let said = night.ok(&["requeue", "01-work"]);
    assert!(said.contains("01-work requeued [verifier_failed → pending]"), "{said}");
    let stage = night.tick_until("01-work", "completed");
    let attempt = stage["attempt"].as_u64().expect("attempt");
    assert!(attempt > failed["attempt"].as_u64().expect("attempt"), "runs are never run twice under one name");
    assert!(night.read(format!("t/01-work.{attempt}.worker")).contains("Do it better."));
    assert_ne!(stage["card_sha256"], failed["card_sha256"]);
}

#[test]
fn requeue_takes_over_the_claims_and_dependencies_of_the_card_as_it_is_now() {
    let night = Night::with("exit 1", SAY_PASS);
    night.manifest("retry: {infrastructure: 0, work: 0}");
    night.queue("01-work");
    night.tick_until("01-work", "stalled");
    night.queue("02-other");
    night.ok(&["skip", "02-other"]);
    night.card_with(
        "01-work",
        "- **Depends on:** 02-other\n- **Path claims:** src/\n- **Priority:** 7\n",
        "1. `b.txt`",
        "true",
    );
    night.ok(&["requeue", "01-work"]);
    let stage = night.stage("01-work");
    assert_eq!(stage["path_claims"], serde_json::json!(["src/", "b.txt"]), "{stage:#}");
    assert_eq!(stage["depends_on"], serde_json::json!(["02-other"]));
    assert_eq!(stage["priority"], 7);
    night.tick();
    assert_eq!(night.stage("01-work")["status"], "pending", "its new dependency holds it");
}

#[test]
fn requeue_of_several_stages_is_all_or_none() {
    let night = held_in("working");
    night.queue("02-other");
    night.ok(&["skip", "02-other"]);
    refused(&night, &["requeue", "02-other", "01-work"], &["01-work is working", "cancel"]);
    refused(&night, &["skip", "01-work", "99-unknown"], &["99-unknown"]);
}

#[test]
fn requeue_is_refused_where_it_makes_no_sense() {
    let night = held_in("verifying");
    refused(&night, &["requeue", "01-work"], &["01-work is verifying", "autometta cancel"]);
    refused(&night, &["requeue", "99-none"], &["no stage 99-none", "autometta status"]);
    night.queue("02-next");
    refused(&night, &["requeue", "02-next"], &["02-next is pending", "in the queue already"]);
    night.ok(&["skip", "02-next"]);
    go(&night);
    night.tick_until("01-work", "completed");
    refused(&night, &["requeue", "01-work"], &["01-work is completed", "has landed"]);
}

#[test]
fn skip_closes_a_pending_stage_at_once_and_refuses_a_second_time() {
    let night = Night::passing();
    night.queue("01-work");
    night.ok(&["skip", "01-work"]);
    assert_eq!(night.stage("01-work")["status"], "superseded");
    refused(&night, &["skip", "01-work"], &["01-work is superseded"]);
    night.tick();
    assert_eq!(night.stage("01-work")["attempt"], 0);
    // Terminal stages move only by a command, and this is one.
    night.ok(&["requeue", "01-work"]);
    night.tick_until("01-work", "completed");
    refused(&night, &["skip", "01-work"], &["01-work is completed"]);
}

#[test]
fn skip_stops_what_runs_and_lands_nothing() {
    let night = held_in("working");
    night.ok(&["skip", "01-work"]);
    let stage = night.tick_until("01-work", "superseded");
    assert_eq!(stage["reason"]["code"], "skipped");
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
}

#[test]
fn skip_closes_a_landing_that_waits() {
    let night = Night::passing();
    night.queue("01-work");
    night.write("a.txt", "mine\n");
    night.tick_until_that("01-work", |stage| stage["reason"]["code"] == "local-edits");
    refused(&night, &["cancel", "01-work"], &["01-work is landing", "autometta skip"]);
    night.ok(&["skip", "01-work"]);
    fs::remove_file(night.repo.join("a.txt")).expect("remove");
    night.tick();
    assert_eq!(night.stage("01-work")["status"], "superseded");
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
    assert!(!night.repo.join("a.txt").exists());
}

#[test]
fn cancel_is_refused_where_nothing_runs() {
    let night = Night::passing();
    night.queue("01-work");
    refused(&night, &["cancel", "01-work"], &["01-work is pending", "autometta skip"]);
    night.tick_until("01-work", "completed");
    refused(&night, &["cancel", "01-work"], &["01-work is completed", "ended already"]);
}

#[test]
fn cancel_stops_each_kind_of_run_keeps_the_work_and_lands_nothing() {
    for phase in ["working", "gating", "verifying"] {
        let night = held_in(phase);
        let run = night.stage("01-work")["runs"][0]["run"].as_str().expect("run").to_owned();
        night.ok(&["cancel", "01-work"]);
        let stage = night.tick_until("01-work", "failed");
        assert_eq!(stage["reason"]["code"], "cancelled", "{phase}");
        let past = stage["history"].as_array().expect("history").last().expect("a run").clone();
        assert_eq!(
            (past["run"].as_str(), past["outcome"].as_str()),
            (Some(run.as_str()), Some("cancelled")),
            "{phase}"
        );
        let exit = night.repo.join(format!("state/runs/{run}/exit.json"));
        night.wait("its record", || exit.exists());
        // The tick that ended the stage may be a run's pulse, which keeps the work after it has written that down.
        let mut kept = String::new();
        night.wait("its work to be kept", || {
            night.tick();
            kept = night.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/wip"]);
            !kept.is_empty()
        });
        assert!(kept.starts_with("wip/01-work-attempt-1"), "{phase}: {kept}");
        assert_eq!(night.git(&["show", &format!("{kept}:a.txt")]), "work", "{phase}");
        assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin", "{phase}");
        let budget = night.budget();
        assert_eq!(
            (&budget["tokens_reserved"], &budget["consecutive_failures"]),
            (&Value::from(0), &Value::from(0)),
            "{phase}: a person's decision is no failure of the machine's"
        );
        night.wait("its checkouts to go", || {
            night.tick();
            !night.worktrees().exists()
        });
    }
}

#[test]
fn halt_stops_dispatch_while_what_runs_goes_on_to_its_end() {
    let night = held_in("working");
    night.queue("02-next");
    let said = night.ok(&["halt", "--reason", "releasing"]);
    assert!(said.contains("halted") && said.contains("releasing"), "{said}");
    assert_eq!(night.ok(&["halt"]), "the repository was halted already\n");
    night.wait("a tick to say by its code that the repository is halted", || night.tick().status.code() == Some(4));
    assert!(night.ok(&["status"]).contains("HALTED operator: releasing"));
    go(&night);
    let stage = night.tick_until_that("01-work", |stage| stage["phase"] == "gating");
    assert_eq!(stage["runs"], Value::Null, "the worker was collected, and no gate was started");
    for _ in 0..3 {
        night.tick();
    }
    let stage = night.stage("01-work");
    assert_eq!((stage["phase"].as_str(), &stage["runs"]), (Some("gating"), &Value::Null));
    assert_eq!(night.stage("02-next")["status"], "pending");
    assert!(night.ok(&["log"]).matches("halted").count() == 1, "said once");
    let said = night.ok(&["resume"]);
    assert!(said.contains("lifted operator"), "{said}");
    night.tick_until("01-work", "completed");
    night.tick_until_that("02-next", |stage| stage["attempt"] != 0);
    assert!(night.fails(&["resume"], 3).contains("not halted"));
}

#[test]
fn resume_refuses_while_a_cap_on_spend_is_still_reached_and_goes_on_once_it_is_raised() {
    let night = Night::bare();
    night.stub("worker", &format!("echo work >a.txt\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    night.manifest("caps: {tokens: 3000000}");
    night.ok(&["init"]);
    night.queue("01-work");
    // The stub reports no usage, so its whole reservation of three million is charged, and the verifier does not fit.
    night.wait("the cap", || night.tick().status.code() == Some(4));
    refused(&night, &["resume"], &["token-cap", "`autometta budget set --tokens "]);
    assert_eq!(night.budget()["halted"], true);
    assert!(night.ok(&["status"]).contains("HALTED token-cap"));
    night.ok(&["budget", "set", "--tokens", "9M"]);
    night.tick_until("01-work", "completed");
}

#[test]
fn resume_lifts_a_failure_cap_and_counts_anew() {
    let night = Night::bare();
    night.stub("worker", "printf '{\"stage_id\":\"%s\",\"status\":\"fail\",\"deliverables\":[],\"notes\":\"no\"}' \"$1\" >.autometta/outbox/handoff.json");
    night.stub("verifier", SAY_PASS);
    night.manifest("caps: {tokens: 100000000, consecutive_failures: 2}");
    night.ok(&["init"]);
    for stage in ["01-a", "02-b", "03-c"] {
        night.queue(stage);
    }
    night.tick_until("02-b", "failed");
    night.wait("the halt", || night.tick().status.code() == Some(4));
    assert_eq!(night.stage("03-c")["status"], "pending");
    night.ok(&["resume"]);
    assert_eq!(night.budget()["consecutive_failures"], 0);
    night.tick_until("03-c", "failed");
    assert_eq!(night.budget()["halted"], false);
}

#[test]
fn answer_lets_a_blocked_worker_go_on_with_the_answer_and_its_work() {
    let ask = "printf '{\"stage_id\":\"%s\",\"status\":\"blocked\",\"deliverables\":[],\"notes\":\"n\",\"question\":\"Which one?\"}' \"$1\" >.autometta/outbox/handoff.json";
    let worker = format!("cat >\"$T/$2\"\nif [ -e a.txt ]; then {HAND_IN}; else echo half >a.txt; {ask}; fi");
    let night = Night::with(&worker, SAY_PASS);
    night.queue("01-work");
    refused(&night, &["answer", "01-work", "--text", "x"], &["01-work is pending"]);
    assert!(!night.repo.join("state/answers/01-work.md").exists(), "a refused answer leaves nothing");
    night.tick_until("01-work", "blocked");
    assert!(night.ok(&["status"]).contains("Which one?"));
    night.wait("the published question", || {
        night.tick();
        night.repo.join("state/questions/01-work.json").exists()
    });
    night.fails(&["answer", "01-work"], 2);
    night.fails(&["answer", "01-work", "--file", "no-such-file"], 1);
    night.write("../answer.md", "The second one — «deux».\n");
    night.ok(&["answer", "01-work", "--file", "../answer.md"]);
    night.tick_until("01-work", "completed");
    assert!(night.read("t/01-work.2.worker").contains("The second one — «deux»."));
    assert_eq!(night.git(&["show", "main:a.txt"]), "half");
    refused(&night, &["answer", "01-work", "--text", "x"], &["01-work is completed"]);
}

#[test]
fn add_stage_is_all_or_none_and_names_every_fault_of_every_card_with_its_line() {
    let night = Night::passing();
    night.card("01-good");
    night.card("02-bad");
    let card = night.read("repo/stage-cards/02-bad.md");
    let bad = card
        .replace("- **Worker:**", "- **Wroker:**")
        .replace("Do it.", "<<what to do>>")
        .replace("1. `a.txt`: the work", "1. `/etc/passwd`: the work");
    night.write("stage-cards/02-bad.md", &bad);
    night.card_with("03-bad", "- **Priority:** soon\n- **Depends on:** nonsense!\n", "1. `a.txt`", "true");
    let said_of = |text: &str, wanted: &str| text.lines().position(|line| line.contains(wanted)).expect("line") + 1;
    let before = memory(&night);
    let said = night.fails(
        &[
            "add-stage",
            "stage-cards/01-good.md",
            "stage-cards/02-bad.md",
            "stage-cards/03-bad.md",
            "stage-cards/04-none.md",
        ],
        3,
    );
    assert_eq!(memory(&night), before);
    assert!(said.contains("the queue is unchanged"), "{said}");
    for wanted in ["Wroker", "<<what", "/etc/passwd"] {
        let line = said_of(&bad, wanted);
        assert!(said.contains(&format!("02-bad.md: line {line}")), "line {line} for {wanted}:\n{said}");
    }
    let third = night.read("repo/stage-cards/03-bad.md");
    for wanted in ["soon", "nonsense!"] {
        let line = said_of(&third, wanted);
        assert!(said.contains(&format!("03-bad.md: line {line}")), "line {line} for {wanted}:\n{said}");
    }
    assert!(said.contains("04-none.md: the file does not exist"), "{said}");
    // The linter says the same, without a queue.
    let lint = night.fails(&["card", "lint"], 3);
    assert!(lint.contains("Wroker") && lint.contains("01-good.md: ok"), "{lint}");
    let json: Value = serde_json::from_str(&text(&night.run(&["card", "lint", "--json"]).stdout)).expect("json");
    assert_eq!(json.as_array().expect("cards").len(), 3);
}

#[test]
fn add_stage_refuses_what_is_queued_already_twice_in_one_breath_or_not_a_stage() {
    let night = Night::passing();
    night.card("01-work");
    refused(&night, &["add-stage", "stage-cards/01-work.md", "stage-cards/01-work.md"], &["01-work"]);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    night.card("02-work");
    refused(
        &night,
        &["add-stage", "stage-cards/02-work.md", "stage-cards/01-work.md"],
        &["01-work is in the queue already", "requeue"],
    );
    night.write("stage-cards/notes.md", "# Notes\n");
    refused(&night, &["add-stage", "stage-cards/notes.md"], &["notes"]);
    night.fails(&["add-stage"], 2);
}

#[test]
fn add_stage_prints_a_circle_as_a_path_and_names_missing_dependencies() {
    let night = Night::passing();
    for (stage, needs) in [("01-a", "02-b"), ("02-b", "03-c"), ("03-c", "01-a"), ("04-d", "99-none")] {
        night.card_with(stage, &format!("- **Depends on:** {needs}\n"), "1. `a.txt`", "true");
    }
    let circle = ["add-stage", "stage-cards/01-a.md", "stage-cards/02-b.md", "stage-cards/03-c.md"];
    refused(&night, &circle, &["in a circle: 01-a → 02-b → 03-c → 01-a"]);
    refused(&night, &["add-stage", "stage-cards/04-d.md"], &["04-d depends on 99-none"]);
    night.card_with("05-self", "- **Depends on:** 05-self\n", "1. `a.txt`", "true");
    refused(&night, &["add-stage", "stage-cards/05-self.md"], &["05-self"]);
}

#[test]
fn scenario_57_one_family_on_both_sides_is_refused_at_queueing_unless_the_card_says_why() {
    let night = Night::passing();
    night.card("01-work");
    let card = night.read("repo/stage-cards/01-work.md").replace("Judge <judge@local>", "Stub Two <two@local>");
    night.write("stage-cards/01-work.md", &card);
    refused(&night, &["add-stage", "stage-cards/01-work.md"], &["family stub", "Same family"]);
    let with_reason = card.replace("\n\n## Objective", "\n- **Same family:** there is only one\n\n## Objective");
    assert_ne!(card, with_reason);
    night.write("stage-cards/01-work.md", &with_reason);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
}

#[test]
fn scenario_57_one_family_on_both_sides_is_refused_at_dispatch_when_the_manifest_has_changed() {
    let night = Night::passing();
    night.queue("01-work");
    let manifest = night.read("repo/.autometta.yaml");
    let both = manifest
        .replace("[\"Stub*\"]", "[\"Stub*\", \"Judge*\"]")
        .lines()
        .filter(|line| !line.contains("judge:"))
        .collect::<Vec<_>>()
        .join("\n");
    night.write(".autometta.yaml", &both);
    for _ in 0..3 {
        night.tick();
    }
    let stage = night.stage("01-work");
    assert_eq!((stage["status"].as_str(), stage["attempt"].as_u64()), (Some("pending"), Some(0)));
    assert_eq!(stage["reason"]["code"], "same-family");
    assert!(night.ok(&["status"]).contains("family stub"));
    assert_eq!(night.ok(&["log"]).matches("same-family").count(), 1, "said once");
    night.write(".autometta.yaml", &manifest);
    night.tick_until("01-work", "completed");
}

#[test]
fn scenario_57_a_verifier_that_became_the_workers_family_meanwhile_is_not_asked_and_the_stage_says_so() {
    let night = held_in("working");
    let manifest = night.read("repo/.autometta.yaml");
    let both = manifest
        .replace("[\"Stub*\"]", "[\"Stub*\", \"Judge*\"]")
        .lines()
        .filter(|line| !line.contains("judge:"))
        .collect::<Vec<_>>()
        .join("\n");
    night.write(".autometta.yaml", &both);
    go(&night);
    let stage = night.tick_until("01-work", "blocked");
    assert_eq!(stage["reason"]["code"], "same-family", "{stage:#}");
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
    night.write(".autometta.yaml", &manifest);
    night.ok(&["answer", "01-work", "--text", "the families are apart again"]);
    night.tick_until("01-work", "completed");
}

#[test]
fn a_family_that_left_the_manifest_while_its_stage_was_under_way_blocks_the_stage_with_the_reason() {
    let night = held_in("gating");
    // One that has read the manifest may still look again.
    night.no_tick_runs();
    let manifest = night.read("repo/.autometta.yaml");
    let without = manifest.lines().filter(|line| !line.contains("judge:")).collect::<Vec<_>>().join("\n");
    night.write(".autometta.yaml", &without);
    go(&night);
    let stage = night.tick_until("01-work", "blocked");
    assert!(stage["reason"]["detail"].as_str().expect("detail").contains("no family serves `Judge"), "{stage:#}");
    night.write(".autometta.yaml", &manifest);
    night.ok(&["answer", "01-work", "--text", "it is back"]);
    night.tick_until("01-work", "completed");
}

#[test]
fn card_new_writes_a_card_that_lint_refuses_until_it_is_filled_in() {
    let night = Night::passing();
    let said = night.ok(&["card", "new", "07-parser", "--title", "Parse \"it\" & more"]);
    assert!(said.contains("stage-cards/07-parser.md"), "{said}");
    let card = night.read("repo/stage-cards/07-parser.md");
    assert!(card.starts_with("# Stage card 07-parser: Parse \"it\" & more\n"), "{card}");
    let lint = night.fails(&["card", "lint", "stage-cards/07-parser.md"], 3);
    assert!(lint.contains("<<") && lint.contains("line "), "{lint}");
    refused(&night, &["card", "new", "07-parser"], &["exists already"]);
    assert_eq!(night.read("repo/stage-cards/07-parser.md"), card);
    night.fails(&["card", "new", "not a stage"], 2);
    let list = night.ok(&["card", "list"]);
    assert!(list.contains("07-parser") && list.contains("faulty"), "{list}");
}

#[test]
fn card_list_says_what_the_queue_knows_of_each_card() {
    let night = Night::passing();
    night.card("01-work");
    night.card("02-next");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    let list: Value = serde_json::from_str(&night.ok(&["card", "list", "--json"])).expect("json");
    assert_eq!((&list[0]["stage"], &list[0]["status"]), (&Value::from("01-work"), &Value::from("pending")));
    assert_eq!((&list[1]["stage"], &list[1]["status"]), (&Value::from("02-next"), &Value::from("not queued")));
    assert_eq!(list[1]["path"], "stage-cards/02-next.md");
}

#[test]
fn reading_commands_show_the_story_in_words_and_in_json_and_change_nothing() {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    night.wait("the ticks that follow on ends", || {
        night.tick();
        night.stage("01-work")["chores"] == Value::Null && night.is_copied()
    });
    let before = (memory(&night), night.git(&["for-each-ref"]));
    let status = night.ok(&["status"]);
    assert!(status.contains("01-work  completed  1") && status.contains("landed as "), "{status}");
    assert!(status.contains("tokens") && status.contains("last tick"), "{status}");
    let commit = night.git(&["rev-parse", "main"]);
    let json = night.status();
    assert_eq!(json["version"], 2);
    assert_eq!(json["stages"][0]["commit"], commit);
    assert_eq!(json["waits"][0]["stage"], "01-work");
    let show = night.ok(&["show", "01-work"]);
    for wanted in [
        "01-work: Do the work",
        "run 01-work.1.worker: done",
        "run 01-work.1.gate: done",
        "gate acceptance: passed",
        "overall: PASS",
        "1. PASS: it works (a.txt:1)",
        "notes: done",
    ] {
        assert!(show.contains(wanted), "`{wanted}` is not in\n{show}");
    }
    let json: Value = serde_json::from_str(&night.ok(&["show", "01-work", "--json"])).expect("json");
    assert_eq!(json["records"].as_array().expect("records").len(), 3);
    assert_eq!(json["records"][0]["outbox"]["status"], "pass");
    let log = night.ok(&["log", "--stage", "01-work"]);
    assert!(log.contains("[pending → working]") && log.contains("landed"), "{log}");
    assert!(!log.contains("initialised"), "{log}");
    for line in night.ok(&["log", "--json"]).lines() {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(line["event"].is_string() && line["seq"].is_u64(), "{line}");
    }
    assert!(night.ok(&["log", "--verify"]).contains("each follows from the one before"));
    assert_eq!((memory(&night), night.git(&["for-each-ref"])), before);
}

#[test]
fn a_ledger_that_somebody_edited_is_noticed() {
    let night = Night::passing();
    night.queue("01-work");
    let ledger = night.read("repo/state/ledger.jsonl");
    night.write("state/ledger.jsonl", &ledger.replacen("initialised", "initialized", 1));
    let said = night.fails(&["log", "--verify"], 1);
    assert!(said.contains("ledger"), "{said}");
}

#[test]
fn exit_codes_are_as_documented() {
    let night = Night::bare();
    assert!(night.fails(&["status"], 1).contains("autometta init"), "not initialised");
    night.stub("worker", HAND_IN);
    night.stub("verifier", SAY_PASS);
    night.manifest("");
    night.ok(&["init"]);
    night.ok(&["init"]);
    assert_eq!(night.tick().status.code(), Some(0), "nothing to do");
    night.fails(&["no-such-command"], 2);
    night.fails(&["show"], 2);
    night.fails(&["show", "Not A Stage"], 2);
    refused(&night, &["show", "99-none"], &["no stage 99-none"]);
    night.ok(&["halt"]);
    assert_eq!(night.tick().status.code(), Some(4));
    assert_eq!(night.run(&["tick"]).status.code(), Some(4), "the same over all subscribers");
    assert_eq!(night.run(&["run", "--quiet"]).status.code(), Some(4));
    for reading in [&["status"][..], &["status", "--json"], &["log"], &["card", "list"], &["tick", "--plan"]] {
        night.ok(reading);
    }
    night.write("state/state.yaml", "version: 3\n");
    assert!(night.fails(&["requeue", "01-work"], 3).contains("update autometta"), "a state of a newer version");
    night.fails(&["status"], 3);
    night.fails(&["show", "01-work"], 3);
    night.fails(&["card", "list"], 3);
    assert_eq!(night.read("repo/state/state.yaml"), "version: 3\n");
}

#[test]
fn commands_work_from_a_folder_inside_the_repository_and_with_repo_from_anywhere() {
    let night = Night::passing();
    night.card("01-work");
    let inside = night.repo.join("stage-cards");
    let run = |args: &[&str], at: &std::path::Path| {
        let output = night.command(args).current_dir(at).output().expect("runs");
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(run(&["card", "lint", "01-work.md"], &inside).contains("stage-cards/01-work.md: ok"));
    run(&["add-stage", "01-work.md"], &inside);
    assert_eq!(night.stage("01-work")["card"], "stage-cards/01-work.md");
    assert!(run(&["status"], &inside).contains("01-work"));
    let repo = night.repo.display().to_string();
    assert!(run(&["--repo", &repo, "status"], &night.base()).contains("01-work"));
    assert!(run(&["status", "--repo", "repo"], &night.base()).contains("01-work"));
    let outside = night.command(&["inbox"]).current_dir(night.t()).output().expect("runs");
    assert_eq!(outside.status.code(), Some(1));
    assert!(run(&["status"], &night.t()).contains("1 repository"), "outside a repository: all that have subscribed");
}
