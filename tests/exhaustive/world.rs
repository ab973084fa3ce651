//! The world of the exhaustive check: what is true in it whatever the machine believes, and what may happen.

use std::collections::{BTreeMap, BTreeSet};

use autometta::core::budget::Budget;
use autometta::core::card::Card;
use autometta::core::exit::RefusalClass;
use autometta::core::handoff::Handoff;
use autometta::core::ids::{FamilyName, Identity, ObjectId, Role, RunId, StageId};
use autometta::core::notice::NoticeKey;
use autometta::core::observation::{Brief, Placed};
use autometta::core::policy::Policy;
use autometta::core::quantity::{MicroUsd, Seconds, Tokens};
use autometta::core::quota::Reading;
use autometta::core::state::{Chore, Reservation, State};
use autometta::core::step::Effect;
use autometta::core::verdict::Verdict;
use chrono::{DateTime, Utc};

/// What every run of a model may use at most; its reservation. A last turn of it is as large.
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
    /// Trees that every gate passed.
    pub passed: BTreeSet<ObjectId>,
    /// Trees that somebody voted for: which seats did, and of which family they are.
    pub votes: BTreeMap<ObjectId, BTreeMap<Option<u32>, FamilyName>>,
    /// Of which family the worker of a tree was.
    pub makers: BTreeMap<ObjectId, FamilyName>,
    /// Where the base branch is.
    pub tip: ObjectId,
    /// What numbers objects are named by.
    pub objects: u64,
    /// Families whose provider cannot be reached.
    pub offline: BTreeSet<FamilyName>,
    /// Families whose quota is used up, with what their reader says.
    pub quota: BTreeMap<FamilyName, Reading>,
    /// What the fleet's day leaves.
    pub fleet: Fleet,
    /// The most that could be spent since the window's begin, drains and caps of then included.
    pub allowed: u64,
    /// What was done of the effects, in a world that does only what it is told.
    pub done: Done,
}

/// Effects that were carried out, where a world keeps account of it.
#[derive(Debug, Clone, Default)]
pub struct Done {
    pub stopped: BTreeSet<RunId>,
    pub chores: Vec<(StageId, Chore)>,
    pub told: BTreeSet<NoticeKey>,
    /// The candidate of a stage that is on the base.
    pub landed: BTreeMap<StageId, ObjectId>,
    /// Chores and notices that the last fire asked for and that were lost.
    pub lost: Vec<Effect>,
    /// How many fires in a row, up to now, lost something.
    pub losses: u8,
}

/// What the fleet's day leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fleet {
    Room,
    Full,
    /// There is room in the day, and the others have taken every place for an agent.
    Taken,
    Unknown,
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
    /// A limit of its one model, until a stated time.
    ModelLimit,
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
    Secret,
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
    /// The base moved, and another candidate is to land first.
    Joins,
    /// It stands behind another one.
    Behind,
    /// The base moved to what it stands on.
    SameTree,
}

/// What an operator says about a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    Requeue,
    Hold,
    Release,
    First,
    Skip,
    Cancel,
    Answer,
    Approve,
    Reject,
    Rework,
}

/// What an operator says about the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Orders {
    Halt,
    Resume,
    /// Raise, lower or lift the caps.
    Raise,
    Lower,
    Lift,
    Drain,
    StopDrain,
    /// Queue what is not queued yet.
    Add,
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
    /// The manifest puts a stage's verifiers into its worker's family.
    SameFamily(usize),
    /// The contract tests of a stage cannot be frozen.
    NoContract(usize),
    /// The base branch is gone.
    NoBase,
    /// Git knows nobody to commit as.
    NoCommitter,
    /// The machine has slept.
    Slept,
    /// The n-th family cannot be reached from now on, or can again.
    Reach(usize, bool),
    /// The quota of the n-th family is used up from now on, or was reset early.
    Quota(usize, bool),
    /// The fleet's day leaves this from now on.
    Fleet(Fleet),
    /// An operator speaks of a stage.
    Operator(usize, Says),
    /// An operator speaks of the whole.
    Order(Orders),
}

/// An event, and which of the effects that it leads to are carried out, a bit each.
pub type Move = (Event, u16);
/// Every effect.
pub const ALL: u16 = u16::MAX;

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
    pub orders: Vec<Orders>,
    /// Whether runs may be lost, never start, or lose their supervisor; cards break; branches vanish.
    pub accidents: bool,
    /// What comes and goes around it.
    pub around: &'static [Around],
    /// What runs are seen to have used.
    pub usage: Usage1,
}

/// What comes and goes of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    Providers,
    Quotas,
    FleetsDay,
}

/// What runs are seen to have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage1 {
    /// Nothing, for certain.
    Nothing,
    /// Nobody knows.
    Unknown,
    /// Half of what was set aside where they end well, a last turn more than that where their token cap ends them;
    /// else nobody knows.
    ByEnd,
}

impl Scope {
    /// Everything that the world can make of one stage, without a person.
    pub fn everything() -> Self {
        use RefusalClass::{Auth, Billing, Configuration, Context, Limit, Model, Network, Overloaded};
        let refused = [Auth, Billing, Configuration, Context, Limit, Model, Network, Overloaded];
        let caps = [EndedByCap::Time, EndedByCap::Tokens, EndedByCap::Cost, EndedByCap::Output, EndedByCap::Silence];
        let exits = [
            Exit::Clean,
            Exit::Code,
            Exit::Killed,
            Exit::ToldToEnd,
            Exit::Refused(Limit, Stated::Soon),
            Exit::ModelLimit,
        ];
        Self {
            exits: exits
                .into_iter()
                .chain(caps.map(Exit::Over))
                .chain(refused.map(|class| Exit::Refused(class, Stated::No)))
                .collect(),
            hands: vec![Hand::Nothing, Hand::Torn, Hand::Pass, Hand::Partial, Hand::Fail, Hand::Blocked],
            left: vec![
                Left::New,
                Left::Same,
                Left::Outside,
                Left::Nothing,
                Left::Strays,
                Left::Gone,
                Left::Unreadable,
                Left::Secret,
            ],
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
            orders: Vec::new(),
            accidents: true,
            around: &[],
            usage: Usage1::Unknown,
        }
    }

    pub fn has(&self, around: Around) -> bool {
        self.around.contains(&around)
    }

    /// What runs of a role may leave.
    pub fn of_role(&self, role: Role) -> Vec<Product1> {
        match role {
            Role::Worker => {
                self.hands.iter().flat_map(|hand| self.left.iter().map(|left| Product1::Worker(*hand, *left))).collect()
            }
            Role::Gate => self.gates.iter().map(|gates| Product1::Gate(*gates)).collect(),
            Role::Verifier => self.words.iter().map(|word| Product1::Verifier(*word)).collect(),
        }
    }
}

/// Whether effects are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// The world does what it likes: runs end whether they were launched or not.
    Free,
    /// The world does what it is told and nothing else, and any part of what a step asks for may be lost.
    MayBeLost,
}

/// What the check runs on: cards, policy, and what may happen.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: &'static str,
    pub cards: Vec<Card>,
    /// How many of the cards are queued at first.
    pub queued: usize,
    pub policy: Policy,
    /// The budget at first.
    pub budget: Budget,
    pub scope: Scope,
    pub effects: Effects,
    /// Seats that differ in nothing but their names, so that exchanging them changes nothing.
    pub alike: bool,
    /// What the cards ask for, in their order.
    pub briefs: Vec<Brief>,
    /// What is handed in and judged, for each of the cards.
    pub papers: Vec<Papers>,
}

/// Documents of one stage, read once.
#[derive(Debug, Clone)]
pub struct Papers {
    pub handoffs: BTreeMap<&'static str, Handoff>,
    pub verdicts: BTreeMap<&'static str, Verdict>,
}

impl Papers {
    pub fn of(stage: &StageId) -> Self {
        let handoff = |status: &'static str| {
            let json = serde_json::json!({"stage_id": stage, "status": status, "deliverables": [], "notes": "n",
                                          "question": "which?"});
            (status, Handoff::parse(json.to_string().as_bytes(), stage).expect("a handoff"))
        };
        let verdict = |word: &'static str| {
            let json = serde_json::json!({"stage_id": stage, "overall": word, "headline": "h",
                "criteria": [{"id": 1, "name": "n", "verdict": word, "evidence": "a:1"}], "additional_findings": ""});
            (word, Verdict::parse(json.to_string().as_bytes(), stage, 1).expect("a verdict"))
        };
        Self {
            handoffs: ["pass", "partial", "fail", "blocked"].map(handoff).into_iter().collect(),
            verdicts: ["PASS", "FAIL", "BLOCKED"].map(verdict).into_iter().collect(),
        }
    }
}

pub fn object(number: u64) -> ObjectId {
    format!("{number:040x}").parse().expect("id")
}

/// The families of this world.
pub fn families() -> [FamilyName; 3] {
    ["one", "three", "two"].map(|name| name.parse().expect("family"))
}

/// The family of an identity in this world: `two` for those whose names begin with V, `three` for X.
pub fn family(who: &Identity) -> FamilyName {
    let name = match who.name().as_bytes().first() {
        Some(b'V') => "two",
        Some(b'X') => "three",
        _ => "one",
    };
    name.parse().expect("family")
}

/// The caps of every run that calls a model.
pub const CAPS: Reservation = Reservation { tokens: Tokens(PER_RUN), cost_usd: MicroUsd(10), seconds: Seconds(60) };

/// What a card asks for in this world; `fallbacks` are the manifest's.
pub fn brief(card: &Card, fallbacks: &BTreeMap<FamilyName, Identity>) -> Brief {
    let placed =
        |who: &Identity| Placed { identity: who.clone(), family: family(who), model: Some(who.handle().to_owned()) };
    let gate = Reservation { seconds: Seconds(10), ..Reservation::default() };
    let mut brief = crate::briefs::brief(card, placed, CAPS, Some(gate));
    brief.members.extend(fallbacks.values().map(|who| crate::briefs::member(placed(who), CAPS)));
    Brief { fallbacks: fallbacks.clone(), ..brief }
}
