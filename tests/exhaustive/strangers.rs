//! News of what is not the machine's own: of runs that were settled long ago, of landings of what does not land, of
//! merges of what is not parked, of chores and notices of others. Whoever forges a record, or finds an old one, does no
//! more than that.

use autometta::core::observation::{LandingSighting, LaunchFaults, Observation, ParkedSighting, Sighting};
use autometta::core::state::{Awaits, Chore, Life};

use super::world::{Exit, Gates, Hand, Left, Model, Node, Product1, Seen, Word};

/// Puts such news into an observation; false where there is none to make up.
pub fn join(node: &Node, seen: &mut Observation, model: &Model) -> bool {
    let mut facts = node.facts.clone();
    let mut some = false;
    for (index, stage) in node.state.stages.iter().enumerate() {
        for past in &stage.history {
            some = true;
            let product = match past.run.role {
                autometta::core::ids::Role::Worker => Product1::Worker(Hand::Pass, Left::New),
                autometta::core::ids::Role::Gate => Product1::Gate(Gates::Passed),
                autometta::core::ids::Role::Verifier => Product1::Verifier(Word::Pass),
            };
            facts.ended.remove(&past.run);
            let passed = model.sight_of_past(index, stage, past, Seen::Ended(Exit::Clean, product), &mut facts);
            seen.runs.insert(past.run.clone(), passed);
            seen.launch_faults.insert(past.run.clone(), LaunchFaults { count: 9, last: "old".to_owned() });
        }
        // A run of the next attempt that nobody has ordered.
        let mut next = stage.next_run(autometta::core::ids::Role::Worker, None);
        next.attempt += 1;
        seen.runs.insert(next, Sighting::NotStarted);
        if !matches!(stage.life, Life::Landing(_)) {
            some = true;
            seen.landings.insert(stage.id.clone(), LandingSighting::Landed(facts.tip.clone()));
        }
        let parked = match &stage.life {
            Life::Over(over) => {
                over.kept.as_ref().is_some_and(|kept| matches!(kept.awaits, Awaits::Merge | Awaits::Approval))
            }
            _ => false,
        };
        if !parked {
            let merged = Some(facts.tip.clone());
            seen.parked.insert(stage.id.clone(), ParkedSighting { tip: facts.tip.clone(), merged });
        }
        let other = Chore::KeepWork { branch: "wip/other".to_owned(), commit: facts.tip.clone() };
        seen.done.entry(stage.id.clone()).or_default().push(other);
    }
    let other = autometta::core::notice::NoticeKey::new(facts.now + chrono::TimeDelta::days(1), 7);
    seen.told.insert(other);
    some
}
