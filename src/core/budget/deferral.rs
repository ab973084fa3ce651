//! Deferrals: families that are not asked for work right now because of what was seen before a launch. Nothing was
//! spent, no attempt is used up, and each ends by itself.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Budget;
use crate::core::ids::FamilyName;

/// How long a deferral that has run out is remembered, for the patience of the next one.
const REMEMBERED: TimeDelta = TimeDelta::hours(2);

/// A family that is put off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deferral {
    /// The family.
    pub family: FamilyName,
    /// Because of what.
    pub cause: DeferralCause,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it is asked again at the latest.
    pub until: DateTime<Utc>,
    /// What was seen, in words.
    pub reason: String,
}

/// Why a family is put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeferralCause {
    /// Its provider cannot be reached.
    Offline,
    /// So much of its quota is used that what is left is kept back.
    Quota,
}

impl DeferralCause {
    /// The stable word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Quota => "quota",
        }
    }
}

impl Budget {
    /// The deferral that holds a family now; the one that ends last where there are two.
    pub fn deferred(&self, family: &FamilyName, now: DateTime<Utc>) -> Option<&Deferral> {
        self.deferrals.iter().filter(|held| held.family == *family && held.until > now).max_by_key(|held| held.until)
    }

    /// The deferral of a family for this cause, run out or not.
    pub fn deferral(&self, family: &FamilyName, cause: DeferralCause) -> Option<&Deferral> {
        self.deferrals.iter().find(|held| held.family == *family && held.cause == cause)
    }

    /// Puts a family off, in place of what there was for the same cause.
    pub fn defer(&mut self, deferral: Deferral) {
        self.undefer(&deferral.family, deferral.cause);
        self.deferrals.push(deferral);
        self.deferrals.sort_by(|one, other| (&one.family, one.cause).cmp(&(&other.family, other.cause)));
    }

    /// Ends a deferral; tells which, where there was one.
    pub fn undefer(&mut self, family: &FamilyName, cause: DeferralCause) -> Option<Deferral> {
        let at = self.deferrals.iter().position(|held| held.family == *family && held.cause == cause)?;
        Some(self.deferrals.remove(at))
    }

    /// Forgets deferrals that ran out long ago: nobody has wanted the family since.
    pub fn forget_deferrals(&mut self, now: DateTime<Utc>) {
        self.deferrals.retain(|held| now.signed_duration_since(held.until) < REMEMBERED);
    }
}
