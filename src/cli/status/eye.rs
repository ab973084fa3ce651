//! Looking at one repository, again and again: a file that has not changed is not read twice, and nothing is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::view::{self, ByHand, RepoStatus, Scene};
use crate::cli::terminal::Look;
use crate::core::ids::{RunId, StageId};
use crate::core::timer::TimerRecord;
use crate::files::home::Home;
use crate::files::identity::Identity;
use crate::files::store::{self, Loaded};
use crate::runs::Glancer;
use crate::tick::heartbeat::{self, Heartbeat};
use crate::tick::{LOCAL_MANIFEST, MANIFEST, Site, belongs_here};

/// The largest entry of the registry that is read.
const ENTRY_LIMIT: u64 = 1 << 20;

/// What was read from some files, as long as they stay the same.
#[derive(Debug)]
pub(super) struct Kept<T> {
    identities: Vec<Identity>,
    value: Option<T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { identities: Vec::new(), value: None }
    }
}

impl<T> Kept<T> {
    /// What stands in these files. The identities are taken before the reading: what changes meanwhile is read again.
    pub(super) fn get<E>(&mut self, paths: &[PathBuf], read: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let identities: Vec<Identity> = paths.iter().map(|path| Identity::of(path)).collect();
        if self.identities != identities {
            self.value = None;
            self.identities = identities;
        }
        match &mut self.value {
            Some(value) => Ok(value),
            empty => Ok(empty.insert(read()?)),
        }
    }
}

/// One repository under observation.
#[derive(Debug)]
pub struct Eye {
    path: PathBuf,
    home: Home,
    exe: PathBuf,
    site: Kept<Site>,
    loaded: Kept<Loaded>,
    heartbeat: Kept<Option<Heartbeat>>,
    timer: Kept<Option<TimerRecord>>,
    by_hand: Kept<Vec<ByHand>>,
    archived: Kept<usize>,
    glancers: BTreeMap<RunId, Glancer>,
}

impl Eye {
    /// Looks at the repository at this path.
    pub fn new(path: &Path, home: &Home, exe: &Path) -> Self {
        Self {
            path: path.to_owned(),
            home: home.clone(),
            exe: exe.to_owned(),
            site: Kept::default(),
            loaded: Kept::default(),
            heartbeat: Kept::default(),
            timer: Kept::default(),
            by_hand: Kept::default(),
            archived: Kept::default(),
            glancers: BTreeMap::new(),
        }
    }

    /// Looks at it now.
    pub fn look(&mut self, now: DateTime<Utc>, look: &Look) -> anyhow::Result<RepoStatus> {
        self.scene(now, look, |_, scene| view::of(scene))
    }

    /// Gathers what there is to see, and shows it to somebody.
    pub fn scene<T>(
        &mut self,
        now: DateTime<Utc>,
        look: &Look,
        show: impl FnOnce(&Site, &Scene<'_>) -> T,
    ) -> anyhow::Result<T> {
        let manifests = [self.path.join(MANIFEST), self.path.join(LOCAL_MANIFEST)];
        let site = self.site.get(&manifests, || Site::open(&self.path, &self.home, &self.exe))?;
        let layout = &site.layout;
        let files = [layout.txn(), layout.state_yaml(), layout.budget_json()];
        let loaded = self.loaded.get(&files, || store::peek(layout))?;
        belongs_here(site, loaded)?;
        let heartbeat = self.heartbeat.get(&[layout.heartbeat()], || Ok::<_, anyhow::Error>(heartbeat::read(site)))?;
        // A record of the timer that cannot be read is doctor's to explain; here it counts as none.
        let timer =
            self.timer.get(&[self.home.timer_path()], || Ok::<_, anyhow::Error>(self.home.timer().ok().flatten()))?;
        let stages: Vec<&StageId> = loaded.state.stages.iter().map(|stage| &stage.id).collect();
        let registry = layout.dir().join("active-agents");
        let mut watched = files.to_vec();
        watched.push(registry.clone());
        let by_hand = self.by_hand.get(&watched, || {
            let runs: Vec<String> = loaded.state.flights().map(|(_, flight)| flight.run.to_string()).collect();
            Ok::<_, anyhow::Error>(registered(&registry, &runs, &stages))
        })?;
        let archive = layout.dir().join("archive");
        let archived = self.archived.get(std::slice::from_ref(&archive), || Ok::<_, anyhow::Error>(count(&archive)))?;
        let flying: Vec<&RunId> = loaded.state.flights().map(|(_, flight)| &flight.run).collect();
        self.glancers.retain(|run, _| flying.contains(&run));
        let mut glances = BTreeMap::new();
        for run in flying {
            let glancer = match self.glancers.remove(run) {
                Some(glancer) => Ok(glancer),
                None => Glancer::new(&layout.run(run)),
            };
            // A run that cannot be looked at is shown as one that has not begun; `show` says what is wrong with it.
            if let Ok(mut glancer) = glancer {
                if let Ok(glance) = glancer.look() {
                    glances.insert(run.clone(), glance);
                }
                self.glancers.insert(run.clone(), glancer);
            }
        }
        let family = |identity: &crate::core::ids::Identity| site.families.of(identity).map(|spec| spec.name.clone());
        let scene = Scene {
            root: &site.root,
            loaded,
            policy: &site.policy,
            family: &family,
            heartbeat: heartbeat.as_ref(),
            timer: timer.as_ref(),
            glances: &glances,
            by_hand,
            archived: *archived,
            now,
            look,
        };
        Ok(show(site, &scene))
    }
}

/// How many documents a folder holds.
fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml")).count()
}

/// What anybody registered beside the machine's own runs, whatever shape its entry has. A run that the machine has
/// only just ended, whose entry goes in a moment, is not among them.
fn registered(folder: &Path, flying: &[String], stages: &[&StageId]) -> Vec<ByHand> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
        let is_ours = name.parse::<RunId>().is_ok_and(|run| stages.contains(&&run.stage));
        if is_ours || flying.iter().any(|run| run == name) {
            continue;
        }
        let is_small = entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= ENTRY_LIMIT);
        let bytes = if is_small { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        found.push(ByHand {
            name: name.to_owned(),
            identity: text("identity"),
            started_at: text("started_at").and_then(|at| at.parse().ok()),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
