//! What a card says about how its change is judged without a model: rules of its commands, contract tests, and
//! completion checks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::fault::Faults;
use crate::core::paths::PathPatterns;
use crate::core::quantity::Seconds;

use super::markdown::{self, Code, Item, Section};
use super::name;
use super::path::RelativePath;

/// How often a failed gate may be run again at most. A gate that needs more says nothing by passing.
pub const MAX_GATE_RETRIES: u32 = 3;

/// How one acceptance command is run: what stands behind the language of its fence, as in
/// ```` ```sh retries=1 timeout=5m ````.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandRule {
    /// How often it may be run again, in a fresh checkout, after it failed. 0, unless the card says otherwise.
    pub retries: u32,
    /// How long it may take; without a word, as long as the manifest's `defaults.gate_timeout`.
    pub timeout_seconds: Option<Seconds>,
}

/// Something that has to hold of a finished change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// `diff_not_empty`: something has changed, even where the card promises no deliverable.
    DiffNotEmpty,
    /// `no_error_in_output`: no gate prints what looks like an error, whatever it exits with.
    NoErrorInOutput,
    /// `command: …`: one more gate, named `check-N` by its place in the list.
    Command(String),
}

/// Reads the words behind a fence's language.
pub(super) fn command_rule(code: &Code<'_>, faults: &mut Faults) -> CommandRule {
    let mut rule = CommandRule::default();
    for word in code.info.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "retries" => match value.parse() {
                Ok(retries) if retries <= MAX_GATE_RETRIES => rule.retries = retries,
                _ => faults.add(
                    Some(code.line),
                    name::COMMAND,
                    format!("`{word}`: write `retries=` with a number from 0 to {MAX_GATE_RETRIES}"),
                ),
            },
            "timeout" => match Seconds::parse(value).filter(|limit| *limit > Seconds(0)) {
                Some(limit) => rule.timeout_seconds = Some(limit),
                None => faults.add(
                    Some(code.line),
                    name::COMMAND,
                    format!("`{word}`: write `timeout=` with a length of time without spaces, such as `5m` or `90s`"),
                ),
            },
            _ => faults.add(
                Some(code.line),
                name::COMMAND,
                format!("`{word}` is unknown behind a fence; known are `retries=1` and `timeout=5m`"),
            ),
        }
    }
    rule
}

/// The paths of the section's items with what follows each, by line.
pub(super) fn contract_items(section: &Section<'_>, faults: &mut Faults) -> Vec<(usize, String, String)> {
    let (items, _) = markdown::items(&section.elements);
    if items.is_empty() {
        let message = "no test is listed; list files, folders or globs in backticks, or remove the section";
        faults.add(Some(section.line), name::CONTRACT_TESTS, message);
    }
    let mut listed = Vec::new();
    for Item { line, text, .. } in &items {
        match markdown::leading_code(text) {
            Some((path, rest)) => listed.push((*line, path.to_owned(), rest.to_owned())),
            None if markdown::placeholder(text).is_some() => {}
            None => faults.add(Some(*line), name::CONTRACT_TESTS, "the item does not begin with a path in backticks"),
        }
    }
    listed
}

/// Notes a path that is no pattern.
pub(super) fn check_pattern(line: usize, path: &RelativePath, faults: &mut Faults) {
    if let Err(error) = PathPatterns::new([path.as_str()]) {
        faults.add(Some(line), name::CONTRACT_TESTS, error.to_string());
    }
}

/// Reads the list of completion checks.
pub(super) fn checks(section: &Section<'_>, faults: &mut Faults) -> Vec<Check> {
    let (items, strays) = markdown::items(&section.elements);
    for (line, text) in strays {
        faults.add(Some(line), name::CHECKS, format!("`{text}` is no list item; a check would be overlooked"));
    }
    let mut checks = Vec::new();
    for Item { line, text, .. } in items {
        if markdown::placeholder(&text).is_some() {
            continue;
        }
        match check(&text) {
            Some(check) if checks.contains(&check) => {
                faults.add(Some(line), name::CHECKS, format!("`{text}` is listed twice"));
            }
            Some(check) => checks.push(check),
            None => faults.add(
                Some(line),
                name::CHECKS,
                format!("`{text}` is no check; known are `diff_not_empty`, `no_error_in_output` and `command: …`"),
            ),
        }
    }
    checks
}

fn check(text: &str) -> Option<Check> {
    // A whole item in backticks, and a command in backticks, are both what people write.
    let bare = |text: &str| match markdown::leading_code(text.trim()) {
        Some((code, "")) => code.to_owned(),
        _ => text.trim().to_owned(),
    };
    let text = bare(text);
    match text.as_str() {
        "diff_not_empty" => Some(Check::DiffNotEmpty),
        "no_error_in_output" => Some(Check::NoErrorInOutput),
        text => {
            let command = bare(text.strip_prefix("command:")?);
            (!command.is_empty() && !command.starts_with('#')).then_some(Check::Command(command))
        }
    }
}

/// Whether a deliverable's note says that it is to be gone: `removed`, alone or before a sign of punctuation, so that
/// "removed duplicates" stays a description.
pub(super) fn says_removed(note: &str) -> bool {
    let Some(word) = note.get(.."removed".len()) else { return false };
    let rest = &note[word.len()..];
    word.eq_ignore_ascii_case("removed") && rest.trim_start().chars().next().is_none_or(|c| ",.;:(–—".contains(c))
}
