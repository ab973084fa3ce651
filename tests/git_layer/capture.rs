//! The candidate is what the files hold, whatever the agent did.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use autometta::git::{ChangeKind, Git, GitError, Landing, Repo};

use super::support::{World, changed, executable, main, mode, remove, write};

#[test]
fn every_kind_of_change_is_in_the_candidate() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    write(&path.join("new.txt"), "n\n");
    write(&path.join("line\nbreak \"ü\".txt"), "odd\n");
    write(&path.join("a.txt"), "one\nmore\n");
    remove(&path.join("dir/b.txt"));
    remove(&path.join(".gitignore"));
    symlink("a.txt", path.join(".gitignore")).expect("link");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(
        changed(&capture),
        [
            "TypeChanged .gitignore",
            "Modified a.txt",
            "Deleted dir/b.txt",
            "Added line\nbreak \"ü\".txt",
            "Added new.txt"
        ]
    );
    assert_eq!(capture.changed[1].bytes, Some(9));
    assert_eq!((capture.insertions, capture.embedded.len()), (4, 0));
    let again = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(again, capture);
}

#[test]
fn nothing_the_agent_does_with_git_matters() {
    let deeds: &[&[&[&str]]] = &[
        &[&["add", "-A"]],
        &[&["add", "-A"], &["commit", "-qm", "mine"]],
        &[&["checkout", "-q", "-b", "elsewhere"]],
        &[&["update-index", "--assume-unchanged", "a.txt"], &["update-index", "--skip-worktree", "dir/b.txt"]],
        &[&["rm", "-q", "-r", "--cached", "."]],
        &[&["config", "core.excludesFile", "/dev/stdin"], &["config", "core.worktree", "/tmp"]],
        &[&["read-tree", "--empty"]],
    ];
    for deed in deeds {
        let world = World::new();
        let repo = world.open();
        let path = world.cut(&repo, "01-a");
        write(&path.join("a.txt"), "changed\n");
        write(&path.join("dir/b.txt"), "changed\n");
        write(&path.join("new.txt"), "n\n");
        for command in *deed {
            world.git_in(&path, command);
        }
        let capture = world.open().capture(&path, &main(&repo), &[]).expect("capture");
        assert_eq!(changed(&capture), ["Modified a.txt", "Modified dir/b.txt", "Added new.txt"], "{deed:?}");
    }
}

#[test]
fn undoing_commands_leave_a_candidate_without_changes() {
    for deed in [&["restore", "."][..], &["stash", "-u"], &["reset", "-q", "--hard"], &["clean", "-fdxq"]] {
        let world = World::new();
        let repo = world.open();
        let path = world.cut(&repo, "01-a");
        if deed[0] == "clean" {
            write(&path.join("new.txt"), "n\n");
        } else {
            write(&path.join("a.txt"), "changed\n");
        }
        world.git_in(&path, deed);
        let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
        assert!(capture.changed.is_empty(), "{deed:?}");
        assert_eq!(capture.tree.as_str(), world.git(&["rev-parse", "main^{tree}"]));
    }
}

#[test]
fn the_pointer_to_git_may_be_gone_or_lead_elsewhere() {
    let tamper: [fn(&World, &Path); 4] = [
        |_, path| remove(&path.join(".git")),
        |world, path| {
            remove(&path.join(".git"));
            world.git_in(path, &["init", "-q"]);
        },
        |world, path| {
            let elsewhere = world.dir.path().join("elsewhere");
            fs::create_dir(&elsewhere).expect("folder");
            world.git_in(&elsewhere, &["init", "-q"]);
            write(&path.join(".git"), &format!("gitdir: {}/.git\n", elsewhere.display()));
        },
        |_, path| {
            let excludes = path.join(".autometta/x");
            write(&excludes, "*\n");
            remove(&path.join(".autometta"));
        },
    ];
    for (case, tamper) in tamper.iter().enumerate() {
        let world = World::new();
        let repo = world.open();
        let path = world.cut(&repo, "01-a");
        write(&path.join("a.txt"), "changed\n");
        tamper(&world, &path);
        let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
        assert_eq!(changed(&capture), ["Modified a.txt"], "case {case}");
        repo.remove_worktree(&path).expect("ours all the same");
        assert!(!path.exists());
    }
}

#[test]
fn the_shared_excludes_hide_nothing_and_our_folder_stays_out() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    write(&world.top.join(".git/info/exclude"), "new.txt\n");
    write(&path.join("new.txt"), "n\n");
    remove(&path.join(".autometta/.gitignore"));
    write(&path.join(".autometta/outbox/handoff.json"), "{}");
    write(&path.join(".gitignore"), "*.log\n!.autometta\n!/.autometta/**\n");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(changed(&capture), ["Modified .gitignore", "Added new.txt"]);
}

#[test]
fn ignored_deliverables_are_in_by_name_only() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    write(&path.join("ignored/out.bin"), "o");
    write(&path.join("ignored/deep/more.bin"), "m");
    write(&path.join("x.log"), "x");
    write(&path.join("[y].log"), "y");
    let base = main(&repo);
    let names = |force: &[&str]| {
        let force: Vec<String> = force.iter().map(|path| (*path).to_owned()).collect();
        repo.capture(&path, &base, &force).map(|capture| changed(&capture))
    };
    assert_eq!(names(&[]).expect("capture"), Vec::<String>::new());
    assert_eq!(
        names(&["ignored/out.bin", "[y].log", "absent"]).expect("capture"),
        ["Added [y].log", "Added ignored/out.bin"]
    );
    assert_eq!(names(&["ignored/"]).expect("capture"), ["Added ignored/deep/more.bin", "Added ignored/out.bin"]);
    symlink("/etc", path.join("ignored/link")).expect("link");
    for bad in ["../x", "/etc/passwd", "ignored/link/passwd", ".git/config", "dir/.GIT/x", ".autometta/outbox"] {
        assert!(matches!(names(&[bad]), Err(GitError::BadPath { .. })), "{bad}");
    }
    assert_eq!(names(&["ignored/link"]).expect("a link itself"), ["Added ignored/link"]);
}

#[test]
fn files_and_folders_and_links_may_change_places() {
    let world = World::new();
    world.write("f/one", "1\n");
    world.write("f/two", "2\n");
    world.commit("more");
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    remove(&path.join("a.txt"));
    write(&path.join("a.txt/inside"), "i\n");
    remove(&path.join("dir"));
    write(&path.join("dir"), "file now\n");
    // The folder moves out of the way and a link leads to it: git's own comparison would see no change.
    fs::rename(path.join("f"), path.join("ignored")).expect("moved");
    symlink("ignored", path.join("f")).expect("link");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(
        changed(&capture),
        [
            "Deleted a.txt",
            "Added a.txt/inside",
            "Added dir",
            "Deleted dir/b.txt",
            "Added f",
            "Deleted f/one",
            "Deleted f/two"
        ]
    );
}

#[test]
fn nested_repositories_are_named_and_never_taken_in() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    for nested in ["empty", "full"] {
        fs::create_dir(path.join(nested)).expect("folder");
        world.git_in(&path.join(nested), &["init", "-q"]);
        write(&path.join(nested).join("x"), "x");
    }
    let commit = ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x", "--allow-empty"];
    world.git_in(&path.join("full"), &commit);
    write(&path.join("a.txt"), "changed\n");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(changed(&capture), ["Modified a.txt"]);
    assert_eq!(capture.embedded, ["empty", "full"]);
}

#[test]
fn permissions_and_special_files_do_not_stop_a_capture() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    mode(&path.join("a.txt"), 0o755);
    write(&path.join("secret/x"), "x\n");
    mode(&path.join("secret/x"), 0);
    mode(&path.join("secret"), 0);
    remove(&path.join("dir/b.txt"));
    nix::unistd::mkfifo(&path.join("dir/b.txt"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(changed(&capture), ["Modified a.txt", "Deleted dir/b.txt", "Added secret/x"]);
    assert_eq!(world.git(&["ls-tree", "--format=%(objectmode)", capture.tree.as_str(), "a.txt"]), "100755");
}

#[test]
fn a_pipe_in_place_of_an_ignore_file_does_not_hold_the_tick() {
    let world = World::new();
    let path = world.cut(&world.open(), "01-a");
    remove(&path.join(".gitignore"));
    for name in [".gitignore", ".gitattributes"] {
        nix::unistd::mkfifo(&path.join(name), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    }
    write(&path.join("a.txt"), "changed\n");
    let git = Git::from_environment().with_home(&world.home()).with_limit(Duration::from_secs(2));
    let repo = Repo::open(&world.top, &world.dir.path().join("scratch"), git).expect("repository");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(changed(&capture), ["Deleted .gitignore", "Modified a.txt"]);
}

#[test]
#[cfg(target_os = "linux")]
fn names_that_are_no_text_are_captured_and_landed() {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe.txt");
    let world = World::new();
    let repo = world.open();
    let order = world.candidate(&repo, "01-a", |path| write(&path.join(name), "bytes\n"));
    assert_eq!(repo.diff_paths(&order.parent, &order.commit).expect("paths")[0].path.as_bytes(), name.as_bytes());
    assert_eq!(repo.land(&order).expect("landing"), Landing::Done);
    assert_eq!(fs::read(world.top.join(name)).expect("file"), b"bytes\n");
    assert_eq!(world.status(), "");
}

#[test]
fn a_file_changed_without_changing_size_or_time_is_seen() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    let file = path.join("a.txt");
    let before = fs::metadata(&file).and_then(|found| found.modified()).expect("time");
    write(&file, "eno\n");
    fs::OpenOptions::new().write(true).open(&file).and_then(|file| file.set_modified(before)).expect("time set");
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(changed(&capture), ["Modified a.txt"]);
}

#[test]
fn a_vanished_worktree_is_refused() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    remove(&path);
    let error = repo.capture(&path, &main(&repo), &[]).expect_err("nothing there");
    assert!(matches!(error, GitError::WorktreeMissing { .. }), "{error}");
    symlink(&world.top, &path).expect("link");
    assert!(matches!(repo.capture(&path, &main(&repo), &[]), Err(GitError::WorktreeMissing { .. })));
}

#[test]
fn line_endings_go_in_and_out_as_the_operator_set_them() {
    let world = World::new();
    world.git(&["config", "core.autocrlf", "true"]);
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    assert_eq!(fs::read(path.join("a.txt")).expect("file"), b"one\r\n");
    let base = main(&repo);
    assert!(repo.capture(&path, &base, &[]).expect("capture").changed.is_empty());
    write(&path.join("a.txt"), "one\r\ntwo\r\n");
    let capture = repo.capture(&path, &base, &[]).expect("capture");
    assert_eq!(world.git(&["cat-file", "-p", &format!("{}:a.txt", capture.tree)]), "one\ntwo");
}

#[test]
fn a_torn_index_of_ours_costs_time_and_nothing_else() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    write(&path.join("a.txt"), "changed\n");
    for entry in fs::read_dir(world.dir.path().join("scratch")).expect("scratch").flatten() {
        if entry.file_name().to_string_lossy().starts_with("autometta-01-a") {
            write(&entry.path(), "torn");
        }
    }
    let capture = repo.capture(&path, &main(&repo), &[]).expect("capture");
    assert_eq!(capture.changed.len(), 1);
    assert_eq!(capture.changed[0].kind, ChangeKind::Modified);
}

#[test]
fn an_executable_bit_is_a_change_where_the_file_system_has_one() {
    let world = World::new();
    world.git(&["config", "core.filemode", "false"]);
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    executable(&path.join("a.txt"), "one\n");
    assert!(repo.capture(&path, &main(&repo), &[]).expect("capture").changed.is_empty());
}
