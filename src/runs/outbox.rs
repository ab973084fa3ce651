//! Collecting what a program handed in, from a directory that the program controlled.
//!
//! Only bytes are moved here. Whether they make a handoff or a verdict is judged by whoever reads the copy.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::dir::RunDir;
use super::redact::Redactor;
use crate::core::exit::Outbox;
use crate::core::run::{LAST_MESSAGE, RunOrder};
use crate::files::atomic::{self, Durability, WriteError};

/// The largest envelope that is taken, in bytes.
const LIMIT: u64 = 1 << 20;

/// What was found, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub kind: Option<Outbox>,
    pub fault: Option<String>,
}

/// Copies the envelope into the run's directory: the returned value of a verifier first, else the file.
///
/// An error is our own: the copy could not be written, which says nothing about what was handed in.
pub(super) fn collect(
    dir: &RunDir,
    order: &RunOrder,
    returned: Option<&serde_json::Value>,
    redactor: &Redactor,
) -> Result<Collected, WriteError> {
    if let Err(fault) = keep_last_message(dir, order, redactor) {
        super::supervise::log(&fault);
    }
    let Some(ask) = &order.outbox else { return Ok(Collected::default()) };
    let bytes = match returned.filter(|_| ask.kind == Outbox::Verdict) {
        Some(value) => Ok(Some(value.to_string().into_bytes())),
        None => take(&order.cwd, &ask.path),
    };
    Ok(match bytes {
        Ok(None) => Collected::default(),
        Ok(Some(bytes)) => {
            store(&dir.outbox_file(ask.kind), &redactor.bytes(&bytes))?;
            Collected { kind: Some(ask.kind), fault: None }
        }
        Err(fault) => Collected { kind: None, fault: Some(fault) },
    })
}

/// Copies the CLI's own last message beside the envelope, for people; most runs have none.
fn keep_last_message(dir: &RunDir, order: &RunOrder, redactor: &Redactor) -> Result<(), String> {
    let Some(bytes) = take(&order.cwd, Path::new(LAST_MESSAGE))? else { return Ok(()) };
    store(&dir.path().join("last-message.txt"), &redactor.bytes(&bytes)).map_err(|error| error.to_string())
}

fn store(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let parent = path.parent().unwrap_or(path);
    atomic::make_dirs(parent, Durability::Durable)?;
    atomic::write(path, bytes, Durability::Durable)
}

/// Reads the file below `root`, following no link on the way; none where it does not exist.
fn take(root: &Path, path: &Path) -> Result<Option<Vec<u8>>, String> {
    let shown = path.display();
    let inside = path.strip_prefix(root).unwrap_or(path);
    let names: Option<Vec<_>> = inside
        .components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
        .collect();
    let Some((last, parents)) = names.as_deref().and_then(<[_]>::split_last) else {
        return Err(format!("{shown} lies outside the run's own directory"));
    };
    // A FIFO in the file's place must not stop us: it is opened without waiting, and then refused.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let walk = || -> io::Result<File> {
        let mut folder = File::open(root)?;
        for parent in parents {
            folder = File::from(openat(&folder, *parent, flags | OFlag::O_DIRECTORY, Mode::empty())?);
        }
        Ok(File::from(openat(&folder, *last, flags, Mode::empty())?))
    };
    let file = match walk() {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return Err(format!("{shown} is a symbolic link, and links are not followed"));
        }
        Err(error) if error.raw_os_error() == Some(Errno::ENOTDIR as i32) => {
            return Err(format!("{shown} is not below plain directories"));
        }
        Err(error) => return Err(format!("{shown} cannot be opened: {error}")),
    };
    if !file.metadata().map_err(|error| format!("{shown}: {error}"))?.is_file() {
        return Err(format!("{shown} is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if bytes.len() as u64 > LIMIT {
        return Err(format!("{shown} is larger than 1 MiB"));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test builds what the program left")]
    fn only_a_regular_file_inside_the_root_is_taken() {
        let root = tempfile::tempdir().expect("root");
        let outside = tempfile::tempdir().expect("outside");
        let (root, outside) = (root.path(), outside.path());
        let make = |path: &Path| File::create(path).expect("file");
        make(&outside.join("secret"));
        std::fs::create_dir(root.join("box")).expect("dir");
        make(&root.join("box/good"));
        make(&root.join("box/big")).set_len(LIMIT + 1).expect("size");
        symlink(outside.join("secret"), root.join("box/link")).expect("link");
        symlink(outside, root.join("away")).expect("link");
        nix::unistd::mkfifo(&root.join("box/fifo"), Mode::S_IRWXU).expect("fifo");
        for (path, expected) in [
            ("box/good", Ok(true)),
            ("./box/good", Ok(true)),
            ("box/none", Ok(false)),
            ("no/none", Ok(false)),
            ("box/big", Err("1 MiB")),
            ("box/link", Err("symbolic link")),
            ("away/secret", Err("plain directories")),
            ("box/fifo", Err("not a regular file")),
            ("box", Err("not a regular file")),
            ("box/../box/good", Err("outside")),
            ("/etc/passwd", Err("outside")),
            ("", Err("outside")),
        ] {
            match (take(root, Path::new(path)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.is_some(), expected, "{path}"),
                (Err(fault), Err(expected)) => assert!(fault.contains(expected), "{path}: {fault}"),
                (found, _) => panic!("{path}: {found:?}"),
            }
        }
        assert!(take(root, &root.join("box/good")).expect("absolute").is_some());
    }
}
