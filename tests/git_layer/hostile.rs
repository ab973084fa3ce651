//! A repository whose configuration and attributes name programs: none of them may ever run.

use std::fs;

use autometta::git::{Expect, Git, Landed, Landing, Rebase, RefName, Repo, WorktreeSpec};
use chrono::DateTime;

use super::support::{World, commit_of, executable, main, write};

/// Fills a repository with traps that write a canary file, after a base commit with the attributes was made.
fn booby_trapped() -> World {
    let world = World::new();
    world.write(".gitattributes", "* filter=evil diff=evil merge=evil text=auto ident\n");
    world.commit("attributes");
    let canary = world.dir.path().join("canary");
    let script = world.dir.path().join("evil.sh");
    executable(&script, &format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", canary.display()));
    let evil = script.to_str().expect("path");
    for name in [
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "diff.evil.textconv",
        "diff.evil.command",
        "merge.evil.driver",
        "diff.external",
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "gpg.program",
        "credential.helper",
        "core.askPass",
        "sequence.editor",
        "uploadpack.packObjectsHook",
        "merge.tool",
        "interactive.diffFilter",
        "log.showSignature",
    ] {
        world.git(&["config", name, evil]);
    }
    for alias in ["update-ref", "ls-files", "config", "read-tree", "status"] {
        world.git(&["config", &format!("alias.{alias}"), &format!("!{evil}")]);
    }
    world.git(&["config", "filter.evil.required", "true"]);
    world.git(&["config", "log.showSignature", "true"]);
    let hooks = world.dir.path().join("hooks");
    for hook in
        ["post-checkout", "pre-commit", "post-commit", "reference-transaction", "post-index-change", "post-merge"]
    {
        executable(&hooks.join(hook), &format!("#!/bin/sh\necho hook >> '{}'\n", canary.display()));
        executable(
            &world.top.join(".git/hooks").join(hook),
            &format!("#!/bin/sh\necho hook >> '{}'\n", canary.display()),
        );
    }
    world.git(&["config", "core.hooksPath", hooks.to_str().expect("path")]);
    write(&world.top.join(".git/info/attributes"), "* filter=evil diff=evil merge=evil\n");
    // The operator's own git may have sprung some of them just now.
    fs::remove_file(&canary).ok();
    world
}

#[test]
fn no_trap_is_ever_sprung() {
    let world = booby_trapped();
    let canary = world.dir.path().join("canary");
    let repo = world.open();
    let at = DateTime::from_timestamp(1_800_000_000, 0).expect("time");
    let check = |what: &str| {
        let sprung = fs::read_to_string(&canary);
        assert!(sprung.is_err(), "{what} ran: {}", sprung.unwrap_or_default());
    };

    let base = main(&repo);
    assert!(repo.current_branch().expect("branch").is_some());
    repo.committer().expect("committer");
    assert_eq!(repo.configured_filters().expect("filters"), ["evil"]);
    check("reading");

    let path = world.cut(&repo, "01-a");
    let check_path = world.worktree("check");
    repo.ensure_worktree(&WorktreeSpec { path: check_path.clone(), commit: base.clone(), branch: None })
        .expect("detached");
    check("ensure_worktree");

    write(&path.join("a.txt"), "changed\n");
    write(&path.join("new.txt"), "new\n");
    let nested = path.join("nested");
    fs::create_dir(&nested).expect("folder");
    world.git_in(&nested, &["init", "-q"]);
    let commit = ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x", "--allow-empty"];
    world.git_in(&nested, &commit);
    world.git_in(&nested, &["config", "core.fsmonitor", world.dir.path().join("evil.sh").to_str().expect("path")]);
    fs::remove_file(&canary).ok();
    let capture = repo.capture(&path, &base, &["new.txt".to_owned()]).expect("capture");
    check("capture");
    assert_eq!(capture.embedded, ["nested"]);
    let ours = repo.write_commit(&commit_of(&capture.tree, &base, "Ours")).expect("commit");
    check("write_commit");

    repo.diff_paths(&base, &ours).expect("paths");
    assert!(repo.diff_stat(&base, &ours, 10).expect("stat").contains("a.txt"));
    assert!(repo.diff(&base, &ours, 100_000).expect("diff").text.contains("+changed"));
    assert!(repo.object_exists(&ours).expect("exists") && repo.is_ancestor(&base, &ours).expect("ancestor"));
    check("diff");

    let side = repo.write_commit(&commit_of(&capture.tree, &base, "Side")).expect("commit");
    assert!(matches!(repo.rebase(&base, &base, &side).expect("rebase"), Rebase::Disjoint { .. }));
    assert!(matches!(repo.rebase(&base, &ours, &side).expect("rebase"), Rebase::Overlap { .. }));
    repo.merged_by_hand(&base, &base, &ours, &"01-a".parse().expect("id"), &side).expect("merged");
    check("rebase");

    let order = autometta::git::LandingOrder { branch: "main".into(), parent: base.clone(), commit: ours.clone() };
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!(repo.landed(&order).expect("landed"), Landed::Yes);
    assert_eq!(world.read("a.txt").as_deref(), Some("changed\n"));
    check("land");

    let state = RefName::new("refs/autometta/state").expect("name");
    repo.snapshot(&state, &[("state.yaml".into(), b"x".to_vec())], "Snapshot", at).expect("snapshot");
    repo.snapshot(&state, &[("state.yaml".into(), b"y".to_vec())], "Snapshot", at).expect("snapshot");
    repo.read_snapshot(&state, "state.yaml").expect("read");
    repo.set_ref(&RefName::branch("wip/x").expect("name"), &ours, &Expect::Absent).expect("set");
    repo.delete_ref(&RefName::branch("wip/x").expect("name"), &Expect::Is(ours)).expect("deleted");
    check("refs");

    let dry = repo.dry().expect("dry");
    dry.capture(&path, &base, &[]).expect("capture");
    drop(dry);
    repo.remove_worktree(&path).expect("removed");
    repo.remove_worktree(&check_path).expect("removed");
    repo.recover_landings().expect("recovered");
    check("the rest");

    // The traps are real: the operator's own git springs them.
    world.write("a.txt", "sprung\n");
    world.try_git_in(&world.top, &["add", "a.txt"]);
    assert!(canary.exists());
}

#[test]
fn the_caller_s_environment_cannot_redirect_git_and_a_stuck_git_is_killed() {
    let world = World::new();
    let slow = world.dir.path().join("slow-git");
    executable(&slow, "#!/bin/sh\nsleep 600 &\nsleep 600\n");
    let git = Git::from_environment().with_program(&slow).with_limit(std::time::Duration::from_millis(200));
    let started = std::time::Instant::now();
    let error = git.version().expect_err("killed").to_string();
    assert!(error.contains("git version") && error.contains("killed"), "{error}");
    assert!(started.elapsed().as_secs() < 30);

    let environment = world.dir.path().join("environment");
    let spy = world.dir.path().join("spy-git");
    executable(
        &spy,
        &format!(
            "#!/bin/sh\nenv > '{}'\nreadlink /proc/$$/fd/0 >> '{}'\necho git version 2.40.1\n",
            environment.display(),
            environment.display()
        ),
    );
    let guard_path = world.dir.path().join("tick.lock");
    let guard = fs::File::create(&guard_path).expect("guard");
    let git = Git::from_environment().with_program(&spy).with_guard(guard);
    assert_eq!(git.check().expect("version").to_string(), "2.40");
    let seen = fs::read_to_string(&environment).expect("environment");
    assert!(!seen.contains("HOME=") && seen.contains("GIT_CONFIG_NOSYSTEM=1") && seen.contains("LC_ALL=C"), "{seen}");
    if cfg!(target_os = "linux") {
        assert!(seen.contains("tick.lock"), "{seen}");
    }
    executable(&spy, "#!/bin/sh\necho git version 2.20.1\n");
    assert!(git.check().expect_err("too old").to_string().contains("2.38"));
    let missing = Git::from_environment().with_program(&world.dir.path().join("none")).version();
    assert!(missing.expect_err("missing").to_string().contains("install git"));
}

#[test]
fn a_hostile_core_worktree_makes_no_other_folder_a_checkout() {
    let world = World::new();
    let victim = world.dir.path().join("victim");
    write(&victim.join("a.txt"), "one\n");
    world.git(&["config", "core.worktree", victim.to_str().expect("path")]);
    let linked = world.worktree("linked");
    let top = world.top.clone();
    world.git(&["worktree", "add", "-q", "--detach", linked.to_str().expect("path")]);
    let repo: Repo = world.open_at(&linked);
    let order = world.candidate(&repo, "01-a", |path| write(&path.join("a.txt"), "landed\n"));
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!(fs::read_to_string(victim.join("a.txt")).expect("file"), "one\n");
    assert_eq!(fs::read_to_string(top.join("a.txt")).expect("file"), "landed\n");
}
