//! Carrying a candidate over to a base that has moved, where the two changed different paths.
//!
//! No merge takes place inside a file, so no merge driver and no judgement about text is needed: paths that both sides
//! changed are for a person.

use std::collections::BTreeSet;

use crate::core::ids::{CommitId, ObjectId, TreeId};

use super::error::GitError;
use super::objects::Objects;
use super::tree_path::TreePath;

/// Whether a candidate could be carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebase {
    /// The two sides changed different paths.
    Disjoint {
        /// The new base with the candidate's changes.
        tree: TreeId,
    },
    /// Both sides changed these paths, or one made a file where the other made a folder.
    Overlap {
        /// The candidate's paths that are in the way, in order.
        paths: Vec<TreePath>,
    },
}

impl Objects {
    /// Carries the changes from `old_base` to `candidate` (a tree or commit) over to `new_base`.
    pub fn rebase(&self, old_base: &CommitId, new_base: &CommitId, candidate: &ObjectId) -> Result<Rebase, GitError> {
        let ours = self.deltas(old_base, candidate)?;
        let theirs = self.deltas(old_base, new_base)?;
        let folds_case = self.settings()?.folds_case();
        let name = |path: &TreePath| if folds_case { path.folded() } else { path.clone() };
        let their_paths: BTreeSet<TreePath> = theirs.iter().map(|delta| name(&delta.path)).collect();
        let their_folders: BTreeSet<TreePath> = their_paths.iter().flat_map(TreePath::folders).collect();
        let is_in_the_way = |path: &TreePath| {
            let path = name(path);
            their_paths.contains(&path)
                || their_folders.contains(&path)
                || path.folders().any(|folder| their_paths.contains(&folder))
        };
        let paths: Vec<TreePath> =
            ours.iter().map(|delta| &delta.path).filter(|path| is_in_the_way(path)).cloned().collect();
        if paths.is_empty() {
            Ok(Rebase::Disjoint { tree: self.tree_with(new_base, &ours)? })
        } else {
            Ok(Rebase::Overlap { paths })
        }
    }
}
