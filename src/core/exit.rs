//! How a run ended: the record its supervisor writes as `exit.json`, with what it used and what the provider said.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::RunId;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::rates::Rates;

/// Where a usage figure was read, best first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UsageSource {
    /// The CLI's own final record.
    Result,
    /// Added up from its stream; the run ended before its final record.
    Stream,
    /// From the session file that the CLI keeps for itself.
    Transcript,
    /// Nothing could be read: the run is charged at its reservation.
    #[default]
    Unknown,
}

/// Where a cost was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CostSource {
    /// The CLI's own figure.
    Cli,
    /// Tokens by the rates of the run's order.
    Rates,
    /// Nothing is known: what was reserved is charged.
    Reservation,
}

/// The logs of a run that left no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostLogs {
    /// Its program wrote them, since the machine was started last.
    OfThisBoot,
    /// Its supervisor wrote them, since the machine was started last.
    ThroughSupervisor,
    /// The machine was started anew since.
    OfAnEarlierBoot,
}

/// What a run used. Input never contains the cached part, whichever way the CLI counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Input read at the full price.
    pub input_tokens: Tokens,
    /// Input served from the provider's cache.
    pub cached_input_tokens: Tokens,
    /// Input written into the provider's cache.
    pub cache_write_tokens: Tokens,
    /// Output, reasoning included.
    pub output_tokens: Tokens,
    /// The sum of the four, which is what token caps count.
    pub total_tokens: Tokens,
    /// What that costs: the CLI's own figure where it gives one, else by the rates of the run's order.
    pub cost_usd: Option<MicroUsd>,
    /// Where the figures come from.
    pub source: UsageSource,
    /// Where the cost comes from; none where nobody has priced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_source: Option<CostSource>,
}

impl Usage {
    /// A usage of nothing at all, known for certain: the run called no model.
    pub fn none() -> Self {
        Self { source: UsageSource::Result, cost_usd: Some(MicroUsd(0)), ..Self::default() }
    }

    /// The same with a cost, where the CLI gave none: what it used by these rates.
    #[must_use]
    pub fn priced(self, rates: Option<&Rates>) -> Self {
        let (cost_usd, source) = match (self.source, self.cost_usd, rates) {
            (UsageSource::Unknown, None, _) => (None, Some(CostSource::Reservation)),
            (_, Some(cost), _) => (Some(cost), self.cost_source.or(Some(CostSource::Cli))),
            (_, None, Some(rates)) => (Some(rates.cost(&self)), Some(CostSource::Rates)),
            (_, None, None) => (None, None),
        };
        Self { cost_usd, cost_source: source, ..self }
    }

    /// What the logs of a run that left no record tell of its usage, as far as they can be relied on. Nobody syncs them:
    /// where the machine was started anew since, the end of them may be missing. And where what is printed passed its
    /// supervisor, nothing got into them any more once that was gone.
    #[must_use]
    pub fn of_lost(self, logs: LostLogs) -> Self {
        let is_whole = match (self.source, logs) {
            (UsageSource::Stream, LostLogs::ThroughSupervisor)
            | (UsageSource::Stream | UsageSource::Transcript | UsageSource::Unknown, LostLogs::OfAnEarlierBoot) => {
                false
            }
            (UsageSource::Result, _) | (_, LostLogs::OfThisBoot | LostLogs::ThroughSupervisor) => true,
        };
        if is_whole { self } else { Self::default() }
    }

    /// Fills in the total from its parts.
    #[must_use]
    pub fn totalled(mut self) -> Self {
        self.total_tokens = self.input_tokens + self.cached_input_tokens + self.cache_write_tokens + self.output_tokens;
        self
    }
}

/// Why a provider, or the CLI itself, would not do the work. Each class has one policy in `core::outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// A usage or rate limit: the family pauses until it resets.
    Limit,
    /// The provider is overloaded: ask again later.
    Overloaded,
    /// The provider could not be reached: ask again later.
    Network,
    /// Not logged in, or the key is refused: a person must act.
    Auth,
    /// No money left with the provider: a person must act.
    Billing,
    /// The model does not exist or is not available to this account: a person must act.
    Model,
    /// The prompt or the conversation is too long for the model.
    Context,
    /// The CLI would not start as we called it: a missing binary, a bad option, a secret that does not resolve.
    Configuration,
}

/// What a refusal binds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalScope {
    /// Every run of the family.
    #[default]
    Family,
    /// Runs of the family that ask for the same model.
    Model,
}

impl RefusalScope {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_family(&self) -> bool {
        *self == Self::Family
    }
}

/// A refusal, with the line that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// What kind of refusal it is.
    pub class: RefusalClass,
    /// What it binds: the whole family, or one model of it.
    #[serde(default, skip_serializing_if = "RefusalScope::is_family")]
    pub scope: RefusalScope,
    /// The CLI's own words, at most 500 characters.
    pub line: String,
}

/// What the provider said about this run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderReport {
    /// The refusal that ended the run, if one did.
    pub refusal: Option<Refusal>,
    /// When the limit resets, where the provider said so, in numbers or in words.
    pub resets_at: Option<DateTime<Utc>>,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessEnd {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It never ran.
    None,
}

/// Why the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// By itself (or by a signal that was not ours).
    Exit,
    /// Its wall-clock cap.
    Timeout,
    /// Its token cap.
    TokenCap,
    /// Its cost cap.
    CostCap,
    /// Its output cap, or the disk's floor.
    OutputCap,
    /// The provider refused and the CLI would have retried for minutes.
    Refused,
    /// Silent for longer than its card allows.
    Stalled,
    /// An operator's `cancel`.
    Cancelled,
    /// The process could not be started.
    SpawnFailed,
}

/// What the supervisor found in the outbox and copied into the run's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outbox {
    /// `outbox/handoff.json`
    Handoff,
    /// `outbox/verdict.json`
    Verdict,
}

/// One gate command as it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateResult {
    /// The gate's name: `acceptance`, or the manifest's.
    pub name: String,
    /// The shell text that ran.
    pub command: String,
    /// How it ended.
    pub exit: ProcessEnd,
    /// Whether it ran into its own time limit.
    pub timed_out: bool,
    /// How long it ran.
    pub elapsed_seconds: f64,
    /// The end of what it printed, at most 4,000 characters.
    pub output_tail: String,
    /// How often it may be run again after it failed; each further try is a gate run of its own.
    #[serde(default, skip_serializing_if = "crate::core::quantity::is_zero")]
    pub retries: u32,
    /// The first line of its output that looks like an error, where its card has the output looked through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_line: Option<String>,
}

impl GateResult {
    /// Whether the command succeeded.
    pub fn passed(&self) -> bool {
        self.exit == ProcessEnd::Code(0) && !self.timed_out && self.error_line.is_none()
    }
}

/// A file in a worker's checkout that must not get into git.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretInWork {
    /// The file, relative to the checkout.
    pub path: String,
    /// The variable whose value stands in it; none where the file could not be looked through.
    pub variable: Option<String>,
}

/// `exit.json`: the last thing a supervisor writes about its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExitRecord {
    /// The run that ended.
    pub run_id: RunId,
    /// When the agent was started.
    pub started_at: DateTime<Utc>,
    /// When its last process was gone.
    pub ended_at: DateTime<Utc>,
    /// How long the run took while the machine was awake.
    pub elapsed_seconds: f64,
    /// How its process ended.
    pub exit: ProcessEnd,
    /// Why it ended.
    pub ended_by: EndedBy,
    /// What it used.
    pub usage: Usage,
    /// What the provider said.
    pub provider: ProviderReport,
    /// The largest memory of any of its processes, in bytes.
    pub peak_rss_bytes: u64,
    /// CPU time of all its processes.
    pub cpu_seconds: f64,
    /// What was in its outbox.
    pub outbox: Option<Outbox>,
    /// Why the outbox could not be used, where something was in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox_fault: Option<String>,
    /// For a gate run: every command that ran, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
    /// For a worker that was given secrets: files that hold one. Its checkout is left as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets_in_work: Vec<SecretInWork>,
}

impl ExitRecord {
    /// The run's length in whole seconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, which is what is wanted"
    )]
    pub fn elapsed(&self) -> Seconds {
        Seconds(self.elapsed_seconds.round() as u64)
    }
}
