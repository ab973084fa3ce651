//! Runs that the restored state does not know: they are stopped, and what a worker has done so far is kept on a
//! `wip/` branch before its checkout goes, because that checkout holds the stage's run branch.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::core::ids::{Role, RunId};
use crate::core::run::StopReason;
use crate::files::lock::Lock;
use crate::git::{CommitText, GitError, OwnBranch, Repo, Signature};
use crate::runs::{self, RunDir, RunError};

use super::super::error::TickError;
use super::super::site::Site;

/// How long a supervisor may take to end its run: its grace, and some.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every run that has a directory; runs that were started by hand are nobody's stage.
pub(super) fn run_dirs(site: &Site) -> Vec<RunId> {
    let Ok(entries) = std::fs::read_dir(site.layout.runs()) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RunId>().ok());
    names.filter(|run| !run.is_manual()).collect()
}

/// Makes sure that nothing of a run lives, keeps its work, and removes its checkout.
pub(super) fn end(site: &Site, repo: &Repo, run: &RunId, now: DateTime<Utc>) -> Result<(), TickError> {
    let path = site.layout.run(run);
    if path.is_dir() {
        runs::stop(&path, StopReason::Obsolete)?;
        let gone = Lock::exclusive_within(&path.join("run.lock"), PATIENCE).map_err(RunError::from)?;
        drop(gone.ok_or_else(|| RunError::StillRunning { path: path.clone() })?);
        runs::reap_lost(&path)?;
        if run.role == Role::Worker {
            keep_work(site, repo, run, now)?;
        }
    }
    Ok(repo.remove_worktree(&site.worktree(run))?)
}

fn keep_work(site: &Site, repo: &Repo, run: &RunId, now: DateTime<Utc>) -> Result<(), TickError> {
    // Without its order nobody can tell what it was cut from; then its checkout stays where it is.
    let order = RunDir::new(&site.layout.run(run)).and_then(|dir| dir.order())?;
    let capture = match repo.capture(&site.worktree(run), &order.base_commit, &[]) {
        Err(GitError::WorktreeMissing { .. }) => return Ok(()),
        other => other?,
    };
    if capture.changed.is_empty() {
        return Ok(());
    }
    let author = order.identity.as_ref().map(Signature::from);
    let author = author.map_or_else(|| repo.committer(), Ok)?;
    let commit = repo.write_commit(&CommitText {
        tree: capture.tree,
        parents: vec![order.base_commit],
        author: author.clone(),
        committer: author,
        at: now,
        message: format!("{}: work of a run that a restored state does not know\n\nAutometta-Run: {run}\n", run.stage),
    })?;
    let branch = format!("wip/{}-attempt-{}-restored-{}", run.stage, run.attempt, now.format("%Y%m%dT%H%M%SZ"));
    Ok(repo.point_own_branch(&branch, &commit, OwnBranch::Keeps)?)
}
