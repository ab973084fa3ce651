//! A simulated night: ticks of the real engine, one after another, in a simulated world, until a time.

use chrono::{DateTime, Utc};

use super::cast::Cast;
use super::clock::Awake;
use super::disk::SimDisk;
use super::ground::{Cut, Due, Ground, Setup};
use crate::core::ids::RunId;
use crate::core::operate::{Command, Refused, operate};
use crate::core::state::{Life, State};
use crate::core::step::Note;
use crate::files::atomic::{self, Durability};
use crate::files::disk::Disk;
use crate::files::store::{Loaded, Store};
use crate::tick::engine::{Turned, turn};

/// How often one fire looks again for ticks that found the lock held.
const ROUNDS: usize = 16;

/// How a tick goes once state and budget are loaded: `tick::engine::turn`, or the same with something wrong in it.
pub type Turn<C> = fn(&mut Ground<C>, Loaded, u64) -> Result<Turned, Cut>;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// When, on the wall's clock.
    pub at: DateTime<Utc>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The machine noted it.
    Noted(Note),
    /// It happened in the world.
    Happened(String),
}

/// A night.
#[derive(Debug)]
pub struct Night<C> {
    /// Its world.
    pub ground: Ground<C>,
    loaded: Loaded,
    idle: u64,
    timer: Option<Awake>,
    turn: Turn<C>,
    story: Vec<Line>,
    fires: u64,
}

impl<C: Cast> Night<C> {
    /// A night that begins.
    ///
    /// # Errors
    /// The first state cannot be stored.
    pub fn new(setup: Setup, cast: C) -> Result<Self, Cut> {
        let mut ground = Ground::new(&setup, cast);
        let Setup { mut loaded, timer, is_stored, elapsed, .. } = setup;
        ground.found(&loaded.state);
        if is_stored {
            let process = ground.process();
            ground.disk.run_as(process);
            atomic::make_dirs_on(&ground.disk, ground.layout.dir(), Durability::Durable)?;
            let store = Store::try_lock_on(ground.disk.clone(), &ground.layout)?;
            if let Some(store) = store {
                store.commit(None, &loaded, &[], setup.begins)?;
                // What a file cannot hold, such as fractions of a second, is not known from here on.
                loaded = store.load()?;
            }
        }
        for (stage, flight) in loaded.state.clone().flights() {
            if let Some(elapsed) = elapsed.get(&flight.run) {
                ground.adopt(stage, flight, *elapsed);
            }
        }
        if timer.is_some() {
            ground.agenda.enter(0, Due::Timer);
        } else {
            ground.agenda.enter(0, Due::Pulse);
        }
        ground.truth.committed(&loaded);
        Ok(Self { ground, loaded, idle: 0, timer, turn, story: Vec::new(), fires: 0 })
    }

    /// The same night with a tick that goes otherwise.
    #[must_use]
    pub fn with_turn(mut self, turn: Turn<C>) -> Self {
        self.turn = turn;
        self
    }

    /// The time on the wall.
    pub fn now(&self) -> DateTime<Utc> {
        self.ground.clock.now()
    }

    /// State and budget as the last tick left them.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// What has happened so far.
    pub fn story(&self) -> &[Line] {
        &self.story
    }

    /// How many ticks there were.
    pub fn fires(&self) -> u64 {
        self.fires
    }

    /// Lets what is due next happen; false where nothing is due.
    pub fn advance(&mut self) -> bool {
        let Some((at, due)) = self.ground.agenda.take() else { return false };
        self.ground.clock.awake = self.ground.clock.awake.max(at);
        match due {
            Due::Timer => {
                if let Some(timer) = self.timer {
                    self.ground.agenda.enter(at + timer, Due::Timer);
                }
                self.fire();
            }
            Due::Pulse => self.fire(),
            Due::Ends(run) => self.ground.run_ends(&self.loaded.state, &run),
            Due::Dies(run, both) => self.ground.supervisor_dies(&run, both),
            Due::Trouble(_) | Due::Over(_) => {}
        }
        true
    }

    /// Lets everything happen up to a time on the wall.
    pub fn run_until(&mut self, until: DateTime<Utc>) {
        while self.ground.agenda.next_at().is_some() && self.now() < until && self.advance() {}
    }

    /// Carries out an operator's command.
    ///
    /// # Errors
    /// It is refused.
    pub fn operate(&mut self, command: Command) -> Result<(), Refused> {
        let now = self.now();
        let step = operate(&self.loaded.state, &self.loaded.budget, command, now)?;
        let after = Loaded { state: step.state, budget: step.budget };
        self.tell(&step.notes, now);
        self.loaded = after;
        Ok(())
    }

    /// One tick.
    pub fn fire(&mut self) {
        self.fires += 1;
        for _ in 0..ROUNDS {
            let process = self.ground.process();
            self.ground.disk.run_as(process);
            match self.pass() {
                Ok(turned) => {
                    self.idle = if turned.notes.is_empty() { turned.idle + 1 } else { turned.idle };
                    self.tell(&turned.notes, self.ground.clock.now());
                    self.loaded = turned.loaded;
                }
                Err(error) => self.happens(|| error.to_string()),
            }
            if !self.ground.disk.exists(&self.ground.layout.tick_again()) {
                break;
            }
        }
    }

    fn pass(&mut self) -> Result<Turned, Cut> {
        let mut loaded = self.loaded.clone();
        if self.ground.is_stored {
            let store = Store::try_lock_on(self.ground.disk.clone(), &self.ground.layout)?;
            let Some(store) = store else { return Err(Cut::Failed("the lock is held".to_owned())) };
            store.forget_marks()?;
            store.redo()?;
            loaded = store.load()?;
            self.ground.store = Some(store);
        }
        let disk: SimDisk = self.ground.disk.clone();
        let recovered = self.ground.git.recover(&disk).map_err(|_: std::io::Error| Cut::Killed);
        let turned = recovered.and_then(|()| (self.turn)(&mut self.ground, loaded, self.idle));
        self.ground.store = None;
        let clock = &self.ground.clock;
        self.ground.slept = Some((clock.boot, clock.asleep, clock.now()));
        turned
    }

    fn tell(&mut self, notes: &[Note], at: DateTime<Utc>) {
        self.story.extend(notes.iter().map(|note| Line { at, what: What::Noted(note.clone()) }));
    }

    fn happens(&mut self, words: impl FnOnce() -> String) {
        let at = self.now();
        self.story.push(Line { at, what: What::Happened(words()) });
    }

    /// Whether nothing runs and nothing is due but the timer.
    pub fn is_quiet(&self) -> bool {
        self.ground.table.live.is_empty() && self.ground.agenda.all().all(|due| *due == Due::Timer)
    }
}

impl<C: Cast> Ground<C> {
    /// Makes branches and commits that a state speaks of.
    fn found(&mut self, state: &State) {
        let first = self.git.tree(super::git::Tree::new());
        let first = self.git.commit(super::git::Commit { tree: first, parent: None, stage: None }, "first");
        for stage in &state.stages {
            if self.git.tip(&stage.base_branch).is_none() {
                self.git.set(&stage.base_branch, &first);
            }
            let base = match &stage.life {
                Life::Working(working) => Some(&working.work.base_commit),
                Life::Gating(gating) => Some(&gating.work.base_commit),
                Life::Verifying(verifying) => Some(&verifying.work.base_commit),
                Life::Landing(landing) => Some(&landing.work.base_commit),
                Life::Pending(_) | Life::Over(_) => None,
            };
            if let Some(base) = base {
                let tip = self.git.tip(&stage.base_branch);
                self.git.know(base, tip);
                self.git.set(&stage.base_branch, base);
            }
            if let Some(candidate) = stage.candidate() {
                self.git.know(&candidate.commit, None);
            }
        }
        self.git.check_out(&first);
    }

    /// Whether a run's lock is held.
    pub fn is_alive(&self, run: &RunId) -> bool {
        self.table.live.contains_key(run)
    }
}
