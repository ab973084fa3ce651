//! `state.yaml`, version 2: how the machine's memory stands in the file.
//!
//! The file is flat, as people and other tools expect it; the machine's types are not. Both ways between them are
//! here, and a file that says something impossible, such as `phase: verifying` without a candidate, is refused with
//! every fault named.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fallback::Fallback;
use super::fault::Faults;
use super::honesty::FrozenFile;
use super::ids::{CommitId, Identity, Role, RunId, StageId};
use super::notice::Notice;
use super::quantity::{MicroUsd, Tokens};
use super::sleep::Slept;
use super::state::{
    Approval, Ballot, Candidate, Chore, EndStatus, Flight, Gating, Kept, Landing, Life, NextRun, Over, PastRun,
    Pending, Reason, Resume, Seat, Stage, State, Verifying, Work, Working,
};
use super::wait::Wait;

/// The version of `state.yaml` that this program writes.
pub const STATE_VERSION: u32 = 2;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateDoc {
    /// Always 2.
    #[schemars(range(min = 2, max = 2))]
    pub version: u32,
    /// Names this repository on this machine.
    pub repo_id: String,
    /// Ticks since `init`.
    pub tick_count: u64,
    /// When the last tick that changed something ran.
    pub last_tick_at: Option<DateTime<Utc>>,
    /// What the operator is to be told and may not have been told yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// The last sleep of the machine that the ledger told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slept: Option<Slept>,
    /// The stages in the order in which they were queued.
    pub stages: Vec<StageDoc>,
    /// How many stages there are. It stands last and must, so that a file that was cut short between two stages does
    /// not read as a whole one with fewer.
    pub stage_count: usize,
}

/// A stage's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words are the contract")]
pub enum Status {
    Pending,
    InProgress,
    Completed,
    Failed,
    Stalled,
    VerifierFailed,
    Blocked,
    Superseded,
}

/// A stage's phase while it is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words are the contract")]
pub enum Phase {
    Working,
    Gating,
    Verifying,
    Landing,
}

/// What a stage's next worker run takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NextDoc {
    /// A new attempt from the base branch.
    #[default]
    Fresh,
    /// The same attempt again.
    Again,
    /// A new attempt that starts from `resume`.
    Continue,
}

/// A seat of the panel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeatDoc {
    /// Counted from 1; absent outside a panel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Who sits on it.
    pub verifier: Identity,
    /// Not to be started before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// How it voted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote: Option<Ballot>,
}

/// One stage as it stands in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageDoc {
    /// Its name.
    pub id: StageId,
    /// The card's title.
    #[serde(default)]
    pub title: String,
    /// The card's path below the repository's root.
    pub card: String,
    /// The sha256 of the card that the current attempt works from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_sha256: Option<String>,
    /// Its status.
    pub status: Status,
    /// Its phase, while in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// Work failures since it was queued.
    #[serde(default)]
    pub failures: u32,
    /// The rung of its card's ladder that it is on; 0 is the card's own worker.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rung: u32,
    /// How many of its work failures happened on the rungs below.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures_below: u32,
    /// Whose places others have taken, while they wait for their provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Who makes the change.
    pub worker: Identity,
    /// Who judges it.
    pub verifiers: Vec<Identity>,
    /// How many PASS votes it takes.
    #[serde(default = "one")]
    pub quorum: u32,
    /// Why nobody judges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified: Option<String>,
    /// Its contract tests as they were at the base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contract: Vec<FrozenFile>,
    /// The branch that it lands on.
    pub base_branch: String,
    /// The base that the current attempt is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_commit: Option<CommitId>,
    /// What is judged and landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// Runs in flight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Flight>,
    /// The panel, while verifying.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seats: Vec<SeatDoc>,
    /// The gate run that the candidate passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_run: Option<RunId>,
    /// Why the candidate may land.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The landing commit's date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing_at: Option<DateTime<Utc>>,
    /// The landing commit's committer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committer: Option<Identity>,
    /// When the attempt's first run was dispatched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<DateTime<Utc>>,
    /// The commit that landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Why it is as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Not to be started before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// What its next worker run takes up.
    #[serde(default, skip_serializing_if = "is_fresh")]
    pub next: NextDoc,
    /// Earlier work that it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Work that it left, once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Stages that must have landed first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<StageId>,
    /// Paths that no other stage in flight may claim.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_claims: Vec<String>,
    /// Lower goes first.
    #[serde(default)]
    pub priority: i64,
    /// Its place in the queue, besides what its card says.
    #[serde(default, skip_serializing_if = "Wait::is_empty")]
    pub wait: Wait,
    /// Tokens of all its runs.
    pub tokens: Tokens,
    /// Cost of all its runs.
    pub cost_usd: MicroUsd,
    /// Decided and perhaps not yet done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chores: Vec<Chore>,
    /// Its past runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastRun>,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_fresh(next: &NextDoc) -> bool {
    *next == NextDoc::Fresh
}

impl From<&State> for StateDoc {
    fn from(state: &State) -> Self {
        Self { stages: state.stages.iter().map(StageDoc::from).collect(), ..Self::frame(state) }
    }
}

impl StateDoc {
    /// All of it but the stages.
    pub fn frame(state: &State) -> Self {
        Self {
            version: STATE_VERSION,
            repo_id: state.repo_id.clone(),
            tick_count: state.tick_count,
            last_tick_at: state.last_tick_at,
            notices: state.notices.clone(),
            slept: state.slept.clone(),
            stages: Vec::new(),
            stage_count: state.stages.len(),
        }
    }
}

impl From<&Stage> for StageDoc {
    fn from(stage: &Stage) -> Self {
        let mut doc = Self {
            id: stage.id.clone(),
            title: stage.title.clone(),
            card: stage.card.clone(),
            card_sha256: stage.card_sha256.clone(),
            status: Status::InProgress,
            phase: None,
            attempt: stage.attempt,
            failures: stage.failures,
            rung: stage.rung,
            failures_below: stage.failures_below,
            fallback: stage.fallback.clone(),
            worker: stage.worker.clone(),
            verifiers: stage.verifiers.clone(),
            quorum: stage.quorum,
            unverified: stage.unverified.clone(),
            contract: stage.contract.clone(),
            base_branch: stage.base_branch.clone(),
            base_commit: None,
            candidate: None,
            runs: stage.life.flights().into_iter().cloned().collect(),
            seats: Vec::new(),
            gate_run: None,
            approval: None,
            landing_at: None,
            committer: None,
            started_at: None,
            completed_at: None,
            commit: None,
            reason: None,
            not_before: None,
            next: NextDoc::Fresh,
            resume: None,
            kept: None,
            depends_on: stage.depends_on.clone(),
            path_claims: stage.path_claims.clone(),
            priority: stage.priority,
            wait: stage.wait.clone(),
            tokens: stage.tokens,
            cost_usd: stage.cost_usd,
            chores: stage.chores.clone(),
            history: stage.history.clone(),
        };
        doc.write_life(&stage.life);
        doc
    }
}

impl StageDoc {
    fn write_work(&mut self, work: &Work, phase: Phase) {
        self.phase = Some(phase);
        self.base_commit = Some(work.base_commit.clone());
        self.started_at = Some(work.started_at);
    }

    fn write_life(&mut self, life: &Life) {
        match life {
            Life::Pending(pending) => {
                self.status = Status::Pending;
                self.not_before = pending.not_before;
                self.reason.clone_from(&pending.reason);
                (self.next, self.resume) = match &pending.next {
                    NextRun::Fresh => (NextDoc::Fresh, None),
                    NextRun::Again { from } => (NextDoc::Again, from.clone()),
                    NextRun::Continue(resume) => (NextDoc::Continue, Some(resume.clone())),
                };
            }
            Life::Working(working) => {
                self.write_work(&working.work, Phase::Working);
                self.resume.clone_from(&working.resume);
            }
            Life::Gating(gating) => {
                self.write_work(&gating.work, Phase::Gating);
                self.candidate = Some(gating.candidate.clone());
                self.approval.clone_from(&gating.approval);
                self.not_before = gating.not_before;
            }
            Life::Verifying(verifying) => {
                self.write_work(&verifying.work, Phase::Verifying);
                self.candidate = Some(verifying.candidate.clone());
                self.gate_run.clone_from(&verifying.gate);
                self.seats = verifying
                    .seats
                    .iter()
                    .map(|seat| SeatDoc {
                        number: seat.number,
                        verifier: seat.verifier.clone(),
                        not_before: seat.not_before,
                        vote: seat.vote.clone(),
                    })
                    .collect();
            }
            Life::Landing(landing) => {
                self.write_work(&landing.work, Phase::Landing);
                self.candidate = Some(landing.candidate.clone());
                self.approval = Some(landing.approval.clone());
                self.landing_at = Some(landing.decided_at);
                self.committer.clone_from(&landing.committer);
                self.reason.clone_from(&landing.waiting);
            }
            Life::Over(over) => {
                self.status = match over.status {
                    EndStatus::Completed => Status::Completed,
                    EndStatus::Failed => Status::Failed,
                    EndStatus::Stalled => Status::Stalled,
                    EndStatus::VerifierFailed => Status::VerifierFailed,
                    EndStatus::Blocked => Status::Blocked,
                    EndStatus::Superseded => Status::Superseded,
                };
                self.completed_at = Some(over.at);
                self.commit.clone_from(&over.commit);
                self.reason.clone_from(&over.reason);
                self.kept.clone_from(&over.kept);
            }
        }
    }
}

impl StateDoc {
    /// The machine's view of the file, or everything that makes it impossible.
    pub fn into_state(mut self) -> Result<State, Faults> {
        let mut faults = Faults::default();
        if self.version != STATE_VERSION {
            faults.add(None, "/version", format!("{} is not {STATE_VERSION}", self.version));
        }
        if self.stage_count != self.stages.len() {
            let detail = format!("{} is not the number of stages here, {}", self.stage_count, self.stages.len());
            faults.add(None, "/stage_count", detail);
        }
        let mut stages: Vec<Stage> = Vec::with_capacity(self.stages.len());
        for (index, doc) in std::mem::take(&mut self.stages).into_iter().enumerate() {
            let place = format!("/stages/{index}");
            if stages.iter().any(|known| known.id == doc.id) {
                faults.add(None, format!("{place}/id"), format!("`{}` stands here twice", doc.id));
            }
            if let Some(stage) = doc.into_stage(&place, &mut faults) {
                stages.push(stage);
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let Self { repo_id, tick_count, last_tick_at, notices, slept, .. } = self;
        Ok(State { repo_id, tick_count, last_tick_at, stages, notices, slept })
    }
}

/// Takes a field that this status cannot do without.
fn need<T>(value: Option<T>, field: &str, why: &str, place: &str, faults: &mut Faults) -> Option<T> {
    if value.is_none() {
        faults.add(None, format!("{place}/{field}"), format!("is required {why}"));
    }
    value
}

impl StageDoc {
    /// A stage that stands in a file of its own.
    pub fn into_archived(self) -> Result<Stage, Faults> {
        let mut faults = Faults::default();
        let stage = self.into_stage("", &mut faults);
        stage.filter(|_| faults.is_empty()).ok_or(faults)
    }

    fn into_stage(self, place: &str, faults: &mut Faults) -> Option<Stage> {
        for run in &self.runs {
            if run.run.stage != self.id || run.run.attempt != self.attempt || run.run.is_manual() {
                faults.add(None, format!("{place}/runs"), format!("`{}` is not a run of this attempt", run.run));
            }
        }
        if self.quorum == 0 || self.quorum as usize > self.verifiers.len().max(1) {
            faults.add(None, format!("{place}/quorum"), format!("{} of {}", self.quorum, self.verifiers.len()));
        }
        if self.failures_below > self.failures {
            let detail = format!("{} is more than all {} failures", self.failures_below, self.failures);
            faults.add(None, format!("{place}/failures_below"), detail);
        }
        let before = faults.0.len();
        let head = Stage {
            id: self.id.clone(),
            title: self.title.clone(),
            card: self.card.clone(),
            card_sha256: self.card_sha256.clone(),
            worker: self.worker.clone(),
            verifiers: self.verifiers.clone(),
            quorum: self.quorum,
            unverified: self.unverified.clone(),
            contract: self.contract.clone(),
            base_branch: self.base_branch.clone(),
            depends_on: self.depends_on.clone(),
            path_claims: self.path_claims.clone(),
            priority: self.priority,
            wait: self.wait.clone(),
            attempt: self.attempt,
            failures: self.failures,
            rung: self.rung,
            failures_below: self.failures_below,
            fallback: self.fallback.clone(),
            tokens: self.tokens,
            cost_usd: self.cost_usd,
            history: self.history.clone(),
            chores: self.chores.clone(),
            life: Life::Pending(Pending::default()),
        };
        let life = self.into_life(place, faults)?;
        (faults.0.len() == before).then_some(Stage { life, ..head })
    }

    fn into_life(self, place: &str, faults: &mut Faults) -> Option<Life> {
        let status = match self.status {
            Status::InProgress => return self.into_progress(place, faults),
            Status::Pending => {
                if !self.runs.is_empty() {
                    faults.add(None, format!("{place}/runs"), "a pending stage has no runs");
                }
                let next = match (self.next, self.resume) {
                    (NextDoc::Fresh, _) => NextRun::Fresh,
                    (NextDoc::Again, from) => NextRun::Again { from },
                    (NextDoc::Continue, resume) => {
                        NextRun::Continue(need(resume, "resume", "with `next: continue`", place, faults)?)
                    }
                };
                return Some(Life::Pending(Pending { not_before: self.not_before, reason: self.reason, next }));
            }
            Status::Completed => EndStatus::Completed,
            Status::Failed => EndStatus::Failed,
            Status::Stalled => EndStatus::Stalled,
            Status::VerifierFailed => EndStatus::VerifierFailed,
            Status::Blocked => EndStatus::Blocked,
            Status::Superseded => EndStatus::Superseded,
        };
        if !self.runs.is_empty() {
            faults.add(None, format!("{place}/runs"), "a stage that has ended has no runs");
        }
        let at = need(self.completed_at, "completed_at", "for a stage that has ended", place, faults)?;
        Some(Life::Over(Over { status, reason: self.reason, at, commit: self.commit, kept: self.kept }))
    }

    fn into_progress(mut self, place: &str, faults: &mut Faults) -> Option<Life> {
        let why = "while in progress";
        let phase = need(self.phase, "phase", why, place, faults)?;
        let base_commit = need(self.base_commit.take(), "base_commit", why, place, faults)?;
        let started_at = need(self.started_at, "started_at", why, place, faults)?;
        let work = Work { base_commit, started_at };
        let mut runs = std::mem::take(&mut self.runs);
        let life = match phase {
            Phase::Working => {
                let flight = take_run(&mut runs, Role::Worker, None);
                let flight = need(flight, "runs", "to hold the worker's run while working", place, faults)?;
                Life::Working(Working { work, resume: self.resume.take(), flight })
            }
            Phase::Gating => Life::Gating(Gating {
                work,
                candidate: need(self.candidate.take(), "candidate", "while gating", place, faults)?,
                approval: self.approval.take(),
                flight: take_run(&mut runs, Role::Gate, None),
                not_before: self.not_before,
            }),
            Phase::Verifying => {
                if self.seats.is_empty() {
                    faults.add(None, format!("{place}/seats"), "is required while verifying");
                }
                let seats = self.seats.drain(..).map(|seat| Seat {
                    flight: take_run(&mut runs, Role::Verifier, seat.number),
                    number: seat.number,
                    verifier: seat.verifier,
                    not_before: seat.not_before,
                    vote: seat.vote,
                });
                Life::Verifying(Verifying {
                    work,
                    seats: seats.collect(),
                    gate: self.gate_run.take(),
                    candidate: need(self.candidate.take(), "candidate", "while verifying", place, faults)?,
                })
            }
            Phase::Landing => Life::Landing(Landing {
                work,
                candidate: need(self.candidate.take(), "candidate", "while landing", place, faults)?,
                approval: need(self.approval.take(), "approval", "while landing", place, faults)?,
                decided_at: need(self.landing_at, "landing_at", "while landing", place, faults)?,
                committer: self.committer.take(),
                waiting: self.reason.take(),
            }),
        };
        for run in runs {
            faults.add(None, format!("{place}/runs"), format!("`{}` has no place while {}", run.run, life.word()));
        }
        Some(life)
    }
}

fn take_run(runs: &mut Vec<Flight>, role: Role, seat: Option<u32>) -> Option<Flight> {
    let index = runs.iter().position(|flight| flight.run.role == role && flight.run.seat == seat)?;
    Some(runs.remove(index))
}
