//! `grade` over the real binary: the corpus that comes with the program, seats that are stubs, and a past to judge again.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a test fails by panicking, and looks for itself")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use autometta::core::grade::{Answer, ShownBy};
use autometta::files::document;
use serde_json::{Value, json};
use support::night::{HAND_IN, Night, SAY_PASS, text};

const JUDGE: &str = "Judge <judge@local>";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/planted")
}

/// Every planted candidate: its folder and its answer.
fn answers() -> Vec<(PathBuf, Answer)> {
    let mut found: Vec<_> = fs::read_dir(corpus())
        .expect("corpus")
        .flatten()
        .map(|entry| {
            let bytes = fs::read(entry.path().join("answer.yaml")).expect("answer");
            let answer: Answer = document::from_yaml(&bytes).expect("an answer that can be read");
            (entry.path(), answer)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn name(folder: &Path) -> String {
    folder.file_name().expect("name").to_string_lossy().into_owned()
}

/// Runs `grade --json` and gives its report.
fn grade(night: &Night, args: &[&str]) -> Value {
    let words: Vec<&str> = ["grade", "--json"].iter().chain(args).copied().collect();
    serde_json::from_str(&night.ok(&words)).expect("json")
}

/// Every file below a folder, read as text.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder").flatten() {
            if entry.file_type().expect("type").is_dir() {
                folders.push(entry.path());
            } else if let Ok(bytes) = fs::read(entry.path()) {
                found.push((entry.path(), text(&bytes)));
            }
        }
    }
    found
}

#[test]
fn the_corpus_is_large_enough_and_its_answers_are_true_of_it() {
    let answers = answers();
    let defects: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_defect()).collect();
    assert!(defects.len() >= 24, "{}", defects.len());
    assert!(answers.len() - defects.len() >= 8, "{}", answers.len() - defects.len());
    let classes: BTreeSet<_> = defects.iter().filter_map(|(_, answer)| answer.defect.clone()).collect();
    assert!(classes.len() >= 15, "{classes:?}");
    let of = |way| defects.iter().filter(|(_, answer)| answer.shown_by == Some(way)).count();
    assert!(of(ShownBy::Command) >= 10 && of(ShownBy::Reading) >= 10);
    for (folder, answer) in &answers {
        assert!(answer.check().is_empty(), "{}: {}", folder.display(), answer.check());
        let (Some(path), Some(class)) = (answer.path(), &answer.defect) else { continue };
        assert!(!name(folder).contains(class.as_str()), "{}: its name gives it away", folder.display());
        let there = |side: &str| fs::read_to_string(folder.join(side).join(path)).ok();
        let changed = there("candidate") != there("base");
        assert!(changed, "{}: {path} is the same before and after", folder.display());
        let line = answer.place.as_deref().and_then(|place| place.rsplit_once(':')?.1.parse::<usize>().ok());
        if let Some(line) = line {
            let text = there("candidate").expect("a file with a line");
            assert!(
                text.lines().nth(line - 1).is_some_and(|line| !line.trim().is_empty()),
                "{}:{line}",
                folder.display()
            );
        }
    }
}

#[test]
fn the_check_family_catches_everything_that_a_command_shows_and_raises_no_false_alarm() {
    let night = Night::bare();
    let found = grade(&night, &["--planted", &corpus().display().to_string(), "--parallel", "3"]);
    let mut wrong = Vec::new();
    for (folder, answer) in answers() {
        let expected = if answer.shown_by == Some(ShownBy::Command) { "fail" } else { "pass" };
        let heard = found["judgements"].as_array().expect("list");
        let heard: Vec<_> = heard.iter().filter(|one| one["stage"] == name(&folder).as_str()).collect();
        if heard.len() != 1 || heard[0]["said"] != expected {
            wrong.push(format!("{}: {expected} expected, {heard:#?}", name(&folder)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seat = &found["seats"][0];
    let figures = ["recall_by_command", "recall_by_reading", "false_alarms"].map(|key| seat[key].as_f64());
    assert_eq!(figures, [Some(1.0), Some(0.0), Some(0.0)], "{seat:#}");
    let count = |key: &str| found["corpus"][key].as_u64().expect("count");
    let (defects, command, controls) = (count("defects"), count("shown_by_command"), count("controls"));
    let row = format!(
        "| Check | {}% ({command}/{defects}) | 100% ({command}/{command}) | 0% (0/{}) | 0% (0/{controls}) | $0.00 |",
        (command * 200 + defects) / (2 * defects),
        defects - command
    );
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grading.md")).expect("page");
    assert!(page.contains(&row), "docs/grading.md has other figures than these: {row}");
    let machine = &found["machine"];
    assert_eq!(machine["gate_failed"], found["corpus"]["shown_by_command"], "the gates run the same commands");
    assert_eq!((&machine["controls_refused"], &machine["broken"]), (&json!([]), &json!([])));
    assert!(machine["refused"].as_u64().is_some_and(|count| count >= 1), "the edit that is out of scope: {machine:#}");
    assert_eq!(seat["tokens"], 0);
    assert!(!night.repo.join("state").exists(), "a repository that is not subscribed is left alone");
}

#[test]
fn nothing_that_a_seat_can_see_holds_an_answer() {
    // The seat keeps its prompt and all that lies around its checkout: the scratch repository, its state, its records.
    let night = Night::with(
        "exit 1",
        "mkdir -p \"$T/$1\"\ncat >\"$T/$1/prompt\"\npwd >\"$T/$1/where\"\nenv >\"$T/$1/env\"\ngit log --all --format=%B >\"$T/$1/log\" 2>&1\ncp -R ../.. \"$T/$1/seen\"",
    );
    grade(&night, &["--planted", &corpus().display().to_string(), "--seat", JUDGE, "--yes", "--parallel", "3"]);
    for (folder, answer) in answers() {
        let seen = night.t().join(name(&folder));
        assert!(seen.join("seen/project").is_dir(), "{}", seen.display());
        let prompt = fs::read_to_string(seen.join("prompt")).expect("prompt");
        assert!(prompt.contains("## Acceptance criteria"), "{prompt}");
        let beginning: String = answer.why.chars().take(30).collect();
        for (path, text) in files(&seen) {
            let place = path.display();
            assert!(!path.ends_with("answer.yaml") && !text.contains("shown_by"), "{place}");
            assert!(!text.contains(&beginning), "{place} says why");
            if let Some(class) = &answer.defect {
                assert!(!text.contains(&format!("defect: {class}")), "{place} names the class");
            }
            if ["prompt", "where", "env", "log"].iter().any(|name| path == seen.join(name)) {
                let lower = text.to_lowercase().replace("autometta-night-", "");
                let telling = ["planted", "bake-off", "corpus", "grade"].iter().find(|word| lower.contains(**word));
                assert_eq!(telling, None, "{place} tells the seat that it is examined");
            }
        }
    }
}

/// A planted candidate of the test's own.
fn plant(night: &Night, stage: &str, expect: &str, candidate: &str) {
    let folder = night.base().join("corpus").join(stage);
    for side in ["base", "candidate"] {
        fs::create_dir_all(folder.join(side)).expect("folder");
    }
    let card = format!(
        "# Stage card {stage}: Do it\n\n## Metadata\n- **Worker:** Script <script@local>\n- **Verifier:** Check \
         <check@local>\n\n## Objective\nDo it.\n\n## Deliverables\n1. `a.txt`\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ngrep -q good a.txt\n```\n"
    );
    fs::write(folder.join("card.md"), card).expect("card");
    let more = if expect == "fail" { "defect: wrong-result\nwhere: a.txt:1\nshown_by: command\n" } else { "" };
    fs::write(folder.join("answer.yaml"), format!("expect: {expect}\nwhy: because\n{more}")).expect("answer");
    fs::write(folder.join("candidate/a.txt"), candidate).expect("file");
}

fn own_corpus(night: &Night) -> String {
    plant(night, "01-one", "fail", "bad\n");
    plant(night, "02-two", "pass", "good\n");
    night.base().join("corpus").display().to_string()
}

#[test]
fn a_seat_that_changes_its_mind_wavers_and_one_that_says_nothing_gives_no_verdict() {
    let say = |overall: &str| SAY_PASS.replace("PASS", overall).replace("a.txt:1", "a.txt:1 is odd");
    let verifier = format!(
        "case $2 in\n01-one.*.r1) {fail} ;;\n01-one.*) {pass} ;;\n02-two.*.r1) exit 0 ;;\n*) {fail} ;;\nesac",
        fail = say("FAIL"),
        pass = say("PASS")
    );
    let night = Night::with("exit 1", &verifier);
    let corpus = own_corpus(&night);
    let args = ["--planted", &corpus, "--seat", JUDGE, "--seat", "Check <check@local>", "--repeat", "2", "--yes"];
    let found = grade(&night, &args);
    let (judge, check) = (&found["seats"][0], &found["seats"][1]);
    assert_eq!(judge["defects"], json!({"pass": 1, "fail": 1, "blocked": 0, "no_verdict": 0, "not_asked": 0}));
    assert_eq!(judge["controls"], json!({"pass": 0, "fail": 1, "blocked": 0, "no_verdict": 1, "not_asked": 0}));
    assert_eq!((&judge["recall"], &judge["false_alarms"], &judge["located"]), (&json!(0.5), &json!(0.5), &json!(1)));
    assert_eq!(judge["wavering"], json!(["01-one", "02-two"]));
    assert_eq!(judge["by_class"]["wrong-result"]["fail"], 1);
    assert_eq!((&check["recall"], &check["false_alarms"], &check["wavering"]), (&json!(1.0), &json!(0.0), &json!([])));
    let shown = night.ok(&["grade", "--planted", &corpus, "--seat", JUDGE, "--yes"]);
    assert!(shown.contains("RECALL") && shown.contains("wrong-result") && shown.contains(JUDGE), "{shown}");
}

#[test]
fn a_faulty_corpus_is_refused_with_every_fault() {
    let night = Night::bare();
    let corpus = own_corpus(&night);
    let folder = night.base().join("corpus");
    fs::write(folder.join("01-one/answer.yaml"), "expect: fail\nwhy: because\n").expect("answer");
    fs::remove_file(folder.join("02-two/card.md")).expect("card");
    fs::create_dir(folder.join("three")).expect("folder");
    let said = night.fails(&["grade", "--planted", &corpus], 3);
    for fault in ["/defect", "02-two/card.md: it does not exist", "`three` is not a valid stage id"] {
        assert!(said.contains(fault), "{fault}: {said}");
    }
    let said = night.fails(&["grade", "--planted", &corpus, "--seat", JUDGE, "--seat", JUDGE], 3);
    assert!(!said.is_empty());
    let said = night.fails(&["grade", "--planted", &corpus, "--seat", "Judge"], 2);
    assert!(said.contains("angle brackets"), "{said}");
}

#[test]
fn a_seat_that_costs_money_is_asked_only_after_a_yes_and_within_the_limit() {
    let night = Night::bare();
    let corpus = own_corpus(&night);
    let seat = "GPT-5.6 Sol <gpt-5-6-sol@local>";
    let said = night.fails(&["grade", "--planted", &corpus, "--seat", seat], 3);
    // A million tokens each, a tenth at $30 and the rest at $5 a million.
    assert!(said.contains("2 of 2 judgements call a model") && said.contains("at most $15.00"), "{said}");
    assert!(said.contains("nothing was asked") && said.contains("--yes"), "{said}");
    let found = grade(&night, &["--planted", &corpus, "--seat", seat, "--yes", "--max-cost", "1"]);
    let of = &found["seats"][0];
    assert_eq!((&of["defects"]["not_asked"], &of["controls"]["not_asked"]), (&json!(1), &json!(1)), "{found:#}");
    assert_eq!((&of["recall"], &of["cost_usd"]), (&Value::Null, &json!(0.0)));
}

/// All that a repository's stages, budget, ledger and branches consist of.
fn memory(night: &Night) -> Vec<String> {
    let mut all: Vec<String> = ["state.yaml", "budget.json", "ledger.jsonl"]
        .iter()
        .map(|name| night.read(format!("repo/state/{name}")))
        .collect();
    all.push(night.git(&["for-each-ref"]));
    all.push(night.git(&["status", "--porcelain"]));
    all.push(night.git(&["worktree", "list"]));
    all
}

#[test]
fn past_candidates_are_judged_again_and_nothing_of_their_stages_changes() {
    // The first stage lands, the second is refused; later the verifier has changed its mind about both.
    let fail = SAY_PASS.replace("PASS", "FAIL");
    let verdicts =
        |first: &str, second: &str| format!("cat >\"$T/$2\"\ncase $1 in\n01-*) {first} ;;\n*) {second} ;;\nesac");
    let night = Night::with(&format!("echo work $1 >a.txt\n{HAND_IN}"), &verdicts(SAY_PASS, &fail));
    night.manifest("retry: {work: 0}");
    night.queue("01-first");
    night.queue("02-second");
    night.tick_until("01-first", "completed");
    night.tick_until("02-second", "verifier_failed");
    night.tick_until_that("02-second", |stage| stage["chores"].as_array().is_none_or(Vec::is_empty));
    night.wait("the state is copied", || night.is_copied());
    let before = memory(&night);

    night.stub("verifier", &verdicts(&fail, SAY_PASS));
    let found = grade(&night, &["--yes"]);
    assert_eq!(memory(&night), before);
    let of = |at: usize| &found["candidates"][at];
    let brief = |at: usize| {
        let now = of(at);
        let words = [&now["candidate"]["stage"], &now["candidate"]["fate"], &now["candidate"]["earlier"][0]["said"]];
        let said = &now["heard"][0]["said"];
        (words.map(|word| word.as_str().unwrap_or_default().to_owned()), said.clone(), now["drifted"].clone())
    };
    let words = |words: [&str; 3]| words.map(ToOwned::to_owned);
    assert_eq!(brief(0), (words(["01-first", "landed", "pass"]), json!("fail"), json!([JUDGE])));
    assert_eq!(brief(1), (words(["02-second", "not-landed", "fail"]), json!("pass"), json!([JUDGE])));
    let seat = &found["seats"][0];
    let figures = ["same", "drifted", "against_landed", "for_not_landed"].map(|key| seat[key].as_u64());
    assert_eq!(figures, [Some(0), Some(2), Some(1), Some(1)], "{seat:#}");

    let grades: Vec<_> = fs::read_dir(night.repo.join("state/grades")).expect("grades").flatten().collect();
    assert_eq!(grades.len(), 1);
    let kept: Value =
        serde_json::from_slice(&fs::read(grades[0].path().join("grade.json")).expect("report")).expect("json");
    assert_eq!(kept, found);
    assert!(grades[0].path().join("runs/01-first.1.verifier-1/exit.json").exists());
    assert!(!night.worktrees().exists(), "every checkout is gone");
    // The seat was asked what it was asked then, but for where its checkout is.
    let prompt = |run: &str| {
        let text = fs::read_to_string(night.t().join(run)).expect("prompt");
        let is_place = |line: &&str| !line.contains("clean checkout of the candidate");
        text.lines().filter(is_place).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(prompt("01-first.1.verifier-1"), prompt("01-first.1.verifier"));

    let again = grade(&night, &["--seat", "Check <check@local>", "--seat", JUDGE, "--only", "01-first", "--yes"]);
    assert_eq!(again["candidates"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&again["candidates"][0]["disagreement"], &again["candidates"][0]["disputed_criteria"]),
        (&json!(true), &json!([1]))
    );
    let newest = grade(&night, &["--newest", "1", "--yes"]);
    assert_eq!(newest["candidates"][0]["candidate"]["stage"], "02-second");
}

#[test]
fn a_past_candidate_whose_card_or_objects_are_gone_is_left_out_with_the_reason() {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    let cards = night.repo.join("state/cards");
    for card in fs::read_dir(&cards).expect("cards").flatten() {
        fs::remove_file(card.path()).expect("card");
    }
    let found = grade(&night, &["--yes"]);
    assert_eq!(found["candidates"], json!([]));
    assert_eq!(found["left_out"][0]["stage"], "01-work");
    assert!(found["left_out"][0]["why"].as_str().is_some_and(|why| why.contains("no longer kept")), "{found:#}");
    let shown = night.ok(&["grade"]);
    assert!(shown.contains("01-work attempt 1 is left out"), "{shown}");
}
