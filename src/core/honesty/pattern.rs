//! Patterns of the tables as regular expressions that are cheap to build.

use regex::RegexSet;
use regex::bytes::{Regex, RegexBuilder};

/// What the tables write, and what is built. The classes of Unicode for words and spaces take longer to build than most diffs
/// to read. No pattern asks which letter stands outside of ASCII, so that each of its bytes may be one; the spaces there are
/// few, and spelled out.
const CHEAPER: [(&str, &str); 2] = [
    (r"\w", r"[0-9A-Za-z_\x80-\xFF]"),
    (r"\s", r"(?:[\t\n\v\f\r ]|\xC2[\x85\xA0]|\xE1\x9A\x80|\xE2\x80[\x80-\x8A\xA8\xA9\xAF]|\xE2\x81\x9F|\xE3\x80\x80)"),
];

fn cheaper(text: &str) -> String {
    CHEAPER.iter().fold(text.to_owned(), |text, (dear, cheap)| text.replace(dear, cheap))
}

/// A pattern of a table, over the bytes of a line; none where it is no regular expression.
pub(super) fn pattern_of(text: &str) -> Option<Regex> {
    // Letters have other cases outside of ASCII, which only Unicode's tables know.
    if text.contains("(?i)") {
        return Regex::new(&over_text(text)).ok();
    }
    RegexBuilder::new(&cheaper(text)).unicode(false).build().ok()
}

/// A pattern over text, for whoever cuts what it finds out of a text; none where it is no regular expression.
pub(super) fn text_pattern_of(text: &str) -> Option<regex::Regex> {
    regex::Regex::new(&over_text(text)).ok()
}

/// All of them at once, over text; none where one is no regular expression.
pub(super) fn patterns_of(texts: impl Iterator<Item = &'static str>) -> Option<RegexSet> {
    RegexSet::new(texts.map(over_text)).ok()
}

/// A pattern whose letters outside of ASCII are whole, and whose boundaries are those of ASCII.
fn over_text(text: &str) -> String {
    let classes = [(r"\w", r"[0-9A-Za-z_\x{80}-\x{10FFFF}]"), (r"\d", "[0-9]"), (r"\b", r"(?-u:\b)")];
    classes.iter().fold(text.to_owned(), |text, (dear, cheap)| text.replace(dear, cheap))
}

#[cfg(test)]
mod tests {
    use super::super::{output, rules, secrets};
    use super::*;

    #[test]
    fn every_pattern_of_the_tables_can_be_built() {
        let rows = rules::ROWS.iter().map(|row| row.pattern).chain(secrets::ROWS.iter().map(|row| row.pattern));
        for pattern in rows.chain(output::ROWS.iter().map(|row| row.pattern)) {
            assert!(pattern_of(pattern).is_some() && text_pattern_of(pattern).is_some(), "{pattern}");
            let class = text_pattern_of(r"\[[^\]]*\\s").expect("a pattern");
            let without_escaped = pattern.replace(r"\[", "").replace(r"\]", "");
            assert!(!class.is_match(&without_escaped), "a class cannot hold what a space is made of: {pattern}");
            assert!(!pattern.contains(r"\\"), "a backslash before a letter would be taken for a class: {pattern}");
        }
    }

    #[test]
    fn letters_outside_of_ascii_are_letters() {
        let pattern = pattern_of(r"\bdef test\w*\(").expect("a pattern");
        assert!(pattern.is_match("def test_größe(self):".as_bytes()));
        assert!(!pattern.is_match(b"undef test()"));
    }

    #[test]
    fn spaces_outside_of_ascii_are_spaces() {
        for space in [" ", "\t", "\u{a0}", "\u{2003}", "\u{3000}", ""] {
            let pattern = pattern_of(r"\bxit\s*\(").expect("a pattern");
            assert!(pattern.is_match(format!("xit{space}('greets')").as_bytes()), "{space:?}");
        }
        assert!(!pattern_of(r"^\s*x").expect("a pattern").is_match("éx".as_bytes()), "a letter is none");
    }
}
