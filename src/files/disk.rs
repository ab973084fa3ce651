//! The disk, as the store and the one path of atomic writes use it. Each call is one thing that a crash can come before
//! or after; the machine's own disk and a simulated one go through the same lines above.

#![expect(clippy::disallowed_methods, reason = "these are the calls; who makes them passes the fault points")]

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::atomic::Durability;
use super::lock::{Lock, LockError};
use super::regular::{self, NotRegular};

/// Where files are.
pub trait Disk {
    /// An open file.
    type File: Read + Write + Seek;
    /// A lock that is held as long as this value lives.
    type Lock: fmt::Debug;

    /// Opens a regular file for reading; none where there is nothing at that path.
    ///
    /// # Errors
    /// Something else stands there, or the system refuses.
    fn open(&self, path: &Path) -> Result<Option<Self::File>, NotRegular>;

    /// The same for reading and writing, making an empty file where there is none.
    ///
    /// # Errors
    /// Something else stands there, or the system refuses.
    fn open_to_write(&self, path: &Path) -> Result<Option<Self::File>, NotRegular>;

    /// Makes a file of mode 0600 that must not exist yet.
    ///
    /// # Errors
    /// It exists, or the system refuses.
    fn make(&self, path: &Path) -> io::Result<Self::File>;

    /// Gives a file its mode.
    ///
    /// # Errors
    /// The system refuses.
    fn set_mode(&self, file: &Self::File, mode: u32) -> io::Result<()>;

    /// How many bytes a file has.
    ///
    /// # Errors
    /// The system refuses.
    fn length(&self, file: &Self::File) -> io::Result<u64>;

    /// Makes the content of a file survive a power cut.
    ///
    /// # Errors
    /// The system refuses; what survives is not known.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// The same without what nobody needs to read it back.
    ///
    /// # Errors
    /// The system refuses; what survives is not known.
    fn sync_data(&self, file: &Self::File) -> io::Result<()>;

    /// Puts a file into the place of another, or of none.
    ///
    /// # Errors
    /// The system refuses; nothing has changed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The same, and where the bytes need not survive a power cut by a cheaper way, if there is one. True where what was
    /// there before has the other name now, for the caller to remove.
    ///
    /// # Errors
    /// The system refuses; nothing has changed.
    fn put(&self, from: &Path, to: &Path, _durability: Durability) -> io::Result<bool> {
        self.rename(from, to).map(|()| false)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// It is not there, or the system refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder survive a power cut.
    ///
    /// # Errors
    /// The system refuses; what survives is not known.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes a folder of mode 0700.
    ///
    /// # Errors
    /// It exists, or the system refuses.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Whether a folder is there.
    fn is_folder(&self, path: &Path) -> bool;

    /// Whether anything is there.
    fn exists(&self, path: &Path) -> bool;

    /// The process that writes; its temp files carry the number.
    fn writer(&self) -> u32;

    /// From how many bytes on a state has a twin beside it that is quicker to read.
    fn twin_from(&self) -> usize {
        16 << 10
    }

    /// Whether commits are recorded in the journal. It is evidence, which a made-up disk has no use for.
    fn has_journal(&self) -> bool {
        false
    }

    /// Takes the lock of a lock file; none where somebody else holds it.
    ///
    /// # Errors
    /// The system refuses.
    fn try_lock(&self, path: &Path) -> Result<Option<Self::Lock>, LockError>;
}

/// The operating system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Os;

impl Disk for Os {
    type File = File;
    type Lock = Lock;

    fn open(&self, path: &Path) -> Result<Option<File>, NotRegular> {
        regular::open(path)
    }

    fn open_to_write(&self, path: &Path) -> Result<Option<File>, NotRegular> {
        regular::open_with(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    fn make(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    // ext4 starts to write the bytes of a file that is renamed over another, and the rename waits for some of that; of two
    // files that change names it does not.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn put(&self, from: &Path, to: &Path, durability: Durability) -> io::Result<bool> {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let may_swap = durability == Durability::Volatile && fs::symlink_metadata(to).is_ok_and(|meta| meta.is_file());
        if may_swap && renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE).is_ok() {
            return Ok(true);
        }
        self.rename(from, to).map(|()| false)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn writer(&self) -> u32 {
        std::process::id()
    }

    fn has_journal(&self) -> bool {
        true
    }

    fn try_lock(&self, path: &Path) -> Result<Option<Lock>, LockError> {
        Lock::try_exclusive(path)
    }
}
