//! What a tick sees of the simulated world, in the order and under the conditions of `tick::observe`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::cast::{Cast, Change, Leaves};
use super::git::{Commit, SimGit, Tree};
use super::ground::Ground;
use crate::core::budget::Window;
use crate::core::dependencies::{self, Web};
use crate::core::exit::{ExitRecord, LostLogs, Outbox, UsageSource};
use crate::core::fault::Faults;
use crate::core::handoff::Handoff;
use crate::core::honesty::Findings;
use crate::core::ids::{ObjectId, Role, RunId, StageId};
use crate::core::observation::{
    Captured, Ended, LandingSighting, LaunchFaults, LostRun, Observation, ParkedSighting, Product, Pulse, Returned,
    Sighting, Watched, WorkSighting,
};
use crate::core::quantity::Seconds;
use crate::core::sleep::{Asleep, Slept};
use crate::core::state::{Awaits, Candidate, Chore, Landing, Life, Overlap, Stage, Work};
use crate::core::step::{Hold, hold_in, order};
use crate::core::train;
use crate::core::verdict::Verdict;
use crate::core::wait::Foundation;
use crate::core::weather::Weather;
use crate::files::disk::Disk;
use crate::files::store::Loaded;

pub(super) const EXIT: &str = "exit.json";
pub(super) const STARTED: &str = "started.json";
pub(super) const ORDER: &str = "run.json";
pub(super) const CANCEL: &str = "cancel";
pub(super) const LAUNCH_LOG: &str = "launch.log";
pub(super) const CLEARED: &str = "cleared";
pub(super) const PUBLISHED: &str = "published";
pub(super) const PANEL_PUBLISHED: &str = "panel-published";
pub(super) const ASKED: &str = "asked";
pub(super) const HANDOFF: &str = "handoff.json";
pub(super) const VERDICT: &str = "verdict.json";

/// The branch of a stage's candidates.
pub(super) fn run_branch(stage: &StageId) -> String {
    format!("autometta/{stage}")
}

impl<C: Cast> Ground<C> {
    pub(super) fn look(
        &mut self,
        loaded: &Loaded,
        tried: &BTreeMap<StageId, LandingSighting>,
        now: DateTime<Utc>,
    ) -> Observation {
        let state = &loaded.state;
        let mut seen = Observation::default();
        if loaded.budget.window == Window::LocalDay {
            seen.local_midnight = (self.midnight)(now);
        }
        for stage in &state.stages {
            self.chores(stage, &mut seen);
            self.stage(&state.stages, stage, tried, now, &mut seen);
        }
        for notice in &state.notices {
            if self.disk.exists(&self.layout.notice_taken(&notice.key)) {
                seen.told.insert(notice.key.clone());
            }
        }
        self.pending(loaded, now, &mut seen);
        if !loaded.budget.halted {
            self.look_out(&mut seen);
        }
        for (run, _) in seen.runs.iter().filter(|(_, sighting)| matches!(sighting, Sighting::NotStarted)) {
            let log = self.disk.peek(&self.layout.run(run).join(LAUNCH_LOG)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            if let Some(last) = log.lines().next_back() {
                let faults = LaunchFaults { count: log.lines().count(), last: last.to_owned() };
                seen.launch_faults.insert(run.clone(), faults);
            }
        }
        let lands = |stage: &&Stage| matches!(&stage.life, Life::Landing(_) | Life::Verifying(_) | Life::Gating(_));
        if state.stages.iter().filter(lands).any(|stage| seen.may_end(stage)) {
            seen.committer = "Operator <operator@local>".parse().ok();
        }
        seen.slept = self.sleep(now);
        seen
    }

    /// How long the machine has slept since the tick before, where that is worth telling.
    fn sleep(&mut self, now: DateTime<Utc>) -> Option<Slept> {
        let asleep = |boot: u32, time: i64| Asleep {
            boot_id: boot.to_string(),
            seconds: Seconds(u64::try_from(time / 1000).unwrap_or_default()),
        };
        let total = asleep(self.clock.boot, self.clock.asleep);
        let before = self.slept.map(|(boot, time, at)| (asleep(boot, time), at));
        Slept::between(before.as_ref().map(|(before, at)| (before, *at)), &total, now)
    }

    /// Families are looked at that somebody may be dispatched of; here that is every family at once.
    fn look_out(&self, seen: &mut Observation) {
        let families = self.briefs.values().flatten().flat_map(|brief| &brief.members);
        for family in families.map(|member| &member.placed.family) {
            if !seen.weather.contains_key(family) {
                let weather = if self.offline.contains(family) {
                    Weather::Offline("nobody answers".to_owned())
                } else {
                    Weather::Fair
                };
                seen.weather.insert(family.clone(), weather);
            }
        }
    }

    fn pending(&self, loaded: &Loaded, now: DateTime<Utc>, seen: &mut Observation) {
        let stages = &loaded.state.stages;
        let something_may_end = stages.iter().any(|stage| seen.may_end(stage));
        let web = Web::of(stages);
        for stage in order(stages).into_iter().map(|index| &stages[index]) {
            let turn = match hold_in(&web, stages, stage, &loaded.budget, &self.policy, now) {
                None | Some(Hold::Elsewhere(..)) => true,
                Some(Hold::Parallel(_) | Hold::Dependency(..) | Hold::Claim(..) | Hold::Reserved(..)) => {
                    something_may_end
                }
                Some(_) => false,
            };
            if turn {
                self.asks(stage, seen);
                self.tip(&stage.base_branch, seen);
                self.foundation(stages, stage, seen);
            }
        }
    }

    /// Looks for what a stage depends on in its base.
    fn foundation(&self, stages: &[Stage], stage: &Stage, seen: &mut Observation) {
        let wanted = dependencies::wanted_ahead(stages, stage, &seen.landings);
        let Some(Some(tip)) = seen.tips.get(&stage.base_branch) else { return };
        if wanted.is_empty() || dependencies::remembered(stage, &wanted).is_some_and(|known| known.tip == *tip) {
            return;
        }
        let missing = wanted.iter().filter(|(_, commit)| !self.git.contains(tip, commit));
        let found = Foundation {
            tip: tip.clone(),
            missing: missing.map(|(needed, _)| (*needed).clone()).collect(),
            commits: wanted.iter().map(|(_, commit)| (*commit).clone()).collect(),
        };
        seen.foundations.insert(stage.id.clone(), found);
    }

    fn asks(&self, stage: &Stage, seen: &mut Observation) {
        seen.briefs.entry(stage.id.clone()).or_insert_with(|| self.brief(&stage.id));
    }

    fn tip(&self, branch: &str, seen: &mut Observation) {
        seen.tips.entry(branch.to_owned()).or_insert_with(|| self.git.tip(branch));
    }

    fn chores(&self, stage: &Stage, seen: &mut Observation) {
        let has = |run: &RunId, mark: &str| self.disk.exists(&self.layout.run(run).join(mark));
        let is_done = |chore: &&Chore| match chore {
            Chore::PointRunBranch { commit } => self.git.tip(&run_branch(&stage.id)).as_ref() == Some(commit),
            Chore::DropRunBranch => self.git.tip(&run_branch(&stage.id)).is_none(),
            Chore::KeepWork { branch, commit } => self.git.tip(branch).as_ref() == Some(commit),
            Chore::Publish { run } => has(run, PUBLISHED),
            Chore::PublishPanel { runs, .. } => runs.last().is_none_or(|run| has(run, PANEL_PUBLISHED)),
            Chore::Ask { run } => has(run, ASKED),
            Chore::Clear { run } => has(run, CLEARED) && !self.git.worktrees.contains_key(run),
        };
        let done: Vec<Chore> = stage.chores.iter().filter(is_done).cloned().collect();
        if !done.is_empty() {
            seen.done.insert(stage.id.clone(), done);
        }
    }

    fn stage(
        &mut self,
        stages: &[Stage],
        stage: &Stage,
        tried: &BTreeMap<StageId, LandingSighting>,
        now: DateTime<Utc>,
        seen: &mut Observation,
    ) {
        let mut moving = false;
        let work = match &stage.life {
            Life::Pending(_) => return,
            Life::Working(working) => working.work.clone(),
            Life::Gating(gating) => {
                moving |= gating.flight.is_none();
                gating.work.clone()
            }
            Life::Verifying(verifying) => {
                moving |= verifying.seats.iter().any(|seat| seat.flight.is_none() && seat.vote.is_none());
                verifying.work.clone()
            }
            Life::Landing(landing) => {
                self.asks(stage, seen);
                let sighting =
                    tried.get(&stage.id).cloned().unwrap_or_else(|| self.landing(stages, stage, landing, seen));
                seen.landings.insert(stage.id.clone(), sighting);
                return;
            }
            Life::Over(over) => {
                if stage.repeats_at().is_some_and(|at| at <= now) && stage.chores.is_empty() {
                    self.asks(stage, seen);
                }
                if let Some(kept) = &over.kept
                    && matches!(kept.awaits, Awaits::Merge | Awaits::Approval)
                    && let Some(tip) = self.git.tip(&stage.base_branch)
                    && kept.seen_tip.as_ref() != Some(&tip)
                {
                    let merged = self.merged_by_hand(&kept.candidate, &kept.base_commit, &tip);
                    seen.parked.insert(stage.id.clone(), ParkedSighting { tip, merged });
                }
                return;
            }
        };
        for flight in stage.life.flights() {
            let sighting = self.run(stage, &flight.run, &work, now);
            moving |= !matches!(sighting, Sighting::Running(_) | Sighting::NotStarted);
            seen.runs.insert(flight.run.clone(), sighting);
        }
        if moving {
            self.asks(stage, seen);
            self.tip(&stage.base_branch, seen);
        }
    }

    /// The commit of a base branch that already holds a change.
    fn merged_by_hand(&self, candidate: &Candidate, base: &ObjectId, tip: &ObjectId) -> Option<ObjectId> {
        let (from, ours, theirs) = (self.git.files(base), self.git.tree_files(&candidate.tree), self.git.files(tip));
        let changed = SimGit::changed(&from, &ours);
        let held = !changed.is_empty() && changed.iter().all(|path| ours.get(path) == theirs.get(path));
        held.then(|| tip.clone())
    }

    fn run(&mut self, stage: &Stage, run: &RunId, work: &Work, now: DateTime<Utc>) -> Sighting {
        if let Some(live) = self.table.live.get(run) {
            let elapsed = u64::try_from((self.clock.awake - live.started) / 1000).unwrap_or_default();
            return Sighting::Running(Pulse {
                elapsed: Some(Seconds(elapsed)),
                silent_for: Some(Seconds(0)),
                watched: if live.is_supervised { Watched::BySupervisor } else { Watched::ByTicksOnly },
            });
        }
        let dir = self.layout.run(run);
        if let Some(bytes) = self.disk.peek(&dir.join(EXIT)) {
            return match serde_json::from_slice::<ExitRecord>(&bytes) {
                Ok(record) => self.ended(stage, run, work, record),
                Err(error) => self.unreadable(stage, run, work, now, &error.to_string()),
            };
        }
        if !self.disk.exists(&dir.join(STARTED)) {
            return Sighting::NotStarted;
        }
        let Some(gone) = self.table.gone.get(run).cloned() else {
            return self.unreadable(stage, run, work, now, "nobody knows how it began");
        };
        let by_calendar = u64::try_from(now.signed_duration_since(gone.started_at).num_seconds()).unwrap_or_default();
        let awake = u64::try_from((self.clock.awake - gone.started) / 1000).unwrap_or_default();
        let ran = if gone.boot == self.clock.boot { awake.min(by_calendar) } else { by_calendar };
        let work = (run.role == Role::Worker).then(|| self.work(stage, run, work, gone.started_at));
        Sighting::Lost(Box::new(LostRun {
            usage: gone.logged.of_lost(if gone.boot == self.clock.boot {
                LostLogs::OfThisBoot
            } else {
                LostLogs::OfAnEarlierBoot
            }),
            elapsed: Some(Seconds(ran)),
            work,
            detail: "its supervisor and its agent are gone without a record".to_owned(),
        }))
    }

    fn unreadable(&mut self, stage: &Stage, run: &RunId, work: &Work, now: DateTime<Utc>, why: &str) -> Sighting {
        let work = (run.role == Role::Worker).then(|| self.work(stage, run, work, now));
        Sighting::Lost(Box::new(LostRun {
            usage: crate::core::exit::Usage { source: UsageSource::Unknown, ..Default::default() },
            elapsed: None,
            work,
            detail: format!("its record cannot be used: {why}"),
        }))
    }

    fn ended(&mut self, stage: &Stage, run: &RunId, work: &Work, record: ExitRecord) -> Sighting {
        let product = match run.role {
            Role::Gate => Product::Gate,
            Role::Verifier => Product::Verifier { verdict: self.verdict(stage, run, &record) },
            Role::Worker => {
                let parse = |bytes: &[u8]| Handoff::parse(bytes, &stage.id);
                let handoff = self.outbox(&record, Outbox::Handoff, HANDOFF, parse);
                let work = self.work(stage, run, work, record.ended_at);
                Product::Worker { handoff, work }
            }
        };
        Sighting::Ended(Box::new(Ended { record, product }))
    }

    fn outbox<T>(
        &self,
        record: &ExitRecord,
        kind: Outbox,
        name: &str,
        parse: impl Fn(&[u8]) -> Result<T, Faults>,
    ) -> Returned<T> {
        if record.outbox != Some(kind) {
            return Returned::Nothing;
        }
        match self.disk.peek(&self.layout.run(&record.run_id).join(name)) {
            None => Returned::Nothing,
            Some(bytes) => match parse(&bytes) {
                Ok(document) => Returned::Usable(document),
                Err(faults) => Returned::Unusable(format!("{name}: {faults}")),
            },
        }
    }

    fn verdict(&self, stage: &Stage, run: &RunId, record: &ExitRecord) -> Returned<Verdict> {
        let Life::Verifying(verifying) = &stage.life else {
            return Returned::Unusable(format!("{} is not being verified", stage.id));
        };
        let criteria = match self.brief(&stage.id) {
            Ok(brief) => brief.card.criteria.len(),
            Err(why) => return Returned::Unusable(why),
        };
        let parse = |bytes: &[u8]| Verdict::parse(bytes, &stage.id, criteria);
        let returned = self.outbox(record, Outbox::Verdict, VERDICT, parse);
        if !matches!(returned, Returned::Usable(_)) {
            return returned;
        }
        match self.disk.peek(&self.layout.run(run).join(ORDER)) {
            Some(order) if order == verifying.candidate.tree.as_str().as_bytes() => returned,
            Some(_) => Returned::Unusable("it judged another tree".to_owned()),
            None => Returned::Unusable("its order cannot be read".to_owned()),
        }
    }

    /// What a worker's worktree holds, as a commit on the base.
    fn work(&mut self, stage: &Stage, run: &RunId, work: &Work, at: DateTime<Utc>) -> WorkSighting {
        let Some(worktree) = self.git.worktrees.get(run) else { return WorkSighting::Gone };
        let files = worktree.files.clone();
        let base = work.base_commit.clone();
        let changed: Vec<String> = SimGit::changed(&self.git.files(&base), &files).into_iter().collect();
        let tree = self.git.tree(files);
        let commit = if changed.is_empty() {
            base.clone()
        } else {
            let commit = Commit { tree: tree.clone(), parent: Some(base), stage: None, run: None };
            self.git.commit(commit, &format!("{} {run} {at}", stage.id))
        };
        let findings = Findings { strays: self.strays(stage, run, work), ..Findings::default() };
        let candidate = Candidate { commit, tree, run: run.clone() };
        WorkSighting::Captured(Captured { candidate, changed, embedded: Vec::new(), findings: Box::new(findings) })
    }

    /// The commits that a worker put onto its base branch by itself.
    fn strays(&self, stage: &Stage, run: &RunId, work: &Work) -> Vec<ObjectId> {
        let Some(tip) = self.git.tip(&stage.base_branch) else { return Vec::new() };
        let since = self.git.history(&tip).take_while(|commit| **commit != work.base_commit);
        since.filter(|commit| self.truth.strays.get(*commit) == Some(run)).cloned().collect()
    }

    /// The landing commit; none where nobody is known who commits.
    pub(super) fn landing_commit(&mut self, stage: &Stage, landing: &Landing) -> Option<ObjectId> {
        let committer = landing.committer.as_ref()?;
        let approval = &landing.approval;
        let words = format!(
            "{} {} {:?} {committer} {} {}",
            stage.id, approval.headline, approval.verdicts, landing.decided_at, landing.candidate.run
        );
        let parent = Some(landing.work.base_commit.clone());
        let run = Some(landing.candidate.run.clone());
        let commit = Commit { tree: approval.tree.clone(), parent, stage: Some(stage.id.clone()), run };
        Some(self.git.commit(commit, &words))
    }

    fn landing(&mut self, stages: &[Stage], stage: &Stage, landing: &Landing, seen: &Observation) -> LandingSighting {
        let Some(tip) = self.git.tip(&stage.base_branch) else { return LandingSighting::NoBase };
        let base = landing.work.base_commit.clone();
        if let Some(commit) = self.landing_commit(stage, landing)
            && (tip != base || commit == tip)
            && self.git.contains(&tip, &commit)
        {
            return if self.git.is_landing() { LandingSighting::Ready } else { LandingSighting::Landed(commit) };
        }
        if tip == base || landing.candidate.commit == base {
            return LandingSighting::Ready;
        }
        if let Some(ahead) = train::ahead(stages, stage) {
            return LandingSighting::Behind(ahead.clone());
        }
        let own = landing.uncoupled();
        let merged = self.git.rebase(&own.work.base_commit, &tip, &own.candidate.tree);
        let merged = match (merged, own.approval.overlap) {
            (Err(_), Overlap::Merge) => Ok(self.merge(&tip, &own.candidate)),
            (merged, _) => merged,
        };
        let tree = match merged {
            Err(paths) => return LandingSighting::Overlap { tip, paths: paths.into_iter().collect() },
            Ok(files) => self.git.tree(files),
        };
        let has_gates = matches!(seen.briefs.get(&stage.id), Some(Ok(brief)) if brief.gate_caps.is_some());
        if has_gates
            && let Some(last) = train::joins(stages, &seen.landings, (&tip, &tree), stage, landing)
            && let Ok(files) = self.git.rebase(&own.work.base_commit, last.commit, &own.candidate.tree)
        {
            let (tip, behind) = (last.commit.clone(), Some(last.stage.clone()));
            let tree = self.git.tree(files);
            return LandingSighting::Rebased { candidate: self.moved(&own, &tip, tree), tip, behind };
        }
        LandingSighting::Rebased { candidate: self.moved(&own, &tip, tree), tip, behind: None }
    }

    /// A change on top of another base.
    fn moved(&mut self, landing: &Landing, base: &ObjectId, tree: ObjectId) -> Candidate {
        let run = landing.candidate.run.clone();
        let commit = Commit { tree: tree.clone(), parent: Some(base.clone()), stage: None, run: None };
        Candidate { commit: self.git.commit(commit, &format!("{run} moved")), tree, run }
    }

    /// Both sides of a path that both have changed, put together.
    fn merge(&self, tip: &ObjectId, candidate: &Candidate) -> Tree {
        let (mut files, ours) = (self.git.files(tip), self.git.tree_files(&candidate.tree));
        for (path, content) in ours {
            let entry = files.entry(path).or_insert(content);
            if *entry != content {
                *entry ^= content.rotate_left(7);
            }
        }
        files
    }

    /// What a worker leaves in its worktree.
    pub(super) fn leave(&mut self, stage: &Stage, run: &RunId, leaves: Leaves) {
        let change = match leaves {
            Leaves::Handoff(_, change) | Leaves::Work(change) => change,
            Leaves::Forged(_) => Change::Deliverables,
            Leaves::Nothing | Leaves::Gates(_) | Leaves::Verdict(_) => return,
        };
        self.truth.content += 1;
        let content = self.truth.content;
        let paths: Vec<String> = match self.brief(&stage.id) {
            Ok(brief) => brief.card.deliverables.iter().map(|it| below(it.path.as_str())).collect(),
            Err(_) => Vec::new(),
        };
        let Some(worktree) = self.git.worktrees.get_mut(run) else { return };
        match change {
            Change::Nothing => {}
            Change::Deliverables => worktree.files.extend(paths.into_iter().map(|path| (path, content))),
            Change::Outside => {
                worktree.files.insert("outside".to_owned(), content);
            }
            Change::Gone => {
                self.git.worktrees.remove(run);
            }
            Change::Strays => {
                worktree.files.extend(paths.into_iter().map(|path| (path, content)));
                let stray = self.commit_to(&stage.base_branch, "stray", content);
                if let Some(stray) = stray {
                    self.truth.strays.insert(stray, run.clone());
                }
            }
        }
    }

    /// Somebody else commits a path to a branch.
    pub(super) fn commit_to(&mut self, branch: &str, path: &str, content: u64) -> Option<ObjectId> {
        let tip = self.git.tip(branch)?;
        let mut files = self.git.files(&tip);
        files.insert(path.to_owned(), content);
        let tree = self.git.tree(files);
        let commit =
            self.git.commit(Commit { tree, parent: Some(tip), stage: None, run: None }, &format!("{path} {content}"));
        self.git.set(branch, &commit);
        if self.git.checked_out().is_some() {
            self.git.check_out(&commit);
        }
        Some(commit)
    }
}

/// A file that a deliverable asks for: itself, or one in its folder.
pub(super) fn below(path: &str) -> String {
    if path.ends_with('/') { format!("{path}file") } else { path.to_owned() }
}
