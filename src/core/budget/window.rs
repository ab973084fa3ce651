//! The window that the caps on spend are about, and how it moves on.
//!
//! Lazily: below the caps the clock alone resets nothing. Only where a cap is reached, or the next run would not fit,
//! is the window moved on to where it begins now; what was over is written down first, and the figures become those of
//! what was spent since that begin, so that no day's cap is passed within that day.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::spend::quarter;
use super::{Admission, Breach, Budget, Halt, HaltReason};
use crate::core::state::Reservation;

/// Breaches that are kept; the oldest go.
pub const MOST_BREACHES: usize = 100;
/// The longest rolling window, in hours: a week.
const MOST_HOURS: u16 = 7 * 24;

/// What the caps on spend are about. In files and on the command line one word: `none`, `utc-day`, `local-day`, `5h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Window {
    /// Everything until a person says otherwise.
    #[default]
    None,
    /// A day in UTC.
    UtcDay,
    /// A day on the clock of this machine.
    LocalDay,
    /// The last so many hours.
    Rolling(u16),
}

impl Window {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The hours of a rolling window.
    pub fn hours(self) -> Option<u16> {
        match self {
            Self::Rolling(hours) => Some(hours),
            Self::None | Self::UtcDay | Self::LocalDay => None,
        }
    }

    /// Where it begins now; `local_midnight` is when the present day of this machine's clock began.
    pub fn start(self, local_midnight: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::None => None,
            Self::UtcDay => Some(utc_midnight(now)),
            Self::LocalDay => local_midnight,
            Self::Rolling(hours) => now.checked_sub_signed(TimeDelta::hours(i64::from(hours))).map(quarter),
        }
    }
}

/// When the present day began in UTC.
pub fn utc_midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    now.date_naive().and_time(NaiveTime::MIN).and_utc()
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("none"),
            Self::UtcDay => out.write_str("utc-day"),
            Self::LocalDay => out.write_str("local-day"),
            Self::Rolling(hours) => write!(out, "{hours}h"),
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::None),
            "utc-day" => return Ok(Self::UtcDay),
            "local-day" => return Ok(Self::LocalDay),
            _ => {}
        }
        let hours = text.strip_suffix('h').and_then(|hours| hours.parse::<u16>().ok());
        hours.filter(|hours| (1..=MOST_HOURS).contains(hours)).map(Self::Rolling).ok_or_else(|| {
            format!("`{text}` is no window; write `none`, `utc-day`, `local-day`, or the last hours, `1h` to `{MOST_HOURS}h`")
        })
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl JsonSchema for Window {
    fn schema_name() -> Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "`none`, `utc-day`, `local-day`, or the last hours, `1h` to `168h`",
            "pattern": r"^(none|utc-day|local-day|[1-9][0-9]{0,2}h)$"
        })
    }
}

impl Budget {
    /// Moves the window on, where it begins later by now and a cap on spend is in this run's way; false where nothing
    /// has changed. What was in the way is written down before.
    pub fn roll(&mut self, ask: &Reservation, local_midnight: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        let Some(start) = self.window.start(local_midnight, now) else { return false };
        if self.window_started_at.is_some_and(|began| start <= began) {
            return false;
        }
        let over = self.spend_caps_in_the_way(ask);
        if over.is_empty() {
            return false;
        }
        let mut next = self.clone();
        next.know_spend(now);
        next.begin(start);
        // Some rolling window begins later at every look; it moves on where that makes room.
        if self.window.hours().is_some() && next.spend_caps_in_the_way(ask).len() == over.len() {
            return false;
        }
        let breaches = over.into_iter().map(|halt| Breach { at: now, reason: halt.reason, detail: halt.detail });
        next.breaches.extend(breaches);
        let excess = next.breaches.len().saturating_sub(MOST_BREACHES);
        next.breaches.drain(..excess);
        *self = next;
        true
    }

    /// The figures become those of what was spent since then.
    fn begin(&mut self, start: DateTime<Utc>) {
        self.use_up_drain();
        let since = self.spent_since(start);
        self.tokens_spent = since.tokens;
        self.cost_spent_usd = since.cost_usd;
        self.wall_clock_elapsed_seconds = since.seconds;
        self.clock_ticks_used = since.ticks;
        self.window_started_at = Some(start);
    }

    fn spend_caps_in_the_way(&self, ask: &Reservation) -> Vec<Halt> {
        let (Admission::Over(mut halts) | Admission::Later(mut halts)) = self.admits(ask) else { return Vec::new() };
        halts.retain(|halt| halt.reason.is_spend_cap());
        halts
    }

    /// Lifts the halts of caps on spend that no longer turn away what they turned away, and names them.
    pub fn lift_spend_halts(&mut self) -> Vec<HaltReason> {
        let still = match self.admits(&self.turned_away.unwrap_or_default()) {
            Admission::Over(halts) => halts,
            Admission::Fits | Admission::Later(_) => Vec::new(),
        };
        let holds = |halt: &Halt| !halt.reason.is_spend_cap() || still.iter().any(|over| over.reason == halt.reason);
        let (kept, lifted): (Vec<Halt>, Vec<Halt>) =
            std::mem::take(&mut self.halt_reasons).into_iter().partition(holds);
        self.halt_reasons = kept;
        if !lifted.is_empty() {
            self.halt_reason = self.halt_reasons.first().map(|halt| halt.reason);
            self.halted = !self.halt_reasons.is_empty();
            if !self.halted {
                self.halted_at = None;
                self.turned_away = None;
            }
        }
        lifted.into_iter().map(|halt| halt.reason).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::Spend;
    use crate::core::quantity::Tokens;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("time")
    }

    fn ask(tokens: u64) -> Reservation {
        Reservation { tokens: Tokens(tokens), ..Reservation::default() }
    }

    fn spent(window: Window, times: &[(&str, u64)]) -> Budget {
        let first = Some(at("2026-11-19T00:00:00Z"));
        let mut budget =
            Budget { token_cap_total: Some(Tokens(100)), window, window_started_at: first, ..Budget::default() };
        for (time, count) in times {
            budget.book(Spend { tokens: Tokens(*count), ..Spend::default() }, at(time));
        }
        budget
    }

    #[test]
    fn windows_are_written_in_one_word() {
        for word in ["none", "utc-day", "local-day", "1h", "5h", "168h"] {
            assert_eq!(word.parse::<Window>().expect(word).to_string(), word);
        }
        for bad in ["", "day", "0h", "169h", "5", "h", "-5h", "5 h"] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }

    #[test]
    fn below_the_cap_the_clock_resets_nothing_and_at_it_a_breach_is_written_first() {
        let mut budget = spent(Window::UtcDay, &[("2026-11-19T22:00:00Z", 60), ("2026-11-20T01:00:00Z", 20)]);
        let before = budget.clone();
        assert!(!budget.roll(&ask(20), None, at("2026-11-20T02:00:00Z")), "it fits");
        assert_eq!(budget, before);
        assert!(budget.roll(&ask(21), None, at("2026-11-20T02:00:00Z")));
        assert_eq!((budget.tokens_spent, budget.lifetime_tokens_spent), (Tokens(20), Tokens(80)));
        assert_eq!(budget.window_started_at, Some(at("2026-11-20T00:00:00Z")));
        assert_eq!(budget.breaches.len(), 1);
        assert!(budget.breaches[0].detail.contains("spent 80"), "{:?}", budget.breaches);
        assert!(!budget.roll(&ask(100), None, at("2026-11-20T03:00:00Z")), "once a day");
        assert!(!budget.roll(&ask(100), None, at("2026-11-18T03:00:00Z")), "never backwards");
    }

    #[test]
    fn a_day_on_the_local_clock_begins_where_its_midnight_is_said_to_be() {
        let mut budget = spent(Window::LocalDay, &[("2026-11-19T22:59:00Z", 60), ("2026-11-19T23:00:00Z", 30)]);
        assert!(!budget.roll(&ask(20), None, at("2026-11-20T02:00:00Z")), "nobody said when");
        assert!(budget.roll(&ask(20), Some(at("2026-11-19T23:00:00Z")), at("2026-11-20T02:00:00Z")));
        assert_eq!(budget.tokens_spent, Tokens(30));
    }

    #[test]
    fn a_rolling_window_moves_on_only_where_that_makes_room() {
        let mut budget = spent(Window::Rolling(5), &[("2026-11-20T10:00:00Z", 50), ("2026-11-20T12:00:00Z", 50)]);
        assert!(!budget.roll(&ask(10), None, at("2026-11-20T15:14:00Z")), "the first quarter is in it still");
        assert!(budget.roll(&ask(10), None, at("2026-11-20T15:15:00Z")));
        assert_eq!((budget.tokens_spent, budget.breaches.len()), (Tokens(50), 1));
        assert!(!budget.roll(&ask(60), None, at("2026-11-20T16:15:00Z")), "nothing has left it");
    }

    #[test]
    fn spend_under_a_clock_that_was_set_back_stays_in_its_window() {
        let mut budget = spent(Window::UtcDay, &[("2026-11-19T22:00:00Z", 90)]);
        assert!(budget.roll(&ask(20), None, at("2026-11-20T00:00:00Z")));
        budget.book(Spend { tokens: Tokens(95), ..Spend::default() }, at("2026-11-19T12:00:00Z"));
        assert!(!budget.roll(&ask(20), None, at("2026-11-20T12:00:00Z")));
        assert_eq!(budget.spent_since(at("2026-11-20T00:00:00Z")).tokens, Tokens(95));
    }

    #[test]
    fn a_halt_is_lifted_once_what_it_turned_away_fits() {
        let mut budget = spent(Window::UtcDay, &[("2026-11-19T22:00:00Z", 90)]);
        budget.turned_away = Some(ask(20));
        let Admission::Over(halts) = budget.admits(&ask(20)) else { panic!("it is over") };
        budget.halt(halts, at("2026-11-19T23:00:00Z"));
        assert!(budget.lift_spend_halts().is_empty() && budget.halted);
        assert!(budget.roll(&ask(20), None, at("2026-11-20T00:00:01Z")));
        assert_eq!(budget.lift_spend_halts(), [HaltReason::TokenCap]);
        assert!(!budget.halted && budget.halt_reason.is_none() && budget.turned_away.is_none());
    }

    #[test]
    fn breaches_are_bounded() {
        let mut budget = spent(Window::UtcDay, &[]);
        for day in 1..=150 {
            let now = at("2026-11-20T01:00:00Z") + TimeDelta::days(day);
            budget.book(Spend { tokens: Tokens(100), ..Spend::default() }, now);
            assert!(budget.roll(&ask(1), None, now + TimeDelta::days(1)));
        }
        assert_eq!((budget.breaches.len(), budget.lifetime_tokens_spent), (MOST_BREACHES, Tokens(15_000)));
    }
}
