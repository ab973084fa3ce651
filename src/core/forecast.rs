//! Looking ahead: when the queue ends, what it takes until then, and which cap binds first.
//!
//! Everything is made from the pace of the runs before (`core::pace`) and from what stands in the state and the budget.
//! A whole attempt is a worker, the gates and the verifiers. One that does not fit into what is left of a cap, by what
//! it usually takes, is not begun: it would only burn money.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::budget::{Admission, Budget, Halt, HaltReason};
use super::ids::{FamilyName, Identity, Role, StageId};
use super::notice;
use super::observation::Brief;
use super::pace::{FEWEST, Pace};
use super::policy::Policy;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::state::{EndStatus, Life, Over, Pending, Reservation, Stage, State};
use super::step::order;

/// What lies ahead of a queue that goes on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Forecast {
    /// How many stages it is about: those that go on without a person.
    pub stages: usize,
    /// What is expected; none where too little is known.
    pub expected: Option<Expected>,
    /// Of whom too little is known, in words: fewer than three runs.
    pub unknown: Vec<String>,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Expected {
    /// When the last of the stages ends, about.
    pub ends_at: DateTime<Utc>,
    /// Tokens that are yet to be charged, those of runs in flight included.
    pub tokens: Tokens,
    /// Money that is yet to be charged.
    pub cost_usd: MicroUsd,
    /// The first cap that a stage would not fit into any more.
    pub binds: Option<Binding>,
}

/// A cap that will hold a stage back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Binding {
    /// Which cap.
    pub reason: HaltReason,
    /// When, about.
    pub at: DateTime<Utc>,
    /// Which stage it holds back first.
    pub stage: StageId,
}

/// Says of an identity which family serves it.
pub type FamilyOf<'a> = dyn Fn(&Identity) -> Option<FamilyName> + 'a;

/// What one or more runs take; `seconds` adds up what each of them runs, `span` is how long they take together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Take {
    tokens: Tokens,
    cost_usd: MicroUsd,
    seconds: Seconds,
    span: Seconds,
}

impl Take {
    fn of(pace: &Pace) -> Self {
        Self { tokens: pace.tokens, cost_usd: pace.cost_usd, seconds: pace.seconds, span: pace.seconds }
    }

    /// One after the other.
    fn then(self, next: Self) -> Self {
        Self { span: self.span + next.span, ..self.beside(next) }
    }

    /// Both at once.
    fn beside(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            cost_usd: self.cost_usd + other.cost_usd,
            seconds: self.seconds + other.seconds,
            span: self.span.max(other.span),
        }
    }

    /// So many thousandths of it.
    fn times(self, per_1000: u64) -> Self {
        let part = |amount: u64| u64::try_from(u128::from(amount) * u128::from(per_1000) / 1000).unwrap_or(u64::MAX);
        Self {
            tokens: Tokens(part(self.tokens.0)),
            cost_usd: MicroUsd(part(self.cost_usd.0)),
            seconds: Seconds(part(self.seconds.0)),
            span: Seconds(part(self.span.0)),
        }
    }
}

/// What lies ahead; none where nothing goes on by itself.
pub fn of(
    state: &State,
    budget: &Budget,
    policy: &Policy,
    family: &FamilyOf<'_>,
    now: DateTime<Utc>,
) -> Option<Forecast> {
    if budget.halted {
        return None;
    }
    let moving = notice::moving(state);
    if moving.is_empty() {
        return None;
    }
    let mut known = Known { budget, family, unknown: Vec::new() };
    let left: BTreeMap<&StageId, Take> = moving.iter().map(|stage| (&stage.id, known.left(stage, now))).collect();
    let unknown = known.unknown;
    let expected = unknown.is_empty().then(|| play(state, budget, policy, family, &left, now));
    Some(Forecast { stages: moving.len(), expected, unknown })
}

/// What is known of the runs to come.
struct Known<'a> {
    budget: &'a Budget,
    family: &'a FamilyOf<'a>,
    unknown: Vec<String>,
}

impl Known<'_> {
    /// What a run usually takes; nothing, and a note of it, where too little is known.
    fn run(&mut self, role: Role, who: &Identity) -> Take {
        let family = (self.family)(who);
        let pace = self.budget.pace_of(role, family.as_ref()).filter(|_| family.is_some());
        let samples = pace.map_or(0, |pace| pace.samples);
        if samples < FEWEST {
            let family = family.map_or_else(|| who.name().to_owned(), |family| family.to_string());
            let words = format!("{role} {family} ({samples} of {FEWEST} runs)");
            if !self.unknown.contains(&words) {
                self.unknown.push(words);
            }
        }
        pace.map(Take::of).unwrap_or_default()
    }

    /// The gates of a stage: cheap, so that whatever is known will do.
    fn gates(&self) -> Take {
        self.budget.pace_of(Role::Gate, None).map(Take::of).unwrap_or_default()
    }

    fn panel<'b>(&mut self, seats: impl Iterator<Item = &'b Identity>) -> Take {
        seats.fold(Take::default(), |panel, seat| panel.beside(self.run(Role::Verifier, seat)))
    }

    fn attempt(&mut self, stage: &Stage) -> Take {
        let work = self.run(Role::Worker, &stage.worker).then(self.gates());
        work.then(self.panel(stage.verifiers.iter()))
    }

    /// What a stage takes until it ends.
    fn left(&mut self, stage: &Stage, now: DateTime<Utc>) -> Take {
        let rest = match &stage.life {
            Life::Pending(_) => self.attempt(stage),
            Life::Working(working) => {
                let whole = self.attempt(stage);
                let ran = u64::try_from(now.signed_duration_since(working.flight.dispatched_at).num_seconds());
                let ran = Seconds(ran.unwrap_or(0)).min(self.run(Role::Worker, &stage.worker).span);
                Take { span: whole.span - ran, ..whole }
            }
            Life::Gating(gating) if gating.approval.is_some() => self.gates(),
            Life::Gating(_) => {
                let gates = self.gates();
                gates.then(self.panel(stage.verifiers.iter()))
            }
            Life::Verifying(verifying) => {
                let open = verifying.seats.iter().filter(|seat| seat.vote.is_none());
                self.panel(open.map(|seat| &seat.verifier))
            }
            Life::Landing(_) | Life::Over(_) => return Take::default(),
        };
        if stage.failures > 0 {
            return rest;
        }
        let again = self.budget.attempts.usual_per_1000().saturating_sub(1000);
        rest.then(self.attempt(stage).times(again))
    }
}

/// Plays the queue through: as many stages at once as may be, each as soon as it can begin.
fn play(
    state: &State,
    budget: &Budget,
    policy: &Policy,
    family: &FamilyOf<'_>,
    left: &BTreeMap<&StageId, Take>,
    now: DateTime<Utc>,
) -> Expected {
    let mut free = vec![now; policy.max_parallel.max(1)];
    let mut ends: BTreeMap<&StageId, DateTime<Utc>> = BTreeMap::new();
    let mut total = Take::default();
    let mut binds = None;
    for stage in state.stages.iter().filter(|stage| stage.life.is_in_progress()) {
        let Some(take) = left.get(&stage.id) else { continue };
        total = total.beside(*take);
        let end = later(now, take.span);
        ends.insert(&stage.id, end);
        if let Some(slot) = free.iter_mut().min() {
            *slot = end;
        }
    }
    let mut waiting: Vec<&Stage> = order(&state.stages)
        .into_iter()
        .filter_map(|index| state.stages.get(index))
        .filter(|stage| left.contains_key(&stage.id))
        .collect();
    while !waiting.is_empty() {
        let Some(slot) = free.iter().copied().min() else { break };
        let starts = waiting.iter().enumerate().filter_map(|(place, stage)| {
            let begin = begin(budget, family, left, &ends, stage, slot, now)?;
            Some((begin, place))
        });
        // Those that stand behind one another, which no queue does, would never begin.
        let Some((begin, place)) = soonest(starts, slot) else { break };
        let stage = waiting.remove(place);
        let take = left.get(&stage.id).copied().unwrap_or_default();
        if binds.is_none() {
            binds =
                over(budget, total.beside(take)).map(|reason| Binding { reason, at: begin, stage: stage.id.clone() });
        }
        total = total.beside(take);
        let end = later(begin, take.span);
        ends.insert(&stage.id, end);
        if let Some(earliest) = free.iter_mut().min() {
            *earliest = end;
        }
    }
    let ends_at = ends.values().max().copied().unwrap_or(now);
    Expected { ends_at, tokens: total.tokens, cost_usd: total.cost_usd, binds }
}

/// The first that begins soonest; no stage begins before there is a place for it.
fn soonest(
    starts: impl Iterator<Item = (DateTime<Utc>, usize)>,
    slot: DateTime<Utc>,
) -> Option<(DateTime<Utc>, usize)> {
    let mut best: Option<(DateTime<Utc>, usize)> = None;
    for start in starts {
        if best.is_none_or(|best| start.0 < best.0) {
            best = Some(start);
        }
        if start.0 <= slot {
            break;
        }
    }
    best
}

/// When a pending stage can begin at the soonest; none while it is not known when a stage before it ends.
fn begin(
    budget: &Budget,
    family: &FamilyOf<'_>,
    left: &BTreeMap<&StageId, Take>,
    ends: &BTreeMap<&StageId, DateTime<Utc>>,
    stage: &Stage,
    slot: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let Life::Pending(Pending { not_before, .. }) = &stage.life else { return None };
    if stage.wait.held.is_some() {
        return None;
    }
    let mut begin = slot.max(not_before.unwrap_or(slot)).max(stage.wait.not_before.unwrap_or(slot));
    for needed in &stage.depends_on {
        begin = begin.max(if left.contains_key(needed) { *ends.get(needed)? } else { slot });
    }
    if budget.waits(now).is_empty() {
        return Some(begin);
    }
    let pause = family(&stage.worker).and_then(|family| Some(budget.paused(&family, None, now)?.until));
    Some(begin.max(pause.unwrap_or(begin)))
}

/// The first cap that is passed once so much more is spent.
fn over(budget: &Budget, more: Take) -> Option<HaltReason> {
    let passes = |spent: u64, more: u64, cap: Option<u64>| cap.is_some_and(|cap| spent.saturating_add(more) > cap);
    let caps = [
        (HaltReason::TokenCap, passes(budget.tokens_spent.0, more.tokens.0, budget.token_cap_total.map(|cap| cap.0))),
        (HaltReason::CostCap, passes(budget.cost_spent_usd.0, more.cost_usd.0, budget.cost_cap_usd.map(|cap| cap.0))),
        (
            HaltReason::WallClockCap,
            passes(budget.wall_clock_elapsed_seconds.0, more.seconds.0, budget.wall_clock_cap_seconds.map(|cap| cap.0)),
        ),
    ];
    caps.into_iter().find(|(_, passed)| *passed).map(|(reason, _)| reason)
}

fn later(from: DateTime<Utc>, span: Seconds) -> DateTime<Utc> {
    let span = i64::try_from(span.0).ok().and_then(TimeDelta::try_seconds);
    span.and_then(|span| from.checked_add_signed(span)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A whole attempt that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// What it usually takes.
    pub whole: Reservation,
    /// The caps that are in its way.
    pub halts: Vec<Halt>,
}

/// Why a stage whose next worker may start had better not: the caps that a whole attempt does not fit into, by what it
/// usually takes. None where it fits, where too little is known, and where even the worker alone is not admitted.
pub fn shortfall(budget: &Budget, brief: &Brief) -> Option<Shortfall> {
    let ask = brief.reservation(budget, &brief.worker.identity, Role::Worker, brief.worker_caps);
    if budget.admits(&ask) != Admission::Fits {
        return None;
    }
    let worker = (Role::Worker, &brief.worker.family, Some(ask));
    let seats = brief.verifiers.iter().enumerate().map(|(index, seat)| {
        let set = brief.verifier_caps.get(index).copied();
        let most = set.map(|set| brief.reservation(budget, &seat.identity, Role::Verifier, set));
        (Role::Verifier, &seat.family, most)
    });
    short(budget, std::iter::once(worker).chain(seats))
}

/// Whether there is one still where the window moves on for it.
pub fn is_short(budget: &Budget, brief: &Brief, local_midnight: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    let Some(short) = shortfall(budget, brief) else { return false };
    let mut next = budget.clone();
    !next.roll(&short.whole, local_midnight, now) || shortfall(&next, brief).is_some()
}

/// The caps that are in the way by what the state tells alone, for people who look: what card and manifest limit is not known here.
pub fn shortfall_of(budget: &Budget, stage: &Stage, family: &FamilyOf<'_>) -> Vec<Halt> {
    let Some(worker) = family(&stage.worker) else { return Vec::new() };
    let seats: Vec<FamilyName> = stage.verifiers.iter().filter_map(family).collect();
    let seats = seats.iter().map(|seat| (Role::Verifier, seat, None));
    short(budget, std::iter::once((Role::Worker, &worker, None)).chain(seats))
        .map(|short| short.halts)
        .unwrap_or_default()
}

/// The caps that these runs do not fit into together, by what each usually takes and within what it may take at most.
fn short<'a>(
    budget: &Budget,
    runs: impl Iterator<Item = (Role, &'a FamilyName, Option<Reservation>)>,
) -> Option<Shortfall> {
    let gates = budget.pace_of(Role::Gate, None).map_or(Seconds(0), |pace| pace.seconds);
    let mut whole = Reservation { seconds: gates, ..Reservation::default() };
    for (role, family, most) in runs {
        let Some(pace) = budget.pace_of(role, Some(family)).filter(|pace| pace.samples >= FEWEST) else {
            if role == Role::Worker {
                return None;
            }
            continue;
        };
        whole.tokens += most.map_or(pace.tokens, |most| pace.tokens.min(most.tokens));
        whole.cost_usd += most.map_or(pace.cost_usd, |most| pace.cost_usd.min(most.cost_usd));
        whole.seconds += most.map_or(pace.seconds, |most| pace.seconds.min(most.seconds));
    }
    let (Admission::Later(halts) | Admission::Over(halts)) = budget.admits(&whole) else { return None };
    let spent =
        |halt: &Halt| matches!(halt.reason, HaltReason::TokenCap | HaltReason::CostCap | HaltReason::WallClockCap);
    let detail = |halt: Halt| Halt {
        detail: format!(
            "a whole attempt usually takes {} tokens, {} and {} with its verifiers, which does not fit: {}",
            whole.tokens, whole.cost_usd, whole.seconds, halt.detail
        ),
        ..halt
    };
    let halts: Vec<Halt> = halts.into_iter().filter(spent).map(detail).collect();
    (!halts.is_empty()).then_some(Shortfall { whole, halts })
}

/// Counts the attempts of stages that have ended since: by their work, not by a person's decision.
pub fn count_attempts(budget: &mut Budget, before: &State, after: &State) {
    for (before, after) in before.stages.iter().zip(&after.stages) {
        let Life::Over(Over { status, .. }) = &after.life else { continue };
        if before.id != after.id || matches!(before.life, Life::Over(_)) {
            continue;
        }
        match status {
            EndStatus::Completed => budget.attempts.add(after.failures.saturating_add(1)),
            EndStatus::Failed | EndStatus::Stalled | EndStatus::VerifierFailed => budget.attempts.add(after.failures),
            EndStatus::Blocked | EndStatus::Superseded => {}
        }
    }
}

#[cfg(test)]
mod tests;
