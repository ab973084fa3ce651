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
use super::state::{Approval, Candidate, Gating, Landing, Life, Overlap, Stage};

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

    /// The approval as it was for this candidate.
    fn approval(&self, approval: &Approval, train: Train) -> Approval {
        Approval { tree: self.candidate.tree.clone(), gate: self.gate.clone(), train, ..approval.clone() }
    }
}

impl Landing {
    /// The same without the train: on what it was built on itself.
    #[must_use]
    pub fn uncoupled(&self) -> Self {
        let Train::Behind(own) = &self.approval.train else { return self.clone() };
        let mut landing = self.clone();
        landing.work.base_commit.clone_from(&own.base_commit);
        landing.candidate.clone_from(&own.candidate);
        landing.approval = own.approval(&self.approval, Train::Free);
        landing
    }
}

impl Gating {
    /// The candidate that stands behind another one, as it was before, with its approval; none for any other.
    pub fn coupled(&self) -> Option<(Own, Approval)> {
        let approval = self.approval.as_ref()?;
        let Train::Behind(own) = &approval.train else { return None };
        Some((own.as_ref().clone(), own.approval(approval, Train::Alone)))
    }

    /// The same without the train: on what it was built on itself.
    #[must_use]
    pub fn uncoupled(&self) -> Self {
        let mut gating = self.clone();
        if let Some((own, approval)) = self.coupled() {
            gating.work.base_commit = own.base_commit;
            gating.candidate = own.candidate;
            gating.approval = Some(approval);
        }
        gating
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

/// Whether an approved candidate, which on the branch's tip would have this tree, may be put on top of another one: not
/// where its gates have passed that tree already, and not where they or a person have said that it stands by itself.
pub fn may_join(landing: &Landing, on_the_tip: &TreeId) -> bool {
    *on_the_tip != landing.approval.tree
        && landing.approval.train != Train::Alone
        && landing.approval.overlap == Overlap::Park
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
