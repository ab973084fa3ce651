//! The file systems under the state and the worktrees: locks, renames, whose they are, and room.

use std::path::Path;

use crate::files::volume::{self, Reach};

use super::super::site::Site;
use super::finding::{Area, Finding};

/// Fewer free inodes than this, and one checkout may not fit.
const FEW_FILES: u64 = 20_000;

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let state = site.layout.dir();
    if !state.is_dir() {
        // The check of the state says so.
        return Vec::new();
    }
    let mut findings = vec![match volume::try_out(state) {
        Ok(()) => Finding::ok(Area::Repository, format!("locks, renames and syncs work in {}", state.display())),
        Err(error) => Finding::fault(Area::Repository, error.to_string())
            .mend("move the repository to a disk of this machine, which you may write to"),
    }];
    let worktrees = site.worktrees();
    let places = [("the state", state), ("the worktrees", volume::nearest(&worktrees))];
    for (what, place) in places {
        findings.extend(shared(what, place));
    }
    findings.extend(room(site, places));
    findings
}

fn shared(what: &str, place: &Path) -> Option<Finding> {
    let kind = volume::kind(place).filter(|kind| kind.reach == Reach::Shared)?;
    let says = format!(
        "{} ({what}) is on {}, where locks and syncs are somebody else's; a crash may not be survived there",
        place.display(),
        kind.name
    );
    Some(Finding::warning(Area::Repository, says).mend("move it to a disk of this machine"))
}

fn room(site: &Site, places: [(&str, &Path); 2]) -> Vec<Finding> {
    let floor = site.manifest.defaults.disk_floor_mb;
    let mut findings = Vec::new();
    let mut least: Option<u64> = None;
    for (what, place) in places {
        let Some(room) = volume::room(place) else { continue };
        let free = room.bytes / 1_000_000;
        least = Some(least.map_or(free, |least| least.min(free)));
        if free < floor {
            let says = format!(
                "{free} MB are free for {what} in {}, and runs are stopped below {floor} MB (`defaults.disk_floor_mb`)",
                place.display()
            );
            findings.push(Finding::fault(Area::Repository, says).mend("make room on that disk"));
        }
        if let Some(files) = room.files.filter(|files| *files < FEW_FILES) {
            let says = format!("only {files} more files fit for {what} in {}", place.display());
            findings.push(Finding::warning(Area::Repository, says).mend("remove small files on that disk"));
        }
    }
    if let (true, Some(least)) = (findings.is_empty(), least) {
        findings.push(Finding::ok(Area::Repository, format!("{least} MB are free; runs are stopped below {floor} MB")));
    }
    findings
}
