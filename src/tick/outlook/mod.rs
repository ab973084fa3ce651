//! `simulate`: plays the present queue through, many times, and says what the nights came to. Only looks.
//!
//! The nights begin with what a tick would see now, and every decision in them is the machine's own `turn`. Only the
//! world is made up: runs come out as the runs before them did, nothing crashes, nobody commits beside.

mod history;
mod night;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::budget::{Budget, Places};
use crate::core::ids::{Role, StageId};
use crate::core::observation::Brief;
use crate::core::outlook::agents::{Agents, Doer};
use crate::core::outlook::fate::{Amounts, Fate};
use crate::core::outlook::{self, Outlook, Played};
use crate::core::policy::Policy;
use crate::core::state::{Life, NextRun, Pending, Stage, State};
use crate::files::store::{self, Loaded};

use super::brief::{self, Pin};
use super::error::TickError;
use super::fire::belongs_here;
use super::observe::{Observer, Purpose};
use super::site::Site;
use super::weather::Sky;
use super::{clock, evidence, fleet};
use world::Scene;

/// The longest night.
const LONGEST: TimeDelta = TimeDelta::days(1);
/// How many nights there are where nobody says; fewer where the queue is long.
const USUAL_NIGHTS: u32 = 500;
/// The fewest of them.
const FEWEST_NIGHTS: u32 = 50;
/// How many nights of one stage fit into a second or two; a night of twice the stages takes four times as long.
const NIGHTS_OF_ONE: u32 = 600_000;
/// The most days of the fleet that are looked at.
const MOST_DAYS: usize = 32;
/// How often caps are raised that turned out too low still.
const MOST_RAISES: u32 = 4;
/// The most nights that are played at once.
const MOST_THREADS: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The end of the nights; without one they go on until nothing moves, for a day at most.
    pub until: Option<DateTime<Utc>>,
    /// How many nights.
    pub nights: Option<u32>,
    /// The seed.
    pub seed: u64,
}

/// Plays the nights; `progress` is told how many of how many are played.
///
/// # Errors
/// The state cannot be read or belongs to another place, or git cannot be asked.
pub fn simulate(site: &Site, ask: &Ask, progress: &mut dyn FnMut(u32, u32)) -> Result<Outlook, TickError> {
    let loaded = store::peek(&site.layout)?;
    belongs_here(site, &loaded)?;
    let now = clock::now();
    let until = ask.until.unwrap_or_else(|| now.checked_add_signed(LONGEST).unwrap_or(DateTime::<Utc>::MAX_UTC));
    let mut scene = scene(site, &loaded, until, ask.seed, now)?;
    let open = loaded.state.stages.iter().filter(|stage| !matches!(stage.life, Life::Over(_))).count();
    let nights = ask.nights.unwrap_or_else(|| usual_nights(open)).max(1);
    let fates = play_all(&scene, nights, progress);
    let needed = (outlook::halted_by_caps(&fates) > 0).then(|| needed(&mut scene, nights));
    Ok(outlook::of(&Played {
        now,
        until,
        seed: ask.seed,
        timer: scene.timer,
        state: &loaded.state,
        budget: &loaded.budget,
        nights: &fates,
        needed,
        agents: &scene.agents,
    }))
}

/// How many nights fit into a second or two.
fn usual_nights(stages: usize) -> u32 {
    let stages = u32::try_from(stages).unwrap_or(u32::MAX).max(1);
    (NIGHTS_OF_ONE / stages.saturating_mul(stages)).clamp(FEWEST_NIGHTS, USUAL_NIGHTS)
}

/// The caps on spend that nine of ten nights get by with: what they take without any, and more where nights with such
/// caps show that it is not enough, as they do where a whole attempt has to fit before it is begun.
fn needed(scene: &mut Scene, nights: u32) -> Amounts {
    let nights = nights.min(nights.div_ceil(4).max(FEWEST_NIGHTS));
    let before = scene.loaded.budget.clone();
    set_caps(scene, &before, None);
    let mut needed = outlook::needs(&play_all(scene, nights, &mut |_, _| {}));
    for _ in 0..MOST_RAISES {
        set_caps(scene, &before, Some(&needed));
        if outlook::halted_by_caps(&play_all(scene, nights, &mut |_, _| {})) <= 10 {
            break;
        }
        needed = needed.and_a_fifth();
    }
    needed
}

/// Takes the caps on spend away, or raises them to no less than this.
fn set_caps(scene: &mut Scene, before: &Budget, least: Option<&Amounts>) {
    let budget = &mut scene.loaded.budget;
    budget.token_cap_total = least.and_then(|least| before.tokens_allowed().map(|cap| cap.max(least.tokens)));
    budget.cost_cap_usd = least.and_then(|least| before.cost_allowed().map(|cap| cap.max(least.cost_usd)));
    budget.wall_clock_cap_seconds =
        least.and_then(|least| before.wall_clock_cap_seconds.map(|cap| cap.max(least.seconds)));
    budget.clock_tick_cap = least.and_then(|least| before.clock_tick_cap.map(|cap| cap.max(least.ticks)));
    budget.drain = None;
    budget.turned_away = None;
    budget.halt_reasons.retain(|halt| !halt.reason.is_spend_cap());
    budget.halted = !budget.halt_reasons.is_empty();
}

/// Plays so many nights on as many processors as there are. Which of them plays which night changes nothing.
fn play_all(scene: &Scene, nights: u32, progress: &mut dyn FnMut(u32, u32)) -> Vec<Fate> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let next = AtomicU32::new(0);
    let (sender, played) = mpsc::channel();
    let mut fates = BTreeMap::new();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= nights || sender.send((number, night::play(scene, u64::from(number)))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (done, (number, fate)) in (1..).zip(&played) {
            fates.insert(number, fate);
            progress(done, nights);
        }
    });
    fates.into_values().collect()
}

/// Looks at everything that the nights begin with.
fn scene(
    site: &Site,
    loaded: &Loaded,
    until: DateTime<Utc>,
    seed: u64,
    now: DateTime<Utc>,
) -> Result<Scene, TickError> {
    let repo = site.repo(None)?;
    let objects = repo.dry()?;
    let (landings, sky) = (BTreeMap::new(), Sky::default());
    let observer =
        Observer { site, repo: &repo, objects: &objects, purpose: Purpose::Plan, landings: &landings, sky: &sky, now };
    let first = observer.observe(loaded)?;
    let (mut briefs, mut contracts, mut tips) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut retries = BTreeMap::new();
    for stage in loaded.state.stages.iter().filter(|stage| !matches!(stage.life, Life::Over(_))) {
        let read = brief::read(site, stage, Pin::No);
        if !tips.contains_key(&stage.base_branch) {
            tips.insert(stage.base_branch.clone(), repo.tip(&stage.base_branch)?);
        }
        if let Ok(brief) = &read {
            let gates = brief::gates(&site.manifest, &brief.card);
            retries.insert(stage.id.clone(), gates.iter().map(|gate| gate.retries).max().unwrap_or_default());
            let fresh = matches!(&stage.life, Life::Pending(Pending { next: NextRun::Fresh, .. }));
            if let Some(Some(tip)) = tips.get(&stage.base_branch)
                && fresh
                && !brief.card.contract_tests.is_empty()
            {
                contracts.insert(stage.id.clone(), evidence::freeze(&objects, &brief.card, tip));
            }
        }
        briefs.insert(stage.id.clone(), read.map(slim));
    }
    let agents = Agents::new(&doers(&briefs), &history::samples(site, &loaded.state));
    let signature = repo.committer().ok();
    let committer = signature.and_then(|who| format!("{} <{}>", who.name(), who.email()).parse().ok());
    let mut days = Vec::new();
    let mut at = now;
    while let Some(mut day) = fleet::look(site, loaded, at).filter(|_| at < until && days.len() < MOST_DAYS) {
        at = day.ends.max(at + TimeDelta::hours(1));
        // Agents of others end at times that nobody knows, and each leaves its place.
        if day.fault.is_none() {
            day.places = day.places.map(|places| Places { left: places.most, ..places });
        }
        days.push(day);
    }
    let loaded = Loaded { state: slim_state(&loaded.state), budget: loaded.budget.clone() };
    let policy = Policy { tells: BTreeSet::new(), finished_kept: usize::MAX, ..site.policy.clone() };
    let timer = site.home.timer()?.map(|record| record.every_seconds);
    Ok(Scene {
        now,
        until,
        loaded,
        first,
        briefs,
        contracts,
        retries,
        tips,
        committer,
        policy,
        agents,
        fleet: days,
        timer,
        seed,
    })
}

/// The brief without the words that only agents read.
fn slim(mut brief: Box<Brief>) -> Box<Brief> {
    brief.card.objective = String::new();
    brief.card.commands = Vec::new();
    brief.card.command_rules = Vec::new();
    brief.card.script = brief.card.script.map(|_| String::new());
    brief
}

/// The state without what no step looks at any more: stages that are over, unless others depend on them.
fn slim_state(state: &State) -> State {
    let open = |stage: &&Stage| !matches!(stage.life, Life::Over(_));
    let needed: BTreeSet<&StageId> = state.stages.iter().filter(open).flat_map(|stage| &stage.depends_on).collect();
    let mut slim = State::new(state.repo_id.clone());
    slim.slept.clone_from(&state.slept);
    slim.stages = state.stages.iter().filter(|stage| open(stage) || needed.contains(&stage.id)).cloned().collect();
    for stage in slim.stages.iter_mut().filter(|stage| matches!(stage.life, Life::Over(_))) {
        stage.history = Vec::new();
        stage.chores = Vec::new();
    }
    slim
}

/// Everybody who may run.
fn doers(briefs: &BTreeMap<StageId, Result<Box<Brief>, String>>) -> BTreeSet<Doer> {
    let mut doers = BTreeSet::new();
    for brief in briefs.values().flatten() {
        for member in &brief.members {
            for role in [Role::Worker, Role::Verifier] {
                let family = Some(member.placed.family.clone());
                doers.insert(Doer { role, family, model: member.placed.model.clone() });
            }
        }
        if brief.gate_caps.is_some() {
            doers.insert(Doer { role: Role::Gate, family: None, model: None });
        }
    }
    doers
}

#[cfg(test)]
mod tests;
