//! Texts of the manifest that have a form of their own: lengths of time, and paths that stay inside the repository.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::core::quantity::Seconds;

/// A text without the form that it must have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {shape}")]
pub struct FormError {
    text: String,
    shape: &'static str,
}

impl FormError {
    pub(super) fn new(text: String, shape: &'static str) -> Self {
        Self { text, shape }
    }
}

/// How long something may take, written in words: `90s`, `10 minutes`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeLimit(Seconds);

impl TimeLimit {
    const SHAPE: &'static str = "a length of time such as `90s`, `10 minutes` or `1h30m`";

    /// A limit of this many minutes.
    pub(in crate::core) const fn minutes(minutes: u64) -> Self {
        Self(Seconds(minutes * 60))
    }

    /// The limit in seconds.
    pub fn seconds(self) -> Seconds {
        self.0
    }
}

impl TryFrom<String> for TimeLimit {
    type Error = FormError;

    fn try_from(text: String) -> Result<Self, FormError> {
        Seconds::parse(&text).map(Self).ok_or(FormError { text, shape: Self::SHAPE })
    }
}

impl From<TimeLimit> for String {
    fn from(limit: TimeLimit) -> Self {
        limit.to_string()
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl JsonSchema for TimeLimit {
    fn schema_name() -> Cow<'static, str> {
        "TimeLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": Self::SHAPE,
            "pattern": r"^\s*([0-9]+\s*[A-Za-z]+\s*)+$"
        })
    }
}

/// A path, or a glob of paths, inside the repository: relative, without `..`, without a `.git`, `/` between its parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

impl RepoPath {
    const SHAPE: &'static str = "a relative path inside the repository, without `..` and without `.git`";

    /// A path of the program's own, known to be right.
    pub(super) fn known(path: &'static str) -> Self {
        Self(path.to_owned())
    }

    /// The path as text, without `./` in front and `/` at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RepoPath {
    type Error = FormError;

    fn try_from(text: String) -> Result<Self, FormError> {
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        // `.GIT` is the same directory on file systems that do not tell cases apart.
        let forbidden = |part: &&str| *part == ".." || part.eq_ignore_ascii_case(".git");
        let fits = !parts.is_empty()
            && !text.starts_with(['/', '~'])
            && !text.contains(char::is_control)
            && !parts.iter().any(forbidden);
        if fits { Ok(Self(parts.join("/"))) } else { Err(FormError { text, shape: Self::SHAPE }) }
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> Self {
        path.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl JsonSchema for RepoPath {
    fn schema_name() -> Cow<'static, str> {
        "RepoPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": Self::SHAPE,
            "pattern": r"^(?![/~])(?!(.*/)?(\.\.|\.[gG][iI][tT])(/|$))(?!(\./*)*$)[^\x00-\x1f\x7f]+$"
        })
    }
}
