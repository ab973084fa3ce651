//! What a refusal looks like, as data: one table of words per CLI, each row with a line that was really printed or
//! stands in a CLI's binary, and where that line comes from; and a table of HTTP statuses.
//!
//! The tables are only ever asked about text that a CLI wrote itself: error records and the standard error of a
//! failed start. What an agent says or a tool prints is never looked up here. A known wording says more than
//! a status (a 429 may be a limit or an empty account), so it comes first; but wording drifts between versions, so a
//! record's status or error name decides where no row matches.

mod any;
mod claude;
mod codex;
mod gemini;

use crate::core::exit::{Refusal, RefusalClass, RefusalScope};

/// Whose words a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Claude Code, and CLIs that write its records.
    Claude,
    /// Codex.
    Codex,
    /// Gemini.
    Gemini,
    /// Everybody's.
    Any,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Anywhere in the text of an error record.
    Record,
    /// At the start of a line on standard error, in a run that never began. Beginnings only: a crashing CLI may print
    /// its own source.
    Start,
}

/// One wording of a refusal.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Who says it.
    pub whose: Whose,
    /// Where.
    pub place: Place,
    /// Words that stand in the line, in lower case, with straight apostrophes and plain spaces.
    pub words: &'static str,
    /// What they mean.
    pub class: RefusalClass,
    /// What they bind.
    pub scope: RefusalScope,
    /// The line that the row was made from.
    pub line: &'static str,
    /// Where the line was found: a version measured or searched, an issue, a page.
    pub source: &'static str,
}

/// A row about records that binds the whole family.
const fn record(
    whose: Whose,
    class: RefusalClass,
    words: &'static str,
    line: &'static str,
    source: &'static str,
) -> Pattern {
    Pattern { whose, place: Place::Record, words, class, scope: RefusalScope::Family, line, source }
}

/// A row about records that binds one model only.
const fn one_model(
    whose: Whose,
    class: RefusalClass,
    words: &'static str,
    line: &'static str,
    source: &'static str,
) -> Pattern {
    Pattern { scope: RefusalScope::Model, ..record(whose, class, words, line, source) }
}

/// A row about failed starts.
const fn start(
    whose: Whose,
    class: RefusalClass,
    words: &'static str,
    line: &'static str,
    source: &'static str,
) -> Pattern {
    Pattern { place: Place::Start, ..record(whose, class, words, line, source) }
}

/// All tables, in the order in which they are tried after a CLI's own.
const TABLES: [(Whose, &[Pattern]); 4] = [
    (Whose::Any, any::ROWS),
    (Whose::Claude, claude::ROWS),
    (Whose::Codex, codex::ROWS),
    (Whose::Gemini, gemini::ROWS),
];

/// Every row there is.
pub fn rows() -> impl Iterator<Item = &'static Pattern> {
    TABLES.into_iter().flat_map(|(_, rows)| rows).chain(any::NETWORK)
}

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

/// What the text of a CLI's error record means, and what it binds.
///
/// The CLI's own rows are tried first, then everybody's: a CLI passes on what the provider behind it says.
pub fn of_record(whose: Whose, text: &str) -> Option<(RefusalClass, RefusalScope)> {
    let text = folded(text);
    let found = |row: &&Pattern| row.place == Place::Record && text.contains(row.words);
    let worded = |row: &Pattern| (row.class, row.scope);
    let own = TABLES.into_iter().filter(|(table, _)| *table == whose);
    let others = TABLES.into_iter().filter(|(table, _)| *table != whose);
    let known = own.chain(others).flat_map(|(_, rows)| rows).find(found).map(worded);
    let by_status = || status_within(&text).and_then(class_of_status).map(bare);
    known.or_else(by_status).or_else(|| any::NETWORK.iter().find(found).map(worded))
}

/// What a line of a failed start on standard error means.
pub fn class_of_start(line: &str) -> Option<RefusalClass> {
    let line = folded(line.trim_start());
    rows().find(|row| row.place == Place::Start && line.starts_with(row.words)).map(|row| row.class)
}

/// A class by itself, with what it binds where no words say so.
pub fn bare(class: RefusalClass) -> (RefusalClass, RefusalScope) {
    let scope = if class == RefusalClass::Model { RefusalScope::Model } else { RefusalScope::Family };
    (class, scope)
}

/// A refusal whose line is cut to the 500 characters that its record allows, on one line.
pub fn refusal((class, scope): (RefusalClass, RefusalScope), line: &str) -> Refusal {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect();
    Refusal { class, scope, line }
}

fn folded(text: &str) -> String {
    text.replace('\u{2019}', "'").replace(['\u{a0}', '\u{202f}'], " ").to_lowercase()
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
mod tests;
