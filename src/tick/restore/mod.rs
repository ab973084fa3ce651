//! `doctor --restore`: bringing a damaged state back from the newest copy on `refs/autometta/state` that is good.
//!
//! A tick does this by itself where the copy is provably current. Here a person says yes, and what happened after the
//! copy is taken from the ledger: ends of stages, the ids of runs, and the spend, which never goes down. Everything
//! goes through the store's own transaction, under the tick's lock; what was damaged is kept beside it.

mod orphans;
mod replay;
mod source;

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::core::budget::{Budget, HaltReason};
use crate::core::ids::{RunId, StageId};
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::state::State;
use crate::core::step::Note;
use crate::files::atomic;
use crate::files::ledger::{self, Head, Line, Tear};
use crate::files::store::{self, Loaded, Store, StoreError};

use super::error::TickError;
use super::site::Site;
use super::snapshot::{self, Owed};

use replay::Replayed;
use source::Copy;

/// How long a running tick is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is shown before anything is changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// What is damaged, a sentence each.
    pub damage: Vec<String>,
    /// The copy that is used; none where no file has to come from one.
    pub copy: Option<CopyUsed>,
    /// Newer copies that are damaged as well, and how.
    pub passed_over: Vec<String>,
    /// What the ledger tells of the time after the copy.
    pub since: Vec<Line>,
    /// Stages that will differ from what the ledger or the copy says of them.
    pub stages: Vec<StageChange>,
    /// Runs that the copy does not know: they are stopped, their work is kept, and their ids are never used again.
    pub orphans: Vec<RunId>,
    /// Cards that were queued after the copy and have to be queued again.
    pub queue_again: Vec<String>,
    /// Bytes behind the ledger's last whole line, which are moved aside.
    pub torn_bytes: usize,
    /// Lines of the ledger that come back from the copy.
    pub ledger_lines_back: usize,
    /// The spend before and after.
    pub spend: Spend,
    /// Whether the halt `state-corrupt` is lifted.
    pub lifts_halt: bool,
}

/// The copy that is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyUsed {
    /// The commit that holds it.
    pub commit: String,
    /// To which line of the ledger it belongs.
    pub ledger_seq: u64,
    /// Which files come from it.
    pub files: Vec<String>,
    /// How many stages it has.
    pub stages: usize,
}

/// A stage that is not as its copy has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageChange {
    /// The stage.
    pub stage: StageId,
    /// What the copy says.
    pub copy: String,
    /// What the ledger said last.
    pub ledger: String,
    /// What it will be.
    pub restored: String,
}

/// Spend in the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    /// Tokens, as the copy has them.
    pub copy_tokens: Tokens,
    /// Tokens, as they will stand.
    pub tokens: Tokens,
    /// Dollars, as the copy has them.
    pub copy_cost_usd: MicroUsd,
    /// Dollars, as they will stand.
    pub cost_usd: MicroUsd,
}

/// What `doctor --restore --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restoration {
    /// What was proposed; none where nothing is damaged.
    pub proposal: Option<Proposal>,
    /// Whether it was done.
    pub restored: bool,
    /// What was damaged is kept under these names in the state directory.
    pub kept: Vec<String>,
}

/// What a person says to a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Do it.
    Restore,
    /// Leave everything as it is.
    Leave,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing is damaged.
    Sound,
    /// It was left as it is.
    Left,
    /// It was restored; what was damaged is kept under these names in the state directory.
    Restored(Vec<String>),
}

/// What is wrong on the disk, and what is not.
struct Damage {
    state: Result<State, StoreError>,
    budget: Result<Budget, StoreError>,
    txn: Option<StoreError>,
    tear: Option<Tear>,
}

/// Brings back what is damaged, once `decide` has seen what that means.
pub fn restore(
    site: &Site,
    now: DateTime<Utc>,
    decide: impl FnOnce(&Proposal) -> Decision,
) -> Result<Outcome, TickError> {
    let held = || TickError::Held { path: site.layout.tick_lock() };
    let store = Store::lock_within(&site.layout, PATIENCE)?.ok_or_else(held)?;
    let damage = Damage::find(site, &store)?;
    let halted = matches!(&damage.budget, Ok(budget) if has_corrupt_halt(budget));
    if damage.is_none() && !halted {
        return Ok(Outcome::Sound);
    }
    let plan = Plan::make(site, &store, damage, now)?;
    if decide(&plan.proposal) == Decision::Leave {
        return Ok(Outcome::Left);
    }
    plan.carry_out(site, &store, now).map(Outcome::Restored)
}

fn has_corrupt_halt(budget: &Budget) -> bool {
    budget.halt_reasons.iter().any(|halt| halt.reason == HaltReason::StateCorrupt)
}

impl Damage {
    /// Looks at each file by itself. What is no damage, such as a file of a newer version, ends the command.
    fn find(site: &Site, store: &Store) -> Result<Self, TickError> {
        let only_damage = |error: StoreError| if error.is_damage() { Ok(error) } else { Err(TickError::from(error)) };
        // What a tick decided before it died is what is known best, as it is for the next tick.
        let txn = store.redo().err().map(only_damage).transpose()?;
        let state = match store::read_state(&site.layout) {
            Ok(state) => {
                let loaded = Loaded { state, budget: Budget::default() };
                super::fire::belongs_here(site, &loaded)?;
                Ok(loaded.state)
            }
            Err(error) => Err(only_damage(error)?),
        };
        let budget = match store::read_budget(&site.layout) {
            Ok(budget) => Ok(budget),
            Err(error) => Err(only_damage(error)?),
        };
        let tear = ledger::tear(&site.layout.ledger()).map_err(StoreError::from)?;
        Ok(Self { state, budget, txn, tear })
    }

    fn is_none(&self) -> bool {
        self.state.is_ok() && self.budget.is_ok() && self.txn.is_none() && self.tear.is_none()
    }

    fn words(&self) -> Vec<String> {
        let errors = [self.state.as_ref().err(), self.budget.as_ref().err(), self.txn.as_ref()];
        let mut words: Vec<String> = errors.into_iter().flatten().map(ToString::to_string).collect();
        if let Some(tear) = &self.tear {
            words.push(format!(
                "ledger.jsonl is torn: {} bytes after line {} are no line",
                tear.rest.len(),
                tear.head.seq
            ));
        }
        words
    }
}

/// A proposal with everything that carrying it out needs.
struct Plan {
    proposal: Proposal,
    after: Loaded,
    tear: Tear,
    lines_back: Vec<u8>,
    spoilt_txn: bool,
    spoilt_files: bool,
}

impl Plan {
    fn make(site: &Site, store: &Store, damage: Damage, now: DateTime<Utc>) -> Result<Self, TickError> {
        let mut proposal = Proposal { damage: damage.words(), ..Proposal::default() };
        let spoilt_files = damage.state.is_err() || damage.budget.is_err();
        let repo = site.repo(store.lock().file().try_clone().ok())?;
        let (copy, passed_over) = match source::newest_good(site, &repo) {
            Ok(found) => found,
            // A copy may hold what the files have lost, so none of it is given up unseen.
            Err(error) if spoilt_files || damage.tear.is_some() => return Err(error),
            Err(_) => (None, Vec::new()),
        };
        if spoilt_files {
            proposal.passed_over = passed_over;
        }
        let tear = whole_end(site, damage.tear)?;
        let lines_back = copy.as_ref().map(|copy| ledger::following(&copy.ledger, &tear.head)).unwrap_or_default();
        proposal.torn_bytes = tear.rest.len();
        proposal.ledger_lines_back = lines_back.split_inclusive(|byte| *byte == b'\n').count();
        let after = if spoilt_files {
            let copy = copy.ok_or_else(|| source::none_good(&proposal.passed_over))?;
            since_copy(site, copy, damage.state.ok(), damage.budget.ok(), &mut proposal, now)?
        } else {
            // Only the ledger, the transaction or the halt is to be mended; neither error can be one here.
            let (state, budget) = (damage.state?, damage.budget?);
            proposal.spend = Spend {
                copy_tokens: budget.tokens_spent,
                tokens: budget.tokens_spent,
                copy_cost_usd: budget.cost_spent_usd,
                cost_usd: budget.cost_spent_usd,
            };
            Loaded { state, budget }
        };
        let mut after = after;
        proposal.lifts_halt = has_corrupt_halt(&after.budget);
        lift_corrupt_halt(&mut after.budget);
        let spoilt_txn = damage.txn.is_some();
        Ok(Self { proposal, after, tear, lines_back, spoilt_txn, spoilt_files })
    }

    /// Does what was proposed. Until the commit, each step can be done again by a second `--restore`.
    fn carry_out(self, site: &Site, store: &Store, now: DateTime<Utc>) -> Result<Vec<String>, TickError> {
        let mut kept = Vec::new();
        if self.spoilt_files {
            store.keep_damaged(now)?;
            kept.push("state.yaml.damaged-… and budget.json.damaged-…".to_owned());
        }
        kept.extend(store.mend_ledger(&self.tear, &self.lines_back, now)?.map(|path| name_of(&path)));
        // With its ledger whole again, what the dead tick decided may fit after all.
        if self.spoilt_txn && store.redo().is_err() {
            kept.extend(atomic::set_aside(&site.layout.txn())?.map(|path| name_of(&path)));
        }
        let repo = site.repo(store.lock().file().try_clone().ok())?;
        for run in &self.proposal.orphans {
            orphans::end(site, &repo, run, now)?;
        }
        store.commit(None, &self.after, &[self.note()], now)?;
        // The next damage finds this state, and not the one before the damage.
        Owed::new(site, store, self.after)
            .and_then(|owed| owed.write(site, now))
            .unwrap_or_else(|error| warn!("no snapshot: {error}"));
        Ok(kept)
    }

    fn note(&self) -> Note {
        let from = match &self.proposal.copy {
            Some(copy) => format!(
                "{} from {} ({}), line {} of the ledger",
                copy.files.join(" and "),
                snapshot::REF,
                &copy.commit[..12.min(copy.commit.len())],
                copy.ledger_seq
            ),
            None => "the ledger, the transaction or the halt; state and budget were whole".to_owned(),
        };
        let detail = format!("an operator restored {from}; {}", self.proposal.damage.join("; "));
        Note { stage: None, run: None, event: "restored".to_owned(), from: None, to: None, detail }
    }
}

fn name_of(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where the ledger's whole lines end, torn or not.
fn whole_end(site: &Site, tear: Option<Tear>) -> Result<Tear, TickError> {
    match tear {
        Some(tear) => Ok(tear),
        None => Ok(Tear { head: store::ledger_head(&site.layout)?, rest: Vec::new() }),
    }
}

/// The copy's files in place of the damaged ones, with what the ledger tells of the time after it.
fn since_copy(
    site: &Site,
    copy: Copy,
    state: Option<State>,
    budget: Option<Budget>,
    proposal: &mut Proposal,
    now: DateTime<Utc>,
) -> Result<Loaded, TickError> {
    let Head { seq, .. } = copy.sealed;
    let since = ledger::readable_after(&site.layout.ledger(), seq).map_err(StoreError::from)?;
    let mut files = Vec::new();
    if state.is_none() {
        files.push("state.yaml".to_owned());
    }
    if budget.is_none() {
        files.push("budget.json".to_owned());
    }
    proposal.copy =
        Some(CopyUsed { commit: copy.commit.to_string(), ledger_seq: seq, files, stages: copy.state.stages.len() });
    let state = match state {
        Some(state) => state,
        None => {
            let there = orphans::run_dirs(site);
            let archive = |id: &StageId| store::archived(&site.layout, id).ok().flatten();
            let Replayed { state, orphans, changes, queue_again } =
                replay::replay(copy.state, &since, &there, archive, now);
            proposal.orphans = orphans;
            proposal.stages = changes;
            proposal.queue_again = queue_again;
            state
        }
    };
    let copied = &copy.budget;
    let mut after = budget.unwrap_or_else(|| copied.clone());
    replay::raise_spend(&mut after, since.last(), now);
    replay::reserve_for(&mut after, &state);
    proposal.spend = Spend {
        copy_tokens: copied.tokens_spent,
        tokens: after.tokens_spent,
        copy_cost_usd: copied.cost_spent_usd,
        cost_usd: after.cost_spent_usd,
    };
    proposal.since = since;
    Ok(Loaded { state, budget: after })
}

/// Lifts the halt that the damage latched, and no other.
fn lift_corrupt_halt(budget: &mut Budget) {
    budget.halt_reasons.retain(|halt| halt.reason != HaltReason::StateCorrupt);
    budget.halt_reason = budget.halt_reasons.first().map(|halt| halt.reason);
    if budget.halt_reasons.is_empty() {
        budget.halted = false;
        budget.halted_at = None;
    }
}
