//! The reference night, its copies, and what two nights must have in common.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::processes::{quiet, run};
use super::support::night::{Night, text};

/// The pulse of a run's end never comes: the test ticks instead, so that one thing happens after the other.
const STILL: &str = "*/run.pulse:*:abort";

const SECOND: &str = "stage-cards/02-next.md";

/// What a person or the timer does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Tick,
    Command(Vec<String>),
    /// The operator commits something on the base.
    MoveBase,
}

/// The stubs speak as Claude Code does, so that what they use is known: 2000 tokens for a worker, 300 for a verifier.
const SPEAK: &str = r#"say() { printf '{"type":"result","subtype":"success","is_error":false,"result":"done","total_cost_usd":%s,"usage":{"input_tokens":%s,"output_tokens":0},"modelUsage":{"m":{"inputTokens":%s,"outputTokens":0,"cacheReadInputTokens":0,"cacheCreationInputTokens":0,"costUSD":%s}}}\n' $2 $1 $1 $2; }
hand() { printf '{"stage_id":"%s","status":"%s","deliverables":[],"notes":"n"%s}' "$stage" "$1" "$2" >.autometta/outbox/handoff.json; }
judge() { printf '{"stage_id":"%s","overall":"%s","headline":"Do the work","criteria":[{"id":1,"name":"it works","verdict":"%s","evidence":"a.txt:1"}],"additional_findings":""}' "$stage" "$1" "$1" >.autometta/outbox/verdict.json; }
stage=$1
"#;

/// 1 fails its gate, 2 is refused by both verifiers, 3 asks, and once answered it passes.
const WORKER: &str = r#"
if [ "$stage" = 02-next ]; then mkdir -p n; echo next >n/b.txt; rm gone.txt; hand pass
elif [ -e "$T/../repo/state/answers/01-work.md" ]; then echo 'good and answered' >a.txt; hand pass
else case $2 in
  *.1.worker*) echo wrong >a.txt; hand pass ;;
  *.2.worker*) echo 'good but refused' >a.txt; hand pass ;;
  *) hand blocked ',"question":"Which?"' ;;
esac; fi
say 2000 0.02"#;

const VERIFIER: &str = "if grep -qs refused a.txt; then judge FAIL; else judge PASS; fi\nsay 300 0.003";

fn card(stage: &str, metadata: &str, deliverables: &str, gate: &str) -> String {
    format!(
        "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** Stub Worker <stub@local>\n{metadata}\n\
         ## Objective\nDo it.\n\n## Deliverables\n{deliverables}\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\n{gate}\n```\n"
    )
}

/// One night, and where its copies are.
pub struct World {
    night: Night,
    copies: PathBuf,
}

/// What one process met: who, where, for the how manieth time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passage {
    pub actor: String,
    pub point: String,
    pub occurrence: u64,
    pub about: String,
}

/// What has become of a night.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Must be equal.
    pub fixed: Value,
    /// What each run was charged, and how it ended.
    pub runs: BTreeMap<String, (String, u64)>,
    /// The ledger's transitions with how often each took place.
    pub ledger: BTreeMap<String, usize>,
    pub tokens: u64,
}

impl World {
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let night = Night::bare_in(&folder);
        let stubs = night.base().join("stubs").display().to_string();
        night.stub("worker", &format!("{SPEAK}{WORKER}"));
        night.stub("verifier", &format!("{SPEAK}{VERIFIER}"));
        let told = night.t().join("told").display().to_string();
        let manifest = format!(
            "version: 1\nbase_branch: main\nfamilies:\n  \
             stub: {{identities: [\"Stub*\"], decoder: claude, command: [\"{stubs}/worker\", \"{{stage}}\", \"{{run}}\"], pass_env: [T]}}\n  \
             judge: {{identities: [\"Judge*\"], decoder: claude, command: [\"{stubs}/verifier\", \"{{stage}}\", \"{{run}}\"], pass_env: [T]}}\n\
             defaults: {{worker_tokens: 50000, verifier_tokens: 20000}}\n\
             retry: {{work: 4, verifier: 4, infrastructure: 4}}\nretention: {{finished_stages: 1}}\nlink: [linked]\n\
             caps: {{tokens: 2000000, ticks: 10000, consecutive_failures: 100}}\n\
             notify: [sh, -c, 'echo \"$1\" >>{told}', sh, \"{{kind}}\"]\n"
        );
        night.write(".autometta.yaml", &manifest);
        night.write(".gitignore", "/state/\n/linked\n");
        night.write("gone.txt", "goes\n");
        night.write("linked/kept", "");
        let panel = "- **Verifier panel:** 2 of Judge One <one@local>; Judge Two <two@local>\n";
        night.write("stage-cards/01-work.md", &card("01-work", panel, "1. `a.txt`: the work", "grep -q good a.txt"));
        let one = "- **Verifier:** Judge One <one@local>\n- **Depends on:** 01-work\n- **Path claims:** n/, gone.txt\n";
        night.write(SECOND, &card("02-next", one, "1. `n/b.txt`", "test -s n/b.txt"));
        night.ok(&["init"]);
        night.git(&["add", "-A"]);
        night.git(&["commit", "-qm", "Cards"]);
        let copies = tempfile::Builder::new().prefix("autometta-copies-").tempdir_in(&folder).expect("dir").keep();
        Self { night, copies }
    }

    pub fn base(&self) -> PathBuf {
        self.night.base()
    }

    fn faults(&self) -> PathBuf {
        self.base().join("faults")
    }

    /// Keeps a copy of everything.
    pub fn keep(&self, number: usize) {
        Self::copy(&self.base(), &self.copies.join(number.to_string()));
    }

    /// Brings a copy back.
    pub fn bring_back(&self, number: usize) {
        for entry in fs::read_dir(self.base()).expect("folder").flatten() {
            fs::remove_dir_all(entry.path()).expect("removed");
        }
        Self::copy(&self.copies.join(number.to_string()), &self.base());
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("folder");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(from.join(".")).arg(to);
        let output = run(copy);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Does something, with these faults; waits until nothing of it lives. Says what was passed and whether the fault
    /// took place.
    pub fn act(&self, act: &Act, faults: &str) -> (Vec<Passage>, bool) {
        let folder = self.faults();
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("folder");
        let repo = self.night.repo.display().to_string();
        let arguments: Vec<&str> = match act {
            Act::Tick => vec!["tick", "--repo", &repo],
            Act::Command(words) => words.iter().map(String::as_str).collect(),
            Act::MoveBase => {
                self.night.write("theirs.txt", "theirs\n");
                for words in [&["add", "theirs.txt"][..], &["commit", "-qm", "Theirs"][..]] {
                    let _ = self.git(words);
                }
                return (Vec::new(), false);
            }
        };
        let mut command = self.night.command(&arguments);
        command.env("AUTOMETTA_FAULT_DIR", &folder);
        command.env("AUTOMETTA_FAULT", if faults.is_empty() { STILL.to_owned() } else { format!("{faults},{STILL}") });
        let output = run(command);
        quiet(&self.base());
        if faults.is_empty() && *act != Act::Tick {
            assert!(output.status.success(), "{act:?}: {}{}", text(&output.stdout), text(&output.stderr));
        }
        if self.night.repo.join("state/answers/01-work.md").exists()
            && !self.read("state/state.yaml").contains("status: blocked")
        {
            fs::write(self.night.t().join("answered"), "").expect("file");
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        let passages = log.lines().map(|line| {
            let mut words = line.splitn(4, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            let (actor, point, occurrence, about) = (word(), word(), word(), word());
            Passage { actor, point, occurrence: occurrence.parse().expect("number"), about }
        });
        let passages: Vec<Passage> = passages.collect();
        let met = passages.iter().any(|met| met.about.ends_with(" FAULT") && faults.contains(&met.point));
        (passages, met)
    }

    /// A command that is given while another one is at work.
    pub fn beside(&self, words: &[&str]) -> std::process::Output {
        let folder = self.base().join("faults-beside");
        fs::create_dir_all(&folder).expect("folder");
        let mut command = self.night.command(words);
        command.env("AUTOMETTA_FAULT_DIR", &folder).env("AUTOMETTA_FAULT", STILL);
        run(command)
    }

    /// Git by the operator's hand.
    fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(words).current_dir(&self.night.repo).env_clear();
        git.env("PATH", std::env::var("PATH").expect("PATH")).env("HOME", self.base().join("user"));
        text(&run(git).stdout)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.night.repo.join(path)).unwrap_or_default()
    }

    /// The state, a transaction under way included.
    fn state(&self) -> Value {
        let decided: Option<Value> = serde_json::from_str(&self.read("state/.txn.json")).ok();
        let decided = decided.and_then(|txn| txn["state"].as_str().map(str::to_owned));
        serde_saphyr::from_str(&decided.unwrap_or_else(|| self.read("state/state.yaml"))).unwrap_or_default()
    }

    /// What happens next, whatever has happened so far; none once the night is over.
    pub fn next(&self, idle: bool) -> Option<Act> {
        let state = self.state();
        let stage = |id: &str| {
            let stages = state["stages"].as_array().cloned().unwrap_or_default();
            stages.into_iter().find(|stage| stage["id"] == id)
        };
        let command = |words: &[&str]| Some(Act::Command(words.iter().map(|word| (*word).to_owned()).collect()));
        let answered = self.night.t().join("answered").exists();
        let moved = self.night.repo.join("theirs.txt").exists();
        if self.read("state/budget.json").contains("\"halted\": true") {
            // A program that could not be started, or the operator's own halt: whoever has looked lets the night go on.
            return command(&["resume"]);
        }
        let known = |id: &str| {
            let queued = [self.read("state/ledger.jsonl"), self.read("state/.txn.json").replace('\\', "")];
            queued.iter().any(|text| text.contains(&format!("\"stage\":\"{id}\",\"event\":\"queued\"")))
        };
        if !known("01-work") {
            return command(&["add-stage", "stage-cards/01-work.md"]);
        }
        if !known("02-next") && answered {
            return command(&["add-stage", SECOND]);
        }
        if stage("01-work").is_some_and(|stage| stage["status"] == "blocked") && !answered {
            return command(&["answer", "01-work", "--text", "This one."]);
        }
        if stage("01-work").is_some_and(|stage| stage["phase"] == "verifying") && answered && !moved {
            return Some(Act::MoveBase);
        }
        (!idle).then_some(Act::Tick)
    }

    /// All that the rest of the night depends on, without times and the names that follow from them.
    pub fn key(&self) -> String {
        let refs = self.git(&["for-each-ref", "--format=%(refname) %(objecttype) %(tree) %(contents:subject)"]);
        let refs: Vec<&str> = refs.lines().filter(|line| !line.starts_with("refs/autometta/state")).collect();
        let mut names = Vec::new();
        let state = self.night.repo.join("state");
        for folder in ["runs", "archive", "handoffs", "verifiers", "questions", "answers", "active-agents"] {
            list(&state.join(folder), &state, &mut names);
        }
        list(&self.base().join("repo.autometta"), &self.base(), &mut names);
        list(&self.night.repo.join(".git/worktrees"), &self.night.repo, &mut names);
        let budget: Value = serde_json::from_str(&self.read("state/budget.json")).unwrap_or_default();
        let mut ids = BTreeMap::new();
        let mut plain = |value: Value| timeless(value, &mut ids).to_string();
        format!(
            "{}\n{}\n{:#?}\n{refs:#?}\n{names:#?}\n{}",
            plain(self.state()),
            plain(budget),
            self.ledger(),
            self.git(&["status", "--porcelain", "--untracked-files=all"]),
        )
    }

    fn ledger(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for line in self.read("state/ledger.jsonl").lines() {
            // The next tick finishes a torn line.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let words =
                ["stage", "run", "event", "from", "to"].map(|name| line[name].as_str().unwrap_or("-").to_owned());
            *all.entry(words.join(" ")).or_default() += 1;
        }
        all
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
                // A halt that was looked into is told of as well.
                "told": told.lines().filter(|kind| *kind != "halt").collect::<std::collections::BTreeSet<_>>(),
            }),
            runs,
            ledger: self.ledger(),
            tokens: budget["tokens_spent"].as_u64().unwrap_or_default(),
        }
    }

    /// Whatever lies about that nobody will ever clear away.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.base().join("repo.autometta").exists() {
            left.push("repo.autometta".to_owned());
        }
        for path in ["state/.txn.json", "state/.tick.again"] {
            if self.night.repo.join(path).exists() {
                left.push(path.to_owned());
            }
        }
        for folder in ["state/active-agents", ".git/worktrees"] {
            list(&self.night.repo.join(folder), &self.night.repo, &mut left);
        }
        let mut all = Vec::new();
        list(&self.night.repo.join(".git"), &self.night.repo, &mut all);
        let ours = |name: &&String| {
            let name = name.rsplit('/').next().unwrap_or_default();
            Path::new(name).extension().is_some_and(|end| end == "lock") || name.starts_with("autometta-")
        };
        left.extend(all.iter().filter(|name| !name.contains("refs/")).filter(ours).cloned());
        let worktrees = self.git(&["worktree", "list"]);
        if worktrees.lines().count() > 1 {
            left.push(worktrees);
        }
        left
    }

    /// Whether nothing is left over, where the night is at its end.
    pub fn leftovers_match(&self, at_the_end: bool) -> bool {
        !at_the_end || self.leftovers().is_empty()
    }

    /// Whether the ledger's chain holds.
    pub fn verify(&self) {
        let output = run(self.night.command(&["log", "--verify"]));
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let fsck = self.git(&["fsck", "--no-dangling", "--no-progress"]);
        assert_eq!(fsck, "");
    }

    pub fn log(&self) -> String {
        let mut said = self.read("state/ledger.jsonl");
        for entry in fs::read_dir(self.base().join("home/log")).into_iter().flatten().flatten() {
            said += &fs::read_to_string(entry.path()).unwrap_or_default();
        }
        said
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.copies));
    }
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

fn list(folder: &Path, top: &Path, names: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(top).expect("below").display().to_string();
        let skipped = ["autometta-tmp", ".log", "logs/", "index"].iter().any(|part| name.contains(part));
        if !skipped {
            if path.is_dir() && !path.is_symlink() {
                list(&path, top, names);
            }
            names.push(name);
        }
    }
}

/// The same without times, counters of ticks, and commits' own names.
fn timeless(value: Value, ids: &mut BTreeMap<String, usize>) -> Value {
    const DROPPED: [&str; 12] = [
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
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(name, _)| !DROPPED.contains(&name.as_str()) && !name.ends_with("_at"))
                .map(|(name, value)| (name, timeless(value, ids)))
                .collect(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(|value| timeless(value, ids)).collect()),
        Value::String(text) if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let next = ids.len();
            Value::String(format!("id {}", ids.entry(text).or_insert(next)))
        }
        Value::String(text) => {
            // A commit's name in the middle of a sentence.
            let words: Vec<&str> =
                text.split(' ')
                    .map(|word| {
                        if word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) { "id" } else { word }
                    })
                    .collect();
            Value::String(words.join(" "))
        }
        other => other,
    }
}
