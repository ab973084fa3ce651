//! What can happen next, at any node of a model.

use std::collections::BTreeMap;

use autometta::core::budget::{Budget, Window};
use autometta::core::exit::RefusalClass;
use autometta::core::ids::Role;
use autometta::core::state::{Awaits, Flight, Life, Stage};
use autometta::core::train::{self, Train};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::world::families;
use super::world::{
    Around, Effects, Event, Exit, Fleet, Gates, Hand, Land, Left, Model, Node, Orders, Product1, Seen, Word,
};

/// How long a time is that a rolling window's quarter may add.
const QUARTER: TimeDelta = TimeDelta::minutes(15);

impl Model {
    /// Everything that can happen at a node.
    pub fn events(&self, node: &Node) -> Vec<Event> {
        let mut events = vec![Event::Nothing];
        if self.next_moment(node).is_some() {
            events.push(Event::Time);
        }
        for (index, stage) in node.state.stages.iter().enumerate() {
            for (place, flight) in stage.life.flights().into_iter().enumerate() {
                let runs = self.seen_of(node, stage, flight);
                events.extend(runs.into_iter().map(|seen| Event::Run(index, place, seen)));
            }
            match &stage.life {
                Life::Landing(landing) => {
                    let has_landed = node.facts.done.landed.contains_key(&stage.id);
                    // Where the world does only what it is told, it is a landing that lands.
                    let possible = |land: &Land| match self.effects {
                        Effects::Free => true,
                        Effects::MayBeLost => !has_landed && *land != Land::Landed,
                    };
                    let stages = &node.state.stages;
                    let in_a_train = |land: &Land| match land {
                        Land::Joins => train::end(stages, &BTreeMap::new(), &node.facts.tip, stage).is_some(),
                        Land::Behind => train::ahead(stages, stage).is_some(),
                        Land::SameTree => {
                            matches!(landing.approval.train, Train::Behind(_)) && train::ahead(stages, stage).is_none()
                        }
                        _ => true,
                    };
                    let possible = |land: &Land| possible(land) && in_a_train(land);
                    let lands = self.scope.landings.iter().copied().filter(possible);
                    events.extend(lands.map(|land| Event::Landing(index, land)));
                    if self.scope.accidents {
                        events.push(Event::NoCommitter);
                    }
                }
                Life::Over(over) => {
                    let parked =
                        over.kept.as_ref().is_some_and(|kept| matches!(kept.awaits, Awaits::Merge | Awaits::Approval));
                    if parked && self.scope.accidents {
                        events.extend([Event::Parked(index, false), Event::Parked(index, true)]);
                    }
                }
                Life::Pending(_) | Life::Working(_) | Life::Gating(_) | Life::Verifying(_) => {}
            }
            if self.scope.accidents && !matches!(stage.life, Life::Over(_)) {
                events.extend([Event::CardUnusable(index), Event::SameFamily(index)]);
            }
            if !self.cards[index].contract_tests.is_empty() && matches!(stage.life, Life::Pending(_)) {
                events.push(Event::NoContract(index));
            }
            events.extend(self.scope.says.iter().map(|says| Event::Operator(index, *says)));
        }
        if self.scope.accidents {
            events.extend([Event::NoBase, Event::Slept]);
        }
        events.extend(self.weather(node));
        let is_left = node.state.stages.len() < self.cards.len();
        // A drain that is given again is a new one; one at a time shows what there is to see.
        let drains = node.budget.drain.is_some();
        let orders = self.scope.orders.iter().filter(|order| match order {
            Orders::Add => is_left,
            Orders::Drain => !drains,
            _ => true,
        });
        events.extend(orders.map(|order| Event::Order(*order)));
        events
    }

    /// What providers, quotas and the fleet do of themselves.
    fn weather(&self, node: &Node) -> Vec<Event> {
        let mut events = Vec::new();
        let here = |name| self.briefs.iter().flat_map(|brief| &brief.members).any(|m| m.placed.family == name);
        for (index, name) in families().into_iter().enumerate().filter(|(_, name)| here(name.clone())) {
            if self.scope.has(Around::Providers) {
                events.push(Event::Reach(index, node.facts.offline.contains(&name)));
            }
            if self.scope.has(Around::Quotas) {
                events.push(Event::Quota(index, node.facts.quota.contains_key(&name)));
            }
        }
        if self.scope.has(Around::FleetsDay) {
            let all = [Fleet::Room, Fleet::Full, Fleet::Taken, Fleet::Unknown];
            events.extend(all.into_iter().filter(|now| *now != node.facts.fleet).map(Event::Fleet));
        }
        events
    }

    fn seen_of(&self, node: &Node, stage: &Stage, flight: &Flight) -> Vec<Seen> {
        let mut seen = Vec::new();
        let role = flight.run.role;
        let started = node.facts.started.contains(&flight.run);
        if self.scope.accidents {
            match (started, self.effects) {
                (true, _) => seen.push(Seen::UnsupervisedOverTime),
                (false, Effects::Free) => seen.extend([Seen::Begins, Seen::LaunchFailed]),
                (false, Effects::MayBeLost) => return vec![Seen::LaunchFailed],
            }
            match role {
                Role::Worker => {
                    seen.push(Seen::Lost(None));
                    seen.extend(self.scope.left.iter().map(|left| Seen::Lost(Some(*left))));
                }
                Role::Gate | Role::Verifier => seen.push(Seen::Lost(None)),
            }
        }
        if !started && self.effects == Effects::MayBeLost {
            return Vec::new();
        }
        let resumes = matches!(&stage.life, Life::Working(working) if working.resume.is_some());
        for exit in &self.scope.exits {
            // Gates call no provider; what a refusal of one means is what a command that cannot start means.
            let refused = match exit {
                Exit::Refused(class, _) => *class != RefusalClass::Configuration,
                exit => *exit == Exit::ModelLimit,
            };
            if role == Role::Gate && refused {
                continue;
            }
            for product in self.scope.of_role(role) {
                // Where something else has ended a run, its own word is not asked for: one that says nothing and one that
                // says everything stand for all.
                let has_a_say = matches!(exit, Exit::Clean | Exit::Code | Exit::Killed);
                let stands = matches!(
                    product,
                    Product1::Worker(Hand::Nothing | Hand::Pass, _)
                        | Product1::Gate(Gates::Passed | Gates::NoRecord)
                        | Product1::Verifier(Word::Nothing | Word::Pass)
                );
                if !has_a_say && !stands {
                    continue;
                }
                // Without earlier work there is no tree to hand in again.
                if matches!(product, Product1::Worker(_, Left::Same)) && !resumes {
                    continue;
                }
                seen.push(Seen::Ended(*exit, product));
            }
        }
        seen
    }

    /// The next moment that something in a node waits for.
    pub fn next_moment(&self, node: &Node) -> Option<DateTime<Utc>> {
        self.moments(node).into_iter().filter(|at| *at > node.facts.now).min()
    }

    /// Every moment that something in a node waits for.
    pub fn moments(&self, node: &Node) -> Vec<DateTime<Utc>> {
        let (budget, now) = (&node.budget, node.facts.now);
        let mut found: Vec<DateTime<Utc>> = budget.pauses.iter().map(|pause| pause.until).collect();
        for breaker in &budget.breakers {
            found.extend(breaker.open_until);
            found.extend(breaker.failures.iter().map(|at| *at + self.policy.breaker.window));
        }
        found.extend(budget.deferrals.iter().map(|held| held.until));
        found.extend(budget.drain.map(|drain| drain.until));
        found.extend(node.facts.quota.values().flat_map(|reading| &reading.windows).filter_map(|one| one.resets_at));
        let mut is_over = true;
        for stage in &node.state.stages {
            is_over &= matches!(stage.life, Life::Over(_));
            match &stage.life {
                Life::Pending(pending) => found.extend(pending.not_before),
                Life::Gating(gating) => found.extend(gating.not_before),
                Life::Verifying(verifying) => found.extend(verifying.seats.iter().filter_map(|seat| seat.not_before)),
                Life::Working(_) | Life::Landing(_) | Life::Over(_) => {}
            }
        }
        if !is_over {
            found.extend(window_moments(budget, now));
            found.extend(self.day_moments(now));
        }
        found
    }

    /// When a curfew begins and ends.
    pub fn day_moments(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let local = &self.policy.local;
        if local.curfew.is_empty() {
            return Vec::new();
        }
        let hours = (1..=24).map(|hour| midnight(now) + TimeDelta::hours(hour));
        let changes = |at: &DateTime<Utc>| {
            local.curfew_end(*at).is_some() != local.curfew_end(*at - TimeDelta::minutes(1)).is_some()
        };
        hours.filter(|at| *at > now).filter(changes).take(1).collect()
    }
}

/// The last midnight.
pub fn midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    now.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// When a window begins later than it does, so that something of what was spent is no longer in it.
pub fn window_moments(budget: &Budget, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let since = budget.window_started_at;
    match budget.window {
        Window::None => Vec::new(),
        Window::UtcDay | Window::LocalDay => vec![midnight(now) + TimeDelta::days(1)],
        Window::Rolling(hours) => {
            let counts = budget.spend.iter().filter(|bucket| since.is_none_or(|since| bucket.from >= since));
            let counts = counts.filter(|bucket| bucket.tokens.0 > 0 || bucket.cost_usd.0 > 0);
            counts.map(|bucket| bucket.from + TimeDelta::hours(i64::from(hours)) + QUARTER).collect()
        }
    }
}
