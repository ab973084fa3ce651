//! Ticks with something wrong in them, each of which a simulated night must find.

use std::collections::BTreeMap;

use autometta::core::budget::Budget;
use autometta::core::exit::{ProcessEnd, Usage, UsageSource};
use autometta::core::ids::StageId;
use autometta::core::observation::{LandingSighting, Observation, Product, Returned, Sighting};
use autometta::core::policy::Policy;
use autometta::core::state::{Stage, State};
use autometta::core::step::Effect;
use autometta::core::verdict::Verdict;
use autometta::files::store::Loaded;
use autometta::sim::chaos::Parts;
use autometta::sim::night::Turn;
use autometta::sim::{Cut, Ground};
use autometta::tick::engine::{Change, Performed, Round, Turned, World, turn};
use chrono::{DateTime, Utc};

#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    IgnoresFailedCommits,
    TakesForgedVerdicts,
    ForgetsWhatIsUnknown,
    TakesFailedGates,
    LeavesCheckouts,
    DoesNotSync,
    LandsOverEdits,
}

/// A world with a flaw.
struct Flawed<'a>(&'a mut Ground<Parts>, Flaw);

impl Flawed<'_> {
    fn spoil(&self, loaded: &Loaded, seen: &mut Observation) {
        let Self(_, flaw) = self;
        for (run, sighting) in &mut seen.runs {
            match (sighting, flaw) {
                (Sighting::Ended(ended), Flaw::ForgetsWhatIsUnknown) => know(&mut ended.record.usage),
                (Sighting::Lost(lost), Flaw::ForgetsWhatIsUnknown) => know(&mut lost.usage),
                (Sighting::Ended(ended), Flaw::TakesForgedVerdicts) => {
                    if let Product::Verifier { verdict: verdict @ Returned::Unusable(_) } = &mut ended.product {
                        *verdict = Returned::Usable(pass(&run.stage));
                    }
                }
                (Sighting::Ended(ended), Flaw::TakesFailedGates) => {
                    ended.record.gates.iter_mut().for_each(|gate| gate.exit = ProcessEnd::Code(0));
                }
                _ => {}
            }
        }
        if *flaw == Flaw::LeavesCheckouts {
            let all = |stage: &Stage| (stage.id.clone(), stage.chores.clone());
            seen.done = loaded.state.stages.iter().map(all).collect();
        }
    }
}

fn know(usage: &mut Usage) {
    if usage.source == UsageSource::Unknown {
        *usage = Usage::none();
    }
}

fn pass(stage: &StageId) -> Verdict {
    let json = serde_json::json!({"stage_id": stage, "overall": "PASS", "headline": "h",
        "criteria": [{"id": 1, "name": "n", "verdict": "PASS", "evidence": "e"}], "additional_findings": ""});
    Verdict::parse(json.to_string().as_bytes(), stage, 1).expect("a verdict")
}

impl World for Flawed<'_> {
    type Error = Cut;

    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn policy(&self) -> &Policy {
        self.0.policy()
    }

    fn observe(
        &mut self,
        loaded: &Loaded,
        tried: &BTreeMap<StageId, LandingSighting>,
        now: DateTime<Utc>,
    ) -> Result<Observation, Cut> {
        let mut seen = self.0.observe(loaded, tried, now)?;
        self.spoil(loaded, &mut seen);
        Ok(seen)
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), Cut> {
        match self.1 {
            Flaw::IgnoresFailedCommits => {
                drop(self.0.commit(change));
                Ok(())
            }
            Flaw::DoesNotSync => {
                self.0.disk.lie(true);
                let done = self.0.commit(change);
                self.0.disk.lie(false);
                done
            }
            _ => self.0.commit(change),
        }
    }

    fn committed(&mut self, loaded: &Loaded, round: &Round<'_>) {
        self.0.committed(loaded, round);
    }

    fn perform(&mut self, state: &State, effects: &[Effect], now: DateTime<Utc>) -> Performed {
        if self.1 != Flaw::LandsOverEdits {
            return self.0.perform(state, effects, now);
        }
        let edits = std::mem::take(&mut self.0.git.edits);
        let performed = self.0.perform(state, effects, now);
        self.0.git.edits = edits;
        performed
    }
}

fn flawed(ground: &mut Ground<Parts>, flaw: Flaw, loaded: Loaded, idle: u64) -> Result<Turned, Cut> {
    turn(&mut Flawed(ground, flaw), loaded, idle)
}

fn forgets_halts(ground: &mut Ground<Parts>, mut loaded: Loaded, idle: u64) -> Result<Turned, Cut> {
    let none = Budget::default();
    loaded.budget.halted = none.halted;
    loaded.budget.halt_reason = none.halt_reason;
    loaded.budget.halt_reasons = none.halt_reasons;
    turn(ground, loaded, idle)
}

/// Each flaw, with the number of the invariant that it must break, and a seed from which it is soon found.
pub fn all() -> Vec<(&'static str, Turn<Parts>, &'static str, u64)> {
    vec![
        ("goes on after a commit that failed", |g, l, i| flawed(g, Flaw::IgnoresFailedCommits, l, i), "8", 30),
        ("takes a verdict that is none", |g, l, i| flawed(g, Flaw::TakesForgedVerdicts, l, i), "2", 0),
        ("takes a gate that failed for passed", |g, l, i| flawed(g, Flaw::TakesFailedGates, l, i), "2", 50),
        ("charges nothing for what is unknown", |g, l, i| flawed(g, Flaw::ForgetsWhatIsUnknown, l, i), "4", 4),
        ("never clears a checkout away", |g, l, i| flawed(g, Flaw::LeavesCheckouts, l, i), "6", 0),
        ("does not sync", |g, l, i| flawed(g, Flaw::DoesNotSync, l, i), "8", 0),
        ("lands over the operator's edits", |g, l, i| flawed(g, Flaw::LandsOverEdits, l, i), "10", 100),
        ("forgets halts", forgets_halts, "3", 70),
    ]
}
