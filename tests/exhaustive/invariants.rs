//! What must hold at every node, whichever way it was reached. The numbers are those of `tally`.

use std::collections::BTreeSet;

use autometta::core::budget::{Budget, Window};
use autometta::core::ids::{Role, RunId};
use autometta::core::ladder;
use autometta::core::quantity::Tokens;
use autometta::core::state::{EndStatus, Flight, Life, Stage, State};
use autometta::core::state_doc::StateDoc;

use super::effects;
use super::happens::midnight;
use super::tally::{Broken, Tally, hold};
use super::world::{Effects, Model, Node, PER_RUN, family};

/// What must hold at a node.
pub fn at(model: &Model, node: &Node, tally: &Tally) -> Result<(), Broken> {
    let (state, budget) = (&node.state, &node.budget);
    let flights: Vec<&Flight> = state.flights().map(|(_, flight)| flight).collect();
    for (stage, flight) in state.flights() {
        let same = |other: &&&Flight| {
            other.run.stage == flight.run.stage
                && (other.run.role, other.run.seat) == (flight.run.role, flight.run.seat)
        };
        let alone = flights.iter().filter(same).count() == 1 && flight.run.stage == stage.id;
        hold!(tally, OneFlight, alone, "{}", flight.run);
        hold!(tally, NotAfterItsEnd, !node.facts.ended.contains(&flight.run), "{}", flight.run);
    }
    for (family, most) in &model.policy.family_parallel {
        let flying = flights.iter().filter(|flight| flight.family.as_ref() == Some(family)).count();
        if flying > 0 {
            hold!(tally, FamilyPlaces, flying <= *most, "{flying} of {family}");
        }
    }
    money(model, node, &flights, tally)?;
    hold!(tally, HaltHasAReason, budget.halted != budget.halt_reasons.is_empty(), "{:?}", budget.halt_reasons);
    for stage in &state.stages {
        of_stage(model, node, stage, tally)?;
    }
    Ok(())
}

/// What is reserved, spent and allowed.
fn money(model: &Model, node: &Node, flights: &[&Flight], tally: &Tally) -> Result<(), Broken> {
    let budget = &node.budget;
    let reserved: Tokens = flights.iter().map(|flight| flight.reserved.tokens).sum();
    let seconds: u64 = flights.iter().map(|flight| flight.reserved.seconds.0).sum();
    let cost: u64 = flights.iter().map(|flight| flight.reserved.cost_usd.0).sum();
    let sums = (budget.tokens_reserved, budget.cost_reserved_usd.0, budget.wall_clock_reserved_seconds.0);
    hold!(tally, ReservedFlies, sums == (reserved, cost, seconds), "{sums:?} reserved, {reserved} tokens fly");
    let since = budget.window_started_at;
    let past = || node.state.stages.iter().flat_map(|stage| &stage.history);
    let counts = past().filter(|past| since.is_none_or(|since| past.at >= since));
    let (mut tokens, mut cost) = (0, 0);
    for run in counts {
        (tokens, cost) = (tokens + run.tokens.0, cost + run.cost_usd.0);
    }
    let spent = (budget.tokens_spent.0, budget.cost_spent_usd.0);
    hold!(tally, SpentIsCharged, spent == (tokens, cost), "{spent:?} spent, {tokens} and {cost} charged");
    let life: u64 = past().map(|past| past.tokens.0).sum();
    hold!(tally, SpentIsCharged, budget.lifetime_tokens_spent.0 == life, "{life} in all");
    if model.budget.token_cap_total.is_some() {
        let most = node.facts.allowed.saturating_add(PER_RUN);
        hold!(tally, CapsByATurn, budget.tokens_spent.0 <= most, "{} spent, {most} is the most", budget.tokens_spent);
        let now = node.facts.now;
        let begin = match budget.window {
            Window::None => None,
            Window::UtcDay | Window::LocalDay => Some(midnight(now)),
            Window::Rolling(hours) => Some(now - chrono::TimeDelta::hours(i64::from(hours))),
        };
        if let Some(begin) = begin {
            let within: u64 = past().filter(|past| past.at >= begin).map(|past| past.tokens.0).sum();
            hold!(tally, WindowByATurn, within <= most, "{within} since {begin}, {most} is the most");
        }
    }
    Ok(())
}

fn of_stage(model: &Model, node: &Node, stage: &Stage, tally: &Tally) -> Result<(), Broken> {
    let at = model.cards.iter().position(|card| card.stage == stage.id).ok_or("a stage without a card")?;
    let card = &model.cards[at];
    let rungs = u32::try_from(card.escalation.len()).unwrap_or(u32::MAX) + 1;
    let most = rungs * (model.policy.work_retries + 1);
    if stage.failures > 0 {
        hold!(tally, AttemptsBounded, stage.failures <= most, "{} failed {} times", stage.id, stage.failures);
    }
    let judges = stage.life.flights().into_iter().filter(|flight| flight.run.role == Role::Verifier);
    for judge in stage.verifiers.iter().map(family).chain(judges.filter_map(|flight| flight.family.clone())) {
        hold!(tally, SeatsApart, judge != family(&stage.worker), "{judge} for {}", stage.id);
    }
    if let Ok(rung) = ladder::staff(&model.briefs[at], stage.rung) {
        let own = stage.fallback.as_ref().map(|own| (&own.worker, &own.verifiers));
        let (worker, verifiers) = own.unwrap_or((&stage.worker, &stage.verifiers));
        let fits = *worker == rung.worker && *verifiers == rung.verifiers;
        hold!(tally, StandsWhereItMay, fits, "{worker} and {verifiers:?} on rung {} of {}", stage.rung, stage.id);
    }
    let runs: BTreeSet<&RunId> = stage.history.iter().map(|past| &past.run).collect();
    if !stage.history.is_empty() {
        hold!(tally, ChargedOnce, runs.len() == stage.history.len(), "{}", stage.id);
    }
    if node.facts.done.landed.contains_key(&stage.id) {
        let ends = match &stage.life {
            Life::Landing(_) => true,
            Life::Over(over) => over.status == EndStatus::Completed,
            _ => false,
        };
        hold!(tally, EndsAsItLanded, ends, "{} is {}", stage.id, stage.life.word());
    }
    Ok(())
}

/// A state is written and read again.
pub fn survives_its_file(state: &State, tally: &Tally) -> Result<(), Broken> {
    let text = serde_json::to_string(&StateDoc::from(state)).map_err(|error| error.to_string())?;
    let again: StateDoc = serde_json::from_str(&text).map_err(|error| format!("8: {error}"))?;
    let again = again.into_state().map_err(|error| format!("8: {error:?}"))?;
    hold!(tally, SurvivesItsFile, again == *state, "{text}");
    Ok(())
}

/// Whether nothing is left for the machine to do: every stage has ended or stands behind one that ended without landing,
/// or a person has to lift a halt; and everything that was asked for was done.
pub fn settled(model: &Model, node: &Node) -> bool {
    let rests = |stage: &Stage| match &stage.life {
        Life::Over(_) => true,
        Life::Pending(_) if stage.wait.held.is_some() => true,
        Life::Pending(_) => stage.depends_on.iter().any(|needed| {
            let other = node.state.stage(needed);
            other.is_some_and(|other| matches!(&other.life, Life::Over(over) if over.status != EndStatus::Completed))
        }),
        _ => false,
    };
    let is_quiet = node.state.flights().next().is_none();
    let rests = is_quiet && waits_for_a_person(&node.budget) || node.state.stages.iter().all(rests);
    rests && (model.effects == Effects::Free || effects::owed(node) == 0)
}

/// Whether a halt stands that ends by a person only: one of spend ends with its window, where what was turned away fits
/// into one.
fn waits_for_a_person(budget: &Budget) -> bool {
    let ends = |ask: u64, cap: Option<u64>| cap.is_none_or(|cap| ask <= cap);
    budget.halt_reasons.iter().any(|halt| {
        let ask = budget.turned_away.unwrap_or_default();
        let fits = ends(ask.tokens.0, budget.token_cap_total.map(|cap| cap.0))
            && ends(ask.cost_usd.0, budget.cost_cap_usd.map(|cap| cap.0))
            && ends(ask.seconds.0, budget.wall_clock_cap_seconds.map(|cap| cap.0));
        !(halt.reason.is_spend_cap() && budget.window != Window::None && fits)
    })
}
