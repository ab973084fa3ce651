//! Looking at one repository, again and again: a file that has not changed is not read twice, and nothing is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::view::{self, RepoStatus, Scene};
use crate::cli::terminal::Look;
use crate::core::ids::RunId;
use crate::core::run::RegistryEntry;
use crate::core::timer::TimerRecord;
use crate::files::home::Home;
use crate::files::identity::Identity;
use crate::files::store::{self, Loaded};
use crate::runs::{self, Glance, Glancer, Registered};
use crate::tick::heartbeat::{self, Heartbeat};
use crate::tick::{LOCAL_MANIFEST, MANIFEST, Site, belongs_here};

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
    manual: Kept<Vec<Registered>>,
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
            manual: Kept::default(),
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
        // An entry is written once; whether its run lives is looked at each time.
        let registry = layout.dir().join("active-agents");
        let manual = self
            .manual
            .get(std::slice::from_ref(&registry), || Ok::<_, anyhow::Error>(runs::registered(layout.dir())))?;
        let is_alive = |entry: &RegistryEntry| {
            let glance = Glancer::new(&layout.run(&entry.run_id)).and_then(|mut glancer| glancer.look());
            matches!(glance, Ok(Glance::Running { .. }))
        };
        let manual = manual.iter().map(|known| &known.entry).filter(|entry| is_alive(entry)).cloned().collect();
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
        let pause = |identity: &crate::core::ids::Identity| site.paused(loaded, identity, now);
        let scene = Scene {
            root: &site.root,
            loaded,
            policy: &site.policy,
            family: &family,
            pause: &pause,
            heartbeat: heartbeat.as_ref(),
            timer: timer.as_ref(),
            glances: &glances,
            manual,
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
