//! What the budget says to one more run.

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

impl Budget {
    /// Asks whether one more run fits; sets nothing aside.
    pub fn admits(&self, ask: &Reservation) -> Admission {
        let mut over = Vec::new();
        let mut later = Vec::new();
        let mut check =
            |reason, spent: u64, reserved: u64, ask: u64, cap: Option<u64>, show: &dyn Fn(u64) -> String| {
                let Some(cap) = cap else { return };
                let alone = spent.saturating_add(ask);
                let detail = || {
                    format!(
                        "spent {} and reserved {}, the next run may take {}, the cap is {}",
                        show(spent),
                        show(reserved),
                        show(ask),
                        show(cap)
                    )
                };
                // A run that takes nothing is stopped only once the cap is reached.
                if alone > cap || (ask == 0 && spent >= cap && spent > 0) {
                    over.push(Halt { reason, detail: detail() });
                } else if alone.saturating_add(reserved) > cap {
                    later.push(Halt { reason, detail: detail() });
                }
            };
        let tokens = |n| Tokens(n).to_string();
        let money = |n| MicroUsd(n).to_string();
        let time = |n| Seconds(n).to_string();
        check(
            HaltReason::TokenCap,
            self.tokens_spent.0,
            self.tokens_reserved.0,
            ask.tokens.0,
            self.token_cap_total.map(|cap| cap.0),
            &tokens,
        );
        check(
            HaltReason::CostCap,
            self.cost_spent_usd.0,
            self.cost_reserved_usd.0,
            ask.cost_usd.0,
            self.cost_cap_usd.map(|cap| cap.0),
            &money,
        );
        check(
            HaltReason::WallClockCap,
            self.wall_clock_elapsed_seconds.0,
            self.wall_clock_reserved_seconds.0,
            ask.seconds.0,
            self.wall_clock_cap_seconds.map(|cap| cap.0),
            &time,
        );
        over.extend(self.latched_caps());
        if !over.is_empty() {
            Admission::Over(over)
        } else if !later.is_empty() {
            Admission::Later(later)
        } else {
            Admission::Fits
        }
    }

    /// Caps that bind whatever a run would take: work ticks and consecutive failures.
    fn latched_caps(&self) -> Vec<Halt> {
        let mut over = Vec::new();
        if let Some(cap) = self.clock_tick_cap
            && self.clock_ticks_used >= cap
        {
            let detail = format!("{} ticks did work, the cap is {cap}", self.clock_ticks_used);
            over.push(Halt { reason: HaltReason::TickCap, detail });
        }
        if let Some(cap) = self.consecutive_failure_cap
            && cap > 0
            && self.consecutive_failures >= cap
        {
            let detail = format!("{} stages in a row failed, the cap is {cap}", self.consecutive_failures);
            over.push(Halt { reason: HaltReason::FailureCap, detail });
        }
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
