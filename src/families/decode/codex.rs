//! Codex's `exec --json`, and the session file that it keeps beside it.

use chrono::DateTime;
use serde_json::Value;

use super::{Closing, SessionFile, Standing, count, text};
use crate::core::exit::{RefusalClass, RefusalScope, Usage, UsageSource};
use crate::core::quantity::Tokens;
use crate::families::refusal::Whose;
use crate::families::reset::Resets;

/// The name of the limit that binds every model.
const COMMON_LIMIT: &str = "codex";

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Stream {
    session: Option<String>,
    turn: Turn,
    last_message: Option<String>,
    reported: Usage,
    transcript: Usage,
    standing: Option<Standing>,
    /// When the limit of every model opens again, and when that of one model does; epochs.
    common_limit: Option<i64>,
    model_limit: Option<i64>,
    refusals: u64,
    answers: u64,
}

/// How the last turn stands.
#[derive(Debug, Default)]
enum Turn {
    /// It has not ended.
    #[default]
    Open,
    Completed,
    Failed(String),
}

impl Stream {
    pub(super) fn feed(&mut self, record: &Value) {
        match text(record, "/type") {
            Some("thread.started") => self.session = text(record, "/thread_id").map(str::to_owned),
            Some("turn.started") => self.turn = Turn::Open,
            Some("turn.completed") => {
                self.turn = Turn::Completed;
                self.standing = None;
                if let Some(usage) = record.get("usage").filter(|usage| usage.is_object()) {
                    self.reported = larger(self.reported, thread_usage(usage, UsageSource::Result));
                }
            }
            Some("turn.failed") => {
                let said = text(record, "/error/message").unwrap_or("no reason given");
                self.refused(said);
                self.turn = Turn::Failed(said.chars().take(300).collect());
            }
            // Not the end by itself: Codex reports its retries this way too.
            Some("error") => self.refused(text(record, "/message").unwrap_or_default()),
            Some("item.started" | "item.updated" | "item.completed") => self.item(record),
            _ => {}
        }
    }

    fn item(&mut self, record: &Value) {
        match text(record, "/item/type") {
            // A note, such as missing model metadata. Failures come as `error` and `turn.failed`.
            Some("error") | None => return,
            Some("agent_message") => self.last_message = text(record, "/item/text").map(str::to_owned),
            Some(_) => {}
        }
        // An answer proves that whatever was refused before has been overcome.
        self.answers += 1;
        self.standing = None;
    }

    fn refused(&mut self, said: &str) {
        if let Some(standing) = Standing::from_text(Whose::Codex, said) {
            self.refusals += 1;
            self.standing = Some(standing);
        }
    }

    pub(super) fn session_file(&self) -> Option<SessionFile> {
        let session = self.session.as_ref().filter(|session| !session.is_empty())?;
        Some(SessionFile {
            home_variable: "CODEX_HOME",
            default_home: ".codex",
            root: "sessions",
            name_end: format!("-{session}.jsonl"),
        })
    }

    pub(super) fn feed_session(&mut self, record: &Value) {
        if text(record, "/type") != Some("event_msg") || text(record, "/payload/type") != Some("token_count") {
            return;
        }
        if let Some(total) = record.pointer("/payload/info/total_token_usage").filter(|total| total.is_object()) {
            self.transcript = larger(self.transcript, thread_usage(total, UsageSource::Transcript));
        }
        if let Some(limits) = record.pointer("/payload/rate_limits").filter(|limits| limits.is_object()) {
            let said_at = text(record, "/timestamp").and_then(|time| DateTime::parse_from_rfc3339(time).ok());
            let said_at = said_at.map(|time| time.timestamp());
            let resets =
                ["primary", "secondary"].iter().filter_map(|window| exhausted(limits.get(window)?, said_at)).max();
            match text(limits, "/limit_id") {
                None | Some(COMMON_LIMIT) => self.common_limit = resets,
                Some(_) => self.model_limit = resets,
            }
        }
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        let mut standing = self.standing.clone()?;
        if standing.refusal.class == RefusalClass::Limit {
            if self.common_limit.is_none() && self.model_limit.is_some() {
                standing.refusal.scope = RefusalScope::Model;
            }
            let stated = match standing.refusal.scope {
                RefusalScope::Family => self.common_limit,
                RefusalScope::Model => self.model_limit,
            };
            standing.resets = stated.and_then(Resets::from_epoch).or(standing.resets);
        }
        Some(standing)
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refusals
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    /// Both sources count up over the whole thread, so the larger is the later one.
    pub(super) fn usage(&self) -> Usage {
        larger(self.reported, self.transcript)
    }

    pub(super) fn close(self) -> Closing {
        let success = match &self.turn {
            Turn::Completed if self.last_message.is_some() => Ok(()),
            Turn::Completed => Err("its turn ends without a message".to_owned()),
            Turn::Failed(said) => Err(format!("its turn failed with the words: {said}")),
            Turn::Open => Err("its output ends within a turn".to_owned()),
        };
        // The answer is the last message itself, which holds nothing but JSON when a schema was given.
        let answer = self.last_message.as_deref().and_then(|message| serde_json::from_str::<Value>(message).ok());
        Closing {
            success,
            standing: self.standing(),
            structured: answer.filter(|answer| answer.is_object() || answer.is_array()),
            session: self.session,
            own_cap: None,
            answered: self.answers > 0,
        }
    }
}

/// A usage whose input holds the cached part, taken apart so that nothing is counted twice.
fn thread_usage(usage: &Value, source: UsageSource) -> Usage {
    let cached = Tokens(count(usage, "/cached_input_tokens"));
    let written = Tokens(count(usage, "/cache_write_input_tokens"));
    Usage {
        input_tokens: Tokens(count(usage, "/input_tokens")) - cached - written,
        cached_input_tokens: cached,
        cache_write_tokens: written,
        output_tokens: Tokens(count(usage, "/output_tokens")),
        source,
        ..Usage::default()
    }
    .totalled()
}

/// The first of two, unless the second holds more.
fn larger(one: Usage, other: Usage) -> Usage {
    if other.source != UsageSource::Unknown
        && (one.source == UsageSource::Unknown || other.total_tokens > one.total_tokens)
    {
        other
    } else {
        one
    }
}

/// When a window that is used up opens again, as an epoch. Codex before 0.50 counts the seconds until then.
fn exhausted(window: &Value, said_at: Option<i64>) -> Option<i64> {
    let used = window.get("used_percent").and_then(Value::as_f64)?;
    if used < 100.0 {
        return None;
    }
    let number = |name| window.get(name).and_then(Value::as_i64);
    number("resets_at").or_else(|| said_at?.checked_add(number("resets_in_seconds")?))
}
