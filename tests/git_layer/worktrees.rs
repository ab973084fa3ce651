//! Worktrees appear whole, are found again after a crash, and nobody else's folder is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use autometta::git::{GitError, WorktreeSpec};

use super::support::{World, main, mode, remove, write};

fn admin_of(world: &World) -> PathBuf {
    let worktrees = fs::read_dir(world.top.join(".git/worktrees")).expect("worktrees");
    let mut ours = worktrees.flatten().map(|entry| entry.path()).filter(|path| path.join("autometta-claim").exists());
    ours.next().expect("administration of ours")
}

#[test]
fn a_worktree_is_whole_clean_and_private() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    assert_eq!(world.git_in(&path, &["status", "--porcelain", "--ignored"]), "!! .autometta/");
    assert_eq!(world.git_in(&path, &["symbolic-ref", "HEAD"]), "refs/heads/autometta/01-a");
    assert_eq!(fs::read_to_string(path.join(".autometta/.gitignore")).expect("file"), "*\n");
    assert_eq!(fs::read_dir(path.join(".autometta/outbox")).expect("outbox").count(), 0);
    assert!(world.git(&["worktree", "list"]).contains("[autometta/01-a]"));
    assert_eq!(world.git(&["worktree", "prune", "-v"]), "");
    let before = repo.processes();
    assert!(repo.worktree_ready(&path).expect("ready") && !repo.worktree_ready(&world.worktree("x")).expect("ready"));
    assert_eq!(repo.processes(), before);

    let path = world.worktree("check");
    let spec = WorktreeSpec { path: path.clone(), commit: main(&repo), branch: None };
    repo.ensure_worktree(&spec).expect("worktree");
    assert_eq!(world.git_in(&path, &["rev-parse", "HEAD"]), main(&repo).as_str());
    assert!(!world.try_git_in(&path, &["symbolic-ref", "-q", "HEAD"]).status.success());
}

#[test]
fn a_complete_worktree_is_kept_and_another_order_replaces_it() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    write(&path.join("work.txt"), "w\n");
    let before = repo.processes();
    repo.ensure_worktree(&world.spec(&repo, "01-a")).expect("kept");
    assert!(path.join("work.txt").exists());
    assert_eq!(repo.processes(), before);
    world.commit("moved on");
    repo.ensure_worktree(&world.spec(&repo, "01-a")).expect("replaced");
    assert!(!path.join("work.txt").exists());
    assert_eq!(world.git(&["rev-parse", "autometta/01-a"]), main(&repo).as_str());
}

#[test]
fn an_interrupted_creation_is_redone() {
    // What is missing after a crash at successive points, latest first.
    let lost: [&[&str]; 6] = [
        &["autometta-ready"],
        &["autometta-ready", "index"],
        &["autometta-ready", "index", "HEAD"],
        &["autometta-ready", "index", "autometta-claim"],
        &["autometta-ready", "index", "autometta-claim", "HEAD", "commondir"],
        &["autometta-ready", "index", "autometta-claim", "HEAD", "commondir", "gitdir"],
    ];
    for (case, files) in lost.iter().enumerate() {
        let world = World::new();
        let repo = world.open();
        let path = world.cut(&repo, "01-a");
        let admin = admin_of(&world);
        for file in *files {
            remove(&admin.join(file));
        }
        write(&admin.join("locked"), "autometta is making this worktree");
        match case {
            0 => remove(&path.join("a.txt")),
            1 | 2 => write(&path.join("a.txt"), "half"),
            // Before the claim nothing is in the folder yet.
            _ => {
                remove(&path);
                fs::create_dir(&path).expect("folder");
            }
        }
        assert!(!repo.worktree_ready(&path).expect("ready"));
        repo.ensure_worktree(&world.spec(&repo, "01-a")).expect("redone");
        assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "", "case {case}");
        remove(&admin.join("autometta-ready"));
        repo.remove_worktree(&path).expect("removed");
        assert!(!path.exists() && !admin.exists(), "case {case}");
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let world = World::new();
    let repo = world.open();
    let foreign = world.worktree("01-a");
    write(&foreign.join("precious"), "p");
    let error = repo.ensure_worktree(&world.spec(&repo, "01-a")).expect_err("refused");
    assert!(matches!(error, GitError::NotOurs { .. }), "{error}");
    assert!(matches!(repo.remove_worktree(&foreign), Err(GitError::NotOurs { .. })));
    assert!(foreign.join("precious").exists());

    // A worktree that the operator made.
    let theirs = world.worktree("02-b");
    world.git(&["worktree", "add", "-q", "-b", "x", theirs.to_str().expect("path")]);
    assert!(matches!(repo.remove_worktree(&theirs), Err(GitError::NotOurs { .. })));
    assert!(matches!(repo.remove_worktree(&world.top), Err(GitError::NotOurs { .. })));

    // A folder that took the place of ours.
    let path = world.cut(&repo, "03-c");
    fs::rename(&path, world.worktree("moved")).expect("moved");
    write(&path.join("precious"), "p");
    assert!(matches!(repo.remove_worktree(&path), Err(GitError::NotOurs { .. })));
    remove(&path);
    symlink(&world.top, &path).expect("link");
    assert!(matches!(repo.remove_worktree(&path), Err(GitError::NotOurs { .. })));
    assert_eq!(world.read("a.txt").as_deref(), Some("one\n"));

    // A run branch that the operator looks at.
    world.git(&["checkout", "-q", "-b", "autometta/04-d"]);
    let error = repo.ensure_worktree(&world.spec(&repo, "04-d")).expect_err("in use");
    assert!(matches!(error, GitError::BranchInUse { .. }), "{error}");
}

#[test]
fn removal_follows_no_link_and_is_stopped_by_no_permission() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    let outside = world.dir.path().join("outside");
    write(&outside.join("precious"), "p");
    symlink(&outside, path.join("link")).expect("link");
    write(&path.join("deep/er/file"), "f");
    for folder in ["deep/er", "deep", ""] {
        mode(&path.join(folder), 0o500);
    }
    repo.remove_worktree(&path).expect("removed");
    assert!(!path.exists() && outside.join("precious").exists());
    repo.remove_worktree(&path).expect("again");
    // Half removed by a killed tick: the files are gone, the administration is not.
    world.cut(&repo, "01-a");
    remove(&path);
    repo.remove_worktree(&path).expect("removed");
    assert!(!world.git(&["worktree", "list"]).contains("01-a"));
    world.cut(&repo, "01-a");
}

#[test]
fn a_tracked_link_in_place_of_our_folder_is_refused() {
    let world = World::new();
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).expect("folder");
    symlink(&outside, world.top.join(".autometta")).expect("link");
    world.commit("trap");
    let repo = world.open();
    assert!(matches!(repo.ensure_worktree(&world.spec(&repo, "01-a")), Err(GitError::BadPath { .. })));
    assert_eq!(fs::read_dir(&outside).expect("folder").count(), 0);
}

#[test]
fn odd_worktree_names_work() {
    let world = World::new();
    let repo = world.open();
    for name in ["with space", "ü", "line\nbreak", "quote'\""] {
        let path = world.worktree(name);
        let spec = WorktreeSpec { path: path.clone(), commit: main(&repo), branch: None };
        repo.ensure_worktree(&spec).expect(name);
        assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "", "{name}");
        repo.remove_worktree(&path).expect(name);
    }
}
