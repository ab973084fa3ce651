//! `models.yaml` in the operator's home: which model a tier stands for today.
//!
//! A card that asks for `Claude (top) <claude-top@local>` outlives the models: what `top` means is written down in one
//! place, once for all repositories of a machine. How an identity is resolved is `families::tier`'s subject.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::ids::{FamilyName, ModelName, TierName};

/// The version of `models.yaml` that this program reads.
pub const VERSION: u32 = 1;

/// The whole file. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelTable {
    /// The version of this format: 1.
    pub version: u32,
    /// For each family, its tiers and the model that each stands for.
    pub tiers: BTreeMap<FamilyName, BTreeMap<TierName, ModelName>>,
}

impl Default for ModelTable {
    fn default() -> Self {
        Self { version: VERSION, tiers: BTreeMap::new() }
    }
}

impl ModelTable {
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
        faults
    }
}
