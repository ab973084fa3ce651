//! Setting a run's worst case aside, and turning it into spend exactly once.

use chrono::{DateTime, Utc};

use super::{Budget, Spend};
use crate::core::exit::{Usage, UsageSource};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::Reservation;

/// What a run was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// Tokens.
    pub tokens: Tokens,
    /// Money.
    pub cost_usd: MicroUsd,
    /// Whether the usage was unknown, so that the reservation was charged.
    pub unknown: bool,
}

impl Budget {
    /// Sets a run's worst case aside.
    pub fn reserve(&mut self, ask: &Reservation) {
        self.tokens_reserved += ask.tokens;
        self.cost_reserved_usd += ask.cost_usd;
        self.wall_clock_reserved_seconds += ask.seconds;
    }

    /// Turns a run's reservation into spend. Unknown usage is charged at the reservation, never at zero.
    pub fn settle(&mut self, reserved: &Reservation, usage: &Usage, elapsed: Seconds, now: DateTime<Utc>) -> Charge {
        let unknown = usage.source == UsageSource::Unknown;
        let charge = Charge {
            tokens: if unknown { reserved.tokens } else { usage.total_tokens },
            cost_usd: if unknown {
                reserved.cost_usd
            } else {
                usage.cost_usd.unwrap_or_else(|| priced(reserved, usage))
            },
            unknown: unknown && (reserved.tokens.0 > 0 || reserved.cost_usd.0 > 0),
        };
        self.tokens_reserved = self.tokens_reserved - reserved.tokens;
        self.cost_reserved_usd = self.cost_reserved_usd - reserved.cost_usd;
        self.wall_clock_reserved_seconds = self.wall_clock_reserved_seconds - reserved.seconds;
        self.book(Spend { tokens: charge.tokens, cost_usd: charge.cost_usd, seconds: elapsed, ticks: 0 }, now);
        charge
    }
}

/// The price of known tokens that nobody has priced, as in the records of runs ordered before orders carried rates: the
/// reservation's dollars per token.
fn priced(reserved: &Reservation, usage: &Usage) -> MicroUsd {
    if reserved.tokens.0 == 0 {
        return reserved.cost_usd;
    }
    let price = u128::from(reserved.cost_usd.0) * u128::from(usage.total_tokens.0) / u128::from(reserved.tokens.0);
    MicroUsd(u64::try_from(price).unwrap_or(u64::MAX))
}
