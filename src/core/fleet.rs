//! The fleet: every repository of this machine together, and what its day may cost. Types and sums; reading and locking
//! are not here.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, FleetDay};
use super::quantity::{MicroUsd, Tokens};

/// `config.yaml` in home: what holds for every repository of this machine. Every key may be left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HomeConfig {
    /// Caps of all repositories together.
    pub fleet: FleetCaps,
}

/// Caps of all repositories together, for one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FleetCaps {
    /// Tokens. Default: no cap.
    pub tokens_per_day: Option<Tokens>,
    /// Dollars. Default: no cap.
    pub cost_usd_per_day: Option<MicroUsd>,
    /// Whose midnight ends a day: `local` or `utc`. Default `local`.
    pub day: DayClock,
}

/// Whose midnight ends a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DayClock {
    /// That of this machine's clock.
    #[default]
    Local,
    /// That of UTC.
    Utc,
}

impl FleetCaps {
    /// Whether there is any cap.
    pub fn is_set(&self) -> bool {
        self.tokens_per_day.is_some() || self.cost_usd_per_day.is_some()
    }

    /// What the day leaves for one repository beside the shares of the others.
    pub fn left(&self, others: &[Share], began: DateTime<Utc>, ends: DateTime<Utc>) -> FleetDay {
        let tokens: Tokens = others.iter().map(|share| share.tokens(began)).sum();
        let cost: MicroUsd = others.iter().map(|share| share.cost(began)).sum();
        FleetDay {
            began,
            ends,
            tokens: self.tokens_per_day.map(|cap| cap - tokens),
            cost_usd: self.cost_usd_per_day.map(|cap| cap - cost),
            fault: None,
        }
    }
}

/// `fleet/<repo_id>.json`: what one repository has of the day. It may say too much for a moment, never too little.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The repository's path.
    pub repo: String,
    /// When the day began that it tells of.
    pub day_began: DateTime<Utc>,
    /// Tokens spent in that day.
    pub tokens_spent: Tokens,
    /// Tokens set aside for runs in flight.
    pub tokens_reserved: Tokens,
    /// Dollars spent in that day.
    pub cost_spent_usd: MicroUsd,
    /// Dollars set aside for runs in flight.
    pub cost_reserved_usd: MicroUsd,
}

impl Share {
    /// A repository's share by its budget.
    pub fn of(repo: &str, budget: &Budget, began: DateTime<Utc>) -> Self {
        let spent = budget.spent_since(began);
        Self {
            repo: repo.to_owned(),
            day_began: began,
            tokens_spent: spent.tokens,
            tokens_reserved: budget.tokens_reserved,
            cost_spent_usd: spent.cost_usd,
            cost_reserved_usd: budget.cost_reserved_usd,
        }
    }

    /// The tokens that it has of the day that began then. What is set aside counts whenever it was.
    pub fn tokens(&self, began: DateTime<Utc>) -> Tokens {
        self.tokens_reserved + if self.day_began >= began { self.tokens_spent } else { Tokens(0) }
    }

    /// The money that it has of that day.
    pub fn cost(&self, began: DateTime<Utc>) -> MicroUsd {
        self.cost_reserved_usd + if self.day_began >= began { self.cost_spent_usd } else { MicroUsd(0) }
    }

    /// What is to be on disk while this takes the place of another: of each figure the greater.
    #[must_use]
    pub fn or_more(&self, before: &Self) -> Self {
        let same_day = before.day_began >= self.day_began;
        let (tokens, cost) = if same_day { (before.tokens_spent, before.cost_spent_usd) } else { Default::default() };
        Self {
            repo: self.repo.clone(),
            day_began: self.day_began.max(before.day_began),
            tokens_spent: self.tokens_spent.max(tokens),
            tokens_reserved: self.tokens_reserved.max(before.tokens_reserved),
            cost_spent_usd: self.cost_spent_usd.max(cost),
            cost_reserved_usd: self.cost_reserved_usd.max(before.cost_reserved_usd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn share(day: i64, spent: u64, reserved: u64) -> Share {
        Share {
            repo: "/r".to_owned(),
            day_began: DateTime::UNIX_EPOCH + TimeDelta::days(day),
            tokens_spent: Tokens(spent),
            tokens_reserved: Tokens(reserved),
            cost_spent_usd: MicroUsd(spent),
            cost_reserved_usd: MicroUsd(reserved),
        }
    }

    #[test]
    fn what_is_left_is_the_cap_without_the_others_days_and_reservations() {
        let caps = FleetCaps { tokens_per_day: Some(Tokens(100)), ..FleetCaps::default() };
        let began = DateTime::UNIX_EPOCH + TimeDelta::days(9);
        let day = caps.left(&[share(9, 20, 5), share(8, 1000, 10)], began, began + TimeDelta::days(1));
        assert_eq!((day.tokens, day.cost_usd), (Some(Tokens(65)), None));
        let day = caps.left(&[share(9, 200, 0)], began, began + TimeDelta::days(1));
        assert_eq!(day.tokens, Some(Tokens(0)));
    }

    #[test]
    fn a_share_under_way_says_the_greater_of_each_figure() {
        assert_eq!(share(9, 30, 0).or_more(&share(9, 10, 20)), share(9, 30, 20));
        assert_eq!(share(9, 30, 0).or_more(&share(8, 500, 20)), share(9, 30, 20), "yesterday's spend is over");
    }
}
