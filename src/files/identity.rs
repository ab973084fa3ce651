//! Whether a file is still the one that was read: for those who look again and again and want to read only what is new.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a file is known by: its device, inode, size and the time of its last change; none where there is no file.
///
/// Our files are replaced as a whole by renaming, so new content always has a new inode or time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity(Option<(u64, u64, u64, i64, i64)>);

impl Identity {
    /// The identity of what stands at this path now.
    pub fn of(path: &Path) -> Self {
        let meta = fs::symlink_metadata(path).ok();
        Self(meta.map(|meta| (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec())))
    }
}
