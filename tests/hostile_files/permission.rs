//! Files without permission, as an ordinary user: root reads everything.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::night::{HAND_IN, Night};
use crate::world::{Said, within};

/// The binary as `nobody`, or as ourselves where we are an ordinary user already; none where neither can be had.
fn as_nobody(night: &Night, args: &[&str]) -> Option<Said> {
    let own = night.command(args);
    if !nix::unistd::geteuid().is_root() {
        return Some(within(&mut night.command(args)));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(own.get_program()).args(args);
    command.current_dir(&night.repo).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut probe = Command::new("setpriv");
    probe.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(own.get_program());
    let runs = probe.arg("--version").output().is_ok_and(|output| output.status.success());
    runs.then(|| within(&mut command))
}

#[test]
fn what_may_not_be_read_or_written_is_named_and_nothing_is_lost() {
    let night = Night::passing();
    night.queue("01-work");
    give_to_nobody(&night);
    night_is_idle(&night);
    let state = night.repo.join("state");
    let subscriber = fs::read_dir(night.home.join("subscribers"))
        .expect("subscribers")
        .find_map(|entry| entry.ok().map(|entry| entry.path()))
        .expect("subscribed");
    let tick = ["tick"];
    if as_nobody(&night, &["--version"]).is_none() {
        println!("skipped: no ordinary user can be had here (setpriv cannot start the binary as nobody)");
        return;
    }
    let mut cases = 0;
    for (path, mode) in [
        (state.join("state.yaml"), 0o000),
        (state.join("budget.json"), 0o000),
        (state.join("ledger.jsonl"), 0o000),
        (state.clone(), 0o000),
        (state.clone(), 0o500),
        (subscriber, 0o000),
        (night.repo.join(".autometta.yaml"), 0o000),
    ] {
        let what = format!("{} with mode {mode:03o}", path.display());
        let before = mode_of(&path);
        let kept = ["state.yaml", "ledger.jsonl"].map(|name| fs::read(state.join(name)).ok());
        set_mode(&path, mode);
        let said = as_nobody(&night, &tick).expect("it ran before");
        set_mode(&path, before);
        assert_eq!(said.code, Some(1), "{what}: {}", said.text);
        let name = path.file_name().expect("name").to_string_lossy();
        assert!(said.text.contains(&*name) && said.text.contains("ermission denied"), "{what}: {}", said.text);
        assert_eq!(kept, ["state.yaml", "ledger.jsonl"].map(|name| fs::read(state.join(name)).ok()), "{what}");
        cases += 1;
    }
    let said = as_nobody(&night, &tick).expect("it ran before");
    assert_eq!(said.code, Some(0), "with every permission back: {}", said.text);
    println!("{cases} cases");
}

#[test]
fn a_folder_that_may_not_be_written_in_makes_the_landing_wait() {
    let night = Night::passing();
    night.write("dist/kept", "kept\n");
    night.git(&["add", "dist"]);
    night.git(&["commit", "-qm", "Add dist"]);
    night.stub("worker", &format!("echo work >dist/made\n{HAND_IN}"));
    night.card_with("01-work", "", "1. `dist/made`: it", "test -e dist/made");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    give_to_nobody(&night);
    if as_nobody(&night, &["--version"]).is_none() {
        println!("skipped: no ordinary user can be had here (setpriv cannot start the binary as nobody)");
        return;
    }
    let (dist, tip) = (night.repo.join("dist"), night.read("repo/.git/refs/heads/main"));
    let reason = || {
        as_nobody(&night, &["tick"]).expect("it ran before");
        let said = as_nobody(&night, &["status"]).expect("it ran before").text;
        said.lines().find(|line| line.starts_with("01-work")).unwrap_or_default().to_owned()
    };
    set_mode(&dist, 0o555);
    night.wait("the landing waits", || reason().contains("dist cannot be written in"));
    night.no_tick_runs();
    assert_eq!(night.read("repo/.git/refs/heads/main"), tip, "nothing has moved");
    assert!(!night.repo.join(".git/index.lock").exists());
    set_mode(&dist, 0o755);
    night.wait("it lands", || reason().contains("completed"));
    assert_eq!(night.read("repo/dist/made"), "work\n");
}

fn give_to_nobody(night: &Night) {
    if nix::unistd::geteuid().is_root() {
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(night.base()).output().expect("chown runs");
        assert!(owned.status.success(), "{}", String::from_utf8_lossy(&owned.stderr));
    }
}

/// Holds the queue, so that ticks change nothing of their own accord.
fn night_is_idle(night: &Night) {
    night.stub("worker", "until test -e \"$T/go\"; do sleep 0.05; done");
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("meta").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}
