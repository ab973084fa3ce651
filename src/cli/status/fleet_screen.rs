//! The screen of all subscribers: a line each, what asks for attention first.

use super::fleet::{Fleet, Member, Summary};
use super::view::{Pulse, ago};
use crate::cli::terminal::Look;
use crate::cli::terminal::look::{Tone, span};
use crate::cli::terminal::table::{Cell, Column, Grid, Side};
use crate::cli::terminal::text::{clean, wrap};
use crate::core::quantity::grouped;

const COLUMNS: [Column; 8] = [
    Column { title: "REPO", side: Side::Left, dispensable: 0 },
    Column { title: "FLIGHT", side: Side::Right, dispensable: 1 },
    Column { title: "PENDING", side: Side::Right, dispensable: 1 },
    Column { title: "NEEDS YOU", side: Side::Right, dispensable: 0 },
    Column { title: "TODAY", side: Side::Right, dispensable: 4 },
    Column { title: "TOKENS", side: Side::Right, dispensable: 3 },
    Column { title: "COST", side: Side::Right, dispensable: 5 },
    Column { title: "LAST TICK", side: Side::Right, dispensable: 2 },
];

/// The whole screen.
pub fn render(fleet: &Fleet, look: &Look) -> String {
    let count = fleet.repos.len();
    let timer = match &fleet.timer {
        Some(timer) => format!("the timer ({}) fires every {}", timer.scheduler.as_str(), span(timer.every_seconds)),
        None => "no timer is installed; `autometta timer install` installs one".to_owned(),
    };
    let plural = if count == 1 { "y" } else { "ies" };
    let head = format!("{count} repositor{plural}, {}; {timer}", look.moment(fleet.at));
    let mut text = String::new();
    for line in wrap(&head, look.width) {
        text.push_str(&format!("{}\n", look.paint(Tone::Strong, &line)));
    }
    if fleet.repos.is_empty() {
        text.push_str("nobody has subscribed; `autometta init` in a repository does\n");
        return text;
    }
    text.push('\n');
    let mut grid = Grid::new(&COLUMNS, "");
    for member in &fleet.repos {
        let (cells, note) = row(member, fleet, look);
        grid.row(cells, note);
    }
    text.push_str(&grid.render(look));
    text
}

fn row(member: &Member, fleet: &Fleet, look: &Look) -> (Vec<Cell>, Cell) {
    let name = member.repo.as_ref().and_then(|repo| Some(repo.file_name()?.to_string_lossy().into_owned()));
    let is_shared = |name: &str| {
        let same = |other: &&Member| other.repo.as_ref().is_some_and(|repo| repo.ends_with(name));
        fleet.repos.iter().filter(same).count() > 1
    };
    // Two repositories of one name are told apart by their slugs.
    let name = name.filter(|name| !is_shared(name)).unwrap_or_else(|| member.slug.clone());
    let mut cells = vec![Cell::plain(clean(&name))];
    let Some(summary) = &member.summary else {
        cells.resize(COLUMNS.len(), Cell::default());
        let fault = member.fault.as_deref().map(clean).unwrap_or_default();
        return (cells, Cell::toned(Tone::Bad, format!("UNREADABLE: {fault}")));
    };
    let figure = |count: usize, tone: Tone| match count {
        0 => Cell::toned(Tone::Faint, "-"),
        count => Cell::toned(tone, count.to_string()),
    };
    let of = |spent: String, cap: Option<String>| cap.map_or(spent.clone(), |cap| format!("{spent} of {cap}"));
    let cost = match (summary.cost_spent_usd.0, summary.cost_cap_usd) {
        (0, None) => String::new(),
        (_, cap) => of(summary.cost_spent_usd.to_string(), cap.map(|cap| cap.to_string())),
    };
    cells.extend([
        figure(summary.in_flight, Tone::Busy),
        figure(summary.pending, Tone::Plain),
        figure(summary.needs_you, Tone::Warn),
        figure(summary.landed_today, Tone::Good),
        Cell::plain(of(grouped(summary.tokens_spent.0), summary.token_cap.map(|cap| grouped(cap.0)))),
        Cell::plain(cost),
        Cell::toned(
            if summary.pulse == Pulse::Late { Tone::Bad } else { Tone::Plain },
            summary.last_tick.map_or_else(|| "never".to_owned(), |at| ago(at, fleet.at)),
        ),
    ]);
    (cells, note(member, summary, fleet, look))
}

/// What is wrong, or waits, in words.
fn note(member: &Member, summary: &Summary, fleet: &Fleet, look: &Look) -> Cell {
    let mut words = Vec::new();
    let mut tone = Tone::Plain;
    if !member.enabled {
        words.push("disabled".to_owned());
        tone = Tone::Faint;
    }
    let is_warned = |tone: &mut Tone| *tone = if *tone == Tone::Bad { Tone::Bad } else { Tone::Warn };
    if !summary.halts.is_empty() {
        let reasons: Vec<&str> = summary.halts.iter().map(|halt| halt.as_str()).collect();
        words.push(format!("HALTED {}", reasons.join(", ")));
        tone = Tone::Bad;
    }
    if member.enabled && summary.pulse == Pulse::Late {
        words.push("LATE".to_owned());
        tone = Tone::Bad;
    }
    for pause in &summary.pauses {
        words.push(format!("PAUSED {} until {}", clean(&pause.who()), look.until(pause.until, fleet.at)));
        is_warned(&mut tone);
    }
    if member.enabled && summary.pulse == Pulse::NoTimer {
        words.push("no timer".to_owned());
        is_warned(&mut tone);
    }
    Cell::toned(tone, words.join("; "))
}
