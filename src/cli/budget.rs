//! `budget`: every cap with its figures; `set` and `drain` change what may be spent.

use std::str::FromStr;

use chrono::{DateTime, Local, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use clap::{Args, Subcommand};

use crate::core::budget::{Cap, CapChange, CapLine, NextAsk, Sheet, Window, parse_dollars, parse_tokens};
use crate::core::operate::Command;
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::tick::{budget, clock, operate};

use super::terminal::look::{Look, LookArgs, Tone};
use super::terminal::table::{Cell, Column, Grid, Side};
use super::terminal::text::clean;
use super::{DONE, Place, output};

/// Breaches that are shown; `--json` has all of them.
const BREACHES_SHOWN: usize = 5;

/// `budget`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BudgetArgs {
    /// What to change.
    #[command(subcommand)]
    pub command: Option<BudgetCommand>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How it looks.
    #[command(flatten)]
    pub look: LookArgs,
}

/// What may be changed.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Change caps; `none` takes one away. A halt for a cap that no longer binds is lifted.
    #[command(
        after_help = "Examples:\n  autometta budget set --tokens 30M --cost 50\n  autometta budget set --window local-day\n  autometta budget set --wall-clock none"
    )]
    Set(SetArgs),
    /// Let the caps on tokens and cost be passed by at most so much more, until a time; it ends by itself.
    #[command(
        after_help = "Examples:\n  autometta budget drain --until 06:00 --tokens 5M\n  autometta budget drain --until 8h --cost 20\n  autometta budget drain --stop"
    )]
    Drain(DrainArgs),
}

/// `budget set`
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct SetArgs {
    /// Tokens in the window: `30M`, `3,000,000`, `none`.
    #[arg(long, value_name = "TOKENS", value_parser = cap_of::<Tokens>)]
    pub tokens: Option<Cap<Tokens>>,
    /// Dollars in the window: `50`, `$12.50`, `none`.
    #[arg(long, value_name = "DOLLARS", value_parser = cap_of::<MicroUsd>)]
    pub cost: Option<Cap<MicroUsd>>,
    /// Time of all runs together in the window: `8h`, `90 minutes`, `none`.
    #[arg(long, value_name = "TIME", value_parser = cap_of::<Seconds>)]
    pub wall_clock: Option<Cap<Seconds>>,
    /// Ticks that may do work in the window, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = cap_of::<u64>)]
    pub ticks: Option<Cap<u64>>,
    /// Stages in a row that may fail, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = cap_of::<u64>)]
    pub failures: Option<Cap<u64>>,
    /// Tokens that may be spent without a landing, or `none`.
    #[arg(long, value_name = "TOKENS", value_parser = cap_of::<Tokens>)]
    pub no_progress_tokens: Option<Cap<Tokens>>,
    /// Dollars that may be spent without a landing, or `none`.
    #[arg(long, value_name = "DOLLARS", value_parser = cap_of::<MicroUsd>)]
    pub no_progress_cost: Option<Cap<MicroUsd>>,
    /// Ticks that may do work without a landing, or `none`.
    #[arg(long, value_name = "COUNT", value_parser = cap_of::<u64>)]
    pub no_progress_ticks: Option<Cap<u64>>,
    /// What the caps are about: `none`, `utc-day`, `local-day`, or the last hours, such as `5h`.
    #[arg(long)]
    pub window: Option<Window>,
}

/// `budget drain`
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// When it ends: `06:00` (the next time that the local clock shows it), `8h`, or a full timestamp.
    #[arg(long, value_name = "TIME", required_unless_present = "stop")]
    pub until: Option<Until>,
    /// Tokens beyond the cap, or beyond what is spent where that is more.
    #[arg(long, value_name = "TOKENS", value_parser = parse_tokens)]
    pub tokens: Option<Tokens>,
    /// Dollars beyond the cap, likewise.
    #[arg(long, value_name = "DOLLARS", value_parser = parse_dollars)]
    pub cost: Option<MicroUsd>,
    /// End it now.
    #[arg(long, conflicts_with_all = ["until", "tokens", "cost"])]
    pub stop: bool,
}

/// What may be typed as a cap.
trait Typed: Sized {
    fn read(text: &str) -> Result<Self, String>;
}

impl Typed for Tokens {
    fn read(text: &str) -> Result<Self, String> {
        parse_tokens(text)
    }
}

impl Typed for MicroUsd {
    fn read(text: &str) -> Result<Self, String> {
        parse_dollars(text)
    }
}

impl Typed for Seconds {
    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("`{text}` is no length of time; write `8h`, `90 minutes` or `none`"))
    }
}

impl Typed for u64 {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is no whole number; write one, or `none`"))
    }
}

fn cap_of<T: Typed>(text: &str) -> Result<Cap<T>, String> {
    if text == "none" { Ok(Cap::None) } else { T::read(text).map(Cap::At) }
}

/// A moment that is still to come, as people type it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// A full timestamp.
    Moment(DateTime<Utc>),
    /// A day and a time on the local clock.
    Local(NaiveDateTime),
    /// The next time that the local clock shows this.
    Clock(NaiveTime),
    /// So long from now.
    In(Seconds),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Moment(at.to_utc()));
        }
        if let Some(at) =
            ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"].iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        {
            return Ok(Self::Local(at));
        }
        if let Ok(at) = NaiveTime::parse_from_str(text, "%H:%M") {
            return Ok(Self::Clock(at));
        }
        Seconds::parse(text).map(Self::In).ok_or_else(|| {
            format!("`{text}` is no time; write `06:00`, `8h`, `2026-11-22 06:00` or `2026-11-22T06:00:00Z`")
        })
    }
}

impl Until {
    /// The moment that is meant, seen from now.
    pub(super) fn after(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Moment(at) => Some(at),
            Self::Local(at) => clock::local(at),
            Self::In(seconds) => now.checked_add_signed(TimeDelta::try_seconds(i64::try_from(seconds.0).ok()?)?),
            Self::Clock(time) => {
                let today = now.with_timezone(&Local).date_naive();
                let at = |date: chrono::NaiveDate| clock::local(date.and_time(time));
                at(today).filter(|at| *at > now).or_else(|| at(today.succ_opt()?))
            }
        }
    }
}

pub fn budget(at: &Place, args: &BudgetArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let command = match &args.command {
        None => {
            let sheet = budget::sheet(&site)?;
            if args.json {
                output::json(&sheet)?;
            } else {
                output::print(&screen(&sheet, &Look::new(&args.look)))?;
            }
            return Ok(DONE);
        }
        Some(BudgetCommand::Set(set)) => Command::SetCaps(change(set)),
        Some(BudgetCommand::Drain(drain)) if drain.stop => Command::StopDrain,
        Some(BudgetCommand::Drain(drain)) => {
            let until = drain.until.and_then(|until| until.after(clock::now()));
            let until = until.ok_or_else(|| anyhow::anyhow!("the local clock never shows that time"))?;
            let (tokens, cost_usd) = (drain.tokens.unwrap_or_default(), drain.cost.unwrap_or_default());
            Command::Drain { until, tokens, cost_usd }
        }
    };
    let notes = operate::command(&site, command)?;
    if notes.is_empty() {
        output::print("the caps are so already\n")?;
    } else {
        output::notes(&notes, false)?;
    }
    Ok(DONE)
}

fn change(set: &SetArgs) -> CapChange {
    CapChange {
        tokens: set.tokens,
        cost_usd: set.cost,
        wall_clock: set.wall_clock,
        ticks: set.ticks,
        failures: set.failures,
        no_progress_tokens: set.no_progress_tokens,
        no_progress_cost: set.no_progress_cost,
        no_progress_ticks: set.no_progress_ticks,
        window: set.window,
    }
}

fn screen(sheet: &Sheet, look: &Look) -> String {
    let mut text = String::new();
    for halt in &sheet.halts {
        let line = format!("HALTED {}: {}", halt.reason.as_str(), clean(&halt.detail));
        text.push_str(&format!("{}\n", look.paint(Tone::Bad, &line)));
    }
    text.push_str(&table(&sheet.caps, look));
    text.push('\n');
    for (name, words) in lines(sheet, look) {
        text.push_str(&format!("{name:<10}{words}\n"));
    }
    text
}

fn table(caps: &[CapLine], look: &Look) -> String {
    let number = |title| Column { title, side: Side::Right, dispensable: 0 };
    let name = Column { title: "cap on", side: Side::Left, dispensable: 0 };
    let columns = [name, number("spent"), number("reserved"), number("cap"), number("left")];
    let mut grid = Grid::new(&columns, "");
    for cap in caps {
        let show = |amount: u64| Cell::plain(cap.unit.show(amount));
        let maybe = |amount: Option<u64>| amount.map_or_else(|| Cell::plain("none"), show);
        let left = match cap.left {
            None => Cell::plain(""),
            Some(0) => Cell::toned(Tone::Bad, cap.unit.show(0)),
            Some(left) => Cell::plain(cap.unit.show(left)),
        };
        let name = Cell::plain(cap.name.replace('-', " "));
        grid.row(vec![name, show(cap.spent), show(cap.reserved), maybe(cap.cap), left], Cell::default());
    }
    grid.render(look)
}

/// What stands below the table: a name and words each.
fn lines(sheet: &Sheet, look: &Look) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let since = sheet.window_started_at.map_or_else(String::new, |at| format!(", since {}", look.moment(at)));
    let rolls = match sheet.window_rolls_at {
        None => "; nothing is reset by the clock".to_owned(),
        Some(at) => format!("; where a cap is in the way it moves on from {}", look.moment(at)),
    };
    lines.push(("window", format!("{}{since}{rolls}", sheet.window)));
    lines.push(("lifetime", format!("{} tokens, {}", sheet.lifetime_tokens, sheet.lifetime_cost_usd)));
    let since = sheet.since_landing;
    lines.push((
        "unlanded",
        format!("{} tokens, {}, {} working ticks since something landed", since.tokens, since.cost_usd, since.ticks),
    ));
    if let Some(drain) = sheet.drain {
        let mut more = Vec::new();
        if drain.tokens.0 > 0 {
            more.push(format!("{} tokens", drain.tokens));
        }
        if drain.cost_usd.0 > 0 {
            more.push(drain.cost_usd.to_string());
        }
        let until = look.until(drain.until, sheet.at);
        lines.push(("drain", format!("{} beyond the caps, until {until}", more.join(" and "))));
    }
    for pause in &sheet.pauses {
        let until = look.until(pause.until, sheet.at);
        lines.push(("pause", format!("{} until {until}: {}", pause.who(), clean(&pause.reason))));
    }
    let skipped = sheet.breaches.len().saturating_sub(BREACHES_SHOWN);
    for breach in sheet.breaches.iter().skip(skipped) {
        let at = look.moment(breach.at);
        lines.push(("breach", format!("{at} {}: {}", breach.reason.as_str(), clean(&breach.detail))));
    }
    if skipped > 0 {
        lines.push(("", format!("{skipped} older breaches are in --json")));
    }
    lines.push(("next", sheet.next.as_ref().map_or_else(|| "nothing waits to be dispatched".to_owned(), next)));
    if let Some(held) = &sheet.held {
        lines.push(("held", clean(held)));
    }
    lines
}

fn next(next: &NextAsk) -> String {
    let ask = &next.ask;
    let would =
        format!("{} would set aside {} tokens, {} and {}", clean(&next.what), ask.tokens, ask.cost_usd, ask.seconds);
    if next.fits {
        return format!("{would}: it fits");
    }
    let why: Vec<String> =
        next.in_the_way.iter().map(|halt| format!("{}: {}", halt.reason.as_str(), clean(&halt.detail))).collect();
    format!("{would}: it does not fit; {}", why.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_read_as_people_type_them() {
        assert_eq!(cap_of::<Tokens>("3M"), Ok(Cap::At(Tokens(3_000_000))));
        assert_eq!(cap_of::<Tokens>("none"), Ok(Cap::None));
        assert_eq!(cap_of::<MicroUsd>("$5"), Ok(Cap::At(MicroUsd(5_000_000))));
        assert_eq!(cap_of::<Seconds>("8h"), Ok(Cap::At(Seconds(28_800))));
        assert_eq!(cap_of::<u64>("400"), Ok(Cap::At(400)));
        for bad in ["", "-3", "3 apples", "NaN", "unlimited"] {
            assert!(cap_of::<Tokens>(bad).is_err() && cap_of::<MicroUsd>(bad).is_err(), "{bad}");
            assert!(cap_of::<u64>(bad).is_err() && cap_of::<Seconds>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T03:00:00Z").expect("time").to_utc();
        let after = |text: &str| text.parse::<Until>().expect(text).after(now).expect(text);
        for text in ["00:00", "06:00", "23:59"] {
            let found = after(text);
            assert!(found > now && found - now <= TimeDelta::hours(25), "{text}: {found}");
            assert_eq!(found.with_timezone(&Local).format("%H:%M").to_string(), text);
        }
        assert_eq!(after("8h") - now, TimeDelta::hours(8));
        assert_eq!(after("2026-11-22T06:00:00Z").to_rfc3339(), "2026-11-22T06:00:00+00:00");
        for bad in ["", "soon", "25:00", "0h"] {
            assert!(bad.parse::<Until>().is_err_and(|why| why.contains("06:00")), "{bad}");
        }
    }
}
