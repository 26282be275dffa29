//! Page heap: hands out spans, takes them back, merges free neighbours, and
//! gives pages back to the system.
//!
//! A span of up to a region's size goes into the fullest region that has a
//! hole for it, so that other regions empty out whole; but first where memory
//! is that was not given back yet, so that none is faulted in that could have
//! been reused. Larger ones begin with
//! a region and take as many as they need; what they leave of the last one
//! serves others. Free regions are kept in runs.
//!
//! Always: no two runs of free regions are neighbours; a region in which
//! nothing is in use belongs to a run; granules in use have a span, free ones
//! none. Whether a page may hold something stands in its region (`touched`);
//! `Dirty` counts these pages, of runs and of holes apart: each serves what the
//! other cannot, and so has a demand of its own.
//! Lock: `PageHeap::state`, rank `PageHeap`. No system call is made under it:
//! what is given back counts as in use meanwhile. Never calls upwards.

mod adopt;
mod dirty;
mod growth;
mod huge;
mod large;
mod look;
mod parted;
mod release;
mod runs;
mod totals;

use core::mem::offset_of;

use thmalloc_format::PagesLayout;

use crate::fatal;
use crate::metadata::Metadata;
use crate::os::{self, OutOfMemory, Protection};
use crate::page_map::PageMap;
use crate::region::{REGION_BYTES, REGION_GRANULES, Region, RegionKind, granule_in_region};
use crate::size_class::{GRANULE_BYTES, GRANULE_PAGES, GRANULE_SHIFT};
use crate::span::Span;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, Rank};

pub use adopt::Content;
pub use dirty::{PageTurn, Released};
pub use look::{Counted, Piece};
pub use totals::Totals;

use adopt::Lent;
use dirty::Dirty;
use growth::Growth;
use huge::HugePolicy;
use parted::PartedRegions;
use runs::FreeRuns;

/// Mapped at once at the least, in regions, and at the most beyond what is
/// asked for: a quarter of what there is. Address space only.
const GROWTH_REGIONS: (usize, usize) = (2, 64);

/// No process has so many.
const MAX_GRANULES: usize = 1 << (os::USER_ADDRESS_BITS - GRANULE_SHIFT);

// The long tables last: see `Heap`.
#[repr(C)]
struct State {
    /// Regions mapped, whatever they are used for.
    regions: usize,
    /// Times that a large object moved by remapping in a heap so large that they are limited.
    moves: usize,
    /// The system refused to move pages once: nobody knows what is at the target then.
    move_refused: bool,
    /// Granules in use.
    used: usize,
    runs_dirty: Dirty,
    holes_dirty: Dirty,
    /// Free pages that were given back, as far as they are free still.
    released: usize,
    /// Pages given back since the turn began.
    released_now: usize,
    /// Pages that had been given back and were taken since the turn began.
    refaulted: usize,
    /// Pages of all large objects ever handed out, and what those grew by; and how
    /// many objects that were.
    large_drawn: usize,
    large_count: usize,
    runs: FreeRuns,
    parted: PartedRegions,
}

/// The page heap.
#[repr(C)]
pub struct PageHeap {
    totals: Totals,
    growth: Growth,
    huge: HugePolicy,
    /// `State::regions`, for who wants a hint without the lock.
    mapped_regions: AtomicUsize,
    /// The system does not know how to populate.
    no_populate: AtomicBool,
    state: Mutex<State>,
}

impl PageHeap {
    /// Where a reader finds its words.
    pub const LAYOUT: PagesLayout = {
        let state = offset_of!(Self, state) + Mutex::<State>::VALUE_AT;
        let runs = state + offset_of!(State, runs_dirty);
        let holes = state + offset_of!(State, holes_dirty);
        PagesLayout {
            generation_at: (offset_of!(Self, state) + Mutex::<State>::GENERATION_AT) as u32,
            regions_at: (state + offset_of!(State, regions)) as u32,
            used_at: (state + offset_of!(State, used)) as u32,
            runs_dirty_at: (runs + offset_of!(Dirty, pages)) as u32,
            holes_dirty_at: (holes + offset_of!(Dirty, pages)) as u32,
            released_at: (state + offset_of!(State, released)) as u32,
            large_drawn_at: (state + offset_of!(State, large_drawn)) as u32,
            large_count_at: (state + offset_of!(State, large_count)) as u32,
        }
    };

    /// Where its running totals stand, in bytes from the start.
    pub const TOTALS_AT: usize = offset_of!(Self, totals);

    /// A heap without memory.
    pub const fn new() -> Self {
        Self {
            totals: Totals::new(),
            growth: Growth::new(),
            state: Mutex::new(
                Rank::PageHeap,
                State {
                    parted: PartedRegions::new(),
                    runs: FreeRuns::new(),
                    regions: 0,
                    moves: 0,
                    move_refused: false,
                    used: 0,
                    runs_dirty: Dirty::new(),
                    holes_dirty: Dirty::new(),
                    released: 0,
                    released_now: 0,
                    refaulted: 0,
                    large_drawn: 0,
                    large_count: 0,
                },
            ),
            huge: HugePolicy::new(),
            mapped_regions: AtomicUsize::new(0),
            no_populate: AtomicBool::new(false),
        }
    }

    /// Its running totals.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// A span of `granules` at a multiple of `align` granules (a power of two).
    /// It is the caller's, as a large one, until it is given back.
    pub fn allocate(
        &self,
        map: &PageMap,
        metadata: &Metadata,
        granules: usize,
        align: usize,
    ) -> Result<&'static Span, OutOfMemory> {
        self.allocate_counted(map, metadata, granules, align, 0, None)
    }

    /// A span that serves so many new large objects, and what is to be moved into
    /// it.
    fn allocate_counted(
        &self,
        map: &PageMap,
        metadata: &Metadata,
        granules: usize,
        align: usize,
        objects: usize,
        mut lent: Option<&mut Lent>,
    ) -> Result<&'static Span, OutOfMemory> {
        if granules.max(align) >= MAX_GRANULES {
            return Err(OutOfMemory);
        }
        loop {
            let mut state = self.state.lock();
            let found = if granules <= REGION_GRANULES && align <= REGION_GRANULES {
                state.allocate_in_region(map, self, granules, align)
            } else {
                state.allocate_regions(map, self, granules, align, lent.as_deref_mut())
            };
            match found {
                Some(span) => {
                    state.large_count += objects;
                    state.large_drawn += objects * granules * GRANULE_PAGES;
                    return Ok(span);
                }
                None => self.grow(map, metadata, state, granules, align)?,
            }
        }
    }

    /// Maps regions, enough for a span of `granules`.
    fn grow(
        &self,
        map: &PageMap,
        metadata: &Metadata,
        state: MutexGuard<'_, State>,
        granules: usize,
        align: usize,
    ) -> Result<(), OutOfMemory> {
        let first = state.regions == 0;
        let more = (state.regions / 4).clamp(GROWTH_REGIONS.0, GROWTH_REGIONS.1);
        drop(state);
        if first {
            self.huge.set(os::huge_pages());
        }
        let least =
            granules.div_ceil(REGION_GRANULES) + (align / REGION_GRANULES).saturating_sub(1);
        // Both have to fit below a limit: the regions, and what the page map says of them.
        let map_and_cover = |count| {
            let start = map_regions(count)?;
            match map.cover(metadata, start.addr(), count * REGION_BYTES) {
                Ok(()) => Ok((start, count)),
                Err(error) => {
                    release::unmap_unused(start, count);
                    Err(error)
                }
            }
        };
        let mapped = map_and_cover(least.max(more));
        let (start, count) = mapped.or_else(|_| map_and_cover(least))?;
        let mut state = self.state.lock();
        self.add_regions(&mut state, map, start.expose_provenance(), count, 0);
        Ok(())
    }

    /// Adds free regions that are mapped, of which the first `dirty` may hold something.
    /// The metadata of the others is zero, or `unmap_free` left it as if; it is not touched,
    /// since there may be a TiB.
    fn add_regions(
        &self,
        state: &mut State,
        map: &PageMap,
        start: usize,
        count: usize,
        dirty: usize,
    ) {
        state.regions += count;
        // Relaxed: a hint, see `mapped_bytes`.
        self.mapped_regions.store(state.regions, Ordering::Relaxed);
        state.runs.add(map, start, count, dirty);
    }

    /// Takes a span back. `touched` bytes at its start may hold something, but
    /// for the pages that are marked as given back.
    pub fn free(&self, map: &PageMap, span: &'static Span, touched: usize) {
        let mut state = self.state.lock();
        state.free(map, span, touched);
    }

    /// Faults pages in that their owner is about to write to: by one system call, where
    /// each would be a fault.
    pub fn populate(&self, start: usize, bytes: usize) {
        // Relaxed: who sees it late asks in vain.
        if !self.no_populate.load(Ordering::Relaxed) && !os::populate(start, bytes) {
            self.no_populate.store(true, Ordering::Relaxed);
        }
    }

    /// Bytes in spans, and bytes free that may hold memory of the system's.
    pub fn usage(&self) -> (usize, usize) {
        let state = self.state.lock();
        let free = state.dirty() * os::PAGE_BYTES;
        (state.used * GRANULE_BYTES, free)
    }

    /// Bytes mapped for objects, about.
    pub fn mapped_bytes(&self) -> usize {
        // Relaxed: a hint.
        self.mapped_regions.load(Ordering::Relaxed) * REGION_BYTES
    }

    /// The lock, for fork.
    pub fn lock_for_fork(&self) {
        self.state.lock_for_fork();
    }

    /// Ends [`PageHeap::lock_for_fork`].
    ///
    /// # Safety
    /// As [`Mutex::unlock_after_fork`].
    #[allow(unsafe_code)] // Passes the contract on.
    pub unsafe fn unlock_after_fork(&self) {
        // SAFETY: by contract.
        unsafe { self.state.unlock_after_fork() }
    }
}

impl Default for PageHeap {
    fn default() -> Self {
        Self::new()
    }
}

fn map_regions(count: usize) -> Result<*mut u8, OutOfMemory> {
    os::map_aligned(count * REGION_BYTES, REGION_BYTES, Protection::ReadWrite)
}

/// The metadata of a region that the heap has.
fn region_at(map: &PageMap, address: usize) -> &'static Region {
    match map.region_of(address) {
        Some(region) => region,
        None => fatal::inconsistent("a region of the heap has no metadata", address),
    }
}

/// The slot of a granule that the heap has.
fn slot_at(map: &PageMap, address: usize) -> &'static Span {
    match map.slot_of(address) {
        Some(slot) => slot,
        None => fatal::inconsistent("a granule of the heap has no metadata", address),
    }
}

/// Calls `visit` with each region of `[start, start + bytes)` and the part of
/// the range in it, as first byte and length.
fn each_region_part(
    map: &PageMap,
    start: usize,
    bytes: usize,
    mut visit: impl FnMut(&'static Region, usize, usize),
) {
    let mut address = start;
    let end = start + bytes;
    while address < end {
        let first = address % REGION_BYTES;
        let length = (REGION_BYTES - first).min(end - address);
        visit(region_at(map, address), first, length);
        address += length;
    }
}

impl State {
    fn dirty(&self) -> usize {
        self.runs_dirty.pages + self.holes_dirty.pages
    }

    fn allocate_in_region(
        &mut self,
        map: &PageMap,
        heap: &PageHeap,
        granules: usize,
        align: usize,
    ) -> Option<&'static Span> {
        let (region, first) = self
            .parted
            .find_warm(granules, align)
            .or_else(|| self.parted.find_tail(granules, align))
            .or_else(|| self.part_region(map, heap, true))
            .or_else(|| self.parted.find_cold(granules, align))
            .or_else(|| self.part_region(map, heap, false))?;
        self.parted.mark_used(region, first, granules);
        let dirty = region.touched_in(first * GRANULE_BYTES, granules * GRANULE_BYTES);
        self.holes_dirty.take(dirty);
        self.note_used(&heap.totals, granules, dirty);
        Some(begin_span(
            map,
            region.start() + first * GRANULE_BYTES,
            granules,
        ))
    }

    /// Parts a free region; only a dirty one, if asked to.
    fn part_region(
        &mut self,
        map: &PageMap,
        heap: &PageHeap,
        dirty: bool,
    ) -> Option<(&'static Region, usize)> {
        if dirty && !self.runs.has_dirty() {
            return None;
        }
        let (start, _) = self.runs.take(map, 1, 1)?;
        let region = region_at(map, start);
        region.begin(RegionKind::Parted, start);
        region.used.set(0);
        region.is_tail.set(0);
        self.runs_dirty.take(region.touched_pages());
        let filled = heap.huge.note_filled(region, 0, REGION_BYTES);
        heap.totals.note_taken(filled);
        self.holes_dirty.add(region.touched_pages());
        self.parted.add(region);
        Some((region, 0))
    }

    fn free(&mut self, map: &PageMap, span: &'static Span, touched: usize) {
        let (start, granules) = (span.start(), span.granules());
        each_region_part(map, start, touched, |region, first, bytes| {
            region.touch(first, bytes);
        });
        if span.has_released() {
            self.released += forget_released(map, start, granules);
            span.set_has_released(false);
        }
        end_span(map, start, granules);
        self.free_granules(map, start, granules);
    }

    /// Makes granules free that have no span any more. They are part of one
    /// region, or begin with a region's first.
    fn free_granules(&mut self, map: &PageMap, start: usize, granules: usize) {
        let whole = if granule_in_region(start) == 0 {
            granules / REGION_GRANULES
        } else {
            0
        };
        let rest = granules - whole * REGION_GRANULES;
        if rest != 0 {
            let tail = start + whole * REGION_BYTES;
            let region = region_at(map, tail);
            if granule_in_region(tail) == 0 {
                region.is_tail.set(0);
            }
            self.parted.mark_free(region, granule_in_region(tail), rest);
            self.used -= rest;
            let dirty = region.touched_in(tail % REGION_BYTES, rest * GRANULE_BYTES);
            self.holes_dirty.add(dirty);
            if region.used.get() == 0 {
                self.parted.remove(region);
                region.end();
                let pages = region.touched_pages();
                self.holes_dirty.transfer(&mut self.runs_dirty, pages);
                let start = tail & !(REGION_BYTES - 1);
                self.runs.add(map, start, 1, usize::from(pages != 0));
            }
        }
        if whole != 0 {
            // A parted region that is used as a whole is one, too.
            let head = region_at(map, start);
            if head.kind() == RegionKind::Parted {
                self.parted.mark_free(head, 0, REGION_GRANULES);
                self.parted.remove(head);
            }
            head.end();
            let (mut dirty, mut pages) = (0, 0);
            for index in 0..whole {
                let touched = region_at(map, start + index * REGION_BYTES).touched_pages();
                if touched != 0 {
                    dirty = index + 1;
                    pages += touched;
                }
            }
            self.used -= whole * REGION_GRANULES;
            self.runs_dirty.add(pages);
            self.runs.add(map, start, whole, dirty);
        }
    }
}

/// Writes the slots of a new span: its first, and those later ones that lie in
/// its first region or in a last one that others share.
fn begin_span(map: &PageMap, start: usize, granules: usize) -> &'static Span {
    let head = slot_at(map, start);
    head.begin(start, granules);
    each_inner_slot(map, start, granules, |slot, back| slot.begin_inner(back));
    head
}

/// Enters the pages that a small span has given back into its region's books,
/// and forgets them in the span's slots. Returns how many.
fn forget_released(map: &PageMap, start: usize, granules: usize) -> usize {
    let mut count = 0;
    for granule in 0..granules {
        let address = start + granule * GRANULE_BYTES;
        let pages = slot_at(map, address).take_released();
        count += pages.count_ones() as usize;
        for page in (0..GRANULE_PAGES).filter(|page| pages >> page & 1 != 0) {
            let first = address % REGION_BYTES + page * os::PAGE_BYTES;
            region_at(map, address).untouch(first, os::PAGE_BYTES);
        }
    }
    count
}

fn end_span(map: &PageMap, start: usize, granules: usize) {
    slot_at(map, start).end_slot();
    each_inner_slot(map, start, granules, |slot, _| slot.end_slot());
}

fn each_inner_slot(
    map: &PageMap,
    start: usize,
    granules: usize,
    mut visit: impl FnMut(&'static Span, usize),
) {
    let in_first = (REGION_GRANULES - granule_in_region(start)).min(granules);
    let last = (granules / REGION_GRANULES * REGION_GRANULES).max(in_first);
    for back in (1..in_first).chain(last..granules) {
        visit(slot_at(map, start + (back << GRANULE_SHIFT)), back);
    }
}
