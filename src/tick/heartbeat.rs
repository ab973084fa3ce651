//! `heartbeat.json`: what the last tick saw. It is the only thing that an idle tick writes.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::ids::RunId;
use crate::core::observation::{Observation, Sighting, Watched};
use crate::core::quantity::Seconds;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::layout::Layout;
use crate::files::store::Loaded;

use super::counts::Counted;
use super::error::TickError;
use super::site::Site;

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// When the tick ran.
    pub at: DateTime<Utc>,
    /// Seconds since the tick before; below zero when the calendar was set back.
    pub gap_seconds: Option<i64>,
    /// Idle ticks since the last one that changed something; folded into the counters by the next that does.
    pub idle_ticks: u64,
    /// The runs in flight.
    pub agents: Vec<Agent>,
    /// How the repository stands.
    #[serde(default)]
    pub counted: Option<Counted>,
}

/// One run in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// The run.
    pub run_id: RunId,
    /// Whether it is alive.
    pub alive: bool,
    /// Whether its supervisor lives.
    pub supervised: bool,
    /// How long it has run.
    pub elapsed_seconds: Option<Seconds>,
    /// How long it may run.
    pub allowed_seconds: Seconds,
    /// How long it has printed nothing.
    pub silent_seconds: Option<Seconds>,
    /// Whether it is over its wall-clock cap.
    pub over_budget: bool,
}

/// The last heartbeat; none where there is none that can be read.
pub fn read(site: &Site) -> Option<Heartbeat> {
    of(&site.layout)
}

/// The same, by where the state stands.
pub fn of(layout: &Layout) -> Option<Heartbeat> {
    let bytes = document::read(&layout.heartbeat()).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Writes the heartbeat of this tick.
pub fn write(
    site: &Site,
    loaded: &Loaded,
    seen: &Observation,
    before: Option<&Heartbeat>,
    idle_ticks: u64,
    now: DateTime<Utc>,
) -> Result<(), TickError> {
    let agents = loaded.state.flights().map(|(_, flight)| {
        let (alive, supervised, elapsed, silent) = match seen.runs.get(&flight.run) {
            Some(Sighting::Running(pulse)) => {
                (true, pulse.watched == Watched::BySupervisor, pulse.elapsed, pulse.silent_for)
            }
            _ => (false, false, None, None),
        };
        Agent {
            run_id: flight.run.clone(),
            alive,
            supervised,
            elapsed_seconds: elapsed,
            allowed_seconds: flight.reserved.seconds,
            silent_seconds: silent,
            over_budget: elapsed.is_some_and(|elapsed| elapsed > flight.reserved.seconds),
        }
    });
    let heartbeat = Heartbeat {
        at: now,
        gap_seconds: before.map(|before| now.signed_duration_since(before.at).num_seconds()),
        idle_ticks,
        agents: agents.collect(),
        counted: Some(Counted::now(&site.layout, loaded, now)),
    };
    let text = document::to_json_pretty(&heartbeat).map_err(|error| TickError::Prompt(error.to_string()))?;
    Ok(atomic::write(&site.layout.heartbeat(), text.as_bytes(), Durability::Volatile)?)
}
