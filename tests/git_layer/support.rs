//! A repository in a temporary folder, with an operator who uses git in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use autometta::core::ids::{CommitId, TreeId};
use autometta::git::{Capture, CommitText, Git, LandingOrder, Repo, Signature, WorktreeSpec};
use chrono::DateTime;
use tempfile::TempDir;

pub struct World {
    pub dir: TempDir,
    pub top: PathBuf,
}

impl World {
    /// A repository with one commit on `main`: `a.txt`, `dir/b.txt`, `.gitignore`.
    pub fn new() -> Self {
        Self::named("repo", &[])
    }

    pub fn named(name: &str, init: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let top = dir.path().canonicalize().expect("path").join(name);
        fs::create_dir_all(dir.path().join("home")).expect("home");
        fs::create_dir_all(&top).expect("repository");
        let world = Self { dir, top };
        let mut arguments = vec!["init", "-q", "-b", "main"];
        arguments.extend(init);
        world.git(&arguments);
        world.git(&["config", "user.name", "Op Erator"]);
        world.git(&["config", "user.email", "op@example.org"]);
        world.write("a.txt", "one\n");
        world.write("dir/b.txt", "two\n");
        world.write(".gitignore", "ignored/\n*.log\n");
        world.commit("first");
        world
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn open(&self) -> Repo {
        self.open_at(&self.top)
    }

    pub fn open_at(&self, path: &Path) -> Repo {
        self.open_with("scratch", path)
    }

    /// As one subscriber of several.
    pub fn open_with(&self, scratch: &str, path: &Path) -> Repo {
        let git = Git::from_environment().with_home(&self.home());
        Repo::open(path, &self.dir.path().join(scratch), git).expect("repository")
    }

    pub fn worktree(&self, name: &str) -> PathBuf {
        self.top.parent().expect("parent").join("trees").join(name)
    }

    /// A worktree on branch `autometta/<name>` at the tip of main, and its path.
    pub fn cut(&self, repo: &Repo, name: &str) -> PathBuf {
        let path = self.worktree(name);
        repo.ensure_worktree(&self.spec(repo, name)).expect("worktree");
        path
    }

    pub fn spec(&self, repo: &Repo, name: &str) -> WorktreeSpec {
        WorktreeSpec { path: self.worktree(name), commit: main(repo), branch: Some(format!("autometta/{name}")) }
    }

    pub fn try_git_in(&self, dir: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command.output().expect("git")
    }

    pub fn git_in(&self, dir: &Path, arguments: &[&str]) -> String {
        let output = self.try_git_in(dir, arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.top, arguments)
    }

    pub fn write(&self, path: &str, content: &str) {
        write(&self.top.join(path), content);
    }

    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.top.join(path)).ok()
    }

    pub fn commit(&self, message: &str) -> CommitId {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).parse().expect("id")
    }

    /// What the operator sees, as short status lines.
    pub fn status(&self) -> String {
        self.git(&["status", "--porcelain", "--untracked-files=all"])
    }

    /// A commit of what `edit` makes of a fresh worktree, on top of main.
    pub fn candidate(&self, repo: &Repo, name: &str, edit: impl FnOnce(&Path)) -> LandingOrder {
        let path = self.cut(repo, name);
        edit(&path);
        let parent = main(repo);
        let capture = repo.capture(&path, &parent, &[]).expect("capture");
        let commit = repo.write_commit(&commit_of(&capture.tree, &parent, "Land it")).expect("commit");
        repo.remove_worktree(&path).expect("removed");
        LandingOrder { branch: "main".into(), parent, commit }
    }
}

pub fn main(repo: &Repo) -> CommitId {
    repo.tip("main").expect("readable").expect("a tip")
}

pub fn commit_of(tree: &TreeId, parent: &CommitId, message: &str) -> CommitText {
    let signature = |name| Signature::new(name, "x@y").expect("signature");
    CommitText {
        tree: tree.clone(),
        parents: vec![parent.clone()],
        author: signature("Worker"),
        committer: signature("Op"),
        at: DateTime::from_timestamp(1_800_000_000, 0).expect("time"),
        message: message.to_owned(),
    }
}

pub fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    fs::write(path, content).expect("file");
}

pub fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).expect("removed");
    } else {
        fs::remove_file(path).expect("removed");
    }
}

pub fn executable(path: &Path, content: &str) {
    // Written by a process of its own: a child that another test forks meanwhile would inherit our open file, and what
    // somebody has open for writing cannot be executed.
    let text = path.with_extension("text");
    write(&text, content);
    let copied = Command::new("cp").arg(&text).arg(path).status().expect("cp runs");
    assert!(copied.success(), "{}: {copied}", path.display());
    fs::remove_file(&text).expect("removed");
    mode(path, 0o755);
}

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

pub fn changed(capture: &Capture) -> Vec<String> {
    capture.changed.iter().map(|change| format!("{:?} {}", change.kind, change.path)).collect()
}
