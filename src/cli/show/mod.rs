//! `show STAGE`: its whole story, as far as anything is left of it; `show --at SEQ`: the queue as it was.
//!
//! `story` gathers, `page` draws, `past` goes back.

mod page;
mod past;
mod story;

use clap::Args;

use super::status::Eye;
use super::terminal::{Look, LookArgs};
use super::{DONE, Place, output};
use crate::core::ids::StageId;
use crate::core::inbox::items;
use crate::core::operate::Refused;
use crate::files::store;
use crate::tick::{TickError, belongs_here, clock};

pub use past::PastDoc;
pub use story::Story;

/// `show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The stage; one that is no longer in the queue is found as well. May be left out with --at.
    #[arg(required_unless_present = "at")]
    pub stage: Option<StageId>,
    /// As it was after this line of the ledger; `log --json` prints the lines with their `seq`.
    #[arg(long, value_name = "SEQ")]
    pub at: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The look of the page.
    #[command(flatten)]
    pub look: LookArgs,
}

pub fn show(at: &Place, args: &ShowArgs) -> anyhow::Result<u8> {
    let id = match (&args.stage, args.at) {
        (_, Some(seq)) => return past::show(at, args, seq),
        (Some(id), None) => id,
        // The command line asks for one of the two.
        (None, None) => return Ok(DONE),
    };
    let site = at.site()?;
    let loaded = store::peek(&site.layout)?;
    belongs_here(&site, &loaded)?;
    let look = Look::new(&args.look);
    let now = clock::now();
    let found = story::gather(&site, &loaded, id)?;
    let Some(mut story) = found else {
        return Err(TickError::from(Refused::Unknown(id.clone())).into());
    };
    if let Some(stage) = loaded.state.stage(id) {
        let mut eye = Eye::new(&site.root, &site.home, &site.exe);
        let view = super::status::stage_view(&mut eye, &look, now, stage)?;
        // The reason has a place of its own on the page.
        let mine = items(&loaded.state, &loaded.budget).into_iter().find(|item| item.stage.as_ref() == Some(&stage.id));
        story.next_step = mine.map_or(view.next, |item| item.way_out);
        story.next_at = view.next_at;
        story.command = view.command;
        story.working = view.who;
    }
    if args.json {
        output::json(&story)?;
    } else {
        output::print(&page::render(&story, &look, now))?;
    }
    Ok(DONE)
}
