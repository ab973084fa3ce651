//! The handoff: the envelope in which a worker says how its work ended. It is the only completion signal there is.
//!
//! What the worker claims is never believed here; gates and verifiers judge the tree. The envelope only has to be
//! whole, and about this stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::card::RelativePath;
use super::fault::Faults;
use super::ids::StageId;
use super::strict;

/// How the worker says its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HandoffStatus {
    /// Every acceptance criterion is met.
    Pass,
    /// Some of the work is done and usable; the notes say what is missing.
    Partial,
    /// The work could not be done; the notes say why.
    Fail,
    /// A question must be answered by a person first.
    Blocked,
}

impl HandoffStatus {
    const ALL: [Self; 4] = [Self::Pass, Self::Partial, Self::Fail, Self::Blocked];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Partial => "partial",
            Self::Fail => "fail",
            Self::Blocked => "blocked",
        }
    }
}

/// A worker's envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// The stage that the work was for.
    pub stage_id: StageId,
    /// How the work ended.
    pub status: HandoffStatus,
    /// The files that were made or changed, relative to the project's root.
    pub deliverables: Vec<RelativePath>,
    /// What the verifier and the operator should know: what was done, what was left, what surprised.
    pub notes: String,
    /// The numbers of the acceptance criteria that are not met; empty when all are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_acceptance: Vec<u32>,
    /// The question a person must answer, when the status is `blocked`; otherwise null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
}

impl Handoff {
    const KEYS: [&'static str; 6] = ["stage_id", "status", "deliverables", "notes", "failed_acceptance", "question"];

    /// Reads what a worker of `expected` left in its outbox; every fault at once.
    ///
    /// The last two keys may be absent or null. Deliverables inside `.autometta/` are left out: that folder is ours
    /// and never part of a candidate, and a worker that lists its own handoff has done no harm.
    pub fn parse(bytes: &[u8], expected: &StageId) -> Result<Self, Faults> {
        let (value, mut faults) = strict::read(bytes)?;
        let handoff = strict::Object::new(&value, "", &Self::KEYS, &mut faults).and_then(|object| {
            object.stage(expected, &mut faults);
            let status = object.choice("status", &HandoffStatus::ALL, HandoffStatus::as_str, &mut faults);
            let deliverables = deliverables(&object, &mut faults);
            let notes = object.text("notes", &mut faults);
            let failed_acceptance = failed_acceptance(&object, &mut faults);
            let question = object
                .optional("question")
                .and_then(|_| object.text("question", &mut faults))
                .filter(|question| !question.trim().is_empty());
            if status == Some(HandoffStatus::Blocked) && question.is_none() {
                faults.add(None, "/question", "is missing or empty; a blocked stage says what it needs to know");
            }
            Some(Self {
                stage_id: expected.clone(),
                status: status?,
                deliverables: deliverables?,
                notes: notes?.to_owned(),
                failed_acceptance,
                question: question.map(str::to_owned),
            })
        });
        strict::finish(handoff, faults)
    }

    /// The JSON Schema of a handoff, in the form that strict structured outputs accept.
    ///
    /// It is narrower than [`Handoff::parse`] in one point: all six keys are required.
    pub fn schema() -> Value {
        strict::schema::<Self>()
    }

    /// An example for a prompt: what a worker of `stage` writes when everything went well.
    pub fn example(stage: &StageId, deliverables: &[RelativePath]) -> String {
        let value = serde_json::json!({
            "stage_id": stage,
            "status": HandoffStatus::Pass,
            "deliverables": deliverables,
            "notes": "What you did, what you left, and what a reviewer should know.",
            "failed_acceptance": [],
            "question": null,
        });
        format!("{value:#}")
    }
}

fn deliverables(object: &strict::Object<'_>, faults: &mut Faults) -> Option<Vec<RelativePath>> {
    let mut paths = Vec::new();
    for (index, value) in object.list("deliverables", faults)?.iter().enumerate() {
        let place = format!("/deliverables/{index}");
        match value.as_str().map(|text| (text, text.parse::<RelativePath>())) {
            None => faults.add(None, place, "is not a text"),
            Some((_, Ok(path))) => paths.push(path),
            Some((text, Err(_))) if RelativePath::is_own_folder(text) && !text.contains("..") => {}
            Some((_, Err(error))) => faults.add(None, place, error.to_string()),
        }
    }
    Some(paths)
}

fn failed_acceptance(object: &strict::Object<'_>, faults: &mut Faults) -> Vec<u32> {
    let Some(numbers) = object.optional("failed_acceptance").and_then(|_| object.list("failed_acceptance", faults))
    else {
        return Vec::new();
    };
    let mut failed = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        match strict::counting_number(number) {
            Some(number) => failed.push(number),
            None => faults.add(None, format!("/failed_acceptance/{index}"), "is not the number of a criterion"),
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> StageId {
        "01-greeting".parse().expect("id")
    }

    fn faults(text: &str) -> Vec<String> {
        match Handoff::parse(text.as_bytes(), &stage()) {
            Ok(_) => Vec::new(),
            Err(faults) => {
                assert!(!faults.is_empty(), "an error without a fault");
                faults.0.iter().map(ToString::to_string).collect()
            }
        }
    }

    #[test]
    fn the_contracts_example_is_read() {
        let text = r#"{"stage_id":"01-greeting","status":"blocked","deliverables":["src/greet.rs","./a/"],
            "notes":"n","failed_acceptance":[2],"question":"Which world?"}"#;
        let handoff = Handoff::parse(text.as_bytes(), &stage()).expect("handoff");
        assert_eq!(handoff.status, HandoffStatus::Blocked);
        assert_eq!(handoff.deliverables.iter().map(RelativePath::as_str).collect::<Vec<_>>(), ["src/greet.rs", "a/"]);
        assert_eq!(handoff.failed_acceptance, [2]);
        assert_eq!(handoff.question.as_deref(), Some("Which world?"));
    }

    #[test]
    fn four_keys_are_enough_and_null_is_absent() {
        let short = r#"{"stage_id":"01-greeting","status":"pass","deliverables":[],"notes":""}"#;
        let long = r#"{"stage_id":"01-greeting","status":"pass","deliverables":[".autometta/outbox/handoff.json"],
            "notes":"","failed_acceptance":null,"question":null}"#;
        let short = Handoff::parse(short.as_bytes(), &stage()).expect("handoff");
        assert_eq!(short, Handoff::parse(long.as_bytes(), &stage()).expect("handoff"));
        let published = serde_json::to_string(&short).expect("json");
        assert_eq!(short, Handoff::parse(published.as_bytes(), &stage()).expect("handoff"));
    }

    #[test]
    fn each_fault_has_its_place() {
        let base = r#""stage_id":"01-greeting","status":"pass","deliverables":[],"notes":"""#;
        for (text, fault) in [
            (String::new(), "line 1: is not JSON"),
            ("{".to_owned(), "line 1: is not JSON"),
            (format!("{{{base}}} {{}}"), "line 1: is not JSON"),
            ("[]".to_owned(), "is not an object"),
            (format!("{{{base},\"confidence\":1}}"), "the key `confidence` is unknown"),
            (format!("{{{base},\"status\":\"fail\"}}"), "the key `status` stands there twice"),
            (format!("{{{base}}}").replace("01-greeting", "02-other"), "/stage_id: is `02-other`, but the stage is"),
            (format!("{{{base}}}").replace("pass", "PASS"), "/status: is `PASS`; it is one of pass, partial"),
            (format!("{{{base}}}").replace("pass", "blocked"), "/question: is missing or empty"),
            (format!("{{{base},\"question\":\" \"}}").replace("pass", "blocked"), "/question: is missing or empty"),
            (format!("{{{base},\"question\":7}}"), "/question: is not a text"),
            (format!("{{{base}}}").replace("[]", r#"["/etc/x"]"#), "/deliverables/0: the path `/etc/x` is absolute"),
            (format!("{{{base}}}").replace("[]", r#"["a","../x"]"#), "/deliverables/1: the path `../x` leaves"),
            (format!("{{{base}}}").replace("[]", r#"[".git/hooks/x"]"#), "/deliverables/0: the path"),
            (format!("{{{base}}}").replace("[]", r#"[".autometta/../../x"]"#), "/deliverables/0: the path"),
            (format!("{{{base}}}").replace("[]", "[1]"), "/deliverables/0: is not a text"),
            (format!("{{{base}}}").replace("[]", "{}"), "/deliverables: is not a list"),
            (format!("{{{base}}}").replace("\"notes\":\"\"", "\"notes\":null"), "/notes: is not a text"),
            (format!("{{{base},\"failed_acceptance\":[0]}}"), "/failed_acceptance/0: is not the number"),
            (format!("{{{base},\"failed_acceptance\":[1.5]}}"), "/failed_acceptance/0: is not the number"),
        ] {
            let found = faults(&text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(fault), "{text}: {found:?}");
        }
        assert!(Handoff::parse(b"{\"stage_id\":\"\xff\"}", &stage()).is_err());
        assert!(faults(&"[".repeat(100_000))[0].contains("is not JSON"));
        assert!(faults(&" ".repeat(2 << 20))[0].contains("bytes"));
    }

    #[test]
    fn all_faults_come_at_once() {
        let found = faults(r#"{"stage_id":"x","status":"blocked","deliverables":["/a","../b"],"extra":{"k":1,"k":2}}"#);
        assert_eq!(found.len(), 7, "{found:?}");
        assert!(found.iter().any(|fault| fault.starts_with("/extra: the key `k` stands there twice")), "{found:?}");
    }

    #[test]
    fn the_schema_takes_the_example_and_so_does_the_parser() {
        let schema = Handoff::schema();
        let paths = ["src/greet.rs".parse().expect("path")];
        let text = Handoff::example(&stage(), &paths);
        let handoff = Handoff::parse(text.as_bytes(), &stage()).expect("handoff");
        assert_eq!(handoff.deliverables, paths);
        let validator = jsonschema::validator_for(&schema).expect("schema");
        let mut value: Value = serde_json::from_str(&text).expect("json");
        assert!(validator.is_valid(&value), "{schema:#}");
        value["status"] = "done".into();
        assert!(!validator.is_valid(&value));
        assert_eq!(schema["properties"]["question"]["type"], serde_json::json!(["string", "null"]));
        assert_eq!(schema["properties"]["status"]["enum"], serde_json::json!(["pass", "partial", "fail", "blocked"]));
    }
}
