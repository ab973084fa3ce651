//! Decoders: what an agent CLI's output means, read one line at a time.
//!
//! Lenient in what they read (a line that is not understood is skipped), strict in what they call success, and closed
//! when in doubt. They keep a bounded amount of memory and never panic, whatever an agent prints. A refusal is taken
//! only from records that the CLI writes itself, never from what the model says or a tool prints.

mod claude;
mod codex;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::Value;

use super::refusal::{Whose, bare, class_of_start, of_record, refusal};
use super::render;
use super::reset::Resets;
use super::spec::ModelUse;
use crate::core::exit::{ProcessEnd, ProviderReport, Refusal, RefusalClass, RefusalScope, Usage, UsageSource};
use crate::core::family::DecoderKind;
use crate::core::quantity::Seconds;

/// Longer lines are skipped unread; no record that matters comes near it.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// How soon a refusal that the CLI is still retrying should end the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// At once: no retry can succeed until a person acts.
    Now,
    /// As soon as it had a moment to say its last word: no retry can succeed within the policy's patience.
    Soon,
    /// Once it has lasted longer than the policy's patience: the next retry may succeed.
    IfItPersists,
}

/// Whether the CLI did what it was asked, as far as the CLI knows. Whether the work is any good is not its word to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Success {
    /// The process and its final record both say so.
    Yes,
    /// They do not; why, in a sentence.
    No(String),
}

/// A cap of ours that the CLI enforced itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnCap {
    /// The run's cost cap.
    Cost,
    /// A limit on turns that the command sets.
    Turns,
}

/// Everything that a run's output said.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What the run used.
    pub usage: Usage,
    /// What the provider said; no refusal where the run succeeded.
    pub provider: ProviderReport,
    /// Whether the CLI succeeded.
    pub success: Success,
    /// The structured answer of a run that succeeded, not yet held against its schema.
    pub structured: Option<Value>,
    /// The CLI's own id of the session.
    pub session: Option<String>,
    /// Which cap of ours the CLI says it reached.
    pub own_cap: Option<OwnCap>,
}

/// A refusal that no answer has followed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The last refusal.
    pub refusal: Refusal,
    /// When it ends, where the provider said so.
    pub resets_at: Option<DateTime<Utc>>,
    /// How soon to stop the CLI for it.
    pub urgency: Urgency,
    /// How many refusals were read so far.
    pub refusals: u64,
    /// How many answers were read so far: while this stands still, nothing but refusals came.
    pub answers: u64,
}

/// Reads the output of one run.
#[derive(Debug)]
pub struct Decoder {
    stream: Stream,
    model_use: ModelUse,
    start_failure: Option<Refusal>,
}

#[derive(Debug)]
enum Stream {
    Claude(Box<claude::Stream>),
    Codex(Box<codex::Stream>),
    Plain,
}

/// A file that a CLI keeps of its session: `<home>/<root>/<year>/<month>/<day>/<anything><name_end>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFile {
    /// The variable that names the CLI's home.
    pub home_variable: &'static str,
    /// The CLI's home below `$HOME` where that variable is not set.
    pub default_home: &'static str,
    /// The folder of all sessions below the CLI's home.
    pub root: &'static str,
    /// How the file's name ends.
    pub name_end: String,
}

/// A refusal that stands at the moment.
#[derive(Debug, Clone, PartialEq)]
struct Standing {
    refusal: Refusal,
    resets: Option<Resets>,
}

impl Standing {
    /// From the text of an error record, with a meaning that its structured fields give.
    fn new(meaning: (RefusalClass, RefusalScope), text: &str) -> Self {
        Self { refusal: refusal(meaning, text), resets: Resets::from_text(text) }
    }

    /// From the text alone, where it has a known wording.
    fn from_text(whose: Whose, text: &str) -> Option<Self> {
        of_record(whose, text).map(|meaning| Self::new(meaning, text))
    }
}

/// What a stream says once it has ended.
#[derive(Debug)]
struct Closing {
    success: Result<(), String>,
    standing: Option<Standing>,
    structured: Option<Value>,
    session: Option<String>,
    own_cap: Option<OwnCap>,
    /// Whether a model answered at all.
    answered: bool,
}

impl Decoder {
    /// A decoder for one run.
    pub fn new(kind: DecoderKind, model_use: ModelUse) -> Self {
        let stream = match kind {
            DecoderKind::Claude => Stream::Claude(Box::default()),
            DecoderKind::Codex => Stream::Codex(Box::default()),
            DecoderKind::Plain => Stream::Plain,
        };
        Self { stream, model_use, start_failure: None }
    }

    /// Reads one line of standard output, with or without its line break.
    pub fn feed(&mut self, line: &[u8]) {
        let Some(record) = record(line) else { return };
        match &mut self.stream {
            Stream::Claude(stream) => stream.feed(&record),
            Stream::Codex(stream) => stream.feed(&record),
            Stream::Plain => {}
        }
    }

    /// The file in which the CLI tells what it uses before its output does; none for CLIs that stream it, and before
    /// the session has a name.
    pub fn session_file(&self) -> Option<SessionFile> {
        match &self.stream {
            Stream::Codex(stream) => stream.session_file(),
            Stream::Claude(_) | Stream::Plain => None,
        }
    }

    /// Reads one line of the session file that Codex keeps under `$CODEX_HOME/sessions`; its usage is there while a
    /// turn is still running. Other families have none.
    pub fn feed_session(&mut self, line: &[u8]) {
        if let (Stream::Codex(stream), Some(record)) = (&mut self.stream, record(line)) {
            stream.feed_session(&record);
        }
    }

    /// Reads one line of standard error. It counts only where the run failed and no record says why.
    pub fn feed_stderr(&mut self, line: &[u8]) {
        if self.start_failure.is_none() && line.len() <= LONGEST_LINE {
            let line = String::from_utf8_lossy(line);
            self.start_failure = class_of_start(&line).map(|class| refusal(bare(class), &line));
        }
    }

    /// What the run has used so far.
    pub fn usage(&self) -> Usage {
        match (&self.stream, self.model_use) {
            (_, ModelUse::Never) => Usage::none(),
            (Stream::Claude(stream), ModelUse::Calls) => stream.usage(),
            (Stream::Codex(stream), ModelUse::Calls) => stream.usage(),
            (Stream::Plain, ModelUse::Calls) => Usage::default(),
        }
    }

    /// The refusal that stands at the moment. `now` is when the last line was read, in the zone of the machine;
    /// `patience` is how long the CLI may go on retrying.
    pub fn pending<Z: TimeZone>(&self, now: &DateTime<Z>, patience: Seconds) -> Option<Pending> {
        let (standing, refusals, answers) = match &self.stream {
            Stream::Claude(stream) => (stream.standing()?, stream.refusals(), stream.answers()),
            Stream::Codex(stream) => (stream.standing()?, stream.refusals(), stream.answers()),
            Stream::Plain => return None,
        };
        let resets_at = standing.resets.and_then(|resets| resets.at(now));
        let patience = i64::try_from(patience.0).ok().and_then(TimeDelta::try_seconds).unwrap_or(TimeDelta::MAX);
        let beyond = resets_at.is_some_and(|at| at - now.to_utc() > patience);
        let urgency = match standing.refusal.class {
            RefusalClass::Auth | RefusalClass::Billing | RefusalClass::Model | RefusalClass::Configuration => {
                Urgency::Now
            }
            _ if beyond => Urgency::Soon,
            RefusalClass::Limit | RefusalClass::Overloaded | RefusalClass::Network | RefusalClass::Context => {
                Urgency::IfItPersists
            }
        };
        Some(Pending { refusal: standing.refusal, resets_at, urgency, refusals, answers })
    }

    /// The line as people want to read it while the run goes on; none for records that tell them nothing.
    pub fn render(&self, line: &[u8]) -> Option<String> {
        match &self.stream {
            Stream::Claude(_) => render::claude(&record(line)?),
            Stream::Codex(_) => render::codex(&record(line)?),
            Stream::Plain => render::plain(line),
        }
    }

    /// Closes the books, once the process has ended in this way. `said_at` is when it printed its last line, in the zone
    /// of the machine on which it ran.
    ///
    /// [`ProcessEnd::None`] is a process that nobody saw end. What it used beyond its output is unknown, not nothing.
    pub fn finish<Z: TimeZone>(self, end: ProcessEnd, said_at: &DateTime<Z>) -> Decoded {
        let usage = self.usage();
        let closing = match self.stream {
            Stream::Claude(stream) => stream.close(),
            Stream::Codex(stream) => stream.close(),
            Stream::Plain => Closing {
                success: Ok(()),
                standing: None,
                structured: None,
                session: None,
                own_cap: None,
                answered: self.model_use == ModelUse::Calls,
            },
        };
        let success = match (bad_end(end), closing.success) {
            (None, Ok(())) => Success::Yes,
            (None, Err(why)) => Success::No(why),
            (Some(end), Ok(())) => Success::No(end),
            (Some(end), Err(why)) => Success::No(format!("{end}: {why}")),
        };
        let failed = success != Success::Yes;
        let exited_badly = matches!(end, ProcessEnd::Code(code) if code != 0);
        let standing = closing.standing.filter(|_| failed && closing.own_cap.is_none());
        let started_badly = self.start_failure.filter(|_| exited_badly && !closing.answered && standing.is_none());
        let resets_at =
            standing.as_ref().and_then(|standing| standing.resets.as_ref()).and_then(|resets| resets.at(said_at));
        let refusal = standing.map(|standing| standing.refusal).or(started_badly);
        let refused_unheard = !closing.answered && refusal.as_ref().is_some_and(|refusal| rejects(refusal.class));
        let usage = match usage.source {
            UsageSource::Unknown if refused_unheard => Usage::none(),
            _ => usage,
        };
        Decoded {
            usage,
            provider: ProviderReport { refusal, resets_at },
            structured: closing.structured.filter(|_| !failed),
            success,
            session: closing.session,
            own_cap: closing.own_cap,
        }
    }
}

/// Whether a refusal of this class means that the provider took no work in. A dropped connection may have been heard.
fn rejects(class: RefusalClass) -> bool {
    match class {
        RefusalClass::Limit
        | RefusalClass::Overloaded
        | RefusalClass::Auth
        | RefusalClass::Billing
        | RefusalClass::Model
        | RefusalClass::Context
        | RefusalClass::Configuration => true,
        RefusalClass::Network => false,
    }
}

fn bad_end(end: ProcessEnd) -> Option<String> {
    match end {
        ProcessEnd::Code(0) => None,
        ProcessEnd::Code(code) => Some(format!("it exited with code {code}")),
        ProcessEnd::Signal(signal) => Some(format!("signal {signal} ended it")),
        ProcessEnd::None => Some("nobody knows how it ended".to_owned()),
    }
}

/// The JSON object on a line, if there is one.
fn record(line: &[u8]) -> Option<Value> {
    if line.len() > LONGEST_LINE {
        return None;
    }
    serde_json::from_str::<Value>(&String::from_utf8_lossy(line)).ok().filter(Value::is_object)
}

/// A text inside a record, by JSON pointer.
fn text<'a>(record: &'a Value, pointer: &str) -> Option<&'a str> {
    record.pointer(pointer).and_then(Value::as_str)
}

/// A count inside a record, by JSON pointer; nothing where there is none or it is no whole number.
fn count(record: &Value, pointer: &str) -> u64 {
    record.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
