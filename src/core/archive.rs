//! Which stages are out of the way: those that are done with and that nothing asks about any more.
//!
//! They leave `state.yaml` for a file of their own each, so that a tick costs the same after ten thousand stages as
//! after ten. An operator's command brings back what it is about.

use std::collections::BTreeSet;

use super::ids::StageId;
use super::state::{EndStatus, Life, Stage, State};

/// Whether a stage has ended in a way that asks nothing of anybody, with nothing left to do around it.
fn is_done_with(stage: &Stage) -> bool {
    let closed = |status| matches!(status, EndStatus::Completed | EndStatus::Superseded);
    let ends_here = stage.chores.is_empty() && !will_repeat(stage);
    ends_here && matches!(&stage.life, Life::Over(over) if closed(over.status))
}

/// Whether it is queued again, now that it has landed, or would be but for its card.
fn will_repeat(stage: &Stage) -> bool {
    let completed = matches!(&stage.life, Life::Over(over) if over.status == EndStatus::Completed);
    completed && stage.wait.repeat.is_some()
}

/// Stages that have begun another round since, as they were at the end of the one before.
pub fn rounds(before: &State, after: &State) -> Vec<Stage> {
    let rounds = |stage: &Stage| stage.wait.repeat.as_ref().map_or(0, |repeat| repeat.rounds);
    let repeated = after.stages.iter().filter(|stage| rounds(stage) > 0);
    repeated
        .filter_map(|stage| before.stage(&stage.id).filter(|known| rounds(known) < rounds(stage)).cloned())
        .collect()
}

/// Takes the stages out of the state that are done with, all but the newest `keep`. What a stage that has not landed
/// yet depends on stays.
pub fn take(state: &mut State, keep: usize) -> Vec<Stage> {
    let ended_at = |stage: &Stage| match &stage.life {
        Life::Over(over) if is_done_with(stage) => Some(over.at),
        _ => None,
    };
    let mut done: Vec<_> = state.stages.iter().filter_map(|stage| Some((ended_at(stage)?, &stage.id))).collect();
    if done.len() <= keep {
        return Vec::new();
    }
    let needed: BTreeSet<&StageId> =
        state.stages.iter().filter(|stage| !is_done_with(stage)).flat_map(|stage| &stage.depends_on).collect();
    done.sort();
    let surplus = done.len() - keep;
    let leaving: BTreeSet<StageId> =
        done[..surplus].iter().map(|(_, id)| (*id).clone()).filter(|id| !needed.contains(id)).collect();
    let (gone, left) = std::mem::take(&mut state.stages).into_iter().partition(|stage| leaving.contains(&stage.id));
    state.stages = left;
    gone
}
