//! Breadth-first through everything that the machine can reach.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use autometta::core::budget::Budget;
use autometta::core::operate::{Command, operate, queued};
use autometta::core::quantity::Tokens;
use autometta::core::state::{Stage, State};
use autometta::core::step::{Step, step};
use chrono::DateTime;

use super::invariants;
use super::key::{Key, key};
use super::world::{Event, Facts, Model, Node, Says, command, object};

/// Whether one of the models has shown something broken, so that nobody waits for the others.
pub static IS_BROKEN: AtomicBool = AtomicBool::new(false);

/// What an exploration has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Every node's number by its key.
    pub numbers: HashMap<Key, u32>,
    /// By number: how it was reached first.
    pub parents: Vec<Option<(u32, Event)>>,
    /// By number: whether nothing is left to do there.
    pub settled: Vec<bool>,
    /// By number: where it leads, by what, without repeats.
    pub edges: Vec<Vec<(u32, Event)>>,
    /// How many moves were tried.
    pub moves: u64,
    /// How often each pair of a phase before and a phase after was seen, with what decided it and the ledger's words.
    pub rows: BTreeMap<Row, u64>,
    /// Nodes whose key was known and that were followed all the same, to see that the key forgets nothing that matters.
    pub compared: u64,
}

/// One row of the table of transitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub from: String,
    pub to: String,
    pub event: String,
    pub cause: String,
    pub effects: Vec<&'static str>,
}

/// The first node: everything queued, nothing done.
pub fn begin(model: &Model) -> Node {
    let budget =
        Budget { token_cap_total: model.token_cap.map(Tokens), consecutive_failure_cap: Some(2), ..Budget::default() };
    let stages = model.cards.iter().map(|card| {
        let stage = queued(card, format!("{}.md", card.stage), "main".to_owned());
        let mut path_claims = vec![format!("{}/", card.stage)];
        path_claims.extend(card.path_claims.iter().map(ToString::to_string));
        Stage { path_claims, ..stage }
    });
    let queue = Command::AddStages(stages.collect());
    let done = operate(&State::new("r".to_owned()), &budget, queue, DateTime::UNIX_EPOCH).expect("queued");
    let facts = Facts {
        now: DateTime::UNIX_EPOCH,
        started: std::collections::BTreeSet::new(),
        ended: std::collections::BTreeSet::new(),
        passed: std::collections::BTreeSet::new(),
        votes: BTreeMap::new(),
        tip: object(1),
        objects: 10,
    };
    Node { state: done.state, budget: done.budget, facts }
}

/// What a move leads to; none where it is refused.
pub fn follow(model: &Model, node: &Node, event: Event) -> Result<Option<(Node, Step)>, String> {
    let mut facts = node.facts.clone();
    let done = match command(node, event) {
        Some(command) => match operate(&node.state, &node.budget, command, facts.now) {
            Ok(done) => done,
            Err(_) => return Ok(None),
        },
        None => {
            let seen = model.observe(node, event, &mut facts);
            let done = step(&node.state, &node.budget, &seen, &model.policy, facts.now);
            invariants::across(model, node, event, &done, &facts)?;
            done
        }
    };
    // What is launched has begun, unless the world says otherwise: a launch that a crash swallowed is seen as such.
    let next = Node { state: done.state.clone(), budget: done.budget.clone(), facts };
    invariants::at(model, &next)?;
    Ok(Some((next, done)))
}

/// Explores everything. `compare_every`: every so many times that a known key is met by another way, its node is
/// followed as well, and must lead to the same keys.
///
/// # Errors
/// The first thing that is broken, with the way to it; what is broken elsewhere ends it as well.
pub fn explore(model: &Model, compare_every: u64) -> Result<Found, String> {
    let mut found = Found::default();
    let first = begin(model);
    found.numbers.insert(key(model, &first), 0);
    found.parents.push(None);
    found.settled.push(invariants::settled(&first));
    found.edges.push(Vec::new());
    let mut queue = VecDeque::from([(0_u32, first)]);
    let mut met = 0_u64;
    let mut doubles: Vec<(u32, Node, u32, Event)> = Vec::new();
    while let Some((number, node)) = queue.pop_front() {
        if IS_BROKEN.load(Ordering::Relaxed) {
            return Err(format!("`{}` was not looked at any further", model.name));
        }
        let mut seen = std::collections::HashSet::new();
        for event in model.events(&node) {
            found.moves += 1;
            let parents = &found.parents;
            let tell = |why: String| format!("{why}\n{}", story(model, parents, number, Some(event)));
            let Some((next, done)) = follow(model, &node, event).map_err(tell)? else { continue };
            note_rows(&mut found.rows, &node, event, &done);
            let its_key = key(model, &next);
            let to = match found.numbers.get(&its_key) {
                Some(known) => {
                    met += 1;
                    if met.is_multiple_of(compare_every) && *known != number {
                        doubles.push((*known, next, number, event));
                    }
                    *known
                }
                None => {
                    invariants::of_a_new_one(model, &node, event, &next).map_err(tell)?;
                    let fresh = u32::try_from(found.parents.len()).expect("fewer than four thousand million");
                    found.numbers.insert(its_key, fresh);
                    found.parents.push(Some((number, event)));
                    found.settled.push(invariants::settled(&next));
                    found.edges.push(Vec::new());
                    queue.push_back((fresh, next));
                    fresh
                }
            };
            if seen.insert((to, kind(event))) {
                found.edges[number as usize].push((to, event));
            }
        }
    }
    for (known, node, parent, event) in doubles {
        found.compared += 1;
        let mut targets: Vec<u32> = Vec::new();
        for next in model.events(&node) {
            if let Some((after, _)) = follow(model, &node, next)? {
                let number = found.numbers.get(&key(model, &after)).copied();
                targets.push(number.ok_or_else(|| {
                    format!(
                        "the key forgets something: {next:?} leads where nothing else does, after\n{}",
                        story(model, &found.parents, parent, Some(event))
                    )
                })?);
            }
        }
        targets.sort_unstable();
        targets.dedup();
        let mut expected: Vec<u32> = found.edges[known as usize].iter().map(|(to, _)| *to).collect();
        expected.sort_unstable();
        expected.dedup();
        if targets != expected {
            return Err(format!(
                "the key forgets something: two ways to one key lead on differently\n{}\nand\n{}",
                story(model, &found.parents, known, None),
                story(model, &found.parents, parent, Some(event))
            ));
        }
    }
    Ok(found)
}

/// What an edge is remembered by: what happened, without its details.
fn kind(event: Event) -> u8 {
    match event {
        Event::Nothing => 0,
        Event::Time => 1,
        Event::Run(..) if is_weather(event) => 2,
        Event::Run(..) => 3,
        Event::Landing(..) if is_weather(event) => 4,
        Event::Landing(..) => 5,
        Event::Parked(..) => 6,
        Event::CardUnusable(_) => 7,
        Event::NoBase => 8,
        Event::Operator(..) | Event::Halt | Event::Resume => 9,
    }
}

/// Whether it is the world's doing that nothing moves on: it may repeat it for ever, and every repeat is somebody else's.
pub fn is_weather(event: Event) -> bool {
    use super::world::{Exit, Land, Seen};
    match event {
        Event::Run(_, _, Seen::Ended(Exit::Refused(..), _)) | Event::CardUnusable(_) | Event::NoBase => true,
        Event::Landing(_, land) => !matches!(land, Land::Landed | Land::Ready | Land::Overlap),
        _ => false,
    }
}

/// Whether a person did it.
pub fn is_operator(event: Event) -> bool {
    matches!(event, Event::Operator(..) | Event::Halt | Event::Resume)
}

/// How a node was reached, a line each, with what the machine made of it.
pub fn story(model: &Model, parents: &[Option<(u32, Event)>], number: u32, last: Option<Event>) -> String {
    let mut events: Vec<Event> = last.into_iter().collect();
    let mut at = number;
    while let Some((before, event)) = parents[at as usize] {
        events.push(event);
        at = before;
    }
    events.reverse();
    let mut lines = vec![format!("model `{}`, {} moves:", model.name, events.len())];
    let mut node = begin(model);
    for event in events {
        let lives = |node: &Node| -> Vec<&'static str> { node.state.stages.iter().map(|s| s.life.word()).collect() };
        let before = lives(&node).join(", ");
        match follow(model, &node, event) {
            Ok(Some((next, done))) => {
                let notes: Vec<String> =
                    done.notes.iter().map(|note| format!("{}: {}", note.event, note.detail)).collect();
                lines.push(format!("  {before} --{event:?}--> {}   {}", lives(&next).join(", "), notes.join(" | ")));
                node = next;
            }
            Ok(None) => lines.push(format!("  {before} --{event:?}--> refused")),
            Err(why) => lines.push(format!("  {before} --{event:?}--> {why}")),
        }
    }
    lines.join("\n")
}

fn note_rows(rows: &mut BTreeMap<Row, u64>, node: &Node, event: Event, done: &Step) {
    let effects = |stage: &Stage| -> Vec<&'static str> {
        let mut names: Vec<&'static str> = done
            .effects
            .iter()
            .filter_map(|effect| match effect {
                autometta::core::step::Effect::Stop { run, .. } if run.stage == stage.id => Some("stop"),
                autometta::core::step::Effect::Launch { run } if run.stage == stage.id => Some("launch"),
                autometta::core::step::Effect::Land { stage: landing } if *landing == stage.id => Some("land"),
                autometta::core::step::Effect::Chore { stage: of, .. } if *of == stage.id => Some("chores"),
                _ => None,
            })
            .collect();
        names.dedup();
        names
    };
    for (before, after) in node.state.stages.iter().zip(&done.state.stages) {
        let noted = done.notes.iter().filter(|note| note.stage.as_ref() == Some(&before.id) && note.to.is_some());
        for note in noted {
            let row = Row {
                from: note.from.clone().unwrap_or_default(),
                to: note.to.clone().unwrap_or_default(),
                event: note.event.clone(),
                cause: cause(event),
                effects: effects(after),
            };
            *rows.entry(row).or_default() += 1;
        }
    }
}

/// What decided a move, as a person would put it.
fn cause(event: Event) -> String {
    super::page::cause(event)
}

impl Says {
    /// The command's name.
    pub fn command(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Skip => "skip",
            Self::Cancel => "cancel",
            Self::Answer => "answer",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Rework => "reject --rework",
        }
    }
}
