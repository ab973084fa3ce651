//! What a manifest says about a family: what differs from the built-in one, or all of one's own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::fault::Faults;

/// Changes to a family, or a family of one's own. A key that is left out keeps what the built-in family has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FamilyOverride {
    /// Patterns of the identities that belong to this family, such as `Claude*`.
    pub identities: Option<Vec<String>>,
    /// How its CLI is started, as an argument list.
    pub command: Option<Vec<String>>,
    /// How it is started as a verifier, where that differs.
    pub verifier_command: Option<Vec<String>>,
    /// What its CLI prints.
    pub decoder: Option<DecoderKind>,
    /// How it pays.
    pub auth: Option<AuthMode>,
    /// Environment variables that its runs get; a value may name a secret that a resolver fetches.
    pub env: BTreeMap<String, String>,
    /// Environment variables that its runs inherit from the tick.
    pub pass_env: Vec<String>,
    /// The CLI's model names by the handle of the identity: `claude-sonnet-5: sonnet`.
    pub models: BTreeMap<String, String>,
}

/// How the output of a CLI is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// As Claude Code's stream of JSON records.
    Claude,
    /// As Codex's stream of JSON records.
    Codex,
    /// As text without a structure; usage stays unknown.
    Plain,
}

/// Who pays for a run, which decides what credentials it may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// The CLI's own login.
    Subscription,
    /// An API key.
    Api,
    /// A model on this machine.
    Local,
    /// Nothing to pay and no credentials.
    None,
}

impl FamilyOverride {
    /// Adds what is wrong beyond the shape; `place` is this family's JSON pointer.
    pub(super) fn validate(&self, place: &str, faults: &mut Faults) {
        for (key, command) in [("command", &self.command), ("verifier_command", &self.verifier_command)] {
            if command.as_ref().is_some_and(|argv| argv.first().is_none_or(|program| program.trim().is_empty())) {
                faults.add(None, format!("{place}/{key}"), "its first entry must be the name of a program");
            }
        }
        let blank = |pattern: &String| pattern.trim().is_empty();
        if self.identities.as_ref().is_some_and(|patterns| patterns.is_empty() || patterns.iter().any(blank)) {
            faults.add(None, format!("{place}/identities"), "it needs patterns such as `Claude*`");
        }
        for name in self.env.keys().filter(|name| !is_variable(name)) {
            faults.add(None, format!("{place}/env/{}", escaped(name)), not_a_variable(name));
        }
        for (index, name) in self.pass_env.iter().enumerate().filter(|(_, name)| !is_variable(name)) {
            faults.add(None, format!("{place}/pass_env/{index}"), not_a_variable(name));
        }
        for (handle, _) in self.models.iter().filter(|(_, model)| model.trim().is_empty() || model.starts_with('-')) {
            faults.add(None, format!("{place}/models/{}", escaped(handle)), "it is not the name of a model");
        }
    }
}

/// Whether this is a portable name of an environment variable.
fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn not_a_variable(name: &str) -> String {
    format!("`{name}` is not a name of an environment variable: letters, digits and `_`, no digit first")
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
