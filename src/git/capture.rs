//! Capturing a candidate: the tree of what a worktree's files hold now, whatever the agent did with git.
//!
//! Nothing of git's is taken from the worktree: not its `.git`, index, HEAD, branch, stash or excludes. The index is
//! our own, started from the base's tree; only files and `.gitignore` files count. `git add` is not used, because it
//! starts `git status` inside nested repositories, under configuration that the agent wrote.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use crate::core::ids::{CommitId, TreeId};

use super::diff::Change;
use super::disk;
use super::error::GitError;
use super::index::{Listed, Tag, Untracked, forget_index};
use super::objects::Objects;
use super::tree_path::TreePath;
use super::worktree::key_of;

/// The folder in every worktree that is ours, and never part of a candidate.
pub const PRIVATE_FOLDER: &str = ".autometta";

/// What a worktree holds, beside the commit it was cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The candidate.
    pub tree: TreeId,
    /// The paths that differ from the base, in order.
    pub changed: Vec<Change>,
    /// Nested repositories that are new, changed or gone. Their content is no part of the tree, and a changed
    /// submodule is left at its base: a stage that has any of these is for the caller to refuse.
    pub embedded: Vec<TreePath>,
    /// Lines added; binary files have none.
    pub insertions: u64,
    /// Lines removed; binary files have none.
    pub deletions: u64,
}

impl Objects {
    /// Captures what the files of `worktree` hold, as a tree beside `base`. Ignored files are left out, but for the
    /// `force`d paths: files, or folders with all they hold, relative to the top, taken literally; those that do not
    /// exist are passed over.
    pub fn capture(&self, worktree: &Path, base: &CommitId, force: &[String]) -> Result<Capture, GitError> {
        if !disk::is_folder(worktree)? {
            return Err(GitError::WorktreeMissing { path: worktree.to_owned() });
        }
        let top = disk::resolve(worktree)?;
        let seed = self.scratch(&key_of(&top))?;
        let index = self.fresh_index("capture-index")?;
        self.start_index(&top, &index, &seed, base)?;
        let listing = readably(&top, || self.list_files(&top, &index, Untracked::Listed))?;
        let mut edits = Edits::of(&top, &listing)?;
        for path in force {
            edits.force(&top, path)?;
        }
        self.set_entries(&top, &index, edits.gone.iter().map(|path| (path, None)))?;
        self.store_files(&top, &index, &edits.present)?;
        let tree = self.write_tree(&top, &index)?;
        let comparison = self.compare(base, &tree)?;
        let files = comparison.deltas.iter().filter_map(|delta| delta.new.as_ref()).filter(|new| !new.is_gitlink());
        self.settle(files.map(|file| &file.id).chain(&comparison.trees).chain([&tree]))?;
        let mut embedded = edits.embedded;
        embedded
            .extend(comparison.deltas.iter().filter(|delta| delta.is_about_gitlink()).map(|delta| delta.path.clone()));
        disk::rename(&index, &seed)?;
        Ok(Capture {
            tree,
            changed: self.changes(&comparison.deltas)?,
            embedded: embedded.into_iter().collect(),
            insertions: comparison.insertions,
            deletions: comparison.deletions,
        })
    }

    /// Starts from what the last checkout or capture knew about unchanged files, so that only changed ones are read.
    fn start_index(&self, top: &Path, index: &Path, seed: &Path, base: &CommitId) -> Result<(), GitError> {
        if disk::is_there(seed)? {
            disk::copy_index(seed, index)?;
            if self.read_tree(top, index, base).is_ok() {
                return Ok(());
            }
            // Torn by a power cut: knowing nothing is slower, never wrong.
            forget_index(seed)?;
            forget_index(index)?;
        }
        self.read_tree(top, index, base)
    }

    fn store_files(&self, top: &Path, index: &Path, paths: &BTreeSet<TreePath>) -> Result<(), GitError> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut input = Vec::new();
        for path in paths {
            input.extend_from_slice(path.as_bytes());
            input.push(0);
        }
        let said = readably(top, || {
            let mut call = self.call_in(top, index)?;
            call.args(["update-index", "-z", "--add", "--remove", "--replace", "--stdin"]).input(input.clone());
            call.run()
        })?;
        match said.stderr.lines().find_map(|line| line.strip_prefix("Ignoring path ")) {
            None => Ok(()),
            Some(path) => Err(GitError::BadPath { path: path.to_owned(), why: "git allows no such path in a tree" }),
        }
    }
}

/// Reads a worktree, and once more where the agent made it unreadable: it is ours to take that back.
fn readably<T>(top: &Path, read: impl Fn() -> Result<T, GitError>) -> Result<T, GitError> {
    match read() {
        Err(GitError::Unreadable { .. } | GitError::TimedOut { .. }) => {
            disk::open_up(top)?;
            read()
        }
        Err(GitError::Failed { stderr, .. }) if stderr.contains("Permission denied") => {
            disk::open_up(top)?;
            read()
        }
        said => said,
    }
}

/// What has to be done to the base's index to make it hold the files.
#[derive(Debug, Default)]
struct Edits {
    gone: BTreeSet<TreePath>,
    present: BTreeSet<TreePath>,
    embedded: BTreeSet<TreePath>,
}

impl Edits {
    fn of(top: &Path, listing: &[Listed]) -> Result<Self, GitError> {
        let private = TreePath::from_bytes(PRIVATE_FOLDER.as_bytes());
        let mut edits = Self::default();
        let mut folders = Folders::new(top);
        for listed in listing.iter().filter(|listed| !listed.path.is_in(&private)) {
            let path = &listed.path;
            if listed.tag == Tag::Other {
                match path.as_bytes().strip_suffix(b"/") {
                    Some(nested) => edits.embedded.insert(TreePath::from_bytes(nested)),
                    None => edits.present.insert(path.clone()),
                };
                continue;
            }
            // Git's own comparison looks through a link that replaced a folder; a tree cannot.
            if !folders.are_real_above(path)? {
                edits.gone.insert(path.clone());
                continue;
            }
            if !matches!(listed.tag, Tag::Removed | Tag::Changed) {
                continue;
            }
            let is_gitlink = listed.entry.as_ref().is_some_and(super::diff::Entry::is_gitlink);
            match disk::look(&path.inside(top))? {
                Some(found) if found.is_file() || found.is_symlink() => edits.present.insert(path.clone()),
                Some(found) if found.is_dir() && is_gitlink => edits.embedded.insert(path.clone()),
                _ => edits.gone.insert(path.clone()),
            };
        }
        Ok(edits)
    }

    /// Adds an existing file, or all files of an existing folder, ignored or not.
    fn force(&mut self, top: &Path, path: &str) -> Result<(), GitError> {
        let refuse = |why| Err(GitError::BadPath { path: path.to_owned(), why });
        let mut inside = PathBuf::new();
        for part in Path::new(path).components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) if name.eq_ignore_ascii_case(".git") => {
                    return refuse("git's own folder is no deliverable");
                }
                Component::Normal(name) if inside.as_os_str().is_empty() && name == PRIVATE_FOLDER => {
                    return refuse("`.autometta` is no deliverable");
                }
                Component::Normal(name) => {
                    inside.push(name);
                    let is_link = disk::look(&top.join(&inside))?.is_some_and(|found| found.is_symlink());
                    if is_link && Path::new(path).components().count() > inside.components().count() {
                        return refuse("it leads through a symbolic link");
                    }
                }
                _ => return refuse("it leads out of the worktree"),
            }
        }
        if inside.as_os_str().is_empty() { Ok(()) } else { self.force_below(top, &inside) }
    }

    fn force_below(&mut self, top: &Path, inside: &Path) -> Result<(), GitError> {
        use std::os::unix::ffi::OsStrExt;
        let full = top.join(inside);
        let path = TreePath::from_bytes(inside.as_os_str().as_bytes());
        match disk::look(&full)? {
            Some(found) if found.is_file() || found.is_symlink() => {
                self.present.insert(path);
            }
            Some(found) if found.is_dir() && disk::is_there(&full.join(".git"))? => {
                self.embedded.insert(path);
            }
            Some(found) if found.is_dir() => {
                for entry in disk::list(&full)? {
                    self.force_below(top, &inside.join(entry.file_name().unwrap_or_default()))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Which folders of a checkout are real ones, all the way up; each is looked at once.
struct Folders<'t> {
    top: &'t Path,
    known: HashMap<TreePath, bool>,
}

impl<'t> Folders<'t> {
    fn new(top: &'t Path) -> Self {
        Self { top, known: HashMap::new() }
    }

    fn are_real_above(&mut self, path: &TreePath) -> Result<bool, GitError> {
        let Some(folder) = path.folders().next() else { return Ok(true) };
        if let Some(known) = self.known.get(&folder) {
            return Ok(*known);
        }
        let real = self.are_real_above(&folder)? && disk::is_folder(&folder.inside(self.top))?;
        self.known.insert(folder, real);
        Ok(real)
    }
}
