//! Reading a log while it is being written: line by line, incrementally, in flat memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::files::regular;

/// The longest line that is passed on; longer ones are skipped whole, since half a record means nothing.
const LINE_LIMIT: usize = 1 << 20;

/// How much is read at once.
pub(super) const CHUNK: usize = 16 << 10;

/// A reading position in a log.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    offset: u64,
    lines: Lines,
}

/// Bytes in the order in which they stand in a log, as lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    skipping: bool,
}

impl Tail {
    /// Starts at the beginning of an existing log.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = regular::existing(path, OpenOptions::new().read(true))?;
        Ok(Self { file, offset: 0, lines: Lines::default() })
    }

    /// The same log, read from this offset on.
    pub(super) fn from(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// How long the log is now, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len())
    }

    /// Passes on the lines that were completed since the last time, reading at most about `budget` bytes.
    /// Returns how many bytes were read.
    pub(super) fn advance(&mut self, budget: u64, feed: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
        let mut chunk = [0; CHUNK];
        let mut total = 0;
        // A log that was cut off below us goes on at its new end.
        self.offset = self.offset.min(self.len());
        while total < budget {
            let read = self.file.read_at(&mut chunk, self.offset)?;
            if read == 0 {
                break;
            }
            self.offset += read as u64;
            total += read as u64;
            self.lines.split(&chunk[..read], feed);
        }
        Ok(total)
    }

    /// Passes on all that is left, the last line included even where it has no end.
    pub(super) fn finish(&mut self, feed: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.advance(u64::MAX, feed)?;
        self.lines.finish(feed);
        Ok(())
    }
}

impl Lines {
    /// Passes on the last line where it has no end.
    pub(super) fn finish(&mut self, feed: &mut dyn FnMut(&[u8])) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() && !self.skipping {
            feed(&rest);
        }
    }

    /// Passes on the lines that these bytes complete.
    pub(super) fn split(&mut self, mut bytes: &[u8], feed: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.skipping || self.partial.len() + line.len() > LINE_LIMIT {
                self.forget();
            } else if self.partial.is_empty() {
                feed(line);
            } else {
                self.partial.extend_from_slice(line);
                feed(&self.partial);
                self.partial.clear();
            }
            self.skipping = false;
            bytes = rest;
        }
        if !self.skipping && self.partial.len() + bytes.len() > LINE_LIMIT {
            self.forget();
            self.skipping = true;
        } else if !self.skipping {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn forget(&mut self) {
        self.partial = Vec::new();
    }
}

/// How much of each log is kept so that both fit into `cap` bytes together: standard error is sure of a quarter,
/// because that is where programs say what went wrong.
pub(super) fn shares(cap: u64, stdout: u64, stderr: u64) -> (u64, u64) {
    if stdout.saturating_add(stderr) <= cap {
        return (stdout, stderr);
    }
    let stderr = stderr.min((cap / 4).max(cap.saturating_sub(stdout)));
    (stdout.min(cap - stderr), stderr)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lines(tail: &mut Tail) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        tail.advance(u64::MAX, &mut |line| seen.push(line.to_vec())).expect("read");
        seen
    }

    #[test]
    fn lines_come_once_and_whole_however_they_were_written() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        let mut tail = Tail::open(file.path()).expect("open");
        file.write_all(b"one\ntw").expect("write");
        assert_eq!(lines(&mut tail), [b"one"]);
        file.write_all(b"o\n\nthree").expect("write");
        assert_eq!(lines(&mut tail), [b"two".to_vec(), Vec::new()]);
        assert_eq!(lines(&mut tail), Vec::<Vec<u8>>::new());
        let mut rest = Vec::new();
        tail.finish(&mut |line| rest.push(line.to_vec())).expect("read");
        assert_eq!(rest, [b"three"]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_skipped_and_the_next_one_is_not() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(&vec![b'x'; LINE_LIMIT]).expect("write");
        file.write_all(b"\n").expect("write");
        file.write_all(&vec![b'y'; LINE_LIMIT + 1]).expect("write");
        file.write_all(b"\nshort\n").expect("write");
        let seen = lines(&mut Tail::open(file.path()).expect("open"));
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [LINE_LIMIT, 5]);
    }

    #[test]
    fn a_log_that_was_cut_off_goes_on_at_its_end() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        let mut tail = Tail::open(file.path()).expect("open");
        file.write_all(b"0123456789\n").expect("write");
        assert_eq!(lines(&mut tail).len(), 1);
        file.as_file().set_len(2).expect("cut");
        std::io::Seek::seek(&mut file, io::SeekFrom::End(0)).expect("seek");
        file.write_all(b"new\n").expect("write");
        // The bytes that replaced read ones are lost to us; what follows is not.
        lines(&mut tail);
        file.write_all(b"newer\n").expect("write");
        assert_eq!(lines(&mut tail).pop().expect("a line"), b"newer");
    }

    #[test]
    fn shares_never_exceed_the_cap_and_keep_the_errors() {
        for (case, expected) in [
            ((100, 60, 40), (60, 40)),
            ((100, 1000, 10), (90, 10)),
            ((100, 1000, 1000), (75, 25)),
            ((100, 10, 1000), (10, 90)),
            ((0, 5, 5), (0, 0)),
        ] {
            assert_eq!(shares(case.0, case.1, case.2), expected, "{case:?}");
        }
    }
}
