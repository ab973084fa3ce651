//! What is held against every state and move, by the number of the invariant that it is part of, and how often it had
//! something to say: one that never applies is none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// What is broken, in words.
pub type Broken = String;

macro_rules! checks {
    ($($name:ident $number:literal $words:literal,)+) => {
        /// One thing that must hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Check { $($name),+ }

        /// Every check: the invariant that it is part of, and what it says.
        pub const CHECKS: &[(u8, &str)] = &[$(($number, $words)),+];
    };
}

checks! {
    OneFlight 1 "one live run per role and seat, and none of another stage",
    NotAfterItsEnd 1 "no run flies or is dispatched after its end",
    LaunchedOnce 1 "what runs is not launched again",
    LaunchStands 1 "what is launched stands in the state",
    ClaimsApart 1 "no two stages in progress claim the same path",
    Places 1 "no more stages in progress than may be",
    FamilyPlaces 1 "no more runs of a family in flight than may be",
    LandsWhatWasApproved 2 "what lands is the tree that was approved",
    LandsWhatPassed 2 "what lands has passed its gates",
    LandsWithQuorum 2 "what lands has its quorum of votes",
    JudgedByOthers 2 "what lands was judged by no one of its worker's family",
    SeatsApart 2 "no seat is of its worker's family",
    StandsWhereItMay 2 "whoever works or judges is whom the rung or a fallback names",
    DependenciesFirst 2 "no stage begins before what it depends on has landed",
    NotWhileHalted 3 "nothing is dispatched while halted",
    NotWhilePaused 3 "nothing is dispatched while its family or model is paused",
    NotWhileBroken 3 "nothing but one probe is dispatched while a breaker is open",
    NotWhilePutOff 3 "nothing is dispatched while its family is out of reach or its quota held",
    NotInCurfew 3 "no worker begins in a curfew",
    WithinTheFleetsDay 3 "nothing is dispatched that the fleet's day has no room for",
    AgentsAtOnce 3 "nothing is dispatched that the fleet has no place for",
    WithinTheCaps 3 "at a dispatch what is spent and reserved is within every cap",
    CapsByATurn 3 "no cap is passed by more than one turn",
    WindowByATurn 3 "what was charged within a window passes its cap by one turn at most",
    StageCaps 3 "a stage's own caps hold at its dispatches",
    Progress 3 "nothing is dispatched once enough was spent without a landing",
    LandingCountsAnew 3 "a landing ends what is counted since the last one",
    HaltStays 3 "only a person lifts a halt, or a new window one of spend",
    ReservedFlies 4 "what is reserved is what flies",
    SpentIsCharged 4 "what is spent is what the histories say",
    ChargedOnce 4 "no run is in a history twice",
    ChargedRight 4 "a run is charged what it used, and its reservation where nobody knows",
    AttemptsBounded 5 "work fails no more often than the policy and the ladder allow",
    AttemptOfItsOwn 5 "a new try is an attempt of its own, and the same one again is none",
    RefusedForGood 5 "whoever was refused for good, or too often, is not asked again",
    OnlyWorkCounts 5 "only what the work itself did wrong uses up an attempt",
    NothingNew 6 "with nothing new, nothing moves",
    AtRest 6 "of a repository at rest a tick changes nothing, whatever the time",
    HasAWayOut 6 "a state that is not at rest has a way to rest without a person",
    HaltHasAReason 6 "a halt has a reason, and a reason is a halt",
    OverStays 7 "what has ended moves by a person, or by a person's merge",
    SurvivesItsFile 8 "a state is the same after its file",
    SameAgain 8 "the same input gives the same output",
    AskedAgain 8 "what was not seen done is asked for again",
    NotForgotten 8 "what was lost is asked for again, though the state had it only once",
    DoneIsDone 8 "what was seen done is not asked for again",
    LandsOnce 8 "a stage lands once",
    EndsAsItLanded 8 "a stage whose change is on the base ends completed",
    StrangersChangeNothing 9 "what is seen of other runs, stages and notices changes nothing",
    NotIntoEdits 10 "nothing lands into local edits, a busy checkout or a branch that is gone",
    KeptBeforeCleared 10 "work is kept before its checkout is cleared, and none that is in use is",
}

/// How often each check had something to say, and each command was carried out.
#[derive(Debug, Default)]
pub struct Tally {
    met: Vec<Cell<u64>>,
    pub given: RefCell<BTreeMap<&'static str, u64>>,
}

impl Tally {
    pub fn new() -> Self {
        Self { met: CHECKS.iter().map(|_| Cell::new(0)).collect(), given: RefCell::default() }
    }

    /// A check applies.
    pub fn met(&self, check: Check) {
        self.met_times(check, 1);
    }

    pub fn met_times(&self, check: Check, times: u64) {
        let count = &self.met[check as usize];
        count.set(count.get() + times);
    }

    /// A command was carried out.
    pub fn gave(&self, command: &'static str) {
        *self.given.borrow_mut().entry(command).or_default() += 1;
    }

    /// How often each check applied, in the order of [`CHECKS`].
    pub fn counts(&self) -> Vec<u64> {
        self.met.iter().map(Cell::get).collect()
    }
}

/// Holds a check.
macro_rules! hold {
    ($tally:expr, $check:ident, $holds:expr, $($words:tt)+) => {
        $tally.met($crate::tally::Check::$check);
        if !$holds {
            let (number, what) = $crate::tally::CHECKS[$crate::tally::Check::$check as usize];
            return Err(format!("{number}: {what}: {}", format!($($words)+)));
        }
    };
}
pub(crate) use hold;
