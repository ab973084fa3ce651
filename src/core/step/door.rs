//! The door that every dispatch passes: not while halted, not while its family is paused, and only where spent +
//! reserved + its own worst case stays within every cap.

use super::turn::Turn;
use crate::core::budget::{Admission, Pause, Start};
use crate::core::card::Card;
use crate::core::fleet::NO_PLACE;
use crate::core::ids::{Role, RunId};
use crate::core::observation::Placed;
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::state::{Flight, Reason, Reservation, Stage};

/// Asks for runs that start together; says no by `None`, and latches a halt where a cap is reached.
pub(super) fn admit(turn: &mut Turn, start: &Start) -> Option<()> {
    if turn.budget.halted {
        return None;
    }
    let mut says = turn.budget.admits_beside(&start.room, &turn.beyond);
    if says != Admission::Fits && turn.roll_window(&start.room) {
        says = turn.budget.admits_beside(&start.room, &turn.beyond);
    }
    match says {
        Admission::Fits => {
            turn.budget.reserve(&start.ask);
            turn.beyond += start.turns;
            Some(())
        }
        Admission::Later(_) => None,
        Admission::Over(over) => {
            turn.budget.turned_away = over.iter().any(|halt| halt.reason.is_spend_cap()).then_some(start.room);
            turn.halt(over);
            None
        }
    }
}

/// Why the fleet's day has no room for a run, where it has none; it is no halt, for it ends by itself.
pub(super) fn fleet_refuses(turn: &Turn, ask: &Reservation) -> Option<Reason> {
    let why = turn.seen.fleet.as_ref()?.refuses(&turn.budget, ask)?;
    Some(Reason::new("fleet-day", why))
}

/// Why the fleet has no place for one more agent, where it has none. Nothing waits for ever: verifiers of stages under way
/// ask before new workers do, whoever has a place ends by itself, and nobody who has one waits for another.
pub(super) fn no_place(turn: &Turn) -> Option<Reason> {
    let why = turn.seen.fleet.as_ref()?.refuses_agent(turn.agents)?;
    Some(Reason::new(NO_PLACE, why))
}

/// What becomes of a stage whose own caps the next of its runs would pass.
pub(super) enum StageCap {
    /// It fits.
    Fits,
    /// It does not fit beside the stage's runs in flight; it may once they have settled.
    Later,
    /// It does not fit.
    Over(Reason),
}

/// Asks whether one more dispatch fits the stage's own caps: what its runs were charged since it was first queued, what
/// is set aside for those in flight, and this.
pub(super) fn stage_admits(turn: &Turn, stage: &Stage, card: &Card, ask: &Reservation) -> StageCap {
    let flights = stage.life.flights();
    let reserved_tokens: Tokens = flights.iter().map(|flight| flight.reserved.tokens).sum();
    let reserved_cost: MicroUsd = flights.iter().map(|flight| flight.reserved.cost_usd).sum();
    let over = |code, name: &str, spent: String, ask: String, cap: String| {
        let detail = format!(
            "the stage has spent {spent}, its next run may take {ask}, and its cap is {cap}; raise `{name}` under \
             `## Budget` in {}, then `autometta requeue {}`",
            stage.card, stage.id
        );
        StageCap::Over(Reason::new(code, detail))
    };
    if let Some(cap) = card.budget.stage.tokens.or(turn.policy.stage_tokens)
        && ask.tokens.0 > 0
        && stage.tokens + reserved_tokens + ask.tokens > cap
    {
        if reserved_tokens.0 > 0 && stage.tokens + ask.tokens <= cap {
            return StageCap::Later;
        }
        let (spent, ask, cap) = (format!("{} tokens", stage.tokens), ask.tokens.to_string(), cap.to_string());
        return over("stage-token-cap", "Stage tokens", spent, ask, cap);
    }
    if let Some(cap) = card.budget.stage.cost_usd.or(turn.policy.stage_cost)
        && ask.cost_usd.0 > 0
        && stage.cost_usd + reserved_cost + ask.cost_usd > cap
    {
        if reserved_cost.0 > 0 && stage.cost_usd + ask.cost_usd <= cap {
            return StageCap::Later;
        }
        let (spent, ask, cap) = (stage.cost_usd.to_string(), ask.cost_usd.to_string(), cap.to_string());
        return over("stage-cost-cap", "Stage cost", spent, ask, cap);
    }
    StageCap::Fits
}

/// What keeps somebody who is to run waiting for their provider.
pub(super) fn paused(turn: &Turn, placed: &Placed) -> Option<Pause> {
    turn.budget.paused(&placed.family, placed.model.as_deref(), turn.now)
}

/// A run that has passed the door.
pub(super) fn flight(turn: &mut Turn, run: RunId, placed: Option<&Placed>, reserved: Reservation) -> Flight {
    turn.agents += u64::from(run.role != Role::Gate);
    let flight = Flight {
        run,
        identity: placed.map(|placed| placed.identity.clone()),
        family: placed.map(|placed| placed.family.clone()),
        model: placed.and_then(|placed| placed.model.clone()),
        reserved,
        dispatched_at: turn.now,
        stopping: None,
    };
    turn.probe(&flight);
    turn.flies(flight.family.as_ref());
    flight
}
