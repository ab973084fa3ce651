//! What is counted, against hand-made nights.

use chrono::TimeDelta;

use super::*;
use crate::core::budget::{Halt, HaltReason};
use crate::core::card::Card;
use crate::core::operate::queued;
use crate::core::state::{Awaits, Candidate, Kept, Over, Reason};

fn now() -> DateTime<Utc> {
    "2026-11-21T23:00:00Z".parse().expect("time")
}

fn stage(id: &str, more: &str) -> Stage {
    let text = format!(
        "# Stage card {id}: Work\n\n## Metadata\n- **Worker:** W <w@local>\n- **Verifier:** V <v@local>\n{more}\n\
         ## Objective\nDo.\n\n## Deliverables\n1. `{id}`: it\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntrue\n```\n"
    );
    let card = Card::parse(id.parse().expect("id"), &text).expect("card").card;
    queued(&card, format!("{id}.md"), "main".to_owned())
}

fn id(text: &str) -> StageId {
    text.parse().expect("id")
}

/// A night in which these stages land after so many minutes each, and the others do not for this reason.
fn fate(landed: &[(&str, i64)], left: &[(&str, &str)]) -> Fate {
    let landed: BTreeMap<StageId, DateTime<Utc>> =
        landed.iter().map(|(stage, minutes)| (id(stage), now() + TimeDelta::minutes(*minutes))).collect();
    Fate {
        quiet_at: landed.values().max().copied().or(Some(now())),
        dispatched: 1,
        landed,
        left: left.iter().map(|(stage, code)| (id(stage), (*code).to_owned())).collect(),
        ..Fate::default()
    }
}

fn count(state: &State, budget: &Budget, nights: &[Fate], needed: Option<Amounts>) -> Outlook {
    of(&Played {
        now: now(),
        until: now() + TimeDelta::hours(9),
        seed: 1,
        timer: None,
        state,
        budget,
        nights,
        needed,
        agents: &Agents::default(),
    })
}

fn state(stages: Vec<Stage>) -> State {
    State { stages, ..State::new("r".to_owned()) }
}

#[test]
fn shares_times_and_ranges_are_those_of_the_nights() {
    let state = state(vec![stage("01-a", ""), stage("02-b", "")]);
    let mut nights: Vec<Fate> = (0..7).map(|at| fate(&[("01-a", 10 + at), ("02-b", 60)], &[])).collect();
    nights
        .extend([("gate-failed"), ("gate-failed"), ("question")].map(|code| fate(&[("01-a", 17)], &[("02-b", code)])));
    let outlook = count(&state, &Budget::default(), &nights, None);
    assert_eq!((outlook.nights, outlook.stages, outlook.all_land_percent), (10, 2, 70));
    assert_eq!(outlook.landed, Range { low: 1, median: 2, high: 2 });
    let [first, second] = &outlook.queue[..] else { panic!("two") };
    assert_eq!((first.lands_percent, &first.otherwise), (100, &None));
    let minutes = first.lands_at.map(|at| [at.early, at.median, at.late].map(|at| (at - now()).num_minutes()));
    assert_eq!(minutes, Some([10, 14, 17]));
    let otherwise = second.otherwise.as_ref().expect("three nights");
    assert_eq!((second.lands_percent, otherwise.percent, otherwise.words.as_str()), (70, 20, "its gates fail"));
    assert_eq!((outlook.verdict, outlook.goes_on_percent), (Verdict::Fine, 0));
}

#[test]
fn what_happens_at_all_is_never_rounded_to_never() {
    let state = state(vec![stage("01-a", "")]);
    let mut nights = vec![fate(&[("01-a", 1)], &[]); 999];
    nights.push(fate(&[], &[("01-a", "question")]));
    let lands = |nights: &[Fate]| count(&state, &Budget::default(), nights, None).queue[0].lands_percent;
    assert_eq!((lands(&nights), lands(&nights[..999]), lands(&nights[999..])), (99, 100, 0));
}

#[test]
fn the_first_limit_is_the_one_that_most_nights_meet_first() {
    let state = state(vec![stage("01-a", "")]);
    let met = |limits: &[(Limit, i64)]| Fate {
        limits: limits.iter().map(|(limit, at)| (limit.clone(), now() + TimeDelta::minutes(*at))).collect(),
        ..fate(&[], &[("01-a", "halted")])
    };
    let provider = || Limit::Provider("claude".parse().expect("family"));
    let cap = || Limit::Halt(HaltReason::CostCap);
    let nights =
        [met(&[(provider(), 5), (cap(), 9)]), met(&[(provider(), 7)]), met(&[(cap(), 8)]), fate(&[("01-a", 1)], &[])];
    let budget = Budget { cost_cap_usd: Some(MicroUsd(5_000_000)), ..Budget::default() };
    let needed = Amounts { cost_usd: MicroUsd(7_250_001), ..Amounts::default() };
    let outlook = count(&state, &budget, &nights, Some(needed));
    let first = outlook.first_limit.as_ref().expect("a limit");
    assert_eq!((&first.limit, first.percent), (&provider(), 50));
    assert_eq!(outlook.limits.iter().map(|one| one.percent).collect::<Vec<_>>(), [50, 50]);
    let cost = &outlook.spend[1];
    assert_eq!((cost.name, cost.halts_percent, cost.needed), ("cost", 50, Some(7_250_001)));
    assert_eq!(outlook.verdict, Verdict::Look);
    assert!(outlook.advice[0].contains("`autometta budget set --cost 7.26`"), "{:?}", outlook.advice);
}

#[test]
fn a_question_says_how_many_stages_wait_behind_it_and_comes_first() {
    let mut asks = stage("01-a", "");
    let object = || crate::core::ids::ObjectId::of_bytes([1; 20]);
    let run = "01-a.1.worker".parse().expect("run");
    let kept = Kept {
        base_commit: object(),
        candidate: Candidate { commit: object(), tree: object(), run },
        started_at: now(),
        awaits: Awaits::WorkerAnswer,
        seen_tip: None,
        approval: None,
    };
    asks.life = Life::Over(Over {
        status: EndStatus::Blocked,
        reason: Some(Reason::new("question", "Which of the two?")),
        at: now(),
        commit: None,
        kept: Some(kept),
    });
    let behind = |needed: &str| format!("- **Depends on:** {needed}\n");
    let queue = vec![asks, stage("02-b", &behind("01-a")), stage("03-c", &behind("02-b")), stage("04-d", "")];
    let state = state(queue);
    let outlook = count(&state, &Budget::default(), &[fate(&[("04-d", 5)], &[("02-b", "dependency")])], None);
    assert_eq!(outlook.waits[0].behind, [id("02-b"), id("03-c")]);
    assert_eq!(outlook.verdict, Verdict::Look);
    assert!(
        outlook.advice[0].starts_with("01-a: 2 stages wait behind it; `autometta answer 01-a"),
        "{:?}",
        outlook.advice
    );
}

#[test]
fn failures_in_a_row_that_halt_many_nights_are_advised_about() {
    let state = state(vec![stage("01-a", "")]);
    let budget = Budget { consecutive_failure_cap: Some(3), ..Budget::default() };
    let halted =
        Fate { limits: vec![(Limit::Halt(HaltReason::FailureCap), now())], ..fate(&[], &[("01-a", "halted")]) };
    let often = count(&state, &budget, &[halted.clone(), fate(&[("01-a", 1)], &[])], None);
    assert!(often.advice[0].contains("3, halts 50 of 100 nights"), "{:?}", often.advice);
    assert!(often.advice[0].contains("`autometta budget set --failures 6`"), "{:?}", often.advice);
    let mut seldom = vec![fate(&[("01-a", 1)], &[]); 9];
    seldom.push(halted);
    assert_eq!(count(&state, &budget, &seldom, None).advice, Vec::<String>::new());
}

#[test]
fn nothing_is_certain_only_where_no_night_does_anything() {
    let state = state(vec![stage("01-a", "")]);
    let mut budget = Budget::default();
    let detail = "spent 5,000, the cap is 5,000".to_owned();
    budget.halt(vec![Halt { reason: HaltReason::TokenCap, detail }], now());
    let idle = Fate { dispatched: 0, ..fate(&[], &[("01-a", "halted")]) };
    let outlook = count(&state, &budget, std::slice::from_ref(&idle), None);
    let nothing = outlook.nothing.expect("certain");
    assert!(nothing.contains("token-cap: spent 5,000") && nothing.contains("autometta budget set"), "{nothing}");
    let moves = count(&state, &budget, &[idle, fate(&[("01-a", 500)], &[])], None);
    assert_eq!((moves.nothing, moves.verdict), (None, Verdict::Fine), "its window moves on in some night");
}
