//! Panels: every combination of votes of up to five seats and every quorum, through the machine itself, against a
//! model of the rule that was written for this test alone.

#![allow(clippy::expect_used, reason = "a broken test environment should fail loudly")]

use std::collections::BTreeMap;

use autometta::core::budget::Budget;
use autometta::core::card::Card;
use autometta::core::ids::ObjectId;
use autometta::core::observation::Observation;
use autometta::core::operate::queued;
use autometta::core::policy::Policy;
use autometta::core::state::{Ballot, Candidate, Chore, EndStatus, Life, Said, Seat, Stage, State, Verifying, Work};
use autometta::core::step::step;
use autometta::core::verdict::Judgement;

/// What becomes of a candidate.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Lands,
    Refused,
    AsksAPerson,
}

/// The rule: PASS or FAIL needs a strict majority of the votes cast and at least the quorum. Where the FAILs have put a
/// PASS out of reach whatever the silent seats might have said, that is a FAIL as well. All else is for a person.
fn model(votes: &[Said], quorum: usize) -> Fate {
    let count = |said| votes.iter().filter(|vote| **vote == said).count();
    let (pass, fail) = (count(Said::Pass), count(Said::Fail));
    let silent = votes.len() - pass - fail;
    match () {
        () if pass > fail && pass >= quorum => Fate::Lands,
        () if fail > pass && fail >= quorum => Fate::Refused,
        () if fail > 0 && (pass + silent <= fail || pass + silent < quorum) => Fate::Refused,
        () => Fate::AsksAPerson,
    }
}

fn object(number: u8) -> ObjectId {
    format!("{number:040x}").parse().expect("id")
}

/// A stage whose seats have all been heard.
fn stage(votes: &[Said], quorum: usize) -> Stage {
    let names: Vec<String> = (1..=votes.len()).map(|seat| format!("Judge {seat} <judge-{seat}@local>")).collect();
    let text = format!(
        "# Stage card 01-work: Work\n\n## Metadata\n- **Worker:** W <w@local>\n- **Verifier panel:** {quorum} of {}\n\
         ## Objective\nDo.\n\n## Deliverables\n1. `a`: it\n\n## Acceptance criteria\n1. it works\n\n\
         ## Acceptance command\n```sh\ntrue\n```\n",
        names.join("; ")
    );
    let card = Card::parse("01-work".parse().expect("stage"), &text).expect("card").card;
    let mut stage = queued(&card, "stage-cards/01-work.md".to_owned(), "main".to_owned());
    stage.attempt = 1;
    let mut seats = Seat::open(&stage.verifiers);
    for (seat, said) in seats.iter_mut().zip(votes) {
        let run = format!("01-work.1.verifier-{}", seat.number.unwrap_or(1));
        let criteria = match said {
            Said::Pass => vec![Judgement::Pass],
            Said::Fail => vec![Judgement::Fail],
            Said::Blocked => vec![Judgement::Blocked],
            Said::Nothing => Vec::new(),
        };
        seat.vote = Some(Ballot { run: run.parse().expect("run"), said: *said, words: "Do it".to_owned(), criteria });
    }
    let candidate = Candidate { commit: object(2), tree: object(3), run: "01-work.1.worker".parse().expect("run") };
    let work = Work { base_commit: object(1), started_at: chrono::DateTime::UNIX_EPOCH };
    stage.life = Life::Verifying(Verifying { work, candidate, gate: None, seats });
    stage
}

fn fate(stage: &Stage) -> Fate {
    match &stage.life {
        Life::Landing(_) => Fate::Lands,
        Life::Over(over) if over.status == EndStatus::VerifierFailed => Fate::Refused,
        Life::Over(over) if matches!(over.status, EndStatus::Blocked | EndStatus::Stalled) => Fate::AsksAPerson,
        other => panic!("it is {}", other.word()),
    }
}

#[test]
fn every_panel_of_up_to_five_seats_decides_as_the_model_does() {
    const ALL: [Said; 4] = [Said::Pass, Said::Fail, Said::Blocked, Said::Nothing];
    let policy = Policy { work_retries: 0, ..Policy::default() };
    let seen = Observation { briefs: BTreeMap::new(), ..Observation::default() };
    let mut compared = 0;
    for seats in 2..=5_usize {
        for number in 0..ALL.len().pow(u32::try_from(seats).expect("small")) {
            let votes: Vec<Said> = (0..seats)
                .map(|seat| ALL[number / ALL.len().pow(u32::try_from(seat).expect("small")) % ALL.len()])
                .collect();
            for quorum in 1..=seats {
                let mut state = State::new("repo".to_owned());
                state.stages.push(stage(&votes, quorum));
                let next = step(&state, &Budget::default(), &seen, &policy, chrono::DateTime::UNIX_EPOCH);
                let after = &next.state.stages[0];
                assert_eq!(fate(after), model(&votes, quorum), "{votes:?}, quorum {quorum}");
                let differ = votes
                    .iter()
                    .filter(|said| **said != Said::Nothing)
                    .any(|said| votes.iter().any(|other| *other != Said::Nothing && other != said));
                let noted = next.notes.iter().any(|note| note.event == "disagreed");
                assert_eq!(noted, differ, "{votes:?}, quorum {quorum}: {:?}", next.notes);
                let published = after
                    .chores
                    .iter()
                    .any(|chore| matches!(chore, Chore::PublishPanel { runs, .. } if runs.len() == seats));
                assert!(published, "{votes:?}, quorum {quorum}: the panel is not published");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 16 * 2 + 64 * 3 + 256 * 4 + 1024 * 5);
}
