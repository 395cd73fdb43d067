//! A small random number generator: a seed gives the same numbers on every host and in every release.
//!
//! Source: `SplitMix64` (Steele, Lea, Flood 2014). Sufficient to vary times and choices; no secret depends on it.

use std::time::Duration;

/// Generates the same numbers from the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Creates the generator of one of many `parts` that share a seed: the draws of one do not affect another.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        let mut random = Self { state: seed };
        random.state = random.number() ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        random
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.number()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Returns an index in a list of `len` elements; 0 if it is empty.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap_or(u64::MAX))).unwrap_or(0)
    }

    /// Returns `true` with this probability.
    pub(crate) fn draw(&mut self, probability: f64) -> bool {
        // A double holds 53 bits exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let drawn = (self.number() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < probability
    }

    /// Returns a span from zero to `longest`, in whole microseconds.
    pub(crate) fn span(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.below(micros.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seed_gives_fixed_numbers() {
        let mut random = Random { state: 0 };
        let drawn = [random.number(), random.number(), random.number()];
        assert_eq!(drawn, [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
        assert_ne!(Random::new(1, 0).number(), Random::new(1, 1).number(), "parts differ");
        assert_ne!(Random::new(1, 0).number(), Random::new(2, 0).number(), "seeds differ");
    }

    #[test]
    fn probability_one_always_happens_and_zero_never() {
        let mut random = Random::new(7, 0);
        assert!((0..1000).all(|_| random.draw(1.0)));
        assert!((0..1000).all(|_| !random.draw(0.0)));
        let count = (0..10_000).filter(|_| random.draw(0.25)).count();
        assert!((2_300..2_700).contains(&count), "{count}");
    }

    proptest! {
        /// No number reaches the bound, and a span can equal it.
        #[test]
        fn numbers_stay_below_the_bound(seed: u64, bound in 1_u64.., micros in 0_u64..4) {
            let mut random = Random::new(seed, 0);
            prop_assert!(random.below(bound) < bound);
            prop_assert!(random.span(Duration::from_micros(micros)) <= Duration::from_micros(micros));
        }
    }
}
