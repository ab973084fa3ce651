//! What is seen at a node when something happens.

use std::collections::BTreeMap;
use std::mem;

use autometta::core::budget::{FleetDay, Places, Window};
use autometta::core::dependencies;
use autometta::core::exit::{
    EndedBy, ExitRecord, GateResult, ProcessEnd, ProviderReport, Refusal, RefusalClass, RefusalScope, Usage,
    UsageSource,
};
use autometta::core::handoff::Handoff;
use autometta::core::honesty::Findings;
use autometta::core::ids::{Role, RunId, StageId};
use autometta::core::observation::{
    Brief, Captured, Ended, LandingSighting, LaunchFaults, LostRun, Observation, ParkedSighting, Product, Pulse,
    Returned, Sighting, Watched, WorkSighting,
};
use autometta::core::quantity::{MicroUsd, Seconds, Tokens};
use autometta::core::quota::{self, Reading};
use autometta::core::sleep::{Asleep, Slept};
use autometta::core::state::{Candidate, Flight, Landing, Life, PastRun, Reservation, Stage};
use autometta::core::train;
use autometta::core::weather::Weather;
use chrono::{DateTime, TimeDelta, Utc};

use super::happens::midnight;
use super::world::{
    Around, CAPS, Effects, EndedByCap, Event, Exit, Facts, Fleet, Gates, Hand, Land, Left, Model, Node, PER_RUN,
    Papers, Product1, Seen, Stated, Usage1, Word, families, family, object,
};

/// How much later the next fire is where notices are named by its time; elsewhere no time passes but by itself.
const BETWEEN_FIRES: TimeDelta = TimeDelta::milliseconds(1);

/// What is seen of every card as long as nothing is wrong with it; lent to one observation after the other.
pub type Briefs = BTreeMap<StageId, Result<Box<Brief>, String>>;

impl Model {
    /// What is seen of the cards while nothing is wrong with them.
    pub fn briefs(&self) -> Briefs {
        let briefs = self.cards.iter().zip(&self.briefs);
        briefs.map(|(card, brief)| (card.stage.clone(), Ok(Box::new(brief.clone())))).collect()
    }

    /// What is seen at a node when this happens; the facts move with it.
    pub fn observe(&self, node: &Node, event: Event, facts: &mut Facts, briefs: &mut Briefs) -> Observation {
        if self.effects == Effects::MayBeLost {
            facts.now += BETWEEN_FIRES;
        }
        if event == Event::Time
            && let Some(at) = self.next_moment(node)
        {
            facts.now = at;
        }
        if matches!(event, Event::Landing(_, Land::Rebased | Land::Overlap | Land::SameTree) | Event::Parked(..)) {
            facts.objects += 1;
            facts.tip = object(facts.objects);
        }
        let tip = (event != Event::NoBase).then(|| facts.tip.clone());
        let committer = (event != Event::NoCommitter).then(|| self.cards[0].worker.clone());
        let mut seen = Observation {
            committer,
            tips: BTreeMap::from([("main".to_owned(), tip)]),
            briefs: mem::take(briefs),
            ..Observation::default()
        };
        match event {
            Event::CardUnusable(index) => {
                seen.briefs.insert(self.cards[index].stage.clone(), Err("its card cannot be used".to_owned()));
            }
            Event::SameFamily(index) => {
                if let Some(Ok(brief)) = seen.briefs.get_mut(&self.cards[index].stage) {
                    let own = brief.worker.family.clone();
                    brief.verifiers.iter_mut().for_each(|placed| placed.family = own.clone());
                    brief.members.iter_mut().for_each(|member| member.placed.family = own.clone());
                }
            }
            Event::Slept => {
                let (from, until) = (node.facts.now, facts.now);
                seen.slept = Some(Slept { from, until, seconds: Seconds(600), total: Asleep::default() });
            }
            _ => {}
        }
        self.surroundings(event, facts, &mut seen);
        for index in 0..node.state.stages.len() {
            self.of_stage(event, (&node.state.stages, index), facts, &mut seen);
        }
        dependencies::see_all_there(&node.state.stages, &mut seen);
        match self.effects {
            Effects::Free => seen.told = node.state.notices.iter().map(|notice| notice.key.clone()).collect(),
            Effects::MayBeLost => seen.told = facts.done.told.clone(),
        }
        seen
    }

    /// Takes back what was lent.
    pub fn give_back(&self, event: Event, seen: Observation, briefs: &mut Briefs) {
        *briefs = seen.briefs;
        if let Event::CardUnusable(index) | Event::SameFamily(index) = event {
            briefs.insert(self.cards[index].stage.clone(), Ok(Box::new(self.briefs[index].clone())));
        }
    }

    /// Providers, quotas, the fleet and the clock.
    fn surroundings(&self, event: Event, facts: &mut Facts, seen: &mut Observation) {
        let now = facts.now;
        match event {
            Event::Reach(index, true) => drop(facts.offline.remove(&families()[index])),
            Event::Reach(index, false) => drop(facts.offline.insert(families()[index].clone())),
            Event::Quota(index, true) => drop(facts.quota.remove(&families()[index])),
            Event::Quota(index, false) => {
                let resets_at = Some(now + TimeDelta::hours(3));
                let window = quota::Window { name: "w".to_owned(), used_percent: 100.0, resets_at };
                facts.quota.insert(families()[index].clone(), Reading { at: now, windows: vec![window] });
            }
            Event::Fleet(fleet) => facts.fleet = fleet,
            _ => {}
        }
        facts.quota.retain(|_, reading| !reading.is_stale(now));
        for name in families() {
            if self.scope.has(Around::Providers) {
                let fair = !facts.offline.contains(&name);
                let weather = if fair { Weather::Fair } else { Weather::Offline("no answer".to_owned()) };
                seen.weather.insert(name.clone(), weather);
            }
            if self.scope.has(Around::Quotas) {
                let reading = facts.quota.get(&name).cloned();
                seen.quota.insert(name, reading);
            }
        }
        if self.scope.has(Around::FleetsDay) {
            let began = midnight(now);
            seen.fleet = Some(FleetDay {
                began,
                ends: began + TimeDelta::days(1),
                tokens: Some(Tokens(if facts.fleet == Fleet::Full { 0 } else { 1_000 * PER_RUN })),
                cost_usd: None,
                places: Some(Places { most: 1, left: u64::from(facts.fleet != Fleet::Taken) }),
                fault: (facts.fleet == Fleet::Unknown).then(|| "torn".to_owned()),
            });
        }
        seen.local_midnight = (self.budget.window == Window::LocalDay).then(|| midnight(now));
    }

    fn of_stage(&self, event: Event, (stages, index): (&[Stage], usize), facts: &mut Facts, seen: &mut Observation) {
        let stage = &stages[index];
        let done = match self.effects {
            Effects::Free => stage.chores.clone(),
            Effects::MayBeLost => {
                let of_stage = facts.done.chores.iter().filter(|(of, _)| *of == stage.id);
                of_stage.map(|(_, chore)| chore.clone()).collect()
            }
        };
        seen.done.insert(stage.id.clone(), done);
        if !self.cards[index].contract_tests.is_empty() {
            let frozen = if event == Event::NoContract(index) { Err("not there".to_owned()) } else { Ok(Vec::new()) };
            seen.contracts.insert(stage.id.clone(), frozen);
        }
        for (place, flight) in stage.life.flights().into_iter().enumerate() {
            let sighting = match event {
                Event::Run(one, other, what) if (one, other) == (index, place) => {
                    self.sight(index, stage, flight, what, facts, seen)
                }
                _ if facts.started.contains(&flight.run) => running(Watched::BySupervisor, Seconds(1)),
                _ => Sighting::NotStarted,
            };
            seen.runs.insert(flight.run.clone(), sighting);
        }
        match &stage.life {
            Life::Landing(landing) => {
                let land = match (event, self.effects) {
                    (Event::Landing(one, land), _) if one == index => land,
                    (_, Effects::Free) => return,
                    (_, Effects::MayBeLost) if facts.done.landed.contains_key(&stage.id) => Land::Landed,
                    (_, Effects::MayBeLost) => Land::Ready,
                };
                let sighting = landing_sighting(stages, stage, landing, land, facts);
                seen.landings.insert(stage.id.clone(), sighting);
            }
            Life::Over(_) if matches!(event, Event::Parked(one, _) if one == index) => {
                let merged = matches!(event, Event::Parked(_, true)).then(|| facts.tip.clone());
                seen.parked.insert(stage.id.clone(), ParkedSighting { tip: facts.tip.clone(), merged });
            }
            _ => {}
        }
    }

    fn sight(
        &self,
        index: usize,
        stage: &Stage,
        flight: &Flight,
        what: Seen,
        facts: &mut Facts,
        seen: &mut Observation,
    ) -> Sighting {
        let run = &flight.run;
        match what {
            Seen::Begins => {
                facts.started.insert(run.clone());
                running(Watched::BySupervisor, Seconds(1))
            }
            Seen::LaunchFailed => {
                let faults = LaunchFaults { count: self.policy.launch_tries, last: "no".to_owned() };
                seen.launch_faults.insert(run.clone(), faults);
                Sighting::NotStarted
            }
            Seen::UnsupervisedOverTime => running(Watched::ByTicksOnly, Seconds(3_600)),
            Seen::Lost(left) => {
                facts.begin_and_end(run);
                let work = left.map(|left| work(stage, flight, left, facts));
                let usage = self.usage(run, Exit::Killed);
                Sighting::Lost(Box::new(LostRun { usage, elapsed: None, work, detail: "lost".to_owned() }))
            }
            Seen::Ended(exit, product) => {
                facts.begin_and_end(run);
                let mut record = self.record(run, exit, facts.now);
                let product = product_of(stage, flight, exit, product, &self.papers[index], facts, &mut record);
                Sighting::Ended(Box::new(Ended { record, product }))
            }
        }
    }

    /// The end of a run that was settled before, as if it were news.
    pub fn sight_of_past(
        &self,
        index: usize,
        stage: &Stage,
        past: &PastRun,
        what: Seen,
        facts: &mut Facts,
    ) -> Sighting {
        let family = Some(past.identity.as_ref().map_or_else(|| families()[0].clone(), family));
        let flight = Flight {
            run: past.run.clone(),
            identity: past.identity.clone(),
            family,
            model: past.model.clone(),
            reserved: CAPS,
            dispatched_at: past.at,
            stopping: None,
        };
        self.sight(index, stage, &flight, what, facts, &mut Observation::default())
    }

    /// What a run is seen to have used.
    pub fn usage(&self, run: &RunId, exit: Exit) -> Usage {
        let certain = |tokens: u64, cost: u64| {
            let input_tokens = Tokens(tokens);
            let cost_usd = Some(MicroUsd(cost));
            Usage { input_tokens, cost_usd, source: UsageSource::Result, ..Usage::default() }.totalled()
        };
        match (run.role, self.scope.usage, exit) {
            (Role::Gate, ..) => Usage::none(),
            (_, Usage1::Nothing, _) => certain(0, 0),
            (_, Usage1::ByEnd, Exit::Clean) => certain(CAPS.tokens.0 / 2, CAPS.cost_usd.0 / 2),
            (_, Usage1::ByEnd, Exit::Over(EndedByCap::Tokens)) => certain(CAPS.tokens.0 * 2, CAPS.cost_usd.0 * 2),
            (_, Usage1::Unknown | Usage1::ByEnd, _) => Usage::default(),
        }
    }

    /// What a run that ended so is to be charged.
    pub fn charge(&self, run: &RunId, seen: Seen, reserved: &Reservation) -> (Tokens, MicroUsd) {
        let usage = match seen {
            Seen::Begins | Seen::UnsupervisedOverTime | Seen::LaunchFailed => return (Tokens(0), MicroUsd(0)),
            Seen::Lost(_) => self.usage(run, Exit::Killed),
            Seen::Ended(exit, _) => self.usage(run, exit),
        };
        if usage.source == UsageSource::Unknown {
            return (reserved.tokens, reserved.cost_usd);
        }
        (usage.total_tokens, usage.cost_usd.unwrap_or_default())
    }

    fn record(&self, run: &RunId, exit: Exit, now: DateTime<Utc>) -> ExitRecord {
        let (end, ended_by) = match exit {
            Exit::Clean => (ProcessEnd::Code(0), EndedBy::Exit),
            Exit::Code => (ProcessEnd::Code(1), EndedBy::Exit),
            Exit::Killed => (ProcessEnd::Signal(9), EndedBy::Exit),
            Exit::ToldToEnd => (ProcessEnd::Signal(15), EndedBy::Cancelled),
            Exit::Refused(..) | Exit::ModelLimit => (ProcessEnd::Code(1), EndedBy::Refused),
            Exit::Over(cap) => {
                let by = match cap {
                    EndedByCap::Time => EndedBy::Timeout,
                    EndedByCap::Tokens => EndedBy::TokenCap,
                    EndedByCap::Cost => EndedBy::CostCap,
                    EndedByCap::Output => EndedBy::OutputCap,
                    EndedByCap::Silence => EndedBy::Stalled,
                };
                (ProcessEnd::Signal(15), by)
            }
        };
        let soon = Some(now + TimeDelta::minutes(5));
        let refusal = |class, scope| Some(Refusal { class, scope, line: "no".to_owned() });
        let provider = match exit {
            Exit::Refused(class, stated) => ProviderReport {
                refusal: refusal(class, RefusalScope::Family),
                resets_at: soon.filter(|_| stated == Stated::Soon),
            },
            Exit::ModelLimit => {
                ProviderReport { refusal: refusal(RefusalClass::Limit, RefusalScope::Model), resets_at: soon }
            }
            _ => ProviderReport::default(),
        };
        ExitRecord {
            run_id: run.clone(),
            started_at: now,
            ended_at: now,
            elapsed_seconds: 1.0,
            exit: end,
            ended_by,
            usage: self.usage(run, exit),
            provider,
            peak_rss_bytes: 0,
            cpu_seconds: 0.0,
            outbox: None,
            outbox_fault: None,
            gates: Vec::new(),
            secrets_in_work: Vec::new(),
        }
    }
}

fn product_of(
    stage: &Stage,
    flight: &Flight,
    exit: Exit,
    product: Product1,
    papers: &Papers,
    facts: &mut Facts,
    record: &mut ExitRecord,
) -> Product {
    let tree = stage.candidate().map(|candidate| candidate.tree.clone());
    match product {
        Product1::Worker(hand, left) => {
            Product::Worker { handoff: handoff(papers, hand), work: work(stage, flight, left, facts) }
        }
        Product1::Gate(gates) => {
            let result = |exit: ProcessEnd, retries: u32| GateResult {
                name: "acceptance".to_owned(),
                command: "true".to_owned(),
                exit,
                timed_out: false,
                elapsed_seconds: 0.1,
                output_tail: String::new(),
                retries,
                error_line: None,
            };
            record.gates = match gates {
                Gates::Passed => vec![result(ProcessEnd::Code(0), 0)],
                Gates::Failed => vec![result(ProcessEnd::Code(1), 0)],
                Gates::FailedMayRetry => vec![result(ProcessEnd::Code(1), 1)],
                Gates::KilledFromOutside => vec![result(ProcessEnd::Signal(9), 0)],
                Gates::NoRecord => Vec::new(),
            };
            if exit == Exit::Clean && gates == Gates::Passed {
                facts.passed.extend(tree);
            }
            Product::Gate
        }
        Product1::Verifier(word) => {
            let usable = |word: &str| Returned::Usable(papers.verdicts[word].clone());
            let verdict = match word {
                Word::Nothing => Returned::Nothing,
                Word::Forged => Returned::Unusable("forged".to_owned()),
                Word::Pass => usable("PASS"),
                Word::Fail => usable("FAIL"),
                Word::Blocked => usable("BLOCKED"),
            };
            // Whoever was stopped, killed or refused has not finished judging, whatever it left.
            if exit == Exit::Clean
                && word == Word::Pass
                && flight.stopping.is_none()
                && let Some(tree) = tree
            {
                let family = flight.family.clone().expect("a verifier has a family");
                facts.votes.entry(tree).or_default().insert(flight.run.seat, family);
            }
            Product::Verifier { verdict }
        }
    }
}

impl Facts {
    fn begin_and_end(&mut self, run: &RunId) {
        assert!(!self.ended.contains(run), "{run} ended twice");
        self.started.remove(run);
        self.ended.insert(run.clone());
    }
}

fn running(watched: Watched, elapsed: Seconds) -> Sighting {
    Sighting::Running(Pulse { elapsed: Some(elapsed), silent_for: None, watched })
}

fn handoff(papers: &Papers, hand: Hand) -> Returned<Handoff> {
    let usable = |word: &str| Returned::Usable(papers.handoffs[word].clone());
    match hand {
        Hand::Nothing => Returned::Nothing,
        Hand::Torn => Returned::Unusable("torn".to_owned()),
        Hand::Pass => usable("pass"),
        Hand::Partial => usable("partial"),
        Hand::Fail => usable("fail"),
        Hand::Blocked => usable("blocked"),
    }
}

fn work(stage: &Stage, flight: &Flight, left: Left, facts: &mut Facts) -> WorkSighting {
    facts.objects += 2;
    let (commit, mut tree) = (object(facts.objects), object(facts.objects + 1_000_000_000));
    let mut findings = Findings::default();
    let mut changed = vec![format!("{}/b", stage.id)];
    match left {
        Left::Gone => return WorkSighting::Gone,
        Left::Unreadable => return WorkSighting::Unreadable("no".to_owned()),
        Left::Secret => return WorkSighting::Withheld("a key".to_owned()),
        Left::New => {}
        Left::Same => {
            if let Life::Working(working) = &stage.life
                && let Some(resume) = &working.resume
            {
                tree = resume.tree.clone();
            }
        }
        Left::Outside => changed = vec!["outside".to_owned()],
        Left::Nothing => changed.clear(),
        Left::Strays => findings.strays = vec![object(7)],
    }
    // Whatever was found of the same tree before was found of another run.
    facts.passed.remove(&tree);
    facts.votes.remove(&tree);
    facts.makers.insert(tree.clone(), flight.family.clone().expect("a worker has a family"));
    let candidate = Candidate { commit, tree, run: flight.run.clone() };
    WorkSighting::Captured(Captured { candidate, changed, embedded: Vec::new(), findings: Box::new(findings) })
}

fn landing_sighting(
    stages: &[Stage],
    stage: &Stage,
    landing: &Landing,
    land: Land,
    facts: &mut Facts,
) -> LandingSighting {
    match land {
        Land::Ready => LandingSighting::Ready,
        Land::Landed => LandingSighting::Landed(landing.candidate.commit.clone()),
        Land::Rebased | Land::Joins => {
            let seen = BTreeMap::new();
            let last = if land == Land::Joins { train::end(stages, &seen, &facts.tip, stage) } else { None };
            let behind = last.as_ref().map(|car| car.stage.clone());
            let tip = last.map_or(&facts.tip, |car| car.commit).clone();
            facts.objects += 2;
            let (commit, tree) = (object(facts.objects), object(facts.objects + 1_000_000_000));
            let maker = facts.makers.get(&landing.candidate.tree).cloned();
            facts.makers.extend(maker.map(|maker| (tree.clone(), maker)));
            let candidate = Candidate { commit, tree, run: landing.candidate.run.clone() };
            LandingSighting::Rebased { tip, candidate, behind }
        }
        Land::SameTree => {
            facts.objects += 1;
            let (commit, tree) = (object(facts.objects), landing.candidate.tree.clone());
            let candidate = Candidate { commit, tree, run: landing.candidate.run.clone() };
            LandingSighting::Rebased { tip: facts.tip.clone(), candidate, behind: None }
        }
        Land::Behind => {
            let ahead = train::ahead(stages, stage).expect("one that is to land first");
            LandingSighting::Behind(ahead.clone())
        }
        Land::Overlap => LandingSighting::Overlap { tip: facts.tip.clone(), paths: vec!["a".to_owned()] },
        Land::Dirty => LandingSighting::Dirty(vec!["a".to_owned()]),
        Land::Busy => LandingSighting::Busy("git".to_owned()),
        Land::NoBase => LandingSighting::NoBase,
        Land::Failed => LandingSighting::Failed("no".to_owned()),
    }
}
