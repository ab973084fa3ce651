//! Git: its version, and what landings need of a repository's.

use std::time::Duration;

use crate::git::{Git, GitError, Version};
use crate::runs;

use super::super::site::Site;
use super::agents::LIMIT;
use super::finding::{Area, Finding};

/// Where git is, and whether it is new enough.
pub(super) fn program() -> Vec<Finding> {
    let place = runs::locate("git", &runs::inherited(["PATH"]));
    let place = place.map_or_else(|_| "git".to_owned(), |path| path.display().to_string());
    let found = Git::from_environment().with_limit(Duration::max(LIMIT, Duration::from_secs(5))).check();
    vec![match found {
        Ok(version) => Finding::ok(Area::Machine, format!("git {version} is {place}")),
        Err(error @ GitError::TimedOut { .. }) => {
            Finding::warning(Area::Machine, error.to_string()).mend("git version")
        }
        Err(error) => {
            Finding::fault(Area::Machine, error.to_string()).mend(format!("install git {} or newer", Version::MINIMUM))
        }
    }]
}

/// The base branch, and who commits.
pub(super) fn repository(site: &Site) -> Vec<Finding> {
    let repo = match site.repo(None) {
        Ok(repo) => repo,
        Err(error) => return vec![Finding::fault(Area::Repository, error.to_string()).mend("git fsck")],
    };
    let mut findings = Vec::new();
    findings.push(match site.base_branch().and_then(|base| Ok((repo.tip(&base)?, base))) {
        Ok((Some(tip), base)) => {
            Finding::ok(Area::Repository, format!("stages land on {base}, now at {}", &tip.as_str()[..12]))
        }
        Ok((None, base)) => {
            Finding::fault(Area::Repository, format!("the base branch {base} has no commit to start from"))
                .mend(format!("commit something on {base}, or name another `base_branch` in .autometta.yaml"))
        }
        Err(error) => Finding::fault(Area::Repository, error.to_string()).mend("edit .autometta.yaml"),
    });
    findings.push(match repo.committer() {
        Ok(who) => Finding::ok(Area::Repository, format!("landings are committed by {} <{}>", who.name(), who.email())),
        Err(error) => Finding::fault(Area::Repository, error.to_string())
            .mend("git config user.name \"Your Name\" && git config user.email you@example.com"),
    });
    findings
}
