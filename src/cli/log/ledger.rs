//! The ledger in words, one line in memory at a time.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{LogArgs, Since, reaches};
use crate::cli::terminal::look::{Look, Tone};
use crate::cli::terminal::text::clean;
use crate::cli::{DONE, output};
use crate::files::identity::Identity;
use crate::files::ledger::{self, LedgerError, Line};
use crate::files::store::StoreError;
use crate::tick::{Site, clock};

/// How often a ledger that is followed is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// At how many looks in a row the last line may have no end before it counts as broken.
const PATIENCE: u32 = 25;

/// Prints the lines that are asked for, and those that are added.
pub fn print(site: &Site, args: &LogArgs, look: &Look) -> anyhow::Result<u8> {
    let path = site.layout.ledger();
    let from = match args.since {
        None => None,
        Some(Since::Moment(at)) => Some(at),
        Some(Since::Ago(time)) => {
            let span = TimeDelta::try_seconds(i64::try_from(time.0).unwrap_or(i64::MAX));
            span.and_then(|span| clock::now().checked_sub_signed(span))
        }
    };
    // Printed as it is read: the ledger may be larger than memory. Only the newest of a number are kept for the end.
    let mut newest = VecDeque::new();
    let mut outcome = Ok(true);
    let mut head = ledger::walk(&path, |line| {
        if !matches!(outcome, Ok(true)) || !is_wanted(&line, args, from) {
            return;
        }
        match args.lines {
            None => outcome = text(&line, args, look).and_then(|text| reaches(&text)),
            Some(most) => {
                newest.push_back(line);
                if newest.len() > most {
                    newest.pop_front();
                }
            }
        }
    })
    .map_err(StoreError::from)?;
    for line in newest {
        if matches!(outcome, Ok(true)) {
            outcome = text(&line, args, look).and_then(|text| reaches(&text));
        }
    }
    let mut seen = Identity::default();
    let mut unfinished = 0;
    while outcome? && args.follow {
        thread::sleep(LOOK);
        outcome = Ok(true);
        let now = Identity::of(&path);
        if now == seen {
            continue;
        }
        seen = now;
        // The end is looked up before the lines are read: what is added meanwhile is the next look's.
        let end = match ledger::head(&path) {
            // Its last line is being written.
            Err(LedgerError::Broken { .. }) if unfinished < PATIENCE => {
                unfinished += 1;
                seen = Identity::default();
                continue;
            }
            end => end.map_err(StoreError::from)?,
        };
        unfinished = 0;
        let added = ledger::since(&path, &head).map_err(StoreError::from)?;
        for line in added.iter().filter(|line| line.seq <= end.seq && is_wanted(line, args, from)) {
            if matches!(outcome, Ok(true)) {
                outcome = text(line, args, look).and_then(|text| reaches(&text));
            }
        }
        head = end;
    }
    Ok(DONE)
}

fn is_wanted(line: &Line, args: &LogArgs, from: Option<DateTime<Utc>>) -> bool {
    let is_about = args.stage.as_ref().is_none_or(|stage| line.note.stage.as_ref() == Some(stage));
    is_about && from.is_none_or(|from| line.at >= from)
}

fn text(line: &Line, args: &LogArgs, look: &Look) -> anyhow::Result<String> {
    if args.json {
        return Ok(serde_json::to_string(line)? + "\n");
    }
    let time = look.paint(Tone::Faint, &look.moment(line.at));
    Ok(format!("{time}  {}\n", clean(&output::words(&line.note))))
}
