//! The object side of a repository: reading and writing blobs, trees and commits, and nothing else.
//!
//! Every command of this side runs in a **plain git dir** of our own, whose configuration we wrote, with
//! `GIT_OBJECT_DIRECTORY` pointing at the repository's objects. The repository's configuration is thus never in force:
//! filters, text conversions and merge drivers that an attribute names do not exist there, and do nothing.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::core::ids::{CommitId, ObjectId};

use super::diff::Patch;
use super::disk;
use super::error::GitError;
use super::locate::Location;
use super::remembered;
use super::run::{Call, Git};
use super::settings::{ObjectFormat, Settings};
use super::tree_path::quoted;

/// The objects of a repository.
#[derive(Debug)]
pub struct Objects {
    git: Arc<Git>,
    location: Location,
    /// Where our own git dir and indexes live.
    scratch: PathBuf,
    /// Where new objects go; none for the repository's own objects.
    aside: Option<PathBuf>,
    settings: OnceLock<Settings>,
    plain: OnceLock<PathBuf>,
    /// The commit that was stored last: what is looked at and then done is the same one.
    newest: Mutex<Option<(Vec<u8>, CommitId)>>,
    /// The lines that differed when that was asked last: a candidate is looked through more than once.
    lines: Mutex<Option<(Between, Arc<Patch>)>>,
}

/// What was compared, and how much of it was wanted.
pub(super) type Between = (ObjectId, ObjectId, usize);

impl Objects {
    pub(super) fn new(git: Arc<Git>, location: Location, scratch: &Path) -> Self {
        Self {
            git,
            location,
            scratch: scratch.to_owned(),
            aside: None,
            settings: OnceLock::new(),
            plain: OnceLock::new(),
            newest: Mutex::default(),
            lines: Mutex::default(),
        }
    }

    /// The same objects, with new ones going to a folder below `scratch` instead.
    pub(super) fn aside(&self, scratch: &Path) -> Result<Self, GitError> {
        let aside = scratch.join("objects");
        disk::make_folder(&aside)?;
        let mut objects = Self::new(Arc::clone(&self.git), self.location.clone(), scratch);
        objects.aside = Some(aside);
        Ok(objects)
    }

    /// The program that does the work.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// How many git processes were started so far.
    pub fn processes(&self) -> usize {
        self.git.processes()
    }

    /// Where the repository is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The scratch folder, whether it exists or not.
    pub(super) fn scratch_path(&self) -> &Path {
        &self.scratch
    }

    /// A path in the scratch folder, which is there.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf, GitError> {
        disk::make_folder(&self.scratch)?;
        Ok(self.scratch.join(name))
    }

    /// The settings of the operator and the repository that anything here goes by; read once.
    pub(super) fn settings(&self) -> Result<&Settings, GitError> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        let own = [self.location.common_dir.join("config"), self.location.git_dir.join("config.worktree")];
        let files: Vec<PathBuf> = self.git.settings_files().into_iter().chain(own).collect();
        let settings = remembered::or_ask(&self.scratch.join("settings"), &files, || {
            let mut call = self.real_call(&self.location.git_dir);
            call.with_operator_settings().args(["config", "--list", "--includes", "-z"]);
            Ok(Settings::parse(&call.run()?.stdout))
        })?;
        Ok(self.settings.get_or_init(|| settings))
    }

    /// How the repository names its objects.
    pub fn object_format(&self) -> Result<ObjectFormat, GitError> {
        self.settings().map(Settings::object_format)
    }

    /// Our own git dir; made or brought up to date at its first use.
    pub(super) fn plain(&self) -> Result<&Path, GitError> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain);
        }
        let plain = self.scratch("plain")?;
        for folder in ["objects", "refs", "empty"] {
            disk::make_folder(&plain.join(folder))?;
        }
        let config = self.settings()?.plain_config();
        for (name, content) in [("HEAD", "ref: refs/heads/none\n"), ("config", config.as_str())] {
            let path = plain.join(name);
            if disk::read(&path)?.as_deref() != Some(content.as_bytes()) {
                disk::write(&path, content.as_bytes())?;
            }
        }
        Ok(self.plain.get_or_init(|| plain))
    }

    /// A call on objects alone, without files or index.
    pub(super) fn call(&self) -> Result<Call<'_>, GitError> {
        let empty = self.plain()?.join("empty");
        self.call_in(&empty, &self.scratch.join("no-index"))
    }

    /// A call on the files below `top`, through `index`.
    pub(super) fn call_in(&self, top: &Path, index: &Path) -> Result<Call<'_>, GitError> {
        let plain = self.plain()?;
        let objects = self.location.common_dir.join("objects");
        let mut call = self.git.call(top);
        call.env("GIT_DIR", plain).env("GIT_WORK_TREE", top).env("GIT_INDEX_FILE", index);
        match &self.aside {
            None => drop(call.env("GIT_OBJECT_DIRECTORY", objects)),
            Some(aside) => {
                let alternate = OsString::from_vec(quoted(objects.as_os_str().as_bytes()));
                call.env("GIT_OBJECT_DIRECTORY", aside).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", alternate);
            }
        }
        let shallow = self.location.common_dir.join("shallow");
        if disk::is_there(&shallow)? {
            call.env("GIT_SHALLOW_FILE", shallow);
        }
        Ok(call)
    }

    /// Where new objects go.
    pub(super) fn objects_folder(&self) -> PathBuf {
        self.aside.clone().unwrap_or_else(|| self.location.common_dir.join("objects"))
    }

    /// A call in the repository's own git dir, with its configuration in force: for refs and settings only.
    pub(super) fn real_call(&self, git_dir: &Path) -> Call<'_> {
        let mut call = self.git.call(git_dir);
        call.env("GIT_DIR", git_dir).env("GIT_WORK_TREE", git_dir);
        call
    }

    /// Whether the repository has this object.
    pub fn object_exists(&self, id: &ObjectId) -> Result<bool, GitError> {
        let mut call = self.call()?;
        call.args(["cat-file", "--batch-check"]).input(format!("{id}\n").into_bytes());
        Ok(!call.run()?.stdout.ends_with(b" missing\n"))
    }

    /// Whether `old` is `new` or one of the commits before it.
    pub fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, GitError> {
        if old == new {
            return Ok(true);
        }
        let mut call = self.call()?;
        call.args(["merge-base", "--is-ancestor", old.as_str(), new.as_str()]).fine(&[0, 1]);
        Ok(call.run()?.code == 0)
    }

    /// The id of a commit's bytes, where it is the one that was stored last.
    pub(super) fn stored(&self, bytes: &[u8]) -> Option<CommitId> {
        let newest = self.newest.lock().ok()?;
        newest.as_ref().filter(|(known, _)| known == bytes).map(|(_, id)| id.clone())
    }

    /// Remembers the commit that was stored last.
    pub(super) fn has_stored(&self, bytes: Vec<u8>, id: &CommitId) {
        if let Ok(mut newest) = self.newest.lock() {
            *newest = Some((bytes, id.clone()));
        }
    }

    /// The lines that differ, where they are what was asked for last.
    pub(super) fn known_lines(&self, between: &Between) -> Option<Arc<Patch>> {
        let lines = self.lines.lock().ok()?;
        lines.as_ref().filter(|(known, _)| known == between).map(|(_, patch)| Arc::clone(patch))
    }

    /// Remembers the lines that differ.
    pub(super) fn knows_lines(&self, between: Between, patch: &Arc<Patch>) {
        if let Ok(mut lines) = self.lines.lock() {
            *lines = Some((between, Arc::clone(patch)));
        }
    }

    /// The content of a commit, headers and message.
    pub(super) fn commit_bytes(&self, commit: &CommitId) -> Result<Vec<u8>, GitError> {
        if let Ok(newest) = self.newest.lock()
            && let Some((bytes, _)) = newest.as_ref().filter(|(_, known)| known == commit)
        {
            return Ok(bytes.clone());
        }
        let mut call = self.call()?;
        call.args(["cat-file", "commit", commit.as_str()]);
        Ok(call.run()?.stdout)
    }

    /// The parents of a commit.
    pub(super) fn parents(&self, commit: &CommitId) -> Result<Vec<CommitId>, GitError> {
        parents_in(&self.commit_bytes(commit)?)
    }
}

/// The parents that a commit's content names.
pub(super) fn parents_in(bytes: &[u8]) -> Result<Vec<CommitId>, GitError> {
    let text = String::from_utf8_lossy(bytes);
    let header = text.lines().take_while(|line| !line.is_empty());
    header.filter_map(|line| line.strip_prefix("parent ")).map(|id| parse_id(id, "git cat-file")).collect()
}

/// An object id from what git said.
pub(super) fn parse_id(text: &str, command: &'static str) -> Result<ObjectId, GitError> {
    text.parse().map_err(|_| GitError::Puzzling { command, answer: text.to_owned() })
}
