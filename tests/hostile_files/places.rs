//! Every thing in every file's place, with the real binary.

use std::fs;
use std::path::PathBuf;

use crate::world::{Said, Thing, World, clear, keep, put_back};

/// What becomes of a tick while something else stands in a file's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tick {
    /// The repository is refused, with the path in a sentence that says the way out; the other one is served.
    Refused,
    /// The tick goes on: the file only informs, or the run's lock says more than it.
    GoesOn,
    /// The tick goes on or is refused with the path: the file is written, not read.
    Written,
}

struct Place {
    path: PathBuf,
    name: &'static str,
    tick: Tick,
}

fn places(world: &World) -> Vec<Place> {
    let (state, run) = (world.state(), world.run());
    let subscribers = world.night.home.join("subscribers");
    let mine = fs::read_dir(&subscribers)
        .expect("subscribers")
        .map(|entry| entry.expect("entry").path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("repo-")))
        .expect("subscribed");
    let place = |path: PathBuf, name, tick| Place { path, name, tick };
    vec![
        place(state.join("state.yaml"), "state.yaml", Tick::Refused),
        place(state.join("budget.json"), "budget.json", Tick::Refused),
        place(state.join("ledger.jsonl"), "ledger.jsonl", Tick::Refused),
        place(state.join(".txn.json"), ".txn.json", Tick::Refused),
        place(mine, ".yaml", Tick::Refused),
        place(state.join("heartbeat.json"), "heartbeat.json", Tick::Written),
        place(state.join("active-agents/01-work.1.worker.json"), "01-work.1.worker.json", Tick::GoesOn),
        place(state.join("active-agents/02-hand.manual.worker.json"), "02-hand.manual.worker.json", Tick::GoesOn),
        place(run.join("run.json"), "run.json", Tick::GoesOn),
        place(run.join("started.json"), "started.json", Tick::GoesOn),
        place(run.join("agent.json"), "agent.json", Tick::GoesOn),
        place(run.join("exit.json"), "exit.json", Tick::GoesOn),
        place(run.join("stdout.log"), "stdout.log", Tick::GoesOn),
        place(run.join("outbox"), "outbox", Tick::GoesOn),
    ]
}

/// An empty ledger is one that has no lines yet; that lines are missing, only `log --verify` can tell.
fn is_sound(place: &Place, thing: Thing) -> bool {
    place.name == "ledger.jsonl" && thing == Thing::Empty
}

#[test]
fn whatever_stands_in_a_files_place_stops_nothing_else_and_is_undone_by_the_file() {
    let world = World::new();
    let state = world.state();
    let core = ["state.yaml", "budget.json", "ledger.jsonl"].map(|name| state.join(name));
    let (mut cases, mut unmade) = (0, 0);
    for place in places(&world) {
        for thing in Thing::ALL {
            // Without a copy nothing proves what a file held, so nothing may be brought back by itself.
            world.night.git(&["update-ref", "-d", "refs/autometta/state"]);
            let before: Vec<_> = core.iter().map(|path| keep(path)).collect();
            let kept = keep(&place.path);
            let served = world.served();
            if !thing.put(&place.path) {
                put_back(&place.path, kept.as_deref());
                unmade += 1;
                continue;
            }
            let what = format!("{} as {thing:?}", place.path.display());
            let ticked = world.limited(&["tick"]);
            hold_tick(&place, thing, &ticked, &what);
            assert!(world.served() > served, "{what}: the other repository is served\n{}", ticked.text);
            let looked = world.limited(&["status"]);
            assert!(matches!(looked.code, Some(0 | 1)), "{what}: status: {looked:?}");
            assert!(looked.code == Some(0) || looked.text.contains(place.name), "{what}: status: {}", looked.text);
            // Nothing that was whole has been replaced.
            for (path, before) in core.iter().zip(&before) {
                if *path != place.path && !path.ends_with("budget.json") {
                    assert_eq!(&keep(path), before, "{what}: {} is another", path.display());
                }
            }
            if place.tick == Tick::Refused && !is_sound(&place, thing) {
                assert_unreplaced(&place, thing, &what);
            }
            put_back(&place.path, kept.as_deref());
            // A halt that the damage latched is lifted with it.
            put_back(&core[1], before[1].as_deref());
            let after = world.limited(&["tick"]);
            assert_eq!(after.code, Some(0), "{what}, and then put back: {}", after.text);
            let stages = world.night.status()["stages"].as_array().map(Vec::len);
            assert_eq!(stages, Some(1), "{what}: the stage is there");
            cases += 1;
        }
    }
    // As if nothing had happened: the run of before all this ends and lands, once.
    clear(&state.join(".txn.json"));
    fs::write(world.night.t().join("go"), "").expect("go");
    world.night.tick_until("01-work", "completed");
    assert_eq!(world.night.read("t/starts").lines().count(), 1, "one worker");
    println!("{cases} cases; {unmade} could not be made here");
    assert!(cases >= 14 * 11, "{cases} cases");
}

fn hold_tick(place: &Place, thing: Thing, ticked: &Said, what: &str) {
    let Said { code, text } = ticked;
    let names = text.contains(place.name);
    match place.tick {
        _ if is_sound(place, thing) => assert_eq!(*code, Some(0), "{what}: {text}"),
        Tick::Refused => {
            assert_eq!(*code, Some(1), "{what}: {text}");
            assert!(names, "{what}: {text}");
            let way_out = ["move it away", "autometta resume", "autometta doctor", "cannot be used: it is"];
            let says_it = way_out.iter().any(|words| text.contains(words)) || place.name == ".yaml";
            assert!(says_it, "{what}: no way out in: {text}");
        }
        Tick::GoesOn => assert_eq!(*code, Some(0), "{what}: {text}"),
        Tick::Written => assert!(*code == Some(0) || (*code == Some(1) && names), "{what}: {code:?}: {text}"),
    }
}

/// What stands there is still what was put there.
fn assert_unreplaced(place: &Place, thing: Thing, what: &str) {
    let found = fs::symlink_metadata(&place.path).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(found.is_file(), thing.is_file(), "{what}: replaced");
    if thing == Thing::Huge {
        assert_eq!(found.len(), 5 << 30, "{what}: changed");
    }
}

#[test]
fn another_repositorys_files_are_refused() {
    let world = World::new();
    let (state, other) = (world.state(), world.other.join("state"));
    // A state of another place.
    let kept = keep(&state.join("state.yaml"));
    fs::copy(other.join("state.yaml"), state.join("state.yaml")).expect("swapped");
    let said = world.limited(&["tick", "--repo", &world.night.repo.display().to_string()]);
    assert!(said.code == Some(3) && said.text.contains("init --adopt"), "{said:?}");
    put_back(&state.join("state.yaml"), kept.as_deref());
    // Transactions of another place: with lines for the ledger, and without.
    let read = |path: PathBuf| fs::read_to_string(path).expect("file");
    let before = ["state.yaml", "budget.json", "ledger.jsonl"].map(|name| keep(&state.join(name)));
    let length = before[2].as_ref().map_or(0, Vec::len);
    let (foreign, line) = (read(other.join("state.yaml")), read(other.join("ledger.jsonl")));
    for (lines, offset) in [(String::new(), 0), (line.clone(), length), (line, 0)] {
        let txn = serde_json::json!({
            "version": 1, "state": foreign, "budget": read(other.join("budget.json")),
            "ledger_offset": offset, "ledger_lines": lines,
        });
        fs::write(state.join(".txn.json"), txn.to_string()).expect("transaction");
        let said = world.limited(&["tick"]);
        assert!(said.code == Some(1) && said.text.contains("state/"), "{said:?}");
        assert!(said.text.contains(".txn.json") || said.text.contains("ledger.jsonl"), "{said:?}");
        for (name, before) in ["state.yaml", "ledger.jsonl"].iter().zip([&before[0], &before[2]]) {
            assert_eq!(&keep(&state.join(name)), before, "{name} was replaced");
        }
        put_back(&state.join("budget.json"), before[1].as_deref());
    }
    clear(&state.join(".txn.json"));
    // A record of another run.
    let exit = world.run().join("exit.json");
    let record = serde_json::json!({"run_id": "02-more.1.worker", "started_at": "2026-11-20T00:00:00Z"});
    fs::write(&exit, record.to_string()).expect("record");
    assert_eq!(world.limited(&["tick"]).code, Some(0));
    clear(&exit);
    fs::write(world.night.t().join("go"), "").expect("go");
    world.night.tick_until("01-work", "completed");
}

#[test]
fn a_subscriber_that_leads_elsewhere_from_every_folder_is_refused() {
    let night = crate::support::night::Night::passing();
    std::fs::write(night.home.join("subscribers/near.yaml"), "repo_path: repo\n").expect("subscriber");
    let said = night.fails(&["tick"], 1);
    assert!(said.contains("near.yaml") && said.contains("line 1") && said.contains("not an absolute path"), "{said}");
    let heartbeat = night.repo.join("state/heartbeat.json");
    assert!(heartbeat.exists(), "the other subscriber is served");
}

#[test]
fn a_worker_that_has_much_to_say_does_not_break_the_ledger() {
    let worker = r#"head -c 700000 /dev/zero | tr '\0' x >"$T/words"
        { printf '{"stage_id":"%s","status":"fail","deliverables":[],"notes":"' "$1"; cat "$T/words"; printf '"}'; } \
            >.autometta/outbox/handoff.json"#;
    let night = crate::support::night::Night::with(worker, crate::support::night::SAY_PASS);
    night.queue("01-work");
    let stage = night.tick_until("01-work", "failed");
    night.ok(&["tick", "--repo", &night.repo.display().to_string()]);
    night.ok(&["log", "--verify"]);
    assert!(stage["reason"]["detail"].as_str().is_some_and(|detail| detail.len() >= 700_000), "the notes verbatim");
}
