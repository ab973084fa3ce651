//! One tick of one repository: lock, redo, load, observe, step, commit, perform, snapshot, unlock.

use std::collections::BTreeMap;

use serde::Serialize;
use tracing::{error, info, warn};

use crate::core::budget::HaltReason;
use crate::core::observation::Observation;
use crate::core::step::{Note, Step, step};
use crate::files::atomic;
use crate::files::store::{Loaded, Store, StoreError};
use crate::git::Repo;

use super::error::TickError;
use super::heartbeat;
use super::observe::{Observer, Purpose};
use super::perform::perform;
use super::site::Site;
use super::{carry, clock, snapshot};

/// How often one fire goes round for stages that landed in it, and how often it looks again for ticks that found the
/// lock held.
const ROUNDS: usize = 16;

/// What a tick did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether another tick held the lock, so that this one did nothing.
    pub held: bool,
    /// What happened, in order.
    pub notes: Vec<Note>,
    /// What failed and is tried again by the next tick.
    pub failures: Vec<String>,
    /// Whether the repository is halted, and why.
    pub halted: Vec<String>,
    /// Runs in flight after it.
    pub in_flight: usize,
}

/// Ticks once. A tick that finds the lock held leaves a mark, and the holder goes round again for it.
pub fn fire(site: &Site) -> Result<Report, TickError> {
    let mut report = Report::default();
    for _ in 0..ROUNDS {
        let Some(store) = Store::try_lock(&site.layout)? else {
            info!(repo = %site.root.display(), "another tick holds the lock; it will look again");
            report.held = report.notes.is_empty();
            return Ok(report);
        };
        pass(site, &store, &mut report)?;
        drop(store);
        if !site.layout.tick_again().exists() {
            break;
        }
    }
    Ok(report)
}

fn pass(site: &Site, store: &Store, report: &mut Report) -> Result<(), TickError> {
    store.forget_marks()?;
    if store.redo()? {
        info!(repo = %site.root.display(), "finished what a tick before had decided");
    }
    sweep(site);
    let guard = store.lock().file().try_clone().ok();
    let repo = site.repo(guard)?;
    let mut loaded = load(site, store, &repo)?;
    let before = heartbeat::read(site);
    let mut idle = before.as_ref().map_or(0, |before| before.idle_ticks);
    // What a killed tick left of a landing in the operator's checkout is put right before anything else.
    repo.recover_landings()?;
    let mut landings = BTreeMap::new();
    let mut seen = Observation::default();
    for _ in 0..ROUNDS {
        let now = clock::now();
        let observer = Observer { site, repo: &repo, objects: &repo, purpose: Purpose::Act, landings: &landings, now };
        seen = observer.observe(&loaded)?;
        let Step { mut state, mut budget, effects, notes } =
            step(&loaded.state, &loaded.budget, &seen, &site.policy, now);
        let changed = state != loaded.state || budget != loaded.budget;
        if changed {
            state.tick_count += 1 + idle;
            budget.idle_ticks_used += idle;
            idle = 0;
            let next = Loaded { state, budget };
            store.commit(Some(&loaded), &next, &notes, now)?;
            loaded = next;
        }
        for note in &notes {
            log(site, note);
        }
        let transitions = !notes.is_empty();
        report.notes.extend(notes);
        let performed = perform(site, &repo, &loaded.state, &effects, now);
        report.failures.extend(performed.failures);
        if transitions {
            snapshot::write(site, &repo, &loaded, now)
                .unwrap_or_else(|error| warn!(repo = %site.root.display(), "no snapshot: {error}"));
        }
        landings = performed.landings;
        if !performed.landed {
            break;
        }
    }
    if report.notes.is_empty() {
        idle += 1;
    }
    report.in_flight = loaded.state.flights().count();
    report.halted =
        loaded.budget.halt_reasons.iter().map(|halt| format!("{}: {}", halt.reason.as_str(), halt.detail)).collect();
    heartbeat::write(site, &loaded.state, &seen, before.as_ref(), idle, clock::now())
}

/// Clears away what writers that were killed in the middle left beside the files that people and tools read.
fn sweep(site: &Site) {
    let state = site.layout.dir();
    for folder in ["", "active-agents", "recent-agents", "handoffs", "verifiers", "questions", "answers", "logs"] {
        let folder = state.join(folder);
        if folder.is_dir()
            && let Err(error) = atomic::sweep_temps(&folder)
        {
            warn!(repo = %site.root.display(), "{error}");
        }
    }
}

/// Loads the state, or says why not; a state that cannot be read is brought back where that is provably the same, and
/// latches a halt otherwise. It is never replaced by an empty one.
fn load(site: &Site, store: &Store, repo: &Repo) -> Result<Loaded, TickError> {
    let now = clock::now();
    let loaded = match store.load() {
        Err(StoreError::VersionOne { .. }) => carry::carry_over(site, store, now)?,
        Err(corrupt @ StoreError::Corrupt { .. }) => match snapshot::restore(site, repo, store, now) {
            Ok(Some(what)) => {
                warn!(repo = %site.root.display(), "{corrupt}; {what}");
                store.load()?
            }
            Ok(None) | Err(_) => {
                let detail = format!(
                    "{corrupt}; the newest copy is {}, which the ledger does not prove to be current: compare the two, \
                     put the right one in place, then `autometta resume`",
                    snapshot::REF
                );
                if store.halt_corrupt(&detail, now).unwrap_or(false) {
                    error!(repo = %site.root.display(), reason = HaltReason::StateCorrupt.as_str(), "{detail}");
                }
                return Err(corrupt.into());
            }
        },
        other => other?,
    };
    belongs_here(site, &loaded)?;
    Ok(loaded)
}

/// Refuses a state that was copied from another place or machine.
pub fn belongs_here(site: &Site, loaded: &Loaded) -> Result<(), TickError> {
    if loaded.state.repo_id == site.repo_id {
        return Ok(());
    }
    Err(TickError::Foreign {
        path: site.layout.dir().to_owned(),
        found: loaded.state.repo_id.clone(),
        expected: site.repo_id.clone(),
    })
}

fn log(site: &Site, note: &Note) {
    let subject = note.run.as_ref().map(ToString::to_string).or_else(|| note.stage.as_ref().map(ToString::to_string));
    info!(repo = %site.root.display(), subject = subject.as_deref().unwrap_or("-"), "{}: {}", note.event, note.detail);
}
