//! What a night did to its state directory, call by call, as strace saw it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The calls that change a file system or make it last.
pub const CALLS: &str = "openat,creat,write,pwrite64,lseek,ftruncate,fsync,fdatasync,rename,renameat,renameat2,\
                         unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,copy_file_range,sendfile";

/// One change below the state directory, with paths relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file was opened that may be made by that.
    Open {
        path: PathBuf,
        truncate: bool,
    },
    /// Bytes were put at an offset.
    Write {
        path: PathBuf,
        offset: usize,
        bytes: Vec<u8>,
    },
    /// A file was cut, or extended with zeros.
    Resize {
        path: PathBuf,
        length: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
    Symlink {
        path: PathBuf,
    },
    /// A file's content lasts.
    SyncFile {
        path: PathBuf,
    },
    /// A folder's entries last.
    SyncFolder {
        path: PathBuf,
    },
}

/// Reads a recording. A call that this test does not know is a failure, not a gap.
pub fn read(recording: &Path, state: &Path, before: &super::disk::Image) -> Vec<Change> {
    let lengths = before.iter().map(|(path, bytes)| (path.clone(), bytes.len())).collect();
    let (positions, appending) = (BTreeMap::new(), BTreeMap::new());
    let mut reader = Reader { state: state.to_owned(), positions, appending, lengths, displaced: BTreeSet::new() };
    let mut halves: BTreeMap<String, String> = BTreeMap::new();
    let mut changes = Vec::new();
    for line in fs::read_to_string(recording).expect("the recording").lines() {
        let (pid, call) = line.trim_start().split_once(' ').expect("a pid");
        let call = call.trim_start();
        if let Some(half) = call.strip_suffix("<unfinished ...>") {
            halves.insert(pid.to_owned(), half.to_owned());
            continue;
        }
        let whole = match call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, rest)) => halves.remove(pid).unwrap_or_default() + rest,
            None => call.to_owned(),
        };
        changes.extend(reader.change(pid, &whole));
    }
    changes
}

struct Reader {
    state: PathBuf,
    /// Where the next byte goes, by process and descriptor.
    positions: BTreeMap<String, usize>,
    appending: BTreeMap<String, bool>,
    lengths: BTreeMap<PathBuf, usize>,
    /// Files that changed names with their successors.
    displaced: BTreeSet<PathBuf>,
}

impl Reader {
    /// A path below the state directory. Our git's own folder is git's business.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.state).ok()?;
        (!below.starts_with("git")).then(|| below.to_owned())
    }

    fn change(&mut self, pid: &str, call: &str) -> Vec<Change> {
        let Some((name, rest)) = call.split_once('(') else { return Vec::new() };
        let Some((arguments, result)) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(')')) else {
            return Vec::new();
        };
        let result = result.trim_start_matches([' ', '=']);
        if result.starts_with('-') || result.starts_with('?') {
            return Vec::new();
        }
        let strings = quoted(arguments);
        let path_at =
            |index: usize| strings.get(index).map(|bytes| PathBuf::from(String::from_utf8_lossy(bytes).into_owned()));
        let descriptor = arguments.split('<').next().unwrap_or_default().to_owned();
        let open_path = angled(arguments).map(PathBuf::from);
        let key = format!("{pid} {descriptor}");
        match name {
            "openat" | "creat" => {
                let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| arguments.contains(flag));
                let Some(path) = path_at(0).and_then(|path| self.inside(&path)) else { return Vec::new() };
                if !writes {
                    return Vec::new();
                }
                let number = result.split('<').next().unwrap_or_default();
                let key = format!("{pid} {number}");
                self.positions.insert(key.clone(), 0);
                self.appending.insert(key, arguments.contains("O_APPEND"));
                let truncate = arguments.contains("O_TRUNC");
                let length = self.lengths.entry(path.clone()).or_default();
                if truncate {
                    *length = 0;
                }
                vec![Change::Open { path, truncate }]
            }
            "lseek" => {
                let to = result.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
                self.positions.insert(key, to);
                Vec::new()
            }
            "write" | "pwrite64" => {
                let Some(path) = open_path.and_then(|path| self.inside(&path)) else { return Vec::new() };
                let Some(mut bytes) = strings.into_iter().next() else { return Vec::new() };
                let written: usize = result.trim().parse().expect("a length");
                bytes.truncate(written);
                assert_eq!(name, "write", "pwrite64 is not used on {}", path.display());
                let length = self.lengths.entry(path.clone()).or_default();
                // A program has its descriptors from somebody else, and they append.
                let append = self.appending.get(&key).copied().unwrap_or(true);
                let offset = if append { *length } else { self.positions.get(&key).copied().unwrap_or(0) };
                *length = (*length).max(offset + bytes.len());
                self.positions.insert(key, offset + bytes.len());
                vec![Change::Write { path, offset, bytes }]
            }
            "ftruncate" => {
                let Some(path) = open_path.and_then(|path| self.inside(&path)) else { return Vec::new() };
                let length = arguments.rsplit(", ").next().and_then(|word| word.parse().ok()).expect("a length");
                self.lengths.insert(path.clone(), length);
                vec![Change::Resize { path, length }]
            }
            "fsync" | "fdatasync" => {
                let Some(path) = open_path.and_then(|path| self.inside(&path)) else { return Vec::new() };
                let is_folder = path.as_os_str().is_empty() || !self.lengths.contains_key(&path);
                vec![if is_folder { Change::SyncFolder { path } } else { Change::SyncFile { path } }]
            }
            "rename" | "renameat" | "renameat2" => {
                match (path_at(0).and_then(|path| self.inside(&path)), path_at(1).and_then(|path| self.inside(&path))) {
                    (Some(from), Some(to)) => {
                        if let Some(length) = self.lengths.remove(&from) {
                            self.lengths.insert(to.clone(), length);
                        }
                        // Two that change names: what was there before is removed next, under the other one.
                        if arguments.contains("RENAME_EXCHANGE") {
                            self.displaced.insert(from.clone());
                        }
                        vec![Change::Rename { from, to }]
                    }
                    (None, None) => Vec::new(),
                    across => panic!("a rename across the state directory's border: {across:?}"),
                }
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let Some(path) = path_at(0).and_then(|path| self.inside(&path)) else { return Vec::new() };
                self.lengths.remove(&path);
                if self.displaced.remove(&path) { Vec::new() } else { vec![Change::Remove { path }] }
            }
            "mkdir" | "mkdirat" => path_at(0)
                .and_then(|path| self.inside(&path))
                .map(|path| Change::MakeFolder { path })
                .into_iter()
                .collect(),
            "symlink" | "symlinkat" => path_at(1)
                .and_then(|path| self.inside(&path))
                .map(|path| Change::Symlink { path })
                .into_iter()
                .collect(),
            other => {
                let touches = (0..strings.len()).filter_map(path_at).any(|path| self.inside(&path).is_some());
                assert!(!touches, "{other} on the state directory is not understood: {call}");
                Vec::new()
            }
        }
    }
}

/// The quoted arguments, of which every byte is written as `\xHH`.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    arguments.split('"').skip(1).step_by(2).map(bytes_of).collect()
}

/// The path of the first descriptor.
fn angled(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    String::from_utf8(bytes_of(path)).ok()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    hex.split("\\x")
        .filter(|pair| !pair.is_empty())
        .filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok())
        .collect()
}
