//! `inbox`, `answer`, `approve`, `reject`: what waits for a person, and what they say to it.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command as Process;

use anyhow::Context;
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::ids::StageId;
use crate::core::inbox::{self, Item, ItemKind};
use crate::core::operate::{Command, Rejected};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::store;
use crate::tick::{Site, belongs_here, clock, operate};

use super::args::ReadArgs;
use super::terminal::text::clean_lines;
use super::{DONE, Place, USAGE, output, status};

/// `answer`
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// The stage.
    pub stage: StageId,
    /// The answer.
    #[arg(long, conflicts_with = "file")]
    pub text: Option<String>,
    /// A file with the answer; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `reject`
#[derive(Debug, Args)]
pub struct RejectArgs {
    /// The stage.
    pub stage: StageId,
    /// Why; the worker reads it where it goes on.
    #[arg(long)]
    pub text: String,
    /// Give it back to its worker, who goes on from its work with what you said.
    #[arg(long)]
    pub rework: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `inbox --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Json {
    /// The repository.
    pub repo: String,
    /// What waits, the most pressing first.
    pub items: Vec<Entry>,
}

/// One thing that waits.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entry {
    /// What it is, and what to do about it.
    #[serde(flatten)]
    pub item: Item,
    /// The question in full, where one was asked.
    pub question: Option<String>,
}

/// The inbox of one repository.
pub fn inbox(at: &Place, args: &ReadArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let loaded = store::peek(&site.layout)?;
    belongs_here(&site, &loaded)?;
    let mut items = Vec::new();
    for item in inbox::items(&loaded.state, &loaded.budget) {
        let question = match (&item.stage, item.kind) {
            (Some(stage), ItemKind::Question) => question(&site, stage)?,
            _ => None,
        };
        items.push(Entry { item, question });
    }
    if args.json {
        output::json(&Json { repo: site.root.display().to_string(), items })?;
        return Ok(DONE);
    }
    if items.is_empty() {
        output::print("nothing waits for you\n")?;
        return Ok(DONE);
    }
    let now = clock::now();
    let mut text = String::new();
    for Entry { item, question } in &items {
        let who = item.stage.as_ref().map_or_else(|| "the repository".to_owned(), ToString::to_string);
        let since = item.since.map(|at| format!(", for {}", status::since(at, now))).unwrap_or_default();
        text.push_str(&format!("{:<11}{who} ({}{since})\n", item.kind.as_str(), item.code));
        for line in clean_lines(question.as_deref().unwrap_or(&item.detail)) {
            text.push_str(&format!("           | {line}\n"));
        }
        text.push_str(&format!("           → {}\n", item.way_out));
    }
    output::print(&text)?;
    Ok(DONE)
}

/// A stage's question as it was published.
fn question(site: &Site, stage: &StageId) -> anyhow::Result<Option<String>> {
    let Some(bytes) = document::read(&site.layout.question(stage))? else { return Ok(None) };
    let value: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    Ok(value.and_then(|value| value.get("question")?.as_str().map(str::to_owned)))
}

/// Answers a question: from the command line, a file, standard input, or the operator's editor.
pub fn answer(at: &Place, args: &AnswerArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let text = match (&args.text, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) if file.as_os_str() == "-" => std::io::read_to_string(std::io::stdin())?,
        (None, Some(file)) => std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?,
        (None, None) if std::io::stdin().is_terminal() => edited(&site, &args.stage)?,
        (None, None) => {
            eprintln!("autometta: say the answer with --text or --file; on a terminal, your editor is opened");
            return Ok(USAGE);
        }
    };
    if text.trim().is_empty() {
        anyhow::bail!("the answer is empty, so nothing was changed");
    }
    let notes = operate::answer(&site, &args.stage, &text)?;
    atomic::remove(&draft_path(&site, &args.stage))?;
    output::notes(&notes, args.json)?;
    Ok(DONE)
}

/// What stands above the question in the editor; lines like it are not part of the answer.
const COMMENT: &str = "# ";

/// Opens the operator's editor with the question in comments.
#[expect(clippy::disallowed_methods, reason = "the editor is the operator's, and so is its name")]
fn edited(site: &Site, stage: &StageId) -> anyhow::Result<String> {
    let asked = question(site, stage)?.unwrap_or_else(|| "its question was not published".to_owned());
    let mut draft = format!("\n{COMMENT}{stage} asks:\n");
    for line in asked.lines() {
        draft.push_str(&format!("{COMMENT}{line}\n"));
    }
    draft.push_str("# Write the answer above. Lines that begin with `#` and a space are left out; an empty answer changes nothing.\n");
    // It stands in the state's own folder, so that a draft whose answer was refused is not lost.
    let path = draft_path(site, stage);
    if let Some(parent) = path.parent() {
        atomic::make_dirs(parent, Durability::Durable)?;
    }
    if !path.exists() {
        atomic::write(&path, draft.as_bytes(), Durability::Volatile)?;
    }
    let named =
        ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    // An editor's variable may hold arguments, as `code --wait` does; every program that opens one asks the shell.
    let status = Process::new("/bin/sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&path).status()?;
    if !status.success() {
        anyhow::bail!("{editor}: {status}; nothing was changed");
    }
    let text = std::fs::read_to_string(&path)?;
    Ok(text.lines().filter(|line| !line.starts_with(COMMENT)).collect::<Vec<_>>().join("\n").trim().to_owned() + "\n")
}

/// Where an answer is drafted.
fn draft_path(site: &Site, stage: &StageId) -> PathBuf {
    site.layout.answer(stage).with_extension("draft.md")
}

/// Lets a parked change land.
pub fn approve(at: &Place, args: &super::args::StagesArgs) -> anyhow::Result<u8> {
    output::notes(&operate::on_stages(&at.site()?, &args.stages, Command::Approve)?, args.json)?;
    Ok(DONE)
}

/// Does not let a parked change land.
pub fn reject(at: &Place, args: &RejectArgs) -> anyhow::Result<u8> {
    let then = if args.rework { Rejected::IsReworked } else { Rejected::Ends };
    let command = Command::Reject { stage: args.stage.clone(), why: args.text.clone(), then };
    output::notes(&operate::command(&at.site()?, command)?, args.json)?;
    Ok(DONE)
}
