//! Spans of the day over every kind of clock.

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use proptest::prelude::*;

use super::*;
use crate::core::night::Offset;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("time")
}

fn spans(texts: &[&str]) -> Vec<DaySpan> {
    texts.iter().map(|text| text.parse().expect("span")).collect()
}

/// Central Europe around the two nights of 2026 in which its clocks change.
fn berlin() -> Zone {
    let offsets = [("2026-01-01T00:00:00Z", 3600), ("2026-03-29T01:00:00Z", 7200), ("2026-10-25T01:00:00Z", 3600)];
    let offset = |(from, seconds): (&str, i32)| Offset { from: at(from), seconds };
    Zone { name: Some("Europe/Berlin".to_owned()), offsets: offsets.map(offset).to_vec() }
}

#[test]
fn spans_are_read_as_people_write_them() {
    for (text, shown) in
        [("08:00-22:00", "08:00-22:00"), (" 8:5 - 9:00 ", "08:05-09:00"), ("22:00-00:00", "22:00-24:00")]
    {
        assert_eq!(text.parse::<DaySpan>().expect(text).to_string(), shown);
    }
    for text in
        ["", "8-22", "08:00", "08:60-09:00", "25:00-26:00", "08:00-08:00", "24:00-08:00", "-1:00-02:00", "a:b-c:d"]
    {
        assert!(text.parse::<DaySpan>().is_err(), "{text}");
    }
}

#[test]
fn a_span_ends_by_the_clock_on_the_wall() {
    let cases: &[(&[&str], &str, Option<&str>)] = &[
        (&["08:00-22:00"], "2026-01-10T06:59:59Z", None),
        (&["08:00-22:00"], "2026-01-10T07:00:00Z", Some("2026-01-10T21:00:00Z")),
        (&["08:00-22:00"], "2026-01-10T20:59:59.5Z", Some("2026-01-10T21:00:00Z")),
        (&["08:00-22:00"], "2026-01-10T21:00:00Z", None),
        // Over midnight, and on into the next one.
        (&["22:00-06:00"], "2026-01-10T22:30:00Z", Some("2026-01-11T05:00:00Z")),
        (&["22:00-00:00", "00:00-06:00"], "2026-01-10T22:30:00Z", Some("2026-01-11T05:00:00Z")),
        (&["22:00-03:00", "02:00-06:00"], "2026-01-10T22:30:00Z", Some("2026-01-11T05:00:00Z")),
        // The night of the 29th of March has no half past two, and ends an hour sooner.
        (&["22:00-06:00"], "2026-03-28T22:00:00Z", Some("2026-03-29T04:00:00Z")),
        (&["22:00-02:30"], "2026-03-28T22:00:00Z", Some("2026-03-29T01:00:00Z")),
        (&["02:10-02:50"], "2026-03-29T01:00:00Z", None),
        // The night of the 25th of October has two of them, and ends an hour later.
        (&["22:00-06:00"], "2026-10-24T21:00:00Z", Some("2026-10-25T05:00:00Z")),
        (&["02:10-02:50"], "2026-10-25T00:15:00Z", Some("2026-10-25T00:50:00Z")),
        (&["02:10-02:50"], "2026-10-25T00:55:00Z", None),
        (&["02:10-02:50"], "2026-10-25T01:15:00Z", Some("2026-10-25T01:50:00Z")),
        (&["02:00-03:00"], "2026-10-25T00:15:00Z", Some("2026-10-25T02:00:00Z")),
    ];
    for (texts, now, expected) in cases {
        assert_eq!(end(&spans(texts), at(now), &berlin()), expected.map(at), "{texts:?} at {now}");
    }
}

#[test]
fn a_reserve_is_that_of_the_hour_else_that_of_the_family() {
    let claude: FamilyName = "claude".parse().expect("family");
    let schedule = Schedule {
        reserve: [("09:00-18:00", 60), ("18:00-22:00", 0)]
            .map(|(span, reserve)| (span.parse().expect("span"), Percent::new(reserve).expect("percent")))
            .into(),
    };
    let reserves = BTreeMap::from([(claude.clone(), Percent::new(20).expect("percent"))]);
    let rules = LocalRules { zone: berlin(), schedule, reserves, ..LocalRules::default() };
    let reserve = |now: &str| {
        let (reserve, until) = rules.reserve(&claude, at(now));
        (reserve.to_string(), until)
    };
    assert_eq!(reserve("2026-01-10T08:00:00Z"), ("60%".to_owned(), Some(at("2026-01-10T17:00:00Z"))));
    assert_eq!(reserve("2026-01-10T17:00:00Z"), ("0%".to_owned(), Some(at("2026-01-10T21:00:00Z"))));
    assert_eq!(reserve("2026-01-10T22:00:00Z"), ("20%".to_owned(), None));
    assert_eq!(rules.reserve(&"codex".parse().expect("family"), at("2026-01-10T22:00:00Z")).0, Percent::default());
}

#[test]
fn spans_that_overlap_or_fill_the_day_are_told() {
    assert!(fill_the_day(&spans(&["22:00-06:00", "06:00-22:00"])));
    assert!(!fill_the_day(&spans(&["22:00-06:00", "06:00-21:59"])));
    let of = |texts: &[&str]| Schedule {
        reserve: spans(texts).into_iter().map(|span| (span, Percent::default())).collect(),
    };
    assert_eq!(of(&["09:00-18:00", "18:00-09:00"]).overlap(), None);
    assert!(of(&["09:00-18:00", "17:59-09:00"]).overlap().is_some());
}

fn any_span() -> impl Strategy<Value = DaySpan> {
    (0..DAY, 1..=DAY).prop_filter_map("empty", |(from, until)| (from != until).then_some(DaySpan { from, until }))
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let change = (0_i64..96, -14 * 4_i32..=14 * 4);
    proptest::collection::vec(change, 1..4).prop_map(|mut changes| {
        changes.sort_by_key(|change| change.0);
        let start = at("2026-01-01T00:00:00Z");
        let offset = |(quarters, quarter_hours): (i64, i32)| Offset {
            from: start + TimeDelta::minutes(quarters * 15),
            seconds: quarter_hours * 900,
        };
        Zone { name: None, offsets: changes.into_iter().map(offset).collect() }
    })
}

proptest! {
    /// The end is in the future, is outside, and nothing before it is: held against a look at every minute.
    #[test]
    fn an_end_is_the_first_moment_outside(
        spans in proptest::collection::vec(any_span(), 1..4),
        zone in any_zone(),
        seconds in 0_i64..86_400 * 2,
    ) {
        let now = at("2026-01-01T00:00:00Z") + TimeDelta::seconds(seconds);
        let holds = |at: DateTime<Utc>| {
            let local = zone.local(at);
            spans.iter().any(|span| span.holds(local.hour() * 60 + local.minute()))
        };
        match end(&spans, now, &zone) {
            None => prop_assert!(!holds(now)),
            Some(end) => {
                prop_assert!(end > now && holds(now));
                let horizon = end == now + HORIZON;
                prop_assert!(horizon || !holds(end), "it still holds at {end}");
                let mut at = now;
                while at < end {
                    prop_assert!(holds(at), "it was over at {at}");
                    at += TimeDelta::seconds(60);
                }
                prop_assert!(holds(end - TimeDelta::seconds(1)));
            }
        }
    }

    /// A span and what is left of the day hold each minute exactly once.
    #[test]
    fn a_span_and_its_rest_are_the_day(span in any_span(), minute in 0..DAY) {
        prop_assume!(!(span.from == 0 && span.until == DAY));
        let rest = DaySpan { from: span.until % DAY, until: if span.from == 0 { DAY } else { span.from } };
        prop_assert!(span.holds(minute) != rest.holds(minute));
    }

    #[test]
    fn what_is_shown_is_read_back(span in any_span()) {
        prop_assert_eq!(span.to_string().parse::<DaySpan>().expect("span"), span);
    }
}
