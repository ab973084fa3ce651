//! Times of day by the clock on the operator's wall: spans such as `22:00-06:00`, and when one that holds now ends.
//!
//! What the wall shows comes in as data, a [`Zone`] with every change of its clock, so that a night in which the clock
//! changes is as plain as any other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::ids::FamilyName;
use super::night::Zone;
use super::quota::Percent;

/// Minutes of a day.
const DAY: u32 = 24 * 60;
/// How far ahead an end is looked for: a clock that is set back may lengthen a span, but not by days.
const HORIZON: TimeDelta = TimeDelta::days(3);

/// A part of the day in local time, from a minute on and up to another; over midnight where it ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DaySpan {
    /// The first minute of the day that is in it, 0 to 1439.
    from: u32,
    /// The first one that no longer is, 1 to 1440.
    until: u32,
}

impl DaySpan {
    /// Whether a minute of the day is in it.
    pub fn holds(self, minute: u32) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }

    /// How many minutes after this one, which is in it, it ends.
    fn left(self, minute: u32) -> u32 {
        (self.until + DAY - minute - 1) % DAY + 1
    }
}

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a part of the day such as `08:00-22:00` or, over midnight, `22:00-06:00`")]
pub struct SpanError(String);

impl std::str::FromStr for DaySpan {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let fail = || SpanError(text.to_owned());
        let (from, until) = text.split_once('-').ok_or_else(fail)?;
        let minute = |text: &str| -> Option<u32> {
            let (hours, minutes) = text.trim().split_once(':')?;
            let digits = |text: &str| (text.len() <= 2).then(|| text.parse::<u8>().ok()).flatten();
            let (hours, minutes) = (digits(hours)?, digits(minutes)?);
            let minute = u32::from(hours) * 60 + u32::from(minutes);
            (minutes < 60 && minute <= DAY).then_some(minute)
        };
        let (from, until) = minute(from).zip(minute(until)).ok_or_else(fail)?;
        // `00:00` as an end is midnight, which is the day's last moment as well.
        let until = if until == 0 { DAY } else { until };
        if from == DAY || from == until {
            return Err(fail());
        }
        Ok(Self { from, until })
    }
}

impl TryFrom<String> for DaySpan {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<DaySpan> for String {
    fn from(span: DaySpan) -> Self {
        span.to_string()
    }
}

impl fmt::Display for DaySpan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(out, "{}-{}", at(self.from), at(self.until))
    }
}

impl JsonSchema for DaySpan {
    fn schema_name() -> Cow<'static, str> {
        "DaySpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a part of the day in local time, such as `22:00-06:00`",
            "pattern": r"^\s*[0-9]{1,2}:[0-9]{1,2}\s*-\s*[0-9]{1,2}:[0-9]{1,2}\s*$"
        })
    }
}

/// One span, or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DaySpans {
    /// None.
    #[default]
    Never,
    /// One.
    One(DaySpan),
    /// Several; they may overlap.
    Several(Vec<DaySpan>),
}

impl DaySpans {
    /// The spans.
    pub fn all(&self) -> &[DaySpan] {
        match self {
            Self::Never => &[],
            Self::One(span) => std::slice::from_ref(span),
            Self::Several(spans) => spans,
        }
    }

    /// Whether there is no span.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Whether no minute of the day is outside of them.
    pub fn fill_the_day(&self) -> bool {
        fill_the_day(self.all())
    }

    /// When the spans that hold at this moment end; none where none does. An end is always later than `now`.
    pub fn end(&self, now: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        end(self.all(), now, zone)
    }
}

/// Whether no minute of the day is outside of these spans.
pub fn fill_the_day(spans: &[DaySpan]) -> bool {
    (0..DAY).all(|minute| spans.iter().any(|span| span.holds(minute)))
}

/// When the spans that hold at this moment end, those that follow without a break included; none where none holds.
///
/// Spans that fill the day end nowhere; they are told to end at the horizon of three days.
pub fn end(spans: &[DaySpan], now: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
    let horizon = now.checked_add_signed(HORIZON)?;
    let mut at = now;
    loop {
        let local = zone.local(at);
        let minute = local.hour() * 60 + local.minute();
        let longest = spans.iter().filter(|span| span.holds(minute)).map(|span| span.left(minute)).max();
        let Some(left) = longest else { return (at > now).then_some(at) };
        if at >= horizon {
            return Some(horizon);
        }
        // To the begin of the first minute outside, unless the clock is changed before.
        let into =
            TimeDelta::seconds(i64::from(local.second())) + TimeDelta::nanoseconds(i64::from(local.nanosecond()));
        let out = at.checked_add_signed(TimeDelta::minutes(i64::from(left)) - into)?;
        let change = zone.offsets.iter().map(|offset| offset.from).find(|from| *from > at);
        at = change.map_or(out, |change| change.min(out)).min(horizon);
    }
}

/// How much of a family's quota is kept back at which time of the day; see [`super::quota`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The reserve in each part of the day, such as `{"09:00-18:00": 60%}`. It takes the place of the reserve under
    /// `quota:`, which holds at any other time.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reserve: BTreeMap<DaySpan, Percent>,
}

impl Schedule {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.reserve.is_empty()
    }

    /// Two spans that both hold at some minute.
    pub fn overlap(&self) -> Option<(DaySpan, DaySpan)> {
        let spans: Vec<DaySpan> = self.reserve.keys().copied().collect();
        spans.iter().enumerate().find_map(|(index, one)| {
            let other = spans[..index].iter().find(|other| (0..DAY).any(|at| one.holds(at) && other.holds(at)))?;
            Some((*other, *one))
        })
    }
}

/// The operator's clock, and what goes by it. Without any of it nothing is asked of the clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalRules {
    /// The clock.
    pub zone: Zone,
    /// When no worker starts.
    pub curfew: DaySpans,
    /// How much quota is kept back when.
    pub schedule: Schedule,
    /// How much of each family's quota is kept back at any other time.
    pub reserves: BTreeMap<FamilyName, Percent>,
}

impl Default for LocalRules {
    fn default() -> Self {
        Self { zone: Zone::utc(), curfew: DaySpans::Never, schedule: Schedule::default(), reserves: BTreeMap::new() }
    }
}

impl LocalRules {
    /// When the curfew that holds now ends; none where none does.
    pub fn curfew_end(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.curfew.is_empty() { None } else { self.curfew.end(now, &self.zone) }
    }

    /// How much of a family's quota is kept back now, and until when that is so, where it ends.
    pub fn reserve(&self, family: &FamilyName, now: DateTime<Utc>) -> (Percent, Option<DateTime<Utc>>) {
        let of_hour = self.schedule.reserve.iter().find_map(|(span, reserve)| {
            let end = end(std::slice::from_ref(span), now, &self.zone)?;
            Some((*reserve, Some(end)))
        });
        of_hour.unwrap_or_else(|| (self.reserves.get(family).copied().unwrap_or_default(), None))
    }
}

#[cfg(test)]
mod tests;
