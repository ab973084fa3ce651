//! Captured outputs with the figures that they must give, to the token.

use super::*;
use crate::core::quantity::{MicroUsd, Tokens};

macro_rules! captured {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/agent-output/", $name, ".jsonl"))
    };
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_218_000, 0).expect("time")
}

fn fed(kind: DecoderKind, lines: &str) -> Decoder {
    let mut decoder = Decoder::new(kind, ModelUse::Calls);
    lines.lines().for_each(|line| decoder.feed(line.as_bytes()));
    decoder
}

fn claude(lines: &str, end: ProcessEnd) -> Decoded {
    fed(DecoderKind::Claude, lines).finish(end, &now())
}

fn codex(lines: &str, end: ProcessEnd) -> Decoded {
    fed(DecoderKind::Codex, lines).finish(end, &now())
}

fn usage(parts: [u64; 4], cost: Option<u64>, source: UsageSource) -> Usage {
    Usage {
        input_tokens: Tokens(parts[0]),
        cached_input_tokens: Tokens(parts[1]),
        cache_write_tokens: Tokens(parts[2]),
        output_tokens: Tokens(parts[3]),
        cost_usd: cost.map(MicroUsd),
        source,
        ..Usage::default()
    }
    .totalled()
}

fn class(report: &Decoded) -> Option<RefusalClass> {
    report.provider.refusal.as_ref().map(|refusal| refusal.class)
}

const PATIENCE: Seconds = Seconds(180);
const OK: ProcessEnd = ProcessEnd::Code(0);
const FAILED: ProcessEnd = ProcessEnd::Code(1);
const TERMINATED: ProcessEnd = ProcessEnd::Code(143);

#[test]
fn a_claude_run_that_succeeds_is_read_whole() {
    let report = claude(captured!("claude-success"), OK);
    assert_eq!(report.success, Success::Yes);
    assert_eq!(report.usage, usage([3200, 1400, 0, 100], Some(19_200), UsageSource::Result));
    assert_eq!(report.usage.total_tokens, Tokens(4700));
    assert_eq!(report.session.as_deref(), Some("f4415575-b9ba-4565-b4eb-04887db59d84"));
    assert_eq!((report.provider, report.structured, report.own_cap), (ProviderReport::default(), None, None));
}

#[test]
fn a_codex_run_counts_the_cached_input_once() {
    let report = codex(captured!("codex-success"), OK);
    assert_eq!(report.success, Success::Yes);
    assert_eq!(report.usage, usage([3200, 1400, 0, 100], None, UsageSource::Result));
    assert_eq!(report.usage.total_tokens, Tokens(4700));
    assert_eq!(report.session.as_deref(), Some("01a1fb3e-4cdd-78b0-b31d-82d7ca7ae456"));
    assert_eq!((report.provider, report.structured), (ProviderReport::default(), None));
}

#[test]
fn structured_answers_come_back_by_return_value() {
    let one = claude(captured!("claude-structured"), OK);
    let other = codex(captured!("codex-structured"), OK);
    assert_eq!(one.structured, other.structured);
    assert_eq!(one.structured.expect("answer").pointer("/criteria/0/verdict"), Some(&Value::from("PASS")));
    let failed = claude(captured!("claude-structured"), FAILED);
    assert_eq!(failed.success, Success::No("it exited with code 1".into()));
    assert_eq!(failed.structured, None, "a run that failed has no answer");
}

#[test]
fn a_message_that_repeats_is_counted_once_while_the_run_goes_on() {
    let all = captured!("claude-success");
    let until_result: Vec<&str> = all.lines().filter(|line| !line.contains("\"type\":\"result\"")).collect();
    let twice = [until_result.join("\n"), until_result.join("\n")].join("\n");
    for lines in [until_result.join("\n"), twice] {
        let report = claude(&lines, TERMINATED);
        // Output: a token for four bytes of the two messages' parts, 151 and 38.
        assert_eq!(report.usage, usage([3200, 1400, 0, 38 + 10], None, UsageSource::Stream));
        let why = "it exited with code 143: its output ends without a result record";
        assert_eq!(report.success, Success::No(why.into()));
    }
}

#[test]
fn an_endless_conversation_is_counted_in_bounded_memory() {
    let mut decoder = Decoder::new(DecoderKind::Claude, ModelUse::Calls);
    for id in 0..10_000 {
        let usage =
            r#"{"input_tokens":2,"cache_read_input_tokens":3,"cache_creation_input_tokens":4,"output_tokens":1}"#;
        let line = format!(r#"{{"type":"assistant","message":{{"id":"m{id}","model":"x","usage":{usage}}}}}"#);
        decoder.feed(line.as_bytes());
        decoder.feed(line.as_bytes());
    }
    assert_eq!(decoder.usage(), usage([20_000, 30_000, 40_000, 10_000], None, UsageSource::Stream));
}

#[test]
fn output_is_estimated_until_the_final_record_tells_it_whichever_is_more() {
    let part = |text: &str| serde_json::json!({"type": "text", "text": text});
    let message = |parts: &[Value], output: u64| {
        serde_json::json!({"type": "assistant", "message": {"id": "m", "model": "x", "content": parts,
            "usage": {"input_tokens": 10, "output_tokens": output}}})
        .to_string()
    };
    let long = part(&"word ".repeat(4000));
    let estimate = u64::try_from(long.to_string().len()).expect("length").div_ceil(4);
    assert!(estimate > 5000);
    // Each part of a message comes in a record of its own; one that comes again adds nothing.
    let once = message(std::slice::from_ref(&long), 1);
    let both = [message(&[part("")], 1), once.clone(), once].join("\n");
    let seen = fed(DecoderKind::Claude, &both).usage().output_tokens.0;
    assert!((estimate..estimate + 10).contains(&seen), "{seen} {estimate}");
    // A record that knows better is believed, and so is the final one, even where it says less than the estimate.
    assert_eq!(fed(DecoderKind::Claude, &message(&[long], 9000)).usage().output_tokens, Tokens(9000));
    let result =
        r#"{"type":"result","subtype":"success","is_error":false,"usage":{"input_tokens":10,"output_tokens":77}}"#;
    let report = claude(&format!("{both}\n{result}"), OK);
    assert_eq!(report.usage, usage([10, 0, 0, 77], None, UsageSource::Result));
}

#[test]
fn an_empty_result_does_not_hide_what_the_stream_showed() {
    let all = captured!("claude-success");
    let mut lines: Vec<&str> = all.lines().collect();
    lines.pop();
    lines.push(r#"{"type":"result","subtype":"error_during_execution","is_error":true,"usage":{"input_tokens":0}}"#);
    let report = claude(&lines.join("\n"), OK);
    assert_eq!(report.usage, usage([3200, 1400, 0, 48], None, UsageSource::Stream));
    assert_eq!(report.success, Success::No("its result is `error_during_execution`".into()));
}

#[test]
fn refusals_are_classed_and_cost_nothing() {
    let cases = [
        (claude(captured!("claude-401-retrying-killed"), TERMINATED), RefusalClass::Auth),
        (claude(captured!("claude-429"), FAILED), RefusalClass::Limit),
        (claude(captured!("claude-529-retrying-killed"), TERMINATED), RefusalClass::Overloaded),
        (codex(captured!("codex-401"), FAILED), RefusalClass::Auth),
        (codex(captured!("codex-429"), FAILED), RefusalClass::Limit),
        (codex(captured!("codex-529"), FAILED), RefusalClass::Overloaded),
    ];
    for (report, expected) in cases {
        assert_eq!(class(&report), Some(expected), "{report:?}");
        assert_eq!((report.usage.total_tokens, report.usage.source), (Tokens(0), UsageSource::Result), "{report:?}");
        assert!(matches!(report.success, Success::No(_)), "{report:?}");
        assert_eq!(report.provider.resets_at, None, "{report:?}");
    }
    let line = "api_retry 7 of 10: status 401, authentication_failed";
    let report = claude(captured!("claude-401-retrying-killed"), TERMINATED);
    assert_eq!(report.provider.refusal.expect("refusal").line, line);
}

#[test]
fn a_refused_login_stops_the_run_at_once_and_an_overload_does_not() {
    for (lines, expected) in [
        (captured!("claude-401-retrying-killed"), (RefusalClass::Auth, Urgency::Now)),
        (captured!("claude-529-retrying-killed"), (RefusalClass::Overloaded, Urgency::IfItPersists)),
    ] {
        let mut decoder = Decoder::new(DecoderKind::Claude, ModelUse::Calls);
        let mut lines = lines.lines();
        decoder.feed(lines.next().expect("init").as_bytes());
        assert_eq!(decoder.pending(&now(), PATIENCE), None);
        decoder.feed(lines.next().expect("retry").as_bytes());
        let pending = decoder.pending(&now(), PATIENCE).expect("refusal");
        assert_eq!((pending.refusal.class, pending.urgency), expected);
    }
}

#[test]
fn a_limit_with_a_structured_reset_keeps_it_through_the_prose() {
    let lines = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795223760,"rateLimitType":"five_hour"}}
{"type":"assistant","error":"rate_limit","message":{"model":"<synthetic>","content":[{"type":"text","text":"You've hit your 5-hour limit · resets 1:16am (UTC)"}]}}
{"type":"result","subtype":"success","is_error":true,"api_error_status":429,"result":"You've hit your 5-hour limit · resets 1:16am (UTC)"}"#;
    let report = claude(lines, FAILED);
    assert_eq!(class(&report), Some(RefusalClass::Limit));
    assert_eq!(report.provider.resets_at, DateTime::from_timestamp(1_795_223_760, 0));

    let allowed = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed","isUsingOverage":false}}"#;
    let overage = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","isUsingOverage":true}}"#;
    for line in [allowed, overage] {
        assert_eq!(fed(DecoderKind::Claude, line).pending(&now(), PATIENCE), None, "{line}");
    }
}

#[test]
fn a_limit_in_seconds_is_counted_from_now() {
    let lines = r#"{"type":"turn.failed","error":{"message":"rate_limit_error: please retry after 30 seconds"}}"#;
    let report = codex(lines, FAILED);
    assert_eq!(report.provider.resets_at, DateTime::from_timestamp(1_795_218_030, 0));
}

#[test]
fn a_limit_of_codex_takes_its_reset_from_the_session_file() {
    let mut decoder = fed(DecoderKind::Codex, captured!("codex-429"));
    let window = |used: f64| {
        format!(
            r#"{{"type":"event_msg","payload":{{"type":"token_count","info":null,"rate_limits":{{"primary":{{"used_percent":{used},"resets_at":1795223760}},"secondary":null}}}}}}"#
        )
    };
    decoder.feed_session(window(99.0).as_bytes());
    assert_eq!(decoder.pending(&now(), PATIENCE).expect("refusal").resets_at, None);
    decoder.feed_session(window(100.0).as_bytes());
    assert_eq!(decoder.finish(FAILED, &now()).provider.resets_at, DateTime::from_timestamp(1_795_223_760, 0));
}

#[test]
fn what_an_agent_says_or_quotes_is_never_a_refusal() {
    let quoted = "API Error: Request rejected (429) · You've hit your usage limit. Not logged in";
    let said = serde_json::json!({"type":"assistant","message":{"id":"m","model":"claude-x","content":[{"type":"text","text":quoted}],"usage":{"input_tokens":1}}});
    let tool = serde_json::json!({"type":"user","message":{"content":[{"type":"tool_result","content":quoted,"is_error":true}]}});
    let report = claude(&format!("{said}\n{tool}"), FAILED);
    assert_eq!(class(&report), None);
    assert_eq!(report.usage.source, UsageSource::Stream);

    let said = serde_json::json!({"type":"item.completed","item":{"type":"agent_message","text":quoted}});
    let tool = serde_json::json!({"type":"item.completed","item":{"type":"command_execution","aggregated_output":quoted,"exit_code":1}});
    let report = codex(&format!("{said}\n{tool}"), FAILED);
    assert_eq!(class(&report), None);
    assert_eq!(report.usage.source, UsageSource::Unknown, "work was done, so it is not known to be free");
}

#[test]
fn an_answer_takes_an_earlier_refusal_back() {
    let mut decoder = fed(DecoderKind::Claude, captured!("claude-529-retrying-killed"));
    decoder.feed(br#"{"type":"assistant","message":{"id":"m","model":"claude-x","usage":{"input_tokens":5}}}"#);
    assert_eq!(decoder.pending(&now(), PATIENCE), None);
    let mut decoder = fed(DecoderKind::Codex, captured!("codex-529").lines().nth(3).expect("error"));
    assert!(decoder.pending(&now(), PATIENCE).is_some());
    decoder.feed(br#"{"type":"item.completed","item":{"type":"reasoning","text":"hm"}}"#);
    assert_eq!(decoder.pending(&now(), PATIENCE), None);
}

#[test]
fn the_session_file_of_codex_meters_a_run_that_is_killed() {
    let mut decoder = Decoder::new(DecoderKind::Codex, ModelUse::Calls);
    captured!("codex-success").lines().take(5).for_each(|line| decoder.feed(line.as_bytes()));
    let session = captured!("codex-rollout-session");
    session.lines().take(3).for_each(|line| decoder.feed_session(line.as_bytes()));
    assert_eq!(decoder.usage(), usage([1500, 500, 0, 60], None, UsageSource::Transcript));
    session.lines().for_each(|line| decoder.feed_session(line.as_bytes()));
    let report = decoder.finish(ProcessEnd::Signal(9), &now());
    assert_eq!(report.usage, usage([3200, 1400, 0, 100], None, UsageSource::Transcript));
    assert_eq!(report.success, Success::No("signal 9 ended it: its output ends within a turn".into()));
}

#[test]
fn success_is_never_taken_from_the_exit_code_alone() {
    let result = r#"{"type":"result","subtype":"success","is_error":false,"result":"ok"}"#;
    let cases = [
        (String::new(), false),
        (result.to_owned(), true),
        (r#"{"type":"result","subtype":"success","is_error":true}"#.to_owned(), false),
        (r#"{"type":"result","subtype":"success"}"#.to_owned(), false),
        (r#"{"type":"result","is_error":false}"#.to_owned(), false),
        (r#"{"type":"result","subtype":"error_max_turns","is_error":false}"#.to_owned(), false),
        (format!("{result}\n{}", r#"{"type":"user","message":{"content":[]}}"#), false),
        (format!("{result}\n{}", r#"{"type":"system","subtype":"status"}"#), true),
    ];
    for (lines, expected) in cases {
        assert_eq!(claude(&lines, OK).success == Success::Yes, expected, "{lines}");
    }
    let message = r#"{"type":"item.completed","item":{"type":"agent_message","text":"ok"}}"#;
    let cases = [
        (String::new(), false),
        (message.to_owned(), false),
        (r#"{"type":"turn.completed"}"#.to_owned(), false),
        (format!("{message}\n{}", r#"{"type":"turn.completed"}"#), true),
        (format!("{message}\n{}\n{}", r#"{"type":"turn.completed"}"#, r#"{"type":"turn.failed"}"#), false),
        (format!("{message}\n{}\n{}", r#"{"type":"turn.completed"}"#, r#"{"type":"turn.started"}"#), false),
    ];
    for (lines, expected) in cases {
        assert_eq!(codex(&lines, OK).success == Success::Yes, expected, "{lines}");
    }
}

#[test]
fn caps_that_the_cli_enforces_are_no_refusal() {
    let line = r#"{"type":"result","subtype":"error_max_budget_usd","is_error":true,"errors":["Reached maximum budget ($0.5)"],"total_cost_usd":1.004}"#;
    let report = claude(line, FAILED);
    assert_eq!((report.own_cap, class(&report)), (Some(OwnCap::Cost), None));
}

#[test]
fn standard_error_explains_only_a_start_that_failed() {
    let lines: &[(&[u8], RefusalClass)] = &[
        (b"error: unknown option '--bogus'\n", RefusalClass::Configuration),
        (b"--dangerously-skip-permissions cannot be used with root/sudo privileges", RefusalClass::Configuration),
        ("Not logged in · Please run /login".as_bytes(), RefusalClass::Auth),
    ];
    for (line, expected) in lines {
        let mut decoder = Decoder::new(DecoderKind::Claude, ModelUse::Calls);
        decoder.feed_stderr(b"Reading additional input from stdin...");
        decoder.feed_stderr(line);
        let report = decoder.finish(FAILED, &now());
        assert_eq!((class(&report), report.usage), (Some(*expected), Usage::none()));
    }
    for (lines, end) in [("", TERMINATED), (captured!("claude-success"), FAILED), (captured!("claude-success"), OK)] {
        let mut decoder = fed(DecoderKind::Claude, lines);
        decoder.feed_stderr(b"error: unknown option '--bogus'");
        let report = decoder.finish(end, &now());
        assert_eq!(class(&report).is_some(), lines.is_empty(), "{end:?}");
    }
    let mut decoder = fed(DecoderKind::Codex, captured!("codex-429"));
    decoder.feed_stderr(b"error: unknown option '--bogus'");
    assert_eq!(class(&decoder.finish(FAILED, &now())), Some(RefusalClass::Limit));
}

#[test]
fn plain_output_means_its_exit_code_and_nothing_else() {
    let line = b"{\"type\":\"result\",\"is_error\":true}\nerror: unknown option";
    for (model_use, expected) in [(ModelUse::Never, Usage::none()), (ModelUse::Calls, Usage::default())] {
        let mut decoder = Decoder::new(DecoderKind::Plain, model_use);
        decoder.feed(line);
        assert_eq!(decoder.pending(&now(), PATIENCE), None);
        let report = decoder.finish(OK, &now());
        assert_eq!((report.success, report.usage), (Success::Yes, expected));
    }
    let failed = Decoder::new(DecoderKind::Plain, ModelUse::Never).finish(ProcessEnd::Code(3), &now());
    assert_eq!(failed.success, Success::No("it exited with code 3".into()));
}

#[test]
fn a_run_that_says_nothing_of_its_usage_used_an_unknown_amount() {
    for kind in [DecoderKind::Claude, DecoderKind::Codex, DecoderKind::Plain] {
        let report = Decoder::new(kind, ModelUse::Calls).finish(ProcessEnd::None, &now());
        assert_eq!((report.usage, class(&report)), (Usage::default(), None), "nobody saw it end");
    }
    let unknown = claude("", TERMINATED);
    assert_eq!(unknown.usage, Usage::default(), "killed before its first word: unknown, not nothing");
}

#[test]
fn hostile_lines_are_skipped() {
    let deep = format!("{{\"type\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let lines: &[&[u8]] = &[
        b"",
        b"\n",
        b"null",
        b"[]",
        b"\"assistant\"",
        b"{\"type\":7}",
        b"{\"type\":\"assistant\"}",
        b"{\"type\":\"assistant\",\"message\":{\"usage\":{\"input_tokens\":-1,\"output_tokens\":1e300}}}",
        b"{\"type\":\"assistant\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":18446744073709551615}}}",
        b"{\"type\":\"assistant\",\"message\":{\"id\":\"n\",\"usage\":{\"input_tokens\":18446744073709551615}}}",
        b"{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":1,\"cached_input_tokens\":9}}",
        b"{\"type\":\"result\",\"total_cost_usd\":-1,\"modelUsage\":{\"m\":null}}",
        b"\xff\xfe{\"type\":",
        deep.as_bytes(),
    ];
    for kind in [DecoderKind::Claude, DecoderKind::Codex, DecoderKind::Plain] {
        let mut decoder = Decoder::new(kind, ModelUse::Calls);
        for line in lines {
            let _ = decoder.render(line);
            decoder.feed(line);
            decoder.feed_session(line);
            decoder.feed_stderr(line);
        }
        let report = decoder.finish(FAILED, &now());
        assert!(matches!(report.success, Success::No(_)));
    }
}

fn limit(kind: &str, resets_at: i64) -> String {
    format!(
        r#"{{"type":"rate_limit_event","rate_limit_info":{{"status":"rejected","resetsAt":{resets_at},"rateLimitType":"{kind}"}}}}"#
    )
}

#[test]
fn a_limit_of_one_model_says_so_through_the_prose() {
    let prose = r#"{"type":"result","subtype":"success","is_error":true,"api_error_status":429,"result":"You've hit your limit · resets 1:16am (UTC)"}"#;
    for (kind, expected) in [
        ("seven_day_opus", RefusalScope::Model),
        ("seven_day_sonnet", RefusalScope::Model),
        ("five_hour", RefusalScope::Family),
        ("seven_day", RefusalScope::Family),
    ] {
        let report = claude(&format!("{}\n{prose}", limit(kind, 1_795_223_760)), FAILED);
        assert_eq!(report.provider.refusal.expect("refusal").scope, expected, "{kind}");
    }
    let worded = r#"{"type":"result","subtype":"success","is_error":true,"result":"You've hit your Opus limit · resets 1:16am (UTC)"}"#;
    let report = claude(worded, FAILED);
    assert_eq!(report.provider.refusal.expect("refusal").scope, RefusalScope::Model);
    assert_eq!(report.provider.resets_at, DateTime::from_timestamp(1_795_223_760, 0), "and its clock is read");
}

#[test]
fn a_limit_of_one_model_of_codex_is_told_from_that_of_all() {
    let window = |id: &str, resets_at: i64| {
        format!(
            r#"{{"type":"event_msg","payload":{{"type":"token_count","rate_limits":{{"limit_id":"{id}","primary":{{"used_percent":100.0,"resets_at":{resets_at}}}}}}}}}"#
        )
    };
    let (common, one) = (window("codex", 1_795_223_760), window("codex_spark", 1_795_230_000));
    for (files, scope, resets_at) in [
        (vec![&one], RefusalScope::Model, 1_795_230_000),
        (vec![&common], RefusalScope::Family, 1_795_223_760),
        (vec![&common, &one], RefusalScope::Family, 1_795_223_760),
    ] {
        let mut decoder = fed(DecoderKind::Codex, captured!("codex-429"));
        for line in files {
            decoder.feed_session(line.as_bytes());
        }
        let provider = decoder.finish(FAILED, &now()).provider;
        assert_eq!(provider.refusal.expect("refusal").scope, scope);
        assert_eq!(provider.resets_at, DateTime::from_timestamp(resets_at, 0));
    }
}

#[test]
fn older_codex_counts_the_seconds_to_its_reset_from_when_it_wrote_them() {
    let mut decoder = fed(DecoderKind::Codex, captured!("codex-429"));
    decoder.feed_session(br#"{"timestamp":"2026-11-20T23:40:00.000Z","type":"event_msg","payload":{"type":"token_count","rate_limits":{"primary":{"used_percent":100.0,"resets_in_seconds":600}}}}"#);
    let expected = DateTime::parse_from_rfc3339("2026-11-20T23:50:00Z").expect("time").to_utc();
    assert_eq!(decoder.finish(FAILED, &now()).provider.resets_at, Some(expected));
}

#[test]
fn a_clock_without_a_zone_is_that_of_the_machine_and_of_when_it_was_said() {
    let lines = r#"{"type":"turn.failed","error":{"message":"You’ve hit your usage limit. Upgrade or try again at Nov 21st, 2026 1:16 AM."}}"#;
    let said = now().with_timezone(&chrono_tz::Europe::Berlin);
    let report = fed(DecoderKind::Codex, lines).finish(FAILED, &said);
    assert_eq!(report.provider.resets_at, DateTime::from_timestamp(1_795_223_760 - 3600, 0));
}

#[test]
fn a_retry_is_not_waited_for_where_the_provider_asked_for_longer_than_the_patience() {
    let retry = |status: u64, delay: u64| {
        format!(
            r#"{{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":{delay},"error_status":{status},"error":"x"}}"#
        )
    };
    for (line, urgency, resets_in) in [
        (retry(529, 40_000), Urgency::IfItPersists, None),
        (retry(429, 3_600_000), Urgency::Soon, Some(3600)),
        (retry(429, 90_000), Urgency::IfItPersists, Some(90)),
        (limit("five_hour", 1_795_223_760), Urgency::Soon, Some(5760)),
        (limit("five_hour", 1_795_218_060), Urgency::IfItPersists, Some(60)),
        (retry(403, 500), Urgency::Now, None),
    ] {
        let pending = fed(DecoderKind::Claude, &line).pending(&now(), PATIENCE).expect("pending");
        let resets_at = resets_in.map(|seconds| now() + chrono::TimeDelta::seconds(seconds));
        assert_eq!((pending.urgency, pending.resets_at), (urgency, resets_at), "{line}");
    }
}

#[test]
fn refusals_are_counted_and_so_are_answers() {
    let counts = |kind, lines: &str| {
        let pending = fed(kind, lines).pending(&now(), PATIENCE).expect("pending");
        (pending.refusals, pending.answers)
    };
    let retry = r#"{"type":"system","subtype":"api_retry","error_status":529,"error":"overloaded"}"#;
    let answer = r#"{"type":"assistant","message":{"id":"m","model":"claude-x","content":[]}}"#;
    assert_eq!(counts(DecoderKind::Claude, &[retry, retry, answer, retry].join("\n")), (3, 1));
    let error = r#"{"type":"error","message":"Reconnecting... waiting for network (Connection failed)"}"#;
    let item = r#"{"type":"item.completed","item":{"type":"agent_message","text":"hello"}}"#;
    assert_eq!(counts(DecoderKind::Codex, &[error, item, error, error].join("\n")), (3, 1));
}
