//! `simulate`: plays the queue through many times and says what the nights come to. Only looks.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Args;

use crate::core::outlook::agents::{Basis, ENOUGH};
use crate::core::outlook::{LimitAhead, Outlook, Range, SpendAhead, StageAhead, Times, Verdict};
use crate::tick::{clock, outlook};

use super::budget::Until;
use super::terminal::look::{Look, LookArgs, Tone};
use super::terminal::table::{Cell, Column, Grid, Side};
use super::terminal::text::{clean, wrap};
use super::{DONE, Place, output};

/// How long nothing is said of how far it is.
const QUIET: Duration = Duration::from_secs(1);
/// How often it is said after that.
const EVERY: Duration = Duration::from_millis(200);

/// `simulate`
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// When the night is over: `08:00` (the next time that the local clock shows it), `8h`, or a full timestamp. Without
    /// one: when nothing moves any more, after a day at most.
    #[arg(long, value_name = "TIME")]
    pub until: Option<Until>,
    /// How many nights; without a number 500, and fewer, but at least 50, where more than 34 stages are queued.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub nights: Option<u32>,
    /// Another seed draws other nights; the same one draws the same.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How it looks.
    #[command(flatten)]
    pub look: LookArgs,
}

pub fn simulate(at: &Place, args: &SimulateArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let now = clock::now();
    let until = match args.until {
        None => None,
        Some(until) => {
            let until = until.after(now).ok_or_else(|| anyhow::anyhow!("the local clock never shows that time"))?;
            anyhow::ensure!(until > now, "{until} is over; `--until` takes a time that is still to come");
            Some(until)
        }
    };
    let ask = outlook::Ask { until, nights: args.nights, seed: args.seed };
    let mut bar = Progress::new();
    let outlook = outlook::simulate(&site, &ask, &mut |done, of| bar.show(done, of))?;
    bar.end();
    if args.json {
        output::json(&outlook)?;
    } else {
        output::print(&screen(&outlook, until.is_some(), &Look::new(&args.look)))?;
    }
    Ok(DONE)
}

/// How far it is, on a terminal, once it takes long.
struct Progress {
    began: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { began: Instant::now(), shown: None, is_terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, done: u32, of: u32) {
        let is_due = self.shown.map_or(self.began.elapsed() >= QUIET, |shown| shown.elapsed() >= EVERY);
        if self.is_terminal && is_due {
            self.shown = Some(Instant::now());
            // Where nobody can be told, nobody is.
            drop(write!(std::io::stderr(), "\r{done} of {of} nights"));
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            drop(write!(std::io::stderr(), "\r{:40}\r", ""));
        }
    }
}

fn screen(outlook: &Outlook, has_end: bool, look: &Look) -> String {
    let tone = match outlook.verdict {
        Verdict::Fine => Tone::Good,
        Verdict::Look => Tone::Warn,
        Verdict::Nothing => Tone::Bad,
    };
    let mut text = String::new();
    for line in wrap(&headline(outlook, has_end, look), look.width) {
        text.push_str(&format!("{}\n", look.paint(tone, &line)));
    }
    for advice in &outlook.advice {
        text.push_str(&format!("  - {}\n", clean(advice)));
    }
    if outlook.verdict != Verdict::Nothing {
        text.push_str(&format!("\n{}\n{}\n", queue(outlook, look), spend(outlook, look)));
    } else if !outlook.waits.is_empty() {
        text.push('\n');
    }
    for (name, words) in lines(outlook, look) {
        text.push_str(&format!("{name:<10}{words}\n"));
    }
    text
}

/// Whether the night can be left alone, and what comes of it, in a sentence.
fn headline(outlook: &Outlook, has_end: bool, look: &Look) -> String {
    if let Some(nothing) = &outlook.nothing {
        return format!("Nothing will run: {}.", clean(nothing).trim_end_matches('.'));
    }
    let begin = match outlook.verdict {
        Verdict::Fine => "You can leave it",
        Verdict::Look | Verdict::Nothing => "Look at it before you leave it",
    };
    let Range { low, median, high } = outlook.landed;
    let stages = if outlook.stages == 1 { "stage" } else { "stages" };
    let by = if has_end { format!(" by {}", look.time(outlook.until, outlook.at)) } else { String::new() };
    let between = if low == high { String::new() } else { format!(", {low} to {high} in 8 of 10 nights") };
    let verb = if median == 1 { "lands" } else { "land" };
    let lands = format!("{median} of {} {stages} {verb}{by}{between}", outlook.stages);
    let stops = outlook.limits.iter().find(|one| matches!(one.limit, crate::core::outlook::fate::Limit::Halt(_)));
    let stops = stops.filter(|one| one.percent >= 10 && outlook.verdict == Verdict::Look).map(|one| {
        format!(
            "; {} halts {} of 100 nights, at about {}",
            one.words,
            one.percent,
            look.time(one.at.median, outlook.at)
        )
    });
    format!("{begin}: {lands}{}{}.", stops.unwrap_or_default(), ends(outlook, look))
}

/// When the queue ends.
fn ends(outlook: &Outlook, look: &Look) -> String {
    match (&outlook.ends_at, outlook.goes_on_percent) {
        (Some(times), 0..50) => format!("; it ends at {}", moment(times, outlook.at, look)),
        (_, percent) => format!("; in {percent} of 100 nights something still goes on then"),
    }
}

/// About when, and between what.
fn moment(times: &Times, now: DateTime<Utc>, look: &Look) -> String {
    let [early, median, late] = [times.early, times.median, times.late].map(|at| look.time(at, now));
    if early == late { median } else { format!("about {median} ({early} to {late})") }
}

fn share(percent: u32) -> String {
    format!("{percent}%")
}

fn queue(outlook: &Outlook, look: &Look) -> String {
    let column = |title, side| Column { title, side, dispensable: 0 };
    let columns = [
        column("stage", Side::Left),
        column("now", Side::Left),
        column("lands", Side::Right),
        column("about", Side::Left),
        Column { title: "8 of 10 between", side: Side::Left, dispensable: 1 },
    ];
    let mut grid = Grid::new(&columns, "otherwise");
    for StageAhead { stage, now, lands_percent, lands_at, otherwise } in &outlook.queue {
        let tone = match lands_percent {
            0..50 => Tone::Bad,
            50..80 => Tone::Warn,
            _ => Tone::Plain,
        };
        let time = |at| look.time(at, outlook.at);
        let about = lands_at.map(|times| time(times.median)).unwrap_or_default();
        let between = lands_at.map(|times| format!("{} and {}", time(times.early), time(times.late)));
        let cells = vec![
            Cell::plain(stage.as_str()),
            Cell::plain(now.as_str()),
            Cell::toned(tone, share(*lands_percent)),
            Cell::plain(about),
            Cell::plain(between.unwrap_or_default()),
        ];
        let instead = otherwise.as_ref().map(|other| format!("{} {}", share(other.percent), clean(&other.words)));
        grid.row(cells, Cell::plain(instead.unwrap_or_default()));
    }
    grid.render(look)
}

fn spend(outlook: &Outlook, look: &Look) -> String {
    let number = |title| Column { title, side: Side::Right, dispensable: 0 };
    let columns = [
        Column { title: "spend", side: Side::Left, dispensable: 0 },
        number("so far"),
        number("adds"),
        number("90% add at most"),
        number("cap"),
        number("halts"),
    ];
    let mut grid = Grid::new(&columns, "");
    for line in &outlook.spend {
        let SpendAhead { name, unit, spent, adds, cap, halts_percent, .. } = line;
        let show = |amount: u64| Cell::plain(unit.show(amount));
        let halts = match (cap, halts_percent) {
            (None, _) => Cell::default(),
            (Some(_), 0) => Cell::plain("never"),
            (Some(_), percent) => Cell::toned(Tone::Warn, share(*percent)),
        };
        let cap = cap.map_or_else(|| Cell::plain("none"), show);
        let cells =
            vec![Cell::plain(name.replace('-', " ")), show(*spent), show(adds.median), show(adds.high), cap, halts];
        grid.row(cells, Cell::default());
    }
    grid.render(look)
}

/// What stands below the tables: a name and words each.
fn lines(outlook: &Outlook, look: &Look) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if outlook.verdict != Verdict::Nothing {
        let limit = |one: &LimitAhead| {
            format!("{} in {} of 100 nights, {}", clean(&one.words), one.percent, moment(&one.at, outlook.at, look))
        };
        let first = outlook.first_limit.as_ref();
        lines.push(("first", first.map_or_else(|| "no limit is met in any night".to_owned(), limit)));
        let others = outlook.limits.iter().filter(|one| first.is_none_or(|first| first.limit != one.limit));
        lines.extend(others.map(|one| ("limit", limit(one))));
    }
    for wait in &outlook.waits {
        let who = wait.item.stage.as_ref().map_or_else(|| "the repository".to_owned(), ToString::to_string);
        let behind = match wait.behind.len() {
            0 => String::new(),
            count => format!(", {count} behind it"),
        };
        let kind = wait.item.kind.as_str();
        lines.push(("waits", format!("{who} ({kind}{behind}): {}", clean(&wait.item.way_out))));
    }
    lines.extend(outlook.basis.iter().map(|basis| ("drawn", drawn(basis))));
    let timer = match outlook.timer_seconds {
        Some(every) => format!("the timer fires every {every}"),
        None => "no timer is installed, so the ends of runs alone tick".to_owned(),
    };
    lines.push((
        "played",
        format!(
            "{} nights with seed {}; {timer}; no faults of the machine, and nobody commits beside",
            outlook.nights, outlook.seed
        ),
    ));
    lines
}

/// From what the runs of somebody are drawn.
fn drawn(basis: &Basis) -> String {
    let Basis { role, family, model, runs, of_other_models } = basis;
    let family = family.as_ref().map(|family| format!(" {family}")).unwrap_or_default();
    let model = model.as_ref().map(|model| format!(" {}", clean(model))).unwrap_or_default();
    let from = match (*runs, *of_other_models) {
        (0, _) => "no history: the card's own caps".to_owned(),
        (runs, 0) => format!("from {}", counted(runs)),
        (runs, others) => format!("from {}, {others} of them by other models", counted(runs)),
    };
    let helped = match ENOUGH.saturating_sub(*runs) {
        lacking if lacking > 0 && *runs > 0 => format!(", and {lacking} of {ENOUGH} parts by the card's own caps"),
        _ => String::new(),
    };
    format!("{role}{family}{model}: {from}{helped}")
}

fn counted(runs: usize) -> String {
    if runs == 1 { "1 run".to_owned() } else { format!("{runs} runs") }
}
