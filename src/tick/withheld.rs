//! Work that nothing may be made of, because a secret of its run stands in it, or because nobody can tell.
//!
//! It is decided before git is handed a byte: an object that was written once is in every clone that is made of it.

use crate::core::exit::{ExitRecord, SecretInWork};
use crate::core::ids::RunId;
use crate::core::observation::WorkSighting;
use crate::core::words::list;
use crate::runs;

use super::order;
use super::returned;
use super::site::Site;

/// What a worker's record says of its checkout; none where nothing speaks against it.
pub fn by_record(site: &Site, record: &ExitRecord) -> Option<WorkSighting> {
    sighting(site, &record.run_id, &record.secrets_in_work)
}

/// The same for a worker that left no record, by looking again.
pub fn by_looking(site: &Site, run: &RunId) -> Option<WorkSighting> {
    let worktree = site.worktree(run);
    if !worktree.exists() {
        return None;
    }
    let cannot = |why: String| {
        let detail =
            format!("nobody can tell whether a secret of {run} stands in its work: {why}; {}", way_out(site, run));
        Some(WorkSighting::Withheld(detail))
    };
    let order = match returned::order(site, run) {
        Ok(Some(order)) => order,
        Ok(None) => return cannot("its run.json cannot be read".to_owned()),
        Err(error) => return cannot(error.to_string()),
    };
    match runs::secrets_left(&site.layout.run(run), &order::given(site, &order)) {
        Ok(found) => sighting(site, run, &found),
        Err(why) => cannot(why),
    }
}

fn sighting(site: &Site, run: &RunId, found: &[SecretInWork]) -> Option<WorkSighting> {
    if found.is_empty() {
        return None;
    }
    let words = |one: &SecretInWork| match &one.variable {
        Some(variable) => format!("{} holds the value of {variable}", one.path),
        None => format!("{} could not be looked through", one.path),
    };
    let found: Vec<String> = found.iter().map(words).collect();
    Some(WorkSighting::Withheld(format!("{}; {}", list(&found), way_out(site, run))))
}

fn way_out(site: &Site, run: &RunId) -> String {
    let (place, stage) = (site.worktree(run), &run.stage);
    format!(
        "nothing of it was put into git, and its checkout is left for you: take out what you need, have a key that may have \
         been seen revoked, then `git worktree remove --force {}` and `autometta requeue {stage}`",
        place.display(),
    )
}
