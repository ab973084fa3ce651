//! A day's caps of all repositories of this machine together, as one of them sees them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Budget;
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::state::Reservation;

/// What the fleet's day leaves for one repository: its caps without what the others have spent and set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetDay {
    /// When the day began.
    pub began: DateTime<Utc>,
    /// When it ends.
    pub ends: DateTime<Utc>,
    /// Tokens; none where the fleet has no cap on them.
    pub tokens: Option<Tokens>,
    /// Money; none where the fleet has no cap on it.
    pub cost_usd: Option<MicroUsd>,
    /// Why nothing certain can be said, and the way out; then nothing is dispatched.
    pub fault: Option<String>,
}

impl FleetDay {
    /// Why a run has to wait, where it has to. The words stay the same while it waits.
    pub fn refuses(&self, budget: &Budget, ask: &Reservation) -> Option<String> {
        // A run that takes nothing of what is counted cannot pass a cap.
        if ask.tokens.0 == 0 && ask.cost_usd.0 == 0 {
            return None;
        }
        if let Some(fault) = &self.fault {
            return Some(fault.clone());
        }
        let spent = budget.spent_since(self.began);
        let mut over = Vec::new();
        let tokens = spent.tokens + budget.tokens_reserved + ask.tokens;
        if self.tokens.is_some_and(|left| tokens > left) {
            over.push(format!("{} tokens", ask.tokens));
        }
        let cost = spent.cost_usd + budget.cost_reserved_usd + ask.cost_usd;
        if self.cost_usd.is_some_and(|left| cost > left) {
            over.push(ask.cost_usd.to_string());
        }
        (!over.is_empty()).then(|| {
            format!(
                "the next run may take {}, and the fleet's day has less left; it goes on by itself after {}, or once \
                 `fleet:` in config.yaml of autometta's home allows more; see `autometta budget`",
                over.join(" and "),
                self.ends.format("%Y-%m-%d %H:%M UTC")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::Spend;

    #[test]
    fn a_run_waits_where_own_spend_own_reservations_and_its_own_worst_case_pass_what_is_left() {
        let began = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        let ends = began + chrono::TimeDelta::days(1);
        let mut day = FleetDay { began, ends, tokens: Some(Tokens(100)), cost_usd: None, fault: None };
        let ask = |tokens| Reservation { tokens: Tokens(tokens), ..Reservation::default() };
        let mut budget = Budget::default();
        budget.book(Spend { tokens: Tokens(500), ..Spend::default() }, began - chrono::TimeDelta::hours(1));
        budget.book(Spend { tokens: Tokens(30), ..Spend::default() }, began);
        budget.reserve(&ask(30));
        assert_eq!(day.refuses(&budget, &ask(40)), None);
        assert!(day.refuses(&budget, &ask(41)).is_some_and(|why| why.contains("41 tokens")));
        day.fault = Some("fleet/x.json is torn".to_owned());
        assert_eq!(day.refuses(&budget, &ask(1)).as_deref(), Some("fleet/x.json is torn"));
        assert_eq!(day.refuses(&budget, &ask(0)), None, "gates call no model");
    }
}
