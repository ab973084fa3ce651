//! How much of a provider's quota is used: what a reader of it says, and what is held for it.
//!
//! A reading holds a family only while it certainly means what it says: use of a window never falls before its reset, so
//! a window counts until then, and one without a reset while the reading is fresh.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::TimeLimit;
use super::quantity::Seconds;

/// How old a reading may be that names no reset.
pub const FRESH: TimeDelta = TimeDelta::hours(1);
/// How often a command is asked, where the manifest does not say.
pub const EVERY: Seconds = Seconds(300);

/// A whole number of percent, 0 to 100; `20%` or `20` in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "PercentDoc", into = "String")]
pub struct Percent(u8);

#[derive(Deserialize)]
#[serde(untagged)]
enum PercentDoc {
    Number(u8),
    Text(String),
}

impl Percent {
    /// This many percent; none above 100.
    pub fn new(percent: u8) -> Option<Self> {
        (percent <= 100).then_some(Self(percent))
    }
}

impl TryFrom<PercentDoc> for Percent {
    type Error = String;

    fn try_from(doc: PercentDoc) -> Result<Self, String> {
        let (number, shown) = match doc {
            PercentDoc::Number(number) => (Some(number), number.to_string()),
            PercentDoc::Text(text) => {
                (text.trim().strip_suffix('%').and_then(|number| number.trim().parse().ok()), text)
            }
        };
        number.and_then(Self::new).ok_or_else(|| format!("`{shown}` is not a percentage such as `20%`"))
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}%", self.0)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "a whole number of percent, such as `20%`",
            "anyOf": [
                {"type": "string", "pattern": r"^\s*(100|[0-9]{1,2})\s*%\s*$"},
                {"type": "integer", "minimum": 0, "maximum": 100}
            ]
        })
    }
}

/// Who tells how much of a family's quota is used, and how much is kept back. One of `file` and `command` is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaReader {
    /// A file with the reading; relative to the repository, or below the home directory where it begins with `~/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A command, as an argument list, that prints the reading within five seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How long a reading of the command is good for. Default 5 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<TimeLimit>,
    /// How much of each window is kept back: the family is held from `100% - reserve` on. Default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve: Option<Percent>,
}

impl QuotaReader {
    /// What is wrong with it: the key below it, and a sentence.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let blank = |text: &String| text.trim().is_empty();
        match (&self.file, self.command.first()) {
            (None, None) => Some(("", "it names neither a `file` nor a `command` that tells how much is used")),
            (Some(_), Some(_)) => Some(("", "it names a `file` and a `command`; leave one of them out")),
            (Some(file), None) if blank(file) => Some(("/file", "it is not a path")),
            (None, Some(program)) if blank(program) => Some(("/command/0", "it is not the name of a program")),
            (Some(_), None) if self.every.is_some() => {
                Some(("/every", "a file is read whenever it is needed; `every` belongs to a `command`"))
            }
            _ => None,
        }
    }

    /// How long a reading of the command is good for.
    pub fn every(&self) -> Seconds {
        self.every.map_or(EVERY, TimeLimit::seconds)
    }
}

/// One window of a provider's quota.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// What the provider calls it, such as `five_hour`.
    pub name: String,
    /// How much of it is used, in percent; more than 100 where the provider says so.
    pub used_percent: f64,
    /// When it begins anew; none where the reading does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<DateTime<Utc>>,
}

/// What a reader said, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// When it was made: a file's time of modification, or the time at which a command was asked.
    pub at: DateTime<Utc>,
    /// The windows.
    pub windows: Vec<Window>,
}

/// Why a family is held for its quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Until when at most.
    pub until: DateTime<Utc>,
    /// The figures.
    pub why: String,
}

impl Reading {
    /// The windows that certainly still mean what they say.
    fn current(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Window> {
        let fresh = now.signed_duration_since(self.at) <= FRESH;
        self.windows.iter().filter(move |window| window.resets_at.map_or(fresh, |at| at > now))
    }

    /// Whether nothing of it can be relied on any more.
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.current(now).next().is_none()
    }

    /// Whether the family is held while this much is kept back; `changes` is when that amount changes, where it does.
    pub fn held(
        &self,
        reserve: Percent,
        changes: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        bounds: (TimeDelta, TimeDelta),
    ) -> Option<Held> {
        let over = self.current(now).filter(|window| window.used_percent >= 100.0 - f64::from(reserve.0));
        // All of them have to begin anew; one that does not say when counts while the reading is fresh.
        let last = over.map(|window| (window.resets_at.unwrap_or(self.at + FRESH), window)).max_by_key(|(at, _)| *at);
        let (resets_at, window) = last?;
        let until = changes.map_or(resets_at, |changes| changes.min(resets_at));
        let until = until.clamp(now + bounds.0, now + bounds.1);
        let used = (window.used_percent * 10.0).round() / 10.0;
        let why = format!("{used}% of {} is used, and {reserve} is kept back", window.name);
        Some(Held { until, why })
    }
}

/// The windows that a reader's text tells of: our own form, `{"windows": [{name, used_percent, resets_at}]}`, or the
/// `rate_limits` that Codex writes into its session files, `{"primary": {used_percent, window_minutes, resets_at}, …}`.
/// A time is RFC 3339 or a number of seconds since 1970.
///
/// # Errors
/// It is neither, or a figure is missing or no number; the sentence says which.
pub fn parse(text: &str) -> Result<Vec<Window>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let value = value.get("rate_limits").unwrap_or(&value);
    if let Some(windows) = value.get("windows") {
        let windows = windows.as_array().ok_or("`windows` is not a list")?;
        return windows.iter().enumerate().map(|(index, one)| window(one, &format!("window {index}"))).collect();
    }
    let mut windows = Vec::new();
    for key in ["primary", "secondary"] {
        match value.get(key) {
            None | Some(Value::Null) => {}
            Some(one) => windows.push(window(one, key)?),
        }
    }
    if windows.is_empty() {
        return Err("it has no `windows`, and neither `primary` nor `secondary`".to_owned());
    }
    Ok(windows)
}

fn window(value: &Value, place: &str) -> Result<Window, String> {
    let used_percent = value.get("used_percent").and_then(Value::as_f64);
    let used_percent = used_percent
        .filter(|used| *used >= 0.0)
        .ok_or_else(|| format!("{place} has no `used_percent` that is a number, zero or more"))?;
    let resets_at = match value.get("resets_at") {
        None | Some(Value::Null) => None,
        Some(at) => Some(moment(at).ok_or_else(|| format!("{place} has a `resets_at` that is no time"))?),
    };
    let minutes = value.get("window_minutes").and_then(Value::as_u64);
    let name = match (value.get("name").and_then(Value::as_str), minutes) {
        // Somebody else's words, which end up on screens.
        (Some(name), _) => name.chars().filter(|c| !c.is_control()).take(60).collect(),
        (None, Some(minutes)) => format!("the window of {}", Seconds(minutes.saturating_mul(60))),
        (None, None) => place.to_owned(),
    };
    Ok(Window { name, used_percent, resets_at })
}

fn moment(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => text.parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and what is absurd is no time then")]
        Value::Number(number) => DateTime::from_timestamp(number.as_f64()? as i64, 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (TimeDelta, TimeDelta) = (TimeDelta::minutes(1), TimeDelta::days(7));

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("time")
    }

    fn reading(text: &str) -> Reading {
        Reading { at: at("2026-11-20T02:00:00Z"), windows: parse(text).expect("windows") }
    }

    fn percent(number: u8) -> Percent {
        Percent::new(number).expect("percent")
    }

    #[test]
    fn both_forms_are_read() {
        let own = r#"{"windows":[{"name":"five_hour","used_percent":83.5,"resets_at":"2026-11-20T05:00:00Z"}]}"#;
        let codex = r#"{"primary":{"used_percent":83.5,"window_minutes":300,"resets_at":1795150800},"secondary":null}"#;
        let nested = format!(r#"{{"rate_limits":{codex}}}"#);
        let windows = parse(own).expect("own");
        assert_eq!((windows[0].name.as_str(), windows[0].used_percent), ("five_hour", 83.5));
        for text in [codex, &nested] {
            let of_codex = parse(text).expect("codex");
            assert_eq!((of_codex.len(), of_codex[0].name.as_str()), (1, "the window of 5h"));
            assert_eq!(of_codex[0].resets_at, windows[0].resets_at, "{text}");
        }
    }

    #[test]
    fn what_is_no_reading_says_why() {
        for (text, why) in [
            ("", "not JSON"),
            ("[]", "no `windows`"),
            ("{}", "no `windows`"),
            (r#"{"windows":{}}"#, "not a list"),
            (r#"{"windows":[{"name":"a"}]}"#, "window 0 has no `used_percent`"),
            (r#"{"windows":[{"used_percent":"9"}]}"#, "window 0 has no `used_percent`"),
            (r#"{"windows":[{"used_percent":-1}]}"#, "window 0 has no `used_percent`"),
            (r#"{"windows":[{"used_percent":9,"resets_at":"soon"}]}"#, "no time"),
            (r#"{"primary":{"used_percent":9,"resets_at":1e300}}"#, "no time"),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_family_is_held_from_its_reserve_on_until_the_last_of_its_windows_begins_anew() {
        let text = r#"{"windows":[{"name":"five_hour","used_percent":80,"resets_at":"2026-11-20T05:00:00Z"},
            {"name":"week","used_percent":79.96,"resets_at":"2026-11-22T00:00:00Z"}]}"#;
        let reading = reading(text);
        let now = at("2026-11-20T02:00:00Z");
        let held = |reserve, changes| reading.held(percent(reserve), changes, now, BOUNDS);
        assert_eq!(held(19, None), None);
        let five_hour = held(20, None).expect("held");
        assert_eq!(five_hour.until, at("2026-11-20T05:00:00Z"));
        assert_eq!(five_hour.why, "80% of five_hour is used, and 20% is kept back");
        let week = held(60, None).expect("held");
        assert_eq!(
            (week.until, week.why.as_str()),
            (at("2026-11-22T00:00:00Z"), "80% of week is used, and 60% is kept back")
        );
        let changes = at("2026-11-20T04:00:00Z");
        assert_eq!(held(60, Some(changes)).expect("held").until, changes);
    }

    #[test]
    fn what_may_have_changed_holds_nobody() {
        let dated = reading(r#"{"windows":[{"name":"w","used_percent":99,"resets_at":"2026-11-20T05:00:00Z"}]}"#);
        let undated = reading(r#"{"windows":[{"name":"w","used_percent":99}]}"#);
        let held = |reading: &Reading, now: &str| reading.held(percent(20), None, at(now), BOUNDS).is_some();
        assert!(held(&dated, "2026-11-20T04:59:59Z") && !held(&dated, "2026-11-20T05:00:00Z"));
        assert!(held(&undated, "2026-11-20T03:00:00Z") && !held(&undated, "2026-11-20T03:00:01Z"));
        assert!(undated.is_stale(at("2026-11-20T03:00:01Z")) && !undated.is_stale(at("2026-11-20T03:00:00Z")));
    }

    #[test]
    fn a_hold_is_bounded() {
        let absurd = reading(r#"{"windows":[{"name":"w","used_percent":100,"resets_at":"2099-01-01T00:00:00Z"}]}"#);
        let now = at("2026-11-20T02:00:00Z");
        assert_eq!(absurd.held(percent(0), None, now, BOUNDS).expect("held").until, now + TimeDelta::days(7));
    }

    #[test]
    fn percentages_are_read_as_people_write_them() {
        for (text, expected) in
            [("\"20%\"", Some(20)), ("20", Some(20)), ("\" 0 %\"", Some(0)), ("\"101%\"", None), ("\"20\"", None)]
        {
            assert_eq!(serde_json::from_str::<Percent>(text).ok(), expected.and_then(Percent::new), "{text}");
        }
    }

    #[test]
    fn a_reader_names_one_source() {
        let of = |json: &str| serde_json::from_str::<QuotaReader>(json).expect("reader").fault().map(|fault| fault.0);
        assert_eq!(of(r#"{"file":"a"}"#), None);
        assert_eq!(of(r#"{"command":["a"],"every":"5 minutes"}"#), None);
        assert_eq!(of(r#"{"reserve":"20%"}"#), Some(""));
        assert_eq!(of(r#"{"file":"a","command":["b"]}"#), Some(""));
        assert_eq!(of(r#"{"file":" "}"#), Some("/file"));
        assert_eq!(of(r#"{"file":"a","every":"5 minutes"}"#), Some("/every"));
    }
}
