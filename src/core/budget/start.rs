//! Runs that start together: what is set aside for them, and how far they may pass it.
//!
//! A run is stopped after the turn that passes its cap. One such turn is nobody's to prevent; for every other run that is
//! in flight meanwhile there must be room for one more, or their turns would add up.

use crate::core::quantity::{MicroUsd, Seconds, Tokens};
use crate::core::state::{Reservation, Stage};

/// What one turn of a model takes at most: a whole window of context, read once.
const LARGEST_TURN: Tokens = Tokens(200_000);

/// Runs that start together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// What is set aside for them.
    pub ask: Reservation,
    /// What there must be room for: that, and a last turn of each but the one whose turn is the largest.
    pub room: Reservation,
    /// A last turn of each of them.
    pub turns: Reservation,
}

impl Start {
    /// The start of these runs.
    pub fn of(runs: &[Reservation]) -> Self {
        let ask: Reservation = runs.iter().copied().sum();
        let turns: Reservation = runs.iter().map(Reservation::one_turn).sum();
        let largest = runs.iter().map(Reservation::one_turn).max_by_key(|turn| turn.tokens).unwrap_or_default();
        let room = Reservation {
            tokens: ask.tokens + (turns.tokens - largest.tokens),
            cost_usd: ask.cost_usd + (turns.cost_usd - largest.cost_usd),
            seconds: ask.seconds,
        };
        Self { ask, room, turns }
    }
}

impl Reservation {
    /// What the last turn of a run may take beyond what is set aside for it.
    fn one_turn(&self) -> Self {
        let tokens = self.tokens.min(LARGEST_TURN);
        let share = u128::from(self.cost_usd.0) * u128::from(tokens.0);
        let cost = share.checked_div(u128::from(self.tokens.0)).unwrap_or_default();
        Self { tokens, cost_usd: MicroUsd(u64::try_from(cost).unwrap_or(u64::MAX)), seconds: Seconds(0) }
    }

    /// How far the runs in flight may pass what is set aside for them.
    pub fn beyond(stages: &[Stage]) -> Self {
        stages.iter().flat_map(|stage| stage.life.flights()).map(|flight| flight.reserved.one_turn()).sum()
    }
}

impl std::ops::AddAssign for Reservation {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.cost_usd += other.cost_usd;
        self.seconds += other.seconds;
    }
}

impl std::iter::Sum for Reservation {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tokens: u64, micros: u64) -> Reservation {
        Reservation { tokens: Tokens(tokens), cost_usd: MicroUsd(micros), seconds: Seconds(60) }
    }

    #[test]
    fn one_turn_of_all_that_start_together_needs_no_room() {
        let alone = Start::of(&[run(3_000_000, 15_000_000)]);
        assert_eq!(
            (alone.room, alone.turns),
            (alone.ask, Reservation { seconds: Seconds(0), ..run(200_000, 1_000_000) })
        );
        let panel = Start::of(&[run(1_000_000, 5_000_000), run(100_000, 500_000)]);
        assert_eq!(panel.ask, Reservation { seconds: Seconds(120), ..run(1_100_000, 5_500_000) });
        assert_eq!((panel.room.tokens, panel.room.cost_usd), (Tokens(1_200_000), MicroUsd(6_000_000)));
        assert_eq!(Start::of(&[]).room, Reservation::default());
    }
}
