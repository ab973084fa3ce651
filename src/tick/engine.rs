//! The heart of a tick: observe, decide, commit, perform, and round again while landings release work. The real world
//! and a simulated one go through the same lines.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::core::archive;
use crate::core::ids::StageId;
use crate::core::observation::{LandingSighting, Observation};
use crate::core::policy::Policy;
use crate::core::state::{Stage, State};
use crate::core::step::{Effect, Note, Step, step};
use crate::files::store::Loaded;

/// How often one fire goes round for stages that landed in it.
const ROUNDS: usize = 16;

/// Where a tick happens: whoever holds the lock of one repository's state.
pub trait World {
    /// Why the tick cannot go on.
    type Error;

    /// The time.
    fn now(&self) -> DateTime<Utc>;

    /// The rules that the machine decides by.
    fn policy(&self) -> &Policy;

    /// Turns what is there into data; `tried` is what came of landings that this fire has tried. Nobody relies on
    /// anything that looking changes.
    ///
    /// # Errors
    /// Something that the decision needs cannot be seen.
    fn observe(
        &mut self,
        loaded: &Loaded,
        tried: &BTreeMap<StageId, LandingSighting>,
        now: DateTime<Utc>,
    ) -> Result<Observation, Self::Error>;

    /// Makes a decision last, whole or not at all.
    ///
    /// # Errors
    /// It does not stand, or stands and could not be copied to its places.
    fn commit(&mut self, change: &Change<'_>) -> Result<(), Self::Error>;

    /// Takes notice that all there is to commit in this round is committed.
    fn committed(&mut self, loaded: &Loaded, round: &Round<'_>);

    /// Carries out what was decided. What came of it is observed later, and never assumed.
    fn perform(&mut self, state: &State, effects: &[Effect], now: DateTime<Utc>) -> Performed;
}

/// A decision, with all that it follows from beside the policy.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What was known.
    pub before: &'a Loaded,
    /// What was seen.
    pub seen: &'a Observation,
    /// Ticks since the last change that did nothing and are counted with this one.
    pub idle: u64,
    /// What is known from now on.
    pub after: &'a Loaded,
    /// Stages of `before` that leave the state for the archive.
    pub archived: &'a [Stage],
    /// What happened.
    pub notes: &'a [Note],
    /// When.
    pub now: DateTime<Utc>,
}

/// What one round has come to.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// What happened.
    pub notes: &'a [Note],
    /// Whether anything has changed, or is to be done.
    pub is_busy: bool,
}

/// What came of the effects that a fire finished itself.
#[derive(Debug, Default)]
pub struct Performed {
    /// Stages whose landing was tried, with what stood in the way.
    pub landings: BTreeMap<StageId, LandingSighting>,
    /// Whether a landing was tried, so that the fire goes round once more.
    pub landed: bool,
    /// What failed; the next tick tries again.
    pub failures: Vec<String>,
}

/// What a tick has come to.
#[derive(Debug)]
pub struct Turned {
    /// What is known after it.
    pub loaded: Loaded,
    /// What was seen last.
    pub seen: Observation,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// What failed and is tried again by the next tick.
    pub failures: Vec<String>,
    /// Idle ticks that no change has counted yet.
    pub idle: u64,
}

/// What follows from a state and what was seen.
#[derive(Debug)]
pub struct Decision {
    /// What is known from now on.
    pub after: Loaded,
    /// Whether that is anything new.
    pub is_change: bool,
    /// Stages that leave the state for the archive.
    pub archived: Vec<Stage>,
    /// What to do once it is committed.
    pub effects: Vec<Effect>,
    /// What happened.
    pub notes: Vec<Note>,
}

/// Decides, and counts the tick; `idle` ticks before it did nothing.
#[must_use]
pub fn decide(known: &Loaded, seen: &Observation, policy: &Policy, idle: u64, now: DateTime<Utc>) -> Decision {
    let Step { mut state, mut budget, effects, notes } = step(&known.state, &known.budget, seen, policy, now);
    let is_change = state != known.state || budget != known.budget;
    let mut archived = Vec::new();
    if is_change {
        state.tick_count += 1 + idle;
        budget.idle_ticks_used += idle;
        archived = archive::rounds(&known.state, &state);
        archived.extend(archive::take(&mut state, policy.finished_kept));
    }
    Decision { after: Loaded { state, budget }, is_change, archived, effects, notes }
}

/// Ticks once in a world whose state is loaded, with `idle` ticks before it that did nothing.
///
/// # Errors
/// The world cannot be seen, or a decision does not stand; what was committed before is committed.
pub fn turn<W: World>(world: &mut W, mut loaded: Loaded, mut idle: u64) -> Result<Turned, W::Error> {
    let mut seen = Observation::default();
    let (mut all_notes, mut failures) = (Vec::new(), Vec::new());
    let mut tried = BTreeMap::new();
    for _ in 0..ROUNDS {
        let now = world.now();
        seen = world.observe(&loaded, &tried, now)?;
        let Decision { after, is_change, archived, effects, notes } = decide(&loaded, &seen, world.policy(), idle, now);
        if is_change {
            let change =
                Change { before: &loaded, seen: &seen, idle, after: &after, archived: &archived, notes: &notes, now };
            world.commit(&change)?;
            idle = 0;
            loaded = after;
        }
        world.committed(&loaded, &Round { notes: &notes, is_busy: is_change || !effects.is_empty() });
        all_notes.extend(notes);
        let performed = world.perform(&loaded.state, &effects, now);
        failures.extend(performed.failures);
        tried = performed.landings;
        if !performed.landed {
            break;
        }
    }
    Ok(Turned { loaded, seen, notes: all_notes, failures, idle })
}
