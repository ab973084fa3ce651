//! The budget of version 1: the same counters as ours, without reservations and without money.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{V1State, VERSION, instant};
use crate::core::fault::Faults;
use crate::core::quantity::{Seconds, Tokens};

/// The reason that is given for a halt where version 1 gave none.
const UNSAID: &str = "halted by version 1, which did not say why";

/// `budget.json` as the shell implementation writes it. Every key came at some time, so every key may be missing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct V1Budget {
    /// 1.
    pub version: Option<u32>,
    /// Tokens that may be used in one window.
    pub token_cap_total: Option<u64>,
    /// Tokens used in this window.
    pub tokens_spent: Option<u64>,
    /// Tokens ever used.
    pub lifetime_tokens_spent: Option<u64>,
    /// Seconds that runs may take in one window.
    pub wall_clock_cap_seconds: Option<u64>,
    /// Seconds that runs took in this window.
    pub wall_clock_elapsed_seconds: Option<u64>,
    /// Working ticks allowed in one window.
    pub clock_tick_cap: Option<u64>,
    /// Working ticks in this window.
    pub clock_ticks_used: Option<u64>,
    /// Ticks that found nothing to do.
    pub idle_ticks_used: Option<u64>,
    /// Failures in a row that halt.
    pub consecutive_failure_cap: Option<u32>,
    /// Failures in a row so far.
    pub consecutive_failures: Option<u32>,
    /// Whether it halted.
    pub halted: Option<bool>,
    /// Why: the first cap that was over.
    pub halt_reason: Option<String>,
    /// Every cap that was over.
    pub halt_reasons: Option<Vec<String>>,
    /// When it halted.
    pub halted_at: Option<String>,
    /// Until when nothing is dispatched.
    pub paused_until: Option<V1Instant>,
    /// The provider's words that made it pause.
    pub paused_reason: Option<String>,
    /// Planned pauses. They came and went with version 1's own timers, so they are not carried over.
    pub pause_windows: Option<Value>,
    /// The day, or the time, at which this window began.
    pub window_started_at: Option<String>,
    /// Breaches of caps, oldest first.
    pub breaches: Option<Vec<Value>>,
}

/// A time that version 1 writes as seconds since 1970, and that people write as text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum V1Instant {
    /// Seconds since 1970-01-01, in UTC.
    Epoch(i64),
    /// RFC 3339.
    Text(String),
}

/// The budget, checked. What version 1 did not say is none, or zero where it counts something.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CarriedBudget {
    /// Tokens that may be used in one window.
    pub token_cap: Option<Tokens>,
    /// Tokens used in this window.
    pub tokens_spent: Tokens,
    /// Tokens ever used; never less than those of this window.
    pub lifetime_tokens_spent: Tokens,
    /// Time that runs may take in one window.
    pub wall_clock_cap: Option<Seconds>,
    /// Time that runs took in this window.
    pub wall_clock_elapsed: Seconds,
    /// Working ticks allowed in one window.
    pub tick_cap: Option<u64>,
    /// Working ticks in this window.
    pub ticks_used: u64,
    /// Ticks that found nothing to do.
    pub idle_ticks_used: u64,
    /// Failures in a row that halt.
    pub failure_cap: Option<u32>,
    /// Failures in a row so far.
    pub consecutive_failures: u32,
    /// The halt, where it halted.
    pub halt: Option<CarriedHalt>,
    /// The pause, where one was announced; it may be over.
    pub pause: Option<CarriedPause>,
    /// When this window began.
    pub window_started_at: Option<DateTime<Utc>>,
    /// Breaches of caps as version 1 wrote them, oldest first.
    pub breaches: Vec<Value>,
}

/// A halt, which a person must clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedHalt {
    /// Why, in the words of version 1; at least one, none twice.
    pub reasons: Vec<String>,
    /// Since when.
    pub at: Option<DateTime<Utc>>,
}

/// A pause of everything, whichever family the provider was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedPause {
    /// When it ends.
    pub until: DateTime<Utc>,
    /// The provider's words, where there are any.
    pub reason: Option<String>,
}

/// The budget; what cannot be read is reported and left out.
pub(super) fn carry(budget: &V1Budget, state: &V1State, faults: &mut Faults) -> CarriedBudget {
    if let Some(version) = budget.version.filter(|version| *version != VERSION) {
        faults.add(None, "/version", format!("`{version}` is not {VERSION}"));
    }
    let tokens_spent = Tokens(budget.tokens_spent.unwrap_or(0));
    CarriedBudget {
        token_cap: budget.token_cap_total.map(Tokens),
        tokens_spent,
        lifetime_tokens_spent: Tokens(budget.lifetime_tokens_spent.unwrap_or(0)).max(tokens_spent),
        wall_clock_cap: budget.wall_clock_cap_seconds.map(Seconds),
        wall_clock_elapsed: Seconds(budget.wall_clock_elapsed_seconds.unwrap_or(0)),
        tick_cap: budget.clock_tick_cap,
        ticks_used: budget.clock_ticks_used.unwrap_or(0),
        idle_ticks_used: budget.idle_ticks_used.unwrap_or(0),
        failure_cap: budget.consecutive_failure_cap,
        consecutive_failures: budget.consecutive_failures.unwrap_or(0),
        halt: halt(budget, state, faults),
        pause: pause(budget, faults),
        window_started_at: window(budget.window_started_at.as_deref(), faults),
        breaches: budget.breaches.clone().unwrap_or_default(),
    }
}

/// Halted is what either file calls halted: the one that does not may only be behind.
fn halt(budget: &V1Budget, state: &V1State, faults: &mut Faults) -> Option<CarriedHalt> {
    let at = instant(budget.halted_at.as_deref(), "/halted_at", faults);
    let (by_budget, by_state) = (budget.halted.unwrap_or(false), state.halted.unwrap_or(false));
    let mut reasons: Vec<String> = Vec::new();
    let of_budget = budget.halt_reason.iter().chain(budget.halt_reasons.iter().flatten()).filter(|_| by_budget);
    for reason in of_budget.chain(state.halt_reason.iter().filter(|_| by_state)) {
        if !reason.trim().is_empty() && !reasons.contains(reason) {
            reasons.push(reason.clone());
        }
    }
    if reasons.is_empty() {
        reasons.push(UNSAID.to_owned());
    }
    (by_budget || by_state).then_some(CarriedHalt { reasons, at })
}

fn pause(budget: &V1Budget, faults: &mut Faults) -> Option<CarriedPause> {
    let place = "/paused_until";
    let until = match budget.paused_until.as_ref()? {
        V1Instant::Text(text) => instant(Some(text), place, faults)?,
        V1Instant::Epoch(0) => return None,
        V1Instant::Epoch(seconds) => {
            let until = DateTime::from_timestamp(*seconds, 0);
            if until.is_none() {
                faults.add(None, place, format!("`{seconds}` is not a time in seconds since 1970"));
            }
            until?
        }
    };
    Some(CarriedPause { until, reason: budget.paused_reason.clone().filter(|reason| !reason.trim().is_empty()) })
}

/// The start of a window: version 1 writes the UTC day alone.
fn window(text: Option<&str>, faults: &mut Faults) -> Option<DateTime<Utc>> {
    match text?.parse::<NaiveDate>() {
        Ok(day) => Some(day.and_time(NaiveTime::MIN).and_utc()),
        Err(_) => instant(text, "/window_started_at", faults),
    }
}
