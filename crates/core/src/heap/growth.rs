//! What a heap does as it grows: a process needs as much memory as at the moments when it
//! takes more.
//!
//! At each step of growth (`page_heap/growth.rs`), caches give up the older half of what
//! they hold: a list of a few hundred objects, left from a load that is over, can pin as
//! many spans. A process with one thread, which has nobody to give memory back for it,
//! looks for pages without live objects in classes of which nobody took an object during
//! the step, and gives back no more than twice what the step has taken.
//!
//! Always: who comes in holds no lock.
//! Lock: `standstill`; those of the tiers, one at a time.

use super::Heap;
use crate::os::{self, PAGE_BYTES};
use crate::page_heap::Released;

/// At each step, so many steps' bytes are given back at the most, and a span for each page
/// of the step is looked at: no call takes much longer than the page faults of the step do.
const RELEASED_STEPS: usize = 2;

impl Heap {
    /// After an allocation on a slow path, with no lock held.
    #[inline]
    pub(super) fn look_at_growth(&self) {
        if self.pages.has_grown() {
            self.after_growth();
        }
    }

    /// The heap has grown by a step; so it seemed to the caller.
    #[cold]
    #[inline(never)]
    fn after_growth(&self) {
        let Some(step) = self.pages.begin_step() else {
            return;
        };
        self.caches.halve(self.tiers());
        if os::is_single_threaded() && self.scavenger.may_release() {
            self.release_unwanted(step / PAGE_BYTES);
        }
    }

    /// Gives back pages of spans of unwanted classes, where a step has so many pages.
    fn release_unwanted(&self, step: usize) {
        let mut unwanted: u128 = 0;
        for class in self.caches.classes_drawn() {
            if self.central[class.number()].end_step(class) {
                unwanted |= 1 << class.number();
            }
        }
        if unwanted == 0 {
            return;
        }
        let (mut released, mut looks) = (Released::default(), 0);
        self.each_changed_span(|span, class| {
            if unwanted >> class.number() & 1 != 0 {
                looks += 1;
                released.add(self.release_in_span(span, class));
            }
            looks < step && released.pages < RELEASED_STEPS * step && !released.refused
        });
    }
}
