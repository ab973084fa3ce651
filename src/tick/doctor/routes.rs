//! Who pays for each family's runs, where its keys come from, and what could make somebody else pay. No secret is resolved
//! or shown.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::core::family::AuthMode;
use crate::core::secrecy::{is_api_key, names_secret, redirects};
use crate::families::{EnvSource, FamilySpec, SecretRef};
use crate::runs::{self, LoginState};

use super::super::order;
use super::super::site::Site;
use super::agents::{Need, Wanted};
use super::finding::{Area, Finding};

/// The routes of the families that this repository needs.
pub(super) fn check(site: &Site, wanted: &[Wanted]) -> Vec<Finding> {
    let needs = |wanted: &&Wanted| wanted.need > Need::Usual;
    let is_wanted = |spec: &&FamilySpec| wanted.iter().filter(needs).any(|wanted| wanted.family == spec.name);
    // The timer's variables are what an `env:` reference is read from at night.
    let night = night(site);
    site.families.iter().filter(is_wanted).flat_map(|spec| of(site, spec, &night)).collect()
}

/// The variables that ticks have: the timer's, or those of this process where there is no timer.
#[derive(Debug)]
pub(in crate::tick) enum Night {
    /// There is a timer, with exactly these.
    Timer(BTreeMap<String, String>),
    /// There is none.
    Here,
}

impl Night {
    /// The value of a variable where ticks run.
    pub(in crate::tick) fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Timer(env) => env.get(name).cloned(),
            Self::Here => runs::inherited([name]).remove(name),
        }
    }
}

/// Where this repository's ticks run.
pub(in crate::tick) fn night(site: &Site) -> Night {
    site.home.timer().ok().flatten().map_or(Night::Here, |record| Night::Timer(record.env))
}

/// The route of one family.
pub(in crate::tick) fn of(site: &Site, spec: &FamilySpec, night: &Night) -> Vec<Finding> {
    let family = &spec.name;
    let has = |name: &str| night.get(name).is_some();
    let mut findings = vec![match spec.auth {
        AuthMode::Subscription => Finding::ok(
            Area::Repository,
            format!("{family} runs on its own login (`auth: subscription`); no API key reaches it"),
        ),
        AuthMode::Api => {
            let keys: Vec<String> = spec
                .api_keys
                .iter()
                .filter_map(|key| spec.env.get(key).map(|source| format!("{key} from {}", origin(source))))
                .collect();
            Finding::ok(Area::Repository, format!("{family} runs on an API key (`auth: api`): {}", keys.join(", ")))
        }
        AuthMode::Local => {
            Finding::ok(Area::Repository, format!("{family} runs on a model server of your own (`auth: local`)"))
        }
        AuthMode::None => Finding::ok(Area::Repository, format!("{family} needs no login (`auth: none`)")),
    }];
    for (name, source) in &spec.env {
        findings.extend(match source {
            EnvSource::Literal(_) if names_secret(name) => Some(
                Finding::warning(
                    Area::Repository,
                    format!("{family}: the key {name} stands in the manifest itself, for everybody to read"),
                )
                .mend(format!("put it into a file of mode 600 and write `{name}: \"file:/path\"`")),
            ),
            EnvSource::Secret(reference) => unreachable_secret(name, reference, &has)
                .map(|(why, mend)| Finding::fault(Area::Repository, format!("{family}: {why}")).mend(mend)),
            EnvSource::Literal(_) | EnvSource::Parent => None,
        });
    }
    findings.extend(login_rule(spec, night));
    findings.extend(shared_login(site, spec));
    findings.extend(claude_settings(spec));
    findings
}

/// Whether the login that a CLI keeps for itself would win over the key of `auth: api`.
fn login_rule(spec: &FamilySpec, night: &Night) -> Option<Finding> {
    let rule = order::login_rule(spec)?;
    let variable = &rule.home_variable;
    let home = match spec.env.get(variable) {
        Some(EnvSource::Literal(home)) => Some(home.clone()),
        Some(EnvSource::Secret(_)) => return None,
        Some(EnvSource::Parent) | None => night.get(variable),
    };
    Some(match runs::login_state(&rule, home.as_deref().map(Path::new)) {
        LoginState::AsItMustBe => {
            let says = format!("{}: its login below {variable} is of the kind `{}`", spec.name, rule.must_be);
            Finding::ok(Area::Repository, says)
        }
        LoginState::Wrong(why) => {
            let home = home.unwrap_or_else(|| format!("${variable}"));
            let mend = rule.way_out.replace("{home}", &home);
            Finding::fault(Area::Repository, format!("{}: {why}", spec.name)).mend(mend)
        }
    })
}

/// Codex exchanges its login's refresh token for a new one, once; two processes that do so at the same time lose the login.
fn shared_login(site: &Site, spec: &FamilySpec) -> Option<Finding> {
    let shared = spec.name.as_str() == "codex" && spec.auth == AuthMode::Subscription && site.policy.max_parallel > 1;
    let says = "codex: `max_parallel` is more than 1, and its runs share one login, whose refresh token is good for one use: \
                two runs that renew it at the same time may log each other out";
    shared.then(|| {
        Finding::warning(Area::Repository, says).mend("set `max_parallel: 1`, or `families.codex.auth: api` with a key")
    })
}

/// Claude's own settings may name a key, which takes the bill from the subscription.
fn claude_settings(spec: &FamilySpec) -> Option<Finding> {
    if spec.name.as_str() != "claude" || spec.auth != AuthMode::Subscription {
        return None;
    }
    let mut env = runs::inherited(["CLAUDE_CONFIG_DIR", "HOME"]);
    let folder = env.remove("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let path = folder.or_else(|| Some(PathBuf::from(env.remove("HOME")?).join(".claude")))?.join("settings.json");
    let settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    let helper = settings.get("apiKeyHelper").map(|_| "apiKeyHelper");
    let variables = settings.get("env").and_then(serde_json::Value::as_object);
    let variable = variables.and_then(|env| env.keys().find(|name| is_api_key(name) || redirects(name)));
    let what = helper.or(variable.map(String::as_str))?;
    let says = format!("claude: {} sets `{what}`, which wins over the subscription's login", path.display());
    Some(Finding::warning(Area::Repository, says).mend(format!("take `{what}` out of {}", path.display())))
}

/// Where a value comes from, without the value.
pub(in crate::tick) fn origin(source: &EnvSource) -> String {
    match source {
        EnvSource::Literal(_) => "the manifest".to_owned(),
        EnvSource::Secret(SecretRef::Command(_)) => "a command (cmd:…)".to_owned(),
        EnvSource::Secret(reference) => reference.to_string(),
        EnvSource::Parent => "the environment".to_owned(),
    }
}

/// Why a reference cannot resolve at night, and what mends it, as far as that shows without resolving it.
fn unreachable_secret(name: &str, reference: &SecretRef, has: &impl Fn(&str) -> bool) -> Option<(String, String)> {
    match reference {
        SecretRef::Env(variable) if !has(variable) => Some((
            format!("{name} is to come from env:{variable}, which is not set where ticks run"),
            format!("set {variable} in the timer's environment, or use a file: reference"),
        )),
        SecretRef::File(path) => match std::fs::metadata(Path::new(path)) {
            Err(error) => Some((
                format!("{name} is to come from file:{path}: {error}"),
                format!("write the key into {path} and chmod 600 it"),
            )),
            Ok(meta) if !meta.is_file() => Some((
                format!("{name} is to come from file:{path}, which is not a file"),
                "edit .autometta.yaml".to_owned(),
            )),
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Some((
                format!("{name} is to come from file:{path}, which others may read"),
                format!("chmod 600 {path}"),
            )),
            Ok(_) => None,
        },
        SecretRef::OnePassword(_) if runs::locate("op", &runs::inherited(["PATH"])).is_err() => Some((
            format!("{name} is to come from 1Password, and `op` is not found"),
            "install the 1Password CLI".to_owned(),
        )),
        SecretRef::Keychain(_) if !cfg!(target_os = "macos") => Some((
            format!("{name} is to come from {reference}, and the Keychain is a part of macOS"),
            "use a file: or cmd: reference on this machine".to_owned(),
        )),
        SecretRef::Env(_) | SecretRef::Keychain(_) | SecretRef::OnePassword(_) | SecretRef::Command(_) => None,
    }
}
