//! The circuit breaker of a family: after too many failures of its provider in a short time nobody of that family is
//! dispatched for a while, then exactly one run, whose end decides for all.
//!
//! Every state of it ends by itself at `open_until`: an open breaker lets a probe through, and a probe that has run for
//! a whole window without failing has shown that the provider answers.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, Pause};
use crate::core::ids::{FamilyName, RunId};
use crate::core::outcome::{BACKOFF_CAP, backoff};
use crate::core::policy::BreakerPolicy;

/// What is known of a family's provider while something is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// The family.
    pub family: FamilyName,
    /// When its provider failed, within the window, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<DateTime<Utc>>,
    /// Nobody of the family is dispatched before this time; none while failures are only counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_until: Option<DateTime<Utc>>,
    /// How often in a row it has opened; each time it stays open for longer.
    #[serde(default, skip_serializing_if = "crate::core::quantity::is_zero")]
    pub opened: u32,
    /// The one run that was let through to see whether the provider answers again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<RunId>,
    /// The provider's last words.
    pub reason: String,
}

/// A change of a breaker, as an event of the ledger and its words.
pub type Change = (&'static str, String);

impl Breaker {
    /// The hold that it is now, in the shape of a pause.
    pub fn hold(&self, now: DateTime<Utc>) -> Option<Pause> {
        let until = self.open_until.filter(|until| *until > now)?;
        let reason = match &self.probe {
            None => format!("its provider keeps failing, breaker open: {}", self.reason),
            Some(probe) => format!("its provider kept failing, and {probe} tries whether it answers: {}", self.reason),
        };
        Some(Pause { family: self.family.clone(), model: None, until, reason })
    }

    /// Whether the next run of the family is its probe.
    pub fn is_half_open(&self, now: DateTime<Utc>) -> bool {
        self.open_until.is_some_and(|until| until <= now)
    }

    /// Opens, for twice as long as the last time.
    fn open(&mut self, now: DateTime<Utc>) -> Change {
        let wait = backoff(self.opened).min(BACKOFF_CAP);
        let until = now + wait;
        self.opened = self.opened.saturating_add(1);
        self.open_until = Some(until);
        self.probe = None;
        self.failures.clear();
        let until = until.format("%Y-%m-%d %H:%M:%S UTC");
        ("breaker-opened", format!("{} waits until {until} and is then tried once: {}", self.family, self.reason))
    }
}

impl Budget {
    /// Whether the next run of a family is the one that tries whether its provider answers.
    pub fn wants_probe(&self, family: &FamilyName, now: DateTime<Utc>) -> bool {
        self.breakers.iter().any(|breaker| breaker.family == *family && breaker.is_half_open(now))
    }

    /// A run of a family is dispatched: the probe, where its breaker is half open.
    pub fn probe_with(
        &mut self,
        family: &FamilyName,
        run: &RunId,
        policy: BreakerPolicy,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        let half_open = |breaker: &&mut Breaker| breaker.family == *family && breaker.is_half_open(now);
        let breaker = self.breakers.iter_mut().find(half_open)?;
        breaker.probe = Some(run.clone());
        breaker.open_until = Some(now + policy.window);
        Some(("breaker-probe", format!("{family} is tried with this one run, after: {}", breaker.reason)))
    }

    /// A provider failed: overloaded, out of reach, or its CLI crashed before any answer.
    pub fn provider_failed(
        &mut self,
        family: &FamilyName,
        run: &RunId,
        words: &str,
        policy: BreakerPolicy,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        if policy.failures == 0 {
            return None;
        }
        let at = match self.breakers.iter().position(|breaker| breaker.family == *family) {
            Some(at) => at,
            None => {
                self.breakers.push(Breaker {
                    family: family.clone(),
                    failures: Vec::new(),
                    open_until: None,
                    opened: 0,
                    probe: None,
                    reason: String::new(),
                });
                self.breakers.len() - 1
            }
        };
        let breaker = &mut self.breakers[at];
        words.clone_into(&mut breaker.reason);
        match breaker.open_until {
            // Only its probe's end says anything about a provider that is being waited for: the others began before.
            Some(_) if breaker.probe.as_ref() != Some(run) => None,
            Some(_) => Some(breaker.open(now)),
            None => {
                breaker.failures.push(now);
                breaker.failures.retain(|at| now.signed_duration_since(*at) < policy.window);
                let enough = u32::try_from(breaker.failures.len()).unwrap_or(u32::MAX) >= policy.failures;
                enough.then(|| breaker.open(now))
            }
        }
    }

    /// A run has ended in which the provider answered: where it was the probe, the breaker closes.
    pub fn provider_answered(&mut self, run: &RunId) -> Option<Change> {
        let at = self.breakers.iter().position(|breaker| breaker.probe.as_ref() == Some(run))?;
        let breaker = self.breakers.remove(at);
        Some(("breaker-closed", format!("the provider of {} answers again", breaker.family)))
    }

    /// A run has ended that says nothing of its provider: where it was the probe, the next run is.
    pub fn provider_untold(&mut self, run: &RunId, now: DateTime<Utc>) {
        if let Some(breaker) = self.breakers.iter_mut().find(|breaker| breaker.probe.as_ref() == Some(run)) {
            breaker.probe = None;
            breaker.open_until = Some(now);
        }
    }

    /// What time alone changes: a probe that has run for a whole window closes its breaker, and failures that were only
    /// counted are forgotten once they are older than the window.
    pub fn age_breakers(&mut self, policy: BreakerPolicy, now: DateTime<Utc>) -> Vec<Change> {
        let mut changes = Vec::new();
        self.breakers.retain(|breaker| {
            if policy.failures == 0 {
                return false;
            }
            if breaker.probe.is_some() && breaker.is_half_open(now) {
                let words = format!("{} has had a run for a whole window without a failure", breaker.family);
                changes.push(("breaker-closed", words));
                return false;
            }
            breaker.open_until.is_some()
                || breaker.failures.iter().any(|at| now.signed_duration_since(*at) < policy.window)
        });
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, window: TimeDelta::minutes(10) };

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn claude() -> FamilyName {
        "claude".parse().expect("family")
    }

    fn run(number: u32) -> RunId {
        format!("01-a.{number}.worker").parse().expect("run")
    }

    fn fail(budget: &mut Budget, number: u32, minute: i64) -> Option<&'static str> {
        budget.provider_failed(&claude(), &run(number), "529", POLICY, at(minute)).map(|change| change.0)
    }

    #[test]
    fn enough_failures_within_the_window_open_it_and_old_ones_are_forgotten() {
        let mut budget = Budget::default();
        assert_eq!([fail(&mut budget, 1, 0), fail(&mut budget, 2, 9), fail(&mut budget, 3, 11)], [None; 3]);
        assert_eq!(budget.paused(&claude(), None, at(11)), None);
        assert_eq!(fail(&mut budget, 4, 12), Some("breaker-opened"));
        assert_eq!(budget.paused(&claude(), None, at(12)).map(|hold| hold.until), Some(at(13)));
        assert_eq!(budget.paused(&"codex".parse().expect("family"), None, at(12)), None);
        // What was under way when it opened changes nothing.
        assert_eq!(fail(&mut budget, 5, 12), None);
        assert_eq!(budget.provider_answered(&run(6)), None);
        let mut few = Budget::default();
        fail(&mut few, 1, 0);
        assert_eq!(few.age_breakers(POLICY, at(9)).len() + few.breakers.len(), 1);
        assert!(few.age_breakers(POLICY, at(10)).is_empty() && few.breakers.is_empty());
    }

    #[test]
    fn exactly_one_probe_decides_and_each_failure_doubles_the_wait_up_to_half_an_hour() {
        let mut budget = Budget::default();
        for number in 1..=3 {
            fail(&mut budget, number, 0);
        }
        let mut now = 0;
        for (number, wait) in (10..).zip([1, 2, 4, 8, 16, 30, 30, 30]) {
            let until = budget.paused(&claude(), None, at(now)).map(|hold| hold.until);
            assert_eq!(until, Some(at(now + wait)), "probe {number}");
            assert!(!budget.wants_probe(&claude(), at(now)));
            now += wait;
            assert_eq!(budget.paused(&claude(), None, at(now)), None, "it ends by itself");
            assert!(budget.wants_probe(&claude(), at(now)));
            let probe = budget.probe_with(&claude(), &run(number), POLICY, at(now));
            assert_eq!(probe.map(|change| change.0), Some("breaker-probe"));
            assert!(budget.paused(&claude(), None, at(now)).is_some(), "one run only");
            assert_eq!(budget.probe_with(&claude(), &run(99), POLICY, at(now)), None);
            assert_eq!(fail(&mut budget, number, now), Some("breaker-opened"));
        }
        now += 30;
        budget.probe_with(&claude(), &run(90), POLICY, at(now));
        assert_eq!(budget.provider_answered(&run(90)).map(|change| change.0), Some("breaker-closed"));
        assert!(budget.breakers.is_empty(), "nothing is remembered of it");
    }

    #[test]
    fn a_probe_that_tells_nothing_is_followed_by_another_and_one_that_runs_on_closes_it() {
        let mut budget = Budget::default();
        for number in 1..=3 {
            fail(&mut budget, number, 0);
        }
        budget.probe_with(&claude(), &run(10), POLICY, at(1));
        budget.provider_untold(&run(10), at(2));
        assert!(budget.wants_probe(&claude(), at(2)));
        budget.probe_with(&claude(), &run(11), POLICY, at(2));
        assert!(budget.age_breakers(POLICY, at(11)).is_empty());
        assert!(budget.paused(&claude(), None, at(11)).is_some());
        assert_eq!(budget.age_breakers(POLICY, at(12)).len(), 1);
        assert!(budget.breakers.is_empty());
    }

    #[test]
    fn without_a_number_of_failures_there_is_none() {
        let off = BreakerPolicy { failures: 0, ..POLICY };
        let mut budget = Budget::default();
        for number in 1..50 {
            assert_eq!(budget.provider_failed(&claude(), &run(number), "529", off, at(0)), None);
        }
        assert!(budget.breakers.is_empty());
    }
}
