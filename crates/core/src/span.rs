//! Spans: runs of granules that hold the small objects of one class, or one
//! large object. This is their metadata, which stands in tables of the page
//! map, far from the pages themselves: a stray write of the program's does not
//! reach it, and a second free of an object is seen when it arrives.
//!
//! Always: each granule of the address space has one slot for a [`Span`]. A
//! span's data stand in the slot of its first granule; the others say how far
//! back that is. In a span of small objects, an object is free if its bit in
//! the bitmap is set or its index is at least `fresh`; `live` counts all
//! others, those in caches included; a word of the bitmap that has a bit set
//! has its bit set in `summary`. A page that was given back (`released`) holds
//! no object but free ones.
//!
//! Lock: of a small span, the central free list of its class; of a large or a
//! free one, the page heap. `kind`, `class`, `granules` and `back` may be read
//! by anybody; for the owner of one of its objects they do not change.
#![allow(unsafe_code)] // The longer bitmaps stand elsewhere.

mod idle;

pub use idle::PageSet;

use core::mem::offset_of;

use thmalloc_format::{self as format, SpanLayout};

use crate::fatal::{self, Call};
use crate::os::PAGE_BYTES;
use crate::size_class::{ClassInfo, GRANULE_SHIFT, SizeClass};
use crate::sync::{Field, Link, Linked};

/// What a granule's slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SpanKind {
    /// Nothing: free, or not of the heap.
    Free = format::SPAN_FREE,
    /// The first granule of a span of small objects.
    Small = format::SPAN_SMALL,
    /// The first granule of a large object.
    Large = format::SPAN_LARGE,
    /// A later granule of a span.
    Inner = format::SPAN_INNER,
}

/// Small objects that are handed out for the first time have their pages faulted in
/// by one call, up to a multiple of so many bytes in their span: four faults of 1.4 µs
/// become a call of 4.2. (16 KiB: 1.05 µs a page; 64 KiB 1.02, 2 MiB 1.00.)
const AHEAD_BYTES: usize = 16 << 10;

/// Not so objects that are larger than this: a program may use a part of each.
pub const MAX_AHEAD_OBJECT: usize = PAGE_BYTES;

/// Words of a bitmap that stand in the span itself.
pub const INLINE_WORDS: usize = 8;

/// A span's metadata: two cache lines.
#[repr(C, align(128))]
pub struct Span {
    kind: Field<u8>,
    class: Field<u8>,
    /// Where the central free list keeps it; see there.
    pub bucket: Field<u8>,
    /// [`DIRTY`], [`CLEAN`] or [`AHEAD`].
    clean: Field<u8>,
    granules: Field<u32>,
    /// Granules from the span's first to this one.
    back: Field<u32>,
    live: Field<u32>,
    fresh: Field<u32>,
    /// Of any granule's slot: which of its pages were given back, a bit each.
    /// Only those of small spans ever are.
    released: Field<u16>,
    has_released: Field<u8>,
    changed: Field<u8>,
    summary: Field<u64>,
    before: Link<Span>,
    after: Link<Span>,
    start: Field<usize>,
    /// A large object's usable bytes; the address of a small span's bitmap
    /// where that does not fit in here.
    size_or_bitmap: Field<usize>,
    words: [Field<u64>; INLINE_WORDS],
}

/// Of a span of small objects: its pages may hold something from before; they are zero
/// from `fresh` on, and have no memory; the same, but as far as [`AHEAD_BYTES`] from there
/// they may have memory.
const DIRTY: u8 = 0;
const CLEAN: u8 = 1;
const AHEAD: u8 = 2;

impl Linked for Span {
    fn links(&self) -> (&Link<Self>, &Link<Self>) {
        (&self.before, &self.after)
    }
}

impl Span {
    /// Where a reader finds its words.
    pub const LAYOUT: SpanLayout = SpanLayout {
        stride: size_of::<Self>() as u32,
        kind_at: offset_of!(Self, kind) as u32,
        class_at: offset_of!(Self, class) as u32,
        granules_at: offset_of!(Self, granules) as u32,
        back_at: offset_of!(Self, back) as u32,
        live_at: offset_of!(Self, live) as u32,
        fresh_at: offset_of!(Self, fresh) as u32,
        released_at: offset_of!(Self, released) as u32,
        start_at: offset_of!(Self, start) as u32,
        size_or_bitmap_at: offset_of!(Self, size_or_bitmap) as u32,
        words_at: offset_of!(Self, words) as u32,
        inline_words: INLINE_WORDS as u32,
    };

    /// What the slot says.
    #[inline]
    pub fn kind(&self) -> SpanKind {
        match self.kind.get() {
            format::SPAN_SMALL => SpanKind::Small,
            format::SPAN_LARGE => SpanKind::Large,
            format::SPAN_INNER => SpanKind::Inner,
            _ => SpanKind::Free,
        }
    }

    /// The class of its objects; none in a large span.
    #[inline]
    pub fn class(&self) -> SizeClass {
        SizeClass::from_number(self.class.get())
    }

    /// Its length.
    pub fn granules(&self) -> usize {
        self.granules.get() as usize
    }

    /// Of an inner granule: how many granules its span began before it.
    pub fn back(&self) -> usize {
        self.back.get() as usize
    }

    /// The address of its first byte.
    #[inline]
    pub fn start(&self) -> usize {
        self.start.get()
    }

    /// The address behind its last byte.
    pub fn end(&self) -> usize {
        self.start() + (self.granules() << GRANULE_SHIFT)
    }

    /// Makes the slot a span's first, without objects yet.
    pub fn begin(&self, start: usize, granules: usize) {
        self.start.set(start);
        self.granules.set(granules as u32);
        self.class.set(0);
        self.kind.set(SpanKind::Large as u8);
        self.size_or_bitmap.set(0);
    }

    /// Makes the slot that of a later granule.
    pub fn begin_inner(&self, back: usize) {
        self.back.set(back as u32);
        self.kind.set(SpanKind::Inner as u8);
    }

    /// Makes the slot free.
    pub fn end_slot(&self) {
        self.kind.set(SpanKind::Free as u8);
        self.class.set(0);
    }

    /// Changes the length of a large span.
    pub fn set_granules(&self, granules: usize) {
        self.granules.set(granules as u32);
    }

    /// A large object's usable bytes.
    pub fn large_bytes(&self) -> usize {
        self.size_or_bitmap.get()
    }

    /// Sets a large object's usable bytes.
    pub fn set_large_bytes(&self, bytes: usize) {
        self.size_or_bitmap.set(bytes);
    }

    /// Makes it a span of small objects, all free and never handed out.
    /// `bitmap` is where the bitmap stands if it has more than
    /// [`INLINE_WORDS`] words; it is zero.
    /// `clean` says that its pages are zero.
    pub fn begin_small(
        &self,
        class: SizeClass,
        bitmap: Option<&'static [Field<u64>]>,
        clean: bool,
    ) {
        self.clean.set(if clean { CLEAN } else { DIRTY });
        self.size_or_bitmap
            .set(bitmap.map_or(0, |words| words.as_ptr().expose_provenance()));
        for word in &self.words {
            word.set(0);
        }
        self.summary.set(0);
        self.live.set(0);
        self.fresh.set(0);
        // What stood on its pages before can be given back.
        self.changed.set((!clean).into());
        self.class.set(class.number() as u8);
        self.kind.set(SpanKind::Small as u8);
    }

    /// The words of the bitmap of a span of small objects.
    #[inline(always)]
    pub fn bitmap(&self, info: &ClassInfo) -> &[Field<u64>] {
        let count = info.bitmap_words as usize;
        if count <= INLINE_WORDS {
            return &self.words[..count];
        }
        let words = core::ptr::with_exposed_provenance(self.size_or_bitmap.get());
        // SAFETY: `begin_small` got a slice of at least that many words, which
        // is metadata and so never goes away.
        unsafe { core::slice::from_raw_parts(words, count) }
    }

    /// Objects that are not free: the program's, and those in caches.
    #[inline]
    pub fn live(&self) -> usize {
        self.live.get() as usize
    }

    /// Objects from this index on were never handed out.
    pub fn fresh(&self) -> usize {
        self.fresh.get() as usize
    }

    /// Ends a span of small objects, none of which is in use: it becomes a
    /// large one whose bytes are those that may have memory.
    pub fn end_small(&self) {
        let touched = self.backed_bytes();
        self.kind.set(SpanKind::Large as u8);
        self.class.set(0);
        self.set_large_bytes(touched);
    }

    /// Takes free objects, lowest address first (but see `first_colour`), until `out`
    /// is full or the span is. Returns how many, and whether the first of them is zero,
    /// because nobody had it since the system gave its page.
    #[inline(always)]
    pub fn take(&self, out: &mut [usize]) -> (usize, bool) {
        let info = self.class().info();
        let bytes = info.bytes as usize;
        let start = self.start();
        let mut summary = self.summary.get();
        let mut taken = 0;
        let bitmap = self.bitmap(info);
        while summary != 0 && taken < out.len() {
            let index = summary.trailing_zeros() as usize;
            let Some(word) = bitmap.get(index) else {
                fatal::inconsistent("a span's summary names a word it has not", start);
            };
            let mut bits = word.get();
            while bits != 0 && taken < out.len() {
                let object = index * 64 + bits.trailing_zeros() as usize;
                out[taken] = start + object * bytes;
                taken += 1;
                bits &= bits - 1;
            }
            word.set(bits);
            if bits == 0 {
                summary &= summary - 1;
            }
        }
        self.summary.set(summary);
        let used_before = taken;
        let fresh = self.fresh();
        let more = (out.len() - taken).min(info.objects as usize - fresh);
        for object in fresh..fresh + more {
            out[taken] = start + object * bytes;
            taken += 1;
        }
        if fresh == 0 {
            let first = self.first_colour(info, more);
            out[taken - more..taken].rotate_left(first);
        }
        self.fresh.set((fresh + more) as u32);
        self.live.set((self.live() + taken) as u32);
        let zero = used_before == 0 && taken > 0 && self.clean.get() != DIRTY;
        (taken, zero)
    }

    /// Which of the first objects that a span hands out is to be the very first: one
    /// on another page in each span. All spans begin at multiples of a granule, and
    /// the first object of each is the busiest in a small process: as the first on
    /// their spans they would share one set of the caches and of the TLB (Bonwick, "The
    /// Slab Allocator", 1994, section 4.3, colours slabs for this).
    fn first_colour(&self, info: &ClassInfo, objects: usize) -> usize {
        let bytes = info.bytes as usize;
        let pages = objects * bytes / PAGE_BYTES;
        if pages < 2 {
            return 0;
        }
        let page = (self.start() >> GRANULE_SHIFT) % pages;
        (page * PAGE_BYTES).div_ceil(bytes) % objects
    }

    /// How many bytes from its start on may have memory, if it was clean.
    fn backed_bytes(&self) -> usize {
        let bytes = self.fresh() * self.class().bytes();
        match self.clean.get() {
            AHEAD => bytes.next_multiple_of(AHEAD_BYTES),
            _ => bytes,
        }
    }

    /// How many pages without memory it has begun to use since its objects from `fresh` on
    /// were handed out.
    pub fn pages_since(&self, fresh: usize) -> usize {
        if self.clean.get() == DIRTY {
            return 0;
        }
        let pages = |objects: usize| (objects * self.class().bytes()).div_ceil(PAGE_BYTES);
        pages(self.fresh()) - pages(fresh)
    }

    /// The pages to fault in at once, where objects from `fresh` on were just handed
    /// out: its first address and its length in bytes, which may be 0. From now on
    /// the span takes it that they have memory.
    pub fn pages_ahead(&self, fresh: usize) -> (usize, usize) {
        let bytes = self.class().bytes();
        if self.clean.get() == DIRTY || bytes > MAX_AHEAD_OBJECT || fresh == self.fresh() {
            return (self.start(), 0);
        }
        self.clean.set(AHEAD);
        let first = (fresh * bytes).next_multiple_of(AHEAD_BYTES);
        (self.start() + first, self.backed_bytes() - first)
    }

    /// Takes objects back. Aborts, in the name of `call`, if one is not an object of
    /// its, or is free already.
    #[inline(always)]
    pub fn put(&self, objects: &[usize], call: Call) {
        let info = self.class().info();
        let bitmap = self.bitmap(info);
        let mut summary = self.summary.get();
        for &address in objects {
            let index = self.index_of(address, info, call);
            if self.is_free_index(bitmap, index) {
                fatal::already_free(call, address);
            }
            let word = &bitmap[index / 64];
            word.set(word.get() | 1 << (index % 64));
            summary |= 1 << (index / 64);
        }
        self.summary.set(summary);
        self.live.set((self.live() - objects.len()) as u32);
        self.changed.set(1);
    }

    /// Was any object freed since [`Span::set_unchanged`]?
    pub fn is_changed(&self) -> bool {
        self.changed.get() != 0
    }

    /// Its free objects are to be looked at.
    pub fn set_changed(&self) {
        self.changed.set(1);
    }

    /// Its free objects have been looked at.
    pub fn set_unchanged(&self) {
        self.changed.set(0);
    }

    /// Is any of its pages given back?
    #[inline]
    pub fn has_released(&self) -> bool {
        self.has_released.get() != 0
    }

    /// Sets what [`Span::has_released`] tells.
    pub fn set_has_released(&self, has: bool) {
        self.has_released.set(has.into());
    }

    /// The pages of this slot's granule that were given back, a bit each.
    pub fn released(&self) -> u16 {
        self.released.get()
    }

    /// Sets what [`Span::released`] tells.
    pub fn set_released(&self, pages: u16) {
        self.released.set(pages);
    }

    /// As [`Span::released`], and forgets them.
    pub fn take_released(&self) -> u16 {
        let pages = self.released.get();
        self.released.set(0);
        pages
    }

    /// Is the object free? Aborts, in the name of `call`, if the address is
    /// not an object's.
    pub fn is_free(&self, address: usize, call: Call) -> bool {
        let info = self.class().info();
        let index = self.index_of(address, info, call);
        self.is_free_index(self.bitmap(info), index)
    }

    /// As [`Span::is_free`] where an object of that class is known to begin.
    #[inline(always)]
    pub fn is_free_object(&self, class: SizeClass, address: usize) -> bool {
        let info = class.info();
        let (index, _) = info.divide(address.wrapping_sub(self.start()));
        self.is_free_index(self.bitmap(info), index)
    }

    #[inline(always)]
    fn is_free_index(&self, bitmap: &[Field<u64>], index: usize) -> bool {
        index >= self.fresh() || bitmap[index / 64].get() >> (index % 64) & 1 != 0
    }

    #[inline(always)]
    fn index_of(&self, address: usize, info: &ClassInfo, call: Call) -> usize {
        let (index, rest) = info.divide(address - self.start());
        if rest != 0 || index >= info.objects as usize {
            // Behind the last object there is only room that nobody has.
            if index >= info.objects as usize {
                fatal::foreign(call, address);
            }
            fatal::interior(call, address, address - rest, info.bytes as usize);
        }
        index
    }

    /// Checks a span of small objects against itself. The caller holds the
    /// lock of its class.
    pub fn check_invariants(&self) {
        let info = self.class().info();
        let mut free = info.objects as usize - self.fresh();
        for (index, word) in self.bitmap(info).iter().enumerate() {
            let bits = word.get();
            free += bits.count_ones() as usize;
            let summarised = self.summary.get() >> index & 1 != 0;
            if summarised != (bits != 0) {
                fatal::inconsistent("a span's summary differs from its bitmap", self.start());
            }
            let past = (index + 1) * 64;
            if past > self.fresh() {
                let fresh_bits = (past - self.fresh()).min(64);
                if fresh_bits != 0 && bits >> (64 - fresh_bits) != 0 {
                    fatal::inconsistent("an object never handed out is marked free", self.start());
                }
            }
        }
        if free + self.live() != info.objects as usize {
            fatal::inconsistent("a span's live count differs from its bitmap", self.start());
        }
        if self.granules() != info.span_granules as usize {
            fatal::inconsistent("a span has not its class's length", self.start());
        }
    }
}
