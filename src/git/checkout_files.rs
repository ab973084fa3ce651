//! Bringing one checkout along with its branch: exactly the touched paths change, in files and index.
//!
//! Both versions of every touched file are first written out beside the index, by git and with its line-ending rules.
//! A file is then known to be old or new by comparing bytes, and becomes new by one rename, so that no crash leaves a
//! file half written. Nothing here decides whether a landing may take place, beyond naming the edited paths.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::core::ids::ObjectId;

use super::diff::{Delta, Entry};
use super::disk;
use super::error::GitError;
use super::index::{Tag, Untracked, forget_index};
use super::journal;
use super::land::LandingOrder;
use super::objects::Objects;
use super::stamp::Stamp;
use super::tree_path::TreePath;

/// A checkout and what a landing changes in it.
pub(super) struct CheckoutFiles<'r> {
    objects: &'r Objects,
    git_dir: &'r Path,
    top: &'r Path,
    deltas: &'r [Delta],
    /// The index to be: a copy until it is renamed over the real one.
    index: PathBuf,
    /// The two versions of the touched files, in `old/` and `new/`.
    staging: PathBuf,
    /// What the index has, by path; several entries where there is a conflict.
    entries: BTreeMap<TreePath, Vec<Entry>>,
    /// Paths whose files differ from the index.
    changed: HashSet<TreePath>,
    /// Paths that this checkout leaves out on purpose.
    skipped: HashSet<TreePath>,
    /// Paths that git takes for unchanged without a look.
    assumed: HashSet<TreePath>,
    /// What stood at the touched paths before git compared them.
    seen: HashMap<TreePath, Option<Stamp>>,
}

/// What a checkout has at a touched path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Absent,
    Old,
    New,
    /// A real folder.
    Folder,
    /// Something above the path is no folder.
    Behind,
    /// The operator's work.
    Other,
}

impl<'r> CheckoutFiles<'r> {
    /// Reads the index and writes out both versions of the touched files. The checkout itself is not changed.
    pub(super) fn open(
        objects: &'r Objects,
        git_dir: &'r Path,
        top: &'r Path,
        order: &LandingOrder,
        deltas: &'r [Delta],
    ) -> Result<Self, GitError> {
        let index = git_dir.join("autometta-index");
        forget_index(&index)?;
        let real = git_dir.join("index");
        if disk::is_there(&real)? {
            disk::copy_index(&real, &index)?;
            // A split index names a second file, which is looked for beside our own configuration.
            for shared in disk::list(git_dir)? {
                let name = shared.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with("sharedindex.") {
                    disk::copy_once(&shared, &objects.scratch("plain")?.join(name))?;
                }
            }
        }
        let staging = git_dir.join("autometta-staging");
        disk::remove_tree(&staging)?;
        let mut seen = HashMap::new();
        for delta in deltas {
            seen.insert(delta.path.clone(), disk::look(&delta.path.inside(top))?.map(|found| Stamp::of(&found)));
        }
        let mut files = Self {
            objects,
            git_dir,
            top,
            deltas,
            index,
            staging,
            entries: BTreeMap::new(),
            changed: HashSet::new(),
            skipped: HashSet::new(),
            assumed: HashSet::new(),
            seen,
        };
        for listed in objects.list_files(top, &files.index, Untracked::Omitted)? {
            match (listed.tag, listed.entry) {
                (Tag::Removed | Tag::Changed, _) => drop(files.changed.insert(listed.path)),
                (tag, Some(entry)) => {
                    match tag {
                        Tag::SkipWorktree => drop(files.skipped.insert(listed.path.clone())),
                        Tag::Assumed => drop(files.assumed.insert(listed.path.clone())),
                        _ => {}
                    }
                    files.entries.entry(listed.path).or_default().push(entry);
                }
                (_, None) => {}
            }
        }
        files.write_out("old", &order.parent, |delta| delta.old.as_ref())?;
        files.write_out("new", &order.commit, |delta| delta.new.as_ref())?;
        // Now: nothing slow is to come between the last look at a file and its rename.
        files.sync_staged()?;
        Ok(files)
    }

    fn write_out(&self, side: &str, tree: &ObjectId, entry: impl Fn(&Delta) -> Option<&Entry>) -> Result<(), GitError> {
        let folder = self.staging.join(side);
        disk::make_folder(&folder)?;
        let index = self.objects.fresh_index("landing-index")?;
        self.objects.read_tree(&folder, &index, tree)?;
        let mut paths = Vec::new();
        for delta in self.deltas.iter().filter(|delta| entry(delta).is_some_and(|entry| !entry.is_gitlink())) {
            paths.extend_from_slice(delta.path.as_bytes());
            paths.push(0);
        }
        if !paths.is_empty() {
            let mut call = self.objects.call_in(&folder, &index)?;
            call.args(["checkout-index", "--quiet", "--force", "-z", "--stdin"]).input(paths);
            call.run()?;
        }
        forget_index(&index)
    }

    /// The touched paths where the operator's index or files hold something that is neither old nor new.
    pub(super) fn edited(&self) -> Result<Vec<TreePath>, GitError> {
        let mut paths = Vec::new();
        for delta in self.deltas {
            if !self.index_fits(delta) || !self.files_fit(delta)? {
                paths.push(delta.path.clone());
            }
        }
        Ok(paths)
    }

    /// A folder in which a touched path is to change, and which this user may not write in.
    pub(super) fn closed_folder(&self) -> Option<PathBuf> {
        let folders: BTreeSet<PathBuf> = self.deltas.iter().map(|delta| self.standing_above(&delta.path)).collect();
        folders.into_iter().find(|folder| !disk::may_change(folder))
    }

    /// The nearest folder above a path that exists.
    fn standing_above(&self, path: &TreePath) -> PathBuf {
        let mut above = path.folders().map(|folder| folder.inside(self.top));
        above.find(|folder| folder.is_dir()).unwrap_or_else(|| self.top.to_owned())
    }

    fn is_deleted(&self, path: &TreePath) -> bool {
        // Deltas come from git in order of their paths.
        self.deltas.binary_search_by(|delta| delta.path.cmp(path)).is_ok_and(|at| self.deltas[at].new.is_none())
    }

    fn index_has_old_or_new(&self, delta: &Delta) -> bool {
        match self.entries.get(&delta.path).map(Vec::as_slice) {
            None => delta.old.is_none() || delta.new.is_none(),
            Some([entry]) => [&delta.old, &delta.new].into_iter().flatten().any(|side| side == entry),
            Some(_) => false,
        }
    }

    /// Whether the index has the old or the new entry, and nothing of the operator's in the way of a new one.
    fn index_fits(&self, delta: &Delta) -> bool {
        if delta.new.is_none() {
            return self.index_has_old_or_new(delta);
        }
        let above_is_free =
            || delta.path.folders().all(|above| !self.entries.contains_key(&above) || self.is_deleted(&above));
        let below_is_free = || {
            let below = self.entries.range(delta.path.clone()..).skip_while(|(path, _)| **path == delta.path);
            let mut first = delta.path.as_bytes().to_vec();
            first.push(b'/');
            // Between `a` and `a/` there may be `a-b`, which is not below `a`.
            below
                .skip_while(|(path, _)| path.as_bytes() < first.as_slice())
                .take_while(|(path, _)| path.as_bytes().starts_with(&first))
                .all(|(path, _)| self.is_deleted(path))
        };
        self.index_has_old_or_new(delta) && above_is_free() && below_is_free()
    }

    fn files_fit(&self, delta: &Delta) -> Result<bool, GitError> {
        let is_gitlink = |side: &Option<Entry>| side.as_ref().is_some_and(Entry::is_gitlink);
        Ok(match self.found(delta)? {
            Found::Old | Found::New => true,
            Found::Absent => {
                delta.old.is_none()
                    || delta.new.is_none()
                    || self.skipped.contains(&delta.path)
                    || is_gitlink(&delta.old)
            }
            Found::Other => false,
            Found::Folder if delta.new.is_none() || is_gitlink(&delta.new) => true,
            Found::Folder => self.holds_only_deleted(&delta.path)?,
            Found::Behind => delta.new.is_none() || delta.path.folders().any(|above| self.is_deleted(&above)),
        })
    }

    /// Whether everything below a folder is a touched path that goes.
    fn holds_only_deleted(&self, folder: &TreePath) -> Result<bool, GitError> {
        use std::os::unix::ffi::OsStrExt;
        for path in disk::list(&folder.inside(self.top))? {
            let inside = path.strip_prefix(self.top).unwrap_or(&path);
            let inside = TreePath::from_bytes(inside.as_os_str().as_bytes());
            let fine =
                if disk::is_folder(&path)? { self.holds_only_deleted(&inside)? } else { self.is_deleted(&inside) };
            if !fine {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn found(&self, delta: &Delta) -> Result<Found, GitError> {
        let folders: Vec<TreePath> = delta.path.folders().collect();
        for folder in folders.iter().rev() {
            match disk::look(&folder.inside(self.top))? {
                None => return Ok(Found::Absent),
                Some(found) if found.is_dir() => {}
                Some(_) => return Ok(Found::Behind),
            }
        }
        let path = delta.path.inside(self.top);
        let stamp = match disk::look(&path)? {
            None => return Ok(Found::Absent),
            Some(found) if found.is_dir() => return Ok(Found::Folder),
            Some(found) => Stamp::of(&found),
        };
        // An index entry that git finds unchanged is old even if git would write it out differently today,
        // as after a change of the line-ending settings. That holds for the file that git looked at, and where it did.
        let is_clean = || {
            let entry = self.entries.get(&delta.path).and_then(|entries| entries.first());
            let was_looked_at = !self.skipped.contains(&delta.path) && !self.assumed.contains(&delta.path);
            entry.is_some()
                && entry == delta.old.as_ref()
                && was_looked_at
                && !self.changed.contains(&delta.path)
                && self.seen.get(&delta.path) == Some(&Some(stamp))
        };
        if delta.new.is_some() && disk::same_file(&path, &delta.path.inside(&self.staging.join("new")))? {
            Ok(Found::New)
        } else if delta.old.is_some()
            && (disk::same_file(&path, &delta.path.inside(&self.staging.join("old")))? || is_clean())
        {
            Ok(Found::Old)
        } else {
            Ok(Found::Other)
        }
    }

    /// Changes files and index from old to new; what is neither is left alone. Where a file cannot be changed, the rest comes
    /// along, and the operator's git is let in: it shows what is missing.
    pub(super) fn bring_along(self) -> Result<(), GitError> {
        let brought = self.bring_files_along();
        self.sync_folders()?;
        self.bring_index_along()?;
        if brought.is_err() {
            journal::let_go(self.git_dir)?;
        }
        disk::remove_tree(&self.staging)?;
        brought
    }

    /// Changes every file that can be changed; the error is the first one's.
    fn bring_files_along(&self) -> Result<(), GitError> {
        let (gone, kept): (Vec<&Delta>, Vec<&Delta>) = self.deltas.iter().partition(|delta| delta.new.is_none());
        let gone = gone.into_iter().map(|delta| self.take_away(delta)).fold(Ok(()), Result::and);
        let put = |delta: &Delta| match &delta.new {
            Some(new) if new.is_gitlink() => disk::make_folder(&delta.path.inside(self.top)),
            _ => self.put(delta),
        };
        kept.into_iter().map(put).fold(gone, Result::and)
    }

    fn sync_staged(&self) -> Result<(), GitError> {
        for delta in self.deltas.iter().filter(|delta| delta.new.is_some()) {
            let staged = delta.path.inside(&self.staging.join("new"));
            if disk::look(&staged)?.is_some_and(|found| found.is_file()) {
                disk::sync_file(&staged)?;
            }
        }
        Ok(())
    }

    /// Makes the files' new names survive a power cut, before the note that would bring them back goes.
    fn sync_folders(&self) -> Result<(), GitError> {
        let folders: BTreeSet<TreePath> = self.deltas.iter().flat_map(|delta| delta.path.folders()).collect();
        for folder in folders.iter().map(|folder| folder.inside(self.top)).chain([self.top.to_owned()]) {
            if disk::is_folder(&folder)? {
                disk::sync_folder(&folder)?;
            }
        }
        Ok(())
    }

    fn take_away(&self, delta: &Delta) -> Result<(), GitError> {
        let path = delta.path.inside(self.top);
        match self.found(delta)? {
            Found::Old => disk::remove_file(&path)?,
            Found::Folder if delta.old.as_ref().is_some_and(Entry::is_gitlink) => {
                disk::remove_empty_folder(&path);
            }
            Found::Absent => {}
            _ => return Ok(()),
        }
        // As git does, a folder goes with its last file. One that still holds something stays.
        for folder in delta.path.folders() {
            let folder = folder.inside(self.top);
            if disk::is_folder(&folder)? && !disk::remove_empty_folder(&folder) {
                break;
            }
        }
        Ok(())
    }

    fn put(&self, delta: &Delta) -> Result<(), GitError> {
        let path = delta.path.inside(self.top);
        match self.found(delta)? {
            Found::Absent if delta.old.is_none() => {}
            Found::Old => {}
            Found::Folder => {
                remove_empty_folders(&path)?;
                if disk::is_there(&path)? {
                    return Ok(());
                }
            }
            Found::Absent | Found::New | Found::Behind | Found::Other => return Ok(()),
        }
        if let Some(folder) = path.parent() {
            disk::make_folder(folder)?;
        }
        let staged = delta.path.inside(&self.staging.join("new"));
        disk::move_over(&staged, &path, &path.with_file_name(".autometta-landing"))
    }

    fn bring_index_along(&self) -> Result<(), GitError> {
        let fitting = || self.deltas.iter().filter(|delta| self.index_fits(delta));
        self.objects.set_entries(self.top, &self.index, fitting().map(|delta| (&delta.path, delta.new.as_ref())))?;
        let mut skipped = Vec::new();
        for delta in fitting().filter(|delta| delta.new.is_some() && self.skipped.contains(&delta.path)) {
            skipped.extend_from_slice(delta.path.as_bytes());
            skipped.push(0);
        }
        if !skipped.is_empty() {
            let mut call = self.objects.call_in(self.top, &self.index)?;
            call.args(["update-index", "-z", "--skip-worktree", "--stdin"]).input(skipped);
            call.run()?;
        }
        if !disk::is_there(&self.index)? {
            return Ok(());
        }
        // Notes the new files' times, so that the operator's next `git status` has nothing to read.
        let mut call = self.objects.call_in(self.top, &self.index)?;
        call.args(["update-index", "-q", "--refresh"]).fine(&[0, 1]);
        call.run()?;
        disk::sync_file(&self.index)?;
        disk::rename(&self.index, &self.git_dir.join("index"))?;
        disk::sync_folder(self.git_dir)
    }
}

impl Drop for CheckoutFiles<'_> {
    fn drop(&mut self) {
        // Left behind they would be harmless: the next landing starts by removing them.
        drop(forget_index(&self.index));
        drop(disk::remove_tree(&self.staging));
    }
}

fn remove_empty_folders(folder: &Path) -> Result<(), GitError> {
    for path in disk::list(folder)? {
        if disk::is_folder(&path)? {
            remove_empty_folders(&path)?;
        }
    }
    disk::remove_empty_folder(folder);
    Ok(())
}
