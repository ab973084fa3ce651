//! What an operator is told without asking: a question, an escalation, a halt, the end of a night.
//!
//! A notice is decided with the transition that it tells of and committed with it. It stays in the state until it was
//! seen to have been taken up, so that a crash neither loses nor repeats it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::dependencies;
use super::ids::StageId;
use super::state::{Awaits, EndStatus, Life, Over, Reason, Stage, State};
use super::step::common_claim;

/// The longest part of a reason that goes into a message, in characters: these become lines on a lock screen.
const REASON_LENGTH: usize = 300;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Its name, by which it is taken up once.
    pub key: NoticeKey,
    /// What kind of news it is.
    pub kind: NoticeKind,
    /// The stage; none for what concerns the whole repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageId>,
    /// What happened, in a sentence or two, and the way out.
    pub message: String,
}

/// A notice's name: the moment of its step and its number in it, so that names sort by time and none is used twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct NoticeKey(String);

impl NoticeKey {
    /// The name of a step's notice of that number.
    pub fn new(at: DateTime<Utc>, number: usize) -> Self {
        Self(format!("{}-{number}", at.format("%Y%m%dT%H%M%S%3fZ")))
    }

    /// The name as text, fit for a file's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NoticeKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for NoticeKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
            return Err(format!("`{text}` is not the name of a notice"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for NoticeKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NoticeKey> for String {
    fn from(key: NoticeKey) -> Self {
        key.0
    }
}

/// What kind of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// A worker or a verifier asks something.
    Question,
    /// A change is verified and waits for a person to let it land, or is parked because the base moved.
    Approval,
    /// A stage ended without landing.
    Escalation,
    /// Nothing is dispatched any more until a person says so.
    Halt,
    /// Nothing is left that can go on without a person.
    NightEnd,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Question, Self::Approval, Self::Escalation, Self::Halt, Self::NightEnd];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Approval => "approval",
            Self::Escalation => "escalation",
            Self::Halt => "halt",
            Self::NightEnd => "night-end",
        }
    }
}

/// What kind of news a stage's end is; none where it landed or a person closed it.
pub fn kind_of(over: &Over) -> Option<NoticeKind> {
    match (over.status, over.kept.as_ref().map(|kept| kept.awaits)) {
        (EndStatus::Completed | EndStatus::Superseded, _) => None,
        (EndStatus::Blocked, Some(Awaits::Merge | Awaits::Approval)) => Some(NoticeKind::Approval),
        (EndStatus::Blocked, _) => Some(NoticeKind::Question),
        (EndStatus::Failed | EndStatus::Stalled | EndStatus::VerifierFailed, _) => Some(NoticeKind::Escalation),
    }
}

/// What is to be said of a stage that has just ended.
pub fn of_ending(stage: &Stage, over: &Over) -> Option<(NoticeKind, String)> {
    let kind = kind_of(over)?;
    let why = over.reason.as_ref().map(in_short).unwrap_or_default();
    Some((kind, format!("{} {}: {why}; {}", stage.id, over.status.as_str(), way_out(stage, over))))
}

/// What an operator types about a stage that waits for them.
pub fn way_out(stage: &Stage, over: &Over) -> String {
    let id = &stage.id;
    match (over.status, over.kept.as_ref().map(|kept| kept.awaits)) {
        (EndStatus::Blocked, Some(Awaits::Approval)) => {
            format!("`autometta approve {id}` lands it, `autometta reject {id} --text \"…\"` does not")
        }
        (EndStatus::Blocked, Some(Awaits::Merge)) => format!(
            "merge autometta/{id} by hand, or `autometta approve {id}` lets git merge the texts and the gates judge it"
        ),
        (EndStatus::Blocked, _) => format!("`autometta answer {id} --text \"…\"`"),
        _ => format!("`autometta show {id}`, then `autometta requeue {id}` or `autometta skip {id}`"),
    }
}

/// A reason on one line, cut to what a person reads at a glance.
pub fn in_short(reason: &Reason) -> String {
    let line = reason.detail.lines().next().unwrap_or_default();
    if line.is_empty() {
        return reason.code.clone();
    }
    let mut short: String = line.chars().take(REASON_LENGTH).collect();
    if line.chars().count() > REASON_LENGTH {
        short.push('…');
    }
    format!("{}: {short}", reason.code)
}

/// Whether anything of it can go on without a person: something is in flight or lands, or a pending stage waits for
/// nothing that only a person can bring.
pub fn goes_on(state: &State, budget: &Budget) -> bool {
    if state.flights().next().is_some() {
        return true;
    }
    if budget.halted {
        return false;
    }
    let mut known = BTreeMap::new();
    state.stages.iter().any(|stage| moves_by_itself(state, stage, &mut known))
}

/// The stages that go on without a person while nothing is halted.
pub fn moving(state: &State) -> Vec<&Stage> {
    let mut known = BTreeMap::new();
    state.stages.iter().filter(|stage| moves_by_itself(state, stage, &mut known)).collect()
}

/// Whether a stage that has not ended goes on without a person. Each is looked at once, however many depend on it.
fn moves_by_itself<'a>(state: &'a State, stage: &'a Stage, known: &mut BTreeMap<&'a StageId, bool>) -> bool {
    if let Some(known) = known.get(&stage.id) {
        return *known;
    }
    // Whoever stands in a circle never moves.
    known.insert(&stage.id, false);
    let moves = match &stage.life {
        Life::Over(_) => false,
        Life::Landing(landing) => landing.waiting.is_none(),
        Life::Working(_) | Life::Gating(_) | Life::Verifying(_) => true,
        Life::Pending(pending) => {
            let stuck = pending.reason.as_ref().is_some_and(|reason| needs_an_edit(&reason.code));
            !stuck
                && stage.wait.held.is_none()
                && dependencies::elsewhere(&state.stages, stage).is_none()
                && !stands_behind_a_waiting_landing(state, stage)
                && stage.depends_on.iter().all(|needed| {
                    state.stage(needed).is_some_and(|needed| {
                        dependencies::landed(needed).is_some() || moves_by_itself(state, needed, known)
                    })
                })
        }
    };
    known.insert(&stage.id, moves);
    moves
}

/// Whether one of its paths is claimed by a change that cannot land before a person has done something.
fn stands_behind_a_waiting_landing(state: &State, stage: &Stage) -> bool {
    state.stages.iter().any(|other| {
        matches!(&other.life, Life::Landing(landing) if landing.waiting.is_some())
            && common_claim(stage, other).is_some()
    })
}

/// Reasons of pending stages that stand until somebody edits a file.
pub fn needs_an_edit(code: &str) -> bool {
    matches!(code, "card-unusable" | "same-family" | "no-base")
}

/// What is said when nothing is left that goes on by itself: how the stages that ended since the last time stand.
pub fn night_end(state: &State, budget: &Budget) -> String {
    let count = |wanted: &dyn Fn(&Over) -> bool| {
        state.stages.iter().filter(|stage| matches!(&stage.life, Life::Over(over) if wanted(over))).count()
    };
    let landed = count(&|over| over.status == EndStatus::Completed);
    let blocked = count(&|over| over.status == EndStatus::Blocked);
    let failed = count(&|over| over.status.is_failure());
    let waiting = state.stages.iter().filter(|stage| !matches!(stage.life, Life::Over(_))).count();
    format!(
        "nothing is left that goes on by itself: {landed} landed, {blocked} for you to decide, {failed} failed, \
         {waiting} still queued; {} tokens and {} spent in this window; `autometta inbox` has what waits for you",
        budget.tokens_spent, budget.cost_spent_usd
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_name_and_sorts_by_time() {
        let at = DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::milliseconds(1_763_690_400_123);
        let key = NoticeKey::new(at, 2);
        assert_eq!(key.as_str(), "20251121T020000123Z-2");
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
        assert!(NoticeKey::new(at + chrono::TimeDelta::milliseconds(1), 0) > key);
        for bad in ["", "../x", "a/b", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<NoticeKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_cut_at_its_first_line() {
        assert_eq!(in_short(&Reason::new("gate-failed", "exit 1\nlong output")), "gate-failed: exit 1");
        assert_eq!(in_short(&Reason::new("x", "")), "x");
        assert!(in_short(&Reason::new("x", "é".repeat(1000))).chars().count() < REASON_LENGTH + 10);
    }
}
