//! How the timer of a home is doing, and what a person should know or do about it.

use std::path::Path;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::command::Program;
use super::error::TimerError;
use super::host::Daemon;
use super::{Own, Rival, Timers};
use crate::core::timer::{Scheduler, TimerRecord};

/// Whether the program that the timer starts is this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Started {
    /// This very program, or a copy of it.
    Current,
    /// Another version of it, or something else.
    Other,
    /// A program that is not there any more.
    Missing,
}

/// How it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Status {
    /// Our entries, wherever they are; more than one only after an install that was interrupted.
    pub installed: Vec<Own>,
    /// The record in home.
    pub record: Option<TimerRecord>,
    /// Whether what has to fire it runs.
    pub daemon: Option<Daemon>,
    /// The program that it starts.
    pub program: Option<Started>,
    /// The newest tick of any subscribed repository.
    pub last_tick: Option<DateTime<Utc>>,
    /// Whether a tick is overdue; none where nothing is subscribed or recorded, so that nothing could show it.
    pub late: Option<bool>,
    /// Entries that are not ours and tick this home as well.
    pub others: Vec<Rival>,
    /// What is not as it should be, each with the way out.
    pub advice: Vec<String>,
}

/// Whether any repository is subscribed, and the newest tick of those that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fleet {
    /// Nothing is subscribed.
    Empty,
    /// The newest tick, where there has been one.
    Ticked(Option<DateTime<Utc>>),
}

impl Timers<'_> {
    /// How the timer is doing.
    pub fn status(&self, fleet: Fleet, now: DateTime<Utc>) -> Result<Status, TimerError> {
        let installed = self.own()?;
        let record = self.home.timer()?;
        let scheduler = installed.first().map(|own| own.scheduler);
        let (last_tick, late) = match (fleet, &record) {
            (Fleet::Empty, _) => (None, None),
            (Fleet::Ticked(last), None) => (last, None),
            (Fleet::Ticked(last), Some(record)) => (last, Some(record.is_late(last, now))),
        };
        let mut status = Status {
            daemon: scheduler.map(|scheduler| self.daemon(scheduler)),
            program: record.as_ref().map(|record| self.started(&record.exe)),
            installed,
            record,
            last_tick,
            late,
            others: self.rivals()?,
            advice: Vec::new(),
        };
        status.advice = self.advice(&status);
        Ok(status)
    }

    /// What a person should know about a timer of this scheduler that starts this program, whatever it is doing.
    pub fn warnings(&self, scheduler: Scheduler) -> Vec<String> {
        self.warnings_of(scheduler, &self.exe)
    }

    fn warnings_of(&self, scheduler: Scheduler, exe: &Path) -> Vec<String> {
        let mut warnings = Vec::new();
        if is_build_output(exe) {
            warnings.push(format!(
                "the timer starts {}, which lies in a build folder: the next build or `cargo clean` changes or removes \
                 it; `cargo install --path .`, and install the timer with the installed program",
                exe.display()
            ));
        }
        match (scheduler, self.daemon(scheduler)) {
            (Scheduler::Cron, Daemon::Stopped) => warnings.push(
                "no cron daemon runs, so nothing fires: start it (`sudo systemctl enable --now cron`, or \
                 `sudo service cron start`)"
                    .to_owned(),
            ),
            (Scheduler::Systemd, Daemon::Stopped) => warnings.push(format!(
                "no systemd user manager runs for {user}, so nothing fires: log in, or `sudo loginctl enable-linger \
                 {user}`",
                user = self.host.user
            )),
            _ => {}
        }
        if scheduler == Scheduler::Systemd && !self.host.lingers() {
            warnings.push(format!(
                "systemd ends the timer and every run with {user}'s last session, and starts nothing before the next: \
                 `loginctl enable-linger {user}` keeps them going",
                user = self.host.user
            ));
        }
        warnings
    }

    fn daemon(&self, scheduler: Scheduler) -> Daemon {
        match scheduler {
            Scheduler::Cron => self.host.cron_daemon(),
            Scheduler::Systemd if self.host.has_user_manager() => Daemon::Running,
            Scheduler::Systemd => Daemon::Stopped,
            // It is the first process of its system.
            Scheduler::Launchd => Daemon::Unknown,
        }
    }

    fn started(&self, exe: &Path) -> Started {
        if !exe.exists() {
            Started::Missing
        } else if Program::new(&self.exe).is_same(exe) {
            Started::Current
        } else {
            Started::Other
        }
    }

    fn advice(&self, status: &Status) -> Vec<String> {
        let mut advice = Vec::new();
        let mut say = |text: &str| advice.push(text.to_owned());
        match (status.installed.as_slice(), &status.record) {
            ([], None) if status.others.is_empty() => say("no timer is installed: `autometta timer install`"),
            ([], Some(_)) => say("the timer was installed, and its entry is gone: `autometta timer install` puts it \
                 back, `autometta timer uninstall` forgets it"),
            ([_], None) => say("the entry has no record: `autometta timer install` completes it"),
            ([], None) | ([_], Some(_)) => {}
            ([_, ..], _) => say("the timer is in more than one place: `autometta timer install` keeps one"),
        }
        if status.installed.iter().any(|own| !own.loaded) {
            say("the entry is there, and its scheduler has not taken it up: `autometta timer install` loads it");
        }
        match status.program {
            Some(Started::Missing) => say("the program that the timer starts is gone: `autometta timer install` from \
                 where it is now"),
            Some(Started::Other) => say("the timer starts another version than this one: `autometta timer install` \
                 with the one that is meant"),
            Some(Started::Current) | None => {}
        }
        if status.late == Some(true) {
            say("a tick is overdue: see whether the machine was asleep, and `log/timer.err` in home");
        }
        advice.extend(status.others.iter().map(|rival| format!("{rival}; remove one of the two")));
        if let Some(own) = status.installed.first() {
            let exe = status.record.as_ref().map_or(self.exe.as_path(), |record| record.exe.as_path());
            advice.extend(self.warnings_of(own.scheduler, exe));
        }
        advice
    }
}

/// Whether a program lies where cargo builds.
fn is_build_output(exe: &Path) -> bool {
    let names: Vec<_> = exe.components().map(std::path::Component::as_os_str).collect();
    let target = names.iter().position(|name| *name == "target");
    target.is_some_and(|target| names[target..].iter().any(|name| *name == "debug" || *name == "release"))
}
