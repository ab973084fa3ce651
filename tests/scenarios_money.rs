//! Scenarios 21 and 25 to 31: money. Over the real binary with stub agents.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_macros, clippy::expect_used, reason = "tests say the figures that they are about")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::night::{HAND_IN, LIMIT, Night, SAY_PASS};

/// Tokens of one model turn of the metered stub.
const TURN: u64 = 10_000;

/// Writes a card with a budget and queues it.
fn queue(night: &Night, stage: &str, deliverable: &str, budget: &str) {
    night.card_with(stage, "", &format!("1. `{deliverable}`: the work"), &format!("test -s {deliverable}"));
    let path = format!("stage-cards/{stage}.md");
    let card = night.read(format!("repo/{path}"));
    night.write(&path, &format!("{card}\n## Budget\n{budget}\n"));
    night.ok(&["add-stage", &path]);
}

/// A night whose worker's and verifier's usage is unknown, so that each run is charged what its card sets aside.
fn unmetered() -> Night {
    Night::with(&format!("echo work >\"$1.txt\"\n{HAND_IN}"), &SAY_PASS.replace("seen=a.txt", "seen=\"$1.txt\""))
}

const HUNDRED_EACH: &str =
    "- **Worker tokens:** 100\n- **Verifier tokens:** 100\n- **Worker cost:** $0.10\n- **Verifier cost:** $0.10";

fn halts(night: &Night) -> Vec<String> {
    let budget = night.budget();
    let reasons = budget["halt_reasons"].as_array().expect("halts");
    reasons.iter().map(|halt| halt["reason"].as_str().expect("reason").to_owned()).collect()
}

fn events(night: &Night, event: &str) -> usize {
    let log = night.read("repo/state/ledger.jsonl");
    log.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count()
}

#[test]
fn scenario_25_thirty_one_dispatches_of_150_times_the_cap_pass_it_by_at_most_one_turn() {
    const CAP: u64 = 200_000;
    const PER_RUN: u64 = 50_000;
    const STAGES: u64 = 31;
    // Each would go on for 97 turns: 31 × 970,000 is 150 times the cap.
    const TURNS: u64 = 97;
    let night = Night::bare();
    let turn = format!(
        r#"printf '{{"type":"assistant","message":{{"id":"m%s","content":[],"usage":{{"input_tokens":{},"output_tokens":1000}}}}}}\n' "$n""#,
        TURN - 1000
    );
    night.stub("worker", &format!("n=0\nwhile [ $n -lt {TURNS} ]; do n=$((n+1)); {turn}; sleep 0.4; done"));
    night.stub("verifier", SAY_PASS);
    night.manifest("");
    let manifest = night
        .read("repo/.autometta.yaml")
        .replace("identities: [\"Stub*\"]", "identities: [\"Stub*\"], decoder: claude");
    night.write(".autometta.yaml", &manifest);
    night.ok(&["init"]);
    night.ok(&["budget", "set", "--tokens", &CAP.to_string(), "--failures", "none"]);
    for number in 1..=STAGES {
        let budget = format!("- **Worker tokens:** {PER_RUN}\n- **Worker cost:** $100");
        queue(&night, &format!("{number:02}-work"), &format!("{number:02}.txt"), &budget);
    }
    night.wait("the cap halts it", || {
        let _ = night.tick();
        let budget = night.budget();
        let (spent, reserved) = (budget["tokens_spent"].as_u64(), budget["tokens_reserved"].as_u64());
        let (spent, reserved) = (spent.expect("spent"), reserved.expect("reserved"));
        assert!(spent + reserved <= CAP + TURN, "{spent} spent and {reserved} reserved");
        budget["halted"] == true
    });
    let budget = night.budget();
    let spent = budget["tokens_spent"].as_u64().expect("spent");
    assert_eq!((halts(&night), &budget["tokens_reserved"]), (vec!["token-cap".to_owned()], &json!(0)));
    let overshoot = spent.saturating_sub(CAP);
    let dispatched = events(&night, "dispatched");
    println!(
        "{dispatched} of {STAGES} dispatched, {spent} of {CAP} tokens spent, overshoot {overshoot} (a turn is {TURN})"
    );
    assert!(overshoot <= TURN, "more than one turn of one run: {overshoot}");
    assert!(spent > CAP - PER_RUN, "the cap is what stopped it: {spent}");
    assert!(dispatched <= 4, "{dispatched} runs of {PER_RUN} each");
    let asked = STAGES * TURNS * TURN;
    assert_eq!(asked / CAP, 150);
    let charged: u64 = night.status()["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| stage["tokens"].as_u64().expect("tokens"))
        .sum();
    assert_eq!(charged, spent, "the runs' charges are the spend");
}

/// Thirty-one runs that would each go on for 150 times their cap, their streams metered as they come. Gives what each
/// was charged, in the order of its stage, and what was spent of the window's cap, which is the sum of theirs. Each of
/// several lanes may be in a turn of its own when its cap comes, and those turns must not add up.
fn replay(lanes: u64, turn: u64, per_run: u64) -> (Vec<u64>, u64, u64) {
    const STAGES: u64 = 31;
    let (cap, turns) = (STAGES * per_run, 150 * per_run / turn);
    let night = Night::bare();
    // A turn takes its time, and the one that would follow the cap takes longer than any machine needs to look.
    let step = format!(
        r#"printf '{{"type":"assistant","message":{{"id":"m%s","content":[],"usage":{{"input_tokens":{},"output_tokens":100}}}}}}\n' "$n""#,
        turn - 100
    );
    let enough = per_run.div_ceil(turn);
    night.stub(
        "worker",
        &format!("n=0\nwhile [ $n -lt {turns} ]; do n=$((n+1)); {step}; [ $n -lt {enough} ] && sleep 0.1 || sleep 30 || exit; done"),
    );
    night.stub("verifier", SAY_PASS);
    night.manifest(&format!("max_parallel: {lanes}"));
    let manifest = night
        .read("repo/.autometta.yaml")
        .replace("identities: [\"Stub*\"]", "identities: [\"Stub*\"], decoder: claude");
    night.write(".autometta.yaml", &manifest);
    night.ok(&["init"]);
    night.ok(&["budget", "set", "--tokens", &cap.to_string(), "--failures", "none"]);
    for number in 1..=STAGES {
        let budget = format!("- **Worker tokens:** {per_run}\n- **Worker cost:** $100");
        queue(&night, &format!("{number:02}-work"), &format!("{number:02}.txt"), &budget);
    }
    let begun = Instant::now();
    loop {
        let _ = night.tick();
        let (budget, status) = (night.budget(), night.status());
        let (spent, reserved) = (budget["tokens_spent"].as_u64(), budget["tokens_reserved"].as_u64());
        let (spent, reserved) = (spent.expect("spent"), reserved.expect("reserved"));
        assert!(spent + reserved <= cap + turn, "{spent} spent and {reserved} reserved");
        let stages = status["stages"].as_array().expect("stages");
        let over = budget["halted"] == true || stages.iter().all(|stage| stage["status"] == "stalled");
        if reserved == 0 && over {
            break;
        }
        assert!(
            begun.elapsed() < LIMIT * 3,
            "in vain: the cap halts it, or all of them are over\n{}",
            night.ok(&["log"])
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = night.status();
    let stages = status["stages"].as_array().expect("stages");
    let charged: Vec<_> = stages.iter().map(|stage| stage["tokens"].as_u64().expect("tokens")).collect();
    for (stage, charged) in stages.iter().zip(&charged) {
        let over = charged.saturating_sub(per_run);
        println!("{} asked for {}, may take {per_run}: {charged}, {over} over", stage["id"], turns * turn);
    }
    let spent = night.budget()["tokens_spent"].as_u64().expect("spent");
    assert_eq!(charged.iter().sum::<u64>(), spent, "the runs' charges are the spend");
    println!("{spent} of {cap} spent, {} over", spent.saturating_sub(cap));
    (charged, spent, cap)
}

#[test]
fn scenario_25_thirty_one_streams_whose_turns_come_to_their_cap_pass_nothing() {
    let (charged, spent, cap) = replay(6, 1000, 3000);
    assert_eq!(charged, [3000; 31], "every run is stopped at its cap");
    assert_eq!(spent, cap, "and so is the window");
}

#[test]
fn scenario_25_thirty_one_streams_that_straddle_their_cap_pass_it_by_less_than_one_turn() {
    let (charged, spent, cap) = replay(6, 1000, 2500);
    assert!(charged.iter().all(|charged| [0, 3000].contains(charged)), "{charged:?}");
    assert!(spent < cap + 1000, "{spent} of {cap}");
    assert!(spent > cap - 2500, "the cap is what stopped it: {spent}");
}

#[test]
fn scenario_28_two_caps_over_at_once_are_both_named_with_figures_and_the_way_out() {
    let night = unmetered();
    night.ok(&["budget", "set", "--tokens", "99", "--cost", "$0.09"]);
    queue(&night, "01-work", "01-work.txt", HUNDRED_EACH);
    let _ = night.tick();
    assert_eq!(halts(&night), ["token-cap", "cost-cap"]);
    let said = night.ok(&["budget"]);
    for words in ["the next run may take 100, the cap is 99", "budget set --tokens 100`", "budget set --cost 0.10`"] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert_eq!(night.tick().status.code(), Some(4));
    assert_eq!(events(&night, "dispatched"), 0);
    assert_eq!(events(&night, "halted"), 1);
}

#[test]
fn scenario_29_and_21_a_new_day_is_begun_lazily_after_a_breach_record_and_only_once() {
    let mut night = unmetered();
    night.ok(&["budget", "set", "--tokens", "350", "--window", "utc-day"]);
    queue(&night, "01-work", "01-work.txt", HUNDRED_EACH);
    night.tick_until("01-work", "completed");
    let before = night.budget();
    assert_eq!(before["tokens_spent"], 200);
    // Below the cap the clock alone resets nothing.
    night.set("AUTOMETTA_CLOCK_OFFSET", "90000");
    let _ = night.tick();
    assert_eq!(night.budget()["window_started_at"], before["window_started_at"]);
    night.set("AUTOMETTA_CLOCK_OFFSET", "0");
    queue(&night, "02-work", "02-work.txt", HUNDRED_EACH);
    queue(&night, "03-work", "03-work.txt", HUNDRED_EACH);
    night.wait("the verifier does not fit", || {
        let _ = night.tick();
        night.budget()["halted"] == true
    });
    let halted = night.budget();
    assert_eq!((&halted["tokens_spent"], &halted["lifetime_tokens_spent"]), (&json!(300), &json!(300)));
    // A clock that is set back a day begins no window.
    for offset in ["-86400", "-172800", "0"] {
        night.set("AUTOMETTA_CLOCK_OFFSET", offset);
        let _ = night.tick();
        assert_eq!(night.budget()["window_started_at"], halted["window_started_at"], "{offset}");
    }
    night.set("AUTOMETTA_CLOCK_OFFSET", "90000");
    night.tick_until("03-work", "completed");
    let after = night.budget();
    assert_eq!(after["breaches"].as_array().map(Vec::len), Some(1), "{after:#}");
    assert!(after["breaches"][0]["detail"].as_str().expect("detail").contains("spent 300"), "{after:#}");
    assert_eq!(after["breaches"][0]["reason"], "token-cap");
    assert_eq!((&after["tokens_spent"], &after["lifetime_tokens_spent"]), (&json!(300), &json!(600)));
    assert_ne!(after["window_started_at"], halted["window_started_at"]);
    assert_eq!((events(&night, "window-rolled"), events(&night, "resumed")), (1, 1));
    // Back and forth again: the same day does not begin twice.
    for offset in ["0", "90000"] {
        night.set("AUTOMETTA_CLOCK_OFFSET", offset);
        let _ = night.tick();
        assert_eq!(night.budget()["window_started_at"], after["window_started_at"], "{offset}");
    }
}

#[test]
fn scenario_30_four_hundred_fires_on_an_empty_queue_cost_no_working_tick() {
    let night = unmetered();
    let before = night.budget();
    for _ in 0..400 {
        assert!(night.tick().status.success());
    }
    let after = night.budget();
    assert_eq!((&after["clock_ticks_used"], &after["halted"]), (&before["clock_ticks_used"], &json!(false)));
    assert_eq!(after, before, "an idle fire writes no budget");
}

#[test]
fn scenario_31_resume_refuses_while_a_spend_cap_is_over_and_budget_set_is_the_way_out() {
    let night = unmetered();
    queue(&night, "01-work", "01-work.txt", HUNDRED_EACH);
    night.tick_until("01-work", "completed");
    let said = night.ok(&["budget", "set", "--tokens", "150"]);
    assert!(said.contains("the next dispatch halts"), "{said}");
    assert_eq!(night.budget()["halted"], false);
    queue(&night, "02-work", "02-work.txt", HUNDRED_EACH);
    let _ = night.tick();
    assert_eq!(halts(&night), ["token-cap"]);
    let said = night.fails(&["resume"], 3);
    assert!(said.contains("still over its caps") && said.contains("autometta budget set --tokens"), "{said}");
    assert_eq!(night.budget()["halted"], true);
    // A halt of another kind stays where the cap's is lifted.
    night.ok(&["halt", "--reason", "releasing"]);
    let said = night.ok(&["budget", "set", "--tokens", "1M"]);
    assert!(said.contains("tokens 150 → 1,000,000") && said.contains("lifted token-cap"), "{said}");
    assert_eq!(halts(&night), ["operator"]);
    night.ok(&["resume"]);
    night.tick_until("02-work", "completed");
    let kept: Value = night.budget();
    assert_eq!((&kept["tokens_spent"], &kept["lifetime_tokens_spent"]), (&json!(400), &json!(400)));
}
