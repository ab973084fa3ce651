//! The units, held against systemd itself: its own check of them, and a real user manager that fires them.
//!
//! The manager runs as root in mounts of its own, with an empty `/run`, so that the host does not notice it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand"
)]

mod support;
mod timer_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::night::{Night, text};
use timer_support::{copied, need, ok, queue_script, run, wait, with_empty};

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    need("systemd-analyze", "systemd");
    let mut night = Night::bare();
    night.set("AUTOMETTA_HOME", &night.base().join("it's a 100% \"home\"").display().to_string());
    let exe = copied(&night);
    let plan: Value =
        serde_json::from_str(&ok(&night, &exe, &["timer", "print", "--scheduler", "systemd", "--json"])).expect("json");
    let folder = night.t();
    let mut paths = Vec::new();
    for piece in plan["pieces"].as_array().expect("pieces") {
        let name = Path::new(piece["place"].as_str().expect("place")).file_name().expect("name");
        fs::write(folder.join(name), piece["text"].as_str().expect("text")).expect("unit");
        paths.push(folder.join(name));
    }
    let verify = |paths: &[PathBuf]| {
        let output = Command::new("systemd-analyze")
            .args(["--user", "verify"])
            .args(paths)
            .env("XDG_RUNTIME_DIR", night.t())
            .output()
            .expect("systemd-analyze runs");
        text(&output.stderr).lines().filter(|line| line.contains("autometta")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(paths.len(), 2);
    assert_eq!(verify(&paths), "");
    let spoilt = fs::read_to_string(&paths[0]).expect("unit").replace("KillMode=process", "KillMode=nothing");
    fs::write(&paths[0], spoilt).expect("unit");
    assert!(verify(&paths).contains("kill mode"), "the check bites: {}", verify(&paths));
}

/// A user manager of our own.
struct Manager {
    child: Child,
    groups: Vec<PathBuf>,
}

impl Manager {
    /// None where mounts or control groups of our own are forbidden here.
    fn start(night: &Night) -> Option<Self> {
        if !with_empty(&["/run"]) {
            return None;
        }
        fs::create_dir_all("/run/systemd/system").expect("folder");
        fs::create_dir_all("/run/user/0").expect("folder");
        let mut groups = Vec::new();
        for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
            if Path::new(hierarchy).join("cgroup.procs").exists() {
                let group = Path::new(hierarchy).join(format!("autometta-test-{}", std::process::id()));
                fs::create_dir(&group).ok()?;
                groups.push(group);
            }
        }
        let enter = |group: &PathBuf| format!("echo $$ >{}/cgroup.procs && ", group.display());
        let enter: String = groups.iter().map(enter).collect();
        let child = Command::new("unshare")
            .args(["--cgroup", "sh", "-c", &format!("{enter} exec unshare --cgroup /usr/lib/systemd/systemd --user")])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", night.base().join("user"))
            .env("XDG_RUNTIME_DIR", "/run/user/0")
            .stdin(Stdio::null())
            .spawn()
            .expect("the manager starts");
        Some(Self { child, groups })
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        systemctl(&["exit"]);
        let _ = self.child.wait();
        for group in &self.groups {
            let _ = fs::remove_dir(group);
        }
    }
}

fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl")
        .arg("--user")
        .args(args)
        .env("XDG_RUNTIME_DIR", "/run/user/0")
        .output()
        .expect("systemctl runs");
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_user_manager_fires_the_timer_and_runs_outlive_its_service() {
    need("systemd", "systemd");
    need("systemctl", "systemd");
    let mut night = Night::bare();
    night.set("XDG_RUNTIME_DIR", "/run/user/0");
    night.set("AUTOMETTA_HOME", &night.base().join("it's a 100% \"home\"").display().to_string());
    let exe = copied(&night);
    let (here, go) = (night.t().join("here"), night.t().join("go"));
    let script =
        format!("touch '{}'; while [ ! -e '{}' ]; do sleep 0.05; done; echo work >a.txt", here.display(), go.display());
    queue_script(&night, &exe, &script);
    let Some(_manager) = Manager::start(&night) else {
        eprintln!("no user manager can be started here: mounts or control groups of our own are forbidden");
        return;
    };
    wait("the manager answers", || systemctl(&["is-system-running"]) == "running", String::new);

    // The manager is what is chosen, without being asked for; an hour leaves one fire to this test.
    let said = ok(&night, &exe, &["timer", "install", "--every", "1h"]);
    assert!(said.starts_with("installed: a tick every 1h by systemd"), "{said}");
    assert!(ok(&night, &exe, &["timer", "install", "--every", "1h"]).starts_with("installed already"));
    let units = || fs::read_dir(night.base().join("user/.config/systemd/user")).expect("units").flatten();
    let service =
        units().map(|unit| unit.file_name().to_string_lossy().into_owned()).find(|name| name.ends_with(".service"));
    let service = service.expect("a service");

    let story = || {
        let errors = systemctl(&["status", "--no-pager", &service]);
        format!("{errors}\n{}", text(&run(&night, &exe, &["log"]).stdout))
    };
    wait("the timer fires and the worker starts", || here.exists(), story);
    let property = |name: &str| systemctl(&["show", "--property", name, "--value", &service]);
    let ended = || property("ActiveState") == "inactive" && property("ExecMainExitTimestampMonotonic") != "0";
    wait("the tick's service ends", ended, story);
    let stage = || -> Value {
        let status: Value = serde_json::from_str(&ok(&night, &exe, &["status", "--json"])).expect("json");
        status["stages"][0].clone()
    };
    assert_eq!(stage()["phase"], "working");
    fs::write(&go, "").expect("go");
    wait("the run goes on behind the service, and lands", || stage()["status"] == "completed", story);
    assert_eq!(stage()["attempt"], 1, "{:#}", stage());

    let status: Value = serde_json::from_str(&ok(&night, &exe, &["timer", "status", "--json"])).expect("json");
    assert_eq!(status["installed"][0]["loaded"], true, "{status:#}");
    assert_eq!((&status["daemon"], &status["late"]), (&"running".into(), &false.into()), "{status:#}");
    assert!(status["advice"][0].as_str().is_some_and(|advice| advice.contains("loginctl enable-linger")), "{status:#}");
    let timer = service.replace(".service", ".timer");
    assert_eq!(systemctl(&["is-enabled", &timer]), "enabled");
    ok(&night, &exe, &["timer", "uninstall"]);
    assert_ne!(systemctl(&["is-active", &timer]), "active");
    assert_eq!(units().filter(|unit| unit.path().is_file()).count(), 0);
}
