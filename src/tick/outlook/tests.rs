//! Whole nights of queues whose agents are known, and whether what is said of them is what then comes.

use std::cell::Cell;

use super::*;
use crate::core::budget::HaltReason;
use crate::core::card::Card;
use crate::core::exit::{RefusalClass, RefusalScope};
use crate::core::handoff::HandoffStatus;
use crate::core::manifest::Manifest;
use crate::core::observation::Observation;
use crate::core::operate::queued;
use crate::core::outlook::Verdict;
use crate::core::outlook::agents::{End, Refused, Sample, Took};
use crate::core::outlook::chance::Chance;
use crate::core::outlook::fate::Limit;
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::schedule::LocalRules;
use crate::core::verdict::Judgement;
use crate::families::Families;
use crate::sim::cast::{Change, Ending, GatePlay, Leaves};
use crate::sim::{Call, Cast, Night, Play, Setup};

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-{text}:00Z").parse().expect("time")
}

/// The runs that an agent is drawn from: so many of each end, each of which takes this.
fn runs(role: Role, ends: &[(End, usize)], minutes: u64, tokens: u64) -> Vec<Sample> {
    let family = match role {
        Role::Worker => Some("claude"),
        Role::Verifier => Some("codex"),
        Role::Gate => None,
    };
    let model = match role {
        Role::Worker => Some("claude-opus-5".to_owned()),
        Role::Verifier => Some("gpt-5.6-sol".to_owned()),
        Role::Gate => None,
    };
    let doer = Doer { role, family: family.map(|name| name.parse().expect("family")), model };
    let took = Took {
        seconds: Seconds(minutes * 60),
        tokens: Tokens(tokens),
        cost_usd: MicroUsd(tokens * 5),
        is_unknown: false,
    };
    let one = |(end, count): &(End, usize)| vec![Sample { doer: doer.clone(), end: *end, took }; *count];
    ends.iter().flat_map(one).collect()
}

/// So many that what usually happens besides hardly ever does.
const MANY: usize = 100_000;

/// Workers of twenty minutes, gates of one, verifiers of four, all of which do well.
fn good() -> Vec<Sample> {
    [
        runs(Role::Worker, &[(End::Good, MANY)], 20, 1_000_000),
        runs(Role::Gate, &[(End::Good, MANY)], 1, 0),
        runs(Role::Verifier, &[(End::Good, MANY)], 4, 200_000),
    ]
    .concat()
}

/// The night of these stages, from one in the morning on.
fn scene(stages: &[(&str, &str)], samples: &[Sample]) -> Scene {
    let manifest = Manifest::default();
    let families = Families::new(&manifest.families).expect("families");
    let mut state = State::new("r".to_owned());
    let mut briefs = BTreeMap::new();
    for (id, more) in stages {
        let text = format!(
            "# Stage card {id}: Work\n\n## Metadata\n- **Worker:** Claude Opus 5 <claude-opus-5@local>\n\
             - **Verifier:** GPT-5.6 Sol <gpt-5-6-sol@local>\n{more}\n## Objective\nDo.\n\n## Deliverables\n1. `{id}`: it\n\n\
             ## Acceptance criteria\n1. it works\n\n## Acceptance command\n```sh\ntrue\n```\n"
        );
        let stage: StageId = id.parse().expect("id");
        let card = Card::parse(stage.clone(), &text).expect("card").card;
        state.stages.push(queued(&card, format!("{id}.md"), "main".to_owned()));
        briefs.insert(stage, Ok(brief::of_card(&families, &manifest, card, "0".repeat(64)).expect("brief")));
    }
    let known: Vec<Doer> = samples.iter().map(|sample| sample.doer.clone()).collect();
    let doers: BTreeSet<Doer> = doers(&briefs).into_iter().chain(known).collect();
    let tips = BTreeMap::from([("main".to_owned(), Some(crate::core::ids::ObjectId::of_bytes([255; 20])))]);
    let first = Observation { briefs: briefs.clone(), tips: tips.clone(), ..Observation::default() };
    let now = at("21T01:00");
    Scene {
        now,
        until: now + LONGEST,
        loaded: Loaded { state, budget: Budget::default() },
        first,
        briefs,
        contracts: BTreeMap::new(),
        retries: BTreeMap::new(),
        tips,
        committer: Some("Operator <operator@local>".parse().expect("identity")),
        policy: Policy { tells: BTreeSet::new(), ..Policy::default() },
        agents: Agents::new(&doers, samples),
        fleet: Vec::new(),
        timer: Some(Seconds(300)),
        seed: 1,
    }
}

fn outlook(scene: &Scene, nights: u32) -> Outlook {
    let fates = play_all(scene, nights, &mut |_, _| {});
    outlook::of(&Played {
        now: scene.now,
        until: scene.until,
        seed: scene.seed,
        timer: scene.timer,
        state: &scene.loaded.state,
        budget: &scene.loaded.budget,
        nights: &fates,
        needed: None,
        agents: &scene.agents,
    })
}

fn ends(outlook: &Outlook) -> String {
    outlook.ends_at.expect("it ends").median.format("%dT%H:%M").to_string()
}

#[test]
fn a_queue_ends_when_its_stages_have_gone_through_one_after_another_or_side_by_side() {
    let mut night = scene(&[("01-a", ""), ("02-b", "")], &good());
    let one_at_a_time = outlook(&night, 20);
    assert_eq!((ends(&one_at_a_time), one_at_a_time.landed.median), ("21T01:50".to_owned(), 2));
    assert_eq!(one_at_a_time.spend[0].adds.median, 2_400_000, "tokens");
    assert_eq!(one_at_a_time.spend[1].adds.median, 12_000_000, "cost");
    assert_eq!(one_at_a_time.spend[2].adds.median, 2 * 25 * 60, "time of runs");
    assert_eq!((one_at_a_time.verdict, &one_at_a_time.first_limit), (Verdict::Fine, &None));
    night.policy.max_parallel = 2;
    // Both are verified at once; the one that lands second is put on top of the first, and gated again.
    assert_eq!(ends(&outlook(&night, 20)), "21T01:26");
    let mut dependent = scene(&[("01-a", ""), ("02-b", "- **Depends on:** 01-a\n")], &good());
    dependent.policy.max_parallel = 2;
    assert_eq!(ends(&outlook(&dependent, 20)), "21T01:50");
}

#[test]
fn the_same_seed_is_the_same_night_and_another_number_of_threads_changes_nothing() {
    let mixed = [
        runs(Role::Worker, &[(End::Good, 8), (End::Silent, 1), (End::Crashed, 1)], 20, 1_000_000),
        runs(Role::Gate, &[(End::Good, 6), (End::Bad, 4)], 1, 0),
        runs(Role::Verifier, &[(End::Good, 6), (End::Bad, 4)], 4, 200_000),
    ]
    .concat();
    let mut night = scene(&[("01-a", ""), ("02-b", "")], &mixed);
    let together = play_all(&night, 30, &mut |_, _| {});
    let alone: Vec<Fate> = (0..30).map(|number| night::play(&night, number)).collect();
    assert_eq!(together, alone);
    night.seed = 2;
    assert_ne!(play_all(&night, 30, &mut |_, _| {}), alone);
}

#[test]
fn a_run_under_way_ends_sooner_by_what_it_has_run() {
    let mut night = scene(&[("01-a", "")], &good());
    let begun = turn_once(&night);
    night.loaded = begun;
    let run = night.loaded.state.flights().next().expect("under way").1.run.clone();
    let pulse = crate::core::observation::Pulse {
        elapsed: Some(Seconds(15 * 60)),
        silent_for: None,
        watched: crate::core::observation::Watched::BySupervisor,
    };
    night.first = Observation::default();
    night.first.runs.insert(run, crate::core::observation::Sighting::Running(pulse));
    assert_eq!(ends(&outlook(&night, 20)), "21T01:10");
}

/// What is known after the first tick of a night.
fn turn_once(night: &Scene) -> Loaded {
    let mut world = world::Ahead::new(night, 0);
    match crate::tick::engine::turn(&mut world, night.loaded.clone(), 0) {
        Ok(turned) => turned.loaded,
        Err(never) => match never {},
    }
}

#[test]
fn a_cap_that_binds_stops_the_night_and_the_advice_is_enough() {
    let mut night = scene(&[("01-a", ""), ("02-b", ""), ("03-c", "")], &good());
    night.loaded.budget.token_cap_total = Some(Tokens(5_000_000));
    let stopped = outlook(&night, 40);
    let first = stopped.first_limit.expect("a limit");
    assert_eq!((first.limit, first.percent), (Limit::Halt(HaltReason::TokenCap), 100));
    assert_eq!((stopped.verdict, stopped.spend[0].halts_percent), (Verdict::Look, 100));
    assert!((1..3).contains(&stopped.landed.median), "{:?}", stopped.landed);
    let needed = needed(&mut night, 40);
    assert!(needed.tokens > Tokens(5_000_000), "{needed:?}");
    night.loaded.budget.token_cap_total = Some(needed.tokens);
    let goes = outlook(&night, 40);
    assert!(goes.spend[0].halts_percent <= 10 && goes.landed.median == 3, "{:?}", goes.landed);
}

#[test]
fn a_window_that_moves_on_lets_the_night_go_on_where_a_timer_looks() {
    let mut night = scene(&[("01-a", ""), ("02-b", "")], &good());
    night.loaded.budget.token_cap_total = Some(Tokens(4_000_000));
    night.loaded.budget.window = crate::core::budget::Window::UtcDay;
    let budget = &mut night.loaded.budget;
    budget.book(crate::core::budget::Spend { tokens: Tokens(1_000_000), ..Default::default() }, at("21T00:10"));
    night.now = at("21T22:00");
    night.until = at("22T12:00");
    let goes_on = outlook(&night, 20);
    assert_eq!((goes_on.landed.median, goes_on.limits[0].percent), (2, 100));
    // The first is verified, its successor is turned away, and begins at midnight.
    assert_eq!(ends(&goes_on), "22T00:25");
    night.timer = None;
    let stays = outlook(&night, 20);
    assert_eq!(stays.landed.median, 1, "without a timer nobody comes by");
}

#[test]
fn a_provider_is_waited_for_until_it_answers_again() {
    let wait = |wait| {
        let refused = Refused { class: RefusalClass::Limit, scope: RefusalScope::Family, wait };
        let worker = runs(Role::Worker, &[(End::Good, MANY), (End::Refused(refused), MANY)], 20, 1_000);
        scene(&[("01-a", "")], &[worker, good().split_off(MANY)].concat())
    };
    let night = outlook(&wait(Some(Seconds(7_200))), 60);
    let first = night.first_limit.expect("a limit");
    assert_eq!(first.limit, Limit::Provider("claude".parse().expect("family")));
    assert!((30..70).contains(&first.percent), "{}", first.percent);
    assert_eq!(first.at.early, at("21T01:20"));
    assert_eq!((night.landed.low, night.all_land_percent), (1, 100), "no attempt is used up");
    let late = night.ends_at.expect("ends").late;
    assert!(late >= at("21T03:45") + TimeDelta::minutes(5), "{late}");
}

#[test]
fn the_curfew_holds_what_has_not_begun() {
    let mut night = scene(&[("01-a", ""), ("02-b", "")], &good());
    let curfew = serde_json::from_str("[\"01:10-06:00\"]").expect("curfew");
    night.policy.local = LocalRules { curfew, ..LocalRules::default() };
    let held = outlook(&night, 20);
    let first = held.first_limit.clone().expect("a limit");
    assert_eq!((first.limit, first.percent, first.at.median), (Limit::Curfew, 100, at("21T01:25")));
    assert_eq!(ends(&held), "21T06:25");
    night.until = at("21T05:00");
    let early = outlook(&night, 20);
    assert_eq!((early.landed.median, early.goes_on_percent), (1, 100));
    assert_eq!(early.queue[1].otherwise.as_ref().map(|other| other.code.as_str()), Some("curfew"));
}

#[test]
fn what_is_halted_or_stands_behind_what_has_failed_does_not_run() {
    let mut night = scene(&[("01-a", "")], &good());
    let halt = crate::core::budget::Halt { reason: HaltReason::Operator, detail: "releasing".to_owned() };
    night.loaded.budget.halt(vec![halt], night.now);
    let halted = outlook(&night, 5);
    assert_eq!(halted.verdict, Verdict::Nothing);
    let nothing = halted.nothing.expect("certain");
    assert!(nothing.contains("releasing") && nothing.contains("autometta resume"), "{nothing}");
    let behind = outlook(&scene(&[("02-b", "- **Depends on:** 01-a\n")], &good()), 5);
    let nothing = behind.nothing.expect("certain");
    assert!(nothing.contains("02-b waits for 01-a"), "{nothing}");
    let empty = outlook(&scene(&[], &good()), 5);
    assert!(empty.nothing.expect("certain").contains("add-stage"));
}

/// A repository whose agents have habits of their own, and so many of their runs.
fn habits(number: u64, count: usize) -> Vec<Sample> {
    let mut habit = Chance::new(99, number, "habits");
    let mut share = |most: f64| habit.fraction() * most;
    let (asks, gates, refuses, slow) = (share(0.3), share(0.6), share(0.6), share(1.0));
    let mut drawn = Chance::new(number, u64::try_from(count).expect("count"), "runs");
    let mut all = Vec::new();
    for _ in 0..count {
        let mut is = |share: f64| drawn.fraction() < share;
        let ends = [
            (Role::Worker, if is(asks) { End::Asked } else { End::Good }),
            (Role::Gate, if is(gates) { End::Bad } else { End::Good }),
            (Role::Verifier, if is(refuses) { End::Bad } else { End::Good }),
        ];
        let length = if is(slow) { 40 } else { 10 };
        for (role, end) in ends {
            let (minutes, tokens) = if role == Role::Gate { (1, 0) } else { (length, 20_000 * length) };
            all.extend(runs(role, &[(end, 1)], minutes, tokens));
        }
    }
    all
}

/// What is said from sixty runs of each kind, against what happens by the habits that these runs came from. Each figure
/// by itself may be off as far as sixty runs are; over many repositories they are right, at every height.
#[test]
fn what_is_said_to_happen_in_so_many_nights_happens_in_so_many() {
    let stages = [("01-a", ""), ("02-b", ""), ("03-c", "- **Depends on:** 01-a\n")];
    let (mut said, mut came) = (Vec::new(), Vec::new());
    let mut within = (0, 0);
    for number in 0..16 {
        let night = |count: usize, seed: u64| {
            let mut scene = scene(&stages, &habits(number, count));
            (scene.seed, scene.until) = (seed, at("21T03:00"));
            scene.loaded.budget.token_cap_total = Some(Tokens(6_000_000));
            scene
        };
        let foretold = outlook(&night(60, 1), 60);
        let truth = play_all(&night(3_000, 2), 60, &mut |_, _| {});
        let share = |holds: &dyn Fn(&Fate) -> bool| {
            f64::from(u32::try_from(truth.iter().filter(|fate| holds(fate)).count()).expect("count")) / 60.0
        };
        let mut note = |percent: u32, share: f64| {
            said.push(f64::from(percent) / 100.0);
            came.push(share);
        };
        for stage in &foretold.queue {
            note(stage.lands_percent, share(&|fate| fate.landed.contains_key(&stage.stage)));
        }
        note(foretold.goes_on_percent, share(&|fate| fate.quiet_at.is_none()));
        let capped = |fate: &Fate| fate.limits.iter().any(|(limit, _)| *limit == Limit::Halt(HaltReason::TokenCap));
        note(foretold.spend[0].halts_percent, share(&capped));
        let landed = |fate: &&Fate| u64::try_from(fate.landed.len()).expect("count");
        let range = foretold.landed;
        within.0 += truth.iter().filter(|fate| (range.low..=range.high).contains(&landed(fate))).count();
        within.1 += truth.len();
    }
    for (low, high) in [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.01)] {
        let here: Vec<(f64, f64)> =
            said.iter().copied().zip(came.iter().copied()).filter(|(said, _)| (low..high).contains(said)).collect();
        let count = f64::from(u32::try_from(here.len()).expect("count"));
        assert!(count >= 4.0, "nothing was said between {low} and {high}: {said:?}");
        let (said, came) = here.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / count, sum.1 + pair.1 / count));
        assert!((said - came).abs() < 0.08, "between {low} and {high}: {said:.2} said, {came:.2} came");
    }
    assert!(within.0 * 100 >= within.1 * 80, "eight of ten nights lie in the range: {within:?}");
}

/// The agents of a scene on the stage of the other simulated world, the one with disks, locks and processes.
struct Drawing<'a> {
    scene: &'a Scene,
    night: u64,
    /// Set where a run has come out in a way that this other world tells apart, and the outlook's does not: what lies
    /// outside a card stays in the worktree of the attempts that follow, a refused worker leaves nothing, and a cap has
    /// figures.
    differs: &'a Cell<bool>,
}

impl Cast for Drawing<'_> {
    fn play(&mut self, call: &Call<'_>) -> Play {
        let flight = call.flight;
        let doer = Doer { role: flight.run.role, family: flight.family.clone(), model: flight.model.clone() };
        let mut chance = Chance::new(self.scene.seed, self.night, &flight.run.to_string());
        let drawn = self.scene.agents.draw(&doer, &flight.reserved, None, &mut chance);
        let is_told_apart =
            matches!((flight.run.role, drawn.end), (Role::Worker, End::Bad | End::Refused(_)) | (_, End::OverCap(_)));
        self.differs.set(self.differs.get() || is_told_apart);
        let leaves = match (flight.run.role, drawn.end) {
            (Role::Worker, End::Good) => Leaves::Handoff(HandoffStatus::Pass, Change::Deliverables),
            (Role::Worker, End::GaveUp) => Leaves::Handoff(HandoffStatus::Fail, Change::Deliverables),
            (Role::Worker, End::Asked) => Leaves::Handoff(HandoffStatus::Blocked, Change::Deliverables),
            // A worker that was cut short has worked, and goes on from there.
            (Role::Worker, _) => Leaves::Work(Change::Deliverables),
            (Role::Gate, End::Good) => Leaves::Gates(GatePlay::Passes),
            (Role::Gate, End::Bad) => Leaves::Gates(GatePlay::Fails(0)),
            (Role::Gate, _) => Leaves::Gates(GatePlay::Killed),
            (Role::Verifier, End::Good) => Leaves::Verdict(Judgement::Pass),
            (Role::Verifier, End::Bad) => Leaves::Verdict(Judgement::Fail),
            (Role::Verifier, End::Asked) => Leaves::Verdict(Judgement::Blocked),
            _ => Leaves::Nothing,
        };
        let ending = match drawn.end {
            End::Crashed => Ending::Crashes,
            End::Refused(refused) => Ending::Refused(refused.class, refused.wait),
            _ => Ending::Exits(0),
        };
        let Took { seconds, tokens, cost_usd, .. } = drawn.took;
        let (lasts, turns) = (seconds, 1);
        Play { lasts, tokens, cost_usd, turns, tells_usage: true, ending, leaves, accident: None }
    }
}

/// The light world of the outlook is the one with disks, locks and processes, as long as nothing goes wrong with these.
#[test]
fn both_simulated_worlds_come_to_the_same() {
    let refused = Refused { class: RefusalClass::Limit, scope: RefusalScope::Family, wait: Some(Seconds(1_800)) };
    let mut mixed = [
        runs(
            Role::Worker,
            &[(End::Good, 60), (End::GaveUp, 4), (End::Asked, 4), (End::Crashed, 8), (End::Silent, 4)],
            20,
            100_000,
        ),
        runs(Role::Verifier, &[(End::Refused(refused), 12)], 3, 1_000),
        runs(Role::Gate, &[(End::Good, 60), (End::Bad, 30), (End::Crashed, 10)], 1, 0),
        runs(Role::Verifier, &[(End::Good, 60), (End::Bad, 25), (End::Asked, 5), (End::Silent, 10)], 4, 20_000),
    ]
    .concat();
    // No two end at the same moment: which of them the other world looks at first is its own affair.
    for (number, sample) in (0..).zip(&mut mixed) {
        sample.took.seconds += Seconds(number * 37 % 600);
    }
    let stages = [("01-a", ""), ("02-b", "- **Depends on:** 01-a\n"), ("03-c", ""), ("04-d", "")];
    let mut night = scene(&stages, &mixed);
    night.policy.max_parallel = 2;
    let (mut landed, mut compared) = (0, 0);
    for number in 0..60 {
        let setup =
            Setup { begins: night.now, ..Setup::new(night.loaded.clone(), night.policy.clone(), night.briefs.clone()) };
        let differs = Cell::new(false);
        let mut other = Night::new(setup, Drawing { scene: &night, night: number, differs: &differs }).expect("night");
        other.run_until(night.until);
        if differs.get() {
            continue;
        }
        compared += 1;
        let fate = night::play(&night, number);
        for stage in &other.loaded().state.stages {
            let stands = match &stage.life {
                Life::Over(over) => over.reason.as_ref().map_or("landed", |reason| &reason.code),
                _ => "open",
            };
            let left = fate.left.get(&stage.id).map(|code| match code.as_str() {
                "dependency" | "halted" => "open",
                code => code,
            });
            assert_eq!(left.unwrap_or("landed"), stands, "night {number}, {}: {:#?}", stage.id, other.story());
        }
        assert_eq!(fate.spent.tokens, other.loaded().budget.lifetime_tokens_spent, "night {number}");
        landed += fate.landed.len();
    }
    assert!(compared >= 35 && (compared..compared * 4).contains(&landed), "{landed} landed in {compared} nights");
}
