//! Storing objects as git does: each compressed in a file of its own, which its name is the hash of.
//!
//! Git has no command that stores files, trees and a commit at once without a pack that it then takes apart again, and a
//! snapshot is taken after every tick that did something. The form of a loose object has been the same since git exists;
//! reading stays git's.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::core::ids::{ObjectId, TreeId};

use super::disk;
use super::error::{At, GitError};
use super::objects::{Objects, parse_id};
use super::settings::ObjectFormat;
use super::tree_path::hex;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The bytes of a file.
    Blob,
    /// What stands in a folder.
    Tree,
    /// A commit.
    Commit,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
        }
    }
}

/// An object that can be stored.
#[derive(Debug)]
pub(super) struct Loose {
    /// What it is called.
    pub(super) id: ObjectId,
    /// Its kind and length, and its content.
    bytes: Vec<u8>,
}

impl Loose {
    /// From its content.
    pub(super) fn new(format: ObjectFormat, kind: Kind, content: &[u8]) -> Result<Self, GitError> {
        let mut bytes = format!("{} {}\0", kind.word(), content.len()).into_bytes();
        bytes.extend_from_slice(content);
        let name = match format {
            ObjectFormat::Sha1 => hex(&Sha1::digest(&bytes)),
            ObjectFormat::Sha256 => hex(&Sha256::digest(&bytes)),
        };
        Ok(Self { id: parse_id(&name, "a hash")?, bytes })
    }
}

/// The trees of files whose blobs are known, by plain relative paths; the last one is that of all of them.
pub(super) fn trees(format: ObjectFormat, files: &BTreeMap<String, ObjectId>) -> Result<Vec<Loose>, GitError> {
    let mut folders: BTreeMap<&str, BTreeMap<String, ObjectId>> = BTreeMap::new();
    let mut here: Vec<(Vec<u8>, &str, &str, ObjectId)> = Vec::new();
    for (path, id) in files {
        match path.split_once('/') {
            None => here.push((path.as_bytes().to_vec(), "100644", path, id.clone())),
            Some((folder, rest)) => {
                folders.entry(folder).or_default().insert(rest.to_owned(), id.clone());
            }
        }
    }
    let mut made = Vec::new();
    for (folder, files) in folders {
        made.extend(trees(format, &files)?);
        if let Some(tree) = made.last() {
            // Git orders a folder as if its name ended in a slash.
            here.push(([folder.as_bytes(), b"/"].concat(), "40000", folder, tree.id.clone()));
        }
    }
    here.sort();
    let mut content = Vec::new();
    for (_, mode, name, id) in &here {
        content.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        content.extend_from_slice(&raw(id));
    }
    made.push(Loose::new(format, Kind::Tree, &content)?);
    Ok(made)
}

/// The bytes that the digits of an id stand for.
fn raw(id: &TreeId) -> Vec<u8> {
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
    id.as_str().as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |sum, byte| sum << 4 | digit(byte))).collect()
}

impl Objects {
    /// Stores objects durably; those that are there already stay as they are. What is not there when this fails, or is cut
    /// short, is stored by the next call; what a crash leaves has no object's name, and is swept.
    pub(super) fn store<'l>(&self, objects: impl IntoIterator<Item = &'l Loose>) -> Result<(), GitError> {
        // Whoever only looks afterwards finds our own git dir made, and changes nothing.
        self.plain()?;
        let unnamed = self.unnamed();
        disk::make_folder(&unnamed)?;
        let mut written: Vec<(PathBuf, PathBuf)> = Vec::new();
        let stored = objects.into_iter().try_for_each(|object| {
            let place = self.place_of(&object.id);
            if is_whole(&place)? {
                return disk::renew(&place);
            }
            let fresh = unnamed.join(unnamed_file());
            written.push((fresh.clone(), place));
            disk::write_for_good(&fresh, &compressed(&object.bytes).at("compress", &fresh)?)
        });
        // In their order: whatever names another one comes after it.
        let named = stored.and_then(|()| written.iter().try_for_each(|(fresh, place)| name(fresh, place)));
        if named.is_err() {
            for (fresh, _) in &written {
                // Best effort: what cannot be removed now is swept later.
                let _ = disk::remove_file(fresh);
            }
        }
        named?;
        if written.is_empty() {
            return Ok(());
        }
        let all = self.objects_folder();
        disk::sync_folders(written.iter().filter_map(|(_, place)| place.parent()).chain([all.as_path()]))
    }

    /// Makes objects durable that are there: what git stores for us it syncs, but not what it finds stored already, and an
    /// agent's own git may have done that without.
    pub(super) fn settle<'i>(&self, ids: impl IntoIterator<Item = &'i ObjectId>) -> Result<(), GitError> {
        for id in ids {
            let place = self.place_of(id);
            // Another one is in a pack, which git never leaves without a sync.
            if disk::is_there(&place)? {
                disk::sync_file(&place)?;
            }
        }
        Ok(())
    }

    fn place_of(&self, id: &ObjectId) -> PathBuf {
        let (start, rest) = id.as_str().split_at(2);
        self.objects_folder().join(start).join(rest)
    }

    /// Takes away what writers that died have left of objects.
    pub fn sweep_unnamed(&self) -> Result<(), GitError> {
        for file in disk::list(&self.unnamed())? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let writer = name.split_once('-').and_then(|(pid, _)| pid.parse().ok());
            if writer.is_none_or(disk::is_gone) {
                disk::remove_file(&file)?;
            }
        }
        Ok(())
    }

    /// Where objects stand until they are whole: beside the others, so that a new name is all it takes. Git clears away what
    /// begins like this when it is old.
    fn unnamed(&self) -> PathBuf {
        self.objects_folder().join("tmp_objdir-autometta")
    }
}

/// Whether an object is there; a file without a byte is what a power cut leaves of one that nobody synced.
fn is_whole(place: &Path) -> Result<bool, GitError> {
    Ok(disk::look(place)?.is_some_and(|found| found.len() > 0))
}

fn name(fresh: &Path, place: &Path) -> Result<(), GitError> {
    if let Some(folder) = place.parent() {
        disk::make_folder(folder)?;
    }
    disk::rename(fresh, place)
}

/// A file name that no other writer has: a fire stores for several repositories at once, and two may share their objects.
fn unnamed_file() -> String {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed))
}

fn compressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_called_what_git_calls_them() {
        let blob = |format| Loose::new(format, Kind::Blob, b"what git calls it\n").expect("blob").id;
        // `printf 'what git calls it\n' | git hash-object --stdin`, in a repository of either format.
        assert_eq!(blob(ObjectFormat::Sha1).as_str(), "7b35d8a926fd3f2da864438a30135f7f99837a2f");
        assert_eq!(
            blob(ObjectFormat::Sha256).as_str(),
            "12b4d71f5b4cc556abf0e8aabf877514b4b04b28d9ee1918a8beac36316a740f"
        );
    }
}
