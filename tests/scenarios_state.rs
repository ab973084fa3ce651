//! Scenarios of the state on disk and of many hands at once, over the real binary with stub agents.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::night::{HAND_IN, LIMIT, Night, SAY_PASS, text};

/// A worker that marks its start and then works only when the test says so.
fn waiting() -> Night {
    let worker = format!(
        "echo \"$2\" >>\"$T/starts\"\nuntil test -e \"$T/go\"; do sleep 0.05; done\necho work >a.txt\n{HAND_IN}"
    );
    Night::with(&worker, SAY_PASS)
}

/// The same with two stages queued, the first of them working.
fn at_work() -> Night {
    let night = waiting();
    night.queue("01-work");
    night.queue("02-more");
    night.tick_until_that("01-work", |_| night.t().join("starts").exists());
    night
}

fn go(night: &Night) {
    fs::write(night.t().join("go"), "").expect("go");
}

fn state(night: &Night, name: &str) -> PathBuf {
    night.repo.join("state").join(name)
}

/// Puts something in a file's place: these bytes, or a directory.
fn damage(path: &Path, with: Option<&[u8]>) {
    match with {
        Some(bytes) => fs::write(path, bytes).expect("damaged"),
        None => {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("directory");
        }
    }
}

/// Puts a file back, whatever stands in its place.
fn put_back(path: &Path, bytes: &[u8]) {
    if path.is_dir() {
        fs::remove_dir(path).expect("removed");
    }
    fs::write(path, bytes).expect("put back");
}

/// What files come to when disks, editors and merges go wrong: a name, and bytes or none for a directory.
fn damages(whole: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    let lines: Vec<usize> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let mut cuts = vec![0, 1, whole.len() / 2, whole.len() - 3];
    // Between lines, where what is left may well be a document of its own.
    cuts.extend(lines.iter().rev().skip(1).step_by(9).take(2));
    let mut all: Vec<_> =
        cuts.into_iter().map(|at| (format!("cut to {at} bytes"), Some(whole[..at].to_vec()))).collect();
    let mut foreign = whole.to_vec();
    foreign[whole.len() / 2] = 0xff;
    all.push(("not UTF-8".to_owned(), Some(foreign)));
    let (head, tail) = whole.split_at(lines.first().copied().unwrap_or(0));
    let marked = [head, b"<<<<<<< HEAD\n", tail, b"=======\n", tail, b">>>>>>> other\n"].concat();
    all.push(("merge markers".to_owned(), Some(marked)));
    all.push(("a directory".to_owned(), None));
    all
}

fn kept_copies(night: &Night, name: &str) -> Vec<PathBuf> {
    let start = format!("{name}.damaged-");
    let entries = fs::read_dir(night.repo.join("state")).expect("state").map(|entry| entry.expect("entry"));
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start)).map(|e| e.path()).collect()
}

/// Every file of ours must be whole: whatever ends in `.json`, the state, the ledger, and no leftovers of writes.
fn assert_whole(night: &Night) {
    let mut folders = vec![night.repo.join("state")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            assert!(!name.ends_with(".autometta-tmp"), "{}", path.display());
            if path.is_dir() && !path.is_symlink() && name != "git" {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "json") {
                let bytes = fs::read(&path).expect("file");
                assert!(serde_json::from_slice::<Value>(&bytes).is_ok(), "{}: {}", path.display(), text(&bytes));
            }
        }
    }
    assert!(night.ok(&["log", "--verify"]).contains("each follows"));
    assert!(night.status()["stages"].is_array());
}

#[test]
fn scenario_39_of_fifty_ticks_at_once_one_acts_and_no_file_is_torn() {
    let night = waiting();
    night.queue("01-work");
    let repo = night.repo.display().to_string();
    let ticks: Vec<_> = (0..50)
        .map(|_| {
            let mut tick = night.command(&["tick", "--repo", &repo]);
            tick.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tick")
        })
        .collect();
    let outputs: Vec<Output> = ticks.into_iter().map(|tick| tick.wait_with_output().expect("output")).collect();
    assert!(outputs.iter().all(|output| output.status.code() == Some(0)), "{outputs:?}");
    let acted = outputs.iter().filter(|output| text(&output.stdout).contains("dispatched")).count();
    assert_eq!(acted, 1, "{outputs:?}");
    night.wait("the worker runs", || night.t().join("starts").exists());
    assert_whole(&night);
    go(&night);
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("t/starts").lines().count(), 1);
    night.no_tick_runs();
    assert_whole(&night);
}

#[test]
fn scenario_39_a_tick_that_finds_the_lock_held_ends_at_once_and_changes_nothing() {
    let night = at_work();
    night.no_tick_runs();
    let _lock = night.hold();
    let before = night.read("repo/state/state.yaml");
    let begun = Instant::now();
    assert_eq!(night.tick().status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(night.read("repo/state/state.yaml"), before);
}

#[test]
fn scenario_40_a_state_that_is_damaged_before_its_snapshot_is_written_is_brought_back_by_it() {
    let mut night = Night::passing();
    // The gate is decided upon, and is being launched.
    let pause = night.pause("*/atomic.rename@1.gate:*");
    night.queue("01-work");
    night.tick_until_that("01-work", |_| pause.is_reached());
    night.write("state/state.yaml", "{");
    pause.end();
    night.wait("the state to be brought back", || {
        let _ = night.tick();
        night.read("repo/state/ledger.jsonl").contains("\"event\":\"restored\"")
    });
    night.tick_until("01-work", "completed");
}

#[test]
fn scenario_40_a_snapshot_that_a_killed_tick_did_not_write_is_written_by_a_later_one() {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    drop(night.alone());
    night.nothing_runs();
    // As it is when the last tick of a night is killed between its commit and its snapshot.
    night.git(&["update-ref", "refs/autometta/state", "refs/autometta/state^"]);
    let _ = night.tick();
    assert!(!night.is_copied(), "it is not looked for at every tick");
    night.make_due();
    let _ = night.tick();
    assert!(night.is_copied());
    night.write("state/state.yaml", "{");
    assert!(text(&night.tick().stdout).contains("restored"));
}

#[test]
fn scenario_40_a_damaged_state_or_budget_is_restored_where_the_snapshot_is_provably_as_new() {
    let night = at_work();
    night.no_tick_runs();
    for name in ["state.yaml", "budget.json"] {
        let path = state(&night, name);
        let whole = fs::read(&path).expect("file");
        for (what, bytes) in damages(&whole) {
            let copies = kept_copies(&night, name).len();
            damage(&path, bytes.as_deref());
            let output = night.tick();
            assert!(output.status.success(), "{name}, {what}: {}", text(&output.stderr));
            assert!(text(&output.stdout).contains("restored"), "{name}, {what}: {}", text(&output.stdout));
            let stages = night.status()["stages"].clone();
            assert_eq!(
                (&stages[0]["phase"], &stages[1]["id"]),
                (&"working".into(), &"02-more".into()),
                "{name}, {what}"
            );
            assert!(night.budget()["token_cap_total"].is_u64(), "{name}, {what}");
            let kept = kept_copies(&night, name);
            assert_eq!(kept.len(), copies + 1, "{name}, {what}");
            if let Some(bytes) = bytes {
                assert!(kept.iter().any(|copy| fs::read(copy).is_ok_and(|kept| kept == bytes)), "{name}, {what}");
            }
        }
    }
    assert_whole(&night);
    go(&night);
    night.tick_until("01-work", "completed");
    let starts = night.read("t/starts");
    assert_eq!(starts.lines().filter(|run| run.starts_with("01-work")).count(), 1, "{starts}");
    assert_eq!(night.budget()["halted"], false);
}

#[test]
fn scenario_40_a_damaged_file_that_nothing_proves_halts_once_and_is_never_replaced() {
    let night = at_work();
    night.no_tick_runs();
    night.git(&["update-ref", "-d", "refs/autometta/state"]);
    for name in ["state.yaml", "ledger.jsonl", ".txn.json"] {
        let path = state(&night, name);
        let whole = fs::read(&path).unwrap_or_else(|_| b"{\"version\":1}\n".to_vec());
        let cases = damages(&whole);
        // What a ledger's last whole line is, only the chain of what follows can tell.
        let cases = cases.into_iter().filter(|(what, bytes)| {
            name != "ledger.jsonl"
                || bytes
                    .as_ref()
                    .is_some_and(|bytes| !bytes.is_empty() && !bytes.ends_with(b"\n") && what != "not UTF-8")
        });
        let said_before = night.tick_log().matches("state-corrupt").count();
        for (what, bytes) in cases {
            // An empty transaction is damage as well: a whole one is never empty.
            if path.exists() || bytes.is_some() {
                if bytes.is_none() && !path.exists() {
                    continue;
                }
                damage(&path, bytes.as_deref());
            }
            for _ in 0..2 {
                let output = night.tick();
                let said = text(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{name}, {what}: {said}");
                assert!(
                    said.contains(name) && (said.contains("autometta resume") || bytes.is_none()),
                    "{name}, {what}: {said}"
                );
            }
            match &bytes {
                Some(bytes) => assert_eq!(fs::read(&path).expect("file"), *bytes, "{name}, {what}"),
                None => assert!(path.is_dir(), "{name}, {what}"),
            }
        }
        let budget = night.budget();
        assert_eq!(budget["halt_reason"], "state-corrupt", "{name}");
        assert_eq!(budget["halt_reasons"].as_array().expect("reasons").len(), 1, "{name}");
        assert_eq!(night.tick_log().matches("state-corrupt").count(), said_before + 1, "{}", night.tick_log());
        // The way out that was named: put right what is wrong, then resume.
        if name == ".txn.json" {
            if path.is_dir() {
                fs::remove_dir(&path).expect("moved away");
            } else {
                fs::remove_file(&path).expect("moved away");
            }
        } else {
            put_back(&path, &whole);
        }
        assert_eq!(night.tick().status.code(), Some(4), "{name}: still halted");
        night.ok(&["resume"]);
        assert!(night.tick().status.success(), "{name}");
    }
    go(&night);
    night.tick_until("01-work", "completed");
    let starts = night.read("t/starts");
    assert_eq!(starts.lines().filter(|run| run.starts_with("01-work")).count(), 1, "{starts}");
}

#[test]
fn scenario_40_a_damaged_budget_that_nothing_proves_stops_everything_and_is_never_replaced() {
    let night = at_work();
    night.no_tick_runs();
    night.git(&["update-ref", "-d", "refs/autometta/state"]);
    let path = state(&night, "budget.json");
    let whole = fs::read(&path).expect("file");
    let before = night.read("repo/state/state.yaml");
    for (what, bytes) in damages(&whole) {
        put_back(&path, &whole);
        damage(&path, bytes.as_deref());
        let output = night.tick();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {said}");
        assert!(said.contains("budget.json") && said.contains("autometta resume"), "{what}: {said}");
        match &bytes {
            Some(bytes) => assert_eq!(fs::read(&path).expect("file"), *bytes, "{what}"),
            None => assert!(path.is_dir(), "{what}"),
        }
    }
    assert_eq!(night.read("repo/state/state.yaml"), before);
    put_back(&path, &whole);
    go(&night);
    night.tick_until("01-work", "completed");
}

#[test]
fn scenario_40_a_state_that_is_gone_is_not_taken_for_a_new_repository() {
    let night = at_work();
    night.no_tick_runs();
    fs::remove_file(state(&night, "state.yaml")).expect("removed");
    assert!(text(&night.tick().stdout).contains("restored"));
    night.git(&["update-ref", "-d", "refs/autometta/state"]);
    fs::remove_file(state(&night, "state.yaml")).expect("removed");
    assert_eq!(night.tick().status.code(), Some(1));
    night.fails(&["init"], 1);
    assert!(!state(&night, "state.yaml").exists(), "no empty state in its place");
}

#[test]
fn scenario_41_files_of_a_newer_version_are_refused_and_untouched() {
    let night = waiting();
    night.queue("01-work");
    night.no_tick_runs();
    let newer = [
        ("state.yaml", night.read("repo/state/state.yaml").replace("version: 2", "version: 3")),
        ("state.yaml", "version: 3\nqueue:\n  of: another shape\n".to_owned()),
        ("budget.json", night.read("repo/state/budget.json").replace("\"version\": 2", "\"version\": 3")),
        (".txn.json", "{\"version\":2,\"changes\":[]}".to_owned()),
    ];
    for (name, bytes) in newer {
        let path = state(&night, name);
        let whole = fs::read(&path).ok();
        fs::write(&path, &bytes).expect("newer");
        let others = |night: &Night| {
            ["state.yaml", "budget.json", "ledger.jsonl"].map(|name| night.read(Path::new("repo/state").join(name)))
        };
        let before = others(&night);
        let repo = night.repo.display().to_string();
        for args in [&["tick", "--repo", &repo][..], &["init"], &["halt"], &["add-stage", "stage-cards/01-work.md"]] {
            let said = night.fails(args, 3);
            assert!(said.contains(name) && said.contains("update autometta"), "{name}, {args:?}: {said}");
        }
        night.fails(&["status"], 3);
        assert_eq!(others(&night), before, "{name}");
        assert_eq!(fs::read_to_string(&path).expect("file"), bytes, "{name}");
        match whole {
            Some(whole) => fs::write(&path, whole).expect("put back"),
            None => fs::remove_file(&path).expect("removed"),
        }
    }
    assert!(!night.t().join("starts").exists(), "nothing was dispatched");
    go(&night);
    night.tick_until("01-work", "completed");
}

/// A tick under a shell that says this first; `$TICK` is the tick.
fn tick_under(night: &Night, shell: &str) -> Output {
    let exe = night.command(&[]).get_program().to_owned();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", shell]).current_dir(&night.repo).env_clear();
    let template = night.command(&[]);
    for (name, value) in template.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env("EXE", exe).env("REPO", &night.repo);
    command.output().expect("sh")
}

#[test]
fn scenario_42_writes_that_fail_or_kill_at_any_size_leave_the_old_state_whole_and_the_next_tick_goes_on() {
    for trap in ["trap '' XFSZ;", ""] {
        let night = Night::passing();
        night.queue("01-work");
        night.no_tick_runs();
        let ledger = night.read("repo/state/ledger.jsonl");
        for blocks in [0, 2, 3, 4, 6] {
            let output = tick_under(&night, &format!("{trap} ulimit -f {blocks}; exec \"$EXE\" tick --repo \"$REPO\""));
            let status = night.status();
            assert_eq!(status["stages"].as_array().expect("stages").len(), 1, "{blocks} blocks");
            assert!(night.read("repo/state/ledger.jsonl").starts_with(&ledger), "{blocks} blocks");
            if trap.is_empty() {
                continue;
            }
            // With no room for a single byte, nothing can have been decided.
            if blocks == 0 {
                assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
                assert!(text(&output.stderr).contains("cannot write"), "{}", text(&output.stderr));
                assert_eq!(status["stages"][0]["status"], "pending");
            }
            assert!(output.status.code().is_some_and(|code| code < 2), "{blocks} blocks: {}", text(&output.stderr));
        }
        let stage = night.tick_until("01-work", "completed");
        assert_eq!((&stage["attempt"], &stage["failures"]), (&1.into(), &0.into()), "{stage:#}");
        night.no_tick_runs();
        assert!(night.ok(&["log", "--verify"]).contains("each follows"));
    }
}

/// How to get a mount namespace of one's own here, if at all.
fn namespace() -> Option<&'static str> {
    ["unshare -m", "unshare -rm"].into_iter().find(|unshare| {
        let probe = format!("{unshare} sh -c 'mount -t tmpfs none /mnt'");
        Command::new("/bin/sh").args(["-c", &probe]).output().is_ok_and(|output| output.status.success())
    })
}

#[test]
fn scenario_42_on_a_full_disk_a_tick_fails_with_a_clear_error_and_after_space_returns_the_stage_completes() {
    // Without mount namespaces the test above shows the same at every size of write.
    let Some(unshare) = namespace() else { return };
    let night = Night::passing();
    night.queue("01-work");
    night.no_tick_runs();
    let script = r#"
        set -e
        cp -a "$REPO/state" "$T/aside"
        mount -t tmpfs -o size=4m none "$REPO/state"
        cp -a "$T/aside/." "$REPO/state/"
        cat /dev/zero >"$REPO/state/filler" 2>/dev/null || true
        code=0; "$EXE" tick --repo "$REPO" 2>"$T/error" || code=$?
        echo "full: $code"
        for name in state.yaml budget.json ledger.jsonl; do cmp "$T/aside/$name" "$REPO/state/$name"; done
        test ! -e "$REPO/state/.txn.json"
        rm "$REPO/state/filler"
        n=0
        until "$EXE" status | grep -q 'completed'; do
            "$EXE" tick --repo "$REPO" >/dev/null || true
            n=$((n + 1)); test $n -lt 500
        done
        echo completed"#;
    night.manifest("defaults: {disk_floor_mb: 0}");
    let output = tick_under(&night, &format!("{unshare} sh -c '{}'", script.replace('\'', "'\\''")));
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.contains("full: 1") && said.ends_with("completed\n"), "{said}");
    let error = night.read("t/error");
    assert!(error.contains("No space left") && error.contains("state/"), "{error}");
}

#[test]
fn scenario_42_without_the_right_to_write_a_tick_fails_with_a_clear_error_and_goes_on_later() {
    let night = Night::passing();
    night.queue("01-work");
    night.no_tick_runs();
    let before = night.read("repo/state/state.yaml");
    // Root may write anywhere but on what is mounted read-only.
    let output = if nix::unistd::geteuid().is_root() {
        let unshare = namespace().expect("root may mount");
        let script = r#"mount --bind "$REPO/state" "$REPO/state" && mount -o remount,ro,bind "$REPO/state" && exec "$EXE" tick --repo "$REPO""#;
        tick_under(&night, &format!("{unshare} sh -c '{script}'"))
    } else {
        let mode = |mode| {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(night.repo.join("state"), permissions).expect("mode");
        };
        mode(0o500);
        let output = night.tick();
        mode(0o700);
        output
    };
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("state/") && (said.contains("Read-only") || said.contains("Permission denied")), "{said}");
    assert_eq!(night.read("repo/state/state.yaml"), before);
    night.tick_until("01-work", "completed");
}

#[test]
fn scenario_42_a_directory_in_the_place_of_what_is_written_next_fails_cleanly() {
    let night = Night::passing();
    night.queue("01-work");
    night.no_tick_runs();
    let path = state(&night, ".txn.json");
    fs::create_dir(&path).expect("directory");
    let before = night.read("repo/state/state.yaml");
    let output = night.tick();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(".txn.json"), "{}", text(&output.stderr));
    assert_eq!(night.read("repo/state/state.yaml"), before);
    fs::remove_dir(&path).expect("removed");
    night.tick_until("01-work", "completed");
}

#[test]
fn scenario_43_a_state_that_was_copied_or_moved_is_refused_until_it_is_adopted() {
    let mut night = Night::passing();
    night.queue("01-work");
    night.no_tick_runs();
    let moved = night.base().join("moved");
    fs::rename(&night.repo, &moved).expect("moved");
    night.repo = moved.clone();
    let before = fs::read(moved.join("state/state.yaml")).expect("state");
    let repo = moved.display().to_string();
    for args in [&["tick", "--repo", &repo][..], &["init"], &["status"], &["halt"]] {
        let said = night.fails(args, 3);
        assert!(said.contains("init --adopt"), "{args:?}: {said}");
    }
    assert_eq!(fs::read(moved.join("state/state.yaml")).expect("state"), before);
    night.ok(&["init", "--adopt"]);
    night.tick_until("01-work", "completed");
    assert!(night.git_raw(&["cat-file", "-e", "main:a.txt"]).status.success());

    // A copy beside it: the copy is refused, and the original does not notice.
    night.no_tick_runs();
    let copy = night.base().join("copy");
    assert!(Command::new("cp").arg("-a").args([&moved, &copy]).status().expect("cp").success());
    let said = night.fails(&["tick", "--repo", &copy.display().to_string()], 3);
    assert!(said.contains("init --adopt"), "{said}");
    assert!(night.tick().status.success());
}

#[test]
fn scenario_43_a_copy_is_not_adopted_while_the_runs_of_the_original_live() {
    let night = at_work();
    night.no_tick_runs();
    let copy = night.base().join("copy");
    assert!(Command::new("cp").arg("-a").args([&night.repo, &copy]).status().expect("cp").success());
    let copied = copy.display().to_string();
    let said = night.fails(&["--repo", &copied, "init", "--adopt"], 3);
    assert!(said.contains("01-work.1.worker lives"), "{said}");
    night.fails(&["tick", "--repo", &copied], 3);
    go(&night);
    let stage = night.tick_until("01-work", "completed");
    assert_eq!(stage["history"][0]["outcome"], "done", "the original's run was left alone: {stage:#}");
    // The supervisor became the tick that followed, which may be at it still.
    night.wait("the copy is adopted", || night.run(&["--repo", &copied, "init", "--adopt"]).status.success());
}

/// A small generator of numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Four stages, each with a file of its own and leaning on the one before.
fn four_stages() -> Night {
    let worker = format!("cat ./*.txt 2>/dev/null >all || true\necho \"$1\" >>all\nmv all \"$1.txt\"\n{HAND_IN}");
    let night = Night::with(&worker, SAY_PASS);
    let mut before: Option<&str> = None;
    for stage in ["01-one", "02-two", "03-three", "04-four"] {
        let depends = before.map(|before| format!("- **Depends on:** {before}\n")).unwrap_or_default();
        night.card_with(
            stage,
            &depends,
            &format!("1. `{stage}.txt`: the work"),
            &format!("grep -q {stage} {stage}.txt"),
        );
        night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
        before = Some(stage);
    }
    night
}

/// What a night comes to, without its times: trees, messages, runs and spend.
fn outcome(night: &Night) -> Value {
    night.no_tick_runs();
    let stages = night.status()["stages"].as_array().expect("stages").clone();
    let runs: Vec<Value> = stages
        .iter()
        .map(|stage| {
            let past = stage["history"].as_array().expect("history");
            let runs: Vec<_> = past.iter().map(|past| (&past["run"], &past["outcome"], &past["tokens"])).collect();
            serde_json::json!([stage["id"], stage["status"], stage["attempt"], stage["failures"], runs])
        })
        .collect();
    let budget = night.budget();
    let spend: Vec<_> = [
        "tokens_spent",
        "tokens_reserved",
        "lifetime_tokens_spent",
        "cost_spent_usd",
        "cost_reserved_usd",
        "wall_clock_reserved_seconds",
        "consecutive_failures",
        "halted",
    ]
    .map(|name| budget[name].clone())
    .to_vec();
    let moves: Vec<String> = night
        .read("repo/state/ledger.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("line"))
        .filter(|line| line["to"].is_string())
        .map(|line| format!("{} {} {} {}", line["stage"], line["event"], line["from"], line["to"]))
        .collect();
    serde_json::json!({
        "trees": night.git(&["log", "--format=%T %s", "main"]),
        "branches": night.git(&["for-each-ref", "--format=%(refname)", "refs/heads"]),
        "runs": runs, "spend": spend, "moves": moves,
    })
}

#[test]
fn scenario_44_a_night_of_killed_ticks_comes_to_what_a_night_without_them_comes_to() {
    let calm = four_stages();
    calm.tick_until("04-four", "completed");
    calm.tick_until_that("04-four", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty));
    let expected = outcome(&calm);

    let wild = four_stages();
    let repo = wild.repo.display().to_string();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut kills = 0;
    let begun = Instant::now();
    while kills < 30 && begun.elapsed() < LIMIT / 2 {
        let mut command = wild.command(&["tick", "--repo", &repo]);
        let mut tick = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("tick");
        // The one place where a test sleeps: the moment of the kill is meant to be any.
        std::thread::sleep(Duration::from_millis(dice.roll(60)));
        for pid in wild.ticks() {
            kills += u32::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
        }
        tick.wait().expect("ended");
    }
    assert!(kills >= 10, "only {kills} ticks were caught");
    wild.tick_until("04-four", "completed");
    wild.tick_until_that("04-four", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty));
    let found = outcome(&wild);
    assert_eq!(found, expected, "after {kills} kills\n{found:#}\n{expected:#}");
    assert!(wild.ok(&["log", "--verify"]).contains("each follows"));
}

#[test]
fn scenario_45_an_operator_at_work_in_the_same_repository_is_never_disturbed() {
    let night = four_stages();
    night.git(&["add", "-A"]);
    night.git(&["commit", "-qm", "Cards"]);
    night.git(&["switch", "-qc", "other"]);
    night.git(&["switch", "-qc", "mine"]);
    night.write("scratch.txt", "never committed\n");
    let repo = night.repo.display().to_string();
    let mut ticks = Vec::new();
    for round in 0..50 {
        if round % 3 == 0 {
            let mut tick = night.command(&["tick", "--repo", &repo]);
            ticks.push(tick.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("tick"));
        }
        night.write("mine.txt", &format!("round {round}\n"));
        night.git(&["add", "mine.txt"]);
        night.git(&["commit", "-qm", &format!("Mine {round}")]);
        if round % 10 == 4 {
            night.git(&["switch", "-q", "other"]);
            night.write(&format!("other-{round}.txt"), "other\n");
            night.git(&["add", &format!("other-{round}.txt")]);
            night.git(&["commit", "-qm", &format!("Other {round}")]);
            night.git(&["switch", "-q", "mine"]);
            night.git(&["rebase", "-q", "other"]);
        }
        assert_eq!(night.git(&["symbolic-ref", "HEAD"]), "refs/heads/mine");
        assert_eq!(night.git(&["status", "--porcelain"]), "?? scratch.txt", "round {round}");
    }
    for mut tick in ticks {
        tick.wait().expect("ended");
    }
    night.tick_until("04-four", "completed");
    assert_eq!(night.git(&["symbolic-ref", "HEAD"]), "refs/heads/mine");
    assert_eq!(night.git(&["status", "--porcelain"]), "?? scratch.txt");
    assert_eq!(night.read("repo/mine.txt"), "round 49\n");
    let subjects = night.git(&["log", "--format=%an %s", "main..mine", "--"]);
    assert!(subjects.lines().all(|line| line.starts_with("Operator ")), "{subjects}");
    assert_eq!(subjects.lines().filter(|line| line.contains("Mine")).count(), 50);
    assert_eq!(subjects.lines().filter(|line| line.contains("Other")).count(), 5);
    assert_eq!(night.git(&["rev-list", "--count", "mine..main"]), "4", "the four landings, on their own branch");
    assert_eq!(night.git(&["stash", "list"]), "");
}

#[test]
fn a_ledger_line_that_was_changed_removed_or_inserted_is_found() {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    night.tick_until_that("01-work", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty));
    night.no_tick_runs();
    let path = state(&night, "ledger.jsonl");
    let whole = fs::read_to_string(&path).expect("ledger");
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() > 4);
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        joined(&lines)
    };
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines.insert(at, line);
        joined(&lines)
    };
    let changed = lines[2].replace("01-work", "02-work");
    let mut changed_lines = lines.clone();
    changed_lines[2] = &changed;
    let last = lines.len() - 1;
    let changed_last = lines[last].replace("\"tick\":", "\"tick\":1");
    let mut changed_at_the_end = lines.clone();
    changed_at_the_end[last] = &changed_last;
    for (what, text) in [
        ("changed", joined(&changed_lines)),
        ("changed at the end", joined(&changed_at_the_end)),
        ("removed", without(2)),
        ("removed at the start", without(0)),
        ("removed at the end", without(last)),
        ("inserted", with(3, lines[3])),
        ("inserted at the start", with(0, lines[0])),
        ("swapped", whole.replacen(lines[1], "#", 1).replacen(lines[2], lines[1], 1).replacen('#', lines[2], 1)),
        ("torn", whole[..whole.len() - 5].to_owned()),
        ("emptied", String::new()),
    ] {
        fs::write(&path, text).expect("changed");
        let said = night.fails(&["log", "--verify"], 1);
        assert!(said.contains("ledger.jsonl") && said.contains("refs/autometta/state"), "{what}: {said}");
    }
    fs::write(&path, &whole).expect("put back");
    assert!(night.ok(&["log", "--verify"]).contains("each follows"));
}
