//! Simulated nights: the tick's own engine in a made-up world, by seed.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

#[path = "simulate/cards.rs"]
mod cards;

use autometta::core::state::{EndStatus, Life};
use autometta::sim::{Night, Play, Setup};

fn lands(is_stored: bool) {
    let setup = Setup { is_stored, ..cards::setup(3) };
    let mut night = Night::new(setup, Play::well).expect("a night");
    night.run_until(chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(8));
    for line in night.story() {
        println!("{} {:?}", line.at, line.what);
    }
    let landed = |stage: &&autometta::core::state::Stage| matches!(&stage.life, Life::Over(over) if over.status == EndStatus::Completed);
    assert_eq!(night.loaded().state.stages.iter().filter(landed).count(), 3);
    assert!(night.ground.git.worktrees.is_empty());
    assert!(night.ground.truth.broken.is_empty());
}

#[test]
fn a_night_without_troubles_lands_everything() {
    lands(true);
    lands(false);
}
