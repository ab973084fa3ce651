//! Where a run's output meets the family that understands it.

use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta};

use crate::core::exit::{EndedBy, ProcessEnd, Usage};
use crate::core::quantity::Seconds;
use crate::core::rates::Rates;
use crate::core::run::{ModelUse, RunOrder};
use crate::families::{self, Decoder, OwnCap, Success, Urgency};
use crate::runs::{Hurry, MeterResult, Refused, StreamMeter, TranscriptPlace};

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
        patience: order.patience_seconds,
    })
}

struct FamilyMeter {
    decoder: Decoder,
    rates: Option<Rates>,
    uses: ModelUse,
    patience: Seconds,
}

/// A usage with its cost, by the rates of the order where the CLI tells none.
fn priced(usage: Usage, uses: ModelUse, rates: Option<&Rates>) -> Usage {
    match uses {
        ModelUse::None => usage,
        ModelUse::Model => usage.priced(rates),
    }
}

/// A time so long ago, on the clock of this machine's wall: what a CLI prints is in its zone.
fn local(ago: Duration) -> DateTime<Local> {
    let now = clock::now();
    let then = TimeDelta::from_std(ago).ok().and_then(|ago| now.checked_sub_signed(ago));
    then.unwrap_or(now).with_timezone(&Local)
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

    fn refused(&self) -> Option<Refused> {
        let pending = self.decoder.pending(&local(Duration::ZERO), self.patience)?;
        let hurry = match pending.urgency {
            Urgency::Now => Hurry::Now,
            Urgency::Soon => Hurry::Moment,
            Urgency::IfItPersists => Hurry::Patience,
        };
        let (refusals, answers) = (pending.refusals, pending.answers);
        Some(Refused { refusal: pending.refusal, hurry, refusals, answers })
    }

    fn finish(self: Box<Self>, end: ProcessEnd, ago: Duration) -> MeterResult {
        let (rates, uses) = (self.rates, self.uses);
        let decoded = self.decoder.finish(end, &local(ago));
        MeterResult {
            usage: priced(decoded.usage, uses, rates.as_ref()),
            provider: decoded.provider,
            succeeded: matches!(decoded.success, Success::Yes),
            structured: decoded.structured,
            // A number of turns is no cap that we set.
            own_cap: (decoded.own_cap == Some(OwnCap::Cost)).then_some(EndedBy::CostCap),
        }
    }
}
