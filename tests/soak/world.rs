//! The box of a soak: one home, its repositories with their cards, and what can be read of them at any time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::model::{End, INFRASTRUCTURE_RETRIES, Plan, draw_stages, ends_of};
use super::support::dice::Dice;
use super::support::night::{Night, text};

const ONE: &str = "One Maker <maker@local>";
const TWO: &str = "Two Maker <second@local>";
const JUDGES: [&str; 3] = ["Judge A <judge-a@local>", "Judge B <judge-b@local>", "Judge C <judge-c@local>"];

/// What the operator has in each checkout and never commits.
pub const OWN_WORK: [(&str, &str); 2] = [("DIARY.md", "# Diary\n\nToday.\n"), ("notes/private.txt", "mine\n")];

pub struct World {
    pub night: Night,
    pub repos: Vec<Repo>,
}

/// One repository of the fleet.
pub struct Repo {
    pub name: String,
    pub path: PathBuf,
    pub plans: Vec<Plan>,
    pub ends: BTreeMap<String, End>,
    /// Whether its operator lifts pauses before their time.
    pub attended: bool,
}

impl World {
    /// So many stages over so many repositories, queued. Pauses of every fourth repository end by themselves, where that
    /// may take its minute.
    pub fn build(stages: usize, repos: usize, seed: u64, patient: bool) -> Self {
        let night = Night::bare();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        for (name, text) in [("worker", include_str!("worker.sh")), ("judge", include_str!("judge.sh"))] {
            night.stub(name, text);
        }
        let refusal = fs::read(fixtures.join("fixtures/agent-output/claude-429.jsonl")).expect("fixture");
        fs::write(night.t().join("claude-429.jsonl"), refusal).expect("fixture");
        fs::create_dir_all(&night.home).expect("home");
        let places = repos + 2;
        fs::write(night.home.join("config.yaml"), format!("fleet: {{agents_at_once: {places}}}\n")).expect("config");
        let mut world = Self { night, repos: Vec::new() };
        let mut first = 0;
        for number in 0..repos {
            let count = stages / repos + usize::from(number < stages % repos);
            let mut dice = Dice::of(seed, number as u64);
            let plans = draw_stages(&mut dice, first, count);
            first += count;
            let name = format!("r{number:02}");
            let repo = Repo {
                path: world.night.base().join(&name),
                ends: ends_of(&plans),
                attended: !patient || number % 4 != 3,
                name,
                plans,
            };
            world.found(&repo, number);
            world.repos.push(repo);
        }
        world
    }

    fn found(&self, repo: &Repo, number: usize) {
        let write = |path: &str, text: &str| {
            let path = repo.path.join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, text).expect("file");
        };
        write("README.md", "# Repo\n");
        write("DIARY.md", "# Diary\n");
        write(".gitignore", "/state/\n/.autometta.local.yaml\n");
        write(".autometta.yaml", &self.manifest(number));
        for plan in &repo.plans {
            write(&format!("stage-cards/{}.md", plan.id), &self.card(plan));
        }
        self.git(repo, &["init", "-q", "-b", "main"]);
        self.git(repo, &["config", "user.name", "Operator"]);
        self.git(repo, &["config", "user.email", "operator@local"]);
        self.ok(repo, &["init"]);
        self.git(repo, &["add", "-A"]);
        self.git(repo, &["commit", "-qm", "Begin"]);
        self.ok(repo, &["subscribe", "--weight", &number.to_string()]);
        let cards: Vec<String> = repo.plans.iter().map(|plan| format!("stage-cards/{}.md", plan.id)).collect();
        let queue: Vec<&str> = std::iter::once("add-stage").chain(cards.iter().map(String::as_str)).collect();
        self.ok(repo, &queue);
        for (path, text) in OWN_WORK {
            write(path, text);
        }
    }

    fn manifest(&self, number: usize) -> String {
        let stubs = self.night.base().join("stubs");
        let (stubs, parallel) = (stubs.display(), [2, 3, 4, 1][number % 4]);
        let together = if number % 2 == 1 { ", max_parallel: 2" } else { "" };
        let gates = if number % 2 == 1 { "gates: [{name: standing, run: 'test -s README.md'}]\n" } else { "" };
        let family = |name: &str, identities: &str, decoder: &str, stub: &str, more: &str| {
            format!(
                "  {name}: {{identities: [\"{identities}\"], decoder: {decoder}, command: [\"{stubs}/{stub}\", \
                 \"{{stage}}\", \"{{run}}\"], pass_env: [T]{more}}}\n"
            )
        };
        let families = [
            family("one", "One*", "claude", "worker", ""),
            family("two", "Two*", "plain", "worker", ""),
            family("judge", "Judge*", "codex", "judge", together),
        ]
        .concat();
        format!(
            "version: 1\nbase_branch: main\nfamilies:\n{families}{gates}max_parallel: {parallel}\n\
             retry: {{work: 1, verifier: 2, infrastructure: {INFRASTRUCTURE_RETRIES}}}\nbreaker: {{failures: 0}}\n\
             retention: {{finished_stages: 5}}\n\
             defaults: {{worker_tokens: 50000, verifier_tokens: 20000, output_limit_mb: 1, worker_wall_clock: 2m, \
             verifier_wall_clock: 2m, gate_timeout: 2m}}\n\
             caps: {{tokens: 2000000000, wall_clock: 1000 hours, ticks: 10000000, consecutive_failures: 1000000}}\n"
        )
    }

    fn card(&self, plan: &Plan) -> String {
        let Plan { id, area, .. } = plan;
        let file = format!("{area}/{id}.txt");
        let mut metadata = format!("- **Worker:** {ONE}\n- **Priority:** {}\n", plan.priority);
        let [a, b, c] = JUDGES;
        if plan.judge.word.starts_with("split-") {
            let _ = writeln!(metadata, "- **Verifier panel:** 2 of {a}; {b}; {c}");
        } else {
            let _ = writeln!(metadata, "- **Verifier:** {a}");
        }
        if !plan.depends_on.is_empty() {
            let _ = writeln!(metadata, "- **Depends on:** {}", plan.depends_on.join(", "));
        }
        if plan.claims_area {
            let _ = writeln!(metadata, "- **Path claims:** {area}/");
        }
        let mut budget = String::new();
        let worker_time = match plan.work.word {
            "hangs" => Some(2),
            "climbs" | "orphans" | "floods" => Some(4),
            _ => None,
        };
        if let Some(seconds) = worker_time {
            let _ = writeln!(budget, "- **Worker wall-clock:** {seconds}s");
        }
        if plan.judge.word == "dawdles" {
            budget.push_str("- **Verifier wall-clock:** 4s\n");
        }
        if plan.work.word == "climbs" {
            let _ = writeln!(metadata, "- **Escalation:** {TWO}");
        }
        let mark = self.night.t().join(format!("flaky.{id}"));
        let (fence, gate) = match plan.gate.word {
            "flaky" => (" retries=1", format!("if mkdir {} 2>/dev/null; then echo once; exit 1; fi\n", mark.display())),
            "slow" => ("", "sleep 0.3\n".to_owned()),
            // What is wrong already is told at once.
            "stuck" => (" timeout=2s", format!("! grep -q work {file} || sleep 20\n")),
            _ => ("", String::new()),
        };
        format!(
            "# Stage card {id}: Do the work\n\n## Metadata\n{metadata}\n## Objective\nDo it.\n\n## Deliverables\n\
             1. `{file}`: the work\n\n## Acceptance criteria\n1. it works\n\n\
             ## Acceptance command\n```sh{fence}\n{gate}grep -q work {file}\n```\n\n## Budget\n{budget}"
        )
    }

    pub fn command(&self, repo: &Repo, args: &[&str]) -> Command {
        let mut command = self.night.command(args);
        command.current_dir(&repo.path);
        command
    }

    pub fn run(&self, repo: &Repo, args: &[&str]) -> Output {
        self.command(repo, args).output().expect("the binary runs")
    }

    pub fn ok(&self, repo: &Repo, args: &[&str]) -> String {
        let output = self.run(repo, args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{} {args:?}: {}\n{out}\n{err}", repo.name, output.status);
        out
    }

    pub fn git_raw(&self, repo: &Repo, args: &[&str]) -> Output {
        let mut git = Command::new("git");
        git.args(args).current_dir(&repo.path).env_clear().env("PATH", std::env::var("PATH").expect("PATH"));
        git.env("HOME", self.night.base().join("user")).env("GIT_CONFIG_NOSYSTEM", "1").output().expect("git runs")
    }

    pub fn git(&self, repo: &Repo, args: &[&str]) -> String {
        let output = self.git_raw(repo, args);
        assert!(output.status.success(), "{}: git {args:?}: {}", repo.name, text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }
}

impl Repo {
    /// A file of the state, as it is now.
    pub fn state(&self, path: &str) -> PathBuf {
        self.path.join("state").join(path)
    }

    /// Every stage, the archived ones as well.
    pub fn stages(&self) -> BTreeMap<String, Value> {
        let read = |path: &Path| -> Value {
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        // In this order: a stage that is archived in between is seen twice rather than never.
        let current = read(&self.state("state.yaml"));
        let archive = names(&self.state("archive"));
        let archived =
            archive.iter().filter(|name| name.strip_suffix(".yaml").is_some_and(|id| self.ends.contains_key(id)));
        let archived = archived.map(|name| read(&self.state("archive").join(name)));
        let id = |stage: &Value| stage["id"].as_str().expect("id").to_owned();
        let mut all: BTreeMap<String, Value> = archived.map(|stage| (id(&stage), stage)).collect();
        all.extend(current["stages"].as_array().expect("stages").iter().map(|stage| (id(stage), stage.clone())));
        all
    }

    pub fn budget(&self) -> Value {
        let path = self.state("budget.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The stages that are not where they are to come to rest, and that rest nowhere else.
    pub fn unfinished(&self, stages: &BTreeMap<String, Value>) -> Vec<String> {
        let rests = |id: &String, stage: &Value| {
            let (status, code) = (word(stage, "/status"), word(stage, "/reason/code"));
            let chores = stage["chores"].as_array().is_some_and(|chores| !chores.is_empty());
            let asks = code == "question" && id.contains("-asked-");
            match status {
                "pending" => self.ends[id] == End::Waits,
                "in_progress" => false,
                _ => !chores && !asks,
            }
        };
        self.ends.keys().filter(|id| !stages.get(*id).is_some_and(|stage| rests(id, stage))).cloned().collect()
    }
}

/// A word somewhere in a value; empty where there is none.
pub fn word<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

/// What stands in a folder; nothing where there is none.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
