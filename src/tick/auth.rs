//! `auth`: who pays for each family's runs, where every variable of its agents comes from, and whether a run could start.
//!
//! No value is shown, stored or kept longer than the question that needs it, and no server is asked.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::core::family::AuthMode;
use crate::core::ids::FamilyName;
use crate::core::secrecy::{API_KEYS, redirects};
use crate::families::{EnvSource, FamilySpec, LaunchUser, SecretRef};
use crate::runs::{self, Inquiry};

use super::doctor::agents::{self, Fact, Found, Need, Wanted};
use super::doctor::routes::{self, Night};
use super::doctor::{Area, Finding, Level};
use super::site::Site;

/// What `auth status --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthStatus {
    /// The families that the queue or the manifest needs; the usual ones where neither needs any.
    pub families: Vec<FamilyAuth>,
}

/// How one family is paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FamilyAuth {
    /// The family.
    pub family: FamilyName,
    /// Who pays.
    pub mode: AuthMode,
    /// Where its program is; none where it was not found.
    pub program: Option<PathBuf>,
    /// What its program says its version is.
    pub version: Option<String>,
    /// The variables of its own that its agents get, beside the base list that every program gets.
    pub variables: Vec<Variable>,
    /// Variables that are set here and that its agents do not get: keys, and what sends requests elsewhere.
    pub withheld: Vec<String>,
    /// What was found, in words.
    pub findings: Vec<Finding>,
}

/// One variable of a family's agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value comes from, never the value.
    pub from: String,
    /// Whether the agents get it as things stand; none where only resolving it would tell.
    pub present: Option<bool>,
}

/// What `auth check --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthCheck {
    /// The family.
    pub family: FamilyName,
    /// Who pays.
    pub mode: AuthMode,
    /// Whether a run of it could start.
    pub fit: bool,
    /// What was found, in words.
    pub findings: Vec<Finding>,
}

/// Shows every family that is needed. Nothing is resolved.
pub fn status(site: &Site) -> AuthStatus {
    let mut wanted = agents::wanted(&[site]);
    for one in &mut wanted {
        (one.login, one.sandbox) = (None, None);
    }
    let night = routes::night(site);
    let found = agents::ask(&wanted);
    let show = |(wanted, found): (&Wanted, Found)| {
        let spec = site.families.get(&wanted.family)?;
        Some(family(site, spec, &night, found))
    };
    AuthStatus { families: wanted.iter().zip(found).filter_map(show).collect() }
}

fn family(site: &Site, spec: &FamilySpec, night: &Night, found: Found) -> FamilyAuth {
    let mut findings = routes::of(site, spec, night);
    if let Err(why) = &found.program {
        findings.push(Finding::fault(Area::Machine, format!("{}: {why}", spec.name)).mend(install(spec)));
    }
    let variables = variables(site, spec, night);
    let gets: BTreeSet<&str> = spec.env.keys().map(String::as_str).collect();
    let environment = spec.environment(user());
    let is_withheld = |name: &str| !gets.contains(name) && !environment.iter().any(|entry| entry.name == name);
    let mut withheld: Vec<String> = runs::names_of_environment()
        .into_iter()
        .filter(|name| (API_KEYS.contains(&name.as_str()) || redirects(name)) && is_withheld(name))
        .collect();
    withheld.sort();
    FamilyAuth {
        family: spec.name.clone(),
        mode: spec.auth,
        program: found.program.ok().filter(|path| !path.as_os_str().is_empty()),
        version: match found.version {
            Fact::Yes(said) => said.lines().next().map(str::to_owned),
            Fact::No(_) | Fact::Silent | Fact::Unasked => None,
        },
        variables,
        withheld,
        findings,
    }
}

fn variables(site: &Site, spec: &FamilySpec, night: &Night) -> Vec<Variable> {
    let given = site.manifest.families.get(&spec.name).and_then(|entry| entry.env.as_ref());
    let is_given = |name: &str| given.is_some_and(|env| env.contains_key(name));
    let base = crate::families::invocation::BASE_ENV;
    let own = spec.environment(user()).into_iter().filter(|entry| !base.contains(&entry.name.as_str()));
    let show = |entry: crate::families::EnvEntry| {
        let (from, present) = match &entry.source {
            EnvSource::Parent => {
                let present = night.get(&entry.name).is_some();
                (routes::origin(&entry.source), Some(present))
            }
            EnvSource::Literal(_) if is_given(&entry.name) => (routes::origin(&entry.source), Some(true)),
            EnvSource::Literal(_) => ("autometta itself".to_owned(), Some(true)),
            EnvSource::Secret(SecretRef::Env(name)) => (routes::origin(&entry.source), Some(night.get(name).is_some())),
            EnvSource::Secret(SecretRef::File(path)) => (file_origin(path), None),
            EnvSource::Secret(_) => (routes::origin(&entry.source), None),
        };
        Variable { name: entry.name, from, present }
    };
    own.map(show).collect()
}

fn file_origin(path: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::metadata(path) {
        Ok(meta) => format!("file:{path} (mode {:03o})", meta.permissions().mode() & 0o777),
        Err(error) => format!("file:{path} ({error})"),
    }
}

fn user() -> LaunchUser {
    if nix::unistd::geteuid().is_root() { LaunchUser::Root } else { LaunchUser::Ordinary }
}

fn install(spec: &FamilySpec) -> String {
    format!("install {}, or put its folder into PATH", spec.program().unwrap_or_else(|| spec.name.as_str()))
}

/// Does what a run of this family would do before its program starts, and asks its program whether it is logged in. None
/// where there is no such family.
pub fn check(site: &Site, name: &FamilyName) -> Option<AuthCheck> {
    let spec = site.families.get(name)?;
    let night = routes::night(site);
    let mut findings = routes::of(site, spec, &night);
    let wanted = agents::of(spec, Need::Queued);
    let mut environment = runs::inherited(wanted.inherits.iter().map(String::as_str));
    environment.extend(wanted.sets.clone());
    let withheld = spec.taken_from_parent();
    for (variable, source) in &spec.env {
        let EnvSource::Secret(reference) = source else { continue };
        let shown = routes::origin(source);
        match runs::resolve_secret(&reference.to_string(), &withheld) {
            Ok(value) => {
                let says = format!("{name}: {variable} resolves ({shown})");
                findings.push(Finding::ok(Area::Repository, says));
                if value.is_short() {
                    let says = format!("{name}: {variable} is too short to be kept out of logs");
                    findings.push(Finding::warning(Area::Repository, says).mend("use a longer secret"));
                }
                value.add_to(variable, &mut environment);
            }
            Err(why) => {
                // A command's text may be long, and its author knows it.
                let why = if matches!(reference, SecretRef::Command(_)) {
                    why.replace(&reference.to_string(), &shown)
                } else {
                    why
                };
                // The route has said so already where it shows without resolving.
                let known =
                    findings.iter().any(|one| one.level == Level::Fault && one.says.contains(variable.as_str()));
                if !known {
                    let mend = format!("mend `families.{name}.env.{variable}` in .autometta.yaml");
                    findings.push(Finding::fault(Area::Repository, format!("{name}: {variable}: {why}")).mend(mend));
                }
            }
        }
    }
    if let Some(program) = &wanted.program {
        match runs::locate(program, &environment) {
            Ok(path) => {
                findings.push(Finding::ok(Area::Machine, format!("{name} is {}", path.display())));
                if let Some(argv) = &wanted.login {
                    let inquiry = Inquiry { argv, environment: &environment, input: b"", limit: agents::LIMIT };
                    findings.extend(agents::login(&wanted, &agents::fact(inquiry.ask())));
                }
            }
            Err(why) => findings.push(Finding::fault(Area::Machine, format!("{name}: {why}")).mend(install(spec))),
        }
    }
    let fit = findings.iter().all(|one| one.level != Level::Fault);
    Some(AuthCheck { family: name.clone(), mode: spec.auth, fit, findings })
}
