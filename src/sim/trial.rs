//! Trying nights: running a script to its end, and making one that breaks something as short as it can be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chaos::{Parts, Script};
use super::ground::Cut;
use super::night::{Line, Night, Turn, What};
use super::truth::CHECKS;
use crate::tick::engine::turn;
use chrono::TimeDelta;

/// How long a night goes on before everything that goes wrong ends.
const HOURS: i64 = 9;

/// What came of a night.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What is broken; empty for a night in which everything held.
    pub broken: Vec<String>,
    /// How many ticks there were.
    pub fires: u64,
    /// How often each check was made.
    pub checks: [u64; CHECKS.len()],
    /// What has happened how often.
    pub happened: BTreeMap<&'static str, u64>,
    /// The story, where it was asked for.
    pub story: Vec<Line>,
}

/// Whether a night's story is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// It is.
    Told,
    /// It is not, which takes less time.
    Untold,
}

/// Runs a night to its end, with ticks that go as they should.
pub fn try_night(script: &Script, story: Story) -> Outcome {
    try_with(script, story, turn)
}

/// The same with ticks that go otherwise.
pub fn try_with(script: &Script, story: Story, turn: Turn<Parts>) -> Outcome {
    let night = match Night::new(script.setup(), script.cast()) {
        Ok(night) => night.with_turn(turn).with_troubles(script.troubles.iter().copied()),
        Err(error) => return refused(&error),
    };
    let mut night = if story == Story::Told { night } else { night.untold() };
    let ends = night.now() + TimeDelta::hours(HOURS);
    while night.broken().is_empty() && night.now() < ends && night.advance() {}
    if night.broken().is_empty() {
        night.rest();
    }
    let mut happened = night.happened().clone();
    for (kind, count) in &night.ground.cast().played {
        *happened.entry(kind).or_default() += count;
    }
    if night.ground.disk.failures() > 0 {
        *happened.entry("write failed for want of room").or_default() += night.ground.disk.failures();
    }
    Outcome {
        broken: night.broken().to_vec(),
        fires: night.fires(),
        checks: night.ground.truth.checks,
        happened,
        story: night.story().to_vec(),
    }
}

fn refused(error: &Cut) -> Outcome {
    Outcome { broken: vec![format!("a night cannot begin: {error}")], ..Outcome::default() }
}

/// One thing that may be left out of a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Part(usize),
    Trouble(usize),
}

/// The same night without all that is not needed for it to break what it breaks. Gives it back as it is where it breaks
/// nothing.
pub fn shrink(script: &Script, turn: Turn<Parts>) -> Script {
    let Some(broken) = invariant(&try_with(script, Story::Untold, turn)) else { return script.clone() };
    let still = |script: &Script| invariant(&try_with(script, Story::Untold, turn)).as_ref() == Some(&broken);
    let mut small = script.clone();
    let mut items: Vec<Item> = (0..script.troubles.len()).map(Item::Trouble).collect();
    items.extend(script.parts.keys().copied().map(Item::Part));
    let mut size = items.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < items.len() {
            let mut fewer = items.clone();
            fewer.drain(at..(at + size).min(items.len()));
            let candidate = with_only(script, &fewer);
            if still(&candidate) {
                (items, small, has_shrunk) = (fewer, candidate, true);
            } else {
                at += size;
            }
        }
        size = if has_shrunk && size == 1 { 1 } else { size / 2 };
    }
    fewer_cards(small, &still)
}

/// The night with these things only.
fn with_only(script: &Script, items: &[Item]) -> Script {
    let mut fewer = script.clone();
    fewer.parts.retain(|number, _| items.contains(&Item::Part(*number)));
    let kept = |number: &usize| items.contains(&Item::Trouble(*number));
    fewer.troubles = (0..script.troubles.len()).filter(kept).map(|number| script.troubles[number]).collect();
    fewer
}

/// Takes the last cards off, and the rules that are not needed.
fn fewer_cards(mut small: Script, still: &dyn Fn(&Script) -> bool) -> Script {
    let mut tries: Vec<fn(&mut Script)> = vec![
        |script| script.queue.asks = false,
        |script| script.queue.tokens = None,
        |script| script.queue.cost = None,
        |script| script.queue.failures = None,
        |script| script.queue.window = crate::core::budget::Window::None,
        |script| script.queue.parallel = 1,
        |script| script.queue.kept = 100,
    ];
    for _ in 1..small.queue.cards.len() {
        tries.insert(0, |script| drop(script.queue.cards.pop()));
    }
    for change in tries {
        let mut fewer = small.clone();
        change(&mut fewer);
        if fewer.queue != small.queue && still(&fewer) {
            small = fewer;
        }
    }
    small
}

/// The number of the invariant that broke first.
fn invariant(outcome: &Outcome) -> Option<String> {
    outcome.broken.first().map(|words| words.split(':').next().unwrap_or_default().to_owned())
}

/// What a person needs to see of a night that broke something: what is broken, what it takes, and what happened.
pub fn report(script: &Script, turn: Turn<Parts>) -> String {
    let outcome = try_with(script, Story::Told, turn);
    let mut text = String::new();
    let _ = writeln!(text, "seed {}: {}", script.seed, outcome.broken.join("; "));
    let _ = writeln!(text, "again: AUTOMETTA_SEED={} cargo test --test simulate", script.seed);
    let queue = &script.queue;
    let stages: Vec<&str> = queue.cards.iter().map(|(stage, _)| stage.as_str()).collect();
    let _ = writeln!(
        text,
        "queue: {}; {} at once, {} retries, caps {:?} tokens and {:?} millionths, window {}{}",
        stages.join(", "),
        queue.parallel,
        queue.retries,
        queue.tokens,
        queue.cost,
        queue.window,
        if queue.asks { ", landings ask" } else { "" }
    );
    for (number, part) in &script.parts {
        let _ = writeln!(text, "run {number}: {part:?}");
    }
    for line in &outcome.story {
        let at = line.at.format("%a %H:%M:%S%.3f");
        let _ = match &line.what {
            What::Happened(words) => writeln!(text, "{at}  {words}"),
            What::Noted(note) => {
                let about = note.run.as_ref().map(ToString::to_string);
                let about = about.or_else(|| note.stage.as_ref().map(ToString::to_string)).unwrap_or_default();
                let moved = note.to.as_ref().map(|to| format!(" -> {to}")).unwrap_or_default();
                writeln!(text, "{at}    {} {about}{moved} {}", note.event, note.detail)
            }
        };
    }
    text
}
