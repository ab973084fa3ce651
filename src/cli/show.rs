//! `show STAGE`: its whole story.

use serde::Serialize;
use serde_json::Value;

use crate::core::exit::ExitRecord;
use crate::core::ids::{Role, RunId};
use crate::core::operate::Refused;
use crate::core::state::Stage;
use crate::core::state_doc::StageDoc;
use crate::files::document;
use crate::files::store;
use crate::tick::{Site, TickError, belongs_here, clock};

use super::args::ShowArgs;
use super::{DONE, Place, output, status};

#[derive(Serialize)]
struct Json {
    #[serde(flatten)]
    stage: StageDoc,
    next: String,
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    run: RunId,
    exit: Option<ExitRecord>,
    outbox: Option<Value>,
}

pub fn show(at: &Place, args: &ShowArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let loaded = store::peek(&site.layout)?;
    belongs_here(&site, &loaded)?;
    let Some(stage) = loaded.state.stage(&args.stage) else {
        return Err(TickError::from(Refused::Unknown(args.stage.clone())).into());
    };
    let now = clock::now();
    let next = status::next(&site, &loaded, stage, now);
    let runs = stage.history.iter().map(|past| past.run.clone());
    let flying = stage.life.flights().into_iter().map(|flight| flight.run.clone());
    let records: Vec<Record> = runs.chain(flying).map(|run| record(&site, run)).collect::<Result<_, _>>()?;
    if args.json {
        output::json(&Json { stage: StageDoc::from(stage), next, records })?;
    } else {
        output::print(&text(stage, &next, &records))?;
    }
    Ok(DONE)
}

fn record(site: &Site, run: RunId) -> Result<Record, TickError> {
    let dir = site.layout.run(&run);
    let exit = document::read(&dir.join("exit.json"))?.and_then(|bytes| document::from_json(bytes).ok());
    let name = match run.role {
        Role::Worker => "outbox/handoff.json",
        Role::Verifier | Role::Gate => "outbox/verdict.json",
    };
    let outbox = document::read(&dir.join(name))?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(Record { run, exit, outbox })
}

fn text(stage: &Stage, next: &str, records: &[Record]) -> String {
    let mut text = format!("{}: {}\n", stage.id, stage.title);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12}{value}\n"));
        }
    };
    line("status", stage.life.word());
    line("card", &stage.card);
    line("worker", &stage.worker.to_string());
    for verifier in &stage.verifiers {
        line("verifier", &verifier.to_string());
    }
    line("base", &stage.base_branch);
    let needs: Vec<&str> = stage.depends_on.iter().map(crate::core::ids::StageId::as_str).collect();
    line("depends on", &needs.join(", "));
    line("next", next.lines().next().unwrap_or_default());
    if let Some(kept) = match &stage.life {
        crate::core::state::Life::Over(over) => over.kept.as_ref(),
        _ => None,
    } {
        line("kept", &format!("commit {} (tree {})", kept.candidate.commit, kept.candidate.tree));
    }
    line("spent", &format!("{} tokens, {}", stage.tokens, stage.cost_usd));
    for record in records {
        text.push_str(&run_text(stage, record));
    }
    let more: Vec<&str> = next.lines().skip(1).collect();
    if !more.is_empty() {
        text.push_str(&format!("\n{}\n", more.join("\n")));
    }
    text
}

fn run_text(stage: &Stage, record: &Record) -> String {
    let past = stage.history.iter().find(|past| past.run == record.run);
    let outcome = past.map_or_else(|| "in flight".to_owned(), |past| format!("{:?}", past.outcome).to_lowercase());
    let mut text = format!("\nrun {}: {outcome}\n", record.run);
    if let Some((past, identity)) = past.and_then(|past| Some((past, past.identity.as_ref()?))) {
        let model = past.model.as_ref().map_or_else(String::new, |model| format!(" ({model})"));
        text.push_str(&format!("  by {identity}{model}\n"));
    }
    if let Some(past) = past {
        let unknown = if past.usage_unknown { " (unknown, so charged at its reservation)" } else { "" };
        text.push_str(&format!("  {}, {} tokens, {}{unknown}\n", past.seconds, past.tokens, past.cost_usd));
    }
    if let Some(exit) = &record.exit {
        text.push_str(&format!("  ended by {:?}, {:?}\n", exit.ended_by, exit.exit).to_lowercase());
        if let Some(refusal) = &exit.provider.refusal {
            text.push_str(&format!("  the provider refused: {}\n", refusal.line));
        }
        for gate in &exit.gates {
            let result = if gate.passed() { "passed" } else { "FAILED" };
            let first = gate.command.trim().lines().next().unwrap_or_default();
            text.push_str(&format!("  gate {}: {result} in {:.1}s: {first}\n", gate.name, gate.elapsed_seconds));
            if !gate.passed() {
                for line in gate.output_tail.trim_end().lines() {
                    text.push_str(&format!("    | {line}\n"));
                }
            }
        }
    }
    let Some(outbox) = &record.outbox else { return text };
    for key in ["status", "overall", "headline", "notes", "question"] {
        if let Some(value) = outbox.get(key).and_then(Value::as_str).filter(|value| !value.is_empty()) {
            text.push_str(&format!("  {key}: {}\n", value.replace('\n', "\n    ")));
        }
    }
    for criterion in outbox.get("criteria").and_then(Value::as_array).into_iter().flatten() {
        let part = |key: &str| criterion.get(key).map(|value| value.to_string().trim_matches('"').to_owned());
        text.push_str(&format!(
            "  {}. {}: {} ({})\n",
            part("id").unwrap_or_default(),
            part("verdict").unwrap_or_default(),
            part("name").unwrap_or_default(),
            part("evidence").unwrap_or_default()
        ));
    }
    text
}
