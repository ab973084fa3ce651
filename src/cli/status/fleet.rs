//! Looking at every subscriber: a line each, and one that cannot be read is a line as well.
//!
//! They are read side by side, on every core. A repository's figures come from its last heartbeat where its state and
//! budget are still the files that they were counted in, else from those files; while it is watched, a file that has
//! not changed is not read again.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Local, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::eye::Kept;
use super::view::{self, Beat, Pulse};
use crate::core::budget::{HaltReason, Pause};
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::subscriber::Subscriber;
use crate::core::timer::TimerRecord;
use crate::files::home::{Home, repo_id};
use crate::files::layout::Layout;
use crate::files::store;
use crate::tick::counts::Counts;
use crate::tick::heartbeat::{self, Heartbeat};
use crate::tick::side_by_side::{cores, side_by_side};
use crate::tick::subscribers::PATIENCE;
use crate::tick::{LOCAL_MANIFEST, MANIFEST, TickError, find_root, read_manifest};

/// What `status --all --json` prints.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Fleet {
    /// When it was looked at.
    pub at: DateTime<Utc>,
    /// The timer that is installed.
    pub timer: Option<TimerRecord>,
    /// Every subscriber, what asks for attention first.
    pub repos: Vec<Member>,
}

/// One subscriber.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Member {
    /// The name of its file in `subscribers/`.
    pub slug: String,
    /// The repository; none where its file cannot be read.
    pub repo: Option<PathBuf>,
    /// Whether ticks visit it.
    pub enabled: bool,
    /// How it stands; none where that cannot be told.
    pub summary: Option<Summary>,
    /// Why that cannot be told.
    pub fault: Option<String>,
}

/// How a repository stands, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// Stages in progress.
    pub in_flight: usize,
    /// Stages in the queue.
    pub pending: usize,
    /// Stages that wait for a person.
    pub needs_you: usize,
    /// Stages that landed today, by this machine's calendar, of those that the queue still keeps.
    pub landed_today: usize,
    /// Tokens spent in the window.
    pub tokens_spent: Tokens,
    /// The most that may be spent.
    pub token_cap: Option<Tokens>,
    /// Money spent in the window.
    pub cost_spent_usd: MicroUsd,
    /// The most that may be spent.
    pub cost_cap_usd: Option<MicroUsd>,
    /// Why it is halted; empty where it is not.
    pub halts: Vec<HaltReason>,
    /// Families that wait for their providers.
    pub pauses: Vec<Pause>,
    /// When the last tick ran.
    pub last_tick: Option<DateTime<Utc>>,
    /// The last tick against the timer.
    pub pulse: Pulse,
}

/// Every subscriber under observation.
#[derive(Debug)]
pub struct FleetEye {
    home: Home,
    machine: Option<String>,
    members: Vec<MemberEye>,
}

impl FleetEye {
    /// Looks at those who have subscribed in this home.
    pub fn new(home: &Home) -> Self {
        Self { home: home.clone(), machine: None, members: Vec::new() }
    }

    /// Looks at them now.
    pub fn look(&mut self, now: DateTime<Utc>) -> anyhow::Result<Fleet> {
        let entries = self.home.subscribers()?;
        let timer = self.home.timer().ok().flatten();
        if self.machine.is_none() && !entries.is_empty() {
            self.machine = Some(self.home.machine_id()?);
        }
        let machine = self.machine.clone().unwrap_or_default();
        let mut known = std::mem::take(&mut self.members);
        let mut repos = Vec::new();
        for (slug, entry) in entries {
            match entry {
                Ok(subscriber) => {
                    let old = known.iter().position(|old| old.slug == slug && old.subscriber == subscriber);
                    let eye = old.map(|at| known.swap_remove(at));
                    self.members.push(eye.unwrap_or_else(|| MemberEye::new(slug, subscriber)));
                }
                Err(error) => {
                    let fault = Some(error.to_string());
                    repos.push(Member { slug, repo: None, enabled: true, summary: None, fault });
                }
            }
        }
        repos.extend(self.look_at_each(machine, timer.clone(), now));
        repos.sort_by_cached_key(|member| (urgency(member), member.slug.clone()));
        Ok(Fleet { at: now, timer, repos })
    }

    /// Looks at each, on every core; one that does not answer keeps nobody else from being shown.
    fn look_at_each(&mut self, machine: String, timer: Option<TimerRecord>, now: DateTime<Utc>) -> Vec<Member> {
        let subscribers: Vec<(String, Subscriber)> =
            self.members.iter().map(|eye| (eye.slug.clone(), eye.subscriber.clone())).collect();
        // Each is taken by one thread only, which gives it back with what it has seen.
        let eyes: Vec<Mutex<Option<MemberEye>>> = self.members.drain(..).map(|eye| Mutex::new(Some(eye))).collect();
        let look = move |number: usize| {
            let mut eye = eyes.get(number)?.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            let member = eye.look(&machine, timer.as_ref(), now);
            Some((eye, member))
        };
        let seen = side_by_side(subscribers.len(), cores(), PATIENCE, look);
        let mut members = Vec::new();
        for ((slug, subscriber), seen) in subscribers.into_iter().zip(seen) {
            if let Some((eye, member)) = seen.flatten() {
                self.members.push(eye);
                members.push(member);
            } else {
                let repo = subscriber.repo_path;
                let fault = Some(format!("{} does not answer within {} s", repo.display(), PATIENCE.as_secs()));
                members.push(Member { slug, repo: Some(repo), enabled: subscriber.enabled, summary: None, fault });
            }
        }
        members
    }
}

impl Fleet {
    /// What is news where it differs: everything but times and ages.
    pub fn news(&self) -> String {
        let of = |member: &Member| {
            let summary = member.summary.clone().map(|summary| Summary { last_tick: None, ..summary });
            format!("{:?}", Member { summary, ..member.clone() })
        };
        self.repos.iter().map(of).collect()
    }
}

/// What asks for attention comes first.
fn urgency(member: &Member) -> u8 {
    match &member.summary {
        _ if !member.enabled => 8,
        None => 0,
        Some(summary) if !summary.halts.is_empty() => 1,
        Some(summary) if summary.pulse == Pulse::Late => 2,
        Some(summary) if summary.needs_you > 0 => 3,
        Some(summary) if !summary.pauses.is_empty() => 4,
        Some(summary) if summary.in_flight > 0 => 5,
        Some(summary) if summary.pending > 0 => 6,
        Some(_) => 7,
    }
}

/// One subscriber under observation.
#[derive(Debug)]
struct MemberEye {
    slug: String,
    subscriber: Subscriber,
    place: Kept<(String, Layout)>,
    loaded: Kept<Counts>,
    heartbeat: Kept<Option<Heartbeat>>,
}

impl MemberEye {
    fn new(slug: String, subscriber: Subscriber) -> Self {
        Self { slug, subscriber, place: Kept::default(), loaded: Kept::default(), heartbeat: Kept::default() }
    }

    fn look(&mut self, machine: &str, timer: Option<&TimerRecord>, now: DateTime<Utc>) -> Member {
        let summary = self.summary(machine, timer, now);
        let fault = summary.as_ref().err().map(ToString::to_string);
        Member {
            slug: self.slug.clone(),
            repo: Some(self.subscriber.repo_path.clone()),
            enabled: self.subscriber.enabled,
            summary: summary.ok(),
            fault,
        }
    }

    fn summary(
        &mut self,
        machine: &str,
        timer: Option<&TimerRecord>,
        now: DateTime<Utc>,
    ) -> Result<Summary, TickError> {
        let repo = &self.subscriber.repo_path;
        let manifests = [repo.join(MANIFEST), repo.join(LOCAL_MANIFEST)];
        let (id, layout) = self.place.get(&manifests, || place(repo, machine))?;
        let beat = self.heartbeat.get(&[layout.heartbeat()], || Ok::<_, TickError>(heartbeat::of(layout)))?;
        let counted = beat.as_ref().and_then(|beat| beat.counted.as_ref()?.if_current(layout));
        let counts = match counted {
            Some(counts) => counts,
            None => {
                let files = [layout.txn(), layout.state_yaml(), layout.budget_json()];
                self.loaded.get(&files, || store::peek(layout).map(|loaded| Counts::of(&loaded, now)))?
            }
        };
        if counts.repo_id != *id {
            let (found, expected) = (counts.repo_id.clone(), id.clone());
            return Err(TickError::Foreign { path: layout.dir().to_owned(), found, expected });
        }
        let last_tick = beat.as_ref().map(|beat| beat.at);
        let Beat { pulse, .. } = view::beat(last_tick, timer, counts.needs_ticks, now);
        let today = now.with_timezone(&Local).date_naive();
        Ok(Summary {
            in_flight: counts.in_flight,
            pending: counts.pending,
            needs_you: counts.needs_you,
            landed_today: counts.landed.iter().filter(|at| at.with_timezone(&Local).date_naive() == today).count(),
            tokens_spent: counts.tokens_spent,
            token_cap: counts.token_cap,
            cost_spent_usd: counts.cost_spent_usd,
            cost_cap_usd: counts.cost_cap_usd,
            halts: counts.halts.clone(),
            pauses: counts.pauses.iter().filter(|pause| pause.until > now).cloned().collect(),
            last_tick,
            pulse,
        })
    }
}

/// The name of a repository on this machine, and where its state stands.
fn place(repo: &Path, machine: &str) -> Result<(String, Layout), TickError> {
    let root = find_root(repo)?;
    let manifest = read_manifest(&root)?.ok_or_else(|| TickError::NoManifest { path: root.join(MANIFEST) })?;
    Ok((repo_id(machine, &root), Layout::new(&root, manifest.state_dir.as_str())))
}
