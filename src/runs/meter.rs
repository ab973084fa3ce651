//! What a supervisor asks of whoever understands a program's output. The families implement it elsewhere.

use crate::core::exit::{ProcessEnd, ProviderReport, Refusal, Usage};
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
    /// A refusal that the program would go on retrying for minutes, so that it is better stopped.
    fn stop_now(&self) -> Option<Refusal>;
    /// Judges the whole output, now that the program has ended like this ([`ProcessEnd::None`]: nobody knows how).
    fn finish(self: Box<Self>, end: ProcessEnd) -> MeterResult;
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

    fn stop_now(&self) -> Option<Refusal> {
        None
    }

    fn finish(self: Box<Self>, end: ProcessEnd) -> MeterResult {
        MeterResult { succeeded: end == ProcessEnd::Code(0), ..MeterResult::default() }
    }
}
