//! Patterns of the tables as regular expressions that are cheap to build.

use regex::{Regex, RegexSet};

/// What the tables write, and what is built. The classes of Unicode for words and digits, and the boundaries between
/// them, take longer to build than most diffs to read; no pattern asks which letter stands outside of ASCII, so that any
/// may be one.
const CHEAPER: [(&str, &str); 3] = [(r"\w", r"[0-9A-Za-z_\x{80}-\x{10FFFF}]"), (r"\d", "[0-9]"), (r"\b", r"(?-u:\b)")];

fn cheaper(text: &str) -> String {
    CHEAPER.iter().fold(text.to_owned(), |text, (dear, cheap)| text.replace(dear, cheap))
}

/// A pattern of a table; none where it is no regular expression.
pub(super) fn pattern_of(text: &str) -> Option<Regex> {
    Regex::new(&cheaper(text)).ok()
}

/// All of them at once; none where one is no regular expression.
pub(super) fn patterns_of(texts: impl Iterator<Item = &'static str>) -> Option<RegexSet> {
    RegexSet::new(texts.map(cheaper)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{output, rules, secrets};
    use super::*;

    #[test]
    fn every_pattern_of_the_tables_can_be_built() {
        let rows = rules::ROWS.iter().map(|row| row.pattern).chain(secrets::ROWS.iter().map(|row| row.pattern));
        for pattern in rows.chain(output::ROWS.iter().map(|row| row.pattern)) {
            assert!(pattern_of(pattern).is_some(), "{pattern}");
            assert!(!pattern.contains(r"\\"), "a backslash before a letter would be taken for a class: {pattern}");
        }
    }

    #[test]
    fn letters_outside_of_ascii_are_letters() {
        let pattern = pattern_of(r"\bdef test\w*\(").expect("a pattern");
        assert!(pattern.is_match("def test_größe(self):"));
        assert!(!pattern.is_match("undef test()"));
    }
}
