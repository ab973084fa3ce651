//! Which folders are repositories, and what their refs say.

use std::fs;
use std::os::unix::fs::symlink;

use autometta::git::{Expect, Git, GitError, Landing, Moved, ObjectFormat, RefName, Repo};

use super::support::{World, commit_of, main, remove, write};

#[test]
fn repositories_with_odd_names_and_shapes_are_served() {
    for name in ["with space", "quo\"te's", "ünïcode", "line\nbreak", "col:on", "-dash"] {
        let world = World::named(name, &[]);
        let repo = world.open();
        assert_eq!(repo.processes(), 0);
        let order = world.candidate(&repo, "01-a", |path| write(&path.join("a.txt"), "landed\n"));
        assert_eq!(repo.land(&order).expect("landing"), Landing::Done, "{name}");
        assert_eq!((world.read("a.txt").as_deref(), world.status().as_str()), (Some("landed\n"), ""), "{name}");
        let dry = repo.dry().expect("dry");
        let commit = dry.write_commit(&commit_of(
            &world.git(&["rev-parse", "main^{tree}"]).parse().expect("id"),
            &main(&repo),
            "Dry",
        ));
        assert!(dry.object_exists(&commit.expect("commit")).expect("exists"), "{name}");
    }
}

#[test]
fn links_linked_worktrees_and_submodules_are_served() {
    let world = World::new();
    let link = world.dir.path().join("link");
    symlink(&world.top, &link).expect("link");
    assert_eq!(world.open_at(&link).location().top, world.top);

    let linked = world.worktree("linked");
    world.git(&["worktree", "add", "-q", "-b", "feature", linked.to_str().expect("path")]);
    let repo = world.open_at(&linked);
    assert_eq!(repo.location().common_dir, world.top.join(".git"));
    assert_eq!(repo.current_branch().expect("branch").as_deref(), Some("feature"));
    let order = world.candidate(&repo, "01-a", |path| write(&path.join("a.txt"), "landed\n"));
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!((world.read("a.txt").as_deref(), world.status().as_str()), (Some("landed\n"), ""));

    let outer = World::new();
    let source = world.top.to_str().expect("path");
    outer.git(&["-c", "protocol.file.allow=always", "submodule", "add", "-q", source, "sub"]);
    outer.commit("submodule");
    let sub = outer.top.join("sub");
    let repo = outer.open_at(&sub);
    assert!(repo.location().git_dir.ends_with(".git/modules/sub"));
    let order = outer.candidate(&repo, "01-a", |path| write(&path.join("a.txt"), "in the submodule\n"));
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!(fs::read_to_string(sub.join("a.txt")).expect("file"), "in the submodule\n");
    // From a linked worktree of a submodule, the main one is found through its settings.
    let linked = outer.worktree("linked");
    outer.git_in(&sub, &["worktree", "add", "-q", "--detach", linked.to_str().expect("path")]);
    let repo = outer.open_at(&linked);
    let order = outer.candidate(&repo, "02-b", |path| write(&path.join("a.txt"), "again\n"));
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!(fs::read_to_string(sub.join("a.txt")).expect("file"), "again\n");
    // In the outer repository the moved submodule is the operator's business.
    let repo = outer.open();
    let path = outer.cut(&repo, "03-c");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert!(capture.changed.is_empty() && capture.embedded.is_empty(), "{capture:?}");
}

#[test]
fn what_is_no_repository_is_refused_with_a_sentence() {
    let world = World::new();
    let dir = world.dir.path();
    fs::create_dir(dir.join("plain")).expect("folder");
    world.git_in(dir, &["init", "-q", "--bare", "bare"]);
    write(&dir.join("broken/.git"), "gitdir: /nonexistent\n");
    for (path, expected) in [
        ("plain", "it has no `.git`"),
        ("bare", "bare repository"),
        ("broken", "does not exist"),
        ("absent", "there is no such folder"),
        ("repo/dir", "lies inside the repository"),
        ("repo/.git", "bare repository"),
    ] {
        let error =
            Repo::open(&dir.join(path), &dir.join("scratch"), Git::from_environment()).expect_err(path).to_string();
        assert!(error.contains(expected) && error.contains(path), "{path}: {error}");
    }
}

#[test]
fn tips_are_read_without_git_wherever_they_are_kept() {
    let world = World::new();
    let repo = world.open();
    let first = main(&repo);
    world.git(&["branch", "packed"]);
    world.git(&["pack-refs", "--all"]);
    assert_eq!(repo.tip("packed").expect("tip"), Some(first.clone()));
    let second = world.commit("second");
    assert_eq!(main(&repo), second);
    assert_eq!(repo.tip("absent").expect("tip"), None);
    assert_eq!(repo.tip("absent/deeper").expect("tip"), None);
    assert_eq!(repo.processes(), 0);
    world.git(&["symbolic-ref", "refs/heads/alias", "refs/heads/packed"]);
    assert_eq!(repo.tip("alias").expect("tip"), Some(first));
    assert!(repo.tip("../../HEAD").is_err());
    world.git(&["checkout", "-q", "--detach"]);
    assert_eq!(repo.current_branch().expect("branch"), None);
}

#[test]
fn other_formats_and_an_unborn_branch_work() {
    let world = World::named("sha256", &["--object-format=sha256"]);
    let repo = world.open();
    assert_eq!(repo.object_format().expect("format"), ObjectFormat::Sha256);
    let order = world.candidate(&repo, "01-a", |path| {
        write(&path.join("a.txt"), "landed\n");
        remove(&path.join("dir/b.txt"));
    });
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!(world.status(), "");

    let world = World::new();
    world.git(&["checkout", "-q", "--orphan", "unborn"]);
    let repo = world.open();
    assert_eq!(repo.tip("unborn").expect("tip"), None);
    assert_eq!(repo.current_branch().expect("branch").as_deref(), Some("unborn"));
}

#[test]
fn refs_in_tables_work() {
    let probe = World::new();
    if !probe.try_git_in(&probe.top, &["init", "-q", "--ref-format=reftable", "probe"]).status.success() {
        return;
    }
    let world = World::named("tables", &["--ref-format=reftable"]);
    let repo = world.open();
    let path = world.cut(&repo, "00-z");
    assert_eq!(world.git_in(&path, &["symbolic-ref", "HEAD"]), "refs/heads/autometta/00-z");
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "");
    let order = world.candidate(&repo, "01-a", |path| write(&path.join("a.txt"), "landed\n"));
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!((world.read("a.txt").as_deref(), world.status().as_str()), (Some("landed\n"), ""));
    assert_eq!(repo.current_branch().expect("branch").as_deref(), Some("main"));
}

#[test]
fn refs_move_by_compare_and_swap() {
    let world = World::new();
    let repo = world.open();
    let (first, second) = (main(&repo), world.commit("second"));
    let name = RefName::branch("wip/01-a-attempt-1").expect("name");
    let no = |found: &_| Moved::No { found: Some(Clone::clone(found)) };
    assert_eq!(repo.set_ref(&name, &first, &Expect::Is(second.clone())).expect("moved"), Moved::No { found: None });
    assert_eq!(repo.set_ref(&name, &first, &Expect::Absent).expect("moved"), Moved::Yes);
    assert_eq!(repo.set_ref(&name, &first, &Expect::Absent).expect("again"), Moved::Yes);
    assert_eq!(repo.set_ref(&name, &second, &Expect::Absent).expect("moved"), no(&first));
    assert_eq!(repo.set_ref(&name, &second, &Expect::Is(first.clone())).expect("moved"), Moved::Yes);
    assert_eq!(repo.set_ref(&name, &first, &Expect::Anything).expect("moved"), Moved::Yes);
    assert_eq!(repo.delete_ref(&name, &Expect::Is(second)).expect("kept"), no(&first));
    assert_eq!(repo.delete_ref(&name, &Expect::Is(first.clone())).expect("deleted"), Moved::Yes);
    assert_eq!(repo.delete_ref(&name, &Expect::Is(first)).expect("again"), Moved::Yes);
}

#[test]
fn the_committer_is_the_operator_s_or_an_error_that_says_how() {
    let world = World::new();
    assert_eq!(world.open().committer().expect("committer").to_string(), "Op Erator <op@example.org>");
    world.git(&["config", "--unset", "user.name"]);
    let error = world.open().committer().expect_err("none");
    assert!(matches!(error, GitError::NoIdentity { .. }) && error.to_string().contains("git config --global"));
    write(&world.home().join(".gitconfig"), "[user]\n\tname = Global\n");
    assert_eq!(world.open().committer().expect("committer").name(), "Global");
}
