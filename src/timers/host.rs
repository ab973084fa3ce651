//! The host as schedulers see it: whose timers they are, where they stand, and which schedulers run here.

#![expect(clippy::disallowed_methods, reason = "where a scheduler's files stand is said by the environment")]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::error::TimerError;
use super::search;
use crate::core::timer::Scheduler;

/// The names under which cron daemons run: of Debian and macOS, of cronie and `BusyBox`, and the rest.
const CRON_DAEMONS: [&str; 5] = ["cron", "crond", "fcron", "bcron-sched", "dcron"];

/// Whether a daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Daemon {
    /// It runs.
    Running,
    /// It does not: nothing will fire.
    Stopped,
    /// This host does not say.
    Unknown,
}

/// The host.
#[derive(Debug, Clone)]
pub struct Host {
    /// The user's own folder; none where the environment has no absolute one.
    pub home: Option<PathBuf>,
    /// The user's name.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The folder of the user's configuration, `~/.config` as a rule.
    pub config: Option<PathBuf>,
    /// The folder of the user's sockets.
    pub runtime: PathBuf,
    /// The present `PATH`.
    pub path: OsString,
    /// The system's configuration: `/etc`.
    pub etc: PathBuf,
}

impl Host {
    /// The host around this process.
    pub fn from_env() -> Self {
        let uid = Uid::effective();
        let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = folder("HOME");
        let config = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        // A shell that came by `su` or cron does not name it, and the manager runs all the same.
        let runtime = folder("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from(format!("/run/user/{uid}")));
        let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let path = env::var_os("PATH").unwrap_or_default();
        Self { home, user, uid: uid.as_raw(), config, runtime, path, etc: PathBuf::from("/etc") }
    }

    /// The folder of a user's own, by name.
    pub fn home_of(&self, user: &str) -> Option<PathBuf> {
        if user == self.user {
            return self.home.clone();
        }
        User::from_name(user).ok().flatten().map(|user| user.dir)
    }

    /// Whether a program is on the present `PATH`.
    pub fn has(&self, program: &str) -> bool {
        search::find(program, &self.path).is_some()
    }

    /// Whether a systemd user manager answers for this user.
    pub fn has_user_manager(&self) -> bool {
        UnixStream::connect(self.runtime.join("systemd/private")).is_ok()
    }

    /// Whether the user manager starts with the machine and outlives the last session, as logind has it on disk.
    pub fn lingers(&self) -> bool {
        Path::new("/var/lib/systemd/linger").join(&self.user).exists()
    }

    /// The best scheduler that this host has.
    ///
    /// # Errors
    /// It has none.
    pub fn best(&self) -> Result<Scheduler, TimerError> {
        if cfg!(target_os = "macos") {
            Ok(Scheduler::Launchd)
        } else if self.has("systemctl") && self.has_user_manager() {
            Ok(Scheduler::Systemd)
        } else if self.has("crontab") {
            Ok(Scheduler::Cron)
        } else {
            Err(TimerError::NoScheduler)
        }
    }

    /// Whether a cron daemon runs, by the process table.
    pub fn cron_daemon(&self) -> Daemon {
        // macOS starts cron when there is a crontab, and has no `/proc`.
        let Ok(entries) = fs::read_dir("/proc") else { return Daemon::Unknown };
        let mut names = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
        if names.any(|name| CRON_DAEMONS.contains(&name.trim())) { Daemon::Running } else { Daemon::Stopped }
    }
}
