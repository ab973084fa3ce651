//! `keep:` how much of the past stays on disk.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::values::{FormError, TimeLimit};

/// How much of the past stays on disk. What is in flight, not over, not merged or not yet reported stays whatever this
/// says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// How long the runs of a stage stay after its end. Default 30 days.
    pub runs: TimeLimit,
    /// How much room all runs together may take. Above it the oldest lose everything but their records. Default 5 GB.
    pub size: Size,
    /// How much must stay free on the volume. Below it the oldest runs lose everything but their records, however young
    /// they are. Default 2 GB.
    pub floor: Size,
    /// How long after a run's end its logs are compressed. Default 1 day.
    pub compress: TimeLimit,
    /// How far back `log --replay` and `show --at` reach at least. Default 30 days.
    pub journal: TimeLimit,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            runs: TimeLimit::minutes(30 * 24 * 60),
            size: Size(5_000_000_000),
            floor: Size(2_000_000_000),
            compress: TimeLimit::minutes(24 * 60),
            journal: TimeLimit::minutes(30 * 24 * 60),
        }
    }
}

/// An amount of room on a disk, written in words: `500 MB`, `5 GB`. Units are decimal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl Size {
    const SHAPE: &'static str = "an amount of room such as `500 MB` or `5 GB`";
    const UNITS: [(&'static str, u64); 5] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1)];

    /// From words; none where the text is anything else or absurd.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = text[..digits].parse().ok()?;
        let unit = text[digits..].trim_start();
        let (_, bytes) = Self::UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
        number.checked_mul(*bytes).map(Self)
    }
}

impl TryFrom<String> for Size {
    type Error = FormError;

    fn try_from(text: String) -> Result<Self, FormError> {
        Self::parse(&text).ok_or_else(|| FormError::new(text, Self::SHAPE))
    }
}

impl From<Size> for String {
    /// As text that is read back as the same amount.
    fn from(size: Size) -> Self {
        let unit = Size::UNITS.iter().find(|(_, bytes)| size.0.is_multiple_of(*bytes) && size.0 >= *bytes);
        let (name, bytes) = unit.unwrap_or(&("B", 1));
        format!("{} {name}", size.0 / bytes)
    }
}

impl fmt::Display for Size {
    /// Rounded, for people: `1.2 GB`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Self::UNITS.iter().find(|(_, bytes)| self.0 >= *bytes);
        let (name, bytes) = unit.unwrap_or(&("B", 1));
        let tenths = (u128::from(self.0) * 10 + u128::from(*bytes) / 2) / u128::from(*bytes);
        match (*bytes, tenths % 10) {
            (1, _) | (_, 0) => out.pad(&format!("{} {name}", tenths / 10)),
            (_, rest) => out.pad(&format!("{}.{rest} {name}", tenths / 10)),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": Self::SHAPE,
            "pattern": r"^\s*[0-9]+\s*([kKmMgGtT]?[bB])\s*$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them_and_come_back_as_they_were() {
        for (text, bytes) in [("5 GB", 5_000_000_000), ("500mb", 500_000_000), (" 0 B", 0), ("12 kB", 12_000)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
            assert_eq!(Size::parse(&String::from(Size(bytes))), Some(Size(bytes)), "{text}");
        }
        for text in ["", "5", "GB", "-1 GB", "1.5 GB", "5 GiB", "99999999999999999999 B", "99999999999 TB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        assert_eq!(String::from(Size(1_234_567)), "1234567 B");
    }

    #[test]
    fn sizes_are_shown_rounded() {
        for (bytes, words) in [(0, "0 B"), (999, "999 B"), (1_249_000, "1.2 MB"), (2_000_000_000, "2 GB")] {
            assert_eq!(Size(bytes).to_string(), words);
        }
    }
}
