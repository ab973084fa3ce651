//! `tick --plan`: the exact step that a tick would take now, with the exact command of each launch; changes nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::core::ids::RunId;
use crate::core::run::Program;
use crate::core::step::{Effect, Note, step};
use crate::files::store;

use super::brief::{self, Pin};
use super::error::TickError;
use super::fire::belongs_here;
use super::observe::{Observer, Purpose};
use super::order::{self, Job};
use super::site::Site;
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
    let observer = Observer { site, repo: &repo, objects: &objects, purpose: Purpose::Plan, landings: &landings, now };
    let mut seen = observer.observe(&loaded)?;
    seen.fleet = fleet::look(site, &loaded, now);
    let step = step(&loaded.state, &loaded.budget, &seen, &site.policy, now);
    let mut launches = Vec::new();
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
    Ok(Plan { notes: step.notes, launches, effects })
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
