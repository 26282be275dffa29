//! What was given back to the system since the heap's first use, what of it was wanted
//! again, and what was handed out without memory.
//!
//! Always: totals only grow. Steps of growth are measured by the last (`growth.rs`); the
//! others say what was done, and decide nothing.
//! Lock: none.

use core::mem::offset_of;

use crate::os::{self, PAGE_BYTES};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Running totals.
pub struct Totals {
    released: AtomicU64,
    released_when: AtomicU64,
    refaulted: AtomicU64,
    taken: AtomicUsize,
}

/// The most that one span counts as being about to be faulted in: a table of a GiB may stay
/// nearly empty.
const MOST_TAKEN_BYTES: usize = 32 << 20;

impl Totals {
    /// Where a reader finds the bytes given back, when that was last, and the
    /// bytes wanted again.
    pub const AT: (usize, usize, usize) = (
        offset_of!(Self, released),
        offset_of!(Self, released_when),
        offset_of!(Self, refaulted),
    );

    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            released: AtomicU64::new(0),
            released_when: AtomicU64::new(0),
            refaulted: AtomicU64::new(0),
            taken: AtomicUsize::new(0),
        }
    }

    /// So many pages were given back, by a system call that took longer than this.
    pub fn note_released(&self, pages: usize) {
        if pages != 0 {
            let bytes = (pages * PAGE_BYTES) as u64;
            // Relaxed, all: figures, which publish nothing.
            self.released.fetch_add(bytes, Ordering::Relaxed);
            self.released_when.store(os::now(), Ordering::Relaxed);
        }
    }

    /// So many pages that had been given back are wanted again.
    pub fn note_refaulted(&self, pages: usize) {
        if pages != 0 {
            let bytes = (pages * PAGE_BYTES) as u64;
            // Relaxed: as above.
            self.refaulted.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// So many pages without memory are handed out in one span: they are about to be
    /// faulted in, as far as can be known.
    pub fn note_taken(&self, pages: usize) {
        if pages != 0 {
            let bytes = (pages * PAGE_BYTES).min(MOST_TAKEN_BYTES);
            // Relaxed: as above.
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// So many pages of those are not about to be faulted in yet.
    pub fn note_not_taken(&self, pages: usize) {
        // Relaxed: as above.
        self.taken.fetch_sub(pages * PAGE_BYTES, Ordering::Relaxed);
    }

    /// Bytes that were handed out without memory.
    #[inline]
    pub fn taken(&self) -> usize {
        // Relaxed: as above.
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes given back, and bytes wanted again.
    pub fn bytes(&self) -> (usize, usize) {
        // Relaxed: as above.
        let bytes = |total: &AtomicU64| total.load(Ordering::Relaxed) as usize;
        (bytes(&self.released), bytes(&self.refaulted))
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_span_counts_as_no_more_than_a_load_faults_in_at_once() {
        let totals = Totals::new();
        totals.note_taken(3);
        assert_eq!(totals.taken(), 3 * PAGE_BYTES);
        totals.note_not_taken(2);
        totals.note_taken(1 << 40);
        assert_eq!(totals.taken(), PAGE_BYTES + MOST_TAKEN_BYTES);
    }
}
