//! Spans of more than a region, and large spans that change their length.
//!
//! Always: a span of several regions begins with its first region's first
//! granule (`LargeHead`); the regions that it fills to the end have no kind of
//! their own, and a last one that it does not fill is parted, so that its rest
//! serves others. The slots of its first region and of such a last one are
//! written; those between stay free.

use crate::metadata::Metadata;
use crate::os::{self, OutOfMemory};
use crate::page_map::PageMap;
use crate::region::{
    REGION_BYTES, REGION_GRANULES, Region, RegionKind, granule_in_region, granule_mask,
};
use crate::size_class::{GRANULE_BYTES, GRANULE_PAGES};
use crate::span::Span;

use super::adopt::Lent;
use super::{
    PageHeap, State, begin_span, each_inner_slot, each_region_part, huge, region_at, slot_at,
};

/// Each region that pages were moved to may be a mapping of its own, of which a process has
/// 65530 (`vm.max_map_count`): up to so many regions, they may move as often as they will.
const MAX_REGIONS: usize = 8192;

/// In a larger heap a move splits the system's list of mappings by up to three: after so
/// many there, large objects are copied.
const MAX_MOVES: usize = 16_384;

/// How many regions belong wholly to the large object whose head this is.
pub fn whole_regions(map: &PageMap, head: &Region) -> usize {
    slot_at(map, head.start()).granules() / REGION_GRANULES
}

impl PageHeap {
    /// Makes a large span longer where it stands, if what follows is free.
    #[must_use]
    pub fn extend(&self, map: &PageMap, span: &'static Span, granules: usize) -> bool {
        let mut state = self.state.lock();
        let more = (granules - span.granules()) * GRANULE_PAGES;
        let extended = state.extend(map, self, span, granules);
        if extended {
            state.large_drawn += more;
        }
        extended
    }

    /// Notes that a part of a large object may hold something: the object's
    /// size no longer says so.
    pub fn touch(&self, map: &PageMap, start: usize, bytes: usize) {
        let _state = self.state.lock();
        each_region_part(map, start, bytes, |region, first, length| {
            region.touch(first, length);
        });
    }

    /// Makes a large span shorter. What was written to of the part that it
    /// gives up is noted already ([`PageHeap::touch`]).
    pub fn shrink(&self, map: &PageMap, span: &'static Span, granules: usize) {
        self.state.lock().shrink(map, self, span, granules);
    }

    /// Moves the first `bytes` of a large object of several regions to a new
    /// span of `granules`, no shorter than the old one, and frees that. Whole
    /// regions move by remapping their pages, one at a time: so no mapping ends inside a
    /// region but by the program's doing ([`PageHeap::may_move`]). The rest is
    /// copied. `None` where the system cannot: the object is as it was.
    pub fn move_large(
        &self,
        map: &PageMap,
        metadata: &Metadata,
        span: &'static Span,
        bytes: usize,
        granules: usize,
    ) -> Result<Option<&'static Span>, OutOfMemory> {
        if !self.state.lock().may_move_object() {
            return Ok(None);
        }
        let whole = bytes / REGION_BYTES;
        let mut movable = each_start(span, whole);
        if !movable.all(|start| self.may_move(map, start)) {
            return Ok(None);
        }
        self.state.lock().note_move();
        let new = self.allocate(map, metadata, granules, REGION_GRANULES)?;
        if each_start(new, whole).any(|start| self.is_locked(map, start)) {
            self.free(map, new, 0);
            return Ok(None);
        }
        if let Err(failed) = super::release::move_regions(span, new, whole) {
            self.abandon(map, new, failed);
            return Ok(None);
        }
        let moved = whole * REGION_BYTES;
        for (from, to) in each_start(span, whole).zip(each_start(new, whole)) {
            huge::note_moved(&self.huge, region_at(map, from), region_at(map, to));
        }
        super::release::copy_part(span, new, moved, bytes);
        self.touch(map, span.start() + moved, bytes - moved);
        let grown = granules - span.granules();
        self.free_released(map, span, moved);
        self.state.lock().large_drawn += grown * GRANULE_PAGES;
        Ok(Some(new))
    }

    /// May the pages of a region of the caller's be moved? Not where the program has
    /// locked it: what else is in the same mapping would not be locked any more. Nor where
    /// it has made several mappings of it, of which some might move and others not.
    pub fn may_move(&self, map: &PageMap, start: usize) -> bool {
        let region = core::ptr::with_exposed_provenance_mut(start);
        os::is_one_mapping(region, REGION_BYTES) && !self.is_locked(map, start)
    }

    /// Is a region of the caller's, of one mapping, locked into memory?
    pub fn is_locked(&self, map: &PageMap, start: usize) -> bool {
        let region = region_at(map, start);
        // A hugepage is asked for as a whole, or it would be split; else a page that is not
        // there, if possible: no processor has to forget it.
        let (first, bytes) = match self.may_be_huge(region) {
            true => (start, REGION_BYTES),
            false => (start + region.clean_page() * os::PAGE_BYTES, os::PAGE_BYTES),
        };
        os::is_locked(core::ptr::with_exposed_provenance_mut(first), bytes)
    }

    /// Gives a new large span's regions up for good: after a remapping that
    /// failed, nobody can say whether its target is still mapped, or who has it. The memory
    /// of the others goes back. No object is moved by remapping any more.
    #[cold]
    pub fn abandon(&self, map: &PageMap, span: &'static Span, failed: usize) {
        let (start, granules) = (span.start(), span.granules());
        let whole = granules / REGION_GRANULES;
        let behind = failed + REGION_BYTES;
        super::release::decommit(start, failed - start);
        super::release::decommit(behind, start + whole * REGION_BYTES - behind);
        let mut state = self.state.lock();
        state.move_refused = true;
        super::end_span(map, start, granules);
        region_at(map, start).end();
        each_region_part(map, start, whole * REGION_BYTES, |region, first, bytes| {
            region.untouch(first, bytes);
            huge::note_unmapped(&self.huge, region);
        });
        state.regions -= whole;
        state.used -= whole * REGION_GRANULES;
        let rest = granules % REGION_GRANULES;
        if rest != 0 {
            state.free_granules(map, start + whole * REGION_BYTES, rest);
        }
    }

    /// Takes back a large span whose first `bytes` are zero and cost nothing.
    /// What is behind them was not written to since it was allocated.
    pub fn free_released(&self, map: &PageMap, span: &'static Span, bytes: usize) {
        let mut state = self.state.lock();
        each_region_part(map, span.start(), bytes, |region, first, length| {
            region.untouch(first, length);
        });
        state.free(map, span, 0);
    }
}

/// Where the first `count` regions of a large span begin.
fn each_start(span: &Span, count: usize) -> impl Iterator<Item = usize> {
    let first = span.start();
    (0..count).map(move |index| first + index * REGION_BYTES)
}

impl State {
    /// May the pages of free regions be moved, each by itself?
    pub fn may_move_regions(&self) -> bool {
        !self.move_refused && self.regions <= MAX_REGIONS
    }

    /// May those of a large object be moved, in a row?
    fn may_move_object(&self) -> bool {
        self.may_move_regions() || !self.move_refused && self.moves < MAX_MOVES
    }

    /// A large object is about to move.
    fn note_move(&mut self) {
        self.moves += usize::from(self.regions > MAX_REGIONS);
    }

    /// A span that begins with a region. If anything is to be moved into it, it
    /// has its last region to the end.
    pub fn allocate_regions(
        &mut self,
        map: &PageMap,
        heap: &PageHeap,
        granules: usize,
        align: usize,
        lent: Option<&mut Lent>,
    ) -> Option<&'static Span> {
        let count = granules.div_ceil(REGION_GRANULES);
        let (start, dirty) = self
            .runs
            .take(map, count, (align / REGION_GRANULES).max(1))?;
        let lent = lent.map_or(0, |lent| {
            self.lend(map, start, count, lent);
            lent.pages()
        });
        let granules = match lent {
            0 => granules,
            _ => count * REGION_GRANULES,
        };
        let pages = self.use_regions(map, heap, (start, start), granules, dirty);
        // Where pages come from elsewhere, the few that are there go.
        let pages = (pages + lent).min(granules * GRANULE_PAGES);
        self.note_used(&heap.totals, granules, pages);
        let head = region_at(map, start);
        if granules >= REGION_GRANULES {
            head.begin(RegionKind::LargeHead, start);
        }
        Some(begin_span(map, start, granules))
    }

    /// Marks free regions from `start` on, taken from the runs, as filled by `granules` of a
    /// span that begins at `first`; the last is parted if they do not fill it. The
    /// first `dirty` of them may hold something. Returns how many pages of the span
    /// do; they are not noted as used yet.
    fn use_regions(
        &mut self,
        map: &PageMap,
        heap: &PageHeap,
        (first, start): (usize, usize),
        granules: usize,
        dirty: usize,
    ) -> usize {
        let count_touched = |bytes: usize| {
            let mut pages = 0;
            each_region_part(map, start, bytes, |region, first, length| {
                pages += region.touched_in(first, length);
            });
            pages
        };
        let all = count_touched(dirty * REGION_BYTES);
        let taken = count_touched((dirty * REGION_BYTES).min(granules * GRANULE_BYTES));
        self.runs_dirty.take(all);
        self.holes_dirty.add(all - taken);
        let rest = granules % REGION_GRANULES;
        if rest != 0 {
            let last_start = start + (granules - rest) * GRANULE_BYTES;
            let last = region_at(map, last_start);
            last.begin(RegionKind::Parted, last_start);
            // Of the span's first region, if it is that: no object ends in it.
            last.is_tail.set(u8::from(last_start != first));
            last.used.set(granule_mask(0, rest));
            let hole = rest * GRANULE_BYTES;
            let filled = heap.huge.note_filled(last, hole, REGION_BYTES - hole);
            self.holes_dirty.add(filled);
            self.parted.add(last);
        }
        taken
    }

    fn extend(
        &mut self,
        map: &PageMap,
        heap: &PageHeap,
        span: &'static Span,
        granules: usize,
    ) -> bool {
        let (start, old) = (span.start(), span.granules());
        let end = start + old * GRANULE_BYTES;
        let new_end = start + granules * GRANULE_BYTES;
        let border = end.next_multiple_of(REGION_BYTES);
        let inside = (new_end.min(border) - end) / GRANULE_BYTES;
        let beyond = new_end.saturating_sub(border) / GRANULE_BYTES;
        if beyond != 0 && !start.is_multiple_of(REGION_BYTES) {
            return false;
        }
        let last = region_at(map, end - 1);
        let mask = granule_mask(granule_in_region(end), inside);
        if inside != 0 && last.used.get() & mask != 0 {
            return false;
        }
        let mut dirty = 0;
        if beyond != 0 {
            let count = beyond.div_ceil(REGION_GRANULES);
            match self.runs.take_at(map, border, count) {
                Some(regions) => dirty = regions,
                None => return false,
            }
        }
        if inside != 0 {
            self.parted.mark_used(last, granule_in_region(end), inside);
            let pages = last.touched_in(end % REGION_BYTES, inside * GRANULE_BYTES);
            self.holes_dirty.take(pages);
            self.note_used(&heap.totals, inside, pages);
        }
        span.set_granules(granules);
        let filled = new_end >= border && start.is_multiple_of(REGION_BYTES);
        if filled && last.kind() == RegionKind::Parted {
            self.absorb(map, span, last);
        }
        if beyond != 0 {
            let pages = self.use_regions(map, heap, (start, border), beyond, dirty);
            self.note_used(&heap.totals, beyond, pages);
        }
        each_inner_slot(map, start, granules, |slot, back| {
            if back >= old {
                slot.begin_inner(back);
            }
        });
        true
    }

    /// A parted region that the span fills now becomes one of its own.
    fn absorb(&mut self, map: &PageMap, span: &'static Span, region: &'static Region) {
        self.parted.remove(region);
        region.used.set(0);
        if region.start() == span.start() {
            region.begin(RegionKind::LargeHead, span.start());
            return;
        }
        let first = region.start();
        region.end();
        for granule in 0..REGION_GRANULES {
            slot_at(map, first + granule * GRANULE_BYTES).end_slot();
        }
    }

    fn shrink(&mut self, map: &PageMap, heap: &PageHeap, span: &'static Span, granules: usize) {
        let (start, old) = (span.start(), span.granules());
        let end = start + old * GRANULE_BYTES;
        let new_end = start + granules * GRANULE_BYTES;
        each_inner_slot(map, start, old, |slot, back| {
            if back >= granules {
                slot.end_slot();
            }
        });
        span.set_granules(granules);
        let border = new_end.next_multiple_of(REGION_BYTES);
        if new_end != border {
            let region = region_at(map, new_end);
            if region.kind() != RegionKind::Parted {
                region.begin(RegionKind::Parted, border - REGION_BYTES);
                region.used.set(u32::MAX);
                region.is_tail.set(u8::from(region.start() != start));
                self.parted.add(region);
                each_inner_slot(map, start, granules, |slot, back| slot.begin_inner(back));
            }
            let freed = (border.min(end) - new_end) / GRANULE_BYTES;
            let (hole, bytes) = (new_end % REGION_BYTES, freed * GRANULE_BYTES);
            heap.huge.note_filled(region, hole, bytes);
            self.parted
                .mark_free(region, granule_in_region(new_end), freed);
            let pages = region.touched_in(hole, bytes);
            self.used -= freed;
            self.holes_dirty.add(pages);
        }
        if end > border {
            self.free_granules(map, border, (end - border) / GRANULE_BYTES);
        }
    }
}
