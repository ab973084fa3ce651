//! What an operator may say to the machine: each command is checked against the state and either moves it or is
//! refused with the way out. Pure, like `step`.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::budget::{Budget, CapChange, Drain, Halt, HaltReason, SinceLanding};
use super::dependencies;
use super::ids::StageId;
use super::quantity::{MicroUsd, Tokens};
use super::state::{
    Approval, Awaits, EndStatus, Kept, Landing, Life, NextRun, Over, Overlap, Pending, Reason, Resume, Seat, Stage,
    State, Stopping, Verifying, Work,
};
use super::step::{Note, Step};

/// The reason of a change that a person did not let land.
pub const REJECTED: &str = "rejected";

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Queue these stages, all or none.
    AddStages(Vec<Stage>),
    /// Put an ended stage back into the queue.
    Requeue(StageId),
    /// Let a stage in the queue ask for what its card asks for now.
    Refresh(Box<Stage>),
    /// Do not begin a stage of the queue until it is released.
    Hold {
        /// The stage.
        stage: StageId,
        /// Why, in the operator's words; may be empty.
        why: String,
    },
    /// Let a stage go on that is held.
    Release(StageId),
    /// Give a stage of the queue another place in it.
    Move {
        /// The stage.
        stage: StageId,
        /// Where to.
        to: Place,
    },
    /// Close a stage without landing it.
    Skip(StageId),
    /// Stop a stage's runs and end it.
    Cancel(StageId),
    /// Dispatch nothing until `Resume`.
    Halt(String),
    /// Lift halts.
    Resume,
    /// Let a blocked stage go on with the answer that was written for it.
    Answer(StageId),
    /// Let a parked landing go on.
    Approve(StageId),
    /// Do not let a parked change land.
    Reject {
        /// The stage.
        stage: StageId,
        /// Why, in the operator's words.
        why: String,
        /// What becomes of it.
        then: Rejected,
    },
    /// Change caps.
    SetCaps(CapChange),
    /// Let the window's caps be passed by at most these amounts, until a time.
    Drain {
        /// When it ends.
        until: DateTime<Utc>,
        /// Tokens beyond what may be spent, or is spent already.
        tokens: Tokens,
        /// Money, likewise.
        cost_usd: MicroUsd,
    },
    /// End a drain before its time.
    StopDrain,
}

/// A place in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Before all others.
    First,
    /// After all others.
    Last,
    /// Just before this one.
    Before(StageId),
    /// Just after this one.
    After(StageId),
}

/// What becomes of a change that a person does not let land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rejected {
    /// The stage ends; its work is kept.
    Ends,
    /// Its worker goes on from it, with what the person said.
    IsReworked,
}

/// Why a command is refused, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// No such stage.
    #[error("there is no stage {0} in the queue; `autometta status` lists them")]
    Unknown(StageId),
    /// It is in the queue already.
    #[error("{0} is in the queue already, {1}; `autometta requeue {0}` starts it anew once it has ended")]
    Known(StageId, String),
    /// It is not where the command needs it.
    #[error("{stage} is {word}: {way_out}")]
    Wrong {
        /// The stage.
        stage: StageId,
        /// What it is.
        word: String,
        /// What to do instead.
        way_out: String,
    },
    /// A cap is still reached.
    #[error("still over its caps, so nothing was lifted: {0}")]
    StillOver(String),
    /// There is nothing to lift.
    #[error("the repository is not halted and no family is paused")]
    NotHalted,
    /// Dependencies are missing or circular, a sentence each.
    #[error("the queue is unchanged; {}", .0.join("; "))]
    Dependency(Vec<String>),
    /// A drain that would end before it begins.
    #[error("a drain until {} would be over already; give a time that is still to come", .0.format("%Y-%m-%d %H:%M UTC"))]
    DrainIsOver(DateTime<Utc>),
    /// A drain of nothing.
    #[error("a drain needs an amount: `--tokens 5M`, `--cost 10`, or both")]
    DrainOfNothing,
    /// A drain past a cap that there is not.
    #[error("there is no cap on {0}, so there is nothing to let pass; leave that amount out")]
    NoCapToPass(&'static str),
    /// There is no drain.
    #[error("there is no drain; `autometta budget` shows what binds")]
    NoDrain,
}

/// Carries a command out.
pub fn operate(state: &State, budget: &Budget, command: Command, now: DateTime<Utc>) -> Result<Step, Refused> {
    operate_all(state, budget, vec![command], now)
}

/// Carries commands out, all or none.
pub fn operate_all(
    state: &State,
    budget: &Budget,
    commands: Vec<Command>,
    now: DateTime<Utc>,
) -> Result<Step, Refused> {
    let mut desk = Desk { state: state.clone(), budget: budget.clone(), notes: Vec::new(), now };
    for command in commands {
        desk.carry_out(command)?;
    }
    if desk.state != *state {
        desk.state.last_tick_at = Some(now);
    }
    Ok(Step { state: desk.state, budget: desk.budget, effects: Vec::new(), notes: desk.notes })
}

mod line;
mod queued;

pub use queued::queued;

struct Desk {
    state: State,
    budget: Budget,
    notes: Vec<Note>,
    now: DateTime<Utc>,
}

fn wrong(stage: &Stage, way_out: &str) -> Refused {
    Refused::Wrong { stage: stage.id.clone(), word: stage.life.word().to_owned(), way_out: way_out.to_owned() }
}

impl Command {
    /// The stages that it speaks of: those that it is about, and those that they depend on.
    pub fn stages(&self) -> Vec<&StageId> {
        match self {
            Self::AddStages(stages) => stages.iter().flat_map(named).collect(),
            Self::Refresh(stage) => named(stage).collect(),
            Self::Move { stage, to: Place::Before(other) | Place::After(other) } => vec![stage, other],
            Self::Release(id)
            | Self::Requeue(id)
            | Self::Skip(id)
            | Self::Cancel(id)
            | Self::Answer(id)
            | Self::Approve(id) => vec![id],
            Self::Hold { stage, .. } | Self::Move { stage, .. } | Self::Reject { stage, .. } => vec![stage],
            Self::Halt(_) | Self::Resume | Self::SetCaps(_) | Self::Drain { .. } | Self::StopDrain => Vec::new(),
        }
    }
}

/// A stage and what it depends on.
fn named(stage: &Stage) -> impl Iterator<Item = &StageId> {
    std::iter::once(&stage.id).chain(&stage.depends_on)
}

impl Desk {
    fn carry_out(&mut self, command: Command) -> Result<(), Refused> {
        match command {
            Command::AddStages(stages) => self.add(stages),
            Command::Requeue(id) => self.requeue(&id),
            Command::Refresh(fresh) => self.refresh(*fresh),
            Command::Hold { stage, why } => self.hold(&stage, &why),
            Command::Release(id) => self.release(&id),
            Command::Move { stage, to } => self.move_to(&stage, &to),
            Command::Skip(id) => self.skip(&id),
            Command::Cancel(id) => self.cancel(&id),
            Command::Halt(why) => {
                self.halt(why);
                Ok(())
            }
            Command::Resume => self.resume(),
            Command::Answer(id) => self.answer(&id),
            Command::Approve(id) => self.approve(&id),
            Command::Reject { stage, why, then } => self.reject(&stage, &why, then),
            Command::SetCaps(change) => {
                self.set_caps(&change);
                Ok(())
            }
            Command::Drain { until, tokens, cost_usd } => self.drain(until, tokens, cost_usd),
            Command::StopDrain => self.stop_drain(),
        }
    }

    fn find(&mut self, id: &StageId) -> Result<&mut Stage, Refused> {
        self.state.stage_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))
    }

    fn note(&mut self, stage: Option<&StageId>, event: &str, from: Option<String>, to: Option<String>, detail: String) {
        self.notes.push(Note { stage: stage.cloned(), run: None, event: event.to_owned(), from, to, detail });
    }

    fn moves(&mut self, id: &StageId, life: Life, event: &str, detail: &str) -> Result<(), Refused> {
        let stage = self.find(id)?;
        let from = stage.life.word().to_owned();
        let to = life.word().to_owned();
        stage.life = life;
        self.note(Some(id), event, Some(from), Some(to), detail.to_owned());
        Ok(())
    }

    fn add(&mut self, stages: Vec<Stage>) -> Result<(), Refused> {
        let added: Vec<StageId> = stages.iter().map(|stage| stage.id.clone()).collect();
        for stage in stages {
            // Looked up one by one, so that a card that is named twice is refused as well.
            if let Some(known) = self.state.stage(&stage.id) {
                return Err(Refused::Known(stage.id.clone(), known.life.word().to_owned()));
            }
            let id = stage.id.clone();
            self.note(Some(&id), "queued", None, Some("pending".to_owned()), stage.card.clone());
            self.state.stages.push(stage);
        }
        self.check_dependencies(&added, &[])
    }

    fn requeue(&mut self, id: &StageId) -> Result<(), Refused> {
        let stage = self.find(id)?;
        match &stage.life {
            Life::Over(over) if over.status == EndStatus::Completed => {
                if stage.wait.repeat.is_none() {
                    return Err(wrong(stage, "its change has landed; write a new card for more work"));
                }
                let from = stage.life.clone();
                stage.begin_round();
                stage.life = from;
                return self.moves(
                    id,
                    Life::Pending(Pending::default()),
                    "requeued",
                    "an operator began another round",
                );
            }
            Life::Over(_) => {}
            Life::Pending(_) => return Err(wrong(stage, "it is in the queue already")),
            _ => return Err(wrong(stage, "`autometta cancel` stops it first")),
        }
        stage.start_anew();
        self.moves(id, Life::Pending(Pending::default()), "requeued", "an operator put it back into the queue")
    }

    /// What decides when a stage starts: the rest it takes from its card at its dispatch.
    fn refresh(&mut self, fresh: Stage) -> Result<(), Refused> {
        let stage = self.find(&fresh.id)?;
        if !matches!(stage.life, Life::Pending(_)) {
            return Err(wrong(stage, "it is not in the queue"));
        }
        stage.wait.not_before = fresh.wait.not_before;
        stage.wait.set_every(fresh.wait.repeat.as_ref().map(|repeat| repeat.every));
        let id = fresh.id.clone();
        stage.take_over(fresh);
        // One that was closed meanwhile is what its hold says.
        let known: Vec<StageId> = self.state.stages.iter().map(|stage| stage.id.clone()).collect();
        self.check_dependencies(&[id], &known)
    }

    /// Refuses stages whose dependencies can never be met, with everything that is wrong with them.
    fn check_dependencies(&self, of: &[StageId], promised: &[StageId]) -> Result<(), Refused> {
        let faults = dependencies::faults(&self.state, of, promised);
        if faults.is_empty() { Ok(()) } else { Err(Refused::Dependency(faults)) }
    }

    fn skip(&mut self, id: &StageId) -> Result<(), Refused> {
        let now = self.now;
        let stage = self.find(id)?;
        match &stage.life {
            Life::Over(over) if matches!(over.status, EndStatus::Completed | EndStatus::Superseded) => {
                Err(wrong(stage, "there is nothing to close"))
            }
            Life::Working(_) | Life::Gating(_) | Life::Verifying(_) => self.stop(id, Stopping::Skipped),
            Life::Pending(_) | Life::Landing(_) | Life::Over(_) => {
                stage.keep_own_work();
                let reason = Some(Reason::new("skipped", "an operator closed it"));
                let over = Over { status: EndStatus::Superseded, reason, at: now, commit: None, kept: None };
                stage.leave_the_line();
                self.moves(id, Life::Over(over), "skipped", "an operator closed it")
            }
        }
    }

    fn cancel(&mut self, id: &StageId) -> Result<(), Refused> {
        let stage = self.find(id)?;
        match &stage.life {
            Life::Working(_) | Life::Gating(_) | Life::Verifying(_) => self.stop(id, Stopping::Cancelled),
            Life::Pending(_) => Err(wrong(stage, "nothing of it runs; `autometta skip` closes it")),
            Life::Landing(_) => Err(wrong(stage, "it is approved; `autometta skip` closes it without landing it")),
            Life::Over(_) => Err(wrong(stage, "it has ended already")),
        }
    }

    /// Orders the runs of a stage to be stopped; the next tick sees them end. Without runs it ends here.
    fn stop(&mut self, id: &StageId, why: Stopping) -> Result<(), Refused> {
        let now = self.now;
        let stage = self.find(id)?;
        let mut flights = stage.life.flights_mut();
        if !flights.is_empty() {
            for flight in &mut flights {
                flight.stopping = Some(why);
            }
            let word = stage.life.word().to_owned();
            self.note(Some(id), "stopping", Some(word.clone()), Some(word), "an operator said so".to_owned());
            return Ok(());
        }
        stage.keep_own_work();
        let (status, code) = match why {
            Stopping::Skipped => (EndStatus::Superseded, "skipped"),
            Stopping::Cancelled | Stopping::OverTime => (EndStatus::Failed, "cancelled"),
        };
        let reason = Some(Reason::new(code, "an operator said so while none of its runs was in flight"));
        let over = Over { status, reason, at: now, commit: None, kept: None };
        self.moves(id, Life::Over(over), code, "an operator said so")
    }

    fn halt(&mut self, why: String) {
        let is_known = self.budget.halt_reasons.iter().any(|halt| halt.reason == HaltReason::Operator);
        if is_known && why.is_empty() {
            return;
        }
        let detail = if why.is_empty() { "an operator said so; `autometta resume` lifts it".to_owned() } else { why };
        let halts = vec![Halt { reason: HaltReason::Operator, detail: detail.clone() }];
        let before = self.budget.clone();
        self.budget.halt(halts, self.now);
        if self.budget != before {
            self.note(None, "halted", None, None, format!("operator: {detail}"));
        }
    }

    /// Lifts everything that a person may lift. A cap on spend that is still reached stays, and is named.
    fn resume(&mut self) -> Result<(), Refused> {
        if !self.budget.halted && self.budget.waits(self.now).is_empty() {
            return Err(Refused::NotHalted);
        }
        let mut lifted: Vec<&str> = self.budget.halt_reasons.iter().map(|halt| halt.reason.as_str()).collect();
        if lifted.contains(&HaltReason::FailureCap.as_str()) {
            self.budget.consecutive_failures = 0;
        }
        if lifted.contains(&HaltReason::NoProgress.as_str()) {
            self.budget.since_landing = SinceLanding::default();
        }
        let over: Vec<Halt> =
            self.budget.reached_caps().into_iter().filter(|halt| halt.reason.is_spend_cap()).collect();
        let latched = |reason: HaltReason| over.iter().any(|halt| halt.reason == reason);
        let kept: Vec<String> = self
            .budget
            .halt_reasons
            .iter()
            .filter(|halt| latched(halt.reason))
            .map(|halt| format!("{}: {}", halt.reason.as_str(), halt.detail))
            .collect();
        if !kept.is_empty() {
            return Err(Refused::StillOver(kept.join("; ")));
        }
        let waits = self.budget.waits(self.now);
        let pauses: Vec<String> = waits.iter().map(|pause| format!("pause of {}", pause.who())).collect();
        lifted.extend(pauses.iter().map(String::as_str));
        self.budget.deferrals.clear();
        let detail = format!("lifted {}", lifted.join(", "));
        self.budget.halted = false;
        self.budget.halt_reason = None;
        self.budget.halt_reasons.clear();
        self.budget.halted_at = None;
        self.budget.turned_away = None;
        self.budget.pauses.clear();
        self.budget.breakers.clear();
        self.note(None, "resumed", None, None, detail);
        Ok(())
    }

    /// Changes caps. What they turned away before and no longer do is let go; a cap that is reached by now halts at the
    /// next dispatch, and that is said.
    fn set_caps(&mut self, change: &CapChange) {
        let before = self.budget.reached_caps();
        let said = self.budget.set_caps(change, self.now);
        if said.is_empty() {
            return;
        }
        let known = |halt: &Halt| {
            let same = |other: &Halt| other.reason == halt.reason;
            before.iter().any(same) || self.budget.halt_reasons.iter().any(same)
        };
        let reached: Vec<String> = self
            .budget
            .reached_caps()
            .iter()
            .filter(|halt| !known(halt))
            .map(|halt| format!("; {} is reached by that, and the next dispatch halts", halt.reason.as_str()))
            .collect();
        self.note(None, "caps-set", None, None, format!("{}{}", said.join(", "), reached.concat()));
        self.lift_spend_halts();
    }

    fn lift_spend_halts(&mut self) {
        let lifted: Vec<&str> = self.budget.lift_spend_halts().iter().map(|reason| reason.as_str()).collect();
        if !lifted.is_empty() {
            self.note(None, "resumed", None, None, format!("lifted {}", lifted.join(", ")));
        }
    }

    fn drain(&mut self, until: DateTime<Utc>, tokens: Tokens, cost_usd: MicroUsd) -> Result<(), Refused> {
        if until <= self.now {
            return Err(Refused::DrainIsOver(until));
        }
        if tokens.0 == 0 && cost_usd.0 == 0 {
            return Err(Refused::DrainOfNothing);
        }
        if tokens.0 > 0 && self.budget.token_cap_total.is_none() {
            return Err(Refused::NoCapToPass("tokens"));
        }
        if cost_usd.0 > 0 && self.budget.cost_cap_usd.is_none() {
            return Err(Refused::NoCapToPass("cost"));
        }
        let mut more = Vec::new();
        // What is over the cap already is not what was allowed now.
        let mut drain = Drain { since: self.now, until, tokens, cost_usd };
        if tokens.0 > 0 {
            drain.tokens += self.budget.tokens_spent - self.budget.token_cap_total.unwrap_or_default();
            more.push(format!("{tokens} tokens"));
        }
        if cost_usd.0 > 0 {
            drain.cost_usd += self.budget.cost_spent_usd - self.budget.cost_cap_usd.unwrap_or_default();
            more.push(cost_usd.to_string());
        }
        self.budget.drain = Some(drain);
        let until = until.format("%Y-%m-%d %H:%M UTC");
        let detail = format!("at most {} beyond the caps, until {until}", more.join(" and "));
        self.note(None, "drain-begun", None, None, detail);
        self.lift_spend_halts();
        Ok(())
    }

    fn stop_drain(&mut self) -> Result<(), Refused> {
        self.budget.drain.take().ok_or(Refused::NoDrain)?;
        let detail = "an operator said so; the caps bind as they stand".to_owned();
        self.note(None, "drain-ended", None, None, detail);
        Ok(())
    }

    fn answer(&mut self, id: &StageId) -> Result<(), Refused> {
        let stage = self.find(id)?;
        let Life::Over(Over { status: EndStatus::Blocked, kept, .. }) = &stage.life else {
            return Err(wrong(stage, "only a blocked stage waits for an answer"));
        };
        let life = match kept {
            Some(Kept { awaits: Awaits::Merge | Awaits::Approval, .. }) => {
                let way_out = format!("it waits for no answer: `autometta approve {id}` or `autometta reject {id}`");
                return Err(wrong(stage, &way_out));
            }
            Some(kept) if kept.awaits == Awaits::VerifierAnswer => look_again(stage, kept),
            Some(kept) => go_on_from(kept, None),
            None => {
                stage.start_anew();
                Life::Pending(Pending::default())
            }
        };
        self.moves(id, life, "answered", "an operator answered; it goes on with that")
    }

    /// The landing that waits for a person, with the work that it is about.
    fn parked(&mut self, id: &StageId) -> Result<(&mut Stage, Kept), Refused> {
        let stage = self.find(id)?;
        let kept = match &stage.life {
            Life::Over(Over { status: EndStatus::Blocked, kept: Some(kept), .. })
                if matches!(kept.awaits, Awaits::Merge | Awaits::Approval) =>
            {
                kept.clone()
            }
            Life::Over(Over { status: EndStatus::Blocked, .. }) => {
                return Err(wrong(stage, &format!("it asks a question: `autometta answer {id} --text \"…\"`")));
            }
            _ => return Err(wrong(stage, "only a change that is parked waits for a word; see `autometta inbox`")),
        };
        Ok((stage, kept))
    }

    /// A parked change lands after all: as it is, or, where the base changed the same files, as git merges the texts
    /// and the gates then find it.
    fn approve(&mut self, id: &StageId) -> Result<(), Refused> {
        let now = self.now;
        let (stage, kept) = self.parked(id)?;
        let Some(approval) = kept.approval.clone() else {
            let way_out = format!("it was parked by an older autometta: merge autometta/{id} by hand");
            return Err(wrong(stage, &way_out));
        };
        let (overlap, detail) = match kept.awaits {
            Awaits::Merge => (Overlap::Merge, "an operator lets git merge it; the gates judge what comes of it"),
            _ => (approval.overlap, "an operator lets it land"),
        };
        let landing = Landing {
            work: Work { base_commit: kept.base_commit, started_at: kept.started_at },
            candidate: kept.candidate,
            approval: Approval { overlap, ..approval },
            decided_at: now,
            committer: None,
            waiting: None,
        };
        self.moves(id, Life::Landing(landing), "approved-by-operator", detail)
    }

    fn reject(&mut self, id: &StageId, why: &str, then: Rejected) -> Result<(), Refused> {
        let now = self.now;
        let (stage, kept) = self.parked(id)?;
        stage.keep_work(&kept.candidate);
        let reason = Reason::new(REJECTED, why);
        let life = match then {
            Rejected::IsReworked => go_on_from(&kept, Some(reason)),
            Rejected::Ends => {
                let kept = Kept { awaits: Awaits::Nothing, seen_tip: None, approval: None, ..kept };
                Life::Over(Over {
                    status: EndStatus::Failed,
                    reason: Some(reason),
                    at: now,
                    commit: None,
                    kept: Some(kept),
                })
            }
        };
        self.moves(id, life, REJECTED, why)
    }
}

/// The worker goes on from the work that was kept.
fn go_on_from(kept: &Kept, because: Option<Reason>) -> Life {
    let resume = Resume {
        base_commit: kept.base_commit.clone(),
        start: kept.candidate.commit.clone(),
        tree: kept.candidate.tree.clone(),
        evidence: Vec::new(),
        because: because.clone(),
        predecessor: None,
    };
    Life::Pending(Pending { not_before: None, reason: because, next: NextRun::Continue(resume) })
}

/// The verifiers look at the same candidate again; their next runs get new ids from the history.
fn look_again(stage: &Stage, kept: &Kept) -> Life {
    let gate = stage.history.iter().rev().find(|past| past.run.role == super::ids::Role::Gate);
    Life::Verifying(Verifying {
        work: Work { base_commit: kept.base_commit.clone(), started_at: kept.started_at },
        candidate: kept.candidate.clone(),
        gate: gate.map(|past| past.run.clone()),
        seats: Seat::open(&stage.verifiers),
    })
}
