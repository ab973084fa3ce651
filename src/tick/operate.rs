//! Operator's commands: under the lock, through the same transaction as a tick.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::core::archive;
use crate::core::card::{Card, StartTime};
use crate::core::dependencies;
use crate::core::fallback;
use crate::core::fault::Faults;
use crate::core::ids::StageId;
use crate::core::ladder;
use crate::core::observation::{Brief, Member, Placed};
use crate::core::operate::{Command, Refused, operate_all, queued};
use crate::core::state::{EndStatus, Life, Over, Stage, State};
use crate::core::step::Note;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::journal::Source;
use crate::files::ledger::sha256_hex;
use crate::files::store::{self, Decided, Loaded, Store, StoreError};

use super::brief;
use super::clock;
use super::error::TickError;
use super::evidence;
use super::fire::{belongs_here, fire};
use super::landing::has_landed;
use super::site::Site;
use super::snapshot::Owed;

/// How long a command waits for a tick to let go of the lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Carries out one command.
pub fn command(site: &Site, command: Command) -> Result<Vec<Note>, TickError> {
    commands(site, &[], |_| Ok(vec![command]))
}

/// Carries out these commands, all or none.
pub fn commands_of(site: &Site, orders: Vec<Command>) -> Result<Vec<Note>, TickError> {
    commands(site, &[], |_| Ok(orders))
}

/// Carries out a command on each of these stages, all or none.
pub fn on_stages(site: &Site, stages: &[StageId], command: fn(StageId) -> Command) -> Result<Vec<Note>, TickError> {
    commands(site, stages, |_| Ok(stages.iter().cloned().map(command).collect()))
}

/// Puts stages back into the queue, all or none, with what their cards ask for now.
pub fn requeue(site: &Site, stages: &[StageId]) -> Result<Vec<Note>, TickError> {
    commands(site, stages, |state| {
        let mut orders = Vec::new();
        let mut faulty = Vec::new();
        for id in stages {
            orders.push(Command::Requeue(id.clone()));
            // Where the command is refused anyway, the card is not what is wrong.
            let Some(stage) = state.stage(id) else { continue };
            let may = |over: &Over| over.status != EndStatus::Completed || stage.wait.repeat.is_some();
            if !matches!(&stage.life, Life::Over(over) if may(over)) {
                continue;
            }
            let linted = lint(site, Path::new(&stage.card))?;
            match &linted.card {
                Some(card) if linted.faults.is_empty() => {
                    let fresh = queue_card(card, stage.card.clone(), stage.base_branch.clone());
                    orders.push(Command::Refresh(Box::new(fresh)));
                }
                _ => faulty.extend(faults_of(&linted)),
            }
        }
        refuse(&faulty)?;
        Ok(orders)
    })
}

fn faults_of(linted: &Linted) -> Vec<String> {
    linted.faults.0.iter().map(|fault| format!("{}: {fault}", linted.path.display())).collect()
}

fn refuse(faulty: &[String]) -> Result<(), TickError> {
    if faulty.is_empty() {
        return Ok(());
    }
    let (count, list) = (faulty.len(), faulty.join("\n  "));
    Err(TickError::Cards(format!("the queue is unchanged, {count} fault(s) in the cards:\n  {list}")))
}

/// Brings stages back into the state that were archived. They leave it again once nothing asks about them.
fn bring_back<'a>(
    site: &Site,
    state: &mut State,
    stages: impl IntoIterator<Item = &'a StageId>,
    brought_back: &mut Vec<Stage>,
) -> Result<(), TickError> {
    for id in stages {
        if state.stage(id).is_none()
            && let Some(stage) = store::archived(&site.layout, id)?
        {
            brought_back.push(stage.clone());
            state.stages.insert(0, stage);
        }
    }
    Ok(())
}

/// Carries out what is to be done in this state, all or nothing. `named` are the stages that it will be about.
fn commands(
    site: &Site,
    named: &[StageId],
    decide: impl FnOnce(&State) -> Result<Vec<Command>, TickError>,
) -> Result<Vec<Note>, TickError> {
    let held = || TickError::Held { path: site.layout.tick_lock() };
    let store = Store::lock_within(&site.layout, PATIENCE)?.ok_or_else(held)?;
    store.redo()?;
    let loaded = store.load()?;
    belongs_here(site, &loaded)?;
    let mut state = loaded.state.clone();
    let mut brought_back = Vec::new();
    bring_back(site, &mut state, named, &mut brought_back)?;
    let orders = decide(&state)?;
    bring_back(site, &mut state, orders.iter().flat_map(Command::stages), &mut brought_back)?;
    for order in &orders {
        if let Command::Skip(id) = order {
            refuse_landed(site, &store, &loaded, id)?;
        }
    }
    let now = clock::now();
    let step = operate_all(&state, &loaded.budget, orders.clone(), now)?;
    let archived = archive::rounds(&loaded.state, &step.state);
    let after = Loaded { state: step.state, budget: step.budget };
    let source = Source::Commands { commands: &orders, brought_back: &brought_back };
    let (before, notes) = (Some(&loaded), step.notes.as_slice());
    store.commit_from(source, &Decided { before, after: &after, archived: &archived, notes, now })?;
    let owed = (!step.notes.is_empty()).then(|| Owed::new(site, &store, after));
    drop(store);
    // It has happened by now; a snapshot that fails is a warning, as in a tick.
    if let Some(owed) = owed {
        owed.and_then(|owed| owed.write(site, now))
            .unwrap_or_else(|error| warn!(repo = %site.root.display(), "no snapshot: {error}"));
    }
    // A tick that found the lock held by this command has gone: what it came for is looked at now.
    if site.layout.tick_again().exists()
        && let Err(error) = fire(site)
    {
        warn!(repo = %site.root.display(), "the tick that waited for this command failed: {error}");
    }
    Ok(step.notes)
}

/// Refuses to close a stage as not landed whose change is on the base already, by a tick that died before it could
/// write that down.
fn refuse_landed(site: &Site, store: &Store, loaded: &Loaded, id: &StageId) -> Result<(), TickError> {
    let Some(stage) = loaded.state.stage(id) else { return Ok(()) };
    let Life::Landing(landing) = &stage.life else { return Ok(()) };
    let repo = site.repo(store.lock().file().try_clone().ok())?;
    if !has_landed(&repo, stage, landing)? {
        return Ok(());
    }
    let way_out = format!("its change is on {} already; the next tick closes it", stage.base_branch);
    Err(Refused::Wrong { stage: id.clone(), word: stage.life.word().to_owned(), way_out }.into())
}

/// What is wrong, or odd, with one card.
#[derive(Debug)]
pub struct Linted {
    /// Its path below the repository's root.
    pub path: PathBuf,
    /// The card, where nothing is wrong.
    pub card: Option<Card>,
    /// Who works, with the family and the model that were found; then who judges, seat by seat.
    pub placed: Vec<Placed>,
    /// What keeps it from being queued.
    pub faults: Faults,
    /// What its author may not have meant.
    pub warnings: Faults,
}

/// Reads a card and says everything that is wrong with it, families and their separation included.
pub fn lint(site: &Site, path: &Path) -> Result<Linted, TickError> {
    let full = if path.is_absolute() { path.to_owned() } else { site.root.join(path) };
    let below = full.strip_prefix(&site.root).unwrap_or(&full).to_owned();
    let mut linted =
        Linted { path: below, card: None, placed: Vec::new(), faults: Faults::default(), warnings: Faults::default() };
    let stem = full.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let stage: StageId = match stem.parse() {
        Ok(stage) => stage,
        Err(error) => {
            linted.faults.add(None, "file name", error.to_string());
            return Ok(linted);
        }
    };
    let Some(bytes) = document::read(&full)? else {
        linted.faults.add(None, "", "the file does not exist");
        return Ok(linted);
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        linted.faults.add(None, "", "the file is not UTF-8");
        return Ok(linted);
    };
    let parsed = match Card::parse(stage, text) {
        Ok(parsed) => parsed,
        Err(faults) => {
            linted.faults = faults;
            return Ok(linted);
        }
    };
    linted.warnings = parsed.warnings;
    match brief::of_card(&site.families, &site.manifest, parsed.card, sha256_hex(&bytes)) {
        Err(why) => linted.faults.add(None, "Metadata", why),
        Ok(brief) => {
            if let Some(verifier) = brief.same_family() {
                let detail = format!(
                    "worker `{}` and verifier `{}` are both of family {}; a verifier is of another family, unless \
                     `Same family:` says why",
                    brief.worker.identity, verifier.identity, verifier.family
                );
                linted.faults.add(None, "Metadata", detail);
            }
            ladder_faults(&brief, &mut linted.faults);
            fallback_faults(&brief, parsed.fallback_line, &mut linted.faults);
            let is_script = |member: &&Member| member.placed.family.as_str() == "script";
            let works = |member: &Member| {
                let who = &member.placed.identity;
                *who == brief.card.worker || brief.card.escalation.contains(who)
            };
            if brief.card.script.is_none() && brief.members.iter().filter(is_script).any(works) {
                linted.faults.add(None, "Script", "a worker of the script family needs a `## Script` block");
            }
            if let Some(fault) = contract_fault(site, &brief.card)? {
                linted.faults.add(None, "Contract tests", fault);
            }
            linted.placed = std::iter::once(brief.worker).chain(brief.verifiers).collect();
            linted.card = Some(brief.card);
        }
    }
    Ok(linted)
}

/// Rungs on which nobody could ever work.
fn ladder_faults(brief: &Brief, faults: &mut Faults) {
    for number in 1..=ladder::height(brief) {
        if let Err(why) = ladder::staff(brief, number) {
            faults.add(None, "Escalation", format!("rung {number}: {why}"));
        }
    }
}

/// Those who could never take the worker's place.
fn fallback_faults(brief: &Brief, line: Option<usize>, faults: &mut Faults) {
    for who in &brief.card.fallback {
        if let Err(why) = fallback::staffed(brief, who) {
            faults.add(line, "Fallback", why.to_string());
        }
    }
}

/// Why a card's contract tests cannot be frozen. Where the stage waits for others they may come from those, and its
/// dispatch asks again.
fn contract_fault(site: &Site, card: &Card) -> Result<Option<String>, TickError> {
    if card.contract_tests.is_empty() || !card.depends_on.is_empty() {
        return Ok(None);
    }
    let (repo, branch) = (site.repo(None)?, site.base_branch()?);
    Ok(match repo.tip(&branch)? {
        Some(tip) => evidence::freeze(&repo, card, &tip).err(),
        None => Some(format!("the base branch {branch} does not exist or has no commit")),
    })
}

/// A stage as its card queues it here and now: a time by the clock on the wall is that of this wall.
fn queue_card(card: &Card, path: String, base_branch: String) -> Stage {
    let mut stage = queued(card, path, base_branch);
    stage.wait.not_before = match card.not_before {
        Some(StartTime::Exact(at)) => Some(at),
        Some(StartTime::Local(at)) => clock::local(at),
        None => None,
    };
    stage
}

/// What is wrong with the dependencies of cards beside which others have faults of their own.
fn dependency_faults(site: &Site, paths: &[PathBuf], stages: &[Stage]) -> Result<Vec<String>, TickError> {
    let mut state = store::peek(&site.layout)?.state;
    bring_back(site, &mut state, stages.iter().flat_map(|stage| &stage.depends_on), &mut Vec::new())?;
    let added: Vec<StageId> = stages.iter().map(|stage| stage.id.clone()).collect();
    let named = paths.iter().filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
    let promised: Vec<StageId> = named.filter(|id| !added.contains(id)).collect();
    for stage in stages {
        if state.stage(&stage.id).is_none() {
            state.stages.push(stage.clone());
        }
    }
    Ok(dependencies::faults(&state, &added, &promised))
}

/// Queues cards, all or none.
pub fn add_stages(site: &Site, paths: &[PathBuf]) -> Result<(Vec<Note>, Vec<Linted>), TickError> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut all = Vec::new();
    let mut faulty = Vec::new();
    for path in paths {
        let linted = lint(site, path)?;
        match &linted.card {
            Some(card) if linted.faults.is_empty() => {
                let path = linted.path.to_string_lossy().into_owned();
                stages.push(queue_card(card, path, site.base_branch()?));
            }
            _ => faulty.extend(faults_of(&linted)),
        }
        all.push(linted);
    }
    if !faulty.is_empty() {
        faulty.extend(dependency_faults(site, paths, &stages)?);
    }
    refuse(&faulty)?;
    let notes = command(site, Command::AddStages(stages))?;
    Ok((notes, all))
}

/// Writes an answer and lets its stage go on.
pub fn answer(site: &Site, stage: &StageId, text: &str) -> Result<Vec<Note>, TickError> {
    // The answer is on disk before the stage moves, so that its next brief has it.
    let path = site.layout.answer(stage);
    let before = document::read(&path)?;
    if let Some(parent) = path.parent() {
        atomic::make_dirs(parent, Durability::Durable)?;
    }
    atomic::write(&path, text.as_bytes(), Durability::Durable)?;
    match command(site, Command::Answer(stage.clone())) {
        Ok(notes) => Ok(notes),
        // The next tick finishes it, and the brief that follows needs the answer.
        Err(error @ TickError::Store(StoreError::Decided(_))) => Err(error),
        Err(error) => {
            match before {
                Some(bytes) => atomic::write(&path, &bytes, Durability::Durable)?,
                None => atomic::remove(&path)?,
            }
            Err(error)
        }
    }
}
