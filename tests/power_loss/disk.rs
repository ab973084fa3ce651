//! A disk that forgets: which files a power cut may leave behind.
//!
//! A file that was not synced may hold its last synced content, the new one, half of it, nothing, or zeros where its new
//! bytes would be. A folder that was not synced has carried out some of its changes, in their order. What was synced
//! stands. See `docs/proof.md` for what is bounded here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::trace::Change;

/// What a file holds that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Old,
    New,
    Torn,
    Empty,
    Zeros,
}

pub const FATES: [Fate; 5] = [Fate::Old, Fate::New, Fate::Torn, Fate::Empty, Fate::Zeros];

#[derive(Debug, Clone)]
struct Inode {
    /// What is sure to be there; none where nothing of the file is.
    synced: Option<Rc<Vec<u8>>>,
    now: Rc<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Entry {
    Put(PathBuf, usize),
    Take(PathBuf),
    Move(PathBuf, PathBuf),
}

#[derive(Debug, Clone, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    /// The names that are sure to be there.
    synced: BTreeMap<PathBuf, usize>,
    now: BTreeMap<PathBuf, usize>,
    /// Changes of folders that may not be there, in order.
    pending: Vec<Entry>,
    pub folders: BTreeSet<PathBuf>,
}

/// The files that a power cut left.
pub type Image = BTreeMap<PathBuf, Rc<Vec<u8>>>;

impl Disk {
    /// A disk on which everything lasts.
    pub fn with(files: Image) -> Self {
        let mut disk = Self::default();
        for (path, bytes) in files {
            disk.now.insert(path.clone(), disk.inodes.len());
            disk.synced.insert(path, disk.inodes.len());
            disk.inodes.push(Inode { synced: Some(bytes.clone()), now: bytes });
        }
        disk
    }

    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Open { path, truncate } => {
                if !self.now.contains_key(path) {
                    let inode = self.inodes.len();
                    self.inodes.push(Inode { synced: None, now: Rc::default() });
                    self.now.insert(path.clone(), inode);
                    self.pending.push(Entry::Put(path.clone(), inode));
                } else if *truncate {
                    Rc::make_mut(&mut self.inodes[self.now[path]].now).clear();
                }
            }
            Change::Write { path, offset, bytes } => {
                let Some(inode) = self.now.get(path) else { return };
                let now = Rc::make_mut(&mut self.inodes[*inode].now);
                now.resize(now.len().max(offset + bytes.len()), 0);
                now[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::Resize { path, length } => {
                if let Some(inode) = self.now.get(path) {
                    Rc::make_mut(&mut self.inodes[*inode].now).resize(*length, 0);
                }
            }
            Change::Rename { from, to } => {
                if let Some(inode) = self.now.remove(from) {
                    self.now.insert(to.clone(), inode);
                    self.pending.push(Entry::Move(from.clone(), to.clone()));
                }
            }
            Change::Remove { path } => {
                if self.now.remove(path).is_some() {
                    self.pending.push(Entry::Take(path.clone()));
                }
            }
            Change::MakeFolder { path } => drop(self.folders.insert(path.clone())),
            Change::Symlink { .. } => {}
            Change::SyncFile { path } => {
                if let Some(inode) = self.now.get(path) {
                    let inode = &mut self.inodes[*inode];
                    inode.synced = Some(inode.now.clone());
                }
            }
            Change::SyncFolder { path } => {
                let (lasting, rest) =
                    std::mem::take(&mut self.pending).into_iter().partition(|entry| folder_of(entry) == path.as_path());
                self.pending = rest;
                let lasting: Vec<Entry> = lasting;
                for entry in &lasting {
                    carry_out(&mut self.synced, entry);
                }
            }
        }
    }

    /// The content that a file has now, as the living see it.
    pub fn content(&self, path: &Path) -> Option<&[u8]> {
        self.now.get(path).map(|inode| self.inodes[*inode].now.as_slice())
    }

    /// The images of these files that a power cut at this moment may leave: for the top folder each number of its pending
    /// changes, for the others none or all; for the files all of one fate, and each one by itself of another.
    pub fn images(&self, wanted: impl Fn(&Path) -> bool) -> BTreeSet<Image> {
        let pending = || self.pending.iter().filter(|entry| wanted(path_of(entry)));
        let (top, below): (Vec<&Entry>, Vec<&Entry>) = pending().partition(|entry| folder_of(entry) == Path::new(""));
        let sure: BTreeMap<&PathBuf, &usize> = self.synced.iter().filter(|(path, _)| wanted(path)).collect();
        let mut images = BTreeSet::new();
        for carried in 0..=top.len() {
            for others in BTreeSet::from([0, below.len()]) {
                let mut names = sure.iter().map(|(path, inode)| ((*path).clone(), **inode)).collect();
                top[..carried].iter().chain(&below[..others]).for_each(|entry| carry_out(&mut names, entry));
                let unsure: Vec<usize> = names
                    .values()
                    .copied()
                    .filter(|inode| self.inodes[*inode].synced.as_ref() != Some(&self.inodes[*inode].now))
                    .collect();
                for all in FATES {
                    images.insert(self.image(&names, |_| all));
                    for one in &unsure {
                        for fate in FATES {
                            images.insert(self.image(&names, |inode| if inode == *one { fate } else { all }));
                        }
                    }
                }
            }
        }
        images
    }

    /// Everything that may be found under these names, one file at a time.
    pub fn contents(&self, wanted: impl Fn(&Path) -> bool) -> BTreeSet<(PathBuf, Rc<Vec<u8>>)> {
        let named = self.synced.iter().chain(&self.now).filter(|(path, _)| wanted(path));
        named.flat_map(|(path, inode)| FATES.map(|fate| (path.clone(), self.inodes[*inode].left(fate)))).collect()
    }

    /// The worst that may be left: nothing that was not synced.
    pub fn bare(&self) -> Image {
        self.image(&self.synced, |_| Fate::Old)
    }

    /// All names, with this in place of every content that was not synced.
    pub fn named(&self, fate: Fate) -> Image {
        self.image(&self.now, |_| fate)
    }

    fn image(&self, names: &BTreeMap<PathBuf, usize>, fate: impl Fn(usize) -> Fate) -> Image {
        names.iter().map(|(path, inode)| (path.clone(), self.inodes[*inode].left(fate(*inode)))).collect()
    }
}

impl Inode {
    fn left(&self, fate: Fate) -> Rc<Vec<u8>> {
        let synced = self.synced.clone().unwrap_or_default();
        if self.synced.as_ref() == Some(&self.now) {
            return synced;
        }
        let same = synced.iter().zip(self.now.iter()).take_while(|(old, new)| old == new).count();
        match fate {
            Fate::Old => synced,
            Fate::New => Rc::clone(&self.now),
            Fate::Torn => Rc::new(self.now[..same + (self.now.len() - same) / 2].to_vec()),
            // What was synced is not lost by something that is only added to it.
            Fate::Empty => Rc::new(self.now[..same].to_vec()),
            Fate::Zeros => {
                let mut bytes = self.now.to_vec();
                bytes[same..].fill(0);
                Rc::new(bytes)
            }
        }
    }
}

/// The name that a change gives or takes; both names of a move are in one folder and of one kind.
fn path_of(entry: &Entry) -> &Path {
    let (Entry::Put(path, _) | Entry::Take(path) | Entry::Move(_, path)) = entry;
    path
}

fn folder_of(entry: &Entry) -> &Path {
    path_of(entry).parent().unwrap_or(Path::new(""))
}

fn carry_out(names: &mut BTreeMap<PathBuf, usize>, entry: &Entry) {
    match entry {
        Entry::Put(path, inode) => drop(names.insert(path.clone(), *inode)),
        Entry::Take(path) => drop(names.remove(path)),
        Entry::Move(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}
