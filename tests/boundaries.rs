//! The layers are mechanical: what a layer may use is written here, and its source is read.
//!
//! `cli` → { `viewer`, `tick` } → { `files`, `runs`, `families`, `git`, `timers` } → `core`. Clippy's
//! `disallowed-methods` guard the calls (see `clippy.toml`); this guards the imports.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The lines of a source file that are code of the product: no comments, nothing behind `#[cfg(test)]`.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("source");
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        if !code.trim().is_empty() {
            lines.push((number, code.to_owned()));
        }
    }
    lines
}

fn offences(layer: &str, forbidden: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(layer);
    let mut found = Vec::new();
    for path in sources(&folder) {
        if path.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in code(&path) {
            for word in forbidden {
                if line.contains(word) {
                    found.push(format!("{}:{number}: {word}", path.display()));
                }
            }
        }
    }
    found
}

#[test]
fn each_layer_uses_only_what_stands_below_it() {
    let rules: [(&str, &[&str]); 9] = [
        (
            "core",
            &[
                "crate::files",
                "crate::runs",
                "crate::families",
                "crate::git",
                "crate::timers",
                "crate::tick",
                "crate::cli",
                "std::fs",
                "std::io",
                "std::process",
                "std::env",
                "std::net",
                "std::thread",
                "std::os",
                "nix::",
                "SystemTime",
                "time::Instant",
                "Utc::now",
                "chrono::Local",
                "tracing::",
                "rand::",
            ],
        ),
        (
            "report",
            &[
                "crate::files",
                "crate::runs",
                "crate::families",
                "crate::git",
                "crate::tick",
                "crate::cli",
                "std::fs",
                "std::io",
                "std::process",
                "std::env",
                "Utc::now",
                "chrono::Local",
            ],
        ),
        (
            "families",
            &[
                "crate::files",
                "crate::runs",
                "crate::git",
                "crate::timers",
                "crate::tick",
                "crate::cli",
                "std::fs",
                "std::process",
                "std::env",
                "std::net",
            ],
        ),
        ("git", &["crate::files", "crate::runs", "crate::families", "crate::timers", "crate::tick", "crate::cli"]),
        (
            "files",
            &[
                "crate::runs",
                "crate::families",
                "crate::git",
                "crate::timers",
                "crate::tick",
                "crate::cli",
                "process::Command",
                "Command::new",
            ],
        ),
        (
            "viewer",
            &[
                "crate::files",
                "crate::runs",
                "crate::families",
                "crate::git",
                "crate::timers",
                "crate::tick",
                "crate::cli",
                "std::fs",
            ],
        ),
        ("timers", &["crate::runs", "crate::families", "crate::git", "crate::tick", "crate::cli", "println!"]),
        ("runs", &["crate::families", "crate::git", "crate::timers", "crate::tick", "crate::cli"]),
        ("tick", &["crate::cli", "std::process", "println!"]),
    ];
    let found: Vec<String> = rules.iter().flat_map(|(layer, forbidden)| offences(layer, forbidden)).collect();
    assert!(found.is_empty(), "across a boundary:\n{}", found.join("\n"));
}

#[test]
fn the_check_bites() {
    // The cli layer does use what is forbidden to the core; were nothing found there, the check would be blind.
    assert!(!offences("cli", &["crate::tick", "println!"]).is_empty());
}

#[test]
fn no_file_outgrows_its_subject() {
    const MOST: usize = 800;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let long: Vec<String> = sources(&folder)
        .into_iter()
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).expect("source").lines().count();
            (lines > MOST).then(|| format!("{} has {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "two subjects in one file? {long:?}");
}
