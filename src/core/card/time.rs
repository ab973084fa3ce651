//! When a card lets its stage begin: by the operator's clock, or at one moment everywhere.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A time as a card writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StartTime {
    /// `2026-11-22 06:00`, on the wall where the stage is queued.
    Local(NaiveDateTime),
    /// `2026-11-22T06:00:00+01:00`.
    Exact(DateTime<Utc>),
}

/// A text that is no such time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no time: write `2026-11-22 06:00` by your own clock, or RFC 3339 as in `2026-11-22T06:00:00Z`")]
pub struct TimeError(String);

impl FromStr for StartTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let local = |form| NaiveDateTime::parse_from_str(text, form).map(Self::Local);
        DateTime::parse_from_rfc3339(text)
            .map(|at| Self::Exact(at.with_timezone(&Utc)))
            .or_else(|_| local("%Y-%m-%d %H:%M"))
            .or_else(|_| local("%Y-%m-%d %H:%M:%S"))
            .map_err(|_| TimeError(text.to_owned()))
    }
}

impl TryFrom<String> for StartTime {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<StartTime> for String {
    fn from(time: StartTime) -> Self {
        time.to_string()
    }
}

impl fmt::Display for StartTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(at) => write!(out, "{}", at.format("%Y-%m-%d %H:%M:%S")),
            Self::Exact(at) => write!(out, "{}", at.to_rfc3339()),
        }
    }
}

impl JsonSchema for StartTime {
    fn schema_name() -> Cow<'static, str> {
        "StartTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a time by the operator's clock, such as `2026-11-22 06:00:00`, or RFC 3339"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it_and_comes_back_as_itself() {
        for (text, shown) in [
            ("2026-11-22 06:00", "2026-11-22 06:00:00"),
            ("2026-11-22 06:00:30", "2026-11-22 06:00:30"),
            ("2026-11-22T06:00:00+01:00", "2026-11-22T05:00:00+00:00"),
            ("2026-11-22T06:00:00Z", "2026-11-22T06:00:00+00:00"),
        ] {
            let time: StartTime = text.parse().expect(text);
            assert_eq!(time.to_string(), shown);
            assert_eq!(shown.parse(), Ok(time));
        }
        for text in ["", "tomorrow", "06:00", "2026-11-22", "2026-02-30 06:00", "2026-11-22 24:30", "22.11.2026 06:00"]
        {
            assert!(text.parse::<StartTime>().is_err(), "{text}");
        }
    }
}
