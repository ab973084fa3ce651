//! Landing: moving a branch to a commit, and with it every checkout that is on the branch.
//!
//! The order of events, for a branch that is checked out somewhere:
//! 1. a note and the index lock ([`super::journal`]), which keeps the operator's git from starting anything;
//! 2. the touched paths are checked: an edit in one of them stops the landing here;
//! 3. the branch moves by compare-and-swap;
//! 4. the files change, each by one rename ([`super::checkout_files`]), then the index, by one rename;
//! 5. note and lock go.
//!
//! A crash before 3 leaves nothing but the note and lock, which the next call removes. A crash after 3 is finished by
//! the next call: every touched path is then in its old or its new state, and what is in neither has been edited by the
//! operator since, and is left alone. Where a file cannot be changed in 4, the index comes along all the same, so that no
//! commit of the operator undoes the landing; the lock goes, the note stays, and a later call finishes it.

use std::path::{Path, PathBuf};

use crate::core::ids::CommitId;

use super::checkout_files::CheckoutFiles;
use super::checkouts::Checkout;
use super::diff::Delta;
use super::disk::Taken;
use super::error::GitError;
use super::journal::{self, Trace};
use super::refs::{Expect, Moved, RefName};
use super::repo::Repo;
use super::tree_path::TreePath;

/// What should land where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandingOrder {
    /// The branch's short name.
    pub branch: String,
    /// The tip that the branch must have, which is a parent of `commit`.
    pub parent: CommitId,
    /// What the branch moves to.
    pub commit: CommitId,
}

/// How a landing went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// The commit is in the branch, and every checkout of it is up to date.
    Done,
    /// The branch is elsewhere; nothing was changed.
    Moved {
        /// Where it is; none where it does not exist.
        tip: Option<CommitId>,
    },
    /// The operator has edits in paths that the landing touches; nothing was changed.
    Dirty {
        /// The checkout.
        checkout: PathBuf,
        /// The edited paths.
        paths: Vec<TreePath>,
    },
    /// The operator's git is at work; nothing was changed.
    Busy {
        /// What it is doing, as a sentence.
        why: String,
    },
}

/// Whether an order has landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// The branch does not have the commit.
    No,
    /// The branch has it, and a checkout is still to be brought along: call [`Repo::land`] again.
    Unfinished,
    /// Wholly.
    Yes,
}

/// Whether the remains of interrupted landings are cleared away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing is left of any.
    Clean,
    /// One could not be finished yet.
    Busy {
        /// Why, as a sentence.
        why: String,
    },
}

impl Repo {
    /// Lands a commit. Calling it again, after success or after a crash at any point, is safe and finishes it.
    pub fn land(&self, order: &LandingOrder) -> Result<Landing, GitError> {
        let branch = RefName::branch(&order.branch)?;
        if let Recovery::Busy { why } = self.recover_landings()? {
            return Ok(Landing::Busy { why });
        }
        let tip = self.ref_tip(&branch)?;
        if tip.as_ref() == Some(&order.commit) {
            return Ok(Landing::Done);
        }
        if tip.as_ref() != Some(&order.parent) {
            let has_landed = self.has_landed(tip.as_ref(), &order.commit)?;
            return Ok(if has_landed { Landing::Done } else { Landing::Moved { tip } });
        }
        // A child of the tip is not behind it.
        if !self.parents(&order.commit)?.contains(&order.parent) {
            return Err(GitError::NotAChild { commit: order.commit.to_string(), parent: order.parent.to_string() });
        }
        if let Some(why) = self.operation_on(&branch)? {
            return Ok(Landing::Busy { why });
        }
        let checkouts = self.checkouts_of(&branch)?;
        let landing = self.land_with(order, &branch, &checkouts);
        if !matches!(landing, Ok(Landing::Done)) && self.ref_tip(&branch)?.as_ref() != Some(&order.commit) {
            for checkout in &checkouts {
                journal::end(&checkout.git_dir)?;
            }
        }
        landing
    }

    fn land_with(&self, order: &LandingOrder, branch: &RefName, checkouts: &[Checkout]) -> Result<Landing, GitError> {
        for checkout in checkouts {
            if journal::begin(&checkout.git_dir, order)? == Taken::ByAnother {
                return Ok(Landing::Busy { why: lock_is_held(checkout) });
            }
            if !self.is_on(checkout, branch)? {
                return Ok(Landing::Busy { why: format!("{} is being switched", checkout.place().display()) });
            }
        }
        let deltas = self.deltas(&order.parent, &order.commit)?;
        let mut files = Vec::new();
        for checkout in checkouts {
            let Some(top) = &checkout.top else { continue };
            let opened = CheckoutFiles::open(self, &checkout.git_dir, top, order, &deltas)?;
            let paths = opened.edited()?;
            if !paths.is_empty() {
                return Ok(Landing::Dirty { checkout: top.clone(), paths });
            }
            if let Some(folder) = opened.closed_folder() {
                return Ok(Landing::Busy { why: is_closed(&folder) });
            }
            files.push((checkout, opened));
        }
        let git_dir = checkouts.first().map_or(&self.location().git_dir, |checkout| &checkout.git_dir);
        if let Moved::No { found } = self.move_ref(git_dir, branch, &order.commit, &Expect::Is(order.parent.clone()))? {
            return Ok(Landing::Moved { tip: found });
        }
        // Each for itself: one that cannot come along keeps no other one locked.
        let brought = files.into_iter().map(|(checkout, files)| {
            files.bring_along()?;
            journal::end(&checkout.git_dir)
        });
        brought.fold(Ok(()), Result::and).map(|()| Landing::Done)
    }

    /// Whether an order has landed, and wholly.
    pub fn landed(&self, order: &LandingOrder) -> Result<Landed, GitError> {
        let tip = self.tip(&order.branch)?;
        if !self.has_landed(tip.as_ref(), &order.commit)? {
            return Ok(Landed::No);
        }
        for checkout in self.checkouts()? {
            if journal::trace(&checkout.git_dir)? != Trace::None {
                return Ok(Landed::Unfinished);
            }
        }
        Ok(Landed::Yes)
    }

    fn has_landed(&self, tip: Option<&CommitId>, commit: &CommitId) -> Result<bool, GitError> {
        match tip {
            Some(tip) if tip == commit => Ok(true),
            Some(tip) if self.object_exists(commit)? => self.is_ancestor(commit, tip),
            _ => Ok(false),
        }
    }

    /// Finishes or undoes what a killed tick left of landings, whichever stage they were for. A tick that calls this
    /// first never leaves the operator with an index lock of ours. Starts no process where nothing is left.
    pub fn recover_landings(&self) -> Result<Recovery, GitError> {
        let recovered = self.checkouts()?.into_iter().map(|checkout| self.recover_landing(&checkout));
        // Each for itself, here as well: what is told is the first that is not clean.
        let told = recovered.reduce(|first, next| if matches!(first, Ok(Recovery::Clean)) { next } else { first });
        told.unwrap_or(Ok(Recovery::Clean))
    }

    fn recover_landing(&self, checkout: &Checkout) -> Result<Recovery, GitError> {
        let order = match journal::trace(&checkout.git_dir)? {
            Trace::None => return Ok(Recovery::Clean),
            Trace::LockOnly => {
                journal::end(&checkout.git_dir)?;
                return Ok(Recovery::Clean);
            }
            Trace::Noted(order) => order,
        };
        let branch = RefName::branch(&order.branch)?;
        let has_landed = self.has_landed(self.ref_tip(&branch)?.as_ref(), &order.commit)?;
        if let Some(top) = &checkout.top
            && has_landed
            && self.is_on(checkout, &branch)?
        {
            if journal::lock_again(&checkout.git_dir)? == Taken::ByAnother {
                return Ok(Recovery::Busy { why: lock_is_held(checkout) });
            }
            let deltas: Vec<Delta> = self.deltas(&order.parent, &order.commit)?;
            CheckoutFiles::open(self, &checkout.git_dir, top, &order, &deltas)?.bring_along()?;
        }
        journal::end(&checkout.git_dir)?;
        Ok(Recovery::Clean)
    }
}

fn is_closed(folder: &Path) -> String {
    format!("{} cannot be written in; give this user the right to (`chown`, `chmod u+w`)", folder.display())
}

fn lock_is_held(checkout: &Checkout) -> String {
    format!(
        "{} is held by another git; if none is running there, remove that file",
        checkout.git_dir.join("index.lock").display()
    )
}
