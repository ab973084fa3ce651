//! What was seen before a launch: providers that do not answer and quota that is kept back put their families off.
//! Nothing is charged for it, and every other family goes on. A sleep of the machine is told here too.

use super::turn::Turn;
use crate::core::budget::{Deferral, DeferralCause};
use crate::core::ids::FamilyName;
use crate::core::policy::Policy;
use crate::core::quantity::Seconds;
use crate::core::state::{Life, State};
use crate::core::weather::{Weather, patience};

/// Takes in what was seen of each family that was asked about. A family that nobody asked about stays as it was.
pub(super) fn take(turn: &mut Turn) {
    let now = turn.now;
    turn.budget.forget_deferrals(now);
    let seen = turn.seen;
    for (family, weather) in &seen.weather {
        match weather {
            Weather::Fair => end(turn, family, DeferralCause::Offline, "may be asked again"),
            Weather::Offline(why) => offline(turn, family, why),
        }
    }
    for (family, reading) in &seen.quota {
        let (reserve, changes) = turn.policy.local.reserve(family, now);
        let bounds = (Policy::SHORTEST_PAUSE, Policy::LONGEST_PAUSE);
        match reading.as_ref().and_then(|reading| reading.held(reserve, changes, now, bounds)) {
            None => end(turn, family, DeferralCause::Quota, "has quota again"),
            Some(held) => {
                let known = turn.budget.deferral(family, DeferralCause::Quota);
                // An end that moves away with the clock is no news.
                let same =
                    |known: &Deferral| known.until > now && known.until <= held.until && known.reason == held.why;
                if known.is_some_and(same) {
                    continue;
                }
                let is_news = known.is_none();
                let since = known.map_or(now, |known| known.since);
                if is_news {
                    let until = held.until.format("%Y-%m-%d %H:%M:%S UTC");
                    turn.note_all("quota-held", format!("{family}: {}; held until {until}", held.why));
                }
                turn.budget.defer(Deferral {
                    family: family.clone(),
                    cause: DeferralCause::Quota,
                    since,
                    until: held.until,
                    reason: held.why,
                });
            }
        }
    }
}

/// Tells, once, of a sleep in which something waited or was under way.
pub(super) fn tell_sleep(turn: &mut Turn, state: &mut State) {
    let Some(slept) = &turn.seen.slept else { return };
    let waits = state.stages.iter().any(|stage| !matches!(stage.life, Life::Over(_)));
    if !waits || slept.is_told(state.slept.as_ref()) {
        return;
    }
    state.slept = Some(slept.clone());
    let (from, until) = (slept.from.format("%Y-%m-%d %H:%M:%S"), slept.until.format("%H:%M:%S UTC"));
    let detail =
        format!("the machine slept {} between {from} and {until}; no run's time went on meanwhile", slept.seconds);
    turn.note_all("slept", detail);
}

fn offline(turn: &mut Turn, family: &FamilyName, why: &str) {
    let now = turn.now;
    let known = turn.budget.deferral(family, DeferralCause::Offline);
    if known.is_some_and(|known| known.until > now) {
        return;
    }
    let since = known.map_or(now, |known| known.since);
    let until = now + patience(since, now);
    if known.is_none() {
        let detail = format!("{family}: {why}; no attempt is used up, and it is asked again until it answers");
        turn.note_all("offline", detail);
    }
    let reason = why.to_owned();
    turn.budget.defer(Deferral { family: family.clone(), cause: DeferralCause::Offline, since, until, reason });
}

fn end(turn: &mut Turn, family: &FamilyName, cause: DeferralCause, what: &str) {
    if let Some(over) = turn.budget.undefer(family, cause) {
        let took = turn.now.signed_duration_since(over.since).num_seconds();
        let took = Seconds(u64::try_from(took).unwrap_or_default());
        let event = match cause {
            DeferralCause::Offline => "online",
            DeferralCause::Quota => "quota-free",
        };
        turn.note_all(event, format!("{family} {what}, after {took}"));
    }
}
