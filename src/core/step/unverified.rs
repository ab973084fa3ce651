//! A stage that asks for no verifier: its gates alone let it land, and its landing commit says so.

use super::turn::{Turn, keep};
use super::verifying::go_on;
use crate::core::ids::RunId;
use crate::core::state::{Approval, Awaits, Candidate, EndStatus, Overlap, Reason, Stage, Work};
use crate::core::train::Train;
use crate::core::verdict::commit_headline;

/// Approves a candidate that nobody is asked about. Without a gate there would be no evidence at all, and it waits for
/// a person.
pub(super) fn approve(
    turn: &mut Turn,
    stage: &mut Stage,
    work: Work,
    candidate: Candidate,
    gate: Option<RunId>,
    why: &str,
) {
    let run = candidate.run.clone();
    let Some(gate) = gate else {
        stage.keep_work(&candidate);
        let detail = "the card asks for no verifier, and there is no gate: nothing would judge it; give it a command";
        let kept = keep(&work, candidate, Awaits::Nothing);
        return turn.end(stage, EndStatus::Blocked, Reason::new("nothing-judges", detail), Some(kept), Some(&run));
    };
    let approval = Approval {
        tree: candidate.tree.clone(),
        verified_tree: candidate.tree.clone(),
        gate: Some(gate),
        verdicts: Vec::new(),
        verifiers: Vec::new(),
        headline: commit_headline(&stage.title).unwrap_or_else(|| "land the stage".to_owned()),
        overlap: Overlap::Park,
        train: Train::Free,
    };
    go_on(turn, stage, work, candidate, approval, &run, &format!("no verifier is asked: {why}"));
}
