//! Why a timer cannot be installed, removed or looked at; each says what, where, and the way out.

use std::path::PathBuf;

use thiserror::Error;

use super::crontab::Torn;
use super::rivals::Rival;
use crate::core::quantity::Seconds;
use crate::core::timer::Scheduler;
use crate::files::atomic::WriteError;
use crate::files::document::DocumentError;
use crate::files::home::HomeError;

/// Why it cannot be done.
#[derive(Debug, Error)]
pub enum TimerError {
    /// Something else ticks this home already.
    #[error(
        "{rival}; one timer serves every repository, and two would only get in each other's way: remove that entry, then run `autometta timer install` again"
    )]
    Rival {
        /// What was found first.
        rival: Rival,
    },
    /// Cron cannot do this interval.
    #[error(
        "cron cannot fire every {every}: it knows minutes that divide an hour and hours that divide a day; the nearest that work are {nearest}"
    )]
    Interval {
        /// What was asked for.
        every: Seconds,
        /// What would work, in words.
        nearest: String,
    },
    /// The command is too long for cron.
    #[error(
        "the crontab line's command would be {length} bytes long, and cron takes {most}; give a shorter list of folders with --path"
    )]
    TooLong {
        /// How long it would be.
        length: usize,
        /// How long it may be.
        most: usize,
    },
    /// A path or a list of folders cannot be written into an entry.
    #[error("{what} cannot be written into a timer's entry: {why}")]
    Unwritable {
        /// What, with its value.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// `--path` names a folder that is not absolute.
    #[error("--path names `{folder}`, which is not absolute; a scheduler has no present directory to start from")]
    Relative {
        /// The folder.
        folder: String,
    },
    /// This host has nothing that fires timers.
    #[error(
        "this host has neither a running systemd user manager nor `crontab`; install cron (on Debian: `apt install cron`), or fire `autometta tick` by other means"
    )]
    NoScheduler,
    /// A scheduler's program is missing.
    #[error(
        "`{program}` is not on PATH, and the {scheduler} timer needs it; choose another with --scheduler, or install it"
    )]
    NoProgram {
        /// The program.
        program: &'static str,
        /// The scheduler that it belongs to.
        scheduler: &'static str,
    },
    /// The user manager does not run.
    #[error(
        "no systemd user manager runs for {user}; log in as {user}, or start one for good with `sudo loginctl enable-linger {user}`, or use --scheduler cron"
    )]
    NoManager {
        /// The user.
        user: String,
    },
    /// The block in the crontab is damaged.
    #[error("{torn}; mend or remove it with `crontab -e`")]
    Torn {
        /// How.
        #[from]
        torn: Torn,
    },
    /// A scheduler's program failed.
    #[error("`{command}` failed: {said}")]
    Failed {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// The crontab is not what was written.
    #[error("`crontab -` took the new crontab, but `crontab -l` shows another; look at it with `crontab -e`")]
    NotKept,
    /// The user's own folder is not known.
    #[error("HOME is not set to an absolute path, so the {} timer has no place to be written to; set it, or use --scheduler cron", .0.as_str())]
    NoHome(Scheduler),
    /// A property list cannot be written.
    #[error("{path} cannot be written: {source}")]
    Plist {
        /// The file.
        path: PathBuf,
        /// Why.
        source: plist::Error,
    },
    /// A file or folder cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A file cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl TimerError {
    /// Whether it was refused rather than tried in vain.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Rival { .. }
                | Self::Interval { .. }
                | Self::TooLong { .. }
                | Self::Unwritable { .. }
                | Self::Relative { .. }
                | Self::NoScheduler
                | Self::NoProgram { .. }
                | Self::NoManager { .. }
                | Self::NoHome(_)
                | Self::Torn { .. }
        )
    }
}
