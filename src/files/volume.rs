//! What a folder's file system is like: its kind, its room, and whether it keeps the promises that we rely on.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use thiserror::Error;

use super::atomic::{self, Durability, WriteError};
use super::lock::{self, Lock, LockError};

/// The file systems whose files other machines can change, or whose locks are somebody else's.
const SHARED: [&str; 16] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb",
    "smb2",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "afpfs",
    "ceph",
    "coda",
    "gfs2",
    "glusterfs",
    "lustre",
    "webdav",
];

/// The kind of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Its name, as `mount` shows it.
    pub name: String,
    /// Whose it is.
    pub reach: Reach,
}

/// Whose a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This machine's.
    Local,
    /// A network share, or one that a program of some user serves.
    Shared,
}

/// How much room a file system has for an ordinary user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that may still be written.
    pub bytes: u64,
    /// Files that may still be made; none where there is no limit.
    pub files: Option<u64>,
}

/// A promise that a file system does not keep.
#[derive(Debug, Error)]
pub enum Broken {
    /// Writing, syncing or renaming failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Locking failed.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What was written is not what is read.
    #[error("a file that was written and renamed in {} does not hold what was written", .0.display())]
    Lost(PathBuf),
    /// Two holders of one lock.
    #[error("two descriptors hold the same lock in {} at once", .0.display())]
    TwoHolders(PathBuf),
}

/// The nearest folder that exists, at the path or above it.
pub fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"))
}

/// Tries what our files rely on: a durable write, a rename over another file, and a lock that excludes a second
/// descriptor. Leaves nothing behind.
pub fn try_out(dir: &Path) -> Result<(), Broken> {
    let path = dir.join(format!(".trial-{}", std::process::id()));
    let tried = try_with(&path, dir);
    atomic::remove(&path)?;
    tried
}

fn try_with(path: &Path, dir: &Path) -> Result<(), Broken> {
    for bytes in [&b"first"[..], b"second"] {
        atomic::write(path, bytes, Durability::Durable)?;
    }
    if std::fs::read(path).ok().as_deref() != Some(b"second") {
        return Err(Broken::Lost(dir.to_owned()));
    }
    let holder = Lock::try_exclusive(path)?;
    let excludes = Lock::try_exclusive(path)?.is_none() && lock::is_held(path)?;
    if holder.is_none() || !excludes {
        return Err(Broken::TwoHolders(dir.to_owned()));
    }
    Ok(())
}

/// How much room there is; none where the system does not say.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub fn room(path: &Path) -> Option<Room> {
    let disk = statvfs(path).ok()?;
    let files = (disk.files() as u64 > 0).then_some(disk.files_available() as u64);
    Some(Room { bytes: (disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64), files })
}

/// The kind of file system that a folder is on; none where the system does not say.
#[cfg(not(target_os = "macos"))]
pub fn kind(path: &Path) -> Option<Kind> {
    let path = std::fs::canonicalize(path).ok()?;
    kind_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, &path)
}

/// The kind of file system that a folder is on; none where the system does not say.
#[cfg(target_os = "macos")]
pub fn kind(path: &Path) -> Option<Kind> {
    nix::sys::statfs::statfs(path).ok().map(|disk| named(disk.filesystem_type_name()))
}

/// Reads proc(5)'s `mountinfo`: the mount point is field 5, and the type is the first field behind ` - `. Of mounts that
/// cover each other, the last one counts.
#[cfg_attr(target_os = "macos", allow(dead_code, reason = "macOS tells the type itself"))]
fn kind_in(mounts: &str, path: &Path) -> Option<Kind> {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        path.starts_with(&point).then(|| (point.len(), source.split(' ').next().unwrap_or_default()))
    });
    // Of equally long mount points `max_by_key` keeps the last, which is the one on top.
    mounts.max_by_key(|(length, _)| *length).map(|(_, name)| named(name))
}

fn named(name: &str) -> Kind {
    let shared = SHARED.contains(&name) || name.starts_with("fuse.") || name == "fuse" || name == "macfuse";
    Kind { name: name.to_owned(), reach: if shared { Reach::Shared } else { Reach::Local } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_topmost_mount_decides() {
        let mounts = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n\
                      30 22 0:40 / /mnt rw - tmpfs tmpfs rw\n\
                      31 30 0:41 / /mnt/my\\040share rw shared:2 - nfs4 host:/x rw\n\
                      32 22 0:42 / /mnt rw - fuse.sshfs host:/y rw\n";
        for (path, name, reach) in [
            ("/home/a", "ext4", Reach::Local),
            ("/mnt/my share/repo", "nfs4", Reach::Shared),
            ("/mnt/other", "fuse.sshfs", Reach::Shared),
            ("/mntx", "ext4", Reach::Local),
        ] {
            assert_eq!(kind_in(mounts, Path::new(path)), Some(Kind { name: name.to_owned(), reach }), "{path}");
        }
        assert_eq!(kind_in("", Path::new("/")), None);
    }

    #[test]
    fn a_good_folder_passes_and_is_left_empty_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        try_out(dir.path()).expect("good");
        assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 0);
        let gone = dir.path().join("gone");
        assert!(try_out(&gone).expect_err("gone").to_string().contains("gone"));
        assert_eq!(nearest(&gone), dir.path());
        assert!(room(dir.path()).is_some_and(|room| room.bytes > 0));
    }
}
