//! `show --at SEQ`: the queue, or one stage of it, as a commit of the past left it.

use schemars::JsonSchema;
use serde::Serialize;

use super::{ShowArgs, page, story};
use crate::cli::terminal::Look;
use crate::cli::terminal::look::Tone;
use crate::cli::{DONE, Place, output, status};
use crate::core::budget::Budget;
use crate::core::operate::Refused;
use crate::core::state_doc::StateDoc;
use crate::tick::replay::{Commit, Past, at as moment};
use crate::tick::{Site, TickError};

/// What `show --at --json` prints for the whole queue.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PastDoc {
    /// The line of the ledger that was asked for.
    pub seq: u64,
    /// The commit that it is of.
    pub commit: Commit,
    /// `state.yaml` after it.
    pub state: StateDoc,
    /// `budget.json` after it.
    pub budget: Budget,
}

pub fn show(at: &Place, args: &ShowArgs, seq: u64) -> anyhow::Result<u8> {
    let site = at.site()?;
    let past = moment(&site.layout, seq)?;
    let look = Look::new(&args.look);
    if args.stage.is_some() {
        return stage(&site, args, &past, &look);
    }
    let Past { commit, loaded } = past;
    if args.json {
        let state = StateDoc::from(&loaded.state);
        output::json(&PastDoc { seq, commit, state, budget: loaded.budget })?;
    } else {
        let head = look.paint(Tone::Strong, &words(&commit));
        output::print(&format!("{head}\n{}", status::past(&site, &loaded, &look, commit.at)))?;
    }
    Ok(DONE)
}

fn words(commit: &Commit) -> String {
    let Commit { first, last, tick, program, .. } = commit;
    let lines = if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
    format!("as {lines} of the ledger left it: tick {tick}, decided by autometta {program}")
}

fn stage(site: &Site, args: &ShowArgs, past: &Past, look: &Look) -> anyhow::Result<u8> {
    let Past { commit, loaded } = past;
    let Some(id) = &args.stage else { return Ok(DONE) };
    if loaded.state.stage(id).is_none() {
        return Err(TickError::from(Refused::Unknown(id.clone())).into());
    }
    let found = story::gather(site, loaded, id)?;
    let Some(mut story) = found else { return Err(TickError::from(Refused::Unknown(id.clone())).into()) };
    story.as_of(commit.at);
    if args.json {
        output::json(&story)?;
    } else {
        let head = look.paint(Tone::Strong, &words(commit));
        output::print(&format!("{head}\n{}", page::render(&story, look, commit.at)))?;
    }
    Ok(DONE)
}
