//! What the votes of a panel amount to.
//!
//! PASS or FAIL is decided by a strict majority of the votes cast that is also as large as the quorum. A seat that
//! could not look abstains, and so does one that crashed for good; neither is a vote. Where the FAILs alone have put
//! a PASS out of reach, that is a FAIL, too: no other seat's vote could change what happens to the work.

/// What came of one seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vote {
    /// A verdict that amounts to PASS.
    Pass,
    /// A verdict that amounts to FAIL.
    Fail,
    /// A verdict that amounts to BLOCKED: the verifier could not look.
    Blocked,
    /// No verdict: the run crashed or left nothing usable. The seat may be run again.
    None,
    /// No verdict, and no retry left.
    Exhausted,
}

/// What a panel's votes amount to once every seat has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The candidate may land.
    Pass,
    /// The candidate is refused: a work failure.
    Fail,
    /// The votes decide nothing, and no retry could change that: a person is asked.
    Blocked,
    /// Not decided, but the seats with [`Vote::None`] could still decide it: run them again.
    Retry,
}

/// Decides over the votes of all seats, one each; `quorum` is at least 1 and at most the number of seats.
///
/// Called once every seat has ended: all seats run, even where the first ones have settled the matter. A verifier
/// that sits alone is a panel of one.
pub fn decide(votes: &[Vote], quorum: u32) -> Outcome {
    let count = |wanted: Vote| votes.iter().filter(|vote| **vote == wanted).count();
    let quorum = quorum.max(1) as usize;
    let (passes, fails, open) = (count(Vote::Pass), count(Vote::Fail), count(Vote::None));
    let silent = count(Vote::Blocked) + count(Vote::Exhausted);

    let enough_to_pass = |passes: usize, fails: usize| passes >= quorum && passes > fails;
    let enough_to_fail = |passes: usize, fails: usize, others: usize| {
        let majority = fails >= quorum && fails > passes;
        majority || (fails > 0 && !enough_to_pass(passes + others, fails))
    };

    if enough_to_pass(passes, fails) {
        Outcome::Pass
    } else if enough_to_fail(passes, fails, silent + open) {
        Outcome::Fail
    } else if open > 0 && (enough_to_pass(passes + open, fails) || enough_to_fail(passes, fails + open, silent)) {
        Outcome::Retry
    } else {
        Outcome::Blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Vote::{Blocked, Exhausted, Fail, None, Pass};

    #[test]
    fn panels_decide_as_people_expect() {
        let cases: &[(&[Vote], u32, Outcome)] = &[
            (&[Pass], 1, Outcome::Pass),
            (&[Fail], 1, Outcome::Fail),
            (&[Blocked], 1, Outcome::Blocked),
            (&[None], 1, Outcome::Retry),
            (&[Exhausted], 1, Outcome::Blocked),
            (&[Pass, Pass, Fail], 2, Outcome::Pass),
            (&[Pass, Pass, None], 2, Outcome::Pass),
            (&[Pass, Fail, None], 2, Outcome::Retry),
            (&[Pass, Fail, Exhausted], 2, Outcome::Blocked),
            (&[Fail, Fail, Pass], 2, Outcome::Fail),
            (&[Fail, Fail, None], 2, Outcome::Fail),
            (&[Pass, Fail, Blocked], 2, Outcome::Blocked),
            (&[Pass, Blocked, None], 2, Outcome::Retry),
            (&[Blocked, Blocked, None], 2, Outcome::Blocked),
            (&[Blocked, Blocked, Fail], 2, Outcome::Blocked),
            // Unanimity was asked for, and one seat has said no.
            (&[Pass, Pass, Fail], 3, Outcome::Fail),
            (&[Pass, Fail], 2, Outcome::Fail),
            // A quorum of one is no licence to outvote the others.
            (&[Pass, Fail, Fail], 1, Outcome::Fail),
            (&[Pass, Pass, Fail, Fail], 2, Outcome::Fail),
        ];
        for (votes, quorum, outcome) in cases {
            assert_eq!(decide(votes, *quorum), *outcome, "{votes:?}, quorum {quorum}");
        }
    }

    /// Every way to fill the seats that hold `hole`.
    fn fill(votes: &[Vote], hole: Vote, with: &[Vote]) -> Vec<Vec<Vote>> {
        votes.iter().fold(vec![vec![]], |all, vote| {
            let choices = if *vote == hole { with } else { std::slice::from_ref(vote) };
            all.iter().flat_map(|start| choices.iter().map(|next| [start.as_slice(), &[*next]].concat())).collect()
        })
    }

    /// The rule once more, by trying things out instead of counting what is reachable.
    fn model(votes: &[Vote], quorum: usize) -> Outcome {
        let side = |votes: &[Vote], one| votes.iter().filter(|vote| **vote == one).count();
        let wins = |votes: &[Vote], one, other| side(votes, one) >= quorum && side(votes, one) > side(votes, other);
        let hopeless = |votes: &[Vote]| {
            let best: Vec<_> = votes.iter().map(|vote| if *vote == Fail { Fail } else { Pass }).collect();
            !wins(&best, Pass, Fail)
        };
        let settled = |votes: &[Vote]| wins(votes, Pass, Fail) || wins(votes, Fail, Pass) || hopeless(votes);
        match () {
            () if wins(votes, Pass, Fail) => Outcome::Pass,
            () if settled(votes) => Outcome::Fail,
            () if fill(votes, None, &[Pass, Fail, Blocked, Exhausted]).iter().any(|votes| settled(votes)) => {
                Outcome::Retry
            }
            () => Outcome::Blocked,
        }
    }

    #[test]
    fn every_panel_of_up_to_five_decides_as_the_model_does() {
        let mut compared = 0;
        for seats in 1..=5 {
            for votes in fill(&vec![None; seats], None, &[Pass, Fail, Blocked, None, Exhausted]) {
                for quorum in 1..=seats {
                    let decided = decide(&votes, u32::try_from(quorum).expect("small"));
                    assert_eq!(decided, model(&votes, quorum), "{votes:?}, quorum {quorum}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 5 + 25 * 2 + 125 * 3 + 625 * 4 + 3125 * 5);
    }

    #[test]
    fn a_quorum_that_does_not_fit_never_passes() {
        assert_eq!(decide(&[], 1), Outcome::Blocked);
        assert_eq!(decide(&[Pass, Pass], 3), Outcome::Blocked);
        assert_eq!(decide(&[Fail], 0), Outcome::Fail);
    }
}
