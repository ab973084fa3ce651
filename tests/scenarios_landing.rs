//! Scenarios of landing, over the real binary with stub agents: what reaches the base branch, and what never does.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::landed::{assert_every_landed_tree_was_gated, gated_trees};
use support::night::{HAND_IN, Night, SAY_PASS, text};

/// Blocks until the test lets everybody go.
const WAIT_FOR_GO: &str = r#"while [ ! -e "$T/go" ]; do sleep 0.02; done"#;

/// A verifier that says when it has begun, and passes once the test says so.
fn patient_verifier() -> String {
    format!("touch \"$T/verifying.$1\"\n{WAIT_FOR_GO}\n{SAY_PASS}")
}

/// Lets everybody go who waits.
fn go(night: &Night) {
    fs::write(night.t().join("go"), "").expect("go");
}

/// Queues a stage and ticks until its verifier runs.
fn up_to_the_verifier(night: &Night, stage: &str) {
    night.queue(stage);
    let mark = night.t().join(format!("verifying.{stage}"));
    night.tick_until_that(stage, |_| mark.exists());
}

/// Commits a file in the operator's checkout; gives the new tip.
fn commit(night: &Night, path: &str, content: &str) -> String {
    night.write(path, content);
    night.git(&["add", path]);
    night.git(&["commit", "-qm", &format!("Change {path}")]);
    night.git(&["rev-parse", "HEAD"])
}

/// The whole of the operator's checkout: HEAD, what is staged, what is not, what git does not know.
fn checkout(night: &Night) -> String {
    [
        night.git(&["status", "--porcelain=v2", "--untracked-files=all"]).replace("state/", ""),
        night.git(&["diff", "--cached", "--stat"]),
        night.git(&["diff"]),
        night.git(&["symbolic-ref", "-q", "HEAD"]),
    ]
    .join("\n--\n")
}

fn one_line_of<'a>(said: &'a str, word: &str) -> &'a str {
    said.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no {word} in:\n{said}"))
}

#[test]
fn scenario_46_a_base_that_moved_elsewhere_gets_the_change_on_top_and_the_gates_run_again() {
    let night = Night::with(&format!("echo work >a.txt\n{HAND_IN}"), &patient_verifier());
    let before = night.git(&["rev-parse", "main"]);
    up_to_the_verifier(&night, "01-work");
    let tip = commit(&night, "elsewhere.txt", "the operator's\n");
    go(&night);
    let stage = night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["rev-parse", "main^"]), tip);
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
    assert_eq!(night.git(&["show", "main:elsewhere.txt"]), "the operator's");
    assert_eq!(stage["commit"], night.git(&["rev-parse", "main"]));
    assert_every_landed_tree_was_gated(&night, 1);
    assert_eq!(gated_trees(&night).len(), 2, "the gates run on the candidate and again on the merged tree");
    let log = night.ok(&["log"]);
    let line = one_line_of(&log, "rebased");
    assert!(line.contains(&before) && line.contains(&tip), "{line}");
    // The operator's checkout was brought along, and nothing in it is dirty.
    assert_eq!(night.git(&["status", "--porcelain", "-uno"]), "");
    assert_eq!(night.read("repo/a.txt"), "work\n");
}

#[test]
fn scenario_46_a_base_that_moves_again_while_the_gates_run_again_is_followed_once_more() {
    let night = Night::with(&format!("echo work >a.txt\n{HAND_IN}"), SAY_PASS);
    // The first gate passes at once, later ones wait: each says which files it sees.
    let gate = format!(
        "test -s a.txt; T={}; n=$(ls \"$T\" | grep -c ^gate || :); touch \"$T/gate.$n\"\nwhile [ ! -e \"$T/go.$n\" ]; do sleep 0.02; done",
        night.t().display()
    );
    night.card_with("01-work", "", "1. `a.txt`", &gate);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    let mut tips = Vec::new();
    for round in 0..3 {
        let mark = night.t().join(format!("gate.{round}"));
        night.tick_until_that("01-work", |_| mark.exists());
        if round < 2 {
            tips.push(commit(&night, &format!("moved-{round}.txt"), "x\n"));
        }
        fs::write(night.t().join(format!("go.{round}")), "").expect("go");
    }
    night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["rev-parse", "main^"]), tips[1]);
    assert_eq!(gated_trees(&night).len(), 3);
    assert_every_landed_tree_was_gated(&night, 1);
}

#[test]
fn scenario_46_a_merged_tree_that_fails_the_gates_never_lands() {
    let night = Night::with(&format!("echo work >a.txt\n{HAND_IN}"), &patient_verifier());
    night.card_with("01-work", "", "1. `a.txt`", "test -s a.txt; test ! -e poison.txt");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    let mark = night.t().join("verifying.01-work");
    night.tick_until_that("01-work", |_| mark.exists());
    let tip = commit(&night, "poison.txt", "x\n");
    go(&night);
    let stage = night.tick_until_that("01-work", |stage| {
        assert_ne!(stage["status"], "completed");
        stage["status"] == "verifier_failed"
    });
    assert_eq!(night.git(&["rev-parse", "main"]), tip);
    assert!(
        stage["reason"]["detail"].as_str().expect("detail").contains("poison.txt")
            || stage["reason"]["code"] == "no-progress",
        "{stage:#}"
    );
}

/// A night whose base has `a.txt` with five lines, whose worker changes the last one, and whose operator changes the
/// given line meanwhile; up to the parked stage.
fn parked(operators_line: usize) -> (Night, String) {
    let night = Night::with(&format!("sed -i '5s/.*/the worker/' a.txt\n{HAND_IN}"), &patient_verifier());
    commit(&night, "a.txt", "1\n2\n3\n4\n5\n");
    up_to_the_verifier(&night, "01-work");
    let lines: Vec<String> = (1..=5)
        .map(|line| if line == operators_line { "the operator\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let tip = commit(&night, "a.txt", &lines.concat());
    go(&night);
    let stage = night.tick_until("01-work", "blocked");
    assert_eq!(stage["reason"]["code"], "integration");
    let detail = stage["reason"]["detail"].as_str().expect("detail");
    assert!(detail.contains("a.txt") && detail.contains("autometta/01-work") && detail.contains(&tip), "{detail}");
    assert_eq!(night.git(&["rev-parse", "main"]), tip, "the base is clean");
    assert_eq!(night.git(&["status", "--porcelain", "-uno"]), "");
    assert!(night.git(&["show", "autometta/01-work:a.txt"]).ends_with("the worker"), "the branch is kept");
    // It stays parked however often the machine looks, and while the base moves for other reasons.
    night.tick();
    commit(&night, "other.txt", "x\n");
    night.tick();
    assert_eq!(night.stage("01-work")["status"], "blocked");
    (night, tip)
}

fn closes_itself(night: &Night) {
    let merged = night.git(&["rev-parse", "main"]);
    let stage = night.tick_until("01-work", "completed");
    assert_eq!(stage["reason"]["code"], "merged-by-hand");
    assert_eq!(night.git(&["rev-parse", "main"]), merged, "closing changes nothing");
    assert!(night.read("repo/a.txt").contains("the worker"));
    night.tick();
    assert!(!night.git_raw(&["rev-parse", "-q", "--verify", "autometta/01-work"]).status.success(), "the branch goes");
}

#[test]
fn scenario_47_a_parked_stage_that_is_merged_by_hand_closes_itself_and_releases_what_waits_for_it() {
    let (night, _) = parked(1);
    night.card_with("02-next", "- **Depends on:** 01-work\n", "1. `b.txt`", "test -s b.txt");
    night.ok(&["add-stage", "stage-cards/02-next.md"]);
    night.tick();
    assert_eq!(night.stage("02-next")["status"], "pending");
    night.stub("worker", &format!("echo next >b.txt\n{HAND_IN}"));
    night.git(&["merge", "-q", "--no-edit", "autometta/01-work"]);
    night.tick_until("02-next", "completed");
    assert_eq!(night.stage("01-work")["status"], "completed");
}

#[test]
fn scenario_47_a_parked_stage_that_is_merged_with_conflicts_closes_itself() {
    let (night, _) = parked(5);
    assert!(!night.git_raw(&["merge", "--no-edit", "autometta/01-work"]).status.success());
    night.tick();
    assert_eq!(night.stage("01-work")["status"], "blocked", "not while the merge is under way");
    night.write("a.txt", "1\n2\n3\n4\nthe worker and the operator\n");
    night.git(&["commit", "-qam", "Merge by hand"]);
    closes_itself(&night);
}

#[test]
fn scenario_47_a_parked_stage_that_is_cherry_picked_closes_itself() {
    let (night, _) = parked(1);
    night.git(&["cherry-pick", "autometta/01-work"]);
    closes_itself(&night);
}

#[test]
fn scenario_47_a_parked_stage_that_is_cherry_picked_with_conflicts_closes_itself() {
    let (night, _) = parked(5);
    assert!(!night.git_raw(&["cherry-pick", "autometta/01-work"]).status.success());
    night.write("a.txt", "1\n2\n3\n4\nthe worker and the operator\n");
    night.git(&["add", "a.txt"]);
    night.git(&["-c", "core.editor=true", "cherry-pick", "--continue"]);
    closes_itself(&night);
}

#[test]
fn scenario_47_a_parked_stage_may_be_requeued_and_starts_from_the_new_base() {
    let (night, _) = parked(5);
    night.ok(&["requeue", "01-work"]);
    night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["show", "main:a.txt"]), "1\n2\n3\n4\nthe worker");
    assert_every_landed_tree_was_gated(&night, 1);
}

#[test]
fn scenario_48_unrelated_edits_in_the_checkout_of_the_base_are_kept_byte_for_byte() {
    let night = Night::passing();
    commit(&night, "staged.txt", "1\n");
    commit(&night, "unstaged.txt", "1\n");
    commit(&night, "both.txt", "1\n");
    night.queue("01-work");
    night.write("staged.txt", "staged\n");
    night.write("both.txt", "staged\n");
    night.write("added.txt", "added\n");
    night.git(&["add", "staged.txt", "both.txt", "added.txt"]);
    night.write("both.txt", "staged and more\n");
    fs::write(night.repo.join("unstaged.txt"), b"\xff\x00 no newline").expect("file");
    night.write("untracked dir/untracked.txt", "untracked\n");
    night.git(&["rm", "-q", "--cached", "README.md"]);
    let before = checkout(&night);
    night.tick_until("01-work", "completed");
    assert_eq!(checkout(&night), before);
    assert_eq!(fs::read(night.repo.join("unstaged.txt")).expect("file"), b"\xff\x00 no newline");
    assert_eq!(night.read("repo/untracked dir/untracked.txt"), "untracked\n");
    assert_eq!(night.git(&["show", ":both.txt"]), "staged");
    assert_eq!(night.read("repo/both.txt"), "staged and more\n");
    assert_eq!(night.read("repo/a.txt"), "work\n", "the landed file is there");
    assert_eq!(night.git(&["show", "--format=", "--name-only", "main"]), "a.txt", "nothing else was committed");
}

/// Edits of the operator in the file that lands keep the landing waiting; `undo` takes them back.
fn waits_for(edit: impl Fn(&Night), undo: impl Fn(&Night)) {
    let night = Night::with(&format!("echo work >>a.txt\n{HAND_IN}"), SAY_PASS);
    commit(&night, "a.txt", "base\n");
    night.queue("01-work");
    let tip = night.git(&["rev-parse", "main"]);
    edit(&night);
    let before = checkout(&night);
    let stage = night.tick_until_that("01-work", |stage| stage["phase"] == "landing" && stage["reason"] != Value::Null);
    assert_eq!(stage["reason"]["code"], "local-edits");
    for _ in 0..3 {
        night.tick();
    }
    // A look of the operator's git and a tick that tries once more have git's own lock for a moment each.
    let lock = night.hold();
    assert_eq!(night.git(&["rev-parse", "main"]), tip);
    assert_eq!(checkout(&night), before, "the operator's edits are as they were");
    let said = night.ok(&["status"]);
    let line = one_line_of(&said, "01-work");
    assert!(line.contains("a.txt") && line.contains("lands by itself"), "{line}");
    let told = night.ok(&["log"]).matches("local-edits").count();
    assert_eq!(told, 1, "said once, not at every tick");
    undo(&night);
    drop(lock);
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("repo/a.txt"), "base\nwork\n");
    assert_every_landed_tree_was_gated(&night, 1);
}

#[test]
fn scenario_48_an_unstaged_edit_in_a_touched_file_makes_the_landing_wait() {
    waits_for(
        |night| night.write("a.txt", "the operator's\n"),
        |night| drop(night.git(&["checkout", "-q", "--", "a.txt"])),
    );
}

#[test]
fn scenario_48_a_staged_edit_in_a_touched_file_makes_the_landing_wait() {
    waits_for(
        |night| {
            night.write("a.txt", "the operator's\n");
            night.git(&["add", "a.txt"]);
            night.write("a.txt", "base\n");
        },
        |night| drop(night.git(&["reset", "-q", "--hard"])),
    );
}

#[test]
fn scenario_48_a_removed_touched_file_makes_the_landing_wait() {
    waits_for(
        |night| fs::remove_file(night.repo.join("a.txt")).expect("remove"),
        |night| drop(night.git(&["checkout", "-q", "--", "a.txt"])),
    );
}

#[test]
fn scenario_48_an_untracked_or_ignored_file_where_a_new_one_would_land_makes_the_landing_wait() {
    for ignored in [false, true] {
        let night = Night::passing();
        if ignored {
            night.write(".git/info/exclude", "a.txt\n");
        }
        night.queue("01-work");
        night.write("a.txt", "mine\n");
        night.tick_until_that("01-work", |stage| stage["reason"]["code"] == "local-edits");
        assert_eq!(night.read("repo/a.txt"), "mine\n");
        fs::remove_file(night.repo.join("a.txt")).expect("remove");
        night.tick_until("01-work", "completed");
        assert_eq!(night.read("repo/a.txt"), "work\n");
    }
}

#[test]
fn scenario_48_an_edit_that_is_saved_while_the_landing_looks_makes_it_wait() {
    let mut night = Night::with(&format!("echo work >>a.txt\n{HAND_IN}"), SAY_PASS);
    commit(&night, "a.txt", "base\n");
    // The old and the new files are written out, and the operator's were compared with the index.
    let pause = night.pause("*/git.sync-file@autometta-staging:*");
    night.queue("01-work");
    night.tick_until_that("01-work", |_| pause.is_reached());
    night.write("a.txt", "mine\n");
    pause.end();
    let waits = |stage: &Value| stage["reason"]["code"] == "local-edits" || stage["status"] == "completed";
    night.tick_until_that("01-work", waits);
    assert_eq!(night.read("repo/a.txt"), "mine\n", "the edit is kept");
    let lock = night.hold();
    night.git(&["checkout", "-q", "--", "a.txt"]);
    drop(lock);
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("repo/a.txt"), "base\nwork\n");
}

#[test]
fn scenario_48_a_landing_that_cannot_be_finished_lets_the_operator_s_git_in() {
    let mut night = Night::passing();
    night.fail(|_| "*/git.move@a.txt:*:eacces".to_owned());
    night.queue("01-work");
    let tip = night.git(&["rev-parse", "main"]);
    night.tick_until_that("01-work", |_| night.git(&["rev-parse", "main"]) != tip);
    for own in ["one\n", "two\n"] {
        night.no_tick_runs();
        night.tick();
        let said = night.ok(&["status"]);
        let line = one_line_of(&said, "01-work");
        assert!(line.contains("cannot replace") && line.contains("repo/a.txt: Permission denied"), "{line}");
        assert!(line.contains("lands by itself once that is mended"), "{line}");
        let lock = night.hold();
        assert!(!night.repo.join(".git/index.lock").exists(), "the operator's git is not locked out");
        assert_eq!(night.git(&["status", "--porcelain", "--untracked-files=no"]), " D a.txt");
        commit(&night, "own.txt", own);
        assert_eq!(night.git(&["show", "HEAD:a.txt"]), "work", "what the operator commits undoes nothing");
        drop(lock);
    }
    night.write("own.txt", "more\n");
    night.set("AUTOMETTA_FAULT", "");
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("repo/a.txt"), "work\n");
    assert_eq!(night.read("repo/own.txt"), "more\n");
    assert_eq!(night.git(&["status", "--porcelain", "--untracked-files=no"]), " M own.txt");
}

#[test]
fn scenario_48_a_landing_that_waits_does_not_keep_other_stages_from_their_turn() {
    let night = Night::with(&format!("echo \"$1\" >\"$1.txt\"\n{HAND_IN}"), SAY_PASS);
    for stage in ["01-first", "02-second"] {
        night.card_with(stage, "", &format!("1. `{stage}.txt`"), &format!("test -s {stage}.txt"));
        night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
    }
    night.write("01-first.txt", "mine\n");
    night.tick_until("02-second", "completed");
    // It has followed the base that the other one moved, and waits again.
    night.tick_until_that("01-first", |stage| stage["phase"] == "landing" && stage["reason"]["code"] == "local-edits");
    assert_eq!(night.read("repo/01-first.txt"), "mine\n");
    fs::remove_file(night.repo.join("01-first.txt")).expect("remove");
    night.tick_until("01-first", "completed");
    assert_every_landed_tree_was_gated(&night, 2);
}

#[test]
fn scenario_48_a_base_that_is_not_checked_out_moves_without_touching_the_checkout() {
    let night = Night::passing();
    night.git(&["switch", "-qc", "mine"]);
    commit(&night, "mine.txt", "1\n");
    night.queue("01-work");
    night.write("a.txt", "my own, untracked\n");
    let (before, head) = (checkout(&night), night.git(&["rev-parse", "HEAD"]));
    night.tick_until("01-work", "completed");
    assert_eq!(checkout(&night), before);
    assert_eq!(night.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
    assert_eq!(night.read("repo/a.txt"), "my own, untracked\n");
}

#[test]
fn scenario_48_a_base_that_is_checked_out_in_a_linked_worktree_is_brought_along_there() {
    let night = Night::passing();
    night.git(&["switch", "-qc", "mine"]);
    let linked = night.base().join("a linked one");
    night.git(&["worktree", "add", "-q", &linked.display().to_string(), "main"]);
    let in_linked = |args: &[&str]| {
        let output = night_git(&night, &linked, args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    };
    fs::write(linked.join("README.md"), "edited there\n").expect("edit");
    night.queue("01-work");
    let before = checkout(&night);
    night.tick_until("01-work", "completed");
    assert_eq!(checkout(&night), before);
    assert!(!night.repo.join("a.txt").exists());
    assert_eq!(fs::read_to_string(linked.join("a.txt")).expect("landed"), "work\n");
    assert_eq!(in_linked(&["status", "--porcelain"]).trim(), "M README.md");
    assert_eq!(in_linked(&["rev-parse", "HEAD"]), night.git(&["rev-parse", "main"]));
}

fn night_git(night: &Night, at: &Path, args: &[&str]) -> std::process::Output {
    Command::new("git")
        .args(args)
        .current_dir(at)
        .env_clear()
        .env("PATH", std::env::var("PATH").expect("PATH"))
        .env("HOME", night.base().join("user"))
        .output()
        .expect("git")
}

#[test]
fn scenario_48_a_detached_head_stays_where_it_is() {
    let night = Night::passing();
    night.git(&["switch", "-q", "--detach", "main"]);
    night.queue("01-work");
    let head = night.git(&["rev-parse", "HEAD"]);
    let status = night.git(&["status", "--porcelain", "-uno"]);
    night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["rev-parse", "HEAD"]), head);
    assert!(!night.git_raw(&["symbolic-ref", "-q", "HEAD"]).status.success());
    assert_eq!(night.git(&["status", "--porcelain", "-uno"]), status);
    assert!(!night.repo.join("a.txt").exists());
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
}

/// An operation of the operator's on main makes the landing wait until it is over.
fn waits_out(begin: &[&str], word: &str, end: &[&str]) {
    let night = Night::passing();
    commit(&night, "c.txt", "base\n");
    night.git(&["switch", "-qc", "other"]);
    commit(&night, "c.txt", "theirs\n");
    night.git(&["switch", "-q", "main"]);
    commit(&night, "c.txt", "ours\n");
    night.queue("01-work");
    let tip = night.git(&["rev-parse", "main"]);
    assert!(!night.git_raw(begin).status.success(), "{begin:?} stops at a conflict");
    let stage = night.tick_until_that("01-work", |stage| stage["reason"]["code"] == "checkout-busy");
    assert!(stage["reason"]["detail"].as_str().expect("detail").contains(word), "{stage:#}");
    assert_eq!(night.git(&["rev-parse", "main"]), tip);
    night.git(end);
    assert_eq!(night.git(&["rev-parse", "HEAD"]), tip, "the operator's way back still works");
    night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["rev-parse", "main^"]), tip);
    assert_eq!(night.read("repo/a.txt"), "work\n");
    assert_eq!(night.git(&["status", "--porcelain", "-uno"]), "");
}

#[test]
fn scenario_48_a_rebase_of_the_base_that_is_in_progress_is_waited_out() {
    waits_out(&["rebase", "other"], "rebase", &["rebase", "--abort"]);
}

#[test]
fn scenario_48_a_merge_into_the_base_that_is_in_progress_is_waited_out() {
    waits_out(&["merge", "other"], "merge", &["merge", "--abort"]);
}

#[test]
fn scenario_48_an_index_lock_of_another_git_is_waited_out_and_never_removed() {
    let night = Night::passing();
    night.queue("01-work");
    let lock = night.repo.join(".git/index.lock");
    fs::write(&lock, "theirs").expect("lock");
    let stage = night.tick_until_that("01-work", |stage| stage["reason"]["code"] == "checkout-busy");
    assert!(stage["reason"]["detail"].as_str().expect("detail").contains("index.lock"), "{stage:#}");
    assert_eq!(fs::read(&lock).expect("lock"), b"theirs");
    fs::remove_file(&lock).expect("unlock");
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("repo/a.txt"), "work\n");
}

#[test]
fn scenario_48_a_base_branch_that_was_deleted_is_waited_for() {
    let night = Night::with(&format!("echo work >a.txt\n{HAND_IN}"), &patient_verifier());
    up_to_the_verifier(&night, "01-work");
    night.git(&["switch", "-q", "--detach"]);
    let tip = night.git(&["rev-parse", "main"]);
    night.git(&["branch", "-qD", "main"]);
    go(&night);
    night.tick_until_that("01-work", |stage| stage["reason"]["code"] == "no-base");
    assert!(one_line_of(&night.ok(&["status"]), "01-work").contains("main does not exist"));
    night.git(&["branch", "main", &tip]);
    night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
}

/// A stage whose worker has ended while nobody could look; gives the worktree and lets the test meddle with it before
/// the tick that follows.
fn meddled(meddle: impl FnOnce(&Night, &Path)) -> (Night, Value) {
    let night = Night::with(&format!("echo work >a.txt\n{HAND_IN}\ntouch \"$T/working\"\n{WAIT_FOR_GO}"), SAY_PASS);
    night.queue("01-work");
    let mark = night.t().join("working");
    night.tick_until_that("01-work", |_| mark.exists());
    // A tick of the worker's launch may still be on its way out.
    let lock = night.hold();
    go(&night);
    let exit = night.repo.join("state/runs/01-work.1.worker/exit.json");
    night.wait("the worker's end", || exit.exists());
    meddle(&night, &night.worktrees().join("01-work.1.worker"));
    drop(lock);
    let stage = night.tick_until_that("01-work", |stage| {
        assert_ne!(stage["status"], "completed");
        stage["status"] == "stalled"
    });
    (night, stage)
}

/// Nothing is on any ref but what was there, and main is where it was.
fn nothing_was_committed(night: &Night) {
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
    let kept = night.git(&["for-each-ref", "--format=%(refname) %(subject)", "refs/heads/wip"]);
    assert_eq!(kept, "");
    assert_eq!(night.git(&["status", "--porcelain", "-uno"]), "");
}

#[test]
fn scenario_49_a_worktree_that_vanished_is_refused() {
    let (night, stage) = meddled(|_, worktree| fs::remove_dir_all(worktree).expect("remove"));
    assert_eq!(stage["reason"]["code"], "worktree-missing");
    nothing_was_committed(&night);
    // The way out that it names works.
    night.ok(&["requeue", "01-work"]);
    night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
}

#[test]
fn scenario_49_a_worktree_in_whose_place_something_else_stands_is_refused() {
    let meddlers: [fn(&Night, &Path); 2] = [
        |night, worktree| symlink(&night.repo, worktree).expect("link"),
        |_, worktree| fs::write(worktree, "a file\n").expect("file"),
    ];
    for meddler in meddlers {
        let (night, stage) = meddled(|night, worktree| {
            fs::rename(worktree, night.base().join("moved away")).expect("rename");
            night.write("a.txt", "the operator's\n");
            meddler(night, worktree);
        });
        let code = stage["reason"]["code"].as_str().expect("code");
        assert!(["worktree-missing", "worktree-unreadable"].contains(&code), "{stage:#}");
        nothing_was_committed(&night);
        assert_eq!(night.read("repo/a.txt"), "the operator's\n");
    }
}

/// A card whose out of scope is `b.txt` and that claims `src/`.
fn scoped_card(night: &Night, stage: &str) {
    night.card_with(stage, "- **Path claims:** src/\n", "1. `a.txt`", "test -s a.txt");
    let path = format!("stage-cards/{stage}.md");
    let card = night.read(format!("repo/{path}")) + "\n## Out of scope\n- `src/main.rs`\n";
    night.write(&path, &card);
    night.ok(&["add-stage", &path]);
}

/// Git syncs what it stores for us, and not what it finds there already: an agent's git may have stored it without.
#[test]
fn what_an_agent_committed_itself_is_on_the_disk_before_it_counts() {
    let own = "mkdir -p deep/er\necho work >a.txt\necho more >deep/er/b.txt\ngit add -A\ngit -c user.name=A -c user.email=a@b commit -qm own";
    let mut night = Night::with(&format!("{own}\n{HAND_IN}"), SAY_PASS);
    let folder = night.fail(|_| String::new());
    night.card_with("01-work", "", "1. `a.txt`: it\n2. `deep/er/b.txt`: more", "test -s a.txt");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    night.tick_until("01-work", "completed");
    let log = fs::read_to_string(folder.join("log")).expect("log");
    for what in ["a.txt", "deep/er/b.txt", "deep", "deep/er", ""] {
        let id = night.git(&["rev-parse", &format!("main:{what}")]);
        let place = format!("objects/{}/{}\"", &id[..2], &id[2..]);
        let synced = log.lines().any(|line| line.contains(" git.sync-file ") && line.ends_with(&place));
        assert!(synced, "{what:?} is {id}");
    }
}

#[test]
fn scenario_50_a_change_outside_deliverables_and_claims_is_briefed_once_more_and_then_fails() {
    let stray = "mkdir -p src other; echo a >a.txt; echo b >src/b.rs; echo c >src/main.rs; echo d >'other/st ray.txt'";
    let night = Night::with(&format!("cat >\"$T/$2\"\n{stray}\ndate +%N >>a.txt\n{HAND_IN}"), SAY_PASS);
    scoped_card(&night, "01-work");
    let stage = night.tick_until("01-work", "failed");
    assert_eq!(stage["attempt"], 2);
    assert_eq!(stage["reason"]["code"], "out-of-scope");
    let detail = stage["reason"]["detail"].as_str().expect("detail");
    assert!(
        detail.contains("other/st ray.txt") && detail.contains("src/main.rs (the card says out of scope)"),
        "{detail}"
    );
    assert!(!detail.contains("src/b.rs") && !detail.contains(" a.txt"), "{detail}");
    let brief = night.read("t/01-work.2.worker");
    assert!(brief.contains("other/st ray.txt") && brief.contains("src/main.rs"), "{brief}");
    assert!(gated_trees(&night).is_empty(), "nothing of it was worth a gate");
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
    assert!(night.git(&["for-each-ref", "--format=%(refname)", "refs/heads/wip"]).lines().count() >= 1, "work is kept");
}

#[test]
fn scenario_50_a_worker_that_takes_the_stray_file_back_when_told_lands() {
    let worker =
        format!("if [ -e stray.txt ]; then rm stray.txt; else echo x >stray.txt; fi\necho a >a.txt\n{HAND_IN}");
    let night = Night::with(&worker, SAY_PASS);
    scoped_card(&night, "01-work");
    let stage = night.tick_until("01-work", "completed");
    assert_eq!(stage["attempt"], 2, "the second attempt goes on from the first one's work");
    assert_eq!(night.git(&["show", "--format=", "--name-only", "main"]), "a.txt");
}

#[test]
fn scenario_50_deleting_a_file_of_others_is_out_of_scope_as_well() {
    let night = Night::with(&format!("git mv README.md a.txt\ndate +%N >>a.txt\n{HAND_IN}"), SAY_PASS);
    scoped_card(&night, "01-work");
    let stage = night.tick_until("01-work", "failed");
    assert!(stage["reason"]["detail"].as_str().expect("detail").contains("README.md"), "{stage:#}");
}

#[test]
fn scenario_51_an_empty_diff_is_never_completed() {
    let night = Night::with(&format!("cat >\"$T/$2\"\n{HAND_IN}"), SAY_PASS);
    night.queue("01-work");
    let stage = night.tick_until_that("01-work", |stage| {
        assert_ne!(stage["status"], "completed");
        stage["status"] == "failed" || stage["status"] == "verifier_failed"
    });
    assert_eq!(stage["attempt"], 2);
    assert!(["empty-diff", "no-progress"].contains(&stage["reason"]["code"].as_str().expect("code")), "{stage:#}");
    assert!(night.read("t/01-work.2.worker").contains("changes nothing"));
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
}

#[test]
fn scenario_51_an_empty_diff_completes_a_card_without_deliverables_once_it_is_judged() {
    let night = Night::with(HAND_IN, &format!("touch \"$T/judged\"\n{SAY_PASS}"));
    night.card_with("01-check", "", "none", "test -s README.md");
    night.ok(&["add-stage", "stage-cards/01-check.md"]);
    night.tick_until("01-check", "completed");
    assert!(night.t().join("judged").exists(), "a verifier looked");
    assert_eq!(gated_trees(&night).len(), 1, "and the gate ran");
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin", "no empty commit");
}

#[test]
fn scenario_51_deliverables_none_that_changes_something_fails() {
    let night = Night::passing();
    night.card_with("01-check", "", "none", "test -s README.md");
    night.ok(&["add-stage", "stage-cards/01-check.md"]);
    let stage =
        night.tick_until_that("01-check", |stage| stage["status"] == "failed" || stage["status"] == "verifier_failed");
    let code = stage["reason"]["code"].as_str().expect("code").to_owned();
    assert!(["out-of-scope", "no-progress"].contains(&code.as_str()), "{stage:#}");
    assert_eq!(night.git(&["log", "--format=%s", "main"]), "Begin");
}

#[test]
fn scenario_52_stages_that_race_to_land_land_only_trees_that_a_gate_saw() {
    let night = Night::bare();
    night.stub("worker", &format!("echo \"$1\" >\"$1.txt\"\n{HAND_IN}"));
    night.stub("verifier", &patient_verifier());
    night.manifest("max_parallel: 3\ncaps: {tokens: 100000000}");
    night.ok(&["init"]);
    let stages = ["01-one", "02-two", "03-three"];
    for stage in stages {
        night.card_with(stage, "", &format!("1. `{stage}.txt`"), &format!("test -s {stage}.txt"));
    }
    let cards: Vec<String> = stages.iter().map(|stage| format!("stage-cards/{stage}.md")).collect();
    night.ok(&["add-stage", &cards[0], &cards[1], &cards[2]]);
    let marks: Vec<PathBuf> = stages.iter().map(|stage| night.t().join(format!("verifying.{stage}"))).collect();
    night.tick_until_that("01-one", |_| marks.iter().all(|mark| mark.exists()));
    go(&night);
    for stage in stages {
        night.tick_until(stage, "completed");
    }
    assert_every_landed_tree_was_gated(&night, 3);
    assert_eq!(
        night.git(&["ls-tree", "--name-only", "main"]),
        ".gitignore\n01-one.txt\n02-two.txt\n03-three.txt\nREADME.md"
    );
    assert_eq!(night.git(&["status", "--porcelain", "-uno"]), "");
    night.ok(&["log", "--verify"]);
}
