//! `ledger.jsonl`: one line per transition, each with the sha256 of the line before, so that a line that was changed,
//! removed or put in shows.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::disk::{Disk, Os};
use super::regular::NotRegular;
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::step::Note;
use crate::fault;

/// What the first line names as the line before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// How much of the file's end is read to find its last line.
const TAIL: u64 = 256 * 1024;

/// How much of it usually has the last line whole.
const USUAL: u64 = 8 * 1024;

/// The longest line, since the last one has to be found within [`TAIL`].
const LONGEST_LINE: u64 = TAIL;

/// How many characters of a detail a line tells. An agent writes as much as it likes, and JSON may need six bytes for
/// each: so many still fit into [`LONGEST_LINE`].
const LONGEST_DETAIL: usize = 32 * 1024;

/// The largest ledger that is read at once, to mend it: some million lines.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Counted from 1.
    pub seq: u64,
    /// When the transition was committed.
    pub at: DateTime<Utc>,
    /// Which tick committed it.
    pub tick: u64,
    /// The sha256 of the line before, in hex, without its newline.
    pub prev: String,
    /// What happened.
    #[serde(flatten)]
    pub note: Note,
    /// Tokens spent in the window, after it.
    pub tokens_spent: Tokens,
    /// Dollars spent in the window, after it.
    pub cost_spent_usd: MicroUsd,
    /// The sha256 of its commit's record in the journal, on the first line of each commit; none where it could not be
    /// recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
}

/// Where the ledger ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last line's number; 0 for an empty ledger.
    pub seq: u64,
    /// The last line's sha256.
    pub sha256: String,
    /// The file's length in bytes.
    pub length: u64,
}

impl Head {
    /// The end of a ledger without lines.
    fn genesis() -> Self {
        Self { seq: 0, sha256: GENESIS.to_owned(), length: 0 }
    }
}

/// Why the ledger cannot be used.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
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
    /// A line is not what it should be.
    #[error("{path}: line {seq} is broken: {why}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line's number.
        seq: u64,
        /// In what way.
        why: String,
    },
}

/// The sha256 of some bytes, in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Opens the ledger, where it is a file; none where there is nothing at that path.
fn open(path: &Path) -> Result<Option<File>, LedgerError> {
    open_on(&Os, path)
}

fn open_on<D: Disk>(disk: &D, path: &Path) -> Result<Option<D::File>, LedgerError> {
    disk.open(path).map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: NotRegular) -> LedgerError {
    match error {
        NotRegular::Io(source) => LedgerError::Io { path: path.to_owned(), source },
        NotRegular::Other(kind) => LedgerError::NotAFile { path: path.to_owned(), kind },
    }
}

/// Opens the ledger to be changed, making it where it does not exist.
pub(super) fn open_to_write<D: Disk>(disk: &D, path: &Path) -> Result<D::File, LedgerError> {
    let io = |source| LedgerError::Io { path: path.to_owned(), source };
    fault::point!("ledger.open", path).map_err(io)?;
    let opened = disk.open_to_write(path);
    let gone = || LedgerError::Io { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() };
    opened.map_err(|error| refused(path, error))?.ok_or_else(gone)
}

/// At most `most` bytes from an offset on; none where the ledger does not reach as far as that.
pub(super) fn bytes_from<D: Disk>(
    disk: &D,
    path: &Path,
    offset: u64,
    most: u64,
) -> Result<Option<Vec<u8>>, LedgerError> {
    let io = |source| LedgerError::Io { path: path.to_owned(), source };
    let Some(mut file) = open_on(disk, path)? else { return Ok((offset == 0).then(Vec::new)) };
    if disk.length(&file).map_err(io)? < offset {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

/// Finds the ledger's end without reading the rest of it.
pub fn head(path: &Path) -> Result<Head, LedgerError> {
    head_on(&Os, path)
}

/// The same on any disk.
pub fn head_on<D: Disk>(disk: &D, path: &Path) -> Result<Head, LedgerError> {
    let Some(file) = open_on(disk, path)? else { return Ok(Head::genesis()) };
    let length = disk.length(&file).map_err(|source| LedgerError::Io { path: path.to_owned(), source })?;
    head_of(path, file, length)
}

/// Where the first `length` bytes of the ledger end, whatever stands behind them.
pub fn head_at<D: Disk>(disk: &D, path: &Path, length: u64) -> Result<Head, LedgerError> {
    match open_on(disk, path)? {
        Some(file) => head_of(path, file, length),
        None => Ok(Head::genesis()),
    }
}

fn head_of(path: &Path, mut file: impl Read + Seek, length: u64) -> Result<Head, LedgerError> {
    let io = |source| LedgerError::Io { path: path.to_owned(), source };
    if length == 0 {
        return Ok(Head::genesis());
    }
    let mut tail = Vec::new();
    // Nearly every line is short, and every tick looks for the last one.
    for reach in [USUAL, TAIL] {
        let start = length.saturating_sub(reach);
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        tail.clear();
        (&mut file).take(length - start).read_to_end(&mut tail).map_err(io)?;
        if start == 0 || tail.iter().rev().skip(1).any(|byte| *byte == b'\n') {
            break;
        }
    }
    let broken = |why: &str| LedgerError::Broken { path: path.to_owned(), seq: 0, why: why.to_owned() };
    let body = tail.strip_suffix(b"\n").ok_or_else(|| broken("the last line has no end"))?;
    let last = body.rsplit(|byte| *byte == b'\n').next().unwrap_or(body);
    let line: Line = serde_json::from_slice(last).map_err(|error| broken(&format!("the last line: {error}")))?;
    Ok(Head { seq: line.seq, sha256: sha256_hex(last), length })
}

/// The ledger's last whole lines, at most this many bytes of them.
pub fn tail(path: &Path, most: u64) -> Result<Vec<u8>, LedgerError> {
    let io = |source| LedgerError::Io { path: path.to_owned(), source };
    let Some(mut file) = open(path)? else { return Ok(Vec::new()) };
    let length = file.metadata().map_err(io)?.len();
    let start = length.saturating_sub(most);
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(io)?;
    if start > 0 {
        let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.drain(..first);
    }
    Ok(bytes)
}

/// The text that notes add to a ledger with that head; its first line names the commit's record in the journal.
pub fn lines(
    head: &Head,
    notes: &[Note],
    at: DateTime<Utc>,
    tick: u64,
    tokens_spent: Tokens,
    cost_spent_usd: MicroUsd,
    mut record: Option<String>,
) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    let mut prev = head.sha256.clone();
    for (seq, note) in (head.seq + 1..).zip(notes) {
        let (note, record) = (as_told(note), record.take());
        let line = Line { seq, at, tick, prev, note, tokens_spent, cost_spent_usd, record };
        let json = serde_json::to_string(&line)?;
        prev = sha256_hex(json.as_bytes());
        text.push_str(&json);
        text.push('\n');
    }
    Ok(text)
}

/// A note as a line tells it.
pub fn as_told(note: &Note) -> Note {
    Note { detail: shortened(&note.detail), ..note.clone() }
}

/// What a line tells of a detail. The whole of it stands in the state and in the run's own directory.
fn shortened(detail: &str) -> String {
    match detail.char_indices().nth(LONGEST_DETAIL) {
        Some((end, _)) => format!("{}… ({} bytes more)", &detail[..end], detail.len() - end),
        None => detail.to_owned(),
    }
}

/// The lines after a head that was read earlier.
pub fn since(path: &Path, head: &Head) -> Result<Vec<Line>, LedgerError> {
    let io = |source| LedgerError::Io { path: path.to_owned(), source };
    let Some(mut file) = open(path)? else { return Err(io(std::io::ErrorKind::NotFound.into())) };
    file.seek(SeekFrom::Start(head.length)).map_err(io)?;
    let mut lines = Vec::new();
    for text in BufReader::new(file).lines() {
        let text = text.map_err(io)?;
        match serde_json::from_str(&text) {
            Ok(line) => lines.push(line),
            // The last line may still be being written.
            Err(_) => break,
        }
    }
    Ok(lines)
}

/// A ledger that was torn off: where its whole lines end, and what stands behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tear {
    /// The last whole line.
    pub head: Head,
    /// The bytes behind it, which are no line.
    pub rest: Vec<u8>,
}

/// Finds the tear at the end of a ledger that has no usable last line; none where there is nothing to mend.
pub fn tear(path: &Path) -> Result<Option<Tear>, LedgerError> {
    match head(path) {
        Ok(_) => return Ok(None),
        Err(LedgerError::Broken { .. }) => {}
        Err(error) => return Err(error),
    }
    let bytes = read(path)?;
    let mut end = bytes.len();
    while let Some(newline) = bytes[..end].iter().rposition(|byte| *byte == b'\n') {
        let start = bytes[..newline].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
        let body = &bytes[start..newline];
        if let Ok(line) = serde_json::from_slice::<Line>(body) {
            let head = Head { seq: line.seq, sha256: sha256_hex(body), length: newline as u64 + 1 };
            return Ok(Some(Tear { head, rest: bytes[newline + 1..].to_vec() }));
        }
        end = newline;
    }
    Ok(Some(Tear { head: Head::genesis(), rest: bytes }))
}

/// The whole ledger, where it is not too large to be read at once; nothing where there is none.
fn read(path: &Path) -> Result<Vec<u8>, LedgerError> {
    let io = |source| LedgerError::Io { path: path.to_owned(), source };
    let Some(file) = open(path)? else { return Ok(Vec::new()) };
    if file.metadata().map_err(io)?.len() > MAX_BYTES {
        let why = format!("it is larger than {MAX_BYTES} bytes; move it away");
        return Err(io(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why)));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The lines of a copy that follow on a head: as text, whole lines, each with the hash of the one before. Empty where
/// the copy does not reach that far, or tells another story.
pub fn following(copy: &[u8], head: &Head) -> Vec<u8> {
    let mut expected = (head.seq + 1, head.sha256.clone());
    let mut text = Vec::new();
    for body in copy.split(|byte| *byte == b'\n').filter(|body| !body.is_empty()) {
        let Ok(line) = serde_json::from_slice::<Line>(body) else { break };
        if line.seq < expected.0 {
            continue;
        }
        if (line.seq, &line.prev) != (expected.0, &expected.1) {
            break;
        }
        expected = (line.seq + 1, sha256_hex(body));
        text.extend_from_slice(body);
        text.push(b'\n');
    }
    text
}

/// Every line that can be read of a ledger that may be damaged, from a number on.
pub fn readable_after(path: &Path, seq: u64) -> Result<Vec<Line>, LedgerError> {
    let bytes = read(path)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|body| serde_json::from_slice::<Line>(body).ok());
    Ok(lines.filter(|line| line.seq > seq).collect())
}

/// Walks the whole ledger and sees to it that it still holds the line that it ended with once. The chain of hashes
/// alone cannot tell that lines are missing at the end, or that everything from some line on was written anew.
pub fn verify(path: &Path, sealed: Option<&Head>) -> Result<Head, LedgerError> {
    let mut found = None;
    let head = walk(path, |line| {
        if sealed.is_some_and(|sealed| line.seq == sealed.seq + 1) {
            found = Some(line.prev);
        }
    })?;
    let Some(sealed) = sealed else { return Ok(head) };
    let broken = |seq, why: &str| LedgerError::Broken { path: path.to_owned(), seq, why: why.to_owned() };
    if head.seq < sealed.seq {
        return Err(broken(head.seq, &format!("it is the last, and there were {} lines once", sealed.seq)));
    }
    if found.as_ref().unwrap_or(&head.sha256) != &sealed.sha256 {
        return Err(broken(sealed.seq, "it is not the one that the newest snapshot was taken after"));
    }
    Ok(head)
}

/// Walks the whole ledger, one line in memory at a time.
pub fn walk(path: &Path, each: impl FnMut(Line)) -> Result<Head, LedgerError> {
    walk_on(&Os, path, each)
}

/// The same on any disk.
pub fn walk_on<D: Disk>(disk: &D, path: &Path, mut each: impl FnMut(Line)) -> Result<Head, LedgerError> {
    let mut lines = Lines::open_on(disk, path)?;
    for line in &mut lines {
        each(line?);
    }
    Ok(lines.head)
}

/// The lines of a ledger, each of which follows from the one before.
#[derive(Debug)]
pub struct Lines<F = File> {
    path: PathBuf,
    reader: Option<BufReader<F>>,
    /// Where what was read ends.
    head: Head,
}

impl Lines {
    /// All lines from the first on; none where there is no ledger.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::open_on(&Os, path)
    }
}

impl<F: Read> Lines<F> {
    /// The same on any disk.
    fn open_on<D: Disk<File = F>>(disk: &D, path: &Path) -> Result<Self, LedgerError> {
        let reader = open_on(disk, path)?.map(BufReader::new);
        Ok(Self { path: path.to_owned(), reader, head: Head::genesis() })
    }

    fn read(&mut self) -> Result<Option<Line>, LedgerError> {
        let io = |source| LedgerError::Io { path: self.path.clone(), source };
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = reader.take(LONGEST_LINE).read_until(b'\n', &mut bytes).map_err(io)?;
        if read == 0 {
            return Ok(None);
        }
        let seq = self.head.seq + 1;
        let broken = |why: String| LedgerError::Broken { path: self.path.clone(), seq, why };
        let body = bytes.strip_suffix(b"\n").ok_or_else(|| broken("it has no end".to_owned()))?;
        let line: Line = serde_json::from_slice(body).map_err(|error| broken(error.to_string()))?;
        if line.seq != seq {
            return Err(broken(format!("its number is {}", line.seq)));
        }
        if line.prev != self.head.sha256 {
            return Err(broken("it does not follow from the line before; one of the two was changed".to_owned()));
        }
        self.head = Head { seq, sha256: sha256_hex(body), length: self.head.length + read as u64 };
        Ok(Some(line))
    }
}

impl<F: Read> Iterator for Lines<F> {
    type Item = Result<Line, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.read().transpose();
        // Behind a broken line nothing can be told.
        if matches!(line, Some(Err(_))) {
            self.reader = None;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(count: usize) -> String {
        let head = Head { seq: 0, sha256: GENESIS.to_owned(), length: 0 };
        let note = |detail: usize| Note {
            stage: None,
            run: None,
            event: "tested".to_owned(),
            from: None,
            to: None,
            detail: detail.to_string(),
        };
        let notes: Vec<Note> = (0..count).map(note).collect();
        lines(&head, &notes, DateTime::UNIX_EPOCH, 1, Tokens(0), MicroUsd(0), None).expect("lines")
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test tears ledgers")]
    fn a_tear_is_what_stands_behind_the_last_whole_line() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("ledger.jsonl");
        let whole = ledger(3);
        let last = whole[..whole.len() - 1].rfind('\n').expect("line") + 1;
        for (what, text, expected) in [
            ("whole", whole.clone(), None),
            ("cut in its last line", whole[..whole.len() - 9].to_owned(), Some((2, last))),
            ("without its last newline", whole[..whole.len() - 1].to_owned(), Some((2, last))),
            ("half a line more", format!("{whole}{{\"seq\""), Some((3, whole.len()))),
            ("zeros of a power cut", format!("{whole}\0\0\0\n"), Some((3, whole.len()))),
            ("nothing but garbage", "garbage\n".to_owned(), Some((0, 0))),
        ] {
            std::fs::write(&path, &text).expect("ledger");
            let tear = tear(&path).expect(what);
            let found = tear.as_ref().map(|tear| (tear.head.seq, usize::try_from(tear.head.length).expect("length")));
            assert_eq!(found, expected, "{what}");
            if let Some(tear) = tear {
                let (_, start) = expected.expect("torn");
                assert_eq!(tear.rest, text.as_bytes()[start..], "{what}");
                // A copy of the whole ledger gives back exactly what is missing.
                assert_eq!(
                    following(whole.as_bytes(), &tear.head),
                    whole.as_bytes()[start.min(whole.len())..],
                    "{what}"
                );
            }
        }
        let foreign = Head { seq: 2, sha256: GENESIS.to_owned(), length: 0 };
        assert!(following(whole.as_bytes(), &foreign).is_empty(), "another story");
    }
}
