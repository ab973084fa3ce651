//! The checkouts of a repository: its main worktree and its linked ones, and what the operator is doing in them.

use std::path::{Path, PathBuf};

use super::disk;
use super::error::GitError;
use super::locate::git_dir_of;
use super::refs::{Head, RefName};
use super::repo::Repo;
use super::tree_path::path_of_line;

/// What git leaves in a git dir while an operation on the current branch waits for the operator.
const OPERATIONS: &[(&str, &str)] = &[
    ("MERGE_HEAD", "a merge"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase"),
    ("sequencer", "a cherry-pick or revert"),
];

/// One checkout.
#[derive(Debug, Clone)]
pub(super) struct Checkout {
    /// Its own git dir.
    pub(super) git_dir: PathBuf,
    /// Its files; none where they are out of reach but locked, as on a disk that is not mounted.
    pub(super) top: Option<PathBuf>,
}

impl Checkout {
    /// Where it is, for people.
    pub(super) fn place(&self) -> &Path {
        self.top.as_deref().unwrap_or(&self.git_dir)
    }
}

impl Repo {
    /// Every checkout. A folder counts only if its `.git` leads back to the git dir that names it: what an agent wrote
    /// into a configuration or pointer file never makes another folder a checkout.
    pub(super) fn checkouts(&self) -> Result<Vec<Checkout>, GitError> {
        let mut checkouts = Vec::new();
        let common = &self.location().common_dir;
        if let Some(top) = self.main_top()? {
            checkouts.push(Checkout { git_dir: common.clone(), top: Some(top) });
        }
        for admin in disk::list(&common.join("worktrees"))? {
            let Some(line) = disk::read(&admin.join("gitdir"))? else { continue };
            // Newer versions of git may write this path relative to the administration.
            let dot_git = admin.join(path_of_line(&line));
            let top = dot_git.parent().map(Path::to_owned).filter(|top| leads_to(top, &admin));
            if top.is_some() || disk::is_there(&admin.join("locked"))? {
                checkouts.push(Checkout { git_dir: admin, top });
            }
        }
        Ok(checkouts)
    }

    /// The top of the main worktree; none in a bare repository.
    fn main_top(&self) -> Result<Option<PathBuf>, GitError> {
        let location = self.location();
        let common = &location.common_dir;
        if location.git_dir == *common {
            return Ok(Some(location.top.clone()));
        }
        let by_place = common.parent().filter(|_| common.ends_with(".git")).map(Path::to_owned);
        if by_place.as_deref().is_some_and(|top| leads_to(top, common)) && disk::is_there(&common.join("index"))? {
            return Ok(by_place);
        }
        let named = self.settings()?.get("core.worktree").map(|path| common.join(path));
        Ok(named.filter(|top| leads_to(top, common)))
    }

    /// The checkouts whose HEAD is on this branch.
    pub(super) fn checkouts_of(&self, branch: &RefName) -> Result<Vec<Checkout>, GitError> {
        let mut found = Vec::new();
        for checkout in self.checkouts()? {
            if self.is_on(&checkout, branch)? {
                found.push(checkout);
            }
        }
        Ok(found)
    }

    /// Whether a checkout's HEAD is on this branch.
    pub(super) fn is_on(&self, checkout: &Checkout, branch: &RefName) -> Result<bool, GitError> {
        Ok(self.head(&checkout.git_dir)? == Head::On(branch.as_str().to_owned()))
    }

    /// What the operator is in the middle of that this branch takes part in, as a sentence.
    pub(super) fn operation_on(&self, branch: &RefName) -> Result<Option<String>, GitError> {
        let short = branch.as_branch().unwrap_or_default();
        for checkout in self.checkouts()? {
            let says = |file: &str, what: &str| -> Result<bool, GitError> {
                let content = disk::read(&checkout.git_dir.join(file))?.unwrap_or_default();
                Ok(content.trim_ascii_end() == what.as_bytes())
            };
            let place = checkout.place().display();
            if says("rebase-merge/head-name", branch.as_str())? || says("rebase-apply/head-name", branch.as_str())? {
                return Ok(Some(format!("a rebase of {short} is in progress at {place}")));
            }
            if says("BISECT_START", short)? {
                return Ok(Some(format!("a bisection that started from {short} is in progress at {place}")));
            }
            if !self.is_on(&checkout, branch)? {
                continue;
            }
            for (file, name) in OPERATIONS {
                if disk::is_there(&checkout.git_dir.join(file))? {
                    return Ok(Some(format!("{name} on {short} is in progress at {place}")));
                }
            }
            if checkout.top.is_none() {
                return Ok(Some(format!(
                    "{short} is checked out in the locked worktree of {place}, which cannot be reached"
                )));
            }
        }
        Ok(None)
    }
}

/// Whether the `.git` of a folder leads to this git dir.
fn leads_to(top: &Path, git_dir: &Path) -> bool {
    let linked = git_dir_of(top).ok().flatten().and_then(|linked| disk::resolve(&linked).ok());
    linked.is_some_and(|linked| disk::resolve(git_dir).is_ok_and(|git_dir| git_dir == linked))
}
