//! What tests with real schedulers share: a corner of the system that nobody else sees, and the program under a name
//! that needs quoting.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a broken test environment should fail loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::support::night::{Night, text};

/// Fails with a sentence where a program is missing.
pub fn need(program: &str, package: &str) {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/systemd"];
    let found = folders.iter().any(|folder| Path::new(folder).join(program).exists());
    assert!(found, "this test needs `{program}`; install the Debian package {package}");
}

/// Gives this thread, and all that it starts from now on, mounts of its own, with empty folders over these.
/// False where the kernel or the container forbids it.
#[must_use]
pub fn with_empty(folders: &[&str]) -> bool {
    const NOTHING: Option<&str> = None;
    if unshare(CloneFlags::CLONE_NEWNS).is_err() {
        return false;
    }
    if mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).is_err() {
        return false;
    }
    folders.iter().all(|folder| mount(Some("tmpfs"), *folder, Some("tmpfs"), MsFlags::empty(), NOTHING).is_ok())
}

/// Hides a file behind an empty one.
#[must_use]
pub fn with_nothing_in(file: &str) -> bool {
    mount(Some("/dev/null"), file, None::<&str>, MsFlags::MS_BIND, None::<&str>).is_ok()
}

/// The program, copied to where its name needs quoting everywhere.
#[must_use]
pub fn copied(night: &Night) -> PathBuf {
    let folder = night.base().join("100% \"it's\"");
    fs::create_dir_all(&folder).expect("folder");
    let exe = folder.join("night watch");
    // By another process: a child of ours, forked while we had the copy open for writing, would keep it from running.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_autometta")).arg(&exe).status().expect("cp runs");
    assert!(copied.success(), "{}: {copied}", exe.display());
    exe
}

/// Runs that copy in the night's environment.
#[must_use]
pub fn run(night: &Night, exe: &Path, args: &[&str]) -> Output {
    let usual = night.command(args);
    let env = usual.get_envs().filter_map(|(name, value)| Some((name, value?)));
    Command::new(exe).args(args).current_dir(&night.repo).env_clear().envs(env).output().expect("the copy runs")
}

/// The same, which must succeed; gives what it printed.
pub fn ok(night: &Night, exe: &Path, args: &[&str]) -> String {
    let output = run(night, exe, args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{args:?}: {}\n{out}\n{err}", output.status);
    out
}

/// Waits, without ticking, until something holds; a minute's scheduler needs more than a minute.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool, story: impl Fn() -> String) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(180), "in vain: {what}\n{}", story());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Queues a card of the built-in families that runs this script and has to make `a.txt`.
pub fn queue_script(night: &Night, exe: &Path, script: &str) {
    night.write(
        "stage-cards/01-work.md",
        &format!(
            "# Stage card 01-work: Do the work\n\n## Metadata\n- **Worker:** Script <script@local>\n\
             - **Verifier:** Check <check@local>\n\n## Objective\nDo it.\n\n## Deliverables\n1. `a.txt`: the work\n\n\
             ## Acceptance criteria\n1. it is there\n\n## Acceptance command\n```sh\ntest -s a.txt\n```\n\n\
             ## Script\n```sh\n{script}\n```\n"
        ),
    );
    ok(night, exe, &["init"]);
    ok(night, exe, &["add-stage", "stage-cards/01-work.md"]);
}
