//! Claude Code's `--output-format stream-json`.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use super::{Closing, OwnCap, Standing, count, text};
use crate::core::exit::{RefusalClass, RefusalScope, Usage, UsageSource};
use crate::core::quantity::{MicroUsd, Tokens};
use crate::families::refusal::{Whose, bare, class_of_status, of_record};
use crate::families::reset::Resets;

/// How many message ids are remembered. Repeats follow each other closely, even with several subagents; an id that
/// came back later would be counted twice, which errs on the safe side.
const REMEMBERED_MESSAGES: usize = 128;
/// From this delay on, in milliseconds, a retry waits for what the provider asked for, and not by the CLI's own backoff.
const ASKED_FOR: u64 = 60_000;
/// The names of limits that bind one model only.
const MODEL_LIMITS: [&str; 3] = ["seven_day_opus", "seven_day_sonnet", "seven_day_overage_included"];

/// How many parts of a message are told apart; more of them would be counted even where they repeat.
const REMEMBERED_PARTS: usize = 256;

/// How many bytes of a streamed message are taken for a token.
const BYTES_PER_TOKEN: u64 = 4;

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Stream {
    session: Option<String>,
    /// Usage of messages that are no longer remembered, as the records say and as it is estimated.
    settled: Usage,
    settled_output: Tokens,
    /// Each recent message.
    recent: VecDeque<Message>,
    standing: Option<Standing>,
    /// What the last limit event said, until an answer came.
    limit: Option<(RefusalScope, Option<Resets>)>,
    refusals: u64,
    answers: u64,
    outcome: Option<Outcome>,
}

/// A message as far as it was streamed: a record for each of its parts, all with one id.
#[derive(Debug)]
struct Message {
    id: String,
    /// The usage of its last record.
    usage: Usage,
    /// Parts that were seen, by their hash, so that a repeated record adds nothing.
    parts: Vec<u64>,
    /// How long its parts are, in bytes.
    written: u64,
}

impl Message {
    fn read(&mut self, record: &Value) {
        let parts = record.pointer("/message/content").and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            let text = part.to_string();
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let hash = hasher.finish();
            if self.parts.contains(&hash) {
                continue;
            }
            if self.parts.len() < REMEMBERED_PARTS {
                self.parts.push(hash);
            }
            self.written = self.written.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        }
    }

    /// Its output: what the records say is a placeholder, so that at least a token is counted for four bytes of what was
    /// streamed, thinking and the calls of tools included.
    fn output(&self) -> Tokens {
        self.usage.output_tokens.max(Tokens(self.written.div_ceil(BYTES_PER_TOKEN)))
    }
}

/// The final record.
#[derive(Debug)]
struct Outcome {
    success: Result<(), String>,
    usage: Usage,
    structured: Option<Value>,
    own_cap: Option<OwnCap>,
}

impl Stream {
    pub(super) fn feed(&mut self, record: &Value) {
        if self.session.is_none() {
            self.session = text(record, "/session_id").map(str::to_owned);
        }
        match text(record, "/type") {
            Some("assistant") => self.assistant(record),
            // A conversation that goes on takes its earlier result back. Other records may follow a result freely.
            Some("user") => self.outcome = None,
            Some("result") => self.result(record),
            Some("rate_limit_event") => self.rate_limit(record),
            Some("system") if text(record, "/subtype") == Some("api_retry") => self.retry(record),
            _ => {}
        }
    }

    fn assistant(&mut self, record: &Value) {
        self.outcome = None;
        let error = text(record, "/error");
        if error.is_some() || text(record, "/message/model") == Some("<synthetic>") {
            let said = text(record, "/message/content/0/text").unwrap_or_default();
            let meaning = of_record(Whose::Claude, said).or_else(|| error.and_then(class_of_error).map(bare));
            if let Some(meaning) = meaning {
                self.stand(Standing::new(meaning, said));
            }
            return;
        }
        // An answer proves that whatever was refused before has been overcome.
        self.standing = None;
        self.limit = None;
        self.answers += 1;
        let Some(usage) = record.pointer("/message/usage") else { return };
        let usage = message_usage(usage);
        let id = text(record, "/message/id").unwrap_or_default();
        if let Some(known) = self.recent.iter_mut().rev().find(|known| known.id == id) {
            known.usage = usage;
            known.read(record);
            return;
        }
        let mut message = Message { id: id.to_owned(), usage, parts: Vec::new(), written: 0 };
        message.read(record);
        self.recent.push_back(message);
        if self.recent.len() > REMEMBERED_MESSAGES
            && let Some(oldest) = self.recent.pop_front()
        {
            self.settled = sum(self.settled, oldest.usage);
            self.settled_output += oldest.output();
        }
    }

    fn retry(&mut self, record: &Value) {
        let error = text(record, "/error").unwrap_or("no reason given");
        let status = record.pointer("/error_status").and_then(Value::as_u64);
        let class = status.and_then(class_of_status).or_else(|| class_of_error(error));
        // Without a status nothing was answered at all.
        let class = class.or_else(|| status.is_none().then_some(RefusalClass::Network));
        if let Some(class) = class {
            let status = status.map_or_else(|| "no status".to_owned(), |status| format!("status {status}"));
            let (attempt, most) = (count(record, "/attempt"), count(record, "/max_retries"));
            let mut standing = Standing::new(bare(class), &format!("api_retry {attempt} of {most}: {status}, {error}"));
            let delay = count(record, "/retry_delay_ms");
            let seconds = u32::try_from(delay.div_ceil(1000)).ok().filter(|_| delay >= ASKED_FOR);
            standing.resets = seconds.map(Resets::After);
            self.stand(standing);
        }
    }

    fn rate_limit(&mut self, record: &Value) {
        let overage = record.pointer("/rate_limit_info/isUsingOverage") == Some(&Value::Bool(true));
        if text(record, "/rate_limit_info/status") == Some("rejected") && !overage {
            let resets =
                record.pointer("/rate_limit_info/resetsAt").and_then(Value::as_i64).and_then(Resets::from_epoch);
            let kind = text(record, "/rate_limit_info/rateLimitType").unwrap_or("unnamed");
            let scope = if MODEL_LIMITS.contains(&kind) { RefusalScope::Model } else { RefusalScope::Family };
            self.limit = Some((scope, resets));
            let line = format!("rate_limit_event: the {kind} limit is reached");
            self.stand(Standing::new((RefusalClass::Limit, scope), &line));
        }
    }

    fn result(&mut self, record: &Value) {
        let subtype = text(record, "/subtype").unwrap_or("none");
        let is_error = record.pointer("/is_error") != Some(&Value::Bool(false));
        let said = text(record, "/result").or_else(|| text(record, "/errors/0")).unwrap_or_default();
        let own_cap = match subtype {
            "error_max_budget_usd" => Some(OwnCap::Cost),
            "error_max_turns" => Some(OwnCap::Turns),
            _ => None,
        };
        let success = if subtype == "success" && !is_error {
            Ok(())
        } else if said.is_empty() {
            Err(format!("its result is `{subtype}`"))
        } else {
            Err(format!("its result is `{subtype}` with the words: {}", said.chars().take(300).collect::<String>()))
        };
        if success.is_err() && is_error {
            let status = record.pointer("/api_error_status").and_then(Value::as_u64);
            let by_status = || status.and_then(class_of_status).map(bare);
            if let Some(meaning) = of_record(Whose::Claude, said).or_else(by_status) {
                self.stand(Standing::new(meaning, said));
            }
        }
        self.outcome = Some(Outcome {
            structured: record.get("structured_output").filter(|answer| !answer.is_null()).cloned(),
            usage: result_usage(record),
            success,
            own_cap,
        });
    }

    /// Notes a refusal; a limit keeps the reset time and the scope that an earlier record gave in its fields.
    fn stand(&mut self, mut standing: Standing) {
        if let (RefusalClass::Limit, Some((scope, resets))) = (standing.refusal.class, self.limit.clone()) {
            standing.resets = resets.or(standing.resets);
            standing.refusal.scope = standing.refusal.scope.max(scope);
        }
        self.refusals += 1;
        self.standing = Some(standing);
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refusals
    }

    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        self.standing.clone()
    }

    /// The final record's figures, or what the messages add up to where that is more: a run that was interrupted may
    /// report nothing in its final record.
    pub(super) fn usage(&self) -> Usage {
        let streamed = self.recent.iter().fold(self.settled, |total, message| sum(total, message.usage)).totalled();
        match &self.outcome {
            // Held against what the records say: an estimate does not overrule the final record.
            Some(outcome) if outcome.usage.total_tokens >= streamed.total_tokens => outcome.usage,
            _ => {
                let source = if self.answers > 0 { UsageSource::Stream } else { UsageSource::Unknown };
                let output_tokens = self.settled_output + self.recent.iter().map(Message::output).sum::<Tokens>();
                Usage { output_tokens, source, ..streamed }.totalled()
            }
        }
    }

    pub(super) fn close(self) -> Closing {
        let (success, structured, own_cap) = match self.outcome {
            Some(outcome) => (outcome.success, outcome.structured, outcome.own_cap),
            None => (Err("its output ends without a result record".to_owned()), None, None),
        };
        Closing {
            success,
            standing: self.standing,
            structured,
            session: self.session,
            own_cap,
            answered: self.answers > 0,
        }
    }
}

/// The names that Claude Code gives to errors of its own making.
fn class_of_error(error: &str) -> Option<RefusalClass> {
    match error {
        "authentication_failed" | "oauth_org_not_allowed" => Some(RefusalClass::Auth),
        "billing_error" => Some(RefusalClass::Billing),
        "rate_limit" => Some(RefusalClass::Limit),
        "overloaded" | "server_error" => Some(RefusalClass::Overloaded),
        "model_not_found" => Some(RefusalClass::Model),
        _ => None,
    }
}

/// One message's usage. Its output is a placeholder: the true figure comes with the result only.
fn message_usage(usage: &Value) -> Usage {
    Usage {
        input_tokens: Tokens(count(usage, "/input_tokens")),
        cached_input_tokens: Tokens(count(usage, "/cache_read_input_tokens")),
        cache_write_tokens: Tokens(count(usage, "/cache_creation_input_tokens")),
        output_tokens: Tokens(count(usage, "/output_tokens")),
        ..Usage::default()
    }
}

/// The result's usage: the sum over the models, which holds the subagents too.
fn result_usage(record: &Value) -> Usage {
    let models = record.get("modelUsage").and_then(Value::as_object).filter(|models| !models.is_empty());
    let usage = match models {
        Some(models) => models.values().fold(Usage::default(), |total, model| {
            let model = Usage {
                input_tokens: Tokens(count(model, "/inputTokens")),
                cached_input_tokens: Tokens(count(model, "/cacheReadInputTokens")),
                cache_write_tokens: Tokens(count(model, "/cacheCreationInputTokens")),
                output_tokens: Tokens(count(model, "/outputTokens")),
                ..Usage::default()
            };
            sum(total, model)
        }),
        None => record.get("usage").map(message_usage).unwrap_or_default(),
    };
    let known = models.is_some() || record.get("usage").is_some_and(Value::is_object);
    let cost = record.get("total_cost_usd").and_then(Value::as_f64).filter(|cost| *cost >= 0.0);
    Usage {
        cost_usd: cost.map(MicroUsd::from_dollars),
        source: if known { UsageSource::Result } else { UsageSource::Unknown },
        ..usage.totalled()
    }
}

fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens + other.input_tokens,
        cached_input_tokens: one.cached_input_tokens + other.cached_input_tokens,
        cache_write_tokens: one.cache_write_tokens + other.cache_write_tokens,
        output_tokens: one.output_tokens + other.output_tokens,
        ..one
    }
}
