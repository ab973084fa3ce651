//! Scenarios of completion, over the real binary with stub agents.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests play the operator, and a broken test environment should fail loudly"
)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use support::night::{HAND_IN, Night, SAY_PASS};

/// A verifier that leaves no verdict.
const SAY_NOTHING: &str = "touch \"$T/judged\"";

/// A night whose stages are tried once only, so that a failure shows at once.
fn once(worker: &str, verifier: &str) -> Night {
    let night = Night::with(worker, verifier);
    night.manifest("retry: {work: 0, verifier: 0, infrastructure: 0}");
    night
}

/// A stub's line that hands in this handoff.
fn handing_in(handoff: &Value) -> String {
    let text = handoff.to_string().replace('\'', r"'\''");
    format!("printf '%s' '{text}' >.autometta/outbox/handoff.json")
}

/// A stub's line that returns this verdict.
fn returning(verdict: &Value) -> String {
    let text = verdict.to_string().replace('\'', r"'\''");
    format!("printf '%s' '{text}' >.autometta/outbox/verdict.json")
}

fn criterion(id: u64, verdict: &str) -> Value {
    let evidence = if verdict == "BLOCKED" { "there is no browser here" } else { "a.txt:1" };
    json!({"id": id, "name": "it works", "verdict": verdict, "evidence": evidence})
}

fn verdict(stage: &str, overall: &str, criteria: &[Value]) -> Value {
    json!({"stage_id": stage, "overall": overall, "headline": "Do the work", "criteria": criteria, "additional_findings": ""})
}

/// The code and the words of a stage's reason.
fn reason(stage: &Value) -> (String, String) {
    let text = |key: &str| stage["reason"][key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("detail"))
}

/// Ticks until everything that goes with a stage's end was done and seen.
fn settle(night: &Night) {
    night.tick_until_that("01-work", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty));
}

/// That nothing has landed.
fn nothing_landed(night: &Night, name: &str) {
    assert_eq!(night.git(&["rev-list", "--count", "main"]), "1", "{name}: something has landed");
}

#[test]
fn scenario_10_a_worker_that_hands_nothing_in_stalls_and_its_work_is_kept() {
    let night = Night::with("echo work >a.txt\necho more >b.txt", SAY_PASS);
    night.queue("01-work");
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(reason(&stage).0, "handoff-missing", "{stage:#}");
    settle(&night);
    let branch = "refs/heads/wip/01-work-attempt-1";
    assert_eq!(night.git(&["show", &format!("{branch}:a.txt")]), "work");
    assert_eq!(night.git(&["show", &format!("{branch}:b.txt")]), "more");
    nothing_landed(&night, "no handoff");
}

#[test]
fn scenario_11_a_handoff_that_cannot_be_used_stalls_with_the_reason_and_the_file_kept() {
    let good = json!({"stage_id": "01-work", "status": "pass", "deliverables": [], "notes": ""});
    let with = |key: &str, value: Value| {
        let mut handoff = good.clone();
        handoff[key] = value;
        handing_in(&handoff)
    };
    let cases = [
        ("malformed", "printf '{\"stage_id\":' >.autometta/outbox/handoff.json".to_owned(), "not JSON", true),
        ("unknown key", with("confidence", json!(1)), "`confidence` is unknown", true),
        ("absolute path", with("deliverables", json!(["/etc/passwd"])), "`/etc/passwd` is absolute", true),
        ("another stage", with("stage_id", json!("02-other")), "`02-other`", true),
        ("blocked without a question", with("status", json!("blocked")), "/question", true),
        (
            "a link to a good one",
            format!("{HAND_IN}\nmv .autometta/outbox/handoff.json x\nln -s ../../x .autometta/outbox/handoff.json"),
            "",
            false,
        ),
        (
            "a good one behind a linked folder",
            format!("{HAND_IN}\nmv .autometta/outbox box\nln -s ../box .autometta/outbox"),
            "",
            false,
        ),
        ("a pipe", "mkfifo .autometta/outbox/handoff.json".to_owned(), "", false),
        ("too large", "head -c 3000000 /dev/zero >.autometta/outbox/handoff.json".to_owned(), "", false),
    ];
    for (name, lines, said, kept) in cases {
        let night = Night::with(&format!("echo work >a.txt\n{lines}"), SAY_PASS);
        night.queue("01-work");
        let stage = night.tick_until_that("01-work", |stage| stage["status"] != "in_progress" && stage["attempt"] == 1);
        assert_eq!(stage["status"], "stalled", "{name}: {stage:#}");
        let (code, detail) = reason(&stage);
        assert_eq!(code, "handoff-malformed", "{name}: {stage:#}");
        assert!(detail.contains(said) && !detail.is_empty(), "{name}: {detail}");
        settle(&night);
        assert_eq!(night.git(&["show", "refs/heads/wip/01-work-attempt-1:a.txt"]), "work", "{name}");
        let file = night.repo.join("state/runs/01-work.1.worker/outbox/handoff.json");
        assert_eq!(file.exists(), kept, "{name}");
        nothing_landed(&night, name);
    }
}

#[test]
fn scenario_12_a_worker_that_says_fail_is_believed_in_its_own_words() {
    let notes = "The parser is \"gone\".\n\tIt's not mine to write: 100% — see `src/`.";
    let handoff = json!({"stage_id": "01-work", "status": "fail", "deliverables": [], "notes": notes});
    let night = Night::with(&format!("echo work >a.txt\n{}", handing_in(&handoff)), SAY_NOTHING);
    night.queue("01-work");
    let stage = night.tick_until("01-work", "failed");
    assert_eq!(reason(&stage), ("worker-failed".to_owned(), notes.to_owned()));
    settle(&night);
    assert!(!night.t().join("judged").exists(), "a verifier was asked");
    assert!(!night.repo.join("state/runs/01-work.1.gate").exists(), "the gates ran");
    assert_eq!(night.git(&["show", "refs/heads/wip/01-work-attempt-1:a.txt"]), "work");
}

#[test]
fn scenario_12_a_partial_handoff_is_judged_like_any_other_and_the_verifier_reads_its_notes() {
    let notes = "Half of it: the German words are missing.";
    let handoff = json!({"stage_id": "01-work", "status": "partial", "deliverables": ["a.txt"], "notes": notes});
    let worker = format!("echo work >a.txt\n{}", handing_in(&handoff));
    let night = Night::with(&worker, &format!("cat >\"$T/prompt\"\n{SAY_PASS}"));
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    assert!(night.repo.join("state/runs/01-work.1.gate/gates.json").exists());
    let prompt = night.read("t/prompt");
    assert!(prompt.contains(notes) && prompt.contains("partial"), "{prompt}");
}

#[test]
fn scenario_12_a_blocked_worker_asks_and_the_answer_reaches_its_next_prompt() {
    let question = "Which of the two?";
    let handoff =
        json!({"stage_id": "01-work", "status": "blocked", "deliverables": [], "notes": "n", "question": question});
    let worker = format!(
        "cat >\"$T/prompt.$2\"\nif [ -e \"$T/asked\" ]; then cat half.txt >a.txt; rm half.txt; {HAND_IN}\nelse \
         touch \"$T/asked\"; echo half >half.txt; {}\nfi",
        handing_in(&handoff)
    );
    let night = Night::with(&worker, SAY_PASS);
    night.queue("01-work");
    let stage = night.tick_until("01-work", "blocked");
    assert_eq!(reason(&stage), ("question".to_owned(), question.to_owned()));
    settle(&night);
    let asked: Value = serde_json::from_str(&night.read("repo/state/questions/01-work.json")).expect("question");
    assert_eq!(asked["question"], question, "{asked:#}");
    for _ in 0..3 {
        night.tick();
    }
    assert_eq!(night.stage("01-work")["status"], "blocked", "it waits for a person");
    night.ok(&["answer", "01-work", "--text", "The second, and don't ask \"again\"."]);
    let stage = night.tick_until("01-work", "completed");
    let run = stage["history"].as_array().expect("history")[1]["run"].as_str().expect("run").to_owned();
    let prompt = night.read(format!("t/prompt.{run}"));
    assert!(prompt.contains("The second, and don't ask \"again\"."), "{prompt}");
    // What it had done before it asked was there when it went on.
    assert_eq!(night.git(&["show", "main:a.txt"]), "half");
}

#[test]
fn scenario_13_a_verdict_counts_only_once_its_verifier_has_ended() {
    let fail = verdict("01-work", "FAIL", &[criterion(1, "FAIL")]);
    let verifier =
        format!("{SAY_PASS}\ntouch \"$T/said\"\nuntil [ -e \"$T/go\" ]; do sleep 0.02; done\n{}", returning(&fail));
    let night = once(&format!("echo work >a.txt\n{HAND_IN}"), &verifier);
    night.queue("01-work");
    night.tick();
    night.wait("it says PASS", || night.t().join("said").exists());
    for _ in 0..5 {
        night.tick();
        assert_eq!(night.stage("01-work")["phase"], "verifying");
    }
    assert!(!night.repo.join("state/verifiers/01-work.json").exists(), "published before its end");
    fs::write(night.t().join("go"), "").expect("go");
    let stage = night.tick_until("01-work", "verifier_failed");
    assert_eq!(reason(&stage).0, "verdict-fail", "{stage:#}");
    nothing_landed(&night, "the last word counts");
}

#[test]
fn scenario_14_a_verdict_that_does_not_pass_every_criterion_once_is_no_pass() {
    let (pass, fail, blocked) = (|id| criterion(id, "PASS"), |id| criterion(id, "FAIL"), |id| criterion(id, "BLOCKED"));
    let says = |criteria: &[Value]| returning(&verdict("01-work", "PASS", criteria));
    let none = ("stalled", "verdict-missing");
    let cases = [
        ("one criterion fails", says(&[pass(1), fail(2)]), ("verifier_failed", "verdict-fail")),
        ("one could not be looked at", says(&[pass(1), blocked(2)]), ("verifier_failed", "verdict-fail")),
        ("one is missing", says(&[pass(1)]), none),
        ("one is repeated", says(&[pass(1), pass(1)]), none),
        ("one too many", says(&[pass(1), pass(2), pass(3)]), none),
        ("not JSON", "echo PASS >.autometta/outbox/verdict.json".to_owned(), none),
        ("an unknown key", {
            let mut verdict = verdict("01-work", "PASS", &[pass(1), pass(2)]);
            verdict["confidence"] = json!(1);
            returning(&verdict)
        }, none),
        (
            "the key twice",
            r#"printf '{"stage_id":"01-work","overall":"FAIL","overall":"PASS","headline":"h","criteria":[{"id":1,"name":"n","verdict":"PASS","evidence":"e"},{"id":2,"name":"n","verdict":"PASS","evidence":"e"}],"additional_findings":""}' >.autometta/outbox/verdict.json"#.to_owned(),
            none,
        ),
        ("only in its output", format!("{}; cat .autometta/outbox/verdict.json; rm .autometta/outbox/*", says(&[pass(1), pass(2)])), none),
        ("it is killed after its word", format!("{}\nkill -9 $$", says(&[pass(1), pass(2)])), none),
        ("it fails after its word", format!("{}\nexit 1", says(&[pass(1), pass(2)])), none),
        ("it crashes before a word", "kill -9 $$".to_owned(), none),
    ];
    for (name, verifier, (status, code)) in cases {
        let night = once(&format!("echo work >a.txt\n{HAND_IN}"), &verifier);
        night.card("01-work");
        let card = night.read("repo/stage-cards/01-work.md").replace("1. it works", "1. it works\n2. it is tidy");
        night.write("stage-cards/01-work.md", &card);
        night.ok(&["add-stage", "stage-cards/01-work.md"]);
        let stage = night.tick_until_that("01-work", |stage| stage["status"] != "in_progress" && stage["attempt"] == 1);
        assert_eq!(stage["status"], status, "{name}: {stage:#}");
        assert_eq!(reason(&stage).0, code, "{name}: {stage:#}");
        nothing_landed(&night, name);
    }
}

#[test]
fn scenario_15_a_verdict_of_another_stage_counts_for_nothing() {
    let other = returning(&verdict("02-other", "PASS", &[criterion(1, "PASS")]));
    let night = once(&format!("echo work >a.txt\n{HAND_IN}"), &other);
    night.queue("01-work");
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(reason(&stage).0, "verdict-missing", "{stage:#}");
    nothing_landed(&night, "another stage");
}

#[test]
fn scenario_15_verdicts_that_a_worker_leaves_behind_count_for_nothing() {
    let pass = verdict("01-work", "PASS", &[criterion(1, "PASS")]);
    let cases = [
        ("in its own outbox", ".autometta/outbox", true),
        ("where verdicts are published", "$T/../repo/state/verifiers", true),
        // A worktree's place that is taken is for a person to clear: what is there is neither used nor removed.
        ("where the verifier's worktree will be", "$T/../repo.autometta/01-work.1.verifier/.autometta/outbox", false),
    ];
    for (name, folder, asked) in cases {
        let lines = format!(
            "folder=\"{folder}\"\nmkdir -p \"$folder\"\n{}\nfor name in verdict 01-work; do cp .autometta/outbox/verdict.json \
             \"$folder/$name.json\" || :; done",
            returning(&pass)
        );
        let night = once(&format!("echo work >a.txt\n{lines}\n{HAND_IN}"), SAY_NOTHING);
        night.queue("01-work");
        let stage = night.tick_until("01-work", "stalled");
        assert_eq!(reason(&stage).0, "verdict-missing", "{name}: {stage:#}");
        assert_eq!(night.t().join("judged").exists(), asked, "{name}: whether the verifier was asked");
        nothing_landed(&night, name);
    }
}

#[test]
fn scenario_15_a_run_directory_that_was_there_before_its_run_counts_for_nothing() {
    // The first stage's verifier really says PASS; a worker dresses its directory up as the second stage's.
    let worker = format!(
        "echo \"$1\" >a.txt\nruns=$T/../repo/state/runs\nif [ \"$1\" = 02-more ]; then\n  \
         cp -R \"$runs/01-work.1.verifier\" \"$runs/02-more.1.verifier\"\n  \
         cd \"$runs/02-more.1.verifier\" && grep -rl 01-work . | xargs sed -i s/01-work/02-more/g\n  cd \"$OLDPWD\"\nfi\n{HAND_IN}"
    );
    let verifier = format!("if [ \"$1\" = 01-work ]; then {SAY_PASS}\nelse touch \"$T/judged\"\nfi");
    let night = once(&worker, &verifier);
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    night.queue("02-more");
    let stage = night.tick_until_that("02-more", |stage| stage["status"] != "in_progress" && stage["attempt"] == 1);
    assert_eq!(stage["status"], "stalled", "{stage:#}");
    assert_eq!(reason(&stage).0, "verdict-missing", "{stage:#}");
    assert!(night.t().join("judged").exists(), "the verifier was not asked");
    assert_eq!(night.git(&["show", "main:a.txt"]), "01-work");
}

#[test]
fn scenario_15_a_requeued_stage_does_not_live_on_an_old_handoff_or_verdict() {
    // Attempt 1 is handed in and fails its verdict; in attempt 2 neither says a word.
    let fail = verdict("01-work", "FAIL", &[criterion(1, "FAIL")]);
    let first = |line: &str| format!("case $2 in 01-work.1.*) {line};; esac");
    let night = once(&format!("echo \"$2\" >a.txt\n{}", first(HAND_IN)), &first(&returning(&fail)));
    night.queue("01-work");
    night.tick_until("01-work", "verifier_failed");
    settle(&night);
    assert!(night.repo.join("state/handoffs/01-work.json").exists(), "the old handoff lies around");
    night.ok(&["requeue", "01-work"]);
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(reason(&stage).0, "handoff-missing", "{stage:#}");
    assert_eq!(stage["attempt"], 2, "{stage:#}");
    nothing_landed(&night, "an old handoff");
}

#[test]
fn scenario_15_a_pass_of_an_earlier_attempt_does_not_land_a_later_candidate() {
    // Attempt 1 passes but cannot land, because the operator edits the same file; an operator starts it anew.
    let night = once(&format!("echo \"$2\" >a.txt\n{HAND_IN}"), &format!("case $2 in 01-work.1.*) {SAY_PASS};; esac"));
    night.write("a.txt", "the operator's own\n");
    night.queue("01-work");
    night.tick_until_that("01-work", |stage| stage["phase"] == "landing");
    night.ok(&["skip", "01-work"]);
    fs::remove_file(night.repo.join("a.txt")).expect("the edit goes");
    night.ok(&["requeue", "01-work"]);
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(reason(&stage).0, "verdict-missing", "{stage:#}");
    nothing_landed(&night, "an earlier PASS");
}

/// What a worker does to git, with the content that the candidate must then have.
struct Abuse {
    name: &'static str,
    lines: &'static str,
    a: &'static str,
    tracked: &'static str,
}

const fn abuse(name: &'static str, lines: &'static str, a: &'static str, tracked: &'static str) -> Abuse {
    Abuse { name, lines, a, tracked }
}

/// An author for the worker's own commits.
const COMMIT: &str = "commit() { git add -A && git -c user.name=W -c user.email=w@w commit -qm \"$1\"; }\n";

/// With commits, branches and the stash.
const ABUSES_OF_HISTORY: &[Abuse] = &[
    abuse("restore", "echo x >tracked.txt; git restore .; echo work >a.txt", "work", "base"),
    abuse("clean", "echo x >a.txt; echo new >tracked.txt; git clean -ffdxq; echo work >a.txt", "work", "new"),
    abuse("stash", "echo lost >a.txt; echo lost >tracked.txt; git stash -uq; echo work >a.txt", "work", "base"),
    abuse(
        "commit",
        "echo work >a.txt; echo new >tracked.txt; commit one; echo two >>a.txt; commit two",
        "work\ntwo",
        "new",
    ),
    abuse(
        "commit and reset",
        "echo work >a.txt; commit one; git reset -q --hard HEAD~1; echo again >a.txt",
        "again",
        "base",
    ),
    abuse(
        "another branch",
        "git switch -qc other; echo work >a.txt; commit one; echo left >tracked.txt",
        "work",
        "left",
    ),
    abuse(
        "an orphan branch",
        "git checkout -q --orphan lone; git rm -rqf .; echo work >a.txt; echo base >tracked.txt; printf '# Repo\\n' >README.md; printf '/state/\\n/.autometta.local.yaml\\n' >.gitignore",
        "work",
        "base",
    ),
    abuse(
        "detached, and its branch deleted",
        "git checkout -q --detach; git branch -qD autometta/01-work; echo work >a.txt",
        "work",
        "base",
    ),
    abuse(
        "its branch moved",
        "echo work >a.txt; commit one; git update-ref refs/heads/autometta/01-work HEAD~1",
        "work",
        "base",
    ),
];

/// With the index, the configuration and what makes a folder a checkout.
const ABUSES_OF_THE_CHECKOUT: &[Abuse] = &[
    abuse("our folder deleted", "echo work >a.txt; rm -rf .autometta", "work", "base"),
    abuse("the link to the repository deleted", "echo work >a.txt; rm .git", "work", "base"),
    abuse("a repository of its own in its place", "rm .git; git init -q; echo work >a.txt; commit own", "work", "base"),
    abuse("taken out of the index", "echo work >a.txt; git rm -q --cached tracked.txt README.md", "work", "base"),
    abuse(
        "assumed unchanged",
        "git update-index --assume-unchanged tracked.txt; echo new >tracked.txt; echo work >a.txt",
        "work",
        "new",
    ),
    abuse(
        "skipped in the worktree",
        "git update-index --skip-worktree tracked.txt; echo new >tracked.txt; echo work >a.txt",
        "work",
        "new",
    ),
    abuse("intent to add", "echo work >a.txt; git add -N a.txt", "work", "base"),
    abuse("a broken index", "echo work >a.txt; echo rubbish >\"$(git rev-parse --git-path index)\"", "work", "base"),
    abuse("a lock left behind", "echo work >a.txt; : >\"$(git rev-parse --git-path index.lock)\"", "work", "base"),
    abuse(
        "a merge under way",
        "echo work >a.txt; git rev-parse HEAD >\"$(git rev-parse --git-path MERGE_HEAD)\"",
        "work",
        "base",
    ),
    abuse(
        "a sparse checkout",
        "echo work >a.txt; git sparse-checkout set --no-cone /a.txt /.gitignore /README.md; echo back >tracked.txt",
        "work",
        "back",
    ),
    abuse(
        "a grafted replacement",
        "echo work >a.txt; echo evil >e; git replace \"$(git rev-parse HEAD:tracked.txt)\" \"$(git hash-object -w e)\"; rm e",
        "work",
        "base",
    ),
    abuse(
        "excludes, filters, hooks and a monitor of its own",
        "printf 'a.txt\\ntracked.txt\\n' >>\"$(git rev-parse --git-path info/exclude)\"\n\
         echo '* filter=evil' >\"$(git rev-parse --git-path info/attributes)\"\n\
         hooks=$(git rev-parse --git-common-dir)/hooks; mkdir -p \"$hooks\"\n\
         for hook in post-checkout post-index-change reference-transaction pre-commit post-commit; do\n\
         printf '#!/bin/sh\\ntouch \"%s/ran\"\\n' \"$T\" >\"$hooks/$hook\"; chmod +x \"$hooks/$hook\"; done\n\
         printf '#!/bin/sh\\ntouch \"%s/ran\"\\necho evil\\n' \"$T\" >\"$T/evil\"; chmod +x \"$T/evil\"\n\
         config=$(git rev-parse --git-common-dir)/config\n\
         printf '[core]\\n\\tfsmonitor = %s/evil\\\n[filter \"evil\"]\\n\\tclean = %s/evil\\n\\tsmudge = %s/evil\\n\\trequired = true\\n' \"$T\" \"$T\" \"$T\" >>\"$config\"\n\
         echo work >a.txt; echo new >tracked.txt; rm -f \"$T/ran\"",
        "work",
        "new",
    ),
];

#[test]
fn scenario_16_whatever_a_worker_does_to_history_the_candidate_is_what_its_files_hold() {
    lands_what_the_files_hold(ABUSES_OF_HISTORY);
}

#[test]
fn scenario_16_whatever_a_worker_does_to_its_checkout_the_candidate_is_what_its_files_hold() {
    lands_what_the_files_hold(ABUSES_OF_THE_CHECKOUT);
}

fn lands_what_the_files_hold(abuses: &[Abuse]) {
    for abuse in abuses {
        let name = abuse.name;
        let worker = format!("{COMMIT}{}\nmkdir -p .autometta/outbox\n{HAND_IN}", abuse.lines);
        let night = once(&worker, &format!("cat a.txt tracked.txt >\"$T/judged\"\n{SAY_PASS}"));
        night.write("tracked.txt", "base\n");
        night.git(&["add", "tracked.txt"]);
        night.git(&["commit", "-qm", "Add a tracked file"]);
        let base = night.git(&["rev-parse", "main"]);
        night.card_with("01-work", "", "1. `a.txt`: the work\n2. `tracked.txt`: more", "test -s a.txt");
        night.ok(&["add-stage", "stage-cards/01-work.md"]);
        let stage = night.tick_until_that("01-work", |stage| stage["status"] != "in_progress" && stage["attempt"] == 1);
        assert_eq!(stage["status"], "completed", "{name}: {stage:#}\n{}", said(&night));
        let show = |path: &str| night.git(&["--no-replace-objects", "show", &format!("main:{path}")]);
        assert_eq!((show("a.txt").as_str(), show("tracked.txt").as_str()), (abuse.a, abuse.tracked), "{name}");
        assert_eq!(night.read("t/judged").trim_end(), format!("{}\n{}", abuse.a, abuse.tracked), "{name}");
        assert_eq!(night.git(&["rev-parse", "main^"]), base, "{name}: one commit on the base");
        assert_eq!(night.git(&["log", "-1", "--format=%an <%ae>", "main"]), "Stub Worker <stub@local>", "{name}");
        let mut listing = night.git(&["ls-tree", "--name-only", "-r", "main"]);
        listing.push('\n');
        assert_eq!(listing, ".gitignore\nREADME.md\na.txt\ntracked.txt\n", "{name}");
        assert!(!night.t().join("ran").exists(), "{name}: a program of the worker's was run by our git");
    }
}

/// What the worker printed, for a failure's report.
fn said(night: &Night) -> String {
    let log = |name: &str| fs::read_to_string(night.repo.join("state/runs/01-work.1.worker").join(name));
    format!("{}{}", log("stdout.log").unwrap_or_default(), log("stderr.log").unwrap_or_default())
}

#[test]
fn scenario_17_children_that_a_worker_leaves_behind_are_gone_before_anything_follows() {
    // Each child waits for the worker's record and then writes wherever it can.
    let child = "trap '' TERM HUP INT\necho $$ >>\"$T/children\"\nuntil [ -e \"$T/../repo/state/runs/01-work.1.worker/exit.json\" ]; do sleep 0.01; done\ntouch \"$T/survived\"\nwhile :; do for tree in \"$T\"/../repo.autometta/*; do echo evil >>\"$tree/a.txt\"; done; sleep 0.01; done";
    let cases = [
        ("plain", "sh \"$T/child\" &"),
        ("in the background of a subshell", "(sh \"$T/child\" &)"),
        ("a session of its own", "setsid sh \"$T/child\" &"),
        ("a double fork", "(setsid sh -c 'sh \"$T/child\" & exit' &)"),
        (
            "a double fork without environment and without descriptors",
            "(setsid env -i T=\"$T\" PATH=\"$PATH\" sh -c 'sh \"$T/child\" & exit' <&- >&- 2>&- 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&- &)",
        ),
    ];
    for (name, start) in cases {
        let verifier =
            format!("ps -o pid= -p \"$(cat \"$T/children\")\" >\"$T/seen\"\ncat a.txt >\"$T/judged\"\n{SAY_PASS}");
        let worker = format!("echo work >a.txt\n{start}\nuntil [ -s \"$T/children\" ]; do sleep 0.01; done\n{HAND_IN}");
        let night = Night::with(&worker, &verifier);
        fs::write(night.t().join("child"), child).expect("child");
        night.queue("01-work");
        night.tick_until("01-work", "completed");
        assert_eq!(night.read("t/seen"), "", "{name}: it lived while the verifier ran");
        assert!(!night.t().join("survived").exists(), "{name}: it outlived its run");
        for pid in night.read("t/children").lines() {
            assert!(!Path::new("/proc").join(pid).exists(), "{name}: {pid} lives");
        }
        assert_eq!((night.read("t/judged").as_str(), night.git(&["show", "main:a.txt"]).as_str()), ("work\n", "work"));
    }
}

#[test]
fn scenario_18_an_ignored_file_that_is_a_deliverable_lands_and_others_do_not() {
    let worker = format!(
        "mkdir -p out/deep\necho one >out/deep/x.bin\necho two >a.bin\necho no >b.bin\necho no >.cache\necho three >named.bin\n{}",
        handing_in(&json!({"stage_id": "01-work", "status": "pass", "deliverables": ["named.bin"], "notes": ""}))
    );
    let night = Night::with(&worker, &format!("find . -name '*.bin' | sort >\"$T/judged\"\n{SAY_PASS}"));
    night.write(".gitignore", "/state/\n/.autometta.local.yaml\n*.bin\n/.cache\n");
    night.git(&["commit", "-qam", "Ignore more"]);
    night.card_with(
        "01-work",
        "- **Path claims:** named.bin\n",
        "1. `a.bin`: one\n2. `out/`: a folder",
        "test -s a.bin",
    );
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("t/judged"), "./a.bin\n./named.bin\n./out/deep/x.bin\n");
    let changed = night.git(&["diff", "--name-only", "main^", "main"]);
    assert_eq!(changed, "a.bin\nnamed.bin\nout/deep/x.bin");
}
