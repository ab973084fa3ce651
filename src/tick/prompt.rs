//! The prompts: templates of the project or of the repository, filled with what a run has to know.

use std::collections::BTreeMap;
use std::path::Path;

use crate::core::card::Stance;
use crate::core::exit::{ExitRecord, GateResult};
use crate::core::handoff::Handoff;
use crate::core::ids::{Role, RunId};
use crate::core::observation::{Brief, Returned};
use crate::core::state::{Life, PastRun, Reason, RunOutcome, Stage};
use crate::core::template;
use crate::core::verdict::{Scoring, Verdict};
use crate::files::document;
use crate::git::Objects;

use super::error::TickError;
use super::evidence;
use super::order::{self, Job};
use super::rebrief;
use super::returned;
use super::site::Site;
use crate::core::operate::REJECTED;

/// How many files a diff's summary names.
const DIFF_FILES: usize = 100;
/// How much of one piece of evidence goes into a brief, in characters.
const EVIDENCE: usize = 8_000;

/// The prompt of a run; empty for a gate, which reads none.
pub fn make(site: &Site, objects: &Objects, job: &Job<'_>, brief: &Brief) -> Result<String, TickError> {
    match job.flight.run.role {
        Role::Gate => Ok(String::new()),
        Role::Worker => worker(site, job, brief),
        Role::Verifier => verifier(site, objects, job, brief),
    }
}

fn render(site: &Site, name: &str, built_in: &str, values: &BTreeMap<&str, String>) -> Result<String, TickError> {
    let path = site.root.join("templates/autometta").join(name);
    let own = document::read(&path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = own.as_deref().unwrap_or(built_in);
    template::render(text, values).map_err(|error| {
        let place = if own.is_some() { path.display().to_string() } else { format!("the built-in {name}") };
        TickError::Prompt(format!("{place}: {error}"))
    })
}

fn card_text(site: &Site, brief: &Brief) -> Result<String, TickError> {
    let bytes = document::read(&site.layout.pinned_card(&brief.card_sha256))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn worker(site: &Site, job: &Job<'_>, brief: &Brief) -> Result<String, TickError> {
    let run = &job.flight.run;
    let stage = job.stage;
    let values = BTreeMap::from([
        ("stage", stage.id.to_string()),
        ("title", brief.card.title.clone()),
        ("worktree", site.worktree(run).display().to_string()),
        ("card_path", ".autometta/card.md".to_owned()),
        ("card", card_text(site, brief)?),
        ("outbox", ".autometta/outbox/handoff.json".to_owned()),
        ("handoff_shape", {
            let paths: Vec<_> = brief.card.deliverables.iter().map(|deliverable| deliverable.path.clone()).collect();
            Handoff::example(&stage.id, &paths)
        }),
        ("attempt", run.attempt.to_string()),
        ("evidence", evidence(site, stage, brief)?),
    ]);
    render(site, "worker.md", template::WORKER, &values)
}

/// What the attempt before came to, and what an operator answered.
fn evidence(site: &Site, stage: &Stage, brief: &Brief) -> Result<String, TickError> {
    let mut text = String::new();
    let resume = match &stage.life {
        Life::Working(working) => working.resume.as_ref(),
        _ => None,
    };
    if let Some(resume) = resume {
        text.push_str(
            "## What happened before\n\nThe checkout already holds the work of an earlier run; go on from it.\n",
        );
        text.push_str(&rebrief::handover(site, stage, resume)?);
        for run in &resume.evidence {
            text.push_str(&evidence_of(site, run, resume.because.as_ref())?);
        }
        if let Some(reason) = resume.because.as_ref().filter(|reason| reason.code == REJECTED) {
            text.push_str(&format!("\n### The operator did not let it land\n\n{}\n", bounded(&reason.detail)));
        }
        text.push_str(&rebrief::what_must_not_change(site, stage, resume, brief)?);
    }
    if let Some(bytes) = document::read(&site.layout.answer(&stage.id))? {
        let answer = String::from_utf8_lossy(&bytes);
        text.push_str(&format!("\n## The operator's answer\n\n{}\n", bounded(&answer)));
    }
    Ok(text)
}

fn evidence_of(site: &Site, run: &RunId, because: Option<&Reason>) -> Result<String, TickError> {
    let dir = site.layout.run(run);
    Ok(match run.role {
        Role::Gate => match exit_record(&dir)? {
            Some(record) => format!("\n### The gates of {run} failed\n\n{}", gate_results(&record.gates)),
            None => String::new(),
        },
        Role::Verifier => match document::read(&dir.join("outbox/verdict.json"))? {
            Some(bytes) => format!(
                "\n### The verdict of {run}\n\n```json\n{}\n```\n{}",
                bounded(&String::from_utf8_lossy(&bytes)),
                low_scores(site, &bytes)
            ),
            None => String::new(),
        },
        // Our own checks refused the candidate; what they found stands in the state and nowhere else.
        Role::Worker => {
            let found = because.map(|reason| reason.detail.as_str()).unwrap_or_default();
            format!("\n### The work of {run} was refused before any gate ran\n\n{}\n", bounded(found))
        }
    })
}

/// What a review asks for that passed every criterion and was not good enough.
fn low_scores(site: &Site, verdict: &[u8]) -> String {
    let scores = serde_json::from_slice::<Verdict>(verdict).ok().and_then(|verdict| verdict.scores);
    let low =
        scores.filter(|_| site.manifest.review.scores).and_then(|scores| scores.below(site.manifest.review.floor));
    low.map_or_else(String::new, |low| format!("\nThe change was {low}. The review says what to do better.\n"))
}

pub(super) fn exit_record(dir: &Path) -> Result<Option<ExitRecord>, TickError> {
    let bytes = document::read(&dir.join("exit.json"))?;
    Ok(bytes.and_then(|bytes| document::from_json::<ExitRecord>(bytes).ok()))
}

fn gate_results(gates: &[GateResult]) -> String {
    let mut text = String::new();
    for gate in gates {
        let ended = if gate.timed_out { "timed out".to_owned() } else { format!("{:?}", gate.exit).to_lowercase() };
        text.push_str(&format!(
            "`{}` ({}): {ended}, {:.1}s\n```\n{}\n```\n",
            gate.command.trim(),
            gate.name,
            gate.elapsed_seconds,
            bounded(&gate.output_tail)
        ));
    }
    text
}

/// The gate runs that failed before the one that passed, and were run again because the card or the manifest allows it.
fn flaked(site: &Site, stage: &Stage, passed: &RunId) -> Result<String, TickError> {
    let mut text = String::new();
    for past in &stage.history {
        if past.run.role == Role::Gate && past.run.attempt == passed.attempt && past.outcome == RunOutcome::Flaked {
            let results = exit_record(&site.layout.run(&past.run))?.map(|record| gate_results(&record.gates));
            let results = results.unwrap_or_else(|| "its record is gone\n".to_owned());
            text.push_str(&format!("\nFLAKY: {} failed on the same tree, and was run again:\n\n{results}", past.run));
        }
    }
    Ok(text)
}

/// A worker's notes, which cannot end the block that they stand in.
pub(super) fn notes_of(handoff: &Handoff) -> String {
    bounded(&handoff.notes).replace("</", "<\\/")
}

pub(super) fn bounded(text: &str) -> String {
    let count = text.chars().count();
    if count <= EVIDENCE {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(count - EVIDENCE).collect();
    format!("[the first {} characters are left out]\n{tail}", count - EVIDENCE)
}

fn verifier(site: &Site, objects: &Objects, job: &Job<'_>, brief: &Brief) -> Result<String, TickError> {
    let run = &job.flight.run;
    let stage = job.stage;
    let (Some(candidate), Life::Verifying(verifying)) = (job.candidate, &stage.life) else {
        return Err(TickError::Prompt(format!("{run}: it has no candidate to judge")));
    };
    let gates = match &verifying.gate {
        None if brief.gate_caps.is_some() => {
            "They were not run before you were asked: run the acceptance commands yourself.".to_owned()
        }
        None => "The card and the manifest have no gate: nothing was run.".to_owned(),
        Some(gate) => match exit_record(&site.layout.run(gate))? {
            Some(record) => format!("{}{}", gate_results(&record.gates), flaked(site, stage, gate)?),
            None => "They passed; their record is gone.".to_owned(),
        },
    };
    let notes = document::read(&site.layout.run(&candidate.run).join("outbox/handoff.json"))?
        .and_then(|bytes| Handoff::parse(&bytes, &stage.id).ok())
        .map(|handoff| format!("status: {}\n{}", handoff.status.as_str(), notes_of(&handoff)))
        .unwrap_or_default();
    let (base, tree) = (&job.work.base_commit, &candidate.tree);
    let report = evidence::report(objects, &site.manifest, &brief.card, base, tree)?;
    let mut flags = evidence::report_text(objects, &report, base, tree)?;
    if let Some(bytes) = document::read(&site.layout.answer(&stage.id))? {
        flags.push_str(&format!("\nThe operator answers: {}\n", bounded(&String::from_utf8_lossy(&bytes))));
    }
    let scoring = order::scoring(site, job.flight);
    let values = BTreeMap::from([
        ("stage", stage.id.to_string()),
        ("title", brief.card.title.clone()),
        ("card", card_text(site, brief)?),
        ("candidate_tree", candidate.tree.to_string()),
        ("base_commit", job.work.base_commit.to_string()),
        ("worktree", site.worktree(run).display().to_string()),
        ("diff_stat", objects.diff_stat(&job.work.base_commit, &candidate.tree, DIFF_FILES)?),
        ("gate_results", gates),
        ("worker_notes", notes),
        ("flags", flags),
        ("verdict_shape", Verdict::example(&stage.id, brief.card.criteria.len(), scoring)),
        ("criteria_count", brief.card.criteria.len().to_string()),
        ("earlier", earlier(site, objects, stage, run)?),
        ("scoring", scoring_rule(site, scoring)),
    ]);
    match brief.card.stance(run.seat) {
        Stance::Judge => render(site, "verifier.md", template::VERIFIER, &values),
        Stance::Adversarial => render(site, "verifier-adversarial.md", template::VERIFIER_ADVERSARIAL, &values),
    }
}

/// Why the answer before of this seat did not count, so that it can do better.
fn earlier(site: &Site, objects: &Objects, stage: &Stage, run: &RunId) -> Result<String, TickError> {
    let of_this_seat = |past: &&PastRun| {
        past.run.attempt == run.attempt && past.run.role == run.role && past.run.seat == run.seat && past.run != *run
    };
    let silent = |past: &&PastRun| past.outcome == RunOutcome::NoVerdict;
    let Some(past) = stage.history.iter().rev().filter(of_this_seat).find(silent) else { return Ok(String::new()) };
    let Some(record) = exit_record(&site.layout.run(&past.run))? else { return Ok(String::new()) };
    let why = match returned::verdict(site, objects, stage, &record)? {
        Returned::Unusable(why) => why,
        Returned::Nothing => "there was no verdict in it".to_owned(),
        Returned::Usable(_) => return Ok(String::new()),
    };
    Ok(format!(
        "## Your answer before did not count\n\nThe answer of {} could not be used, so you are asked once more. What was \
         wrong with it:\n\n{}\n",
        past.run,
        bounded(&why)
    ))
}

fn scoring_rule(site: &Site, scoring: Scoring) -> String {
    match scoring {
        Scoring::NotAsked => String::new(),
        Scoring::Asked => format!(
            "- `scores` says how good the change is beyond the criteria, each from 1 to 10: `alignment` (it does what the \
             card is for, no less and no more), `approach` (a sound way to do it, which the next reader understands), \
             `tests` (they would fail if it were wrong). 6 is sound work; below {} in any of them the change goes back to \
             its worker with your review, so say in the evidence and the findings what to do better.",
            site.manifest.review.floor
        ),
    }
}
