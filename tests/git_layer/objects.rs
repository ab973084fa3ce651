//! Commits, differences, rebases, hand merges, snapshots and the dry view.

use std::fs;
use std::path::Path;

use autometta::core::ids::{CommitId, StageId};
use autometta::git::{ChangeKind, Extent, Rebase, RefName, Repo, Snapshot};
use chrono::DateTime;

use super::support::{World, changed, commit_of, main, remove, write};

fn count(world: &World) -> String {
    world.git(&["count-objects", "-v"])
}

#[test]
fn the_same_commit_has_the_same_hash_and_git_accepts_it() {
    let world = World::new();
    let repo = world.open();
    let tree = world.git(&["rev-parse", "main^{tree}"]).parse().expect("id");
    let text = commit_of(&tree, &main(&repo), "Subject\n\nAutometta-Stage: 01-a");
    let commit = repo.write_commit(&text).expect("commit");
    assert_eq!(repo.write_commit(&text).expect("again"), commit);
    assert_eq!(
        world.git(&["log", "-1", "--format=%an %ae|%cn|%at|%s", commit.as_str()]),
        "Worker x@y|Op|1800000000|Subject"
    );
    assert_eq!(world.git(&["fsck", "--strict", "--no-dangling"]), "");
    assert!(repo.object_exists(&commit).expect("exists"));
    assert!(!repo.object_exists(&"0".repeat(40).parse().expect("id")).expect("exists"));
    assert!(repo.is_ancestor(&main(&repo), &commit).expect("ancestor"));
    assert!(!repo.is_ancestor(&commit, &main(&repo)).expect("ancestor"));
}

#[test]
fn differences_are_by_path_and_bounded() {
    let world = World::new();
    let repo = world.open();
    let order = world.candidate(&repo, "01-a", |path| {
        fs::rename(path.join("a.txt"), path.join("z\tü.txt")).expect("renamed");
        write(&path.join("dir/b.txt"), &"line\n".repeat(1000));
    });
    let changes = repo.diff_paths(&order.parent, &order.commit).expect("paths");
    let found: Vec<_> =
        changes.iter().map(|change| (change.kind, change.path.text().into_owned(), change.bytes)).collect();
    assert_eq!(
        found,
        [
            (ChangeKind::Deleted, "a.txt".into(), None),
            (ChangeKind::Modified, "dir/b.txt".into(), Some(5000)),
            (ChangeKind::Added, "z\tü.txt".into(), Some(4)),
        ]
    );
    let whole = repo.diff(&order.parent, &order.commit, 1_000_000).expect("patch");
    assert!(whole.extent == Extent::Whole && whole.text.contains("+line"));
    let cut = repo.diff(&order.parent, &order.commit, 100).expect("patch");
    assert!(cut.extent == Extent::Cut && cut.text.len() <= 100 && whole.text.starts_with(&cut.text));
    assert!(repo.diff_stat(&order.parent, &order.commit, 1).expect("stat").contains("..."));
}

fn edited(world: &World, repo: &Repo, name: &str, edit: impl FnOnce(&Path)) -> CommitId {
    world.candidate(repo, name, edit).commit
}

#[test]
fn disjoint_changes_are_joined_and_overlapping_ones_are_named() {
    let world = World::new();
    world.write("keep/x", "x\n");
    world.commit("more");
    let repo = world.open();
    let base = main(&repo);
    let ours = edited(&world, &repo, "01-a", |path| {
        write(&path.join("a.txt"), "ours\n");
        write(&path.join("new/file"), "n\n");
        remove(&path.join("dir/b.txt"));
        write(&path.join("dir/b.txt/inside"), "i\n");
    });
    let theirs = edited(&world, &repo, "02-b", |path| write(&path.join("keep/x"), "theirs\n"));
    let Rebase::Disjoint { tree } = repo.rebase(&base, &theirs, &ours).expect("rebase") else { panic!("overlap") };
    let names = world.git(&["ls-tree", "-r", "--name-only", tree.as_str()]);
    assert_eq!(names, ".gitignore\na.txt\ndir/b.txt/inside\nkeep/x\nnew/file");
    assert_eq!(world.git(&["show", &format!("{tree}:keep/x")]), "theirs");
    assert_eq!(world.git(&["show", &format!("{tree}:a.txt")]), "ours");

    let overlaps: [(fn(&Path), &[&str]); 4] = [
        (|path| write(&path.join("a.txt"), "theirs\n"), &["a.txt"]),
        (|path| remove(&path.join("a.txt")), &["a.txt"]),
        (|path| write(&path.join("new"), "a file\n"), &["new/file"]),
        (|path| write(&path.join("new/file/deep"), "a folder\n"), &["new/file"]),
    ];
    for (case, (edit, expected)) in overlaps.into_iter().enumerate() {
        let theirs = edited(&world, &repo, &format!("1{case}-c"), edit);
        let Rebase::Overlap { paths } = repo.rebase(&base, &theirs, &ours).expect("rebase") else {
            panic!("case {case}")
        };
        assert_eq!(paths, expected, "case {case}");
    }
}

#[test]
fn a_merge_by_hand_is_seen_however_it_was_made() {
    let stage: StageId = "01-a".parse().expect("id");
    let hands: [(&str, fn(&World, &CommitId)); 4] = [
        ("merge", |world, candidate| drop(world.git(&["merge", "-q", "--no-edit", candidate.as_str()]))),
        ("pick", |world, candidate| drop(world.git(&["cherry-pick", candidate.as_str()]))),
        ("reworked, with the trailers", |world, _| {
            world.write("a.txt", "reworked\n");
            world.commit("By hand\n\nAutometta-Stage: 01-a\nAutometta-Run: 01-a.1.worker");
        }),
        ("squashed, without trailers", |world, _| {
            world.write("a.txt", "ours\n");
            world.write("more.txt", "m\n");
            world.commit("Everything at once");
        }),
    ];
    for (case, hand) in hands {
        let world = World::new();
        let repo = world.open();
        let base = main(&repo);
        let path = world.cut(&repo, "01-a");
        write(&path.join("a.txt"), "ours\n");
        let tree = repo.capture(&path, &base, &[]).expect("capture").tree;
        let message = "Candidate\n\nAutometta-Stage: 01-a\nAutometta-Run: 01-a.1.worker";
        let candidate = repo.write_commit(&commit_of(&tree, &base, message)).expect("commit");
        world.write("other.txt", "o\n");
        world.commit("unrelated\n\nAutometta-Stage: 01-a\nAutometta-Run: 01-a.9.worker");
        world.write("a.txt", "made up\n");
        world.commit("Before anybody could merge it\n\nAutometta-Stage: 01-a\nAutometta-Run: 01-a.1.worker");
        world.write("a.txt", "one\n");
        world.commit("Taken back");
        let seen_before = main(&repo);
        world.write("other.txt", "elsewhere\n");
        world.commit("Words only\n\nAutometta-Stage: 01-a\nAutometta-Run: 01-a.1.worker");
        let seen = || repo.merged_by_hand(&base, &seen_before, &main(&repo), &stage, &candidate).expect("answer");
        assert_eq!(seen(), None, "{case}");
        hand(&world, &candidate);
        assert!(seen().is_some(), "{case}");
    }
}

#[test]
fn snapshots_are_kept_in_line_and_written_only_when_they_differ() {
    let world = World::new();
    let repo = world.open();
    let name = RefName::new("refs/autometta/state").expect("name");
    let at = DateTime::from_timestamp(1_800_000_000, 0).expect("time");
    let files = |content: &str| {
        vec![
            ("state.yaml".to_owned(), content.as_bytes().to_vec()),
            ("verifiers/01-ü \"x\".json".to_owned(), vec![0, 10, 255]),
        ]
    };
    assert_eq!(repo.read_snapshot(&name, "state.yaml").expect("read"), None);
    let Snapshot::Written(first) = repo.snapshot(&name, &files("1"), "First", at).expect("snapshot") else { panic!() };
    let objects = count(&world);
    let processes = repo.processes();
    assert_eq!(repo.snapshot(&name, &files("1"), "Again", at).expect("snapshot"), Snapshot::Unchanged);
    assert_eq!((count(&world), repo.processes()), (objects, processes));
    remove(&world.dir.path().join("scratch"));
    assert_eq!(world.open().snapshot(&name, &files("1"), "Again", at).expect("snapshot"), Snapshot::Unchanged);
    assert_eq!(repo.ref_tip(&name).expect("tip"), Some(first.clone()));
    let repo = world.open();
    let Snapshot::Written(second) = repo.snapshot(&name, &files("2")[..1], "Second", at).expect("snapshot") else {
        panic!()
    };
    assert_eq!(
        world.git(&["rev-parse", "refs/autometta/state^", "refs/autometta/state@{1}"]),
        format!("{first}\n{first}")
    );
    assert_eq!(repo.read_snapshot(&name, "state.yaml").expect("read").as_deref(), Some(&b"2"[..]));
    assert_eq!(repo.read_snapshot(&name, "verifiers/01-ü \"x\".json").expect("read"), None);
    assert_eq!(repo.read_file_at(&first, "verifiers/01-ü \"x\".json").expect("read"), Some(vec![0, 10, 255]));
    assert!(repo.snapshot(&name, &[("../x".into(), Vec::new())], "Bad", at).is_err());
    // Somebody else's newer snapshot is built upon, never replaced.
    world.git(&["update-ref", "refs/autometta/state", first.as_str(), second.as_str()]);
    let Snapshot::Written(third) = repo.snapshot(&name, &files("3"), "Third", at).expect("snapshot") else { panic!() };
    assert_eq!(world.git(&["rev-parse", &format!("{third}^")]), first.as_str());
    assert_eq!(world.git(&["fsck", "--strict", "--no-dangling"]), "");
    assert_eq!(world.status(), "");
}

#[test]
fn what_is_stored_is_what_git_would_store() {
    for (name, format) in [("one", "--object-format=sha1"), ("other", "--object-format=sha256")] {
        let world = World::named(name, &[format]);
        let repo = world.open();
        let name = RefName::new("refs/autometta/state").expect("name");
        let at = DateTime::from_timestamp(1_800_000_000, 0).expect("time");
        // A folder stands where its name with a slash at its end would.
        let paths = ["a-b", "a.b", "a/b-c", "a/b.d/e", "a/b/c", "a0", "aa", "Z", "ü/\u{1F600}", "empty"];
        let files: Vec<(String, Vec<u8>)> = paths
            .into_iter()
            .map(|path| (path.to_owned(), if path == "empty" { Vec::new() } else { path.repeat(3000).into_bytes() }))
            .collect();
        let Snapshot::Written(commit) = repo.snapshot(&name, &files, "All", at).expect("snapshot") else { panic!() };
        world.git(&["fsck", "--strict", "--full", commit.as_str()]);
        let mut listed: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
        listed.sort();
        let found = world.git(&["-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", commit.as_str()]);
        let mut found: Vec<String> = found.lines().map(|path| path.trim_matches('"').to_owned()).collect();
        found.sort();
        assert_eq!(found, listed);
        // Git itself, from the same files, comes to the same tree.
        for (path, content) in &files {
            let place = world.top.join("copy").join(path);
            std::fs::create_dir_all(place.parent().expect("folder")).expect("folder");
            std::fs::write(place, content).expect("file");
        }
        world.git(&["add", "-f", "copy"]);
        let tree = world.git(&["write-tree", "--prefix=copy/"]);
        let ours = world.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
        assert_eq!(ours.trim(), tree.trim());
    }
}

#[test]
fn what_a_killed_writer_left_of_an_object_goes_and_what_a_living_one_writes_stays() {
    let world = World::new();
    let repo = world.open();
    repo.sweep_unnamed().expect("nothing is there");
    let folder = world.top.join(".git/objects/tmp_objdir-autometta");
    std::fs::create_dir(&folder).expect("folder");
    let process =
        || std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().expect("a process");
    let (mut reaped, mut dead) = (process(), process());
    reaped.wait().expect("its end");
    // Its pipe is closed when it dies, and nobody has asked for how.
    let mut said = String::new();
    std::io::Read::read_to_string(&mut dead.stdout.take().expect("a pipe"), &mut said).expect("its end");
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", dead.id())).unwrap_or_default();
    if cfg!(target_os = "linux") {
        while !stat().contains(") Z ") {
            std::thread::yield_now();
        }
    } else {
        dead.wait().expect("its end");
    }
    for name in [
        format!("{}-0", reaped.id()),
        format!("{}-0", dead.id()),
        format!("{}-7", std::process::id()),
        "nonsense".to_owned(),
    ] {
        std::fs::write(folder.join(name), "half").expect("file");
    }
    repo.sweep_unnamed().expect("swept");
    let left: Vec<_> = std::fs::read_dir(&folder).expect("folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [std::ffi::OsString::from(format!("{}-7", std::process::id()))]);
    dead.wait().expect("its end");
    assert!(!world.git(&["count-objects", "-v"]).contains("garbage: 1"), "git minds none of it");
}

#[test]
fn an_object_that_a_power_cut_emptied_is_stored_again() {
    let world = World::new();
    let repo = world.open();
    let tree = world.git(&["rev-parse", "main^{tree}"]).parse().expect("id");
    let text = commit_of(&tree, &main(&repo), "Subject");
    let commit = repo.write_commit(&text).expect("stored");
    let (start, rest) = commit.as_str().split_at(2);
    let place = world.top.join(".git/objects").join(start).join(rest);
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::open(&place).expect("object").set_modified(old).expect("time");
    assert_eq!(world.open().write_commit(&text).expect("there"), commit);
    let time = fs::metadata(&place).and_then(|found| found.modified()).expect("time");
    assert!(time > old, "git's own clearing away takes it for new");
    fs::remove_file(&place).expect("removed");
    fs::write(&place, "").expect("emptied");
    assert_eq!(world.open().write_commit(&text).expect("stored again"), commit);
    assert_eq!(world.git(&["cat-file", "-t", commit.as_str()]), "commit");
}

#[test]
fn two_that_share_their_objects_store_at_once() {
    let world = World::new();
    let tree = world.git(&["rev-parse", "main^{tree}"]).parse().expect("id");
    let stored = std::thread::scope(|scope| {
        let (world, tree) = (&world, &tree);
        let store = |who: usize| {
            move || {
                let repo = world.open_with(&format!("scratch-{who}"), &world.top);
                let parent = main(&repo);
                let text = |number| commit_of(tree, &parent, &format!("Commit {number} of {who}"));
                (0..100).map(|number| repo.write_commit(&text(number)).expect("stored")).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..4).map(|who| scope.spawn(store(who))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(stored.len(), 400);
    // Git reads each, and finds in it what its name says.
    let said = world.git(&["fsck", "--strict", "--full", "--no-reflogs", "--unreachable"]);
    assert!(stored.iter().all(|commit| said.contains(&format!("unreachable commit {commit}"))), "{said}");
    assert_eq!(said.lines().count(), stored.len(), "{said}");
}

#[test]
fn snapshots_of_many_files_leave_no_pack_for_each() {
    let world = World::new();
    let repo = world.open();
    let name = RefName::new("refs/autometta/state").expect("name");
    let at = DateTime::from_timestamp(1_800_000_000, 0).expect("time");
    let mut files: Vec<(String, Vec<u8>)> =
        (0..200).map(|number| (format!("handoffs/{number}.json"), format!("{number}").into_bytes())).collect();
    let packs = || {
        let entries = std::fs::read_dir(world.top.join(".git/objects/pack")).expect("packs").flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "pack")).count()
    };
    repo.snapshot(&name, &files, "All", at).expect("snapshot");
    let whole = packs();
    for round in 0..5 {
        files[7].1 = format!("round {round}").into_bytes();
        files.remove(100);
        repo.snapshot(&name, &files, "One of them", at).expect("snapshot");
    }
    assert_eq!(packs(), whole);
    assert_eq!(world.git(&["ls-tree", "-r", "--name-only", name.as_str()]).lines().count(), 195);
    assert_eq!(repo.read_snapshot(&name, "handoffs/7.json").expect("read").as_deref(), Some(&b"round 4"[..]));
    // What is remembered of a snapshot is a help and no more.
    let memory = world.dir.path().join("scratch/snapshot-refs-autometta-state");
    std::fs::write(&memory, "nonsense").expect("file");
    files[8].1 = b"eight".to_vec();
    repo.snapshot(&name, &files, "All again", at).expect("snapshot");
    assert_eq!(repo.read_snapshot(&name, "handoffs/8.json").expect("read").as_deref(), Some(&b"eight"[..]));
    assert_eq!(world.git(&["ls-tree", "-r", "--name-only", name.as_str()]).lines().count(), 195);
}

#[test]
fn settings_are_asked_for_once_and_again_when_their_files_change() {
    let world = World::new();
    let committer = || {
        let repo = world.open();
        let committer = repo.committer().expect("committer");
        (committer.name().to_owned(), repo.processes())
    };
    let age = |path: &std::path::Path| {
        let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(hour_ago)).expect("time");
    };
    world.open().object_exists(&"a".repeat(40).parse().expect("id")).expect("scratch is made");
    let config = world.top.join(".git/config");
    age(&config);
    assert_eq!(committer().1, 1, "what has just changed is not relied on");
    // The time of a change cannot be set back; what was remembered can be made younger.
    let memory = world.dir.path().join("scratch/settings");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let younger = || {
        std::fs::File::options().write(true).open(&memory).and_then(|file| file.set_modified(later)).expect("time");
    };
    younger();
    let (name, processes) = committer();
    assert_eq!(processes, 0);
    world.git(&["config", "user.name", "Somebody Else"]);
    assert_eq!(committer(), ("Somebody Else".to_owned(), 1), "{name} before");
    younger();
    assert_eq!(committer(), ("Somebody Else".to_owned(), 0));
    let text = std::fs::read_to_string(&memory).expect("remembered");
    world.git(&["config", "http.extraHeader", "Authorization: secret"]);
    assert_eq!(committer().1, 1);
    assert!(!std::fs::read_to_string(&memory).expect("remembered").contains("secret"), "{text}");
    for nonsense in ["", "{}", "{\"files\":[],\"settings\":[]}"] {
        std::fs::write(&memory, nonsense).expect("file");
        younger();
        assert_eq!(committer(), ("Somebody Else".to_owned(), 1), "{nonsense}");
    }
    // Other files that are read as well are nobody's to know.
    let more = world.dir.path().join("more");
    std::fs::write(&more, "[user]\n\tname = Third\n").expect("file");
    world.git(&["config", "include.path", &more.display().to_string()]);
    std::fs::remove_file(&memory).expect("forgotten");
    assert_eq!(committer(), ("Third".to_owned(), 1));
    assert!(!memory.exists());
}

#[test]
fn the_dry_view_changes_nothing() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    write(&path.join("a.txt"), "changed\n");
    let base = main(&repo);
    let before = count(&world);
    let dry = repo.dry().expect("dry");
    let capture = dry.capture(&path, &base, &[]).expect("capture");
    assert_eq!(changed(&capture), ["Modified a.txt"]);
    let commit = dry.write_commit(&commit_of(&capture.tree, &base, "Dry")).expect("commit");
    assert!(matches!(dry.rebase(&base, &base, &commit).expect("rebase"), Rebase::Disjoint { .. }));
    assert_eq!(dry.diff_paths(&base, &commit).expect("paths").len(), 1);
    assert!(dry.object_exists(&commit).expect("exists") && !repo.object_exists(&commit).expect("exists"));
    assert_eq!(count(&world), before);
    drop(dry);
    let left = fs::read_dir(world.dir.path()).expect("folder").flatten();
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().contains("dry-")).count(), 0);
}

#[test]
fn few_processes_are_started() {
    let world = World::new();
    let repo = world.open();
    let base = main(&repo);
    let path = world.cut(&repo, "01-a");
    let mut before = repo.processes();
    let mut spent = || {
        let started = repo.processes() - before;
        before = repo.processes();
        started
    };
    repo.capture(&path, &base, &[]).expect("capture");
    assert!(spent() <= 4, "unchanged");
    write(&path.join("a.txt"), "changed\n");
    repo.capture(&path, &base, &[]).expect("capture");
    assert!(spent() <= 6, "changed");
    repo.recover_landings().expect("recovered");
    assert_eq!(spent(), 0);
}
