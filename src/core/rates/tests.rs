//! Prices by name and day.

use super::*;
use crate::core::exit::UsageSource;

fn day(text: &str) -> NaiveDate {
    text.parse().expect("day")
}

fn price(from: Option<&str>, input: u64) -> Price {
    let output = MicroUsd(input * 5);
    Price { from: from.map(day), input: MicroUsd(input), cached_input: None, cache_write: None, output }
}

fn dollars(rates: Rates) -> [f64; 4] {
    [rates.input, rates.cached_input, rates.cache_write, rates.output].map(MicroUsd::dollars)
}

#[test]
#[expect(clippy::float_cmp, reason = "the figures are what was written down")]
fn list_prices_go_by_the_name_however_it_is_written() {
    let table = RateTable::default();
    let on = day("2026-11-21");
    for (model, input) in [
        ("claude-opus-4-8[1m]", 5.0),
        ("claude-opus-4-1-20250805", 15.0),
        ("us.anthropic.claude-opus-5", 5.0),
        ("opus", 5.0),
        ("claude-sonnet-5", 2.0),
        ("claude-sonnet-4-6", 3.0),
        ("gpt-5.6-sol", 5.0),
        ("gpt-5-6-sol", 5.0),
        ("openai/GPT-5.6-Terra", 2.0),
        ("gpt-5-codex", 1.25),
        ("gpt-5.4-pro", 30.0),
        ("gpt-7", 10.0),
        ("qwen3-coder", 10.0),
    ] {
        assert_eq!(dollars(table.of(model, on))[0], input, "{model}");
    }
    assert_eq!(dollars(table.of("nobody-knows-it", on)), UNKNOWN);
}

#[test]
fn a_later_price_holds_from_its_day() {
    let table = RateTable::default();
    let (before, on) = (day("2026-07-29"), day("2026-07-30"));
    assert_eq!(table.of("gpt-5.6-luna", before).input, MicroUsd(1_000_000));
    assert_eq!(table.of("gpt-5.6-luna", on).input, MicroUsd(200_000));
    let prices = vec![price(Some("2026-03-01"), 3), price(Some("2026-02-01"), 2)];
    let own = RateTable { models: BTreeMap::from([("claude*".to_owned(), prices)]), ..RateTable::default() };
    let input = |text: &str| own.of("claude-opus-5", day(text)).input.0;
    assert_eq!((input("2026-01-31"), input("2026-02-01"), input("2026-02-28"), input("2026-03-01")), (2, 2, 2, 3));
}

#[test]
fn the_operators_own_prices_go_before_the_list_and_the_longest_pattern_first() {
    let models = BTreeMap::from([
        ("*".to_owned(), vec![price(None, 1)]),
        ("gpt-5.6*".to_owned(), vec![price(None, 2)]),
        ("gpt-5.6-sol".to_owned(), vec![price(None, 3)]),
    ]);
    let table = RateTable { models, ..RateTable::default() };
    let input = |model: &str| table.of(model, day("2026-11-21")).input.0;
    assert_eq!((input("claude-opus-5"), input("gpt-5-6-luna"), input("gpt-5.6-sol")), (1, 2, 3));
    let default = RateTable { default: Some(price(None, 7)), ..RateTable::default() };
    assert_eq!(default.of("mine", day("2026-11-21")).input.0, 7);
    assert_eq!(default.of("claude-opus-5", day("2026-11-21")).input, MicroUsd(5_000_000), "the list names it");
    assert_eq!(Rates::from(price(None, 7)).cached_input, MicroUsd(7), "no price for the cache: that of input");
}

#[test]
fn each_kind_of_token_has_its_own_price_and_the_sum_is_rounded_up() {
    let rates = Rates::dollars([5.0, 0.5, 10.0, 25.0]);
    let usage = Usage {
        input_tokens: Tokens(3200),
        cached_input_tokens: Tokens(1400),
        output_tokens: Tokens(100),
        source: UsageSource::Stream,
        ..Usage::default()
    }
    .totalled();
    assert_eq!(rates.cost(&usage), MicroUsd(19_200), "what the CLI says of the same run in its fixture");
    let one = Usage { cached_input_tokens: Tokens(1), ..Usage::default() };
    assert_eq!(Rates::dollars([0.0, 0.3, 0.0, 0.0]).cost(&one), MicroUsd(1));
    assert_eq!(rates.cost(&Usage::default()), MicroUsd(0));
    let endless = Usage { output_tokens: Tokens(u64::MAX), ..Usage::default() };
    assert_eq!(Rates::dollars([1e9, 1e9, 1e9, 1e9]).cost(&endless), MicroUsd(u64::MAX));
}

#[test]
fn what_is_set_aside_is_output_by_its_share_and_input_for_the_rest() {
    let rates = Rates::dollars([5.0, 0.5, 10.0, 25.0]);
    assert_eq!(rates.worst(Tokens(1_000_000), 100), MicroUsd(7_000_000));
    assert_eq!(rates.worst(Tokens(1_000_000), 0), MicroUsd(5_000_000));
    assert_eq!(rates.worst(Tokens(0), 100), MicroUsd(0));
}

#[test]
fn patterns_are_whole_names() {
    for (pattern, name, fits) in [
        ("gpt-5", "gpt-5", true),
        ("gpt-5", "gpt-5-codex", false),
        ("gpt-5*", "gpt-5", true),
        ("*5*codex", "gpt-5-codex", true),
        ("*5*codex", "gpt-5-codex-max", false),
        ("a*a", "a", false),
        ("*", "", true),
        ("a**b", "axb", true),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}

#[test]
fn faults_are_all_named() {
    let models = BTreeMap::from([
        ("a".to_owned(), Vec::new()),
        ("b".to_owned(), vec![price(Some("2026-01-01"), 1), price(Some("2026-01-01"), 2)]),
    ]);
    let table = RateTable { version: 2, models, default: None };
    let places: Vec<String> = table.validate().0.into_iter().map(|fault| fault.place).collect();
    assert_eq!(places, ["/version", "/models/a", "/models/b/1"]);
}
