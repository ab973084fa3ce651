//! The timer that fires `autometta tick`: put into the user's crontab, a `LaunchAgent` or a systemd user timer, taken
//! out again, and looked at.
//!
//! One timer serves every subscribed repository of one home. Its entry lives in the scheduler and is the truth; the
//! record in home (`timer.json`) is a copy for readers that start no process. So the entry is written first and removed
//! first: a crash in between leaves a timer without a record, which the next install completes, or a record without a
//! timer, which shows as late and which the next uninstall takes away. The other order would leave a timer that is
//! removed and goes on firing, or one that is believed in and never came to be.
//!
//! A tick is never run here, and nothing here prints.

mod command;
mod cron;
pub mod crontab;
mod entry;
mod error;
mod host;
mod launchd;
mod rivals;
mod search;
pub mod status;
mod systemd;
mod tool;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::timer::Scheduler;
use crate::files::atomic::{self, Durability};
use crate::files::home::Home;

pub use entry::Entry;
pub use error::TimerError;
pub use host::{Daemon, Host};
pub use rivals::Rival;
pub use search::SearchPath;

/// Every scheduler.
pub const SCHEDULERS: [Scheduler; 3] = [Scheduler::Cron, Scheduler::Launchd, Scheduler::Systemd];

/// One text that an install writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Piece {
    /// Where: a file, or the user's crontab.
    pub place: String,
    /// The whole file, or the block within the crontab.
    pub text: String,
}

/// What an install would write and call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Plan {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// What is written.
    pub pieces: Vec<Piece>,
    /// The commands that are run after that, in order.
    pub commands: Vec<String>,
}

/// An entry of ours that is in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Own {
    /// The scheduler that has it.
    pub scheduler: Scheduler,
    /// Where it stands.
    pub place: String,
    /// Whether the scheduler has taken it up, and not only its file is there.
    pub loaded: bool,
}

/// What an install came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// There was no entry of ours.
    Installed,
    /// Another entry of ours was there.
    Replaced,
    /// It was there already, to the byte.
    Already,
}

/// What a scheduler has to be able to do.
trait Backend {
    /// Whether this host can take an entry at all.
    fn ready(&self, host: &Host) -> Result<(), TimerError>;
    /// What an install would write and call.
    fn plan(&self, host: &Host, entry: &Entry) -> Result<Plan, TimerError>;
    /// The entry of ours for this home.
    fn own(&self, host: &Host, home: &str) -> Result<Option<Own>, TimerError>;
    /// Puts the entry in, in place of any other for the same home.
    fn install(&self, host: &Host, entry: &Entry) -> Result<Change, TimerError>;
    /// Takes the entry for this home out and says where it was.
    fn uninstall(&self, host: &Host, home: &str) -> Result<Option<String>, TimerError>;
}

fn backend(scheduler: Scheduler) -> &'static dyn Backend {
    match scheduler {
        Scheduler::Cron => &cron::Cron,
        Scheduler::Launchd => &launchd::Launchd,
        Scheduler::Systemd => &systemd::Systemd,
    }
}

/// The timers of one home on this host.
#[derive(Debug)]
pub struct Timers<'a> {
    host: &'a Host,
    home: &'a Home,
    exe: PathBuf,
}

/// An install that was done.
#[derive(Debug)]
pub struct Installed {
    /// What it came to.
    pub change: Change,
    /// Where entries of ours in other schedulers were, which this one takes the place of.
    pub moved_from: Vec<String>,
}

impl<'a> Timers<'a> {
    /// The timers of this home that start this program, by its name without links.
    ///
    /// # Errors
    /// The program is not there any more: it was replaced while it ran.
    pub fn new(host: &'a Host, home: &'a Home, exe: &Path) -> Result<Self, TimerError> {
        let exe = std::fs::canonicalize(exe).map_err(|source| TimerError::Io { path: exe.to_owned(), source })?;
        Ok(Self { host, home, exe })
    }

    /// The program that entries start.
    pub fn exe(&self) -> &Path {
        &self.exe
    }

    /// What an install would write and call; changes nothing.
    pub fn plan(&self, scheduler: Scheduler, entry: &Entry) -> Result<Plan, TimerError> {
        backend(scheduler).plan(self.host, entry)
    }

    /// Puts the entry in, takes ours out of the other schedulers, and writes the record.
    ///
    /// # Errors
    /// Another entry, not ours, ticks this home already.
    pub fn install(&self, scheduler: Scheduler, entry: &Entry, now: DateTime<Utc>) -> Result<Installed, TimerError> {
        if let Some(rival) = self.rivals()?.into_iter().next() {
            return Err(TimerError::Rival { rival });
        }
        backend(scheduler).ready(self.host)?;
        self.plan(scheduler, entry)?;
        // Nothing was changed so far, and what is refused is refused by now.
        self.home.ensure()?;
        // The entry's redirection needs the folder, and without it nothing would start at all.
        atomic::make_dirs(&self.home.log_dir(), Durability::Durable)?;
        let change = backend(scheduler).install(self.host, entry)?;
        let mut moved_from = Vec::new();
        for other in SCHEDULERS.into_iter().filter(|other| *other != scheduler) {
            moved_from.extend(backend(other).uninstall(self.host, entry.home())?);
        }
        let known = self.home.timer().ok().flatten();
        let is_recorded = change == Change::Already
            && known.is_some_and(|known| known == entry.record(scheduler, known.installed_at));
        if !is_recorded {
            self.home.set_timer(Some(&entry.record(scheduler, now)))?;
        }
        Ok(Installed { change, moved_from })
    }

    /// Takes our entries out of every scheduler, then removes the record. Says where they were.
    pub fn uninstall(&self) -> Result<Vec<String>, TimerError> {
        let home = self.home_text();
        let mut places = Vec::new();
        for scheduler in SCHEDULERS {
            places.extend(backend(scheduler).uninstall(self.host, &home)?);
        }
        self.home.set_timer(None)?;
        Ok(places)
    }

    /// Our entries, wherever they are.
    pub fn own(&self) -> Result<Vec<Own>, TimerError> {
        let home = self.home_text();
        let mut found = Vec::new();
        for scheduler in SCHEDULERS {
            found.extend(backend(scheduler).own(self.host, &home)?);
        }
        Ok(found)
    }

    /// Entries that are not ours and tick this home.
    pub fn rivals(&self) -> Result<Vec<Rival>, TimerError> {
        rivals::find(self.host, &self.exe, self.home.path())
    }

    fn home_text(&self) -> String {
        self.home.path().to_string_lossy().into_owned()
    }
}

/// What tells the units and labels of one home from those of another: nothing for the usual place.
fn suffix(host: &Host, home: &str, separator: char) -> String {
    let usual = host.home.as_ref().map(|folder| folder.join(".autometta"));
    if usual.is_some_and(|usual| usual == Path::new(home)) {
        return String::new();
    }
    format!("{separator}{}", &crate::files::ledger::sha256_hex(home.as_bytes())[..8])
}
