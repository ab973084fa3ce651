//! The screens as people see them, at three widths, against the files in `tests/snapshots/status/`.
//!
//! After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --lib cli::status`, and look at the difference.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};

use super::fleet::{Fleet, Member, Summary};
use super::view::{self, Pulse, RepoStatus, Scene};
use super::{Finished, fleet_screen, screen};
use crate::cli::terminal::Look;
use crate::cli::terminal::look::{Color, Letters};
use crate::cli::terminal::text::width;
use crate::core::budget::{Budget, Halt, HaltReason, Pause};
use crate::core::exit::{Usage, UsageSource};
use crate::core::ids::{FamilyName, Identity, Role, RunId};
use crate::core::policy::Policy;
use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::run::RegistryEntry;
use crate::core::state::{
    Awaits, Ballot, Candidate, EndStatus, Flight, Gating, Kept, Landing, Life, Over, Pending, Reason, Reservation,
    RunOutcome, Said, Seat, Stage, State, Verifying, Work, Working,
};
use crate::core::timer::{Scheduler, TimerRecord};
use crate::core::wait::Wait;
use crate::files::store::Loaded;
use crate::runs::Glance;
use crate::tick::heartbeat::Heartbeat;

const WIDTHS: [usize; 3] = [60, 100, 200];

fn now() -> DateTime<Utc> {
    "2026-11-21T03:13:00Z".parse().expect("time")
}

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

/// An hour ahead of UTC.
fn zone(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&FixedOffset::east_opt(3600).expect("zone"))
}

fn look(width: usize) -> Look {
    Look { width, letters: Letters::Unicode, color: Color::Off, zone }
}

fn family(identity: &Identity) -> Option<FamilyName> {
    let name = match identity.name() {
        name if name.starts_with("Claude") => "claude",
        name if name.starts_with("GPT") => "codex",
        name if name.starts_with("Gemini") => "gemini",
        _ => return None,
    };
    name.parse().ok()
}

fn who(name: &str) -> Identity {
    format!("{name} <{}@local>", name.to_lowercase().replace(' ', "-")).parse().expect("identity")
}

fn hash(digit: char) -> crate::core::ids::ObjectId {
    digit.to_string().repeat(40).parse().expect("hash")
}

fn stage(id: &str, life: Life) -> Stage {
    Stage {
        id: id.parse().expect("id"),
        title: "Do the work".to_owned(),
        card: format!("stage-cards/{id}.md"),
        card_sha256: None,
        worker: who("Claude Opus 5"),
        verifiers: vec![who("GPT-5.6 Sol")],
        quorum: 1,
        unverified: None,
        contract: Vec::new(),
        base_branch: "main".to_owned(),
        depends_on: Vec::new(),
        path_claims: Vec::new(),
        priority: 0,
        attempt: u32::from(!matches!(life, Life::Pending(_))),
        failures: 0,
        rung: 0,
        failures_below: 0,
        fallback: None,
        tokens: Tokens(0),
        cost_usd: MicroUsd(0),
        history: Vec::new(),
        chores: Vec::new(),
        wait: Wait::default(),
        life,
    }
}

fn pending(id: &str) -> Stage {
    stage(id, Life::Pending(Pending::default()))
}

fn candidate(id: &str) -> Candidate {
    Candidate { commit: hash('c'), tree: hash('d'), run: run(id, Role::Worker, None) }
}

fn run(id: &str, role: Role, seat: Option<u32>) -> RunId {
    RunId { stage: id.parse().expect("id"), attempt: 1, role, seat, retry: 0 }
}

fn flight(id: &str, role: Role, seat: Option<u32>, name: Option<&str>, minutes: u64) -> Flight {
    let identity = name.map(who);
    Flight {
        run: run(id, role, seat),
        family: identity.as_ref().and_then(family),
        model: None,
        identity,
        reserved: Reservation { seconds: Seconds(minutes * 60), ..Reservation::default() },
        dispatched_at: ago(20),
        stopping: None,
    }
}

fn work() -> Work {
    Work { base_commit: hash('b'), started_at: ago(40) }
}

fn over(id: &str, status: EndStatus, reason: Option<Reason>, minutes: i64) -> Stage {
    let commit = (status == EndStatus::Completed).then(|| hash('a'));
    let over = Over { status, reason, at: ago(minutes), commit, kept: None };
    Stage { tokens: Tokens(184_220), cost_usd: MicroUsd(2_310_000), ..stage(id, Life::Over(over)) }
}

fn question() -> Stage {
    let detail = "Which of the two date formats?\nThe card says ISO, the README says RFC 2822.";
    let kept = Kept {
        base_commit: hash('b'),
        candidate: candidate("04-dates"),
        started_at: ago(90),
        awaits: Awaits::WorkerAnswer,
        seen_tip: None,
        approval: None,
    };
    let reason = Some(Reason::new("question", detail));
    let over = Over { status: EndStatus::Blocked, reason, at: ago(30), commit: None, kept: Some(kept) };
    Stage { tokens: Tokens(48_000), ..stage("04-dates", Life::Over(over)) }
}

/// What a screen is made of; the tests change what they are about.
struct World {
    stages: Vec<Stage>,
    budget: Budget,
    timer: Option<TimerRecord>,
    ticked: Option<DateTime<Utc>>,
    glances: BTreeMap<RunId, Glance>,
    manual: Vec<RegistryEntry>,
    archived: usize,
    max_parallel: usize,
}

impl World {
    fn new(stages: Vec<Stage>) -> Self {
        let budget = Budget {
            token_cap_total: Some(Tokens(20_000_000)),
            tokens_spent: Tokens(4_180_220),
            wall_clock_cap_seconds: Some(Seconds(86_400)),
            wall_clock_elapsed_seconds: Seconds(7200),
            clock_tick_cap: Some(400),
            clock_ticks_used: 31,
            consecutive_failure_cap: Some(3),
            ..Budget::default()
        };
        let timer = TimerRecord {
            scheduler: Scheduler::Cron,
            every_seconds: Seconds(300),
            installed_at: ago(60 * 24),
            exe: PathBuf::from("/usr/local/bin/autometta"),
            env: BTreeMap::new(),
        };
        Self {
            stages,
            budget,
            timer: Some(timer),
            ticked: Some(ago(2)),
            glances: BTreeMap::new(),
            manual: Vec::new(),
            archived: 0,
            max_parallel: 1,
        }
    }

    fn status(self, look: &Look) -> RepoStatus {
        let state = State { stages: self.stages, ..State::new("id".to_owned()) };
        let loaded = Loaded { state, budget: self.budget };
        let heartbeat = self.ticked.map(|at| Heartbeat { at, ..Heartbeat::default() });
        view::of(&Scene {
            root: Path::new("/home/ada/greeter"),
            loaded: &loaded,
            policy: &Policy { max_parallel: self.max_parallel, ..Policy::default() },
            family: &family,
            pause: &|who| loaded.budget.paused(&family(who)?, None, now()),
            heartbeat: heartbeat.as_ref(),
            timer: self.timer.as_ref(),
            glances: &self.glances,
            manual: self.manual,
            archived: self.archived,
            now: now(),
            look,
        })
    }
}

fn nothing() -> World {
    World { timer: None, ticked: None, ..World::new(Vec::new()) }
}

/// A worker, a gate and a panel in flight, and everything that a pending stage may wait for.
fn mid_night() -> World {
    let working = Working {
        work: work(),
        resume: None,
        flight: flight("02-parser", Role::Worker, None, Some("Claude Opus 5"), 60),
    };
    let gating = Gating {
        work: work(),
        candidate: candidate("03-lexer"),
        approval: None,
        flight: Some(flight("03-lexer", Role::Gate, None, None, 10)),
        not_before: None,
    };
    let panel = "05-docs";
    let seat = |number: u32, name: &str, vote: Option<Said>| Seat {
        number: Some(number),
        verifier: who(name),
        flight: vote.is_none().then(|| flight(panel, Role::Verifier, Some(number), Some(name), 30)),
        not_before: None,
        vote: vote.map(|said| Ballot {
            run: run(panel, Role::Verifier, Some(number)),
            said,
            words: String::new(),
            criteria: Vec::new(),
        }),
    };
    let verifying = Verifying {
        work: work(),
        candidate: candidate(panel),
        gate: None,
        seats: vec![
            seat(1, "GPT-5.6 Sol", Some(Said::Pass)),
            seat(2, "Gemini 3 Pro", None),
            seat(3, "GPT-5.6 Luna", None),
        ],
    };
    let mut docs = stage(panel, Life::Verifying(verifying));
    docs.verifiers = vec![who("GPT-5.6 Sol"), who("Gemini 3 Pro"), who("GPT-5.6 Luna")];
    docs.quorum = 2;
    docs.tokens = Tokens(1_204_551);
    docs.cost_usd = MicroUsd(6_120_000);
    let mut waits = pending("06-cli");
    waits.depends_on = vec!["02-parser".parse().expect("id")];
    let again = Pending {
        not_before: Some(ago(-17)),
        reason: Some(Reason::new("overloaded", "529 \u{1b}[31mOverloaded\u{1b}[0m (asked again at 03:30:00 UTC)")),
        ..Pending::default()
    };
    let mut deferred = stage("07-config", Life::Pending(again));
    deferred.attempt = 1;
    let mut world = World::new(vec![
        over("01-head", EndStatus::Completed, None, 95),
        stage("02-parser", Life::Working(working)),
        stage("03-lexer", Life::Gating(gating)),
        docs,
        waits,
        deferred,
        pending("08-errors"),
        pending("09-release-notes-for-the-first-public-version"),
    ]);
    world.max_parallel = 3;
    world.budget.tokens_reserved = Tokens(5_000_000);
    world.budget.cost_cap_usd = Some(MicroUsd(50_000_000));
    world.budget.cost_spent_usd = MicroUsd(41_200_000);
    world.budget.cost_reserved_usd = MicroUsd(5_000_000);
    let running = |minutes: u64, silent: u64| Glance::Running {
        elapsed: Duration::from_secs(minutes * 60),
        silent: Duration::from_secs(silent),
    };
    world.glances = BTreeMap::from([
        (run("02-parser", Role::Worker, None), running(19, 12)),
        (run("03-lexer", Role::Gate, None), running(2, 0)),
        (run(panel, Role::Verifier, Some(2)), running(7, 245)),
        (run(panel, Role::Verifier, Some(3)), Glance::NotStarted),
    ]);
    let entry = serde_json::json!({
        "run_id": "11-try.manual.worker", "stage": "11-try", "role": "worker", "attempt": 1, "seat": null,
        "family": null, "identity": "Claude Opus 5 <claude-opus-5@local>", "model": null, "pid": 1,
        "started_at": ago(65), "expected_end": ago(-65), "worktree": "/w", "stdout_log": "/o", "stderr_log": "/e",
        "caps": {"wall_clock_seconds": 60, "tokens": null, "cost_usd": null, "output_bytes": 1, "silence_seconds": null}
    });
    world.manual = vec![serde_json::from_value(entry).expect("entry")];
    world
}

fn halted() -> World {
    let mut world = World::new(vec![over("01-head", EndStatus::Completed, None, 95), pending("02-parser")]);
    let detail = "spent 19,900,000 and reserved 0, the next run may take 3,000,000, the cap is 20,000,000";
    world.budget.tokens_spent = Tokens(19_900_000);
    world.budget.halt(vec![Halt { reason: HaltReason::TokenCap, detail: detail.to_owned() }], ago(63));
    world
}

fn paused() -> World {
    let mut world = World::new(vec![pending("02-parser"), {
        let mut other = pending("03-lexer");
        other.worker = who("GPT-5.6 Sol");
        other
    }]);
    let reason = "You've hit your usage limit. Try again at 5:25 AM.".to_owned();
    world.budget.pauses = vec![Pause { family: "claude".parse().expect("name"), model: None, until: ago(-72), reason }];
    world
}

fn late() -> World {
    World { ticked: Some(ago(23)), ..World::new(vec![pending("02-parser")]) }
}

fn asking() -> World {
    let landing = Landing {
        work: work(),
        candidate: candidate("05-docs"),
        approval: crate::core::state::Approval {
            tree: hash('d'),
            verified_tree: hash('d'),
            gate: None,
            verdicts: Vec::new(),
            verifiers: Vec::new(),
            headline: "Write it".to_owned(),
            overlap: crate::core::state::Overlap::default(),
            train: crate::core::train::Train::default(),
        },
        decided_at: ago(12),
        committer: None,
        waiting: Some(Reason::new("local-edits", "README.md is edited in your checkout")),
    };
    let failed = Reason::new("gate-failed", "acceptance: exit code 1\n日本語のエラー 🚨 test failed");
    World::new(vec![
        question(),
        stage("05-docs", Life::Landing(landing)),
        over("06-cli", EndStatus::VerifierFailed, Some(failed), 55),
        pending("07-config"),
    ])
}

fn many() -> World {
    let mut stages: Vec<Stage> =
        (1..=180_u32).map(|n| over(&format!("{n:03}-done"), EndStatus::Completed, None, 2000 - i64::from(n))).collect();
    stages.extend((181..=200).map(|n| pending(&format!("{n}-next"))));
    World { archived: 9_820, ..World::new(stages) }
}

/// A queue of which enough is known to look ahead, and a cap that it does not stay within.
fn ahead() -> World {
    let stages = ["02-parser", "03-lexer", "04-dates", "05-docs"].map(pending);
    let mut world = World::new(stages.into());
    let (claude, codex) = ("claude".parse().expect("name"), "codex".parse().expect("name"));
    let runs = [
        (Role::Worker, Some(claude), 1_400_000, 22),
        (Role::Gate, None, 0, 2),
        (Role::Verifier, Some(codex), 150_000, 4),
    ];
    for (role, family, tokens, minutes) in runs {
        let usage = Usage { input_tokens: Tokens(tokens), source: UsageSource::Result, ..Usage::default() }.totalled();
        for _ in 0..3 {
            let (cost, time) = (MicroUsd(tokens * 3), Seconds(minutes * 60));
            world.budget.learn(role, family.as_ref(), RunOutcome::Done, &usage, cost, time);
        }
    }
    world.budget.token_cap_total = Some(Tokens(world.budget.tokens_spent.0 + 5_000_000));
    world
}

fn fleet() -> Fleet {
    let calm = Summary {
        in_flight: 0,
        pending: 0,
        needs_you: 0,
        landed_today: 0,
        tokens_spent: Tokens(1_250_000),
        token_cap: Some(Tokens(20_000_000)),
        cost_spent_usd: MicroUsd(0),
        cost_cap_usd: None,
        halts: Vec::new(),
        pauses: Vec::new(),
        last_tick: Some(ago(2)),
        pulse: Pulse::Regular,
    };
    let pause = Pause {
        family: "claude".parse().expect("name"),
        model: None,
        until: ago(-72),
        reason: "usage limit".to_owned(),
    };
    let gone = "/home/ada/gone cannot be used as a repository: there is no such folder";
    let members = [
        ("gone", Err(gone)),
        ("billing", Ok(Summary { halts: vec![HaltReason::TokenCap], needs_you: 2, ..calm.clone() })),
        ("search", Ok(Summary { last_tick: Some(ago(180)), pulse: Pulse::Late, pending: 4, ..calm.clone() })),
        ("greeter", Ok(Summary { needs_you: 1, in_flight: 1, pending: 12, landed_today: 7, ..calm.clone() })),
        ("日本語-docs", Ok(Summary { pauses: vec![pause], pending: 3, ..calm.clone() })),
        ("api", Ok(Summary { in_flight: 3, pending: 1, cost_spent_usd: MicroUsd(12_400_000), ..calm.clone() })),
        ("web", Ok(Summary { in_flight: 1, cost_cap_usd: Some(MicroUsd(50_000_000)), ..calm.clone() })),
        ("infra", Ok(Summary { pending: 40, landed_today: 112, ..calm.clone() })),
        ("tools", Ok(calm.clone())),
        ("site", Ok(Summary { last_tick: None, ..calm.clone() })),
        ("notes", Ok(calm.clone())),
        ("attic", Ok(calm)),
    ];
    let repos = members.into_iter().map(|(name, summary)| Member {
        slug: format!("{name}-1f2e3d4c"),
        repo: Some(PathBuf::from("/home/ada").join(name)),
        enabled: name != "attic",
        fault: summary.as_ref().err().map(|fault| (*fault).to_owned()),
        summary: summary.ok(),
    });
    Fleet { at: now(), timer: World::new(Vec::new()).timer, repos: repos.collect() }
}

/// Compares with the file, or writes it where that is asked for.
fn holds(name: &str, text: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/status").join(format!("{name}.txt"));
    #[expect(clippy::disallowed_methods, reason = "snapshots are rewritten on request")]
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(&path, text).expect("snapshot");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    (wanted != text).then(|| format!("{}:\n{text}", path.display()))
}

type Case = (&'static str, fn() -> World);

const CASES: [Case; 8] = [
    ("nothing-queued", nothing),
    ("mid-night", mid_night),
    ("halted", halted),
    ("paused", paused),
    ("late-timer", late),
    ("question", asking),
    ("many", many),
    ("ahead", ahead),
];

#[test]
fn screens_are_as_they_were_looked_at() {
    let mut changed = Vec::new();
    for columns in WIDTHS {
        for (name, world) in CASES {
            let look = look(columns);
            let text = screen::render(&world().status(&look), &look, Finished::Newest);
            changed.extend(holds(&format!("{name}-{columns}"), &text));
        }
        changed.extend(holds(&format!("fleet-{columns}"), &fleet_screen::render(&fleet(), &look(columns))));
    }
    let plain = Look { letters: Letters::Ascii, ..look(100) };
    changed.extend(holds("mid-night-ascii", &screen::render(&mid_night().status(&plain), &plain, Finished::Newest)));
    assert!(changed.is_empty(), "UPDATE_SNAPSHOTS=1 writes them anew\n{}", changed.join("\n"));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_no_order_to_it_passes() {
    for columns in 40..220 {
        for (name, world) in CASES {
            let look = look(columns);
            let text = screen::render(&world().status(&look), &look, Finished::All);
            for line in text.lines() {
                assert!(width(line) <= columns, "{name} at {columns}: {line:?} is {}", width(line));
                assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
        let text = fleet_screen::render(&fleet(), &look(columns));
        for line in text.lines() {
            assert!(width(line) <= columns, "the fleet at {columns}: {line:?} is {}", width(line));
        }
    }
}

#[test]
fn colour_says_nothing_that_the_words_do_not() {
    for (name, world) in CASES {
        let plain = look(100);
        let coloured = Look { color: Color::On, ..plain };
        let text = screen::render(&world().status(&coloured), &coloured, Finished::All);
        assert!(text.contains("\x1b["), "{name}");
        let lines: Vec<String> =
            text.lines().map(|line| crate::cli::terminal::text::clean_lines(line).concat()).collect();
        let wanted = screen::render(&world().status(&plain), &plain, Finished::All);
        let wanted: Vec<&str> = wanted.lines().map(str::trim_end).collect();
        assert_eq!(lines, wanted, "{name}");
    }
}

#[test]
fn the_order_is_what_needs_a_person_then_flight_then_pending_then_the_newest_that_ended() {
    let look = look(100);
    let of = |world: World| -> Vec<String> {
        world.status(&look).waits.into_iter().map(|stage| stage.stage.to_string()).collect()
    };
    assert_eq!(of(asking()), ["04-dates", "05-docs", "06-cli", "07-config"]);
    assert_eq!(
        of(mid_night())[..4],
        ["02-parser", "03-lexer", "05-docs", "06-cli"].map(str::to_owned),
        "what has ended comes last"
    );
    let many = of(many());
    assert_eq!((many[0].as_str(), many[20].as_str(), many[21].as_str()), ("181-next", "180-done", "179-done"));
}

#[test]
fn pending_stages_wait_for_their_place_in_line() {
    let look = look(200);
    let status = many().status(&look);
    let next: Vec<&str> = status.waits.iter().take(3).map(|stage| stage.next.as_str()).collect();
    assert_eq!(
        next,
        [
            "starts at the next tick, within 3m",
            "waits for its turn, the next in line",
            "waits for its turn, 1 goes before it"
        ]
    );
}

#[test]
fn time_passing_is_no_news_and_a_run_that_ends_is() {
    let look = look(100);
    let news = |world: World| world.status(&look).news();
    let mut later = mid_night();
    let running = Glance::Running { elapsed: Duration::from_secs(4000), silent: Duration::from_secs(1) };
    later.glances.insert(run("02-parser", Role::Worker, None), running);
    assert_eq!(news(mid_night()), news(later));
    let mut ended = mid_night();
    ended.glances.insert(run("02-parser", Role::Worker, None), Glance::Ended);
    assert_ne!(news(mid_night()), news(ended));
    assert_ne!(news(late()), news(World { ticked: Some(ago(1)), ..late() }));
}
