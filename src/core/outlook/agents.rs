//! How agents and gates come out and what they take, drawn from the runs before.
//!
//! What is known of a model counts; where that is less than three runs, the family's other models count as well. How
//! often something happens is the count in history beside two runs' worth of what usually happens, so that nothing is
//! certain because it happened three times. What a run takes is that of a past run that came out alike; where fewer than
//! three are known, the share of each missing one is drawn from the run's own caps.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::chance::Chance;
use crate::core::exit::{EndedBy, RefusalClass, RefusalScope};
use crate::core::ids::{FamilyName, Role};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::Reservation;

/// How many runs' worth of what usually happens stands beside history.
const PRIOR_RUNS: f64 = 2.0;
/// How many runs it takes for nothing to be drawn from the caps.
pub const ENOUGH: usize = 3;
/// How often an end is drawn that fits a run that is under way already.
const TRIES: usize = 64;

/// Who runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doer {
    /// As what.
    pub role: Role,
    /// Their family; none for gates.
    pub family: Option<FamilyName>,
    /// Their model; none where none is called.
    pub model: Option<String>,
}

/// How a run comes out, by what the machine makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A change to judge, gates that pass, a PASS.
    Good,
    /// A change that the checks refuse, a gate that fails, a FAIL.
    Bad,
    /// The worker says that it failed.
    GaveUp,
    /// A question, or a verifier that could not look.
    Asked,
    /// No usable handoff or verdict.
    Silent,
    /// One of the run's own caps.
    OverCap(EndedBy),
    /// Brought down, lost or never started.
    Crashed,
    /// The provider would not do it.
    Refused(Refused),
}

/// How a provider refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub class: RefusalClass,
    /// What it binds.
    pub scope: RefusalScope,
    /// How long after the run's end it may be asked again, where it said so.
    pub wait: Option<Seconds>,
}

/// The kinds of end, as places of a table.
const KINDS: usize = 8;

impl End {
    fn kind(self) -> usize {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::GaveUp => 2,
            Self::Asked => 3,
            Self::Silent => 4,
            Self::OverCap(_) => 5,
            Self::Crashed => 6,
            Self::Refused(_) => 7,
        }
    }

    /// An end of a kind that never happened.
    fn of_kind(kind: usize) -> Self {
        let refused = Refused { class: RefusalClass::Limit, scope: RefusalScope::Family, wait: None };
        let ends = [
            Self::Good,
            Self::Bad,
            Self::GaveUp,
            Self::Asked,
            Self::Silent,
            Self::OverCap(EndedBy::Timeout),
            Self::Crashed,
            Self::Refused(refused),
        ];
        ends.get(kind).copied().unwrap_or(Self::Crashed)
    }
}

impl Doer {
    /// What usually happens, in thousandths, by kind of end.
    fn prior(&self) -> [f64; KINDS] {
        match (self.role, &self.model) {
            (Role::Worker, Some(_)) => [840.0, 40.0, 30.0, 30.0, 20.0, 20.0, 10.0, 10.0],
            (Role::Worker, None) => [900.0, 30.0, 20.0, 20.0, 10.0, 10.0, 10.0, 0.0],
            (Role::Gate, _) => [750.0, 240.0, 0.0, 0.0, 0.0, 0.0, 10.0, 0.0],
            (Role::Verifier, Some(_)) => [780.0, 160.0, 0.0, 20.0, 20.0, 0.0, 10.0, 10.0],
            (Role::Verifier, None) => [800.0, 160.0, 0.0, 20.0, 10.0, 0.0, 10.0, 0.0],
        }
    }

    /// Which part of its caps a run takes of which nothing is known: any order of magnitude is as likely as another,
    /// from a tenth on for a model and from a thousandth on for commands.
    fn part_of_caps(&self, chance: &mut Chance) -> f64 {
        let least: f64 = if self.model.is_some() { 0.1 } else { 0.001 };
        least.powf(chance.fraction())
    }
}

/// A past run.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Who ran.
    pub doer: Doer,
    /// How it came out.
    pub end: End,
    /// What it took.
    pub took: Took,
}

/// What a run takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Took {
    /// How long.
    pub seconds: Seconds,
    /// Tokens.
    pub tokens: Tokens,
    /// Money.
    pub cost_usd: MicroUsd,
    /// Whether nobody could tell, so that its reservation is charged.
    pub is_unknown: bool,
}

impl Took {
    /// So much of it.
    fn times(self, part: f64) -> Self {
        Self {
            seconds: Seconds(scaled(self.seconds.0, part)),
            tokens: Tokens(scaled(self.tokens.0, part)),
            cost_usd: MicroUsd(scaled(self.cost_usd.0, part)),
            ..self
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and nothing here is exact"
)]
fn scaled(amount: u64, part: f64) -> u64 {
    (amount as f64 * part).round() as u64
}

/// What a drawn run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// How it comes out.
    pub end: End,
    /// What it takes.
    pub took: Took,
}

/// What is known of one doer.
#[derive(Debug, Clone, Default)]
struct Odds {
    runs: Vec<(End, Took)>,
    /// The same by kind of end.
    alike: [Vec<(End, Took)>; KINDS],
    weights: [f64; KINDS],
    /// How many of the runs are those of the very model.
    own: usize,
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub struct Agents(BTreeMap<Doer, Odds>);

/// What is known of a doer, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Basis {
    /// As what they run.
    pub role: Role,
    /// Their family; none for gates.
    pub family: Option<FamilyName>,
    /// Their model; none where none is called.
    pub model: Option<String>,
    /// How many past runs it is drawn from.
    pub runs: usize,
    /// How many of these are of another model of the family.
    pub of_other_models: usize,
}

impl Agents {
    /// What the past runs say of those who may run.
    pub fn new(doers: &BTreeSet<Doer>, samples: &[Sample]) -> Self {
        let odds = |doer: &Doer| {
            let of = |fits: &dyn Fn(&Doer) -> bool| -> Vec<(End, Took)> {
                let fitting = samples.iter().filter(|sample| fits(&sample.doer));
                fitting.map(|sample| (sample.end, sample.took)).collect()
            };
            let mut runs = of(&|other| other == doer);
            let own = runs.len();
            if own < ENOUGH {
                runs = of(&|other| other.role == doer.role && other.family == doer.family);
            }
            let prior = doer.prior();
            let all: f64 = prior.iter().sum();
            let mut weights = prior.map(|weight| weight / all * PRIOR_RUNS);
            let mut alike: [Vec<(End, Took)>; KINDS] = Default::default();
            for (end, took) in &runs {
                weights[end.kind()] += 1.0;
                alike[end.kind()].push((*end, *took));
            }
            Odds { runs, alike, weights, own }
        };
        Self(doers.iter().map(|doer| (doer.clone(), odds(doer))).collect())
    }

    /// What is known of each of these, for people.
    pub fn basis(&self, of: &BTreeSet<&Doer>) -> Vec<Basis> {
        let one = |(doer, odds): (&Doer, &Odds)| Basis {
            role: doer.role,
            family: doer.family.clone(),
            model: doer.model.clone(),
            runs: odds.runs.len(),
            of_other_models: odds.runs.len() - odds.own,
        };
        self.0.iter().filter(|(doer, _)| of.contains(doer)).map(one).collect()
    }

    /// Draws a run that may take at most so much; one that `ran` already takes longer than that.
    pub fn draw(&self, doer: &Doer, most: &Reservation, ran: Option<Seconds>, chance: &mut Chance) -> Drawn {
        let nothing = Odds { weights: doer.prior(), ..Odds::default() };
        let odds = self.0.get(doer).unwrap_or(&nothing);
        let mut drawn = odds.draw(doer, most, chance);
        let Some(ran) = ran else { return drawn };
        for _ in 0..TRIES {
            if drawn.took.seconds > ran {
                return drawn;
            }
            drawn = odds.draw(doer, most, chance);
        }
        // It has run for longer than any before it: somewhere in what is left of its time.
        let left = most.seconds - ran;
        drawn.took.seconds = ran + Seconds(scaled(left.0, chance.fraction()).max(1));
        drawn
    }
}

impl Odds {
    fn draw(&self, doer: &Doer, most: &Reservation, chance: &mut Chance) -> Drawn {
        let kind = chance.weighed(&self.weights);
        let alike = self.alike.get(kind).unwrap_or(&self.runs);
        let end = chance.one_of(alike).map_or(End::of_kind(kind), |(end, _)| *end);
        let lacking = ENOUGH.saturating_sub(self.runs.len());
        let by_caps = chance.weighed(&[to_f64(ENOUGH - lacking), to_f64(lacking)]) == 1;
        let known = if alike.is_empty() { &self.runs } else { alike };
        let took = match chance.one_of(known).filter(|_| !by_caps) {
            Some((_, took)) if alike.is_empty() && matches!(end, End::Crashed | End::Refused(_)) => {
                // Cut short somewhere.
                took.times(chance.fraction())
            }
            Some((_, took)) => *took,
            None => {
                let caps =
                    Took { seconds: most.seconds, tokens: most.tokens, cost_usd: most.cost_usd, is_unknown: false };
                caps.times(doer.part_of_caps(chance))
            }
        };
        Drawn { end, took }.within(most)
    }
}

fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

impl Drawn {
    /// The same, stopped at the first of its own caps that it would pass.
    #[expect(clippy::cast_precision_loss, reason = "nothing here is exact")]
    fn within(self, most: &Reservation) -> Self {
        let part = |most: u64, took: u64| if most > 0 && took > most { most as f64 / took as f64 } else { 1.0 };
        let caps = [
            (part(most.seconds.0, self.took.seconds.0), EndedBy::Timeout),
            (part(most.tokens.0, self.took.tokens.0), EndedBy::TokenCap),
            (part(most.cost_usd.0, self.took.cost_usd.0), EndedBy::CostCap),
        ];
        let first = caps.into_iter().filter(|(part, _)| *part < 1.0).min_by(|one, other| one.0.total_cmp(&other.0));
        let took = Took { seconds: self.took.seconds.max(Seconds(1)), ..self.took };
        match first {
            None => Self { took, ..self },
            Some((part, cap)) => Self { end: End::OverCap(cap), took: self.took.times(part) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Reservation = Reservation { tokens: Tokens(1_000), cost_usd: MicroUsd(500), seconds: Seconds(3_600) };

    fn doer(model: &str) -> Doer {
        let family = Some("claude".parse().expect("family"));
        Doer { role: Role::Worker, family, model: Some(model.to_owned()) }
    }

    fn sample(model: &str, end: End, seconds: u64) -> Sample {
        let took = Took { seconds: Seconds(seconds), tokens: Tokens(seconds), ..Took::default() };
        Sample { doer: doer(model), end, took }
    }

    fn drawn(samples: &[Sample], model: &str, ran: Option<Seconds>) -> Vec<Drawn> {
        let agents = Agents::new(&BTreeSet::from([doer(model)]), samples);
        (0..2_000).map(|night| agents.draw(&doer(model), &MOST, ran, &mut Chance::new(1, night, "run"))).collect()
    }

    fn share(drawn: &[Drawn], holds: impl Fn(&Drawn) -> bool) -> f64 {
        to_f64(drawn.iter().filter(|drawn| holds(drawn)).count()) / to_f64(drawn.len())
    }

    #[test]
    fn with_history_runs_come_out_as_they_did() {
        let mut samples = vec![sample("opus", End::Good, 100); 30];
        samples.extend(vec![sample("opus", End::Silent, 700); 10]);
        let drawn = drawn(&samples, "opus", None);
        let silent = share(&drawn, |drawn| drawn.end == End::Silent);
        assert!((0.21..0.28).contains(&silent), "{silent}");
        assert!(drawn.iter().all(|drawn| drawn.end != End::Silent || drawn.took.seconds == Seconds(700)));
        assert!(drawn.iter().all(|drawn| drawn.end != End::Good || drawn.took.seconds == Seconds(100)));
        let rare = share(&drawn, |drawn| matches!(drawn.end, End::Crashed | End::Refused(_)));
        assert!(rare > 0.0 && rare < 0.01, "what never happened stays possible: {rare}");
    }

    #[test]
    fn without_history_the_caps_say_it_and_each_known_run_takes_a_third_of_that_away() {
        let unknown = drawn(&[], "opus", None);
        assert!(
            unknown.iter().all(|drawn| (100..=1_000).contains(&drawn.took.tokens.0)),
            "a tenth of the cap at least"
        );
        for count in 0..=3 {
            let known = drawn(&vec![sample("opus", End::Good, 7); count], "opus", None);
            let own = share(&known, |drawn| drawn.took.tokens == Tokens(7));
            let expected = to_f64(count) / 3.0;
            assert!((own - expected).abs() < 0.08, "{count}: {own}");
        }
    }

    #[test]
    fn few_runs_of_a_model_are_helped_out_by_its_family_and_many_are_not() {
        let others = vec![sample("sonnet", End::Good, 50); 9];
        let basis = |samples: &[Sample]| {
            let basis = Agents::new(&BTreeSet::from([doer("opus")]), samples).basis(&BTreeSet::from([&doer("opus")]));
            (basis[0].runs, basis[0].of_other_models)
        };
        let with = |count| [others.clone(), vec![sample("opus", End::Good, 9); count]].concat();
        assert_eq!([basis(&with(0)), basis(&with(2)), basis(&with(3))], [(9, 9), (11, 9), (3, 0)]);
    }

    #[test]
    fn a_run_that_would_pass_its_cap_is_stopped_there() {
        let drawn = drawn(&vec![sample("opus", End::Good, 2_000); 40], "opus", None);
        let stopped = drawn.iter().find(|drawn| drawn.end == End::OverCap(EndedBy::TokenCap)).expect("stopped");
        assert_eq!((stopped.took.tokens, stopped.took.seconds), (Tokens(1_000), Seconds(1_000)));
        assert!(share(&drawn, |drawn| matches!(drawn.end, End::Good)) < 0.01);
    }

    #[test]
    fn a_run_under_way_takes_longer_than_it_has_run() {
        let mut samples = vec![sample("opus", End::Good, 100); 20];
        samples.push(sample("opus", End::Good, 900));
        let late = drawn(&samples, "opus", Some(Seconds(400)));
        assert!(late.iter().all(|drawn| drawn.took.seconds > Seconds(400)));
        assert!(share(&late, |drawn| drawn.took.seconds == Seconds(900)) > 0.7);
        let later = drawn(&samples, "opus", Some(Seconds(2_000)));
        assert!(later.iter().all(|drawn| (2_001..=3_600).contains(&drawn.took.seconds.0)), "within what is left");
        let over = drawn(&samples, "opus", Some(Seconds(9_000)));
        assert!(over.iter().all(|drawn| drawn.took.seconds == Seconds(9_001)), "past its cap it ends at once");
    }
}
