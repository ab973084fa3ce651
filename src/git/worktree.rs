//! Worktrees for agents and checks: linked worktrees of the repository, made and removed by us alone.
//!
//! Their administration is written here file by file, in the layout of gitrepository-layout(5), rather than by
//! `git worktree add`: the folder's name is then known beforehand, so whatever a killed tick left is found again, and
//! no hook or setting of the repository takes part. A marker written last says that a worktree is complete.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::core::ids::CommitId;

use super::capture::PRIVATE_FOLDER;
use super::checkouts::Checkout;
use super::disk;
use super::error::GitError;
use super::index::forget_index;
use super::locate::git_dir_of;
use super::own_branches::OwnBranch;
use super::refs::RefName;
use super::repo::Repo;
use super::tree_path::hex;

/// In a worktree's administration: which folder we made. It holds the folder's inode number.
const CLAIM: &str = "autometta-claim";
/// In a worktree's administration, written last: what the complete worktree was cut from.
const READY: &str = "autometta-ready";

/// A worktree that should exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreeSpec {
    /// Where it goes.
    pub path: PathBuf,
    /// What it holds at first.
    pub commit: CommitId,
    /// The branch it is on, made or reset to `commit`; without one it is detached.
    pub branch: Option<String>,
}

impl WorktreeSpec {
    fn marker(&self) -> String {
        format!("commit {}\nbranch {}\n", self.commit, self.branch.as_deref().unwrap_or(""))
    }
}

/// A worktree's place, whether it exists or not.
struct Site {
    path: PathBuf,
    admin: PathBuf,
}

impl Repo {
    /// Makes sure that a worktree exists. One that is complete for this very spec is left as it is, with whatever an
    /// agent did in it since; anything else of ours at that path is replaced, and anything not ours is refused.
    ///
    /// The worktree gets a folder `.autometta/` that ignores itself, with an empty `outbox/`.
    pub fn ensure_worktree(&self, spec: &WorktreeSpec) -> Result<(), GitError> {
        let site = self.site(&spec.path)?;
        let marker = spec.marker();
        if disk::is_folder(&site.path)? && disk::read(&site.admin.join(READY))?.as_deref() == Some(marker.as_bytes()) {
            return Ok(());
        }
        // An empty folder is nobody's.
        disk::remove_empty_folder(&site.path);
        self.clear(&site)?;
        let branch = spec.branch.as_deref().map(RefName::branch).transpose()?;
        if let Some(branch) = &branch {
            self.refuse_branch_in_use(branch)?;
            self.reset_own_branch(branch, &spec.commit, OwnBranch::Follows)?;
        }
        self.administer(&site, branch.as_ref(), &spec.commit)?;
        let index = site.admin.join("index");
        let mut call = self.call_in(&site.path, &index)?;
        call.args(["read-tree", "--reset", "-u", spec.commit.as_str()]);
        call.run()?;
        furnish(&site.path)?;
        disk::copy_index(&index, &self.scratch(&key_of(&site.path))?)?;
        disk::remove_file(&site.admin.join("locked"))?;
        disk::write(&site.admin.join(READY), marker.as_bytes())
    }

    /// Whether a complete worktree of ours is at this path. Starts no process.
    pub fn worktree_ready(&self, path: &Path) -> Result<bool, GitError> {
        let site = self.site(path)?;
        Ok(disk::is_folder(&site.path)? && disk::is_there(&site.admin.join(READY))?)
    }

    /// Removes a worktree of ours with its administration; its branch stays. Fine where it is gone, wholly or in part.
    pub fn remove_worktree(&self, path: &Path) -> Result<(), GitError> {
        self.clear(&self.site(path)?)
    }

    /// Where a worktree is and where its administration is. The links above it are resolved as far as they exist.
    fn site(&self, path: &Path) -> Result<Site, GitError> {
        let refuse = |why| GitError::BadPath { path: path.display().to_string(), why };
        let full = std::path::absolute(path).map_err(|_| refuse("it cannot be made absolute"))?;
        if full.components().any(|part| part == Component::ParentDir) {
            return Err(refuse("a worktree's path must not contain `..`"));
        }
        let name = full.file_name().ok_or_else(|| refuse("it has no name"))?;
        if full.as_os_str().as_bytes().last().is_some_and(u8::is_ascii_whitespace) {
            return Err(refuse("git cannot record a worktree whose name ends in white space"));
        }
        let parent = full.parent().unwrap_or(Path::new("/"));
        let there = parent.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let rest = parent.strip_prefix(there).unwrap_or(Path::new(""));
        let mut resolved = disk::resolve(there)?;
        resolved.extend(rest);
        let path = resolved.join(name);
        let admin = self.location().common_dir.join("worktrees").join(key_of(&path));
        Ok(Site { path, admin })
    }

    /// Removes whatever of ours is at a site; the completion marker goes first and the administration last, so that
    /// a half-removed worktree is never taken for a complete one or for somebody else's.
    fn clear(&self, site: &Site) -> Result<(), GitError> {
        if disk::is_there(&site.path)? {
            if !is_ours(site)? {
                return Err(GitError::NotOurs { path: site.path.clone() });
            }
            disk::remove_file(&site.admin.join(READY))?;
            disk::remove_tree(&site.path)?;
        }
        // Without this file no git looks at the rest, whoever calls it meanwhile.
        disk::remove_file(&site.admin.join("gitdir"))?;
        disk::remove_tree(&site.admin)?;
        forget_index(&self.scratch(&key_of(&site.path))?)
    }

    fn refuse_branch_in_use(&self, branch: &RefName) -> Result<(), GitError> {
        match self.checkouts_of(branch)?.into_iter().next() {
            None => Ok(()),
            Some(checkout) => {
                let branch = branch.as_branch().unwrap_or_default().to_owned();
                Err(GitError::BranchInUse { branch, path: checkout.top.unwrap_or(checkout.git_dir) })
            }
        }
    }

    /// The tops of the repository's checkouts but for this one and those that we made for runs.
    pub fn other_checkouts(&self) -> Result<Vec<PathBuf>, GitError> {
        let mut tops = Vec::new();
        for checkout in self.checkouts()? {
            if checkout.git_dir != self.location().git_dir && !is_of_a_run(&checkout)? {
                tops.extend(checkout.top);
            }
        }
        Ok(tops)
    }

    /// Whether somebody else has a branch checked out.
    pub(super) fn is_in_others_checkout(&self, branch: &RefName) -> Result<bool, GitError> {
        for checkout in self.checkouts_of(branch)? {
            if !is_of_a_run(&checkout)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the administration and the empty folder. `locked` comes first: it keeps `git worktree prune` away. `gitdir`
    /// comes once the rest can be read: a git that somebody else calls meanwhile looks at no worktree without it.
    fn administer(&self, site: &Site, branch: Option<&RefName>, commit: &CommitId) -> Result<(), GitError> {
        let put = |name: &str, content: &[u8]| disk::write_plainly(&site.admin.join(name), content);
        disk::make_folder(&site.admin)?;
        put("locked", b"autometta is making this worktree")?;
        put("commondir", b"../..\n")?;
        let head = branch.map_or_else(|| format!("{commit}\n"), |branch| format!("ref: {branch}\n"));
        if self.uses_reftable()? {
            // Such a HEAD lives in a table; the file only marks the folder as a git dir.
            put("HEAD", b"ref: refs/heads/.invalid\n")?;
            disk::make_folder(&site.admin.join("refs"))?;
            put("refs/heads", b"this repository uses the reftable format\n")?;
            disk::make_folder(&site.admin.join("reftable"))?;
            put("reftable/tables.list", b"")?;
            let mut call = self.real_call(&site.admin);
            match branch {
                Some(branch) => call.args(["symbolic-ref", "HEAD", branch.as_str()]),
                None => call.args(["update-ref", "--no-deref", "HEAD", commit.as_str()]),
            };
            call.run()?;
        } else {
            put("HEAD", head.as_bytes())?;
        }
        let mut dot_git = site.path.join(".git").as_os_str().as_bytes().to_vec();
        dot_git.push(b'\n');
        put("gitdir", &dot_git)?;
        disk::make_folder(&site.path)?;
        let inode = disk::look(&site.path)?.map_or(0, |found| found.ino());
        put(CLAIM, format!("{inode}\n").as_bytes())?;
        let mut link = b"gitdir: ".to_vec();
        link.extend_from_slice(site.admin.as_os_str().as_bytes());
        link.push(b'\n');
        disk::write_plainly(&site.path.join(".git"), &link)
    }
}

/// Whether we made a checkout for a run.
fn is_of_a_run(checkout: &Checkout) -> Result<bool, GitError> {
    disk::is_there(&checkout.git_dir.join(CLAIM))
}

/// Whether what is at a site's path was made by us: the very folder that we noted, or one that is linked to the
/// administration we wrote (after a move or a restored backup), or one that we had not filled yet.
fn is_ours(site: &Site) -> Result<bool, GitError> {
    let Some(found) = disk::look(&site.path)?.filter(std::fs::Metadata::is_dir) else { return Ok(false) };
    if !disk::is_folder(&site.admin)? {
        return Ok(false);
    }
    let claim = disk::read(&site.admin.join(CLAIM))?;
    if claim.as_deref() == Some(format!("{}\n", found.ino()).as_bytes()) || disk::list(&site.path)?.is_empty() {
        return Ok(true);
    }
    Ok(git_dir_of(&site.path)?
        .and_then(|linked| disk::resolve(&linked).ok())
        .is_some_and(|linked| disk::resolve(&site.admin).is_ok_and(|admin| admin == linked)))
}

/// Puts our own folder into a fresh checkout; a base commit that has something else there is refused.
fn furnish(top: &Path) -> Result<(), GitError> {
    let private = top.join(PRIVATE_FOLDER);
    if disk::is_there(&private)? && !disk::is_folder(&private)? {
        let path = private.display().to_string();
        return Err(GitError::BadPath { path, why: "the base commit has a file there; remove it from the branch" });
    }
    let outbox = private.join("outbox");
    disk::remove_tree(&outbox)?;
    disk::make_folder(&outbox)?;
    disk::write_plainly(&private.join(".gitignore"), b"*\n")
}

/// The name of a worktree's administration and of its index, made from its resolved path.
pub(super) fn key_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(40).collect();
    format!("autometta-{plain}-{}", hex(&Sha256::digest(path.as_os_str().as_bytes())[..8]))
}
