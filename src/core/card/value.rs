//! What may stand behind a key: identities, panels, stage ids, paths, amounts.
//!
//! Each function takes the text behind the key and gives the value, or every reason why it is none.

use crate::core::ids::{Identity, StageId};
use crate::core::quantity::{MicroUsd, Seconds, Tokens, grouped};

use super::markdown::leading_code;
use super::path::{PathError, RelativePath};
use super::time::{StartTime, TimeError};
use super::{Effort, LandingMode, Panel, Stance, Verifiers};

/// The reasons why a text is not the value it should be; never empty.
pub(super) type Reasons = Vec<String>;

pub(super) fn identity(text: &str) -> Result<Identity, Reasons> {
    text.parse::<Identity>().map_err(|error| vec![error.to_string()])
}

/// `Name <address>`, `adversarial: Name <address>`, or `none (why)`; with the numbers of the adversarial seats.
pub(super) fn verifier(text: &str) -> Result<(Verifiers, Vec<u32>), Reasons> {
    let (word, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    let rest = rest.trim();
    if !word.eq_ignore_ascii_case("none") || !(rest.is_empty() || rest.starts_with('(')) {
        let (identity, stance) = seat(text)?;
        let adversarial = (stance == Stance::Adversarial).then_some(1).into_iter().collect();
        return Ok((Verifiers::One(identity), adversarial));
    }
    let why = rest.strip_prefix('(').and_then(|why| why.strip_suffix(')')).map(str::trim);
    match why.filter(|why| !why.is_empty()) {
        Some(why) => Ok((Verifiers::None(why.to_owned()), Vec::new())),
        None => Err(vec!["a card without a verifier says why: write `none (why nobody has to judge it)`".to_owned()]),
    }
}

/// `Name <address>; Name <address>`, or `none`.
pub(super) fn identities(text: &str) -> Result<Vec<Identity>, Reasons> {
    all(entries(text, ';').into_iter().map(|entry| identity(&entry)))
}

/// `Name <address>`, or `adversarial: Name <address>`.
pub(super) fn seat(text: &str) -> Result<(Identity, Stance), Reasons> {
    let word = text.split_once(':').filter(|(word, _)| word.trim().eq_ignore_ascii_case("adversarial"));
    match word {
        Some((_, rest)) => Ok((identity(rest.trim())?, Stance::Adversarial)),
        None => Ok((identity(text)?, Stance::Judge)),
    }
}

/// `2 of Name <address>; adversarial: Name <address>; …`, with the numbers of the adversarial seats.
pub(super) fn panel(text: &str) -> Result<(Panel, Vec<u32>), Reasons> {
    let shape = || vec![format!("`{text}` is not a panel: write `2 of A <a@local>; B <b@local>; C <c@local>`")];
    let (quorum, seats) = text.split_once(char::is_whitespace).ok_or_else(shape)?;
    let quorum: u32 = quorum.parse().map_err(|_| shape())?;
    let seats = seats.trim_start();
    let (of, seats) = seats.split_once(char::is_whitespace).ok_or_else(shape)?;
    if !of.eq_ignore_ascii_case("of") {
        return Err(shape());
    }
    let seats = all(split(seats, ';').into_iter().map(|entry| seat(&entry)))?;
    let adversarial = (1..).zip(&seats).filter(|(_, (_, stance))| *stance == Stance::Adversarial);
    let adversarial = adversarial.map(|(number, _)| number).collect();
    let panel = Panel::new(quorum, seats.into_iter().map(|(identity, _)| identity).collect());
    Ok((panel.map_err(|error| vec![error.to_string()])?, adversarial))
}

/// Stage ids by comma, or `none`; never `own`, never one twice.
pub(super) fn dependencies(text: &str, own: &StageId) -> Result<Vec<StageId>, Reasons> {
    let ids = all(entries(text, ',').into_iter().map(|entry| {
        let id: StageId = entry.parse().map_err(|error| vec![format!("{error}")])?;
        if id == *own { Err(vec!["a stage cannot depend on itself".to_owned()]) } else { Ok(id) }
    }))?;
    match ids.iter().enumerate().find(|(index, id)| ids[..*index].contains(id)) {
        Some((_, twice)) => Err(vec![format!("`{twice}` is named twice")]),
        None => Ok(ids),
    }
}

/// Paths by comma, or `none`; backticks around a path protect its commas.
pub(super) fn paths(text: &str) -> Result<Vec<RelativePath>, Reasons> {
    all(entries(text, ',').into_iter().map(|entry| entry.parse().map_err(|error: PathError| vec![error.to_string()])))
}

pub(super) fn priority(text: &str) -> Result<i32, Reasons> {
    text.parse().map_err(|_| vec![format!("`{text}` is not a priority: write a whole number; lower runs first")])
}

pub(super) fn landing(text: &str) -> Result<LandingMode, Reasons> {
    LandingMode::ALL
        .into_iter()
        .find(|mode| mode.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| vec![format!("`{text}` is not how a change lands: write `auto` or `ask`")])
}

pub(super) fn effort(text: &str) -> Result<Effort, Reasons> {
    Effort::ALL
        .into_iter()
        .find(|effort| effort.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| vec![format!("`{text}` is not an effort: write low, medium, high, xhigh or max")])
}

pub(super) fn duration(text: &str) -> Result<Seconds, Reasons> {
    Seconds::parse(text)
        .ok_or_else(|| vec![format!("`{text}` is not a duration: write `90s`, `10 minutes`, `1 hour` or `1h30m`")])
}

/// `2026-11-22 06:00`, by the operator's clock, or RFC 3339.
pub(super) fn start_time(text: &str) -> Result<StartTime, Reasons> {
    text.parse().map_err(|error: TimeError| vec![error.to_string()])
}

/// How long it is from one begin to the next: a minute at least.
pub(super) fn interval(text: &str) -> Result<Seconds, Reasons> {
    Seconds::parse(text).filter(|every| every.0 >= 60).ok_or_else(|| {
        vec![format!("`{text}` is no interval: write `1 day`, `12 hours` or `90 minutes`, a minute at the least")]
    })
}

pub(super) fn tokens(text: &str) -> Result<Tokens, Reasons> {
    let digits = text.strip_suffix("tokens").unwrap_or(text).trim_end();
    whole_number(digits)
        .filter(|number| *number > 0)
        .map(Tokens)
        .ok_or_else(|| vec![format!("`{text}` is not a number of tokens: write a whole number such as `3,000,000`")])
}

pub(super) fn dollars(text: &str) -> Result<MicroUsd, Reasons> {
    micro_dollars(text)
        .filter(|amount| *amount > 0)
        .map(MicroUsd)
        .ok_or_else(|| vec![format!("`{text}` is not an amount of money: write US dollars such as `$5.00`")])
}

/// Digits, with or without well-placed commas: `3,00` is more likely a slip than three hundred.
fn whole_number(text: &str) -> Option<u64> {
    let number: u64 = text.replace(',', "").parse().ok()?;
    (text == number.to_string() || text == grouped(number)).then_some(number)
}

/// Read digit by digit, since an amount of money should not pass through binary fractions.
fn micro_dollars(text: &str) -> Option<u64> {
    let (whole, fraction) = text
        .strip_prefix('$')
        .unwrap_or(text)
        .split_once('.')
        .map_or_else(|| (text.strip_prefix('$').unwrap_or(text), None), |(whole, fraction)| (whole, Some(fraction)));
    let micros = match fraction {
        None => 0,
        Some(digits) if (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<6}").parse().ok()?
        }
        Some(_) => return None,
    };
    whole_number(whole)?.checked_mul(1_000_000)?.checked_add(micros)
}

/// The entries of a list; none at all when it says `none`.
fn entries(text: &str, separator: char) -> Vec<String> {
    if text.eq_ignore_ascii_case("none") { Vec::new() } else { split(text, separator) }
}

/// Splits outside backticks, and takes each entry out of its own. An empty entry is kept: it is a fault to report.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '`';
        match entries.last_mut() {
            Some(entry) if quoted || c != separator => entry.push(c),
            _ => entries.push(String::new()),
        }
    }
    let bare = |entry: &String| match leading_code(entry.trim()) {
        Some((code, "")) => code.to_owned(),
        _ => entry.trim().to_owned(),
    };
    entries.iter().map(bare).collect()
}

/// Every value, or every reason.
fn all<T>(results: impl Iterator<Item = Result<T, Reasons>>) -> Result<Vec<T>, Reasons> {
    let mut values = Vec::new();
    let mut reasons = Vec::new();
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(more) => reasons.extend(more),
        }
    }
    if reasons.is_empty() { Ok(values) } else { Err(reasons) }
}

/// The known key that is nearest to an unknown one.
pub(super) fn nearest<'k>(unknown: &str, known: &[&'k str]) -> &'k str {
    known.iter().min_by_key(|key| distance(&unknown.to_lowercase(), &key.to_lowercase())).copied().unwrap_or_default()
}

/// How many letters must be added, removed or replaced to make one text of the other (Levenshtein).
pub(super) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, c) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, d) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them_and_slips_are_not() {
        for (text, expected) in [
            ("3,000,000", Some(3_000_000)),
            ("3000000", Some(3_000_000)),
            ("500 tokens", Some(500)),
            ("3,00", None),
            ("30,00,000", None),
            ("0", None),
            ("-5", None),
            ("+5", None),
            ("3M", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(tokens(text).ok(), expected.map(Tokens), "{text}");
        }
        for (text, expected) in [
            ("$5.00", Some(5_000_000)),
            ("5", Some(5_000_000)),
            ("$1,234.5", Some(1_234_500_000)),
            ("$0.000001", Some(1)),
            ("$0.0000001", None),
            ("$0.00", None),
            ("$", None),
            ("$.5", None),
            ("$5.", None),
            ("-$5", None),
            ("€5", None),
            ("$5.0e3", None),
            ("$99999999999999999", None),
        ] {
            assert_eq!(dollars(text).ok(), expected.map(MicroUsd), "{text}");
        }
    }

    #[test]
    fn backticks_protect_commas() {
        assert_eq!(split("`a,b`, c ,`d` e", ','), ["a,b", "c", "`d` e"]);
        assert_eq!(split("a,,", ','), ["a", "", ""]);
    }

    #[test]
    fn distances_are_counted_in_letters() {
        for (one, other, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("worker", "wörker", 1)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
        assert_eq!(nearest("Depend on", &["Worker", "Depends on", "Path claims"]), "Depends on");
    }
}
