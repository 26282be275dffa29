//! Giving pages back to the system.
//!
//! Always: what is being given back is a span, or a run out of its list, as
//! long as the system call takes; so nobody waits for it under the page heap's
//! lock, and nobody gets it.
#![allow(unsafe_code)] // Tells the system what nobody needs.

use crate::os;
use crate::page_map::PageMap;
use crate::region::{REGION_BYTES, REGION_GRANULES, Region, RegionKind};
use crate::size_class::GRANULE_BYTES;
use crate::span::Span;

use super::{PageHeap, State, begin_span, region_at};

impl PageHeap {
    /// Gives the pages of all free granules back. Returns how many bytes that
    /// were; what the system refuses stays as it was.
    pub fn release_free(&self, map: &PageMap) -> usize {
        self.release_runs(map) + self.release_holes(map)
    }

    fn release_runs(&self, map: &PageMap) -> usize {
        let mut released = 0;
        loop {
            let Some((head, count)) = self.state.lock().runs.take_dirty(map) else {
                return released;
            };
            let start = head.start();
            let done = decommit(start, count * REGION_BYTES);
            if done {
                for index in 0..count {
                    let region = region_at(map, start + index * REGION_BYTES);
                    released += region.touched_pages() * os::PAGE_BYTES;
                    region.untouch(0, REGION_BYTES);
                }
            }
            self.state.lock().runs.add(map, start, count, !done);
            if !done {
                return released;
            }
        }
    }

    fn release_holes(&self, map: &PageMap) -> usize {
        let mut released = 0;
        for (_, region) in map.regions() {
            if region.kind() != RegionKind::Parted {
                continue;
            }
            loop {
                let hole = self.state.lock().take_touched_hole(map, region);
                let Some(hole) = hole else {
                    break;
                };
                let bytes = hole.granules() * GRANULE_BYTES;
                if !decommit(hole.start(), bytes) {
                    self.free(map, hole, 0);
                    return released;
                }
                let before = region.touched_pages();
                self.free_released(map, hole, bytes);
                released += before.saturating_sub(region.touched_pages()) * os::PAGE_BYTES;
            }
        }
        released
    }

    /// Gives the address space of free runs back: for a process that has
    /// reached a limit. Returns how many bytes that were.
    pub fn unmap_free(&self, map: &PageMap) -> usize {
        let mut unmapped = 0;
        loop {
            let mut state = self.state.lock();
            let Some((head, count)) = state.runs.take_any(map) else {
                return unmapped;
            };
            state.regions -= count;
            for index in 0..count {
                let region = region_at(map, head.start() + index * REGION_BYTES);
                region.untouch(0, REGION_BYTES);
            }
            drop(state);
            unmap_unused(core::ptr::with_exposed_provenance_mut(head.start()), count);
            unmapped += count * REGION_BYTES;
        }
    }
}

impl State {
    /// Takes a hole of the region that may hold memory of the system's, as a
    /// span.
    fn take_touched_hole(
        &mut self,
        map: &PageMap,
        region: &'static Region,
    ) -> Option<&'static Span> {
        // It may have changed since the caller looked.
        if region.kind() != RegionKind::Parted {
            return None;
        }
        let touched_free = |granule: usize| {
            region.used.get() >> granule & 1 == 0
                && region.is_touched(granule * GRANULE_BYTES, GRANULE_BYTES)
        };
        let first = (0..REGION_GRANULES).find(|&granule| touched_free(granule))?;
        let rest = (first..REGION_GRANULES).take_while(|&granule| touched_free(granule));
        let count = rest.count();
        self.parted.mark_used(region, first, count);
        Some(begin_span(
            map,
            region.start() + first * GRANULE_BYTES,
            count,
        ))
    }
}

fn decommit(start: usize, bytes: usize) -> bool {
    // SAFETY: the range is free and out of every list, so nobody uses it.
    unsafe { os::decommit(core::ptr::with_exposed_provenance_mut(start), bytes) }
}

/// Unmaps regions that no list has.
pub fn unmap_unused(start: *mut u8, count: usize) {
    // SAFETY: mapped by the page heap; the caller took them out of its lists.
    unsafe { os::unmap(start, count * REGION_BYTES) };
}

/// Moves the pages of the first `count` regions of a large span to another
/// one. False where the system cannot: they are where they were, and the other
/// span may not be mapped any more.
pub fn move_regions(from: &Span, to: &Span, count: usize) -> bool {
    let moved = (0..count)
        .take_while(|&index| move_region(from, to, index))
        .count();
    if moved == count {
        return true;
    }
    // Copied, not moved: at a limit the system would refuse that, too. What the
    // pages left behind is mapped and zero.
    copy_part(to, from, 0, moved * REGION_BYTES);
    false
}

fn move_region(from: &Span, to: &Span, index: usize) -> bool {
    let at =
        |span: &Span| core::ptr::with_exposed_provenance_mut(span.start() + index * REGION_BYTES);
    // SAFETY: both are spans in use: their owner is the caller, and they are
    // mappings of the page heap.
    unsafe { os::move_pages(at(from), at(to), REGION_BYTES) }
}

/// Copies `[first, end)` of a large span to the same place in another one.
pub fn copy_part(from: &Span, to: &Span, first: usize, end: usize) {
    let at = |span: &Span| core::ptr::with_exposed_provenance_mut::<u8>(span.start() + first);
    // SAFETY: both are the caller's, apart, and at least `end` bytes long.
    unsafe { at(to).copy_from_nonoverlapping(at(from), end - first) };
}
