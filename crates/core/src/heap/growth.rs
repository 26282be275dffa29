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
use crate::region::REGION_GRANULES;
use crate::size_class::{SizeClass, set_of};
use crate::sync::atomic::Ordering;

/// At each step, so many steps' bytes are given back at the most, a span for each page of the
/// step is looked into, and so many slots of spans are passed: no call takes much longer than
/// the page faults of the step do. In a heap of up to two GiB that is all of them (a step is a
/// sixteenth of it, up to 64 MiB); in a larger one, the next step's look goes on where this one's ended.
const RELEASED_STEPS: usize = 2;
const PASSED_STEPS: usize = 2;

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
        let drawn = self.caches.classes_drawn();
        let unwanted = set_of(drawn.filter(|class| self.central[class.number()].end_step(*class)));
        if unwanted == 0 {
            return;
        }
        let (mut released, mut looks) = (Released::default(), 0);
        let look = |span, class: SizeClass| {
            if unwanted >> class.number() & 1 != 0 {
                looks += 1;
                released.add(self.release_in_span(span, class));
            }
            looks < step && released.pages < RELEASED_STEPS * step && !released.refused
        };
        let most = (PASSED_STEPS * step).div_ceil(REGION_GRANULES);
        // Relaxed, both: a hint.
        let first = self.growth_hand.load(Ordering::Relaxed);
        let (_, next) = self.each_changed_span_from(first, most, look);
        self.growth_hand.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "frees what it has allocated")]
mod tests {
    use crate::fatal::Call;
    use crate::heap::HEAP;
    use crate::region::REGION_BYTES;

    #[test]
    fn a_look_goes_on_where_the_last_one_ended() {
        let objects: Vec<_> = (0..4 * REGION_BYTES / 4096)
            .map(|_| HEAP.allocate(4096))
            .collect();
        for &object in objects.iter().skip(1).step_by(2) {
            // SAFETY: this test's, and not used any more.
            unsafe { HEAP.free(object, Call::Free) };
        }
        let mut seen = Vec::new();
        let (mut hand, mut looks) = (0, 0);
        loop {
            let (_, next) = HEAP.each_changed_span_from(hand, 1, |span, _| {
                seen.push(span.start());
                true
            });
            looks += 1;
            if next == 0 {
                break;
            }
            assert!(next > hand && next.is_multiple_of(REGION_BYTES));
            hand = next;
        }
        assert!(looks >= 4, "{looks} regions");
        // The scavenger's thread may look at some before.
        assert!(seen.is_sorted_by(|one, next| one < next), "{seen:x?}");
        for &object in objects.iter().step_by(2) {
            // SAFETY: as above.
            unsafe { HEAP.free(object, Call::Free) };
        }
    }
}
