//! What stages do, drawn by a seed, and the end that each must reach. Pure: nothing here knows of processes or kills.
//!
//! A stage's name says what it does: `0042-b-mends-flaky-refuses` changes a file in `b/`; its worker's first candidate
//! fails the gate and its second does not, its gate fails once for nothing, and its verifier's first verdict is FAIL.
//! What is done depends on the attempt, or, where a run is to be tried again as it was, on the number of the try. A kill
//! adds tries and never attempts, so it moves no stage to another end, but for one reason that [`CRASHES`] tells.

use std::collections::BTreeMap;

use super::support::dice::Dice;

/// How often the machine tries again what was nobody's fault. Above it are the natural crashes of a run (two at the most)
/// and as many kills as the killer deals it.
pub const INFRASTRUCTURE_RETRIES: u32 = 12;
/// How many supervisors and gates of one role in one attempt are killed at most.
pub const KILLS_PER_ROLE: u32 = 2;

/// How a stage ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Landed,
    /// A status, and the reasons with which it may come.
    Over(&'static str, &'static [&'static str]),
    /// It stays in the queue for ever, because what it depends on does not land.
    Waits,
}

/// What somebody does, and what it comes to.
pub struct Habit {
    pub word: &'static str,
    /// How often it is drawn, beside the others.
    weight: usize,
    /// None where the stage goes on.
    end: Option<End>,
}

const fn goes_on(word: &'static str, weight: usize) -> Habit {
    Habit { word, weight, end: None }
}

const fn ends(word: &'static str, weight: usize, status: &'static str, codes: &'static [&'static str]) -> Habit {
    Habit { word, weight, end: Some(End::Over(status, codes)) }
}

/// A worker that exits 1 at every try ends as crashed; where the supervisor of its last try was killed, as lost.
const CRASHES: &[&str] = &["agent-crashed", "lost"];

/// What workers do.
pub const WORKERS: &[Habit] = &[
    goes_on("works", 26),
    // Its first candidate fails the gate.
    goes_on("mends", 7),
    // It prints half of what it may.
    goes_on("spills", 3),
    // It leaves a process behind that left its session and ignores TERM.
    goes_on("orphans", 6),
    // It kills itself at its first two tries, with half of its work done.
    goes_on("dies", 6),
    // Its provider's limit is reached at its first try.
    goes_on("limited", 4),
    // Its first candidate changes a file that it may not.
    goes_on("wanders", 4),
    // It commits by itself and leaves locks of git in its checkout.
    goes_on("meddles", 4),
    // It hangs, and the next rung of its ladder does the work.
    goes_on("climbs", 3),
    // It asks, and the operator answers.
    goes_on("asked", 3),
    ends("wrong", 5, "verifier_failed", &["gate-failed"]),
    ends("same", 3, "verifier_failed", &["no-progress"]),
    ends("empty", 2, "verifier_failed", &["no-progress"]),
    ends("gives", 3, "failed", &["worker-failed"]),
    // It asks, and nobody answers.
    ends("asks", 3, "blocked", &["question"]),
    ends("silent", 3, "stalled", &["handoff-missing"]),
    // It hands in for another stage.
    ends("forges", 4, "stalled", &["handoff-malformed"]),
    ends("crashes", 2, "stalled", CRASHES),
    ends("hangs", 4, "stalled", &["timed-out"]),
    ends("floods", 3, "stalled", &["output-cap"]),
];

/// What gates do with work that is right.
pub const GATES: &[Habit] = &[
    goes_on("plain", 60),
    goes_on("slow", 24),
    // It fails the first time, and may be run again.
    goes_on("flaky", 10),
    // It runs into its time limit.
    ends("stuck", 4, "verifier_failed", &["gate-failed"]),
];

/// What verifiers do with work that has passed.
pub const JUDGES: &[Habit] = &[
    goes_on("passes", 40),
    // FAIL at the first attempt, then PASS.
    goes_on("refuses", 8),
    // What is no verdict at its first try: no JSON, one about another stage, one whose evidence is not there.
    goes_on("garbles", 4),
    goes_on("strays", 4),
    goes_on("dreams", 4),
    // At its first try it kills itself, hangs, or has reached its limit.
    goes_on("falls", 5),
    goes_on("dawdles", 3),
    goes_on("waits", 3),
    // Two of a panel of three.
    goes_on("split-pass", 5),
    ends("split-fail", 3, "verifier_failed", &["verdict-fail"]),
    ends("split-open", 2, "blocked", &["panel-undecided"]),
    ends("never", 5, "verifier_failed", &["verdict-fail"]),
    ends("mute", 3, "stalled", &["verdict-missing"]),
    ends("blind", 3, "blocked", &["verdict-blocked"]),
];

/// A stage as it was drawn.
pub struct Plan {
    pub id: String,
    /// The folder that its file is in.
    pub area: &'static str,
    pub work: &'static Habit,
    pub gate: &'static Habit,
    pub judge: &'static Habit,
    pub depends_on: Vec<String>,
    /// Whether it claims the whole of its folder.
    pub claims_area: bool,
    pub priority: usize,
}

fn draw(dice: &mut Dice, habits: &'static [Habit]) -> &'static Habit {
    let mut left = dice.below(habits.iter().map(|habit| habit.weight).sum());
    for habit in habits {
        if left < habit.weight {
            return habit;
        }
        left -= habit.weight;
    }
    unreachable!("the weights were added up")
}

/// The stages of one repository, numbered from `first`. The first stages of a soak have every worker and every verifier
/// once, so that a small one meets all of them.
pub fn draw_stages(dice: &mut Dice, first: usize, count: usize) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for number in first..first + count {
        let (at, even) = (number / 2, number % 2 == 0);
        let worker = WORKERS.get(at).filter(|_| even);
        let verifier = JUDGES.get(at).filter(|_| !even);
        let (work, gate, judge) = match (worker, verifier) {
            (Some(work), _) => (work, draw(dice, GATES), draw(dice, JUDGES)),
            (None, Some(judge)) => (&WORKERS[0], &GATES[0], judge),
            (None, None) => (draw(dice, WORKERS), draw(dice, GATES), draw(dice, JUDGES)),
        };
        let must_begin = worker.or(verifier).is_some();
        let area = ["a", "b", "c"][dice.below(3)];
        let mut depends_on = Vec::new();
        if !plans.is_empty() && dice.percent(20) {
            // One of the last few: what waits for the queue's other end would leave little to do in the middle.
            let other = &plans[plans.len() - 1 - dice.below(plans.len().min(6))].id;
            if !must_begin || ends_of(&plans)[other] == End::Landed {
                depends_on.push(other.clone());
            }
        }
        plans.push(Plan {
            id: format!("{number:04}-{area}-{}-{}-{}", work.word, gate.word, judge.word),
            area,
            work,
            gate,
            judge,
            depends_on,
            claims_area: dice.percent(25),
            priority: dice.below(3),
        });
    }
    plans
}

impl Plan {
    /// The end of this stage by itself.
    fn own_end(&self) -> End {
        [self.work, self.gate, self.judge].iter().find_map(|habit| habit.end.clone()).unwrap_or(End::Landed)
    }
}

/// The end of each stage.
pub fn ends_of(plans: &[Plan]) -> BTreeMap<String, End> {
    let mut known: BTreeMap<String, End> = BTreeMap::new();
    // A stage depends on earlier ones only.
    for plan in plans {
        let stands = plan.depends_on.iter().all(|other| known.get(other) == Some(&End::Landed));
        known.insert(plan.id.clone(), if stands { plan.own_end() } else { End::Waits });
    }
    known
}

impl End {
    /// Its name in the table of ends.
    pub fn word(&self) -> String {
        match self {
            Self::Landed => "landed".to_owned(),
            Self::Over(status, codes) => format!("{status}: {}", codes.join(" or ")),
            Self::Waits => "waits for what does not land".to_owned(),
        }
    }
}
