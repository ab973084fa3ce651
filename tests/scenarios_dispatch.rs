//! Scenarios of dispatch, over the real binary with stub agents.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests play the operator, and a broken test environment should fail loudly"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use support::night::{HAND_IN, Night, SAY_PASS, WORKER};

/// Real output of Claude Code, for stubs that stand in for it.
const OUTPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agent-output");

/// What Claude Code prints when nobody is logged in.
const NOT_LOGGED_IN: &str = r#"{"type":"result","subtype":"success","is_error":true,"result":"Not logged in · Please run /login","session_id":"s","total_cost_usd":0,"usage":{"input_tokens":0,"output_tokens":0},"modelUsage":{}}"#;

/// A worker that waits, once it has shown that it runs, until the test lets it go on.
fn waiting_worker() -> String {
    format!("echo \"$2\" >>\"$T/workers\"\nuntil [ -e \"$T/go\" ]; do sleep 0.02; done\necho work >a.txt\n{HAND_IN}")
}

/// Writes the usual card for another worker, and queues it.
fn queue_for(night: &Night, stage: &str, worker: &str) {
    night.card(stage);
    let path = format!("stage-cards/{stage}.md");
    let card = night.read(format!("repo/{path}")).replace(WORKER, worker);
    night.write(&path, &card);
    night.ok(&["add-stage", &path]);
}

fn halts(night: &Night) -> Vec<Value> {
    night.budget()["halt_reasons"].as_array().cloned().unwrap_or_default()
}

/// Three ticks more, none of which finds the lock held by the tick that the end of a run has started.
fn stays_halted(night: &Night) {
    for _ in 0..3 {
        night.wait("a tick says that it is halted", || night.tick().status.code() == Some(4));
    }
}

/// How often the ledger tells of an event.
fn told(night: &Night, event: &str) -> usize {
    let ledger = night.read("repo/state/ledger.jsonl");
    ledger.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count()
}

/// Whether a process lives; one that has ended and waits for its parent does not.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn exists(night: &Night, name: &str) -> bool {
    night.t().join(name).exists()
}

/// Every file of a folder with its bytes, without what is ours and git's objects.
fn files(top: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(top).expect("below").display().to_string();
            if name == "state" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, fs::read(&path).expect("file"));
            }
        }
    }
    for name in ["HEAD", "index", "config"] {
        found.insert(format!(".git/{name}"), fs::read(top.join(".git").join(name)).expect("git's file"));
    }
    found
}

#[test]
fn scenario_01_an_agent_that_reads_its_stdin_to_the_end_gets_the_prompt_and_eof() {
    let night = Night::with(&format!("cat >\"$T/prompt\"\necho work >a.txt\n{HAND_IN}"), SAY_PASS);
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    let prompt = night.read("t/prompt");
    assert!(prompt.contains("01-work") && prompt.contains("Do it."), "{prompt}");
}

#[test]
fn scenario_02_a_card_that_is_edited_under_way_is_judged_as_the_worker_read_it() {
    let look = "cp .autometta/card.md \"$T/verifiers-card\"\ncat >\"$T/verifiers-prompt\"";
    let night = Night::with(
        &format!("cp .autometta/card.md \"$T/workers-card\"\n{}", waiting_worker()),
        &format!("{look}\n{SAY_PASS}"),
    );
    night.queue("01-work");
    night.tick();
    night.wait("the worker runs", || exists(&night, "workers"));
    let before = night.read("repo/stage-cards/01-work.md");
    night.write("stage-cards/01-work.md", &before.replace("Do it.", "Do something else.").replace("test -s", "false"));
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("t/workers-card"), before);
    assert_eq!(night.read("t/verifiers-card"), before);
    let prompt = night.read("t/verifiers-prompt");
    assert!(prompt.contains("Do it.") && !prompt.contains("something else"), "{prompt}");
    night.wait("the verdict is published", || night.repo.join("state/verifiers/01-work.json").exists());
    let verdict: Value = serde_json::from_str(&night.read("repo/state/verifiers/01-work.json")).expect("verdict");
    let sum = Sha256::digest(before.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert_eq!(verdict["card_sha256"], sum, "{verdict:#}");
}

#[test]
fn scenario_03_a_worker_outlives_the_process_group_of_its_tick() {
    let night = Night::with(&waiting_worker(), SAY_PASS);
    night.queue("01-work");
    let mut tick = night.command(&["tick"]).process_group(0).spawn().expect("tick");
    night.wait("the worker runs", || exists(&night, "workers"));
    // The tick may be over by now, and then the group may be empty: both are what launchd finds as well.
    let group = nix::unistd::Pid::from_raw(i32::try_from(tick.id()).expect("pid"));
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    tick.wait().expect("the tick is reaped");
    fs::write(night.t().join("go"), "").expect("go");
    // Nothing ticks from here on but the ends of the runs themselves.
    night.wait("it lands by itself", || night.stage("01-work")["status"] == "completed");
    assert_eq!(night.read("t/workers").lines().count(), 1);
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
}

#[test]
fn scenario_04_five_ticks_during_one_worker_start_nothing_more() {
    let night = Night::with(&waiting_worker(), &format!("touch \"$T/verifier\"\n{SAY_PASS}"));
    night.queue("01-work");
    night.tick();
    night.wait("the worker runs", || exists(&night, "workers"));
    for _ in 0..5 {
        assert!(night.tick().status.success());
    }
    let stage = night.stage("01-work");
    assert_eq!(stage["phase"], "working", "{stage:#}");
    let runs: Vec<_> = fs::read_dir(night.repo.join("state/runs")).expect("runs").flatten().collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert!(!exists(&night, "verifier"));
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("t/workers"), "01-work.1.worker\n");
}

#[test]
fn scenario_05_odd_arguments_and_a_prompt_of_300_kilobytes_arrive_unchanged() {
    let night = Night::bare();
    let stub = "printf '%s\\0' \"$@\" >\"$T/args\"\ncat >\"$T/prompt\"\nset -- 01-work\necho work >a.txt\n";
    night.stub("odd", &format!("{stub}{HAND_IN}"));
    night.stub("worker", "exit 1");
    night.stub("verifier", SAY_PASS);
    let odd = ["two words", "it's", "say \"hi\"", "a\nb\n", "$HOME `id` $(id) * ?", "", "back\\slash", "-–é\t;"];
    let mut command = vec![night.base().join("stubs/odd").display().to_string()];
    command.extend(odd.map(str::to_owned));
    night.manifest(&format!("  odd: {{identities: [\"Odd*\"], command: {}, pass_env: [T]}}", json!(command)));
    night.ok(&["init"]);
    night.card("01-work");
    // A card may have 256 KiB; the template of the repository adds the rest.
    let lines = |from: u32| (from..from + 15_000).map(|line| format!("{line:09}\n")).collect::<Vec<_>>().concat();
    night.write("templates/autometta/worker.md", &format!("{{{{card}}}}\n{}", lines(15_000)));
    let card = night.read("repo/stage-cards/01-work.md").replace(WORKER, "Odd One <odd@local>");
    night.write("stage-cards/01-work.md", &card.replace("Do it.", &format!("Do it.\n{}", lines(0))));
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    night.tick_until("01-work", "completed");
    let args = night.read("t/args");
    assert_eq!(args.split_terminator('\0').collect::<Vec<_>>(), odd);
    let prompt = night.read("t/prompt");
    assert!(
        prompt.len() > 300_000 && prompt.contains(&lines(0)) && prompt.ends_with(&lines(15_000)),
        "{} bytes",
        prompt.len()
    );
}

/// Makes what the agent's path then holds.
type PrepareStub = dyn Fn(&Night, &Path);

#[test]
fn scenario_06_an_agent_that_cannot_be_started_halts_once_and_charges_nothing() {
    let works = format!("cat '{OUTPUT}/claude-success.jsonl'\necho work >a.txt\nset -- 01-work\n{HAND_IN}");
    let cases: &[(&str, &PrepareStub, &str)] = &[
        ("missing", &|_, _| (), "cannot be found"),
        ("not executable", &|_, stub| fs::write(stub, "#!/bin/sh\nexit 0\n").expect("stub"), "not an executable file"),
        ("a folder", &|_, stub| fs::create_dir(stub).expect("folder"), "not an executable file"),
        ("no interpreter", &|night, _| stub_by(night, "#!/no/such/interpreter\n"), "cannot be started"),
        (
            "not logged in",
            &|night, _| stub_by(night, &format!("#!/bin/sh\necho '{NOT_LOGGED_IN}'\nexit 1\n")),
            "Not logged in · Please run /login",
        ),
        (
            "not logged in, and exits 0",
            &|night, _| stub_by(night, &format!("#!/bin/sh\necho '{NOT_LOGGED_IN}'\n")),
            "Not logged in · Please run /login",
        ),
        (
            "refused by status 401 while it retries for minutes",
            &|night, _| {
                stub_by(night, &format!("#!/bin/sh\ncat '{OUTPUT}/claude-401-retrying-killed.jsonl'\nsleep 1000\n"));
            },
            "status 401",
        ),
    ];
    for (name, prepare, quoted) in cases {
        let night = Night::bare();
        night.stub("worker", "exit 1");
        night.stub("verifier", SAY_PASS);
        let stub = night.base().join("stubs/claude");
        night.manifest(&format!("  claude: {{command: [{}], pass_env: [T]}}", json!(stub)));
        night.ok(&["init"]);
        prepare(&night, &stub);
        queue_for(&night, "01-work", "Claude Stub <claude-stub@local>");
        night.tick();
        night.wait("it halts", || {
            night.tick();
            night.budget()["halted"] == true
        });
        stays_halted(&night);
        let halts = halts(&night);
        assert_eq!(halts.len(), 1, "{name}: {halts:?}");
        assert_eq!(halts[0]["reason"], "dispatch-configuration-fault", "{name}");
        assert!(halts[0]["detail"].as_str().expect("detail").contains(quoted), "{name}: {}", halts[0]);
        assert_eq!(told(&night, "halted"), 1, "{name}");
        assert_eq!(told(&night, "dispatched"), 1, "{name}");
        let (stage, budget) = (night.stage("01-work"), night.budget());
        assert_eq!(stage["status"], "pending", "{name}: {stage:#}");
        assert_eq!(stage["tokens"], 0, "{name}");
        for figure in ["tokens_spent", "tokens_reserved", "consecutive_failures"] {
            assert_eq!(budget[figure], 0, "{name}: {figure}");
        }
        // Once a person has put it right, the same attempt goes on.
        if stub.is_dir() {
            fs::remove_dir(&stub).expect("folder");
        }
        night.stub("claude", &works);
        night.ok(&["resume"]);
        let stage = night.tick_until("01-work", "completed");
        assert_eq!(stage["attempt"], 1, "{name}: {stage:#}");
    }
}

#[test]
fn scenario_06_a_verifier_that_cannot_be_started_halts_once_and_the_work_is_not_done_again() {
    let night = Night::with(&format!("echo \"$2\" >>\"$T/workers\"\necho work >a.txt\n{HAND_IN}"), SAY_PASS);
    let stub = night.base().join("stubs/verifier");
    fs::remove_file(&stub).expect("stub");
    night.queue("01-work");
    night.tick();
    night.wait("it halts", || {
        night.tick();
        night.budget()["halted"] == true
    });
    stays_halted(&night);
    let halts = halts(&night);
    assert_eq!(halts.len(), 1, "{halts:?}");
    assert_eq!(halts[0]["reason"], "dispatch-configuration-fault");
    assert!(halts[0]["detail"].as_str().expect("detail").contains(&stub.display().to_string()), "{}", halts[0]);
    assert_eq!(told(&night, "halted"), 1);
    assert_eq!(night.stage("01-work")["phase"], "verifying");
    night.stub("verifier", SAY_PASS);
    night.ok(&["resume"]);
    night.tick_until("01-work", "completed");
    assert_eq!(night.read("t/workers"), "01-work.1.worker\n");
}

/// Writes the stub of the `claude` family with an interpreter of the test's choice.
fn stub_by(night: &Night, text: &str) {
    night.stub("claude", "");
    fs::write(night.base().join("stubs/claude"), text).expect("stub");
}

#[test]
fn scenario_07_a_secret_whose_resolver_hangs_is_given_up_and_halts_once() {
    let night = Night::bare();
    night.stub("worker", &format!("touch \"$T/agent\"\necho work >a.txt\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    // It ignores TERM, leaves its session, and keeps its output open.
    let resolver = r#"cmd:trap "" TERM; setsid sleep 1000 & echo $! >"$T/child"; echo $$ >"$T/resolver"; wait"#;
    let stub = night.base().join("stubs/worker");
    night.manifest(&format!(
        "  slow: {{identities: [\"Slow*\"], command: [{}, \"{{stage}}\"], auth: local, pass_env: [T], env: {{SOME_TOKEN: {}}}}}",
        json!(stub),
        json!(resolver)
    ));
    night.ok(&["init"]);
    queue_for(&night, "01-work", "Slow One <slow@local>");
    night.tick();
    night.wait("it halts", || {
        night.tick();
        night.budget()["halted"] == true
    });
    let halts = halts(&night);
    assert_eq!(halts.len(), 1, "{halts:?}");
    assert_eq!(halts[0]["reason"], "dispatch-configuration-fault");
    assert!(halts[0]["detail"].as_str().expect("detail").contains("no answer within"), "{}", halts[0]);
    assert_eq!((told(&night, "halted"), told(&night, "dispatched")), (1, 1));
    assert!(!exists(&night, "agent"));
    for name in ["resolver", "child"] {
        let pid = night.read(format!("t/{name}"));
        assert!(!lives(pid.trim()), "the {name} lives");
    }
    let stage = night.stage("01-work");
    assert_eq!((&stage["status"], &stage["tokens"]), (&json!("pending"), &json!(0)), "{stage:#}");
}

#[test]
fn scenario_08_a_card_that_is_not_committed_is_worked_on_without_touching_the_checkout() {
    let verifier = format!("touch \"$T/judging\"\nuntil [ -e \"$T/go\" ]; do sleep 0.02; done\n{SAY_PASS}");
    let night = Night::with(&format!("ls -A >\"$T/listing\"\necho work >a.txt\n{HAND_IN}"), &verifier);
    night.write("notes.txt", "the operator's own, not committed\n");
    night.write("README.md", "# Repo, edited\n");
    night.queue("01-work");
    let before = files(&night.repo);
    night.tick();
    night.wait("the verifier runs", || exists(&night, "judging"));
    assert!(files(&night.repo) == before, "the checkout has changed while the stage was worked on");
    let listing = night.read("t/listing");
    assert!(!listing.contains("stage-cards") && !listing.contains("notes.txt"), "{listing}");
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-work", "completed");
    let mut after = files(&night.repo);
    assert_eq!(after.remove("a.txt").as_deref(), Some("work\n".as_bytes()), "the landing reaches the checkout");
    after.remove(".git/index");
    let expected: BTreeMap<_, _> = before.into_iter().filter(|(name, _)| name != ".git/index").collect();
    assert!(after == expected, "the landing changed more than its own file");
}

#[test]
fn scenario_09_keys_of_the_parent_reach_an_agent_only_where_its_auth_mode_names_them() {
    let keys = [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "OPENAI_API_KEY",
        "CODEX_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "SSH_AUTH_SOCK",
        "MY_KEY",
    ];
    let cases: [(&str, &[&str]); 3] = [
        ("auth: subscription", &[]),
        ("auth: api, env: {ANTHROPIC_API_KEY: \"env:MY_KEY\"}", &["ANTHROPIC_API_KEY=parent-MY_KEY"]),
        ("auth: local, env: {OPENAI_API_KEY: \"local\"}", &["OPENAI_API_KEY=local"]),
    ];
    for (mode, expected) in cases {
        let mut night = Night::bare();
        for key in keys {
            night.set(key, &format!("parent-{key}"));
        }
        let stub = night.base().join("stubs/claude");
        let work = format!("cat '{OUTPUT}/claude-success.jsonl'\nenv >\"$T/worker\"\necho work >a.txt\nset -- 01-work");
        night.stub("claude", &format!("{work}\n{HAND_IN}"));
        night.stub("worker", "exit 1");
        night.stub("verifier", &format!("env >\"$T/verifier\"\n{SAY_PASS}"));
        night.manifest(&format!("  claude: {{command: [{}], pass_env: [T], {mode}}}", json!(stub)));
        night.ok(&["init"]);
        let gate = format!("env >'{}'", night.t().join("gate").display());
        night.card_with("01-work", "", "1. `a.txt`: the work", &gate);
        let card = night.read("repo/stage-cards/01-work.md").replace(WORKER, "Claude Stub <claude-stub@local>");
        night.write("stage-cards/01-work.md", &card);
        night.ok(&["add-stage", "stage-cards/01-work.md"]);
        night.tick_until("01-work", "completed");
        let named = |file: &str| -> Vec<String> {
            let text = night.read(format!("t/{file}"));
            let of_key = |line: &&str| keys.iter().any(|key| line.starts_with(&format!("{key}=")));
            text.lines().filter(|line| of_key(line) || line.contains("parent-")).map(str::to_owned).collect()
        };
        assert_eq!(named("worker"), expected, "{mode}");
        assert!(named("gate").is_empty() && named("verifier").is_empty(), "{mode}");
        // A value that was resolved is in the environment and nowhere else.
        for (name, bytes) in files_of_state(&night) {
            assert!(!String::from_utf8_lossy(&bytes).contains("parent-"), "{mode}: {name} holds a key");
        }
    }
}

fn files_of_state(night: &Night) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![night.repo.join("state"), night.home.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            match path.symlink_metadata() {
                Ok(meta) if meta.is_dir() => folders.push(path),
                Ok(meta) if meta.is_file() => {
                    found.insert(path.display().to_string(), fs::read(&path).expect("file"));
                }
                _ => {}
            }
        }
    }
    found
}
