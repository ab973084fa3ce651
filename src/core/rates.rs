//! What a model's tokens cost: `rates.yaml` in the operator's home, over the list prices that are compiled in.
//!
//! A price is looked up by the model's name and the day. The rates that hold when a run is ordered stand in its order,
//! so that its supervisor prices what it sees without reading a file, and a later edit changes nothing for it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exit::Usage;
use super::fault::Faults;
use super::quantity::{MicroUsd, Tokens};

mod list;

/// The version of `rates.yaml` that this program reads.
pub const VERSION: u32 = 1;

/// What a model costs that no pattern names, in dollars per million tokens: as much as the dearest models on sale.
const UNKNOWN: [f64; 4] = [10.0, 1.0, 20.0, 50.0];

/// Dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Input read at the full price.
    pub input: MicroUsd,
    /// Input served from the provider's cache.
    pub cached_input: MicroUsd,
    /// Input written into the provider's cache.
    pub cache_write: MicroUsd,
    /// Output, reasoning included.
    pub output: MicroUsd,
}

impl Rates {
    /// From dollars: input, cached input, cache write, output.
    fn dollars([input, cached_input, cache_write, output]: [f64; 4]) -> Self {
        Self {
            input: MicroUsd::from_dollars(input),
            cached_input: MicroUsd::from_dollars(cached_input),
            cache_write: MicroUsd::from_dollars(cache_write),
            output: MicroUsd::from_dollars(output),
        }
    }

    /// What these tokens cost, each kind at its own price, rounded up to a millionth of a dollar.
    pub fn cost(&self, usage: &Usage) -> MicroUsd {
        of_parts(&[
            (usage.input_tokens, self.input),
            (usage.cached_input_tokens, self.cached_input),
            (usage.cache_write_tokens, self.cache_write),
            (usage.output_tokens, self.output),
        ])
    }

    /// What is set aside for this many tokens: so many of a thousand at the price of output, the others at that of input
    /// which no cache holds.
    pub fn worst(&self, tokens: Tokens, output_per_1000: u64) -> MicroUsd {
        let output = u128::from(tokens.0) * u128::from(output_per_1000.min(1000)) / 1000;
        let output = Tokens(u64::try_from(output).unwrap_or(u64::MAX));
        of_parts(&[(output, self.output), (tokens - output, self.input)])
    }
}

fn of_parts(parts: &[(Tokens, MicroUsd)]) -> MicroUsd {
    let sum = parts.iter().fold(0_u128, |sum, (tokens, price)| {
        sum.saturating_add(u128::from(tokens.0).saturating_mul(u128::from(price.0)))
    });
    MicroUsd(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// A price with the day from which it holds, in dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The first day, in UTC, on which it holds. Left out: always, until the first price with a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    /// Input read at the full price.
    pub input: MicroUsd,
    /// Input served from the provider's cache. Left out: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<MicroUsd>,
    /// Input written into the provider's cache. Left out: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<MicroUsd>,
    /// Output, reasoning included.
    pub output: MicroUsd,
}

impl From<Price> for Rates {
    fn from(price: Price) -> Self {
        Self {
            input: price.input,
            cached_input: price.cached_input.unwrap_or(price.input),
            cache_write: price.cache_write.unwrap_or(price.input),
            output: price.output,
        }
    }
}

/// `rates.yaml`. Every key may be left out; what it does not name has the list price that is compiled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateTable {
    /// The version of this format: 1.
    pub version: u32,
    /// The prices of models, by a pattern of the model's name: `*` stands for anything, `.` is as good as `-`, and where
    /// several match, the one that fixes most of the name wins.
    pub models: BTreeMap<String, Vec<Price>>,
    /// What a model costs that no pattern names, neither here nor in the compiled-in list.
    pub default: Option<Price>,
}

impl Default for RateTable {
    fn default() -> Self {
        Self { version: VERSION, models: BTreeMap::new(), default: None }
    }
}

impl RateTable {
    /// What is wrong with it beyond its shape.
    pub fn validate(&self) -> Faults {
        let mut faults = Faults::default();
        if self.version != VERSION {
            let message = format!(
                "this is version {}, and this autometta reads version {VERSION}; install the autometta that wrote it",
                self.version
            );
            faults.add(None, "/version", message);
        }
        for (pattern, prices) in &self.models {
            let place = format!("/models/{}", pattern.replace('~', "~0").replace('/', "~1"));
            if pattern.trim().is_empty() {
                faults.add(None, place.clone(), "it names no model");
            }
            if prices.is_empty() {
                faults.add(None, place.clone(), "it has no price");
            }
            let mut days = BTreeSet::new();
            for (index, price) in prices.iter().enumerate() {
                if !days.insert(price.from) {
                    let day = price.from.map_or_else(|| "no day".to_owned(), |day| day.to_string());
                    faults.add(None, format!("{place}/{index}"), format!("another price holds from {day} already"));
                }
            }
        }
        faults
    }

    /// What a model costs on a day.
    pub fn of(&self, model: &str, on: NaiveDate) -> Rates {
        let model = folded(model);
        let own = self.models.iter().filter(|(pattern, _)| matches(&folded(pattern), &model));
        if let Some(rates) = own.max_by_key(|(pattern, _)| weight(pattern)).and_then(|(_, prices)| holding(prices, on))
        {
            return rates;
        }
        list::of(&model, on).or(self.default.map(Rates::from)).unwrap_or_else(|| Rates::dollars(UNKNOWN))
    }
}

/// The price that holds on a day: the latest that has begun, or the first of all where none has.
fn holding(prices: &[Price], on: NaiveDate) -> Option<Rates> {
    let begun = prices.iter().filter(|price| price.from.is_none_or(|from| from <= on)).max_by_key(|price| price.from);
    begun.or_else(|| prices.iter().min_by_key(|price| price.from)).map(|price| Rates::from(*price))
}

/// A name as it is compared: `GPT-5.6 Sol` and `gpt-5-6-sol` are the same model's.
fn folded(name: &str) -> String {
    let fold = |letter: char| if matches!(letter, '.' | ' ') { '-' } else { letter.to_ascii_lowercase() };
    name.trim().chars().map(fold).collect()
}

/// How much of a name a pattern fixes.
fn weight(pattern: &str) -> usize {
    pattern.chars().filter(|letter| *letter != '*').count()
}

/// Whether a pattern, in which `*` stands for anything, is one of this name's.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests;
