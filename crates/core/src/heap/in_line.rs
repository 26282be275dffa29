//! Giving back where no thread does: by the free that leaves too much unused.
//!
//! Always: who comes in holds no lock; what is asked of the tiers is what the
//! scavenger's thread asks of them, so what holds there holds here. How much may
//! stay is [`Allowance`](crate::demand::Allowance)'s.
//! Lock: `standstill`; those of the tiers, one at a time.

use super::{Heap, Standstill};
use crate::demand::{ALLOWANCE_BYTES, Look};
use crate::os::{self, PAGE_BYTES};
use crate::page_heap::Released;
use crate::region::{REGION_BYTES, REGION_GRANULES, RegionKind};
use crate::size_class::GRANULE_BYTES;
use crate::span::SpanKind;

/// Looks of one free at the most. What is left then is left to the next free.
const MOST_LOOKS: usize = 3;

/// Where each look delays the program, so many spans are looked at first, a few
/// in each region; not more than about twice as many.
const SAMPLE_SPANS: usize = 128;

impl Heap {
    /// Where memory is that the program does not use.
    fn unused(&self) -> Unused {
        let (in_use, free) = self.pages.usage();
        let mut live = in_use;
        let mut in_spans = 0;
        for class in self.caches.classes_drawn() {
            let turn = self.central[class.number()].look();
            live = live.saturating_sub(turn.free * class.bytes());
            in_spans += turn.free_bytes(class);
        }
        Unused {
            live,
            free,
            in_spans,
        }
    }

    /// Where no thread gives memory back: does it here, if what is unused is
    /// more than may be. So many objects were `freed` since the last time. Returns
    /// when to look next.
    ///
    /// Other threads free meanwhile, and the last of them may never call again: nobody
    /// goes away because somebody else is at it, and who has given back looks again.
    #[cold]
    pub(super) fn release_in_line(&self, freed: usize) -> Look {
        let (mut look, mut released) = self.look_in_line(freed);
        for _ in 1..MOST_LOOKS {
            if !released || os::is_single_threaded() {
                break;
            }
            (look, released) = self.look_in_line(0);
        }
        look
    }

    /// A look. Returns when to look next, and whether memory was given back after this.
    fn look_in_line(&self, freed: usize) -> (Look, bool) {
        let mut still = self.standstill.lock();
        if self.scavenger.takes_over() {
            *still = Standstill::new();
        }
        still.unpinning.note_freed(freed);
        let before = self.unused();
        let now = os::now();
        let mut allowed = still.allowance.bytes(now, before.live);
        let held = self.held(1);
        let most = before.free + before.in_spans + held.pinned;
        if most <= allowed.most {
            let room = allowed.most - most;
            return (still.unpinning.next_look(allowed, room), false);
        }
        let mut refaulted = self.pages.turn().refaulted;
        for class in self.caches.classes_drawn() {
            refaulted += self.central[class.number()].turn().refaulted;
        }
        still.allowance.review(now, refaulted * PAGE_BYTES);
        allowed = still.allowance.bytes(now, before.live);
        let (in_spans, pinned) = if still.allowance.swings() {
            // A sample gives back what the next swing wants: taken for unused is
            // all that may be, and what is allowed grows up to that.
            (before.in_spans, self.held(usize::MAX).pinned)
        } else if before.in_spans > allowed.most.saturating_sub(before.free) {
            still.samples += 1;
            let sample = still.samples;
            drop(still);
            let in_spans = self.sample_spans(sample);
            still = self.standstill.lock();
            still
                .unpinning
                .note_found(in_spans / PAGE_BYTES, held.objects);
            (in_spans, self.held(still.unpinning.frees()).pinned)
        } else {
            (0, self.held(still.unpinning.frees()).pinned)
        };
        let expected = before.free + in_spans + pinned;
        if expected <= allowed.most {
            let room = allowed.most - expected;
            return (still.unpinning.next_look(allowed, room), false);
        }
        self.caches.drain(self.tiers());
        drop(still);
        let (released, of_spans) = self.release_down_to(allowed.kept, in_spans, pinned);
        let mut still = self.standstill.lock();
        still.unpinning.note_released(of_spans);
        let released = released.pages * PAGE_BYTES;
        still
            .allowance
            .note_released(os::now(), before.live, released);
        let room = allowed.most - allowed.kept;
        (still.unpinning.next_look(allowed, room), true)
    }

    /// Gives back what is free beyond so many bytes, where spans have about
    /// `in_spans` bytes of pages without objects, and `pinned` more since the caches
    /// were emptied. Returns how many pages spans had, too, if it gave all of them back.
    fn release_down_to(
        &self,
        kept: usize,
        in_spans: usize,
        pinned: usize,
    ) -> (Released, Option<usize>) {
        let mut released = Released::default();
        if kept == 0 {
            // Spans take longer to look at than a little in them is worth.
            let spans = (in_spans + pinned > ALLOWANCE_BYTES / 2)
                .then(|| self.release_in_spans(usize::MAX));
            released.add(spans.unwrap_or_default());
            released.add(self.release_free());
            return (released, spans.map(|spans| spans.pages));
        }
        let unused = self.pages.usage().1 + in_spans;
        let excess = unused.saturating_sub(kept) / PAGE_BYTES;
        released.add(self.release_runs(excess));
        released.add(self.release_holes(excess.saturating_sub(released.pages)));
        released.add(self.release_in_spans(excess.saturating_sub(released.pages)));
        (released, None)
    }

    /// What the caches hold, where so many frees leave a page without objects.
    fn held(&self, frees: usize) -> Held {
        let mut held = Held {
            objects: 0,
            pinned: 0,
        };
        self.caches.each_held(self.tiers(), |class, count| {
            held.objects += count;
            held.pinned += count * class.bytes().max(PAGE_BYTES / frees);
        });
        held
    }

    /// Gives back the pages without live objects of a few changed spans, others
    /// for each number. Returns how many bytes that lets expect of all.
    fn sample_spans(&self, number: usize) -> usize {
        let regions = self.pages.usage().0 / REGION_BYTES + 1;
        let stride = regions.div_ceil(SAMPLE_SPANS);
        let each = (SAMPLE_SPANS / regions).clamp(1, REGION_GRANULES / 4);
        let mut pages = 0;
        let parted = self.map.regions();
        let parted = parted.filter(|(_, region)| region.kind() == RegionKind::Parted);
        for (start, _) in parted.skip(number % stride).step_by(stride) {
            let first = number / stride + start / REGION_BYTES;
            for index in 0..each {
                let granule = (first + index * REGION_GRANULES / each) % REGION_GRANULES;
                if let Some(span) = self.map.slot_of(start + granule * GRANULE_BYTES)
                    && span.kind() == SpanKind::Small
                    && span.is_changed()
                {
                    pages += self.release_in_span(span, span.class()).pages;
                }
            }
        }
        pages * REGION_GRANULES / each * stride * PAGE_BYTES
    }
}

/// Where memory is, in bytes: with the program, or in caches; free in the page
/// heap; free in spans that live on, and not given back.
struct Unused {
    live: usize,
    free: usize,
    in_spans: usize,
}

/// What caches hold: objects, and the bytes that would become unused if they held
/// none.
struct Held {
    objects: usize,
    pinned: usize,
}
