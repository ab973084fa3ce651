//! How much a commit changed, file by file.

use crate::core::ids::CommitId;
use crate::core::night::{DiffStat, FileStat};

use super::error::GitError;
use super::objects::Objects;

impl Objects {
    /// What a commit changed since its first parent: totals, and the first `most` files in order of their paths.
    pub fn commit_stat(&self, commit: &CommitId, most: usize) -> Result<DiffStat, GitError> {
        let mut call = self.call()?;
        call.args(["diff-tree", "-r", "-z", "--numstat", "--root", "--no-commit-id", "--diff-merges=first-parent"]);
        call.args(["--no-renames", "--no-ext-diff", "--no-textconv", commit.as_str()]);
        parse(&call.run()?.stdout, most)
    }
}

/// Reads `diff-tree -z --numstat`: `added TAB removed TAB path NUL`, with dashes for a file that has no lines.
pub(super) fn parse(bytes: &[u8], most: usize) -> Result<DiffStat, GitError> {
    let mut stat = DiffStat::default();
    for field in bytes.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
        let text = String::from_utf8_lossy(field);
        let mut parts = text.splitn(3, '\t');
        let (Some(added), Some(removed), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(GitError::Puzzling { command: "git diff-tree", answer: text.into_owned() });
        };
        let (added, removed) = (added.parse().ok(), removed.parse().ok());
        stat.file_count += 1;
        stat.added = stat.added.saturating_add(added.unwrap_or(0));
        stat.removed = stat.removed.saturating_add(removed.unwrap_or(0));
        if stat.files.len() < most {
            stat.files.push(FileStat { path: path.to_owned(), added, removed });
        }
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_and_the_first_are_named() {
        let stat = parse(b"3\t1\ta b.txt\0-\t-\timage.png\x0010\t0\tz\twith a tab\0", 2).expect("stat");
        assert_eq!((stat.file_count, stat.added, stat.removed), (3, 13, 1));
        assert_eq!(stat.files.len(), 2);
        assert_eq!(stat.files[1], FileStat { path: "image.png".to_owned(), added: None, removed: None });
        assert_eq!(parse(b"", 2).expect("nothing"), DiffStat::default());
        assert!(parse(b"what is this\0", 2).is_err());
    }
}
