//! What a verdict's evidence names, and whether the candidate has it.
//!
//! A judge that looked can say where: `src/a.rs:3`, or a command and what it printed. What is named is looked up in
//! the candidate's tree by us, so evidence that was made up makes the verdict unusable. This page reads texts and
//! compares numbers; asking the tree is git's business.
//!
//! Agents write for people, so the forms are read leniently: `src/a.rs:3`, `src/a.rs:3-9`, `src/a.rs:3:14`,
//! `src/a.rs#L3-L9`, `src/a.rs line 3`, `src/a.rs (lines 3 to 9)`, `line 3 of src/a.rs`, each with or without
//! backticks, and with the checkout's own path in front.

use std::collections::BTreeSet;

use super::{CriterionVerdict, Judgement, Verdict};
use crate::core::fault::Faults;

/// Whether a text can only have meant a file of the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// It says so: a path with a folder or an extension, outside of quoted output. It has to be there.
    Sure,
    /// It may be a port, a time, or a line of what a command printed. It counts where it is there, and where it is
    /// not, nothing was claimed.
    Possible,
}

/// A place in a file, as a piece of evidence names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// The file, relative to the candidate's root.
    pub path: String,
    /// The first line, counted from 1 as people do; 0 where that is what stands there.
    pub first: u64,
    /// The last line.
    pub last: u64,
    /// Whether it is held against the verdict when it is not there.
    pub certainty: Certainty,
}

/// How many lines a file has in the two trees that a verifier can see; none where it is no file there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileLines {
    /// In the candidate.
    pub candidate: Option<u64>,
    /// In the base: what a candidate deleted is an honest thing to name, though it proves nothing that is there.
    pub base: Option<u64>,
}

/// Every file that a verdict's evidence names, for one look at the trees. `top` is the verifier's checkout.
pub fn named_files(verdict: &Verdict, top: &str) -> BTreeSet<String> {
    let of = |criterion: &CriterionVerdict| citations(&criterion.evidence, top);
    verdict.criteria.iter().flat_map(of).map(|citation| citation.path).collect()
}

/// Everything that makes the evidence of a verdict worthless; `lines` says what the trees have.
pub fn faults(verdict: &Verdict, top: &str, lines: impl Fn(&str) -> FileLines) -> Faults {
    let mut faults = Faults::default();
    for criterion in &verdict.criteria {
        let place = format!("criterion {}", criterion.id);
        let mut shown = quotes_a_command(&criterion.evidence, top);
        for citation in citations(&criterion.evidence, top) {
            match standing(&citation, lines(&citation.path)) {
                Standing::There => shown = true,
                Standing::InTheBase | Standing::NoClaim => {}
                Standing::NotThere(why) => faults.add(None, &place, why),
            }
        }
        match criterion.verdict {
            Judgement::Pass if !shown => faults.add(
                None,
                &place,
                "is PASS, and its evidence names no `file:line` of the candidate and quotes no command in backticks",
            ),
            Judgement::Blocked if !says_something(&criterion.evidence) => {
                faults.add(None, &place, "is BLOCKED, and its evidence does not say what was missing to look");
            }
            _ => {}
        }
    }
    faults
}

enum Standing {
    There,
    InTheBase,
    NoClaim,
    NotThere(String),
}

fn standing(citation: &Citation, lines: FileLines) -> Standing {
    let Citation { path, first, last, certainty } = citation;
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let holds = |count: u64| *first >= 1 && first <= last && *last <= count;
    match (lines.candidate, lines.base) {
        (Some(count), _) if holds(count) => Standing::There,
        (_, Some(count)) if holds(count) => Standing::InTheBase,
        (Some(count), _) => Standing::NotThere(format!(
            "its evidence names {path}:{range}, and the candidate's {path} has {count} line(s)"
        )),
        (None, Some(count)) => {
            Standing::NotThere(format!("its evidence names {path}:{range}, and the base's {path} has {count} line(s)"))
        }
        (None, None) if *certainty == Certainty::Sure => {
            Standing::NotThere(format!("its evidence names {path}:{range}, and the candidate has no such file"))
        }
        (None, None) => Standing::NoClaim,
    }
}

/// Whether a text has more to say than a place or a filler: two words at the least.
fn says_something(text: &str) -> bool {
    const FILLERS: [&str; 7] = ["blocked", "none", "unknown", "n/a", "na", "tbd", "todo"];
    let words = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
    let says = |word: &String| {
        let letters = word.chars().filter(|c| c.is_alphabetic()).count();
        letters >= 2 && !word.contains(':') && !FILLERS.contains(&word.as_str())
    };
    words.filter(says).count() >= 2
}

/// Whether a text quotes a command: several words in backticks that do not begin with a place in a file, one word in
/// backticks of which it says what it did, or a line that begins with `$`.
pub fn quotes_a_command(text: &str, top: &str) -> bool {
    let mut before = "";
    let parts = parts(text);
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Plain(plain) => {
                if plain.lines().any(|line| line.trim_start().strip_prefix("$ ").is_some_and(may_be_a_command)) {
                    return true;
                }
                before = plain;
            }
            Part::Quoted(quoted) => {
                let after = match parts.get(index + 1) {
                    Some(Part::Plain(plain)) => plain,
                    _ => "",
                };
                if is_command(quoted, before, after, top) {
                    return true;
                }
                before = "";
            }
        }
    }
    false
}

fn is_command(quoted: &str, before: &str, after: &str, top: &str) -> bool {
    const RUNS: [&str; 7] = ["command", "ran", "run", "running", "executed", "with", "by"];
    const DID: [&str; 16] = [
        "exit",
        "exits",
        "exited",
        "print",
        "prints",
        "printed",
        "pass",
        "passes",
        "passed",
        "fail",
        "fails",
        "failed",
        "returns",
        "returned",
        "succeeds",
        "succeeded",
    ];
    let text = quoted.trim();
    let text = text.strip_prefix("$ ").unwrap_or(text).trim_start();
    if !may_be_a_command(text) || leading_citation(text, top) {
        return false;
    }
    let clean = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let several = text.split_whitespace().count() > 1;
    several
        || before.split_whitespace().next_back().is_some_and(|word| RUNS.contains(&clean(word).as_str()))
        || after.split_whitespace().next().is_some_and(|word| DID.contains(&clean(word).as_str()))
}

fn may_be_a_command(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

fn leading_citation(text: &str, top: &str) -> bool {
    scan(text, Certainty::Sure, top).first().is_some_and(|(start, _)| *start == 0)
}

/// Every place in a file that a text names, in order. `top` is a checkout's absolute path, which is taken off.
pub fn citations(text: &str, top: &str) -> Vec<Citation> {
    let mut found = Vec::new();
    let parts = parts(text);
    for part in &parts {
        if let Part::Quoted(quoted) = part {
            let quoted = quoted.trim();
            let whole = whole_citation(quoted, top);
            if let Some(citation) = whole {
                found.push(citation);
            } else if quoted.contains(char::is_whitespace) {
                // A command, a line of code or output: what it begins with is a claim, what is inside may be anything.
                for (start, citation) in scan(quoted, Certainty::Possible, top) {
                    let certainty = if start == 0 { sureness(&citation.path) } else { Certainty::Possible };
                    found.push(Citation { certainty, ..citation });
                }
            }
        }
    }
    // Short quotations are part of the sentence around them: `a.rs` line 3.
    let sentence: String = parts
        .iter()
        .map(|part| match part {
            Part::Plain(plain) => (*plain).to_owned(),
            Part::Quoted(quoted) if quoted.trim().contains(char::is_whitespace) => " \u{0} ".to_owned(),
            Part::Quoted(quoted) => format!("`{}`", quoted.trim()),
        })
        .collect();
    for (_, citation) in scan(&sentence, Certainty::Sure, top) {
        if !found.contains(&citation) {
            found.push(citation);
        }
    }
    found
}

/// A quotation that is nothing but a place, whose path may then contain blanks.
fn whole_citation(quoted: &str, top: &str) -> Option<Citation> {
    if !quoted.contains(' ') || quoted.contains('\n') {
        return None;
    }
    let (path, lines) = quoted.rsplit_once(':')?;
    let (range, rest) = range(lines, Words::No)?;
    if !rest.is_empty() || path.contains(['=', '"', '\'', ';', '|', '&', '$', '<', '>', ':']) {
        return None;
    }
    let path = inside(path.trim(), top)?;
    Some(Citation { path, first: range.0, last: range.1, certainty: Certainty::Possible })
}

/// A text and its quotations in backticks; a run of backticks ends at the next run of the same length.
enum Part<'t> {
    Plain(&'t str),
    Quoted(&'t str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut plain = 0;
    let mut at = 0;
    while let Some(open) = text[at..].find('`').map(|index| at + index) {
        let ticks = text[open..].bytes().take_while(|byte| *byte == b'`').count();
        let inside = open + ticks;
        match closing(text, inside, ticks) {
            Some(close) => {
                parts.push(Part::Plain(&text[plain..open]));
                parts.push(Part::Quoted(&text[inside..close]));
                at = close + ticks;
                plain = at;
            }
            None => at = inside,
        }
    }
    parts.push(Part::Plain(&text[plain..]));
    parts
}

fn closing(text: &str, from: usize, ticks: usize) -> Option<usize> {
    let mut at = from;
    while let Some(start) = text[at..].find('`').map(|index| at + index) {
        let length = text[start..].bytes().take_while(|byte| *byte == b'`').count();
        if length == ticks {
            return Some(start);
        }
        at = start + length;
    }
    None
}

/// Characters that a path in a running text consists of.
fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || "_./+@~%=-[]".contains(c)
}

/// The citations of a text without regard to quotations, each with where its path begins. None is surer than `most`.
fn scan(text: &str, most: Certainty, top: &str) -> Vec<(usize, Citation)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(is_path_char).map(|index| at + index) {
        let end = text[start..].find(|c| !is_path_char(c)).map_or(text.len(), |index| start + index);
        at = end;
        let token = &text[start..end];
        let skipped = if token.contains(']') { 0 } else { token.len() - token.trim_start_matches('[').len() };
        let token = &token[skipped..];
        // What follows a colon is part of a longer name: `node:internal/x:3`, `C:/x:3`.
        let own = !text[..start].ends_with([':', '\\']);
        let rest = &text[end..];
        let forward = lines_after(token, rest).map(|(lines, used)| (lines, token, used));
        let found_here = forward.or_else(|| line_first(rest).filter(|_| is_line_word(token)));
        let Some(((first, last), path, used)) = found_here else { continue };
        at = end + used;
        if let Some(path) = inside(path, top) {
            let certainty = if own { sureness(&path).max(most) } else { Certainty::Possible };
            found.push((start + skipped, Citation { path, first, last, certainty }));
        }
    }
    found
}

/// The path below the checkout's top; none for a path that leads elsewhere, which says nothing about the candidate.
fn inside(path: &str, top: &str) -> Option<String> {
    let path = match path.strip_prefix(top).filter(|_| !top.is_empty()) {
        Some(below) => below.strip_prefix('/')?,
        None => path,
    };
    let mut path = path;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let fits = !path.is_empty() && !path.starts_with(['/', '~']) && path.chars().any(char::is_alphanumeric);
    (fits && !path.contains('\n')).then(|| path.to_owned())
}

/// Whether a path can be nothing but a file: it has a folder, or an extension that is no domain's.
fn sureness(path: &str) -> Certainty {
    const DOMAINS: [&str; 7] = ["com", "org", "net", "io", "dev", "local", "localhost"];
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let plain = (1..=10).contains(&extension.len())
        && extension.starts_with(|c: char| c.is_ascii_alphabetic())
        && extension.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_domain = !path.contains('/') && DOMAINS.contains(&extension.to_lowercase().as_str());
    if (plain || path.contains('/')) && !is_domain && !path.contains('=') {
        Certainty::Sure
    } else {
        Certainty::Possible
    }
}

/// The lines behind a path, and how much of the text they take.
fn lines_after(path: &str, rest: &str) -> Option<((u64, u64), usize)> {
    let used = |left: &str| rest.len() - left.len();
    let behind = rest.strip_prefix('`').unwrap_or(rest);
    if let Some((range, left)) = behind.strip_prefix(':').and_then(|digits| range(digits, Words::No)) {
        return Some((range, used(left)));
    }
    if let Some((range, left)) = behind.strip_prefix("#L").and_then(|digits| range(digits, Words::No)) {
        return Some((range, used(left)));
    }
    let gap = rest.trim_start_matches([' ', ',', ':', '(', '`']);
    if gap.len() == rest.len() || used(gap) > 4 {
        return None;
    }
    let gap = ["at ", "on ", "in "].iter().find_map(|word| gap.strip_prefix(word)).unwrap_or(gap);
    let word = gap.find(|c: char| !c.is_alphabetic()).map(|end| &gap[..end]).filter(|word| is_line_word(word))?;
    let digits = gap[word.len()..].trim_start_matches(['.', ' ']);
    let (range, left) = range(digits, Words::Yes)?;
    // `it prints line 3 of src/a.rs`: the path is the one behind.
    let another_follows = left.starts_with(" of ") || left.starts_with(" in ");
    (!another_follows || sureness(path) == Certainty::Sure).then(|| (range, used(left)))
}

fn is_line_word(word: &str) -> bool {
    ["line", "lines"].iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// `line 3 of src/a.rs`, from behind the word `line`: the lines, the path, and how much of the text they take.
fn line_first(rest: &str) -> Option<((u64, u64), &str, usize)> {
    let (range, left) = range(rest.strip_prefix(' ')?, Words::Yes)?;
    let left = ["of ", "in "].iter().find_map(|word| left.trim_start().strip_prefix(word))?;
    let left = left.strip_prefix('`').unwrap_or(left);
    let end = left.find(|c| !is_path_char(c)).unwrap_or(left.len());
    let path = left[..end].trim_end_matches('.');
    Some((range, path, rest.len() - left.len() + path.len()))
}

/// Whether a range may be written in words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Yes,
    No,
}

/// `3`, `3-9`, `L3-L9`, `3:14`, and in words `3 to 9`; with the text behind it. Nothing where a word goes on.
fn range(text: &str, words: Words) -> Option<((u64, u64), &str)> {
    let (first, mut left) = number(text)?;
    let mut last = first;
    let separators: &[&str] =
        if words == Words::Yes { &["-", "–", "—", " to ", " and ", " - "] } else { &["-", "–", "—"] };
    let second = separators.iter().find_map(|separator| {
        let digits = left.strip_prefix(separator)?;
        number(digits.strip_prefix('L').unwrap_or(digits))
    });
    if let Some((number, rest)) = second {
        (last, left) = (number, rest);
    } else if let Some((_column, rest)) = left.strip_prefix(':').and_then(number) {
        left = rest;
    }
    let goes_on = left.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '/')
        || left.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()));
    (!goes_on).then_some(((first, last), left))
}

/// A number at the beginning of a text; one that is too large for any file stays too large.
fn number(text: &str) -> Option<(u64, &str)> {
    let text = text.strip_prefix('L').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].parse().unwrap_or(u64::MAX), &text[end..]))
}

#[cfg(test)]
mod tests;
