//! What a run is told and what it leaves behind: `run.json`, `started.json`, `agent.json`, `cancel` and the
//! entries of the liveness registry.
//!
//! These are documents only. Launching, supervising and killing live in `runs/`; how a run ended is `core::exit`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exit::EndedBy;
use super::family::DecoderKind;
use super::fault::Faults;
use super::ids::{CommitId, FamilyName, Identity, Role, RunId, StageId, TreeId};
use super::policy::Policy;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::rates::Rates;
use super::secrecy::names_secret;
use super::state::Reservation;

/// The version of `run.json` that this program reads and writes.
pub const RUN_ORDER_VERSION: u32 = 1;

/// Where a CLI writes its last message, below its checkout: in the run's own directory it would be stored as it is.
pub const LAST_MESSAGE: &str = ".autometta/last-message.txt";

/// The environment variable that tells every process of a run which run it belongs to.
pub const RUN_VARIABLE: &str = "AUTOMETTA_RUN";

/// The environment variable by which the processes of a run are recognised once their supervisor is gone.
pub const TOKEN_VARIABLE: &str = "AUTOMETTA_RUN_TOKEN";

/// `run.json`: everything a supervisor needs to know. Written once by the tick, before the launch.
///
/// Stage, attempt, role and seat are parts of the run id and stand nowhere else, so they cannot disagree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunOrder {
    /// The version of this format: 1.
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// The adapter that made the argv; none for gates, which are ours.
    pub family: Option<FamilyName>,
    /// Who works or judges; none for gates.
    pub identity: Option<Identity>,
    /// The model as the CLI knows it.
    pub model: Option<String>,
    /// What the CLI's `--version` said at the launch.
    pub cli_version: Option<String>,
    /// Where the program runs: the run's worktree, as an absolute path.
    pub cwd: PathBuf,
    /// What makes the fresh checkout usable, before an agent starts; gates have it among their commands.
    pub setup: Option<GateCommand>,
    /// What runs.
    pub program: Program,
    /// The whole environment, but for the two variables that mark the run. Nothing else is inherited.
    pub env: Vec<EnvEntry>,
    /// Where the run is stopped.
    pub caps: Caps,
    /// How long a process may take to end after TERM, before KILL.
    pub grace_seconds: Seconds,
    /// How long the agent may go on retrying while nothing but refusals comes back.
    #[serde(default = "RunOrder::default_patience")]
    pub patience_seconds: Seconds,
    /// The run is stopped when less than this is free on the disk that holds the state.
    pub disk_floor_bytes: u64,
    /// How its output is read.
    pub decoder: DecoderKind,
    /// Whether it can use anything at all.
    pub uses_model: ModelUse,
    /// What to collect when it has ended.
    pub outbox: Option<OutboxOrder>,
    /// What must hold of the CLI's own login before it is started, so that nobody else pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginRule>,
    /// The sha256 of the prompt that it is given, in hex; none for gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_sha256: Option<String>,
    /// The schema of the verdict that a verifier was asked to return.
    pub verdict_schema: Option<serde_json::Value>,
    /// The card's pinned bytes, as a sha256 in hex.
    pub card_sha256: String,
    /// Where the stage branched off.
    pub base_commit: CommitId,
    /// The tree that is judged; none for a worker.
    pub candidate_tree: Option<TreeId>,
    /// What the budget holds back for this run.
    pub reserved: Reservation,
    /// What its model costs; none where it calls none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
    /// The argv of the tick that follows on the run's end; empty for none.
    pub pulse: Vec<String>,
    /// The repo that the run belongs to.
    pub repo: PathBuf,
    /// For a run that was started by hand: the process that it stands for, where a person had started that already and
    /// the program only waits for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<ProcessStamp>,
    /// When the tick ordered the run.
    pub created_at: DateTime<Utc>,
}

impl RunOrder {
    /// The patience of an order that was written before orders had one.
    fn default_patience() -> Seconds {
        Policy::PATIENCE
    }

    /// Whether the run's environment holds a secret, as far as the order tells.
    pub fn has_secrets(&self) -> bool {
        self.env.iter().any(|entry| matches!(entry.source, EnvSource::Secret(_)) || names_secret(&entry.name))
    }

    /// Everything that makes this order impossible to carry out, whatever the machine looks like.
    pub fn check(&self) -> Faults {
        let mut faults = Faults::default();
        if self.version != RUN_ORDER_VERSION {
            faults.add(
                None,
                "/version",
                format!("is {}, and this program knows {RUN_ORDER_VERSION} only", self.version),
            );
        }
        if !self.cwd.is_absolute() {
            faults.add(None, "/cwd", "is not an absolute path");
        }
        let mut texts: Vec<(&str, &str)> = self.pulse.iter().map(|word| ("/pulse", word.as_str())).collect();
        match &self.program {
            Program::Agent { argv, .. } => {
                if argv.first().is_none_or(String::is_empty) {
                    faults.add(None, "/program/agent/argv", "names no program");
                }
                texts.extend(argv.iter().map(|word| ("/program/agent/argv", word.as_str())));
            }
            Program::Gates { commands } => {
                if commands.is_empty() {
                    faults.add(
                        None,
                        "/program/gates/commands",
                        "is empty: a gate without a command would pass anything",
                    );
                }
                texts.extend(commands.iter().map(|gate| ("/program/gates/commands", gate.run.as_str())));
            }
        }
        for entry in &self.env {
            if entry.name.is_empty() || entry.name.contains('=') {
                faults.add(None, "/env", format!("`{}` cannot be the name of a variable", entry.name));
            }
            if entry.name == RUN_VARIABLE || entry.name == TOKEN_VARIABLE {
                faults.add(None, "/env", format!("{} is set by the supervisor", entry.name));
            }
            texts.push(("/env", &entry.name));
            if let EnvSource::Literal(value) = &entry.source {
                texts.push(("/env", value));
            }
        }
        for (place, _) in texts.iter().filter(|(_, text)| text.contains('\0')) {
            faults.add(None, *place, "contains a NUL byte, which no program can be given");
        }
        faults
    }
}

/// What a run executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Program {
    /// One agent.
    Agent {
        /// The program and its arguments, never a shell string. A name without a slash is looked up in the `PATH`
        /// of the run's own environment.
        argv: Vec<String>,
        /// The file that becomes its standard input; none for an empty one.
        stdin: Option<PathBuf>,
    },
    /// Commands, one after another, up to the first that fails.
    Gates {
        /// The commands in their order.
        commands: Vec<GateCommand>,
    },
}

/// One gate: a shell text, run as `/bin/sh -euc <text>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateCommand {
    /// Its name in the record: `acceptance`, or the manifest's.
    pub name: String,
    /// The shell text.
    pub run: String,
    /// Its own time limit, beside the run's.
    pub timeout_seconds: Seconds,
    /// How often it may be run again after it failed. The supervisor only records this: another try is another run.
    #[serde(default, skip_serializing_if = "crate::core::quantity::is_zero")]
    pub retries: u32,
    /// Whether it fails by what it prints as well.
    #[serde(default, skip_serializing_if = "OutputRule::is_any")]
    pub output: OutputRule,
}

/// What a gate may print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputRule {
    /// Anything: its exit decides.
    #[default]
    Any,
    /// No line that looks like an error; see `core::honesty::output`.
    NoErrors,
}

impl OutputRule {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

/// One variable of the run's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvEntry {
    /// The variable's name.
    pub name: String,
    /// Where its value comes from.
    pub source: EnvSource,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnvSource {
    /// This text.
    Literal(String),
    /// A secret, resolved when the run starts and written nowhere: `op://…`, `env:NAME`, `file:PATH`, `cmd:…`,
    /// `keychain:SERVICE[/ACCOUNT]`; or `given:NAME`, a literal of the manifest that the tick hands over in memory.
    Secret(String),
    /// The supervisor's own value; the variable is left out where the supervisor has none.
    Parent,
}

/// Where a run is stopped. A cap that is none does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Time, while the machine is awake.
    pub wall_clock_seconds: Seconds,
    /// Model tokens.
    pub tokens: Option<Tokens>,
    /// Money.
    pub cost_usd: Option<MicroUsd>,
    /// Standard output and standard error together, in bytes.
    pub output_bytes: u64,
    /// Silence that ends the run; none where silence is only reported.
    pub silence_seconds: Option<Seconds>,
}

/// Whether a run calls a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModelUse {
    /// It does: a usage that cannot be read is unknown.
    Model,
    /// It does not: its usage is known to be nothing.
    None,
}

/// A CLI's own login that must be of one kind, because it would win over the key that the run is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRule {
    /// The variable that names the folder of the CLI's own files. The run's environment must have it.
    pub home_variable: String,
    /// The file in that folder, in JSON.
    pub file: String,
    /// Its key that says what kind of login it is.
    pub key: String,
    /// What that key must say.
    pub must_be: String,
    /// The command that makes it so; `{home}` stands for the folder.
    pub way_out: String,
}

/// What a run hands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutboxOrder {
    /// What it is.
    pub kind: super::exit::Outbox,
    /// The file the program writes, inside the run's `cwd` (absolute, or relative to it).
    pub path: PathBuf,
}

/// A process that cannot be mistaken for a later one with the same pid, within one boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessStamp {
    /// Its pid.
    pub pid: i32,
    /// When it started, as the system tells it: clock ticks since boot on Linux, `ps`'s `lstart` on macOS.
    pub start: String,
}

/// `started.json`: the claim. It is on disk before the agent can exist, so its absence proves that nothing ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// The run that was claimed.
    pub run_id: RunId,
    /// The supervisor.
    pub supervisor: ProcessStamp,
    /// The value of [`TOKEN_VARIABLE`] in the run's processes: random, and of this run only.
    pub token: String,
    /// The boot of the machine; stamps and the awake clock mean nothing in another one.
    pub boot_id: String,
    /// The clock that stands still while the machine sleeps, in nanoseconds since some fixed point of this boot.
    pub awake_ns: u64,
    /// The calendar's time.
    pub started_at: DateTime<Utc>,
}

/// `agent.json`: the process that the supervisor started, the newest one where a gate runs several.
///
/// It is a file of its own because the claim must be on disk before this process has a pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentStarted {
    /// The run it belongs to.
    pub run_id: RunId,
    /// The process, which also leads its process group.
    pub process: ProcessStamp,
}

/// Why a run is to be stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    /// An operator said so.
    Operator,
    /// It is over its wall-clock cap and no supervisor enforces that any more.
    Timeout,
    /// Its stage moved on without it.
    Obsolete,
}

impl StopReason {
    /// How the exit record calls it.
    pub fn ended_by(self) -> EndedBy {
        match self {
            Self::Operator | Self::Obsolete => EndedBy::Cancelled,
            Self::Timeout => EndedBy::Timeout,
        }
    }
}

/// The file `cancel` in a run's directory: somebody asked for the run's end. It is never withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelMarker {
    /// Why.
    pub reason: StopReason,
}

/// One entry of `active-agents/` or `recent-agents/`, for people and other tools; the machine itself never reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryEntry {
    /// The run.
    pub run_id: RunId,
    /// Its stage.
    pub stage: StageId,
    /// What it does.
    pub role: Role,
    /// The attempt, counted from 1; 0 for a run that was started by hand.
    pub attempt: u32,
    /// The seat of a panel.
    pub seat: Option<u32>,
    /// The adapter.
    pub family: Option<FamilyName>,
    /// Who works or judges.
    pub identity: Option<Identity>,
    /// The model.
    pub model: Option<String>,
    /// The supervisor's pid, for `ps`; it proves nothing.
    pub pid: i32,
    /// The process that it stands for, where a person had started that before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<ProcessStamp>,
    /// When the run started.
    pub started_at: DateTime<Utc>,
    /// When its wall-clock cap ends it at the latest, unless the machine sleeps.
    pub expected_end: DateTime<Utc>,
    /// Its caps.
    pub caps: Caps,
    /// Where it works.
    pub worktree: PathBuf,
    /// Its standard output.
    pub stdout_log: PathBuf,
    /// Its standard error.
    pub stderr_log: PathBuf,
    /// When it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended; none for a lost run, whose supervisor could not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
}

impl RegistryEntry {
    /// The entry of a run that has just started.
    pub fn new(order: &RunOrder, started: &Started, stdout_log: PathBuf, stderr_log: PathBuf) -> Self {
        let cap = i64::try_from(order.caps.wall_clock_seconds.0).unwrap_or(i64::MAX);
        let expected_end = chrono::TimeDelta::try_seconds(cap)
            .and_then(|cap| started.started_at.checked_add_signed(cap))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        Self {
            run_id: order.run_id.clone(),
            stage: order.run_id.stage.clone(),
            role: order.run_id.role,
            attempt: order.run_id.attempt,
            seat: order.run_id.seat,
            family: order.family.clone(),
            identity: order.identity.clone(),
            model: order.model.clone(),
            pid: started.supervisor.pid,
            watched: order.watched.clone(),
            started_at: started.started_at,
            expected_end,
            caps: order.caps,
            worktree: order.cwd.clone(),
            stdout_log,
            stderr_log,
            ended_at: None,
            ended_by: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> serde_json::Value {
        serde_json::json!({
            "version": 1, "run_id": "01-a.1.worker", "family": "claude", "identity": "Claude <c@local>",
            "model": null, "cli_version": null, "cwd": "/w",
            "setup": null, "program": {"agent": {"argv": ["claude", "-p"], "stdin": "/r/prompt.md"}},
            "env": [{"name": "A", "source": {"literal": "x"}}, {"name": "B", "source": {"secret": "env:K"}},
                    {"name": "PATH", "source": "parent"}],
            "caps": {"wall_clock_seconds": 60, "tokens": 10, "cost_usd": 1.5, "output_bytes": 100,
                     "silence_seconds": null},
            "grace_seconds": 5, "disk_floor_bytes": 0, "decoder": "claude", "uses_model": "model",
            "outbox": {"kind": "handoff", "path": ".autometta/outbox/handoff.json"}, "verdict_schema": null,
            "card_sha256": "", "base_commit": "0123456789012345678901234567890123456789", "candidate_tree": null,
            "reserved": {"tokens": 1, "cost_usd": 0.5, "seconds": 60}, "pulse": ["true"], "repo": "/r",
            "created_at": "2026-11-20T00:00:00Z"
        })
    }

    #[test]
    fn an_order_survives_its_file_and_unknown_keys_are_refused() {
        let parsed: RunOrder = serde_json::from_value(order()).expect("order");
        assert!(parsed.check().is_empty(), "{}", parsed.check());
        let again = serde_json::to_string(&parsed).expect("text");
        assert_eq!(serde_json::from_str::<RunOrder>(&again).expect("again"), parsed);
        for pointer in ["", "/caps", "/program/agent", "/outbox", "/reserved", "/env/0"] {
            let mut bad = order();
            let place = bad.pointer_mut(pointer).and_then(serde_json::Value::as_object_mut).expect(pointer);
            place.insert("surprise".to_owned(), 1.into());
            assert!(serde_json::from_value::<RunOrder>(bad).is_err(), "{pointer}");
        }
    }

    #[test]
    fn impossible_orders_say_why() {
        let cases = [
            ("/version", serde_json::json!(2), "/version"),
            ("/cwd", serde_json::json!("here"), "absolute"),
            ("/program/agent/argv", serde_json::json!([]), "names no program"),
            ("/program/agent/argv", serde_json::json!(["a", "b\u{0}c"]), "NUL"),
            ("/program", serde_json::json!({"gates": {"commands": []}}), "empty"),
            ("/env/0/name", serde_json::json!("A=B"), "A=B"),
            ("/env/0/name", serde_json::json!(TOKEN_VARIABLE), "set by the supervisor"),
            ("/env/0/source", serde_json::json!({"literal": "\u{0}"}), "NUL"),
        ];
        for (pointer, value, expected) in cases {
            let mut bad = order();
            *bad.pointer_mut(pointer).expect(pointer) = value;
            let faults = serde_json::from_value::<RunOrder>(bad).expect(pointer).check().to_string();
            assert!(faults.contains(expected), "{pointer}: {faults}");
        }
    }
}
