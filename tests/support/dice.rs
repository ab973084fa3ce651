//! A small generator of numbers (xorshift64*): the same seed gives the same choices.

use std::time::Duration;

/// The generator.
pub struct Dice(u64);

impl Dice {
    /// With this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Another one, whose choices have nothing to do with how often this one is asked.
    #[must_use]
    pub fn of(seed: u64, purpose: u64) -> Self {
        Self::new(seed ^ (purpose + 1).wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// One of the numbers below this.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % end
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// A time between two, in milliseconds.
    pub fn moment(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis((least + self.below(most - least)) as u64)
    }
}
