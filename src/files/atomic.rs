//! The one way bytes get to disk: whole or not at all.
//!
//! A file is written beside its destination under a name of its own and renamed into place, so a reader
//! sees the old bytes or the new ones and a crash leaves at most a temp file, which [`sweep_temps`]
//! recognises. Formats never live here: this module moves bytes.

#![expect(clippy::disallowed_methods, reason = "this module is the atomic-write path")]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use thiserror::Error;

use super::disk::{Disk, Os};
use crate::fault;

/// How temp files end: `.<name>.<pid>-<n>.autometta-tmp`.
const TEMP_SUFFIX: &str = ".autometta-tmp";

/// How many names are tried before giving up; more leftovers of one process than this do not happen.
const TEMP_TRIES: u32 = 1000;

/// What a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Power loss, once the call has returned: the file and its directory are synced.
    Durable,
    /// A killed process, but not power loss: for files that can be made again.
    Volatile,
}

/// A change to the disk that did not happen.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}; what was there before is unchanged", path.display())]
pub struct WriteError {
    /// What was being done, as a verb.
    pub action: &'static str,
    /// The file or directory concerned.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Attaches the path to an IO error.
fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> WriteError + 'a {
    move |source| WriteError { action, path: path.to_owned(), source }
}

/// Replaces `path` by a file of mode 0600 that holds `bytes`.
///
/// The directory must exist. A symbolic link at `path` is replaced, not followed.
pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), WriteError> {
    write_on(&Os, path, bytes, durability)
}

/// The same on any disk.
pub fn write_on<D: Disk>(disk: &D, path: &Path, bytes: &[u8], durability: Durability) -> Result<(), WriteError> {
    replace(disk, path, bytes, durability, None, |_| Ok(()))
}

/// Replaces a file, durably and with the mode that it has, by its own first `kept` bytes and these behind them. Of a file
/// that is not there, nothing can be kept.
pub fn replace_end(path: &Path, kept: u64, end: &[u8]) -> Result<(), WriteError> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let old = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && kept == 0 => {
            return write(path, end, Durability::Durable);
        }
        other => other.map_err(at("read", path))?,
    };
    let mode = old.metadata().map_err(at("read", path))?.permissions().mode() & 0o777;
    replace(&Os, path, end, Durability::Durable, Some(mode), |file| {
        let copied = io::copy(&mut old.take(kept), file)?;
        if copied < kept { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    })
}

/// Replaces a file by what `begin` writes and the bytes, with this mode where one is asked for: the name never stands for
/// the new bytes with another one.
fn replace<D: Disk>(
    disk: &D,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
    mode: Option<u32>,
    begin: impl FnOnce(&mut D::File) -> io::Result<()>,
) -> Result<(), WriteError> {
    let fail = || at("write", path);
    let (temp, mut file) = with_temp(disk.writer(), path, |temp| {
        fault::point!("atomic.make", path)?;
        disk.make(temp)
    })
    .map_err(fail())?;
    let written = begin(&mut file)
        .and_then(|()| fault::write!("atomic.write", bytes, |bytes| file.write_all(bytes)))
        .and_then(|()| {
            mode.map_or(Ok(()), |mode| fault::point!("atomic.mode", path).and_then(|()| disk.set_mode(&file, mode)))
        })
        .and_then(|()| match durability {
            Durability::Durable => fault::point!("atomic.sync", path).and_then(|()| disk.sync(&file)),
            Durability::Volatile => Ok(()),
        })
        .and_then(|()| fault::point!("atomic.rename", path))
        .and_then(|()| disk.put(&temp, path, durability));
    if !matches!(written, Ok(false)) {
        // Best effort: what cannot be removed now is swept later.
        let _ = fault::point!("atomic.drop-temp", path).and_then(|()| disk.remove(&temp));
    }
    written.map_err(fail())?;
    settle_on(disk, path, durability).map_err(fail())
}

/// Makes a file that must not exist yet, durably. False where it does: of many who try, one makes it.
pub fn create_new(path: &Path, bytes: &[u8]) -> Result<bool, WriteError> {
    let fail = || at("make", path);
    let made = fault::point!("claim.make", path)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
    let mut file = match made {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(fail()(error)),
    };
    fault::write!("claim.write", bytes, |bytes| file.write_all(bytes))
        .and_then(|()| fault::point!("claim.sync", path))
        .and_then(|()| file.sync_all())
        .map_err(fail())?;
    settle(path, Durability::Durable).map_err(fail())?;
    Ok(true)
}

/// Replaces `path` durably by what `fill` writes, which may be more than memory holds. Where `fill` gives up, it says
/// false, and nothing has changed.
pub fn write_stream(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<bool>) -> Result<bool, WriteError> {
    let fail = || at("write", path);
    let (temp, mut file) = with_temp(Os.writer(), path, |temp| {
        fault::point!("stream.make", path)?;
        Os.make(temp)
    })
    .map_err(fail())?;
    let filled = fill(&mut file)
        .and_then(|is_whole| fault::point!("stream.sync", path).and_then(|()| file.sync_all()).map(|()| is_whole));
    match filled {
        Ok(true) => fault::point!("stream.rename", path)
            .and_then(|()| fs::rename(&temp, path))
            .and_then(|()| settle(path, Durability::Durable))
            .map(|()| true)
            .map_err(fail()),
        other => {
            // Best effort: what cannot be removed now is swept later.
            let _ = fault::point!("stream.drop-temp", path).and_then(|()| fs::remove_file(&temp));
            other.map_err(fail())
        }
    }
}

/// Replaces a file that belongs to the repository rather than to us: durably, with the mode that it had, or one that
/// lets everybody read it.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    const EVERYBODY_READS: u32 = 0o644;
    let mode = fs::metadata(path).map_or(EVERYBODY_READS, |meta| meta.permissions().mode() & 0o777);
    replace(&Os, path, bytes, Durability::Durable, Some(mode), |_| Ok(()))
}

/// Adds `bytes` to the end of `path`, making the file if need be, and syncs.
///
/// An append is not atomic: after a crash the tail may hold a part of `bytes`, which the reader must expect.
pub fn append_durable(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let fail = || at("append to", path);
    let fresh = !path.exists();
    fault::point!("append.open", path).map_err(fail())?;
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(fail())?;
    fault::write!("append.write", bytes, |bytes| file.write_all(bytes))
        .and_then(|()| fault::point!("append.sync", path))
        .and_then(|()| file.sync_all())
        .map_err(fail())?;
    settle(path, if fresh { Durability::Durable } else { Durability::Volatile }).map_err(fail())
}

/// Makes the directory `path` and its missing parents, each of mode 0700.
pub fn make_dirs(path: &Path, durability: Durability) -> Result<(), WriteError> {
    make_dirs_on(&Os, path, durability)
}

/// The same on any disk.
pub fn make_dirs_on<D: Disk>(disk: &D, path: &Path, durability: Durability) -> Result<(), WriteError> {
    if disk.is_folder(path) {
        // Whoever made it may have died before its name was synced, or did not care.
        return settle_on(disk, path, durability).map_err(at("make the directory", path));
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dirs_on(disk, parent, durability)?;
    }
    match fault::point!("folder.make", path).and_then(|()| disk.make_folder(path)) {
        // Somebody else was quicker, which is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && disk.is_folder(path) => Ok(()),
        other => other.and_then(|()| settle_on(disk, path, durability)).map_err(at("make the directory", path)),
    }
}

/// Replaces `path` by a symbolic link to `target`, without a moment in which neither exists.
pub fn link(path: &Path, target: &Path) -> Result<(), WriteError> {
    let make = |temp: &Path| fault::point!("link.make", path).and_then(|()| symlink(target, temp));
    let (temp, ()) = with_temp(std::process::id(), path, make).map_err(at("make the link", path))?;
    fault::point!("link.rename", path).and_then(|()| fs::rename(&temp, path)).map_err(|source| {
        let _ = fault::point!("link.drop-temp", path).and_then(|()| fs::remove_file(&temp));
        at("make the link", path)(source)
    })
}

/// Moves whatever is at `path` to `aside`, which must be on the same file system, and syncs.
pub fn move_aside(path: &Path, aside: &Path) -> Result<(), WriteError> {
    fault::point!("aside.move", path)
        .and_then(|()| fs::rename(path, aside))
        .and_then(|()| settle(aside, Durability::Durable))
        .map_err(at("move aside", path))
}

/// Removes a file and syncs its directory; fine where there is none.
pub fn remove_durably(path: &Path) -> Result<(), WriteError> {
    remove_durably_on(&Os, path)
}

/// The same on any disk.
pub fn remove_durably_on<D: Disk>(disk: &D, path: &Path) -> Result<(), WriteError> {
    remove_on(disk, path)?;
    settle_on(disk, path, Durability::Durable).map_err(at("remove", path))
}

/// Removes the file `path`; one that is not there is as good as removed.
pub fn remove(path: &Path) -> Result<(), WriteError> {
    remove_on(&Os, path)
}

/// The same on any disk.
pub fn remove_on<D: Disk>(disk: &D, path: &Path) -> Result<(), WriteError> {
    match fault::point!("atomic.remove", path).and_then(|()| disk.remove(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Renames whatever is at `path` to a free name beside it and gives that name; none where nothing is there.
pub fn set_aside(path: &Path) -> Result<Option<PathBuf>, WriteError> {
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    if !is_there(path) {
        return Ok(None);
    }
    let mut number = 1_u32;
    let aside = loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".found-{number}"));
        let aside = PathBuf::from(name);
        if !is_there(&aside) {
            break aside;
        }
        number += 1;
    };
    fault::point!("aside.set", path)
        .and_then(|()| fs::rename(path, &aside))
        .and_then(|()| settle(path, Durability::Durable))
        .map_err(at("set aside", path))?;
    Ok(Some(aside))
}

/// Removes what writers that died left in `dir`, and says how many files that were.
///
/// Temp files of living processes are kept: a supervisor may be in the middle of a write. A dead writer whose
/// pid is in use again, or that nobody has reaped yet, keeps its leftover until a later sweep, which costs nothing but
/// the space.
pub fn sweep_temps(dir: &Path) -> Result<usize, WriteError> {
    sweep(dir, |writer| kill(writer, None) == Err(Errno::ESRCH))
}

/// The same whoever the writer was, in a folder that nobody writes to any more.
pub fn sweep_all_temps(dir: &Path) -> Result<usize, WriteError> {
    sweep(dir, |_| true)
}

fn sweep(dir: &Path, is_dead: impl Fn(Pid) -> bool) -> Result<usize, WriteError> {
    let fail = || at("sweep", dir);
    let mut swept = 0;
    for entry in fs::read_dir(dir).map_err(fail())? {
        let entry = entry.map_err(fail())?;
        let Some(writer) = temp_writer(&entry.file_name()) else { continue };
        if is_dead(writer) {
            remove(&entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// The process that made a temp file, or none where the name is not one of ours.
fn temp_writer(name: &OsStr) -> Option<Pid> {
    let inner = name.to_str()?.strip_prefix('.')?.strip_suffix(TEMP_SUFFIX)?;
    let (pid, number) = inner.rsplit_once('.')?.1.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok().filter(|&pid: &i32| pid > 0).map(Pid::from_raw)
}

/// Calls `make` with unused temp names beside `path` until one does not exist yet.
fn with_temp<T>(pid: u32, path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    for number in 0..TEMP_TRIES {
        let mut temp = OsString::from(".");
        temp.push(name);
        temp.push(format!(".{pid}-{number}{TEMP_SUFFIX}"));
        let temp = path.with_file_name(temp);
        match make(&temp) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|made| (temp, made)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes the name `path` itself survive power loss: a rename lives in the directory, not in the file.
fn settle(path: &Path, durability: Durability) -> io::Result<()> {
    settle_on(&Os, path, durability)
}

fn settle_on<D: Disk>(disk: &D, path: &Path, durability: Durability) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match durability {
        Durability::Durable => {
            fault::point!("folder.sync", path)?;
            disk.sync_folder(parent)
        }
        Durability::Volatile => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .expect("dir")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("utf-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("state.yaml");
        for (bytes, durability) in
            [(&b"a longer first text"[..], Durability::Durable), (&b"short"[..], Durability::Volatile)]
        {
            write(&path, bytes, durability).expect("written");
            assert_eq!(fs::read(&path).expect("read"), bytes);
        }
        assert_eq!(names(dir.path()), ["state.yaml"]);
        assert_eq!(fs::metadata(&path).expect("meta").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_failed_write_names_the_path_and_leaves_the_old_state() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("taken");
        fs::create_dir(&path).expect("dir in the way");
        let error = write(&path, b"x", Durability::Durable).expect_err("a directory is in the way");
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(dir.path()), ["taken"]);
        let error = write(&dir.path().join("no/such/dir/file"), b"x", Durability::Volatile).expect_err("no directory");
        assert!(error.to_string().contains("no/such/dir/file"), "{error}");
    }

    #[test]
    fn racing_writers_never_mix_their_bytes() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("file");
        std::thread::scope(|scope| {
            for letter in [b'a', b'b', b'c', b'd'] {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        write(path, &[letter; 5000], Durability::Volatile).expect("written");
                        let seen = fs::read(path).expect("read");
                        assert!(seen.len() == 5000 && seen.iter().all(|byte| *byte == seen[0]));
                    }
                });
            }
        });
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn the_sweep_takes_dead_writers_leftovers_and_nothing_else() {
        let dir = tempfile::tempdir().expect("dir");
        let mut dead = std::process::Command::new("true").spawn().expect("true");
        dead.wait().expect("ended");
        let (dead, living) = (dead.id(), std::process::id());
        let kept = [
            format!(".a.{living}-0{TEMP_SUFFIX}"),
            ".hidden".to_owned(),
            format!("a.{dead}-0{TEMP_SUFFIX}"),
            format!(".a.x-0{TEMP_SUFFIX}"),
        ];
        for name in kept.iter().chain([&format!(".a.json.{dead}-7{TEMP_SUFFIX}")]) {
            fs::write(dir.path().join(name), "").expect("file");
        }
        assert_eq!(sweep_temps(dir.path()).expect("swept"), 1);
        let mut kept = kept.to_vec();
        kept.sort();
        assert_eq!(names(dir.path()), kept);
        // Where nobody writes any more, a writer that seems to live is one that nobody has reaped.
        assert_eq!(sweep_all_temps(dir.path()).expect("swept"), 1);
        kept.retain(|name| *name != format!(".a.{living}-0{TEMP_SUFFIX}"));
        assert_eq!(names(dir.path()), kept);
    }

    #[test]
    fn links_and_directories_can_be_made_again_and_again() {
        let dir = tempfile::tempdir().expect("dir");
        let deep = dir.path().join("a/b/c");
        for target in ["one", "two"] {
            make_dirs(&deep, Durability::Durable).expect("made");
            link(&deep.join("newest"), Path::new(target)).expect("linked");
            assert_eq!(fs::read_link(deep.join("newest")).expect("link"), Path::new(target));
        }
        assert_eq!(fs::metadata(dir.path().join("a")).expect("meta").permissions().mode() & 0o777, 0o700);
        remove(&deep.join("newest")).expect("removed");
        remove(&deep.join("newest")).expect("removed twice");
        assert_eq!(names(&deep), Vec::<String>::new());
    }

    #[test]
    fn appends_add_up() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("ledger.jsonl");
        append_durable(&path, b"1\n").expect("first");
        append_durable(&path, b"2\n").expect("second");
        assert_eq!(fs::read(&path).expect("read"), b"1\n2\n");
    }
}
