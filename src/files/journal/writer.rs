//! Appending the record of a commit.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::prune::name_again;
use super::{JournalError, Segment, segments};
use crate::core::ids::StageId;
use crate::core::journal::{BriefRef, Briefs, Cause, Changes, JOURNAL_VERSION, Record, Sums};
use crate::core::observation::Observation;
use crate::core::operate::Command;
use crate::core::policy::Policy;
use crate::core::state::Stage;
use crate::fault;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::layout::Layout;
use crate::files::ledger::sha256_hex;
use crate::files::regular::{self, NotRegular};
use crate::files::store::Loaded;

/// How much of a segment's end is read to find its last record.
const TAIL: u64 = 64 << 10;
/// From this size on a segment is left as it is, and the next begins.
const FULL: u64 = 4 << 20;
/// How many records may follow on whole documents before they stand whole again.
const INTERVAL: u64 = 200;
/// How many briefs a record names by itself; more stand in a part, since they repeat from record to record.
const FEW: usize = 4;

/// The version of this program, as records name it.
pub const PROGRAM: &str = env!("AUTOMETTA_VERSION");

/// What a commit follows from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A tick's step.
    Step {
        /// What was seen.
        seen: &'a Observation,
        /// The rules.
        policy: &'a Policy,
        /// Ticks before it that did nothing and are counted with it.
        idle: u64,
    },
    /// An operator's commands.
    Commands {
        /// The commands.
        commands: &'a [Command],
        /// Archived stages that were put in front of the queue for them, one after the other.
        brought_back: &'a [Stage],
    },
    /// Nothing that can be decided again.
    Whole,
}

/// A commit that is about to happen.
pub(in crate::files) struct Commit<'a> {
    /// What was known.
    pub(in crate::files) before: Option<&'a Loaded>,
    /// What is known from now on.
    pub(in crate::files) after: &'a Loaded,
    /// `state.yaml` as it will be, where it changes.
    pub(in crate::files) state: Option<&'a str>,
    /// `budget.json` as it will be, where it changes.
    pub(in crate::files) budget: Option<&'a str>,
    /// The event of its first line; none where it has no lines.
    pub(in crate::files) event: Option<&'a str>,
    /// How many lines it adds to the ledger.
    pub(in crate::files) lines: u64,
    /// The ledger's last line before it.
    pub(in crate::files) seq: u64,
    /// When.
    pub(in crate::files) now: DateTime<Utc>,
    /// What it follows from.
    pub(in crate::files) source: Source<'a>,
    /// A document as its file will hold it.
    pub(in crate::files) encode: &'a dyn Fn(&Loaded) -> Option<(String, String)>,
}

/// What the last line of a segment tells those who go on from it.
#[derive(Deserialize)]
struct Last {
    since_whole: u64,
    before: Option<Sums>,
    after: Sums,
}

/// Where the newest segment ends.
struct End {
    segment: Segment,
    length: u64,
    /// Whether its last line has an end.
    is_closed: bool,
    /// The last line's sha256, and what it tells; none where it cannot be read.
    last: Option<(String, Last)>,
}

fn opened(path: &Path, options: &mut OpenOptions) -> Result<Option<fs::File>, JournalError> {
    regular::open_with(path, options).map_err(|error| match error {
        NotRegular::Io(source) => JournalError::Io { path: path.to_owned(), source },
        NotRegular::Other(kind) => JournalError::NotAFile { path: path.to_owned(), kind },
    })
}

fn end(layout: &Layout) -> Result<Option<End>, JournalError> {
    let Some(segment) = segments(layout)?.pop() else { return Ok(None) };
    let io = |source| JournalError::Io { path: segment.path.clone(), source };
    let Some(mut file) = opened(&segment.path, OpenOptions::new().read(true))? else { return Ok(None) };
    let length = file.metadata().map_err(io)?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).map_err(io)?;
    let body = bytes.strip_suffix(b"\n");
    let whole = body.and_then(|body| match body.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => Some(&body[newline + 1..]),
        None => (start == 0).then_some(body),
    });
    let last = whole.and_then(|line| Some((sha256_hex(line), serde_json::from_slice(line).ok()?)));
    Ok(Some(End { is_closed: length == 0 || body.is_some(), length, last, segment }))
}

/// The sums of the documents as they stand in their files.
fn on_disk(layout: &Layout) -> Result<Option<Sums>, JournalError> {
    let sum = |path: &Path| Ok::<_, JournalError>(document::read(path)?.map(|bytes| sha256_hex(&bytes)));
    let (state, budget) = (sum(&layout.state_yaml())?, sum(&layout.budget_json())?);
    Ok(state.zip(budget).map(|(state, budget)| Sums { state, budget }))
}

/// Writes a part, where it is not there yet, and gives its name.
fn keep(layout: &Layout, bytes: &[u8], now: DateTime<Utc>) -> Result<String, JournalError> {
    let sha256 = sha256_hex(bytes);
    let path = layout.journal_part(&sha256);
    // A power cut leaves a file that was not synced without its bytes.
    if let Ok(meta) = fs::metadata(&path)
        && meta.is_file()
        && meta.len() == bytes.len() as u64
        && name_again(&path, &meta, now).is_ok()
    {
        return Ok(sha256);
    }
    if let Some(parent) = path.parent() {
        atomic::make_dirs(parent, Durability::Volatile)?;
    }
    atomic::write(&path, bytes, Durability::Volatile)?;
    Ok(sha256)
}

fn keep_json<T: Serialize>(layout: &Layout, value: &T, now: DateTime<Utc>) -> Result<String, JournalError> {
    keep(layout, &serde_json::to_vec(value)?, now)
}

fn briefs(layout: &Layout, seen: &Observation, now: DateTime<Utc>) -> Result<Briefs, JournalError> {
    let mut named = BTreeMap::<StageId, BriefRef>::new();
    for (stage, brief) in &seen.briefs {
        let brief = match brief {
            Ok(brief) => BriefRef::Part(keep_json(layout, brief, now)?),
            Err(why) => BriefRef::Unusable(why.clone()),
        };
        named.insert(stage.clone(), brief);
    }
    Ok(if named.len() > FEW { Briefs::Part(keep_json(layout, &named, now)?) } else { Briefs::Here(named) })
}

fn cause(layout: &Layout, source: Source<'_>, event: Option<&str>, now: DateTime<Utc>) -> Result<Cause, JournalError> {
    Ok(match source {
        Source::Step { seen, policy, idle } => Cause::Step {
            idle,
            policy: keep_json(layout, policy, now)?,
            briefs: briefs(layout, seen, now)?,
            seen: Box::new(seen.without_briefs()),
        },
        Source::Commands { commands, brought_back } => {
            Cause::Commands { commands: commands.to_vec(), brought_back: brought_back.to_vec() }
        }
        Source::Whole => Cause::Whole { why: event.unwrap_or("changed").to_owned() },
    })
}

/// The lines that are to be appended.
struct Lines {
    text: Vec<u8>,
    last: Option<String>,
}

impl Lines {
    fn add(&mut self, mut record: Record) -> Result<String, JournalError> {
        record.prev = self.last.take();
        let line = serde_json::to_vec(&record)?;
        let sha256 = sha256_hex(&line);
        self.text.extend_from_slice(&line);
        self.text.push(b'\n');
        self.last = Some(sha256.clone());
        Ok(sha256)
    }
}

/// Appends the record of a commit, and before it both documents whole where the journal has to begin anew. Gives the
/// record's sha256; none where the documents could not be encoded.
pub(in crate::files) fn append(layout: &Layout, commit: &Commit<'_>) -> Result<Option<String>, JournalError> {
    let Commit { before, after, seq, now, .. } = *commit;
    let end = end(layout)?;
    let first = if commit.lines == 0 { seq } else { seq + 1 };
    let (segment, is_new) = match &end {
        Some(end) if end.length < FULL => (end.segment.clone(), false),
        Some(end) => (Segment::at(layout, end.segment.number + 1, first), true),
        None => (Segment::at(layout, 1, first), true),
    };
    let last = end.as_ref().and_then(|end| end.last.as_ref());
    let mut lines = Lines { text: Vec::new(), last: last.map(|(sha256, _)| sha256.clone()) };
    if end.as_ref().is_some_and(|end| !end.is_closed) && !is_new {
        lines.text.push(b'\n');
    }
    let mut record = Record {
        version: JOURNAL_VERSION,
        program: PROGRAM.to_owned(),
        prev: None,
        first,
        last: seq + commit.lines,
        lines: commit.lines,
        at: now,
        tick: after.state.tick_count,
        since_whole: 0,
        before: None,
        after: Sums { state: String::new(), budget: String::new() },
        cause: cause(layout, commit.source, commit.event, now)?,
        changes: Changes::default(),
    };
    let base = match (commit.source, before) {
        (Source::Whole, _) | (_, None) => None,
        (_, Some(before)) => Some(before),
    };
    let sha256 = if let Some(before) = base {
        let disk = on_disk(layout)?;
        let follows = |last: &Last| {
            let disk = disk.as_ref()?;
            // A record whose commit never happened is followed by what was known before it.
            (last.after == *disk || last.before.as_ref() == Some(disk)).then(|| (disk.clone(), last.since_whole + 1))
        };
        let known = last.and_then(|(_, last)| follows(last));
        let why = match &known {
            None => Some("edited"),
            Some(_) if is_new => Some("segment"),
            Some((_, since)) if *since >= INTERVAL => Some("interval"),
            Some(_) => None,
        };
        let (sums, since) = match (why, known) {
            (None, Some((disk, since))) => (disk, since),
            (why, _) => {
                let Some(sums) = whole(layout, commit.encode, before, now)? else { return Ok(None) };
                let cause = Cause::Whole { why: why.unwrap_or("edited").to_owned() };
                let tick = before.state.tick_count;
                let (first, after) = (seq, sums.clone());
                let whole = Record { first, last: seq, lines: 0, tick, after, cause, ..record.clone() };
                lines.add(whole)?;
                (sums, 1)
            }
        };
        let sum =
            |text: Option<&str>, same: &String| text.map_or_else(|| same.clone(), |text| sha256_hex(text.as_bytes()));
        record.after = Sums { state: sum(commit.state, &sums.state), budget: sum(commit.budget, &sums.budget) };
        record.before = Some(sums);
        record.since_whole = since;
        record.changes = Changes::between((&before.state, &before.budget), (&after.state, &after.budget))?;
        lines.add(record)?
    } else {
        let Some(sums) = whole(layout, commit.encode, after, now)? else { return Ok(None) };
        record.after = sums;
        lines.add(record)?
    };
    write(&segment, &lines.text)?;
    Ok(Some(sha256))
}

/// Keeps both documents whole.
fn whole(
    layout: &Layout,
    encode: &dyn Fn(&Loaded) -> Option<(String, String)>,
    loaded: &Loaded,
    now: DateTime<Utc>,
) -> Result<Option<Sums>, JournalError> {
    let Some((state, budget)) = encode(loaded) else { return Ok(None) };
    Ok(Some(Sums { state: keep(layout, state.as_bytes(), now)?, budget: keep(layout, budget.as_bytes(), now)? }))
}

fn write(segment: &Segment, lines: &[u8]) -> Result<(), JournalError> {
    let path = &segment.path;
    let io = |source| JournalError::Io { path: path.clone(), source };
    if let Some(parent) = path.parent() {
        atomic::make_dirs(parent, Durability::Volatile)?;
    }
    fault::point!("journal.open", path).map_err(io)?;
    let file = opened(path, OpenOptions::new().append(true).create(true).mode(0o600))?;
    let gone = || io(std::io::ErrorKind::NotFound.into());
    let mut file = file.ok_or_else(gone)?;
    fault::write!("journal.write", lines, |lines| file.write_all(lines)).map_err(io)
}
