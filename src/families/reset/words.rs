//! Reading a reset time out of a sentence.
//!
//! A time is looked for only behind words that announce one (`resets`, `try again`, `retry after` …), so that no other
//! number of the line is taken for one. What is not understood is no time.

use chrono::{DateTime, NaiveTime, Utc, Weekday};

use super::{Clock, Day, Resets, Zone, epoch_time};

/// How much of a text is read: a sentence of a CLI, with room for the record around it.
const LONGEST: usize = 4096;
/// The least number that is an epoch where one may stand: 2001.
const FIRST_EPOCH: u64 = 1_000_000_000;
/// How many words may stand between the announcement and its time.
const MOST_FILLERS: usize = 6;
/// The longest delay that is believed: 400 days.
const LONGEST_DELAY: f64 = 400.0 * 86_400.0;

/// A part of a sentence.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Number(&'a str),
    Word(&'a str),
    Mark(char),
    /// Something in parentheses.
    Aside(&'a str),
    /// A time as RFC 3339 writes it.
    Instant(DateTime<Utc>),
}

/// The reset time that a text announces, if it does.
pub(super) fn read(text: &str) -> Option<Resets> {
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
    let tokens = tokens(&text[..end]);
    (0..tokens.len()).find_map(|at| announced(&tokens[at..]))
}

/// What stands behind an announcement, where the tokens begin with one.
fn announced(tokens: &[Token<'_>]) -> Option<Resets> {
    let (seconds, length) = match tokens {
        // Claude Code before 2.0: `usage limit reached|1749924000`.
        [Token::Word(word), Token::Mark('|'), ..] if is(word, "reached") => (false, 1),
        [Token::Word(word), ..] if is(word, "resets_in_seconds") => (true, 1),
        [Token::Word(word), ..]
            if ["reset", "resets", "resets_at", "resetsat", "again", "retryafter", "retry_after", "retrydelay"]
                .iter()
                .any(|known| is(word, known)) =>
        {
            (false, 1)
        }
        [Token::Word(one), Token::Mark('-') | Token::Word(_), ..] if is(one, "retry") || is(one, "retrying") => {
            let header = matches!(tokens, [_, Token::Mark('-'), Token::Word(two), ..] if is(two, "after"));
            (false, if header { 3 } else { 1 })
        }
        _ => return None,
    };
    let rest = &tokens[length..];
    let fillers = rest.iter().take(MOST_FILLERS).take_while(|token| is_filler(token)).count();
    let rest = &rest[fillers..];
    match rest.first()? {
        Token::Instant(time) => return Some(Resets::Said(*time)),
        Token::Number(digits) if !seconds => {
            if let Some(time) = epoch(digits) {
                return Some(Resets::Said(time));
            }
        }
        _ => {}
    }
    // `resets 7` may be an hour or a count; `in 7` is a count.
    let counted = seconds || tokens[..tokens.len() - rest.len()].iter().any(is_counting);
    delay(rest, counted).or_else(|| clock(rest).map(Resets::Clock))
}

fn is_counting(token: &Token<'_>) -> bool {
    match token {
        Token::Word(word) => is(word, "in") || is(word, "after"),
        Token::Mark(mark) => [':', '='].contains(mark),
        _ => false,
    }
}

/// Words and marks between an announcement and its time.
fn is_filler(token: &Token<'_>) -> bool {
    match token {
        Token::Word(word) => ["at", "on", "in", "after", "until", "time", "is", "about", "around", "approximately"]
            .iter()
            .any(|filler| is(word, filler)),
        Token::Mark(mark) => [':', '=', '"', '\'', '\\', '|', '~'].contains(mark),
        _ => false,
    }
}

fn epoch(digits: &str) -> Option<DateTime<Utc>> {
    let number = digits.parse::<u64>().ok().filter(|number| *number >= FIRST_EPOCH)?;
    epoch_time(i64::try_from(number).ok()?)
}

/// `5 days 3 hours 12 minutes`, `8h44m7s`, `1.898s`, and a number alone, which is seconds where it is a count.
fn delay(tokens: &[Token<'_>], counted: bool) -> Option<Resets> {
    let mut rest = tokens;
    let mut total = 0.0;
    let mut parts = 0;
    while let Some((amount, after)) = number(rest) {
        let scale = match after.first() {
            Some(Token::Word(unit)) => unit_seconds(unit),
            // `in 20.`, but neither `in 20:15` nor `in 20/11`.
            None | Some(Token::Mark('.' | ',' | ';' | '"' | '\\' | '}' | ')' | '!') | Token::Aside(_))
                if counted && parts == 0 =>
            {
                return seconds(amount);
            }
            _ => None,
        };
        let Some(scale) = scale else { break };
        total += amount * scale;
        parts += 1;
        rest = &after[1..];
        while let [Token::Mark(',') | Token::Word("and"), more @ ..] = rest {
            rest = more;
        }
    }
    if parts == 0 { None } else { seconds(total) }
}

fn seconds(amount: f64) -> Option<Resets> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within its bounds, and never negative"
    )]
    (amount <= LONGEST_DELAY).then(|| Resets::After(amount.ceil() as u32))
}

/// A number with or without a fraction, and what follows it.
fn number<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(f64, &'t [Token<'a>])> {
    match tokens {
        [Token::Number(whole), Token::Mark('.'), Token::Number(part), rest @ ..] => {
            Some((format!("{whole}.{part}").parse().ok()?, rest))
        }
        [Token::Number(whole), rest @ ..] => Some((whole.parse().ok()?, rest)),
        _ => None,
    }
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// `12:10pm (Europe/London)`, `Nov 21st, 2026 1:16 AM`, `Mon 9am`, `21 Nov 17:05 UTC`, `Oct 24`.
fn clock(tokens: &[Token<'_>]) -> Option<Clock> {
    let (day, rest) = date(tokens);
    let rest =
        skip(rest, |token| matches!(token, Token::Mark(',')) || matches!(token, Token::Word(word) if is(word, "at")));
    let (time, rest) = match time_of_day(rest) {
        Some(found) => found,
        // A day alone begins at midnight; a line without day and time says nothing.
        None if day != Day::Next && !matches!(rest.first(), Some(Token::Number(_))) => (NaiveTime::MIN, rest),
        None => return None,
    };
    let zone = match rest.first() {
        Some(Token::Aside(name)) => Some(Zone::named(name.trim())?),
        Some(Token::Word("UTC" | "GMT" | "Z")) => Some(Zone::UTC),
        _ => None,
    };
    Some(Clock { day, time, zone })
}

/// The date that the tokens begin with, where they do.
fn date<'t, 'a>(tokens: &'t [Token<'a>]) -> (Day, &'t [Token<'a>]) {
    let (weekday, rest) = match tokens {
        [Token::Word(word), rest @ ..] if weekday(word).is_some() => (weekday(word), rest),
        _ => (None, tokens),
    };
    let past_comma = skip(rest, |token| matches!(token, Token::Mark(',' | '.')));
    let (month, day, rest) = match past_comma {
        [Token::Word(name), Token::Number(day), rest @ ..] if month(name).is_some() => (month(name), day, rest),
        [Token::Number(day), Token::Word(name), rest @ ..] if month(name).is_some() => (month(name), day, rest),
        _ => return (weekday.map_or(Day::Next, Day::Weekday), rest),
    };
    let (Some(month), Ok(day)) = (month, day.parse::<u32>()) else { return (Day::Next, tokens) };
    let rest = skip(rest, |token| matches!(token, Token::Word("st" | "nd" | "rd" | "th")));
    let after_comma = skip(rest, |token| matches!(token, Token::Mark(',')));
    match after_comma {
        [Token::Number(year), rest @ ..] if year.len() == 4 && !matches!(rest.first(), Some(Token::Mark(':'))) => {
            (Day::Date { year: year.parse().ok(), month, day }, rest)
        }
        _ => (Day::Date { year: None, month, day }, rest),
    }
}

/// `12:10pm`, `9 AM`, `17:05`, `17:05:30`. An hour alone is none.
fn time_of_day<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(NaiveTime, &'t [Token<'a>])> {
    let (hour, minute, second, rest) = match tokens {
        [Token::Number(h), Token::Mark(':'), Token::Number(m), Token::Mark(':'), Token::Number(s), rest @ ..] => {
            (h, Some(m), Some(s), rest)
        }
        [Token::Number(h), Token::Mark(':'), Token::Number(m), rest @ ..] => (h, Some(m), None, rest),
        [Token::Number(h), rest @ ..] => (h, None, None, rest),
        _ => return None,
    };
    let part = |digits: Option<&&str>| digits.map_or(Some(0), |digits| digits.parse::<u32>().ok());
    let (hour, minute, second) = (hour.parse::<u32>().ok()?, part(minute)?, part(second)?);
    let half = match rest.first() {
        Some(Token::Word(word)) if is(word, "am") => Some(0),
        Some(Token::Word(word)) if is(word, "pm") => Some(12),
        _ => None,
    };
    match half {
        Some(half) if (1..=12).contains(&hour) => {
            Some((NaiveTime::from_hms_opt(hour % 12 + half, minute, second)?, &rest[1..]))
        }
        None if tokens.get(1) == Some(&Token::Mark(':')) => {
            Some((NaiveTime::from_hms_opt(hour, minute, second)?, rest))
        }
        _ => None,
    }
}

fn skip<'t, 'a>(tokens: &'t [Token<'a>], mut unwanted: impl FnMut(&Token<'a>) -> bool) -> &'t [Token<'a>] {
    &tokens[tokens.iter().take_while(|token| unwanted(token)).count()..]
}

fn weekday(word: &str) -> Option<Weekday> {
    (word.len() >= 3).then(|| word.parse().ok()).flatten()
}

fn month(word: &str) -> Option<u32> {
    (word.len() >= 3).then(|| word.parse::<chrono::Month>().ok()).flatten().map(|month| month.number_from_month())
}

fn is(word: &str, known: &str) -> bool {
    word.eq_ignore_ascii_case(known)
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = token(rest, first);
        tokens.extend(token);
        rest = &rest[length..];
    }
    tokens
}

/// The token that a text begins with, and its length in bytes; none for a space.
fn token(text: &str, first: char) -> (Option<Token<'_>>, usize) {
    let run = |within: fn(char) -> bool| text.find(|c| !within(c)).unwrap_or(text.len());
    if first.is_ascii_digit() {
        let stamp = run(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+'));
        let stamp = text[..stamp].trim_end_matches(['.', ':', '-']);
        if stamp.len() > 16
            && let Ok(time) = DateTime::parse_from_rfc3339(&stamp.to_ascii_uppercase())
        {
            return (Some(Token::Instant(time.to_utc())), stamp.len());
        }
        let length = run(|c| c.is_ascii_digit());
        return (Some(Token::Number(&text[..length])), length);
    }
    if first.is_alphabetic() {
        let length = run(|c| c.is_alphabetic() || c == '_');
        return (Some(Token::Word(&text[..length])), length);
    }
    if first == '('
        && let Some(end) = text.find(')').filter(|end| *end <= 64)
    {
        return (Some(Token::Aside(&text[1..end])), end + 1);
    }
    let token = (!first.is_whitespace() && !first.is_control()).then_some(Token::Mark(first));
    (token, first.len_utf8())
}
