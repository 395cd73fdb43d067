//! Something of which there is so much for many connections together: memory, or descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much there is, and how much of it is in use. Shared by the connections that use it.
#[derive(Debug)]
pub struct Budget {
    max: AtomicUsize,
    used: AtomicUsize,
}

/// What one connection uses of a [`Budget`]; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Budget {
    /// A budget of which nothing is in use.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: AtomicUsize::new(max), used: AtomicUsize::new(0) }
    }

    /// How much there is.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// How much is in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Makes it so much; what is in use stays in use.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// A share of it; `None` if there is not so much left.
    #[must_use]
    pub fn take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        let mut share = Share { budget: Arc::clone(self), held: 0 };
        share.set(amount).then_some(share)
    }
}

impl Share {
    /// Makes the share so large. Returns `false`, and leaves it as it is, if there is not so much left.
    pub fn set(&mut self, amount: usize) -> bool {
        // Nothing is concluded from the order in which this number and others change.
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
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
