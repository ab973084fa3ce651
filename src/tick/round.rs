//! One fire over many repositories: side by side, each within a time limit, so that none waits for another.
//!
//! A tick that is not done in time is left behind: the process ends around it, which is safe at any instant, as a kill is.
//! What lets ticks run in threads of one process: every descriptor is closed on exec, the locks of a repository and of
//! the fleet are let go of in so many words (a process that another thread is just starting has copies of them until it
//! is another program), and no tick changes what belongs to the whole process, such as its folder, its umask or its
//! environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use crate::files::home::Home;
use crate::files::under_way::{self, UnderWay};

use super::error::TickError;
use super::fire::{Report, fire};
use super::side_by_side::{cores, side_by_side};
use super::site::Site;

/// How long after its time limit a tick is left behind: its git is killed at the limit, and it says so.
const GRACE: Duration = Duration::from_secs(2);

/// What came of a tick.
#[derive(Debug, Default)]
pub struct Fired {
    /// What it did, where it came to an end.
    pub report: Option<Report>,
    /// Why it could not do all of it.
    pub error: Option<TickError>,
}

/// Ticks each of these repositories once, beginning with the first, each for at most this long; those that were under way
/// when a fire died come after all others. What came of it is in their order.
pub fn round(home: &Home, exe: &Path, repos: &[PathBuf], limit: Duration) -> Vec<Fired> {
    let under_way = if repos.len() > 1 || under_way::is_there(home) { begin(home) } else { None };
    let left = under_way.as_ref().map(|under_way| under_way.last()).unwrap_or_default();
    let mut came: Vec<Option<Fired>> = repos.iter().map(|_| None).collect();
    let mut tick = |numbers: &[usize]| {
        let known: Vec<PathBuf> = numbers.iter().map(|number| repos[*number].clone()).collect();
        for (number, fired) in numbers.iter().zip(ticks(home, exe, known, limit, under_way.as_ref())) {
            came[*number] = fired;
        }
    };
    let (mut later, first): (Vec<usize>, Vec<usize>) =
        (0..repos.len()).partition(|number| left.contains(&repos[*number]));
    tick(&first);
    later.sort_by_key(|number| left.iter().position(|repo| *repo == repos[*number]));
    let (begun, mut last) = (Instant::now(), later.as_slice());
    // One after the other, so that each is alone with what it does; but not for ever.
    while let Some((number, rest)) = last.split_first()
        && begun.elapsed() < limit
    {
        let repo = repos[*number].display();
        warn!(%repo, "a fire died while this was under way, so it comes last; `autometta tick --repo {repo}` shows why");
        tick(&[*number]);
        last = rest;
    }
    tick(last);
    if let Some(under_way) = under_way {
        under_way.end();
    }
    let late = |repo: &PathBuf| Fired { report: None, error: Some(too_long(repo, limit)) };
    came.into_iter().zip(repos).map(|(came, repo)| came.unwrap_or_else(|| late(repo))).collect()
}

fn begin(home: &Home) -> Option<Arc<UnderWay>> {
    let begun = UnderWay::begin(home);
    begun
        .unwrap_or_else(|error| {
            warn!("{error}; should this fire die, the next one does not know where");
            None
        })
        .map(Arc::new)
}

/// Side by side; none for what is not done in time.
fn ticks(
    home: &Home,
    exe: &Path,
    repos: Vec<PathBuf>,
    limit: Duration,
    under_way: Option<&Arc<UnderWay>>,
) -> Vec<Option<Fired>> {
    let (home, exe, under_way, count) = (home.clone(), exe.to_owned(), under_way.cloned(), repos.len());
    let tick = move |number: usize| {
        let Some(repo) = repos.get(number) else { return Fired::default() };
        if let Some(under_way) = &under_way {
            under_way.begins(repo);
        }
        let fired = one(&home, &exe, repo, limit);
        if let Some(under_way) = &under_way {
            under_way.ends(repo);
        }
        fired
    };
    side_by_side(count, cores(), limit.saturating_add(GRACE), tick)
}

fn one(home: &Home, exe: &Path, repo: &Path, limit: Duration) -> Fired {
    let deadline = Instant::now().checked_add(limit);
    match Site::open(repo, home, exe).and_then(|site| fire(&Site { deadline, ..site })) {
        Ok(report) => {
            // What it began when its time was up was ended, and is tried again by the next one.
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline) && !report.failures.is_empty();
            Fired { error: is_late.then(|| too_long(repo, limit)), report: Some(report) }
        }
        Err(error) => {
            log(repo, &error);
            Fired { report: None, error: Some(error) }
        }
    }
}

fn too_long(repo: &Path, limit: Duration) -> TickError {
    let late = TickError::TooLong { path: repo.to_owned(), limit };
    log(repo, &late);
    late
}

/// What a tick could not do goes into the log, unless the tick has put it there itself.
pub fn log(repo: &Path, error: &TickError) {
    if !matches!(error, TickError::Damaged { .. }) {
        error!(repo = %repo.display(), "{error}");
    }
}
