//! Gathering all that is left of a stage: the queue or the archive, its runs' directories, its card, git.
//!
//! Anything of it may be gone, and what is gone is said, not guessed. Nothing is written.

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::cli::status::Hand;
use crate::core::exit::ExitRecord;
use crate::core::honesty::Report;
use crate::core::ids::{CommitId, FamilyName, Identity, Role, RunId, StageId};
use crate::core::run::{GateCommand, RunOrder};
use crate::core::state::PastRun;
use crate::core::state_doc::{StageDoc, Status};
use crate::files::document;
use crate::files::ledger::{self, Line, sha256_hex};
use crate::files::regular;
use crate::files::spent;
use crate::files::store::{self, Loaded};
use crate::git::Repo;
use crate::tick::{Site, TickError};

/// How many files a landing's summary names.
const STAT_FILES: usize = 20;
/// How many lines of the ledger are shown of a stage that only the ledger knows.
const TRACES: usize = 50;
/// The largest log whose end is quoted is read from this far before its end.
const TAIL_BYTES: u64 = 16 << 10;
/// How many lines of a log are quoted.
const TAIL_LINES: usize = 15;

/// What `show --json` prints.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Story {
    /// The stage.
    pub subject: StageId,
    /// Where it was found.
    pub found: Found,
    /// The stage as it stands in the queue or in the archive.
    #[serde(flatten)]
    pub stage: Option<StageDoc>,
    /// The card's file against the bytes that the stage works from.
    pub card_file: CardFile,
    /// What comes next, in words; empty for a stage that is not in the queue.
    pub next_step: String,
    /// When that is, where it is known.
    pub next_at: Option<DateTime<Utc>>,
    /// The command that a person has to say, where one is waited for.
    pub command: Option<String>,
    /// Who works on it.
    pub working: Vec<Hand>,
    /// Its runs, oldest first.
    pub records: Vec<Record>,
    /// What it asked.
    pub question: Option<String>,
    /// What was answered.
    pub answer: Option<String>,
    /// The commit that landed.
    pub landed: Option<Landed>,
    /// Branches that hold its work.
    pub branches: Vec<Branch>,
    /// What the ledger says of a stage that nothing else knows; the newest lines.
    pub ledger: Vec<Line>,
}

/// Where a stage was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// In `state.yaml`.
    Queue,
    /// In `state/archive/`.
    Archive,
    /// In run directories or the ledger only.
    Traces,
}

/// A card's file against what the stage works from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardFile {
    /// The same bytes.
    Same,
    /// Other bytes: it was edited since.
    Edited,
    /// The file is gone.
    Gone,
    /// No attempt has begun, so that nothing is compared.
    NotBegun,
}

/// One run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Record {
    /// Its id.
    pub run: RunId,
    /// Its line in the stage's history; none for a run in flight.
    pub past: Option<PastRun>,
    /// Who ran.
    pub identity: Option<Identity>,
    /// The family.
    pub family: Option<FamilyName>,
    /// The model that its identity stood for; none where none was called.
    pub model: Option<String>,
    /// Its directory; none where that is gone.
    pub dir: Option<PathBuf>,
    /// What made its checkout usable.
    pub setup: Option<GateCommand>,
    /// The record of its end.
    pub exit: Option<ExitRecord>,
    /// What it handed in, as it wrote it.
    pub outbox: Option<Value>,
    /// What its candidate has for a verifier to look at twice; for a worker that handed one in.
    pub flags: Option<Report>,
    /// The last lines on standard error of a run that failed, setup included.
    pub error_tail: Vec<String>,
}

/// A commit that landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Landed {
    /// Its id.
    pub commit: CommitId,
    /// Its first line; none where the repository does not have it any more.
    pub subject: Option<String>,
    /// What it changed, as `git diff --stat` shows it.
    pub stat: String,
}

/// A branch that holds work of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Its tip.
    pub commit: CommitId,
    /// The command that shows it.
    pub look: String,
}

/// Gathers all that is left of a stage; none where nothing is.
pub fn gather(site: &Site, loaded: &Loaded, id: &StageId) -> anyhow::Result<Option<Story>> {
    let live = loaded.state.stage(id).map(StageDoc::from);
    let (found, stage) = match live {
        Some(stage) => (Found::Queue, Some(stage)),
        None => match store::archived(&site.layout, id)? {
            Some(stage) => (Found::Archive, Some(StageDoc::from(&stage))),
            None => (Found::Traces, None),
        },
    };
    let mut runs: Vec<RunId> = match &stage {
        Some(stage) => {
            let past = stage.history.iter().map(|past| &past.run);
            past.chain(stage.runs.iter().map(|flight| &flight.run)).cloned().collect()
        }
        None => run_directories(site, id),
    };
    runs.dedup();
    let ledger = if found == Found::Traces { traces(site, id)? } else { Vec::new() };
    if found == Found::Traces && runs.is_empty() && ledger.is_empty() {
        return Ok(None);
    }
    let records = runs.into_iter().map(|run| record(site, stage.as_ref(), run)).collect::<Result<_, _>>()?;
    let repo = site.repo(None)?;
    let landed = match stage.as_ref().and_then(|stage| stage.commit.clone()) {
        Some(commit) => Some(landed(&repo, commit)?),
        None => None,
    };
    Ok(Some(Story {
        subject: id.clone(),
        found,
        card_file: stage.as_ref().map_or(Ok(CardFile::NotBegun), |stage| card_file(site, stage))?,
        next_step: String::new(),
        next_at: None,
        command: None,
        working: Vec::new(),
        records,
        question: question(site, id)?,
        answer: document::read(&site.layout.answer(id))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        landed,
        branches: stage.as_ref().map_or_else(|| Ok(Vec::new()), |stage| branches(site, &repo, stage))?,
        ledger,
        stage,
    }))
}

impl Story {
    /// Takes away what was not there yet at a moment: how runs ended that were in flight then, and what came of them.
    pub fn as_of(&mut self, at: DateTime<Utc>) {
        let Some(stage) = &self.stage else { return };
        for record in self.records.iter_mut().filter(|record| record.past.is_none()) {
            (record.exit, record.outbox, record.flags) = (None, None, None);
            record.error_tail.clear();
        }
        if stage.commit.is_none() {
            self.landed = None;
        }
        if stage.status != Status::Blocked {
            (self.question, self.answer) = (None, None);
        }
        self.branches.clear();
        self.ledger.retain(|line| line.at <= at);
    }
}

/// The runs of a stage by their directories, by attempt and name.
fn run_directories(site: &Site, id: &StageId) -> Vec<RunId> {
    let Ok(entries) = fs::read_dir(site.layout.runs()) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RunId>().ok());
    let mut runs: Vec<RunId> = names.filter(|run| run.stage == *id).collect();
    runs.sort_by_key(|run| (run.attempt, run.role, run.seat, run.retry));
    runs
}

/// The newest lines of the ledger about a stage.
fn traces(site: &Site, id: &StageId) -> anyhow::Result<Vec<Line>> {
    let mut lines = std::collections::VecDeque::new();
    ledger::walk(&site.layout.ledger(), |line| {
        if line.note.stage.as_ref() == Some(id) {
            lines.push_back(line);
        }
        if lines.len() > TRACES {
            lines.pop_front();
        }
    })?;
    Ok(lines.into())
}

fn record(site: &Site, stage: Option<&StageDoc>, run: RunId) -> Result<Record, TickError> {
    let dir = site.layout.run(&run);
    // A record that cannot be read is left out; that it was there shows in the directory, which is named.
    let json = |name: &str| document::read(&dir.join(name));
    let order: Option<RunOrder> = json("run.json")?.and_then(|bytes| document::from_json(bytes).ok());
    let exit: Option<ExitRecord> = json("exit.json")?.and_then(|bytes| document::from_json(bytes).ok());
    let outbox = match run.role {
        Role::Worker => json("outbox/handoff.json")?,
        Role::Verifier => json("outbox/verdict.json")?,
        Role::Gate => None,
    };
    let past = stage.and_then(|stage| stage.history.iter().find(|past| past.run == run)).cloned();
    let flight = stage.and_then(|stage| stage.runs.iter().find(|flight| flight.run == run));
    let identity = past.as_ref().and_then(|past| past.identity.clone());
    let identity = identity.or_else(|| flight.and_then(|flight| flight.identity.clone()));
    let has_failed = exit.as_ref().is_some_and(|exit| exit.exit != crate::core::exit::ProcessEnd::Code(0));
    Ok(Record {
        past,
        identity: identity.or_else(|| order.as_ref().and_then(|order| order.identity.clone())),
        family: order.as_ref().and_then(|order| order.family.clone()),
        model: order.as_ref().and_then(|order| order.model.clone()),
        setup: order.and_then(|order| order.setup),
        error_tail: if has_failed && run.role != Role::Gate { tail(&dir.join("stderr.log")) } else { Vec::new() },
        exit,
        outbox: outbox.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        flags: json("flags.json")?.and_then(|bytes| document::from_json(bytes).ok()),
        dir: dir.is_dir().then_some(dir),
        run,
    })
}

/// The last lines of a log; nothing where there is none.
fn tail(path: &std::path::Path) -> Vec<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let Ok(Some(mut file)) = regular::open(path) else { return packed_tail(path) };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The end of a log that was compressed.
fn packed_tail(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let Some(mut log) = spent::open_packed(path)? else { return Ok(Vec::new()) };
    let room = usize::try_from(TAIL_BYTES).unwrap_or(usize::MAX);
    let (mut end, mut part) = (Vec::new(), vec![0; room]);
    loop {
        let read = log.read(&mut part)?;
        if read == 0 {
            return Ok(end);
        }
        end.extend_from_slice(&part[..read]);
        end.drain(..end.len().saturating_sub(room));
    }
}

fn card_file(site: &Site, stage: &StageDoc) -> Result<CardFile, TickError> {
    let bytes = document::read(&site.root.join(&stage.card))?;
    Ok(match (bytes, &stage.card_sha256) {
        (None, _) => CardFile::Gone,
        (Some(_), None) => CardFile::NotBegun,
        (Some(bytes), Some(sha256)) if sha256_hex(&bytes) == *sha256 => CardFile::Same,
        (Some(_), Some(_)) => CardFile::Edited,
    })
}

fn question(site: &Site, id: &StageId) -> Result<Option<String>, TickError> {
    let bytes = document::read(&site.layout.question(id))?;
    let value: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(value.and_then(|value| value.get("question")?.as_str().map(str::to_owned)))
}

fn landed(repo: &Repo, commit: CommitId) -> Result<Landed, TickError> {
    let Some(described) = repo.describe(&commit)? else {
        return Ok(Landed { commit, subject: None, stat: String::new() });
    };
    let stat = match described.parents.first() {
        Some(parent) => repo.diff_stat(parent, &commit, STAT_FILES)?,
        None => String::new(),
    };
    Ok(Landed { commit, subject: Some(described.subject), stat })
}

/// The branches that still hold work of this stage: its run branch, and what was kept of attempts that failed.
fn branches(site: &Site, repo: &Repo, stage: &StageDoc) -> Result<Vec<Branch>, TickError> {
    let mut names = vec![format!("autometta/{}", stage.id)];
    for past in stage.history.iter().filter(|past| past.run.role == Role::Worker) {
        names.push(past.run.kept_branch());
    }
    let mut branches = Vec::new();
    for name in names {
        if let Some(commit) = repo.tip(&name)? {
            let look = format!("git -C '{}' diff {}...{name}", site.root.display(), stage.base_branch);
            branches.push(Branch { name, commit, look });
        }
    }
    Ok(branches)
}
