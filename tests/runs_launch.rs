//! Launching a run and what its program is given.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests build their world by hand")]

mod runs_support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use autometta::core::exit::{EndedBy, Outbox, ProcessEnd, RefusalClass, Usage};
use autometta::core::run::Program;
use autometta::files::lock;
use autometta::runs::{Launched, Sighting, SupervisorState, launch};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use runs_support::{World, alive, secret, variable, wait_for};

#[test]
fn a_run_ends_with_its_record_its_outbox_and_the_next_tick() {
    let world = World::agent("echo out; echo err >&2; echo '{}' > handoff.json; exit 3");
    assert!(matches!(world.probe(), Sighting::NotStarted));
    assert_eq!(world.launch(), Launched::Started);
    let record = world.exited();
    assert_eq!((record.exit, record.ended_by), (ProcessEnd::Code(3), EndedBy::Exit));
    assert_eq!((record.outbox, record.outbox_fault, record.usage), (Some(Outbox::Handoff), None, Usage::none()));
    assert!(record.peak_rss_bytes > 0 && record.ended_at >= record.started_at);
    let run = world.run_dir();
    assert_eq!(fs::read_to_string(run.join("outbox/handoff.json")).expect("copy"), "{}\n");
    assert_eq!(fs::read_to_string(run.join("stdout.log")).expect("log"), "out\n");
    assert_eq!(fs::read_to_string(run.join("stderr.log")).expect("log"), "err\n");
    assert_eq!(fs::read_to_string(world.state().join("logs/01-a-worker.log")).expect("link"), "out\n");
    assert_eq!(world.written("pulse"), "pulse\n");
    assert!(!world.state().join("active-agents/01-a.1.worker.json").exists());
    let recent = fs::read_to_string(world.state().join("recent-agents/01-a.1.worker.json")).expect("recent");
    assert!(recent.contains(r#""ended_by": "exit""#), "{recent}");
    assert_eq!(fs::metadata(run.join("exit.json")).expect("meta").permissions().mode() & 0o777, 0o600);
}

#[test]
fn scenario_1_the_agent_reads_the_prompt_and_then_the_end_of_it() {
    let mut world = World::agent("cat > $T/seen");
    let prompt = world.dir().path().join("prompt.md");
    fs::write(&prompt, "do it\n").expect("prompt");
    let Program::Agent { stdin, .. } = &mut world.order.program else { unreachable!() };
    *stdin = Some(prompt);
    assert_eq!(world.run().exit, ProcessEnd::Code(0));
    assert_eq!(world.read("seen"), "do it\n");
}

#[test]
fn scenario_3_the_run_survives_the_death_of_the_process_group_that_launched_it() {
    let world = World::agent("echo $$ > $T/pid; cat $T/go > /dev/null; echo '{}' > handoff.json");
    nix::unistd::mkfifo(&world.file("go"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    world.write_order();
    // Another process has to be the tick here, so that its whole group can be killed: this test binary again.
    let mut tick = Command::new(std::env::current_exe().expect("exe"))
        .args(["--exact", "launching_in_a_process_of_its_own"])
        .env("LAUNCH_RUN_DIR", world.run_dir())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("tick");
    let agent = world.pid("pid");
    let _ = killpg(Pid::from_raw(tick.id().cast_signed()), Signal::SIGKILL);
    tick.wait().expect("tick");
    assert!(alive(agent) && matches!(world.probe(), Sighting::Running(_)));
    fs::write(world.file("go"), "\n").expect("go");
    assert_eq!(world.exited().outbox, Some(Outbox::Handoff));
}

/// Not a test by itself: the tick of the one above.
#[test]
fn launching_in_a_process_of_its_own() {
    if let Some(dir) = std::env::var_os("LAUNCH_RUN_DIR") {
        let launched = launch(Path::new(&dir), Path::new(env!("CARGO_BIN_EXE_autometta"))).expect("launch");
        assert_eq!(launched, Launched::Started);
    }
}

#[test]
fn scenario_4_a_second_launch_never_makes_a_second_process() {
    let world = World::agent("echo $$ >> $T/pids; cat $T/go > /dev/null");
    nix::unistd::mkfifo(&world.file("go"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    world.write_order();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(|| world.relaunch())).collect();
        threads.into_iter().map(|thread| thread.join().expect("thread")).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Launched::Started).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Launched::AlreadyRunning).count(), 4, "{outcomes:?}");
    let Sighting::Running(pulse) = world.probe() else { panic!("running") };
    assert_eq!((pulse.supervisor, pulse.over_wall_cap), (SupervisorState::Alive, false));
    assert_eq!(world.written("pids").lines().count(), 1);
    fs::write(world.file("go"), "\n").expect("go");
    world.exited();
    assert_eq!(world.relaunch(), Launched::AlreadyOver);
    assert_eq!(world.read("pids").lines().count(), 1);
    wait_for("one tick", || world.read("pulse") == "pulse\n");
}

#[test]
fn scenario_5_odd_arguments_and_a_long_prompt_arrive_unchanged() {
    let mut world = World::agent("cat > $T/prompt; for word; do printf '%s\\0' \"$word\"; done > $T/words");
    let odd = ["", " ", "a b", "\"'`$(x)\\", "line\nline", "--", "-n", "ünï ✓", "*", &"x".repeat(100_000)];
    let prompt = "0123456789\n".repeat(30_000);
    fs::write(world.dir().path().join("prompt.md"), &prompt).expect("prompt");
    let path = world.dir().path().join("prompt.md");
    let Program::Agent { argv, stdin } = &mut world.order.program else { unreachable!() };
    argv.extend(odd.map(str::to_owned));
    *stdin = Some(path);
    assert_eq!(world.run().exit, ProcessEnd::Code(0));
    assert_eq!(world.read("prompt"), prompt);
    let expected: String = odd.iter().flat_map(|word| [*word, "\0"]).collect();
    assert_eq!(world.read("words"), expected);
}

#[test]
fn scenario_6_an_agent_that_cannot_be_started_is_a_configuration_fault_with_its_line() {
    for (case, expected) in [
        ("missing", "missing: not found in PATH="),
        ("./locked", "not an executable file"),
        ("./garbage", "neither a binary nor a script"),
        ("./orphan", "cannot be started"),
        ("huge", "cannot be started"),
        ("no prompt", "no-prompt.md"),
        ("no directory", "directory to work in"),
    ] {
        let mut world = World::agent("exit 0");
        for (name, text, mode) in [
            ("locked", "#!/bin/sh\n", 0o644),
            ("garbage", "\u{1}\u{2}", 0o755),
            ("orphan", "#!/no/such/shell\n", 0o755),
        ] {
            let path = world.order.cwd.join(name);
            fs::write(&path, text).expect("file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        }
        let Program::Agent { argv, stdin } = &mut world.order.program else { unreachable!() };
        match case {
            "huge" => argv.push("x".repeat(4 << 20)),
            "no prompt" => *stdin = Some("/no-prompt.md".into()),
            "no directory" => world.order.cwd = "/no/such/directory".into(),
            _ => case.clone_into(&mut argv[0]),
        }
        let launched = world.launch();
        assert!(matches!(&launched, Launched::CouldNotStart(line) if line.contains(expected)), "{case}: {launched:?}");
        let record = world.exited();
        assert_eq!((record.exit, record.ended_by), (ProcessEnd::None, EndedBy::SpawnFailed), "{case}");
        let refusal = record.provider.refusal.expect(case);
        assert_eq!(refusal.class, RefusalClass::Configuration);
        assert!(refusal.line.contains(expected), "{case}: {}", refusal.line);
        assert_eq!((record.usage, record.outbox), (Usage::none(), None));
        world.written("pulse");
    }
}

#[test]
fn scenario_7_a_hanging_resolver_ends_within_its_limit_and_no_agent_starts() {
    let mut world = World::agent("touch $T/ran");
    let base = world.base();
    let hang = format!(
        "cmd:trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$ > {0}/child; while :; do sleep 1; done' &) ; \
         echo $$ > {0}/resolver; while :; do sleep 1; done",
        base.display()
    );
    world.order.env.push(secret("KEY", &hang));
    let begun = Instant::now();
    assert_eq!(world.launch(), Launched::NotYetHeard);
    let record = world.exited();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(record.ended_by, EndedBy::SpawnFailed);
    let line = record.provider.refusal.expect("refusal").line;
    assert!(line.starts_with("cmd:trap"), "{line}");
    assert!(!alive(world.pid("resolver")) && !alive(world.pid("child")));
    assert!(!world.file("ran").exists());
}

#[test]
fn secrets_reach_the_agent_and_nothing_else() {
    let mut world = World::agent("printf '%s|%s' \"$FROM_FILE\" \"$FROM_COMMAND\" > $T/seen");
    let file = world.file("key");
    fs::write(&file, "hunter-file\n").expect("key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");
    world.order.env.push(secret("FROM_FILE", &format!("file:{}", file.display())));
    world.order.env.push(secret("FROM_COMMAND", "cmd:echo hunter-$((40 + 2)); echo hunter-$((40 + 2)) >&2"));
    assert_eq!(world.run().exit, ProcessEnd::Code(0));
    assert_eq!(world.read("seen"), "hunter-file|hunter-42");
    for entry in fs::read_dir(world.run_dir()).expect("dir") {
        let path = entry.expect("entry").path();
        let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        assert!(!text.contains("hunter-42") && !text.contains("hunter-file"), "{}", path.display());
    }
    let mut world = World::agent("touch $T/ran");
    world.order.env.push(secret("KEY", "cmd:echo hunter-$((40 + 2)); exit 4"));
    let line = world.run().provider.refusal.expect("refusal").line;
    assert!(line.contains("failed") && line.contains('4') && !line.contains("hunter-42"), "{line}");
    assert!(!world.file("ran").exists());
}

#[test]
fn scenario_9_the_environment_is_exactly_the_list() {
    let mut world = World::agent("");
    let Program::Agent { argv, .. } = &mut world.order.program else { unreachable!() };
    *argv = vec!["env".to_owned(), "-0".to_owned()];
    world.order.env = vec![
        variable("PATH", "/usr/bin:/bin"),
        variable("EMPTY", ""),
        variable("ODD", "a=b\nc"),
        autometta::core::run::EnvEntry {
            name: "AUTOMETTA_TEST_UNSET".to_owned(),
            source: autometta::core::run::EnvSource::Parent,
        },
        // Cargo sets this for its tests.
        autometta::core::run::EnvEntry {
            name: "CARGO_MANIFEST_DIR".to_owned(),
            source: autometta::core::run::EnvSource::Parent,
        },
    ];
    world.run();
    let log = fs::read_to_string(world.dir().stdout_log()).expect("log");
    let mut seen: Vec<&str> = log.split_terminator('\0').collect();
    seen.sort_unstable();
    let token = format!("AUTOMETTA_RUN_TOKEN={}", world.started().token);
    let manifest = format!("CARGO_MANIFEST_DIR={}", std::env::var("CARGO_MANIFEST_DIR").expect("cargo"));
    let expected = [
        "AUTOMETTA_RUN=01-a.1.worker",
        token.as_str(),
        manifest.as_str(),
        "EMPTY=",
        "ODD=a=b\nc",
        "PATH=/usr/bin:/bin",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_agent_starts_with_no_signal_blocked_or_ignored_and_no_stray_descriptor() {
    let world = World::agent("cat /proc/self/status; ls -l /proc/self/fd | grep -c run.lock; ls /proc/self/fd | wc -l");
    world.run();
    let log = fs::read_to_string(world.dir().stdout_log()).expect("log");
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    // The real-time signals above 31 are the C library's own.
    let ignored = log.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("SigIgn");
    assert_eq!(u64::from_str_radix(ignored, 16).expect("hex") & 0x7fff_ffff, 0, "{log}");
    // 0, 1, 2, the lock, and the directory that `ls` itself reads.
    assert!(log.ends_with("\n1\n5\n"), "{log}");
}

#[test]
fn the_lock_is_held_exactly_while_supervisor_or_agent_lives() {
    let world = World::agent("echo $$ > $T/pid; cat $T/go > /dev/null");
    nix::unistd::mkfifo(&world.file("go"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let file = world.dir().lock();
    assert!(!lock::is_held(&file).expect("look"));
    world.launch();
    world.pid("pid");
    assert!(lock::is_held(&file).expect("look"));
    world.kill_supervisor();
    assert!(lock::is_held(&file).expect("the agent inherited it"));
    fs::write(world.file("go"), "\n").expect("go");
    wait_for("the lock's release", || !lock::is_held(&file).expect("look"));
    assert!(matches!(world.probe(), Sighting::Lost(_)));
}

#[test]
fn a_supervisor_that_was_not_handed_the_lock_starts_nothing() {
    let world = World::agent("touch $T/ran");
    world.write_order();
    let lock = lock::Lock::try_exclusive(&world.dir().lock()).expect("lock").expect("free");
    for stdin in [Stdio::null(), Stdio::from(fs::File::open(world.dir().lock()).expect("open"))] {
        let output = Command::new(env!("CARGO_BIN_EXE_autometta"))
            .arg("__supervise")
            .arg(world.run_dir())
            .stdin(stdin)
            .output()
            .expect("supervisor");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains("run.lock was not handed over"), "{said}");
    }
    drop(lock);
    world.never_started();
    assert!(!world.file("ran").exists());
}

#[test]
fn a_run_that_was_ordered_but_never_claimed_is_launched_under_the_same_id() {
    let world = World::agent("echo ran >> $T/ran");
    world.write_order();
    let failed = launch(&world.run_dir(), Path::new("/no/such/autometta"));
    assert!(failed.expect_err("no program").to_string().contains("/no/such/autometta"));
    let silent = launch(&world.run_dir(), Path::new("/bin/false")).expect("launched");
    assert!(matches!(silent, Launched::CouldNotStart(_)), "{silent:?}");
    world.never_started();
    assert_eq!(world.run().exit, ProcessEnd::Code(0));
    assert_eq!(world.read("ran"), "ran\n");
}

#[test]
fn a_tick_that_cannot_be_started_costs_nothing() {
    let mut world = World::agent("exit 0");
    world.order.pulse = vec!["/no/such/tick".to_owned()];
    assert_eq!(world.run().exit, ProcessEnd::Code(0));
    let log = world.dir().supervisor_log();
    wait_for("the log", || fs::read_to_string(&log).is_ok_and(|log| log.contains("/no/such/tick")));
}
