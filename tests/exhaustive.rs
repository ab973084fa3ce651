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

#[path = "support/briefs.rs"]
mod briefs;
#[path = "exhaustive/explore.rs"]
mod explore;
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
#[path = "exhaustive/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use explore::{Found, explore, story};
use world::Model;

fn check(model: &Model, compare_every: u64) -> Found {
    let begun = Instant::now();
    let found = explore(model, compare_every).unwrap_or_else(|why| {
        explore::IS_BROKEN.store(true, std::sync::atomic::Ordering::Relaxed);
        panic!("{why}")
    });
    let trapped = liveness::trapped(&found);
    if let Some(one) = trapped.first() {
        panic!("{} states have no way to rest, such as\n{}", trapped.len(), story(model, &found.parents, *one, None));
    }
    let longest = liveness::longest_way(&found).unwrap_or_else(|circle| {
        panic!(
            "the machine can be led in a circle of {}:\n{}",
            circle.len(),
            story(model, &found.parents, circle[0], None)
        )
    });
    println!(
        "{:<28} {:>9} states {:>10} moves, {:>6} compared, rest within {longest:>3} moves, {:.1?}",
        model.name,
        found.parents.len(),
        found.moves,
        found.compared,
        begun.elapsed()
    );
    found
}

#[test]
fn every_state_that_can_be_reached_keeps_the_invariants() {
    let models = models::all();
    let found: Vec<Found> = std::thread::scope(|scope| {
        let halves: Vec<_> = models.iter().map(|model| scope.spawn(|| check(model, 97))).collect();
        halves.into_iter().map(|half| half.join().expect("a model")).collect()
    });
    let rows: BTreeSet<_> = found.iter().flat_map(|found| found.rows.keys().cloned()).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/machine.md");
    let figures: Vec<String> = models
        .iter()
        .zip(&found)
        .map(|(model, found)| format!("- {}: {} states, {} moves", model.name, found.parents.len(), found.moves))
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
