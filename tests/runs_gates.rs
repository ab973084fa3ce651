//! Gate runs: commands one after another, each judged, none able to meddle with the next.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests build their world by hand")]

mod runs_support;

use std::fs;

use autometta::core::exit::{EndedBy, GateResult, ProcessEnd, Usage};
use autometta::core::quantity::Seconds;
use runs_support::{World, alive};

#[test]
fn commands_run_in_order_with_their_output_kept() {
    let world = World::gates(&[
        ("one", "echo out; echo err >&2; pwd", 20),
        ("two", "yes x | head -c 9000; echo; echo 'ünï'", 20),
    ]);
    let record = world.run();
    assert_eq!((record.exit, record.ended_by, record.usage), (ProcessEnd::Code(0), EndedBy::Exit, Usage::none()));
    assert!(record.gates.iter().all(GateResult::passed));
    assert_eq!(record.gates[0].output_tail, format!("out\nerr\n{}\n", world.order.cwd.display()));
    assert_eq!(record.gates[1].output_tail.chars().count(), 4000);
    assert!(record.gates[1].output_tail.ends_with("x\n\nünï\n"));
    let log = fs::read_to_string(world.dir().stdout_log()).expect("log");
    assert!(log.starts_with("== gate one: echo out;") && log.contains("\n== gate two: yes"), "{log}");
    let kept: Vec<GateResult> =
        serde_json::from_slice(&fs::read(world.dir().gates_file()).expect("gates.json")).expect("json");
    assert_eq!(kept, record.gates);
}

#[test]
fn the_first_failure_ends_the_run() {
    for (text, exit) in [
        ("exit 3", ProcessEnd::Code(3)),
        ("false; true", ProcessEnd::Code(1)),
        ("echo $NOT_SET", ProcessEnd::Code(2)),
        ("kill -9 $$", ProcessEnd::Signal(9)),
        ("no-such-command-anywhere", ProcessEnd::Code(127)),
    ] {
        let world = World::gates(&[("good", "true", 20), ("bad", text, 20), ("never", "touch $T/never", 20)]);
        let record = world.run();
        assert_eq!((record.exit, record.ended_by), (exit, EndedBy::Exit), "{text}");
        assert_eq!(record.gates.iter().map(GateResult::passed).collect::<Vec<_>>(), [true, false], "{text}");
        assert!(!world.file("never").exists(), "{text}");
    }
}

#[test]
fn a_command_has_a_time_limit_of_its_own() {
    let mut world = World::gates(&[("slow", "echo begun; exec sleep 600", 1), ("never", "touch $T/never", 20)]);
    world.order.grace_seconds = Seconds(1);
    let record = world.run();
    assert_eq!((record.exit, record.ended_by), (ProcessEnd::Signal(15), EndedBy::Exit));
    assert!(record.gates[0].timed_out && !record.gates[0].passed());
    assert_eq!(record.gates[0].output_tail, "begun\n");
    assert!(!world.file("never").exists());
}

#[test]
fn the_runs_own_limit_counts_over_all_commands() {
    let mut world = World::gates(&[("a", "sleep 0.7", 20), ("b", "sleep 600", 20)]);
    world.order.caps.wall_clock_seconds = Seconds(1);
    let record = world.run();
    assert_eq!(record.ended_by, EndedBy::Timeout);
    assert_eq!(record.gates.len(), 2);
    assert!(!record.gates[1].timed_out && !record.gates[1].passed());
}

#[test]
fn what_a_command_leaves_behind_is_gone_before_the_next_one() {
    let world = World::gates(&[
        (
            "leaves",
            "(setsid sh -c 'trap \"\" TERM; echo $$ > $T/child; while :; do sleep 1; done' &); while ! [ -s $T/child ]; do :; done",
            20,
        ),
        ("looks", "! kill -0 $(cat $T/child)", 20),
    ]);
    let record = world.run();
    assert!(record.gates.iter().all(GateResult::passed), "{record:?}");
    assert!(!alive(world.pid("child")));
}

#[test]
fn a_command_that_forges_the_results_is_overruled() {
    let world = World::gates(&[("forge", "echo '[]' > $T/state/runs/01-a.1.worker/gates.json; exit 1", 20)]);
    let record = world.run();
    let kept: Vec<GateResult> =
        serde_json::from_slice(&fs::read(world.dir().gates_file()).expect("gates.json")).expect("json");
    assert_eq!((kept.len(), kept == record.gates), (1, true));
}
