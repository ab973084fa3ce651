//! `tick --plan` over the real binary: it says exactly what the following tick then does, and changes nothing.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS, text};

/// Blocks until the test lets everybody go.
const WAIT_FOR_GO: &str = r#"while [ ! -e "$T/go" ]; do sleep 0.02; done"#;

/// Every file below a folder with its bytes, but the locks and logs of runs, which belong to what runs.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below").display().to_string();
            let kind = entry.file_type().expect("kind");
            if kind.is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                open.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).expect("link").display().to_string();
                found.insert(name, target.into_bytes());
            } else {
                found.insert(name, fs::read(&path).expect("file"));
            }
        }
    }
    found
}

/// The whole world of a night that a plan must not touch: state, git with its objects and refs, worktrees, checkout.
fn world(night: &Night) -> BTreeMap<String, Vec<u8>> {
    let mut world = files(&night.repo);
    // A run's pulse that finds the lock held leaves this mark, whenever it comes; a plan takes no lock and leaves none.
    world.remove("state/.tick.again");
    if night.worktrees().exists() {
        world.extend(files(&night.worktrees()).into_iter().map(|(name, bytes)| (format!("worktrees: {name}"), bytes)));
    }
    world
}

/// Waits for a run's record and for its supervisor to be gone, all under the lock.
fn ended(night: &Night, run: &str) {
    let dir = night.repo.join("state/runs").join(run);
    night.wait(&format!("{run} to end"), || {
        let lock = File::options().write(true).open(dir.join("run.lock"));
        dir.join("exit.json").exists() && lock.is_ok_and(|lock| lock.try_lock().is_ok())
    });
    // Its pulse comes after the lock is let go; nobody but it is left of this night.
    let mark = night.base().display().to_string();
    night.wait("its pulse to go", || {
        let alive = fs::read_dir("/proc").expect("proc").flatten().any(|entry| {
            let id = entry.file_name().to_string_lossy().into_owned();
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            id.parse::<u32>().is_ok_and(|id| id != std::process::id()) && text(&words).contains(&mark)
        });
        !alive
    });
}

/// Notes as text.
fn notes(value: &Value) -> Vec<String> {
    value.as_array().expect("notes").iter().map(ToString::to_string).collect()
}

/// Plans, then ticks, and compares the two; gives the plan. Nothing else may fire meanwhile.
fn plan_then_tick(night: &Night, held: File) -> Value {
    let before = world(night);
    let plan: Value = serde_json::from_str(&night.ok(&["tick", "--plan", "--json"])).expect("json");
    let words = night.ok(&["tick", "--plan"]);
    let after = world(night);
    let changed: Vec<&String> =
        before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).collect();
    assert!(changed.is_empty(), "a plan changed {changed:?}");
    let launches = plan["launches"].as_array().expect("launches");
    for launch in launches {
        assert!(words.contains(&format!("launch {}", launch["run"].as_str().expect("run"))), "{words}");
    }
    let log = night.repo.join("state/ledger.jsonl");
    let known = fs::read_to_string(&log).expect("ledger").lines().count();
    drop(held);
    let output = night.run(&["tick", "--repo", &night.repo.display().to_string(), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(report[0]["held"], false);
    // What the tick decided first is what was planned; ticks that follow on quick ends only add to it.
    let did: Vec<String> = fs::read_to_string(&log).expect("ledger").lines().skip(known).map(str::to_owned).collect();
    let planned = notes(&plan["notes"]);
    assert!(did.len() >= planned.len(), "planned {planned:#?}, did {did:#?}");
    for (line, note) in did.iter().zip(plan["notes"].as_array().expect("notes")) {
        let line: Value = serde_json::from_str(line).expect("line");
        for key in ["stage", "run", "event", "from", "to", "detail"] {
            assert_eq!(line.get(key), note.get(key), "{key} of {line} and {note}");
        }
    }
    for launch in launches {
        let run = launch["run"].as_str().expect("run");
        let order: Value = serde_json::from_str(&night.read(format!("repo/state/runs/{run}/run.json"))).expect("order");
        assert_eq!(order["cwd"], launch["cwd"]);
        let argv: Vec<Value> = match &order["program"]["agent"]["argv"] {
            Value::Null => {
                let commands = order["program"]["gates"]["commands"].as_array().expect("commands");
                commands.iter().map(|gate| serde_json::json!(["/bin/sh", "-euc", gate["run"]])).collect()
            }
            argv => vec![argv.clone()],
        };
        assert_eq!(launch["argv"], Value::from(argv));
        let names: Vec<&Value> = order["env"].as_array().expect("env").iter().map(|entry| &entry["name"]).collect();
        assert_eq!(launch["env"].as_array().expect("env").iter().collect::<Vec<_>>(), names);
    }
    plan
}

fn launched(plan: &Value) -> Vec<&str> {
    plan["launches"].as_array().expect("launches").iter().map(|launch| launch["run"].as_str().expect("run")).collect()
}

/// Plans and ticks from the queue to the landing, one step at a time.
fn step_by_step(night: &Night, stage: &str) -> Vec<Value> {
    let mut plans = Vec::new();
    for role in ["worker", "gate", "verifier"] {
        let held = night.hold();
        if role != "worker" {
            let before = if role == "gate" { "worker" } else { "gate" };
            fs::write(night.t().join("go"), "").expect("go");
            ended(night, &format!("{stage}.1.{before}"));
            fs::remove_file(night.t().join("go")).expect("stay");
        }
        let plan = plan_then_tick(night, held);
        assert_eq!(launched(&plan), [format!("{stage}.1.{role}")], "{plan:#}");
        plans.push(plan);
    }
    plans
}

#[test]
fn a_plan_of_each_step_is_what_the_next_tick_does_candidate_trees_included() {
    let night =
        Night::with(&format!("echo work >a.txt\n{WAIT_FOR_GO}\n{HAND_IN}"), &format!("{WAIT_FOR_GO}\n{SAY_PASS}"));
    night.manifest("gates:\n  - {name: standing, run: \"test -d . && echo 'it''s'\"}\nsetup: \"true\"");
    let gate = format!("test -s a.txt\nwhile [ ! -e '{}/go' ]; do sleep 0.02; done", night.t().display());
    night.card_with("01-work", "", "1. `a.txt`", &gate);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    let plans = step_by_step(&night, "01-work");
    // The gate's plan named the tree that the gate then got.
    let order: Value = serde_json::from_str(&night.read("repo/state/runs/01-work.1.gate/run.json")).expect("order");
    let tree = order["candidate_tree"].as_str().expect("tree");
    assert!(notes(&plans[1]["notes"]).iter().any(|note| note.contains(tree)), "{tree} is not in {:#}", plans[1]);
    let held = night.hold();
    fs::write(night.t().join("go"), "").expect("go");
    ended(&night, "01-work.1.verifier");
    let plan = plan_then_tick(&night, held);
    assert!(plan["effects"].as_array().expect("effects").contains(&Value::from("land 01-work")), "{plan:#}");
    assert_eq!(night.stage("01-work")["status"], "completed");
    assert_eq!(night.git(&["rev-parse", "main^{tree}"]), tree);
}

#[test]
fn a_plan_of_a_script_night_is_what_the_next_tick_does() {
    let night = Night::bare();
    night.ok(&["init"]);
    let card = format!(
        "# Stage card 01-script: Write it\n\n## Metadata\n- **Worker:** Script <script@local>\n- **Verifier:** Check <check@local>\n\n\
         ## Objective\nWrite it.\n\n## Deliverables\n1. `a.txt`: it\n\n## Acceptance criteria\n1. it is there\n\n\
         ## Acceptance command\n```sh\ntest -s a.txt\nwhile [ ! -e '{t}/go' ]; do sleep 0.02; done\n```\n\n\
         ## Script\n```sh\necho it >a.txt\nwhile [ ! -e '{t}/go' ]; do sleep 0.02; done\n```\n",
        t = night.t().display()
    );
    night.write("stage-cards/01-script.md", &card);
    night.ok(&["add-stage", "stage-cards/01-script.md"]);
    step_by_step(&night, "01-script");
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-script", "completed");
}

#[test]
fn a_plan_of_a_refused_candidate_names_the_same_tree_and_the_next_attempt() {
    let night = Night::with(&format!("echo stray >stray.txt\n{WAIT_FOR_GO}\n{HAND_IN}"), SAY_PASS);
    night.queue("01-work");
    plan_then_tick(&night, night.hold());
    let held = night.hold();
    fs::write(night.t().join("go"), "").expect("go");
    ended(&night, "01-work.1.worker");
    fs::remove_file(night.t().join("go")).expect("stay");
    let plan = plan_then_tick(&night, held);
    assert_eq!(launched(&plan), ["01-work.2.worker"]);
    assert!(notes(&plan["notes"])[0].contains("stray.txt"));
}

#[test]
fn a_plan_of_nothing_says_so_and_changes_nothing() {
    let night = Night::passing();
    let before = world(&night);
    assert_eq!(night.ok(&["tick", "--plan"]), "the next tick would do nothing\n");
    assert_eq!(world(&night), before);
    night.queue("01-work");
    night.ok(&["halt"]);
    assert_eq!(night.ok(&["tick", "--plan"]), "the next tick would do nothing\n");
    night.ok(&["resume"]);
    fs::remove_file(night.repo.join("stage-cards/01-work.md")).expect("remove");
    plan_then_tick(&night, night.hold());
    assert_eq!(night.stage("01-work")["reason"]["code"], "card-unusable");
}
