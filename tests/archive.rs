//! Stages that are done with leave `state.yaml`, and come back where a command is about them.

#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "tests build their world by hand")]

mod support;

use std::fs;

use support::night::{HAND_IN, Night, SAY_PASS};

/// A night that keeps two finished stages, with a worker whose change depends on its stage.
fn night(more: &str) -> Night {
    let night = Night::bare();
    night.stub("worker", &format!("echo \"$1\" >a.txt\n{HAND_IN}"));
    night.stub("verifier", SAY_PASS);
    night.manifest(&format!("caps: {{tokens: 900000000}}\nretention: {{finished_stages: 2}}\n{more}"));
    night.ok(&["init"]);
    night
}

fn archived(night: &Night) -> Vec<String> {
    let Ok(entries) = fs::read_dir(night.repo.join("state/archive")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn in_state(night: &Night) -> Vec<String> {
    let status = night.status();
    let stages = status["stages"].as_array().expect("stages").iter();
    stages.map(|stage| stage["id"].as_str().expect("id").to_owned()).collect()
}

#[test]
fn the_newest_stages_stay_and_older_ones_are_still_known() {
    let night = night("");
    for stage in ["01-a", "02-b", "03-c", "04-d", "05-e"] {
        night.queue(stage);
        night.ok(&["run", "--quiet"]);
    }
    night.wait("the last one", || {
        let _ = night.tick();
        archived(&night) == ["01-a.yaml", "02-b.yaml", "03-c.yaml"]
    });
    assert_eq!(in_state(&night), ["04-d", "05-e"]);
    assert!(night.read("repo/state/archive/01-a.yaml").contains("status: completed"));
    // Its name is taken for ever, and what it did cannot be undone by a command.
    assert!(night.fails(&["add-stage", "stage-cards/01-a.md"], 3).contains("01-a is in the queue already, completed"));
    assert!(night.fails(&["requeue", "01-a"], 3).contains("01-a is completed"));
    assert_eq!(in_state(&night), ["04-d", "05-e"], "a command that was refused changes nothing");
    // A stage may depend on it, and starts at once.
    night.card_with("06-f", "- **Depends on:** 01-a, 03-c\n", "1. `a.txt`", "test -s a.txt");
    night.ok(&["add-stage", "stage-cards/06-f.md"]);
    assert_eq!(in_state(&night), ["03-c", "01-a", "04-d", "05-e", "06-f"]);
    night.ok(&["run", "--quiet"]);
    night.wait("the archive", || {
        let _ = night.tick();
        in_state(&night) == ["05-e", "06-f"]
    });
    assert_eq!(night.stage("06-f")["status"], "completed");
    night.ok(&["log", "--verify"]);
}

#[test]
fn what_a_waiting_stage_depends_on_stays_and_a_skipped_stage_may_be_requeued_out_of_the_archive() {
    let night = night("landing: ask");
    night.queue("01-a");
    night.tick_until("01-a", "blocked");
    night.ok(&["approve", "01-a"]);
    night.tick_until("01-a", "completed");
    night.card_with("02-b", "- **Depends on:** 01-a\n", "1. `a.txt`", "test -s a.txt");
    night.ok(&["add-stage", "stage-cards/02-b.md"]);
    night.tick_until("02-b", "blocked");
    for stage in ["03-c", "04-d", "05-e"] {
        night.queue(stage);
        night.ok(&["skip", stage]);
    }
    night.queue("06-f");
    night.tick_until("06-f", "blocked");
    assert_eq!(in_state(&night), ["01-a", "02-b", "04-d", "05-e", "06-f"], "02-b has not landed yet");
    night.ok(&["requeue", "03-c"]);
    let stage = night.tick_until("03-c", "blocked");
    assert_eq!(stage["attempt"], 1);
    // It is in the state, so the copy in the archive says nothing any more.
    night.ok(&["approve", "03-c"]);
    night.tick_until("03-c", "completed");
    assert_eq!(night.git(&["show", "main:a.txt"]), "03-c");
}

#[test]
fn an_archived_stage_that_cannot_be_read_is_named_and_stops_only_what_is_about_it() {
    let night = night("");
    for stage in ["01-a", "02-b", "03-c"] {
        night.queue(stage);
        night.ok(&["run", "--quiet"]);
    }
    night.wait("the archive", || {
        let _ = night.tick();
        !archived(&night).is_empty()
    });
    night.write("state/archive/01-a.yaml", "id: 02-b\n");
    let said = night.fails(&["requeue", "01-a"], 1);
    assert!(said.contains("archive/01-a.yaml"), "{said}");
    night.queue("04-d");
    night.ok(&["run", "--quiet"]);
    assert_eq!(night.stage("04-d")["status"], "completed");
}
