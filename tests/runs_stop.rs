//! How runs are ended: caps, cancels, and everything that a program leaves behind.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests build their world by hand")]

mod runs_support;

use std::fs;
use std::time::{Duration, Instant};

use autometta::core::exit::{EndedBy, Outbox, ProcessEnd};
use autometta::core::quantity::Seconds;
use autometta::core::run::StopReason;
use autometta::runs::{Launched, Sighting, Stopped, asked_to_stop, stop};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runs_support::{World, alive, wait_for};

#[test]
fn scenario_17_no_background_child_outlives_its_run() {
    for (name, left_behind) in [
        ("plain", "sh -c 'trap \"\" HUP; echo $$ > $T/child; exec sleep 600' &"),
        ("own session", "setsid sh -c 'echo $$ > $T/child; exec sleep 600' &"),
        ("double fork", "(setsid sh -c '(echo $$ > $T/child; trap \"\" TERM; while :; do sleep 1; done) &' &)"),
        ("no environment", "(env -i setsid sh -c \"echo \\$\\$ > $T/child; exec sleep 600\" &)"),
        ("stopped", "setsid sh -c 'echo $$ > $T/child; kill -STOP $$; sleep 600' &"),
    ] {
        let world =
            World::agent(&format!("{left_behind}\nwhile ! [ -s $T/child ]; do :; done; echo '{{}}' > handoff.json"));
        let record = world.run();
        assert_eq!((record.exit, record.ended_by), (ProcessEnd::Code(0), EndedBy::Exit), "{name}");
        assert!(!alive(world.pid("child")), "{name}");
    }
}

#[test]
fn scenario_17_a_daemon_cannot_write_once_the_record_is_there() {
    let world = World::agent(
        "(setsid sh -c 'trap \"\" TERM HUP; while :; do echo x >> $T/late; done' &)\nwhile ! [ -s $T/late ]; do :; done",
    );
    world.run();
    let size = world.read("late").len();
    world.written("pulse");
    assert_eq!(world.read("late").len(), size);
}

#[test]
fn scenario_19_at_the_wall_clock_cap_whatever_ignores_term_is_gone_within_six_seconds() {
    let mut world = World::agent(
        "trap '' TERM HUP INT\nsetsid sh -c 'trap \"\" TERM HUP INT; echo $$ > $T/child; while :; do sleep 1; done' &\n\
         echo '{}' > handoff.json; echo $$ > $T/pid; while :; do sleep 1; done",
    );
    world.order.caps.wall_clock_seconds = Seconds(1);
    world.launch();
    let (agent, child) = (world.pid("pid"), world.pid("child"));
    let begun = Instant::now();
    let record = world.exited();
    assert!(begun.elapsed() < Duration::from_secs(7), "one second to the cap, six to the end: {:?}", begun.elapsed());
    assert_eq!((record.exit, record.ended_by), (ProcessEnd::Signal(9), EndedBy::Timeout));
    assert_eq!(record.outbox, Some(Outbox::Handoff), "its work is kept");
    assert!(!alive(agent) && !alive(child));
    assert!(record.elapsed_seconds >= 6.0 && record.elapsed_seconds < 7.0, "{}", record.elapsed_seconds);
}

#[test]
fn an_agent_that_obeys_term_is_not_made_to_wait() {
    let mut world = World::agent("trap 'echo bye; exit 143' TERM; echo $$ > $T/pid; while :; do sleep 0.05; done");
    world.order.caps.wall_clock_seconds = Seconds(1);
    let record = world.run();
    assert_eq!((record.exit, record.ended_by), (ProcessEnd::Code(143), EndedBy::Timeout));
    assert!(record.elapsed_seconds < 3.0, "{}", record.elapsed_seconds);
    assert_eq!(fs::read_to_string(world.dir().stdout_log()).expect("log"), "bye\n");
}

#[test]
fn scenario_20_the_calendar_neither_ages_nor_ends_a_run() {
    let world = World::agent("echo $$ > $T/pid; cat $T/go > /dev/null");
    nix::unistd::mkfifo(&world.file("go"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    world.launch();
    world.pid("pid");
    for hours in [-24, 24] {
        let mut jumped = world.started();
        jumped.started_at += chrono::TimeDelta::hours(hours);
        fs::write(world.dir().started_file(), serde_json::to_vec(&jumped).expect("json")).expect("written");
        let Sighting::Running(pulse) = world.probe() else { panic!("running") };
        assert!(pulse.elapsed < Duration::from_secs(30) && !pulse.over_wall_cap, "{pulse:?}");
    }
    fs::write(world.file("go"), "\n").expect("go");
    assert!(world.exited().elapsed_seconds < 30.0);
}

#[test]
fn scenario_23_a_torrent_is_stopped_at_the_output_cap_and_the_disk_is_given_back() {
    for (stream, redirect) in [("stdout", ""), ("stderr", ">&2")] {
        let mut world = World::agent(&format!("trap '' TERM; echo first; echo oops >&2; cat /dev/zero {redirect}"));
        world.order.caps.output_bytes = 1 << 20;
        let record = world.run();
        assert_eq!(record.ended_by, EndedBy::OutputCap, "{stream}");
        assert!(record.elapsed_seconds < 5.0, "{stream}: {}", record.elapsed_seconds);
        let (stdout, stderr) =
            (fs::read(world.dir().stdout_log()).expect("log"), fs::read(world.dir().stderr_log()).expect("log"));
        assert_eq!(stdout.len() + stderr.len(), 1 << 20, "{stream}");
        assert!(stdout.starts_with(b"first\n") && stderr.starts_with(b"oops\n"), "{stream}");
    }
}

#[test]
fn scenario_23_the_disk_keeps_its_floor() {
    let mut world = World::agent("trap '' TERM; while :; do sleep 1; done");
    world.order.disk_floor_bytes = u64::MAX;
    let record = world.run();
    assert_eq!(record.ended_by, EndedBy::OutputCap);
    assert!(record.elapsed_seconds < 3.0, "{}", record.elapsed_seconds);
}

#[test]
fn scenario_24_silence_is_reported_and_ends_a_run_only_where_its_card_says_so() {
    let world = World::agent("cat $T/go > /dev/null");
    nix::unistd::mkfifo(&world.file("go"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    world.launch();
    wait_for("a second of silence", || match world.probe() {
        Sighting::Running(pulse) => pulse.silent_for >= Duration::from_secs(1),
        other => panic!("{other:?}"),
    });
    fs::write(world.file("go"), "\n").expect("go");
    assert_eq!(world.exited().ended_by, EndedBy::Exit);

    let mut world = World::agent("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.25; done; sleep 600");
    world.order.caps.silence_seconds = Some(Seconds(1));
    let record = world.run();
    assert_eq!(record.ended_by, EndedBy::Stalled);
    assert!(record.elapsed_seconds >= 2.5, "talking is not silence: {}", record.elapsed_seconds);
}

#[test]
fn a_cancelled_run_ends_at_once_and_says_why() {
    for (reason, expected) in [
        (StopReason::Operator, EndedBy::Cancelled),
        (StopReason::Obsolete, EndedBy::Cancelled),
        (StopReason::Timeout, EndedBy::Timeout),
    ] {
        let world = World::agent("exec sleep 600");
        world.launch();
        assert_eq!(asked_to_stop(&world.run_dir()).expect("look"), None);
        assert_eq!(stop(&world.run_dir(), reason).expect("stop"), Stopped::Asked);
        assert_eq!(stop(&world.run_dir(), reason).expect("again"), Stopped::Asked);
        let record = world.exited();
        assert_eq!((record.ended_by, record.exit), (expected, ProcessEnd::Signal(15)));
        assert!(record.elapsed_seconds < 3.0);
        assert_eq!(stop(&world.run_dir(), reason).expect("over"), Stopped::AlreadyOver);
        assert_eq!(asked_to_stop(&world.run_dir()).expect("look"), Some(reason));
    }
}

#[test]
fn a_run_that_is_cancelled_before_it_starts_starts_nothing() {
    let world = World::agent("touch $T/ran");
    world.write_order();
    assert_eq!(stop(&world.run_dir(), StopReason::Operator).expect("stop"), Stopped::BeforeStart);
    assert!(matches!(world.relaunch(), Launched::CouldNotStart(_)));
    let record = world.exited();
    assert_eq!((record.ended_by, record.exit), (EndedBy::Cancelled, ProcessEnd::None));
    assert!(!world.file("ran").exists());
}

#[test]
fn term_to_the_supervisor_ends_the_run_in_order_while_hup_and_int_do_nothing() {
    let world = World::agent("trap 'exit 7' TERM; echo $$ > $T/pid; while :; do sleep 0.05; done");
    world.launch();
    let agent = world.pid("pid");
    let supervisor = Pid::from_raw(world.started().supervisor.pid);
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        assert!(alive(agent) && alive(supervisor.as_raw()));
        kill(supervisor, signal).expect("signal");
    }
    let record = world.exited();
    assert_eq!((record.ended_by, record.exit), (EndedBy::Cancelled, ProcessEnd::Code(7)));
    assert_eq!(asked_to_stop(&world.run_dir()).expect("look"), None, "nobody asked for it");
    world.written("pulse");
}

#[test]
fn scenario_13_a_record_or_envelope_written_during_the_run_changes_nothing() {
    let world = World::agent(
        "run=$T/state/runs/01-a.1.worker\n\
         echo '{\"run_id\":\"01-a.1.worker\",\"started_at\":\"2026-01-01T00:00:00Z\",\"ended_at\":\"2026-01-01T00:00:00Z\",\
         \"elapsed_seconds\":0,\"exit\":{\"code\":0},\"ended_by\":\"exit\",\"usage\":{\"input_tokens\":0,\
         \"cached_input_tokens\":0,\"cache_write_tokens\":0,\"output_tokens\":0,\"total_tokens\":0,\"cost_usd\":0,\
         \"source\":\"result\"},\"provider\":{\"refusal\":null,\"resets_at\":null},\"peak_rss_bytes\":0,\
         \"cpu_seconds\":0,\"outbox\":\"handoff\"}' > $run/exit.json\n\
         echo early > handoff.json; echo $$ > $T/pid; cat $T/go > /dev/null; echo late > handoff.json; exit 5",
    );
    nix::unistd::mkfifo(&world.file("go"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    world.launch();
    world.pid("pid");
    assert!(world.dir().exit().expect("a readable forgery").is_some());
    assert!(matches!(world.probe(), Sighting::Running(_)));
    fs::write(world.file("go"), "\n").expect("go");
    let mut exit = ProcessEnd::None;
    wait_for("the supervisor's own record", || {
        exit = world.exited().exit;
        exit == ProcessEnd::Code(5)
    });
    assert_eq!(fs::read_to_string(world.run_dir().join("outbox/handoff.json")).expect("copy"), "late\n");
}

#[test]
fn a_link_in_the_outbox_is_a_fault_and_nothing_is_copied() {
    let world = World::agent("ln -s /etc/passwd handoff.json");
    let record = world.run();
    assert_eq!(record.outbox, None);
    assert!(record.outbox_fault.expect("fault").contains("symbolic link"));
    assert!(!world.run_dir().join("outbox/handoff.json").exists());
}
