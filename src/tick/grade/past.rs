//! Past candidates of a repository, found in run records, the ledger and git's objects, and judged again.
//!
//! Stages, budget and ledger stay as they are. All that is written is a folder of its own, `state/grades/<time>/`, with
//! the runs of this grading and `grade.json`, and unnamed git objects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use chrono::{DateTime, Utc};

use crate::core::card::Card;
use crate::core::exit::{EndedBy, ExitRecord, GateResult, ProcessEnd};
use crate::core::grade::{Candidate as PastCandidate, Earlier, Fate, LeftOut, Opinion, Regrade, regrade};
use crate::core::ids::{CommitId, Identity, Role, RunId, StageId, TreeId};
use crate::core::operate::queued;
use crate::core::run::RunOrder;
use crate::core::state::{Candidate, Stage, Work};
use crate::core::verdict::Verdict;
use crate::files::document;
use crate::files::layout::Layout;
use crate::files::ledger::{self, GENESIS, Head};
use crate::git::{CommitText, Signature};

use super::planted::{pin, place_file};
use super::{Ask, Docket, Estimate, News, Place, Terms, bench, distinct};
use crate::tick::error::TickError;
use crate::tick::site::{FollowUp, Site};
use crate::tick::{brief, clock};

/// Which past candidates are judged, and by whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// These stages; all of them where none is named.
    pub stages: Vec<StageId>,
    /// Only the newest so many candidates.
    pub newest: Option<usize>,
    /// These seats; each stage's own where none is named.
    pub seats: Vec<Identity>,
}

/// A grading of the past that is ready to begin.
pub struct Past {
    at: DateTime<Utc>,
    place: Rc<Place>,
    dockets: Vec<Docket>,
    candidates: Vec<PastCandidate>,
    left_out: Vec<LeftOut>,
    asks: Vec<Ask>,
    terms: Terms,
}

/// A record of the past that names a candidate.
struct Record {
    run: RunId,
    order: RunOrder,
    exit: ExitRecord,
}

/// What makes a candidate one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stage: StageId,
    attempt: u32,
    tree: TreeId,
    base: CommitId,
    card_sha256: String,
}

impl Past {
    /// Finds the candidates. Nothing is asked yet, and nothing that anybody relies on is written.
    pub fn prepare(site: Site, which: &Which, terms: Terms) -> Result<Self, TickError> {
        distinct(&which.seats)?;
        let at = clock::now();
        let layout = site.layout.clone();
        let place = Rc::new(aside(site, at)?);
        let lock = place.lock()?;
        let records = records(&layout)?;
        let landed = landed(&layout)?;
        let mut past = Self {
            at,
            place: Rc::clone(&place),
            dockets: Vec::new(),
            candidates: Vec::new(),
            left_out: Vec::new(),
            asks: Vec::new(),
            terms,
        };
        let mut groups: BTreeMap<Key, Vec<&Record>> = BTreeMap::new();
        for record in records.iter().filter(|record| record.run.role == Role::Verifier) {
            let Some(tree) = record.order.candidate_tree.clone() else { continue };
            if !which.stages.is_empty() && !which.stages.contains(&record.run.stage) {
                continue;
            }
            let key = Key {
                stage: record.run.stage.clone(),
                attempt: record.run.attempt,
                tree,
                base: record.order.base_commit.clone(),
                card_sha256: record.order.card_sha256.clone(),
            };
            groups.entry(key).or_default().push(record);
        }
        let mut groups: Vec<(Key, Vec<&Record>)> = groups.into_iter().collect();
        groups.sort_by_key(|(_, judged)| judged.iter().map(|record| record.order.created_at).min());
        let skip = which.newest.map_or(0, |newest| groups.len().saturating_sub(newest));
        let mut used: BTreeMap<(StageId, u32, u32), u32> = BTreeMap::new();
        for (key, judged) in groups.drain(..).skip(skip) {
            if let Err(why) = past.take(&layout, &key, &judged, &records, &landed, which, &mut used)? {
                past.left_out.push(LeftOut { stage: key.stage, attempt: key.attempt, why });
            }
        }
        drop(lock);
        Ok(past)
    }

    /// Takes one candidate in; or says why it cannot be judged again.
    #[expect(clippy::too_many_arguments, reason = "what was read once for all candidates is handed on")]
    fn take(
        &mut self,
        layout: &Layout,
        key: &Key,
        judged: &[&Record],
        records: &[Record],
        landed: &BTreeSet<(StageId, u32)>,
        which: &Which,
        used: &mut BTreeMap<(StageId, u32, u32), u32>,
    ) -> Result<Result<(), String>, TickError> {
        let place = Rc::clone(&self.place);
        let Some(bytes) = document::read(&layout.pinned_card(&key.card_sha256))? else {
            return Ok(Err(format!("the card that it was judged by ({}) is no longer kept", key.card_sha256)));
        };
        for object in [&key.tree, &key.base] {
            if !place.repo.object_exists(object)? {
                return Ok(Err(format!(
                    "git has no object {object} any more; only what a branch holds is kept for ever"
                )));
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let card = match Card::parse(key.stage.clone(), &text) {
            Ok(parsed) => parsed.card,
            Err(faults) => return Ok(Err(format!("its card cannot be read any more: {faults}"))),
        };
        let seats = if which.seats.is_empty() { card.verifiers.seats().to_vec() } else { which.seats.clone() };
        let mut asks = Vec::new();
        for round in 1..=self.terms.rounds {
            for (number, identity) in (1..).zip(&seats) {
                let seat = match brief::seat(&place.site, &card, identity) {
                    Ok(seat) => seat,
                    Err(why) => return Ok(Err(why)),
                };
                let retry = used.entry((key.stage.clone(), key.attempt, number)).or_default();
                let run = RunId {
                    stage: key.stage.clone(),
                    attempt: key.attempt,
                    role: Role::Verifier,
                    seat: Some(number),
                    retry: *retry,
                };
                *retry += 1;
                asks.push(Ask { docket: self.dockets.len(), seat, run, round });
            }
        }
        let brief = match brief::of_card(&place.site.families, &place.site.manifest, card, key.card_sha256.clone()) {
            Ok(brief) => brief,
            Err(why) => return Ok(Err(why)),
        };
        pin(&place.site, &key.card_sha256, &bytes)?;
        self.candidates.push(candidate(layout, key, judged, landed, brief.card.criteria.len())?);
        self.dockets.push(self.docket(layout, key, records, brief)?);
        self.asks.extend(asks);
        Ok(Ok(()))
    }

    /// The candidate as a seat is to find it, with the evidence of then.
    fn docket(
        &self,
        layout: &Layout,
        key: &Key,
        records: &[Record],
        brief: Box<crate::core::observation::Brief>,
    ) -> Result<Docket, TickError> {
        let place = Rc::clone(&self.place);
        let of_attempt = |record: &&Record| record.run.stage == key.stage && record.run.attempt == key.attempt;
        let worker = records
            .iter()
            .filter(of_attempt)
            .filter(|record| record.run.role == Role::Worker)
            .max_by_key(|record| record.run.retry)
            .map_or_else(
                || RunId { stage: key.stage.clone(), attempt: key.attempt, role: Role::Worker, seat: None, retry: 0 },
                |record| record.run.clone(),
            );
        copy(layout, &place.site.layout, &worker, "outbox/handoff.json")?;
        let gate = records
            .iter()
            .filter(of_attempt)
            .filter(|record| record.run.role == Role::Gate && record.order.candidate_tree.as_ref() == Some(&key.tree))
            .filter(|record| !record.exit.gates.is_empty() && record.exit.gates.iter().all(GateResult::passed))
            .max_by_key(|record| record.run.retry)
            .map(|record| record.run.clone());
        if let Some(gate) = &gate {
            copy(layout, &place.site.layout, gate, "exit.json")?;
        }
        let author = Signature::from(&brief.card.worker);
        let commit = place.repo.write_commit(&CommitText {
            tree: key.tree.clone(),
            parents: vec![key.base.clone()],
            author: author.clone(),
            committer: author,
            at: self.at,
            message: format!("{0}: candidate of attempt {1}\n\nAutometta-Stage: {0}\n", key.stage, key.attempt),
        })?;
        let stage = Stage {
            attempt: key.attempt,
            card_sha256: Some(key.card_sha256.clone()),
            ..queued(&brief.card, format!("stage-cards/{}.md", key.stage), place.site.base_branch()?)
        };
        Ok(Docket {
            place,
            stage,
            brief,
            work: Work { base_commit: key.base.clone(), started_at: self.at },
            candidate: Candidate { commit, tree: key.tree.clone(), run: worker },
            gate,
            at_fault: None,
        })
    }

    /// What it may cost at most.
    pub fn estimate(&self) -> Estimate {
        Estimate::of(&self.asks)
    }

    /// Where the records go.
    pub fn folder(&self) -> PathBuf {
        self.place.site.layout.dir().to_owned()
    }

    /// Asks every seat, compares with what was said then, and writes `grade.json`.
    pub fn judge(self, told: &mut dyn FnMut(News<'_>)) -> Result<Regrade, TickError> {
        let heard = bench::hold(&self.dockets, &self.asks, &self.terms, told)?;
        // The folder around this grading's checkouts goes where no stage has a checkout in it.
        if let Some(around) = self.place.site.worktrees().parent() {
            drop(std::fs::remove_dir(around));
        }
        let mut of_each: Vec<Vec<_>> = self.dockets.iter().map(|_| Vec::new()).collect();
        for (ask, one) in self.asks.iter().zip(heard) {
            of_each[ask.docket].push(one);
        }
        let found = regrade(self.at, self.candidates.into_iter().zip(of_each).collect(), self.left_out);
        let text = document::to_json_pretty(&found).map_err(|error| TickError::Prompt(error.to_string()))?;
        place_file(&self.place.site.layout.dir().join("grade.json"), text.as_bytes())?;
        Ok(found)
    }
}

/// The same repository with a state of this grading's own: its runs, its checkouts, no ticks.
fn aside(mut site: Site, at: DateTime<Utc>) -> Result<Place, TickError> {
    let layout = site.layout.clone();
    let name = at.format("%Y%m%dT%H%M%S%3fZ").to_string();
    let repo = site.repo(None)?;
    site.layout = Layout::new(&site.root, &layout.dir().join("grades").join(&name).to_string_lossy());
    site.manifest.worktrees = format!("{}/grade-{name}", site.manifest.worktrees.trim_end_matches('/'));
    site.follow_up = FollowUp::Nothing;
    Ok(Place { site, repo, shared_with: Some(layout) })
}

/// Every run of a stage that has ended with a record, oldest first.
fn records(layout: &Layout) -> Result<Vec<Record>, TickError> {
    let dir = layout.runs();
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(TickError::Io { path: dir, source }),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(run) = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()) else { continue };
        if run.is_manual() {
            continue;
        }
        let order: Option<RunOrder> =
            document::read(&entry.path().join("run.json"))?.and_then(|bytes| document::from_json(bytes).ok());
        let exit: Option<ExitRecord> =
            document::read(&entry.path().join("exit.json"))?.and_then(|bytes| document::from_json(bytes).ok());
        if let (Some(order), Some(exit)) = (order, exit) {
            found.push(Record { run, order, exit });
        }
    }
    found.sort_by(|one, other| (one.order.created_at, &one.run).cmp(&(other.order.created_at, &other.run)));
    Ok(found)
}

/// The attempts whose candidate has landed, as the ledger tells it.
fn landed(layout: &Layout) -> Result<BTreeSet<(StageId, u32)>, TickError> {
    let path = layout.ledger();
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let start = Head { seq: 0, sha256: GENESIS.to_owned(), length: 0 };
    let mut newest: BTreeMap<StageId, u32> = BTreeMap::new();
    let mut landed = BTreeSet::new();
    for line in ledger::since(&path, &start).map_err(crate::files::store::StoreError::from)? {
        let Some(stage) = line.note.stage else { continue };
        if let Some(run) = &line.note.run {
            newest.insert(stage.clone(), run.attempt);
        }
        if line.note.to.as_deref() == Some("completed")
            && let Some(attempt) = newest.get(&stage)
        {
            landed.insert((stage, *attempt));
        }
    }
    Ok(landed)
}

/// A candidate with what was said of it then.
fn candidate(
    layout: &Layout,
    key: &Key,
    judged: &[&Record],
    landed: &BTreeSet<(StageId, u32)>,
    criteria: usize,
) -> Result<PastCandidate, TickError> {
    let mut earlier = Vec::new();
    for record in judged {
        let Some(seat) = record.order.identity.clone() else { continue };
        let bytes = document::read(&layout.run(&record.run).join("outbox/verdict.json"))?;
        let ended_well = record.exit.ended_by == EndedBy::Exit && record.exit.exit == ProcessEnd::Code(0);
        let verdict = bytes.filter(|_| ended_well && record.exit.outbox_fault.is_none());
        let said = verdict
            .and_then(|bytes| Verdict::parse(&bytes, &key.stage, criteria).ok())
            .map_or(Opinion::NoVerdict, |verdict| Opinion::from(verdict.judged()));
        earlier.push(Earlier { run: record.run.clone(), seat, said });
    }
    let fate = if landed.contains(&(key.stage.clone(), key.attempt)) { Fate::Landed } else { Fate::NotLanded };
    Ok(PastCandidate {
        stage: key.stage.clone(),
        attempt: key.attempt,
        tree: key.tree.clone(),
        base_commit: key.base.clone(),
        card_sha256: key.card_sha256.clone(),
        fate,
        earlier,
    })
}

/// Copies one file of a run's directory from one state to another, where it is there.
fn copy(from: &Layout, to: &Layout, run: &RunId, name: &str) -> Result<(), TickError> {
    match document::read(&from.run(run).join(name))? {
        Some(bytes) => place_file(&to.run(run).join(name), &bytes),
        None => Ok(()),
    }
}
