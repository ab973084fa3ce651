//! launchd: a `LaunchAgent` of the user's (launchd.plist(5)).
//!
//! `AbandonProcessGroup` is what lets runs outlive the tick that launched them. `StartInterval` fires once on waking
//! for all the fires that were slept through. The agent is loaded into `gui/UID`, the domain of the user's login.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use plist::{Dictionary, Value};

use super::entry::Entry;
use super::error::TimerError;
use super::host::Host;
use super::tool::{self, Answer};
use super::{Backend, Change, Own, Piece, Plan, suffix};
use crate::core::timer::Scheduler;
use crate::files::atomic::{self, Durability};
use crate::files::document;

/// How long launchd may take to let go of an agent; `bootout` returns before it has.
const LETTING_GO: Duration = Duration::from_secs(10);

/// The scheduler.
#[derive(Debug)]
pub(super) struct Launchd;

/// The agent of a home.
pub(super) struct Agent {
    folder: PathBuf,
    label: String,
    domain: String,
}

impl Agent {
    pub(super) fn of(host: &Host, home: &str) -> Option<Self> {
        Some(Self {
            folder: host.home.as_ref()?.join("Library/LaunchAgents"),
            label: format!("local.autometta.timer{}", suffix(host, home, '.')),
            domain: format!("gui/{}", host.uid),
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.plist", self.label))
    }

    fn target(&self) -> String {
        format!("{}/{}", self.domain, self.label)
    }

    /// The commands that load it. One that was ever disabled stays so until it is enabled.
    fn load(&self) -> [Vec<String>; 2] {
        let path = self.path().display().to_string();
        [vec!["enable".to_owned(), self.target()], vec!["bootstrap".to_owned(), self.domain.clone(), path]]
    }

    fn is_loaded(&self, host: &Host) -> Result<bool, TimerError> {
        Ok(host.has("launchctl") && ask(host, &["print".to_owned(), self.target()])?.ok)
    }

    /// Unloads it where it is loaded, and waits until it is gone.
    fn unload(&self, host: &Host) -> Result<(), TimerError> {
        if !self.is_loaded(host)? {
            return Ok(());
        }
        ask(host, &["bootout".to_owned(), self.target()])?.succeeded()?;
        let begun = Instant::now();
        while self.is_loaded(host)? {
            if begun.elapsed() > LETTING_GO {
                let command = format!("launchctl bootout {}", self.target());
                return Err(TimerError::Failed { command, said: "the agent is still loaded".to_owned() });
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Backend for Launchd {
    fn ready(&self, host: &Host) -> Result<(), TimerError> {
        if host.has("launchctl") {
            return Ok(());
        }
        Err(TimerError::NoProgram { program: "launchctl", scheduler: "launchd" })
    }

    fn plan(&self, host: &Host, entry: &Entry) -> Result<Plan, TimerError> {
        let agent = Agent::of(host, entry.home()).ok_or(TimerError::NoHome(Scheduler::Launchd))?;
        let text = String::from_utf8_lossy(&property_list(&agent, entry)?).into_owned();
        Ok(Plan {
            scheduler: Scheduler::Launchd,
            pieces: vec![Piece { place: agent.path().display().to_string(), text }],
            commands: agent.load().iter().map(|args| format!("launchctl {}", args.join(" "))).collect(),
        })
    }

    fn own(&self, host: &Host, home: &str) -> Result<Option<Own>, TimerError> {
        let Some(agent) = Agent::of(host, home).filter(|agent| agent.path().exists()) else { return Ok(None) };
        let loaded = agent.is_loaded(host)?;
        Ok(Some(Own { scheduler: Scheduler::Launchd, place: agent.path().display().to_string(), loaded }))
    }

    fn install(&self, host: &Host, entry: &Entry) -> Result<Change, TimerError> {
        let agent = Agent::of(host, entry.home()).ok_or(TimerError::NoHome(Scheduler::Launchd))?;
        let bytes = property_list(&agent, entry)?;
        let old = document::read(&agent.path())?;
        if old.as_ref() == Some(&bytes) && agent.is_loaded(host)? {
            return Ok(Change::Already);
        }
        agent.unload(host)?;
        atomic::make_dirs(&agent.folder, Durability::Durable)?;
        atomic::write_public(&agent.path(), &bytes)?;
        for args in agent.load() {
            ask(host, &args)?.succeeded()?;
        }
        Ok(if old.is_some() { Change::Replaced } else { Change::Installed })
    }

    fn uninstall(&self, host: &Host, home: &str) -> Result<Option<String>, TimerError> {
        let Some(agent) = Agent::of(host, home).filter(|agent| agent.path().exists()) else { return Ok(None) };
        agent.unload(host)?;
        atomic::remove(&agent.path())?;
        Ok(Some(agent.path().display().to_string()))
    }
}

fn ask(host: &Host, args: &[String]) -> Result<Answer, TimerError> {
    tool::run(host, "launchctl", args, b"")
}

fn property_list(agent: &Agent, entry: &Entry) -> Result<Vec<u8>, TimerError> {
    let text = |text: &str| Value::String(text.to_owned());
    let env: Dictionary = entry.env().into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let keys = [
        ("Label", text(&agent.label)),
        ("ProgramArguments", Value::Array(vec![text(entry.exe()), text("tick")])),
        ("EnvironmentVariables", Value::Dictionary(env)),
        ("StartInterval", Value::Integer(entry.every().0.into())),
        ("RunAtLoad", Value::Boolean(true)),
        ("AbandonProcessGroup", Value::Boolean(true)),
        ("StandardOutPath", text("/dev/null")),
        ("StandardErrorPath", text(entry.errors())),
    ];
    let list: Dictionary = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut bytes = Vec::new();
    plist::to_writer_xml(&mut bytes, &list).map_err(|source| TimerError::Plist { path: agent.path(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}
