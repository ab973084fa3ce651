//! Reading the journal, one record in memory at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::vec::IntoIter;

use super::{JournalError, LONGEST, Segment};
use crate::core::journal::{JOURNAL_VERSION, Record};
use crate::files::ledger::sha256_hex;
use crate::files::regular::{self, NotRegular};

/// One line of the journal.
#[derive(Debug)]
pub struct Entry {
    /// The segment.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// The sha256 of the line, in hex, without its newline.
    pub sha256: String,
    /// The record, or why there is none.
    pub record: Result<Box<Record>, String>,
}

/// Reads segments from their first line to their last.
#[derive(Debug)]
pub struct Reader {
    segments: IntoIter<Segment>,
    open: Option<(BufReader<File>, PathBuf, u64)>,
}

impl Reader {
    /// Reads these segments, in this order.
    pub fn new(segments: Vec<Segment>) -> Self {
        Self { segments: segments.into_iter(), open: None }
    }

    /// The next line; none at the end.
    fn next(&mut self) -> Result<Option<Entry>, JournalError> {
        loop {
            let Some((file, path, line)) = &mut self.open else {
                let Some(segment) = self.segments.next() else { return Ok(None) };
                let path = segment.path;
                match regular::open(&path) {
                    Ok(Some(file)) => self.open = Some((BufReader::new(file), path, 0)),
                    // It was deleted since the folder was listed.
                    Ok(None) => {}
                    Err(NotRegular::Io(source)) => return Err(JournalError::Io { path, source }),
                    Err(NotRegular::Other(kind)) => return Err(JournalError::NotAFile { path, kind }),
                }
                continue;
            };
            let mut bytes = Vec::new();
            let io = |path: &PathBuf| {
                let path = path.clone();
                |source| JournalError::Io { path, source }
            };
            file.take(LONGEST).read_until(b'\n', &mut bytes).map_err(io(path))?;
            if bytes.is_empty() {
                self.open = None;
                continue;
            }
            *line += 1;
            let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            // A record that was torn is followed by an end of line, so that the next one stands by itself.
            if body.is_empty() {
                continue;
            }
            return Ok(Some(Entry { path: path.clone(), line: *line, sha256: sha256_hex(body), record: record(body) }));
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        Self::next(self).transpose()
    }
}

fn record(body: &[u8]) -> Result<Box<Record>, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    serde_json::from_slice(body).map(Box::new).map_err(|error| match serde_json::from_slice::<Version>(body) {
        Ok(Version { version }) if version > JOURNAL_VERSION => {
            format!("a newer autometta wrote it (version {version}); update autometta")
        }
        _ => error.to_string(),
    })
}
