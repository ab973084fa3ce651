//! Caps, spend and reservations: what may be dispatched, and what a run is charged.
//!
//! The one rule: a run is dispatched only where spent + reserved + its own reservation stays within every cap, and a
//! reservation is turned into spend exactly once, in the transaction that takes the run out of flight.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exit::{Usage, UsageSource};
use super::ids::FamilyName;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::state::Reservation;

/// `budget.json`. A cap that is absent or null does not bind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The document's version.
    pub version: BudgetVersion,
    /// The most tokens that may be spent in the window.
    pub token_cap_total: Option<Tokens>,
    /// Tokens spent in the window.
    pub tokens_spent: Tokens,
    /// Tokens set aside for runs in flight.
    pub tokens_reserved: Tokens,
    /// Tokens spent since `init`; never reset.
    pub lifetime_tokens_spent: Tokens,
    /// The most money that may be spent in the window, in dollars.
    pub cost_cap_usd: Option<MicroUsd>,
    /// Money spent in the window, in dollars.
    pub cost_spent_usd: MicroUsd,
    /// Money set aside for runs in flight, in dollars.
    pub cost_reserved_usd: MicroUsd,
    /// Money spent since `init`, in dollars; never reset.
    pub lifetime_cost_usd: MicroUsd,
    /// The longest that all runs together may take in the window.
    pub wall_clock_cap_seconds: Option<Seconds>,
    /// How long all runs of the window took, while the machine was awake.
    pub wall_clock_elapsed_seconds: Seconds,
    /// Wall-clock time set aside for runs in flight.
    pub wall_clock_reserved_seconds: Seconds,
    /// The most ticks that may do work in the window.
    pub clock_tick_cap: Option<u64>,
    /// Ticks that did work.
    pub clock_ticks_used: u64,
    /// Ticks that found nothing to do.
    pub idle_ticks_used: u64,
    /// How many stages in a row may fail before the repository halts.
    pub consecutive_failure_cap: Option<u64>,
    /// How many stages in a row have failed.
    pub consecutive_failures: u64,
    /// Whether nothing is dispatched until a person says `resume`.
    pub halted: bool,
    /// The first of the reasons.
    pub halt_reason: Option<HaltReason>,
    /// Every reason, with its figures.
    pub halt_reasons: Vec<Halt>,
    /// Since when.
    pub halted_at: Option<DateTime<Utc>>,
    /// Families that wait for their provider.
    pub pauses: Vec<Pause>,
    /// When the window began.
    pub window_started_at: Option<DateTime<Utc>>,
    /// Caps that were reached in earlier windows.
    pub breaches: Vec<Breach>,
}

/// The version of `budget.json`: always 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
pub struct BudgetVersion(#[schemars(range(min = 2, max = 2))] u32);

impl Default for BudgetVersion {
    fn default() -> Self {
        Self(2)
    }
}

impl TryFrom<u32> for BudgetVersion {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        if version == 2 { Ok(Self(2)) } else { Err(format!("version {version} is not one that this autometta reads")) }
    }
}

impl From<BudgetVersion> for u32 {
    fn from(version: BudgetVersion) -> Self {
        version.0
    }
}

/// Why a repository is halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HaltReason {
    /// `token_cap_total`
    TokenCap,
    /// `cost_cap_usd`
    CostCap,
    /// `wall_clock_cap_seconds`
    WallClockCap,
    /// `clock_tick_cap`
    TickCap,
    /// `consecutive_failure_cap`
    FailureCap,
    /// `state.yaml` cannot be read and cannot be restored.
    StateCorrupt,
    /// An agent cannot be started as it is configured.
    DispatchConfigurationFault,
    /// Spend without a landing.
    NoProgress,
    /// A worker put commits onto the base branch by itself, which nobody has judged.
    BaseWritten,
    /// A person said `halt`.
    Operator,
}

impl HaltReason {
    /// The word in `budget.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenCap => "token-cap",
            Self::CostCap => "cost-cap",
            Self::WallClockCap => "wall-clock-cap",
            Self::TickCap => "tick-cap",
            Self::FailureCap => "failure-cap",
            Self::StateCorrupt => "state-corrupt",
            Self::DispatchConfigurationFault => "dispatch-configuration-fault",
            Self::NoProgress => "no-progress",
            Self::BaseWritten => "base-written",
            Self::Operator => "operator",
        }
    }

    /// Whether it is a cap on spend, which `resume` does not lift while it is still over.
    pub fn is_spend_cap(self) -> bool {
        matches!(self, Self::TokenCap | Self::CostCap | Self::WallClockCap | Self::TickCap)
    }
}

/// One reason for a halt, with its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    /// Which.
    pub reason: HaltReason,
    /// What is over, or what the agent said, and the way out.
    pub detail: String,
}

/// A family that waits for its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The family.
    pub family: FamilyName,
    /// When it may be asked again.
    pub until: DateTime<Utc>,
    /// The provider's words.
    pub reason: String,
}

/// A cap that was reached in an earlier window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breach {
    /// When the window was closed.
    pub at: DateTime<Utc>,
    /// Which cap.
    pub reason: HaltReason,
    /// Its figures.
    pub detail: String,
}

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

    /// Sets a run's worst case aside.
    pub fn reserve(&mut self, ask: &Reservation) {
        self.tokens_reserved += ask.tokens;
        self.cost_reserved_usd += ask.cost_usd;
        self.wall_clock_reserved_seconds += ask.seconds;
    }

    /// Turns a run's reservation into spend. Unknown usage is charged at the reservation, never at zero.
    pub fn settle(&mut self, reserved: &Reservation, usage: &Usage, elapsed: Seconds) -> Charge {
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
        self.tokens_spent += charge.tokens;
        self.lifetime_tokens_spent += charge.tokens;
        self.cost_spent_usd += charge.cost_usd;
        self.lifetime_cost_usd += charge.cost_usd;
        self.wall_clock_elapsed_seconds += elapsed;
        charge
    }

    /// Latches a halt; reasons that stand already are brought up to date, not repeated. True when that is news.
    pub fn halt(&mut self, halts: Vec<Halt>, now: DateTime<Utc>) -> bool {
        let mut news = false;
        for halt in halts {
            match self.halt_reasons.iter_mut().find(|known| known.reason == halt.reason) {
                Some(known) => known.detail = halt.detail,
                None => {
                    news = true;
                    self.halt_reasons.push(halt);
                }
            }
        }
        if news && !self.halted {
            self.halted = true;
            self.halted_at = Some(now);
        }
        self.halt_reason = self.halt_reasons.first().map(|halt| halt.reason);
        news
    }

    /// Pauses a family until a time; a pause that ends later stays.
    pub fn pause(&mut self, family: &FamilyName, until: DateTime<Utc>, reason: &str) {
        match self.pauses.iter_mut().find(|pause| pause.family == *family) {
            Some(pause) if pause.until >= until => {}
            Some(pause) => *pause = Pause { family: family.clone(), until, reason: reason.to_owned() },
            None => self.pauses.push(Pause { family: family.clone(), until, reason: reason.to_owned() }),
        }
    }

    /// The pause that binds a family now.
    pub fn paused(&self, family: &FamilyName, now: DateTime<Utc>) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.family == *family && pause.until > now)
    }
}

/// The price of known tokens whose cost the CLI does not tell: the reservation's dollars per token.
fn priced(reserved: &Reservation, usage: &Usage) -> MicroUsd {
    if reserved.tokens.0 == 0 {
        return reserved.cost_usd;
    }
    let price = u128::from(reserved.cost_usd.0) * u128::from(usage.total_tokens.0) / u128::from(reserved.tokens.0);
    MicroUsd(u64::try_from(price).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(tokens: u64) -> Reservation {
        Reservation { tokens: Tokens(tokens), ..Reservation::default() }
    }

    #[test]
    fn a_run_is_admitted_only_while_spent_and_reserved_stay_within_the_cap() {
        let mut budget = Budget { token_cap_total: Some(Tokens(100)), ..Budget::default() };
        assert_eq!(budget.admits(&ask(100)), Admission::Fits);
        assert!(matches!(budget.admits(&ask(101)), Admission::Over(_)));
        budget.reserve(&ask(60));
        assert!(matches!(budget.admits(&ask(41)), Admission::Later(_)));
        assert_eq!(budget.admits(&ask(40)), Admission::Fits);
        let usage = Usage { input_tokens: Tokens(70), source: UsageSource::Result, ..Usage::default() }.totalled();
        let charge = budget.settle(&ask(60), &usage, Seconds(9));
        assert_eq!((charge.tokens, budget.tokens_reserved, budget.tokens_spent), (Tokens(70), Tokens(0), Tokens(70)));
        assert!(matches!(budget.admits(&ask(31)), Admission::Over(_)));
    }

    #[test]
    fn unknown_usage_is_charged_at_its_reservation() {
        let mut budget = Budget::default();
        budget.reserve(&ask(60));
        let charge = budget.settle(&ask(60), &Usage::default(), Seconds(1));
        assert_eq!(charge, Charge { tokens: Tokens(60), cost_usd: MicroUsd(0), unknown: true });
        assert_eq!(budget.lifetime_tokens_spent, Tokens(60));
    }

    #[test]
    fn every_cap_that_is_over_is_named() {
        let budget = Budget {
            token_cap_total: Some(Tokens(10)),
            tokens_spent: Tokens(10),
            cost_cap_usd: Some(MicroUsd(1)),
            cost_spent_usd: MicroUsd(2),
            clock_tick_cap: Some(1),
            clock_ticks_used: 1,
            ..Budget::default()
        };
        let reasons: Vec<_> = budget.reached_caps().iter().map(|halt| halt.reason).collect();
        assert_eq!(reasons, [HaltReason::TokenCap, HaltReason::CostCap, HaltReason::TickCap]);
    }

    #[test]
    fn a_halt_is_news_once() {
        let mut budget = Budget::default();
        let now = DateTime::UNIX_EPOCH;
        let halt = |detail: &str| vec![Halt { reason: HaltReason::Operator, detail: detail.to_owned() }];
        assert!(budget.halt(halt("a"), now));
        assert!(!budget.halt(halt("b"), now));
        assert_eq!((budget.halt_reasons.len(), budget.halt_reasons[0].detail.as_str()), (1, "b"));
    }
}
