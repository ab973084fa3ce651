//! Cards as people write them, well and badly.

use proptest::prelude::*;

use super::*;

const CARD: &str = "\
# Stage card 01-greeting: Print a greeting

## Metadata
- **Worker:** Claude Sonnet 5 <claude-sonnet-5@local>
- **Verifier:** GPT-5.6 Sol <gpt-5-6-sol@local>
- **Escalation:** Claude Opus 5 <claude-opus-5@local>; GPT-5.6 Sol <gpt-5-6-sol@local>
- **Depends on:** 00-setup, 00b-fixtures
- **Path claims:** src/lib.rs, tests/greet/
- **Priority:** -3
- **Worker effort:** high
- **Verifier effort:** Max
- **Same family:** only one family is
  available tonight
- **Landing:** Ask
- **Silence limit:** 10 minutes

## Objective
Greet people.

Politely.

## Inputs
- `README.md`

## Deliverables
1. `src/greet.rs`: the greeting
2. `docs/` — a page
   about it

## Constraints
No new dependencies.

## Acceptance criteria
All of them hold:

1. `greet World` prints `Hello, World!`
2. It handles
   - the empty name
   - a very long name

## Acceptance command
```sh
cargo test greet
  echo \"<<not a placeholder>>\"
```

Then the style:

```
cargo fmt --check
```

## Out of scope
- `src/main.rs`
- `docs/private/`: somebody else's
- Anything about localisation

## Budget
- **Worker wall-clock:** 60 minutes
- **Verifier wall-clock:** 30 minutes
- **Worker tokens:** 3,000,000
- **Stage tokens:** 9,000,000
- **Stage cost:** $12.50
- **Worker cost:** $5.00

## Script
```sh
./greet.sh
```

## Thoughts
Nobody reads this.
";

const HEAD: &str = "\
## Metadata
- **Worker:** A <a@local>
- **Verifier:** B <b@local>
## Objective
O
## Deliverables
- `a`
## Acceptance criteria
1. C
## Acceptance command
```sh
true
```
";

fn stage() -> StageId {
    "01-greeting".parse().expect("id")
}

fn small() -> String {
    format!("# Stage card 01-greeting: T\n{HEAD}")
}

fn parse(text: &str) -> Result<Parsed, Faults> {
    Card::parse(stage(), text)
}

fn faults(text: &str) -> Vec<String> {
    parse(text).map_or_else(|faults| faults.0.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

fn paths(paths: &[RelativePath]) -> Vec<&str> {
    paths.iter().map(RelativePath::as_str).collect()
}

#[test]
fn the_contracts_card_is_read_whole() {
    let Parsed { card, warnings, .. } = parse(CARD).expect("card");
    assert_eq!(warnings, Faults::default());
    assert_eq!(card.title, "Print a greeting");
    assert_eq!(card.worker.handle(), "claude-sonnet-5");
    assert_eq!((card.verifiers.seats().len(), card.verifiers.quorum()), (1, 1));
    assert_eq!(card.escalation.iter().map(Identity::handle).collect::<Vec<_>>(), ["claude-opus-5", "gpt-5-6-sol"]);
    assert_eq!(card.depends_on.iter().map(StageId::as_str).collect::<Vec<_>>(), ["00-setup", "00b-fixtures"]);
    assert_eq!(paths(&card.path_claims), ["src/lib.rs", "tests/greet/"]);
    assert_eq!(card.priority, -3);
    assert_eq!((card.worker_effort, card.verifier_effort), (Some(Effort::High), Some(Effort::Max)));
    assert_eq!(card.same_family.as_deref(), Some("only one family is available tonight"));
    assert_eq!(card.landing, Some(super::LandingMode::Ask));
    assert_eq!(card.silence_limit, Some(Seconds(600)));
    assert_eq!(card.objective, "Greet people.\n\nPolitely.");
    let deliverables: Vec<_> = card.deliverables.iter().map(|one| (one.path.as_str(), one.note.as_str())).collect();
    assert_eq!(deliverables, [("src/greet.rs", "the greeting"), ("docs/", "a page about it")]);
    let criteria = ["`greet World` prints `Hello, World!`", "It handles - the empty name - a very long name"];
    assert_eq!(card.criteria, criteria);
    let commands = ["cargo test greet\n  echo \"<<not a placeholder>>\"\n", "cargo fmt --check\n"];
    assert_eq!(card.commands, commands);
    assert_eq!(paths(&card.out_of_scope), ["src/main.rs", "docs/private/"]);
    let worker = Limits {
        wall_clock_seconds: Some(Seconds(3600)),
        tokens: Some(Tokens(3_000_000)),
        cost_usd: Some(MicroUsd(5_000_000)),
    };
    let verifier = Limits { wall_clock_seconds: Some(Seconds(1800)), ..Limits::default() };
    let stage = StageLimits { tokens: Some(Tokens(9_000_000)), cost_usd: Some(MicroUsd(12_500_000)) };
    assert_eq!(card.budget, Budget { worker, verifier, stage });
    assert_eq!(card.script.as_deref(), Some("./greet.sh\n"));
    assert!(!card.may_change_nothing());
}

#[test]
fn out_of_scope_outweighs_the_folder_that_holds_it() {
    let card = parse(CARD).expect("card").card;
    for (path, scope) in [
        ("src/greet.rs", Scope::Allowed),
        ("tests/greet/deep/a.rs", Scope::Allowed),
        ("docs/a.md", Scope::Allowed),
        ("docs/private/a.md", Scope::OutOfScope),
        ("src/main.rs", Scope::OutOfScope),
        ("src/other.rs", Scope::Outside),
        ("tests/greet", Scope::Outside),
    ] {
        assert_eq!(card.covers(path), scope, "{path}");
    }
}

#[test]
fn the_ways_people_write_make_no_difference() {
    let plain = parse(&small()).expect("card");
    for other in [
        small().replace('\n', "\r\n"),
        format!("\u{feff}{}", small()),
        small().replace('\n', "  \n").replace("```sh  ", "```sh").replace("true  ", "true"),
        small().replace("- **Worker:** A", "* **Worker**: A").replace("- `a`", "+ `a`"),
        small().replace("**Worker:**", "WORKER:").replace("## Objective", "## OBJECTIVE ##"),
        small().replace("- `a`", "1) `./a`").replace("## Metadata", "Intro.\n## metadata:"),
        small().replace("```sh\ntrue\n```", "  ~~~~ Shell\n  true\n  ~~~~~"),
        small().replace("- `a`", "<!--\n- `b`\n-->\n- `a`\n<!-- - `c` -->"),
        small().replace("## Objective", "## Private notes\n# is the title\n## Objective").replace("# is", "### is"),
        small().replace("## Objective", "## Private notes\n    # indented code\n## Objective"),
        small().trim_end().to_owned(),
    ] {
        assert_eq!(parse(&other).as_ref(), Ok(&plain), "{other}");
    }
}

#[test]
fn older_titles_are_read() {
    for (title, expected) in [
        ("# Stage card 01-greeting: Say: hello", "Say: hello"),
        ("# stage 01-greeting: Title", "Title"),
        ("# STAGE  CARD  01-greeting :  Title #", "Title"),
        ("# 01-greeting", "01-greeting"),
        ("# 01-greeting:", "01-greeting"),
        ("# Stage card 01-greeting", "01-greeting"),
    ] {
        let card = parse(&format!("\n{title}\n{HEAD}")).expect(title).card;
        assert_eq!(card.title, expected, "{title}");
    }
    for title in ["# Stage card 02-other: T", "# Greeting", "# Stage card: T", "#", "# 01-greeting-x: T"] {
        let found = faults(&format!("{title}\n{HEAD}"));
        assert!(found.len() == 1 && found[0].starts_with("line 1: the title names"), "{title}: {found:?}");
    }
}

#[test]
fn a_seat_may_be_adversarial() {
    let with = |line: &str| small().replace("- **Verifier:** B <b@local>", line);
    for (line, seats) in [
        ("- **Verifier:** B <b@local>", vec![]),
        ("- **Verifier:** adversarial: B <b@local>", vec![1]),
        ("- **Verifier panel:** 2 of B <b@x>; Adversarial: C <c@x>; adversarial:D <d@x>", vec![2, 3]),
    ] {
        let card = parse(&with(line)).expect(line).card;
        assert_eq!(card.adversarial_seats, seats, "{line}");
        assert!(card.verifiers.seats().iter().all(|seat| seat.name().len() == 1), "{line}");
        let first = if seats.contains(&1) { Stance::Adversarial } else { Stance::Judge };
        assert_eq!((card.stance(None), card.stance(Some(1))), (first, first), "{line}");
    }
    assert!(parse(&with("- **Verifier:** hostile: B")).is_err());
}

#[test]
fn a_panel_has_seats_and_a_quorum() {
    let with = |panel: &str| small().replace("Verifier:** B <b@local>", &format!("Verifier panel:** {panel}"));
    let card = parse(&with("2 of B <b@x>; C <c@x>; D <d@x>")).expect("card").card;
    assert_eq!(card.verifiers.quorum(), 2);
    assert_eq!(card.verifiers.seats().iter().map(Identity::handle).collect::<Vec<_>>(), ["b", "c", "d"]);
    let ten: Vec<_> = (0..10).map(|seat| format!("B <b{seat}@x>")).collect();
    for (panel, fault) in [
        ("0 of B <b@x>", "a quorum of 0 does not fit a panel of 1"),
        ("3 of B <b@x>; C <c@x>", "a quorum of 3 does not fit a panel of 2"),
        ("1 of B <b@x>; Bee <B@x>", "`Bee <B@x>` has two seats"),
        (&format!("2 of {}", ten.join(";")), "a panel of 10 is too large"),
        ("B <b@x>; C <c@x>", "is not a panel"),
        ("-1 of B <b@x>", "is not a panel"),
        ("2 B <b@x>", "is not a panel"),
        ("2 of", "is not a panel"),
        ("1 of B <b@x>; C", "`C` is not a"),
    ] {
        let found = faults(&with(panel));
        assert!(found.len() == 1 && found[0].starts_with("line 4: Verifier panel: "), "{panel}: {found:?}");
        assert!(found[0].contains(fault), "{panel}: {found:?}");
    }
}

/// One change to a small good card, and the one fault it makes.
#[test]
fn each_fault_is_named_with_its_line() {
    let key =
        |line: &str| ("- **Verifier:** B <b@local>\n".to_owned(), format!("- **Verifier:** B <b@local>\n{line}\n"));
    let swap = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let end = |text: &str| swap("```sh\ntrue\n```\n", &format!("```sh\ntrue\n```\n{text}"));
    for ((from, to), fault) in [
        (swap("# Stage card 01-greeting: T\n", ""), "line 1: the title is missing"),
        (swap("true\n```", "true\n```\n# done"), "line 15: a second title; the first is on line 1"),
        (swap("- **Worker:** A <a@local>\n", ""), "line 2: Metadata: `**Worker:**` is missing"),
        (swap("- **Verifier:** B <b@local>\n", ""), "line 2: Metadata: `**Verifier:**` or `**Verifier panel:**`"),
        (key("- **Verifier panel:** 1 of C <c@x>"), "line 5: Verifier panel: the card has a `Verifier`, too"),
        (swap("A <a@local>", "A"), "line 3: Worker: `A` is not a"),
        (swap("A <a@local>", ""), "line 3: Worker: the key has no value"),
        (swap("A <a@local>", "<<who>>"), "line 3: the placeholder `<<who>>` is not filled in"),
        (key("- **worker:** A <a@local>"), "line 5: Worker: the key is already on line 3"),
        (
            key("- **Path claim:** a"),
            "line 5: Metadata: the key `Path claim` is unknown; the nearest known key is `Path claims`",
        ),
        (key("\nPath claims"), "line 6: Metadata: `Path claims` is not a `- **Key:** value` line"),
        (key("- Path claims"), "line 5: Metadata: `Path claims` is not a `- **Key:** value` line"),
        (key("- **Escalation:** C <c@x>;"), "line 5: Escalation: `` is not a"),
        (key("- **Depends on:** 01-greeting"), "line 5: Depends on: a stage cannot depend on itself"),
        (key("- **Depends on:** 00-a, 00-b, 00-a"), "line 5: Depends on: `00-a` is named twice"),
        (key("- **Depends on:** setup"), "line 5: Depends on: `setup` is not a valid stage id"),
        (key("- **Path claims:** ok, /etc/passwd"), "line 5: Path claims: the path `/etc/passwd` is absolute"),
        (key("- **Path claims:** a/../../b"), "line 5: Path claims: the path `a/../../b` leaves"),
        (key("- **Path claims:** `.autometta/`"), "line 5: Path claims: the path `.autometta/` belongs to git or"),
        (key("- **Priority:** high"), "line 5: Priority: `high` is not a priority"),
        (key("- **Worker effort:** huge"), "line 5: Worker effort: `huge` is not an effort"),
        (key("- **Landing:** later"), "line 5: Landing: `later` is not how a change lands: write `auto` or `ask`"),
        (key("- **Silence limit:** a while"), "line 5: Silence limit: `a while` is not a duration"),
        (swap("## Objective\nO\n", ""), "line 1: Objective: the section `## Objective` is missing"),
        (swap("O\n", "\n"), "line 5: Objective: the section is empty"),
        (swap("O\n", "<<why>>\n"), "line 6: the placeholder `<<why>>` is not filled in"),
        (end("## objective\nP\n"), "line 15: objective: the section is already on line 5"),
        (end("## Notes\n## NOTES\n"), "line 16: NOTES: the section is already on line 15"),
        (swap("- `a`", "A file."), "line 7: Deliverables: no deliverable is listed"),
        (swap("- `a`", "- a"), "line 8: Deliverables: the item does not begin with a path in backticks"),
        (swap("- `a`", "- `a`, `b`"), "line 8: Deliverables: `a` and `b` share an item"),
        (swap("- `a`", "- `.git/hooks/x`"), "line 8: Deliverables: the path `.git/hooks/x` belongs to git"),
        (swap("- `a`", "- none\n- `b`"), "line 8: Deliverables: the item does not begin"),
        (swap("1. C", "C"), "line 9: Acceptance criteria: no criterion is listed"),
        (swap("1. C", "- C"), "line 10: Acceptance criteria: a criterion has a bullet; number it 1"),
        (swap("1. C", "1. C\n3. D"), "line 11: Acceptance criteria: criterion 3 stands where 2 is expected"),
        (swap("1. C", "1. C\n1. D"), "line 11: Acceptance criteria: criterion 1 stands where 2 is expected"),
        (swap("1. C", "1."), "line 10: Acceptance criteria: criterion 1 is empty"),
        (swap("```sh\ntrue\n```", "`true`"), "line 11: Acceptance command: there is no fenced shell block"),
        (swap("true\n", "\n# nothing\n"), "line 12: Acceptance command: the block holds no command"),
        (swap("```sh", "```python"), "line 12: Acceptance command: a block of `python` is no command"),
        (swap("true\n```", "true"), "line 12: the fenced block that opens here is never closed"),
        (end("<!-- later"), "line 15: the comment that opens here is never closed"),
        (swap("O\n", "O\u{1b}[2J\n"), "line 6: a control character (U+001B) stands here"),
        (end("## Out of scope\n- `../x`\n"), "line 16: Out of scope: the path `../x` leaves"),
        (end("## Out of scope\n- `b` and `c`\n"), "line 16: Out of scope: `b` and `c` share an item"),
        (end("## Out of scope\n- `a`\n"), "line 8: Deliverables: `a` is out of scope by line 16"),
        (end("## Budget\n- **Worker tokens:** lots\n"), "line 16: Worker tokens: `lots` is not a number of tokens"),
        (end("## Budget\n- **Worker cost:** 0\n"), "line 16: Worker cost: `0` is not an amount of money"),
        (end("## Budget\n- **Verifier wall clock:** 5\n"), "line 16: Verifier wall-clock: `5` is not a duration"),
        (end("## Budget\n- **Tokens:** 5\n"), "line 16: Budget: the key `Tokens` is unknown"),
        (end("## Script\n```sh\na\n```\n```sh\nb\n```\n"), "line 15: Script: there are several blocks"),
        (end("## Script\nrun it\n"), "line 15: Script: there is no fenced shell block"),
    ] {
        let text = small();
        assert!(text.contains(&from), "{from}");
        let found = faults(&text.replacen(&from, &to, 1));
        assert_eq!(found.len(), 1, "{to}: {found:?}");
        assert!(found[0].starts_with(fault), "{to}: {found:?}");
    }
}

#[test]
fn all_faults_come_at_once_and_in_order() {
    let found = parse("# 01-x\n## Metadata\n- **Wroker:** A\n- **Priority:** 1.5\n").expect_err("faults");
    let lines: Vec<_> = found.0.iter().map(|fault| fault.line).collect();
    assert!(lines.is_sorted(), "{found}");
    // The title, two missing keys, the unknown key, the priority, and three missing sections.
    assert_eq!(found.0.len(), 8, "{found}");
    assert_eq!(faults("").len(), 5);
}

#[test]
fn a_card_may_deliver_nothing_and_claim_nothing() {
    for none in ["none", "None.", "- none"] {
        let card = parse(&small().replace("- `a`", none)).expect(none).card;
        assert!(card.may_change_nothing(), "{none}");
        assert_eq!(card.covers("a"), Scope::Outside);
    }
    let text = small().replace("## Objective", "- **Depends on:** none\n- **Path claims:** None\n## Objective");
    let card = parse(&text).expect("card").card;
    assert!(card.depends_on.is_empty() && card.path_claims.is_empty());
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    let without = small().split("## Acceptance command").next().expect("text").to_owned();
    for (text, warning) in [
        (without.clone(), "line 1: Acceptance command: there is no acceptance command; the verifier alone judges"),
        (small() + "## Acceptance commands\n", "line 15: Acceptance commands: the section is read as a note; is `## "),
        (small().replace("`a`", "`src/*.rs`"), "line 8: Deliverables: the `*` in `src/*.rs` is no wildcard"),
        (small().replace("```sh", "```bash"), "line 12: Acceptance command: the block says `bash`"),
        (small() + "## Out of scope\n- src/main.rs\n", "line 16: Out of scope: `src/main.rs` is read as prose"),
    ] {
        let warnings = parse(&text).expect("card").warnings;
        assert_eq!(warnings.0.len(), 1, "{warnings}");
        assert!(warnings.to_string().starts_with(warning), "{warnings}");
    }
    assert!(parse(&without).expect("card").card.commands.is_empty());
}

#[test]
fn a_block_inside_a_list_keeps_its_own_shape() {
    let text = small().replace("1. C", "1. C\n   ```text\n   # no title\n     deep\n   ```\n2. D");
    assert_eq!(parse(&text).expect("card").card.criteria, ["C\n# no title\n  deep\n", "D"]);
}

#[test]
fn a_huge_card_is_refused() {
    let fits = small() + "## Notes\n" + &"x".repeat(MAX_BYTES - small().len() - 9);
    assert_eq!(fits.len(), MAX_BYTES);
    assert!(parse(&fits).is_ok());
    assert!(faults(&(fits + "x"))[0].contains("262144 is the most"));
}

#[test]
fn a_card_can_be_shown_as_json_by_its_schema() {
    let schema = schemars::schema_for!(Card).to_value();
    let validator = jsonschema::validator_for(&schema).expect("schema");
    for text in [CARD.to_owned(), small().replace("Verifier:** B", "Verifier panel:** 1 of B")] {
        let card = serde_json::to_value(parse(&text).expect("card").card).expect("json");
        assert!(validator.is_valid(&card), "{card:#}");
    }
    let card = serde_json::to_value(parse(CARD).expect("card").card).expect("json");
    assert_eq!(card["budget"]["worker"]["cost_usd"], 5.0);
    assert_eq!(card["verifiers"]["one"], "GPT-5.6 Sol <gpt-5-6-sol@local>");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_or_fail_without_a_reason(
        lines in prop::collection::vec(prop_oneof![
            prop::sample::select(CARD.lines().collect::<Vec<_>>()).prop_map(str::to_owned),
            "\\PC{0,20}",
            "[#*`~<>: -]{0,6}[a-z./]{0,4}[`*:>é]{0,3}",
        ], 0..60)
    ) {
        if let Err(faults) = parse(&lines.join("\n")) {
            prop_assert!(!faults.is_empty());
            prop_assert!(faults.0.iter().all(|fault| fault.line.is_some_and(|line| line <= lines.len().max(1))));
        }
    }
}

#[test]
fn what_judges_without_a_model_is_read() {
    let text = small()
        .replace("```sh\ntrue", "```sh retries=2 timeout=90s\ntrue")
        .replace("- `a`\n", "- `a`\n- `old/`: removed, nobody reads it\n- `b`: removed duplicates\n")
        + "## Contract tests\n- `tests/a.rs`: the old promise\n- `tests/api/**/*.rs`\n## Completion checks\n\
           - diff_not_empty\n- `no_error_in_output`\n- command: `make check`\n- command: test -s a\n";
    let card = parse(&text).expect("card").card;
    assert_eq!(card.command_rules, [CommandRule { retries: 2, timeout_seconds: Some(Seconds(90)) }]);
    assert_eq!(card.deliverables.iter().map(|one| one.removed).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(paths(&card.contract_tests), ["tests/a.rs", "tests/api/**/*.rs"]);
    let command = |text: &str| Check::Command(text.to_owned());
    let expected = [Check::DiffNotEmpty, Check::NoErrorInOutput, command("make check"), command("test -s a")];
    assert_eq!(card.checks, expected);
    let none = small().replace("B <b@local>", "None (prose only)");
    let card = parse(&none).expect("card").card;
    assert_eq!((card.verifiers.rationale(), card.verifiers.seats().len()), (Some("prose only"), 0));
}

#[test]
fn what_judges_without_a_model_is_read_strictly() {
    for (from, to, fault) in [
        ("```sh\n", "```sh retries=4\n", "from 0 to 3"),
        ("```sh\n", "```sh timeout=soon\n", "timeout="),
        ("```sh\n", "```sh retry=1\n", "`retry=1` is unknown"),
        ("B <b@local>", "none", "says why"),
        ("B <b@local>", "none ()", "says why"),
        ("## Objective", "## Completion checks\n- no_errors\n## Objective", "is no check"),
        ("## Objective", "## Completion checks\ndiff_not_empty\n## Objective", "no list item"),
        ("## Objective", "## Completion checks\n- command:\n## Objective", "is no check"),
        ("## Objective", "## Contract tests\nsoon\n## Objective", "no test is listed"),
        ("## Objective", "## Contract tests\n- `a[`\n## Objective", "not a pattern"),
        ("## Objective", "## Contract tests\n- `../a`\n## Objective", "leaves the project"),
        ("## Objective", "## Out of scope\n- `A`\n## Objective", "out of scope"),
    ] {
        let found = faults(&small().replace(from, to));
        assert!(found.iter().any(|text| text.contains(fault)), "{to}: {found:?}");
    }
}
