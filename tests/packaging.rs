//! What a package and its reader rely on: the version, the completions, the manual, the skills, and that every command
//! that a document names is one.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::night::{Night, text};

const EXE: &str = env!("CARGO_BIN_EXE_autometta");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands that the help of a command lists.
fn commands(night: &Night, of: &[&str]) -> Vec<String> {
    let help = night.ok(&[of, &["--help"]].concat());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Runs a script by bash, with the binary as `$EXE`.
fn bash(script: &str, arguments: &[&str]) -> Output {
    Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").expect("PATH"))
        .env("HOME", "/nonexistent")
        .env("EXE", EXE)
        .output()
        .expect("bash runs")
}

/// The build script as a program: cargo's own run of it is over, and these are other checkouts.
struct BuildScript {
    dir: tempfile::TempDir,
}

impl BuildScript {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let made = Command::new("rustc")
            .args(["--edition", "2024", "-o"])
            .arg(dir.path().join("build"))
            .arg(root().join("build.rs"))
            .output()
            .expect("rustc runs");
        assert!(made.status.success(), "{}", text(&made.stderr));
        Self { dir }
    }

    /// A fresh folder.
    fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).expect("folder");
        path.canonicalize().expect("path")
    }

    /// What it tells cargo about a crate in this folder: the version, and the paths to watch.
    fn tells(&self, folder: &Path, epoch: Option<&str>) -> (String, Vec<PathBuf>) {
        let mut command = Command::new(self.dir.path().join("build"));
        command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).env("CARGO_PKG_VERSION", "1.2.3");
        match epoch {
            Some(epoch) => command.env("SOURCE_DATE_EPOCH", epoch),
            None => command.env_remove("SOURCE_DATE_EPOCH"),
        };
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let values = |key: &str| -> Vec<String> {
            said.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect()
        };
        let version = values("cargo::rustc-env=AUTOMETTA_VERSION=").pop().expect("a version");
        let watched = values("cargo::rerun-if-changed=").into_iter().filter(|path| path != "build.rs");
        (version, watched.map(PathBuf::from).collect())
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@local"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_COMMITTER_DATE", "2026-02-28T23:30:00-05:00")
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn the_version_names_the_commit_where_there_is_one() {
    let said = Night::bare().ok(&["--version"]);
    let checkout = Command::new("git").arg("-C").arg(root()).args(["rev-parse", "--short=7", "HEAD"]).output();
    let commit = checkout.ok().filter(|output| output.status.success() && root().join(".git").exists());
    let version = concat!("autometta ", env!("CARGO_PKG_VERSION"));
    match commit {
        None => assert_eq!(said, format!("{version}\n")),
        Some(commit) => {
            let begins = format!("{version} ({} ", text(&commit.stdout).trim());
            let day = said.strip_prefix(&begins).and_then(|rest| rest.strip_suffix(")\n"));
            let day = day.unwrap_or_else(|| panic!("`{said}` should begin with `{begins}`"));
            assert!(day.len() == 10 && day.split('-').all(|part| part.parse::<u32>().is_ok()), "{said}");
        }
    }
}

#[test]
fn the_build_knows_its_own_checkout_and_no_other() {
    let script = BuildScript::new();
    let tarball = script.folder("tarball");
    assert_eq!(script.tells(&tarball, None), ("1.2.3".to_owned(), Vec::new()));
    let repo = script.folder("repo");
    git(&repo, &["init", "-q", "-b", "main"]);
    assert_eq!(script.tells(&repo, None).0, "1.2.3", "no commit yet");
    git(&repo, &["commit", "-q", "--allow-empty", "-m", "Begin"]);
    let commit = git(&repo, &["rev-parse", "--short=7", "HEAD"]);
    let (version, watched) = script.tells(&repo, None);
    assert_eq!(version, format!("1.2.3 ({commit} 2026-03-01)"), "the day in UTC");
    assert_eq!(watched, [repo.join(".git/HEAD"), repo.join(".git/refs/heads/main")]);
    let inside = script.folder("repo/vendor/autometta");
    assert_eq!(script.tells(&inside, None), ("1.2.3".to_owned(), Vec::new()), "somebody else's commit");
    for (epoch, day) in [("0", "1970-01-01"), ("951782400", "2000-02-29"), ("4107542399", "2100-02-28")] {
        assert_eq!(script.tells(&repo, Some(epoch)).0, format!("1.2.3 ({commit} {day})"));
    }
}

#[test]
fn whatever_moves_the_commit_is_watched_and_exists() {
    let script = BuildScript::new();
    let repo = script.folder("repo");
    git(&repo, &["init", "-q", "-b", "main"]);
    git(&repo, &["commit", "-q", "--allow-empty", "-m", "Begin"]);
    git(&repo, &["pack-refs", "--all"]);
    let (_, packed) = script.tells(&repo, None);
    // The next commit makes the branch's file, which is a change of its folder.
    assert_eq!(packed, ["HEAD", "packed-refs", "refs/heads"].map(|name| repo.join(".git").join(name)));
    let other = script.dir.path().canonicalize().expect("path").join("other");
    git(&repo, &["worktree", "add", "-q", "-b", "topic/one", &other.display().to_string()]);
    let (version, watched) = script.tells(&other, None);
    assert!(version.starts_with("1.2.3 ("), "{version}");
    assert!(watched.contains(&repo.join(".git/worktrees/other/HEAD")), "{watched:?}");
    assert!(watched.contains(&repo.join(".git/refs/heads/topic/one")), "{watched:?}");
    git(&other, &["checkout", "-q", "--detach"]);
    let (version, detached) = script.tells(&other, None);
    assert!(version.starts_with("1.2.3 ("), "{version}");
    for path in packed.iter().chain(&watched).chain(&detached) {
        assert!(path.exists(), "{}: cargo would run the build script every time", path.display());
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let checked = bash("set -e; script=$(\"$EXE\" completions bash); bash -n <<<\"$script\"", &[]);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", text(&checked.stderr));
    let complete = |words: &[&str]| {
        let script = r#"source <("$EXE" completions bash)
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _autometta autometta "${@: -1}" "${@: -2:1}"
            printf '%s\n' "${COMPREPLY[@]}""#;
        let output = bash(script, words);
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let all = complete(&["autometta", ""]);
    for command in commands(&Night::bare(), &[]) {
        assert!(all.contains(&command), "{command} is not in {all:?}");
    }
    assert!(all.iter().all(|word| !word.starts_with("__")), "hidden commands stay hidden: {all:?}");
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(complete(&["autometta", "att"]), strings(&["attach"]));
    assert_eq!(complete(&["autometta", "card", "l"]), strings(&["lint", "list"]));
    assert_eq!(complete(&["autometta", "attach", "--dry"]), strings(&["--dry-run"]));
}

#[test]
fn every_shell_is_told_every_command() {
    let night = Night::bare();
    for shell in ["bash", "zsh", "fish"] {
        let script = night.ok(&["completions", shell]);
        for command in commands(&night, &[]) {
            assert!(script.contains(&command), "{command} is missing for {shell}");
        }
        for hidden in ["__supervise", "__probe", "__await"] {
            assert!(!script.contains(hidden), "{shell} is told of {hidden}");
        }
    }
    assert!(night.fails(&["completions", "tcsh"], 2).contains("possible values"));
}

#[test]
fn the_manual_has_a_page_for_every_command_and_man_has_no_complaints() {
    let night = Night::bare();
    let folder = night.t().join("share/man1");
    night.ok(&["man", "--out", &folder.display().to_string()]);
    let mut expected = BTreeSet::from(["autometta.1".to_owned()]);
    for command in commands(&night, &[]) {
        expected.extend(commands(&night, &[&command]).iter().map(|below| format!("autometta-{command}-{below}.1")));
        expected.insert(format!("autometta-{command}.1"));
    }
    let pages = fs::read_dir(&folder).expect("folder").flatten();
    let pages: BTreeSet<String> = pages.map(|page| page.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(pages, expected);
    let main = fs::read_to_string(folder.join("autometta.1")).expect("page");
    assert_eq!(night.ok(&["man"]), main, "without a folder it is printed");
    for page in &pages {
        let named = page.trim_end_matches(".1").replace('-', "\\-");
        assert!(main.contains(&named) || page.matches('-').count() > 1, "{page} is not named by the main page");
        let shown = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(folder.join(page))
            .env("MANWIDTH", "100")
            .output()
            .expect("install the package man-db: the manual is checked with it");
        assert!(shown.status.success() && shown.stderr.is_empty(), "{page}: {}", text(&shown.stderr));
        assert!(shown.stdout.len() > 300, "{page} is empty");
    }
    let attach = fs::read_to_string(folder.join("autometta-attach.1")).expect("page");
    assert!(attach.contains("\n.SH EXAMPLES\n") && attach.contains("\n  autometta attach 01\\-greeting"), "{attach}");
}

/// The fenced blocks of a Markdown text that are shell.
fn shell_blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(kind)) => open = Some((kind.trim() == "sh", String::new())),
            (Some(_), Some("")) => blocks.extend(open.take().filter(|(shell, _)| *shell).map(|(_, block)| block)),
            (Some((_, block)), _) => block.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    blocks
}

/// The command lines of ours in a text's shell blocks.
fn our_lines(text: &str) -> Vec<String> {
    let lines = shell_blocks(text).concat();
    lines.lines().filter(|line| line.starts_with("autometta ")).map(str::to_owned).collect()
}

/// Whether a line is one that the binary takes; what it would do is not done.
fn parses(line: &str) -> Result<(), String> {
    // Words are split as a shell does it. Help is asked for at the end, and is printed only if all before it is right.
    let script = r#"autometta() { "$EXE" "$@" --help >/dev/null; }; eval "$1""#;
    let line = line.split(" >").next().unwrap_or_default().split(" |").next().unwrap_or_default();
    let output = bash(script, &[line]);
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
}

#[test]
fn the_check_of_commands_bites() {
    assert_eq!(parses("autometta status --json | jq .stages # all"), Ok(()));
    for wrong in
        ["autometta satus", "autometta status --jsn", "autometta show 'Not A Stage'", "autometta card frobnicate"]
    {
        assert!(parses(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_command_that_a_document_shows_is_one() {
    let mut documents: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .expect("docs")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    documents.push(root().join("README.md"));
    documents.extend(skills().into_iter().map(|(_, path)| path));
    let mut seen = 0;
    for path in documents {
        // A backslash at the end of a line goes on in the next one.
        let document = fs::read_to_string(&path).expect("document").replace("\\\n", " ");
        for line in our_lines(&document) {
            seen += 1;
            if let Err(fault) = parses(&line) {
                panic!("{}: `{line}`: {fault}", path.display());
            }
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

/// The skills by the names of their folders.
fn skills() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(root().join("examples/skills")).expect("skills").flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().join("SKILL.md"))).collect()
}

#[test]
fn skills_are_of_the_form_that_claude_code_and_codex_read() {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Front {
        name: String,
        description: String,
        license: String,
    }
    let skills = skills();
    assert_eq!(skills.len(), 2);
    for (folder, path) in skills {
        let skill = fs::read_to_string(&path).expect("skill");
        let (front, body) =
            skill.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("front matter");
        let front: Front = serde_saphyr::from_str(front).expect("YAML with the keys that both know");
        // The limits of the Agent Skills format: 64 and 1024 characters, the name that of the folder.
        assert_eq!(front.name, folder);
        assert!(front.name.len() <= 64, "{folder}");
        assert!(front.name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{folder}");
        let length = front.description.chars().count();
        assert!((1..=1024).contains(&length), "{folder}: {length}");
        assert!(front.description.contains("Use when"), "{folder}: the description says when");
        assert_eq!(front.license, env!("CARGO_PKG_LICENSE"));
        assert!(body.lines().count() < 200, "{folder}: what is loaded whole should be short");
        assert!(our_lines(body).len() >= 3, "{folder}");
    }
    let cards = root().join("examples/skills/autometta-stage-cards/SKILL.md");
    assert_eq!(our_lines(&fs::read_to_string(cards).expect("skill")).last().expect("a command"), "autometta card lint");
}

#[test]
fn the_package_holds_what_the_build_needs_and_no_junk() {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["package", "--list", "--allow-dirty", "--quiet"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let list = text(&output.stdout);
    let files: Vec<&str> = list.lines().collect();
    for needed in ["build.rs", "src/main.rs", "LICENSE", "README.md", "Cargo.lock", "docs/install.md"] {
        assert!(files.contains(&needed), "{needed} is missing");
    }
    let folders = ["src", "templates", "schemas", "docs", "examples", "packaging"];
    let tops = ["build.rs", "README.md", "CHANGELOG.md", "LICENSE", "Cargo.toml", "Cargo.lock", "Cargo.toml.orig"];
    for file in &files {
        let known = match file.split_once('/') {
            Some((folder, _)) => folders.contains(&folder),
            None => tops.contains(file) || *file == ".cargo_vcs_info.json",
        };
        assert!(known, "{file} should not be in the package");
    }
    // What the sources include from elsewhere is there.
    for file in files.iter().filter(|file| file.starts_with("src/")) {
        let source = fs::read_to_string(root().join(file)).expect("source");
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        for included in source.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let path = root().join(file).parent().expect("folder").join(included).canonicalize().expect("included");
            let path = path.strip_prefix(root().canonicalize().expect("root")).expect("inside").display().to_string();
            assert!(files.contains(&path.as_str()) || file.ends_with("tests.rs"), "{file} includes {path}");
        }
    }
}

#[test]
fn what_the_debian_package_takes_from_the_repository_is_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("manifest");
    let (_, assets) = manifest.split_once("\nassets = [\n").expect("assets");
    let assets = assets.split("\n]").next().expect("an end");
    let sources: Vec<&str> =
        assets.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next()).collect();
    assert!(sources.len() > 5, "{sources:?}");
    for source in sources.iter().filter(|source| !source.starts_with("target/")) {
        // The part before a pattern is a folder, which must not be empty.
        let fixed = source.split('*').next().expect("a beginning");
        let path = root().join(fixed);
        assert!(path.is_file() || fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()), "{source}");
    }
}
