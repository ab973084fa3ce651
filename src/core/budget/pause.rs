//! Pauses: families that wait for their provider. A pause ends by itself.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Budget;
use crate::core::ids::FamilyName;

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

impl Budget {
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
