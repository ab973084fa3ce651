//! Telling the operator: the manifest's `notify:` command, once for each notice, and the report of a night that has
//! ended.
//!
//! The tick only writes down what is to be told and starts a process of its own for it, so that a command that hangs
//! holds up nobody. Who takes a notice up is decided by making a file that must not exist: a notice that was started
//! twice is told once. A command that fails is logged and forgotten.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::core::notice::{Notice, NoticeKind};
use crate::core::secrecy::API_KEYS;
use crate::families::FamilySpec;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::home::Home;
use crate::runs::{self, CommandEnd};

use super::error::TickError;
use super::site::Site;
use super::{clock, night};

/// How long the operator's command may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How many notices are kept for people to look at.
const KEPT: usize = 200;

/// A notice as it is to be told: `state/notices/<key>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telling {
    /// What is to be told.
    pub notice: Notice,
    /// The repository.
    pub repo: PathBuf,
    /// The operator's command with its placeholders filled in; empty where there is none.
    pub argv: Vec<String>,
    /// When it was written.
    pub at: DateTime<Utc>,
}

/// What came of it: `state/notices/<key>.taken`. Without an end, the process that took it up was killed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    /// When it was taken up.
    pub taken_at: DateTime<Utc>,
    /// When the command had ended; none where there was no command or it is still at work.
    pub ended_at: Option<DateTime<Utc>>,
    /// What went wrong; none where nothing did.
    pub fault: Option<String>,
}

/// Writes down what is to be told and starts the process that tells it. Done twice it is told once.
pub fn start(site: &Site, notice: &Notice) -> Result<(), TickError> {
    let path = site.layout.notice(&notice.key);
    if site.layout.notice_taken(&notice.key).exists() {
        return Ok(());
    }
    let telling =
        Telling { argv: argv(site, notice), notice: notice.clone(), repo: site.root.clone(), at: clock::now() };
    let text = document::to_json_pretty(&telling).map_err(|error| TickError::Prompt(error.to_string()))?;
    atomic::make_dirs(&site.layout.notices(), Durability::Volatile)?;
    atomic::write(&path, text.as_bytes(), Durability::Volatile)?;
    Ok(runs::start_teller(&site.exe, &path)?)
}

/// The operator's command with the notice in it.
fn argv(site: &Site, notice: &Notice) -> Vec<String> {
    let values = [
        ("{message}", notice.message.clone()),
        ("{kind}", notice.kind.as_str().to_owned()),
        ("{stage}", notice.stage.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("{repo}", site.root.display().to_string()),
        ("{report}", site.layout.report().display().to_string()),
    ];
    site.manifest.notify.iter().map(|word| fill(word, &values)).collect()
}

/// Fills placeholders in, once each: what a value brings in is not looked at again.
fn fill(word: &str, values: &[(&str, String)]) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                text.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                text.push('{');
                rest = &rest[1..];
            }
        }
    }
    text + rest
}

/// Tells what stands in this file, unless somebody else does: the whole life of the process that a tick started.
pub fn tell(path: &Path, home: &Home, exe: &Path) -> Result<(), TickError> {
    let Some(bytes) = document::read(path)? else { return Ok(()) };
    let telling: Telling = serde_json::from_slice(&bytes)
        .map_err(|error| TickError::Prompt(format!("{} cannot be told: {error}", path.display())))?;
    let taken_path = path.with_extension("taken");
    let mut taken = Taken { taken_at: clock::now(), ended_at: None, fault: None };
    // Durably: a notice that was told before a power cut is not told again after it.
    if !atomic::create_new(&taken_path, encode(&taken)?.as_bytes())? {
        return Ok(());
    }
    let notice = &telling.notice;
    let mut faults = Vec::new();
    if notice.kind == NoticeKind::NightEnd
        && let Err(error) = write_report(&telling.repo, home, exe)
    {
        faults.push(format!("no report: {error}"));
    }
    if !telling.argv.is_empty() {
        match runs::run_command(&telling.argv, &telling.repo, LIMIT, &withheld(&telling.repo, home, exe)) {
            CommandEnd::Passed => {
                info!(repo = %telling.repo.display(), "told: {}: {}", notice.kind.as_str(), notice.message);
            }
            CommandEnd::Failed(why) => faults.push(format!("the notify command failed: {why}")),
        }
    }
    for fault in &faults {
        warn!(repo = %telling.repo.display(), "{fault} (notice {}: {})", notice.key, notice.message);
    }
    taken.ended_at = Some(clock::now());
    taken.fault = (!faults.is_empty()).then(|| faults.join("; "));
    atomic::write(&taken_path, encode(&taken)?.as_bytes(), Durability::Volatile)?;
    if let Some(folder) = path.parent() {
        prune(folder)?;
    }
    Ok(())
}

/// The variables that are the agents' business and not the operator's command's: every provider's key, and whatever the
/// manifest takes keys from.
fn withheld(repo: &Path, home: &Home, exe: &Path) -> Vec<String> {
    let mut names: Vec<String> = API_KEYS.iter().map(|name| (*name).to_owned()).collect();
    if let Ok(site) = Site::open(repo, home, exe) {
        names.extend(site.families.iter().flat_map(FamilySpec::taken_from_parent));
    }
    names
}

/// Writes the night's report to its usual place.
fn write_report(repo: &Path, home: &Home, exe: &Path) -> Result<(), TickError> {
    night::write(&Site::open(repo, home, exe)?).map(drop)
}

fn encode(taken: &Taken) -> Result<String, TickError> {
    document::to_json_pretty(taken).map_err(|error| TickError::Prompt(error.to_string()))
}

/// Removes all but the newest notices that were taken up; their names sort by time.
fn prune(folder: &Path) -> Result<(), TickError> {
    let entries = std::fs::read_dir(folder).map_err(|source| TickError::Io { path: folder.to_owned(), source })?;
    let is_taken = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "taken");
    let mut taken: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_taken).collect();
    taken.sort();
    let surplus = taken.len().saturating_sub(KEPT);
    for old in &taken[..surplus] {
        // The notice goes first: what is left of a pair is never told again.
        atomic::remove(&old.with_extension("json"))?;
        atomic::remove(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_once() {
        let values = [("{message}", "see {repo} {x}".to_owned()), ("{repo}", "/r".to_owned())];
        for (word, filled) in [
            ("{message}", "see {repo} {x}"),
            ("a {repo}/{message}!", "a /r/see {repo} {x}!"),
            ("{unknown} {", "{unknown} {"),
            ("", ""),
        ] {
            assert_eq!(fill(word, &values), filled);
        }
    }
}
