//! The report of a real night over the real binary: every figure on the page against the ledger and the runs' records,
//! and everything that an agent may write.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::night::{HAND_IN, Night, SAY_PASS};

/// What an agent would write who wants to be more than text.
const EVIL: &str = "</td></script><script>alert(1)</script><img src=x onerror=alert(2)><a href=javascript:alert(3)>";

/// One tag of the page with its attributes.
type Tag = (String, BTreeMap<String, String>);

/// Every tag of the page; a `<` that begins no tag of ours fails.
fn tags(page: &str) -> Vec<Tag> {
    const KNOWN: &[&str] = &[
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "a", "header", "main", "footer", "section",
        "article", "p", "i", "h1", "h2", "h3", "span", "div", "ol", "ul", "li", "code", "pre", "b", "bdi", "strong",
        "small", "time", "details", "summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "g",
        "rect", "line", "path", "circle", "text", "tspan", "desc", "defs", "pattern",
    ];
    let mut found = Vec::new();
    for part in page.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("a tag without end: {part}"));
        let tag = tag.trim_start_matches('/');
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(KNOWN.contains(&name), "<{tag}>");
        let mut attributes = BTreeMap::new();
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"').expect("quoted");
            let name = name.trim().rsplit(' ').next().unwrap_or_default();
            assert!(!name.starts_with("on") && name != "style" && name != "src", "{name} in <{tag}>");
            if name == "href" {
                assert!(value.starts_with('#'), "a link out of the page: {value}");
            }
            attributes.insert(name.to_owned(), value.to_owned());
            rest = after;
        }
        found.push((name.to_owned(), attributes));
    }
    found
}

/// The tags that carry an attribute, by its value.
fn by<'t>(tags: &'t [Tag], name: &str, attribute: &str) -> BTreeMap<&'t str, &'t BTreeMap<String, String>> {
    let wanted = tags.iter().filter(|(tag, _)| tag == name);
    wanted.filter_map(|(_, all)| Some((all.get(attribute)?.as_str(), all))).collect()
}

fn number(tag: &BTreeMap<String, String>, attribute: &str) -> u64 {
    tag[attribute].parse().unwrap_or_else(|error| panic!("{attribute}: {error} in {tag:?}"))
}

/// Money in millionths of a dollar, so that it can be added up.
fn micro(tag: &BTreeMap<String, String>) -> i64 {
    millionths(tag["data-cost-usd"].parse().expect("dollars"))
}

#[expect(clippy::cast_possible_truncation, reason = "a few dollars")]
fn millionths(dollars: f64) -> i64 {
    (dollars * 1e6).round() as i64
}

fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect(text).to_utc()
}

fn card(night: &Night, stage: &str, title: &str, worker: &str, verifier: &str, gate: &str) {
    let text = format!(
        "# Stage card {stage}: {title}\n\n## Metadata\n- **Worker:** {worker}\n- **Verifier:** {verifier}\n\n\
         ## Objective\nDo it.\n\n## Deliverables\n1. `{stage}.txt`\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\n{gate}\n```\n"
    );
    night.write(&format!("stage-cards/{stage}.md"), &text);
    night.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
}

/// A night with a landing, a failed gate, a failed verdict, a question and a run of unknown usage; its agents write
/// what they should not.
fn eventful() -> Night {
    let night = Night::bare();
    let stubs = night.base().join("stubs").display().to_string();
    let usage = |tokens: u32, dollars: &str| {
        format!(
            r#"echo '{{"type":"result","subtype":"success","is_error":false,"result":"done","total_cost_usd":{dollars},"usage":{{"input_tokens":{tokens},"output_tokens":0}},"modelUsage":{{"claude-opus-4-8":{{"inputTokens":{tokens},"outputTokens":0,"cacheReadInputTokens":0,"cacheCreationInputTokens":0,"costUSD":{dollars}}}}}}}'"#
        )
    };
    let asks = serde_json::json!({"stage_id": "03-asks", "status": "blocked", "deliverables": [], "notes": EVIL,
        "question": format!("Which \u{202e}one\u{200b}? {EVIL}")});
    let fails = serde_json::json!({"stage_id": "04-judged", "overall": "FAIL", "headline": EVIL, "additional_findings": EVIL,
        "criteria": [{"id": 1, "name": EVIL, "verdict": "FAIL", "evidence": format!("{EVIL}\u{202e}\nline two")}]});
    fs::write(night.t().join("asks.json"), asks.to_string()).expect("file");
    fs::write(night.t().join("fails.json"), fails.to_string()).expect("file");
    let t = night.t().display().to_string();
    night.stub(
        "worker",
        &format!(
            "{}\necho work >$1.txt\nif [ $1 = 03-asks ]; then cp '{t}/asks.json' .autometta/outbox/handoff.json; exit; fi\n{HAND_IN}",
            usage(2000, "0.02")
        ),
    );
    night.stub(
        "verifier",
        &format!(
            "{}\nif [ $1 = 04-judged ]; then cp '{t}/fails.json' .autometta/outbox/verdict.json; exit; fi\n{SAY_PASS}",
            usage(300, "0.003")
        ),
    );
    night.manifest(&format!(
        "  metered: {{identities: [\"Metered*\"], decoder: claude, command: [\"{stubs}/worker\", \"{{stage}}\", \"{{run}}\"]}}\n  \
         appraiser: {{identities: [\"Appraiser*\"], decoder: claude, command: [\"{stubs}/verifier\", \"{{stage}}\", \"{{run}}\"]}}\n\
         defaults: {{worker_tokens: 50000, verifier_tokens: 20000, worker_cost: 1.5, verifier_cost: 0.5}}\n\
         max_parallel: 2\nretry: {{work: 0}}"
    ));
    night.ok(&["init"]);
    let (worker, judge) = ("Metered Worker <metered@local>", "Appraiser <appraiser@local>");
    card(&night, "01-lands", "Land &amp; \"shine\"", worker, judge, "test -s 01-lands.txt");
    card(&night, "02-gate", EVIL, worker, judge, &format!("printf '%s\\033[31m' '{EVIL}'; exit 3"));
    card(&night, "03-asks", "Ask \u{202e}backwards", worker, judge, "true");
    card(&night, "04-judged", "Be judged", worker, judge, "true");
    card(&night, "05-unknown", "Say nothing of its usage", support::night::WORKER, judge, "true");
    for (stage, status) in [
        ("01-lands", "completed"),
        ("02-gate", "verifier_failed"),
        ("03-asks", "blocked"),
        ("04-judged", "verifier_failed"),
        ("05-unknown", "completed"),
    ] {
        night.tick_until(stage, status);
    }
    night
}

/// What the ledger and the runs' own records say, read here and nowhere else.
struct Truth {
    /// Each run with when it was dispatched.
    runs: BTreeMap<String, DateTime<Utc>>,
    /// Each run's exit record.
    exits: BTreeMap<String, Value>,
    /// What each run was charged: tokens, and millionths of a dollar.
    charges: BTreeMap<String, (u64, i64)>,
    events: Vec<Value>,
}

fn truth(night: &Night) -> Truth {
    let ledger = night.read("repo/state/ledger.jsonl");
    let events: Vec<Value> = ledger.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let dispatched = events.iter().filter(|line| line["event"] == "dispatched");
    let runs: BTreeMap<String, DateTime<Utc>> = dispatched
        .map(|line| (line["run"].as_str().expect("run").to_owned(), moment(line["at"].as_str().expect("at"))))
        .collect();
    let read = |run: &str, name: &str| -> Value {
        serde_json::from_str(&night.read(format!("repo/state/runs/{run}/{name}"))).expect("json")
    };
    let exits: BTreeMap<String, Value> = runs.keys().map(|run| (run.clone(), read(run, "exit.json"))).collect();
    let charge = |run: &String| {
        let (usage, reserved) = (&exits[run]["usage"], &read(run, "run.json")["reserved"]);
        let known = usage["source"] != "unknown";
        let tokens = if known { &usage["total_tokens"] } else { &reserved["tokens"] };
        let cost = if known { &usage["cost_usd"] } else { &reserved["cost_usd"] };
        (tokens.as_u64().expect("tokens"), millionths(cost.as_f64().expect("dollars")))
    };
    let charges = runs.keys().map(|run| (run.clone(), charge(run))).collect();
    Truth { runs, exits, charges, events }
}

#[test]
fn every_figure_is_the_ledgers_and_the_records() {
    let night = eventful();
    let truth = truth(&night);
    let path = night.ok(&["report"]);
    assert_eq!(path.trim(), night.repo.join("state/report.html").display().to_string());
    let page = night.read("repo/state/report.html");
    let tags = tags(&page);

    // Bars and rows: one for each run, with its times and its charge.
    let (bars, rows) = (by(&tags, "g", "data-run"), by(&tags, "tr", "data-run"));
    let runs: Vec<&str> = truth.runs.keys().map(String::as_str).collect();
    assert_eq!(bars.keys().copied().collect::<Vec<_>>(), runs);
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), runs);
    for (run, exit) in &truth.exits {
        let (bar, row, charge) = (bars[run.as_str()], rows[run.as_str()], truth.charges[run]);
        assert_eq!(moment(&bar["data-dispatched"]), truth.runs[run], "{run}");
        for (name, key) in [("data-started", "started_at"), ("data-ended", "ended_at")] {
            let recorded = moment(exit[key].as_str().expect("time"));
            assert_eq!(moment(&bar[name]).timestamp_millis(), recorded.timestamp_millis(), "{run} {name}");
        }
        assert_eq!((number(bar, "data-tokens"), micro(bar)), charge, "{run}");
        assert_eq!((number(row, "data-tokens"), micro(row)), charge, "{run}");
        let elapsed = exit["elapsed_seconds"].as_f64().expect("seconds");
        assert!(
            (elapsed - f64::from(u32::try_from(number(row, "data-seconds")).expect("short"))).abs() <= 0.5,
            "{run}"
        );
    }

    // Sums: the first sentence, the stages, the families.
    let (tokens, cost) = truth.charges.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let (_, head) = tags.iter().find(|(tag, _)| tag == "h1").expect("h1");
    assert_eq!((number(head, "data-tokens"), micro(head)), (tokens, cost));
    assert_eq!(night.budget()["tokens_spent"].as_u64(), Some(tokens), "the bill is the budget's");
    let landed = truth.events.iter().filter(|line| line["event"] == "landed").count() as u64;
    let counts = ["data-landed", "data-needs-you", "data-failed", "data-working", "data-waiting", "data-runs"];
    assert_eq!(counts.map(|name| number(head, name)), [landed, 1, 2, 0, 0, truth.runs.len() as u64]);
    assert!(page.contains("2 landed, 1 needs you, 2 failed"), "the sentence says it, too");
    for kind in ["stage", "family"] {
        let rows: Vec<_> = tags.iter().filter(|(_, all)| all.get("data-bill").is_some_and(|own| own == kind)).collect();
        let sums = |name: &str| rows.iter().map(|(_, all)| number(all, name)).sum::<u64>();
        assert_eq!(sums("data-tokens"), tokens, "{kind}");
        assert_eq!(sums("data-runs"), truth.runs.len() as u64, "{kind}");
        assert_eq!(rows.iter().map(|(_, all)| micro(all)).sum::<i64>(), cost, "{kind}");
        assert_eq!(
            rows.len(),
            if kind == "stage" { 5 } else { 4 },
            "two workers', one judges', and the gates': {kind}"
        );
    }

    // Landings, verdicts, gates, and every line of the ledger from the first dispatch on.
    let commits: Vec<String> = by(&tags, "p", "data-commit").keys().map(|commit| (*commit).to_owned()).collect();
    let mut known: Vec<String> = ["01-lands", "05-unknown"]
        .map(|stage| night.stage(stage)["commit"].as_str().expect("commit").to_owned())
        .into();
    known.sort();
    assert_eq!(commits, known);
    assert_eq!(by(&tags, "g", "data-landed").len(), 2);
    let verdicts: Vec<&str> = tags.iter().filter_map(|(_, all)| all.get("data-verdict")).map(String::as_str).collect();
    assert_eq!(verdicts, ["FAIL", "PASS", "PASS"], "what went wrong stands first");
    let failed_gates = tags.iter().filter(|(_, all)| all.get("data-passed").is_some_and(|passed| passed == "false"));
    assert_eq!(failed_gates.count(), 1);
    let first = truth.events.iter().find(|line| line["event"] == "dispatched").expect("a dispatch");
    let wanted: Vec<u64> = truth.events.iter().filter_map(|line| line["seq"].as_u64()).collect();
    let shown: Vec<u64> = tags.iter().filter_map(|(_, all)| all.get("data-seq")?.parse().ok()).collect();
    assert_eq!(shown, wanted[wanted.iter().position(|seq| Some(*seq) == first["seq"].as_u64()).expect("first")..]);

    // Where work is kept can be looked at with the command that stands there.
    for branch in ["wip/02-gate-attempt-1", "wip/04-judged-attempt-1", "autometta/03-asks"] {
        assert!(page.contains(&format!("<span>main...{branch}</span>")), "{branch}");
        night.git(&["diff", "--quiet", &format!("main...{branch}"), "--", "README.md"]);
    }
    for command in ["<span>answer</span> <span>03-asks</span>", "<span>requeue</span> <span>02-gate</span>"] {
        assert!(page.contains(command), "{command}");
    }
}

#[test]
fn what_an_agent_writes_is_text_and_nothing_else() {
    let night = eventful();
    night.ok(&["report"]);
    let page = night.read("repo/state/report.html");
    // Every `<` begins a tag of ours; see there.
    tags(&page);
    let shown = "&lt;/td&gt;&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;";
    assert!(page.matches(shown).count() >= 8, "title, gate, output, question, notes, headline, criterion, evidence");
    assert!(page.contains("Land &amp;amp; &quot;shine&quot;"), "what looks escaped is escaped once more");
    for hidden in ['\u{202e}', '\u{200b}', '\u{1b}', '\r'] {
        assert!(!page.contains(hidden), "{hidden:?} is not shown");
    }
    assert!(page.contains("Ask ⟦U+202E⟧backwards") && page.contains("⟦U+200B⟧") && page.contains("␛[31m"));
    // The policy forbids everything but the style that is there.
    let (_, rest) = page.split_once("<style>").expect("style");
    let (style, after) = rest.split_once("</style>").expect("style");
    assert!(!style.contains('<') && !style.contains("url(http") && !style.contains("@import"));
    assert!(!after.contains("<style"));
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
    let policy = format!(
        "<head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">"
    );
    assert!(page.contains(&policy), "{}", &page[..400]);
}

#[test]
fn the_same_figures_are_there_as_data_and_since_moves_the_window() {
    let night = eventful();
    let truth = truth(&night);
    let read = |args: &[&str]| -> Value { serde_json::from_str(&night.ok(args)).expect("json") };
    // The end of the night writes one by itself.
    let page = night.repo.join("state/report.html");
    night.wait("the report of the night's end", || page.exists());
    fs::remove_file(&page).expect("removed");
    let all = read(&["report", "--json"]);
    assert!(!night.repo.join("state/report.html").exists(), "--json writes nothing");
    let schema = schemars::schema_for!(autometta::core::night::Night).to_value();
    let faults: Vec<String> =
        jsonschema::validator_for(&schema).expect("schema").iter_errors(&all).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let runs = |told: &Value| -> Vec<String> {
        let stages = told["stages"].as_array().expect("stages").iter();
        let mut runs: Vec<String> = stages
            .flat_map(|stage| stage["runs"].as_array().expect("runs").clone())
            .map(|run| run["run"].as_str().expect("run").to_owned())
            .collect();
        runs.sort();
        runs
    };
    assert_eq!(runs(&all), truth.runs.keys().cloned().collect::<Vec<_>>());
    assert_eq!(all["window"]["begun"], "after-rest");
    assert_eq!(all["faults"], Value::Array(Vec::new()));

    let asked = read(&["report", "--json", "--since", "2h"]);
    assert_eq!((runs(&asked), &asked["window"]["begun"]), (runs(&all), &Value::from("asked")));
    // From the middle of the last run on, only that one is left of the runs.
    let (last, exit) = truth.exits.iter().max_by_key(|(run, _)| truth.runs[*run]).expect("a run");
    let middle = moment(exit["ended_at"].as_str().expect("time")) - chrono::TimeDelta::milliseconds(1);
    let since = read(&["report", "--json", "--since", &middle.max(truth.runs[last]).to_rfc3339()]);
    assert!(runs(&since).contains(last), "{last} in {:?}", runs(&since));
    let after = moment(truth.events.last().expect("line")["at"].as_str().expect("at")) + chrono::TimeDelta::seconds(1);
    let file = night.t().join("none.html");
    night.ok(&["report", "--since", &after.to_rfc3339(), "--output", &file.display().to_string()]);
    let page = fs::read_to_string(file).expect("page");
    assert!(
        page.contains("No run was dispatched in this time") && page.contains("03-asks"),
        "the question still waits"
    );
    let said = night.fails(&["report", "--since", "soon"], 2);
    assert!(said.contains("2026-11-20 22:00"), "the way out: {said}");
}

#[test]
fn a_night_that_goes_on_and_one_that_never_began_have_a_page_each() {
    let mut night = Night::with("while [ ! -e \"$T/go\" ]; do sleep 0.02; done", SAY_PASS);
    night.ok(&["report"]);
    assert!(night.read("repo/state/report.html").contains("Nothing has run yet"));
    night.queue("01-work");
    night.tick();
    night.ok(&["halt", "--reason", "<b>enough</b>"]);
    night.set("TZ", "Asia/Kolkata");
    night.ok(&["report"]);
    let page = night.read("repo/state/report.html");
    let tags = tags(&page);
    let bar = by(&tags, "g", "data-run")["01-work.1.worker"].clone();
    assert!(!bar.contains_key("data-ended"), "it runs: {bar:?}");
    let halts = by(&tags, "g", "data-band");
    assert!(halts["halt"].contains_key("data-from") && !halts["halt"].contains_key("data-until"), "{halts:?}");
    assert!(page.contains("Times are Asia/Kolkata (UTC+05:30)"), "the zone is named");
    assert!(page.contains("1 needs you, 1 in progress") && page.contains("&lt;b&gt;enough"));
    fs::write(night.t().join("go"), "").expect("go");
}

#[test]
fn records_that_are_gone_or_broken_leave_a_page_that_says_so() {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    let runs = night.repo.join("state/runs");
    fs::remove_dir_all(runs.join("01-work.1.gate")).expect("gone");
    fs::write(runs.join("01-work.1.verifier/exit.json"), "{").expect("broken");
    fs::remove_file(runs.join("01-work.1.worker/exit.json")).expect("file");
    fs::create_dir(runs.join("01-work.1.worker/exit.json")).expect("no file");
    let ledger = night.read("repo/state/ledger.jsonl");
    let broken = ledger.replacen("\"approved\"", "\"denied\"", 1);
    fs::write(night.repo.join("state/ledger.jsonl"), broken).expect("changed");
    night.ok(&["report"]);
    let page = night.read("repo/state/report.html");
    assert_eq!(by(&tags(&page), "g", "data-run").len(), 3, "the runs are known from the ledger");
    for words in ["does not follow from the line before", "a file is expected here, but it is a directory"] {
        assert!(page.contains(words), "{words}");
    }
}
