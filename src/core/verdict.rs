//! The verdict: what a verifier found, criterion by criterion.
//!
//! A verdict that is incomplete, malformed or about something else is no verdict at all, and never a pass.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Faults;
use super::ids::StageId;
use super::strict;

pub mod evidence;
mod scores;

pub use scores::{BEST, Scores, Scoring};

/// The longest subject of a landing commit, in characters: what `git log --oneline` shows in a usual terminal.
const HEADLINE: usize = 72;

/// What a verifier says about a criterion, or about the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Judgement {
    /// It was looked at, and it holds.
    Pass,
    /// It was looked at, and it does not hold.
    Fail,
    /// It could not be looked at; the evidence says what was missing.
    Blocked,
}

impl Judgement {
    const ALL: [Self; 3] = [Self::Pass, Self::Fail, Self::Blocked];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Blocked => "BLOCKED",
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What a verifier found about one acceptance criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CriterionVerdict {
    /// The criterion's number in the card.
    pub id: u32,
    /// The criterion in a few words.
    pub name: String,
    /// Whether it holds.
    pub verdict: Judgement,
    /// What shows it: file and line, or a command and its output. For BLOCKED: what was missing to look.
    pub evidence: String,
}

/// A verifier's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The stage that was judged.
    pub stage_id: StageId,
    /// The verifier's word about the whole.
    pub overall: Judgement,
    /// The change in one imperative line of at most 72 characters; it becomes the commit's subject.
    pub headline: String,
    /// One entry for each acceptance criterion of the card.
    pub criteria: Vec<CriterionVerdict>,
    /// What the criteria do not ask for and somebody should know; may be empty.
    pub additional_findings: String,
    /// The review's scores, where the verifier was asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub scores: Option<Scores>,
}

impl Verdict {
    const KEYS: [&'static str; 5] = ["stage_id", "overall", "headline", "criteria", "additional_findings"];
    const SCORES: &'static str = "scores";

    /// Reads a verdict about `expected`, whose card has `criteria` criteria; every fault at once.
    ///
    /// The entries come back in the order of their numbers.
    pub fn parse(bytes: &[u8], expected: &StageId, criteria: usize) -> Result<Self, Faults> {
        Self::parse_scored(bytes, expected, criteria, Scoring::NotAsked)
    }

    /// The same, of a verifier that may have been asked for scores.
    pub fn parse_scored(bytes: &[u8], expected: &StageId, criteria: usize, scoring: Scoring) -> Result<Self, Faults> {
        let (value, mut faults) = strict::read(bytes)?;
        let mut keys = Self::KEYS.to_vec();
        keys.extend((scoring == Scoring::Asked).then_some(Self::SCORES));
        let verdict = strict::Object::new(&value, "", &keys, &mut faults).and_then(|object| {
            object.stage(expected, &mut faults);
            let overall = object.choice("overall", &Judgement::ALL, Judgement::as_str, &mut faults);
            let headline = object.text("headline", &mut faults);
            let entries = entries(&object, criteria, &mut faults);
            let findings = object.text("additional_findings", &mut faults);
            let scores = match scoring {
                Scoring::NotAsked => Some(None),
                Scoring::Asked => object
                    .any(Self::SCORES, &mut faults)
                    .and_then(|value| Scores::read(value, "/scores", &mut faults))
                    .map(Some),
            };
            let verdict = Self {
                stage_id: expected.clone(),
                overall: overall?,
                headline: headline?.to_owned(),
                criteria: entries?,
                additional_findings: findings?.to_owned(),
                scores: scores?,
            };
            if verdict.overall == Judgement::Blocked && !verdict.says_what_was_missing() {
                let message = "is BLOCKED, but neither a BLOCKED criterion nor the findings say what was missing";
                faults.add(None, "/overall", message);
            }
            Some(verdict)
        });
        strict::finish(verdict, faults)
    }

    /// What the verdict amounts to: a PASS overall with a criterion that is not PASS is a FAIL.
    pub fn judged(&self) -> Judgement {
        if self.overall == Judgement::Pass && self.criteria.iter().any(|one| one.verdict != Judgement::Pass) {
            Judgement::Fail
        } else {
            self.overall
        }
    }

    /// The scores that a PASS does not reach, in words. Such a PASS is a FAIL.
    pub fn below(&self, floor: Option<u32>) -> Option<String> {
        if self.judged() != Judgement::Pass {
            return None;
        }
        self.scores.zip(floor).and_then(|(scores, floor)| scores.below(floor))
    }

    /// The JSON Schema of a verdict, in the form that strict structured outputs accept.
    pub fn schema() -> Value {
        strict::schema::<Self>()
    }

    /// The same with the scores of a review.
    pub fn scored_schema() -> Value {
        let mut schema = Self::schema();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(Self::SCORES.to_owned(), strict::schema::<Scores>());
        }
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.push(Self::SCORES.into());
        }
        schema
    }

    /// Whether a schema that a verifier was given asks for scores.
    pub fn scoring_of(schema: &Value) -> Scoring {
        if schema.pointer("/properties/scores").is_some() { Scoring::Asked } else { Scoring::NotAsked }
    }

    /// An example for a prompt: the shape of a verdict about `stage`, whose card has `criteria` criteria.
    pub fn example(stage: &StageId, criteria: usize, scoring: Scoring) -> String {
        let entry = |id| {
            serde_json::json!({
                "id": id,
                "name": "the criterion in a few words",
                "verdict": Judgement::Pass,
                "evidence": "src/file.rs:12 does …; `command` printed …",
            })
        };
        let mut value = serde_json::json!({
            "stage_id": stage,
            "overall": Judgement::Pass,
            "headline": "Add what the change adds",
            "criteria": (1..=criteria).map(entry).collect::<Vec<_>>(),
            "additional_findings": "",
        });
        if scoring == Scoring::Asked {
            value[Self::SCORES] = serde_json::json!({"alignment": 8, "approach": 7, "tests": 9});
        }
        format!("{value:#}")
    }

    fn says_what_was_missing(&self) -> bool {
        let blocked = self.criteria.iter().any(|one| one.verdict == Judgement::Blocked);
        blocked || !self.additional_findings.trim().is_empty()
    }
}

fn entries(object: &strict::Object<'_>, criteria: usize, faults: &mut Faults) -> Option<Vec<CriterionVerdict>> {
    let mut entries = Vec::new();
    let mut seen = vec![false; criteria];
    for (index, value) in object.list("criteria", faults)?.iter().enumerate() {
        let place = format!("/criteria/{index}");
        let Some(entry) = strict::Object::new(value, &place, &["id", "name", "verdict", "evidence"], faults) else {
            continue;
        };
        let id = entry.number("id", faults);
        let name = entry.text("name", faults);
        let verdict = entry.choice("verdict", &Judgement::ALL, Judgement::as_str, faults);
        let evidence = entry.text("evidence", faults);
        if evidence.is_some_and(|text| text.trim().is_empty()) {
            faults.add(None, entry.at("evidence"), "is empty; a judgement needs evidence");
        }
        if let Some(id) = id {
            match seen.get_mut(id as usize - 1) {
                None => faults.add(None, entry.at("id"), format!("is {id}, but the card has {criteria} criteria")),
                Some(true) => faults.add(None, entry.at("id"), format!("is {id} once more; each criterion has one")),
                Some(seen) => *seen = true,
            }
        }
        if let (Some(id), Some(name), Some(verdict), Some(evidence)) = (id, name, verdict, evidence) {
            entries.push(CriterionVerdict { id, name: name.to_owned(), verdict, evidence: evidence.to_owned() });
        }
    }
    for (index, _) in seen.iter().enumerate().filter(|(_, seen)| !**seen) {
        faults.add(None, "/criteria", format!("criterion {} is not judged", index + 1));
    }
    entries.sort_by_key(|entry| entry.id);
    Some(entries)
}

/// A verifier's headline as the subject of a commit: one line of at most 72 characters, cut between words.
///
/// None when nothing is left of it, or when git would read it as a trailer (`Signed-off-by: …`), which an agent has
/// no business to write.
pub fn commit_headline(text: &str) -> Option<String> {
    // Marks that turn the direction of the text, or have no width, show people something else than what is stored.
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let clean = |line: &str| {
        let words = line.split_whitespace().map(|word| word.replace(hidden, ""));
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let line = text.lines().map(clean).find(|line| !line.is_empty())?;
    if is_trailer(&line) { None } else { Some(shortened(&line)).filter(|short| !short.is_empty()) }
}

/// `Word-Word: …`, as in `Co-authored-by: …`. One word and a colon (`fix: …`) is an honest subject.
fn is_trailer(line: &str) -> bool {
    line.split_once(':').is_some_and(|(token, _)| {
        let token = token.trim_end();
        token.contains('-') && token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// The first words of a line that fit, or the first characters of a single endless word.
fn shortened(line: &str) -> String {
    let Some((limit, _)) = line.char_indices().nth(HEADLINE) else { return line.to_owned() };
    let between_words = line[limit..].starts_with(' ');
    let end = if between_words { limit } else { line[..limit].rfind(' ').unwrap_or(limit) };
    line[..end].trim_end_matches([' ', ',', ';', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> StageId {
        "01-greeting".parse().expect("id")
    }

    fn text(overall: &str, entries: &[(u32, &str, &str)]) -> String {
        let criteria: Vec<Value> = entries
            .iter()
            .map(|(id, verdict, evidence)| {
                serde_json::json!({"id": id, "name": "n", "verdict": verdict, "evidence": evidence})
            })
            .collect();
        serde_json::json!({"stage_id": "01-greeting", "overall": overall, "headline": "h", "criteria": criteria,
            "additional_findings": ""})
        .to_string()
    }

    fn faults(text: &str) -> Vec<String> {
        match Verdict::parse(text.as_bytes(), &stage(), 2) {
            Ok(_) => Vec::new(),
            Err(faults) => {
                assert!(!faults.is_empty(), "an error without a fault");
                faults.0.iter().map(ToString::to_string).collect()
            }
        }
    }

    #[test]
    fn a_pass_is_a_pass_only_when_every_criterion_is() {
        use Judgement::{Blocked, Fail, Pass};
        for (overall, one, two, judged) in [
            (Pass, Pass, Pass, Pass),
            (Pass, Pass, Fail, Fail),
            (Pass, Blocked, Pass, Fail),
            (Fail, Pass, Pass, Fail),
            (Fail, Blocked, Fail, Fail),
            (Blocked, Pass, Blocked, Blocked),
        ] {
            let text = text(overall.as_str(), &[(1, one.as_str(), "e"), (2, two.as_str(), "e")]);
            let verdict = Verdict::parse(text.as_bytes(), &stage(), 2).expect("verdict");
            assert_eq!((verdict.overall, verdict.judged()), (overall, judged), "{text}");
        }
    }

    #[test]
    fn entries_come_back_in_order() {
        let verdict = Verdict::parse(text("PASS", &[(2, "PASS", "e"), (1, "PASS", "f")]).as_bytes(), &stage(), 2);
        assert_eq!(verdict.expect("verdict").criteria.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn each_fault_has_its_place() {
        let good = text("PASS", &[(1, "PASS", "e"), (2, "PASS", "e")]);
        assert_eq!(faults(&good), Vec::<String>::new());
        for (text, fault) in [
            (text("PASS", &[(1, "PASS", "e")]), "/criteria: criterion 2 is not judged"),
            (text("PASS", &[(1, "PASS", "e"), (2, "PASS", " ")]), "/criteria/1/evidence: is empty"),
            (text("pass", &[(1, "PASS", "e"), (2, "PASS", "e")]), "/overall: is `pass`; it is one of PASS, FAIL"),
            (text("PASS", &[(1, "OK", "e"), (2, "PASS", "e")]), "/criteria/0/verdict: is `OK`"),
            (text("BLOCKED", &[(1, "PASS", "e"), (2, "FAIL", "e")]), "/overall: is BLOCKED, but neither"),
            (
                text("PASS", &[(1, "PASS", "e"), (2, "PASS", "e"), (2, "PASS", "e")]),
                "/criteria/2/id: is 2 once more; each criterion has one",
            ),
            (
                text("PASS", &[(1, "PASS", "e"), (2, "PASS", "e"), (3, "PASS", "e")]),
                "/criteria/2/id: is 3, but the card has 2 criteria",
            ),
            (good.replace("01-greeting", "01-other"), "/stage_id: is `01-other`"),
            (good.replace(r#""headline":"h","#, ""), "/headline: is missing"),
            (good.replace(r#""headline":"h","#, r#""headline":"h","run_id":"x","#), "the key `run_id` is unknown"),
            (good.replacen(r#""id":1"#, r#""id":1,"id":2"#, 1), "/criteria/0: the key `id` stands there twice"),
            (good.replace(r#""additional_findings":"""#, r#""additional_findings":null"#), "is not a text"),
            ("The change looks good to me.".to_owned(), "is not JSON"),
        ] {
            let found = faults(&text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(fault), "{text}: {found:?}");
        }
        assert_eq!(faults(r#"{"criteria":[7,{}]}"#).len(), 4 + 1 + 4 + 2);
    }

    /// What strict structured outputs refuse, wherever it stands.
    fn check_strictness(schema: &Value, place: &str) {
        match schema {
            Value::Object(keywords) => {
                for refused in ["$schema", "$ref", "$defs", "format", "pattern", "oneOf", "default", "minimum", "title"]
                {
                    assert!(!keywords.contains_key(refused), "{place}: {refused}");
                }
                if let Some(properties) = keywords.get("properties").and_then(Value::as_object) {
                    let names: Vec<Value> = properties.keys().cloned().map(Value::String).collect();
                    assert_eq!(keywords["required"], Value::Array(names), "{place}");
                    assert_eq!(keywords["additionalProperties"], Value::Bool(false), "{place}");
                }
                keywords.iter().for_each(|(key, value)| check_strictness(value, &format!("{place}/{key}")));
            }
            Value::Array(items) => items.iter().for_each(|item| check_strictness(item, place)),
            _ => {}
        }
    }

    #[test]
    fn the_schemas_are_strict_and_take_the_example() {
        let schema = Verdict::schema();
        check_strictness(&schema, "verdict");
        check_strictness(&crate::core::handoff::Handoff::schema(), "handoff");
        let text = Verdict::example(&stage(), 2, Scoring::NotAsked);
        assert_eq!(faults(&text), Vec::<String>::new());
        let validator = jsonschema::validator_for(&schema).expect("schema");
        let mut value: Value = serde_json::from_str(&text).expect("json");
        assert!(validator.is_valid(&value), "{schema:#}");
        value["criteria"][0]["verdict"] = "MAYBE".into();
        assert!(!validator.is_valid(&value));
        let entry = &schema["properties"]["criteria"]["items"];
        assert_eq!(entry["properties"]["verdict"]["enum"], serde_json::json!(["PASS", "FAIL", "BLOCKED"]));
    }

    #[test]
    fn scores_are_there_exactly_where_they_were_asked_for() {
        let schema = Verdict::scored_schema();
        check_strictness(&schema, "scored verdict");
        assert_eq!(Verdict::scoring_of(&schema), Scoring::Asked);
        assert_eq!(Verdict::scoring_of(&Verdict::schema()), Scoring::NotAsked);
        let example = Verdict::example(&stage(), 2, Scoring::Asked);
        let validator = jsonschema::validator_for(&schema).expect("schema");
        assert!(validator.is_valid(&serde_json::from_str(&example).expect("json")), "{schema:#}");
        let read = |text: &str, scoring| Verdict::parse_scored(text.as_bytes(), &stage(), 2, scoring);
        let scored = read(&example, Scoring::Asked).expect("verdict");
        assert_eq!(scored.scores, Some(Scores { alignment: 8, approach: 7, tests: 9 }));
        assert_eq!(scored.below(None), None);
        assert_eq!(scored.below(Some(7)), None);
        assert_eq!(scored.below(Some(8)).as_deref(), Some("scored below the floor of 8: approach 7"));
        for (text, scoring, fault) in [
            (example.clone(), Scoring::NotAsked, "the key `scores` is unknown"),
            (Verdict::example(&stage(), 2, Scoring::NotAsked), Scoring::Asked, "/scores: is missing"),
            (example.replace("\"tests\": 9", "\"tests\": 11"), Scoring::Asked, "/scores/tests: is 11; a score"),
            (example.replace("\"tests\": 9", "\"tests\": 0"), Scoring::Asked, "/scores/tests: is not a whole"),
            (example.replace("\"tests\": 9", "\"tests\": 7.5"), Scoring::Asked, "/scores/tests: is not a whole"),
            (example.replace("\"tests\": 9", "\"style\": 9"), Scoring::Asked, "/scores/tests: is missing"),
        ] {
            let faults = read(&text, scoring).expect_err(fault).to_string();
            assert!(faults.contains(fault), "{faults}");
        }
        let failed = text("FAIL", &[(1, "FAIL", "e"), (2, "PASS", "e")]);
        let failed = Verdict { scores: scored.scores, ..read(&failed, Scoring::NotAsked).expect("verdict") };
        assert_eq!(failed.below(Some(10)), None, "a FAIL is one without scores");
    }

    #[test]
    fn headlines_become_subjects() {
        let long = "Print a greeting for every name given on the command line and on standard input as well";
        let exact = "x".repeat(70) + " y";
        for (text, expected) in [
            ("Print a greeting", Some("Print a greeting")),
            ("  Print\ta  greeting.\r\nand more", Some("Print a greeting.")),
            ("\n\nPrint it", Some("Print it")),
            ("Pri\u{1b}[31mnt\u{7} \u{202e}it\u{200b}", Some("Pri[31mnt it")),
            (long, Some("Print a greeting for every name given on the command line and on")),
            (&exact, Some(exact.as_str())),
            (&(exact.clone() + "z"), Some(&exact[..70])),
            (&(exact.clone() + " z"), Some(exact.as_str())),
            (&"ü".repeat(80), Some(&"ü".repeat(72))),
            (&("ü".repeat(71) + ", more"), Some(&"ü".repeat(71))),
            ("fix: read stdin", Some("fix: read stdin")),
            ("Read a-b: c", Some("Read a-b: c")),
            ("", None),
            (" \n\u{7}\n", None),
            (&",".repeat(80), None),
            ("Signed-off-by: Eve <eve@x>", None),
            ("Co-Authored-By : Eve <eve@x>", None),
            ("\u{200b}Signed-off-by: Eve", None),
        ] {
            assert_eq!(commit_headline(text).as_deref(), expected, "{text:?}");
        }
    }
}
