//! What may go wrong in a simulated night beside its agents: the machine, the disk, the network, other people.

use super::cast::Cast;
use super::clock::Awake;
use super::ground::{Due, Ground};
use crate::core::budget::{Cap, CapChange};
use crate::core::ids::{FamilyName, RunId, StageId};
use crate::core::operate::{Command, Rejected};
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::state::State;
use chrono::{DateTime, TimeDelta, Utc};

/// One thing that happens. Numbers that name a stage or a run go round among those that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A tick is killed before it has changed so many things, those included that ticks without much to do changed since.
    TickDies(u32),
    /// The power is cut at such a place instead; after so long it is back.
    PowerCutInTick(u32, Awake),
    /// The power is cut; after so long it is back.
    PowerCut(Awake),
    /// A second tick comes while the next one runs.
    Twice,
    /// A run's supervisor is killed.
    SupervisorKilled(usize),
    /// Everything of a run is killed.
    RunKilled(usize),
    /// Runs that end start no tick, for so long.
    PulsesLost(Awake),
    /// The timer does not fire, for so long.
    NoTimer(Awake),
    /// The timer fires late, once, by so long.
    LateTimer(Awake),
    /// The machine sleeps.
    Sleep(Awake),
    /// The wall's clock is set, forward or back.
    ClockSet(i64),
    /// The disk has no room, for so long.
    DiskFull(Awake),
    /// Somebody commits to the base branch what a stage changes as well.
    BaseOverlaps(usize),
    /// Somebody commits something else to the base branch.
    BaseMoves,
    /// The operator edits what a stage changes, for so long.
    Edits(usize, Awake),
    /// The operator's git is at work, for so long.
    GitBusy(Awake),
    /// The base branch is gone, for so long.
    BaseGone(Awake),
    /// A stage's card cannot be used, for so long.
    CardBroken(usize, Awake),
    /// A provider cannot be reached, for so long.
    Offline(usize, Awake),
    /// The operator says something.
    Operator(Order),
}

/// What an operator says. A stage is named by a number that goes round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// `halt`
    Halt,
    /// `resume`
    Resume,
    /// `cancel`
    Cancel(usize),
    /// `skip`
    Skip(usize),
    /// `requeue`
    Requeue(usize),
    /// `answer`
    Answer(usize),
    /// `approve`
    Approve(usize),
    /// `reject`
    Reject(usize),
    /// `reject --rework`
    Rework(usize),
    /// `budget set --tokens`
    Tokens(u64),
    /// `budget set --cost`, in millionths of a dollar
    Cost(u64),
    /// `budget drain`
    Drain(u64),
    /// `budget drain --stop`
    StopDrain,
}

impl Trouble {
    /// Its kind, in a word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TickDies(_) => "tick killed",
            Self::PowerCutInTick(..) => "power cut in a tick",
            Self::PowerCut(_) => "power cut",
            Self::Twice => "two ticks at once",
            Self::SupervisorKilled(_) => "supervisor killed",
            Self::RunKilled(_) => "supervisor and agent killed",
            Self::PulsesLost(_) => "pulses lost",
            Self::NoTimer(_) => "no timer",
            Self::LateTimer(_) => "late timer",
            Self::Sleep(_) => "machine slept",
            Self::ClockSet(by) if *by < 0 => "clock set back",
            Self::ClockSet(_) => "clock set forward",
            Self::DiskFull(_) => "disk full",
            Self::BaseOverlaps(_) => "base changed the same file",
            Self::BaseMoves => "base moved",
            Self::Edits(..) => "operator's edits",
            Self::GitBusy(_) => "operator's git at work",
            Self::BaseGone(_) => "base branch gone",
            Self::CardBroken(..) => "card broken",
            Self::Offline(..) => "provider offline",
            Self::Operator(order) => order.kind(),
        }
    }

    /// How long it takes; none for what is over at once.
    pub(super) fn lasts(&self) -> Option<Awake> {
        match self {
            Self::PulsesLost(time)
            | Self::NoTimer(time)
            | Self::DiskFull(time)
            | Self::Edits(_, time)
            | Self::GitBusy(time)
            | Self::BaseGone(time)
            | Self::CardBroken(_, time)
            | Self::Offline(_, time) => Some(*time),
            _ => None,
        }
    }
}

impl Order {
    fn kind(self) -> &'static str {
        match self {
            Self::Halt => "operator: halt",
            Self::Resume => "operator: resume",
            Self::Cancel(_) => "operator: cancel",
            Self::Skip(_) => "operator: skip",
            Self::Requeue(_) => "operator: requeue",
            Self::Answer(_) => "operator: answer",
            Self::Approve(_) => "operator: approve",
            Self::Reject(_) => "operator: reject",
            Self::Rework(_) => "operator: reject for rework",
            Self::Tokens(_) => "operator: token cap",
            Self::Cost(_) => "operator: cost cap",
            Self::Drain(_) => "operator: drain",
            Self::StopDrain => "operator: stop drain",
        }
    }

    /// As the machine is told; none where there is no stage.
    pub fn command(self, state: &State, now: DateTime<Utc>) -> Option<Command> {
        let stage = |number: usize| round(&state.stages, number).map(|stage| stage.id.clone());
        let why = || "no".to_owned();
        Some(match self {
            Self::Halt => Command::Halt(String::new()),
            Self::Resume => Command::Resume,
            Self::Cancel(number) => Command::Cancel(stage(number)?),
            Self::Skip(number) => Command::Skip(stage(number)?),
            Self::Requeue(number) => Command::Requeue(stage(number)?),
            Self::Answer(number) => Command::Answer(stage(number)?),
            Self::Approve(number) => Command::Approve(stage(number)?),
            Self::Reject(number) => Command::Reject { stage: stage(number)?, why: why(), then: Rejected::Ends },
            Self::Rework(number) => Command::Reject { stage: stage(number)?, why: why(), then: Rejected::IsReworked },
            Self::Tokens(most) => {
                Command::SetCaps(CapChange { tokens: Some(Cap::At(Tokens(most))), ..CapChange::default() })
            }
            Self::Cost(most) => {
                Command::SetCaps(CapChange { cost_usd: Some(Cap::At(MicroUsd(most))), ..CapChange::default() })
            }
            Self::Drain(tokens) => {
                Command::Drain { until: now + TimeDelta::hours(2), tokens: Tokens(tokens), cost_usd: MicroUsd(0) }
            }
            Self::StopDrain => Command::StopDrain,
        })
    }
}

/// The one of this number, going round.
pub(super) fn round<T>(of: &[T], number: usize) -> Option<&T> {
    of.get(number.checked_rem(of.len())?)
}

impl<C: Cast> Ground<C> {
    /// The n-th run whose lock is held.
    pub(super) fn nth_live(&self, number: usize) -> Option<RunId> {
        let live: Vec<&RunId> = self.table.live.keys().collect();
        round(&live, number).map(|run| (*run).clone())
    }

    pub(super) fn nth_stage(&self, number: usize) -> Option<StageId> {
        let stages: Vec<&StageId> = self.briefs.keys().collect();
        round(&stages, number).map(|stage| (*stage).clone())
    }

    pub(super) fn nth_family(&self, number: usize) -> Option<FamilyName> {
        let members = self.briefs.values().flatten().flat_map(|brief| &brief.members);
        let families: Vec<&FamilyName> = members.map(|member| &member.placed.family).collect();
        round(&families, number).map(|family| (*family).clone())
    }

    /// The power is cut, and is back after so long: nothing runs any more, and what was not synced is left as chance
    /// wills.
    pub(super) fn power_cut(&mut self, off: Awake) {
        let running: Vec<RunId> = self.table.live.keys().cloned().collect();
        for run in running {
            self.agent_dies(&run);
            // Of a log that nobody synced anything may be missing.
            let part = self.random.below(3);
            if let Some(gone) = self.table.gone.get_mut(&run) {
                gone.logs_are_cut(part);
            }
        }
        let mut random = self.random.branch();
        self.disk.cut(&mut random);
        for (run, worktree) in std::mem::take(&mut self.git.worktrees) {
            let base = self.git.files(&worktree.base);
            let kept = match random.below(4) {
                0 => None,
                1 => Some(base),
                _ => Some(worktree.files),
            };
            if let Some(files) = kept {
                self.git.worktrees.insert(run, super::git::Worktree { base: worktree.base, files });
            }
        }
        self.agenda.keep(|due| matches!(due, Due::Timer | Due::Trouble(_) | Due::Over(_)));
        self.clock.restart(off);
        self.slept = None;
    }

    /// The operator edits a file.
    pub(super) fn edit(&mut self, stage: usize, is_there: bool) {
        let Some(path) = self.path_of(stage) else { return };
        if is_there {
            self.truth.content += 1;
            self.git.edits.insert(path, self.truth.content);
        } else {
            self.git.edits.remove(&path);
        }
    }

    /// What a stage changes.
    pub(super) fn path_of(&self, stage: usize) -> Option<String> {
        let stage = self.nth_stage(stage)?;
        let brief = self.briefs.get(&stage)?.as_deref().ok()?;
        brief.card.deliverables.first().map(|deliverable| super::look::below(deliverable.path.as_str()))
    }
}
