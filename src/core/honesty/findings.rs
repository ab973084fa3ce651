//! What was found in a candidate besides the names of its changed paths: evidence of our own, for `step` to decide by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::ids::CommitId;

use super::{FilePatch, Flag, scan};

/// A contract test as it was when the stage began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrozenFile {
    /// The file, as git prints it.
    pub path: String,
    /// The sha256 of its bytes, in hex.
    pub sha256: String,
}

/// What stands in the candidate where the card promises something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The deliverable's path, as the card writes it.
    pub path: String,
    /// What is there.
    pub found: Found,
}

/// What a tree has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A file with something in it.
    File,
    /// A file without a byte.
    EmptyFile,
    /// A folder, which in git means at least one file.
    Folder,
    /// A symbolic link.
    Link,
    /// A repository of its own.
    Repository,
}

/// Whether the whole of a candidate's diff was looked through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PatchExtent {
    /// All of it.
    #[default]
    Whole,
    /// It is larger than what is ever looked through.
    TooLarge,
}

/// What was found in a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// What stands where the card promises something, in the card's order.
    pub deliverables: Vec<Standing>,
    /// Contract tests that are not what they were.
    pub contract_changed: Vec<String>,
    /// Secrets that the candidate adds.
    pub secrets: Vec<Flag>,
    /// How much of the diff was looked through.
    pub extent: PatchExtent,
    /// Commits that the worker put onto the base branch by itself, past every gate.
    pub strays: Vec<CommitId>,
}

impl Findings {
    /// The secrets that a diff adds.
    pub fn secrets_in(files: &[FilePatch]) -> Vec<Flag> {
        scan::secrets_in(files)
    }
}
