//! Choosing the copy: the newest one on the ref whose files can all be read and belong to this place.

use crate::core::budget::Budget;
use crate::core::ids::CommitId;
use crate::core::state::State;
use crate::files::ledger::Head;
use crate::files::store;
use crate::git::{RefName, Repo};

use super::super::error::TickError;
use super::super::site::Site;
use super::super::snapshot::{REF, Seal};

/// How many copies are looked at; each costs a few git processes.
const MOST: usize = 100;

/// A copy that can be used.
pub(super) struct Copy {
    pub commit: CommitId,
    pub sealed: Head,
    pub state: State,
    pub budget: Budget,
    /// The end of the ledger, as the copy has it.
    pub ledger: Vec<u8>,
}

/// The newest good copy, if there is one, and what is wrong with the newer ones.
pub(super) fn newest_good(site: &Site, repo: &Repo) -> Result<(Option<Copy>, Vec<String>), TickError> {
    let mut passed_over = Vec::new();
    for commit in repo.snapshots(&RefName::new(REF)?, MOST)? {
        match read(site, repo, &commit)? {
            Ok(copy) => return Ok((Some(copy), passed_over)),
            Err(why) => passed_over.push(format!("{}: {why}", &commit.as_str()[..12])),
        }
    }
    Ok((None, passed_over))
}

/// There is nothing to restore from.
pub(super) fn none_good(passed_over: &[String]) -> TickError {
    let looked = match passed_over {
        [] => "there is no copy".to_owned(),
        some => format!("none of {} copies is good ({})", some.len(), some.join("; ")),
    };
    TickError::Prompt(format!(
        "{REF}: {looked}, so nothing can be restored and nothing was changed; \
         `git log -g {REF}` shows what there is, and a backup of the state directory may hold more"
    ))
}

/// The copy, or what is wrong with it. That git did not get to look at it says nothing against it: an older one, or
/// none, must not take its place.
fn read(site: &Site, repo: &Repo, commit: &CommitId) -> Result<Result<Copy, String>, TickError> {
    let file = |name: &str| match repo.read_file_at(commit, name) {
        Ok(found) => Ok(found.ok_or_else(|| format!("it has no {name}"))),
        Err(error) if error.may_pass() => Err(TickError::from(error)),
        Err(error) => Ok(Err(error.to_string())),
    };
    let files = Files {
        state: file("state.yaml")?,
        budget: file("budget.json")?,
        seal: file("seal.json")?,
        ledger: file("ledger.jsonl")?,
    };
    Ok(files.decode(site, commit))
}

/// What a copy holds, or why not.
struct Files {
    state: Result<Vec<u8>, String>,
    budget: Result<Vec<u8>, String>,
    seal: Result<Vec<u8>, String>,
    ledger: Result<Vec<u8>, String>,
}

impl Files {
    fn decode(self, site: &Site, commit: &CommitId) -> Result<Copy, String> {
        let text = |error: store::StoreError| error.to_string();
        let state = store::decode_state(&site.layout.state_yaml(), &self.state?).map_err(text)?;
        let budget = store::decode_budget(&site.layout.budget_json(), &self.budget?).map_err(text)?;
        if state.repo_id != site.repo_id {
            return Err(format!("it belongs to another place or machine ({})", state.repo_id));
        }
        let seal: Seal = serde_json::from_slice(&self.seal?).map_err(|error| format!("seal.json: {error}"))?;
        // A copy without it is good; the ledger on the disk is what counts.
        let ledger = self.ledger.unwrap_or_default();
        Ok(Copy { commit: commit.clone(), sealed: seal.ledger, state, budget, ledger })
    }
}
