//! The store: state, budget and ledger of one repository, changed together or not at all.
//!
//! Everything that changes is first written whole into `.txn.json`; from then on it has happened, and what remains is
//! only to copy it to its places, which the next holder of the lock does if this one dies. Only this module writes
//! `state.yaml`, `budget.json` and `ledger.jsonl`.

mod fits;
mod twin;

use std::cell::{Cell, RefCell};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;

use super::atomic::{self, Durability, WriteError};
use super::disk::{Disk, Os};
use super::document::{self, DocumentError};
use super::journal::{self, JournalError, Source};
use super::layout::Layout;
use super::ledger::{self, Head, LedgerError, Tear, sha256_hex};
use super::lock::{Lock, LockError};
use crate::core::budget::{Budget, Halt, HaltReason};
use crate::core::fault::Faults;
use crate::core::ids::StageId;
use crate::core::state::{Stage, State};
use crate::core::state_doc::{STATE_VERSION, StageDoc, StateDoc};
use crate::core::step::Note;
use crate::fault;
use twin::Texts;

/// Why the store cannot be used; each says what to do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The repository has no state yet.
    #[error("{0} does not exist; run `autometta init` in the repository")]
    NotInitialised(PathBuf),
    /// A newer program wrote it.
    #[error(
        "{path} has version {version}, and this autometta reads up to {known}; nothing was touched, update autometta"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
        /// The newest version that this program reads.
        known: u32,
    },
    /// An older program wrote it.
    #[error("{path} has version 1; `autometta init` carries it over")]
    VersionOne {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be understood.
    #[error(
        "{path} cannot be used: {faults}; a tick brings it back where the copy on refs/autometta/state is provably current"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Faults,
    },
    /// The transaction under way cannot be understood.
    #[error("{path} cannot be used: {why}; move it away only after comparing it with state.yaml")]
    Transaction {
        /// The file.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(Box<JournalError>),
    /// A file cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A file cannot be written.
    #[error("{0}; nothing was decided without being written, so the next tick goes on from the old state")]
    Write(#[from] WriteError),
    /// It is decided, and could not be copied to its places yet.
    #[error("{0}; it is decided all the same: it stands whole in .txn.json, and the next tick finishes it")]
    Decided(Box<StoreError>),
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A value has no form in its format.
    #[error("{path} cannot be written: {why}")]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl StoreError {
    /// Whether one of our own files does not hold what we wrote into it. No later tick can mend that by itself, unlike
    /// a disk that is full or a permission that is missing.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Decided(why) => why.is_damage(),
            other => {
                matches!(
                    other,
                    Self::Corrupt { .. } | Self::Transaction { .. } | Self::Ledger(LedgerError::Broken { .. })
                )
            }
        }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The state.
    pub state: State,
    /// The budget.
    pub budget: Budget,
}

/// A decision that is to be committed.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// What was loaded: what has not changed is not written.
    pub before: Option<&'a Loaded>,
    /// What is known from now on.
    pub after: &'a Loaded,
    /// Stages of `before` that leave the state for the archive, and those that leave a copy there of a round that has
    /// ended.
    pub archived: &'a [Stage],
    /// What happened.
    pub notes: &'a [Note],
    /// When.
    pub now: DateTime<Utc>,
}

/// The version of `.txn.json`.
const TRANSACTION_VERSION: u32 = 1;
/// The version of `budget.json`.
const BUDGET_VERSION: u32 = 2;

/// `.txn.json`: what is to stand in the files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transaction {
    version: u32,
    state: Option<String>,
    budget: Option<String>,
    ledger_offset: u64,
    ledger_lines: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    archive: Vec<Archived>,
    /// The sha256 of all the rest as it is written; absent in transactions of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl Transaction {
    /// What is written, sealed.
    fn sealed(mut self) -> Result<(Self, Vec<u8>), serde_json::Error> {
        let mut bytes = serde_json::to_vec(&self)?;
        let seal = sha256_hex(&bytes);
        // It is the last field.
        bytes.pop();
        bytes.extend_from_slice(format!(",\"sha256\":\"{seal}\"}}").as_bytes());
        self.sha256 = Some(seal);
        debug_assert_eq!(bytes, serde_json::to_vec(&self)?, "its seal stands elsewhere");
        Ok((self, bytes))
    }

    /// Whether it is as it was written.
    fn is_unbroken(&mut self) -> bool {
        let Some(seal) = self.sha256.take() else { return true };
        serde_json::to_vec(self).is_ok_and(|bytes| sha256_hex(&bytes) == seal)
    }
}

/// A stage that leaves the state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Archived {
    stage: StageId,
    /// The last attempt of a round, where the stage itself stays in the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    text: String,
}

/// Reads without the lock: for those who only look. A transaction under way is looked through, not finished.
pub fn peek(layout: &Layout) -> Result<Loaded, StoreError> {
    peek_on(&Os, layout)
}

/// The same on any disk.
pub fn peek_on<D: Disk>(disk: &D, layout: &Layout) -> Result<Loaded, StoreError> {
    let txn = read_txn(disk, layout)?;
    let state = txn.as_ref().and_then(|txn| txn.state.clone()).map(String::into_bytes);
    let budget = txn.as_ref().and_then(|txn| txn.budget.clone()).map(String::into_bytes);
    load_from(disk, layout, state, budget).map(|(loaded, _)| loaded)
}

/// The store while its lock is held, on the machine's own disk or another.
#[derive(Debug)]
pub struct Store<D: Disk = Os> {
    disk: D,
    layout: Layout,
    lock: D::Lock,
    /// The stages as they were read or encoded last.
    texts: RefCell<Texts>,
    /// Whether it was said that the journal cannot be written.
    has_warned: Cell<bool>,
}

impl Store {
    /// Takes the lock if nobody holds it. A pulse is never lost: who finds it held leaves a mark, and the holder looks
    /// once more after it has let go.
    pub fn try_lock(layout: &Layout) -> Result<Option<Self>, StoreError> {
        Self::try_lock_on(Os, layout)
    }

    /// Takes the lock, waiting for it at most this long.
    pub fn lock_within(layout: &Layout, limit: std::time::Duration) -> Result<Option<Self>, StoreError> {
        if !layout.dir().is_dir() {
            return Err(StoreError::NotInitialised(layout.dir().to_owned()));
        }
        let lock = Lock::exclusive_within(&layout.tick_lock(), limit)?;
        Ok(lock.map(|lock| Self::under(lock, Os, layout)))
    }

    /// Lets go of the store, even where a process that another thread is just starting has a copy of the lock.
    pub fn release(self) {
        self.lock.release();
    }

    /// The lock, to be held by children that must not outlive it unnoticed.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }
}

impl<D: Disk> Store<D> {
    /// Takes the lock on any disk if nobody holds it.
    pub fn try_lock_on(disk: D, layout: &Layout) -> Result<Option<Self>, StoreError> {
        if !disk.is_folder(layout.dir()) {
            return Err(StoreError::NotInitialised(layout.dir().to_owned()));
        }
        let lock = match disk.try_lock(&layout.tick_lock())? {
            Some(lock) => lock,
            None => {
                atomic::write_on(&disk, &layout.tick_again(), b"", Durability::Volatile)?;
                match disk.try_lock(&layout.tick_lock())? {
                    Some(lock) => lock,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Self::under(lock, disk, layout)))
    }

    fn under(lock: D::Lock, disk: D, layout: &Layout) -> Self {
        Self { disk, layout: layout.clone(), lock, texts: RefCell::default(), has_warned: Cell::default() }
    }

    /// The paths.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Forgets the mark of ticks that found the lock held: from here on, what they wanted seen will be seen.
    pub fn forget_marks(&self) -> Result<(), StoreError> {
        Ok(atomic::remove_on(&self.disk, &self.layout.tick_again())?)
    }

    /// Finishes the transaction of a holder that died, if there is one. True when there was.
    pub fn redo(&self) -> Result<bool, StoreError> {
        match read_txn(&self.disk, &self.layout)? {
            None => Ok(false),
            Some(txn) => {
                fits::check(&self.disk, &self.layout, &txn)?;
                self.apply(&txn)?;
                Ok(true)
            }
        }
    }

    /// Reads state and budget, and sees to it that the ledger has an end to go on from. Call `redo` first.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let (loaded, texts) = load_from(&self.disk, &self.layout, None, None)?;
        self.texts.replace(texts);
        ledger::head_on(&self.disk, &self.layout.ledger())?;
        Ok(loaded)
    }

    /// Commits a new state and budget that follow from nothing that could be decided again. `before` is what was
    /// loaded: what has not changed is not written.
    pub fn commit(
        &self,
        before: Option<&Loaded>,
        after: &Loaded,
        notes: &[Note],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.commit_from(Source::Whole, &Decided { before, after, archived: &[], notes, now })
    }

    /// Commits what follows from a source, which the journal records before.
    pub fn commit_from(&self, source: Source<'_>, decided: &Decided<'_>) -> Result<(), StoreError> {
        let Decided { before, after, archived, notes, now } = *decided;
        let state = (before.map(|before| &before.state) != Some(&after.state))
            .then(|| self.encode_state(&after.state))
            .transpose()?;
        let budget = (before.map(|before| &before.budget) != Some(&after.budget))
            .then(|| encode_budget(&self.layout, &after.budget))
            .transpose()?;
        if state.is_none() && budget.is_none() && notes.is_empty() {
            return Ok(());
        }
        let path = self.layout.ledger();
        let head = ledger::head_on(&self.disk, &path)?;
        let record = self.record(source, decided, (state.as_deref(), budget.as_deref()), head.seq);
        let encode = |error: serde_json::Error| StoreError::Encode { path: path.clone(), why: error.to_string() };
        let (tokens, cost) = (after.budget.tokens_spent, after.budget.cost_spent_usd);
        let ledger_lines =
            ledger::lines(&head, notes, now, after.state.tick_count, tokens, cost, record).map_err(encode)?;
        let ledger_offset = if notes.is_empty() { 0 } else { head.length };
        let archive = archived.iter().map(|stage| self.archived(stage, &after.state)).collect::<Result<_, _>>()?;
        let version = TRANSACTION_VERSION;
        let txn = Transaction { version, state, budget, ledger_offset, ledger_lines, archive, sha256: None };
        let (txn, bytes) = txn.sealed().map_err(encode)?;
        if let Err(error) = atomic::write_on(&self.disk, &self.layout.txn(), &bytes, Durability::Durable) {
            // Where only the sync of its name failed, it stands there, and the next tick carries it out.
            let stands = document::read_on(&self.disk, &self.layout.txn())
                .is_ok_and(|there| there.as_deref() == Some(&bytes[..]));
            return Err(if stands { StoreError::Decided(Box::new(error.into())) } else { error.into() });
        }
        self.apply(&txn).map_err(|error| StoreError::Decided(Box::new(error)))?;
        if let Some(text) = &txn.state {
            twin::write(&self.disk, &self.layout, &after.state, text, &self.texts.borrow());
        }
        Ok(())
    }

    /// `state.yaml` as text, as a commit writes it.
    pub fn encode_state(&self, state: &State) -> Result<String, StoreError> {
        self.texts.borrow_mut().encode(&self.layout, state)
    }

    fn archived(&self, stage: &Stage, after: &State) -> Result<Archived, StoreError> {
        let text = document::to_yaml(&StageDoc::from(stage))
            .map_err(|error| StoreError::Encode { path: self.layout.archived(&stage.id), why: error.to_string() })?;
        let attempt = after.stage(&stage.id).map(|_| stage.attempt);
        Ok(Archived { stage: stage.id.clone(), attempt, text })
    }

    /// Copies a transaction to its places. Done twice it does the same.
    fn apply(&self, txn: &Transaction) -> Result<(), StoreError> {
        // Before the state lets go of them.
        for archived in &txn.archive {
            let path = match archived.attempt {
                Some(attempt) => self.layout.archived_round(&archived.stage, attempt),
                None => self.layout.archived(&archived.stage),
            };
            if let Some(parent) = path.parent() {
                atomic::make_dirs_on(&self.disk, parent, Durability::Durable)?;
            }
            atomic::write_on(&self.disk, &path, archived.text.as_bytes(), Durability::Durable)?;
        }
        if let Some(state) = &txn.state {
            atomic::write_on(&self.disk, &self.layout.state_yaml(), state.as_bytes(), Durability::Durable)?;
        }
        if let Some(budget) = &txn.budget {
            atomic::write_on(&self.disk, &self.layout.budget_json(), budget.as_bytes(), Durability::Durable)?;
        }
        if !txn.ledger_lines.is_empty() {
            extend_ledger(&self.disk, &self.layout.ledger(), txn.ledger_offset, txn.ledger_lines.as_bytes())?;
        }
        // Durably: a transaction that came back after a power cut would undo what was changed by hand since.
        Ok(atomic::remove_durably_on(&self.disk, &self.layout.txn())?)
    }

    /// Records a commit in the journal. It is evidence only, so that nothing waits for it: where it cannot be written,
    /// the log says so, and the ledger names no record.
    fn record(
        &self,
        source: Source<'_>,
        decided: &Decided<'_>,
        (state, budget): (Option<&str>, Option<&str>),
        seq: u64,
    ) -> Option<String> {
        if !self.disk.has_journal() {
            return None;
        }
        let Decided { before, after, notes, now, .. } = *decided;
        let encode = |loaded: &Loaded| {
            let state = self.encode_state(&loaded.state).ok()?;
            Some((state, encode_budget(&self.layout, &loaded.budget).ok()?))
        };
        let event = notes.first().map(|note| note.event.as_str());
        let lines = notes.len() as u64;
        let commit = journal::Commit { before, after, state, budget, event, lines, seq, now, source, encode: &encode };
        journal::append(&self.layout, &commit).unwrap_or_else(|error| {
            if !self.has_warned.replace(true) {
                warn!("{error}; the commit goes on, and `autometta log --replay` will say that it is not recorded");
            }
            None
        })
    }
}

impl Store {
    /// Latches a halt when the state itself cannot be read: only the budget is written.
    pub fn halt_corrupt(&self, detail: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut budget = load_budget(&Os, &self.layout, None)?;
        let halt = Halt { reason: HaltReason::StateCorrupt, detail: detail.to_owned() };
        if !budget.halt(vec![halt], now) {
            return Ok(false);
        }
        let bytes = encode_budget(&self.layout, &budget)?;
        atomic::write(&self.layout.budget_json(), bytes.as_bytes(), Durability::Durable)?;
        Ok(true)
    }

    /// Keeps the files that could not be read beside the ones that replace them.
    pub fn keep_damaged(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let stamp = now.format("%Y%m%dT%H%M%S%3fZ");
        for path in [self.layout.state_yaml(), self.layout.budget_json()] {
            let mut name = path.clone().into_os_string();
            name.push(format!(".damaged-{stamp}"));
            let name = Path::new(&name);
            match document::read(&path) {
                Ok(Some(bytes)) => atomic::write(name, &bytes, Durability::Durable)?,
                Ok(None) => {}
                // Whatever it is that cannot be read as a file stands in the way of the one that is written next.
                Err(DocumentError::NotAFile { .. } | DocumentError::TooLarge { .. }) => {
                    atomic::move_aside(&path, name)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Cuts off what stands behind the ledger's last whole line, keeps it beside the ledger, and puts `lines` in its
    /// place. Gives the name under which the torn part is kept.
    pub fn mend_ledger(&self, tear: &Tear, lines: &[u8], now: DateTime<Utc>) -> Result<Option<PathBuf>, StoreError> {
        let path = self.layout.ledger();
        let kept = if tear.rest.is_empty() {
            None
        } else {
            let mut name = path.clone().into_os_string();
            name.push(format!(".torn-{}", now.format("%Y%m%dT%H%M%S%3fZ")));
            let name = PathBuf::from(name);
            atomic::write(&name, &tear.rest, Durability::Durable)?;
            Some(name)
        };
        if kept.is_some() || !lines.is_empty() {
            // At once: a ledger that only lost its torn end would be whole to whoever looks next.
            atomic::replace_end(&path, tear.head.length, lines)?;
        }
        Ok(kept)
    }
}

fn read_txn<D: Disk>(disk: &D, layout: &Layout) -> Result<Option<Transaction>, StoreError> {
    let path = layout.txn();
    let Some(bytes) = document::read_on(disk, &path)? else { return Ok(None) };
    let refuse = |why: String| StoreError::Transaction { path: path.clone(), why };
    match serde_json::from_slice::<Transaction>(&bytes) {
        Ok(mut txn) if txn.version == TRANSACTION_VERSION => {
            if txn.is_unbroken() {
                Ok(Some(txn))
            } else {
                Err(refuse("it is not as it was written".to_owned()))
            }
        }
        other => match version_of(&bytes) {
            Some(version) if version > u64::from(TRANSACTION_VERSION) => {
                Err(StoreError::Newer { path: path.clone(), version, known: TRANSACTION_VERSION })
            }
            _ => Err(refuse(
                other.map_or_else(|error| error.to_string(), |txn| format!("its version is {}", txn.version)),
            )),
        },
    }
}

/// Reads `state.yaml` by itself, whatever the budget and a transaction under way say.
pub fn read_state(layout: &Layout) -> Result<State, StoreError> {
    read_state_on(&Os, layout)
}

fn read_state_on<D: Disk>(disk: &D, layout: &Layout) -> Result<State, StoreError> {
    let path = layout.state_yaml();
    let gone = || Faults::one(None, "", "it is gone");
    let bytes = read_own(disk, &path)?.ok_or_else(|| StoreError::Corrupt { path: path.clone(), faults: gone() })?;
    decode_state(&path, &bytes)
}

/// Reads `budget.json` by itself.
pub fn read_budget(layout: &Layout) -> Result<Budget, StoreError> {
    load_budget(&Os, layout, None)
}

/// Reads one of the files that hold what is known; none where it does not exist. Something that is no file of ours,
/// such as a directory in its place, is damage.
fn read_own<D: Disk>(disk: &D, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    document::read_on(disk, path).map_err(|error| match error {
        DocumentError::NotAFile { .. } | DocumentError::TooLarge { .. } => {
            StoreError::Corrupt { path: path.to_owned(), faults: Faults::one(None, "", error.to_string()) }
        }
        other => other.into(),
    })
}

/// Puts the lines at their offset: what a holder that died has written of them already is written again.
fn extend_ledger<D: Disk>(disk: &D, path: &Path, offset: u64, lines: &[u8]) -> Result<(), StoreError> {
    let io = |source| StoreError::Ledger(LedgerError::Io { path: path.to_owned(), source });
    let mut file = ledger::open_to_write(disk, path)?;
    let length = disk.length(&file).map_err(io)?;
    if length < offset {
        return Err(foreign(path, SHORTER));
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut there = Vec::new();
    (&mut file).take(lines.len() as u64 + 1).read_to_end(&mut there).map_err(io)?;
    if !is_begun(&mut there, lines) {
        return Err(foreign(path, UNWRITTEN));
    }
    if there.len() < lines.len() {
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
        fault::write!("ledger.write", lines, |lines| file.write_all(lines)).map_err(io)?;
    }
    fault::point!("ledger.sync", path).and_then(|()| disk.sync_data(&file)).map_err(io)?;
    if offset == 0
        && let Some(parent) = path.parent()
    {
        fault::point!("ledger.folder-sync", path).map_err(io)?;
        disk.sync_folder(parent).map_err(io)?;
    }
    Ok(())
}

/// Whether what stands in the ledger is the beginning of these lines, as a holder that died may have left it; what it
/// has not written is taken away.
fn is_begun(there: &mut Vec<u8>, lines: &[u8]) -> bool {
    if there.len() <= lines.len() {
        // A power cut may leave the length of a write without its bytes.
        while there.pop_if(|byte| *byte == 0).is_some() {}
    }
    lines.starts_with(there)
}

const SHORTER: &str = "the file is shorter than it was when the transaction under way was decided";
const UNWRITTEN: &str = "the file holds lines that no transaction wrote";

fn foreign(path: &Path, why: &str) -> StoreError {
    let why = format!("{why}; compare it with the copies on refs/autometta/state");
    StoreError::Ledger(LedgerError::Broken { path: path.to_owned(), seq: 0, why })
}

/// `state.yaml` as text.
pub fn encode_state(layout: &Layout, state: &State) -> Result<String, StoreError> {
    Texts::default().encode(layout, state)
}

/// `budget.json` as text.
pub fn encode_budget(layout: &Layout, budget: &Budget) -> Result<String, StoreError> {
    document::to_json_pretty(budget)
        .map_err(|error| StoreError::Encode { path: layout.budget_json(), why: error.to_string() })
}

/// Reads a state from bytes, as `load` does from its file.
pub fn decode_state(path: &Path, bytes: &[u8]) -> Result<State, StoreError> {
    let faults = match document::from_yaml::<StateDoc>(bytes) {
        Ok(doc) => match doc.into_state() {
            Ok(state) => return Ok(state),
            Err(faults) => document::locate(bytes, faults),
        },
        Err(faults) => faults,
    };
    match version_of(bytes) {
        Some(1) => Err(StoreError::VersionOne { path: path.to_owned() }),
        Some(version) if version > u64::from(STATE_VERSION) => {
            Err(StoreError::Newer { path: path.to_owned(), version, known: STATE_VERSION })
        }
        _ => Err(StoreError::Corrupt { path: path.to_owned(), faults }),
    }
}

/// The version that a document claims, whatever else it holds.
fn version_of(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct Version {
        version: u64,
    }
    document::from_yaml::<Version>(bytes).ok().map(|doc| doc.version)
}

fn load_from<D: Disk>(
    disk: &D,
    layout: &Layout,
    state: Option<Vec<u8>>,
    budget: Option<Vec<u8>>,
) -> Result<(Loaded, Texts), StoreError> {
    let path = layout.state_yaml();
    let bytes = match state {
        Some(bytes) => bytes,
        None => match read_own(disk, &path)? {
            Some(bytes) => bytes,
            None if disk.exists(&layout.ledger()) || disk.exists(&layout.budget_json()) => {
                let faults = Faults::one(None, "", "it is gone, though this repository has a history");
                return Err(StoreError::Corrupt { path, faults });
            }
            None => return Err(StoreError::NotInitialised(path)),
        },
    };
    let (state, texts) = match twin::read(disk, layout, &bytes) {
        Some(known) => known,
        None => (decode_state(&path, &bytes)?, Texts::default()),
    };
    let budget = load_budget(disk, layout, budget)?;
    Ok((Loaded { state, budget }, texts))
}

fn load_budget<D: Disk>(disk: &D, layout: &Layout, bytes: Option<Vec<u8>>) -> Result<Budget, StoreError> {
    let path = layout.budget_json();
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => match read_own(disk, &path)? {
            Some(bytes) => bytes,
            None => {
                let faults = Faults::one(None, "", "it is gone; without it no spend is known");
                return Err(StoreError::Corrupt { path, faults });
            }
        },
    };
    decode_budget(&path, &bytes)
}

/// Reads a budget from bytes.
pub fn decode_budget(path: &Path, bytes: &[u8]) -> Result<Budget, StoreError> {
    document::from_json::<Budget>(bytes).map_err(|faults| match version_of(bytes) {
        Some(version) if version > u64::from(BUDGET_VERSION) => {
            StoreError::Newer { path: path.to_owned(), version, known: BUDGET_VERSION }
        }
        _ => StoreError::Corrupt { path: path.to_owned(), faults },
    })
}

/// A stage that was archived; none where there is none of that name.
pub fn archived(layout: &Layout, id: &StageId) -> Result<Option<Stage>, StoreError> {
    let path = layout.archived(id);
    let Some(bytes) = read_own(&Os, &path)? else { return Ok(None) };
    let read = document::from_yaml::<StageDoc>(&bytes).and_then(StageDoc::into_archived);
    match read {
        Ok(stage) if stage.id == *id => Ok(Some(stage)),
        Ok(stage) => {
            let faults = Faults::one(None, "/id", format!("`{}` is not the stage of this file", stage.id));
            Err(StoreError::Corrupt { path, faults })
        }
        Err(faults) => Err(StoreError::Corrupt { path, faults }),
    }
}

/// Where the ledger of this repository ends.
pub fn ledger_head(layout: &Layout) -> Result<Head, StoreError> {
    Ok(ledger::head(&layout.ledger())?)
}
