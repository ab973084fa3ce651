//! `log --replay`: every decision made again, a line for each that is not what it was.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::LogArgs;
use crate::cli::terminal::text::clean;
use crate::cli::{DONE, FAILED, output};
use crate::core::quantity::{Seconds, grouped};
use crate::files::store;
use crate::tick::Site;
use crate::tick::replay::{Finding, Replayed, Span, replay};

/// From when on it is said how far it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often.
const EVERY: Duration = Duration::from_millis(200);
/// How many characters of a value are shown.
const ROOM: usize = 80;

/// What `log --replay --json` prints.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReplayDoc {
    /// What came of it.
    #[serde(flatten)]
    pub summary: Replayed,
    /// What is not as it was, in order.
    pub findings: Vec<Finding>,
}

pub fn print(site: &Site, args: &LogArgs) -> anyhow::Result<u8> {
    let from = args.from.unwrap_or(1);
    let begun = Instant::now();
    let until = store::ledger_head(&site.layout)?.seq;
    let shows_progress = std::io::stderr().is_terminal() && !args.json;
    let mut shown: Option<Instant> = None;
    let mut passes = |seq: u64| {
        let due = shown.map_or(begun.elapsed() >= PATIENCE, |shown| shown.elapsed() >= EVERY);
        if shows_progress && due {
            shown = Some(Instant::now());
            eprint!("\rline {} of {}", grouped(seq), grouped(until));
            let _ = std::io::stderr().flush();
        }
    };
    let (mut findings, mut printed) = (Vec::new(), Ok(()));
    let mut tell = |finding: &Finding| {
        if args.json {
            findings.push(finding.clone());
        } else if printed.is_ok() {
            printed = output::print(&line(finding));
        }
    };
    let summary = replay(&site.layout, from, &mut tell, &mut passes);
    printed?;
    if shown.is_some() {
        eprintln!();
    }
    let summary = summary?;
    let code = if summary.differences == 0 { DONE } else { FAILED };
    if args.json {
        output::json(&ReplayDoc { summary, findings })?;
    } else {
        output::print(&words(&summary, site.manifest.keep.journal.seconds()))?;
    }
    Ok(code)
}

fn line(finding: &Finding) -> String {
    let Finding { seq, transition, what, difference, .. } = finding;
    let place = difference.as_ref().map_or_else(String::new, |difference| {
        let (expected, found) = (value(&difference.expected), value(&difference.found));
        format!("; {}: expected {expected}, decided {found}", difference.at)
    });
    format!("{}\n", clean(&format!("seq {seq} ({transition}): {what}{place}")))
}

fn value(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { output::shortened(&value.to_string(), ROOM) }
}

fn spans(spans: &[Span]) -> String {
    let span = |span: &Span| {
        if span.first == span.last { format!("{}", span.first) } else { format!("{}–{}", span.first, span.last) }
    };
    spans.iter().map(span).collect::<Vec<_>>().join(", ")
}

fn words(summary: &Replayed, kept: Seconds) -> String {
    let count = |number: u64, one: &str, many: &str| {
        if number == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(number)) }
    };
    let differ = match summary.differences {
        0 => "nothing differs".to_owned(),
        number => count(number, "difference", "differences"),
    };
    let recomputed = count(summary.recomputed, "decision", "decisions");
    let mut text = format!("{recomputed} made again, lines {} to {}: {differ}\n", summary.from, summary.until);
    let mut add = |words: String| text.push_str(&format!("  {words}\n"));
    if summary.given > 0 {
        let commits = count(summary.given, "commit stands", "commits stand");
        add(format!("{commits} whole, and followed from no decision (such as `initialised` and `restored`)"));
    }
    if summary.unfinished > 0 {
        let records = count(summary.unfinished, "decision was", "decisions were");
        add(format!("{records} never committed: the machine died first, and decided anew"));
    }
    if let Some(begins) = summary.begins {
        let days = count(kept.0.div_ceil(86_400), "day", "days");
        add(format!(
            "the journal begins at line {begins}: what is older than {days} (`keep: {{journal: …}}`) was removed"
        ));
    }
    if !summary.unrecorded.is_empty() {
        add(format!("not recorded: lines {} of the ledger", spans(&summary.unrecorded)));
    }
    if summary.lost > 0 {
        add(format!(
            "{} without lines cannot be made again: what was known before is not recorded",
            count(summary.lost, "decision", "decisions")
        ));
    }
    for unread in &summary.unread {
        let place =
            if unread.line == 0 { String::new() } else { format!("{}:{}: ", unread.path.display(), unread.line) };
        add(clean(&format!("unreadable: {place}{}", unread.why)));
    }
    if summary.programs.len() > 1 {
        let programs: Vec<&str> = summary.programs.iter().map(String::as_str).collect();
        add(format!("decided by {}", programs.join(", ")));
    }
    text
}
