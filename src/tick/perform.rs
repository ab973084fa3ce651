//! Doing what a step has decided. Every effect is idempotent; what came of it is observed, never assumed.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use crate::core::ids::{Role, RunId, StageId};
use crate::core::run::StopReason;
use crate::core::state::{Chore, Life, Stage, State, Stopping};
use crate::core::step::Effect;
use crate::fault;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::git::{OwnBranch, Repo, WorktreeSpec};
use crate::runs::{self, Launched};

use super::brief::{self, Pin};
use super::engine::Performed;
use super::error::TickError;
use super::order::{self, Job};
use super::site::{Site, run_branch};
use super::{checkouts, landing, prompt, publish, returned, tell, versions};

/// Marks a run whose checkout was removed after nothing of it was alive.
pub const CLEARED: &str = "cleared";
/// Where a run's directory says why it could not be launched.
pub const LAUNCH_LOG: &str = "launch.log";

/// Carries effects out, in their order. One that fails keeps none of the others from being tried, but a checkout is
/// not cleared for a stage whose work could not be kept.
pub fn perform(site: &Site, repo: &Repo, state: &State, effects: &[Effect], now: DateTime<Utc>) -> Performed {
    let mut performed = Performed::default();
    let mut unsafe_to_clear = BTreeSet::new();
    for effect in effects {
        let result = match effect {
            Effect::Stop { run, why } => stop(site, run, *why),
            Effect::Chore { stage, chore } => {
                if matches!(chore, Chore::Clear { .. }) && unsafe_to_clear.contains(stage) {
                    continue;
                }
                let result = do_chore(site, repo, state, stage, chore);
                if result.is_err() {
                    unsafe_to_clear.insert(stage.clone());
                }
                result
            }
            Effect::Land { stage } => {
                performed.landed = true;
                if let Some(stage) = state.stage(stage)
                    && let Life::Landing(landing) = &stage.life
                    && let Some(sighting) = landing::land(repo, stage, landing)
                {
                    performed.landings.insert(stage.id.clone(), sighting);
                }
                Ok(())
            }
            Effect::Launch { run } => launch(site, repo, state, run, now),
            Effect::Tell { key } => state
                .notices
                .iter()
                .find(|notice| notice.key == *key)
                .map_or(Ok(()), |notice| tell::start(site, notice)),
        };
        if let Err(error) = result {
            warn!(repo = %site.root.display(), ?effect, "{error}");
            performed.failures.push(error.to_string());
        }
    }
    performed
}

fn stop(site: &Site, run: &RunId, why: Stopping) -> Result<(), TickError> {
    let reason = match why {
        Stopping::Cancelled => StopReason::Operator,
        Stopping::Skipped => StopReason::Obsolete,
        Stopping::OverTime => StopReason::Timeout,
    };
    let stopped = runs::stop(&site.layout.run(run), reason)?;
    info!(%run, ?stopped, "stopping");
    Ok(())
}

fn do_chore(site: &Site, repo: &Repo, state: &State, stage: &StageId, chore: &Chore) -> Result<(), TickError> {
    let Some(stage) = state.stage(stage) else { return Ok(()) };
    match chore {
        Chore::PointRunBranch { commit } => {
            // The worker's checkout may be on that branch; it goes first, so that no checkout is left behind its branch.
            let worker = stage.chores.iter().filter_map(|chore| match chore {
                Chore::Clear { run } if run.role == Role::Worker => Some(run),
                _ => None,
            });
            for run in worker {
                clear(site, repo, run)?;
            }
            repo.point_own_branch(&run_branch(&stage.id), commit, OwnBranch::Follows)?;
        }
        Chore::DropRunBranch => {
            repo.drop_own_branch(&run_branch(&stage.id), &stage.base_branch)?;
        }
        Chore::KeepWork { branch, commit } => {
            repo.point_own_branch(branch, commit, OwnBranch::Keeps)?;
        }
        Chore::Publish { run } => publish::publish(site, repo, stage, run)?,
        Chore::PublishPanel { runs, said } => publish::panel(site, stage, runs, *said)?,
        Chore::Ask { run } => publish::ask(site, stage, run)?,
        Chore::Clear { run } => clear(site, repo, run)?,
    }
    Ok(())
}

/// Makes sure that nothing of a run is alive, then removes its checkout.
pub(super) fn clear(site: &Site, repo: &Repo, run: &RunId) -> Result<(), TickError> {
    let dir = site.layout.run(run);
    let marker = dir.join(CLEARED);
    let worktree = site.worktree(run);
    if marker.exists() && !worktree.exists() {
        return Ok(());
    }
    if dir.exists() {
        runs::reap_lost(&dir)?;
        sweep(&dir)?;
    }
    repo.remove_worktree(&worktree)?;
    checkouts::drop_folder(site);
    atomic::make_dirs(&dir, Durability::Volatile)?;
    atomic::write(&marker, b"", Durability::Volatile)?;
    Ok(())
}

/// Clears away what writers that were killed in the middle left of a run of which nothing lives any more: this is the last
/// look at its folder, and a writer that nobody has reaped yet looks alive.
fn sweep(dir: &Path) -> Result<(), TickError> {
    for folder in [dir.to_owned(), dir.join("outbox")] {
        if folder.is_dir() {
            atomic::sweep_all_temps(&folder)?;
        }
    }
    Ok(())
}

/// Starts a run that stands in the state.
fn launch(site: &Site, repo: &Repo, state: &State, run: &RunId, now: DateTime<Utc>) -> Result<(), TickError> {
    let Some(stage) = state.stage(&run.stage) else { return Ok(()) };
    let Some(job) = Job::of(stage, run) else { return Ok(()) };
    let dir = site.layout.run(run);
    let result = prepare_and_launch(site, repo, stage, &job, &dir, now);
    if let Err(error) = &result {
        // The next look finds that it never started; how often that was tried and why it failed stands here, a line each.
        let line = format!("{now} {error}").replace('\n', " ") + "\n";
        if atomic::make_dirs(&dir, Durability::Volatile).is_ok() {
            drop(atomic::append_durable(&dir.join(LAUNCH_LOG), line.as_bytes()));
        }
    }
    result
}

pub(super) fn prepare_and_launch(
    site: &Site,
    repo: &Repo,
    stage: &Stage,
    job: &Job<'_>,
    dir: &Path,
    now: DateTime<Utc>,
) -> Result<(), TickError> {
    let run = &job.flight.run;
    let order_file = dir.join("run.json");
    if !dir.join("started.json").exists() {
        let brief = brief::read(site, stage, Pin::Yes).map_err(TickError::Prompt)?;
        let spec = WorktreeSpec { path: site.worktree(run), commit: job.start.clone(), branch: job.branch() };
        // Nothing of it has run. Whether a checkout that was made for it reached the disk before a power cut, nobody knows;
        // nothing in it is anybody's work, so it is made anew.
        repo.remove_worktree(&spec.path)?;
        repo.ensure_worktree(&spec)?;
        furnish(site, &spec.path, &brief.card_sha256)?;
        let prompt = prompt::make(site, repo, job, &brief)?;
        let mut launch = order::make(site, job, &brief, prompt, now)?;
        launch.order.cli_version = versions::of(site, &launch.order);
        atomic::make_dirs(dir, Durability::Durable)?;
        for (name, text) in &launch.files {
            atomic::write(&dir.join(name), text.as_bytes(), Durability::Volatile)?;
        }
        let text = document::to_json_pretty(&launch.order).map_err(|error| TickError::Prompt(error.to_string()))?;
        atomic::write(&order_file, text.as_bytes(), Durability::Durable)?;
    }
    let given = returned::order(site, run)?.map(|order| order::given(site, &order)).unwrap_or_default();
    let launched = runs::launch_given(dir, &site.exe, &given)?;
    info!(%run, ?launched, "launch");
    if let Launched::CouldNotStart(why) = launched {
        warn!(%run, "{why}");
        return Err(TickError::Prompt(format!("{run} could not start: {why}")));
    }
    Ok(())
}

/// What a fresh checkout gets from us: the pinned card, and links to ignored folders that the manifest names.
fn furnish(site: &Site, worktree: &Path, card_sha256: &str) -> Result<(), TickError> {
    let ours = worktree.join(".autometta");
    atomic::make_dirs(&ours.join("outbox"), Durability::Volatile)?;
    if let Some(card) = document::read(&site.layout.pinned_card(card_sha256))? {
        atomic::write(&ours.join("card.md"), &card, Durability::Volatile)?;
    }
    for link in &site.manifest.link {
        let (from, to) = (site.root.join(link.as_str()), worktree.join(link.as_str()));
        if from.exists() && std::fs::symlink_metadata(&to).is_err() {
            if let Some(parent) = to.parent() {
                atomic::make_dirs(parent, Durability::Volatile)?;
            }
            let linked = fault::point!("worktree.link", &to).and_then(|()| symlink(&from, &to));
            linked.map_err(|source| TickError::Io { path: to, source })?;
        }
    }
    Ok(())
}
