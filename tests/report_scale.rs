//! How large a report and how much memory it takes, however much there is to tell. One test, because it measures the
//! memory of its child processes.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use autometta::core::ids::RunId;
use autometta::core::night::{Entry, Excerpt, Night as Told, RunNight};
use autometta::core::quantity::{MicroUsd, Tokens};
use autometta::core::step::Note;
use autometta::files::ledger;
use nix::sys::resource::{UsageWho, getrusage};
use support::night::Night;

/// A page stays below this with 200 stages.
const LARGEST_PAGE: usize = 2_000_000;
/// How much more memory a ledger of 20 MB may take than one of a few lines, in KiB: what the page itself takes.
const MORE_MEMORY: i64 = 12 * 1024;

#[test]
fn a_page_of_200_stages_and_a_ledger_of_years_stay_small() {
    let page = autometta::report::page(&crowded());
    let parts: Vec<usize> = page.split("<section").map(str::len).collect();
    assert!(page.len() < LARGEST_PAGE, "{} bytes, section by section {parts:?}", page.len());
    assert_eq!(page.matches("<article").count(), 200);

    let night = Night::bare();
    night.manifest("");
    night.ok(&["init"]);
    night.ok(&["report"]);
    let small = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage").max_rss();
    let path = night.repo.join("state/ledger.jsonl");
    lengthen(&path, 20_000);
    let length = fs::metadata(&path).expect("ledger").len();
    assert!(length > 20_000_000, "{length}");
    night.ok(&["report"]);
    let large = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage").max_rss();
    assert!(large - small < MORE_MEMORY, "{small} KiB became {large} KiB");
    let page = night.read("repo/state/report.html");
    assert!(page.len() < LARGEST_PAGE && page.contains("are not shown"), "{}", page.len());
}

/// 200 stages of five runs each, whose agents wrote as much as is quoted, of characters that take the most room.
fn crowded() -> Told {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/report/night.json");
    let mut night: Told = serde_json::from_str(&fs::read_to_string(fixture).expect("fixture")).expect("night");
    let panel = night.stages.iter().find(|stage| stage.runs.len() == 5).expect("a panel").clone();
    let loud = |length: usize| Excerpt { text: "\"\u{202e}<&\n".repeat(length / 5), omitted: 1000 };
    night.stages = (100..300)
        .map(|number| {
            let mut stage = panel.clone();
            stage.id = format!("{number}-parse-durations-as-people-do").parse().expect("id");
            stage.title = "<".repeat(500);
            for run in &mut stage.runs {
                run.run = RunId { stage: stage.id.clone(), ..run.run.clone() };
                make_loud(run, &loud);
            }
            stage
        })
        .collect();
    let line = night.ledger[0].clone();
    night.ledger = (0..1000).map(|seq| Entry { seq, detail: "<".repeat(200), ..line.clone() }).collect();
    night.sum_up();
    night
}

fn make_loud(run: &mut RunNight, loud: &dyn Fn(usize) -> Excerpt) {
    if let Some(handoff) = &mut run.handoff {
        handoff.notes = loud(1500);
    }
    if let Some(verdict) = &mut run.verdict {
        for criterion in &mut verdict.criteria {
            criterion.evidence = loud(600);
        }
    }
    for gate in &mut run.gates {
        gate.passed = false;
        gate.output = Some(loud(1500));
    }
}

/// Adds so many runs of one never-ending night to a ledger.
fn lengthen(path: &Path, runs: u32) {
    let mut file = OpenOptions::new().append(true).open(path).expect("ledger");
    let mut at = chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("time");
    for first in (1..=runs).step_by(1000) {
        let note = |number: u32, event: &str| Note {
            stage: Some("01-long".parse().expect("id")),
            run: Some(format!("01-long.{number}.worker").parse().expect("id")),
            event: event.to_owned(),
            from: None,
            to: None,
            detail: "x".repeat(300),
        };
        let notes: Vec<Note> = (first..first + 1000)
            .flat_map(|number| [note(number, "dispatched"), note(number, "worker-failed")])
            .collect();
        at += chrono::TimeDelta::minutes(1);
        let head = ledger::head(path).expect("head");
        let lines = ledger::lines(&head, &notes, at, 1, Tokens(0), MicroUsd(0), None).expect("lines");
        file.write_all(lines.as_bytes()).expect("written");
    }
}
