//! The folder of the worktrees: writable, outside of every repository, and with nothing in it that no run needs.

use std::collections::BTreeSet;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::core::ids::RunId;
use crate::core::state::{Chore, State};
use crate::files::store;
use crate::files::volume;

use super::super::site::Site;
use super::finding::{Area, Finding};

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let folder = site.worktrees();
    let shown = folder.display();
    let existing = volume::nearest(&folder);
    let mut findings = Vec::new();
    if access(existing, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let says = format!("worktrees go into {shown}, and {} is not yours to write", existing.display());
        findings.push(Finding::fault(Area::Repository, says).mend(format!("chmod u+wx {}", existing.display())));
    }
    if let Some(around) = folder.ancestors().find(|above| above.join(".git").exists()) {
        let says = format!(
            "worktrees go into {shown}, inside the repository {}, whose tools would see them",
            around.display()
        );
        findings.push(
            Finding::fault(Area::Repository, says).mend("set `worktrees:` in .autometta.yaml to a folder outside"),
        );
    }
    if let Ok(loaded) = store::peek(&site.layout) {
        findings.extend(left_over(site, &folder, &loaded.state));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(Area::Repository, format!("worktrees go into {shown}")));
    }
    findings
}

fn left_over(site: &Site, folder: &Path, state: &State) -> Vec<Finding> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let needed = needed(state);
    let mut findings = Vec::new();
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        match name.parse::<RunId>() {
            Ok(run) if needed.contains(&run) => {}
            Ok(run) => {
                let says = format!("the worktree {} is left over: no stage needs {run} any more", path.display());
                let mend = format!("git -C {} worktree remove --force {}", site.root.display(), path.display());
                findings.push(Finding::warning(Area::Repository, says).mend(mend));
            }
            Err(_) => {
                let says = format!("{} is not autometta's, and stands among its worktrees", path.display());
                findings
                    .push(Finding::warning(Area::Repository, says).mend(format!("move {} elsewhere", path.display())));
            }
        }
    }
    findings
}

/// The runs whose checkouts are in use, or will be removed by a tick.
pub(in crate::tick) fn needed(state: &State) -> BTreeSet<RunId> {
    let flying = state.flights().map(|(_, flight)| flight.run.clone());
    let candidates = state.stages.iter().filter_map(|stage| stage.candidate().map(|candidate| candidate.run.clone()));
    let clearing = state.stages.iter().flat_map(|stage| &stage.chores).filter_map(|chore| match chore {
        Chore::Clear { run } => Some(run.clone()),
        _ => None,
    });
    flying.chain(candidates).chain(clearing).collect()
}
