//! Random numbers with a seed.

/// Splitmix64: a sequence of 64-bit numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// How many of `trials` independent events happen, each with the probability `numerator / denominator`: exact for one
    /// trial at a time, and fast because a quotient of whole numbers needs no trial.
    pub(crate) fn events(&mut self, numerator: u64, denominator: u64) -> u64 {
        numerator / denominator + u64::from(self.below(denominator) < numerator % denominator)
    }
}
