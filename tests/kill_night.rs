//! Nights in which processes are killed at random moments, against the same nights left in peace.
//!
//! `AUTOMETTA_KILL_SEED` chooses the order of kills; the seed of a night is printed when it fails.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::expect_used,
    reason = "tests build their world by hand and say which seed they took"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::dice::Dice;
use support::night::Night;

/// How long one night may take.
const NIGHT: Duration = Duration::from_secs(150);
/// How many supervisors and agents of one role in one attempt are killed at most: the policy allows 20 retries.
const PER_ROLE: u32 = 14;
/// How long a victim of one kind is waited for.
const PATIENCE: Duration = Duration::from_millis(150);
/// How many ticks of the timer may be alive at once.
const TIMERS: usize = 3;

/// The seed that was given, or one of the moment; it is printed.
fn dice() -> Dice {
    let given = std::env::var("AUTOMETTA_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock");
        u64::from(now.subsec_nanos())
    });
    println!("AUTOMETTA_KILL_SEED={seed}");
    Dice::new(seed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tick,
    Supervisor,
    Agent,
}

struct Victim {
    pid: i32,
    kind: Kind,
    /// The run's role in its attempt, without retries.
    role: Option<String>,
}

/// A card of a night.
struct Card {
    stage: &'static str,
    metadata: &'static str,
    file: &'static str,
    gate: String,
    script: String,
}

fn card(stage: &'static str, metadata: &'static str, file: &'static str, script: &str) -> Card {
    // Both last long enough to be killed in the middle.
    let gate = format!("sleep 0.2; test -s {file}");
    Card { stage, metadata, file, gate, script: format!("sleep 0.2; {script}") }
}

fn write_card(night: &Night, card: &Card, worker: &str, verifier: &str) {
    let Card { stage, metadata, file, gate, script } = card;
    let text = format!(
        "# Stage card {stage}: Do the work\n\n## Metadata\n- **Worker:** {worker}\n- **Verifier:** {verifier}\n\
         {metadata}\n## Objective\nDo it.\n\n## Deliverables\n1. `{file}`: the work\n\n## Acceptance criteria\n\
         1. it works\n\n## Acceptance command\n```sh\n{gate}\n```\n\n## Script\n```sh\n{script}\n```\n"
    );
    night.write(&format!("stage-cards/{stage}.md"), &text);
}

const RETRY: &str = "max_parallel: 2\nretry: {work: 1, verifier: 20, infrastructure: 20}\n\
                     retention: {finished_stages: 3}\n\
                     caps: {tokens: 2000000000, wall_clock: 240 hours, ticks: 1000000, consecutive_failures: 1000}";

/// The night with the built-in families. Its last stage goes on only once `$T/kills-are-over` exists.
fn night_of_scripts() -> Night {
    let night = Night::bare();
    night.manifest(RETRY);
    night.ok(&["init"]);
    let over = night.t().join("kills-are-over").display().to_string();
    let asks = r#"printf '{"stage_id":"07-asks","status":"blocked","deliverables":[],"notes":"n","question":"Which?"}' >.autometta/outbox/handoff.json"#;
    let mut cards = vec![
        card("01-base", "", "base.txt", "echo base >base.txt"),
        card("02-left", "- **Depends on:** 01-base\n", "left.txt", "cat base.txt >left.txt"),
        card("03-right", "- **Depends on:** 01-base\n", "right.txt", "cat base.txt >right.txt; sleep 0.1"),
        card("04-share", "- **Path claims:** shared/\n", "shared/a.txt", "mkdir -p shared; echo a >shared/a.txt"),
        card("05-share-too", "- **Path claims:** shared/\n", "shared/b.txt", "mkdir -p shared; echo b >shared/b.txt"),
        card("06-gate-fails", "", "wrong.txt", "echo wrong >wrong.txt"),
        card("07-asks", "", "asks.txt", asks),
        card("08-breaks", "", "breaks.txt", "echo half >breaks.txt; exit 3"),
        card("09-sleeps", "", "sleeps.txt", "sleep 1; echo slept >sleeps.txt"),
        card(
            "10-join",
            "- **Depends on:** 02-left, 03-right, 04-share, 05-share-too\n",
            "join.txt",
            "cat left.txt right.txt shared/a.txt shared/b.txt >join.txt",
        ),
        card("11-after", "- **Depends on:** 09-sleeps\n", "after.txt", "cat sleeps.txt >after.txt"),
        card(
            "12-last",
            "- **Depends on:** 10-join, 11-after\n- **Priority:** 9\n",
            "last.txt",
            &format!("while [ ! -e '{over}' ]; do sleep 0.05; done; echo last >last.txt"),
        ),
    ];
    cards[5].gate = String::from("sleep 0.2; grep -q right wrong.txt");
    begin(&night, &cards, "Script Runner <script@local>", "Check Again <check@local>");
    night
}

/// A night whose agents speak as Claude Code does: every worker run uses 2000 tokens, or 1000 of them when it is
/// killed halfway, and every verifier run 300.
fn night_with_tokens() -> Night {
    let night = Night::bare();
    let stubs = night.base().join("stubs").display().to_string();
    let say = |id: &str, tokens: u32| {
        format!(
            r#"echo '{{"type":"assistant","message":{{"id":"{id}","type":"message","role":"assistant","model":"claude-opus-4-8","content":[{{"type":"text","text":"so"}}],"usage":{{"input_tokens":{tokens},"output_tokens":1}}}}}}'"#
        )
    };
    let done = |tokens: u32, dollars: &str| {
        format!(
            r#"echo '{{"type":"result","subtype":"success","is_error":false,"result":"done","total_cost_usd":{dollars},"usage":{{"input_tokens":{tokens},"output_tokens":0}},"modelUsage":{{"claude-opus-4-8":{{"inputTokens":{tokens},"outputTokens":0,"cacheReadInputTokens":0,"cacheCreationInputTokens":0,"costUSD":{dollars}}}}}}}'"#
        )
    };
    let over = night.t().join("kills-are-over").display().to_string();
    night.stub(
        "worker",
        &format!(
            "{}\nsleep 0.1\nif [ $1 = 25-last ]; then while [ ! -e '{over}' ]; do sleep 0.05; done; fi\n\
             echo work >$1.txt\n{}\n{}",
            say("one", 999),
            support::night::HAND_IN,
            done(2000, "0.02")
        ),
    );
    night.stub("verifier", &format!("{}\n{}", support::night::SAY_PASS, done(300, "0.003")));
    night.manifest(&format!(
        "  metered: {{identities: [\"Metered*\"], decoder: claude, command: [\"{stubs}/worker\", \"{{stage}}\", \"{{run}}\"]}}\n  \
         appraiser: {{identities: [\"Appraiser*\"], decoder: claude, command: [\"{stubs}/verifier\", \"{{stage}}\", \"{{run}}\"]}}\n\
         defaults: {{worker_tokens: 50000, verifier_tokens: 20000}}\n{RETRY}"
    ));
    night.ok(&["init"]);
    let cards = vec![
        card("21-one", "", "21-one.txt", "true"),
        card("22-two", "- **Depends on:** 21-one\n", "22-two.txt", "true"),
        card("23-three", "", "23-three.txt", "true"),
        card("24-four", "", "24-four.txt", "true"),
        card("25-last", "- **Depends on:** 22-two, 23-three, 24-four\n- **Priority:** 9\n", "25-last.txt", "true"),
    ];
    begin(&night, &cards, "Metered Worker <metered@local>", "Appraiser <appraiser@local>");
    night
}

fn begin(night: &Night, cards: &[Card], worker: &str, verifier: &str) {
    let mut queue = vec!["add-stage".to_owned()];
    for card in cards {
        write_card(night, card, worker, verifier);
        queue.push(format!("stage-cards/{}.md", card.stage));
    }
    night.git(&["add", "-A"]);
    night.git(&["commit", "-qm", "Cards"]);
    night.ok(&queue.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The living processes of a night, with what they are.
fn processes(night: &Night) -> Vec<Victim> {
    let base = night.base().display().to_string();
    let runs = night.repo.join("state/runs").display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some((zombie, group)) = stat(pid) else { continue };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let words: Vec<String> =
            read("cmdline").split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let environ = String::from_utf8_lossy(&read("environ")).into_owned();
        if zombie || !(environ.contains(&base) || words.iter().any(|word| word.contains(&base))) {
            continue;
        }
        let ours = words[0] == env!("CARGO_BIN_EXE_autometta");
        let word = words.get(1).map_or("", String::as_str);
        let run = environ.split('\0').find_map(|entry| entry.strip_prefix("AUTOMETTA_RUN="));
        let (kind, run) = match (ours, word, run) {
            (true, "tick", _) => (Kind::Tick, None),
            (true, "__supervise", _) => (Kind::Supervisor, words[2].strip_prefix(&format!("{runs}/"))),
            (_, _, Some(run)) if group == pid => (Kind::Agent, Some(run)),
            _ => continue,
        };
        found.push(Victim { pid, kind, role: run.map(|run| run.split(".r").next().unwrap_or(run).to_owned()) });
    }
    found
}

/// Whether a process is dead but not reaped, and its process group.
fn stat(pid: i32) -> Option<(bool, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some((zombie, fields.nth(1)?.parse().ok()?))
}

/// The timer: ticks that are started again and again, and reaped.
struct Timer<'a> {
    night: &'a Night,
    ticks: Vec<Child>,
    last: Instant,
}

impl<'a> Timer<'a> {
    fn new(night: &'a Night) -> Self {
        Self { night, ticks: Vec::new(), last: Instant::now() }
    }

    fn turn(&mut self) {
        self.ticks.retain_mut(|tick| tick.try_wait().expect("wait").is_none());
        if self.ticks.len() < TIMERS && self.last.elapsed() > Duration::from_millis(70) {
            self.last = Instant::now();
            let mut tick = self.night.command(&["tick", "--repo", &self.night.repo.display().to_string()]);
            self.ticks.push(tick.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("tick"));
        }
    }

    /// Ticks until something holds.
    fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            self.turn();
            assert!(begun.elapsed() < NIGHT, "in vain: {what}\n{}", self.night.ok(&["log"]));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn end(mut self) {
        for tick in &mut self.ticks {
            tick.wait().expect("wait");
        }
    }
}

/// Kills this many processes of a night at random moments; says how many of each kind it were.
fn kills(night: &Night, timer: &mut Timer<'_>, dice: &mut Dice, count: u32, kinds: &[Kind]) -> BTreeMap<Kind, u32> {
    let begun = Instant::now();
    let (mut killed, mut of_role) = (BTreeMap::new(), BTreeMap::<String, u32>::new());
    while killed.values().sum::<u32>() < count {
        assert!(begun.elapsed() < NIGHT, "only {killed:?} were killed\n{}", night.ok(&["log"]));
        // A kind first, and then its turn is awaited: ticks are everywhere, and a night whose ticks all die goes nowhere.
        let kind = kinds[dice.below(kinds.len())];
        let pause = Duration::from_millis(dice.below(60) as u64);
        let waited = Instant::now();
        let mut victims = Vec::new();
        while waited.elapsed() < pause || (victims.is_empty() && waited.elapsed() < PATIENCE) {
            timer.turn();
            std::thread::sleep(Duration::from_millis(5));
            victims = processes(night);
            victims.retain(|victim| {
                let spared = victim.role.as_ref().is_some_and(|role| of_role.get(role).copied() >= Some(PER_ROLE));
                victim.kind == kind && !spared
            });
        }
        if victims.is_empty() {
            continue;
        }
        let victim = &victims[dice.below(victims.len())];
        let lives = stat(victim.pid).is_some_and(|(zombie, _)| !zombie);
        if lives && kill(Pid::from_raw(victim.pid), Signal::SIGKILL).is_ok() {
            *killed.entry(kind).or_default() += 1;
            if let Some(role) = &victim.role {
                *of_role.entry(role.clone()).or_default() += 1;
            }
        }
    }
    killed
}

/// Every stage, the archived ones first.
fn stages(night: &Night) -> Vec<Value> {
    // In this order: a stage that is archived in between is seen twice rather than never.
    let current = night.status()["stages"].as_array().expect("stages").clone();
    let folder = night.repo.join("state/archive");
    let mut all: Vec<Value> = names(&folder)
        .iter()
        .map(|name| serde_saphyr::from_str(&fs::read_to_string(folder.join(name)).expect("stage")).expect("stage"))
        .filter(|stage: &Value| current.iter().all(|known| known["id"] != stage["id"]))
        .collect();
    all.extend(current);
    all
}

fn is_over(stage: &Value) -> bool {
    stage["status"] != "pending" && stage["status"] != "in_progress"
}

/// Lets a night run to its end: the last stage goes on, and everything around it is put in order.
fn finish(night: &Night, mut timer: Timer<'_>) {
    let last = stages(night).last().expect("stages")["id"].clone();
    timer.until("every stage but the last is over", || {
        stages(night).iter().all(|stage| stage["id"] == last || is_over(stage))
    });
    fs::write(night.t().join("kills-are-over"), "").expect("file");
    timer.until("every stage is over", || stages(night).iter().all(is_over));
    timer.until("nothing is left to be done", || {
        stages(night).iter().all(|stage| stage["chores"].as_array().is_none_or(Vec::is_empty))
    });
    timer.end();
    night.wait("nothing of the night lives", || processes(night).is_empty());
}

/// What must not depend on kills: how every stage ended, what landed, the money, the operator's checkout.
fn outcome(night: &Night) -> Value {
    let ends: BTreeMap<String, Value> = stages(night)
        .iter()
        .map(|stage| {
            let end = serde_json::json!([stage["status"], stage["reason"]["code"], stage["attempt"]]);
            (stage["id"].as_str().expect("id").to_owned(), end)
        })
        .collect();
    let mut landed = BTreeMap::new();
    let format = "--format=%H %T %(trailers:key=Autometta-Stage,valueonly,separator=) \
                  %(trailers:key=Autometta-Tree,valueonly,separator=)";
    for line in night.git(&["log", "--first-parent", format, "main"]).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[commit, tree, stage, sealed] = words.as_slice() else { continue };
        assert_eq!(tree, sealed, "{stage} landed another tree than the one that was approved");
        let change = night.git(&["diff-tree", "-r", "--no-commit-id", commit]);
        assert_eq!(landed.insert(stage.to_owned(), change), None, "{stage} landed twice");
    }
    let budget = night.budget();
    for reserved in ["tokens_reserved", "cost_reserved_usd", "wall_clock_reserved_seconds"] {
        assert_eq!(budget[reserved].as_f64(), Some(0.0), "{reserved} with nothing in flight: {budget:#}");
    }
    serde_json::json!({
        "ends": ends,
        "landed": landed,
        // All but the manifest and the cards, which name the folder of the night.
        "tree": night.git(&["ls-tree", "-r", "main"]).lines().filter(|line| {
            !line.contains("stage-cards/") && !line.contains(".autometta.yaml")
        }).collect::<Vec<_>>(),
        "head": night.git(&["symbolic-ref", "HEAD"]),
        "status": night.git(&["status", "--porcelain", "--untracked-files=all"]),
        "failures": budget["consecutive_failures"],
        "halted": budget["halted"],
    })
}

/// Nothing may be left over, wherever a night was cut off.
fn nothing_is_left(night: &Night) {
    let verified = night.ok(&["log", "--verify"]);
    let in_flight = night.status()["stages"].to_string();
    assert!(!in_flight.contains("\"in_progress\""), "{in_flight}\n{verified}");
    let listed = night.git(&["worktree", "list"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(!night.worktrees().exists(), "worktrees are left: {:?}", names(&night.worktrees()));
    assert_eq!(names(&night.repo.join(".git/worktrees")), BTreeSet::new(), "administration of worktrees is left");
    assert_eq!(names(&night.repo.join("state/active-agents")), BTreeSet::new(), "agents are still listed");
    assert!(!night.repo.join("state/.txn.json").exists(), "a transaction is left");
    let mut folders = vec![night.repo.join(".git")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_lock = Path::new(&name).extension().is_some_and(|extension| extension == "lock");
            assert!(!is_lock && name != "autometta-landing", "left behind: {}", entry.path().display());
            if entry.file_type().expect("type").is_dir() {
                folders.push(entry.path());
            }
        }
    }
    night.git(&["fsck", "--no-dangling", "--no-progress"]);
}

fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Every run stands in the history once, and the money spent is the sum of what the runs were charged.
fn charged_once(night: &Night) {
    let (mut tokens, mut cost) = (0, 0.0);
    let mut seen = BTreeSet::new();
    for stage in stages(night) {
        for past in stage["history"].as_array().expect("history") {
            let run = past["run"].as_str().expect("run").to_owned();
            let charged = past["tokens"].as_u64().expect("tokens");
            tokens += charged;
            cost += past["cost_usd"].as_f64().expect("cost");
            let spoke = night.repo.join("state/runs").join(&run).join("agent.json").exists();
            let is_free = run.contains(".gate") || !spoke || !run.starts_with('2');
            assert!(charged > 0 || is_free, "{run} ran and was charged nothing: {past:#}");
            assert!(seen.insert(run), "charged twice: {past:#}");
        }
    }
    let budget = night.budget();
    assert_eq!(budget["tokens_spent"].as_u64(), Some(tokens), "{budget:#}");
    assert_eq!(budget["lifetime_tokens_spent"].as_u64(), Some(tokens), "{budget:#}");
    let spent = budget["cost_spent_usd"].as_f64().expect("cost");
    assert!((spent - cost).abs() < 1e-6, "spent {spent}, charged {cost}");
}

fn in_peace(night: &Night) -> Value {
    finish(night, Timer::new(night));
    nothing_is_left(night);
    charged_once(night);
    outcome(night)
}

fn with_kills(night: &Night, dice: &mut Dice, count: u32, kinds: &[Kind]) -> Value {
    let mut timer = Timer::new(night);
    let begun = Instant::now();
    let killed = kills(night, &mut timer, dice, count, kinds);
    println!("killed {killed:?} in {:.1?}", begun.elapsed());
    finish(night, timer);
    println!("over after {:.1?}", begun.elapsed());
    nothing_is_left(night);
    charged_once(night);
    outcome(night)
}

#[test]
fn scenario_44_a_night_with_200_kills_ends_as_the_night_without_them() {
    let mut dice = dice();
    let (peace, war) = std::thread::scope(|scope| {
        let peace = scope.spawn(|| in_peace(&night_of_scripts()));
        let night = night_of_scripts();
        let war = with_kills(&night, &mut dice, 200, &[Kind::Tick, Kind::Supervisor, Kind::Agent]);
        assert_eq!(night.budget()["tokens_spent"], 0, "these families call no model");
        (peace.join().expect("the night in peace"), war)
    });
    assert_eq!(peace["landed"].as_object().expect("landed").len(), 9, "{peace:#}");
    assert_eq!(peace["ends"]["06-gate-fails"][1], "no-progress", "{peace:#}");
    assert_eq!(peace["ends"]["07-asks"][1], "question", "{peace:#}");
    assert_eq!(peace["ends"]["08-breaks"][1], "worker-failed", "{peace:#}");
    assert_eq!(war, peace, "\n{war:#}\nis not\n{peace:#}");
}

#[test]
fn scenario_44_every_run_is_charged_exactly_once_however_it_was_killed() {
    let mut dice = dice();
    let night = night_with_tokens();
    let end = with_kills(&night, &mut dice, 60, &[Kind::Tick, Kind::Supervisor, Kind::Agent]);
    assert_eq!(end["landed"].as_object().expect("landed").len(), 5, "{end:#}");
    let lost = stages(&night).into_iter().flat_map(|stage| stage["history"].as_array().expect("history").clone());
    assert!(lost.filter(|past| past["outcome"] == "lost").count() > 3, "too few runs were lost to show anything");
}

/// A stage at its verifier, whose first run waits until `$T/go` exists; later ones say PASS at once. Every run leaves
/// a line in `$T/runs`.
fn night_at_its_verifier(budget: &str) -> Night {
    let wait = "case $2 in *.r*) ;; *) while [ ! -e \"$T/go\" ]; do sleep 0.05; done;; esac";
    let judge = format!("echo $2 >>\"$T/runs\"\n{wait}\n{}", support::night::SAY_PASS);
    let night = Night::with(&format!("echo work >a.txt\n{}", support::night::HAND_IN), &judge);
    night.card("01-work");
    let card =
        format!("{}\n## Budget\n- **Verifier wall-clock:** {budget}\n", night.read("repo/stage-cards/01-work.md"));
    night.write("stage-cards/01-work.md", &card);
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    night.tick_until_that("01-work", |_| night.t().join("runs").exists());
    night
}

#[test]
fn scenario_04_a_live_run_whose_files_are_garbage_is_not_run_twice() {
    let night = night_at_its_verifier("10 minutes");
    for name in ["started.json", "run.json"] {
        night.write(&format!("state/runs/01-work.1.verifier/{name}"), "{");
        for _ in 0..3 {
            let _ = night.tick();
        }
        assert_eq!(night.stage("01-work")["phase"], "verifying");
        assert_eq!(night.read("t/runs"), "01-work.1.verifier\n", "with {name} torn");
    }
    fs::write(night.t().join("go"), "").expect("file");
    let stage = night.tick_until("01-work", "completed");
    // Without its order, nobody can say what its verdict was about: it does not count, and the seat is asked once more.
    let outcomes: Vec<&Value> =
        stage["history"].as_array().expect("history").iter().map(|past| &past["outcome"]).collect();
    assert_eq!(outcomes, ["done", "done", "no_verdict", "done"], "{stage:#}");
    assert_eq!(night.read("t/runs"), "01-work.1.verifier\n01-work.1.verifier.r1\n");
}

#[test]
fn scenario_22_a_run_without_a_supervisor_or_a_readable_claim_is_ended_at_its_cap() {
    let night = night_at_its_verifier("2s");
    let of = |kind: Kind| processes(&night).into_iter().find(|process| process.kind == kind).expect("process").pid;
    let agent = of(Kind::Agent);
    kill(Pid::from_raw(of(Kind::Supervisor)), Signal::SIGKILL).expect("killed");
    night.write("state/runs/01-work.1.verifier/started.json", "{");
    let stage = night.tick_until("01-work", "completed");
    assert!(stat(agent).is_none_or(|(zombie, _)| zombie), "the agent outlived its run");
    assert_eq!(night.read("t/runs"), "01-work.1.verifier\n01-work.1.verifier.r1\n", "{stage:#}");
}

#[test]
fn scenario_44_a_command_whose_snapshot_fails_has_happened() {
    let asks = r#"printf '{"stage_id":"%s","status":"blocked","deliverables":[],"notes":"n","question":"Which?"}' "$1" >.autometta/outbox/handoff.json"#;
    let night = Night::with(asks, support::night::SAY_PASS);
    night.queue("01-work");
    night.tick_until("01-work", "blocked");
    // A folder in the place of the lock: nothing clears that away.
    night.write(".git/refs/autometta/state.lock/keep", "");
    night.ok(&["answer", "01-work", "--text", "The left one."]);
    assert_eq!(night.stage("01-work")["status"], "pending");
    assert_eq!(night.read("repo/state/answers/01-work.md"), "The left one.");
}

#[test]
fn scenario_39_a_tick_that_came_while_a_command_held_the_lock_is_made_up_for() {
    let night = Night::passing();
    night.card("01-work");
    night.write("state/.tick.again", "");
    night.ok(&["add-stage", "stage-cards/01-work.md"]);
    assert_ne!(night.stage("01-work")["status"], "pending", "{}", night.ok(&["log"]));
    assert!(!night.repo.join("state/.tick.again").exists());
}

#[test]
fn scenario_44_a_stage_that_has_landed_unnoticed_cannot_be_skipped() {
    let mut night = Night::passing();
    let bin = night.base().join("bin");
    fs::create_dir(&bin).expect("folder");
    let before = night.git(&["rev-parse", "main"]);
    // The tick dies as soon as main has moved, and so does every other one that looks, until the test has looked.
    let git = format!(
        "#!/bin/sh\nif [ -e {t}/killed ] && [ ! -e {t}/go ] && tr '\\0' ' ' </proc/$PPID/cmdline | grep -q ' tick '; then\n\
         kill -9 $PPID; exit 1\nfi\n/usr/bin/git \"$@\"\ncode=$?\nif [ ! -e {t}/killed ] && [ \"$(cat {repo}/.git/refs/heads/main)\" != {before} ]; then\n\
         touch {t}/killed; kill -9 $PPID\nfi\nexit $code\n",
        t = night.t().display(),
        repo = night.repo.display(),
    );
    let path = bin.join("git");
    fs::write(&path, git).expect("git");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    night.set("PATH", &format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH")));
    night.queue("01-work");
    let killed = night.t().join("killed");
    night.tick_until_that("01-work", |_| killed.exists());
    assert_eq!(night.stage("01-work")["phase"], "landing");
    let said = night.fails(&["skip", "01-work"], 3);
    assert!(said.contains("on main already"), "{said}");
    fs::write(night.t().join("go"), "").expect("go");
    night.tick_until("01-work", "completed");
    assert_eq!(night.git(&["status", "--porcelain", "--", "a.txt"]), "");
}

#[test]
fn scenario_44_a_ref_lock_that_a_killed_git_left_on_our_branch_does_not_stop_a_stage() {
    let night = Night::passing();
    night.queue("01-work");
    night.write(".git/refs/heads/autometta/01-work.lock", "");
    night.tick_until("01-work", "completed");
}

#[test]
fn scenario_44_what_a_writer_killed_in_the_middle_left_is_swept() {
    let night = Night::passing();
    let mut gone = night.command(&["status"]).stdout(Stdio::null()).spawn().expect("a process that has ended");
    gone.wait().expect("wait");
    let left = format!("state/active-agents/.01-a.1.worker.json.{}-0.autometta-tmp", gone.id());
    night.write(&left, "{");
    // An idle tick looks at nothing that it need not; the first one that has something to do sweeps.
    night.queue("01-work");
    let _ = night.tick();
    assert!(!night.repo.join(&left).exists());
}

/// What a power cut may leave of files that nobody has synced: their names, and nothing in them.
#[test]
fn a_checkout_that_was_made_before_the_power_went_is_made_anew() {
    let mut night = Night::passing();
    night.fail(|_| "*/atomic.rename@1.gate:*:abort".to_owned());
    night.queue("01-work");
    let torn = night.worktrees().join("01-work.1.gate/a.txt");
    night.tick_until_that("01-work", |_| torn.exists() && night.ticks().is_empty());
    assert!(!night.repo.join("state/runs/01-work.1.gate/run.json").exists());
    fs::write(&torn, "").expect("torn");
    night.set("AUTOMETTA_FAULT", "");
    night.tick_until("01-work", "completed");
}

/// Whoever takes a run for lost whose supervisor is still writing its record starts another beside it.
#[test]
fn a_tick_that_comes_while_a_supervisor_writes_its_record_starts_no_other_run() {
    let mut night = Night::passing();
    // Before it come its claim, its agent, its line in the registry, and what was handed in.
    let pause = night.pause("01-work.1.worker/atomic.rename:5");
    night.queue("01-work");
    night.tick_until_that("01-work", |_| pause.is_reached());
    let waits = pause.passed();
    let waits = waits.lines().rfind(|line| line.contains("01-work.1.worker")).unwrap_or_default();
    assert!(waits.contains("exit.json"), "the supervisor writes its record by another write now: {waits}");
    for _ in 0..3 {
        assert!(night.tick().status.success());
    }
    pause.end();
    night.tick_until("01-work", "completed");
    let ledger = night.read("repo/state/ledger.jsonl");
    let runs = ledger.lines().filter(|line| line.contains(r#""event":"dispatched""#)).count();
    assert_eq!(runs, 3, "a worker, a gate and a verifier are all that is run:\n{ledger}");
}
