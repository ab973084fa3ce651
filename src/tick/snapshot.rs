//! Snapshots of the state on `refs/autometta/state`, and getting a lost state back from them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::step::Note;
use crate::files::document;
use crate::files::ledger::{self, Head};
use crate::files::lock::Lock;
use crate::files::store::{self, Loaded, Store, StoreError};
use crate::git::{RefName, Repo};

use super::error::TickError;
use super::site::Site;

/// The ref.
pub const REF: &str = "refs/autometta/state";

/// The most of the ledger that one snapshot carries; the rest stands in the snapshots before it.
const LEDGER_PART: u64 = 64 * 1024;

/// What a snapshot is a snapshot of.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seal {
    /// The ledger's last line and its hash: a state is as new as the ledger that led to it.
    pub ledger: Head,
}

/// How long whoever writes a snapshot is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A committed state of which there is no snapshot yet.
#[derive(Debug)]
pub struct Owed {
    loaded: Loaded,
    state_yaml: String,
    head: Head,
}

impl Owed {
    /// A state that has just been committed, under the tick's lock.
    pub fn new(site: &Site, store: &Store, loaded: Loaded) -> Result<Self, TickError> {
        // Not what the file holds by now: whoever damages it must find the state as it was committed.
        let state_yaml = store.encode_state(&loaded.state)?;
        Ok(Self { loaded, state_yaml, head: store::ledger_head(&site.layout)? })
    }

    /// Writes the snapshot. The tick's lock need not be held: where the next tick has committed by now, the snapshot is
    /// that one's to write. Nothing is written where only counters or clocks changed, because then there is no
    /// transition.
    pub fn write(&self, site: &Site, now: DateTime<Utc>) -> Result<(), TickError> {
        let path = site.layout.snapshot_lock();
        let held = || TickError::Held { path: path.clone() };
        let lock = Lock::exclusive_within(&path, PATIENCE).map_err(StoreError::from)?.ok_or_else(held)?;
        let written = self.write_under(&lock, site, now);
        lock.release();
        written
    }

    fn write_under(&self, lock: &Lock, site: &Site, now: DateTime<Utc>) -> Result<(), TickError> {
        if store::ledger_head(&site.layout)? != self.head {
            return Ok(());
        }
        let files = self.files(site)?;
        // A git that outlives a killed tick keeps the lock.
        let repo = site.repo(lock.file().try_clone().ok())?;
        repo.snapshot(&RefName::new(REF)?, &files, "State of the queue", now)?;
        Ok(())
    }

    fn files(&self, site: &Site) -> Result<Vec<(String, Vec<u8>)>, TickError> {
        let encode = |error: document::WriteError| TickError::Prompt(error.to_string());
        let Loaded { state, budget } = &self.loaded;
        let mut files = vec![
            ("state.yaml".to_owned(), self.state_yaml.clone().into_bytes()),
            ("budget.json".to_owned(), document::to_json_pretty(budget).map_err(encode)?.into_bytes()),
            ("ledger.jsonl".to_owned(), ledger::tail(&site.layout.ledger(), LEDGER_PART).map_err(StoreError::from)?),
        ];
        for stage in state.stages.iter().filter(|stage| stage.attempt > 0) {
            for (folder, path) in
                [("handoffs", site.layout.handoff(&stage.id)), ("verifiers", site.layout.verdict(&stage.id, None))]
            {
                if let Some(bytes) = document::read(&path)? {
                    files.push((format!("{folder}/{}.json", stage.id), bytes));
                }
            }
        }
        let seal = document::to_json_pretty(&Seal { ledger: self.head.clone() }).map_err(encode)?;
        files.push(("seal.json".to_owned(), seal.into_bytes()));
        Ok(files)
    }
}

/// Where the ledger ended when the newest snapshot was taken; none where there is no snapshot.
pub fn sealed(repo: &Repo) -> Result<Option<Head>, TickError> {
    let bytes = repo.read_snapshot(&RefName::new(REF)?, "seal.json")?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice::<Seal>(&bytes).ok()).map(|seal| seal.ledger))
}

/// Whether the newest snapshot is of the state as it is.
pub fn is_current(site: &Site, repo: &Repo) -> Result<bool, TickError> {
    Ok(sealed(repo)?.as_ref() == Some(&store::ledger_head(&site.layout)?))
}

/// Brings state and budget back from the newest snapshot, where the ledger proves that nothing happened since. Gives
/// them with the note of it; none where it cannot be proved.
pub fn restore(
    site: &Site,
    repo: &Repo,
    store: &Store,
    now: DateTime<Utc>,
) -> Result<Option<(Loaded, Note)>, TickError> {
    let name = RefName::new(REF)?;
    let Some(sealed) = sealed(repo)? else { return Ok(None) };
    let Ok(head) = store::ledger_head(&site.layout) else { return Ok(None) };
    if head != sealed {
        return Ok(None);
    }
    let (Some(state), Some(budget)) =
        (repo.read_snapshot(&name, "state.yaml")?, repo.read_snapshot(&name, "budget.json")?)
    else {
        return Ok(None);
    };
    let state = store::decode_state(&site.layout.state_yaml(), &state)?;
    if state.repo_id != site.repo_id {
        return Ok(None);
    }
    let budget = store::decode_budget(&site.layout.budget_json(), &budget)?;
    store.keep_damaged(now)?;
    let note = Note {
        stage: None,
        run: None,
        event: "restored".to_owned(),
        from: None,
        to: None,
        detail: format!("state and budget from {REF}, which the ledger proves to be current"),
    };
    let loaded = Loaded { state, budget };
    store.commit(None, &loaded, std::slice::from_ref(&note), now)?;
    // The ledger has moved on: without a new snapshot, further damage could not be mended.
    let owed = Owed::new(site, store, loaded)?;
    owed.write(site, now)?;
    Ok(Some((owed.loaded, note)))
}
