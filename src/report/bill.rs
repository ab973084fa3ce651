//! What it cost: per family and per stage, as tables with small bars.

use maud::{Markup, html};

use crate::core::night::{FamilyBill, Night, StageNight};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};

use super::scale::place;
use super::text::{short, tokens};

/// Figures of one row.
struct Figures {
    runs: usize,
    seconds: Seconds,
    tokens: Tokens,
    cost_usd: MicroUsd,
    unknown: usize,
}

impl From<&FamilyBill> for Figures {
    fn from(bill: &FamilyBill) -> Self {
        let FamilyBill { runs, seconds, tokens, cost_usd, unknown, .. } = *bill;
        Self { runs, seconds, tokens, cost_usd, unknown }
    }
}

impl From<&StageNight> for Figures {
    fn from(stage: &StageNight) -> Self {
        Self {
            runs: stage.runs.len(),
            seconds: stage.seconds,
            tokens: stage.tokens,
            cost_usd: stage.cost_usd,
            unknown: stage.runs.iter().filter(|run| run.usage_unknown).count(),
        }
    }
}

pub(super) fn section(night: &Night) -> Markup {
    let ran = || night.stages.iter().filter(|stage| !stage.runs.is_empty());
    let unknown = night.families.iter().any(|bill| bill.unknown > 0);
    let families: Vec<_> = night
        .families
        .iter()
        .map(|bill| (html! { (bill.family.as_ref().map_or("gates", |family| family.as_str())) }, Figures::from(bill)))
        .collect();
    let stages: Vec<_> =
        ran().map(|stage| (html! { a href={ "#" (stage.id) } { (stage.id) } }, Figures::from(stage))).collect();
    html! {
        section aria-labelledby="bill" {
            h2 #bill { "What it cost" }
            @if families.is_empty() {
                p.calm { "Nothing ran, so nothing was spent." }
            } @else {
                (table("family", "Per family", "Family", &families, night))
                (table("stage", "Per stage", "Stage", &stages, night))
                @if unknown {
                    p.note { "* Some runs left no usable account of themselves and were charged what was reserved for them." }
                }
            }
        }
    }
}

fn table(kind: &str, caption: &str, first: &str, rows: &[(Markup, Figures)], night: &Night) -> Markup {
    let by_cost = night.outcome.cost_usd.0 > 0;
    let measure = |row: &Figures| if by_cost { row.cost_usd.0 } else { row.tokens.0 };
    let most = rows.iter().map(|(_, row)| measure(row)).max().unwrap_or(0).max(1);
    html! {
        table.bill {
            caption { (caption) }
            thead {
                tr {
                    th scope="col" { (first) }
                    th.n scope="col" { "Runs" }
                    th.n scope="col" { "Time" }
                    th.n scope="col" { "Tokens" }
                    th.n scope="col" { "Cost" }
                    td.share {}
                }
            }
            tbody {
                @for (name, row) in rows {
                    tr data-bill=(kind) data-runs=(row.runs) data-seconds=(row.seconds.0) data-tokens=(row.tokens.0)
                        data-cost-usd=(row.cost_usd.dollars()) {
                        th scope="row" { (name) }
                        td.n { (row.runs) }
                        td.n { (row.seconds.to_string()) }
                        td.n title=(row.tokens.to_string()) {
                            (tokens(row.tokens)) @if row.unknown > 0 { "*" }
                        }
                        td.n { (row.cost_usd.to_string()) @if row.unknown > 0 { "*" } }
                        td.share { (share(measure(row), most)) }
                    }
                }
            }
        }
    }
}

/// A bar that shows how a figure compares with the largest; the figure itself stands beside it.
fn share(figure: u64, most: u64) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "a picture")]
    let width = 100.0 * figure as f64 / most as f64;
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect.rail width="100" height="8" {}
            @if figure > 0 { rect.fill width=(place(width.max(1.0))) height="8" {} }
        }
    }
}

/// A run's charge in a line.
pub(super) fn charge(spent: Tokens, cost: MicroUsd) -> String {
    short(&format!("{} tokens, {cost}", tokens(spent)), 80)
}
