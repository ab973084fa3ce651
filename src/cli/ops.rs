//! What an operator says: init, requeue, skip, cancel, halt, resume.

use crate::core::ids::StageId;
use crate::core::operate::Command;
use crate::tick::init::{self, Adopt};
use crate::tick::operate;

use super::args::{HaltArgs, InitArgs, JsonArgs, StagesArgs};
use super::{DONE, Place, logging, output, timer};

pub fn init(at: &Place, args: &InitArgs) -> anyhow::Result<u8> {
    logging::start(&at.home);
    let adopt = if args.adopt { Adopt::Yes } else { Adopt::No };
    let done = init::init(&at.path()?, &at.home, &at.exe, adopt)?;
    let mut text = String::new();
    if done.made.is_empty() {
        text.push_str(&format!("{} was ready already\n", done.root.display()));
    } else {
        text.push_str(&format!("{} is ready:\n", done.root.display()));
        for made in &done.made {
            text.push_str(&format!("  {made}\n"));
        }
        text.push_str(
            "next: `autometta card new 01-first-stage`, fill it in, `autometta add-stage` it, `autometta run`\n",
        );
    }
    if !args.timer {
        text.push_str(timer::hint(at));
    }
    output::print(&text)?;
    for warning in &done.warnings {
        eprintln!("warning: {warning}");
    }
    if args.timer {
        timer::install_unless_there(at)?;
    }
    Ok(DONE)
}

pub fn on_stages(at: &Place, args: &StagesArgs, command: fn(StageId) -> Command) -> anyhow::Result<u8> {
    output::notes(&operate::on_stages(&at.site()?, &args.stages, command)?, args.json)?;
    Ok(DONE)
}

pub fn requeue(at: &Place, args: &StagesArgs) -> anyhow::Result<u8> {
    output::notes(&operate::requeue(&at.site()?, &args.stages)?, args.json)?;
    Ok(DONE)
}

pub fn halt(at: &Place, args: &HaltArgs) -> anyhow::Result<u8> {
    let notes = operate::command(&at.site()?, Command::Halt(args.reason.clone()))?;
    if notes.is_empty() && !args.json {
        output::print("the repository was halted already\n")?;
        return Ok(DONE);
    }
    output::notes(&notes, args.json)?;
    Ok(DONE)
}

pub fn resume(at: &Place, args: &JsonArgs) -> anyhow::Result<u8> {
    let notes = operate::command(&at.site()?, Command::Resume)?;
    output::notes(&notes, args.json)?;
    Ok(DONE)
}
