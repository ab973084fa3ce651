//! What a refusal looks like, as data: a table of words per class, each with a line that a CLI or provider really
//! printed or holds in its binary, and a table of HTTP statuses.
//!
//! The tables are only ever asked about text that a CLI wrote itself: error records and the standard error of a
//! failed start. What an agent says or a tool prints is never looked up here. A known wording says more than
//! a status (a 429 may be a limit or an empty account), so it comes first; but wording drifts between versions, so a
//! record's status or error name decides where no row matches.

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::exit::{Refusal, RefusalClass, RefusalScope};

/// One wording of a refusal.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Words that stand in the line, in lower case and with straight apostrophes.
    pub words: &'static str,
    /// What they mean.
    pub class: RefusalClass,
    /// The line that the row was made from.
    pub line: &'static str,
}

const fn row(class: RefusalClass, words: &'static str, line: &'static str) -> Pattern {
    Pattern { words, class, line }
}

/// Wordings in error records, in the order in which they are tried: what a person must fix comes first, because such
/// lines often mention limits and statuses as well.
pub const RECORD_PATTERNS: &[Pattern] = &[
    row(RefusalClass::Billing, "payment required", "Payment required: insufficient credits"),
    row(RefusalClass::Billing, "insufficient credits", "Payment required: insufficient credits"),
    row(RefusalClass::Billing, "credit balance is too low", "Credit balance is too low"),
    row(RefusalClass::Billing, "monthly spend limit", "You've hit your monthly spend limit."),
    row(RefusalClass::Billing, "out of credits", "Your workspace is out of credits. Add credits to continue."),
    row(RefusalClass::Billing, "quota exceeded", "Quota exceeded. Check your plan and billing details."),
    row(RefusalClass::Context, "context length exceeded", "context length exceeded"),
    row(RefusalClass::Context, "too many tokens in request", "too many tokens in request"),
    row(RefusalClass::Context, "prompt is too long", "Prompt is too long"),
    row(
        RefusalClass::Context,
        "ran out of room in the model's context",
        "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying.",
    ),
    row(
        RefusalClass::Model,
        "issue with the selected model",
        "There's an issue with the selected model (claude-opus-4-8[1m]). It may not exist or you may not have access to it. Run --model to pick a different model.",
    ),
    row(RefusalClass::Model, "model not available", "Model not available on your plan"),
    row(RefusalClass::Model, "extra usage is required", "API Error: Extra usage is required for 1M context"),
    row(
        RefusalClass::Model,
        "does not support thinking",
        "stream disconnected before completion: \"llama3.3:70b\" does not support thinking",
    ),
    row(RefusalClass::Auth, "not logged in", "Not logged in · Please run /login"),
    row(RefusalClass::Auth, "invalid_api_key", "invalid_api_key"),
    row(RefusalClass::Auth, "invalid api key", "Invalid API key"),
    row(RefusalClass::Auth, "oauth token has been revoked", "OAuth token has been revoked"),
    row(RefusalClass::Auth, "missing environment variable", "Missing environment variable: `OPENAI_API_KEY`."),
    row(
        RefusalClass::Limit,
        "you've hit your",
        "You’ve hit your usage limit. Upgrade or try again at Nov 21st, 2026 1:16 AM.",
    ),
    row(RefusalClass::Limit, "usage limit reached", "Usage limit reached."),
    row(RefusalClass::Limit, "rate_limit_error", "rate_limit_error: too many requests"),
    row(RefusalClass::Limit, "rate limited", "Error 429: Rate limited"),
    row(RefusalClass::Limit, "retry after", "Please retry after 30 seconds"),
    row(RefusalClass::Overloaded, "overloaded_error", "overloaded_error"),
    row(
        RefusalClass::Overloaded,
        "selected model is at capacity",
        "Selected model is at capacity. Please try a different model.",
    ),
    row(
        RefusalClass::Overloaded,
        "experiencing high demand",
        "We’re currently experiencing high demand, which may cause temporary errors.",
    ),
    row(RefusalClass::Overloaded, "service unavailable", "Service unavailable (503)"),
];

/// Wordings of a connection that failed, tried after the statuses: they are the outermost words of longer lines.
pub const NETWORK_PATTERNS: &[Pattern] = &[
    row(RefusalClass::Network, "request timed out", "Request timed out after 60s"),
    row(RefusalClass::Network, "etimedout", "ETIMEDOUT"),
    row(RefusalClass::Network, "econnrefused", "ECONNREFUSED"),
    row(RefusalClass::Network, "econnreset", "ECONNRESET"),
    row(RefusalClass::Network, "socket hang up", "socket hang up"),
    row(
        RefusalClass::Network,
        "stream disconnected before completion",
        "Reconnecting... 2/5 (stream disconnected before completion: failed to lookup address information: Name does not resolve)",
    ),
    row(
        RefusalClass::Network,
        "waiting for network",
        "Reconnecting... waiting for network (Connection failed: error sending request)",
    ),
];

/// How lines of a failed start begin, on standard error. Beginnings only: a crashing CLI may print its own source.
pub const START_PATTERNS: &[Pattern] = &[
    row(RefusalClass::Configuration, "error: unknown option", "error: unknown option '--effort high'"),
    row(RefusalClass::Configuration, "error: unexpected argument", "error: unexpected argument '--bogus' found"),
    row(
        RefusalClass::Configuration,
        "error: invalid value",
        "error: invalid value 'bogus' for '--sandbox <SANDBOX_MODE>'",
    ),
    row(
        RefusalClass::Configuration,
        "--dangerously-skip-permissions cannot be used with root",
        "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons",
    ),
    row(
        RefusalClass::Configuration,
        "op-fetch: error:",
        "op-fetch: error: failed to resolve CLAUDE_CODE_OAUTH_TOKEN (op exit 1)",
    ),
    row(
        RefusalClass::Configuration,
        "error: bubblewrap is required",
        "error: bubblewrap is required for subprocess env scrubbing and isolation. Install with: sudo apt-get install -y bubblewrap, set sandbox.bwrapPath in managed settings, or set CLAUDE_CODE_SUBPROCESS_ENV_SCRUB=0 to disable (loses subprocess isolation).",
    ),
    row(
        RefusalClass::Configuration,
        "error finding codex home",
        "Error finding codex home: CODEX_HOME points to \"/nonexistent\", but that path does not exist",
    ),
    row(
        RefusalClass::Configuration,
        "error: no such file or directory",
        "Error: No such file or directory (os error 2)",
    ),
    row(
        RefusalClass::Configuration,
        "not inside a trusted directory",
        "Not inside a trusted directory and --skip-git-repo-check was not specified.",
    ),
    row(
        RefusalClass::Configuration,
        "error: session id",
        "Error: Session ID 0a0b0c0d-0000-4000-8000-000000578701 is already in use.",
    ),
    row(RefusalClass::Auth, "not logged in", "Not logged in · Please run /login"),
    row(RefusalClass::Auth, "invalid api key", "Invalid API key"),
];

/// What an HTTP status of a provider means.
pub fn class_of_status(status: u64) -> Option<RefusalClass> {
    match status {
        401 | 403 => Some(RefusalClass::Auth),
        402 => Some(RefusalClass::Billing),
        404 => Some(RefusalClass::Model),
        413 => Some(RefusalClass::Context),
        429 => Some(RefusalClass::Limit),
        500 | 502 | 503 | 504 | 529 => Some(RefusalClass::Overloaded),
        _ => None,
    }
}

/// What the text of an error record means.
pub fn class_of_record(text: &str) -> Option<RefusalClass> {
    let text = folded(text);
    first_within(RECORD_PATTERNS, &text)
        .or_else(|| status_within(&text).and_then(class_of_status))
        .or_else(|| first_within(NETWORK_PATTERNS, &text))
}

/// What a line of a failed start on standard error means.
pub fn class_of_start(line: &str) -> Option<RefusalClass> {
    let line = folded(line.trim_start());
    START_PATTERNS.iter().find(|pattern| line.starts_with(pattern.words)).map(|pattern| pattern.class)
}

/// When a limit resets, from what a CLI says in numbers. Clock times in prose are not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resets {
    /// At this time.
    At(DateTime<Utc>),
    /// So many seconds after it was said.
    After(u32),
}

impl Resets {
    /// As a time, where `now` is when it was said.
    pub fn at(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::At(time) => Some(time),
            Self::After(seconds) => now.checked_add_signed(TimeDelta::seconds(i64::from(seconds))),
        }
    }

    /// From an epoch in seconds, or in milliseconds as some CLIs write it.
    pub fn from_epoch(epoch: i64) -> Option<Self> {
        const FIRST_IN_MILLISECONDS: i64 = 100_000_000_000;
        let time = if epoch >= FIRST_IN_MILLISECONDS {
            DateTime::from_timestamp_millis(epoch)
        } else {
            DateTime::from_timestamp(epoch, 0)
        };
        time.filter(|_| epoch > 0).map(Self::At)
    }

    /// From `retry after 30 seconds` and `try again in 20s`.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = folded(text);
        let rest = ["retry after ", "try again in "].iter().find_map(|words| Some(text.split_once(words)?.1))?;
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let amount: f64 = rest[..rest.len() - number.len()].trim_end_matches('.').parse().ok()?;
        let unit: String = number.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
        let scale = match unit.as_str() {
            "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "ms" => 0.001,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            _ => return None,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; never negative")]
        let seconds = (amount * scale).ceil() as u32;
        Some(Self::After(seconds))
    }
}

/// A refusal whose line is cut to the 500 characters that its record allows, on one line.
pub fn refusal(class: RefusalClass, line: &str) -> Refusal {
    Refusal {
        class,
        scope: RefusalScope::Family,
        line: line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect(),
    }
}

fn folded(text: &str) -> String {
    text.replace('\u{2019}', "'").to_lowercase()
}

fn first_within(patterns: &[Pattern], text: &str) -> Option<RefusalClass> {
    patterns.iter().find(|pattern| text.contains(pattern.words)).map(|pattern| pattern.class)
}

/// The HTTP status that a line of prose names, in any of the ways that CLIs name one.
fn status_within(text: &str) -> Option<u64> {
    let names = ["unexpected status ", "last status: ", "api error: ", "error ", "("];
    names.iter().find_map(|name| {
        text.match_indices(name).find_map(|(at, _)| {
            let rest = &text[at + name.len()..];
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if digits.len() == 3 { digits.parse().ok() } else { None }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_met_by_its_own_line() {
        for pattern in RECORD_PATTERNS.iter().chain(NETWORK_PATTERNS) {
            assert_eq!(class_of_record(pattern.line), Some(pattern.class), "{}", pattern.line);
            assert!(folded(pattern.line).contains(pattern.words), "{}", pattern.line);
        }
        for pattern in START_PATTERNS {
            assert_eq!(class_of_start(pattern.line), Some(pattern.class), "{}", pattern.line);
            assert!(folded(pattern.line).starts_with(pattern.words), "{}", pattern.line);
        }
    }

    #[test]
    fn collected_lines_have_the_class_they_were_collected_under() {
        let table = include_str!("../../tests/fixtures/agent-output/refusal-lines.tsv");
        let mut seen = 0;
        for row in table.lines().filter(|row| !row.starts_with('#') && !row.is_empty()) {
            let mut cells = row.split('\t');
            let (Some(text), Some(label)) = (cells.next(), cells.next()) else { panic!("{row}") };
            let expected = match label.split([' ', ',']).next() {
                Some("limit") => Some(RefusalClass::Limit),
                Some("overloaded") => Some(RefusalClass::Overloaded),
                Some("auth") => Some(RefusalClass::Auth),
                Some("billing") => Some(RefusalClass::Billing),
                Some("configuration") => Some(RefusalClass::Configuration),
                Some("model" | "capability") => Some(RefusalClass::Model),
                Some("context") => Some(RefusalClass::Context),
                Some("network") => Some(RefusalClass::Network),
                Some("own" | "crash" | "machine" | "note") => None,
                other => panic!("an unknown label {other:?} in {row}"),
            };
            let found = class_of_start(text).or_else(|| class_of_record(text));
            assert_eq!(found, expected, "{text}");
            seen += 1;
        }
        assert!(seen >= 38, "only {seen} lines");
    }

    #[test]
    fn ordinary_words_are_no_refusal() {
        for text in ["I fixed the rate limiter", "error 42", "(2026)", "Line 401 is wrong", "exit code 429", ""] {
            assert_eq!(class_of_record(text), None, "{text}");
        }
        assert_eq!(class_of_start("n.exports=\"error: unknown option\""), None);
    }

    #[test]
    fn reset_times_are_read_from_numbers_only() {
        let at = |epoch| DateTime::from_timestamp(epoch, 0).map(Resets::At);
        assert_eq!(Resets::from_epoch(1_795_218_021), at(1_795_218_021));
        assert_eq!(Resets::from_epoch(1_795_218_021_000), at(1_795_218_021));
        for bad in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(Resets::from_epoch(bad), None, "{bad}");
        }
        let cases = [
            ("Please retry after 30 seconds", Some(Resets::After(30))),
            ("Please try again in 1.898s.", Some(Resets::After(2))),
            ("retry after 2 minutes", Some(Resets::After(120))),
            ("try again in 20", Some(Resets::After(20))),
            ("try again in 5 parsecs", None),
            ("retry after a while", None),
            ("try again at 3:49 PM", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Resets::from_text(text), expected, "{text}");
        }
    }
}
