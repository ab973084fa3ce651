//! What must hold at every node and across every move. The numbers are those of docs/how-it-works.md.

use std::collections::BTreeSet;

use autometta::core::budget::Budget;
use autometta::core::exit::RefusalClass;
use autometta::core::ids::RunId;
use autometta::core::quantity::Tokens;
use autometta::core::state::{EndStatus, Flight, Life, Said, Stage, State};
use autometta::core::state_doc::StateDoc;
use autometta::core::step::{Effect, Step, step};

use super::world::{Event, Exit, Facts, Gates, Hand, Land, Model, Node, PER_RUN, Product1, Seen, Word, family};

/// What is broken, in words.
pub type Broken = String;

macro_rules! hold {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

/// What must hold at a node, whichever way it was reached.
pub fn at(model: &Model, node: &Node) -> Result<(), Broken> {
    let (state, budget) = (&node.state, &node.budget);
    let flights: Vec<&Flight> = state.flights().map(|(_, flight)| flight).collect();
    let unique: BTreeSet<&RunId> = flights.iter().map(|flight| &flight.run).collect();
    hold!(unique.len() == flights.len(), "1: two flights of one run");
    for (stage, flight) in state.flights() {
        hold!(flight.run.stage == stage.id, "1: {} flies for {}", flight.run, stage.id);
        let seats = stage.life.flights();
        let twice = seats.iter().filter(|other| (other.run.role, other.run.seat) == (flight.run.role, flight.run.seat));
        hold!(twice.count() == 1, "1: two live runs for one role and seat of {}", stage.id);
        hold!(!node.facts.ended.contains(&flight.run), "1: {} flies after its end", flight.run);
    }
    let reserved: Tokens = flights.iter().map(|flight| flight.reserved.tokens).sum();
    hold!(budget.tokens_reserved == reserved, "4: {} reserved, {reserved} fly", budget.tokens_reserved);
    let charged: Tokens = state.stages.iter().flat_map(|stage| &stage.history).map(|past| past.tokens).sum();
    hold!(budget.tokens_spent == charged, "4: {} spent, {charged} charged", budget.tokens_spent);
    if let Some(cap) = model.token_cap {
        let whole = budget.tokens_spent.0 + budget.tokens_reserved.0;
        hold!(whole <= cap, "3: {whole} spent and reserved, the cap is {cap}");
    }
    hold!(budget.halted != budget.halt_reasons.is_empty(), "a halt has a reason, and a reason is a halt");
    for stage in &state.stages {
        of_stage(model, stage)?;
    }
    let busy = |stage: &&Stage| match &stage.life {
        Life::Landing(landing) => landing.waiting.is_none(),
        life => life.is_in_progress(),
    };
    // A landing that waited and goes on may find its place taken.
    let landing = state.stages.iter().filter(|stage| matches!(stage.life, Life::Landing(_))).count();
    let most = model.policy.max_parallel + landing;
    hold!(state.stages.iter().filter(busy).count() <= most, "more stages in progress than may be");
    claims(state)
}

fn of_stage(model: &Model, stage: &Stage) -> Result<(), Broken> {
    let card = model.cards.iter().find(|card| card.stage == stage.id).ok_or("a stage without a card")?;
    let rungs = u32::try_from(card.escalation.len()).unwrap_or(u32::MAX) + 1;
    let most = rungs * (model.policy.work_retries + 1);
    hold!(stage.failures <= most, "5: {} failed {} times, and {most} is the most", stage.id, stage.failures);
    let judges =
        stage.life.flights().into_iter().filter(|flight| flight.run.role == autometta::core::ids::Role::Verifier);
    let flying = judges.filter_map(|flight| flight.family.clone());
    for judge in stage.verifiers.iter().map(family).chain(flying) {
        hold!(judge != family(&stage.worker), "2: {} is judged by its own family", stage.id);
    }
    let runs: Vec<&RunId> = stage.history.iter().map(|past| &past.run).collect();
    let once: BTreeSet<&RunId> = runs.iter().copied().collect();
    hold!(once.len() == runs.len(), "4: a run twice in the history of {}", stage.id);
    for past in stage.history.iter().filter(|past| past.usage_unknown) {
        hold!(
            past.tokens == Tokens(PER_RUN),
            "4: what {} used is unknown, and it was charged {}",
            past.run,
            past.tokens
        );
    }
    Ok(())
}

/// No two stages in progress may change the same paths.
fn claims(state: &State) -> Result<(), Broken> {
    let busy: Vec<&Stage> = state.stages.iter().filter(|stage| stage.life.is_in_progress()).collect();
    for (index, one) in busy.iter().enumerate() {
        for other in &busy[index + 1..] {
            // Every claim of this world is a folder.
            let shared = |mine: &&String| {
                other.path_claims.iter().any(|theirs| theirs.starts_with(mine.as_str()) || mine.starts_with(theirs))
            };
            let path = one.path_claims.iter().find(shared);
            hold!(path.is_none(), "{} and {} are in progress, and both claim {path:?}", one.id, other.id);
        }
    }
    Ok(())
}

/// Nothing is begun before everything has landed that it builds on.
fn dependencies(state: &State, stage: &Stage) -> Result<(), Broken> {
    for needed in &stage.depends_on {
        let life = state.stage(needed).map(|other| &other.life);
        let landed = matches!(life, Some(Life::Over(over)) if over.status == EndStatus::Completed);
        hold!(landed, "{} was begun before {needed} has landed", stage.id);
    }
    Ok(())
}

fn survives_its_file(state: &State) -> Result<(), Broken> {
    let text = serde_json::to_string(&StateDoc::from(state)).map_err(|error| error.to_string())?;
    let again: StateDoc = serde_json::from_str(&text).map_err(|error| format!("8: {error}"))?;
    let again = again.into_state().map_err(|error| format!("8: {error:?}"))?;
    hold!(again == *state, "8: a state is another after its file");
    Ok(())
}

/// What must hold across one fire.
pub fn across(model: &Model, before: &Node, event: Event, done: &Step, facts: &Facts) -> Result<(), Broken> {
    let was: BTreeSet<&RunId> = before.state.flights().map(|(_, flight)| &flight.run).collect();
    for (stage, flight) in done.state.flights() {
        if was.contains(&flight.run) {
            continue;
        }
        hold!(!before.budget.halted, "3: {} was dispatched while halted", flight.run);
        hold!(!done.budget.halted || before_halt(before, done), "3: {} was dispatched while halted", flight.run);
        if let Some(family) = &flight.family {
            let paused = before.budget.pauses.iter().any(|pause| pause.family == *family && pause.until > facts.now);
            hold!(!paused, "3: {} was dispatched while {family} is paused", flight.run);
        }
        hold!(!facts.ended.contains(&flight.run), "1: {} is dispatched after its end", flight.run);
        let launched = done.effects.iter().any(|effect| matches!(effect, Effect::Launch { run } if *run == flight.run));
        hold!(launched, "{} of {} is in flight, and nothing launches it", flight.run, stage.id);
        dependencies(&done.state, stage)?;
    }
    for effect in &done.effects {
        if let Effect::Launch { run } = effect {
            let flies = done.state.flights().any(|(_, flight)| flight.run == *run);
            hold!(flies, "1: {run} is launched, and does not stand in the state");
            hold!(!facts.started.contains(run), "1: {run} is launched twice");
        }
    }
    for (stage, after) in before.state.stages.iter().zip(&done.state.stages) {
        hold!(stage.id == after.id, "a stage went away");
        if let (Life::Over(over), Life::Over(now)) = (&stage.life, &after.life)
            && over.status == now.status
        {
            continue;
        }
        if let Life::Over(over) = &stage.life {
            let merged = matches!(event, Event::Parked(_, true)) && over.kept.is_some();
            hold!(merged, "7: {} moved by itself from {:?}", stage.id, over.status);
        }
        may_land(model, stage, after, facts)?;
        if event == Event::Nothing {
            let moved = stage.life.word() != after.life.word();
            let begins = matches!(stage.life, Life::Pending(_));
            // A run that is not wanted any more and never began is simply gone.
            let dropped = stage.life.flights().iter().any(|flight| flight.stopping.is_some());
            hold!(!moved || begins || dropped, "{} moved from {} with nothing new", stage.id, stage.life.word());
        }
        attempts(stage, after, event)?;
    }
    Ok(())
}

/// A halt that this very step latched after the dispatch does not forbid it.
fn before_halt(before: &Node, done: &Step) -> bool {
    !before.budget.halted && done.budget.halted
}

/// Nothing goes to the base branch whose tree did not pass every gate and the quorum of another family.
fn may_land(model: &Model, before: &Stage, after: &Stage, facts: &Facts) -> Result<(), Broken> {
    let Life::Landing(landing) = &after.life else { return Ok(()) };
    if matches!(&before.life, Life::Landing(known) if known.approval == landing.approval) {
        return Ok(());
    }
    let (tree, seen) = (&landing.approval.tree, &landing.approval.verified_tree);
    hold!(*tree == landing.candidate.tree, "2: what lands for {} is not what was approved", after.id);
    hold!(facts.passed.contains(tree), "2: {tree} lands for {}, and no gate saw it", after.id);
    let votes = facts.votes.get(seen).cloned().unwrap_or_default();
    let quorum = model.cards.iter().find(|card| card.stage == after.id).map_or(0, |card| card.verifiers.quorum());
    hold!(votes.len() >= quorum as usize, "2: {} lands with {} of {quorum} votes", after.id, votes.len());
    hold!(!votes.values().any(|judge| *judge == family(&after.worker)), "2: {} was judged by its own", after.id);
    Ok(())
}

/// Only what the work itself did wrong uses up an attempt.
fn attempts(before: &Stage, after: &Stage, event: Event) -> Result<(), Broken> {
    if after.failures <= before.failures {
        return Ok(());
    }
    let blameless = match event {
        Event::Run(_, _, seen) => is_blameless(seen),
        Event::Landing(_, land) => land != Land::Rebased,
        Event::Nothing | Event::Time | Event::NoBase | Event::CardUnusable(_) | Event::Parked(..) => true,
        _ => false,
    };
    // What another seat has said before counts once nobody is asked any more.
    let said = |life: &Life| match life {
        Life::Verifying(verifying) => {
            verifying.seats.iter().any(|seat| seat.vote.as_ref().is_some_and(|vote| vote.said == Said::Fail))
        }
        _ => false,
    };
    let blameless = blameless && !said(&before.life);
    hold!(!blameless, "5: {event:?} used up an attempt of {}", after.id);
    Ok(())
}

/// Whether what is seen of a run says nothing about the work.
fn is_blameless(seen: Seen) -> bool {
    let (exit, product) = match seen {
        Seen::Begins => return false,
        Seen::LaunchFailed | Seen::UnsupervisedOverTime | Seen::Lost(_) | Seen::Ended(Exit::ToldToEnd, _) => {
            return true;
        }
        Seen::Ended(Exit::Refused(class, _), _) => return class != RefusalClass::Context,
        Seen::Ended(exit, product) => (exit, product),
    };
    let ended_by_itself = matches!(exit, Exit::Clean | Exit::Code | Exit::Killed);
    match product {
        Product1::Worker(hand, _) => hand == Hand::Nothing && matches!(exit, Exit::Code | Exit::Killed),
        Product1::Gate(gates) => ended_by_itself && matches!(gates, Gates::KilledFromOutside | Gates::NoRecord),
        Product1::Verifier(word) => matches!(word, Word::Nothing | Word::Forged),
    }
}

/// What is worth asking once for every node: a state survives its file, and a step that is asked again with nothing new
/// says the same and moves nothing.
pub fn of_a_new_one(model: &Model, before: &Node, event: Event, node: &Node) -> Result<(), Broken> {
    survives_its_file(&node.state)?;
    if super::world::command(before, event).is_none() {
        let mut facts = before.facts.clone();
        let seen = model.observe(before, event, &mut facts);
        let one = step(&before.state, &before.budget, &seen, &model.policy, facts.now);
        let other = step(&before.state, &before.budget, &seen, &model.policy, facts.now);
        hold!(one == other, "the same input, another output");
    }
    let mut running = node.clone();
    running.facts.started.extend(node.state.flights().map(|(_, flight)| flight.run.clone()));
    let mut facts = running.facts.clone();
    let nothing = model.observe(&running, Event::Nothing, &mut facts);
    let still = step(&running.state, &running.budget, &nothing, &model.policy, node.facts.now);
    // A stage that was put off for this fire only, such as for a card that could not be read, may begin in the next.
    let begins = matches!(event, Event::CardUnusable(_) | Event::NoBase) || super::explore::is_operator(event);
    hold!(begins || same_lives(&still.state, &node.state), "nothing new, and the state moved");
    hold!(begins || sums(&still.budget) == sums(&node.budget), "nothing new, and the budget moved");
    Ok(())
}

fn same_lives(one: &State, other: &State) -> bool {
    one.stages.iter().zip(&other.stages).all(|(one, other)| one.life == other.life && one.history == other.history)
}

fn sums(budget: &Budget) -> (Tokens, Tokens, u64, bool, usize) {
    (budget.tokens_spent, budget.tokens_reserved, budget.consecutive_failures, budget.halted, budget.pauses.len())
}

/// Whether nothing is left for the machine to do: every stage has ended or stands behind one that ended without landing,
/// or a person has to lift a halt.
pub fn settled(node: &Node) -> bool {
    let rests = |stage: &Stage| match &stage.life {
        Life::Over(_) => true,
        Life::Pending(_) => stage.depends_on.iter().any(|needed| {
            let other = node.state.stage(needed);
            other.is_some_and(|other| matches!(&other.life, Life::Over(over) if over.status != EndStatus::Completed))
        }),
        _ => false,
    };
    node.budget.halted && node.state.flights().next().is_none() || node.state.stages.iter().all(rests)
}
