//! Where everything stands below a repository's state directory. The names are a contract.

use std::path::{Path, PathBuf};

use crate::core::ids::{FamilyName, RunId, StageId};
use crate::core::notice::NoticeKey;

/// The paths of one repository's state.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The repository's root.
    repo: PathBuf,
    /// Its state directory.
    state: PathBuf,
}

impl Layout {
    /// The layout of a repository whose state directory has this name below its root.
    pub fn new(repo: &Path, state_dir: &str) -> Self {
        Self { repo: repo.to_owned(), state: repo.join(state_dir) }
    }

    /// The repository's root.
    pub fn repo(&self) -> &Path {
        &self.repo
    }

    /// The state directory.
    pub fn dir(&self) -> &Path {
        &self.state
    }

    /// `state.yaml`
    pub fn state_yaml(&self) -> PathBuf {
        self.state.join("state.yaml")
    }

    /// The same state in a form that is quick to read.
    pub fn state_twin(&self) -> PathBuf {
        self.state.join(".state.json")
    }

    /// The version 1 state that was carried over.
    pub fn state_v1(&self) -> PathBuf {
        self.state.join("state.v1.yaml")
    }

    /// The version 1 budget that was carried over.
    pub fn budget_v1(&self) -> PathBuf {
        self.state.join("budget.v1.json")
    }

    /// `budget.json`
    pub fn budget_json(&self) -> PathBuf {
        self.state.join("budget.json")
    }

    /// `ledger.jsonl`
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger.jsonl")
    }

    /// The journal's segments.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// A part of the journal, by the sha256 of its bytes.
    pub fn journal_part(&self, sha256: &str) -> PathBuf {
        self.journal().join("parts").join(sha256)
    }

    /// The transaction under way.
    pub fn txn(&self) -> PathBuf {
        self.state.join(".txn.json")
    }

    /// The lock that a tick holds.
    pub fn tick_lock(&self) -> PathBuf {
        self.state.join(".tick.lock")
    }

    /// The mark of a tick that found the lock held: whoever holds it looks once more.
    pub fn tick_again(&self) -> PathBuf {
        self.state.join(".tick.again")
    }

    /// The mark of a tick that does something: whoever finds it while nobody ticks knows that one died doing so.
    pub fn tick_busy(&self) -> PathBuf {
        self.state.join(".tick.busy")
    }

    /// What is known of the room that past runs take.
    pub fn keep(&self) -> PathBuf {
        self.state.join("keep.json")
    }

    /// The lock that the process holds that waits for a known time.
    pub fn wake_lock(&self) -> PathBuf {
        self.state.join(".wake.lock")
    }

    /// The time that it waits for.
    pub fn wake(&self) -> PathBuf {
        self.state.join("wake")
    }

    /// What the last tick saw.
    pub fn heartbeat(&self) -> PathBuf {
        self.state.join("heartbeat.json")
    }

    /// The pinned bytes of a card.
    pub fn pinned_card(&self, sha256: &str) -> PathBuf {
        self.state.join("cards").join(format!("{sha256}.md"))
    }

    /// All run directories.
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// A run's directory.
    pub fn run(&self, run: &RunId) -> PathBuf {
        self.runs().join(run.to_string())
    }

    /// A stage's published handoff.
    pub fn handoff(&self, stage: &StageId) -> PathBuf {
        self.state.join("handoffs").join(format!("{stage}.json"))
    }

    /// A stage's published verdict; a panel's seats get a file each.
    pub fn verdict(&self, stage: &StageId, seat: Option<u32>) -> PathBuf {
        let name = seat.map_or_else(|| format!("{stage}.json"), |seat| format!("{stage}.seat-{seat}.json"));
        self.state.join("verifiers").join(name)
    }

    /// A stage's question.
    pub fn question(&self, stage: &StageId) -> PathBuf {
        self.state.join("questions").join(format!("{stage}.json"))
    }

    /// A stage's answer.
    pub fn answer(&self, stage: &StageId) -> PathBuf {
        self.state.join("answers").join(format!("{stage}.md"))
    }

    /// What the operator is told: a notice as it is to be told.
    pub fn notice(&self, key: &NoticeKey) -> PathBuf {
        self.notices().join(format!("{key}.json"))
    }

    /// The mark of a notice that was taken up, with what came of it.
    pub fn notice_taken(&self, key: &NoticeKey) -> PathBuf {
        self.notices().join(format!("{key}.taken"))
    }

    /// All notices.
    pub fn notices(&self) -> PathBuf {
        self.state.join("notices")
    }

    /// A round of a stage that was queued again since, archived under the number of its last attempt.
    pub fn archived_round(&self, stage: &StageId, attempt: u32) -> PathBuf {
        self.state.join("archive").join("rounds").join(format!("{stage}.{attempt}.yaml"))
    }

    /// A stage that is done with, archived.
    pub fn archived(&self, stage: &StageId) -> PathBuf {
        self.state.join("archive").join(format!("{stage}.yaml"))
    }

    /// What was last read of a family's quota.
    pub fn quota(&self, family: &FamilyName) -> PathBuf {
        self.state.join("quota").join(format!("{family}.json"))
    }

    /// The report of the newest night.
    pub fn report(&self) -> PathBuf {
        self.state.join("report.html")
    }

    /// The lock of whoever writes a snapshot, which the tick's lock is not held for.
    pub fn snapshot_lock(&self) -> PathBuf {
        self.state.join(".snapshot.lock")
    }

    /// Git's scratch: our own plain git directory and private index files.
    pub fn git_scratch(&self) -> PathBuf {
        self.state.join("git")
    }

    /// What git ignores here: everything but this file's neighbour README.
    pub fn gitignore(&self) -> PathBuf {
        self.state.join(".gitignore")
    }
}
