//! How long to wait before the next attempt.
//!
//! Each delay is twice the one before, up to a limit, and is then cut by a random part of up to a quarter: a thousand
//! VMs of a host that restarted must not all be asked in the same millisecond, for ever after.

use std::time::Duration;

/// Delays between attempts at one thing. Holds no clock; its randomness comes from the seed.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
    random: u64,
}

impl Backoff {
    /// Delays from `first`, doubled each time up to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        // A generator of this kind never leaves zero.
        Self { first, max, attempt: 0, random: seed | 1 }
    }

    /// Counts a failed attempt and says how long to wait before the next one.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_between(Duration::ZERO, self.max)
    }

    /// The same within other limits; what is cut off goes below the lower one, too.
    pub fn next_delay_between(&mut self, min: Duration, max: Duration) -> Duration {
        let doublings = self.attempt.min(31);
        self.attempt = self.attempt.saturating_add(1);
        let full = self.first.saturating_mul(1 << doublings).clamp(min, max);
        let cut = full / 4;
        let share = u32::try_from(self.next_random() >> 32).unwrap_or(u32::MAX);
        full - cut.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// Begins again with the first delay.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Failed attempts since the beginning.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Marsaglia's xorshift: good enough to spread attempts.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST_DELAY: Duration = Duration::from_millis(50);
    const LOCAL_MAX_DELAY: Duration = Duration::from_secs(1);
    const REMOTE_MAX_DELAY: Duration = Duration::from_secs(5);
    const TAKEN_FIRST_DELAY: Duration = Duration::from_secs(1);
    const TAKEN_MAX_DELAY: Duration = Duration::from_secs(60);

    proptest! {
        /// The n-th delay is between three quarters of it and all of first × 2ⁿ, and never above the limit.
        #[test]
        fn doubles_within_its_bounds(seed: u64, attempts in 1u32..80) {
            let mut backoff = Backoff::new(FIRST_DELAY, REMOTE_MAX_DELAY, seed);
            for attempt in 0..attempts {
                let full = FIRST_DELAY.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(REMOTE_MAX_DELAY);
                let delay = backoff.next_delay();
                prop_assert!(delay <= full && delay >= full * 3 / 4, "attempt {attempt}: {delay:?} of {full:?}");
            }
            prop_assert_eq!(backoff.attempt(), attempts);
            backoff.reset();
            prop_assert!(backoff.next_delay() <= FIRST_DELAY);
        }
    }

    #[test]
    fn a_taken_monitor_is_asked_ever_more_rarely() {
        let mut backoff = Backoff::new(FIRST_DELAY, LOCAL_MAX_DELAY, 7);
        let mut delay = || backoff.next_delay_between(TAKEN_FIRST_DELAY, TAKEN_MAX_DELAY);
        assert!(delay() >= TAKEN_FIRST_DELAY * 3 / 4);
        let last = (0..12).map(|_| delay()).last();
        assert!(
            last.is_some_and(|last| last >= TAKEN_MAX_DELAY * 3 / 4 && last <= TAKEN_MAX_DELAY),
            "{last:?}"
        );
    }

    #[test]
    fn differs_from_vm_to_vm() {
        let first = |seed| Backoff::new(FIRST_DELAY, LOCAL_MAX_DELAY, seed).next_delay();
        assert_ne!(first(0x1234_5678_9abc_def1), first(0x0fed_cba9_8765_4321));
    }
}
