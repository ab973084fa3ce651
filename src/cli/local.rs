//! The clock on this machine's wall, as people mean it who type a time of the day.

use chrono::{DateTime, Local, NaiveDateTime, TimeDelta, TimeZone, Utc};

/// The moment at which the local clock shows this. An hour that a change of the clock leaves out counts as the one after
/// it; of one that comes twice, the first is meant. None where it is never shown.
pub fn moment(at: NaiveDateTime) -> Option<DateTime<Utc>> {
    moment_in(&Local, at)
}

fn moment_in<Z: TimeZone>(zone: &Z, at: NaiveDateTime) -> Option<DateTime<Utc>> {
    let found = |at: NaiveDateTime| zone.from_local_datetime(&at).earliest();
    found(at).or_else(|| found(at.checked_add_signed(TimeDelta::hours(1))?)).map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, MappedLocalTime, NaiveDate};

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
                (true, true) => MappedLocalTime::Ambiguous(east(2), east(1)),
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
            assert_eq!(moment_in(&Berlin, time(typed)).map(|at| at.to_rfc3339()).as_deref(), Some(moment), "{typed}");
        }
    }
}
