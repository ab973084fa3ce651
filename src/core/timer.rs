//! `timer.json` in home: the timer that was installed, so that what reads the state can tell a late tick from a quiet
//! night without asking a scheduler.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::Seconds;

/// How much later than its interval a tick may come before it counts as late: schedulers fire on whole minutes, and a
/// fire takes its time over a fleet.
const SLACK: Seconds = Seconds(60);

/// What fires the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// The user's crontab.
    Cron,
    /// A macOS `LaunchAgent`.
    Launchd,
    /// A systemd user timer.
    Systemd,
}

impl Scheduler {
    /// Its name, as it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Launchd => "launchd",
            Self::Systemd => "systemd",
        }
    }
}

/// The timer that serves this home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimerRecord {
    /// What fires it.
    pub scheduler: Scheduler,
    /// Seconds between two fires.
    pub every_seconds: Seconds,
    /// When it was installed.
    pub installed_at: DateTime<Utc>,
    /// The program that it starts.
    pub exe: PathBuf,
    /// The variables that its entry sets; the scheduler adds its own.
    pub env: BTreeMap<String, String>,
}

impl TimerRecord {
    /// When the newest tick is too old: two intervals after it, and a minute. Before the first tick, the installation
    /// counts as one.
    pub fn late_at(&self, last_tick: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let from = last_tick.map_or(self.installed_at, |tick| tick.max(self.installed_at));
        let seconds = self.every_seconds.0.saturating_mul(2).saturating_add(SLACK.0);
        let span = chrono::TimeDelta::try_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
        span.and_then(|span| from.checked_add_signed(span)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Whether a tick is overdue.
    pub fn is_late(&self, last_tick: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        now > self.late_at(last_tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_tick_is_late_after_two_intervals_and_a_minute() {
        let t = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        let record = TimerRecord {
            scheduler: Scheduler::Cron,
            every_seconds: Seconds(300),
            installed_at: t,
            exe: PathBuf::from("/usr/bin/autometta"),
            env: BTreeMap::new(),
        };
        for (last, now, late) in [
            (None, t + TimeDelta::seconds(660), false),
            (None, t + TimeDelta::seconds(661), true),
            (Some(t + TimeDelta::hours(1)), t + TimeDelta::seconds(4260), false),
            (Some(t + TimeDelta::hours(1)), t + TimeDelta::seconds(4261), true),
            // A tick from before the installation says nothing about this timer.
            (Some(t - TimeDelta::days(3)), t + TimeDelta::seconds(60), false),
            // A clock that was set back is not late.
            (Some(t + TimeDelta::days(1)), t, false),
        ] {
            assert_eq!(record.is_late(last, now), late, "{last:?} {now}");
        }
        assert!(!TimerRecord { every_seconds: Seconds(u64::MAX), ..record }.is_late(None, t));
    }
}
