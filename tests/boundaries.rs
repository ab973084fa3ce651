//! The layers are mechanical: what a layer may use is written here, and its source is read.
//!
//! `cli` → { `viewer`, `sim` → `tick` } → { `files`, `runs`, `families`, `git`, `timers` } → `core`. Clippy's
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

/// What is simulated has nothing of this machine in it, and the same seed gives the same night.
const OUTSIDE_SIM: &[&str] = &[
    "crate::runs",
    "crate::families",
    "crate::git",
    "crate::timers",
    "crate::cli",
    "files::disk::Os",
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::thread",
    "std::time",
    "nix::",
    "HashMap",
    "HashSet",
    "Utc::now",
    "chrono::Local",
    "println!",
];

#[test]
fn each_layer_uses_only_what_stands_below_it() {
    let rules: [(&str, &[&str]); 10] = [
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
        ("tick", &["crate::cli", "crate::sim", "std::process", "println!"]),
        ("sim", OUTSIDE_SIM),
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

/// What changes something outside the process, as it is written in the source.
const EFFECTS: [&str; 40] = [
    "fs::write(",
    "fs::rename(",
    "fs::copy(",
    "fs::hard_link(",
    "fs::remove_",
    "fs::create_dir",
    "fs::set_permissions(",
    "symlink(",
    "DirBuilder::new()",
    "File::create",
    ".create(true)",
    "create_new(true)",
    ".write_all(",
    "writeln!(",
    ".set_len(",
    ".set_modified(",
    ".sync_all()",
    ".sync_data()",
    ".try_lock()",
    ".try_lock_shared()",
    ".lock_shared()",
    ".spawn()",
    ".status()",
    ".output()",
    ".exec()",
    "kill(",
    "killpg(",
    "setsid(",
    "mkfifo(",
    "renameat",
    "set_child_subreaper(",
    "disk.make(",
    "disk.make_folder(",
    "disk.open_to_write(",
    "disk.put(",
    "disk.rename(",
    "disk.remove(",
    "disk.sync(",
    "disk.sync_data(",
    "disk.sync_folder(",
];

/// How many lines above an effect its fault point may stand.
const NEAR: usize = 6;

/// Effects that pass no fault point, by file and by what their line holds, with the reason.
const WITHOUT_A_POINT: [(&str, &str, &str); 19] = [
    ("files/disk.rs", ".create(true)", "its callers pass the points"),
    ("files/disk.rs", "create_new(true)", "its callers pass the points"),
    ("files/disk.rs", ".sync_all()", "its callers pass the points"),
    ("files/disk.rs", ".sync_data()", "its callers pass the points"),
    ("files/disk.rs", "fs::rename(", "its callers pass the points"),
    ("files/disk.rs", "renameat2(", "its callers pass the points"),
    ("files/disk.rs", "fs::remove_file(", "its callers pass the points"),
    ("files/disk.rs", "DirBuilder::new()", "its callers pass the points"),
    ("files/atomic.rs", "kill(writer, None)", "a look: signal 0 is sent to nobody"),
    ("tick/carry.rs", "kill(", "a look: signal 0 is sent to nobody"),
    ("git/disk.rs", "kill(", "a look: signal 0 is sent to nobody"),
    ("git/loose.rs", "encoder.write_all(", "bytes in memory"),
    ("files/lock.rs", "try_lock_shared()", "a look, let go of at once"),
    ("runs/supervise.rs", "io::stderr()", "the supervisor's own log; nothing reads it back"),
    ("tick/landing.rs", "writeln!(message", "text in memory"),
    ("tick/grade.rs", "fs::create_dir(", "gradings are started by hand and keep no state of the night"),
    ("tick/grade.rs", "fs::remove_dir_all(", "gradings are started by hand and keep no state of the night"),
    ("tick/grade/past.rs", "fs::remove_dir(", "gradings are started by hand and keep no state of the night"),
    ("git/run.rs", "kill();", "calls the closure that passes the point"),
];

/// The names of the points in these layers, with where they stand.
fn points() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in sources(&folder) {
        if path.ends_with("src/fault.rs") {
            continue;
        }
        // Formatting may put the name on the line after the macro's.
        let text: Vec<String> = code(&path).into_iter().map(|(_, line)| line).collect();
        for part in text.join(" ").split("fault::").skip(1) {
            let Some(rest) = part.strip_prefix("point!(").or_else(|| part.strip_prefix("write!(")) else { continue };
            let name = rest.split('"').nth(1).expect("a point has a name").to_owned();
            found.push((name, path.display().to_string()));
        }
    }
    found
}

fn is_effect(line: &str) -> bool {
    let line = line.replace("is_symlink(", "");
    EFFECTS.iter().any(|effect| line.contains(effect))
}

/// Effects of the layers that carry a night out which no fault point stands before.
fn unguarded(used: &mut Vec<(&'static str, &'static str)>) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for layer in ["files", "runs", "git", "tick"] {
        for path in sources(&src.join(layer)) {
            if path.ends_with("tests.rs") {
                continue;
            }
            let name = path.strip_prefix(&src).expect("below src").display().to_string();
            let (lines, mut free) = (code(&path), Vec::new());
            for (at, (number, line)) in lines.iter().enumerate() {
                let line = line.trim();
                // Both `point!(` and `write!(`; several on a line stand before several effects.
                free.extend(std::iter::repeat_n(at, line.matches("fault::").count()));
                if line.starts_with("use ") || !is_effect(line) {
                    continue;
                }
                // Each point stands before one effect: the next one.
                if free.pop().is_some_and(|point| point + NEAR >= at) {
                    continue;
                }
                match WITHOUT_A_POINT.iter().find(|(file, part, _)| *file == name && line.contains(part)) {
                    Some((file, part, _)) => used.push((file, part)),
                    None => found.push(format!("{name}:{number}: {line}")),
                }
            }
        }
    }
    found
}

#[test]
fn a_fault_point_stands_before_every_effect() {
    let mut used = Vec::new();
    let found = unguarded(&mut used);
    assert!(
        found.is_empty(),
        "effects without `fault::point!` or `fault::write!` at most {NEAR} lines above:\n{}",
        found.join("\n")
    );
    let idle: Vec<_> = WITHOUT_A_POINT.iter().filter(|(file, part, _)| !used.contains(&(*file, *part))).collect();
    assert!(idle.is_empty(), "excused, and not there any more: {idle:#?}");
}

#[test]
fn a_fault_point_has_a_name_of_its_own() {
    let points = points();
    assert!(points.len() > 50, "only {} points were found", points.len());
    for (index, (name, file)) in points.iter().enumerate() {
        let other = points[..index].iter().find(|(earlier, _)| earlier == name);
        assert!(other.is_none(), "{file} and {} both have a point {name}", other.map_or("", |(_, file)| file));
    }
}
