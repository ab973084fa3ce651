//! One run's records: what the state charged it, and what its directory says of it.

use chrono::{DateTime, Utc};

use crate::core::exit::{ExitRecord, GateResult, ProcessEnd};
use crate::core::handoff::Handoff;
use crate::core::ids::{Role, RunId};
use crate::core::night::{CriterionNight, Excerpt, GateNight, HandoffNight, LONGEST_QUOTE, RunNight, VerdictNight};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::run::{RunOrder, Started};
use crate::core::state::Stage;
use crate::core::verdict::Verdict;
use crate::files::document;

use crate::tick::site::Site;

/// The most criteria of one verdict that are told.
const MOST_CRITERIA: usize = 40;
/// The most gates of one run that are told.
const MOST_GATES: usize = 20;
/// The longest evidence, in characters.
const EVIDENCE: usize = 600;
/// The longest name or headline, in characters.
const NAME: usize = 200;

/// A run of the window. A record that cannot be read is a fault; one that is gone is simply not told.
pub(super) fn run(
    site: &Site,
    stage: &Stage,
    run: &RunId,
    dispatched_at: DateTime<Utc>,
    faults: &mut Vec<String>,
) -> RunNight {
    let dir = site.layout.run(run);
    let mut read = |name: &str| {
        let path = dir.join(name);
        document::read(&path).map_err(|error| faults.push(error.to_string())).ok().flatten()
    };
    let order: Option<RunOrder> = read("run.json").and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let started: Option<Started> = read("started.json").and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let exit: Option<ExitRecord> = read("exit.json").and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let handoff = (run.role == Role::Worker).then(|| read("outbox/handoff.json")).flatten();
    let verdict = (run.role == Role::Verifier).then(|| read("outbox/verdict.json")).flatten();
    let handoff: Option<Handoff> = handoff.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let verdict: Option<Verdict> = verdict.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let past = stage.history.iter().find(|past| past.run == *run);
    let flight = stage.life.flights().into_iter().find(|flight| flight.run == *run);
    let (identity, family, model) =
        order.map_or((None, None, None), |order| (order.identity, order.family, order.model));
    let quote = |text: &str| Excerpt::head(text, LONGEST_QUOTE);
    RunNight {
        run: run.clone(),
        identity: identity
            .or_else(|| past.and_then(|past| past.identity.clone()))
            .or_else(|| flight.and_then(|flight| flight.identity.clone())),
        family: family.or_else(|| flight.and_then(|flight| flight.family.clone())),
        model,
        dispatched_at,
        started_at: exit.as_ref().map(|exit| exit.started_at).or(started.map(|started| started.started_at)),
        ended_at: exit.as_ref().map(|exit| exit.ended_at),
        seen_at: past.map(|past| past.at),
        outcome: past.map(|past| past.outcome),
        ended_by: exit.as_ref().map(|exit| exit.ended_by).or_else(|| past.and_then(|past| past.ended_by)),
        seconds: past.map_or(Seconds(0), |past| past.seconds),
        tokens: past.map_or(Tokens(0), |past| past.tokens),
        cost_usd: past.map_or(MicroUsd(0), |past| past.cost_usd),
        usage_unknown: past.is_some_and(|past| past.usage_unknown),
        usage: exit.as_ref().map(|exit| exit.usage),
        refusal: exit.as_ref().and_then(|exit| exit.provider.refusal.as_ref()).map(|refusal| quote(&refusal.line)),
        outbox_fault: exit.as_ref().and_then(|exit| exit.outbox_fault.as_deref()).map(quote),
        handoff: handoff.map(|handoff| HandoffNight {
            status: handoff.status,
            notes: quote(&handoff.notes),
            question: handoff.question.as_deref().map(quote),
        }),
        verdict: verdict.map(|verdict| told(&verdict)),
        gates: exit.iter().flat_map(|exit| exit.gates.iter().take(MOST_GATES)).map(gate).collect(),
    }
}

fn told(verdict: &Verdict) -> VerdictNight {
    let criteria = verdict.criteria.iter().take(MOST_CRITERIA).map(|criterion| CriterionNight {
        id: criterion.id,
        name: Excerpt::head(&criterion.name, NAME),
        verdict: criterion.verdict,
        evidence: Excerpt::head(&criterion.evidence, EVIDENCE),
    });
    VerdictNight {
        judged: verdict.judged(),
        headline: Excerpt::head(&verdict.headline, NAME),
        criteria: criteria.collect(),
        criteria_left_out: verdict.criteria.len().saturating_sub(MOST_CRITERIA),
        findings: Excerpt::head(&verdict.additional_findings, LONGEST_QUOTE),
    }
}

fn gate(gate: &GateResult) -> GateNight {
    let ended = match (gate.timed_out, gate.exit) {
        (true, _) => "ran into its time limit".to_owned(),
        (false, ProcessEnd::Code(code)) => format!("exit {code}"),
        (false, ProcessEnd::Signal(signal)) => format!("killed by signal {signal}"),
        (false, ProcessEnd::None) => "never ran".to_owned(),
    };
    GateNight {
        name: gate.name.clone(),
        command: Excerpt::head(gate.command.trim(), NAME),
        passed: gate.passed(),
        ended,
        elapsed_seconds: gate.elapsed_seconds,
        output: (!gate.passed()).then(|| Excerpt::tail(&gate.output_tail, LONGEST_QUOTE)),
    }
}
