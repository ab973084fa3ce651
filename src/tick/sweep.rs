//! Clearing away what writers that were killed in the middle left beside files that people and tools read.
//!
//! Folders that hold one file for each stage that ever was are gone through only where somebody is known to have died,
//! and once an hour: a tick that has something to do must not cost more the more was done before it. Such a tick puts a
//! mark down and takes it away at its end; a mark that is found tells of a death.

use std::path::Path;

use tracing::warn;

use crate::files::atomic::{self, Durability};
use crate::runs;

use super::site::Site;

/// Folders that hold files of what is live or recent only.
const LIVE: [&str; 4] = ["active-agents", "recent-agents", "notices", "quota"];
/// Folders that hold a file for every stage.
const GROWING: [&str; 9] =
    ["handoffs", "verifiers", "questions", "answers", "archive", "archive/rounds", "cards", "logs", "journal/parts"];

/// After a tick that had something to do.
pub(super) fn live(site: &Site) {
    // Runs that were started by hand stand in no state, so nobody else notices that one is lost.
    if let Err(error) = runs::retire_lost(site.layout.dir()) {
        warn!(repo = %site.root.display(), "{error}");
    }
    let home = ["", "subscribers", "fleet"].map(|folder| site.home.path().join(folder));
    let folders = LIVE.iter().map(|folder| site.layout.dir().join(folder)).chain(home);
    folders.for_each(|folder| sweep(site, &folder));
}

/// After somebody died, and now and then.
pub(super) fn all(site: &Site) {
    live(site);
    GROWING.iter().map(|folder| site.layout.dir().join(folder)).for_each(|folder| sweep(site, &folder));
}

fn sweep(site: &Site, folder: &Path) {
    if folder.is_dir()
        && let Err(error) = atomic::sweep_temps(folder)
    {
        warn!(repo = %site.root.display(), "{error}");
    }
}

/// Says that something is being done from here on.
pub(super) fn begin(site: &Site) {
    if let Err(error) = atomic::write(&site.layout.tick_busy(), b"", Durability::Volatile) {
        warn!(repo = %site.root.display(), "{error}");
    }
}

/// Says that it is done.
pub(super) fn end(site: &Site) {
    if let Err(error) = atomic::remove(&site.layout.tick_busy()) {
        warn!(repo = %site.root.display(), "{error}");
    }
}

/// Whether somebody began and did not come to the end. Only the holder of the lock may ask.
pub(super) fn has_died(site: &Site) -> bool {
    site.layout.tick_busy().exists()
}
