//! Directories of runs that are over: how much room they take, taking them away, and compressing their logs.
//!
//! Nothing here follows a link or leaves the directory that it was given. A directory that goes whole is renamed first,
//! so that what a crash leaves of it is nobody's run and is found again.
#![expect(
    clippy::disallowed_methods,
    reason = "this removes what the retention plan names, and passes the fault points"
)]

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::atomic::{self, WriteError};
use super::regular;
use crate::fault;

/// What tells how a run came out, below its directory. It is small, and stays when the rest goes.
const RECORDS: [&str; 14] = [
    "agent.json",
    "asked",
    "cleared",
    "exit.json",
    "flags.json",
    "gates.json",
    "launch.log",
    "outbox/handoff.json",
    "outbox/verdict.json",
    "panel-published",
    "published",
    "run.json",
    "run.lock",
    "started.json",
];
/// What tells when a run was last heard of, the best first.
const CLOCKS: [&str; 4] = ["exit.json", "started.json", "run.json", ""];
/// The logs that are compressed.
pub const LOGS: [&str; 2] = ["stdout.log", "stderr.log"];
/// How the name of a directory that is going begins.
const GOING: &str = ".gone-";
/// What follows the name of a log that is compressed.
const PACKED: &str = ".gz";
/// No run of ours has more files, or deeper folders; of one that has, the rest is not counted.
const MOST_FILES: usize = 10_000;
const DEEPEST: usize = 12;
/// How much of a log is compressed before somebody who waits is looked for.
const PART: usize = 256 << 10;

/// What a run's directory takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// When the run was last heard of.
    pub at: SystemTime,
    /// The room of all of it, in bytes.
    pub bytes: u64,
    /// The room of everything but its records.
    pub bulk: u64,
    /// The room of its logs that are not compressed.
    pub plain: u64,
}

/// How far something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// To its end.
    Through,
    /// Not to its end, because somebody waits; it can be begun again.
    Short,
}

/// Whether there is time for one more piece.
pub type Patience<'a> = &'a mut dyn FnMut() -> bool;

/// Attaches the path to an IO error.
fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> WriteError + 'a {
    move |source| WriteError { action, path: path.to_owned(), source }
}

/// Measures a run's directory; none where something else stands there. What cannot be looked into counts nothing.
pub fn measure(dir: &Path) -> Option<Measured> {
    if !is_real_folder(dir) {
        return None;
    }
    let time = |name: &str| fs::symlink_metadata(dir.join(name)).and_then(|meta| meta.modified()).ok();
    let at = CLOCKS.iter().find_map(|name| time(name))?;
    let mut measured = Measured { at, bytes: 0, bulk: 0, plain: 0 };
    let mut left = MOST_FILES;
    walk(dir, Path::new(""), 0, &mut left, &mut |name, meta| {
        let room = meta.blocks().saturating_mul(512);
        measured.bytes = measured.bytes.saturating_add(room);
        if !is_record(name) {
            measured.bulk = measured.bulk.saturating_add(room);
        }
        if LOGS.iter().any(|log| name == Path::new(log)) && meta.is_file() && meta.len() > 0 {
            measured.plain = measured.plain.saturating_add(room);
        }
    });
    Some(measured)
}

fn is_record(name: &Path) -> bool {
    RECORDS.iter().any(|record| name == Path::new(record))
}

/// Whether a directory stands there itself, and no link to one.
pub fn is_real_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Looks at every file below a folder, links not followed.
fn walk(top: &Path, below: &Path, depth: usize, left: &mut usize, look: &mut dyn FnMut(&Path, &Metadata)) {
    for entry in fs::read_dir(top.join(below)).into_iter().flatten().flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let name = below.join(entry.file_name());
        // It does not follow a link.
        let Ok(meta) = entry.metadata() else { continue };
        if !meta.is_dir() {
            look(&name, &meta);
        } else if depth < DEEPEST {
            walk(top, &name, depth + 1, left, look);
        }
    }
}

/// Takes a run's directory away. Fine where it is gone, wholly or in part.
pub fn remove(dir: &Path, patience: Patience<'_>) -> Result<Came, WriteError> {
    let going = going(dir);
    if fs::symlink_metadata(&going).is_ok() && take_away(&going, patience)? == Came::Short {
        return Ok(Came::Short);
    }
    if !is_real_folder(dir) {
        return Ok(Came::Through);
    }
    fault::point!("spent.aside", dir).and_then(|()| fs::rename(dir, &going)).map_err(at("remove", dir))?;
    take_away(&going, patience)
}

fn going(dir: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(GOING);
    name.push(dir.file_name().unwrap_or_default());
    dir.with_file_name(name)
}

/// Whether a name is that of a directory that was going when whoever took it away died.
pub fn is_going(name: &str) -> bool {
    name.starts_with(GOING)
}

/// Takes away what such a name stands for.
pub fn take_away(going: &Path, patience: Patience<'_>) -> Result<Came, WriteError> {
    if !is_real_folder(going) {
        return drop_one(going).map(|()| Came::Through);
    }
    match empty(going, &|_| false, patience)? {
        Came::Short => Ok(Came::Short),
        Came::Through => match fault::point!("spent.folder", going).and_then(|()| fs::remove_dir(going)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at("remove", going)(error)),
            _ => Ok(Came::Through),
        },
    }
}

/// Takes everything away from a run's directory but its records.
pub fn strip(dir: &Path, patience: Patience<'_>) -> Result<Came, WriteError> {
    if !is_real_folder(dir) {
        return Ok(Came::Through);
    }
    empty(dir, &|name| is_record(name), patience)
}

/// Takes away what is in a folder, but what stays. A folder of which something stays, stays.
fn empty(dir: &Path, stays: &dyn Fn(&Path) -> bool, patience: Patience<'_>) -> Result<Came, WriteError> {
    let has_record = |folder: &Path| RECORDS.iter().any(|record| Path::new(record).starts_with(folder));
    for entry in list(dir)? {
        if !patience() {
            return Ok(Came::Short);
        }
        let name = PathBuf::from(entry.file_name().unwrap_or_default());
        if !is_real_folder(&entry) {
            if !stays(&name) {
                drop_one(&entry)?;
            }
        } else if stays(Path::new("outbox/handoff.json")) && has_record(&name) {
            for inner in list(&entry)? {
                if !stays(&name.join(inner.file_name().unwrap_or_default())) {
                    drop_one(&inner)?;
                }
            }
        } else {
            drop_one(&entry)?;
        }
    }
    Ok(Came::Through)
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let read = || fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let listed = match read() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => open_up(dir).and_then(|()| read()),
        other => other,
    };
    listed.map_err(at("list", dir))
}

/// Removes a file, a link itself, or a folder with all it holds; also where the permission was taken away.
fn drop_one(path: &Path) -> Result<(), WriteError> {
    let attempt = || {
        fault::point!("spent.remove", path)?;
        if is_real_folder(path) { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    };
    let removed = match attempt() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let around = path.parent().unwrap_or(path);
            allow(around).and_then(|()| open_up(path)).and_then(|()| attempt())
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Lets the owner list and change every folder below this one, itself included.
fn open_up(folder: &Path) -> io::Result<()> {
    if !is_real_folder(folder) {
        return Ok(());
    }
    allow(folder)?;
    for entry in fs::read_dir(folder)? {
        open_up(&entry?.path())?;
    }
    Ok(())
}

fn allow(folder: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(folder)?.permissions().mode();
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    fault::point!("spent.mode", folder)?;
    fs::set_permissions(folder, Permissions::from_mode(mode | 0o700))
}

/// Where a log stands once it is compressed.
pub fn packed(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(PACKED);
    PathBuf::from(name)
}

/// Opens a log that was compressed; none where it was not.
pub fn open_packed(log: &Path) -> io::Result<Option<GzDecoder<File>>> {
    let path = packed(log);
    match regular::existing(&path, OpenOptions::new().read(true)) {
        Ok(file) => Ok(Some(GzDecoder::new(file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a log's bytes, compressed, beside it, and then takes the log away. A crash leaves the log, or both.
pub fn compress(log: &Path, patience: Patience<'_>) -> Result<Came, WriteError> {
    let fail = || at("compress", log);
    let mut plain = match regular::existing(log, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Came::Through),
        other => other.map_err(fail())?,
    };
    if let Some(folder) = log.parent() {
        atomic::sweep_temps(folder)?;
    }
    let written = plain.metadata().and_then(|meta| meta.modified()).map_err(fail())?;
    let is_whole = atomic::write_stream(&packed(log), |file| {
        let mut part = vec![0; PART];
        let mut encoder = GzEncoder::new(&mut *file, Compression::default());
        loop {
            let read = plain.read(&mut part)?;
            if read == 0 {
                break;
            }
            if !patience() {
                return Ok(false);
            }
            fault::write!("spent.pack", &part[..read], |bytes| encoder.write_all(bytes))?;
        }
        encoder.finish()?;
        fault::point!("spent.pack-time", log)?;
        file.set_modified(written)?;
        Ok(true)
    })?;
    if !is_whole {
        return Ok(Came::Short);
    }
    atomic::remove(log).map(|()| Came::Through)
}

#[cfg(test)]
mod tests;
