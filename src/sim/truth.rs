//! What is true in a simulated night, whatever the machine believes, and where the two part.
//!
//! The numbers are those of the invariants in docs/how-it-works.md.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::cast::{GatePlay, Leaves};
use super::git::{SimGit, Tree};
use super::process::{Live, Table, Used};
use crate::core::card::Card;
use crate::core::ids::{CommitId, FamilyName, ObjectId, Role, RunId, StageId, TreeId};
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::state::{EndStatus, Life, RunOutcome};
use crate::core::verdict::Judgement;
use crate::files::store::Loaded;

/// A change as paths with what they hold afterwards.
type Patch = Vec<(String, Option<u64>)>;

/// What each check of a night is called, in the order of their counts.
pub const CHECKS: [&str; 12] = [
    "1: one live run per role and seat, none twice",
    "1: nothing runs that the state does not know",
    "2: what lands passed its gates and the votes of another family",
    "2: nothing lands twice, and nobody's commit is lost",
    "3: nothing is dispatched while halted or paused",
    "3: no cap is passed by more than a turn",
    "4: what was used is charged, once",
    "5: attempts end",
    "6: the night comes to rest with nothing left over",
    "7: what has ended stays ended",
    "8: the disk holds the last commit, and the ledger is whole",
    "10: the operator's edits stay",
];

/// What a run really used.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    used: Used,
    uses_model: bool,
    /// When it was gone, on the wall's clock.
    at: DateTime<Utc>,
}

/// What an operator's command says that the machine has to heed.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Whether the repository is to be halted; none where it says nothing about that.
    pub halts: Option<bool>,
    /// The stage whose change git may merge.
    pub merges: Option<StageId>,
}

/// What really happened.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// How often the agent of each run was started.
    starts: BTreeMap<RunId, u32>,
    /// What each run really used, once it is gone.
    used: BTreeMap<RunId, Spent>,
    /// What runs used that nobody watched any more.
    unwatched: Used,
    /// The largest turn of any run.
    turn: Used,
    /// What each settled run was charged.
    charged: BTreeMap<RunId, Tokens>,
    /// Trees that every gate really passed.
    passed: BTreeSet<TreeId>,
    /// Changes that somebody really voted for, with the voters' seats and families.
    votes: BTreeMap<Patch, BTreeMap<(StageId, Option<u32>), FamilyName>>,
    /// Runs that handed in what was not theirs to give.
    forged: BTreeSet<RunId>,
    /// The family of every worker.
    workers: BTreeMap<RunId, FamilyName>,
    /// Commits that workers put onto a base branch by themselves.
    pub strays: BTreeMap<ObjectId, RunId>,
    /// Changes that the operator lets git merge.
    merges: BTreeSet<StageId>,
    /// Whether somebody has set the wall's clock.
    pub clock_was_set: bool,
    /// The number of the newest content.
    pub content: u64,
    /// Whether the operator has halted the repository.
    is_halted: bool,
    /// What the operator's command that is being committed says.
    order: Order,
    /// The highest caps that there were; none where there was none at some time.
    caps: Option<(Option<Tokens>, Option<MicroUsd>)>,
    /// How many commits of each base branch were looked at.
    known: BTreeMap<String, CommitId>,
    /// Stages with the commit that landed for them.
    landed: BTreeMap<StageId, CommitId>,
    /// State and budget that stand.
    stands: Option<Loaded>,
    /// Those that are being committed.
    under_way: Option<Loaded>,
    /// What is wrong: the first is what counts.
    pub broken: Vec<String>,
    /// How often each of the checks was made.
    pub checks: [u64; CHECKS.len()],
}

impl Truth {
    fn hold(&mut self, check: usize, holds: bool, words: impl FnOnce() -> String) {
        self.checks[check] += 1;
        if !holds && self.broken.len() < 20 {
            let name = CHECKS[check].split(':').next().unwrap_or_default();
            self.broken.push(format!("{name}: {}", words()));
        }
    }

    /// The agent of a run begins.
    pub fn begins(&mut self, run: &RunId, live: &Live) {
        let starts = self.starts.entry(run.clone()).or_default();
        *starts += 1;
        let starts = *starts;
        self.hold(0, starts == 1, || format!("the agent of {run} was started {starts} times"));
        if let (Role::Worker, Some(family)) = (run.role, &live.order.family) {
            self.workers.insert(run.clone(), family.clone());
        }
    }

    /// The last process of a run is gone.
    pub fn ended(&mut self, run: &RunId, used: Used, live: &Live, at: DateTime<Utc>) {
        let turn = live.one_turn();
        self.turn.tokens = self.turn.tokens.max(turn.tokens);
        self.turn.cost_usd = self.turn.cost_usd.max(turn.cost_usd);
        if live.unsupervised_since.is_some() {
            self.unwatched.tokens += used.tokens - live.order.caps.tokens;
            self.unwatched.cost_usd += used.cost_usd - live.order.caps.cost_usd;
        }
        self.used.insert(run.clone(), Spent { used, uses_model: live.order.uses_model, at });
    }

    /// A run hands in what is not its own to give.
    pub fn forges(&mut self, run: &RunId) {
        self.forged.insert(run.clone());
    }

    /// A gate or a verifier has really judged a tree: what is in it, on what base.
    pub fn judged(&mut self, run: &RunId, live: &Live, base: &Tree, tree: &Tree) {
        let Some(id) = live.order.tree.clone() else { return };
        match (run.role, live.play.leaves, &live.order.family) {
            (Role::Gate, Leaves::Gates(GatePlay::Passes), _) => {
                self.passed.insert(id);
            }
            (Role::Verifier, Leaves::Verdict(Judgement::Pass), Some(family)) => {
                let voter = (run.stage.clone(), run.seat);
                self.votes.entry(patch(base, tree)).or_default().insert(voter, family.clone());
            }
            _ => {}
        }
    }

    /// A tick's commit begins.
    pub fn commits(&mut self, before: &Loaded, after: &Loaded, now: DateTime<Utc>) {
        self.under_way = Some(after.clone());
        self.order = Order::default();
        let was: BTreeSet<&RunId> = before.state.flights().map(|(_, flight)| &flight.run).collect();
        for (_, flight) in after.state.flights().filter(|(_, flight)| !was.contains(&flight.run)) {
            // A cap's halt may be lifted in the very step that dispatches.
            let is_halted = self.is_halted || (before.budget.halted && after.budget.halted);
            let run = &flight.run;
            self.hold(4, !is_halted, || format!("{run} was dispatched while halted"));
            let paused = flight.family.as_ref().filter(|family| {
                let holds = |until: DateTime<Utc>| until > now;
                before
                    .budget
                    .pauses
                    .iter()
                    .any(|pause| pause.family == **family && pause.model.is_none() && holds(pause.until))
            });
            self.hold(4, paused.is_none(), || format!("{run} was dispatched while its family is paused"));
        }
        for stage in &before.state.stages {
            let (Life::Over(over), Some(later)) = (&stage.life, after.state.stage(&stage.id)) else { continue };
            let merged = |now: &EndStatus| over.kept.is_some() && *now == EndStatus::Completed;
            let stays = match &later.life {
                Life::Over(now) => now.status == over.status || merged(&now.status),
                _ => false,
            };
            self.hold(9, stays, || format!("{} moved by itself from {}", stage.id, stage.life.word()));
        }
    }

    /// An operator's commit begins.
    pub fn orders(&mut self, after: &Loaded, order: Order) {
        self.under_way = Some(after.clone());
        self.order = order;
    }

    /// The commit that was under way has ended well.
    pub fn committed(&mut self, after: &Loaded) {
        self.stands = Some(after.clone());
        self.under_way = None;
        self.charges(after);
        let Order { halts, merges } = std::mem::take(&mut self.order);
        self.is_halted = halts.unwrap_or(self.is_halted);
        self.merges.extend(merges);
        let (tokens, cost) = (after.budget.tokens_allowed(), after.budget.cost_allowed());
        let higher = match self.caps {
            None => (tokens, cost),
            Some((most, dearest)) => {
                (most.zip(tokens).map(|(a, b)| a.max(b)), dearest.zip(cost).map(|(a, b)| a.max(b)))
            }
        };
        self.caps = Some(higher);
    }

    /// The next tick will go by this, without reading it again.
    pub fn goes_by(&mut self, known: &Loaded) {
        let holds = self.stands.as_ref() == Some(known);
        self.hold(10, holds, || "what the tick goes by was never committed".to_owned());
    }

    /// Something was read from the disk after something had gone wrong, or as a sample.
    pub fn reads(&mut self, found: &Loaded) {
        let stands = self.stands.as_ref() == Some(found);
        let under_way = self.under_way.as_ref() == Some(found);
        self.hold(10, stands || under_way, || {
            "the disk holds neither the last commit nor the one under way".to_owned()
        });
        if under_way {
            self.committed(found);
        }
        self.under_way = None;
    }

    /// The ledger was read.
    pub fn reads_ledger(&mut self, fault: Option<String>) {
        self.hold(10, fault.is_none(), || fault.unwrap_or_default());
    }

    /// What must hold after every fire.
    pub fn after_fire(
        &mut self,
        table: &Table,
        git: &SimGit,
        cards: &BTreeMap<StageId, Card>,
        retries: u32,
        now: DateTime<Utc>,
    ) {
        let Some(stands) = self.stands.take() else { return };
        self.live(table, &stands);
        self.landings(git, &stands, cards);
        self.money(table, &stands, now);
        for stage in &stands.state.stages {
            let rungs = cards.get(&stage.id).map_or(0, |card| card.escalation.len());
            let most = (u32::try_from(rungs).unwrap_or(u32::MAX) + 1) * (retries + 1);
            self.hold(7, stage.failures <= most, || format!("{} failed {} times of {most}", stage.id, stage.failures));
        }
        self.stands = Some(stands);
    }

    fn live(&mut self, table: &Table, stands: &Loaded) {
        let mut places = BTreeSet::new();
        let flights = stands.state.flights().chain(self.under_way.iter().flat_map(|other| other.state.flights()));
        let known: BTreeSet<RunId> = flights.map(|(_, flight)| flight.run.clone()).collect();
        for run in table.live.keys() {
            let place = (run.stage.clone(), run.role, run.seat);
            let one = places.insert(place);
            self.hold(0, one, || format!("two live runs for the role and seat of {run}"));
            self.hold(1, known.contains(run), || format!("{run} runs, and the state does not know it"));
        }
    }

    fn landings(&mut self, git: &SimGit, stands: &Loaded, cards: &BTreeMap<StageId, Card>) {
        let branches: BTreeSet<&String> = stands.state.stages.iter().map(|stage| &stage.base_branch).collect();
        for branch in branches {
            let Some(tip) = git.tip(branch) else { continue };
            let known = self.known.insert(branch.clone(), tip.clone());
            if known.as_ref() == Some(&tip) {
                continue;
            }
            if let Some(known) = &known {
                self.hold(3, git.contains(&tip, known), || format!("{known} was lost from {branch}"));
            }
            let new: Vec<CommitId> =
                git.history(&tip).take_while(|commit| Some(*commit) != known.as_ref()).cloned().collect();
            for commit in new.iter().rev() {
                self.landing(git, cards, commit);
            }
        }
    }

    fn landing(&mut self, git: &SimGit, cards: &BTreeMap<StageId, Card>, commit: &CommitId) {
        let Some(found) = git.find(commit) else { return };
        let (Some(id), Some(run)) = (&found.stage, &found.run) else { return };
        let twice = self.landed.insert(id.clone(), commit.clone());
        self.hold(3, twice.is_none(), || format!("{id} landed twice"));
        let passed = self.passed.contains(&found.tree);
        self.hold(2, passed, || format!("{commit} landed for {id}, and no gate passed its tree"));
        let base = found.parent.as_ref().map(|parent| git.files(parent)).unwrap_or_default();
        let patch = patch(&base, &git.files(commit));
        if !self.merges.contains(id) {
            let votes = self.votes.get(&patch).cloned().unwrap_or_default();
            let worker = self.workers.get(run);
            let others = votes.iter().filter(|((stage, _), family)| stage == id && Some(*family) != worker).count();
            let quorum = cards.get(id).map_or(1, |card| card.verifiers.quorum());
            let enough = u32::try_from(others).unwrap_or(u32::MAX) >= quorum;
            self.hold(2, enough, || format!("{id} landed with {others} votes of {quorum}"));
        }
        let edited = patch.iter().find(|(path, _)| git.edits.contains_key(path));
        self.hold(11, edited.is_none(), || format!("{id} landed over the operator's edits"));
    }

    /// What runs were charged is what they used. Asked at every commit: a stage may leave the state with the next one.
    fn charges(&mut self, stands: &Loaded) {
        for stage in &stands.state.stages {
            let mut once = BTreeSet::new();
            for past in &stage.history {
                self.hold(6, once.insert(&past.run), || format!("{} is charged twice", past.run));
                let known = self.charged.insert(past.run.clone(), past.tokens);
                if known.is_some() {
                    continue;
                }
                let forged = self.forged.contains(&past.run) && past.outcome == RunOutcome::Done;
                self.hold(2, !forged, || format!("{} is done by what it forged", past.run));
                let Spent { used, uses_model, .. } = self.used.get(&past.run).copied().unwrap_or_default();
                let fair = if past.usage_unknown {
                    past.tokens.0 > 0 || past.cost_usd.0 > 0
                } else {
                    past.tokens == used.tokens && past.cost_usd == used.cost_usd
                };
                self.hold(6, fair || !uses_model, || {
                    format!("{} used {} tokens and is charged {}", past.run, used.tokens, past.tokens)
                });
            }
        }
    }

    fn money(&mut self, table: &Table, stands: &Loaded, now: DateTime<Utc>) {
        let mut lifetime = Tokens(0);
        for charged in self.charged.values() {
            lifetime += *charged;
        }
        let budget = &stands.budget;
        self.hold(6, budget.lifetime_tokens_spent == lifetime, || {
            format!("{} tokens are booked, and {lifetime} were charged", budget.lifetime_tokens_spent)
        });
        let reserved: Tokens = stands.state.flights().map(|(_, flight)| flight.reserved.tokens).sum();
        self.hold(6, budget.tokens_reserved == reserved, || {
            format!("{} tokens are set aside, and {reserved} fly", budget.tokens_reserved)
        });
        let from = budget.window.start(None, now);
        // Where somebody has set the wall's clock, nobody can say where a window begins.
        if from.is_none() || !self.clock_was_set {
            self.caps(table, from);
        }
    }

    /// What was used since the window began is within the highest caps that there were.
    fn caps(&mut self, table: &Table, from: Option<DateTime<Utc>>) {
        let mut whole = Used::default();
        for spent in self.used.values().filter(|spent| from.is_none_or(|from| spent.at >= from)) {
            whole.tokens += spent.used.tokens;
            whole.cost_usd += spent.used.cost_usd;
        }
        for live in table.live.values() {
            // What it has used at least.
            let turn = live.one_turn();
            self.turn.tokens = self.turn.tokens.max(turn.tokens);
            self.turn.cost_usd = self.turn.cost_usd.max(turn.cost_usd);
        }
        let Some((tokens, cost)) = self.caps else { return };
        if let Some(cap) = tokens {
            let most = cap + self.turn.tokens + self.unwatched.tokens;
            self.hold(5, whole.tokens <= most, || format!("{} tokens are used, the cap is {cap}", whole.tokens));
        }
        if let Some(cap) = cost {
            let most = cap + self.turn.cost_usd + self.unwatched.cost_usd;
            self.hold(5, whole.cost_usd <= most, || format!("{} is used, the cap is {cap}", whole.cost_usd));
        }
    }

    /// Whether something is as it should be once the night is at rest.
    pub fn at_rest(&mut self, holds: bool, words: impl FnOnce() -> String) {
        self.hold(8, holds, words);
    }

    /// The state that stands.
    pub fn stands(&self) -> Option<&Loaded> {
        self.stands.as_ref()
    }
}

fn patch(base: &Tree, tree: &Tree) -> Patch {
    SimGit::changed(base, tree).into_iter().map(|path| (path.clone(), tree.get(&path).copied())).collect()
}
