//! The merge train over the real binary: approved candidates that wait for each other are gated side by side, each on top
//! of the one before it, and none lands with a tree that no gate has passed.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;

use serde_json::Value;
use support::landed::assert_every_landed_tree_was_gated;
use support::night::{HAND_IN, Night};

/// Says PASS once the test lets the verifiers go.
const VERIFIER: &str = r#"while [ ! -e "$T/judge" ]; do sleep 0.02; done
printf '{"stage_id":"%s","overall":"PASS","headline":"Do the work","criteria":[{"id":1,"name":"it works","verdict":"PASS","evidence":"%s.txt:1"}],"additional_findings":""}' "$1" "$1" >.autometta/outbox/verdict.json"#;

/// A night of stages that are worked on side by side, each with a file of its own, up to where all verifiers run. Their
/// gates count their runs, and wait from the second one on until the test makes `merge` or `merge.STAGE`; then `more` says
/// how they end.
fn at_the_verifiers(stages: &[&str], more: &str) -> Night {
    let night = Night::with(&format!("echo work >$1.txt\n{HAND_IN}"), VERIFIER);
    night.manifest(&format!("max_parallel: {}\nretry: {{work: 0}}\n", stages.len()));
    for stage in stages {
        let t = night.t().display().to_string();
        let gate = format!(
            "test -s {stage}.txt || exit 1\necho run >>{t}/gates.{stage}\n[ $(wc -l <{t}/gates.{stage}) = 1 ] && exit 0\n\
             while [ ! -e {t}/merge ] && [ ! -e {t}/merge.{stage} ]; do sleep 0.02; done\n{more}\ntrue",
            more = more.replace("$T", &t)
        );
        night.card_with(stage, "", &format!("1. `{stage}.txt`: the work"), &gate);
    }
    let cards: Vec<String> = stages.iter().map(|stage| format!("stage-cards/{stage}.md")).collect();
    night.ok(&[&["add-stage"][..], &cards.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    for stage in stages {
        night.tick_until_that(stage, |found| found["phase"] == "verifying");
    }
    night
}

/// Lets everybody go who waits for this.
fn make(night: &Night, what: &str) {
    fs::write(night.t().join(what), "").expect("file");
}

/// Lets the verifiers go, and ticks until all but one of the stages run their gates once more; gives those, in the order
/// in which they stand on one another.
fn coupled(night: &Night, stages: &[&str]) -> Vec<String> {
    make(night, "judge");
    let again = |stage: &&&str| night.t().join(format!("gates.{stage}")).exists() && gate_runs(night, stage) == 2;
    night.wait("the gates on the merged trees", || {
        night.tick();
        stages.iter().filter(again).count() == stages.len() - 1
    });
    let mut waiting: Vec<&str> = stages.iter().filter(|stage| again(stage)).copied().collect();
    let tip = |name: &str| night.git(&["rev-parse", name]);
    let mut base = tip("main");
    let mut order = Vec::new();
    while let Some(next) = waiting.iter().position(|stage| tip(&format!("autometta/{stage}^")) == base) {
        let next = waiting.remove(next);
        base = tip(&format!("autometta/{next}"));
        order.push(next.to_owned());
    }
    assert!(waiting.is_empty(), "each stands on the one before it: {order:?}, {waiting:?}\n{}", night.ok(&["log"]));
    order
}

fn gate_runs(night: &Night, stage: &str) -> usize {
    night.read(format!("t/gates.{stage}")).lines().count()
}

/// The stages that have landed, the first one first.
fn landed(night: &Night) -> Vec<String> {
    let format = "--format=%(trailers:key=Autometta-Stage,valueonly)";
    let log = night.git(&["log", "--reverse", "--first-parent", format, "main"]);
    log.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// How often something is told in the ledger.
fn told(night: &Night, event: &str) -> usize {
    night.read("repo/state/ledger.jsonl").matches(&format!("\"event\":\"{event}\"")).count()
}

#[test]
fn candidates_that_wait_for_each_other_are_gated_side_by_side_and_land_in_order() {
    let stages = ["01-a", "02-b", "03-c", "04-d"];
    let night = at_the_verifiers(&stages, "");
    let order = coupled(&night, &stages);
    // The last of them is through first, and waits.
    make(&night, &format!("merge.{}", order[2]));
    night.tick_until_that(&order[2], |found| found["phase"] == "landing");
    let said = night.ok(&["status"]);
    assert!(said.contains(&format!("lands after {}", order[1])), "{said}");
    assert_eq!(landed(&night).len(), 1, "{said}");
    make(&night, "merge");
    for stage in &stages {
        night.tick_until(stage, "completed");
    }
    assert_eq!(landed(&night)[1..], order[..]);
    assert_every_landed_tree_was_gated(&night, 4);
    let runs: usize = stages.iter().map(|stage| gate_runs(&night, stage)).sum();
    assert_eq!(runs, 4 + 3, "one on its own base for each, and one on the merged tree for each but the first");
    assert_eq!(told(&night, "uncoupled"), 0);
    for stage in &stages {
        assert_eq!(night.git(&["show", &format!("main:{stage}.txt")]), "work");
    }
}

#[test]
fn what_stood_on_a_candidate_that_does_not_land_is_judged_without_it() {
    let stages = ["01-a", "02-b", "03-c"];
    let night = at_the_verifiers(&stages, "");
    let order = coupled(&night, &stages);
    let (first, second) = (&order[0], &order[1]);
    make(&night, &format!("merge.{second}"));
    night.tick_until_that(second, |found| found["phase"] == "landing");
    night.ok(&["cancel", first]);
    night.tick_until(first, "failed");
    night.tick_until(second, "completed");
    let files = night.git(&["ls-tree", "--name-only", "main"]);
    assert!(!files.contains(&format!("{first}.txt")), "nothing of it has landed: {files}");
    assert_eq!(gate_runs(&night, second), 3, "on its own base, on the other one, and on the branch");
    assert_every_landed_tree_was_gated(&night, 2);
}

#[test]
fn of_a_candidate_that_is_given_up_on_top_of_another_one_only_its_own_change_is_kept() {
    let stages = ["01-a", "02-b", "03-c"];
    let night = at_the_verifiers(&stages, "");
    let order = coupled(&night, &stages);
    let (first, second) = (&order[0], &order[1]);
    night.ok(&["cancel", second]);
    night.tick_until_that(second, |found| found["status"] == "failed" && found["chores"].is_null());
    let kept = format!("wip/{second}-attempt-1");
    let files = night.git(&["ls-tree", "--name-only", &kept]);
    assert!(files.contains(second) && !files.contains(first), "{files}");
    make(&night, "merge");
    night.tick_until(first, "completed");
    assert_every_landed_tree_was_gated(&night, 2);
}

#[test]
fn a_candidate_that_fails_on_top_of_another_one_is_judged_on_the_branch_alone() {
    let stages = ["01-a", "02-b", "03-c"];
    // All three of them together do not work while there is a clash.
    let night = at_the_verifiers(&stages, "[ ! -e $T/clash ] || [ $(ls 0*.txt | wc -l) -lt 3 ] || exit 7");
    make(&night, "clash");
    let order = coupled(&night, &stages);
    let (first, second) = (&order[0], &order[1]);
    make(&night, &format!("merge.{second}"));
    night.tick_until(second, "completed");
    assert_eq!((told(&night, "uncoupled"), night.stage(second)["attempt"].clone()), (1, Value::from(1)));
    assert_eq!(gate_runs(&night, second), 3, "on its own base, on the other one, and on the branch");
    assert_eq!(landed(&night)[1..], *std::slice::from_ref(second), "nobody waits for the one that it stood on");
    // That one finds a base that has moved, and is judged on it in its turn: the clash is its to answer for.
    make(&night, "merge");
    let stage = night.tick_until(first, "verifier_failed");
    assert!(stage.to_string().contains("exited 7"), "{stage:#}");
    assert_every_landed_tree_was_gated(&night, 2);
}
