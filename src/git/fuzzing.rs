//! The parsers of git's answers, for the fuzzer. No part of the product calls this.

use super::diff;
use super::error::GitError;
use super::index;
use super::journal;
use super::land::LandingOrder;
use super::lines;
use super::settings::Settings;
use super::stat;
use super::tree_files::{self, TreeFile};
use super::tree_path::{TreePath, path_of_line, quoted};
use crate::core::night::DiffStat;

/// What `diff-tree -z --raw --numstat` said: the paths, the lines that came, and the lines that went.
pub fn diff_tree(answer: &[u8]) -> Result<(Vec<TreePath>, u64, u64), GitError> {
    let comparison = diff::parse(answer)?;
    let paths = comparison.deltas.into_iter().map(|delta| delta.path).collect();
    Ok((paths, comparison.insertions, comparison.deletions))
}

/// What `diff-tree -z --numstat` said, with the first `most` files.
pub fn diff_stat(answer: &[u8], most: usize) -> Result<DiffStat, GitError> {
    stat::parse(answer, most)
}

/// The path on a line of `ls-files -v -s`.
pub fn listed(line: &[u8]) -> Result<TreePath, GitError> {
    index::parse_line(line).map(|listed| listed.path)
}

/// A line of `ls-tree -l`.
pub fn tree_file(line: &[u8]) -> Result<TreeFile, GitError> {
    tree_files::entry(line)
}

/// The first object in an answer of `cat-file --batch=%(objectsize)`, and what stands behind it.
pub fn next_object(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    lines::next_object(answer)
}

/// The configuration of our own git dir, and the names of filters, from an answer of `config --list -z`.
pub fn settings(answer: &[u8]) -> (String, Vec<String>) {
    let settings = Settings::parse(answer);
    (settings.plain_config(), settings.filters())
}

/// The note of a landing under way.
pub fn landing_note(content: &[u8]) -> Option<LandingOrder> {
    journal::parse(content)
}

/// The note as it is written.
pub fn landing_text(order: &LandingOrder) -> String {
    journal::write(order)
}

/// The length of a path on a line of git's files, and that of its quoted form.
pub fn path_lengths(line: &[u8]) -> (usize, usize) {
    (path_of_line(line).as_os_str().len(), quoted(line).len())
}
