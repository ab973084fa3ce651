//! The whole way with Debian's own cron: install, the next full minute, a stage that lands, uninstall.
//!
//! It runs as root, in mounts of its own, so that neither the host's crontabs nor its cron are touched. Where those are
//! forbidden, the crontab of whoever runs it is used and left as it was found. Nobody but root can start a cron; where none
//! runs, there is nothing to be shown to anybody else.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand"
)]

mod support;
mod timer_support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::night::{Night, text};
use timer_support::{copied, need, ok, queue_script, run, wait, with_empty, with_nothing_in};

/// A crontab as an operator may have it; nothing in it is due before the end of the year.
const BEFORE: &str = "# mine\nMAILTO=\"\"\nPATH=/nowhere\nAUTOMETTA_HOME=/nowhere\n0 0 31 12 * true # 100\\%\n";

fn crontab() -> Option<String> {
    let output = Command::new("crontab").arg("-l").output().expect("crontab runs");
    output.status.success().then(|| text(&output.stdout))
}

fn write_crontab(crontab: Option<&str>) {
    let Some(crontab) = crontab else {
        Command::new("crontab").arg("-r").stderr(Stdio::null()).status().expect("crontab runs");
        return;
    };
    let mut child = Command::new("crontab").arg("-").stdin(Stdio::piped()).spawn().expect("crontab runs");
    child.stdin.take().expect("stdin").write_all(crontab.as_bytes()).expect("written");
    assert!(child.wait().expect("ended").success());
}

/// A cron daemon of our own and the crontab as it was; both are put right at the end, whatever happens.
struct Cron {
    daemon: Option<Child>,
    found: Option<String>,
}

impl Cron {
    /// None where no cron runs and none may be started.
    fn start() -> Option<Self> {
        let alone = with_empty(&["/var/spool/cron", "/etc/cron.d", "/run"]) && with_nothing_in("/etc/crontab");
        if alone {
            let spool = "/var/spool/cron/crontabs";
            fs::create_dir(spool).expect("spool");
            fs::set_permissions(spool, fs::Permissions::from_mode(0o1730)).expect("mode");
        }
        let runs = |name: &str| {
            let comm = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            fs::read_dir("/proc").expect("processes").flatten().any(|entry| comm(entry).trim() == name)
        };
        if !alone && !runs("cron") && !nix::unistd::geteuid().is_root() {
            return None;
        }
        let start = || Command::new("/usr/sbin/cron").arg("-f").stdin(Stdio::null()).spawn().expect("cron runs");
        let daemon = (alone || !runs("cron")).then(start);
        // Cron notices changes by whole seconds: one in the very second of its first look would go unseen.
        let begun = Instant::now();
        wait("cron's first look is over", || begun.elapsed() > Duration::from_secs(2), String::new);
        Some(Self { daemon, found: crontab() })
    }
}

impl Drop for Cron {
    fn drop(&mut self) {
        write_crontab(self.found.as_deref());
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[test]
fn cron_fires_the_installed_timer_in_its_bare_environment_and_the_stage_lands() {
    need("cron", "cron");
    need("crontab", "cron");
    let mut night = Night::bare();
    let home = night.base().join("it's a 100% home");
    night.set("AUTOMETTA_HOME", &home.display().to_string());
    // Found only through the PATH that the entry sets.
    let tools = night.base().join("my 5% tools");
    fs::create_dir(&tools).expect("folder");
    fs::write(tools.join("worker-tool"), "#!/bin/sh\necho work\n").expect("tool");
    fs::set_permissions(tools.join("worker-tool"), fs::Permissions::from_mode(0o755)).expect("mode");
    let exe = copied(&night);
    queue_script(&night, &exe, "worker-tool >a.txt");

    let Some(_cron) = Cron::start() else {
        return println!("not shown: no cron runs here, and only root may start one; start cron, or test as root");
    };
    write_crontab(None);
    ok(&night, &exe, &["timer", "install", "--scheduler", "cron"]);
    assert!(crontab().is_some_and(|crontab| crontab.contains("*/5 * * * *")));
    ok(&night, &exe, &["timer", "uninstall"]);
    assert_eq!(crontab(), None, "there was no crontab before");

    write_crontab(Some(BEFORE));
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let install = ["timer", "install", "--every", "1m", "--scheduler", "cron", "--path", &path];
    let said = run(&night, &exe, &install);
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_eq!(text(&said.stderr), "", "an installed program and a running cron are nothing to warn of");
    let status = || -> Value { serde_json::from_str(&ok(&night, &exe, &["timer", "status", "--json"])).expect("json") };
    let before = status();
    assert_eq!((&before["daemon"], &before["last_tick"]), (&"running".into(), &Value::Null), "{before:#}");

    let story = || {
        let errors = fs::read_to_string(home.join("log/timer.err")).unwrap_or_default();
        format!("{}\n{errors}\n{}", crontab().unwrap_or_default(), text(&run(&night, &exe, &["log"]).stdout))
    };
    let stage = || -> Value {
        let status: Value = serde_json::from_str(&ok(&night, &exe, &["status", "--json"])).expect("json");
        status["stages"][0].clone()
    };
    wait("cron fires and the stage lands", || stage()["status"] == "completed", story);
    assert_eq!(night.git(&["show", "main:a.txt"]), "work");
    let after = status();
    assert_eq!((&after["late"], &after["program"]), (&false.into(), &"current".into()), "{after:#}");
    assert!(after["last_tick"].is_string() && after["installed"][0]["loaded"] == true, "{after:#}");
    assert_eq!(after["advice"], serde_json::json!([]));

    ok(&night, &exe, &["timer", "uninstall"]);
    assert_eq!(crontab().as_deref(), Some(BEFORE), "byte for byte");
    assert!(!home.join("timer.json").exists());
}
