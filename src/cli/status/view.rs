//! What `status` says, as data: one document for the screen, for `--json` and for the fleet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::next::{self, Group, Next};
use crate::cli::terminal::Look;
use crate::cli::terminal::look::{between, span};
use crate::core::budget::{Budget, Pause};
use crate::core::forecast::{self, Forecast};
use crate::core::ids::{FamilyName, Identity, RunId, StageId};
use crate::core::inbox::{Item, items};
use crate::core::policy::Policy;
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::run::RegistryEntry;
use crate::core::state::{Flight, Life, Stage};
use crate::core::state_doc::StateDoc;
use crate::core::timer::TimerRecord;
use crate::files::store::Loaded;
use crate::runs::Glance;
use crate::tick::counts;
use crate::tick::heartbeat::Heartbeat;

/// Everything that a screen is made from. Nothing below reads a file or a clock.
pub struct Scene<'a> {
    /// The repository.
    pub root: &'a Path,
    /// Its state and budget.
    pub loaded: &'a Loaded,
    /// How many stages may be in progress, and so on.
    pub policy: &'a Policy,
    /// The family of an identity.
    pub family: &'a dyn Fn(&Identity) -> Option<FamilyName>,
    /// What keeps an identity waiting for its provider.
    pub pause: &'a dyn Fn(&Identity) -> Option<Pause>,
    /// What the last tick saw.
    pub heartbeat: Option<&'a Heartbeat>,
    /// The timer that is installed.
    pub timer: Option<&'a TimerRecord>,
    /// How the runs in flight stand.
    pub glances: &'a BTreeMap<RunId, Glance>,
    /// Live runs that were started by hand.
    pub manual: Vec<RegistryEntry>,
    /// How many stages stand in the archive.
    pub archived: usize,
    /// The time.
    pub now: DateTime<Utc>,
    /// How times are shown.
    pub look: &'a Look,
}

/// What `status --json` prints.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RepoStatus {
    /// The repository.
    pub repo: PathBuf,
    /// When it was looked at.
    pub at: DateTime<Utc>,
    /// The queue, as it stands in `state.yaml`.
    #[serde(flatten)]
    pub state: StateDoc,
    /// What comes next for each stage, in the order of the screen.
    pub waits: Vec<StageView>,
    /// Everything that waits for a person.
    pub inbox: Vec<Item>,
    /// Caps, spend, halts and pauses.
    pub budget: Budget,
    /// When the queue ends and what it takes until then; none where nothing goes on by itself.
    pub forecast: Option<Forecast>,
    /// What the last tick saw.
    pub heartbeat: Option<Heartbeat>,
    /// When the curfew ends that holds now; until then no worker starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curfew_until: Option<DateTime<Utc>>,
    /// The last tick against the timer.
    pub beat: Beat,
    /// Live runs that were started by hand; no stage of the queue knows them.
    pub manual: Vec<RegistryEntry>,
    /// How many stages have left the queue for `state/archive/`.
    pub archived: usize,
}

/// A stage on the screen.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StageView {
    /// Its id.
    pub stage: StageId,
    /// Where it stands on the screen.
    pub group: Group,
    /// Its phase while in progress, else its status.
    pub word: &'static str,
    /// The number of its newest attempt.
    pub attempt: u32,
    /// What comes next, in words.
    pub next: String,
    /// When that is, where it is known.
    pub next_at: Option<DateTime<Utc>>,
    /// The command that a person has to say, where one is waited for.
    pub command: Option<String>,
    /// Who works or would work.
    pub who: Vec<Hand>,
    /// What it has used.
    pub tokens: Tokens,
    /// What it has cost.
    pub cost_usd: MicroUsd,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Somebody who works on a stage, or will.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Hand {
    /// The run in flight; none for somebody who waits.
    pub run: Option<RunId>,
    /// The name; none for gates.
    pub name: Option<String>,
    /// The family.
    pub family: Option<FamilyName>,
    /// How the run stands.
    pub standing: Standing,
    /// How long it has been running, while the machine was awake.
    pub elapsed_seconds: Option<Seconds>,
    /// How long it may run.
    pub allowed_seconds: Option<Seconds>,
    /// How long it has printed nothing.
    pub silent_seconds: Option<Seconds>,
}

/// How a hand stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No run of it is in flight.
    Waiting,
    /// Ordered, and not begun.
    Ordered,
    /// Alive.
    Running,
    /// It has ended, and no tick has seen it yet.
    Ended,
    /// It is gone without a record.
    Lost,
    /// Told to stop.
    Stopping,
}

/// The last tick against the timer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Beat {
    /// When the last tick ran.
    pub last: Option<DateTime<Utc>>,
    /// How often the timer fires; none where none is installed.
    pub every_seconds: Option<Seconds>,
    /// How it stands.
    pub pulse: Pulse,
    /// The same in words.
    pub words: String,
}

/// How ticks come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pulse {
    /// In time.
    Regular,
    /// Nothing is pending, so that it does not matter that no timer is installed.
    Unneeded,
    /// Work waits, and no timer is installed.
    NoTimer,
    /// The last one is too old.
    Late,
}

impl RepoStatus {
    /// What is news where it differs: everything but times and ages.
    pub fn news(&self) -> String {
        let stages = self.waits.iter().map(|stage| {
            let hands: Vec<_> = stage.who.iter().map(|hand| (&hand.run, hand.standing)).collect();
            format!("{:?}", (&stage.stage, stage.group, stage.word, stage.attempt, stage.tokens, hands))
        });
        let stages: Vec<String> = stages.collect();
        format!("{stages:?}{:?}{:?}{:?}", self.budget, self.beat.pulse, self.manual)
    }
}

/// Builds the document.
pub fn of(scene: &Scene<'_>) -> RepoStatus {
    RepoStatus {
        repo: scene.root.to_owned(),
        at: scene.now,
        state: StateDoc::from(&scene.loaded.state),
        waits: stages(scene),
        inbox: items(&scene.loaded.state, &scene.loaded.budget),
        budget: scene.loaded.budget.clone(),
        forecast: forecast::of(&scene.loaded.state, &scene.loaded.budget, scene.policy, scene.family, scene.now),
        heartbeat: scene.heartbeat.cloned(),
        curfew_until: scene.policy.local.curfew_end(scene.now),
        beat: beat(scene.heartbeat.map(|beat| beat.at), scene.timer, counts::needs_ticks(scene.loaded), scene.now),
        manual: scene.manual.clone(),
        archived: scene.archived,
    }
}

/// Every stage, in the order of the screen: what needs a person, what is in flight, what is pending in the order in
/// which it would start, what has ended, the newest first.
pub fn stages(scene: &Scene<'_>) -> Vec<StageView> {
    let stages = &scene.loaded.state.stages;
    let turns = next::Turns::new(scene);
    let place: BTreeMap<usize, usize> =
        crate::core::step::order(stages).into_iter().enumerate().map(|(place, index)| (index, place)).collect();
    let mut views: Vec<(usize, StageView)> =
        stages.iter().enumerate().map(|(index, stage)| (index, view(scene, &turns, stage))).collect();
    views.sort_by_key(|(index, view)| {
        let place = match view.group {
            Group::Pending => place.get(index).copied().unwrap_or(*index),
            Group::NeedsYou | Group::InFlight | Group::Finished => *index,
        };
        (view.group, view.ended_at.filter(|_| view.group == Group::Finished).map(std::cmp::Reverse), place)
    });
    views.into_iter().map(|(_, view)| view).collect()
}

/// One stage.
pub fn view(scene: &Scene<'_>, turns: &next::Turns, stage: &Stage) -> StageView {
    let who = hands(scene, stage);
    let (group, Next { words, at, command }) = next::of(scene, turns, stage, &who);
    StageView {
        stage: stage.id.clone(),
        group,
        word: stage.life.word(),
        attempt: stage.attempt,
        next: words,
        next_at: at,
        command,
        who,
        tokens: stage.tokens,
        cost_usd: stage.cost_usd,
        ended_at: match &stage.life {
            Life::Over(over) => Some(over.at),
            _ => None,
        },
    }
}

fn hands(scene: &Scene<'_>, stage: &Stage) -> Vec<Hand> {
    let waiting = |identity: &Identity| Hand {
        run: None,
        name: Some(identity.name().to_owned()),
        family: (scene.family)(identity),
        standing: Standing::Waiting,
        elapsed_seconds: None,
        allowed_seconds: None,
        silent_seconds: None,
    };
    match &stage.life {
        Life::Pending(_) => vec![waiting(&stage.worker)],
        Life::Working(_) | Life::Gating(_) => stage.life.flights().into_iter().map(|it| flying(scene, it)).collect(),
        Life::Verifying(verifying) => {
            let open = verifying.seats.iter().filter(|seat| seat.vote.is_none());
            open.map(|seat| match &seat.flight {
                Some(flight) => flying(scene, flight),
                None => waiting(&seat.verifier),
            })
            .collect()
        }
        Life::Landing(_) | Life::Over(_) => Vec::new(),
    }
}

fn flying(scene: &Scene<'_>, flight: &Flight) -> Hand {
    let (standing, elapsed, silent) = match scene.glances.get(&flight.run) {
        None | Some(Glance::NotStarted) => (Standing::Ordered, None, None),
        Some(Glance::Running { elapsed, silent }) => {
            (Standing::Running, Some(Seconds(elapsed.as_secs())), Some(Seconds(silent.as_secs())))
        }
        Some(Glance::Ended) => (Standing::Ended, None, None),
        Some(Glance::Lost) => (Standing::Lost, None, None),
    };
    let is_stopping = flight.stopping.is_some() && standing == Standing::Running;
    Hand {
        run: Some(flight.run.clone()),
        name: flight.identity.as_ref().map(|identity| identity.name().to_owned()),
        family: flight.family.clone(),
        standing: if is_stopping { Standing::Stopping } else { standing },
        elapsed_seconds: elapsed,
        allowed_seconds: Some(flight.reserved.seconds),
        silent_seconds: silent,
    }
}

/// The last tick against the timer.
pub fn beat(last: Option<DateTime<Utc>>, timer: Option<&TimerRecord>, needed: bool, now: DateTime<Utc>) -> Beat {
    let ran = last.map_or_else(|| "no tick has run yet".to_owned(), |at| format!("last tick {} ago", ago(at, now)));
    let (pulse, words) = match timer {
        Some(timer) if timer.is_late(last, now) => {
            let every = span(timer.every_seconds);
            let ran = match last {
                Some(at) => format!("the last tick was {} ago", ago(at, now)),
                None => format!("no tick has run since the timer was installed {} ago", ago(timer.installed_at, now)),
            };
            (Pulse::Late, format!("LATE: {ran}, the timer fires every {every}; `autometta timer status` says why"))
        }
        Some(timer) => {
            let every = span(timer.every_seconds);
            (Pulse::Regular, format!("{ran}; the timer ({}) fires every {every}", timer.scheduler.as_str()))
        }
        None if needed => {
            let out = "`autometta timer install` installs one, `autometta run` works through the queue now";
            (Pulse::NoTimer, format!("WARNING: no timer is installed, {ran}; {out}"))
        }
        None => (Pulse::Unneeded, format!("{ran}; no timer is installed, and nothing waits for one")),
    };
    Beat { last, every_seconds: timer.map(|timer| timer.every_seconds), pulse, words }
}

/// How long ago something was, as people say it.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    span(between(at, now))
}
