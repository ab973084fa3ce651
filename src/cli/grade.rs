//! `grade`: judge past candidates again, or hold verifiers against candidates whose worth is known.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;

use crate::core::grade::{Bakeoff, Opinion, Regrade, SeatFigures, Tally};
use crate::core::ids::{Identity, StageId};
use crate::core::quantity::{MicroUsd, grouped};
use crate::tick::grade::{Basis, Corpus, Estimate, News, Past, Planted, Terms, Which};
use crate::tick::{Site, TickError};

use super::terminal::look::columns;
use super::terminal::text::clean;
use super::{DONE, Place, logging, output};

/// Who judges where nobody is named: the family that needs no model.
const CHECK: &str = "Check <check@local>";

/// `grade`
#[derive(Debug, Args)]
pub struct GradeArgs {
    /// Judge the planted candidates of this folder, whose answers are known.
    #[arg(long, value_name = "DIR")]
    pub planted: Option<PathBuf>,
    /// A seat that judges; several times for several. Without it: `Check <check@local>` for planted candidates, and each
    /// stage's own verifiers for past ones.
    #[arg(long = "seat", value_name = "NAME <HANDLE@HOST>")]
    pub seats: Vec<Identity>,
    /// How often each seat judges each candidate.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeat: u32,
    /// How many judgements go on at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub parallel: u32,
    /// Only these candidates (planted ones by their folder, past ones by their stage).
    #[arg(long, value_name = "STAGE")]
    pub only: Vec<StageId>,
    /// Only the newest so many past candidates.
    #[arg(long, value_name = "N", conflicts_with = "planted")]
    pub newest: Option<usize>,
    /// Start nothing that could bring the cost of all judgements above so many dollars.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub max_cost: Option<MicroUsd>,
    /// Go ahead without asking, although it may cost money.
    #[arg(long)]
    pub yes: bool,
    /// Keep the scratch repositories of planted candidates and say where they are.
    #[arg(long, requires = "planted")]
    pub keep: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn dollars(text: &str) -> Result<MicroUsd, String> {
    let number: f64 =
        text.trim_start_matches('$').parse().map_err(|_| format!("`{text}` is not a number of dollars"))?;
    if number.is_finite() && number >= 0.0 { Ok(MicroUsd::from_dollars(number)) } else { Err("it is negative".into()) }
}

pub fn grade(at: &Place, args: &GradeArgs) -> anyhow::Result<u8> {
    logging::start(&at.home);
    let terms = Terms { rounds: args.repeat, parallel: args.parallel as usize, max_cost: args.max_cost };
    match &args.planted {
        Some(dir) => planted(at, args, dir, terms),
        None => past(at, args, terms),
    }
}

fn planted(at: &Place, args: &GradeArgs, dir: &std::path::Path, terms: Terms) -> anyhow::Result<u8> {
    let corpus = Corpus::read(dir, &args.only)?;
    // In a subscribed repository its families, limits and template count; a bake-off needs none.
    let basis = match at.site() {
        Ok(Site { manifest, root, .. }) => {
            Basis { manifest, root: Some(root), home: at.home.clone(), exe: at.exe.clone() }
        }
        Err(error) if at.repo.is_some() || !is_unsubscribed(&error) => return Err(error),
        Err(_) => {
            let manifest = crate::core::manifest::Manifest::default();
            Basis { manifest, root: None, home: at.home.clone(), exe: at.exe.clone() }
        }
    };
    let seats = if args.seats.is_empty() { vec![CHECK.parse()?] } else { args.seats.clone() };
    let mut bench = Planted::prepare(&corpus, &basis, &seats, terms)?;
    consent(args, bench.estimate())?;
    if args.keep {
        eprintln!("kept: {}", bench.keep().display());
    }
    let found = bench.judge(&mut progress)?;
    end_progress();
    if args.json {
        output::json(&found)?;
    } else {
        output::print(&bakeoff_text(&found, columns()))?;
    }
    Ok(DONE)
}

fn is_unsubscribed(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<TickError>(), Some(TickError::NoManifest { .. } | TickError::Git(_)))
}

fn past(at: &Place, args: &GradeArgs, terms: Terms) -> anyhow::Result<u8> {
    let which = Which { stages: args.only.clone(), newest: args.newest, seats: args.seats.clone() };
    let bench = Past::prepare(at.site()?, &which, terms)?;
    consent(args, bench.estimate())?;
    let folder = bench.folder();
    let found = bench.judge(&mut progress)?;
    end_progress();
    if args.json {
        output::json(&found)?;
    } else {
        output::print(&regrade_text(&found, columns()))?;
        output::print(&format!("\nrecords: {}\n", folder.display()))?;
    }
    Ok(DONE)
}

/// Says what it may cost, and asks where it costs anything.
fn consent(args: &GradeArgs, estimate: Estimate) -> anyhow::Result<()> {
    let Estimate { judgements, by_models, most } = estimate;
    if by_models == 0 {
        return Ok(());
    }
    let capped = args.max_cost.filter(|cap| *cap < most);
    let limit = capped.map_or_else(
        || format!("at most {most}, which is what their caps add up to"),
        |cap| format!("at most {cap}, as --max-cost says; their caps add up to {most}"),
    );
    eprintln!("{by_models} of {judgements} judgements call a model; they may cost {limit}.");
    if args.yes {
        return Ok(());
    }
    let refused = || TickError::Cards("nothing was asked and nothing spent; `--yes` goes ahead".to_owned());
    if !std::io::stdin().is_terminal() {
        return Err(refused().into());
    }
    eprint!("go ahead? [y/N] ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused().into()) }
}

/// One line that is drawn over itself, on a terminal only.
fn progress(news: News<'_>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let text = match news {
        News::Screened(done, total) => format!("gates {done}/{total}"),
        News::Heard(heard, done, total) => {
            format!("{done}/{total} {} {}: {}", heard.stage, heard.seat.name(), heard.said.as_str())
        }
    };
    eprint!("\r\x1b[2K{}", output::shortened(&clean(&text), columns().saturating_sub(1)));
}

fn end_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[2K");
    }
}

/// A share of one, as people read it.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0}%", share * 100.0))
}

fn bakeoff_text(found: &Bakeoff, width: usize) -> String {
    let corpus = found.corpus;
    let mut text = format!(
        "{} planted defects ({} shown by the card's command, {} by reading only) and {} clean controls\n",
        corpus.defects,
        corpus.shown_by_command,
        corpus.defects - corpus.shown_by_command,
        corpus.controls
    );
    let machine = &found.machine;
    text.push_str(&format!(
        "without any verifier: {} refused by the checks of scope and honesty, {} by their gates, {} would get to a verifier\n\n",
        machine.refused,
        machine.gate_failed,
        corpus.defects.saturating_sub(machine.refused + machine.gate_failed)
    ));
    for stage in &machine.controls_refused {
        text.push_str(&format!("{stage} is a control and was refused: is this machine lacking a tool?\n"));
    }
    for stage in &machine.broken {
        text.push_str(&format!("{stage}: its gates could not be run\n"));
    }
    let heads = [
        "SEAT",
        "RECALL",
        "COMMAND",
        "READING",
        "FALSE ALARMS",
        "LOCATED",
        "MISSED",
        "BLOCKED",
        "NO VERDICT",
        "NOT ASKED",
        "WAVERED",
        "TOKENS",
        "COST",
        "TIME",
    ];
    let mut table = output::Table::new(&heads, width);
    for seat in &found.seats {
        table.row(seat_row(seat));
    }
    text.push_str(&table.render());
    text.push_str("\ncaught of asked, by class of defect:\n");
    text.push_str(&classes(found, width));
    for one in found.judgements.iter().filter(|one| one.said == Opinion::NoVerdict) {
        text.push_str(&format!("{} {}: no verdict: {}\n", one.stage, one.seat.name(), clean(&one.words)));
    }
    text
}

fn seat_row(seat: &SeatFigures) -> Vec<String> {
    let both = |of: fn(&Tally) -> u32| (of(&seat.defects) + of(&seat.controls)).to_string();
    let unknown = if seat.usage_unknown > 0 { "?" } else { "" };
    vec![
        seat.seat.to_string(),
        percent(seat.recall),
        percent(seat.recall_by_command),
        percent(seat.recall_by_reading),
        percent(seat.false_alarms),
        format!("{}/{}", seat.located, seat.defects.fail),
        seat.defects.pass.to_string(),
        both(|tally| tally.blocked),
        both(|tally| tally.no_verdict),
        both(|tally| tally.not_asked),
        seat.wavering.len().to_string(),
        grouped(seat.tokens.0),
        format!("{}{unknown}", seat.cost_usd),
        seat.seconds.to_string(),
    ]
}

/// A row for each class, a column for each seat.
fn classes(found: &Bakeoff, width: usize) -> String {
    let mut heads = vec!["CLASS"];
    heads.extend(found.seats.iter().map(|seat| seat.seat.name()));
    let mut table = output::Table::new(&heads, width);
    let mut names: Vec<_> = found.seats.iter().flat_map(|seat| seat.by_class.keys()).collect();
    names.sort();
    names.dedup();
    for class in names {
        let mut row = vec![class.to_string()];
        row.extend(found.seats.iter().map(|seat| {
            let tally = seat.by_class.get(class).copied().unwrap_or_default();
            format!("{}/{}", tally.fail, tally.asked())
        }));
        table.row(row);
    }
    table.render()
}

fn regrade_text(found: &Regrade, width: usize) -> String {
    let mut text = format!("{} past candidates judged again\n\n", found.candidates.len());
    let mut table = output::Table::new(&["STAGE", "ATTEMPT", "FATE", "SEAT", "THEN", "NOW", "", "WORDS"], width);
    for now in &found.candidates {
        for heard in &now.heard {
            let then = now.candidate.earlier.iter().rev().find(|earlier| earlier.seat == heard.seat);
            let fate = match now.candidate.fate {
                crate::core::grade::Fate::Landed => "landed",
                crate::core::grade::Fate::NotLanded => "not landed",
            };
            table.row(vec![
                now.candidate.stage.to_string(),
                now.candidate.attempt.to_string(),
                fate.to_owned(),
                heard.seat.to_string(),
                then.map_or("-", |earlier| earlier.said.as_str()).to_owned(),
                heard.said.as_str().to_owned(),
                if now.drifted.contains(&heard.seat) { "drifted" } else { "" }.to_owned(),
                clean(&heard.words),
            ]);
        }
    }
    text.push_str(&table.render());
    let mut seats = output::Table::new(
        &["SEAT", "SAME", "DRIFTED", "NEW", "FAIL ON LANDED", "PASS ON NOT LANDED", "NO VERDICT", "NOT ASKED", "COST"],
        width,
    );
    for seat in &found.seats {
        let counts = [
            seat.same,
            seat.drifted,
            seat.incomparable,
            seat.against_landed,
            seat.for_not_landed,
            seat.no_verdict,
            seat.not_asked,
        ];
        let mut row = vec![seat.seat.to_string()];
        row.extend(counts.map(|count| count.to_string()));
        row.push(seat.cost_usd.to_string());
        seats.row(row);
    }
    text.push_str(&format!("\n{}", seats.render()));
    for now in found.candidates.iter().filter(|now| now.disagreement) {
        let criteria: Vec<String> = now.disputed_criteria.iter().map(ToString::to_string).collect();
        let about = if criteria.is_empty() { String::new() } else { format!(", on criteria {}", criteria.join(", ")) };
        text.push_str(&format!(
            "{} attempt {}: the seats disagree{about}\n",
            now.candidate.stage, now.candidate.attempt
        ));
    }
    for left in &found.left_out {
        text.push_str(&format!("{} attempt {} is left out: {}\n", left.stage, left.attempt, left.why));
    }
    text
}
