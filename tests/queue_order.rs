//! The queue as the pure machine decides it: nobody starves, families have their limits, repeats happen once, and what
//! an operator moves, holds and releases.

#![allow(clippy::expect_used, reason = "a broken test environment should fail loudly")]

#[path = "support/briefs.rs"]
mod briefs;

use std::collections::{BTreeMap, BTreeSet};

use autometta::core::archive;
use autometta::core::budget::Budget;
use autometta::core::card::Card;
use autometta::core::dependencies;
use autometta::core::ids::{FamilyName, Identity, ObjectId, StageId};
use autometta::core::notice::NoticeKind;
use autometta::core::observation::{Brief, Observation, Placed};
use autometta::core::operate::{Command, Place, Refused, operate, queued};
use autometta::core::policy::Policy;
use autometta::core::quantity::{MicroUsd, Seconds, Tokens};
use autometta::core::state::{
    Ballot, Candidate, EndStatus, Life, Over, Reservation, Said, Seat, Stage, State, Verifying, Work,
};
use autometta::core::step::{Hold, Step, hold, order, step};
use autometta::core::wait::MOST_PASSES;
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

fn id(name: &str) -> StageId {
    name.parse().expect("id")
}

fn object(number: u64) -> ObjectId {
    format!("{number:040x}").parse().expect("object")
}

fn card(name: &str, more: &str, claims: &[&str]) -> Card {
    let claims: Vec<String> = claims.iter().map(|path| format!("- `{path}`: it\n")).collect();
    let claims = if claims.is_empty() { "none\n".to_owned() } else { claims.concat() };
    let text = format!(
        "# Stage card {name}: Work\n\n## Metadata\n- **Worker:** W <w@local>\n- **Verifier:** V <v@local>\n{more}\n\
         ## Objective\nDo.\n\n## Deliverables\n{claims}\n## Acceptance criteria\n1. it works\n"
    );
    Card::parse(id(name), &text).expect("card").card
}

/// The family of an identity: `two` for V, `three` for X, else `one`.
fn placed(who: &Identity) -> Placed {
    let family = match who.name().as_bytes().first() {
        Some(b'V') => "two",
        Some(b'X') => "three",
        _ => "one",
    };
    Placed { identity: who.clone(), family: family.parse().expect("family"), model: Some(who.handle().to_owned()) }
}

fn brief(card: &Card) -> Brief {
    let caps = Reservation { tokens: Tokens(1), cost_usd: MicroUsd(1), seconds: Seconds(1) };
    briefs::brief(card, placed, caps, None)
}

/// A queue whose runs end when the test says so.
struct Queue {
    state: State,
    budget: Budget,
    policy: Policy,
    cards: BTreeMap<StageId, Card>,
    now: DateTime<Utc>,
}

impl Queue {
    fn new(cards: &[Card], most: usize) -> Self {
        let policy = Policy { max_parallel: most, ..Policy::default() };
        let state = State::new("r".to_owned());
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let mut queue = Self { state, budget: Budget::default(), policy, cards: BTreeMap::new(), now };
        for card in cards {
            queue.add(card);
        }
        queue
    }

    fn add(&mut self, card: &Card) {
        self.cards.insert(card.stage.clone(), card.clone());
        let stage = queued(card, format!("{}.md", card.stage), "main".to_owned());
        self.say(Command::AddStages(vec![stage])).expect("queued");
    }

    fn say(&mut self, command: Command) -> Result<Step, Refused> {
        let done = operate(&self.state, &self.budget, command, self.now)?;
        (self.state, self.budget) = (done.state.clone(), done.budget.clone());
        Ok(done)
    }

    fn sight(&self) -> Observation {
        let briefs = self.cards.iter().map(|(id, card)| (id.clone(), Ok(Box::new(brief(card)))));
        let mut seen = Observation {
            tips: BTreeMap::from([("main".to_owned(), Some(object(1)))]),
            briefs: briefs.collect(),
            ..Observation::default()
        };
        dependencies::see_all_there(&self.state.stages, &mut seen);
        seen
    }

    /// One step; gives those that began.
    fn step(&mut self) -> Vec<String> {
        let seen = self.sight();
        self.step_seeing(&seen)
    }

    fn step_seeing(&mut self, seen: &Observation) -> Vec<String> {
        let busy = |state: &State| -> BTreeSet<StageId> {
            let busy = state.stages.iter().filter(|stage| stage.life.is_in_progress());
            busy.map(|stage| stage.id.clone()).collect()
        };
        let before = busy(&self.state);
        let done = step(&self.state, &self.budget, seen, &self.policy, self.now);
        let again = step(&done.state, &done.budget, seen, &self.policy, self.now);
        assert_eq!(again.state, done.state, "with nothing new, nothing moves");
        (self.state, self.budget) = (done.state, done.budget);
        busy(&self.state).difference(&before).map(ToString::to_string).collect()
    }

    fn stage(&mut self, name: &str) -> &mut Stage {
        self.state.stage_mut(&id(name)).expect("stage")
    }

    fn end(&mut self, name: &str, status: EndStatus) {
        let (now, number) = (self.now, u64::try_from(self.state.stages.len()).expect("few"));
        let commit = (status == EndStatus::Completed).then(|| object(number));
        let stage = self.stage(name);
        stage.life = Life::Over(Over { status, reason: None, at: now, commit, kept: None });
        stage.chores.clear();
    }

    fn hold(&self, name: &str) -> Option<Hold> {
        let stage = self.state.stage(&id(name)).expect("stage");
        hold(&self.state.stages, stage, &self.budget, &self.policy, self.now)
    }

    fn line(&self) -> Vec<String> {
        order(&self.state.stages).into_iter().map(|index| self.state.stages[index].id.to_string()).collect()
    }
}

#[test]
fn a_stage_of_low_priority_is_passed_over_no_more_than_so_often() {
    let mut queue = Queue::new(&[card("01-low", "- **Priority:** 5\n", &["low"])], 1);
    queue.add(&card("02-first", "- **Priority:** -1\n", &["a02"]));
    let mut passed = 0;
    for number in 3..40 {
        let begun = queue.step();
        assert_eq!(begun.len(), 1, "the place is free");
        if begun == ["01-low"] {
            break;
        }
        passed += 1;
        queue.end(&begun[0], EndStatus::Completed);
        queue.add(&card(&format!("{number:02}-urgent"), "- **Priority:** -1\n", &[&format!("a{number}")]));
    }
    assert_eq!(passed, MOST_PASSES, "by their priority the others would go first for ever");
    assert!(queue.stage("01-low").wait.is_empty(), "what it waited for is forgotten once it has begun");
}

#[test]
fn small_stages_do_not_keep_the_paths_of_a_large_one_for_ever() {
    let mut queue = Queue::new(&[], 2);
    for (name, path) in [("01-a", "src/a"), ("02-b", "src/b")] {
        queue.add(&card(name, "", &[path]));
    }
    assert_eq!(queue.step(), ["01-a", "02-b"]);
    queue.add(&card("03-large", "", &["src/"]));
    let mut flying = vec!["01-a".to_owned(), "02-b".to_owned()];
    let mut seen_reserved = false;
    // One of the two ends at a time, so that `src/` is never free by itself.
    for number in 4..60 {
        let ended = flying.remove(0);
        queue.end(&ended, EndStatus::Completed);
        queue.add(&card(&format!("{number:02}-small"), "- **Priority:** -3\n", &[&format!("src/{number}")]));
        let begun = queue.step();
        flying.extend(begun);
        seen_reserved |=
            matches!(queue.hold(&format!("{number:02}-small")), Some(Hold::Reserved(by, _)) if by == id("03-large"));
        if flying.iter().any(|name| name == "03-large") {
            assert!(number <= 4 + MOST_PASSES + 2, "it began after {number}");
            assert!(seen_reserved, "what it claims was kept free");
            return;
        }
        assert!(!flying.is_empty(), "nobody can go on");
    }
    panic!("it never began: {:?}", queue.hold("03-large"));
}

#[test]
fn a_stage_that_cannot_start_for_other_reasons_is_not_passed_over() {
    let mut queue =
        Queue::new(&[card("01-held", "", &["x"]), card("02-after", "- **Depends on:** 01-held\n", &["y"])], 1);
    queue.say(Command::Hold { stage: id("01-held"), why: "later".to_owned() }).expect("held");
    for number in 3..20 {
        let name = format!("{number:02}-other");
        queue.add(&card(&name, "", &[&format!("z{number}")]));
        assert_eq!(queue.step(), std::slice::from_ref(&name));
        queue.end(&name, EndStatus::Completed);
    }
    assert_eq!(queue.stage("01-held").wait.passed_over, 0);
    assert_eq!(queue.stage("02-after").wait.passed_over, 0);
    queue.say(Command::Release(id("01-held"))).expect("released");
    assert_eq!(queue.step(), ["01-held"]);
}

#[test]
fn as_many_runs_of_a_family_are_in_flight_as_may_be_and_another_familys_go_on() {
    let other = "## Metadata\n- **Worker:** X <x@local>";
    let mut cards = vec![card("01-a", "", &["a"]), card("02-b", "", &["b"]), card("03-c", "", &["c"])];
    let text = "# Stage card 04-d: Work\n\n## Metadata\n- **Worker:** X <x@local>\n- **Verifier:** V <v@local>\n\n\
                ## Objective\nDo.\n\n## Deliverables\n1. `d`: it\n\n## Acceptance criteria\n1. it works\n";
    assert!(text.contains(other));
    cards.push(Card::parse(id("04-d"), text).expect("card").card);
    let mut queue = Queue::new(&cards, 4);
    let one: FamilyName = "one".parse().expect("family");
    queue.policy.family_parallel = BTreeMap::from([(one, 2)]);
    assert_eq!(queue.step(), ["01-a", "02-b", "04-d"]);
    assert_eq!(queue.step(), Vec::<String>::new());
    assert_eq!(queue.stage("03-c").wait.passed_over, 1, "04-d went before it");
    queue.end("02-b", EndStatus::Completed);
    assert_eq!(queue.step(), ["03-c"]);
}

#[test]
fn a_verifier_goes_before_a_new_worker_of_its_family_and_a_panel_asks_as_many_seats_as_fit() {
    let text = "# Stage card 01-a: Work\n\n## Metadata\n- **Worker:** X <x@local>\n\
                - **Verifier panel:** 2 of W <w@local>; W2 <w2@local>\n\n## Objective\nDo.\n\n## Deliverables\n1. `a`: it\n\n\
                ## Acceptance criteria\n1. it works\n";
    let panel = Card::parse(id("01-a"), text).expect("card").card;
    let mut queue = Queue::new(&[panel, card("02-b", "- **Priority:** -5\n", &["b"])], 3);
    queue.policy.family_parallel = BTreeMap::from([("one".parse().expect("family"), 1)]);
    let (verifiers, now) = (queue.stage("01-a").verifiers.clone(), queue.now);
    let run = "01-a.1.worker".parse().expect("run");
    let stage = queue.stage("01-a");
    stage.attempt = 1;
    stage.life = Life::Verifying(Verifying {
        work: Work { base_commit: object(1), started_at: now },
        candidate: Candidate { commit: object(5), tree: object(6), run },
        gate: None,
        seats: Seat::open(&verifiers),
    });
    let flying = |queue: &Queue| -> Vec<String> { queue.state.flights().map(|(_, it)| it.run.to_string()).collect() };
    assert_eq!(queue.step(), Vec::<String>::new(), "02-b is of the family, and a seat goes first");
    assert_eq!(flying(&queue), ["01-a.1.verifier-1"]);
    // The first has voted.
    let Life::Verifying(verifying) = &mut queue.stage("01-a").life else { panic!("it is judged") };
    let flight = verifying.seats[0].flight.take().expect("it flies");
    let ballot = Ballot { run: flight.run, said: Said::Pass, words: String::new(), criteria: Vec::new() };
    verifying.seats[0].vote = Some(ballot);
    assert_eq!(queue.step(), Vec::<String>::new());
    assert_eq!(flying(&queue), ["01-a.1.verifier-2"]);
    queue.end("01-a", EndStatus::Completed);
    assert_eq!(queue.step(), ["02-b"]);
}

#[test]
fn a_stage_waits_until_what_it_depends_on_is_in_its_own_base() {
    let mut queue = Queue::new(&[card("01-a", "", &["a"]), card("02-b", "- **Depends on:** 01-a\n", &["b"])], 2);
    assert_eq!(queue.step(), ["01-a"]);
    queue.end("01-a", EndStatus::Completed);
    let wanted = object(2);
    // Nobody has looked: it stays.
    let mut seen = queue.sight();
    seen.foundations.clear();
    assert_eq!(queue.step_seeing(&seen), Vec::<String>::new());
    let found = |tip: u64, missing: &[&str]| autometta::core::wait::Foundation {
        tip: object(tip),
        commits: vec![wanted.clone()],
        missing: missing.iter().map(|name| id(name)).collect(),
    };
    seen.foundations.insert(id("02-b"), found(1, &["01-a"]));
    assert_eq!(queue.step_seeing(&seen), Vec::<String>::new());
    let Some(Hold::Elsewhere(stage, commit, branch)) = queue.hold("02-b") else { panic!("{:?}", queue.hold("02-b")) };
    assert_eq!((stage, commit, branch.as_str()), (id("01-a"), wanted.clone(), "main"));
    // A tip that was looked at is not the one that it would be built on.
    seen.foundations.insert(id("02-b"), found(7, &[]));
    assert_eq!(queue.step_seeing(&seen), Vec::<String>::new());
    seen.foundations.insert(id("02-b"), found(1, &[]));
    assert_eq!(queue.step_seeing(&seen), ["02-b"]);
    assert!(queue.stage("02-b").wait.is_empty());
}

#[test]
fn a_repeat_is_queued_again_behind_all_others_once_for_each_round() {
    let daily = card("01-daily", "- **Every:** 1 day\n", &["a"]);
    let mut queue = Queue::new(&[daily, card("02-b", "- **Depends on:** 01-daily\n", &["b"])], 1);
    assert_eq!(queue.step(), ["01-daily"]);
    let began = queue.now;
    queue.now += TimeDelta::hours(2);
    queue.end("01-daily", EndStatus::Completed);
    let first = queue.stage("01-daily").clone();
    assert_eq!(first.repeats_at(), Some(began + TimeDelta::days(1)));
    assert_eq!(queue.step(), ["02-b"]);
    queue.now = began + TimeDelta::hours(23);
    assert_eq!(queue.step(), Vec::<String>::new());
    assert!(matches!(queue.stage("01-daily").life, Life::Over(_)), "not before its time");
    queue.end("02-b", EndStatus::Completed);
    queue.add(&card("03-c", "", &["c"]));
    queue.now = began + TimeDelta::days(1);
    let before = queue.state.clone();
    assert_eq!(queue.step(), ["03-c"], "what was queued before goes first");
    let copies = archive::rounds(&before, &queue.state);
    assert_eq!(copies, [first], "the round that has ended is archived as it was");
    let again = queue.stage("01-daily").clone();
    assert!(matches!(again.life, Life::Pending(_)));
    assert_eq!((again.attempt, again.tokens, again.wait.repeat.as_ref().map(|it| it.rounds)), (1, Tokens(0), Some(1)));
    // Its first round has landed for good, so what depends on it goes on, and it is queued no second time.
    queue.now += TimeDelta::days(3);
    queue.end("03-c", EndStatus::Completed);
    queue.add(&card("04-d", "- **Depends on:** 01-daily\n- **Priority:** -1\n", &["d"]));
    assert_eq!(queue.step(), ["04-d"]);
    queue.end("04-d", EndStatus::Completed);
    assert_eq!(queue.step(), ["01-daily"]);
    assert_eq!(queue.stage("01-daily").attempt, 2, "a fresh attempt under the same name");
    queue.end("01-daily", EndStatus::Failed);
    queue.now += TimeDelta::days(3);
    assert_eq!(queue.step(), Vec::<String>::new());
    assert!(matches!(queue.stage("01-daily").life, Life::Over(_)), "only after a success");
}

#[test]
fn a_repeat_whose_card_is_gone_stays_as_it_is_and_is_told_once() {
    let mut queue = Queue::new(&[card("01-daily", "- **Every:** 1 day\n", &["a"])], 1);
    queue.policy.tells = NoticeKind::ALL.into();
    assert_eq!(queue.step(), ["01-daily"]);
    queue.end("01-daily", EndStatus::Completed);
    queue.now += TimeDelta::days(2);
    let mut seen = queue.sight();
    seen.briefs.insert(id("01-daily"), Err("stage-cards/01-daily.md is gone".to_owned()));
    queue.step_seeing(&seen);
    let told = queue.state.notices.iter().filter(|notice| notice.message.contains("is gone")).count();
    assert_eq!(told, 1, "{:?}", queue.state.notices);
    assert!(matches!(queue.stage("01-daily").life, Life::Over(_)));
    queue.now += TimeDelta::days(2);
    queue.step_seeing(&seen);
    assert_eq!(queue.state.notices.iter().filter(|notice| notice.message.contains("is gone")).count(), 1);
    // A person puts it back, once it is mended.
    queue.say(Command::Requeue(id("01-daily"))).expect("another round");
    assert_eq!(queue.step(), ["01-daily"]);
}

#[test]
fn a_card_that_no_longer_says_every_is_not_repeated() {
    let mut queue = Queue::new(&[card("01-daily", "- **Every:** 1 day\n", &["a"])], 1);
    queue.step();
    queue.end("01-daily", EndStatus::Completed);
    queue.now += TimeDelta::days(2);
    queue.cards.insert(id("01-daily"), card("01-daily", "", &["a"]));
    assert_eq!(queue.step(), Vec::<String>::new());
    assert_eq!(queue.stage("01-daily").wait.repeat, None);
}

#[test]
fn a_stage_begins_at_its_time_and_not_before() {
    let mut queue = Queue::new(&[card("01-later", "", &["a"]), card("02-b", "", &["b"])], 1);
    let at = queue.now + TimeDelta::days(40);
    queue.stage("01-later").wait.not_before = Some(at);
    assert_eq!(queue.hold("01-later"), Some(Hold::Scheduled(at)));
    assert_eq!(queue.step(), ["02-b"]);
    queue.end("02-b", EndStatus::Completed);
    queue.now = at - TimeDelta::seconds(1);
    assert_eq!(queue.step(), Vec::<String>::new());
    queue.now = at;
    assert_eq!(queue.step(), ["01-later"]);
}

#[test]
fn a_circle_made_by_hand_is_a_hold_and_others_go_on() {
    let mut queue = Queue::new(&[card("01-a", "", &["a"]), card("02-b", "- **Depends on:** 01-a\n", &["b"])], 2);
    queue.add(&card("03-c", "", &["c"]));
    queue.stage("01-a").depends_on = vec![id("02-b")];
    assert_eq!(queue.hold("01-a"), Some(Hold::Circle("01-a → 02-b → 01-a".to_owned())));
    assert_eq!(queue.hold("02-b"), Some(Hold::Circle("02-b → 01-a → 02-b".to_owned())));
    assert_eq!(queue.step(), ["03-c"]);
}

#[test]
fn held_stages_are_not_begun_until_they_are_released_and_both_are_said_once() {
    let mut queue = Queue::new(&[card("01-a", "", &["a"]), card("02-b", "", &["b"])], 1);
    let held = |why: &str| Command::Hold { stage: id("01-a"), why: why.to_owned() };
    assert_eq!(queue.say(held("waits for legal")).expect("held").notes.len(), 1);
    assert!(queue.say(held("waits for legal")).expect("held").notes.is_empty());
    assert!(queue.say(held("")).expect("held").notes.is_empty(), "no reason takes none away");
    assert_eq!(queue.say(held("waits for sales")).expect("held").notes.len(), 1);
    assert_eq!(queue.hold("01-a"), Some(Hold::Held("waits for sales".to_owned())));
    assert_eq!(queue.step(), ["02-b"]);
    queue.end("02-b", EndStatus::Completed);
    assert_eq!(queue.step(), Vec::<String>::new());
    assert_eq!(queue.say(Command::Release(id("01-a"))).expect("released").notes.len(), 1);
    assert!(queue.say(Command::Release(id("01-a"))).expect("released").notes.is_empty());
    assert_eq!(queue.step(), ["01-a"]);
    let refused = queue.say(held("")).expect_err("it is under way").to_string();
    assert!(refused.contains("01-a is working") && refused.contains("cancel"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A moved stage stands where it was put, all others stay in their order, and moving it again changes nothing.
    #[test]
    fn a_moved_stage_stands_where_it_was_put(
        priorities in proptest::collection::vec(-2_i32..3, 2..7),
        (from, to, way) in (0_usize..7, 0_usize..7, 0_usize..4),
        waited in proptest::option::of(0_usize..7),
    ) {
        let names: Vec<String> = (0..priorities.len()).map(|at| format!("{:02}-s", at + 1)).collect();
        let mut queue = Queue::new(&[], 1);
        for (name, priority) in names.iter().zip(&priorities) {
            queue.add(&card(name, &format!("- **Priority:** {priority}\n"), &[name]));
        }
        if let Some(name) = waited.and_then(|at| names.get(at)) {
            queue.stage(name).wait.passed_over = MOST_PASSES;
        }
        let (stage, other) = (&names[from % names.len()], &names[to % names.len()]);
        let place = [Place::First, Place::Last, Place::Before(id(other)), Place::After(id(other))][way].clone();
        let before: Vec<String> = queue.line().into_iter().filter(|name| name != stage).collect();
        queue.say(Command::Move { stage: id(stage), to: place.clone() }).expect("moved");
        let line = queue.line();
        let rest: Vec<String> = line.iter().filter(|name| *name != stage).cloned().collect();
        prop_assert_eq!(&rest, &before);
        let at = line.iter().position(|name| name == stage).expect("it is there");
        if stage != other || matches!(place, Place::First | Place::Last) {
            match &place {
                Place::First => prop_assert_eq!(at, 0),
                Place::Last => prop_assert_eq!(at, line.len() - 1),
                Place::Before(other) => prop_assert_eq!(&line[at + 1], &other.to_string()),
                Place::After(other) => prop_assert_eq!(&line[at - 1], &other.to_string()),
            }
        }
        let again = queue.say(Command::Move { stage: id(stage), to: place }).expect("moved");
        prop_assert!(again.notes.is_empty(), "{:?}", again.notes);
        prop_assert_eq!(queue.line(), line);
    }

    /// However others are queued after them, with whatever priorities and claims: everybody begins within a time that
    /// only those before them and the length of runs decide.
    #[test]
    fn nobody_starves(
        first in proptest::collection::vec((0_usize..6, -3_i32..4), 1..4),
        stream in proptest::collection::vec((0_usize..6, -3_i32..4, 1_usize..4), 60..61),
        most in 1_usize..4,
    ) {
        const CLAIMS: [&[&str]; 6] = [&["a/"], &["a/b"], &["a/b", "c"], &["c", "d"], &["e"], &["a/", "c", "d", "e"]];
        let mut queue = Queue::new(&[], most);
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        let mut number = 0;
        let mut names = Vec::new();
        let mut join = |queue: &mut Queue, claims: usize, priority: i32| {
            number += 1;
            let name = format!("{number:03}-s");
            queue.add(&card(&name, &format!("- **Priority:** {priority}\n"), CLAIMS[claims]));
            name
        };
        for (claims, priority) in &first {
            names.push(join(&mut queue, *claims, *priority));
        }
        let mut waiting: BTreeSet<String> = names.iter().cloned().collect();
        let mut rounds = 0;
        // Each of them is passed over so often at most, in each of which a run of three rounds may be in its way, and
        // then waits for the paths and a place, behind those before it.
        let enough = usize::try_from(MOST_PASSES).expect("few") + 4;
        let bound = first.len() * (enough * 3 + 6);
        while !waiting.is_empty() {
            let (claims, priority, length) = stream[rounds % stream.len()];
            join(&mut queue, claims, priority);
            for name in queue.step() {
                waiting.remove(&name);
                left.insert(name, length);
            }
            let over: Vec<String> = left.iter().filter(|(_, left)| **left == 1).map(|(name, _)| name.clone()).collect();
            for name in over {
                queue.end(&name, EndStatus::Completed);
                left.remove(&name);
            }
            for left in left.values_mut() {
                *left -= 1;
            }
            // A stream of 60 would otherwise grow without an end.
            let done: BTreeSet<StageId> = queue.state.stages.iter()
                .filter(|stage| matches!(stage.life, Life::Over(_))).map(|stage| stage.id.clone()).collect();
            queue.state.stages.retain(|stage| !done.contains(&stage.id));
            rounds += 1;
            prop_assert!(rounds <= bound, "{waiting:?} after {rounds} rounds");
        }
    }
}
