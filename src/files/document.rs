//! Documents: typed values from YAML and JSON, with every fault at once and its line.
//!
//! The fast path is a single typed parse. Only when that fails is the document read again as a tree with lines and
//! held against the schema of its type, so that a person sees all that is wrong instead of the first thing.
//!
//! Nothing here knows what a stage or a budget is, and nothing here writes.

mod explain;
mod json;
mod layers;
mod read;
mod tree;
mod yaml;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::core::fault::{Fault, Faults};

pub use layers::{Layer, LayerFaults, from_yaml_layers};
pub use read::{DocumentError, read, read_on};

/// The largest document that is read, in bytes. The largest state seen in years of use is under one MiB.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A value that could not be written as text.
#[derive(Debug, Error)]
#[error("this value cannot be written as {format}: {reason}")]
pub struct WriteError {
    /// "YAML" or "JSON".
    format: &'static str,
    /// What the serializer said.
    reason: String,
}

/// A typed value from YAML.
///
/// Only `true` and `false` are booleans, a key given twice is a fault, unknown tags and merge keys (`<<`) are faults,
/// and aliases cannot make a small file large. A number or a boolean is taken as text where the type asks for text.
///
/// # Errors
/// Everything that is wrong with the document; never an empty list.
pub fn from_yaml<T: DeserializeOwned + JsonSchema>(bytes: impl AsRef<[u8]>) -> Result<T, Faults> {
    let text = text(bytes.as_ref())?;
    yaml::parse(text).map_err(|error| yaml_faults::<T>(text, &error))
}

/// A generic value from YAML that is known to fit `T`, for layers that are merged before they are typed.
///
/// Scalars are already what `T` makes of them: `run: 12` is the text `12` where `T` holds text.
///
/// # Errors
/// Everything that is wrong with the document; never an empty list.
pub fn value_from_yaml<T: DeserializeOwned + JsonSchema>(bytes: impl AsRef<[u8]>) -> Result<Value, Faults> {
    let text = text(bytes.as_ref())?;
    if let Err(error) = yaml::parse::<T>(text) {
        return Err(yaml_faults::<T>(text, &error));
    }
    let tree = yaml::tree(text).map_err(|error| Faults(vec![yaml::fault(&error, None)]))?;
    // JSON takes no scalar for another kind: what it accepts looks like what it is, and needs no schema to say so.
    if T::deserialize(tree.value()).is_ok() {
        return Ok(tree.into_value());
    }
    Ok(explain::Check::of::<T>().as_typed(&tree))
}

/// A typed value from JSON; a key given twice in one object is a fault.
///
/// # Errors
/// Everything that is wrong with the document; never an empty list.
pub fn from_json<T: DeserializeOwned + JsonSchema>(bytes: impl AsRef<[u8]>) -> Result<T, Faults> {
    let text = text(bytes.as_ref())?;
    json::refuse_repeated_keys(text).map_err(|error| syntax(text, json::fault(&error)))?;
    serde_json::from_str(text).map_err(|error| {
        let found = match serde_json::from_str::<Value>(text) {
            // YAML contains JSON, so the YAML tree serves for the lines of both.
            Ok(value) => explain::Check::of::<T>().faults(&value, &yaml::tree(text).unwrap_or_default()),
            Err(error) => syntax(text, json::fault(&error)),
        };
        if found.is_empty() { Faults(vec![json::fault(&error)]) } else { found }
    })
}

/// The keys of a document that its type does not know, for types that ignore what they do not know.
///
/// A document that cannot be read at all has none: reading it reports that.
pub fn unknown_keys<T: JsonSchema>(bytes: impl AsRef<[u8]>) -> Faults {
    let tree = text(bytes.as_ref()).ok().and_then(|text| yaml::tree(text).ok()).unwrap_or_default();
    explain::Check::closed::<T>().unknown_keys(tree.value(), &tree)
}

/// The same faults, each with the line of its place in this document.
///
/// It is for faults that were found in the typed value, where no lines are left. A fault whose place the document does
/// not have gets the line of the nearest thing around it; a fault that has a line keeps it.
#[must_use]
pub fn locate(bytes: impl AsRef<[u8]>, faults: Faults) -> Faults {
    let tree = text(bytes.as_ref()).ok().and_then(|text| yaml::tree(text).ok()).unwrap_or_default();
    let locate = |fault: Fault| Fault { line: fault.line.or_else(|| tree.line(&fault.place)), ..fault };
    Faults(faults.0.into_iter().map(locate).collect())
}

/// A value as YAML, with a line feed at its end.
///
/// # Errors
/// A value that YAML cannot express.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, WriteError> {
    serde_saphyr::to_string(value).map_err(|error| WriteError { format: "YAML", reason: error.to_string() })
}

/// A value as JSON over several lines, with a line feed at its end.
///
/// # Errors
/// A value that JSON cannot express, such as a map with keys that are not text.
pub fn to_json_pretty<T: Serialize>(value: &T) -> Result<String, WriteError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| WriteError { format: "JSON", reason: error.to_string() })?;
    text.push('\n');
    Ok(text)
}

/// The document as text, where it can be a document at all.
fn text(bytes: &[u8]) -> Result<&str, Faults> {
    if bytes.len() > MAX_BYTES {
        return Err(Faults::one(
            None,
            "",
            format!("it is {} bytes long; no document may be larger than {MAX_BYTES} bytes", bytes.len()),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        Faults::one(Some(line), "", "it is not UTF-8 text")
    })?;
    // A byte order mark is what some editors leave in front; it means nothing.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() { Err(Faults::one(None, "", "it is empty")) } else { Ok(text) }
}

/// Everything that is wrong with YAML text that did not parse as a `T`.
fn yaml_faults<T: JsonSchema>(text: &str, error: &serde_saphyr::Error) -> Faults {
    let tree = match yaml::tree(text) {
        Ok(tree) => tree,
        Err(error) => return syntax(text, yaml::fault(&error, None)),
    };
    if tree.value().is_null() {
        return Faults::one(None, "", yaml::NOTHING);
    }
    let check = explain::Check::of::<T>();
    let mut found = check.faults(&check.as_typed(&tree), &tree);
    let own = yaml::fault(error, Some(&tree));
    // What a type checks by itself, beyond its schema, is not among the findings yet.
    let news = yaml::is_own_check(error) && found.0.iter().all(|fault| fault.place != own.place);
    if found.is_empty() || news {
        found.0.push(own);
    }
    found
}

/// A syntax error, or the unfinished merge that is its likely cause.
fn syntax(text: &str, fault: Fault) -> Faults {
    let is_marker = |line: &str| {
        let rest = line.strip_prefix("<<<<<<<").or_else(|| line.strip_prefix(">>>>>>>"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    match text.lines().position(is_marker) {
        Some(index) => {
            Faults::one(Some(index + 1), "", "a git merge left its conflict markers here; resolve the conflict first")
        }
        None => Faults(vec![fault]),
    }
}

#[cfg(test)]
mod tests;
