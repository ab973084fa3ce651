//! The command line: parsing, printing, exit codes. Only this layer prints, and only `main` exits.
//!
//! Exit codes: 0 done or nothing to do; 1 failed; 2 wrong usage; 3 refused, and why; 4 halted.

#![expect(clippy::disallowed_macros, reason = "this is the layer that prints")]

mod args;
mod attach;
mod auth;
mod budget;
mod cards;
mod clean;
mod completions;
mod demo;
mod doctor;
mod grade;
mod graph;
mod inbox;
mod log;
mod logging;
mod man;
mod ops;
mod output;
mod queue;
mod register;
mod report;
mod run;
mod show;
mod simulate;
mod status;
mod subscribers;
mod terminal;
mod ticks;
mod timer;
mod watch;

pub use log::ReplayDoc;
pub use show::{PastDoc, Story};
pub use status::{Fleet, QueueDoc, RepoStatus};

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use crate::files::home::Home;
use crate::files::store::StoreError;
use crate::runs;
use crate::tick::{FailureKind, Site, TickError, meter_for};
use crate::timers::TimerError;

use args::{Cli, Command};

pub use attach::AttachPlan;

/// Done, or nothing to do.
const DONE: u8 = 0;
/// Something went wrong.
const FAILED: u8 = 1;
/// The command line does not say enough.
const USAGE: u8 = 2;
/// The command was refused.
const REFUSED: u8 = 3;
/// The repository is halted.
const HALTED: u8 = 4;

/// Runs the command line and says how to exit.
pub fn main() -> ExitCode {
    // These are started by a tick, never by a person: they are looked for before anything is parsed.
    let mut words = std::env::args_os().skip(1);
    if let (Some(word), Some(path)) = (words.next(), words.next().map(PathBuf::from)) {
        if word == "__supervise" {
            return runs::supervise(&path, &meter_for);
        }
        if word == "__tell" {
            return tell(&path);
        }
        if word == "__wake" {
            return wake(&path);
        }
    }
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("autometta: {error:#}");
            ExitCode::from(if is_refusal(&error) { REFUSED } else { FAILED })
        }
    }
}

/// The life of the process that a tick starts to tell the operator something.
fn tell(notice: &Path) -> ExitCode {
    runs::detach();
    let told = Place::new(None).and_then(|at| {
        logging::start(&at.home);
        Ok(crate::tick::tell::tell(notice, &at.home, &at.exe)?)
    });
    match told {
        Ok(()) => ExitCode::from(DONE),
        Err(error) => {
            tracing::warn!("{}: {error:#}", notice.display());
            ExitCode::from(FAILED)
        }
    }
}

/// The life of the process that a tick starts to wait for a known time.
fn wake(repo: &Path) -> ExitCode {
    runs::detach();
    let woken = Place::new(None).and_then(|at| {
        logging::start(&at.home);
        Ok(crate::tick::wake::wait(&Site::open(repo, &at.home, &at.exe)?)?)
    });
    match woken {
        Ok(()) => ExitCode::from(DONE),
        Err(error) => {
            tracing::warn!("{}: {error:#}", repo.display());
            ExitCode::from(FAILED)
        }
    }
}

/// Whether it was refused rather than tried in vain; commands that only read have the store's word for it.
fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<TickError>().is_some_and(|error| error.kind() == FailureKind::Refused)
        || matches!(error.downcast_ref::<StoreError>(), Some(StoreError::Newer { .. }))
        || error.downcast_ref::<TimerError>().is_some_and(TimerError::is_refusal)
}

fn dispatch(cli: Cli) -> anyhow::Result<u8> {
    let at = Place::new(cli.repo)?;
    match cli.command {
        Command::Init(args) => ops::init(&at, &args),
        Command::AddStage(args) => cards::add_stage(&at, &args),
        Command::Card(args) => cards::card(&at, &args),
        Command::Tick(args) => ticks::tick(&at, &args),
        Command::Subscribe(args) => subscribers::subscribe(&at, &args),
        Command::Unsubscribe(args) => subscribers::unsubscribe(&at, &args),
        Command::Subscribers(args) => subscribers::subscribers(&at, &args),
        Command::Run(args) => run::run(&at, &args),
        Command::Status(args) => status::status(&at, &args),
        Command::Show(args) => show::show(&at, &args),
        Command::Log(args) => log::log(&at, &args),
        Command::Report(args) => report::report(&at, &args),
        Command::Queue(args) => queue::queue(&at, &args),
        Command::Graph(args) => graph::graph(&at, &args),
        Command::Requeue(args) => ops::requeue(&at, &args),
        Command::Skip(args) => ops::on_stages(&at, &args, crate::core::operate::Command::Skip),
        Command::Cancel(args) => ops::on_stages(&at, &args, crate::core::operate::Command::Cancel),
        Command::Inbox(args) => inbox::inbox(&at, &args),
        Command::Answer(args) => inbox::answer(&at, &args),
        Command::Approve(args) => inbox::approve(&at, &args),
        Command::Reject(args) => inbox::reject(&at, &args),
        Command::Halt(args) => ops::halt(&at, &args),
        Command::Resume(args) => ops::resume(&at, &args),
        Command::Budget(args) => budget::budget(&at, &args),
        Command::Simulate(args) => simulate::simulate(&at, &args),
        Command::Attach(args) => attach::attach(&at, &args),
        Command::Auth(args) => auth::auth(&at, &args),
        Command::Doctor(args) => doctor::doctor(&at, &args),
        Command::Register(args) => register::register(&at, &args),
        Command::Watch(args) => watch::watch(&at, &args),
        Command::Probe(args) => doctor::probe(&args),
        Command::Await(args) => Ok(register::await_process(&args)),
        Command::Timer(args) => timer::timer(&at, &args),
        Command::Grade(args) => grade::grade(&at, &args),
        Command::Clean(args) => clean::clean(&at, &args),
        Command::Demo(args) => demo::demo(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args),
    }
}

/// Where a command works: the repository that was named or stands around the present directory, home, and this program.
#[derive(Debug)]
struct Place {
    /// `--repo`, where it was given.
    repo: Option<PathBuf>,
    home: Home,
    exe: PathBuf,
}

impl Place {
    fn new(repo: Option<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self { repo, home: Home::from_env()?, exe: std::env::current_exe()? })
    }

    /// A repository that is named must be one; one that is not named is the nearest around the present directory.
    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(repo) = &self.repo {
            return Ok(repo.clone());
        }
        let here = std::env::current_dir()?;
        let around = here.ancestors().find(|folder| folder.join(".git").exists()).map(PathBuf::from);
        Ok(around.unwrap_or(here))
    }

    fn site(&self) -> anyhow::Result<Site> {
        Ok(Site::open(&self.path()?, &self.home, &self.exe)?)
    }
}
