//! A state directory with one run in it, driven through the real binary.

#![allow(dead_code, reason = "each test crate uses its own part of this")]
#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a broken world is a failed test")]
#![allow(clippy::disallowed_methods, reason = "tests build their world by hand")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use autometta::core::exit::{ExitRecord, Outbox};
use autometta::core::family::DecoderKind;
use autometta::core::quantity::{MicroUsd, Seconds};
use autometta::core::run::{
    Caps, EnvEntry, EnvSource, GateCommand, ModelUse, OutboxOrder, OutputRule, Program, RunOrder, Started,
};
use autometta::core::state::Reservation;
use autometta::runs::{Launched, NoMeter, RunDir, Sighting, launch, probe};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything here may take before it has failed.
pub const LIMIT: Duration = Duration::from_secs(30);

pub struct World {
    root: tempfile::TempDir,
    pub order: RunOrder,
}

impl World {
    /// A worker whose agent is this shell script, in a directory of its own.
    pub fn agent(script: &str) -> Self {
        let root = tempfile::Builder::new().prefix("autometta-runs-").tempdir().expect("dir");
        let base = root.path().canonicalize().expect("path");
        let agent = base.join("agent");
        fs::write(&agent, format!("#!/bin/sh\n{script}\n")).expect("agent");
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("mode");
        let order = RunOrder {
            version: 1,
            run_id: "01-a.1.worker".parse().expect("id"),
            family: Some("script".parse().expect("family")),
            identity: Some("Script <script@local>".parse().expect("identity")),
            model: None,
            cli_version: None,
            cwd: base.join("work"),
            setup: None,
            program: Program::Agent { argv: vec![agent.display().to_string()], stdin: None },
            env: vec![variable("PATH", "/usr/local/bin:/usr/bin:/bin"), variable("T", &base.display().to_string())],
            caps: Caps {
                wall_clock_seconds: Seconds(60),
                tokens: None,
                cost_usd: None,
                output_bytes: 10 << 20,
                silence_seconds: None,
            },
            grace_seconds: Seconds(5),
            patience_seconds: Seconds(180),
            disk_floor_bytes: 0,
            decoder: DecoderKind::Plain,
            uses_model: ModelUse::None,
            outbox: Some(OutboxOrder { kind: Outbox::Handoff, path: "handoff.json".into() }),
            login: None,
            prompt_sha256: None,
            verdict_schema: None,
            card_sha256: String::new(),
            base_commit: "0123456789012345678901234567890123456789".parse().expect("commit"),
            candidate_tree: None,
            reserved: Reservation { cost_usd: MicroUsd(0), ..Reservation::default() },
            rates: None,
            pulse: vec!["/bin/sh".into(), "-c".into(), format!("echo pulse >> '{}/pulse'", base.display())],
            repo: base.clone(),
            watched: None,
            created_at: "2026-11-20T00:00:00Z".parse().expect("time"),
        };
        let world = Self { root, order };
        fs::create_dir_all(world.order.cwd.clone()).expect("cwd");
        fs::create_dir_all(world.run_dir()).expect("run dir");
        world
    }

    /// A gate with these commands: name, shell text, seconds.
    pub fn gates(commands: &[(&str, &str, u64)]) -> Self {
        let mut world = Self::agent("exit 99");
        let commands = commands.iter().map(|(name, run, seconds)| GateCommand {
            name: (*name).to_owned(),
            run: (*run).to_owned(),
            timeout_seconds: Seconds(*seconds),
            retries: 0,
            output: OutputRule::Any,
        });
        world.order.program = Program::Gates { commands: commands.collect() };
        world.order.outbox = None;
        world
    }

    pub fn base(&self) -> PathBuf {
        self.root.path().canonicalize().expect("path")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.base().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    pub fn state(&self) -> PathBuf {
        self.file("state")
    }

    pub fn run_dir(&self) -> PathBuf {
        self.state().join("runs").join(self.order.run_id.to_string())
    }

    pub fn dir(&self) -> RunDir {
        RunDir::new(&self.run_dir()).expect("run dir")
    }

    /// Writes the order, as the tick would.
    pub fn write_order(&self) {
        fs::write(self.dir().order_file(), serde_json::to_vec(&self.order).expect("json")).expect("order");
    }

    pub fn launch(&self) -> Launched {
        self.write_order();
        self.relaunch()
    }

    pub fn relaunch(&self) -> Launched {
        launch(&self.run_dir(), Path::new(env!("CARGO_BIN_EXE_autometta"))).expect("launch")
    }

    pub fn probe(&self) -> Sighting {
        probe(&self.run_dir(), &|_| Box::new(NoMeter))
    }

    /// Waits for the record.
    pub fn exited(&self) -> ExitRecord {
        let mut record = None;
        wait_for("the run's end", || match self.probe() {
            Sighting::Exited(found) => {
                record = Some(*found);
                true
            }
            Sighting::Running(_) => false,
            other => panic!("{other:?}\n{}", fs::read_to_string(self.dir().supervisor_log()).unwrap_or_default()),
        });
        record.expect("record")
    }

    /// Waits until the run shows as never started: a process that another test is forking off at this moment holds a
    /// copy of our lock until it has become its own program.
    pub fn never_started(&self) {
        wait_for("a free lock", || match self.probe() {
            Sighting::NotStarted => true,
            Sighting::Running(_) => false,
            other => panic!("{other:?}"),
        });
    }

    /// Launches, and waits for the record.
    pub fn run(&self) -> ExitRecord {
        let launched = self.launch();
        assert!(
            matches!(launched, Launched::Started | Launched::CouldNotStart(_) | Launched::NotYetHeard),
            "{launched:?}"
        );
        self.exited()
    }

    /// Waits until the agent has written this file.
    pub fn written(&self, name: &str) -> String {
        wait_for(name, || self.read(name).ends_with('\n'));
        self.read(name)
    }

    /// The pid that a script wrote into a file.
    pub fn pid(&self, name: &str) -> i32 {
        self.written(name).trim().parse().expect("pid")
    }

    pub fn started(&self) -> Started {
        self.dir().started().expect("readable").expect("started")
    }

    /// Kills the supervisor as nobody should, and waits until it is gone.
    pub fn kill_supervisor(&self) {
        let pid = self.started().supervisor.pid;
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
        wait_for("the supervisor's death", || !alive(pid));
    }
}

impl Drop for World {
    /// Leaves no process behind, whatever a failed test was doing.
    fn drop(&mut self) {
        let _ = autometta::runs::stop(&self.run_dir(), autometta::core::run::StopReason::Operator);
        let begun = Instant::now();
        while matches!(self.probe(), Sighting::Running(_)) && begun.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(10));
        }
        if matches!(self.probe(), Sighting::Lost(_)) {
            let _ = autometta::runs::reap_lost(&self.run_dir());
        }
        // The directory can be removed once the tick that follows has written into it.
        let supervisor = self.dir().started().ok().flatten().map(|started| started.supervisor.pid);
        let begun = Instant::now();
        while supervisor.is_some_and(|pid| pid > 1 && alive(pid)) && begun.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

pub fn variable(name: &str, value: &str) -> EnvEntry {
    EnvEntry { name: name.to_owned(), source: EnvSource::Literal(value.to_owned()) }
}

pub fn secret(name: &str, reference: &str) -> EnvEntry {
    EnvEntry { name: name.to_owned(), source: EnvSource::Secret(reference.to_owned()) }
}

/// Waits for a condition, and fails at the limit.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process lives; a zombie does not.
pub fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X'])))
        .unwrap_or(false)
}
