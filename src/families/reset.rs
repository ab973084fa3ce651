//! When a limit resets: what a CLI says about it, and the time that this means.
//!
//! A CLI says it in numbers, as a delay, or as a clock time with or without a date and a zone. What was said is kept as
//! it was said, because a clock time means something only beside the moment and the zone it was said in. Nothing here
//! reads a clock; how long a pause may last is policy and lives in `core`.

mod words;
mod zone;

use chrono::{DateTime, Datelike as _, Days, MappedLocalTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};

pub use zone::Zone;

/// How far a clock time may lie behind the moment at which it was said and still mean that moment: a CLI rounds to
/// minutes, and its last line may come a while after the answer it speaks of.
const JUST_PAST: TimeDelta = TimeDelta::minutes(10);
/// What is said in words is believed this far into the past,
const FARTHEST_BACK: TimeDelta = TimeDelta::days(1);
/// and this far ahead.
const FARTHEST_AHEAD: TimeDelta = TimeDelta::days(400);
/// How finely the end of a gap in local time is looked for. Clocks change at full quarters of an hour.
const STEP: TimeDelta = TimeDelta::minutes(15);
/// The longest gap in steps: a zone that changed sides of the date line skipped a day.
const MOST_STEPS: usize = 4 * 25;

/// When a limit resets, as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resets {
    /// At this time, from a field that holds nothing else.
    At(DateTime<Utc>),
    /// So many seconds after it was said.
    After(u32),
    /// At this time, from prose: believed only where it is not absurd.
    Said(DateTime<Utc>),
    /// When the clocks of a zone show this.
    Clock(Clock),
}

/// A clock time as a person writes it: some of its parts are left to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The date.
    pub day: Day,
    /// The time of day.
    pub time: NaiveTime,
    /// The zone; none for the zone of the machine on which it was said.
    pub zone: Option<Zone>,
}

/// The date of a clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// The next day on which the clock shows the time.
    Next,
    /// The next such day of the week.
    Weekday(Weekday),
    /// A day of a month, in a year where one was named.
    Date {
        /// The year.
        year: Option<i32>,
        /// The month, from 1.
        month: u32,
        /// The day of the month, from 1.
        day: u32,
    },
}

impl Resets {
    /// From an epoch in seconds, or in milliseconds as some CLIs write it.
    pub fn from_epoch(epoch: i64) -> Option<Self> {
        epoch_time(epoch).map(Self::At)
    }

    /// From the words of an error record.
    pub fn from_text(text: &str) -> Option<Self> {
        words::read(text)
    }

    /// As a time, where `said_at` is when it was said, in the zone of the machine it was said on.
    ///
    /// A clock time that has just passed stays past; a time of day that passed longer ago is tomorrow's. One that falls
    /// into a gap of local time is when the gap ends, one that comes twice is the later.
    pub fn at<Z: TimeZone>(&self, said_at: &DateTime<Z>) -> Option<DateTime<Utc>> {
        let said = said_at.to_utc();
        match self {
            Self::At(time) => Some(*time),
            Self::After(seconds) => said.checked_add_signed(TimeDelta::seconds(i64::from(*seconds))),
            Self::Said(time) => credible(*time, said),
            Self::Clock(clock) => {
                // Near the ends of the calendar not every zone has a clock.
                said.checked_sub_signed(FARTHEST_BACK).and(said.checked_add_signed(FARTHEST_AHEAD))?;
                let time = match &clock.zone {
                    Some(zone) => clock.next(&said_at.with_timezone(zone)),
                    None => clock.next(said_at),
                };
                credible(time?, said)
            }
        }
    }
}

impl Clock {
    fn next<Z: TimeZone>(&self, said_at: &DateTime<Z>) -> Option<DateTime<Utc>> {
        let said = said_at.to_utc();
        let today = said_at.date_naive();
        let on = |date: NaiveDate| instant(&said_at.timezone(), date, self.time);
        match self.day {
            // From yesterday on: just before midnight may have been said just after it.
            Day::Next => first_after(said, days_from(today, 3).filter_map(on)),
            Day::Weekday(weekday) => {
                let such = days_from(today, 10).filter(|date| date.weekday() == weekday);
                first_after(said, such.filter_map(on))
            }
            Day::Date { year: Some(year), month, day } => on(NaiveDate::from_ymd_opt(year, month, day)?),
            Day::Date { year: None, month, day } => [-1, 0, 1]
                .into_iter()
                .filter_map(|years| NaiveDate::from_ymd_opt(today.year() + years, month, day))
                .filter_map(on)
                .min_by_key(|time| (*time - said).abs()),
        }
    }
}

/// The days from yesterday on.
fn days_from(today: NaiveDate, count: u64) -> impl Iterator<Item = NaiveDate> {
    let first = today.pred_opt().unwrap_or(today);
    (0..count).filter_map(move |days| first.checked_add_days(Days::new(days)))
}

fn first_after(said: DateTime<Utc>, mut times: impl Iterator<Item = DateTime<Utc>>) -> Option<DateTime<Utc>> {
    times.find(|time| *time - said >= -JUST_PAST)
}

/// When a zone's clocks show this time of this day.
fn instant<Z: TimeZone>(zone: &Z, date: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    let mut wanted = date.and_time(time);
    for _ in 0..MOST_STEPS {
        match zone.from_local_datetime(&wanted) {
            MappedLocalTime::None => {}
            MappedLocalTime::Single(found) => return Some(found.to_utc()),
            // Of an hour that comes twice, the second; chrono gives the two of this machine's clock in the wrong order.
            MappedLocalTime::Ambiguous(one, other) => return Some(one.to_utc().max(other.to_utc())),
        }
        wanted = wanted.checked_add_signed(STEP)?;
    }
    None
}

fn credible(time: DateTime<Utc>, said: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (-FARTHEST_BACK..=FARTHEST_AHEAD).contains(&(time - said)).then_some(time)
}

/// An epoch in seconds or milliseconds as a time.
fn epoch_time(epoch: i64) -> Option<DateTime<Utc>> {
    const FIRST_IN_MILLISECONDS: i64 = 100_000_000_000;
    let time = if epoch >= FIRST_IN_MILLISECONDS {
        DateTime::from_timestamp_millis(epoch)
    } else {
        DateTime::from_timestamp(epoch, 0)
    };
    time.filter(|_| epoch > 0)
}

#[cfg(test)]
mod tests;
