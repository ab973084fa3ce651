//! `completions`: what a shell needs to complete this program's words.

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;

use super::args::Cli;
use super::{DONE, output};

/// `completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

pub fn completions(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(), NAME, &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(DONE)
}

/// What a person types.
const NAME: &str = "autometta";

/// The command line without what is hidden from people, which the generators would offer all the same.
fn shown() -> Command {
    let whole = Cli::command();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new(NAME).version(env!("AUTOMETTA_VERSION")).args(whole.get_arguments().cloned()).subcommands(commands)
}
