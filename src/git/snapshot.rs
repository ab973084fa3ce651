//! Snapshots: a few small files kept as commits on a ref of their own, such as `refs/autometta/state`.
//!
//! One `git fast-import` stores blobs, tree and commit; the ref then moves by compare-and-swap, so a crash leaves the
//! old snapshot or the new one. The history is one line of commits, whose reflog is kept.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::core::ids::CommitId;

use super::disk;
use super::error::GitError;
use super::objects::{Objects, parse_id};
use super::refs::{Expect, Moved, RefName};
use super::repo::Repo;
use super::tree_path::{hex, quoted};

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

/// A commit that `fast-import` made, with its tree and that of the commit before it.
struct Imported {
    commit: CommitId,
    is_news: bool,
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
        let parts = Parts::of(files);
        for _ in 0..TRIES {
            let old = self.ref_tip(name)?;
            // Only what is remembered of the very tip counts.
            let before = disk::read(&memory)?.and_then(|bytes| Parts::remembered(&bytes, old.as_ref()?));
            if old.is_some() && before.as_ref() == Some(&parts) {
                return Ok(Snapshot::Unchanged);
            }
            let imported =
                match self.import(old.as_ref(), before.as_ref().map(|before| (before, &parts)), files, message, at) {
                    // What it would stand on may be damaged: then it is written whole.
                    Err(_) if before.is_some() => self.import(old.as_ref(), None, files, message, at)?,
                    other => other?,
                };
            if let Some(old) = old.as_ref().filter(|_| !imported.is_news) {
                disk::write_plainly(&memory, &parts.remember(old))?;
                return Ok(Snapshot::Unchanged);
            }
            let expect = old.map_or(Expect::Absent, Expect::Is);
            if self.set_ref(name, &imported.commit, &expect)? == Moved::Yes {
                disk::write_plainly(&memory, &parts.remember(&imported.commit))?;
                return Ok(Snapshot::Written(imported.commit));
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

    fn import(
        &self,
        old: Option<&CommitId>,
        parts: Option<(&Parts, &Parts)>,
        files: &[(String, Vec<u8>)],
        message: &str,
        at: DateTime<Utc>,
    ) -> Result<Imported, GitError> {
        let who = format!("autometta <autometta@local> {} +0000", at.timestamp().max(0));
        // The ref named here is one of our own git dir; the repository's is moved by compare-and-swap afterwards.
        let mut input = format!("feature done\ncommit refs/heads/snapshot\nmark :1\ncommitter {who}\n").into_bytes();
        push_data(&mut input, message.as_bytes());
        if let Some(old) = old {
            input.extend_from_slice(format!("from {old}\n").as_bytes());
            match parts {
                None => input.extend_from_slice(b"deleteall\n"),
                Some((before, now)) => {
                    for path in before.0.keys().filter(|path| !now.0.contains_key(*path)) {
                        input.extend_from_slice(b"D ");
                        input.extend_from_slice(&quoted(path.as_bytes()));
                        input.push(b'\n');
                    }
                }
            }
        }
        // Those that stayed as they were are there already; a hundred of them at once would be kept as a pack, and packs
        // pile up.
        let is_news = |path: &str| parts.is_none_or(|(before, now)| before.0.get(path) != now.0.get(path));
        for (path, content) in files.iter().filter(|(path, _)| is_news(path)) {
            input.extend_from_slice(b"M 100644 inline ");
            input.extend_from_slice(&quoted(path.as_bytes()));
            input.push(b'\n');
            push_data(&mut input, content);
        }
        input.extend_from_slice(b"\nls :1 \"\"\n");
        if let Some(old) = old {
            input.extend_from_slice(format!("ls {old} \"\"\n").as_bytes());
        }
        input.extend_from_slice(b"get-mark :1\ndone\n");
        let mut call = self.call()?;
        // The ref need not last, only what it leads to.
        call.args(["-c", "core.fsync=committed"]);
        call.args(["fast-import", "--quiet", "--force", "--done", "--cat-blob-fd=1"]).input(input);
        let said = call.run()?;
        let lines: Vec<&str> = said.text("git fast-import")?.lines().collect();
        let (is_news, commit) = match lines.as_slice() {
            [_, commit] => (true, commit),
            [new, old, commit] => (new != old, commit),
            _ => return Err(GitError::Puzzling { command: "git fast-import", answer: lines.join(" / ") }),
        };
        Ok(Imported { commit: parse_id(commit, "git fast-import")?, is_news })
    }
}

fn push_data(input: &mut Vec<u8>, bytes: &[u8]) {
    input.extend_from_slice(format!("data {}\n", bytes.len()).as_bytes());
    input.extend_from_slice(bytes);
    input.push(b'\n');
}

fn check_path(path: &str) -> Result<(), GitError> {
    let is_plain = !path.is_empty()
        && !path.contains(char::is_control)
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let why = "a file of a snapshot has a plain relative path";
    if is_plain { Ok(()) } else { Err(GitError::BadPath { path: path.to_owned(), why }) }
}

/// The files of a snapshot by their paths, each with the digest of its content.
#[derive(Debug, PartialEq, Eq)]
struct Parts(BTreeMap<String, String>);

impl Parts {
    fn of(files: &[(String, Vec<u8>)]) -> Self {
        Self(files.iter().map(|(path, content)| (path.clone(), hex(&Sha256::digest(content)))).collect())
    }

    /// What is remembered of a snapshot: its commit, then a line for each file, and a last one that says that all is there.
    fn remember(&self, tip: &CommitId) -> Vec<u8> {
        let lines: Vec<String> = self.0.iter().map(|(path, digest)| format!("{digest} {path}\n")).collect();
        format!("{tip}\n{}.\n", lines.concat()).into_bytes()
    }

    /// What was remembered of this commit; none where it was another one.
    fn remembered(bytes: &[u8], tip: &CommitId) -> Option<Self> {
        let lines =
            std::str::from_utf8(bytes).ok()?.strip_suffix(".\n")?.strip_prefix(tip.as_str())?.strip_prefix('\n')?;
        let pair = |line: &str| line.split_once(' ').map(|(digest, path)| (path.to_owned(), digest.to_owned()));
        lines.lines().map(pair).collect::<Option<_>>().map(Self)
    }
}
