//! The families of one repo: the built-in table with the manifest's `families:` laid over it.

use std::collections::{BTreeMap, BTreeSet};

use super::builtin::{Known, known};
use super::invocation::EnvSource;
use super::reach::Reach;
use super::secret::{SecretRef, is_variable_name};
use super::spec::{FamilySpec, IdentityPattern, ModelUse, PromptInput};
use super::template::Template;
use crate::core::family::{AuthMode, DecoderKind, FamilyOverride, Sandbox, Word};
use crate::core::fault::Faults;
use crate::core::ids::{FamilyName, Identity};
use crate::core::rates::RateTable;
use crate::core::secrecy::{is_api_key, redirects};

/// Every family of one repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Families(BTreeMap<FamilyName, FamilySpec>, RateTable);

impl Families {
    /// Checks the overrides and lays them over the built-in table. Reports every fault at once, each with its place
    /// in the manifest.
    pub fn new(overrides: &BTreeMap<FamilyName, FamilyOverride>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut families = BTreeMap::new();
        for known in known() {
            match FamilySpec::try_from(known) {
                Ok(spec) => {
                    families.insert(spec.name.clone(), spec);
                }
                Err(message) => faults.add(None, "built-in families", message),
            }
        }
        for (name, entry) in overrides {
            let place = format!("/families/{name}");
            let base = families.remove(name).or_else(|| blank(name, entry, &place, &mut faults));
            if let Some(mut spec) = base {
                lay_over(&mut spec, entry, &place, &mut faults);
                check_keys(&spec, &place, &mut faults);
                families.insert(name.clone(), spec);
            }
        }
        check_overlaps(&families, &mut faults);
        if faults.is_empty() { Ok(Self(families, RateTable::default())) } else { Err(faults) }
    }

    /// The family that serves an identity. Where several patterns match, the one that fixes most of the name wins.
    pub fn of(&self, identity: &Identity) -> Option<&FamilySpec> {
        let matching = self.0.values().filter_map(|spec| {
            let patterns = spec.identities.iter().filter(|pattern| pattern.matches(identity.name()));
            patterns.map(IdentityPattern::weight).max().map(|weight| (weight, spec))
        });
        // `rev` makes the alphabetically first family win a tie, because `max_by_key` keeps the last.
        matching.collect::<Vec<_>>().into_iter().rev().max_by_key(|(weight, _)| *weight).map(|(_, spec)| spec)
    }

    /// A family by its name.
    pub fn get(&self, name: &FamilyName) -> Option<&FamilySpec> {
        self.0.get(name)
    }

    /// The same families with the operator's prices.
    #[must_use]
    pub fn with_rates(mut self, rates: RateTable) -> Self {
        self.1 = rates;
        self
    }

    /// What their models cost.
    pub fn rates(&self) -> &RateTable {
        &self.1
    }

    pub(super) fn specs_mut(&mut self) -> impl Iterator<Item = &mut FamilySpec> {
        self.0.values_mut()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &FamilySpec> {
        self.0.values()
    }
}

impl TryFrom<Known> for FamilySpec {
    type Error = String;

    fn try_from(known: Known) -> Result<Self, String> {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        Ok(Self {
            name: known.name.parse().map_err(|error| format!("{error}"))?,
            identities: known.identities.iter().filter_map(|text| IdentityPattern::new(text)).collect(),
            worker: Template::parse(&known.worker).map_err(|error| error.to_string())?,
            verifier: Template::parse(&known.verifier).map_err(|error| error.to_string())?,
            decoder: known.decoder,
            auth: known.auth,
            api_keys: texts(known.api_keys),
            key_aliases: pairs(known.key_aliases),
            pass_env: texts(known.pass_env),
            subscription_env: texts(known.subscription_env),
            env: pairs(known.env).into_iter().map(|(name, value)| (name, EnvSource::Literal(value))).collect(),
            root_env: pairs(known.root_env).into_iter().collect(),
            models: BTreeMap::new(),
            tiers: BTreeMap::new(),
            tier_words: BTreeSet::new(),
            model_use: known.model_use,
            sandbox: Sandbox::WorkspaceWrite,
            stdin: known.stdin,
            version_command: texts(known.version_command),
            tested_versions: texts(known.tested_versions),
            login_command: texts(known.login_command),
            api_login: known.api_login,
            sandbox_command: texts(known.sandbox_command),
            reach: known.reach,
        })
    }
}

/// A new family before its entry is laid over it; its command comes from the entry.
fn blank(name: &FamilyName, entry: &FamilyOverride, place: &str, faults: &mut Faults) -> Option<FamilySpec> {
    if entry.identities.is_none() {
        faults.add(None, place, "a new family needs `identities`, such as [\"My agent*\"]");
    }
    let Some(command) = &entry.command else {
        faults.add(None, place, "a new family needs `command`, such as [my-agent, --model, \"{model}\"]");
        return None;
    };
    let template = template(command, &format!("{place}/command"), faults)?;
    Some(FamilySpec {
        name: name.clone(),
        identities: Vec::new(),
        worker: template.clone(),
        verifier: template,
        decoder: DecoderKind::Plain,
        auth: AuthMode::None,
        api_keys: Vec::new(),
        key_aliases: Vec::new(),
        pass_env: Vec::new(),
        subscription_env: Vec::new(),
        env: BTreeMap::new(),
        root_env: BTreeMap::new(),
        models: BTreeMap::new(),
        tiers: BTreeMap::new(),
        tier_words: BTreeSet::new(),
        model_use: ModelUse::Calls,
        sandbox: Sandbox::WorkspaceWrite,
        stdin: PromptInput::PromptFile,
        version_command: Vec::new(),
        tested_versions: Vec::new(),
        login_command: Vec::new(),
        api_login: None,
        sandbox_command: Vec::new(),
        reach: Reach::default(),
    })
}

fn template(words: &[Word], place: &str, faults: &mut Faults) -> Option<Template> {
    match Template::parse(words) {
        Ok(template) => Some(template),
        Err(error) => {
            faults.add(None, place, error.to_string());
            None
        }
    }
}

fn lay_over(spec: &mut FamilySpec, entry: &FamilyOverride, place: &str, faults: &mut Faults) {
    if let Some(identities) = &entry.identities {
        spec.identities = identities.iter().filter_map(|text| IdentityPattern::new(text)).collect();
        if spec.identities.len() != identities.len() || identities.is_empty() {
            faults.add(None, format!("{place}/identities"), "every pattern needs at least one character");
        }
    }
    let command = entry.command.as_ref();
    if let Some(template) = command.and_then(|words| template(words, &format!("{place}/command"), faults)) {
        spec.worker = template;
    }
    let command = entry.verifier_command.as_ref();
    if let Some(template) = command.and_then(|words| template(words, &format!("{place}/verifier_command"), faults)) {
        spec.verifier = template;
    }
    if let Some(command) = &entry.version_command {
        if command.first().is_none_or(|program| program.trim().is_empty()) {
            faults.add(None, format!("{place}/version_command"), "it names no program");
        }
        spec.version_command.clone_from(command);
    }
    spec.decoder = entry.decoder.unwrap_or(spec.decoder);
    spec.auth = entry.auth.unwrap_or(spec.auth);
    spec.sandbox = entry.sandbox.unwrap_or(spec.sandbox);
    if entry.command.is_some() || entry.verifier_command.is_some() {
        // Nobody knows whom another program asks.
        spec.reach = Reach::default();
    }
    spec.reach.rule.clone_from(&entry.endpoint);
    for (name, text) in entry.env.iter().flatten() {
        let place = format!("{place}/env/{name}");
        if !is_variable_name(name) {
            faults.add(None, place, "is not a variable's name: letters, digits and underscores, no digit in front");
            continue;
        }
        match SecretRef::parse(text) {
            Ok(Some(secret)) => spec.env.insert(name.clone(), EnvSource::Secret(secret)),
            Ok(None) => spec.env.insert(name.clone(), EnvSource::Literal(text.clone())),
            Err(error) => {
                faults.add(None, place, error.to_string());
                None
            }
        };
    }
    for name in entry.pass_env.iter().flatten() {
        if !is_variable_name(name) {
            faults.add(None, format!("{place}/pass_env"), format!("`{name}` is not a variable's name"));
        } else if is_api_key(name) {
            let message = format!("`{name}` is an API key: set `auth: api` and `env: {{{name}: \"env:{name}\"}}`");
            faults.add(None, format!("{place}/pass_env"), message);
        } else if spec.auth == AuthMode::Subscription && redirects(name) {
            let message = format!(
                "`{name}` of whoever starts the tick would send the subscription's login to another server; write its \
                 value into `env` where that is wanted"
            );
            faults.add(None, format!("{place}/pass_env"), message);
        } else {
            spec.pass_env.push(name.clone());
        }
    }
    for (handle, model) in entry.models.iter().flatten() {
        if model.trim().is_empty() || model.starts_with('-') {
            faults.add(None, format!("{place}/models/{handle}"), format!("`{model}` is not the name of a model"));
        }
    }
    spec.models.extend(entry.models.iter().flatten().map(|(handle, model)| (handle.clone(), model.clone())));
}

/// The modes and the keys must agree, because a key in the wrong mode takes the bill without a word.
fn check_keys(spec: &FamilySpec, place: &str, faults: &mut Faults) {
    let named: Vec<&str> = spec.env.keys().map(String::as_str).filter(|name| is_api_key(name)).collect();
    match spec.auth {
        AuthMode::Subscription | AuthMode::None => {
            for name in named {
                let message = "is an API key, which this `auth` mode keeps from the agent; set `auth: api`";
                faults.add(None, format!("{place}/env/{name}"), message);
            }
        }
        AuthMode::Api => {
            let missing = !spec.api_keys.iter().any(|key| spec.env.contains_key(key));
            if missing && let Some(key) = spec.api_keys.first() {
                let message = format!("`auth: api` needs a key, such as `env: {{{key}: \"op://vault/item/field\"}}`");
                faults.add(None, format!("{place}/auth"), message);
            }
        }
        AuthMode::Local => {}
    }
}

/// Two families may not claim the same pattern: worker and verifier would be told apart by accident.
fn check_overlaps(families: &BTreeMap<FamilyName, FamilySpec>, faults: &mut Faults) {
    let claims: Vec<(&FamilyName, &IdentityPattern)> =
        families.values().flat_map(|spec| spec.identities.iter().map(move |pattern| (&spec.name, pattern))).collect();
    for (index, (family, pattern)) in claims.iter().enumerate() {
        let rival = claims[..index].iter().find(|(other, claimed)| other != family && claimed.same_as(pattern));
        if let Some((other, _)) = rival {
            let message =
                format!("`{}` already belongs to the family {other}; give it to one of them", pattern.as_str());
            faults.add(None, format!("/families/{family}/identities"), message);
        }
    }
}
