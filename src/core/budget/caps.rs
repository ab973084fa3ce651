//! What a person may change about caps, and the figures that tell what to say.

use chrono::{DateTime, Utc};

use super::{Budget, Window};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};

/// Caps as they are to be. The outer none leaves a cap as it is; the inner none takes it away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapChange {
    /// Tokens of the window.
    pub tokens: Option<Option<Tokens>>,
    /// Money of the window.
    pub cost_usd: Option<Option<MicroUsd>>,
    /// Time of runs of the window.
    pub wall_clock: Option<Option<Seconds>>,
    /// Ticks of the window that may do work.
    pub ticks: Option<Option<u64>>,
    /// Failures in a row.
    pub failures: Option<Option<u64>>,
    /// Tokens without a landing.
    pub no_progress_tokens: Option<Option<Tokens>>,
    /// Money without a landing.
    pub no_progress_cost: Option<Option<MicroUsd>>,
    /// Working ticks without a landing.
    pub no_progress_ticks: Option<Option<u64>>,
    /// The window.
    pub window: Option<Window>,
}

impl Budget {
    /// Changes caps, and says what has changed; nothing where all of it was so already.
    pub fn set_caps(&mut self, change: &CapChange, now: DateTime<Utc>) -> Vec<String> {
        let mut said = Vec::new();
        set("tokens", &mut self.token_cap_total, change.tokens, &mut said);
        set("cost", &mut self.cost_cap_usd, change.cost_usd, &mut said);
        set("wall clock", &mut self.wall_clock_cap_seconds, change.wall_clock, &mut said);
        set("ticks", &mut self.clock_tick_cap, change.ticks, &mut said);
        set("failures in a row", &mut self.consecutive_failure_cap, change.failures, &mut said);
        set("tokens without a landing", &mut self.no_progress.tokens, change.no_progress_tokens, &mut said);
        set("cost without a landing", &mut self.no_progress.cost_usd, change.no_progress_cost, &mut said);
        set("ticks without a landing", &mut self.no_progress.ticks, change.no_progress_ticks, &mut said);
        if let Some(window) = change.window
            && window != self.window
        {
            self.know_spend(now);
            said.push(format!("window {} → {window}", self.window));
            self.window = window;
        }
        said
    }
}

fn set<T: Copy + PartialEq + std::fmt::Display>(
    name: &str,
    cap: &mut Option<T>,
    change: Option<Option<T>>,
    said: &mut Vec<String>,
) {
    let Some(wanted) = change.filter(|wanted| wanted != cap) else { return };
    let words = |cap: Option<T>| cap.map_or_else(|| "none".to_owned(), |cap| cap.to_string());
    said.push(format!("{name} {} → {}", words(*cap), words(wanted)));
    *cap = wanted;
}

/// A number of tokens that is no less than this one, short to type: `23M`, `450k`, `812`.
pub(super) fn typed_tokens(least: u64) -> String {
    for (unit, letter) in [(1_000_000, "M"), (1_000, "k")] {
        if least >= unit {
            return format!("{}{letter}", least.div_ceil(unit));
        }
    }
    least.to_string()
}

/// An amount of dollars that is no less than this one, short to type.
pub(super) fn typed_dollars(least: u64) -> String {
    let cents = least.div_ceil(10_000);
    if cents.is_multiple_of(100) { (cents / 100).to_string() } else { format!("{}.{:02}", cents / 100, cents % 100) }
}

/// A length of time that is no less than this one, short to type.
pub(super) fn typed_time(least: u64) -> String {
    match least {
        0..60 => format!("{}s", least.max(1)),
        60..3600 => format!("{}m", least.div_ceil(60)),
        _ => format!("{}h", least.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suggested_is_enough_and_short() {
        for (least, typed) in [(812, "812"), (450_000, "450k"), (999_001, "1000k"), (22_000_001, "23M")] {
            assert_eq!(typed_tokens(least), typed);
        }
        for (least, typed) in [(5_000_000, "5"), (5_000_001, "5.01"), (12_500_000, "12.50"), (1, "0.01")] {
            assert_eq!(typed_dollars(least), typed);
        }
        for (least, typed) in [(0, "1s"), (59, "59s"), (61, "2m"), (3601, "2h")] {
            assert_eq!(typed_time(least), typed);
        }
    }

    #[test]
    fn only_what_changes_is_said() {
        let mut budget = Budget { token_cap_total: Some(Tokens(10)), ..Budget::default() };
        let change = CapChange {
            tokens: Some(Some(Tokens(3_000_000))),
            cost_usd: Some(None),
            window: Some(Window::UtcDay),
            ..CapChange::default()
        };
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(budget.set_caps(&change, now), ["tokens 10 → 3,000,000", "window none → utc-day"]);
        assert!(budget.set_caps(&change, now).is_empty());
    }
}
