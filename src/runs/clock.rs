//! The clocks of a run: the calendar for records, and one that stands still while the machine sleeps for limits.

#![expect(clippy::disallowed_methods, reason = "a supervisor has no tick to tell it the time")]

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use nix::time::{ClockId, clock_gettime};

use crate::core::sleep::Readings;

/// The calendar's time.
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// How long ago `then` was by the calendar; nothing where it lies in the future.
pub(super) fn since(then: SystemTime) -> Duration {
    SystemTime::now().duration_since(then).unwrap_or_default()
}

/// The clock that stands still while the machine sleeps, in nanoseconds since some fixed point of this boot.
///
/// `Instant` reads the same clock, but cannot be written to a file.
pub(super) fn awake_ns() -> u64 {
    u64::try_from(readings().awake.as_nanos()).unwrap_or(u64::MAX)
}

/// Both clocks of this boot: the one that stands still while the machine sleeps, and the one that does not.
///
/// Linux calls them `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME`; on macOS it is the monotonic clock that goes on.
pub fn readings() -> Readings {
    #[cfg(target_os = "macos")]
    let (awake, always) = (ClockId::from_raw(nix::libc::CLOCK_UPTIME_RAW), ClockId::CLOCK_MONOTONIC);
    #[cfg(not(target_os = "macos"))]
    let (awake, always) = (ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_BOOTTIME);
    let read = |clock: ClockId| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
    Readings { awake: read(awake), always: read(always) }
}
