//! References to secrets, as they stand in a manifest. Only their grammar lives here; `runs/` resolves them.

use std::fmt;

use thiserror::Error;

/// Where a secret is kept. The text after the prefix is never a secret itself, so it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `op://vault/item/field`: the whole reference, for 1Password's `op read`.
    OnePassword(String),
    /// `env:NAME`: a variable of the process that starts the run.
    Env(String),
    /// `file:PATH`: the contents of a file, without its final line break.
    File(String),
    /// `keychain:SERVICE` or `keychain:SERVICE/ACCOUNT`: a generic password of the macOS Keychain.
    Keychain(String),
    /// `cmd:COMMAND LINE`: what a command prints, without its final line break.
    Command(String),
}

/// A reference that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the secret reference `{text}` is incomplete: write {shape}")]
pub struct SecretRefError {
    /// The reference as it was given. It starts with a known prefix, so it holds no secret.
    pub text: String,
    /// What a whole one looks like.
    pub shape: &'static str,
}

impl SecretRef {
    /// Reads a value of a manifest's `env:`; `None` for a plain literal.
    pub fn parse(text: &str) -> Result<Option<Self>, SecretRefError> {
        let bad = |shape| SecretRefError { text: text.to_owned(), shape };
        if let Some(rest) = text.strip_prefix("op://") {
            let segments: Vec<&str> = rest.split('/').collect();
            if segments.len() < 3 || segments.iter().any(|segment| segment.is_empty()) {
                return Err(bad("op://vault/item/field"));
            }
            return Ok(Some(Self::OnePassword(text.to_owned())));
        }
        if let Some(name) = text.strip_prefix("env:") {
            return if is_variable_name(name) { Ok(Some(Self::Env(name.to_owned()))) } else { Err(bad("env:NAME")) };
        }
        if let Some(path) = text.strip_prefix("file:") {
            return if path.is_empty() { Err(bad("file:PATH")) } else { Ok(Some(Self::File(path.to_owned()))) };
        }
        if let Some(item) = text.strip_prefix("keychain:") {
            let (service, account) = item.split_once('/').unwrap_or((item, "any"));
            return if service.is_empty() || account.is_empty() {
                Err(bad("keychain:SERVICE or keychain:SERVICE/ACCOUNT"))
            } else {
                Ok(Some(Self::Keychain(item.to_owned())))
            };
        }
        if let Some(command) = text.strip_prefix("cmd:") {
            let command = command.trim();
            return if command.is_empty() {
                Err(bad("cmd:COMMAND"))
            } else {
                Ok(Some(Self::Command(command.to_owned())))
            };
        }
        Ok(None)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnePassword(reference) => out.write_str(reference),
            Self::Env(name) => write!(out, "env:{name}"),
            Self::File(path) => write!(out, "file:{path}"),
            Self::Keychain(item) => write!(out, "keychain:{item}"),
            Self::Command(command) => write!(out, "cmd:{command}"),
        }
    }
}

/// Whether a shell could hold a variable of this name.
pub(super) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_literals_by_their_prefix() {
        let cases = [
            ("op://vault/item/field", Some(SecretRef::OnePassword("op://vault/item/field".into()))),
            ("env:MY_KEY", Some(SecretRef::Env("MY_KEY".into()))),
            ("file:/run/secrets/key", Some(SecretRef::File("/run/secrets/key".into()))),
            ("cmd: pass show key", Some(SecretRef::Command("pass show key".into()))),
            ("keychain:api", Some(SecretRef::Keychain("api".into()))),
            ("keychain:api/me@work", Some(SecretRef::Keychain("api/me@work".into()))),
            ("http://127.0.0.1:8080", None),
            ("1", None),
            ("", None),
            ("Env:MY_KEY", None),
        ];
        for (text, expected) in cases {
            assert_eq!(SecretRef::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "op://vault",
            "op://a//b",
            "env:",
            "env:1X",
            "env:A B",
            "file:",
            "cmd:",
            "cmd:  ",
            "keychain:",
            "keychain:/me",
            "keychain:api/",
        ] {
            assert!(SecretRef::parse(text).is_err(), "{text}");
        }
    }
}
