//! Where a run's output meets the family that understands it.

use crate::core::exit::{ProcessEnd, Refusal, Usage};
use crate::core::rates::Rates;
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
    Box::new(FamilyMeter {
        decoder: Decoder::new(order.decoder, model_use),
        rates: order.rates,
        uses: order.uses_model,
    })
}

struct FamilyMeter {
    decoder: Decoder,
    rates: Option<Rates>,
    uses: ModelUse,
}

/// A usage with its cost, by the rates of the order where the CLI tells none.
fn priced(usage: Usage, uses: ModelUse, rates: Option<&Rates>) -> Usage {
    match uses {
        ModelUse::None => usage,
        ModelUse::Model => usage.priced(rates),
    }
}

impl StreamMeter for FamilyMeter {
    fn feed_stdout(&mut self, line: &[u8]) {
        self.decoder.feed(line);
    }

    fn feed_stderr(&mut self, line: &[u8]) {
        self.decoder.feed_stderr(line);
    }

    fn transcript(&self) -> Option<TranscriptPlace> {
        let session = self.decoder.session_file()?;
        Some(TranscriptPlace {
            home_variable: session.home_variable,
            default_home: session.default_home,
            root: session.root,
            name_end: session.name_end,
        })
    }

    fn feed_transcript(&mut self, line: &[u8]) {
        self.decoder.feed_session(line);
    }

    fn usage(&self) -> Usage {
        priced(self.decoder.usage(), self.uses, self.rates.as_ref())
    }

    fn stop_now(&self) -> Option<Refusal> {
        self.decoder
            .refusal(clock::now())
            .and_then(|(refusal, _, urgency)| (urgency == Urgency::Now).then_some(refusal))
    }

    fn finish(self: Box<Self>, end: ProcessEnd) -> MeterResult {
        let (rates, uses) = (self.rates, self.uses);
        let decoded = self.decoder.finish(end, clock::now());
        MeterResult {
            usage: priced(decoded.usage, uses, rates.as_ref()),
            provider: decoded.provider,
            succeeded: matches!(decoded.success, Success::Yes),
            structured: decoded.structured,
        }
    }
}
