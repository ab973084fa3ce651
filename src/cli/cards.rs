//! `card new|lint|list` and `add-stage`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::core::ids::StageId;
use crate::core::template;
use crate::files::atomic;
use crate::files::store;
use crate::tick::brief::find_cards;
use crate::tick::operate::{self, Linted};
use crate::tick::{Site, TickError};

use super::args::{AddStageArgs, CardArgs, CardCommand};
use super::terminal::look::columns;
use super::{DONE, Place, REFUSED, output};

pub fn add_stage(at: &Place, args: &AddStageArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let here = std::env::current_dir()?;
    // A name that does not exist here is taken as one below the repository's root.
    let cards: Vec<PathBuf> = args
        .cards
        .iter()
        .map(|card| here.join(card))
        .zip(&args.cards)
        .map(|(full, card)| if full.exists() { std::fs::canonicalize(&full).unwrap_or(full) } else { card.clone() })
        .collect();
    let (notes, linted) = operate::add_stages(&site, &cards)?;
    for card in &linted {
        for warning in &card.warnings.0 {
            eprintln!("warning: {}: {warning}", card.path.display());
        }
    }
    output::notes(&notes, args.json)?;
    Ok(DONE)
}

pub fn card(at: &Place, args: &CardArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    match &args.command {
        CardCommand::New { stage, title } => new(&site, stage, title),
        CardCommand::Lint { cards, json } => lint(&site, cards, *json),
        CardCommand::List { json } => list(&site, *json),
    }
}

fn new(site: &Site, stage: &StageId, title: &str) -> anyhow::Result<u8> {
    let folder = site.manifest.stage_cards.first().map_or("stage-cards/*.md", |pattern| pattern.as_str());
    let folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = site.root.join(folder).join(format!("{stage}.md"));
    if path.exists() {
        return Err(TickError::Cards(format!("{} exists already", path.display())).into());
    }
    let values = BTreeMap::from([("stage", stage.to_string()), ("title", title.to_owned())]);
    let text = template::render(template::STAGE_CARD, &values)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    atomic::write_public(&path, text.as_bytes())?;
    output::print(&format!("{}\nfill in what stands in <<…>>, then `autometta add-stage` it\n", path.display()))?;
    Ok(DONE)
}

#[derive(Serialize)]
struct LintEntry<'a> {
    path: &'a PathBuf,
    card: &'a Option<crate::core::card::Card>,
    resolved: &'a [crate::core::observation::Placed],
    faults: &'a crate::core::fault::Faults,
    warnings: &'a crate::core::fault::Faults,
}

fn lint(site: &Site, cards: &[PathBuf], json: bool) -> anyhow::Result<u8> {
    let paths = if cards.is_empty() {
        find_cards(site)?
    } else {
        let here = std::env::current_dir()?;
        cards.iter().map(|card| here.join(card)).collect()
    };
    let linted: Vec<Linted> = paths.iter().map(|path| operate::lint(site, path)).collect::<Result<_, _>>()?;
    let faulty = linted.iter().any(|card| !card.faults.is_empty());
    if json {
        let entries: Vec<LintEntry<'_>> = linted
            .iter()
            .map(|one| LintEntry {
                path: &one.path,
                card: &one.card,
                resolved: &one.placed,
                faults: &one.faults,
                warnings: &one.warnings,
            })
            .collect();
        output::json(&entries)?;
    } else {
        let mut text = String::new();
        for one in &linted {
            let name = one.path.display();
            for fault in &one.faults.0 {
                text.push_str(&format!("{name}: {fault}\n"));
            }
            for warning in &one.warnings.0 {
                text.push_str(&format!("{name}: warning: {warning}\n"));
            }
            if one.faults.is_empty() {
                text.push_str(&format!("{name}: ok\n"));
                for (index, placed) in one.placed.iter().enumerate() {
                    let role = if index == 0 { "worker" } else { "verifier" };
                    let model = placed.model.as_deref().unwrap_or("no model");
                    text.push_str(&format!("  {role} {} is {}, {model}\n", placed.identity, placed.family));
                }
            }
        }
        output::print(&text)?;
    }
    Ok(if faulty { REFUSED } else { DONE })
}

#[derive(Serialize)]
struct ListEntry {
    stage: String,
    path: PathBuf,
    status: String,
    title: String,
}

fn list(site: &Site, json: bool) -> anyhow::Result<u8> {
    let loaded = store::peek(&site.layout)?;
    let mut entries = Vec::new();
    for path in find_cards(site)? {
        let linted = operate::lint(site, &path)?;
        let stage = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let queued = loaded.state.stages.iter().find(|known| known.id.as_str() == stage);
        let status = match (queued, linted.faults.is_empty()) {
            (Some(queued), _) => queued.life.word().to_owned(),
            (None, true) => "not queued".to_owned(),
            (None, false) => "faulty".to_owned(),
        };
        let title = linted.card.map(|card| card.title).unwrap_or_default();
        entries.push(ListEntry { stage, path, status, title });
    }
    if json {
        output::json(&entries)?;
    } else {
        let mut table = output::Table::new(&["STAGE", "STATUS", "TITLE"], columns());
        for entry in entries {
            table.row(vec![entry.stage, entry.status, entry.title]);
        }
        output::print(&table.render())?;
    }
    Ok(DONE)
}
