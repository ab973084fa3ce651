//! Snapshots: a few small files kept as commits on a ref of their own, such as `refs/autometta/state`.
//!
//! Blobs, trees and commit are stored first ([`super::loose`]); the ref then moves by compare-and-swap, so a crash leaves
//! the old snapshot or the new one. The history is one line of commits, whose reflog is kept.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use chrono::{DateTime, Utc};

use crate::core::ids::{CommitId, ObjectId};

use super::commit::{CommitText, Signature};
use super::disk;
use super::error::GitError;
use super::loose::{self, Kind, Loose};
use super::objects::Objects;
use super::refs::{Expect, Moved, RefName};
use super::repo::Repo;

/// How often a snapshot is written anew because somebody else moved its ref meanwhile.
const TRIES: usize = 3;

/// What became of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    /// It is a new commit.
    Written(CommitId),
    /// The newest snapshot holds these very files.
    Unchanged,
}

impl Repo {
    /// Writes a snapshot of `files` (path and content) on top of the ref's history, unless nothing changed.
    ///
    /// What was written last is remembered in the scratch folder, so that asking again starts no process.
    pub fn snapshot(
        &self,
        name: &RefName,
        files: &[(String, Vec<u8>)],
        message: &str,
        at: DateTime<Utc>,
    ) -> Result<Snapshot, GitError> {
        for (path, _) in files {
            check_path(path)?;
        }
        let memory = self.scratch(&format!("snapshot-{}", name.as_str().replace('/', "-")))?;
        let format = self.object_format()?;
        let blobs = files.iter().map(|(_, content)| Loose::new(format, Kind::Blob, content));
        let blobs = blobs.collect::<Result<Vec<_>, _>>()?;
        let parts = Parts(files.iter().zip(&blobs).map(|((path, _), blob)| (path.clone(), blob.id.clone())).collect());
        let trees = loose::trees(format, &parts.0)?;
        let Some(tree) = trees.last().map(|tree| tree.id.clone()) else { return Ok(Snapshot::Unchanged) };
        for _ in 0..TRIES {
            let old = self.ref_tip(name)?;
            // Only what is remembered of the very tip counts.
            let before = disk::read(&memory)?.and_then(|bytes| Parts::remembered(&bytes, old.as_ref()?));
            let is_known = before.as_ref() == Some(&parts);
            if let Some(old) = &old
                && (is_known || (before.is_none() && self.tree_of(old).is_ok_and(|known| known == tree)))
            {
                if !is_known {
                    disk::write_plainly(&memory, &parts.remember(old))?;
                }
                return Ok(Snapshot::Unchanged);
            }
            // Those that stayed as they were are there already.
            let is_news = |blob: &&Loose| before.as_ref().is_none_or(|before| !before.has(&blob.id));
            self.store(blobs.iter().filter(is_news).chain(&trees))?;
            let who = Signature::ours();
            let commit = self.write_commit(&CommitText {
                tree: tree.clone(),
                parents: old.iter().cloned().collect(),
                author: who.clone(),
                committer: who,
                at,
                message: message.to_owned(),
            })?;
            let expect = old.map_or(Expect::Absent, Expect::Is);
            if self.set_ref(name, &commit, &expect)? == Moved::Yes {
                disk::write_plainly(&memory, &parts.remember(&commit))?;
                return Ok(Snapshot::Written(commit));
            }
        }
        Err(GitError::RefContended { name: name.to_string() })
    }

    /// The snapshots of a ref, newest first, at most `most`: by its reflog and by its history, so that one that is
    /// damaged or was lost does not hide the ones before it.
    pub fn snapshots(&self, name: &RefName, most: usize) -> Result<Vec<CommitId>, GitError> {
        let mut found: Vec<CommitId> = Vec::new();
        let mut add = |id: CommitId| {
            if !found.contains(&id) {
                found.push(id);
            }
        };
        // A ref that cannot be read has a reflog all the same.
        let tip = match self.ref_tip(name) {
            Err(error) if error.may_pass() => return Err(error),
            tip => tip.ok().flatten(),
        };
        tip.iter().cloned().for_each(&mut add);
        let log = disk::read(&self.location().common_dir.join("logs").join(name.as_str()))?.unwrap_or_default();
        for line in String::from_utf8_lossy(&log).lines().rev() {
            if let Some(id) = line.split(' ').nth(1).and_then(|id| id.parse().ok()) {
                add(id);
            }
        }
        if let Some(tip) = &tip {
            let mut call = self.call()?;
            call.args(["rev-list", "--first-parent", &format!("--max-count={most}"), tip.as_str()]);
            match call.run() {
                Ok(said) => {
                    String::from_utf8_lossy(&said.stdout).lines().filter_map(|id| id.parse().ok()).for_each(&mut add);
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(_) => {}
            }
        }
        found.truncate(most);
        Ok(found)
    }

    /// A file of the newest snapshot; none where there is no snapshot or it has no such file.
    pub fn read_snapshot(&self, name: &RefName, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        match self.ref_tip(name)? {
            None => Ok(None),
            Some(tip) => self.read_file_at(&tip, path),
        }
    }
}

impl Objects {
    /// A file's content in a commit; none where the commit has no such file.
    pub fn read_file_at(&self, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        check_path(path)?;
        let mut call = self.call()?;
        call.args(["cat-file", "--batch=%(objecttype) %(objectsize)"]).input(format!("{commit}:{path}\n").into_bytes());
        let said = call.run()?.stdout;
        let Some(end) = said.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let head = String::from_utf8_lossy(&said[..end]);
        let Some(size) = head.strip_prefix("blob ") else { return Ok(None) };
        let content = size.parse().ok().and_then(|size: usize| said.get(end + 1..)?.get(..size));
        content
            .map(|bytes| Some(bytes.to_vec()))
            .ok_or_else(|| GitError::Puzzling { command: "git cat-file", answer: head.clone().into_owned() })
    }
}

fn check_path(path: &str) -> Result<(), GitError> {
    let is_plain = !path.is_empty()
        && !path.contains(char::is_control)
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let why = "a file of a snapshot has a plain relative path";
    if is_plain { Ok(()) } else { Err(GitError::BadPath { path: path.to_owned(), why }) }
}

/// The files of a snapshot by their paths, each with its blob.
#[derive(Debug, PartialEq, Eq)]
struct Parts(BTreeMap<String, ObjectId>);

impl Parts {
    fn has(&self, blob: &ObjectId) -> bool {
        self.0.values().any(|known| known == blob)
    }

    /// What is remembered of a snapshot: its commit, then a line for each file, and a last one that says that all is there.
    fn remember(&self, tip: &CommitId) -> Vec<u8> {
        let lines: Vec<String> = self.0.iter().map(|(path, blob)| format!("{blob} {path}\n")).collect();
        format!("{tip}\n{}.\n", lines.concat()).into_bytes()
    }

    /// What was remembered of this commit; none where it was another one.
    fn remembered(bytes: &[u8], tip: &CommitId) -> Option<Self> {
        let lines =
            std::str::from_utf8(bytes).ok()?.strip_suffix(".\n")?.strip_prefix(tip.as_str())?.strip_prefix('\n')?;
        let pair = |line: &str| {
            let (blob, path) = line.split_once(' ')?;
            Some((path.to_owned(), blob.parse().ok()?))
        };
        lines.lines().map(pair).collect::<Option<_>>().map(Self)
    }
}
