//! The dependency graph, laid out to be read: which stage comes after which, layer by layer. Pure.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::dependencies::{Web, landed};
use super::ids::StageId;
use super::state::{Stage, State};

/// Stages and what they depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Graph {
    /// The stages: each below the deepest of those that it depends on, else as queued.
    pub stages: Vec<Node>,
    /// Stages that wait for each other in a circle, each as a path such as `01-a → 02-b → 01-a`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circles: Vec<String>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Node {
    /// Its id.
    pub stage: StageId,
    /// What it does.
    pub title: String,
    /// Its phase while in progress, else its status; `not queued` for one that is only named.
    pub word: String,
    /// How many stages stand one behind the other before it; 0 for one that depends on none.
    pub layer: usize,
    /// The stages that it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<StageId>,
}

/// Which stages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that have not landed, and all that they depend on.
    Open,
    /// Every one in the state.
    All,
}

/// The word for a stage that is named and stands nowhere.
pub const NOT_QUEUED: &str = "not queued";

/// The graph of a queue.
pub fn of(state: &State, extent: Extent) -> Graph {
    let mut shown: BTreeSet<&StageId> = BTreeSet::new();
    let mut next: Vec<&Stage> =
        state.stages.iter().filter(|stage| extent == Extent::All || landed(stage).is_none()).collect();
    while let Some(stage) = next.pop() {
        if shown.insert(&stage.id) {
            next.extend(stage.depends_on.iter().filter_map(|needed| state.stage(needed)));
        }
    }
    let nodes = state.stages.iter().filter(|stage| shown.contains(&stage.id)).map(|stage| Node {
        stage: stage.id.clone(),
        title: stage.title.clone(),
        word: stage.life.word().to_owned(),
        layer: 0,
        depends_on: stage.depends_on.clone(),
    });
    let web = Web::of(&state.stages);
    let mut circles: Vec<String> = Vec::new();
    let mut told: BTreeSet<String> = BTreeSet::new();
    for stage in &state.stages {
        if told.contains(stage.id.as_str()) {
            continue;
        }
        if let Some(circle) = web.circle_of(&state.stages, &stage.id) {
            told.extend(circle.split(" → ").map(str::to_owned));
            circles.push(circle);
        }
    }
    Graph { stages: laid_out(nodes.collect()), circles }
}

/// Puts each stage below the deepest of those that it depends on.
pub fn laid_out(mut nodes: Vec<Node>) -> Vec<Node> {
    let known: BTreeSet<StageId> = nodes.iter().map(|node| node.stage.clone()).collect();
    let mut strangers: Vec<StageId> =
        nodes.iter().flat_map(|node| &node.depends_on).filter(|needed| !known.contains(*needed)).cloned().collect();
    strangers.sort();
    strangers.dedup();
    let stranger = |stage: StageId| Node {
        stage,
        title: String::new(),
        word: NOT_QUEUED.to_owned(),
        layer: 0,
        depends_on: Vec::new(),
    };
    nodes.splice(0..0, strangers.into_iter().map(stranger));
    let places: BTreeMap<StageId, usize> =
        nodes.iter().enumerate().map(|(place, node)| (node.stage.clone(), place)).collect();
    let needs: Vec<Vec<usize>> = nodes
        .iter()
        .map(|node| node.depends_on.iter().filter_map(|needed| places.get(needed).copied()).collect())
        .collect();
    // Whoever stands in a circle, or behind one, gets no deeper than the queue is long.
    let mut layers: Vec<Option<usize>> = vec![None; nodes.len()];
    loop {
        let mut moved = false;
        for place in 0..nodes.len() {
            let of = |needed: &usize| layers[*needed].map(|layer| layer + 1);
            let deepest = needs[place].iter().map(of).try_fold(0, |most, layer| layer.map(|layer| most.max(layer)));
            if layers[place].is_none() && deepest.is_some() {
                layers[place] = deepest;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let mut below: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for place in 0..nodes.len() {
        let parent = layers[place].and_then(|_| {
            needs[place].iter().copied().max_by_key(|needed| (layers[*needed], std::cmp::Reverse(*needed)))
        });
        below.entry(parent).or_default().push(place);
    }
    let mut order = Vec::with_capacity(nodes.len());
    let mut next: Vec<usize> = below.get(&None).map(|roots| roots.iter().rev().copied().collect()).unwrap_or_default();
    while let Some(place) = next.pop() {
        order.push(place);
        next.extend(below.get(&Some(place)).into_iter().flatten().rev());
    }
    let node = |place: usize| Node { layer: layers[place].unwrap_or(0), ..nodes[place].clone() };
    order.into_iter().map(node).collect()
}

impl Graph {
    /// The graph for Graphviz: an arrow leads from a stage to each that comes after it.
    pub fn dot(&self) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut text = String::from("digraph autometta {\n  rankdir=LR;\n  node [shape=box];\n");
        for node in &self.stages {
            text.push_str(&format!("  \"{0}\" [label=\"{0}\\n{1}\"];\n", node.stage, quoted(&node.word)));
        }
        for node in &self.stages {
            for needed in &node.depends_on {
                text.push_str(&format!("  \"{needed}\" -> \"{}\";\n", node.stage));
            }
        }
        text.push_str("}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, needs: &[&str]) -> Node {
        let id = |name: &str| name.parse().expect("id");
        Node {
            stage: id(name),
            title: String::new(),
            word: "pending".to_owned(),
            layer: 0,
            depends_on: needs.iter().map(|name| id(name)).collect(),
        }
    }

    fn shown(nodes: Vec<Node>) -> Vec<String> {
        laid_out(nodes).iter().map(|node| format!("{}{}", "  ".repeat(node.layer), node.stage)).collect()
    }

    #[test]
    fn each_stage_stands_below_the_deepest_that_it_depends_on() {
        let nodes = vec![
            node("01-a", &[]),
            node("02-b", &["01-a"]),
            node("03-c", &["01-a", "02-b"]),
            node("04-d", &["01-a"]),
            node("05-e", &["99-gone"]),
        ];
        assert_eq!(shown(nodes), ["99-gone", "  05-e", "01-a", "  02-b", "    03-c", "  04-d"]);
    }

    #[test]
    fn stages_in_a_circle_and_behind_it_are_all_there() {
        let nodes = vec![node("01-a", &["02-b"]), node("02-b", &["01-a"]), node("03-c", &["02-b"]), node("04-d", &[])];
        let mut names = shown(nodes);
        names.sort();
        assert_eq!(names, ["01-a", "02-b", "03-c", "04-d"]);
    }

    #[test]
    fn dot_names_every_stage_and_every_arrow() {
        let graph = Graph { stages: laid_out(vec![node("01-a", &[]), node("02-b", &["01-a"])]), circles: Vec::new() };
        assert_eq!(
            graph.dot(),
            "digraph autometta {\n  rankdir=LR;\n  node [shape=box];\n  \"01-a\" [label=\"01-a\\npending\"];\n  \
             \"02-b\" [label=\"02-b\\npending\"];\n  \"01-a\" -> \"02-b\";\n}\n"
        );
    }
}
