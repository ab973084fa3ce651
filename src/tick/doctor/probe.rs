//! The same questions once more, in exactly the environment of the scheduler: what an evening's shell finds says
//! nothing about what cron will find.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::core::timer::TimerRecord;
use crate::git::Git;
use crate::runs::{self, Answer, Inquiry};

use super::agents::{Fact, Found, LIMIT, Wanted, ask, by_need};
use super::finding::{Area, Finding};

/// What the hidden `__probe` reads on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    wanted: Vec<Wanted>,
}

/// What it prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The version of git, or why there is none.
    git: Result<String, String>,
    found: Vec<Found>,
}

/// What `__probe` finds out in its own environment.
pub fn answer(asked: &Asked) -> Heard {
    let git = Git::from_environment().with_limit(LIMIT).check();
    Heard { git: git.map(|version| version.to_string()).map_err(|error| error.to_string()), found: ask(&asked.wanted) }
}

/// Starts `__probe` as the scheduler would start a tick, and judges what it finds.
pub(super) fn check(record: &TimerRecord, wanted: &[Wanted]) -> Vec<Finding> {
    let exe = record.exe.display().to_string();
    let reinstall = "autometta timer install, from a shell that finds everything";
    let fault = |says: String| vec![Finding::fault(Area::Timer, says).mend(reinstall)];
    let asked = Asked { wanted: wanted.to_vec() };
    let Ok(input) = serde_json::to_vec(&asked) else { return fault("the probe cannot be asked".to_owned()) };
    let environment = environment(record);
    let argv = [exe.clone(), "__probe".to_owned(), "--json".to_owned()];
    // Families are asked beside each other, three questions each, and git before them.
    let inquiry = Inquiry { argv: &argv, environment: &environment, input: &input, limit: LIMIT * 5 };
    let heard: Heard = match inquiry.ask() {
        Answer::Said { code: Some(0), stdout, .. } => match serde_json::from_str(&stdout) {
            Ok(heard) => heard,
            Err(_) => return fault(format!("{exe}, which the timer starts, is another version of autometta")),
        },
        Answer::Said { stderr, .. } => {
            let why = stderr.trim().lines().next().unwrap_or("it said nothing").to_owned();
            return fault(format!("{exe}, which the timer starts, cannot be asked in the timer's environment: {why}"));
        }
        Answer::TimedOut => {
            let says = format!("{exe} did not answer in the timer's environment");
            return vec![Finding::warning(Area::Timer, says).mend(reinstall)];
        }
        Answer::NotStarted(why) => return fault(format!("the timer cannot start its program: {why}")),
    };
    judge(record, wanted, &heard, reinstall)
}

/// The variables of the timer's entry and what cron gives to every job. Nothing of this process but who one is.
fn environment(record: &TimerRecord) -> BTreeMap<String, String> {
    let mut environment = runs::inherited(["HOME", "LOGNAME"]);
    environment.insert("SHELL".to_owned(), "/bin/sh".to_owned());
    environment.entry("PATH".to_owned()).or_insert_with(|| "/usr/bin:/bin".to_owned());
    environment.extend(record.env.clone());
    environment
}

fn judge(record: &TimerRecord, wanted: &[Wanted], heard: &Heard, reinstall: &str) -> Vec<Finding> {
    let under = record.scheduler.as_str();
    let mut findings = Vec::new();
    let there = "log in with the HOME that the timer has; what a keychain keeps, cron cannot reach";
    let mut here = Vec::new();
    match &heard.git {
        Ok(version) => here.push(format!("git {version}")),
        Err(why) => findings.push(Finding::fault(Area::Timer, format!("under {under}: {why}")).mend(reinstall)),
    }
    for (wanted, found) in wanted.iter().zip(&heard.found) {
        let family = &wanted.family;
        let bad = |why: String| by_need(Area::Timer, wanted, format!("under {under}, {family}: {why}"));
        match (&found.program, &found.version, &found.login) {
            (Err(why), ..) => findings.push(bad(why.clone()).mend(reinstall)),
            (Ok(_), Fact::No(why), _) => findings.push(bad(format!("it does not start: {why}")).mend(reinstall)),
            (Ok(_), _, Fact::No(_)) => findings.push(bad("it is not logged in there".to_owned()).mend(there)),
            (Ok(_), Fact::Silent, _) | (Ok(_), _, Fact::Silent) => {
                let says = format!("under {under}, {family} did not answer within {} seconds", LIMIT.as_secs());
                findings.push(Finding::warning(Area::Timer, says).mend(reinstall));
            }
            (Ok(_), ..) => here.push(family.to_string()),
        }
    }
    if !here.is_empty() {
        findings.insert(0, Finding::ok(Area::Timer, format!("{under} finds {}", here.join(", "))));
    }
    findings
}
