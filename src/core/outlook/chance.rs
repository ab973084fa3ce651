//! Chance that is the same for the same seed: started anew for each run of each night, so that what one run draws never
//! depends on which others were drawn before it.

use crate::core::random::Random;

/// Numbers that follow from a seed.
#[derive(Debug, Clone)]
pub struct Chance(Random);

impl Chance {
    /// The chance of one thing, such as a run, in one night.
    pub fn new(seed: u64, night: u64, about: &str) -> Self {
        // FNV-1a, so that names that differ by one letter have nothing in common after the first step.
        let name = about
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self([night, name].into_iter().fold(Random::new(seed), |mut random, more| Random::new(random.bits() ^ more)))
    }

    /// A fraction: at least 0 and below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub fn fraction(&mut self) -> f64 {
        (self.0.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of them; none where there are none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(usize::try_from(self.0.bits() % count).ok()?)
    }

    /// The place of one of them, each as often as it weighs.
    pub fn weighed(&mut self, weights: &[f64]) -> usize {
        let mut left = self.fraction() * weights.iter().sum::<f64>();
        let fits = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        fits.unwrap_or_else(|| weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_name_does_not() {
        let drawn = |seed, night, about| {
            let mut chance = Chance::new(seed, night, about);
            [chance.0.bits(), chance.0.bits()]
        };
        assert_eq!(drawn(1, 2, "01-a.1.worker"), drawn(1, 2, "01-a.1.worker"));
        for (seed, night, about) in [(2, 2, "01-a.1.worker"), (1, 3, "01-a.1.worker"), (1, 2, "01-a.2.worker")] {
            assert_ne!(drawn(1, 2, "01-a.1.worker"), drawn(seed, night, about));
        }
    }

    #[test]
    fn each_is_drawn_as_often_as_it_weighs() {
        let mut counts = [0_u32; 4];
        for night in 0..20_000 {
            counts[Chance::new(7, night, "x").weighed(&[1.0, 0.0, 3.0, 0.0])] += 1;
        }
        assert!((4_700..5_300).contains(&counts[0]) && counts[1] == 0 && counts[3] == 0, "{counts:?}");
        let mean = (0..20_000).map(|night| Chance::new(7, night, "y").fraction()).sum::<f64>() / 20_000.0;
        assert!((0.49..0.51).contains(&mean), "{mean}");
        assert_eq!(Chance::new(0, 0, "").weighed(&[0.0, 2.0]), 1);
        assert_eq!(Chance::new(0, 0, "").one_of::<u8>(&[]), None);
    }
}
