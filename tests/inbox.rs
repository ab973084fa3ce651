//! What waits for a person, what they say to it, and how they are told: over the real binary.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;

use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS};

const ASK: &str = r#"printf '{"stage_id":"%s","status":"blocked","deliverables":[],"notes":"n","question":"Which one?\\nThe first?"}' "$1" >.autometta/outbox/handoff.json"#;
const FAIL: &str = r#"printf '{"stage_id":"%s","status":"fail","deliverables":[],"notes":"I could not"}' "$1" >.autometta/outbox/handoff.json"#;

/// A worker that asks in 01, fails in 02 and does 03.
fn worker() -> String {
    format!("cat >\"$T/$2\"\ncase $1 in 01-*) {ASK};; 02-*) {FAIL};; *) echo work >a.txt; {HAND_IN};; esac")
}

fn night(manifest: &str) -> Night {
    let night = Night::bare();
    night.stub("worker", &worker());
    night.stub("verifier", SAY_PASS);
    night.manifest(manifest);
    night.ok(&["init"]);
    night
}

fn inbox(night: &Night) -> Vec<Value> {
    let json: Value = serde_json::from_str(&night.ok(&["inbox", "--json"])).expect("json");
    json["items"].as_array().expect("items").clone()
}

/// What the stub messenger was told, in the order in which it was told.
fn told(night: &Night) -> Vec<String> {
    let path = night.t().join("told");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A messenger that writes a line for each notice.
fn with_messenger(more: &str) -> Night {
    let base = Night::bare();
    base.stub("worker", &worker());
    base.stub("verifier", SAY_PASS);
    base.stub("messenger", "printf '%s|%s|%s\\n' \"$1\" \"$2\" \"$3\" >>\"$T/told\"");
    let messenger = base.base().join("stubs/messenger");
    base.manifest(&format!(
        "notify: [\"{}\", \"{{kind}}\", \"{{stage}}\", \"{{message}}\"]\n{more}",
        messenger.display()
    ));
    base.ok(&["init"]);
    base
}

#[test]
fn everything_that_waits_is_listed_with_the_command_that_answers_it() {
    let night = night("landing: ask");
    assert_eq!(night.ok(&["inbox"]), "nothing waits for you\n");
    for stage in ["01-asks", "02-fails", "03-works"] {
        night.queue(stage);
    }
    night.ok(&["run", "--quiet"]);
    night.ok(&["halt", "--reason", "releasing"]);
    let items = inbox(&night);
    let found: Vec<(&str, &str, &str)> = items
        .iter()
        .map(|item| {
            let text = |key: &str| item[key].as_str().unwrap_or("-");
            (text("kind"), text("stage"), text("code"))
        })
        .collect();
    assert_eq!(
        found,
        [
            ("halt", "-", "operator"),
            ("question", "01-asks", "question"),
            ("approval", "03-works", "approval"),
            ("escalation", "02-fails", "worker-failed"),
        ]
    );
    assert_eq!(items[1]["question"], "Which one?\nThe first?");
    let screen = night.ok(&["inbox"]);
    for words in [
        "| Which one?\n           | The first?\n           → `autometta answer 01-asks",
        "`autometta approve 03-works` lands it",
        "`autometta requeue 02-fails` or `autometta skip 02-fails`",
        "| releasing\n           → `autometta resume`",
    ] {
        assert!(screen.contains(words), "{words}\n{screen}");
    }
}

#[test]
fn a_verified_change_that_must_be_approved_waits_and_lands_once_it_is() {
    let night = night("landing: ask");
    night.queue("03-works");
    let tip = night.git(&["rev-parse", "main"]);
    let stage = night.tick_until("03-works", "blocked");
    assert_eq!(stage["reason"]["code"], "approval");
    assert_eq!(night.git(&["rev-parse", "main"]), tip, "nothing has landed");
    assert!(night.fails(&["answer", "03-works", "--text", "x"], 3).contains("autometta approve 03-works"));
    // The base moves meanwhile, elsewhere: the gates judge the merged tree, and nobody is asked twice.
    night.write("other.txt", "other\n");
    night.git(&["add", "other.txt"]);
    night.git(&["commit", "-qm", "Other"]);
    night.ok(&["approve", "03-works"]);
    night.tick_until("03-works", "completed");
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
    assert_eq!(night.git(&["show", "main:other.txt"]), "other");
    let log = night.ok(&["log"]);
    assert_eq!(log.matches("rebased").count(), 1, "{log}");
    assert!(night.fails(&["approve", "03-works"], 3).contains("03-works is completed"));
}

#[test]
fn a_card_says_for_itself_whether_its_change_waits() {
    let night = night("");
    night.card_with("03-asks", "- **Landing:** ask\n", "1. `a.txt`: the work", "test -s a.txt");
    night.ok(&["add-stage", "stage-cards/03-asks.md"]);
    night.tick_until("03-asks", "blocked");
    // Merged by hand instead, it closes by itself.
    night.git(&["merge", "-q", "--no-edit", "autometta/03-asks"]);
    let stage = night.tick_until("03-asks", "completed");
    assert_eq!(stage["reason"]["code"], "merged-by-hand");
}

#[test]
fn a_rejected_change_ends_or_goes_back_to_its_worker_with_the_words() {
    let night = night("landing: ask");
    night.queue("03-works");
    night.queue("04-works");
    night.tick_until("03-works", "blocked");
    night.tick_until("04-works", "blocked");
    night.ok(&["reject", "03-works", "--text", "not in this release"]);
    let stage = night.stage("03-works");
    assert_eq!((&stage["status"], &stage["reason"]["code"]), (&"failed".into(), &"rejected".into()));
    assert_eq!(night.git(&["show", "wip/03-works-attempt-1:a.txt"]), "work", "its work is kept");
    assert_eq!(night.budget()["consecutive_failures"], 0, "a person's decision is no failure of the machine's");

    night.stub(
        "worker",
        &format!(
            "cat >\"$T/$2\"; cat a.txt >was.txt; cp was.txt \"$T/was\"; rm was.txt; echo better >a.txt\n{HAND_IN}"
        ),
    );
    night.ok(&["reject", "04-works", "--text", "the name is «wrong»", "--rework"]);
    night.tick_until_that("04-works", |stage| stage["status"] == "blocked" && stage["attempt"] == 2);
    assert!(night.read("t/04-works.2.worker").contains("The operator did not let it land\n\nthe name is «wrong»"));
    assert_eq!(night.read("t/was"), "work\n", "it went on from the rejected work");
    night.ok(&["approve", "04-works"]);
    night.tick_until("04-works", "completed");
    assert_eq!(night.git(&["show", "main:a.txt"]), "better");
}

/// A night whose change is parked because `main` changed `a.txt` as well while the worker was at it.
fn parked(theirs: &str, gate: &str) -> Night {
    let night = Night::bare();
    night.stub("worker", &format!("sed 's/^1$/one/' a.txt >b && mv b a.txt; : >\"$T/ready\"; while [ ! -e \"$T/go\" ]; do sleep 0.02; done\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    night.manifest("");
    let numbers: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
    night.write("a.txt", &(numbers.join("\n") + "\n"));
    night.git(&["add", "a.txt"]);
    night.git(&["commit", "-qm", "Numbers"]);
    night.ok(&["init"]);
    night.card_with("01-work", "", "1. `a.txt`: the work", gate);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    let _ = night.tick();
    night.wait("the worker", || night.t().join("ready").exists());
    let text = night.read("repo/a.txt").replace(theirs, "THEIRS\n");
    night.write("a.txt", &text);
    night.git(&["commit", "-qam", "Theirs"]);
    fs::write(night.t().join("go"), "").expect("go");
    let stage = night.tick_until("01-work", "blocked");
    assert_eq!(stage["reason"]["code"], "integration", "{stage:#}");
    night
}

#[test]
fn a_parked_landing_that_is_approved_is_merged_gated_again_and_lands() {
    let night = parked("20\n", "head -1 a.txt | grep -q one");
    night.ok(&["approve", "01-work"]);
    night.tick_until("01-work", "completed");
    let text = night.git(&["show", "main:a.txt"]);
    assert!(text.starts_with("one\n") && text.ends_with("THEIRS"), "{text}");
    let runs = night.stage("01-work")["history"].as_array().expect("history").len();
    assert_eq!(runs, 4, "worker, gate, verifier, and the gate on the merged tree");
}

#[test]
fn a_merged_tree_that_fails_its_gate_does_not_land() {
    let night = parked("20\n", "! grep -q THEIRS a.txt");
    let tip = night.git(&["rev-parse", "main"]);
    night.ok(&["approve", "01-work"]);
    // It goes back to its worker, who can do no more about it than before.
    night.tick_until("01-work", "verifier_failed");
    let log = night.ok(&["log"]);
    assert!(log.contains("gate-failed") && log.contains("exited 1"), "{log}");
    assert_eq!(night.git(&["rev-parse", "main"]), tip);
}

#[test]
fn what_git_cannot_merge_is_parked_again() {
    let night = parked("1\n2\n", "test -s a.txt");
    night.ok(&["approve", "01-work"]);
    let stage = night.tick_until_that("01-work", |stage| {
        stage["reason"]["detail"].as_str().is_some_and(|detail| detail.contains("in the same places"))
    });
    assert_eq!((&stage["status"], &stage["reason"]["code"]), (&"blocked".into(), &"integration".into()));
    night.ok(&["reject", "01-work", "--text", "later"]);
    assert_eq!(night.stage("01-work")["status"], "failed");
}

#[test]
fn an_answer_is_written_in_the_editor_below_nothing_but_the_question() {
    let mut night = night("");
    night.queue("01-asks");
    night.tick_until("01-asks", "blocked");
    night.wait("the question", || {
        let _ = night.tick();
        night.repo.join("state/questions/01-asks.json").exists()
    });
    night.stub(
        "editor",
        "cp \"$2\" \"$T/draft\"; { echo \"the $1 one\"; cat \"$2\"; } >\"$T/new\"; cp \"$T/new\" \"$2\"",
    );
    let editor = format!("{} second", night.base().join("stubs/editor").display());
    night.set("VISUAL", &editor);
    // The editor wants a terminal; `script` gives it one.
    let command = format!("'{}' answer 01-asks", env!("CARGO_BIN_EXE_autometta"));
    let output = night.on_a_terminal(&command);
    assert!(output.contains("answered"), "{output}");
    assert!(
        night.read("t/draft").contains("# 01-asks asks:\n# Which one?\n# The first?\n"),
        "{}",
        night.read("t/draft")
    );
    assert_eq!(night.read("repo/state/answers/01-asks.md"), "the second one\n");
    assert!(!night.repo.join("state/answers/01-asks.draft.md").exists());
}

#[test]
fn each_thing_is_told_once_and_a_night_that_ends_last() {
    let night = with_messenger("caps: {consecutive_failures: 1}");
    for stage in ["01-asks", "02-fails", "03-works"] {
        night.queue(stage);
    }
    let _ = night.run(&["run", "--quiet"]);
    night.wait("four notices", || told(&night).len() >= 4);
    for _ in 0..5 {
        let _ = night.tick();
    }
    let mut kinds: Vec<String> =
        told(&night).iter().map(|line| line.split('|').take(2).collect::<Vec<_>>().join("|")).collect();
    kinds.sort();
    assert_eq!(kinds, ["escalation|02-fails", "halt|", "night-end|", "question|01-asks"]);
    let all = told(&night).join("\n");
    assert!(all.contains("`autometta answer 01-asks --text"), "{all}");
    assert!(all.contains("I could not"), "{all}");
    night.wait("an empty list", || {
        let _ = night.tick();
        !night.read("repo/state/state.yaml").contains("notices:")
    });
    // A second night tells of itself.
    night.ok(&["resume"]);
    let _ = night.run(&["run", "--quiet"]);
    night.wait("the second night's end", || {
        told(&night).iter().filter(|line| line.starts_with("night-end")).count() == 2
    });
}

#[test]
fn a_messenger_that_fails_or_hangs_harms_nothing_and_is_logged() {
    let night = with_messenger("");
    night.stub("messenger", "echo \"no route to anybody\" >&2; exit 7");
    night.queue("02-fails");
    let _ = night.run(&["run", "--quiet"]);
    assert_eq!(night.stage("02-fails")["status"], "failed");
    night.wait("the log", || night.tick_log().matches("no route to anybody").count() == 2);
    assert!(night.tick_log().contains("the notify command failed: exit status: 7"), "{}", night.tick_log());
    let outcome = fs::read_dir(night.repo.join("state/notices"))
        .expect("notices")
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()).expect("notice"))
        .collect::<String>();
    assert!(outcome.contains("no route to anybody"), "{outcome}");
}

#[test]
fn a_notice_whose_telling_was_killed_is_neither_lost_nor_repeated() {
    let night = with_messenger("");
    night.queue("01-asks");
    night.tick_until("01-asks", "blocked");
    night.wait("two notices", || told(&night).len() == 2);
    // As if the tick had died before it had started anything: the state still holds the notice, nobody has taken it.
    let key = "20260101T000000000Z-0";
    let state = night.read("repo/state/state.yaml");
    let notice =
        format!("notices:\n- key: {key}\n  kind: escalation\n  stage: 01-asks\n  message: made by hand\nstages:");
    assert!(!state.contains("notices:") || state.contains("notices:\n"), "{state}");
    night.wait("an empty list", || {
        let _ = night.tick();
        !night.read("repo/state/state.yaml").contains("notices:")
    });
    let state = night.read("repo/state/state.yaml").replacen("stages:", &notice, 1);
    night.write("state/state.yaml", &state);
    for _ in 0..3 {
        let _ = night.tick();
    }
    night.wait("the notice", || told(&night).iter().any(|line| line.ends_with("made by hand")));
    night.wait("an empty list", || {
        let _ = night.tick();
        !night.read("repo/state/state.yaml").contains("notices:")
    });
    assert_eq!(told(&night).iter().filter(|line| line.ends_with("made by hand")).count(), 1);
}
