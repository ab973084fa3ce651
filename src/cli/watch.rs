//! `watch`: waits until a run ends or stands still. Any run: dispatched by a tick or started by hand.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::core::exit::{EndedBy, ExitRecord, ProcessEnd};
use crate::core::ids::RunId;
use crate::core::quantity::Seconds;
use crate::files::store;
use crate::runs::{self, RunDir, Sighting};
use crate::tick::register::{Came, Watched};
use crate::tick::{Site, meter_for};

use super::register::time;
use super::terminal::look::columns;
use super::{DONE, FAILED, Place, output};

/// The run's output stood still for longer than `--stall`.
const STALLED: u8 = 2;

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// `watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The run, such as 01-greeting.1.worker; `autometta show` and `status` name them.
    pub run: RunId,
    /// How long its output may stand still.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    pub stall: Seconds,
    /// Print JSON at the end.
    #[arg(long)]
    pub json: bool,
}

pub fn watch(at: &Place, args: &WatchArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let Some((seen, silent)) = wait(&site, args)? else {
        eprintln!("autometta: there is no run {}; `autometta status` and `autometta show` name them", args.run);
        return Ok(FAILED);
    };
    let (came, exit) = match seen {
        Sighting::Exited(record) => (Came::Ended, Some(*record)),
        Sighting::Lost(_) => (Came::Lost, None),
        _ => (Came::Stalled, None),
    };
    if came == Came::Lost && args.run.is_manual() {
        // No tick looks after runs by hand.
        runs::retire_lost(site.layout.dir())?;
    }
    if args.json {
        output::json(&Watched { run_id: args.run.clone(), came, silent_seconds: silent, exit })?;
    } else {
        output::print(&words(&args.run, exit.as_ref(), silent))?;
    }
    Ok(if came == Came::Stalled { STALLED } else { DONE })
}

/// Waits; none where there is no such run. The time is how long the run has stood still, where it has.
fn wait(site: &Site, args: &WatchArgs) -> anyhow::Result<Option<(Sighting, Option<Seconds>)>> {
    let dir = site.layout.run(&args.run);
    let mut progress = Progress::start();
    let mut waited = Duration::ZERO;
    let limit = Duration::from_secs(args.stall.0);
    loop {
        if !dir.is_dir() && !in_flight(site, &args.run) {
            return Ok(None);
        }
        let sighting = runs::probe(&dir, &meter_for);
        match &sighting {
            Sighting::Exited(_) | Sighting::Lost(_) => return Ok(Some((sighting, None))),
            Sighting::Running(pulse) => {
                // What only waits for somebody else's process never prints.
                let prints = RunDir::new(&dir).and_then(|dir| dir.order()).is_ok_and(|order| order.watched.is_none());
                if prints && pulse.silent_for >= limit {
                    let silent = seconds(pulse.silent_for);
                    return Ok(Some((sighting, Some(silent))));
                }
                progress.show(&format!(
                    "{}: {}, {} bytes, silent for {}",
                    args.run,
                    seconds(pulse.elapsed),
                    crate::core::quantity::grouped(pulse.output_bytes),
                    seconds(pulse.silent_for)
                ));
            }
            // Ordered and not launched yet, or never.
            Sighting::NotStarted if waited >= limit => return Ok(Some((sighting, Some(seconds(waited))))),
            Sighting::NotStarted => progress.show(&format!("{}: not started yet", args.run)),
            Sighting::Unreadable(why) => return Err(anyhow::anyhow!("{why}")).context(args.run.to_string()),
        }
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
}

/// Whether the state has it in flight; its directory may be on its way.
fn in_flight(site: &Site, run: &RunId) -> bool {
    store::peek(&site.layout).is_ok_and(|loaded| loaded.state.flights().any(|(_, flight)| flight.run == *run))
}

fn seconds(time: Duration) -> Seconds {
    Seconds(time.as_secs())
}

fn words(run: &RunId, exit: Option<&ExitRecord>, silent: Option<Seconds>) -> String {
    match (exit, silent) {
        (_, Some(silent)) => format!("{run} stands still: it has printed nothing for {silent}\n"),
        (None, None) => format!("{run} is gone without a record\n"),
        (Some(exit), None) => {
            let how = match (exit.ended_by, exit.exit) {
                (EndedBy::Exit, ProcessEnd::Code(code)) => format!("with code {code}"),
                (EndedBy::Exit, ProcessEnd::Signal(signal)) => format!("by signal {signal}"),
                (EndedBy::SpawnFailed, _) => "before it began: it could not be started".to_owned(),
                (EndedBy::Cancelled, _) => "because it was told to".to_owned(),
                (EndedBy::Stalled, _) => "at its own limit of silence".to_owned(),
                (EndedBy::Refused, _) => "because the provider refused".to_owned(),
                (EndedBy::Timeout | EndedBy::TokenCap | EndedBy::CostCap | EndedBy::OutputCap, _) => {
                    "at a cap of its own".to_owned()
                }
                (EndedBy::Exit, ProcessEnd::None) => "and nobody saw how".to_owned(),
            };
            format!("{run} ended {how}, after {}\n", exit.elapsed())
        }
    }
}

/// One line on a terminal's standard error, rewritten in place; elsewhere nothing.
struct Progress {
    terminal: bool,
    width: usize,
}

impl Progress {
    fn start() -> Self {
        Self { terminal: io::stderr().is_terminal(), width: 0 }
    }

    fn show(&mut self, text: &str) {
        if self.terminal {
            let text = output::shortened(text, columns().saturating_sub(1));
            let mut out = io::stderr().lock();
            // A terminal that has gone away is no failure of ours.
            drop(write!(out, "\r{text:<width$}", width = self.width).and_then(|()| out.flush()));
            self.width = text.chars().count();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.width > 0 {
            drop(write!(io::stderr().lock(), "\r{:<width$}\r", "", width = self.width));
        }
    }
}
