//! Whether a repository is at rest: whether a tick could find anything to do in it while its state and its budget stay as
//! they are.

use super::budget::Budget;
use super::state::{Awaits, Life, Stage, State};

/// Whether nothing but a person's command, or another file than these two, can give a tick something to do: every stage has
/// ended, nothing is left to clear away or to tell, no branch is watched for a merge, and no time is waited for.
pub fn is_at_rest(state: &State, budget: &Budget) -> bool {
    let Budget { halted, halt_reasons, pauses, deferrals, breakers, turned_away, drain, .. } = budget;
    let waits = *halted
        || !halt_reasons.is_empty()
        || !pauses.is_empty()
        || !deferrals.is_empty()
        || !breakers.is_empty()
        || turned_away.is_some()
        || drain.is_some();
    !waits && state.notices.is_empty() && state.stages.iter().all(has_ended)
}

fn has_ended(stage: &Stage) -> bool {
    let Life::Over(over) = &stage.life else { return false };
    let is_watched = over.kept.as_ref().is_some_and(|kept| matches!(kept.awaits, Awaits::Merge | Awaits::Approval));
    !is_watched && stage.chores.is_empty() && stage.repeats_at().is_none()
}
