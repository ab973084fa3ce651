//! The agent CLIs: found, of a tested version, logged in, with a sandbox that works; and tmux, which `attach` needs.
//!
//! [`Wanted`] says what to ask and [`Found`] what was answered. Both are plain data, because the very same questions
//! are asked once more in the scheduler's environment (see `probe`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::family::{AuthMode, Sandbox};
use crate::core::ids::FamilyName;
use crate::core::secrecy::names_secret;
use crate::core::state::{Life, Stage};
use crate::families::{EnvSource, Families, FamilySpec, LaunchUser};
use crate::files::store;
use crate::runs::{self, Answer, Inquiry};

use super::super::site::Site;
use super::finding::{Area, Finding};

/// How long one question may take.
pub(in crate::tick) const LIMIT: Duration = Duration::from_secs(5);

/// The families that are looked at where nothing says which are needed.
const USUAL: [&str; 2] = ["claude", "codex"];

/// How much depends on a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Need {
    /// Nothing that is queued or configured; most people have it.
    Usual,
    /// A manifest configures it.
    Configured,
    /// A stage that has not ended is its to do.
    Queued,
}

/// What to find out about one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The family.
    pub family: FamilyName,
    /// How much depends on it.
    pub need: Need,
    /// Its program; none where its name depends on the run.
    pub program: Option<String>,
    /// What prints its version.
    pub version: Option<Vec<String>>,
    /// The versions that were tested, oldest first.
    pub tested: Vec<String>,
    /// What ends with 0 where somebody is logged in; none where that does not matter.
    pub login: Option<Vec<String>>,
    /// What ends with 0 where its sandbox works; none where it is not used.
    pub sandbox: Option<Vec<String>>,
    /// Variables that its agents take from whoever starts them.
    pub inherits: Vec<String>,
    /// Variables with values of their own. Never a secret: those are left out.
    pub sets: BTreeMap<String, String>,
}

/// What was found out about one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The family.
    pub family: FamilyName,
    /// Where its program is, or why it cannot be used.
    pub program: Result<PathBuf, String>,
    /// Its version.
    pub version: Fact,
    /// Whether somebody is logged in.
    pub login: Fact,
    /// Whether its sandbox works.
    pub sandbox: Fact,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fact {
    /// Nobody asked.
    Unasked,
    /// Yes, with what it said.
    Yes(String),
    /// No, with what it said.
    No(String),
    /// It did not say within the limit.
    Silent,
}

/// What the queues and the manifests of these repositories need; the usual ones where there is no repository.
pub(in crate::tick) fn wanted(sites: &[&Site]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for site in sites {
        let stages = store::peek(&site.layout).map(|loaded| loaded.state.stages).unwrap_or_default();
        let queued: BTreeSet<FamilyName> = stages
            .iter()
            .filter(|stage| !matches!(stage.life, Life::Over(_)))
            .flat_map(|stage| families(site, stage))
            .collect();
        for spec in site.families.iter() {
            let need = if queued.contains(&spec.name) {
                Need::Queued
            } else if site.manifest.families.contains_key(&spec.name) {
                Need::Configured
            } else {
                continue;
            };
            add(&mut wanted, of(spec, need));
        }
    }
    if wanted.iter().all(|wanted| wanted.version.is_none())
        && let Ok(usual) = Families::new(&BTreeMap::new())
    {
        usual
            .iter()
            .filter(|spec| USUAL.contains(&spec.name.as_str()))
            .for_each(|spec| add(&mut wanted, of(spec, Need::Usual)));
    }
    wanted
}

/// Adds what is not asked already; of two that ask the same, the greater need counts.
fn add(wanted: &mut Vec<Wanted>, new: Wanted) {
    match wanted.iter_mut().find(|known| Wanted { need: new.need, ..(**known).clone() } == new) {
        Some(known) => known.need = known.need.max(new.need),
        None => wanted.push(new),
    }
}

fn families(site: &Site, stage: &Stage) -> Vec<FamilyName> {
    let people = std::iter::once(&stage.worker).chain(&stage.verifiers);
    people.filter_map(|identity| site.families.of(identity)).map(|spec| spec.name.clone()).collect()
}

pub(in crate::tick) fn of(spec: &FamilySpec, need: Need) -> Wanted {
    let user = if nix::unistd::geteuid().is_root() { LaunchUser::Root } else { LaunchUser::Ordinary };
    let (mut inherits, mut sets) = (Vec::new(), BTreeMap::new());
    for entry in spec.environment(user) {
        match entry.source {
            EnvSource::Parent => inherits.push(entry.name),
            // A literal may be a key that somebody wrote into the manifest; no question needs one.
            EnvSource::Literal(_) if names_secret(&entry.name) => {}
            EnvSource::Literal(value) => drop(sets.insert(entry.name, value)),
            EnvSource::Secret(_) => {}
        }
    }
    let login = (spec.auth == AuthMode::Subscription).then(|| spec.question(&spec.login_command)).flatten();
    let sandbox = (spec.sandbox == Sandbox::WorkspaceWrite).then(|| spec.question(&spec.sandbox_command)).flatten();
    Wanted {
        family: spec.name.clone(),
        need,
        program: spec.program().map(str::to_owned),
        version: spec.question(&spec.version_command),
        tested: spec.tested_versions.clone(),
        login,
        sandbox,
        inherits,
        sets,
    }
}

/// Asks all that is wanted, each family beside the others, in this process's own environment.
pub(in crate::tick) fn ask(wanted: &[Wanted]) -> Vec<Found> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = wanted.iter().map(|one| scope.spawn(move || find(one))).collect();
        asked.into_iter().filter_map(|one| one.join().ok()).collect()
    })
}

fn find(wanted: &Wanted) -> Found {
    let mut environment = runs::inherited(wanted.inherits.iter().map(String::as_str));
    environment.extend(wanted.sets.clone());
    let mut found = Found {
        family: wanted.family.clone(),
        program: Ok(PathBuf::new()),
        version: Fact::Unasked,
        login: Fact::Unasked,
        sandbox: Fact::Unasked,
    };
    let Some(program) = &wanted.program else { return found };
    found.program = runs::locate(program, &environment);
    if found.program.is_err() {
        return found;
    }
    let fact = |question: &Option<Vec<String>>| match question {
        None => Fact::Unasked,
        Some(argv) => fact(Inquiry { argv, environment: &environment, input: b"", limit: LIMIT }.ask()),
    };
    found.version = fact(&wanted.version);
    // A program that cannot even say its version answers nothing else.
    if matches!(found.version, Fact::Yes(_) | Fact::Unasked) {
        found.login = fact(&wanted.login);
        found.sandbox = fact(&wanted.sandbox);
    }
    found
}

/// What an answer says.
pub(in crate::tick) fn fact(answer: Answer) -> Fact {
    match answer {
        Answer::Said { code: Some(0), stdout, .. } => Fact::Yes(stdout.trim().to_owned()),
        Answer::Said { stdout, stderr, .. } => {
            let said = if stderr.trim().is_empty() { stdout } else { stderr };
            Fact::No(said.trim().lines().last().unwrap_or("it said nothing").to_owned())
        }
        Answer::TimedOut => Fact::Silent,
        Answer::NotStarted(why) => Fact::No(why),
    }
}

/// The findings of this machine.
pub(super) fn check(wanted: &[Wanted]) -> Vec<Finding> {
    let found = ask(wanted);
    let mut findings: Vec<Finding> =
        wanted.iter().zip(&found).flat_map(|(wanted, found)| judge(wanted, found)).collect();
    findings.push(match runs::locate("tmux", &runs::inherited(["PATH"])) {
        Ok(path) => Finding::ok(Area::Machine, format!("tmux is {}", path.display())),
        Err(_) => {
            Finding::warning(Area::Machine, "tmux is not installed; `autometta attach` needs it, nothing else does")
                .mend("install tmux")
        }
    });
    findings
}

/// A fault where a queued stage needs the family, and a warning where nothing does yet.
pub(in crate::tick) fn by_need(area: Area, wanted: &Wanted, says: String) -> Finding {
    match wanted.need {
        Need::Queued => Finding::fault(area, says),
        Need::Configured | Need::Usual => Finding::warning(area, says),
    }
}

/// A question as it would be typed.
fn typed(question: Option<&Vec<String>>) -> String {
    question.map(|words| words.join(" ")).unwrap_or_default()
}

fn judge(wanted: &Wanted, found: &Found) -> Vec<Finding> {
    let family = &wanted.family;
    let Some(program) = &wanted.program else {
        let says = format!("{family}: its program's name depends on the run, so it is not looked for");
        return vec![Finding::ok(Area::Machine, says)];
    };
    let path = match &found.program {
        Ok(path) => path.display(),
        Err(why) => {
            let finding = by_need(Area::Machine, wanted, format!("the family {family} has no program: {why}"));
            return vec![finding.mend(format!("install {program}, or put its folder into PATH"))];
        }
    };
    let mut findings = vec![match &found.version {
        Fact::Unasked => Finding::ok(Area::Machine, format!("{family} is {path}")),
        Fact::Yes(said) => version(wanted, said, &path.to_string()),
        Fact::No(said) => Finding::fault(Area::Machine, format!("{path} does not say its version: {said}"))
            .mend(typed(wanted.version.as_ref())),
        Fact::Silent => {
            let says = format!("{path} did not say its version within {} seconds", LIMIT.as_secs());
            Finding::warning(Area::Machine, says).mend(typed(wanted.version.as_ref()))
        }
    }];
    findings.extend(login(wanted, &found.login));
    findings.extend(sandbox(wanted, &found.sandbox));
    findings
}

fn version(wanted: &Wanted, said: &str, path: &str) -> Finding {
    let family = &wanted.family;
    let install = wanted.tested.last().map_or_else(String::new, |version| format!("install {family} {version}"));
    let (Some(found), Some(oldest), Some(newest)) = (
        number(said),
        wanted.tested.first().and_then(|text| number(text)),
        wanted.tested.last().and_then(|text| number(text)),
    ) else {
        let says = format!("{family} is {path}; its version cannot be told from `{said}`");
        return Finding::warning(Area::Machine, says).mend(install);
    };
    let text = dotted(&found);
    if found < oldest {
        let says = format!("{family} {text} ({path}) is older than {}, the oldest that was tested", dotted(&oldest));
        Finding::fault(Area::Machine, says).mend(install)
    } else if found > newest {
        let says = format!("{family} {text} ({path}) is newer than {}, the newest that was tested", dotted(&newest));
        Finding::warning(Area::Machine, says).mend(format!("{install}, or watch its first run"))
    } else {
        Finding::ok(Area::Machine, format!("{family} {text} is {path}"))
    }
}

/// The first dotted number of a text: `codex-cli 0.169.0` is 0, 169, 0.
fn number(text: &str) -> Option<Vec<u64>> {
    let words = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    words.filter(|word| word.contains('.')).find_map(|word| word.split('.').map(|part| part.parse().ok()).collect())
}

fn dotted(number: &[u64]) -> String {
    number.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// What the answer about the login means.
pub(in crate::tick) fn login(wanted: &Wanted, fact: &Fact) -> Option<Finding> {
    let family = &wanted.family;
    let command = typed(wanted.login.as_ref());
    let way_in = match family.as_str() {
        "claude" => "claude auth login".to_owned(),
        "codex" => "codex login".to_owned(),
        _ => command.clone(),
    };
    Some(match fact {
        Fact::Unasked => return None,
        Fact::Yes(_) => Finding::ok(Area::Machine, format!("{family} is logged in (`{command}`)")),
        Fact::No(_) => {
            let says = format!("{family} is not logged in (`{command}`), and its runs use the subscription's login");
            by_need(Area::Machine, wanted, says).mend(way_in)
        }
        Fact::Silent => {
            let says = format!("`{command}` did not answer within {} seconds", LIMIT.as_secs());
            Finding::warning(Area::Machine, says).mend(command)
        }
    })
}

fn sandbox(wanted: &Wanted, fact: &Fact) -> Option<Finding> {
    let family = &wanted.family;
    let command = typed(wanted.sandbox.as_ref());
    Some(match fact {
        Fact::Unasked => return None,
        Fact::Yes(_) => Finding::ok(Area::Machine, format!("{family} can confine commands here (`{command}`)")),
        Fact::No(why) => {
            let says = format!("{family} cannot confine commands here, so every command of its model will fail: {why}");
            let mend = format!(
                "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), or set \
                 `families.{family}.sandbox: danger-full-access` in .autometta.yaml"
            );
            by_need(Area::Machine, wanted, says).mend(mend)
        }
        Fact::Silent => {
            let says = format!("`{command}` did not end within {} seconds", LIMIT.as_secs());
            Finding::warning(Area::Machine, says).mend(command)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, expected) in [
            ("2.1.197 (Claude Code)", Some(vec![2, 1, 197])),
            ("codex-cli 0.169.0", Some(vec![0, 169, 0])),
            ("v1.2", Some(vec![1, 2])),
            ("1.2.3-beta.4", Some(vec![1, 2, 3])),
            ("no number...", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
