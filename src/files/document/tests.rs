//! What is read, what is refused, and in which words.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::core::exit::{ProcessEnd, Refusal};
use crate::core::ids::{Identity, StageId};
use crate::core::manifest::Manifest;
use crate::core::v1::{V1Budget, V1State};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Queue {
    version: u32,
    stages: Vec<Entry>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: StageId,
    status: Status,
    worker: Identity,
    commit: Option<String>,
    started_at: Option<DateTime<Utc>>,
    tokens: Option<u64>,
    enabled: Option<bool>,
    refusal: Option<Refusal>,
    exit: Option<ProcessEnd>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// Waits.
    Pending,
    /// Runs.
    InProgress,
    Completed,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "phase", rename_all = "lowercase", deny_unknown_fields)]
#[expect(dead_code, reason = "only their faults matter")]
enum Phase {
    Working { attempt: u32 },
    Landing { tree: String },
}

fn shown<T>(read: Result<T, Faults>) -> Vec<String> {
    read.err().map(|faults| faults.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

const GOOD: &str = "version: 1\nstages:\n- id: 01-a\n  status: pending\n  worker: A <a@b>\n";

#[test]
fn every_fault_is_reported_at_once_with_its_line() {
    let text = "\
version: 1.5
stages:
- id: 01-a
  status: NO
  worke: A <a@b>
  commit: 1234567
  started_at: yesterday
  enabled: yes
  tokens: -4
  refusal: {class: limi, lin: x}
  exit: {cod: 1}
- id: 02-b
  status: pending
  worker: [A]
stags: 3
env: {1: 2, PYTHON: 3.10, EMPTY: ~}
";
    assert_eq!(
        shown(from_yaml::<Queue>(text)),
        [
            "line 1: /version: `1.5` is not a whole number",
            "line 3: /stages/0: `worker` is required",
            "line 4: /stages/0/status: `NO` is not one of completed, pending, in_progress",
            "line 5: /stages/0/worke: unknown key `worke`; did you mean `worker`?",
            "line 7: /stages/0/started_at: `yesterday` is not a time such as `2026-09-06T10:00:00Z`",
            "line 8: /stages/0/enabled: `yes` is not `true` or `false`",
            "line 9: /stages/0/tokens: `-4` is less than 0",
            "line 10: /stages/0/refusal: `line` is required",
            "line 10: /stages/0/refusal/class: `limi` is not one of limit, overloaded, network, auth, billing, model, \
             context, configuration",
            "line 10: /stages/0/refusal/lin: unknown key `lin`; did you mean `line`?",
            "line 11: /stages/0/exit: a mapping is not a mapping with `code` or a mapping with `signal` or `none`",
            "line 14: /stages/1/worker: a list is not text",
            "line 15: /stags: unknown key `stags`; did you mean `stages`?",
            "line 16: /env/EMPTY: nothing is not text",
        ]
    );
}

#[test]
fn each_broken_yaml_says_what_is_broken_and_where() {
    for (text, expected) in [
        ("", "it is empty"),
        (" \n\n", "it is empty"),
        ("# only\n", "it holds nothing but comments"),
        ("version: 1\nversion: 2\nstages: []", "line 2: the key `version` is given twice"),
        ("version: 1\nstages: []\nenv: {A: x, A: y}", "line 3: the key `A` is given twice"),
        ("version: 1\nstages: [a\n", "line 2: unclosed bracket '['"),
        (
            "version: 1\nstages: []\n---\nversion: 2\n",
            "line 4: a second document begins here; only one may stand in a file",
        ),
        (
            "version: 1\nstages: []\nenv: {<<: {A: x}}",
            "line 3: merge keys (`<<`) are not supported; write the keys out",
        ),
        ("version: !!foo 1\nstages: []", "line 1: unsupported tag `!!foo`"),
        ("version: 1\nstages: *queue\n", "line 2: reference to unknown value"),
        ("- 1\n", "line 1: a list is not a mapping"),
        ("version: 99999999999\nstages: []", "line 1: /version: it is not in the range of a number of this kind (u32)"),
        (
            "version: 1\n<<<<<<< HEAD\nstages: []\n=======\nstages: [x]\n>>>>>>> other\n",
            "line 2: a git merge left its conflict markers here; resolve the conflict first",
        ),
    ] {
        assert_eq!(shown(from_yaml::<Queue>(text)), [expected], "{text}");
    }
    assert_eq!(shown(from_yaml::<Queue>(b"version: 1\nx: \xff\n")), ["line 2: it is not UTF-8 text"]);
    let huge = vec![b' '; MAX_BYTES + 1];
    assert!(shown(from_yaml::<Queue>(huge))[0].starts_with("it is 67108865 bytes long"));
}

#[test]
fn each_broken_json_says_what_is_broken_and_where() {
    for (text, expected) in [
        ("", "it is empty"),
        (
            "{\n\t\"version\": 1,\n\t\"stages\": [\n\t\t{\"id\": \"01-a\", \"status\": \"pending\"}\n\t]\n}",
            "line 4: /stages/0: `worker` is required",
        ),
        ("{\"version\": 1,\n\"version\": 2, \"stages\": []}", "line 2: the key `version` is given twice"),
        (
            "{\"version\": 1, \"stages\": [],\n\"env\": {\"A\": \"x\", \"A\": \"y\"}}",
            "line 2: the key `A` is given twice",
        ),
        ("{\"version\": \"1\", \"stages\": []}", "line 1: /version: `1` is not a whole number"),
        ("{\"version\": 1", "line 1: EOF while parsing an object"),
        ("{\"version\": 1} x", "line 1: trailing characters"),
        ("{\n<<<<<<< HEAD\n}", "line 2: a git merge left its conflict markers here; resolve the conflict first"),
        ("{\"version\": 99999999999, \"stages\": []}", "line 1: invalid value: integer `99999999999`, expected u32"),
    ] {
        let found = shown(from_json::<Queue>(text));
        assert!(found.iter().any(|fault| fault == expected), "{text}: {found:?}");
    }
}

#[test]
fn plain_scalars_are_what_the_type_asks_for() {
    let text = "version: '1'\nstages: []\nenv: {YES: yes, NO: NO, PYTHON: 3.10, COMMIT: 1e10, ON: true}\n";
    let queue: Queue = from_yaml(text).expect("queue");
    let env: Vec<String> = queue.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(env, ["COMMIT=1e10", "NO=NO", "ON=true", "PYTHON=3.10", "YES=yes"]);
    // The way over a generic value ends at the same.
    let value = value_from_yaml::<Queue>(text).expect("value");
    assert_eq!(serde_json::from_value::<Queue>(value).expect("queue"), queue);

    for (text, accepted) in [("true", true), ("True", true), ("yes", false), ("on", false), ("1", false)] {
        let text = format!("{GOOD}  enabled: {text}\n");
        assert_eq!(from_yaml::<Queue>(&text).is_ok(), accepted, "{text}");
    }
}

#[test]
fn what_needs_no_schema_is_the_same_with_it() {
    let text = "max_parallel: 2\ncaps: {tokens: 900000000, cost_usd: 3.5, wall_clock: 9 hours}\nlink: [a, 'b']\n\
                families:\n  claude: {env: {A: x, B: '3.10'}, max_parallel: 1}\ngates:\n- {name: a, run: test -f x}\n";
    let tree = yaml::tree(text).expect("YAML");
    assert!(serde_json::from_value::<Manifest>(tree.value().clone()).is_ok(), "it needs none");
    assert_eq!(explain::Check::of::<Manifest>().as_typed(&tree), *tree.value());
    assert_eq!(value_from_yaml::<Manifest>(text).expect("value"), *tree.value());
}

#[test]
fn what_the_type_itself_refuses_is_reported_besides_the_schema() {
    let text = "version: 1\nstages: [{id: 01-a, status: pending, worker: 'A <-a@b>'}]\nfoo: 1\n";
    let found = shown(from_yaml::<Queue>(text));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].starts_with("line 2: /stages/0/worker: `A <-a@b>` is not a"), "{found:?}");
}

#[test]
fn a_variant_is_judged_by_its_own_shape() {
    for (text, expected) in [
        ("{phase: working}", "line 1: `attempt` is required"),
        ("{phase: working, attempt: x}", "line 1: /attempt: `x` is not a whole number"),
        ("{phase: resting}", "line 1: /phase: `resting` is not one of working, landing"),
        ("{phase: landing, tree: a, attempt: 1}", "line 1: /attempt: unknown key `attempt`"),
    ] {
        assert_eq!(shown(from_yaml::<Phase>(text)), [expected], "{text}");
    }
}

#[test]
fn a_flood_of_faults_is_cut_short() {
    let keys = (0..20_000).map(|key| format!("k{key}: 1")).collect::<Vec<_>>().join("\n");
    let entries = "- 1\n".repeat(20_000);
    for text in [format!("version: 1\nstages: []\n{keys}"), format!("version: 1\nstages:\n{entries}")] {
        let found = shown(from_yaml::<Queue>(text));
        assert_eq!(found.len(), 101);
        assert_eq!(found[100], "and perhaps more; only 100 faults are listed");
    }
    let long = shown(from_json::<Queue>(format!("{{\"version\":1,\"stages\":[],\"{}\":1}}", "x".repeat(100_000))));
    assert_eq!(long.len(), 1);
    assert!(long[0].ends_with(&format!("unknown key `{}…`", "x".repeat(60))), "its place is long, its message is not");
}

#[test]
fn bombs_and_depths_are_refused_in_time() {
    let level = |level: usize| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(","));
    let bomb: String = std::iter::once("a0: &a0 [x,x,x,x]\n".to_owned()).chain((1..12).map(level)).collect();
    for text in
        [bomb, "[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000), "[".repeat(100) + &"]".repeat(100)]
    {
        assert!(from_yaml::<BTreeMap<String, Value>>(&text).is_err());
        assert!(from_yaml::<Queue>(&text).is_err());
        assert!(from_json::<Queue>(&text).is_err());
    }
}

#[test]
fn what_is_written_is_read_back() {
    let queue: Queue = from_yaml(format!(
        "{GOOD}  commit: 'NO'\nenv: {{A: 'true', B: '1e3', C: '', D: '~', E: \"a\\nb: c\\n\", F: ' x ', G: '# x', H: '0x1F', I: '2026-01-01', J: '<<', K: '\u{e9}\\ '}}\n"
    ))
    .expect("queue");
    let yaml = to_yaml(&queue).expect("yaml");
    assert!(yaml.ends_with('\n'));
    assert_eq!(from_yaml::<Queue>(&yaml).expect("queue"), queue, "{yaml}");
    let json = to_json_pretty(&queue).expect("json");
    assert!(json.ends_with("}\n"));
    assert_eq!(from_json::<Queue>(&json).expect("queue"), queue, "{json}");
    assert_eq!(from_yaml::<Queue>(format!("\u{feff}{GOOD}").as_bytes()).expect("queue").version, 1);
}

#[test]
fn faults_found_in_a_value_get_the_lines_of_the_text() {
    let text = "max_parallel: 99\ngates:\n- name: a\n  run: x\n- name: a\n  run: y\n";
    let manifest: Manifest = from_yaml(text).expect("manifest");
    let shown: Vec<String> = locate(text, manifest.validate()).0.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "line 1: /max_parallel: `99` is not between 1 and 64",
            "line 5: /gates/1/name: another gate is called `a` already"
        ]
    );
}

#[test]
fn version_1_files_are_read_and_their_other_keys_are_named() {
    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/fixtures/v1/", $name))
        };
    }
    let state = fixture!("mid-night/state.yaml");
    assert!(from_yaml::<V1State>(state).is_ok());
    assert_eq!(
        unknown_keys::<V1State>(state).0.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "line 20: /stages/0/worker_tokens: unknown key `worker_tokens`",
            "line 21: /stages/0/verifier_tokens: unknown key `verifier_tokens`",
            "line 26: /stages/0/integration: unknown key `integration`",
            "line 40: /stages/1/wip_branch: unknown key `wip_branch`",
        ]
    );
    for (state, budget) in [
        (fixture!("fresh/state.yaml").as_slice(), fixture!("fresh/budget.json").as_slice()),
        (fixture!("halted/state.yaml"), fixture!("halted/budget.json")),
        (state, fixture!("mid-night/budget.json")),
    ] {
        assert!(from_yaml::<V1State>(state).is_ok() && from_json::<V1Budget>(budget).is_ok());
        assert!(unknown_keys::<V1Budget>(budget).is_empty());
    }
    assert_eq!(shown(from_yaml::<V1State>("version: 1\nstages:\n- id: 01-a\n")).len(), 3);
}

/// Not a promise of speed, only a guard against a parse that is not linear. Measured in a debug build: YAML some 25 ms,
/// JSON with its second look at the keys 4.5 ms, `serde_json` alone 1.7 ms.
#[test]
fn a_long_queue_is_read_quickly() {
    let entry: Queue = from_yaml(GOOD).expect("queue");
    let entry = entry.stages[0].clone();
    let mut queue = Queue { version: 1, stages: vec![entry; 200], env: BTreeMap::new() };
    for (index, stage) in queue.stages.iter_mut().enumerate() {
        stage.started_at = DateTime::from_timestamp(1_780_000_000, 0);
        stage.tokens = u64::try_from(index).ok();
        stage.commit = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
    }
    let (yaml, json) = (to_yaml(&queue).expect("yaml"), to_json_pretty(&queue).expect("json"));
    let timed = |read: &dyn Fn() -> Queue| {
        let start = Instant::now();
        assert_eq!(read(), queue);
        start.elapsed()
    };
    let in_yaml = timed(&|| from_yaml(&yaml).expect("yaml"));
    let in_json = timed(&|| from_json(&json).expect("json"));
    assert!(in_yaml.as_secs() < 1 && in_json.as_secs() < 1, "YAML {in_yaml:?}, JSON {in_json:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_yaml::<Queue>(&bytes);
        let _ = from_json::<Queue>(&bytes);
        let _ = unknown_keys::<Queue>(&bytes);
    }

    #[test]
    fn no_text_that_looks_like_yaml_makes_it_panic(text in "([-:?!&*<>|{}\\[\\],#'\"%@`~ \n\t]|version|stages|id|01-a|1|é){0,40}") {
        let _ = from_yaml::<Queue>(&text);
        let _ = from_yaml::<Manifest>(&text);
        let _ = value_from_yaml::<Manifest>(&text);
        let _ = from_json::<Queue>(&text);
        let _ = locate(&text, Faults::one(None, "/a/~1/é", "x"));
    }

    #[test]
    fn a_broken_copy_of_a_good_file_never_passes_for_nothing(at in 0..GOOD.len(), with in any::<u8>()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = with;
        if let Err(faults) = from_yaml::<Queue>(&bytes) {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn every_text_survives_yaml(text in any::<String>()) {
        let one = BTreeMap::from([("k".to_owned(), text)]);
        let yaml = to_yaml(&one).expect("yaml");
        prop_assert_eq!(from_yaml::<BTreeMap<String, String>>(&yaml).expect("read back"), one, "{}", yaml);
    }
}
