//! The real Claude Code and the real Codex as the agents of a night, offline: a scripted model answers them on loopback.
//!
//! They are installed from the npm registry on first use, into `agents/` beside cargo's other output.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::model_server::{Answered, ModelServer, Scenario, Step, StepUsage};
use super::night::{LIMIT, Night, text};

pub const CLAUDE: &str = "Claude Sonnet 5 <claude-sonnet-5@local>";
pub const GPT: &str = "GPT-5.6 Sol <gpt-5-6-sol@local>";

/// The folder with `claude` and `codex`, installed where they are not.
#[must_use]
pub fn agents() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("agents");
        let output = Command::new("bash").arg(installer()).arg(&folder).output().expect("bash runs");
        assert!(output.status.success(), "no agents, so no test of them: {}", text(&output.stderr));
        folder.join("node_modules/.bin")
    })
}

#[must_use]
pub fn installer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/install-agents")
}

/// A repository whose Claude and Codex ask this server, with lines of its own for the environment of Claude and for the
/// rest of the manifest. Nothing is set up yet.
#[must_use]
pub fn equipped(server: &ModelServer, claude_env: &str, more: &str) -> Night {
    let mut night = Night::bare();
    let path = std::env::var("PATH").expect("PATH");
    night.set("PATH", &format!("{}:{path}", agents().display()));
    let codex_home = night.base().join("user/.codex");
    fs::create_dir_all(&codex_home).expect("folder");
    fs::write(codex_home.join("config.toml"), server.codex_config()).expect("config");
    fs::write(codex_home.join("auth.json"), r#"{"auth_mode":"apikey","OPENAI_API_KEY":"sk-test"}"#).expect("login");
    night.write(
        ".autometta.yaml",
        &format!(
            "version: 1\nbase_branch: main\nfamilies:\n  claude:\n    auth: api\n    env:\n      \
             ANTHROPIC_API_KEY: sk-ant-test\n      ANTHROPIC_BASE_URL: {}\n{claude_env}  codex:\n    auth: api\n    \
             models: {{gpt-5-6-sol: gpt-5.6-sol}}\n    env:\n      OPENAI_API_KEY: sk-test\n      CODEX_HOME: {}\n\
             {more}",
            server.url(),
            codex_home.display()
        ),
    );
    night
}

/// The same, set up and committed.
#[must_use]
pub fn night_with(server: &ModelServer, claude_env: &str, more: &str) -> Night {
    let night = equipped(server, claude_env, more);
    night.ok(&["init"]);
    night.git(&["add", "-A"]);
    night.git(&["commit", "-qm", "Subscribe"]);
    night
}

/// Queues a card with one criterion, whose deliverable is `<stage>.txt` and whose gate looks for the word `work` in it.
pub fn queue(night: &Night, stage: &str, worker: &str, verifier: &str, metadata: &str, more: &str) {
    let path = format!("stage-cards/{stage}.md");
    night.write(
        &path,
        &format!(
            "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** {worker}\n- **Verifier:** {verifier}\n\
             {metadata}\n## Objective\nDo it.\n\n## Deliverables\n1. `{stage}.txt`: the work\n\n\
             ## Acceptance criteria\n1. it works\n\n## Acceptance command\n```sh\ngrep -q work {stage}.txt\n```\n\n{more}"
        ),
    );
    night.ok(&["add-stage", &path]);
}

/// Words that stand in the worker's prompt of a stage only.
#[must_use]
pub fn to_work(stage: &str) -> String {
    format!("# Stage {stage}: ")
}

/// Words that stand in the verifier's prompt of a stage only.
#[must_use]
pub fn to_judge(stage: &str) -> String {
    format!("# Judge stage {stage}: ")
}

/// Words that stand in the prompt of one run only: the name of its checkout.
#[must_use]
pub fn run_of(run: &str) -> String {
    format!("repo.autometta/{run}`")
}

pub fn usage(input: u64, cached: u64, cache_write: u64, output: u64) -> StepUsage {
    StepUsage { input, cached, cache_write, output }
}

pub fn write_work(stage: &str) -> Step {
    Step::run(&format!("echo work by $(basename \"$PWD\") >{stage}.txt && git status --short"))
}

pub fn hand_in(handoff: &Value) -> Step {
    Step::run(&format!("cat >.autometta/outbox/handoff.json <<'END'\n{handoff}\nEND"))
}

#[must_use]
pub fn pass(stage: &str) -> Value {
    json!({"stage_id": stage, "status": "pass", "deliverables": [format!("{stage}.txt")], "notes": "done"})
}

/// A worker that succeeds.
pub fn works(stage: &str) -> Scenario {
    Scenario::when(&to_work(stage)).then(write_work(stage)).then(hand_in(&pass(stage))).then(Step::say("Done."))
}

#[must_use]
pub fn verdict(stage: &str, overall: &str, criterion: &str) -> Value {
    json!({
        "stage_id": stage, "overall": overall, "headline": format!("Write {stage}.txt"),
        "criteria": [{"id": 1, "name": "it works", "verdict": criterion, "evidence": format!("{stage}.txt:1")}],
        "additional_findings": "",
    })
}

/// A verifier that looks and approves.
pub fn approves(stage: &str) -> Scenario {
    Scenario::when(&to_judge(stage))
        .then(Step::run(&format!("cat {stage}.txt")))
        .then(Step::answer(verdict(stage, "PASS", "PASS")))
}

/// Fires one tick; from then on only the supervisors' own pulses move anything.
pub fn begin(night: &Night) {
    let output = night.tick();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// Waits until a stage has this status, without a tick.
pub fn await_status(night: &Night, stage: &str, status: &str) -> Value {
    let story = || -> String {
        let logs = fs::read_dir(night.repo.join("state/runs")).expect("runs").flatten();
        let tail = |path: PathBuf| -> String {
            let text = text(&fs::read(&path).unwrap_or_default());
            let from = text.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
            format!("--- {}\n{}\n", path.display(), &text[from..])
        };
        logs.flat_map(|run| {
            ["stdout.log", "stderr.log", "supervisor.log", "exit.json"].map(|name| tail(run.path().join(name)))
        })
        .collect()
    };
    let begun = std::time::Instant::now();
    loop {
        let found = night.stage(stage);
        if found["status"] == status {
            return found;
        }
        let over = ["completed", "failed", "stalled", "verifier_failed", "blocked"];
        assert!(
            !over.iter().any(|word| found["status"] == *word) && begun.elapsed() < LIMIT,
            "{stage} did not become {status}:\n{found:#}\n{}\n{}",
            night.ok(&["log"]),
            story()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The record of a run that has ended.
#[must_use]
pub fn record(night: &Night, run: &str) -> Value {
    serde_json::from_str(&night.read(format!("repo/state/runs/{run}/exit.json"))).expect("record")
}

/// The runs of a stage that are over, with their outcomes.
#[must_use]
pub fn history(stage: &Value) -> Vec<(String, String)> {
    let past = stage["history"].as_array().expect("history").iter();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    past.map(|past| (word(&past["run"]), word(&past["outcome"]))).collect()
}

#[must_use]
pub fn outcomes(stage: &Value) -> Vec<(String, String)> {
    let mut seen = history(stage);
    seen.retain(|(run, _)| !run.contains(".gate"));
    seen
}

#[must_use]
pub fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(run, outcome)| ((*run).to_owned(), (*outcome).to_owned())).collect()
}

/// What the server was asked by one run.
#[must_use]
pub fn asked_by(server: &ModelServer, run: &str) -> Vec<Answered> {
    let mut answered = server.answered();
    answered.retain(|one| one.body.to_string().contains(&run_of(run)));
    answered
}
