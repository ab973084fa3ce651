use proptest::prelude::*;

use super::*;

const TOP: &str = "/w/repo.autometta/01-a.1.verifier";

fn cited(text: &str) -> Vec<(String, u64, u64)> {
    citations(text, TOP).into_iter().map(|one| (one.path, one.first, one.last)).collect()
}

fn sure(text: &str) -> Vec<String> {
    let sure = |one: &Citation| one.certainty == Certainty::Sure;
    citations(text, TOP).into_iter().filter(sure).map(|one| one.path).collect()
}

#[test]
fn places_are_read_in_the_forms_that_people_write() {
    for (text, path, first, last) in [
        ("src/a.rs:3", "src/a.rs", 3, 3),
        ("see src/a.rs:3.", "src/a.rs", 3, 3),
        ("(src/a.rs:3-9)", "src/a.rs", 3, 9),
        ("src/a.rs:3–9 shows it", "src/a.rs", 3, 9),
        ("src/a.rs:3:14: warning", "src/a.rs", 3, 3),
        ("`src/a.rs:3`", "src/a.rs", 3, 3),
        ("`src/a.rs`:3", "src/a.rs", 3, 3),
        ("`src/a.rs:3 fn greet()`", "src/a.rs", 3, 3),
        ("a.rs line 3", "a.rs", 3, 3),
        ("a.rs, lines 3-9", "a.rs", 3, 9),
        ("`a.rs` (lines 3 to 9)", "a.rs", 3, 9),
        ("a.rs: line 3", "a.rs", 3, 3),
        ("a.rs at line 3", "a.rs", 3, 3),
        ("Line 3 of `src/a.rs` prints it", "src/a.rs", 3, 3),
        ("lines 3-9 in src/a.rs.", "src/a.rs", 3, 9),
        ("src/a.rs#L3-L9", "src/a.rs", 3, 9),
        ("./src/a.rs:3", "src/a.rs", 3, 3),
        ("/w/repo.autometta/01-a.1.verifier/src/a.rs:3", "src/a.rs", 3, 3),
        ("[src/a.rs:3]", "src/a.rs", 3, 3),
        ("Makefile:3", "Makefile", 3, 3),
        ("`my notes.txt:3`", "my notes.txt", 3, 3),
        ("app/[id]/page.tsx:3", "app/[id]/page.tsx", 3, 3),
        ("größe/maß.rs:3", "größe/maß.rs", 3, 3),
        ("src/a.rs:0", "src/a.rs", 0, 0),
        ("src/a.rs:99999999999999999999999", "src/a.rs", u64::MAX, u64::MAX),
    ] {
        assert_eq!(cited(text), [(path.to_owned(), first, last)], "{text}");
    }
    assert_eq!(cited("src/a.rs:3 and b.rs:7").len(), 2);
}

#[test]
fn what_only_looks_like_a_place_is_no_claim() {
    for text in [
        "",
        "it works",
        "http://localhost:8080/x answered",
        "/usr/lib/x.so:3",
        "~/notes.txt:3",
        "src/a.rs is fine",
        "src/a.rs:12ms",
        "v1.2.3 came out at 12:30",
        "localhost:3000 answered, example.com:443 as well",
        "node:internal/modules/cjs/loader:1080",
        "`cargo test` printed `panicked at src/gone.rs:3:5`",
        "`curl x.yz:80/a` printed OK",
        "exit code:0",
    ] {
        assert_eq!(sure(text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(sure("src/gone.rs:3"), ["src/gone.rs"]);
    assert_eq!(sure("`src/gone.rs:3 fn x()` holds"), ["src/gone.rs"]);
}

#[test]
fn a_quoted_command_is_told_from_a_quoted_name() {
    for text in [
        "`cargo test greet` printed ok",
        "command `true` exited 0",
        "`make` passes",
        "```\n$ sh a.sh\nHello\n```",
        "$ sh a.sh World\nHello, World!",
        "ran `[ -s a.txt ]`",
        "`./run-tests` exits 0",
    ] {
        assert!(quotes_a_command(text, TOP), "{text}");
    }
    for text in [
        "I looked and it is fine",
        "cargo test passes",
        "`greet` is there",
        "`src/a.rs:3 fn greet()`",
        "``",
        "` `",
        "`x",
    ] {
        assert!(!quotes_a_command(text, TOP), "{text}");
    }
}

fn verdict(judgement: Judgement, evidence: &str) -> Verdict {
    Verdict {
        stage_id: "01-a".parse().expect("stage"),
        overall: judgement,
        headline: "h".to_owned(),
        criteria: vec![CriterionVerdict {
            id: 1,
            name: "n".to_owned(),
            verdict: judgement,
            evidence: evidence.to_owned(),
        }],
        additional_findings: String::new(),
        scores: None,
    }
}

fn found(judgement: Judgement, evidence: &str) -> String {
    let lines = |path: &str| match path {
        "a.rs" => FileLines { candidate: Some(3), base: Some(9) },
        "new.rs" => FileLines { candidate: Some(2), base: None },
        "empty.rs" => FileLines { candidate: Some(0), base: None },
        "deleted.rs" => FileLines { candidate: None, base: Some(5) },
        _ => FileLines::default(),
    };
    faults(&verdict(judgement, evidence), TOP, lines).to_string()
}

#[test]
fn evidence_that_was_made_up_makes_a_verdict_unusable() {
    use Judgement::{Blocked, Fail, Pass};
    for (judgement, evidence, expected) in [
        (Pass, "a.rs:3", ""),
        (Pass, "new.rs:1-2", ""),
        (Pass, "`cargo test` printed ok", ""),
        (Pass, "new.rs:1; deleted.rs:4 is gone", ""),
        (Pass, "looks good to me", "names no `file:line`"),
        (Pass, "a.rs:5", "names no `file:line`"),
        (Pass, "deleted.rs:4", "names no `file:line`"),
        (Pass, "new.rs:3", "the candidate's new.rs has 2 line(s)"),
        (Pass, "a.rs:10", "the candidate's a.rs has 3 line(s)"),
        (Pass, "a.rs:0", "the candidate's a.rs has 3 line(s)"),
        (Pass, "new.rs:2-1", "has 2 line(s)"),
        (Pass, "empty.rs:1", "has 0 line(s)"),
        (Pass, "`cargo test` passed; src/no.rs:1", "no such file"),
        (Fail, "it prints nothing", ""),
        (Fail, "deleted.rs:4 was deleted", ""),
        (Fail, "src/no.rs:1 is wrong", "no such file"),
        (Blocked, "there is no browser here", ""),
        (Blocked, "a.rs:1", "does not say what was missing"),
        (Blocked, "n/a", "does not say what was missing"),
    ] {
        let said = found(judgement, evidence);
        assert_eq!(said.is_empty(), expected.is_empty(), "{judgement} {evidence}: {said}");
        assert!(said.contains(expected), "{judgement} {evidence}: {said}");
    }
}

fn path() -> impl Strategy<Value = String> {
    ("[a-z][a-z0-9_-]{0,8}", "[a-z][a-z0-9_]{0,8}", "(rs|py|ts|md|toml)").prop_map(|(a, b, c)| format!("{a}/{b}.{c}"))
}

proptest! {
    #[test]
    fn every_form_of_a_place_is_found_whatever_stands_around_it(
        path in path(), first in 1_u64..5000, more in 1_u64..50, form in 0_usize..9, before in "[A-Za-z ]{0,12}", after in "( [A-Za-z ]{0,12})?",
    ) {
        let last = first + more;
        let (text, last) = match form {
            0 => (format!("{path}:{first}"), first),
            1 => (format!("{path}:{first}-{last}"), last),
            2 => (format!("`{path}:{first}`"), first),
            3 => (format!("`{path}` line {first}"), first),
            4 => (format!("{path} lines {first}-{last}"), last),
            5 => (format!("{path} (lines {first} to {last})"), last),
            6 => (format!("{path}#L{first}-L{last}"), last),
            7 => (format!("{TOP}/{path}:{first}"), first),
            _ => (format!("line {first} of {path}"), first),
        };
        let text = format!("{before} ({text}){after}");
        prop_assert!(cited(&text).contains(&(path, first, last)), "{text}: {:?}", cited(&text));
    }

    #[test]
    fn no_text_breaks_the_reader(text in any::<String>(), ticks in "[`a-z:0-9 ./$\\n]{0,60}") {
        for text in [text, ticks] {
            for citation in citations(&text, TOP) {
                prop_assert!(!citation.path.is_empty() && !citation.path.starts_with('/'));
            }
            let _ = quotes_a_command(&text, TOP);
        }
    }
}
