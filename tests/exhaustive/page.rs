//! `docs/machine.md`: the table of transitions and its diagram, written from what the exploration found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::explore::Row;
use super::world::{EndedByCap, Event, Exit, Gates, Hand, Land, Left, Orders, Product1, Says, Seen, Stated, Word};

/// What decided a move. The order of the machine's own questions decides which part of an observation that is.
pub fn cause(event: Event) -> String {
    match event {
        Event::Nothing => "its turn has come".to_owned(),
        Event::Time => "the time has come".to_owned(),
        Event::CardUnusable(_) => "its card cannot be used".to_owned(),
        Event::NoBase => "the base branch is gone".to_owned(),
        Event::SameFamily(_) => "its verifiers are of its worker's family now".to_owned(),
        Event::NoContract(_) => "its contract tests are not there".to_owned(),
        Event::NoCommitter => "git knows nobody to commit as".to_owned(),
        Event::Slept => "the machine has slept".to_owned(),
        Event::Reach(_, true) => "a provider can be reached again".to_owned(),
        Event::Reach(_, false) => "a provider cannot be reached".to_owned(),
        Event::Quota(_, true) => "a quota is reset early".to_owned(),
        Event::Quota(_, false) => "a quota is used up".to_owned(),
        Event::Fleet(_) => "the fleet's day leaves more, or less".to_owned(),
        Event::Operator(_, says) => format!("`autometta {}`", of_person(says)),
        Event::Order(order) => format!("`autometta {}`", of_order(order)),
        Event::Parked(_, true) => "the base holds the change".to_owned(),
        Event::Parked(_, false) => "the base has moved without the change".to_owned(),
        Event::Landing(_, land) => match land {
            Land::Ready => "nothing is in its way",
            Land::Landed => "the base branch is at the landing commit",
            Land::Rebased => "the base moved, other files",
            Land::Overlap => "the base moved, same files",
            Land::Dirty => "local edits in touched files",
            Land::Busy => "git is at work in the checkout",
            Land::NoBase => "the base branch is gone",
            Land::Failed => "git failed",
            Land::Joins => "the base moved, and another candidate lands first",
            Land::Behind => "the one that it stands on has not landed yet",
            Land::SameTree => "the one that it stands on has landed",
        }
        .to_owned(),
        Event::Run(_, _, seen) => of_run(seen),
    }
}

fn of_person(says: Says) -> &'static str {
    match says {
        Says::Requeue => "requeue",
        Says::Hold => "queue hold",
        Says::Release => "queue release",
        Says::First => "queue move",
        Says::Skip => "skip",
        Says::Cancel => "cancel",
        Says::Answer => "answer",
        Says::Approve => "approve",
        Says::Reject => "reject",
        Says::Rework => "reject --rework",
    }
}

fn of_order(order: Orders) -> &'static str {
    match order {
        Orders::Halt => "halt",
        Orders::Resume => "resume",
        Orders::Raise | Orders::Lower | Orders::Lift => "budget set",
        Orders::Drain => "budget drain",
        Orders::StopDrain => "budget drain --stop",
        Orders::Add => "add-stage",
    }
}

fn of_run(seen: Seen) -> String {
    match seen {
        Seen::Begins => "it runs".to_owned(),
        Seen::LaunchFailed => "its launch failed too often".to_owned(),
        Seen::UnsupervisedOverTime => "no supervisor, over its time".to_owned(),
        Seen::Lost(_) => "lost without a record".to_owned(),
        Seen::Ended(Exit::Refused(class, stated), _) => {
            let word = serde_json::to_value(class).ok().and_then(|word| word.as_str().map(str::to_owned));
            let stated = if stated == Stated::Soon { ", reset stated" } else { "" };
            format!("refused: {}{stated}", word.unwrap_or_default())
        }
        Seen::Ended(Exit::ModelLimit, _) => "refused: limit of its model, reset stated".to_owned(),
        Seen::Ended(Exit::ToldToEnd, _) => "stopped from outside".to_owned(),
        Seen::Ended(Exit::Over(cap), _) => match cap {
            EndedByCap::Time => "over its wall-clock cap",
            EndedByCap::Tokens => "over its token cap",
            EndedByCap::Cost => "over its cost cap",
            EndedByCap::Output => "over its output cap",
            EndedByCap::Silence => "silent for too long",
        }
        .to_owned(),
        Seen::Ended(exit, product) => {
            let how = if exit == Exit::Clean { "" } else { ", exit not 0" };
            format!("{}{how}", of_product(product))
        }
    }
}

fn of_product(product: Product1) -> &'static str {
    match product {
        Product1::Worker(Hand::Nothing, _) => "no handoff",
        Product1::Worker(Hand::Torn, _) => "a handoff that cannot be used",
        Product1::Worker(Hand::Fail, _) => "handoff: fail",
        Product1::Worker(Hand::Blocked, _) => "handoff: blocked",
        Product1::Worker(Hand::Pass | Hand::Partial, left) => match left {
            Left::New => "handoff: pass or partial, a new tree in scope",
            Left::Same => "handoff: pass or partial, the tree that failed",
            Left::Outside => "handoff: pass or partial, a change out of scope",
            Left::Nothing => "handoff: pass or partial, no change",
            Left::Strays => "handoff: pass or partial, commits on the base",
            Left::Gone => "handoff: pass or partial, no worktree",
            Left::Unreadable => "handoff: pass or partial, an unreadable worktree",
            Left::Secret => "handoff: pass or partial, a secret in the worktree",
        },
        Product1::Gate(Gates::Passed) => "every gate passed",
        Product1::Gate(Gates::Failed) => "a gate failed",
        Product1::Gate(Gates::FailedMayRetry) => "a gate failed that may be run again",
        Product1::Gate(Gates::KilledFromOutside) => "a gate was killed from outside",
        Product1::Gate(Gates::NoRecord) => "no complete record of the gates",
        Product1::Verifier(Word::Nothing) => "no verdict",
        Product1::Verifier(Word::Forged) => "a verdict that cannot be used",
        Product1::Verifier(Word::Pass) => "verdict: PASS",
        Product1::Verifier(Word::Fail) => "verdict: FAIL",
        Product1::Verifier(Word::Blocked) => "verdict: BLOCKED",
    }
}

/// What is seen, and what is done, of one row.
type Cell<'a> = (BTreeSet<&'a str>, BTreeSet<&'a str>);

/// The whole page.
pub fn page(rows: &BTreeSet<Row>, figures: &str) -> String {
    let mut page = String::from(
        "# The machine\n\n\
         This page is written by `AUTOMETTA_BLESS=1 cargo test --test exhaustive` from every state that the machine can \
         reach, and the same test fails when it is out of date. A stage is in one of the states below; what is seen of \
         the world moves it. Words in the column *ledger* are what `autometta log` shows.\n\n",
    );
    let _ = writeln!(page, "{figures}\n");
    page.push_str("```mermaid\nstateDiagram-v2\n    [*] --> pending: add-stage\n");
    let mut arrows: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.cause.starts_with('`') && row.from != row.to) {
        arrows.entry((&row.from, &row.to)).or_default().insert(&row.event);
    }
    for ((from, to), events) in &arrows {
        let words: Vec<&str> = events.iter().copied().collect();
        let shown = if words.len() > 3 {
            format!("{}, … ({} words)", words[..2].join(", "), words.len())
        } else {
            words.join(", ")
        };
        let _ = writeln!(page, "    {from} --> {to}: {shown}");
    }
    page.push_str("```\n");
    let states: BTreeSet<&str> = rows.iter().map(|row| row.from.as_str()).collect();
    for state in states {
        let _ = write!(
            page,
            "\n## From `{state}`\n\n| to | ledger | what is seen | effects |\n| --- | --- | --- | --- |\n"
        );
        let mut lines: BTreeMap<(&str, &str), Cell<'_>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.from == state) {
            let (causes, effects) = lines.entry((&row.to, &row.event)).or_default();
            causes.insert(&row.cause);
            effects.extend(row.effects.iter().copied());
        }
        for ((to, event), (causes, effects)) in lines {
            let join = |words: &BTreeSet<&str>| words.iter().copied().collect::<Vec<_>>().join("; ");
            let _ = writeln!(page, "| `{to}` | {event} | {} | {} |", join(&causes), join(&effects));
        }
    }
    page
}
