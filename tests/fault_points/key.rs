//! All that the rest of a night depends on, as one text: every file of the night with its content, without times, process
//! numbers, measurements and the names that git makes of times.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::copies::{Stat, Thing, walk};

/// Fields that hold a time or a measurement.
const DROPPED: [&str; 13] = [
    "repo_id",
    "at",
    "last_tick_at",
    "completed_at",
    "started_at",
    "decided_at",
    "window_started_at",
    "tick_count",
    "clock_ticks_used",
    "idle_ticks_used",
    "seconds",
    "wall_clock_elapsed_seconds",
    "notices",
];

/// What a text says of times, processes and measurements.
static MASK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)
        (?<time> \d{4}-\d\d-\d\d [T\ ] \d\d:\d\d:\d\d (?:\.\d+)? (?:Z|\ UTC|\+00:00)? | \d{8}T\d+Z )
        | \\*" (?<name> pid | start | token | boot_id | [a-z_]*seconds | awake_ns | peak_rss_bytes | free_bytes | nonce ) \\*" \s*:\s* (?: \\*"[^"]*" | [\d.]+ )
        | (?<id> \b (?: [0-9a-f]{64} | [0-9a-f]{40} ) \b )
        | (?<place> \b (?: repo-[0-9a-f]{8} | (?<stem> autometta-[\w.-]+ ) -[0-9a-f]{16} ) \b )
        | (?<temp> \.\d+-\d+\.autometta-tmp )"#,
    )
    .expect("a regular expression")
});

/// A text without what differs from night to night. Ids are told apart by the order in which they come.
pub fn plain(text: &str) -> String {
    let mut ids = BTreeMap::new();
    MASK.replace_all(text, |found: &Captures<'_>| {
        if let Some(name) = found.name("name") {
            format!("{}=…", name.as_str())
        } else if let Some(id) = found.name("id") {
            let next = ids.len();
            format!("id {}", ids.entry(id.as_str().to_owned()).or_insert(next))
        } else if found.name("temp").is_some() {
            ".temp".to_owned()
        } else if found.name("place").is_some() {
            found.name("stem").map_or("repo", |stem| stem.as_str()).to_owned()
        } else {
            "time".to_owned()
        }
    })
    .into_owned()
}

/// The transitions of a ledger, with how often each took place.
pub fn transitions(ledger: &str) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for line in ledger.lines() {
        // The next tick finishes a torn line.
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let words = ["stage", "run", "event", "from", "to"].map(|name| line[name].as_str().unwrap_or("-").to_owned());
        *all.entry(words.join(" ")).or_default() += 1;
    }
    all
}

/// Reads keys of one night's folder, and remembers what it has read.
#[derive(Default)]
pub struct Keys {
    read: BTreeMap<PathBuf, (Stat, String)>,
}

impl Keys {
    /// Each file's name and what it says, and `more`, which is what git says.
    pub fn lines(&mut self, base: &Path, more: &str) -> Vec<String> {
        let mark = base.display().to_string();
        let mut lines = vec![more.to_owned()];
        let things = walk(base, is_beside);
        for (name, thing) in &things {
            if is_of_the_past(&things, name) || is_evidence(name) {
                continue;
            }
            let shown = plain(&name.display().to_string());
            match thing {
                Thing::Folder { .. } => lines.push(shown),
                Thing::Link { .. } if says_nothing(name) => lines.push(shown),
                Thing::Link { to } => lines.push(format!("{shown} -> {}", to.display().to_string().replace(&mark, ""))),
                Thing::File { stat, mode } => {
                    let shown = format!("{shown} {mode:o}");
                    if says_nothing(name) {
                        lines.push(shown);
                        continue;
                    }
                    if let Some(folder) = claimed(&base.join(name)) {
                        let is = fs::read_to_string(base.join(name)).is_ok_and(|claim| claim == inode(&folder));
                        lines.push(format!("{shown} {is}"));
                        continue;
                    }
                    let known = self.read.get(name).filter(|(known, _)| known == stat);
                    let known = known.map(|(_, digest)| digest.clone());
                    let digest = known.unwrap_or_else(|| {
                        let digest = said(base, name, &mark);
                        self.read.insert(name.clone(), (*stat, digest.clone()));
                        digest
                    });
                    lines.push(format!("{shown} {digest}"));
                }
            }
        }
        lines.sort();
        lines
    }
}

/// The worktree that this file claims by its inode, where it is such a file.
pub fn claimed(file: &Path) -> Option<PathBuf> {
    if file.file_name()? != "autometta-claim" {
        return None;
    }
    let there = fs::read_to_string(file.with_file_name("gitdir")).ok()?;
    Path::new(there.trim_end()).parent().map(Path::to_owned)
}

/// A folder's claim.
pub fn inode(folder: &Path) -> String {
    fs::metadata(folder).map(|meta| format!("{}\n", meta.ino())).unwrap_or_default()
}

/// The part of a text that a key holds.
pub fn digest(text: impl AsRef<[u8]>) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text.as_ref()).iter().take(16) {
        hex += &format!("{byte:02x}");
    }
    hex
}

/// What the test itself and git's history of names hold there, and logs for people.
fn is_beside(name: &Path) -> bool {
    let name = name.to_string_lossy();
    ["faults", "faults-beside", "stubs", "home/log", "repo/.git/objects", "repo/.git/logs", "repo/.git/hooks"]
        .contains(&name.as_ref())
        || (name.contains(".git/worktrees/") && name.ends_with("/logs"))
}

/// Files of a run that is over which nobody reads any more: all of a lost one, and what only its beginning needed, or
/// people, of any other.
fn is_of_the_past(things: &BTreeMap<PathBuf, Thing>, name: &Path) -> bool {
    let Ok(below) = name.strip_prefix("repo/state/runs") else { return false };
    let mut parts = below.components();
    let (Some(run), Some(file)) = (parts.next(), parts.next()) else { return false };
    let run = Path::new("repo/state/runs").join(run);
    things.contains_key(&run.join("cleared"))
        && (["launch.log", "agent.json", "flags.json"].iter().any(|past| file.as_os_str() == *past)
            || !things.contains_key(&run.join("exit.json")))
}

/// The journal, by which nobody decides.
fn is_evidence(name: &Path) -> bool {
    name.starts_with("repo/state/journal")
}

/// Files whose being there is all that counts: logs for people, git's notes about files' times, what a tick saw, what was
/// torn off the ledger in the middle of some hash, and what people are told.
fn says_nothing(name: &Path) -> bool {
    let file = name.file_name().unwrap_or_default().to_string_lossy();
    let is_log = name.extension().is_some_and(|end| end == "log");
    let refs = name.components().any(|part| part.as_os_str() == "refs");
    (is_log && file != "stdout.log" && file != "stderr.log")
        || file == "index"
        || file == "ORIG_HEAD"
        || file == "COMMIT_EDITMSG"
        || file == "heartbeat.json"
        || file == "cli-versions.json"
        || file == "report.html"
        || file.starts_with("ledger.jsonl.torn-")
        || ["notices", "logs", "handoffs", "verifiers", "questions"]
            .iter()
            .any(|folder| name.starts_with(Path::new("repo/state").join(folder)))
        || refs
}

fn said(base: &Path, name: &Path, mark: &str) -> String {
    let bytes = fs::read(base.join(name)).unwrap_or_default();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        // An index holds files' times.
        Err(other) if other.as_bytes().starts_with(b"DIRC") => return "index".to_owned(),
        Err(other) => return digest(other.as_bytes()),
    };
    let mut text = text.replace(mark, "");
    if name == Path::new("t/told") {
        // Two notices have two tellers, which do not wait for each other.
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        text = lines.join("\n");
    }
    let parsed: Option<Value> = match name.to_string_lossy().as_ref() {
        "repo/state/state.yaml" => serde_saphyr::from_str(&text).ok(),
        "repo/state/budget.json" => serde_json::from_str(&text).ok(),
        "repo/state/ledger.jsonl" => return digest(format!("{:?} {}", transitions(&text), text.ends_with('\n'))),
        _ => None,
    };
    digest(plain(&parsed.map_or(text, |value| timeless(value).to_string())))
}

/// The same without times and counters of ticks.
fn timeless(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(name, _)| !DROPPED.contains(&name.as_str()) && !name.ends_with("_at"))
                .map(|(name, value)| (name, timeless(value)))
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(timeless).collect()),
        other => other,
    }
}
