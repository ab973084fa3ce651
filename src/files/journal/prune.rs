//! Taking old segments away, and then the parts that no segment names any more.
//!
//! Which parts those are is told by their age: whoever names a part that is older than a day makes it young again, so
//! that one which is older than everything that is recorded is named by nothing that is recorded.

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::{JournalError, Segment, segments};
use crate::core::retention::SegmentPast;
use crate::files::atomic;
use crate::files::layout::Layout;
use crate::files::regular;
use crate::files::spent::{Came, Patience};

/// Beyond the day after which a part is made young again: clocks that were set back.
const SLACK: TimeDelta = TimeDelta::days(2);

/// The segments with their ages, the oldest first.
pub fn past(layout: &Layout) -> Result<Vec<SegmentPast>, JournalError> {
    let aged = |segment: &Segment| {
        let meta = fs::symlink_metadata(&segment.path).ok().filter(fs::Metadata::is_file)?;
        let at = meta.modified().ok()?.into();
        Some(SegmentPast { number: segment.number, at, bytes: meta.len() })
    };
    // What is no file of ours ends the list: nothing behind it may go before it.
    Ok(segments(layout)?.iter().map_while(aged).collect())
}

/// Takes a segment away; fine where it is gone.
pub fn remove(layout: &Layout, number: u64) -> Result<(), JournalError> {
    let found = segments(layout)?.into_iter().filter(|segment| segment.number == number);
    for segment in found {
        atomic::remove(&segment.path)?;
    }
    Ok(())
}

/// What became of parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// How many went.
    pub removed: usize,
    /// The room that they took, in bytes.
    pub bytes: u64,
}

/// Takes away the parts that nothing recorded names. `young_since` is since when parts are made young again: without
/// that, an old part may be a needed one.
pub fn remove_parts(
    layout: &Layout,
    young_since: DateTime<Utc>,
    patience: Patience<'_>,
) -> Result<(Parts, Came), JournalError> {
    let mut gone = Parts::default();
    let Some(begin) = begin(layout)?.filter(|begin| *begin >= young_since) else { return Ok((gone, Came::Through)) };
    let folder = layout.journal().join("parts");
    atomic::sweep_temps(&folder)?;
    let io = |source| JournalError::Io { path: folder.clone(), source };
    for entry in fs::read_dir(&folder).map_err(io)? {
        if !patience() {
            return Ok((gone, Came::Short));
        }
        let entry = entry.map_err(io)?;
        // It does not follow a link, and what is no file is none of ours.
        let Some(meta) = entry.metadata().ok().filter(fs::Metadata::is_file) else { continue };
        let Ok(at) = meta.modified() else { continue };
        let is_named = entry.file_name().to_str().is_some_and(|name| name.len() == 64);
        if is_named && DateTime::<Utc>::from(at) + SLACK < begin {
            atomic::remove(&entry.path())?;
            gone.removed += 1;
            gone.bytes = gone.bytes.saturating_add(meta.len());
        }
    }
    Ok((gone, Came::Through))
}

/// When the oldest record was written; none where that cannot be read.
fn begin(layout: &Layout) -> Result<Option<DateTime<Utc>>, JournalError> {
    let Some(first) = segments(layout)?.into_iter().next() else { return Ok(None) };
    let entry = super::Reader::new(vec![first]).next().transpose()?;
    Ok(entry.and_then(|entry| entry.record.ok()).map(|record| record.at))
}

/// Makes a part young again that is named once more after more than a day.
pub(super) fn name_again(path: &Path, meta: &fs::Metadata, now: DateTime<Utc>) -> Result<(), JournalError> {
    let is_young =
        meta.modified().is_ok_and(|at| now.signed_duration_since(DateTime::<Utc>::from(at)) < TimeDelta::days(1));
    if is_young {
        return Ok(());
    }
    let io = |source| JournalError::Io { path: path.to_owned(), source };
    crate::fault::point!("journal.part-time", path).map_err(io)?;
    let file = regular::existing(path, fs::OpenOptions::new().write(true)).map_err(io)?;
    file.set_modified(now.into()).map_err(io)
}
