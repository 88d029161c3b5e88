//! A bound on how many of something may be open at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many may be open, and how many are.
#[derive(Debug)]
pub(crate) struct Bound {
    most: usize,
    open: AtomicUsize,
}

/// One of those that are open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share(Arc<Bound>);

impl Bound {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: AtomicUsize::new(0) })
    }

    /// A share; `None` when as many are open as may be.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Share> {
        let one_more = |open: usize| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Share(Arc::clone(self)))
    }

    /// A share beyond the bound if need be: for what was admitted before and is still open.
    pub(crate) fn take(self: &Arc<Self>) -> Share {
        self.open.fetch_add(1, Ordering::AcqRel);
        Share(Arc::clone(self))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_admitted_before_counts_and_is_never_refused() {
        let bound = Bound::new(1);
        let before = [bound.take(), bound.take()];
        assert!(bound.try_take().is_none());
        drop(before);
        let only = bound.try_take();
        assert!(only.is_some() && bound.try_take().is_none());
        drop(only);
        assert!(bound.try_take().is_some());
    }
}
