//! What differs between two trees. Renames are a deletion and an addition: paths are what claims and checks are about.

use std::collections::HashMap;
use std::sync::Arc;

use crate::core::ids::ObjectId;

use super::error::GitError;
use super::objects::{Objects, parse_id};
use super::tree_path::TreePath;

/// How a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content or its executable bit is another.
    Modified,
    /// It is gone.
    Deleted,
    /// It is a link, a file or an embedded repository, and was another of these.
    TypeChanged,
}

/// One path that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: TreePath,
    /// How it changed.
    pub kind: ChangeKind,
    /// The new content's size; none for a deletion or an embedded repository.
    pub bytes: Option<u64>,
}

/// The beginning of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The patch as text; what is not UTF-8 is replaced.
    pub text: String,
    /// Whether all of it is there.
    pub extent: Extent,
}

/// Whether a text is all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To its end.
    Whole,
    /// Cut off at the limit.
    Cut,
}

/// What a tree has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The mode, in git's octal digits: `100644`, `100755`, `120000` or `160000`.
    pub(super) mode: String,
    /// The blob, or the embedded repository's commit.
    pub(super) id: ObjectId,
}

impl Entry {
    /// Whether this is an embedded repository.
    pub(super) fn is_gitlink(&self) -> bool {
        self.mode == "160000"
    }

    fn is_tree(&self) -> bool {
        self.mode == "040000"
    }

    fn type_digits(&self) -> &str {
        self.mode.get(..2).unwrap_or_default()
    }
}

/// One path that differs, with both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) path: TreePath,
    pub(super) old: Option<Entry>,
    pub(super) new: Option<Entry>,
}

impl Delta {
    fn kind(&self) -> ChangeKind {
        match (&self.old, &self.new) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Deleted,
            (Some(old), Some(new)) if old.type_digits() == new.type_digits() => ChangeKind::Modified,
            (Some(_), Some(_)) => ChangeKind::TypeChanged,
        }
    }

    /// Whether either side is an embedded repository.
    pub(super) fn is_about_gitlink(&self) -> bool {
        [&self.old, &self.new].into_iter().flatten().any(Entry::is_gitlink)
    }
}

/// What differs, with the lines that were added and removed.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// In order of their paths.
    pub(super) deltas: Vec<Delta>,
    /// The folders that are new or another on the new side, where those were asked for.
    pub(super) trees: Vec<ObjectId>,
    pub(super) insertions: u64,
    pub(super) deletions: u64,
}

impl Objects {
    /// The paths that differ between two trees or commits, in order.
    pub fn diff_paths(&self, old: &ObjectId, new: &ObjectId) -> Result<Vec<Change>, GitError> {
        self.changes(&self.deltas(old, new)?)
    }

    /// A summary of what differs, as `git diff --stat` shows it, of at most `files` files.
    pub fn diff_stat(&self, old: &ObjectId, new: &ObjectId, files: usize) -> Result<String, GitError> {
        let mut call = self.diff_tree(old, new)?;
        call.args(["--stat=100", &format!("--stat-count={files}"), old.as_str(), new.as_str()]);
        Ok(String::from_utf8_lossy(&call.run()?.stdout).into_owned())
    }

    /// The patch from one tree or commit to another, of at most `most` bytes.
    pub fn diff(&self, old: &ObjectId, new: &ObjectId, most: usize) -> Result<Patch, GitError> {
        self.patch(old, new, &["--unified=3"], &[], most)
    }

    /// The lines that differ, without any around them, of at most `most` bytes.
    pub fn diff_lines(&self, old: &ObjectId, new: &ObjectId, most: usize) -> Result<Arc<Patch>, GitError> {
        let between = (old.clone(), new.clone(), most);
        if let Some(known) = self.known_lines(&between) {
            return Ok(known);
        }
        let patch = Arc::new(self.patch(old, new, &["--unified=0"], &[], most)?);
        self.knows_lines(between, &patch);
        Ok(patch)
    }

    /// The patch of one path, taken literally, of at most `most` bytes.
    pub fn diff_of(&self, old: &ObjectId, new: &ObjectId, path: &str, most: usize) -> Result<Patch, GitError> {
        self.patch(old, new, &["--unified=3"], &["--", path], most)
    }

    fn patch(
        &self,
        old: &ObjectId,
        new: &ObjectId,
        options: &[&str],
        paths: &[&str],
        most: usize,
    ) -> Result<Patch, GitError> {
        let mut call = self.diff_tree(old, new)?;
        call.args(["-p", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]);
        call.args(options).args([old.as_str(), new.as_str()]).args(paths).most(most);
        let said = call.run()?;
        let extent = if said.cut { Extent::Cut } else { Extent::Whole };
        Ok(Patch { text: String::from_utf8_lossy(&said.stdout).into_owned(), extent })
    }

    fn diff_tree(&self, old: &ObjectId, new: &ObjectId) -> Result<super::run::Call<'_>, GitError> {
        debug_assert_eq!(old.as_str().len(), new.as_str().len(), "ids of one repository");
        let mut call = self.call()?;
        call.args(["diff-tree", "-r", "--no-renames", "--no-ext-diff", "--no-textconv"]);
        Ok(call)
    }

    /// The paths that differ, with both sides.
    pub(super) fn deltas(&self, old: &ObjectId, new: &ObjectId) -> Result<Vec<Delta>, GitError> {
        if old == new {
            return Ok(Vec::new());
        }
        let mut call = self.diff_tree(old, new)?;
        call.args(["-z", "--raw", "--no-abbrev", old.as_str(), new.as_str()]);
        parse(&call.run()?.stdout).map(|comparison| comparison.deltas)
    }

    /// The paths that differ, with the number of lines, and the folders on the way to them.
    pub(super) fn compare(&self, old: &ObjectId, new: &ObjectId) -> Result<Comparison, GitError> {
        let mut call = self.diff_tree(old, new)?;
        call.args(["-z", "--raw", "--no-abbrev", "-t", "--numstat", old.as_str(), new.as_str()]);
        parse(&call.run()?.stdout)
    }

    /// The public form of deltas, with sizes.
    pub(super) fn changes(&self, deltas: &[Delta]) -> Result<Vec<Change>, GitError> {
        let blobs: Vec<&ObjectId> = deltas
            .iter()
            .filter_map(|delta| delta.new.as_ref())
            .filter(|new| !new.is_gitlink())
            .map(|new| &new.id)
            .collect();
        let sizes = self.sizes(&blobs)?;
        let change = |delta: &Delta| Change {
            path: delta.path.clone(),
            kind: delta.kind(),
            bytes: delta.new.as_ref().and_then(|new| sizes.get(&new.id).copied()),
        };
        Ok(deltas.iter().map(change).collect())
    }

    fn sizes(&self, blobs: &[&ObjectId]) -> Result<HashMap<ObjectId, u64>, GitError> {
        if blobs.is_empty() {
            return Ok(HashMap::new());
        }
        let mut call = self.call()?;
        let names: Vec<&str> = blobs.iter().map(|id| id.as_str()).collect();
        call.args(["cat-file", "--batch-check=%(objectname) %(objectsize)"])
            .input((names.join("\n") + "\n").into_bytes());
        let said = call.run()?;
        let lines = String::from_utf8_lossy(&said.stdout);
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.filter_map(|(id, size)| Some((id.parse().ok()?, size.parse().ok()?))).collect())
    }
}

/// Reads `diff-tree -z --raw [--numstat]`: `:mode mode id id status NUL path NUL`, then `added TAB removed TAB path NUL`.
pub(super) fn parse(bytes: &[u8]) -> Result<Comparison, GitError> {
    let mut comparison = Comparison::default();
    let mut fields = bytes.split(|byte| *byte == 0);
    while let Some(field) = fields.next() {
        let puzzling =
            || GitError::Puzzling { command: "git diff-tree", answer: String::from_utf8_lossy(field).into_owned() };
        if field.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(field);
        if let Some(raw) = text.strip_prefix(':') {
            let words: Vec<&str> = raw.split(' ').collect();
            let ([old_mode, new_mode, old, new, _], Some(path)) = (words.as_slice(), fields.next()) else {
                return Err(puzzling());
            };
            let (old, new) = (entry(old_mode, old)?, entry(new_mode, new)?);
            if [&old, &new].into_iter().flatten().any(Entry::is_tree) {
                comparison.trees.extend(new.map(|new| new.id));
            } else {
                comparison.deltas.push(Delta { path: TreePath::from_bytes(path), old, new });
            }
        } else {
            let mut counts = text.splitn(3, '\t');
            let (Some(added), Some(removed), Some(_)) = (counts.next(), counts.next(), counts.next()) else {
                return Err(puzzling());
            };
            // A dash stands for a binary file, which has no lines.
            comparison.insertions = comparison.insertions.saturating_add(added.parse().unwrap_or(0));
            comparison.deletions = comparison.deletions.saturating_add(removed.parse().unwrap_or(0));
        }
    }
    comparison.deltas.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(comparison)
}

fn entry(mode: &str, id: &str) -> Result<Option<Entry>, GitError> {
    if mode == "000000" {
        return Ok(None);
    }
    Ok(Some(Entry { mode: mode.to_owned(), id: parse_id(id, "git diff-tree")? }))
}
