//! One subscribed repository, opened: its manifest, its families, its paths, its git.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::budget::Pause;
use crate::core::fault::Faults;
use crate::core::forecast;
use crate::core::ids::{FamilyName, Identity, RunId, StageId};
use crate::core::manifest::Manifest;
use crate::core::night::Zone;
use crate::core::notice::NoticeKind;
use crate::core::policy::{BreakerPolicy, Policy};
use crate::core::schedule::LocalRules;
use crate::core::state::{Life, Stage};
use crate::core::step::{Hold, crowd, hold};
use crate::families::{Families, ModelUse};
use crate::files::document::{self, Layer, LayerFaults};
use crate::files::home::{Home, repo_id};
use crate::files::layout::Layout;
use crate::files::store::Loaded;
use crate::git::{Git, Location, Repo};

use super::error::TickError;
use super::{clock, zone};

/// The manifest's name.
pub const MANIFEST: &str = ".autometta.yaml";
/// The name of this machine's overrides.
pub const LOCAL_MANIFEST: &str = ".autometta.local.yaml";

/// A repository that is served.
#[derive(Debug)]
pub struct Site {
    /// Its root, without symbolic links.
    pub root: PathBuf,
    /// What its manifest asks for.
    pub manifest: Manifest,
    /// The families.
    pub families: Families,
    /// The machine's policy.
    pub policy: Policy,
    /// Where its state stands.
    pub layout: Layout,
    /// Its name on this machine.
    pub repo_id: String,
    /// The operator's home.
    pub home: Home,
    /// This program, for supervisors and pulses.
    pub exe: PathBuf,
    /// What a run's supervisor starts when the run has ended.
    pub follow_up: FollowUp,
    /// When each of its git commands ends, where the whole tick has a time limit.
    pub deadline: Option<Instant>,
}

/// What a run's supervisor starts when the run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUp {
    /// The next tick.
    Tick,
    /// Nothing: whoever started the run waits for it.
    Nothing,
}

impl Site {
    /// Opens the repository that holds this path. Starts no process.
    pub fn open(path: &Path, home: &Home, exe: &Path) -> Result<Self, TickError> {
        let root = find_root(path)?;
        let (manifest, families) = read(&root)?.ok_or_else(|| TickError::NoManifest { path: root.join(MANIFEST) })?;
        Self::assemble(root, manifest, families, home, exe)
    }

    /// The same, with a manifest that is at hand.
    pub fn with_manifest(root: PathBuf, manifest: Manifest, home: &Home, exe: &Path) -> Result<Self, TickError> {
        let faulty = |faults| LayerFaults(vec![(root.join(MANIFEST), faults)]);
        let families = Families::new(&manifest.families).map_err(faulty)?;
        Self::assemble(root, manifest, families, home, exe)
    }

    fn assemble(
        root: PathBuf,
        manifest: Manifest,
        families: Families,
        home: &Home,
        exe: &Path,
    ) -> Result<Self, TickError> {
        let families = families.with_models(&home.models()?).with_rates(home.rates()?);
        let layout = Layout::new(&root, manifest.state_dir.as_str());
        let repo_id = repo_id(&home.machine_id()?, &root);
        let policy = Policy {
            work_retries: manifest.retry.work,
            verifier_retries: manifest.retry.verifier,
            infrastructure_retries: manifest.retry.infrastructure,
            max_parallel: manifest.max_parallel as usize,
            family_parallel: family_parallel(&manifest),
            landing: manifest.landing,
            protected: manifest.protected.clone(),
            review_floor: manifest.review.scores.then_some(manifest.review.floor),
            // Without a command nobody is told, but the night's report is written all the same.
            tells: if manifest.notify.is_empty() {
                BTreeSet::from([NoticeKind::NightEnd])
            } else {
                NoticeKind::ALL.into()
            },
            finished_kept: manifest.retention.finished_stages as usize,
            stage_tokens: manifest.defaults.stage_tokens,
            stage_cost: manifest.defaults.stage_cost,
            breaker: BreakerPolicy {
                failures: manifest.breaker.failures,
                window: TimeDelta::seconds(
                    i64::try_from(manifest.breaker.window.seconds().0).unwrap_or(i64::MAX / 1000),
                ),
            },
            local: local_rules(&manifest),
            ..Policy::default()
        };
        Ok(Self {
            root,
            manifest,
            families,
            policy,
            layout,
            repo_id,
            home: home.clone(),
            exe: exe.to_owned(),
            follow_up: FollowUp::Tick,
            deadline: None,
        })
    }

    /// Its git, whose children keep this guard open until they are gone.
    pub fn repo(&self, guard: Option<std::fs::File>) -> Result<Repo, TickError> {
        let mut git = Git::from_environment().with_deadline(self.deadline);
        if let Some(guard) = guard {
            git = git.with_guard(guard);
        }
        Ok(Repo::open(&self.root, &self.layout.git_scratch(), git)?)
    }

    /// The folder that holds its worktrees.
    pub fn worktrees(&self) -> PathBuf {
        let name = self.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = self.root.join(self.manifest.worktrees_for(&name));
        // `..` is taken away by hand: the folder may not exist yet.
        let mut clean = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::ParentDir => {
                    clean.pop();
                }
                part => clean.push(part),
            }
        }
        clean
    }

    /// A run's worktree.
    pub fn worktree(&self, run: &RunId) -> PathBuf {
        self.worktrees().join(run.to_string())
    }

    /// What keeps somebody waiting for their provider now.
    pub fn paused(&self, loaded: &Loaded, who: &Identity, now: DateTime<Utc>) -> Option<Pause> {
        let family = self.families.of(who)?;
        // Most of the time nobody waits, and then nobody needs to know which model that would be.
        if loaded.budget.waits(now).is_empty() {
            return None;
        }
        let model = (family.model_use == ModelUse::Calls).then(|| family.resolve(who).ok()).flatten();
        loaded.budget.paused(&family.name, model.as_deref(), now)
    }

    /// The branch that stages land on.
    pub fn base_branch(&self) -> Result<String, TickError> {
        self.manifest.base_branch.clone().ok_or_else(|| TickError::NoBaseBranch { path: self.root.join(MANIFEST) })
    }
}

/// The families that have a limit of their own.
fn family_parallel(manifest: &Manifest) -> BTreeMap<FamilyName, usize> {
    let limited = manifest.families.iter();
    limited.filter_map(|(family, entry)| Some((family.clone(), entry.max_parallel? as usize))).collect()
}

/// What goes by the operator's clock, which is looked at only where something does.
fn local_rules(manifest: &Manifest) -> LocalRules {
    let by_the_clock = !manifest.curfew.is_empty() || !manifest.schedule.is_empty();
    let reserves = manifest.quota.iter().filter_map(|(family, reader)| Some((family.clone(), reader.reserve?)));
    LocalRules {
        zone: if by_the_clock { zone::around(clock::now()) } else { Zone::utc() },
        curfew: manifest.curfew.clone(),
        schedule: manifest.schedule.clone(),
        reserves: reserves.collect(),
    }
}

/// Why a pending stage is held back right now, its family's pause and what an attempt usually takes included.
pub fn held(site: &Site, loaded: &Loaded, stage: &Stage, now: DateTime<Utc>) -> Option<Hold> {
    let held = hold(&loaded.state.stages, stage, &loaded.budget, &site.policy, now);
    let pause = || {
        let pause = site.paused(loaded, stage.own_worker(), now).filter(|_| matches!(stage.life, Life::Pending(_)))?;
        Some(match loaded.budget.deferred(&pause.family, now) {
            Some(held) => Hold::Deferred(held.family.to_string(), held.reason.clone(), held.until),
            None => Hold::Paused(pause.who(), pause.until),
        })
    };
    let unaffordable = || {
        let is_pending = matches!(stage.life, Life::Pending(_));
        let family = |who: &Identity| site.families.of(who).map(|spec| spec.name.clone());
        let short = if is_pending { forecast::shortfall_of(&loaded.budget, stage, &family) } else { Vec::new() };
        short.into_iter().next().map(|halt| Hold::Unaffordable(halt.detail))
    };
    let crowded = || {
        let family = site.families.of(stage.own_worker()).filter(|_| matches!(stage.life, Life::Pending(_)))?;
        let most = crowd(&loaded.state.stages, &site.policy, &family.name)?;
        Some(Hold::Family(family.name.to_string(), most))
    };
    held.or_else(pause).or_else(unaffordable).or_else(crowded)
}

/// The run branch of a stage.
pub fn run_branch(stage: &StageId) -> String {
    format!("autometta/{stage}")
}

/// The repository's root, without symbolic links.
pub fn find_root(path: &Path) -> Result<PathBuf, TickError> {
    let location = Location::find(path)?;
    std::fs::canonicalize(&location.top).map_err(|source| TickError::Io { path: location.top.clone(), source })
}

/// Reads the manifest and what this machine overrides; none where there is no manifest.
pub fn read_manifest(root: &Path) -> Result<Option<Manifest>, TickError> {
    Ok(read(root)?.map(|(manifest, _)| manifest))
}

/// The same, with the families that it comes to, which it cannot be checked without.
fn read(root: &Path) -> Result<Option<(Manifest, Families)>, TickError> {
    let path = root.join(MANIFEST);
    let local_path = root.join(LOCAL_MANIFEST);
    let Some(bytes) = document::read(&path)? else { return Ok(None) };
    let Some(local_bytes) = document::read(&local_path)? else {
        // One file is the common case, and a tick pays for nothing but parsing it.
        let faulty = |faults| LayerFaults(vec![(path.clone(), faults)]);
        let manifest: Manifest = document::from_yaml(&bytes).map_err(faulty)?;
        let checked = check(manifest).map_err(|faults| faulty(document::locate(&bytes, faults)))?;
        return Ok(Some(checked));
    };
    let base = Layer { path: &path, bytes: &bytes };
    let local = Layer { path: &local_path, bytes: &local_bytes };
    Ok(Some(document::from_yaml_layers(base, Some(local), Manifest::merged, check)?))
}

/// A manifest with its families, or everything that is wrong with both beyond their shape.
fn check(manifest: Manifest) -> Result<(Manifest, Families), Faults> {
    let mut faults = manifest.validate();
    match Families::new(&manifest.families) {
        Ok(families) => {
            fallback_faults(&manifest, &families, &mut faults);
            if faults.is_empty() {
                return Ok((manifest, families));
            }
        }
        Err(of_families) => faults.0.extend(of_families.0),
    }
    Err(faults)
}

/// Who is to take over must be of some family, and of another than the one that waits.
fn fallback_faults(manifest: &Manifest, families: &Families, faults: &mut Faults) {
    for (family, who) in &manifest.fallback {
        let place = format!("/fallback/{family}");
        if families.get(family).is_none() {
            faults.add(None, place.clone(), format!("there is no family `{family}`; name one under `families:`"));
        }
        match families.of(who) {
            None => faults.add(None, place, format!("no family serves `{who}`; name one under `families:`")),
            Some(own) if own.name == *family => {
                faults.add(None, place, format!("`{who}` is of family {family} itself, and would wait with it"));
            }
            Some(_) => {}
        }
    }
}
