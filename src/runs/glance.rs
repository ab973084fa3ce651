//! A look at a run that costs next to nothing: for screens that look every second.
//!
//! Unlike `probe` it never waits, reads no order, no record and no log, and decides nothing: what it says is for people.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clock;
use super::dir::RunDir;
use super::error::RunError;
use super::tail::Tail;
use crate::core::run::Started;
use crate::files::lock;

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

/// A reading position in a log of a run, for those who only look: line by line, in flat memory.
#[derive(Debug)]
pub struct LogTail {
    tail: Tail,
    path: PathBuf,
}

impl LogTail {
    /// Starts at the beginning of an existing log.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let tail = Tail::open(path).map_err(RunError::io("open", path))?;
        Ok(Self { tail, path: path.to_owned() })
    }

    /// Passes on the lines that were completed since the last time, reading at most about `budget` bytes, and says how
    /// many bytes were read.
    pub fn advance(&mut self, budget: u64, feed: &mut dyn FnMut(&[u8])) -> Result<u64, RunError> {
        self.tail.advance(budget, feed).map_err(RunError::io("read", &self.path))
    }

    /// Passes on all that is left, the last line included even where it has no end.
    pub fn finish(&mut self, feed: &mut dyn FnMut(&[u8])) -> Result<(), RunError> {
        self.tail.finish(feed).map_err(RunError::io("read", &self.path))
    }
}
