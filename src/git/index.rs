//! Index files: listing what they hold beside what the files hold, and setting entries by plumbing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::core::ids::{ObjectId, TreeId};

use super::diff::{Delta, Entry};
use super::disk;
use super::error::GitError;
use super::objects::{Objects, parse_id};
use super::tree_path::TreePath;

/// What git says about a path when index and files are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// In the index.
    Cached,
    /// In the index, and its file is left out of this checkout on purpose.
    SkipWorktree,
    /// In the index, and git was told to take its file for unchanged without a look.
    Assumed,
    /// In the index as one side of a conflict.
    Unmerged,
    /// In the index, and its file is gone.
    Removed,
    /// In the index, and its file is another.
    Changed,
    /// A file, not in the index and not ignored. A path that ends in a slash is an embedded repository.
    Other,
}

/// One line of a listing. A path may have several.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) tag: Tag,
    pub(super) path: TreePath,
    /// What the index has; none for files that are not in it.
    pub(super) entry: Option<Entry>,
}

/// Whether a listing names files that are not in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untracked {
    Listed,
    Omitted,
}

impl Objects {
    /// An index file of our own that does not exist yet.
    pub(super) fn fresh_index(&self, name: &str) -> Result<PathBuf, GitError> {
        let index = self.scratch(name)?;
        forget_index(&index)?;
        Ok(index)
    }

    /// Makes an index hold exactly a tree, keeping what it knows about unchanged files. No file is touched.
    pub(super) fn read_tree(&self, top: &Path, index: &Path, tree: &ObjectId) -> Result<(), GitError> {
        let mut call = self.call_in(top, index)?;
        call.args(["read-tree", "--reset", tree.as_str()]);
        call.run().map(drop)
    }

    /// Stores what an index holds as a tree.
    pub(super) fn write_tree(&self, top: &Path, index: &Path) -> Result<TreeId, GitError> {
        let mut call = self.call_in(top, index)?;
        call.arg("write-tree");
        parse_id(call.run()?.text("git write-tree")?, "git write-tree")
    }

    /// What an index holds, and how the files differ from it. Only `.gitignore` files say what is ignored.
    pub(super) fn list_files(&self, top: &Path, index: &Path, untracked: Untracked) -> Result<Vec<Listed>, GitError> {
        let mut call = self.call_in(top, index)?;
        call.args(["ls-files", "-z", "-v", "-s", "-c", "-d", "-m"]);
        if untracked == Untracked::Listed {
            call.args(["-o", "--exclude=/.autometta", "--exclude-per-directory=.gitignore"]);
        }
        let said = call.run()?;
        if let Some(line) = said.stderr.lines().find(|line| line.contains("could not open directory")) {
            return Err(GitError::Unreadable { path: top.to_owned(), complaint: line.to_owned() });
        }
        said.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(parse_line).collect()
    }

    /// Sets or removes entries of an index, removals first, so that a file can become a folder and back.
    pub(super) fn set_entries<'d>(
        &self,
        top: &Path,
        index: &Path,
        entries: impl Iterator<Item = (&'d TreePath, Option<&'d Entry>)>,
    ) -> Result<(), GitError> {
        let (mut removals, mut additions) = (Vec::new(), Vec::new());
        let zeros = match self.object_format()? {
            super::settings::ObjectFormat::Sha1 => "0".repeat(40),
            super::settings::ObjectFormat::Sha256 => "0".repeat(64),
        };
        for (path, entry) in entries {
            let (lines, head) = match entry {
                None => (&mut removals, format!("0 {zeros}\t")),
                Some(entry) => (&mut additions, format!("{} {}\t", entry.mode, entry.id)),
            };
            lines.extend_from_slice(head.as_bytes());
            lines.extend_from_slice(path.as_bytes());
            lines.push(0);
        }
        removals.extend(additions);
        if removals.is_empty() {
            return Ok(());
        }
        let mut call = self.call_in(top, index)?;
        call.args(["update-index", "-z", "--index-info"]).input(removals);
        call.run().map(drop)
    }

    /// The tree that `base` becomes when every delta's new side is put into it.
    pub(super) fn tree_with(&self, base: &ObjectId, deltas: &[Delta]) -> Result<TreeId, GitError> {
        let index = self.fresh_index("tree-index")?;
        let top = self.scratch("plain")?;
        self.read_tree(&top, &index, base)?;
        self.set_entries(&top, &index, deltas.iter().map(|delta| (&delta.path, delta.new.as_ref())))?;
        let tree = self.write_tree(&top, &index)?;
        forget_index(&index)?;
        Ok(tree)
    }
}

/// Removes an index of our own, with the lock that a killed git may have left beside it.
pub(super) fn forget_index(index: &Path) -> Result<(), GitError> {
    let mut lock = OsString::from(index);
    lock.push(".lock");
    disk::remove_file(Path::new(&lock))?;
    disk::remove_file(index)
}

/// Reads `tag SP mode SP id SP stage TAB path`, or `? path`.
pub(super) fn parse_line(line: &[u8]) -> Result<Listed, GitError> {
    let puzzling =
        || GitError::Puzzling { command: "git ls-files", answer: String::from_utf8_lossy(line).into_owned() };
    let (tag, rest) = match line {
        [tag, b' ', rest @ ..] => (*tag, rest),
        _ => return Err(puzzling()),
    };
    // A small letter: git was told to take the file for unchanged.
    let tag = match tag {
        b'H' => Tag::Cached,
        b'h' => Tag::Assumed,
        b'S' | b's' => Tag::SkipWorktree,
        b'M' | b'm' => Tag::Unmerged,
        b'R' | b'r' => Tag::Removed,
        b'C' | b'c' => Tag::Changed,
        b'?' => return Ok(Listed { tag: Tag::Other, path: TreePath::from_bytes(rest), entry: None }),
        _ => return Err(puzzling()),
    };
    let tab = rest.iter().position(|byte| *byte == b'\t').ok_or_else(puzzling)?;
    let head = std::str::from_utf8(&rest[..tab]).map_err(|_| puzzling())?;
    let mut words = head.split(' ');
    let (Some(mode), Some(id)) = (words.next(), words.next()) else { return Err(puzzling()) };
    let entry = Entry { mode: mode.to_owned(), id: parse_id(id, "git ls-files")? };
    Ok(Listed { tag, path: TreePath::from_bytes(&rest[tab + 1..]), entry: Some(entry) })
}
