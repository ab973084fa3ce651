//! The homes whose ticks serve one repository. One is meant to; two are safe, because lock, state and budget are the
//! repository's own, but the caps of the fleet, the subscriptions and the timers are each home's own.
//!
//! Each tick leaves the name of its home in the heartbeat. Where a tick finds another's there, it says so once.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a home counts after its last tick.
const RECENT: TimeDelta = TimeDelta::days(1);

/// A home that has ticked a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Controller {
    /// Its path.
    pub home: String,
    /// When its last tick ran.
    pub at: DateTime<Utc>,
    /// Whether its ticks have said that there is another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// What the heartbeat says after a tick of this home, and what that tick has to say, where it has not been said yet.
pub fn after(before: &[Controller], home: &Path, repo: &Path, now: DateTime<Utc>) -> (Vec<Controller>, Option<String>) {
    let name = home.display().to_string();
    let recent = || before.iter().filter(|known| is_recent(known, now));
    let own = recent().find(|known| known.home == name);
    let mut all: Vec<Controller> =
        recent().filter(|known| known.home != name && !is_same(&known.home, home)).cloned().collect();
    let told = !all.is_empty();
    all.push(Controller { home: name, at: now, told });
    all.sort_by(|one, other| one.home.cmp(&other.home));
    let says = if own.is_some_and(|own| own.told) { None } else { words(&all, repo, now) };
    (all, says)
}

/// What a person should know of these homes; nothing where there is one.
pub fn words(controllers: &[Controller], repo: &Path, now: DateTime<Utc>) -> Option<String> {
    let recent: Vec<&Controller> = controllers.iter().filter(|known| is_recent(known, now)).collect();
    let [first, .., last] = recent[..] else { return None };
    let of_each: Vec<String> = recent
        .iter()
        .map(|known| format!("{} (last at {})", known.home, known.at.format("%Y-%m-%d %H:%M UTC")))
        .collect();
    let oldest = if first.at <= last.at { first } else { last };
    Some(format!(
        "ticks of {} homes serve {}: {}; nothing is done twice, but the fleet's caps, the timers and the models of each home \
         are its own; leave it to one: `AUTOMETTA_HOME={} autometta unsubscribe {}`, and this ends a day after that home's \
         last tick",
        recent.len(),
        repo.display(),
        of_each.join(" and "),
        oldest.home,
        repo.display()
    ))
}

fn is_recent(known: &Controller, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(known.at).abs() < RECENT
}

/// Whether another name means the same folder.
fn is_same(name: &str, home: &Path) -> bool {
    matches!((std::fs::canonicalize(name), std::fs::canonicalize(home)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn tick(before: &[Controller], home: &str, hours: i64) -> (Vec<Controller>, Option<String>) {
        after(before, Path::new(home), Path::new("/r"), at(hours))
    }

    #[test]
    fn each_of_two_homes_says_it_once_and_again_after_a_day_without_the_other() {
        let (known, said) = tick(&[], "/a", 0);
        assert_eq!((known.len(), said), (1, None));
        let (known, said) = tick(&known, "/b", 1);
        let said = said.expect("the second home finds the first");
        assert!(
            said.contains("/a (")
                && said.contains("/b (")
                && said.contains("AUTOMETTA_HOME=/a autometta unsubscribe /r")
        );
        let (known, said) = tick(&known, "/b", 2);
        assert_eq!(said, None, "once");
        let (known, said) = tick(&known, "/a", 3);
        assert!(said.is_some(), "the first one has not said it yet");
        let (known, said) = tick(&known, "/a", 4);
        assert_eq!((known.len(), said), (2, None));
        assert!(words(&known, Path::new("/r"), at(25)).is_some() && words(&known, Path::new("/r"), at(27)).is_none());
        let (known, said) = tick(&known, "/a", 27);
        assert_eq!((known.len(), said), (1, None), "the other is gone");
        assert!(tick(&known, "/b", 28).1.is_some_and(|said| said.starts_with("ticks of 2 homes serve /r")));
    }

    #[test]
    fn two_names_of_one_folder_are_one_home() {
        let dir = tempfile::tempdir().expect("dir");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).expect("link");
        let (known, _) = after(&[], dir.path(), Path::new("/r"), at(0));
        let (known, said) = after(&known, &link, Path::new("/r"), at(1));
        assert_eq!((known.len(), said), (1, None));
    }
}
