//! What the ledger tells of the time after a copy, laid over the copy. Pure.
//!
//! A ledger line says which stage moved from where to where, and which run it was about; it does not hold candidates or
//! verdicts. So ends are taken over, because nothing follows from them, and runs become past runs, so that their ids
//! are used up; a phase in between is begun again from where the copy stands.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::core::budget::{Budget, Spend};
use crate::core::ids::{CommitId, RunId, StageId};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::{EndStatus, Life, Over, PastRun, Reason, RunOutcome, Stage, State};
use crate::core::step::Note;
use crate::files::ledger::Line;

use super::StageChange;

/// A copy after what followed it.
pub(super) struct Replayed {
    pub state: State,
    pub orphans: Vec<RunId>,
    pub changes: Vec<StageChange>,
    pub queue_again: Vec<String>,
}

/// Every way in which a stage ends.
const ENDS: [EndStatus; 6] = [
    EndStatus::Completed,
    EndStatus::Failed,
    EndStatus::Stalled,
    EndStatus::VerifierFailed,
    EndStatus::Blocked,
    EndStatus::Superseded,
];

/// Lays the ledger's lines, and the run directories that are there, over a copy. `archive` gives stages that were
/// archived since.
pub(super) fn replay(
    mut state: State,
    since: &[Line],
    there: &[RunId],
    archive: impl Fn(&StageId) -> Option<Stage>,
    now: DateTime<Utc>,
) -> Replayed {
    let copied: Vec<(String, Stage)> =
        state.stages.iter().map(|stage| (stage.life.word().to_owned(), stage.clone())).collect();
    state.tick_count = since.last().map_or(0, |line| line.tick).max(state.tick_count);
    for stage in &mut state.stages {
        let last =
            since.iter().rev().find(|line| line.note.stage.as_ref() == Some(&stage.id) && line.note.to.is_some());
        if let Some(line) = last
            && !matches!(stage.life, Life::Over(_))
            && let Some(over) = ended(line)
        {
            // Whoever was in flight has been settled since; the spend of it is in the ledger's figures.
            let flights: Vec<RunId> = stage.life.flights().into_iter().map(|flight| flight.run.clone()).collect();
            match archive(&stage.id).filter(|whole| whole.life.word() == over.status.as_str()) {
                // The archive has all of it, and the next tick puts it back there.
                Some(whole) => *stage = whole,
                None => {
                    stage.life = Life::Over(over);
                    stage.history.extend(flights.into_iter().map(|run| used_up(run, now)));
                }
            }
        }
    }
    let known: BTreeSet<RunId> = state
        .stages
        .iter()
        .flat_map(|stage| {
            let past = stage.history.iter().map(|past| past.run.clone());
            past.chain(stage.life.flights().into_iter().map(|flight| flight.run.clone())).collect::<Vec<_>>()
        })
        .collect();
    let told = since.iter().filter_map(|line| line.note.run.clone());
    // Directories outlive their stages; those of stages that are not in the queue are nobody's business here.
    let left = there.iter().filter(|run| state.stage(&run.stage).is_some()).cloned();
    let unknown: BTreeSet<RunId> = told.chain(left).filter(|run| !known.contains(run)).collect();
    for run in &unknown {
        if let Some(stage) = state.stage_mut(&run.stage) {
            // The number of the newest attempt only matters once the present one is over.
            if !stage.life.is_in_progress() {
                stage.attempt = stage.attempt.max(run.attempt);
            }
            stage.history.push(used_up(run.clone(), now));
        }
    }
    let changes = copied
        .iter()
        .filter_map(|(word, before)| {
            let said = since.iter().rev().find_map(|line| told_of(&line.note, before)).unwrap_or_else(|| word.clone());
            let restored = state.stage(&before.id)?.life.word().to_owned();
            (said != *word || restored != *word).then(|| StageChange {
                stage: before.id.clone(),
                copy: word.clone(),
                ledger: said,
                restored,
            })
        })
        .collect();
    let queue_again = since
        .iter()
        .filter(|line| line.note.event == "queued")
        .filter(|line| line.note.stage.as_ref().is_some_and(|id| state.stage(id).is_none() && archive(id).is_none()))
        .map(|line| line.note.detail.clone())
        .collect();
    Replayed { state, orphans: unknown.into_iter().collect(), changes, queue_again }
}

fn told_of(note: &Note, stage: &Stage) -> Option<String> {
    (note.stage.as_ref() == Some(&stage.id)).then(|| note.to.clone()).flatten()
}

/// The end that a line tells of.
fn ended(line: &Line) -> Option<Over> {
    let word = line.note.to.as_deref()?;
    let status = ENDS.into_iter().find(|end| end.as_str() == word)?;
    // `<commit> on <branch>` is what a landing says.
    let commit: Option<CommitId> = line.note.detail.split(' ').next().and_then(|word| word.parse().ok());
    let commit = commit.filter(|_| status == EndStatus::Completed);
    let reason = (commit.is_none()).then(|| Reason::new(&line.note.event, line.note.detail.clone()));
    Some(Over { status, reason, at: line.at, commit, kept: None })
}

/// A run that is over for us: charged by the ledger's figures, and never dispatched again under its id.
fn used_up(run: RunId, at: DateTime<Utc>) -> PastRun {
    PastRun {
        run,
        identity: None,
        model: None,
        // Not `Lost`, which would count as one of the tries that the policy allows.
        outcome: RunOutcome::Cancelled,
        ended_by: None,
        at,
        tokens: Tokens(0),
        cost_usd: MicroUsd(0),
        seconds: Seconds(0),
        usage_unknown: true,
    }
}

/// Spend never goes down: the ledger's last figures win over an older copy's.
pub(super) fn raise_spend(budget: &mut Budget, last: Option<&Line>, now: DateTime<Utc>) {
    let Some(last) = last else { return };
    let more = Spend {
        tokens: last.tokens_spent - budget.tokens_spent,
        cost_usd: last.cost_spent_usd - budget.cost_spent_usd,
        ..Spend::default()
    };
    budget.book(more, now);
}

/// Sets aside exactly what the runs in flight were promised.
pub(super) fn reserve_for(budget: &mut Budget, state: &State) {
    (budget.tokens_reserved, budget.cost_reserved_usd, budget.wall_clock_reserved_seconds) = Default::default();
    for (_, flight) in state.flights() {
        budget.reserve(&flight.reserved);
    }
}
