//! `tick --plan`: the exact step that a tick would take now, with the exact command of each launch; changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::core::ids::{RunId, StageId};
use crate::core::run::Program;
use crate::core::state::State;
use crate::core::step::{Effect, Note, step};
use crate::files::store::{self, Loaded};

use super::brief::{self, Pin};
use super::error::TickError;
use super::fire::belongs_here;
use super::observe::{Observer, Purpose};
use super::order::{self, Job};
use super::site::{Site, held};
use super::weather::{self, Sky};
use super::{clock, fleet};

/// What a tick would do.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// What would happen.
    pub notes: Vec<Note>,
    /// What would be launched.
    pub launches: Vec<PlannedLaunch>,
    /// What else would be done.
    pub effects: Vec<String>,
    /// Stages that wait for a time, or for a provider.
    pub holds: Vec<PlannedHold>,
    /// Whom a tick would ask before these launches; a plan asks nobody.
    pub asks: Vec<String>,
}

/// A stage that could go on, and is held back.
#[derive(Debug, Serialize)]
pub struct PlannedHold {
    /// The stage.
    pub stage: StageId,
    /// Why, and until when.
    pub why: String,
    /// Until when at most.
    pub until: DateTime<Utc>,
}

/// One launch.
#[derive(Debug, Serialize)]
pub struct PlannedLaunch {
    /// The run.
    pub run: RunId,
    /// Where it would run.
    pub cwd: String,
    /// The exact argument lists: one for an agent, one a command for a gate.
    pub argv: Vec<Vec<String>>,
    /// The names of its environment, without the values.
    pub env: Vec<String>,
}

/// Plans a tick.
pub fn plan(site: &Site) -> Result<Plan, TickError> {
    let loaded = store::peek(&site.layout)?;
    belongs_here(site, &loaded)?;
    let repo = site.repo(None)?;
    let objects = repo.dry()?;
    let now = clock::now();
    let landings = BTreeMap::new();
    let (landings, sky) = (&landings, &Sky::default());
    let observer = Observer { site, repo: &repo, objects: &objects, purpose: Purpose::Plan, landings, sky, now };
    let mut seen = observer.observe(&loaded)?;
    seen.fleet = fleet::look(site, &loaded, now);
    let step = step(&loaded.state, &loaded.budget, &seen, &site.policy, now);
    let mut launches: Vec<PlannedLaunch> = Vec::new();
    let mut effects = Vec::new();
    for effect in &step.effects {
        let Effect::Launch { run } = effect else {
            effects.push(words(effect));
            continue;
        };
        let Some(stage) = step.state.stage(&run.stage) else { continue };
        let Some(job) = Job::of(stage, run) else { continue };
        let brief = match seen.briefs.get(&stage.id) {
            Some(Ok(brief)) => brief.clone(),
            _ => brief::read(site, stage, Pin::No).map_err(TickError::Prompt)?,
        };
        let launch = order::make(site, &job, &brief, String::new(), now)?;
        let argv = match launch.order.program {
            Program::Agent { argv, .. } => vec![argv],
            Program::Gates { commands } => {
                commands.into_iter().map(|gate| vec!["/bin/sh".to_owned(), "-euc".to_owned(), gate.run]).collect()
            }
        };
        launches.push(PlannedLaunch {
            run: run.clone(),
            cwd: launch.order.cwd.display().to_string(),
            argv,
            env: launch.order.env.into_iter().map(|entry| entry.name).collect(),
        });
    }
    let launched: Vec<RunId> = launches.iter().map(|launch| launch.run.clone()).collect();
    let after = Loaded { state: step.state, budget: step.budget };
    let holds = after.state.stages.iter().filter_map(|stage| {
        let why = held(site, &after, stage, now)?;
        Some(PlannedHold { stage: stage.id.clone(), until: why.until()?, why: why.to_string() })
    });
    let holds = holds.collect();
    Ok(Plan { notes: step.notes, launches, effects, holds, asks: asks(site, &after.state, &launched) })
}

/// Whom a tick would ask before it starts these runs, and about whose quota.
fn asks(site: &Site, state: &State, launched: &[RunId]) -> Vec<String> {
    let flights = state.flights().filter(|(_, flight)| launched.contains(&flight.run));
    let families: BTreeSet<_> = flights.filter_map(|(_, flight)| flight.family.clone()).collect();
    let mut asks = Vec::new();
    for spec in families.iter().filter_map(|family| site.families.get(family)) {
        match weather::endpoint(spec) {
            Ok(None) => {}
            Ok(Some(endpoint)) => asks.push(format!("{}: whether {endpoint} answers", spec.name)),
            Err(why) => asks.push(format!("{}: nobody, because {why}", spec.name)),
        }
        if site.manifest.quota.contains_key(&spec.name) {
            asks.push(format!("{}: how much of its quota is used", spec.name));
        }
    }
    asks
}

fn words(effect: &Effect) -> String {
    match effect {
        Effect::Stop { run, why } => format!("stop {run} ({why:?})"),
        Effect::Chore { stage, chore } => format!("{stage}: {chore:?}"),
        Effect::Land { stage } => format!("land {stage}"),
        Effect::Launch { run } => format!("launch {run}"),
        Effect::Tell { key } => format!("tell the operator (notice {key})"),
    }
}
