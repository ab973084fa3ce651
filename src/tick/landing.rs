//! Landing: what commit an approved candidate becomes, whether it has landed, and moving the base to it.

use std::fmt::Write as _;

use crate::core::ids::{CommitId, Identity, RunId, TreeId};
use crate::core::observation::{LandingSighting, Observation};
use crate::core::state::{Candidate, Landing, Overlap, Stage};
use crate::core::train;
use crate::git::{self, CommitText, GitError, LandingOrder, Merge, Objects, Rebase, Repo, Signature};

use super::observe::Observer;

/// The landing commit. Everything in it is fixed by the state, so a landing that is repeated after a crash is the same
/// commit.
fn commit_text(stage: &Stage, landing: &Landing) -> Option<CommitText> {
    let committer = landing.committer.as_ref()?;
    let approval = &landing.approval;
    let mut message = format!("{}: {}\n\n", stage.id, approval.headline);
    for verifier in &approval.verifiers {
        let _ = writeln!(message, "Co-Authored-By: {verifier}");
    }
    let _ = writeln!(message, "Autometta-Stage: {}", stage.id);
    let _ = writeln!(message, "Autometta-Run: {}", landing.candidate.run);
    let _ = writeln!(message, "Autometta-Worker: {}", attributed(stage, &stage.worker, &landing.candidate.run));
    for (verifier, run) in approval.verifiers.iter().zip(&approval.verdicts) {
        let _ = writeln!(message, "Autometta-Verifier: {}", attributed(stage, verifier, run));
    }
    if let (true, Some(why)) = (approval.verifiers.is_empty(), &stage.unverified) {
        let _ = writeln!(message, "Autometta-Verifier: none ({why})");
    }
    if let Some(sha256) = &stage.card_sha256 {
        let _ = writeln!(message, "Autometta-Card: {sha256}");
    }
    let _ = writeln!(message, "Autometta-Tree: {}", approval.tree);
    Some(CommitText {
        tree: approval.tree.clone(),
        parents: vec![landing.work.base_commit.clone()],
        author: Signature::from(&stage.worker),
        committer: Signature::from(committer),
        at: landing.decided_at,
        message,
    })
}

/// Who did it, and by which model.
fn attributed(stage: &Stage, identity: &Identity, run: &RunId) -> String {
    match stage.model_of(run) {
        Some(model) => format!("{identity} ({model})"),
        None => identity.to_string(),
    }
}

fn order(objects: &Objects, stage: &Stage, landing: &Landing) -> Result<Option<LandingOrder>, GitError> {
    let Some(text) = commit_text(stage, landing) else { return Ok(None) };
    let commit = objects.write_commit(&text)?;
    Ok(Some(LandingOrder { branch: stage.base_branch.clone(), parent: landing.work.base_commit.clone(), commit }))
}

/// Where a landing stands.
pub fn look(
    observer: &Observer<'_>,
    stages: &[Stage],
    stage: &Stage,
    landing: &Landing,
    seen: &Observation,
) -> LandingSighting {
    sighting(observer, stages, stage, landing, seen).unwrap_or_else(|error| LandingSighting::Failed(error.to_string()))
}

fn sighting(
    observer: &Observer<'_>,
    stages: &[Stage],
    stage: &Stage,
    landing: &Landing,
    seen: &Observation,
) -> Result<LandingSighting, GitError> {
    let Some(tip) = observer.repo.tip(&stage.base_branch)? else { return Ok(LandingSighting::NoBase) };
    let base = &landing.work.base_commit;
    if let Some(order) = order(observer.objects, stage, landing)?
        && (tip != *base || order.commit == tip)
    {
        match observer.repo.landed(&order)? {
            git::Landed::Yes => return Ok(LandingSighting::Landed(order.commit)),
            git::Landed::Unfinished => return Ok(LandingSighting::Ready),
            git::Landed::No => {}
        }
    }
    if tip == *base || landing.candidate.commit == *base {
        return Ok(LandingSighting::Ready);
    }
    if let Some(ahead) = train::ahead(stages, stage) {
        return Ok(LandingSighting::Behind(ahead.clone()));
    }
    let own = &landing.uncoupled();
    let tree = match carried_over(observer.objects, own, &tip)? {
        Rebase::Disjoint { tree } => tree,
        Rebase::Overlap { paths } => {
            let paths = paths.iter().map(|path| path.text().into_owned()).collect();
            return Ok(LandingSighting::Overlap { tip, paths });
        }
    };
    let on_top = |base: &CommitId, tree: TreeId| {
        let author = Signature::from(&stage.worker);
        let commit = observer.objects.write_commit(&CommitText {
            tree: tree.clone(),
            parents: vec![base.clone()],
            author: author.clone(),
            committer: author,
            at: landing.decided_at,
            message: format!(
                "{}: candidate on a moved base\n\nAutometta-Stage: {}\nAutometta-Run: {}\n",
                stage.id, stage.id, landing.candidate.run
            ),
        })?;
        Ok(Candidate { commit, tree, run: landing.candidate.run.clone() })
    };
    let has_gates = matches!(seen.briefs.get(&stage.id), Some(Ok(brief)) if brief.gate_caps.is_some());
    if has_gates
        && let Some(last) = train::joins(stages, &seen.landings, (&tip, &tree), stage, landing)
        && let Rebase::Disjoint { tree } =
            observer.objects.rebase(&own.work.base_commit, last.commit, &own.candidate.tree)?
    {
        let behind = Some(last.stage.clone());
        return Ok(LandingSighting::Rebased {
            candidate: on_top(last.commit, tree)?,
            tip: last.commit.clone(),
            behind,
        });
    }
    Ok(LandingSighting::Rebased { candidate: on_top(&tip, tree)?, tip, behind: None })
}

/// The candidate on a base that has moved: where both changed the same files, as a person has allowed.
fn carried_over(objects: &Objects, landing: &Landing, tip: &CommitId) -> Result<Rebase, GitError> {
    let rebase = objects.rebase(&landing.work.base_commit, tip, &landing.candidate.tree)?;
    if matches!(rebase, Rebase::Disjoint { .. }) || landing.approval.overlap == Overlap::Park {
        return Ok(rebase);
    }
    Ok(match objects.merge(tip, &landing.candidate.commit)? {
        Merge::Clean { tree } => Rebase::Disjoint { tree },
        Merge::Conflict { paths } => Rebase::Overlap { paths },
    })
}

/// Moves the base branch. What came of it is what the next look in this fire goes by.
pub fn land(repo: &Repo, stage: &Stage, landing: &Landing) -> Option<LandingSighting> {
    let landed = order(repo, stage, landing).and_then(|order| match order {
        None => Ok(None),
        Some(order) => Ok(Some(repo.land(&order)?)),
    });
    match landed {
        // The look that follows finds out by itself that it has landed, or that the base has moved.
        Ok(None | Some(git::Landing::Done | git::Landing::Moved { .. })) => None,
        Ok(Some(git::Landing::Dirty { paths, .. })) => {
            Some(LandingSighting::Dirty(paths.iter().map(|path| path.text().into_owned()).collect()))
        }
        Ok(Some(git::Landing::Busy { why })) => Some(LandingSighting::Busy(why)),
        Err(error) => Some(LandingSighting::Failed(error.to_string())),
    }
}

/// Whether an approved candidate is on its base branch already, whatever the state says.
pub fn has_landed(repo: &Repo, stage: &Stage, landing: &Landing) -> Result<bool, GitError> {
    let Some(order) = order(repo, stage, landing)? else { return Ok(false) };
    Ok(repo.landed(&order)? != git::Landed::No)
}
