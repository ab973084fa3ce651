//! The state at any point of the past.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::track::{Gone, Moment, Track};
use crate::files::journal::{self, JournalError, Reader};
use crate::files::layout::Layout;
use crate::files::ledger::{LedgerError, Lines};
use crate::files::store::Loaded;

/// Which commit a past state is of.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Commit {
    /// Its first line of the ledger.
    pub first: u64,
    /// Its last.
    pub last: u64,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// The tick that made it.
    pub tick: u64,
    /// The version of the program that decided it.
    pub program: String,
}

/// State and budget as a commit left them.
#[derive(Debug, Clone)]
pub struct Past {
    /// The commit.
    pub commit: Commit,
    /// What it left.
    pub loaded: Loaded,
}

/// Why a past state cannot be had.
#[derive(Debug, Error)]
pub enum PastError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no such line.
    #[error(
        "the ledger has the lines 1 to {last}, and no line {seq}; `autometta log --json` prints them with their `seq`"
    )]
    NoLine {
        /// What was asked for.
        seq: u64,
        /// The last there is.
        last: u64,
    },
    /// The journal does not have it.
    #[error("what stood after line {seq} of the ledger is not recorded{}; {}", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default(), way_out(*.earlier))]
    Unrecorded {
        /// What was asked for.
        seq: u64,
        /// Why not, where that is known.
        why: Option<String>,
        /// The last line before it that names a record.
        earlier: Option<u64>,
    },
}

fn way_out(earlier: Option<u64>) -> String {
    match earlier {
        Some(line) => format!("`autometta show --at {line}` has what stood after line {line}"),
        None => "the copies on refs/autometta/state go back further: `git log refs/autometta/state`".to_owned(),
    }
}

/// State and budget as they stood after the commit of a line of the ledger.
///
/// # Errors
/// There is no such line, it was not recorded, or what was recorded cannot be read.
pub fn at(layout: &Layout, seq: u64) -> Result<Past, PastError> {
    let (mut last, mut named, mut earlier) = (0, None, None);
    for line in Lines::open(&layout.ledger())? {
        let line = line?;
        last = line.seq;
        if last > seq {
            break;
        }
        if let Some(record) = line.record {
            earlier = named.map(|_: (u64, String)| last - 1);
            named = Some((last, record));
        }
    }
    if seq == 0 || last < seq {
        return Err(PastError::NoLine { seq, last });
    }
    let refuse = |why: Option<String>, earlier| PastError::Unrecorded { seq, why, earlier };
    let Some((first, sha256)) = named else { return Err(refuse(None, None)) };
    let mut why = None;
    // The last segment that begins no later has it, unless the ledger was mended since and counted on from less.
    let segments = journal::segments(layout)?;
    if let Some(oldest) = segments.first().filter(|oldest| oldest.number > 1 && oldest.first > first) {
        let begins = oldest.first;
        return Err(refuse(
            Some(format!(
                "the journal begins at line {begins}, since `keep: {{journal: …}}` has older segments removed"
            )),
            None,
        ));
    }
    for segment in segments.into_iter().rev().filter(|segment| segment.first <= first) {
        let mut track = Track::default();
        for entry in Reader::new(vec![segment]) {
            let entry = entry?;
            let Ok(record) = entry.record else { continue };
            let before = track.before(&record);
            let after = if record.is_whole() {
                Moment::whole(layout, &record).map_err(|error: Gone| why = Some(error.to_string())).ok()
            } else {
                before.as_ref().and_then(|before| before.changed(layout, &record))
            };
            if entry.sha256 != sha256 {
                track.set(after, before);
                continue;
            }
            // Lines after the commit's last one are of another commit, which names none.
            if record.last < seq {
                return Err(refuse(None, Some(record.last)));
            }
            let Some(Moment { loaded, .. }) = after else { return Err(refuse(why, earlier)) };
            let (first, last, at, tick) = (record.first, record.last, record.at, record.tick);
            return Ok(Past { commit: Commit { first, last, at, tick, program: record.program }, loaded });
        }
    }
    Err(refuse(why, earlier))
}
