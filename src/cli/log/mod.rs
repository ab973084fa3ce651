//! `log`: the ledger in words, and what agents print, made readable; once or as it grows. And the ledger checked: its
//! chain of hashes, and its decisions made again.

mod ledger;
mod replay;
mod run;

use clap::Args;

use super::terminal::{Look, LookArgs};
use super::{DONE, FAILED, Place, output};
use crate::core::ids::StageId;
use crate::core::quantity::Seconds;
use crate::tick::snapshot;

pub use replay::ReplayDoc;

/// `log`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that somebody types")]
pub struct LogArgs {
    /// Check the chain of hashes from the first line to the last.
    #[arg(long, conflicts_with_all = ["follow", "run"])]
    pub verify: bool,
    /// Make every recorded decision again and compare: exit 1 where one differs.
    #[arg(long, conflicts_with_all = ["verify", "follow", "run", "stage", "since", "lines"])]
    pub replay: bool,
    /// With --replay: from this line of the ledger on.
    #[arg(long, value_name = "SEQ", requires = "replay")]
    pub from: Option<u64>,
    /// What this run prints: its id, a beginning of it that no other run shares, or a stage for its newest run.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["stage", "since", "lines"])]
    pub run: Option<String>,
    /// With --run: the bytes as they are, only terminal escapes taken out.
    #[arg(long, requires = "run")]
    pub raw: bool,
    /// Go on as it grows: with --run until the run has ended, else until Ctrl-C.
    #[arg(long, short)]
    pub follow: bool,
    /// Only what concerns this stage.
    #[arg(long)]
    pub stage: Option<StageId>,
    /// Only what happened since: a time such as 2026-11-20T22:00:00Z, or how long ago, such as 12h.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Only the newest lines of those.
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub lines: Option<usize>,
    /// Print the ledger's lines as they are; with --replay, what was found.
    #[arg(long, conflicts_with = "run")]
    pub json: bool,
    /// The look of the lines.
    #[command(flatten)]
    pub look: LookArgs,
}

/// From when on.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// So long ago.
    Ago(Seconds),
    /// That moment.
    Moment(chrono::DateTime<chrono::Utc>),
}

fn since(text: &str) -> Result<Since, String> {
    let ago = Seconds::parse(text).map(Since::Ago);
    let moment = || text.parse().ok().map(Since::Moment);
    ago.or_else(moment).ok_or_else(|| "expected 12h, 30 minutes or 2026-11-20T22:00:00Z".to_owned())
}

pub fn log(at: &Place, args: &LogArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    if args.verify {
        let path = site.layout.ledger();
        let sealed = snapshot::sealed(&site.repo(None)?)?;
        return match crate::files::ledger::verify(&path, sealed.as_ref()) {
            Ok(head) => {
                output::print(&format!("{}: {} lines, each follows from the one before\n", path.display(), head.seq))?;
                Ok(DONE)
            }
            Err(error) => {
                eprintln!("autometta: {error}; the copies on refs/autometta/state show what it was");
                Ok(FAILED)
            }
        };
    }
    if args.replay {
        return replay::print(&site, args);
    }
    let look = Look::new(&args.look);
    match &args.run {
        Some(name) => run::print(&site, name, args, &look),
        None => ledger::print(&site, args, &look),
    }
}

/// Prints text; whether anybody still reads.
fn reaches(text: &str) -> anyhow::Result<bool> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
