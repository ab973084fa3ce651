//! Branches of ours: `autometta/<stage>` for the work on a stage, `wip/…` for work that is kept.
//!
//! Nobody else has to write them, and everybody may: an agent commits on its run branch, an operator mends there what waits
//! for a person. Their reflog tells who moved one last. What somebody else put on one is never thrown away with it, and one
//! that somebody has checked out is not moved.

use crate::core::ids::CommitId;

use super::disk;
use super::error::GitError;
use super::refs::{Expect, Moved, RefName};
use super::repo::Repo;

/// What we say in a reflog.
pub(super) const OURS: &str = "autometta";

/// What a branch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnBranch {
    /// It follows the work on a stage: where we had it before does not matter any more.
    Follows,
    /// It keeps what would be lost without it, wherever it was before.
    Keeps,
}

impl Repo {
    /// Points a branch of ours at a commit. Where somebody has it checked out, it stays, and the commit is kept aside. Asked
    /// again, this changes nothing.
    pub fn point_own_branch(&self, branch: &str, commit: &CommitId, purpose: OwnBranch) -> Result<(), GitError> {
        let name = RefName::branch(branch)?;
        if self.own_branch_points(branch, commit)? {
            Ok(())
        } else if self.is_in_others_checkout(&name)? {
            self.set_ref(&aside(&name, commit)?, commit, &Expect::Anything).map(drop)
        } else {
            self.reset_own_branch(&name, commit, purpose)
        }
    }

    /// Whether nothing is left to do of pointing a branch of ours at a commit: it is there, or somebody else builds on that
    /// commit, or has the branch checked out while the commit is kept aside.
    pub fn own_branch_points(&self, branch: &str, commit: &CommitId) -> Result<bool, GitError> {
        let name = RefName::branch(branch)?;
        let Some(tip) = self.ref_tip(&name)? else { return Ok(false) };
        if tip == *commit {
            return Ok(true);
        }
        if self.is_as_we_left_it(&name, &tip)? && !self.is_in_others_checkout(&name)? {
            return Ok(false);
        }
        Ok(self.ref_tip(&aside(&name, commit)?)?.as_ref() == Some(commit) || self.is_ancestor(commit, &tip)?)
    }

    /// Points a branch of ours at a commit, wherever it is. A tip of somebody else is kept aside.
    pub(super) fn reset_own_branch(
        &self,
        name: &RefName,
        commit: &CommitId,
        purpose: OwnBranch,
    ) -> Result<(), GitError> {
        let tip = self.ref_tip(name)?;
        if let Some(tip) = tip.as_ref().filter(|tip| *tip != commit) {
            let may_go = purpose == OwnBranch::Follows && self.is_as_we_left_it(name, tip)?;
            if !may_go && !self.holds(commit, tip)? {
                self.set_ref(&aside(name, tip)?, tip, &Expect::Anything)?;
            }
        }
        match self.set_ref(name, commit, &tip.map_or(Expect::Absent, Expect::Is))? {
            Moved::Yes => Ok(()),
            Moved::No { .. } => Err(GitError::RefContended { name: name.to_string() }),
        }
    }

    /// Deletes a branch of ours whose work is in `base`. One with commits of somebody else that are not stays.
    pub fn drop_own_branch(&self, branch: &str, base: &str) -> Result<(), GitError> {
        let name = RefName::branch(branch)?;
        match self.ref_tip(&name)? {
            Some(tip) if !self.is_in_others_hands(&name, &tip, base)? => {
                // Whoever moved it meanwhile has it.
                self.delete_ref(&name, &Expect::Is(tip)).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing is left to do of deleting a branch of ours.
    pub fn own_branch_is_dropped(&self, branch: &str, base: &str) -> Result<bool, GitError> {
        let name = RefName::branch(branch)?;
        match self.ref_tip(&name)? {
            None => Ok(true),
            Some(tip) => self.is_in_others_hands(&name, &tip, base),
        }
    }

    fn is_in_others_hands(&self, name: &RefName, tip: &CommitId, base: &str) -> Result<bool, GitError> {
        if self.is_in_others_checkout(name)? {
            return Ok(true);
        }
        if self.is_as_we_left_it(name, tip)? {
            return Ok(false);
        }
        match self.tip(base)? {
            Some(base) => Ok(!self.is_ancestor(tip, &base)?),
            None => Ok(true),
        }
    }

    /// Whether we moved a branch last, by its reflog.
    fn is_as_we_left_it(&self, name: &RefName, tip: &CommitId) -> Result<bool, GitError> {
        if self.uses_reftable()? {
            let mut call = self.real_call(&self.location().git_dir);
            call.args(["log", "-g", "-1", "--format=%H%x09%gs", "--end-of-options", name.as_str(), "--"]);
            let said = call.fine(&[0, 128]).run()?.stdout;
            return Ok(String::from_utf8_lossy(&said).trim_end() == format!("{tip}\t{OURS}"));
        }
        let log = disk::read(&self.location().common_dir.join("logs").join(name.as_str()))?.unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        // `old new Name <mail> time zone TAB message`
        Ok(log
            .lines()
            .last()
            .and_then(|line| line.split_once('\t'))
            .is_some_and(|(who, message)| message == OURS && who.split(' ').nth(1) == Some(tip.as_str())))
    }

    /// Whether a commit holds everything of another one: it is built on it, or has the very same files.
    fn holds(&self, commit: &CommitId, other: &CommitId) -> Result<bool, GitError> {
        Ok(self.is_ancestor(other, commit)? || self.tree_of(commit)? == self.tree_of(other)?)
    }
}

/// Where a commit is kept that a branch of ours cannot hold.
fn aside(branch: &RefName, commit: &CommitId) -> Result<RefName, GitError> {
    let short = commit.as_str().get(..12).unwrap_or_default();
    RefName::new(&format!("refs/autometta/aside/{}/{short}", branch.as_branch().unwrap_or_default()))
}
