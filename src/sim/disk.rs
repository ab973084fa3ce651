//! A simulated disk: what processes see, and what would be left of it after a power cut.
//!
//! Each file has its content and the content that was last synced, each folder its names and those that were last
//! synced. A process that is killed leaves what it wrote. A power cut leaves of every file that was not synced, by seed,
//! the old content, the new, half of the new, its length without its bytes, or nothing; and of every folder the changes
//! up to some point, in their order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::core::random::Random;
use crate::files::disk::Disk;
use crate::files::lock::LockError;
use crate::files::regular::NotRegular;

/// A disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Rc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    platter: RefCell<Platter>,
    process: Cell<Process>,
    /// Paths whose lock is held.
    locks: RefCell<BTreeSet<PathBuf>>,
    is_full: Cell<bool>,
    /// Whether a sync is not carried out, as by a drive that lies.
    is_lying: Cell<bool>,
    failures: Cell<u64>,
}

/// The names of a disk and what they stand for.
#[derive(Debug, Default)]
struct Platter {
    names: BTreeMap<PathBuf, Entry>,
    /// The names that survive a power cut.
    lasting: BTreeMap<PathBuf, Entry>,
    /// What was changed in each folder since it was synced, in order.
    changes: BTreeMap<PathBuf, Vec<Change>>,
}

#[derive(Debug, Clone)]
enum Entry {
    Folder,
    File(Rc<RefCell<Content>>),
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    is_synced: bool,
}

/// A change of names in one folder, which happens whole or not at all.
type Change = Vec<(PathBuf, Option<Entry>)>;

/// A process of the simulated machine that changes things.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Before how many more changes it dies; none where it does not.
    pub fuse: Option<u32>,
    /// Whether it is dead: nothing that it still does has any effect.
    pub is_dead: bool,
    /// What it has changed so far.
    pub changes: u32,
}

impl Process {
    /// A process that lives.
    pub fn new(id: u32) -> Self {
        Self { id, fuse: None, is_dead: false, changes: 0 }
    }

    /// One that dies before it has changed so many things.
    pub fn dying(id: u32, fuse: u32) -> Self {
        Self { fuse: Some(fuse), ..Self::new(id) }
    }
}

fn dead() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, "the process was killed")
}

impl SimDisk {
    /// Lets another process run, and gives back the one that ran before.
    pub fn run_as(&self, process: Process) -> Process {
        self.0.process.replace(process)
    }

    /// The process that runs.
    pub fn process(&self) -> Process {
        self.0.process.get()
    }

    /// Stands before everything that the running process changes, on the disk and elsewhere.
    ///
    /// # Errors
    /// It is dead, or dies here.
    pub fn pass(&self) -> io::Result<()> {
        let mut process = self.0.process.get();
        process.is_dead |= process.fuse.is_some_and(|fuse| fuse <= process.changes);
        process.changes = process.changes.saturating_add(1);
        self.0.process.set(process);
        if process.is_dead { Err(dead()) } else { Ok(()) }
    }

    /// Whether there is no room left.
    pub fn fill(&self, is_full: bool) {
        self.0.is_full.set(is_full);
    }

    /// Whether what is told to be synced is not.
    pub fn lie(&self, is_lying: bool) {
        self.0.is_lying.set(is_lying);
    }

    /// How often something failed for want of room.
    pub fn failures(&self) -> u64 {
        self.0.failures.get()
    }

    /// Frees a lock that the running process held.
    pub fn free_locks(&self) {
        self.0.locks.borrow_mut().clear();
    }

    /// The whole content of a file, whoever runs.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        match self.0.platter.borrow().names.get(path) {
            Some(Entry::File(content)) => Some(content.borrow().bytes.clone()),
            Some(Entry::Folder) | None => None,
        }
    }

    /// Every name on it.
    pub fn names(&self) -> Vec<PathBuf> {
        self.0.platter.borrow().names.keys().cloned().collect()
    }

    /// Cuts the power: what was not synced is left as the seed says.
    pub fn cut(&self, random: &mut Random) {
        let mut platter = self.0.platter.borrow_mut();
        let platter = &mut *platter;
        for changes in std::mem::take(&mut platter.changes).into_values() {
            // Nothing and everything are as likely as all between them.
            let reached = match random.below(3) {
                0 => 0,
                1 => changes.len(),
                _ => random.index(changes.len() + 1),
            };
            for change in changes.into_iter().take(reached) {
                apply(&mut platter.lasting, change);
            }
        }
        let orphans: Vec<PathBuf> = platter
            .lasting
            .keys()
            .filter(|path| path.ancestors().skip(1).any(|folder| !is_folder(&platter.lasting, folder)))
            .cloned()
            .collect();
        for orphan in orphans {
            platter.lasting.remove(&orphan);
        }
        for entry in platter.lasting.values() {
            if let Entry::File(content) = entry {
                content.borrow_mut().cut(random);
            }
        }
        platter.names = platter.lasting.clone();
        drop(std::mem::take(&mut *self.0.locks.borrow_mut()));
    }

    fn changes_names(&self, names: Change) {
        let Some(folder) = names.first().and_then(|(path, _)| path.parent()) else { return };
        let folder = folder.to_owned();
        let mut platter = self.0.platter.borrow_mut();
        apply(&mut platter.names, names.clone());
        platter.changes.entry(folder).or_default().push(names);
    }

    /// Stands before what needs room.
    fn takes_room(&self) -> io::Result<()> {
        self.pass()?;
        if self.0.is_full.get() {
            self.0.failures.set(self.0.failures.get() + 1);
            return Err(io::Error::new(ErrorKind::StorageFull, "no space left on device"));
        }
        Ok(())
    }

    fn entry(&self, path: &Path) -> Option<Entry> {
        self.0.platter.borrow().names.get(path).cloned()
    }

    fn file(&self, content: Rc<RefCell<Content>>) -> SimFile {
        SimFile { disk: self.clone(), content, at: 0 }
    }
}

fn is_folder(names: &BTreeMap<PathBuf, Entry>, path: &Path) -> bool {
    path.parent().is_none() || matches!(names.get(path), Some(Entry::Folder))
}

fn apply(names: &mut BTreeMap<PathBuf, Entry>, changes: Change) {
    for (path, entry) in changes {
        match entry {
            Some(entry) => names.insert(path, entry),
            None => names.remove(&path),
        };
    }
}

impl Content {
    fn cut(&mut self, random: &mut Random) {
        if self.is_synced {
            return;
        }
        let kept = self.synced.len().min(self.bytes.len());
        let grown = self.bytes.starts_with(&self.synced);
        let left = match random.below(5) {
            0 => self.synced.clone(),
            1 => self.bytes.clone(),
            // Half of what is new; of a file that was rewritten in place, half of all.
            2 if grown => self.bytes[..kept + (self.bytes.len() - kept) / 2].to_vec(),
            2 => self.bytes[..self.bytes.len() / 2].to_vec(),
            3 => {
                let mut zeros = self.bytes.clone();
                let from = if grown { kept } else { 0 };
                zeros[from..].fill(0);
                zeros
            }
            _ => self.bytes[..if grown { kept } else { 0 }].to_vec(),
        };
        self.bytes.clone_from(&left);
        self.synced = left;
        self.is_synced = true;
    }
}

/// An open file of a simulated disk.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    content: Rc<RefCell<Content>>,
    at: usize,
}

impl Read for SimFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.content.borrow();
        let rest = content.bytes.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = self.disk.takes_room();
        // A process that dies in a write has written a part of it.
        let count = match &passed {
            Ok(()) => bytes.len(),
            Err(error) if error.kind() == ErrorKind::StorageFull => bytes.len() / 2,
            Err(_) if self.disk.process().changes.is_multiple_of(2) && self.disk.dies_now() => bytes.len() / 2,
            Err(_) => 0,
        };
        let mut content = self.content.borrow_mut();
        let end = self.at + count;
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[self.at..end].copy_from_slice(&bytes[..count]);
        content.is_synced &= count == 0;
        self.at = end;
        passed.map(|()| count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SimDisk {
    /// Whether the last thing that the running process tried is what it died at.
    fn dies_now(&self) -> bool {
        let process = self.process();
        process.fuse.is_some_and(|fuse| process.changes == fuse.saturating_add(1))
    }
}

impl Seek for SimFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let length = self.content.borrow().bytes.len();
        let from = |base: usize, by: i64| i64::try_from(base).ok().and_then(|base| usize::try_from(base + by).ok());
        let at = match to {
            SeekFrom::Start(at) => usize::try_from(at).ok(),
            SeekFrom::Current(by) => from(self.at, by),
            SeekFrom::End(by) => from(length, by),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(u64::try_from(self.at).unwrap_or(u64::MAX))
    }
}

/// A lock of a simulated disk.
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.0.locks.borrow_mut().remove(&self.path);
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn open(&self, path: &Path) -> Result<Option<SimFile>, NotRegular> {
        match self.entry(path) {
            None => Ok(None),
            Some(Entry::Folder) => Err(NotRegular::Other("a directory")),
            Some(Entry::File(content)) => Ok(Some(self.file(content))),
        }
    }

    fn open_to_write(&self, path: &Path) -> Result<Option<SimFile>, NotRegular> {
        if self.entry(path).is_none() {
            return self.make(path).map(Some).map_err(NotRegular::Io);
        }
        self.open(path)
    }

    fn make(&self, path: &Path) -> io::Result<SimFile> {
        self.takes_room()?;
        if self.entry(path).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|folder| self.is_folder(folder)) {
            return Err(ErrorKind::NotFound.into());
        }
        let content = Rc::<RefCell<Content>>::default();
        self.changes_names(vec![(path.to_owned(), Some(Entry::File(content.clone())))]);
        Ok(self.file(content))
    }

    /// Nothing in a simulated night asks who may read a file.
    fn set_mode(&self, _: &SimFile, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn length(&self, file: &SimFile) -> io::Result<u64> {
        Ok(u64::try_from(file.content.borrow().bytes.len()).unwrap_or(u64::MAX))
    }

    fn sync(&self, file: &SimFile) -> io::Result<()> {
        self.pass()?;
        if !self.0.is_lying.get() {
            let mut content = file.content.borrow_mut();
            let Content { bytes, synced, .. } = &mut *content;
            synced.clone_from(bytes);
            content.is_synced = true;
        }
        Ok(())
    }

    fn sync_data(&self, file: &SimFile) -> io::Result<()> {
        self.sync(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass()?;
        let Some(entry) = self.entry(from) else { return Err(ErrorKind::NotFound.into()) };
        if matches!(self.entry(to), Some(Entry::Folder)) {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.changes_names(vec![(from.to_owned(), None), (to.to_owned(), Some(entry))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.entry(path) {
            Some(Entry::File(_)) => {
                self.pass()?;
                self.changes_names(vec![(path.to_owned(), None)]);
                Ok(())
            }
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.pass()?;
        if self.0.is_lying.get() {
            return Ok(());
        }
        let mut platter = self.0.platter.borrow_mut();
        for change in platter.changes.remove(folder).unwrap_or_default() {
            apply(&mut platter.lasting, change);
        }
        Ok(())
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.takes_room()?;
        if self.entry(path).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|folder| self.is_folder(folder)) {
            return Err(ErrorKind::NotFound.into());
        }
        self.changes_names(vec![(path.to_owned(), Some(Entry::Folder))]);
        Ok(())
    }

    fn is_folder(&self, path: &Path) -> bool {
        is_folder(&self.0.platter.borrow().names, path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.entry(path).is_some()
    }

    fn writer(&self) -> u32 {
        self.process().id
    }

    fn twin_from(&self) -> usize {
        0
    }

    fn try_lock(&self, path: &Path) -> Result<Option<SimLock>, LockError> {
        let taken = self.0.locks.borrow_mut().insert(path.to_owned());
        Ok(taken.then(|| SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}
