//! What an operator may say, at any node.

use autometta::core::budget::{Cap, CapChange};
use autometta::core::operate::{Command, Place, Rejected, queued};
use autometta::core::quantity::{MicroUsd, Tokens};
use autometta::core::state::Stage;
use chrono::TimeDelta;

use super::world::{Event, Model, Node, Orders, PER_RUN, Says};

/// What commands are called.
pub const NAMES: [&str; 17] = [
    "add-stage",
    "requeue",
    "requeue, with its card as it is now",
    "skip",
    "cancel",
    "halt",
    "resume",
    "answer",
    "approve",
    "reject",
    "reject --rework",
    "budget set",
    "budget drain",
    "budget drain --stop",
    "queue hold",
    "queue release",
    "queue move",
];

/// What a command is called. One that is new to `core::operate` does not compile here until it has a name, and the check
/// fails until some model gives it.
pub fn name(command: &Command) -> &'static str {
    match command {
        Command::AddStages(_) => NAMES[0],
        Command::Requeue(_) => NAMES[1],
        Command::Refresh(_) => NAMES[2],
        Command::Skip(_) => NAMES[3],
        Command::Cancel(_) => NAMES[4],
        Command::Halt(_) => NAMES[5],
        Command::Resume => NAMES[6],
        Command::Answer(_) => NAMES[7],
        Command::Approve(_) => NAMES[8],
        Command::Reject { then: Rejected::Ends, .. } => NAMES[9],
        Command::Reject { then: Rejected::IsReworked, .. } => NAMES[10],
        Command::SetCaps(_) => NAMES[11],
        Command::Drain { .. } => NAMES[12],
        Command::StopDrain => NAMES[13],
        Command::Hold { .. } => NAMES[14],
        Command::Release(_) => NAMES[15],
        Command::Move { .. } => NAMES[16],
    }
}

impl Model {
    /// A stage as it is queued in this world.
    pub fn queued(&self, index: usize) -> Stage {
        let card = &self.cards[index];
        let stage = queued(card, format!("{}.md", card.stage), "main".to_owned());
        let mut path_claims = vec![format!("{}/", card.stage)];
        path_claims.extend(card.path_claims.iter().map(ToString::to_string));
        Stage { path_claims, ..stage }
    }

    /// The commands of an operator's event, which are carried out together.
    pub fn commands(&self, node: &Node, event: Event) -> Option<Vec<Command>> {
        let cap = self.budget.token_cap_total.unwrap_or_default();
        let tokens = |cap| vec![Command::SetCaps(CapChange { tokens: Some(cap), ..CapChange::default() })];
        Some(match event {
            Event::Operator(index, says) => {
                let stage = node.state.stages[index].id.clone();
                let why = String::from("no");
                match says {
                    // The two come together, as `tick::operate::requeue` gives them.
                    Says::Requeue => {
                        vec![Command::Requeue(stage), Command::Refresh(Box::new(self.queued(index)))]
                    }
                    // A stage whose change is on the base already is not closed as one that is not.
                    Says::Skip if node.facts.done.landed.contains_key(&stage) => return Some(Vec::new()),
                    Says::Hold => vec![Command::Hold { stage, why }],
                    Says::Release => vec![Command::Release(stage)],
                    // Who stands where is told apart by places here, so only one that stands alone is moved.
                    Says::First => vec![Command::Move { stage, to: Place::First }],
                    Says::Skip => vec![Command::Skip(stage)],
                    Says::Cancel => vec![Command::Cancel(stage)],
                    Says::Answer => vec![Command::Answer(stage)],
                    Says::Approve => vec![Command::Approve(stage)],
                    Says::Reject => vec![Command::Reject { stage, why, then: Rejected::Ends }],
                    Says::Rework => vec![Command::Reject { stage, why, then: Rejected::IsReworked }],
                }
            }
            Event::Order(order) => match order {
                Orders::Halt => vec![Command::Halt(String::new())],
                Orders::Resume => vec![Command::Resume],
                Orders::Raise => tokens(Cap::At(cap + Tokens(2 * PER_RUN))),
                Orders::Lower => tokens(Cap::At(Tokens(PER_RUN))),
                Orders::Lift => tokens(Cap::None),
                Orders::Drain => vec![Command::Drain {
                    until: node.facts.now + TimeDelta::hours(2),
                    tokens: Tokens(2 * PER_RUN),
                    cost_usd: MicroUsd(0),
                }],
                Orders::StopDrain => vec![Command::StopDrain],
                Orders::Add => vec![Command::AddStages(vec![self.queued(node.state.stages.len())])],
            },
            _ => return None,
        })
    }
}
