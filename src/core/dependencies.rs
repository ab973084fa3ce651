//! What stages wait for in each other: whether a dependency has landed and is in the base, what can never be met, and
//! circles. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ids::{CommitId, StageId};
use super::observation::{LandingSighting, Observation};
use super::state::{EndStatus, Life, NextRun, Over, Pending, Stage, State};
use super::wait::Foundation;

/// How a stage that others depend on has landed; none where it has not.
pub fn landed(stage: &Stage) -> Option<Landed<'_>> {
    match &stage.life {
        Life::Over(over) if over.status == EndStatus::Completed => Some(Landed { commit: over.commit.as_ref() }),
        // One that is repeated has landed once and for all with its first round.
        _ => stage.wait.repeat.as_ref().filter(|it| it.rounds > 0).map(|it| Landed { commit: it.landed.as_ref() }),
    }
}

/// A stage has landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed<'a> {
    /// As this commit; none where there was nothing to land.
    pub commit: Option<&'a CommitId>,
}

/// Why a dependency that has not landed is waited for, with the way out where only a person knows one.
pub fn why_not(needed: &StageId, stage: Option<&Stage>) -> String {
    let Some(stage) = stage else {
        return format!("not queued; queue it with `autometta add-stage`, or take {needed} out of the card");
    };
    let Life::Over(over) = &stage.life else { return stage.life.word().to_owned() };
    let word = over.status.as_str();
    match over.status {
        EndStatus::Blocked => format!("{word}; `autometta inbox` says what it waits for"),
        _ => format!("{word} and will not land by itself; `autometta requeue {needed}` starts it anew"),
    }
}

/// The commits that have to be in the base of a pending stage, with the stages that they landed for. Empty where nothing
/// has to be, and where it goes on from work that has its base already.
pub fn wanted<'a>(stages: &'a [Stage], stage: &'a Stage) -> Vec<(&'a StageId, &'a CommitId)> {
    wanted_with(stages, stage, &|needed| landed(needed).and_then(|landed| landed.commit))
}

/// The same, where landings that were seen done count before the state knows of them.
pub fn wanted_ahead<'a>(
    stages: &'a [Stage],
    stage: &'a Stage,
    landings: &'a BTreeMap<StageId, LandingSighting>,
) -> Vec<(&'a StageId, &'a CommitId)> {
    wanted_with(stages, stage, &|needed| match landings.get(&needed.id) {
        Some(LandingSighting::Landed(commit)) => Some(commit),
        _ => landed(needed).and_then(|landed| landed.commit),
    })
}

fn wanted_with<'a>(
    stages: &'a [Stage],
    stage: &'a Stage,
    commit: &dyn Fn(&'a Stage) -> Option<&'a CommitId>,
) -> Vec<(&'a StageId, &'a CommitId)> {
    if !is_fresh(stage) || stage.depends_on.is_empty() {
        return Vec::new();
    }
    let find = |needed: &'a StageId| Some((needed, commit(stages.iter().find(|other| other.id == *needed)?)?));
    stage.depends_on.iter().filter_map(find).collect()
}

/// What is remembered of a look for just these commits.
pub fn remembered<'a>(stage: &'a Stage, wanted: &[(&StageId, &CommitId)]) -> Option<&'a Foundation> {
    let known = stage.wait.foundation.as_ref()?;
    let same =
        known.commits.len() == wanted.len() && known.commits.iter().zip(wanted).all(|(one, (_, two))| one == *two);
    same.then_some(known)
}

/// The first dependency of a stage that landed elsewhere, by what is remembered: its commit is not in the base.
pub fn elsewhere<'a>(stages: &'a [Stage], stage: &'a Stage) -> Option<(&'a StageId, &'a CommitId)> {
    stage.wait.foundation.as_ref()?;
    let wanted = wanted(stages, stage);
    let known = remembered(stage, &wanted)?;
    wanted.into_iter().find(|(needed, _)| known.missing.contains(needed))
}

/// Whether a stage may be built on this tip: everything that it depends on was seen in it.
pub fn stands_on(stages: &[Stage], stage: &Stage, tip: Option<&CommitId>) -> bool {
    let wanted = wanted(stages, stage);
    if wanted.is_empty() {
        return true;
    }
    let known = remembered(stage, &wanted);
    tip.is_some() && known.is_some_and(|known| Some(&known.tip) == tip && known.missing.is_empty())
}

/// Sees every dependency that has landed in its base, for made-up worlds in which a base only grows.
pub fn see_all_there(stages: &[Stage], seen: &mut Observation) {
    let pending =
        stages.iter().filter(|stage| matches!(stage.life, Life::Pending(_)) && elsewhere(stages, stage).is_none());
    for stage in pending {
        let commits: Vec<CommitId> =
            wanted_ahead(stages, stage, &seen.landings).into_iter().map(|(_, commit)| commit.clone()).collect();
        if let Some(Some(tip)) = seen.tips.get(&stage.base_branch)
            && !commits.is_empty()
        {
            let found = Foundation { tip: tip.clone(), commits, missing: Vec::new() };
            seen.foundations.insert(stage.id.clone(), found);
        }
    }
}

/// Where stages stand, and the circles in which they wait for each other.
#[derive(Debug, Clone, Default)]
pub struct Web {
    places: BTreeMap<StageId, usize>,
    circles: Vec<Vec<usize>>,
}

impl Web {
    /// Looks at all stages. Where none that has not landed depends on another, there is nothing to look for.
    pub fn of(stages: &[Stage]) -> Self {
        let waits = |stage: &Stage| landed(stage).is_none() && !stage.depends_on.is_empty();
        if !stages.iter().any(waits) {
            return Self::default();
        }
        let places: BTreeMap<StageId, usize> =
            stages.iter().enumerate().map(|(place, stage)| (stage.id.clone(), place)).collect();
        let open = |stage: &Stage| -> Vec<usize> {
            let needed = stage.depends_on.iter().filter_map(|needed| places.get(needed).copied());
            needed.filter(|place| landed(&stages[*place]).is_none()).collect()
        };
        let ways: Vec<Vec<usize>> =
            stages.iter().map(|stage| if waits(stage) { open(stage) } else { Vec::new() }).collect();
        Self { circles: circles(&ways), places }
    }

    /// The stage of that name.
    pub fn find<'a>(&self, stages: &'a [Stage], id: &StageId) -> Option<&'a Stage> {
        self.places.get(id).and_then(|place| stages.get(*place)).filter(|stage| stage.id == *id)
    }

    /// The circle that a stage stands in, as a path: `01-a → 02-b → 01-a`.
    pub fn circle_of(&self, stages: &[Stage], id: &StageId) -> Option<String> {
        if self.circles.is_empty() {
            return None;
        }
        let place = self.places.get(id)?;
        let circle = self.circles.iter().find(|circle| circle.contains(place))?;
        let from = circle.iter().position(|one| one == place)?;
        let path: Vec<&str> = (0..=circle.len())
            .filter_map(|step| stages.get(circle[(from + step) % circle.len()]))
            .map(|stage| stage.id.as_str())
            .collect();
        Some(path.join(" → "))
    }
}

/// Circles, each as the places along it; together they hold every place that stands in one.
fn circles(ways: &[Vec<usize>]) -> Vec<Vec<usize>> {
    // What waits for nothing, and then what waits for nothing but that, stands in no circle.
    let mut open: Vec<usize> = ways.iter().map(Vec::len).collect();
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); ways.len()];
    for (place, needed) in
        ways.iter().enumerate().flat_map(|(place, way)| way.iter().map(move |needed| (place, *needed)))
    {
        behind[needed].push(place);
    }
    let mut free: Vec<usize> = (0..ways.len()).filter(|place| open[*place] == 0).collect();
    while let Some(at) = free.pop() {
        for place in &behind[at] {
            open[*place] -= 1;
            if open[*place] == 0 {
                free.push(*place);
            }
        }
    }
    let left: BTreeSet<usize> = (0..ways.len()).filter(|place| open[*place] > 0).collect();
    let mut found: Vec<Vec<usize>> = Vec::new();
    for start in left.iter().copied() {
        if !found.iter().any(|circle| circle.contains(&start)) {
            found.extend(way_round(ways, &left, start));
        }
    }
    found
}

/// The shortest way from a place back to itself.
fn way_round(ways: &[Vec<usize>], among: &BTreeSet<usize>, start: usize) -> Option<Vec<usize>> {
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(at) = next.pop_front() {
        for to in ways[at].iter().copied().filter(|to| among.contains(to)) {
            if to == start {
                let mut path = vec![at];
                let mut back = at;
                while back != start {
                    back = *from.get(&back)?;
                    path.push(back);
                }
                path.reverse();
                return Some(path);
            }
            if to != at && !from.contains_key(&to) {
                from.insert(to, at);
                next.push_back(to);
            }
        }
    }
    None
}

/// Everything that is wrong with what these stages depend on: what is unknown, what will never land, and circles as
/// paths. What others depend on is not held against them. `promised` are stages that may be
/// depended on however they stand.
pub fn faults(state: &State, of: &[StageId], promised: &[StageId]) -> Vec<String> {
    let mut faults = Vec::new();
    let stages = of.iter().filter_map(|id| state.stage(id)).filter(|stage| !matches!(stage.life, Life::Over(_)));
    for stage in stages.clone() {
        for needed in stage.depends_on.iter().filter(|needed| **needed != stage.id) {
            if promised.contains(needed) {
                continue;
            }
            let closed = |other: &Stage| {
                let superseded = |over: &Over| over.status == EndStatus::Superseded;
                landed(other).is_none() && matches!(&other.life, Life::Over(over) if superseded(over))
            };
            match state.stage(needed) {
                None => faults.push(format!(
                    "{} depends on {needed}, which is neither in the queue nor landed; queue it first",
                    stage.id
                )),
                Some(other) if closed(other) => faults.push(format!(
                    "{} depends on {needed}, which was closed without landing; `autometta requeue {needed}` first, or \
                     take it out of the card",
                    stage.id
                )),
                Some(_) => {}
            }
        }
    }
    let web = Web::of(&state.stages);
    let mut told: Vec<&Vec<usize>> = Vec::new();
    for stage in stages {
        let place = web.places.get(&stage.id);
        let circle = web.circles.iter().find(|circle| place.is_some_and(|place| circle.contains(place)));
        if let Some(circle) = circle.filter(|circle| !told.contains(circle))
            && let Some(path) = web.circle_of(&state.stages, &stage.id)
        {
            told.push(circle);
            faults.push(match circle.len() {
                1 => format!("{} depends on itself: {path}", stage.id),
                _ => format!("these stages depend on each other in a circle: {path}"),
            });
        }
    }
    faults
}

/// Whether a stage of the queue begins anew, so that it does not go on from anything.
pub fn is_fresh(stage: &Stage) -> bool {
    matches!(&stage.life, Life::Pending(Pending { next: NextRun::Fresh, .. }))
}

#[cfg(test)]
mod tests;
