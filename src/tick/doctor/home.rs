//! `~/.autometta`: who may read it, and whether its subscribers are there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::core::fleet::Share;
use crate::files::fleet;
use crate::files::home::Home;
use crate::files::under_way;

use super::finding::{Area, Finding};

pub(super) fn check(home: &Home) -> Vec<Finding> {
    let path = home.path().display();
    let Ok(meta) = std::fs::metadata(home.path()) else {
        let says = format!("{path} does not exist yet; the first `autometta init` makes it");
        return vec![Finding::warning(Area::Home, says).mend("autometta init, in a repository")];
    };
    let mode = meta.permissions().mode() & 0o777;
    let mut findings = vec![if meta.is_dir() && mode == 0o700 {
        Finding::ok(Area::Home, format!("{path} is its owner's alone"))
    } else {
        let says =
            format!("{path} has mode {mode:03o} and should be a folder of mode 700: others could subscribe for you");
        Finding::fault(Area::Home, says).mend(format!("chmod 700 {path}"))
    }];
    match home.subscribers() {
        Err(error) => findings.push(Finding::fault(Area::Home, error.to_string()).mend(format!("ls -la {path}"))),
        Ok(subscribers) => {
            let count = subscribers.len();
            for (slug, subscriber) in subscribers {
                let file = home.path().join("subscribers").join(format!("{slug}.yaml"));
                match subscriber {
                    Err(error) => {
                        findings.push(
                            Finding::fault(Area::Home, error.to_string()).mend(format!("edit {}", file.display())),
                        );
                    }
                    Ok(known) if known.enabled && !known.repo_path.is_dir() => {
                        let says = format!(
                            "the subscriber {} is gone; every tick stumbles over it",
                            known.repo_path.display()
                        );
                        findings.push(Finding::warning(Area::Home, says).mend(format!("autometta unsubscribe {slug}")));
                    }
                    Ok(_) => {}
                }
            }
            findings.extend(left_behind(home));
            findings.extend(died_in(home));
            if findings.len() == 1 {
                findings.push(match count {
                    0 => Finding::warning(Area::Home, "no repository is subscribed, so the timer has nothing to serve")
                        .mend("autometta init, in a repository"),
                    1 => Finding::ok(Area::Home, "1 repository is subscribed"),
                    more => Finding::ok(Area::Home, format!("{more} repositories are subscribed")),
                });
            }
        }
    }
    findings
}

/// Shares of the fleet's day that no tick will ever put right, because their repository is gone.
fn left_behind(home: &Home) -> Vec<Finding> {
    let holds = |share: &Share| share.agents > 0 || share.tokens_reserved.0 > 0 || share.cost_reserved_usd.0 > 0;
    let gone = fleet::shares(home).into_iter().filter(|(_, share)| holds(share) && !Path::new(&share.repo).is_dir());
    gone.map(|(path, share)| {
        let agents = if share.agents == 1 { "1 agent".to_owned() } else { format!("{} agents", share.agents) };
        let says = format!(
            "{} holds room in the fleet for {agents}, {} tokens and {} of {}, which is gone",
            path.display(),
            share.tokens_reserved,
            share.cost_reserved_usd,
            share.repo
        );
        Finding::warning(Area::Home, says).mend(format!("rm {}, once nothing of it runs any more", path.display()))
    })
    .collect()
}

/// Repositories that were under way when a fire died.
fn died_in(home: &Home) -> impl Iterator<Item = Finding> {
    under_way::left(home).into_iter().map(|repo| {
        let repo = repo.display();
        let says = format!("a fire died while {repo} was under way; it is served last until a fire lives");
        Finding::fault(Area::Home, says).mend(format!("autometta tick --repo {repo}"))
    })
}
