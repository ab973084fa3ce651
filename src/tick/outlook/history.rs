//! What the newest runs of this repository came to, from the state, the archive and the runs' own records.
//!
//! The reading is bounded: so many stages of the archive, so many runs. A record that is gone or cannot be read leaves a
//! run out, or what followed it says how it came out.

use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::core::exit::{EndedBy, ExitRecord, RefusalClass};
use crate::core::handoff::{Handoff, HandoffStatus};
use crate::core::ids::{Role, RunId, StageId};
use crate::core::outlook::agents::{Doer, End, Refused, Sample, Took};
use crate::core::quantity::Seconds;
use crate::core::state::{Awaits, EndStatus, Life, PastRun, RunOutcome, Stage, State};
use crate::core::verdict::{Judgement, Verdict};
use crate::files::{document, store};

use crate::tick::site::Site;

/// The most runs that are read.
const MOST_RUNS: usize = 400;
/// The most stages of the archive that are opened.
const MOST_ARCHIVED: usize = 100;

/// The newest runs, newest first.
pub(super) fn samples(site: &Site, state: &State) -> Vec<Sample> {
    let mut runs: Vec<(DateTime<Utc>, Sample)> = state.stages.iter().flat_map(|stage| of_stage(site, stage)).collect();
    for id in archived(site) {
        if runs.len() >= MOST_RUNS {
            break;
        }
        // What cannot be read tells nothing; `doctor` says so.
        if let Ok(Some(stage)) = store::archived(&site.layout, &id) {
            runs.extend(of_stage(site, &stage));
        }
    }
    runs.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    runs.truncate(MOST_RUNS);
    runs.into_iter().map(|(_, sample)| sample).collect()
}

/// The stages of the archive that left the state last.
fn archived(site: &Site) -> Vec<StageId> {
    let folder = site.layout.dir().join("archive");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(SystemTime, StageId)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let id = name.to_str()?.strip_suffix(".yaml")?.parse().ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, id))
        })
        .collect();
    found.sort();
    found.into_iter().rev().take(MOST_ARCHIVED).map(|(_, id)| id).collect()
}

fn of_stage(site: &Site, stage: &Stage) -> Vec<(DateTime<Utc>, Sample)> {
    let one = |(index, past): (usize, &PastRun)| {
        let family = past.identity.as_ref().and_then(|who| Some(site.families.of(who)?.name.clone()));
        if past.run.role != Role::Gate && family.is_none() {
            return None;
        }
        let doer = Doer { role: past.run.role, family, model: past.model.clone() };
        let end = end_of(site, stage, index, past)?;
        let took = Took {
            seconds: past.seconds,
            tokens: past.tokens,
            cost_usd: past.cost_usd,
            is_unknown: past.usage_unknown,
        };
        Some((past.at, Sample { doer, end, took }))
    };
    stage.history.iter().enumerate().filter_map(one).collect()
}

/// How a past run came out; none where it says nothing of runs to come.
fn end_of(site: &Site, stage: &Stage, index: usize, past: &PastRun) -> Option<End> {
    Some(match (past.outcome, past.run.role) {
        (RunOutcome::Done, Role::Verifier) => match judged(site, stage, index, &past.run)? {
            Judgement::Pass => End::Good,
            Judgement::Fail => End::Bad,
            Judgement::Blocked => End::Asked,
        },
        (RunOutcome::Done, Role::Worker | Role::Gate) => End::Good,
        (RunOutcome::Failed, Role::Worker) if gave_up(site, &past.run) => End::GaveUp,
        (RunOutcome::Failed | RunOutcome::Flaked, _) => End::Bad,
        (RunOutcome::Asked, _) => End::Asked,
        (RunOutcome::OverCap, _) => End::OverCap(past.ended_by.unwrap_or(EndedBy::Timeout)),
        (RunOutcome::NoHandoff | RunOutcome::NoVerdict, _) => End::Silent,
        (RunOutcome::Crashed | RunOutcome::Lost | RunOutcome::NeverStarted, _) => End::Crashed,
        (RunOutcome::Refused, _) => End::Refused(refused(site, &past.run)?),
        (RunOutcome::Cancelled, _) => return None,
    })
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&document::read(path).ok()??).ok()
}

/// What a verifier said: by its verdict, else by what became of the stage after it.
fn judged(site: &Site, stage: &Stage, index: usize, run: &RunId) -> Option<Judgement> {
    let verdict: Option<Verdict> = read(&site.layout.run(run).join("outbox/verdict.json"));
    if let Some(verdict) = verdict {
        let low = verdict.below(site.policy.review_floor).is_some();
        return Some(if low { Judgement::Fail } else { verdict.judged() });
    }
    let after = &stage.history[index + 1..];
    if after.iter().any(|later| later.run.attempt > run.attempt) {
        return Some(Judgement::Fail);
    }
    match &stage.life {
        Life::Over(over) => match (over.status, over.kept.as_ref().map(|kept| kept.awaits)) {
            (EndStatus::Completed, _) | (EndStatus::Blocked, Some(Awaits::Approval | Awaits::Merge)) => {
                Some(Judgement::Pass)
            }
            (EndStatus::VerifierFailed, _) => Some(Judgement::Fail),
            (EndStatus::Blocked, Some(Awaits::VerifierAnswer)) => Some(Judgement::Blocked),
            _ => None,
        },
        Life::Landing(_) => Some(Judgement::Pass),
        _ => None,
    }
}

/// Whether a failed worker said so itself, rather than hand in what the checks refused.
fn gave_up(site: &Site, run: &RunId) -> bool {
    let handoff: Option<Handoff> = read(&site.layout.run(run).join("outbox/handoff.json"));
    handoff.is_some_and(|handoff| handoff.status == HandoffStatus::Fail)
}

/// How a provider refused. What a person has mended since (a login, money, a model's name) is no chance of the night.
fn refused(site: &Site, run: &RunId) -> Option<Refused> {
    let record: ExitRecord = read(&site.layout.run(run).join("exit.json"))?;
    let refusal = record.provider.refusal?;
    match refusal.class {
        RefusalClass::Auth | RefusalClass::Billing | RefusalClass::Model | RefusalClass::Configuration => None,
        RefusalClass::Limit | RefusalClass::Overloaded | RefusalClass::Network | RefusalClass::Context => {
            let wait = record.provider.resets_at.map(|at| at.signed_duration_since(record.ended_at).num_seconds());
            let wait = wait.map(|wait| Seconds(u64::try_from(wait).unwrap_or(0)));
            Some(Refused { class: refusal.class, scope: refusal.scope, wait })
        }
    }
}
