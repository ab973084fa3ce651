//! `register` and `watch` over the real binary: agents started by hand, and waiting for any run's end.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::night::{HAND_IN, Night, SAY_PASS};

/// Blocks until the test lets everybody go.
const WAIT_FOR_GO: &str = "until test -e \"$T/go\"; do sleep 0.05; done";

fn go(night: &Night) {
    fs::write(night.t().join("go"), "").expect("go");
}

fn register(night: &Night, args: &[&str]) -> Value {
    serde_json::from_str(&night.ok(&[&["register", "--json"], args].concat())).expect("json")
}

fn active(night: &Night, run: &str) -> Option<Value> {
    let path = night.repo.join(format!("state/active-agents/{run}.json"));
    fs::read(path).ok().map(|bytes| serde_json::from_slice(&bytes).expect("json"))
}

/// The same once its supervisor has written it, which may be a moment after its start was told.
fn entered(night: &Night, run: &str) -> Value {
    night.wait("the run stands in the registry", || active(night, run).is_some());
    active(night, run).expect("entry")
}

/// `watch --json`, whose exit code must be this one.
fn watch(night: &Night, run: &str, more: &[&str], code: i32) -> Value {
    let output = night.run(&[&["watch", run, "--json"], more].concat());
    assert_eq!(output.status.code(), Some(code), "{}", support::night::text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("json")
}

/// A process of the test's own that lives until it is killed.
struct Foreign(Child);

impl Foreign {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep"))
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_command_by_hand_joins_the_registry_and_leaves_the_state_alone() {
    let night = Night::passing();
    let state = night.read("repo/state/state.yaml");
    let budget = night.read("repo/state/budget.json");
    let script = format!("echo \"$AUTOMETTA_RUN in $PWD with $HAND\"; {WAIT_FOR_GO}; exit 7");
    let stage = ["--stage", "07-x", "--role", "verifier", "--identity", "Judge <judge@local>", "--", "sh", "-c"];
    let words: Vec<&str> = ["register", "--json"].iter().chain(&stage).copied().chain([script.as_str()]).collect();
    let output = night.command(&words).env("HAND", "mine").output().expect("register");
    let said: Value = serde_json::from_slice(&output.stdout).expect("json");
    let run = said["run_id"].as_str().expect("run");
    assert_eq!(run, "07-x.manual.verifier");
    let entry = entered(&night, run);
    assert_eq!(
        (&entry["identity"], &entry["attempt"], &entry["role"]),
        (&json!("Judge <judge@local>"), &json!(0), &json!("verifier"))
    );
    night.wait("it prints", || night.read(format!("repo/state/runs/{run}/stdout.log")).contains("with"));
    let printed = night.read(format!("repo/state/runs/{run}/stdout.log"));
    assert_eq!(printed.trim(), format!("{run} in {} with mine", night.repo.display()));
    assert!(!night.read(format!("repo/state/runs/{run}/run.json")).contains("mine"), "values are written nowhere");
    let status = night.ok(&["status"]);
    assert!(status.contains("STARTED BY HAND") && status.contains(&format!("{run}  verifier  Judge")), "{status}");
    assert_eq!(night.status()["manual"][0]["run_id"], json!(run));
    // Another one of the same stage and role has an id of its own, and ticks leave both alone.
    let second = register(&night, &["--stage", "07-x", "--role", "verifier", "--", "true"]);
    assert_eq!(second["run_id"], "07-x.manual.verifier.r1");
    night.tick();
    assert!(active(&night, run).is_some());
    go(&night);
    let came = watch(&night, run, &[], 0);
    assert_eq!((&came["came"], &came["exit"]["exit"]), (&json!("ended"), &json!({"code": 7})), "{came:#}");
    night.wait("it leaves the registry", || active(&night, run).is_none());
    assert!(night.repo.join(format!("state/recent-agents/{run}.json")).exists());
    assert_eq!((night.read("repo/state/state.yaml"), night.read("repo/state/budget.json")), (state, budget));
}

#[test]
fn a_process_that_runs_already_is_watched_to_its_end() {
    let night = Night::passing();
    let foreign = Foreign::start();
    let pid = foreign.0.id().to_string();
    let run = register(&night, &["--stage", "07-x", "--pid", &pid])["run_id"].as_str().expect("run").to_owned();
    let entry = entered(&night, &run);
    assert_eq!(entry["watched"]["pid"].to_string(), pid);
    // It prints nothing that we could see, which is no standstill.
    let mut watching =
        night.command(&["watch", &run, "--json", "--stall", "1s"]).stdout(Stdio::piped()).spawn().expect("watch");
    night.wait("a second has passed for it", || {
        night
            .repo
            .join(format!("state/runs/{run}/stdout.log"))
            .metadata()
            .is_ok_and(|meta| meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() >= 2)))
    });
    assert!(watching.try_wait().expect("watch").is_none(), "it still waits");
    drop(foreign);
    assert_eq!(watching.wait().expect("watch").code(), Some(0));
    assert!(night.fails(&["register", "--stage", "07-x", "--pid", "2147483647"], 1).contains("no process 2147483647"));
}

#[test]
fn a_run_by_hand_whose_supervisor_was_killed_leaves_the_registry() {
    let night = Night::passing();
    let run = register(&night, &["--stage", "07-x", "--", "sleep", "600"])["run_id"].as_str().expect("run").to_owned();
    let entry = entered(&night, &run);
    let kill = |pid: &Value| {
        let pid = i32::try_from(pid.as_i64().expect("pid")).expect("pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("killed");
    };
    let agent: Value = serde_json::from_str(&night.read(format!("repo/state/runs/{run}/agent.json"))).expect("json");
    kill(&entry["pid"]);
    kill(&agent["process"]["pid"]);
    assert_eq!(watch(&night, &run, &[], 0)["came"], "lost");
    assert!(active(&night, &run).is_none());
}

#[test]
fn a_dispatched_run_is_watched_to_its_end_or_its_standstill() {
    let night = Night::with(&format!("echo begun\n{WAIT_FOR_GO}\necho work >a.txt\n{HAND_IN}"), SAY_PASS);
    night.queue("01-work");
    night.tick_until_that("01-work", |stage| stage["phase"] == "working");
    let came = watch(&night, "01-work.1.worker", &["--stall", "1s"], 2);
    assert_eq!(came["came"], "stalled");
    assert!(came["silent_seconds"].as_u64().is_some_and(|seconds| seconds >= 1), "{came:#}");
    go(&night);
    let came = watch(&night, "01-work.1.worker", &[], 0);
    assert_eq!((&came["came"], &came["exit"]["ended_by"]), (&json!("ended"), &json!("exit")));
    let said = night.ok(&["watch", "01-work.1.worker"]);
    assert!(said.starts_with("01-work.1.worker ended with code 0, after "), "{said}");
}

#[test]
fn what_cannot_be_watched_or_registered_says_so() {
    let night = Night::passing();
    for (args, code, words) in [
        (&["watch", "01-work.1.worker"][..], 1, "there is no run 01-work.1.worker"),
        (&["watch", "nonsense"], 2, "not a valid run id"),
        (&["watch", "01-work.1.worker", "--stall", "soon"], 2, "not a length of time"),
        (&["register", "--stage", "07-x"], 2, "COMMAND"),
        (&["register", "--stage", "07-x", "--", "/no/such/agent"], 1, "/no/such/agent: cannot be found"),
        (&["register", "--stage", "x", "--", "true"], 2, "not a valid stage id"),
    ] {
        let said = night.fails(args, code);
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
