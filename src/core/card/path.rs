//! Paths as cards and handoffs write them: relative to the project's root, and never out of it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::core::paths::fold;

/// The folder in a worktree that belongs to Autometta: the pinned card and the outbox. Never part of a candidate.
const OWN_FOLDER: &str = ".autometta";

/// Why a text is not a [`RelativePath`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// Nothing is written there.
    #[error("a path is empty; name a file, or a folder with a trailing `/`")]
    Empty,
    /// It starts at the root of the file system, or at somebody's home.
    #[error("the path `{0}` is absolute; write it relative to the project's root")]
    Absolute(String),
    /// It has a `..` in it.
    #[error("the path `{0}` leaves the project's root through `..`; write it without")]
    Escapes(String),
    /// It has an empty or a `.` component, so that it would never equal a path git reports.
    #[error("the path `{0}` has an empty or `.` component; write it as git prints it")]
    Untidy(String),
    /// It has a line break, a tab or another control character in it.
    #[error("the path {0:?} has a control character in it")]
    ControlCharacter(String),
    /// It names what git or Autometta keeps for itself.
    #[error("the path `{0}` belongs to git or to Autometta; no stage may claim it")]
    Reserved(String),
}

/// A path relative to the project's root, with `/` between its components.
///
/// A trailing `/` means the folder and everything in it; without one, exactly that file. Wildcards have no meaning.
/// A leading `./` is dropped. `.git` (in any case, at any depth) and `.autometta/` cannot be named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    /// The path as text; a folder keeps its trailing `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means a folder with everything in it.
    pub fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }

    /// Whether `path`, as git prints it, is this file or lies in this folder. Bytes are compared, so case counts.
    pub fn covers(&self, path: &str) -> bool {
        if self.is_folder() { path.starts_with(&self.0) } else { path == self.0 }
    }

    /// Whether `path` would be covered on a file system that does not tell case or the writing of accents apart.
    pub fn covers_alias(&self, path: &str) -> bool {
        let path = fold(path);
        let own = fold(&self.0);
        if self.is_folder() { path.starts_with(&own) } else { path == own }
    }

    /// Whether the text names something in Autometta's own folder of the worktree.
    pub(in crate::core) fn is_own_folder(text: &str) -> bool {
        let text = text.trim_start_matches("./");
        text.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for RelativePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let whole = || text.to_owned();
        if text.chars().any(char::is_control) {
            return Err(PathError::ControlCharacter(whole()));
        }
        if text.starts_with('/') || text == "~" || text.starts_with("~/") {
            return Err(PathError::Absolute(whole()));
        }
        let tidy = text.strip_prefix("./").unwrap_or(text);
        if tidy.is_empty() {
            return Err(PathError::Empty);
        }
        let components = || tidy.strip_suffix('/').unwrap_or(tidy).split('/');
        if components().any(|part| part == "..") {
            return Err(PathError::Escapes(whole()));
        }
        if components().any(|part| part.is_empty() || part == ".") {
            return Err(PathError::Untidy(whole()));
        }
        if Self::is_own_folder(tidy) || components().any(|part| part.eq_ignore_ascii_case(".git")) {
            return Err(PathError::Reserved(whole()));
        }
        Ok(Self(tidy.to_owned()))
    }
}

impl TryFrom<String> for RelativePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl JsonSchema for RelativePath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RelativePath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A path relative to the project's root; a trailing `/` means the folder and all it holds."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Kind = fn(String) -> PathError;

    #[test]
    fn only_tidy_paths_inside_the_project_are_paths() {
        for good in ["a", "src/greet.rs", "tests/greet/", "a b/ü.txt", "..a/b..", ".github/x", ".autometta.yaml", "~x"]
        {
            assert_eq!(good.parse::<RelativePath>().expect(good).as_str(), good);
        }
        assert_eq!("./src/".parse::<RelativePath>().expect("path").as_str(), "src/");
        let bad: [(&str, Kind); 16] = [
            ("/etc/passwd", PathError::Absolute),
            ("/", PathError::Absolute),
            ("~/x", PathError::Absolute),
            ("..", PathError::Escapes),
            ("a/../b", PathError::Escapes),
            ("a/../", PathError::Escapes),
            (".", PathError::Untidy),
            ("a//b", PathError::Untidy),
            ("a/./b", PathError::Untidy),
            ("././a", PathError::Untidy),
            (".//etc", PathError::Untidy),
            ("a\nb", PathError::ControlCharacter),
            (".git/config", PathError::Reserved),
            ("sub/.GIT/", PathError::Reserved),
            (".autometta/outbox/handoff.json", PathError::Reserved),
            ("./.autometta", PathError::Reserved),
        ];
        for (text, kind) in bad {
            assert_eq!(text.parse::<RelativePath>(), Err(kind(text.to_owned())), "{text}");
        }
        for empty in ["", "./"] {
            assert_eq!(empty.parse::<RelativePath>(), Err(PathError::Empty), "{empty:?}");
        }
    }

    #[test]
    fn a_file_covers_itself_and_a_folder_what_lies_in_it() {
        for (path, changed, covered) in [
            ("src/a.rs", "src/a.rs", true),
            ("src/a.rs", "src/a.rs.bak", false),
            ("src/a.rs", "src/A.rs", false),
            ("src", "src/a.rs", false),
            ("src/", "src/a.rs", true),
            ("src/", "src/deep/a.rs", true),
            ("src/", "src2/a.rs", false),
            ("src/", "other/src/a.rs", false),
        ] {
            assert_eq!(path.parse::<RelativePath>().expect(path).covers(changed), covered, "{path} over {changed}");
        }
    }
}
