//! The processes of a simulated machine: supervisors and their agents, what they use, and how they end.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::cast::{Accident, Ending, Leaves, Play};
use super::clock::Awake;
use crate::core::exit::{EndedBy, ProcessEnd, Usage, UsageSource};
use crate::core::ids::{FamilyName, RunId, TreeId};
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::run::StopReason;
use crate::core::state::Reservation;

/// What an agent has really used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens.
    pub tokens: Tokens,
    /// Money.
    pub cost_usd: MicroUsd,
}

impl Used {
    /// As its output tells it.
    pub fn told(self, source: UsageSource) -> Usage {
        Usage { input_tokens: self.tokens, cost_usd: Some(self.cost_usd), source, ..Usage::default() }.totalled()
    }
}

/// What a run was ordered to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Its own caps.
    pub caps: Reservation,
    /// The tree that it judges; none for a worker.
    pub tree: Option<TreeId>,
    /// The card that it goes by.
    pub card_sha256: Option<String>,
    /// Who it is.
    pub family: Option<FamilyName>,
    /// Whether it calls a model.
    pub uses_model: bool,
}

/// A run whose lock is held: its supervisor lives, or its agent does.
#[derive(Debug, Clone)]
pub struct Live {
    /// What it was ordered to do.
    pub order: Order,
    /// What it does.
    pub play: Play,
    /// When it began.
    pub started: Awake,
    /// The same on the wall's clock.
    pub started_at: DateTime<Utc>,
    /// Whether its supervisor lives.
    pub is_supervised: bool,
    /// When the supervisor died, where it did.
    pub unsupervised_since: Option<Awake>,
    /// What asked it to end.
    pub asked: Option<StopReason>,
}

/// How and when a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When, after its start, in milliseconds awake.
    pub after: Awake,
    /// Why.
    pub by: EndedBy,
    /// How its process ends.
    pub exit: ProcessEnd,
}

/// A run that is over, as its logs tell.
#[derive(Debug, Clone)]
pub struct Gone {
    /// When it began on the wall's clock.
    pub started_at: DateTime<Utc>,
    /// When it began.
    pub started: Awake,
    /// In which boot.
    pub boot: u32,
    /// What its logs tell of its usage.
    pub logged: Usage,
}

impl Gone {
    /// Of its logs only so many thirds are left.
    pub fn logs_are_cut(&mut self, thirds: u64) {
        let Usage { input_tokens: Tokens(tokens), cost_usd, source, .. } = self.logged;
        if source != UsageSource::Stream {
            return;
        }
        let used = Used {
            tokens: Tokens(tokens * thirds / 3),
            cost_usd: MicroUsd(cost_usd.unwrap_or_default().0 * thirds / 3),
        };
        // A log without a single figure tells nothing.
        let tells = used.tokens.0 > 0 || used.cost_usd.0 > 0;
        self.logged = if tells { used.told(UsageSource::Stream) } else { Usage::default() };
    }
}

/// The processes, by run.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Runs whose lock is held.
    pub live: BTreeMap<RunId, Live>,
    /// Runs that have begun and whose lock is free.
    pub gone: BTreeMap<RunId, Gone>,
}

fn millis(seconds: Seconds) -> Awake {
    i64::try_from(seconds.0.saturating_mul(1000)).unwrap_or(i64::MAX / 4)
}

impl Live {
    /// How many turns its model has taken after so long.
    fn turns(&self, after: Awake) -> u64 {
        let turns = u64::from(self.play.turns.max(1));
        let (lasts, after) = (millis(self.play.lasts).max(1), after.max(0));
        let done = i128::from(after) * i128::from(turns) / i128::from(lasts);
        u64::try_from(done).unwrap_or(u64::MAX).min(turns)
    }

    /// What it has used after so long.
    pub fn used(&self, after: Awake) -> Used {
        let (turns, done) = (u64::from(self.play.turns.max(1)), self.turns(after));
        Used {
            tokens: Tokens(self.play.tokens.0 / turns * done),
            cost_usd: MicroUsd(self.play.cost_usd.0 / turns * done),
        }
    }

    /// The largest amount that one of its turns takes.
    pub fn one_turn(&self) -> Used {
        let turns = u64::from(self.play.turns.max(1));
        Used { tokens: Tokens(self.play.tokens.0 / turns), cost_usd: MicroUsd(self.play.cost_usd.0 / turns) }
    }

    /// When the turn ends that reaches a cap; none where none does.
    fn reaches(&self, whole: u64, cap: u64) -> Option<Awake> {
        let turns = u64::from(self.play.turns.max(1));
        let each = whole / turns;
        if cap == 0 || each == 0 || each * turns < cap {
            return None;
        }
        let turn = i64::try_from(cap.div_ceil(each)).ok()?;
        let turns = i64::try_from(turns).ok()?;
        let lasts = i128::from(millis(self.play.lasts).max(1));
        // The first moment at which that many turns are done.
        Awake::try_from((i128::from(turn) * lasts + i128::from(turns) - 1) / i128::from(turns)).ok()
    }

    /// How it ends where nobody asks it to.
    pub fn end(&self) -> Option<End> {
        let lasts = millis(self.play.lasts).max(1);
        let natural = match self.play.ending {
            Ending::Exits(code) => Some(End { after: lasts, by: EndedBy::Exit, exit: ProcessEnd::Code(code) }),
            Ending::Crashes => Some(End { after: lasts, by: EndedBy::Exit, exit: ProcessEnd::Signal(9) }),
            Ending::Refused(..) => Some(End { after: lasts, by: EndedBy::Exit, exit: ProcessEnd::Code(1) }),
            Ending::Hangs => None,
            Ending::Floods => self.ours(Some(lasts / 2), EndedBy::OutputCap),
        };
        let caps = &self.order.caps;
        let wall = (caps.seconds.0 > 0).then(|| millis(caps.seconds));
        let tokens = self.reaches(self.play.tokens.0, caps.tokens.0);
        let cost = self.reaches(self.play.cost_usd.0, caps.cost_usd.0);
        [
            natural,
            self.ours(wall, EndedBy::Timeout),
            self.ours(tokens, EndedBy::TokenCap),
            self.ours(cost, EndedBy::CostCap),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|end| end.after)
    }

    /// An end by its supervisor; none where it has none.
    fn ours(&self, after: Option<Awake>, by: EndedBy) -> Option<End> {
        let after = after.filter(|_| self.is_supervised)?;
        Some(End { after, by, exit: ProcessEnd::Signal(15) })
    }

    /// When its supervisor dies, where it does, after its start; and whether its agent dies with it.
    pub fn death(&self) -> Option<(Awake, bool)> {
        match self.play.accident? {
            Accident::SupervisorDies(after) => Some((millis(after), false)),
            Accident::BothDie(after) => Some((millis(after), true)),
            Accident::DiesUnclaimed | Accident::DoesNotStart | Accident::DiesAtItsRecord(_) => None,
        }
    }

    /// Whether it has come far enough for what it leaves to be there.
    pub fn has_worked(&self, after: Awake) -> bool {
        after * 2 >= millis(self.play.lasts) && self.play.leaves != Leaves::Nothing
    }
}
