//! Watching processes until none is left: metering what they print, enforcing caps, and ending the whole tree.
//!
//! One thread waits for children, one for signals, and the main thread waits for both with a timeout, at which it
//! looks at the logs, the clock and the disk. Limits are measured by `Instant`, which stands still while the machine
//! sleeps.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::claim::{Claim, handled_signals};
use super::clock;
use super::meter::{MeterResult, StreamMeter};
use super::patience::Patience;
use super::process;
use super::pumps::Pumps;
use super::tail::{Tail, shares};
use super::transcript::Transcript;
use super::tree;
use crate::core::exit::{EndedBy, ProcessEnd, Refusal};
use crate::fault;
use crate::files::regular;

/// How soon something is looked at again that has just moved.
const QUICK: Duration = Duration::from_millis(20);
/// How soon something is looked at again that stands still.
const SLOW: Duration = Duration::from_millis(250);
/// How long children that their parent leaves behind get to end by themselves before they are told to.
const FAREWELL: Duration = Duration::from_millis(5);
/// How long they get after being told, and so does whoever fills the disk: every moment costs.
const SHORT_GRACE: Duration = Duration::from_millis(500);
/// How long KILL is repeated. What survives that hangs in the kernel.
const GIVE_UP: Duration = Duration::from_secs(5);
/// How often the free disk is asked for.
const DISK_INTERVAL: Duration = Duration::from_secs(1);
/// How much of a log is read at one look, so that a torrent cannot keep us from the clock.
const LOOK_BUDGET: u64 = 4 << 20;
/// Our threads do next to nothing.
const STACK: usize = 64 << 10;

enum Event {
    Reaped(Pid, ProcessEnd),
    /// Somebody died of a signal that has no name, such as a real-time one, and the system call did not say who.
    ReapedUnknown,
    NobodyLeft,
    Terminate,
}

/// Why a program was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cut {
    /// The whole run is over.
    Run(EndedBy),
    /// The provider will not do the work.
    Refused(Refusal),
    /// One gate took longer than its own limit.
    Command,
}

/// How one program went.
#[derive(Debug)]
pub(super) struct Followed {
    pub exit: ProcessEnd,
    pub cut: Option<Cut>,
    pub elapsed: Duration,
    /// Whether everything that it started is gone as well.
    pub all_gone: bool,
}

enum Phase {
    Running,
    Ended(Instant),
    Terminating(Instant, Duration),
    Killing(Instant),
}

/// Watches the programs of one run, one after another.
pub(super) struct Watch<'a> {
    claim: &'a Claim,
    events: Receiver<Event>,
    wait_for_children: Sender<()>,
    meter: Box<dyn StreamMeter>,
    pumps: Rc<Pumps>,
    stdout: Tail,
    stderr: Tail,
    transcript: Transcript,
    patience: Patience,
    begun: Instant,
    last_output: Instant,
    last_size: u64,
    last_look: Option<Instant>,
    last_disk_look: Option<Instant>,
    told_to_end: bool,
    over_output: bool,
}

impl<'a> Watch<'a> {
    /// Prepares everything that can fail before there is a program to watch. The logs must exist.
    pub(super) fn new(claim: &'a Claim, meter: Box<dyn StreamMeter>, pumps: Rc<Pumps>) -> io::Result<Self> {
        let (sender, events) = mpsc::channel();
        let (wait_for_children, asked) = mpsc::channel();
        let children = sender.clone();
        thread("children", move || {
            // Not waiting while a program is being spawned matters: the standard library waits for that child too.
            for () in asked {
                wait_for_everybody(&children);
            }
        })?;
        thread("signals", move || {
            while let Ok(signal) = handled_signals().wait() {
                // HUP and INT belong to terminals, and we have none.
                if signal == Signal::SIGTERM && sender.send(Event::Terminate).is_err() {
                    return;
                }
            }
        })?;
        let now = Instant::now();
        Ok(Self {
            stdout: Tail::open(&claim.dir.stdout_log())?,
            stderr: Tail::open(&claim.dir.stderr_log())?,
            transcript: Transcript::default(),
            patience: Patience::new(Duration::from_secs(claim.order.patience_seconds.0)),
            claim,
            events,
            wait_for_children,
            meter,
            pumps,
            begun: now,
            last_output: now,
            last_size: 0,
            last_look: None,
            last_disk_look: None,
            told_to_end: false,
            over_output: false,
        })
    }

    /// Follows a program that has just been started until nothing that descends from this process is left.
    pub(super) fn follow(&mut self, program: Pid, limit: Duration) -> Followed {
        let begun = Instant::now();
        let mut followed = Followed { exit: ProcessEnd::None, cut: None, elapsed: Duration::ZERO, all_gone: true };
        let mut phase = Phase::Running;
        let mut pause = QUICK;
        // The other end lives as long as this process.
        let _ = self.wait_for_children.send(());
        loop {
            match self.events.recv_timeout(pause) {
                Ok(Event::Reaped(pid, end)) if pid == program => followed.exit = end,
                Ok(Event::ReapedUnknown) if process::row(program.as_raw()).is_none() => {
                    followed.exit = ProcessEnd::Signal(0);
                }
                Ok(Event::NobodyLeft) => break,
                Ok(Event::Terminate) => self.told_to_end = true,
                Ok(Event::Reaped(..) | Event::ReapedUnknown) | Err(_) => {}
            }
            let moved = self.look();
            phase = match phase {
                Phase::Running if followed.exit != ProcessEnd::None => Phase::Ended(Instant::now()),
                Phase::Running => match self.reason_to_stop(begun, limit) {
                    None => Phase::Running,
                    Some(cut) => {
                        self.signal(&[Signal::SIGTERM, Signal::SIGCONT]);
                        let grace = self.grace(&cut);
                        followed.cut = Some(cut);
                        Phase::Terminating(Instant::now(), grace)
                    }
                },
                Phase::Ended(since) if since.elapsed() >= FAREWELL => {
                    self.signal(&[Signal::SIGTERM, Signal::SIGCONT]);
                    Phase::Terminating(Instant::now(), SHORT_GRACE)
                }
                Phase::Terminating(since, grace) if since.elapsed() >= grace => {
                    self.signal(&[Signal::SIGKILL]);
                    Phase::Killing(Instant::now())
                }
                Phase::Killing(since) if since.elapsed() >= GIVE_UP => {
                    followed.all_gone = false;
                    break;
                }
                Phase::Killing(since) => {
                    self.signal(&[Signal::SIGKILL]);
                    Phase::Killing(since)
                }
                other => other,
            };
            pause = match phase {
                Phase::Running if moved => QUICK,
                Phase::Running => (pause * 2).min(SLOW),
                Phase::Ended(_) => FAREWELL,
                Phase::Terminating(..) | Phase::Killing(_) => QUICK,
            };
        }
        // Without a subreaper, waiting sees our own children only, and what they left behind must be looked for.
        #[cfg(target_os = "macos")]
        self.signal_group(program);
        self.pumps.drain();
        followed.elapsed = begun.elapsed();
        followed
    }

    /// Cuts the logs to the cap and judges the whole of them.
    pub(super) fn finish(mut self, end: ProcessEnd) -> io::Result<MeterResult> {
        let ago = last_said(&[self.claim.dir.stdout_log(), self.claim.dir.stderr_log()]);
        self.over_output |= self.size() > self.claim.order.caps.output_bytes;
        self.cut_logs();
        let meter = &mut self.meter;
        self.stdout.finish(&mut |line| meter.feed_stdout(line))?;
        self.stderr.finish(&mut |line| meter.feed_stderr(line))?;
        self.transcript.finish(&self.claim.order, meter.as_mut());
        Ok(self.meter.finish(end, ago))
    }

    /// Meters what was printed since the last look, and says whether that was anything.
    fn look(&mut self) -> bool {
        // Many children that end at once must not make us read the logs for each of them.
        if self.last_look.is_some_and(|last| last.elapsed() < FAREWELL) {
            return true;
        }
        let meter = &mut self.meter;
        // A log that cannot be read now is read at the next look or at the end.
        let _ = self.stdout.advance(LOOK_BUDGET, &mut |line| meter.feed_stdout(line));
        let _ = self.stderr.advance(LOOK_BUDGET, &mut |line| meter.feed_stderr(line));
        self.transcript.look(&self.claim.order, meter.as_mut(), LOOK_BUDGET);
        let size = self.size();
        let moved = size != self.last_size;
        if moved {
            self.last_output = Instant::now();
        }
        self.last_size = size;
        self.last_look = Some(Instant::now());
        if self.over_output {
            self.cut_logs();
        }
        moved
    }

    fn reason_to_stop(&mut self, begun: Instant, limit: Duration) -> Option<Cut> {
        let order = &self.claim.order;
        let caps = &order.caps;
        if self.claim.dir.cancel_file().exists() {
            // A marker that cannot be read still asks for the end.
            let marker = self.claim.dir.cancel().ok().flatten();
            return Some(Cut::Run(marker.map_or(EndedBy::Cancelled, |marker| marker.reason.ended_by())));
        }
        if self.told_to_end {
            return Some(Cut::Run(EndedBy::Cancelled));
        }
        if let Some(refused) = self.meter.refused()
            && self.patience.is_over(&refused, Instant::now())
        {
            return Some(Cut::Refused(refused.refusal));
        }
        if self.pumps.have_failed() {
            // What is not in the log counts for no cap. The run is lost, and its end is nobody's to judge.
            return Some(Cut::Run(EndedBy::OutputCap));
        }
        if self.last_size > caps.output_bytes || self.disk_is_low() {
            self.over_output = self.last_size > caps.output_bytes;
            return Some(Cut::Run(EndedBy::OutputCap));
        }
        let usage = self.meter.usage();
        if caps.tokens.is_some_and(|cap| usage.total_tokens >= cap) {
            return Some(Cut::Run(EndedBy::TokenCap));
        }
        if caps.cost_usd.is_some_and(|cap| usage.cost_usd.is_some_and(|cost| cost >= cap)) {
            return Some(Cut::Run(EndedBy::CostCap));
        }
        if self.begun.elapsed() >= Duration::from_secs(caps.wall_clock_seconds.0) {
            return Some(Cut::Run(EndedBy::Timeout));
        }
        if caps.silence_seconds.is_some_and(|cap| self.last_output.elapsed() >= Duration::from_secs(cap.0)) {
            return Some(Cut::Run(EndedBy::Stalled));
        }
        (begun.elapsed() >= limit).then_some(Cut::Command)
    }

    fn disk_is_low(&mut self) -> bool {
        if self.last_disk_look.is_some_and(|last| last.elapsed() < DISK_INTERVAL) {
            return false;
        }
        self.last_disk_look = Some(Instant::now());
        free_bytes(self.claim.dir.path()).is_some_and(|free| free < self.claim.order.disk_floor_bytes)
    }

    fn grace(&self, cut: &Cut) -> Duration {
        let grace = Duration::from_secs(self.claim.order.grace_seconds.0);
        if *cut == Cut::Run(EndedBy::OutputCap) { grace.min(SHORT_GRACE) } else { grace }
    }

    fn size(&self) -> u64 {
        self.stdout.len() + self.stderr.len()
    }

    /// Gives the disk back. Programs append, so one that still runs goes on at the new end.
    fn cut_logs(&self) {
        if !self.over_output {
            return;
        }
        let (stdout, stderr) = (self.stdout.len(), self.stderr.len());
        let (keep_stdout, keep_stderr) = shares(self.claim.order.caps.output_bytes, stdout, stderr);
        for (path, len, keep) in
            [(self.claim.dir.stdout_log(), stdout, keep_stdout), (self.claim.dir.stderr_log(), stderr, keep_stderr)]
        {
            if keep < len {
                // What cannot be cut off now is cut off at the next look.
                let open = || regular::existing(&path, OpenOptions::new().write(true));
                let _ = fault::point!("log.cut", path).and_then(|()| open()?.set_len(keep));
            }
        }
    }

    fn signal(&self, signals: &[Signal]) {
        tree::signal_descendants(&self.claim.started.token, signals);
    }

    #[cfg(target_os = "macos")]
    fn signal_group(&self, leader: Pid) {
        let _ = fault::point!("agent.kill").map(|()| nix::sys::signal::killpg(leader, Signal::SIGKILL));
        self.signal(&[Signal::SIGKILL]);
    }
}

/// How long ago the newest of these logs was written to, by the calendar.
pub(super) fn last_said(logs: &[PathBuf]) -> Duration {
    let written = |log: &PathBuf| log.metadata().and_then(|meta| meta.modified()).ok();
    logs.iter().filter_map(written).max().map_or(Duration::ZERO, clock::since)
}

/// How much an ordinary user may still write on the disk that holds `path`.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok()?;
    Some((disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64))
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).map(drop)
}

/// Reaps every child, inherited ones included, and says so, until there is none.
fn wait_for_everybody(events: &Sender<Event>) {
    loop {
        let event = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) => Event::Reaped(pid, ProcessEnd::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => Event::Reaped(pid, ProcessEnd::Signal(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(Errno::EINVAL) => Event::ReapedUnknown,
            Err(_) => Event::NobodyLeft,
        };
        let over = matches!(event, Event::NobodyLeft);
        if events.send(event).is_err() || over {
            return;
        }
    }
}
