//! Delays between attempts.
//!
//! Each delay is twice the previous one, up to a limit, and then shortened by a random part of up to a quarter: the
//! attempts for a thousand VMs of a restarted host must not coincide in one millisecond forever.

use std::time::Duration;

/// Delays between attempts of one operation. Holds no clock; its randomness comes from the seed.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
    random: u64,
}

impl Backoff {
    /// Creates delays from `first`, doubled each time up to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        // A generator of this kind never leaves zero.
        Self { first, max, attempt: 0, random: seed | 1 }
    }

    /// Counts a failed attempt and returns the delay before the next one.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_between(Duration::ZERO, self.max)
    }

    /// Like [`next_delay`](Self::next_delay) within other limits; the random part may go below the lower limit,
    /// too.
    pub fn next_delay_between(&mut self, min: Duration, max: Duration) -> Duration {
        let doublings = self.attempt.min(31);
        self.attempt = self.attempt.saturating_add(1);
        let full = self.first.saturating_mul(1 << doublings).clamp(min, max);
        let cut = full / 4;
        let share = u32::try_from(self.next_random() >> 32).unwrap_or(u32::MAX);
        full - cut.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// Restarts with the first delay.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Returns the number of failed attempts since the start.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Marsaglia's xorshift: sufficient to spread attempts.
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
        /// The n-th delay is between three quarters and all of first × 2ⁿ, and never above the limit.
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
    fn delay_of_monitor_in_use_grows() {
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
