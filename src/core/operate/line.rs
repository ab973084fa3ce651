//! What an operator says about the queue itself: hold, release, move.

use super::{Desk, Place, Refused, wrong};
use crate::core::dependencies::is_fresh;
use crate::core::ids::StageId;
use crate::core::state::{Life, Stage};
use crate::core::step::order;
use crate::core::wait::{Held, MOST_PASSES};

/// The stage must wait in the queue.
fn needs_pending(stage: &Stage) -> Result<(), Refused> {
    match &stage.life {
        Life::Pending(_) => Ok(()),
        Life::Over(_) => Err(wrong(stage, "it has ended; `autometta requeue` puts it back into the queue")),
        _ => Err(wrong(stage, "it is under way; `autometta cancel` stops it")),
    }
}

impl Desk {
    /// Holds a stage. Held already, only another reason is news.
    pub(super) fn hold(&mut self, id: &StageId, why: &str) -> Result<(), Refused> {
        let now = self.now;
        let stage = self.find(id)?;
        needs_pending(stage)?;
        if stage.wait.held.as_ref().is_some_and(|held| held.why == why || why.is_empty()) {
            return Ok(());
        }
        let since = stage.wait.held.take().map_or(now, |held| held.since);
        stage.wait.held = Some(Held { why: why.to_owned(), since });
        let detail = if why.is_empty() { "an operator said so" } else { why };
        self.note(Some(id), "held", None, None, format!("{detail}; `autometta queue release {id}` lets it go on"));
        Ok(())
    }

    pub(super) fn release(&mut self, id: &StageId) -> Result<(), Refused> {
        let stage = self.find(id)?;
        needs_pending(stage)?;
        if stage.wait.held.take().is_some() {
            self.note(Some(id), "released", None, None, "an operator lets it go on".to_owned());
        }
        Ok(())
    }

    /// Puts a stage beside another one, with whose priority it goes from then on; those that have begun go first anyway.
    pub(super) fn move_to(&mut self, id: &StageId, to: &Place) -> Result<(), Refused> {
        let stage = self.find(id)?;
        needs_pending(stage)?;
        let fresh = is_fresh(stage);
        let line = |stages: &[Stage]| -> Vec<StageId> {
            order(stages).into_iter().map(|index| stages[index].id.clone()).collect()
        };
        let before = line(&self.state.stages);
        let others: Vec<&StageId> = before
            .iter()
            .filter(|other| *other != id && self.state.stage(other).is_some_and(|other| is_fresh(other) == fresh))
            .collect();
        let (other, behind) = match to {
            Place::First => (others.first().copied().cloned(), false),
            Place::Last => (others.last().copied().cloned(), true),
            Place::Before(other) => (Some(other.clone()), false),
            Place::After(other) => (Some(other.clone()), true),
        };
        let Some(other) = other else { return Ok(()) };
        if other == *id {
            return Ok(());
        }
        let neighbour = self.find(&other)?;
        needs_pending(neighbour)?;
        if is_fresh(neighbour) != fresh {
            let way_out = if fresh {
                format!("{other} has begun already and goes on before anything begins")
            } else {
                format!("it has begun already and goes on before anything begins, {other} too")
            };
            return Err(wrong(self.find(id)?, &way_out));
        }
        let (priority, first) = (neighbour.priority, neighbour.wait.has_waited_enough());
        let mut stages = self.state.stages.clone();
        let Some(own) = stages.iter().position(|stage| stage.id == *id) else { return Ok(()) };
        let mut stage = stages.remove(own);
        let was = stage.priority;
        stage.priority = priority;
        stage.wait.passed_over = if first { MOST_PASSES } else { 0 };
        let Some(place) = stages.iter().position(|stage| stage.id == other) else { return Ok(()) };
        stages.insert(place + usize::from(behind), stage);
        if line(&stages) == before {
            return Ok(());
        }
        self.state.stages = stages;
        let side = if behind { "behind" } else { "before" };
        let changed = if was == priority { String::new() } else { format!(", with its priority {priority} for {was}") };
        self.note(Some(id), "moved", None, None, format!("an operator put it {side} {other}{changed}"));
        Ok(())
    }
}
