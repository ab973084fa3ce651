//! Doing in the simulated world what a step has decided, in the order of `tick::perform`. A process that dies between
//! two changes has done the first and not the second.

use std::collections::BTreeSet;
use std::io;

use chrono::{DateTime, Utc};

use super::cast::Cast;
use super::git::{Landing as Landed, Worktree};
use super::ground::{Cut, Due, Ground};
use super::look::{ASKED, CANCEL, CLEARED, EXIT, LAUNCH_LOG, ORDER, PANEL_PUBLISHED, PUBLISHED, STARTED, run_branch};
use super::process::Order;
use crate::core::ids::{Role, RunId, StageId};
use crate::core::observation::LandingSighting;
use crate::core::run::StopReason;
use crate::core::state::{Chore, Flight, Life, Stage, State, Stopping};
use crate::core::step::Effect;
use crate::files::atomic::{self, Durability};
use crate::files::disk::Disk;
use crate::tick::engine::Performed;

impl<C: Cast> Ground<C> {
    pub(super) fn carry_out(&mut self, state: &State, effects: &[Effect], now: DateTime<Utc>) -> Performed {
        let mut performed = Performed::default();
        let mut unsafe_to_clear = BTreeSet::new();
        for effect in effects {
            let result = match effect {
                Effect::Stop { run, why } => self.stop(run, *why),
                Effect::Chore { stage, chore } => {
                    if matches!(chore, Chore::Clear { .. }) && unsafe_to_clear.contains(stage) {
                        continue;
                    }
                    let result = self.do_chore(state, stage, chore);
                    if result.is_err() {
                        unsafe_to_clear.insert(stage.clone());
                    }
                    result
                }
                Effect::Land { stage } => {
                    performed.landed = true;
                    self.land(state, stage).map(|sighting| {
                        performed.landings.extend(sighting.map(|sighting| (stage.clone(), sighting)));
                    })
                }
                Effect::Launch { run } => self.launch(state, run, now),
                Effect::Tell { key } => {
                    let taken = self.layout.notice_taken(key);
                    if self.disk.exists(&taken) { Ok(()) } else { self.mark(&taken).map_err(Cut::from) }
                }
            };
            if self.disk.process().is_dead {
                // It does nothing more, and its caller is dead as well.
                performed.landed = false;
                break;
            }
            if let Err(error) = result {
                performed.failures.push(error.to_string());
            }
        }
        performed
    }

    fn stop(&mut self, run: &RunId, why: Stopping) -> Result<(), Cut> {
        let reason = match why {
            Stopping::Cancelled => StopReason::Operator,
            Stopping::Skipped => StopReason::Obsolete,
            Stopping::OverTime => StopReason::Timeout,
        };
        let dir = self.layout.run(run);
        let is_over = self.disk.exists(&dir.join(EXIT)) || self.disk.exists(&dir.join(STARTED));
        if !self.table.live.contains_key(run) && is_over {
            return Ok(());
        }
        if !self.disk.exists(&dir.join(CANCEL)) {
            atomic::make_dirs_on(&self.disk, &dir, Durability::Durable)?;
            atomic::write_on(&self.disk, &dir.join(CANCEL), b"", Durability::Durable)?;
        }
        self.pass()?;
        let Some(live) = self.table.live.get_mut(run) else { return Ok(()) };
        if live.is_supervised {
            if live.asked.is_none() {
                live.asked = Some(reason);
                let grace = 250 + i64::try_from(self.random.below(5000)).unwrap_or_default();
                self.agenda.enter(self.clock.awake + grace, Due::Ends(run.clone()));
            }
        } else {
            self.agent_dies(run);
        }
        Ok(())
    }

    fn do_chore(&mut self, state: &State, stage: &StageId, chore: &Chore) -> Result<(), Cut> {
        let Some(stage) = state.stage(stage) else { return Ok(()) };
        match chore {
            Chore::PointRunBranch { commit } => {
                let worker = stage.chores.iter().filter_map(|chore| match chore {
                    Chore::Clear { run } if run.role == Role::Worker => Some(run),
                    _ => None,
                });
                for run in worker {
                    self.clear(run)?;
                }
                self.pass()?;
                self.git.set(&run_branch(&stage.id), commit);
            }
            Chore::DropRunBranch => {
                self.pass()?;
                self.git.delete(&run_branch(&stage.id));
            }
            Chore::KeepWork { branch, commit } => {
                self.pass()?;
                self.git.set(branch, commit);
            }
            Chore::Publish { run } => self.mark(&self.layout.run(run).join(PUBLISHED))?,
            Chore::PublishPanel { runs, .. } => {
                if let Some(last) = runs.last() {
                    self.mark(&self.layout.run(last).join(PANEL_PUBLISHED))?;
                }
            }
            Chore::Ask { run } => self.mark(&self.layout.run(run).join(ASKED))?,
            Chore::Clear { run } => self.clear(run)?,
        }
        Ok(())
    }

    /// Makes sure that nothing of a run is alive, then removes its checkout.
    fn clear(&mut self, run: &RunId) -> Result<(), Cut> {
        let marker = self.layout.run(run).join(CLEARED);
        if self.disk.exists(&marker) && !self.git.worktrees.contains_key(run) {
            return Ok(());
        }
        if self.table.live.contains_key(run) {
            self.pass()?;
            self.agent_dies(run);
        }
        self.pass()?;
        self.git.worktrees.remove(run);
        Ok(self.mark(&marker)?)
    }

    fn land(&mut self, state: &State, stage: &StageId) -> Result<Option<LandingSighting>, Cut> {
        let Some(stage) = state.stage(stage) else { return Ok(None) };
        let Life::Landing(landing) = &stage.life else { return Ok(None) };
        let Some(commit) = self.landing_commit(stage, landing) else { return Ok(None) };
        let landed = self.git.land(&self.disk, &stage.base_branch, &landing.work.base_commit, &commit);
        Ok(match landed.map_err(|_: io::Error| Cut::Killed)? {
            Landed::Done | Landed::Moved => None,
            Landed::Dirty(paths) => Some(LandingSighting::Dirty(paths)),
            Landed::Busy => Some(LandingSighting::Busy("the operator's git is at work".to_owned())),
        })
    }

    fn launch(&mut self, state: &State, run: &RunId, now: DateTime<Utc>) -> Result<(), Cut> {
        let Some(stage) = state.stage(&run.stage) else { return Ok(()) };
        let Some(flight) = stage.life.flights().into_iter().find(|flight| flight.run == *run).cloned() else {
            return Ok(());
        };
        let result = self.prepare_and_launch(stage, &flight);
        if let (Err(error), false) = (&result, self.disk.process().is_dead) {
            let dir = self.layout.run(run);
            let mut log = self.disk.peek(&dir.join(LAUNCH_LOG)).unwrap_or_default();
            log.extend_from_slice(format!("{now} {error}\n").replace('\r', " ").as_bytes());
            if atomic::make_dirs_on(&self.disk, &dir, Durability::Volatile).is_ok() {
                drop(atomic::write_on(&self.disk, &dir.join(LAUNCH_LOG), &log, Durability::Durable));
            }
        }
        result
    }

    fn prepare_and_launch(&mut self, stage: &Stage, flight: &Flight) -> Result<(), Cut> {
        let run = &flight.run;
        let dir = self.layout.run(run);
        let (start, tree) = match &stage.life {
            Life::Working(working) => {
                (working.resume.as_ref().map_or(&working.work.base_commit, |resume| &resume.start), None)
            }
            Life::Gating(gating) => (&gating.candidate.commit, Some(&gating.candidate.tree)),
            Life::Verifying(verifying) => (&verifying.candidate.commit, Some(&verifying.candidate.tree)),
            Life::Pending(_) | Life::Landing(_) | Life::Over(_) => return Ok(()),
        };
        if !self.disk.exists(&dir.join(STARTED)) {
            if self.disk.exists(&dir.join(ORDER)) {
                self.pass()?;
                self.git.worktrees.remove(run);
            }
            self.pass()?;
            let worktree = Worktree { base: start.clone(), files: self.git.files(start) };
            self.git.worktrees.entry(run.clone()).or_insert(worktree);
            atomic::make_dirs_on(&self.disk, &dir, Durability::Durable)?;
            let order = tree.map_or(String::new(), ToString::to_string);
            atomic::write_on(&self.disk, &dir.join(ORDER), order.as_bytes(), Durability::Durable)?;
        }
        if self.table.live.contains_key(run)
            || self.disk.exists(&dir.join(EXIT))
            || self.disk.exists(&dir.join(STARTED))
        {
            return Ok(());
        }
        self.pass()?;
        let uses_model = flight.run.role != Role::Gate && flight.reserved.tokens.0 + flight.reserved.cost_usd.0 > 0;
        let order = Order {
            caps: flight.reserved,
            tree: tree.cloned(),
            card_sha256: stage.card_sha256.clone(),
            family: flight.family.clone(),
            uses_model,
        };
        self.begin(stage, flight, order)
    }
}
