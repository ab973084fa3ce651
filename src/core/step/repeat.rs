//! Stages that are queued again once they have landed, as their cards say.

use super::turn::Turn;
use crate::core::card::Card;
use crate::core::notice::NoticeKind;
use crate::core::state::{Life, Pending, Stage};

/// Queues every stage again whose time has come, as its card is now: behind all others, exactly once. Where its card
/// cannot be used it stays as it is, and that is told once.
pub(super) fn queue_again(turn: &mut Turn, stages: &mut Vec<Stage>) {
    let now = turn.now;
    let is_due = |stage: &Stage| stage.repeats_at().is_some_and(|at| at <= now) && stage.chores.is_empty();
    for _ in 0..stages.len() {
        let looked_at = |stage: &&Stage| is_due(stage) && turn.seen.briefs.contains_key(&stage.id);
        let Some(id) = stages.iter().find(looked_at).map(|stage| stage.id.clone()) else { break };
        let Some(place) = stages.iter().position(|stage| stage.id == id) else { break };
        match turn.seen.briefs.get(&id) {
            Some(Ok(brief)) if brief.card.every.is_some() => {
                let mut stage = stages.remove(place);
                round(turn, &mut stage, &brief.card);
                stages.push(stage);
            }
            Some(Ok(_)) => {
                let why = format!("{} no longer says `Every:`", stages[place].card);
                stages[place].wait.repeat = None;
                turn.note(&id, None, "repeat-ended", why);
            }
            Some(Err(why)) => stop(turn, &mut stages[place], why),
            None => break,
        }
    }
}

fn round(turn: &mut Turn, stage: &mut Stage, card: &Card) {
    let from = stage.life.clone();
    stage.begin_round();
    stage.take_from(card);
    let every = card.every.unwrap_or_default();
    let detail = format!("its card says every {every}; the last round has landed");
    stage.life = from;
    turn.moves(stage, Life::Pending(Pending::default()), None, "queued-again", detail);
}

fn stop(turn: &mut Turn, stage: &mut Stage, why: &str) {
    let detail = format!("its time to be queued again has come, and its card cannot be used: {why}");
    let message = format!("{}: {detail}; mend it, then `autometta requeue {}`", stage.id, stage.id);
    if let Some(repeat) = &mut stage.wait.repeat {
        repeat.stopped = Some(why.to_owned());
    }
    let id = stage.id.clone();
    turn.note(&id, None, "repeat-stopped", detail);
    turn.tell(Some(&id), NoticeKind::Escalation, message);
}
