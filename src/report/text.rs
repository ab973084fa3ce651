//! Words and figures as the page shows them, and quotations that cannot do anything but be read.

use std::cell::Cell;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::core::night::{Excerpt, Zone};
use crate::core::quantity::{Seconds, Tokens};

/// How many bytes the quotations of one part of the page may still take.
#[derive(Debug)]
pub(super) struct Allowance(Cell<usize>);

impl Allowance {
    /// So many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Cell::new(bytes))
    }

    /// As much of a text as it allows: half of what is left, so that one long quotation leaves room for the others.
    fn take<'t>(&self, text: &'t str) -> &'t str {
        const ALWAYS: usize = 240;
        let left = self.0.get();
        let (taken, bytes) = fitting(text, (left / 2).max(ALWAYS.min(left)));
        self.0.set(left - bytes);
        taken
    }
}

/// The beginning of a text that takes at most so many bytes of the page, and how many it takes.
fn fitting(text: &str, most: usize) -> (&str, usize) {
    let mut bytes = 0;
    for (at, c) in text.char_indices() {
        let next = bytes + weight(c);
        if next > most {
            return (&text[..at], bytes);
        }
        bytes = next;
    }
    (text, bytes)
}

/// How many bytes of the page a character takes.
fn weight(c: char) -> usize {
    match c {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        '"' => "&quot;".len(),
        c if is_hidden(c) => 14,
        c => c.len_utf8(),
    }
}

/// Whether people would see something else than what is there: marks that turn the direction of the text, that have no
/// width, that end lines, or that move a terminal.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The finished page with every hidden character shown for what it is. The page's own text has none.
pub(super) fn visible(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    for c in page.chars() {
        match c {
            // The pictures of control characters stand in the same order as these.
            '\0'..='\u{1f}' if is_hidden(c) => text.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => text.push('␡'),
            c if is_hidden(c) => text.push_str(&format!("⟦U+{:04X}⟧", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// A text on one line, of at most so many bytes of the page.
pub(super) fn short(text: &str, most: usize) -> String {
    let text = text.trim();
    let line = text.lines().next().unwrap_or_default();
    let (fits, _) = fitting(line, most);
    if fits.len() == text.len() { text.to_owned() } else { format!("{fits}…") }
}

/// A quotation; a short one stands in the line, a longer one keeps its lines.
pub(super) fn quote(excerpt: &Excerpt, allowance: &Allowance) -> Markup {
    let text = allowance.take(&excerpt.text);
    let omitted = excerpt.omitted + excerpt.text[text.len()..].chars().count();
    html! {
        @if text.trim_end().contains('\n') {
            pre { (text) }
        } @else if !text.is_empty() {
            bdi.quote { (text) }
        }
        @if omitted > 0 { " " small.cut { "(" (count(omitted, "more character")) ")" } }
    }
}

/// A reason: its code, and what happened.
pub(super) fn why(code: &str, detail: &Excerpt, allowance: &Allowance) -> Markup {
    html! {
        div.why { code { (short(code, 80)) } " " (quote(detail, allowance)) }
    }
}

/// A sentence whose parts between backticks are commands.
pub(super) fn commands(sentence: &str) -> Markup {
    html! {
        @for (index, part) in sentence.split('`').enumerate() {
            @if index % 2 == 1 { (command(part)) } @else { (part) }
        }
    }
}

/// A command to be copied; it breaks between its words and not at the dashes of an option.
pub(super) fn command(words: &str) -> Markup {
    html! {
        code.command {
            @for (index, word) in words.split(' ').enumerate() { @if index > 0 { " " } span { (word) } }
        }
    }
}

/// Hours and minutes on the operator's clock, with the moment for machines.
pub(super) fn time(zone: &Zone, at: DateTime<Utc>) -> Markup {
    html! { time datetime=(machine(at)) { (zone.local(at).format("%H:%M").to_string()) } }
}

/// A moment as machines read it.
pub(super) fn machine(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The day of a moment on the operator's clock: `Sat 21 Nov 2026`.
pub(super) fn day(zone: &Zone, at: DateTime<Utc>) -> String {
    zone.local(at).format("%a %-d %b %Y").to_string()
}

/// A count with its word: `1 run`, `2 runs`.
pub(super) fn count(count: usize, word: &str) -> String {
    let number = crate::core::quantity::grouped(u64::try_from(count).unwrap_or(u64::MAX));
    if count == 1 { format!("{number} {word}") } else { format!("{number} {word}s") }
}

/// Tokens at a glance: `950`, `12k`, `3.1M`.
pub(super) fn tokens(tokens: Tokens) -> String {
    // One decimal below ten, none above.
    let rounded = |unit: u64| {
        let tenths = (tokens.0 + unit / 20) / (unit / 10);
        match tenths {
            100.. => ((tokens.0 + unit / 2) / unit).to_string(),
            _ if tenths.is_multiple_of(10) => (tenths / 10).to_string(),
            _ => format!("{}.{}", tenths / 10, tenths % 10),
        }
    };
    match tokens.0 {
        0..1_000 => tokens.0.to_string(),
        1_000..999_500 => format!("{}k", rounded(1_000)),
        _ => format!("{}M", rounded(1_000_000)),
    }
}

/// A length of time between two moments.
pub(super) fn between(from: DateTime<Utc>, until: DateTime<Utc>) -> Seconds {
    Seconds(u64::try_from(until.signed_duration_since(from).num_seconds()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_and_others_are_left_alone() {
        for (text, shown) in [
            ("plain\ttext\nübər 日本 ✓", "plain\ttext\nübər 日本 ✓"),
            ("a\u{202e}b", "a⟦U+202E⟧b"),
            ("\u{1b}[31m\0\r", "␛[31m␀␍"),
            ("\u{7f}\u{85}", "␡⟦U+0085⟧"),
            ("\u{200b}\u{feff}\u{e0041}", "⟦U+200B⟧⟦U+FEFF⟧⟦U+E0041⟧"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn the_weight_of_a_text_is_what_it_takes_at_most() {
        for text in ["plain", "<script>", "\"&\"", "\u{202e}\u{e0041}\0\u{9f}", "日本"] {
            let page = visible(&html! { (text) }.into_string());
            let weight: usize = text.chars().map(weight).sum();
            assert!(page.len() <= weight, "{page} takes {} and not {weight}", page.len());
        }
    }

    #[test]
    fn quotations_are_cut_at_their_allowance_and_say_so() {
        let allowance = Allowance::new(10);
        let all = Excerpt { text: "<<<<".to_owned(), omitted: 3 };
        let page = quote(&all, &allowance).into_string();
        assert!(page.contains("&lt;&lt;</bdi>") && page.contains("(5 more characters)"), "{page}");
        assert!(!quote(&all, &allowance).into_string().contains("bdi"), "nothing is left");
        assert_eq!(short("one\ntwo", 100), "one…");
        assert_eq!(short(" all \n", 100), "all");
        assert_eq!(short("<<", 4), "<…");
    }

    #[test]
    fn figures_read_well() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1k"),
            (1_250, "1.3k"),
            (9_949, "9.9k"),
            (12_345, "12k"),
            (999_499, "999k"),
            (999_500, "1M"),
            (3_140_000, "3.1M"),
            (20_000_000, "20M"),
        ] {
            assert_eq!(tokens(Tokens(number)), text);
        }
        assert_eq!((count(1, "run"), count(2_000, "run")), ("1 run".to_owned(), "2,000 runs".to_owned()));
    }
}
