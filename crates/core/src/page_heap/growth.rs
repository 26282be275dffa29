//! When the heap has taken notably more memory from the system.
//!
//! Counted is what is handed out without memory (`totals.rs`): it is about to be faulted
//! in, whether nobody ever had it or it was given back. So whoever acts on growth has that much work
//! to do for a share of the page faults that the growth takes, whatever the load does.
//!
//! Always: figures only; one caller for each step.
//! Lock: none.

use crate::sync::atomic::{AtomicUsize, Ordering};

use super::PageHeap;

/// A step of growth is this share of what is in use, but so many bytes at the most, and
/// some more. So one step is not much longer than the next, and what is done at its end is
/// done in a few milliseconds.
const STEP_SHARE: usize = 16;
const MOST_STEP_BYTES: usize = 64 << 20;
const STEP_BYTES: usize = 1 << 20;

/// How far the heap may grow until somebody acts on it.
pub struct Growth {
    /// Where the step ends, in bytes that were ever taken, beyond the first step's end.
    end: AtomicUsize,
}

impl Growth {
    /// At the beginning of the first step.
    pub const fn new() -> Self {
        Self {
            end: AtomicUsize::new(0),
        }
    }

    #[inline]
    fn is_due(&self, taken: usize) -> bool {
        // Relaxed, here and below: figures, which publish nothing.
        taken >= STEP_BYTES + self.end.load(Ordering::Relaxed)
    }

    fn begin_step(&self, taken: usize, in_use: usize) -> Option<usize> {
        let end = self.end.load(Ordering::Relaxed);
        let step = (in_use / STEP_SHARE).min(MOST_STEP_BYTES) + STEP_BYTES;
        let begun = taken >= STEP_BYTES + end
            && self
                .end
                .compare_exchange(
                    end,
                    taken + step - STEP_BYTES,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        begun.then_some(step)
    }
}

impl Default for Growth {
    fn default() -> Self {
        Self::new()
    }
}

impl PageHeap {
    /// Has the heap grown by a step since somebody acted on it?
    #[inline]
    pub fn has_grown(&self) -> bool {
        self.growth.is_due(self.totals.taken())
    }

    /// Begins the next step, if one has ended. Returns its length in bytes, to one caller.
    pub fn begin_step(&self) -> Option<usize> {
        let (in_use, _) = self.usage();
        self.growth.begin_step(self.totals.taken(), in_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_share_of_what_is_in_use_and_begins_once() {
        let growth = Growth::new();
        assert!(!growth.is_due(STEP_BYTES - 1));
        assert_eq!(growth.begin_step(STEP_BYTES - 1, 0), None, "not due");
        assert!(growth.is_due(STEP_BYTES));
        let step = STEP_BYTES + (64 << 20) / STEP_SHARE;
        assert_eq!(growth.begin_step(STEP_BYTES, 64 << 20), Some(step));
        assert_eq!(
            growth.begin_step(STEP_BYTES, 64 << 20),
            None,
            "it has begun"
        );
        assert!(!growth.is_due(STEP_BYTES + step - 1));
        assert!(growth.is_due(STEP_BYTES + step));
        // One absurd object does not end it for long.
        let taken = 1 << 40;
        let longest = Some(MOST_STEP_BYTES + STEP_BYTES);
        assert_eq!(growth.begin_step(taken, taken), longest);
    }
}
