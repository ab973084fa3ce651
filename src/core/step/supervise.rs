//! What runs in flight have come to: the way into every phase's own rules.

use super::turn::Turn;
use super::{Effect, landing, verifying, working};
use crate::core::exit::Usage;
use crate::core::ids::{RunId, StageId};
use crate::core::observation::{Ended, LostRun, Pulse, Sighting, Watched, WorkSighting};
use crate::core::outcome::{Health, Outcome};
use crate::core::quantity::Seconds;
use crate::core::state::{Awaits, Chore, EndStatus, Flight, Life, Over, Reason, Stage, Stopping};

/// Moves one stage by what was seen of it.
pub(super) fn advance(turn: &mut Turn, stage: &mut Stage) {
    match &stage.life {
        Life::Pending(_) => {}
        Life::Working(_) => working::advance(turn, stage),
        Life::Gating(_) => verifying::advance_gate(turn, stage),
        Life::Verifying(_) => verifying::advance_seats(turn, stage),
        Life::Landing(_) => landing::advance(turn, stage),
        Life::Over(_) => close_parked(turn, stage),
    }
}

/// What a look at one flight comes to.
pub(super) enum Look {
    /// Nothing that moves the stage.
    Nothing,
    /// It ended, with a record.
    Ended(Box<Ended>),
    /// It ended without a record.
    Lost(Box<LostRun>),
    /// Its launch was tried as often as the policy allows and failed each time, or is no longer wanted.
    NeverStarted,
}

/// Looks at one flight, orders what keeps it going, and says whether it has ended.
pub(super) fn look(turn: &mut Turn, stage: &StageId, flight: &mut Flight) -> Look {
    match turn.seen.runs.get(&flight.run) {
        None => Look::Nothing,
        Some(Sighting::NotStarted) => {
            let failed = turn.seen.launch_faults.get(&flight.run).map_or(0, |faults| faults.count);
            if flight.stopping.is_some() || failed >= turn.policy.launch_tries {
                return Look::NeverStarted;
            }
            turn.launch(&flight.run);
            Look::Nothing
        }
        Some(Sighting::Running(pulse)) => {
            if flight.stopping.is_none() && over_time(flight, *pulse) {
                flight.stopping = Some(Stopping::OverTime);
                let detail = "its supervisor is gone and its wall-clock cap is reached; stopping it";
                turn.note(stage, Some(&flight.run), "over-time", detail);
            }
            if let Some(why) = flight.stopping {
                turn.stop(Effect::Stop { run: flight.run.clone(), why });
            }
            Look::Nothing
        }
        Some(Sighting::Ended(ended)) => Look::Ended(ended.clone()),
        Some(Sighting::Lost(lost)) => {
            let mut lost = lost.clone();
            // Nobody asked for this end but us, in the supervisor's place; that it left no record is not the work's fault.
            if flight.stopping == Some(Stopping::OverTime) {
                flight.stopping = None;
                lost.detail = String::from("its supervisor was gone, and it was stopped at its wall-clock cap");
            }
            Look::Lost(lost)
        }
    }
}

/// A live run is stopped from here only where nobody else watches its wall-clock cap.
fn over_time(flight: &Flight, pulse: Pulse) -> bool {
    pulse.watched == Watched::ByTicksOnly
        && flight.reserved.seconds > Seconds(0)
        && pulse.elapsed.is_some_and(|elapsed| elapsed >= flight.reserved.seconds)
}

/// Why a run never started, in words.
pub(super) fn why_never_started(turn: &Turn, run: &RunId) -> String {
    let known = turn.seen.launch_faults.get(run);
    known.map_or_else(|| "its supervisor did not start".to_owned(), |faults| faults.last.clone())
}

/// Settles a run that never ran at all: nothing is charged.
pub(super) fn settle_never_started(turn: &mut Turn, stage: &mut Stage, flight: &Flight) {
    turn.weigh(flight, Health::Untold);
    turn.settle(stage, flight, Outcome::NeverStarted.recorded(), None, &Usage::none(), Seconds(0));
    stage.add_chore(Chore::Clear { run: flight.run.clone() });
}

/// Settles a run that was lost, by what its output tells.
pub(super) fn settle_lost(turn: &mut Turn, stage: &mut Stage, flight: &Flight, lost: &LostRun) {
    let outcome = if flight.stopping.is_some() { Outcome::Cancelled } else { Outcome::Lost }.recorded();
    // How long it lived is only known by the calendar, which jumps and runs on while the machine sleeps; its own cap
    // bounds it.
    let elapsed = lost.elapsed.map_or(flight.reserved.seconds, |elapsed| elapsed.min(flight.reserved.seconds));
    turn.weigh(flight, Health::Untold);
    turn.settle(stage, flight, outcome, None, &lost.usage, elapsed);
    if !matches!(lost.work, Some(WorkSighting::Withheld(_))) {
        stage.add_chore(Chore::Clear { run: flight.run.clone() });
    }
}

/// Ends a stage whose run was stopped on purpose.
pub(super) fn end_stopped(turn: &mut Turn, stage: &mut Stage, why: Stopping, run: &RunId) {
    match why {
        Stopping::Cancelled => {
            let reason = Reason::new("cancelled", "an operator cancelled it");
            turn.close(stage, EndStatus::Failed, reason, run);
        }
        Stopping::Skipped => {
            let reason = Reason::new("skipped", "an operator closed it");
            turn.close(stage, EndStatus::Superseded, reason, run);
        }
        Stopping::OverTime => {
            let reason = Reason::new("timed-out", "it reached its wall-clock cap after its supervisor was gone");
            turn.end(stage, EndStatus::Stalled, reason, None, Some(run));
        }
    }
}

/// A parked stage closes by itself once somebody has merged its change.
fn close_parked(turn: &mut Turn, stage: &mut Stage) {
    let Some(seen) = turn.seen.parked.get(&stage.id).cloned() else { return };
    let Life::Over(over) = &mut stage.life else { return };
    let Some(kept) = &mut over.kept else { return };
    if !matches!(kept.awaits, Awaits::Merge | Awaits::Approval) {
        return;
    }
    match seen.merged {
        None => kept.seen_tip = Some(seen.tip),
        Some(commit) => {
            let detail = format!("{commit} holds the change");
            let reason = Reason::new("merged-by-hand", detail.clone());
            let over = Over {
                status: EndStatus::Completed,
                reason: Some(reason),
                at: turn.now,
                commit: Some(commit),
                kept: None,
            };
            turn.moves(stage, Life::Over(over), None, "merged-by-hand", detail);
            turn.budget.landed();
            stage.add_chore(Chore::DropRunBranch);
        }
    }
}
