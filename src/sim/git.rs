//! Git reduced to what matters to a night: trees of paths and contents, commits, branches, the worktrees of runs, and
//! the operator's checkout with edits that nobody may touch.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use sha2::{Digest, Sha256};

use super::disk::SimDisk;
use crate::core::ids::{CommitId, ObjectId, RunId, StageId};

/// A tree: paths, and for each a number that stands for its content.
pub type Tree = BTreeMap<String, u64>;

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its tree.
    pub tree: ObjectId,
    /// Its only parent; none for the first.
    pub parent: Option<CommitId>,
    /// The stage that it landed for; none for anybody else's.
    pub stage: Option<StageId>,
    /// The worker's run whose change landed.
    pub run: Option<RunId>,
}

/// The checkout of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// What it was cut at.
    pub base: CommitId,
    /// What is in it now.
    pub files: Tree,
}

/// A landing under way in the operator's checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    branch: String,
    commit: CommitId,
}

/// What came of a landing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// The branch has it.
    Done,
    /// The branch is elsewhere.
    Moved,
    /// The operator has edits in these paths.
    Dirty(Vec<String>),
    /// The operator's git is at work.
    Busy,
}

/// A repository.
#[derive(Debug, Clone, Default)]
pub struct SimGit {
    trees: BTreeMap<ObjectId, Tree>,
    commits: BTreeMap<CommitId, Commit>,
    refs: BTreeMap<String, CommitId>,
    /// The checkouts of runs.
    pub worktrees: BTreeMap<RunId, Worktree>,
    /// The operator's edits that are not committed.
    pub edits: Tree,
    /// The commit whose files are in the operator's checkout.
    checkout: Option<CommitId>,
    note: Option<Note>,
    /// Whether the operator's git is at work.
    pub is_busy: bool,
    /// Branches that are away for a while, with where they were.
    hidden: BTreeMap<String, CommitId>,
}

/// The name of an object by what is in it.
fn name(text: &str) -> ObjectId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&Sha256::digest(text)[..20]);
    ObjectId::of_bytes(bytes)
}

impl SimGit {
    /// Stores a tree.
    pub fn tree(&mut self, files: Tree) -> ObjectId {
        let id = name(&format!("{files:?}"));
        self.trees.insert(id.clone(), files);
        id
    }

    /// Stores a commit; `words` are what else is in it.
    pub fn commit(&mut self, commit: Commit, words: &str) -> CommitId {
        let Commit { tree, parent, .. } = &commit;
        let parent = parent.as_ref().map_or("", ObjectId::as_str);
        let id = name(&format!("{tree} {parent} {words}"));
        self.commits.insert(id.clone(), commit);
        id
    }

    /// The files of a commit; none of one that nobody has stored.
    pub fn files(&self, commit: &CommitId) -> Tree {
        self.commits.get(commit).and_then(|commit| self.trees.get(&commit.tree)).cloned().unwrap_or_default()
    }

    /// The files of a tree.
    pub fn tree_files(&self, tree: &ObjectId) -> Tree {
        self.trees.get(tree).cloned().unwrap_or_default()
    }

    /// A commit.
    pub fn find(&self, commit: &CommitId) -> Option<&Commit> {
        self.commits.get(commit)
    }

    /// Sees to it that a commit that a state speaks of is there, on top of another where it is new.
    pub fn know(&mut self, commit: &CommitId, parent: Option<CommitId>) {
        if !self.commits.contains_key(commit) {
            let tree = self.tree(Tree::new());
            self.commits.insert(commit.clone(), Commit { tree, parent, stage: None, run: None });
        }
    }

    /// Where a branch is.
    pub fn tip(&self, branch: &str) -> Option<CommitId> {
        self.refs.get(branch).cloned()
    }

    /// The branches that begin so.
    pub fn branches<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.refs.keys().map(String::as_str).filter(move |branch| branch.starts_with(prefix))
    }

    /// Puts a branch somewhere.
    pub fn set(&mut self, branch: &str, commit: &CommitId) {
        self.refs.insert(branch.to_owned(), commit.clone());
    }

    /// Deletes a branch.
    pub fn delete(&mut self, branch: &str) {
        self.refs.remove(branch);
    }

    /// Takes a branch away for a while, or brings it back.
    pub fn hide(&mut self, branch: &str, is_hidden: bool) {
        if is_hidden {
            if let Some(tip) = self.refs.remove(branch) {
                self.hidden.insert(branch.to_owned(), tip);
            }
        } else if let Some(tip) = self.hidden.remove(branch) {
            self.refs.entry(branch.to_owned()).or_insert(tip);
        }
    }

    /// The operator's checkout is on this commit.
    pub fn check_out(&mut self, commit: &CommitId) {
        self.checkout = Some(commit.clone());
    }

    /// The commit whose files the operator's checkout has.
    pub fn checked_out(&self) -> Option<&CommitId> {
        self.checkout.as_ref()
    }

    /// Whether a landing in the operator's checkout is not finished.
    pub fn is_landing(&self) -> bool {
        self.note.is_some()
    }

    /// The paths in which two trees differ.
    pub fn changed(one: &Tree, other: &Tree) -> BTreeSet<String> {
        let paths = one.keys().chain(other.keys());
        paths.filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
    }

    /// Whether a branch's history holds a commit.
    pub fn contains(&self, tip: &CommitId, commit: &CommitId) -> bool {
        self.history(tip).any(|known| known == commit)
    }

    /// A commit and those before it, newest first.
    pub fn history<'a>(&'a self, tip: &'a CommitId) -> impl Iterator<Item = &'a CommitId> {
        std::iter::successors(Some(tip), |at| self.commits.get(*at).and_then(|commit| commit.parent.as_ref()))
    }

    /// Puts a change on top of another commit; the paths that both have changed where that cannot be done.
    ///
    /// # Errors
    /// Those paths.
    pub fn rebase(&self, base: &CommitId, tip: &CommitId, tree: &ObjectId) -> Result<Tree, BTreeSet<String>> {
        let (from, theirs, ours) = (self.files(base), self.files(tip), self.tree_files(tree));
        let mine = Self::changed(&from, &ours);
        let both: BTreeSet<String> = Self::changed(&from, &theirs).intersection(&mine).cloned().collect();
        if !both.is_empty() {
            return Err(both);
        }
        let mut merged = theirs;
        for path in mine {
            match ours.get(&path) {
                Some(content) => merged.insert(path, *content),
                None => merged.remove(&path),
            };
        }
        Ok(merged)
    }

    /// Finishes or forgets a landing that was interrupted.
    ///
    /// # Errors
    /// The process that does it has died.
    pub fn recover(&mut self, disk: &SimDisk) -> io::Result<()> {
        let Some(note) = self.note.clone() else { return Ok(()) };
        disk.pass()?;
        if self.refs.get(&note.branch).is_some_and(|tip| self.contains(tip, &note.commit)) {
            self.checkout = Some(note.commit);
            disk.pass()?;
        }
        self.note = None;
        Ok(())
    }

    /// Moves a branch from a commit to its child, and the operator's checkout with it; dies between any two steps.
    ///
    /// # Errors
    /// The process that does it has died.
    pub fn land(&mut self, disk: &SimDisk, branch: &str, from: &CommitId, to: &CommitId) -> io::Result<Landing> {
        self.recover(disk)?;
        let tip = self.refs.get(branch).cloned();
        if tip.as_ref().is_some_and(|tip| self.contains(tip, to)) {
            return Ok(Landing::Done);
        }
        if tip.as_ref() != Some(from) {
            return Ok(Landing::Moved);
        }
        if self.is_busy {
            return Ok(Landing::Busy);
        }
        disk.pass()?;
        self.note = Some(Note { branch: branch.to_owned(), commit: to.clone() });
        let touched = Self::changed(&self.files(from), &self.files(to));
        let dirty: Vec<String> = touched.into_iter().filter(|path| self.edits.contains_key(path)).collect();
        disk.pass()?;
        if !dirty.is_empty() {
            self.note = None;
            return Ok(Landing::Dirty(dirty));
        }
        self.set(branch, to);
        disk.pass()?;
        self.checkout = Some(to.clone());
        disk.pass()?;
        self.note = None;
        Ok(Landing::Done)
    }
}
