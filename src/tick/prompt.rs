//! The prompts: templates of the project or of the repository, filled with what a run has to know.

use std::collections::BTreeMap;
use std::path::Path;

use crate::core::exit::{ExitRecord, GateResult};
use crate::core::handoff::Handoff;
use crate::core::ids::{Role, RunId};
use crate::core::observation::Brief;
use crate::core::state::{Life, Reason, Stage};
use crate::core::template;
use crate::core::verdict::Verdict;
use crate::files::document;
use crate::git::Objects;

use super::error::TickError;
use super::order::Job;
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
        ("evidence", evidence(site, stage)?),
    ]);
    render(site, "worker.md", template::WORKER, &values)
}

/// What the attempt before came to, and what an operator answered.
fn evidence(site: &Site, stage: &Stage) -> Result<String, TickError> {
    let mut text = String::new();
    let resume = match &stage.life {
        Life::Working(working) => working.resume.as_ref(),
        _ => None,
    };
    if let Some(resume) = resume {
        text.push_str(
            "## What happened before\n\nThe checkout already holds the work of an earlier run; go on from it.\n",
        );
        for run in &resume.evidence {
            text.push_str(&evidence_of(site, run, resume.because.as_ref())?);
        }
        if let Some(reason) = resume.because.as_ref().filter(|reason| reason.code == REJECTED) {
            text.push_str(&format!("\n### The operator did not let it land\n\n{}\n", bounded(&reason.detail)));
        }
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
            Some(bytes) => {
                format!("\n### The verdict of {run}\n\n```json\n{}\n```\n", bounded(&String::from_utf8_lossy(&bytes)))
            }
            None => String::new(),
        },
        // Our own checks refused the candidate; what they found stands in the state and nowhere else.
        Role::Worker => {
            let found = because.map(|reason| reason.detail.as_str()).unwrap_or_default();
            format!("\n### The work of {run} was refused before any gate ran\n\n{}\n", bounded(found))
        }
    })
}

fn exit_record(dir: &Path) -> Result<Option<ExitRecord>, TickError> {
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

fn bounded(text: &str) -> String {
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
            Some(record) => gate_results(&record.gates),
            None => "They passed; their record is gone.".to_owned(),
        },
    };
    let notes = document::read(&site.layout.run(&candidate.run).join("outbox/handoff.json"))?
        .and_then(|bytes| Handoff::parse(&bytes, &stage.id).ok())
        .map(|handoff| format!("status: {}\n{}", handoff.status.as_str(), bounded(&handoff.notes)))
        .unwrap_or_default();
    let mut flags = flags(&objects.diff_paths(&job.work.base_commit, &candidate.tree)?, &brief.card.commands);
    if let Some(bytes) = document::read(&site.layout.answer(&stage.id))? {
        flags.push_str(&format!("\nThe operator answers: {}\n", bounded(&String::from_utf8_lossy(&bytes))));
    }
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
        ("verdict_shape", Verdict::example(&stage.id, brief.card.criteria.len())),
        ("criteria_count", brief.card.criteria.len().to_string()),
    ]);
    render(site, "verifier.md", template::VERIFIER, &values)
}

/// What a verifier should look at twice: files that the acceptance commands name and the candidate changed.
fn flags(changes: &[crate::git::Change], commands: &[String]) -> String {
    let named = |change: &&crate::git::Change| commands.iter().any(|run| run.contains(change.path.text().as_ref()));
    let lines = changes.iter().filter(named).map(|change| {
        format!("- {} is named by an acceptance command and changed by the candidate\n", change.path.text())
    });
    let text = lines.collect::<Vec<_>>().concat();
    if text.is_empty() { "none\n".to_owned() } else { text }
}
