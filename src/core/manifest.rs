//! `.autometta.yaml`: what a repository asks of us, and `.autometta.local.yaml`: what this machine overrides.
//!
//! Types, defaults, layering and checks are here. Reading the files is not, and neither is what a family's defaults
//! are: a manifest only says what differs from them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Faults;
use super::ids::{FamilyName, Identity};
use super::paths::PathPatterns;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::quota::QuotaReader;
use super::schedule::{DaySpans, Schedule, fill_the_day};
use super::verdict::BEST;

mod keep;
mod values;

pub use super::budget::{NoProgress, Window};
pub use super::card::{LandingMode, MAX_GATE_RETRIES};
pub use super::family::{AuthMode, DecoderKind, FamilyOverride};
pub use keep::{Keep, Size};
pub use values::{FormError, RepoPath, TimeLimit};

/// The manifest version that this program writes and the only one it reads.
pub const VERSION: u32 = 1;
/// The most stages that may be in flight at once in one repository.
pub const MAX_PARALLEL: u32 = 64;
/// The most retries of one kind: more would only hide a fault that a person should see.
pub const MAX_RETRIES: u32 = 20;
/// The most failures that a breaker may wait for: more would never come together.
pub const MAX_BREAKER_FAILURES: u32 = 100;
/// The longest window of a breaker.
const MAX_BREAKER_WINDOW: Seconds = Seconds(24 * 3600);
/// The name that stands for a card's own acceptance command among the gates.
pub const ACCEPTANCE_GATE: &str = "acceptance";
/// What `worktrees` replaces by the name of the repository's directory.
const REPO_PLACEHOLDER: &str = "{repo}";

/// A repository's manifest. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format: 1.
    pub version: u32,
    /// Where our state lives, inside the repository and ignored by git. Default `state`.
    pub state_dir: RepoPath,
    /// Globs of stage cards. Default `stage-cards/*.md` and `docs/stages/*.md`.
    pub stage_cards: Vec<RepoPath>,
    /// The branch that stages start from and land on. Default: the branch that was checked out at `init`.
    pub base_branch: Option<String>,
    /// The directory that holds the worktrees, beside the repository; `{repo}` is the name of the repository's own
    /// directory. Default `../{repo}.autometta`.
    pub worktrees: String,
    /// How many stages may be in flight at once, 1 to 64. Default 1.
    #[schemars(range(min = 1, max = 64))]
    pub max_parallel: u32,
    /// Ignored paths that every fresh worktree links to, such as `node_modules`.
    pub link: Vec<RepoPath>,
    /// Shell text that makes a fresh worktree usable, such as `npm ci`.
    pub setup: Option<String>,
    /// How long `setup` may take. Default 10 minutes.
    pub setup_timeout: TimeLimit,
    /// The standing gates: every candidate must pass them besides its card's own acceptance command.
    pub gates: Vec<Gate>,
    /// Paths or globs that no worker may ever change, whatever its card claims. Default `.autometta.yaml`,
    /// `.autometta.local.yaml` and `stage-cards`.
    pub protected: Vec<RepoPath>,
    /// Paths or globs that a stage may change with no verifier, where its card says `Verifier: none (why)` and claims
    /// nothing else. Default none.
    pub allow_unverified: Vec<RepoPath>,
    /// How often a stage is tried again after a failure.
    pub retry: Retry,
    /// What differs from the built-in families, and families of one's own.
    pub families: BTreeMap<FamilyName, FamilyOverride>,
    /// Who takes a run of a family while that family waits for its provider: `claude: "GPT-5.6 Sol <gpt-5-6-sol@local>"`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fallback: BTreeMap<FamilyName, Identity>,
    /// When a family whose provider keeps failing waits as a whole.
    pub breaker: Breaker,
    /// Whether verifiers also score a change, and how low a score may be.
    pub review: Review,
    /// Whether a verified change lands by itself (`auto`) or waits for `autometta approve` (`ask`). Default `auto`.
    pub landing: LandingMode,
    /// The command that tells a person something, as an argument list; `{message}` is the message, `{kind}`, `{stage}`,
    /// `{repo}` and `{report}` are what they say.
    pub notify: Vec<String>,
    /// How much of the past stays at hand.
    pub retention: Retention,
    /// How much of the past stays on disk.
    pub keep: Keep,
    /// Limits of a stage whose card does not set its own.
    pub defaults: Defaults,
    /// The caps of a fresh budget.
    pub caps: Caps,
    /// Who tells how much of a family's quota is used, and how much of it is kept back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub quota: BTreeMap<FamilyName, QuotaReader>,
    /// What differs by the local time of the day.
    #[serde(skip_serializing_if = "Schedule::is_empty")]
    pub schedule: Schedule,
    /// Parts of the day, in local time, in which no worker starts, such as `08:00-22:00`. Gates, verifiers and landings
    /// of stages under way go on. Default none.
    #[serde(skip_serializing_if = "DaySpans::is_empty")]
    pub curfew: DaySpans,
}

/// A standing gate: a command that every candidate must pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Its name in reports; unique, and not `acceptance`.
    pub name: String,
    /// The shell text that runs in a clean checkout of the candidate.
    pub run: String,
    /// How long it may take. Default: `defaults.gate_timeout`.
    #[serde(default)]
    pub timeout: Option<TimeLimit>,
    /// How often it may be run again, in a fresh checkout, after it failed, 0 to 3. Default 0. Every failed try is
    /// recorded, and the verifiers are told of it.
    #[serde(default, skip_serializing_if = "crate::core::quantity::is_zero")]
    #[schemars(range(max = 3))]
    pub retries: u32,
}

/// How often a stage is tried again, by what went wrong. Each is a number of tries after the first, at most 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// After a failed gate or verdict: the worker is briefed again. Default 1.
    #[schemars(range(max = 20))]
    pub work: u32,
    /// After a verifier that gave no usable verdict. Default 3.
    #[schemars(range(max = 20))]
    pub verifier: u32,
    /// After a run that was lost without its own fault. Default 3.
    #[schemars(range(max = 20))]
    pub infrastructure: u32,
    /// How long an agent may go on retrying by itself while its provider is overloaded or unreachable, before it is
    /// stopped and put off. Default 3 minutes.
    pub patience: TimeLimit,
}

/// When a family's circuit breaker opens: nobody of the family is dispatched for a while, then one run tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// After how many failures of the provider, across all stages: overloaded, out of reach, or a crash before any
    /// answer. 0 for never. Default 4.
    #[schemars(range(max = 100))]
    pub failures: u32,
    /// Within how long. Default 10 minutes.
    pub window: TimeLimit,
}

/// What a verifier is asked for besides its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Review {
    /// Whether verifiers that are models score alignment, approach and tests, each from 1 to 10. Default no.
    pub scores: bool,
    /// A PASS with any score below this is a FAIL: the worker is briefed again with the review. 1 to 10, default 6.
    #[schemars(range(min = 1, max = 10))]
    pub floor: u32,
}

/// How much of the past stays at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Stages that have landed or were skipped and still stand in `state.yaml`; older ones are in `state/archive`, where
    /// `show` finds them. Default 20.
    pub finished_stages: u32,
}

/// Limits of a stage whose card does not set its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// How long a worker may run. Default 60 minutes.
    pub worker_wall_clock: TimeLimit,
    /// How long a verifier may run. Default 30 minutes.
    pub verifier_wall_clock: TimeLimit,
    /// How long one gate command may run. Default 10 minutes.
    pub gate_timeout: TimeLimit,
    /// Tokens that a worker may use. Default: by what workers of its family used so far, at most 3,000,000.
    pub worker_tokens: Option<Tokens>,
    /// Tokens that a verifier may use. Default: by what verifiers of its family used so far, at most 1,000,000.
    pub verifier_tokens: Option<Tokens>,
    /// Dollars that a worker may cost. Default: no limit of its own.
    pub worker_cost: Option<MicroUsd>,
    /// Dollars that a verifier may cost. Default: no limit of its own.
    pub verifier_cost: Option<MicroUsd>,
    /// Tokens that all runs of a stage together may use. Default: no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_tokens: Option<Tokens>,
    /// Dollars that all runs of a stage together may cost. Default: no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_cost: Option<MicroUsd>,
    /// Megabytes (of 1,000,000 bytes) of output after which a run is stopped. Default 50.
    pub output_limit_mb: u64,
    /// Megabytes (of 1,000,000 bytes) that must stay free on the disk. Default 500.
    pub disk_floor_mb: u64,
}

/// The caps that a fresh budget starts with. Later changes are made in the budget itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Tokens of all runs in one window. Default 20,000,000: five stages at the default limits of worker and verifier.
    pub tokens: Tokens,
    /// Dollars of all runs in one window. Default: no cap.
    pub cost_usd: Option<MicroUsd>,
    /// Time spent in runs in one window, added up. Default 24 hours.
    pub wall_clock: TimeLimit,
    /// Ticks that did work in one window. Default 400.
    pub ticks: u64,
    /// Stages in a row that may fail before everything halts. Default 3.
    pub consecutive_failures: u32,
    /// What the caps on spend are about: `none` (until a person says otherwise), `utc-day`, `local-day`, or the last so
    /// many hours, such as `5h`. Default `none`.
    pub window: Window,
    /// How much may be spent without a landing before everything halts. Default: no limit.
    pub no_progress: NoProgress,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: VERSION,
            state_dir: RepoPath::known("state"),
            stage_cards: vec![RepoPath::known("stage-cards/*.md"), RepoPath::known("docs/stages/*.md")],
            base_branch: None,
            worktrees: format!("../{REPO_PLACEHOLDER}.autometta"),
            max_parallel: 1,
            link: Vec::new(),
            setup: None,
            setup_timeout: TimeLimit::minutes(10),
            gates: Vec::new(),
            protected: [".autometta.yaml", ".autometta.local.yaml", "stage-cards"].map(RepoPath::known).into(),
            allow_unverified: Vec::new(),
            retry: Retry::default(),
            families: BTreeMap::new(),
            fallback: BTreeMap::new(),
            breaker: Breaker::default(),
            review: Review::default(),
            landing: LandingMode::Auto,
            notify: Vec::new(),
            retention: Retention::default(),
            keep: Keep::default(),
            defaults: Defaults::default(),
            caps: Caps::default(),
            quota: BTreeMap::new(),
            schedule: Schedule::default(),
            curfew: DaySpans::Never,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { work: 1, verifier: 3, infrastructure: 3, patience: TimeLimit::minutes(3) }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 4, window: TimeLimit::minutes(10) }
    }
}

impl Default for Review {
    fn default() -> Self {
        Self { scores: false, floor: 6 }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { finished_stages: 20 }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            worker_wall_clock: TimeLimit::minutes(60),
            verifier_wall_clock: TimeLimit::minutes(30),
            gate_timeout: TimeLimit::minutes(10),
            worker_tokens: None,
            verifier_tokens: None,
            worker_cost: None,
            verifier_cost: None,
            stage_tokens: None,
            stage_cost: None,
            output_limit_mb: 50,
            disk_floor_mb: 500,
        }
    }
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            tokens: Tokens(20_000_000),
            cost_usd: None,
            wall_clock: TimeLimit::minutes(24 * 60),
            ticks: 400,
            consecutive_failures: 3,
            window: Window::None,
            no_progress: NoProgress::default(),
        }
    }
}

impl Manifest {
    /// The manifest that two layers make together; see [`overlay`].
    ///
    /// Each layer should have been held against this type on its own before, so that its faults carry its own lines.
    ///
    /// # Errors
    /// The two together are no manifest.
    pub fn merged(base: Value, local: Value) -> Result<Self, Faults> {
        serde_json::from_value(overlay(base, local)).map_err(|error| Faults::one(None, "", error.to_string()))
    }

    /// What is wrong with the manifest beyond its shape. Places are JSON pointers. What is wrong with its families is
    /// theirs to say.
    pub fn validate(&self) -> Faults {
        let mut faults = Faults::default();
        if self.version != VERSION {
            let message = format!(
                "this is version {}, and this autometta reads version {VERSION}; install the autometta that wrote it",
                self.version
            );
            faults.add(None, "/version", message);
        }
        if !(1..=MAX_PARALLEL).contains(&self.max_parallel) {
            faults.add(None, "/max_parallel", format!("`{}` is not between 1 and {MAX_PARALLEL}", self.max_parallel));
        }
        if let Some(fault) = worktrees_fault(&self.worktrees) {
            faults.add(None, "/worktrees", fault);
        }
        if self.base_branch.as_deref().is_some_and(|name| name.trim().is_empty() || name.starts_with('-')) {
            faults.add(None, "/base_branch", "it is not the name of a branch");
        }
        if self.setup.as_deref().is_some_and(|setup| setup.trim().is_empty()) {
            faults.add(None, "/setup", "it has no command; leave the key out for no setup");
        }
        if self.notify.first().is_some_and(|program| program.trim().is_empty()) {
            faults.add(None, "/notify/0", "it is not the name of a program");
        }
        for (family, entry) in &self.families {
            if let Some(most) = entry.max_parallel.filter(|most| !(1..=MAX_PARALLEL).contains(most)) {
                let message = format!("`{most}` is not between 1 and {MAX_PARALLEL}");
                faults.add(None, format!("/families/{family}/max_parallel"), message);
            }
        }
        self.gate_faults(&mut faults);
        self.time_faults(&mut faults);
        for (key, paths) in [("protected", &self.protected), ("allow_unverified", &self.allow_unverified)] {
            if let Err(error) = PathPatterns::new(paths.iter().map(RepoPath::as_str)) {
                faults.add(None, format!("/{key}"), error.to_string());
            }
        }
        if !(1..=BEST).contains(&self.review.floor) {
            faults.add(None, "/review/floor", format!("`{}` is not a score between 1 and {BEST}", self.review.floor));
        }
        if self.breaker.failures > MAX_BREAKER_FAILURES {
            let message = format!("`{}` is more than {MAX_BREAKER_FAILURES}", self.breaker.failures);
            faults.add(None, "/breaker/failures", message);
        }
        if self.breaker.window.seconds() == Seconds(0) || self.breaker.window.seconds() > MAX_BREAKER_WINDOW {
            let message = format!("`{}` is not between one second and a day", self.breaker.window);
            faults.add(None, "/breaker/window", message);
        }
        for (key, tries) in [
            ("work", self.retry.work),
            ("verifier", self.retry.verifier),
            ("infrastructure", self.retry.infrastructure),
        ] {
            if tries > MAX_RETRIES {
                faults.add(None, format!("/retry/{key}"), format!("`{tries}` is more than {MAX_RETRIES}"));
            }
        }
        faults
    }

    fn gate_faults(&self, faults: &mut Faults) {
        let mut names = BTreeSet::new();
        for (index, gate) in self.gates.iter().enumerate() {
            let place = format!("/gates/{index}");
            let name = gate.name.trim();
            if name.is_empty() || name.contains(char::is_control) {
                faults.add(None, format!("{place}/name"), "a gate's name is one line of text");
            } else if name == ACCEPTANCE_GATE {
                faults.add(
                    None,
                    format!("{place}/name"),
                    format!("`{ACCEPTANCE_GATE}` is the name of each card's own command; choose another"),
                );
            } else if !names.insert(name) {
                faults.add(None, format!("{place}/name"), format!("another gate is called `{name}` already"));
            }
            if gate.run.trim().is_empty() {
                faults.add(None, format!("{place}/run"), "it has no command");
            }
            if gate.retries > MAX_GATE_RETRIES {
                let message = format!("`{}` is more than {MAX_GATE_RETRIES}; repair the gate instead", gate.retries);
                faults.add(None, format!("{place}/retries"), message);
            }
        }
    }

    fn time_faults(&self, faults: &mut Faults) {
        if fill_the_day(self.curfew.all()) {
            faults.add(None, "/curfew", "it fills the whole day, so that no worker would ever start");
        }
        if let Some((one, other)) = self.schedule.overlap() {
            faults.add(
                None,
                "/schedule/reserve",
                format!("`{one}` and `{other}` overlap, so which of them holds is open"),
            );
        }
        for (family, reader) in &self.quota {
            if let Some((key, fault)) = reader.fault() {
                faults.add(None, format!("/quota/{family}{key}"), fault);
            }
        }
    }

    /// The directory of the worktrees of the repository whose directory has this name; relative to the repository
    /// unless the manifest gives an absolute path.
    pub fn worktrees_for(&self, repo_name: &str) -> String {
        self.worktrees.replace(REPO_PLACEHOLDER, repo_name)
    }

    /// How long this gate may take.
    pub fn timeout_of(&self, gate: &Gate) -> Seconds {
        gate.timeout.unwrap_or(self.defaults.gate_timeout).seconds()
    }
}

/// One layer over another, key by key: mappings are merged, everything else, lists included, is replaced whole.
#[must_use]
pub fn overlay(base: Value, local: Value) -> Value {
    match (base, local) {
        (Value::Object(mut base), Value::Object(local)) => {
            for (key, value) in local {
                let merged = match base.remove(&key) {
                    Some(under) => overlay(under, value),
                    None => value,
                };
                base.insert(key, merged);
            }
            Value::Object(base)
        }
        (_, local) => local,
    }
}

/// Why this is no directory for worktrees.
fn worktrees_fault(template: &str) -> Option<String> {
    let rest = template.replace(REPO_PLACEHOLDER, "");
    if rest.contains(['{', '}']) {
        return Some(format!("`{template}` has another placeholder than `{REPO_PLACEHOLDER}`"));
    }
    if rest.contains(char::is_control) {
        return Some("it contains a control character".to_owned());
    }
    // Inside the repository every worktree would show up as an untracked directory of the operator's checkout.
    let outside = template.starts_with("../") || template.starts_with('/');
    (!outside || template.trim_end_matches('/').ends_with("..") || template == "/")
        .then(|| format!("`{template}` does not lead to a directory beside the repository; begin it with `../` or `/`"))
}

#[cfg(test)]
mod tests;
