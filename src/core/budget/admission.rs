//! What the budget says to one more run.

use super::caps::{typed_dollars, typed_time, typed_tokens};
use super::{Budget, Halt, HaltReason};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::Reservation;

/// What the budget says to one more run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It fits.
    Fits,
    /// It does not fit beside what is set aside for runs in flight; it may once they have settled.
    Later(Vec<Halt>),
    /// It does not fit at all.
    Over(Vec<Halt>),
}

/// A cap on spend with its figures, and how they are said.
struct Cap {
    reason: HaltReason,
    spent: u64,
    reserved: u64,
    /// What runs in flight may take beyond what was set aside for them.
    beyond: u64,
    ask: u64,
    allowed: Option<u64>,
    show: fn(u64) -> String,
    raise: fn(u64) -> String,
}

impl Cap {
    fn detail(&self) -> String {
        let Self { spent, reserved, ask, show, .. } = *self;
        // What is asked for fits a cap of this; where nothing is asked for, one more than is spent is enough.
        let least = spent.saturating_add(reserved).saturating_add(ask.max(1));
        format!(
            "spent {} and reserved {}, the next run may take {}, the cap is {}; `autometta budget set {}` raises it",
            show(spent),
            show(reserved),
            show(ask),
            show(self.allowed.unwrap_or_default()),
            (self.raise)(least)
        )
    }
}

impl Budget {
    /// Asks whether one more run fits; sets nothing aside. Where it does not, every cap in its way is named, with its
    /// figures and the command that raises it.
    pub fn admits(&self, ask: &Reservation) -> Admission {
        self.admits_beside(ask, &Reservation::default())
    }

    /// The same beside runs in flight that may pass what was set aside for them, by so much together: a run is stopped
    /// after the turn that passes its cap, and where several do so at once, their turns would add up.
    pub fn admits_beside(&self, ask: &Reservation, beyond: &Reservation) -> Admission {
        let mut over = Vec::new();
        let mut later = Vec::new();
        let mut check = |cap: &Cap| {
            let Some(most) = cap.allowed else { return };
            let alone = cap.spent.saturating_add(cap.ask);
            // A run that takes nothing is stopped only once the cap is reached.
            if alone > most || (cap.ask == 0 && cap.spent >= most && cap.spent > 0) {
                over.push(Halt { reason: cap.reason, detail: cap.detail() });
            } else if alone.saturating_add(cap.reserved).saturating_add(cap.beyond) > most {
                later.push(Halt { reason: cap.reason, detail: cap.detail() });
            }
        };
        check(&Cap {
            reason: HaltReason::TokenCap,
            spent: self.tokens_spent.0,
            reserved: self.tokens_reserved.0,
            beyond: beyond.tokens.0,
            ask: ask.tokens.0,
            allowed: self.tokens_allowed().map(|cap| cap.0),
            show: |n| Tokens(n).to_string(),
            raise: |least| format!("--tokens {}", typed_tokens(least)),
        });
        check(&Cap {
            reason: HaltReason::CostCap,
            spent: self.cost_spent_usd.0,
            reserved: self.cost_reserved_usd.0,
            beyond: beyond.cost_usd.0,
            ask: ask.cost_usd.0,
            allowed: self.cost_allowed().map(|cap| cap.0),
            show: |n| MicroUsd(n).to_string(),
            raise: |least| format!("--cost {}", typed_dollars(least)),
        });
        check(&Cap {
            reason: HaltReason::WallClockCap,
            spent: self.wall_clock_elapsed_seconds.0,
            reserved: self.wall_clock_reserved_seconds.0,
            beyond: 0,
            ask: ask.seconds.0,
            allowed: self.wall_clock_cap_seconds.map(|cap| cap.0),
            show: |n| Seconds(n).to_string(),
            raise: |least| format!("--wall-clock {}", typed_time(least)),
        });
        over.extend(self.latched_caps());
        if !over.is_empty() {
            Admission::Over(over)
        } else if !later.is_empty() {
            Admission::Later(later)
        } else {
            Admission::Fits
        }
    }

    /// Caps that bind whatever a run would take: work ticks, consecutive failures, spend without a landing.
    fn latched_caps(&self) -> Vec<Halt> {
        let mut over = Vec::new();
        if let Some(cap) = self.clock_tick_cap
            && self.clock_ticks_used >= cap
        {
            let used = self.clock_ticks_used;
            let detail = format!(
                "{used} ticks did work, the cap is {cap}; `autometta budget set --ticks {}` raises it",
                used.saturating_add(100)
            );
            over.push(Halt { reason: HaltReason::TickCap, detail });
        }
        if let Some(cap) = self.consecutive_failure_cap
            && cap > 0
            && self.consecutive_failures >= cap
        {
            let detail = format!("{} stages in a row failed, the cap is {cap}", self.consecutive_failures);
            over.push(Halt { reason: HaltReason::FailureCap, detail });
        }
        over.extend(self.without_progress());
        over
    }

    /// Every cap on spend that is reached right now, whatever the next run would take.
    pub fn reached_caps(&self) -> Vec<Halt> {
        match self.admits(&Reservation::default()) {
            Admission::Over(over) => over,
            Admission::Fits | Admission::Later(_) => Vec::new(),
        }
    }
}
