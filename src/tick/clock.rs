//! The one place that reads the calendar.

#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the calendar")]

use chrono::{DateTime, Local, MappedLocalTime, NaiveDateTime, SubsecRound, TimeDelta, TimeZone, Utc};

use crate::core::quantity::Seconds;

/// Shifts the calendar, in seconds: for tests of clocks that jump. It moves no time limit of a run.
pub const OFFSET_VARIABLE: &str = "AUTOMETTA_CLOCK_OFFSET";

/// Now, in whole milliseconds.
pub fn now() -> DateTime<Utc> {
    let offset = std::env::var(OFFSET_VARIABLE).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let now = Utc::now().trunc_subsecs(3);
    TimeDelta::try_seconds(offset).and_then(|offset| now.checked_add_signed(offset)).unwrap_or(now)
}

/// The first moment at which a zone's clock shows this; none where it never does.
pub fn first<Z: TimeZone>(zone: &Z, at: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&at) {
        MappedLocalTime::None => None,
        MappedLocalTime::Single(at) => Some(at.to_utc()),
        // Of an hour that comes twice, chrono gives the second of this machine's clock first.
        MappedLocalTime::Ambiguous(one, other) => Some(one.to_utc().min(other.to_utc())),
    }
}

/// When this machine's clock shows this: of an hour that comes twice, the first; an hour that is left out counts as the
/// one after it.
pub fn local(at: NaiveDateTime) -> Option<DateTime<Utc>> {
    first(&Local, at).or_else(|| first(&Local, at.checked_add_signed(TimeDelta::hours(1))?))
}

/// Adds to the time that this boot has slept, in seconds: for tests of machines that sleep. It moves no other clock.
pub const SLEEP_VARIABLE: &str = "AUTOMETTA_SLEEP_OFFSET";

/// What is added to the time that this boot has slept.
pub fn sleep_offset() -> Seconds {
    Seconds(std::env::var(SLEEP_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}
