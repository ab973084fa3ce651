//! Copies for people and other tools: handoffs, verdicts, questions. The machine itself never reads them back.

use serde_json::{Value, json};

use crate::core::disagreement::{SeatVotes, disagreements};
use crate::core::exit::ExitRecord;
use crate::core::handoff::Handoff;
use crate::core::ids::{Identity, Role, RunId};
use crate::core::state::{PastRun, Said, Stage};
use crate::core::verdict::Verdict;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::git::Objects;

use super::brief::{self, Pin};
use super::error::TickError;
use super::evidence;
use super::returned;
use super::site::Site;

/// Marks a run whose outbox was published.
pub const PUBLISHED: &str = "published";
/// Marks the last seat's run of a panel that was published.
pub const PANEL_PUBLISHED: &str = "panel-published";
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

/// Publishes what a panel came to, seat by seat, and the criteria about which its seats differ.
pub fn panel(site: &Site, stage: &Stage, runs: &[RunId], said: Said) -> Result<(), TickError> {
    let Some(last) = runs.last() else { return Ok(()) };
    let mut seats = Vec::new();
    let mut votes = Vec::new();
    for run in runs {
        let order = returned::order(site, run)?;
        let verifier = order.as_ref().and_then(|order| order.identity.clone());
        let verdict =
            outbox(site, run, "verdict.json")?.and_then(|bytes| serde_json::from_slice::<Verdict>(&bytes).ok());
        seats.push(json!({
            "seat": run.seat,
            "run_id": run,
            "verifier": verifier,
            "family": order.as_ref().map(|order| &order.family),
            "model": order.as_ref().map(|order| &order.model),
            "cli_version": order.as_ref().map(|order| &order.cli_version),
            "overall": verdict.as_ref().map(Verdict::judged),
            "headline": verdict.as_ref().map(|verdict| &verdict.headline),
        }));
        if let (Some(seat), Some(verifier), Some(mut verdict)) = (run.seat, verifier, verdict) {
            verdict.criteria.sort_by_key(|criterion| criterion.id);
            let criteria = verdict.criteria.iter().map(|criterion| criterion.verdict).collect();
            votes.push(SeatVotes { seat, verifier, criteria });
        }
    }
    let mut document = serde_json::Map::from_iter([
        ("stage_id".to_owned(), json!(stage.id)),
        ("overall".to_owned(), json!(said)),
        ("seats".to_owned(), json!(seats)),
        ("disagreements".to_owned(), json!(disagreements(&votes))),
    ]);
    let of_one_seat = ["run_id", "verifier", "family", "model", "cli_version", "prompt_sha256", "seat"];
    document.extend(seal(site, stage, last)?.into_iter().filter(|(key, _)| !of_one_seat.contains(&key.as_str())));
    write_json(&site.layout.verdict(&stage.id, None), &Value::Object(document))?;
    Ok(atomic::write(&site.layout.run(last).join(PANEL_PUBLISHED), b"", Durability::Volatile)?)
}

/// What a verdict is sealed to: the run, the people and their models, the tree, the card, the prompt, the times.
fn seal(site: &Site, stage: &Stage, run: &RunId) -> Result<Vec<(String, Value)>, TickError> {
    let dir = site.layout.run(run);
    let order = returned::order(site, run)?;
    let exit: Option<ExitRecord> =
        document::read(&dir.join("exit.json"))?.and_then(|bytes| document::from_json(bytes).ok());
    let mut seal = vec![("run_id", json!(run)), ("worker", json!(worker_of(stage, run)))];
    if let Some(order) = order {
        seal.push(("verifier", json!(order.identity)));
        seal.push(("family", json!(order.family)));
        seal.push(("model", json!(order.model)));
        seal.push(("cli_version", json!(order.cli_version)));
        seal.push(("prompt_sha256", json!(order.prompt_sha256)));
        seal.push(("candidate_tree", json!(order.candidate_tree)));
        seal.push(("base_commit", json!(order.base_commit)));
        seal.push(("card_sha256", json!(order.card_sha256)));
    }
    if let Some(worker) = stage.candidate_run().map(|run| returned::order(site, run)).transpose()?.flatten() {
        seal.push(("worker_run", json!(worker.run_id)));
        seal.push(("worker_family", json!(worker.family)));
        seal.push(("worker_model", json!(worker.model)));
        seal.push(("worker_cli_version", json!(worker.cli_version)));
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
