//! What a worker that goes on from earlier work is told besides the evidence: who worked before, and what must not
//! change while the failure is mended.
//!
//! The evidence itself, verbatim, is `tick::prompt`'s. All that agents wrote is quoted as what they said, never as what
//! is so; each piece is bounded in size.

use crate::core::handoff::Handoff;
use crate::core::ids::{Role, RunId};
use crate::core::observation::Brief;
use crate::core::state::{Resume, RunOutcome, Stage};
use crate::core::verdict::{Judgement, Verdict};
use crate::files::document;

use super::error::TickError;
use super::prompt::{bounded, exit_record, notes_of};
use super::site::Site;

/// How much of a criterion or a command is quoted to name it, in characters.
const NAME: usize = 200;

/// The notes of the worker on the rung below, for the one that takes over; empty where nobody takes over.
pub fn handover(site: &Site, stage: &Stage, resume: &Resume) -> Result<String, TickError> {
    let Some(run) = &resume.predecessor else { return Ok(String::new()) };
    let who = stage.history.iter().find(|past| past.run == *run).and_then(|past| past.identity.as_ref());
    let who = who.map_or_else(|| "another worker".to_owned(), ToString::to_string);
    let mut text = format!("\n### You take over from {who}\n\nIts run {run} could not finish the stage.");
    if resume.evidence.is_empty()
        && let Some(reason) = &resume.because
    {
        text.push_str(&format!(" It ended as {}:\n\n{}\n", reason.code, bounded(&reason.detail)));
    }
    let handoff = document::read(&site.layout.run(run).join("outbox/handoff.json"))?
        .and_then(|bytes| Handoff::parse(&bytes, &stage.id).ok());
    match handoff {
        None => text.push_str("\nIt left no notes.\n"),
        Some(handoff) => text.push_str(&format!(
            "\nWhat it said of its work, which is its word and no evidence:\n\n<worker-notes>\nstatus: {}\n{}\n</worker-notes>\n",
            handoff.status.as_str(),
            notes_of(&handoff)
        )),
    }
    Ok(text)
}

/// What was right with the earlier work, and what was never to be touched.
pub fn what_must_not_change(site: &Site, stage: &Stage, resume: &Resume, brief: &Brief) -> Result<String, TickError> {
    let mut lines = Vec::new();
    for (number, criterion) in (1..).zip(&brief.card.criteria) {
        if passed_everywhere(site, resume, brief, number)? {
            lines.push(format!("- criterion {number} was met: {}", in_short(criterion)));
        }
    }
    if let Some(gate) = gate_of(stage, resume)
        && let Some(record) = exit_record(&site.layout.run(&gate))?
    {
        for gate in record.gates.iter().filter(|gate| gate.passed()) {
            lines.push(format!("- the gate {} passed: `{}`", gate.name, in_short(&gate.command)));
        }
    }
    for path in &brief.card.out_of_scope {
        lines.push(format!("- `{}` is out of scope", path.as_str()));
    }
    for path in &site.manifest.protected {
        lines.push(format!("- `{}` is protected: no worker may change it", path.as_str()));
    }
    if lines.is_empty() {
        return Ok(String::new());
    }
    let lines = lines.join("\n");
    Ok(format!("\n### What must not change\n\nMend what failed, and leave standing what is right:\n\n{lines}\n"))
}

/// Whether every verdict among the evidence says PASS to this criterion, and there is one.
fn passed_everywhere(site: &Site, resume: &Resume, brief: &Brief, number: u32) -> Result<bool, TickError> {
    let mut seen = false;
    for run in resume.evidence.iter().filter(|run| run.role == Role::Verifier) {
        let bytes = document::read(&site.layout.run(run).join("outbox/verdict.json"))?;
        let verdict = bytes.and_then(|bytes| Verdict::parse(&bytes, &run.stage, brief.card.criteria.len()).ok());
        let Some(verdict) = verdict else { return Ok(false) };
        if verdict.criteria.iter().any(|one| one.id == number && one.verdict != Judgement::Pass) {
            return Ok(false);
        }
        seen = true;
    }
    Ok(seen)
}

/// The gate run that the evidence is about: the one that failed, or the one that was passed on the way to the verdict.
fn gate_of(stage: &Stage, resume: &Resume) -> Option<RunId> {
    let judged = resume.evidence.iter().find(|run| run.role != Role::Worker)?;
    if judged.role == Role::Gate {
        return Some(judged.clone());
    }
    let passed = stage.history.iter().rev().find(|past| {
        past.run.role == Role::Gate && past.run.attempt == judged.attempt && past.outcome == RunOutcome::Done
    });
    passed.map(|past| past.run.clone())
}

/// The first line that says something, cut.
fn in_short(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if line.chars().count() > NAME { line.chars().take(NAME).chain("…".chars()).collect() } else { line.to_owned() }
}
