//! What one step carries with it: the budget as it becomes, the effects and notes so far, and the moves that every
//! phase shares.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::afford::Held;
use super::{Effect, Note, Step};
use crate::core::budget::{Budget, Change, Halt, HaltReason};
use crate::core::exit::{EndedBy, Usage};
use crate::core::forecast;
use crate::core::ids::{FamilyName, Role, RunId, StageId};
use crate::core::notice::{self, Notice, NoticeKey, NoticeKind};
use crate::core::observation::{Captured, Observation};
use crate::core::outcome::Health;
use crate::core::policy::Policy;
use crate::core::quantity::Seconds;
use crate::core::state::{
    Candidate, Chore, EndStatus, Flight, Kept, Life, NextRun, Over, PastRun, Pending, Reason, Reservation, Resume,
    RunOutcome, Stage, State, Work,
};

/// One step under way.
pub(super) struct Turn<'a> {
    pub(super) budget: Budget,
    pub(super) seen: &'a Observation,
    pub(super) policy: &'a Policy,
    pub(super) now: DateTime<Utc>,
    pub(super) held: Vec<Held>,
    /// How far the runs in flight may pass what is set aside for them, by the turns in which they are stopped.
    pub(super) beyond: Reservation,
    /// Workers and verifiers in flight.
    pub(super) agents: u64,
    /// How many runs of each family that has a limit are in flight.
    flying: BTreeMap<FamilyName, usize>,
    stops: Vec<Effect>,
    lands: Vec<Effect>,
    launches: Vec<Effect>,
    notes: Vec<Note>,
    notices: Vec<Notice>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(budget: Budget, seen: &'a Observation, policy: &'a Policy, now: DateTime<Utc>) -> Self {
        Self {
            budget,
            seen,
            policy,
            now,
            held: Vec::new(),
            beyond: Reservation::default(),
            agents: 0,
            flying: BTreeMap::new(),
            stops: Vec::new(),
            lands: Vec::new(),
            launches: Vec::new(),
            notes: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Closes the step: counts the tick when it did work, and puts the effects into the order in which they are safe:
    /// what must stop, what must be kept or cleared, what lands, what starts.
    pub(super) fn finish(mut self, before: &State, before_budget: &Budget, mut state: State) -> Step {
        if !self.notes.is_empty() {
            self.budget.count_tick(self.now);
        }
        forecast::count_attempts(&mut self.budget, before, &state);
        // Without a note nothing has happened that could have been the last thing.
        if !self.notes.is_empty() && notice::goes_on(before, before_budget) && !notice::goes_on(&state, &self.budget) {
            let message = notice::night_end(&state, &self.budget);
            self.tell(None, NoticeKind::NightEnd, message);
        }
        state.notices.append(&mut self.notices);
        if state != *before {
            state.last_tick_at = Some(self.now);
        }
        let mut effects = self.stops;
        for stage in &state.stages {
            let (clear, keep): (Vec<_>, Vec<_>) =
                stage.chores.iter().cloned().partition(|chore| matches!(chore, Chore::Clear { .. }));
            let chores = keep.into_iter().chain(clear);
            effects.extend(chores.map(|chore| Effect::Chore { stage: stage.id.clone(), chore }));
        }
        effects.extend(self.lands);
        effects.extend(self.launches);
        effects.extend(state.notices.iter().map(|notice| Effect::Tell { key: notice.key.clone() }));
        Step { state, budget: self.budget, effects, notes: self.notes }
    }

    /// Counts the runs in flight of families that have a limit.
    pub(super) fn count_families(&mut self, stages: &[Stage]) {
        self.flying.clear();
        if self.policy.family_parallel.is_empty() {
            return;
        }
        for flight in stages.iter().flat_map(|stage| stage.life.flights()) {
            self.flies(flight.family.as_ref());
        }
    }

    /// Counts a run that is in flight from now on.
    pub(super) fn flies(&mut self, family: Option<&FamilyName>) {
        if let Some(family) = family.filter(|family| self.policy.family_parallel.contains_key(*family)) {
            *self.flying.entry(family.clone()).or_default() += 1;
        }
    }

    /// Whether a family has as many runs in flight as it may, with so many more.
    pub(super) fn is_full(&self, family: &FamilyName, more: usize) -> bool {
        let flying = self.flying.get(family).copied().unwrap_or_default();
        self.policy.family_parallel.get(family).is_some_and(|most| flying + more >= *most)
    }

    /// Orders the operator to be told.
    pub(super) fn tell(&mut self, stage: Option<&StageId>, kind: NoticeKind, message: String) {
        if !self.policy.tells.contains(&kind) {
            return;
        }
        let key = NoticeKey::new(self.now, self.notices.len());
        self.notices.push(Notice { key, kind, stage: stage.cloned(), message });
    }

    /// What was taken up is forgotten.
    pub(super) fn drop_told(&mut self, notices: &mut Vec<Notice>) {
        notices.retain(|notice| !self.seen.told.contains(&notice.key));
    }

    pub(super) fn stop(&mut self, effect: Effect) {
        self.stops.push(effect);
    }

    pub(super) fn land(&mut self, stage: &Stage) {
        self.lands.push(Effect::Land { stage: stage.id.clone() });
    }

    pub(super) fn launch(&mut self, run: &RunId) {
        self.launches.push(Effect::Launch { run: run.clone() });
    }

    /// Notes something about a stage that stays where it is.
    pub(super) fn note(&mut self, stage: &StageId, run: Option<&RunId>, event: &str, detail: impl Into<String>) {
        self.notes.push(Note {
            stage: Some(stage.clone()),
            run: run.cloned(),
            event: event.to_owned(),
            from: None,
            to: None,
            detail: detail.into(),
        });
    }

    /// Notes something that is about no single stage.
    pub(super) fn note_all(&mut self, event: &str, detail: String) {
        self.notes.push(Note { stage: None, run: None, event: event.to_owned(), from: None, to: None, detail });
    }

    /// Moves a stage and notes the move.
    pub(super) fn moves(
        &mut self,
        stage: &mut Stage,
        life: Life,
        run: Option<&RunId>,
        event: &str,
        detail: impl Into<String>,
    ) {
        let from = stage.life.word().to_owned();
        stage.life = life;
        self.notes.push(Note {
            stage: Some(stage.id.clone()),
            run: run.cloned(),
            event: event.to_owned(),
            from: Some(from),
            to: Some(stage.life.word().to_owned()),
            detail: detail.into(),
        });
    }

    /// Latches a halt, and notes it when it is news.
    pub(super) fn halt(&mut self, halts: Vec<Halt>) {
        let words: Vec<String> =
            halts.iter().map(|halt| format!("{}: {}", halt.reason.as_str(), halt.detail)).collect();
        if self.budget.halt(halts, self.now) {
            self.notes.push(Note {
                stage: None,
                run: None,
                event: "halted".to_owned(),
                from: None,
                to: None,
                detail: words.join("; "),
            });
            let message = format!("halted, nothing is dispatched until `autometta resume`: {}", words.join("; "));
            self.tell(None, NoticeKind::Halt, message);
        }
    }

    /// Notes what has become of a family's breaker.
    fn breaker(&mut self, run: Option<&RunId>, change: Option<Change>) {
        if let Some((event, detail)) = change {
            let (stage, run) = (run.map(|run| run.stage.clone()), run.cloned());
            self.notes.push(Note { stage, run, event: event.to_owned(), from: None, to: None, detail });
        }
    }

    /// Lets a run that was dispatched be its family's probe, where one is wanted.
    pub(super) fn probe(&mut self, flight: &Flight) {
        if let Some(family) = &flight.family {
            let change = self.budget.probe_with(family, &flight.run, self.policy.breaker, self.now);
            self.breaker(Some(&flight.run), change);
        }
    }

    /// Takes in what a run's end says about its provider. Only what calls a model has one.
    pub(super) fn weigh(&mut self, flight: &Flight, health: Health) {
        let Some(family) = flight.family.as_ref().filter(|_| flight.model.is_some()) else { return };
        let (run, policy) = (&flight.run, self.policy.breaker);
        let change = match health {
            Health::Answers => self.budget.provider_answered(run),
            Health::Fails(words) => self.budget.provider_failed(family, run, &words, policy, self.now),
            Health::Untold => {
                self.budget.provider_untold(run, self.now);
                None
            }
        };
        self.breaker(Some(run), change);
    }

    /// Pauses that are over are forgotten, and breakers age.
    pub(super) fn end_pauses(&mut self) {
        self.budget.bound_waits(self.now);
        for change in self.budget.age_breakers(self.policy.breaker, self.now) {
            self.breaker(None, Some(change));
        }
        let now = self.now;
        let (over, on): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.budget.pauses).into_iter().partition(|p| p.until <= now);
        self.budget.pauses = on;
        for pause in over {
            self.notes.push(Note {
                stage: None,
                run: None,
                event: "pause-ended".to_owned(),
                from: None,
                to: None,
                detail: format!("{} may be asked again", pause.who()),
            });
        }
    }

    /// A drain that is over is forgotten.
    pub(super) fn end_drain(&mut self) {
        let Some(why) = self.budget.drain_is_over(self.now) else { return };
        self.budget.drain = None;
        self.note_all("drain-ended", format!("{why}; the caps bind as they stand"));
    }

    /// Lets the window move on where a cap on spend is in the way of what this run would take, and lifts the halts that
    /// no longer hold. True where it has moved.
    pub(super) fn roll_window(&mut self, ask: &Reservation) -> bool {
        if !self.budget.roll(ask, self.seen.local_midnight, self.now) {
            return false;
        }
        let of_now = self.budget.breaches.iter().filter(|breach| breach.at == self.now);
        let reasons: Vec<&str> = of_now.map(|breach| breach.reason.as_str()).collect();
        let detail = format!(
            "{} was in the way; the window ({}) begins {} now, with {} tokens and {} spent",
            reasons.join(", "),
            self.budget.window,
            self.budget.window_started_at.unwrap_or(self.now).format("%Y-%m-%d %H:%M UTC"),
            self.budget.tokens_spent,
            self.budget.cost_spent_usd
        );
        self.note_all("window-rolled", detail);
        let lifted: Vec<&str> = self.budget.lift_spend_halts().iter().map(|reason| reason.as_str()).collect();
        if !lifted.is_empty() {
            self.note_all("resumed", format!("lifted {}: a new window has begun", lifted.join(", ")));
        }
        true
    }

    /// Lets the window move on for what a cap on spend has turned away.
    pub(super) fn roll_for_turned_away(&mut self) {
        if self.budget.halted && self.budget.halt_reasons.iter().any(|halt| halt.reason.is_spend_cap()) {
            let ask = self.budget.turned_away.unwrap_or_default();
            self.roll_window(&ask);
        }
    }

    pub(super) fn drop_done_chores(&mut self, stage: &mut Stage) {
        if let Some(done) = self.seen.done.get(&stage.id) {
            stage.chores.retain(|chore| !done.contains(chore));
        }
    }

    /// Takes a run out of flight: turns its reservation into spend and writes its line of history. The one place where
    /// a run is charged.
    pub(super) fn settle(
        &mut self,
        stage: &mut Stage,
        flight: &Flight,
        outcome: RunOutcome,
        ended_by: Option<EndedBy>,
        usage: &Usage,
        elapsed: Seconds,
    ) {
        let charge = self.budget.settle(&flight.reserved, usage, elapsed, self.now);
        self.budget.learn(flight.run.role, flight.family.as_ref(), outcome, usage, charge.cost_usd, elapsed);
        stage.tokens += charge.tokens;
        stage.cost_usd += charge.cost_usd;
        stage.history.push(PastRun {
            run: flight.run.clone(),
            identity: flight.identity.clone(),
            model: flight.model.clone(),
            outcome,
            ended_by,
            at: self.now,
            tokens: charge.tokens,
            cost_usd: charge.cost_usd,
            seconds: elapsed,
            usage_unknown: charge.unknown,
        });
    }

    /// Ends a stage by a person's decision, which says nothing about how the machine is doing.
    pub(super) fn close(&mut self, stage: &mut Stage, status: EndStatus, reason: Reason, run: &RunId) {
        let (event, detail) = (reason.code.clone(), reason.detail.clone());
        let over = Over { status, reason: Some(reason), at: self.now, commit: None, kept: None };
        self.moves(stage, Life::Over(over), Some(run), &event, detail);
    }

    /// Ends a stage.
    pub(super) fn end(
        &mut self,
        stage: &mut Stage,
        status: EndStatus,
        reason: Reason,
        kept: Option<Kept>,
        run: Option<&RunId>,
    ) {
        if status.is_failure() {
            self.budget.consecutive_failures += 1;
        }
        let (event, detail) = (reason.code.clone(), reason.detail.clone());
        let over = Over { status, reason: Some(reason), at: self.now, commit: None, kept };
        if let Some((kind, message)) = notice::of_ending(stage, &over) {
            self.tell(Some(&stage.id), kind, message);
        }
        self.moves(stage, Life::Over(over), run, &event, detail);
        if status.is_failure()
            && let Some(cap) = self.budget.consecutive_failure_cap
            && cap > 0
            && self.budget.consecutive_failures >= cap
        {
            let detail = format!(
                "{} stages in a row failed, the cap is {cap}; look at `autometta status`, then `autometta resume`",
                self.budget.consecutive_failures
            );
            self.halt(vec![Halt { reason: HaltReason::FailureCap, detail }]);
        }
    }

    /// A work failure: the worker is briefed again with the evidence while the policy allows it on this rung, else the
    /// next rung takes over, else the stage ends.
    pub(super) fn work_failure(&mut self, stage: &mut Stage, failure: WorkFailure) {
        stage.keep_work(&failure.candidate);
        let tries = stage.failures.saturating_sub(stage.failures_below) + 1;
        if tries > self.policy.work_retries {
            self.climb_or_end(stage, failure);
            // A climb has counted it; the end that comes instead of one counts as well.
            if matches!(stage.life, Life::Over(_)) {
                stage.failures += 1;
            }
            return;
        }
        stage.failures += 1;
        self.go_on_from(stage, failure, None);
    }

    /// Puts a stage back into the queue, to go on from the candidate that failed; `predecessor` is the run of another
    /// worker that made it.
    pub(super) fn go_on_from(&mut self, stage: &mut Stage, failure: WorkFailure, predecessor: Option<RunId>) {
        let WorkFailure { reason, work, candidate, evidence, run, .. } = failure;
        let resume = Resume {
            base_commit: work.base_commit,
            start: candidate.commit,
            tree: candidate.tree,
            evidence,
            because: Some(reason.clone()),
            predecessor,
        };
        let (event, detail) = (reason.code.clone(), reason.detail.clone());
        let pending = Pending { not_before: None, reason: Some(reason), next: NextRun::Continue(resume) };
        self.moves(stage, Life::Pending(pending), Some(&run), &event, detail);
    }

    /// Keeps what a run that failed has left, where it left anything new.
    pub(super) fn keep_capture(stage: &mut Stage, captured: &Captured, resume: Option<&Resume>) {
        let new = resume.map_or(!captured.changed.is_empty(), |resume| resume.tree != captured.candidate.tree);
        if new {
            stage.keep_work(&captured.candidate);
        }
    }

    /// Whether a run of this role and seat may be tried again after an infrastructure failure.
    pub(super) fn may_retry(&self, stage: &Stage, role: Role, seat: Option<u32>) -> bool {
        stage.infrastructure_failures(role, seat) <= self.policy.infrastructure_retries
    }
}

/// A work failure with all that goes into the next brief.
pub(super) struct WorkFailure {
    pub(super) status: EndStatus,
    pub(super) reason: Reason,
    pub(super) work: Work,
    pub(super) candidate: Candidate,
    pub(super) evidence: Vec<RunId>,
    pub(super) run: RunId,
}

/// Work that an ended stage leaves.
pub(super) fn keep(work: &Work, candidate: Candidate, awaits: crate::core::state::Awaits) -> Kept {
    Kept {
        base_commit: work.base_commit.clone(),
        candidate,
        started_at: work.started_at,
        awaits,
        seen_tip: None,
        approval: None,
    }
}
