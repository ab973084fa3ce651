//! What outcomes do to others than their own stage, over the pure machine: limits of one model, breakers, fallbacks.

#![allow(clippy::expect_used, reason = "a broken test environment should fail loudly")]

#[path = "support/briefs.rs"]
mod briefs;

use std::collections::BTreeMap;

use autometta::core::budget::{Budget, Pause};
use autometta::core::card::Card;
use autometta::core::exit::{
    EndedBy, ExitRecord, ProcessEnd, ProviderReport, Refusal, RefusalClass, RefusalScope, Usage, UsageSource,
};
use autometta::core::honesty::Findings;
use autometta::core::ids::{Identity, ObjectId, RunId};
use autometta::core::observation::{
    Brief, Captured, Ended, Observation, Placed, Product, Returned, Sighting, WorkSighting,
};
use autometta::core::operate::{Command, operate, queued};
use autometta::core::policy::{BreakerPolicy, Policy};
use autometta::core::quantity::Tokens;
use autometta::core::state::{Candidate, Life, Pending, Reservation, State};
use autometta::core::step::{Note, step};
use chrono::{DateTime, TimeDelta, Utc};

const VERIFIER: &str = "V <v@local>";

/// How a record differs from that of a run that went well.
type Change = fn(&mut ExitRecord);

/// A queue whose stages have these workers; their families are the first letters of their names, their models the handles.
struct World {
    cards: Vec<Card>,
    fallbacks: BTreeMap<&'static str, &'static str>,
    state: State,
    budget: Budget,
    policy: Policy,
    now: DateTime<Utc>,
}

impl World {
    fn new(workers: &[&str], metadata: &str) -> Self {
        let cards: Vec<Card> = (1..)
            .zip(workers)
            .map(|(number, worker)| {
                let stage = format!("{number:02}-a");
                let text = format!(
                    "# Stage card {stage}: Work\n\n## Metadata\n- **Worker:** {worker}\n- **Verifier:** {VERIFIER}\n\
                     {metadata}\n## Objective\nDo.\n\n## Deliverables\n1. `{stage}/`: it\n\n## Acceptance criteria\n\
                     1. it works\n"
                );
                Card::parse(stage.parse().expect("stage"), &text).expect("card").card
            })
            .collect();
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let stages = cards.iter().map(|card| queued(card, format!("{}.md", card.stage), "main".to_owned())).collect();
        let done = operate(&State::new("r".to_owned()), &Budget::default(), Command::AddStages(stages), now);
        let (state, budget) = done.map(|done| (done.state, done.budget)).expect("queued");
        let breaker = BreakerPolicy { failures: 3, window: TimeDelta::minutes(10) };
        let policy = Policy { max_parallel: 8, breaker, ..Policy::default() };
        Self { cards, fallbacks: BTreeMap::new(), state, budget, policy, now }
    }

    fn brief(&self, card: &Card) -> Brief {
        let caps = Reservation::default();
        let placed = |who: &Identity| Placed {
            identity: who.clone(),
            family: who.name()[..1].to_lowercase().parse().expect("family"),
            model: Some(who.handle().to_owned()),
        };
        let fallbacks: BTreeMap<_, Identity> = self
            .fallbacks
            .iter()
            .map(|(family, who)| (family.parse().expect("family"), who.parse().expect("identity")))
            .collect();
        let mut brief = briefs::brief(card, placed, caps, None);
        brief.members.extend(fallbacks.values().map(|who| briefs::member(placed(who), caps)));
        Brief { fallbacks, ..brief }
    }

    /// One step in which these runs are seen to have ended so.
    fn step(&mut self, ended: &[(&str, Change)]) -> Vec<Note> {
        let mut seen = Observation {
            tips: BTreeMap::from([("main".to_owned(), Some(id(1)))]),
            briefs: self.cards.iter().map(|card| (card.stage.clone(), Ok(Box::new(self.brief(card))))).collect(),
            ..Observation::default()
        };
        for (run, change) in ended {
            let run: RunId = run.parse().expect("run");
            let mut record = record(&run, self.now);
            change(&mut record);
            let candidate = Candidate { commit: id(2), tree: id(3), run: run.clone() };
            let findings = Box::new(Findings::default());
            let work = WorkSighting::Captured(Captured { candidate, changed: vec![], embedded: vec![], findings });
            let product = Product::Worker { handoff: Returned::Nothing, work };
            seen.runs.insert(run, Sighting::Ended(Box::new(Ended { record, product })));
        }
        let done = step(&self.state, &self.budget, &seen, &self.policy, self.now);
        (self.state, self.budget) = (done.state, done.budget);
        done.notes
    }

    /// Who flies, in words.
    fn flying(&self) -> Vec<String> {
        let who = |run: &RunId, who: &Option<Identity>| {
            format!("{} {}", run, who.as_ref().map(Identity::handle).unwrap_or_default())
        };
        self.state.flights().map(|(_, flight)| who(&flight.run, &flight.identity)).collect()
    }
}

fn id(number: u64) -> ObjectId {
    format!("{number:040x}").parse().expect("id")
}

fn record(run: &RunId, now: DateTime<Utc>) -> ExitRecord {
    ExitRecord {
        run_id: run.clone(),
        started_at: now,
        ended_at: now,
        elapsed_seconds: 3.0,
        exit: ProcessEnd::Code(1),
        ended_by: EndedBy::Exit,
        usage: Usage { source: UsageSource::Result, ..Usage::default() },
        provider: ProviderReport::default(),
        peak_rss_bytes: 0,
        cpu_seconds: 0.0,
        outbox: None,
        outbox_fault: None,
        gates: Vec::new(),
        secrets_in_work: Vec::new(),
    }
}

fn refuse(record: &mut ExitRecord, class: RefusalClass, scope: RefusalScope) {
    record.provider.refusal = Some(Refusal { class, scope, line: "no".to_owned() });
}

#[test]
fn a_limit_of_one_model_binds_only_that_model() {
    for (scope, who, flies) in [
        (RefusalScope::Model, "a (a1)", vec!["02-a.1.worker a2", "04-a.1.worker b1"]),
        (RefusalScope::Family, "a", vec!["04-a.1.worker b1"]),
    ] {
        let mut world = World::new(&["A <a1@x>", "A <a2@x>", "A <a1@x>", "B <b1@x>"], "");
        world.policy.max_parallel = 1;
        world.step(&[]);
        assert_eq!(world.flying(), ["01-a.1.worker a1"]);
        world.policy.max_parallel = 8;
        let end: fn(&mut ExitRecord) = match scope {
            RefusalScope::Model => |record| refuse(record, RefusalClass::Limit, RefusalScope::Model),
            RefusalScope::Family => |record| refuse(record, RefusalClass::Limit, RefusalScope::Family),
        };
        world.step(&[("01-a.1.worker", end)]);
        assert_eq!(world.flying(), flies, "{scope:?}");
        assert_eq!(world.budget.pauses.iter().map(Pause::who).collect::<Vec<_>>(), [who]);
        let first = &world.state.stages[0];
        assert!(matches!(&first.life, Life::Pending(Pending { not_before: None, .. })) && first.failures == 0);
        world.now += TimeDelta::hours(1);
        world.step(&[]);
        assert_eq!(world.flying().len(), 4, "the pause has ended by itself");
    }
}

#[test]
fn crashes_before_any_answer_count_across_stages_and_those_after_one_do_not() {
    let answered: fn(&mut ExitRecord) =
        |record| record.usage = Usage { output_tokens: Tokens(1), ..record.usage }.totalled();
    for (end, opens) in [((|_| ()) as fn(&mut ExitRecord), true), (answered, false)] {
        let mut world = World::new(&["A <a1@x>", "A <a2@x>", "A <a3@x>", "B <b1@x>"], "");
        world.step(&[]);
        assert_eq!(world.flying().len(), 4);
        let notes = world.step(&[("01-a.1.worker", end), ("02-a.1.worker", end), ("03-a.1.worker", end)]);
        assert_eq!(notes.iter().any(|note| note.event == "breaker-opened"), opens);
        let flying = if opens { 1 } else { 4 };
        assert_eq!(world.flying().len(), flying, "{:?}", world.flying());
        // One alone tries it, and the others go on once it has answered.
        if opens {
            world.now += TimeDelta::minutes(1);
            world.step(&[]);
            assert_eq!(world.flying(), ["01-a.1.worker.r1 a1", "04-a.1.worker b1"]);
            world.step(&[("01-a.1.worker.r1", answered)]);
            assert_eq!(world.flying().len(), 4, "{:?}", world.flying());
        }
    }
}

#[test]
fn a_fallback_stays_apart_from_its_judges_or_is_passed_over() {
    let limit: fn(&mut ExitRecord) = |record| refuse(record, RefusalClass::Limit, RefusalScope::Family);
    for (fallback, manifest, expected) in [
        // Apart already.
        ("B <b@x>", vec![], Some(("b", "v"))),
        // Of the verifier's family: the card's own worker judges, or whom the manifest names for that family.
        ("V2 <v2@x>", vec![], Some(("v2", "a1"))),
        ("V2 <v2@x>", vec![("v", "C <c@x>")], Some(("v2", "c"))),
        // Whom the manifest names is of the fallback's own family.
        ("V2 <v2@x>", vec![("v", "V3 <v3@x>")], Some(("v2", "a1"))),
        // The card's come before the manifest's.
        ("B <b@x>", vec![("a", "C <c@x>")], Some(("b", "v"))),
        // It waits itself: another model of a paused family is no help.
        ("A2 <a2@x>", vec![("a", "C <c@x>")], Some(("c", "v"))),
        ("A2 <a2@x>", vec![], None),
    ] {
        let mut world = World::new(&["A <a1@x>"], &format!("- **Fallback:** {fallback}\n"));
        world.fallbacks = manifest.iter().copied().collect();
        world.step(&[]);
        let notes = world.step(&[("01-a.1.worker", limit)]);
        let stage = &world.state.stages[0];
        match expected {
            Some((worker, judge)) => {
                assert_eq!(world.flying(), [format!("01-a.1.worker.r1 {worker}")], "{fallback} {manifest:?}");
                assert_eq!((stage.worker.handle(), stage.verifiers[0].handle()), (worker, judge), "{fallback}");
                assert_eq!(stage.own_worker().handle(), "a1");
                assert_eq!(notes.iter().filter(|note| note.event == "fallback").count(), 1);
            }
            None => assert!(world.flying().is_empty() && stage.fallback.is_none(), "{fallback}"),
        }
        // What comes after the pause is the card's own again.
        if let Some((worker, _)) = expected {
            world.now += TimeDelta::hours(2);
            let run = "01-a.1.worker.r1";
            world.step(&[(run, |record| record.exit = ProcessEnd::Signal(9))]);
            assert_eq!(world.flying(), ["01-a.1.worker.r2 a1"], "after {worker}");
            assert_eq!((&world.state.stages[0].fallback, world.state.stages[0].verifiers[0].handle()), (&None, "v"));
        }
    }
}
