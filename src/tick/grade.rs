//! `grade`: seats judge candidates whose worth is known, or judge again what was judged before.
//!
//! A judgement here is a verifier's run like any other: the same prompt, schema, caps, checkout, supervisor and reading
//! of the verdict. What differs is around it: nothing is decided by it, no state is moved and no tick follows. A planted
//! candidate stands in a scratch repository of its own, far from the corpus, so that no checkout and no prompt holds an
//! answer; a past one is judged in this repository, with its records in `state/grades/`.

mod bench;
mod corpus;
mod past;
mod planted;

use std::path::PathBuf;
use std::rc::Rc;

use crate::core::grade::Heard;
use crate::core::ids::{Identity, RunId};
use crate::core::observation::{Brief, Member};
use crate::core::quantity::MicroUsd;
use crate::core::run::ModelUse;
use crate::core::state::{Candidate, Stage, Work};
use crate::files::layout::Layout;
use crate::files::store::Store;
use crate::git::Repo;

use super::error::TickError;
use super::operate::PATIENCE;
use super::site::Site;

pub use corpus::Corpus;
pub use past::{Past, Which};
pub use planted::{Basis, Planted};

/// How a bench is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How often each seat judges each candidate.
    pub rounds: u32,
    /// How many runs go on at once.
    pub parallel: usize,
    /// What all judgements together may cost; none for no limit but their own caps.
    pub max_cost: Option<MicroUsd>,
}

/// What judging may cost at most, to be said before anything is spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Judgements in all.
    pub judgements: usize,
    /// Judgements by seats that call a model.
    pub by_models: usize,
    /// What their caps add up to.
    pub most: MicroUsd,
}

impl Estimate {
    fn of(asks: &[Ask]) -> Self {
        let by_models: Vec<&Ask> = asks.iter().filter(|ask| ask.seat.model_use == ModelUse::Model).collect();
        Self {
            judgements: asks.len(),
            by_models: by_models.len(),
            most: by_models.iter().map(|ask| ask.seat.verifier_caps.cost_usd).sum(),
        }
    }
}

/// Where candidates are judged: a repository, opened.
struct Place {
    site: Site,
    repo: Repo,
    /// The state whose ticks share the repository's git; none for a scratch repository.
    shared_with: Option<Layout>,
}

impl Place {
    /// The lock under which git is used here; none where nobody else is.
    fn lock(&self) -> Result<Option<Store>, TickError> {
        let Some(layout) = &self.shared_with else { return Ok(None) };
        let held = || TickError::Held { path: layout.tick_lock() };
        Ok(Some(Store::lock_within(layout, PATIENCE)?.ok_or_else(held)?))
    }
}

/// A candidate that is to be judged.
struct Docket {
    place: Rc<Place>,
    /// Its stage as a seat is to find it, in a life that is filled in for each run.
    stage: Stage,
    brief: Box<Brief>,
    work: Work,
    candidate: Candidate,
    /// The gate run that it passed, whose record the prompt shows.
    gate: Option<RunId>,
    /// The file that a planted defect is in.
    at_fault: Option<String>,
}

/// One judgement that is asked for.
struct Ask {
    docket: usize,
    seat: Member,
    run: RunId,
    round: u32,
}

/// What somebody who waits is told.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// A judgement has come in; how many are in, of how many.
    Heard(&'a Heard, usize, usize),
    /// So many candidates' gates have been run, of how many.
    Screened(usize, usize),
}

/// Refuses two seats of one identity: their figures could not be told apart.
fn distinct(seats: &[Identity]) -> Result<(), TickError> {
    for (index, seat) in seats.iter().enumerate() {
        if seats[..index].contains(seat) {
            return Err(TickError::Cards(format!("the seat `{seat}` is named twice; `--repeat` asks a seat again")));
        }
    }
    Ok(())
}

/// A refusal about a file of a corpus.
fn refused(path: &std::path::Path, why: impl std::fmt::Display) -> TickError {
    TickError::Cards(format!("{}: {why}", path.display()))
}

/// A folder in the temporary directory that goes away with its owner. Its name says nothing of what it is for: a seat
/// that knows it is examined is no measure of one that does not.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    fn new(seed: &str) -> Result<Self, TickError> {
        let name = crate::files::ledger::sha256_hex(format!("{seed}\0{}", nix::unistd::getpid()).as_bytes());
        let path = std::env::temp_dir().join(format!("work-{}", &name[..12]));
        let io = |source| TickError::Io { path: path.clone(), source };
        std::fs::create_dir(&path).map_err(io)?;
        let path = std::fs::canonicalize(&path).map_err(io)?;
        Ok(Self { path, keep: false })
    }
}

impl Drop for Scratch {
    #[expect(clippy::disallowed_methods, reason = "this made the folder and takes it away again")]
    fn drop(&mut self) {
        if !self.keep {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}
