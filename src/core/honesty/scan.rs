//! The table over a diff.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use regex::{Regex, bytes};

use super::patch::{FilePatch, Line};
use super::pattern::{pattern_of, text_pattern_of};
use super::rules::{self, CI_PATHS, GIT_PATHS, ROWS, Row, When};
use super::{Flag, MAX_FLAGS, Report, Rule, secrets};
use crate::core::paths::PathPatterns;

/// The commands that judge a candidate.
#[derive(Debug, Clone, Copy)]
pub struct Gates<'a> {
    /// Their shell texts.
    pub commands: &'a [String],
}

/// Each is read when a line is first held against it: a diff is in one language or two, and the table in ten.
static PATTERNS: [OnceLock<Option<bytes::Regex>>; ROWS.len()] = [const { OnceLock::new() }; ROWS.len()];
static CI: LazyLock<Option<PathPatterns>> = LazyLock::new(|| PathPatterns::new(CI_PATHS.iter().copied()).ok());
static GIT: LazyLock<Option<PathPatterns>> = LazyLock::new(|| PathPatterns::new(GIT_PATHS.iter().copied()).ok());

/// Whether git or its hooks act upon this path, or upon what lies in this folder.
pub(in crate::core) fn is_git_file(path: &str) -> bool {
    GIT.as_ref().is_none_or(|patterns| patterns.matching(path).is_some())
}

/// Everything in a diff that a verifier should look at twice.
pub fn scan(files: &[FilePatch], gates: Gates<'_>) -> Report {
    let mut flags = secrets_in(files);
    for file in files {
        whole_file(file, gates, &mut flags);
        lines(file, &mut flags);
    }
    flags.sort_by(|one, other| (&one.file, one.line, one.rule).cmp(&(&other.file, other.line, other.rule)));
    flags.dedup();
    let left_out = flags.len().saturating_sub(MAX_FLAGS) as u64;
    flags.truncate(MAX_FLAGS);
    Report { flags, left_out }
}

/// The secrets that a diff adds.
pub(super) fn secrets_in(files: &[FilePatch]) -> Vec<Flag> {
    let added = files.iter().flat_map(|file| file.added.iter().map(move |line| (file, line)));
    let found = added.filter_map(|(file, line)| {
        let name = secrets::find(&line.text)?;
        let text = format!("{name}: {}", line.text.trim());
        Some(Flag::new(&file.path, Some(line.number), Rule::Secret, &text))
    });
    found.take(MAX_FLAGS).collect()
}

/// What a path alone tells.
fn whole_file(file: &FilePatch, gates: Gates<'_>, flags: &mut Vec<Flag>) {
    let mut flag = |rule, text: &str| flags.push(Flag::new(&file.path, None, rule, text));
    if gates.commands.iter().any(|command| mentions(command, &file.path)) {
        flag(Rule::GateFileChanged, "a gate's command names this file, and the candidate changes it");
    }
    if CI.as_ref().is_none_or(|patterns| patterns.matching(&file.path).is_some()) {
        flag(Rule::CiChanged, "this configures the CI");
    }
    if is_git_file(&file.path) {
        flag(Rule::GitFileChanged, "git or its hooks act upon this file");
    }
    if file.is_binary {
        flag(Rule::NotText, "this is not text, so none of its lines was looked at");
    }
    if file.is_deleted && rules::is_test_path(&file.path) {
        flag(Rule::TestsRemoved, "the file is gone");
    }
}

/// Whether a command names a path, and not merely a word that holds it.
fn mentions(command: &str, path: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    command.match_indices(path).any(|(at, found)| {
        let before = command[..at].strip_suffix("./").unwrap_or(&command[..at]);
        // A dot may end a sentence as well as begin an extension.
        let after = command[at + found.len()..].trim_start_matches('.');
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

fn lines(file: &FilePatch, flags: &mut Vec<Flag>) {
    let Some(language) = rules::language(&file.path) else { return };
    if file.removed.is_empty() && file.added.is_empty() {
        return;
    }
    for (row, pattern) in ROWS.iter().zip(&PATTERNS).filter(|(row, _)| row.languages.contains(&language)) {
        if row.rule == Rule::HardCodedAnswer && rules::is_test_path(&file.path) {
            continue;
        }
        let Some(pattern) = pattern.get_or_init(|| pattern_of(row.pattern)) else { continue };
        let of =
            |lines: &'_ [Line]| lines.iter().filter(|line| pattern.is_match(line.text.as_bytes())).cloned().collect();
        let (gone, new): (Vec<Line>, Vec<Line>) = (of(&file.removed), of(&file.added));
        match row.when {
            When::Added => added(file, row, &gone, &new, flags),
            When::Fewer => fewer(file, row, &gone, &new, flags),
            When::NumberChanged | When::Lowered => numbers(file, row, &gone, &new, flags),
        }
    }
}

/// Lines that came, but for those that only moved.
fn added(file: &FilePatch, row: &Row, gone: &[Line], new: &[Line], flags: &mut Vec<Flag>) {
    let mut moved: HashMap<&str, usize> = HashMap::new();
    for line in gone {
        *moved.entry(line.text.trim()).or_default() += 1;
    }
    for line in new {
        match moved.get_mut(line.text.trim()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => flags.push(Flag::new(&file.path, Some(line.number), row.rule, &line.text)),
        }
    }
}

/// More such lines went than came: the first that went stands for all.
fn fewer(file: &FilePatch, row: &Row, gone: &[Line], new: &[Line], flags: &mut Vec<Flag>) {
    if gone.len() <= new.len() {
        return;
    }
    let still_there = |line: &&Line| !new.iter().any(|new| new.text.trim() == line.text.trim());
    let Some(first) = gone.iter().find(still_there).or(gone.first()) else { return };
    let text = format!("{} went and {} came, such as `{}`", gone.len(), new.len(), first.text.trim());
    flags.push(Flag::new(&file.path, Some(first.number), row.rule, &text));
}

/// Lines that are the same but for their numbers.
fn numbers(file: &FilePatch, row: &Row, gone: &[Line], new: &[Line], flags: &mut Vec<Flag>) {
    let mut partners: Vec<Option<&Line>> = new.iter().map(Some).collect();
    for old in gone {
        let (skeleton, before) = numbers_of(&old.text);
        let same = |line: Option<&Line>| line.is_some_and(|line| numbers_of(&line.text).0 == skeleton);
        let partner = partners.iter_mut().find(|line| same(**line)).and_then(Option::take);
        let (line, lowered) = match partner {
            Some(line) => {
                let after = numbers_of(&line.text).1;
                if after == before {
                    continue;
                }
                (line.number, before.iter().zip(&after).any(|(before, after)| after < before))
            }
            None if row.when == When::Lowered => (old.number, true),
            None => continue,
        };
        if row.when == When::NumberChanged || lowered {
            let now = partner.map_or_else(|| "nothing".to_owned(), |line| format!("`{}`", line.text.trim()));
            let text = format!("`{}` became {now}", old.text.trim());
            flags.push(Flag::new(&file.path, Some(line), row.rule, &text));
        }
    }
}

/// A line without its numbers, and the numbers.
fn numbers_of(line: &str) -> (String, Vec<f64>) {
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| text_pattern_of(r"\d[\d_]*(\.\d+)?([eE][+-]?\d+)?"));
    let Some(number) = NUMBER.as_ref() else { return (line.to_owned(), Vec::new()) };
    let values = number.find_iter(line).filter_map(|found| found.as_str().replace('_', "").parse().ok());
    (number.replace_all(line.trim(), "#").into_owned(), values.collect())
}
