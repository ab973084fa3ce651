//! What is left of a soak, held against the model. Every finding is a sentence; a sound soak has none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::model::End;
use super::processes::{Kind, processes};
use super::support::night::{LIMIT, text};
use super::world::{OWN_WORK, Repo, World, names, word};

pub struct Audit<'a> {
    world: &'a World,
    pub findings: Vec<String>,
    pub files_left: usize,
    pub processes_left: usize,
    /// How many stages came to each end.
    pub ends: BTreeMap<String, usize>,
}

impl<'a> Audit<'a> {
    pub fn new(world: &'a World) -> Self {
        Self { world, findings: Vec::new(), files_left: 0, processes_left: 0, ends: BTreeMap::new() }
    }

    fn find(&mut self, repo: &Repo, what: impl Into<String>) {
        self.findings.push(format!("{}: {}", repo.name, what.into()));
    }

    /// All of it. `commits` says how many the operator made in each repository.
    pub fn all(&mut self, commits: &[usize]) {
        self.no_process();
        for (repo, commits) in self.world.repos.iter().zip(commits) {
            let stages = repo.stages();
            self.ends(repo, &stages);
            self.landings(repo, &stages, *commits);
            self.money(repo, &stages);
            self.ledger(repo);
            self.branches(repo, &stages);
            self.checkout(repo, *commits);
            self.leftovers(repo);
        }
        self.home();
    }

    /// A waker that nobody wants any more looks once a minute whether it is wanted, and is not waited for.
    fn no_process(&mut self) {
        let base = self.world.night.base().display().to_string();
        let wanted = self.world.repos.iter().any(|repo| repo.state("wake").exists());
        let left = || {
            let mut left = processes(&base);
            left.retain(|process| wanted || process.kind != Kind::Waker);
            left
        };
        let begun = Instant::now();
        while !left().is_empty() && begun.elapsed() < LIMIT / 6 {
            std::thread::sleep(Duration::from_millis(20));
        }
        for process in left() {
            self.processes_left += 1;
            let run = process.run.unwrap_or_default();
            self.findings.push(format!("a process lives on: {} {run} `{}`", process.pid, process.words));
        }
    }

    fn ends(&mut self, repo: &Repo, stages: &BTreeMap<String, Value>) {
        for (id, end) in &repo.ends {
            let Some(stage) = stages.get(id) else {
                self.find(repo, format!("{id} is nowhere"));
                continue;
            };
            let (status, code) = (word(stage, "/status"), word(stage, "/reason/code"));
            let reached = match end {
                End::Landed => status == "completed" && code.is_empty(),
                End::Over(modelled, codes) => status == *modelled && codes.contains(&code),
                End::Waits => status == "pending" && stage["attempt"] == 0,
            };
            if reached {
                *self.ends.entry(end.word()).or_default() += 1;
            } else {
                let detail = word(stage, "/reason/detail").lines().next().unwrap_or_default().to_owned();
                let story = text(&self.world.run(repo, &["log", "--stage", id]).stdout);
                self.find(repo, format!("{id} is to be {end:?}, and is {status} {code}: {detail}\n{story}"));
            }
        }
        if stages.len() != repo.ends.len() {
            self.find(repo, format!("{} stages, where {} were queued", stages.len(), repo.ends.len()));
        }
    }

    /// What stands on the base: each commit is a stage's or the operator's, each stage's once, and each tree was gated and,
    /// in what the stage changed, judged.
    fn landings(&mut self, repo: &Repo, stages: &BTreeMap<String, Value>, commits: usize) {
        let gated = gated(repo);
        let format = "--format=%H %T %(trailers:key=Autometta-Stage,valueonly,separator=) \
                      %(trailers:key=Autometta-Tree,valueonly,separator=) \
                      %(trailers:key=Autometta-Run,valueonly,separator=)";
        let mut landed = BTreeSet::new();
        let mut own = 0;
        for line in self.world.git(repo, &["log", "--first-parent", format, "main"]).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let &[commit, tree, id, sealed, _run] = words.as_slice() else {
                own += 1;
                continue;
            };
            if !landed.insert(id.to_owned()) {
                self.find(repo, format!("{id} landed twice"));
            }
            if tree != sealed {
                self.find(repo, format!("{id} landed {tree}, approved was {sealed}"));
            }
            if !gated.contains(&(id.to_owned(), tree.to_owned())) {
                self.find(repo, format!("{id} landed {tree}, which no gate of it has passed"));
            }
            if stages.get(id).is_some_and(|stage| stage["commit"] != *commit) {
                self.find(repo, format!("{id} landed as {commit}, its state says another"));
            }
            if let Err(why) = self.was_judged(repo, id, commit) {
                self.find(repo, format!("{id} landed as {commit}: {why}"));
            }
        }
        let expected: BTreeSet<String> =
            repo.ends.iter().filter(|(_, end)| **end == End::Landed).map(|(id, _)| id.clone()).collect();
        for id in landed.symmetric_difference(&expected) {
            self.find(repo, format!("{id} is on main or modelled to be, and not both"));
        }
        // `Begin` is the operator's as well.
        if own != commits + 1 {
            self.find(repo, format!("{own} commits on main are no stage's, the operator made {}", commits + 1));
        }
    }

    /// Whether the votes for a stage were about what it has landed: every path that the commit changes is in it what it is
    /// in the tree that was judged. A change that was put on a moved base is, and only its gates saw the rest.
    fn was_judged(&self, repo: &Repo, id: &str, commit: &str) -> Result<(), String> {
        let published = |name: String| -> Option<Value> {
            serde_json::from_slice(&fs::read(repo.state("verifiers").join(name)).ok()?).ok()
        };
        let seats: Vec<Value> = if id.contains("-split-") {
            (1..=3).filter_map(|seat| published(format!("{id}.seat-{seat}.json"))).collect()
        } else {
            published(format!("{id}.json")).into_iter().collect()
        };
        let votes: Vec<&Value> = seats.iter().filter(|seat| seat["overall"] == "PASS").collect();
        let quorum = if id.contains("-split-") { 2 } else { 1 };
        if votes.len() < quorum {
            return Err(format!("{} verdicts say PASS, and it takes {quorum}", votes.len()));
        }
        let judged: BTreeSet<&str> = votes.iter().map(|vote| word(vote, "/candidate_tree")).collect();
        let [judged] = judged.into_iter().collect::<Vec<_>>()[..] else {
            return Err("its verdicts are about several trees".to_owned());
        };
        if votes.iter().any(|vote| word(vote, "/family") == word(vote, "/worker_family")) {
            return Err("a verifier of its worker's family judged it".to_owned());
        }
        let changed = self.world.git(repo, &["diff-tree", "-r", "--no-commit-id", "--name-only", commit]);
        let paths: Vec<&str> = changed.lines().collect();
        let at = |tree: &str| {
            let mut args = vec!["ls-tree", "-r", tree, "--"];
            args.extend(&paths);
            self.world.git(repo, &args)
        };
        let plan = repo.plans.iter().find(|plan| plan.id == id).ok_or("nobody has queued it")?;
        if paths != [format!("{}/{id}.txt", plan.area)] {
            return Err(format!("it changes {paths:?}"));
        }
        if at(commit) == at(judged) { Ok(()) } else { Err(format!("it differs from {judged}, which was judged")) }
    }

    /// Every run is charged once, nothing is set aside any more, and nothing halted.
    fn money(&mut self, repo: &Repo, stages: &BTreeMap<String, Value>) {
        let budget = repo.budget();
        let (mut tokens, mut cost, mut runs) = (0, 0.0, BTreeSet::new());
        for past in stages.values().flat_map(|stage| stage["history"].as_array().cloned().unwrap_or_default()) {
            tokens += past["tokens"].as_u64().unwrap_or_default();
            cost += past["cost_usd"].as_f64().unwrap_or_default();
            let run = word(&past, "/run").to_owned();
            if runs.contains(&run) {
                self.find(repo, format!("{run} is in the history twice"));
            }
            runs.insert(run);
        }
        for spent in ["tokens_spent", "lifetime_tokens_spent"] {
            if budget[spent].as_u64() != Some(tokens) {
                self.find(repo, format!("{spent} is {}, the runs were charged {tokens}", budget[spent]));
            }
        }
        let spent = budget["cost_spent_usd"].as_f64().unwrap_or_default();
        if (spent - cost).abs() > 1e-6 {
            self.find(repo, format!("cost_spent_usd is {spent}, the runs were charged {cost}"));
        }
        for reserved in ["tokens_reserved", "cost_reserved_usd", "wall_clock_reserved_seconds"] {
            if budget[reserved].as_f64() != Some(0.0) {
                self.find(repo, format!("{reserved} is {} with nothing in flight", budget[reserved]));
            }
        }
        if budget["halted"] != false {
            self.find(repo, format!("halted: {}", budget["halt_reasons"]));
        }
    }

    fn ledger(&mut self, repo: &Repo) {
        for args in [["log", "--verify"], ["log", "--replay"]] {
            let output = self.world.run(repo, &args);
            if !output.status.success() {
                let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
                self.find(repo, format!("{args:?} exited {:?}: {said}", output.status.code()));
            }
        }
        let fsck = self.world.git_raw(repo, &["fsck", "--no-dangling", "--no-progress"]);
        if !fsck.status.success() || !fsck.stderr.is_empty() {
            self.find(repo, format!("git fsck: {}{}", text(&fsck.stdout), text(&fsck.stderr)));
        }
    }

    /// A stage that landed or never began has no run branch; work that did not land is on `wip/`, by its attempts. What an
    /// agent committed on its run branch and did not hand in is kept aside.
    fn branches(&mut self, repo: &Repo, stages: &BTreeMap<String, Value>) {
        let refs = self.world.git(repo, &["for-each-ref", "--format=%(refname)"]);
        for name in refs.lines() {
            let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
            let known = match (branch.strip_prefix("autometta/"), branch.strip_prefix("wip/")) {
                (Some(id), _) => matches!(repo.ends.get(id), Some(End::Over(..))),
                (_, Some(kept)) => kept.split_once("-attempt-").is_some_and(|(id, attempt)| {
                    let attempt = attempt.split("-r").next().and_then(|attempt| attempt.parse::<u64>().ok());
                    stages.get(id).is_some_and(|stage| attempt.is_some() && attempt <= stage["attempt"].as_u64())
                }),
                _ => branch == "main" || name == "refs/autometta/state" || is_a_meddler_s(name),
            };
            if !known {
                self.find(repo, format!("the ref {name} is left"));
            }
        }
    }

    /// The operator's checkout is on the tip, and has the operator's own work and no other.
    fn checkout(&mut self, repo: &Repo, commits: usize) {
        let head = self.world.git(repo, &["symbolic-ref", "HEAD"]);
        let status = self.world.git(repo, &["status", "--porcelain", "--untracked-files=all"]);
        if head != "refs/heads/main" || status.trim() != "M DIARY.md\n?? notes/private.txt" {
            self.find(repo, format!("the checkout is on {head}, and its status is\n{status}"));
        }
        let commits = (1..=commits).map(|number| (format!("operator/{number}.txt"), "mine\n"));
        for (path, content) in commits.chain(OWN_WORK.map(|(path, content)| (path.to_owned(), content))) {
            if fs::read_to_string(repo.path.join(&path)).ok().as_deref() != Some(content) {
                self.find(repo, format!("{path} is the operator's, and is not what it was"));
            }
        }
    }

    /// Worktrees, locks, temporary files, and whatever only stands while somebody works.
    fn leftovers(&mut self, repo: &Repo) {
        let listed = self.world.git(repo, &["worktree", "list"]);
        let mut left: Vec<String> = listed.lines().skip(1).map(|line| format!("worktree {line}")).collect();
        let beside = repo.path.with_file_name(format!("{}.autometta", repo.name));
        let folders =
            [beside, repo.path.join(".git/worktrees"), repo.state("active-agents"), repo.state("git/worktrees")];
        for folder in folders {
            left.extend(names(&folder).iter().map(|name| folder.join(name).display().to_string()));
        }
        for name in [".txn.json", ".tick.busy", ".tick.again", "wake"] {
            left.extend(Some(repo.state(name)).filter(|path| path.exists()).map(|path| path.display().to_string()));
        }
        walk(&repo.path, &mut |path, name| {
            // Files that are locked rather than made and removed.
            let stays = ["run.lock", ".tick.lock", ".wake.lock", ".snapshot.lock"].contains(&name);
            let is_lock = Path::new(name).extension().is_some_and(|extension| extension == "lock");
            if (is_lock && !(stays && path.starts_with(repo.state("")))) || is_temporary(name) {
                left.push(path.display().to_string());
            }
        });
        self.files_left += left.len();
        for what in left {
            self.find(repo, format!("left behind: {what}"));
        }
    }

    fn home(&mut self) {
        let mut left = Vec::new();
        walk(&self.world.night.home, &mut |path, name| {
            if is_temporary(name) {
                left.push(path.to_path_buf());
            }
        });
        self.files_left += left.len();
        self.findings.extend(left.iter().map(|path| format!("left behind: {}", path.display())));
        let mut panics = Vec::new();
        walk(&self.world.night.base(), &mut |path, name| {
            let is_log = name == "supervisor.log" || name.starts_with("tick-") || name.starts_with("timer-");
            if is_log && fs::read(path).is_ok_and(|bytes| text(&bytes).contains("panicked at")) {
                panics.push(format!("{}: {}", path.display(), text(&fs::read(path).unwrap_or_default())));
            }
        });
        self.findings.extend(panics);
    }
}

fn is_temporary(name: &str) -> bool {
    let is_unnamed =
        name.split_once('-').is_some_and(|(pid, number)| pid.parse::<u32>().is_ok() && number.parse::<u32>().is_ok());
    name.ends_with(".autometta-tmp") || name.starts_with("tmp_obj_") || name == "autometta-landing" || is_unnamed
}

/// Goes through every file and folder below one.
fn walk(folder: &Path, meet: &mut dyn FnMut(&Path, &str)) {
    let mut folders: Vec<PathBuf> = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            meet(&entry.path(), &entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
}

/// Each stage with each tree on which a gate run of it has passed.
fn gated(repo: &Repo) -> BTreeSet<(String, String)> {
    let mut gated = BTreeSet::new();
    let runs = repo.state("runs");
    for name in names(&runs).into_iter().filter(|name| name.contains(".gate")) {
        let read =
            |file: &str| -> Option<Value> { serde_json::from_slice(&fs::read(runs.join(&name).join(file)).ok()?).ok() };
        let (Some(order), Some(exit)) = (read("run.json"), read("exit.json")) else { continue };
        let passed = exit["exit"]["code"] == 0
            && exit["gates"].as_array().is_some_and(|gates| {
                !gates.is_empty() && gates.iter().all(|gate| gate["exit"]["code"] == 0 && gate["timed_out"] == false)
            });
        if passed {
            let stage = name.split('.').next().unwrap_or_default().to_owned();
            gated.insert((stage, word(&order, "/candidate_tree").to_owned()));
        }
    }
    gated
}

/// Whether a ref keeps what an agent has committed that moves its branch about.
fn is_a_meddler_s(name: &str) -> bool {
    name.strip_prefix("refs/autometta/aside/autometta/").is_some_and(|rest| rest.contains("-meddles-"))
}
