//! A world that does what a step asks for and nothing else, and may lose any part of it.

use autometta::core::state::{Chore, Life, State};
use autometta::core::step::{Effect, Step};

use super::tally::{Broken, Tally, hold};
use super::world::{ALL, Done, Effects, Facts, Model, Node};

/// How many fires in a row may lose something. What they lose adds up; without an end there would be no end of states.
const MOST_LOSSES: u8 = 2;

/// What may come of the effects of a step: each subset of them, a bit for each. Beyond three of them: none, all, those up to
/// some place, and all but one.
pub fn fates(model: &Model, done: &Step, facts: &Facts) -> Vec<u16> {
    let count = u32::try_from(done.effects.len()).unwrap_or(16).min(15);
    if model.effects == Effects::Free || count == 0 || facts.done.losses == MOST_LOSSES {
        return vec![ALL];
    }
    let whole = (1_u16 << count) - 1;
    if count <= 3 {
        return (0..=whole).map(|fate| if fate == whole { ALL } else { fate }).collect();
    }
    let up_to = (0..count).map(|place| (1_u16 << place) - 1);
    let without = (0..count).map(|place| whole & !(1_u16 << place));
    let mut fates: Vec<u16> = up_to.chain(without).chain([ALL]).collect();
    fates.sort_unstable();
    fates.dedup();
    fates
}

/// Carries out those effects of a step that are not lost, and forgets what nobody asks about any more.
pub fn carry_out(model: &Model, done: &Step, fate: u16, facts: &mut Facts, tally: &Tally) -> Result<(), Broken> {
    if model.effects == Effects::Free {
        return Ok(());
    }
    facts.done.losses = if fate == ALL { 0 } else { facts.done.losses + 1 };
    facts.done.lost.clear();
    for (place, effect) in done.effects.iter().enumerate() {
        if place < 16 && fate & (1 << place) == 0 {
            if matches!(effect, Effect::Chore { .. } | Effect::Tell { .. }) {
                facts.done.lost.push(effect.clone());
            }
            continue;
        }
        match effect {
            Effect::Stop { run, .. } => drop(facts.done.stopped.insert(run.clone())),
            Effect::Chore { stage, chore } => {
                let known = facts.done.chores.iter().any(|(of, one)| of == stage && one == chore);
                if !known {
                    facts.done.chores.push((stage.clone(), chore.clone()));
                }
            }
            Effect::Land { stage } => {
                let Some(Life::Landing(landing)) = done.state.stage(stage).map(|stage| &stage.life) else {
                    return Err(format!("{stage} is to land, and is not landing"));
                };
                let commit = landing.candidate.commit.clone();
                let before = facts.done.landed.insert(stage.clone(), commit.clone());
                hold!(tally, LandsOnce, before.is_none_or(|before| before == commit), "{stage}");
                facts.tip = commit;
            }
            Effect::Launch { run } => drop(facts.started.insert(run.clone())),
            Effect::Tell { key } => drop(facts.done.told.insert(key.clone())),
        }
    }
    let state = &done.state;
    let Done { stopped, chores, told, landed: _, lost: _, losses: _ } = &mut facts.done;
    stopped.retain(|run| state.flights().any(|(_, flight)| flight.run == *run));
    chores.retain(|(of, chore)| state.stage(of).is_some_and(|stage| stage.chores.contains(chore)));
    told.retain(|key| state.notices.iter().any(|notice| notice.key == *key));
    Ok(())
}

/// How much was asked for and is not done yet.
pub fn owed(node: &Node) -> usize {
    let (state, facts): (&State, &Facts) = (&node.state, &node.facts);
    let is_done = |of, chore: &Chore| facts.done.chores.iter().any(|(stage, one)| stage == of && one == chore);
    let chores = state.stages.iter().flat_map(|stage| stage.chores.iter().filter(|chore| !is_done(&stage.id, chore)));
    let launches = state.flights().filter(|(_, flight)| !facts.started.contains(&flight.run));
    let notices = state.notices.iter().filter(|notice| !facts.done.told.contains(&notice.key));
    chores.count() + launches.count() + notices.count()
}
