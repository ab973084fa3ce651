//! What a check has found, as people and programs read it.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A night may go well all the same.
    Warning,
    /// A night will not.
    Fault,
}

impl Level {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The programs of this machine.
    Machine,
    /// `~/.autometta`.
    Home,
    /// What starts ticks.
    Timer,
    /// One repository.
    Repository,
}

impl Area {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Home => "home",
            Self::Timer => "timer",
            Self::Repository => "repository",
        }
    }
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it is about.
    pub area: Area,
    /// The repository, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<PathBuf>,
    /// How bad it is.
    pub level: Level,
    /// What was found, as a sentence.
    pub says: String,
    /// The command, or the act, that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn new(area: Area, level: Level, says: String) -> Self {
        Self { area, repo: None, level, says, mend: None }
    }

    /// As it should be.
    pub fn ok(area: Area, says: impl Into<String>) -> Self {
        Self::new(area, Level::Ok, says.into())
    }

    /// Something that a night may survive.
    pub fn warning(area: Area, says: impl Into<String>) -> Self {
        Self::new(area, Level::Warning, says.into())
    }

    /// Something that keeps a night from going well.
    pub fn fault(area: Area, says: impl Into<String>) -> Self {
        Self::new(area, Level::Fault, says.into())
    }

    /// With what mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// About this repository.
    #[must_use]
    pub fn of(mut self, repo: &Path) -> Self {
        self.repo = Some(repo.to_owned());
        self
    }
}

/// Everything that was found: what `doctor --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The findings, in the order in which one would mend them.
    pub findings: Vec<Finding>,
    /// How many of them are faults.
    pub faults: usize,
    /// How many of them are warnings.
    pub warnings: usize,
}

impl Report {
    /// A report of these findings.
    pub fn new(findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
        Self { findings, faults, warnings }
    }

    /// The summary: `2 faults, 1 warning`.
    pub fn summary(&self) -> String {
        let many = |count: usize, word: &str| match count {
            0 => format!("no {word}s"),
            1 => format!("1 {word}"),
            more => format!("{more} {word}s"),
        };
        format!("{}, {}", many(self.faults, "fault"), many(self.warnings, "warning"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_in_words() {
        let ok = || Finding::ok(Area::Home, "fine");
        let warning = || Finding::warning(Area::Timer, "hm").mend("look");
        let fault = || Finding::fault(Area::Machine, "bad");
        for (findings, summary) in [
            (vec![], "no faults, no warnings"),
            (vec![ok(), warning()], "no faults, 1 warning"),
            (vec![fault(), ok(), fault(), warning()], "2 faults, 1 warning"),
            (vec![fault(), warning(), warning()], "1 fault, 2 warnings"),
        ] {
            assert_eq!(Report::new(findings).summary(), summary);
        }
    }
}
