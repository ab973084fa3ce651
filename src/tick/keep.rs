//! Keeping the past small: what a tick does of it in passing, and what `autometta clean` does at once.
//!
//! A tick looks once an hour, where it has nothing else to do, for a twentieth of a second; what it does not get to, the
//! next such tick goes on with. When to look stands in the heartbeat, and what was measured in `keep.json`, so that an
//! idle tick reads nothing of it. The file is a memory, not a record: without it everything is measured again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::core::ids::{RunId, StageId};
use crate::core::manifest::Size;
use crate::core::retention::{self, Fate, Item, Past, Plan, RunPast, Stays, plan};
use crate::core::state::State;
use crate::files::atomic::{self, Durability};
use crate::files::spent::{self, Came, Measured, Patience};
use crate::files::{document, journal, lock, store, volume};
use crate::git::Repo;

use super::error::TickError;
use super::site::Site;
use super::{checkouts, sweep};

/// How often a look begins.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// How long one tick takes for it. One piece that was begun may take longer while nobody waits.
const SLICE: Duration = Duration::from_millis(50);
/// How long that piece may take at most.
const LONGEST: Duration = Duration::from_secs(3);
/// The version of `keep.json`.
const VERSION: u32 = 1;

/// `keep.json`: what is known of the room that past runs take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The version of this format: 1.
    pub version: u32,
    /// Since when parts of the journal that are named again are made young again.
    pub parts_since: DateTime<Utc>,
    /// Runs that have ended.
    pub runs: BTreeMap<RunId, Known>,
    /// What could not be taken away, and was told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub told: BTreeSet<String>,
}

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// When it was last heard of.
    pub ended_at: DateTime<Utc>,
    /// The room of all of it, in bytes.
    pub bytes: u64,
    /// The room of everything but its records.
    pub bulk: u64,
    /// The room of its logs that are not compressed.
    pub plain: u64,
    /// What became of its stage, where that stands in the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
}

impl Memory {
    fn read(site: &Site, now: DateTime<Utc>) -> Self {
        let read = document::read(&site.layout.keep()).ok().flatten();
        let known = read.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        known.filter(|known| known.version == VERSION && known.parts_since <= now).unwrap_or_else(|| Self {
            version: VERSION,
            parts_since: now,
            runs: BTreeMap::new(),
            told: BTreeSet::new(),
        })
    }

    fn write(&self, site: &Site) -> Result<(), TickError> {
        let text = serde_json::to_vec(self).map_err(|error| TickError::Prompt(error.to_string()))?;
        Ok(atomic::write(&site.layout.keep(), &text, Durability::Volatile)?)
    }
}

/// What is there.
#[derive(Debug, Default)]
struct Found {
    past: Past,
    /// Directories that were going when whoever took them away died.
    going: Vec<PathBuf>,
    /// What stands among the runs and is none.
    strangers: Vec<String>,
}

/// What `autometta clean` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cleaned {
    /// Whether it was done; else it is what would be.
    pub is_done: bool,
    /// What goes, and what stays.
    pub plan: Plan,
    /// The room that was freed, or would be but for what compressing brings, in bytes.
    pub freed_bytes: u64,
    /// What stands in `runs/` and is no run's directory; it is left alone.
    pub strangers: Vec<String>,
    /// What could not be done.
    pub faults: Vec<String>,
}

/// What would go now.
///
/// # Errors
/// What is there cannot be seen.
pub fn planned(site: &Site, repo: &Repo, state: &State, now: DateTime<Utc>) -> Result<Cleaned, TickError> {
    let mut memory = Memory::read(site, now);
    let (found, _) = survey(site, repo, state, &mut memory, now, &mut || true)?;
    let plan = plan(&found.past, &site.manifest.keep, now);
    let freed = |item: &Item| if matches!(item, Item::Compress { .. }) { 0 } else { item.bytes() };
    let freed_bytes = plan.items.iter().map(freed).sum();
    Ok(Cleaned { plan, freed_bytes, strangers: found.strangers, ..Cleaned::default() })
}

/// Does what goes now, until somebody waits for the lock. Says what was done, and whether that is all of it. Only the
/// holder of the lock may call it.
///
/// # Errors
/// What is there cannot be seen.
pub fn clean(site: &Site, repo: &Repo, state: &State, now: DateTime<Utc>) -> Result<(Cleaned, bool), TickError> {
    let (mut may_begin, mut may_go_on) = (|| !site.layout.tick_again().exists(), || !site.layout.tick_again().exists());
    let mut memory = Memory::read(site, now);
    let (found, came) = survey(site, repo, state, &mut memory, now, &mut may_begin)?;
    let mut cleaned = Cleaned { is_done: true, ..Cleaned::default() };
    if came == Came::Through {
        let (_, kept) = checkouts::clear(site, repo, state, &|_| false, &mut may_begin);
        cleaned.plan = plan(&found.past, &site.manifest.keep, now);
        let mut work = Work { site, memory: &mut memory, freed: 0, faults: Vec::new(), done: Vec::new() };
        let came = work.all(&found.going, &cleaned.plan, &mut may_begin, &mut may_go_on);
        let Work { freed, faults, done, .. } = work;
        (cleaned.freed_bytes, cleaned.faults, cleaned.strangers) = (freed, [kept, faults].concat(), found.strangers);
        cleaned.plan.items = done;
        sweep::all(site);
        memory.write(site)?;
        return Ok((cleaned, came == Came::Through));
    }
    memory.write(site)?;
    Ok((cleaned, false))
}

/// What a tick with nothing else to do does of it; gives when the next look is due. Nothing here fails a tick.
pub(super) fn pass(
    site: &Site,
    repo: &Repo,
    state: &State,
    due: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    if !is_due(due, now) {
        return later(due, now);
    }
    match look(site, repo, state, now) {
        Ok(Came::Short) => now,
        Ok(Came::Through) => now + EVERY,
        Err(error) => {
            warn!(repo = %site.root.display(), "the past cannot be kept small: {error}");
            now + EVERY
        }
    }
}

/// Whether the next look is due now; the first one is an hour after the first tick.
pub(super) fn is_due(due: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    due.is_some_and(|due| !is_to_come(due, now))
}

/// Whether the next look is not due yet. One that is further away was set by a clock that has been set back since.
pub(super) fn is_to_come(due: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    due > now && due <= now + EVERY
}

/// When the next look is due after a tick that had something else to do.
pub(super) fn later(due: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    due.unwrap_or(now + EVERY)
}

fn look(site: &Site, repo: &Repo, state: &State, now: DateTime<Utc>) -> Result<Came, TickError> {
    let begun = Instant::now();
    let waits = || site.layout.tick_again().exists();
    let mut may_begin = || begun.elapsed() < SLICE && !waits();
    let mut memory = Memory::read(site, now);
    let before = memory.clone();
    let is_told = |says: &str| before.told.iter().any(|told| told.starts_with(says));
    let (mut came, kept) = checkouts::clear(site, repo, state, &is_told, &mut may_begin);
    for fault in kept {
        warn!(repo = %site.root.display(), "{fault}");
        memory.told.insert(fault);
    }
    let mut found = Found::default();
    if came == Came::Through {
        (found, came) = survey(site, repo, state, &mut memory, now, &mut may_begin)?;
    }
    if came == Came::Through {
        let plan = plan(&found.past, &site.manifest.keep, now);
        let mut may_go_on = || begun.elapsed() < LONGEST && !waits();
        let mut work = Work { site, memory: &mut memory, freed: 0, faults: Vec::new(), done: Vec::new() };
        came = work.all(&found.going, &plan, &mut may_begin, &mut may_go_on);
        let (freed, done, faults) = (work.freed, work.done.len(), work.faults);
        for fault in faults {
            // Once: it will not go tomorrow either, and nothing else waits for it.
            if memory.told.insert(fault.clone()) {
                warn!(repo = %site.root.display(), "{fault}; `autometta clean` tries again and says what it left");
            }
        }
        if done > 0 {
            info!(repo = %site.root.display(), "{done} of {} done for `keep:`, {} freed", plan.items.len(), Size(freed));
        }
        if came == Came::Through {
            sweep::all(site);
        }
    }
    if memory != before {
        memory.write(site)?;
    }
    Ok(came)
}

/// Looks at all that is there, as far as there is time; what was measured before is not measured again.
fn survey(
    site: &Site,
    repo: &Repo,
    state: &State,
    memory: &mut Memory,
    now: DateTime<Utc>,
    patience: Patience<'_>,
) -> Result<(Found, Came), TickError> {
    let mut found = Found::default();
    let mut there = BTreeSet::new();
    let runs = site.layout.runs();
    // A folder that was linked to elsewhere is not ours to empty.
    if spent::is_real_folder(&runs) {
        let entries = std::fs::read_dir(&runs).map_err(|source| TickError::Io { path: runs.clone(), source })?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match name.parse::<RunId>() {
                Ok(run) if is_folder && run.to_string() == name => drop(there.insert(run)),
                _ if spent::is_going(&name) => found.going.push(entry.path()),
                _ => found.strangers.push(name),
            }
        }
    }
    found.strangers.sort();
    memory.runs.retain(|run, _| there.contains(run));
    let flying: BTreeSet<&RunId> = state.flights().map(|(_, flight)| &flight.run).collect();
    for run in &there {
        if !patience() {
            return Ok((found, Came::Short));
        }
        found.past.runs.extend(one(site, state, memory, run, flying.contains(run)));
    }
    let closed = |run: &RunPast| matches!(run.fate, Fate::Closed(_)).then(|| run.run.stage.clone());
    let closed: BTreeSet<StageId> = found.past.runs.iter().filter_map(closed).collect();
    if !closed.is_empty() {
        found.past.unmerged = unmerged(site, repo, &closed)?;
    }
    let report = std::fs::symlink_metadata(site.layout.report()).ok().filter(std::fs::Metadata::is_file);
    found.past.reported_at = report.and_then(|meta| meta.modified().ok()).map(DateTime::from);
    found.past.segments = journal::past(&site.layout).map_err(|error| TickError::Prompt(error.to_string()))?;
    found.past.free = volume::room(site.layout.dir()).map(|room| room.bytes);
    // What was just written is not older than now, whatever the two clocks say.
    found.past.reported_at = found.past.reported_at.map(|at| at.min(now));
    Ok((found, Came::Through))
}

/// One run; none where its directory is gone.
fn one(site: &Site, state: &State, memory: &mut Memory, run: &RunId, is_flying: bool) -> Option<RunPast> {
    let dir = site.layout.run(run);
    let past = |known: &Known, fate| RunPast {
        run: run.clone(),
        ended_at: known.ended_at,
        fate,
        bytes: known.bytes,
        bulk: known.bulk,
        plain: known.plain,
    };
    // One that has ended once stays so; it is looked at again before anything of it goes.
    let known = memory.runs.get(run).copied().filter(|_| !is_flying);
    let known = match known {
        Some(known) => known,
        None => Known::from(spent::measure(&dir)?),
    };
    if is_flying || (!memory.runs.contains_key(run) && is_alive(&dir)) {
        memory.runs.remove(run);
        return Some(past(&known, Fate::Stays(Stays::InFlight)));
    }
    let (fate, archived) = if run.is_manual() {
        (Fate::Landed(known.ended_at), None)
    } else if let Some(stage) = state.stage(&run.stage) {
        (retention::fate(stage), None)
    } else if let Some(fate) = known.fate {
        (fate, Some(fate))
    } else {
        match store::archived(&site.layout, &run.stage) {
            Ok(stage) => {
                let fate = stage.map_or(Fate::Stays(Stays::Unknown), |stage| retention::fate(&stage));
                (fate, Some(fate))
            }
            // What cannot be read tells nothing, and may be put right; `show` says so.
            Err(_) => (Fate::Stays(Stays::Unknown), None),
        }
    };
    memory.runs.insert(run.clone(), Known { fate: archived, ..known });
    Some(past(&known, fate))
}

/// Whether anything of a run lives. What cannot be told is alive.
fn is_alive(dir: &Path) -> bool {
    lock::is_held(&dir.join("run.lock")).unwrap_or(true)
}

/// Those of the closed stages of which a branch holds work that is not on the base branch.
fn unmerged(site: &Site, repo: &Repo, closed: &BTreeSet<StageId>) -> Result<BTreeSet<StageId>, TickError> {
    let base = site.base_branch()?;
    // Without the base branch nothing is known to be merged.
    let Some(tip) = repo.tip(&base)? else { return Ok(closed.clone()) };
    let stage = |branch: &String| -> Option<StageId> {
        let kept = branch.strip_prefix("wip/").and_then(|rest| Some(rest.rsplit_once("-attempt-")?.0));
        kept.or_else(|| branch.strip_prefix("autometta/"))?.parse().ok()
    };
    Ok(repo.unmerged(&tip)?.iter().filter_map(stage).filter(|stage| closed.contains(stage)).collect())
}

impl From<Measured> for Known {
    fn from(measured: Measured) -> Self {
        let Measured { at, bytes, bulk, plain } = measured;
        Self { ended_at: at.into(), bytes, bulk, plain, fate: None }
    }
}

/// Doing what a plan says.
struct Work<'a> {
    site: &'a Site,
    memory: &'a mut Memory,
    freed: u64,
    faults: Vec<String>,
    /// What of the plan was done.
    done: Vec<Item>,
}

impl Work<'_> {
    /// Does all of it, as far as there is time: `may_begin` for one more piece, `may_go_on` for the rest of one.
    fn all(&mut self, going: &[PathBuf], plan: &Plan, may_begin: Patience<'_>, may_go_on: Patience<'_>) -> Came {
        for path in going {
            if !may_begin() || self.note(path, spent::take_away(path, may_go_on)) == Came::Short {
                return Came::Short;
            }
        }
        for item in &plan.items {
            let faults = self.faults.len();
            if !may_begin() || self.item(item, may_go_on) == Came::Short {
                return Came::Short;
            }
            if self.faults.len() == faults {
                self.done.push(item.clone());
            }
        }
        // What there is no time for, the next look goes on with.
        match journal::remove_parts(&self.site.layout, self.memory.parts_since, may_begin) {
            Ok((parts, _)) => self.freed = self.freed.saturating_add(parts.bytes),
            Err(error) => self.faults.push(error.to_string()),
        }
        Came::Through
    }

    fn item(&mut self, item: &Item, may_go_on: Patience<'_>) -> Came {
        let (run, removes) = match item {
            Item::Segment { number, bytes } => {
                match journal::remove(&self.site.layout, *number) {
                    Ok(()) => self.freed = self.freed.saturating_add(*bytes),
                    Err(error) => self.faults.push(error.to_string()),
                }
                return Came::Through;
            }
            Item::Remove { run, .. } => (run, true),
            Item::Strip { run, .. } | Item::Compress { run, .. } => (run, false),
        };
        let dir = self.site.layout.run(run);
        // It may have been begun again by hand since it was looked at.
        if is_alive(&dir) {
            return Came::Through;
        }
        let before = self.memory.runs.get(run).map_or(0, |known| known.bytes);
        let came = match item {
            Item::Compress { .. } => compress(&dir, may_go_on),
            Item::Strip { .. } => spent::strip(&dir, may_go_on),
            _ => spent::remove(&dir, may_go_on),
        };
        let came = self.note(&dir, came);
        let fate = self.memory.runs.remove(run).and_then(|known| known.fate);
        let after = if removes { None } else { spent::measure(&dir) };
        if let Some(after) = after {
            self.memory.runs.insert(run.clone(), Known { fate, ..Known::from(after) });
        }
        let is_gone = !spent::is_real_folder(&dir);
        let after = after.map_or(if is_gone { 0 } else { before }, |after| after.bytes);
        self.freed = self.freed.saturating_add(before.saturating_sub(after));
        self.unlink(run);
        came
    }

    fn note(&mut self, path: &Path, done: Result<Came, atomic::WriteError>) -> Came {
        done.unwrap_or_else(|error| {
            self.faults.push(format!(
                "{} stays: cannot {} {}: {}",
                path.display(),
                error.action,
                error.path.display(),
                error.source
            ));
            Came::Through
        })
    }

    /// Takes away the stable link to a log that does not stand there any more.
    fn unlink(&mut self, run: &RunId) {
        let link = self.site.layout.dir().join("logs").join(format!("{}-{}.log", run.stage, run.role));
        let target = Path::new("../runs").join(run.to_string()).join("stdout.log");
        if std::fs::read_link(&link).is_ok_and(|to| to == target) && !link.exists() {
            let removed = atomic::remove(&link).map(|()| Came::Through);
            self.note(&link, removed);
        }
    }
}

fn compress(dir: &Path, may_go_on: Patience<'_>) -> Result<Came, atomic::WriteError> {
    for log in spent::LOGS {
        let log = dir.join(log);
        let is_written = std::fs::symlink_metadata(&log).is_ok_and(|meta| meta.len() > 0);
        if is_written && spent::compress(&log, may_go_on)? == Came::Short {
            return Ok(Came::Short);
        }
    }
    Ok(Came::Through)
}
