//! `doctor --restore`: what comes back and what is kept, after every kind of damage.

use super::*;

/// A night whose stage has landed, with what stood in its files then.
fn landed() -> (Night, String, Value) {
    let night = Night::passing();
    night.queue("01-work");
    night.tick_until("01-work", "completed");
    night.tick();
    // A tick that comes later would mend what the test breaks.
    night.nothing_runs();
    let state = night.read("repo/state/state.yaml");
    let budget = night.budget();
    assert!(budget["tokens_spent"].as_u64().expect("tokens") > 0, "{budget:#}");
    (night, state, budget)
}

fn in_state(night: &Night, name: &str) -> PathBuf {
    night.repo.join("state").join(name)
}

fn damage(night: &Night, name: &str, bytes: Option<&[u8]>) {
    let path = in_state(night, name);
    match bytes {
        Some(bytes) => fs::write(path, bytes).expect("damage"),
        None => {
            fs::remove_file(&path).expect("removed");
            fs::create_dir(path).expect("directory");
        }
    }
}

fn kept(night: &Night, start: &str) -> usize {
    let names = fs::read_dir(night.repo.join("state")).expect("state").map(|entry| entry.expect("entry").file_name());
    names.filter(|name| name.to_string_lossy().starts_with(start)).count()
}

/// The snapshots, newest first.
fn copies(night: &Night) -> Vec<String> {
    night.git(&["rev-list", "refs/autometta/state"]).lines().map(str::to_owned).collect()
}

/// Takes the ref back to a copy, as if the newer ones had never been written.
fn only_up_to(night: &Night, copy: &str) {
    night.git(&["update-ref", "refs/autometta/state", copy]);
    fs::remove_file(night.repo.join(".git/logs/refs/autometta/state")).expect("reflog");
}

#[test]
fn every_damage_is_mended_and_the_damaged_file_is_kept() {
    let (night, state, budget) = landed();
    let marked = format!("<<<<<<< HEAD\n{state}=======\n{state}>>>>>>> other\n").into_bytes();
    let cut = state.as_bytes()[..state.len() / 2].to_vec();
    let cases: Vec<(&str, &str, Option<Vec<u8>>)> = vec![
        ("truncated", "state.yaml", Some(cut)),
        ("empty", "state.yaml", Some(Vec::new())),
        ("merge markers", "state.yaml", Some(marked)),
        ("a directory", "state.yaml", None),
        ("not UTF-8", "state.yaml", Some(vec![0xff, 0xfe])),
        ("empty", "budget.json", Some(Vec::new())),
        ("half", "budget.json", Some(b"{\"version\": 2, \"tokens_".to_vec())),
        ("a directory", "budget.json", None),
    ];
    for (how, name, bytes) in cases {
        let before = kept(&night, &format!("{name}.damaged-"));
        damage(&night, name, bytes.as_deref());
        let refused = night.fails(&["doctor", "--restore"], 3);
        assert!(refused.contains(name) && refused.contains("--restore --yes"), "{how}: {refused}");
        let said = night.ok(&["doctor", "--restore", "--yes"]);
        assert!(said.contains("damaged:") && said.contains("comes back:") && said.contains("restored"), "{said}");
        assert_eq!(night.stage("01-work")["status"], "completed", "{how} {name}");
        assert_eq!(night.budget()["tokens_spent"], budget["tokens_spent"], "{how} {name}");
        assert_eq!(kept(&night, &format!("{name}.damaged-")), before + 1, "{how} {name}");
        assert!(night.ok(&["log", "--verify"]).contains("each follows"));
        assert!(night.ok(&["log"]).lines().last().expect("line").contains("restored"), "{how} {name}");
    }
    assert!(night.ok(&["doctor", "--restore"]).contains("nothing is damaged"));
}

#[test]
fn spend_never_goes_down_and_ends_that_the_ledger_tells_stay_ends() {
    let (night, _, budget) = landed();
    let oldest = copies(&night).into_iter().nth(2).expect("an older copy");
    let then = night.git(&["show", &format!("{oldest}:budget.json")]);
    let then: Value = serde_json::from_str(&then).expect("json");
    assert!(then["tokens_spent"].as_u64() < budget["tokens_spent"].as_u64(), "the copy is from before");
    only_up_to(&night, &oldest);
    damage(&night, "state.yaml", Some(b""));
    damage(&night, "budget.json", Some(b""));
    let said: Value = serde_json::from_str(&night.ok(&["doctor", "--restore", "--yes", "--json"])).expect("json");
    let change = &said["proposal"]["stages"][0];
    assert_eq!(
        (&change["stage"], &change["ledger"], &change["restored"]),
        (&json!("01-work"), &json!("completed"), &json!("completed")),
        "{said:#}"
    );
    let after = night.budget();
    for figure in ["tokens_spent", "lifetime_tokens_spent", "cost_spent_usd", "lifetime_cost_usd"] {
        assert_eq!(after[figure], budget[figure], "{figure}");
    }
    assert_eq!(after["tokens_reserved"], 0);
    let stage = night.stage("01-work");
    assert_eq!(
        (&stage["status"], stage["commit"].as_str()),
        (&json!("completed"), Some(night.git(&["rev-parse", "main"]).as_str()))
    );
    night.tick();
    assert_eq!(night.git(&["rev-list", "--count", "main"]), "2", "it lands once");
}

#[test]
fn runs_that_the_copy_does_not_know_are_stopped_kept_and_never_dispatched_again_under_their_id() {
    let worker = format!(
        "echo \"$2\" >>\"$T/starts\"\necho half >a.txt\nuntil test -e \"$T/go\"; do sleep 0.05; done\n{HAND_IN}"
    );
    let night = Night::with(&worker, SAY_PASS);
    night.queue("01-work");
    let before = copies(&night).into_iter().next().expect("a copy");
    night.tick_until_that("01-work", |_| night.worktrees().join("01-work.1.worker/a.txt").exists());
    only_up_to(&night, &before);
    damage(&night, "state.yaml", Some(b"version: 2\n"));
    let said = night.ok(&["doctor", "--restore", "--yes"]);
    assert!(said.contains("01-work.1.worker"), "{said}");
    assert!(!night.worktrees().join("01-work.1.worker").exists());
    let branch = night.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/wip/"]);
    assert_eq!(night.git(&["show", &format!("{branch}:a.txt")]), "half", "what it did is kept");
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-work", "completed");
    let starts = night.read("t/starts");
    assert_eq!(starts.lines().collect::<Vec<_>>(), ["01-work.1.worker", "01-work.2.worker"]);
}

#[test]
fn on_a_terminal_a_person_is_asked() {
    let (night, _, _) = landed();
    damage(&night, "state.yaml", Some(b""));
    let exe = env!("CARGO_BIN_EXE_autometta");
    for (answer, code) in [("n", 3), ("", 3), ("y", 0)] {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &format!("'{exe}' doctor --restore"), "/dev/null"]).current_dir(&night.repo);
        // The same surroundings as every other command of this night.
        script.env_clear().envs(night.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
        let spawned = script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn();
        let mut child = spawned.expect("this test needs `script`, of the Debian package bsdutils");
        let mut stdin = child.stdin.take().expect("stdin");
        std::io::Write::write_all(&mut stdin, format!("{answer}\n").as_bytes()).expect("answer");
        let output = child.wait_with_output().expect("script");
        let said = support::night::text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{answer}: {said}");
        assert!(said.contains("restore? [y/N]"), "{said}");
        drop(stdin);
    }
    assert_eq!(night.stage("01-work")["status"], "completed");
}

#[test]
fn a_damaged_copy_is_passed_over() {
    let (night, _, _) = landed();
    let tip = copies(&night).remove(0);
    // A copy on top whose state is broken.
    fs::write(night.base().join("broken"), "version: 2\n").expect("file");
    let blob = night.git(&["hash-object", "-w", &night.base().join("broken").display().to_string()]);
    let index = night.base().join("index").display().to_string();
    let plumb = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        let output = command.args(args).current_dir(&night.repo).env("GIT_INDEX_FILE", &index).output().expect("git");
        assert!(output.status.success(), "{args:?}");
        support::night::text(&output.stdout).trim().to_owned()
    };
    plumb(&["read-tree", &tip]);
    plumb(&["update-index", "--cacheinfo", &format!("100644,{blob},state.yaml")]);
    let tree = plumb(&["write-tree"]);
    let broken = night.git(&["commit-tree", "-p", &tip, "-m", "broken", &tree]);
    night.git(&["update-ref", "refs/autometta/state", &broken]);
    damage(&night, "state.yaml", Some(b""));
    let said = night.ok(&["doctor", "--restore", "--yes"]);
    assert!(said.contains("copies that are damaged as well") && said.contains(&broken[..12]), "{said}");
    assert!(said.contains(&tip[..12]), "{said}");
    assert_eq!(night.stage("01-work")["status"], "completed");
}

#[test]
fn a_torn_ledger_is_cut_at_its_last_whole_line_and_gets_back_what_the_copy_has() {
    let (night, _, _) = landed();
    let ledger = night.read("repo/state/ledger.jsonl");
    damage(&night, "ledger.jsonl", Some(&ledger.as_bytes()[..ledger.len() - 30]));
    let said = night.ok(&["doctor", "--restore", "--yes"]);
    assert!(said.contains("ledger.jsonl is torn") && said.contains("1 lines come back"), "{said}");
    assert!(night.read("repo/state/ledger.jsonl").starts_with(&ledger), "nothing was lost");
    assert_eq!(kept(&night, "ledger.jsonl.torn-"), 1);
    // Something that no copy has: a line that was being written when the power went.
    let ledger = night.read("repo/state/ledger.jsonl");
    damage(&night, "ledger.jsonl", Some(format!("{ledger}{{\"seq\":99,\"at\":\"2026").as_bytes()));
    let said = night.ok(&["doctor", "--restore", "--yes"]);
    assert!(said.contains("what they told is lost"), "{said}");
    assert!(night.read("repo/state/ledger.jsonl").starts_with(&ledger));
    assert!(night.ok(&["log", "--verify"]).contains("each follows"));
}

#[test]
fn only_the_halt_for_the_damage_is_lifted() {
    let (night, _, _) = landed();
    night.ok(&["halt", "--reason", "mine"]);
    // A tick that finds damage which it cannot mend latches the halt.
    let copy = copies(&night).into_iter().nth(1).expect("an older copy");
    only_up_to(&night, &copy);
    damage(&night, "state.yaml", Some(b""));
    assert!(!night.tick().status.success());
    let reasons = |night: &Night| -> Vec<String> {
        let budget = night.budget();
        let halts = budget["halt_reasons"].as_array().expect("halts").clone();
        halts.iter().map(|halt| halt["reason"].as_str().expect("reason").to_owned()).collect()
    };
    assert_eq!(reasons(&night), ["operator", "state-corrupt"]);
    let said = night.ok(&["doctor", "--restore", "--yes"]);
    assert!(said.contains("the halt state-corrupt, and no other"), "{said}");
    assert_eq!(reasons(&night), ["operator"]);
    assert_eq!(night.budget()["halted"], true);
}

#[test]
fn without_a_good_copy_nothing_is_changed() {
    let (night, _, _) = landed();
    night.git(&["update-ref", "-d", "refs/autometta/state"]);
    damage(&night, "state.yaml", Some(b""));
    let before = night.read("repo/state/budget.json");
    let said = night.fails(&["doctor", "--restore", "--yes"], 1);
    assert!(said.contains("there is no copy"), "{said}");
    assert_eq!((night.read("repo/state/state.yaml").as_str(), night.read("repo/state/budget.json")), ("", before));
}

#[test]
fn a_transaction_that_cannot_be_read_is_moved_aside() {
    let (night, state, _) = landed();
    fs::write(in_state(&night, ".txn.json"), "{\"version\": 1, \"sta").expect("damage");
    let said = night.ok(&["doctor", "--restore", "--yes"]);
    assert!(said.contains(".txn.json"), "{said}");
    assert_eq!(kept(&night, ".txn.json.found-"), 1);
    assert_eq!(night.read("repo/state/state.yaml"), state);
}

#[test]
fn the_proposal_is_read_before_anything_is_changed() {
    let (night, _, _) = landed();
    let copy = copies(&night).into_iter().nth(1).expect("an older copy");
    only_up_to(&night, &copy);
    damage(&night, "state.yaml", Some(b""));
    let before = tree(&night.repo);
    let said: Value = serde_json::from_slice(&night.run(&["doctor", "--restore", "--json"]).stdout).expect("json");
    assert_eq!(
        (&said["restored"], said["proposal"]["since"].as_array().map(Vec::is_empty)),
        (&json!(false), Some(false)),
        "{said:#}"
    );
    assert!(before == tree(&night.repo), "it only showed what it would do");
}
