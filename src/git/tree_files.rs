//! What a tree holds at some paths, and the bytes of its files.

use crate::core::ids::ObjectId;

use super::error::GitError;
use super::lines::next_object;
use super::objects::{Objects, parse_id};
use super::tree_path::TreePath;

/// What kind of thing stands in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeKind {
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A repository of its own.
    Repository,
}

/// One file, link or repository in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Where it stands.
    pub path: TreePath,
    /// What it is.
    pub kind: TreeKind,
    /// The blob, or the repository's commit.
    pub id: ObjectId,
    /// Its size in bytes; none for a repository.
    pub bytes: Option<u64>,
}

impl Objects {
    /// Everything that a tree or commit holds at these paths and below them, each path taken literally; all of it where
    /// no path is given.
    pub fn tree_files(&self, tree: &ObjectId, paths: &[&str]) -> Result<Vec<TreeFile>, GitError> {
        let mut call = self.call()?;
        call.args(["ls-tree", "-r", "-z", "-l", "--full-tree", tree.as_str(), "--"]);
        call.args(paths.iter().map(|path| path.trim_end_matches('/')));
        let said = call.run()?;
        said.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(entry).collect()
    }

    /// The bytes of these blobs, in the same order.
    pub fn blobs(&self, ids: &[&ObjectId]) -> Result<Vec<Vec<u8>>, GitError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.call()?;
        let names: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        call.args(["cat-file", "--batch=%(objectsize)"]).input((names.join("\n") + "\n").into_bytes());
        let said = call.run()?;
        let puzzling = || GitError::Puzzling { command: "git cat-file", answer: "a blob is missing".to_owned() };
        let mut rest = said.stdout.as_slice();
        let mut blobs = Vec::new();
        for _ in ids {
            let (body, behind) = next_object(rest).ok_or_else(puzzling)?;
            blobs.push(body.to_vec());
            rest = behind;
        }
        Ok(blobs)
    }
}

/// Reads `mode SP type SP id SP* size TAB path`.
pub(super) fn entry(line: &[u8]) -> Result<TreeFile, GitError> {
    let puzzling = || GitError::Puzzling { command: "git ls-tree", answer: String::from_utf8_lossy(line).into_owned() };
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(puzzling)?;
    let head = std::str::from_utf8(&line[..tab]).map_err(|_| puzzling())?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let [mode, _, id, size] = words.as_slice() else { return Err(puzzling()) };
    let kind = match *mode {
        "120000" => TreeKind::Link,
        "160000" => TreeKind::Repository,
        _ => TreeKind::File,
    };
    let path = TreePath::from_bytes(&line[tab + 1..]);
    Ok(TreeFile { path, kind, id: parse_id(id, "git ls-tree")?, bytes: size.parse().ok() })
}
