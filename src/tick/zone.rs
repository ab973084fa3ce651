//! The clock on the operator's wall.

#![expect(clippy::disallowed_methods, reason = "TZ is how a process is told its time zone")]

use std::env;
use std::fs;

use chrono::{DateTime, Local, Offset as _, TimeDelta, Utc};

use crate::core::night::{Begun, Offset, Window, Zone};

/// How closely a change of the clock is looked for, in seconds. Clocks change at full quarters of an hour.
const QUARTER: i64 = 15 * 60;
/// How many quarters are passed over at once where the clock is the same at both ends: no clock changes there and back
/// within six hours.
const STRIDE: i64 = 6 * 4;
/// The most strides that are looked at: a month. A longer window keeps the last offset found.
const MOST_STRIDES: i64 = 31 * 4;

/// The operator's zone, with every change of its clock within a window.
pub(super) fn of(window: &Window) -> Zone {
    let seconds = |at: DateTime<Utc>| at.with_timezone(&Local).offset().fix().local_minus_utc();
    Zone { name: name(), offsets: offsets(window, &seconds) }
}

/// The offset at a window's begin, and every later one of a clock that has so many seconds at a moment.
fn offsets(window: &Window, seconds: &dyn Fn(DateTime<Utc>) -> i32) -> Vec<Offset> {
    let mut last = Offset { from: window.from, seconds: seconds(window.from) };
    let mut offsets = vec![last];
    let end = window.until + TimeDelta::seconds(QUARTER);
    // From full quarters, so that a change is found at its very minute.
    let first = (window.from.timestamp().div_euclid(QUARTER) + 1) * QUARTER;
    let quarter = |number: i64| DateTime::from_timestamp(first + number * QUARTER, 0).filter(|at| *at <= end);
    for begin in (0..MOST_STRIDES).map(|stride| stride * STRIDE) {
        if quarter(begin + STRIDE - 1).is_some_and(|at| seconds(at) == last.seconds) {
            continue;
        }
        for from in (begin..begin + STRIDE).map_while(quarter) {
            let now = seconds(from);
            if now != last.seconds {
                last = Offset { from, seconds: now };
                offsets.push(last);
            }
        }
    }
    offsets
}

/// The operator's zone around now, for times of the day.
pub(super) fn around(now: DateTime<Utc>) -> Zone {
    let ahead = TimeDelta::days(8);
    of(&Window { from: now, until: now.checked_add_signed(ahead).unwrap_or(now), begun: Begun::NeverRan })
}

/// The zone's name in the tz database, where something says it: `TZ`, or what `/etc/localtime` points to.
fn name() -> Option<String> {
    let name = match env::var("TZ") {
        Ok(name) => name.trim_start_matches(':').to_owned(),
        Err(_) => {
            let target = fs::read_link("/etc/localtime").ok()?;
            let (_, name) = target.to_str()?.split_once("zoneinfo/")?;
            name.to_owned()
        }
    };
    // `TZ=CET-1CEST,M3.5.0,…` is a rule and no name; a path is no name either.
    let is_name = name.contains('/') && !name.starts_with('/') && name.len() <= 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    (is_name && name.chars().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_at_least_the_offset_of_its_begin() {
        let from = DateTime::<Utc>::UNIX_EPOCH;
        let zone = of(&Window { from, until: from, begun: Begun::NeverRan });
        assert_eq!(zone.offsets.first().map(|offset| offset.from), Some(from));
        assert_eq!(*zone.local(from).offset(), from.with_timezone(&Local).offset().fix());
    }

    #[test]
    fn every_change_of_the_clock_is_found_at_its_quarter() {
        let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(77);
        for change in 0..200 {
            let (forth, back) = (change * QUARTER, change * QUARTER + 26 * 3600);
            let clock = |at: DateTime<Utc>| if (forth..back).contains(&at.timestamp()) { 7200 } else { 3600 };
            for hours in [0, 1, 24, 90] {
                let until = start + TimeDelta::hours(hours);
                let found = offsets(&Window { from: start, until, begun: Begun::NeverRan }, &clock);
                let mut expected = vec![(start.timestamp(), clock(start))];
                for (at, seconds) in [(forth, 7200), (back, 3600)] {
                    if (start.timestamp() + 1..=until.timestamp() + QUARTER).contains(&at) {
                        expected.push((at, seconds));
                    }
                }
                let found: Vec<_> = found.iter().map(|offset| (offset.from.timestamp(), offset.seconds)).collect();
                assert_eq!(found, expected, "{change} {hours}");
            }
        }
    }
}
