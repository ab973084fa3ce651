//! The queue over the real binary: what is refused, what waits and why, times, repeats, families, and the operator's
//! commands.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;

use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS, text};

/// A worker that writes a file of its stage's name.
fn of_its_own() -> String {
    format!("echo work >\"$1.txt\"\n{HAND_IN}")
}

/// A verifier that looks at the file of its stage's name.
const SAY_PASS_TO_ITS_OWN: &str = r#"printf '{"stage_id":"%s","overall":"PASS","headline":"Do it","criteria":[{"id":1,"name":"it works","verdict":"PASS","evidence":"%s.txt:1"}],"additional_findings":""}' "$1" "$1" >.autometta/outbox/verdict.json"#;

fn night() -> Night {
    Night::with(&of_its_own(), SAY_PASS_TO_ITS_OWN)
}

/// Writes a card whose deliverable is the file of its stage's name.
fn card(night: &Night, stage: &str, metadata: &str) {
    night.card_with(stage, metadata, &format!("1. `{stage}.txt`: it"), &format!("test -s {stage}.txt"));
}

fn add(night: &Night, stages: &[&str]) {
    let cards: Vec<String> = stages.iter().map(|stage| format!("stage-cards/{stage}.md")).collect();
    let mut args = vec!["add-stage"];
    args.extend(cards.iter().map(String::as_str));
    night.ok(&args);
}

fn queue(night: &Night) -> Value {
    serde_json::from_str(&night.ok(&["queue", "--json"])).expect("json")
}

/// What holds a stage, as a code, and in words.
fn held(night: &Night, stage: &str) -> (String, String) {
    let queue = queue(night);
    let entry = queue["stages"].as_array().expect("stages").iter().find(|entry| entry["stage"] == stage).cloned();
    let entry = entry.unwrap_or_else(|| panic!("no {stage} in {queue:#}"));
    (entry["hold"].as_str().unwrap_or_default().to_owned(), entry["next"].as_str().expect("next").to_owned())
}

#[test]
fn queueing_names_every_fault_of_every_card_and_every_dependency_at_once() {
    let night = night();
    card(&night, "01-a", "- **Depends on:** 02-b\n");
    card(&night, "02-b", "- **Depends on:** 01-a, 99-none\n");
    card(&night, "03-c", "- **Depends on:** 04-d\n");
    night.write("stage-cards/04-d.md", "# Stage card 04-d: broken\n");
    let cards = ["stage-cards/01-a.md", "stage-cards/02-b.md", "stage-cards/03-c.md", "stage-cards/04-d.md"];
    let said = night.fails(&[&["add-stage"], &cards[..]].concat(), 3);
    for wanted in
        ["in a circle: 01-a → 02-b → 01-a", "02-b depends on 99-none", "04-d.md: line", "the queue is unchanged"]
    {
        assert!(said.contains(wanted), "{wanted} in {said}");
    }
    assert!(!said.contains("03-c depends"), "it would be there, but for its own faults: {said}");
    let said = night.fails(&[&["add-stage"], &cards[..2]].concat(), 3);
    assert!(said.contains("01-a → 02-b → 01-a") && said.contains("99-none"), "{said}");
    assert_eq!(night.status()["stages"], serde_json::json!([]));
}

#[test]
fn a_dependency_that_has_landed_and_left_for_the_archive_counts_and_one_that_was_skipped_is_refused() {
    let night = night();
    night.manifest("retention: {finished_stages: 0}");
    for stage in ["01-a", "02-b", "05-e"] {
        card(&night, stage, "");
    }
    add(&night, &["01-a", "02-b", "05-e"]);
    night.ok(&["skip", "02-b"]);
    let archived = |stage: &str| night.repo.join(format!("state/archive/{stage}.yaml")).exists();
    night.wait("both are archived", || {
        assert!(night.tick().status.success());
        archived("01-a") && archived("02-b")
    });
    card(&night, "03-c", "- **Depends on:** 01-a\n");
    card(&night, "04-d", "- **Depends on:** 02-b\n");
    let said = night.fails(&["add-stage", "stage-cards/04-d.md"], 3);
    assert!(said.contains("04-d depends on 02-b, which was closed without landing"), "{said}");
    add(&night, &["03-c"]);
    night.wait("it has landed", || {
        assert!(night.tick().status.success());
        archived("03-c")
    });
    assert_eq!(night.git(&["show", "main:03-c.txt"]), "work");
}

#[test]
fn scenario_59_a_circle_made_by_hand_is_shown_and_everything_else_goes_on() {
    let night = night();
    card(&night, "01-a", "");
    card(&night, "02-b", "- **Depends on:** 01-a\n");
    card(&night, "03-c", "- **Depends on:** 02-b\n");
    card(&night, "04-d", "");
    add(&night, &["01-a", "02-b", "03-c", "04-d"]);
    let path = night.repo.join("state/state.yaml");
    let state = fs::read_to_string(&path).expect("state");
    let edited = state.replacen("base_branch: main\n", "base_branch: main\n  depends_on:\n  - 03-c\n", 1);
    assert_ne!(edited, state);
    fs::write(&path, edited).expect("state");
    night.tick_until("04-d", "completed");
    let (code, words) = held(&night, "01-a");
    assert_eq!(code, "circle");
    assert!(words.contains("01-a → 03-c → 02-b → 01-a"), "{words}");
    assert!(night.ok(&["status"]).contains("circle"));
    assert!(night.ok(&["graph"]).contains("in a circle: 01-a → 03-c → 02-b → 01-a"));
    assert_eq!(night.stage("01-a")["status"], "pending");
}

#[test]
fn scenario_59_a_dependency_that_failed_or_was_skipped_says_so_with_the_way_out() {
    let night = Night::with("exit 1", SAY_PASS);
    night.manifest("retry: {work: 0, infrastructure: 0}");
    card(&night, "01-a", "");
    card(&night, "02-b", "- **Depends on:** 01-a\n");
    add(&night, &["01-a", "02-b"]);
    night.tick_until_that("01-a", |stage| stage["status"] != "pending" && stage["status"] != "in_progress");
    let (code, words) = held(&night, "02-b");
    assert_eq!(code, "dependency");
    assert!(words.contains("waits for 01-a") && words.contains("autometta requeue 01-a"), "{words}");
    night.ok(&["skip", "01-a"]);
    let (_, words) = held(&night, "02-b");
    assert!(words.contains("superseded") && words.contains("autometta requeue 01-a"), "{words}");
}

#[test]
fn a_stage_waits_until_what_it_depends_on_is_in_its_own_base_and_looks_again_only_once_that_moves() {
    let mut night = night();
    night.git(&["branch", "release"]);
    card(&night, "01-a", "");
    add(&night, &["01-a"]);
    night.tick_until("01-a", "completed");
    // From here on stages land on another branch, which does not have it.
    let stubs = night.read("repo/.autometta.yaml");
    night.write(".autometta.yaml", &stubs.replace("base_branch: main", "base_branch: release"));
    card(&night, "02-b", "- **Depends on:** 01-a\n");
    card(&night, "03-c", "");
    add(&night, &["02-b", "03-c"]);
    night.tick_until("03-c", "completed");
    assert!(night.tick().status.success());
    let commit = night.stage("01-a")["commit"].as_str().expect("commit").to_owned();
    let (code, words) = held(&night, "02-b");
    assert_eq!(code, "not-in-base", "{words}");
    assert!(words.contains(&format!("waits for 01-a: its commit {} is not in release yet", &commit[..7])), "{words}");
    assert!(night.ok(&["log"]).contains("not-in-base"));
    // An idle tick starts no git: what was seen is remembered by the tip.
    let bin = night.base().join("bin");
    fs::create_dir_all(&bin).expect("folder");
    night.stub("git", "echo \"$@\" >>\"$T/git-calls\"\nexec /usr/bin/git \"$@\"");
    fs::copy(night.base().join("stubs/git"), bin.join("git")).expect("a git that tells");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    night.set("PATH", &path);
    let calls = || fs::read_to_string(night.t().join("git-calls")).unwrap_or_default();
    assert!(night.tick().status.success());
    let before = calls();
    assert!(!before.contains("merge-base"), "{before}");
    night.git(&["checkout", "-q", "release"]);
    night.git(&["merge", "-q", "--no-edit", "main"]);
    night.tick_until("02-b", "completed");
    assert_eq!(night.git(&["show", "release:02-b.txt"]), "work");
}

#[test]
fn a_stage_begins_at_its_time_by_the_operators_own_clock() {
    let mut night = night();
    night.set("TZ", "Europe/Berlin");
    card(&night, "01-a", "- **Not before:** 2199-07-01 06:00\n");
    card(&night, "02-b", "- **Not before:** 2020-01-01T00:00:00Z\n");
    add(&night, &["01-a", "02-b"]);
    assert_eq!(night.stage("01-a")["wait"]["not_before"], "2199-07-01T04:00:00Z");
    night.tick_until("02-b", "completed");
    assert_eq!(held(&night, "01-a").0, "not-before");
    assert_eq!(night.stage("01-a")["status"], "pending");
    card(&night, "03-c", "- **Not before:** soon\n- **Every:** 5s\n");
    let said = night.fails(&["add-stage", "stage-cards/03-c.md"], 3);
    assert!(said.contains("`soon` is no time") && said.contains("`5s` is no interval"), "{said}");
}

#[test]
fn a_card_with_every_is_queued_again_by_the_tick_once_its_time_has_come() {
    let mut night = Night::with(&format!("date +%s%N >01-a.txt\n{HAND_IN}"), SAY_PASS_TO_ITS_OWN);
    card(&night, "01-a", "- **Every:** 1 hour\n");
    add(&night, &["01-a"]);
    night.tick_until("01-a", "completed");
    assert!(night.tick().status.success());
    assert!(night.ok(&["queue"]).contains("01-a is queued again at"), "{}", night.ok(&["queue"]));
    assert_eq!(queue(&night)["repeats"][0]["every_seconds"], 3600);
    night.set("AUTOMETTA_CLOCK_OFFSET", "3700");
    let second = night.tick_until_that("01-a", |stage| stage["status"] == "completed" && stage["attempt"] == 2);
    assert_eq!(second["wait"]["repeat"]["rounds"], 1);
    let said = night.ok(&["log"]);
    assert_eq!(said.matches("queued-again").count(), 1, "{said}");
    let archived = night.read("repo/state/archive/rounds/01-a.1.yaml");
    assert!(archived.contains("status: completed") && archived.contains("01-a.1.worker"), "{archived}");
    assert_eq!(night.git(&["log", "--format=%s", "--grep=Autometta-Stage: 01-a", "main"]).lines().count(), 2);
    assert!(night.ok(&["log", "--replay"]).contains("nothing differs"), "{}", night.ok(&["log", "--replay"]));
    // Its card is gone when its time comes: told once, and not queued.
    fs::remove_file(night.repo.join("stage-cards/01-a.md")).expect("removed");
    night.set("AUTOMETTA_CLOCK_OFFSET", "7500");
    for _ in 0..3 {
        assert!(night.tick().status.success());
    }
    let said = night.ok(&["log"]);
    assert_eq!(said.matches("repeat-stopped").count(), 1, "{said}");
    assert_eq!(night.stage("01-a")["status"], "completed");
    assert!(night.ok(&["queue"]).contains("01-a is not queued again"));
    // Mended, a person begins another round.
    card(&night, "01-a", "- **Every:** 1 hour\n");
    night.ok(&["requeue", "01-a"]);
    night.tick_until_that("01-a", |stage| stage["status"] == "completed" && stage["attempt"] == 3);
}

#[test]
fn a_repeat_is_queued_once_wherever_the_tick_dies_that_queues_it() {
    let mut night = Night::with(&format!("date +%s%N >01-a.txt\n{HAND_IN}"), SAY_PASS_TO_ITS_OWN);
    card(&night, "01-a", "- **Every:** 1 hour\n");
    add(&night, &["01-a"]);
    night.ok(&["budget", "set", "--tokens", "500M"]);
    night.tick_until("01-a", "completed");
    assert!(night.tick().status.success());
    let faults = ["atomic.make:1", "atomic.rename:1", "atomic.rename:2", "atomic.rename:3", "atomic.remove:1"];
    let mut died = 0;
    for (round, fault) in (1..).zip(faults) {
        night.set("AUTOMETTA_CLOCK_OFFSET", &(round * 3700).to_string());
        let folder = night.t().join(format!("fault-{round}"));
        fs::create_dir_all(&folder).expect("folder");
        let mut tick = night.command(&["tick", "--repo", &night.repo.display().to_string()]);
        tick.env("AUTOMETTA_FAULT_DIR", &folder).env("AUTOMETTA_FAULT", format!("tick/{fault}:abort"));
        died += i32::from(!tick.output().expect("it runs").status.success());
        let next = |stage: &Value| stage["status"] == "completed" && stage["attempt"] == round + 1;
        let stage = night.tick_until_that("01-a", next);
        assert_eq!(stage["wait"]["repeat"]["rounds"], round, "{fault}: {stage:#}");
        assert!(night.tick().status.success());
        assert_eq!(night.ok(&["log"]).matches("queued-again").count(), usize::try_from(round).expect("few"), "{fault}");
        assert!(night.repo.join(format!("state/archive/rounds/01-a.{round}.yaml")).exists(), "{fault}");
    }
    assert!(died >= 4, "only {died} ticks died");
    let landed = night.git(&["log", "--format=%s", "--grep=Autometta-Stage: 01-a", "main"]);
    assert_eq!(landed.lines().count(), faults.len() + 1);
}

#[test]
fn a_repeat_that_has_nothing_to_change_is_judged_by_its_card() {
    let worker = format!("[ \"$1\" = 02-none ] || echo work >\"$1.txt\"\n{HAND_IN}");
    let mut night = Night::with(&worker, &SAY_PASS.replace("a.txt", "README.md"));
    night.manifest("max_parallel: 2\nretry: {work: 0}");
    card(&night, "01-some", "- **Every:** 1 hour\n");
    night.card_with("02-none", "- **Every:** 1 hour\n", "none", "true");
    add(&night, &["01-some", "02-none"]);
    night.tick_until("01-some", "completed");
    night.tick_until("02-none", "completed");
    assert!(night.tick().status.success());
    night.set("AUTOMETTA_CLOCK_OFFSET", "3700");
    let again =
        |stage: &Value| stage["attempt"] == 2 && stage["status"] != "pending" && stage["status"] != "in_progress";
    assert_eq!(night.tick_until_that("02-none", again)["status"], "completed");
    let same = night.tick_until_that("01-some", again);
    assert_eq!(same["reason"]["code"], "empty-diff", "{same:#}");
}

#[test]
fn scenario_59_a_missing_card_and_an_unmet_dependency_are_stepped_over_with_their_reasons() {
    let night = night();
    for (stage, metadata) in [("01-a", ""), ("02-b", "- **Depends on:** 01-a\n"), ("03-c", "")] {
        card(&night, stage, metadata);
    }
    add(&night, &["01-a", "02-b", "03-c"]);
    fs::remove_file(night.repo.join("stage-cards/01-a.md")).expect("removed");
    night.tick_until("03-c", "completed");
    let (code, words) = held(&night, "01-a");
    assert_eq!(code, "needs-you");
    assert!(words.contains("stage-cards/01-a.md"), "{words}");
    let (code, words) = held(&night, "02-b");
    assert_eq!((code.as_str(), words.as_str()), ("dependency", "waits for 01-a, which is pending"));
    card(&night, "01-a", "");
    night.tick_until("02-b", "completed");
}

#[test]
fn scenario_60_stages_that_claim_one_path_are_never_in_flight_together_and_others_are() {
    let worker = format!("touch \"$T/$2\"; while [ ! -e \"$T/go-$1\" ]; do sleep 0.02; done\n{}", of_its_own());
    let night = Night::with(&worker, SAY_PASS_TO_ITS_OWN);
    night.manifest("max_parallel: 2");
    card(&night, "01-a", "- **Path claims:** src/\n");
    card(&night, "02-b", "- **Path claims:** src/b/c.rs\n");
    card(&night, "03-c", "- **Path claims:** tests/\n");
    card(&night, "04-d", "- **Path claims:** docs/\n");
    add(&night, &["01-a", "02-b", "03-c", "04-d"]);
    let runs = |stage: &str| night.t().join(format!("{stage}.1.worker")).exists();
    assert!(night.tick().status.success());
    night.wait("two workers run", || runs("01-a") && runs("03-c"));
    assert!(night.tick().status.success());
    assert_eq!(held(&night, "02-b"), ("claim".to_owned(), "waits for 01-a, which claims src/b/c.rs".to_owned()));
    assert_eq!(held(&night, "04-d").0, "parallel");
    let go = |stage: &str| fs::write(night.t().join(format!("go-{stage}")), "").expect("go");
    go("03-c");
    night.tick_until("03-c", "completed");
    night.wait("the next that claims nothing of it runs", || night.tick().status.success() && runs("04-d"));
    assert!(!runs("02-b"), "01-a still claims src/");
    for stage in ["01-a", "04-d", "02-b"] {
        go(stage);
    }
    night.tick_until("02-b", "completed");
    let landed = night.git(&["log", "--reverse", "--format=%(trailers:key=Autometta-Stage,valueonly)", "main"]);
    let place = |stage: &str| landed.find(stage).expect("it has landed");
    assert!(place("01-a") < place("02-b"), "{landed}");
}

#[test]
fn scenario_60_a_family_has_no_more_runs_in_flight_than_it_may_and_says_so() {
    let worker = format!("touch \"$T/$2\"; while [ ! -e \"$T/go\" ]; do sleep 0.02; done\n{}", of_its_own());
    let night = Night::with(&worker, SAY_PASS_TO_ITS_OWN);
    let manifest = night.read("repo/.autometta.yaml").replace("stub: {", "stub: {max_parallel: 1, ");
    night.write(".autometta.yaml", &format!("{manifest}max_parallel: 3\n"));
    for stage in ["01-a", "02-b"] {
        card(&night, stage, "");
    }
    add(&night, &["01-a", "02-b"]);
    assert!(night.tick().status.success());
    night.wait("the first worker runs", || night.t().join("01-a.1.worker").exists());
    assert!(night.tick().status.success());
    assert_eq!(held(&night, "02-b"), ("family".to_owned(), "waits for its turn with stub (1 at once)".to_owned()));
    assert!(!night.t().join("02-b.1.worker").exists());
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("02-b", "completed");
    let manifest = night.read("repo/.autometta.yaml").replace("max_parallel: 1,", "max_parallel: 0,");
    night.write(".autometta.yaml", &manifest);
    let output = night.tick();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(said.contains("/families/stub/max_parallel") || said.contains("not between 1 and 64"), "{said}");
}

#[test]
fn the_queue_is_shown_moved_held_and_released() {
    let night = night();
    for stage in ["01-a", "02-b", "03-c"] {
        card(&night, stage, "");
    }
    add(&night, &["01-a", "02-b", "03-c"]);
    let line = || -> Vec<String> {
        let queue = queue(&night);
        let stages = queue["stages"].as_array().expect("stages").iter();
        stages.map(|entry| format!("{} {}", entry["place"], entry["stage"].as_str().expect("stage"))).collect()
    };
    assert_eq!(line(), ["1 01-a", "2 02-b", "3 03-c"]);
    let said = night.ok(&["queue", "move", "03-c", "--first"]);
    assert_eq!(said, "03-c moved: an operator put it before 01-a\n");
    assert_eq!(night.ok(&["queue", "move", "03-c", "--first"]), "nothing has changed: it stands there already\n");
    assert_eq!(line(), ["1 03-c", "2 01-a", "3 02-b"]);
    night.ok(&["queue", "move", "03-c", "--after", "02-b"]);
    night.ok(&["queue", "move", "01-a", "--last"]);
    night.ok(&["queue", "move", "01-a", "--before", "03-c"]);
    assert_eq!(line(), ["1 02-b", "2 01-a", "3 03-c"]);
    let said = night.ok(&["queue", "hold", "02-b", "01-a", "--reason", "waits for legal"]);
    assert!(said.contains("02-b held: waits for legal; `autometta queue release 02-b` lets it go on"), "{said}");
    assert_eq!(night.ok(&["queue", "hold", "01-a"]), "nothing has changed: held already\n");
    assert_eq!(held(&night, "01-a"), ("held".to_owned(), "held by an operator: waits for legal".to_owned()));
    for place in [&["status"][..], &["queue"], &["show", "01-a"]] {
        assert!(night.ok(place).contains("held by an operator: waits for legal"), "{place:?}");
    }
    night.tick_until("03-c", "completed");
    assert_eq!(night.stage("01-a")["status"], "pending");
    night.ok(&["queue", "release", "01-a"]);
    assert_eq!(night.ok(&["queue", "release", "01-a"]), "nothing has changed: nobody holds it\n");
    night.tick_until("01-a", "completed");
    let said = night.fails(&["queue", "hold", "01-a", "02-b"], 3);
    assert!(said.contains("01-a is completed"), "{said}");
    night.fails(&["queue", "move", "02-b"], 2);
    night.fails(&["queue", "move", "02-b", "--first", "--last"], 2);
    assert!(night.ok(&["log"]).contains("02-b held"));
    assert!(night.ok(&["log", "--replay"]).contains("nothing differs"));
}

#[test]
fn the_graph_is_drawn_as_text_for_graphviz_and_as_json() {
    let night = night();
    card(&night, "01-a", "");
    card(&night, "02-b", "- **Depends on:** 01-a\n");
    card(&night, "03-c", "- **Depends on:** 01-a, 02-b\n");
    card(&night, "04-d", "");
    add(&night, &["01-a", "02-b", "03-c", "04-d"]);
    let shown = "STAGE     STATUS   AFTER\n01-a      pending\n  02-b    pending  01-a\n    03-c  pending  01-a, 02-b\n04-d      pending\n";
    assert_eq!(night.ok(&["graph"]), shown);
    let dot = night.ok(&["graph", "--dot"]);
    assert!(dot.contains("\"01-a\" -> \"02-b\";") && dot.contains("\"02-b\" -> \"03-c\";"), "{dot}");
    let json: Value = serde_json::from_str(&night.ok(&["graph", "--json"])).expect("json");
    assert_eq!(json["stages"][2]["layer"], 2);
    night.tick_until("04-d", "completed");
    assert!(!night.ok(&["graph"]).contains("04-d"), "nothing that is left depends on it");
    assert!(night.ok(&["graph", "--all"]).contains("04-d      completed"));
    let report = night.ok(&["report"]);
    let page = fs::read_to_string(report.lines().last().expect("path").trim()).expect("page");
    assert!(page.contains("What comes after what") && page.contains("data-after=\"03-c\""), "the report has it");
}

#[test]
fn a_long_queue_is_read_as_its_file_has_it_whatever_stands_beside_it() {
    let night = night();
    let stages: Vec<String> = (10..70).map(|number| format!("{number}-work")).collect();
    for stage in &stages {
        card(&night, stage, "- **Not before:** 2099-01-01T00:00:00Z\n");
    }
    add(&night, &stages.iter().map(String::as_str).collect::<Vec<_>>());
    let (path, twin) = (night.repo.join("state/state.yaml"), night.repo.join("state/.state.json"));
    let read = |path| fs::read_to_string(path).expect("text");
    assert!(read(&path).len() > 16 << 10 && read(&twin).contains("10-work"));
    let first = |night: &Night| night.status()["stages"][0]["title"].as_str().expect("title").to_owned();
    assert_eq!(first(&night), "Do the work");

    let told = read(&path);
    fs::write(&path, told.replacen("title: Do the work", "title: By hand", 1)).expect("state");
    assert_eq!(first(&night), "By hand", "the twin is that of the file before");
    card(&night, "70-work", "- **Not before:** 2099-01-01T00:00:00Z\n");
    add(&night, &["70-work"]);
    assert!(read(&twin).contains("By hand") && read(&path).contains("By hand"));

    let whole = read(&twin);
    for damaged in
        [String::new(), "{}".to_owned(), whole[..whole.len() / 2].to_owned(), whole.replace("Do the", "Not the")]
    {
        fs::write(&twin, damaged).expect("twin");
        assert_eq!(night.status()["stages"][1]["title"], "Do the work");
    }
    card(&night, "71-work", "");
    add(&night, &["71-work"]);
    night.tick_until("71-work", "completed");
    assert_eq!(night.git(&["show", "main:71-work.txt"]), "work");
    assert_eq!(first(&night), "By hand");
}
