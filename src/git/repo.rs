//! A repository: its objects, its refs and its checkouts.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::commit::Signature;
use super::disk;
use super::error::GitError;
use super::locate::Location;
use super::objects::Objects;
use super::run::Git;

/// A repository that may be changed. What only reads or adds objects is on [`Objects`], which it dereferences to.
///
/// Its methods expect to run under the repository's tick lock: two of them at once, from two processes, are the
/// caller's mistake. The operator's own git may run at any time.
#[derive(Debug)]
pub struct Repo {
    objects: Objects,
}

impl Deref for Repo {
    type Target = Objects;

    fn deref(&self) -> &Objects {
        &self.objects
    }
}

impl Repo {
    /// Opens the repository whose top folder is `path`. `scratch` is a folder of ours, outside of any worktree that
    /// an agent can write to; it is made when it is first needed. Starts no process.
    pub fn open(path: &Path, scratch: &Path, git: Git) -> Result<Self, GitError> {
        let location = Location::find(path)?;
        let scratch = std::path::absolute(scratch).map_err(|source| GitError::Io {
            action: "resolve",
            path: scratch.to_owned(),
            source,
        })?;
        Ok(Self { objects: Objects::new(Arc::new(git), location, &scratch) })
    }

    /// The operator's name and address, as git would take them for a commit in this repository.
    pub fn committer(&self) -> Result<Signature, GitError> {
        let none = || GitError::NoIdentity { path: self.location().top.clone() };
        self.settings()?.committer().ok_or_else(none)
    }

    /// The filters (such as `lfs`) that are configured *and* used by a tracked file. They are not run here: files go
    /// into and out of checkouts as they are stored, so the caller warns about these.
    pub fn configured_filters(&self) -> Result<Vec<String>, GitError> {
        let mut used = Vec::new();
        let index = self.location().git_dir.join("index");
        for name in self.settings()?.filters() {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            if !is_plain {
                continue;
            }
            let mut call = self.call_in(&self.location().top, &index)?;
            call.args(["ls-files", "-z", "--", &format!(":(attr:filter={name})")]).most(1);
            if !call.run()?.stdout.is_empty() {
                used.push(name);
            }
        }
        Ok(used)
    }

    /// A view of the repository whose new objects go to a temporary folder: for showing what would happen.
    pub fn dry(&self) -> Result<DryObjects, GitError> {
        // Beside the scratch folder, not in it: nothing shared is made that would be left behind.
        let scratch = self.objects.scratch_path();
        let prefix = format!("{}.dry-", scratch.file_name().unwrap_or_default().to_string_lossy());
        for left in disk::list(scratch.parent().unwrap_or(scratch))? {
            let name = left.file_name().and_then(|name| name.to_str());
            let Some(pid) = name.and_then(|name| name.strip_prefix(&prefix)?.parse().ok()) else { continue };
            if disk::is_gone(pid) {
                disk::remove_tree(&left)?;
            }
        }
        let folder = scratch.with_file_name(format!("{prefix}{}", std::process::id()));
        disk::remove_tree(&folder)?;
        Ok(DryObjects { objects: self.objects.aside(&folder)?, folder })
    }
}

/// The objects of a repository, with new ones kept apart; they are gone when this is dropped.
///
/// It has no refs and no worktrees, so what is not to be changed cannot be.
#[derive(Debug)]
pub struct DryObjects {
    objects: Objects,
    folder: PathBuf,
}

impl Deref for DryObjects {
    type Target = Objects;

    fn deref(&self) -> &Objects {
        &self.objects
    }
}

impl Drop for DryObjects {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next dry view.
        drop(disk::remove_tree(&self.folder));
    }
}
