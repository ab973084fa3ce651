//! Scenarios of fleets and of strange places, over the real binary with stub agents.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::night::{HAND_IN, LIMIT, Night, SAY_PASS, text};

/// Git at a place, with the operator's hand.
fn git(night: &Night, at: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always", "-c", "user.name=Operator", "-c", "user.email=operator@local"])
        .args(args)
        .current_dir(at)
        .env_clear()
        .env("PATH", std::env::var("PATH").expect("PATH"))
        .env("HOME", night.base().join("user"))
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {args:?} at {}: {}", at.display(), text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// The binary at a place.
fn at(night: &Night, place: &Path, args: &[&str]) -> Output {
    night.command(args).current_dir(place).output().expect("the binary runs")
}

fn ok_at(night: &Night, place: &Path, args: &[&str]) -> String {
    let output = at(night, place, args);
    assert!(
        output.status.success(),
        "{args:?} at {}: {}{}",
        place.display(),
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Copies what makes a stage out of the night's repository into another one.
fn furnish(night: &Night, place: &Path) {
    night.card("01-work");
    fs::copy(night.repo.join(".autometta.yaml"), place.join(".autometta.yaml")).expect("manifest");
    fs::create_dir_all(place.join("stage-cards")).expect("folder");
    fs::copy(night.repo.join("stage-cards/01-work.md"), place.join("stage-cards/01-work.md")).expect("card");
}

/// A repository of one commit at a place.
fn repository(night: &Night, place: &Path) {
    fs::create_dir_all(place).expect("folder");
    git(night, place, &["init", "-q", "-b", "main"]);
    git(night, place, &["config", "user.name", "Operator"]);
    git(night, place, &["config", "user.email", "operator@local"]);
    git(night, place, &["commit", "-qm", "Begin", "--allow-empty"]);
}

/// Ticks at a place until its only stage is completed and its change is on main.
fn works_at(night: &Night, place: &Path) {
    ok_at(night, place, &["init"]);
    ok_at(night, place, &["add-stage", "stage-cards/01-work.md"]);
    until_completed(night, place);
    assert_eq!(git(night, place, &["show", "main:a.txt"]), "work");
    assert_eq!(fs::read_to_string(place.join("a.txt")).expect("landed file"), "work\n");
}

fn until_completed(night: &Night, place: &Path) {
    let begun = std::time::Instant::now();
    loop {
        let ticked = at(night, place, &["tick", "--repo", "."]);
        let status = ok_at(night, place, &["status"]);
        if status.contains("01-work  completed") {
            return;
        }
        assert!(
            begun.elapsed() < LIMIT,
            "{}\n{status}{}{}",
            place.display(),
            text(&ticked.stdout),
            text(&ticked.stderr)
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A night whose manifest and stubs serve other repositories.
fn stubs_only() -> Night {
    let night = Night::bare();
    night.stub("worker", &format!("echo work >a.txt\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    night.manifest("");
    night
}

#[test]
fn scenario_61_a_tick_that_brings_the_whole_fire_down_keeps_nobody_else_from_being_served() {
    let mut night = stubs_only();
    let place = |night: &Night, name: &str| night.base().join(name);
    for name in ["fatal", "one", "two"] {
        repository(&night, &place(&night, name));
        furnish(&night, &place(&night, name));
        ok_at(&night, &place(&night, name), &["init"]);
        ok_at(&night, &place(&night, name), &["add-stage", "stage-cards/01-work.md"]);
    }
    ok_at(&night, &place(&night, "fatal"), &["subscribe", "--weight", "-5"]);
    night.fail(|_| "*/lock.open@fatal:*:abort".to_owned());
    let is_done =
        |night: &Night, name: &str| ok_at(night, &place(night, name), &["status"]).contains("01-work  completed");
    night.wait("the others to be served", || {
        assert_eq!(night.run(&["tick"]).status.code(), None, "it dies every time");
        is_done(&night, "one") && is_done(&night, "two")
    });
    let fatal = place(&night, "fatal").display().to_string();
    let doctor = text(&night.run(&["--repo", &place(&night, "one").display().to_string(), "doctor"]).stdout);
    assert!(doctor.contains(&format!("a fire died while {fatal} was under way")), "{doctor}");
    assert!(doctor.contains(&format!("autometta tick --repo {fatal}")), "{doctor}");
    assert_eq!(night.read("home/fire"), format!("[\"{fatal}\"]"));

    night.set("AUTOMETTA_FAULT", "");
    let lived = night.run(&["tick"]);
    assert_eq!(lived.status.code(), Some(0), "{}", text(&lived.stderr));
    assert_eq!(night.read("home/fire"), "", "the next fire is one like any other");
    night.wait("the last one to be served", || is_done(&night, "fatal"));
    let log = night.tick_log();
    assert!(log.contains("so it comes last"), "{log}");
}

#[test]
fn scenario_61_a_fire_whose_list_cannot_be_written_goes_on_without_it() {
    let mut night = stubs_only();
    let places = ["one", "two"].map(|name| night.base().join(name));
    for place in &places {
        repository(&night, place);
        furnish(&night, place);
        ok_at(&night, place, &["init"]);
        ok_at(&night, place, &["add-stage", "stage-cards/01-work.md"]);
    }
    night.fail(|_| "*/fire.write:*:enospc,*/fire.end:*:eio".to_owned());
    night.wait("both to be served", || {
        assert_eq!(night.run(&["tick"]).status.code(), Some(0));
        places.iter().all(|place| ok_at(&night, place, &["status"]).contains("01-work  completed"))
    });
    night.set("AUTOMETTA_FAULT", "*/fire.end:*:eio");
    assert_eq!(night.run(&["tick"]).status.code(), Some(0));
    assert_eq!(night.read("home/fire"), "[]", "the next one takes this one for dead");
    night.set("AUTOMETTA_FAULT", "");
    assert_eq!(night.run(&["tick"]).status.code(), Some(0));
    assert_eq!(night.read("home/fire"), "");
    let log = night.tick_log();
    for wanted in ["the next one does not know where", "the next fire will take this one for dead"] {
        assert!(log.contains(wanted), "`{wanted}` is not in\n{log}");
    }
}

#[test]
fn scenario_61_a_subscriber_that_cannot_be_served_keeps_nobody_else_from_being_served() {
    let night = stubs_only();
    let place = |name: &str| night.base().join(name);
    for name in ["gone", "corrupt", "locked", "manifest", "served"] {
        repository(&night, &place(name));
        furnish(&night, &place(name));
        ok_at(&night, &place(name), &["init"]);
        ok_at(&night, &place(name), &["add-stage", "stage-cards/01-work.md"]);
    }
    fs::remove_dir_all(place("gone")).expect("remove");
    fs::write(place("corrupt").join("state/state.yaml"), "stages: [").expect("corrupt");
    git(&night, &place("corrupt"), &["update-ref", "-d", "refs/autometta/state"]);
    fs::write(place("manifest").join(".autometta.yaml"), "nonsense: yes\n").expect("manifest");
    let lock = File::options().write(true).open(place("locked").join("state/.tick.lock")).expect("lock file");
    lock.lock().expect("lock");
    fs::write(night.home.join("subscribers/000-broken.yaml"), "repo_path: [").expect("subscriber");
    let mut said = String::new();
    night.wait("the last one to be served", || {
        let output = night.run(&["tick"]);
        assert_eq!(output.status.code(), Some(1), "the failures are not hidden");
        said = text(&output.stderr);
        ok_at(&night, &place("served"), &["status"]).contains("01-work  completed")
    });
    for wanted in ["gone", "corrupt/state/state.yaml", "manifest/.autometta.yaml", "000-broken.yaml"] {
        assert!(said.contains(wanted), "`{wanted}` is not in\n{said}");
    }
    assert_eq!(fs::read_to_string(place("corrupt").join("state/state.yaml")).expect("state"), "stages: [", "untouched");
    assert!(ok_at(&night, &place("locked"), &["status"]).contains("01-work  pending"), "its lock was respected");
    drop(lock);
    night.wait("the one whose lock is free again", || {
        drop(night.run(&["tick"]));
        ok_at(&night, &place("locked"), &["status"]).contains("01-work  completed")
    });
}

#[test]
fn scenario_61_subscribers_go_by_weight_and_disabled_ones_are_left_out() {
    let night = stubs_only();
    for name in ["a", "b", "c"] {
        let place = night.base().join(name);
        repository(&night, &place);
        furnish(&night, &place);
        ok_at(&night, &place, &["init"]);
    }
    for (name, weight, enabled) in [("a", 30, true), ("b", 10, true), ("c", 20, false)] {
        let place = night.base().join(name);
        let file = fs::read_dir(night.home.join("subscribers"))
            .expect("subscribers")
            .flatten()
            .find(|entry| fs::read_to_string(entry.path()).expect("entry").contains(&format!("{}\n", place.display())))
            .expect("its entry");
        let entry = format!("repo_path: {}\nweight: {weight}\nenabled: {enabled}\n", place.display());
        fs::write(file.path(), entry).expect("entry");
    }
    let told: serde_json::Value = serde_json::from_str(&night.ok(&["tick", "--json"])).expect("json");
    let served: Vec<&str> = told
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| entry["repo"].as_str().expect("repo").rsplit('/').next().expect("name"))
        .collect();
    assert_eq!(served, ["b", "a"]);
}

#[test]
fn scenario_62_repositories_with_spaces_quotes_unicode_and_line_breaks_in_their_paths_are_served() {
    let night = stubs_only();
    for name in ["my \"re po\" 'é' $HOME `id` \\ ✓ #1; &", "two\nlines"] {
        let place = night.base().join(name);
        repository(&night, &place);
        furnish(&night, &place);
        works_at(&night, &place);
    }
    ok_at(&night, &night.base(), &["tick"]);
}

#[test]
fn scenario_62_a_repository_behind_a_symbolic_link_is_one_and_the_same() {
    let night = stubs_only();
    let (place, link) = (night.base().join("real"), night.base().join("link"));
    repository(&night, &place);
    furnish(&night, &place);
    symlink(&place, &link).expect("link");
    let link_text = link.display().to_string();
    ok_at(&night, &night.base(), &["--repo", &link_text, "init"]);
    let card = link.join("stage-cards/01-work.md").display().to_string();
    assert!(
        ok_at(&night, &night.base(), &["--repo", &link_text, "card", "lint", &card])
            .contains("stage-cards/01-work.md: ok")
    );
    ok_at(&night, &night.base(), &["--repo", &link_text, "add-stage", &card]);
    until_completed(&night, &place);
    let status = ok_at(&night, &night.base(), &["--repo", &link_text, "status", "--json"]);
    assert!(status.contains("\"card\": \"stage-cards/01-work.md\""), "{status}");
    ok_at(&night, &place, &["init"]);
    assert_eq!(fs::read_dir(night.home.join("subscribers")).expect("subscribers").count(), 1, "one subscription");
}

#[test]
fn scenario_62_a_linked_worktree_is_served_as_a_repository() {
    let night = stubs_only();
    let (main, place) = (night.base().join("main one"), night.base().join("linked one"));
    repository(&night, &main);
    git(&night, &main, &["switch", "-qc", "other"]);
    git(&night, &main, &["worktree", "add", "-q", "../linked one", "main"]);
    furnish(&night, &place);
    works_at(&night, &place);
    assert!(!main.join("a.txt").exists() && !main.join("state").exists());
    assert_eq!(git(&night, &main, &["status", "--porcelain"]), "");
}

/// Two queues would meet on `autometta/<stage>`, `wip/…` and the snapshots' ref.
#[test]
fn scenario_62_a_second_checkout_of_a_repository_that_has_a_queue_is_refused_one() {
    let night = stubs_only();
    let (main, place) = (night.base().join("main one"), night.base().join("linked one"));
    repository(&night, &main);
    ok_at(&night, &main, &["init"]);
    git(&night, &main, &["worktree", "add", "-q", "-b", "other", "../linked one"]);
    let refused = night.command(&["init"]).current_dir(&place).output().expect("the binary runs");
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains(&main.display().to_string()) && said.contains("or clone"), "{said}");
    assert_eq!(git(&night, &place, &["status", "--porcelain"]), "", "nothing was made");
    ok_at(&night, &main, &["init"]);
}

#[test]
fn scenario_62_a_submodule_is_served_as_a_repository_and_its_superproject_left_alone() {
    let night = stubs_only();
    let (inner, outer) = (night.base().join("inner"), night.base().join("outer"));
    repository(&night, &inner);
    repository(&night, &outer);
    git(&night, &outer, &["submodule", "-q", "add", "../inner", "sub"]);
    git(&night, &outer, &["commit", "-qm", "Add sub"]);
    let head = git(&night, &outer, &["rev-parse", "HEAD"]);
    let place = outer.join("sub");
    git(&night, &place, &["config", "user.name", "Operator"]);
    git(&night, &place, &["config", "user.email", "operator@local"]);
    furnish(&night, &place);
    // Its checkouts may not lie in the superproject, where they would show up as untracked.
    let manifest = fs::read_to_string(place.join(".autometta.yaml")).expect("manifest");
    let folder = night.base().join("sub.checkouts");
    fs::write(place.join(".autometta.yaml"), format!("{manifest}worktrees: {}\n", folder.display())).expect("manifest");
    works_at(&night, &place);
    assert_eq!(git(&night, &outer, &["rev-parse", "HEAD"]), head);
    assert_eq!(git(&night, &inner, &["log", "--format=%s"]), "Begin");
}

#[test]
fn scenario_62_a_repository_without_commits_waits_with_a_reason_and_goes_on_after_the_first_one() {
    let night = stubs_only();
    let place = night.base().join("empty");
    fs::create_dir_all(&place).expect("folder");
    git(&night, &place, &["init", "-q", "-b", "main"]);
    git(&night, &place, &["config", "user.name", "Operator"]);
    git(&night, &place, &["config", "user.email", "operator@local"]);
    furnish(&night, &place);
    let init = at(&night, &place, &["init"]);
    assert!(init.status.success() && text(&init.stderr).contains("no commit yet"), "{}", text(&init.stderr));
    ok_at(&night, &place, &["add-stage", "stage-cards/01-work.md"]);
    ok_at(&night, &place, &["tick", "--repo", "."]);
    let status = ok_at(&night, &place, &["status"]);
    assert!(status.contains("no-base"), "{status}");
    git(&night, &place, &["commit", "-qm", "Begin", "--allow-empty"]);
    until_completed(&night, &place);
}

#[test]
fn scenario_62_places_that_are_no_repository_are_refused_with_a_sentence() {
    let night = stubs_only();
    let (bare, plain) = (night.base().join("bare.git"), night.base().join("plain"));
    fs::create_dir_all(&plain).expect("folder");
    git(&night, &plain, &["init", "-q", "--bare", "../bare.git"]);
    for (place, word) in
        [(&bare, "bare"), (&plain, "not a git repository"), (&night.base().join("none"), "no such folder")]
    {
        let said = night.fails(&["--repo", &place.display().to_string(), "init"], 1);
        assert!(said.contains(word), "{said}");
        assert!(!place.join("state").exists() && !place.join(".autometta.yaml").exists());
    }
}

#[test]
fn scenario_63_from_init_to_landed_in_the_environment_of_cron() {
    let night = Night::bare();
    let user = night.base().join("user");
    let place = night.repo.clone();
    // The operator's identity is in the global configuration, as it mostly is; nothing else is set.
    night.git(&["config", "--global", "user.name", "Opératrice"]);
    night.git(&["config", "--global", "user.email", "operator@local"]);
    night.git(&["config", "--unset", "user.name"]);
    night.git(&["config", "--unset", "user.email"]);
    night.write("stage-cards/01-work.md", "# Stage card 01-work: Écris le fichier\n\n## Metadata\n- **Worker:** Script <script@local>\n- **Verifier:** Check <check@local>\n\n## Objective\nÉcris.\n\n## Deliverables\n1. `é.txt`: it\n\n## Acceptance criteria\n1. it is there\n\n## Acceptance command\n```sh\ngrep -q ça é.txt\n```\n\n## Script\n```sh\necho ça >é.txt\n```\n");
    let cron = |args: &[&str]| -> Output {
        let mut command = Command::new("/usr/bin/setsid");
        command.args(["-w", "/usr/bin/env", "-i"]);
        command.arg(format!("HOME={}", user.display())).arg("PATH=/usr/bin:/bin").arg(env!("CARGO_BIN_EXE_autometta"));
        command.args(args).current_dir(&place).stdin(Stdio::null()).env_clear();
        command.output().expect("setsid runs")
    };
    for args in [&["init"][..], &["add-stage", "stage-cards/01-work.md"]] {
        let output = cron(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    }
    let home: PathBuf = user.join(".autometta");
    assert!(home.join("subscribers").exists());
    let begun = std::time::Instant::now();
    while !text(&cron(&["status"]).stdout).contains("01-work  completed") {
        let output = cron(&["tick"]);
        assert_eq!(text(&output.stderr), "", "cron would mail this");
        assert!(begun.elapsed() < LIMIT, "{}", text(&cron(&["log"]).stdout));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(night.git(&["show", "main:é.txt"]), "ça");
    assert_eq!(night.git(&["log", "-1", "--format=%cn %s", "main"]), "Opératrice 01-work: Écris le fichier");
}
