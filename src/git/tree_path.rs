//! Paths inside a tree: bytes, with slashes, never absolute. Git's paths need not be UTF-8 or a single line.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A path inside a tree, as git stores it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// From git's own bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The exact bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path for people and for comparing with a card's claims; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Where this path is in a checkout.
    pub fn inside(&self, top: &Path) -> PathBuf {
        top.join(OsStr::from_bytes(&self.0))
    }

    /// Every folder above this path, nearest first; the top itself is not one of them.
    pub fn folders(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| Self(self.0[..at].to_vec()))
    }

    /// Whether this path is `folder` or lies below it.
    pub fn is_in(&self, folder: &Self) -> bool {
        self.0.strip_prefix(folder.0.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// The same path without regard to ASCII case, for file systems that have none.
    pub(super) fn folded(&self) -> Self {
        Self(self.0.to_ascii_lowercase())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text(), out)
    }
}

impl PartialEq<str> for TreePath {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for TreePath {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// A path in double quotes with C escapes, the form that git reads wherever a line or a list is expected.
pub(super) fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            0x20..=0x7e => text.push(*byte),
            _ => text.extend(format!("\\{byte:03o}").into_bytes()),
        }
    }
    text.push(b'"');
    text
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A path from a line of one of git's files, without the newline at its end.
pub(super) fn path_of_line(bytes: &[u8]) -> PathBuf {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    OsString::from_vec(bytes[..end].to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_nearest_first() {
        let path = TreePath::from_bytes(b"a/b/c");
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a/b", "a"]);
        assert!(path.is_in(&TreePath::from_bytes(b"a/b")) && path.is_in(&path));
        assert!(
            !path.is_in(&TreePath::from_bytes(b"a/bb"))
                && !TreePath::from_bytes(b"ab").is_in(&TreePath::from_bytes(b"a"))
        );
    }

    #[test]
    fn quoting_leaves_one_plain_line() {
        assert_eq!(quoted("a\n\"ü\\".as_bytes()), br#""a\012\"\303\274\\""#);
    }
}
