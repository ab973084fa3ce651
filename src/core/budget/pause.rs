//! Pauses: families, or single models of theirs, that wait for their provider. A pause ends by itself.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, Deferral};
use crate::core::ids::FamilyName;
use crate::core::policy::Policy;

/// A family, or one model of it, that waits for its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// The family.
    pub family: FamilyName,
    /// The one model that waits, as its CLI knows it; without one, the whole family does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When it may be asked again.
    pub until: DateTime<Utc>,
    /// The provider's words.
    pub reason: String,
}

impl Pause {
    /// Who waits, in words: the family, with the model where only that does.
    pub fn who(&self) -> String {
        match &self.model {
            None => self.family.to_string(),
            Some(model) => format!("{} ({model})", self.family),
        }
    }

    /// Whether it binds a run of this family and model now.
    fn binds(&self, family: &FamilyName, model: Option<&str>, now: DateTime<Utc>) -> bool {
        let same = self.model.is_none() || self.model.as_deref() == model;
        self.family == *family && same && self.until > now
    }
}

impl From<&Deferral> for Pause {
    fn from(held: &Deferral) -> Self {
        Self { family: held.family.clone(), model: None, until: held.until, reason: held.reason.clone() }
    }
}

impl Budget {
    /// Pauses a family, or one model of it, until a time; a pause of the same that ends later stays.
    pub fn pause(&mut self, family: &FamilyName, model: Option<&str>, until: DateTime<Utc>, reason: &str) {
        let new = Pause { family: family.clone(), model: model.map(str::to_owned), until, reason: reason.to_owned() };
        match self.pauses.iter_mut().find(|pause| pause.family == new.family && pause.model == new.model) {
            Some(pause) if pause.until >= until => {}
            Some(pause) => *pause = new,
            None => self.pauses.push(new),
        }
    }

    /// Shortens what waits for longer than anything ever does: the clock was set back since.
    pub fn bound_waits(&mut self, now: DateTime<Utc>) {
        let far = now + Policy::LONGEST_PAUSE + TimeDelta::days(1);
        let soon = now + Policy::UNSTATED_PAUSE;
        for pause in self.pauses.iter_mut().filter(|pause| pause.until > far) {
            pause.until = soon;
        }
        for breaker in self.breakers.iter_mut().filter(|breaker| breaker.open_until.is_some_and(|until| until > far)) {
            breaker.open_until = Some(soon);
        }
        for held in self.deferrals.iter_mut().filter(|held| held.until > far) {
            (held.since, held.until) = (now, now);
        }
    }

    /// What keeps runs of this family and model waiting for their provider now, whichever ends last: a pause, or the
    /// family's open breaker, or what was seen before a launch.
    pub fn paused(&self, family: &FamilyName, model: Option<&str>, now: DateTime<Utc>) -> Option<Pause> {
        let deferral = self.deferred(family, now).map(Pause::from);
        self.refused(family, model, now).into_iter().chain(deferral).max_by_key(|pause| pause.until)
    }

    /// The same without what was seen before a launch, which is looked at anew.
    pub fn refused(&self, family: &FamilyName, model: Option<&str>, now: DateTime<Utc>) -> Option<Pause> {
        let pauses = self.pauses.iter().filter(|pause| pause.binds(family, model, now)).cloned();
        let breaker = self.breakers.iter().filter(|breaker| breaker.family == *family);
        pauses.chain(breaker.filter_map(|breaker| breaker.hold(now))).max_by_key(|pause| pause.until)
    }

    /// Everything that waits for a provider now, open breakers and deferrals included.
    pub fn waits(&self, now: DateTime<Utc>) -> Vec<Pause> {
        let pauses = self.pauses.iter().filter(|pause| pause.until > now).cloned();
        let deferrals = self.deferrals.iter().filter(|held| held.until > now).map(Pause::from);
        pauses.chain(self.breakers.iter().filter_map(|breaker| breaker.hold(now))).chain(deferrals).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_a_model_binds_only_that_model_and_the_longest_pause_counts() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let at = |minutes| now + TimeDelta::minutes(minutes);
        let family = |name: &str| name.parse::<FamilyName>().expect("family");
        let mut budget = Budget::default();
        budget.pause(&family("claude"), Some("opus"), at(30), "weekly opus limit");
        for (name, model, paused) in [
            ("claude", Some("opus"), true),
            ("claude", Some("sonnet"), false),
            ("claude", None, false),
            ("codex", Some("opus"), false),
        ] {
            assert_eq!(budget.paused(&family(name), model, now).is_some(), paused, "{name} {model:?}");
        }
        assert_eq!(budget.paused(&family("claude"), Some("opus"), at(30)), None, "it ends by itself");
        budget.pause(&family("claude"), None, at(10), "session limit");
        budget.pause(&family("claude"), Some("opus"), at(20), "shorter");
        let until = |model| budget.paused(&family("claude"), model, now).map(|pause| (pause.who(), pause.until));
        assert_eq!(until(Some("opus")), Some(("claude (opus)".to_owned(), at(30))));
        assert_eq!(until(Some("sonnet")), Some(("claude".to_owned(), at(10))));
        assert_eq!(until(None), Some(("claude".to_owned(), at(10))));
        let old = r#"{"family":"claude","until":"1970-01-01T01:00:00Z","reason":"limit"}"#;
        let old: Pause = serde_json::from_str(old).expect("a pause of an earlier version");
        assert_eq!((old.model.clone(), old.who()), (None, "claude".to_owned()));
        assert!(!serde_json::to_string(&old).expect("json").contains("model"));
    }
}
