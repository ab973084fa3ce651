//! Stages that are held back because a whole attempt, by what it usually takes, would not fit into what is left.
//!
//! Holding changes nothing in the state: it follows from the budget at every step anew. It ends where another run was
//! cheaper than its reservation, a cap was raised or the window moves on; where nothing is left that could go on, the
//! repository halts with the cap that is in the way, until a whole attempt fits.

use super::dispatch::Hold;
use super::queue::hold_in;
use super::turn::Turn;
use crate::core::budget::Halt;
use crate::core::dependencies::Web;
use crate::core::forecast::{self, Shortfall};
use crate::core::ids::StageId;
use crate::core::notice::needs_an_edit;
use crate::core::observation::Brief;
use crate::core::state::{Life, Stage};

/// A stage that is held back, and the caps that are in its way.
pub(super) struct Held {
    stage: StageId,
    short: Shortfall,
}

/// Whether a stage whose worker may start is held back.
pub(super) fn is_held(turn: &mut Turn, stage: &Stage, brief: &Brief) -> bool {
    let mut short = forecast::shortfall(&turn.budget, brief);
    if let Some(Shortfall { whole, .. }) = short
        && turn.roll_window(&whole)
    {
        short = forecast::shortfall(&turn.budget, brief);
    }
    let Some(short) = short else { return false };
    turn.held.push(Held { stage: stage.id.clone(), short });
    true
}

/// Halts where nothing but stages that are held back is left.
pub(super) fn halt_where_nothing_else_goes(turn: &mut Turn, web: &Web, stages: &[Stage]) {
    if turn.budget.halted || stages.iter().any(|stage| may_go(turn, web, stages, stage)) {
        return;
    }
    let Some(Held { stage, short }) = turn.held.first() else { return };
    let detail = |halt: &Halt| Halt {
        detail: format!("{stage} and nothing else is left to start, and {}; raise the cap", halt.detail),
        ..halt.clone()
    };
    let halts = short.halts.iter().map(detail).collect();
    turn.budget.turned_away = Some(short.whole);
    turn.halt(halts);
}

/// Whether a stage goes on, now or later, without this one's being let go.
fn may_go(turn: &Turn, web: &Web, stages: &[Stage], stage: &Stage) -> bool {
    match &stage.life {
        Life::Over(_) => false,
        Life::Landing(landing) => landing.waiting.is_none(),
        Life::Working(_) | Life::Gating(_) | Life::Verifying(_) => true,
        Life::Pending(_) if turn.held.iter().any(|held| held.stage == stage.id) => false,
        Life::Pending(pending) => match hold_in(web, stages, stage, &turn.budget, turn.policy, turn.now) {
            Some(
                Hold::Dependency(..)
                | Hold::Claim(..)
                | Hold::Reserved(..)
                | Hold::Circle(_)
                | Hold::Elsewhere(..)
                | Hold::Held(_),
            ) => false,
            Some(_) => true,
            // One that was stepped over waits for an edit.
            None => !pending.reason.as_ref().is_some_and(|reason| needs_an_edit(&reason.code)),
        },
    }
}
