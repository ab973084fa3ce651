//! What comes after what: the stages of the night as nested lists, each below what it waits for.

use maud::{Markup, html};

use crate::core::graph::{NOT_QUEUED, Node, laid_out};
use crate::core::night::Night;

use super::text::short;

/// The deepest that lists are nested; what stands deeper is listed beside.
const DEEPEST: usize = 12;

/// The part of the page; nothing where no stage depends on another.
pub(super) fn section(night: &Night) -> Markup {
    if night.stages.iter().all(|stage| stage.depends_on.is_empty()) {
        return html! {};
    }
    let nodes = night.stages.iter().map(|stage| Node {
        stage: stage.id.clone(),
        title: stage.title.clone(),
        word: stage.standing.as_str().to_owned(),
        layer: 0,
        depends_on: stage.depends_on.clone(),
    });
    let mut nodes = laid_out(nodes.collect());
    // One that is named and has no part in this night landed before it, or is nowhere; the page cannot tell.
    for node in nodes.iter_mut().filter(|node| node.word == NOT_QUEUED) {
        "not in this night".clone_into(&mut node.word);
    }
    html! {
        section aria-labelledby="after" {
            h2 #after { "What comes after what" }
            details {
                summary { "Each stage stands below what it waits for" }
                (list(&nodes, 0))
            }
        }
    }
}

/// The stages of one layer, each with those below it.
fn list(nodes: &[Node], layer: usize) -> Markup {
    let mut rest = nodes;
    let mut items = Vec::new();
    while let Some((node, after)) = rest.split_first() {
        let deeper = after.iter().take_while(|below| layer < DEEPEST && below.layer > layer).count();
        let (below, others) = after.split_at(deeper);
        items.push((node, below));
        rest = others;
    }
    html! {
        ul.after {
            @for (node, below) in items {
                li data-after=(node.stage) {
                    (item(node))
                    @if !below.is_empty() { (list(below, below.first().map_or(layer + 1, |first| first.layer))) }
                }
            }
        }
    }
}

fn item(node: &Node) -> Markup {
    html! {
        @if node.title.is_empty() { (node.stage) } @else { a href={ "#" (node.stage) } { (node.stage) } }
        " " span.note { (node.word) }
        @if node.depends_on.len() > 1 {
            span.note {
                ", after " @for (at, needed) in node.depends_on.iter().enumerate() { @if at > 0 { ", " } (needed) }
            }
        }
        @if !node.title.is_empty() { ": " (short(&node.title, 120)) }
    }
}
