//! The way of a program's output into its logs: straight, or through the redactor where the run has secrets.
//!
//! A supervisor that dies takes its pipes along: an agent that prints after that is ended by the system, and its run is
//! lost, as it would be anyway at its end. What was printed before is in the logs, redacted.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::redact::{Redactor, pump};

/// How long a pipe may stay open once every process of the run is gone: somebody else may have been handed its end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The pumps of one run's programs.
pub(super) struct Pumps {
    redactor: Arc<Redactor>,
    running: RefCell<Vec<Receiver<()>>>,
    /// What kept output from its log.
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Pumps {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, running: RefCell::default(), failed: Arc::default() }
    }

    /// What a program that is about to start writes to, so that it ends up in this log.
    pub(super) fn way_into(&self, log: &File) -> io::Result<File> {
        let mut log = log.try_clone()?;
        if self.redactor.is_empty() {
            return Ok(log);
        }
        let (from, into) = io::pipe()?;
        let (done, is_done) = mpsc::channel();
        let (redactor, failed) = (Arc::clone(&self.redactor), Arc::clone(&self.failed));
        std::thread::Builder::new().name("redactor".to_owned()).spawn(move || {
            pump(from, &mut log, &redactor, &|error| {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            });
            // Nobody waits for it any more where the farewell was too long.
            let _ = done.send(());
        })?;
        self.running.borrow_mut().push(is_done);
        Ok(File::from(OwnedFd::from(into)))
    }

    /// Whether some output is in no log, so that nobody knows any more what the run uses.
    pub(super) fn have_failed(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What kept output from its log, if anything did.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until all that was printed is in the logs. Every process of the run must be gone.
    pub(super) fn drain(&self) {
        let begun = Instant::now();
        for running in self.running.borrow_mut().drain(..) {
            // What comes later than that is nobody's of this run.
            let _ = running.recv_timeout(FAREWELL.saturating_sub(begun.elapsed()));
        }
    }
}
