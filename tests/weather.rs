//! The weather before spending, quota, curfew and sleep, over the real binary with stub agents.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests play the operator, and a broken test environment should fail loudly"
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use serde_json::{Value, json};

use support::night::{HAND_IN, Night, SAY_PASS, VERIFIER, WORKER, text};

/// A worker of a family that no test makes unreachable.
const OTHER: &str = "Third Worker <third@local>";

/// A night with a third family, whose workers write their stage's name, and wait where the test has put a `$T/wait`.
fn night() -> Night {
    let night = Night::bare();
    night.stub("worker", &format!("while [ -e \"$T/wait\" ]; do sleep 0.05; done\necho \"$1\" >a.txt\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    let stub = night.base().join("stubs/worker");
    let command = json!([stub, "{stage}", "{run}"]);
    night.manifest(&format!("  third: {{identities: [\"Third*\"], command: {command}, pass_env: [T]}}\n"));
    night.ok(&["init"]);
    night
}

/// What this machine adds to the manifest.
fn local(night: &Night, manifest: &Value) {
    night.write(".autometta.local.yaml", &manifest.to_string());
}

fn at_endpoint(night: &Night, endpoint: &str) {
    local(night, &json!({"families": {"stub": {"endpoint": endpoint}}}));
}

fn queue_for(night: &Night, stage: &str, worker: &str) {
    night.card(stage);
    let path = format!("stage-cards/{stage}.md");
    let card = night.read(format!("repo/{path}")).replace(WORKER, worker);
    night.write(&path, &card);
    night.ok(&["add-stage", &path]);
}

/// A tick at another time by the calendar, after another while asleep.
fn tick_at(night: &Night, offset: i64, asleep: u64) {
    let mut tick = night.command(&["tick", "--repo", &night.repo.display().to_string()]);
    tick.env("AUTOMETTA_CLOCK_OFFSET", offset.to_string()).env("AUTOMETTA_SLEEP_OFFSET", asleep.to_string());
    let output = tick.output().expect("tick");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The details of the ledger's notes of this event.
fn noted(night: &Night, event: &str) -> Vec<String> {
    let ledger = night.read("repo/state/ledger.jsonl");
    let lines = ledger.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
    lines
        .filter(|line| line["event"] == event)
        .map(|line| line["detail"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The one deferral that there is.
fn deferral(night: &Night) -> Value {
    let budget = night.budget();
    let deferrals = budget["deferrals"].as_array().unwrap_or_else(|| panic!("a deferral: {budget}"));
    assert_eq!(deferrals.len(), 1, "{deferrals:?}");
    deferrals[0].clone()
}

fn is_untouched(night: &Night, stage: &str) {
    let stage = night.stage(stage);
    assert_eq!((&stage["status"], &stage["attempt"]), (&"pending".into(), &0.into()), "{stage:#}");
    assert!(stage["history"].as_array().is_none_or(Vec::is_empty), "{stage:#}");
}

/// How many connections have come in, none of which may have brought a byte.
fn taken(listener: &TcpListener) -> usize {
    listener.set_nonblocking(true).expect("mode");
    let mut count = 0;
    loop {
        match listener.accept() {
            Ok((mut peer, _)) => {
                let mut sent = Vec::new();
                peer.set_nonblocking(false).expect("mode");
                peer.read_to_end(&mut sent).expect("the end of the stream");
                assert!(sent.is_empty(), "{sent:?}");
                count += 1;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
            Err(error) => panic!("{error}"),
        }
    }
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let endpoint = listener.local_addr().expect("address").to_string();
    (listener, endpoint)
}

#[test]
fn a_provider_without_a_name_puts_its_family_off_and_the_others_go_on() {
    let night = night();
    at_endpoint(&night, "no-such-host.invalid:443");
    queue_for(&night, "01-far", WORKER);
    queue_for(&night, "02-near", OTHER);
    night.tick_until("02-near", "completed");
    is_untouched(&night, "01-far");
    let held = deferral(&night);
    assert_eq!((&held["family"], &held["cause"]), (&"stub".into(), &"offline".into()));
    let reason = held["reason"].as_str().expect("reason");
    assert!(reason.starts_with("no-such-host.invalid does not resolve"), "{reason}");
    assert_eq!(noted(&night, "offline").len(), 1);
    let screen = night.ok(&["status"]);
    assert!(screen.contains("OFFLINE stub: no-such-host.invalid does not resolve"), "{screen}");
    let plan = night.ok(&["tick", "--plan"]);
    assert!(plan.contains("hold 01-far: stub is put off until"), "{plan}");
    // Whoever says that nobody is to be asked need not wait.
    at_endpoint(&night, "none");
    night.tick_until("01-far", "completed");
    assert_eq!(noted(&night, "online").len(), 1);
    assert!(night.budget()["deferrals"].is_null());
}

#[test]
fn a_provider_that_refuses_is_asked_again_until_it_answers() {
    let night = night();
    let (closed, endpoint) = listener();
    drop(closed);
    at_endpoint(&night, &endpoint);
    queue_for(&night, "01-far", WORKER);
    assert!(night.tick().status.success());
    let first = deferral(&night);
    assert_eq!(first["reason"], format!("{endpoint} refuses connections"));
    let listener = TcpListener::bind(&endpoint).expect("the same port");
    // Within its minute nobody is asked.
    assert!(night.tick().status.success());
    assert_eq!((deferral(&night), taken(&listener)), (first, 0));
    is_untouched(&night, "01-far");
    tick_at(&night, 90, 0);
    assert_eq!(taken(&listener), 1);
    assert_eq!((noted(&night, "offline").len(), noted(&night, "online").len()), (1, 1));
    night.tick_until("01-far", "completed");
}

#[test]
fn without_a_timer_somebody_waits_until_a_provider_is_asked_again() {
    let night = night();
    let (closed, endpoint) = listener();
    drop(closed);
    at_endpoint(&night, &endpoint);
    queue_for(&night, "01-far", WORKER);
    assert!(night.tick().status.success());
    let until = deferral(&night)["until"].as_str().expect("until").parse::<DateTime<Utc>>().expect("time");
    let waited = night.read("repo/state/wake").parse::<DateTime<Utc>>().expect("time");
    assert_eq!(waited, until);
    let shown = night.ok(&["status"]);
    assert!(shown.contains("stub is put off until"), "{shown}");
    // Whoever waits ends once nothing is wanted any more.
    fs::remove_file(night.repo.join("state/wake")).expect("removed");
}

#[test]
fn a_provider_that_answers_is_asked_once_a_launch_and_never_by_an_idle_tick_or_a_plan() {
    let night = night();
    let (listener, endpoint) = listener();
    at_endpoint(&night, &endpoint);
    assert!(night.tick().status.success());
    queue_for(&night, "01-far", WORKER);
    let plan = night.ok(&["tick", "--plan"]);
    assert!(plan.contains(&format!("ask first stub: whether {endpoint} answers")), "{plan}");
    assert_eq!(taken(&listener), 0, "an empty queue and a plan ask nobody");
    fs::write(night.t().join("wait"), "").expect("wait");
    assert!(night.tick().status.success());
    assert_eq!(taken(&listener), 1);
    for _ in 0..3 {
        assert!(night.tick().status.success());
    }
    assert_eq!(taken(&listener), 0, "a run in flight asks nobody");
    fs::remove_file(night.t().join("wait")).expect("go");
    night.tick_until("01-far", "completed");
    taken(&listener);
    assert!(night.tick().status.success());
    assert_eq!(taken(&listener), 0);
}

#[test]
fn a_provider_that_is_silent_holds_up_a_tick_for_a_moment_only() {
    let night = night();
    let (listener, endpoint) = listener();
    let few = nix::sys::socket::Backlog::new(1).expect("backlog");
    nix::sys::socket::listen(&listener, few).expect("a queue of one");
    let address = listener.local_addr().expect("address");
    let queue: Vec<_> = (0..8).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100))).collect();
    assert!(queue.iter().any(Result::is_err), "the queue is full");
    at_endpoint(&night, &endpoint);
    queue_for(&night, "01-far", WORKER);
    let begun = Instant::now();
    assert!(night.tick().status.success());
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(deferral(&night)["reason"], format!("{endpoint} does not answer within 2s"));
    is_untouched(&night, "01-far");
}

#[test]
fn a_verifier_whose_provider_is_away_is_waited_for_and_the_gate_is_not() {
    let night = night();
    let (closed, endpoint) = listener();
    drop(closed);
    local(&night, &json!({"families": {"judge": {"endpoint": endpoint}}}));
    queue_for(&night, "01-work", WORKER);
    night.tick_until_that("01-work", |stage| stage["phase"] == "verifying");
    night.wait("it is put off", || {
        night.tick();
        !night.budget()["deferrals"].is_null()
    });
    let screen = night.ok(&["status"]);
    assert!(screen.contains(&format!("{endpoint} refuses connections")), "{screen}");
    let stage = night.stage("01-work");
    assert!(stage["history"].to_string().contains("01-work.1.gate"), "{stage:#}");
    assert!(!stage["history"].to_string().contains("verifier"), "{stage:#}");
    local(&night, &json!({}));
    // The family has a command of its own and no endpoint: nobody is asked.
    night.tick_until("01-work", "completed");
}

fn quota(night: &Night, used: f64, resets_at: DateTime<Utc>) {
    let text = json!({"windows": [{"name": "five_hour", "used_percent": used, "resets_at": resets_at}]}).to_string();
    fs::write(night.t().join("quota.json"), text).expect("quota");
}

#[test]
fn a_family_is_held_at_its_reserve_and_let_go_with_the_figures() {
    let night = night();
    local(&night, &json!({"quota": {"stub": {"file": night.t().join("quota.json"), "reserve": "20%"}}}));
    let resets_at = Utc::now() + TimeDelta::hours(1);
    quota(&night, 83.5, resets_at);
    queue_for(&night, "01-dear", WORKER);
    queue_for(&night, "02-other", OTHER);
    night.tick_until("02-other", "completed");
    is_untouched(&night, "01-dear");
    let held = deferral(&night);
    assert_eq!((&held["family"], &held["cause"]), (&"stub".into(), &"quota".into()));
    assert_eq!(held["reason"], "83.5% of five_hour is used, and 20% is kept back");
    assert_eq!(held["until"].as_str().expect("time").parse::<DateTime<Utc>>().expect("time"), resets_at);
    let screen = night.ok(&["status"]);
    assert!(screen.contains("HELD stub until"), "{screen}");
    quota(&night, 79.9, resets_at);
    night.tick_until("01-dear", "completed");
    assert_eq!((noted(&night, "quota-held").len(), noted(&night, "quota-free").len()), (1, 1));
    assert!(night.budget()["deferrals"].is_null());
}

#[test]
fn a_hold_for_quota_ends_with_the_window() {
    let night = night();
    local(&night, &json!({"quota": {"stub": {"file": night.t().join("quota.json"), "reserve": "20%"}}}));
    quota(&night, 99.0, Utc::now() + TimeDelta::hours(1));
    queue_for(&night, "01-dear", WORKER);
    assert!(night.tick().status.success());
    is_untouched(&night, "01-dear");
    tick_at(&night, 3700, 0);
    assert_ne!(night.stage("01-dear")["status"], "pending");
}

#[test]
fn the_reserve_may_differ_by_the_hour() {
    let mut night = night();
    night.set("TZ", "UTC");
    let around_now = |span: &str| {
        json!({"quota": {"stub": {"file": night.t().join("quota.json"), "reserve": "50%"}},
               "schedule": {"reserve": {span: "0%"}}})
    };
    quota(&night, 60.0, Utc::now() + TimeDelta::days(2));
    local(&night, &around_now(&span(6, 8)));
    queue_for(&night, "01-dear", WORKER);
    assert!(night.tick().status.success());
    is_untouched(&night, "01-dear");
    local(&night, &around_now(&span(-1, 2)));
    night.tick_until("01-dear", "completed");
}

#[test]
fn a_reader_that_fails_stops_no_night_and_a_command_is_asked_once_in_a_while() {
    let count = |night: &Night| fs::read_to_string(night.t().join("count")).unwrap_or_default().lines().count();
    let past = Utc::now() - TimeDelta::hours(1);
    let stale = json!({"windows": [{"name": "w", "used_percent": 99, "resets_at": past}]});
    for (said, end, fault) in [
        ("nothing of use".to_owned(), "", "it is not JSON"),
        ("{}".to_owned(), "; exit 3", "exited with 3"),
        (stale.to_string(), "", "none of its windows is current"),
        ("{}".to_owned(), "; sleep 600", "took longer than 5s"),
    ] {
        let night = night();
        let script = format!("echo x >>'{}'; echo '{said}'{end}", night.t().join("count").display());
        local(&night, &json!({"quota": {"stub": {"command": ["sh", "-c", script], "reserve": "20%"}}}));
        queue_for(&night, "01-dear", WORKER);
        fs::write(night.t().join("wait"), "").expect("wait");
        assert!(night.tick().status.success());
        assert_eq!(night.stage("01-dear")["status"], "in_progress", "{fault}");
        let record = night.read("repo/state/quota/stub.json");
        assert!(record.contains(fault), "{fault}: {record}");
    }
    let night = night();
    let resets_at = Utc::now() + TimeDelta::hours(9);
    let dear = json!({"primary": {"used_percent": 99, "window_minutes": 300, "resets_at": resets_at.timestamp()}});
    let script = format!("echo x >>'{}'; echo '{dear}'", night.t().join("count").display());
    let reader = json!({"command": ["sh", "-c", script], "every": "2 hours", "reserve": "20%"});
    local(&night, &json!({"quota": {"stub": reader}}));
    assert!(night.tick().status.success());
    queue_for(&night, "01-dear", WORKER);
    assert_eq!(count(&night), 0, "an idle tick asks nobody");
    for _ in 0..3 {
        assert!(night.tick().status.success());
    }
    assert_eq!(count(&night), 1);
    assert_eq!(deferral(&night)["reason"], "99% of the window of 5h is used, and 20% is kept back");
    tick_at(&night, 7300, 0);
    assert_eq!(count(&night), 2);
}

/// A span of the day in UTC, in full hours from now.
fn span(from: i64, until: i64) -> String {
    let at = |hours: i64| (Utc::now() + TimeDelta::hours(hours)).hour();
    format!("{:02}:00-{:02}:00", at(from), at(until))
}

#[test]
fn a_curfew_holds_new_workers_and_lets_what_is_under_way_land() {
    let mut night = night();
    night.set("TZ", "UTC");
    fs::write(night.t().join("wait"), "").expect("wait");
    queue_for(&night, "01-early", WORKER);
    queue_for(&night, "02-late", WORKER);
    assert!(night.tick().status.success());
    assert_eq!(night.stage("01-early")["phase"], "working");
    local(&night, &json!({"curfew": [span(-1, 1), span(1, 2)]}));
    fs::remove_file(night.t().join("wait")).expect("go");
    night.tick_until("01-early", "completed");
    assert!(night.tick().status.success());
    is_untouched(&night, "02-late");
    let status = night.status();
    let end: DateTime<Utc> = status["curfew_until"].as_str().expect("curfew").parse().expect("time");
    let left = end - Utc::now();
    assert!(left > TimeDelta::minutes(59) && left <= TimeDelta::hours(2), "{end}");
    let screen = night.ok(&["status"]);
    assert!(screen.contains("CURFEW until") && screen.contains("curfew: no worker starts until"), "{screen}");
    let plan = night.ok(&["tick", "--plan"]);
    assert!(plan.contains("hold 02-late: curfew until"), "{plan}");
    tick_at(&night, 3 * 3600, 0);
    assert_ne!(night.stage("02-late")["status"], "pending");
}

#[test]
fn what_the_manifest_cannot_mean_is_refused() {
    let night = night();
    for (manifest, why) in [
        (json!({"curfew": ["00:00-12:00", "12:00-00:00"]}), "it fills the whole day"),
        (json!({"curfew": "8 to 22"}), "curfew"),
        (json!({"schedule": {"reserve": {"09:00-18:00": "60%", "17:00-20:00": "0%"}}}), "overlap"),
        (json!({"quota": {"stub": {"reserve": "20%"}}}), "neither a `file` nor a `command`"),
        (json!({"quota": {"stub": {"file": "a", "reserve": "120%"}}}), "quota"),
        (json!({"families": {"stub": {"endpoint": "nowhere"}}}), "endpoint"),
    ] {
        local(&night, &manifest);
        let said = night.fails(&["tick", "--repo", &night.repo.display().to_string()], 1);
        assert!(said.contains(why), "{manifest}: {said}");
    }
}

#[test]
fn scenario_20_a_sleep_is_nobodys_time_and_is_told_once() {
    let night = night();
    fs::write(night.t().join("wait"), "").expect("wait");
    queue_for(&night, "01-long", WORKER);
    assert!(night.tick().status.success());
    tick_at(&night, 0, 0);
    let awake = night.read("repo/state/heartbeat.json");
    tick_at(&night, 3700, 3600);
    let heartbeat: Value = serde_json::from_str(&night.read("repo/state/heartbeat.json")).expect("json");
    assert!((3599..=3601).contains(&heartbeat["slept_seconds"].as_u64().expect("seconds")), "{heartbeat}");
    let told = noted(&night, "slept");
    assert!(told.len() == 1 && told[0].starts_with("the machine slept 1h"), "{told:?}");
    // A tick that was killed between its commit and its heartbeat has told of it all the same.
    fs::write(night.repo.join("state/heartbeat.json"), awake).expect("heartbeat");
    tick_at(&night, 3700, 3600);
    // A gap without sleep is a gap, and no sleep.
    tick_at(&night, 9000, 3600);
    assert_eq!(noted(&night, "slept").len(), 1);
    let heartbeat: Value = serde_json::from_str(&night.read("repo/state/heartbeat.json")).expect("json");
    assert!(
        heartbeat["gap_seconds"].as_i64().expect("gap") > 5000 && heartbeat["slept_seconds"].is_null(),
        "{heartbeat}"
    );
    assert_eq!(
        (heartbeat["agents"][0]["alive"].clone(), heartbeat["agents"][0]["over_budget"].clone()),
        (true.into(), false.into())
    );
    assert_eq!(night.budget()["wall_clock_elapsed_seconds"], 0);
    let screen = night.ok(&["status"]);
    assert!(screen.contains("slept 1h between"), "{screen}");
    fs::remove_file(night.t().join("wait")).expect("go");
    night.tick_until("01-long", "completed");
    let elapsed = night.budget()["wall_clock_elapsed_seconds"].as_u64().expect("seconds");
    assert!(elapsed < 600, "{elapsed}");
    assert!(night.stage("01-long").to_string().contains(VERIFIER.split(" <").next().expect("name")));
}
