//! How a screen looks: its width, its letters, its colours and its clock.

#![expect(clippy::disallowed_methods, reason = "the environment says what a terminal can show")]

use std::io::{self, IsTerminal};

use chrono::{DateTime, Datelike as _, FixedOffset, Local, Utc};
use clap::{Args, ValueEnum};

use super::text;
use crate::core::quantity::Seconds;

/// The width for readers that are no terminal: nothing is cut in a pipe.
const PIPED: usize = 400;
/// The width of a terminal that does not tell it.
const USUAL: usize = 100;
/// The narrowest screen that anything is laid out for.
const NARROWEST: usize = 40;

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set; elsewhere where `CLICOLOR_FORCE` is.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Options of commands that print a screen.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct LookArgs {
    /// Use colour; it never says anything that the words do not.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Lay out for this many columns instead of the terminal's.
    #[arg(long, value_name = "COLUMNS")]
    pub width: Option<usize>,
}

/// What a piece of text is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// Like the rest.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// Less important.
    Faint,
    /// It went well.
    Good,
    /// It is under way.
    Busy,
    /// It waits, or somebody should look.
    Warn,
    /// It is wrong.
    Bad,
}

/// Which letters a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// All of them.
    Unicode,
    /// Those of ASCII.
    Ascii,
}

/// Whether there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// There is.
    On,
    /// There is none.
    Off,
}

/// A clock on the wall: what it shows at a moment.
pub type Zone = fn(DateTime<Utc>) -> DateTime<FixedOffset>;

/// This machine's clock.
fn local(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&Local).fixed_offset()
}

/// How a screen looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Letters.
    pub letters: Letters,
    /// Colours.
    pub color: Color,
    /// The clock.
    pub zone: Zone,
}

impl Look {
    /// What standard output and the environment allow, and these options ask for.
    pub fn new(args: &LookArgs) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let auto = || match (set("NO_COLOR"), set("CLICOLOR_FORCE")) {
            (Some(_), _) => false,
            (None, Some(force)) if force != "0" => true,
            _ => io::stdout().is_terminal() && set("TERM").is_none_or(|term| term != "dumb"),
        };
        let is_on = match args.color {
            ColorChoice::Auto => auto(),
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_string_lossy().to_lowercase();
        let is_unicode = locale.contains("utf-8") || locale.contains("utf8");
        Self {
            width: args.width.unwrap_or_else(columns).max(NARROWEST),
            letters: if is_unicode { Letters::Unicode } else { Letters::Ascii },
            color: if is_on { Color::On } else { Color::Off },
            zone: local,
        }
    }

    /// A text in its colour, where there is colour.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match (self.color, tone) {
            (Color::Off, _) | (_, Tone::Plain) => return text.to_owned(),
            (Color::On, Tone::Strong) => "1",
            (Color::On, Tone::Faint) => "2",
            (Color::On, Tone::Good) => "32",
            (Color::On, Tone::Busy) => "36",
            (Color::On, Tone::Warn) => "33",
            (Color::On, Tone::Bad) => "1;31",
        };
        if text.is_empty() { String::new() } else { format!("\x1b[{code}m{text}\x1b[0m") }
    }

    /// What stands where a text was cut.
    pub fn mark(&self) -> &'static str {
        match self.letters {
            Letters::Unicode => "…",
            Letters::Ascii => "...",
        }
    }

    /// A text of at most this many columns.
    pub fn cut(&self, text: &str, room: usize) -> String {
        text::cut(text, room, self.mark())
    }

    /// A bar of this many cells, of which some are full and some are half taken.
    pub fn bar(&self, full: usize, half: usize, cells: usize) -> String {
        let (one, two, rest) = match self.letters {
            Letters::Unicode => ("█", "▒", "░"),
            Letters::Ascii => ("#", "=", "."),
        };
        let full = full.min(cells);
        let half = half.min(cells - full);
        format!("{}{}{}", one.repeat(full), two.repeat(half), rest.repeat(cells - full - half))
    }

    /// A time of day, with its date where it is not today's, and its year where it is not this one.
    pub fn time(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let (at, now) = ((self.zone)(at), (self.zone)(now));
        let format = if at.date_naive() == now.date_naive() {
            "%H:%M"
        } else if at.year() == now.year() {
            "%a %-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        at.format(format).to_string()
    }

    /// Date, time and zone.
    pub fn moment(&self, at: DateTime<Utc>) -> String {
        let at = (self.zone)(at);
        let zone = match at.offset().local_minus_utc() {
            0 => "UTC".to_owned(),
            _ => format!("UTC{}", at.format("%:z")),
        };
        format!("{} {zone}", at.format("%Y-%m-%d %H:%M:%S"))
    }

    /// A time that lies ahead, with the time until then.
    pub fn until(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> String {
        format!("{} (in {})", self.time(at, now), span(between(now, at)))
    }
}

/// The time from one moment to a later one; nothing where it is not later.
pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Seconds {
    Seconds(u64::try_from(to.signed_duration_since(from).num_seconds()).unwrap_or(0))
}

/// A length of time in at most two units, as short as people say it: `40s`, `7m`, `1h12m`, `3d4h`.
pub fn span(time: Seconds) -> String {
    let (days, hours, minutes) = (time.0 / 86_400, time.0 / 3600 % 24, time.0 / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}s", time.0),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, 0) => format!("{hours}h"),
        (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
        (days, 0, _) => format!("{days}d"),
        (days, hours, _) => format!("{days}d{hours}h"),
    }
}

/// How wide standard output is.
pub fn columns() -> usize {
    if !io::stdout().is_terminal() {
        return PIPED;
    }
    let told = || terminal_size::terminal_size().map(|(terminal_size::Width(columns), _)| usize::from(columns));
    let asked = || std::env::var_os("COLUMNS").and_then(|text| text.to_str()?.parse().ok());
    told().filter(|columns| *columns > 0).or_else(asked).unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (4320, "1h12m"), (273_600, "3d4h")]
        {
            assert_eq!(span(Seconds(seconds)), text);
        }
    }

    #[test]
    fn a_time_says_as_much_of_its_date_as_it_needs() {
        let look = Look { width: 80, letters: Letters::Ascii, color: Color::Off, zone: |at| at.fixed_offset() };
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        for (text, said) in [
            ("2026-11-22T23:05:00Z", "23:05"),
            ("2026-11-23T00:05:00Z", "Mon 23 Nov 00:05"),
            ("2025-12-31T23:05:00Z", "31 Dec 2025 23:05"),
            ("2099-01-01T00:00:00Z", "1 Jan 2099 00:00"),
        ] {
            assert_eq!(look.time(at(text), at("2026-11-22T07:00:00Z")), said);
        }
    }

    #[test]
    fn a_bar_has_its_cells_whatever_it_is_given() {
        let look = Look { width: 80, letters: Letters::Ascii, color: Color::Off, zone: local };
        for (full, half, text) in [(0, 0, "...."), (1, 2, "#==."), (9, 9, "####"), (3, 9, "###=")] {
            assert_eq!(look.bar(full, half, 4), text);
        }
    }
}
