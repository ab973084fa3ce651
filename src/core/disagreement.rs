//! Where the seats of a panel differ: criterion by criterion, because that is what a person looks at.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::Identity;
use super::verdict::Judgement;

/// What one seat said about every criterion, in the card's order. A seat that said nothing is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatVotes {
    /// The seat, counted from 1.
    pub seat: u32,
    /// Who sits on it.
    pub verifier: Identity,
    /// One judgement for each criterion.
    pub criteria: Vec<Judgement>,
}

/// What one seat said about one criterion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CriterionVote {
    /// The seat, counted from 1.
    pub seat: u32,
    /// Who sits on it.
    pub verifier: Identity,
    /// What it said.
    pub verdict: Judgement,
}

/// A criterion about which seats differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disagreement {
    /// The criterion's number in the card.
    pub criterion: u32,
    /// What each seat said.
    pub votes: Vec<CriterionVote>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "criterion {}: ", self.criterion)?;
        for (index, vote) in self.votes.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(out, "{comma}seat {} ({}) says {}", vote.seat, vote.verifier.name(), vote.verdict)?;
        }
        Ok(())
    }
}

/// Every criterion about which the seats differ, in the card's order.
pub fn disagreements(seats: &[SeatVotes]) -> Vec<Disagreement> {
    let criteria = seats.iter().map(|seat| seat.criteria.len()).max().unwrap_or_default();
    let votes_on = |index: usize| -> Vec<CriterionVote> {
        let vote = |seat: &SeatVotes| {
            let verdict = *seat.criteria.get(index)?;
            Some(CriterionVote { seat: seat.seat, verifier: seat.verifier.clone(), verdict })
        };
        seats.iter().filter_map(vote).collect()
    };
    let differ = |votes: &Vec<CriterionVote>| votes.windows(2).any(|pair| pair[0].verdict != pair[1].verdict);
    (1..)
        .zip((0..criteria).map(votes_on))
        .filter(|(_, votes)| differ(votes))
        .map(|(criterion, votes)| Disagreement { criterion, votes })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Judgement::{Blocked, Fail, Pass};

    #[test]
    fn only_what_differs_is_a_disagreement() {
        let seat = |seat: u32, criteria: &[Judgement]| SeatVotes {
            seat,
            verifier: format!("Judge {seat} <judge-{seat}@local>").parse().expect("identity"),
            criteria: criteria.to_vec(),
        };
        let seats = [seat(1, &[Pass, Pass, Pass]), seat(3, &[Pass, Fail, Blocked])];
        let found = disagreements(&seats);
        assert_eq!(found.iter().map(|one| one.criterion).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(found[0].to_string(), "criterion 2: seat 1 (Judge 1) says PASS, seat 3 (Judge 3) says FAIL");
        assert_eq!(disagreements(&seats[..1]), []);
        assert_eq!(disagreements(&[]), []);
    }
}
