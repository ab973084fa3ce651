//! Every decision of the journal made again, and compared with what the ledger and the journal say of it.

use std::collections::{BTreeSet, HashSet};
use std::iter::Peekable;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::again::{Again, Lost, Parts, again};
use super::track::{Gone, Moment, Track};
use crate::core::journal::{Difference, Record, first_difference};
use crate::core::step::Note;
use crate::files::journal::{self, JournalError, PROGRAM, Reader};
use crate::files::layout::Layout;
use crate::files::ledger::{self, Line, Lines};
use crate::files::store::{Loaded, StoreError};

/// A decision that is not what it was, or evidence that was changed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Finding {
    /// The commit's first line of the ledger; for one without lines, the line before it.
    pub seq: u64,
    /// What it was: the event and the stage of that line.
    pub transition: String,
    /// What is wrong.
    pub what: String,
    /// The first place at which the documents differ, where they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// The version of the program that decided.
    pub program: String,
}

/// Lines of the ledger, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// A place of the journal that cannot be read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Unread {
    /// The segment.
    pub path: PathBuf,
    /// Its line, counted from 1.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// What came of making decisions again.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Replayed {
    /// The first line of the ledger that was looked at.
    pub from: u64,
    /// The last.
    pub until: u64,
    /// The first line of the ledger that the journal still reaches back to, where older segments were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<u64>,
    /// Decisions that were made again.
    pub recomputed: u64,
    /// Commits that follow from nothing that could be decided again, such as `restored`.
    pub given: u64,
    /// Records of commits that never happened, because the machine died first.
    pub unfinished: u64,
    /// What is not as it was.
    pub differences: u64,
    /// Lines of the ledger whose decisions could not be made again, because too little of them is recorded.
    pub unrecorded: Vec<Span>,
    /// Records without lines of which too little is recorded.
    pub lost: u64,
    /// Places of the journal that cannot be read.
    pub unread: Vec<Unread>,
    /// The versions of the programs that decided.
    pub programs: BTreeSet<String>,
}

/// A record that the ledger does not name: its commit never happened, or it was changed since.
struct Suspect {
    first: u64,
    sha256: String,
    program: String,
    /// Whether the record after it proves that it was changed.
    is_broken: bool,
}

/// The beginning of a hash: enough to tell whether the ledger names a record, and little enough for all of them.
fn short(sha256: &str) -> u64 {
    sha256.get(..16).and_then(|start| u64::from_str_radix(start, 16).ok()).unwrap_or_default()
}

struct Check<'a> {
    layout: &'a Layout,
    lines: Peekable<Lines>,
    /// Every record that the ledger names.
    named: HashSet<u64>,
    /// The last line that is looked at.
    end: u64,
    parts: Parts<'a>,
    track: Track,
    suspects: Vec<Suspect>,
    /// The sha256 of the record before.
    previous: Option<String>,
    report: Replayed,
    tell: &'a mut dyn FnMut(&Finding),
}

/// Makes every decision again from this line of the ledger on. `tell` gets what is found as it is found, `passes` the
/// line of each record.
///
/// # Errors
/// The ledger is broken, or the journal cannot be read at all.
pub fn replay(
    layout: &Layout,
    from: u64,
    tell: &mut dyn FnMut(&Finding),
    passes: &mut dyn FnMut(u64),
) -> Result<Replayed, StoreError> {
    let mut segments = journal::segments(layout).map_err(unreadable)?;
    let removed = segments.first().filter(|segment| segment.number > 1 && segment.first > from);
    let begins = removed.map(|segment| segment.first);
    let start = segments.iter().rposition(|segment| segment.first <= from).unwrap_or(0);
    segments.drain(..start);
    let mut named = HashSet::new();
    // What is committed meanwhile is another replay's.
    let end = ledger::walk(&layout.ledger(), |line| named.extend(line.record.as_deref().map(short)))?.seq;
    let mut check = Check {
        layout,
        named,
        end,
        lines: Lines::open(&layout.ledger())?.peekable(),
        parts: Parts::new(layout),
        track: Track::default(),
        suspects: Vec::new(),
        previous: None,
        report: Replayed { from, begins, ..Replayed::default() },
        tell,
    };
    for entry in Reader::new(segments) {
        let entry = entry.map_err(unreadable)?;
        match entry.record {
            Ok(record) => {
                passes(record.first);
                check.record(&record, entry.sha256)?;
            }
            Err(why) => {
                let (path, line) = (entry.path, entry.line);
                check.report.unread.push(Unread { path, line, why });
            }
        }
    }
    check.skip_to(u64::MAX)?;
    for suspect in std::mem::take(&mut check.suspects) {
        check.settle(&suspect, None);
    }
    Ok(check.report)
}

fn unreadable(error: JournalError) -> StoreError {
    StoreError::Journal(Box::new(error))
}

impl Check<'_> {
    fn is_wanted(&self, record: &Record) -> bool {
        record.last >= self.report.from
    }

    fn found(&mut self, seq: u64, line: Option<&Note>, program: &str, what: String, difference: Option<Difference>) {
        let transition = line.map_or_else(
            || "between two lines".to_owned(),
            |note| note.stage.as_ref().map_or_else(|| note.event.clone(), |stage| format!("{} {stage}", note.event)),
        );
        self.report.differences += 1;
        (self.tell)(&Finding { seq, transition, what, difference, program: program.to_owned() });
    }

    /// Passes the lines before this one, of which nothing is recorded.
    fn skip_to(&mut self, seq: u64) -> Result<(), StoreError> {
        while self.report.until < self.end
            && let Some(line) = self.lines.next_if(|line| line.as_ref().map_or(true, |line| line.seq < seq))
        {
            let line = line?;
            self.report.until = line.seq;
            if line.seq >= self.report.from {
                self.unrecorded(line.seq);
            }
            let mut mine = self.suspects_of(line.seq);
            // The newest is the one that should be named; those before it never happened.
            if let Some(suspect) = mine.last_mut() {
                suspect.is_broken |= line.record.is_some();
            }
            for suspect in mine {
                self.settle(&suspect, Some(&line.note));
            }
        }
        Ok(())
    }

    fn suspects_of(&mut self, seq: u64) -> Vec<Suspect> {
        let (mine, others) = self.suspects.drain(..).partition(|suspect| suspect.first == seq);
        self.suspects = others;
        mine
    }

    /// Says what a record is that the ledger does not name, now that nothing more can be learnt of it.
    fn settle(&mut self, suspect: &Suspect, line: Option<&Note>) {
        if !suspect.is_broken {
            self.report.unfinished += 1;
            return;
        }
        let what = "its record is not the one that was written: it was changed after the commit".to_owned();
        self.found(suspect.first, line, &suspect.program, what, None);
    }

    fn unrecorded(&mut self, seq: u64) {
        match self.report.unrecorded.last_mut() {
            Some(span) if span.last + 1 == seq => span.last = seq,
            Some(span) if (span.first..=span.last).contains(&seq) => {}
            _ => self.report.unrecorded.push(Span { first: seq, last: seq }),
        }
    }

    /// The lines of the ledger that name a record; none where its commit never happened, or the record was changed.
    fn claim(&mut self, record: &Record, sha256: &str) -> Result<Option<Vec<Line>>, StoreError> {
        if self.named.contains(&short(sha256)) {
            self.skip_to(record.first)?;
            let named = self.lines.peek().and_then(|line| line.as_ref().ok()?.record.as_deref());
            if named == Some(sha256) {
                let mut lines = Vec::new();
                while let Some(line) =
                    self.lines.next_if(|line| line.as_ref().is_ok_and(|line| line.seq <= record.last))
                {
                    lines.push(line?);
                }
                self.report.until = record.last;
                let about = lines.first().map(|line| line.note.clone());
                for suspect in self.suspects_of(record.first) {
                    self.settle(&suspect, about.as_ref());
                }
                return Ok(Some(lines));
            }
        }
        let (first, sha256, program) = (record.first, sha256.to_owned(), record.program.clone());
        self.suspects.push(Suspect { first, sha256, program, is_broken: false });
        Ok(None)
    }

    fn record(&mut self, record: &Record, sha256: String) -> Result<(), StoreError> {
        let wanted = self.is_wanted(record);
        if let (Some(previous), Some(prev), true) = (&self.previous, &record.prev, wanted)
            && previous != prev
        {
            match self.suspects.iter_mut().find(|suspect| suspect.sha256 == *previous) {
                Some(suspect) => suspect.is_broken = true,
                None => {
                    let what = "the record before this one was changed or taken away after it was written".to_owned();
                    self.found(record.first, None, &record.program, what, None);
                }
            }
        }
        let before = self.track.before(record);
        let mut lines = None;
        if wanted {
            self.report.programs.insert(record.program.clone());
            if record.lines > 0 {
                lines = self.claim(record, &sha256)?;
            }
        }
        let about = lines.as_ref().and_then(|lines| Some(lines.first()?.note.clone()));
        let after = if record.is_whole() {
            let whole = Moment::whole(self.layout, record);
            match &whole {
                Ok(_) => self.report.given += u64::from(wanted && record.lines > 0),
                Err(gone) if wanted => self.gone(record, gone),
                Err(_) => {}
            }
            whole.ok()
        } else {
            match (&before, wanted) {
                (Some(before), true) => self.decide(before, record, lines.as_deref(), about.as_ref())?,
                (Some(before), false) => before.changed(self.layout, record),
                (None, true) => {
                    self.unknown(record);
                    None
                }
                (None, false) => None,
            }
        };
        self.track.set(after, before);
        self.previous = Some(sha256);
        Ok(())
    }

    /// Too little is recorded to decide again.
    fn unknown(&mut self, record: &Record) {
        if record.lines == 0 {
            self.report.lost += 1;
        }
        // What a record says of itself is not relied on for more than the ledger has.
        let last = if record.lines == 0 { 0 } else { record.last.min(self.report.until) };
        for seq in record.first..=last {
            self.unrecorded(seq);
        }
    }

    fn gone(&mut self, record: &Record, gone: &Gone) {
        let Gone::Part(JournalError::Part { path, .. }) = gone else {
            self.found(record.first, None, &record.program, gone.to_string(), None);
            return;
        };
        let unread = Unread { path: path.clone(), line: 0, why: gone.to_string() };
        self.report.unread.push(unread);
        self.unknown(record);
    }

    /// Decides again, and compares. Gives what was recorded to follow.
    fn decide(
        &mut self,
        before: &Moment,
        record: &Record,
        lines: Option<&[Line]>,
        about: Option<&Note>,
    ) -> Result<Option<Moment>, StoreError> {
        let recorded = before.changed(self.layout, record);
        let again = match again(&mut self.parts, before, record) {
            Ok(again) => again,
            Err(Lost::Gone(error)) => {
                let path =
                    if let JournalError::Part { path, .. } = &error { path.clone() } else { self.layout.journal() };
                self.report.unread.push(Unread { path, line: 0, why: error.to_string() });
                self.unknown(record);
                return Ok(recorded);
            }
            Err(Lost::Changed(what)) => {
                self.found(record.first, about, &record.program, what, None);
                return Ok(recorded);
            }
        };
        let (decided, notes) = match again {
            Again::Decided(decided, notes) => (decided, notes),
            Again::Refused(why) => {
                self.report.recomputed += 1;
                let what = format!("the machine of today refuses the command: {why}");
                self.found(record.first, about, &record.program, what, None);
                return Ok(recorded);
            }
            Again::Nothing => return Ok(recorded),
        };
        self.report.recomputed += 1;
        let is_same = recorded.as_ref().is_some_and(|recorded| recorded.loaded == *decided);
        let Some(recorded) = recorded else {
            let what = "what it changed is not recorded as it was: its changes do not lead to the state that it names";
            self.found(record.first, about, &record.program, what.to_owned(), None);
            let decided = Moment::of(self.layout, *decided)?;
            return Ok((decided.sums == record.after).then_some(decided));
        };
        if !is_same {
            self.differs(record, about, &recorded.loaded, &decided);
        } else if let Some(lines) = lines
            && let Some(what) = other_lines(record, lines, &notes, &decided)
        {
            self.found(record.first, about, &record.program, what, None);
        }
        Ok(Some(recorded))
    }

    fn differs(&mut self, record: &Record, about: Option<&Note>, recorded: &Loaded, decided: &Loaded) {
        let (expected, found) = ((&recorded.state, &recorded.budget), (&decided.state, &decided.budget));
        let difference = first_difference(expected, found).ok().flatten();
        let mut what = "the machine of today decides otherwise".to_owned();
        if record.program != PROGRAM {
            what.push_str(&format!(" ({} decided it, this is {PROGRAM})", record.program));
        }
        self.found(record.first, about, &record.program, what, difference);
    }
}

/// In what way the ledger's lines are not those that follow from a decision.
fn other_lines(record: &Record, lines: &[Line], notes: &[Note], decided: &Loaded) -> Option<String> {
    if lines.len() != notes.len() {
        return Some(format!("the ledger has {} lines of it, and {} follow from it", lines.len(), notes.len()));
    }
    lines.iter().zip(notes).find_map(|(line, note)| {
        let told = ledger::as_told(note);
        if line.note != told {
            return Some(format!(
                "line {} of the ledger says `{}`, and `{}` follows",
                line.seq,
                words(&line.note),
                words(&told)
            ));
        }
        let figures = (line.at, line.tick, line.tokens_spent, line.cost_spent_usd);
        let (state, budget) = (&decided.state, &decided.budget);
        let follow = (record.at, state.tick_count, budget.tokens_spent, budget.cost_spent_usd);
        (figures != follow)
            .then(|| format!("line {} of the ledger has other figures than follow: {figures:?}, {follow:?}", line.seq))
    })
}

fn words(note: &Note) -> String {
    let about = note.run.as_ref().map(ToString::to_string).or_else(|| note.stage.as_ref().map(ToString::to_string));
    let (from, to) = (note.from.as_deref().unwrap_or("-"), note.to.as_deref().unwrap_or("-"));
    format!("{} {} {from} → {to}: {}", about.as_deref().unwrap_or("-"), note.event, note.detail)
}
