//! Landing beside an operator at work, and after crashes at every point.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use autometta::core::ids::CommitId;
use autometta::git::{Expect, Git, GitError, Landed, Landing, LandingOrder, Moved, Recovery, RefName, Repo};

use super::support::{World, executable, main, remove, write};

fn land(repo: &Repo, order: &LandingOrder) -> Landing {
    repo.land(order).expect("landing")
}

fn note(order: &LandingOrder) -> String {
    format!("autometta landing, version 1\nbranch {}\nparent {}\ncommit {}\n", order.branch, order.parent, order.commit)
}

fn assert_nothing_left(world: &World) {
    let left: Vec<_> = fs::read_dir(world.top.join(".git"))
        .expect("git dir")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("autometta") || name == "index.lock")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Touches `a.txt`, removes `dir/b.txt` and with it the folder, adds a script and a link.
fn usual(world: &World, repo: &Repo) -> LandingOrder {
    world.candidate(repo, "01-a", |path| {
        write(&path.join("a.txt"), "landed\n");
        remove(&path.join("dir/b.txt"));
        executable(&path.join("bin/run"), "#!/bin/sh\n");
        symlink("a.txt", path.join("link")).expect("link");
    })
}

fn assert_usual(world: &World) {
    assert_eq!(world.read("a.txt").as_deref(), Some("landed\n"));
    assert!(!world.top.join("dir").exists());
    assert_eq!(fs::read_link(world.top.join("link")).expect("link"), Path::new("a.txt"));
    let mode = fs::metadata(world.top.join("bin/run")).expect("script").permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}

#[test]
fn the_checkout_comes_along_and_other_edits_are_kept() {
    let world = World::new();
    world.write("mine.txt", "m\n");
    world.write("staged.txt", "s\n");
    world.write("doomed.txt", "d\n");
    world.commit("operator's files");
    let repo = world.open();
    let order = usual(&world, &repo);
    world.write("mine.txt", "edited\n");
    world.write("staged.txt", "half\n");
    world.git(&["add", "staged.txt"]);
    world.write("staged.txt", "whole\n");
    world.git(&["rm", "-q", "--cached", "doomed.txt"]);
    world.write("untracked.txt", "u\n");
    world.write("intended.txt", "i\n");
    world.git(&["add", "-N", "intended.txt"]);
    let before = world.status();
    assert_eq!(repo.landed(&order).expect("landed"), Landed::No);
    assert_eq!(land(&repo, &order), Landing::Done);
    assert_eq!(world.status(), before);
    assert_eq!(world.git(&["show", ":staged.txt"]), "half");
    assert_usual(&world);
    assert_eq!(world.git(&["rev-parse", "HEAD"]), order.commit.as_str());
    assert_eq!(repo.landed(&order).expect("landed"), Landed::Yes);
    assert_nothing_left(&world);
    assert_eq!(land(&repo, &order), Landing::Done);
    assert!(world.git(&["reflog", "-1", "HEAD"]).contains("autometta"));
}

#[test]
fn an_edit_in_a_touched_path_waits() {
    let edits: [(&str, fn(&World)); 9] = [
        ("a.txt", |world| world.write("a.txt", "mine\n")),
        ("a.txt", |world| {
            world.write("a.txt", "mine\n");
            world.git(&["add", "a.txt"]);
            world.write("a.txt", "one\n");
        }),
        ("a.txt", |world| remove(&world.top.join("a.txt"))),
        ("a.txt", |world| super::support::mode(&world.top.join("a.txt"), 0o755)),
        ("dir/b.txt", |world| world.write("dir/b.txt", "mine\n")),
        ("bin/run", |world| world.write("bin/run", "untracked\n")),
        ("bin/run", |world| world.write("bin", "a file in the way\n")),
        ("link", |world| world.write("link/inside", "a folder in the way\n")),
        ("bin/run", |world| {
            symlink("/tmp", world.top.join("bin")).expect("link");
        }),
    ];
    for (case, (path, edit)) in edits.into_iter().enumerate() {
        let world = World::new();
        let repo = world.open();
        let order = usual(&world, &repo);
        edit(&world);
        let before = (world.status(), world.git(&["write-tree"]));
        match land(&repo, &order) {
            Landing::Dirty { paths, checkout } => {
                assert_eq!(paths, [path], "case {case}");
                assert_eq!(checkout, world.top);
            }
            other => panic!("case {case}: {other:?}"),
        }
        assert_eq!((world.status(), world.git(&["write-tree"])), before, "case {case}");
        assert_eq!(main(&repo), order.parent);
        assert_nothing_left(&world);
        world.git(&["reset", "-q", "--hard"]);
        world.git(&["clean", "-fdq"]);
        assert_eq!(land(&repo, &order), Landing::Done, "case {case}");
        assert_eq!(world.status(), "", "case {case}");
    }
}

#[test]
fn an_edit_that_git_was_told_not_to_look_for_waits_too() {
    for flag in ["--skip-worktree", "--assume-unchanged"] {
        let world = World::new();
        let repo = world.open();
        let order = usual(&world, &repo);
        world.git(&["update-index", flag, "a.txt", "dir/b.txt"]);
        world.write("a.txt", "mine\n");
        world.write("dir/b.txt", "mine\n");
        assert_eq!(world.status(), "", "git shows nothing");
        match land(&repo, &order) {
            Landing::Dirty { paths, .. } => assert_eq!(paths, ["a.txt", "dir/b.txt"], "{flag}"),
            other => panic!("{flag}: {other:?}"),
        }
        assert_eq!(world.read("a.txt").as_deref(), Some("mine\n"), "{flag}");
        assert_eq!(world.read("dir/b.txt").as_deref(), Some("mine\n"), "{flag}");
        world.write("a.txt", "one\n");
        world.write("dir/b.txt", "two\n");
        assert_eq!(land(&repo, &order), Landing::Done, "{flag}");
        assert_usual(&world);
        assert_eq!(world.status(), "", "{flag}");
    }
}

#[test]
fn edits_that_already_are_what_lands_do_not_wait() {
    let world = World::new();
    let repo = world.open();
    let order = usual(&world, &repo);
    world.write("a.txt", "landed\n");
    executable(&world.top.join("bin/run"), "#!/bin/sh\n");
    remove(&world.top.join("dir/b.txt"));
    assert_eq!(land(&repo, &order), Landing::Done);
    assert_usual(&world);
    assert_eq!(world.status(), "");
}

#[test]
fn a_crash_at_any_point_is_finished_by_the_next_call() {
    // What a killed tick may leave: the note, the lock, the moved branch, some of the files, the index.
    let stages: [(&str, fn(&World, &Repo, &LandingOrder)); 8] = [
        ("note", |world, _, order| write(&world.top.join(".git/autometta-landing"), &note(order))),
        ("torn note", |world, _, _| write(&world.top.join(".git/autometta-landing.new"), "autometta la")),
        ("lock", |world, _, order| {
            write(&world.top.join(".git/autometta-landing"), &note(order));
            write(&world.top.join(".git/index.lock"), &note(order));
        }),
        ("staging", |world, _, order| {
            write(&world.top.join(".git/autometta-landing"), &note(order));
            write(&world.top.join(".git/index.lock"), &note(order));
            write(&world.top.join(".git/autometta-staging/new/a.txt"), "torn");
            write(&world.top.join(".git/autometta-index.lock"), "torn");
        }),
        ("branch", |world, repo, order| {
            write(&world.top.join(".git/autometta-landing"), &note(order));
            write(&world.top.join(".git/index.lock"), &note(order));
            let name = RefName::branch("main").expect("name");
            repo.set_ref(&name, &order.commit, &Expect::Is(order.parent.clone())).expect("moved");
        }),
        ("half of the files", |world, repo, order| {
            write(&world.top.join(".git/autometta-landing"), &note(order));
            write(&world.top.join(".git/index.lock"), &note(order));
            let name = RefName::branch("main").expect("name");
            repo.set_ref(&name, &order.commit, &Expect::Is(order.parent.clone())).expect("moved");
            remove(&world.top.join("dir/b.txt"));
            executable(&world.top.join("bin/run"), "#!/bin/sh\n");
        }),
        ("half of the files, lock removed by hand", |world, repo, order| {
            write(&world.top.join(".git/autometta-landing"), &note(order));
            let name = RefName::branch("main").expect("name");
            repo.set_ref(&name, &order.commit, &Expect::Is(order.parent.clone())).expect("moved");
            write(&world.top.join("a.txt"), "landed\n");
        }),
        ("all but the lock", |world, repo, order| {
            assert_eq!(land(repo, order), Landing::Done);
            write(&world.top.join(".git/index.lock"), &note(order));
        }),
    ];
    for (case, crash) in stages {
        for mode in ["land", "recover"] {
            let world = World::new();
            let repo = world.open();
            let order = usual(&world, &repo);
            world.write("mine.txt", "untracked\n");
            crash(&world, &repo, &order);
            let moved = main(&repo) == order.commit;
            let landed = repo.landed(&order).expect("landed");
            assert_eq!(landed, if moved { Landed::Unfinished } else { Landed::No }, "{case}");
            if mode == "recover" {
                assert_eq!(repo.recover_landings().expect("recovered"), Recovery::Clean);
                assert_eq!(world.status(), "?? mine.txt", "{case}");
                assert!(!world.top.join(".git/index.lock").exists(), "{case}");
                assert_eq!(main(&repo) == order.commit, moved, "{case}");
            }
            assert_eq!(land(&repo, &order), Landing::Done, "{case}");
            assert_usual(&world);
            assert_eq!(world.status(), "?? mine.txt", "{case}");
            assert_eq!(repo.landed(&order).expect("landed"), Landed::Yes, "{case}");
        }
    }
}

#[test]
fn an_edit_made_after_a_crash_is_never_overwritten() {
    let world = World::new();
    let repo = world.open();
    let order = usual(&world, &repo);
    write(&world.top.join(".git/autometta-landing"), &note(&order));
    write(&world.top.join(".git/index.lock"), &note(&order));
    let name = RefName::branch("main").expect("name");
    repo.set_ref(&name, &order.commit, &Expect::Is(order.parent.clone())).expect("moved");
    world.write("a.txt", "typed in between\n");
    world.write("bin", "typed too\n");
    assert_eq!(land(&repo, &order), Landing::Done);
    assert_eq!(world.read("a.txt").as_deref(), Some("typed in between\n"));
    assert_eq!(world.read("bin").as_deref(), Some("typed too\n"));
    assert!(!world.top.join("dir").exists() && world.top.join("link").is_symlink());
}

#[test]
fn somebody_else_s_lock_or_operation_waits() {
    let world = World::new();
    let repo = world.open();
    let order = usual(&world, &repo);
    let busy = |what: &str| match land(&repo, &order) {
        Landing::Busy { why } => assert!(why.contains(what), "{why}"),
        other => panic!("{what}: {other:?}"),
    };
    write(&world.top.join(".git/index.lock"), "");
    busy("index.lock");
    assert!(world.top.join(".git/index.lock").exists());
    remove(&world.top.join(".git/index.lock"));

    // A rebase that stopped at a conflict, whose HEAD is detached meanwhile.
    world.git(&["checkout", "-q", "-b", "side"]);
    world.write("a.txt", "side\n");
    world.commit("side");
    world.git(&["checkout", "-q", "main"]);
    let parent = main(&repo);
    world.write("a.txt", "main\n");
    let tip = world.commit("main");
    assert!(!world.try_git_in(&world.top, &["rebase", "side"]).status.success());
    let order = LandingOrder { parent: tip.clone(), ..order.clone() };
    assert!(matches!(repo.land(&order), Err(GitError::NotAChild { .. })));
    let tree = world.git(&["rev-parse", "main^{tree}"]).parse().expect("id");
    let commit = repo.write_commit(&super::support::commit_of(&tree, &tip, "Nothing")).expect("commit");
    let order = LandingOrder { branch: "main".into(), parent: tip, commit };
    let why = land(&repo, &order);
    assert!(matches!(&why, Landing::Busy { why } if why.contains("rebase")), "{why:?}");
    world.git(&["rebase", "--abort"]);
    assert!(!world.try_git_in(&world.top, &["merge", "side"]).status.success());
    let why = land(&repo, &order);
    assert!(matches!(&why, Landing::Busy { why } if why.contains("merge")), "{why:?}");
    world.git(&["merge", "--abort"]);
    world.git(&["bisect", "start"]);
    let why = land(&repo, &order);
    assert!(matches!(&why, Landing::Busy { why } if why.contains("bisection")), "{why:?}");
    world.git(&["bisect", "reset"]);
    assert_eq!(land(&repo, &order), Landing::Done);
    assert_ne!(parent, main(&repo));
}

#[test]
fn a_branch_that_moved_is_left_alone() {
    let world = World::new();
    let repo = world.open();
    let order = usual(&world, &repo);
    write(&world.top.join(".git/autometta-landing"), &note(&order));
    write(&world.top.join(".git/index.lock"), &note(&order));
    assert_eq!(repo.recover_landings().expect("recovered"), Recovery::Clean);
    let tip = world.commit("operator was faster");
    assert_eq!(land(&repo, &order), Landing::Moved { tip: Some(tip.clone()) });
    assert_eq!((world.status().as_str(), main(&repo)), ("", tip));
    assert_nothing_left(&world);
    let gone = LandingOrder { branch: "absent".into(), ..order };
    assert_eq!(land(&repo, &gone), Landing::Moved { tip: None });
}

#[test]
fn commits_on_top_of_a_landing_leave_it_landed() {
    let world = World::new();
    let repo = world.open();
    let order = usual(&world, &repo);
    assert_eq!(land(&repo, &order), Landing::Done);
    world.commit("on top");
    assert_eq!(repo.landed(&order).expect("landed"), Landed::Yes);
    assert_eq!(land(&repo, &order), Landing::Done);
}

#[test]
fn every_checkout_of_the_branch_comes_along_and_no_other_moves() {
    let world = World::new();
    let repo = world.open();
    world.git(&["checkout", "-q", "--detach"]);
    let linked = world.worktree("operator");
    world.git(&["worktree", "add", "-q", linked.to_str().expect("path"), "main"]);
    let order = usual(&world, &repo);
    write(&linked.join("mine.txt"), "m\n");
    assert_eq!(land(&repo, &order), Landing::Done);
    assert_eq!(fs::read_to_string(linked.join("a.txt")).expect("file"), "landed\n");
    assert_eq!(world.git_in(&linked, &["status", "--porcelain"]), "?? mine.txt");
    assert_eq!((world.read("a.txt").as_deref(), world.status().as_str()), (Some("one\n"), ""));
}

#[test]
fn a_checkout_that_cannot_come_along_keeps_no_other_one_waiting() {
    let world = World::new();
    let repo = world.open();
    let linked = world.worktree("operator");
    world.git(&["worktree", "add", "-q", "--force", linked.to_str().expect("path"), "main"]);
    let order = usual(&world, &repo);
    assert_eq!(land(&repo, &order), Landing::Done);
    // As it is when the tick was killed once the branch had moved, and something stands in the way of the main checkout.
    for top in [&world.top, &linked] {
        world.git_in(top, &["read-tree", "--reset", "-u", order.parent.as_str()]);
    }
    let admin = world.top.join(".git/worktrees/operator");
    write(&world.top.join(".git/autometta-landing"), &note(&order));
    write(&admin.join("autometta-landing"), &note(&order));
    write(&world.top.join(".git/autometta-staging"), "");
    write(&world.top.join(".git/autometta-index.lock/in"), "the way");
    assert!(repo.recover_landings().is_err());
    assert_eq!(fs::read_to_string(linked.join("a.txt")).expect("file"), "landed\n");
    assert_eq!(world.git_in(&linked, &["status", "--porcelain"]), "");
    remove(&world.top.join(".git/autometta-index.lock"));
    assert_eq!(repo.recover_landings().expect("recovered"), Recovery::Clean);
    assert_usual(&world);
    assert_eq!(world.status(), "");
    assert_nothing_left(&world);
}

#[test]
fn files_and_folders_change_places_in_a_checkout() {
    let world = World::new();
    let repo = world.open();
    let order = world.candidate(&repo, "01-a", |path| {
        remove(&path.join("a.txt"));
        write(&path.join("a.txt/inside"), "i\n");
        remove(&path.join("dir"));
        write(&path.join("dir"), "file now\n");
    });
    write(&world.top.join("dir/untracked"), "u\n");
    assert!(matches!(land(&repo, &order), Landing::Dirty { paths, .. } if paths == ["dir"]));
    remove(&world.top.join("dir/untracked"));
    assert_eq!(land(&repo, &order), Landing::Done);
    assert_eq!(
        (world.read("a.txt/inside").as_deref(), world.read("dir").as_deref()),
        (Some("i\n"), Some("file now\n"))
    );
    assert_eq!(world.status(), "");
}

#[test]
fn unusual_indexes_and_settings_are_kept_or_understood() {
    for settings in [
        &[&["config", "core.autocrlf", "true"][..]][..],
        &[&["update-index", "--split-index"]],
        &[&["sparse-checkout", "set", "--no-cone", "/a.txt", "/bin"]],
        &[&["update-index", "--index-version", "4"]],
        &[&["config", "core.autocrlf", "true"], &["rm", "-rq", "--cached", "."], &["reset", "-q", "--hard"]],
    ] {
        let world = World::new();
        for command in settings {
            world.git(command);
        }
        let repo = world.open();
        let order = world.candidate(&repo, "01-a", |path| {
            write(&path.join("a.txt"), "landed\n");
            write(&path.join("dir/b.txt"), "landed\n");
            write(&path.join("line\nbreak"), "n\n");
        });
        assert_eq!(world.status(), "", "{settings:?}");
        assert_eq!(land(&repo, &order), Landing::Done, "{settings:?}");
        assert_eq!(world.status(), "", "{settings:?}");
        assert!(world.read("a.txt").is_some_and(|text| text.starts_with("landed")));
        assert_eq!(world.top.join("dir/b.txt").exists(), !settings[0].contains(&"set"), "{settings:?}");
    }
}

#[test]
fn a_ref_that_is_elsewhere_is_not_moved() {
    let world = World::new();
    let repo = world.open();
    let order = usual(&world, &repo);
    let name = RefName::branch("main").expect("name");
    let other = world.commit("other");
    assert_eq!(
        repo.set_ref(&name, &order.commit, &Expect::Is(order.parent.clone())).expect("answer"),
        Moved::No { found: Some(other) }
    );
}

#[test]
fn a_base_that_moves_at_the_last_moment_is_not_moved_back() {
    let world = World::new();
    let order = usual(&world, &world.open());
    let parent = order.parent.as_str();
    let other = world.git(&["commit-tree", "-p", parent, "-m", "operator was faster", &format!("{parent}^{{tree}}")]);
    // The operator's commit comes when everything was looked at, right before the branch is moved.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *update-ref*refs/heads/main*) git -C '{}' update-ref refs/heads/main {other};; esac\n\
         exec git \"$@\"\n",
        world.top.display()
    );
    let program = world.dir.path().join("git.sh");
    executable(&program, &script);
    let git = Git::from_environment().with_home(&world.home()).with_program(&program);
    let repo = Repo::open(&world.top, &world.dir.path().join("scratch"), git).expect("repository");
    let other: CommitId = other.parse().expect("id");
    assert_eq!(land(&repo, &order), Landing::Moved { tip: Some(other.clone()) });
    assert_eq!((world.status().as_str(), main(&repo)), ("", other));
    assert_eq!(world.read("a.txt").as_deref(), Some("one\n"));
    assert_nothing_left(&world);
}
