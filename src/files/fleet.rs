//! `config.yaml` and `fleet/` in home: the caps of all repositories together, and each one's share of the day, under
//! one lock.

use std::path::PathBuf;
use std::time::Duration;

use super::atomic::{self, Durability};
use super::document;
use super::home::{Home, HomeError};
use super::lock::{Lock, LockError};
use crate::core::budget::Budget;
use crate::core::fault::Faults;
use crate::core::fleet::{FleetCaps, HomeConfig, Share};
use crate::core::state::Stage;

/// The fleet's shares, while their lock is held.
#[derive(Debug)]
pub struct Fleet {
    shares: Shares,
    lock: Option<Lock>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.release();
        }
    }
}

/// Where the shares are.
#[derive(Debug, Clone)]
pub struct Shares {
    dir: PathBuf,
    own: String,
}

/// What `config.yaml` says; the defaults where there is none.
pub fn config(home: &Home) -> Result<HomeConfig, HomeError> {
    let path = home.path().join("config.yaml");
    let Some(bytes) = document::read(&path)? else { return Ok(HomeConfig::default()) };
    let faulty = |faults| HomeError::Faults { path: path.clone(), faults };
    let config: HomeConfig = document::from_yaml(&bytes).map_err(faulty)?;
    let faults = config.validate();
    if faults.is_empty() { Ok(config) } else { Err(faulty(document::locate(&bytes, faults))) }
}

/// The caps that `config.yaml` sets; none where it sets none.
pub fn caps(home: &Home) -> Result<Option<FleetCaps>, HomeError> {
    Ok(Some(config(home)?.fleet).filter(FleetCaps::is_set))
}

/// The lock's file.
pub fn lock_path(home: &Home) -> PathBuf {
    home.path().join("fleet.lock")
}

impl Shares {
    /// The shares as the repository of this id sees them.
    pub fn new(home: &Home, repo_id: &str) -> Self {
        Self { dir: home.path().join("fleet"), own: format!("{repo_id}.json") }
    }

    /// Takes the lock, waiting for it at most so long; none where it is held by then.
    pub fn lock(self, home: &Home, limit: Duration) -> Result<Option<Fleet>, LockError> {
        Ok(Lock::exclusive_within(&lock_path(home), limit)?.map(|lock| Fleet { shares: self, lock: Some(lock) }))
    }

    /// The shares of all other repositories.
    ///
    /// # Errors
    /// One of them cannot be read: what the fleet has spent is not known then.
    pub fn others(&self) -> Result<Vec<Share>, HomeError> {
        let io = |source| HomeError::Io { path: self.dir.clone(), source };
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io(source)),
        };
        let mut shares = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| *name != self.own && name.strip_suffix(".json").is_some())
            else {
                continue;
            };
            let path = self.dir.join(name);
            // One that is gone by now was taken away by a person.
            let Some(bytes) = document::read(&path)? else { continue };
            shares.push(document::from_json(bytes).map_err(|faults| HomeError::Faults { path, faults })?);
        }
        Ok(shares)
    }

    /// Whether the repository has a share.
    pub fn is_there(&self) -> bool {
        self.dir.join(&self.own).exists()
    }

    /// This repository's own share; none where there is none that can be used: it is made anew from the budget.
    pub fn own(&self) -> Option<Share> {
        let bytes = document::read(&self.dir.join(&self.own)).ok()??;
        document::from_json(bytes).ok()
    }
}

/// Every share with its file, whoever it belongs to; those that cannot be read are left out.
pub fn shares(home: &Home) -> Vec<(PathBuf, Share)> {
    let entries = std::fs::read_dir(home.path().join("fleet")).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    paths.sort();
    let read = |path: &PathBuf| document::from_json::<Share>(document::read(path).ok()??).ok();
    paths.into_iter().filter_map(|path| Some((read(&path)?, path))).map(|(share, path)| (path, share)).collect()
}

impl Shares {
    /// Whether this repository's own share cannot be used, or says that something else is in flight: a tick died before it
    /// could put that right.
    pub fn is_stale(&self, stages: &[Stage], budget: &Budget) -> bool {
        let Ok(Some(bytes)) = document::read(&self.dir.join(&self.own)) else { return false };
        document::from_json::<Share>(bytes).map_or(true, |share| !share.is_current(stages, budget))
    }
}

impl Fleet {
    /// Where they are.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Writes this repository's own share.
    pub fn write(&self, share: &Share) -> Result<(), HomeError> {
        let path = self.shares.dir.join(&self.shares.own);
        let text = document::to_json_pretty(share).map_err(|error| HomeError::Faults {
            path: path.clone(),
            faults: Faults::one(None, "", error.to_string()),
        })?;
        atomic::make_dirs(&self.shares.dir, Durability::Durable)?;
        Ok(atomic::write(&path, text.as_bytes(), Durability::Durable)?)
    }
}
