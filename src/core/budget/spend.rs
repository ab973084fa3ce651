//! When what was spent: one entry for each quarter of an hour in which something was, so that a window can move on
//! without forgetting what still belongs to it.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Budget;
use crate::core::quantity::{MicroUsd, Seconds, Tokens, is_zero};

/// How long one entry is. Days begin at full quarters of an hour in every time zone in use.
const QUARTER_SECONDS: i64 = 15 * 60;
/// Entries that are kept at least: the longest day has 25 hours.
const DAY_ENTRIES: usize = 25 * 4 + 8;

/// An amount of everything that a cap counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    /// Tokens.
    pub tokens: Tokens,
    /// Money.
    pub cost_usd: MicroUsd,
    /// Time of runs.
    pub seconds: Seconds,
    /// Ticks that did work.
    pub ticks: u64,
}

impl Spend {
    fn add(&mut self, more: Self) {
        self.tokens += more.tokens;
        self.cost_usd += more.cost_usd;
        self.seconds += more.seconds;
        self.ticks = self.ticks.saturating_add(more.ticks);
    }
}

/// What was spent in one quarter of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// When the quarter began.
    pub from: DateTime<Utc>,
    /// Tokens of runs that were settled in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens: Tokens,
    /// Money, in dollars.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost_usd: MicroUsd,
    /// Time that those runs took.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: Seconds,
    /// Ticks that did work.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ticks: u64,
}

impl Bucket {
    /// When the quarter is over.
    fn until(&self) -> DateTime<Utc> {
        self.from.checked_add_signed(TimeDelta::seconds(QUARTER_SECONDS)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn spend(&self) -> Spend {
        Spend { tokens: self.tokens, cost_usd: self.cost_usd, seconds: self.seconds, ticks: self.ticks }
    }
}

/// The beginning of the quarter of an hour that holds a moment.
pub(super) fn quarter(at: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = at.timestamp().div_euclid(QUARTER_SECONDS) * QUARTER_SECONDS;
    DateTime::from_timestamp(seconds, 0).unwrap_or(at)
}

impl Budget {
    /// Counts what was spent now: for the window, for ever, since the last landing, and for its quarter of an hour.
    pub fn book(&mut self, spend: Spend, now: DateTime<Utc>) {
        self.know_spend(now);
        self.tokens_spent += spend.tokens;
        self.lifetime_tokens_spent += spend.tokens;
        self.cost_spent_usd += spend.cost_usd;
        self.lifetime_cost_usd += spend.cost_usd;
        self.wall_clock_elapsed_seconds += spend.seconds;
        self.clock_ticks_used = self.clock_ticks_used.saturating_add(spend.ticks);
        self.since_landing.add(spend);
        self.enter(spend, now);
    }

    /// Counts a tick that did work.
    pub fn count_tick(&mut self, now: DateTime<Utc>) {
        self.book(Spend { ticks: 1, ..Spend::default() }, now);
    }

    /// What was spent since a moment, a quarter of an hour that it divides included.
    pub fn spent_since(&self, moment: DateTime<Utc>) -> Spend {
        let mut sum = Spend::default();
        for bucket in self.spend.iter().filter(|bucket| bucket.until() > moment) {
            sum.add(bucket.spend());
        }
        sum
    }

    /// Puts spend of which nobody wrote down when it was into this quarter of an hour: it counts rather too long than
    /// too short.
    pub(super) fn know_spend(&mut self, now: DateTime<Utc>) {
        let known = Spend {
            tokens: self.tokens_spent,
            cost_usd: self.cost_spent_usd,
            seconds: self.wall_clock_elapsed_seconds,
            ticks: self.clock_ticks_used,
        };
        if self.spend.is_empty() {
            self.enter(known, now);
        }
    }

    fn enter(&mut self, spend: Spend, now: DateTime<Utc>) {
        if spend == Spend::default() {
            return;
        }
        // A clock that was set back must not carry spend out of the window that it belongs to.
        let from = quarter(self.window_started_at.map_or(now, |began| began.max(now)));
        let at = self.spend.partition_point(|bucket| bucket.from < from);
        if self.spend.get(at).is_none_or(|bucket| bucket.from != from) {
            let empty = Bucket { from, tokens: Tokens(0), cost_usd: MicroUsd(0), seconds: Seconds(0), ticks: 0 };
            self.spend.insert(at, empty);
        }
        let bucket = &mut self.spend[at];
        let mut sum = bucket.spend();
        sum.add(spend);
        *bucket = Bucket { from, tokens: sum.tokens, cost_usd: sum.cost_usd, seconds: sum.seconds, ticks: sum.ticks };
        let kept = self.window.hours().map_or(0, |hours| usize::from(hours) * 4 + 8).max(DAY_ENTRIES);
        let excess = self.spend.len().saturating_sub(kept);
        self.spend.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(count: u64) -> Spend {
        Spend { tokens: Tokens(count), ..Spend::default() }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("time")
    }

    #[test]
    fn spend_is_kept_by_quarters_of_an_hour_and_summed_from_a_moment() {
        let mut budget = Budget::default();
        for (time, count) in [("10:14", 1), ("10:15", 2), ("10:29", 4), ("10:30", 8), ("09:00", 16)] {
            budget.book(tokens(count), at(&format!("2026-11-20T{time}:00Z")));
        }
        assert_eq!(budget.spend.iter().map(|bucket| bucket.tokens.0).collect::<Vec<_>>(), [16, 1, 6, 8]);
        assert_eq!(budget.spent_since(at("2026-11-20T10:20:00Z")).tokens, Tokens(14), "the quarter is divided");
        assert_eq!(budget.spent_since(at("2026-11-20T10:30:00Z")).tokens, Tokens(8));
        assert_eq!((budget.tokens_spent, budget.lifetime_tokens_spent), (Tokens(31), Tokens(31)));
    }

    #[test]
    fn entries_are_bounded_and_old_spend_counts_as_of_now() {
        let mut budget = Budget { tokens_spent: Tokens(7), ..Budget::default() };
        budget.book(tokens(1), at("2026-11-20T10:14:00Z"));
        assert_eq!(budget.spend[0].tokens, Tokens(8));
        for hour in 0..200 {
            budget.book(tokens(1), at("2026-11-21T00:00:00Z") + TimeDelta::hours(hour));
        }
        assert_eq!(budget.spend.len(), DAY_ENTRIES);
    }
}
