//! Checkouts that no stage needs any more: a stage's chores clear its own away, but a tick that died at the wrong moment,
//! or a state that was brought back, may leave one.
//!
//! Only what holds nobody's work goes: checkouts of gates and verifiers, and a worker's whose files are those of a branch
//! or of its base. One with a secret in it is left for a person, as its stage has told them.

use std::path::Path;

use crate::core::ids::{Role, RunId};
use crate::core::retention::{Fate, fate};
use crate::core::state::State;
use crate::fault;
use crate::files::spent::{Came, Patience};
use crate::files::{lock, spent, store};
use crate::git::{GitError, Repo};
use crate::runs::RunDir;

use super::doctor::needed;
use super::error::TickError;
use super::site::Site;

/// The most that one look takes away: each may take git some tens of milliseconds.
const MOST: usize = 4;

/// Takes such checkouts away, as far as there is time, and says which stay and why. Of those that `is_told` knows nothing
/// is tried again. Only the holder of the lock may ask.
pub(super) fn clear(
    site: &Site,
    repo: &Repo,
    state: &State,
    is_told: &dyn Fn(&str) -> bool,
    patience: Patience<'_>,
) -> (Came, Vec<String>) {
    let folder = site.worktrees();
    let mut faults = Vec::new();
    if !spent::is_real_folder(&folder) {
        return (Came::Through, faults);
    }
    let needed = needed(state);
    let mut tried = 0;
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(run) = name.parse::<RunId>() else { continue };
        if run.to_string() != name || needed.contains(&run) || !is_over(site, state, &run) {
            continue;
        }
        let checkout = entry.path();
        let says = format!("the checkout {} stays", checkout.display());
        if is_told(&says) {
            continue;
        }
        if tried == MOST || !patience() {
            return (Came::Short, faults);
        }
        tried += 1;
        match clear_one(site, repo, &run, &checkout) {
            Ok(true) => {}
            Ok(false) => faults.push(format!(
                "{says}: it may hold work that is on no branch; once you have what you need of it, `git -C {} worktree \
                 remove --force {}`",
                site.root.display(),
                checkout.display()
            )),
            Err(error) => faults.push(format!("{says}: {error}")),
        }
    }
    drop_folder(site);
    (Came::Through, faults)
}

/// The folder of all checkouts goes with its last one; while others are in it this fails, and that is right.
pub(super) fn drop_folder(site: &Site) {
    drop(fault::point!("worktrees.remove").and_then(|()| std::fs::remove_dir(site.worktrees())));
}

fn clear_one(site: &Site, repo: &Repo, run: &RunId, checkout: &Path) -> Result<bool, TickError> {
    if !holds_nothing(site, repo, run, checkout)? {
        return Ok(false);
    }
    repo.remove_worktree(checkout)?;
    Ok(true)
}

/// Whether the run's stage landed or was closed, and nothing of the run lives.
fn is_over(site: &Site, state: &State, run: &RunId) -> bool {
    let archived = || store::archived(&site.layout, &run.stage).ok().flatten();
    let fate = state.stage(&run.stage).map(fate).or_else(|| archived().as_ref().map(fate));
    matches!(fate, Some(Fate::Landed(_) | Fate::Closed(_)))
        && !lock::is_held(&site.layout.run(run).join("run.lock")).unwrap_or(true)
}

/// Whether nothing stands in a checkout that does not stand in git as well. What cannot be told holds something.
fn holds_nothing(site: &Site, repo: &Repo, run: &RunId, checkout: &Path) -> Result<bool, TickError> {
    if run.role != Role::Worker {
        return Ok(true);
    }
    let dir = RunDir::new(&site.layout.run(run))?;
    let (Ok(order), Ok(Some(exit))) = (dir.order(), dir.exit()) else { return Ok(false) };
    // Nothing of it may be put into git, not even to compare it.
    if !exit.secrets_in_work.is_empty() {
        return Ok(false);
    }
    let capture = match repo.capture(checkout, &order.base_commit, &[]) {
        Err(GitError::WorktreeMissing { .. }) => return Ok(true),
        other => other?,
    };
    if !capture.embedded.is_empty() {
        return Ok(false);
    }
    if capture.changed.is_empty() {
        return Ok(true);
    }
    for branch in [run.kept_branch(), super::site::run_branch(&run.stage), site.base_branch()?] {
        if let Some(tip) = repo.tip(&branch)?
            && repo.tree_of(&tip)? == capture.tree
        {
            return Ok(true);
        }
    }
    Ok(false)
}
