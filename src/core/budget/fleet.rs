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
    /// Places for agents; none where the fleet has no cap on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub places: Option<Places>,
    /// Why nothing certain can be said, and the way out; then nothing is dispatched.
    pub fault: Option<String>,
}

/// Places for agents: runs of workers and verifiers in flight at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// How many there are.
    pub most: u64,
    /// How many the other repositories have not taken.
    pub left: u64,
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

impl FleetDay {
    /// How many more agents may start beside those of this repository that are in flight; none where that is not counted.
    pub fn room(&self, in_flight: u64) -> Option<u64> {
        Some(self.places?.left.saturating_sub(in_flight))
    }

    /// Why an agent has to wait for a place, where it has to. The words stay the same while it waits.
    pub fn refuses_agent(&self, in_flight: u64) -> Option<String> {
        if self.room(in_flight)? > 0 {
            return None;
        }
        let most = self.places?.most;
        Some(self.fault.clone().unwrap_or_else(|| {
            format!(
                "`fleet:` in config.yaml of autometta's home allows {most} agents at once over all repositories, and as many \
                 are in flight; it goes on by itself once one of them ends, and `autometta subscribers` shows where they are"
            )
        }))
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
        let mut day = FleetDay { began, ends, tokens: Some(Tokens(100)), cost_usd: None, places: None, fault: None };
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

    #[test]
    fn an_agent_waits_where_own_agents_fill_the_places_that_the_others_leave() {
        let at = DateTime::UNIX_EPOCH;
        let mut day = FleetDay { began: at, ends: at, tokens: None, cost_usd: None, places: None, fault: None };
        assert_eq!((day.room(9), day.refuses_agent(9)), (None, None));
        day.places = Some(Places { most: 4, left: 2 });
        assert_eq!((day.room(0), day.room(1), day.room(5)), (Some(2), Some(1), Some(0)));
        assert_eq!(day.refuses_agent(1), None);
        assert!(day.refuses_agent(2).is_some_and(|why| why.contains("allows 4 agents")));
        day.fault = Some("fleet/x.json is torn".to_owned());
        assert_eq!(day.refuses_agent(2).as_deref(), Some("fleet/x.json is torn"));
    }
}
