//! What has landed, and which trees the gates have passed.

use std::fs;

use serde_json::Value;

use super::night::Night;

/// The trees on which a gate run has passed, in no order.
#[must_use]
pub fn gated_trees(night: &Night) -> Vec<String> {
    let mut trees = Vec::new();
    for entry in fs::read_dir(night.repo.join("state/runs")).expect("runs").flatten() {
        let read =
            |name: &str| -> Option<Value> { serde_json::from_slice(&fs::read(entry.path().join(name)).ok()?).ok() };
        let (Some(order), Some(exit)) = (read("run.json"), read("exit.json")) else { continue };
        let is_gate = order["run_id"].as_str().expect("run id").contains(".gate");
        if is_gate && exit["exit"]["code"] == 0 {
            trees.push(order["candidate_tree"].as_str().expect("tree").to_owned());
        }
    }
    trees
}

/// Every commit on main that landed a stage has exactly a tree that a gate passed.
pub fn assert_every_landed_tree_was_gated(night: &Night, landings: usize) {
    let gated = gated_trees(night);
    let log = night.git(&["log", "--first-parent", "--format=%T %(trailers:key=Autometta-Stage,valueonly)", "main"]);
    let landed: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, stage)| !stage.is_empty())
        .map(|(tree, _)| tree)
        .collect();
    assert_eq!(landed.len(), landings, "{log}");
    for tree in landed {
        assert!(gated.iter().any(|known| known == tree), "{tree} landed, gated were {gated:?}");
    }
}
