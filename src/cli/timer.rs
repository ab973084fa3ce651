//! `timer install|uninstall|print|status`, and what `init` says about timers.

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::core::quantity::Seconds;
use crate::core::timer::Scheduler;
use crate::files::home::Home;
use crate::tick::{Site, clock, heartbeat};
use crate::timers::status::{Fleet, Started, Status};
use crate::timers::{Change, Daemon, Entry, Host, Plan, SCHEDULERS, SearchPath, TimerError, Timers};

use super::args::JsonArgs;
use super::{DONE, Place, output};

/// How often the timer fires unless something else is asked for.
const EVERY: &str = "5m";

/// `timer`
#[derive(Debug, Args)]
pub struct TimerArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TimerCommand,
}

/// What may be done with the timer.
#[derive(Debug, Subcommand)]
pub enum TimerCommand {
    /// Put it into the crontab, a launch agent or a systemd user timer. One serves every subscribed repository.
    #[command(
        after_help = "Examples:\n  autometta timer install\n  autometta timer install --every 10m --scheduler cron\n\nRefused where another entry, whatever it is called, ticks the same home."
    )]
    Install(InstallArgs),
    /// Take it out again; nothing else in the crontab or beside it changes.
    #[command(after_help = "Example:\n  autometta timer uninstall")]
    Uninstall(JsonArgs),
    /// Show exactly what `install` would write and where, and change nothing.
    #[command(after_help = "Example:\n  autometta timer print --scheduler systemd")]
    Print(PrintArgs),
    /// Show whether it is there, loaded, firing, and starting this program.
    #[command(after_help = "Examples:\n  autometta timer status\n  autometta timer status --json | jq .late")]
    Status(JsonArgs),
}

/// What an entry is made of.
#[derive(Debug, Args)]
pub struct EntryArgs {
    /// The time between two fires. The end of an agent fires the next tick at once; this is the safety net.
    #[arg(long, default_value = EVERY, value_name = "TIME", value_parser = interval)]
    pub every: Seconds,
    /// What fires it; else a systemd user manager that runs, launchd on macOS, cron elsewhere.
    #[arg(long, value_parser = PossibleValuesParser::new(SCHEDULERS.map(Scheduler::as_str)).try_map(scheduler))]
    pub scheduler: Option<Scheduler>,
    /// The PATH of its ticks; else the folders of the present one that hold git, claude, codex, node and their like.
    #[arg(long, value_name = "FOLDERS")]
    pub path: Option<String>,
}

/// `timer install`
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The entry.
    #[command(flatten)]
    pub entry: EntryArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `timer print`
#[derive(Debug, Args)]
pub struct PrintArgs {
    /// The entry.
    #[command(flatten)]
    pub entry: EntryArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn interval(text: &str) -> Result<Seconds, String> {
    Seconds::parse(text).ok_or_else(|| "say a time such as 5m, 90s, 10 minutes or 1h".to_owned())
}

fn scheduler(text: String) -> Result<Scheduler, String> {
    SCHEDULERS.into_iter().find(|known| known.as_str() == text).ok_or(text)
}

pub fn timer(at: &Place, args: &TimerArgs) -> anyhow::Result<u8> {
    let host = Host::from_env();
    let timers = Timers::new(&host, &at.home, &at.exe)?;
    match &args.command {
        TimerCommand::Install(args) => install(&host, &timers, &at.home, args),
        TimerCommand::Uninstall(args) => uninstall(&timers, args),
        TimerCommand::Print(args) => print(&host, &timers, &at.home, args),
        TimerCommand::Status(args) => status(at, &timers, args),
    }
}

/// The scheduler and the entry that are asked for.
fn asked(host: &Host, timers: &Timers, home: &Home, args: &EntryArgs) -> Result<(Scheduler, Entry), TimerError> {
    let scheduler = args.scheduler.map_or_else(|| host.best(), Ok)?;
    let path = match &args.path {
        Some(path) => SearchPath::given(path)?,
        None => SearchPath::found_on(&host.path),
    };
    Ok((scheduler, Entry::new(args.every, timers.exe(), home, path)?))
}

#[derive(Serialize)]
struct InstallJson {
    change: Change,
    plan: Plan,
    moved_from: Vec<String>,
    warnings: Vec<String>,
}

fn install(host: &Host, timers: &Timers, home: &Home, args: &InstallArgs) -> anyhow::Result<u8> {
    let (scheduler, entry) = asked(host, timers, home, &args.entry)?;
    let done = timers.install(scheduler, &entry, clock::now())?;
    let plan = timers.plan(scheduler, &entry)?;
    let warnings = timers.warnings(scheduler);
    if args.json {
        output::json(&InstallJson { change: done.change, plan, moved_from: done.moved_from, warnings })?;
        return Ok(DONE);
    }
    let every = entry.every();
    let said = match done.change {
        Change::Installed => "installed",
        Change::Replaced => "installed, in place of what was there",
        Change::Already => "installed already",
    };
    let mut text = format!("{said}: a tick every {every} by {}, in\n", scheduler.as_str());
    for piece in &plan.pieces {
        text.push_str(&format!("  {}\n", piece.place));
    }
    text.extend(done.moved_from.iter().map(|place| removed(place)));
    text.push_str("`autometta timer status` shows whether it fires\n");
    output::print(&text)?;
    warn(&warnings);
    Ok(DONE)
}

fn removed(place: &str) -> String {
    format!("removed from {place}\n")
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

fn uninstall(timers: &Timers, args: &JsonArgs) -> anyhow::Result<u8> {
    let places = timers.uninstall()?;
    if args.json {
        output::json(&places)?;
    } else if places.is_empty() {
        output::print("no timer of ours was installed\n")?;
    } else {
        output::print(&places.iter().map(|place| removed(place)).collect::<String>())?;
    }
    Ok(DONE)
}

fn print(host: &Host, timers: &Timers, home: &Home, args: &PrintArgs) -> anyhow::Result<u8> {
    let (scheduler, entry) = asked(host, timers, home, &args.entry)?;
    let plan = timers.plan(scheduler, &entry)?;
    if args.json {
        output::json(&plan)?;
        return Ok(DONE);
    }
    let mut text = String::new();
    for piece in &plan.pieces {
        text.push_str(&format!("in {}:\n\n{}\n\n", piece.place, piece.text.trim_end()));
    }
    if !plan.commands.is_empty() {
        text.push_str("and then\n\n");
    }
    for command in &plan.commands {
        text.push_str(&format!("  {command}\n"));
    }
    output::print(&format!("{}\n", text.trim_end()))?;
    Ok(DONE)
}

fn status(at: &Place, timers: &Timers, args: &JsonArgs) -> anyhow::Result<u8> {
    let now = clock::now();
    let status = timers.status(fleet(at)?, now)?;
    if args.json {
        output::json(&status)?;
    } else {
        output::print(&text(&status, now))?;
    }
    Ok(DONE)
}

/// The newest tick of any subscriber. One that cannot be opened has none to show; `doctor` says why.
fn fleet(at: &Place) -> anyhow::Result<Fleet> {
    let mut last = None;
    let mut is_empty = true;
    for subscriber in at.home.subscribers()?.into_iter().filter_map(|(_, subscriber)| subscriber.ok()) {
        if !subscriber.enabled {
            continue;
        }
        is_empty = false;
        let site = Site::open(&subscriber.repo_path, &at.home, &at.exe).ok();
        last = last.max(site.and_then(|site| heartbeat::read(&site)).map(|beat| beat.at));
    }
    Ok(if is_empty { Fleet::Empty } else { Fleet::Ticked(last) })
}

/// The screen.
fn text(status: &Status, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<11}{value}\n"));
    let every = status.record.as_ref().map_or_else(|| "unknown".to_owned(), |record| record.every_seconds.to_string());
    match status.installed.as_slice() {
        [] => line("timer", "none"),
        all => {
            for own in all {
                line("timer", &format!("every {every} by {}, in {}", own.scheduler.as_str(), own.place));
                line("loaded", if own.loaded { "yes" } else { "NO" });
            }
        }
    }
    match status.daemon {
        Some(Daemon::Running) => line("scheduler", "runs"),
        Some(Daemon::Stopped) => line("scheduler", "DOES NOT RUN"),
        Some(Daemon::Unknown) | None => {}
    }
    if let (Some(record), Some(program)) = (&status.record, status.program) {
        let words = match program {
            Started::Current => "this one",
            Started::Other => "ANOTHER VERSION",
            Started::Missing => "GONE",
        };
        line("starts", &format!("{} ({words})", record.exe.display()));
    }
    let ago = |at: DateTime<Utc>| Seconds(u64::try_from((now - at).num_seconds()).unwrap_or(0));
    let late = if status.late == Some(true) { ", LATE" } else { "" };
    let last = status.last_tick.map_or_else(|| "none yet".to_owned(), |at| format!("{} ago", ago(at)));
    line("last tick", &format!("{last}{late}"));
    if !status.advice.is_empty() {
        text.push('\n');
    }
    for advice in &status.advice {
        text.push_str(&format!("- {advice}\n"));
    }
    text
}

/// `init --timer`: the timer as `timer install` makes it, unless this home has one, ours or anybody's.
pub fn install_unless_there(at: &Place) -> anyhow::Result<()> {
    let host = Host::from_env();
    let timers = Timers::new(&host, &at.home, &at.exe)?;
    let own = timers.own()?;
    if let (Some(own), Some(_)) = (own.first(), at.home.timer()?) {
        return output::print(&format!("the timer is installed already, in {}\n", own.place));
    }
    if let Some(rival) = timers.rivals()?.first() {
        return output::print(&format!("{rival}; it serves this repository as well\n"));
    }
    let entry = EntryArgs { every: interval(EVERY).map_err(anyhow::Error::msg)?, scheduler: None, path: None };
    install(&host, &timers, &at.home, &InstallArgs { entry, json: false }).map(drop)
}

/// The last line of a plain `init`; nothing where there is a timer.
pub fn hint(at: &Place) -> &'static str {
    match at.home.timer() {
        Ok(None) => "then `autometta timer install`, and the queue is worked through without you\n",
        Ok(Some(_)) | Err(_) => "",
    }
}
