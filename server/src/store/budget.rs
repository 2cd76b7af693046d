//! How much memory messages that are coming in take, all together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of octets that is shared by all messages that are coming in.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    most: u64,
    taken: Arc<AtomicU64>,
}

/// What one message has of it; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    octets: u64,
}

impl Budget {
    pub(super) fn new(most: u64) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            octets: 0,
        }
    }
}

impl Share {
    /// Takes so many octets more, or none.
    pub(super) fn grow(&mut self, by: u64) -> bool {
        let most = self.budget.most;
        let more = |taken: u64| taken.checked_add(by).filter(|sum| *sum <= most);
        let taken = &self.budget.taken;
        let grown = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if grown.is_ok() {
            self.octets += by;
        }
        grown.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_within_the_budget_and_given_back() {
        let budget = Budget::new(10);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.grow(6) && b.grow(4));
        assert!(!a.grow(1));
        drop(b);
        assert!(a.grow(4));
        assert!(!budget.share().grow(1));
        drop(a);
        assert!(budget.share().grow(10));
    }
}
