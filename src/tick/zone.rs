//! The clock on the operator's wall.

#![expect(clippy::disallowed_methods, reason = "TZ is how a process is told its time zone")]

use std::env;
use std::fs;

use chrono::{DateTime, Local, Offset as _, TimeDelta, Utc};

use crate::core::night::{Begun, Offset, Window, Zone};

/// How closely a change of the clock is looked for. Clocks change at full quarters of an hour.
const STEP_MINUTES: i64 = 15;
/// The most steps that are looked at: a month. A longer window keeps the last offset found.
const MOST_STEPS: i64 = 31 * 24 * 4;

/// The operator's zone, with every change of its clock within a window.
pub(super) fn of(window: &Window) -> Zone {
    let seconds = |at: DateTime<Utc>| at.with_timezone(&Local).offset().fix().local_minus_utc();
    let mut offsets = vec![Offset { from: window.from, seconds: seconds(window.from) }];
    // From full quarters, so that a change is found at its very minute.
    let step = STEP_MINUTES * 60;
    let first = (window.from.timestamp().div_euclid(step) + 1) * step;
    for number in 0..MOST_STEPS {
        let Some(at) = DateTime::from_timestamp(first + number * step, 0) else { break };
        if at > window.until + TimeDelta::minutes(STEP_MINUTES) {
            break;
        }
        let now = seconds(at);
        if offsets.last().is_some_and(|last| last.seconds != now) {
            offsets.push(Offset { from: at, seconds: now });
        }
    }
    Zone { name: name(), offsets }
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
}
