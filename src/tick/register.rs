//! Registering an agent that a person starts by hand: its order, and its launch under the ordinary supervisor.
//!
//! Such a run never enters the state: nothing is reserved or charged for it, and no tick decides anything about it.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::exit::ExitRecord;
use crate::core::family::DecoderKind;
use crate::core::ids::{Identity, Role, RunId, StageId};
use crate::core::quantity::Seconds;
use crate::core::run::{
    Caps, EnvEntry, EnvSource, ModelUse, ProcessStamp, Program, RUN_ORDER_VERSION, RUN_VARIABLE, RunOrder,
    TOKEN_VARIABLE,
};
use crate::core::state::Reservation;
use crate::families;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::runs::{self, Launched};

use super::error::TickError;
use super::site::Site;

/// How long an agent has between TERM and KILL.
const GRACE: Seconds = Seconds(5);

/// What a person wants registered.
#[derive(Debug, Clone)]
pub struct ByHand {
    /// For which stage; it need not be queued.
    pub stage: StageId,
    /// What it does.
    pub role: Role,
    /// Who it is, where that is known; its family then reads the output.
    pub identity: Option<Identity>,
    /// What runs.
    pub what: What,
    /// Where it works.
    pub cwd: PathBuf,
    /// The names of the variables that it gets, with the values that this process has.
    pub variables: Vec<String>,
    /// When it is stopped at the latest.
    pub wall_clock: Seconds,
}

/// What runs.
#[derive(Debug, Clone)]
pub enum What {
    /// A command, started now.
    Command(Vec<String>),
    /// A process that runs already.
    Process(ProcessStamp),
}

/// How a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Came {
    /// The run has ended, and says how.
    Ended,
    /// The run is gone without a record.
    Lost,
    /// The run's output stands still.
    Stalled,
}

/// What `watch --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// The run.
    pub run_id: RunId,
    /// What became of it.
    pub came: Came,
    /// How long it has printed nothing, where it stands still.
    pub silent_seconds: Option<Seconds>,
    /// Its record, where it has ended.
    pub exit: Option<ExitRecord>,
}

/// Registers and starts it. Gives its run, which `watch` waits for.
pub fn register(site: &Site, by_hand: ByHand, now: DateTime<Utc>) -> Result<RunId, TickError> {
    let repo = site.repo(None)?;
    let base = site.base_branch()?;
    let no_commit = || TickError::Prompt(format!("the branch {base} has no commit yet; a run has to begin somewhere"));
    let base_commit = repo.tip(&base)?.ok_or_else(no_commit)?;
    let (run, dir) = runs::new_manual(site.layout.dir(), &by_hand.stage, by_hand.role)?;
    let family = by_hand.identity.as_ref().and_then(|identity| site.families.of(identity));
    let (argv, watched) = match by_hand.what {
        What::Command(argv) => (argv, None),
        What::Process(stamp) => {
            let exe = site.exe.to_string_lossy().into_owned();
            (vec![exe, "__await".to_owned(), stamp.pid.to_string(), stamp.start.clone()], Some(stamp))
        }
    };
    // What only waits for a process prints nothing that a family could read.
    let reads = family.filter(|_| watched.is_none());
    let calls = |spec: &families::FamilySpec| spec.model_use == families::ModelUse::Calls;
    let variable = |name: String| EnvEntry { name, source: EnvSource::Parent };
    let ours = |name: &String| name == RUN_VARIABLE || name == TOKEN_VARIABLE;
    let model = by_hand.identity.as_ref().zip(family).and_then(|(who, spec)| spec.resolve(who).ok());
    let order = RunOrder {
        version: RUN_ORDER_VERSION,
        run_id: run.clone(),
        family: family.map(|spec| spec.name.clone()),
        rates: model.as_ref().map(|model| site.families.rates().of(model, now.date_naive())),
        model,
        identity: by_hand.identity,
        cli_version: None,
        prompt_sha256: None,
        cwd: by_hand.cwd,
        setup: None,
        program: Program::Agent { argv, stdin: None },
        env: by_hand.variables.into_iter().filter(|name| !ours(name)).map(variable).collect(),
        caps: Caps {
            wall_clock_seconds: by_hand.wall_clock,
            tokens: None,
            cost_usd: None,
            output_bytes: site.manifest.defaults.output_limit_mb.saturating_mul(1_000_000),
            silence_seconds: None,
        },
        grace_seconds: GRACE,
        patience_seconds: site.manifest.retry.patience.seconds(),
        disk_floor_bytes: site.manifest.defaults.disk_floor_mb.saturating_mul(1_000_000),
        decoder: reads.map_or(DecoderKind::Plain, |spec| spec.decoder),
        uses_model: if reads.is_some_and(calls) { ModelUse::Model } else { ModelUse::None },
        outbox: None,
        login: None,
        verdict_schema: None,
        card_sha256: String::new(),
        base_commit,
        candidate_tree: None,
        reserved: Reservation::default(),
        // No tick has anything to decide when it ends.
        pulse: Vec::new(),
        repo: site.root.clone(),
        watched,
        created_at: now,
    };
    let text = document::to_json_pretty(&order).map_err(|error| TickError::Prompt(error.to_string()))?;
    atomic::write(&dir.join("run.json"), text.as_bytes(), Durability::Durable)?;
    match runs::launch(&dir, &site.exe)? {
        Launched::CouldNotStart(why) => Err(TickError::Prompt(format!("{run} could not start: {why}"))),
        _ => Ok(run),
    }
}
