//! Copies for people and other tools: handoffs, verdicts, questions. The machine itself never reads them back.

use serde_json::{Value, json};

use crate::core::exit::ExitRecord;
use crate::core::handoff::Handoff;
use crate::core::ids::{Identity, Role, RunId};
use crate::core::run::RunOrder;
use crate::core::state::{PastRun, Stage};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::git::Objects;

use super::brief::{self, Pin};
use super::error::TickError;
use super::evidence;
use super::site::Site;

/// Marks a run whose outbox was published.
pub const PUBLISHED: &str = "published";
/// Marks a run whose question was published.
pub const ASKED: &str = "asked";

fn outbox(site: &Site, run: &RunId, name: &str) -> Result<Option<Vec<u8>>, TickError> {
    Ok(document::read(&site.layout.run(run).join("outbox").join(name))?)
}

fn write_json(path: &std::path::Path, value: &Value) -> Result<(), TickError> {
    if let Some(parent) = path.parent() {
        atomic::make_dirs(parent, Durability::Volatile)?;
    }
    let text = document::to_json_pretty(value).map_err(|error| TickError::Prompt(error.to_string()))?;
    Ok(atomic::write(path, text.as_bytes(), Durability::Volatile)?)
}

/// What is found in a worker's candidate, in its run's directory.
pub const FLAGS: &str = "flags.json";

/// Publishes a worker's handoff as it was written and what its candidate shows, a verifier's verdict with the run that
/// it is sealed to.
pub fn publish(site: &Site, objects: &Objects, stage: &Stage, run: &RunId) -> Result<(), TickError> {
    let dir = site.layout.run(run);
    match run.role {
        Role::Gate => {}
        Role::Worker => {
            flags(site, objects, stage, run)?;
            if let Some(bytes) = outbox(site, run, "handoff.json")? {
                let path = site.layout.handoff(&stage.id);
                if let Some(parent) = path.parent() {
                    atomic::make_dirs(parent, Durability::Volatile)?;
                }
                atomic::write(&path, &bytes, Durability::Volatile)?;
            }
        }
        Role::Verifier => {
            if let Some(bytes) = outbox(site, run, "verdict.json")?
                && let Ok(Value::Object(mut verdict)) = serde_json::from_slice(&bytes)
            {
                for (key, value) in seal(site, stage, run)? {
                    verdict.insert(key, value);
                }
                write_json(&site.layout.verdict(&stage.id, run.seat), &Value::Object(verdict))?;
            }
        }
    }
    Ok(atomic::write(&dir.join(PUBLISHED), b"", Durability::Volatile)?)
}

/// Whose work a run of this attempt was about: the stage may have gone to another worker since.
fn worker_of<'a>(stage: &'a Stage, run: &RunId) -> &'a Identity {
    let same = |past: &&PastRun| past.run.role == Role::Worker && past.run.attempt == run.attempt;
    let worked = stage.history.iter().rev().find(same).and_then(|past| past.identity.as_ref());
    worked.unwrap_or(&stage.worker)
}

/// Writes the flags of a run's candidate, as far as its stage still tells which that was.
fn flags(site: &Site, objects: &Objects, stage: &Stage, run: &RunId) -> Result<(), TickError> {
    let Some((base, tree)) = evidence::handed_in(stage, run) else { return Ok(()) };
    let Ok(brief) = brief::read(site, stage, Pin::No) else { return Ok(()) };
    let report = evidence::report(objects, &site.manifest, &brief.card, &base, &tree)?;
    let report = serde_json::to_value(&report).map_err(|error| TickError::Prompt(error.to_string()))?;
    write_json(&site.layout.run(run).join(FLAGS), &report)
}

/// What a verdict is sealed to: the run, the people, the tree, the card, the times.
fn seal(site: &Site, stage: &Stage, run: &RunId) -> Result<Vec<(String, Value)>, TickError> {
    let dir = site.layout.run(run);
    let order: Option<RunOrder> =
        document::read(&dir.join("run.json"))?.and_then(|bytes| document::from_json(bytes).ok());
    let exit: Option<ExitRecord> =
        document::read(&dir.join("exit.json"))?.and_then(|bytes| document::from_json(bytes).ok());
    let mut seal = vec![("run_id", json!(run)), ("worker", json!(worker_of(stage, run)))];
    if let Some(order) = order {
        seal.push(("verifier", json!(order.identity)));
        seal.push(("family", json!(order.family)));
        seal.push(("candidate_tree", json!(order.candidate_tree)));
        seal.push(("card_sha256", json!(order.card_sha256)));
    }
    if let Some(exit) = exit {
        seal.push(("started_at", json!(exit.started_at)));
        seal.push(("ended_at", json!(exit.ended_at)));
    }
    if stage.verifiers.len() > 1 {
        seal.push(("seat", json!(run.seat)));
        seal.push(("panel_seats", json!(stage.verifiers.len())));
        seal.push(("quorum", json!(stage.quorum)));
    }
    Ok(seal.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Publishes the question of a worker, or what a verifier could not look at.
pub fn ask(site: &Site, stage: &Stage, run: &RunId) -> Result<(), TickError> {
    let question = match run.role {
        Role::Worker => outbox(site, run, "handoff.json")?
            .and_then(|bytes| Handoff::parse(&bytes, &stage.id).ok())
            .and_then(|handoff| handoff.question),
        Role::Verifier => outbox(site, run, "verdict.json")?
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
            .map(|verdict| format!("a verifier could not look: {}", verdict["criteria"])),
        Role::Gate => None,
    };
    let question = json!({
        "stage_id": stage.id,
        "run_id": run,
        "question": question,
        "answer_with": format!("autometta answer {} --text \"…\"", stage.id),
    });
    write_json(&site.layout.question(&stage.id), &question)?;
    Ok(atomic::write(&site.layout.run(run).join(ASKED), b"", Durability::Volatile)?)
}
