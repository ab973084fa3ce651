//! `attach`, with the real tmux on a server of its own: what is opened, what is left alone, and that looking changes
//! nothing.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::night::{HAND_IN, LIMIT, Night, SAY_PASS, text};

/// A night with a tmux server of its own, whose socket lies in its box.
struct Evening {
    night: Night,
}

impl Evening {
    /// The worker prints a line and waits until its stage may go on; the verifier says PASS.
    fn new() -> Self {
        let tmux = Command::new("tmux").arg("-V").output();
        assert!(tmux.is_ok_and(|output| output.status.success()), "install the package tmux: `attach` is for it");
        let worker = format!(
            "echo \"words of $2\"\necho \"$1\" >a.txt\nwhile [ ! -e \"$T/go-$1\" ]; do sleep 0.02; done\n{HAND_IN}"
        );
        let mut night = Night::with(&worker, SAY_PASS);
        night.set("TMUX_TMPDIR", &night.t().display().to_string());
        night.set("LC_ALL", "C.UTF-8");
        night.set("TERM", "xterm-256color");
        Self { night }
    }

    /// The same, with this stage's worker running.
    fn working(stage: &str) -> Self {
        let evening = Self::new();
        evening.start(stage);
        evening
    }

    fn start(&self, stage: &str) {
        self.night.queue(stage);
        self.night.tick_until_that(stage, |stage| stage["phase"] == "working");
    }

    fn go(&self, stage: &str) {
        fs::write(self.night.t().join(format!("go-{stage}")), "").expect("go");
    }

    fn tmux_raw(&self, args: &[&str]) -> Output {
        // The box's environment, without our binary.
        let ours = self.night.command(&[]);
        let mut command = Command::new("tmux");
        command.args(args).current_dir(&self.night.repo).env_clear();
        for (name, value) in ours.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        // A box may have been given a PATH without tmux.
        command.env("PATH", std::env::var("PATH").expect("PATH"));
        command.output().expect("tmux runs")
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = self.tmux_raw(args);
        assert!(output.status.success(), "tmux {args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    fn session(&self) -> String {
        let plan: Value = serde_json::from_str(&self.night.ok(&["attach", "--json"])).expect("json");
        plan["session"].as_str().expect("a session").to_owned()
    }

    /// The names of the session's windows.
    fn windows(&self) -> Vec<String> {
        let target = format!("={}", self.session());
        self.tmux(&["list-windows", "-t", &target, "-F", "#{window_name}"]).lines().map(str::to_owned).collect()
    }

    /// The window with this name, as tmux calls it.
    fn window(&self, name: &str) -> String {
        let target = format!("={}", self.session());
        let list = self.tmux(&["list-windows", "-t", &target, "-F", "#{window_id} #{window_name}"]);
        let found = list.lines().find_map(|line| line.split_once(' ').filter(|(_, known)| *known == name));
        found.unwrap_or_else(|| panic!("no window {name} in\n{list}")).0.to_owned()
    }

    /// Waits until a pane shows these words, or has shown them: tmux scrolls when a program ends. Gives what it showed.
    fn sees(&self, pane: &str, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p", "-S", "-", "-t", pane]);
            if screen.contains(words) {
                return screen;
            }
            assert!(begun.elapsed() < LIMIT, "`{words}` does not come in {pane}:\n{screen}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Everything that decides what happens next, byte for byte.
    fn memory(&self) -> Vec<String> {
        ["state.yaml", "budget.json", "ledger.jsonl"]
            .iter()
            .map(|name| self.night.read(format!("repo/state/{name}")))
            .collect()
    }
}

impl Drop for Evening {
    fn drop(&mut self) {
        let _ = self.tmux_raw(&["kill-server"]);
    }
}

/// A text with what differs from box to box taken out, held to a file.
fn matches_snapshot(evening: &Evening, name: &str, said: &str) {
    let session = evening.session();
    let hash = session.rsplit('-').next().expect("a hash");
    let said = said
        .replace(env!("CARGO_BIN_EXE_autometta"), "/bin/autometta")
        .replace(&evening.night.base().display().to_string(), "/box")
        .replace(hash, "0123abcd");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/attach").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &said).expect("snapshot");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(said, known, "{} differs; UPDATE_SNAPSHOTS=1 writes it anew", path.display());
}

#[test]
fn dry_run_prints_what_a_shell_would_take_and_opens_nothing() {
    let evening = Evening::working("01-work");
    let said = evening.night.ok(&["attach", "01-work", "--dry-run"]);
    matches_snapshot(&evening, "dry-run.txt", &said);
    assert!(!evening.tmux_raw(&["has-session"]).status.success(), "a server was started");
    let plan: Value = serde_json::from_str(&evening.night.ok(&["attach", "01-work", "--json"])).expect("json");
    let views: Vec<&str> =
        plan["windows"].as_array().expect("windows").iter().filter_map(|window| window["view"].as_str()).collect();
    assert_eq!(views, ["status", "log", "01-work.1.worker"]);
    assert_eq!(plan["opens"].as_array().expect("opens").len() + 1, said.lines().count(), "{plan:#}");
    assert_eq!(plan["shows"][1], "attach-session");
    // The printed lines do what `attach` does.
    let (open, show) = said.trim_end().rsplit_once('\n').expect("lines");
    assert!(show.starts_with("tmux attach-session "), "{show}");
    let ours = evening.night.command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-euc", open]).env_clear();
    shell.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(shell.status().expect("sh runs").success());
    assert_eq!(evening.windows(), ["status", "log", "01-work.1.worker"]);
    assert_eq!(evening.night.ok(&["attach", "--dry-run"]).lines().count(), 1, "nothing is left to be opened");
}

#[test]
fn each_window_shows_its_part_of_the_night() {
    let evening = Evening::working("01-work");
    let said = evening.night.ok(&["attach"]);
    let session = evening.session();
    assert!(said.contains(&format!("tmux attach-session -t '={session}'")), "not on a terminal, it says how: {said}");
    assert_eq!(evening.windows(), ["status", "log", "01-work.1.worker"]);
    evening.sees(&evening.window("status"), "01-work");
    evening.sees(&evening.window("log"), "01-work");
    evening.sees(&evening.window("01-work.1.worker"), "words of 01-work.1.worker");
    assert_eq!(evening.tmux(&["display-message", "-p", "-t", &format!("={session}:"), "#{window_name}"]), "status");
}

#[test]
fn joining_adds_what_is_new_and_leaves_what_is_there() {
    let evening = Evening::new();
    evening.night.ok(&["attach"]);
    assert_eq!(evening.windows(), ["status", "log"]);
    // The operator makes it theirs: another name, a window of their own, one closed and one whose program has ended.
    let session = evening.session();
    let log = evening.window("log");
    evening.tmux(&["rename-window", "-t", &log, "what happened"]);
    evening.tmux(&["new-window", "-d", "-t", &format!("={session}:"), "-n", "mine", "cat"]);
    evening.tmux(&["set-option", "-w", "-t", &evening.window("mine"), "remain-on-exit", "on"]);
    let status = evening.window("status");
    evening.tmux(&["respawn-window", "-k", "-t", &status, "true"]);
    let dead = || evening.tmux(&["display-message", "-p", "-t", &status, "#{pane_dead}"]);
    evening.night.wait("the program in the window ends", || dead() == "1");
    evening.start("01-work");
    evening.night.ok(&["attach", "01-work"]);
    assert_eq!(evening.windows(), ["status", "what happened", "mine", "01-work.1.worker"]);
    assert_eq!(evening.window("what happened"), log);
    evening.sees(&status, "01-work");
    let front = evening.tmux(&["display-message", "-p", "-t", &format!("={session}:"), "#{window_name}"]);
    assert_eq!(front, "01-work.1.worker", "the stage that was asked for is in front");
    evening.go("01-work");
    evening.night.tick_until("01-work", "completed");
    let run = evening.window("01-work.1.worker");
    evening.sees(&run, "words of 01-work.1.worker");
    evening.night.ok(&["attach"]);
    assert_eq!(
        evening.window("01-work.1.worker"),
        run,
        "a run that has ended keeps its window, and gets no second one"
    );
}

#[test]
fn killing_the_session_changes_nothing_and_the_run_goes_on() {
    let evening = Evening::working("01-work");
    let before = evening.memory();
    evening.night.ok(&["attach"]);
    evening.sees(&evening.window("01-work.1.worker"), "words of");
    evening.tmux(&["kill-session", "-t", &format!("={}", evening.session())]);
    assert_eq!(evening.memory(), before);
    let registry = evening.night.repo.join("state/active-agents/01-work.1.worker.json");
    assert!(registry.exists(), "the worker still runs");
    evening.go("01-work");
    let stage = evening.night.tick_until("01-work", "completed");
    assert_eq!(stage["attempt"], 1, "it was never started a second time");
}

#[test]
fn the_operators_configuration_is_loaded_and_is_no_hindrance() {
    let evening = Evening::working("01-work");
    let config = "set -g base-index 7\nset -g destroy-unattached on\nset -g renumber-windows on\n\
                  set -g default-command 'cat'\nsetw -g automatic-rename on\nsetw -g remain-on-exit off\n\
                  set -g default-terminal screen\nset -g prefix C-a\n";
    fs::write(evening.night.base().join("user/.tmux.conf"), config).expect("configuration");
    evening.night.ok(&["attach"]);
    evening.sees(&evening.window("status"), "01-work");
    assert_eq!(evening.windows(), ["status", "log", "01-work.1.worker"]);
    assert_eq!(evening.tmux(&["show-options", "-gv", "prefix"]), "C-a", "it is the operator's server");
    let first = evening.tmux(&["display-message", "-p", "-t", &evening.window("status"), "#{window_index}"]);
    assert_eq!(first, "7");
}

#[test]
fn on_a_terminal_it_is_shown_there_and_new_runs_get_windows_while_one_looks() {
    let evening = Evening::new();
    // A terminal for it: a pane of another server, in which nothing of tmux is known.
    let exe = env!("CARGO_BIN_EXE_autometta");
    let outer = |args: &[&str]| evening.tmux(&[&["-L", "outer"], args].concat());
    // It says itself how the command ended: a tmux that misses the signal of a process's end never learns its status.
    let script = "env -u TMUX \"$0\" attach; echo \"ended with $?\"; sleep 600";
    outer(&["new-session", "-d", "-x", "110", "-y", "30", "-s", "o", "sh", "-c", script, exe]);
    evening.night.wait("a client is attached", || {
        let clients = evening.tmux_raw(&["list-clients", "-F", "#{client_session}"]);
        text(&clients.stdout).trim() == evening.session()
    });
    evening.start("01-work");
    evening.night.wait("the run has a window", || evening.windows().contains(&"01-work.1.worker".to_owned()));
    let front = evening.tmux(&["list-clients", "-F", "#{window_name}"]);
    assert_eq!(front, "status", "a new window does not take the screen");
    let shown = || outer(&["capture-pane", "-p", "-t", "o"]);
    evening.night.wait("the terminal shows the status", || shown().contains("01-work.1.worker"));
    evening.tmux(&["detach-client", "-s", &format!("={}", evening.session())]);
    evening.night.wait("it ends with its client", || shown().lines().any(|line| line.trim_end() == "ended with 0"));
    outer(&["kill-server"]);
}

#[test]
fn inside_tmux_the_client_is_switched() {
    let evening = Evening::working("01-work");
    let exe = env!("CARGO_BIN_EXE_autometta");
    let line = format!("'{exe}' attach; cat");
    let outer = |args: &[&str]| evening.tmux(&[&["-L", "outer"], args].concat());
    outer(&["new-session", "-d", "-s", "o", "env", "-u", "TMUX", "tmux", "new-session", "-s", "mine", &line]);
    evening.night.wait("the client shows the night", || {
        let clients = evening.tmux_raw(&["list-clients", "-F", "#{client_session}"]);
        text(&clients.stdout).trim() == evening.session()
    });
    assert!(evening.tmux_raw(&["has-session", "-t", "=mine"]).status.success(), "the operator's session stays");
    outer(&["kill-server"]);
}

#[test]
fn repositories_of_one_name_and_of_odd_names_have_sessions_of_their_own() {
    let evening = Evening::new();
    let mut sessions = vec![evening.session()];
    for place in ["b/repo", "it's; a #{pid}: \"repo\".d;"] {
        let repo = evening.night.base().join(place);
        fs::create_dir_all(repo.parent().expect("parent")).expect("folder");
        evening.night.git(&["clone", "-q", ".", &repo.display().to_string()]);
        let run = |args: &[&str]| {
            let output = evening.night.command(args).current_dir(&repo).output().expect("runs");
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
            text(&output.stdout)
        };
        run(&["init"]);
        run(&["attach"]);
        let plan: Value = serde_json::from_str(&run(&["attach", "--json"])).expect("json");
        let session = plan["session"].as_str().expect("session").to_owned();
        let folder = evening.tmux(&["display-message", "-p", "-t", &format!("={session}:"), "#{session_path}"]);
        assert_eq!(folder, repo.display().to_string());
        let list = evening.tmux(&["list-windows", "-t", &format!("={session}"), "-F", "#{window_id} #{pane_dead}"]);
        assert!(!list.contains(" 1"), "a program has ended at once: {list}");
        evening.sees(list.split(' ').next().expect("a window"), "nothing is queued");
        sessions.push(session);
    }
    let all = sessions.len();
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), all, "{sessions:?}");
    assert!(sessions.iter().all(|name| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')));
}

#[test]
fn a_stage_that_cannot_be_shown_is_named() {
    let evening = Evening::new();
    assert!(evening.night.fails(&["attach", "99-none"], 3).contains("no stage 99-none"));
    evening.night.card("02-later");
    evening.night.ok(&["add-stage", "stage-cards/02-later.md"]);
    assert!(evening.night.fails(&["attach", "02-later"], 1).contains("02-later has not run yet"));
    assert!(!evening.tmux_raw(&["has-session"]).status.success(), "a session was opened all the same");
}

#[test]
fn without_tmux_it_follows_here_until_it_is_interrupted() {
    let mut evening = Evening::working("01-work");
    let tools = evening.night.base().join("tools");
    fs::create_dir_all(&tools).expect("folder");
    for tool in ["git", "sh", "env"] {
        let path = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().expect("sh runs");
        std::os::unix::fs::symlink(text(&path.stdout).trim(), tools.join(tool)).expect("link");
    }
    let path = std::env::var("PATH").expect("PATH");
    evening.night.set("PATH", &tools.display().to_string());
    let said = evening.night.ok(&["attach", "--dry-run"]);
    assert_eq!(said, "without tmux, this terminal would follow: log, 01-work.1.worker\n");
    let before = evening.memory();
    let mut viewer = evening.night.command(&["attach"]).stdout(Stdio::piped()).spawn().expect("runs");
    let mut lines = BufReader::new(viewer.stdout.take().expect("pipe")).lines().map(|line| line.expect("text"));
    // Both kinds of lines come, in whichever order; a stream that ends without them fails.
    let mut wanted = vec!["log | ", "01-work.1.worker | words of 01-work.1.worker"];
    while !wanted.is_empty() {
        let line = lines.next().unwrap_or_else(|| panic!("ended before {wanted:?}"));
        wanted.retain(|words| !line.starts_with(words));
    }
    assert_eq!(evening.memory(), before);
    // A run that begins meanwhile is followed too.
    evening.night.set("PATH", &path);
    evening.go("01-work");
    evening.night.tick_until("01-work", "completed");
    evening.start("02-next");
    assert!(lines.any(|line| line.starts_with("02-next.1.worker | ")), "ended before the next run");
    kill(Pid::from_raw(i32::try_from(viewer.id()).expect("pid")), Signal::SIGINT).expect("signal");
    assert!(viewer.wait().expect("ended").success());
    assert!(followers(&evening.night).is_empty(), "they end with it: {:?}", followers(&evening.night));
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let evening = Evening::working("01-work");
    let mut viewer = evening.night.command(&["attach", "--here"]).stdout(Stdio::piped()).spawn().expect("runs");
    let mut reader = BufReader::new(viewer.stdout.take().expect("pipe"));
    reader.read_line(&mut String::new()).expect("a line");
    drop(reader);
    // Whatever comes next meets a closed pipe.
    evening.go("01-work");
    evening.night.tick_until("01-work", "completed");
    evening.night.wait("it ends", || viewer.try_wait().expect("status").is_some());
    assert!(followers(&evening.night).is_empty());
}

/// The followers of this box that run, by their command lines.
fn followers(night: &Night) -> Vec<String> {
    let mark = night.base().display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = text(&line).replace('\0', " ");
        if line.contains(&mark) && line.contains("--follow") {
            found.push(line);
        }
    }
    found
}
