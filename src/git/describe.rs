//! What a commit says of itself.

use crate::core::ids::{CommitId, TreeId};

use super::error::GitError;
use super::objects::{Objects, parents_in, parse_id};

/// The longest subject that is read, in bytes.
const SUBJECT: usize = 1000;

/// A commit's first line and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The first line of its message; what is not UTF-8 is replaced.
    pub subject: String,
    /// The commits before it.
    pub parents: Vec<CommitId>,
}

impl Objects {
    /// The tree of a commit.
    pub fn tree_of(&self, commit: &CommitId) -> Result<TreeId, GitError> {
        let mut call = self.call()?;
        call.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{commit}^{{tree}}")]);
        parse_id(call.run()?.text("git rev-parse")?, "git rev-parse")
    }

    /// What a commit says of itself; none where the repository does not have it (any more).
    pub fn describe(&self, commit: &CommitId) -> Result<Option<Described>, GitError> {
        if !self.object_exists(commit)? {
            return Ok(None);
        }
        let bytes = self.commit_bytes(commit)?;
        let text = String::from_utf8_lossy(&bytes);
        let message = text.split_once("\n\n").map(|(_, message)| message).unwrap_or_default();
        let subject = message.lines().next().unwrap_or_default();
        let subject = subject.char_indices().take_while(|(at, _)| *at < SUBJECT).map(|(_, c)| c).collect();
        Ok(Some(Described { subject, parents: parents_in(&bytes)? }))
    }
}
