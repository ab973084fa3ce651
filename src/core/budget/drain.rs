//! A drain: a permission to pass the window's caps by a bounded amount, that ends by itself.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Budget;
use crate::core::quantity::{MicroUsd, Tokens, is_zero};

/// A permission to pass the window's caps. It ends at its time, or once one of its amounts is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// When it was given.
    pub since: DateTime<Utc>,
    /// When it ends.
    pub until: DateTime<Utc>,
    /// Tokens that may be spent beyond the cap.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tokens: Tokens,
    /// Dollars that may be spent beyond the cap.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost_usd: MicroUsd,
}

impl Budget {
    /// The tokens that may be spent in the window, a drain included.
    pub fn tokens_allowed(&self) -> Option<Tokens> {
        self.token_cap_total.map(|cap| cap + self.drain.map_or(Tokens(0), |drain| drain.tokens))
    }

    /// The money that may be spent in the window, a drain included.
    pub fn cost_allowed(&self) -> Option<MicroUsd> {
        self.cost_cap_usd.map(|cap| cap + self.drain.map_or(MicroUsd(0), |drain| drain.cost_usd))
    }

    /// Why the drain is over, where it is.
    pub fn drain_is_over(&self, now: DateTime<Utc>) -> Option<&'static str> {
        let drain = self.drain?;
        if drain.until <= now {
            return Some("its time has come");
        }
        let tokens = drain.tokens.0 > 0 && self.tokens_allowed().is_some_and(|allowed| self.tokens_spent >= allowed);
        let money = drain.cost_usd.0 > 0 && self.cost_allowed().is_some_and(|allowed| self.cost_spent_usd >= allowed);
        (tokens || money).then_some("its amount is used up")
    }

    /// Takes what was spent beyond the caps off the drain, before a new window begins.
    pub(super) fn use_up_drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        if let Some(cap) = self.token_cap_total {
            drain.tokens = drain.tokens - (self.tokens_spent - cap);
        }
        if let Some(cap) = self.cost_cap_usd {
            drain.cost_usd = drain.cost_usd - (self.cost_spent_usd - cap);
        }
        if drain.tokens.0 == 0 && drain.cost_usd.0 == 0 {
            self.drain = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::{Admission, Window};
    use crate::core::state::Reservation;

    fn ask(tokens: u64) -> Reservation {
        Reservation { tokens: Tokens(tokens), ..Reservation::default() }
    }

    #[test]
    fn a_drain_is_bounded_by_its_amount_across_windows_and_by_its_time() {
        let now: DateTime<Utc> = "2026-11-20T23:00:00Z".parse().expect("time");
        let until = now + chrono::TimeDelta::hours(6);
        let drain = Drain { since: now, until, tokens: Tokens(30), cost_usd: MicroUsd(0) };
        let mut budget = Budget {
            token_cap_total: Some(Tokens(100)),
            window: Window::UtcDay,
            window_started_at: Some(now),
            drain: Some(drain),
            ..Budget::default()
        };
        budget.book(crate::core::budget::Spend { tokens: Tokens(110), ..Default::default() }, now);
        assert_eq!(budget.admits(&ask(20)), Admission::Fits);
        assert!(matches!(budget.admits(&ask(21)), Admission::Over(_)));
        assert!(budget.roll(&ask(21), None, now + chrono::TimeDelta::hours(2)));
        assert_eq!(budget.tokens_allowed(), Some(Tokens(120)), "ten of the thirty were used");
        assert_eq!((budget.drain_is_over(now), budget.drain_is_over(until)), (None, Some("its time has come")));
        budget.tokens_spent = Tokens(120);
        assert_eq!(budget.drain_is_over(now), Some("its amount is used up"));
    }
}
