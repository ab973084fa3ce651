//! Reset times as CLIs word them, said at a known moment in a known zone.

use super::*;
use chrono_tz::America::New_York;
use chrono_tz::Europe::{Berlin, London};
use chrono_tz::Tz;
use proptest::prelude::*;

fn utc(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect(text).to_utc()
}

/// What a text means to a machine in this zone, as UTC.
fn read(text: &str, zone: Tz, said: &str) -> Option<DateTime<Utc>> {
    Resets::from_text(text)?.at(&utc(said).with_timezone(&zone))
}

#[test]
fn clock_times_are_those_of_their_zone_or_of_the_machine() {
    let said = "2026-11-20T20:00:00Z";
    for (text, expected) in [
        ("You've hit your session limit · resets 12:10pm (Europe/London)", "2026-11-21T12:10:00Z"),
        ("You've hit your session limit · resets 3:45pm", "2026-11-21T14:45:00Z"),
        ("You've hit your session limit · resets 3:45\u{202f}PM", "2026-11-21T14:45:00Z"),
        ("You've hit your 5-hour limit · resets 1:16am (UTC)", "2026-11-21T01:16:00Z"),
        ("You've hit your usage limit. Try again at 10:49 PM.", "2026-11-20T21:49:00Z"),
        ("You’ve hit your usage limit. Upgrade or try again at Nov 21st, 2026 1:16 AM.", "2026-11-21T00:16:00Z"),
        ("Opus weekly limit reached ∙ resets Nov 23 at 5pm (America/New_York)", "2026-11-23T22:00:00Z"),
        ("You've hit your weekly limit · resets Nov 22, 4pm (Europe/Rome)", "2026-11-22T15:00:00Z"),
        ("You've hit your weekly limit · resets Jan 3, 2027, 4:30am (Asia/Calcutta)", "2027-01-02T23:00:00Z"),
        ("You've hit your Opus limit · resets Mon 9am", "2026-11-23T08:00:00Z"),
        ("resets Monday, Nov 23, 9am", "2026-11-23T08:00:00Z"),
        ("Opus weekly limit reached ∙ resets Nov 24", "2026-11-23T23:00:00Z"),
        ("Your limit will reset at 6pm (Etc/GMT+5).", "2026-11-20T23:00:00Z"),
        ("resets 23 Nov 17:05 UTC", "2026-11-23T17:05:00Z"),
        ("quota resets at 22:30", "2026-11-20T21:30:00Z"),
        ("resets at 2026-11-21T03:00:00Z", "2026-11-21T03:00:00Z"),
        ("resets at 2026-11-21T03:00:00.250+01:00.", "2026-11-21T02:00:00.250Z"),
        ("Claude AI usage limit reached|1795223760", "2026-11-21T01:16:00Z"),
        (r#"{"type":"usage_limit_reached","resets_at":1795223760,"resets_in_seconds":13872}"#, "2026-11-21T01:16:00Z"),
    ] {
        assert_eq!(read(text, Berlin, said), Some(utc(expected)), "{text}");
    }
}

#[test]
fn delays_count_from_when_they_were_said() {
    for (text, expected) in [
        ("Please retry after 30 seconds", 30),
        ("Please try again in 1.898s.", 2),
        ("retry after 2 minutes", 120),
        ("try again in 20", 20),
        ("retry-after: 45", 45),
        ("Retrying in 6h16m", 22_560),
        (
            "You've hit your usage limit. Upgrade to Pro (https://openai.com/chatgpt/pricing) or try again in 5 days 22 hours 11 minutes.",
            511_860,
        ),
        ("Your quota will reset after 8h44m7s.", 31_447),
        ("Rate limit is exceeded. Try again in 17 seconds.", 17),
        ("Please try again in 2 hours. Please review our Terms of Service", 7200),
        (r#""resets_in_seconds":13872,"eligible":null"#, 13_872),
        (r#""retryDelay":"34s""#, 34),
        ("try again in 1 hour and 5 minutes", 3900),
        ("try again in 250ms", 1),
    ] {
        assert_eq!(Resets::from_text(text), Some(Resets::After(expected)), "{text}");
    }
}

#[test]
fn nonsense_is_no_time() {
    for text in [
        "",
        "resets",
        "resets soon",
        "try again later",
        "Please try again later. To increase your limits, upgrade",
        "try again in 5 parsecs",
        "try again in a moment",
        "retry after a while",
        "resets 25:10",
        "resets 13:10pm",
        "resets 0am",
        "resets 7",
        "resets 12:61pm",
        "resets 12:10pm (Mars/Olympus)",
        "resets Feb 30 at 5pm (UTC)",
        "resets Nov 31st, 2026 1:16 AM",
        "try again at 10 de jul. de 2026, 11:52",
        "try again in 99999999999999999999 days",
        "The tests pass at 12:10pm and took 30 seconds",
        "resets every 5h",
        "resets at 1999-01-01T00:00:00Z",
        "resets_at: 7795223760",
    ] {
        assert_eq!(read(text, Berlin, "2026-11-20T20:00:00Z"), None, "{text}");
    }
}

#[test]
fn midnight_and_what_has_just_passed() {
    for (text, said, expected) in [
        // Just past stays past: policy makes it now.
        ("resets 11:58pm", "2026-11-21T00:01:00Z", "2026-11-20T23:58:00Z"),
        ("resets 8pm", "2026-11-20T20:02:00Z", "2026-11-20T20:00:00Z"),
        // Longer past is tomorrow's.
        ("resets 8pm", "2026-11-20T20:11:00Z", "2026-11-21T20:00:00Z"),
        ("resets 12am", "2026-11-20T23:59:00Z", "2026-11-21T00:00:00Z"),
        ("resets 12:05am", "2026-11-20T23:59:00Z", "2026-11-21T00:05:00Z"),
        ("resets 12pm", "2026-11-20T23:59:00Z", "2026-11-21T12:00:00Z"),
        ("resets 00:05", "2026-12-31T23:59:00Z", "2027-01-01T00:05:00Z"),
        ("resets Jan 1 at 2am", "2026-12-31T23:59:00Z", "2027-01-01T02:00:00Z"),
        ("resets Dec 31 at 11:58pm", "2027-01-01T00:01:00Z", "2026-12-31T23:58:00Z"),
        // A weekday is today where the time is still to come, else in a week.
        ("resets Fri 9pm", "2026-11-20T20:00:00Z", "2026-11-20T21:00:00Z"),
        ("resets Fri 9am", "2026-11-20T20:00:00Z", "2026-11-27T09:00:00Z"),
    ] {
        assert_eq!(read(text, Tz::UTC, said), Some(utc(expected)), "{text} at {said}");
    }
    assert_eq!(read("resets Nov 18 at 5pm", Tz::UTC, "2026-11-20T20:00:00Z"), None, "days ago is no reset");
}

#[test]
fn a_gap_of_local_time_ends_and_an_hour_that_comes_twice_is_the_later() {
    for (text, zone, said, expected) in [
        ("resets 1:30am", London, "2027-03-27T22:00:00Z", "2027-03-28T01:00:00Z"),
        ("resets 2:30am (America/New_York)", London, "2027-03-13T22:00:00Z", "2027-03-14T07:00:00Z"),
        ("resets 1:30am", London, "2026-10-24T22:00:00Z", "2026-10-25T01:30:00Z"),
        ("resets 1:30am", New_York, "2026-11-01T03:00:00Z", "2026-11-01T06:30:00Z"),
        ("resets 9am", Berlin, "2026-10-24T20:00:00Z", "2026-10-25T08:00:00Z"),
        // Samoa had no 30 December 2011.
        ("resets Dec 30, 2011 at 9am (Pacific/Apia)", London, "2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z"),
    ] {
        assert_eq!(read(text, zone, said), Some(utc(expected)), "{text} at {said}");
    }
}

#[test]
fn structured_epochs_are_taken_as_they_are() {
    let at = |epoch| DateTime::from_timestamp(epoch, 0).map(Resets::At);
    assert_eq!(Resets::from_epoch(1_795_218_021), at(1_795_218_021));
    assert_eq!(Resets::from_epoch(1_795_218_021_000), at(1_795_218_021));
    for bad in [0, -1, i64::MIN, i64::MAX] {
        assert_eq!(Resets::from_epoch(bad), None, "{bad}");
    }
    let far = Resets::from_epoch(4_000_000_000).expect("time");
    assert_eq!(far.at(&utc("2026-11-20T20:00:00Z")), DateTime::from_timestamp(4_000_000_000, 0), "policy bounds it");
}

/// Texts that come near to a time.
fn near_time() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("resets ".to_owned()),
        Just("try again at ".to_owned()),
        Just("in ".to_owned()),
        Just("am".to_owned()),
        Just("pm ".to_owned()),
        Just(":".to_owned()),
        Just(", ".to_owned()),
        Just("Feb ".to_owned()),
        Just("Dec 31 ".to_owned()),
        Just("Sun ".to_owned()),
        Just("th".to_owned()),
        Just("(Europe/London)".to_owned()),
        Just(" days ".to_owned()),
        Just("T00:00:00Z".to_owned()),
        (0_u64..3000).prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        ".",
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| format!("resets {}", parts.concat()))
}

proptest! {
    #[test]
    fn no_text_panics_or_means_an_absurd_time(
        text in prop_oneof![".*", near_time()],
        said in -62_000_000_000_i64..250_000_000_000,
        zone in 0..chrono_tz::TZ_VARIANTS.len(),
    ) {
        let said = DateTime::from_timestamp(said, 0).expect("time").with_timezone(&chrono_tz::TZ_VARIANTS[zone]);
        if let Some(time) = Resets::from_text(&text).and_then(|resets| resets.at(&said)) {
            let ahead = time - said.to_utc();
            prop_assert!(ahead >= -FARTHEST_BACK && ahead <= FARTHEST_AHEAD, "{text:?} at {said}: {time}");
        }
    }
}

#[test]
fn at_the_ends_of_the_calendar_no_clock_is_read() {
    let resets = Resets::from_text("You've hit your usage limit, resets 12:10pm (Europe/London)").expect("a reset");
    for said_at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        assert_eq!(resets.at(&said_at), None);
    }
}
