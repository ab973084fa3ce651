//! Refs: reading them (from files where that is enough) and moving them by compare-and-swap.

use std::fmt;
use std::path::Path;

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::core::ids::CommitId;

use super::disk;
use super::error::GitError;
use super::objects::parse_id;
use super::own_branches::OURS;
use super::repo::Repo;

/// The refs that nobody but us writes.
const OWN_REFS: [&str; 3] = ["refs/heads/autometta/", "refs/heads/wip/", "refs/autometta/"];

/// How long a lock on one of them must stand still before it counts as left behind; git holds one for milliseconds.
const STALE_LOCK: Duration = Duration::from_secs(1);

/// A full ref name that is safe as an argument and as a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(String);

impl RefName {
    /// From a full name such as `refs/autometta/state`. The rules are those of `git check-ref-format`.
    pub fn new(name: &str) -> Result<Self, GitError> {
        let part_is_fine = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && !part.ends_with('.')
                && part.strip_suffix(".lock").is_none()
                && !part.contains("..")
                && !part.contains("@{")
                && !part.chars().any(|c| c.is_ascii_control() || " ~^:?*[\\".contains(c))
        };
        if name.starts_with("refs/") && name.len() < 1000 && name.split('/').all(part_is_fine) {
            Ok(Self(name.to_owned()))
        } else {
            Err(GitError::BadRefName { name: name.to_owned() })
        }
    }

    /// From a branch's short name such as `main`.
    pub fn branch(name: &str) -> Result<Self, GitError> {
        if name.is_empty() || name.starts_with('-') || name == "HEAD" {
            return Err(GitError::BadRefName { name: name.to_owned() });
        }
        Self::new(&format!("refs/heads/{name}")).map_err(|_| GitError::BadRefName { name: name.to_owned() })
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The short name, where it is a branch.
    pub fn as_branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What a ref must be for it to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is.
    Anything,
    /// It must not exist.
    Absent,
    /// It must be exactly this.
    Is(CommitId),
}

/// Whether a ref was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is where it should be, by this call or an earlier one.
    Yes,
    /// It was something else.
    No {
        /// What it was.
        found: Option<CommitId>,
    },
}

/// What a git dir's HEAD is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    /// On a branch (or another ref), born or unborn.
    On(String),
    /// Anything else.
    Detached,
}

/// What a loose ref file or a line of packed refs says.
enum Read {
    Tip(Option<CommitId>),
    AskGit,
}

impl Repo {
    /// The tip of a branch; none where it has no commit yet or does not exist. Usually starts no process.
    pub fn tip(&self, branch: &str) -> Result<Option<CommitId>, GitError> {
        self.ref_tip(&RefName::branch(branch)?)
    }

    /// What a ref points to; none where it does not exist.
    pub fn ref_tip(&self, name: &RefName) -> Result<Option<CommitId>, GitError> {
        match self.read_ref_files(name)? {
            Read::Tip(tip) => Ok(tip),
            Read::AskGit => {
                let mut call = self.real_call(&self.location().git_dir);
                call.args(["rev-parse", "--verify", "--quiet", "--end-of-options", name.as_str()]).fine(&[0, 1]);
                let said = call.run()?;
                if said.code == 0 { parse_id(said.text("git rev-parse")?, "git rev-parse").map(Some) } else { Ok(None) }
            }
        }
    }

    fn read_ref_files(&self, name: &RefName) -> Result<Read, GitError> {
        let common = &self.location().common_dir;
        if self.uses_reftable()? {
            return Ok(Read::AskGit);
        }
        let loose = common.join(name.as_str());
        if loose.is_file()
            && let Some(content) = disk::read(&loose)?
        {
            let id = std::str::from_utf8(&content).ok().and_then(|text| text.trim_end().parse().ok());
            return Ok(id.map_or(Read::AskGit, |id| Read::Tip(Some(id))));
        }
        // `git pack-refs` writes the packed file before it removes the loose one, so this order misses nothing.
        let packed = disk::read(&common.join("packed-refs"))?.unwrap_or_default();
        for line in packed.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#")) {
            let Some(at) = line.iter().position(|byte| *byte == b' ') else { continue };
            if &line[at + 1..] == name.as_str().as_bytes() {
                let id = std::str::from_utf8(&line[..at]).ok().and_then(|text| text.parse().ok());
                return Ok(id.map_or(Read::AskGit, |id| Read::Tip(Some(id))));
            }
        }
        Ok(Read::Tip(None))
    }

    /// Whether refs are kept in tables and not in files.
    pub(super) fn uses_reftable(&self) -> Result<bool, GitError> {
        disk::is_folder(&self.location().common_dir.join("reftable"))
    }

    /// The branch that is checked out; none where HEAD is detached.
    pub fn current_branch(&self) -> Result<Option<String>, GitError> {
        Ok(match self.head(&self.location().git_dir)? {
            Head::On(name) => name.strip_prefix("refs/heads/").map(str::to_owned),
            Head::Detached => None,
        })
    }

    /// The HEAD of a git dir of this repository.
    pub(super) fn head(&self, git_dir: &Path) -> Result<Head, GitError> {
        let name = if self.uses_reftable()? {
            let mut call = self.real_call(git_dir);
            call.args(["symbolic-ref", "--quiet", "HEAD"]).fine(&[0, 1]);
            let said = call.run()?;
            (said.code == 0).then(|| String::from_utf8_lossy(&said.stdout).into_owned())
        } else {
            let content = disk::read(&git_dir.join("HEAD"))?.unwrap_or_default();
            String::from_utf8_lossy(&content).strip_prefix("ref:").map(str::to_owned)
        };
        Ok(name.map_or(Head::Detached, |name| Head::On(name.trim().to_owned())))
    }

    /// Moves a ref, if it is what is expected. Asked again after it succeeded, it says yes again.
    ///
    /// A branch that is checked out moves through [`Repo::land`] only.
    pub fn set_ref(&self, name: &RefName, new: &CommitId, expect: &Expect) -> Result<Moved, GitError> {
        let moved = self.move_ref(&self.location().git_dir, name, new, expect);
        if moved.is_err() && self.clear_stale_lock(name)? {
            return self.move_ref(&self.location().git_dir, name, new, expect);
        }
        moved
    }

    /// Removes the lock that a killed git left on a ref that only we write. It is stale where it stands still for much
    /// longer than git holds one; a lock on anybody else's ref is left for its owner.
    fn clear_stale_lock(&self, name: &RefName) -> Result<bool, GitError> {
        if !OWN_REFS.iter().any(|own| name.as_str().starts_with(own)) {
            return Ok(false);
        }
        let lock = self.location().common_dir.join(format!("{name}.lock"));
        let seen = || Ok::<_, GitError>(disk::look(&lock)?.map(|found| (found.ino(), found.mtime(), found.len())));
        let before = seen()?;
        if before.is_none() {
            return Ok(false);
        }
        std::thread::sleep(STALE_LOCK);
        if seen()? != before {
            return Ok(false);
        }
        disk::remove_file(&lock)?;
        Ok(true)
    }

    /// Moves a ref on behalf of one checkout, so that the reflog of its HEAD shows the move.
    pub(super) fn move_ref(
        &self,
        git_dir: &Path,
        name: &RefName,
        new: &CommitId,
        expect: &Expect,
    ) -> Result<Moved, GitError> {
        let found = self.ref_tip(name)?;
        if found.as_ref() == Some(new) {
            return Ok(Moved::Yes);
        }
        let mut call = self.real_call(git_dir);
        call.args(["update-ref", "--create-reflog", "-m", OURS, "--end-of-options", name.as_str(), new.as_str()]);
        match expect {
            Expect::Anything => {}
            Expect::Absent if found.is_some() => return Ok(Moved::No { found }),
            Expect::Is(old) if found.as_ref() != Some(old) => return Ok(Moved::No { found }),
            // Git reads the empty string as "must not exist".
            Expect::Absent => drop(call.arg("")),
            Expect::Is(old) => drop(call.arg(old.as_str())),
        }
        match call.run() {
            Ok(_) => Ok(Moved::Yes),
            Err(error) => match self.ref_tip(name)? {
                // Somebody was faster; any other failure is a failure.
                now if now != found => Ok(Moved::No { found: now }),
                _ => Err(error),
            },
        }
    }

    /// Removes a ref, if it is what is expected. Where it is gone already, that is a yes.
    pub fn delete_ref(&self, name: &RefName, expect: &Expect) -> Result<Moved, GitError> {
        let Some(found) = self.ref_tip(name)? else { return Ok(Moved::Yes) };
        match expect {
            Expect::Anything => {}
            Expect::Is(old) if *old == found => {}
            Expect::Is(_) | Expect::Absent => return Ok(Moved::No { found: Some(found) }),
        }
        let mut call = self.real_call(&self.location().git_dir);
        call.args(["update-ref", "-d", "--end-of-options", name.as_str(), found.as_str()]);
        match call.run() {
            Ok(_) => Ok(Moved::Yes),
            Err(error) => match self.ref_tip(name)? {
                None => Ok(Moved::Yes),
                Some(now) if now != found => Ok(Moved::No { found: Some(now) }),
                Some(_) => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ref_names_are_checked_before_they_become_paths_or_arguments() {
        for name in ["main", "autometta/01-a", "wip/01-a-attempt-2", "ünï", "a-b"] {
            assert_eq!(RefName::branch(name).expect(name).as_branch(), Some(name));
        }
        for name in [
            "", "-d", "HEAD", "a..b", "../x", "a//b", "/a", "a/", ".a", "a.lock", "a b", "a\nb", "a~1", "a@{1}", "a:b",
            "a.",
        ] {
            assert!(RefName::branch(name).is_err(), "{name}");
        }
        assert!(RefName::new("HEAD").is_err() && RefName::new("refs/autometta/state").is_ok());
    }
}
