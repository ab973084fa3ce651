//! The night as a chart of runs over time, and the same as a table for those who cannot see it.
//!
//! One row per stage, one bar per run. Roles differ in colour, in pattern and in a letter; what went wrong has a
//! cross and a heavier edge; the thin parts of a bar are time in which a run was reserved and no agent worked. Above
//! the rows a lane shows when anything ran at all.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::core::ids::Role;
use crate::core::night::{Band, Night, RunNight, StageNight};

use super::scale::{Scale, WIDTH, place};
use super::text::{between, count, machine, short, time, tokens};

/// Heights in the chart's units.
const AXIS: usize = 26;
const BANDS: usize = 20;
const LANE: usize = 30;
const LABEL: usize = 20;
const BAR: usize = 18;
const LANE_GAP: usize = 4;
const ROW_GAP: usize = 14;

/// A bar is at least so wide, so that the shortest run is seen.
const NARROWEST: f64 = 3.0;
/// From this width on a bar bears its letter, and from that one its role.
const LETTER: f64 = 14.0;
const WORD: f64 = 78.0;
/// An idle stretch of this width says how long it was.
const IDLE_LABEL: f64 = 90.0;

pub(super) fn section(night: &Night) -> Markup {
    let stages: Vec<&StageNight> = night.stages.iter().filter(|stage| !stage.runs.is_empty()).collect();
    html! {
        section aria-labelledby="chart" {
            h2 #chart { "The night" }
            @if stages.is_empty() {
                p.calm { "No run was dispatched in this time." }
            } @else {
                (legend(night))
                div.scroll tabindex="0" role="region" aria-label="Chart of runs over time" { (drawing(night, &stages)) }
                (table(night, &stages))
            }
        }
    }
}

/// What the signs mean, each drawn as it is in the chart.
fn legend(night: &Night) -> Markup {
    let sign = |role: Role| {
        html! {
            svg.sign viewBox="0 0 24 18" aria-hidden="true" focusable="false" {
                rect.b.(role) x="1" y="1" width="22" height="16" rx="3" {}
                @if role != Role::Worker { rect.p.(role) x="1" y="1" width="22" height="16" rx="3" {} }
                text x="12" y="13" text-anchor="middle" { (letter(role)) }
            }
        }
    };
    html! {
        ul.legend {
            @for role in [Role::Worker, Role::Gate, Role::Verifier] {
                li { (sign(role)) (role) }
            }
            li { svg.sign viewBox="0 0 24 18" aria-hidden="true" focusable="false" { (diamond(12.0, 9)) } "landed" }
            li { span.x aria-hidden="true" { "✕" } "did not pass" }
            @if night.bands.iter().any(|band| band.family.is_none()) {
                li { svg.sign viewBox="0 0 24 18" aria-hidden="true" focusable="false" { rect.band.halt width="24" height="18" {} } "halted" }
            }
            @if night.bands.iter().any(|band| band.family.is_some()) {
                li { svg.sign viewBox="0 0 24 18" aria-hidden="true" focusable="false" { rect.band.pause width="24" height="18" {} } "paused" }
            }
        }
    }
}

fn letter(role: Role) -> &'static str {
    match role {
        Role::Worker => "W",
        Role::Gate => "G",
        Role::Verifier => "V",
    }
}

/// A row with its place, and each run's lane in it.
struct Row<'n> {
    stage: &'n StageNight,
    top: usize,
    lanes: Vec<usize>,
    height: usize,
}

fn rows<'n>(night: &Night, stages: &[&'n StageNight], mut top: usize) -> Vec<Row<'n>> {
    let mut rows = Vec::new();
    for stage in stages {
        // The seats of a panel run at once; each goes into the first lane that is free.
        let mut ends: Vec<DateTime<Utc>> = Vec::new();
        let mut lanes = Vec::new();
        for run in &stage.runs {
            let free = ends.iter().position(|end| *end <= run.dispatched_at);
            let lane = free.unwrap_or(ends.len());
            if lane == ends.len() {
                ends.push(run.until(&night.window));
            } else {
                ends[lane] = run.until(&night.window);
            }
            lanes.push(lane);
        }
        let height = LABEL + ends.len() * (BAR + LANE_GAP);
        rows.push(Row { stage, top, lanes, height });
        top += height + ROW_GAP;
    }
    rows
}

fn drawing(night: &Night, stages: &[&StageNight]) -> Markup {
    let scale = Scale::new(&night.window);
    let head = AXIS + if night.bands.is_empty() { 0 } else { BANDS };
    let rows = rows(night, stages, head + LANE);
    let height = rows.last().map_or(head, |row| row.top + row.height) + ROW_GAP;
    let marks = scale.marks(&night.zone);
    html! {
        svg.chart role="img" aria-labelledby="chart-title chart-text" viewBox={ "0 0 " (WIDTH) " " (height) } {
            title #chart-title { "Runs over time" }
            desc #chart-text { (description(night, stages)) }
            defs { (patterns()) }
            @for band in &night.bands { (band_area(night, band, &scale, height)) }
            g.axis {
                @for mark in &marks {
                    line x1=(place(mark.x)) x2=(place(mark.x)) y1=(AXIS - 6) y2=(height) {}
                    text x=(place(mark.x)) y=(AXIS - 11) text-anchor="middle" { (mark.label) }
                }
            }
            (at_work(night, &scale, head))
            @for row in &rows { (stage_row(night, row, &scale)) }
        }
    }
}

/// The chart in a sentence; the table beside it has the figures.
fn description(night: &Night, stages: &[&StageNight]) -> String {
    let local = |at| night.zone.local(at).format("%H:%M").to_string();
    let halts = night.bands.iter().filter(|band| band.family.is_none()).count();
    let pauses = night.bands.len() - halts;
    let mut text = format!(
        "From {} to {}: {} of {}, {} landed.",
        local(night.window.from),
        local(night.window.until),
        count(night.outcome.runs, "run"),
        count(stages.len(), "stage"),
        night.outcome.landed
    );
    if halts > 0 {
        text.push_str(&format!(" {}.", count(halts, "halt")));
    }
    if pauses > 0 {
        text.push_str(&format!(" {}.", count(pauses, "pause")));
    }
    text.push_str(" The table below has the same runs.");
    text
}

/// Patterns, so that roles and bands differ without colour.
fn patterns() -> Markup {
    html! {
        pattern #hatch width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
            line.mark x1="0" y1="0" x2="0" y2="7" stroke-width="2.4" {}
        }
        pattern #dots width="7" height="7" patternUnits="userSpaceOnUse" { circle.mark cx="2" cy="2" r="1.3" {} }
        pattern #idle width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)" {
            line.mark x1="0" y1="0" x2="0" y2="6" stroke-width="1" {}
        }
    }
}

fn band_area(night: &Night, band: &Band, scale: &Scale, height: usize) -> Markup {
    let until = band.until.unwrap_or(night.window.until);
    let (x, end) = (scale.x(band.from), scale.x(until));
    let (class, word) = match &band.family {
        None => ("halt", "halted".to_owned()),
        Some(family) => ("pause", format!("{family} paused")),
    };
    // A label that would run out of the chart ends with the band instead.
    let (at, anchor) = if x > WIDTH * 0.8 { (end, "end") } else { (x, "start") };
    html! {
        g data-band=(class) data-from=(machine(band.from)) data-until=[band.until.map(machine)] {
            title { (word) " from " (night.zone.local(band.from).format("%H:%M").to_string()) ": " (short(&band.detail.text, 200)) }
            rect.band.(class) x=(place(x)) y=(AXIS) width=(place((end - x).max(NARROWEST))) height=(height - AXIS) {}
            text.(class) x=(place(at)) y=(AXIS + 14) text-anchor=(anchor) { (word) }
        }
    }
}

/// When anything ran: a lane with the union of all runs, and how long it was idle in between.
fn at_work(night: &Night, scale: &Scale, top: usize) -> Markup {
    let mut spans: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
    let mut runs: Vec<&RunNight> = night.stages.iter().flat_map(|stage| &stage.runs).collect();
    runs.sort_by_key(|run| run.dispatched_at);
    for run in runs {
        let (from, until) = (run.dispatched_at.max(night.window.from), run.until(&night.window));
        match spans.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(until),
            _ => spans.push((from, until)),
        }
    }
    let (first, last) = (scale.x(night.window.from), scale.x(night.window.until));
    let gaps = spans.windows(2).map(|pair| (pair[0].1, pair[1].0));
    html! {
        g.work {
            title { "when anything ran" }
            rect.idle x=(place(first)) y=(top + 4) width=(place((last - first).max(NARROWEST))) height="10" {}
            @for (from, until) in &spans {
                rect.busy x=(place(scale.x(*from))) y=(top + 4) height="10"
                    width=(place((scale.x(*until) - scale.x(*from)).max(1.0))) {}
            }
            @for (from, until) in gaps {
                @let (x, end) = (scale.x(from), scale.x(until));
                @if end - x >= IDLE_LABEL {
                    text x=(place(f64::midpoint(x, end))) y=(top + 14) text-anchor="middle" { "idle " (between(from, until).to_string()) }
                }
            }
        }
    }
}

fn stage_row(night: &Night, row: &Row, scale: &Scale) -> Markup {
    let stage = row.stage;
    let begin = stage.runs.first().map_or(0.0, |run| scale.x(run.dispatched_at));
    let end = stage.runs.iter().map(|run| scale.x(run.until(&night.window))).fold(begin, f64::max);
    // The label stands over the bars, so that it is there wherever the chart has been moved to.
    let (at, anchor) = if begin > WIDTH * 0.6 { (end.max(begin + NARROWEST), "end") } else { (begin, "start") };
    let bars = row.top + LABEL;
    html! {
        g.row data-stage=(stage.id) {
            text.label x=(place(at)) y=(row.top + 13) text-anchor=(anchor) {
                (short(stage.id.as_str(), 44)) tspan.soft { " " (stage.standing.as_str()) }
            }
            @for (run, lane) in stage.runs.iter().zip(&row.lanes) {
                (bar(night, run, bars + lane * (BAR + LANE_GAP), scale))
            }
            @if let Some(landed) = &stage.landed {
                g.landed data-landed=(landed.commit) data-at=(machine(landed.at)) {
                    title { "landed at " (night.zone.local(landed.at).format("%H:%M:%S").to_string()) }
                    (diamond(scale.x(landed.at).max(end + 8.0).min(WIDTH - 8.0), bars + BAR / 2))
                }
            }
        }
    }
}

fn diamond(x: f64, y: usize) -> Markup {
    html! { path.diamond d={ "M" (place(x)) " " (y - 7) "l7 7l-7 7l-7-7z" } {} }
}

fn bar(night: &Night, run: &RunNight, y: usize, scale: &Scale) -> Markup {
    let window = &night.window;
    let until = run.until(window);
    let (dispatched, seen) = (scale.x(run.dispatched_at), scale.x(run.seen_at.unwrap_or(window.until).max(until)));
    // Without a process there is no solid part, only the time that was set aside.
    let solid = run.started_at.map(|at| {
        let x = scale.x(at);
        (x, (scale.x(until) - x).max(NARROWEST))
    });
    let role = run.run.role;
    let live = run.outcome.is_none();
    let wrong = run.went_wrong();
    let middle = y + BAR / 2;
    html! {
        g.run data-run=(run.run) data-dispatched=(machine(run.dispatched_at))
            data-started=[run.started_at.map(machine)] data-ended=[run.ended_at.map(machine)]
            data-tokens=(run.tokens.0) data-cost-usd=(run.cost_usd.dollars()) {
            title { (role) ": " (run.went()) ", " (run.took(window).to_string()) }
            @if solid.is_none_or(|(x, width)| x - dispatched > 1.0 || seen - x - width > 1.0) {
                rect.held x=(place(dispatched)) y=(middle - 2) width=(place((seen - dispatched).max(NARROWEST))) height="4" {}
            }
            @if let Some((x, width)) = solid {
                rect.b.(role).live[live].wrong[wrong] x=(place(x)) y=(y) width=(place(width)) height=(BAR) {}
                @if role != Role::Worker && width >= NARROWEST * 2.0 {
                    rect.p.(role) x=(place(x)) y=(y) width=(place(width)) height=(BAR) {}
                }
                @if width >= WORD {
                    text x=(place(x + width / 2.0)) y=(y + 13) {
                        (role) " " (run.took(window).to_string())
                    }
                } @else if width >= LETTER {
                    text x=(place(x + width / 2.0)) y=(y + 13) { (letter(role)) }
                }
                @if wrong { text.x x=(place((x + width + 2.0).min(WIDTH - 14.0))) y=(y + 14) { "✕" } }
            }
        }
    }
}

/// The same runs as a table.
fn table(night: &Night, stages: &[&StageNight]) -> Markup {
    html! {
        details {
            summary { "The same as a table" }
            table.runs {
                caption { "Runs, as they were dispatched" }
                thead {
                    tr {
                        @for name in ["Run", "Who", "From", "To"] { th scope="col" { (name) } }
                        th.n scope="col" { "Time" }
                        th scope="col" { "Came to" }
                        th.n scope="col" { "Tokens" }
                        th.n scope="col" { "Cost" }
                    }
                }
                tbody {
                    @for run in stages.iter().flat_map(|stage| &stage.runs) { (table_row(night, run)) }
                }
            }
        }
        @for band in &night.bands {
            p.note {
                @match &band.family {
                    None => "Halted",
                    Some(family) => { (family) " paused" },
                }
                " from " (time(&night.zone, band.from))
                @match band.until {
                    Some(until) => { " to " (time(&night.zone, until)) },
                    None => ", still",
                }
                ": " bdi { (short(&band.detail.text, 300)) }
            }
        }
    }
}

fn table_row(night: &Night, run: &RunNight) -> Markup {
    let star = if run.usage_unknown { "*" } else { "" };
    // The moments for machines are on the bars.
    let local = |at| night.zone.local(at).format("%H:%M:%S").to_string();
    html! {
        tr data-run=(run.run) data-seconds=(run.seconds.0) data-tokens=(run.tokens.0) data-cost-usd=(run.cost_usd.dollars()) {
            th scope="row" { (run.run) }
            td { (run.identity.as_ref().map_or_else(|| "gate".to_owned(), |who| short(who.name(), 60))) }
            td { (local(run.started_at.unwrap_or(run.dispatched_at))) }
            td { @if let Some(at) = run.ended_at.or(run.seen_at) { (local(at)) } @else { "–" } }
            td.n { (run.took(&night.window).to_string()) }
            td { (run.went()) }
            td.n { (tokens(run.tokens)) (star) }
            td.n { (run.cost_usd.to_string()) (star) }
        }
    }
}
