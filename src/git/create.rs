//! Making a repository from nothing, and reading a commit back: for demonstrations and tests.

use std::path::Path;

use super::commit::Signature;
use super::error::GitError;
use super::objects::Objects;
use super::run::Git;
use crate::core::ids::CommitId;

impl Git {
    /// Makes a repository of a folder: one commit on `branch` with all that the folder holds, and `operator` as its
    /// configured identity.
    pub fn create_repository(
        &self,
        folder: &Path,
        branch: &str,
        operator: &Signature,
        message: &str,
    ) -> Result<(), GitError> {
        let start = format!("--initial-branch={branch}");
        let steps: [&[&str]; 5] = [
            &["init", "--quiet", "--template=", &start],
            &["config", "user.name", operator.name()],
            &["config", "user.email", operator.email()],
            &["add", "--all"],
            &["commit", "--quiet", "--allow-empty", "--message", message],
        ];
        for words in steps {
            self.call(folder).args(words).run()?;
        }
        Ok(())
    }
}

impl Objects {
    /// A commit as people read it: id, author, committer, message with its trailers.
    pub fn commit_for_people(&self, commit: &CommitId) -> Result<String, GitError> {
        let mut call = self.call()?;
        call.args(["show", "--no-patch", "--no-show-signature", "--no-mailmap"]);
        call.args([
            "--format=commit %H%nauthor %an <%ae>%ncommitter %cn <%ce>%n%n    %s%n%n%w(0,4,4)%b",
            commit.as_str(),
        ]);
        Ok(String::from_utf8_lossy(&call.run()?.stdout).trim_end().to_owned())
    }
}
