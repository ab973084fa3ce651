//! Breadth-first through everything that the machine can reach.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use autometta::core::budget::Budget;
use autometta::core::ids::ObjectId;
use autometta::core::operate::{Command, operate, operate_all};
use autometta::core::state::{Approval, Life, Stage, State};
use autometta::core::step::{Effect, Step, step};
use autometta::core::train::Train;
use chrono::DateTime;

use super::key::{Key, key};
use super::sights::Briefs;
use super::tally::Tally;
use super::world::{ALL, Done, Event, Exit, Facts, Fleet, Land, Model, Move, Node, Seen, object};
use super::{across, effects, invariants, person};

/// What an exploration has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Every node's number by its key.
    pub numbers: HashMap<Key, u32>,
    /// By number: how it was reached first.
    pub parents: Vec<Option<(u32, Move)>>,
    /// By number: whether nothing is left to do there.
    pub settled: Vec<bool>,
    /// By number: where it leads, by what, without repeats.
    pub edges: Vec<Vec<(u32, Move)>>,
    /// How many moves were tried.
    pub moves: u64,
    /// How often each pair of a phase before and a phase after was seen, with what decided it and the ledger's words.
    pub rows: BTreeMap<Row, u64>,
    /// Nodes whose key was known and that were followed all the same, to see that the key forgets nothing that matters.
    pub compared: u64,
    /// Those nodes: the number of their key, where they came from, and by which move.
    doubles: Vec<(u32, Node, u32, Move)>,
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
    let stages = (0..model.queued).map(|index| model.queued(index));
    let queue = Command::AddStages(stages.collect());
    let state = State::new("r".to_owned());
    let done = operate(&state, &model.budget, queue, DateTime::UNIX_EPOCH).expect("queued");
    let facts = Facts {
        now: DateTime::UNIX_EPOCH,
        started: BTreeSet::new(),
        ended: BTreeSet::new(),
        passed: BTreeSet::new(),
        votes: BTreeMap::new(),
        makers: BTreeMap::new(),
        tip: object(1),
        objects: 10,
        offline: BTreeSet::new(),
        quota: BTreeMap::new(),
        fleet: Fleet::Room,
        allowed: allowed(&done.budget),
        done: Done::default(),
    };
    Node { state: done.state, budget: done.budget, facts }
}

fn allowed(budget: &Budget) -> u64 {
    budget.tokens_allowed().map_or(u64::MAX, |tokens| tokens.0)
}

/// One thread's way through a model.
pub struct Walk<'m> {
    model: &'m Model,
    briefs: Briefs,
    pub tally: Tally,
}

impl<'m> Walk<'m> {
    pub fn new(model: &'m Model) -> Self {
        Self { model, briefs: model.briefs(), tally: Tally::new() }
    }

    /// What an event leads to before anything is carried out; none where it is refused.
    fn decide(&mut self, node: &Node, event: Event) -> Result<Option<(Facts, Step)>, String> {
        let model = self.model;
        let mut facts = node.facts.clone();
        let Some(commands) = model.commands(node, event) else {
            let seen = model.observe(node, event, &mut facts, &mut self.briefs);
            let done = step(&node.state, &node.budget, &seen, &model.policy, facts.now);
            model.give_back(event, seen, &mut self.briefs);
            across::fire(model, node, event, &done, &facts, &self.tally)?;
            return Ok(Some((facts, done)));
        };
        let names: Vec<&'static str> = commands.iter().map(person::name).collect();
        let Ok(done) = operate_all(&node.state, &node.budget, commands, facts.now) else { return Ok(None) };
        for name in names {
            self.tally.gave(name);
        }
        for (before, after) in node.state.stages.iter().zip(&done.state.stages) {
            across::may_land(model, before, after, &facts, &self.tally)?;
        }
        Ok(Some((facts, done)))
    }

    /// What is left of it with those of its effects that are carried out.
    fn settle(&self, facts: &Facts, done: &Step, fate: u16) -> Result<Node, String> {
        let mut facts = facts.clone();
        effects::carry_out(self.model, done, fate, &mut facts, &self.tally)?;
        facts.allowed = facts.allowed.max(allowed(&done.budget));
        facts.forget(&done.state);
        let next = Node { state: done.state.clone(), budget: done.budget.clone(), facts };
        invariants::at(self.model, &next, &self.tally)?;
        Ok(next)
    }

    /// What a move leads to; none where it is refused.
    pub fn follow(&mut self, node: &Node, (event, fate): Move) -> Result<Option<(Node, Step)>, String> {
        let Some((facts, done)) = self.decide(node, event)? else { return Ok(None) };
        Ok(Some((self.settle(&facts, &done, fate)?, done)))
    }

    /// Explores everything. `compare_every`: every so many times that a known key is met by another way, its node is
    /// followed as well, and must lead to the same keys.
    ///
    /// # Errors
    /// The first thing that is broken, with the way to it.
    pub fn explore(&mut self, compare_every: u64) -> Result<Found, String> {
        let model = self.model;
        let mut found = Found::default();
        let first = begin(model);
        found.numbers.insert(key(model, &first), 0);
        found.parents.push(None);
        found.settled.push(invariants::settled(model, &first));
        found.edges.push(Vec::new());
        let mut queue = VecDeque::from([(0_u32, first)]);
        let mut met = 0_u64;
        while let Some((number, node)) = queue.pop_front() {
            let mut seen = HashSet::new();
            for event in model.events(&node) {
                let tell = |why: String, parents: &[Option<(u32, Move)>]| {
                    format!("{why}\n{}", story(model, parents, number, Some((event, ALL))))
                };
                let decided = self.decide(&node, event).map_err(|why| tell(why, &found.parents))?;
                let Some((facts, done)) = decided else {
                    found.moves += 1;
                    continue;
                };
                note_rows(&mut found.rows, &node, event, &done);
                for fate in effects::fates(model, &done, &facts) {
                    found.moves += 1;
                    let next = self.settle(&facts, &done, fate).map_err(|why| tell(why, &found.parents))?;
                    let its_key = key(model, &next);
                    let to = match found.numbers.get(&its_key) {
                        Some(known) => {
                            met += 1;
                            if met.is_multiple_of(compare_every) && *known != number {
                                found.doubles.push((*known, next, number, (event, fate)));
                            }
                            *known
                        }
                        None => {
                            let new =
                                across::of_a_new_one(model, &node, event, &done, &next, &mut self.briefs, &self.tally);
                            new.map_err(|why| tell(why, &found.parents))?;
                            let fresh = u32::try_from(found.parents.len()).expect("fewer than four thousand million");
                            found.numbers.insert(its_key, fresh);
                            found.parents.push(Some((number, (event, fate))));
                            found.settled.push(invariants::settled(model, &next));
                            found.edges.push(Vec::new());
                            queue.push_back((fresh, next));
                            fresh
                        }
                    };
                    if seen.insert((to, kind(event), fate == ALL)) {
                        found.edges[number as usize].push((to, (event, fate)));
                    }
                }
            }
        }
        self.compare(&mut found)?;
        Ok(found)
    }

    /// Follows nodes whose key was known, and sees whether they lead to the same.
    fn compare(&mut self, found: &mut Found) -> Result<(), String> {
        let model = self.model;
        for (known, node, parent, by) in std::mem::take(&mut found.doubles) {
            found.compared += 1;
            let mut targets: Vec<u32> = Vec::new();
            for event in model.events(&node) {
                let Some((facts, done)) = self.decide(&node, event)? else { continue };
                for fate in effects::fates(model, &done, &facts) {
                    let number = found.numbers.get(&key(model, &self.settle(&facts, &done, fate)?)).copied();
                    targets.push(number.ok_or_else(|| {
                        format!(
                            "the key forgets something: {event:?} leads where nothing else does, after\n{}\nbut not after\n{}",
                            story(model, &found.parents, parent, Some(by)),
                            story(model, &found.parents, known, None)
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
                    story(model, &found.parents, parent, Some(by))
                ));
            }
        }
        Ok(())
    }
}

impl Facts {
    /// Forgets what was found out about trees that the state no longer speaks of.
    fn forget(&mut self, state: &State) {
        fn of(approval: &Approval) -> impl Iterator<Item = &ObjectId> {
            let own = match &approval.train {
                Train::Behind(own) => Some(&own.candidate.tree),
                Train::Free | Train::Alone => None,
            };
            own.into_iter().chain([&approval.tree, &approval.verified_tree])
        }
        let mut trees: BTreeSet<&ObjectId> = BTreeSet::new();
        for stage in &state.stages {
            match &stage.life {
                // What is handed in again is judged again.
                Life::Pending(_) | Life::Working(_) => {}
                Life::Gating(gating) => {
                    trees.insert(&gating.candidate.tree);
                    trees.extend(gating.approval.iter().flat_map(of));
                }
                Life::Verifying(verifying) => drop(trees.insert(&verifying.candidate.tree)),
                Life::Landing(landing) => {
                    trees.insert(&landing.candidate.tree);
                    trees.extend(of(&landing.approval));
                }
                Life::Over(over) => {
                    if let Some(kept) = &over.kept {
                        trees.insert(&kept.candidate.tree);
                        trees.extend(kept.approval.iter().flat_map(of));
                    }
                }
            }
        }
        self.passed.retain(|tree| trees.contains(tree));
        self.votes.retain(|tree, _| trees.contains(tree));
        self.makers.retain(|tree, _| trees.contains(tree));
    }
}

/// What an edge is remembered by: what happened, without its details.
fn kind(event: Event) -> u8 {
    match event {
        Event::Nothing => 0,
        Event::Time => 1,
        event if is_operator(event) => 2,
        event if is_weather(event) => 3,
        _ => 4,
    }
}

/// Whether it is the world's doing that nothing moves on: it may repeat it for ever, and every repeat is somebody else's.
pub fn is_weather(event: Event) -> bool {
    match event {
        Event::Run(_, _, Seen::Ended(Exit::Refused(..) | Exit::ModelLimit, _))
        | Event::CardUnusable(_)
        | Event::SameFamily(_)
        | Event::NoContract(_)
        | Event::NoBase
        | Event::NoCommitter
        | Event::Slept
        | Event::Reach(..)
        | Event::Quota(..)
        | Event::Fleet(_) => true,
        Event::Landing(_, land) => !matches!(land, Land::Landed | Land::Ready | Land::Overlap),
        _ => false,
    }
}

/// Whether a person did it.
pub fn is_operator(event: Event) -> bool {
    matches!(event, Event::Operator(..) | Event::Order(_))
}

/// How a node was reached, a line each, with what the machine made of it.
pub fn story(model: &Model, parents: &[Option<(u32, Move)>], number: u32, last: Option<Move>) -> String {
    let mut moves: Vec<Move> = last.into_iter().collect();
    let mut at = number;
    while let Some((before, by)) = parents[at as usize] {
        moves.push(by);
        at = before;
    }
    moves.reverse();
    let mut lines = vec![format!("model `{}`, {} moves:", model.name, moves.len())];
    let mut walk = Walk::new(model);
    let mut node = begin(model);
    for (event, fate) in moves {
        let lives = |node: &Node| -> Vec<&'static str> { node.state.stages.iter().map(|s| s.life.word()).collect() };
        let before = lives(&node).join(", ");
        let lost = if fate == ALL { String::new() } else { format!(" (of its effects: {fate:b})") };
        match walk.follow(&node, (event, fate)) {
            Ok(Some((next, done))) => {
                let notes: Vec<String> =
                    done.notes.iter().map(|note| format!("{}: {}", note.event, note.detail)).collect();
                let after = lives(&next).join(", ");
                lines.push(format!("  {before} --{event:?}{lost}--> {after}   {}", notes.join(" | ")));
                node = next;
            }
            Ok(None) => lines.push(format!("  {before} --{event:?}--> refused")),
            Err(why) => lines.push(format!("  {before} --{event:?}{lost}--> {why}")),
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
                Effect::Stop { run, .. } if run.stage == stage.id => Some("stop"),
                Effect::Launch { run } if run.stage == stage.id => Some("launch"),
                Effect::Land { stage: landing } if *landing == stage.id => Some("land"),
                Effect::Chore { stage: of, .. } if *of == stage.id => Some("chores"),
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
