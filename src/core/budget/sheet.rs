//! Every cap with its figures, as a person asks for them; the next dispatch is asked about at the door's own function.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::caps::{typed_dollars, typed_time, typed_tokens};
use super::{Admission, Breach, Budget, Drain, Halt, Pause, SinceLanding, Start, Window};
use crate::core::quantity::{MicroUsd, Seconds, Tokens, grouped};
use crate::core::state::Reservation;

/// What one figure of a cap is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Model tokens.
    Tokens,
    /// Millionths of a US dollar.
    MicroUsd,
    /// Seconds.
    Seconds,
    /// A plain number.
    Count,
}

impl Unit {
    /// An amount of it, as people read it.
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Tokens => Tokens(amount).to_string(),
            Self::MicroUsd => MicroUsd(amount).to_string(),
            Self::Seconds => Seconds(amount).to_string(),
            Self::Count => grouped(amount),
        }
    }

    /// The option of `autometta budget set` that raises the cap on it to no less than this.
    pub fn raised_to(self, least: u64) -> String {
        match self {
            Self::Tokens => format!("--tokens {}", typed_tokens(least)),
            Self::MicroUsd => format!("--cost {}", typed_dollars(least)),
            Self::Seconds => format!("--wall-clock {}", typed_time(least)),
            Self::Count => format!("--ticks {least}"),
        }
    }
}

/// One cap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CapLine {
    /// Its name: `tokens`, `cost`, `wall-clock`, `ticks`, `failures`, and what `since-landing-` and `fleet-` begin.
    pub name: &'static str,
    /// What its figures are counted in.
    pub unit: Unit,
    /// What is spent.
    pub spent: u64,
    /// What is set aside for runs in flight.
    pub reserved: u64,
    /// The cap, a drain included; none where there is no cap.
    pub cap: Option<u64>,
    /// What is left of it.
    pub left: Option<u64>,
}

impl CapLine {
    /// A cap with what is left of it.
    pub fn new(name: &'static str, unit: Unit, spent: u64, reserved: u64, cap: Option<u64>) -> Self {
        let left = cap.map(|cap| cap.saturating_sub(spent).saturating_sub(reserved));
        Self { name, unit, spent, reserved, cap, left }
    }
}

/// What the next dispatch would take, and what the budget says to it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NextAsk {
    /// What would start: a stage and who runs for it.
    pub what: String,
    /// What would be set aside.
    pub ask: Reservation,
    /// Whether it fits now.
    pub fits: bool,
    /// What is in its way, with the figures and the way out.
    pub in_the_way: Vec<Halt>,
}

/// The budget, as `autometta budget --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Sheet {
    /// When it was looked at.
    pub at: DateTime<Utc>,
    /// Every cap of the window, and what else binds.
    pub caps: Vec<CapLine>,
    /// What the window is.
    pub window: Window,
    /// When it began.
    pub window_started_at: Option<DateTime<Utc>>,
    /// From when on it may move on, where the clock moves it at all.
    pub window_rolls_at: Option<DateTime<Utc>>,
    /// Tokens spent since `init`.
    pub lifetime_tokens: Tokens,
    /// Dollars spent since `init`.
    pub lifetime_cost_usd: MicroUsd,
    /// What was spent since something landed.
    pub since_landing: SinceLanding,
    /// The permission to pass the caps.
    pub drain: Option<Drain>,
    /// Why the repository is halted.
    pub halts: Vec<Halt>,
    /// Families that wait for their provider.
    pub pauses: Vec<Pause>,
    /// Caps that were reached in earlier windows, oldest first.
    pub breaches: Vec<Breach>,
    /// What the next dispatch would take; none where nothing waits to be dispatched.
    pub next: Option<NextAsk>,
    /// What else holds the next dispatch: the fleet's day, or that it could not be told.
    pub held: Option<String>,
}

impl Budget {
    /// Every cap with its figures.
    pub fn sheet(&self, rolls_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Sheet {
        let (since, limit) = (self.since_landing, self.no_progress);
        let line = CapLine::new;
        let mut caps = vec![
            line(
                "tokens",
                Unit::Tokens,
                self.tokens_spent.0,
                self.tokens_reserved.0,
                self.tokens_allowed().map(|cap| cap.0),
            ),
            line(
                "cost",
                Unit::MicroUsd,
                self.cost_spent_usd.0,
                self.cost_reserved_usd.0,
                self.cost_allowed().map(|cap| cap.0),
            ),
            line(
                "wall-clock",
                Unit::Seconds,
                self.wall_clock_elapsed_seconds.0,
                self.wall_clock_reserved_seconds.0,
                self.wall_clock_cap_seconds.map(|cap| cap.0),
            ),
            line("ticks", Unit::Count, self.clock_ticks_used, 0, self.clock_tick_cap),
            line("failures", Unit::Count, self.consecutive_failures, 0, self.consecutive_failure_cap),
        ];
        let without = [
            ("since-landing-tokens", Unit::Tokens, since.tokens.0, limit.tokens.map(|most| most.0)),
            ("since-landing-cost", Unit::MicroUsd, since.cost_usd.0, limit.cost_usd.map(|most| most.0)),
            ("since-landing-ticks", Unit::Count, since.ticks, limit.ticks),
        ];
        let limited = without.into_iter().filter(|(.., most)| most.is_some());
        caps.extend(limited.map(|(name, unit, spent, most)| line(name, unit, spent, 0, most)));
        Sheet {
            at: now,
            caps,
            window: self.window,
            window_started_at: self.window_started_at,
            window_rolls_at: rolls_at,
            lifetime_tokens: self.lifetime_tokens_spent,
            lifetime_cost_usd: self.lifetime_cost_usd,
            since_landing: since,
            drain: self.drain,
            halts: self.halt_reasons.clone(),
            pauses: self.waits(now),
            breaches: self.breaches.clone(),
            next: None,
            held: None,
        }
    }

    /// What the budget would say to a dispatch now, its window moved on where it would be.
    pub fn asked(
        &self,
        what: String,
        start: &Start,
        beyond: &Reservation,
        local_midnight: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> NextAsk {
        let mut budget = self.clone();
        if budget.drain_is_over(now).is_some() {
            budget.drain = None;
        }
        budget.roll(&start.room, local_midnight, now);
        let in_the_way = match budget.admits_beside(&start.room, beyond) {
            Admission::Fits => Vec::new(),
            Admission::Later(halts) | Admission::Over(halts) => halts,
        };
        NextAsk { what, ask: start.ask, fits: in_the_way.is_empty(), in_the_way }
    }
}
