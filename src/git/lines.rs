//! How long files of a tree are, in lines: what evidence that names `file:line` is held against.

use std::collections::BTreeMap;

use crate::core::ids::ObjectId;

use super::error::GitError;
use super::objects::Objects;

/// The size of the largest file whose lines are counted, in bytes. A larger one has as many as anybody says.
const LARGEST: u64 = 32 << 20;

impl Objects {
    /// How many lines each of these files has in a tree or commit; what is no file there is left out.
    ///
    /// Two processes, however many paths. A path is looked up exactly as it stands, with slashes and no `.` or `..`.
    pub fn line_counts(
        &self,
        tree: &ObjectId,
        paths: impl IntoIterator<Item = String>,
    ) -> Result<BTreeMap<String, u64>, GitError> {
        let paths: Vec<String> = paths.into_iter().filter(|path| is_plain(path)).collect();
        if paths.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked = paths.iter().map(|path| format!("{tree}:{path}\n")).collect::<Vec<_>>().concat();
        let mut call = self.call()?;
        call.args(["cat-file", "--batch-check=%(objecttype) %(objectname) %(objectsize)"]).input(asked.into_bytes());
        let said = call.run()?.stdout;
        let mut counts = BTreeMap::new();
        let mut to_count = Vec::new();
        for (path, line) in paths.into_iter().zip(said.split(|byte| *byte == b'\n')) {
            let Some((id, size)) = blob(line) else { continue };
            if size > LARGEST {
                counts.insert(path, u64::MAX);
            } else {
                to_count.push((path, id));
            }
        }
        counts.extend(self.counted(to_count)?);
        Ok(counts)
    }

    fn counted(&self, files: Vec<(String, String)>) -> Result<Vec<(String, u64)>, GitError> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let asked = files.iter().map(|(_, id)| format!("{id}\n")).collect::<Vec<_>>().concat();
        let mut call = self.call()?;
        call.args(["cat-file", "--batch=%(objectsize)"]).input(asked.into_bytes());
        let said = call.run()?.stdout;
        let mut rest = said.as_slice();
        let mut counts = Vec::new();
        for (path, _) in files {
            let Some((content, left)) = next_object(rest) else {
                let answer = String::from_utf8_lossy(&rest[..rest.len().min(100)]).into_owned();
                return Err(GitError::Puzzling { command: "git cat-file --batch", answer });
            };
            counts.push((path, lines(content)));
            rest = left;
        }
        Ok(counts)
    }
}

/// Whether git takes a path as it stands, on one line: `.` and `..` would be taken relative to some directory.
fn is_plain(path: &str) -> bool {
    !path.contains(['\n', '\r', '\0']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The id and size of a blob from git's line about an object.
fn blob(line: &[u8]) -> Option<(String, u64)> {
    let mut words = std::str::from_utf8(line).ok()?.strip_prefix("blob ")?.split(' ');
    let (id, size) = (words.next()?, words.next()?.parse().ok()?);
    Some((id.to_owned(), size))
}

/// One object of a batch: its size on a line, its bytes, a line feed.
pub(super) fn next_object(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    let content = bytes.get(end + 1..)?.get(..size)?;
    Some((content, bytes.get(end + 1 + size + 1..)?))
}

/// Lines as editors count them: a last one without a line feed is one, too.
fn lines(content: &[u8]) -> u64 {
    let pieces = content.split(|byte| *byte == b'\n').count();
    let ends_there = content.last().is_none_or(|byte| *byte == b'\n');
    u64::try_from(pieces - usize::from(ends_there)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_editors_do() {
        for (content, count) in [("", 0), ("\n", 1), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\n\n", 2)] {
            assert_eq!(lines(content.as_bytes()), count, "{content:?}");
        }
    }

    #[test]
    fn a_batch_is_taken_apart_by_its_sizes() {
        let (content, rest) = next_object(b"4\na\nb\n\n1\nx\n").expect("an object");
        assert_eq!((content, rest), (b"a\nb\n".as_slice(), b"1\nx\n".as_slice()));
        assert_eq!(next_object(b"9\nshort\n"), None);
        assert_eq!(next_object(b"abc missing\n"), None);
    }

    #[test]
    fn only_plain_paths_are_asked_for() {
        for path in ["", "/a", "a/../b", "./a", "a//b", "a\nb"] {
            assert!(!is_plain(path), "{path}");
        }
        assert!(is_plain("a/b c.rs"));
    }
}
