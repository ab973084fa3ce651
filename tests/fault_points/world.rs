//! A night that can be brought back to any of its steps, and what two nights must have in common.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::copies::{Copies, Thing, walk};
use super::key::{self, Keys, transitions};
use super::processes::{self, quiet, run};
use super::support::night::{Night, text};

/// The pulse of a run's end never comes: the test ticks instead, so that one thing happens after the other.
pub const STILL: &str = "*/run.pulse:*:abort";

/// What a person or the timer does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Tick,
    /// A command of the operator, which may exit with this code.
    Command(Vec<String>, i32),
    /// Something that the operator, or the world, does without us.
    Hand(&'static str),
}

/// The story of a night.
#[derive(Clone, Copy)]
pub struct Story {
    pub name: &'static str,
    /// Makes the night, in this folder.
    pub build: fn(&Path) -> Night,
    /// What happens next, whatever has happened so far; none once the night is over. It is told whether the last tick
    /// changed nothing.
    pub next: fn(&World, bool) -> Option<Act>,
    /// Does what [`Act::Hand`] names.
    pub hand: fn(&World, &str),
    /// Looks at the world after each act, as a person's own notes.
    pub note: fn(&World),
    /// Whether somebody else comes while one waits.
    pub pauses: bool,
}

/// One night, and its copies.
pub struct World {
    pub night: Night,
    pub story: Story,
    base: PathBuf,
    copies: RefCell<Copies>,
    keys: RefCell<Keys>,
    git: RefCell<BTreeMap<String, String>>,
    /// For each copy, the files that name the inodes of worktrees.
    claims: RefCell<Vec<Vec<PathBuf>>>,
}

/// What one process met: who, where, for the how manieth time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passage {
    pub actor: String,
    pub point: String,
    pub occurrence: u64,
    pub met: bool,
}

/// What has become of a night.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Must be equal.
    pub fixed: Value,
    /// What kinds of notices were told.
    pub told: BTreeSet<String>,
    /// What each run was charged, and how it ended.
    pub runs: BTreeMap<String, (String, u64)>,
    /// The ledger's transitions with how often each took place.
    pub ledger: BTreeMap<String, usize>,
    pub tokens: u64,
}

/// Has git read one more file, so that its settings are asked for each time: whether those that are remembered still hold
/// depends on how fast a night goes.
pub fn forget_settings(night: &Night) {
    night.git(&["config", "include.path", "nothing"]);
}

impl World {
    pub fn new(story: Story, folder: &Path) -> Self {
        let night = (story.build)(folder);
        quiet();
        let base = night.base();
        let copies = RefCell::new(Copies::new(&base, folder));
        Self {
            night,
            story,
            base,
            copies,
            keys: RefCell::default(),
            git: RefCell::default(),
            claims: RefCell::default(),
        }
    }

    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Keeps a copy of everything.
    pub fn keep(&self) -> usize {
        let claims = walk(&self.night.repo.join(".git/worktrees"), |_| false).into_keys();
        let claims = claims.map(|name| self.night.repo.join(".git/worktrees").join(name)).filter(|file| {
            let folder = key::claimed(file);
            folder.is_some_and(|folder| fs::read_to_string(file).is_ok_and(|claim| claim == key::inode(&folder)))
        });
        self.claims.borrow_mut().push(claims.collect());
        self.copies.borrow_mut().keep()
    }

    /// Brings a copy back. A worktree that was claimed by its inode has another one now.
    pub fn bring_back(&self, number: usize) {
        processes::clear();
        self.copies.borrow_mut().bring_back(number);
        for file in &self.claims.borrow()[number] {
            let claim = key::claimed(file).map(|folder| key::inode(&folder)).unwrap_or_default();
            if fs::read_to_string(file).is_ok_and(|known| known != claim) {
                fs::write(file, claim).expect("a claim");
            }
        }
    }

    /// What happens next.
    pub fn next(&self, idle: bool) -> Option<Act> {
        (self.story.next)(self, idle)
    }

    /// A command of ours, with these faults in a folder of their own.
    fn command(&self, words: &[&str], folder: &str, faults: &str) -> Command {
        let folder = self.base.join(folder);
        fs::create_dir_all(&folder).expect("folder");
        let mut command = self.night.command(words);
        command.env("AUTOMETTA_FAULT_DIR", &folder);
        command.env("AUTOMETTA_FAULT", if faults.is_empty() { STILL.to_owned() } else { format!("{faults},{STILL}") });
        command
    }

    /// The command of an act, or none where somebody else's hand did it.
    pub fn begin(&self, act: &Act, faults: &str) -> Option<Command> {
        drop(fs::remove_dir_all(self.base.join("faults")));
        let repo = self.night.repo.display().to_string();
        let arguments: Vec<&str> = match act {
            Act::Tick => vec!["tick", "--repo", &repo],
            Act::Command(words, _) => words.iter().map(String::as_str).collect(),
            Act::Hand(name) => {
                (self.story.hand)(self, name);
                return None;
            }
        };
        Some(self.command(&arguments, "faults", faults))
    }

    /// Does something, with these faults; waits until nothing of it lives. Says what was passed.
    pub fn act(&self, act: &Act, faults: &str) -> Vec<Passage> {
        let Some(command) = self.begin(act, faults) else { return Vec::new() };
        let output = run(command);
        if faults.is_empty()
            && let Act::Command(_, code) = act
        {
            let is_code = output.status.success() || output.status.code() == Some(*code);
            assert!(is_code, "{act:?}: {}{}", text(&output.stdout), text(&output.stderr));
        }
        self.passed()
    }

    /// What was passed since the act began, once nothing of it lives.
    pub fn passed(&self) -> Vec<Passage> {
        quiet();
        (self.story.note)(self);
        let log = fs::read_to_string(self.base.join("faults/log")).unwrap_or_default();
        let passages = log.lines().map(|line| {
            let met = line.ends_with(" FAULT");
            let mut words = line.splitn(4, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            let (actor, point, occurrence) = (word(), word(), word());
            Passage { actor, point, occurrence: occurrence.parse().expect("number"), met }
        });
        passages.collect()
    }

    /// A command that is given while another one is at work.
    pub fn beside(&self, words: &[&str]) -> Command {
        self.command(words, "faults-beside", "")
    }

    /// Git by the operator's hand.
    pub fn git(&self, words: &[&str]) -> String {
        text(&self.git_output(words).stdout)
    }

    fn git_output(&self, words: &[&str]) -> Output {
        let mut git = Command::new("git");
        git.args(words).current_dir(&self.night.repo).env_clear();
        git.env("PATH", std::env::var("PATH").expect("PATH")).env("HOME", self.base.join("user"));
        git.env("GIT_OPTIONAL_LOCKS", "0");
        run(git)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.night.repo.join(path)).unwrap_or_default()
    }

    /// The state, a transaction under way included.
    pub fn state(&self) -> Value {
        let decided: Option<Value> = serde_json::from_str(&self.read("state/.txn.json")).ok();
        let decided = decided.and_then(|txn| txn["state"].as_str().map(str::to_owned));
        serde_saphyr::from_str(&decided.unwrap_or_else(|| self.read("state/state.yaml"))).unwrap_or_default()
    }

    /// A stage of the state; null where it is not in it.
    pub fn stage(&self, id: &str) -> Value {
        let stages = self.state()["stages"].as_array().cloned().unwrap_or_default();
        stages.into_iter().find(|stage| stage["id"] == id).unwrap_or_default()
    }

    /// Whether the ledger has a line with this in it, or is about to.
    pub fn told(&self, part: &str) -> bool {
        let said = [self.read("state/ledger.jsonl"), self.read("state/.txn.json").replace('\\', "")];
        said.iter().any(|text| text.contains(part))
    }

    /// All that the rest of the night depends on, by lines.
    pub fn lines(&self) -> Vec<String> {
        // What git says changes with these files only.
        let mut asked = String::new();
        for (name, thing) in walk(&self.night.repo, |name| {
            ["state", ".git/objects", ".git/logs", ".git/worktrees", ".git/refs/autometta"]
                .iter()
                .any(|skipped| name == Path::new(skipped))
        }) {
            asked += &format!("{} {thing:?}\n", name.display());
        }
        let known = self.git.borrow().get(&asked).cloned();
        let said = known.unwrap_or_else(|| {
            let refs = self.git(&["for-each-ref", "--format=%(refname) %(objecttype) %(tree) %(contents:subject)"]);
            let refs: Vec<&str> = refs.lines().filter(|line| !line.starts_with("refs/autometta/state")).collect();
            let status = self.git(&["status", "--porcelain", "--untracked-files=all"]);
            let said = format!("{refs:?} {status:?}");
            self.git.borrow_mut().insert(asked, said.clone());
            said
        });
        self.keys.borrow_mut().lines(&self.base, &format!("{said} {} hang", processes::left()))
    }

    /// The same in few letters.
    pub fn key(&self) -> String {
        key::digest(self.lines().join("\n"))
    }

    fn ledger(&self) -> BTreeMap<String, usize> {
        transitions(&self.read("state/ledger.jsonl"))
    }

    /// Every stage, archived or not.
    fn stages(&self) -> Vec<Value> {
        let mut all = self.state()["stages"].as_array().cloned().unwrap_or_default();
        for entry in fs::read_dir(self.night.repo.join("state/archive")).into_iter().flatten().flatten() {
            let stage: Value =
                serde_saphyr::from_str(&fs::read_to_string(entry.path()).expect("stage")).expect("stage");
            if all.iter().all(|known| known["id"] != stage["id"]) {
                all.push(stage);
            }
        }
        all.sort_by_key(|stage| stage["id"].to_string());
        all
    }

    /// The branches, but for the work that was kept of runs: that of a lost run is kept beyond the reference's.
    fn branches(&self) -> Vec<String> {
        let all = self.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        all.lines().filter(|name| !name.starts_with("wip/")).map(str::to_owned).collect()
    }

    /// The base's files; the manifest names the folder of the night.
    fn tree(&self) -> Vec<String> {
        let all = self.git(&["ls-tree", "-r", "main"]);
        all.lines().filter(|line| !line.contains(".autometta.yaml")).map(str::to_owned).collect()
    }

    pub fn outcome(&self) -> Outcome {
        let budget: Value = serde_json::from_str(&self.read("state/budget.json")).unwrap_or_default();
        let format = "--format=%an %cn %s|%(trailers:only,unfold,separator=;)";
        let landed: Vec<String> = self
            .git(&["log", "--reverse", "--first-parent", format, "main"])
            .lines()
            .map(|line| line.split(';').filter(|part| !part.starts_with("Autometta-Run")).collect::<Vec<_>>().join(";"))
            .map(|line: String| without_retry(&line))
            .collect();
        let (mut ends, mut runs) = (Vec::new(), BTreeMap::new());
        for stage in self.stages() {
            ends.push(json!([stage["id"], stage["status"], stage["reason"]["code"], stage["attempt"]]));
            for past in stage["history"].as_array().into_iter().flatten() {
                let end = (past["outcome"].as_str().unwrap_or("-").to_owned(), past["tokens"].as_u64().unwrap_or(0));
                let run = past["run"].as_str().unwrap_or_default().to_owned();
                assert!(runs.insert(run.clone(), end).is_none(), "{run} was charged twice");
            }
        }
        let told = fs::read_to_string(self.night.t().join("told")).unwrap_or_default();
        Outcome {
            fixed: json!({
                "ends": ends,
                "landed": landed,
                "tree": self.tree(),
                "branches": self.branches(),
                "head": self.git(&["symbolic-ref", "HEAD"]),
                "status": self.git(&["status", "--porcelain", "--untracked-files=all"]),
                "reserved": [budget["tokens_reserved"], budget["wall_clock_reserved_seconds"]],
                "failures": budget["consecutive_failures"],
                "halted": budget["halted"],
            }),
            // A halt that was looked into is told of as well.
            told: told.lines().filter(|kind| *kind != "halt").map(str::to_owned).collect(),
            runs,
            ledger: self.ledger(),
            tokens: budget["tokens_spent"].as_u64().unwrap_or_default(),
        }
    }

    /// Whatever lies about that nobody will ever clear away.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (name, thing) in walk(&self.base, |name| name == Path::new("stubs")) {
            let shown = name.display().to_string();
            let file = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_folder = matches!(thing, Thing::Folder { .. });
            // The parts of the journal are swept where its next segment begins.
            let ours = (file.ends_with(".autometta-tmp") && !shown.starts_with("repo/state/journal/parts/"))
                || ["repo/state/.txn.json", "repo/state/.tick.again", "repo.autometta"].contains(&shown.as_str())
                || (shown.starts_with("repo/state/active-agents/") && !is_folder)
                || shown.starts_with("repo/.git/worktrees/")
                || (shown.starts_with("repo/.git/")
                    && !shown.contains("refs/")
                    && (name.extension().is_some_and(|end| end == "lock") || file.starts_with("autometta-")));
            if ours && !is_of_the_living(&file) {
                left.push(shown);
            }
        }
        if processes::left() > 0 {
            left.push(format!("{} processes", processes::left()));
        }
        let worktrees = self.git(&["worktree", "list"]);
        if worktrees.lines().count() > 1 {
            left.push(worktrees);
        }
        left
    }

    /// The look at what was left that a tick takes once an hour.
    pub fn an_hour_later(&self) {
        let mut tick = self.command(&["tick", "--repo", &self.night.repo.display().to_string()], "later", "");
        tick.env("AUTOMETTA_CLOCK_OFFSET", "3700");
        let output = run(tick);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        quiet();
    }

    /// Whether the ledger's chain holds, and git's objects are whole.
    pub fn verify(&self) {
        let output = run(self.night.command(&["log", "--verify"]));
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let fsck = self.git_output(&["fsck", "--no-dangling", "--no-progress"]);
        assert_eq!(text(&fsck.stdout) + &text(&fsck.stderr), "");
    }

    pub fn log(&self) -> String {
        let mut said = self.read("state/ledger.jsonl");
        for entry in fs::read_dir(self.base.join("home/log")).into_iter().flatten().flatten() {
            said += &fs::read_to_string(entry.path()).unwrap_or_default();
        }
        said
    }
}

/// Whether a temp file has the number of a process that lives: it is kept, whoever that is now.
fn is_of_the_living(name: &str) -> bool {
    let pid = name.strip_suffix(".autometta-tmp").and_then(|name| name.rsplit('.').next()?.split_once('-'));
    let pid = pid.and_then(|(pid, _)| pid.parse().ok());
    pid.is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok())
}

/// A text in which a run has no number of its retry.
pub fn without_retry(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(".r") {
        let after = &rest[at + 2..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        plain.push_str(&rest[..at]);
        if digits == 0 {
            plain.push_str(".r");
        }
        rest = &after[digits..];
    }
    plain + rest
}
