//! Copies of a whole folder, and bringing one back by touching only what has changed since.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What stands at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    Folder { mode: u32 },
    Link { to: PathBuf },
    File { mode: u32, stat: Stat },
}

/// Everything below a folder, by its path from there, parents first.
pub fn walk(top: &Path, skip: impl Fn(&Path) -> bool + Copy) -> BTreeMap<PathBuf, Thing> {
    let mut found = BTreeMap::new();
    walk_into(top, Path::new(""), skip, &mut found);
    found
}

fn walk_into(top: &Path, below: &Path, skip: impl Fn(&Path) -> bool + Copy, found: &mut BTreeMap<PathBuf, Thing>) {
    for entry in fs::read_dir(top.join(below)).into_iter().flatten().flatten() {
        let name = below.join(entry.file_name());
        if skip(&name) {
            continue;
        }
        let Ok(meta) = entry.metadata() else { continue };
        let mode = meta.mode() & 0o7777;
        if meta.is_dir() {
            found.insert(name.clone(), Thing::Folder { mode });
            walk_into(top, &name, skip, found);
        } else if meta.is_symlink() {
            found.insert(name, Thing::Link { to: fs::read_link(entry.path()).unwrap_or_default() });
        } else {
            found.insert(name, Thing::File { mode, stat: stat(&meta) });
        }
    }
}

fn stat(meta: &fs::Metadata) -> Stat {
    Stat {
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    }
}

/// Which content stands at a path, and how it is known to stand there still.
#[derive(Debug, Clone, Copy)]
struct Mark {
    stat: Stat,
    content: usize,
}

/// A folder and its copies.
pub struct Copies {
    top: PathBuf,
    /// Each content once, under its number.
    contents: tempfile::TempDir,
    number: usize,
    marks: BTreeMap<PathBuf, Mark>,
    kept: Vec<BTreeMap<PathBuf, (Thing, usize)>>,
}

impl Copies {
    /// Of `top`, kept in a folder of their own in `place`.
    pub fn new(top: &Path, place: &Path) -> Self {
        let contents = tempfile::Builder::new().prefix("autometta-copies-").tempdir_in(place).expect("dir");
        Self { top: top.to_owned(), contents, number: 0, marks: BTreeMap::new(), kept: Vec::new() }
    }

    fn content(&self, number: usize) -> PathBuf {
        self.contents.path().join(number.to_string())
    }

    /// Keeps what stands there now, and gives its number.
    pub fn keep(&mut self) -> usize {
        let mut copy = BTreeMap::new();
        for (name, thing) in walk(&self.top, |_| false) {
            let mut content = 0;
            if let Thing::File { stat, .. } = &thing {
                content = match self.marks.get(&name) {
                    Some(mark) if mark.stat == *stat => mark.content,
                    _ => {
                        self.number += 1;
                        fs::copy(self.top.join(&name), self.content(self.number)).expect("a copy");
                        self.marks.insert(name.clone(), Mark { stat: *stat, content: self.number });
                        self.number
                    }
                };
            }
            copy.insert(name, (thing, content));
        }
        self.kept.push(copy);
        self.kept.len() - 1
    }

    /// Brings a copy back, modes and times of modification included.
    pub fn bring_back(&mut self, number: usize) {
        let copy = &self.kept[number];
        let mut gone: Option<PathBuf> = None;
        for (name, thing) in walk(&self.top, |_| false) {
            if gone.as_ref().is_some_and(|gone| name.starts_with(gone)) {
                continue;
            }
            let path = self.top.join(&name);
            let stays = match (&thing, copy.get(&name)) {
                (Thing::Folder { .. }, Some((Thing::Folder { .. }, _))) => true,
                (Thing::Link { to }, Some((Thing::Link { to: wanted }, _))) => to == wanted,
                (Thing::File { stat, mode }, Some((Thing::File { mode: wanted, .. }, content))) => {
                    mode == wanted
                        && self.marks.get(&name).is_some_and(|mark| mark.stat == *stat && mark.content == *content)
                }
                _ => false,
            };
            if stays {
                continue;
            }
            self.marks.remove(&name);
            if matches!(thing, Thing::Folder { .. }) {
                fs::remove_dir_all(path).expect("removed");
                gone = Some(name);
            } else {
                fs::remove_file(path).expect("removed");
            }
        }
        for (name, (thing, content)) in copy {
            let path = self.top.join(name);
            match thing {
                Thing::Folder { mode } => {
                    if fs::symlink_metadata(&path).is_err() {
                        fs::create_dir(&path).expect("folder");
                    }
                    let is = fs::metadata(&path).expect("meta").permissions().mode() & 0o7777;
                    if is != *mode {
                        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("mode");
                    }
                }
                Thing::Link { to } => {
                    if fs::symlink_metadata(&path).is_err() {
                        symlink(to, &path).expect("link");
                    }
                }
                Thing::File { mode, stat: was } => {
                    if fs::symlink_metadata(&path).is_ok() {
                        continue;
                    }
                    fs::copy(self.content(*content), &path).expect("a copy");
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("mode");
                    let (seconds, nanos) = was.modified;
                    let since = Duration::new(u64::try_from(seconds).expect("time"), u32::try_from(nanos).expect("ns"));
                    let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + since);
                    File::open(&path).and_then(|file| file.set_times(times)).expect("time");
                    let stat = stat(&fs::symlink_metadata(&path).expect("meta"));
                    self.marks.insert(name.clone(), Mark { stat, content: *content });
                }
            }
        }
    }
}
