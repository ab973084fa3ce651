//! One subscribed repository, opened: its manifest, its families, its paths, its git.

use std::path::{Path, PathBuf};

use crate::core::fault::Faults;
use crate::core::ids::{FamilyName, RunId, StageId};
use crate::core::manifest::Manifest;
use crate::core::policy::Policy;
use crate::families::Families;
use crate::files::document;
use crate::files::home::{Home, repo_id};
use crate::files::layout::Layout;
use crate::git::{Git, Location, Repo};

use super::error::TickError;

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
}

impl Site {
    /// Opens the repository that holds this path. Starts no process.
    pub fn open(path: &Path, home: &Home, exe: &Path) -> Result<Self, TickError> {
        let root = find_root(path)?;
        let manifest = read_manifest(&root)?
            .ok_or_else(|| TickError::NoManifest { path: root.join(MANIFEST) })?;
        Self::with_manifest(root, manifest, home, exe)
    }

    /// The same, with a manifest that is at hand.
    pub fn with_manifest(root: PathBuf, manifest: Manifest, home: &Home, exe: &Path) -> Result<Self, TickError> {
        let families = Families::new(&manifest.families)
            .map_err(|faults| TickError::Manifest { path: root.join(MANIFEST), faults })?;
        let layout = Layout::new(&root, manifest.state_dir.as_str());
        let repo_id = repo_id(&home.machine_id()?, &root);
        let policy = Policy {
            work_retries: manifest.retry.work,
            verifier_retries: manifest.retry.verifier,
            infrastructure_retries: manifest.retry.infrastructure,
            max_parallel: manifest.max_parallel as usize,
            ..Policy::default()
        };
        Ok(Self { root, manifest, families, policy, layout, repo_id, home: home.clone(), exe: exe.to_owned() })
    }

    /// Its git, whose children keep this guard open until they are gone.
    pub fn repo(&self, guard: Option<std::fs::File>) -> Result<Repo, TickError> {
        let mut git = Git::from_environment();
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

    /// The branch that stages land on.
    pub fn base_branch(&self) -> Result<String, TickError> {
        self.manifest.base_branch.clone().ok_or_else(|| TickError::NoBaseBranch { path: self.root.join(MANIFEST) })
    }
}

/// The run branch of a stage.
pub fn run_branch(stage: &StageId) -> String {
    format!("autometta/{stage}")
}

/// The family of that name, for those who hold a flight.
pub fn family<'a>(site: &'a Site, name: &FamilyName) -> Option<&'a crate::families::FamilySpec> {
    site.families.named(name)
}

/// The repository's root, without symbolic links.
pub fn find_root(path: &Path) -> Result<PathBuf, TickError> {
    let location = Location::find(path)?;
    std::fs::canonicalize(&location.top).map_err(|source| TickError::Io { path: location.top.clone(), source })
}

/// Reads the manifest and what this machine overrides; none where there is no manifest.
pub fn read_manifest(root: &Path) -> Result<Option<Manifest>, TickError> {
    let path = root.join(MANIFEST);
    let local_path = root.join(LOCAL_MANIFEST);
    let Some(bytes) = document::read(&path)? else { return Ok(None) };
    let faults_in = |path: &Path| {
        let path = path.to_owned();
        move |faults: Faults| TickError::Manifest { path, faults }
    };
    let local_bytes = document::read(&local_path)?;
    let manifest = match &local_bytes {
        None => document::from_yaml::<Manifest>(&bytes).map_err(faults_in(&path))?,
        Some(local) => {
            let base = document::value_from_yaml::<Manifest>(&bytes).map_err(faults_in(&path))?;
            let local = document::value_from_yaml::<Manifest>(local).map_err(faults_in(&local_path))?;
            Manifest::merged(base, local).map_err(faults_in(&path))?
        }
    };
    let faults = manifest.validate();
    if faults.is_empty() {
        return Ok(Some(manifest));
    }
    // A fault is shown in the file that says it: this machine's overrides win, so they are asked first.
    let ours = |fault: &crate::core::fault::Fault| {
        local_bytes.as_ref().is_some_and(|bytes| document::holds(bytes, &fault.place))
    };
    let (local, base): (Vec<_>, Vec<_>) = faults.0.into_iter().partition(ours);
    match local_bytes {
        Some(bytes) if !local.is_empty() => {
            Err(TickError::Manifest { path: local_path, faults: document::locate(bytes, Faults(local)) })
        }
        _ => Err(TickError::Manifest { path, faults: document::locate(&bytes, Faults(base)) }),
    }
}
