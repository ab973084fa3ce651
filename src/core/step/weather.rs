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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, TimeDelta, Utc};

    use crate::core::budget::{Budget, DeferralCause};
    use crate::core::observation::Observation;
    use crate::core::policy::Policy;
    use crate::core::quota::{Reading, Window};
    use crate::core::state::State;
    use crate::core::step::{Step, step};
    use crate::core::weather::Weather;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn seen(weather: Weather) -> Observation {
        let weather = BTreeMap::from([("claude".parse().expect("family"), weather)]);
        Observation { weather, ..Observation::default() }
    }

    fn told(budget: &Budget, seen: &Observation, minutes: i64) -> (Budget, Vec<String>) {
        let state = State::new("id".to_owned());
        let Step { budget, notes, .. } = step(&state, budget, seen, &Policy::default(), at(minutes));
        (budget, notes.into_iter().map(|note| note.event).collect())
    }

    #[test]
    fn a_family_that_is_offline_is_put_off_for_longer_each_time_and_told_once() {
        let away = seen(Weather::Offline("h does not resolve".to_owned()));
        let (mut budget, notes) = told(&Budget::default(), &away, 0);
        assert_eq!(notes, ["offline"]);
        assert_eq!(told(&budget, &away, 0), (budget.clone(), Vec::new()), "called again it changes nothing");
        let mut waits = Vec::new();
        for _ in 0..4 {
            let until = budget.deferrals[0].until;
            let minutes = (until - DateTime::UNIX_EPOCH).num_minutes();
            let (next, notes) = told(&budget, &away, minutes);
            assert_eq!(notes, Vec::<String>::new());
            waits.push((next.deferrals[0].until - until).num_minutes());
            budget = next;
        }
        assert_eq!(waits, [1, 2, 4, 8]);
        assert_eq!(budget.deferrals[0].since, at(0));
        let (budget, notes) = told(&budget, &seen(Weather::Fair), 16);
        assert_eq!((budget.deferrals.len(), notes), (0, vec!["online".to_owned()]));
    }

    #[test]
    fn a_deferral_that_nobody_asks_about_is_forgotten() {
        let away = seen(Weather::Offline("h refuses connections".to_owned()));
        let (budget, _) = told(&Budget::default(), &away, 0);
        let nothing = Observation::default();
        assert_eq!(told(&budget, &nothing, 120).0.deferrals.len(), 1);
        let worked = Budget { deferrals: Vec::new(), ..budget.clone() };
        assert_eq!(told(&budget, &nothing, 121), (worked, Vec::new()), "and costs no tick");
    }

    #[test]
    fn a_hold_for_quota_is_told_once_and_follows_the_figures() {
        let family = || "claude".parse().expect("family");
        let used = |used_percent: f64, resets_at: i64| {
            let window = Window { name: "w".to_owned(), used_percent, resets_at: Some(at(resets_at)) };
            let reading = Reading { at: at(0), windows: vec![window] };
            Observation { quota: BTreeMap::from([(family(), Some(reading))]), ..Observation::default() }
        };
        let (budget, notes) = told(&Budget::default(), &used(100.0, 300), 0);
        assert_eq!((notes, budget.deferrals[0].until), (vec!["quota-held".to_owned()], at(300)));
        assert_eq!(told(&budget, &used(100.0, 300), 5), (budget.clone(), Vec::new()));
        // A reset that comes sooner is followed at once.
        let (budget, notes) = told(&budget, &used(100.0, 200), 5);
        assert_eq!((notes.len(), budget.deferrals[0].until), (0, at(200)));
        assert!(budget.deferral(&family(), DeferralCause::Quota).is_some());
        let nothing = Observation { quota: BTreeMap::from([(family(), None)]), ..Observation::default() };
        let (budget, notes) = told(&budget, &nothing, 6);
        assert_eq!((budget.deferrals.len(), notes), (0, vec!["quota-free".to_owned()]));
    }
}
