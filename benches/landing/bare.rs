//! The floor of a landing: the git commands that its work needs whoever does it, one after the other and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::{file_of, git};

/// A repository that is worked in with bare git.
pub struct Bare {
    root: tempfile::TempDir,
}

impl Bare {
    /// A repository with one commit, and git as durable as it is when the product calls it.
    pub fn new() -> Self {
        let bare = Self { root: tempfile::Builder::new().prefix("autometta-bench-").tempdir().expect("dir") };
        fs::create_dir(bare.repo()).expect("folder");
        for words in [
            &["init", "-q", "-b", "main"][..],
            &["config", "user.name", "Operator"],
            &["config", "user.email", "operator@local"],
            &["config", "core.fsync", "committed,reference"],
            &["config", "core.fsyncMethod", "batch"],
            &["config", "gc.auto", "0"],
            &["commit", "-q", "--allow-empty", "-m", "Begin"],
        ] {
            git(&bare.repo(), words);
        }
        bare
    }

    /// The folder around it.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    fn repo(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    /// Does the work of one stage: a worktree for the worker and one each for gate and verifier, the candidate, and the
    /// landing. Gives how long that took, and how many git commands it was.
    pub fn land(&self, number: usize) -> (Duration, usize) {
        let (repo, root) = (self.repo(), self.root.path());
        let [worker, gate, verifier] = ["worker", "gate", "verifier"].map(|name| root.join(name).display().to_string());
        let mut count = 0;
        let mut said = |folder: &Path, words: &[&str]| {
            count += 1;
            let mut command = Command::new("git");
            let output = command.args(words).current_dir(folder).stdin(Stdio::null()).output().expect("git");
            assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
        };
        let begun = Instant::now();
        let base = said(&repo, &["rev-parse", "main"]);
        said(&repo, &["worktree", "add", "-q", "-b", "work", &worker, &base]);
        fs::write(Path::new(&worker).join(file_of(number)), format!("{number}\n")).expect("file");
        said(Path::new(&worker), &["add", "-A"]);
        let tree = said(Path::new(&worker), &["write-tree"]);
        let candidate = said(&repo, &["commit-tree", &tree, "-p", &base, "-m", "Candidate"]);
        said(&repo, &["update-ref", "refs/heads/work", &candidate, &base]);
        for checkout in [&gate, &verifier] {
            said(&repo, &["worktree", "add", "-q", "--detach", checkout, &candidate]);
            said(&repo, &["worktree", "remove", "--force", checkout]);
        }
        let landing = said(&repo, &["commit-tree", &tree, "-p", &base, "-m", "Land"]);
        said(&repo, &["update-ref", "refs/heads/main", &landing, &base]);
        said(&repo, &["read-tree", "-m", "-u", &base, &landing]);
        said(&repo, &["worktree", "remove", "--force", &worker]);
        said(&repo, &["update-ref", "-d", "refs/heads/work"]);
        let took = begun.elapsed();
        let landed = fs::read_to_string(repo.join(file_of(number))).unwrap_or_default();
        assert_eq!(landed.trim_end(), number.to_string(), "it has landed");
        (took, count)
    }
}
