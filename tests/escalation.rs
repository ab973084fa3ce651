//! Re-brief, escalate, stop: every row of the table in docs/how-it-works.md, over the pure machine.
//!
//! A row is a card's ladder, a policy, and what becomes of each try; it comes to a list of who worked and who judged,
//! and to an end. `tests/scenarios_escalation.rs` lives through the main rows with the real binary.

#![allow(clippy::expect_used, reason = "a broken test environment should fail loudly")]

#[path = "support/briefs.rs"]
mod briefs;

use std::collections::BTreeMap;

use autometta::core::budget::Budget;
use autometta::core::card::Card;
use autometta::core::exit::{
    EndedBy, ExitRecord, GateResult, Outbox, ProcessEnd, ProviderReport, Refusal, RefusalClass, RefusalScope, Usage,
};
use autometta::core::handoff::Handoff;
use autometta::core::honesty::Findings;
use autometta::core::ids::{FamilyName, Identity, ObjectId, Role, RunId};
use autometta::core::notice::NoticeKind;
use autometta::core::observation::{
    Brief, Captured, Ended, LandingSighting, LostRun, Observation, Placed, Product, Returned, Sighting, WorkSighting,
};
use autometta::core::operate::{Command, operate, queued};
use autometta::core::policy::Policy;
use autometta::core::state::{Candidate, Life, NextRun, Reservation, Stage, State};
use autometta::core::step::{Note, step};
use autometta::core::verdict::Verdict;
use chrono::{DateTime, TimeDelta, Utc};

/// What becomes of one run of a worker, and of what it made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// It passes everything and lands.
    Lands,
    /// A gate fails.
    Gate,
    /// The verifiers say FAIL.
    Verdict,
    /// The candidate changes nothing.
    Empty,
    /// The candidate changes what it must not.
    Outside,
    /// The identical tree comes back.
    Same,
    /// What the run before had left comes back, which nobody has judged.
    AsLeft,
    /// The worker says that it cannot be done.
    GivesUp,
    /// No handoff.
    Missing,
    /// A handoff that is none.
    Malformed,
    /// Its own wall-clock cap.
    Timeout,
    /// The provider: too long for the model.
    Context,
    /// The provider: a limit.
    Limit,
    /// Lost without a record.
    Lost,
    /// Killed by a signal.
    Crash,
    /// The verifiers could not look.
    Blocked,
}

use Way::{
    AsLeft, Blocked, Context, Crash, Empty, Gate, GivesUp, Lands, Limit, Lost, Malformed, Missing, Outside, Same,
    Timeout,
};

/// The family of an identity is the first letter of its name.
fn family(who: &Identity) -> FamilyName {
    who.name()[..1].to_lowercase().parse().expect("family")
}

fn card(metadata: &str) -> Card {
    let text = format!(
        "# Stage card 01-a: Work\n\n## Metadata\n- **Worker:** Able <able@x>\n{metadata}\n## Objective\nDo.\n\n\
         ## Deliverables\n1. `a/`: it\n\n## Acceptance criteria\n1. it works\n\n## Acceptance command\n```sh\ntrue\n```\n"
    );
    Card::parse("01-a".parse().expect("stage"), &text).expect("card").card
}

fn brief(card: &Card) -> Brief {
    let placed = |who: &Identity| Placed { identity: who.clone(), family: family(who), model: None };
    let caps = Reservation::default();
    briefs::brief(card, placed, caps, Some(caps))
}

fn id(number: u64) -> ObjectId {
    format!("{number:040x}").parse().expect("id")
}

/// One stage under the machine.
struct Story {
    brief: Brief,
    policy: Policy,
    state: State,
    budget: Budget,
    now: DateTime<Utc>,
    trees: u64,
    left: ObjectId,
    notes: Vec<Note>,
}

impl Story {
    fn new(metadata: &str, retries: u32) -> Self {
        let card = card(metadata);
        let now = DateTime::UNIX_EPOCH;
        let stage = queued(&card, "01-a.md".to_owned(), "main".to_owned());
        let add = Command::AddStages(vec![stage]);
        let done = operate(&State::new("r".to_owned()), &Budget::default(), add, now).expect("queued");
        let policy = Policy { work_retries: retries, tells: NoticeKind::ALL.into(), ..Policy::default() };
        let mut life = Self {
            brief: brief(&card),
            policy,
            state: done.state,
            budget: done.budget,
            now,
            trees: 1,
            left: id(1),
            notes: Vec::new(),
        };
        life.step(&life.seen());
        life
    }

    fn stage(&self) -> &Stage {
        &self.state.stages[0]
    }

    fn seen(&self) -> Observation {
        let stage = &self.stage().id;
        Observation {
            committer: Some("O <o@x>".parse().expect("identity")),
            tips: BTreeMap::from([("main".to_owned(), Some(id(1)))]),
            briefs: BTreeMap::from([(stage.clone(), Ok(Box::new(self.brief.clone())))]),
            ..Observation::default()
        }
    }

    fn step(&mut self, seen: &Observation) {
        // Longer than any pause that a provider asks for, so that what is put off goes on.
        self.now += TimeDelta::hours(2);
        let done = step(&self.state, &self.budget, seen, &self.policy, self.now);
        (self.state, self.budget) = (done.state, done.budget);
        self.notes.extend(done.notes);
        let stage = self.stage();
        for flight in stage.life.flights().into_iter().filter(|flight| flight.run.role == Role::Verifier) {
            let rationale = self.brief.card.same_family.is_some();
            assert!(rationale || flight.family != Some(family(&stage.worker)), "{} judges its own", flight.run);
        }
    }

    /// Lives through one run of the worker and all that follows from it, up to the next run of a worker or an end.
    fn live(&mut self, way: Way) {
        let Life::Working(working) = &self.stage().life else { panic!("nobody works: {:?}", self.stage().life) };
        let (run, resume) = (working.flight.run.clone(), working.resume.clone());
        self.trees += 1;
        let same = resume.filter(|_| way == Same);
        let fresh = || if way == AsLeft { self.left.clone() } else { id(self.trees * 2) };
        let tree = same.map_or_else(fresh, |resume| resume.tree);
        self.left = tree.clone();
        let changed = match way {
            Empty => Vec::new(),
            Outside => vec!["b".to_owned()],
            _ => vec!["a/b".to_owned()],
        };
        let candidate = Candidate { commit: id(self.trees * 2 + 1), tree, run: run.clone() };
        let work = WorkSighting::Captured(Captured {
            candidate,
            changed,
            embedded: Vec::new(),
            findings: Box::new(Findings::default()),
        });
        let sighting = match way {
            Lost => Sighting::Lost(Box::new(LostRun {
                usage: Usage::none(),
                elapsed: None,
                work: Some(work),
                detail: "lost".to_owned(),
            })),
            _ => worked(&run, way, work, self.now),
        };
        self.see(&[(run, sighting)]);
        for _ in 0..3 {
            match self.stage().life.clone() {
                Life::Gating(gating) => {
                    let run = gating.flight.expect("the gate runs").run;
                    let gate = gated(&run, way, self.now);
                    self.see(&[(run, gate)]);
                }
                Life::Verifying(verifying) => {
                    let runs = verifying.seats.iter().filter_map(|seat| seat.flight.as_ref());
                    let seen: Vec<(RunId, Sighting)> =
                        runs.map(|flight| (flight.run.clone(), judged(&flight.run, way, self.now))).collect();
                    assert!(!seen.is_empty(), "nobody judges");
                    self.see(&seen);
                }
                Life::Landing(landing) => {
                    let mut seen = self.seen();
                    let landed = LandingSighting::Landed(landing.candidate.commit);
                    seen.landings.insert(self.stage().id.clone(), landed);
                    self.step(&seen);
                }
                Life::Pending(_) => self.step(&self.seen()),
                Life::Working(_) | Life::Over(_) => return,
            }
        }
    }

    fn see(&mut self, runs: &[(RunId, Sighting)]) {
        let mut seen = self.seen();
        seen.runs.extend(runs.iter().cloned());
        self.step(&seen);
    }

    /// Lives until the stage has ended; the last way is gone over and over. Gives who worked and judged, try by try,
    /// and the end: `1 able|bold, 2 able|bold: verifier_failed gate-failed`.
    fn story(mut self, ways: &[Way]) -> (String, Self) {
        let mut tries = Vec::new();
        for index in 0..40 {
            let stage = self.stage();
            let Life::Working(working) = &stage.life else { break };
            let run = &working.flight.run;
            assert_eq!(working.flight.identity.as_ref(), Some(&stage.worker));
            let retry = if run.retry == 0 { String::new() } else { format!(".{}", run.retry) };
            let judges: Vec<&str> = stage.verifiers.iter().map(Identity::handle).collect();
            tries.push(format!("{}{retry} {}|{}", run.attempt, stage.worker.handle(), judges.join("+")));
            self.live(*ways.get(index).or(ways.last()).expect("a way"));
        }
        let Life::Over(over) = &self.stage().life else { panic!("it never ends: {:?}", self.stage().life) };
        let code = over.reason.as_ref().map_or(String::new(), |reason| format!(" {}", reason.code));
        (format!("{}: {}{code}", tries.join(", "), over.status.as_str()), self)
    }
}

fn record(run: &RunId, now: DateTime<Utc>) -> ExitRecord {
    ExitRecord {
        run_id: run.clone(),
        started_at: now,
        ended_at: now,
        elapsed_seconds: 1.0,
        exit: ProcessEnd::Code(0),
        ended_by: EndedBy::Exit,
        usage: Usage::none(),
        provider: ProviderReport::default(),
        peak_rss_bytes: 0,
        cpu_seconds: 0.0,
        outbox: Some(Outbox::Handoff),
        outbox_fault: None,
        gates: Vec::new(),
        secrets_in_work: Vec::new(),
    }
}

fn worked(run: &RunId, way: Way, work: WorkSighting, now: DateTime<Utc>) -> Sighting {
    let mut record = record(run, now);
    let refused = |class| ProviderReport {
        refusal: Some(Refusal { class, scope: RefusalScope::Family, line: "no".to_owned() }),
        resets_at: None,
    };
    match way {
        Timeout => record.ended_by = EndedBy::Timeout,
        Context => record.provider = refused(RefusalClass::Context),
        Limit => record.provider = refused(RefusalClass::Limit),
        Crash => record.exit = ProcessEnd::Signal(11),
        _ => {}
    }
    let status = if way == GivesUp { "fail" } else { "pass" };
    let json = serde_json::json!({"stage_id": run.stage, "status": status, "deliverables": [], "notes": "n"});
    let handoff = match way {
        Missing | Crash => Returned::Nothing,
        Malformed => Returned::Unusable("torn".to_owned()),
        _ => Returned::Usable(Handoff::parse(json.to_string().as_bytes(), &run.stage).expect("handoff")),
    };
    Sighting::Ended(Box::new(Ended { record, product: Product::Worker { handoff, work } }))
}

fn gated(run: &RunId, way: Way, now: DateTime<Utc>) -> Sighting {
    let mut record = record(run, now);
    let exit = ProcessEnd::Code(i32::from(way == Gate));
    record.exit = exit;
    record.gates.push(GateResult {
        name: "acceptance".to_owned(),
        command: "true".to_owned(),
        exit,
        timed_out: false,
        elapsed_seconds: 0.1,
        output_tail: String::new(),
        retries: 0,
        error_line: None,
    });
    Sighting::Ended(Box::new(Ended { record, product: Product::Gate }))
}

fn judged(run: &RunId, way: Way, now: DateTime<Utc>) -> Sighting {
    let word = match way {
        Way::Verdict => "FAIL",
        Blocked => "BLOCKED",
        _ => "PASS",
    };
    let json = serde_json::json!({"stage_id": run.stage, "overall": word, "headline": "h",
        "criteria": [{"id": 1, "name": "n", "verdict": word, "evidence": "a:1"}], "additional_findings": ""});
    let verdict = Returned::Usable(Verdict::parse(json.to_string().as_bytes(), &run.stage, 1).expect("verdict"));
    Sighting::Ended(Box::new(Ended { record: record(run, now), product: Product::Verifier { verdict } }))
}

const ONE: &str = "- **Verifier:** Bold <bold@x>\n";
const PANEL: &str = "- **Verifier panel:** 2 of Bold <bold@x>; Calm <calm@x>; Dire <dire@x>\n";
const TIER: &str = "- **Escalation:** Ace <ace@x>\n";
const FAMILY: &str = "- **Escalation:** Best <best@x>\n";
const THREE: &str = "- **Escalation:** Ace <ace@x>; Best <best@x>; Cool <cool@x>\n";

fn story(metadata: &[&str], retries: u32, ways: &[Way]) -> String {
    Story::new(&metadata.concat(), retries).story(ways).0
}

#[test]
fn a_failure_that_was_judged_uses_up_the_tries_of_each_rung() {
    for (ladder, retries, expected) in [
        ("", 0, "1 able|bold"),
        ("", 1, "1 able|bold, 2 able|bold"),
        ("", 2, "1 able|bold, 2 able|bold, 3 able|bold"),
        (TIER, 0, "1 able|bold, 2 ace|bold"),
        (TIER, 1, "1 able|bold, 2 able|bold, 3 ace|bold, 4 ace|bold"),
        (FAMILY, 0, "1 able|bold, 2 best|able"),
        (FAMILY, 1, "1 able|bold, 2 able|bold, 3 best|able, 4 best|able"),
        (THREE, 0, "1 able|bold, 2 ace|bold, 3 best|able, 4 cool|bold"),
        (
            THREE,
            1,
            "1 able|bold, 2 able|bold, 3 ace|bold, 4 ace|bold, 5 best|able, 6 best|able, 7 cool|bold, 8 cool|bold",
        ),
    ] {
        for (way, end) in [
            (Gate, "verifier_failed gate-failed"),
            (Way::Verdict, "verifier_failed verdict-fail"),
            (Empty, "failed empty-diff"),
            (Outside, "failed out-of-scope"),
        ] {
            assert_eq!(story(&[ONE, ladder], retries, &[way]), format!("{expected}: {end}"), "{way:?}");
        }
    }
}

#[test]
fn a_worker_that_will_not_finish_is_replaced_at_once_and_without_a_ladder_it_ends_at_once() {
    for (ladder, expected) in [
        ("", "1 able|bold"),
        (TIER, "1 able|bold, 2 ace|bold"),
        (THREE, "1 able|bold, 2 ace|bold, 3 best|able, 4 cool|bold"),
    ] {
        for (way, end) in [
            (GivesUp, "failed worker-failed"),
            (Missing, "stalled handoff-missing"),
            (Malformed, "stalled handoff-malformed"),
            (Timeout, "stalled timed-out"),
        ] {
            for retries in [0, 1, 2] {
                let story = story(&[ONE, ladder], retries, &[way]);
                assert_eq!(story, format!("{expected}: {end}"), "{way:?} with {retries} retries");
            }
        }
    }
}

#[test]
fn what_is_nobodys_work_never_climbs() {
    let lost = "1 able|bold, 1.1 able|bold, 1.2 able|bold, 1.3 able|bold";
    for ladder in ["", TIER, THREE] {
        for (way, expected) in [
            (Lost, format!("{lost}: stalled lost")),
            (Crash, format!("{lost}: stalled agent-crashed")),
            (Context, "1 able|bold: failed context-too-long".to_owned()),
            (Blocked, "1 able|bold: blocked verdict-blocked".to_owned()),
        ] {
            assert_eq!(story(&[ONE, ladder], 1, &[way]), expected, "{way:?}");
        }
        let limit = story(&[ONE, ladder], 1, &[Limit, Limit, Lands]);
        assert_eq!(limit, "1 able|bold, 1.1 able|bold, 1.2 able|bold: completed");
    }
}

#[test]
fn failures_of_several_kinds_add_up_along_the_ladder() {
    let no_progress = "verifier_failed no-progress";
    for (metadata, retries, ways, expected) in [
        // The identical tree climbs at once, and ends where there is nobody else.
        (vec![ONE], 2, vec![Gate, Same], format!("1 able|bold, 2 able|bold: {no_progress}")),
        (vec![ONE, TIER], 2, vec![Gate, Same], format!("1 able|bold, 2 able|bold, 3 ace|bold: {no_progress}")),
        (
            vec![ONE, TIER],
            2,
            vec![Gate, Same, Gate, Gate, Lands],
            "1 able|bold, 2 able|bold, 3 ace|bold, 4 ace|bold, 5 ace|bold: completed".to_owned(),
        ),
        // Nobody had judged what a silent worker left: its successor may find it right as it is.
        (vec![ONE, TIER], 1, vec![Missing, Same], "1 able|bold, 2 ace|bold: completed".to_owned()),
        (vec![ONE, TIER], 1, vec![Timeout, Lands], "1 able|bold, 2 ace|bold: completed".to_owned()),
        // What a run had mended before its provider cut it short is progress.
        (vec![ONE], 1, vec![Gate, Limit, AsLeft], "1 able|bold, 2 able|bold, 2.1 able|bold: completed".to_owned()),
        (vec![ONE], 1, vec![Gate, Limit, Same], format!("1 able|bold, 2 able|bold, 2.1 able|bold: {no_progress}")),
        // A loss in between uses up nothing.
        (
            vec![ONE, FAMILY],
            1,
            vec![Gate, Lost, Way::Verdict, Crash, Limit, Outside, GivesUp],
            "1 able|bold, 2 able|bold, 2.1 able|bold, 3 best|able, 3.1 best|able, 3.2 best|able, 4 best|able: \
             failed worker-failed"
                .to_owned(),
        ),
        (
            vec![ONE, FAMILY],
            1,
            vec![Gate, GivesUp, Lands],
            "1 able|bold, 2 able|bold, 3 best|able: completed".to_owned(),
        ),
        // On a panel only the seat of the worker's family changes hands.
        (
            vec![PANEL, "- **Escalation:** Cool <cool@x>; Ace <ace@x>\n"],
            0,
            vec![Way::Verdict],
            "1 able|bold+calm+dire, 2 cool|bold+able+dire, 3 ace|bold+calm+dire: verifier_failed verdict-fail"
                .to_owned(),
        ),
        // A rationale keeps the seats.
        (
            vec![ONE, FAMILY, "- **Same family:** there is only this one\n"],
            0,
            vec![Gate],
            "1 able|bold, 2 best|bold: verifier_failed gate-failed".to_owned(),
        ),
    ] {
        assert_eq!(story(&metadata, retries, &ways), expected, "{metadata:?} {ways:?}");
    }
}

#[test]
fn a_rung_whose_families_have_become_one_is_stepped_over_with_its_reason() {
    let mut life = Story::new(&[ONE, FAMILY].concat(), 0);
    // The manifest has put the card's worker into the other house meanwhile: nobody is left to judge there.
    for member in life.brief.members.iter_mut().filter(|member| member.placed.identity.handle() == "able") {
        member.placed.family = "b".parse().expect("family");
    }
    let (story, life) = life.story(&[Gate]);
    assert_eq!(story, "1 able|bold: verifier_failed gate-failed");
    let skipped = life.notes.iter().find(|note| note.event == "rung-skipped").expect("a note");
    assert!(skipped.detail.starts_with("rung 1: `Best <best@x>` and the verifier `Bold <bold@x>`"), "{skipped:?}");
}

#[test]
fn nobody_is_dispatched_to_a_rung_that_is_no_longer_apart() {
    let mut life = Story::new(&[ONE, FAMILY].concat(), 0);
    let able = life.brief.members.iter().position(|member| member.placed.identity.handle() == "able").expect("able");
    let before = life.brief.clone();
    // Between the decision to climb and the dispatch the family of the new verifier changes.
    life.policy.max_parallel = 0;
    life.live(Gate);
    assert!(matches!(life.stage().life, Life::Pending(_)), "{:?}", life.stage().life);
    life.policy.max_parallel = 1;
    life.brief.members[able].placed.family = "b".parse().expect("family");
    life.step(&life.seen());
    let Life::Pending(pending) = &life.stage().life else { panic!("it started: {:?}", life.stage().life) };
    assert_eq!(pending.reason.as_ref().map(|reason| reason.code.as_str()), Some("same-family"));
    life.brief = before;
    life.step(&life.seen());
    assert_eq!(life.story(&[Lands]).0, "2 best|able: completed");
}

#[test]
fn a_climb_is_written_down_with_who_hands_over_and_whose_evidence_goes_with_it() {
    let mut life = Story::new(&[ONE, FAMILY].concat(), 0);
    life.live(Way::Verdict);
    let note = life.notes.iter().find(|note| note.event == "escalated").expect("a note");
    assert_eq!(note.detail, "Able <able@x> → Best <best@x> (rung 1 of 1); verifier Bold <bold@x> → Able <able@x>");
    let Life::Working(working) = &life.stage().life else { panic!("nobody works") };
    let resume = working.resume.as_ref().expect("earlier work");
    let names = |runs: &[RunId]| runs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&resume.evidence), ["01-a.1.verifier"]);
    assert_eq!(resume.predecessor.as_ref().map(ToString::to_string).as_deref(), Some("01-a.1.worker"));
    assert_eq!(life.notes.iter().filter(|note| note.event == "escalated").count(), 1);
    assert!(life.state.notices.is_empty(), "it goes on by itself: {:?}", life.state.notices);
    let (_, life) = life.story(&[Gate]);
    let told: Vec<NoticeKind> = life.state.notices.iter().map(|notice| notice.kind).collect();
    assert_eq!(told, [NoticeKind::Escalation, NoticeKind::NightEnd], "one word at the end, and the night's");
}

#[test]
fn a_requeued_stage_begins_at_the_foot_of_the_ladder_again() {
    let (_, mut life) = Story::new(&[ONE, FAMILY].concat(), 1).story(&[Gate]);
    assert_eq!((life.stage().rung, life.stage().failures_below), (1, 2));
    let requeue = Command::Requeue(life.stage().id.clone());
    let done = operate(&life.state, &life.budget, requeue, life.now).expect("requeued");
    (life.state, life.budget) = (done.state, done.budget);
    assert_eq!((life.stage().rung, life.stage().failures_below, life.stage().failures), (0, 0, 0));
    assert!(matches!(&life.stage().life, Life::Pending(pending) if pending.next == NextRun::Fresh));
    life.step(&life.seen());
    let (story, _) = life.story(&[Gate]);
    assert_eq!(story, "5 able|bold, 6 able|bold, 7 best|able, 8 best|able: verifier_failed gate-failed");
}
