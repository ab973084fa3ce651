//! Where a run's output meets the family that understands it.

use crate::core::exit::{ProcessEnd, Refusal, Usage};
use crate::core::run::{ModelUse, RunOrder};
use crate::families::{self, Decoder, Success, Urgency};
use crate::runs::{MeterResult, StreamMeter, TranscriptPlace};

use super::clock;

/// The meter of a run, by its order alone: the supervisor reads no manifest.
pub fn meter_for(order: &RunOrder) -> Box<dyn StreamMeter> {
    let model_use = match order.uses_model {
        ModelUse::Model => families::ModelUse::Calls,
        ModelUse::None => families::ModelUse::Never,
    };
    Box::new(FamilyMeter(Decoder::new(order.decoder, model_use)))
}

struct FamilyMeter(Decoder);

impl StreamMeter for FamilyMeter {
    fn feed_stdout(&mut self, line: &[u8]) {
        self.0.feed(line);
    }

    fn feed_stderr(&mut self, line: &[u8]) {
        self.0.feed_stderr(line);
    }

    fn transcript(&self) -> Option<TranscriptPlace> {
        let session = self.0.session_file()?;
        Some(TranscriptPlace {
            home_variable: session.home_variable,
            default_home: session.default_home,
            root: session.root,
            name_end: session.name_end,
        })
    }

    fn feed_transcript(&mut self, line: &[u8]) {
        self.0.feed_session(line);
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn stop_now(&self) -> Option<Refusal> {
        self.0.refusal(clock::now()).and_then(|(refusal, _, urgency)| (urgency == Urgency::Now).then_some(refusal))
    }

    fn finish(self: Box<Self>, end: ProcessEnd) -> MeterResult {
        let decoded = self.0.finish(end, clock::now());
        MeterResult {
            usage: decoded.usage,
            provider: decoded.provider,
            succeeded: matches!(decoded.success, Success::Yes),
            structured: decoded.structured,
        }
    }
}
