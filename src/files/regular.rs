//! Opening what should be a regular file, whatever stands there: without waiting, and without following a link.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Why it was not opened.
#[derive(Debug)]
pub enum NotRegular {
    /// The operating system refused.
    Io(io::Error),
    /// Something else stands there, such as "a directory".
    Other(&'static str),
}

/// Opens a file for reading; none where there is nothing at that path.
pub fn open(path: &Path) -> Result<Option<File>, NotRegular> {
    open_with(path, OpenOptions::new().read(true))
}

/// Opens a file as `options` say, never through a link, and never waiting for the other end of a FIFO.
pub fn open_with(path: &Path, options: &mut OpenOptions) -> Result<Option<File>, NotRegular> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let file = match options.custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refusal(path).unwrap_or(NotRegular::Io(error))),
    };
    match kind_of(file.metadata().map_err(NotRegular::Io)?.file_type()) {
        Some(kind) => Err(NotRegular::Other(kind)),
        None => Ok(Some(file)),
    }
}

/// A clearer error than the one that opening a link or a socket gives.
fn refusal(path: &Path) -> Option<NotRegular> {
    let kind = kind_of(std::fs::symlink_metadata(path).ok()?.file_type())?;
    Some(NotRegular::Other(kind))
}

/// What stands there, where it is no regular file.
fn kind_of(file_type: FileType) -> Option<&'static str> {
    match file_type {
        it if it.is_file() => None,
        it if it.is_dir() => Some("a directory"),
        it if it.is_symlink() => Some("a symbolic link"),
        it if it.is_fifo() => Some("a pipe (FIFO)"),
        it if it.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}
