//! The world of the exhaustive check: what may be seen of a state next, and what is true in it whatever the machine
//! believes.

use std::collections::{BTreeMap, BTreeSet};

use autometta::core::budget::Budget;
use autometta::core::card::Card;
use autometta::core::exit::{
    EndedBy, ExitRecord, GateResult, ProcessEnd, ProviderReport, Refusal, RefusalClass, RefusalScope, Usage,
    UsageSource,
};
use autometta::core::handoff::Handoff;
use autometta::core::honesty::Findings;
use autometta::core::ids::{FamilyName, Identity, ObjectId, Role, RunId};
use autometta::core::observation::{
    Brief, Captured, Ended, LandingSighting, LaunchFaults, LostRun, Observation, ParkedSighting, Placed, Product,
    Pulse, Returned, Sighting, Watched, WorkSighting,
};
use autometta::core::operate::{Command, Rejected};
use autometta::core::policy::Policy;
use autometta::core::quantity::{MicroUsd, Seconds, Tokens};
use autometta::core::state::{Awaits, Candidate, Flight, Life, Reservation, Stage, State};
use autometta::core::verdict::Verdict;
use chrono::{DateTime, TimeDelta, Utc};

/// What every run of a model may use at most; its reservation.
pub const PER_RUN: u64 = 100;

/// One point that the machine can reach, with what is true around it.
#[derive(Debug, Clone)]
pub struct Node {
    pub state: State,
    pub budget: Budget,
    pub facts: Facts,
}

/// What is true, whatever the machine believes.
#[derive(Debug, Clone)]
pub struct Facts {
    pub now: DateTime<Utc>,
    /// Runs in flight of which something has run.
    pub started: BTreeSet<RunId>,
    /// Runs that have ended or were lost.
    pub ended: BTreeSet<RunId>,
    /// Trees that every gate passed, of those that the state still speaks of.
    pub passed: BTreeSet<ObjectId>,
    /// Trees that somebody voted for: which seats did, and of which family they are.
    pub votes: BTreeMap<ObjectId, BTreeMap<Option<u32>, FamilyName>>,
    /// Where the base branch is.
    pub tip: ObjectId,
    /// What numbers objects are named by.
    pub objects: u64,
}

/// How the process of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    Clean,
    Code,
    Killed,
    Over(EndedByCap),
    ToldToEnd,
    Refused(RefusalClass, Stated),
}

/// Which of its own caps ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndedByCap {
    Time,
    Tokens,
    Cost,
    Output,
    Silence,
}

/// Whether a limit says when it resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stated {
    No,
    Soon,
}

/// What a worker left in its outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hand {
    Nothing,
    Torn,
    Pass,
    Partial,
    Fail,
    Blocked,
}

/// What a worker left in its worktree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    New,
    Same,
    Outside,
    Nothing,
    Strays,
    Gone,
    Unreadable,
}

/// How a gate's commands went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gates {
    Passed,
    Failed,
    FailedMayRetry,
    KilledFromOutside,
    NoRecord,
}

/// What a verifier returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    Nothing,
    Forged,
    Pass,
    Fail,
    Blocked,
}

/// What a run left, by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Product1 {
    Worker(Hand, Left),
    Gate(Gates),
    Verifier(Word),
}

/// What is seen of a run in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    Begins,
    LaunchFailed,
    UnsupervisedOverTime,
    Lost(Option<Left>),
    Ended(Exit, Product1),
}

/// What is seen of a landing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Land {
    Ready,
    Landed,
    Rebased,
    Overlap,
    Dirty,
    Busy,
    NoBase,
    Failed,
}

/// What an operator says about a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    Requeue,
    Skip,
    Cancel,
    Answer,
    Approve,
    Reject,
    Rework,
}

/// One thing that can happen next. What is not spoken of stays as it is: runs go on, branches stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A fire with nothing new.
    Nothing,
    /// Time passes, up to the next moment that something waits for.
    Time,
    /// Something is seen of the n-th flight of a stage.
    Run(usize, usize, Seen),
    /// Something is seen of a stage that lands.
    Landing(usize, Land),
    /// The base of a parked change has moved; true where the change is in it.
    Parked(usize, bool),
    /// The card of a stage cannot be used.
    CardUnusable(usize),
    /// The base branch is gone.
    NoBase,
    /// An operator speaks of a stage.
    Operator(usize, Says),
    /// An operator halts or resumes.
    Halt,
    Resume,
}

/// What a model lets happen.
#[derive(Debug, Clone)]
pub struct Scope {
    pub exits: Vec<Exit>,
    pub hands: Vec<Hand>,
    pub left: Vec<Left>,
    pub gates: Vec<Gates>,
    pub words: Vec<Word>,
    pub landings: Vec<Land>,
    pub says: Vec<Says>,
    /// Whether runs may be lost, never start, or lose their supervisor; cards break; branches vanish; operators halt.
    pub accidents: bool,
    /// Whether a run's usage may be unknown.
    pub usage: Usage1,
}

/// What runs are seen to have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage1 {
    Nothing,
    Unknown,
}

impl Scope {
    /// Everything that the world can make, without a person.
    pub fn everything() -> Self {
        use RefusalClass::{Auth, Billing, Configuration, Context, Limit, Model, Network, Overloaded};
        let refused = [Auth, Billing, Configuration, Context, Limit, Model, Network, Overloaded];
        let caps = [EndedByCap::Time, EndedByCap::Tokens, EndedByCap::Cost, EndedByCap::Output, EndedByCap::Silence];
        let exits = [Exit::Clean, Exit::Code, Exit::Killed, Exit::ToldToEnd, Exit::Refused(Limit, Stated::Soon)];
        Self {
            exits: exits
                .into_iter()
                .chain(caps.map(Exit::Over))
                .chain(refused.map(|class| Exit::Refused(class, Stated::No)))
                .collect(),
            hands: vec![Hand::Nothing, Hand::Torn, Hand::Pass, Hand::Partial, Hand::Fail, Hand::Blocked],
            left: vec![Left::New, Left::Same, Left::Outside, Left::Nothing, Left::Strays, Left::Gone, Left::Unreadable],
            gates: vec![Gates::Passed, Gates::Failed, Gates::FailedMayRetry, Gates::KilledFromOutside, Gates::NoRecord],
            words: vec![Word::Nothing, Word::Forged, Word::Pass, Word::Fail, Word::Blocked],
            landings: vec![
                Land::Ready,
                Land::Landed,
                Land::Rebased,
                Land::Overlap,
                Land::Dirty,
                Land::Busy,
                Land::NoBase,
                Land::Failed,
            ],
            says: Vec::new(),
            accidents: true,
            usage: Usage1::Unknown,
        }
    }

    fn of_role(&self, role: Role) -> Vec<Product1> {
        match role {
            Role::Worker => {
                self.hands.iter().flat_map(|hand| self.left.iter().map(|left| Product1::Worker(*hand, *left))).collect()
            }
            Role::Gate => self.gates.iter().map(|gates| Product1::Gate(*gates)).collect(),
            Role::Verifier => self.words.iter().map(|word| Product1::Verifier(*word)).collect(),
        }
    }
}

/// What the check runs on: cards, policy, and what may happen.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: &'static str,
    pub cards: Vec<Card>,
    pub policy: Policy,
    pub token_cap: Option<u64>,
    pub scope: Scope,
    /// Stages that differ in nothing but their names, so that exchanging them changes nothing.
    pub alike: bool,
    /// What the cards ask for, in their order.
    pub briefs: Vec<Brief>,
}

pub fn object(number: u64) -> ObjectId {
    format!("{number:040x}").parse().expect("id")
}

/// The family of an identity in this world: `two` for those whose names begin with V.
pub fn family(who: &Identity) -> FamilyName {
    let name = if who.name().starts_with('V') { "two" } else { "one" };
    name.parse().expect("family")
}

/// What a card asks for in this world.
pub fn brief(card: &Card) -> Brief {
    let placed = |who: &Identity| Placed { identity: who.clone(), family: family(who), model: None };
    let caps = Reservation { tokens: Tokens(PER_RUN), cost_usd: MicroUsd(10), seconds: Seconds(60) };
    let gate = Reservation { seconds: Seconds(10), ..Reservation::default() };
    crate::briefs::brief(card, placed, caps, Some(gate))
}

/// The flights of a stage whose turn it is to be seen.
pub fn flights(stage: &Stage) -> Vec<&Flight> {
    stage.life.flights()
}

impl Model {
    /// Everything that can happen at a node.
    pub fn events(&self, node: &Node) -> Vec<Event> {
        let mut events = vec![Event::Nothing];
        if next_moment(node).is_some() {
            events.push(Event::Time);
        }
        for (index, stage) in node.state.stages.iter().enumerate() {
            for (place, flight) in flights(stage).into_iter().enumerate() {
                let runs = self.seen_of(node, stage, flight);
                events.extend(runs.into_iter().map(|seen| Event::Run(index, place, seen)));
            }
            match &stage.life {
                Life::Landing(_) => {
                    events.extend(self.scope.landings.iter().map(|land| Event::Landing(index, *land)));
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
                events.push(Event::CardUnusable(index));
            }
            events.extend(self.scope.says.iter().map(|says| Event::Operator(index, *says)));
        }
        if self.scope.accidents {
            events.push(Event::NoBase);
        }
        if !self.scope.says.is_empty() {
            events.extend([Event::Halt, Event::Resume]);
        }
        events
    }

    fn seen_of(&self, node: &Node, stage: &Stage, flight: &Flight) -> Vec<Seen> {
        let mut seen = Vec::new();
        let role = flight.run.role;
        let started = node.facts.started.contains(&flight.run);
        if self.scope.accidents {
            seen.extend(if started {
                vec![Seen::UnsupervisedOverTime]
            } else {
                vec![Seen::Begins, Seen::LaunchFailed]
            });
            match role {
                Role::Worker => {
                    seen.push(Seen::Lost(None));
                    seen.extend(self.scope.left.iter().map(|left| Seen::Lost(Some(*left))));
                }
                Role::Gate | Role::Verifier => seen.push(Seen::Lost(None)),
            }
        }
        let resumes = matches!(&stage.life, Life::Working(working) if working.resume.is_some());
        for exit in &self.scope.exits {
            // Gates call no provider; what a refusal of one means is what a command that cannot start means.
            if role == Role::Gate && matches!(exit, Exit::Refused(class, _) if *class != RefusalClass::Configuration) {
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
}

/// The next moment that something in a node waits for.
pub fn next_moment(node: &Node) -> Option<DateTime<Utc>> {
    moments(node).into_iter().filter(|at| *at > node.facts.now).min()
}

/// Every moment that something in a node waits for.
pub fn moments(node: &Node) -> Vec<DateTime<Utc>> {
    let mut found: Vec<DateTime<Utc>> = node.budget.pauses.iter().map(|pause| pause.until).collect();
    found.extend(node.budget.breakers.iter().filter_map(|breaker| breaker.open_until));
    for stage in &node.state.stages {
        match &stage.life {
            Life::Pending(pending) => found.extend(pending.not_before),
            Life::Gating(gating) => found.extend(gating.not_before),
            Life::Verifying(verifying) => found.extend(verifying.seats.iter().filter_map(|seat| seat.not_before)),
            Life::Working(_) | Life::Landing(_) | Life::Over(_) => {}
        }
    }
    found
}

/// What an operator's event asks for.
pub fn command(node: &Node, event: Event) -> Option<Command> {
    Some(match event {
        Event::Halt => Command::Halt(String::new()),
        Event::Resume => Command::Resume,
        Event::Operator(index, says) => {
            let stage = node.state.stages[index].id.clone();
            let why = String::from("no");
            match says {
                Says::Requeue => Command::Requeue(stage),
                Says::Skip => Command::Skip(stage),
                Says::Cancel => Command::Cancel(stage),
                Says::Answer => Command::Answer(stage),
                Says::Approve => Command::Approve(stage),
                Says::Reject => Command::Reject { stage, why, then: Rejected::Ends },
                Says::Rework => Command::Reject { stage, why, then: Rejected::IsReworked },
            }
        }
        _ => return None,
    })
}

impl Model {
    /// What is seen at a node when this happens; the facts move with it.
    pub fn observe(&self, node: &Node, event: Event, facts: &mut Facts) -> Observation {
        facts.now += TimeDelta::seconds(1);
        if event == Event::Time
            && let Some(at) = next_moment(node)
        {
            facts.now = at;
        }
        if matches!(event, Event::Landing(_, Land::Rebased | Land::Overlap) | Event::Parked(..)) {
            facts.objects += 1;
            facts.tip = object(facts.objects);
        }
        let tip = (event != Event::NoBase).then(|| facts.tip.clone());
        let mut seen = Observation {
            committer: Some("O <o@local>".parse().expect("identity")),
            tips: BTreeMap::from([("main".to_owned(), tip)]),
            told: node.state.notices.iter().map(|notice| notice.key.clone()).collect(),
            ..Observation::default()
        };
        for (index, stage) in node.state.stages.iter().enumerate() {
            if event == Event::CardUnusable(index) {
                seen.briefs.insert(stage.id.clone(), Err("its card cannot be used".to_owned()));
            } else if !matches!(stage.life, Life::Over(_)) {
                seen.briefs.insert(stage.id.clone(), Ok(Box::new(self.briefs[index].clone())));
            }
            seen.done.insert(stage.id.clone(), stage.chores.clone());
            for (place, flight) in flights(stage).into_iter().enumerate() {
                let sighting = match event {
                    Event::Run(one, other, what) if (one, other) == (index, place) => {
                        self.sight(stage, flight, what, facts, &mut seen)
                    }
                    _ if facts.started.contains(&flight.run) => running(Watched::BySupervisor, Seconds(1)),
                    _ => Sighting::NotStarted,
                };
                seen.runs.insert(flight.run.clone(), sighting);
            }
            match &stage.life {
                Life::Landing(landing) => {
                    let land = match event {
                        Event::Landing(one, land) if one == index => land,
                        _ => continue,
                    };
                    let sighting = landing_sighting(landing, land, facts);
                    seen.landings.insert(stage.id.clone(), sighting);
                }
                Life::Over(_) if matches!(event, Event::Parked(one, _) if one == index) => {
                    let merged = matches!(event, Event::Parked(_, true)).then(|| facts.tip.clone());
                    seen.parked.insert(stage.id.clone(), ParkedSighting { tip: facts.tip.clone(), merged });
                }
                _ => {}
            }
        }
        seen
    }

    fn sight(&self, stage: &Stage, flight: &Flight, what: Seen, facts: &mut Facts, seen: &mut Observation) -> Sighting {
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
                let work = left.map(|left| work(stage, run, left, facts));
                let usage = self.usage(run);
                Sighting::Lost(Box::new(LostRun { usage, elapsed: None, work, detail: "lost".to_owned() }))
            }
            Seen::Ended(exit, product) => {
                facts.begin_and_end(run);
                let mut record = self.record(run, exit, facts.now);
                let product = Self::product(stage, run, exit, product, facts, &mut record);
                Sighting::Ended(Box::new(Ended { record, product }))
            }
        }
    }

    fn usage(&self, run: &RunId) -> Usage {
        match (run.role, self.scope.usage) {
            (Role::Gate, _) => Usage::none(),
            (_, Usage1::Unknown) => Usage::default(),
            (_, Usage1::Nothing) => Usage { source: UsageSource::Result, ..Usage::default() }.totalled(),
        }
    }

    fn record(&self, run: &RunId, exit: Exit, now: DateTime<Utc>) -> ExitRecord {
        let (end, ended_by) = match exit {
            Exit::Clean => (ProcessEnd::Code(0), EndedBy::Exit),
            Exit::Code => (ProcessEnd::Code(1), EndedBy::Exit),
            Exit::Killed => (ProcessEnd::Signal(9), EndedBy::Exit),
            Exit::ToldToEnd => (ProcessEnd::Signal(15), EndedBy::Cancelled),
            Exit::Refused(..) => (ProcessEnd::Code(1), EndedBy::Refused),
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
        let provider = match exit {
            Exit::Refused(class, stated) => ProviderReport {
                refusal: Some(Refusal { class, scope: RefusalScope::Family, line: "no".to_owned() }),
                resets_at: (stated == Stated::Soon).then(|| now + TimeDelta::minutes(5)),
            },
            _ => ProviderReport::default(),
        };
        ExitRecord {
            run_id: run.clone(),
            started_at: now,
            ended_at: now,
            elapsed_seconds: 1.0,
            exit: end,
            ended_by,
            usage: self.usage(run),
            provider,
            peak_rss_bytes: 0,
            cpu_seconds: 0.0,
            outbox: None,
            outbox_fault: None,
            gates: Vec::new(),
            secrets_in_work: Vec::new(),
        }
    }

    fn product(
        stage: &Stage,
        run: &RunId,
        exit: Exit,
        product: Product1,
        facts: &mut Facts,
        record: &mut ExitRecord,
    ) -> Product {
        let tree = stage.candidate().map(|candidate| candidate.tree.clone());
        match product {
            Product1::Worker(hand, left) => {
                Product::Worker { handoff: handoff(stage, hand), work: work(stage, run, left, facts) }
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
                let verdict = match word {
                    Word::Nothing => Returned::Nothing,
                    Word::Forged => Returned::Unusable("forged".to_owned()),
                    Word::Pass => Returned::Usable(verdict(stage, "PASS")),
                    Word::Fail => Returned::Usable(verdict(stage, "FAIL")),
                    Word::Blocked => Returned::Usable(verdict(stage, "BLOCKED")),
                };
                // Whoever was stopped, killed or refused has not finished judging, whatever it left.
                if exit == Exit::Clean
                    && word == Word::Pass
                    && let (Some(tree), Some(flight)) =
                        (tree, flights(stage).into_iter().find(|flight| flight.run == *run))
                {
                    let family = flight.family.clone().expect("a verifier has a family");
                    facts.votes.entry(tree).or_default().insert(run.seat, family);
                }
                Product::Verifier { verdict }
            }
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

fn handoff(stage: &Stage, hand: Hand) -> Returned<Handoff> {
    let status = match hand {
        Hand::Nothing => return Returned::Nothing,
        Hand::Torn => return Returned::Unusable("torn".to_owned()),
        Hand::Pass => "pass",
        Hand::Partial => "partial",
        Hand::Fail => "fail",
        Hand::Blocked => "blocked",
    };
    let json = serde_json::json!({"stage_id": stage.id, "status": status, "deliverables": [], "notes": "n",
                                  "question": "which?"});
    Returned::Usable(Handoff::parse(json.to_string().as_bytes(), &stage.id).expect("a handoff"))
}

fn verdict(stage: &Stage, word: &str) -> Verdict {
    let json = serde_json::json!({"stage_id": stage.id, "overall": word, "headline": "h",
        "criteria": [{"id": 1, "name": "n", "verdict": word, "evidence": "a:1"}], "additional_findings": ""});
    Verdict::parse(json.to_string().as_bytes(), &stage.id, 1).expect("a verdict")
}

fn work(stage: &Stage, run: &RunId, left: Left, facts: &mut Facts) -> WorkSighting {
    facts.objects += 2;
    let (commit, mut tree) = (object(facts.objects), object(facts.objects + 1_000_000_000));
    let mut findings = Findings::default();
    let mut changed = vec![format!("{}/b", stage.id)];
    match left {
        Left::Gone => return WorkSighting::Gone,
        Left::Unreadable => return WorkSighting::Unreadable("no".to_owned()),
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
    let candidate = Candidate { commit, tree, run: run.clone() };
    WorkSighting::Captured(Captured { candidate, changed, embedded: Vec::new(), findings: Box::new(findings) })
}

fn landing_sighting(landing: &autometta::core::state::Landing, land: Land, facts: &mut Facts) -> LandingSighting {
    match land {
        Land::Ready => LandingSighting::Ready,
        Land::Landed => LandingSighting::Landed(landing.candidate.commit.clone()),
        Land::Rebased => {
            facts.objects += 2;
            let candidate = Candidate {
                commit: object(facts.objects),
                tree: object(facts.objects + 1_000_000_000),
                run: landing.candidate.run.clone(),
            };
            LandingSighting::Rebased { tip: facts.tip.clone(), candidate }
        }
        Land::Overlap => LandingSighting::Overlap { tip: facts.tip.clone(), paths: vec!["a".to_owned()] },
        Land::Dirty => LandingSighting::Dirty(vec!["a".to_owned()]),
        Land::Busy => LandingSighting::Busy("git".to_owned()),
        Land::NoBase => LandingSighting::NoBase,
        Land::Failed => LandingSighting::Failed("no".to_owned()),
    }
}
