//! Patterns of the tables as regular expressions that are cheap to build.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// What the tables write, and what is built. The classes of Unicode for words take longer to build than most diffs to read;
/// no pattern asks which letter stands outside of ASCII, so that each of its bytes may be one.
const LETTER: (&str, &str) = (r"\w", r"[0-9A-Za-z_\x80-\xFF]");

fn cheaper(text: &str) -> String {
    text.replace(LETTER.0, LETTER.1)
}

/// A pattern of a table, over the bytes of a line; none where it is no regular expression.
pub(super) fn pattern_of(text: &str) -> Option<Regex> {
    RegexBuilder::new(&cheaper(text)).unicode(false).build().ok()
}

/// A pattern over text, for whoever cuts what it finds out of a text; none where it is no regular expression.
pub(super) fn text_pattern_of(text: &str) -> Option<regex::Regex> {
    regex::Regex::new(&text.replace(r"\b", r"(?-u:\b)")).ok()
}

/// All of them at once; none where one is no regular expression.
pub(super) fn patterns_of(texts: impl Iterator<Item = &'static str>) -> Option<RegexSet> {
    RegexSetBuilder::new(texts.map(cheaper)).unicode(false).build().ok()
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
            assert!(!pattern.contains(r"\\"), "a backslash before a letter would be taken for a class: {pattern}");
        }
    }

    #[test]
    fn letters_outside_of_ascii_are_letters() {
        let pattern = pattern_of(r"\bdef test\w*\(").expect("a pattern");
        assert!(pattern.is_match("def test_größe(self):".as_bytes()));
        assert!(!pattern.is_match(b"undef test()"));
    }
}
