//! What a supervisor asks of whoever understands a program's output. The families implement it elsewhere.

use std::time::Duration;

use crate::core::exit::{EndedBy, ProcessEnd, ProviderReport, Refusal, Usage};
use crate::core::run::RunOrder;

use super::transcript::TranscriptPlace;

/// Reads a program's output as it is written, line by line, in flat memory.
///
/// Lines come without their newline. Lines longer than 1 MiB are left out.
pub trait StreamMeter {
    /// Takes one line of standard output.
    fn feed_stdout(&mut self, line: &[u8]);
    /// Takes one line of standard error.
    fn feed_stderr(&mut self, line: &[u8]);
    /// Where the program keeps a transcript, once its output tells; none where it keeps none that says more.
    fn transcript(&self) -> Option<TranscriptPlace> {
        None
    }
    /// Takes one line of the transcript.
    fn feed_transcript(&mut self, _line: &[u8]) {}
    /// What has been used so far, as far as the output tells.
    fn usage(&self) -> Usage;
    /// The refusal that no answer has followed yet.
    fn refused(&self) -> Option<Refused>;
    /// Judges the whole output, now that the program has ended like this ([`ProcessEnd::None`]: nobody knows how).
    /// `ago` is how long ago it printed its last line, by the calendar.
    fn finish(self: Box<Self>, end: ProcessEnd, ago: Duration) -> MeterResult;
}

/// A refusal that the program may go on retrying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The last one.
    pub refusal: Refusal,
    /// How soon the program is stopped for it.
    pub hurry: Hurry,
    /// How many refusals there were so far.
    pub refusals: u64,
    /// How many answers there were so far.
    pub answers: u64,
}

/// How soon a program is stopped whose provider refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurry {
    /// At once.
    Now,
    /// After a moment in which it may say its last word: what it used stands there.
    Moment,
    /// When the order's patience is over.
    Patience,
}

/// What a meter made of a whole run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeterResult {
    /// What the run used.
    pub usage: Usage,
    /// What the provider said.
    pub provider: ProviderReport,
    /// Whether the CLI's own records say that it finished its work.
    pub succeeded: bool,
    /// The value it returned by schema, where it was asked for one.
    pub structured: Option<serde_json::Value>,
    /// The cap that the CLI, which holds to it by itself, says it ended for.
    pub own_cap: Option<EndedBy>,
}

/// Makes the meter for an order.
pub type MeterFor<'a> = dyn Fn(&RunOrder) -> Box<dyn StreamMeter> + 'a;

/// The meter of programs whose output means nothing to us: gates and scripts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMeter;

impl StreamMeter for NoMeter {
    fn feed_stdout(&mut self, _: &[u8]) {}

    fn feed_stderr(&mut self, _: &[u8]) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn refused(&self) -> Option<Refused> {
        None
    }

    fn finish(self: Box<Self>, end: ProcessEnd, _ago: Duration) -> MeterResult {
        MeterResult { succeeded: end == ProcessEnd::Code(0), ..MeterResult::default() }
    }
}
