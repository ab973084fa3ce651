//! What a candidate may not do and what is said of it, over the real binary with stub agents: scope, contract tests,
//! deliverables, secrets, flags, flaky gates, completion checks, and stages without a verifier.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]

mod support;

use serde_json::Value;
use support::night::{HAND_IN, Night, SAY_PASS, VERIFIER, WORKER};

const STAGE: &str = "01-work";

/// A card under test: everything but its head.
struct Card<'a> {
    verifier: &'a str,
    metadata: &'a str,
    deliverables: &'a str,
    fence: &'a str,
    command: &'a str,
    more: &'a str,
}

impl Default for Card<'_> {
    fn default() -> Self {
        Self {
            verifier: VERIFIER,
            metadata: "",
            deliverables: "1. `a.txt`: the work",
            fence: "sh",
            command: "test -s a.txt",
            more: "",
        }
    }
}

impl Card<'_> {
    fn write(&self, night: &Night) {
        let Self { verifier, metadata, deliverables, fence, command, more } = self;
        let text = format!(
            "# Stage card {STAGE}: Do the work\n\n## Metadata\n- **Worker:** {WORKER}\n- **Verifier:** {verifier}\n\
             {metadata}\n## Objective\nDo it.\n\n## Deliverables\n{deliverables}\n\n## Acceptance criteria\n\
             1. it works\n\n## Acceptance command\n```{fence}\n{command}\n```\n\n{more}\n"
        );
        night.write(&format!("stage-cards/{STAGE}.md"), &text);
    }

    fn queue(&self, night: &Night) {
        self.write(night);
        night.ok(&["add-stage", &format!("stage-cards/{STAGE}.md")]);
    }

    fn refused(&self, night: &Night) -> String {
        self.write(night);
        night.fails(&["add-stage", &format!("stage-cards/{STAGE}.md")], 3)
    }
}

/// A night whose worker runs this once and hands in; a failure shows at once.
fn once(worker: &str, more: &str) -> Night {
    let night = Night::with(&format!("{worker}\n{HAND_IN}"), SAY_PASS);
    night.manifest(&format!("retry: {{work: 0, verifier: 0, infrastructure: 0}}\n{more}"));
    night
}

/// Commits files to the base, before anything starts.
fn commit(night: &Night, files: &[(&str, &str)]) {
    for (path, text) in files {
        night.write(path, text);
        night.git(&["add", "-f", "--", path]);
    }
    night.git(&["commit", "-qm", "More"]);
}

/// Ticks to the stage's end, and gives its reason.
fn ends(night: &Night) -> (String, String) {
    let stage = night.tick_until_that(STAGE, |stage| {
        !matches!(stage["status"].as_str(), Some("pending" | "in_progress"))
            && stage["chores"].as_array().is_none_or(Vec::is_empty)
    });
    let text = |key: &str| stage["reason"][key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("detail"))
}

fn nothing_landed(night: &Night, before: &str) {
    assert_eq!(night.git(&["rev-parse", "main"]), before, "something has landed");
}

fn show(night: &Night) -> Value {
    serde_json::from_str(&night.ok(&["show", STAGE, "--json"])).expect("json")
}

fn rules(show: &Value) -> Vec<String> {
    let records = show["records"].as_array().expect("records");
    let flags = records.iter().flat_map(|record| record["flags"]["flags"].as_array().into_iter().flatten());
    flags.map(|flag| flag["rule"].as_str().expect("rule").to_owned()).collect()
}

#[test]
fn scenarios_50_and_51_a_candidate_that_breaks_a_rule_fails_with_the_rules_own_reason() {
    let token = concat!("ghp", "_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6");
    let secret = format!("echo work >a.txt; echo 'token = {token}' >>a.txt");
    let claims = "- **Path claims:** sub/, .github/";
    let cases: &[(&str, Card<'_>, &str, &str)] = &[
        ("true", Card::default(), "empty-diff", "changes nothing"),
        ("echo x >a.txt; echo x >b.txt", Card::default(), "out-of-scope", "b.txt"),
        (
            "echo x >a.txt; mkdir sub; echo x >sub/readme.MD",
            Card { metadata: claims, more: "## Out of scope\n- `sub/README.md`\n", ..Card::default() },
            "out-of-scope",
            "sub/readme.MD (the card says out of scope)",
        ),
        ("echo x >a.txt; echo '#' >>.autometta.yaml", Card::default(), "protected-path", ".autometta.yaml"),
        ("echo x >a.txt; mkdir stage-cards; echo x >stage-cards/02-b.md", Card::default(), "protected-path", "02-b.md"),
        (
            "echo x >a.txt; mkdir sub; echo '* x' >sub/.gitattributes",
            Card { metadata: claims, ..Card::default() },
            "git-file-undeclared",
            "sub/.gitattributes",
        ),
        ("mkdir sub; echo x >sub/x", Card { metadata: claims, ..Card::default() }, "deliverable-missing", "a.txt"),
        (
            "mkdir sub; echo x >sub/x; : >a.txt",
            Card { metadata: claims, ..Card::default() },
            "deliverable-empty",
            "a.txt",
        ),
        ("ln -s README.md a.txt", Card::default(), "deliverable-is-a-link", "a.txt"),
        (
            "git init -q a.txt; echo x >a.txt/x; git -C a.txt add x; git -C a.txt -c user.name=a -c user.email=a@b commit -qm x",
            Card::default(),
            "embedded-repository",
            "a.txt",
        ),
        (
            "echo x >a.txt; echo y >>README.md",
            Card { deliverables: "1. `a.txt`: the work\n2. `README.md`: removed", ..Card::default() },
            "deliverable-still-there",
            "README.md",
        ),
        (&secret, Card::default(), "secret-in-diff", "a GitHub token: token = ghp_[redacted]"),
        (
            "true",
            Card { deliverables: "none", more: "## Completion checks\n- diff_not_empty\n", ..Card::default() },
            "empty-diff",
            "diff_not_empty",
        ),
    ];
    for (worker, card, code, words) in cases {
        let night = once(worker, "");
        commit(&night, &[(".autometta.yaml", &night.read("repo/.autometta.yaml"))]);
        let before = night.git(&["rev-parse", "main"]);
        card.queue(&night);
        let (found, detail) = ends(&night);
        assert_eq!(&found, code, "{worker}: {detail}");
        assert!(detail.contains(words) && !detail.contains(token), "{worker}: {detail}");
        assert!(!night.t().join("judged").exists());
        nothing_landed(&night, &before);
        let all = format!("{}{}", night.ok(&["log"]), show(&night));
        assert!(!all.contains(token), "{worker}: the secret is shown");
    }
}

#[test]
fn a_deliverable_that_is_to_be_gone_lands_when_it_is() {
    let night = once("echo work >a.txt; rm README.md", "");
    Card { deliverables: "1. `a.txt`: the work\n2. `README.md`: removed", ..Card::default() }.queue(&night);
    night.tick_until(STAGE, "completed");
    assert_eq!(night.git(&["ls-tree", "--name-only", "main"]), ".gitignore\na.txt");
}

#[test]
fn scenario_54_a_stage_that_breaks_what_an_earlier_one_promised_fails_at_its_gate() {
    let night = Night::with(&format!("echo $1 >$1.txt\n[ $1 = 01-a ] || rm 01-a.txt\n{HAND_IN}"), SAY_PASS);
    night.manifest("retry: {work: 0}\ngates: [{name: first, run: '! [ -e needs-a ] || test -s 01-a.txt'}]");
    commit(&night, &[("needs-a", "yes\n")]);
    night.card_with("01-a", "", "1. `01-a.txt`: it", "test -s 01-a.txt");
    night.card_with(
        "02-b",
        "- **Depends on:** 01-a\n- **Path claims:** 01-a.txt",
        "1. `02-b.txt`: it",
        "test -s 02-b.txt",
    );
    night.ok(&["add-stage", "stage-cards/01-a.md", "stage-cards/02-b.md"]);
    night.tick_until("01-a", "completed");
    let stage = night.tick_until("02-b", "verifier_failed");
    assert_eq!(stage["reason"]["code"], "gate-failed");
    assert!(stage["reason"]["detail"].as_str().expect("detail").starts_with("first (`"), "{stage:#}");
}

#[test]
fn a_contract_test_can_be_neither_changed_nor_deleted_nor_replaced() {
    for (worker, words) in [
        ("echo more >>tests/api/one.sh", "tests/api/one.sh"),
        ("rm tests/api/one.sh", "tests/api/one.sh (gone)"),
        ("cp tests/api/one.sh x; rm tests/api/one.sh; ln -s ../../x tests/api/one.sh", "tests/api/one.sh (gone)"),
    ] {
        let night = once(&format!("echo work >a.txt; {worker}"), "");
        commit(&night, &[("tests/api/one.sh", "true\n"), ("tests/two.sh", "true\n")]);
        let before = night.git(&["rev-parse", "main"]);
        let metadata = "- **Path claims:** tests/, x";
        let more = "## Contract tests\n- `tests/api/*.sh`\n";
        Card { metadata, more, ..Card::default() }.queue(&night);
        let (code, detail) = ends(&night);
        assert_eq!(code, "contract-changed", "{worker}: {detail}");
        assert!(detail.contains(words), "{worker}: {detail}");
        nothing_landed(&night, &before);
    }
    let night = once("echo work >a.txt; echo new >tests/api/new.sh; echo more >>tests/two.sh", "");
    commit(&night, &[("tests/api/one.sh", "true\n"), ("tests/two.sh", "true\n")]);
    let more = "## Contract tests\n- `tests/api/*.sh`\n";
    Card { metadata: "- **Path claims:** tests/", more, ..Card::default() }.queue(&night);
    let stage = night.tick_until(STAGE, "completed");
    let frozen = stage["contract"].as_array().expect("frozen");
    assert_eq!((frozen.len(), &frozen[0]["path"]), (1, &Value::from("tests/api/one.sh")), "{stage:#}");
}

#[test]
fn a_contract_test_that_does_not_exist_is_refused_in_the_evening_or_at_the_dispatch() {
    let night = once("echo work >a.txt", "");
    let card = Card { more: "## Contract tests\n- `tests/none.sh`\n", ..Card::default() };
    let said = card.refused(&night);
    assert!(said.contains("`tests/none.sh` is no file at"), "{said}");
    // It is there when the card is queued, and gone when the stage would start.
    commit(&night, &[("tests/none.sh", "true\n")]);
    card.queue(&night);
    night.git(&["rm", "-q", "tests/none.sh"]);
    night.git(&["commit", "-qm", "Gone"]);
    let stage = night.tick_until_that(STAGE, |stage| stage["reason"]["code"] == "contract-missing");
    assert_eq!((&stage["status"], &stage["attempt"]), (&Value::from("pending"), &Value::from(0)), "{stage:#}");
}

#[test]
fn what_looks_dishonest_is_flagged_to_the_verifier_and_fails_nothing() {
    let worker = "echo work >a.txt\nsed -i 's/^assert/# assert/' test_a.py\nprintf '%s\\n' '@pytest.mark.skip' >>test_a.py\n\
                  echo 'make || true' >>check.sh; mkdir -p .github/workflows; echo x >.github/workflows/ci.yml";
    let judge = format!("cp \"$AUTOMETTA_PROMPT\" $T/prompt 2>/dev/null || cat >$T/prompt\n{SAY_PASS}");
    let night = Night::with(&format!("{worker}\n{HAND_IN}"), &judge);
    commit(
        &night,
        &[("test_a.py", "def test_a():\n    assert 1 == 1\nassert 2 == 2\n"), ("check.sh", "test -s a.txt\n")],
    );
    let metadata = "- **Path claims:** test_a.py, check.sh, .github/";
    Card { metadata, command: "sh check.sh 2>/dev/null", ..Card::default() }.queue(&night);
    night.tick_until(STAGE, "completed");
    let shown = show(&night);
    let found = rules(&shown);
    for rule in ["ci-changed", "gate-file-changed", "failure-ignored", "assertions-removed", "test-skipped"] {
        assert!(found.iter().any(|found| found == rule), "{rule} is not in {found:?}");
    }
    let prompt = night.read(format!("repo/state/runs/{STAGE}.1.verifier/prompt.md"));
    assert!(prompt.contains("- check.sh:2: failure-ignored: make || true"), "{prompt}");
    assert!(
        prompt.contains("The candidate changed check.sh, which judges it:") && prompt.contains("    +make || true")
    );
    assert!(night.ok(&["show", STAGE]).contains("test_a.py:4: test-skipped: @pytest.mark.skip"));
    assert!(night.t().join("prompt").exists());
}

#[test]
fn a_flaky_gate_is_run_again_in_a_fresh_checkout_and_never_in_silence() {
    let flaky = "! [ -e dirt ]; touch dirt; echo x >>$HOME/tries; [ $(wc -l <$HOME/tries) -ge 2 ]";
    let night = once("echo work >a.txt", "");
    Card { fence: "sh retries=1 timeout=20s", command: flaky, ..Card::default() }.queue(&night);
    let stage = night.tick_until(STAGE, "completed");
    let gates: Vec<&Value> = stage["history"]
        .as_array()
        .expect("history")
        .iter()
        .filter(|past| past["run"].as_str().is_some_and(|run| run.contains(".gate")))
        .collect();
    assert_eq!(gates.len(), 2, "{stage:#}");
    assert_eq!((&gates[0]["outcome"], &gates[1]["outcome"]), (&Value::from("flaked"), &Value::from("done")));
    assert!(night.ok(&["log"]).contains("flaky-gate"));
    let prompt = night.read(format!("repo/state/runs/{STAGE}.1.verifier/prompt.md"));
    assert!(prompt.contains(&format!("FLAKY: {STAGE}.1.gate failed on the same tree")), "{prompt}");
}

#[test]
fn a_gate_is_run_again_as_often_as_allowed_and_not_at_all_by_default() {
    for (fence, more, runs) in [
        ("sh", "", 1),
        ("sh retries=2", "", 3),
        ("sh", "gates: [{name: late, run: 'exit 3', retries: 1}]", 2),
        // The allowance is that of the gate that failed.
        ("sh retries=3", "gates: [{name: late, run: 'exit 3'}]", 1),
    ] {
        let command = if more.is_empty() { "exit 3" } else { "true" };
        let night = once("echo work >a.txt", more);
        Card { fence, command, ..Card::default() }.queue(&night);
        let (code, detail) = ends(&night);
        assert_eq!(code, "gate-failed", "{detail}");
        let stage = night.stage(STAGE);
        let gates = stage["history"].as_array().expect("history").iter();
        let count = gates.filter(|past| past["run"].as_str().is_some_and(|run| run.contains(".gate"))).count();
        assert_eq!(count, runs, "{fence} {more}: {stage:#}");
        assert_eq!(stage["failures"], 1, "a gate's retries are no attempts");
    }
}

#[test]
fn a_card_sets_the_time_limit_of_its_command() {
    let night = once("echo work >a.txt", "");
    Card { fence: "sh timeout=1s", command: "sleep 600", ..Card::default() }.queue(&night);
    let (code, detail) = ends(&night);
    assert_eq!(code, "gate-failed");
    assert!(detail.contains("timed out after"), "{detail}");
}

#[test]
fn completion_checks_judge_without_a_model() {
    let more = "## Completion checks\n- no_error_in_output\n- command: `test -s b.txt`\n";
    let metadata = "- **Path claims:** b.txt";
    for (worker, command, result) in [
        ("echo x >b.txt", "echo fine", Ok(())),
        ("echo x >b.txt", "echo 'error: no such thing'", Err("exited 0 and printed an error: error: no such thing")),
        ("true", "echo fine", Err("check-2 (`test -s b.txt`) exited 1")),
    ] {
        let night = once(&format!("echo work >a.txt; {worker}"), "");
        Card { metadata, command, more, ..Card::default() }.queue(&night);
        let (code, detail) = ends(&night);
        match result {
            Ok(()) => assert_eq!(code, "", "{detail}"),
            Err(words) => {
                assert_eq!(code, "gate-failed", "{detail}");
                assert!(detail.contains(words), "{detail}");
            }
        }
    }
}

#[test]
fn a_stage_may_do_without_a_verifier_where_the_manifest_allows_it() {
    let night = once("mkdir -p docs; echo work >docs/a.md", "allow_unverified: [docs/]");
    let deliverables = "1. `docs/a.md`: the page";
    let card = Card { verifier: "none (prose only)", deliverables, command: "test -s docs/a.md", ..Card::default() };
    card.queue(&night);
    let stage = night.tick_until(STAGE, "completed");
    let roles: Vec<&str> = stage["history"]
        .as_array()
        .expect("history")
        .iter()
        .filter_map(|past| past["run"].as_str()?.rsplit('.').next())
        .collect();
    assert_eq!(roles, ["worker", "gate"], "{stage:#}");
    let message = night.git(&["log", "-1", "--format=%B", "main"]);
    assert!(message.contains("\nAutometta-Verifier: none (prose only)\n"), "{message}");
    assert!(!message.contains("Co-Authored-By"), "{message}");

    let failing = once("mkdir -p docs; echo work >docs/a.md", "allow_unverified: [docs/]");
    Card { command: "exit 1", ..card }.queue(&failing);
    assert_eq!(ends(&failing).0, "gate-failed", "its gates are not waived");
}

#[test]
fn a_stage_without_a_verifier_is_refused_where_the_manifest_does_not_cover_it() {
    let none = "none (prose only)";
    let cases = [
        (
            "",
            Card { verifier: none, ..Card::default() },
            "`allow_unverified:` in .autometta.yaml allows that for no path",
        ),
        ("allow_unverified: [docs/]", Card { verifier: none, ..Card::default() }, "may change `a.txt`"),
        (
            "allow_unverified: [a.txt]",
            Card { verifier: none, metadata: "- **Path claims:** src/", ..Card::default() },
            "may change `src/`",
        ),
    ];
    for (more, card, words) in cases {
        let said = card.refused(&once("true", more));
        assert!(said.contains(words), "{more}: {said}");
    }
    let night = once("true", "protected: [infra]");
    let said = Card { metadata: "- **Path claims:** Infra/x.tf", ..Card::default() }.refused(&night);
    assert!(said.contains("`Infra/x.tf` is kept from every worker by `infra`"), "{said}");
}
