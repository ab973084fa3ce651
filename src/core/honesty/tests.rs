//! Every row of every table, and diffs that try to hide something.

use super::rules::{ROWS, When, language};
use super::*;
use regex::Regex;

fn file(path: &str, removed: &[&str], added: &[&str]) -> FilePatch {
    let lines = |texts: &[&str]| {
        (1..).zip(texts).map(|(number, text)| Line { number, text: (*text).to_owned() }).collect::<Vec<_>>()
    };
    FilePatch { path: path.to_owned(), removed: lines(removed), added: lines(added), ..FilePatch::default() }
}

fn rules_of(files: &[FilePatch]) -> Vec<Rule> {
    scan(files, Gates { commands: &[] }).flags.iter().map(|flag| flag.rule).collect()
}

/// A file name for each language.
fn name(of: rules::Language) -> &'static str {
    use rules::Language as L;
    match of {
        L::Rust => "src/a.rs",
        L::Python => "a.py",
        L::JavaScript => "a.test.ts",
        L::Go => "a.go",
        L::Java => "A.java",
        L::Ruby => "a.rb",
        L::Shell => "a.sh",
        L::C => "a.cpp",
        L::Build => "Makefile",
        L::Config => "setup.cfg",
    }
}

#[test]
fn every_row_finds_its_line_and_passes_over_the_other() {
    for row in ROWS {
        let pattern = Regex::new(row.pattern).expect(row.pattern);
        assert!(pattern.is_match(row.finds), "{:?} does not find {:?}", row.rule, row.finds);
        assert!(!pattern.is_match(row.passes), "{:?} finds {:?}", row.rule, row.passes);
        for of in row.languages {
            let path = name(*of);
            assert_eq!(language(path), Some(*of), "{path}");
            if row.rule == Rule::HardCodedAnswer && rules::is_test_path(path) {
                continue;
            }
            let (gone, new): (&[&str], Vec<String>) = match row.when {
                When::Added => (&[], vec![row.finds.to_owned()]),
                When::Fewer => (&[row.finds], Vec::new()),
                When::NumberChanged | When::Lowered => {
                    (&[row.finds], vec![row.finds.replace("4.0", "3.0").replace("90", "50")])
                }
            };
            let new: Vec<&str> = new.iter().map(String::as_str).collect();
            assert!(rules_of(&[file(path, gone, &new)]).contains(&row.rule), "{:?} in {path}", row.rule);
            let unchanged: &[&str] = &[row.finds];
            assert!(!rules_of(&[file(path, unchanged, unchanged)]).contains(&row.rule), "{:?} moved", row.rule);
            let other: &[&str] = &[row.passes];
            assert!(!rules_of(&[file(path, &[], other)]).contains(&row.rule), "{:?} for {:?}", row.rule, row.passes);
        }
    }
}

#[test]
fn every_language_has_its_own_rows() {
    use rules::Language as L;
    for of in [L::Rust, L::Python, L::JavaScript, L::Go, L::Java, L::Ruby, L::Shell, L::C] {
        for rule in [Rule::TestSkipped, Rule::TestsRemoved, Rule::AssertionsRemoved, Rule::LintSuppressed] {
            assert!(ROWS.iter().any(|row| row.rule == rule && row.languages == [of]), "{of:?} {rule:?}");
        }
    }
}

#[test]
fn numbers_count_only_in_the_direction_that_matters() {
    assert_eq!(rules_of(&[file("a.cfg", &["fail_under = 90"], &["fail_under = 80"])]), [Rule::ThresholdLowered]);
    assert_eq!(rules_of(&[file("a.cfg", &["fail_under = 90"], &["fail_under = 95"])]), []);
    assert_eq!(rules_of(&[file("a.cfg", &["fail_under = 90"], &[])]), [Rule::ThresholdLowered]);
    assert_eq!(
        rules_of(&[file("a.py", &["  x = approx(1, abs=0.1)"], &["  x = approx(1, abs=0.5)"])]),
        [Rule::ToleranceChanged]
    );
}

#[test]
fn whole_files_are_flagged_by_their_names() {
    let deleted = |path: &str| FilePatch { is_deleted: true, ..file(path, &[], &[]) };
    for (patch, rule) in [
        (file(".github/workflows/ci.yml", &[], &["x"]), Rule::CiChanged),
        (file(".GitLab-CI.yml", &[], &["x"]), Rule::CiChanged),
        (file("sub/.gitattributes", &[], &["x"]), Rule::GitFileChanged),
        (file(".husky/pre-commit", &[], &["x"]), Rule::GitFileChanged),
        (file("lefthook.yml", &[], &["x"]), Rule::GitFileChanged),
        (deleted("tests/greet.rs"), Rule::TestsRemoved),
        (FilePatch { is_binary: true, ..file("a.png", &[], &[]) }, Rule::NotText),
    ] {
        assert_eq!(rules_of(std::slice::from_ref(&patch)), [rule], "{}", patch.path);
    }
    assert_eq!(rules_of(&[deleted("src/greet.rs"), file("docs/ci.md", &[], &["x"])]), []);
}

#[test]
fn a_gate_names_a_file_and_not_a_part_of_a_word() {
    for (command, path, named) in [
        ("sh check.sh", "check.sh", true),
        ("./check.sh --all", "check.sh", true),
        ("sh ./ci/check.sh; true", "ci/check.sh", true),
        ("sh ci/check.sh", "check.sh", false),
        ("sh check.sh2", "check.sh", false),
        ("cargo test greet", "greet", true),
        ("cargo test greeting", "greet", false),
        ("test -s a.txt", "a", false),
        ("see a.txt.", "a.txt", true),
    ] {
        let flags = scan(&[file(path, &[], &["x"])], Gates { commands: &[command.to_owned()] }).flags;
        assert_eq!(flags.iter().any(|flag| flag.rule == Rule::GateFileChanged), named, "{command}: {path}");
    }
}

#[test]
fn secrets_are_found_and_never_shown() {
    for row in secrets::ROWS {
        let line = format!("key: \"{}{}\"", row.finds.0, row.finds.1);
        assert_eq!(secrets::find(&line), Some(row.name), "{line}");
        assert_eq!(secrets::find(row.passes), None, "{}", row.passes);
        let flags = Findings::secrets_in(&[file("a.txt", &[], &[&line])]);
        let text = flags[0].to_string();
        assert!(text.contains("[redacted]") && text.contains(row.name) && !text.contains(row.finds.1), "{text}");
        assert!(Findings::secrets_in(&[file("a.txt", &[&line], &[])]).is_empty(), "taking one away is right");
    }
    assert_eq!(secrets::find(concat!("AKIA", "IOSFODNN7EXAMPLE")), None, "the manual's own");
}

#[test]
fn a_hint_leaves_out_nothing_that_its_pattern_finds() {
    for row in secrets::ROWS {
        let pattern = pattern::text_pattern_of(row.pattern).expect(row.pattern);
        let found = format!("{}{}", row.finds.0, row.finds.1);
        // Other letters in the place of each, in both cases: whatever still matches still has a hint.
        for (at, letter) in found.char_indices() {
            for other in ["", "a", "A", "z", "_", "-", "0", " "]
                .map(str::to_owned)
                .into_iter()
                .chain([letter.to_ascii_uppercase().to_string(), letter.to_ascii_lowercase().to_string()])
            {
                let text = format!("{}{other}{}", &found[..at], &found[at + letter.len_utf8()..]);
                let has_hint = row.hints.iter().any(|hint| text.contains(hint));
                assert!(has_hint || !pattern.is_match(&text), "{}: {text}", row.name);
            }
        }
        for text in [found.to_ascii_uppercase(), found.to_ascii_lowercase()] {
            let has_hint = row.hints.iter().any(|hint| text.contains(hint));
            assert!(has_hint || !pattern.is_match(&text), "{}: {text}", row.name);
        }
    }
}

#[test]
fn a_line_is_an_error_by_its_shape() {
    for row in output::ROWS {
        assert!(Regex::new(row.pattern).is_ok(), "{}", row.pattern);
        assert!(output::is_error(row.finds), "{}", row.finds);
        assert!(!output::is_error(row.passes), "{}", row.passes);
    }
}

#[test]
fn a_diff_is_read_by_its_counts() {
    let text = "diff --git a/a b/a\nindex 1..2 100644\n--- a/a\n+++ b/a\n@@ -1,2 +1,3 @@ fn x\n-old\n--- a/fake\n+new\n\
                +++ b/fake\n+@@ -1 +1 @@\n@@ -9 +10 @@\n-gone\n\\ No newline at end of file\n+here\r\n\
                diff --git \"a/q\\303\\244\\t\\\"b\" \"b/q\\303\\244\\t\\\"b\"\ndeleted file mode 100644\n\
                --- \"a/q\"\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
                diff --git a/p b/p q b/p b/p q\nBinary files a/p b/p q and b/p b/p q differ\n";
    let files = parse(text);
    let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["a", "qä\t\"b", "p b/p q"]);
    let of = |lines: &[Line]| lines.iter().map(|line| format!("{} {}", line.number, line.text)).collect::<Vec<_>>();
    assert_eq!(of(&files[0].removed), ["1 old", "2 -- a/fake", "9 gone"]);
    assert_eq!(of(&files[0].added), ["1 new", "2 ++ b/fake", "3 @@ -1 +1 @@", "10 here"]);
    assert!(files[1].is_deleted && files[2].is_binary);
    assert_eq!(parse("nonsense\n@@ -1 +1 @@\n-x"), []);
}

#[test]
fn a_report_is_bounded() {
    let lines = vec!["set +e"; MAX_FLAGS + 7];
    let report = scan(&[file("a.sh", &[], &lines)], Gates { commands: &[] });
    assert_eq!((report.flags.len(), report.left_out), (MAX_FLAGS, 7));
}
