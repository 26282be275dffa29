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
use crate::sync::atomic::Ordering;

use super::{PageHeap, Released, State, begin_span, each_region_part, region_at};

impl PageHeap {
    /// Gives the pages of one free region back, if there is any to be given
    /// back.
    pub fn release_region(&self, map: &PageMap) -> Option<Released> {
        let start = {
            let mut state = self.state.lock();
            let start = state.runs.take_dirty(map)?;
            state.runs_dirty.pages -= region_at(map, start).touched_pages();
            start
        };
        let region = region_at(map, start);
        let pages = region.touched_pages();
        let refused = pages != 0 && !decommit(start, REGION_BYTES);
        if !refused {
            self.totals.note_released(pages);
        }
        let mut state = self.state.lock();
        if refused {
            state.runs_dirty.add(pages);
            state.runs.add(map, start, 1, 1);
            return Some(Released { pages: 0, refused });
        }
        region.untouch(0, REGION_BYTES);
        super::huge::note_whole_release(region);
        state.note_released(pages);
        state.runs.add(map, start, 1, 0);
        Some(Released { pages, refused })
    }

    /// Gives the pages of a hole of a parted region back; `None` if it has none
    /// to be given back.
    pub fn release_hole(&self, map: &PageMap, region: &'static Region) -> Option<Released> {
        if region.kind() != RegionKind::Parted || !region.has_touched_hole() {
            return None;
        }
        let (hole, pages) = self.state.lock().take_touched_hole(map, region)?;
        let (start, bytes) = (hole.start(), hole.granules() * GRANULE_BYTES);
        self.before_release_inside(region);
        let refused = !decommit(start, bytes);
        if !refused {
            self.totals.note_released(pages);
        }
        let mut state = self.state.lock();
        if !refused {
            region.untouch(start % REGION_BYTES, bytes);
            state.note_released(pages);
        }
        state.free(map, hole, 0);
        Some(Released {
            pages: if refused { 0 } else { pages },
            refused,
        })
    }

    /// Gives the address space of free runs back: for a process that has
    /// reached a limit, and wants so many bytes elsewhere. Not where that would not get it
    /// there, since its limit is below all that it has: then the heap goes on with what is
    /// free. Returns how many bytes that were.
    pub fn unmap_free(&self, map: &PageMap, wanted: usize) -> usize {
        let free = self.state.lock().runs.regions() * REGION_BYTES;
        if !os::may_map_instead(free, wanted) {
            return 0;
        }
        let mut unmapped = 0;
        loop {
            let mut state = self.state.lock();
            let Some((head, count)) = state.runs.take_any(map) else {
                return unmapped;
            };
            state.regions -= count;
            // Relaxed: a hint, see `mapped_bytes`.
            self.mapped_regions.store(state.regions, Ordering::Relaxed);
            for index in 0..count {
                let region = region_at(map, head.start() + index * REGION_BYTES);
                let dirty = region.touched_pages();
                state.runs_dirty.pages -= dirty;
                let clean = REGION_BYTES / os::PAGE_BYTES - dirty;
                state.released = state.released.saturating_sub(clean);
                region.untouch(0, REGION_BYTES);
                super::huge::note_unmapped(&self.huge, region);
            }
            drop(state);
            if !unmap_unused(core::ptr::with_exposed_provenance_mut(head.start()), count) {
                self.take_back(map, head.start(), count);
                return unmapped;
            }
            unmapped += count * REGION_BYTES;
        }
    }

    /// Free regions that the system did not unmap, and nobody knows, are the heap's
    /// again.
    #[cold]
    fn take_back(&self, map: &PageMap, start: usize, count: usize) {
        let dirty = match decommit(start, count * REGION_BYTES) {
            true => 0,
            false => count,
        };
        let mut state = self.state.lock();
        each_region_part(map, start, dirty * REGION_BYTES, |region, first, bytes| {
            region.touch(first, bytes);
        });
        state.runs_dirty.add(dirty * REGION_BYTES / os::PAGE_BYTES);
        self.add_regions(&mut state, map, start, count, dirty);
    }
}

/// Is this free granule one that may hold memory of the system's?
fn is_touched_free(region: &Region, granule: usize) -> bool {
    region.used.get() >> granule & 1 == 0
        && region.is_touched(granule * GRANULE_BYTES, GRANULE_BYTES)
}

impl State {
    /// Takes a hole of the region that may hold memory of the system's, as a
    /// span; and how many such pages it has.
    fn take_touched_hole(
        &mut self,
        map: &PageMap,
        region: &'static Region,
    ) -> Option<(&'static Span, usize)> {
        // It may have changed since the caller looked.
        if region.kind() != RegionKind::Parted {
            return None;
        }
        let touched = |&granule: &usize| is_touched_free(region, granule);
        let first = (0..REGION_GRANULES).find(touched)?;
        let count = (first..REGION_GRANULES).take_while(touched).count();
        let pages = region.touched_in(first * GRANULE_BYTES, count * GRANULE_BYTES);
        self.parted.mark_used(region, first, count);
        // Nobody wanted it: not by `note_used`.
        self.used += count;
        self.holes_dirty.pages -= pages;
        let start = region.start() + first * GRANULE_BYTES;
        Some((begin_span(map, start, count), pages))
    }
}

/// Gives a range back by one system call: if it is a hugepage, that goes as a whole.
pub fn decommit(start: usize, bytes: usize) -> bool {
    // SAFETY: the range is free and out of every list, so nobody uses it.
    unsafe { os::decommit(core::ptr::with_exposed_provenance_mut(start), bytes) }
}

/// Unmaps regions that no list has. False where the system refuses: they are as they
/// were.
pub fn unmap_unused(start: *mut u8, count: usize) -> bool {
    // SAFETY: mapped by the page heap; the caller took them out of its lists.
    unsafe { os::unmap(start, count * REGION_BYTES) }
}

/// Moves the pages of the first `count` regions of a large span to another
/// one. An error where the system cannot: they are where they were, and the region of the
/// other span that it names may not be mapped any more.
pub fn move_regions(from: &Span, to: &Span, count: usize) -> Result<(), usize> {
    let moved = (0..count)
        .map(|index| index * REGION_BYTES)
        .take_while(|at| move_region(from.start() + at, to.start() + at))
        .count();
    if moved == count {
        return Ok(());
    }
    // Copied, not moved: at a limit the system would refuse that, too. What the
    // pages left behind is mapped and zero.
    copy_part(to, from, 0, moved * REGION_BYTES);
    Err(to.start() + moved * REGION_BYTES)
}

/// Moves the pages of a region to another one. False where the system cannot:
/// they are where they were, and the other one may not be mapped any more.
pub fn move_region(from: usize, to: usize) -> bool {
    let at = core::ptr::with_exposed_provenance_mut;
    // SAFETY: both belong to spans in use: their owner is the caller, and they
    // are mappings of the page heap. The first is one mapping: the callers asked, and a
    // program that changes mappings of an object while it reallocates it breaks the rule
    // that nobody else uses it.
    unsafe { os::move_pages(at(from), at(to), REGION_BYTES) }
}

/// Copies `[first, end)` of a large span to the same place in another one.
pub fn copy_part(from: &Span, to: &Span, first: usize, end: usize) {
    let at = |span: &Span| core::ptr::with_exposed_provenance_mut::<u8>(span.start() + first);
    // SAFETY: both are the caller's, apart, and at least `end` bytes long.
    unsafe { at(to).copy_from_nonoverlapping(at(from), end - first) };
}
