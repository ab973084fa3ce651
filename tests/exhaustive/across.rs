//! What must hold across every move. The numbers are those of `tally`.

use std::collections::BTreeSet;

use autometta::core::budget::{HaltReason, Window};
use autometta::core::exit::RefusalClass;
use autometta::core::fleet::agents;
use autometta::core::ids::{Role, RunId};
use autometta::core::quantity::{MicroUsd, Tokens};
use autometta::core::rest::is_at_rest;
use autometta::core::state::{Chore, EndStatus, Flight, Life, NextRun, RunOutcome, Said, Stage, State};
use autometta::core::step::{Effect, Step, step};
use chrono::TimeDelta;

use super::explore::is_operator;
use super::invariants::survives_its_file;
use super::sights::Briefs;
use super::strangers;
use super::tally::{Broken, Tally, hold};
use super::world::{Around, Effects, Event, Exit, Facts, Fleet, Land, Model, Node, Seen, family};

/// What must hold across one fire.
pub fn fire(
    model: &Model,
    before: &Node,
    event: Event,
    done: &Step,
    facts: &Facts,
    tally: &Tally,
) -> Result<(), Broken> {
    let was: BTreeSet<&RunId> = before.state.flights().map(|(_, flight)| &flight.run).collect();
    for (stage, flight) in done.state.flights() {
        if !was.contains(&flight.run) {
            dispatched(model, before, done, facts, stage, flight, tally)?;
        }
    }
    let budget = (&before.budget, &done.budget);
    if budget.0.halted {
        let ends = before.budget.halt_reasons.iter().all(|halt| halt.reason.is_spend_cap());
        let lifted = ends && budget.1.window != Window::None;
        hold!(tally, HaltStays, budget.1.halted || lifted, "{:?}", before.budget.halt_reasons);
    }
    asked(model, before, event, done, facts, tally)?;
    landed(before, done, tally)?;
    refused_for_good(model, before, event, done, tally)?;
    for (index, (stage, after)) in before.state.stages.iter().zip(&done.state.stages).enumerate() {
        hold!(tally, OverStays, stage.id == after.id, "{} went away", stage.id);
        charged(model, index, stage, after, event, tally)?;
        if let (Life::Over(over), Life::Over(now)) = (&stage.life, &after.life)
            && over.status == now.status
        {
            continue;
        }
        if let Life::Over(over) = &stage.life {
            let merged = matches!(event, Event::Parked(..)) && over.kept.is_some();
            hold!(tally, OverStays, merged, "{} was {:?}", stage.id, over.status);
        }
        may_land(model, stage, after, facts, tally)?;
        if event == Event::Nothing {
            let moved = stage.life.word() != after.life.word();
            let begins = matches!(stage.life, Life::Pending(_));
            // A run that is not wanted any more and never began is simply gone, and what was landed is seen.
            let dropped = stage.life.flights().iter().any(|flight| flight.stopping.is_some());
            let landed = facts.done.landed.contains_key(&stage.id);
            hold!(tally, NothingNew, !moved || begins || dropped || landed, "{} was {}", stage.id, stage.life.word());
        }
        attempts(stage, after, event, tally)?;
    }
    Ok(())
}

/// What must hold of a run that was let through the door.
fn dispatched(
    model: &Model,
    before: &Node,
    done: &Step,
    facts: &Facts,
    stage: &Stage,
    flight: &Flight,
    tally: &Tally,
) -> Result<(), Broken> {
    let (run, budget) = (&flight.run, &done.budget);
    // A new window lifts the halts of what is spent. What is latched before anything starts keeps it from starting.
    let lifted = budget.window_started_at != before.budget.window_started_at
        && before.budget.halt_reasons.iter().all(|halt| halt.reason.is_spend_cap());
    let early = [HaltReason::DispatchConfigurationFault, HaltReason::BaseWritten, HaltReason::Operator];
    let latched = budget.halt_reasons.iter().any(|halt| early.contains(&halt.reason));
    hold!(tally, NotWhileHalted, (!before.budget.halted || lifted) && !latched, "{run}");
    if let Some(name) = &flight.family {
        let now = facts.now;
        let binds = |model: &Option<String>| model.is_none() || *model == flight.model;
        let paused = budget.pauses.iter().any(|one| one.family == *name && binds(&one.model) && one.until > now);
        hold!(tally, NotWhilePaused, !paused, "{run} of {name}");
        if let Some(breaker) = budget.breakers.iter().find(|breaker| breaker.family == *name) {
            let open = breaker.open_until.is_some_and(|until| until > now);
            let held = open && breaker.probe.as_ref() != Some(run);
            hold!(tally, NotWhileBroken, !held, "{run} of {name}");
        }
        if model.scope.has(Around::Providers) || model.scope.has(Around::Quotas) {
            let away = facts.offline.contains(name) || facts.quota.contains_key(name);
            hold!(tally, NotWhilePutOff, !away, "{run} of {name}");
        }
    }
    if model.scope.has(Around::FleetsDay) && flight.reserved.tokens.0 > 0 {
        hold!(tally, WithinTheFleetsDay, facts.fleet == Fleet::Room, "{run}");
    }
    if model.scope.has(Around::FleetsDay) && run.role != Role::Gate {
        let room = facts.fleet != Fleet::Taken && agents(&done.state.stages) <= 1;
        hold!(tally, AgentsAtOnce, room, "{run}");
    }
    within_the_caps(model, done, stage, flight, tally)?;
    if run.role == Role::Worker {
        worker_dispatched(model, &done.state, facts, stage, tally)?;
        if let Some(known) = before.state.stage(&stage.id) {
            let again = match &known.life {
                Life::Pending(pending) => matches!(pending.next, NextRun::Again { .. }) && known.attempt > 0,
                _ => stage.failures == known.failures,
            };
            let due = if again { known.attempt } else { known.attempt + 1 };
            hold!(tally, AttemptOfItsOwn, stage.attempt == due, "{run} after {}", known.attempt);
        }
    }
    let again = facts.ended.contains(run);
    hold!(tally, NotAfterItsEnd, !again, "{run}");
    let launched = done.effects.iter().any(|effect| matches!(effect, Effect::Launch { run: one } if one == run));
    hold!(tally, AskedAgain, launched, "{run} of {} is in flight, and nothing launches it", stage.id);
    Ok(())
}

/// A refusal that no further try would mend, or that was one too many, is the last of its role and seat.
fn refused_for_good(model: &Model, before: &Node, event: Event, done: &Step, tally: &Tally) -> Result<(), Broken> {
    let Event::Run(index, place, Seen::Ended(Exit::Refused(class, _), _)) = event else { return Ok(()) };
    let (stage, after) = (&before.state.stages[index], &done.state.stages[index]);
    let run = &stage.life.flights()[place].run;
    let same = |other: &RunId| (other.role, other.seat, other.attempt) == (run.role, run.seat, run.attempt);
    let of_seat = after.history.iter().rev().filter(|past| (past.run.role, past.run.seat) == (run.role, run.seat));
    let row = of_seat.take_while(|past| past.outcome == RunOutcome::Refused).count();
    let for_good = match class {
        RefusalClass::Context => true,
        RefusalClass::Overloaded | RefusalClass::Network => row > model.policy.deferrals as usize,
        _ => false,
    };
    if for_good && run.role != Role::Gate {
        let asked = after.life.flights().iter().any(|flight| same(&flight.run));
        hold!(tally, RefusedForGood, !asked, "{run}");
    }
    Ok(())
}

/// What a landing does to what is counted in a row and since the last one.
fn landed(before: &Node, done: &Step, tally: &Tally) -> Result<(), Broken> {
    let ends =
        |stage: &Stage, of: &dyn Fn(EndStatus) -> bool| matches!(&stage.life, Life::Over(over) if of(over.status));
    let now = |of: &dyn Fn(EndStatus) -> bool| {
        let pairs = before.state.stages.iter().zip(&done.state.stages);
        pairs.filter(|(before, after)| ends(after, of) && !ends(before, of)).count()
    };
    if now(&|status| status == EndStatus::Completed) > 0 && now(&EndStatus::is_failure) == 0 {
        let (failures, since) = (done.budget.consecutive_failures, done.budget.since_landing);
        // The fire at hand is counted after it.
        let anew = failures == 0 && since.tokens.0 == 0 && since.ticks <= 1;
        hold!(tally, LandingCountsAnew, anew, "{failures} failures in a row, and {since:?}");
    }
    Ok(())
}

/// Every cap, as it stands after a dispatch.
fn within_the_caps(model: &Model, done: &Step, stage: &Stage, flight: &Flight, tally: &Tally) -> Result<(), Broken> {
    let (run, budget) = (&flight.run, &done.budget);
    let mut caps: Vec<(&str, u64, u64)> = Vec::new();
    if let Some(cap) = budget.tokens_allowed().filter(|_| flight.reserved.tokens.0 > 0) {
        caps.push(("tokens", budget.tokens_spent.0 + budget.tokens_reserved.0, cap.0));
    }
    if let Some(cap) = budget.cost_allowed().filter(|_| flight.reserved.cost_usd.0 > 0) {
        caps.push(("cost", budget.cost_spent_usd.0 + budget.cost_reserved_usd.0, cap.0));
    }
    if let Some(cap) = budget.wall_clock_cap_seconds {
        caps.push(("time", budget.wall_clock_elapsed_seconds.0 + budget.wall_clock_reserved_seconds.0, cap.0));
    }
    if let Some(cap) = budget.clock_tick_cap {
        // The fire at hand is counted already.
        caps.push(("ticks", budget.clock_ticks_used, cap));
    }
    for (what, whole, cap) in caps {
        hold!(tally, WithinTheCaps, whole <= cap, "{run}: {what} are at {whole}, and the cap is {cap}");
    }
    if let Some(most) = budget.no_progress.tokens {
        hold!(tally, Progress, budget.since_landing.tokens < most, "{run}");
    }
    let card = model.cards.iter().find(|card| card.stage == stage.id);
    let own = card.and_then(|card| card.budget.stage.tokens).or(model.policy.stage_tokens);
    if let Some(cap) = own.filter(|_| flight.reserved.tokens.0 > 0) {
        let flies: Tokens = stage.life.flights().iter().map(|flight| flight.reserved.tokens).sum();
        hold!(tally, StageCaps, stage.tokens + flies <= cap, "{run}: {} and {flies}, the cap is {cap}", stage.tokens);
    }
    Ok(())
}

/// What must hold of a stage that begins.
fn worker_dispatched(model: &Model, state: &State, facts: &Facts, stage: &Stage, tally: &Tally) -> Result<(), Broken> {
    if !model.policy.local.curfew.is_empty() {
        hold!(tally, NotInCurfew, model.policy.local.curfew_end(facts.now).is_none(), "{}", stage.id);
    }
    for needed in &stage.depends_on {
        let landed = |life: &Life| matches!(life, Life::Over(over) if over.status == EndStatus::Completed);
        let has = state.stage(needed).is_some_and(|needed| landed(&needed.life));
        hold!(tally, DependenciesFirst, has, "{} before {needed}", stage.id);
    }
    let under_way: Vec<&Stage> = state.stages.iter().filter(|stage| stage.life.is_in_progress()).collect();
    for other in under_way.iter().filter(|other| other.id != stage.id) {
        hold!(tally, ClaimsApart, !share_a_claim(stage, other), "{} and {}", stage.id, other.id);
    }
    let waits = |stage: &Stage| matches!(&stage.life, Life::Landing(landing) if landing.waiting.is_some());
    let busy = under_way.iter().filter(|stage| !waits(stage)).count();
    if state.stages.len() > model.policy.max_parallel {
        hold!(tally, Places, busy <= model.policy.max_parallel, "{busy} with {}", stage.id);
    }
    Ok(())
}

/// Whether a path of one is a path of the other, or above or below one.
fn share_a_claim(one: &Stage, other: &Stage) -> bool {
    let holds =
        |above: &str, below: &str| format!("{below}/").starts_with(&format!("{}/", above.trim_end_matches('/')));
    let pairs = one.path_claims.iter().flat_map(|mine| other.path_claims.iter().map(move |theirs| (mine, theirs)));
    pairs.into_iter().any(|(mine, theirs)| holds(mine, theirs) || holds(theirs, mine))
}

/// What was not done is asked for, what was done is not, and nothing that would do harm.
fn asked(model: &Model, before: &Node, event: Event, done: &Step, facts: &Facts, tally: &Tally) -> Result<(), Broken> {
    let asks = |wanted: &dyn Fn(&Effect) -> bool| done.effects.iter().any(wanted);
    let is_done = |stage: &_, chore: &_| facts.done.chores.iter().any(|(of, one)| of == stage && one == chore);
    for lost in &facts.done.lost {
        // A run branch points to the newest candidate only.
        if !matches!(lost, Effect::Chore { chore: Chore::PointRunBranch { .. }, .. }) {
            hold!(tally, NotForgotten, done.effects.contains(lost), "{lost:?}");
        }
    }
    for effect in &done.effects {
        match effect {
            Effect::Launch { run } => {
                let flies = done.state.flights().any(|(_, flight)| flight.run == *run);
                hold!(tally, LaunchStands, flies, "{run}");
                hold!(tally, LaunchedOnce, !facts.started.contains(run), "{run}");
            }
            Effect::Land { stage } => {
                let in_the_way = |index: usize| before.state.stages.get(index).is_some_and(|one| one.id == *stage);
                let blocked = match event {
                    Event::Landing(index, land) => in_the_way(index) && !matches!(land, Land::Ready | Land::SameTree),
                    _ => false,
                };
                hold!(tally, NotIntoEdits, !blocked, "{stage} at {event:?}");
            }
            Effect::Chore { stage, chore } if is_done(stage, chore) => {
                // It may be wanted once more by what has happened since.
                let again = done.notes.iter().any(|note| note.stage.as_ref() == Some(stage));
                hold!(tally, DoneIsDone, again, "{chore:?} of {stage}");
            }
            Effect::Tell { key } if model.effects == Effects::MayBeLost => {
                hold!(tally, DoneIsDone, !facts.done.told.contains(key), "to tell {key}");
            }
            Effect::Chore { stage, chore: Chore::Clear { run } } => {
                let flies = done.state.flights().any(|(_, flight)| flight.run == *run);
                let keeps = |effect: &&Effect| matches!(effect, Effect::Chore { stage: of, chore: Chore::KeepWork { .. } } if of == stage);
                let after = done.effects.iter().skip_while(|one| *one != effect).any(|one| keeps(&one));
                hold!(tally, KeptBeforeCleared, !flies && !after, "{run}");
            }
            _ => {}
        }
    }
    for (stage, flight) in done.state.flights() {
        let run = &flight.run;
        if !facts.started.contains(run) && flight.stopping.is_none() {
            hold!(
                tally,
                AskedAgain,
                asks(&|one| matches!(one, Effect::Launch { run: of } if of == run)),
                "launch {run}"
            );
        }
        if facts.started.contains(run) && flight.stopping.is_some() {
            hold!(
                tally,
                AskedAgain,
                asks(&|one| matches!(one, Effect::Stop { run: of, .. } if of == run)),
                "stop {run}"
            );
        }
        let _ = stage;
    }
    for stage in &done.state.stages {
        for chore in &stage.chores {
            let wanted = |one: &Effect| matches!(one, Effect::Chore { stage: of, chore: what } if *of == stage.id && what == chore);
            hold!(tally, AskedAgain, asks(&wanted), "{chore:?} of {}", stage.id);
        }
        let lands = matches!(&stage.life, Life::Landing(landing) if landing.waiting.is_none());
        let sighted = matches!(event, Event::Landing(..) | Event::NoCommitter);
        if lands && model.effects == Effects::MayBeLost && !sighted {
            let lands = asks(&|one| matches!(one, Effect::Land { stage: of } if *of == stage.id));
            hold!(tally, AskedAgain, lands, "the landing of {}", stage.id);
        }
    }
    for notice in &done.state.notices {
        let tells = asks(&|one| matches!(one, Effect::Tell { key } if *key == notice.key));
        hold!(tally, AskedAgain, tells, "to tell {}", notice.key);
    }
    Ok(())
}

/// What a run that was taken out of flight was charged.
fn charged(
    model: &Model,
    index: usize,
    before: &Stage,
    after: &Stage,
    event: Event,
    tally: &Tally,
) -> Result<(), Broken> {
    let flights = before.life.flights();
    for past in after.history.iter().skip(before.history.len()) {
        let place = flights.iter().position(|flight| flight.run == past.run);
        let Some(place) = place else { return Err(format!("4: {} is charged and did not fly", past.run)) };
        let due = match event {
            Event::Run(stage, one, seen) if (stage, one) == (index, place) => {
                model.charge(&past.run, seen, &flights[place].reserved)
            }
            _ => (Tokens(0), MicroUsd(0)),
        };
        hold!(tally, ChargedRight, (past.tokens, past.cost_usd) == due, "{} at {event:?}: {due:?}", past.run);
    }
    Ok(())
}

/// Nothing goes to the base branch whose tree did not pass every gate and the quorum of another family.
pub fn may_land(model: &Model, before: &Stage, after: &Stage, facts: &Facts, tally: &Tally) -> Result<(), Broken> {
    let Life::Landing(landing) = &after.life else { return Ok(()) };
    if matches!(&before.life, Life::Landing(known) if known.approval == landing.approval) {
        return Ok(());
    }
    let at = model.cards.iter().position(|card| card.stage == after.id).unwrap_or_default();
    let (tree, seen) = (&landing.approval.tree, &landing.approval.verified_tree);
    hold!(tally, LandsWhatWasApproved, *tree == landing.candidate.tree, "{}", after.id);
    if model.briefs[at].gate_caps.is_some() {
        hold!(tally, LandsWhatPassed, facts.passed.contains(tree), "{tree} for {}", after.id);
    }
    let votes = facts.votes.get(seen).cloned().unwrap_or_default();
    let card = &model.cards[at];
    let quorum = if card.verifiers.rationale().is_some() { 0 } else { card.verifiers.quorum() as usize };
    hold!(tally, LandsWithQuorum, votes.len() >= quorum, "{} with {} of {quorum}", after.id, votes.len());
    let maker = facts.makers.get(seen);
    for judge in votes.values() {
        let other = maker.is_some_and(|maker| maker != judge) && *judge != family(&after.worker);
        hold!(tally, JudgedByOthers, other, "{} by {judge}", after.id);
    }
    Ok(())
}

/// Only what the work itself did wrong uses up an attempt.
fn attempts(before: &Stage, after: &Stage, event: Event, tally: &Tally) -> Result<(), Broken> {
    let blameless = match event {
        Event::Run(_, _, Seen::Ended(Exit::Refused(class, _), _)) => class != RefusalClass::Context,
        Event::Run(_, _, Seen::Ended(exit, _)) => matches!(exit, Exit::ToldToEnd | Exit::ModelLimit),
        Event::Landing(_, land) => !matches!(land, Land::Rebased | Land::Joins),
        _ => true,
    };
    // What another seat has said before counts once nobody is asked any more.
    let said = |life: &Life| match life {
        Life::Verifying(verifying) => {
            verifying.seats.iter().any(|seat| seat.vote.as_ref().is_some_and(|vote| vote.said == Said::Fail))
        }
        _ => false,
    };
    if blameless && !said(&before.life) {
        hold!(tally, OnlyWorkCounts, after.failures <= before.failures, "{event:?} at {}", after.id);
    }
    Ok(())
}

/// What is worth asking once for every node: a state survives its file, the same input gives the same output, and a step
/// that is asked again with nothing new, or with news of what is not its own, moves nothing.
pub fn of_a_new_one(
    model: &Model,
    before: &Node,
    event: Event,
    done: &Step,
    node: &Node,
    briefs: &mut Briefs,
    tally: &Tally,
) -> Result<(), Broken> {
    survives_its_file(&node.state, tally)?;
    if !is_operator(event) {
        let mut facts = before.facts.clone();
        let seen = model.observe(before, event, &mut facts, briefs);
        let again = step(&before.state, &before.budget, &seen, &model.policy, facts.now);
        model.give_back(event, seen, briefs);
        hold!(tally, SameAgain, again == *done, "at {event:?}");
    }
    let mut calm = node.clone();
    calm.facts.started.extend(node.state.flights().map(|(_, flight)| flight.run.clone()));
    for stage in &node.state.stages {
        calm.facts.done.chores.extend(stage.chores.iter().map(|chore| (stage.id.clone(), chore.clone())));
    }
    calm.facts.done.told.extend(node.state.notices.iter().map(|notice| notice.key.clone()));
    calm.facts.done.landed.clear();
    let mut facts = calm.facts.clone();
    let mut nothing = model.observe(&calm, Event::Nothing, &mut facts, briefs);
    let still = step(&calm.state, &calm.budget, &nothing, &model.policy, node.facts.now);
    if is_at_rest(&calm.state, &calm.budget) {
        for later in [TimeDelta::zero(), TimeDelta::hours(5), TimeDelta::days(100)] {
            let rest = step(&calm.state, &calm.budget, &nothing, &model.policy, node.facts.now + later);
            let is_same = rest.state == calm.state && rest.budget == calm.budget && rest.effects.is_empty();
            hold!(tally, AtRest, is_same, "after {event:?}, {later} later");
        }
    }
    // A stage that was put off for this fire only, such as for a card that could not be read, may begin in the next.
    let begins = match event {
        Event::CardUnusable(_) | Event::SameFamily(_) | Event::NoBase | Event::NoContract(_) | Event::NoCommitter => {
            true
        }
        event => is_operator(event),
    };
    if !begins {
        hold!(tally, NothingNew, same_lives(&still.state, &node.state), "the state moved after {event:?}");
        let sums = |budget: &autometta::core::budget::Budget| {
            let spent = (budget.tokens_spent, budget.tokens_reserved, budget.consecutive_failures);
            (spent, budget.halted, budget.pauses.len(), budget.breakers.len(), budget.deferrals.len())
        };
        hold!(tally, NothingNew, sums(&still.budget) == sums(&node.budget), "the budget moved after {event:?}");
    }
    if strangers::join(&calm, &mut nothing, model) {
        let other = step(&calm.state, &calm.budget, &nothing, &model.policy, node.facts.now);
        hold!(tally, StrangersChangeNothing, other == still, "after {event:?}");
    }
    model.give_back(Event::Nothing, nothing, briefs);
    Ok(())
}

fn same_lives(one: &State, other: &State) -> bool {
    one.stages.iter().zip(&other.stages).all(|(one, other)| one.life == other.life && one.history == other.history)
}
