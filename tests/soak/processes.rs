//! The living processes of a soak: which of them are whose, and how much memory they took.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Tick,
    Supervisor,
    /// The leader of the process group of a gate's command.
    Gate,
    /// A process that waits for a time, where no timer fires.
    Waker,
    /// Git, agents and what they started.
    Other,
}

#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub kind: Kind,
    pub run: Option<String>,
    /// The most memory that it had so far, in KiB.
    pub peak: u64,
    pub words: String,
}

impl Process {
    /// Its run without the number of the try.
    pub fn role(&self) -> Option<&str> {
        self.run.as_deref().map(|run| run.split(".r").next().unwrap_or(run))
    }

    /// Whether it still is what it was when it was found.
    pub fn still_is(&self, base: &str) -> bool {
        look(self.pid, base).is_some_and(|now| now.kind == self.kind && now.run == self.run && now.words == self.words)
    }
}

/// Everything that lives and belongs to the box in this folder.
pub fn processes(base: &str) -> Vec<Process> {
    let pids = fs::read_dir("/proc").expect("proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = i32::try_from(std::process::id()).expect("pid");
    pids.filter(|pid| *pid != own).filter_map(|pid| look(pid, base)).collect()
}

fn look(pid: i32, base: &str) -> Option<Process> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap_or_default()).into_owned();
    let stat = read("stat");
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let group: i32 = fields.nth(1)?.parse().ok()?;
    let (words, environ) = (read("cmdline"), read("environ"));
    let cwd = fs::read_link(folder.join("cwd")).unwrap_or_default();
    if !(environ.contains(base) || words.contains(base) || cwd.starts_with(Path::new(base))) {
        return None;
    }
    let argv: Vec<&str> = words.split('\0').collect();
    let run = environ.split('\0').find_map(|entry| entry.strip_prefix("AUTOMETTA_RUN="));
    let ours = argv[0] == env!("CARGO_BIN_EXE_autometta");
    let (kind, run) = match (ours, argv.get(1).copied().unwrap_or_default()) {
        (true, "tick") => (Kind::Tick, None),
        (true, "__supervise") => (Kind::Supervisor, argv.get(2).and_then(|dir| dir.rsplit('/').next())),
        (true, "__wake") => (Kind::Waker, None),
        _ if group == pid && run.is_some_and(|run| run.contains(".gate")) => (Kind::Gate, run),
        _ => (Kind::Other, run),
    };
    let peak = match kind {
        Kind::Tick | Kind::Supervisor => peak(&read("status")),
        Kind::Gate | Kind::Waker | Kind::Other => 0,
    };
    Some(Process { pid, kind, run: run.map(str::to_owned), peak, words: argv.join(" ") })
}

fn peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
