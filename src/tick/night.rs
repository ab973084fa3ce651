//! Collecting a night: from the ledger, the state, the runs' records and git into one value, and from there into the
//! page that a person opens in the morning.
//!
//! Everything is read and nothing is decided here. The ledger is read as a stream, and only the records of runs of
//! the window are opened.

mod records;

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::core::ids::{RunId, StageId};
use crate::core::inbox::{self, ItemKind};
use crate::core::night::{
    Band, Chronicle, Excerpt, KeptWork, LONGEST_QUOTE, LandedNight, LeftOut, Moment, Need, Night, Outcome, Place,
    RunNight, StageNight, Standing, Told, Urgency, Why, Window,
};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::{EndStatus, Life, Stage};
use crate::core::state_doc::{STATE_VERSION, StageDoc, StateDoc};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::ledger::{self, LedgerError};
use crate::files::store::{self, Loaded, StoreError};
use crate::git::Repo;
use crate::report;

use super::clock;
use super::error::TickError;
use super::fire::belongs_here;
use super::site::{Site, run_branch};

/// The most stages that are told; a page with more is read by nobody.
const MOST_STAGES: usize = 400;
/// The most things that are listed as waiting for a person.
const MOST_NEEDS: usize = 50;
/// The most files that are named of one commit.
const MOST_FILES: usize = 12;

/// Writes the report of the newest night to its place, and gives the place.
///
/// # Errors
/// The state cannot be read, belongs to another place, or the page cannot be written. What is missing besides is said
/// on the page.
pub fn write(site: &Site) -> Result<PathBuf, TickError> {
    let night = collect(site, None, clock::now())?;
    let path = site.layout.report();
    write_to(&path, &night)?;
    Ok(path)
}

/// Writes the report of a night to a file, whole or not at all.
pub fn write_to(path: &std::path::Path, night: &Night) -> Result<(), TickError> {
    Ok(atomic::write(path, report::page(night).as_bytes(), Durability::Volatile)?)
}

/// The newest night, or everything since a moment, as it is seen now.
pub fn collect(site: &Site, since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<Night, TickError> {
    let loaded = store::peek(&site.layout)?;
    belongs_here(site, &loaded)?;
    let repo = site.repo(None)?;
    let mut faults = Vec::new();
    let (window, told) = chronicle(site, since, now, &mut faults)?;
    let mut runs: BTreeMap<StageId, Vec<(RunId, DateTime<Utc>)>> = BTreeMap::new();
    for (run, dispatched_at) in &told.runs {
        runs.entry(run.stage.clone()).or_default().push((run.clone(), *dispatched_at));
    }
    let mut left_out = LeftOut { ledger_lines: told.lines_left_out, runs: told.runs_left_out, ..LeftOut::default() };
    let mut stages = Vec::new();
    for stage in &stages_of(site, &loaded, &told, &mut faults) {
        if stages.len() == MOST_STAGES {
            left_out.stages += 1;
            continue;
        }
        let runs = runs.remove(&stage.id).unwrap_or_default();
        let runs = runs.iter().map(|(run, at)| records::run(site, stage, run, *at, &mut faults)).collect();
        stages.push(stage_night(&repo, stage, runs, &told, &mut faults));
    }
    let needs = needs(&loaded);
    left_out.needs = needs.len().saturating_sub(MOST_NEEDS);
    let mut night = Night {
        repo: site.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        path: site.root.display().to_string(),
        zone: super::zone::of(&window),
        outcome: Outcome::default(),
        needs: needs.into_iter().take(MOST_NEEDS).collect(),
        bands: bands(&told, &stages, &loaded, &window),
        window,
        stages,
        families: Vec::new(),
        ledger: told.lines.into(),
        left_out,
        faults,
    };
    night.sum_up();
    Ok(night)
}

/// Reads the ledger. One that is broken is told of as far as it goes: the report matters most when something is wrong.
fn chronicle(
    site: &Site,
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    faults: &mut Vec<String>,
) -> Result<(Window, Told), TickError> {
    let path = site.layout.ledger();
    let read = || {
        let mut chronicle = Chronicle::new(since);
        let end = ledger::walk(&path, |line| chronicle.read(Place { seq: line.seq, at: line.at }, &line.note));
        (chronicle, end)
    };
    let (mut told, mut end) = read();
    if matches!(end, Err(LedgerError::Broken { .. })) {
        // A tick may have been in the middle of a line.
        (told, end) = read();
    }
    match end {
        Ok(_) => {}
        Err(LedgerError::Broken { .. }) => faults.extend(end.err().map(|error| error.to_string())),
        Err(error) => return Err(StoreError::from(error).into()),
    }
    Ok(told.tell(now))
}

/// The stages that something happened to and those that are not over, as queued; archived ones first.
fn stages_of(site: &Site, loaded: &Loaded, told: &Told, faults: &mut Vec<String>) -> Vec<Stage> {
    let mut stages = Vec::new();
    for id in told.stages.iter().filter(|id| loaded.state.stage(id).is_none()) {
        match archived(site, id) {
            Ok(Some(stage)) => stages.push(stage),
            Ok(None) => faults.push(format!("{id} stands in the ledger and in no state; what it did is not told")),
            Err(error) => faults.push(error.to_string()),
        }
    }
    let is_news = |stage: &&Stage| !matches!(stage.life, Life::Over(_)) || told.stages.contains(&stage.id);
    stages.extend(loaded.state.stages.iter().filter(is_news).cloned());
    stages
}

/// A stage that is done with and stands in a file of its own.
fn archived(site: &Site, id: &StageId) -> Result<Option<Stage>, TickError> {
    let path = site.layout.archived(id);
    let Some(bytes) = document::read(&path)? else { return Ok(None) };
    let corrupt = |faults| StoreError::Corrupt { path: path.clone(), faults };
    let doc: StageDoc = document::from_yaml(&bytes).map_err(corrupt)?;
    let alone = StateDoc {
        version: STATE_VERSION,
        repo_id: String::new(),
        tick_count: 0,
        last_tick_at: None,
        notices: Vec::new(),
        slept: None,
        stages: vec![doc],
        stage_count: 1,
    };
    Ok(alone.into_state().map_err(corrupt)?.stages.pop())
}

fn stage_night(repo: &Repo, stage: &Stage, runs: Vec<RunNight>, told: &Told, faults: &mut Vec<String>) -> StageNight {
    let mut night = StageNight {
        id: stage.id.clone(),
        title: stage.title.clone(),
        depends_on: stage.depends_on.clone(),
        worker: stage.worker.clone(),
        verifiers: stage.verifiers.clone(),
        standing: Standing::of(&stage.life),
        status: stage.life.word().to_owned(),
        reason: reason(stage),
        attempt: stage.attempt,
        runs,
        tokens: Tokens(0),
        cost_usd: MicroUsd(0),
        seconds: Seconds(0),
        landed: landed(repo, stage, told, faults),
        kept: kept(repo, stage, faults),
    };
    night.sum_up();
    night
}

fn reason(stage: &Stage) -> Option<Why> {
    let reason = match &stage.life {
        Life::Pending(pending) => pending.reason.as_ref(),
        Life::Landing(landing) => landing.waiting.as_ref(),
        Life::Over(over) => over.reason.as_ref(),
        Life::Working(_) | Life::Gating(_) | Life::Verifying(_) => None,
    }?;
    Some(Why { code: reason.code.clone(), detail: Excerpt::head(&reason.detail, LONGEST_QUOTE) })
}

fn landed(repo: &Repo, stage: &Stage, told: &Told, faults: &mut Vec<String>) -> Option<LandedNight> {
    let Life::Over(over) = &stage.life else { return None };
    if over.status != EndStatus::Completed {
        return None;
    }
    let commit = over.commit.clone()?;
    let (_, at) = told.landings.iter().rev().find(|(id, _)| *id == stage.id)?;
    let stat = repo.commit_stat(&commit, MOST_FILES);
    let stat = stat.map_err(|error| faults.push(format!("{}: {error}", stage.id))).ok();
    Some(LandedNight { commit, branch: stage.base_branch.clone(), at: *at, stat })
}

/// The branches that hold work of a stage that has not landed.
fn kept(repo: &Repo, stage: &Stage, faults: &mut Vec<String>) -> Vec<KeptWork> {
    let mut branches: Vec<String> = Vec::new();
    for past in stage.history.iter().filter(|past| past.run.role == crate::core::ids::Role::Worker) {
        branches.push(past.run.kept_branch());
    }
    if matches!(&stage.life, Life::Over(over) if over.kept.is_some()) {
        branches.push(run_branch(&stage.id));
    }
    let mut kept = Vec::new();
    for branch in branches {
        match repo.tip(&branch) {
            Ok(Some(commit)) => kept.push(KeptWork { branch, commit, base: stage.base_branch.clone() }),
            Ok(None) => {}
            Err(error) => faults.push(format!("{branch}: {error}")),
        }
    }
    kept
}

fn needs(loaded: &Loaded) -> Vec<Need> {
    let need = |item: inbox::Item| Need {
        urgency: match item.kind {
            ItemKind::Halt => Urgency::Stop,
            ItemKind::Question | ItemKind::Approval | ItemKind::Landing | ItemKind::Card => Urgency::Ask,
            ItemKind::Escalation => Urgency::Ended,
        },
        title: item.stage.as_ref().and_then(|id| loaded.state.stage(id)).map(|stage| stage.title.clone()),
        stage: item.stage,
        since: item.since,
        code: item.code,
        detail: Excerpt::head(&item.detail, LONGEST_QUOTE),
        way_out: item.way_out,
    };
    let mut needs: Vec<Need> = inbox::items(&loaded.state, &loaded.budget).into_iter().map(need).collect();
    needs.sort_by_key(|need| need.urgency);
    needs
}

/// Halts and pauses as stretches of time.
fn bands(told: &Told, stages: &[StageNight], loaded: &Loaded, window: &Window) -> Vec<Band> {
    let family_of = |run: &RunId| {
        let found = stages.iter().flat_map(|stage| &stage.runs).find(|known| known.run == *run);
        found.and_then(|run| run.family.clone())
    };
    let mut bands: Vec<Band> = Vec::new();
    for (at, moment) in &told.moments {
        let mut open = |family, detail: &Excerpt| {
            let known = bands.iter().any(|band| band.family == family && band.until.is_none());
            if !known {
                bands.push(Band { family, from: (*at).max(window.from), until: None, detail: detail.clone() });
            }
        };
        match moment {
            Moment::Halted(detail) => open(None, detail),
            Moment::Paused(run, detail) => {
                if let Some(family) = family_of(run) {
                    open(Some(family), detail);
                }
            }
            Moment::PutOff(family, detail) => {
                if let Ok(family) = family.parse() {
                    open(Some(family), detail);
                }
            }
            Moment::Resumed | Moment::PauseEnded(_) => {
                for band in bands.iter_mut().filter(|band| band.until.is_none()) {
                    let over = match moment {
                        Moment::PauseEnded(family) => {
                            band.family.as_ref().is_some_and(|paused| paused.as_str() == family)
                        }
                        _ => true,
                    };
                    if over {
                        band.until = Some(*at);
                    }
                }
            }
        }
    }
    // What the state knows to be over is over, whatever the ledger has left out.
    for band in bands.iter_mut().filter(|band| band.until.is_none()) {
        let on = match &band.family {
            None => loaded.budget.halted,
            Some(family) => {
                loaded.budget.pauses.iter().any(|pause| pause.family == *family)
                    || loaded.budget.deferrals.iter().any(|held| held.family == *family)
            }
        };
        if !on {
            band.until = Some(window.until.max(band.from));
        }
    }
    bands
}
