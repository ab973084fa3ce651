//! Reading a file whole, where it is a file and not too large.

use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::MAX_BYTES;
use crate::core::fault::Faults;
use crate::files::disk::{Disk, Os};
use crate::files::regular::NotRegular;

/// Why a document could not be read.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// The operating system refused.
    #[error("{}: it cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else stands where the file should be.
    #[error("{}: a file is expected here, but it is {kind}; move it away", path.display())]
    NotAFile {
        /// The place.
        path: PathBuf,
        /// What stands there, as "a directory".
        kind: &'static str,
    },
    /// More than [`MAX_BYTES`].
    #[error("{}: it is larger than {MAX_BYTES} bytes, which no document of ours is; move it away", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It was read, and this is wrong with it.
    #[error("{}: {faults}", path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        faults: Faults,
    },
}

impl DocumentError {
    /// Names the file that has these faults; for `map_err`.
    pub fn faulty(path: &Path) -> impl FnOnce(Faults) -> Self {
        let path = path.to_owned();
        move |faults| Self::Faulty { path, faults }
    }
}

/// The bytes of a regular file; `None` when there is nothing at that path.
///
/// The path's parents may be symbolic links (a state directory may live elsewhere), the file itself may not: an agent
/// that can write into the directory must not be able to point our reading at something else. It never blocks, as
/// opening a FIFO would.
///
/// # Errors
/// Whatever stands there is no readable regular file of at most [`MAX_BYTES`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, DocumentError> {
    read_on(&Os, path)
}

/// The same on any disk.
///
/// # Errors
/// Whatever stands there is no readable regular file of at most [`MAX_BYTES`].
pub fn read_on<D: Disk>(disk: &D, path: &Path) -> Result<Option<Vec<u8>>, DocumentError> {
    let io = |source| DocumentError::Io { path: path.to_owned(), source };
    let file = match disk.open(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(NotRegular::Io(error)) => return Err(io(error)),
        Err(NotRegular::Other(kind)) => return Err(DocumentError::NotAFile { path: path.to_owned(), kind }),
    };
    match bounded(file).map_err(io)? {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(DocumentError::TooLarge { path: path.to_owned() }),
    }
}

/// Everything in the file, or none where it is too large. The size on record is not trusted: the file may be growing.
fn bounded(file: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= MAX_BYTES).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use assert_fs::TempDir;
    use assert_fs::prelude::*;
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = TempDir::new().expect("dir");
        dir.child("file").write_str("text").expect("file");
        dir.child("dir").create_dir_all().expect("dir");
        symlink("file", dir.path().join("link")).expect("link");
        symlink("nowhere", dir.path().join("dangling")).expect("link");
        nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).expect("fifo");
        let _socket = UnixListener::bind(dir.path().join("socket")).expect("socket");

        assert_eq!(read(&dir.path().join("file")).expect("file").as_deref(), Some(b"text".as_slice()));
        assert_eq!(read(&dir.path().join("absent")).expect("absent"), None);
        assert_eq!(read(&dir.path().join("absent/file")).expect("absent"), None);
        for (name, kind) in [
            ("dir", "a directory"),
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("fifo", "a pipe (FIFO)"),
            ("socket", "a socket"),
        ] {
            let path = dir.path().join(name);
            let error = read(&path).expect_err(name).to_string();
            assert_eq!(error, format!("{}: a file is expected here, but it is {kind}; move it away", path.display()));
        }
        let device = read(Path::new("/dev/null")).expect_err("device").to_string();
        assert!(device.contains("a device"), "{device}");
    }

    #[test]
    fn a_state_directory_may_live_behind_a_link() {
        let dir = TempDir::new().expect("dir");
        dir.child("real/file").write_str("text").expect("file");
        symlink("real", dir.path().join("state")).expect("link");
        assert!(read(&dir.path().join("state/file")).expect("file").is_some());
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_by_what_it_holds() {
        let dir = TempDir::new().expect("dir");
        let path = dir.path().join("large");
        let file = OpenOptions::new().write(true).create_new(true).open(&path).expect("file");
        let most = u64::try_from(MAX_BYTES).expect("size");
        file.set_len(most).expect("sparse");
        assert_eq!(read(&path).expect("as large as may be").map(|bytes| bytes.len()), Some(MAX_BYTES));
        file.set_len(most + 1).expect("sparse");
        assert!(matches!(read(&path), Err(DocumentError::TooLarge { .. })));
    }

    #[test]
    fn every_error_names_its_path() {
        let dir = TempDir::new().expect("dir");
        dir.child("file").write_str("text").expect("file");
        let path = dir.path().join("file/under-a-file");
        let error = read(&path).expect_err("not a directory").to_string();
        assert!(error.starts_with(&format!("{}: it cannot be read: ", path.display())), "{error}");
    }
}
