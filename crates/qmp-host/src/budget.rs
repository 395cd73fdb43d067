//! A budget that many connections share: memory, or descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The size of the budget, and its used part. Shared by its connections.
#[derive(Debug)]
pub struct Budget {
    max: AtomicUsize,
    used: AtomicUsize,
}

/// The part of a [`Budget`] that one connection uses; returned when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Budget {
    /// Creates an unused budget.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: AtomicUsize::new(max), used: AtomicUsize::new(0) }
    }

    /// Returns the size.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Returns the used part.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Sets the size; the used part is unchanged.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Returns a share; `None` if the rest of the budget is too small.
    #[must_use]
    pub fn take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        let mut share = Share { budget: Arc::clone(self), held: 0 };
        share.set(amount).then_some(share)
    }
}

impl Share {
    /// Resizes the share. Returns `false`, and changes nothing, if the rest of the budget is too small.
    pub fn set(&mut self, amount: usize) -> bool {
        // No conclusion depends on the order in which this number and others change.
        let (used, max) = (&self.budget.used, self.budget.max());
        let held = self.held;
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let wanted = (used - held).saturating_add(amount);
            (wanted <= max || amount <= held).then_some(wanted)
        });
        if taken.is_ok() {
            self.held = amount;
        }
        taken.is_ok()
    }

    /// Makes the share so large also if there is not so much left: for what is in use already.
    pub fn force(&mut self, amount: usize) {
        let used = &self.budget.used;
        if amount >= self.held {
            used.fetch_add(amount - self.held, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.held - amount, Ordering::Relaxed);
        }
        self.held = amount;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_budget_and_are_given_back() {
        let budget = Arc::new(Budget::new(10));
        let mut first = budget.take(6).expect("there is room");
        assert!(budget.take(5).is_none());
        let second = budget.take(4).expect("there is room");
        assert!(!first.set(7));
        assert_eq!(budget.used(), 10);
        assert!(first.set(2) && first.set(6));
        drop(second);
        budget.set_max(3);
        assert!(first.set(5), "less is always possible");
        assert!(!first.set(6));
        first.force(20);
        assert_eq!(budget.used(), 20, "what is in use already is counted");
        first.force(1);
        assert_eq!(budget.used(), 1);
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
