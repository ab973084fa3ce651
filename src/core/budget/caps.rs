//! What a person may change about caps, and the figures that tell what to say.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, Window};
use crate::core::quantity::{MicroUsd, Seconds, Tokens, grouped};

/// A cap as it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cap<T> {
    /// There is to be none.
    None,
    /// This much.
    At(T),
}

impl<T> Cap<T> {
    fn wanted(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::At(cap) => Some(cap),
        }
    }
}

/// Caps as they are to be; one that is left out stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CapChange {
    /// Tokens of the window.
    pub tokens: Option<Cap<Tokens>>,
    /// Money of the window.
    pub cost_usd: Option<Cap<MicroUsd>>,
    /// Time of runs of the window.
    pub wall_clock: Option<Cap<Seconds>>,
    /// Ticks of the window that may do work.
    pub ticks: Option<Cap<u64>>,
    /// Failures in a row.
    pub failures: Option<Cap<u64>>,
    /// Tokens without a landing.
    pub no_progress_tokens: Option<Cap<Tokens>>,
    /// Money without a landing.
    pub no_progress_cost: Option<Cap<MicroUsd>>,
    /// Working ticks without a landing.
    pub no_progress_ticks: Option<Cap<u64>>,
    /// The window.
    pub window: Option<Window>,
}

impl Budget {
    /// Changes caps, and says what has changed; nothing where all of it was so already.
    pub fn set_caps(&mut self, change: &CapChange, now: DateTime<Utc>) -> Vec<String> {
        let mut said = Vec::new();
        set("tokens", &mut self.token_cap_total, change.tokens, &mut said);
        set("cost", &mut self.cost_cap_usd, change.cost_usd, &mut said);
        set("wall clock", &mut self.wall_clock_cap_seconds, change.wall_clock, &mut said);
        set("ticks", &mut self.clock_tick_cap, change.ticks, &mut said);
        set("failures in a row", &mut self.consecutive_failure_cap, change.failures, &mut said);
        set("tokens without a landing", &mut self.no_progress.tokens, change.no_progress_tokens, &mut said);
        set("cost without a landing", &mut self.no_progress.cost_usd, change.no_progress_cost, &mut said);
        set("ticks without a landing", &mut self.no_progress.ticks, change.no_progress_ticks, &mut said);
        if let Some(window) = change.window
            && window != self.window
        {
            self.know_spend(now);
            said.push(format!("window {} → {window}", self.window));
            self.window = window;
        }
        said
    }
}

fn set<T: Copy + PartialEq + std::fmt::Display>(
    name: &str,
    cap: &mut Option<T>,
    change: Option<Cap<T>>,
    said: &mut Vec<String>,
) {
    let Some(wanted) = change.map(Cap::wanted).filter(|wanted| wanted != cap) else { return };
    let words = |cap: Option<T>| cap.map_or_else(|| "none".to_owned(), |cap| cap.to_string());
    said.push(format!("{name} {} → {}", words(*cap), words(wanted)));
    *cap = wanted;
}

/// Tokens as people type them: `3M`, `450k`, `1.5M`, `3,000,000`.
///
/// # Errors
/// It is no such number, in a sentence.
pub fn parse_tokens(text: &str) -> Result<Tokens, String> {
    let fault = || format!("`{text}` is no number of tokens; write `3M`, `450k` or `3,000,000`");
    let text = text.trim();
    let (digits, places) = match text.strip_suffix(['M', 'm']) {
        Some(digits) => (digits, 6),
        None => text.strip_suffix(['k', 'K']).map_or((text, 0), |digits| (digits, 3)),
    };
    scaled(digits, places).map(Tokens).ok_or_else(fault)
}

/// Dollars as people type them: `5`, `$5`, `$12.50`.
///
/// # Errors
/// It is no such amount, in a sentence.
pub fn parse_dollars(text: &str) -> Result<MicroUsd, String> {
    let digits = text.trim();
    let digits = digits.strip_prefix('$').unwrap_or(digits);
    scaled(digits, 6).map(MicroUsd).ok_or_else(|| format!("`{text}` is no amount of dollars; write `5` or `$12.50`"))
}

/// A decimal number with so many of its places, read digit by digit: no binary fractions. Commas stand between groups
/// of three.
fn scaled(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = whole.replace(',', "");
    let number: u64 = plain.parse().ok()?;
    let well_grouped = !whole.contains(',') || whole == grouped(number);
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !well_grouped || !is_digits(&plain) || !is_digits(fraction) || fraction.len() > places || text.ends_with('.') {
        return None;
    }
    let unit = 10_u64.checked_pow(u32::try_from(places).ok()?)?;
    let part: u64 = if places == 0 { 0 } else { format!("{fraction:0<places$}").parse().ok()? };
    number.checked_mul(unit)?.checked_add(part)
}

/// A number of tokens that is no less than this one, short to type: `23M`, `450k`, `812`.
pub(super) fn typed_tokens(least: u64) -> String {
    for (unit, letter) in [(1_000_000, "M"), (1_000, "k")] {
        if least >= unit {
            return format!("{}{letter}", least.div_ceil(unit));
        }
    }
    least.to_string()
}

/// An amount of dollars that is no less than this one, short to type.
pub(super) fn typed_dollars(least: u64) -> String {
    let cents = least.div_ceil(10_000);
    if cents.is_multiple_of(100) { (cents / 100).to_string() } else { format!("{}.{:02}", cents / 100, cents % 100) }
}

/// A length of time that is no less than this one, short to type.
pub(super) fn typed_time(least: u64) -> String {
    match least {
        0..60 => format!("{}s", least.max(1)),
        60..3600 => format!("{}m", least.div_ceil(60)),
        _ => format!("{}h", least.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suggested_is_enough_and_short() {
        for (least, typed) in [(812, "812"), (450_000, "450k"), (999_001, "1000k"), (22_000_001, "23M")] {
            assert_eq!(typed_tokens(least), typed);
        }
        for (least, typed) in [(5_000_000, "5"), (5_000_001, "5.01"), (12_500_000, "12.50"), (1, "0.01")] {
            assert_eq!(typed_dollars(least), typed);
        }
        for (least, typed) in [(0, "1s"), (59, "59s"), (61, "2m"), (3601, "2h")] {
            assert_eq!(typed_time(least), typed);
        }
    }

    #[test]
    fn amounts_are_read_as_people_type_them() {
        for (text, tokens) in [
            ("3M", 3_000_000),
            ("1.5M", 1_500_000),
            ("450k", 450_000),
            ("3,000,000", 3_000_000),
            ("0", 0),
            ("812", 812),
        ] {
            assert_eq!(parse_tokens(text), Ok(Tokens(tokens)), "{text}");
        }
        for (text, micros) in [("5", 5_000_000), ("$5", 5_000_000), ("$12.50", 12_500_000), ("1,200", 1_200_000_000)] {
            assert_eq!(parse_dollars(text), Ok(MicroUsd(micros)), "{text}");
        }
        for bad in ["", "M", "3,00", "1.5", "+3", "-3", "3.0000001M", "3MM", "3 M", "99999999999999999999", "1."] {
            assert!(parse_tokens(bad).is_err(), "{bad}");
        }
        for bad in ["", "$", "$$5", "-1", "1.0000001", "1e3", "inf"] {
            assert!(parse_dollars(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_changes_is_said() {
        let mut budget = Budget { token_cap_total: Some(Tokens(10)), ..Budget::default() };
        let change = CapChange {
            tokens: Some(Cap::At(Tokens(3_000_000))),
            cost_usd: Some(Cap::None),
            window: Some(Window::UtcDay),
            ..CapChange::default()
        };
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(budget.set_caps(&change, now), ["tokens 10 → 3,000,000", "window none → utc-day"]);
        assert!(budget.set_caps(&change, now).is_empty());
    }
}
