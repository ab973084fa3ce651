//! Past candidates judged again: what their seats say now beside what they said then.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Heard, Opinion, VERSION};
use crate::core::ids::{CommitId, Identity, RunId, StageId, TreeId};
use crate::core::quantity::{MicroUsd, Tokens};

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It landed.
    Landed,
    /// It did not.
    NotLanded,
}

/// A verdict from the time when the candidate was a stage's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The run that gave it.
    pub run: RunId,
    /// Who.
    pub seat: Identity,
    /// What it amounted to.
    pub said: Opinion,
}

/// A candidate of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its stage.
    pub stage: StageId,
    /// The attempt that made it.
    pub attempt: u32,
    /// What was judged.
    pub tree: TreeId,
    /// What it was made on.
    pub base_commit: CommitId,
    /// The card that it was judged by, as a sha256 in hex.
    pub card_sha256: String,
    /// What became of it.
    pub fate: Fate,
    /// What was said of it then.
    pub earlier: Vec<Earlier>,
}

/// A candidate that could not be judged again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Its stage.
    pub stage: StageId,
    /// The attempt that made it.
    pub attempt: u32,
    /// Why not.
    pub why: String,
}

/// How a seat's opinion of a candidate has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Movement {
    /// It says what it said.
    Same,
    /// It says something else.
    Drifted,
    /// It was not asked then, or gave no verdict then or now: nothing can be compared.
    Incomparable,
}

/// A candidate as it is judged now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Now {
    /// The candidate, with what was said of it then.
    pub candidate: Candidate,
    /// What is said of it now.
    pub heard: Vec<Heard>,
    /// Seats whose opinion has moved.
    pub drifted: Vec<Identity>,
    /// Whether one judgement of now says PASS and another FAIL.
    pub disagreement: bool,
    /// Criteria, counted from 1, that are judged differently now from one verdict to another.
    pub disputed_criteria: Vec<u32>,
}

/// How a seat has moved over all candidates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeatDrift {
    /// The seat.
    pub seat: Identity,
    /// Judgements that say what it said.
    pub same: u32,
    /// Judgements that say something else.
    pub drifted: u32,
    /// Judgements without anything to compare with.
    pub incomparable: u32,
    /// FAILs now on what has landed.
    pub against_landed: u32,
    /// PASSes now on what has not landed.
    pub for_not_landed: u32,
    /// Judgements that came to no usable verdict.
    pub no_verdict: u32,
    /// Judgements that were not asked for.
    pub not_asked: u32,
    /// Tokens charged.
    pub tokens: Tokens,
    /// Dollars charged.
    pub cost_usd: MicroUsd,
}

/// What `grade` found out about the past of a repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Regrade {
    /// The version of this format: 1.
    pub version: u32,
    /// When it was begun.
    pub at: DateTime<Utc>,
    /// The seats.
    pub seats: Vec<SeatDrift>,
    /// The candidates.
    pub candidates: Vec<Now>,
    /// Those that could not be judged again.
    pub left_out: Vec<LeftOut>,
}

/// How a seat's new word stands to its newest earlier one.
fn movement(candidate: &Candidate, heard: &Heard) -> Movement {
    let counts = |said: Opinion| matches!(said, Opinion::Pass | Opinion::Fail | Opinion::Blocked);
    let before = candidate.earlier.iter().rev().find(|earlier| earlier.seat == heard.seat && counts(earlier.said));
    match before {
        Some(earlier) if counts(heard.said) && earlier.said == heard.said => Movement::Same,
        Some(_) if counts(heard.said) => Movement::Drifted,
        _ => Movement::Incomparable,
    }
}

/// Compares. The judgements are in the order of the candidates that they are about: one list each.
pub fn regrade(at: DateTime<Utc>, judged: Vec<(Candidate, Vec<Heard>)>, left_out: Vec<LeftOut>) -> Regrade {
    let mut seats: BTreeMap<Identity, SeatDrift> = BTreeMap::new();
    let mut candidates = Vec::new();
    for (candidate, heard) in judged {
        let mut drifted = BTreeSet::new();
        for one in &heard {
            let seat = seats.entry(one.seat.clone()).or_insert_with(|| SeatDrift {
                seat: one.seat.clone(),
                same: 0,
                drifted: 0,
                incomparable: 0,
                against_landed: 0,
                for_not_landed: 0,
                no_verdict: 0,
                not_asked: 0,
                tokens: Tokens(0),
                cost_usd: MicroUsd(0),
            });
            seat.tokens += one.tokens;
            seat.cost_usd += one.cost_usd;
            match movement(&candidate, one) {
                Movement::Same => seat.same += 1,
                Movement::Drifted => {
                    seat.drifted += 1;
                    drifted.insert(one.seat.clone());
                }
                Movement::Incomparable => seat.incomparable += 1,
            }
            match (candidate.fate, one.said) {
                (Fate::Landed, Opinion::Fail) => seat.against_landed += 1,
                (Fate::NotLanded, Opinion::Pass) => seat.for_not_landed += 1,
                (_, Opinion::NoVerdict) => seat.no_verdict += 1,
                (_, Opinion::NotAsked) => seat.not_asked += 1,
                _ => {}
            }
        }
        let says = |wanted: Opinion| heard.iter().any(|one| one.said == wanted);
        let disagreement = says(Opinion::Pass) && says(Opinion::Fail);
        candidates.push(Now {
            disagreement,
            disputed_criteria: disputed(&heard),
            drifted: drifted.into_iter().collect(),
            candidate,
            heard,
        });
    }
    Regrade { version: VERSION, at, seats: seats.into_values().collect(), candidates, left_out }
}

/// The criteria that verdicts about one candidate judge differently.
fn disputed(heard: &[Heard]) -> Vec<u32> {
    let most = heard.iter().map(|one| one.criteria.len()).max().unwrap_or(0);
    let differs = |index: &usize| {
        let mut said = heard.iter().filter_map(|one| one.criteria.get(*index));
        said.next().is_some_and(|first| said.any(|other| other != first))
    };
    (0..most).filter(differs).filter_map(|index| u32::try_from(index + 1).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::quantity::Seconds;
    use crate::core::verdict::Judgement;

    fn identity(name: &str) -> Identity {
        format!("{name} <{name}@local>").parse().expect("identity")
    }

    fn heard(seat: &str, said: Opinion, criteria: &[Judgement]) -> Heard {
        Heard {
            stage: "01-a".parse().expect("id"),
            run: "01-a.1.verifier-1".parse().expect("run"),
            seat: identity(seat),
            round: 1,
            said,
            words: String::new(),
            located: None,
            criteria: criteria.to_vec(),
            tokens: Tokens(1),
            cost_usd: MicroUsd(1),
            usage_unknown: false,
            seconds: Seconds(1),
        }
    }

    #[test]
    fn drift_is_against_the_newest_earlier_verdict_of_the_same_seat() {
        let earlier =
            |seat: &str, said| Earlier { run: "01-a.1.verifier".parse().expect("run"), seat: identity(seat), said };
        let candidate = Candidate {
            stage: "01-a".parse().expect("id"),
            attempt: 1,
            tree: "a".repeat(40).parse().expect("id"),
            base_commit: "b".repeat(40).parse().expect("id"),
            card_sha256: String::new(),
            fate: Fate::Landed,
            earlier: vec![
                earlier("One", Opinion::Fail),
                earlier("One", Opinion::Pass),
                earlier("One", Opinion::NoVerdict),
                earlier("Two", Opinion::Pass),
            ],
        };
        let (pass, fail) = (Judgement::Pass, Judgement::Fail);
        let now = vec![
            heard("One", Opinion::Pass, &[pass, pass]),
            heard("Two", Opinion::Fail, &[pass, fail]),
            heard("Three", Opinion::Pass, &[pass, pass]),
            heard("Two", Opinion::NoVerdict, &[]),
            heard("Two", Opinion::NotAsked, &[]),
        ];
        let found = regrade(DateTime::UNIX_EPOCH, vec![(candidate, now)], Vec::new());
        let only = &found.candidates[0];
        assert_eq!(only.drifted, [identity("Two")]);
        assert!(only.disagreement);
        assert_eq!(only.disputed_criteria, [2]);
        let seat = |name: &str| found.seats.iter().find(|seat| seat.seat == identity(name)).expect("seat");
        let counts = |name: &str| (seat(name).same, seat(name).drifted, seat(name).incomparable);
        assert_eq!((counts("One"), counts("Two"), counts("Three")), ((1, 0, 0), (0, 1, 2), (0, 0, 1)));
        let two = seat("Two");
        assert_eq!((two.against_landed, two.no_verdict, two.not_asked, two.tokens), (1, 1, 1, Tokens(3)));
    }
}
