//! The page about a night: data in, HTML out.
//!
//! Pure: no file, no clock, no process; the same data gives the same bytes. What an agent wrote is quoted and never
//! believed. Three things see to that, each in one place: `maud` escapes whatever is interpolated, `text::visible`
//! goes over the finished page and shows every character that would hide or turn text, and the page's own policy
//! forbids scripts, requests, forms and any style but the one whose hash it names.
//!
//! The page needs no script. What collects the data is `tick::night`.

mod bill;
mod chart;
mod graph;
mod scale;
mod stages;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::core::night::{Begun, Need, Night, Urgency};
use crate::core::quantity::grouped;

use text::{Allowance, commands, count, day, short, time, tokens};

/// The page's only style.
const STYLE: &str = include_str!("../../templates/report/report.css");

/// How many bytes of the page all quotations of agents and commands may take together, and one stage's at most.
const QUOTED: usize = 280_000;
const QUOTED_OF_STAGE: usize = 24_000;
/// How many bytes a line of the ledger may take.
const LEDGER_LINE: usize = 160;

/// The page.
pub fn page(night: &Night) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                // Figures are no telephone numbers.
                meta name="format-detection" content="telephone=no, date=no, address=no, email=no";
                meta name="generator" content="autometta report";
                title { (sentence(night)) " · " (short(&night.repo, 60)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the report" }
                (header(night))
                main #main {
                    (needs(night))
                    (chart::section(night))
                    (bill::section(night))
                    (graph::section(night))
                    (stages::section(night))
                    (ledger(night))
                }
                (footer(night))
            }
        }
    };
    text::visible(&markup.into_string())
}

/// Nothing may be loaded, run, sent or framed; the one style is named by its hash.
fn policy() -> String {
    let hash = BASE64.encode(Sha256::digest(STYLE.as_bytes()));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// What the night came to: `5 landed, 1 needs you, 2 failed`.
fn sentence(night: &Night) -> String {
    let outcome = &night.outcome;
    let parts = [
        (outcome.landed, "landed"),
        (outcome.needs_you, if outcome.needs_you == 1 { "needs you" } else { "need you" }),
        (outcome.failed, "failed"),
        (outcome.working, "in progress"),
        (outcome.waiting, "queued"),
        (outcome.closed, "closed"),
    ];
    let words: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    match (words.is_empty(), night.window.begun) {
        (false, _) => words.join(", "),
        (true, Begun::NeverRan) => "Nothing has run yet".to_owned(),
        (true, _) => "Nothing landed and nothing failed".to_owned(),
    }
}

fn header(night: &Night) -> Markup {
    let (outcome, window, zone) = (&night.outcome, &night.window, &night.zone);
    let (first, last) = (day(zone, window.from), day(zone, window.until));
    html! {
        header {
            p.eyebrow { (short(&night.repo, 80)) }
            h1 data-landed=(outcome.landed) data-needs-you=(outcome.needs_you) data-failed=(outcome.failed)
                data-closed=(outcome.closed) data-working=(outcome.working) data-waiting=(outcome.waiting)
                data-runs=(outcome.runs) data-tokens=(outcome.tokens.0) data-cost-usd=(outcome.cost_usd.dollars()) {
                (sentence(night))
                span.soft { "; " (tokens(outcome.tokens)) " tokens, " (outcome.cost_usd.to_string()) }
            }
            p {
                @if window.begun == Begun::NeverRan {
                    "No run was dispatched so far. The clock is " (zone.words(window.from)) "."
                } @else {
                    (first) ", " (time(zone, window.from)) " to "
                    @if first != last { (last) ", " }
                    (time(zone, window.until)) ". " (count(outcome.runs, "run")) ". Times are " (zone.words(window.until)) "."
                }
            }
            p.path { code { (short(&night.path, 300)) } }
            @for fault in &night.faults {
                p.fault role="note" { strong { "Could not be read: " } (short(fault, 500)) }
            }
        }
    }
}

fn needs(night: &Night) -> Markup {
    html! {
        section aria-labelledby="needs" {
            h2 #needs { "What needs you" }
            @if night.needs.is_empty() {
                p.calm { "Nothing. Nobody waits for you." }
            } @else {
                ol.needs {
                    @for need in &night.needs { (need_item(night, need)) }
                }
                @if night.left_out.needs > 0 {
                    p.note { "and " (night.left_out.needs) " more: " code { "autometta inbox" } }
                }
            }
        }
    }
}

fn need_item(night: &Night, need: &Need) -> Markup {
    let (class, kind) = match need.urgency {
        Urgency::Stop => ("stop", "everything waits"),
        Urgency::Ask => ("ask", "waits for you"),
        Urgency::Ended => ("ended", "has ended"),
    };
    let allowance = Allowance::new(4_000);
    html! {
        li.need.(class) data-need=(need.code) {
            h3 {
                @match &need.stage {
                    Some(stage) => a href={ "#" (stage) } { (stage) },
                    None => "The repository",
                }
                span.kind { (kind) }
            }
            @if let Some(title) = &need.title { p.title { (short(title, 200)) } }
            (text::why(&need.code, &need.detail, &allowance))
            p.out { (commands(&need.way_out)) }
            @if let Some(since) = need.since {
                p.note { "since " (day(&night.zone, since)) ", " (time(&night.zone, since)) }
            }
        }
    }
}

fn ledger(night: &Night) -> Markup {
    html! {
        section aria-labelledby="ledger" {
            h2 #ledger { "Everything, in order" }
            details {
                summary { (count(night.ledger.len(), "line")) " of the ledger" }
                @if night.left_out.ledger_lines > 0 {
                    p.note {
                        "The " (grouped(night.left_out.ledger_lines)) " lines before these are not shown: "
                        code { "autometta log" }
                    }
                }
                ol.ledger {
                    @for entry in &night.ledger {
                        li data-seq=(entry.seq) {
                            i { (night.zone.local(entry.at).format("%H:%M:%S").to_string()) } " "
                            b { (entry.subject.as_deref().unwrap_or("the repository")) } " "
                            (short(&entry.event, 60))
                            @if let Some((from, to)) = &entry.moved { " [" (short(from, 40)) " → " (short(to, 40)) "]" }
                            @if !entry.detail.is_empty() { ": " (short(&entry.detail, LEDGER_LINE)) }
                        }
                    }
                }
            }
        }
    }
}

fn footer(night: &Night) -> Markup {
    let begun = match night.window.begun {
        Begun::AfterRest => "It begins with the first dispatch after more than four hours of rest.",
        Begun::Asked => "It begins where --since said.",
        Begun::NeverRan => "It begins with the first dispatch.",
    };
    html! {
        footer {
            p {
                "Written by " code { "autometta report" } ". " (begun)
                " What agents and commands wrote is quoted as text and cut; " code { "autometta show STAGE" }
                " has the whole of it. This page holds no script and asks no server for anything."
            }
            @if night.left_out.runs > 0 || night.left_out.stages > 0 {
                p {
                    "Not shown: " (count(night.left_out.stages, "further stage")) ", "
                    (count(night.left_out.runs, "older run")) "."
                }
            }
        }
    }
}
