//! `queue`: the line as it stands, and what an operator says about it.

use clap::{Args, Subcommand};

use super::status::{self, Eye};
use super::terminal::{Look, LookArgs};
use super::{DONE, Place, output};
use crate::core::ids::StageId;
use crate::core::operate::{Command, Place as To};
use crate::tick::{clock, operate};

/// `queue`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct QueueArgs {
    /// What to do; without, the queue is shown.
    #[command(subcommand)]
    pub command: Option<QueueCommand>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The look of the screen.
    #[command(flatten)]
    pub look: LookArgs,
}

/// What may be done with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Give a waiting stage another place in the line. It takes on the priority of the stage beside which it is put.
    #[command(
        after_help = "Examples:\n  autometta queue move 07-parser --first\n  autometta queue move 07-parser --before 04-cli"
    )]
    Move(MoveArgs),
    /// Do not begin these stages until they are released; what they are is not changed.
    #[command(after_help = "Example:\n  autometta queue hold 07-parser --reason 'waits for the new grammar'")]
    Hold(HoldArgs),
    /// Let stages go on that are held.
    #[command(after_help = "Example:\n  autometta queue release 07-parser")]
    Release(super::args::StagesArgs),
}

/// `queue move`
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The stage.
    pub stage: StageId,
    /// Where to.
    #[command(flatten)]
    pub to: ToArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where a stage is moved to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ToArgs {
    /// Before all others that have not begun.
    #[arg(long)]
    pub first: bool,
    /// Behind all others.
    #[arg(long)]
    pub last: bool,
    /// Just before this one.
    #[arg(long, value_name = "OTHER")]
    pub before: Option<StageId>,
    /// Just behind this one.
    #[arg(long, value_name = "OTHER")]
    pub after: Option<StageId>,
}

/// `queue hold`
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The stages.
    #[arg(required = true)]
    pub stages: Vec<StageId>,
    /// Why, for whoever looks.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn queue(at: &Place, args: &QueueArgs) -> anyhow::Result<u8> {
    match &args.command {
        None => show(at, args),
        Some(QueueCommand::Move(args)) => {
            let to = match (&args.to.before, &args.to.after) {
                (Some(other), _) => To::Before(other.clone()),
                (None, Some(other)) => To::After(other.clone()),
                (None, None) if args.to.first => To::First,
                (None, None) => To::Last,
            };
            let stage = args.stage.clone();
            say(at, vec![Command::Move { stage, to }], args.json, "it stands there already")
        }
        Some(QueueCommand::Hold(args)) => {
            let hold = |stage: &StageId| Command::Hold { stage: stage.clone(), why: args.reason.clone() };
            say(at, args.stages.iter().map(hold).collect(), args.json, "held already")
        }
        Some(QueueCommand::Release(args)) => {
            let release = args.stages.iter().cloned().map(Command::Release);
            say(at, release.collect(), args.json, "nobody holds it")
        }
    }
}

/// Carries commands out, all or none, and says what happened, or that nothing had to.
fn say(at: &Place, commands: Vec<Command>, json: bool, nothing: &str) -> anyhow::Result<u8> {
    let notes = operate::commands_of(&at.site()?, commands)?;
    if notes.is_empty() && !json {
        output::print(&format!("nothing has changed: {nothing}\n"))?;
        return Ok(DONE);
    }
    output::notes(&notes, json)?;
    Ok(DONE)
}

fn show(at: &Place, args: &QueueArgs) -> anyhow::Result<u8> {
    let look = Look::new(&args.look);
    let mut eye = Eye::new(&at.path()?, &at.home, &at.exe);
    let (doc, text) = status::queue(&mut eye, &look, clock::now())?;
    if args.json {
        output::json(&doc)?;
    } else {
        output::print(&text)?;
    }
    Ok(DONE)
}
