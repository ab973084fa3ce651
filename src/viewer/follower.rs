//! Programs that are followed in one stream, for where there are no windows.

#![expect(clippy::disallowed_methods, reason = "this starts the programs that are followed, and reads what they print")]

use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// How many lines may wait; whoever prints more than is read is slowed down.
const WAITING: usize = 256;
/// The longest piece of a line that is passed on at once, in bytes.
const LONGEST: u64 = 64 << 10;

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// A program has printed a line.
    Line {
        /// Its name.
        name: String,
        /// The line, without its end.
        text: String,
    },
    /// A program has closed its output.
    Ended {
        /// Its name.
        name: String,
    },
    /// Nothing has happened for a while.
    Quiet,
    /// Somebody wants this to stop: Ctrl-C, TERM, or the terminal is gone.
    Stop,
}

/// The programs. They are ended with their owner.
#[derive(Debug)]
pub struct Followers {
    children: Vec<Child>,
    sender: SyncSender<News>,
    news: Receiver<News>,
}

impl Followers {
    /// None yet. From now on Ctrl-C, TERM and HUP are news and no longer the end of this program; this must come before
    /// any other thread.
    pub fn new() -> io::Result<Self> {
        let (sender, news) = sync_channel(WAITING);
        let stops = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        stops.thread_block()?;
        let asked = sender.clone();
        thread::spawn(move || {
            // When nobody listens any more, this has ended anyway.
            while stops.wait().is_ok() && asked.send(News::Stop).is_ok() {}
        });
        Ok(Self { children: Vec::new(), sender, news })
    }

    /// Starts a program whose lines are told under this name.
    pub fn start(&mut self, name: &str, argv: &[String]) -> io::Result<()> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A child inherits what is blocked here, and could not be stopped.
        let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let started = command.spawn();
        blocked.thread_set_mask()?;
        let mut child = started?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        self.children.push(child);
        let (name, sender) = (name.to_owned(), self.sender.clone());
        thread::spawn(move || {
            thread::scope(|scope| {
                if let Some(err) = err {
                    scope.spawn(|| tell(&name, err, &sender));
                }
                if let Some(out) = out {
                    tell(&name, out, &sender);
                }
            });
            // When nobody listens any more, nobody misses this.
            let _ = sender.send(News::Ended { name });
        });
        Ok(())
    }

    /// The next news, or [`News::Quiet`] after this time.
    pub fn next(&mut self, within: Duration) -> News {
        match self.news.recv_timeout(within) {
            Ok(News::Ended { name }) => {
                // Those that have ended are reaped; asking changes nothing for the others.
                self.children.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
                News::Ended { name }
            }
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => News::Quiet,
            Err(RecvTimeoutError::Disconnected) => News::Stop,
        }
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended meanwhile is only reaped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Tells every line until the end, or until nobody listens.
fn tell(name: &str, stream: impl Read, sender: &SyncSender<News>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match stream.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        if sender.send(News::Line { name: name.to_owned(), text }).is_err() {
            return;
        }
    }
}
