//! One tick of one repository: lock, redo, load, observe, step, commit, perform, unlock, and then the snapshot.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tracing::{error, info, warn};

use crate::core::budget::HaltReason;
use crate::core::notice::{Notice, NoticeKey, NoticeKind};
use crate::core::sleep::Asleep;
use crate::core::step::Note;
use crate::files::atomic;
use crate::files::fleet::Shares;
use crate::files::store::{Loaded, Store, StoreError};
use crate::git::Repo;

use super::engine::{Turned, turn};
use super::error::TickError;
use super::heartbeat::Heartbeat;
use super::real::Real;
use super::site::Site;
use super::snapshot::{self, Owed};
use super::weather::Sky;
use super::{carry, clock, heartbeat, keep, sweep, tell, wake};

/// How often one fire looks again for ticks that found the lock held.
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
    /// What the operator should know; said once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether the repository is halted, and why.
    pub halted: Vec<String>,
    /// Runs in flight after it.
    pub in_flight: usize,
}

/// Ticks once. A tick that finds the lock held leaves a mark, and the holder goes round again for it.
pub fn fire(site: &Site) -> Result<Report, TickError> {
    let mut report = Report::default();
    let mut owed = None;
    let done = rounds(site, &mut report, &mut owed);
    // Whoever waits for the lock does not wait for this, and several rounds have one snapshot.
    if let Some(owed) = owed {
        owed.write(site, clock::now())
            .unwrap_or_else(|error| warn!(repo = %site.root.display(), "no snapshot: {error}"));
    }
    done.map(|()| report)
}

fn rounds(site: &Site, report: &mut Report, owed: &mut Option<Owed>) -> Result<(), TickError> {
    for _ in 0..ROUNDS {
        let Some(store) = Store::try_lock(&site.layout)? else {
            info!(repo = %site.root.display(), "another tick holds the lock; it will look again");
            report.held = report.notes.is_empty();
            return Ok(());
        };
        let passed = pass(site, &store, report, owed);
        store.release();
        passed?;
        if !site.layout.tick_again().exists() {
            break;
        }
    }
    Ok(())
}

/// One round under the lock. What it has committed is owed a snapshot.
fn pass(site: &Site, store: &Store, report: &mut Report, owed: &mut Option<Owed>) -> Result<(), TickError> {
    store.forget_marks()?;
    // Whoever was killed at a decision left a temp file here; a tick that then has nothing to do sweeps no other folder.
    if let Err(error) = atomic::sweep_temps(site.layout.dir()) {
        warn!(repo = %site.root.display(), "{error}");
    }
    if sweep::has_died(site) {
        sweep::all(site);
        sweep::end(site);
    }
    let guard = store.lock().file().try_clone().ok();
    let repo = site.repo(guard)?;
    // A snapshot that is cut short has no mark.
    if let Err(error) = repo.sweep_unnamed() {
        warn!(repo = %site.root.display(), "{error}");
    }
    let before = heartbeat::read(site);
    let asleep = heartbeat::asleep(before.as_ref());
    if let Some(before) = before.as_ref().filter(|before| rests(site, before, &asleep)) {
        recover(site, &repo);
        say(site, report, heartbeat::again(site, before.clone(), asleep, clock::now())?);
        return Ok(());
    }
    let loaded = load(site, store, &repo, report)?;
    let idle = before.as_ref().map_or(0, |before| before.idle_ticks);
    recover(site, &repo);
    let sky = Sky::default();
    let mut world =
        Real { site, store, repo: &repo, sky, before: before.as_ref(), asleep, part: None, has_begun: false };
    let Turned { loaded, seen, notes, failures, mut idle } = turn(&mut world, loaded, idle)?;
    let asleep = world.asleep;
    let has_begun = world.has_begun;
    if has_begun {
        sweep::end(site);
    }
    let moved = !notes.is_empty();
    report.notes.extend(notes);
    report.failures.extend(failures);
    if report.notes.is_empty() {
        idle += 1;
    }
    let left = if moved { wake::Left::Moved } else { wake::Left::AsBefore };
    wake::see_to(site, &loaded, left, clock::now())
        .unwrap_or_else(|error| warn!(repo = %site.root.display(), "nobody waits for the next known time: {error}"));
    report.in_flight = loaded.state.flights().count();
    report.halted =
        loaded.budget.halt_reasons.iter().map(|halt| format!("{}: {}", halt.reason.as_str(), halt.detail)).collect();
    let due = before.as_ref().and_then(|before| before.keep_at);
    let is_idle = !moved && report.notes.is_empty() && !has_begun;
    let is_owed = moved || (is_idle && keep::is_due(due, clock::now()) && is_behind(site, &repo));
    let keep_at = if is_idle {
        keep::pass(site, &repo, &loaded.state, due, clock::now())
    } else {
        keep::later(due, clock::now())
    };
    let told = heartbeat::Told { asleep, idle_ticks: idle, keep_at };
    let says = heartbeat::write(site, &loaded, &seen, before.as_ref(), told, clock::now());
    if is_owed {
        match Owed::new(site, store, loaded) {
            Ok(moved) => *owed = Some(moved),
            Err(error) => warn!(repo = %site.root.display(), "no snapshot: {error}"),
        }
    }
    say(site, report, says?);
    Ok(())
}

/// Whether the tick before found nothing that any tick could do, and nothing has changed since: then there is nothing to
/// read. Once an hour it is looked at all the same.
fn rests(site: &Site, before: &Heartbeat, asleep: &Asleep) -> bool {
    let now = clock::now();
    let counts = before.counted.as_ref().and_then(|counted| counted.if_current(&site.layout));
    counts.is_some_and(|counts| counts.at_rest && counts.repo_id == site.repo_id)
        && before.agents.is_empty()
        // What it says of the fleet's day is put right by a tick that knows the budget.
        && !Shares::new(&site.home, &site.repo_id).is_there()
        && before.keep_at.is_some_and(|due| keep::is_to_come(due, now))
        && heartbeat::slept(Some(before), asleep, now).is_none()
}

/// What a killed tick left of a landing in the operator's checkout is put right before anything else.
fn recover(site: &Site, repo: &Repo) {
    if let Err(error) = repo.recover_landings() {
        warn!(repo = %site.root.display(), "a landing that was interrupted could not be finished yet: {error}");
    }
}

/// Whether the newest snapshot is an older one: a tick was killed after it let go of the lock and before it wrote its own.
fn is_behind(site: &Site, repo: &Repo) -> bool {
    snapshot::is_current(site, repo).map_or_else(
        |error| {
            warn!(repo = %site.root.display(), "nobody knows whether there is a snapshot: {error}");
            false
        },
        |is_current| !is_current,
    )
}

/// Tells what a heartbeat has to say.
fn say(site: &Site, report: &mut Report, says: Option<String>) {
    if let Some(says) = says {
        warn!(repo = %site.root.display(), "{says}");
        report.warnings.push(says);
    }
}

/// Loads the state, or says why not; a state that cannot be read is brought back where that is provably the same, and
/// latches a halt otherwise. It is never replaced by an empty one.
fn load(site: &Site, store: &Store, repo: &Repo, report: &mut Report) -> Result<Loaded, TickError> {
    let now = clock::now();
    let read = store.redo().and_then(|redone| {
        if redone {
            info!(repo = %site.root.display(), "finished what a tick before had decided");
            sweep::all(site);
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
