//! What one family is: data about an agent CLI.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::Decoder;
use super::invocation::EnvSource;
use super::reach::Reach;
use super::secret::SecretRef;
use super::template::Template;
use crate::core::family::{AuthMode, DecoderKind, Sandbox};
use crate::core::ids::{FamilyName, ModelName, TierName};
use crate::core::secrecy::names_secret;

/// What an agent is called for. Gates are not run by a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentRole {
    /// Makes the change.
    Worker,
    /// Judges it and returns a verdict.
    Verifier,
}

/// Whether a family calls a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelUse {
    /// It does; what it used must be read from its output.
    Calls,
    /// It does not, so its usage is known to be nothing.
    Never,
}

/// What an agent's standard input is. It is always something that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptInput {
    /// The prompt file.
    PromptFile,
    /// Empty.
    Nothing,
}

/// A glob over the name of an identity: `*` is any text, `?` any one character; case does not matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdentityPattern {
    text: String,
    folded: Vec<char>,
}

impl IdentityPattern {
    /// A pattern; none for an empty text.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self { text: text.to_owned(), folded: text.to_lowercase().chars().collect() })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the two patterns differ in nothing but case.
    pub fn same_as(&self, other: &Self) -> bool {
        self.folded == other.folded
    }

    /// How much of a name it fixes: the number of characters that are not wildcards.
    pub fn weight(&self) -> usize {
        self.folded.iter().filter(|c| !matches!(c, '*' | '?')).count()
    }

    /// Whether it covers this name.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.to_lowercase().chars().collect();
        let (mut at, mut in_name) = (0, 0);
        // Where to go back to: just behind the last `*`, which then takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        while in_name < name.len() {
            match self.folded.get(at) {
                Some('*') => {
                    retry = Some((at + 1, in_name));
                    at += 1;
                }
                Some(&c) if c == '?' || c == name[in_name] => {
                    at += 1;
                    in_name += 1;
                }
                _ => match retry {
                    Some((after_star, taken)) => {
                        retry = Some((after_star, taken + 1));
                        at = after_star;
                        in_name = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.folded[at..].iter().all(|&c| c == '*')
    }
}

/// A login of a CLI's own that wins over an API key, unless it is of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLogin {
    /// The variable that names the folder of its files. In `api` mode `env` must set it.
    pub home_variable: &'static str,
    /// The file in that folder, in JSON.
    pub file: &'static str,
    /// Its key that says what kind of login it is.
    pub key: &'static str,
    /// What that key says where an API key pays.
    pub must_be: &'static str,
    /// The command that makes it so; `{home}` stands for the folder. It reads the key on its standard input.
    pub way_out: &'static str,
}

/// One family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilySpec {
    /// Its name.
    pub name: FamilyName,
    /// The identities it serves.
    pub identities: Vec<IdentityPattern>,
    /// The worker's command.
    pub worker: Template,
    /// The verifier's command.
    pub verifier: Template,
    /// How its output is read.
    pub decoder: DecoderKind,
    /// Who pays.
    pub auth: AuthMode,
    /// The variables that carry an API key for this CLI, best first. In `api` mode one of them must be in `env`.
    pub api_keys: Vec<String>,
    /// Pairs of variables: in `api` mode a value for the first is given under the second as well, if that has none.
    pub key_aliases: Vec<(String, String)>,
    /// Variables taken from the parent in every mode, beside the base list.
    pub pass_env: Vec<String>,
    /// Variables taken from the parent in `subscription` mode only.
    pub subscription_env: Vec<String>,
    /// Variables with a value of their own.
    pub env: BTreeMap<String, EnvSource>,
    /// Variables that are set only when the run is root's.
    pub root_env: BTreeMap<String, String>,
    /// Model names by identity handle; a handle that is not here is itself the model's name.
    pub models: BTreeMap<String, String>,
    /// The models that its tiers stand for.
    pub tiers: BTreeMap<TierName, ModelName>,
    /// The tiers of any family, by which a tier that this one lacks is told from a model's name.
    pub tier_words: BTreeSet<TierName>,
    /// Whether it calls a model.
    pub model_use: ModelUse,
    /// Whether it confines its model's commands.
    pub sandbox: Sandbox,
    /// What it reads on its standard input.
    pub stdin: PromptInput,
    /// The command that prints its version; empty where there is nothing to ask.
    pub version_command: Vec<String>,
    /// The versions that its adapter was tested with, oldest first.
    pub tested_versions: Vec<String>,
    /// The command that ends with 0 where somebody is logged in, without asking a server; empty where there is none.
    pub login_command: Vec<String>,
    /// What must hold of the CLI's own login in `api` mode; none where a login cannot win over the key.
    pub api_login: Option<ApiLogin>,
    /// The command that ends with 0 where its sandbox works on this machine; empty where there is none.
    pub sandbox_command: Vec<String>,
    /// Where its provider is reached.
    pub reach: Reach,
}

impl FamilySpec {
    /// The command template of a role.
    pub fn template(&self, role: AgentRole) -> &Template {
        match role {
            AgentRole::Worker => &self.worker,
            AgentRole::Verifier => &self.verifier,
        }
    }

    /// The program that works for it, where its name does not depend on the run.
    pub fn program(&self) -> Option<&str> {
        self.worker.program()
    }

    /// One of its own questions about itself (`version_command`, `login_command`, `sandbox_command`), asked of the
    /// program that the manifest names; none where that is another program, which may understand it differently.
    /// A question that names its program by a path is asked as it stands.
    pub fn question(&self, command: &[String]) -> Option<Vec<String>> {
        let (first, rest) = command.split_first()?;
        if first.contains('/') {
            return Some(command.to_vec());
        }
        let program = self.program()?;
        let name = program.rsplit('/').next().unwrap_or(program);
        (name == first).then(|| std::iter::once(program.to_owned()).chain(rest.iter().cloned()).collect())
    }

    /// The variables of whoever starts a run that its secrets are taken from.
    pub fn taken_from_parent(&self) -> Vec<String> {
        let references = self.env.values().filter_map(|source| match source {
            EnvSource::Secret(SecretRef::Env(name)) => Some(name.clone()),
            EnvSource::Secret(_) | EnvSource::Literal(_) | EnvSource::Parent => None,
        });
        let names = self.pass_env.iter().chain(&self.subscription_env).filter(|name| names_secret(name)).cloned();
        references.chain(names).collect()
    }

    /// A decoder for one run.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(self.decoder, self.model_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_names_without_regard_to_case() {
        let cases = [
            ("Claude*", "claude sonnet 5", true),
            ("Claude*", "My Claude", false),
            ("*claude*", "My Claude Bot", true),
            ("GPT-?.6*", "gpt-5.6 Sol", true),
            ("GPT-?.6*", "gpt-15.6 Sol", false),
            ("a*b*c", "axxbyybzzc", true),
            ("a*b*c", "axxbyyb", false),
            ("*", "anyone", true),
            ("Écho", "éCHO", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(IdentityPattern::new(pattern).expect("pattern").matches(name), expected, "{pattern} on {name}");
        }
        assert!(IdentityPattern::new("  ").is_none());
    }
}
