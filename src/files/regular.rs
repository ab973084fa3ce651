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
    match attempt(path, options) {
        Ok(file) => Ok(Some(file)),
        Err(NotRegular::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(other) => Err(other),
    }
}

/// Opens a file that should be there in the same way, for callers to whom every reason is an error alike.
pub fn existing(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    attempt(path, options).map_err(|error| match error {
        NotRegular::Io(error) => error,
        NotRegular::Other(kind) => io::Error::other(format!("it is {kind}")),
    })
}

fn attempt(path: &Path, options: &mut OpenOptions) -> Result<File, NotRegular> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let file = match options.custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(NotRegular::Io(error)),
        Err(error) => return Err(refusal(path).unwrap_or(NotRegular::Io(error))),
    };
    match kind_of(file.metadata().map_err(NotRegular::Io)?.file_type()) {
        Some(kind) => Err(NotRegular::Other(kind)),
        None => Ok(file),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_be_there_is_a_file_or_an_error_that_says_what_it_is() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink("file", path("link")).expect("link");
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        let open = |name: &str| existing(&path(name), OpenOptions::new().read(true));
        assert_eq!(open("file").expect_err("absent").kind(), ErrorKind::NotFound);
        assert_eq!(open("link").expect_err("a link to nothing").to_string(), "it is a symbolic link");
        open_with(&path("file"), OpenOptions::new().write(true).create_new(true)).expect("file");
        assert!(open("file").is_ok());
        for (name, says) in
            [("link", "it is a symbolic link"), ("fifo", "it is a pipe (FIFO)"), (".", "it is a directory")]
        {
            assert_eq!(open(name).expect_err(name).to_string(), says);
        }
    }
}
