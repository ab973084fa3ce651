//! `show` and `log` over the real binary: a stage's whole story, the ledger in words, and what agents print.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::night::{HAND_IN, LIMIT, Night, SAY_PASS, WORKER, text};

/// Fails with everything that was said where one of these is missing.
fn holds(said: &str, wanted: &[&str]) {
    for words in wanted {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
}

fn valid(document: &Value) {
    let path = format!("{}/schemas/show.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).expect("schema")).expect("json");
    let validator = jsonschema::validator_for(&schema).expect("schema");
    let faults: Vec<String> = validator.iter_errors(document).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}\n{document:#}");
}

fn shown(night: &Night, stage: &str) -> Value {
    let json: Value = serde_json::from_str(&night.ok(&["show", stage, "--json"])).expect("json");
    valid(&json);
    json
}

/// Ticks until a stage has landed and nothing of it is left to do.
fn landed(night: &Night, stage: &str) {
    night.tick_until_that(stage, |found| found["status"] == "completed" && found["chores"] == Value::Null);
}

#[test]
fn a_landed_stage_is_told_to_its_commit() {
    let night = Night::passing();
    night.queue("01-work");
    landed(&night, "01-work");
    let commit = night.git(&["rev-parse", "main"]);
    let said = night.ok(&["show", "01-work", "--width", "100"]);
    holds(
        &said,
        &[
            "01-work: Do the work",
            "status      completed",
            "card        stage-cards/01-work.md",
            "sha256      ",
            "run 01-work.1.worker: done",
            "who         Stub Worker <stub@local> (stub, stub)",
            "ended by    itself, exit code 0",
            "peak memory ",
            "gate acceptance: passed",
            "overall: PASS",
            "1. PASS: it works (a.txt:1)",
            &format!("landed as {commit}: 01-work: Do the work"),
            "a.txt | 1 +",
        ],
    );
    assert!(!said.contains("edited since"), "{said}");
    let json = shown(&night, "01-work");
    assert_eq!((&json["landed"]["commit"], &json["found"]), (&json!(commit), &json!("queue")));
    assert_eq!(json["card_file"], "same");
    night.write("stage-cards/01-work.md", "# another\n");
    assert!(night.ok(&["show", "01-work"]).contains("edited since the attempt began"));
    fs::remove_file(night.repo.join("stage-cards/01-work.md")).expect("removed");
    assert!(night.ok(&["show", "01-work"]).contains("the file is gone"));
}

#[test]
fn what_failed_is_shown_with_its_output_and_where_its_work_is() {
    let night = Night::passing();
    night.manifest("retry: {work: 0}");
    night.card_with("01-work", "", "1. `a.txt`: the work", "printf 'first\\033[31m red\\n  second\\n'; exit 3");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    night.tick_until_that("01-work", |stage| stage["status"] == "verifier_failed" && stage["chores"] == Value::Null);
    let said = night.ok(&["show", "01-work", "--width", "100"]);
    holds(
        &said,
        &[
            "gate acceptance: FAILED",
            "    | first red\n    |   second",
            "state/runs/01-work.1.gate/stdout.log",
            "reason      gate-failed",
            "autometta requeue 01-work",
            "  wip/01-work-attempt-1 at ",
            "diff main...wip/01-work-attempt-1",
        ],
    );
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let look = shown(&night, "01-work")["branches"].as_array().expect("branches").last().expect("one")["look"].clone();
    let output = Command::new("/bin/sh").args(["-c", look.as_str().expect("text")]).output().expect("it runs");
    assert!(text(&output.stdout).contains("+work"), "the command that is shown works: {look}");
}

#[test]
fn seats_that_disagree_are_named() {
    let judge = r#"case $2 in *-2) V=FAIL;; *) V=PASS;; esac
printf '{"stage_id":"%s","overall":"%s","headline":"Do the work","criteria":[{"id":1,"name":"it works","verdict":"%s","evidence":"a.txt:1"}],"additional_findings":""}' "$1" "$V" "$V" >.autometta/outbox/verdict.json"#;
    let night = Night::with(&format!("echo work >a.txt\n{HAND_IN}"), judge);
    let card = format!(
        "# Stage card 01-work: Do the work\n\n## Metadata\n- **Worker:** {WORKER}\n\
         - **Verifier panel:** 2 of Judge One <j1@local>; Judge Two <j2@local>; Judge Three <j3@local>\n\n\
         ## Objective\nDo it.\n\n## Deliverables\n1. `a.txt`: it\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntest -s a.txt\n```\n"
    );
    night.write("stage-cards/01-work.md", &card);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    landed(&night, "01-work");
    let said = night.ok(&["show", "01-work", "--width", "100"]);
    holds(&said, &["quorum      2 of 3", "the seats disagree", "criterion 1: seat 1 PASS, seat 2 FAIL, seat 3 PASS"]);
}

#[test]
fn questions_and_answers_are_part_of_the_story() {
    let ask = r#"printf '{"stage_id":"%s","status":"blocked","deliverables":[],"notes":"","question":"Which one?"}' "$1" >.autometta/outbox/handoff.json"#;
    let night = Night::with(
        &format!(
            "if [ -e .autometta/asked ] || [ -e \"$T/asked\" ]; then echo x >a.txt\n{HAND_IN}\nelse touch \"$T/asked\"\n{ask}\nfi"
        ),
        SAY_PASS,
    );
    night.queue("01-work");
    night.tick_until_that("01-work", |stage| stage["status"] == "blocked" && stage["chores"] == Value::Null);
    let said = night.ok(&["show", "01-work"]);
    holds(&said, &["question\n  Which one?", "autometta answer 01-work"]);
    night.ok(&["answer", "01-work", "--text", "The second one."]);
    landed(&night, "01-work");
    holds(&night.ok(&["show", "01-work"]), &["answer\n  The second one.", "run 01-work.1.worker: asked"]);
}

#[test]
fn what_is_gone_is_said_and_what_left_the_queue_is_found() {
    let night = Night::passing();
    night.queue("01-work");
    night.queue("02-more");
    night.ok(&["skip", "02-more"]);
    landed(&night, "01-work");
    night.wait("the checkouts to go", || {
        night.tick();
        !night.worktrees().exists()
    });
    fs::remove_dir_all(night.repo.join("state/runs/01-work.1.gate")).expect("removed");
    let said = night.ok(&["show", "01-work"]);
    holds(&said, &["run 01-work.1.gate: done", "its directory is gone", "run 01-work.1.verifier: done"]);
    // The same stage, archived.
    let stage = night.stage("01-work");
    night.write("state/archive/01-work.yaml", &stage.to_string());
    let state = night.read("repo/state/state.yaml");
    let (head, rest) = state.split_once("- id: 01-work").expect("first");
    let rest = rest.split_once("- id: 02-more").expect("second").1;
    let without = format!("{head}- id: 02-more{rest}").replace("stage_count: 2", "stage_count: 1");
    night.write("state/state.yaml", &without);
    holds(&night.ok(&["show", "01-work"]), &["in the archive", "landed as ", "run 01-work.1.worker: done"]);
    assert_eq!(shown(&night, "01-work")["found"], "archive");
    // Nothing but traces.
    fs::remove_file(night.repo.join("state/archive/01-work.yaml")).expect("removed");
    holds(
        &night.ok(&["show", "01-work"]),
        &["neither in the queue", "run 01-work.1.worker", "what the ledger has", "landed"],
    );
    assert_eq!(shown(&night, "01-work")["found"], "traces");
    let said = night.fails(&["show", "99-none"], 3);
    assert!(said.contains("no stage 99-none"), "{said}");
}

#[test]
fn the_ledger_is_cut_and_followed() {
    let night = Night::passing();
    night.queue("01-work");
    landed(&night, "01-work");
    let all = night.ok(&["log"]);
    let newest = night.ok(&["log", "-n", "2"]);
    assert_eq!(newest.lines().count(), 2);
    assert!(all.ends_with(&newest), "{all}\n{newest}");
    assert_eq!(night.ok(&["log", "--since", "1h"]), all);
    assert_eq!(night.ok(&["log", "--since", "2099-01-01T00:00:00Z"]), "");
    night.fails(&["log", "--since", "yesterday"], 2);
    let mut follower = Follower::start(&night, &["log", "-n", "1", "--follow"]);
    follower.until("01-work");
    night.queue("02-more");
    follower.until("02-more queued");
    night.ok(&["halt", "--reason", "tea"]);
    follower.until("tea");
    assert_eq!(follower.seen.matches("02-more queued").count(), 1, "{}", follower.seen);
}

/// A command whose lines are read as they come.
struct Follower {
    child: std::process::Child,
    lines: Receiver<String>,
    seen: String,
}

impl Follower {
    fn start(night: &Night, args: &[&str]) -> Self {
        let mut child = night.command(args).stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("stdout"));
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: String::new() }
    }

    fn until(&mut self, words: &str) {
        let begun = Instant::now();
        while !self.seen.contains(words) {
            assert!(begun.elapsed() < LIMIT, "no `{words}` in\n{}", self.seen);
            if let Ok(line) = self.lines.recv_timeout(Duration::from_millis(100)) {
                self.seen.push_str(&(line + "\n"));
            }
        }
    }

    /// Waits for its end, which must be a good one.
    fn ends(&mut self) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("status") {
                assert!(status.success(), "{status}\n{}", self.seen);
                return;
            }
            assert!(begun.elapsed() < LIMIT, "it does not end\n{}", self.seen);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_runs_output_is_followed_to_its_end() {
    let night = Night::with(
        &format!(
            "echo first\nprintf 'evil \\033]0;title\\007\\033[2J\\n' >&2\ntouch \"$T/here\"\n\
             while [ ! -e \"$T/go\" ]; do sleep 0.02; done\necho last >&2\nprintf unfinished\necho work >a.txt\n{HAND_IN}"
        ),
        SAY_PASS,
    );
    night.queue("01-work");
    let here = night.t().join("here");
    night.tick_until_that("01-work", |_| here.exists());
    let mut follower = Follower::start(&night, &["log", "--run", "01-work", "--follow"]);
    follower.until("first");
    follower.until("stderr | evil");
    assert!(night.ok(&["log", "--run", "01-work"]).contains("still running"), "without --follow it does not wait");
    fs::write(night.t().join("go"), "").expect("go");
    follower.ends();
    follower.until("01-work.1.worker: ended: exit");
    holds(&follower.seen, &["stderr | last", "unfinished"]);
    assert!(!follower.seen.contains('\u{1b}') && !follower.seen.contains('\u{7}'), "{:?}", follower.seen);
    landed(&night, "01-work");
    // After the fact, by any name for it.
    for name in ["01-work.1.worker", "01-work.1.w"] {
        holds(&night.ok(&["log", "--run", name]), &["first", "stderr | last", "unfinished", "ended: exit"]);
    }
    holds(&night.ok(&["log", "--run", "01-work.1.gate"]), &["== gate acceptance: test -s a.txt"]);
    assert!(night.ok(&["log", "--run", "01-work"]).contains("01-work.1.verifier"), "the newest run of the stage");
    holds(&night.fails(&["log", "--run", "01-work.1"], 1), &["several runs", "01-work.1.gate", "01-work.1.worker"]);
    holds(&night.fails(&["log", "--run", "77-none"], 1), &["no run of"]);
}

#[test]
fn an_agents_stream_is_made_readable_and_raw_on_request() {
    let night = Night::bare();
    let stream = format!("{}/tests/fixtures/agent-output/claude-success.jsonl", env!("CARGO_MANIFEST_DIR"));
    night.stub("worker", &format!("cat '{stream}'\necho 'not json'\necho work >a.txt\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    night.manifest("");
    let manifest = night.read("repo/.autometta.yaml");
    night.write(".autometta.yaml", &manifest.replacen("pass_env: [T]", "pass_env: [T], decoder: claude", 1));
    night.ok(&["init"]);
    night.queue("01-work");
    landed(&night, "01-work");
    let said = night.ok(&["log", "--run", "01-work.1.worker"]);
    holds(&said, &["Bash: echo hello > a.txt && cat a.txt", "→ hello", "I made a.txt.", "not json"]);
    assert!(!said.contains("{\"type\""), "{said}");
    holds(&night.ok(&["log", "--run", "01-work.1.worker", "--raw"]), &["{\"type\"", "not json"]);
}
