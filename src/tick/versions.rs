//! The version of the program that a run starts, for its record: asked for once for each build of the program, without
//! a shell, without anybody's key, and not for long.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tracing::warn;

use crate::core::run::{EnvSource, RunOrder};
use crate::files::cli_versions::{CliVersions, Stamp};
use crate::runs::{Answer, Inquiry, inherited, locate};

use super::site::Site;

/// How long a program may take to say its version. Agents' CLIs start a runtime for it, which takes a second.
const LIMIT: Duration = Duration::from_secs(10);
/// What a program needs to start at all.
const VARIABLES: [&str; 2] = ["HOME", "PATH"];
/// How much of an answer's first line is kept, in characters.
const LONGEST: usize = 100;

/// The version of a run's program; none where its family has no question to ask, or nothing answered.
pub fn of(site: &Site, order: &RunOrder) -> Option<String> {
    let family = order.family.as_ref().and_then(|name| site.families.get(name))?;
    let question = family.question(&family.version_command)?;
    let (name, arguments) = question.split_first()?;
    let environment = environment(order);
    let program = locate(name, &environment).ok()?;
    let stamp = Stamp::of(&program)?;
    let known = CliVersions::read(&site.home);
    if let Some(version) = known.get(&program, stamp, arguments) {
        return version.map(str::to_owned);
    }
    let version = ask(&program, arguments, &environment);
    if let Err(error) = known.remember(&site.home, &program, stamp, arguments, version.clone()) {
        warn!(program = %program.display(), "its version is asked for again: {error}");
    }
    version
}

/// The variables that a version is asked with, as the run itself would have them.
fn environment(order: &RunOrder) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for entry in order.env.iter().filter(|entry| VARIABLES.contains(&entry.name.as_str())) {
        match &entry.source {
            EnvSource::Literal(text) => drop(environment.insert(entry.name.clone(), text.clone())),
            EnvSource::Parent => environment.extend(inherited([entry.name.as_str()])),
            // A version is not worth a secret.
            EnvSource::Secret(_) => {}
        }
    }
    environment
}

fn ask(program: &Path, arguments: &[String], environment: &BTreeMap<String, String>) -> Option<String> {
    let mut argv = vec![program.to_string_lossy().into_owned()];
    argv.extend(arguments.iter().cloned());
    match (Inquiry { argv: &argv, environment, input: &[], limit: LIMIT }).ask() {
        Answer::Said { code: Some(0), stdout, .. } => first_line(&stdout),
        Answer::Said { .. } | Answer::TimedOut | Answer::NotStarted(_) => None,
    }
}

fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_line_of_a_program_that_ends_well() {
        let say = |script: &str| {
            ask(Path::new("/bin/sh"), &["-c".to_owned(), script.to_owned()], &inherited(VARIABLES)).unwrap_or_default()
        };
        for (script, version) in [
            ("echo; echo ' 2.1.3 (Agent) '; echo more", "2.1.3 (Agent)"),
            ("echo 1; exit 1", ""),
            ("exit 0", ""),
            ("echo 1 >&2", ""),
            ("printf '1\\033[31m2'", "1[31m2"),
        ] {
            assert_eq!(say(script), version, "{script}");
        }
    }
}
