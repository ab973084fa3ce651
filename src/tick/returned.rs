//! What an agent returned, from the copy in its run's own directory, and whether it can be used.
//!
//! A verdict is sealed to what its run was ordered to judge, and its evidence is looked up in that tree. What fails
//! here is no verdict; the words say why, and the seat reads them at its next try.

use crate::core::exit::{ExitRecord, Outbox};
use crate::core::fault::Faults;
use crate::core::ids::RunId;
use crate::core::observation::Returned;
use crate::core::run::RunOrder;
use crate::core::state::{Life, Stage, Verifying};
use crate::core::verdict::evidence::{self, FileLines};
use crate::core::verdict::{Scoring, Verdict};
use crate::files::document;
use crate::git::{GitError, Objects};

use super::brief::{self, Pin};
use super::error::TickError;
use super::site::Site;

/// A document that an agent returned; nothing but the copy in the run's own directory is ever read.
pub fn document<T>(
    site: &Site,
    record: &ExitRecord,
    kind: Outbox,
    name: &str,
    parse: impl Fn(&[u8]) -> Result<T, Faults>,
) -> Result<Returned<T>, TickError> {
    if let Some(why) = &record.outbox_fault {
        return Ok(Returned::Unusable(why.clone()));
    }
    if record.outbox != Some(kind) {
        return Ok(Returned::Nothing);
    }
    let path = site.layout.run(&record.run_id).join("outbox").join(name);
    Ok(match document::read(&path)? {
        None => Returned::Nothing,
        Some(bytes) => match parse(&bytes) {
            Ok(document) => Returned::Usable(document),
            Err(faults) => Returned::Unusable(format!("{name}: {faults}")),
        },
    })
}

/// The order that a run was launched with.
pub fn order(site: &Site, run: &RunId) -> Result<Option<RunOrder>, TickError> {
    let bytes = document::read(&site.layout.run(run).join("run.json"))?;
    Ok(bytes.and_then(|bytes| document::from_json(bytes).ok()))
}

/// The verdict of a run that has ended, where it can be used.
pub fn verdict(
    site: &Site,
    objects: &Objects,
    stage: &Stage,
    record: &ExitRecord,
) -> Result<Returned<Verdict>, TickError> {
    let Life::Verifying(verifying) = &stage.life else {
        return Ok(Returned::Unusable(format!("{} is not being verified", stage.id)));
    };
    let criteria = match brief::read(site, stage, Pin::No) {
        Ok(brief) => brief.card.criteria.len(),
        Err(why) => return Ok(Returned::Unusable(why)),
    };
    let order = order(site, &record.run_id)?;
    let schema = order.as_ref().and_then(|order| order.verdict_schema.as_ref());
    let scoring = schema.map_or(Scoring::NotAsked, Verdict::scoring_of);
    let returned = document(site, record, Outbox::Verdict, "verdict.json", |bytes| {
        Verdict::parse_scored(bytes, &stage.id, criteria, scoring)
    })?;
    let Returned::Usable(verdict) = returned else { return Ok(returned) };
    if let Some(why) = broken_seal(stage, verifying, record, order.as_ref()) {
        return Ok(Returned::Unusable(why));
    }
    Ok(match unfounded(site, objects, verifying, &record.run_id, &verdict)? {
        None => Returned::Usable(verdict),
        Some(why) => Returned::Unusable(why),
    })
}

/// Why a verdict is about something else than what is judged now.
fn broken_seal(stage: &Stage, verifying: &Verifying, record: &ExitRecord, order: Option<&RunOrder>) -> Option<String> {
    let run = &record.run_id;
    let Some(order) = order else {
        return Some(format!("state/runs/{run}/run.json cannot be read, so nobody knows what was judged"));
    };
    let tree = &verifying.candidate.tree;
    if order.run_id != *run {
        Some(format!("it was ordered as {}, which is another run", order.run_id))
    } else if order.candidate_tree.as_ref() != Some(tree) {
        let other = order.candidate_tree.as_ref().map_or_else(|| "no tree".to_owned(), ToString::to_string);
        Some(format!("it judged {other}, and the candidate is {tree}"))
    } else if Some(&order.card_sha256) != stage.card_sha256.as_ref() {
        Some(format!("it judged by the card {}, which is not this attempt's", order.card_sha256))
    } else {
        None
    }
}

/// Why a verdict's evidence does not hold: what it names is not there.
fn unfounded(
    site: &Site,
    objects: &Objects,
    verifying: &Verifying,
    run: &RunId,
    verdict: &Verdict,
) -> Result<Option<String>, TickError> {
    let top = site.worktree(run).display().to_string();
    let named = evidence::named_files(verdict, &top);
    let counts = |tree| objects.line_counts(tree, named.iter().cloned());
    let looked_up = counts(&verifying.candidate.tree).and_then(|here| Ok((here, counts(&verifying.work.base_commit)?)));
    let (candidate, base) = match looked_up {
        Ok(counts) => counts,
        // The next tick looks again; nothing was decided.
        Err(error) if error.may_pass() => return Err(error.into()),
        Err(error) => return Ok(Some(cannot_look(&error))),
    };
    let lines = |path: &str| FileLines { candidate: candidate.get(path).copied(), base: base.get(path).copied() };
    let faults = evidence::faults(verdict, &top, lines);
    Ok((!faults.is_empty()).then(|| format!("its evidence does not hold: {faults}")))
}

fn cannot_look(error: &GitError) -> String {
    format!("its evidence could not be looked up in the candidate: {error}")
}
