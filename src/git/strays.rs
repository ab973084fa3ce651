//! Commits on a branch that only a worker whose run was in flight can have made: in its own checkout, or under the
//! trailers of a landing that has not taken place.
//!
//! What an agent does with a branch as the same user cannot be told from what a person does, where it takes pains. This
//! sees the usual ways: commit and merge, commit and push, a landing commit that is made up.

use std::collections::BTreeSet;
use std::path::Path;

use crate::core::ids::{CommitId, RunId};

use super::disk;
use super::error::GitError;
use super::merged::MOST_COMMITS;
use super::objects::{Objects, parse_id};
use super::worktree::key_of;

impl Objects {
    /// The commits of `base..tip` that a run made while it was in flight in the checkout `worktree`.
    ///
    /// The log of the checkout's HEAD names what was committed there; a commit that it merely moved to is somebody
    /// else's. Before a run has ended, nothing that carries its trailer can have landed.
    pub fn strays(
        &self,
        worktree: &Path,
        base: &CommitId,
        tip: &CommitId,
        run: &RunId,
    ) -> Result<Vec<CommitId>, GitError> {
        if base == tip {
            return Ok(Vec::new());
        }
        let range = format!("{base}..{tip}");
        let limit = format!("--max-count={MOST_COMMITS}");
        let run = run.to_string();
        let claimed = self.trailers(&[&limit, &range])?.into_iter().filter(|known| known.run == run);
        let mut strays: BTreeSet<CommitId> = claimed.map(|known| known.commit).collect();
        let made = self.committed_in(worktree)?;
        if !made.is_empty() {
            let mut call = self.call()?;
            call.args(["rev-list", &limit, &range, "--"]);
            let said = call.run()?;
            for line in String::from_utf8_lossy(&said.stdout).lines() {
                let commit = parse_id(line, "git rev-list")?;
                if made.contains(&commit) {
                    strays.insert(commit);
                }
            }
        }
        Ok(strays.into_iter().collect())
    }

    /// What the log of a checkout's HEAD says was committed there.
    fn committed_in(&self, worktree: &Path) -> Result<BTreeSet<CommitId>, GitError> {
        let log = self.location().common_dir.join("worktrees").join(key_of(worktree)).join("logs/HEAD");
        let log = if log.is_file() { disk::read(&log)?.unwrap_or_default() } else { Vec::new() };
        let log = String::from_utf8_lossy(&log);
        // `<old> <new> <who> <when>\t<what>`, as gitformat-reflog has it.
        let made = log.lines().filter_map(|line| {
            let (ids, what) = line.split_once('\t')?;
            what.starts_with("commit").then(|| ids.split(' ').nth(1)?.parse().ok()).flatten()
        });
        Ok(made.collect())
    }
}
