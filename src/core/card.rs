//! The stage card: what one stage is to do, who works, who judges, and what the work may touch.
//!
//! A [`Card`] exists only whole and valid: [`Card::parse`] gives one, or every fault of the text at once. A card
//! knows identities and no families, its own limits and no defaults; both belong to the manifest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::fault::Faults;
use super::ids::{Identity, StageId};
use super::quantity::{MicroUsd, Seconds, Tokens};

mod judging;
mod markdown;
mod name;
mod parse;
mod path;
#[cfg(test)]
mod tests;
mod time;
mod value;

pub use judging::{Check, CommandRule, MAX_GATE_RETRIES};
pub use path::{PathError, RelativePath};
pub use time::StartTime;

/// The size of the largest card that is read, in bytes. A card goes into every prompt of its stage.
pub const MAX_BYTES: usize = 256 * 1024;

/// How many seats a panel may have. Each is a paid run.
pub const MAX_SEATS: usize = 9;

/// A valid card, with what is worth saying about it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The card.
    pub card: Card,
    /// What its author may not have meant. It does not keep the card from being queued.
    pub warnings: Faults,
    /// The line that names who works in the worker's place, for what only families can tell to be wrong with it.
    pub fallback_line: Option<usize>,
}

/// One stage, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// The stage's id: the card's file name without `.md`.
    pub stage: StageId,
    /// One line that says what the stage does; the id where the card has no more.
    pub title: String,
    /// Who makes the change.
    pub worker: Identity,
    /// Who judges it.
    pub verifiers: Verifiers,
    /// The seats, counted from 1, whose brief is to find the strongest reason to reject.
    pub adversarial_seats: Vec<u32>,
    /// Who works when the worker before could not, in order.
    pub escalation: Vec<Identity>,
    /// Who works in the worker's place while its family waits for its provider, first choice first.
    pub fallback: Vec<Identity>,
    /// The stages that must be completed first.
    pub depends_on: Vec<StageId>,
    /// Paths the stage may change besides its deliverables.
    pub path_claims: Vec<RelativePath>,
    /// Lower runs first; 0 unless the card says otherwise.
    pub priority: i32,
    /// When it is begun at the soonest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<StartTime>,
    /// How long after its last begin it is begun again, once it has landed.
    #[serde(default, rename = "every_seconds", skip_serializing_if = "Option::is_none")]
    pub every: Option<Seconds>,
    /// How hard the worker is to think.
    pub worker_effort: Option<Effort>,
    /// How hard the verifiers are to think.
    pub verifier_effort: Option<Effort>,
    /// Why worker and verifier may share a family; without a reason they may not.
    pub same_family: Option<String>,
    /// Whether the verified change lands by itself; without a word, as the manifest says.
    pub landing: Option<LandingMode>,
    /// How long a run may print nothing before it is stopped; without one, silence stops no run.
    pub silence_limit: Option<Seconds>,
    /// What the stage is for.
    pub objective: String,
    /// The files and folders it makes or changes. Empty only where the card says `none`.
    pub deliverables: Vec<Deliverable>,
    /// The criteria in order: criterion 1 comes first. Never empty.
    pub criteria: Vec<String>,
    /// The acceptance commands in order, each the verbatim text of one shell block. Empty: the verifier alone judges.
    pub commands: Vec<String>,
    /// How each of these commands is run, in the same order.
    pub command_rules: Vec<CommandRule>,
    /// Test files that the stage must leave as they are: files, folders or globs.
    pub contract_tests: Vec<RelativePath>,
    /// What has to hold of the change besides, as far as no model is needed to tell.
    pub checks: Vec<Check>,
    /// Paths the stage must not change, whatever else the card says.
    pub out_of_scope: Vec<RelativePath>,
    /// The card's own limits.
    pub budget: Budget,
    /// What a worker of the `script` family runs: the verbatim text of a shell block.
    pub script: Option<String>,
}

impl Card {
    /// Reads the card of `stage`.
    ///
    /// On any fault there is no card, and every fault is named with its line.
    pub fn parse(stage: StageId, text: &str) -> Result<Parsed, Faults> {
        parse::card(stage, text)
    }

    /// Whether the stage may change `path`, which is relative to the project's root as git prints it.
    pub fn covers(&self, path: &str) -> Scope {
        let mut allowed = self.deliverables.iter().map(|one| &one.path).chain(&self.path_claims);
        if self.out_of_scope.iter().any(|out| out.covers_alias(path)) {
            Scope::OutOfScope
        } else if allowed.any(|allowed| allowed.covers(path)) {
            Scope::Allowed
        } else {
            Scope::Outside
        }
    }

    /// What the verifier on a seat is asked for; one verifier alone has no seat number.
    pub fn stance(&self, seat: Option<u32>) -> Stance {
        if self.adversarial_seats.contains(&seat.unwrap_or(1)) { Stance::Adversarial } else { Stance::Judge }
    }

    /// Whether an empty change completes the stage: its card says `Deliverables: none`, and no check asks for more.
    pub fn may_change_nothing(&self) -> bool {
        self.deliverables.is_empty() && !self.checks.contains(&Check::DiffNotEmpty)
    }

    /// Whether the card names this very file, or a folder of `kind`, rather than some folder that happens to hold it.
    pub fn names(&self, path: &str, kind: impl Fn(&str) -> bool) -> bool {
        let mut claims = self.deliverables.iter().map(|one| &one.path).chain(&self.path_claims);
        claims.any(|claim| claim.covers(path) && (!claim.is_folder() || kind(claim.as_str())))
    }
}

/// Where a changed path stands to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Inside the deliverables or path claims.
    Allowed,
    /// The card names it as out of scope, which outweighs a folder that holds it.
    OutOfScope,
    /// The card does not speak of it, so the stage may not change it.
    Outside,
}

/// A file or folder that a stage makes or changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deliverable {
    /// Where it lies.
    pub path: RelativePath,
    /// What the card says about it; may be empty.
    pub note: String,
    /// Whether it is to be gone afterwards: its note begins with the word `removed`.
    pub removed: bool,
}

/// What a verifier is asked for. Either way its verdict has the same shape and its vote the same weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// Whether the change does what the card asks.
    Judge,
    /// The strongest reason to reject it.
    Adversarial,
}

/// Who judges a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verifiers {
    /// One verifier, whose word decides.
    One(Identity),
    /// Several, of whom a quorum decides.
    Panel(Panel),
    /// Nobody, and why: the gates alone decide.
    None(String),
}

impl Verifiers {
    /// Everyone who judges, in the card's order.
    pub fn seats(&self) -> &[Identity] {
        match self {
            Self::One(identity) => std::slice::from_ref(identity),
            Self::Panel(panel) => panel.seats(),
            Self::None(_) => &[],
        }
    }

    /// How many must agree.
    pub fn quorum(&self) -> u32 {
        match self {
            // Of no seats at all, none can ever be enough.
            Self::One(_) | Self::None(_) => 1,
            Self::Panel(panel) => panel.quorum(),
        }
    }

    /// Why nobody judges, where that is so.
    pub fn rationale(&self) -> Option<&str> {
        match self {
            Self::None(why) => Some(why),
            Self::One(_) | Self::Panel(_) => None,
        }
    }
}

/// Several verifiers and the number of them that must agree: 1 ≤ quorum ≤ seats ≤ [`MAX_SEATS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Panel {
    quorum: u32,
    seats: Vec<Identity>,
}

impl Panel {
    /// A panel whose numbers fit together and whose seats are different models.
    pub fn new(quorum: u32, seats: Vec<Identity>) -> Result<Self, PanelError> {
        if seats.len() > MAX_SEATS {
            return Err(PanelError::TooManySeats(seats.len()));
        }
        if quorum == 0 || quorum as usize > seats.len() {
            return Err(PanelError::Quorum { quorum, seats: seats.len() });
        }
        // The address names the model; a second name for it is no second opinion.
        let same = |one: &Identity, other: &Identity| one.email().eq_ignore_ascii_case(other.email());
        match seats.iter().enumerate().find(|(index, seat)| seats[..*index].iter().any(|before| same(before, seat))) {
            Some((_, twice)) => Err(PanelError::Twice(twice.clone())),
            None => Ok(Self { quorum, seats }),
        }
    }

    /// How many must agree.
    pub fn quorum(&self) -> u32 {
        self.quorum
    }

    /// Who sits on it; seat 1 comes first.
    pub fn seats(&self) -> &[Identity] {
        &self.seats
    }
}

/// Why a panel cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PanelError {
    /// More seats than [`MAX_SEATS`].
    #[error("a panel of {0} is too large; {MAX_SEATS} seats are the most")]
    TooManySeats(usize),
    /// A quorum of nobody, or of more than sit there.
    #[error("a quorum of {quorum} does not fit a panel of {seats}; it is at least 1 and at most the number of seats")]
    Quorum {
        /// How many were to agree.
        quorum: u32,
        /// How many sit there.
        seats: usize,
    },
    /// One address on two seats.
    #[error("`{0}` has two seats; one model has one vote")]
    Twice(Identity),
}

/// Whether a verified change lands by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LandingMode {
    /// At once.
    #[default]
    Auto,
    /// Once a person says `approve`.
    Ask,
}

impl LandingMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Ask];

    /// The word a card writes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ask => "ask",
        }
    }
}

/// How hard an agent is to think, in the words most CLIs share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `xhigh`
    Xhigh,
    /// `max`
    Max,
}

impl Effort {
    /// Every effort, least first.
    pub const ALL: [Self; 5] = [Self::Low, Self::Medium, Self::High, Self::Xhigh, Self::Max];

    /// The word a card writes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }
}

/// A card's own limits, by role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// For each run of the worker.
    pub worker: Limits,
    /// For each run of a verifier, each seat of a panel by itself.
    pub verifier: Limits,
    /// For all runs of the stage together, from when it was first queued.
    pub stage: StageLimits,
}

/// The limits of all runs of a stage together. Where there is none, the manifest's default applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageLimits {
    /// How many tokens they may use.
    pub tokens: Option<Tokens>,
    /// What they may cost, in US dollars.
    pub cost_usd: Option<MicroUsd>,
}

/// The limits of one run. Where there is none, the manifest's default applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// How long it may take while the machine is awake, in seconds.
    pub wall_clock_seconds: Option<Seconds>,
    /// How many tokens it may use.
    pub tokens: Option<Tokens>,
    /// What it may cost, in US dollars.
    pub cost_usd: Option<MicroUsd>,
}
