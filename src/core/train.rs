//! The merge train: approved candidates whose base has moved, each put on top of the one that is to land before it, so
//! that their gates run side by side and not one after another.
//!
//! What a gate passes is a tree. The first of a train stands on the base's tip, each further one on the candidate before
//! it; once that candidate has landed, the tip has the very tree that the next one was built on, so its own tree on the new
//! tip is the one that its gates saw, and it lands at once. Where the one before it does not land, or its gates fail on top
//! of it, a candidate goes back to what it was before, is put on the tip and is judged there: a train saves time, and never
//! decides what may land.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{CommitId, RunId, StageId, TreeId};
use super::observation::LandingSighting;
use super::state::{Approval, Candidate, Gating, Landing, Life, Overlap, Stage, Work};

/// How an approved candidate goes to its base branch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Train {
    /// It stands on the branch, and may be put on top of another one.
    #[default]
    Free,
    /// It stands on a candidate that is to land before it.
    Behind(Box<Own>),
    /// Its gates failed on top of another one: it stands on the branch and stays there.
    Alone,
}

impl Train {
    /// Whether there is nothing to remember.
    pub fn is_free(&self) -> bool {
        *self == Self::Free
    }
}

/// An approved candidate as it was before it was put on top of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// What it was built on.
    pub base_commit: CommitId,
    /// What was approved.
    pub candidate: Candidate,
    /// The gate run that passed; none where there was nothing to run.
    pub gate: Option<RunId>,
}

impl Own {
    /// Of a candidate that is about to be put on top of another one.
    pub fn of(landing: &Landing) -> Self {
        match &landing.approval.train {
            Train::Behind(own) => own.as_ref().clone(),
            Train::Free | Train::Alone => Self {
                base_commit: landing.work.base_commit.clone(),
                candidate: landing.candidate.clone(),
                gate: landing.approval.gate.clone(),
            },
        }
    }

    /// Puts it back in the place of what became of it.
    fn put_back(self, work: &mut Work, candidate: &mut Candidate, approval: &mut Approval, train: Train) {
        work.base_commit = self.base_commit;
        approval.tree.clone_from(&self.candidate.tree);
        approval.gate = self.gate;
        approval.train = train;
        *candidate = self.candidate;
    }
}

impl Landing {
    /// The same without the train: on what it was built on itself.
    #[must_use]
    pub fn uncoupled(&self) -> Self {
        let mut landing = self.clone();
        if let Train::Behind(own) = &self.approval.train {
            let own = own.as_ref().clone();
            own.put_back(&mut landing.work, &mut landing.candidate, &mut landing.approval, Train::Free);
        }
        landing
    }
}

impl Gating {
    /// Whether it stands behind another one.
    pub fn is_coupled(&self) -> bool {
        self.approval.as_ref().is_some_and(|approval| matches!(approval.train, Train::Behind(_)))
    }

    /// The same without the train: on what it was built on itself, and by itself from now on.
    #[must_use]
    pub fn uncoupled(&self) -> Self {
        let mut gating = self.clone();
        if let Some(approval) = &mut gating.approval
            && let Train::Behind(own) = &approval.train
        {
            let own = own.as_ref().clone();
            own.put_back(&mut gating.work, &mut gating.candidate, approval, Train::Alone);
        }
        gating
    }
}

impl Stage {
    /// What is judged or landed, as it was before it was put on top of another candidate.
    pub fn own_candidate(&self) -> Option<Candidate> {
        match &self.life {
            Life::Gating(gating) => Some(gating.uncoupled().candidate),
            Life::Landing(landing) => Some(landing.uncoupled().candidate),
            _ => self.candidate().cloned(),
        }
    }

    /// Orders a branch for it, where there is such a thing and it will not land.
    pub fn keep_own_work(&mut self) {
        if let Some(candidate) = self.own_candidate() {
            self.keep_work(&candidate);
        }
    }
}

/// A stage that is on its way to the branch: what it stands on and what it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Car<'a> {
    /// The stage.
    pub stage: &'a StageId,
    /// What its candidate stands on.
    pub base: &'a CommitId,
    /// Its candidate.
    pub commit: &'a CommitId,
    /// Whether its gates have passed.
    pub is_gated: bool,
}

/// A stage as a part of a train, by its state. One that waits for a person or a time holds nobody up.
fn car(stage: &Stage) -> Option<Car<'_>> {
    let (base, commit, is_gated) = match &stage.life {
        Life::Gating(Gating { work, candidate, approval: Some(_), not_before: None, .. }) => {
            (&work.base_commit, &candidate.commit, false)
        }
        Life::Landing(Landing { work, candidate, waiting: None, .. }) => (&work.base_commit, &candidate.commit, true),
        _ => return None,
    };
    (base != commit).then_some(Car { stage: &stage.id, base, commit, is_gated })
}

/// The same by what was seen of it just now, which the state does not know yet.
fn car_as_seen<'a>(stage: &'a Stage, seen: &'a BTreeMap<StageId, LandingSighting>) -> Option<Car<'a>> {
    match seen.get(&stage.id) {
        None | Some(LandingSighting::Ready | LandingSighting::Behind(_)) => car(stage),
        Some(LandingSighting::Rebased { tip, candidate, .. }) => {
            Some(Car { stage: &stage.id, base: tip, commit: &candidate.commit, is_gated: false })
        }
        Some(_) => None,
    }
}

/// The stage that is to land before this one: the one on whose candidate it stands.
pub fn ahead<'a>(stages: &'a [Stage], stage: &Stage) -> Option<&'a StageId> {
    let own = car(stage)?;
    let others = stages.iter().filter(|other| other.id != stage.id && other.base_branch == stage.base_branch);
    others.filter_map(car).find(|car| car.commit == own.base).map(|car| car.stage)
}

/// On top of which candidate an approved one is put whose base has moved to this tip, where it would have the tree
/// `on_the_tip`. On none where its gates have passed that tree already, and where they or a person have said that it stands
/// by itself.
pub fn joins<'a>(
    stages: &'a [Stage],
    seen: &'a BTreeMap<StageId, LandingSighting>,
    (tip, on_the_tip): (&'a CommitId, &TreeId),
    stage: &Stage,
    landing: &Landing,
) -> Option<Car<'a>> {
    let Approval { tree, train, overlap, .. } = &landing.approval;
    let may = on_the_tip != tree && *train != Train::Alone && *overlap == Overlap::Park;
    may.then(|| end(stages, seen, tip, stage))?
}

/// The end of the train that begins at a branch's tip, as another stage would join it.
pub fn end<'a>(
    stages: &'a [Stage],
    seen: &'a BTreeMap<StageId, LandingSighting>,
    tip: &'a CommitId,
    joining: &Stage,
) -> Option<Car<'a>> {
    let others = stages.iter().filter(|other| other.id != joining.id && other.base_branch == joining.base_branch);
    let mut cars: Vec<Car<'a>> = others.filter_map(|other| car_as_seen(other, seen)).collect();
    // Of several on the same base, the one that needs no gate any more lands first.
    cars.sort_by_key(|car| !car.is_gated);
    let mut end: Option<Car<'a>> = None;
    loop {
        let base = end.as_ref().map_or(tip, |car| car.commit);
        // Each is taken out, so that this ends whatever the state says.
        let Some(next) = cars.iter().position(|car| car.base == base) else { return end };
        end = Some(cars.remove(next));
    }
}
