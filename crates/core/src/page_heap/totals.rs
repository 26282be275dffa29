//! What was given back to the system since the heap's first use, and what of it
//! was wanted again.
//!
//! Always: totals only grow. They say what was done, and decide nothing.
//! Lock: none.

use core::mem::offset_of;

use crate::os::{self, PAGE_BYTES};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Running totals.
pub struct Totals {
    released: AtomicU64,
    released_when: AtomicU64,
    refaulted: AtomicU64,
}

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
