//! `clean`: what of the past goes by `keep:`, planned or done.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::{DONE, FAILED, Place, logging, output};
use crate::core::manifest::{Keep, Size};
use crate::core::quantity::{Seconds, grouped};
use crate::core::retention::{Item, Why};
use crate::files::store::{self, Store};
use crate::tick::keep::{self, Cleaned};
use crate::tick::{Site, TickError, belongs_here, clock, fire};

/// How long it waits for a tick or another command to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most things that cannot be taken away of which each is told.
const MOST_FAULTS: usize = 20;

/// `clean`
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Show what would go and why, and change nothing.
    #[arg(long)]
    pub plan: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn clean(at: &Place, args: &CleanArgs) -> anyhow::Result<u8> {
    logging::start(&at.home);
    let site = at.site()?;
    let cleaned = if args.plan {
        let loaded = store::peek(&site.layout)?;
        belongs_here(&site, &loaded)?;
        keep::planned(&site, &site.repo(None)?, &loaded.state, clock::now())?
    } else {
        all(&site)?
    };
    if args.json {
        output::json(&cleaned)?;
    } else {
        output::print(&words(&cleaned, &site.manifest.keep))?;
    }
    for fault in cleaned.faults.iter().take(MOST_FAULTS) {
        eprintln!("autometta: {fault}");
    }
    Ok(if cleaned.faults.is_empty() { DONE } else { FAILED })
}

/// Does all of it, and lets ticks through in between.
fn all(site: &Site) -> anyhow::Result<Cleaned> {
    let mut sum = Cleaned::default();
    loop {
        let held = || TickError::Held { path: site.layout.tick_lock() };
        let store = Store::lock_within(&site.layout, PATIENCE)?.ok_or_else(held)?;
        store.redo()?;
        let loaded = store.load()?;
        belongs_here(site, &loaded)?;
        let repo = site.repo(store.lock().file().try_clone().ok())?;
        let (mut part, is_all) = keep::clean(site, &repo, &loaded.state, clock::now())?;
        part.freed_bytes = part.freed_bytes.saturating_add(sum.freed_bytes);
        sum.plan.items.append(&mut part.plan.items);
        part.plan.items = sum.plan.items;
        sum = part;
        drop(store);
        if site.layout.tick_again().exists() {
            // What a tick that found the lock held came for is looked at now.
            fire(site)?;
        }
        if is_all {
            return Ok(sum);
        }
    }
}

fn words(cleaned: &Cleaned, rules: &Keep) -> String {
    let plan = &cleaned.plan;
    let mut counts: BTreeMap<(u8, Option<Why>), usize> = BTreeMap::new();
    for item in &plan.items {
        *counts.entry(kind(item)).or_default() += 1;
    }
    let parts: Vec<String> = counts.into_iter().map(|(kind, count)| part(kind, count, rules)).collect();
    let did = match (cleaned.is_done, parts.is_empty()) {
        (true, true) if cleaned.freed_bytes == 0 => "nothing to take away\n".to_owned(),
        (true, _) => format!("freed {}: {}\n", Size(cleaned.freed_bytes), parts.join("; ")),
        (false, true) => "nothing would be taken away\n".to_owned(),
        (false, false) => format!("would free {}: {}\n", Size(cleaned.freed_bytes), parts.join("; ")),
    };
    let mut text = did.replace(": \n", "\n");
    if !cleaned.is_done {
        for item in &plan.items {
            text.push_str(&format!("  {}\n", line(item)));
        }
    }
    for (stays, count) in &plan.stays {
        let verb = if *count == 1 { "stays as it is" } else { "stay as they are" };
        text.push_str(&format!("  {} {verb}: {}\n", runs(*count), stays.words()));
    }
    if !cleaned.strangers.is_empty() {
        let shown: Vec<&str> = cleaned.strangers.iter().map(String::as_str).take(5).collect();
        let count = grouped(cleaned.strangers.len() as u64);
        let names = crate::cli::terminal::text::clean(&shown.join(", "));
        text.push_str(&format!("  {count} in state/runs are no runs and are left alone: {names}\n"));
    }
    if plan.above_size > 0 {
        let (above, size) = (Size(plan.above_size), rules.size);
        text.push_str(&format!("  what stays takes {above} more than `keep: {{size: {size}}}` allows\n"));
    }
    if plan.below_floor > 0 {
        let (short, floor) = (Size(plan.below_floor), rules.floor);
        text.push_str(&format!("  {short} are missing to the {floor} that must stay free; make room by hand\n"));
    }
    text
}

fn kind(item: &Item) -> (u8, Option<Why>) {
    match item {
        Item::Remove { why, .. } => (0, Some(*why)),
        Item::Strip { why, .. } => (1, Some(*why)),
        Item::Compress { .. } => (2, None),
        Item::Segment { .. } => (3, None),
    }
}

fn part((kind, why): (u8, Option<Why>), count: usize, rules: &Keep) -> String {
    let why = match why {
        Some(Why::Size) => format!("all runs took more than {}", rules.size),
        Some(Why::Floor) => format!("less than {} was free", rules.floor),
        Some(Why::Age) | None => format!("their stages ended {} ago or more", days(rules.runs.seconds())),
    };
    match kind {
        0 => format!("{} removed ({why})", runs(count)),
        1 => format!("{} cut down to their records ({why})", runs(count)),
        2 => format!("the logs of {} compressed", runs(count)),
        _ if count == 1 => "1 segment of the journal removed".to_owned(),
        _ => format!("{} segments of the journal removed", grouped(count as u64)),
    }
}

fn line(item: &Item) -> String {
    let room = Size(item.bytes());
    match item {
        Item::Remove { run, .. } => format!("remove {run}, {room}"),
        Item::Strip { run, .. } => format!("cut down to its records {run}, {room}"),
        Item::Compress { run, .. } => format!("compress the logs of {run}, {room}"),
        Item::Segment { number, .. } => format!("remove segment {number} of the journal, {room}"),
    }
}

fn runs(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{} runs", grouped(count as u64)) }
}

fn days(time: Seconds) -> String {
    match time.0 / 86_400 {
        0 => time.to_string(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}
