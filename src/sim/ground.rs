//! The simulated world that a tick happens in: its disk, git, processes, clocks and weather.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use chrono::{DateTime, NaiveTime, Utc};
use thiserror::Error;

use super::cast::Cast;
use super::clock::{Agenda, Awake, Clock};
use super::disk::{Process, SimDisk};
use super::git::SimGit;
use super::process::Table;
use super::truth::Truth;
use crate::core::ids::{FamilyName, RunId, StageId};
use crate::core::observation::{Brief, LandingSighting, Observation};
use crate::core::policy::Policy;
use crate::core::random::Random;
use crate::core::state::State;
use crate::core::step::Effect;
use crate::files::atomic::{self, Durability, WriteError};
use crate::files::journal::Source;
use crate::files::layout::Layout;
use crate::files::store::{Decided, Loaded, Store, StoreError};
use crate::tick::engine::{Change, Performed, Round, World};

/// What a simulated night begins with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// State and budget.
    pub loaded: Loaded,
    /// The rules that the machine decides by.
    pub policy: Policy,
    /// What every stage asks for, or why its card cannot be used.
    pub briefs: BTreeMap<StageId, Result<Box<Brief>, String>>,
    /// When it begins.
    pub begins: DateTime<Utc>,
    /// When the present day of the machine's clock began, for windows that ask for it.
    pub midnight: fn(DateTime<Utc>) -> Option<DateTime<Utc>>,
    /// How often the timer fires, in milliseconds; none without a timer.
    pub timer: Option<Awake>,
    /// Whether every commit goes through the store onto the simulated disk. Without it a night is faster and knows no
    /// crashes.
    pub is_stored: bool,
    /// What the seed of the world itself is; agents are the cast's.
    pub seed: u64,
    /// How long runs that are in flight already have run, in milliseconds; absent for those that have not begun.
    pub elapsed: BTreeMap<RunId, Awake>,
}

impl Setup {
    /// A night of this state and these cards, with the defaults for all else.
    pub fn new(loaded: Loaded, policy: Policy, briefs: BTreeMap<StageId, Result<Box<Brief>, String>>) -> Self {
        Self {
            loaded,
            policy,
            briefs,
            begins: DateTime::UNIX_EPOCH,
            midnight: |now| Some(now.date_naive().and_time(NaiveTime::MIN).and_utc()),
            timer: Some(5 * 60 * 1000),
            is_stored: false,
            seed: 0,
            elapsed: BTreeMap::new(),
        }
    }
}

/// Why a tick ended early.
#[derive(Debug, Error)]
pub enum Cut {
    /// Its process was killed, or the power was cut.
    #[error("the tick was killed")]
    Killed,
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Something else could not be done.
    #[error("{0}")]
    Failed(String),
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// The timer fires.
    Timer,
    /// A run that has ended starts a tick.
    Pulse,
    /// A run comes to its end.
    Ends(RunId),
    /// A run's supervisor dies; true where its agent dies with it.
    Dies(RunId, bool),
    /// The trouble of this number begins.
    Trouble(usize),
    /// It is over.
    Over(usize),
}

/// The world.
#[derive(Debug)]
pub struct Ground<C> {
    /// Where the files are.
    pub disk: SimDisk,
    /// Where the branches are.
    pub git: SimGit,
    /// Who runs.
    pub table: Table,
    /// What time it is.
    pub clock: Clock,
    /// What is due.
    pub agenda: Agenda<Due>,
    /// Families whose provider cannot be reached.
    pub offline: BTreeSet<FamilyName>,
    /// Stages whose card cannot be used for a while.
    pub unusable: BTreeSet<StageId>,
    /// What is true, whatever the machine believes.
    pub truth: Truth,
    /// Chance, where the seed of the world decides.
    pub random: Random,
    /// Whether pulses are lost.
    pub loses_pulses: bool,
    pub(super) cast: C,
    pub(super) policy: Policy,
    pub(super) briefs: BTreeMap<StageId, Result<Box<Brief>, String>>,
    pub(super) midnight: fn(DateTime<Utc>) -> Option<DateTime<Utc>>,
    pub(super) layout: Layout,
    pub(super) store: Option<Store<SimDisk>>,
    pub(super) is_stored: bool,
    /// How many agents have begun.
    pub(super) begun: usize,
    /// The number of the newest process.
    pub(super) processes: u32,
    /// How long the machine had slept when the tick before looked, in which boot, and when that was.
    pub(super) slept: Option<(u32, i64, DateTime<Utc>)>,
}

impl<C: Cast> Ground<C> {
    pub(super) fn new(setup: &Setup, cast: C) -> Self {
        Self {
            disk: SimDisk::default(),
            git: SimGit::default(),
            table: Table::default(),
            clock: Clock::new(setup.begins),
            agenda: Agenda::default(),
            offline: BTreeSet::new(),
            unusable: BTreeSet::new(),
            truth: Truth::default(),
            random: Random::new(setup.seed),
            loses_pulses: false,
            cast,
            policy: setup.policy.clone(),
            briefs: setup.briefs.clone(),
            midnight: setup.midnight,
            layout: Layout::new(Path::new("/repo"), "state"),
            store: None,
            is_stored: setup.is_stored,
            begun: 0,
            processes: 0,
            slept: None,
        }
    }

    /// Who plays.
    pub fn cast(&self) -> &C {
        &self.cast
    }

    /// A process that has not run before.
    pub fn process(&mut self) -> Process {
        self.processes += 1;
        Process::new(self.processes)
    }

    /// Writes an empty file that marks something as done.
    pub(super) fn mark(&self, path: &Path) -> Result<(), WriteError> {
        if let Some(folder) = path.parent() {
            atomic::make_dirs_on(&self.disk, folder, Durability::Volatile)?;
        }
        atomic::write_on(&self.disk, path, b"", Durability::Volatile)
    }

    /// Stands before an effect.
    pub(super) fn pass(&self) -> Result<(), Cut> {
        self.disk.pass().map_err(|_: io::Error| Cut::Killed)
    }

    /// What a stage asks for now.
    pub(super) fn brief(&self, stage: &StageId) -> Result<Box<Brief>, String> {
        if self.unusable.contains(stage) {
            return Err("its card cannot be used".to_owned());
        }
        self.briefs.get(stage).cloned().unwrap_or_else(|| Err("it has no card".to_owned()))
    }
}

impl<C: Cast> World for Ground<C> {
    type Error = Cut;

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn observe(
        &mut self,
        loaded: &Loaded,
        tried: &BTreeMap<StageId, LandingSighting>,
        now: DateTime<Utc>,
    ) -> Result<Observation, Cut> {
        Ok(self.look(loaded, tried, now))
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), Cut> {
        let Change { before, after, archived, notes, now, .. } = *change;
        self.truth.commits(before, after, now);
        let decided = Decided { before: Some(before), after, archived, notes, now };
        let stored = match &self.store {
            Some(store) => store.commit_from(Source::Whole, &decided),
            None => Ok(()),
        };
        match stored {
            Ok(()) => {
                self.truth.committed(after);
                Ok(())
            }
            Err(_) if self.disk.process().is_dead => Err(Cut::Killed),
            Err(error) => Err(error.into()),
        }
    }

    fn committed(&mut self, _: &Loaded, _: &Round<'_>) {}

    fn perform(&mut self, state: &State, effects: &[Effect], now: DateTime<Utc>) -> Performed {
        self.carry_out(state, effects, now)
    }
}
