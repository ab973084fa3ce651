//! A stage that moves onto its base branch.

use super::turn::{Turn, keep};
use super::verifying;
use super::working::nothing_to_land;
use crate::core::ids::{CommitId, StageId};
use crate::core::observation::LandingSighting;
use crate::core::state::{
    Approval, Awaits, Candidate, Chore, EndStatus, Gating, Landing, Life, Over, Overlap, Reason, Stage, Work,
};
use crate::core::train::{Own, Train};
use crate::core::words::list;

/// Moves a stage that is landing.
pub(super) fn advance(turn: &mut Turn, stage: &mut Stage) {
    let Life::Landing(landing) = stage.life.clone() else { return };
    let Some(sighting) = turn.seen.landings.get(&stage.id).cloned() else { return };
    match sighting {
        LandingSighting::Ready => try_now(turn, stage),
        LandingSighting::Landed(commit) => {
            let over = Over {
                status: EndStatus::Completed,
                reason: None,
                at: turn.now,
                commit: Some(commit.clone()),
                kept: None,
            };
            let detail = format!("{commit} on {}", stage.base_branch);
            turn.moves(stage, Life::Over(over), Some(&landing.candidate.run), "landed", detail);
            turn.budget.landed();
            stage.add_chore(Chore::DropRunBranch);
        }
        LandingSighting::Rebased { tip, candidate, behind } => {
            rebased(turn, stage, landing, tip, candidate, behind.as_ref());
        }
        LandingSighting::Behind(_) => {
            if let Life::Landing(landing) = &mut stage.life {
                landing.waiting = None;
            }
        }
        LandingSighting::Overlap { tip, paths } => {
            let landing = landing.uncoupled();
            point_run_branch(stage, &landing.candidate);
            let detail = format!(
                "{} moved to {tip} and changes {} as well{}; merge or cherry-pick autometta/{} by hand, and the stage closes itself",
                stage.base_branch,
                list(&paths),
                if landing.approval.overlap == Overlap::Merge { ", in the same places" } else { "" },
                stage.id
            );
            stage.keep_work(&landing.candidate);
            let mut kept = keep(&landing.work, landing.candidate.clone(), Awaits::Merge);
            kept.seen_tip = Some(tip);
            kept.approval = Some(Approval { overlap: Overlap::Park, ..landing.approval });
            let run = landing.candidate.run.clone();
            turn.end(stage, EndStatus::Blocked, Reason::new("integration", detail), Some(kept), Some(&run));
        }
        LandingSighting::Dirty(paths) => {
            let detail = format!(
                "{} is checked out with local edits in {}; it lands by itself once they are committed or gone",
                stage.base_branch,
                list(&paths)
            );
            wait(turn, stage, Reason::new("local-edits", detail));
        }
        LandingSighting::Busy(why) => wait(turn, stage, Reason::new("checkout-busy", why)),
        LandingSighting::NoBase => {
            let detail = format!("the branch {} does not exist; it lands by itself once it does", stage.base_branch);
            wait(turn, stage, Reason::new("no-base", detail));
        }
        LandingSighting::Failed(why) => wait(turn, stage, Reason::new("git-failed", why)),
    }
}

/// Orders the landing now, where nothing is in its way.
pub(super) fn try_now(turn: &mut Turn, stage: &mut Stage) {
    let Life::Landing(landing) = &mut stage.life else { return };
    let base_tree_is_same = landing.candidate.commit == landing.work.base_commit;
    if base_tree_is_same {
        return nothing_to_land(turn, stage);
    }
    if landing.committer.is_none() {
        landing.committer.clone_from(&turn.seen.committer);
    }
    if landing.committer.is_none() {
        let detail = "git knows no name and address to commit with: set `git config user.name` and `user.email`";
        return wait(turn, stage, Reason::new("no-committer", detail));
    }
    turn.land(stage);
}

/// The base moved and the change was put on top of it: only a tree that passed the gates may land.
fn rebased(
    turn: &mut Turn,
    stage: &mut Stage,
    landing: Landing,
    tip: CommitId,
    candidate: Candidate,
    behind: Option<&StageId>,
) {
    let is_gated = behind.is_none() && candidate.tree == landing.approval.tree;
    let moved = format!("{} moved from {} to", stage.base_branch, landing.work.base_commit);
    let detail = match behind {
        Some(other) => {
            format!(
                "{} moved; the change is on top of {tip} now, with which {other} is to land first",
                stage.base_branch
            )
        }
        None if is_gated => format!("{moved} {tip}; the change on top of it has the tree that its gates passed"),
        None => format!("{moved} {tip}; the change is on top of it now"),
    };
    let train = match (&landing.approval.train, behind) {
        (_, Some(_)) => Train::Behind(Box::new(Own::of(&landing))),
        (Train::Alone, None) => Train::Alone,
        (_, None) => Train::Free,
    };
    let run = candidate.run.clone();
    let work = Work { base_commit: tip, started_at: landing.work.started_at };
    let approval = Approval { train, ..landing.approval };
    point_run_branch(stage, &candidate);
    if is_gated {
        let landing = Landing { work, candidate, approval, waiting: None, ..landing };
        turn.moves(stage, Life::Landing(landing), Some(&run), "rebased", detail);
        try_now(turn, stage);
    } else if verifying::has_gates(turn, stage) {
        let gating = Gating { work, candidate, approval: Some(approval), flight: None, not_before: None };
        turn.moves(stage, Life::Gating(gating), Some(&run), "rebased", detail);
    } else {
        // Without gates only the verifiers can judge the merged tree.
        verifying::to_the_verifiers(turn, stage, work, candidate, None, &run, &detail);
    }
}

/// Has the stage's branch follow its candidate, so that nothing of it is lost.
fn point_run_branch(stage: &mut Stage, candidate: &Candidate) {
    stage.chores.retain(|chore| !matches!(chore, Chore::PointRunBranch { .. }));
    stage.add_chore(Chore::PointRunBranch { commit: candidate.commit.clone() });
}

/// Records what a landing waits for, once.
fn wait(turn: &mut Turn, stage: &mut Stage, reason: Reason) {
    let Life::Landing(landing) = &mut stage.life else { return };
    if landing.waiting.as_ref() != Some(&reason) {
        landing.waiting = Some(reason.clone());
        turn.note(&stage.id, None, &reason.code, reason.detail);
    }
}
