//! The log of ticks: `~/.autometta/log/tick-YYYY-MM-DD.log`. Opened when there is something to say, so that an idle
//! tick opens nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use tracing_subscriber::fmt::MakeWriter;

use crate::files::atomic::{self, Durability};
use crate::files::home::Home;
use crate::tick::clock;

struct DayLog {
    dir: PathBuf,
}

impl<'a> MakeWriter<'a> for DayLog {
    type Writer = Box<dyn Write + 'a>;

    fn make_writer(&'a self) -> Self::Writer {
        let name = format!("tick-{}.log", clock::now().format("%Y-%m-%d"));
        let opened = atomic::make_dirs(&self.dir, Durability::Volatile)
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|()| open(&self.dir.join(name)));
        match opened {
            Ok(file) => Box::new(file),
            // Without its log a tick still does its work, and says so where somebody may look.
            Err(_) => Box::new(io::stderr()),
        }
    }
}

/// Opens the log without waiting for a reader, should it be a FIFO.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(O_NONBLOCK).open(path)
}

/// Sends what ticks have to say to the day's log. Called twice it does nothing.
pub fn start(home: &Home) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(DayLog { dir: home.log_dir() })
        .with_ansi(false)
        .with_target(false)
        .finish();
    drop(tracing::subscriber::set_global_default(subscriber));
}
