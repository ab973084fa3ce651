//! Strings that open doors, by the shapes that their issuers gave them.
//!
//! Shapes with a prefix of their own only: what merely looks random is too often a hash. A candidate that adds one
//! fails, so a false alarm costs a night, and a miss costs a key.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::{Captures, Regex};

use super::pattern::text_pattern_of;

/// One shape of a secret.
pub struct SecretRow {
    /// What it is.
    pub name: &'static str,
    /// Every text in which the pattern finds something holds one of these. Most texts hold none of any row, and then no
    /// pattern need be built.
    pub hints: &'static [&'static str],
    /// A regular expression over one line; its first group is what must not be shown.
    pub pattern: &'static str,
    /// What a finding begins with, in two halves: nothing that looks like a secret may stand in this file.
    pub finds: (&'static str, &'static str),
    /// A line that is none.
    pub passes: &'static str,
}

const fn row(
    name: &'static str,
    hints: &'static [&'static str],
    pattern: &'static str,
    finds: (&'static str, &'static str),
    passes: &'static str,
) -> SecretRow {
    SecretRow { name, hints, pattern, finds, passes }
}

/// The shapes.
pub const ROWS: &[SecretRow] = &[
    row(
        "an AWS access key id",
        &["AKIA", "ASIA"],
        r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b",
        ("AKIA", "QX7RT2PLM9KDW4ZB"),
        "AKIATOOSHORT",
    ),
    row(
        "an AWS secret access key",
        &["aws", "AWS", "Aws", "aWs", "awS", "AWs", "AwS", "aWS"],
        r"(?i-u:aws_?secret_?(?:access_?)?key)[^0-9A-Za-z_]{1,8}([A-Za-z0-9/+=]{40})\b",
        ("aws_secret_access_key = ", "wJq1XkzTrFEMI7K2DENGbPxRfiCYzQpLm8KtYv3a"),
        "aws_secret_access_key = from the vault",
    ),
    row(
        "a GitHub token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        r"\b(gh[pousr]_[A-Za-z0-9]{36,255})\b",
        ("ghp_", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"),
        "ghp_short",
    ),
    row(
        "a GitHub token",
        &["github_pat_"],
        r"\b(github_pat_[A-Za-z0-9_]{50,255})\b",
        ("github_pat_", "11ABCDE3Y0aB3dE6gH9jK2_mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nO2qR5tU8"),
        "github_pat_ is a prefix",
    ),
    row(
        "a GitLab token",
        &["glpat-"],
        r"\b(glpat-[A-Za-z0-9_-]{20,})\b",
        ("glpat-", "aB3dE6gH9jK2mN5pQ8sT"),
        "glpat-short",
    ),
    row(
        "a Slack token",
        &["xox"],
        r"\b(xox[abeoprs]-[A-Za-z0-9-]{16,})\b",
        ("xoxb-", "123456789012-aB3dE6gH9jK2mN5p"),
        "xoxb-token",
    ),
    row(
        "a Slack webhook",
        &["hooks.slack.com"],
        r"(hooks\.slack\.com/services/T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{16,})",
        ("https://hooks.slack.com/services/T0AB1CD2E/B0AB1CD2E/", "aB3dE6gH9jK2mN5pQ8sT1vW4"),
        "https://hooks.slack.com/services/",
    ),
    row(
        "an Anthropic key",
        &["sk-ant-"],
        r"\b(sk-ant-[A-Za-z0-9_-]{20,})",
        ("sk-ant-", "api03-aB3dE6gH9jK2mN5pQ8sT1vW4"),
        "sk-ant-…",
    ),
    row(
        "an OpenAI key",
        &["sk-"],
        r"\b(sk-(?:proj-|svcacct-)?[A-Za-z0-9_-]*T3BlbkFJ[A-Za-z0-9_-]{16,}|sk-proj-[A-Za-z0-9_-]{40,})",
        ("sk-proj-", "aB3dE6gH9jK2mN5pQ8sT1vW4aB3dE6gH9jK2mN5pQ8sT1vW4"),
        "sk-proj-example",
    ),
    row(
        "a Google key",
        &["AIza"],
        r"\b(AIza[0-9A-Za-z_-]{35})\b",
        ("AIza", "SyaB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3"),
        "AIzaShort",
    ),
    row(
        "a Stripe key",
        &["_live_"],
        r"\b((?:sk|rk)_live_[0-9A-Za-z]{16,})\b",
        ("sk_live_", "aB3dE6gH9jK2mN5pQ8sT"),
        "sk_test_4eC39H",
    ),
    row(
        "an npm token",
        &["npm_"],
        r"\b(npm_[A-Za-z0-9]{36})\b",
        ("npm_", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"),
        "npm_config_x",
    ),
    row(
        "a private key",
        &["-----BEGIN "],
        r"(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----)",
        ("-----BEGIN OPENSSH ", "PRIVATE KEY-----"),
        "-----BEGIN PUBLIC KEY-----",
    ),
];

/// Each is built when a text is first held against it.
static PATTERNS: [OnceLock<Option<Regex>>; ROWS.len()] = [const { OnceLock::new() }; ROWS.len()];

/// The rows that may find something in a text, each with its pattern; none where that is no regular expression.
fn rows_for(text: &str) -> impl Iterator<Item = (&'static SecretRow, Option<&'static Regex>)> {
    let rows = ROWS.iter().zip(&PATTERNS).filter(|(row, _)| row.hints.iter().any(|hint| text.contains(hint)));
    rows.map(|(row, pattern)| (row, pattern.get_or_init(|| text_pattern_of(row.pattern)).as_ref()))
}

/// What a line holds that nobody should see.
pub fn find(line: &str) -> Option<&'static str> {
    rows_for(line).find_map(|(row, pattern)| {
        // A pattern that cannot be read would let everything through; finding everything is the safer fault.
        let Some(pattern) = pattern else { return Some(row.name) };
        pattern.captures_iter(line).any(|found| !is_example(&found)).then_some(row.name)
    })
}

/// AWS prints such keys in its own manual.
fn is_example(found: &Captures<'_>) -> bool {
    found.get(1).is_some_and(|value| value.as_str().ends_with("EXAMPLE") || value.as_str().ends_with("EXAMPLEKEY"))
}

/// The line with every secret made unreadable; the first characters stay, so that it can be found.
pub fn redact(line: &str) -> Cow<'_, str> {
    const SHOWN: usize = 4;
    let mut text = Cow::Borrowed(line);
    for pattern in rows_for(line).filter_map(|(_, pattern)| pattern) {
        if pattern.is_match(&text) {
            let hide = |found: &Captures<'_>| {
                let (whole, value) = (&found[0], &found[1]);
                let head: String = value.chars().take(SHOWN).collect();
                whole.replace(value, &format!("{head}[redacted]"))
            };
            text = Cow::Owned(pattern.replace_all(&text, hide).into_owned());
        }
    }
    text
}
