//! Who is subscribed in a home: adding, taking away, and looking at all of them. Nothing of this changes a repository.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::core::budget::HaltReason;
use crate::core::fleet::agents;
use crate::core::ids::RunId;
use crate::core::state::Life;
use crate::core::subscriber::Subscriber;
use crate::files::home::{Home, HomeError};
use crate::files::layout::Layout;
use crate::files::store::{self, Loaded};

use super::error::TickError;
use super::side_by_side::{cores, side_by_side};
use super::site::{MANIFEST, find_root, read_manifest};

/// How long a repository may take to say how it stands; one on a network path that is stuck says nothing.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What `subscribers --json` prints for each.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Subscription {
    /// The name of its file in `subscribers/`, without `.yaml`.
    pub slug: String,
    /// Its place in the order, lower first; none where its file cannot be used.
    pub weight: Option<i64>,
    /// Whether ticks visit it; none where its file cannot be used.
    pub enabled: Option<bool>,
    /// The repository; none where its file cannot be used.
    pub repo: Option<PathBuf>,
    /// How it stands.
    pub state: Standing,
    /// Runs in flight, gates included; none where that cannot be told.
    pub in_flight: Option<usize>,
    /// Of these, workers and verifiers: what `agents_at_once` counts.
    pub agents: Option<u64>,
    /// Stages that wait in its queue; none where that cannot be told.
    pub queued: Option<usize>,
    /// Why it is halted.
    pub halts: Vec<HaltReason>,
    /// Why it cannot be told how it stands.
    pub fault: Option<String>,
}

/// How a subscriber stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It can be served.
    Ready,
    /// It is halted.
    Halted,
    /// Its path is gone.
    Gone,
    /// It does not say how it stands in time.
    NoAnswer,
    /// Its file, manifest or state cannot be used.
    Unreadable,
}

/// Everyone, by weight and then by name.
pub fn list(home: &Home) -> Result<Vec<Subscription>, HomeError> {
    let entries = home.subscribers()?;
    let repos: Vec<Option<PathBuf>> =
        entries.iter().map(|(_, known)| known.as_ref().ok().map(|known| known.repo_path.clone())).collect();
    let asked = repos.clone();
    let look = move |number: usize| asked.get(number).cloned().flatten().map(|repo| look(&repo));
    let seen = side_by_side(repos.len(), cores(), PATIENCE, look);
    Ok(entries.into_iter().zip(seen).map(|((slug, known), seen)| subscription(slug, known, seen.flatten())).collect())
}

/// What was seen of a repository: none where its path is gone.
type Seen = Option<Result<Loaded, TickError>>;

fn subscription(slug: String, known: Result<Subscriber, HomeError>, seen: Option<Seen>) -> Subscription {
    let blank = Subscription {
        slug,
        weight: None,
        enabled: None,
        repo: None,
        state: Standing::Unreadable,
        in_flight: None,
        queued: None,
        agents: None,
        halts: Vec::new(),
        fault: None,
    };
    let known = match known {
        Ok(known) => known,
        Err(error) => return Subscription { fault: Some(error.to_string()), ..blank },
    };
    let blank = Subscription {
        weight: Some(known.weight),
        enabled: Some(known.enabled),
        repo: Some(known.repo_path.clone()),
        ..blank
    };
    match seen {
        None => {
            let fault = format!("{} does not answer within {} s", known.repo_path.display(), PATIENCE.as_secs());
            Subscription { state: Standing::NoAnswer, fault: Some(fault), ..blank }
        }
        Some(None) => {
            let fault = format!("{} is gone; `autometta unsubscribe {}`", known.repo_path.display(), blank.slug);
            Subscription { state: Standing::Gone, fault: Some(fault), ..blank }
        }
        Some(Some(Err(error))) => Subscription { fault: Some(error.to_string()), ..blank },
        Some(Some(Ok(Loaded { state, budget }))) => Subscription {
            state: if budget.halted { Standing::Halted } else { Standing::Ready },
            in_flight: Some(state.flights().count()),
            queued: Some(state.stages.iter().filter(|stage| matches!(stage.life, Life::Pending(_))).count()),
            agents: Some(agents(&state.stages)),
            halts: budget.halt_reasons.iter().map(|halt| halt.reason).collect(),
            ..blank
        },
    }
}

fn look(repo: &Path) -> Seen {
    repo.is_dir().then(|| load(repo))
}

fn load(repo: &Path) -> Result<Loaded, TickError> {
    let root = find_root(repo)?;
    let manifest = read_manifest(&root)?.ok_or_else(|| TickError::NoManifest { path: root.join(MANIFEST) })?;
    Ok(store::peek(&Layout::new(&root, manifest.state_dir.as_str()))?)
}

/// Subscribes the repository at this path, or changes how it is subscribed. Its weight stays where none is given.
pub fn subscribe(
    home: &Home,
    path: &Path,
    weight: Option<i64>,
    enabled: bool,
) -> Result<(String, Subscriber), TickError> {
    let root = find_root(path)?;
    if read_manifest(&root)?.is_none() {
        return Err(TickError::NoManifest { path: root.join(MANIFEST) });
    }
    let known = find(home, &root)?;
    let mut entry = known.as_ref().map_or_else(|| Subscriber::new(&root), |(_, entry)| entry.clone());
    entry.enabled = enabled;
    entry.weight = weight.unwrap_or(entry.weight);
    let slug = home.set_subscriber(known.map(|(slug, _)| slug), &entry)?;
    Ok((slug, entry))
}

fn find(home: &Home, root: &Path) -> Result<Option<(String, Subscriber)>, HomeError> {
    let mut entries = home.subscribers()?.into_iter().filter_map(|(slug, known)| Some((slug, known.ok()?)));
    Ok(entries.find(|(_, known)| known.repo_path == root))
}

/// A subscription that was taken away.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Unsubscribed {
    /// The name that its file had.
    pub slug: String,
    /// The repository; none where its file could not be used.
    pub repo: Option<PathBuf>,
    /// Runs in flight there. They go on, and the end of each still starts a tick of that repository.
    pub in_flight: Vec<RunId>,
    /// Why it cannot be told what is in flight.
    pub fault: Option<String>,
}

/// Takes away the subscription of this name, or of the repository at this path, which may be gone. None where there is
/// none.
pub fn unsubscribe(home: &Home, which: &Path) -> Result<Option<Unsubscribed>, TickError> {
    let path = std::path::absolute(which).map_err(|source| TickError::Io { path: which.to_owned(), source })?;
    let by_name = |(slug, _): &&(String, Result<Subscriber, HomeError>)| Path::new(slug) == which;
    let entries = home.subscribers()?;
    let by_path = |repo: &Path| {
        let repo = repo.to_owned();
        entries.iter().find(move |(_, known)| known.as_ref().is_ok_and(|known| known.repo_path == repo))
    };
    // The path as it was said first: what lies there may be gone, or stuck.
    let found = entries.iter().find(by_name).or_else(|| by_path(&path)).or_else(|| by_path(&find_root(&path).ok()?));
    let Some((slug, known)) = found else { return Ok(None) };
    home.unsubscribe(slug)?;
    let repo = known.as_ref().ok().map(|known| known.repo_path.clone());
    let asked = repo.clone();
    let mut seen = side_by_side(1, 1, PATIENCE, move |_| asked.as_deref().map(look));
    let (in_flight, fault) = match seen.pop().flatten() {
        Some(Some(Some(Ok(loaded)))) => (loaded.state.flights().map(|(_, flight)| flight.run.clone()).collect(), None),
        Some(Some(Some(Err(error)))) => (Vec::new(), Some(error.to_string())),
        Some(Some(None)) => (Vec::new(), Some("the repository is gone".to_owned())),
        Some(None) => (Vec::new(), Some("its file could not be used".to_owned())),
        None => (Vec::new(), Some(format!("the repository does not answer within {} s", PATIENCE.as_secs()))),
    };
    Ok(Some(Unsubscribed { slug: slug.clone(), repo, in_flight, fault }))
}
