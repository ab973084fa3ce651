//! Branches of ours on which somebody else has put something.

use std::path::Path;

use autometta::core::ids::CommitId;
use autometta::git::{OwnBranch, Repo};

use super::support::{World, commit_of, main};

const RUN: &str = "autometta/01-a";

fn commit(world: &World, repo: &Repo, what: &str) -> CommitId {
    let tree = world.git(&["rev-parse", "main^{tree}"]).parse().expect("id");
    repo.write_commit(&commit_of(&tree, &main(repo), what)).expect("commit")
}

fn own_work(world: &World, at: &Path, what: &str) -> CommitId {
    super::support::write(&at.join(what), "theirs\n");
    world.git_in(at, &["add", "-A"]);
    world.git_in(at, &["commit", "-qm", what]);
    world.git_in(at, &["rev-parse", "HEAD"]).parse().expect("id")
}

fn aside(world: &World, branch: &str) -> String {
    world.git(&["for-each-ref", "--format=%(objectname)", &format!("refs/autometta/aside/{branch}")])
}

fn formats() -> [&'static [&'static str]; 2] {
    [&[], &["--ref-format=reftable"]]
}

#[test]
fn a_run_branch_follows_and_goes_and_leaves_nothing() {
    for format in formats() {
        let world = World::named("repo", format);
        let repo = world.open();
        let (one, other) = (commit(&world, &repo, "one"), commit(&world, &repo, "other"));
        for commit in [&one, &other] {
            assert!(!repo.own_branch_points(RUN, commit).expect("looked"));
            repo.point_own_branch(RUN, commit, OwnBranch::Follows).expect("pointed");
            assert!(repo.own_branch_points(RUN, commit).expect("looked"));
        }
        assert!(!repo.own_branch_is_dropped(RUN, "main").expect("looked"));
        repo.drop_own_branch(RUN, "main").expect("dropped");
        assert!(repo.own_branch_is_dropped(RUN, "main").expect("looked"));
        assert_eq!((repo.tip(RUN).expect("tip"), aside(&world, RUN).as_str()), (None, ""));
    }
}

#[test]
fn what_an_agent_committed_and_did_not_hand_in_is_kept_aside() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    let theirs = own_work(&world, &path, "theirs");
    let handed_in = commit(&world, &repo, "handed in");
    // The checkout that is on it is ours.
    assert!(!repo.own_branch_points(RUN, &handed_in).expect("looked"));
    repo.remove_worktree(&path).expect("removed");
    repo.point_own_branch(RUN, &handed_in, OwnBranch::Follows).expect("pointed");
    assert_eq!(repo.tip(RUN).expect("tip"), Some(handed_in));
    assert_eq!(aside(&world, RUN), theirs.as_str());
}

#[test]
fn an_agent_that_committed_what_it_handed_in_leaves_nothing_aside() {
    let world = World::new();
    let repo = world.open();
    let path = world.cut(&repo, "01-a");
    let theirs = own_work(&world, &path, "theirs");
    let tree = repo.capture(&path, &main(&repo), &[]).expect("capture").tree;
    assert_eq!(world.git(&["rev-parse", &format!("{theirs}^{{tree}}")]), tree.as_str());
    let handed_in = repo.write_commit(&commit_of(&tree, &main(&repo), "handed in")).expect("commit");
    repo.remove_worktree(&path).expect("removed");
    repo.point_own_branch(RUN, &handed_in, OwnBranch::Follows).expect("pointed");
    assert_eq!((repo.tip(RUN).expect("tip"), aside(&world, RUN).as_str()), (Some(handed_in), ""));
}

#[test]
fn what_an_operator_put_onto_waiting_work_is_theirs() {
    for format in formats() {
        let world = World::named("repo", format);
        let repo = world.open();
        let waits = commit(&world, &repo, "waits");
        repo.point_own_branch(RUN, &waits, OwnBranch::Follows).expect("pointed");
        world.git(&["switch", "-q", RUN]);
        let again = commit(&world, &repo, "again");
        repo.point_own_branch(RUN, &again, OwnBranch::Follows).expect("left alone");
        assert!(repo.own_branch_points(RUN, &again).expect("looked"));
        assert_eq!(world.git(&["rev-parse", "HEAD"]), waits.as_str(), "it is checked out");
        assert_eq!(aside(&world, RUN), again.as_str());
        repo.drop_own_branch(RUN, "main").expect("left alone");
        assert!(repo.own_branch_is_dropped(RUN, "main").expect("looked"));
        assert_eq!(world.git(&["status", "--porcelain"]), "");

        let theirs = own_work(&world, &world.top, "mended");
        world.git(&["switch", "-q", "main"]);
        assert!(repo.own_branch_points(RUN, &waits).expect("looked"), "they build on it");
        repo.point_own_branch(RUN, &waits, OwnBranch::Follows).expect("left alone");
        assert!(repo.own_branch_is_dropped(RUN, "main").expect("looked"));
        repo.drop_own_branch(RUN, "main").expect("left alone");
        assert_eq!(repo.tip(RUN).expect("tip"), Some(theirs.clone()));

        world.git(&["merge", "-q", "--ff-only", RUN]);
        assert!(!repo.own_branch_is_dropped(RUN, "main").expect("looked"));
        repo.drop_own_branch(RUN, "main").expect("dropped");
        assert_eq!((repo.tip(RUN).expect("tip"), main(&repo)), (None, theirs));
    }
}

#[test]
fn a_new_attempt_keeps_what_an_operator_put_there() {
    let world = World::new();
    let repo = world.open();
    let waits = commit(&world, &repo, "waits");
    repo.point_own_branch(RUN, &waits, OwnBranch::Follows).expect("pointed");
    world.git(&["switch", "-q", RUN]);
    let theirs = own_work(&world, &world.top, "mended");
    world.git(&["switch", "-q", "main"]);
    world.cut(&repo, "01-a");
    assert_eq!(repo.tip(RUN).expect("tip"), Some(main(&repo)));
    assert_eq!(aside(&world, RUN), theirs.as_str());
}

#[test]
fn kept_work_never_takes_the_place_of_other_kept_work() {
    let world = World::new();
    let repo = world.open();
    let branch = "wip/01-a-attempt-1";
    let (one, other) = (commit(&world, &repo, "one"), commit(&world, &repo, "other"));
    repo.point_own_branch(branch, &one, OwnBranch::Keeps).expect("kept");
    super::support::write(&world.top.join("c"), "c\n");
    world.commit("other base");
    let third = commit(&world, &repo, "third");
    repo.point_own_branch(branch, &third, OwnBranch::Keeps).expect("kept");
    assert_eq!(repo.tip(branch).expect("tip"), Some(third));
    assert_eq!(aside(&world, branch), one.as_str());
    world.git(&["switch", "-q", branch]);
    repo.point_own_branch(branch, &other, OwnBranch::Keeps).expect("kept");
    assert!(repo.own_branch_points(branch, &other).expect("looked"));
    assert!(aside(&world, branch).contains(other.as_str()));
}
