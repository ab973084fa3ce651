//! One tick of one repository: lock, redo, load, observe, step, commit, perform, snapshot, unlock.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::{error, info, warn};

use crate::core::archive;
use crate::core::budget::HaltReason;
use crate::core::ids::RunId;
use crate::core::notice::{Notice, NoticeKey, NoticeKind};
use crate::core::observation::Observation;
use crate::core::run::StopReason;
use crate::core::state::State;
use crate::core::step::{Note, Step, step};
use crate::files::store::{Loaded, Store, StoreError};
use crate::files::{atomic, lock};
use crate::git::Repo;
use crate::runs::{self, RunError};

use super::error::TickError;
use super::heartbeat;
use super::observe::{Observer, Purpose};
use super::perform::perform;
use super::site::Site;
use super::weather::Sky;
use super::{carry, clock, fleet, snapshot, tell, wake};

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
    let guard = store.lock().file().try_clone().ok();
    let repo = site.repo(guard)?;
    let mut loaded = load(site, store, &repo, report)?;
    let before = heartbeat::read(site);
    let mut idle = before.as_ref().map_or(0, |before| before.idle_ticks);
    // What a killed tick left of a landing in the operator's checkout is put right before anything else.
    if let Err(error) = repo.recover_landings() {
        warn!(repo = %site.root.display(), "a landing that was interrupted could not be finished yet: {error}");
    }
    let mut landings = BTreeMap::new();
    let sky = Sky::default();
    let asleep = heartbeat::asleep(before.as_ref());
    let mut seen = Observation::default();
    let mut moved = false;
    for _ in 0..ROUNDS {
        let now = clock::now();
        let part = fleet::join(site, &loaded, now);
        let (landings_tried, purpose) = (&landings, Purpose::Act);
        let observer =
            Observer { site, repo: &repo, objects: &repo, purpose, landings: landings_tried, sky: &sky, now };
        seen = observer.observe(&loaded)?;
        seen.slept = heartbeat::slept(before.as_ref(), &asleep, now);
        seen.fleet = part.as_ref().map(|part| part.day.clone());
        let Step { mut state, mut budget, effects, notes } =
            step(&loaded.state, &loaded.budget, &seen, &site.policy, now);
        let changed = state != loaded.state || budget != loaded.budget;
        if changed {
            state.tick_count += 1 + idle;
            budget.idle_ticks_used += idle;
            idle = 0;
            let archived = archive::take(&mut state, site.policy.finished_kept);
            let next = Loaded { state, budget };
            make_room(site, &loaded.state, &next.state)?;
            if let Some(part) = &part {
                part.before_commit(&next.budget)?;
            }
            store.commit_archiving(Some(&loaded), &next, &archived, &notes, now)?;
            loaded = next;
        }
        if let Some(part) = part {
            part.after_commit(&loaded.budget);
        }
        for note in &notes {
            log(site, note);
        }
        if !effects.is_empty() || changed {
            sweep(site);
        }
        moved |= !notes.is_empty();
        report.notes.extend(notes);
        let performed = perform(site, &repo, &loaded.state, &effects, now);
        report.failures.extend(performed.failures);
        landings = performed.landings;
        if !performed.landed {
            break;
        }
    }
    if moved {
        snapshot::write(site, &repo, &loaded, clock::now())
            .unwrap_or_else(|error| warn!(repo = %site.root.display(), "no snapshot: {error}"));
    }
    if report.notes.is_empty() {
        idle += 1;
    }
    let left = if moved { wake::Left::Moved } else { wake::Left::AsBefore };
    wake::see_to(site, &loaded, left, clock::now())
        .unwrap_or_else(|error| warn!(repo = %site.root.display(), "nobody waits for the next known time: {error}"));
    report.in_flight = loaded.state.flights().count();
    report.halted =
        loaded.budget.halt_reasons.iter().map(|halt| format!("{}: {}", halt.reason.as_str(), halt.detail)).collect();
    heartbeat::write(site, &loaded, &seen, before.as_ref(), asleep, idle, clock::now())
}

/// Sets aside what stands where a run that is about to be dispatched will have its directory.
///
/// A run's record counts because nobody else writes in its directory. What is there before the run has been decided
/// on is not its own: an agent planted it, or it is left over from a state that is gone. Once the dispatch is
/// committed, the directory is the run's.
fn make_room(site: &Site, before: &State, after: &State) -> Result<(), TickError> {
    let known: BTreeSet<&RunId> = before.flights().map(|(_, flight)| &flight.run).collect();
    for run in after.flights().map(|(_, flight)| &flight.run).filter(|run| !known.contains(run)) {
        let dir = site.layout.run(run);
        if dir.is_dir() && lock::is_held(&dir.join("run.lock")).map_err(RunError::from)? {
            // A process that no state tells of would work beside the new one; it goes first.
            runs::stop(&dir, StopReason::Obsolete)?;
            return Err(RunError::StillRunning { path: dir }.into());
        }
        if let Some(aside) = atomic::set_aside(&dir)? {
            warn!(%run, "its directory was there before it; what was in it is now in {}", aside.display());
        }
    }
    Ok(())
}

/// Clears away what writers that were killed in the middle left beside the files that people and tools read.
fn sweep(site: &Site) {
    let state = site.layout.dir();
    // Runs that were started by hand stand in no state, so nobody else notices that one is lost.
    if let Err(error) = runs::retire_lost(state) {
        warn!(repo = %site.root.display(), "{error}");
    }
    let folders = [
        "",
        "active-agents",
        "recent-agents",
        "handoffs",
        "verifiers",
        "questions",
        "answers",
        "archive",
        "cards",
        "logs",
        "notices",
        "quota",
    ];
    let home = ["", "subscribers"].map(|folder| site.home.path().join(folder));
    for folder in folders.iter().map(|folder| state.join(folder)).chain(home) {
        if folder.is_dir()
            && let Err(error) = atomic::sweep_temps(&folder)
        {
            warn!(repo = %site.root.display(), "{error}");
        }
    }
}

/// Loads the state, or says why not; a state that cannot be read is brought back where that is provably the same, and
/// latches a halt otherwise. It is never replaced by an empty one.
fn load(site: &Site, store: &Store, repo: &Repo, report: &mut Report) -> Result<Loaded, TickError> {
    let now = clock::now();
    let read = store.redo().and_then(|redone| {
        if redone {
            info!(repo = %site.root.display(), "finished what a tick before had decided");
        }
        store.load()
    });
    let loaded = match read {
        Err(StoreError::VersionOne { .. }) => carry::carry_over(site, store, now)?,
        Err(damage) if damage.is_damage() => match restore(site, repo, store, &damage, now) {
            Some((loaded, note)) => {
                warn!(repo = %site.root.display(), "{damage}; {}", note.detail);
                report.notes.push(note);
                loaded
            }
            None => return Err(halt(site, store, damage, now)),
        },
        other => other?,
    };
    belongs_here(site, &loaded)?;
    Ok(loaded)
}

/// Brings state and budget back; none where that cannot be done, or where what is damaged is something else.
fn restore(site: &Site, repo: &Repo, store: &Store, damage: &StoreError, now: DateTime<Utc>) -> Option<(Loaded, Note)> {
    if !matches!(damage, StoreError::Corrupt { .. }) {
        return None;
    }
    snapshot::restore(site, repo, store, now).unwrap_or_else(|error| {
        warn!(repo = %site.root.display(), "not restored: {error}");
        None
    })
}

/// Latches the halt for damage that a person has to look at, and says it in the log once.
fn halt(site: &Site, store: &Store, source: StoreError, now: DateTime<Utc>) -> TickError {
    let error = TickError::Damaged { source, reference: snapshot::REF };
    // Where the budget is what is damaged there is nowhere to remember that it was said.
    if store.halt_corrupt(&error.to_string(), now).unwrap_or(true) {
        error!(repo = %site.root.display(), reason = HaltReason::StateCorrupt.as_str(), "{error}");
        if site.policy.tells.contains(&NoticeKind::Halt) {
            // There is no state to remember this in: it is told now or not at all.
            let key = NoticeKey::new(now, 0);
            let notice = Notice { key, kind: NoticeKind::Halt, stage: None, message: format!("halted: {error}") };
            tell::start(site, &notice).unwrap_or_else(|error| warn!(repo = %site.root.display(), "not told: {error}"));
        }
    }
    error
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
