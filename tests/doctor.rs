//! `doctor` over the real binary: every check as it should be and as it should not, with agent CLIs that are old, hang
//! or are logged out; that nothing is changed; and `--restore` after every kind of damage.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

#[path = "doctor/restore.rs"]
mod restore;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::night::{HAND_IN, Night, SAY_PASS, VERIFIER, WORKER};

/// A `claude` that is as it should be.
const CLAUDE: &str = "case \"$*\" in --version) echo '2.1.197 (Claude Code)';; 'auth status') echo '{\"loggedIn\": true}';; *) exit 9;; esac";
/// A `codex` that is as it should be.
const CODEX: &str = "case \"$*\" in --version) echo 'codex-cli 0.169.0';; 'login status') echo 'Logged in using ChatGPT';; 'sandbox -- true') ;; *) exit 9;; esac";

/// A night whose PATH holds these tools and nothing else of the machine's, with a healthy `claude`, `codex` and `tmux`.
fn healthy() -> Night {
    let mut night = Night::bare();
    let tools = night.base().join("tools");
    fs::create_dir_all(&tools).expect("tools");
    let path = std::env::var("PATH").expect("PATH");
    for tool in ["git", "sh", "sleep", "cat", "true", "touch"] {
        let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file());
        symlink(found.unwrap_or_else(|| panic!("this test needs {tool} on PATH")), tools.join(tool)).expect("link");
    }
    night.set("PATH", &tools.display().to_string());
    program(&night, "claude", CLAUDE);
    program(&night, "codex", CODEX);
    program(&night, "tmux", "exit 9");
    night.stub("worker", "exit 9");
    night.stub("verifier", "exit 9");
    night.manifest("");
    night.ok(&["init"]);
    night.write("stage-cards/01-work.md", &card(&night, "01-work"));
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    night
}

/// Puts a program of the test's own into the PATH.
fn program(night: &Night, name: &str, text: &str) {
    let path = night.base().join("tools").join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
}

/// A card for the two real families.
fn card(night: &Night, stage: &str) -> String {
    night.card(stage);
    let text = night.read(format!("repo/stage-cards/{stage}.md"));
    text.replace(WORKER, "Claude Sonnet 5 <claude-sonnet-5@local>").replace(VERIFIER, "GPT-5.6 Sol <gpt-5-6-sol@local>")
}

/// The timer record of an installed timer with these variables.
fn timer(night: &Night, exe: &str, env: &Value, installed_at: &str) {
    let record =
        json!({"scheduler": "cron", "every_seconds": 300, "installed_at": installed_at, "exe": exe, "env": env});
    fs::write(night.home.join("timer.json"), record.to_string()).expect("timer");
}

/// What `doctor --json` found, after seeing to it that the exit code agrees with it.
fn doctor(night: &Night) -> Value {
    let output = night.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", support::night::text(&output.stdout), support::night::text(&output.stderr))
    });
    let code = i32::from(report["faults"].as_u64().expect("faults") > 0);
    assert_eq!(output.status.code(), Some(code), "{report:#}");
    report
}

/// The finding that says all of these words must be there, at this level; one that is not ok says what mends it.
fn finds(report: &Value, level: &str, words: &[&str]) {
    let findings = report["findings"].as_array().expect("findings");
    let says_all = |finding: &&Value| {
        let text = format!(
            "{} {}",
            finding["says"].as_str().unwrap_or_default(),
            finding["mend"].as_str().unwrap_or_default()
        );
        words.iter().all(|word| text.contains(word))
    };
    let found = findings.iter().find(|finding| finding["level"] == level && says_all(finding));
    let found = found.unwrap_or_else(|| panic!("no {level} says {words:?}:\n{report:#}"));
    assert!(level == "ok" || found["mend"].as_str().is_some_and(|mend| !mend.is_empty()), "{found:#}");
}

/// Holds a text against the one that people have read, with what differs between machines taken out.
fn same_as_read(name: &str, night: &Night, text: &str) {
    let tip = night.git(&["rev-parse", "--short=12", "main"]);
    let mut text = text.replace(&night.base().display().to_string(), "BASE").replace(&tip, "COMMIT");
    let known = |line: &str| match (line.find(" MB are free"), line.split_once("git 2.")) {
        (Some(at), _) => format!("  ok       N{}", &line[at..]),
        (None, Some((before, after))) => {
            format!(
                "{before}git VERSION{}",
                after.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.')
            )
        }
        (None, None) => line.to_owned(),
    };
    text = text.lines().map(|line| known(line) + "\n").collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/doctor").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(&path, &text).expect("snapshot");
    }
    assert_eq!(
        text,
        fs::read_to_string(&path).unwrap_or_default(),
        "{}; UPDATE_SNAPSHOTS=1 rewrites it",
        path.display()
    );
}

/// Every file below a folder with its bytes and mode.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder").map(|entry| entry.expect("entry")) {
            let meta = entry.path().symlink_metadata().expect("meta");
            let bytes = if meta.is_file() { fs::read(entry.path()).expect("file") } else { Vec::new() };
            found.insert(entry.path(), (meta.permissions().mode(), bytes));
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// A crontab that is a file beside it.
const CRONTAB: &str = "case \"$1\" in -l) cat \"$0.tab\" 2>/dev/null || { echo 'no crontab for me' >&2; exit 1; };; -) cat >\"$0.tab\";; *) cat \"$1\" >\"$0.tab\";; esac";

#[test]
fn a_healthy_place_is_said_to_be_healthy() {
    let night = healthy();
    program(&night, "crontab", CRONTAB);
    let tools = night.base().join("tools").display().to_string();
    night.ok(&["timer", "install", "--scheduler", "cron", "--path", &tools]);
    let said = night.ok(&["doctor"]);
    // What the timer's part says depends on whether a cron daemon runs here, and on where this program was built.
    let (before, timer) = said.split_once("\ntimer\n").expect("timer");
    let (timer, after) = timer.split_once("\n\n").expect("repository");
    let after = after.rsplit_once("\n\n").expect("summary").0;
    same_as_read("healthy.txt", &night, &format!("{before}\n{after}\n"));
    for words in ["its entry is in", "cron starts", "cron finds git", "claude, codex, judge, stub"] {
        assert!(timer.contains(words), "{words}: {timer}");
    }
    fs::remove_file(night.base().join("tools/crontab.tab")).expect("removed");
    finds(&doctor(&night), "fault", &["its entry is gone", "autometta timer"]);
}

#[test]
fn what_is_wrong_is_said_with_what_mends_it() {
    let night = healthy();
    program(&night, "codex", "exit 1");
    fs::write(night.repo.join("state/state.yaml"), "version: 2\n").expect("damage");
    let said = night.fails(&["doctor"], 1);
    same_as_read("faults.txt", &night, &said);
}

#[test]
fn outside_of_any_repository_the_machine_alone_is_looked_at() {
    let night = healthy();
    let outside = night.base().join("outside");
    fs::create_dir(&outside).expect("folder");
    let output = night.command(&["doctor", "--json"]).current_dir(&outside).output().expect("doctor");
    let report: Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    finds(&report, "ok", &["claude 2.1.197"]);
    assert!(report["findings"].as_array().expect("findings").iter().all(|finding| finding["area"] != "repository"));
    let all = night.command(&["doctor", "--all", "--json"]).current_dir(&outside).output().expect("doctor");
    let report: Value = serde_json::from_slice(&all.stdout).expect("json");
    finds(&report, "ok", &["stages land on main"]);
}

#[test]
fn agent_clis_are_judged_by_what_they_say() {
    let says = |text: &str, from: &str, to: &str| text.replace(from, to);
    let cases: Vec<(&str, String, &str, Vec<&str>)> = vec![
        (
            "claude",
            says(CLAUDE, "2.1.197", "2.0.9"),
            "fault",
            vec!["claude 2.0.9", "older than 2.1.197", "install claude"],
        ),
        (
            "claude",
            says(CLAUDE, "2.1.197", "2.1.330"),
            "warning",
            vec!["claude 2.1.330", "newer than 2.1.329", "tested"],
        ),
        ("claude", says(CLAUDE, "2.1.197", "2.1.200"), "ok", vec!["claude 2.1.200"]),
        ("claude", says(CLAUDE, "2.1.197 (Claude Code)", "hello"), "warning", vec!["cannot be told from `hello`"]),
        (
            "claude",
            says(CLAUDE, "echo '{\"loggedIn\": true}'", "exit 1"),
            "fault",
            vec!["claude is not logged in", "claude auth login"],
        ),
        ("codex", says(CODEX, "0.169.0", "0.168.9"), "fault", vec!["codex 0.168.9", "older"]),
        ("codex", says(CODEX, "0.169.0", "1.0.0"), "warning", vec!["codex 1.0.0", "newer"]),
        (
            "codex",
            says(CODEX, "echo 'Logged in using ChatGPT'", "exit 1"),
            "fault",
            vec!["codex is not logged in", "codex login"],
        ),
        (
            "codex",
            says(CODEX, "'sandbox -- true') ;;", "'sandbox -- true') echo 'no namespaces' >&2; exit 1;;"),
            "fault",
            vec!["cannot confine", "no namespaces", "danger-full-access"],
        ),
        (
            "codex",
            "echo broken >&2; exit 3".to_owned(),
            "fault",
            vec!["does not say its version: broken", "codex --version"],
        ),
    ];
    let night = healthy();
    for (name, text, level, words) in cases {
        program(&night, name, &text);
        finds(&doctor(&night), level, &words);
        program(&night, name, if name == "claude" { CLAUDE } else { CODEX });
    }
    for name in ["claude", "codex"] {
        fs::remove_file(night.base().join("tools").join(name)).expect("removed");
        finds(&doctor(&night), "fault", &[&format!("{name}: not found in PATH="), &format!("install {name}")]);
    }
    fs::remove_file(night.base().join("tools/tmux")).expect("removed");
    finds(&doctor(&night), "warning", &["tmux", "attach"]);
}

#[test]
fn a_cli_that_hangs_is_a_warning_and_no_hang() {
    let night = healthy();
    program(&night, "claude", "sleep 600 & sleep 600");
    program(&night, "codex", &CODEX.replace("'login status') echo", "'login status') sleep 600; echo"));
    let begun = std::time::Instant::now();
    let report = doctor(&night);
    assert!(begun.elapsed() < support::night::LIMIT, "{:?}", begun.elapsed());
    finds(&report, "warning", &["did not say its version within 5 seconds", "claude --version"]);
    finds(&report, "warning", &["`codex login status` did not answer"]);
}

#[test]
fn git_that_is_old_or_missing_is_a_fault() {
    let night = healthy();
    let git = night.base().join("tools/git");
    fs::remove_file(&git).expect("removed");
    finds(&doctor(&night), "fault", &["git could not be started", "install git 2.38"]);
    program(&night, "git", "echo git version 2.30.1");
    finds(&doctor(&night), "fault", &["git 2.30", "install git 2.38"]);
}

#[test]
fn the_timers_own_environment_is_what_counts_at_night() {
    let night = healthy();
    let exe = env!("CARGO_BIN_EXE_autometta");
    let never = "2999-01-01T00:00:00Z";
    let tools = night.base().join("tools");
    finds(&doctor(&night), "warning", &["no timer is installed", "autometta timer install"]);
    timer(&night, exe, &json!({"PATH": tools}), never);
    let report = doctor(&night);
    finds(&report, "ok", &["cron starts", "every 5m"]);
    finds(&report, "ok", &["cron finds git 2.", "claude, codex"]);
    // A program that is found, while what it needs is not: `#!/usr/bin/env` of a folder that only shells know.
    let other = night.base().join("other");
    fs::create_dir(&other).expect("folder");
    for name in ["git", "codex", "cat"] {
        symlink(tools.join(name), other.join(name)).expect("link");
    }
    timer(&night, exe, &json!({"PATH": other}), never);
    finds(&doctor(&night), "fault", &["under cron, claude: claude: not found in PATH=", "timer install"]);
    program(
        &night,
        "claude",
        &format!("test -n \"$ONLY_IN_SHELLS\" || {{ echo 'node: not found' >&2; exit 127; }}\n{CLAUDE}"),
    );
    symlink(tools.join("claude"), other.join("claude")).expect("link");
    let output = night.command(&["doctor", "--json"]).env("ONLY_IN_SHELLS", "1").output().expect("doctor");
    let report: Value = serde_json::from_slice(&output.stdout).expect("json");
    finds(&report, "fault", &["under cron, claude: it does not start: node: not found"]);
    fs::remove_file(other.join("git")).expect("removed");
    finds(&doctor(&night), "fault", &["under cron: git could not be started"]);
    timer(&night, "/no/such/autometta", &json!({"PATH": tools}), never);
    finds(&doctor(&night), "fault", &["the timer cannot start its program", "/no/such/autometta"]);
    program(&night, "older", "echo usage >&2; exit 2");
    timer(&night, &tools.join("older").display().to_string(), &json!({"PATH": tools}), never);
    finds(&doctor(&night), "fault", &["older", "usage"]);
    timer(&night, exe, &json!({"PATH": tools}), "2020-01-01T00:00:00Z");
    finds(&doctor(&night), "fault", &["the last tick of", "one is due every 5m"]);
    fs::write(night.home.join("timer.json"), "{").expect("damage");
    finds(&doctor(&night), "fault", &["timer.json", "timer install"]);
}

/// Writes a manifest of the two real families with more of its own.
fn manifest(night: &Night, text: &str) {
    night.manifest("");
    let all = night.read("repo/.autometta.yaml");
    night.write(".autometta.yaml", &format!("{all}{text}"));
}

#[test]
fn who_pays_is_shown_without_what_it_is_paid_with() {
    let night = healthy();
    let key = night.base().join("key");
    fs::write(&key, "sk-very-secret\n").expect("key");
    let api = |value: &str| format!("  claude: {{auth: api, env: {{ANTHROPIC_API_KEY: \"{value}\"}}}}\n");
    let file = format!("file:{}", key.display());
    let cases: Vec<(String, u32, &str, Vec<&str>)> = vec![
        (file.clone(), 0o600, "ok", vec!["claude runs on an API key", "ANTHROPIC_API_KEY from file:"]),
        (file.clone(), 0o644, "fault", vec!["others may read", "chmod 600"]),
        ("file:/no/such/key".to_owned(), 0o600, "fault", vec!["/no/such/key"]),
        ("env:NIGHTLY_KEY".to_owned(), 0o600, "fault", vec!["env:NIGHTLY_KEY", "not set where ticks run"]),
        ("op://vault/item/field".to_owned(), 0o600, "fault", vec!["`op` is not found"]),
        ("cmd:echo sk-very-secret".to_owned(), 0o600, "ok", vec!["from a command (cmd:…)"]),
        ("sk-very-secret".to_owned(), 0o600, "warning", vec!["ANTHROPIC_API_KEY stands in the manifest", "mode 600"]),
    ];
    for (value, mode, level, words) in cases {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("mode");
        manifest(&night, &api(&value));
        let report = doctor(&night);
        finds(&report, level, &words);
        assert!(!report.to_string().contains("sk-very-secret"), "{report:#}");
        assert!(!report.to_string().contains("claude is not logged in"), "a login does not matter here");
    }
    manifest(&night, "");
    finds(&doctor(&night), "ok", &["claude runs on its own login"]);
}

/// What goes wrong: its name, how, at which level it is found, and words of what is said.
type Wrong = (&'static str, fn(&Night), &'static str, Vec<&'static str>);

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn wrongs() -> Vec<Wrong> {
    vec![
        (
            "home's mode",
            |night| fs::set_permissions(&night.home, fs::Permissions::from_mode(0o755)).expect("mode"),
            "fault",
            vec!["mode 755", "chmod 700"],
        ),
        (
            "a subscriber",
            |night| fs::write(night.home.join("subscribers/x.yaml"), "weight: 1\n").expect("file"),
            "fault",
            vec!["x.yaml", "edit"],
        ),
        (
            "a subscriber that is gone",
            |night| fs::write(night.home.join("subscribers/x.yaml"), "repo_path: /no/such\n").expect("file"),
            "warning",
            vec!["/no/such is gone", "autometta unsubscribe x"],
        ),
        (
            "the base branch",
            |night| drop(night.git(&["branch", "-m", "main", "other"])),
            "fault",
            vec!["main has no commit"],
        ),
        (
            "the committer",
            |night| drop(night.git(&["config", "--unset", "user.email"])),
            "fault",
            vec!["git config user.name"],
        ),
        (
            "the manifest",
            |night| night.write(".autometta.yaml", "version: 1\nbogus: 1\n"),
            "fault",
            vec!["bogus", "edit"],
        ),
        (
            "no manifest",
            |night| fs::remove_file(night.repo.join(".autometta.yaml")).expect("removed"),
            "fault",
            vec!["autometta init"],
        ),
        (
            "no state",
            |night| fs::remove_dir_all(night.repo.join("state")).expect("removed"),
            "fault",
            vec!["does not exist", "autometta init"],
        ),
        (
            "reservations",
            |night| edit(night, "budget.json", "\"tokens_reserved\": 0", "\"tokens_reserved\": 7"),
            "fault",
            vec!["set aside 7 tokens", "promised 0 tokens"],
        ),
        (
            "state.yaml",
            |night| fs::write(night.repo.join("state/state.yaml"), "").expect("file"),
            "fault",
            vec!["state.yaml cannot be used", "doctor --restore"],
        ),
        (
            "budget.json",
            |night| fs::write(night.repo.join("state/budget.json"), "{").expect("file"),
            "fault",
            vec!["budget.json cannot be used", "doctor --restore"],
        ),
        (
            "a newer state",
            |night| edit(night, "state.yaml", "version: 2", "version: 3"),
            "fault",
            vec!["version 3", "update autometta"],
        ),
        (
            "a copied state",
            |night| {
                let id = night.status()["repo_id"].as_str().expect("id").to_owned();
                edit(night, "state.yaml", &id, "somewhere-else");
            },
            "fault",
            vec!["another place", "init --adopt"],
        ),
        (
            "a ledger that was edited",
            |night| edit(night, "ledger.jsonl", "initialised", "initialized"),
            "fault",
            vec!["does not follow", "log --verify"],
        ),
        (
            "a ledger that was torn",
            |night| {
                let ledger = night.read("repo/state/ledger.jsonl");
                fs::write(night.repo.join("state/ledger.jsonl"), &ledger[..ledger.len() - 5]).expect("file");
            },
            "fault",
            vec!["ledger", "doctor --restore"],
        ),
        (
            "a transaction",
            |night| {
                fs::write(
                    night.repo.join("state/.txn.json"),
                    r#"{"version":1,"state":null,"budget":null,"ledger_offset":0,"ledger_lines":""}"#,
                )
                .expect("file");
            },
            "warning",
            vec!["a tick died while it wrote", "autometta tick"],
        ),
        (
            "a broken transaction",
            |night| fs::write(night.repo.join("state/.txn.json"), "{").expect("file"),
            "fault",
            vec![".txn.json", "doctor --restore"],
        ),
        (
            "a halt",
            |night| drop(night.ok(&["halt", "--reason", "enough"])),
            "warning",
            vec!["halted, operator: enough", "autometta resume"],
        ),
        (
            "a card",
            |night| night.write("stage-cards/01-work.md", "# nothing\n"),
            "fault",
            vec!["01-work cannot start", "card lint stage-cards/01-work.md"],
        ),
        (
            "a worktree",
            |night| fs::create_dir_all(night.worktrees().join("01-work.7.worker")).expect("folder"),
            "warning",
            vec!["left over", "worktree remove --force"],
        ),
        (
            "a stranger",
            |night| fs::create_dir_all(night.worktrees().join("mine")).expect("folder"),
            "warning",
            vec!["is not autometta's", "move"],
        ),
        (
            "worktrees in a repository",
            |night| drop(night.git_raw(&["init", "-q", &night.base().display().to_string()])),
            "fault",
            vec!["inside the repository", "worktrees:"],
        ),
        (
            "the disk",
            |night| manifest(night, "defaults: {disk_floor_mb: 999999999999}\n"),
            "fault",
            vec!["are free for the state", "disk_floor_mb"],
        ),
    ]
}

#[test]
fn a_repository_is_held_against_what_a_night_needs() {
    for (name, break_it, level, words) in wrongs() {
        let night = healthy();
        break_it(&night);
        let report = doctor(&night);
        finds(&report, level, &words);
        let others = report["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .filter(|finding| finding["level"] == "fault")
            .count();
        // What is broken must not make everything else look broken, too.
        assert!(others <= 2, "{name}: {report:#}");
    }
}

fn edit(night: &Night, file: &str, from: &str, to: &str) {
    let text = night.read(format!("repo/state/{file}"));
    assert!(text.contains(from), "{file}: {text}");
    fs::write(night.repo.join("state").join(file), text.replacen(from, to, 1)).expect("edited");
}

#[test]
fn a_clock_that_was_set_back_is_seen() {
    let mut night = healthy();
    finds(&doctor(&night), "ok", &["the clock is not behind"]);
    night.tick();
    night.set("AUTOMETTA_CLOCK_OFFSET", "-86400");
    let report = doctor(&night);
    finds(&report, "warning", &["the ledger's last line", "set the clock right"]);
    finds(&report, "warning", &["the heartbeat was written"]);
}

#[test]
fn looking_changes_nothing() {
    let night = healthy();
    for damage in [None, Some("state.yaml"), Some("budget.json"), Some("ledger.jsonl")] {
        if let Some(name) = damage {
            fs::write(night.repo.join("state").join(name), "broken").expect("damage");
        }
        let before = (tree(&night.repo), tree(&night.home));
        drop(night.run(&["doctor"]));
        assert!(before == (tree(&night.repo), tree(&night.home)), "{damage:?}");
    }
}
