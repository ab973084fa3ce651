//! A night as data: what ran, what came of it, what it cost, and what waits for a person.
//!
//! The documents of `autometta report --json` and of the page that is made from them stand here, with the sums that
//! follow from them. How a ledger is folded into a night is `chronicle`'s subject; reading files is `tick::night`'s,
//! and drawing is `report`'s.

mod chronicle;

use chrono::{DateTime, FixedOffset, Offset as _, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exit::{EndedBy, Usage};
use super::handoff::HandoffStatus;
use super::ids::{CommitId, FamilyName, Identity, RunId, StageId};
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::state::{EndStatus, Life, RunOutcome};
use super::verdict::Judgement;

pub use chronicle::{Chronicle, Moment, Place, REST_SECONDS, Told};

/// The longest text of an agent or a command that a night quotes, in characters.
pub const LONGEST_QUOTE: usize = 1_500;

/// One night of one repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Night {
    /// The repository's name: its folder's.
    pub repo: String,
    /// Where it is.
    pub path: String,
    /// The time that is told of.
    pub window: Window,
    /// The clock on the operator's wall.
    pub zone: Zone,
    /// What it came to.
    pub outcome: Outcome,
    /// What waits for a person, the most pressing first.
    pub needs: Vec<Need>,
    /// The stages that moved in the window and those that are not over, in the order of the queue.
    pub stages: Vec<StageNight>,
    /// Times in which nothing was dispatched, or nothing to one family.
    pub bands: Vec<Band>,
    /// What each family did and cost.
    pub families: Vec<FamilyBill>,
    /// The ledger's lines of the window, oldest first.
    pub ledger: Vec<Entry>,
    /// What there was more of than is told.
    pub left_out: LeftOut,
    /// Files that could not be read, so that something may be missing.
    pub faults: Vec<String>,
}

/// The time that is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its begin.
    pub from: DateTime<Utc>,
    /// Its end: the last thing that happened, or the moment of looking while something runs.
    pub until: DateTime<Utc>,
    /// Why it begins there.
    pub begun: Begun,
}

/// Why a window begins where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Begun {
    /// The first dispatch after everything had been at rest for more than [`REST_SECONDS`].
    AfterRest,
    /// `--since` said so.
    Asked,
    /// Nothing was ever dispatched.
    NeverRan,
}

/// The clock on the operator's wall: its name, and how far it is from UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name, such as `Europe/London`; none where only the offset is known.
    pub name: Option<String>,
    /// The offset, from the window's begin on and from each change of it.
    pub offsets: Vec<Offset>,
}

/// How far a clock is from UTC from some moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offset {
    /// From when on.
    pub from: DateTime<Utc>,
    /// Seconds ahead of UTC.
    pub seconds: i32,
}

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: None, offsets: Vec::new() }
    }

    /// A moment as this clock shows it.
    pub fn local(&self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
        let known = self.offsets.iter().rev().find(|offset| offset.from <= at).or(self.offsets.first());
        let offset = known.and_then(|offset| FixedOffset::east_opt(offset.seconds)).unwrap_or_else(|| Utc.fix());
        at.with_timezone(&offset)
    }

    /// The clock's name at a moment: `Europe/London (UTC+01:00)`.
    pub fn words(&self, at: DateTime<Utc>) -> String {
        let offset = *self.local(at).offset();
        let plain = if offset.local_minus_utc() == 0 { "UTC".to_owned() } else { format!("UTC{offset}") };
        match &self.name {
            // `Etc/UTC (UTC)` would say one thing twice.
            Some(name) if !name.ends_with(&plain) => format!("{name} ({plain})"),
            _ => plain,
        }
    }
}

/// What a night came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Stages that landed.
    pub landed: usize,
    /// Things that wait for a person; failures are counted apart.
    pub needs_you: usize,
    /// Stages that ended without landing.
    pub failed: usize,
    /// Stages that an operator closed.
    pub closed: usize,
    /// Stages in progress.
    pub working: usize,
    /// Stages in the queue.
    pub waiting: usize,
    /// Runs.
    pub runs: usize,
    /// Tokens charged to the runs of the window.
    pub tokens: Tokens,
    /// Money charged to them.
    pub cost_usd: MicroUsd,
}

/// One thing that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Need {
    /// How pressing it is.
    pub urgency: Urgency,
    /// The stage; none for what concerns the whole repository.
    pub stage: Option<StageId>,
    /// The stage's title.
    pub title: Option<String>,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// Why, as a code.
    pub code: String,
    /// Why, in the words of whoever said it.
    pub detail: Excerpt,
    /// What to do; commands stand between backticks.
    pub way_out: String,
}

/// How pressing something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Nothing at all goes on before.
    Stop,
    /// This stage does not go on before.
    Ask,
    /// It is over; somebody decides what becomes of it.
    Ended,
}

/// One stage's night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageNight {
    /// Its name.
    pub id: StageId,
    /// The card's title.
    pub title: String,
    /// The stages that it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<StageId>,
    /// Who makes the change.
    pub worker: Identity,
    /// Who judges it.
    pub verifiers: Vec<Identity>,
    /// How it stands.
    pub standing: Standing,
    /// The word of `state.yaml` for it.
    pub status: String,
    /// Why it stands so.
    pub reason: Option<Why>,
    /// The newest attempt.
    pub attempt: u32,
    /// Its runs in the window, as they were dispatched.
    pub runs: Vec<RunNight>,
    /// What these were charged.
    pub tokens: Tokens,
    /// What these were charged.
    pub cost_usd: MicroUsd,
    /// How long these took together.
    pub seconds: Seconds,
    /// Its landing, where that was in the window.
    pub landed: Option<LandedNight>,
    /// Branches that hold work of it.
    pub kept: Vec<KeptWork>,
}

/// How a stage stands, in the words of the first sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A person has to answer or to act.
    NeedsYou,
    /// It ended without landing.
    Failed,
    /// It is in progress.
    Working,
    /// It waits for its turn.
    Waiting,
    /// It landed.
    Landed,
    /// An operator closed it.
    Closed,
}

impl Standing {
    /// How a stage with this life stands.
    pub fn of(life: &Life) -> Self {
        match life {
            Life::Pending(_) => Self::Waiting,
            Life::Landing(landing) if landing.waiting.is_some() => Self::NeedsYou,
            Life::Working(_) | Life::Gating(_) | Life::Verifying(_) | Life::Landing(_) => Self::Working,
            Life::Over(over) => match over.status {
                EndStatus::Completed => Self::Landed,
                EndStatus::Blocked => Self::NeedsYou,
                EndStatus::Failed | EndStatus::Stalled | EndStatus::VerifierFailed => Self::Failed,
                EndStatus::Superseded => Self::Closed,
            },
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeedsYou => "needs you",
            Self::Failed => "failed",
            Self::Working => "in progress",
            Self::Waiting => "queued",
            Self::Landed => "landed",
            Self::Closed => "closed",
        }
    }
}

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// A stable code.
    pub code: String,
    /// What happened.
    pub detail: Excerpt,
}

/// One run's night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunNight {
    /// The run.
    pub run: RunId,
    /// Who ran; none for a gate.
    pub identity: Option<Identity>,
    /// The adapter; none for a gate.
    pub family: Option<FamilyName>,
    /// The model as the CLI knows it.
    pub model: Option<String>,
    /// When it was decided on.
    pub dispatched_at: DateTime<Utc>,
    /// When its process started, by `exit.json` or `started.json`.
    pub started_at: Option<DateTime<Utc>>,
    /// When its last process was gone, by `exit.json`.
    pub ended_at: Option<DateTime<Utc>>,
    /// When a tick took note of its end; none while it is in flight.
    pub seen_at: Option<DateTime<Utc>>,
    /// How it went; none while it is in flight.
    pub outcome: Option<RunOutcome>,
    /// Why its process ended.
    pub ended_by: Option<EndedBy>,
    /// How long it took while the machine was awake.
    pub seconds: Seconds,
    /// What it was charged.
    pub tokens: Tokens,
    /// What it was charged.
    pub cost_usd: MicroUsd,
    /// Whether its usage was unknown, so that it was charged its reservation.
    pub usage_unknown: bool,
    /// What it used, by `exit.json`.
    pub usage: Option<Usage>,
    /// What the provider said, where it refused.
    pub refusal: Option<Excerpt>,
    /// Why its outbox could not be used.
    pub outbox_fault: Option<Excerpt>,
    /// What a worker handed in.
    pub handoff: Option<HandoffNight>,
    /// What a verifier found.
    pub verdict: Option<VerdictNight>,
    /// The commands of a gate.
    pub gates: Vec<GateNight>,
}

/// What a worker handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoffNight {
    /// How it says that its work ended.
    pub status: HandoffStatus,
    /// Its notes.
    pub notes: Excerpt,
    /// Its question.
    pub question: Option<Excerpt>,
}

/// What a verifier found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerdictNight {
    /// What the verdict amounts to.
    pub judged: Judgement,
    /// Its headline.
    pub headline: Excerpt,
    /// Criterion by criterion.
    pub criteria: Vec<CriterionNight>,
    /// How many criteria more there were than are told.
    pub criteria_left_out: usize,
    /// What the criteria do not ask for.
    pub findings: Excerpt,
}

/// One criterion of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CriterionNight {
    /// Its number in the card.
    pub id: u32,
    /// The criterion in a few words.
    pub name: Excerpt,
    /// Whether it holds.
    pub verdict: Judgement,
    /// What shows it.
    pub evidence: Excerpt,
}

/// One command of a gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateNight {
    /// Its name.
    pub name: String,
    /// What ran.
    pub command: Excerpt,
    /// Whether it succeeded.
    pub passed: bool,
    /// How it ended, in words.
    pub ended: String,
    /// How long it took, in seconds.
    pub elapsed_seconds: f64,
    /// The end of what it printed; only where it failed.
    pub output: Option<Excerpt>,
}

/// A landing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LandedNight {
    /// The commit.
    pub commit: CommitId,
    /// The branch that it landed on.
    pub branch: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What it changed; none where git could not say.
    pub stat: Option<DiffStat>,
}

/// What a commit changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffStat {
    /// The first files, in order of their paths.
    pub files: Vec<FileStat>,
    /// How many files there are in all.
    pub file_count: usize,
    /// Lines added in all of them.
    pub added: u64,
    /// Lines removed in all of them.
    pub removed: u64,
}

/// What changed in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileStat {
    /// Its path, with anything that is not UTF-8 replaced.
    pub path: String,
    /// Lines added; none for a file that has no lines.
    pub added: Option<u64>,
    /// Lines removed.
    pub removed: Option<u64>,
}

/// A branch that holds work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptWork {
    /// The branch.
    pub branch: String,
    /// Its tip.
    pub commit: CommitId,
    /// The branch that it is to be compared with.
    pub base: String,
}

/// A time in which nothing was dispatched, or nothing to one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The family that paused; none for a halt of everything.
    pub family: Option<FamilyName>,
    /// Its begin.
    pub from: DateTime<Utc>,
    /// Its end; none where it has not ended.
    pub until: Option<DateTime<Utc>>,
    /// Why.
    pub detail: Excerpt,
}

/// What a family did and cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FamilyBill {
    /// The family; none for gates, which are ours.
    pub family: Option<FamilyName>,
    /// Its runs.
    pub runs: usize,
    /// How long they took together.
    pub seconds: Seconds,
    /// What they were charged.
    pub tokens: Tokens,
    /// What they were charged.
    pub cost_usd: MicroUsd,
    /// Runs whose usage was unknown.
    pub unknown: usize,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// The run or the stage; none for the repository.
    pub subject: Option<String>,
    /// What happened.
    pub event: String,
    /// What it was before and is now, where it moved.
    pub moved: Option<(String, String)>,
    /// The first line of the rest.
    pub detail: String,
}

/// What there was more of than is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Older lines of the ledger.
    pub ledger_lines: u64,
    /// Older runs.
    pub runs: usize,
    /// Stages.
    pub stages: usize,
    /// Things that wait for a person.
    pub needs: usize,
}

/// A text of somebody else's, cut to a length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Excerpt {
    /// What is quoted.
    pub text: String,
    /// How many characters of the text are not.
    pub omitted: usize,
}

impl Excerpt {
    /// The first characters of a text.
    pub fn head(text: &str, most: usize) -> Self {
        let text = text.trim_end();
        let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
        Self { text: text[..end].to_owned(), omitted: text[end..].chars().count() }
    }

    /// The last characters of a text: of what a command printed, the end matters.
    pub fn tail(text: &str, most: usize) -> Self {
        let text = text.trim_end();
        let length = text.chars().count();
        let start = text.char_indices().nth(length.saturating_sub(most)).map_or(text.len(), |(at, _)| at);
        Self { text: text[start..].to_owned(), omitted: length.saturating_sub(most) }
    }

    /// Whether there is nothing to quote.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }
}

impl Night {
    /// What the night came to, and each family's share, from its stages and needs.
    pub fn sum_up(&mut self) {
        let count = |standing| {
            let moved = |stage: &&StageNight| stage.standing == standing;
            self.stages.iter().filter(moved).count()
        };
        let runs = || self.stages.iter().flat_map(|stage| &stage.runs);
        self.outcome = Outcome {
            landed: count(Standing::Landed),
            needs_you: self.needs.iter().filter(|need| need.urgency != Urgency::Ended).count(),
            failed: count(Standing::Failed),
            closed: count(Standing::Closed),
            working: count(Standing::Working),
            waiting: count(Standing::Waiting),
            runs: runs().count(),
            tokens: self.stages.iter().map(|stage| stage.tokens).sum(),
            cost_usd: self.stages.iter().map(|stage| stage.cost_usd).sum(),
        };
        let mut families: Vec<FamilyBill> = Vec::new();
        for run in runs() {
            let index = families.iter().position(|bill| bill.family == run.family).unwrap_or_else(|| {
                families.push(FamilyBill {
                    family: run.family.clone(),
                    runs: 0,
                    seconds: Seconds(0),
                    tokens: Tokens(0),
                    cost_usd: MicroUsd(0),
                    unknown: 0,
                });
                families.len() - 1
            });
            let bill = &mut families[index];
            bill.runs += 1;
            bill.seconds += run.seconds;
            bill.tokens += run.tokens;
            bill.cost_usd += run.cost_usd;
            bill.unknown += usize::from(run.usage_unknown);
        }
        // The dearest first; gates, which cost nothing, last.
        families.sort_by(|a, b| {
            let key = |bill: &FamilyBill| (bill.family.is_none(), std::cmp::Reverse((bill.cost_usd, bill.tokens)));
            key(a).cmp(&key(b)).then_with(|| a.family.cmp(&b.family))
        });
        self.families = families;
    }
}

impl StageNight {
    /// Adds its runs up.
    pub fn sum_up(&mut self) {
        self.tokens = self.runs.iter().map(|run| run.tokens).sum();
        self.cost_usd = self.runs.iter().map(|run| run.cost_usd).sum();
        self.seconds = self.runs.iter().map(|run| run.seconds).sum();
    }
}

impl RunNight {
    /// Where its bar ends: its process's end, or when a tick saw that it was gone, or the window's end.
    pub fn until(&self, window: &Window) -> DateTime<Utc> {
        self.ended_at.or(self.seen_at).unwrap_or(window.until).max(self.dispatched_at)
    }

    /// How long it took, or has taken so far.
    pub fn took(&self, window: &Window) -> Seconds {
        let so_far = || window.until.signed_duration_since(self.started_at.unwrap_or(self.dispatched_at)).num_seconds();
        if self.outcome.is_some() { self.seconds } else { Seconds(u64::try_from(so_far()).unwrap_or(0)) }
    }

    /// Whether it did not do what it was for.
    pub fn went_wrong(&self) -> bool {
        let verdict = self.verdict.as_ref().is_some_and(|verdict| verdict.judged != Judgement::Pass);
        let gate = self.gates.iter().any(|gate| !gate.passed);
        verdict || gate || self.outcome.is_some_and(|outcome| !matches!(outcome, RunOutcome::Done | RunOutcome::Asked))
    }

    /// How it went, in words.
    pub fn went(&self) -> String {
        let Some(outcome) = self.outcome else { return "running".to_owned() };
        if let Some(verdict) = &self.verdict {
            return verdict.judged.as_str().to_owned();
        }
        if outcome != RunOutcome::Flaked && self.gates.iter().any(|gate| !gate.passed) {
            return "gate failed".to_owned();
        }
        let words = match outcome {
            RunOutcome::Done if !self.gates.is_empty() => "passed",
            RunOutcome::Done if self.handoff.is_some() => "handed in",
            RunOutcome::Refused => "refused",
            other => other.words(),
        };
        words.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_says_how_much_is_missing() {
        let whole = Excerpt { text: "äbc".to_owned(), omitted: 0 };
        assert_eq!(Excerpt::head("äbc\n", 3), whole);
        assert_eq!(Excerpt::tail("äbc\n", 3), whole);
        assert_eq!(Excerpt::head("äbcd", 2), Excerpt { text: "äb".to_owned(), omitted: 2 });
        assert_eq!(Excerpt::tail("abcö", 2), Excerpt { text: "cö".to_owned(), omitted: 2 });
        assert!(Excerpt::tail(" \n", 5).is_empty());
        assert_eq!(Excerpt::head("abc", 0), Excerpt { text: String::new(), omitted: 3 });
    }

    #[test]
    fn a_zone_follows_the_change_of_its_clock() {
        let at = |hour| DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::hours(hour);
        let zone = Zone {
            name: Some("Europe/London".to_owned()),
            offsets: vec![Offset { from: at(0), seconds: 3600 }, Offset { from: at(5), seconds: 0 }],
        };
        let shown = |hour| zone.local(at(hour)).format("%H:%M").to_string();
        assert_eq!((shown(4).as_str(), shown(5).as_str()), ("05:00", "05:00"), "the hour that comes twice");
        assert_eq!(shown(-1), "00:00", "before the first offset, the first one holds");
        assert_eq!(zone.words(at(4)), "Europe/London (UTC+01:00)");
        assert_eq!(zone.words(at(6)), "Europe/London (UTC)");
        assert_eq!(Zone::utc().words(at(0)), "UTC");
        assert_eq!(Zone { name: Some("Etc/UTC".to_owned()), offsets: Vec::new() }.words(at(0)), "UTC");
    }
}
