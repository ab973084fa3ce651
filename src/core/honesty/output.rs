//! What looks like an error in a command's output, whatever the command exits with.
//!
//! Only asked where a card says `no_error_in_output`: many a healthy program prints the word.

use std::sync::LazyLock;

use regex::RegexSet;

use super::pattern::patterns_of;

/// The most characters of such a line that a record quotes.
pub const LINE_CHARS: usize = 500;

/// One pattern, with a line that it finds and a line that it does not.
pub struct OutputRow {
    /// A regular expression over one line.
    pub pattern: &'static str,
    /// A line that it finds.
    pub finds: &'static str,
    /// A line that it does not.
    pub passes: &'static str,
}

const fn row(pattern: &'static str, finds: &'static str, passes: &'static str) -> OutputRow {
    OutputRow { pattern, finds, passes }
}

/// The patterns.
pub const ROWS: &[OutputRow] = &[
    row(r"(?i)^\s*(fatal |internal )?error(\[\w+\])?\s*:", "error[E0308]: mismatched types", "errors: 0"),
    row(r"\bERROR\b", "2026-01-01 ERROR cannot connect", "no Error in here"),
    row(r"^(?:\S+: )?fatal:", "fatal: not a git repository", "a fatality: none"),
    row(r"^Traceback \(most recent call last\)", "Traceback (most recent call last):", "Traceback is off"),
    row(r"^\s*(\w+\.)*\w+(Error|Exception)(:|$)", "ValueError: no such thing", "no ValueError was raised"),
    row(r"^Exception in thread ", "Exception in thread \"main\" java.lang.Error", "Exceptions in threads: none"),
    row(r"panicked at ", "thread 'main' panicked at src/main.rs:1:1:", "nothing panicked"),
    row(r"^panic: ", "panic: runtime error: index out of range", "don't panic"),
    row(r"^\s*(---\s+)?FAIL(ED|URE)?\b", "FAILED tests/test_a.py::test_b", "0 FAILED"),
    row(r"(?i)\bsegmentation fault\b", "Segmentation fault (core dumped)", "a segment, no fault"),
    row(r"^npm ERR!", "npm ERR! code ELIFECYCLE", "npm notice"),
    row(r"(?i)\bunhandled (promise )?rejection\b", "UnhandledRejection: Unhandled promise rejection", "a promise"),
    row(r": command not found$|: not found$", "sh: 1: frobnicate: not found", "the key was not found in the map"),
];

static PATTERNS: LazyLock<Option<RegexSet>> = LazyLock::new(|| patterns_of(ROWS.iter().map(|row| row.pattern)));

/// Whether a line looks like an error.
pub fn is_error(line: &str) -> bool {
    // Patterns that cannot be read find everything: a check that is blind must not pass.
    PATTERNS.as_ref().is_none_or(|patterns| patterns.is_match(line))
}
