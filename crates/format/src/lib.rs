//! The statistics block: what a process on thmalloc shows of its heap to whoever
//! may read its memory.
//!
//! The block is a constant: it says where the heap's own books are and how they
//! are laid out, and the reader walks them. So it costs the process nothing, and
//! detail costs nobody anything until it is asked for. It is found by an ELF note
//! ([`NOTE_NAME`], [`NOTE_TYPE`]) of the object that holds the heap, the library
//! or a program that is linked with it: notes are mapped, listed in the program
//! headers, and outlive `strip`. The note's descriptor is the distance in bytes
//! from the descriptor to the block, an `i64`. The library also exports the block
//! as the symbol `thmalloc_block`.
//!
//! # Reading while the process runs
//! Whatever a lock guards has a generation beside the lock: odd while somebody
//! holds it, and another each time. A writer makes it odd after it has the lock
//! and before it writes, and even again after its last write and before it lets
//! the lock go. A reader takes the generation, copies, and takes it again: the
//! copy is of one moment if both are the same even number. What belongs to a
//! lock:
//! - a central list's: its counts, and the spans of its class but for `kind`,
//!   `class`, `granules`, `back` and `start`;
//! - the page heap's: its counts, all regions, large spans, and those five. (A
//!   span becomes one of a class, or is none any more, under that class's lock,
//!   while no list of the page heap has it: so `kind` and `class` may change under
//!   either lock. In between it is a large one, of no bytes or of those that its
//!   objects took.)
//! - a transfer cache's: its count and its objects;
//! - a slot's: where its arrays begin. Its `top` words, and what the arrays
//!   hold, change without a lock: free objects in CPU caches are counted as of
//!   no one moment.
//!
//! # Trust
//! None: to a reader this is another process's memory. Offsets and counts may be
//! anything.
//!
//! All numbers are little-endian; addresses are the process's own, 0 for none.
#![no_std]

use core::fmt;

/// The first bytes of a block.
pub const MAGIC: [u8; 8] = *b"thmalloc";

/// Raised whenever a field changes its meaning. A reader refuses versions that it
/// does not know; fields that are only added go to the end and raise `bytes`.
pub const VERSION: u32 = 1;

/// The owner of the ELF note, without its final zero.
pub const NOTE_NAME: &str = "thmalloc";

/// The type of the ELF note.
pub const NOTE_TYPE: u32 = 1;

/// `SpanLayout::kind`: nothing, free or not the heap's.
pub const SPAN_FREE: u8 = 0;
/// `SpanLayout::kind`: the first granule of a span of small objects.
pub const SPAN_SMALL: u8 = 1;
/// `SpanLayout::kind`: the first granule of a large object.
pub const SPAN_LARGE: u8 = 2;
/// `SpanLayout::kind`: a later granule of a span.
pub const SPAN_INNER: u8 = 3;

/// `RegionLayout::kind`: not the heap's, or inside a run or a large object.
pub const REGION_NONE: u8 = 0;
/// `RegionLayout::kind`: the first or the last of a run of free regions.
pub const REGION_FREE: u8 = 1;
/// `RegionLayout::kind`: parted into granules, some of them in use.
pub const REGION_PARTED: u8 = 2;
/// `RegionLayout::kind`: the first of a large object that goes beyond it.
pub const REGION_LARGE: u8 = 3;

/// `ScavengerLayout::state`: no thread.
pub const SCAVENGER_ABSENT: u32 = 0;
/// `ScavengerLayout::state`: a thread is being started.
pub const SCAVENGER_STARTING: u32 = 1;
/// `ScavengerLayout::state`: a thread is there.
pub const SCAVENGER_RUNNING: u32 = 2;
/// `ScavengerLayout::state`: the main thread has ended.
pub const SCAVENGER_GONE: u32 = 3;
/// `ScavengerLayout::state`: switched off, `release_delay=off`.
pub const SCAVENGER_OFF: u32 = 4;

/// `ScavengerLayout::sleep`: works, or waits for its next turn.
pub const SLEEP_AWAKE: u32 = 0;
/// `ScavengerLayout::sleep`: waits without a timeout: nothing is left to do.
pub const SLEEP_ASLEEP: u32 = 1;
/// `ScavengerLayout::sleep`: the main thread has ended, and the scavenger's has to.
pub const SLEEP_LEAVING: u32 = 2;
/// `ScavengerLayout::sleep`: somebody outside has written a request. Nobody in the
/// process writes this.
pub const SLEEP_ASKED: u32 = 3;

/// The block. Offsets named `…_at` count from the start of what they are of, in
/// bytes; those of the first level from `heap`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Block {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// The block's own size in bytes.
    pub bytes: u32,
    /// The version of thmalloc, as text, filled up with zeros.
    pub release: [u8; 16],
    /// The address of the heap's own variable.
    pub heap: Address,
    /// The variable's size in bytes.
    pub heap_bytes: u32,
    /// The `u32` that is not 0 once the heap was first used.
    pub started_at: u32,
    /// Bytes of a page of the system's.
    pub page_bytes: u32,
    /// The logarithm of a granule's size.
    pub granule_shift: u32,
    /// The logarithm of a region's size.
    pub region_shift: u32,
    /// The logarithm of the address space that a leaf of the page map covers.
    pub leaf_shift: u32,
    /// Size classes: class 0 is none, the others have objects.
    pub classes: ClassesLayout,
    /// The page map.
    pub map: MapLayout,
    /// Regions, in leaves.
    pub region: RegionLayout,
    /// Spans, in leaves.
    pub span: SpanLayout,
    /// The page heap.
    pub pages: PagesLayout,
    /// The central free lists.
    pub central: CentralLayout,
    /// The transfer caches.
    pub transfer: TransferLayout,
    /// The CPU caches.
    pub caches: CachesLayout,
    /// The allocator's own books.
    pub metadata: MetadataLayout,
    /// The scavenger.
    pub scavenger: ScavengerLayout,
}

/// An address in the process: a pointer that the loader fills in.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Address(pub *const ());

#[allow(unsafe_code, reason = "to share the block with all threads")]
// SAFETY: an address that nothing here follows.
unsafe impl Sync for Address {}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The table of size classes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ClassesLayout {
    /// The table's address: an entry for each class, that of class 0 first.
    pub table: Address,
    /// Entries, class 0 included.
    pub count: u32,
    /// Bytes of an entry.
    pub stride: u32,
    /// An object's size, `u32`.
    pub bytes_at: u32,
    /// Objects of a span, `u16`.
    pub objects_at: u32,
    /// Granules of a span, `u8`.
    pub span_granules_at: u32,
    /// `u64` words of a span's bitmap, `u8`.
    pub bitmap_words_at: u32,
}

/// The page map, in the heap's variable.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MapLayout {
    /// The address of the table of leaves, `u64`: an address for each.
    pub top_at: u32,
    /// The length of that table.
    pub top_length: u32,
    /// The number of the first leaf that is there, `u64`.
    pub first_leaf_at: u32,
    /// The number behind the last leaf that is there, `u64`.
    pub end_leaf_at: u32,
    /// A leaf's size in bytes.
    pub leaf_bytes: u32,
    /// In a leaf: its regions, one for each of its address space.
    pub regions_at: u32,
    /// In a leaf: its spans, a slot for each granule.
    pub spans_at: u32,
    /// The address of the class table, `u64`: a byte a granule. 0: none.
    pub class_table_at: u32,
    /// Granules that the class table covers, `u64`.
    pub class_table_length_at: u32,
    /// Padding.
    pub reserved: u32,
}

/// A region's metadata.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RegionLayout {
    /// Bytes of a region's metadata.
    pub stride: u32,
    /// The pages that may hold something, where no span in use covers them: a bit
    /// each, in `u64` words.
    pub touched_at: u32,
    /// `u8`, one of the `REGION_` numbers.
    pub kind_at: u32,
    /// Granules in use, a bit each, `u32`.
    pub used_at: u32,
    /// Of the first of a run of free regions: its length in regions, `u32`.
    pub run_at: u32,
    /// Of the same: so many of its regions, from the first on, may hold memory,
    /// `u32`.
    pub dirty_run_at: u32,
    /// The address of its first byte, `u64`, if it is of any kind; of the last of a
    /// run, that of the run.
    pub start_at: u32,
    /// Padding.
    pub reserved: u32,
}

/// A span's metadata.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SpanLayout {
    /// Bytes of a span's metadata.
    pub stride: u32,
    /// `u8`, one of the `SPAN_` numbers.
    pub kind_at: u32,
    /// The class of its objects, `u8`.
    pub class_at: u32,
    /// Its length in granules, `u32`.
    pub granules_at: u32,
    /// Of a later granule's slot: granules back to the first, `u32`.
    pub back_at: u32,
    /// Of a small span: objects that are not free, cached ones included, `u32`.
    pub live_at: u32,
    /// Of a small span: objects from this index on were never handed out, `u32`.
    pub fresh_at: u32,
    /// In each granule's slot: the granule's pages that were given back, a bit
    /// each, `u16`.
    pub released_at: u32,
    /// The address of its first byte, `u64`.
    pub start_at: u32,
    /// `u64`: a large object's usable bytes; the address of a small span's bitmap
    /// where that is longer than `inline_words`.
    pub size_or_bitmap_at: u32,
    /// The bitmap of a small span where it is no longer: `u64` words. A bit is set
    /// if the object is free; those from `fresh` on are clear, and free, too.
    pub words_at: u32,
    /// See `words_at`.
    pub inline_words: u32,
}

/// The page heap, in the heap's variable.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PagesLayout {
    /// The lock's generation, `u32`.
    pub generation_at: u32,
    /// Regions mapped, `u64`.
    pub regions_at: u32,
    /// Granules in spans, `u64`.
    pub used_at: u32,
    /// Free pages that may hold memory in runs of free regions, `u64`.
    pub runs_dirty_at: u32,
    /// The same in regions that are in use, `u64`.
    pub holes_dirty_at: u32,
    /// Free pages that were given back, `u64`.
    pub released_at: u32,
    /// Pages of spans ever handed out as large objects, and those by which such grew,
    /// `u64`: a running total.
    pub large_drawn_at: u32,
    /// Large objects ever handed out, `u64`: a running total.
    pub large_count_at: u32,
}

/// The central free lists, in the heap's variable: one for each class, that of
/// class 0 first, which is unused.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CentralLayout {
    /// The first list.
    pub first_at: u32,
    /// Bytes of a list.
    pub stride: u32,
    /// In a list: the lock's generation, `u32`.
    pub generation_at: u32,
    /// In a list: spans, `u64`.
    pub spans_at: u32,
    /// In a list: objects that are not free in their spans, `u64`.
    pub live_at: u32,
    /// In a list: free objects of its spans, `u64`.
    pub free_at: u32,
    /// In a list: pages of its spans that are given back, `u64`.
    pub released_at: u32,
    /// In a list: objects ever taken from it, `u64`: a running total.
    pub drawn_at: u32,
}

/// The transfer caches, in the heap's variable, as the central free lists.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TransferLayout {
    /// The first.
    pub first_at: u32,
    /// Bytes of one.
    pub stride: u32,
    /// In one: the lock's generation, `u32`.
    pub generation_at: u32,
    /// In one: the address of its objects, `u64` each.
    pub objects_at: u32,
    /// In one: how many of them there are, `u64`.
    pub count_at: u32,
    /// In one: objects ever taken from it, `u64`: a running total.
    pub drawn_at: u32,
}

/// The CPU caches, in the heap's variable.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CachesLayout {
    /// How they are entered, `u8`: 1 by restartable sequences, else by a lock.
    pub mode_at: u32,
    /// How many slots there may be, `u64`.
    pub count_at: u32,
    /// The address of the slots' memory, one behind the other, `u64`.
    pub memory_at: u32,
    /// The address of the addresses of the slots' locks, `u64`; those of slots
    /// that were never used are 0.
    pub slots_at: u32,
    /// A slot's size in bytes.
    pub slot_bytes: u32,
    /// A slot's memory begins with an entry of so many bytes for each class: an
    /// offset into the slot's memory, `top`, `u32`, to the word behind the
    /// topmost object, or to the slot's last word while the list is stopped.
    pub head_stride: u32,
    /// In a slot's lock: its generation, `u32`.
    pub generation_at: u32,
    /// In a slot's lock: the first class's list.
    pub lists_at: u32,
    /// Bytes of a list.
    pub list_stride: u32,
    /// In a list: the offset of its lowest word in the slot's memory, `u32`,
    /// behind which its objects stand, up to `top`, `u64` each. 0: none.
    pub base_at: u32,
    /// Bytes of a slot's lock with what it guards.
    pub lock_bytes: u32,
    /// Padding.
    pub reserved: u32,
}

/// The allocator's own books, in the heap's variable.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MetadataLayout {
    /// The lock's generation, `u32`.
    pub generation_at: u32,
    /// Address space mapped for it, `u64`.
    pub mapped_at: u32,
    /// Bytes handed out, `u64`.
    pub used_at: u32,
    /// The address of the newest mapping, `u64`. A mapping begins with the
    /// address of the one before it and its own length in bytes, `u64` each.
    /// Leaves, their table, the class table and the slots have mappings of their
    /// own.
    pub newest_at: u32,
}

/// The scavenger, in the heap's variable. Times are nanoseconds of
/// CLOCK_MONOTONIC; totals run from the first use of the heap.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ScavengerLayout {
    /// `u32`, one of the `SCAVENGER_` numbers.
    pub state_at: u32,
    /// `u32`, one of the `SLEEP_` numbers.
    pub sleep_at: u32,
    /// How long unused memory waits, in nanoseconds, `u64`.
    pub delay_at: u32,
    /// When its thread's last turn was over, `u64`.
    pub turn_ended_at: u32,
    /// When its next turn is due, `u64`; 0: when it is woken.
    pub next_turn_at: u32,
    /// Bytes ever given back, `u64`: of large objects all, since nobody knows how
    /// much of them had memory.
    pub released_at: u32,
    /// When some were given back last, `u64`.
    pub released_when_at: u32,
    /// Bytes wanted again after they were given back, `u64`.
    pub refaulted_at: u32,
    /// `u32`: another number asks for everything to be given back now. Whoever
    /// asks writes the old number plus one, after that [`SLEEP_ASKED`] to `sleep`
    /// unless it says leaving, and then interrupts the thread's wait, if there is
    /// a thread: it waits for `sleep` to change, and looks at `request` after
    /// each wait. Without a thread, a request is served by whoever next allocates
    /// or frees on a slow path.
    pub request_at: u32,
    /// `u32`: the last request that was served.
    pub served_at: u32,
    /// Bytes that the last request brought, `u64`.
    pub served_bytes_at: u32,
    /// The thread's number in the system, `u32`; 0: there is none.
    pub thread_at: u32,
}
