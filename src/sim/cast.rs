//! Who plays in a simulated night: what every run of it does, from its start to its end.

use chrono::{DateTime, Utc};

use crate::core::exit::RefusalClass;
use crate::core::handoff::HandoffStatus;
use crate::core::observation::Brief;
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::{Flight, Stage};
use crate::core::verdict::Judgement;

/// Decides what runs do. It is asked once for every run whose agent begins, in the order in which they begin.
pub trait Cast {
    /// What this run does.
    fn play(&mut self, call: &Call<'_>) -> Play;
}

impl<F: FnMut(&Call<'_>) -> Play> Cast for F {
    fn play(&mut self, call: &Call<'_>) -> Play {
        self(call)
    }
}

/// A run that begins.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// How many have begun before it in this night.
    pub number: usize,
    /// Its stage.
    pub stage: &'a Stage,
    /// Itself, with its family, model and caps.
    pub flight: &'a Flight,
    /// What its stage asks for.
    pub brief: Option<&'a Brief>,
    /// When. A run that was in flight before the night began is asked for then.
    pub now: DateTime<Utc>,
}

/// What a run does.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// How long it takes while the machine is awake, if nothing ends it before.
    pub lasts: Seconds,
    /// What it uses until then.
    pub tokens: Tokens,
    /// What that costs.
    pub cost_usd: MicroUsd,
    /// In how many turns of its model, at least one. A cap ends a run after a whole turn.
    pub turns: u32,
    /// Whether its output tells what it has used.
    pub tells_usage: bool,
    /// How it ends.
    pub ending: Ending,
    /// What it leaves.
    pub leaves: Leaves,
    /// What else happens to it.
    pub accident: Option<Accident>,
}

/// How a run ends where no cap and nobody else ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its process exits with this code.
    Exits(i32),
    /// A signal that was not ours kills it.
    Crashes,
    /// It says nothing any more and never ends.
    Hangs,
    /// It prints without end.
    Floods,
    /// Its provider refuses, and says after how long it would not any more, or does not say.
    Refused(RefusalClass, Option<Seconds>),
}

/// What a run leaves, by its role. What does not fit its role is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Nothing.
    Nothing,
    /// A worker's handoff, and what is in its worktree.
    Handoff(HandoffStatus, Change),
    /// A worker's work without a handoff.
    Work(Change),
    /// A handoff or a verdict that is not this run's to give.
    Forged(Forgery),
    /// A gate's result: whether it passes, and how often it may be run again where it fails.
    Gates(GatePlay),
    /// A verifier's verdict.
    Verdict(Judgement),
}

/// What a worker changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// What its card asks for.
    Deliverables,
    /// Nothing more than was there when it began.
    Nothing,
    /// Something that its card does not allow.
    Outside,
    /// It commits to its base branch by itself.
    Strays,
    /// It removes its own worktree.
    Gone,
}

/// In what way something is not what it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// It is about another stage.
    OtherStage,
    /// It is cut off in the middle.
    Torn,
    /// It says more than may be said.
    MoreKeys,
}

/// How a gate goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatePlay {
    /// Every command succeeds.
    Passes,
    /// One fails, and may be run again so often.
    Fails(u32),
    /// One was killed from outside.
    Killed,
}

/// What else happens to a run, so long after its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accident {
    /// Its supervisor dies before it has claimed the run.
    DiesUnclaimed,
    /// Its supervisor is killed, and the agent goes on.
    SupervisorDies(Seconds),
    /// Its supervisor and its agent are killed.
    BothDie(Seconds),
    /// Its supervisor cannot be started.
    DoesNotStart,
    /// Its supervisor dies at the end, before it has changed so many things.
    DiesAtItsRecord(u32),
}

impl Play {
    /// A run that does what it is for: a worker hands in, a gate passes, a verifier says PASS.
    pub fn well(call: &Call<'_>) -> Self {
        use crate::core::ids::Role;
        let leaves = match call.flight.run.role {
            Role::Worker => Leaves::Handoff(HandoffStatus::Pass, Change::Deliverables),
            Role::Gate => Leaves::Gates(GatePlay::Passes),
            Role::Verifier => Leaves::Verdict(Judgement::Pass),
        };
        let reserved = &call.flight.reserved;
        Self {
            lasts: Seconds((reserved.seconds.0 / 4).clamp(1, 600)),
            tokens: Tokens(reserved.tokens.0 / 4),
            cost_usd: MicroUsd(reserved.cost_usd.0 / 4),
            turns: 4,
            tells_usage: true,
            ending: Ending::Exits(0),
            leaves,
            accident: None,
        }
    }
}
