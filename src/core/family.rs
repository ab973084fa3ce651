//! What a manifest says about a family: what differs from the built-in one, or all of one's own.
//!
//! How a family is called and what its output means is the business of `families/`; these are the words that the
//! manifest, a run's order and the families share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::weather::EndpointRule;

/// One entry of the manifest's `families:`. For a built-in family it replaces what it names and leaves the rest;
/// a new family needs `identities` and `command`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FamilyOverride {
    /// Globs on an identity's name, such as `Claude*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identities: Option<Vec<String>>,
    /// The worker's command as a list; an inner list vanishes when a placeholder in it has no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<Word>>,
    /// The verifier's command; a new family uses `command` for both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier_command: Option<Vec<Word>>,
    /// How its output is read; `plain` for a new family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderKind>,
    /// Who pays; `none` for a new family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthMode>,
    /// Variables with a value: a literal, `op://vault/item/field`, `env:NAME`, `file:PATH`,
    /// `keychain:SERVICE[/ACCOUNT]` or `cmd:COMMAND`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Further variables taken from the environment of the tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_env: Option<Vec<String>>,
    /// Model names by identity handle, such as `gpt-5-6-sol: gpt-5.6-sol`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<BTreeMap<String, String>>,
    /// The command that prints its version, such as `[my-agent, --version]`; it goes into the record of each run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_command: Option<Vec<String>>,
    /// Whether the CLI confines its model's commands; `workspace-write` unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// Where its provider is reached, such as `https://api.example.com` or `127.0.0.1:8080`: a connection is tried there
    /// before each launch. `none` tries none, which is what a family with a `command` of its own does by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointRule>,
    /// How many of its runs may be in flight at once, workers and verifiers together, 1 to 64. Default: no limit of its
    /// own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub max_parallel: Option<u32>,
}

/// One entry of a template as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Word {
    /// One argument, always there.
    Always(String),
    /// Arguments that vanish together when one of their placeholders has no value.
    Optional(Vec<String>),
}

/// How a CLI's output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// Claude Code's `--output-format stream-json`.
    Claude,
    /// Codex's `exec --json`.
    Codex,
    /// Text that means nothing to us: only the exit code counts.
    Plain,
}

/// Who pays, and so which keys the agent may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// The login of a subscription: no API key may reach the agent, because one would silently take the bill.
    Subscription,
    /// An API key that `env` names.
    Api,
    /// A model server of one's own; keys only where `env` names them.
    Local,
    /// No login at all.
    None,
}

/// Whether the CLI confines the commands that its model runs. The value is also what `{sandbox}` becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Writing is confined to the checkout and temporary folders, and the network is closed.
    WorkspaceWrite,
    /// No confinement: for machines whose kernel offers none, or that are themselves a throw-away.
    DangerFullAccess,
}

impl Sandbox {
    /// The mode as CLIs spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkspaceWrite => "workspace-write",
            Self::DangerFullAccess => "danger-full-access",
        }
    }
}
