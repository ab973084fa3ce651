//! `doctor`: whether the machine, home, the timer and each repository are fit for a night. It changes nothing.
//!
//! Checks are data: each subject has a file and gives [`Finding`]s. What a check needs from outside is asked by
//! `runs::Inquiry`, within seconds and without spending anything. Bringing a damaged state back is `tick::restore`.

pub(super) mod agents;
mod clock;
mod finding;
mod git;
mod home;
mod probe;
pub(super) mod routes;
mod state;
mod timer;
mod volumes;
mod worktrees;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::files::home::Home;

use super::error::TickError;
use super::site::Site;
use super::{controllers, heartbeat};

pub(super) use worktrees::needed;

pub use finding::{Area, Finding, Level, Report};
pub use probe::{Asked, Heard, answer};

/// Looks at everything, in the order in which one would mend it: machine, home, timer, then each repository.
///
/// `exe` is this program.
pub fn examine(home: &Home, exe: &Path, repos: &[PathBuf], now: DateTime<Utc>) -> Report {
    let sites: Vec<(&PathBuf, Result<Site, TickError>)> =
        repos.iter().map(|repo| (repo, Site::open(repo, home, exe))).collect();
    let open: Vec<&Site> = sites.iter().filter_map(|(_, site)| site.as_ref().ok()).collect();
    let wanted = agents::wanted(&open);
    let mut findings = git::program();
    findings.extend(agents::check(&wanted));
    findings.extend(home::check(home));
    findings.extend(timer::check(home, exe, &open, &wanted, now));
    for (repo, site) in &sites {
        match site {
            Ok(site) => findings.extend(repository(site, &wanted, now)),
            Err(error) => findings.push(cannot_open(repo, error)),
        }
    }
    Report::new(findings)
}

fn repository(site: &Site, wanted: &[agents::Wanted], now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = git::repository(site);
    findings.extend(routes::check(site, wanted));
    findings.extend(volumes::check(site));
    findings.extend(worktrees::check(site));
    findings.extend(state::check(site));
    findings.extend(clock::check(site, now));
    findings.extend(other_homes(site, now));
    findings.into_iter().map(|finding| finding.of(&site.root)).collect()
}

/// Whether ticks of more than one home serve it.
fn other_homes(site: &Site, now: DateTime<Utc>) -> Option<Finding> {
    let beat = heartbeat::read(site)?;
    let says = controllers::words(&beat.controllers, &site.root, now)?;
    let mend = format!("autometta unsubscribe {}, with AUTOMETTA_HOME as one of them", site.root.display());
    Some(Finding::warning(Area::Repository, says).mend(mend))
}

fn cannot_open(repo: &Path, error: &TickError) -> Finding {
    let mend = match error {
        TickError::NoManifest { .. } => format!("autometta init --repo {}", repo.display()),
        TickError::Manifest(_) => format!("edit {}", repo.join(super::site::MANIFEST).display()),
        _ => format!("autometta status --repo {}", repo.display()),
    };
    Finding::fault(Area::Repository, error.to_string()).mend(mend).of(repo)
}
