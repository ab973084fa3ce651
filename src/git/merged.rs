//! Seeing that a person has merged a parked candidate.

use crate::core::ids::{CommitId, StageId};

use super::error::GitError;
use super::objects::{Objects, parse_id};

/// The trailer that names the stage of a landing commit.
pub const STAGE_TRAILER: &str = "Autometta-Stage";
/// The trailer that names the run whose candidate it is.
pub const RUN_TRAILER: &str = "Autometta-Run";

/// How many commits on top of the base are looked at for a trailer.
pub(super) const MOST_COMMITS: usize = 10_000;

/// A commit's trailers, as far as they matter here.
pub(super) struct Trailers {
    pub(super) commit: CommitId,
    /// Its first parent.
    parent: Option<CommitId>,
    stage: String,
    pub(super) run: String,
}

impl Objects {
    /// The commit by which `candidate` came into a branch whose tip is `tip`, if it did:
    /// as itself, through a merge; as a commit since `seen` that carries its stage and run trailers and changes one of
    /// its paths; or as a cherry-pick: every path that it changed since `base` is at the tip what the candidate made it.
    ///
    /// `seen` is a tip by which nobody had merged it: that of its parking, or of the look before this one.
    /// Trailers are only words, and a worker could have put them onto the branch while its own run was in flight.
    pub fn merged_by_hand(
        &self,
        base: &CommitId,
        seen: &CommitId,
        tip: &CommitId,
        stage: &StageId,
        candidate: &CommitId,
    ) -> Result<Option<CommitId>, GitError> {
        if candidate == base || tip == base {
            return Ok(None);
        }
        if self.is_ancestor(candidate, tip)? {
            return Ok(Some(candidate.clone()));
        }
        let wanted = self.deltas(base, candidate)?;
        let run = self.trailers(&["-1", candidate.as_str()])?.pop().map(|own| own.run).filter(|run| !run.is_empty());
        if let Some(run) = run {
            let range = format!("{seen}..{tip}");
            let carried = self.trailers(&[&format!("--max-count={MOST_COMMITS}"), &range])?;
            for known in carried.into_iter().filter(|known| known.stage == stage.as_str() && known.run == run) {
                let Some(parent) = &known.parent else { continue };
                let touched = self.deltas(parent, &known.commit)?;
                if touched.iter().any(|delta| wanted.iter().any(|own| own.path == delta.path)) {
                    return Ok(Some(known.commit));
                }
            }
        }
        let missing = self.deltas(candidate, tip)?;
        let is_there = |path| missing.binary_search_by(|delta| delta.path.cmp(path)).is_err();
        let all_there = !wanted.is_empty() && wanted.iter().all(|delta| is_there(&delta.path));
        Ok(all_there.then(|| tip.clone()))
    }

    pub(super) fn trailers(&self, what: &[&str]) -> Result<Vec<Trailers>, GitError> {
        let format = format!(
            "--format=%H%n%P%n%(trailers:key={STAGE_TRAILER},valueonly,unfold,separator=%x2C)%n\
             %(trailers:key={RUN_TRAILER},valueonly,unfold,separator=%x2C)"
        );
        let mut call = self.call()?;
        call.args(["log", "-z", "--no-show-signature", "--no-mailmap", &format]).args(what).arg("--");
        let said = call.run()?;
        let text = String::from_utf8_lossy(&said.stdout);
        let commits = text.split('\0').filter(|entry| !entry.is_empty());
        commits
            .map(|entry| {
                let mut lines = entry.lines();
                let mut next = || lines.next().unwrap_or_default().trim().to_owned();
                let commit = parse_id(&next(), "git log")?;
                let parent = next().split(' ').next().and_then(|id| id.parse().ok());
                Ok(Trailers { commit, parent, stage: next(), run: next() })
            })
            .collect()
    }
}
