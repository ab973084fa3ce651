//! From the ledger's lines, one after another, to the night that they end with.
//!
//! A night begins with the first dispatch after everything had been at rest for more than four hours: no run in
//! flight, and no family paused for its provider. What operators say in between (queueing, answering, halting) is no
//! activity, so the cards that are queued in the evening do not belong to the night before. A halt waits for a person
//! and is rest; a pause ends by itself and is not.
//!
//! Lines are taken in one by one and forgotten, but for the newest ones of the present night.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Begun, Entry, Excerpt, Window};
use crate::core::ids::{RunId, StageId};
use crate::core::step::Note;

/// How long everything has been at rest when a new night begins.
pub const REST_SECONDS: i64 = 4 * 3600;

/// The most lines of the ledger that are told; older ones are counted.
const MOST_LINES: usize = 1_000;
/// The most runs that are told.
const MOST_RUNS: usize = 2_000;
/// The most moments that are told.
const MOST_MOMENTS: usize = 500;
/// The longest detail of a line, in characters.
const DETAIL: usize = 200;

/// A line's place in the ledger.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its number.
    pub seq: u64,
    /// When it was written.
    pub at: DateTime<Utc>,
}

/// Something that stopped or released dispatching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Everything halted.
    Halted(Excerpt),
    /// An operator lifted halts and pauses.
    Resumed,
    /// The family of this run paused.
    Paused(RunId, Excerpt),
    /// The family that is named first in the text was put off.
    PutOff(String, Excerpt),
    /// The pause of the family that is named first in the text is over.
    PauseEnded(String),
}

/// Reads lines in order.
#[derive(Debug, Default)]
pub struct Chronicle {
    since: Option<DateTime<Utc>>,
    /// Runs that were dispatched and have not ended.
    flights: BTreeMap<RunId, DateTime<Utc>>,
    paused: bool,
    busy: Option<DateTime<Utc>>,
    told: Told,
}

/// The night that the lines ended with.
#[derive(Debug, Default)]
pub struct Told {
    /// When it began; none where nothing of it happened.
    from: Option<DateTime<Utc>>,
    /// Its runs in order of their dispatch.
    pub runs: VecDeque<(RunId, DateTime<Utc>)>,
    /// How many older runs are not among them.
    pub runs_left_out: usize,
    /// Stages that something happened to.
    pub stages: BTreeSet<StageId>,
    /// Landings: the stage, and when.
    pub landings: Vec<(StageId, DateTime<Utc>)>,
    /// Halts and pauses; those that were on when the night began stand first.
    pub moments: Vec<(DateTime<Utc>, Moment)>,
    /// The newest lines.
    pub lines: VecDeque<Entry>,
    /// How many older lines are not among them.
    pub lines_left_out: u64,
}

impl Chronicle {
    /// For the newest night, or for everything since a moment.
    pub fn new(since: Option<DateTime<Utc>>) -> Self {
        Self { since, ..Self::default() }
    }

    /// Takes in the next line.
    pub fn read(&mut self, line: Place, note: &Note) {
        let Place { seq, at } = line;
        let dispatched = note.event == "dispatched";
        if dispatched && self.since.is_none() && self.is_rested(at) {
            // What was halted then was lifted since, or nothing would be dispatched.
            self.told = Told { from: Some(at), ..Told::default() };
        }
        let inside = match self.since {
            Some(since) => at >= since,
            None => self.told.from.is_some(),
        };
        self.moment(at, note, inside);
        if let Some(run) = &note.run {
            let at_work = dispatched || !self.flights.is_empty();
            let news = if dispatched {
                self.flights.insert(run.clone(), at);
                inside.then_some(at)
            } else if note.event == "over-time" {
                None
            } else {
                // Dispatched before `since`, ended after it.
                self.flights.remove(run).filter(|begun| inside && self.since.is_some_and(|since| *begun < since))
            };
            if let Some(begun) = news {
                self.told.run(run, begun);
            }
            // What a person merges half a day later belongs to no night.
            if at_work || !self.has_rested(at) {
                self.busy = Some(at);
            }
        }
        if inside {
            self.told.line(seq, at, note);
        }
    }

    /// The night, as it is seen now.
    pub fn tell(mut self, now: DateTime<Utc>) -> (Window, Told) {
        if self.since.is_some() {
            for (run, begun) in &self.flights {
                if self.since.is_some_and(|since| *begun < since) {
                    self.told.run(run, *begun);
                }
            }
        }
        let begin = self.since.or(self.told.from);
        let begun = match (self.since, begin) {
            (Some(_), _) => Begun::Asked,
            (None, Some(_)) => Begun::AfterRest,
            (None, None) => Begun::NeverRan,
        };
        let from = begin.unwrap_or(now);
        let last_moment = self.told.moments.last().map(|(at, _)| *at).filter(|at| {
            self.busy.is_none_or(|busy| at.signed_duration_since(busy) <= TimeDelta::seconds(REST_SECONDS))
        });
        let at_work = !self.flights.is_empty() || self.paused;
        let until = if at_work { Some(now) } else { self.busy.max(last_moment) };
        self.told.runs.make_contiguous().sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        (Window { from, until: until.unwrap_or(from).max(from), begun }, self.told)
    }

    /// Whether everything has been at rest for so long that a dispatch begins a new night.
    fn is_rested(&self, at: DateTime<Utc>) -> bool {
        self.flights.is_empty() && !self.paused && self.has_rested(at)
    }

    fn has_rested(&self, at: DateTime<Utc>) -> bool {
        self.busy.is_none_or(|busy| at.signed_duration_since(busy) > TimeDelta::seconds(REST_SECONDS))
    }

    fn moment(&mut self, at: DateTime<Utc>, note: &Note, inside: bool) {
        let detail = || Excerpt::head(&note.detail, super::LONGEST_QUOTE);
        let moment = match (note.event.as_str(), &note.run) {
            ("halted", _) => Moment::Halted(detail()),
            ("resumed", _) => Moment::Resumed,
            ("pause-ended" | "online" | "quota-free", _) => Moment::PauseEnded(first_word(&note.detail)),
            ("offline" | "quota-held", _) => Moment::PutOff(first_word(&note.detail), detail()),
            ("limit", Some(run)) => Moment::Paused(run.clone(), detail()),
            _ => return,
        };
        let moments = &mut self.told.moments;
        match &moment {
            Moment::Paused(..) | Moment::PutOff(..) => self.paused = true,
            Moment::PauseEnded(_) | Moment::Resumed => {
                self.paused = false;
                if matches!(moment, Moment::PauseEnded(_)) {
                    self.busy = self.busy.max(Some(at));
                }
                if !inside {
                    moments.clear();
                }
            }
            Moment::Halted(_) => {}
        }
        let releases = matches!(moment, Moment::PauseEnded(_) | Moment::Resumed);
        if (inside || !releases) && moments.len() < MOST_MOMENTS {
            moments.push((at, moment));
        }
    }
}

/// The name that a detail begins with.
fn first_word(detail: &str) -> String {
    detail.split([' ', ':']).next().unwrap_or_default().to_owned()
}

impl Told {
    fn run(&mut self, run: &RunId, begun: DateTime<Utc>) {
        self.stages.insert(run.stage.clone());
        self.runs.push_back((run.clone(), begun));
        if self.runs.len() > MOST_RUNS {
            self.runs.pop_front();
            self.runs_left_out += 1;
        }
    }

    fn line(&mut self, seq: u64, at: DateTime<Utc>, note: &Note) {
        if let Some(stage) = &note.stage {
            self.stages.insert(stage.clone());
            if note.to.as_deref() == Some("completed") {
                self.landings.push((stage.clone(), at));
            }
        }
        let subject = note.run.as_ref().map(ToString::to_string);
        let mut detail = Excerpt::head(note.detail.lines().next().unwrap_or_default(), DETAIL);
        if detail.omitted > 0 {
            detail.text.push('…');
        }
        self.lines.push_back(Entry {
            seq,
            at,
            subject: subject.or_else(|| note.stage.as_ref().map(ToString::to_string)),
            event: note.event.clone(),
            moved: note.from.clone().zip(note.to.clone()).filter(|(from, to)| from != to),
            detail: detail.text,
        });
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
            self.lines_left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn note(event: &str, run: &str) -> Note {
        let run: Option<RunId> = run.parse().ok();
        Note {
            stage: run.as_ref().map(|run| run.stage.clone()),
            run,
            event: event.to_owned(),
            from: None,
            to: None,
            detail: "claude may be asked again".to_owned(),
        }
    }

    /// Lines as minute, event, run; the minutes of the window that they end with, and its runs.
    fn told(since: Option<i64>, now: i64, lines: &[(i64, &str, &str)]) -> (i64, i64, Vec<String>) {
        let mut chronicle = Chronicle::new(since.map(at));
        for (seq, (minute, event, run)) in (1..).zip(lines) {
            chronicle.read(Place { seq, at: at(*minute) }, &note(event, run));
        }
        let (window, told) = chronicle.tell(at(now));
        let minutes = |time: DateTime<Utc>| time.signed_duration_since(at(0)).num_minutes();
        (minutes(window.from), minutes(window.until), told.runs.iter().map(|(run, _)| run.to_string()).collect())
    }

    const A: &str = "01-a.1.worker";
    const B: &str = "02-b.1.worker";

    /// Lines that follow on the evening, the begin and the end of the window, and its runs.
    type Case<'c> = (&'c [(i64, &'c str, &'c str)], i64, i64, &'c [&'c str]);

    #[test]
    fn a_night_begins_after_four_hours_of_rest() {
        let evening: &[(i64, &str, &str)] = &[(0, "dispatched", A), (10, "handed-in", A), (200, "queued", "")];
        let cases: &[Case] = &[
            (&[(0, "queued", "")], 9999, 9999, &[]),
            (&[], 0, 10, &[A]),
            // Queueing is no activity: the rest is counted from the last run.
            (&[(251, "dispatched", B), (300, "handed-in", B)], 251, 300, &[B]),
            (&[(250, "dispatched", B), (300, "handed-in", B)], 0, 300, &[A, B]),
            // A run in flight is no rest, however long it says nothing.
            (
                &[(100, "dispatched", B), (900, "handed-in", B), (901, "dispatched", "03-c.1.worker")],
                0,
                9999,
                &[A, B, "03-c.1.worker"],
            ),
            // Neither is a pause; a halt is.
            (&[(11, "limit", B), (500, "pause-ended", ""), (501, "dispatched", B), (502, "x", B)], 0, 502, &[A, B]),
            (&[(11, "halted", ""), (500, "resumed", ""), (501, "dispatched", B), (502, "x", B)], 501, 502, &[B]),
            // What comes half a day later belongs to no night.
            (&[(900, "merged-by-hand", A)], 0, 10, &[A]),
        ];
        for (more, from, until, runs) in cases {
            let lines = if *from == 9999 { more.to_vec() } else { [evening, *more].concat() };
            let (found_from, found_until, found) = told(None, 9999, &lines);
            assert_eq!((found_from, found_until), (*from, *until), "{more:?}");
            assert_eq!(found, *runs, "{more:?}");
        }
    }

    #[test]
    fn since_takes_in_what_was_running_then() {
        let lines =
            [(0, "dispatched", A), (5, "dispatched", B), (10, "handed-in", A), (20, "dispatched", "03-c.1.gate")];
        assert_eq!(told(Some(7), 30, &lines), (7, 30, vec![A.into(), B.into(), "03-c.1.gate".into()]));
        assert_eq!(told(Some(15), 30, &lines), (15, 30, vec![B.into(), "03-c.1.gate".into()]));
    }

    #[test]
    fn memory_is_bounded_and_what_is_left_out_is_counted() {
        let mut chronicle = Chronicle::new(None);
        for seq in 0..10_000_u32 {
            let run = format!("01-a.{}.worker", seq + 1);
            chronicle.read(Place { seq: seq.into(), at: at(seq.into()) }, &note("dispatched", &run));
            chronicle.read(Place { seq: seq.into(), at: at(seq.into()) }, &note("limit", &run));
        }
        let (_, told) = chronicle.tell(at(20_000));
        assert_eq!((told.lines.len(), told.lines_left_out), (MOST_LINES, 20_000 - MOST_LINES as u64));
        assert_eq!((told.runs.len(), told.runs_left_out), (MOST_RUNS, 10_000 - MOST_RUNS));
        assert_eq!(told.moments.len(), MOST_MOMENTS);
    }
}
