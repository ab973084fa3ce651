//! How one run of an agent is called: its argument list, its environment by name, its standard input.
//!
//! The environment is built from nothing: a base list taken from the parent, the family's own names, and what the
//! manifest sets. An API key gets in only in a mode that allows it, and only where the manifest's `env` names it.

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use super::secret::SecretRef;
use super::spec::{AgentRole, FamilySpec, PromptInput};
use super::template::{MissingValue, Placeholder, Values};
use crate::core::family::AuthMode;
use crate::core::ids::{FamilyName, RunId};
use crate::core::quantity::{MicroUsd, Tokens};
use crate::core::secrecy::is_api_key;

/// Variables that every agent gets from the parent, where the parent has them.
pub const BASE_ENV: &[&str] = &[
    "ALL_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
    "XDG_DATA_DIRS",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Whose process the agent will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchUser {
    /// The superuser's.
    Root,
    /// Anybody else's.
    Ordinary,
}

/// The schema that a verifier's answer must have, both ways that CLIs take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaRef<'a> {
    /// The JSON Schema on one line.
    pub text: &'a str,
    /// The absolute path of a file with the same schema.
    pub file: &'a str,
}

/// One run, as far as its command needs it. Paths are absolute, with symbolic links resolved.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What the agent is called for.
    pub role: AgentRole,
    /// The model that answers, as the CLI knows it.
    pub model: &'a str,
    /// The run; it names the stage too.
    pub run: &'a RunId,
    /// The checkout that the agent works in.
    pub worktree: &'a str,
    /// The prompt.
    pub prompt_file: &'a str,
    /// The folder that the agent leaves its envelope in.
    pub outbox: &'a str,
    /// A fresh UUID for the CLI's own session.
    pub session_id: &'a str,
    /// The answer's schema, for roles that return one.
    pub schema: Option<SchemaRef<'a>>,
    /// Where the CLI may write its last message.
    pub last_message: Option<&'a str>,
    /// The effort that the card asks for.
    pub effort: Option<&'a str>,
    /// The run's cost cap.
    pub budget: Option<MicroUsd>,
    /// The run's token cap.
    pub max_tokens: Option<Tokens>,
    /// The prepared script of a `script` or `check` stage.
    pub script: Option<&'a str>,
    /// Whose process it will be.
    pub user: LaunchUser,
}

/// Where the value of a variable comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvSource {
    /// It is this text.
    Literal(String),
    /// It must be resolved first.
    Secret(SecretRef),
    /// It is the parent's, and is left out where the parent has none.
    Parent,
}

/// One variable of the agent's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvEntry {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: EnvSource,
}

/// How to call the agent. The environment is complete: nothing else may be inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The environment, by name.
    pub env: Vec<EnvEntry>,
    /// The standard input.
    pub stdin: PromptInput,
}

/// A command that cannot be made for this run.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
#[error(
    "run {run}: the {family} command needs {placeholder}, which this run does not have; \
     put the word into an inner list in `families.{family}`, so that it can be left out"
)]
pub struct InvocationError {
    /// The run.
    pub run: RunId,
    /// Whose command it is.
    pub family: FamilyName,
    /// The placeholder without a value, in braces.
    pub placeholder: String,
}

impl FamilySpec {
    /// The call for one run.
    pub fn invocation(&self, ask: &Ask<'_>) -> Result<Invocation, InvocationError> {
        let argv = self.template(ask.role).fill(&self.values(ask)).map_err(|MissingValue(hole)| InvocationError {
            run: ask.run.clone(),
            family: self.name.clone(),
            placeholder: hole.to_string(),
        })?;
        Ok(Invocation { argv, env: self.environment(ask.user), stdin: self.stdin })
    }

    fn values(&self, ask: &Ask<'_>) -> Values {
        let quoted = serde_json::Value::from(ask.worktree).to_string();
        let mut values = Values::from([
            (Placeholder::Model, ask.model.to_owned()),
            (Placeholder::Worktree, ask.worktree.to_owned()),
            (Placeholder::WorktreeQuoted, quoted),
            (Placeholder::PromptFile, ask.prompt_file.to_owned()),
            (Placeholder::Outbox, ask.outbox.to_owned()),
            (Placeholder::SessionId, ask.session_id.to_owned()),
            (Placeholder::Stage, ask.run.stage.to_string()),
            (Placeholder::Run, ask.run.to_string()),
            (Placeholder::Sandbox, self.sandbox.as_str().to_owned()),
        ]);
        let optional = [
            (Placeholder::Schema, ask.schema.map(|schema| schema.text.to_owned())),
            (Placeholder::SchemaFile, ask.schema.map(|schema| schema.file.to_owned())),
            (Placeholder::LastMessage, ask.last_message.map(str::to_owned)),
            (Placeholder::Effort, ask.effort.map(str::to_owned)),
            (Placeholder::BudgetUsd, ask.budget.map(|budget| budget.dollars().to_string())),
            (Placeholder::MaxTokens, ask.max_tokens.map(|tokens| tokens.0.to_string())),
            (Placeholder::Script, ask.script.map(str::to_owned)),
        ];
        values.extend(optional.into_iter().filter_map(|(hole, value)| value.map(|value| (hole, value))));
        values
    }

    /// The whole environment of its agents, by name; values of the parent and of secrets are left for later.
    pub fn environment(&self, user: LaunchUser) -> Vec<EnvEntry> {
        let mut env: BTreeMap<&str, EnvSource> = BTreeMap::new();
        let from_subscription = match self.auth {
            AuthMode::Subscription => self.subscription_env.as_slice(),
            AuthMode::Api | AuthMode::Local | AuthMode::None => &[],
        };
        let inherited = BASE_ENV.iter().copied();
        let inherited = inherited.chain(self.pass_env.iter().chain(from_subscription).map(String::as_str));
        env.extend(inherited.filter(|name| !is_api_key(name)).map(|name| (name, EnvSource::Parent)));
        if user == LaunchUser::Root {
            env.extend(self.root_env.iter().map(|(name, value)| (name.as_str(), EnvSource::Literal(value.clone()))));
        }
        let allows_keys = matches!(self.auth, AuthMode::Api | AuthMode::Local);
        for (name, source) in &self.env {
            if allows_keys || !is_api_key(name) {
                env.insert(name, source.clone());
            }
        }
        if self.auth == AuthMode::Api {
            for (name, alias) in &self.key_aliases {
                if let (Some(source), None) = (self.env.get(name), self.env.get(alias)) {
                    env.insert(alias, source.clone());
                }
            }
        }
        env.into_iter().map(|(name, source)| EnvEntry { name: name.to_owned(), source }).collect()
    }
}
