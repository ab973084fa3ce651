//! Supervisors that die at any instant, and what later ticks make of it.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests build their world by hand")]

mod runs_support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use autometta::core::exit::{ProcessEnd, Usage, UsageSource};
use autometta::core::quantity::{Seconds, Tokens};
use autometta::core::run::{AgentStarted, EnvEntry, EnvSource, ModelUse, ProcessStamp, StopReason};
use autometta::runs::{
    Launched, MeterResult, Refused, RunError, Sighting, Stopped, StreamMeter, SupervisorState, probe, reap_lost, stop,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runs_support::{World, alive, wait_for};

#[test]
fn scenario_22_a_run_without_its_supervisor_runs_until_a_tick_stops_it_and_is_lost() {
    let mut world = World::agent(
        "trap '' TERM HUP\nsetsid sh -c 'trap \"\" TERM; echo $$ > $T/child; while :; do sleep 1; done' &\n\
         env -i T=$T sh -c 'trap \"\" TERM; echo $$ > $T/bare; while :; do sleep 1; done' &\n\
         env -i T=$T setsid sh -c 'echo $$ > $T/escaped; while :; do sleep 1; done' &\n\
         echo $$ > $T/pid; while :; do sleep 1; done",
    );
    world.order.caps.wall_clock_seconds = Seconds(1);
    world.order.grace_seconds = Seconds(1);
    world.launch();
    let processes = ["pid", "child", "bare", "escaped"].map(|name| world.pid(name));
    let active = world.state().join("active-agents/01-a.1.worker.json");
    wait_for("the registry's entry", || active.exists());
    world.kill_supervisor();
    wait_for("the cap", || match world.probe() {
        Sighting::Running(pulse) => {
            assert_eq!(pulse.supervisor, SupervisorState::Gone);
            pulse.over_wall_cap
        }
        other => panic!("{other:?}"),
    });
    assert!(processes.iter().all(|pid| alive(*pid)));
    assert!(matches!(reap_lost(&world.run_dir()), Err(RunError::StillRunning { .. })));
    assert_eq!(world.relaunch(), Launched::AlreadyRunning);
    assert_eq!(stop(&world.run_dir(), StopReason::Timeout).expect("stop"), Stopped::Ended);
    for pid in processes {
        assert!(!alive(pid));
    }
    assert!(matches!(world.probe(), Sighting::Lost(_)));
    assert!(active.exists());
    reap_lost(&world.run_dir()).expect("reaped");
    reap_lost(&world.run_dir()).expect("reaped twice");
    assert!(!active.exists());
    assert_eq!(world.relaunch(), Launched::AlreadyOver);
}

/// A meter that has read some usage in the logs.
struct Streamed;

impl StreamMeter for Streamed {
    fn feed_stdout(&mut self, _: &[u8]) {}

    fn feed_stderr(&mut self, _: &[u8]) {}

    fn usage(&self) -> Usage {
        Usage { input_tokens: Tokens(5), source: UsageSource::Stream, ..Usage::default() }.totalled()
    }

    fn refused(&self) -> Option<Refused> {
        None
    }

    fn finish(self: Box<Self>, _: ProcessEnd, _: Duration) -> MeterResult {
        MeterResult { usage: self.usage(), ..MeterResult::default() }
    }
}

#[test]
fn what_an_agent_used_after_its_redactor_was_gone_is_not_known() {
    for (has_secret, expected) in [(false, UsageSource::Stream), (true, UsageSource::Unknown)] {
        let mut world =
            World::agent("trap '' PIPE\necho $$ > $T/pid; while :; do echo x; echo x >> $T/on; sleep 0.02; done");
        world.order.uses_model = ModelUse::Model;
        if has_secret {
            let file = world.file("key");
            fs::write(&file, "hunter2hunter2").expect("key");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");
            let source = EnvSource::Secret(format!("file:{}", file.display()));
            world.order.env.push(EnvEntry { name: "MY_KEY".to_owned(), source });
        }
        world.launch();
        let agent = world.pid("pid");
        world.kill_supervisor();
        let lines = world.read("on").len();
        wait_for("the agent goes on", || world.read("on").len() > lines + 4);
        kill(Pid::from_raw(agent), Signal::SIGKILL).expect("killed");
        let mut found = None;
        wait_for("the run is lost", || match probe(&world.run_dir(), &|_| Box::new(Streamed)) {
            Sighting::Lost(lost) => {
                found = Some(lost.usage.source);
                true
            }
            _ => false,
        });
        assert_eq!(found, Some(expected), "a secret: {has_secret}");
    }
}

#[test]
fn a_run_that_unlocks_its_own_lock_is_lost_and_still_found_by_its_mark() {
    let world = World::agent(
        "for fd in /proc/$$/fd/*; do case $(readlink $fd) in *run.lock) flock -u ${fd##*/};; esac; done\n\
         setsid sh -c 'trap \"\" TERM; echo $$ > $T/child; while :; do sleep 1; done' &\n\
         echo $$ > $T/pid; while :; do sleep 1; done",
    );
    world.launch();
    let (agent, child, supervisor) = (world.pid("pid"), world.pid("child"), world.started().supervisor.pid);
    assert!(matches!(world.probe(), Sighting::Lost(_)));
    assert!(alive(agent) && alive(child) && alive(supervisor));
    reap_lost(&world.run_dir()).expect("reaped");
    assert!(!alive(agent) && !alive(child) && !alive(supervisor));
    assert!(matches!(world.probe(), Sighting::Lost(_)));
}

#[test]
fn a_supervisor_killed_at_any_instant_leaves_a_run_that_converges_and_ran_at_most_once() {
    for delay in (0..40).map(|step| Duration::from_micros(step * 700)) {
        let world = World::agent("echo $$ >> $T/ran; echo '{}' > handoff.json");
        world.write_order();
        std::thread::scope(|scope| {
            let launched = scope.spawn(|| world.relaunch());
            // The supervisor is found as soon as it has claimed the run, and killed a little later.
            let begun = Instant::now();
            while world.dir().started().is_ok_and(|started| started.is_none()) && begun.elapsed() < runs_support::LIMIT
            {
                std::thread::yield_now();
            }
            let pid = world.started().supervisor.pid;
            let claimed = Instant::now();
            while claimed.elapsed() < delay {
                std::thread::yield_now();
            }
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            launched.join().expect("launch");
        });
        wait_for("the end", || !matches!(world.probe(), Sighting::Running(_)));
        match world.probe() {
            Sighting::Exited(record) => assert_eq!(record.exit, ProcessEnd::Code(0)),
            Sighting::Lost(_) => reap_lost(&world.run_dir()).expect("reaped"),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.relaunch(), Launched::AlreadyOver);
        assert!(world.read("ran").lines().count() <= 1);
    }
}

#[test]
fn an_innocent_process_with_a_recorded_pid_survives() {
    let world = World::agent("echo $$ > $T/pid; cat $T/go > /dev/null");
    nix::unistd::mkfifo(&world.file("go"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    world.launch();
    let agent = world.pid("pid");
    world.kill_supervisor();
    let mut innocent = Command::new("sleep").arg("600").process_group(0).spawn().expect("innocent");
    let pid = innocent.id().cast_signed();
    // Even with its true start time: a pid and what stands in a file are never enough.
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let start = line.rsplit_once(')').expect("name").1.split_whitespace().nth(19).expect("start").to_owned();
    let stamp = ProcessStamp { pid, start };
    let mut started = world.started();
    started.supervisor = stamp.clone();
    fs::write(world.dir().started_file(), serde_json::to_vec(&started).expect("json")).expect("forged");
    let forged = AgentStarted { run_id: started.run_id.clone(), process: stamp };
    fs::write(world.dir().agent_file(), serde_json::to_vec(&forged).expect("json")).expect("forged");
    // The forged supervisor looks alive, so it is asked, and nothing comes of it.
    assert_eq!(stop(&world.run_dir(), StopReason::Operator).expect("stop"), Stopped::Asked);
    // Half a minute later it is taken for hung.
    let marker = fs::File::options().write(true).open(world.dir().cancel_file()).expect("marker");
    marker.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).expect("time");
    assert_eq!(stop(&world.run_dir(), StopReason::Operator).expect("stop"), Stopped::Ended);
    assert!(!alive(agent) && alive(pid));
    reap_lost(&world.run_dir()).expect("reaped");
    assert!(alive(pid));
    innocent.kill().expect("kill");
    innocent.wait().expect("wait");
}

/// Whoever ends a run takes its grace to do so, and may be killed in the middle of it, again and again.
#[test]
fn the_grace_of_a_run_without_a_supervisor_counts_from_the_first_request() {
    let mut world = World::agent("trap '' TERM HUP; echo $$ > $T/pid; while :; do sleep 1; done");
    world.order.grace_seconds = Seconds(50);
    world.launch();
    let agent = world.pid("pid");
    world.kill_supervisor();
    // What is left of a tick that was killed 49 s after it had asked.
    let marker = world.dir().cancel_file();
    fs::write(&marker, r#"{"reason":"timeout"}"#).expect("marker");
    let asked = std::time::SystemTime::now() - Duration::from_secs(49);
    fs::File::options().write(true).open(marker).and_then(|marker| marker.set_modified(asked)).expect("time");
    let begun = Instant::now();
    assert_eq!(stop(&world.run_dir(), StopReason::Timeout).expect("stop"), Stopped::Ended);
    assert!(begun.elapsed() < Duration::from_secs(25), "the grace began anew: {:?}", begun.elapsed());
    assert!(!alive(agent));
}

#[test]
fn a_supervisor_that_hangs_is_ended_with_its_program() {
    let mut world = World::agent("trap '' TERM; echo $$ > $T/pid; while :; do sleep 1; done");
    world.order.grace_seconds = Seconds(1);
    world.launch();
    let agent = world.pid("pid");
    let supervisor = world.started().supervisor.pid;
    kill(Pid::from_raw(supervisor), Signal::SIGSTOP).expect("stop");
    assert_eq!(stop(&world.run_dir(), StopReason::Operator).expect("stop"), Stopped::Asked);
    let marker = fs::File::options().write(true).open(world.dir().cancel_file()).expect("marker");
    marker.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).expect("time");
    assert_eq!(stop(&world.run_dir(), StopReason::Operator).expect("stop"), Stopped::Ended);
    assert!(!alive(agent));
    assert!(!matches!(world.probe(), Sighting::Running(_)));
    // Woken by the CONT that follows a TERM, it may have ended the run in order and be the next tick by now.
    wait_for("the supervisor's end", || !alive(supervisor));
}

#[test]
fn records_of_another_run_and_torn_records_prove_nothing() {
    let world = World::agent("exit 0");
    world.run();
    let exit = world.dir().exit_file();
    let good = fs::read_to_string(&exit).expect("exit.json");
    for bad in [good.replace("01-a.1.worker", "01-a.2.worker"), good[..good.len() / 2].to_owned(), String::new()] {
        fs::write(&exit, bad).expect("written");
        let sighting = world.probe();
        assert!(matches!(&sighting, Sighting::Unreadable(why) if why.contains("exit.json")), "{sighting:?}");
        assert_eq!(world.relaunch(), Launched::AlreadyOver);
    }
}
