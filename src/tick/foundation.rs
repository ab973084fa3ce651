//! Looking for what a stage depends on in the base that it would be built on, and for room in its worker's family.

use std::collections::BTreeMap;

use tracing::warn;

use crate::core::dependencies;
use crate::core::ids::{CommitId, FamilyName};
use crate::core::observation::Observation;
use crate::core::state::Stage;
use crate::core::step::crowd;
use crate::core::wait::Foundation;
use crate::git::GitError;

use super::observe::Observer;

impl Observer<'_> {
    /// Whether the family of a pending stage's own worker has as many runs in flight as it may.
    pub(super) fn is_crowded(&self, stages: &[Stage], stage: &Stage) -> bool {
        let policy = &self.site.policy;
        let crowded = || crowd(stages, policy, &self.site.families.of(stage.own_worker())?.name);
        !policy.family_parallel.is_empty() && crowded().is_some()
    }

    /// Whether a family that others are coming of may have one more run in flight.
    pub(super) fn has_room(&self, stages: &[Stage], family: &FamilyName, coming: &BTreeMap<FamilyName, usize>) -> bool {
        let Some(most) = self.site.policy.family_parallel.get(family) else { return true };
        let flights = stages.iter().flat_map(|stage| stage.life.flights());
        let flying = flights.filter(|flight| flight.family.as_ref() == Some(family)).count();
        flying + coming.get(family).copied().unwrap_or_default() < *most
    }

    /// Looks for what a stage depends on in its base. What was seen there, or was not, is remembered until the base
    /// moves, so that an idle tick starts no process for it.
    pub(super) fn foundation(&self, stages: &[Stage], stage: &Stage, seen: &mut Observation) {
        let wanted = dependencies::wanted_ahead(stages, stage, &seen.landings);
        let Some(Some(tip)) = seen.tips.get(&stage.base_branch) else { return };
        if wanted.is_empty() || dependencies::remembered(stage, &wanted).is_some_and(|known| known.tip == *tip) {
            return;
        }
        let mut missing = Vec::new();
        for (needed, commit) in &wanted {
            match self.holds(tip, commit) {
                Ok(true) => {}
                Ok(false) => missing.push((*needed).clone()),
                // It is looked for again; until then the stage stays where it is.
                Err(error) => {
                    warn!(repo = %self.site.root.display(), stage = %stage.id, "its base cannot be looked at: {error}");
                    return;
                }
            }
        }
        let commits = wanted.iter().map(|(_, commit)| (*commit).clone()).collect();
        seen.foundations.insert(stage.id.clone(), Foundation { tip: tip.clone(), commits, missing });
    }

    /// Whether a commit is another one or among those before it. One that is gone from the repository is not.
    fn holds(&self, tip: &CommitId, commit: &CommitId) -> Result<bool, GitError> {
        match self.objects.is_ancestor(commit, tip) {
            Err(_) if !self.objects.object_exists(commit)? => Ok(false),
            said => said,
        }
    }
}
