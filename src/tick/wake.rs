//! Waking: where no timer fires, a tick that leaves nothing in flight but something that waits for a known time starts a
//! process that waits for that time and then becomes a tick.
//!
//! There is one such process a repository: it holds `state/.wake.lock`. The time that is wanted stands in `state/wake`,
//! which it reads again each time it looks, so that an earlier time needs no second process. It compares the calendar
//! rather than count, because a machine may sleep. Whoever kills it loses nothing: the next tick starts another.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use crate::core::state::Life;
use crate::core::step::Hold;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::lock::{self, Lock};
use crate::files::store::Loaded;
use crate::runs::{self, RunError};

use super::clock;
use super::error::TickError;
use super::site::{FollowUp, Site, held};

/// Nobody waits for what is further away; a person or a timer comes by before.
const FURTHEST: TimeDelta = TimeDelta::hours(12);
/// How often the calendar and the wanted time are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How late after the time it wakes, so that what ends at that time has ended.
const LATE: TimeDelta = TimeDelta::milliseconds(20);

/// What a tick leaves to be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// This fire has moved something, so that what was wanted before may not be wanted any more.
    Moved,
    /// Nothing has happened.
    AsBefore,
}

/// Sees to it that somebody ticks once the next known time has come. Call it while holding the tick lock.
pub fn see_to(site: &Site, loaded: &Loaded, left: Left, now: DateTime<Utc>) -> Result<(), TickError> {
    if site.follow_up == FollowUp::Nothing {
        return Ok(());
    }
    let Some(until) = next_known_time(site, loaded, now) else {
        if left == Left::Moved {
            atomic::remove(&site.layout.wake())?;
        }
        return Ok(());
    };
    if site.home.timer_path().exists() {
        return Ok(());
    }
    let text = until.to_rfc3339();
    if document::read(&site.layout.wake())?.as_deref() != Some(text.as_bytes()) {
        atomic::write(&site.layout.wake(), text.as_bytes(), Durability::Volatile)?;
    }
    if !lock::is_held(&site.layout.wake_lock()).map_err(RunError::from)? {
        runs::start_waiter(&site.exe, &site.root, &text)?;
    }
    Ok(())
}

/// When the first of the stages that only wait for a time may go on; none while something is in flight, whose end starts
/// the next tick, and none where that is far away.
fn next_known_time(site: &Site, loaded: &Loaded, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if loaded.budget.halted || loaded.state.flights().next().is_some() {
        return None;
    }
    let waits = loaded.budget.waits(now);
    // Whoever waits for a provider may be relieved by somebody of any other family that may be asked again.
    let provider = waits.iter().map(|pause| pause.until).min();
    let idle = waits.is_empty() && site.policy.local.curfew.is_empty();
    let later = |at: Option<DateTime<Utc>>| at.filter(|at| *at > now);
    let times = loaded.state.stages.iter().filter_map(|stage| match &stage.life {
        Life::Pending(pending) if idle && later(pending.not_before).or(later(stage.wait.not_before)).is_none() => None,
        Life::Pending(_) => match held(site, loaded, stage, now)? {
            Hold::Paused(..) | Hold::Deferred(..) => provider,
            other => other.until(),
        },
        Life::Gating(gating) => later(gating.not_before),
        Life::Verifying(verifying) => {
            let open = verifying.seats.iter().filter(|seat| seat.vote.is_none());
            let times = open.filter_map(|seat| {
                let paused = || site.paused(loaded, &seat.verifier, now).and(provider);
                later(seat.not_before).or_else(paused)
            });
            times.min()
        }
        Life::Over(_) => later(stage.repeats_at()),
        Life::Working(_) | Life::Landing(_) => None,
    });
    times.min().filter(|at| at.signed_duration_since(now) <= FURTHEST)
}

/// Waits until the wanted time of a repository has come and becomes its tick; ends at once where another waits already,
/// and soon after nothing is wanted any more. The whole life of the process that a tick started.
pub fn wait(site: &Site) -> Result<(), TickError> {
    let (path, mut lock) = (site.layout.wake(), take(site)?);
    loop {
        if lock.is_none() {
            return Ok(());
        }
        let Some(until) = wanted(&path)? else {
            // A tick that found the lock held until now counts on us.
            drop(lock.take());
            if wanted(&path)?.is_none() {
                return Ok(());
            }
            lock = take(site)?;
            continue;
        };
        match (until + LATE - clock::now()).to_std() {
            Ok(left) if !left.is_zero() => std::thread::sleep(left.min(LOOK)),
            _ => break,
        }
    }
    info!(repo = %site.root.display(), "the time that something waited for has come");
    atomic::remove(&site.layout.wake())?;
    // The lock is closed as this process becomes the tick, not before: that tick may want another to wait.
    let error = runs::become_tick(&site.exe, &site.root);
    drop(lock);
    Err(error.into())
}

fn take(site: &Site) -> Result<Option<Lock>, TickError> {
    Ok(Lock::try_exclusive(&site.layout.wake_lock()).map_err(RunError::from)?)
}

/// The time that stands in the file; none where there is none that can be read.
fn wanted(path: &Path) -> Result<Option<DateTime<Utc>>, TickError> {
    let Some(bytes) = document::read(path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    match DateTime::parse_from_rfc3339(text.trim()) {
        Ok(until) => Ok(Some(until.with_timezone(&Utc))),
        Err(error) => {
            warn!("{} holds no time: {error}", path.display());
            Ok(None)
        }
    }
}
