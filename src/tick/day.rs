//! Days on the clock of this machine, as moments: the pure machine knows no time zones.

use chrono::{DateTime, Local, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};

use super::clock;

/// Quarters of an hour after midnight in which a day may begin that a change of the clock has cut.
const QUARTERS: i32 = 16;

/// When the present day began.
pub fn local_midnight(now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    began(&Local, now.with_timezone(&Local).date_naive())
}

/// When the next day begins.
pub fn next_local_midnight(now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    began(&Local, now.with_timezone(&Local).date_naive().succ_opt()?)
}

/// The first moment of a day: midnight, or what follows it where a change of the clock leaves midnight out.
fn began<Z: TimeZone>(zone: &Z, day: NaiveDate) -> Option<DateTime<Utc>> {
    let midnight = day.and_time(NaiveTime::MIN);
    (0..QUARTERS).find_map(|quarter| clock::first(zone, midnight + TimeDelta::minutes(15) * quarter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    #[test]
    fn a_day_begins_at_its_midnight_and_holds_now() {
        let zone = FixedOffset::east_opt(5 * 3600 + 45 * 60).expect("offset");
        let day = NaiveDate::from_ymd_opt(2026, 11, 21).expect("day");
        assert_eq!(began(&zone, day).map(|at| at.to_rfc3339()).as_deref(), Some("2026-11-20T18:15:00+00:00"));
        let now: DateTime<Utc> = "2026-11-21T11:00:00Z".parse().expect("time");
        let (from, until) = (local_midnight(now).expect("begin"), next_local_midnight(now).expect("end"));
        assert!(from <= now && now < until && (23..=25).contains(&(until - from).num_hours()), "{from} {until}");
    }
}
