//! What the ledger tells of the time after a copy, laid over the copy. Pure.
//!
//! A ledger line says which stage moved from where to where, and which run it was about; it does not hold candidates or
//! verdicts. So ends are taken over, because nothing follows from them, and runs become past runs, so that their ids
//! are used up; a phase in between is begun again from where the copy stands.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::core::budget::{Budget, Spend};
use crate::core::ids::{CommitId, Role, RunId, StageId};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::{EndStatus, Life, Over, PastRun, Reason, RunOutcome, Stage, State};
use crate::core::step::Note;
use crate::core::wait::Held;
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
    for line in since {
        let stage = line.note.stage.as_ref().or(line.note.run.as_ref().map(|run| &run.stage));
        if let Some(stage) = stage.and_then(|stage| state.stage_mut(stage)) {
            take_word(stage, line);
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

/// Takes over what a line says of a stage's place in the queue: an operator's hold, and when a repeat began last, so
/// that it is not begun again for a round that the copy does not know.
fn take_word(stage: &mut Stage, line: &Line) {
    let is_worker = line.note.run.as_ref().is_some_and(|run| run.role == Role::Worker);
    match line.note.event.as_str() {
        "held" if matches!(stage.life, Life::Pending(_)) => {
            let why = line.note.detail.rsplit_once("; `").map_or(line.note.detail.as_str(), |(why, _)| why);
            stage.wait.held = Some(Held { why: why.to_owned(), since: line.at });
        }
        "released" => stage.wait.held = None,
        "dispatched" if is_worker => {
            if let Some(repeat) = &mut stage.wait.repeat {
                repeat.began_at = Some(repeat.began_at.map_or(line.at, |at| at.max(line.at)));
            }
        }
        _ => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::operate::{Command, operate, queued};

    #[test]
    fn a_hold_and_the_begin_of_a_repeat_are_taken_over() {
        let text = "# Stage card 01-a: x\n\n## Metadata\n- **Worker:** W <w@local>\n- **Verifier:** V <v@local>\n\
                    - **Every:** 1 day\n\n## Objective\nx\n\n## Deliverables\nnone\n\n## Acceptance criteria\n1. x\n";
        let card = crate::core::card::Card::parse("01-a".parse().expect("id"), text).expect("card").card;
        let copy = State {
            stages: vec![queued(&card, "01-a.md".to_owned(), "main".to_owned())],
            ..State::new("r".to_owned())
        };
        let at = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(9);
        let line = |note: Note| Line {
            seq: 1,
            at,
            tick: 1,
            prev: String::new(),
            note,
            tokens_spent: Tokens(0),
            cost_spent_usd: MicroUsd(0),
            record: None,
        };
        let hold = Command::Hold { stage: card.stage.clone(), why: "later".to_owned() };
        let mut lines: Vec<Line> =
            operate(&copy, &Budget::default(), hold, at).expect("held").notes.into_iter().map(line).collect();
        let run: RunId = "01-a.1.worker".parse().expect("run");
        let note = |event: &str, run: Option<RunId>| Note {
            stage: Some(card.stage.clone()),
            run,
            event: event.to_owned(),
            from: None,
            to: None,
            detail: String::new(),
        };
        lines.push(line(note("dispatched", Some(run))));
        let replayed = |lines: &[Line]| {
            let mut state = replay(copy.clone(), lines, &[], |_| None, at).state;
            state.stages.remove(0).wait
        };
        let wait = replayed(&lines);
        assert_eq!(wait.held, Some(Held { why: "later".to_owned(), since: at }));
        assert_eq!(wait.repeat.and_then(|repeat| repeat.began_at), Some(at));
        lines.push(line(note("released", None)));
        assert_eq!(replayed(&lines).held, None);
    }
}
