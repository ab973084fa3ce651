//! A tick that is killed with -9 at each of its git processes, and the next one that finishes its work.
//!
//! The test binary starts itself again as the victim; a stand-in for git kills it at the chosen process.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use autometta::core::ids::CommitId;
use autometta::git::{Git, Landed, Landing, LandingOrder, RefName, Repo, WorktreeSpec};
use chrono::DateTime;

use super::support::{World, commit_of, executable, main, remove, write};

/// Set for the victim: the folder of its world.
const VICTIM: &str = "AUTOMETTA_TEST_VICTIM";

/// What a whole stage asks of the git layer, from a base that the state remembers.
fn stage(repo: &Repo, world: &Path, base: &CommitId) -> CommitId {
    let path = world.join("trees/01-a");
    let check = world.join("trees/check");
    let branch = Some("autometta/01-a".to_owned());
    repo.ensure_worktree(&WorktreeSpec { path: path.clone(), commit: base.clone(), branch }).expect("worktree");
    write(&path.join("a.txt"), "landed\n");
    write(&path.join("new/file"), "n\n");
    fs::remove_dir_all(path.join("dir")).ok();
    let capture = repo.capture(&path, base, &[]).expect("capture");
    let commit = repo.write_commit(&commit_of(&capture.tree, base, "Land it")).expect("commit");
    repo.ensure_worktree(&WorktreeSpec { path: check.clone(), commit: commit.clone(), branch: None }).expect("check");
    let order = LandingOrder { branch: "main".into(), parent: base.clone(), commit: commit.clone() };
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!(repo.landed(&order).expect("landed"), Landed::Yes);
    let state = RefName::new("refs/autometta/state").expect("name");
    let at = DateTime::from_timestamp(1_800_000_000, 0).expect("time");
    repo.snapshot(&state, &[("state.yaml".into(), b"landed".to_vec())], "Snapshot", at).expect("snapshot");
    repo.remove_worktree(&check).expect("removed");
    repo.remove_worktree(&path).expect("removed");
    commit
}

fn open(world: &Path, git: Git) -> Repo {
    Repo::open(&world.join("repo"), &world.join("scratch"), git.with_home(&world.join("home"))).expect("repository")
}

/// Not a test of its own: the process that is killed. Started by hand it has nothing to do.
#[test]
fn victim() {
    let Some(world) = env::var_os(VICTIM).map(PathBuf::from) else { return };
    let base = fs::read_to_string(world.join("base")).expect("base").parse().expect("id");
    stage(&open(&world, Git::from_environment().with_program(&world.join("git.sh"))), &world, &base);
}

/// Runs a stage that is killed while its `at`th git process runs, or right after that has ended;
/// says whether there was such a process.
fn killed_at(world: &World, at: usize, when: &str) -> bool {
    let dir = world.dir.path().canonicalize().expect("path");
    let (before, after) = if when == "after" { ("", "kill -9 $PPID") } else { ("kill -9 $PPID", "") };
    let script = format!(
        "#!/bin/sh\nn=$(($(cat '{dir}/count') + 1))\necho $n > '{dir}/count'\n\
         if [ $n != {at} ]; then exec git \"$@\"; fi\n\
         {before}\ngit \"$@\"\ncode=$?\n{after}\n: > '{dir}/over'\nexit $code\n",
        dir = dir.display()
    );
    executable(&dir.join("git.sh"), &script);
    write(&dir.join("count"), "0");
    write(&dir.join("base"), main(&world.open()).as_str());
    let status = Command::new(env::current_exe().expect("test binary"))
        .args(["--exact", "crashes::victim", "--quiet"])
        .env(VICTIM, &dir)
        .output()
        .expect("victim")
        .status;
    if status.success() {
        return false;
    }
    let limit = Instant::now() + Duration::from_secs(30);
    while !dir.join("over").exists() {
        assert!(Instant::now() < limit, "the git that outlived its tick never ended");
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

#[test]
fn a_stage_killed_at_any_git_process_ends_as_if_it_had_not_been() {
    for when in ["during", "after"] {
        for at in 1.. {
            let world = World::new();
            write(&world.top.join("mine.txt"), "staged\n");
            world.git(&["add", "mine.txt"]);
            let base = main(&world.open());
            if !killed_at(&world, at, when) {
                assert!(at > 20, "only {at} processes: the stand-in was not used");
                break;
            }
            let case = format!("{when} process {at}");
            let dir = world.dir.path().canonicalize().expect("path");
            let commit = stage(&open(&dir, Git::from_environment()), &dir, &base);
            assert_eq!(world.git(&["rev-parse", "main", "main~1"]), format!("{commit}\n{base}"), "{case}");
            assert_eq!(world.status(), "A  mine.txt", "{case}");
            assert_eq!(world.read("a.txt").as_deref(), Some("landed\n"), "{case}");
            assert_eq!(world.git(&["rev-list", "--count", "refs/autometta/state"]), "1", "{case}");
            assert_eq!(world.git(&["worktree", "list"]).lines().count(), 1, "{case}");
            assert_eq!(world.git(&["fsck", "--strict", "--no-dangling"]), "", "{case}");
            for name in
                ["index.lock", "autometta-landing", "autometta-index", "autometta-index.lock", "autometta-staging"]
            {
                assert!(!world.top.join(".git").join(name).exists(), "{case}: {name}");
            }
            remove(&world.top);
        }
    }
}
