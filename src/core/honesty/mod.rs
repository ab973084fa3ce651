//! Honesty of a candidate, as far as its diff can tell: what a verifier should look at twice, and what no candidate may
//! hold.
//!
//! A flag is no failure. Whoever deletes a test may be right to; what matters is that nobody deletes one unseen. The
//! one exception is a secret, which fails its candidate, because what has landed cannot be taken back. Patterns are
//! data ([`rules`], [`secrets`], [`output`]), and each row of them carries a line that it finds and one that it does
//! not.

mod findings;
pub mod output;
mod patch;
mod pattern;
pub mod rules;
mod scan;
pub mod secrets;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use findings::{Findings, Found, FrozenFile, PatchExtent, Standing};
pub use patch::{FilePatch, Line, parse};
pub(in crate::core) use scan::is_git_file;
pub use scan::{Gates, scan};

/// The most flags that a report keeps. Whoever needs more than these has lost already.
pub const MAX_FLAGS: usize = 200;

/// The most characters of a line that a flag quotes.
pub const LINE_CHARS: usize = 200;

/// What a flag is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A file that a gate's command names was changed: the candidate judges itself.
    GateFileChanged,
    /// The configuration of the CI was changed.
    CiChanged,
    /// A file that git or its hooks act upon was changed.
    GitFileChanged,
    /// A test is skipped from now on.
    TestSkipped,
    /// A file has fewer tests than before.
    TestsRemoved,
    /// A file has fewer assertions than before.
    AssertionsRemoved,
    /// A number that says how close is close enough is another one.
    ToleranceChanged,
    /// A threshold, such as that of the coverage, was lowered or taken away.
    ThresholdLowered,
    /// A script goes on, or succeeds, where a command fails.
    FailureIgnored,
    /// A lint, a type check or the coverage is told to look away.
    LintSuppressed,
    /// A branch gives one fixed answer to one fixed input.
    HardCodedAnswer,
    /// A file is not text, so that no line of it was looked at.
    NotText,
    /// Something that opens doors, such as a key.
    Secret,
}

impl Rule {
    /// The word that stands in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GateFileChanged => "gate-file-changed",
            Self::CiChanged => "ci-changed",
            Self::GitFileChanged => "git-file-changed",
            Self::TestSkipped => "test-skipped",
            Self::TestsRemoved => "tests-removed",
            Self::AssertionsRemoved => "assertions-removed",
            Self::ToleranceChanged => "tolerance-changed",
            Self::ThresholdLowered => "threshold-lowered",
            Self::FailureIgnored => "failure-ignored",
            Self::LintSuppressed => "lint-suppressed",
            Self::HardCodedAnswer => "hard-coded-answer",
            Self::NotText => "not-text",
            Self::Secret => "secret",
        }
    }
}

/// Something to look at twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// The file, as git prints it.
    pub file: String,
    /// The line, counted from 1: of the candidate's file, or of the base's where the line is gone. None for what the
    /// whole file is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What it is about.
    pub rule: Rule,
    /// The line, or what there is to say; secrets are made unreadable.
    pub text: String,
}

impl Flag {
    /// A flag whose text is bounded and holds no secret.
    fn new(file: &str, line: Option<u64>, rule: Rule, text: &str) -> Self {
        let text: String = secrets::redact(text.trim()).chars().take(LINE_CHARS).collect();
        Self { file: file.to_owned(), line, rule, text }
    }
}

impl std::fmt::Display for Flag {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}: {}", self.file, self.rule.as_str(), self.text),
            None => write!(out, "{}: {}: {}", self.file, self.rule.as_str(), self.text),
        }
    }
}

/// `flags.json` in a run's directory: what was found in the candidate that the run handed in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The flags, by file and line.
    pub flags: Vec<Flag>,
    /// How many more there were.
    pub left_out: u64,
}

#[cfg(test)]
mod tests;
