//! The state machine's memory: stages and what each is living through.
//!
//! These are the types the machine thinks in; a stage that is being verified *has* a candidate, because its type
//! says so. How they stand in `state.yaml` is `core::state_doc`'s subject.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exit::EndedBy;
use super::fallback::Fallback;
use super::honesty::FrozenFile;
use super::ids::{CommitId, FamilyName, Identity, Role, RunId, StageId, TreeId};
use super::notice::Notice;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::sleep::Slept;
use super::train::Train;
use super::verdict::Judgement;
use super::wait::Wait;

/// Everything the machine remembers about one repository.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Names this repository on this machine; a state copied elsewhere is refused by it.
    pub repo_id: String,
    /// How many ticks were committed or folded in since `init`.
    pub tick_count: u64,
    /// When the last tick that changed something ran.
    pub last_tick_at: Option<DateTime<Utc>>,
    /// The stages in the order in which they were queued.
    pub stages: Vec<Stage>,
    /// What the operator is to be told and may not have been told yet.
    pub notices: Vec<Notice>,
    /// The last sleep of the machine that the ledger told of.
    pub slept: Option<Slept>,
}

impl State {
    /// A state without stages.
    pub fn new(repo_id: String) -> Self {
        Self { repo_id, tick_count: 0, last_tick_at: None, stages: Vec::new(), notices: Vec::new(), slept: None }
    }

    /// The stage of that name.
    pub fn stage(&self, id: &StageId) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.id == *id)
    }

    /// The stage of that name, to be changed.
    pub fn stage_mut(&mut self, id: &StageId) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.id == *id)
    }

    /// Every run in flight, with its stage.
    pub fn flights(&self) -> impl Iterator<Item = (&Stage, &Flight)> {
        self.stages.iter().flat_map(|stage| stage.life.flights().into_iter().map(move |flight| (stage, flight)))
    }
}

/// One unit of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub id: StageId,
    /// The card's title.
    pub title: String,
    /// The card's path below the repository's root.
    pub card: String,
    /// The sha256 of the card's bytes that the current attempt works from; none before the first dispatch.
    pub card_sha256: Option<String>,
    /// Who makes the change.
    pub worker: Identity,
    /// Who judges it, seat by seat.
    pub verifiers: Vec<Identity>,
    /// How many PASS votes it takes.
    pub quorum: u32,
    /// Why nobody judges it, where its card says so.
    pub unverified: Option<String>,
    /// Its contract tests as they were at the base of the present attempt.
    pub contract: Vec<FrozenFile>,
    /// The branch that the change lands on.
    pub base_branch: String,
    /// Stages that must have landed first.
    pub depends_on: Vec<StageId>,
    /// Paths that no other stage in flight may claim.
    pub path_claims: Vec<String>,
    /// Lower goes first.
    pub priority: i64,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// Work failures since it was queued; only these use up the attempts that the policy allows.
    pub failures: u32,
    /// The rung of its card's ladder that it is on; 0 is the card's own worker.
    pub rung: u32,
    /// How many of its work failures happened on the rungs below.
    pub failures_below: u32,
    /// Whose places others have taken, while they wait for their provider.
    pub fallback: Option<Fallback>,
    /// Tokens of all its runs.
    pub tokens: Tokens,
    /// Cost of all its runs.
    pub cost_usd: MicroUsd,
    /// Its past runs, oldest first.
    pub history: Vec<PastRun>,
    /// Work around it that was decided and may not have been done yet.
    pub chores: Vec<Chore>,
    /// Its place in the queue.
    pub wait: Wait,
    /// What it is living through.
    pub life: Life,
}

impl Stage {
    /// The id of the next run for this role and seat in the present attempt: never one that was used before.
    pub fn next_run(&self, role: Role, seat: Option<u32>) -> RunId {
        let used = self
            .history
            .iter()
            .filter(|past| past.run.attempt == self.attempt && past.run.role == role && past.run.seat == seat)
            .count();
        RunId {
            stage: self.id.clone(),
            attempt: self.attempt,
            role,
            seat,
            retry: u32::try_from(used).unwrap_or(u32::MAX),
        }
    }

    /// Whether its next run is the first of a worker who takes over from one on a lower rung.
    pub fn hands_over(&self) -> bool {
        matches!(&self.life, Life::Pending(Pending { next: NextRun::Continue(resume), .. }) if resume.predecessor.is_some())
    }

    /// Forgets what was tried: the next dispatch is by its card as it then is, on the ladder's first rung.
    pub fn start_anew(&mut self) {
        self.end_fallback();
        self.failures = 0;
        self.rung = 0;
        self.failures_below = 0;
        self.card_sha256 = None;
        self.leave_the_line();
    }

    /// Forgets its place in the queue.
    pub fn leave_the_line(&mut self) {
        self.wait = Wait { repeat: self.wait.repeat.take(), ..Wait::default() };
    }

    /// When it is queued again, now that it has landed; none where it is not.
    pub fn repeats_at(&self) -> Option<DateTime<Utc>> {
        match &self.life {
            Life::Over(over) if over.status == EndStatus::Completed => self.wait.repeat.as_ref()?.next_at(),
            _ => None,
        }
    }

    /// Begins another round of a stage that has landed. The runs of the round that has ended stay at hand until the next
    /// one; those before it stand in the archive.
    pub fn begin_round(&mut self) {
        let Life::Over(over) = std::mem::replace(&mut self.life, Life::Pending(Pending::default())) else { return };
        self.start_anew();
        let attempt = self.attempt;
        if let Some(repeat) = &mut self.wait.repeat {
            self.history.retain(|past| past.run.attempt > repeat.archived_attempts);
            repeat.archived_attempts = attempt;
            repeat.rounds = repeat.rounds.saturating_add(1);
            repeat.landed = over.commit;
            repeat.stopped = None;
        }
        (self.tokens, self.cost_usd) = (Tokens(0), MicroUsd(0));
    }

    /// Orders a branch for work that will not land.
    pub fn keep_work(&mut self, candidate: &Candidate) {
        self.add_chore(Chore::KeepWork { branch: candidate.run.kept_branch(), commit: candidate.commit.clone() });
    }

    /// Orders a chore once.
    pub fn add_chore(&mut self, chore: Chore) {
        if !self.chores.contains(&chore) {
            self.chores.push(chore);
        }
    }

    /// The worker's run whose work was judged last: the newest of this attempt that was handed in.
    pub fn candidate_run(&self) -> Option<&RunId> {
        let handed_in = |past: &&PastRun| {
            past.run.role == Role::Worker && past.run.attempt == self.attempt && past.outcome == RunOutcome::Done
        };
        self.history.iter().rev().find(handed_in).map(|past| &past.run)
    }

    /// The model of a past run, where it called one.
    pub fn model_of(&self, run: &RunId) -> Option<&str> {
        self.history.iter().find(|past| past.run == *run).and_then(|past| past.model.as_deref())
    }

    /// What is judged or landed, while there is such a thing.
    pub fn candidate(&self) -> Option<&Candidate> {
        match &self.life {
            Life::Gating(gating) => Some(&gating.candidate),
            Life::Verifying(verifying) => Some(&verifying.candidate),
            Life::Landing(landing) => Some(&landing.candidate),
            Life::Pending(_) | Life::Working(_) | Life::Over(_) => None,
        }
    }

    /// How often in a row the present candidate's gates failed and were run again.
    pub fn flakes(&self) -> u32 {
        let gates = self.history.iter().rev().take_while(|past| past.run.role == Role::Gate);
        let count = gates
            .take_while(|past| !matches!(past.outcome, RunOutcome::Done | RunOutcome::Failed))
            .filter(|past| past.outcome == RunOutcome::Flaked);
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    }

    /// How many runs of this role and seat failed in the present attempt for reasons that are nobody's work.
    pub fn infrastructure_failures(&self, role: Role, seat: Option<u32>) -> u32 {
        let same = |past: &&PastRun| past.run.attempt == self.attempt && past.run.role == role && past.run.seat == seat;
        let count = self.history.iter().filter(same).filter(|past| past.outcome.is_infrastructure()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// What a stage is living through.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// It waits for its turn.
    Pending(Pending),
    /// Its worker runs.
    Working(Working),
    /// Its gates run, or wait for their turn.
    Gating(Gating),
    /// Its verifiers run, or wait for their turn.
    Verifying(Verifying),
    /// Its candidate is approved and moves onto the base branch.
    Landing(Landing),
    /// It has ended; only an operator moves it from here.
    Over(Over),
}

impl Life {
    /// The runs in flight.
    pub fn flights(&self) -> Vec<&Flight> {
        match self {
            Self::Working(working) => vec![&working.flight],
            Self::Gating(gating) => gating.flight.iter().collect(),
            Self::Verifying(verifying) => verifying.seats.iter().filter_map(|seat| seat.flight.as_ref()).collect(),
            Self::Pending(_) | Self::Landing(_) | Self::Over(_) => Vec::new(),
        }
    }

    /// The same, to be changed.
    pub fn flights_mut(&mut self) -> Vec<&mut Flight> {
        match self {
            Self::Working(working) => vec![&mut working.flight],
            Self::Gating(gating) => gating.flight.iter_mut().collect(),
            Self::Verifying(verifying) => verifying.seats.iter_mut().filter_map(|seat| seat.flight.as_mut()).collect(),
            Self::Pending(_) | Self::Landing(_) | Self::Over(_) => Vec::new(),
        }
    }

    /// Whether it has begun and not ended.
    pub fn is_in_progress(&self) -> bool {
        matches!(self, Self::Working(_) | Self::Gating(_) | Self::Verifying(_) | Self::Landing(_))
    }

    /// One word for people and the ledger: the phase while in progress, else the status.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Working(_) => "working",
            Self::Gating(_) => "gating",
            Self::Verifying(_) => "verifying",
            Self::Landing(_) => "landing",
            Self::Over(over) => over.status.as_str(),
        }
    }
}

/// A stage that waits for its turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pending {
    /// Not to be started before this time (a deferral).
    pub not_before: Option<DateTime<Utc>>,
    /// Why it came back to the queue, where it did.
    pub reason: Option<Reason>,
    /// What the next run takes up.
    pub next: NextRun,
}

/// What the next worker run of a pending stage takes up.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum NextRun {
    /// A new attempt from the base branch.
    #[default]
    Fresh,
    /// The same attempt again: the run before it failed for reasons that are nobody's work.
    Again {
        /// Where that attempt began, when it had begun on earlier work.
        from: Option<Resume>,
    },
    /// A new attempt that starts from earlier work.
    Continue(Resume),
}

/// Earlier work that an attempt continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The base that the work started from.
    pub base_commit: CommitId,
    /// The commit that holds the earlier work.
    pub start: CommitId,
    /// The tree that the evidence is about; a worker that hands it in again has made no progress. It is the tree of
    /// `start`, unless a run that its provider cut short has gone on from there.
    pub tree: TreeId,
    /// The runs whose evidence goes into the next brief.
    pub evidence: Vec<RunId>,
    /// What was wrong with it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<Reason>,
    /// The run of a worker on a lower rung whose notes the next one is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<RunId>,
}

/// What an attempt is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The tip of the base branch that the candidate is compared with and lands on.
    pub base_commit: CommitId,
    /// When the attempt's first run was dispatched.
    pub started_at: DateTime<Utc>,
}

/// A stage whose worker runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Working {
    /// What it is built on.
    pub work: Work,
    /// Earlier work that it continues.
    pub resume: Option<Resume>,
    /// The worker's run.
    pub flight: Flight,
}

/// The tree that is judged and landed, with the commit that carries it on the run branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The commit on the run branch.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// The worker's run that made it.
    pub run: RunId,
}

/// A stage whose gates run.
#[derive(Debug, Clone, PartialEq)]
pub struct Gating {
    /// What it is built on.
    pub work: Work,
    /// What is judged.
    pub candidate: Candidate,
    /// Set when the verifiers have approved the change already and only the merged tree has to pass the gates.
    pub approval: Option<Approval>,
    /// The gate's run; none while it waits for its turn.
    pub flight: Option<Flight>,
    /// Not to be started before this time (a deferral).
    pub not_before: Option<DateTime<Utc>>,
}

/// A stage whose verifiers run.
#[derive(Debug, Clone, PartialEq)]
pub struct Verifying {
    /// What it is built on.
    pub work: Work,
    /// What is judged.
    pub candidate: Candidate,
    /// The gate run that it passed; none where there is nothing to run.
    pub gate: Option<RunId>,
    /// The seats, in the order of the card.
    pub seats: Vec<Seat>,
}

/// One verifier of a panel; a panel of one has one seat without a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Seat {
    /// Its number, counted from 1; none outside a panel.
    pub number: Option<u32>,
    /// Who sits on it.
    pub verifier: Identity,
    /// Its run in flight.
    pub flight: Option<Flight>,
    /// Not to be started before this time (a deferral).
    pub not_before: Option<DateTime<Utc>>,
    /// How it voted, once it has.
    pub vote: Option<Ballot>,
}

impl Seat {
    /// The seats of a panel, all open; one verifier alone has one seat without a number.
    pub fn open(verifiers: &[Identity]) -> Vec<Self> {
        let panel = verifiers.len() > 1;
        let seat = |(number, verifier): (u32, &Identity)| Self {
            number: panel.then_some(number),
            verifier: verifier.clone(),
            flight: None,
            not_before: None,
            vote: None,
        };
        (1..).zip(verifiers).map(seat).collect()
    }
}

/// A vote that was cast, or the finding that none will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ballot {
    /// The run that cast it.
    pub run: RunId,
    /// What it said.
    pub said: Said,
    /// Its headline, or why there is no verdict.
    pub words: String,
    /// What it said about each criterion, in the card's order; empty where it said nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<Judgement>,
}

/// What a seat said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Said {
    /// The change is right.
    Pass,
    /// It is not.
    Fail,
    /// The seat could not look.
    Blocked,
    /// No verdict came, and the policy allows no further try.
    Nothing,
}

/// Why a candidate may land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The tree that the gates passed and that may land.
    pub tree: TreeId,
    /// The tree that the verifiers saw: another one only where the base moved and the gates ran again.
    pub verified_tree: TreeId,
    /// The gate run that passed; none where there is nothing to run.
    pub gate: Option<RunId>,
    /// The verifier runs that voted PASS.
    pub verdicts: Vec<RunId>,
    /// Who they were.
    pub verifiers: Vec<Identity>,
    /// The landing commit's headline.
    pub headline: String,
    /// What becomes of it where the base has changed the same files.
    #[serde(default, skip_serializing_if = "Overlap::is_parked")]
    pub overlap: Overlap,
    /// What other candidate it stands on, where it does.
    #[serde(default, skip_serializing_if = "Train::is_free")]
    pub train: Train,
}

/// What becomes of an approved change where the base has changed the same files meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is parked for a person.
    #[default]
    Park,
    /// A person said that git may merge the texts; the gates then judge what comes of it.
    Merge,
}

impl Overlap {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_parked(&self) -> bool {
        *self == Self::Park
    }
}

/// A stage that moves onto its base branch.
#[derive(Debug, Clone, PartialEq)]
pub struct Landing {
    /// What it is built on.
    pub work: Work,
    /// What lands.
    pub candidate: Candidate,
    /// Why it may.
    pub approval: Approval,
    /// The landing commit's date, fixed so that a repeated landing is the same commit.
    pub decided_at: DateTime<Utc>,
    /// The landing commit's committer, fixed for the same reason: `Name <address>`.
    pub committer: Option<Identity>,
    /// What it waits for, when it cannot land at once.
    pub waiting: Option<Reason>,
}

/// A stage that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    /// How.
    pub status: EndStatus,
    /// Why, for every ending but a plain landing.
    pub reason: Option<Reason>,
    /// When.
    pub at: DateTime<Utc>,
    /// The commit that landed.
    pub commit: Option<CommitId>,
    /// What a person may still use: the candidate that was parked or the work that was asked about.
    pub kept: Option<Kept>,
}

/// How a stage has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndStatus {
    /// Landed.
    Completed,
    /// The worker gave up, or its work cannot be used.
    Failed,
    /// It stopped moving: no handoff, a cap, a lost run.
    Stalled,
    /// A gate or the verifiers refused it.
    VerifierFailed,
    /// A person has to answer or to act.
    Blocked,
    /// An operator closed it.
    Superseded,
}

impl EndStatus {
    /// The word in `state.yaml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::VerifierFailed => "verifier_failed",
            Self::Blocked => "blocked",
            Self::Superseded => "superseded",
        }
    }

    /// Whether it counts towards the cap on consecutive failures.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Stalled | Self::VerifierFailed)
    }
}

/// Work that an ended stage has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The base that it was built on.
    pub base_commit: CommitId,
    /// The work.
    pub candidate: Candidate,
    /// When the attempt began.
    pub started_at: DateTime<Utc>,
    /// What becomes of it.
    pub awaits: Awaits,
    /// For a parked landing: the base's tip when it was last compared, so that nothing is compared twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_tip: Option<CommitId>,
    /// For a parked landing: why it may land, once a person lets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// What kept work waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Awaits {
    /// An answer for the worker, who then goes on from it.
    WorkerAnswer,
    /// An answer for the verifiers, who then look again.
    VerifierAnswer,
    /// A person who merges it, or lets git try.
    Merge,
    /// A person who lets it land.
    Approval,
    /// Nothing: it is kept for people to look at.
    Nothing,
}

/// Why something is as it is: a code for machines and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// A stable code such as `handoff-missing`.
    pub code: String,
    /// What happened, verbatim where an agent or a command said it.
    pub detail: String,
}

impl Reason {
    /// A reason with that code and detail.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into() }
    }
}

/// One run in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flight {
    /// Its id.
    pub run: RunId,
    /// Who runs; none for a gate.
    pub identity: Option<Identity>,
    /// The family that was chosen for it; none for a gate.
    pub family: Option<FamilyName>,
    /// The model that its identity stood for when it was dispatched; none where no model is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was set aside for it.
    pub reserved: Reservation,
    /// When it was dispatched.
    pub dispatched_at: DateTime<Utc>,
    /// Set when it is to be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
}

/// Why a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stopping {
    /// An operator cancelled the stage.
    Cancelled,
    /// An operator closed the stage.
    Skipped,
    /// It is over its wall-clock cap and its supervisor is gone.
    OverTime,
}

/// What is set aside before a run starts, and the run's own caps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// Tokens.
    pub tokens: Tokens,
    /// Money.
    pub cost_usd: MicroUsd,
    /// Wall-clock time.
    pub seconds: Seconds,
}

/// One line of a stage's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PastRun {
    /// The run.
    pub run: RunId,
    /// Who ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The model that ran; none where no model was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How it went.
    pub outcome: RunOutcome,
    /// Why its process ended; none for a run that was lost or never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// When that was seen.
    pub at: DateTime<Utc>,
    /// What it was charged.
    pub tokens: Tokens,
    /// What it was charged.
    pub cost_usd: MicroUsd,
    /// How long it ran.
    pub seconds: Seconds,
    /// Whether the usage was unknown, so that the reservation was charged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usage_unknown: bool,
}

/// How a past run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// It did what it was for: a candidate, passed gates, a vote.
    Done,
    /// The worker said that it failed, or its work could not be used.
    Failed,
    /// A gate failed that may be run again.
    Flaked,
    /// The worker asked a question.
    Asked,
    /// One of its own caps ended it.
    OverCap,
    /// The worker left no usable handoff.
    NoHandoff,
    /// The verifier left no usable verdict.
    NoVerdict,
    /// The agent crashed or was killed by somebody else.
    Crashed,
    /// Neither its end nor its process could be found.
    Lost,
    /// It never started.
    NeverStarted,
    /// The provider refused.
    Refused,
    /// An operator stopped it.
    Cancelled,
}

impl RunOutcome {
    /// How it went, in a word or two for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Flaked => "failed, and was run again",
            Self::Asked => "asked",
            Self::OverCap => "over its cap",
            Self::NoHandoff => "no handoff",
            Self::NoVerdict => "no verdict",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
            Self::NeverStarted => "never started",
            Self::Refused => "refused by the provider",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the run failed for reasons that are nobody's work, so that it is tried again without a charge.
    pub fn is_infrastructure(self) -> bool {
        matches!(self, Self::Crashed | Self::Lost | Self::NeverStarted)
    }
}

/// Work around a stage that is decided with its transition and done after it; each is idempotent, and is kept in the
/// state until it was seen done, so that a crash cannot lose it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Chore {
    /// Point the run branch at this commit.
    PointRunBranch {
        /// The candidate's commit.
        commit: CommitId,
    },
    /// Keep a failed attempt's work on a branch of its own.
    KeepWork {
        /// The branch, without `refs/heads/`.
        branch: String,
        /// The commit to keep.
        commit: CommitId,
    },
    /// Publish what this run's outbox held.
    Publish {
        /// The run.
        run: RunId,
    },
    /// Publish what a panel came to, and where its seats differ.
    PublishPanel {
        /// The runs whose ballots decided, in the order of the seats.
        runs: Vec<RunId>,
        /// What the panel came to.
        said: Said,
    },
    /// Publish the question that the stage asks.
    Ask {
        /// The run that asked.
        run: RunId,
    },
    /// Make sure that nothing of this run is alive, then remove its checkout.
    Clear {
        /// The run.
        run: RunId,
    },
    /// Delete the run branch: what was on it has landed.
    DropRunBranch,
}
