//! Stage by stage: how it stands and why, what was found, what landed, and where work is kept.

use maud::{Markup, html};

use crate::core::exit::EndedBy;
use crate::core::ids::Role;
use crate::core::night::{GateNight, HandoffNight, LandedNight, Night, RunNight, StageNight, Standing, VerdictNight};

use super::text::{Allowance, command, count, quote, short, time, why};
use super::{QUOTED, QUOTED_OF_STAGE, bill};

/// With more runs than this, those that went as they should are told in a line each.
const CROWD: usize = 400;

/// How much is told of a run that went as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Everything, folded.
    Whole,
    /// One line.
    Line,
}

pub(super) fn section(night: &Night) -> Markup {
    let most = (QUOTED / night.stages.len().max(1)).min(QUOTED_OF_STAGE);
    let mut stages: Vec<&StageNight> = night.stages.iter().collect();
    // What did not go well is read first; within that, the order of the queue.
    stages.sort_by_key(|stage| stage.standing);
    html! {
        section aria-labelledby="stages" {
            h2 #stages { "Stage by stage" }
            @if night.outcome.runs > CROWD {
                p.note { "There were so many runs that those which went as they should are told in a line each." }
            }
            @if stages.is_empty() { p.calm { "No stage moved." } }
            @for stage in stages { (article(night, stage, most)) }
        }
    }
}

/// The class and the sign of a standing.
fn badge(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::NeedsYou => ("ask", "?"),
        Standing::Failed => ("failed", "✕"),
        Standing::Working => ("working", "▸"),
        Standing::Waiting => ("waiting", "·"),
        Standing::Landed => ("landed", "✓"),
        Standing::Closed => ("closed", "–"),
    }
}

fn article(night: &Night, stage: &StageNight, most: usize) -> Markup {
    let (class, sign) = badge(stage.standing);
    let detail = if night.outcome.runs > CROWD { Detail::Line } else { Detail::Whole };
    // What went wrong may be quoted at length, what went right is in the commit.
    let weight = |run: &RunNight| if run.went_wrong() { 4 } else { usize::from(detail == Detail::Whole) };
    let weights: usize = stage.runs.iter().map(weight).sum();
    let share = |run: &RunNight| Allowance::new(most * weight(run) / weights.max(1));
    html! {
        article.stage.(class) id=(stage.id) data-stage=(stage.id) data-standing=(stage.standing.as_str()) {
            h3 {
                span.badge.(class) { span aria-hidden="true" { (sign) " " } (stage.standing.as_str()) }
                (stage.id)
            }
            p.title { (short(&stage.title, 240)) }
            @if let Some(reason) = &stage.reason { (why(&reason.code, &reason.detail, &Allowance::new(most))) }
            @if let Some(landed) = &stage.landed { (landing(night, landed)) }
            @if !stage.kept.is_empty() {
                p.kept { "Its work is kept:" }
                ul.kept {
                    @for kept in &stage.kept {
                        li { (command(&format!("git diff {}...{}", kept.base, kept.branch))) }
                    }
                }
            }
            @if stage.runs.is_empty() {
                p.note { "It has not run in this time." }
            } @else {
                p.note {
                    (count(stage.runs.len(), "run")) ", " (stage.seconds.to_string()) ", "
                    (bill::charge(stage.tokens, stage.cost_usd))
                }
                @for run in &stage.runs { (run_part(night, run, &share(run), detail)) }
            }
        }
    }
}

fn landing(night: &Night, landed: &LandedNight) -> Markup {
    let commit = landed.commit.as_str();
    html! {
        p.commit data-commit=(commit) {
            "Landed as " code { (commit.get(..12).unwrap_or(commit)) } " on " code { (short(&landed.branch, 80)) }
            " at " (time(&night.zone, landed.at))
            @if let Some(stat) = &landed.stat {
                ": " (count(stat.file_count, "file")) ", "
                span.plus { "+" (stat.added) } " " span.minus { "−" (stat.removed) }
            }
        }
        @if let Some(stat) = &landed.stat {
            ul.files {
                @for file in &stat.files {
                    li {
                        code { (short(&file.path, 200)) } " "
                        @match (file.added, file.removed) {
                            (Some(added), Some(removed)) => {
                                span.plus { "+" (added) } " " span.minus { "−" (removed) }
                            },
                            _ => "binary",
                        }
                    }
                }
                @if stat.file_count > stat.files.len() { li { "and " (count(stat.file_count - stat.files.len(), "more file")) } }
            }
        }
    }
}

/// A run with what it left; one that went as it should stays folded, and in a crowd it is a line.
fn run_part(night: &Night, run: &RunNight, allowance: &Allowance, detail: Detail) -> Markup {
    let who = run.identity.as_ref().map(|who| short(who.name(), 80));
    let open = run.went_wrong() || run.handoff.as_ref().is_some_and(|handoff| handoff.question.is_some());
    let role = match (run.run.role, run.run.seat) {
        (Role::Verifier, Some(seat)) => format!("verifier, seat {seat}"),
        (role, _) => role.as_str().to_owned(),
    };
    let line = html! {
        b { (role) } " " span.soft { "attempt " (run.run.attempt) @if run.run.retry > 0 { ", retry " (run.run.retry) } }
        " " @if let Some(who) = who { (who) " " }
        span.went.wrong[run.went_wrong()] { (run.went()) }
        " " span.soft { (run.took(&night.window).to_string()) }
    };
    if detail == Detail::Line && !open {
        return html! { div.part { (line) } };
    }
    html! {
        details.part open[open] {
            summary { (line) }
            div.body {
                @if run.run.role != Role::Gate {
                    p.note {
                        @if let Some(model) = &run.model { (short(model, 80)) ", " }
                        (bill::charge(run.tokens, run.cost_usd))
                        @if run.usage_unknown { " (usage unknown: charged what was reserved)" }
                    }
                }
                @if let Some(ended_by) = run.ended_by.and_then(cap) { p { "It was ended by " (ended_by) "." } }
                @if let Some(refusal) = &run.refusal { p { "The provider refused: " (quote(refusal, allowance)) } }
                @if let Some(fault) = &run.outbox_fault { div { "What it left cannot be used: " (quote(fault, allowance)) } }
                @if let Some(handed) = &run.handoff { (handoff(handed, allowance)) }
                @if let Some(found) = &run.verdict { (verdict(found, allowance)) }
                @if !run.gates.is_empty() { (gates(&run.gates, allowance)) }
            }
        }
    }
}

/// What ended a run before its own time.
fn cap(ended_by: EndedBy) -> Option<&'static str> {
    match ended_by {
        EndedBy::Exit => None,
        EndedBy::Timeout => Some("its wall-clock cap"),
        EndedBy::TokenCap => Some("its token cap"),
        EndedBy::CostCap => Some("its cost cap"),
        EndedBy::OutputCap => Some("its output cap, or a full disk"),
        EndedBy::Refused => Some("the provider's refusal"),
        EndedBy::Stalled => Some("its silence"),
        EndedBy::Cancelled => Some("an operator"),
        EndedBy::SpawnFailed => Some("a program that could not be started"),
    }
}

fn handoff(handed: &HandoffNight, allowance: &Allowance) -> Markup {
    html! {
        @if let Some(question) = &handed.question {
            div.question { b { "It asks: " } (quote(question, allowance)) }
        }
        div { "It says " b { (handed.status.as_str()) } @if !handed.notes.is_empty() { ": " (quote(&handed.notes, allowance)) } }
    }
}

fn verdict(found: &VerdictNight, allowance: &Allowance) -> Markup {
    html! {
        div { b.(found.judged.as_str()) { (found.judged.as_str()) } @if !found.headline.is_empty() { ": " (quote(&found.headline, allowance)) } }
        @if !found.criteria.is_empty() {
            table.verdict {
                thead {
                    tr {
                        @for name in ["Criterion", "Verdict", "Evidence"] { th scope="col" { (name) } }
                    }
                }
                tbody {
                    @for criterion in &found.criteria {
                        tr data-criterion=(criterion.id) data-verdict=(criterion.verdict.as_str()) {
                            th scope="row" { (criterion.id) ". " (quote(&criterion.name, allowance)) }
                            td { b.(criterion.verdict.as_str()) { (criterion.verdict.as_str()) } }
                            td { (quote(&criterion.evidence, allowance)) }
                        }
                    }
                }
            }
        }
        @if found.criteria_left_out > 0 { p.note { "Criteria beyond these: " (found.criteria_left_out) } }
        @if !found.findings.is_empty() { div { "Besides: " (quote(&found.findings, allowance)) } }
    }
}

fn gates(gates: &[GateNight], allowance: &Allowance) -> Markup {
    html! {
        ul.gates {
            @for gate in gates {
                li data-gate=(gate.name) data-passed=(gate.passed) {
                    b { (short(&gate.name, 80)) } " "
                    span.went.wrong[!gate.passed] { @if gate.passed { "passed" } @else { "failed" } }
                    " " span.soft { (short(&gate.ended, 60)) ", " (format!("{:.1}", gate.elapsed_seconds)) "s" }
                    @if gate.passed {
                        " " code { (short(&gate.command.text, 120)) }
                    } @else {
                        " " (quote(&gate.command, allowance))
                        @if let Some(output) = &gate.output {
                            @if output.is_empty() { p.note { "It printed nothing." } } @else { (quote(output, allowance)) }
                        }
                    }
                }
            }
        }
    }
}
