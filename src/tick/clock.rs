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
    local_in(&Local, at)
}

fn local_in<Z: TimeZone>(zone: &Z, at: NaiveDateTime) -> Option<DateTime<Utc>> {
    first(zone, at).or_else(|| first(zone, at.checked_add_signed(TimeDelta::hours(1))?))
}

/// Adds to the time that this boot has slept, in seconds: for tests of machines that sleep. It moves no other clock.
pub const SLEEP_VARIABLE: &str = "AUTOMETTA_SLEEP_OFFSET";

/// What is added to the time that this boot has slept.
pub fn sleep_offset() -> Seconds {
    Seconds(std::env::var(SLEEP_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, NaiveDate};

    /// A zone that leaves out the hour from 02:00 on 29 March, and has the one from 02:00 on 25 October twice.
    #[derive(Debug, Clone)]
    struct Berlin;

    fn east(hours: i32) -> FixedOffset {
        FixedOffset::east_opt(hours * 3600).expect("offset")
    }

    fn time(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect(text)
    }

    impl TimeZone for Berlin {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }

        fn offset_from_local_date(&self, day: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            self.offset_from_local_datetime(&day.and_time(chrono::NaiveTime::MIN))
        }

        fn offset_from_local_datetime(&self, at: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            let fits =
                |hours: i32| self.offset_from_utc_datetime(&(*at - TimeDelta::hours(hours.into()))) == east(hours);
            match (fits(2), fits(1)) {
                // The wrong way round, as chrono's clock of this machine gives them.
                (true, true) => MappedLocalTime::Ambiguous(east(1), east(2)),
                (true, false) => MappedLocalTime::Single(east(2)),
                (false, true) => MappedLocalTime::Single(east(1)),
                (false, false) => MappedLocalTime::None,
            }
        }

        fn offset_from_utc_date(&self, day: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&day.and_time(chrono::NaiveTime::MIN))
        }

        fn offset_from_utc_datetime(&self, at: &NaiveDateTime) -> FixedOffset {
            let is_summer = (time("2026-03-29 01:00")..time("2026-10-25 01:00")).contains(at);
            east(if is_summer { 2 } else { 1 })
        }
    }

    #[test]
    fn a_time_that_a_change_of_the_clock_takes_or_repeats_has_one_moment() {
        for (typed, moment) in [
            ("2026-01-10 06:00", "2026-01-10T05:00:00+00:00"),
            ("2026-07-10 06:00", "2026-07-10T04:00:00+00:00"),
            ("2026-03-29 01:59", "2026-03-29T00:59:00+00:00"),
            ("2026-03-29 02:30", "2026-03-29T01:30:00+00:00"),
            ("2026-03-29 03:30", "2026-03-29T01:30:00+00:00"),
            ("2026-10-25 02:30", "2026-10-25T00:30:00+00:00"),
            ("2026-10-25 03:30", "2026-10-25T02:30:00+00:00"),
        ] {
            assert_eq!(local_in(&Berlin, time(typed)).map(|at| at.to_rfc3339()).as_deref(), Some(moment), "{typed}");
        }
    }
}
