//! Page map: from any address to its region, its span and its size class.
//!
//! Two parts. The *tree* has a leaf for each GiB in which the heap has memory,
//! with the metadata of that GiB's regions and spans; it covers every address
//! that a process can have, and is what counts. The *class table* is for the
//! fast path of `free`: one byte a granule, its code (`size_class/code.rs`), which says
//! the size class, 0 where no small object can be. It covers a window of the address space around the first
//! region (16 TiB, which takes 256 MiB of address space and, of memory, a page
//! for each 256 MiB of heap). An address outside of it takes the slow path, by
//! the tree; where not even a small window can be reserved (`ulimit -v`), all
//! do.
//!
//! Always: leaves and the window, once there, stay. The table's bytes are
//! those of the spans' `class`. The table is mapped read-only and opened piece
//! by piece, so that it counts neither as data nor as committed memory.
//! Lock: `growth`, for new leaves and pieces; reading takes none.
#![allow(unsafe_code)] // Leaves and the table are raw memory.

use core::mem::offset_of;
use core::ptr::null_mut;

use thmalloc_format::MapLayout;

use crate::metadata::Metadata;
use crate::os::{self, OutOfMemory, Protection, USER_ADDRESS_BITS};
use crate::region::{REGION_BYTES, REGION_GRANULES, REGION_SHIFT, Region, granule_in_region};
use crate::size_class::code::{self, code};
use crate::size_class::{GRANULE_SHIFT, SizeClass};
use crate::span::{Span, SpanKind};
use crate::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use crate::sync::{Mutex, Rank};

/// The logarithm of the address space that a leaf covers.
pub const LEAF_SHIFT: u32 = 30;
const LEAF_REGIONS: usize = 1 << (LEAF_SHIFT - REGION_SHIFT);
const TOP_LENGTH: usize = 1 << (USER_ADDRESS_BITS - LEAF_SHIFT);

/// The windows to try, in bytes of address space covered, with the part of it
/// that lies above the first region: the system maps downwards.
const WINDOWS: [(usize, usize); 2] = [(16 << 40, 1 << 40), (64 << 30, 4 << 30)];

/// A piece of the class table is opened at once: 64 KiB of it, 4 GiB of heap.
const PIECE_BYTES: usize = 64 << 10;
const PIECE_HEAP_BYTES: usize = PIECE_BYTES << GRANULE_SHIFT;
const PIECES: usize = WINDOWS[0].0 / PIECE_HEAP_BYTES;

/// The metadata of one GiB. Untouched parts of it cost nothing.
#[repr(C)]
struct Leaf {
    regions: [Region; LEAF_REGIONS],
    spans: [[Span; REGION_GRANULES]; LEAF_REGIONS],
}

type Top = [AtomicPtr<Leaf>; TOP_LENGTH];

struct Growth {
    /// Which pieces of the class table may be written, a bit each.
    opened: [u64; PIECES / 64],
    window_tried: bool,
}

/// The window of the class table, for the fast path.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first address that it covers.
    pub base: usize,
    /// How many granules it covers.
    pub granules: usize,
    /// The table's first byte.
    pub table: *const u8,
}

/// The page map.
pub struct PageMap {
    top: AtomicPtr<Top>,
    growth: Mutex<Growth>,
    table: AtomicPtr<AtomicU8>,
    window_base: AtomicUsize,
    window_granules: AtomicUsize,
    /// The first leaf, and behind the last: where a walk begins and ends.
    first_leaf: AtomicUsize,
    end_leaf: AtomicUsize,
}

impl PageMap {
    /// Where a reader finds its words.
    pub const LAYOUT: MapLayout = MapLayout {
        top_at: offset_of!(Self, top) as u32,
        top_length: TOP_LENGTH as u32,
        first_leaf_at: offset_of!(Self, first_leaf) as u32,
        end_leaf_at: offset_of!(Self, end_leaf) as u32,
        leaf_bytes: size_of::<Leaf>() as u32,
        regions_at: offset_of!(Leaf, regions) as u32,
        spans_at: offset_of!(Leaf, spans) as u32,
        class_table_at: offset_of!(Self, table) as u32,
        class_table_length_at: offset_of!(Self, window_granules) as u32,
        reserved: 0,
    };

    /// A map that covers nothing yet.
    pub const fn new() -> Self {
        Self {
            top: AtomicPtr::new(null_mut()),
            growth: Mutex::new(
                Rank::PageMap,
                Growth {
                    opened: [0; PIECES / 64],
                    window_tried: false,
                },
            ),
            table: AtomicPtr::new(null_mut()),
            window_base: AtomicUsize::new(0),
            window_granules: AtomicUsize::new(0),
            first_leaf: AtomicUsize::new(0),
            end_leaf: AtomicUsize::new(0),
        }
    }

    #[inline(always)]
    fn leaf_of(&self, address: usize) -> Option<&'static Leaf> {
        // Acquire: pairs with the Release in `cover`; who sees the top table
        // sees it zeroed or filled, and the same for a leaf below.
        // SAFETY: only `cover` writes these, and only null or what the metadata
        // arena gave for good.
        unsafe {
            let top = self.top.load(Ordering::Acquire).as_ref()?;
            let leaf = top.get(address >> LEAF_SHIFT)?;
            leaf.load(Ordering::Acquire).as_ref()
        }
    }

    /// The region around an address; `None` where the heap never had any near.
    pub fn region_of(&self, address: usize) -> Option<&'static Region> {
        let leaf = self.leaf_of(address)?;
        Some(&leaf.regions[(address >> REGION_SHIFT) % LEAF_REGIONS])
    }

    /// The slot of the granule around an address.
    #[inline(always)]
    pub fn slot_of(&self, address: usize) -> Option<&'static Span> {
        let leaf = self.leaf_of(address)?;
        let slots = &leaf.spans[(address >> REGION_SHIFT) % LEAF_REGIONS];
        Some(&slots[granule_in_region(address)])
    }

    /// The slots of the region that begins at `start`, in order; none where the
    /// heap never had any near.
    pub fn slots_of_region(&self, start: usize) -> impl Iterator<Item = &'static Span> {
        let slots = self
            .leaf_of(start)
            .map(|leaf| &leaf.spans[(start >> REGION_SHIFT) % LEAF_REGIONS]);
        slots.into_iter().flatten()
    }

    /// The span that covers an address; `None` where the address is free or
    /// not the heap's. For the inside of a large object beyond its first
    /// region it may be `None`, too: see [`PageMap::large_span_around`].
    #[inline(always)]
    pub fn span_of(&self, address: usize) -> Option<&'static Span> {
        let slot = self.slot_of(address)?;
        match slot.kind() {
            SpanKind::Free => None,
            SpanKind::Small | SpanKind::Large => Some(slot),
            SpanKind::Inner => {
                let back = slot.back() << GRANULE_SHIFT;
                self.slot_of(address.checked_sub(back)?)
                    .filter(|head| matches!(head.kind(), SpanKind::Small | SpanKind::Large))
            }
        }
    }

    /// The large object of several regions that covers an address. Walks back
    /// region by region: for messages about misuse.
    #[cold]
    pub fn large_span_around(&self, address: usize) -> Option<&'static Span> {
        let mut start = address & !(REGION_BYTES - 1);
        loop {
            start = start.checked_sub(REGION_BYTES)?;
            let head = self.slot_of(start)?;
            if head.kind() == SpanKind::Large {
                return (head.end() > address).then_some(head);
            }
        }
    }

    /// Makes room for the metadata of the regions in `[start, start + bytes)`.
    pub fn cover(
        &self,
        metadata: &Metadata,
        start: usize,
        bytes: usize,
    ) -> Result<(), OutOfMemory> {
        let mut growth = self.growth.lock();
        let (first, last) = (start >> LEAF_SHIFT, (start + bytes - 1) >> LEAF_SHIFT);
        if self.top.load(Ordering::Relaxed).is_null() {
            let top = metadata.allocate_bytes(size_of::<Top>(), os::PAGE_BYTES)?;
            // A page that is written before it is read is faulted in once.
            // SAFETY: just given, and long enough; nobody else knows of it.
            if let Some(leaf) = unsafe { top.cast::<Top>().as_ref() }.get(first) {
                leaf.store(null_mut(), Ordering::Relaxed);
            }
            // Release: pairs with the Acquire in `leaf_of`.
            self.top.store(top.as_ptr().cast(), Ordering::Release);
        }
        // SAFETY: stored above, or earlier, and never taken down.
        let top = unsafe { &*self.top.load(Ordering::Relaxed) };
        let leaves = top.get(first..=last).ok_or(OutOfMemory)?;
        // Relaxed: written under this lock only.
        let missing = |leaf: &&AtomicPtr<Leaf>| leaf.load(Ordering::Relaxed).is_null();
        let count = leaves.iter().filter(missing).count();
        if count != 0 {
            // All at once: a large object may need thousands, and a mapping for
            // each would leave the process none.
            let length = count * size_of::<Leaf>();
            let new = metadata.allocate_bytes(length, align_of::<Leaf>())?;
            for (index, leaf) in leaves.iter().filter(missing).enumerate() {
                // SAFETY: inside the piece.
                let place = unsafe { new.cast::<Leaf>().add(index) };
                // Release: pairs with the Acquire in `leaf_of`; the leaf is
                // zero, which means free, as the arena gave it.
                leaf.store(place.as_ptr(), Ordering::Release);
            }
            // Relaxed: written under this lock only, and for walks, which see a leaf that
            // is older than they. Release: who sees the first end sees the first beginning.
            let begun = self.end_leaf.load(Ordering::Relaxed) != 0;
            let lowest = self.first_leaf.load(Ordering::Relaxed);
            let lowest = if begun { lowest.min(first) } else { first };
            self.first_leaf.store(lowest, Ordering::Relaxed);
            self.end_leaf.fetch_max(last + 1, Ordering::Release);
        }
        if !growth.window_tried {
            growth.window_tried = true;
            self.reserve_window(start);
        }
        self.open_table(&mut growth, start, bytes)
    }

    fn reserve_window(&self, first_region: usize) {
        for (covered, above) in WINDOWS {
            let granules = covered >> GRANULE_SHIFT;
            let Ok(table) = os::reserve(granules) else {
                continue;
            };
            os::do_not_dump(table, granules);
            let base = (first_region + above).saturating_sub(covered);
            let base = base & !(PIECE_HEAP_BYTES - 1);
            // Relaxed: published by what follows.
            self.window_base.store(base, Ordering::Relaxed);
            self.table.store(table.cast(), Ordering::Relaxed);
            // Release: pairs with the Acquire in `window`.
            self.window_granules.store(granules, Ordering::Release);
            return;
        }
    }

    fn open_table(
        &self,
        growth: &mut Growth,
        start: usize,
        bytes: usize,
    ) -> Result<(), OutOfMemory> {
        let window = self.window();
        let window_bytes = window.granules << GRANULE_SHIFT;
        let first = start.max(window.base);
        let end = (start + bytes).min(window.base + window_bytes);
        if first >= end {
            return Ok(());
        }
        let first_piece = (first - window.base) / PIECE_HEAP_BYTES;
        let last_piece = (end - 1 - window.base) / PIECE_HEAP_BYTES;
        for piece in first_piece..=last_piece {
            let (word, bit) = (piece / 64, 1 << (piece % 64));
            if growth.opened[word] & bit != 0 {
                continue;
            }
            let length = PIECE_BYTES.min(window.granules);
            let address = window.table.cast_mut().wrapping_add(piece * PIECE_BYTES);
            // SAFETY: a part of the table, which is ours; opening it takes
            // nothing from those who read it.
            unsafe { os::protect(address, length, Protection::ReadWrite)? };
            growth.opened[word] |= bit;
        }
        Ok(())
    }

    /// The class table's window; of no granules where there is none.
    #[inline(always)]
    pub fn window(&self) -> Window {
        // Acquire: pairs with the Release in `reserve_window`: who sees the window's length
        // sees where it is, which never changes.
        let granules = self.window_granules.load(Ordering::Acquire);
        Window {
            base: self.window_base.load(Ordering::Relaxed),
            granules,
            table: self.table.load(Ordering::Relaxed).cast(),
        }
    }

    /// Enters the class of a span's granules into the class table; `NONE`
    /// takes it out. The span's region is covered.
    pub fn set_class(&self, span: &Span, class: SizeClass) {
        let window = self.window();
        let table = self.table.load(Ordering::Relaxed);
        let Some(offset) = span.start().checked_sub(window.base) else {
            return;
        };
        let first = offset >> GRANULE_SHIFT;
        for place in 0..span.granules().min(window.granules.saturating_sub(first)) {
            // SAFETY: inside the table, in a piece that `cover` opened.
            let entry = unsafe { &*table.add(first + place) };
            // Relaxed: only who owns an object in the span may ask for it, and
            // got the object after this.
            entry.store(code(class, place), Ordering::Relaxed);
        }
    }

    /// The code that the table has for an address.
    #[inline(always)]
    fn code_of(&self, address: usize) -> u8 {
        let window = self.window();
        let granule = address.wrapping_sub(window.base) >> GRANULE_SHIFT;
        if granule >= window.granules {
            return SizeClass::NONE.number() as u8;
        }
        // SAFETY: inside the table. Relaxed: see `set_class`.
        unsafe { (*self.table.load(Ordering::Relaxed).add(granule)).load(Ordering::Relaxed) }
    }

    /// The class that the table has for an address.
    pub fn class_of(&self, address: usize) -> SizeClass {
        code::class_of(self.code_of(address))
    }

    /// The class of the small object that begins at an address, by the table alone;
    /// `None` where none begins, or the table does not say.
    #[inline(always)]
    pub fn class_of_object(&self, address: usize) -> Option<SizeClass> {
        code::class_at(self.code_of(address), address as u16)
    }

    /// All regions of the heap's GiBs, in the order of their addresses, the
    /// heap's own and those between; for checks and statistics.
    pub fn regions(&self) -> impl Iterator<Item = (usize, &'static Region)> {
        // SAFETY: as in `leaf_of`. Acquire: pairs with the Release in `cover`.
        let top = unsafe { self.top.load(Ordering::Acquire).as_ref() };
        // Acquire: pairs with the Release in `cover`.
        let end = self.end_leaf.load(Ordering::Acquire);
        let first = self.first_leaf.load(Ordering::Relaxed);
        let leaves = top
            .and_then(|top| top.get(first..end))
            .into_iter()
            .flat_map(move |leaves| (first..).zip(leaves));
        leaves
            .filter_map(|(index, leaf)| {
                // SAFETY: as in `leaf_of`.
                let leaf = unsafe { leaf.load(Ordering::Acquire).as_ref()? };
                Some((index, leaf))
            })
            .flat_map(|(index, leaf)| {
                let base = index << LEAF_SHIFT;
                let regions = leaf.regions.iter().enumerate();
                regions.map(move |(i, region)| (base + i * REGION_BYTES, region))
            })
    }

    /// Calls `visit` with each range of memory that is the map's own and may hold
    /// something, as first byte and length.
    pub fn each_own_range(&self, mut visit: impl FnMut(usize, usize)) {
        let opened = {
            let growth = self.growth.lock();
            growth.opened
        };
        let window = self.window();
        for piece in (0..PIECES).filter(|piece| opened[piece / 64] >> (piece % 64) & 1 != 0) {
            let start = window.table.addr() + piece * PIECE_BYTES;
            visit(start, PIECE_BYTES.min(window.granules));
        }
        let top = self.top.load(Ordering::Acquire);
        // SAFETY: as in `leaf_of`.
        let Some(leaves) = (unsafe { top.as_ref() }) else {
            return;
        };
        visit(top.addr(), size_of::<Top>());
        // Acquire: pairs with the Release in `cover`.
        let end = self.end_leaf.load(Ordering::Acquire);
        let first = self.first_leaf.load(Ordering::Relaxed);
        for leaf in leaves.get(first..end).into_iter().flatten() {
            let leaf = leaf.load(Ordering::Relaxed);
            if !leaf.is_null() {
                visit(leaf.addr(), size_of::<Leaf>());
            }
        }
    }

    /// The lock, for fork.
    pub fn lock_for_fork(&self) {
        self.growth.lock_for_fork();
    }

    /// Ends [`PageMap::lock_for_fork`].
    ///
    /// # Safety
    /// As [`Mutex::unlock_after_fork`].
    pub unsafe fn unlock_after_fork(&self) {
        // SAFETY: by contract.
        unsafe { self.growth.unlock_after_fork() }
    }
}

impl Default for PageMap {
    fn default() -> Self {
        Self::new()
    }
}
