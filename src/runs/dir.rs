//! The directory of one run: the names of its files, and reading them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::RunError;
use crate::core::exit::{ExitRecord, Outbox};
use crate::core::ids::RunId;
use crate::core::run::{AgentStarted, CancelMarker, RunOrder, Started};
use crate::files::atomic::{self, Durability};

/// No document of a run is larger; gate records with many tails come nearest.
const DOCUMENT_LIMIT: u64 = 16 << 20;

/// The directory `state/runs/<run>/`.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    run_id: RunId,
}

impl RunDir {
    /// Takes the directory's absolute path; its name must be a run id.
    pub fn new(path: &Path) -> Result<Self, RunError> {
        let path = std::path::absolute(path).map_err(RunError::io("find", path))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.parse() {
            Ok(run_id) => Ok(Self { path, run_id }),
            Err(error) => Err(RunError::Unusable { why: error.to_string(), path }),
        }
    }

    /// The run that owns the directory.
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state directory around it.
    pub fn state(&self) -> &Path {
        self.path.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }

    /// The liveness lock.
    pub fn lock(&self) -> PathBuf {
        self.path.join("run.lock")
    }

    /// The program's standard output.
    pub fn stdout_log(&self) -> PathBuf {
        self.path.join("stdout.log")
    }

    /// The program's standard error.
    pub fn stderr_log(&self) -> PathBuf {
        self.path.join("stderr.log")
    }

    /// What the supervisor has to say about itself.
    pub fn supervisor_log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// The order.
    pub fn order_file(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// The claim.
    pub fn started_file(&self) -> PathBuf {
        self.path.join("started.json")
    }

    /// The program's process.
    pub fn agent_file(&self) -> PathBuf {
        self.path.join("agent.json")
    }

    /// The record of the end.
    pub fn exit_file(&self) -> PathBuf {
        self.path.join("exit.json")
    }

    /// The gates' results.
    pub fn gates_file(&self) -> PathBuf {
        self.path.join("gates.json")
    }

    /// The request to stop.
    pub fn cancel_file(&self) -> PathBuf {
        self.path.join("cancel")
    }

    /// Where the supervisor puts what the program handed in.
    pub fn outbox_file(&self, kind: Outbox) -> PathBuf {
        self.path.join("outbox").join(match kind {
            Outbox::Handoff => "handoff.json",
            Outbox::Verdict => "verdict.json",
        })
    }

    /// Reads the order, which must be this run's and possible.
    pub fn order(&self) -> Result<RunOrder, RunError> {
        let path = self.order_file();
        let order: RunOrder =
            read(&path)?.ok_or_else(|| RunError::io("read", &path)(io::Error::from(io::ErrorKind::NotFound)))?;
        let faults = order.check();
        if !faults.is_empty() {
            return Err(RunError::Order { path, faults });
        }
        self.own(&path, &order.run_id)?;
        Ok(order)
    }

    /// Reads the claim, if there is one.
    pub fn started(&self) -> Result<Option<Started>, RunError> {
        self.read_own(&self.started_file(), |started: &Started| &started.run_id)
    }

    /// Reads which process runs, if one was started.
    pub fn agent(&self) -> Result<Option<AgentStarted>, RunError> {
        self.read_own(&self.agent_file(), |agent: &AgentStarted| &agent.run_id)
    }

    /// Reads the record of the end, if there is one.
    pub fn exit(&self) -> Result<Option<ExitRecord>, RunError> {
        self.read_own(&self.exit_file(), |exit: &ExitRecord| &exit.run_id)
    }

    /// Reads the request to stop, if there is one.
    pub fn cancel(&self) -> Result<Option<CancelMarker>, RunError> {
        read(&self.cancel_file())
    }

    fn read_own<T: DeserializeOwned>(&self, path: &Path, id: impl Fn(&T) -> &RunId) -> Result<Option<T>, RunError> {
        let document = read(path)?;
        if let Some(document) = &document {
            self.own(path, id(document))?;
        }
        Ok(document)
    }

    /// Refuses a document of another run: it was left over or planted, and proves nothing about this one.
    fn own(&self, path: &Path, named: &RunId) -> Result<(), RunError> {
        if *named == self.run_id {
            return Ok(());
        }
        let why = format!("it is about the run {named}, and the directory belongs to {}", self.run_id);
        Err(RunError::Unusable { path: path.to_owned(), why })
    }
}

/// Writes a document of a run.
pub(super) fn write(path: &Path, document: &impl Serialize, durability: Durability) -> Result<(), RunError> {
    let unusable = |error: serde_json::Error| RunError::Unusable { path: path.to_owned(), why: error.to_string() };
    let mut bytes = serde_json::to_vec_pretty(document).map_err(unusable)?;
    bytes.push(b'\n');
    Ok(atomic::write(path, &bytes, durability)?)
}

/// Opens a log of a run for appending, making it with mode 0600.
pub(super) fn open_log(path: &Path) -> Result<File, RunError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)
        .map_err(RunError::io("open", path))
}

/// Reads a JSON document; none where the file does not exist.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RunError> {
    let file = match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(RunError::io("open", path))?,
    };
    let meta = file.metadata().map_err(RunError::io("look at", path))?;
    let unusable = |why: String| RunError::Unusable { path: path.to_owned(), why };
    if !meta.is_file() || meta.len() > DOCUMENT_LIMIT {
        return Err(unusable("it is not a file of a sensible size".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(DOCUMENT_LIMIT).read_to_end(&mut bytes).map_err(RunError::io("read", path))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| unusable(error.to_string()))
}
