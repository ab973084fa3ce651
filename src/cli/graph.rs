//! `graph`: which stage comes after which, as text, for Graphviz or as JSON.

use clap::Args;

use super::terminal::look::columns;
use super::terminal::text::clean;
use super::{DONE, Place, output};
use crate::core::graph::{self, Extent, Graph};
use crate::core::ids::StageId;
use crate::files::store;
use crate::tick::belongs_here;

/// `graph`
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Show what has landed, too, where nothing that is left depends on it.
    #[arg(long)]
    pub all: bool,
    /// Print it for Graphviz.
    #[arg(long, conflicts_with = "json")]
    pub dot: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn graph(at: &Place, args: &GraphArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let loaded = store::peek(&site.layout)?;
    belongs_here(&site, &loaded)?;
    let graph = graph::of(&loaded.state, if args.all { Extent::All } else { Extent::Open });
    if args.json {
        output::json(&graph)?;
    } else if args.dot {
        output::print(&graph.dot())?;
    } else {
        output::print(&text(&graph))?;
    }
    Ok(DONE)
}

/// One line each, moved in by what stands before it.
fn text(graph: &Graph) -> String {
    if graph.stages.is_empty() {
        return "nothing is queued; `autometta graph --all` shows what has landed\n".to_owned();
    }
    let mut table = output::Table::new(&["STAGE", "STATUS", "AFTER"], columns());
    for node in &graph.stages {
        let after: Vec<&str> = node.depends_on.iter().map(StageId::as_str).collect();
        let name = format!("{}{}", "  ".repeat(node.layer), node.stage);
        table.row(vec![name, clean(&node.word), after.join(", ")]);
    }
    let mut text = table.render();
    for circle in &graph.circles {
        text.push_str(&format!("in a circle: {circle}\n"));
    }
    text
}
