//! `heartbeat.json`: what the last tick saw. It is the only thing that an idle tick writes.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::ids::RunId;
use crate::core::observation::{Observation, Sighting, Watched};
use crate::core::quantity::Seconds;
use crate::core::sleep::{Asleep, Slept};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::layout::Layout;
use crate::files::store::Loaded;
use crate::runs;

use super::clock;
use super::controllers::{self, Controller};
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
    /// How much of that the machine slept. The rest of a long gap it was off, or its timer did not fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slept_seconds: Option<Seconds>,
    /// How long this boot of the machine has slept in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asleep: Option<Asleep>,
    /// Idle ticks since the last one that changed something; folded into the counters by the next that does.
    pub idle_ticks: u64,
    /// When the room that the past takes is looked at next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_at: Option<DateTime<Utc>>,
    /// The runs in flight.
    pub agents: Vec<Agent>,
    /// How the repository stands.
    #[serde(default)]
    pub counted: Option<Counted>,
    /// The homes whose ticks have run within a day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<Controller>,
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

/// How long this boot has slept in all. The boot's name is looked up only where that has changed since the last tick.
pub fn asleep(before: Option<&Heartbeat>) -> Asleep {
    let seconds = Seconds(runs::readings().asleep().0.saturating_add(clock::sleep_offset().0));
    match before.and_then(|before| before.asleep.as_ref()) {
        // Both clocks are rounded to full seconds.
        Some(known) if known.seconds.0.abs_diff(seconds.0) <= 1 => known.clone(),
        _ => Asleep { boot_id: runs::boot_id(), seconds },
    }
}

/// What is to be told of a sleep since the last tick.
pub fn slept(before: Option<&Heartbeat>, asleep: &Asleep, now: DateTime<Utc>) -> Option<Slept> {
    let before = before?;
    Slept::between(Some((before.asleep.as_ref()?, before.at)), asleep, now)
}

/// What a tick knows besides what it has seen.
#[derive(Debug, Clone)]
pub struct Told {
    /// How long this boot has slept in all.
    pub asleep: Asleep,
    /// Idle ticks since the last one that changed something.
    pub idle_ticks: u64,
    /// When the room that the past takes is looked at next.
    pub keep_at: DateTime<Utc>,
}

/// Writes the heartbeat of a tick that found its repository at rest, as the tick before did, and gives what it has to say
/// of other homes.
pub fn again(site: &Site, before: Heartbeat, asleep: Asleep, now: DateTime<Utc>) -> Result<Option<String>, TickError> {
    let (controllers, says) = controllers::after(&before.controllers, site.home.path(), &site.root, now);
    let heartbeat = Heartbeat {
        at: now,
        gap_seconds: Some(now.signed_duration_since(before.at).num_seconds()),
        slept_seconds: slept_since(Some(&before), &asleep),
        asleep: Some(asleep),
        idle_ticks: before.idle_ticks + 1,
        controllers,
        ..before
    };
    put(site, &heartbeat)?;
    Ok(says)
}

fn slept_since(before: Option<&Heartbeat>, asleep: &Asleep) -> Option<Seconds> {
    let known = before?.asleep.as_ref()?;
    Some(asleep.since(Some(known))).filter(|slept| slept.0 > 0)
}

fn put(site: &Site, heartbeat: &Heartbeat) -> Result<(), TickError> {
    let text = document::to_json_pretty(heartbeat).map_err(|error| TickError::Prompt(error.to_string()))?;
    Ok(atomic::write(&site.layout.heartbeat(), text.as_bytes(), Durability::Volatile)?)
}

/// Writes the heartbeat of this tick, and gives what it has to say of other homes.
pub fn write(
    site: &Site,
    loaded: &Loaded,
    seen: &Observation,
    before: Option<&Heartbeat>,
    told: Told,
    now: DateTime<Utc>,
) -> Result<Option<String>, TickError> {
    let Told { asleep, idle_ticks, keep_at } = told;
    let known = before.map_or(&[][..], |before| &before.controllers);
    let (controllers, says) = controllers::after(known, site.home.path(), &site.root, now);
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
        slept_seconds: slept_since(before, &asleep),
        asleep: Some(asleep),
        idle_ticks,
        keep_at: Some(keep_at),
        agents: agents.collect(),
        counted: Some(Counted::now(&site.layout, loaded, now)),
        controllers,
    };
    put(site, &heartbeat)?;
    Ok(says)
}
