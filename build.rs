//! Writes down which commit is built, for `autometta --version`. Without git, or outside a checkout of this very crate
//! (a tarball, a registry's copy), there is only the version.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a build script asks git and the environment, and speaks to cargo by printing"
)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What decides which commit is checked out, as git names it.
const WATCHED: [&str; 3] = ["HEAD", "packed-refs", "reftable/tables.list"];

fn main() {
    // Naming something at all keeps cargo from running this again for every change of the sources.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-env-changed=AUTOMETTA_PIE");
    place();
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let git = checkout();
    let commit = git.as_ref().and_then(|git| git.ask(&["rev-parse", "--short=7", "HEAD"]));
    // The day is the commit's, unless whoever packages this says another; a clock would make each build differ.
    let committed = || git.as_ref()?.ask(&["show", "-s", "--format=%ct", "HEAD"]);
    let seconds = env::var("SOURCE_DATE_EPOCH").ok().or_else(committed);
    let day = seconds.and_then(|seconds| seconds.trim().parse().ok()).map(day);
    if let Some(git) = &git {
        git.watch();
    }
    let built = match (commit, &day) {
        (Some(commit), Some(day)) => format!("{version} ({commit} {day})"),
        (Some(commit), None) => format!("{version} ({commit})"),
        (None, _) => version,
    };
    println!("cargo::rustc-env=AUTOMETTA_VERSION={built}");
    println!("cargo::rustc-env=AUTOMETTA_DAY={}", day.unwrap_or_default());
}

/// Has the program linked to one place, where the system's loader takes that: otherwise it spends as long on the program's
/// 27,000 addresses as on all the rest of a start, each time. `AUTOMETTA_PIE=1` links it as other programs are.
fn place() {
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let has_loader = target("ENV") == "gnu" && !target("FEATURE").split(',').any(|feature| feature == "crt-static");
    if target("OS") == "linux" && has_loader && env::var_os("AUTOMETTA_PIE").is_none() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}

/// A checkout whose top is this crate.
struct Git {
    top: PathBuf,
}

/// The checkout of this crate. A copy of it inside somebody else's repository has none.
fn checkout() -> Option<Git> {
    let git = Git { top: PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?).canonicalize().ok()? };
    let top = git.ask(&["rev-parse", "--show-toplevel"])?;
    (Path::new(&top).canonicalize().ok()? == git.top).then_some(git)
}

impl Git {
    /// What git says, on one line; none where it says nothing.
    fn ask(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.top).args(arguments).env("TZ", "UTC");
        // A hook or another git that builds us names its own repository.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
            command.env_remove(name);
        }
        let output = command.output().ok().filter(|output| output.status.success())?;
        let said = String::from_utf8(output.stdout).ok()?;
        Some(said.trim().to_owned()).filter(|said| !said.is_empty())
    }

    /// Has cargo run this again when another commit is checked out. Cargo takes a path that does not exist for one that
    /// has changed, so only what exists is named; a branch without a file of its own gets one in the nearest folder.
    fn watch(&self) {
        let branch = self.ask(&["symbolic-ref", "--quiet", "HEAD"]);
        for name in WATCHED {
            if let Some(path) = self.path(name).filter(|path| path.exists()) {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
        let branch = branch.and_then(|branch| self.path(&branch));
        if let Some(near) = branch.as_deref().and_then(|path| path.ancestors().find(|path| path.exists())) {
            println!("cargo::rerun-if-changed={}", near.display());
        }
    }

    /// Where a file of git's own is, worktrees included.
    fn path(&self, name: &str) -> Option<PathBuf> {
        Some(self.top.join(self.ask(&["rev-parse", "--git-path", name])?))
    }
}

/// The day of a time, in UTC, by the algorithm of H. Hinnant's `civil_from_days`, which counts years from March.
fn day(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
