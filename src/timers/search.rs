//! The `PATH` of a timer's entry. A scheduler knows no login shell: what agents and gates call has to be findable from
//! what is written here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::TimerError;

/// What agents and acceptance commands commonly call. A folder of the present `PATH` in which one of these is found
/// belongs into the entry; others are noise.
const TOOLS: [&str; 22] = [
    "git",
    "claude",
    "codex",
    "gemini",
    "opencode",
    "node",
    "npm",
    "pnpm",
    "bun",
    "deno",
    "cargo",
    "go",
    "python3",
    "uv",
    "ruby",
    "java",
    "make",
    "cmake",
    "docker",
    "podman",
    "op",
    "terminal-notifier",
];

/// Where every system has its programs; last, so that what the operator put in front stays in front.
const SYSTEM: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// A `PATH` of absolute folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPath(String);

impl SearchPath {
    /// The folders that `--path` names, as they were given.
    ///
    /// # Errors
    /// One of them is empty or not absolute.
    pub fn given(text: &str) -> Result<Self, TimerError> {
        match text.split(':').find(|folder| !folder.starts_with('/')) {
            Some(folder) => Err(TimerError::Relative { folder: folder.to_owned() }),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The folders of the present `PATH` in which the usual tools are found first, in its order, so that a tool that
    /// hides another goes on doing so; then the system's. No folder twice, none that is relative.
    pub fn found_on(present: &OsStr) -> Self {
        let folders: Vec<PathBuf> = std::env::split_paths(present).filter(|folder| folder.is_absolute()).collect();
        let homes: Vec<&PathBuf> = TOOLS.iter().filter_map(|tool| find_in(&folders, tool)).collect();
        let mut chosen: Vec<&str> = Vec::new();
        let used = folders.iter().filter(|folder| homes.contains(folder)).filter_map(|folder| folder.to_str());
        for folder in used.chain(SYSTEM) {
            let folder = if folder.len() > 1 { folder.trim_end_matches('/') } else { folder };
            if !chosen.contains(&folder) {
                chosen.push(folder);
            }
        }
        Self(chosen.join(":"))
    }

    /// As `PATH` has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first of these folders that has a program of this name.
fn find_in<'a>(folders: &'a [PathBuf], name: &str) -> Option<&'a PathBuf> {
    folders.iter().find(|folder| is_program(&folder.join(name)))
}

/// Where a program of this name is found on a `PATH`.
pub fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).filter(|folder| folder.is_absolute()).collect();
    Some(find_in(&folders, name)?.join(name))
}

/// Whether a file is there that this user may execute.
fn is_program(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::prelude::*;

    #[test]
    fn folders_of_tools_come_in_the_order_of_path_and_no_folder_comes_twice() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = assert_fs::TempDir::new().expect("dir");
        for (file, mode) in
            [("a/node", 0o755), ("b/claude", 0o755), ("c/unrelated", 0o755), ("d/codex", 0o644), ("e/claude", 0o755)]
        {
            dir.child(file).write_str("#!/bin/sh\n").expect("file");
            std::fs::set_permissions(dir.path().join(file), std::fs::Permissions::from_mode(mode)).expect("mode");
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let present = format!("{}:{}:{}:{}/:relative::{}:{}", at("c"), at("b"), at("a"), at("b"), at("d"), at("e"));
        let found = SearchPath::found_on(OsStr::new(&present));
        assert_eq!(found.as_str(), format!("{}:{}:/usr/local/bin:/usr/bin:/bin", at("b"), at("a")));
    }

    #[test]
    fn a_given_path_is_taken_as_it_is_or_refused() {
        assert_eq!(SearchPath::given("/b:/a:/b").expect("absolute").as_str(), "/b:/a:/b");
        for (path, folder) in [("bin:/usr/bin", "`bin`"), ("/usr/bin:", "``"), ("", "``"), ("/a:~/bin", "`~/bin`")] {
            let error = SearchPath::given(path).expect_err("relative");
            assert!(error.to_string().contains(folder) && error.is_refusal(), "{error}");
        }
    }
}
