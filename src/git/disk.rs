//! The few things git's files and checkouts need from the file system, each with the path in its error.
//!
//! Nothing here follows a symbolic link at the end of a path that it changes or removes.
#![expect(clippy::disallowed_methods, reason = "the git layer writes git's own files and checkouts, and only here")]

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{AccessFlags, Pid, access};

use super::error::{At, GitError};
use crate::fault;

/// What is at a path, links not followed; none where nothing is.
pub(super) fn look(path: &Path) -> Result<Option<Metadata>, GitError> {
    there(fs::symlink_metadata(path), path)
}

/// What is at a path, or where a link there leads; none where nothing is.
pub(super) fn look_through(path: &Path) -> Result<Option<Metadata>, GitError> {
    there(fs::metadata(path), path)
}

fn there(found: std::io::Result<Metadata>, path: &Path) -> Result<Option<Metadata>, GitError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).at("look at", path),
    }
}

/// Whether something is at a path.
pub(super) fn is_there(path: &Path) -> Result<bool, GitError> {
    look(path).map(|found| found.is_some())
}

/// Whether a real folder is at a path.
pub(super) fn is_folder(path: &Path) -> Result<bool, GitError> {
    look(path).map(|found| found.is_some_and(|found| found.is_dir()))
}

/// A file's bytes; none where it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, GitError> {
    // A FIFO is opened without waiting, and then refused like every other thing that is no file.
    let read = || {
        let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a file; move it away"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map(|_| bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// A path with every link resolved.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, GitError> {
    fs::canonicalize(path).at("resolve", path)
}

/// The entries of a folder, in order; none where it does not exist.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, GitError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("list", path),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.at("list", path)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Makes a folder and those above it.
pub(super) fn make_folder(path: &Path) -> Result<(), GitError> {
    fault::point!("git.folder", path).and_then(|()| fs::create_dir_all(path)).at("create the folder", path)
}

/// Flushes a folder's entries to disk.
pub(super) fn sync_folder(path: &Path) -> Result<(), GitError> {
    fault::point!("git.sync-folder", path).at("flush", path)?;
    flush(path)
}

/// Flushes the entries of several folders to disk, each once: one point, however many they are.
pub(super) fn sync_folders<'f>(folders: impl IntoIterator<Item = &'f Path>) -> Result<(), GitError> {
    fault::point!("git.sync-folders").at("flush", Path::new("folders"))?;
    let folders: BTreeSet<&Path> = folders.into_iter().collect();
    folders.into_iter().try_for_each(flush)
}

/// Flushes a file to disk.
pub(super) fn sync_file(path: &Path) -> Result<(), GitError> {
    fault::point!("git.sync-file", path).at("flush", path)?;
    flush(path)
}

fn flush(path: &Path) -> Result<(), GitError> {
    File::open(path).and_then(|file| file.sync_all()).at("flush", path)
}

/// Flushes a file to disk, and makes it look new to whoever clears away what is old. One that is not ours keeps its time.
pub(super) fn renew(path: &Path) -> Result<(), GitError> {
    sync_file(path)?;
    let renewed = fault::point!("git.object.time", path)
        .and_then(|()| File::open(path))
        .and_then(|file| file.set_modified(SystemTime::now()));
    match renewed {
        Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error).at("set the time of", path),
        _ => Ok(()),
    }
}

/// Writes a whole file durably: another name first, then renamed over.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), GitError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = folder.join(name);
    fault::point!("git.note.make", path)
        .and_then(|()| File::create(&fresh))
        .and_then(|mut file| {
            fault::write!("git.note.write", bytes, |bytes| file.write_all(bytes))?;
            fault::point!("git.note.sync", path)?;
            file.sync_all()
        })
        .at("write", &fresh)?;
    rename(&fresh, path)?;
    sync_folder(folder)
}

/// Writes a file that need not survive a crash: one inside a fresh checkout, or one that only saves work.
pub(super) fn write_plainly(path: &Path, bytes: &[u8]) -> Result<(), GitError> {
    remove_file(path)?;
    fault::write!("git.write", bytes, |bytes| fs::write(path, bytes)).at("write", path)
}

/// Writes a file durably that nobody changes any more, under a name that leads nowhere yet; one that a dead process of the
/// same number left there goes first.
pub(super) fn write_for_good(path: &Path, bytes: &[u8]) -> Result<(), GitError> {
    remove_file(path)?;
    fault::point!("git.object.make", path)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o444).open(path))
        .and_then(|mut file| {
            fault::write!("git.object.write", bytes, |bytes| file.write_all(bytes))?;
            fault::point!("git.object.sync", path)?;
            file.sync_all()
        })
        .at("write", path)
}

/// Whether names in a folder can be changed, as far as the system tells beforehand.
pub(super) fn may_change(folder: &Path) -> bool {
    access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}

/// Whether nobody has this pid (any more) who could still write, so that what is named after it has no writer.
pub(super) fn is_gone(pid: i32) -> bool {
    pid < 1 || kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) || is_dead(pid)
}

/// Whether a process is dead and only waits to be reaped, where the system tells (proc(5)): that may take long.
fn is_dead(pid: i32) -> bool {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command's name may hold anything, so that the fields begin behind its last bracket.
    line.rsplit_once(')').is_some_and(|(_, fields)| matches!(fields.trim_start().chars().next(), Some('Z' | 'X' | 'x')))
}

/// Whether a lock was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// By this call.
    Now,
    /// Somebody has it already.
    ByAnother,
}

/// Makes `lock` a second name of `token`, unless something has that name: the lock appears with its content, whole.
pub(super) fn link_exclusively(token: &Path, lock: &Path) -> Result<Taken, GitError> {
    match fault::point!("git.lock.link", lock).and_then(|()| fs::hard_link(token, lock)) {
        Ok(()) => Ok(Taken::Now),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Taken::ByAnother),
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            // A file system without hard links: the content follows the name a moment later.
            let made = fault::point!("git.lock.make", lock)
                .and_then(|()| OpenOptions::new().write(true).create_new(true).open(lock));
            match made {
                Ok(mut file) => {
                    let bytes = fs::read(token).at("read", token)?;
                    fault::write!("git.lock.write", &bytes, |bytes| file.write_all(bytes)).at("write", lock)?;
                    fault::point!("git.lock.sync", lock).and_then(|()| file.sync_all()).at("write", lock)?;
                    Ok(Taken::Now)
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Taken::ByAnother),
                Err(error) => Err(error).at("create", lock),
            }
        }
        Err(error) => Err(error).at("create", lock),
    }
}

/// Renames, replacing what is there.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), GitError> {
    fault::point!("git.rename", to).and_then(|()| fs::rename(from, to)).at("rename", from)
}

/// Moves a file or link over another, also from one file system to another; the target is always old or new.
pub(super) fn move_over(from: &Path, to: &Path, aside: &Path) -> Result<(), GitError> {
    match fault::point!("git.move", to).and_then(|()| fs::rename(from, to)) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            remove_file(aside)?;
            if look(from)?.is_some_and(|found| found.is_symlink()) {
                let target = fs::read_link(from).at("read", from)?;
                fault::point!("git.move.link", aside).at("create", aside)?;
                std::os::unix::fs::symlink(target, aside).at("create", aside)?;
            } else {
                fault::point!("git.move.copy", aside).and_then(|()| fs::copy(from, aside)).at("copy", from)?;
                sync_file(aside)?;
            }
            fault::point!("git.move.rename", to).and_then(|()| fs::rename(aside, to)).at("replace", to)
        }
        done => done.at("replace", to),
    }
}

/// Copies an index. Git compares files' times with the index's own, so the copy keeps that.
pub(super) fn copy_index(from: &Path, to: &Path) -> Result<(), GitError> {
    fault::point!("git.index.copy", to).and_then(|()| fs::copy(from, to)).at("copy", from)?;
    let changed = fs::metadata(from).and_then(|found| found.modified()).at("look at", from)?;
    fault::point!("git.index.time", to).at("set the time of", to)?;
    OpenOptions::new().write(true).open(to).and_then(|file| file.set_modified(changed)).at("set the time of", to)
}

/// Makes `to` hold what `from` holds, unless it exists. A copy that is cut short has another name.
pub(super) fn copy_once(from: &Path, to: &Path) -> Result<(), GitError> {
    if is_there(to)? {
        return Ok(());
    }
    let mut half = to.as_os_str().to_owned();
    half.push(".half");
    let half = PathBuf::from(half);
    fault::point!("git.copy-once", to).and_then(|()| fs::copy(from, &half)).at("copy", from)?;
    sync_file(&half)?;
    rename(&half, to)
}

/// Removes a file or link; fine where it is gone.
pub(super) fn remove_file(path: &Path) -> Result<(), GitError> {
    match fault::point!("git.remove", path).and_then(|()| fs::remove_file(path)) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(error).at("remove", path)
        }
        _ => Ok(()),
    }
}

/// Removes a folder if it is empty, and says whether it is gone.
pub(super) fn remove_empty_folder(path: &Path) -> bool {
    fault::point!("git.remove-folder", path).and_then(|()| fs::remove_dir(path)).is_ok()
}

/// Removes a folder with all it holds, or a file or link; also where an agent took the write permission away.
pub(super) fn remove_tree(path: &Path) -> Result<(), GitError> {
    match look(path)? {
        None => return Ok(()),
        Some(found) if !found.is_dir() => return remove_file(path),
        Some(_) => {}
    }
    if fault::point!("git.remove-tree", path).and_then(|()| fs::remove_dir_all(path)).is_ok() {
        return Ok(());
    }
    open_up(path)?;
    match fault::point!("git.remove-opened", path).and_then(|()| fs::remove_dir_all(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

/// Makes all below a folder readable for its owner: permissions are given back, and what no tree can hold (pipes,
/// sockets, devices) is removed, since reading a pipe by the name of `.gitignore` would wait for ever.
/// Links are not followed.
pub(super) fn open_up(folder: &Path) -> Result<(), GitError> {
    allow(folder, 0o700)?;
    for path in list(folder)? {
        match look(&path)? {
            Some(found) if found.is_dir() => open_up(&path)?,
            Some(found) if found.is_file() => allow(&path, 0o600)?,
            Some(found) if !found.is_symlink() => remove_file(&path)?,
            _ => {}
        }
    }
    Ok(())
}

fn allow(path: &Path, bits: u32) -> Result<(), GitError> {
    let Some(found) = look(path)? else { return Ok(()) };
    let mode = found.permissions().mode();
    if mode & bits == bits {
        return Ok(());
    }
    fault::point!("git.mode", path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode | bits)))
        .at("change the permissions of", path)
}

/// Whether two files or links hold the same, type and executable bit included.
pub(super) fn same_file(one: &Path, other: &Path) -> Result<bool, GitError> {
    let (Some(a), Some(b)) = (look(one)?, look(other)?) else { return Ok(false) };
    if a.is_symlink() && b.is_symlink() {
        return Ok(fs::read_link(one).at("read", one)? == fs::read_link(other).at("read", other)?);
    }
    if !a.is_file() || !b.is_file() || a.len() != b.len() {
        return Ok(false);
    }
    let executable = |found: &Metadata| found.permissions().mode() & 0o100 != 0;
    Ok(executable(&a) == executable(&b) && fs::read(one).at("read", one)? == fs::read(other).at("read", other)?)
}
