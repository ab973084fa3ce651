//! What a timer's entry starts, how often, and with which environment. Each scheduler writes it in its own words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::TimerError;
use super::search::SearchPath;
use crate::core::quantity::Seconds;
use crate::core::timer::{Scheduler, TimerRecord};
use crate::files::home::Home;
use chrono::{DateTime, Utc};

/// Where a timer writes what a tick could not even put into its log.
const ERRORS: &str = "timer.err";

/// One timer for one home, before a scheduler has put it into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    every: Seconds,
    exe: String,
    home: String,
    path: SearchPath,
    errors: String,
}

impl Entry {
    /// A timer that starts `exe tick` for this home.
    ///
    /// # Errors
    /// A path that is not UTF-8 text of one line: no scheduler's format can hold it unharmed.
    pub fn new(every: Seconds, exe: &Path, home: &Home, path: SearchPath) -> Result<Self, TimerError> {
        one_line("PATH", path.as_str())?;
        Ok(Self {
            every,
            exe: text("the program's path", exe)?,
            home: text("AUTOMETTA_HOME", home.path())?,
            path,
            errors: text("the log's path", &home.log_dir().join(ERRORS))?,
        })
    }

    /// The time between two fires.
    pub fn every(&self) -> Seconds {
        self.every
    }

    /// The program.
    pub fn exe(&self) -> &str {
        &self.exe
    }

    /// `$AUTOMETTA_HOME`.
    pub fn home(&self) -> &str {
        &self.home
    }

    /// The file that standard error goes to.
    pub fn errors(&self) -> &str {
        &self.errors
    }

    /// The variables that the entry sets, by name: never a secret.
    pub fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("AUTOMETTA_HOME".to_owned(), self.home.clone()),
            ("PATH".to_owned(), self.path.as_str().to_owned()),
        ])
    }

    /// The record of this entry in home.
    pub fn record(&self, scheduler: Scheduler, installed_at: DateTime<Utc>) -> TimerRecord {
        TimerRecord {
            scheduler,
            every_seconds: self.every,
            installed_at,
            exe: PathBuf::from(&self.exe),
            env: self.env(),
        }
    }
}

/// A path as text of one line.
fn text(what: &str, path: &Path) -> Result<String, TimerError> {
    let unwritable = |why| TimerError::Unwritable { what: format!("{what} {}", path.display()), why };
    let text = path.to_str().ok_or_else(|| unwritable("it is not UTF-8"))?;
    one_line(what, text)?;
    Ok(text.to_owned())
}

/// Refuses what would end a line or hide in it.
fn one_line(what: &str, text: &str) -> Result<(), TimerError> {
    if text.contains(char::is_control) {
        let what = format!("{what} {text:?}");
        return Err(TimerError::Unwritable { what, why: "it contains a line break or another control character" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_format_can_hold_is_refused() {
        let path = SearchPath::given("/bin").expect("absolute");
        let home = |text: &str| Home::at(Path::new(text));
        let entry = |exe: &str, at: &str| Entry::new(Seconds(300), Path::new(exe), &home(at), path.clone());
        assert!(entry("/usr/bin/it's 100% \"it\"", "/home/ü").is_ok());
        for (exe, at) in [("/usr/bin/a\nb", "/home"), ("/usr/bin/a", "/ho\tme")] {
            let error = entry(exe, at).expect_err("a line break");
            assert!(error.is_refusal() && error.to_string().contains("control character"), "{error}");
        }
    }
}
