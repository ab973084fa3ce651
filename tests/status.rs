//! `status` over the real binary: what a person reads while work goes on, what a machine reads, the fleet, and
//! watching. How screens look at which width is tested where they are drawn, with a fixed time.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use support::night::{HAND_IN, LIMIT, Night, SAY_PASS, text};

/// A worker that begins and then waits until the test lets it go.
const WAITS: &str = "echo \"$1\" >a.txt\ntouch \"$T/here\"\nwhile [ ! -e \"$T/go\" ]; do sleep 0.02; done\n";

/// A night whose worker is at work until [`go`].
fn working() -> Night {
    let night = Night::with(&format!("{WAITS}{HAND_IN}"), SAY_PASS);
    night.queue("01-work");
    night.queue("02-next");
    let here = night.t().join("here");
    night.tick_until_that("01-work", |_| here.exists());
    night
}

fn go(night: &Night) {
    fs::write(night.t().join("go"), "").expect("go");
}

fn valid(schema: &str, document: &Value) {
    let path = format!("{}/schemas/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).expect("schema")).expect("json");
    let validator = jsonschema::validator_for(&schema).expect("schema");
    let faults: Vec<String> = validator.iter_errors(document).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}\n{document:#}");
}

/// Every file below the box's state and home with its bytes and times.
fn tree(night: &Night) -> Vec<(String, SystemTime, Vec<u8>)> {
    fn walk(folder: &std::path::Path, found: &mut Vec<(String, SystemTime, Vec<u8>)>) {
        for entry in fs::read_dir(folder).expect("folder").flatten() {
            let meta = entry.metadata().expect("meta");
            if meta.is_dir() {
                walk(&entry.path(), found);
            } else if meta.is_file() {
                let bytes = fs::read(entry.path()).expect("file");
                found.push((entry.path().display().to_string(), meta.modified().expect("time"), bytes));
            }
        }
    }
    let mut found = Vec::new();
    walk(&night.repo, &mut found);
    walk(&night.home, &mut found);
    found.sort();
    found
}

#[test]
fn a_night_under_way_is_told_in_words_and_in_data() {
    let night = working();
    let said = night.ok(&["status", "--width", "200"]);
    for wanted in [
        "in flight (1)",
        "Stub Worker (stub)",
        " of 1h",
        "then its gates",
        "waits for 01-work, which claims a.txt",
        "no timer is installed",
    ] {
        assert!(said.contains(wanted), "`{wanted}` is not in\n{said}");
    }
    let json = night.status();
    valid("status", &json);
    assert_eq!(json["waits"][0]["stage"], "01-work");
    assert_eq!(json["waits"][0]["group"], "in_flight");
    let hand = &json["waits"][0]["who"][0];
    assert_eq!((&hand["family"], &hand["standing"]), (&json!("stub"), &json!("running")), "{hand}");
    assert_eq!(json["waits"][1]["group"], "pending");
    assert_eq!(json["beat"]["pulse"], "no_timer");
    go(&night);
    night.tick_until("02-next", "completed");
    let said = night.ok(&["status"]);
    assert!(said.contains("finished (2)") && said.contains("landed as "), "{said}");
}

#[test]
fn a_question_stands_first_with_its_command() {
    let night = Night::with(
        r#"printf '{"stage_id":"%s","status":"blocked","deliverables":[],"notes":"","question":"Which \u001b[31mone?"}' "$1" >.autometta/outbox/handoff.json"#,
        SAY_PASS,
    );
    night.queue("01-work");
    night.tick_until("01-work", "blocked");
    night.queue("02-next");
    let said = night.ok(&["status"]);
    let (needs, pending) = (said.find("needs you (1)").expect("needs"), said.find("pending (1)").expect("pending"));
    assert!(needs < pending, "{said}");
    assert!(said.contains("Which one?") && said.contains("autometta answer 01-work"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    assert!(
        night.status()["waits"][0]["command"].as_str().is_some_and(|it| it.starts_with("autometta answer 01-work"))
    );
}

#[test]
fn halts_pauses_and_a_late_timer_stand_at_the_top() {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    let alone = night.alone();
    let mut budget = night.budget();
    budget["pauses"] = json!([{"family": "claude", "until": "2099-01-01T00:00:00Z", "reason": "usage limit"}]);
    night.write("state/budget.json", &budget.to_string());
    drop(alone);
    night.ok(&["halt", "--reason", "releasing"]);
    let timer = json!({"scheduler": "cron", "every_seconds": 300, "installed_at": "2026-01-01T00:00:00Z",
                       "exe": "/usr/bin/autometta", "env": {}});
    fs::write(night.home.join("timer.json"), timer.to_string()).expect("timer");
    let mut late = night.command(&["status", "--width", "100"]);
    let said = text(&late.env("AUTOMETTA_CLOCK_OFFSET", "1380").output().expect("it runs").stdout);
    for wanted in [
        "HALTED operator: releasing",
        "(since ",
        "PAUSED claude until ",
        "LATE: the last tick was 23m ago, the timer fires every 5m",
    ] {
        assert!(said.contains(wanted), "`{wanted}` is not in\n{said}");
    }
    assert!(night.ok(&["status"]).contains("the timer (cron) fires every 5m"));
    assert_eq!(night.run(&["status"]).status.code(), Some(0), "whatever it shows");
}

#[test]
fn what_has_ended_is_folded_until_it_is_asked_for() {
    let night = Night::passing();
    for number in 1..=12 {
        let stage = format!("{number:02}-work");
        night.queue(&stage);
        night.ok(&["skip", &stage]);
    }
    let said = night.ok(&["status"]);
    assert!(
        said.contains("finished (12)") && said.contains("and 2 more have ended; --all-stages lists them"),
        "{said}"
    );
    let all = night.ok(&["status", "--all-stages"]);
    assert!((1..=12).all(|number| all.contains(&format!("{number:02}-work"))), "{all}");
}

#[test]
fn colour_comes_when_it_is_asked_for_and_letters_follow_the_locale() {
    let night = Night::passing();
    night.queue("01-work");
    let shown = |args: &[&str], env: &[(&str, &str)]| {
        let output = night.command(args).envs(env.iter().copied()).output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    for (args, env, coloured) in [
        (&["status"][..], &[][..], false),
        (&["status", "--color", "always"], &[], true),
        (&["status"], &[("CLICOLOR_FORCE", "1")], true),
        (&["status"], &[("CLICOLOR_FORCE", "0")], false),
        (&["status"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&["status", "--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
    ] {
        assert_eq!(shown(args, env).contains('\u{1b}'), coloured, "{args:?} {env:?}");
    }
    assert!(shown(&["status", "--width", "100"], &[]).contains("tokens            ....."));
    assert!(shown(&["status", "--width", "100"], &[("LANG", "en_US.UTF-8")]).contains('░'));
    assert!(shown(&["status", "--width", "100"], &[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")]).is_ascii());
    let berlin = shown(&["status"], &[("TZ", "Etc/GMT-5")]);
    assert!(berlin.contains("UTC+05:00"), "{berlin}");
}

#[test]
fn the_fleet_shows_everybody_and_nobody_hides_another() {
    let night = Night::passing();
    night.queue("01-work");
    fs::write(night.home.join("subscribers/broken.yaml"), "repo_path: [\n").expect("file");
    fs::write(night.home.join("subscribers/gone-1.yaml"), "repo_path: /nowhere/gone\n").expect("file");
    fs::write(night.home.join("subscribers/off-1.yaml"), "repo_path: /nowhere/off\nenabled: false\n").expect("file");
    let said = night.ok(&["status", "--all", "--width", "100"]);
    assert!(said.contains("4 repositories"), "{said}");
    assert_eq!(said.matches("UNREADABLE").count(), 3, "{said}");
    let (gone, mine) = (said.find("gone").expect("gone"), said.find("\nrepo ").expect("repo"));
    assert!(gone < mine, "what asks for attention comes first\n{said}");
    let mut outside = night.command(&["status", "--width", "100"]);
    let elsewhere = text(&outside.current_dir(night.base()).output().expect("it runs").stdout);
    assert!(elsewhere.contains("4 repositories"), "outside a repository\n{elsewhere}");
    let json: Value = serde_json::from_str(&night.ok(&["status", "--all", "--json"])).expect("json");
    valid("fleet", &json);
    let repo = json["repos"].as_array().expect("repos").iter().find(|it| it["fault"].is_null()).expect("mine").clone();
    assert_eq!((&repo["summary"]["pending"], &repo["summary"]["in_flight"]), (&json!(1), &json!(0)), "{repo}");
    night.tick_until("01-work", "completed");
    let json: Value = serde_json::from_str(&night.ok(&["status", "--all", "--json"])).expect("json");
    let repo = json["repos"].as_array().expect("repos").iter().find(|it| it["fault"].is_null()).expect("mine").clone();
    assert_eq!(repo["summary"]["landed_today"], 1, "{repo}");
    // A state of another place is not taken for this one's.
    let state = night.read("repo/state/state.yaml");
    let foreign = state.lines().map(|line| if line.starts_with("repo_id") { "repo_id: other" } else { line });
    night.write("state/state.yaml", &(foreign.collect::<Vec<_>>().join("\n") + "\n"));
    assert_eq!(night.ok(&["status", "--all"]).matches("UNREADABLE").count(), 4);
    night.fails(&["status", "--all", "--all-stages"], 2);
}

#[test]
fn looking_changes_nothing() {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until_that("01-work", |stage| stage["status"] == "completed" && stage["chores"] == Value::Null);
    night.wait("the last pulse", || {
        night.tick();
        !night.worktrees().exists()
    });
    night.nothing_runs();
    let before = tree(&night);
    for args in [&["status"][..], &["status", "--json"], &["status", "--all"], &["log"], &["log", "--run", "01-work"]] {
        night.ok(args);
    }
    assert_eq!(tree(&night), before);
}

/// A process whose output is read as it comes.
struct Watched {
    child: Child,
    output: std::sync::mpsc::Receiver<Vec<u8>>,
    seen: String,
}

impl Watched {
    fn start(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("it starts");
        let mut out = child.stdout.take().expect("stdout");
        let (tell, output) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = out.read(&mut bytes) {
                if read == 0 || tell.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, output, seen: String::new() }
    }

    /// Reads until something was printed that holds these words.
    fn until(&mut self, words: &str) {
        let begun = Instant::now();
        while !self.seen.contains(words) {
            assert!(begun.elapsed() < LIMIT, "no `{words}` in\n{}", self.seen);
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.seen.push_str(&text(&bytes));
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watching_in_a_pipe_prints_a_frame_for_news_only() {
    let night = working();
    let mut watched = Watched::start(night.command(&["status", "--watch", "--every", "1s"]));
    watched.until("in flight (1)");
    // Two looks at which nothing but time has passed, told by the clock of the looks themselves.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        if let Ok(bytes) = watched.output.recv_timeout(Duration::from_millis(100)) {
            watched.seen.push_str(&text(&bytes));
        }
    }
    assert_eq!(watched.seen.matches("in flight (1)").count(), 1, "{}", watched.seen);
    go(&night);
    watched.until("landed as ");
    assert!(!watched.seen.contains('\u{1b}'), "no orders to a terminal that is none");
}

/// tmux with a server of the test's own.
struct Tmux<'a> {
    night: &'a Night,
    socket: String,
}

impl<'a> Tmux<'a> {
    fn new(night: &'a Night, columns: u32, rows: u32, args: &[&str]) -> Self {
        let tmux = Self { night, socket: night.base().join("tmux").display().to_string() };
        let line = format!(
            "stty -a | md5sum; PATH='{}' AUTOMETTA_HOME='{}' LANG=C.UTF-8 '{}' {}; code=$?; stty -a | md5sum; echo \"left with $code\"; cat",
            std::env::var("PATH").expect("PATH"),
            night.home.display(),
            env!("CARGO_BIN_EXE_autometta"),
            args.join(" ")
        );
        let (columns, rows) = (columns.to_string(), rows.to_string());
        tmux.ok(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "t",
            "-x",
            &columns,
            "-y",
            &rows,
            "/bin/sh",
            "-c",
            &line,
        ]);
        tmux
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = std::process::Command::new("tmux")
            .args(["-u", "-S", &self.socket])
            .args(args)
            .current_dir(&self.night.repo)
            .env_remove("TMUX")
            .output()
            .expect("tmux runs; install the package tmux");
        assert!(output.status.success(), "tmux {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn screen(&self) -> String {
        self.ok(&["capture-pane", "-p", "-t", "t"])
    }

    fn until(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(words) {
                return screen;
            }
            assert!(begun.elapsed() < LIMIT, "no `{words}` on\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

#[test]
fn watching_on_a_terminal_follows_resizes_and_leaves_it_as_it_was() {
    let night = working();
    let tmux = Tmux::new(&night, 100, 40, &["status", "--watch"]);
    let screen = tmux.until("in flight (1)");
    assert!(screen.contains("OUTPUT") && screen.contains("░"), "{screen}");
    tmux.ok(&["resize-window", "-t", "t", "-x", "60", "-y", "12"]);
    tmux.until("more lines below");
    tmux.ok(&["resize-window", "-t", "t", "-x", "100", "-y", "40"]);
    go(&night);
    tmux.until("finished (2)");
    tmux.ok(&["send-keys", "-t", "t", "q"]);
    let left = tmux.until("left with 0");
    assert!(!left.contains("finished"), "the alternate screen is gone\n{left}");
    let sums: Vec<&str> = left.lines().filter(|line| line.ends_with("  -")).collect();
    assert!(sums.len() == 2 && sums[0] == sums[1], "the terminal's settings are as before\n{left}");
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for (signal, code) in [("TERM", 143), ("INT", 0), ("HUP", 129)] {
        let night = Night::passing();
        night.queue("01-work");
        let tmux = Tmux::new(&night, 100, 30, &["status", "--watch"]);
        tmux.until("pending (1)");
        let pid = tmux.ok(&["display-message", "-p", "-t", "t", "#{pane_pid}"]);
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pid.trim())).expect("children");
        let child = children.split_whitespace().next().expect("a child").parse().expect("pid");
        let signal: nix::sys::signal::Signal = format!("SIG{signal}").parse().expect("signal");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), signal).expect("sent");
        let left = tmux.until(&format!("left with {code}"));
        let sums: Vec<&str> = left.lines().filter(|line| line.ends_with("  -")).collect();
        assert!(sums.len() == 2 && sums[0] == sums[1] && !left.contains("pending (1)"), "{signal}\n{left}");
    }
}

#[test]
fn watching_reads_no_file_again_that_has_not_changed() {
    let night = working();
    let trace = night.base().join("trace");
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "-e", "trace=openat,open,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_autometta"))
        .args(["status", "--watch"])
        .current_dir(&night.repo)
        .env("AUTOMETTA_HOME", &night.home);
    let mut watched = Watched::start(command);
    watched.until("in flight (1)");
    // A look is told by the run's lock, which is tried each time.
    let looks = || fs::read_to_string(&trace).unwrap_or_default().matches("run.lock").count();
    night.wait("four looks", || looks() >= 4);
    let calls = fs::read_to_string(&trace).expect("trace");
    let state = calls.lines().filter(|line| line.contains("state.yaml") && line.contains("O_RDONLY")).count();
    assert_eq!(state, 1, "{calls}");
    let writes = calls.lines().filter(|line| {
        line.contains(&night.base().display().to_string())
            && (["O_WRONLY", "O_CREAT", "unlink", "rename", "mkdir"].iter().any(|word| line.contains(word)))
    });
    let writes: Vec<&str> = writes.collect();
    assert!(writes.is_empty(), "{writes:#?}");
    go(&night);
}
