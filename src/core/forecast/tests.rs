//! Forecasts over small queues, to the second.

use super::*;
use crate::core::exit::{Usage, UsageSource};
use crate::core::operate::queued;
use crate::core::state::RunOutcome;

fn now() -> DateTime<Utc> {
    "2026-11-21T01:00:00Z".parse().expect("time")
}

#[expect(clippy::unnecessary_wraps, reason = "as the forecast asks")]
fn family(who: &Identity) -> Option<FamilyName> {
    Some(if who.name().starts_with('V') { "codex" } else { "claude" }.parse().expect("family"))
}

/// A budget that has seen three runs of each kind.
fn learnt() -> Budget {
    let mut budget = Budget::default();
    let (claude, codex) = ("claude".parse().expect("family"), "codex".parse().expect("family"));
    let mut learn = |role, family: Option<&FamilyName>, tokens: u64, seconds: u64| {
        for _ in 0..3 {
            let input_tokens = Tokens(tokens);
            let usage = Usage { input_tokens, source: UsageSource::Result, ..Usage::default() }.totalled();
            budget.learn(role, family, RunOutcome::Done, &usage, MicroUsd(tokens * 5), Seconds(seconds));
        }
    };
    learn(Role::Worker, Some(&claude), 1_000_000, 1200);
    learn(Role::Gate, None, 0, 60);
    learn(Role::Verifier, Some(&codex), 200_000, 240);
    budget
}

fn stage(id: &str, more: &str) -> Stage {
    let text = format!(
        "# Stage card {id}: Work\n\n## Metadata\n- **Worker:** W <w@local>\n- **Verifier:** V <v@local>\n{more}\n\
         ## Objective\nDo.\n\n## Deliverables\n1. `{id}`: it\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntrue\n```\n"
    );
    let card = crate::core::card::Card::parse(id.parse().expect("id"), &text).expect("card").card;
    queued(&card, format!("{id}.md"), "main".to_owned())
}

fn state(stages: Vec<Stage>) -> State {
    State { stages, ..State::new("r".to_owned()) }
}

fn expected(state: &State, budget: &Budget, max_parallel: usize) -> Expected {
    let policy = Policy { max_parallel, ..Policy::default() };
    let forecast = of(state, budget, &policy, &family, now()).expect("something goes on");
    assert_eq!(forecast.unknown, Vec::<String>::new());
    forecast.expected.expect("enough is known")
}

fn minutes(expected: &Expected) -> i64 {
    expected.ends_at.signed_duration_since(now()).num_minutes()
}

#[test]
fn a_queue_ends_when_its_stages_have_gone_through_one_after_another_or_side_by_side() {
    let two = state(vec![stage("01-a", ""), stage("02-b", "")]);
    let one_at_a_time = expected(&two, &learnt(), 1);
    assert_eq!((minutes(&one_at_a_time), one_at_a_time.tokens), (50, Tokens(2_400_000)));
    assert_eq!(one_at_a_time.cost_usd, MicroUsd(12_000_000));
    assert_eq!(one_at_a_time.binds, None);
    assert_eq!(minutes(&expected(&two, &learnt(), 2)), 25);
    let dependent = state(vec![stage("01-a", ""), stage("02-b", "- **Depends on:** 01-a")]);
    assert_eq!(minutes(&expected(&dependent, &learnt(), 2)), 50);
}

#[test]
fn stages_that_take_two_attempts_take_twice_as_much() {
    let mut budget = learnt();
    (0..3).for_each(|_| budget.attempts.add(2));
    let expected = expected(&state(vec![stage("01-a", "")]), &budget, 1);
    assert_eq!((minutes(&expected), expected.tokens), (50, Tokens(2_400_000)));
}

#[test]
fn a_deferral_and_a_pause_are_waited_for() {
    let mut late = stage("01-a", "");
    late.life = Life::Pending(Pending { not_before: Some(now() + TimeDelta::minutes(30)), ..Pending::default() });
    assert_eq!(minutes(&expected(&state(vec![late]), &learnt(), 1)), 55);
    let mut budget = learnt();
    budget.pause(&"claude".parse().expect("family"), None, now() + TimeDelta::minutes(90), "limit");
    assert_eq!(minutes(&expected(&state(vec![stage("01-a", "")]), &budget, 1)), 115);
}

#[test]
fn the_first_cap_that_binds_is_named_with_its_time_and_stage() {
    let stages = state(vec![stage("01-a", ""), stage("02-b", ""), stage("03-c", "")]);
    let budget = Budget {
        token_cap_total: Some(Tokens(3_000_000)),
        cost_cap_usd: Some(MicroUsd(100_000_000)),
        tokens_spent: Tokens(500_000),
        ..learnt()
    };
    let binds = expected(&stages, &budget, 1).binds.expect("a cap");
    assert_eq!((binds.reason, binds.stage.as_str()), (HaltReason::TokenCap, "03-c"));
    assert_eq!(binds.at, now() + TimeDelta::minutes(50));
}

#[test]
fn too_little_is_said_to_be_known_and_a_halt_says_nothing() {
    let queue = state(vec![stage("01-a", "")]);
    let policy = Policy::default();
    let forecast = of(&queue, &Budget::default(), &policy, &family, now()).expect("something goes on");
    assert_eq!(forecast.expected, None);
    assert_eq!(forecast.unknown, ["worker claude (0 of 3 runs)", "verifier codex (0 of 3 runs)"]);
    assert_eq!(of(&queue, &Budget { halted: true, ..learnt() }, &policy, &family, now()), None);
    assert_eq!(of(&state(Vec::new()), &learnt(), &policy, &family, now()), None);
}

#[test]
fn a_whole_attempt_is_held_against_what_is_left() {
    let queued = stage("01-a", "");
    let short = |cap: u64, spent: u64, reserved: u64| {
        let budget = Budget {
            token_cap_total: Some(Tokens(cap)),
            tokens_spent: Tokens(spent),
            tokens_reserved: Tokens(reserved),
            ..learnt()
        };
        let halts = shortfall_of(&budget, &queued, &family);
        halts.iter().map(|halt| halt.reason).collect::<Vec<_>>()
    };
    assert_eq!(short(1_200_000, 0, 0), []);
    assert_eq!(short(1_199_999, 0, 0), [HaltReason::TokenCap]);
    assert_eq!(short(2_000_000, 800_001, 0), [HaltReason::TokenCap]);
    assert_eq!(short(2_000_000, 0, 800_001), [HaltReason::TokenCap], "what flies counts as well");
    let unknown = Budget { token_cap_total: Some(Tokens(1)), ..Budget::default() };
    assert_eq!(shortfall_of(&unknown, &queued, &family), [], "nothing is known");
}
