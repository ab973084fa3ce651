//! The bugs of `tests/mutants` stay ones that `tests/mutants.sh` can try: each still applies, names a test that exists,
//! and stands in `docs/proof.md`.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "a test reads the source and fails loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One bug.
struct Mutant {
    name: String,
    /// The test program that must fail, and a part of the names of its tests that are run.
    target: String,
    filter: Option<String>,
    hunks: Vec<Hunk>,
}

/// One place that a bug changes: whole lines, with their newlines.
#[derive(Default)]
struct Hunk {
    path: String,
    /// How many lines there are of the old and of the new, as the hunk's own head says.
    counts: (usize, usize),
    old: String,
    new: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(path: &Path) -> Mutant {
    let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
    let text = read(path);
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{name}: no empty line behind its head"));
    let said = |key: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).filter(|said| !said.is_empty());
        line.unwrap_or_else(|| panic!("{name}: no line `{key}`")).to_owned()
    };
    said("Bug:");
    said("Says:");
    let command = said("Caught by:");
    let words: Vec<&str> = command.split_whitespace().collect();
    let ["cargo", "test", "--test", target, filter @ ..] = words.as_slice() else {
        panic!("{name}: `{command}` is not `cargo test --test NAME [PART]`");
    };
    assert!(filter.len() <= 1, "{name}: `{command}` names more than one part of a test's name");
    let (mut hunks, mut file) = (Vec::new(), String::new());
    for line in body.split_inclusive('\n') {
        if let Some(path) = line.strip_prefix("+++ b/") {
            path.trim_end().clone_into(&mut file);
        } else if line.starts_with("@@") {
            hunks.push(Hunk { path: file.clone(), counts: counts(line), ..Hunk::default() });
        } else if !line.starts_with("--- a/") {
            let hunk: &mut Hunk = hunks.last_mut().unwrap_or_else(|| panic!("{name}: {line:?} before any hunk"));
            let (kind, rest) = line.split_at(1);
            if kind != "+" {
                hunk.old.push_str(rest);
            }
            if kind != "-" {
                hunk.new.push_str(rest);
            }
            assert!([" ", "+", "-"].contains(&kind), "{name}: {line:?} is no line of a patch");
        }
    }
    let filter = filter.first().map(|part| (*part).to_owned());
    Mutant { name, target: (*target).to_owned(), filter, hunks }
}

/// The counts in `@@ -59,3 +59,4 @@`; one where none is given.
fn counts(head: &str) -> (usize, usize) {
    let count = |sign: char| {
        let place = head.split(' ').find_map(|word| word.strip_prefix(sign));
        let count = place.and_then(|place| place.split_once(',')).map_or("1", |(_, count)| count);
        count.parse().unwrap_or_else(|_| panic!("{head:?} is no head of a hunk"))
    };
    (count('-'), count('+'))
}

fn all() -> Vec<Mutant> {
    let folder = fs::read_dir(root().join("tests/mutants")).expect("tests/mutants");
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| parse(path)).collect()
}

/// The source of a test program, the files beside it included.
fn source_of(target: &str) -> String {
    fn add(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                add(&path, text);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                text.push_str(&read(&path));
            }
        }
    }
    let mut text = read(&root().join("tests").join(format!("{target}.rs")));
    add(&root().join("tests").join(target), &mut text);
    text
}

#[test]
fn every_bug_still_applies_in_one_place_of_the_product() {
    let mutants = all();
    assert!(mutants.len() >= 20, "{} bugs", mutants.len());
    for Mutant { name, hunks, .. } in &mutants {
        assert!(!hunks.is_empty(), "{name} changes nothing");
        for Hunk { path, counts, old, new } in hunks {
            // git refuses others.
            assert_eq!(*counts, (old.lines().count(), new.lines().count()), "{name}: the head of a hunk for {path}");
            assert!(path.starts_with("src/"), "{name}: {path} is no part of the product");
            assert_ne!(old, new, "{name}: a hunk for {path} that changes nothing");
            // As whole lines: the text before them ends where a line ends.
            let source = format!("\n{}", read(&root().join(path)));
            let places = source.matches(&format!("\n{old}")).count();
            assert_eq!(places, 1, "{name}: in {path} these lines stand {places} times; write the patch anew\n{old}");
        }
    }
}

#[test]
fn every_bug_names_a_test_that_exists() {
    for Mutant { name, target, filter, .. } in all() {
        let source = source_of(&target);
        let tests: Vec<&str> = source.split("#[test]").skip(1).filter_map(name_of).collect();
        let wanted = filter.as_deref().unwrap_or_default();
        assert!(tests.iter().any(|test| test.contains(wanted)), "{name}: no test of {target} is called {wanted}…");
    }
}

fn name_of(text: &str) -> Option<&str> {
    text.split_once("fn ")?.1.split('(').next()
}

#[test]
fn the_page_lists_every_bug_and_no_other() {
    let page = read(&root().join("docs/proof.md"));
    let section = page.split("\n## ").find(|section| section.starts_with("Mutants\n")).expect("a section `Mutants`");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> = rows.map(str::to_owned).collect();
    let known: BTreeSet<String> = all().into_iter().map(|mutant| mutant.name).collect();
    assert_eq!(listed, known);
}
