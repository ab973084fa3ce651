//! The door that every dispatch passes: not while halted, not while its family is paused, and only where spent +
//! reserved + its own worst case stays within every cap.

use super::turn::Turn;
use crate::core::budget::Admission;
use crate::core::ids::RunId;
use crate::core::observation::Placed;
use crate::core::state::{Flight, Reservation};

/// Says no by `None`; latches a halt where a cap is reached.
pub(super) fn admit(turn: &mut Turn, ask: &Reservation) -> Option<()> {
    if turn.budget.halted {
        return None;
    }
    match turn.budget.admits(ask) {
        Admission::Fits => {
            turn.budget.reserve(ask);
            Some(())
        }
        Admission::Later(_) => None,
        Admission::Over(over) => {
            turn.halt(over);
            None
        }
    }
}

/// Whether the family of somebody who is to run waits for its provider.
pub(super) fn paused(turn: &Turn, placed: &Placed) -> bool {
    turn.budget.paused(&placed.family, turn.now).is_some() || turn.budget.deferred(&placed.family, turn.now).is_some()
}

/// A run that has passed the door.
pub(super) fn flight(turn: &Turn, run: RunId, placed: Option<&Placed>, reserved: Reservation) -> Flight {
    Flight {
        run,
        identity: placed.map(|placed| placed.identity.clone()),
        family: placed.map(|placed| placed.family.clone()),
        model: placed.and_then(|placed| placed.model.clone()),
        reserved,
        dispatched_at: turn.now,
        stopping: None,
    }
}
