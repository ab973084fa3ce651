//! Real-looking files of version 1, and each way in which one can be broken.

use super::*;
use crate::core::quantity::{Seconds, Tokens};

macro_rules! fixture {
    ($name:literal) => {
        (
            include_str!(concat!("../../../tests/fixtures/v1/", $name, "/state.yaml")),
            include_str!(concat!("../../../tests/fixtures/v1/", $name, "/budget.json")),
        )
    };
}

fn read((state, budget): (&str, &str)) -> (V1State, V1Budget) {
    (serde_saphyr::from_str(state).expect("state"), serde_json::from_str(budget).expect("budget"))
}

fn carried(fixture: (&str, &str)) -> Carried {
    let (state, budget) = read(fixture);
    carry(&state, &budget).expect("carried")
}

fn ids(ids: &[StageId]) -> Vec<&str> {
    ids.iter().map(StageId::as_str).collect()
}

#[test]
fn a_fresh_queue_keeps_its_order_and_its_gates() {
    let carried = carried(fixture!("fresh"));
    assert_eq!(carried.stages.iter().map(|stage| stage.id.as_str()).collect::<Vec<_>>(), ["01-scaffold", "02-parser"]);
    assert!(carried.stages.iter().all(|stage| stage.status == CarriedStatus::Pending && stage.reason.is_none()));
    assert_eq!(ids(&carried.stages[1].depends_on), ["01-scaffold"]);
    assert!(carried.live_pids.is_empty() && carried.budget.halt.is_none() && carried.budget.pause.is_none());
    assert_eq!(carried.budget.token_cap, Some(Tokens(1_000_000)));
    assert_eq!(carried.budget.window_started_at, None);
}

#[test]
fn a_stage_in_progress_starts_afresh_and_names_its_processes() {
    let carried = carried(fixture!("mid-night"));
    let [landed, stalled, superseded, interrupted, last] = carried.stages.as_slice() else {
        panic!("five stages");
    };
    assert_eq!((landed.status, landed.commit.as_deref()), (CarriedStatus::Completed, Some("1234567")));
    assert_eq!(landed.completed_at, "2026-09-05T22:41:30Z".parse().ok());
    assert_eq!((stalled.status, superseded.status), (CarriedStatus::Stalled, CarriedStatus::Superseded));
    let reason = stalled.reason.as_ref().expect("reason");
    assert_eq!(
        (reason.code, reason.detail.as_str()),
        (ReasonCode::RecordedByVersion1, "stalled after 4487s (pid 4301)")
    );

    assert_eq!((interrupted.status, interrupted.started_at), (CarriedStatus::Pending, None));
    let reason = interrupted.reason.as_ref().expect("reason");
    assert_eq!(reason.code, ReasonCode::InterruptedByUpgrade);
    assert_eq!(reason.detail, "version 1 had it in progress since 2026-09-06T02:12:00Z (worker pid 5120)");
    assert_eq!(ids(&interrupted.depends_on), ["01-scaffold"], "named twice, waited for once");
    assert_eq!(interrupted.tokens, Tokens(90_211));
    // Those of stages that have ended are not asked about: their numbers belong to somebody else by now.
    assert_eq!(carried.live_pids, [("04-search".parse().expect("id"), 5120)]);

    // The one that stalled and the one that was replaced would never let it start.
    assert_eq!(ids(&last.depends_on), ["01-scaffold", "04-search"]);

    let budget = &carried.budget;
    assert_eq!((budget.tokens_spent, budget.lifetime_tokens_spent), (Tokens(3_284_299), Tokens(41_980_022)));
    assert_eq!((budget.wall_clock_elapsed, budget.ticks_used, budget.idle_ticks_used), (Seconds(8055), 131, 12));
    let pause = budget.pause.as_ref().expect("pause");
    assert_eq!(Some(pause.until), "2026-09-06T05:00:00Z".parse().ok());
    assert!(pause.reason.as_deref().is_some_and(|reason| reason.contains("session limit")));
    assert_eq!(budget.window_started_at, "2026-09-05T00:00:00Z".parse().ok());
}

#[test]
fn a_halt_keeps_every_reason_of_both_files_once() {
    let carried = carried(fixture!("halted"));
    let halt = carried.budget.halt.as_ref().expect("halt");
    assert_eq!(halt.reasons, ["token-cap", "tick-cap", "failure-cap"]);
    assert_eq!(halt.at, "2026-08-16T04:00:00Z".parse().ok());
    assert_eq!(carried.budget.lifetime_tokens_spent, Tokens(1_460_112), "never less than the window's");
    assert_eq!(carried.budget.breaches.len(), 1);
    assert_eq!(carried.stages[1].status, CarriedStatus::VerifierFailed);
    assert_eq!(carried.stages[1].reason, None, "an empty marker says nothing");
}

#[test]
fn a_halt_in_one_file_alone_is_a_halt() {
    for (by_state, by_budget, reason, expected) in [
        (true, false, Some("operator"), Some("operator")),
        (false, true, Some("token-cap"), Some("token-cap")),
        (true, true, None, Some("halted by version 1, which did not say why")),
        (false, false, Some("token-cap"), None),
    ] {
        let (mut state, mut budget) = read(fixture!("fresh"));
        (state.halted, budget.halted) = (Some(by_state), Some(by_budget));
        state.halt_reason = reason.map(str::to_owned);
        budget.halt_reason = reason.map(str::to_owned);
        let halt = carry(&state, &budget).expect("carried").budget.halt;
        assert_eq!(halt.map(|halt| halt.reasons), expected.map(|one| vec![one.to_owned()]));
    }
}

#[test]
fn a_process_that_cannot_be_an_agent_is_not_asked_about() {
    for (worker, verifier, asked) in
        [(Some(0), Some(-1), vec![]), (Some(1), None, vec![]), (Some(70), Some(71), vec![70, 71])]
    {
        let (mut state, budget) = read(fixture!("mid-night"));
        let interrupted = &mut state.stages.as_mut().expect("stages")[3];
        (interrupted.worker_pid, interrupted.verifier_pid) = (worker, verifier);
        let carried = carry(&state, &budget).expect("carried");
        assert_eq!(carried.live_pids.iter().map(|(_, pid)| *pid).collect::<Vec<_>>(), asked);
    }
}

#[test]
fn every_fault_of_both_files_is_reported_at_once() {
    let state: V1State = serde_saphyr::from_str(
        r#"
version: 7
stages:
  - {id: 1-short, status: pending, worker: Claude, verifier: "V <v@local>"}
  - {id: 02-a, status: done, worker: "W <w@local>", verifier: "", commit: HEAD, started_at: yesterday}
  - {id: 02-a, status: pending, worker: "W <w@local>", verifier: "V <v@local>", depends_on: [02-a, x], gate: {type: stage_completed}}
  - {id: 03-b, status: pending, worker: "W <w@local>", verifier: "V <v@local>", gate: {type: moon_full}}
"#,
    )
    .expect("state");
    let budget: V1Budget = serde_json::from_str(
        r#"{"version":3,"paused_until":"soon","window_started_at":"Tuesday","halted_at":"now","halted":true}"#,
    )
    .expect("budget");
    let faults = carry(&state, &budget).expect_err("faults");
    let places = |faults: &Faults| faults.0.iter().map(|fault| fault.place.clone()).collect::<Vec<_>>();
    assert_eq!(
        places(&faults.state),
        [
            "/version",
            "/stages/0/id",
            "/stages/0/worker",
            "/stages/1/verifier",
            "/stages/1/status",
            "/stages/1/started_at",
            "/stages/1/commit",
            "/stages/2/id",
            "/stages/2/depends_on/0",
            "/stages/2/depends_on/1",
            "/stages/2/gate",
            "/stages/3/gate/type",
        ]
    );
    assert_eq!(places(&faults.budget), ["/version", "/halted_at", "/paused_until", "/window_started_at"]);
    let sentence = faults.to_string();
    assert!(
        sentence.contains("state.yaml (version 1): ") && sentence.contains("budget.json (version 1): "),
        "{sentence}"
    );
}

#[test]
fn an_old_budget_says_little_and_that_is_enough() {
    let state: V1State = serde_saphyr::from_str("version: 1\nstages:\n").expect("state");
    for (text, cap) in
        [("{}", None), (r#"{"token_cap_total":5,"paused_until":0,"paused_reason":null}"#, Some(Tokens(5)))]
    {
        let carried = carry(&state, &serde_json::from_str(text).expect("budget")).expect("carried");
        assert_eq!((carried.budget.token_cap, carried.budget.pause), (cap, None));
        assert!(carried.stages.is_empty());
    }
}
