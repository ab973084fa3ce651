//! The screen of one repository: a pure function of what is to be shown.
//!
//! From the top: the repository and the time; halts, pauses and faults; the queue; agents registered by hand; the
//! budget; the last tick. Texts of others are cleaned here, at the last moment.

use chrono::{DateTime, TimeDelta, Utc};

use super::next::Group;
use super::view::{Hand, Pulse, RepoStatus, StageView, Standing, ago};
use crate::cli::terminal::look::{Tone, between, span};
use crate::cli::terminal::table::{Cell, Column, Grid, Side};
use crate::cli::terminal::text::{clean, padded, width, wrap};
use crate::cli::terminal::{Look, table};
use crate::core::budget::{Budget, DeferralCause};
use crate::core::inbox::ItemKind;
use crate::core::quantity::{MicroUsd, grouped};
use crate::tick::controllers;

/// How many finished stages are shown where not all are asked for.
pub const NEWEST: usize = 10;

/// How long a sleep of the machine is shown.
const SLEPT_WITHIN: TimeDelta = TimeDelta::hours(12);

/// How much of what has ended is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// The newest few, and how many more there are.
    Newest,
    /// All of it.
    All,
}

const COLUMNS: [Column; 8] = [
    Column { title: "STAGE", side: Side::Left, dispensable: 0 },
    Column { title: "STATUS", side: Side::Left, dispensable: 0 },
    Column { title: "TRY", side: Side::Left, dispensable: 3 },
    Column { title: "WHO", side: Side::Left, dispensable: 2 },
    Column { title: "TIME", side: Side::Left, dispensable: 1 },
    Column { title: "OUTPUT", side: Side::Right, dispensable: 4 },
    Column { title: "TOKENS", side: Side::Right, dispensable: 5 },
    Column { title: "COST", side: Side::Right, dispensable: 6 },
];

const MANUAL: [Column; 4] = [
    Column { title: "STARTED BY HAND", side: Side::Left, dispensable: 0 },
    Column { title: "ROLE", side: Side::Left, dispensable: 2 },
    Column { title: "WHO", side: Side::Left, dispensable: 1 },
    Column { title: "TIME", side: Side::Left, dispensable: 0 },
];

/// The whole screen.
pub fn render(status: &RepoStatus, look: &Look, finished: Finished) -> String {
    let mut text = head(status, look);
    for warning in warnings(status, look) {
        text.push_str(&warning);
    }
    text.push('\n');
    if status.waits.is_empty() {
        said(&mut text, look, Tone::Plain, "nothing is queued; `autometta add-stage CARD` queues one");
    } else {
        text.push_str(&queue(status, look, finished));
    }
    text.push_str(&manual(status, look));
    text.push('\n');
    text.push_str(&budget(&status.budget, look));
    if let Some(words) = outlook(status, look) {
        said(&mut text, look, Tone::Plain, &words);
    }
    text.push('\n');
    let tone = match status.beat.pulse {
        Pulse::Regular | Pulse::Unneeded => Tone::Faint,
        Pulse::NoTimer => Tone::Warn,
        Pulse::Late => Tone::Bad,
    };
    if status.beat.pulse < Pulse::NoTimer {
        said(&mut text, look, tone, &status.beat.words);
    }
    text
}

/// Adds a sentence in lines that fit.
fn said(text: &mut String, look: &Look, tone: Tone, words: &str) {
    for (number, line) in wrap(words, look.width.saturating_sub(2)).into_iter().enumerate() {
        let indent = if number == 0 { "" } else { "  " };
        text.push_str(&format!("{indent}{}\n", look.paint(tone, &line)));
    }
}

/// The repository's path and the time, at the two ends of a line where both fit.
fn head(status: &RepoStatus, look: &Look) -> String {
    let path = clean(&status.repo.display().to_string());
    let time = look.moment(status.at);
    let room = look.width.min(160).saturating_sub(width(&time) + 2);
    if width(&path) <= room {
        return format!("{}  {}\n", look.paint(Tone::Strong, &padded(&path, room)), look.paint(Tone::Faint, &time));
    }
    let mut text = String::new();
    said(&mut text, look, Tone::Strong, &path);
    said(&mut text, look, Tone::Faint, &time);
    text
}

/// What a person should see before anything else.
fn warnings(status: &RepoStatus, look: &Look) -> Vec<String> {
    let now = status.at;
    let mut lines = Vec::new();
    let mut add = |tone: Tone, words: String| {
        let mut text = String::new();
        said(&mut text, look, tone, &words);
        lines.push(text);
    };
    let since = |at: Option<DateTime<Utc>>| {
        at.map_or_else(String::new, |at| format!(" (since {}, {} ago)", look.time(at, now), ago(at, now)))
    };
    for halt in status.inbox.iter().filter(|item| item.kind == ItemKind::Halt) {
        let since = since(halt.since);
        let detail = clean(&halt.detail);
        // The reason may name the way out itself.
        let way_out =
            if detail.contains("autometta resume") { String::new() } else { format!("; {}", clean(&halt.way_out)) };
        add(Tone::Bad, format!("HALTED {}: {}{way_out}{since}", clean(&halt.code), detail.trim_end_matches('.')));
    }
    let controllers = status.heartbeat.as_ref().map_or(&[][..], |beat| &beat.controllers);
    if let Some(says) = controllers::words(controllers, &status.repo, now) {
        add(Tone::Warn, format!("WARNING: {}", clean(&says)));
    }
    for pause in status.budget.waits(now) {
        let until = look.until(pause.until, now);
        add(Tone::Warn, format!("PAUSED {} until {until}: {}", clean(&pause.who()), clean(&pause.reason)));
    }
    for held in status.budget.deferrals.iter().filter(|held| held.until > now) {
        let (until, reason) = (look.until(held.until, now), clean(&held.reason));
        let words = match held.cause {
            DeferralCause::Offline => format!("OFFLINE {}: {reason}; asked again at {until}", held.family),
            DeferralCause::Quota => format!("HELD {} until {until}: {reason}", held.family),
        };
        add(Tone::Warn, format!("{words}{}", since(Some(held.since))));
    }
    if let Some(until) = status.curfew_until.filter(|_| status.waits.iter().any(|stage| stage.group == Group::Pending))
    {
        add(Tone::Warn, format!("CURFEW until {}: no worker starts", look.until(until, now)));
    }
    if let Some(slept) = status.state.slept.as_ref().filter(|slept| now - slept.until < SLEPT_WITHIN) {
        let (from, until) = (look.time(slept.from, now), look.time(slept.until, now));
        add(Tone::Faint, format!("slept {} between {from} and {until}; no run's time went on", span(slept.seconds)));
    }
    match status.beat.pulse {
        Pulse::Regular | Pulse::Unneeded => {}
        Pulse::NoTimer => add(Tone::Warn, status.beat.words.clone()),
        Pulse::Late => add(Tone::Bad, status.beat.words.clone()),
    }
    lines
}

fn queue(status: &RepoStatus, look: &Look, finished: Finished) -> String {
    let mut grid = Grid::new(&COLUMNS, "NEXT");
    let mut left_out = 0;
    for (group, title) in [
        (Group::NeedsYou, "needs you"),
        (Group::InFlight, "in flight"),
        (Group::Pending, "pending"),
        (Group::Finished, "finished"),
    ] {
        let members: Vec<&StageView> = status.waits.iter().filter(|stage| stage.group == group).collect();
        if members.is_empty() {
            continue;
        }
        grid.section(format!("{title} ({})", members.len()));
        let most = if group == Group::Finished && finished == Finished::Newest { NEWEST } else { usize::MAX };
        left_out += members.len().saturating_sub(most);
        for stage in members.into_iter().take(most) {
            rows(&mut grid, stage);
        }
    }
    let mut text = grid.render(look);
    if left_out > 0 {
        said(&mut text, look, Tone::Faint, &format!("and {left_out} more have ended; --all-stages lists them"));
    }
    if status.archived > 0 {
        let count = grouped(u64::try_from(status.archived).unwrap_or(u64::MAX));
        let words = format!("and {count} have left the queue for the archive; `autometta show STAGE` finds them");
        said(&mut text, look, Tone::Faint, &words);
    }
    text
}

/// The live runs that were started by hand.
fn manual(status: &RepoStatus, look: &Look) -> String {
    if status.manual.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new(&MANUAL, "");
    for entry in &status.manual {
        let name = entry.identity.as_ref().map_or_else(String::new, |identity| clean(identity.name()));
        let time = span(between(entry.started_at, status.at));
        let cells = [entry.run_id.to_string(), entry.role.to_string(), name, time];
        grid.row(cells.map(Cell::plain).to_vec(), Cell::default());
    }
    format!("\n{}", grid.render(look))
}

/// A stage's row, and one more for each further seat at work.
fn rows(grid: &mut Grid, stage: &StageView) {
    let tone = tone(stage);
    let first = stage.who.first();
    let many = stage.who.len() > 1;
    let none_if = |empty: bool, text: String| if empty { String::new() } else { text };
    let cells = vec![
        Cell::plain(stage.stage.as_str()),
        Cell::toned(tone, stage.word),
        Cell::plain(none_if(stage.attempt == 0, stage.attempt.to_string())),
        Cell::plain(if many { String::new() } else { first.map(who).unwrap_or_default() }),
        Cell::plain(if many { String::new() } else { first.map(time).unwrap_or_default() }),
        Cell::plain(if many { String::new() } else { first.map(silence).unwrap_or_default() }),
        Cell::plain(none_if(stage.tokens.0 == 0, grouped(stage.tokens.0))),
        Cell::plain(none_if(stage.cost_usd.0 == 0, stage.cost_usd.to_string())),
    ];
    grid.row(cells, Cell::toned(if stage.group == Group::NeedsYou { Tone::Warn } else { Tone::Plain }, &stage.next));
    for hand in stage.who.iter().filter(|_| many) {
        let seat = hand.run.as_ref().and_then(|run| run.seat).map_or_else(String::new, |seat| format!("  seat {seat}"));
        let cells = vec![
            Cell::plain(seat),
            Cell::toned(Tone::Faint, standing(hand.standing)),
            Cell::default(),
            Cell::plain(who(hand)),
            Cell::plain(time(hand)),
            Cell::plain(silence(hand)),
            Cell::default(),
            Cell::default(),
        ];
        grid.row(cells, Cell::default());
    }
}

fn tone(stage: &StageView) -> Tone {
    match (stage.group, stage.word) {
        (Group::NeedsYou, "pending" | "landing" | "blocked") => Tone::Warn,
        (Group::NeedsYou, _) => Tone::Bad,
        (Group::InFlight, _) => Tone::Busy,
        (Group::Pending, _) => Tone::Plain,
        (Group::Finished, "completed") => Tone::Good,
        (Group::Finished, _) => Tone::Faint,
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "waiting",
        Standing::Ordered => "starting",
        Standing::Running => "running",
        Standing::Ended => "ended",
        Standing::Lost => "lost",
        Standing::Stopping => "stopping",
    }
}

fn who(hand: &Hand) -> String {
    let name = hand.name.as_deref().map_or_else(|| "gates".to_owned(), clean);
    hand.family.as_ref().map_or_else(|| name.clone(), |family| format!("{name} ({family})"))
}

fn time(hand: &Hand) -> String {
    match (hand.elapsed_seconds, hand.allowed_seconds) {
        (Some(elapsed), Some(allowed)) => format!("{} of {}", span(elapsed), span(allowed)),
        (None, Some(allowed)) if hand.standing == Standing::Ordered => format!("0s of {}", span(allowed)),
        _ => String::new(),
    }
}

fn silence(hand: &Hand) -> String {
    hand.silent_seconds.map_or_else(String::new, |silent| format!("{} ago", span(silent)))
}

/// One bar.
struct Gauge {
    name: &'static str,
    spent: u64,
    reserved: u64,
    cap: Option<u64>,
    /// The word after the figure.
    verb: &'static str,
    show: fn(u64) -> String,
}

fn budget(budget: &Budget, look: &Look) -> String {
    let money = |micros| crate::core::quantity::MicroUsd(micros).to_string();
    let time = |seconds| crate::core::quantity::Seconds(seconds).to_string();
    let gauges = [
        Gauge {
            name: "tokens",
            verb: " spent",
            spent: budget.tokens_spent.0,
            reserved: budget.tokens_reserved.0,
            cap: budget.token_cap_total.map(|cap| cap.0),
            show: grouped,
        },
        Gauge {
            name: "cost",
            verb: " spent",
            spent: budget.cost_spent_usd.0,
            reserved: budget.cost_reserved_usd.0,
            cap: budget.cost_cap_usd.map(|cap| cap.0),
            show: money,
        },
        Gauge {
            name: "time of runs",
            verb: " spent",
            spent: budget.wall_clock_elapsed_seconds.0,
            reserved: budget.wall_clock_reserved_seconds.0,
            cap: budget.wall_clock_cap_seconds.map(|cap| cap.0),
            show: time,
        },
        Gauge {
            name: "working ticks",
            verb: "",
            spent: budget.clock_ticks_used,
            reserved: 0,
            cap: budget.clock_tick_cap,
            show: grouped,
        },
        Gauge {
            name: "failures in a row",
            verb: "",
            spent: budget.consecutive_failures,
            reserved: 0,
            cap: budget.consecutive_failure_cap,
            show: grouped,
        },
    ];
    gauges.iter().map(|gauge| gauge.line(look)).collect()
}

/// What lies ahead, in a sentence; none where nothing goes on by itself, and while no run has shown anything.
fn outlook(status: &RepoStatus, look: &Look) -> Option<String> {
    let forecast = status.forecast.as_ref()?;
    let Some(expected) = &forecast.expected else {
        let nothing = status.budget.pace.is_empty();
        return (!nothing).then(|| {
            format!("too little is known to say when the queue ends: {}", clean(&forecast.unknown.join(", ")))
        });
    };
    let ends = look.time(expected.ends_at, status.at);
    let binds = expected.binds.as_ref().map_or_else(String::new, |binds| {
        let at = look.time(binds.at, status.at);
        format!("; the {} holds {} back about {at}", binds.reason.as_str(), binds.stage)
    });
    let (tokens, cost) = (brief_count(expected.tokens.0), brief_money(expected.cost_usd));
    Some(format!("at this rate the queue ends about {ends}, {tokens} tokens, {cost}{binds}"))
}

/// A count as people say it: `950`, `47k`, `6.2M`.
fn brief_count(count: u64) -> String {
    let tenths = |unit: u64| (u128::from(count) * 10 + u128::from(unit) / 2) / u128::from(unit);
    match count {
        0..1_000 => count.to_string(),
        1_000..999_500 => format!("{}k", (count + 500) / 1_000),
        _ => format!("{}.{}M", tenths(1_000_000) / 10, tenths(1_000_000) % 10),
    }
}

/// Whole dollars from ten on.
fn brief_money(cost: MicroUsd) -> String {
    if cost.0 < 10_000_000 {
        cost.to_string()
    } else {
        format!("${}", grouped(cost.0.saturating_add(500_000) / 1_000_000))
    }
}

/// The width of the names of the bars.
const NAMES: usize = 18;

impl Gauge {
    /// `tokens  ████▒▒░░░░  41%  1,200 spent, 3,000 reserved, cap 10,000`; below a certain width without the bar.
    fn line(&self, look: &Look) -> String {
        let reserved =
            if self.reserved > 0 { format!(", {} reserved", (self.show)(self.reserved)) } else { String::new() };
        let cap = self.cap.map_or_else(|| "no cap".to_owned(), |cap| format!("cap {}", (self.show)(cap)));
        let words = format!("{}{}{reserved}, {cap}", (self.show)(self.spent), self.verb);
        let cells = match look.width {
            ..80 => 0,
            80..120 => 20,
            _ => 40,
        };
        let taken =
            self.cap.map(|cap| (percent(self.spent, cap), percent(self.spent.saturating_add(self.reserved), cap)));
        let (bar, share, tone) = match taken {
            None => (" ".repeat(cells), String::new(), Tone::Plain),
            Some((spent, taken)) => {
                let of = |percent: u64| usize::try_from(percent.min(100)).unwrap_or(100) * cells / 100;
                // What was spent shows, however little it is.
                let full = of(spent).max(usize::from(self.spent > 0 && cells > 0));
                let tone = match spent {
                    100.. => Tone::Bad,
                    80.. => Tone::Warn,
                    _ => Tone::Plain,
                };
                (look.bar(full, of(taken).saturating_sub(full), cells), format!("{spent}%"), tone)
            }
        };
        let gap = if cells > 0 { "  " } else { "" };
        let line = format!(
            "{}{}{gap}{}  ",
            padded(self.name, NAMES),
            look.paint(tone, &bar),
            look.paint(tone, &format!("{share:>4}"))
        );
        let room = look.width.saturating_sub(NAMES + cells + gap.len() + 6);
        let mut lines = table::folded(&words, room, look).into_iter();
        let mut text = format!("{line}{}\n", lines.next().unwrap_or_default());
        for more in lines {
            text.push_str(&format!("{}{more}\n", " ".repeat(look.width.saturating_sub(room))));
        }
        text
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 100,
        whole => u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX),
    }
}
