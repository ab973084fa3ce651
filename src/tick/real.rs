//! The real world behind a tick: the repository, its files, its processes and its git.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use crate::core::ids::{RunId, StageId};
use crate::core::observation::{LandingSighting, Observation};
use crate::core::policy::Policy;
use crate::core::run::StopReason;
use crate::core::sleep::Asleep;
use crate::core::state::State;
use crate::core::step::{Effect, Note};
use crate::files::journal::Source;
use crate::files::store::{Decided, Loaded, Store};
use crate::files::{atomic, lock};
use crate::git::Repo;
use crate::runs::{self, RunError};

use super::clock;
use super::engine::{Change, Performed, Round, World};
use super::error::TickError;
use super::fleet::{self, Part};
use super::heartbeat::{self, Heartbeat};
use super::observe::{Observer, Purpose};
use super::perform::perform;
use super::site::Site;
use super::weather::Sky;

/// A repository while its lock is held.
pub(super) struct Real<'a> {
    pub site: &'a Site,
    pub store: &'a Store,
    pub repo: &'a Repo,
    /// What this fire has seen of providers.
    pub sky: Sky,
    /// What the tick before saw.
    pub before: Option<&'a Heartbeat>,
    /// How long the machine has slept.
    pub asleep: Asleep,
    /// This repository's part in the fleet's day, from a look at the fleet to the commit that follows.
    pub part: Option<Part>,
}

impl World for Real<'_> {
    type Error = TickError;

    fn now(&self) -> DateTime<Utc> {
        clock::now()
    }

    fn policy(&self) -> &Policy {
        &self.site.policy
    }

    fn observe(
        &mut self,
        loaded: &Loaded,
        tried: &BTreeMap<StageId, LandingSighting>,
        now: DateTime<Utc>,
    ) -> Result<Observation, TickError> {
        self.part = fleet::join(self.site, loaded, now);
        let Self { site, repo, sky, .. } = self;
        let observer = Observer { site, repo, objects: repo, purpose: Purpose::Act, landings: tried, sky, now };
        let mut seen = observer.observe(loaded)?;
        seen.slept = heartbeat::slept(self.before, &self.asleep, now);
        seen.fleet = self.part.as_ref().map(|part| part.day.clone());
        Ok(seen)
    }

    fn commit(&mut self, change: &Change<'_>) -> Result<(), TickError> {
        make_room(self.site, &change.before.state, &change.after.state)?;
        if let Some(part) = &self.part {
            part.before_commit(&change.after.budget)?;
        }
        let Change { before, seen, idle, after, archived, notes, now } = *change;
        let source = Source::Step { seen, policy: &self.site.policy, idle };
        Ok(self.store.commit_from(source, &Decided { before: Some(before), after, archived, notes, now })?)
    }

    fn committed(&mut self, loaded: &Loaded, round: &Round<'_>) {
        if let Some(part) = self.part.take() {
            part.after_commit(&loaded.budget);
        }
        for note in round.notes {
            log(self.site, note);
        }
        if round.is_busy {
            sweep(self.site);
        }
    }

    fn perform(&mut self, state: &State, effects: &[Effect], now: DateTime<Utc>) -> Performed {
        perform(self.site, self.repo, state, effects, now)
    }
}

/// Sets aside what stands where a run that is about to be dispatched will have its directory.
///
/// A run's record counts because nobody else writes in its directory. What is there before the run has been decided
/// on is not its own: an agent planted it, or it is left over from a state that is gone. Once the dispatch is
/// committed, the directory is the run's.
fn make_room(site: &Site, before: &State, after: &State) -> Result<(), TickError> {
    let known: BTreeSet<&RunId> = before.flights().map(|(_, flight)| &flight.run).collect();
    for run in after.flights().map(|(_, flight)| &flight.run).filter(|run| !known.contains(run)) {
        let dir = site.layout.run(run);
        if dir.is_dir() && lock::is_held(&dir.join("run.lock")).map_err(RunError::from)? {
            // A process that no state tells of would work beside the new one; it goes first.
            runs::stop(&dir, StopReason::Obsolete)?;
            return Err(RunError::StillRunning { path: dir }.into());
        }
        if let Some(aside) = atomic::set_aside(&dir)? {
            warn!(%run, "its directory was there before it; what was in it is now in {}", aside.display());
        }
    }
    Ok(())
}

/// Clears away what writers that were killed in the middle left beside the files that people and tools read.
pub(super) fn sweep(site: &Site) {
    let state = site.layout.dir();
    // Runs that were started by hand stand in no state, so nobody else notices that one is lost.
    if let Err(error) = runs::retire_lost(state) {
        warn!(repo = %site.root.display(), "{error}");
    }
    let folders = [
        "active-agents",
        "recent-agents",
        "handoffs",
        "verifiers",
        "questions",
        "answers",
        "archive",
        "archive/rounds",
        "cards",
        "logs",
        "notices",
        "quota",
    ];
    let home = ["", "subscribers"].map(|folder| site.home.path().join(folder));
    for folder in folders.iter().map(|folder| state.join(folder)).chain(home) {
        if folder.is_dir()
            && let Err(error) = atomic::sweep_temps(&folder)
        {
            warn!(repo = %site.root.display(), "{error}");
        }
    }
}

fn log(site: &Site, note: &Note) {
    let subject = note.run.as_ref().map(ToString::to_string).or_else(|| note.stage.as_ref().map(ToString::to_string));
    info!(repo = %site.root.display(), subject = subject.as_deref().unwrap_or("-"), "{}: {}", note.event, note.detail);
}
