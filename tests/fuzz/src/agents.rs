//! What agents and their CLIs say: streams, refusals, handoffs and verdicts.

use autometta::core::exit::{ProcessEnd, Usage};
use autometta::core::family::DecoderKind;
use autometta::core::handoff::{Handoff, HandoffStatus};
use autometta::core::quantity::Seconds;
use autometta::core::verdict::evidence::{self, FileLines};
use autometta::core::verdict::{Judgement, Scoring, Verdict, commit_headline};
use autometta::families::ModelUse;
use autometta::families::decode::{Decoded, Decoder, Success};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{hold_faults, stage};

pub(crate) fn claude(bytes: &[u8]) {
    stream(DecoderKind::Claude, bytes);
}

pub(crate) fn codex(bytes: &[u8]) {
    stream(DecoderKind::Codex, bytes);
}

/// The first byte says how the process ended; the lines behind it are standard output, but for those that begin with
/// `!` (standard error) or `~` (the CLI's own session file).
fn stream(kind: DecoderKind, bytes: &[u8]) {
    let (first, text) = bytes.split_first().unwrap_or((&b'0', &[]));
    let mut decoder = Decoder::new(kind, ModelUse::Calls);
    for line in text.split(|byte| *byte == b'\n') {
        match line {
            [b'!', line @ ..] => decoder.feed_stderr(line),
            [b'~', line @ ..] => decoder.feed_session(line),
            line => decoder.feed(line),
        }
        hold_usage(&decoder.usage());
        drop(decoder.render(line));
        drop(decoder.session_file());
        if let Some(pending) = decoder.pending(&now(*first), Seconds(180)) {
            hold_line(&pending.refusal.line);
        }
    }
    let end = match first {
        b'1' => ProcessEnd::Code(1),
        b'9' => ProcessEnd::Signal(9),
        b'x' => ProcessEnd::None,
        _ => ProcessEnd::Code(0),
    };
    hold_decoded(&decoder.finish(end, &now(*first)), end);
}

/// A time to read by: an ordinary one, and the two ends of the calendar.
fn now(byte: u8) -> DateTime<Utc> {
    match byte % 4 {
        0 => DateTime::<Utc>::MIN_UTC,
        1 => DateTime::<Utc>::MAX_UTC,
        _ => DateTime::from_timestamp(1_795_218_021, 0).expect("a time"),
    }
}

fn hold_usage(usage: &Usage) {
    assert_eq!(usage.totalled().total_tokens, usage.total_tokens, "{usage:?}");
}

fn hold_line(line: &str) {
    assert!(line.chars().count() <= 500 && !line.contains(['\n', '\r']), "{line:?}");
}

fn hold_decoded(decoded: &Decoded, end: ProcessEnd) {
    hold_usage(&decoded.usage);
    let succeeded = decoded.success == Success::Yes;
    assert!(!succeeded || end == ProcessEnd::Code(0), "a success that ended badly");
    assert!(!succeeded || decoded.provider.refusal.is_none(), "a success that was refused");
    assert!(decoded.structured.is_none() || succeeded, "an answer of a run that failed");
    assert!(decoded.provider.refusal.is_some() || decoded.provider.resets_at.is_none(), "a reset of nothing");
    if let Some(refusal) = &decoded.provider.refusal {
        hold_line(&refusal.line);
    }
}

/// Words in the places where CLIs put their refusals.
pub(crate) fn refusal(bytes: &[u8]) {
    let (first, words) = bytes.split_first().unwrap_or((&b'0', &[]));
    let words = String::from_utf8_lossy(words);
    let records = [
        (DecoderKind::Claude, json!({"type": "result", "subtype": "success", "is_error": true, "result": words})),
        (
            DecoderKind::Claude,
            json!({"type": "assistant", "error": "unknown", "message": {"model": "<synthetic>", "content": [{"type": "text", "text": words}]}}),
        ),
        (DecoderKind::Claude, json!({"type": "system", "subtype": "api_retry", "error": words})),
        (DecoderKind::Codex, json!({"type": "turn.failed", "error": {"message": words}})),
        (DecoderKind::Codex, json!({"type": "error", "message": words})),
    ];
    for (kind, record) in records {
        let mut decoder = Decoder::new(kind, ModelUse::Calls);
        decoder.feed(record.to_string().as_bytes());
        for line in words.lines() {
            decoder.feed_stderr(line.as_bytes());
        }
        if let Some(pending) = decoder.pending(&now(*first), Seconds(180)) {
            hold_line(&pending.refusal.line);
        }
        let end = ProcessEnd::Code(1);
        hold_decoded(&decoder.finish(end, &now(*first)), end);
    }
}

pub(crate) fn handoff(bytes: &[u8]) {
    let handoff = match Handoff::parse(bytes, &stage()) {
        Ok(handoff) => handoff,
        Err(faults) => return hold_faults(&faults, bytes),
    };
    assert!(bytes.len() <= 1 << 20, "an envelope beyond the limit");
    assert_eq!(handoff.stage_id, stage());
    let asks = handoff.question.as_deref().is_some_and(|question| !question.trim().is_empty());
    assert!(handoff.status != HandoffStatus::Blocked || asks, "blocked without a question");
    assert!(handoff.question.is_none() || asks, "an empty question");
    assert!(handoff.failed_acceptance.iter().all(|number| *number > 0));
    for path in &handoff.deliverables {
        let path = path.as_str();
        assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".." && part != ".autometta"), "{path}");
    }
    let text = serde_json::to_vec(&handoff).expect("a handoff can be written");
    assert_eq!(Handoff::parse(&text, &stage()).expect("and read"), handoff);
}

pub(crate) fn verdict(bytes: &[u8]) {
    for criteria in 0..4 {
        for scoring in [Scoring::NotAsked, Scoring::Asked] {
            match Verdict::parse_scored(bytes, &stage(), criteria, scoring) {
                Ok(verdict) => hold_verdict(&verdict, criteria, scoring),
                Err(faults) => hold_faults(&faults, bytes),
            }
        }
    }
    hold_headline(&String::from_utf8_lossy(bytes));
}

fn hold_verdict(verdict: &Verdict, criteria: usize, scoring: Scoring) {
    assert_eq!(verdict.stage_id, stage());
    let ids: Vec<usize> = verdict.criteria.iter().map(|one| one.id as usize).collect();
    assert_eq!(ids, (1..=criteria).collect::<Vec<_>>(), "each criterion once, in order");
    assert!(verdict.criteria.iter().all(|one| !one.evidence.trim().is_empty()), "a judgement without evidence");
    let all_pass = verdict.criteria.iter().all(|one| one.verdict == Judgement::Pass);
    assert!(verdict.judged() != Judgement::Pass || (all_pass && verdict.overall == Judgement::Pass));
    assert_eq!(verdict.scores.is_some(), scoring == Scoring::Asked);
    hold_headline(&verdict.headline);
    // Evidence names files, which are then asked of git: a tree that has none of them must be a tree without proof.
    let none = evidence::faults(verdict, "/checkout", |_| FileLines::default());
    drop(none.to_string());
    assert!(evidence::named_files(verdict, "/checkout").iter().all(|path| !path.is_empty()));
    let text = serde_json::to_vec(verdict).expect("a verdict can be written");
    let again = Verdict::parse_scored(&text, &stage(), criteria, scoring).expect("and read");
    assert_eq!(&again, verdict);
}

/// A headline becomes the subject of a commit.
fn hold_headline(text: &str) {
    if let Some(subject) = commit_headline(text) {
        assert!(!subject.trim().is_empty() && subject.chars().count() <= 72, "{subject:?}");
        assert!(!subject.contains(|c: char| c.is_control()), "{subject:?}");
    }
}
