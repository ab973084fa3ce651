//! From an identity to the model that it stands for today.
//!
//! A handle is a model's name, unless the manifest's `models:` gives another, or the identity asks for a tier:
//! `Claude (top) <claude-top@local>`, or the handle `claude-top` alone. What a tier stands for is in the operator's
//! `models.yaml`. A tier that nobody wrote down is refused rather than guessed at.

use thiserror::Error;

use super::catalogue::Families;
use super::spec::FamilySpec;
use crate::core::ids::{FamilyName, Identity, TierName};
use crate::core::models::ModelTable;

/// An identity that asks for a tier which its family does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{identity}` asks for the tier `{tier}`, which {family} does not have ({known}); add it under `tiers: {family}:` \
     in models.yaml of the home directory, or name a model in its place"
)]
pub struct UnknownTier {
    /// Who asks.
    pub identity: Identity,
    /// For what.
    pub tier: String,
    /// The family.
    pub family: FamilyName,
    /// The tiers that it has, in words.
    pub known: String,
}

impl Families {
    /// The same families with the tiers of this table.
    #[must_use]
    pub fn with_models(mut self, table: &ModelTable) -> Self {
        let all: Vec<TierName> = table.tiers.values().flat_map(|tiers| tiers.keys().cloned()).collect();
        for spec in self.specs_mut() {
            spec.tiers = table.tiers.get(&spec.name).cloned().unwrap_or_default();
            spec.tier_words = all.iter().cloned().collect();
        }
        self
    }
}

impl FamilySpec {
    /// The model that an identity of this family stands for.
    pub fn resolve(&self, identity: &Identity) -> Result<String, UnknownTier> {
        let handle = identity.handle();
        if let Some(model) = self.models.get(handle) {
            return Ok(model.clone());
        }
        let Some(tier) = self.tier_of(identity) else { return Ok(handle.to_owned()) };
        let found = tier.parse::<TierName>().ok().and_then(|name| self.tiers.get(&name));
        found.map(ToString::to_string).ok_or_else(|| {
            let known: Vec<&str> = self.tiers.keys().map(TierName::as_str).collect();
            let known =
                if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            UnknownTier { identity: identity.clone(), tier: tier.to_owned(), family: self.name.clone(), known }
        })
    }

    /// The tier that an identity asks for, whether it exists or not.
    fn tier_of<'a>(&self, identity: &'a Identity) -> Option<&'a str> {
        let is_tier = |word: &str| self.tier_words.iter().any(|known| known.as_str() == word);
        let handle = identity.handle();
        let named =
            identity.name().strip_suffix(')').and_then(|name| name.rsplit_once('(')).map(|(_, word)| word.trim());
        if let Some(word) = named {
            let in_handle = handle.strip_suffix(word).is_some_and(|rest| rest.ends_with('-'));
            if in_handle || is_tier(word) {
                return Some(word);
            }
        }
        let behind = handle.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('-'));
        behind.filter(|word| is_tier(word))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn resolved(name: &str, table: &str, models: &str) -> Result<String, String> {
        let overrides = format!("{{\"claude\": {{\"models\": {models}}}}}");
        let overrides: BTreeMap<_, _> = serde_json::from_str(&overrides).expect("overrides");
        let table: ModelTable = serde_json::from_str(table).expect("table");
        let families = Families::new(&overrides).expect("families").with_models(&table);
        let identity: Identity = name.parse().expect("identity");
        families.of(&identity).expect("family").resolve(&identity).map_err(|error| error.to_string())
    }

    #[test]
    fn identities_resolve_to_the_models_of_today() {
        let table = r#"{"tiers": {"claude": {"top": "claude-opus-5", "standard": "claude-sonnet-5"}, "codex": {"fast": "gpt-5.6-mini"}}}"#;
        for (identity, models, expected) in [
            ("Claude (top) <claude-top@local>", "{}", Ok("claude-opus-5")),
            ("Claude <claude-standard@local>", "{}", Ok("claude-sonnet-5")),
            ("Claude (standard) <anybody@local>", "{}", Ok("claude-sonnet-5")),
            ("GPT (fast) <gpt-fast@local>", "{}", Ok("gpt-5.6-mini")),
            ("Claude Sonnet 5 <claude-sonnet-5@local>", "{}", Ok("claude-sonnet-5")),
            ("Claude (work) <claude-sonnet-4@local>", "{}", Ok("claude-sonnet-4")),
            ("Claude (top) <claude-top@local>", r#"{"claude-top": "pinned"}"#, Ok("pinned")),
            (
                "Claude (topp) <claude-topp@local>",
                "{}",
                Err("the tier `topp`, which claude does not have (it has standard, top)"),
            ),
            ("Claude <claude-fast@local>", "{}", Err("the tier `fast`, which claude does not have")),
            ("Gemini (top) <gemini-top@local>", "{}", Err("the tier `top`, which gemini does not have (it has none)")),
        ] {
            match (resolved(identity, table, models), expected) {
                (Ok(model), Ok(expected)) => assert_eq!(model, expected, "{identity}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{identity}: {error}"),
                (found, _) => panic!("{identity}: {found:?}"),
            }
        }
        assert_eq!(resolved("Claude <claude-top@local>", "{}", "{}").as_deref(), Ok("claude-top"));
    }
}
