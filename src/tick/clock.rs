//! The one place that reads the calendar.

#![expect(clippy::disallowed_methods, reason = "this is the one place that reads the calendar")]

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use crate::core::quantity::Seconds;

/// Shifts the calendar, in seconds: for tests of clocks that jump. It moves no time limit of a run.
pub const OFFSET_VARIABLE: &str = "AUTOMETTA_CLOCK_OFFSET";

/// Now, in whole milliseconds.
pub fn now() -> DateTime<Utc> {
    let offset = std::env::var(OFFSET_VARIABLE).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let now = Utc::now().trunc_subsecs(3);
    TimeDelta::try_seconds(offset).and_then(|offset| now.checked_add_signed(offset)).unwrap_or(now)
}

/// Adds to the time that this boot has slept, in seconds: for tests of machines that sleep. It moves no other clock.
pub const SLEEP_VARIABLE: &str = "AUTOMETTA_SLEEP_OFFSET";

/// What is added to the time that this boot has slept.
pub fn sleep_offset() -> Seconds {
    Seconds(std::env::var(SLEEP_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}
