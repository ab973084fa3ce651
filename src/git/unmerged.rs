//! Which of our branches hold work that is on no other branch yet.

use crate::core::ids::CommitId;

use super::error::GitError;
use super::repo::Repo;

impl Repo {
    /// The short names of our run branches and of branches of kept work that are not reachable from this commit.
    pub fn unmerged(&self, base: &CommitId) -> Result<Vec<String>, GitError> {
        let mut call = self.real_call(&self.location().git_dir);
        let not_in = format!("--no-merged={base}");
        call.args([
            "for-each-ref",
            &not_in,
            "--format=%(refname:lstrip=2)",
            "refs/heads/autometta/",
            "refs/heads/wip/",
        ]);
        let said = call.run()?;
        Ok(String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect())
    }
}
