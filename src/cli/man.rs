//! `man`: the manual, made from the same definition as the help.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::files::atomic::{self, Durability};

use super::args::Cli;
use super::{DONE, output};

/// `man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for every command into this folder, which is made.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The day of the commit that was built. An unknown one is a blank and not nothing, which would make the source the day.
const DAY: &str = if env!("AUTOMETTA_DAY").is_empty() { " " } else { env!("AUTOMETTA_DAY") };

/// A page of the manual.
struct Page {
    file: String,
    text: String,
}

pub fn man(args: &ManArgs) -> anyhow::Result<u8> {
    let pages = pages()?;
    match &args.out {
        None => output::print(pages.first().map_or("", |main| &main.text))?,
        Some(folder) => {
            atomic::make_dirs(folder, Durability::Volatile)?;
            for page in &pages {
                atomic::write_public(&folder.join(&page.file), page.text.as_bytes())?;
            }
            output::print(&format!("{} pages are in {}\n", pages.len(), folder.display()))?;
        }
    }
    Ok(DONE)
}

/// Every page, the one of the program itself first.
fn pages() -> anyhow::Result<Vec<Page>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    add(&root, root.get_name(), &mut pages)?;
    Ok(pages)
}

/// Adds the page of a command and of the commands below it; those that are hidden have none.
fn add(command: &Command, name: &str, pages: &mut Vec<Page>) -> anyhow::Result<()> {
    let shown = command.clone().display_name(name.to_owned());
    let title = name.to_uppercase();
    let mut text = Vec::new();
    Man::new(shown)
        .title(title)
        .date(DAY)
        .source(concat!("autometta ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)?;
    let text = String::from_utf8(text)?;
    // What stands after the options of a help are its examples, and that is how a manual calls them.
    let text = ["\n.SH EXTRA\nExamples:\n", "\n.SH EXTRA\nExample:\n"]
        .iter()
        .fold(text, |text, heading| text.replace(heading, "\n.SH EXAMPLES\n"));
    pages.push(Page { file: format!("{name}.1"), text });
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add(below, &format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}
