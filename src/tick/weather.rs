//! Looking out before a launch: whether a family's provider answers, and how much of its quota is used.
//!
//! Only families are looked at whose runs may be dispatched in the very step that follows, each once a fire. A tick with
//! nothing to dispatch asks nobody, and neither does a plan.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::core::budget::{Budget, DeferralCause};
use crate::core::ids::{FamilyName, Identity};
use crate::core::observation::{Brief, Observation, Product, Returned, Sighting};
use crate::core::policy::Policy;
use crate::core::quota::{self, QuotaReader, Reading, Window};
use crate::core::state::{Flight, Life, Stage};
use crate::core::weather::{Endpoint, Weather};
use crate::families::invocation::BASE_ENV;
use crate::families::{EnvSource, FamilySpec, LaunchUser};
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::runs::{self, Answer, Inquiry};

use super::site::Site;

/// How long a command that tells a quota may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
/// The largest reading that is read, in bytes.
const LARGEST: u64 = 256 << 10;

/// What one fire has seen of its families.
#[derive(Debug, Default)]
pub struct Sky(RefCell<BTreeMap<FamilyName, Seen>>);

#[derive(Debug, Clone, Default)]
struct Seen {
    weather: Option<Weather>,
    quota: Option<Heard>,
}

/// What a reader said, once it was asked; none where that was nothing usable.
#[derive(Debug, Clone, Default)]
struct Heard(Option<Reading>);

impl Sky {
    /// Looks at families that may be dispatched now, those of them that were not looked at before, and puts what was
    /// seen into the observation.
    pub fn look(
        &self,
        site: &Site,
        budget: &Budget,
        families: &BTreeSet<FamilyName>,
        now: DateTime<Utc>,
        seen: &mut Observation,
    ) {
        let unknown: Vec<&FamilySpec> = families
            .iter()
            .filter(|family| !self.0.borrow().contains_key(*family) && budget.refused(family, None, now).is_none())
            .filter_map(|family| site.families.get(family))
            .collect();
        if !unknown.is_empty() {
            self.0.borrow_mut().extend(look(site, budget, &unknown, now));
        }
        for (family, found) in self.0.borrow().iter().filter(|(family, _)| families.contains(*family)) {
            if let Some(weather) = &found.weather {
                seen.weather.insert(family.clone(), weather.clone());
            }
            if let Some(Heard(reading)) = &found.quota {
                seen.quota.insert(family.clone(), reading.clone());
            }
        }
    }
}

/// Whether a family may be dispatched after what was seen of it.
pub fn is_clear(site: &Site, budget: &Budget, family: &FamilyName, now: DateTime<Utc>, seen: &Observation) -> bool {
    let holds = |cause: DeferralCause| budget.deferral(family, cause).is_some_and(|held| held.until > now);
    let offline = match seen.weather.get(family) {
        Some(weather) => *weather != Weather::Fair,
        None => holds(DeferralCause::Offline),
    };
    let short = match seen.quota.get(family) {
        Some(reading) => reading.as_ref().is_some_and(|reading| is_short(site, family, reading, now)),
        None => holds(DeferralCause::Quota),
    };
    !offline && !short
}

fn is_short(site: &Site, family: &FamilyName, reading: &Reading, now: DateTime<Utc>) -> bool {
    let (reserve, changes) = site.policy.local.reserve(family, now);
    reading.held(reserve, changes, now, (Policy::SHORTEST_PAUSE, Policy::LONGEST_PAUSE)).is_some()
}

/// Looks at all of them at once: first at their quota, then at the providers of those who have any left.
fn look(site: &Site, budget: &Budget, families: &[&FamilySpec], now: DateTime<Utc>) -> BTreeMap<FamilyName, Seen> {
    let mut found: BTreeMap<FamilyName, Seen> = BTreeMap::new();
    let mut endpoints = Vec::new();
    let mut readers = Vec::new();
    for spec in families {
        let entry = found.entry(spec.name.clone()).or_default();
        let put_off = |cause| budget.deferral(&spec.name, cause).is_some_and(|held| held.until > now);
        match endpoint(spec) {
            Ok(None) => entry.weather = Some(Weather::Fair),
            Ok(Some(_)) if put_off(DeferralCause::Offline) => continue,
            Ok(Some(endpoint)) => endpoints.push((spec.name.clone(), endpoint)),
            // The run itself says it better, as a fault of its configuration.
            Err(why) => warn!(repo = %site.root.display(), family = %spec.name, "nobody was asked: {why}"),
        }
        match site.manifest.quota.get(&spec.name) {
            Some(reader) => readers.push((spec.name.clone(), reader)),
            None if budget.deferral(&spec.name, DeferralCause::Quota).is_some() => entry.quota = Some(Heard(None)),
            None => {}
        }
    }
    std::thread::scope(|scope| {
        let read = |(family, reader)| {
            (
                scope.spawn({
                    let family: &FamilyName = family;
                    move || read(site, family, reader, now)
                }),
                family,
            )
        };
        let asked: Vec<_> = readers.iter().map(|(family, reader)| read((family, *reader))).collect();
        for (reading, family) in asked {
            // A reader that fails must stop no night.
            found.entry(family.clone()).or_default().quota = Some(Heard(reading.join().unwrap_or_default()));
        }
    });
    endpoints.retain(|(family, _)| match found.get(family).and_then(|seen| seen.quota.as_ref()) {
        Some(Heard(Some(reading))) => !is_short(site, family, reading, now),
        _ => true,
    });
    let asked: Vec<_> = endpoints.into_iter().map(|(family, endpoint)| (family, runs::reach(&endpoint))).collect();
    for (family, reaching) in asked {
        let weather = reaching.answer().map_or_else(Weather::Offline, |()| Weather::Fair);
        found.entry(family).or_default().weather = Some(weather);
    }
    found
}

/// What is asked before a launch of this family; none where nobody is.
pub fn endpoint(spec: &FamilySpec) -> Result<Option<Endpoint>, String> {
    let user = if nix::unistd::geteuid().is_root() { LaunchUser::Root } else { LaunchUser::Ordinary };
    let entries = spec.environment(user);
    let parents = entries.iter().filter(|entry| entry.source == EnvSource::Parent).map(|entry| entry.name.as_str());
    let mut environment = runs::inherited(parents);
    for entry in &entries {
        if let EnvSource::Literal(text) = &entry.source {
            environment.insert(entry.name.clone(), text.clone());
        }
    }
    spec.asked(&environment, |path| read_text(Path::new(path)).ok())
}

/// Reads a file that somebody else may write, or have put something else in its place.
fn read_text(path: &Path) -> Result<String, String> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let meta = path.metadata().map_err(|error| fail(&error))?;
    if !meta.is_file() {
        return Err(fail(&"it is not a file"));
    }
    if meta.len() > LARGEST {
        return Err(fail(&format!("it is larger than {LARGEST} bytes")));
    }
    let bytes = document::read(path).map_err(|error| error.to_string())?.ok_or_else(|| fail(&"it is gone"))?;
    String::from_utf8(bytes).map_err(|_| fail(&"it is not UTF-8"))
}

/// `state/quota/<family>.json`: what was last read of a family's quota.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaRecord {
    /// When the reader was asked.
    pub asked_at: DateTime<Utc>,
    /// What it said.
    pub windows: Vec<Window>,
    /// Why it could not be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Reads a family's quota; none where its reader says nothing usable, which is warned of once.
fn read(site: &Site, family: &FamilyName, reader: &QuotaReader, now: DateTime<Utc>) -> Option<Reading> {
    let path = site.layout.quota(family);
    let known = document::read(&path).ok().flatten();
    let known: Option<QuotaRecord> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let reading = match (&reader.file, &known) {
        (Some(file), _) => of_file(&place(site, file)),
        (None, Some(known)) if is_fresh(known, reader, now) => {
            return known.fault.is_none().then(|| Reading { at: known.asked_at, windows: known.windows.clone() });
        }
        (None, _) => of_command(reader, now),
    };
    let stale = |reading: &Reading| reading.is_stale(now).then(|| "none of its windows is current".to_owned());
    let (windows, fault) = match &reading {
        Ok(reading) => (reading.windows.clone(), stale(reading)),
        Err(fault) => (Vec::new(), Some(fault.clone())),
    };
    if let Some(fault) = &fault
        && known.as_ref().and_then(|known| known.fault.as_ref()) != Some(fault)
    {
        warn!(repo = %site.root.display(), %family, "its quota is not known, and holds nobody: {fault}");
    }
    let record = QuotaRecord { asked_at: now, windows, fault };
    let same = |known: &QuotaRecord| known.windows == record.windows && known.fault == record.fault;
    if reader.file.is_none() || !known.as_ref().is_some_and(same) {
        keep(&path, &record).unwrap_or_else(|why| warn!(repo = %site.root.display(), %family, "{why}"));
    }
    reading.ok()
}

fn is_fresh(known: &QuotaRecord, reader: &QuotaReader, now: DateTime<Utc>) -> bool {
    let age = now.signed_duration_since(known.asked_at).num_seconds();
    u64::try_from(age).is_ok_and(|age| age < reader.every().0)
}

fn keep(path: &Path, record: &QuotaRecord) -> Result<(), String> {
    let text = document::to_json_pretty(record).map_err(|error| error.to_string())?;
    let folder = path.parent().unwrap_or(path);
    atomic::make_dirs(folder, Durability::Volatile)
        .and_then(|()| atomic::write(path, text.as_bytes(), Durability::Volatile))
        .map_err(|error| error.to_string())
}

/// A file of the manifest: absolute, below the home directory, or below the repository.
fn place(site: &Site, file: &str) -> PathBuf {
    match (file.strip_prefix("~/"), runs::inherited(["HOME"]).remove("HOME")) {
        (Some(below), Some(home)) => Path::new(&home).join(below),
        _ => site.root.join(file),
    }
}

fn of_file(path: &Path) -> Result<Reading, String> {
    let text = read_text(path)?;
    let modified = path.metadata().and_then(|meta| meta.modified());
    let at = modified.map_err(|error| format!("{}: {error}", path.display()))?.into();
    let windows = quota::parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Reading { at, windows })
}

/// What the command prints beside its answer may hold anything, and is not repeated.
fn of_command(reader: &QuotaReader, now: DateTime<Utc>) -> Result<Reading, String> {
    let name = reader.command.first().map_or("", String::as_str);
    let environment = runs::inherited(BASE_ENV.iter().copied());
    let inquiry = Inquiry { argv: &reader.command, environment: &environment, input: b"", limit: COMMAND_LIMIT };
    match inquiry.ask() {
        Answer::Said { code: Some(0), stdout, .. } => {
            let windows = quota::parse(&stdout).map_err(|why| format!("`{name}`: {why}"))?;
            Ok(Reading { at: now, windows })
        }
        Answer::Said { code: Some(code), .. } => Err(format!("`{name}` exited with {code}")),
        Answer::Said { code: None, .. } => Err(format!("`{name}` was ended by a signal")),
        Answer::TimedOut => Err(format!("`{name}` took longer than {}s", COMMAND_LIMIT.as_secs())),
        Answer::NotStarted(why) => Err(why),
    }
}

/// Families whose runs may be dispatched in the step that follows, for a stage that moves in it.
pub fn wanted(stage: &Stage, brief: &Brief, seen: &Observation) -> BTreeSet<FamilyName> {
    let over = |flight: &Flight| matches!(seen.runs.get(&flight.run), Some(Sighting::Ended(_) | Sighting::Lost(_)));
    let worker = || std::iter::once(brief.worker.family.clone());
    let verifiers = || brief.verifiers.iter().map(|placed| placed.family.clone());
    match &stage.life {
        Life::Working(working) => match seen.runs.get(&working.flight.run) {
            Some(Sighting::Ended(ended)) => match &ended.product {
                Product::Worker { handoff: Returned::Usable(_), .. } if brief.gate_caps.is_some() => BTreeSet::new(),
                Product::Worker { handoff: Returned::Usable(_), .. } => verifiers().collect(),
                _ => worker().collect(),
            },
            Some(Sighting::Lost(_)) => worker().collect(),
            _ => BTreeSet::new(),
        },
        // It may fail, and its worker is briefed again.
        Life::Gating(gating) if gating.flight.as_ref().is_some_and(over) => worker().chain(verifiers()).collect(),
        Life::Verifying(verifying) => {
            let open = verifying.seats.iter().filter(|seat| seat.vote.is_none());
            let again = open.filter(|seat| seat.flight.as_ref().is_none_or(over));
            let family = |who: &Identity| brief.verifiers.iter().find(|placed| placed.identity == *who);
            let asked = again.filter_map(|seat| Some(family(&seat.verifier)?.family.clone()));
            let heard = verifying.seats.iter().filter_map(|seat| seat.flight.as_ref()).any(over);
            asked.chain(worker().filter(|_| heard)).collect()
        }
        Life::Pending(_) | Life::Gating(_) | Life::Landing(_) | Life::Over(_) => BTreeSet::new(),
    }
}
