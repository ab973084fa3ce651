//! Who pays for each family's runs, and where its keys come from. No secret is resolved or shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::core::family::AuthMode;
use crate::families::{EnvSource, FamilySpec, SecretRef};
use crate::runs;

use super::super::site::Site;
use super::agents::{Need, Wanted};
use super::finding::{Area, Finding};

/// The routes of the families that this repository needs.
pub(super) fn check(site: &Site, wanted: &[Wanted]) -> Vec<Finding> {
    let needs = |wanted: &&Wanted| wanted.need > Need::Usual;
    let is_wanted = |spec: &&FamilySpec| wanted.iter().filter(needs).any(|wanted| wanted.family == spec.name);
    // The timer's variables are what an `env:` reference is read from at night.
    let night = site.home.timer().ok().flatten().map(|record| record.env);
    let has = |name: &str| match &night {
        Some(env) => env.contains_key(name),
        None => !runs::inherited([name]).is_empty(),
    };
    site.families.iter().filter(is_wanted).flat_map(|spec| of(spec, &has)).collect()
}

fn of(spec: &FamilySpec, has: &impl Fn(&str) -> bool) -> Vec<Finding> {
    let family = &spec.name;
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
            EnvSource::Literal(_) if spec.api_keys.contains(name) => Some(
                Finding::warning(
                    Area::Repository,
                    format!("{family}: the key {name} stands in the manifest itself, for everybody to read"),
                )
                .mend(format!("put it into a file of mode 600 and write `{name}: \"file:/path\"`")),
            ),
            EnvSource::Secret(reference) => unreachable_secret(name, reference, has)
                .map(|(why, mend)| Finding::fault(Area::Repository, format!("{family}: {why}")).mend(mend)),
            EnvSource::Literal(_) | EnvSource::Parent => None,
        });
    }
    findings
}

/// Where a value comes from, without the value.
fn origin(source: &EnvSource) -> String {
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
        SecretRef::Env(_) | SecretRef::OnePassword(_) | SecretRef::Command(_) => None,
    }
}
