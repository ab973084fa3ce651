//! The version of the program that a run starts, for its record: asked for once for each build of the program.

use tracing::warn;

use crate::core::run::{Program, RunOrder};
use crate::families::FamilySpec;
use crate::files::cli_versions::{CliVersions, Stamp};
use crate::runs;

use super::site::Site;

/// The version of a run's program; none where its family has no question to ask, or nothing answered.
pub fn of(site: &Site, order: &RunOrder) -> Option<String> {
    let Program::Agent { .. } = &order.program else { return None };
    let family: &FamilySpec = order.family.as_ref().and_then(|name| site.families.get(name))?;
    let (name, arguments) = family.version_command.split_first()?;
    let program = runs::locate(name, &order.env, &order.cwd)?;
    let stamp = Stamp::of(&program)?;
    let known = CliVersions::read(&site.home);
    if let Some(version) = known.get(&program, stamp, arguments) {
        return version.map(str::to_owned);
    }
    let version = runs::ask_version(&program, arguments, &order.env, runs::VERSION_LIMIT);
    if let Err(error) = known.remember(&site.home, &program, stamp, arguments, version.clone()) {
        warn!(program = %program.display(), "its version is asked for again: {error}");
    }
    version
}
