//! A night in a box: a repository, a home, stub agents and the real binary, with nothing of the machine's own
//! environment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before it has failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The worker of cards that do not name one: a stub of the family `stub`.
pub const WORKER: &str = "Stub Worker <stub@local>";
/// The verifier of cards that do not name one: a stub of the family `judge`.
pub const VERIFIER: &str = "Judge <judge@local>";

/// A worker stub's last act: a handoff that says pass. `$1` of the stub is the stage.
pub const HAND_IN: &str = r#"printf '{"stage_id":"%s","status":"pass","deliverables":[],"notes":"done"}' "$1" >.autometta/outbox/handoff.json"#;
/// A verifier stub that says PASS to a card with one criterion, by a line that is there.
pub const SAY_PASS: &str = r#"seen=a.txt; [ -s "$seen" ] || seen=README.md; printf '{"stage_id":"%s","overall":"PASS","headline":"Do the work","criteria":[{"id":1,"name":"it works","verdict":"PASS","evidence":"%s:1"}],"additional_findings":""}' "$1" "$seen" >.autometta/outbox/verdict.json"#;

/// The box.
pub struct Night {
    root: tempfile::TempDir,
    /// The repository.
    pub repo: PathBuf,
    /// `$AUTOMETTA_HOME`.
    pub home: PathBuf,
    env: BTreeMap<String, String>,
}

/// A place where somebody waits, or will.
pub struct Pause {
    folder: PathBuf,
}

impl Pause {
    /// Whether somebody waits there.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.folder.join("go.reached").exists()
    }

    /// Lets them go on, and whoever comes later.
    pub fn end(&self) {
        fs::write(self.folder.join("go"), "").expect("file");
    }

    /// The points that were passed, a line each.
    #[must_use]
    pub fn passed(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("log")
    }
}

impl Night {
    /// A repository with one commit, initialised, whose stub worker and stub verifier run these shell texts. Both get
    /// the stage as `$1` and the run as `$2`; `$T` is a folder of the test's own.
    #[must_use]
    pub fn with(worker: &str, verifier: &str) -> Self {
        let night = Self::bare();
        night.stub("worker", worker);
        night.stub("verifier", verifier);
        night.manifest("");
        night.ok(&["init"]);
        night
    }

    /// The same with stubs that succeed: the worker writes `a.txt`.
    #[must_use]
    pub fn passing() -> Self {
        Self::with(&format!("echo work >a.txt\n{HAND_IN}"), SAY_PASS)
    }

    /// A repository with one commit on `main`; nothing of ours in it.
    #[must_use]
    pub fn bare() -> Self {
        Self::bare_in(&std::env::temp_dir())
    }

    /// The same, in a folder of the test's choice.
    #[must_use]
    pub fn bare_in(folder: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("autometta-night-").tempdir_in(folder).expect("dir");
        let base = root.path().canonicalize().expect("path");
        let night = Self {
            repo: base.join("repo"),
            home: base.join("home"),
            env: BTreeMap::from([
                ("HOME".to_owned(), base.join("user").display().to_string()),
                ("PATH".to_owned(), std::env::var("PATH").expect("PATH")),
                ("AUTOMETTA_HOME".to_owned(), base.join("home").display().to_string()),
                ("T".to_owned(), base.join("t").display().to_string()),
            ]),
            root,
        };
        for folder in [&night.repo, &base.join("user"), &base.join("t"), &base.join("stubs")] {
            fs::create_dir_all(folder).expect("folder");
        }
        night.git(&["init", "-q", "-b", "main"]);
        night.git(&["config", "user.name", "Operator"]);
        night.git(&["config", "user.email", "operator@local"]);
        night.write("README.md", "# Repo\n");
        night.write(".gitignore", "/state/\n/.autometta.local.yaml\n");
        night.git(&["add", "-A"]);
        night.git(&["commit", "-qm", "Begin"]);
        night
    }

    /// The folder around repository, home and stubs.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.root.path().canonicalize().expect("path")
    }

    /// The test's own folder, which stubs know as `$T`.
    #[must_use]
    pub fn t(&self) -> PathBuf {
        self.base().join("t")
    }

    /// Where the worktrees are.
    #[must_use]
    pub fn worktrees(&self) -> PathBuf {
        self.base().join("repo.autometta")
    }

    /// Sets a variable for every command that follows, and for what they start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Has every command that follows fail as `faults` says (docs/proof.md); gives the folder in which its points are counted.
    pub fn fail(&mut self, faults: impl FnOnce(&Path) -> String) -> PathBuf {
        let folder = self.base().join("faults");
        fs::create_dir(&folder).expect("folder");
        self.set("AUTOMETTA_FAULT_DIR", &folder.display().to_string());
        self.set("AUTOMETTA_FAULT", &faults(&folder));
        folder
    }

    /// Has whoever comes to `point` (`ACTOR/POINT:OCCURRENCE`) wait there.
    pub fn pause(&mut self, point: &str) -> Pause {
        Pause { folder: self.fail(|folder| format!("{point}:pause={}/go", folder.display())) }
    }

    /// Lets the next tick with nothing else to do look at what is looked at once an hour.
    pub fn make_due(&self) {
        let path = self.repo.join("state/heartbeat.json");
        let mut heartbeat: Value = serde_json::from_str(&fs::read_to_string(&path).expect("heartbeat")).expect("json");
        heartbeat["keep_at"] = "2020-01-01T00:00:00Z".into();
        fs::write(path, heartbeat.to_string()).expect("heartbeat");
    }

    /// Writes a stub: `worker`, `verifier` or another name that a manifest then uses.
    pub fn stub(&self, name: &str, text: &str) {
        let path = self.base().join("stubs").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("stub");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }

    /// Writes the manifest: the stub families and then whatever else a test wants.
    pub fn manifest(&self, more: &str) {
        let stubs = self.base().join("stubs");
        let stubs = stubs.display();
        let text = format!(
            "version: 1\nbase_branch: main\nfamilies:\n  \
             stub: {{identities: [\"Stub*\"], command: [\"{stubs}/worker\", \"{{stage}}\", \"{{run}}\"], pass_env: [T]}}\n  \
             judge: {{identities: [\"Judge*\"], command: [\"{stubs}/verifier\", \"{{stage}}\", \"{{run}}\"], pass_env: [T]}}\n\
             {more}\n"
        );
        fs::write(self.repo.join(".autometta.yaml"), text).expect("manifest");
    }

    /// Writes a file into the operator's checkout.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.repo.join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, text).expect("file");
    }

    /// Reads a file below the box's folder.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.base().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Everything that ticks wrote into their log.
    #[must_use]
    pub fn tick_log(&self) -> String {
        let logs = fs::read_dir(self.home.join("log")).expect("logs");
        logs.map(|entry| fs::read_to_string(entry.expect("entry").path()).expect("log")).collect()
    }

    /// Writes a card with one criterion, `a.txt` as its deliverable and `test -s a.txt` as its gate.
    pub fn card(&self, stage: &str) {
        self.card_with(stage, "", "1. `a.txt`: the work", "test -s a.txt");
    }

    /// Writes a card with further metadata lines, other deliverables and another acceptance command.
    pub fn card_with(&self, stage: &str, metadata: &str, deliverables: &str, command: &str) {
        let text = format!(
            "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** {WORKER}\n- **Verifier:** {VERIFIER}\n\
             {metadata}\n## Objective\nDo it.\n\n## Deliverables\n{deliverables}\n\n## Acceptance criteria\n\
             1. it works\n\n## Acceptance command\n```sh\n{command}\n```\n"
        );
        self.write(&format!("stage-cards/{stage}.md"), &text);
    }

    /// Writes a card and queues it.
    pub fn queue(&self, stage: &str) {
        self.card(stage);
        self.ok(&["add-stage", &format!("stage-cards/{stage}.md")]);
    }

    /// The binary with these arguments, ready to run in the repository.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autometta"));
        command.args(args).current_dir(&self.repo).env_clear().envs(&self.env);
        command
    }

    /// Runs the binary.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    /// Runs the binary, which must succeed; gives what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "autometta {args:?}: {}\n{out}\n{err}", output.status);
        out
    }

    /// Runs the binary, which must exit with this code; gives what it printed on both streams.
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "autometta {args:?}\n{said}");
        said
    }

    /// One tick of this repository, whatever it comes to.
    pub fn tick(&self) -> Output {
        self.run(&["tick", "--repo", &self.repo.display().to_string()])
    }

    /// Runs a shell text in the repository on a terminal of its own; gives what the terminal showed. It must succeed.
    pub fn on_a_terminal(&self, shell: &str) -> String {
        let mut script = Command::new("script");
        script
            .args(["-qec", shell, "/dev/null"])
            .current_dir(&self.repo)
            .env_clear()
            .envs(&self.env)
            .env("TERM", "xterm");
        let output = script.stdin(std::process::Stdio::null()).output().expect("script (Debian package bsdutils) runs");
        let shown = text(&output.stdout);
        assert!(output.status.success(), "{shell}: {}\n{shown}", output.status);
        shown
    }

    /// Git in the operator's checkout, with the operator's hand.
    pub fn git(&self, args: &[&str]) -> String {
        let output = self.git_raw(args);
        assert!(output.status.success(), "git {args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// The file that a tick locks.
    #[must_use]
    pub fn tick_lock(&self) -> File {
        File::options().read(true).write(true).open(self.repo.join("state/.tick.lock")).expect("lock file")
    }

    /// Keeps every tick out while what this gives lives: whoever comes finds the lock held.
    #[must_use]
    pub fn hold(&self) -> File {
        let lock = self.tick_lock();
        lock.lock().expect("lock");
        lock
    }

    /// The same, once the newest copy of the state is current.
    #[must_use]
    pub fn alone(&self) -> File {
        let lock = self.tick_lock();
        self.wait("the state is copied, and no tick runs", || {
            lock.try_lock().is_ok() && (self.is_copied() || lock.unlock().is_err())
        });
        lock
    }

    /// The ticks of this repository that run, those that its supervisors started among them.
    #[must_use]
    pub fn ticks(&self) -> Vec<i32> {
        let words = format!("tick\0--repo\0{}\0", self.repo.display());
        processes(|line| line.ends_with(&words))
    }

    /// Waits until no tick runs.
    pub fn no_tick_runs(&self) {
        self.wait("no tick is left", || self.ticks().is_empty());
    }

    /// Waits until neither a tick runs nor a supervisor, which would start one.
    pub fn nothing_runs(&self) {
        let repo = self.repo.display().to_string();
        let is_ours = |line: &str| line.contains(&repo) && (line.contains("\0tick\0") || line.contains("__supervise"));
        self.wait("nothing is left", || processes(is_ours).is_empty());
    }

    /// Whether the newest copy of the state has all that the ledger tells: a tick writes it once it has let go of the lock.
    pub fn is_copied(&self) -> bool {
        let copy = self.git_raw(&["show", "refs/autometta/state:ledger.jsonl"]);
        let ledger = self.read("repo/state/ledger.jsonl");
        copy.status.success() && ledger.lines().next_back() == text(&copy.stdout).lines().next_back()
    }

    /// The same, whatever it comes to.
    #[must_use]
    pub fn git_raw(&self, args: &[&str]) -> Output {
        Command::new("git")
            .args(args)
            .current_dir(&self.repo)
            .env_clear()
            .envs(&self.env)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git runs")
    }

    /// `status --json`.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).expect("json")
    }

    /// A stage of `status --json`.
    #[must_use]
    pub fn stage(&self, id: &str) -> Value {
        let status = self.status();
        let found = status["stages"].as_array().expect("stages").iter().find(|stage| stage["id"] == id).cloned();
        found.unwrap_or_else(|| panic!("no stage {id} in {status}"))
    }

    /// `budget.json`.
    #[must_use]
    pub fn budget(&self) -> Value {
        serde_json::from_str(&self.read("repo/state/budget.json")).expect("json")
    }

    /// Ticks until a stage has this status, or fails with its whole story.
    pub fn tick_until(&self, stage: &str, status: &str) -> Value {
        self.tick_until_that(stage, |found| found["status"] == status)
    }

    /// Ticks until something holds of a stage, or fails with its whole story.
    pub fn tick_until_that(&self, stage: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let output = self.tick();
            let found = self.stage(stage);
            if holds(&found) {
                return found;
            }
            assert!(
                begun.elapsed() < LIMIT,
                "{stage} did not get there:\n{found:#}\n{}{}\n{}",
                text(&output.stdout),
                text(&output.stderr),
                self.ok(&["log"])
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits, without ticking, until something holds.
    pub fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < LIMIT, "in vain: {what}\n{}", self.ok(&["log"]));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Night {
    /// Leaves nothing running: whatever still has this box's folder in its environment or command is killed.
    fn drop(&mut self) {
        let mark = self.base().display().to_string();
        let Ok(entries) = fs::read_dir("/proc") else { return };
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let holds = |name: &str| {
                fs::read(entry.path().join(name)).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&mark))
            };
            if pid != i32::try_from(std::process::id()).unwrap_or(0) && (holds("environ") || holds("cmdline")) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// Bytes as text, whatever they are.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The processes whose command lines are such, their words ended by NUL.
fn processes(is_such: impl Fn(&str) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| is_such(&text(&line)))).collect()
}
