//! Finding a repository's folders by reading its files, without starting git.

use std::path::{Path, PathBuf};

use super::disk;
use super::error::GitError;
use super::tree_path::path_of_line;

/// The folders of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The top of the work tree, links resolved.
    pub top: PathBuf,
    /// The git dir of this work tree.
    pub git_dir: PathBuf,
    /// The git dir that all worktrees of the repository share; the same as `git_dir` in the main one.
    pub common_dir: PathBuf,
}

impl Location {
    /// Finds the repository whose work tree's top is `path`: a main or linked worktree or a submodule, with or
    /// without links on the way. A folder somewhere inside a repository is refused, so that a mistyped path never
    /// means the repository around it.
    pub fn find(path: &Path) -> Result<Self, GitError> {
        let no = |why: &str| GitError::NotARepository { path: path.to_owned(), why: why.to_owned() };
        if !path.is_dir() {
            return Err(no("there is no such folder"));
        }
        let top = disk::resolve(path)?;
        let Some(git_dir) = git_dir_of(&top)? else {
            if looks_like_git_dir(&top)? {
                return Err(GitError::Bare { path: path.to_owned() });
            }
            return Err(match top.ancestors().skip(1).find(|above| above.join(".git").exists()) {
                Some(above) => no(&format!("it lies inside the repository {}", above.display())),
                None => no("it has no `.git`"),
            });
        };
        if !git_dir.is_dir() {
            return Err(no(&format!("its `.git` points to {}, which does not exist", git_dir.display())));
        }
        let git_dir = disk::resolve(&git_dir)?;
        let common_dir = match disk::read(&git_dir.join("commondir"))? {
            None => git_dir.clone(),
            Some(line) => disk::resolve(&git_dir.join(path_of_line(&line)))?,
        };
        if !looks_like_git_dir(&common_dir)? {
            return Err(no(&format!("{} is not a git directory", common_dir.display())));
        }
        Ok(Self { top, git_dir, common_dir })
    }
}

/// Where the `.git` of a work tree leads, whether it is a folder, a link or a file; none where there is no `.git`.
pub(super) fn git_dir_of(top: &Path) -> Result<Option<PathBuf>, GitError> {
    let dot_git = top.join(".git");
    if dot_git.is_dir() {
        return Ok(Some(dot_git));
    }
    if !dot_git.is_file() {
        return Ok(None);
    }
    let Some(line) = disk::read(&dot_git)? else { return Ok(None) };
    Ok(line.strip_prefix(b"gitdir: ").map(|target| top.join(path_of_line(target))))
}

fn looks_like_git_dir(path: &Path) -> Result<bool, GitError> {
    Ok(disk::is_there(&path.join("HEAD"))? && path.join("objects").is_dir() && path.join("refs").is_dir())
}
