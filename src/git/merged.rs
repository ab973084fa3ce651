//! Seeing that a person has merged a parked candidate.

use crate::core::ids::{CommitId, StageId};

use super::error::GitError;
use super::objects::{Objects, parse_id};

/// The trailer that names the stage of a landing commit.
pub const STAGE_TRAILER: &str = "Autometta-Stage";
/// The trailer that names the run whose candidate it is.
pub const RUN_TRAILER: &str = "Autometta-Run";

/// How many commits on top of the base are looked at for a trailer.
const MOST_COMMITS: usize = 10_000;

/// A commit's trailers, as far as they matter here.
struct Trailers {
    commit: CommitId,
    stage: String,
    run: String,
}

impl Objects {
    /// The commit by which `candidate` came into a branch whose tip is `tip`, if it did:
    /// as itself, through a merge; as a commit since `base` that carries its stage and run trailers;
    /// or as a cherry-pick: every path that it changed since `base` is at the tip what the candidate made it.
    pub fn merged_by_hand(
        &self,
        base: &CommitId,
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
        let run = self.trailers(&["-1", candidate.as_str()])?.pop().map(|own| own.run).filter(|run| !run.is_empty());
        if let Some(run) = run {
            let range = format!("{base}..{tip}");
            let carried = self.trailers(&[&format!("--max-count={MOST_COMMITS}"), &range])?;
            if let Some(found) = carried.into_iter().find(|known| known.stage == stage.as_str() && known.run == run) {
                return Ok(Some(found.commit));
            }
        }
        let wanted = self.deltas(base, candidate)?;
        let missing = self.deltas(candidate, tip)?;
        let is_there = |path| missing.binary_search_by(|delta| delta.path.cmp(path)).is_err();
        let all_there = !wanted.is_empty() && wanted.iter().all(|delta| is_there(&delta.path));
        Ok(all_there.then(|| tip.clone()))
    }

    fn trailers(&self, what: &[&str]) -> Result<Vec<Trailers>, GitError> {
        let format = format!(
            "--format=%H%n%(trailers:key={STAGE_TRAILER},valueonly,unfold,separator=%x2C)%n\
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
                Ok(Trailers { commit: parse_id(&next(), "git log")?, stage: next(), run: next() })
            })
            .collect()
    }
}
