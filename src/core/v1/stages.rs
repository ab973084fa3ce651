//! The stages of a version 1 state.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::instant;
use crate::core::fault::Faults;
use crate::core::ids::{Identity, NameError, StageId};
use crate::core::quantity::Tokens;

/// One stage as version 1 writes it. Names are checked when they are carried over, so that all faults show at once.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
pub struct V1Stage {
    /// The stage id.
    pub id: String,
    /// `pending`, `in_progress`, `completed`, `failed`, `stalled`, `verifier_failed` or `superseded`.
    pub status: String,
    /// The identity of the worker.
    pub worker: String,
    /// The identity of the verifier.
    pub verifier: String,
    /// Paths that the stage changes.
    #[serde(default)]
    pub path_claims: Option<Vec<String>>,
    /// What must have happened before it starts.
    #[serde(default)]
    pub gate: Option<V1Gate>,
    /// Stages that must be completed before it starts.
    #[serde(default)]
    pub depends_on: Option<Vec<String>>,
    /// When its worker was started.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub completed_at: Option<String>,
    /// The process id of its worker.
    #[serde(default)]
    pub worker_pid: Option<i32>,
    /// The process id of its verifier.
    #[serde(default)]
    pub verifier_pid: Option<i32>,
    /// Verifier runs that gave no verdict.
    #[serde(default)]
    pub verifier_attempts: Option<u32>,
    /// Where its verdict was written.
    #[serde(default)]
    pub verifier_artefact: Option<String>,
    /// The branch that it starts from and lands on.
    #[serde(default)]
    pub base_branch: Option<String>,
    /// The commit that landed, often abbreviated.
    #[serde(default)]
    pub commit: Option<String>,
    /// Why it stalled, in the words of version 1.
    #[serde(default)]
    pub stall_marker: Option<String>,
    /// Tokens that its runs used.
    #[serde(default)]
    pub tokens: Option<u64>,
}

/// What a version 1 stage waits for.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct V1Gate {
    /// `stage_completed` or `queue_empty`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stage, for `stage_completed`.
    #[serde(default)]
    pub stage_id: Option<String>,
}

/// How far a carried stage has come. There is none in progress: see [`super::carry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarriedStatus {
    /// Waits for its turn.
    Pending,
    /// Landed.
    Completed,
    /// The worker gave up.
    Failed,
    /// A run ended without a usable result.
    Stalled,
    /// The verifier said no.
    VerifierFailed,
    /// Another stage took its place.
    Superseded,
}

/// Why a carried stage stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedReason {
    /// The kind of reason.
    pub code: ReasonCode,
    /// The words for a person.
    pub detail: String,
}

/// The kinds of reasons that a carry-over gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonCode {
    /// It was in progress under version 1 and starts afresh.
    InterruptedByUpgrade,
    /// Version 1 wrote this down.
    RecordedByVersion1,
}

impl ReasonCode {
    /// The code as it stands in the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InterruptedByUpgrade => "interrupted-by-upgrade",
            Self::RecordedByVersion1 => "recorded-by-version-1",
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One stage, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedStage {
    /// Its id.
    pub id: StageId,
    /// How far it has come.
    pub status: CarriedStatus,
    /// Why, where there is something to say.
    pub reason: Option<CarriedReason>,
    /// Who works.
    pub worker: Identity,
    /// Who judges.
    pub verifier: Identity,
    /// Paths that the stage changes.
    pub path_claims: Vec<String>,
    /// Stages that must be completed before, gates included; none twice.
    pub depends_on: Vec<StageId>,
    /// The branch that it starts from and lands on.
    pub base_branch: Option<String>,
    /// The commit that landed, as version 1 wrote it: at least 7 hexadecimal digits, often not all of them.
    pub commit: Option<String>,
    /// When its worker was started; none for a stage that starts afresh.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended; none for a stage that starts afresh.
    pub completed_at: Option<DateTime<Utc>>,
    /// Tokens that its runs used.
    pub tokens: Tokens,
}

/// All stages that could be read, and the processes to ask about.
pub(super) fn carry(stages: &[V1Stage], faults: &mut Faults) -> (Vec<CarriedStage>, Vec<(StageId, i32)>) {
    let mut carried: Vec<CarriedStage> = Vec::new();
    let mut pids = Vec::new();
    let mut seen = HashSet::new();
    for (index, stage) in stages.iter().enumerate() {
        let place = format!("/stages/{index}");
        if !seen.insert(stage.id.as_str()) {
            faults.add(None, format!("{place}/id"), format!("`{}` stands further up already", stage.id));
        }
        if let Some(stage_carried) = one(stage, &place, &stages[..index], faults) {
            if stage.status == "in_progress" {
                pids.extend(pids_of(stage).map(|(_, pid)| (stage_carried.id.clone(), pid)));
            }
            carried.push(stage_carried);
        }
    }
    (carried, pids)
}

fn one(stage: &V1Stage, place: &str, before: &[V1Stage], faults: &mut Faults) -> Option<CarriedStage> {
    let id: Option<StageId> = name(&stage.id, &format!("{place}/id"), faults);
    let worker = name(&stage.worker, &format!("{place}/worker"), faults);
    let verifier = name(&stage.verifier, &format!("{place}/verifier"), faults);
    let status = status(&stage.status, place, faults);
    let depends_on = dependencies(stage, place, before, faults);
    let started_at = instant(stage.started_at.as_deref(), &format!("{place}/started_at"), faults);
    let completed_at = instant(stage.completed_at.as_deref(), &format!("{place}/completed_at"), faults);
    let commit = commit(stage.commit.as_deref(), place, faults);
    let (status, afresh) = (status?, stage.status == "in_progress");
    Some(CarriedStage {
        id: id?,
        status,
        reason: reason(stage),
        worker: worker?,
        verifier: verifier?,
        path_claims: stage.path_claims.clone().unwrap_or_default(),
        depends_on,
        base_branch: stage.base_branch.clone().filter(|branch| !branch.is_empty()),
        commit,
        started_at: started_at.filter(|_| !afresh),
        completed_at: completed_at.filter(|_| !afresh),
        tokens: Tokens(stage.tokens.unwrap_or(0)),
    })
}

fn name<T: FromStr<Err = NameError>>(text: &str, place: &str, faults: &mut Faults) -> Option<T> {
    text.parse().map_err(|error: NameError| faults.add(None, place, error.to_string())).ok()
}

fn status(text: &str, place: &str, faults: &mut Faults) -> Option<CarriedStatus> {
    Some(match text {
        "pending" | "in_progress" => CarriedStatus::Pending,
        "completed" => CarriedStatus::Completed,
        "failed" => CarriedStatus::Failed,
        "stalled" => CarriedStatus::Stalled,
        "verifier_failed" => CarriedStatus::VerifierFailed,
        "superseded" => CarriedStatus::Superseded,
        other => {
            let known = "pending, in_progress, completed, failed, stalled, verifier_failed, superseded";
            faults.add(None, format!("{place}/status"), format!("`{other}` is not one of {known}"));
            return None;
        }
    })
}

/// `depends_on`, and what its gate amounts to.
fn dependencies(stage: &V1Stage, place: &str, before: &[V1Stage], faults: &mut Faults) -> Vec<StageId> {
    let mut ids: Vec<StageId> = Vec::new();
    let mut add = |text: &str, place: &str, faults: &mut Faults| {
        if text == stage.id {
            faults.add(None, place, "a stage cannot wait for itself");
        } else if let Some(id) = name(text, place, faults)
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    };
    for (index, id) in stage.depends_on.iter().flatten().enumerate() {
        add(id, &format!("{place}/depends_on/{index}"), faults);
    }
    match stage.gate.as_ref().map(|gate| (gate.kind.as_str(), gate.stage_id.as_deref())) {
        None => {}
        Some(("stage_completed", Some(id))) => add(id, &format!("{place}/gate/stage_id"), faults),
        Some(("stage_completed", None)) => {
            faults.add(None, format!("{place}/gate"), "`stage_id` is required for `stage_completed`");
        }
        // To version 1 a stage that ended badly no longer stood in the queue; as a dependency it would block for ever.
        // A bad id among them is reported at its own place.
        Some(("queue_empty", _)) => {
            for other in before {
                let stands = matches!(other.status.as_str(), "pending" | "in_progress" | "completed");
                if stands && other.id != stage.id && other.id.parse::<StageId>().is_ok() {
                    add(&other.id, place, faults);
                }
            }
        }
        Some((other, _)) => {
            let message = format!("`{other}` is not one of stage_completed, queue_empty");
            faults.add(None, format!("{place}/gate/type"), message);
        }
    }
    ids
}

fn commit(text: Option<&str>, place: &str, faults: &mut Faults) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    if (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Some(text.to_owned());
    }
    faults.add(None, format!("{place}/commit"), format!("`{text}` is not a commit: 7 to 64 hexadecimal digits"));
    None
}

/// The processes that the stage names. Nobody's agent has pid 1 or less; asking about those asks about something else.
fn pids_of(stage: &V1Stage) -> impl Iterator<Item = (&'static str, i32)> {
    [("worker", stage.worker_pid), ("verifier", stage.verifier_pid)]
        .into_iter()
        .filter_map(|(role, pid)| pid.filter(|pid| *pid > 1).map(|pid| (role, pid)))
}

fn reason(stage: &V1Stage) -> Option<CarriedReason> {
    let marker = stage.stall_marker.as_deref().map(str::trim).filter(|marker| !marker.is_empty());
    if stage.status != "in_progress" {
        return marker.map(|marker| CarriedReason { code: ReasonCode::RecordedByVersion1, detail: marker.to_owned() });
    }
    let since = stage.started_at.as_deref().filter(|text| !text.is_empty()).map(|text| format!(" since {text}"));
    let pids: Vec<String> = pids_of(stage).map(|(role, pid)| format!("{role} pid {pid}")).collect();
    let pids = (!pids.is_empty()).then(|| format!(" ({})", pids.join(", ")));
    let marker = marker.map(|marker| format!("; it noted: {marker}"));
    let parts = [since, pids, marker].map(Option::unwrap_or_default);
    let detail = format!("version 1 had it in progress{}", parts.concat());
    Some(CarriedReason { code: ReasonCode::InterruptedByUpgrade, detail })
}
