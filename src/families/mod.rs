//! The families: adapters of agent CLIs, each of them data plus one decoder.
//!
//! What lives here: how a CLI is called ([`FamilySpec`], [`template`], [`invocation`]), which identities it serves
//! ([`Families`]), what its output means ([`decode`]), and which of its words are a refusal ([`refusal`]).
//! What never does: starting a process, opening a file, reading the environment or the clock, resolving a secret.
//! Paths come in as text, what to run goes out as data; `runs/` does the rest.

mod builtin;
mod catalogue;
pub mod decode;
pub mod invocation;
mod reach;
pub mod refusal;
mod render;
pub mod reset;
pub mod secret;
mod spec;
pub mod template;
pub mod tier;

pub use catalogue::Families;
pub use decode::{Decoded, Decoder, OwnCap, Pending, SessionFile, Success, Urgency};
pub use invocation::{Ask, EnvEntry, EnvSource, Invocation, InvocationError, LaunchUser, SchemaRef};
pub use reach::{Reach, Settings};
pub use secret::{SecretRef, SecretRefError};
pub use spec::{AgentRole, ApiLogin, FamilySpec, IdentityPattern, ModelUse, PromptInput};
pub use template::Template;
pub use tier::UnknownTier;

#[cfg(test)]
mod tests;
