//! Amounts with units: tokens, money, seconds. Arithmetic saturates, so a hostile number cannot wrap a cap.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            /// Never below zero.
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl std::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self(0), Add::add)
            }
        }
    };
}

amount!(
    /// A number of model tokens: input, cached or not, plus output.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(transparent)]
    Tokens
);
amount!(
    /// A length of time in whole seconds, counted while the machine is awake.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(transparent)]
    Seconds
);
amount!(
    /// Money in millionths of a US dollar; files show dollars as a decimal number.
    MicroUsd
);

impl MicroUsd {
    /// From dollars; negative, infinite and absurd figures become the nearest amount that exists.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, which is what is wanted"
    )]
    pub fn from_dollars(dollars: f64) -> Self {
        Self((dollars * 1e6).round() as u64)
    }

    /// In dollars.
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine billion dollars")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Serialize for MicroUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for MicroUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        if dollars.is_finite() && dollars >= 0.0 {
            Ok(Self::from_dollars(dollars))
        } else {
            Err(serde::de::Error::custom("an amount of money is a number of dollars, zero or more"))
        }
    }
}

impl JsonSchema for MicroUsd {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "number", "minimum": 0, "description": "US dollars"})
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "${:.2}", self.dollars())
    }
}

/// Whether an amount is nothing, for keys that a document leaves out then.
pub(crate) fn is_zero<T: Default + PartialEq>(amount: &T) -> bool {
    *amount == T::default()
}

/// Digits in groups of three, as people write them: `3,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&grouped(self.0))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        let text = match (hours, minutes, seconds) {
            (0, 0, seconds) => format!("{seconds}s"),
            (0, minutes, 0) => format!("{minutes}m"),
            (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
            (hours, 0, 0) => format!("{hours}h"),
            (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        };
        out.pad(&text)
    }
}

impl Seconds {
    /// From words: `90s`, `10 minutes`, `1 hour`, `1h30m`. None when the text is anything else, zero, or absurd.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        let mut last_unit = u64::MAX;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest[digits..].trim_start();
            let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let unit = match rest[..letters].to_ascii_lowercase().as_str() {
                "s" | "sec" | "secs" | "second" | "seconds" => 1,
                "m" | "min" | "mins" | "minute" | "minutes" => 60,
                "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
                "d" | "day" | "days" => 86_400,
                _ => return None,
            };
            if unit >= last_unit {
                return None;
            }
            last_unit = unit;
            total = total.checked_add(number.checked_mul(unit)?)?;
            rest = rest[letters..].trim_start();
        }
        (1..=366 * 86_400).contains(&total).then_some(Self(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("90s", 90), ("10 minutes", 600), ("1 hour", 3600), ("1h30m", 5400), ("1 Day", 86_400), ("2h 5 min", 7500)]
        {
            assert_eq!(Seconds::parse(text), Some(Seconds(seconds)), "{text}");
        }
        for text in
            ["", "10", "m", "-5m", "0s", "1m1h", "1h1h", "5 parsecs", "99999999999999999999h", "400 days", "1.5h"]
        {
            assert_eq!(Seconds::parse(text), None, "{text}");
        }
    }

    #[test]
    fn money_survives_the_file_and_never_goes_below_zero() {
        let text = serde_json::to_string(&MicroUsd(1_234_567)).expect("number");
        assert_eq!(serde_json::from_str::<MicroUsd>(&text).expect("dollars"), MicroUsd(1_234_567));
        assert!(serde_json::from_str::<MicroUsd>("-1").is_err());
        assert_eq!(MicroUsd(1) - MicroUsd(2), MicroUsd(0));
        assert_eq!(Tokens(u64::MAX) + Tokens(1), Tokens(u64::MAX));
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!(Tokens(3_000_000).to_string(), "3,000,000");
        assert_eq!(Seconds(5400).to_string(), "1h30m");
        assert_eq!(MicroUsd(5_000_000).to_string(), "$5.00");
    }
}
