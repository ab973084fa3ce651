//! `report`: one night on one page.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Local, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use clap::Args;

use crate::core::quantity::Seconds;
use crate::tick::{clock, night};

use super::{DONE, Place, output};

/// `report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Where to write the page; `state/report.html` unless said otherwise.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub output: Option<PathBuf>,
    /// Tell of everything since then, in place of the newest night: `22:00`, `8h`, `2026-11-20 22:00`, or a full
    /// timestamp. A night begins with the first dispatch after more than four hours in which nothing ran or paused.
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Print the same figures as JSON, and write nothing.
    #[arg(long)]
    pub json: bool,
}

pub fn report(at: &Place, args: &ReportArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let now = clock::now();
    let since = args.since.map(|since| since.before(now));
    let night = night::collect(&site, since, now)?;
    if args.json {
        output::json(&night)?;
        return Ok(DONE);
    }
    let path = match &args.output {
        None => site.layout.report(),
        Some(path) => std::path::absolute(path)?,
    };
    night::write_to(&path, &night)?;
    output::print(&format!("{}\n", path.display()))?;
    Ok(DONE)
}

/// A moment as people type it, on the clock of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// A full timestamp.
    Moment(DateTime<Utc>),
    /// A day and a time on the local clock.
    Local(NaiveDateTime),
    /// The last time that the local clock showed this.
    Clock(NaiveTime),
    /// So long ago.
    Ago(Seconds),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Moment(at.to_utc()));
        }
        let local = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"];
        if let Some(at) = local.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()) {
            return Ok(Self::Local(at));
        }
        if let Some(at) = ["%H:%M", "%H:%M:%S"].iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok()) {
            return Ok(Self::Clock(at));
        }
        Seconds::parse(text).map(Self::Ago).ok_or_else(|| {
            format!("`{text}` is no time; write `22:00`, `8h`, `2026-11-20 22:00` or `2026-11-20T22:00:00Z`")
        })
    }
}

impl Since {
    /// The moment that is meant, seen from now.
    fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let ago = |seconds: u64| {
            let delta = i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds);
            delta.and_then(|delta| now.checked_sub_signed(delta)).unwrap_or(DateTime::UNIX_EPOCH)
        };
        match self {
            Self::Moment(at) => at,
            Self::Local(at) => clock::local(at).unwrap_or(now),
            Self::Ago(seconds) => ago(seconds.0),
            Self::Clock(time) => {
                let today = now.with_timezone(&Local).date_naive();
                let at = |date: chrono::NaiveDate| clock::local(date.and_time(time));
                let found = at(today).filter(|at| *at <= now).or_else(|| at(today.pred_opt()?));
                found.unwrap_or(now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_type_them() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T03:00:00Z").expect("time").to_utc();
        let before = |text: &str| text.parse::<Since>().expect(text).before(now);
        assert_eq!(before("2026-11-20T22:00:00+01:00").to_rfc3339(), "2026-11-20T21:00:00+00:00");
        assert_eq!(now - before("8h"), TimeDelta::hours(8));
        let local = |at: DateTime<Utc>| at.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string();
        assert_eq!(local(before("2026-11-20 22:00")), "2026-11-20 22:00");
        assert_eq!(local(before("2026-11-20T22:00:30")), "2026-11-20 22:00");
        for text in ["00:00", "12:34", "23:59:59"] {
            let found = before(text);
            assert!(found <= now && now - found <= TimeDelta::hours(25), "{text} is the last such time: {found}");
            assert!(local(found).ends_with(&text[..5]), "{text}");
        }
        for text in ["", "yesterday", "25:00", "2026-13-01 10:00", "0h"] {
            let error = text.parse::<Since>().expect_err(text);
            assert!(error.contains("22:00"), "the way out: {error}");
        }
    }
}
