//! What of the past goes and what stays, by the real binary: planned, done, in passing, and whatever stands there.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS, text};

/// A second after its end a run's logs are compressed, and two later its stage's runs may go; how full the machine's
/// disk is must not matter.
const SOON: &str = "keep: {runs: 3s, compress: 1s, floor: 0 B}";
/// Nothing goes by its age.
const NEVER: &str = "keep: {runs: 300 days, compress: 300 days, floor: 0 B}";

/// A night whose worker prints what `log --run` shows, with this `keep:`.
fn night(keep: &str) -> Night {
    let night = Night::bare();
    night.stub(
        "worker",
        &format!("echo \"the work of $2\"; echo \"a warning of $2\" >&2; echo \"$1\" >a.txt\n{HAND_IN}"),
    );
    night.stub("verifier", SAY_PASS);
    night.manifest(&format!("caps: {{tokens: 900000000}}\n{keep}"));
    night.ok(&["init"]);
    night
}

/// Works a stage through, and waits for the report of the night.
fn land(night: &Night, stage: &str) {
    night.queue(stage);
    night.tick_until(stage, "completed");
    reported(night);
}

/// Waits until nothing is left to be done around what is over, and a report tells of it.
fn reported(night: &Night) {
    let at = |name: &str| fs::metadata(night.repo.join(name)).and_then(|meta| meta.modified()).ok();
    night.wait("the report", || {
        let _ = night.tick();
        let is_at_rest = !night.read("repo/state/state.yaml").contains("chores:");
        let is_told =
            is_at_rest && at("state/report.html").is_some_and(|report| Some(report) >= at("state/state.yaml"));
        if is_at_rest && !is_told {
            night.ok(&["report"]);
        }
        is_told
    });
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn runs(night: &Night) -> PathBuf {
    night.repo.join("state/runs")
}

fn planned(night: &Night) -> Value {
    serde_json::from_str(&night.ok(&["clean", "--plan", "--json"])).expect("json")
}

/// The plan's items of a kind, by run.
fn items(cleaned: &Value, what: &str) -> Vec<String> {
    let items = cleaned["plan"]["items"].as_array().expect("items").iter().filter(|item| item["what"] == what);
    items.map(|item| item["run"].as_str().unwrap_or_default().to_owned()).collect()
}

const RUNS: [&str; 3] = ["01-a.1.gate", "01-a.1.verifier", "01-a.1.worker"];

#[test]
fn an_old_landed_stage_goes_whole_and_is_still_known() {
    let night = night(SOON);
    land(&night, "01-a");
    night.wait("its age", || items(&planned(&night), "remove").len() == 3);
    assert_eq!(names(&runs(&night)), RUNS, "a plan changes nothing");
    let shown = night.ok(&["clean", "--plan"]);
    assert!(shown.starts_with("would free ") && shown.contains("remove 01-a.1.worker, "), "{shown}");
    let said = night.ok(&["clean"]);
    assert!(
        said.starts_with("freed ") && said.contains("3 runs removed (their stages ended 3s ago or more)"),
        "{said}"
    );
    assert_eq!(names(&runs(&night)), Vec::<String>::new());
    assert!(!night.repo.join("state/logs/01-a-worker.log").is_symlink(), "no link leads nowhere");
    let story = night.ok(&["show", "01-a"]);
    assert!(story.contains("01-a.1.worker") && story.contains("its directory is gone"), "{story}");
    assert_eq!(night.ok(&["clean"]), "nothing to take away\n");
    for reading in [&["log", "--verify"][..], &["log", "--replay"], &["report"], &["doctor"], &["simulate"]] {
        let _ = night.run(reading);
    }
    night.ok(&["log", "--verify"]);
    night.ok(&["log", "--replay"]);
    land(&night, "02-b");
}

#[test]
fn a_tick_does_it_in_passing_once_it_is_due_and_not_before() {
    let night = night("keep: {runs: 1s, compress: 1s, floor: 0 B}");
    land(&night, "01-a");
    night.wait("its age", || items(&planned(&night), "remove").len() == 3);
    for _ in 0..5 {
        assert!(night.tick().status.success());
    }
    assert_eq!(names(&runs(&night)), RUNS, "it is not due for an hour");
    assert!(!night.repo.join("state/keep.json").exists());
    night.make_due();
    night.wait("a tick that does it", || {
        let _ = night.tick();
        names(&runs(&night)).is_empty()
    });
    night.wait("the next hour", || {
        let _ = night.tick();
        let heartbeat: Value = serde_json::from_str(&night.read("repo/state/heartbeat.json")).expect("json");
        let due: chrono::DateTime<chrono::Utc> = heartbeat["keep_at"].as_str().expect("due").parse().expect("time");
        let minutes = (SystemTime::from(due).duration_since(SystemTime::now())).map_or(0, |left| left.as_secs() / 60);
        (50..=60).contains(&minutes)
    });
    // One that is far away is of a clock that was set back.
    land(&night, "02-b");
    night.wait("its age", || items(&planned(&night), "remove").len() == 3);
    let path = night.repo.join("state/heartbeat.json");
    let later = night.read("repo/state/heartbeat.json").replace("\"keep_at\": \"20", "\"keep_at\": \"21");
    fs::write(path, later).expect("heartbeat");
    night.wait("a tick that does it", || {
        let _ = night.tick();
        names(&runs(&night)).is_empty()
    });
}

#[test]
fn what_waits_is_unmerged_or_not_reported_stays() {
    let night = night("keep: {runs: 1s, compress: 300 days, floor: 0 B}\nretry: {work: 0}");
    night.stub("worker", &format!("echo \"$1\" >a.txt; [ \"$1\" != 03-c ] || sleep 1000\n{HAND_IN}"));
    night.queue("01-a");
    night.tick_until("01-a", "completed");
    night.card_with("02-b", "", "1. `a.txt`", "false");
    night.ok(&["add-stage", "stage-cards/02-b.md"]);
    night.tick_until_that("02-b", |stage| stage["status"] == "verifier_failed" || stage["status"] == "failed");
    night.queue("03-c");
    night.tick_until_that("03-c", |stage| stage["status"] == "in_progress");
    let stays = |night: &Night| planned(night)["plan"]["stays"].clone();
    let report = night.repo.join("state/report.html");
    night.wait("their age, without a report", || {
        // The process that tells of the night before may still be writing it.
        drop(fs::remove_file(&report));
        stays(&night) == serde_json::json!({"in-flight": 1, "waits-for-you": 2, "unreported": 3})
    });
    std::thread::sleep(Duration::from_secs(1));
    drop(fs::remove_file(&report));
    assert_eq!(items(&planned(&night), "remove"), Vec::<String>::new());
    night.ok(&["report"]);
    assert_eq!(stays(&night), serde_json::json!({"in-flight": 1, "waits-for-you": 2}));
    // Closed by a person, its work is still on a branch of its own.
    night.ok(&["skip", "02-b"]);
    night.wait("the chores", || {
        let _ = night.tick();
        night.ok(&["report"]);
        stays(&night)["unmerged"] == 2
    });
    night.ok(&["clean"]);
    let left = ["02-b.1.gate", "02-b.1.worker", "03-c.1.worker"];
    assert_eq!(names(&runs(&night)), left);
    assert_eq!(night.git(&["show", "wip/02-b-attempt-1:a.txt"]), "02-b");
    // Merged by hand, it is on the base branch.
    night.git(&["merge", "-q", "--no-edit", "-s", "ours", "wip/02-b-attempt-1"]);
    let branches = night.git(&["branch", "--list", "wip/*", "autometta/*"]);
    night.wait("its age", || items(&planned(&night), "remove").len() == 2);
    let said = night.ok(&["clean"]);
    assert_eq!(names(&runs(&night)), ["03-c.1.worker"], "{said}{branches}");
    assert_eq!(night.git(&["branch", "--list", "wip/*", "autometta/*"]), branches, "branches are never pruned");
    night.ok(&["cancel", "03-c"]);
}

#[test]
fn above_the_size_and_below_the_floor_records_stay() {
    for limit in ["size: 1 KB, floor: 0 B", "floor: 999 TB"] {
        let night = night(&format!("keep: {{runs: 300 days, compress: 300 days, {limit}}}"));
        land(&night, "01-a");
        let before = night.ok(&["show", "01-a", "--json"]);
        let plan = planned(&night);
        assert_eq!(items(&plan, "strip").len(), 3, "{plan:#}");
        let said = night.ok(&["clean"]);
        assert!(said.contains("3 runs cut down to their records"), "{said}");
        let missing = if limit.contains("999") { "must stay free" } else { "more than `keep:" };
        assert!(said.contains(missing), "{said}");
        let worker = names(&runs(&night).join("01-a.1.worker"));
        assert!(worker.contains(&"exit.json".to_owned()) && worker.contains(&"outbox".to_owned()), "{worker:?}");
        assert!(!worker.contains(&"stdout.log".to_owned()) && !worker.contains(&"prompt.md".to_owned()), "{worker:?}");
        assert_eq!(night.ok(&["show", "01-a", "--json"]), before);
        let log = night.ok(&["log", "--run", "01-a.1.worker"]);
        assert!(log.contains("its output was not kept"), "{log}");
        assert_eq!(items(&planned(&night), "strip"), Vec::<String>::new());
        night.ok(&["log", "--replay"]);
    }
}

#[test]
fn compressed_logs_read_as_they_did() {
    let night = night("keep: {runs: 300 days, compress: 1s, floor: 0 B}\nretry: {work: 0}");
    night.stub("worker", "printf 'first\\nsecond \\033[31mred\\n'; echo 'a fault' >&2; exit 3");
    night.queue("01-a");
    night.tick_until_that("01-a", |stage| !matches!(stage["status"].as_str(), Some("pending" | "in_progress")));
    let readings: [&[&str]; 4] = [
        &["log", "--run", "01-a"],
        &["log", "--run", "01-a.1.worker", "--raw"],
        &["log", "--run", "01-a.1.worker", "--follow"],
        &["show", "01-a", "--json"],
    ];
    reported(&night);
    let read = || readings.iter().map(|words| night.ok(words)).collect::<Vec<_>>();
    let before = read();
    assert!(
        before[0].contains("second") && before[0].contains("a fault") && before[3].contains("a fault"),
        "{before:#?}"
    );
    let link = night.repo.join("state/logs/01-a-worker.log");
    assert!(link.exists());
    let workers = names(&runs(&night)).len();
    night.wait("its age", || items(&planned(&night), "compress").len() == workers);
    assert!(night.ok(&["clean"]).contains("the logs of"));
    let dir = names(&runs(&night).join("01-a.1.worker"));
    assert!(dir.contains(&"stdout.log.gz".to_owned()) && !dir.contains(&"stdout.log".to_owned()), "{dir:?}");
    assert_eq!(read(), before);
    assert!(!link.is_symlink());
}

#[test]
fn what_stands_among_the_runs_is_left_alone_and_stops_nothing() {
    let mut night = night("keep: {runs: 1s, compress: 1s, floor: 0 B}");
    land(&night, "01-a");
    let (runs, outside) = (runs(&night), night.t());
    fs::write(outside.join("mine"), "precious").expect("file");
    symlink(&outside, runs.join("01-a.2.worker")).expect("link");
    symlink(outside.join("mine"), runs.join("01-a.1.gate/stdout.log.gz")).expect("link");
    nix::unistd::mkfifo(&runs.join("01-a.3.worker"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    symlink(&outside, runs.join(".gone-01-a.4.worker")).expect("link");
    fs::write(runs.join("01-a.5.worker"), "no folder").expect("file");
    fs::create_dir(runs.join("notes")).expect("folder");
    fs::create_dir(runs.join("99-unknown.1.worker")).expect("folder");
    night.wait("its age", || items(&planned(&night), "remove").len() == 3);
    // One cannot be renamed: it is named, and the others go.
    night.fail(|_| "*/spent.aside:1:eacces".to_owned());
    let said = night.fails(&["clean"], 1);
    assert!(said.contains("01-a.1.worker stays: cannot remove") && said.contains("Permission denied"), "{said}");
    assert!(said.contains("2 runs removed"), "{said}");
    assert!(said.contains("4 in state/runs are no runs and are left alone: 01-a.2.worker"), "{said}");
    let left = ["01-a.1.worker", "01-a.2.worker", "01-a.3.worker", "01-a.5.worker", "99-unknown.1.worker", "notes"];
    assert_eq!(names(&runs), left);
    // A tick tells it once.
    night.set("AUTOMETTA_FAULT", "*/spent.aside:*:eacces");
    for _ in 0..3 {
        night.make_due();
        night.wait("a look", || {
            let _ = night.tick();
            !night.read("repo/state/heartbeat.json").contains("2020-01-01")
        });
    }
    let log = names(&night.home.join("log"));
    let log = night.read(format!("home/log/{}", log.last().expect("log")));
    assert_eq!(log.matches("01-a.1.worker stays").count(), 1, "{log}");
    night.set("AUTOMETTA_FAULT", "");
    night.ok(&["clean"]);
    assert_eq!(names(&runs), left[1..]);
    assert_eq!(names(&outside), ["mine"]);
    assert_eq!(night.read("t/mine"), "precious");
    // A folder of runs that leads elsewhere is not ours to empty.
    fs::rename(&runs, outside.join("runs")).expect("moved");
    symlink(outside.join("runs"), &runs).expect("link");
    night.ok(&["clean"]);
    assert_eq!(names(&runs), left[1..]);
}

#[test]
fn killed_anywhere_it_is_finished_by_the_next() {
    let mut night = night("keep: {runs: 300 days, compress: 1s, floor: 0 B}");
    let faults = night.base().join("faults");
    let (mut tried, mut number) = (0, 0);
    for (point, keep) in [
        ("stream.make", "compress: 1s"),
        ("spent.pack", "compress: 1s"),
        ("spent.pack-time", "compress: 1s"),
        ("stream.sync", "compress: 1s"),
        ("stream.rename", "compress: 1s"),
        ("folder.sync", "compress: 1s"),
        ("atomic.remove", "compress: 1s"),
        ("spent.aside", "runs: 1s"),
        ("spent.remove", "runs: 1s"),
        ("spent.folder", "runs: 1s"),
        ("atomic.rename", "runs: 1s"),
    ] {
        number += 1;
        let stage = format!("{number:02}-a");
        night.manifest(NEVER);
        land(&night, &stage);
        let shown = night.ok(&["log", "--run", &format!("{stage}.1.worker")]);
        let rest = if keep.starts_with("runs") { "compress: 300 days" } else { "runs: 300 days" };
        night.manifest(&format!("keep: {{{keep}, {rest}, floor: 0 B}}"));
        let due = |plan: &Value| {
            let all = [items(plan, "remove"), items(plan, "compress")].concat();
            all.iter().filter(|run| run.starts_with(&stage)).count()
        };
        let prints = |run: &&String| {
            let log =
                |name: &str| fs::metadata(runs(&night).join(run.as_str()).join(name)).map_or(0, |meta| meta.len());
            run.starts_with(&stage) && log("stdout.log") + log("stderr.log") > 0
        };
        let wanted = if keep.starts_with("runs") { 3 } else { names(&runs(&night)).iter().filter(prints).count() };
        night.wait("its age", || due(&planned(&night)) == wanted);
        for occurrence in 1..=2 {
            drop(fs::remove_dir_all(&faults));
            fs::create_dir(&faults).expect("folder");
            night.set("AUTOMETTA_FAULT_DIR", &faults.display().to_string());
            night.set("AUTOMETTA_FAULT", &format!("clean/{point}:{occurrence}:abort"));
            let output = night.run(&["clean"]);
            tried += usize::from(output.status.code().is_none());
            let told = night.read("faults/log");
            assert!(
                output.status.code().is_some() || told.contains("FAULT"),
                "{point}: {told}{}",
                text(&output.stderr)
            );
            night.set("AUTOMETTA_FAULT", "");
            if keep.starts_with("compress") {
                assert_eq!(night.ok(&["log", "--run", &format!("{stage}.1.worker")]), shown, "{point} {occurrence}");
            }
            night.ok(&["show", &stage]);
            night.ok(&["doctor", "--help"]);
        }
        night.ok(&["clean"]);
        let plan = planned(&night);
        assert_eq!(due(&plan), 0, "{point}: {plan:#}");
        let left = names(&runs(&night));
        assert!(left.iter().all(|name| !name.starts_with('.')), "{point}: {left:?}");
        for name in left.iter().map(|run| runs(&night).join(run)).flat_map(|dir| names(&dir)) {
            assert!(!name.ends_with("autometta-tmp"), "{point}: {name}");
        }
    }
    assert!(tried >= 15, "{tried} deaths");
}

#[test]
fn old_segments_go_and_what_younger_ones_name_stays() {
    let night = night("keep: {runs: 300 days, compress: 300 days, floor: 0 B}");
    // From here on parts that are named again are made young again.
    night.ok(&["clean"]);
    land(&night, "01-a");
    let journal = night.repo.join("state/journal");
    let old = SystemTime::now() - Duration::from_secs(40 * 86_400);
    let age = |path: &Path| {
        fs::File::options().write(true).open(path).and_then(|file| file.set_modified(old)).expect("time");
    };
    let first = journal.join(names(&journal).into_iter().find(|name| name.starts_with("000001-")).expect("segment"));
    let parts = names(&journal.join("parts"));
    for part in &parts {
        age(&journal.join("parts").join(part));
    }
    // The segment is full, so that the next begins.
    let mut full = fs::read(&first).expect("segment");
    full.extend(vec![b'\n'; 5 << 20]);
    fs::write(&first, full).expect("segment");
    land(&night, "02-b");
    age(&first);
    let before = night.ok(&["log", "--replay"]);
    assert!(before.contains("nothing differs"), "{before}");
    let said = night.ok(&["clean"]);
    assert!(said.contains("1 segment of the journal removed"), "{said}");
    assert!(!first.exists());
    let left = names(&journal.join("parts"));
    assert!(parts.iter().any(|part| !left.contains(part)), "what only the old segment named is gone");
    assert!(parts.iter().any(|part| left.contains(part)), "the policy is the same as before, and still named");
    let after = night.ok(&["log", "--replay"]);
    assert!(after.contains("nothing differs") && !after.contains("unreadable"), "{after}");
    let begins: u64 = names(&journal)[0].split(['-', '.']).nth(1).expect("line").parse().expect("number");
    assert!(after.contains(&format!("the journal begins at line {begins}: what is older than 30 days")), "{after}");
    let later = night.ok(&["log", "--replay", "--from", &begins.to_string()]);
    assert!(!later.contains("the journal begins"), "{later}");
    let past = night.fails(&["show", "--at", "2"], 1);
    assert!(past.contains(&format!("the journal begins at line {begins}")), "{past}");
    assert!(night.ok(&["clean"]).starts_with("nothing to take away"));
}

#[test]
fn a_part_of_before_there_was_a_memory_stays_until_it_is_surely_unnamed() {
    let night = night(NEVER);
    land(&night, "01-a");
    let parts = night.repo.join("state/journal/parts");
    let old = SystemTime::now() - Duration::from_secs(40 * 86_400);
    for part in names(&parts) {
        fs::File::options().write(true).open(parts.join(part)).and_then(|file| file.set_modified(old)).expect("time");
    }
    let before = names(&parts);
    night.ok(&["clean"]);
    assert_eq!(names(&parts), before, "an older program named them without making them young again");
    night.ok(&["log", "--replay"]);
}

#[test]
fn checkouts_that_are_left_over_go_unless_they_hold_work() {
    let night = night(NEVER);
    night.stub("worker", &format!("echo \"$1\" >a.txt; while [ ! -e \"$T/go-$1\" ]; do sleep 0.05; done\n{HAND_IN}"));
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp").arg("-a").args([from, to]).output().expect("cp runs");
        assert!(copied.status.success(), "{}", text(&copied.stderr));
    };
    // A checkout with its administration, as they were while the run lived, put back once its stage has landed: what a
    // state leaves that was brought back.
    let administration = night.repo.join(".git/worktrees");
    for stage in ["01-a", "02-b"] {
        let checkout = night.worktrees().join(format!("{stage}.1.worker"));
        night.queue(stage);
        night.tick_until_that(stage, |stage| stage["status"] == "in_progress");
        night.wait("its work", || checkout.join("a.txt").exists());
        let admin = names(&administration).into_iter().find(|name| name.contains(stage)).expect("administration");
        let (kept, kept_admin) = (night.t().join(stage), night.t().join(&admin));
        copy(&checkout, &kept);
        copy(&administration.join(&admin), &kept_admin);
        fs::write(night.t().join(format!("go-{stage}")), "").expect("go");
        night.tick_until(stage, "completed");
        reported(&night);
        assert!(!checkout.exists());
        fs::create_dir_all(night.worktrees()).expect("folder");
        fs::create_dir_all(&administration).expect("folder");
        copy(&kept, &checkout);
        copy(&kept_admin, &administration.join(&admin));
        if stage == "02-b" {
            fs::write(checkout.join("notes.txt"), "nobody else has these").expect("file");
        }
        // One that is a person's, whatever its name.
        drop(fs::create_dir(night.worktrees().join("99-mine.1.gate")));
        night.make_due();
        night.wait("a look", || {
            let _ = night.tick();
            !night.read("repo/state/heartbeat.json").contains("2020-01-01")
        });
        let left: &[&str] = if stage == "01-a" { &["99-mine.1.gate"] } else { &["02-b.1.worker", "99-mine.1.gate"] };
        assert_eq!(names(&night.worktrees()), left);
    }
    let said = night.fails(&["clean"], 1);
    assert!(said.contains("02-b.1.worker stays: it may hold work that is on no branch"), "{said}");
    assert_eq!(night.read("repo.autometta/02-b.1.worker/notes.txt"), "nobody else has these");
}
