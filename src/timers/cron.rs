//! Cron: one line in the user's own crontab, read and written by `crontab`.
//!
//! The line carries its environment itself, because a `PATH=` line of a crontab holds for every line below it. It is
//! written for a POSIX shell. Vixie cron, which Debian and macOS have, turns an unescaped `%` into a line break, takes
//! a backslash away in front of `%` and of another backslash, and reads [`MOST`] bytes of command.

use super::crontab::{self, Left};
use super::entry::Entry;
use super::error::TimerError;
use super::host::Host;
use super::tool;
use super::{Backend, Change, Own, Piece, Plan};
use crate::core::quantity::Seconds;
use crate::core::timer::Scheduler;

/// How long a line's command may be: `MAX_COMMAND` of Vixie cron is 1000, and Debian's `crontab` was seen to take 998
/// bytes and to refuse 999, with words that help nobody.
const MOST: usize = 998;

/// Minutes between fires that cron keeps to across the hour.
const MINUTES: [u64; 12] = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];
/// Hours between fires that cron keeps to across the day.
const HOURS: [u64; 8] = [1, 2, 3, 4, 6, 8, 12, 24];

/// The scheduler.
#[derive(Debug)]
pub(super) struct Cron;

impl Backend for Cron {
    fn ready(&self, host: &Host) -> Result<(), TimerError> {
        if host.has("crontab") {
            return Ok(());
        }
        Err(TimerError::NoProgram { program: "crontab", scheduler: "cron" })
    }

    fn plan(&self, host: &Host, entry: &Entry) -> Result<Plan, TimerError> {
        let line = line(entry)?;
        // Where crontab cannot be asked, the block for an ordinary crontab is shown.
        let old = list(host).ok().flatten();
        let new = crontab::install(old.as_deref(), entry.home(), &line)?;
        let block = crontab::find(&new, entry.home())?;
        let text = block.map(|block| String::from_utf8_lossy(&new[block.range]).into_owned()).unwrap_or_default();
        Ok(Plan { scheduler: Scheduler::Cron, pieces: vec![Piece { place: place(host), text }], commands: Vec::new() })
    }

    fn own(&self, host: &Host, home: &str) -> Result<Option<Own>, TimerError> {
        let Some(block) = list(host)?.map(|crontab| crontab::find(&crontab, home)).transpose()?.flatten() else {
            return Ok(None);
        };
        let is_live = |line: &[u8]| !line.trim_ascii().is_empty() && !line.starts_with(b"#");
        let loaded = block.entry.split(|byte| *byte == b'\n').any(is_live);
        Ok(Some(Own { scheduler: Scheduler::Cron, place: place(host), loaded }))
    }

    fn install(&self, host: &Host, entry: &Entry) -> Result<Change, TimerError> {
        let line = line(entry)?;
        let old = list(host)?;
        let known = old.as_deref().map(|old| crontab::find(old, entry.home())).transpose()?.flatten();
        let new = crontab::install(old.as_deref(), entry.home(), &line)?;
        if old.as_ref() == Some(&new) {
            return Ok(Change::Already);
        }
        write(host, &new)?;
        if list(host)?.as_ref() != Some(&new) {
            return Err(TimerError::NotKept);
        }
        Ok(if known.is_some() { Change::Replaced } else { Change::Installed })
    }

    fn uninstall(&self, host: &Host, home: &str) -> Result<Option<String>, TimerError> {
        let Some(old) = list(host)? else { return Ok(None) };
        match crontab::uninstall(&old, home)? {
            None => return Ok(None),
            Some(Left::Nothing) => drop(tool::run(host, "crontab", &["-r"], b"")?.succeeded()?),
            Some(Left::Crontab(left)) => write_left(host, &left)?,
        }
        Ok(Some(place(host)))
    }
}

fn place(host: &Host) -> String {
    format!("the crontab of {}", host.user)
}

/// The user's crontab; none where there is none, or no cron.
pub(super) fn list(host: &Host) -> Result<Option<Vec<u8>>, TimerError> {
    if !host.has("crontab") {
        return Ok(None);
    }
    let answer = tool::run(host, "crontab", &["-l"], b"")?;
    // Vixie's, cronie's and macOS's words; then BusyBox's.
    let has_none = |said: &str| said.contains("no crontab for") || said.contains("No such file or directory");
    if !answer.ok && has_none(&answer.err) {
        return Ok(None);
    }
    Ok(Some(answer.succeeded()?.out))
}

fn write(host: &Host, crontab: &[u8]) -> Result<(), TimerError> {
    tool::run(host, "crontab", &["-"], crontab)?.succeeded().map(drop)
}

/// Writes what was there before. Debian's `crontab` takes no last line without an end, so where one came from elsewhere
/// it gets its end rather than keeping our block.
fn write_left(host: &Host, left: &[u8]) -> Result<(), TimerError> {
    let written = write(host, left);
    if written.is_err() && !left.is_empty() && !left.ends_with(b"\n") {
        return write(host, &[left, b"\n"].concat());
    }
    written
}

/// The crontab line, without its end.
fn line(entry: &Entry) -> Result<String, TimerError> {
    let mut command = String::new();
    for (name, value) in entry.env().iter().rev() {
        command.push_str(&format!("{name}={} ", quoted(value)));
    }
    command.push_str(&format!("{} tick >/dev/null 2>>{}", quoted(entry.exe()), quoted(entry.errors())));
    if command.contains("\\\\") || command.contains("\\%") {
        return Err(TimerError::Unwritable {
            what: format!("`{command}`"),
            why: "cron takes a backslash away in front of another one and in front of a percent sign",
        });
    }
    let command = command.replace('%', "\\%");
    if command.len() > MOST {
        return Err(TimerError::TooLong { length: command.len(), most: MOST });
    }
    Ok(format!("{} {command}", schedule(entry.every())?))
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The five fields for an interval.
fn schedule(every: Seconds) -> Result<String, TimerError> {
    let exactly = |unit: u64, known: &[u64]| known.iter().copied().find(|count| count * unit == every.0);
    match (exactly(60, &MINUTES), exactly(3600, &HOURS)) {
        (Some(1), _) => Ok("* * * * *".to_owned()),
        (Some(60), _) => Ok("0 * * * *".to_owned()),
        (Some(minutes), _) => Ok(format!("*/{minutes} * * * *")),
        (None, Some(24)) => Ok("0 0 * * *".to_owned()),
        (None, Some(hours)) => Ok(format!("0 */{hours} * * *")),
        (None, None) => Err(TimerError::Interval { every, nearest: nearest(every) }),
    }
}

/// The intervals around this one that cron can do.
fn nearest(every: Seconds) -> String {
    let minutes = MINUTES.iter().map(|minutes| Seconds(minutes * 60));
    let possible: Vec<Seconds> = minutes.chain(HOURS.iter().skip(1).map(|hours| Seconds(hours * 3600))).collect();
    let below = possible.iter().rev().find(|possible| **possible < every);
    let above = possible.iter().find(|possible| **possible > every);
    below.into_iter().chain(above).map(Seconds::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::files::home::Home;
    use crate::timers::SearchPath;

    fn line_of(exe: &str, home: &str, path: &str) -> Result<String, TimerError> {
        let path = SearchPath::given(path).expect("absolute");
        line(&Entry::new(Seconds(300), Path::new(exe), &Home::at(Path::new(home)), path).expect("entry"))
    }

    #[test]
    fn intervals_are_those_that_cron_keeps() {
        for (seconds, fields) in [
            (60, "* * * * *"),
            (300, "*/5 * * * *"),
            (1800, "*/30 * * * *"),
            (3600, "0 * * * *"),
            (7200, "0 */2 * * *"),
            (86_400, "0 0 * * *"),
        ] {
            assert_eq!(schedule(Seconds(seconds)).expect("known"), fields);
        }
        for (seconds, nearest) in [
            (1, "1m"),
            (90, "1m and 2m"),
            (420, "6m and 10m"),
            (2700, "30m and 1h"),
            (5400, "1h and 2h"),
            (5 * 3600, "4h and 6h"),
            (172_800, "24h"),
        ] {
            let error = schedule(Seconds(seconds)).expect_err("cron cannot").to_string();
            assert!(error.ends_with(&format!("the nearest that work are {nearest}")), "{error}");
        }
    }

    #[test]
    fn the_line_reads_like_this() {
        assert_eq!(
            line_of("/opt/it's/autometta", "/home/100%/.autometta", "/my bin:/bin").expect("line"),
            r"*/5 * * * * PATH='/my bin:/bin' AUTOMETTA_HOME='/home/100\%/.autometta' '/opt/it'\''s/autometta' tick >/dev/null 2>>'/home/100\%/.autometta/log/timer.err'"
        );
    }

    #[test]
    fn what_cron_would_garble_is_refused() {
        for exe in [r"/a\\b", r"/a\%b"] {
            assert!(matches!(line_of(exe, "/h", "/bin"), Err(TimerError::Unwritable { .. })), "{exe}");
        }
        assert!(line_of(r"/a\b", "/h", "/bin").is_ok());
        let long = format!("/{}", "x".repeat(1000));
        assert!(matches!(line_of("/a", "/h", &long), Err(TimerError::TooLong { most: MOST, .. })));
    }
}
