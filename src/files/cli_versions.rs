//! `cli-versions.json` in the operator's home: what programs said when they were asked for their versions, by the file
//! that answered. It is a memory and no record: where it is missing or damaged, programs are asked again.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::atomic::{self, Durability};
use super::document;
use super::home::{Home, HomeError};

/// What tells one build of a program from the next: an update changes at least one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// When the file was changed last, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Stamp {
    /// The stamp of a file, links followed; none where there is no such file.
    pub fn of(program: &Path) -> Option<Self> {
        let metadata = program.metadata().ok()?;
        let modified_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Some(Self { modified_ns, bytes: metadata.size() })
    }
}

/// What one program said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Known {
    stamp: Stamp,
    arguments: Vec<String>,
    /// None where it would not say, so that it is not asked at every launch.
    version: Option<String>,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CliVersions(BTreeMap<String, Known>);

impl CliVersions {
    /// What is remembered.
    pub fn read(home: &Home) -> Self {
        let bytes = document::read(&home.cli_versions()).ok().flatten();
        bytes.and_then(|bytes| document::from_json(bytes).ok()).unwrap_or_default()
    }

    /// What this build of a program said to these arguments; the outer none where it was never asked.
    pub fn get(&self, program: &Path, stamp: Stamp, arguments: &[String]) -> Option<Option<&str>> {
        let known = self.0.get(&*program.to_string_lossy())?;
        (known.stamp == stamp && known.arguments == arguments).then_some(known.version.as_deref())
    }

    /// Remembers what a program said. Of two ticks that write at once one is forgotten, and asks again.
    pub fn remember(
        mut self,
        home: &Home,
        program: &Path,
        stamp: Stamp,
        arguments: &[String],
        version: Option<String>,
    ) -> Result<(), HomeError> {
        home.ensure()?;
        let known = Known { stamp, arguments: arguments.to_vec(), version };
        self.0.insert(program.to_string_lossy().into_owned(), known);
        let path = home.cli_versions();
        let text = document::to_json_pretty(&self).map_err(|error| HomeError::Faults {
            path: path.clone(),
            faults: crate::core::fault::Faults::one(None, "", error.to_string()),
        })?;
        Ok(atomic::write(&path, text.as_bytes(), Durability::Volatile)?)
    }
}
