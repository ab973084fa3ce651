//! The queue: what holds a pending stage back, in which order stages go, and how none of them starves.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::dispatch::Hold;
use super::turn::Turn;
use crate::core::budget::Budget;
use crate::core::dependencies::{self, Web};
use crate::core::ids::FamilyName;
use crate::core::policy::Policy;
use crate::core::state::{Life, Stage};
use crate::core::wait::{Foundation, MOST_PASSES};
use crate::core::words::list;

/// Why a pending stage is held back by what the state and the budget alone can tell; for `status`.
pub fn hold(state: &[Stage], stage: &Stage, budget: &Budget, policy: &Policy, now: DateTime<Utc>) -> Option<Hold> {
    hold_in(&Web::of(state), state, stage, budget, policy, now)
}

/// The same for many stages of one state.
pub fn hold_in(
    web: &Web,
    state: &[Stage],
    stage: &Stage,
    budget: &Budget,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Option<Hold> {
    let held = own_hold(web, state, stage, budget, now).or_else(|| claimed(state, stage));
    if held.is_some() {
        return held;
    }
    if let Life::Pending(_) = &stage.life {
        if let Some(held) = reserved(web, state, stage, budget, now) {
            return Some(held);
        }
        if let Some(until) = policy.local.curfew_end(now) {
            return Some(Hold::Curfew(until));
        }
        let waits = |other: &Stage| matches!(&other.life, Life::Landing(landing) if landing.waiting.is_some());
        let is_busy = |other: &&Stage| other.id != stage.id && other.life.is_in_progress() && !waits(other);
        let busy = state.iter().filter(is_busy).count();
        return (busy >= policy.max_parallel).then_some(Hold::Parallel(policy.max_parallel));
    }
    None
}

/// What holds a pending stage back besides the other stages under way.
fn own_hold(web: &Web, state: &[Stage], stage: &Stage, budget: &Budget, now: DateTime<Utc>) -> Option<Hold> {
    let Life::Pending(pending) = &stage.life else { return None };
    if budget.halted {
        return Some(Hold::Halted);
    }
    if let Some(held) = &stage.wait.held {
        return Some(Hold::Held(held.why.clone()));
    }
    if let Some(at) = pending.not_before
        && put_off(Some(at), now)
    {
        return Some(Hold::NotBefore(at));
    }
    if let Some(at) = stage.wait.not_before.filter(|at| *at > now) {
        return Some(Hold::Scheduled(at));
    }
    if let Some(circle) = web.circle_of(state, &stage.id) {
        return Some(Hold::Circle(circle));
    }
    for needed in &stage.depends_on {
        let other = web.find(state, needed).or_else(|| state.iter().find(|other| other.id == *needed));
        if other.and_then(dependencies::landed).is_none() {
            return Some(Hold::Dependency(needed.clone(), dependencies::why_not(needed, other)));
        }
    }
    dependencies::elsewhere(state, stage)
        .map(|(needed, commit)| Hold::Elsewhere(needed.clone(), commit.clone(), stage.base_branch.clone()))
}

/// A stage in progress that claims a path of a pending one.
fn claimed(state: &[Stage], stage: &Stage) -> Option<Hold> {
    if !matches!(stage.life, Life::Pending(_)) {
        return None;
    }
    for other in state.iter().filter(|other| other.id != stage.id && other.life.is_in_progress()) {
        if let Some(path) = common_claim(stage, other) {
            return Some(Hold::Claim(other.id.clone(), path));
        }
    }
    None
}

/// A stage that goes before this one, has waited long enough, and waits for nothing but a path that is claimed: what it
/// claims itself is kept free for it.
fn reserved(web: &Web, state: &[Stage], stage: &Stage, budget: &Budget, now: DateTime<Utc>) -> Option<Hold> {
    let enough = |other: &Stage| matches!(other.life, Life::Pending(_)) && other.wait.has_waited_enough();
    if !state.iter().any(enough) {
        return None;
    }
    let own = state.iter().position(|other| other.id == stage.id)?;
    let before = |place: usize| place != own && rank(place, &state[place]) < rank(own, stage);
    state.iter().enumerate().filter(|(place, other)| enough(other) && before(*place)).find_map(|(_, other)| {
        let path = common_claim(stage, other)?;
        let waits_for_a_path = own_hold(web, state, other, budget, now).is_none() && claimed(state, other).is_some();
        waits_for_a_path.then(|| Hold::Reserved(other.id.clone(), path))
    })
}

/// How many runs of a family may be in flight, where as many are.
pub fn crowd(stages: &[Stage], policy: &Policy, family: &FamilyName) -> Option<usize> {
    let most = *policy.family_parallel.get(family)?;
    let flights = stages.iter().flat_map(|stage| stage.life.flights());
    (flights.filter(|flight| flight.family.as_ref() == Some(family)).count() >= most).then_some(most)
}

/// A path that both stages claim: the same path, or a folder of one above a path of the other.
pub fn common_claim(one: &Stage, other: &Stage) -> Option<String> {
    let above = |folder: &str, path: &str| {
        let folder = folder.trim_end_matches('/');
        path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    one.path_claims
        .iter()
        .find(|mine| {
            let mine = mine.trim_end_matches('/');
            other.path_claims.iter().any(|theirs| above(theirs, mine) || above(mine, theirs.trim_end_matches('/')))
        })
        .cloned()
}

/// Nothing is put off for as long as a day, unless the clock was set back since.
pub(super) fn put_off(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    at.is_some_and(|at| at > now && at.signed_duration_since(now) <= TimeDelta::days(1))
}

/// What was found of dependencies in bases is remembered until the stage starts, so that nobody looks twice.
pub(super) fn take_foundations(turn: &mut Turn, stages: &mut [Stage]) {
    let seen = turn.seen;
    for stage in stages.iter_mut().filter(|stage| matches!(stage.life, Life::Pending(_))) {
        let Some(found) = seen.foundations.get(&stage.id) else { continue };
        let missed = |found: Option<&Foundation>| found.map(|found| found.missing.clone()).unwrap_or_default();
        let missing = missed(Some(found));
        if !missing.is_empty() && missed(stage.wait.foundation.as_ref()) != missing {
            let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let detail = format!("{} landed, and not in {}", list(&names), stage.base_branch);
            turn.note(&stage.id, None, "not-in-base", detail);
        }
        stage.wait.foundation = Some(found.clone());
    }
}

/// What has become of the pending stages in one dispatch, by their places.
#[derive(Debug, Default)]
pub(super) struct Passing {
    /// Those that began.
    pub(super) started: Vec<usize>,
    /// Those whose turn it was, and that could not start for reasons that are not the queue's.
    pub(super) unready: BTreeSet<usize>,
    /// Those whose family has as many runs in flight as it may.
    pub(super) crowded: BTreeSet<usize>,
}

impl Passing {
    /// Counts for each stage that waits for nothing but its turn how many that were queued later have just started.
    pub(super) fn count(&self, turn: &Turn, web: &Web, stages: &mut [Stage]) {
        if self.started.is_empty() {
            return;
        }
        let waits = |index: usize| match hold_in(web, stages, &stages[index], &turn.budget, turn.policy, turn.now) {
            Some(Hold::Parallel(_) | Hold::Claim(..) | Hold::Reserved(..)) => {
                !self.unready.contains(&index) || self.crowded.contains(&index)
            }
            None => self.crowded.contains(&index),
            Some(_) => false,
        };
        let passed: Vec<(usize, usize)> = (0..stages.len())
            .filter(|index| matches!(stages[*index].life, Life::Pending(_)))
            .filter(|index| !stages[*index].wait.has_waited_enough())
            .map(|index| (index, self.started.iter().filter(|later| **later > index).count()))
            .filter(|(index, passes)| *passes > 0 && waits(*index))
            .collect();
        for (index, passes) in passed {
            let wait = &mut stages[index].wait;
            let passes = u32::try_from(passes).unwrap_or(u32::MAX);
            wait.passed_over = wait.passed_over.saturating_add(passes).min(MOST_PASSES);
        }
    }
}

/// Pending stages in the order in which they go: begun ones first, then those that were passed over often enough, then
/// by priority, then as queued.
pub fn order(stages: &[Stage]) -> Vec<usize> {
    let mut pending: Vec<usize> =
        (0..stages.len()).filter(|index| matches!(stages[*index].life, Life::Pending(_))).collect();
    pending.sort_by_key(|index| rank(*index, &stages[*index]));
    pending
}

/// What the order goes by.
fn rank(place: usize, stage: &Stage) -> (bool, bool, i64, usize) {
    let enough = stage.wait.has_waited_enough();
    (dependencies::is_fresh(stage), !enough, if enough { 0 } else { stage.priority }, place)
}
