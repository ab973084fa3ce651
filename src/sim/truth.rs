//! What is true in a simulated night, whatever the machine believes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::cast::{GatePlay, Leaves};
use super::process::{Live, Used};
use crate::core::ids::{FamilyName, ObjectId, Role, RunId, TreeId};
use crate::core::state::{Reservation, Stage};
use crate::core::verdict::Judgement;
use crate::files::store::Loaded;

/// What really happened.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// How often the agent of each run was started.
    pub starts: BTreeMap<RunId, u32>,
    /// What each run really used, once its agent is gone, and what was set aside for it.
    pub used: BTreeMap<RunId, (Used, Reservation, bool)>,
    /// Trees that every gate really passed.
    pub passed: BTreeSet<TreeId>,
    /// The changes that somebody really voted for, each with the voters' names and families.
    pub votes: BTreeMap<TreeId, BTreeMap<RunId, FamilyName>>,
    /// Commits that workers put onto a base branch by themselves.
    pub strays: BTreeMap<ObjectId, RunId>,
    /// The number of the newest content.
    pub content: u64,
    /// State and budget that stand, and those that are being committed.
    pub stands: Option<Loaded>,
    /// See above.
    pub under_way: Option<Loaded>,
    /// What is wrong.
    pub broken: Vec<String>,
}

impl Truth {
    /// The agent of a run begins.
    pub fn begins(&mut self, run: &RunId) {
        let starts = self.starts.entry(run.clone()).or_default();
        *starts += 1;
        if *starts > 1 {
            self.broken.push(format!("1: the agent of {run} was started {starts} times"));
        }
    }

    /// The last process of a run is gone.
    pub fn ended(&mut self, run: &RunId, used: Used, live: &Live) {
        self.used.insert(run.clone(), (used, live.order.caps, live.play.tells_usage));
    }

    /// A gate or a verifier has really judged a tree.
    pub fn judged(&mut self, _stage: &Stage, run: &RunId, live: &Live, is_clean: bool) {
        let Some(tree) = live.order.tree.clone().filter(|_| is_clean) else { return };
        match (run.role, live.play.leaves, &live.order.family) {
            (Role::Gate, Leaves::Gates(GatePlay::Passes), _) => {
                self.passed.insert(tree);
            }
            (Role::Verifier, Leaves::Verdict(Judgement::Pass), Some(family)) => {
                self.votes.entry(tree).or_default().insert(run.clone(), family.clone());
            }
            _ => {}
        }
    }

    /// A commit begins.
    pub fn commits(&mut self, _before: &Loaded, after: &Loaded, _now: DateTime<Utc>) {
        self.under_way = Some(after.clone());
    }

    /// It has ended well.
    pub fn committed(&mut self, after: &Loaded) {
        self.stands = Some(after.clone());
        self.under_way = None;
    }
}
