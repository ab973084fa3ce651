//! Every row by its own line, every collected line by its class, and words that are nobody's refusal.

use super::*;

/// A collected line as both places would read it.
fn class_of(text: &str) -> Option<RefusalClass> {
    class_of_start(text).or_else(|| of_record(Whose::Any, text).map(|(class, _)| class))
}

fn labelled(label: &str) -> Option<RefusalClass> {
    match label.split([' ', ',']).next() {
        Some("limit") => Some(RefusalClass::Limit),
        Some("overloaded") => Some(RefusalClass::Overloaded),
        Some("auth") => Some(RefusalClass::Auth),
        Some("billing") => Some(RefusalClass::Billing),
        Some("configuration") => Some(RefusalClass::Configuration),
        Some("model" | "capability") => Some(RefusalClass::Model),
        Some("context") => Some(RefusalClass::Context),
        Some("network") => Some(RefusalClass::Network),
        Some("own" | "crash" | "machine" | "note") => None,
        other => panic!("an unknown label {other:?}"),
    }
}

/// The rows of a table of collected lines, as text, second and third cell.
fn collected(table: &'static str) -> impl Iterator<Item = [&'static str; 3]> {
    table.lines().filter(|row| !row.starts_with('#') && !row.is_empty()).map(|row| {
        let cells: Vec<&str> = row.split('\t').collect();
        <[&str; 3]>::try_from(cells).unwrap_or_else(|cells| panic!("{cells:?}"))
    })
}

#[test]
fn every_row_is_met_by_its_own_line() {
    let mut lines = std::collections::BTreeSet::new();
    for row in rows() {
        assert!(!row.source.is_empty(), "{}", row.line);
        assert_eq!(row.words, folded(row.words), "words are folded");
        match row.place {
            Place::Record => {
                assert_eq!(of_record(row.whose, row.line), Some((row.class, row.scope)), "{}", row.line);
                assert!(folded(row.line).contains(row.words), "{}", row.line);
                assert!(lines.insert((row.whose as u8, row.words)), "twice: {}", row.words);
            }
            Place::Start => {
                assert_eq!(class_of_start(row.line), Some(row.class), "{}", row.line);
                assert!(folded(row.line).starts_with(row.words), "{}", row.line);
            }
        }
    }
}

#[test]
fn lines_from_the_first_collection_have_their_class() {
    let mut seen = 0;
    for [text, label, _] in collected(include_str!("../../../tests/fixtures/agent-output/refusal-lines.tsv")) {
        assert_eq!(class_of(text), labelled(label), "{text}");
        seen += 1;
    }
    assert!(seen >= 38, "only {seen} lines");
}

#[test]
fn lines_from_binaries_documentation_and_issues_have_their_class_and_scope() {
    let mut seen = 0;
    for [text, label, source] in
        collected(include_str!("../../../tests/fixtures/agent-output/refusal-lines-collected.tsv"))
    {
        assert!(!source.is_empty(), "{text}");
        let whose = match source {
            source if source.starts_with("claude") || source.starts_with("anthropics/") => Whose::Claude,
            source if source.starts_with("codex") || source.starts_with("openai/") => Whose::Codex,
            source if source.starts_with("google-gemini/") => Whose::Gemini,
            _ => Whose::Any,
        };
        let found = of_record(whose, text);
        assert_eq!(found.map(|(class, _)| class), labelled(label), "{text}");
        let one_model = found.is_some_and(|(_, scope)| scope == RefusalScope::Model);
        assert_eq!(one_model, label.contains("one model"), "{text}");
        seen += 1;
    }
    assert!(seen >= 40, "only {seen} lines");
}

#[test]
fn what_is_the_same_words_at_two_providers_is_told_by_whose_they_are() {
    let text = "You exceeded your current quota, please check your plan and billing details.";
    let class = |whose| of_record(whose, text).map(|(class, _)| class);
    assert_eq!(class(Whose::Codex), Some(RefusalClass::Billing));
    assert_eq!(class(Whose::Gemini), Some(RefusalClass::Limit));
}

#[test]
fn ordinary_words_are_no_refusal() {
    for text in [
        "I fixed the rate limiter",
        "error 42",
        "(2026)",
        "Line 401 is wrong",
        "exit code 429",
        "the connection pool is reset between tests",
        "added a limit to the upload size",
        "",
    ] {
        for whose in [Whose::Any, Whose::Claude, Whose::Codex, Whose::Gemini] {
            assert_eq!(of_record(whose, text), None, "{text}");
        }
    }
    assert_eq!(class_of_start("n.exports=\"error: unknown option\""), None);
}
