//! The budget over random histories: launches, crashes, settlements, windows that move on, drains, clocks that jump and
//! caps that change, against a book that is kept by hand.

#![allow(clippy::expect_used, reason = "a broken test environment should fail loudly")]

use autometta::core::budget::{Admission, Budget, Cap, CapChange, Window};
use autometta::core::exit::{Usage, UsageSource};
use autometta::core::operate::{Command, operate};
use autometta::core::quantity::{MicroUsd, Seconds, Tokens};
use autometta::core::state::{Reservation, State};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// A small generator of choices, so that a failing case is one number.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A settled run, as the book has it.
struct Entry {
    /// When, and never before the window that it was settled in.
    at: DateTime<Utc>,
    tokens: u64,
    cost: u64,
}

/// What is to be looked at afterwards, so that the test cannot pass by seeing nothing.
#[derive(Default)]
struct Seen {
    admitted: usize,
    refused: usize,
    rolled: usize,
    drained: usize,
    unknown: usize,
}

fn quarter_end(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp((at.timestamp().div_euclid(900) + 1) * 900, 0).expect("time")
}

fn change(budget: &Budget, command: Command, now: DateTime<Utc>) -> Option<Budget> {
    operate(&State::new("r".to_owned()), budget, command, now).ok().map(|done| done.budget)
}

/// A change of a cap, where there is one; seldom to none at all.
fn cap<T>(dice: &mut Dice, most: u64, unit: fn(u64) -> T) -> Option<Cap<T>> {
    match dice.roll(20) {
        0..10 => None,
        10 => Some(Cap::None),
        _ => Some(Cap::At(unit(dice.roll(most) + 1))),
    }
}

/// Compares a budget with the book.
fn check(budget: &Budget, book: &[Entry], flying: &[Reservation]) {
    let tokens: u64 = book.iter().map(|entry| entry.tokens).sum();
    let cost: u64 = book.iter().map(|entry| entry.cost).sum();
    assert_eq!((budget.lifetime_tokens_spent.0, budget.lifetime_cost_usd.0), (tokens, cost), "charged once, all of it");
    let reserved: Tokens = flying.iter().map(|ask| ask.tokens).sum();
    assert_eq!(budget.tokens_reserved, reserved, "what is reserved is what flies");
    let began = budget.window_started_at.expect("a window");
    let in_window = book.iter().filter(|entry| quarter_end(entry.at) > began);
    let (tokens, cost) = in_window.fold((0, 0), |sum, entry| (sum.0 + entry.tokens, sum.1 + entry.cost));
    assert_eq!((budget.tokens_spent.0, budget.cost_spent_usd.0), (tokens, cost), "the window's figures are its runs'");
    assert_eq!(budget.spent_since(began).tokens.0, tokens, "a token was lost inside the window");
    let json = serde_json::to_string(budget).expect("json");
    assert_eq!(serde_json::from_str::<Budget>(&json).expect("budget"), *budget, "a budget survives its file");
}

/// Asks for one run at the door, and lets it start where it fits.
fn launch(
    budget: &mut Budget,
    ask: &Reservation,
    flying: &mut Vec<Reservation>,
    midnight: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    seen: &mut Seen,
) {
    if budget.drain_is_over(now).is_some() {
        budget.drain = None;
    }
    let began = budget.window_started_at;
    let lifetime = (budget.lifetime_tokens_spent, budget.lifetime_cost_usd);
    let breaches = budget.breaches.len();
    let mut says = budget.admits(ask);
    if says != Admission::Fits && budget.roll(ask, midnight, now) {
        seen.rolled += 1;
        assert!(budget.window_started_at > began, "a window went back, or stood still");
        assert!(budget.window_started_at <= Some(now), "a window that has not begun");
        assert!(budget.breaches.len() > breaches, "moved on without a breach");
        assert_eq!(lifetime, (budget.lifetime_tokens_spent, budget.lifetime_cost_usd));
        says = budget.admits(ask);
    }
    if says != Admission::Fits {
        seen.refused += 1;
        return;
    }
    seen.admitted += 1;
    let before = (budget.tokens_spent + budget.tokens_reserved, budget.cost_spent_usd + budget.cost_reserved_usd);
    budget.reserve(ask);
    flying.push(*ask);
    let extra = budget.drain.map_or((Tokens(0), MicroUsd(0)), |drain| (drain.tokens, drain.cost_usd));
    if let Some(cap) = budget.token_cap_total {
        assert!(ask.tokens.0 == 0 || before.0 + ask.tokens <= cap + extra.0, "the token cap is passed");
        seen.drained += usize::from(before.0 + ask.tokens > cap);
    }
    if let Some(cap) = budget.cost_cap_usd {
        assert!(ask.cost_usd.0 == 0 || before.1 + ask.cost_usd <= cap + extra.1, "the cost cap is passed");
    }
}

fn history(seed: u64, seen: &mut Seen) {
    let mut dice = Dice(seed);
    let start: DateTime<Utc> = "2026-03-28T20:00:00Z".parse().expect("time");
    let window = [Window::None, Window::UtcDay, Window::LocalDay, Window::Rolling(5), Window::Rolling(1)]
        [usize::try_from(dice.roll(5)).expect("small")];
    let mut budget = Budget {
        token_cap_total: Some(Tokens(1_000)),
        cost_cap_usd: Some(MicroUsd(5_000)),
        window,
        window_started_at: Some(start),
        ..Budget::default()
    };
    let mut now = start;
    let mut book: Vec<Entry> = Vec::new();
    let mut flying: Vec<Reservation> = Vec::new();
    for _ in 0..160 {
        // Local days begin at 22:00 UTC in this world.
        let day = (now + TimeDelta::hours(2)).date_naive().and_hms_opt(0, 0, 0).expect("midnight").and_utc();
        let midnight = Some(day - TimeDelta::hours(2));
        match dice.roll(16) {
            0..=5 => {
                let ask = Reservation {
                    tokens: Tokens(dice.roll(300)),
                    cost_usd: MicroUsd(dice.roll(1_500)),
                    seconds: Seconds(60),
                };
                launch(&mut budget, &ask, &mut flying, midnight, now, seen);
            }
            6..=10 if !flying.is_empty() => {
                let at = usize::try_from(dice.roll(flying.len() as u64)).expect("small");
                let reserved = flying.swap_remove(at);
                let usage = match dice.roll(3) {
                    // Killed before it said anything.
                    0 => Usage::default(),
                    // Up to one turn more than was set aside.
                    _ => Usage {
                        input_tokens: Tokens(dice.roll(reserved.tokens.0 + 20)),
                        cost_usd: Some(MicroUsd(dice.roll(reserved.cost_usd.0 + 100))),
                        source: UsageSource::Result,
                        ..Usage::default()
                    }
                    .totalled(),
                };
                let charge = budget.settle(&reserved, &usage, Seconds(7), now);
                if usage.source == UsageSource::Unknown {
                    seen.unknown += 1;
                    assert_eq!((charge.tokens, charge.cost_usd), (reserved.tokens, reserved.cost_usd));
                }
                let at = budget.window_started_at.map_or(now, |began| began.max(now));
                book.push(Entry { at, tokens: charge.tokens.0, cost: charge.cost_usd.0 });
            }
            11 | 12 => now += TimeDelta::minutes(i64::try_from(dice.roll(200)).expect("small")),
            13 => {
                // The clock jumps, either way.
                let hours = i64::try_from(dice.roll(60)).expect("small") - 30;
                now += TimeDelta::hours(hours);
            }
            14 => {
                let tokens = cap(&mut dice, 3_000, Tokens);
                let cost_usd = cap(&mut dice, 15_000, MicroUsd);
                let command = Command::SetCaps(CapChange { tokens, cost_usd, ..CapChange::default() });
                budget = change(&budget, command, now).unwrap_or(budget);
            }
            _ => {
                let until = now + TimeDelta::hours(i64::try_from(dice.roll(9)).expect("small"));
                let command = match dice.roll(4) {
                    0 => Command::StopDrain,
                    _ => Command::Drain { until, tokens: Tokens(dice.roll(400)), cost_usd: MicroUsd(dice.roll(2_000)) },
                };
                budget = change(&budget, command, now).unwrap_or(budget);
            }
        }
        check(&budget, &book, &flying);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_cap_is_passed_and_no_token_is_lost_or_charged_twice(seed in any::<u64>()) {
        history(seed, &mut Seen::default());
    }
}

#[test]
fn enough_happens_for_the_check_to_see_something() {
    let mut seen = Seen::default();
    (0..200).for_each(|seed| history(seed, &mut seen));
    let Seen { admitted, refused, rolled, drained, unknown } = seen;
    assert!(admitted > 2_000 && refused > 1_000 && unknown > 500, "{admitted} {refused} {unknown}");
    assert!(rolled > 100 && drained > 50, "{rolled} windows moved on, {drained} runs were let in by a drain");
}
