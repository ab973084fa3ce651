//! `budget`: every cap with its figures, and what the next dispatch would take. Only looks.

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::budget::{Budget, Sheet, Start, Window, utc_midnight};
use crate::core::fleet::agents;
use crate::core::ids::Role;
use crate::core::state::{Gating, Life, Reservation, Seat, Stage, Verifying};
use crate::core::step::{hold, order};
use crate::files::store::{self, Loaded};

use super::brief::{self, Pin};
use super::error::TickError;
use super::fire::belongs_here;
use super::site::Site;
use super::{clock, day, fleet};

/// The budget as it stands.
pub fn sheet(site: &Site) -> Result<Sheet, TickError> {
    let loaded = store::peek(&site.layout)?;
    belongs_here(site, &loaded)?;
    let now = clock::now();
    let budget = &loaded.budget;
    let mut sheet = budget.sheet(rolls_at(budget, now), now);
    match fleet::lines(site, &loaded, now) {
        Ok(lines) => sheet.caps.extend(lines),
        Err(error) => sheet.held = Some(error.to_string()),
    }
    if let Some((what, role, runs)) = next_ask(site, &loaded, now) {
        let (start, beyond) = (Start::of(&runs), Reservation::beyond(&loaded.state.stages));
        let in_flight = agents(&loaded.state.stages);
        let refuses = fleet::look(site, &loaded, now).and_then(|day| {
            let no_place = || day.refuses_agent(in_flight).filter(|_| role != Role::Gate);
            day.refuses(budget, &start.ask).or_else(no_place)
        });
        sheet.held = refuses.or(sheet.held);
        let midnight = day::local_midnight(now);
        sheet.next = Some(budget.asked(what, &start, &beyond, midnight, now));
    }
    Ok(sheet)
}

/// From when on the window may begin anew.
pub(super) fn rolls_at(budget: &Budget, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let began = budget.window_started_at?;
    match budget.window {
        Window::None => None,
        Window::UtcDay => Some(utc_midnight(now) + TimeDelta::days(1)),
        Window::LocalDay => day::next_local_midnight(now),
        Window::Rolling(hours) => {
            let first = budget.spend.iter().map(|bucket| bucket.from).find(|from| *from >= began);
            first.unwrap_or(began).checked_add_signed(TimeDelta::hours(i64::from(hours)) + TimeDelta::minutes(15))
        }
    }
}

/// What the next dispatch would set aside: stages under way first, then the first in the queue that nothing else holds.
fn next_ask(site: &Site, loaded: &Loaded, now: DateTime<Utc>) -> Option<(String, Role, Vec<Reservation>)> {
    let stages = &loaded.state.stages;
    let under_way = stages.iter().find_map(|stage| match &stage.life {
        Life::Gating(Gating { flight: None, .. }) => {
            let brief = of(site, stage)?;
            Some((format!("the gates of {}", stage.id), Role::Gate, vec![brief.gate_caps.unwrap_or_default()]))
        }
        Life::Verifying(verifying) => seats(site, &loaded.budget, stage, verifying),
        _ => None,
    });
    // A halt is what is asked about here, so it holds nothing back.
    let free = Budget { halted: false, ..loaded.budget.clone() };
    under_way.or_else(|| {
        order(stages).into_iter().map(|index| &stages[index]).find_map(|stage| {
            if hold(stages, stage, &free, &site.policy, now).is_some() {
                return None;
            }
            let brief = of(site, stage)?;
            let what = format!("{} for {}", brief.worker.identity.name(), stage.id);
            let caps = brief.reservation(&loaded.budget, &brief.worker.identity, Role::Worker, brief.worker_caps);
            Some((what, Role::Worker, vec![caps]))
        })
    })
}

fn seats(
    site: &Site,
    budget: &Budget,
    stage: &Stage,
    verifying: &Verifying,
) -> Option<(String, Role, Vec<Reservation>)> {
    let open = |seat: &&Seat| seat.flight.is_none() && seat.vote.is_none();
    let seats: Vec<&Seat> = verifying.seats.iter().filter(open).collect();
    if seats.is_empty() {
        return None;
    }
    let brief = of(site, stage)?;
    let caps = |seat: &&Seat| {
        let at = brief.verifiers.iter().position(|placed| placed.identity == seat.verifier)?;
        Some(brief.reservation(budget, &seat.verifier, Role::Verifier, *brief.verifier_caps.get(at)?))
    };
    let runs: Vec<Reservation> = seats.iter().map(caps).collect::<Option<_>>()?;
    Some((format!("the verifiers of {}", stage.id), Role::Verifier, runs))
}

fn of(site: &Site, stage: &Stage) -> Option<crate::core::observation::Brief> {
    brief::read(site, stage, Pin::No).ok()?.staffed_for(stage).ok()
}
