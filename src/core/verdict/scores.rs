//! The scores of a review, where the manifest asks for them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::fault::Faults;
use crate::core::strict;

/// The best score; the worst is 1.
pub const BEST: u32 = 10;

/// Whether a verifier was asked for scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// It was; a verdict without them is none.
    Asked,
    /// It was not; they are an unknown key.
    NotAsked,
}

/// How good the change is, beyond whether the criteria hold: each from 1, poor, to 10, could not be better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Does it do what the card is for, no less and no more? 1 to 10.
    pub alignment: u32,
    /// Is it a sound way to do it, which the next reader understands? 1 to 10.
    pub approach: u32,
    /// Would its tests fail if it were wrong? 1 to 10.
    pub tests: u32,
}

impl Scores {
    const KEYS: [&'static str; 3] = ["alignment", "approach", "tests"];

    pub(super) fn read(value: &serde_json::Value, place: &str, faults: &mut Faults) -> Option<Self> {
        let object = strict::Object::new(value, place, &Self::KEYS, faults)?;
        let [alignment, approach, tests] = Self::KEYS.map(|key| {
            let score = object.number(key, faults)?;
            if score > BEST {
                faults.add(None, object.at(key), format!("is {score}; a score is a whole number from 1 to {BEST}"));
            }
            (score <= BEST).then_some(score)
        });
        Some(Self { alignment: alignment?, approach: approach?, tests: tests? })
    }

    /// The scores below the floor, in words; none where all reach it.
    pub fn below(&self, floor: u32) -> Option<String> {
        let named = [("alignment", self.alignment), ("approach", self.approach), ("tests", self.tests)];
        let low: Vec<String> =
            named.iter().filter(|(_, score)| *score < floor).map(|(name, score)| format!("{name} {score}")).collect();
        (!low.is_empty()).then(|| format!("scored below the floor of {floor}: {}", low.join(", ")))
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "alignment {}, approach {}, tests {}", self.alignment, self.approach, self.tests)
    }
}
