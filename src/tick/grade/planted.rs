//! Planted candidates: a scratch repository for each, its gates, and every seat's judgement.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::core::card::Card;
use crate::core::grade::{Answer, Bakeoff, Heard, Screening, figures};
use crate::core::ids::{Identity, Role, RunId, StageId};
use crate::core::manifest::Manifest;
use crate::core::observation::Captured;
use crate::core::operate::queued;
use crate::core::state::{Candidate, Stage, Work};
use crate::core::step::fault_of_candidate;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::home::Home;
use crate::files::layout::Layout;
use crate::files::ledger::sha256_hex;
use crate::git::{Capture, CommitText, Git, Repo, Signature};

use super::corpus::Case;
use super::{Ask, Corpus, Docket, Estimate, News, Place, Scratch, Terms, bench, distinct};
use crate::tick::error::TickError;
use crate::tick::site::{FollowUp, Site};
use crate::tick::{brief, clock, evidence};

/// The branch of a scratch repository.
const BRANCH: &str = "main";
/// Where a repository keeps templates of its own.
const TEMPLATE: &str = "templates/autometta/verifier.md";

/// What seats are asked with: whose families, limits and template count.
#[derive(Debug, Clone)]
pub struct Basis {
    /// The manifest whose families and default limits are in force.
    pub manifest: Manifest,
    /// The repository whose verifier template is used, where it has one.
    pub root: Option<PathBuf>,
    /// The operator's home.
    pub home: Home,
    /// This program.
    pub exe: PathBuf,
}

/// A bake-off that is ready to begin.
pub struct Planted {
    at: DateTime<Utc>,
    dockets: Vec<Docket>,
    answers: BTreeMap<StageId, Answer>,
    /// Candidates that our own checks refuse.
    out_of_scope: Vec<bool>,
    seats: Vec<Identity>,
    asks: Vec<Ask>,
    terms: Terms,
    scratch: Scratch,
}

impl Planted {
    /// Makes the scratch repositories. Nothing is asked yet.
    pub fn prepare(corpus: &Corpus, basis: &Basis, seats: &[Identity], terms: Terms) -> Result<Self, TickError> {
        distinct(seats)?;
        let at = clock::now();
        let scratch = Scratch::new(&at.to_rfc3339())?;
        let git = Git::from_environment();
        git.check()?;
        let mut dockets = Vec::new();
        let mut out_of_scope = Vec::new();
        let mut answers = BTreeMap::new();
        for (number, case) in (1..).zip(&corpus.cases) {
            let (docket, refused) = stand_up(case, basis, &git, &scratch.path.join(format!("{number:03}")), at)?;
            dockets.push(docket);
            out_of_scope.push(refused);
            answers.insert(case.id.clone(), case.answer.clone());
        }
        let asks = asks(&dockets, seats, &terms)?;
        Ok(Self { at, dockets, answers, out_of_scope, seats: seats.to_vec(), asks, terms, scratch })
    }

    /// What it may cost at most.
    pub fn estimate(&self) -> Estimate {
        Estimate::of(&self.asks)
    }

    /// Where the scratch repositories are, which are then not taken away.
    pub fn keep(&mut self) -> &Path {
        self.scratch.keep = true;
        &self.scratch.path
    }

    /// Runs the gates, asks every seat about every candidate, and counts.
    ///
    /// Seats are asked about candidates that the gates refuse as well, and are not told so: in a stage such a candidate
    /// never gets to a verifier, and here a seat is to find out by itself.
    pub fn judge(mut self, told: &mut dyn FnMut(News<'_>)) -> Result<Bakeoff, TickError> {
        let gates = bench::screen(&self.dockets, self.terms.parallel, told)?;
        let mut screened = BTreeMap::new();
        for ((docket, gate), refused) in self.dockets.iter_mut().zip(gates).zip(&self.out_of_scope) {
            if gate == Screening::Passed && docket.brief.gate_caps.is_some() {
                docket.gate = Some(bench::gate_run(docket));
            }
            screened.insert(docket.stage.id.clone(), if *refused { Screening::Refused } else { gate });
        }
        let heard: Vec<Heard> = bench::hold(&self.dockets, &self.asks, &self.terms, told)?;
        Ok(figures(self.at, &self.answers, &screened, &self.seats, heard))
    }
}

/// Every judgement that is asked for: round by round, so that a limit on cost leaves whole rounds.
fn asks(dockets: &[Docket], seats: &[Identity], terms: &Terms) -> Result<Vec<Ask>, TickError> {
    let mut asks = Vec::new();
    for round in 1..=terms.rounds {
        for (at, docket) in dockets.iter().enumerate() {
            for (number, identity) in (1..).zip(seats) {
                let seat = brief::seat(&docket.place.site, &docket.brief.card, identity).map_err(TickError::Cards)?;
                let run = RunId {
                    stage: docket.stage.id.clone(),
                    attempt: docket.candidate.run.attempt,
                    role: Role::Verifier,
                    seat: Some(number),
                    retry: round - 1,
                };
                asks.push(Ask { docket: at, seat, run, round });
            }
        }
    }
    Ok(asks)
}

/// Makes the scratch repository of a planted candidate; true where our own checks refuse the candidate.
fn stand_up(
    case: &Case,
    basis: &Basis,
    git: &Git,
    folder: &Path,
    at: DateTime<Utc>,
) -> Result<(Docket, bool), TickError> {
    let root = folder.join("project");
    atomic::make_dirs(&root, Durability::Volatile)?;
    let operator = Signature::from(&operator()?);
    git.create_repository(&root, BRANCH, &operator, "Begin")?;
    let manifest = Manifest {
        base_branch: Some(BRANCH.to_owned()),
        families: basis.manifest.families.clone(),
        defaults: basis.manifest.defaults,
        ..Manifest::default()
    };
    let mut site = Site::with_manifest(root.clone(), manifest, &basis.home, &basis.exe)?;
    site.layout = Layout::new(&root, &folder.join("state").to_string_lossy());
    site.follow_up = FollowUp::Nothing;
    let repo = site.repo(None)?;
    let run = RunId { stage: case.id.clone(), attempt: 1, role: Role::Worker, seat: None, retry: 0 };
    let begin = repo.tip(BRANCH)?.ok_or_else(|| TickError::NoBaseBranch { path: root.clone() })?;
    let base_commit = match &case.base {
        None => begin,
        Some(base) => {
            let capture = repo.capture(base, &begin, &[])?;
            write(&repo, &capture, &begin, &operator, at, "The project".to_owned())?
        }
    };
    let declared: Vec<String> =
        case.card.deliverables.iter().map(|deliverable| deliverable.path.as_str().to_owned()).collect();
    let capture = repo.capture(&case.candidate, &base_commit, &declared)?;
    let worker = Signature::from(&case.card.worker);
    let message = format!("{0}: candidate of attempt 1\n\nAutometta-Stage: {0}\nAutometta-Run: {run}\n", case.id);
    let commit = write(&repo, &capture, &base_commit, &worker, at, message)?;
    let sha256 = sha256_hex(&case.bytes);
    pin(&site, &sha256, &case.bytes)?;
    say(&site, &case.card, &run, &case.notes)?;
    if let Some(own) = basis.root.as_ref().map(|root| root.join(TEMPLATE))
        && let Some(bytes) = document::read(&own)?
    {
        // It lies in the scratch repository's own checkout, which no candidate is cut from.
        place_file(&root.join(TEMPLATE), &bytes)?;
    }
    let brief = brief::of_card(&site.families, &site.manifest, case.card.clone(), sha256.clone())
        .map_err(|why| TickError::Cards(format!("{}: {why}", case.id)))?;
    let contract = evidence::freeze(&repo, &case.card, &base_commit)
        .map_err(|why| TickError::Cards(format!("{}: {why}", case.id)))?;
    let captured = Captured {
        candidate: Candidate { commit: commit.clone(), tree: capture.tree.clone(), run: run.clone() },
        changed: capture.changed.iter().map(|change| change.path.text().into_owned()).collect(),
        embedded: capture.embedded.iter().map(|path| path.text().into_owned()).collect(),
        findings: Box::new(evidence::findings(&repo, &case.card, &contract, &base_commit, &capture.tree)?),
    };
    let refused = fault_of_candidate(&brief, &site.policy, &captured).is_some();
    let stage = Stage {
        attempt: 1,
        card_sha256: Some(sha256),
        ..queued(&case.card, format!("stage-cards/{}.md", case.id), BRANCH.to_owned())
    };
    let docket = Docket {
        place: Rc::new(Place { site, repo, shared_with: None }),
        stage,
        brief,
        work: Work { base_commit, started_at: at },
        candidate: Candidate { commit, tree: capture.tree, run },
        gate: None,
        at_fault: case.answer.path().map(ToOwned::to_owned),
    };
    Ok((docket, refused))
}

/// Who made the project of a planted candidate.
fn operator() -> Result<Identity, TickError> {
    "Operator <operator@local>".parse().map_err(|error| TickError::Prompt(format!("{error}")))
}

fn write(
    repo: &Repo,
    capture: &Capture,
    parent: &crate::core::ids::CommitId,
    author: &Signature,
    at: DateTime<Utc>,
    message: String,
) -> Result<crate::core::ids::CommitId, TickError> {
    Ok(repo.write_commit(&CommitText {
        tree: capture.tree.clone(),
        parents: vec![parent.clone()],
        author: author.clone(),
        committer: author.clone(),
        at,
        message,
    })?)
}

/// Keeps a card's bytes where prompts and checkouts get them from.
pub(super) fn pin(site: &Site, sha256: &str, bytes: &[u8]) -> Result<(), TickError> {
    place_file(&site.layout.pinned_card(sha256), bytes)
}

/// A file of ours, with its folder.
pub(super) fn place_file(path: &Path, bytes: &[u8]) -> Result<(), TickError> {
    if let Some(parent) = path.parent() {
        atomic::make_dirs(parent, Durability::Volatile)?;
    }
    Ok(atomic::write(path, bytes, Durability::Volatile)?)
}

/// Puts down what the worker says, where a prompt gets it from.
fn say(site: &Site, card: &Card, run: &RunId, notes: &str) -> Result<(), TickError> {
    let paths: Vec<&str> = card.deliverables.iter().map(|deliverable| deliverable.path.as_str()).collect();
    let handoff = json!({"stage_id": run.stage, "status": "pass", "deliverables": paths, "notes": notes.trim_end()});
    place_file(&site.layout.run(run).join("outbox/handoff.json"), handoff.to_string().as_bytes())
}
