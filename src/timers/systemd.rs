//! systemd: a timer and a service of the user's own manager.
//!
//! **Runs outlive the service.** A tick launches supervisors and exits; when its service ends, systemd kills what is
//! left in the service's control group, unless `KillMode=process` says to kill nothing but the tick itself. The other
//! way would be to start every supervisor through `systemd-run --user --scope`: a unit for each run, but also one more
//! program and the session bus needed at the moment of launch, and a tick that has to know who started it. A run must
//! be launched in the same way from cron, from a terminal and from another run's end, so this is said here, once.
//! What is left behind shows in the journal as "left-over process", which is meant.
//!
//! **Intervals.** `OnUnitActiveSec=` counts from the last fire and takes any interval; `OnCalendar=` would need one that
//! divides the clock, as cron does. `OnActiveSec=` fires once when the timer starts: at boot, at login, at install.
//!
//! **Linger.** The manager lives as long as its user has a session and takes everything with it, runs included.
//! `loginctl enable-linger` makes it start at boot and stay.

use std::path::PathBuf;

use super::entry::Entry;
use super::error::TimerError;
use super::host::Host;
use super::tool::{self, Answer};
use super::{Backend, Change, Own, Piece, Plan, suffix};
use crate::core::timer::Scheduler;
use crate::files::atomic::{self, Durability};
use crate::files::document;

/// The scheduler.
#[derive(Debug)]
pub(super) struct Systemd;

/// The two unit files of a home.
pub(super) struct Units {
    folder: PathBuf,
    name: String,
}

impl Units {
    pub(super) fn of(host: &Host, home: &str) -> Option<Self> {
        let folder = host.config.as_ref()?.join("systemd/user");
        Some(Self { folder, name: format!("autometta{}", suffix(host, home, '-')) })
    }

    pub(super) fn service(&self) -> PathBuf {
        self.folder.join(format!("{}.service", self.name))
    }

    fn timer(&self) -> PathBuf {
        self.folder.join(self.timer_name())
    }

    fn timer_name(&self) -> String {
        format!("{}.timer", self.name)
    }

    /// The link by which `systemctl enable` makes the timer start.
    fn wanted(&self) -> PathBuf {
        self.folder.join("timers.target.wants").join(self.timer_name())
    }

    /// The commands that make the manager take the files up, as `systemctl --user` gets them.
    fn take_up(&self) -> [Vec<String>; 3] {
        let timer = self.timer_name();
        [vec!["daemon-reload".to_owned()], vec!["enable".to_owned(), timer.clone()], vec!["restart".to_owned(), timer]]
    }
}

impl Backend for Systemd {
    fn ready(&self, host: &Host) -> Result<(), TimerError> {
        if !host.has("systemctl") {
            return Err(TimerError::NoProgram { program: "systemctl", scheduler: "systemd" });
        }
        if !host.has_user_manager() {
            return Err(TimerError::NoManager { user: host.user.clone() });
        }
        Ok(())
    }

    fn plan(&self, host: &Host, entry: &Entry) -> Result<Plan, TimerError> {
        let units = Units::of(host, entry.home()).ok_or(TimerError::NoHome(Scheduler::Systemd))?;
        let piece = |path: PathBuf, text| Piece { place: path.display().to_string(), text };
        Ok(Plan {
            scheduler: Scheduler::Systemd,
            pieces: vec![piece(units.service(), service(entry)), piece(units.timer(), timer(entry))],
            commands: units.take_up().iter().map(|args| format!("systemctl --user {}", args.join(" "))).collect(),
        })
    }

    fn own(&self, host: &Host, home: &str) -> Result<Option<Own>, TimerError> {
        let Some(units) = Units::of(host, home).filter(|units| units.timer().exists()) else { return Ok(None) };
        let loaded = is_answered(host) && ask(host, &["is-active", &units.timer_name()])?.ok;
        Ok(Some(Own { scheduler: Scheduler::Systemd, place: units.timer().display().to_string(), loaded }))
    }

    fn install(&self, host: &Host, entry: &Entry) -> Result<Change, TimerError> {
        let units = Units::of(host, entry.home()).ok_or(TimerError::NoHome(Scheduler::Systemd))?;
        let files = [(units.service(), service(entry)), (units.timer(), timer(entry))];
        let is_known = units.timer().exists();
        let mut is_same = true;
        for (path, text) in &files {
            if document::read(path)?.as_deref() != Some(text.as_bytes()) {
                is_same = false;
                atomic::make_dirs(&units.folder, Durability::Durable)?;
                atomic::write_public(path, text.as_bytes())?;
            }
        }
        let timer = units.timer_name();
        if is_same && ask(host, &["is-active", &timer])?.ok && ask(host, &["is-enabled", &timer])?.ok {
            return Ok(Change::Already);
        }
        for args in units.take_up() {
            ask(host, &args)?.succeeded()?;
        }
        Ok(if is_known { Change::Replaced } else { Change::Installed })
    }

    fn uninstall(&self, host: &Host, home: &str) -> Result<Option<String>, TimerError> {
        let Some(units) = Units::of(host, home) else { return Ok(None) };
        if !units.timer().exists() && !units.service().exists() {
            return Ok(None);
        }
        let answered = is_answered(host);
        if answered && units.timer().exists() {
            ask(host, &["disable".to_owned(), "--now".to_owned(), units.timer_name()])?.succeeded()?;
        }
        for path in [units.wanted(), units.timer(), units.service()] {
            atomic::remove(&path)?;
        }
        if answered {
            ask(host, &["daemon-reload"])?.succeeded()?;
        }
        Ok(Some(units.timer().display().to_string()))
    }
}

/// Whether there is a manager, and a way to talk to it.
fn is_answered(host: &Host) -> bool {
    host.has("systemctl") && host.has_user_manager()
}

fn ask<A: AsRef<str>>(host: &Host, args: &[A]) -> Result<Answer, TimerError> {
    let args: Vec<&str> = std::iter::once("--user").chain(args.iter().map(AsRef::as_ref)).collect();
    tool::run(host, "systemctl", &args, b"")
}

const WRITTEN: &str = "# Written by `autometta timer install`; `autometta timer uninstall` removes it.";

fn service(entry: &Entry) -> String {
    let setting = |(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}")));
    let environment: String = entry.env().into_iter().map(setting).collect();
    // Exit code 4 is a halt, which `autometta status` shows; to systemd it is no failure. Out of memory is the end of
    // the run that is out of memory, not of the others.
    format!(
        "{WRITTEN}\n\
         [Unit]\n\
         Description=autometta tick for {home}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart=:{exe} tick\n\
         {environment}\
         KillMode=process\n\
         OOMPolicy=continue\n\
         SuccessExitStatus=4\n\
         StandardOutput=null\n\
         StandardError=append:{errors}\n",
        home = escaped(entry.home()),
        exe = program(entry.exe()),
        errors = escaped(entry.errors()),
    )
}

fn timer(entry: &Entry) -> String {
    format!(
        "{WRITTEN}\n\
         [Unit]\n\
         Description=autometta tick every {every} for {home}\n\
         \n\
         [Timer]\n\
         OnActiveSec=1s\n\
         OnUnitActiveSec={seconds}s\n\
         AccuracySec=1s\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n",
        every = entry.every(),
        home = escaped(entry.home()),
        seconds = entry.every().0,
    )
}

/// The program as the first words of `ExecStart=`. systemd takes no program whose name has quotes or a backslash in it,
/// so a shell has to start such a one.
fn program(exe: &str) -> String {
    if exe.contains(['"', '\'', '\\']) {
        return format!("/bin/sh -c {} {}", quoted(r#"exec "$0" "$@""#), quoted(exe));
    }
    quoted(exe)
}

/// A text in which `%` names no specifier (systemd.unit(5)).
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// A text as one word of a unit file (systemd.syntax(7)).
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('\\', "\\\\").replace('"', "\\\""))
}
