//! One repository's part in the fleet's day: what is left for it, from its look at the world to its commit under the
//! fleet's lock, and its own share on disk.
//!
//! A figure that rises is written before the repository's commit, one that falls after it: a crash in between leaves a
//! share that says too much, and the repository's next tick puts it right.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use crate::core::budget::{CapLine, FleetDay, Places, Unit, utc_midnight};
use crate::core::fleet::{DayClock, FleetCaps, Share, next_in_turn};
use crate::core::state::Life;
use crate::files::fleet::{self, Fleet, Shares};
use crate::files::store::Loaded;
use crate::runs;

use super::day;
use super::error::TickError;
use super::site::{FollowUp, Site};

/// How long a tick waits for that of another repository.
const PATIENCE: Duration = Duration::from_secs(20);

/// A repository's part in the fleet's day. Holds the fleet's lock, where it could be had.
#[derive(Debug)]
pub(super) struct Part {
    /// What is left for this repository.
    pub(super) day: FleetDay,
    repo: String,
    fleet: Option<Fleet>,
}

/// Takes part, where the fleet has caps and something of this repository may be dispatched or is in flight.
pub(super) fn join(site: &Site, loaded: &Loaded, now: DateTime<Utc>) -> Option<Part> {
    let repo = site.root.display().to_string();
    let caps = match concerned(site, loaded)? {
        Ok(caps) => caps,
        Err(fault) => return Some(Part { day: unknown(fault, None, now), repo, fleet: None }),
    };
    let shares = Shares::new(&site.home, &site.repo_id);
    match shares.lock(&site.home, PATIENCE) {
        Ok(Some(fleet)) => {
            let day = day_of(&caps, fleet.shares(), now);
            Some(Part { day, repo, fleet: Some(fleet) })
        }
        Ok(None) => {
            let path = fleet::lock_path(&site.home);
            let fault = format!("another tick holds {}; the next tick asks again", path.display());
            Some(Part { day: unknown(fault, Some(&caps), now), repo, fleet: None })
        }
        Err(error) => Some(Part { day: unknown(error.to_string(), Some(&caps), now), repo, fleet: None }),
    }
}

/// What is left for this repository, looked at without the lock: for those who only say what would be done.
pub(super) fn look(site: &Site, loaded: &Loaded, now: DateTime<Utc>) -> Option<FleetDay> {
    Some(match concerned(site, loaded)? {
        Ok(caps) => day_of(&caps, &Shares::new(&site.home, &site.repo_id), now),
        Err(fault) => unknown(fault, None, now),
    })
}

/// The caps of the fleet's day with what all repositories have of it; empty where the fleet has no caps.
pub(super) fn lines(site: &Site, loaded: &Loaded, now: DateTime<Utc>) -> Result<Vec<CapLine>, TickError> {
    let Some(caps) = fleet::caps(&site.home)? else { return Ok(Vec::new()) };
    let (began, _) = bounds(&caps, now);
    let mut shares = Shares::new(&site.home, &site.repo_id).others()?;
    shares.push(Share::of("", &loaded.state.stages, &loaded.budget, began));
    let today = |share: &&Share| share.day_began >= began;
    let mut lines = Vec::new();
    if let Some(cap) = caps.tokens_per_day {
        let spent = shares.iter().filter(today).map(|share| share.tokens_spent.0).sum();
        let reserved = shares.iter().map(|share| share.tokens_reserved.0).sum();
        lines.push(CapLine::new("fleet-tokens", Unit::Tokens, spent, reserved, Some(cap.0)));
    }
    if let Some(cap) = caps.cost_usd_per_day {
        let spent = shares.iter().filter(today).map(|share| share.cost_spent_usd.0).sum();
        let reserved = shares.iter().map(|share| share.cost_reserved_usd.0).sum();
        lines.push(CapLine::new("fleet-cost", Unit::MicroUsd, spent, reserved, Some(cap.0)));
    }
    if let Some(most) = caps.agents_at_once {
        let in_flight = shares.iter().fold(0_u64, |sum, share| sum.saturating_add(share.agents));
        lines.push(CapLine::new("fleet-agents", Unit::Count, 0, in_flight, Some(most)));
    }
    Ok(lines)
}

/// The caps that concern a repository; none where the fleet has none or nothing of the repository could ask.
fn concerned(site: &Site, loaded: &Loaded) -> Option<Result<FleetCaps, String>> {
    let is_over = loaded.state.stages.iter().all(|stage| matches!(stage.life, Life::Over(_)));
    if is_over && !Shares::new(&site.home, &site.repo_id).is_stale(&loaded.state.stages, &loaded.budget) {
        return None;
    }
    match fleet::caps(&site.home) {
        Ok(caps) => caps.map(Ok),
        Err(error) => Some(Err(error.to_string())),
    }
}

fn day_of(caps: &FleetCaps, shares: &Shares, now: DateTime<Utc>) -> FleetDay {
    let (began, ends) = bounds(caps, now);
    match shares.others() {
        Ok(others) => caps.left(&others, began, ends),
        Err(error) => {
            let fault = format!(
                "what the fleet has spent today is not known: {error}; the next tick of that file's repository writes it \
                 anew, or remove it where that repository is gone"
            );
            FleetDay { began, ends, ..unknown(fault, Some(caps), now) }
        }
    }
}

/// When the present day began, and when it ends.
fn bounds(caps: &FleetCaps, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let utc = utc_midnight(now);
    let tomorrow = utc + TimeDelta::days(1);
    match caps.day {
        DayClock::Utc => (utc, tomorrow),
        DayClock::Local => (day::local_midnight(now).unwrap_or(utc), day::next_local_midnight(now).unwrap_or(tomorrow)),
    }
}

/// Nothing is certain, so nothing is left.
fn unknown(fault: String, caps: Option<&FleetCaps>, now: DateTime<Utc>) -> FleetDay {
    let places = caps.and_then(|caps| caps.agents_at_once).map(|most| Places { most, left: 0 });
    FleetDay { began: now, ends: now, tokens: None, cost_usd: None, places, fault: Some(fault) }
}

impl Part {
    fn share(&self, loaded: &Loaded) -> Share {
        let (stages, budget) = (&loaded.state.stages, &loaded.budget);
        let share = Share::of(&self.repo, stages, budget, self.day.began);
        if self.day.places.is_some() { share.with_places(stages, budget) } else { share }
    }

    /// Before the budget is committed: what it has risen to is on disk.
    pub(super) fn before_commit(&self, next: &Loaded) -> Result<(), TickError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        let next = self.share(next);
        let known = fleet.shares().own();
        let more = known.as_ref().map_or_else(|| next.clone(), |known| next.or_more(known));
        if known.as_ref() != Some(&more) {
            fleet.write(&more)?;
        }
        Ok(())
    }

    /// After it: what has fallen is on disk as well. What fails here only says too much. Where an agent has left its place,
    /// those who wait for one are woken: no end of a run of their own would do it.
    pub(super) fn after_commit(self, site: &Site, known: &Loaded) {
        let Some(fleet) = &self.fleet else { return };
        let share = self.share(known);
        let before = fleet.shares().own();
        if before.as_ref() != Some(&share)
            && let Err(error) = fleet.write(&share)
        {
            warn!(repo = %self.repo, "its share of the fleet's day says more than it has: {error}");
            return;
        }
        let has_left = before.is_some_and(|before| before.agents > share.agents);
        if !has_left || self.day.places.is_none() || site.follow_up == FollowUp::Nothing {
            return;
        }
        let others = fleet.shares().others().unwrap_or_default();
        // The lock goes first: they want it.
        drop(self.fleet);
        for repo in next_in_turn(&self.repo, &others).into_iter().map(Path::new) {
            if site.home.serves(repo)
                && let Err(error) = runs::start_tick(&site.exe, repo)
            {
                warn!(repo = %self.repo, "{} waits for its next tick: {error}", repo.display());
            }
        }
    }
}
