//! `register`: puts an agent that is started by hand into the liveness registry.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::ids::{Identity, Role, RunId, StageId};
use crate::core::quantity::Seconds;
use crate::core::run::ProcessStamp;
use crate::runs;
use crate::tick::clock;
use crate::tick::register::{self, ByHand, What};

use super::{DONE, Place, output};

/// `register`
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// The stage that it works for; it need not be queued.
    #[arg(long)]
    pub stage: StageId,
    /// What it does.
    #[arg(long, value_enum, default_value_t = RoleArg::Worker)]
    pub role: RoleArg,
    /// Who it is, such as "Claude Opus 5 <claude-opus-5@local>"; its family then reads the output.
    #[arg(long)]
    pub identity: Option<Identity>,
    /// A process that runs already, in place of a command.
    #[arg(long, conflicts_with = "command", value_parser = clap::value_parser!(i32).range(2..))]
    pub pid: Option<i32>,
    /// When it is stopped at the latest; a process named with --pid is only let go of.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    pub wall_clock: Seconds,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The command. It runs detached, with the present directory and environment, its output in the run's directory.
    #[arg(last = true, required_unless_present = "pid", value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// A role, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the words are the contract")]
pub enum RoleArg {
    Worker,
    Gate,
    Verifier,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Worker => Self::Worker,
            RoleArg::Gate => Self::Gate,
            RoleArg::Verifier => Self::Verifier,
        }
    }
}

/// A length of time, as it is typed.
pub fn time(text: &str) -> Result<Seconds, String> {
    Seconds::parse(text).ok_or_else(|| "it is not a length of time such as `90s`, `10m` or `1h30m`".to_owned())
}

/// `__await`
#[derive(Debug, Args)]
pub struct AwaitArgs {
    /// The process.
    pub pid: i32,
    /// When it started, as the system tells it.
    pub start: String,
}

/// What `register --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RegisterJson {
    /// The run.
    pub run_id: RunId,
    /// Its directory.
    pub directory: PathBuf,
    /// Its standard output.
    pub stdout_log: PathBuf,
}

pub fn register(at: &Place, args: &RegisterArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let what = match args.pid {
        Some(pid) => What::Process(runs::process_of(pid).with_context(|| {
            format!("there is no process {pid}; `ps` shows those that run, or give the command after `--`")
        })?),
        None => What::Command(args.command.clone()),
    };
    let by_hand = ByHand {
        stage: args.stage.clone(),
        role: args.role.into(),
        identity: args.identity.clone(),
        what,
        cwd: std::env::current_dir()?,
        variables: variables(),
        wall_clock: args.wall_clock,
    };
    let run_id = register::register(&site, by_hand, clock::now())?;
    let directory = site.layout.run(&run_id);
    let stdout_log = directory.join("stdout.log");
    if args.json {
        output::json(&RegisterJson { run_id, directory, stdout_log })?;
    } else {
        let log = stdout_log.display();
        output::print(&format!(
            "{run_id} runs; its output is in {log}\n`autometta watch {run_id}` waits for its end\n"
        ))?;
    }
    Ok(DONE)
}

/// The names of this process's variables; values go from process to process and are written nowhere.
#[expect(clippy::disallowed_methods, reason = "a command by hand gets the environment of the hand")]
fn variables() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| !name.is_empty()).collect()
}

/// The hidden child of a supervisor that stands for a process of somebody else.
pub fn await_process(args: &AwaitArgs) -> u8 {
    runs::await_process(&ProcessStamp { pid: args.pid, start: args.start.clone() });
    DONE
}
