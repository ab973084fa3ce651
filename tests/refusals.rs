//! What a supervisor makes of a CLI whose provider refuses, with the families' own meter: this binary is the supervisor.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a broken world is a failed test")]
#![allow(clippy::disallowed_methods, reason = "tests build their world by hand")]

mod runs_support;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use autometta::core::exit::{EndedBy, ExitRecord, RefusalClass, RefusalScope, Usage, UsageSource};
use autometta::core::family::DecoderKind;
use autometta::core::quantity::{Seconds, Tokens};
use autometta::core::run::{ModelUse, ProcessStamp, Started};
use autometta::runs::{Sighting, launch, probe, supervise};
use autometta::tick::meter_for;
use chrono::{DateTime, TimeDelta, Utc};
use runs_support::{World, wait_for};

/// Not a test by itself: the supervisor of the ones below, which launch this binary with its arguments.
#[test]
fn __supervise() {
    let words: Vec<_> = std::env::args_os().collect();
    if let [_, hidden, run_dir] = words.as_slice()
        && hidden == "__supervise"
    {
        let _ = supervise(Path::new(run_dir), &meter_for);
        std::process::exit(0);
    }
}

fn world(decoder: DecoderKind, patience: u64, script: &str) -> World {
    let mut world = World::agent(script);
    world.order.uses_model = ModelUse::Model;
    world.order.decoder = decoder;
    world.order.patience_seconds = Seconds(patience);
    world
}

/// The record of a run of this script, and how long it took.
fn run(decoder: DecoderKind, patience: u64, script: &str) -> (ExitRecord, Duration) {
    let world = world(decoder, patience, script);
    world.write_order();
    let begun = Instant::now();
    let exe = std::env::current_exe().expect("exe");
    launch(&world.run_dir(), &exe).expect("launch");
    wait_for("the claim", || world.dir().started().expect("readable").is_some());
    (world.exited(), begun.elapsed())
}

fn class(record: &ExitRecord) -> Option<RefusalClass> {
    record.provider.refusal.as_ref().map(|refusal| refusal.class)
}

/// A shell text that prints one of claude's retries.
fn retry(status: u16) -> String {
    format!(
        r#"echo '{{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":500,"error_status":{status},"error":"x"}}'"#
    )
}

const ANSWER: &str = r#"echo '{"type":"assistant","message":{"id":"m","model":"claude-x","content":[],"usage":{"input_tokens":70,"output_tokens":5}}}'"#;
const RESULT: &str = r#"echo '{"type":"result","subtype":"success","is_error":false,"result":"ok","usage":{"input_tokens":70,"output_tokens":30}}'"#;

#[test]
fn a_storm_of_overloads_is_stopped_when_the_patience_is_over_and_costs_nothing() {
    let (record, took) = run(DecoderKind::Claude, 1, &format!("while :; do {}; sleep 0.1; done", retry(529)));
    assert_eq!((record.ended_by, class(&record)), (EndedBy::Refused, Some(RefusalClass::Overloaded)));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert_eq!(
        record.usage,
        Usage { cost_usd: record.usage.cost_usd, cost_source: record.usage.cost_source, ..Usage::none() }
    );
}

#[test]
fn what_was_used_before_the_storm_is_charged() {
    let script = format!("{ANSWER}; while :; do {}; sleep 0.1; done", retry(529));
    let (record, _) = run(DecoderKind::Claude, 1, &script);
    assert_eq!((record.ended_by, class(&record)), (EndedBy::Refused, Some(RefusalClass::Overloaded)));
    assert_eq!((record.usage.total_tokens, record.usage.source), (Tokens(75), UsageSource::Stream));
}

#[test]
fn a_cli_that_comes_through_is_left_alone() {
    let retry = retry(529);
    for script in [
        // One refusal and then a long silence: the next try may be at work.
        format!("{retry}; sleep 2.5; {ANSWER}; {RESULT}"),
        // Refusals for longer than the patience in all, with answers between them.
        format!("for i in 1 2 3 4; do {retry}; sleep 0.3; {retry}; sleep 0.3; {ANSWER}; done; {RESULT}"),
    ] {
        let (record, _) = run(DecoderKind::Claude, 2, &script);
        assert_eq!((record.ended_by, class(&record)), (EndedBy::Exit, None), "{script}");
        assert_eq!(record.usage.total_tokens, Tokens(100));
    }
}

#[test]
fn a_refused_login_is_stopped_at_once() {
    let (record, took) = run(DecoderKind::Claude, 600, &format!("{}; sleep 600", retry(401)));
    assert_eq!((record.ended_by, class(&record)), (EndedBy::Refused, Some(RefusalClass::Auth)));
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn endless_reconnecting_is_stopped_and_what_was_heard_is_unknown() {
    let line = r#"{"type":"error","message":"Reconnecting... waiting for network (Connection failed: error sending request)"}"#;
    let (record, _) = run(DecoderKind::Codex, 1, &format!("while :; do echo '{line}'; sleep 0.1; done"));
    assert_eq!((record.ended_by, class(&record)), (EndedBy::Refused, Some(RefusalClass::Network)));
    assert_eq!(record.usage.source, UsageSource::Unknown, "a dropped request may have been heard");
}

#[test]
fn a_limit_that_resets_beyond_the_patience_is_not_waited_for_and_keeps_its_last_words() {
    let resets_at = Utc::now().timestamp() + 7200;
    let event = format!(
        r#"echo '{{"type":"rate_limit_event","rate_limit_info":{{"status":"rejected","resetsAt":{resets_at},"rateLimitType":"seven_day_opus"}}}}'"#
    );
    let last = r#"echo '{"type":"result","subtype":"success","is_error":true,"result":"limit","usage":{"input_tokens":70,"output_tokens":30}}'"#;
    let (record, took) = run(DecoderKind::Claude, 600, &format!("{ANSWER}; {event}; sleep 1; {last}; sleep 600"));
    assert_eq!((record.ended_by, class(&record)), (EndedBy::Refused, Some(RefusalClass::Limit)));
    assert!(took < Duration::from_secs(120), "{took:?}");
    assert_eq!(record.provider.refusal.expect("refusal").scope, RefusalScope::Model);
    assert_eq!(record.provider.resets_at, DateTime::from_timestamp(resets_at, 0));
    assert_eq!((record.usage.total_tokens, record.usage.source), (Tokens(100), UsageSource::Result));
}

#[test]
fn a_lost_run_reads_its_clock_from_when_it_was_said_and_not_from_when_it_is_found() {
    let world = world(DecoderKind::Codex, 180, "exit 0");
    world.write_order();
    let started = Started {
        run_id: world.order.run_id.clone(),
        supervisor: ProcessStamp { pid: 1, start: "never".to_owned() },
        token: "no-process-has-this".to_owned(),
        boot_id: "another boot".to_owned(),
        awake_ns: u64::MAX,
        started_at: world.order.created_at,
    };
    fs::write(world.dir().started_file(), serde_json::to_vec(&started).expect("json")).expect("claim");
    let said = SystemTime::now() - Duration::from_secs(5 * 3600);
    let line =
        r#"{"type":"turn.failed","error":{"message":"You've hit your usage limit. Try again in 6 hours 30 minutes."}}"#;
    for (file, text) in [("stdout.log", line), ("stderr.log", "")] {
        fs::write(world.run_dir().join(file), text).expect("log");
        File::options().append(true).open(world.run_dir().join(file)).expect("log").set_modified(said).expect("time");
    }
    let Sighting::Lost(lost) = probe(&world.run_dir(), &meter_for) else { panic!("lost") };
    let expected = DateTime::<Utc>::from(said) + TimeDelta::minutes(390);
    let resets_at = lost.provider.resets_at.expect("a reset");
    assert!((resets_at - expected).abs() < TimeDelta::seconds(5), "{resets_at} is not {expected}");
}

#[test]
fn a_cost_cap_that_the_cli_holds_to_by_itself_ends_the_run_as_ours_does() {
    let result = r#"echo '{"type":"result","subtype":"error_max_budget_usd","is_error":true,"total_cost_usd":0.12,"usage":{"input_tokens":70,"output_tokens":30}}'"#;
    let (record, _) = run(DecoderKind::Claude, 1, &format!("{ANSWER}; {result}; exit 1"));
    assert_eq!((record.ended_by, class(&record)), (EndedBy::CostCap, None));
    assert_eq!((record.usage.total_tokens, record.usage.source), (Tokens(100), UsageSource::Result));
}
