//! A look at a run that costs next to nothing: for screens that look every second.
//!
//! Unlike `probe` it never waits, reads no order, no record and no log, and decides nothing: what it says is for people.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;

use super::clock;
use super::dir::RunDir;
use super::error::RunError;
use super::tail::{CHUNK, Lines, Tail};
use crate::core::run::Started;
use crate::files::{lock, spent};

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glance {
    /// It was never claimed.
    NotStarted,
    /// Its lock is held.
    Running {
        /// How long it has been running while the machine was awake.
        elapsed: Duration,
        /// How long it has printed nothing, by the calendar.
        silent: Duration,
    },
    /// Its record is there.
    Ended,
    /// It was claimed, and neither its process nor its record is there.
    Lost,
}

/// Looks at one run again and again; its claim is read once.
#[derive(Debug)]
pub struct Glancer {
    dir: RunDir,
    started: Option<Started>,
}

impl Glancer {
    /// For the run of this directory, which need not exist yet.
    pub fn new(run_dir: &Path) -> Result<Self, RunError> {
        Ok(Self { dir: RunDir::new(run_dir)?, started: None })
    }

    /// Looks.
    pub fn look(&mut self) -> Result<Glance, RunError> {
        let is_held = lock::is_held(&self.dir.lock())?;
        if !is_held && self.dir.exit_file().exists() {
            return Ok(Glance::Ended);
        }
        if self.started.is_none() {
            self.started = self.dir.started()?;
        }
        let Some(started) = &self.started else {
            let nothing = Glance::Running { elapsed: Duration::ZERO, silent: Duration::ZERO };
            return Ok(if is_held { nothing } else { Glance::NotStarted });
        };
        if !is_held {
            return Ok(Glance::Lost);
        }
        let elapsed = Duration::from_nanos(clock::awake_ns().saturating_sub(started.awake_ns));
        let logs = [self.dir.stdout_log(), self.dir.stderr_log()];
        let newest = logs.iter().filter_map(|log| log.metadata().ok()?.modified().ok()).max();
        Ok(Glance::Running { elapsed, silent: newest.map_or(elapsed, clock::since).min(elapsed) })
    }
}

/// A reading position in a log of a run, for those who only look: line by line, in flat memory. A log that was
/// compressed since the run ended is read all the same.
#[derive(Debug)]
pub struct LogTail {
    log: Log,
    path: PathBuf,
}

#[derive(Debug)]
enum Log {
    Plain(Tail),
    Packed(GzDecoder<File>, Lines),
}

impl LogTail {
    /// Starts at the beginning of an existing log.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let plain = match Tail::open(path) {
            // While it is compressed both stand there; the plain one goes last.
            Err(error) if error.kind() == io::ErrorKind::NotFound => spent::open_packed(path)
                .and_then(|packed| packed.map(|packed| Log::Packed(packed, Lines::default())).ok_or(error)),
            other => other.map(Log::Plain),
        };
        Ok(Self { log: plain.map_err(RunError::io("open", path))?, path: path.to_owned() })
    }

    /// Passes on the lines that were completed since the last time, reading at most about `budget` bytes, and says how
    /// many bytes were read.
    pub fn advance(&mut self, budget: u64, feed: &mut dyn FnMut(&[u8])) -> Result<u64, RunError> {
        let read = match &mut self.log {
            Log::Plain(tail) => tail.advance(budget, feed),
            Log::Packed(packed, lines) => unpack(packed, lines, budget, feed),
        };
        read.map_err(RunError::io("read", &self.path))
    }

    /// Passes on all that is left, the last line included even where it has no end.
    pub fn finish(&mut self, feed: &mut dyn FnMut(&[u8])) -> Result<(), RunError> {
        let done = match &mut self.log {
            Log::Plain(tail) => tail.finish(feed),
            Log::Packed(packed, lines) => unpack(packed, lines, u64::MAX, feed).map(|_| lines.finish(feed)),
        };
        done.map_err(RunError::io("read", &self.path))
    }
}

fn unpack(
    packed: &mut GzDecoder<File>,
    lines: &mut Lines,
    budget: u64,
    feed: &mut dyn FnMut(&[u8]),
) -> io::Result<u64> {
    let mut chunk = [0; CHUNK];
    let mut total = 0;
    while total < budget {
        let read = packed.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        total += read as u64;
        lines.split(&chunk[..read], feed);
    }
    Ok(total)
}
