//! Scenarios of stalls, kills and clocks, over the real binary with stub agents.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::night::{HAND_IN, Night, SAY_PASS, VERIFIER, WORKER, text};

/// Queues a card whose Budget section has these lines.
fn queue_with_budget(night: &Night, stage: &str, budget: &str) {
    let card = format!(
        "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** {WORKER}\n- **Verifier:** {VERIFIER}\n\n\
         ## Objective\nDo it.\n\n## Deliverables\n1. `a.txt`: the work\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntest -s a.txt\n```\n\n## Budget\n{budget}\n"
    );
    night.write(&format!("stage-cards/{stage}.md"), &card);
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

/// A JSON file below `state/`.
fn state_json(night: &Night, path: &str) -> Value {
    serde_json::from_str(&night.read(format!("repo/state/{path}"))).expect("json")
}

fn alive(pid: i32) -> bool {
    // A zombie that nobody has reaped yet runs nothing any more.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// The process ids that a stub wrote down, one a line.
fn pids(night: &Night, name: &str) -> Vec<i32> {
    let text = std::fs::read_to_string(night.t().join(name)).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn kill_supervisor(night: &Night, run: &str) {
    let started = state_json(night, &format!("runs/{run}/started.json"));
    let pid = started["supervisor"]["pid"].as_i64().expect("pid");
    let pid = i32::try_from(pid).expect("pid");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
    night.wait("the supervisor is gone", || !alive(pid));
}

/// A tick whose calendar is off by this many seconds.
fn tick_at(night: &Night, offset: i64) -> std::process::Output {
    let output = night
        .command(&["tick", "--repo", &night.repo.display().to_string()])
        .env("AUTOMETTA_CLOCK_OFFSET", offset.to_string())
        .output()
        .expect("tick");
    assert!(output.status.success(), "{}", text(&output.stderr));
    output
}

/// A worker that marks its start and then works only when the test says so.
fn waiting_worker() -> String {
    format!("echo $$ >>\"$T/agents\"\nuntil test -e \"$T/go\"; do sleep 0.05; done\necho work >a.txt\n{HAND_IN}")
}

fn go(night: &Night) {
    std::fs::write(night.t().join("go"), "").expect("go");
}

/// Ticks once, and waits until the worker runs.
fn start(night: &Night) {
    assert!(night.tick().status.success());
    night.wait("the worker runs", || !pids(night, "agents").is_empty());
}

fn ledger_events(night: &Night) -> Vec<String> {
    let lines = night.read("repo/state/ledger.jsonl");
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("json")["event"].as_str().expect("event").to_owned())
        .collect()
}

#[test]
fn scenario_19_an_agent_and_a_child_that_ignore_term_are_gone_soon_after_the_cap_and_the_work_is_kept() {
    let worker = "trap '' TERM\nsh -c 'trap \"\" TERM; echo $$ >>\"$T/agents\"; while :; do sleep 1; done' &\n\
                  echo $$ >>\"$T/agents\"\necho work >a.txt\nwhile :; do sleep 1; done";
    let night = Night::with(worker, SAY_PASS);
    queue_with_budget(&night, "01-work", "- **Worker wall-clock:** 2s");
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(stage["reason"]["code"], "timed-out");
    let agents = pids(&night, "agents");
    assert_eq!(agents.len(), 2);
    assert!(agents.iter().all(|pid| !alive(*pid)), "{agents:?}");
    let exit = state_json(&night, "runs/01-work.1.worker/exit.json");
    assert_eq!(exit["ended_by"], "timeout");
    // Two seconds of cap and five of grace, and what a busy machine adds.
    let took = exit["elapsed_seconds"].as_f64().expect("elapsed");
    assert!((7.0..15.0).contains(&took), "{took}");
    night.tick_until_that("01-work", |_| night.git_raw(&["rev-parse", "wip/01-work-attempt-1"]).status.success());
    assert_eq!(night.git(&["show", "wip/01-work-attempt-1:a.txt"]), "work");
    let budget = night.budget();
    assert!(budget["wall_clock_elapsed_seconds"].as_u64().expect("seconds") >= 7, "{budget}");
    assert_eq!(budget["wall_clock_reserved_seconds"], 0);
}

#[test]
fn scenario_19_a_model_run_that_is_cut_off_is_charged_at_its_reservation() {
    let night = Night::with("sleep 600", SAY_PASS);
    queue_with_budget(&night, "01-work", "- **Worker wall-clock:** 1s\n- **Worker tokens:** 1,234");
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(stage["tokens"], 1234, "{stage:#}");
    assert_eq!(stage["history"][0]["usage_unknown"], true);
    assert_eq!((&night.budget()["tokens_spent"], &night.budget()["tokens_reserved"]), (&1234.into(), &0.into()));
}

#[test]
fn scenario_20_a_clock_that_jumps_forward_neither_kills_nor_charges_a_run_and_the_gap_is_reported() {
    let night = Night::with(&waiting_worker(), SAY_PASS);
    queue_with_budget(&night, "01-work", "- **Worker wall-clock:** 10 minutes");
    start(&night);
    for _ in 0..2 {
        tick_at(&night, 3600);
        let stage = night.stage("01-work");
        assert_eq!((&stage["status"], &stage["phase"]), (&"in_progress".into(), &"working".into()));
    }
    tick_at(&night, 7200);
    let heartbeat = state_json(&night, "heartbeat.json");
    assert!(heartbeat["gap_seconds"].as_i64().expect("gap") >= 3600, "{heartbeat}");
    assert_eq!(heartbeat["agents"][0]["alive"], true);
    assert_eq!(heartbeat["agents"][0]["over_budget"], false);
    assert_eq!(night.budget()["wall_clock_elapsed_seconds"], 0);
    go(&night);
    night.tick_until("01-work", "completed");
    let budget = night.budget();
    assert!(budget["wall_clock_elapsed_seconds"].as_u64().expect("seconds") < 300, "{budget}");
    assert_eq!(pids(&night, "agents").len(), 1);
}

#[test]
fn scenario_20_a_run_that_was_lost_while_the_machine_slept_is_charged_no_more_than_its_cap() {
    let night = Night::with(&waiting_worker(), SAY_PASS);
    queue_with_budget(&night, "01-work", "- **Worker wall-clock:** 10 minutes");
    start(&night);
    kill_supervisor(&night, "01-work.1.worker");
    for pid in pids(&night, "agents") {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    go(&night);
    night.wait("the run is seen to be lost", || {
        tick_at(&night, 86_400);
        ledger_events(&night).contains(&"lost".to_owned())
    });
    let history = night.stage("01-work")["history"].clone();
    assert_eq!(history[0]["outcome"], "lost", "{history:#}");
    assert!(history[0]["seconds"].as_u64().expect("seconds") <= 600, "{history:#}");
    night.tick_until("01-work", "completed");
}

#[test]
fn scenario_21_a_clock_that_jumps_back_a_day_crashes_nothing_and_resets_nothing() {
    let night = Night::with(&waiting_worker(), SAY_PASS);
    night.queue("01-work");
    let before = night.budget();
    start(&night);
    for offset in [-86_400, -86_400, 0, -172_800] {
        tick_at(&night, offset);
    }
    assert!(state_json(&night, "heartbeat.json")["gap_seconds"].as_i64().expect("gap") < 0);
    go(&night);
    let begun = std::time::Instant::now();
    while night.stage("01-work")["status"] != "completed" {
        tick_at(&night, -86_400);
        assert!(begun.elapsed() < support::night::LIMIT, "{}", night.ok(&["log"]));
    }
    let budget = night.budget();
    assert_eq!(budget["window_started_at"], before["window_started_at"]);
    assert_eq!((&budget["breaches"], &budget["halted"]), (&Value::Array(Vec::new()), &false.into()));
    assert!(night.ok(&["log", "--verify"]).contains("each follows"));
    assert!(night.ok(&["status"]).contains("completed"));
}

#[test]
fn scenario_22_a_run_whose_supervisor_was_killed_counts_as_running_until_its_agent_ends() {
    let night = Night::with(&waiting_worker(), SAY_PASS);
    night.queue("01-work");
    start(&night);
    kill_supervisor(&night, "01-work.1.worker");
    for _ in 0..5 {
        assert!(night.tick().status.success());
        let agent = state_json(&night, "heartbeat.json")["agents"][0].clone();
        assert_eq!((&agent["alive"], &agent["supervised"]), (&true.into(), &false.into()), "{agent}");
        assert_eq!(night.stage("01-work")["phase"], "working");
    }
    assert_eq!(pids(&night, "agents").len(), 1, "nothing was started a second time");
    go(&night);
    let stage = night.tick_until("01-work", "completed");
    assert_eq!((&stage["attempt"], &stage["history"][0]["outcome"]), (&1.into(), &"lost".into()));
    assert_eq!(stage["history"][1]["run"], "01-work.1.worker.r1");
    assert_eq!(pids(&night, "agents").len(), 2);
    assert_eq!(night.budget()["consecutive_failures"], 0);
}

#[test]
fn scenario_22_ticks_stop_an_unsupervised_agent_at_its_cap_and_retry_it_three_times_without_an_attempt() {
    let night = Night::with("echo $$ >>\"$T/agents\"\nexec sleep 600", SAY_PASS);
    queue_with_budget(&night, "01-work", "- **Worker wall-clock:** 2s\n- **Worker tokens:** 1,000");
    for retry in 0..4 {
        let run = if retry == 0 { "01-work.1.worker".to_owned() } else { format!("01-work.1.worker.r{retry}") };
        let stage = night.tick_until_that("01-work", |stage| {
            pids(&night, "agents").len() == retry + 1 || stage["status"] == "stalled"
        });
        assert_eq!((&stage["status"], &stage["attempt"]), (&"in_progress".into(), &1.into()), "{stage:#}");
        kill_supervisor(&night, &run);
    }
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!((&stage["attempt"], &stage["reason"]["code"]), (&1.into(), &"lost".into()), "{stage:#}");
    let history = stage["history"].as_array().expect("history");
    assert!(history.len() == 4 && history.iter().all(|past| past["outcome"] == "lost"), "{history:#?}");
    let agents = pids(&night, "agents");
    assert!(agents.len() == 4 && agents.iter().all(|pid| !alive(*pid)), "{agents:?}");
    // What they used, nobody knows: each is charged what was set aside for it.
    let budget = night.budget();
    assert_eq!((&budget["tokens_spent"], &budget["tokens_reserved"]), (&4000.into(), &0.into()), "{budget:#}");
}

#[test]
fn scenario_23_an_agent_that_floods_its_output_is_stopped_at_the_cap_with_all_its_children() {
    let worker =
        "echo work >a.txt\nyes on and on >&2 & echo $! >>\"$T/agents\"\necho $$ >>\"$T/agents\"\nexec yes for ever";
    let night = Night::with(worker, SAY_PASS);
    night.manifest("defaults: {output_limit_mb: 1}");
    night.queue("01-work");
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(stage["reason"]["code"], "output-cap");
    assert!(pids(&night, "agents").iter().all(|pid| !alive(*pid)));
    let size =
        |name: &str| std::fs::metadata(night.repo.join("state/runs/01-work.1.worker").join(name)).expect("log").len();
    assert!(size("stdout.log") + size("stderr.log") <= 1_000_000);
    assert_eq!(state_json(&night, "runs/01-work.1.worker/exit.json")["ended_by"], "output_cap");
}

#[test]
fn scenario_23_a_run_is_stopped_when_the_disk_reaches_its_floor() {
    let night = Night::with("echo work >a.txt\nwhile :; do echo more; sleep 0.05; done", SAY_PASS);
    // More than any disk has free.
    night.manifest("defaults: {disk_floor_mb: 1000000000000}");
    night.queue("01-work");
    let stage = night.tick_until("01-work", "stalled");
    assert_eq!(stage["reason"]["code"], "output-cap");
}

#[test]
fn scenario_24_a_silent_agent_is_flagged_and_left_alone_unless_its_card_has_a_limit() {
    let night = Night::with(&waiting_worker(), SAY_PASS);
    night.queue("01-work");
    start(&night);
    night.wait("the heartbeat counts the silence", || {
        let _ = night.tick();
        let agent = state_json(&night, "heartbeat.json")["agents"][0].clone();
        assert_eq!(agent["alive"], true, "{agent}");
        agent["silent_seconds"].as_u64().is_some_and(|seconds| seconds >= 2)
    });
    go(&night);
    night.tick_until("01-work", "completed");

    let night = Night::with(&waiting_worker(), SAY_PASS);
    night.card_with("02-limited", "- **Silence limit:** 1s\n", "1. `a.txt`: the work", "test -s a.txt");
    night.ok(&["add-stage", "stage-cards/02-limited.md"]);
    let stage = night.tick_until("02-limited", "stalled");
    assert_eq!(stage["reason"]["code"], "silent", "{stage:#}");
}

#[test]
fn scenario_32_a_halted_repository_says_why_once_and_not_at_every_fire() {
    let failing = r#"printf '{"stage_id":"%s","status":"fail","deliverables":[],"notes":"cannot"}' "$1" >.autometta/outbox/handoff.json"#;
    let night = Night::bare();
    night.stub("worker", failing);
    night.stub("verifier", SAY_PASS);
    night.manifest("caps: {consecutive_failures: 1}");
    night.ok(&["init"]);
    night.queue("01-work");
    night.queue("02-more");
    night.tick_until("01-work", "failed");
    night.tick_until_that("01-work", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty) && !ticking(&night));
    let (state, ledger) = (night.read("repo/state/state.yaml"), night.read("repo/state/ledger.jsonl"));
    for _ in 0..5 {
        let output = night.tick();
        assert_eq!(output.status.code(), Some(4), "a halt has its own exit code");
        assert!(!text(&output.stdout).contains("halted"), "{}", text(&output.stdout));
    }
    assert_eq!(ledger_events(&night).iter().filter(|event| *event == "halted").count(), 1);
    assert_eq!(night.tick_log().matches("failure-cap").count(), 1, "{}", night.tick_log());
    assert_eq!(night.read("repo/state/ledger.jsonl"), ledger);
    assert_eq!(night.read("repo/state/state.yaml"), state, "an idle fire changes nothing");
    assert_eq!(night.stage("02-more")["status"], "pending");
}

/// Whether a tick of this box is running.
fn ticking(night: &Night) -> bool {
    night.tick_lock().try_lock_shared().is_err()
}
