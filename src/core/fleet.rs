//! The fleet: every repository of this machine together, and what its day may cost. Types and sums; reading and locking
//! are not here.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, FleetDay, Places};
use super::fault::Faults;
use super::ids::Role;
use super::manifest::TimeLimit;
use super::quantity::{MicroUsd, Tokens};
use super::state::{Life, Stage};

/// `config.yaml` in home: what holds for every repository of this machine. Every key may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HomeConfig {
    /// Caps of all repositories together.
    pub fleet: FleetCaps,
    /// How long a fire over all subscribers waits for the tick of one. Default `60s`.
    pub tick_timeout: TimeLimit,
}

impl Default for HomeConfig {
    fn default() -> Self {
        Self { fleet: FleetCaps::default(), tick_timeout: TimeLimit::minutes(1) }
    }
}

impl HomeConfig {
    /// What is wrong beyond the shape. Places are JSON pointers.
    pub fn validate(&self) -> Faults {
        let mut faults = Faults::default();
        if self.fleet.agents_at_once == Some(0) {
            let says = "with no place for an agent every stage waits for ever; `autometta halt` stops a repository";
            faults.add(None, "/fleet/agents_at_once", says);
        }
        faults
    }
}

/// Caps of all repositories together: for one day, and at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FleetCaps {
    /// Tokens. Default: no cap.
    pub tokens_per_day: Option<Tokens>,
    /// Dollars. Default: no cap.
    pub cost_usd_per_day: Option<MicroUsd>,
    /// Whose midnight ends a day: `local` or `utc`. Default `local`.
    pub day: DayClock,
    /// The most runs of workers and verifiers in flight at once. Default: no cap.
    pub agents_at_once: Option<u64>,
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
        self.tokens_per_day.is_some() || self.cost_usd_per_day.is_some() || self.agents_at_once.is_some()
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
            places: self.agents_at_once.map(|most| {
                let taken = others.iter().fold(0_u64, |sum, share| sum.saturating_add(share.agents));
                Places { most, left: most.saturating_sub(taken) }
            }),
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
    /// Runs of workers and verifiers in flight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub agents: u64,
    /// Whether something waits for a place that an agent of another repository has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Share {
    /// A repository's share by its state and budget.
    pub fn of(repo: &str, stages: &[Stage], budget: &Budget, began: DateTime<Utc>) -> Self {
        let spent = budget.spent_since(began);
        Self {
            repo: repo.to_owned(),
            day_began: began,
            tokens_spent: spent.tokens,
            tokens_reserved: budget.tokens_reserved,
            cost_spent_usd: spent.cost_usd,
            cost_reserved_usd: budget.cost_reserved_usd,
            agents: agents(stages),
            waits: false,
        }
    }

    /// The same, where the fleet has places for so many agents: it says whether something waits for one.
    #[must_use]
    pub fn with_places(self, stages: &[Stage], budget: &Budget) -> Self {
        let waits = |stage: &Stage| match &stage.life {
            Life::Pending(pending) => pending.reason.as_ref().is_some_and(|reason| reason.code == NO_PLACE),
            Life::Verifying(verifying) => {
                verifying.seats.iter().any(|seat| seat.flight.is_none() && seat.vote.is_none())
            }
            _ => false,
        };
        Self { waits: !budget.halted && stages.iter().any(waits), ..self }
    }

    /// Whether it says what stands in state and budget of runs in flight.
    pub fn is_current(&self, stages: &[Stage], budget: &Budget) -> bool {
        (self.tokens_reserved, self.cost_reserved_usd, self.agents)
            == (budget.tokens_reserved, budget.cost_reserved_usd, agents(stages))
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
            agents: self.agents.max(before.agents),
            waits: self.waits || before.waits,
        }
    }
}

/// Whom to wake once a place is free, of those who wait: the first few behind this repository by path, and round again.
pub fn next_in_turn<'a>(own: &str, others: &'a [Share]) -> Vec<&'a str> {
    let mut waiting: Vec<&str> = others.iter().filter(|share| share.waits).map(|share| share.repo.as_str()).collect();
    waiting.sort_by_key(|repo| (*repo < own, *repo));
    waiting.truncate(WOKEN);
    waiting
}

/// The most repositories that the end of one agent wakes.
const WOKEN: usize = 8;

/// Why a stage is held that waits for a place.
pub const NO_PLACE: &str = "fleet-agents";

/// How many runs of workers and verifiers are in flight.
pub fn agents(stages: &[Stage]) -> u64 {
    let flights = stages.iter().flat_map(|stage| stage.life.flights());
    flights.filter(|flight| flight.run.role != Role::Gate).count() as u64
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
            agents: 0,
            waits: false,
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
    fn places_are_those_that_the_others_have_not_taken() {
        let caps = FleetCaps { agents_at_once: Some(4), ..FleetCaps::default() };
        assert!(caps.is_set());
        let began = DateTime::UNIX_EPOCH + TimeDelta::days(9);
        let left = |taken: &[u64]| {
            let others: Vec<Share> = taken.iter().map(|agents| Share { agents: *agents, ..share(8, 0, 0) }).collect();
            caps.left(&others, began, began + TimeDelta::days(1)).places.expect("places").left
        };
        assert_eq!((left(&[]), left(&[1, 2]), left(&[3, 4])), (4, 1, 0));
        let config = |text: &str| serde_json::from_str::<HomeConfig>(text).expect("config").validate();
        assert!(config("{}").is_empty() && config(r#"{"tick_timeout":"2m","fleet":{"agents_at_once":1}}"#).is_empty());
        assert_eq!(config(r#"{"fleet":{"agents_at_once":0}}"#).0[0].place, "/fleet/agents_at_once");
    }

    #[test]
    fn those_who_wait_are_woken_in_turn() {
        let named = |repo: &str, waits| Share { repo: repo.to_owned(), waits, ..share(9, 0, 0) };
        let others = [named("/d", true), named("/a", true), named("/c", false), named("/b", true)];
        assert_eq!(next_in_turn("/c", &others), ["/d", "/a", "/b"]);
        let many: Vec<Share> = (10..40).map(|number| named(&format!("/{number}"), true)).collect();
        assert_eq!(next_in_turn("/19", &many).first(), Some(&"/19"));
        assert_eq!(next_in_turn("/19", &many).len(), WOKEN);
    }

    #[test]
    fn a_share_under_way_says_the_greater_of_each_figure() {
        assert_eq!(share(9, 30, 0).or_more(&share(9, 10, 20)), share(9, 30, 20));
        assert_eq!(share(9, 30, 0).or_more(&share(8, 500, 20)), share(9, 30, 20), "yesterday's spend is over");
    }
}
