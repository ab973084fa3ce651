//! Nights in which everything goes wrong that can: a seed decides what is queued, what agents do and what else happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta};

use super::cast::{Accident, Call, Cast, Change, Ending, Forgery, GatePlay, Leaves, Play};
use super::clock::Awake;
use super::ground::Setup;
use super::trouble::{Order, Trouble};
use crate::core::budget::{Budget, Window};
use crate::core::card::{Card, LandingMode};
use crate::core::exit::RefusalClass;
use crate::core::handoff::HandoffStatus;
use crate::core::ids::{FamilyName, Identity, Role, StageId};
use crate::core::observation::{Brief, Member, Placed};
use crate::core::operate::queued;
use crate::core::policy::Policy;
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::random::Random;
use crate::core::run::ModelUse;
use crate::core::state::{Reservation, State};
use crate::core::verdict::Judgement;
use crate::files::store::Loaded;

const MINUTE: Awake = 60 * 1000;
/// How long troubles go on.
const NIGHT: Awake = 8 * 60 * MINUTE;
/// How many runs of a night are given something to do; those after them do well.
const RUNS: usize = 60;

/// Everything that can happen, by the names under which a night counts it.
pub const KINDS: [&str; 71] = [
    "a command died",
    "a tick died",
    "agent: another stage's paper",
    "agent: crashes",
    "agent: does not tell its usage",
    "agent: exits with a fault",
    "agent: floods its output",
    "agent: hangs",
    "agent: leaves nothing",
    "agent: lost without its usage",
    "agent: over its money",
    "agent: over its time",
    "agent: over its tokens",
    "agent: paper that says too much",
    "agent: provider's limit with a reset",
    "agent: provider's limit without a reset",
    "agent: refused otherwise",
    "agent: torn paper",
    "base branch gone",
    "base changed the same file",
    "base moved",
    "card broken",
    "clock set back",
    "clock set forward",
    "disk full",
    "gate: fails",
    "gate: fails and may be run again",
    "gate: killed from outside",
    "late timer",
    "machine slept",
    "no timer",
    "operator's edits",
    "operator's git at work",
    "operator: answer",
    "operator: approve",
    "operator: cancel",
    "operator: cost cap",
    "operator: drain",
    "operator: halt",
    "operator: reject",
    "operator: reject for rework",
    "operator: requeue",
    "operator: resume",
    "operator: skip",
    "operator: stop drain",
    "operator: token cap",
    "power cut",
    "power cut in a tick",
    "provider offline",
    "pulses lost",
    "supervisor and agent killed",
    "supervisor killed",
    "supervisor: cannot be started",
    "supervisor: dies at its record",
    "supervisor: dies before its claim",
    "supervisor: dies with its agent",
    "supervisor: dies, its agent is an orphan",
    "the power was cut in a tick",
    "tick killed",
    "two ticks at once",
    "verifier: BLOCKED",
    "verifier: FAIL",
    "worker: asks",
    "worker: changes nothing",
    "worker: fail",
    "worker: no handoff",
    "worker: out of scope",
    "worker: partial",
    "worker: removes its checkout",
    "worker: writes to the base",
    "write failed for want of room",
];

/// What a night is made of. Leaving parts or troubles out gives another night, as far as they go the same.
#[derive(Debug, Clone)]
pub struct Script {
    /// What it was made from.
    pub seed: u64,
    /// What is queued, and by which rules.
    pub queue: Queue,
    /// What runs do that do not do well, by their number.
    pub parts: BTreeMap<usize, Part>,
    /// What else happens, and when.
    pub troubles: Vec<(Awake, Trouble)>,
}

/// What is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The cards, as they would stand in their files.
    pub cards: Vec<(String, String)>,
    /// How many stages run at once.
    pub parallel: usize,
    /// How often work is tried again.
    pub retries: u32,
    /// Whether landings wait for the operator.
    pub asks: bool,
    /// The cap on tokens.
    pub tokens: Option<u64>,
    /// The cap on money, in millionths of a dollar.
    pub cost: Option<u64>,
    /// The window of those caps.
    pub window: Window,
    /// The cap on failures in a row.
    pub failures: Option<u64>,
    /// How many stages that are done with stay in the state.
    pub kept: usize,
}

/// What a run does otherwise than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It ends so.
    Ends(Ending),
    /// It leaves this.
    Leaves(Leaves),
    /// This happens to it.
    Meets(Accident),
    /// It takes so many times what it was given, in tokens.
    Tokens(u64),
    /// The same in money.
    Costs(u64),
    /// The same in time.
    Takes(u64),
    /// It does not tell what it used.
    Silent,
    /// It does not tell, and dies.
    SilentAndLost(Seconds),
}

impl Part {
    /// Its kind, in a few words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ends(Ending::Exits(_)) => "agent: exits with a fault",
            Self::Ends(Ending::Crashes) => "agent: crashes",
            Self::Ends(Ending::Hangs) => "agent: hangs",
            Self::Ends(Ending::Floods) => "agent: floods its output",
            Self::Ends(Ending::Refused(RefusalClass::Limit, None)) => "agent: provider's limit without a reset",
            Self::Ends(Ending::Refused(RefusalClass::Limit, _)) => "agent: provider's limit with a reset",
            Self::Ends(Ending::Refused(..)) => "agent: refused otherwise",
            Self::Leaves(Leaves::Nothing) => "agent: leaves nothing",
            Self::Leaves(Leaves::Work(_)) => "worker: no handoff",
            Self::Leaves(Leaves::Handoff(HandoffStatus::Partial, _)) => "worker: partial",
            Self::Leaves(Leaves::Handoff(HandoffStatus::Fail, _)) => "worker: fail",
            Self::Leaves(Leaves::Handoff(HandoffStatus::Blocked, _)) => "worker: asks",
            Self::Leaves(Leaves::Handoff(_, Change::Outside)) => "worker: out of scope",
            Self::Leaves(Leaves::Handoff(_, Change::Nothing)) => "worker: changes nothing",
            Self::Leaves(Leaves::Handoff(_, Change::Strays)) => "worker: writes to the base",
            Self::Leaves(Leaves::Handoff(_, Change::Gone)) => "worker: removes its checkout",
            Self::Leaves(Leaves::Handoff(..)) => "worker: pass",
            Self::Leaves(Leaves::Forged(Forgery::OtherStage)) => "agent: another stage's paper",
            Self::Leaves(Leaves::Forged(Forgery::Torn)) => "agent: torn paper",
            Self::Leaves(Leaves::Forged(Forgery::MoreKeys)) => "agent: paper that says too much",
            Self::Leaves(Leaves::Gates(GatePlay::Passes)) => "gate: passes",
            Self::Leaves(Leaves::Gates(GatePlay::Fails(0))) => "gate: fails",
            Self::Leaves(Leaves::Gates(GatePlay::Fails(_))) => "gate: fails and may be run again",
            Self::Leaves(Leaves::Gates(GatePlay::Killed)) => "gate: killed from outside",
            Self::Leaves(Leaves::Verdict(Judgement::Pass)) => "verifier: PASS",
            Self::Leaves(Leaves::Verdict(Judgement::Fail)) => "verifier: FAIL",
            Self::Leaves(Leaves::Verdict(Judgement::Blocked)) => "verifier: BLOCKED",
            Self::Meets(Accident::DiesUnclaimed) => "supervisor: dies before its claim",
            Self::Meets(Accident::SupervisorDies(_)) => "supervisor: dies, its agent is an orphan",
            Self::Meets(Accident::BothDie(_)) => "supervisor: dies with its agent",
            Self::Meets(Accident::DoesNotStart) => "supervisor: cannot be started",
            Self::Meets(Accident::DiesAtItsRecord(_)) => "supervisor: dies at its record",
            Self::Tokens(_) => "agent: over its tokens",
            Self::Costs(_) => "agent: over its money",
            Self::Takes(_) => "agent: over its time",
            Self::Silent => "agent: does not tell its usage",
            Self::SilentAndLost(_) => "agent: lost without its usage",
        }
    }

    /// Whether it is anything for a run of this role.
    fn fits(&self, role: Role) -> bool {
        let Self::Leaves(leaves) = self else {
            // A gate calls no model.
            let model = matches!(self, Self::Tokens(_) | Self::Costs(_) | Self::Silent | Self::SilentAndLost(_));
            return role != Role::Gate || !(model || matches!(self, Self::Ends(Ending::Refused(..))));
        };
        match leaves {
            Leaves::Nothing => true,
            Leaves::Handoff(..) | Leaves::Work(_) => role == Role::Worker,
            Leaves::Forged(_) => role != Role::Gate,
            Leaves::Gates(_) => role == Role::Gate,
            Leaves::Verdict(_) => role == Role::Verifier,
        }
    }

    fn play(self, mut play: Play, call: &Call<'_>) -> Play {
        let reserved = &call.flight.reserved;
        match self {
            Self::Ends(ending) => play.ending = ending,
            Self::Leaves(leaves) => play.leaves = leaves,
            Self::Meets(accident) => play.accident = Some(accident),
            Self::Tokens(times) => {
                play.tokens = Tokens(reserved.tokens.0 * times);
                play.turns = 20 * u32::try_from(times).unwrap_or(1);
            }
            Self::Costs(times) => {
                play.cost_usd = MicroUsd(reserved.cost_usd.0 * times);
                play.turns = 20 * u32::try_from(times).unwrap_or(1);
            }
            Self::Takes(times) => play.lasts = Seconds(reserved.seconds.0 * times),
            Self::Silent => play.tells_usage = false,
            Self::SilentAndLost(after) => {
                play.tells_usage = false;
                play.accident = Some(Accident::BothDie(after));
            }
        }
        play
    }
}

/// The cast of a script: every run does its part, and well where it has none.
#[derive(Debug, Clone)]
pub struct Parts {
    of: BTreeMap<usize, Part>,
    random: Random,
    /// How often each part was played.
    pub played: BTreeMap<&'static str, u64>,
}

impl Cast for Parts {
    fn play(&mut self, call: &Call<'_>) -> Play {
        // Drawn in any case, so that what is left out shifts nothing.
        let share = self.random.between(1, 12);
        let mut play = Play::well(call);
        let reserved = &call.flight.reserved;
        play.lasts = Seconds((reserved.seconds.0 * share / 16).max(1));
        play.tokens = Tokens(reserved.tokens.0 * share / 16);
        play.cost_usd = MicroUsd(reserved.cost_usd.0 * share / 16);
        play.turns = 16;
        match self.of.get(&call.number).filter(|part| part.fits(call.flight.run.role)) {
            Some(part) => {
                *self.played.entry(part.kind()).or_default() += 1;
                part.play(play, call)
            }
            None => play,
        }
    }
}

impl Script {
    /// The night of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let queue = queue(&mut random.branch());
        // Some nights are calm, most are not, some are mad.
        let madness = random.between(1, 10);
        let mut parts = BTreeMap::new();
        let mut chance = random.branch();
        for number in 0..RUNS {
            let part = part(&mut chance);
            if chance.below(12) < madness {
                parts.insert(number, part);
            }
        }
        let mut chance = random.branch();
        let mut troubles = Vec::new();
        for _ in 0..chance.between(0, 4 * madness) {
            let at = Awake::try_from(chance.below(u64::try_from(NIGHT).unwrap_or_default())).unwrap_or_default();
            troubles.push((at, trouble(&mut chance)));
        }
        troubles.sort_unstable();
        Self { seed, queue, parts, troubles }
    }

    /// The world of this night, before anything happens.
    pub fn setup(&self) -> Setup {
        let Queue { parallel, retries, asks, tokens, cost, window, failures, kept, .. } = self.queue;
        let cards: Vec<Card> = self
            .queue
            .cards
            .iter()
            .filter_map(|(stage, text)| Some(Card::parse(stage.parse().ok()?, text).ok()?.card))
            .collect();
        let mut state = State::new("simulated".to_owned());
        let file = |stage: &StageId| format!("stage-cards/{stage}.md");
        state.stages = cards.iter().map(|card| queued(card, file(&card.stage), "main".to_owned())).collect();
        let briefs = cards.into_iter().filter_map(|card| Some((card.stage.clone(), Ok(Box::new(brief(card)?)))));
        let budget = Budget {
            token_cap_total: tokens.map(Tokens),
            cost_cap_usd: cost.map(MicroUsd),
            consecutive_failure_cap: failures,
            window,
            ..Budget::default()
        };
        let policy = Policy {
            work_retries: retries,
            max_parallel: parallel,
            landing: if asks { LandingMode::Ask } else { LandingMode::Auto },
            finished_kept: kept,
            ..Policy::default()
        };
        Setup {
            is_stored: true,
            seed: self.seed,
            begins: DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(22),
            ..Setup::new(Loaded { state, budget }, policy, briefs.collect())
        }
    }

    /// Its agents.
    pub fn cast(&self) -> Parts {
        Parts { of: self.parts.clone(), random: Random::new(!self.seed), played: BTreeMap::new() }
    }
}

fn queue(random: &mut Random) -> Queue {
    let mut cards = Vec::new();
    let count = random.between(1, 4);
    for number in 1..=count {
        let stage = format!("{number:02}-s");
        let verifiers = match random.below(3) {
            0 => "- **Verifier panel:** 2 of V <v@local>; V2 <v2@local>; X <x@local>",
            _ => "- **Verifier:** V <v@local>",
        };
        let mut more = String::new();
        if random.one_in(3) {
            more.push_str("- **Escalation:** W2 <w2@local>\n");
        }
        if number > 1 && random.one_in(3) {
            let _ = writeln!(more, "- **Depends on:** {:02}-s", random.between(1, number - 1));
        }
        // Two stages may change the same file.
        let file = if random.one_in(4) { 1 } else { number };
        let text = format!(
            "# Stage card {stage}: Work\n\n## Metadata\n- **Worker:** W <w@local>\n{verifiers}\n{more}\n## Objective\n\
             Do.\n\n## Deliverables\n1. `{file:02}/`: it\n\n## Acceptance criteria\n1. it works\n\n\
             ## Acceptance command\n```sh\ntrue\n```\n"
        );
        cards.push((stage, text));
    }
    let tokens = random.one_in(2).then(|| random.between(1, 12) * 500_000);
    Queue {
        cards,
        parallel: random.index(3) + 1,
        retries: u32::try_from(random.below(3)).unwrap_or_default(),
        asks: random.one_in(5),
        tokens,
        cost: random.one_in(4).then(|| random.between(2, 40) * 1_000_000),
        window: if random.one_in(4) { Window::Rolling(5) } else { Window::None },
        failures: random.one_in(3).then(|| random.between(1, 3)),
        kept: random.index(4),
    }
}

fn family(who: &Identity) -> Option<FamilyName> {
    let name = match who.name().chars().next() {
        Some('V') => "two",
        Some('X') => "three",
        _ => "one",
    };
    name.parse().ok()
}

fn brief(card: Card) -> Option<Brief> {
    let placed =
        |who: &Identity| Some(Placed { identity: who.clone(), family: family(who)?, model: Some("m".to_owned()) });
    let worker_caps = Reservation { tokens: Tokens(800_000), cost_usd: MicroUsd(4_000_000), seconds: Seconds(3600) };
    let verifier_caps = Reservation { tokens: Tokens(300_000), cost_usd: MicroUsd(1_500_000), seconds: Seconds(1800) };
    let everybody = std::iter::once(&card.worker).chain(card.verifiers.seats()).chain(&card.escalation);
    let members = everybody.map(|who| {
        Some(Member { placed: placed(who)?, model_use: ModelUse::Model, worker_caps, verifier_caps, pricing: None })
    });
    Some(Brief {
        fallbacks: BTreeMap::new(),
        card_sha256: "0".repeat(64),
        worker: placed(&card.worker)?,
        verifiers: card.verifiers.seats().iter().map(placed).collect::<Option<_>>()?,
        worker_caps,
        verifier_caps: card.verifiers.seats().iter().map(|_| verifier_caps).collect(),
        gate_caps: Some(Reservation { seconds: Seconds(900), ..Reservation::default() }),
        members: members.collect::<Option<_>>()?,
        card,
    })
}

fn part(random: &mut Random) -> Part {
    use RefusalClass::{Auth, Billing, Configuration, Context, Limit, Model, Network, Overloaded};
    let seconds = |random: &mut Random| Seconds(random.between(1, 1800));
    match random.below(24) {
        0 => Part::Ends(Ending::Exits(1)),
        1 => Part::Ends(Ending::Crashes),
        2 => Part::Ends(Ending::Hangs),
        3 => Part::Ends(Ending::Floods),
        4 => Part::Ends(Ending::Refused(Limit, Some(Seconds(random.between(60, 7200))))),
        5 => Part::Ends(Ending::Refused(Limit, None)),
        6 => {
            let others = [Auth, Billing, Configuration, Context, Model, Network, Overloaded, Overloaded, Network];
            Part::Ends(Ending::Refused(others[random.index(others.len())], None))
        }
        7 => Part::Tokens(random.between(2, 3)),
        8 => Part::Costs(random.between(2, 3)),
        9 => Part::Takes(random.between(2, 3)),
        10 => Part::Silent,
        11 => Part::SilentAndLost(seconds(random)),
        12 => Part::Meets(Accident::DiesUnclaimed),
        13 => Part::Meets(Accident::SupervisorDies(seconds(random))),
        14 => Part::Meets(Accident::BothDie(seconds(random))),
        15 => Part::Meets(match random.below(3) {
            0 => Accident::DoesNotStart,
            _ => Accident::DiesAtItsRecord(u32::try_from(random.below(10)).unwrap_or_default()),
        }),
        16 | 17 => {
            let forgeries = [Forgery::OtherStage, Forgery::Torn, Forgery::MoreKeys];
            Part::Leaves(Leaves::Forged(forgeries[random.index(forgeries.len())]))
        }
        18 => Part::Leaves(Leaves::Nothing),
        19 => Part::Leaves(Leaves::Work(Change::Deliverables)),
        _ => Part::Leaves(of_a_role(random)),
    }
}

/// What a run leaves that knows what it is for.
fn of_a_role(random: &mut Random) -> Leaves {
    use HandoffStatus::{Blocked, Fail, Partial, Pass};
    let all = [
        Leaves::Handoff(Partial, Change::Deliverables),
        Leaves::Handoff(Fail, Change::Deliverables),
        Leaves::Handoff(Blocked, Change::Deliverables),
        Leaves::Handoff(Pass, Change::Outside),
        Leaves::Handoff(Pass, Change::Nothing),
        Leaves::Handoff(Pass, Change::Strays),
        Leaves::Handoff(Pass, Change::Gone),
        Leaves::Gates(GatePlay::Fails(0)),
        Leaves::Gates(GatePlay::Fails(0)),
        Leaves::Gates(GatePlay::Fails(1)),
        Leaves::Gates(GatePlay::Killed),
        Leaves::Verdict(Judgement::Fail),
        Leaves::Verdict(Judgement::Fail),
        Leaves::Verdict(Judgement::Blocked),
    ];
    all[random.index(all.len())]
}

fn trouble(random: &mut Random) -> Trouble {
    let time = |random: &mut Random, most: u64| Awake::try_from(random.between(1, most)).unwrap_or_default() * MINUTE;
    let stage = random.index(4);
    match random.below(30) {
        0..6 => Trouble::TickDies(u32::try_from(random.below(60)).unwrap_or_default()),
        6..9 => {
            let before = u32::try_from(random.below(60)).unwrap_or_default();
            Trouble::PowerCutInTick(before, time(random, 60))
        }
        9 => Trouble::PowerCut(time(random, 60)),
        10 => Trouble::Twice,
        11 => Trouble::SupervisorKilled(stage),
        12 => Trouble::RunKilled(stage),
        13 => Trouble::PulsesLost(time(random, 120)),
        14 => Trouble::NoTimer(time(random, 120)),
        15 => Trouble::LateTimer(time(random, 30)),
        16 => Trouble::Sleep(time(random, 240)),
        17 => {
            let by = time(random, 180);
            Trouble::ClockSet(if random.one_in(2) { by } else { -by })
        }
        18 => Trouble::DiskFull(time(random, 30)),
        19 => Trouble::BaseOverlaps(stage),
        20 => Trouble::BaseMoves,
        21 => Trouble::Edits(stage, time(random, 90)),
        22 => Trouble::GitBusy(time(random, 60)),
        23 => match random.below(2) {
            0 => Trouble::BaseGone(time(random, 30)),
            _ => Trouble::CardBroken(stage, time(random, 60)),
        },
        24 => Trouble::Offline(random.index(3), time(random, 60)),
        _ => Trouble::Operator(order(random)),
    }
}

fn order(random: &mut Random) -> Order {
    let stage = random.index(4);
    match random.below(16) {
        0 => Order::Halt,
        1..4 => Order::Resume,
        4 => Order::Cancel(stage),
        5 => Order::Skip(stage),
        6 | 7 => Order::Requeue(stage),
        8 => Order::Answer(stage),
        9 => Order::Approve(stage),
        10 => Order::Reject(stage),
        11 => Order::Rework(stage),
        12 => Order::Tokens(random.between(1, 20) * 500_000),
        13 => Order::Cost(random.between(2, 40) * 1_000_000),
        14 => Order::Drain(random.between(1, 4) * 500_000),
        _ => Order::StopDrain,
    }
}
