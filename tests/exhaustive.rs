//! The exhaustive check: every state that the machine can reach, with every observation that the world can make, and the
//! invariants held against each. `docs/machine.md` is written from what it finds.
//!
//! `AUTOMETTA_BLESS=1 cargo test --test exhaustive` writes the page anew.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test reports and fails loudly"
)]

#[path = "exhaustive/across.rs"]
mod across;
#[path = "support/briefs.rs"]
mod briefs;
#[path = "exhaustive/effects.rs"]
mod effects;
#[path = "exhaustive/explore.rs"]
mod explore;
#[path = "exhaustive/happens.rs"]
mod happens;
#[path = "exhaustive/invariants.rs"]
mod invariants;
#[path = "exhaustive/key.rs"]
mod key;
#[path = "exhaustive/liveness.rs"]
mod liveness;
#[path = "exhaustive/models.rs"]
mod models;
#[path = "exhaustive/page.rs"]
mod page;
#[path = "exhaustive/person.rs"]
mod person;
#[path = "exhaustive/sights.rs"]
mod sights;
#[path = "exhaustive/strangers.rs"]
mod strangers;
#[path = "exhaustive/tally.rs"]
mod tally;
#[path = "exhaustive/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use explore::{Found, Walk, story};
use tally::{CHECKS, Check};
use world::Model;

/// What the exploration of one model has found, how often each check applied, and which commands were given.
type Explored = (Found, Vec<u64>, BTreeMap<&'static str, u64>);

fn check(model: &Model) -> Explored {
    let begun = Instant::now();
    let mut walk = Walk::new(model);
    let found = walk.explore(97).unwrap_or_else(|why| panic!("{why}"));
    let trapped = liveness::trapped(&found);
    if let Some(one) = trapped.first() {
        panic!("{} states have no way to rest, such as\n{}", trapped.len(), story(model, &found.parents, *one, None));
    }
    let ways = found.settled.iter().filter(|settled| !**settled).count();
    walk.tally.met_times(Check::HasAWayOut, u64::try_from(ways).expect("a count"));
    let longest = liveness::longest_way(&found).unwrap_or_else(|circle| {
        panic!(
            "the machine can be led in a circle of {}:\n{}",
            circle.len(),
            story(model, &found.parents, circle[0], None)
        )
    });
    println!(
        "{:<60} {:>7} states {:>8} moves, {:>5} compared, rest within {longest:>3} moves, {:.1?}",
        model.name,
        found.parents.len(),
        found.moves,
        found.compared,
        begun.elapsed()
    );
    (found, walk.tally.counts(), walk.tally.given.take())
}

/// Explores every model, as many at once as there are processors, in the order of the list.
fn explore_all(models: &[Model]) -> Vec<Explored> {
    let next = AtomicUsize::new(0);
    let at_once = std::thread::available_parallelism().map_or(2, usize::from).min(models.len());
    let work = || {
        let mut done = Vec::new();
        while let Some(model) = models.get(next.fetch_add(1, Ordering::SeqCst)) {
            let place = models.iter().position(|one| one.name == model.name).expect("one of them");
            done.push((place, check(model)));
        }
        done
    };
    let mut found: Vec<(usize, Explored)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a model")).collect()
    });
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, explored)| explored).collect()
}

#[test]
fn every_state_that_can_be_reached_keeps_the_invariants() {
    let begun = Instant::now();
    let only = std::env::var("AUTOMETTA_MODEL").ok();
    let wanted = |model: &Model| only.as_ref().is_none_or(|words| model.name.contains(words.as_str()));
    let models: Vec<Model> = models::all().into_iter().filter(wanted).collect();
    let explored = explore_all(&models);
    let states: usize = explored.iter().map(|(found, ..)| found.parents.len()).sum();
    let moves: u64 = explored.iter().map(|(found, ..)| found.moves).sum();
    let mut met = vec![0_u64; CHECKS.len()];
    let mut given = BTreeMap::new();
    for (_, counts, commands) in &explored {
        met.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        for (name, count) in commands {
            *given.entry(*name).or_insert(0) += count;
        }
    }
    println!("{} models, {states} states, {moves} moves in {:.1?}", models.len(), begun.elapsed());
    for ((number, words), count) in CHECKS.iter().zip(&met) {
        println!("{count:>12}  {number:>2}  {words}");
    }
    if only.is_some() {
        return;
    }
    let idle: Vec<&str> = CHECKS.iter().zip(&met).filter(|(_, met)| **met == 0).map(|((_, words), _)| *words).collect();
    assert!(idle.is_empty(), "checks that never applied: {idle:?}");
    let never: Vec<&str> = person::NAMES.into_iter().filter(|name| !given.contains_key(name)).collect();
    assert!(never.is_empty(), "commands that no model gives: {never:?}");
    let rows: BTreeSet<_> = explored.iter().flat_map(|(found, ..)| found.rows.keys().cloned()).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/machine.md");
    let figures: Vec<String> = models
        .iter()
        .zip(&explored)
        .map(|(model, (found, ..))| format!("- {}: {} states, {} moves", model.name, found.parents.len(), found.moves))
        .collect();
    let text = page::page(&rows, &figures.join("\n"));
    if std::env::var_os("AUTOMETTA_BLESS").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        known == text,
        "docs/machine.md is out of date: `AUTOMETTA_BLESS=1 cargo test --test exhaustive` writes it"
    );
}
