//! Time asleep: how long the machine slept between two ticks, told from two clocks of which one stands still meanwhile.
//!
//! Nobody's time limit and nobody's charge knows of it; it is only told, once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::Seconds;

/// A sleep that is no longer than this is not worth telling.
const WORTH_TELLING: Seconds = Seconds(60);

/// What two clocks of one boot show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readings {
    /// The clock that stands still while the machine sleeps.
    pub awake: Duration,
    /// The clock that goes on.
    pub always: Duration,
}

impl Readings {
    /// How long this boot has slept in all.
    pub fn asleep(self) -> Seconds {
        Seconds(self.always.saturating_sub(self.awake).as_secs())
    }
}

/// How long a boot of the machine has slept in all, at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asleep {
    /// Names the boot.
    pub boot_id: String,
    /// Since the boot.
    pub seconds: Seconds,
}

impl Asleep {
    /// How much of it came after `before`, which may be of an earlier boot, or unknown.
    pub fn since(&self, before: Option<&Self>) -> Seconds {
        match before {
            Some(before) if before.boot_id == self.boot_id => self.seconds - before.seconds,
            _ => self.seconds,
        }
    }
}

/// A sleep that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slept {
    /// The tick before it.
    pub from: DateTime<Utc>,
    /// The tick after it.
    pub until: DateTime<Utc>,
    /// How long it was: time between the two in which the machine was merely off does not count.
    pub seconds: Seconds,
    /// How long the boot has slept in all now, by which a sleep is known again.
    pub total: Asleep,
}

impl Slept {
    /// What two ticks tell, of which the earlier knew `before`; none where it is not worth telling, or where nothing is
    /// known of the time before.
    pub fn between(before: Option<(&Asleep, DateTime<Utc>)>, total: &Asleep, now: DateTime<Utc>) -> Option<Self> {
        let (before, from) = before?;
        let seconds = total.since(Some(before));
        (seconds > WORTH_TELLING).then(|| Self { from, until: now, seconds, total: total.clone() })
    }

    /// Whether it is the sleep that was told last: a tick that was killed before it could write its heartbeat leaves the
    /// next one to see the same sleep again.
    pub fn is_told(&self, last: Option<&Self>) -> bool {
        last.is_some_and(|last| {
            last.total.boot_id == self.total.boot_id && self.total.since(Some(&last.total)) <= WORTH_TELLING
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(boot_id: &str, seconds: u64) -> Asleep {
        Asleep { boot_id: boot_id.to_owned(), seconds: Seconds(seconds) }
    }

    #[test]
    fn the_clock_that_stood_still_tells_the_sleep() {
        let readings =
            |awake, always| Readings { awake: Duration::from_secs(awake), always: Duration::from_secs(always) };
        assert_eq!(readings(100, 3700).asleep(), Seconds(3600));
        // Both clocks are read one after the other.
        assert_eq!(readings(101, 100).asleep(), Seconds(0));
    }

    #[test]
    fn a_sleep_is_what_was_added_since_the_tick_before() {
        let now = DateTime::UNIX_EPOCH;
        let slept = |before: &Asleep, total: &Asleep| {
            Slept::between(Some((before, now)), total, now).map(|slept| slept.seconds)
        };
        assert_eq!(slept(&boot("a", 500), &boot("a", 4100)), Some(Seconds(3600)));
        assert_eq!(slept(&boot("a", 500), &boot("a", 560)), None);
        assert_eq!(slept(&boot("a", 500), &boot("a", 561)), Some(Seconds(61)));
        // Another boot has its own count, and being off is no sleep.
        assert_eq!(slept(&boot("a", 500), &boot("b", 0)), None);
        assert_eq!(slept(&boot("a", 500), &boot("b", 90)), Some(Seconds(90)));
        assert_eq!(Slept::between(None, &boot("a", 4100), now), None);
    }

    #[test]
    fn a_sleep_is_told_once() {
        let now = DateTime::UNIX_EPOCH;
        let slept = |total: &Asleep| Slept::between(Some((&boot("a", 0), now)), total, now).expect("slept");
        let told = slept(&boot("a", 4100));
        assert!(!told.is_told(None));
        assert!(told.is_told(Some(&told)));
        assert!(!told.is_told(Some(&slept(&boot("a", 100)))));
        assert!(!told.is_told(Some(&slept(&boot("b", 4100)))));
    }
}
