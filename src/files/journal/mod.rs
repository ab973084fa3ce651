//! `state/journal/`: the record of every commit, appended before its transaction is written.
//!
//! The records stand in segments, `<number>-<first line of the ledger>.jsonl`, and only ever at the end of the newest.
//! None is synced: a power cut may take the last ones or tear one, and a commit that died right after its record never
//! happened. Both show, because the ledger names each commit's record by its hash. What repeats stands in `parts/`,
//! each file named by the sha256 of its bytes.
//!
//! Each segment begins with both documents whole, so that older ones may be deleted, and then the parts that no segment
//! names any more.

mod prune;
mod reader;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::document::{self, DocumentError};
use super::layout::Layout;
use super::ledger::sha256_hex;

pub use prune::{Parts, past, remove, remove_parts};
pub use reader::{Entry, Reader};
pub(super) use writer::{Commit, append};
pub use writer::{PROGRAM, Source};

/// The longest record that is read, in bytes. What an agent hands in is bounded far below.
const LONGEST: u64 = 64 << 20;

/// Why the journal cannot be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else stands where a file should be.
    #[error("{path}: a file is expected here, but it is {kind}; move it away")]
    NotAFile {
        /// The place.
        path: PathBuf,
        /// What stands there, as "a directory".
        kind: &'static str,
    },
    /// A part or a document cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] super::atomic::WriteError),
    /// A part that a record names is gone or is not what it was.
    #[error("{path} {why}")]
    Part {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value has no form in JSON.
    #[error("a record cannot be written: {0}")]
    Encode(#[from] serde_json::Error),
}

/// A file of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Counted from 1.
    pub number: u64,
    /// The line of the ledger that its first record tells of.
    pub first: u64,
    /// The file.
    pub path: PathBuf,
}

impl Segment {
    fn at(layout: &Layout, number: u64, first: u64) -> Self {
        Self { number, first, path: layout.journal().join(format!("{number:06}-{first}.jsonl")) }
    }

    fn named(path: PathBuf) -> Option<Self> {
        let (number, first) = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, first: first.parse().ok()?, path })
    }
}

/// All segments, the oldest first; none where nothing was ever recorded.
///
/// # Errors
/// The folder cannot be listed.
pub fn segments(layout: &Layout) -> Result<Vec<Segment>, JournalError> {
    let folder = layout.journal();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(JournalError::Io { path: folder, source }),
    };
    let mut all: Vec<Segment> = entries.flatten().filter_map(|entry| Segment::named(entry.path())).collect();
    all.sort_by_key(|segment| (segment.number, segment.first));
    Ok(all)
}

/// A part's bytes, which are what its name says.
///
/// # Errors
/// It is gone, cannot be read, or is not what it was.
pub fn part(layout: &Layout, sha256: &str) -> Result<Vec<u8>, JournalError> {
    let path = layout.journal_part(sha256);
    let refuse = |path: &Path, why| JournalError::Part { path: path.to_owned(), why };
    // A name comes from a record, which somebody may have changed; it must not lead elsewhere.
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refuse(&path, "is not named by a sha256"));
    }
    let bytes = document::read(&path)?.ok_or_else(|| refuse(&path, "is gone"))?;
    if sha256_hex(&bytes) == sha256 { Ok(bytes) } else { Err(refuse(&path, "is not what it was")) }
}
