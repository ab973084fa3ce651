//! `status`: one screen for one repository.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::core::budget::Budget;
use crate::core::quantity::Seconds;
use crate::core::state::{Life, Stage};
use crate::core::state_doc::StateDoc;
use crate::files::store::{self, Loaded};
use crate::tick::heartbeat::{self, Heartbeat};
use crate::tick::{Site, belongs_here, clock, held};

use super::args::ReadArgs;
use super::{DONE, Place, output};

/// What `status --json` prints.
#[derive(Serialize)]
struct Json<'a> {
    repo: String,
    #[serde(flatten)]
    state: StateDoc,
    waits: Vec<Waits>,
    budget: &'a Budget,
    heartbeat: Option<Heartbeat>,
}

#[derive(Serialize)]
struct Waits {
    stage: String,
    next: String,
}

pub fn status(at: &Place, args: &ReadArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let loaded = store::peek(&site.layout)?;
    belongs_here(&site, &loaded)?;
    let now = clock::now();
    let heartbeat = heartbeat::read(&site);
    if args.json {
        let waits = loaded
            .state
            .stages
            .iter()
            .map(|stage| Waits { stage: stage.id.to_string(), next: next(&site, &loaded, stage, now) });
        output::json(&Json {
            repo: site.root.display().to_string(),
            state: StateDoc::from(&loaded.state),
            waits: waits.collect(),
            budget: &loaded.budget,
            heartbeat,
        })?;
        return Ok(DONE);
    }
    output::print(&text(&site, &loaded, heartbeat.as_ref(), now, output::width()))?;
    Ok(DONE)
}

/// The screen.
pub fn text(site: &Site, loaded: &Loaded, heartbeat: Option<&Heartbeat>, now: DateTime<Utc>, width: usize) -> String {
    let mut text = format!("{}\n", site.root.display());
    for halt in &loaded.budget.halt_reasons {
        text.push_str(&format!("HALTED {}: {}\n", halt.reason.as_str(), halt.detail));
    }
    for pause in &loaded.budget.pauses {
        text.push_str(&format!(
            "PAUSED {} until {}: {}\n",
            pause.family,
            pause.until.format("%Y-%m-%d %H:%M UTC"),
            pause.reason
        ));
    }
    text.push('\n');
    if loaded.state.stages.is_empty() {
        text.push_str("nothing is queued; `autometta add-stage stage-cards/…` queues a card\n");
    } else {
        let mut table = output::Table::new(&["STAGE", "STATUS", "TRY", "WHO", "TIME", "TOKENS", "COST", "NEXT"], width);
        for stage in &loaded.state.stages {
            table.row(vec![
                stage.id.to_string(),
                stage.life.word().to_owned(),
                stage.attempt.to_string(),
                who(stage),
                time(stage, now),
                stage.tokens.to_string(),
                stage.cost_usd.to_string(),
                next(site, loaded, stage, now),
            ]);
        }
        text.push_str(&table.render());
    }
    text.push('\n');
    text.push_str(&budget(&loaded.budget));
    let beat = match heartbeat {
        None => "no tick has run yet".to_owned(),
        Some(beat) => format!("last tick {} ago", since(beat.at, now)),
    };
    text.push_str(&format!("{beat}\n"));
    text
}

/// How long ago something was.
pub fn since(at: DateTime<Utc>, now: DateTime<Utc>) -> Seconds {
    Seconds(u64::try_from(now.signed_duration_since(at).num_seconds()).unwrap_or(0))
}

fn who(stage: &Stage) -> String {
    let flights = stage.life.flights();
    match flights.first() {
        None => String::new(),
        Some(flight) => match (&flight.identity, flights.len()) {
            (Some(identity), 1) => identity.name().to_owned(),
            (Some(identity), more) => format!("{} +{}", identity.name(), more - 1),
            (None, _) => "gate".to_owned(),
        },
    }
}

fn time(stage: &Stage, now: DateTime<Utc>) -> String {
    let flights = stage.life.flights();
    flights.first().map_or_else(String::new, |flight| {
        format!("{} of {}", since(flight.dispatched_at, now), flight.reserved.seconds)
    })
}

/// What comes next for a stage, or why nothing does, in one sentence.
pub fn next(site: &Site, loaded: &Loaded, stage: &Stage, now: DateTime<Utc>) -> String {
    match &stage.life {
        Life::Pending(pending) => {
            let held = held(site, loaded, stage, now);
            match (held, &pending.reason) {
                (Some(held), None) => held.to_string(),
                (Some(held), Some(reason)) => format!("{held} ({}: {})", reason.code, reason.detail),
                (None, Some(reason)) if stage.hands_over() => {
                    format!("next tick: {} takes over after {}: {}", stage.worker.name(), reason.code, reason.detail)
                }
                (None, Some(reason)) => format!("next tick: starts again after {}: {}", reason.code, reason.detail),
                (None, None) => "next tick: its worker starts".to_owned(),
            }
        }
        Life::Working(_) => "its worker runs; then the gates".to_owned(),
        Life::Gating(gating) if gating.flight.is_some() => "its gates run; then the verifiers".to_owned(),
        Life::Gating(_) => "its gates wait for their turn".to_owned(),
        Life::Verifying(verifying) => {
            let voted = verifying.seats.iter().filter(|seat| seat.vote.is_some()).count();
            format!("{voted} of {} seats have voted; then it lands", verifying.seats.len())
        }
        Life::Landing(landing) => match &landing.waiting {
            None => "next tick: it lands".to_owned(),
            Some(reason) => reason.detail.clone(),
        },
        Life::Over(over) => match (&over.reason, &over.commit) {
            (Some(reason), _) => format!("{}: {}", reason.code, reason.detail),
            (None, Some(commit)) => format!("landed as {}", &commit.as_str()[..12]),
            (None, None) => String::new(),
        },
    }
}

/// The budget, a line each for what has a cap or was used.
fn budget(budget: &Budget) -> String {
    let mut table = output::Table::new(&["BUDGET", "SPENT", "RESERVED", "CAP"], 80);
    let none = || "none".to_owned();
    table.row(vec![
        "tokens".to_owned(),
        budget.tokens_spent.to_string(),
        budget.tokens_reserved.to_string(),
        budget.token_cap_total.map_or_else(none, |cap| cap.to_string()),
    ]);
    table.row(vec![
        "cost".to_owned(),
        budget.cost_spent_usd.to_string(),
        budget.cost_reserved_usd.to_string(),
        budget.cost_cap_usd.map_or_else(none, |cap| cap.to_string()),
    ]);
    table.row(vec![
        "time of runs".to_owned(),
        budget.wall_clock_elapsed_seconds.to_string(),
        budget.wall_clock_reserved_seconds.to_string(),
        budget.wall_clock_cap_seconds.map_or_else(none, |cap| cap.to_string()),
    ]);
    table.row(vec![
        "working ticks".to_owned(),
        budget.clock_ticks_used.to_string(),
        String::new(),
        budget.clock_tick_cap.map_or_else(none, |cap| cap.to_string()),
    ]);
    table.row(vec![
        "failures in a row".to_owned(),
        budget.consecutive_failures.to_string(),
        String::new(),
        budget.consecutive_failure_cap.map_or_else(none, |cap| cap.to_string()),
    ]);
    table.render()
}
