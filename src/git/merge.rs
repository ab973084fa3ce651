//! Merging a candidate with a base that changed the same files, once a person has said that git may.
//!
//! It is done in the object database only: no checkout, no index. Merge drivers of the repository's attributes name
//! programs that our own git directory does not know, so git falls back to merging texts.

use crate::core::ids::{CommitId, TreeId};

use super::error::GitError;
use super::objects::{Objects, parse_id};
use super::tree_path::TreePath;

/// git's exit code for a merge with conflicts.
const CONFLICTS: i32 = 1;

/// What became of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// Every file could be merged.
    Clean {
        /// The merged tree.
        tree: TreeId,
    },
    /// These could not.
    Conflict {
        /// The paths, in order.
        paths: Vec<TreePath>,
    },
}

impl Objects {
    /// Merges two commits in the object database.
    pub fn merge(&self, ours: &CommitId, theirs: &CommitId) -> Result<Merge, GitError> {
        let mut call = self.call()?;
        call.args(["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours.as_str(), theirs.as_str()]);
        call.fine(&[0, CONFLICTS]);
        let said = call.run()?;
        let mut fields = said.stdout.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        let tree = String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
        let paths: Vec<TreePath> = fields.map(TreePath::from_bytes).collect();
        if said.code == CONFLICTS || !paths.is_empty() {
            return Ok(Merge::Conflict { paths });
        }
        Ok(Merge::Clean { tree: parse_id(&tree, "git merge-tree")? })
    }
}
