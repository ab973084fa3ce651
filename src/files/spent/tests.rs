//! A run's directory, with whatever may stand in it.

use std::os::unix::fs::symlink;

use super::*;

fn always() -> bool {
    true
}

/// A run's directory with records, logs and other things; beside it what must not be touched.
fn world() -> (tempfile::TempDir, PathBuf) {
    let base = tempfile::tempdir().expect("dir");
    let dir = base.path().join("runs/01-a.1.worker");
    fs::create_dir_all(dir.join("outbox/more")).expect("folders");
    fs::create_dir_all(base.path().join("outside")).expect("folder");
    for (name, text) in [
        ("run.json", "{}"),
        ("exit.json", "{}"),
        ("stdout.log", "one\ntwo\n"),
        ("stderr.log", ""),
        ("prompt.md", "Do it."),
        ("outbox/handoff.json", "{}"),
        ("outbox/else", "x"),
        ("outbox/more/else", "x"),
        ("../../outside/mine", "precious"),
    ] {
        fs::write(dir.join(name), text).expect("file");
    }
    (base, dir)
}

fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = MOST_FILES;
    walk(dir, Path::new(""), 0, &mut left, &mut |name, _| found.push(name.display().to_string()));
    found.sort();
    found
}

#[test]
fn stripped_a_run_still_tells_how_it_came_out() {
    let (base, dir) = world();
    let before = measure(&dir).expect("measured");
    assert!(before.bulk > 0 && before.bytes > before.bulk && before.plain > 0);
    assert_eq!(strip(&dir, &mut always).expect("stripped"), Came::Through);
    assert_eq!(names(&dir), ["exit.json", "outbox/handoff.json", "run.json"]);
    let after = measure(&dir).expect("measured");
    assert_eq!((after.bulk, after.plain, after.at), (0, 0, before.at));
    assert_eq!(names(&base.path().join("outside")), ["mine"]);
}

#[test]
fn what_is_half_removed_is_nobodys_run_and_goes_later() {
    let (base, dir) = world();
    let mut pieces = 2;
    let mut few = || {
        pieces -= 1;
        pieces >= 0
    };
    assert_eq!(remove(&dir, &mut few).expect("begun"), Came::Short);
    assert!(!dir.exists());
    let left = names(&base.path().join("runs"));
    assert!(!left.is_empty() && left.iter().all(|name| is_going(name)), "{left:?}");
    // A run of the same name came meanwhile: both go.
    fs::create_dir(&dir).expect("folder");
    assert_eq!(remove(&dir, &mut always).expect("removed"), Came::Through);
    assert_eq!(remove(&dir, &mut always).expect("removed twice"), Came::Through);
    assert_eq!(fs::read_dir(base.path().join("runs")).expect("runs").count(), 0);
}

#[test]
fn links_pipes_and_closed_folders_are_taken_away_and_never_followed() {
    let (base, dir) = world();
    let outside = base.path().join("outside");
    symlink(&outside, dir.join("link")).expect("link");
    symlink(&outside, dir.join("outbox/link")).expect("link");
    symlink(outside.join("mine"), dir.join("to-a-file")).expect("link");
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    fs::create_dir_all(dir.join("closed/in")).expect("folder");
    fs::write(dir.join("closed/in/file"), "x").expect("file");
    for closed in ["closed/in", "closed"] {
        fs::set_permissions(dir.join(closed), Permissions::from_mode(0o000)).expect("mode");
    }
    fs::File::create(dir.join("huge")).and_then(|file| file.set_len(5 << 30)).expect("sparse");
    let measured = measure(&dir).expect("measured");
    assert!(measured.bytes < 1 << 20, "what takes no room frees none: {measured:?}");
    assert_eq!(remove(&dir, &mut always).expect("removed"), Came::Through);
    assert_eq!(names(base.path()), ["outside/mine"]);
    assert_eq!(fs::read_to_string(outside.join("mine")).expect("file"), "precious");
}

#[test]
fn a_link_in_a_runs_place_is_no_run() {
    let (base, dir) = world();
    let outside = base.path().join("outside");
    remove(&dir, &mut always).expect("removed");
    symlink(&outside, &dir).expect("link");
    assert_eq!(measure(&dir), None);
    assert_eq!(remove(&dir, &mut always).expect("left alone"), Came::Through);
    assert_eq!(strip(&dir, &mut always).expect("left alone"), Came::Through);
    assert!(dir.is_symlink());
    assert_eq!(names(&outside), ["mine"]);
}

#[test]
fn a_compressed_log_holds_the_same_and_is_as_old() {
    let (_base, dir) = world();
    let log = dir.join("stdout.log");
    let long = "a line that is like the one before\n".repeat(40_000);
    fs::write(&log, &long).expect("log");
    let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    fs::File::options().write(true).open(&log).and_then(|file| file.set_modified(old)).expect("time");
    let mut parts = 1;
    let mut short = || {
        parts -= 1;
        parts >= 0
    };
    assert_eq!(compress(&log, &mut short).expect("begun"), Came::Short);
    assert_eq!((names(&dir).len(), log.exists()), (8, true), "nothing is left of it: {:?}", names(&dir));
    // Killed before the log went, both are there; done again it is the same.
    assert_eq!(compress(&log, &mut always).expect("compressed"), Came::Through);
    fs::write(&log, &long).expect("log");
    fs::File::options().write(true).open(&log).and_then(|file| file.set_modified(old)).expect("time");
    assert_eq!(compress(&log, &mut always).expect("compressed"), Came::Through);
    assert_eq!(compress(&log, &mut always).expect("compressed twice"), Came::Through);
    assert!(!log.exists());
    let mut text = String::new();
    open_packed(&log).expect("open").expect("packed").read_to_string(&mut text).expect("read");
    assert_eq!(text, long);
    let packed = fs::metadata(packed(&log)).expect("meta");
    assert_eq!(packed.modified().expect("time"), old);
    assert_eq!(packed.permissions().mode() & 0o777, 0o600);
    assert!(packed.len() < 10_000);
}

#[test]
fn what_is_no_log_is_refused() {
    let (base, dir) = world();
    let log = dir.join("stderr.log");
    fs::remove_file(&log).expect("removed");
    symlink(base.path().join("outside/mine"), &log).expect("link");
    let error = compress(&log, &mut always).expect_err("a link");
    assert!(error.to_string().contains("stderr.log") && error.to_string().contains("symbolic link"), "{error}");
    assert_eq!(measure(&dir).map(|measured| measured.plain), measure(&dir).map(|measured| measured.plain));
    assert!(log.is_symlink());
}
