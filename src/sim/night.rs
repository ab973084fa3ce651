//! A simulated night: ticks of the real engine, one after another, in a simulated world, until a time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use super::cast::Cast;
use super::clock::Awake;
use super::git::{Commit, Tree};
use super::ground::{Cut, Due, Ground, Setup};
use super::trouble::{Order, Trouble};
use crate::core::card::Card;
use crate::core::ids::StageId;
use crate::core::operate::{Command, Refused, operate};
use crate::core::state::{Awaits, Life, State};
use crate::core::step::{Note, Step};
use crate::files::atomic::{self, Durability};
use crate::files::disk::Disk;
use crate::files::ledger;
use crate::files::store::{Loaded, Store};
use crate::tick::engine::{Turned, turn};

/// How often one fire looks again for ticks that found the lock held.
const ROUNDS: usize = 16;

/// How often what a tick goes by is read from the disk although nothing has happened to it.
const SAMPLE: u64 = 16;

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

/// How the next tick that changes enough is cut short.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    /// Before how many changes it dies.
    dies_before: Option<u32>,
    /// For how long the power is gone then; none where only the process dies.
    off: Option<Awake>,
    /// Whether a second tick comes while it runs.
    twice: bool,
}

impl Fate {
    /// What is left of it for whoever comes next, where this many changes were survived: a tick that has nothing to do
    /// changes little, and death waits for one that has.
    fn after(self, changes: u32) -> Self {
        Self { dies_before: self.dies_before.map(|before| before.saturating_sub(changes)), twice: false, ..self }
    }
}

/// A night.
#[derive(Debug)]
pub struct Night<C> {
    /// Its world.
    pub ground: Ground<C>,
    loaded: Loaded,
    /// Whether that is known to be what the disk holds.
    is_known: bool,
    idle: u64,
    timer: Option<Awake>,
    /// Until when the timer does not fire.
    no_timer_until: Awake,
    turn: Turn<C>,
    troubles: Vec<Trouble>,
    fate: Fate,
    cards: BTreeMap<StageId, Card>,
    story: Vec<Line>,
    tells: bool,
    fires: u64,
    happened: BTreeMap<&'static str, u64>,
}

impl<C: Cast> Night<C> {
    /// A night that begins.
    ///
    /// # Errors
    /// The first state cannot be stored.
    pub fn new(setup: Setup, cast: C) -> Result<Self, Cut> {
        let mut ground = Ground::new(&setup, cast);
        let Setup { mut loaded, timer, is_stored, elapsed, briefs, begins, .. } = setup;
        ground.found(&loaded.state);
        if is_stored {
            let process = ground.process();
            ground.disk.run_as(process);
            atomic::make_dirs_on(&ground.disk, ground.layout.dir(), Durability::Durable)?;
            if let Some(store) = Store::try_lock_on(ground.disk.clone(), &ground.layout)? {
                store.commit(None, &loaded, &[], begins)?;
                // What a file cannot hold, such as fractions of a second, is not known from here on.
                loaded = store.load()?;
            }
        }
        for (stage, flight) in loaded.state.clone().flights() {
            if let Some(elapsed) = elapsed.get(&flight.run) {
                ground.adopt(stage, flight, *elapsed);
            }
        }
        ground.agenda.enter(0, if timer.is_some() { Due::Timer } else { Due::Pulse });
        ground.truth.committed(&loaded);
        let cards = briefs.into_values().flatten().map(|brief| (brief.card.stage.clone(), brief.card)).collect();
        Ok(Self {
            ground,
            loaded,
            is_known: true,
            idle: 0,
            timer,
            no_timer_until: 0,
            turn,
            troubles: Vec::new(),
            fate: Fate::default(),
            cards,
            story: Vec::new(),
            tells: true,
            fires: 0,
            happened: BTreeMap::new(),
        })
    }

    /// The same night with a tick that goes otherwise.
    #[must_use]
    pub fn with_turn(mut self, turn: Turn<C>) -> Self {
        self.turn = turn;
        self
    }

    /// The same night with troubles, each so long after its begin.
    #[must_use]
    pub fn with_troubles(mut self, troubles: impl IntoIterator<Item = (Awake, Trouble)>) -> Self {
        for (at, trouble) in troubles {
            self.ground.agenda.enter(at, Due::Trouble(self.troubles.len()));
            self.troubles.push(trouble);
        }
        self
    }

    /// The same night without a story, which takes less time.
    #[must_use]
    pub fn untold(mut self) -> Self {
        self.tells = false;
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

    /// What has happened how often: troubles, accidents, and what agents did.
    pub fn happened(&self) -> &BTreeMap<&'static str, u64> {
        &self.happened
    }

    /// What is broken, in the order in which it was found.
    pub fn broken(&self) -> &[String] {
        &self.ground.truth.broken
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
                if at >= self.no_timer_until {
                    self.fire();
                }
            }
            Due::Pulse => self.fire(),
            Due::Ends(run) => {
                let was = self.ground.is_alive(&run);
                self.ground.run_ends(&self.loaded.state, &run);
                if was && !self.ground.is_alive(&run) {
                    self.happens(|| format!("{run} ends"));
                }
            }
            Due::Dies(run, both) => {
                if self.ground.is_alive(&run) {
                    self.happens(|| {
                        format!("the supervisor of {run} dies{}", if both { ", and its agent" } else { "" })
                    });
                    self.ground.supervisor_dies(&run, both);
                }
            }
            Due::Trouble(number) => self.begins(number),
            Due::Over(number) => self.is_over(number),
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
        let Step { state, budget, notes, .. } = operate(&self.loaded.state, &self.loaded.budget, command, now)?;
        self.tell(&notes, now);
        self.loaded = Loaded { state, budget };
        Ok(())
    }

    /// One tick, with those that find its lock held.
    pub fn fire(&mut self) {
        self.fires += 1;
        let fate = std::mem::take(&mut self.fate);
        let mut process = self.ground.process();
        process.fuse = fate.dies_before;
        self.ground.disk.run_as(process);
        let mut is_dead = false;
        for round in 0..ROUNDS {
            let passed = self.pass();
            is_dead = self.ground.disk.process().is_dead;
            match passed {
                Ok(turned) if !is_dead => {
                    self.idle = if turned.notes.is_empty() { turned.idle + 1 } else { turned.idle };
                    self.tell(&turned.notes, self.ground.clock.now());
                    self.ground.truth.goes_by(&turned.loaded);
                    self.loaded = turned.loaded;
                    self.is_known = true;
                }
                Ok(_) | Err(Cut::Killed) => {}
                Err(error) => {
                    self.is_known = false;
                    self.happens(|| format!("the tick ends: {error}"));
                }
            }
            if is_dead {
                self.count(if fate.off.is_some() { "the power was cut in a tick" } else { "a tick died" });
                self.dies(fate.off);
                break;
            }
            if fate.twice && round == 0 {
                drop(self.ground.mark(&self.ground.layout.tick_again()));
            }
            if !self.ground.disk.exists(&self.ground.layout.tick_again()) {
                break;
            }
        }
        let after = self.ground.process();
        let before = self.ground.disk.run_as(after);
        if !is_dead {
            self.fate = fate.after(before.changes);
        }
        let Ground { truth, table, git, policy, clock, .. } = &mut self.ground;
        truth.after_fire(table, git, &self.cards, policy.work_retries, clock.now());
    }

    fn dies(&mut self, off: Option<Awake>) {
        self.is_known = false;
        match off {
            None => self.happens(|| "it is killed".to_owned()),
            Some(off) => {
                self.happens(|| "the power is cut in it".to_owned());
                self.ground.power_cut(off);
                self.idle = 0;
            }
        }
        let process = self.ground.process();
        self.ground.disk.run_as(process);
    }

    fn pass(&mut self) -> Result<Turned, Cut> {
        if self.ground.is_stored {
            let store = Store::try_lock_on(self.ground.disk.clone(), &self.ground.layout)?;
            let Some(store) = store else { return Err(Cut::Failed("the lock is held".to_owned())) };
            store.forget_marks()?;
            self.ground.sweep();
            if !self.is_known || self.fires.is_multiple_of(SAMPLE) {
                self.load(&store)?;
            }
            self.ground.store = Some(store);
        }
        let loaded = self.loaded.clone();
        let disk = self.ground.disk.clone();
        let recovered = self.ground.git.recover(&disk).map_err(|_: std::io::Error| Cut::Killed);
        let turned = recovered.and_then(|()| (self.turn)(&mut self.ground, loaded, self.idle));
        self.ground.store = None;
        let clock = &self.ground.clock;
        self.ground.slept = Some((clock.boot, clock.asleep, clock.now()));
        turned
    }

    /// Reads what the disk holds, and compares it with what it should hold.
    fn load(&mut self, store: &Store<super::disk::SimDisk>) -> Result<(), Cut> {
        let read = store.redo().and_then(|_| store.load());
        if self.ground.disk.process().is_dead {
            return Err(Cut::Killed);
        }
        match read {
            Ok(loaded) => {
                self.ground.truth.reads(&loaded);
                self.loaded = loaded;
                self.is_known = true;
            }
            Err(error) => {
                if error.is_damage() {
                    self.ground.truth.reads_ledger(Some(error.to_string()));
                }
                return Err(error.into());
            }
        }
        let walked = ledger::walk_on(&self.ground.disk, &self.ground.layout.ledger(), |_| {});
        self.ground.truth.reads_ledger(walked.err().map(|error| error.to_string()));
        Ok(())
    }

    fn tell(&mut self, notes: &[Note], at: DateTime<Utc>) {
        if self.tells {
            self.story.extend(notes.iter().map(|note| Line { at, what: What::Noted(note.clone()) }));
        }
    }

    fn happens(&mut self, words: impl FnOnce() -> String) {
        if self.tells {
            let at = self.now();
            self.story.push(Line { at, what: What::Happened(words()) });
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// A trouble begins.
    fn begins(&mut self, number: usize) {
        let Some(trouble) = self.troubles.get(number).copied() else { return };
        self.happens(|| format!("{}: {trouble:?}", trouble.kind()));
        let awake = self.ground.clock.awake;
        if let Some(lasts) = trouble.lasts() {
            self.ground.agenda.enter(awake + lasts, Due::Over(number));
        }
        let has_happened = self.lets(trouble, awake);
        if has_happened {
            self.count(trouble.kind());
        }
    }

    /// Lets a trouble happen; false where there was nothing that it could happen to.
    fn lets(&mut self, trouble: Trouble, awake: Awake) -> bool {
        let ground = &mut self.ground;
        match trouble {
            Trouble::TickDies(before) => self.fate = Fate { dies_before: Some(before), ..Fate::default() },
            Trouble::PowerCutInTick(before, off) => {
                self.fate = Fate { dies_before: Some(before), off: Some(off), twice: false };
            }
            Trouble::Twice => self.fate.twice = true,
            Trouble::PowerCut(off) => {
                ground.power_cut(off);
                self.is_known = false;
                self.idle = 0;
            }
            Trouble::SupervisorKilled(number) => {
                let Some(run) = ground.nth_live(number) else { return false };
                ground.supervisor_dies(&run, false);
            }
            Trouble::RunKilled(number) => {
                let Some(run) = ground.nth_live(number) else { return false };
                ground.agent_dies(&run);
            }
            Trouble::PulsesLost(_) => ground.loses_pulses = true,
            Trouble::NoTimer(time) => self.no_timer_until = self.no_timer_until.max(awake + time),
            Trouble::LateTimer(late) => {
                ground.agenda.enter(awake + late, Due::Pulse);
                self.no_timer_until = self.no_timer_until.max(awake + late);
            }
            Trouble::Sleep(time) => ground.clock.sleep(time),
            Trouble::ClockSet(by) => {
                ground.clock.set_by(by);
                ground.truth.clock_was_set = true;
            }
            Trouble::DiskFull(_) => ground.disk.fill(true),
            Trouble::BaseOverlaps(stage) => {
                let Some(path) = ground.path_of(stage) else { return false };
                return self.commit(&path);
            }
            Trouble::BaseMoves => {
                let path = format!("other/{awake}");
                return self.commit(&path);
            }
            Trouble::Edits(stage, _) => ground.edit(stage, true),
            Trouble::GitBusy(_) => ground.git.is_busy = true,
            Trouble::BaseGone(_) => ground.git.hide("main", true),
            Trouble::CardBroken(stage, _) => ground.unusable.extend(ground.nth_stage(stage)),
            Trouble::Offline(family, _) => ground.offline.extend(ground.nth_family(family)),
            Trouble::Operator(order) => return self.order(order),
        }
        true
    }

    /// Somebody commits to the base branch.
    fn commit(&mut self, path: &str) -> bool {
        if self.ground.git.is_landing() || self.ground.git.edits.contains_key(path) {
            return false;
        }
        self.ground.truth.content += 1;
        let content = self.ground.truth.content;
        self.ground.commit_to("main", path, content).is_some()
    }

    /// A trouble is over.
    fn is_over(&mut self, number: usize) {
        let Some(trouble) = self.troubles.get(number).copied() else { return };
        let ground = &mut self.ground;
        match trouble {
            Trouble::PulsesLost(_) => ground.loses_pulses = false,
            Trouble::DiskFull(_) => ground.disk.fill(false),
            Trouble::Edits(stage, _) => ground.edit(stage, false),
            Trouble::GitBusy(_) => ground.git.is_busy = false,
            Trouble::BaseGone(_) => ground.git.hide("main", false),
            Trouble::CardBroken(stage, _) => {
                if let Some(stage) = ground.nth_stage(stage) {
                    ground.unusable.remove(&stage);
                }
            }
            Trouble::Offline(family, _) => {
                if let Some(family) = ground.nth_family(family) {
                    ground.offline.remove(&family);
                }
            }
            _ => return,
        }
        self.happens(|| format!("over: {}", trouble.kind()));
    }

    /// The operator says something, as `tick::operate` takes it: under the lock, through the store.
    fn order(&mut self, order: Order) -> bool {
        let fate = std::mem::take(&mut self.fate);
        let mut process = self.ground.process();
        process.fuse = fate.dies_before;
        self.ground.disk.run_as(process);
        let done = self.commanded(order);
        let process = self.ground.disk.process();
        if process.is_dead {
            self.count("a command died");
            self.dies(fate.off);
        } else {
            self.fate = fate.after(process.changes);
            if let Err(error) = &done {
                let error = error.to_string();
                self.happens(|| format!("refused: {error}"));
                self.is_known = false;
            }
        }
        self.ground.agenda.enter(self.ground.clock.awake + 1, Due::Pulse);
        done.unwrap_or(false)
    }

    fn commanded(&mut self, order: Order) -> Result<bool, Cut> {
        let now = self.now();
        if let Some(store) = self.locked()? {
            if !self.is_known {
                self.load(&store)?;
            }
            let Some(command) = order.command(&self.loaded.state, now) else { return Ok(false) };
            if self.has_landed(&command) {
                return Ok(false);
            }
            let Ok(step) = operate(&self.loaded.state, &self.loaded.budget, command.clone(), now) else {
                return Ok(false);
            };
            let halts = match command {
                Command::Halt(_) => Some(true),
                Command::Resume => Some(false),
                _ => None,
            };
            let after = Loaded { state: step.state, budget: step.budget };
            let says = super::truth::Order { halts, merges: self.merges(&command) };
            self.ground.truth.orders(&after, says);
            store.commit(Some(&self.loaded), &after, &step.notes, now)?;
            self.ground.truth.committed(&after);
            self.tell(&step.notes, now);
            self.loaded = after;
        }
        Ok(true)
    }

    fn locked(&self) -> Result<Option<Store<super::disk::SimDisk>>, Cut> {
        Ok(Store::try_lock_on(self.ground.disk.clone(), &self.ground.layout)?)
    }

    /// Whether a stage that is to be closed is on its base branch already.
    fn has_landed(&mut self, command: &Command) -> bool {
        let Command::Skip(id) = command else { return false };
        let Some(stage) = self.loaded.state.stage(id).cloned() else { return false };
        let Life::Landing(landing) = &stage.life else { return false };
        let commit = self.ground.landing_commit(&stage, landing);
        let tip = self.ground.git.tip(&stage.base_branch);
        commit.zip(tip).is_some_and(|(commit, tip)| self.ground.git.contains(&tip, &commit))
    }

    /// The stage whose change the operator lets git merge.
    fn merges(&self, command: &Command) -> Option<StageId> {
        let Command::Approve(id) = command else { return None };
        let Life::Over(over) = &self.loaded.state.stage(id)?.life else { return None };
        over.kept.as_ref().filter(|kept| kept.awaits == Awaits::Merge).map(|_| id.clone())
    }
}

/// How many fires a night may take to come to rest once nothing goes wrong any more.
const MOST_TO_REST: u64 = 400;

impl<C: Cast> Night<C> {
    /// Ends every trouble, and lets the night come to rest: until nothing runs, nothing is due and nothing waits for a
    /// time. Then looks whether anything is left over.
    pub fn rest(&mut self) {
        self.ground.agenda.keep(|due| !matches!(due, Due::Trouble(_)));
        for number in 0..self.troubles.len() {
            self.is_over(number);
        }
        self.no_timer_until = 0;
        self.fate = Fate::default();
        self.ground.git.edits.clear();
        let begun = self.fires;
        let mut still = 0;
        while still < 3 && self.fires - begun < MOST_TO_REST && self.broken().is_empty() {
            let before = (self.loaded.clone(), self.ground.table.live.len());
            if !self.advance() {
                break;
            }
            let is_quiet = before == (self.loaded.clone(), self.ground.table.live.len()) && self.is_quiet();
            still = if is_quiet { still + 1 } else { 0 };
            if still > 0
                && let Some(at) = self.next_moment()
            {
                // Nobody has to see the ticks of a long wait.
                let wait = at.signed_duration_since(self.now()).num_milliseconds();
                self.ground.clock.sleep(wait.clamp(0, TimeDelta::days(8).num_milliseconds()));
                still = 0;
            }
        }
        let rested = still >= 3 || !self.broken().is_empty();
        self.ground.truth.at_rest(rested, || format!("not at rest after {MOST_TO_REST} fires without troubles"));
        if rested && self.broken().is_empty() {
            self.leftovers();
        }
    }

    /// Whether nothing runs and nothing is due but the timer.
    pub fn is_quiet(&self) -> bool {
        self.ground.table.live.is_empty() && self.ground.agenda.all().all(|due| *due == Due::Timer)
    }

    /// The next moment that something waits for.
    fn next_moment(&self) -> Option<DateTime<Utc>> {
        let Loaded { state, budget } = &self.loaded;
        let mut moments: Vec<DateTime<Utc>> = budget.pauses.iter().map(|pause| pause.until).collect();
        moments.extend(budget.breakers.iter().filter_map(|breaker| breaker.open_until));
        moments.extend(budget.deferrals.iter().map(|deferral| deferral.until));
        moments.extend(budget.drain.iter().map(|drain| drain.until));
        for stage in &state.stages {
            match &stage.life {
                Life::Pending(pending) => moments.extend(pending.not_before),
                Life::Gating(gating) => moments.extend(gating.not_before),
                Life::Verifying(verifying) => moments.extend(verifying.seats.iter().filter_map(|seat| seat.not_before)),
                Life::Working(_) | Life::Landing(_) | Life::Over(_) => {}
            }
        }
        let now = self.now();
        moments.into_iter().filter(|at| *at > now).min()
    }

    fn leftovers(&mut self) {
        self.is_known = false;
        if let Ok(Some(store)) = self.locked() {
            drop(self.load(&store));
        }
        let Ground { truth, git, disk, layout, policy, clock, .. } = &mut self.ground;
        let Loaded { state, budget } = &self.loaded;
        let halted = budget.halted;
        for stage in &state.stages {
            let id = &stage.id;
            let rests = match &stage.life {
                Life::Over(_) => true,
                Life::Pending(pending) => {
                    let held = crate::core::step::hold(&state.stages, stage, budget, policy, clock.now());
                    held.is_some() || pending.reason.is_some()
                }
                life => halted && life.flights().is_empty(),
            };
            truth.at_rest(rests, || format!("{id} is {} for ever, without a reason", stage.life.word()));
            truth.at_rest(stage.chores.is_empty(), || format!("{id} is left with {:?}", stage.chores));
            let is_done = matches!(&stage.life, Life::Over(over) if over.commit.is_some());
            let branch = super::look::run_branch(id);
            truth.at_rest(!is_done || git.tip(&branch).is_none(), || format!("{branch} is left over"));
        }
        truth.at_rest(git.worktrees.is_empty(), || format!("checkouts are left over: {:?}", git.worktrees.keys()));
        truth.at_rest(!git.is_landing(), || "a landing is not finished".to_owned());
        let state = layout.dir().to_owned();
        let left: Vec<PathBuf> = disk
            .names()
            .into_iter()
            .filter(|path| path.parent() == Some(&state) && path.to_string_lossy().ends_with(".autometta-tmp"))
            .chain([layout.txn(), layout.tick_again()].into_iter().filter(|path| disk.exists(path)))
            .collect();
        truth.at_rest(left.is_empty(), || format!("files are left over: {left:?}"));
    }
}

impl<C: Cast> Ground<C> {
    /// Makes branches and commits that a state speaks of.
    fn found(&mut self, state: &State) {
        let first = self.git.tree(Tree::new());
        let first = self.git.commit(Commit { tree: first, parent: None, stage: None, run: None }, "first");
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

    /// Clears away what writers that were killed in the middle left in the state's own folder.
    pub(super) fn sweep(&self) {
        let running = self.disk.process();
        for path in self.disk.names() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mine = name.ends_with(&format!(".{}-0.autometta-tmp", running.id));
            if path.parent() == Some(self.layout.dir()) && name.ends_with(".autometta-tmp") && !mine {
                drop(atomic::remove_on(&self.disk, &path));
            }
        }
    }

    /// Whether a run's lock is held.
    pub fn is_alive(&self, run: &crate::core::ids::RunId) -> bool {
        self.table.live.contains_key(run)
    }
}
