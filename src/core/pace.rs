//! What runs usually take, by role and family: the history that reservations and forecasts are made from.
//!
//! It stands in `budget.json` and is fed where a run is charged, in the same transaction, so every run counts once.
//! Averages are exponential with alpha 0.3; once there are three samples, one more counts for at most four times the
//! average and at least a quarter of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::exit::{Usage, UsageSource};
use super::ids::{FamilyName, Identity, Role};
use super::observation::Brief;
use super::quantity::{MicroUsd, Seconds, Tokens};
use super::rates::Rates;
use super::state::{Reservation, RunOutcome};

/// How many runs are remembered one by one.
const REMEMBERED: usize = 32;
/// How many of them it takes before a reservation is made from them.
const ENOUGH: usize = 5;
/// How many samples an average needs before it is relied on, or bounds the next sample.
pub const FEWEST: u64 = 3;
/// The share of output, in a thousand tokens, where history does not tell it.
const USUAL_OUTPUT: u64 = 100;

/// What the runs of one role and family took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// The role.
    pub role: Role,
    /// The family; none for gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<FamilyName>,
    /// How many runs were counted.
    pub samples: u64,
    /// The average of their tokens.
    pub tokens: Tokens,
    /// The average of their output.
    pub output_tokens: Tokens,
    /// The average of their cost.
    pub cost_usd: MicroUsd,
    /// The average of their length.
    pub seconds: Seconds,
    /// The tokens of the newest, oldest first: at most 32, and none of runs that used none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_tokens: Vec<Tokens>,
}

impl Pace {
    fn new(role: Role, family: Option<FamilyName>) -> Self {
        Self {
            role,
            family,
            samples: 0,
            tokens: Tokens(0),
            output_tokens: Tokens(0),
            cost_usd: MicroUsd(0),
            seconds: Seconds(0),
            recent_tokens: Vec::new(),
        }
    }

    fn add(&mut self, usage: &Usage, cost: MicroUsd, seconds: Seconds) {
        let samples = self.samples;
        self.tokens.0 = average(samples, self.tokens.0, usage.total_tokens.0);
        self.output_tokens.0 = average(samples, self.output_tokens.0, usage.output_tokens.0);
        self.cost_usd.0 = average(samples, self.cost_usd.0, cost.0);
        self.seconds.0 = average(samples, self.seconds.0, seconds.0);
        self.samples = samples.saturating_add(1);
        if usage.total_tokens.0 > 0 {
            self.recent_tokens.push(usage.total_tokens);
            let over = self.recent_tokens.len().saturating_sub(REMEMBERED);
            self.recent_tokens.drain(..over);
        }
    }

    /// The tokens that nineteen of twenty of the remembered runs stayed within; none where there are too few.
    pub fn p95(&self) -> Option<Tokens> {
        if self.recent_tokens.len() < ENOUGH {
            return None;
        }
        let mut sorted = self.recent_tokens.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * 95).div_ceil(100) - 1).copied()
    }

    /// What a run is allowed where nobody has said: twice the p95, at most the built-in limit and at least a tenth of it.
    ///
    /// Twice, because what is set aside for a run is also where it is stopped: a run somewhat larger than those before it
    /// has to come to its end, and one that was stopped counts for no more than its cap.
    fn allowance(&self, built_in: Tokens) -> Option<Tokens> {
        let p95 = self.p95()?;
        Some(Tokens(p95.0.saturating_mul(2)).max(Tokens(built_in.0 / 10)).min(built_in))
    }

    /// How many of a thousand tokens are output, as a rule.
    fn output_per_1000(&self) -> Option<u64> {
        if self.recent_tokens.len() < ENOUGH || self.tokens.0 == 0 {
            return None;
        }
        let share = u128::from(self.output_tokens.0) * 1000 / u128::from(self.tokens.0);
        // Twice, for the reason that the tokens are taken twice.
        Some(u64::try_from(share * 2).unwrap_or(1000).clamp(50, 1000))
    }
}

/// One more sample in an exponential average.
fn average(samples: u64, old: u64, sample: u64) -> u64 {
    if samples == 0 {
        return sample;
    }
    // An average of nothing bounds nothing.
    let sample = if samples >= FEWEST && old > 0 { sample.clamp(old / 4, old.saturating_mul(4)) } else { sample };
    let sum = u128::from(old) * 7 + u128::from(sample) * 3;
    u64::try_from((sum + 5) / 10).unwrap_or(u64::MAX)
}

/// How many attempts stages usually take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// How many stages were counted.
    pub samples: u64,
    /// The average number of attempts of a thousand stages.
    pub per_1000_stages: u64,
}

impl Attempts {
    /// Whether no stage was counted yet, for a document that leaves it out then.
    pub(crate) fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Counts a stage that has ended.
    pub fn add(&mut self, attempts: u32) {
        self.per_1000_stages = average(self.samples, self.per_1000_stages, u64::from(attempts.max(1)) * 1000);
        self.samples = self.samples.saturating_add(1);
    }

    /// The average of a thousand stages; one each where too little is known.
    pub fn usual_per_1000(&self) -> u64 {
        if self.samples < FEWEST { 1000 } else { self.per_1000_stages.max(1000) }
    }
}

impl Budget {
    /// What the runs of a role and family took so far.
    pub fn pace_of(&self, role: Role, family: Option<&FamilyName>) -> Option<&Pace> {
        self.pace.iter().find(|pace| pace.role == role && pace.family.as_ref() == family)
    }

    /// Counts a run that was charged. A run of unknown usage does not count, and neither does one that says nothing of
    /// how much its work takes: it never got to it, or was not let finish by anything but its own caps.
    pub fn learn(
        &mut self,
        role: Role,
        family: Option<&FamilyName>,
        outcome: RunOutcome,
        usage: &Usage,
        cost: MicroUsd,
        seconds: Seconds,
    ) {
        let counts = match outcome {
            RunOutcome::Done
            | RunOutcome::Failed
            | RunOutcome::Flaked
            | RunOutcome::Asked
            | RunOutcome::OverCap
            | RunOutcome::NoHandoff
            | RunOutcome::NoVerdict => true,
            RunOutcome::Crashed
            | RunOutcome::Lost
            | RunOutcome::NeverStarted
            | RunOutcome::Refused
            | RunOutcome::Cancelled => false,
        };
        if !counts || usage.source == UsageSource::Unknown {
            return;
        }
        let known = self.pace.iter().position(|pace| pace.role == role && pace.family.as_ref() == family);
        let index = known.unwrap_or_else(|| {
            self.pace.push(Pace::new(role, family.cloned()));
            self.pace.len() - 1
        });
        if let Some(pace) = self.pace.get_mut(index) {
            pace.add(usage, cost, seconds);
        }
    }
}

/// How a member's reservations are made from history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pricing {
    /// What its model costs.
    pub rates: Rates,
    /// What is set for its runs as a worker.
    pub worker: Limits,
    /// What is set for its runs as a verifier.
    pub verifier: Limits,
}

/// Which of a run's limits the card or the manifest sets; the others follow from history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Its tokens.
    pub tokens: Option<Tokens>,
    /// Its cost.
    pub cost_usd: Option<MicroUsd>,
}

impl Limits {
    /// What is set aside for a run: what is set, else what history makes of the built-in limit, else that.
    ///
    /// The cost, where it is not set, is that of the tokens: output by its usual share at the price of output, twice that
    /// share once history tells it, and everything else as input that no cache holds. That is dearer than most runs.
    pub fn reserve(&self, rates: &Rates, pace: Option<&Pace>, built_in: Tokens, seconds: Seconds) -> Reservation {
        let tokens = self.tokens.or_else(|| pace?.allowance(built_in)).unwrap_or(built_in);
        let output = pace.and_then(Pace::output_per_1000).unwrap_or(USUAL_OUTPUT);
        Reservation { tokens, cost_usd: self.cost_usd.unwrap_or_else(|| rates.worst(tokens, output)), seconds }
    }
}

impl Brief {
    /// What is set aside for a run of somebody in a role, where `set` is what it would be without any history.
    pub fn reservation(&self, budget: &Budget, who: &Identity, role: Role, set: Reservation) -> Reservation {
        let member = self.members.iter().find(|member| member.placed.identity == *who);
        let Some((member, pricing)) = member.and_then(|member| Some((member, member.pricing.as_ref()?))) else {
            return set;
        };
        let limits = if role == Role::Worker { pricing.worker } else { pricing.verifier };
        limits.reserve(&pricing.rates, budget.pace_of(role, Some(&member.placed.family)), set.tokens, set.seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(tokens: u64) -> Usage {
        let input_tokens = Tokens(tokens - tokens / 10);
        Usage { input_tokens, output_tokens: Tokens(tokens / 10), source: UsageSource::Stream, ..Usage::default() }
            .totalled()
    }

    fn learnt(tokens: &[u64]) -> Budget {
        let mut budget = Budget::default();
        for tokens in tokens {
            let name = "claude".parse().expect("family");
            budget.learn(Role::Worker, Some(&name), RunOutcome::Done, &usage(*tokens), MicroUsd(*tokens), Seconds(60));
        }
        budget
    }

    fn worker(budget: &Budget) -> Pace {
        budget.pace_of(Role::Worker, Some(&"claude".parse().expect("family"))).expect("pace").clone()
    }

    #[test]
    fn an_average_follows_slowly_and_outliers_are_bounded() {
        assert_eq!(worker(&learnt(&[100])).tokens, Tokens(100));
        assert_eq!(worker(&learnt(&[100, 200])).tokens, Tokens(130));
        // Two samples bound nothing yet; three do.
        assert_eq!(worker(&learnt(&[100, 100, 10_000])).tokens, Tokens(3_070));
        assert_eq!(worker(&learnt(&[100, 100, 100, 10_000])).tokens, Tokens(190));
        assert_eq!(worker(&learnt(&[100, 100, 100, 1])).tokens, Tokens(78));
    }

    #[test]
    fn a_run_that_tells_nothing_does_not_count() {
        let mut budget = learnt(&[100]);
        let before = budget.clone();
        let name = "claude".parse().expect("family");
        let mut learn = |outcome, usage: &Usage| {
            budget.learn(Role::Worker, Some(&name), outcome, usage, MicroUsd(0), Seconds(1));
            budget == before
        };
        assert!(learn(RunOutcome::Done, &Usage::default()), "its usage is unknown");
        for outcome in [RunOutcome::Refused, RunOutcome::Lost, RunOutcome::Cancelled, RunOutcome::NeverStarted] {
            assert!(learn(outcome, &usage(10)), "{outcome:?}");
        }
        assert!(!learn(RunOutcome::OverCap, &usage(10)));
    }

    #[test]
    fn a_reservation_shrinks_with_history_between_its_floor_and_the_built_in_limit() {
        let rates: Rates =
            serde_json::from_str(r#"{"input":5,"cached_input":0.5,"cache_write":10,"output":25}"#).expect("rates");
        let limits = Limits::default();
        let tokens = |history: &[u64]| {
            let budget = learnt(history);
            let pace = budget.pace.first();
            limits.reserve(&rates, pace, Tokens(3_000_000), Seconds(60)).tokens.0
        };
        assert_eq!(tokens(&[]), 3_000_000);
        assert_eq!(tokens(&[400_000; 4]), 3_000_000, "four are too few");
        assert_eq!(tokens(&[400_000; 5]), 800_000);
        assert_eq!(tokens(&[400_000, 400_000, 400_000, 400_000, 900_000]), 1_800_000);
        assert_eq!(tokens(&[5_000; 9]), 300_000, "the floor");
        assert_eq!(tokens(&[2_000_000; 9]), 3_000_000, "never above the built-in limit");
        let budget = learnt(&[400_000; 5]);
        let pace = budget.pace.first();
        let cost = limits.reserve(&rates, pace, Tokens(3_000_000), Seconds(60)).cost_usd;
        // A tenth is output, so a fifth of 800,000 is priced as output.
        assert_eq!(cost, MicroUsd(160_000 * 25 + 640_000 * 5));
        let set = Limits { tokens: Some(Tokens(7)), cost_usd: Some(MicroUsd(9)) };
        let reserved = set.reserve(&rates, pace, Tokens(3_000_000), Seconds(60));
        assert_eq!((reserved.tokens, reserved.cost_usd), (Tokens(7), MicroUsd(9)), "what is set holds");
    }

    #[test]
    fn attempts_are_at_least_one_and_believed_from_the_third() {
        let mut attempts = Attempts::default();
        attempts.add(3);
        attempts.add(3);
        assert_eq!(attempts.usual_per_1000(), 1000);
        attempts.add(3);
        assert_eq!(attempts.usual_per_1000(), 3000);
        attempts.add(0);
        assert_eq!(attempts.per_1000_stages, 2400);
    }

    proptest! {
        #[test]
        fn averages_stay_among_their_samples(samples in proptest::collection::vec(1_u64..=u64::MAX / 8, 1..80)) {
            let (least, most) = (samples.iter().min().expect("one"), samples.iter().max().expect("one"));
            let mut old = 0;
            for (known, sample) in (0..).zip(&samples) {
                let new = average(known, old, *sample);
                prop_assert!(new >= *least / 4 && new <= most.saturating_add(1));
                if known >= FEWEST && old > 0 {
                    // At most 0.7 + 0.3 × 4 times the old, at least 0.7 + 0.3 / 4 of it, by the rounding.
                    prop_assert!(u128::from(new) <= u128::from(old) * 19 / 10 + 1, "{old} {sample} {new}");
                    prop_assert!(u128::from(new) + 2 >= u128::from(old) * 775 / 1000, "{old} {sample} {new}");
                }
                old = new;
            }
        }

        #[test]
        fn the_p95_is_one_of_the_newest_and_covers_nineteen_of_twenty(samples in proptest::collection::vec(1_u64..5_000_000, 0..100)) {
            let budget = learnt(&samples);
            let newest = &samples[samples.len().saturating_sub(REMEMBERED)..];
            match budget.pace.first().and_then(Pace::p95) {
                None => prop_assert!(samples.len() < ENOUGH),
                Some(p95) => {
                    prop_assert!(newest.contains(&p95.0));
                    let within = newest.iter().filter(|tokens| **tokens <= p95.0).count();
                    prop_assert!(within * 100 >= newest.len() * 95);
                    let below = newest.iter().filter(|tokens| **tokens < p95.0).count();
                    prop_assert!(below * 100 < newest.len() * 95, "a smaller one would do");
                }
            }
        }
    }
}
