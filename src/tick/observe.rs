//! Turning the world into data: what runs in flight have come to, what pending stages ask for, where the bases are.
//!
//! Looking changes nothing that anybody relies on: what it stores are objects named by their content (trees, commits,
//! the pinned bytes of cards). It looks at no more than the state makes necessary; an idle repository costs a few
//! file reads and no process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::meter::meter_for;
use super::perform::LAUNCH_LOG;
use crate::core::budget::Window;
use crate::core::dependencies::Web;
use crate::core::exit::{ExitRecord, Outbox};
use crate::core::fallback;
use crate::core::forecast;
use crate::core::handoff::Handoff;
use crate::core::honesty::Findings;
use crate::core::ids::{CommitId, FamilyName, Identity, Role, RunId, StageId};
use crate::core::observation::{
    Brief, Captured, Ended, LandingSighting, LaunchFaults, LostRun, Observation, ParkedSighting, Placed, Product,
    Pulse, Returned, Sighting, Watched, WorkSighting,
};
use crate::core::quantity::Seconds;
use crate::core::state::{Awaits, Candidate, Chore, Life, Stage, Work};
use crate::core::step::{Hold, common_claim, hold_in, order};
use crate::files::document;
use crate::files::store::Loaded;
use crate::git::{CommitText, GitError, Objects, Repo, Signature};
use crate::runs;

use super::brief::{self, Pin};
use super::day;
use super::error::TickError;
use super::evidence;
use super::landing;
use super::returned;
use super::site::{Site, run_branch};
use super::weather::{self, Sky};
use super::withheld;

/// How long after a run's end its work may be unreadable for reasons that may pass, before the stage ends with that.
const CAPTURE_PATIENCE: TimeDelta = TimeDelta::hours(1);

/// Who looks.
pub struct Observer<'a> {
    /// The repository.
    pub site: &'a Site,
    /// Its git.
    pub repo: &'a Repo,
    /// Where new objects go: the repository's own, or a place that is thrown away.
    pub objects: &'a Objects,
    /// Whether this look is followed by a commit.
    pub purpose: Purpose,
    /// What came of the landings that this fire tried.
    pub landings: &'a BTreeMap<StageId, LandingSighting>,
    /// What this fire has seen of providers and quota.
    pub sky: &'a Sky,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What a look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To act on it.
    Act,
    /// To say what would be done.
    Plan,
}

impl Observer<'_> {
    /// Looks.
    pub fn observe(&self, loaded: &Loaded) -> Result<Observation, TickError> {
        let state = &loaded.state;
        let mut seen = Observation::default();
        if loaded.budget.window == Window::LocalDay {
            seen.local_midnight = day::local_midnight(self.now);
        }
        for stage in &state.stages {
            self.chores(stage, &mut seen)?;
            self.stage(&state.stages, stage, &mut seen)?;
        }
        for notice in &state.notices {
            if self.site.layout.notice_taken(&notice.key).exists() {
                seen.told.insert(notice.key.clone());
            }
        }
        self.look_out(loaded, &mut seen);
        self.pending(loaded, &mut seen)?;
        for (run, _) in seen.runs.iter().filter(|(_, sighting)| matches!(sighting, Sighting::NotStarted)) {
            let log = document::read(&self.site.layout.run(run).join(LAUNCH_LOG))?.unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            if let Some(last) = log.lines().next_back() {
                let faults = LaunchFaults { count: log.lines().count(), last: last.to_owned() };
                seen.launch_faults.insert(run.clone(), faults);
            }
        }
        let lands = |stage: &&Stage| matches!(&stage.life, Life::Landing(_) | Life::Verifying(_) | Life::Gating(_));
        if state.stages.iter().filter(lands).any(|stage| seen.may_end(stage)) {
            seen.committer = self.committer();
        }
        Ok(seen)
    }

    /// The operator's git identity; none is a reason that the machine shows.
    fn committer(&self) -> Option<Identity> {
        let signature = self.repo.committer().ok()?;
        format!("{} <{}>", signature.name(), signature.email()).parse().ok()
    }

    /// Reads the cards of pending stages whose turn has come or may come in this very step: in their order, and only
    /// until as many were found as may start.
    fn pending(&self, loaded: &Loaded, seen: &mut Observation) -> Result<(), TickError> {
        let stages = &loaded.state.stages;
        let something_may_end = stages.iter().any(|stage| seen.may_end(stage));
        let mut room = self.site.policy.max_parallel;
        let mut coming: BTreeMap<FamilyName, usize> = BTreeMap::new();
        let mut starting: Vec<&Stage> = Vec::new();
        let web = Web::of(stages);
        for stage in order(stages).into_iter().map(|index| &stages[index]) {
            let turn = match hold_in(&web, stages, stage, &loaded.budget, &self.site.policy, self.now) {
                None => something_may_end || !self.is_crowded(stages, stage),
                Some(Hold::Parallel(_) | Hold::Dependency(..) | Hold::Claim(..) | Hold::Reserved(..)) => {
                    something_may_end
                }
                Some(Hold::Elsewhere(..)) => {
                    self.tip(&stage.base_branch, seen)?;
                    self.foundation(stages, stage, seen);
                    seen.foundations.get(&stage.id).is_some_and(|found| found.missing.is_empty())
                }
                Some(
                    Hold::Halted
                    | Hold::Held(_)
                    | Hold::Circle(_)
                    | Hold::NotBefore(_)
                    | Hold::Scheduled(_)
                    | Hold::Paused(..)
                    | Hold::Unaffordable(_)
                    | Hold::Deferred(..)
                    | Hold::Family(..)
                    | Hold::Curfew(_),
                ) => false,
            };
            if !turn {
                continue;
            }
            self.brief(stage, seen);
            self.tip(&stage.base_branch, seen)?;
            self.foundation(stages, stage, seen);
            self.contract(stage, seen);
            let brief = seen.briefs.get(&stage.id).and_then(|brief| brief.clone().ok());
            let own = brief.and_then(|brief| fallback::own(*brief, stage).ok());
            let Some(own) = own else { continue };
            let family = own.worker.family.clone();
            // One that claims a path of another that comes before it takes nobody's place.
            let apart = starting.iter().all(|other| common_claim(stage, other).is_none());
            if apart && self.may_start(loaded, &own, seen) && self.has_room(stages, &family, &coming) {
                *coming.entry(family).or_default() += 1;
                starting.push(stage);
                room -= 1;
            }
            if room == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Looks at the providers of everybody who may be called for a stage in progress, all at once.
    fn look_out(&self, loaded: &Loaded, seen: &mut Observation) {
        if self.purpose == Purpose::Plan || loaded.budget.halted {
            return;
        }
        let mut families = BTreeSet::new();
        for stage in loaded.state.stages.iter().filter(|stage| stage.life.is_in_progress()) {
            let brief = seen.briefs.get(&stage.id).and_then(|brief| brief.clone().ok());
            if let Some(brief) = brief.and_then(|brief| brief.staffed_for(stage).ok()) {
                families.extend(weather::wanted(stage, &brief, seen));
            }
        }
        self.sky.look(self.site, &loaded.budget, &families, self.now, seen);
    }

    /// Whether the worker of a pending stage may start by what the budget and the weather say: the card's own, or whoever
    /// may take the place of one that has to wait.
    fn may_start(&self, loaded: &Loaded, own: &Brief, seen: &mut Observation) -> bool {
        if own.same_family().is_some() || forecast::is_short(&loaded.budget, own, seen.local_midnight, self.now) {
            return false;
        }
        let free = |placed: &Placed| loaded.budget.refused(&placed.family, placed.model.as_deref(), self.now).is_none();
        if free(&own.worker) && self.is_clear(loaded, &own.worker.family, seen) {
            return true;
        }
        let offline = own.worker.family.clone();
        let relieved = fallback::relieved(own, |placed| placed.family != offline && free(placed));
        relieved.is_some_and(|relieved| self.is_clear(loaded, &relieved.worker.family, seen))
    }

    /// Whether a family that is to work can be called now.
    fn is_clear(&self, loaded: &Loaded, family: &FamilyName, seen: &mut Observation) -> bool {
        if self.purpose == Purpose::Act {
            self.sky.look(self.site, &loaded.budget, &BTreeSet::from([family.clone()]), self.now, seen);
        }
        weather::is_clear(self.site, &loaded.budget, family, self.now, seen)
    }

    fn stage(&self, stages: &[Stage], stage: &Stage, seen: &mut Observation) -> Result<(), TickError> {
        match &stage.life {
            Life::Pending(_) => {}
            Life::Working(working) => {
                let Some(sighting) = self.run(stage, &working.flight.run, &working.work)? else { return Ok(()) };
                if !matches!(sighting, Sighting::Running(_) | Sighting::NotStarted) {
                    self.brief(stage, seen);
                    // A worker that crashed starts again in this very step.
                    self.tip(&stage.base_branch, seen)?;
                    self.contract(stage, seen);
                }
                seen.runs.insert(working.flight.run.clone(), sighting);
            }
            Life::Gating(gating) => {
                let mut moving = gating.flight.is_none();
                if let Some(flight) = &gating.flight
                    && let Some(sighting) = self.run(stage, &flight.run, &gating.work)?
                {
                    moving |= !matches!(sighting, Sighting::Running(_) | Sighting::NotStarted);
                    seen.runs.insert(flight.run.clone(), sighting);
                }
                if moving {
                    self.brief(stage, seen);
                    self.tip(&stage.base_branch, seen)?;
                }
            }
            Life::Verifying(verifying) => {
                let mut moving = false;
                for seat in &verifying.seats {
                    match &seat.flight {
                        None => moving |= seat.vote.is_none(),
                        Some(flight) => {
                            let Some(sighting) = self.run(stage, &flight.run, &verifying.work)? else { continue };
                            moving |= !matches!(sighting, Sighting::Running(_) | Sighting::NotStarted);
                            seen.runs.insert(flight.run.clone(), sighting);
                        }
                    }
                }
                if moving {
                    self.brief(stage, seen);
                    self.tip(&stage.base_branch, seen)?;
                }
            }
            Life::Landing(state) => {
                self.brief(stage, seen);
                let sighting = match self.landings.get(&stage.id) {
                    Some(known) => known.clone(),
                    None => landing::look(self, stages, stage, state, seen),
                };
                seen.landings.insert(stage.id.clone(), sighting);
            }
            Life::Over(over) => {
                if stage.repeats_at().is_some_and(|at| at <= self.now) && stage.chores.is_empty() {
                    // The card as it is now, not the bytes that the last round worked from.
                    let fresh = Stage { card_sha256: None, ..stage.clone() };
                    self.brief(&fresh, seen);
                    self.tip(&stage.base_branch, seen)?;
                    self.contract(&fresh, seen);
                }
                if let Some(kept) = &over.kept
                    && matches!(kept.awaits, Awaits::Merge | Awaits::Approval)
                    && let Some(tip) = self.repo.tip(&stage.base_branch)?
                    && kept.seen_tip.as_ref() != Some(&tip)
                {
                    let since = kept.seen_tip.as_ref().unwrap_or(&kept.base_commit);
                    let candidate = &kept.candidate.commit;
                    let merged = self.repo.merged_by_hand(&kept.base_commit, since, &tip, &stage.id, candidate)?;
                    seen.parked.insert(stage.id.clone(), ParkedSighting { tip, merged });
                }
            }
        }
        Ok(())
    }

    fn brief(&self, stage: &Stage, seen: &mut Observation) {
        let pin = if self.purpose == Purpose::Act { Pin::Yes } else { Pin::No };
        seen.briefs.entry(stage.id.clone()).or_insert_with(|| brief::read(self.site, stage, pin));
    }

    /// Freezes the contract tests of a stage that may start at its base's tip.
    fn contract(&self, stage: &Stage, seen: &mut Observation) {
        if let (Some(Ok(brief)), Some(Some(tip))) = (seen.briefs.get(&stage.id), seen.tips.get(&stage.base_branch))
            && !brief.card.contract_tests.is_empty()
        {
            let frozen = evidence::freeze(self.objects, &brief.card, tip);
            seen.contracts.insert(stage.id.clone(), frozen);
        }
    }

    fn tip(&self, branch: &str, seen: &mut Observation) -> Result<(), TickError> {
        if !seen.tips.contains_key(branch) {
            seen.tips.insert(branch.to_owned(), self.repo.tip(branch)?);
        }
        Ok(())
    }

    /// Which of a stage's chores were done.
    fn chores(&self, stage: &Stage, seen: &mut Observation) -> Result<(), TickError> {
        let mut done = Vec::new();
        for chore in &stage.chores {
            let is_done = match chore {
                Chore::PointRunBranch { commit } => self.repo.own_branch_points(&run_branch(&stage.id), commit)?,
                Chore::DropRunBranch => self.repo.own_branch_is_dropped(&run_branch(&stage.id), &stage.base_branch)?,
                Chore::KeepWork { branch, commit } => self.repo.own_branch_points(branch, commit)?,
                Chore::Publish { run } => self.site.layout.run(run).join(super::publish::PUBLISHED).exists(),
                Chore::PublishPanel { runs, .. } => runs
                    .last()
                    .is_none_or(|run| self.site.layout.run(run).join(super::publish::PANEL_PUBLISHED).exists()),
                Chore::Ask { run } => self.site.layout.run(run).join(super::publish::ASKED).exists(),
                Chore::Clear { run } => {
                    self.site.layout.run(run).join(super::perform::CLEARED).exists()
                        && !self.site.worktree(run).exists()
                }
            };
            if is_done {
                done.push(chore.clone());
            }
        }
        if !done.is_empty() {
            seen.done.insert(stage.id.clone(), done);
        }
        Ok(())
    }

    /// Looks at one run; none where nothing certain can be said of it now, so that the next tick looks again.
    pub(super) fn run(&self, stage: &Stage, run: &RunId, work: &Work) -> Result<Option<Sighting>, TickError> {
        let dir = self.site.layout.run(run);
        if !dir.exists() {
            return Ok(Some(Sighting::NotStarted));
        }
        Ok(Some(match runs::probe(&dir, &meter_for) {
            runs::Sighting::NotStarted => Sighting::NotStarted,
            runs::Sighting::Running(pulse) => Sighting::Running(Pulse {
                elapsed: Some(Seconds(pulse.elapsed.as_secs())),
                silent_for: Some(Seconds(pulse.silent_for.as_secs())),
                watched: match pulse.supervisor {
                    runs::SupervisorState::Alive => Watched::BySupervisor,
                    runs::SupervisorState::Gone => Watched::ByTicksOnly,
                },
            }),
            runs::Sighting::Exited(record) => {
                let product = match run.role {
                    Role::Gate => Product::Gate,
                    Role::Verifier => {
                        Product::Verifier { verdict: returned::verdict(self.site, self.objects, stage, &record)? }
                    }
                    Role::Worker => {
                        let handoff = self.handoff(stage, &record)?;
                        let withheld = withheld::by_record(self.site, &record);
                        let work = withheld.or_else(|| self.work(stage, run, work, record.ended_at, &handoff));
                        let Some(work) = work else { return Ok(None) };
                        Product::Worker { handoff, work }
                    }
                };
                Sighting::Ended(Box::new(Ended { record: *record, product }))
            }
            runs::Sighting::Lost(lost) => {
                if !self.reaped(run, &dir) {
                    return Ok(None);
                }
                let by_calendar = self.now.signed_duration_since(lost.started_at).num_seconds();
                let by_calendar = u64::try_from(by_calendar).unwrap_or_default();
                // The calendar runs on while the machine sleeps, and jumps.
                let ran = lost.awake.map_or(by_calendar, |awake| awake.as_secs().min(by_calendar));
                let work =
                    (run.role == Role::Worker).then(|| self.lost_work(stage, run, work, lost.started_at)).flatten();
                Sighting::Lost(Box::new(LostRun {
                    usage: lost.usage,
                    elapsed: Some(Seconds(ran)),
                    work,
                    detail: "its supervisor and its agent are gone without a record".to_owned(),
                }))
            }
            runs::Sighting::Unreadable(why) => {
                if !self.reaped(run, &dir) {
                    return Ok(None);
                }
                let work = (run.role == Role::Worker).then(|| self.lost_work(stage, run, work, self.now)).flatten();
                Sighting::Lost(Box::new(LostRun {
                    usage: crate::core::exit::Usage::default(),
                    elapsed: None,
                    work,
                    detail: format!("its record cannot be used: {why}"),
                }))
            }
        }))
    }

    /// Makes sure that nothing of a lost run lives, before it is settled and another takes its place. A run whose end
    /// is not certain holds up its own stage only.
    fn reaped(&self, run: &RunId, dir: &Path) -> bool {
        if self.purpose == Purpose::Plan {
            return true;
        }
        let reaped = runs::reap_lost(dir);
        if let Err(error) = &reaped {
            warn!(repo = %self.site.root.display(), %run, "not settled yet: {error}");
        }
        reaped.is_ok()
    }

    fn handoff(&self, stage: &Stage, record: &ExitRecord) -> Result<Returned<Handoff>, TickError> {
        returned::document(self.site, record, Outbox::Handoff, "handoff.json", |bytes| Handoff::parse(bytes, &stage.id))
    }

    /// The commits that a worker put onto its base branch by itself.
    fn strays(&self, stage: &Stage, run: &RunId, work: &Work) -> Result<Vec<CommitId>, GitError> {
        match self.repo.tip(&stage.base_branch)? {
            Some(tip) => self.objects.strays(&self.site.worktree(run), &work.base_commit, &tip, run),
            None => Ok(Vec::new()),
        }
    }

    /// The same for a worker that left no record of whether it holds a secret.
    fn lost_work(&self, stage: &Stage, run: &RunId, work: &Work, at: DateTime<Utc>) -> Option<WorkSighting> {
        let withheld = if self.purpose == Purpose::Plan { None } else { withheld::by_looking(self.site, run) };
        withheld.or_else(|| self.work(stage, run, work, at, &Returned::Nothing))
    }

    /// What a worker's worktree holds, as a commit on the base. None where that cannot be told just now for reasons
    /// that are not the worktree's, such as a full disk: nothing is decided then, for a while.
    fn work(
        &self,
        stage: &Stage,
        run: &RunId,
        work: &Work,
        at: DateTime<Utc>,
        handoff: &Returned<Handoff>,
    ) -> Option<WorkSighting> {
        let unreadable = |error: GitError| {
            let wait = error.may_pass() && self.now.signed_duration_since(at) < CAPTURE_PATIENCE;
            if wait {
                warn!(repo = %self.site.root.display(), %run, "its work is looked at again: {error}");
            }
            (!wait).then(|| WorkSighting::Unreadable(error.to_string()))
        };
        let brief = brief::read(self.site, stage, Pin::No).ok();
        let force = brief.as_ref().map(|brief| declared(brief, handoff)).unwrap_or_default();
        let capture = match self.objects.capture(&self.site.worktree(run), &work.base_commit, &force) {
            Ok(capture) => capture,
            Err(GitError::WorktreeMissing { .. }) => return Some(WorkSighting::Gone),
            Err(error) => return unreadable(error),
        };
        let changed: Vec<String> = capture.changed.iter().map(|change| change.path.text().into_owned()).collect();
        let embedded = capture.embedded.iter().map(|path| path.text().into_owned()).collect();
        let commit = if changed.is_empty() {
            Ok(work.base_commit.clone())
        } else {
            let author = Signature::from(&stage.worker);
            self.objects.write_commit(&CommitText {
                tree: capture.tree.clone(),
                parents: vec![work.base_commit.clone()],
                author: author.clone(),
                committer: author,
                at,
                message: format!(
                    "{}: candidate of attempt {}\n\nAutometta-Stage: {}\nAutometta-Run: {run}\n",
                    stage.id, run.attempt, stage.id
                ),
            })
        };
        // A run that says nothing of its work is not judged by it.
        let findings = match (&brief, handoff) {
            (Some(brief), Returned::Usable(_)) => {
                evidence::findings(self.objects, &brief.card, &stage.contract, &work.base_commit, &capture.tree)
            }
            _ => Ok(Findings::default()),
        };
        let strays = self.strays(stage, run, work);
        match commit.and_then(|commit| Ok((commit, findings?, strays?))) {
            Ok((commit, mut findings, strays)) => {
                findings.strays = strays;
                let candidate = Candidate { commit, tree: capture.tree, run: run.clone() };
                Some(WorkSighting::Captured(Captured { candidate, changed, embedded, findings: Box::new(findings) }))
            }
            Err(error) => unreadable(error),
        }
    }
}

/// Paths that belong to the candidate even where git ignores them: what the card and the handoff declare.
fn declared(brief: &Brief, handoff: &Returned<Handoff>) -> Vec<String> {
    let mut paths: Vec<String> =
        brief.card.deliverables.iter().map(|deliverable| deliverable.path.as_str().to_owned()).collect();
    if let Returned::Usable(handoff) = handoff {
        paths.extend(handoff.deliverables.iter().map(|path| path.as_str().to_owned()));
    }
    paths
}
