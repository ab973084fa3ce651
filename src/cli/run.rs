//! `run`: ticks in the foreground until nothing is left to do, showing what happens as it happens.
//!
//! The work does not need it: supervisors start the ticks that follow on their ends. This only starts the first one,
//! watches, and stands in for the timer where a supervisor was lost.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::core::notice;
use crate::files::ledger;
use crate::files::store::{self, Loaded};
use crate::tick::{self, Site, clock};

use super::args::RunArgs;
use super::terminal::look::columns;
use super::{DONE, HALTED, Place, logging, output, status};

/// How often the ledger is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long nothing may happen before this ticks itself.
const TICK: Duration = Duration::from_secs(2);
/// How often a line of progress is drawn on a terminal.
const PROGRESS: Duration = Duration::from_secs(1);

pub fn run(at: &Place, args: &RunArgs) -> anyhow::Result<u8> {
    logging::start(&at.home);
    let site = at.site()?;
    let loaded = drain(&site, args.quiet)?;
    let now = clock::now();
    output::print(&format!("\n{}", status::text(&site, now)?))?;
    Ok(if loaded.budget.halted { HALTED } else { DONE })
}

/// Ticks until nothing is left to do without a person, and says how it stands then.
pub fn drain(site: &Site, quiet: bool) -> anyhow::Result<Loaded> {
    let mut shown = store::ledger_head(&site.layout)?;
    tick::fire(site)?;
    let mut ticked = Instant::now();
    let mut drawn = Instant::now();
    loop {
        let head = store::ledger_head(&site.layout)?;
        let news = head.seq > shown.seq;
        if news {
            if !quiet {
                let lines = ledger::since(&site.layout.ledger(), &shown)?;
                let text: String = lines.iter().map(|line| output::words(&line.note) + "\n").collect();
                clear_line();
                output::print(&text)?;
            }
            shown = head;
            ticked = Instant::now();
        }
        let loaded = store::peek(&site.layout)?;
        let flying = loaded.state.flights().next().is_some();
        if !flying && !news && !notice::goes_on(&loaded.state, &loaded.budget) {
            // One more look, in case a chore is left or somebody has changed something.
            let report = tick::fire(site)?;
            if report.notes.is_empty() && !report.held && report.in_flight == 0 {
                clear_line();
                return Ok(store::peek(&site.layout)?);
            }
        }
        if ticked.elapsed() >= TICK {
            tick::fire(site)?;
            ticked = Instant::now();
        }
        if !quiet && drawn.elapsed() >= PROGRESS {
            progress(&loaded, clock::now())?;
            drawn = Instant::now();
        }
        std::thread::sleep(LOOK);
    }
}

/// One line that is drawn over itself, on a terminal only.
fn progress(loaded: &Loaded, now: DateTime<Utc>) -> anyhow::Result<()> {
    let mut out = std::io::stderr();
    if !out.is_terminal() {
        return Ok(());
    }
    let flying: Vec<String> = loaded
        .state
        .flights()
        .map(|(_, flight)| format!("{} {}", flight.run, status::since(flight.dispatched_at, now)))
        .collect();
    let text = if flying.is_empty() { "waiting".to_owned() } else { flying.join(", ") };
    write!(out, "\r\x1b[2K{}", output::shortened(&text, columns().saturating_sub(1)))?;
    Ok(out.flush()?)
}

fn clear_line() {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        // A terminal that is gone shows nothing anyway.
        let _ = write!(out, "\r\x1b[2K");
        let _ = out.flush();
    }
}
