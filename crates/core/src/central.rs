//! Central free lists: the spans of each size class.
//!
//! Objects come and go in batches, under one lock a class. They are taken from
//! the fullest span that has any, lowest address first, so that the others
//! empty out; a span whose last object comes back goes to the page heap at
//! once.
//!
//! Always: a span with free objects is in the list of its share of free ones;
//! a full one is in none. `live` and `free` are the sums over all spans of the
//! class.
//! Lock: `CentralFreeList::state`, rank `Central`. No system call is made
//! under it, and the page heap's lock is not taken under it.
#![allow(unsafe_code)] // Longer bitmaps are raw metadata.

mod release;

pub use release::ClassTurn;

use core::mem::offset_of;

use thmalloc_format::CentralLayout;

use crate::demand::LowWater;
use crate::fatal::{self, Call};
use crate::metadata::Metadata;
use crate::os::{self, OutOfMemory};
use crate::page_heap::PageHeap;
use crate::page_map::PageMap;
use crate::region::{REGION_BYTES, RegionKind};
use crate::size_class::{GRANULE_SHIFT, SizeClass};
use crate::span::{INLINE_WORDS, Span, SpanKind};
use crate::sync::{Field, List, Mutex, Rank};

/// Lists by share of free objects: eighths, the fullest first.
const BUCKETS: usize = 8;

/// The bucket of a span that is in no list.
const UNLISTED: u8 = BUCKETS as u8;

/// What a central free list needs from below.
#[derive(Clone, Copy)]
pub struct Below<'a> {
    /// From addresses to spans.
    pub map: &'a PageMap,
    /// Where spans come from.
    pub pages: &'a PageHeap,
    /// Where longer bitmaps come from.
    pub metadata: &'a Metadata,
}

struct State {
    buckets: [List<Span>; BUCKETS],
    spans: usize,
    live: usize,
    free: usize,
    /// Objects ever taken from the spans.
    drawn: usize,
    /// The same, when the heap had grown by a step last.
    drawn_before: usize,
    /// The fewest that were free lately.
    low: LowWater,
    /// Turns since anybody but the scavenger took or put objects.
    still: usize,
    /// Was anything freed since the scavenger looked at all spans?
    changed: bool,
    /// Pages of the spans that are given back, and such that were wanted again
    /// since the turn began.
    released: usize,
    refaulted: usize,
    /// Bitmaps that no span uses, linked through their first words.
    bitmaps: usize,
}

/// The spans of one class.
pub struct CentralFreeList {
    state: Mutex<State>,
}

/// Figures of a class.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassStats {
    /// Spans.
    pub spans: usize,
    /// Objects with the program or in caches.
    pub live: usize,
    /// Pages of the spans that are given back.
    pub released: usize,
}

impl CentralFreeList {
    /// Where a reader finds its words.
    pub const LAYOUT: CentralLayout = {
        let state = offset_of!(Self, state) + Mutex::<State>::VALUE_AT;
        CentralLayout {
            first_at: 0,
            stride: size_of::<Self>() as u32,
            generation_at: (offset_of!(Self, state) + Mutex::<State>::GENERATION_AT) as u32,
            spans_at: (state + offset_of!(State, spans)) as u32,
            live_at: (state + offset_of!(State, live)) as u32,
            free_at: (state + offset_of!(State, free)) as u32,
            released_at: (state + offset_of!(State, released)) as u32,
            drawn_at: (state + offset_of!(State, drawn)) as u32,
        }
    };

    /// A list without spans.
    pub const fn new() -> Self {
        Self {
            state: Mutex::new(
                Rank::Central,
                State {
                    buckets: [const { List::new() }; BUCKETS],
                    spans: 0,
                    live: 0,
                    free: 0,
                    drawn: 0,
                    drawn_before: 0,
                    low: LowWater::new(),
                    still: 0,
                    changed: false,
                    released: 0,
                    refaulted: 0,
                    bitmaps: 0,
                },
            ),
        }
    }

    /// Fills `out` with free objects, as many as there are in the spans at
    /// hand, or in one new span. Returns how many, at least one if `out` has
    /// room for one, and whether the first is zero.
    pub fn take(
        &self,
        below: Below<'_>,
        class: SizeClass,
        out: &mut [usize],
    ) -> Result<(usize, bool), OutOfMemory> {
        if out.is_empty() {
            return Ok((0, false));
        }
        let mut state = self.state.lock();
        state.still = 0;
        let mut taken = state.take(below, out);
        if taken.count == 0 {
            let mut bitmap = state.take_bitmap(class);
            drop(state);
            if bitmap.is_none() && class.info().bitmap_words as usize > INLINE_WORDS {
                bitmap = Some(new_bitmap(below, class)?);
            }
            let new = new_span(below, class, bitmap);
            state = self.state.lock();
            let new = new.inspect_err(|_| {
                bitmap
                    .into_iter()
                    .for_each(|words| state.keep_bitmap(words));
            })?;
            state.add(class, &new);
            taken = state.take(below, out);
        }
        drop(state);
        let (start, bytes) = taken.ahead;
        if bytes != 0 {
            below.pages.populate(start, bytes);
        }
        Ok((taken.count, taken.zero))
    }

    /// Takes objects of the class back. Aborts, in the name of `call`, on what
    /// is not one or is free already.
    pub fn put(&self, below: Below<'_>, class: SizeClass, objects: &[usize], call: Call) {
        self.put_objects(below, class, objects, call, false);
    }

    /// Takes objects back, which were `idle` before, and hands the spans that
    /// are empty then to the page heap.
    fn put_objects(
        &self,
        below: Below<'_>,
        class: SizeClass,
        objects: &[usize],
        call: Call,
        idle: bool,
    ) {
        let empty = List::new();
        let quiet = {
            let mut state = self.state.lock();
            let quiet = idle && state.is_quiet();
            if quiet {
                state.low.credit(objects.len());
            } else if !idle {
                state.still = 0;
            }
            state.put(below.map, class, objects, call, &empty);
            state.changed = true;
            quiet
        };
        while let Some(span) = empty.first() {
            empty.remove(span);
            release::give_up(below, span, quiet);
        }
    }

    /// Is this object of the class free? Aborts, in the name of `call`, if the
    /// address is not an object's.
    pub fn is_free(&self, span: &Span, address: usize, call: Call) -> bool {
        let _state = self.state.lock();
        span.is_free(address, call)
    }

    /// The figures.
    pub fn stats(&self) -> ClassStats {
        let state = self.state.lock();
        ClassStats {
            spans: state.spans,
            live: state.live,
            released: state.released,
        }
    }

    /// The bytes of objects in use of a span of the class, those in caches included,
    /// on its pages of which `has` is true, and on the others. `None` where it is
    /// none of the class any more.
    pub fn used_bytes(
        &self,
        class: SizeClass,
        span: &Span,
        has: impl Fn(usize) -> bool,
    ) -> Option<(usize, usize)> {
        let _state = self.state.lock();
        let same = span.kind() == SpanKind::Small && span.class() == class;
        same.then(|| span.used_bytes(has))
    }

    /// Checks the listed spans against themselves and the lists; aborts where
    /// they differ.
    pub fn check_invariants(&self, below: Below<'_>, class: SizeClass) {
        let state = self.state.lock();
        let (mut spans, mut live, mut released) = (0, 0, 0);
        for (start, region) in below.map.regions() {
            if region.kind() != RegionKind::Parted {
                continue;
            }
            for span in below.map.slots_of_region(start) {
                if span.kind() != SpanKind::Small || span.class() != class {
                    continue;
                }
                spans += 1;
                live += span.live();
                released += state.check_span(below.map, span);
            }
        }
        let free = spans * class.info().objects as usize - live;
        if (spans, live, free, released) != (state.spans, state.live, state.free, state.released) {
            fatal::inconsistent(
                "a class's spans and its count differ, class",
                class.number(),
            );
        }
    }

    /// The lock, for fork.
    pub fn lock_for_fork(&self) {
        self.state.lock_for_fork();
    }

    /// Ends [`CentralFreeList::lock_for_fork`].
    ///
    /// # Safety
    /// As [`Mutex::unlock_after_fork`].
    pub unsafe fn unlock_after_fork(&self) {
        // SAFETY: by contract.
        unsafe { self.state.unlock_after_fork() }
    }
}

impl Default for CentralFreeList {
    fn default() -> Self {
        Self::new()
    }
}

/// The bucket of a span by its share of free objects. One with pages that were
/// given back is to be used last.
#[inline(always)]
fn bucket_of(span: &Span) -> u8 {
    let info = span.class().info();
    // One that is held counts one more than it has.
    let free = (info.objects as usize).saturating_sub(span.live());
    if free == 0 {
        return UNLISTED;
    }
    if span.has_released() {
        return UNLISTED - 1;
    }
    info.share(free - 1, BUCKETS) as u8
}

/// What was taken from spans.
struct Taken {
    count: usize,
    /// Is the first object zero?
    zero: bool,
    /// Pages to fault in: see [`Span::pages_ahead`].
    ahead: (usize, usize),
}

/// A span that is about to become one of the class.
struct NewSpan {
    span: &'static Span,
    bitmap: Option<&'static [Field<u64>]>,
    clean: bool,
}

fn new_span(
    below: Below<'_>,
    class: SizeClass,
    bitmap: Option<&'static [Field<u64>]>,
) -> Result<NewSpan, OutOfMemory> {
    let granules = class.info().span_granules as usize;
    let span = below
        .pages
        .allocate(below.map, below.metadata, granules, 1)?;
    let bytes = granules << GRANULE_SHIFT;
    let clean = below
        .map
        .region_of(span.start())
        .is_some_and(|region| !region.is_touched(span.start() % REGION_BYTES, bytes));
    if clean {
        // Its pages are taken as objects on them are handed out.
        below.pages.totals().note_not_taken(bytes / os::PAGE_BYTES);
    }
    below.map.set_class(span, class);
    Ok(NewSpan {
        span,
        bitmap,
        clean,
    })
}

fn new_bitmap(below: Below<'_>, class: SizeClass) -> Result<&'static [Field<u64>], OutOfMemory> {
    let words = class.info().bitmap_words as usize;
    let memory = below.metadata.allocate_bytes(words * 8, 64)?;
    // SAFETY: zeroed metadata of that length, ours for good.
    Ok(unsafe { core::slice::from_raw_parts(memory.cast().as_ptr(), words) })
}

impl State {
    /// Takes a span in: from here on it is one of the class.
    fn add(&mut self, class: SizeClass, new: &NewSpan) {
        new.span.begin_small(class, new.bitmap, new.clean);
        new.span.bucket.set(UNLISTED);
        self.spans += 1;
        self.free += class.info().objects as usize;
        self.changed |= !new.clean;
        self.list(new.span);
    }

    fn take(&mut self, below: Below<'_>, out: &mut [usize]) -> Taken {
        let mut taken = 0;
        let mut zero = false;
        let mut ahead = (0, 0);
        let mut pages = 0;
        while taken < out.len() {
            let Some(span) = self.buckets.iter().find_map(List::first) else {
                break;
            };
            let fresh = span.fresh();
            let (count, first_zero) = span.take(&mut out[taken..]);
            pages += span.pages_since(fresh);
            // A class in its first span may need no more than a few objects.
            if self.spans > 1 {
                ahead = span.pages_ahead(fresh);
            }
            if taken == 0 {
                zero = first_zero;
            }
            if span.has_released() {
                self.note_wanted(below, span, &out[taken..][..count]);
            }
            taken += count;
            self.list(span);
        }
        below.pages.totals().note_taken(pages);
        self.live += taken;
        self.free -= taken;
        self.drawn += taken;
        self.low.note(self.free);
        Taken {
            count: taken,
            zero,
            ahead,
        }
    }

    /// Takes objects of the class back, one row after the other of those that are of
    /// one span: what was allocated in a row is often freed in one. Spans that are
    /// empty then go to `empty`.
    fn put(
        &mut self,
        map: &PageMap,
        class: SizeClass,
        objects: &[usize],
        call: Call,
        empty: &List<Span>,
    ) {
        let mut rest = objects;
        while let Some(&first) = rest.first() {
            let span = match map.span_of(first) {
                Some(span) if span.kind() == SpanKind::Small && span.class() == class => span,
                // It was an object of this class when it came in.
                _ => fatal::already_free(call, first),
            };
            let (start, bytes) = (span.start(), span.end() - span.start());
            let inside = |&&object: &&usize| object.wrapping_sub(start) < bytes;
            let (row, others) = rest.split_at(rest.iter().take_while(inside).count());
            rest = others;
            span.put(row, call);
            self.live -= row.len();
            self.free += row.len();
            if span.live() == 0 {
                self.remove(map, class, span);
                empty.push(span);
            } else {
                self.list(span);
            }
        }
    }

    /// Takes an empty span out: it is none of the class any more.
    fn remove(&mut self, map: &PageMap, class: SizeClass, span: &'static Span) {
        self.unlist(span);
        self.spans -= 1;
        self.free -= class.info().objects as usize;
        self.low.note(self.free);
        self.released -= release::released_pages(map, span).len();
        self.keep_bitmap(span.bitmap(class.info()));
        span.end_small();
    }

    /// Puts a span into the list where it belongs now.
    #[inline(always)]
    fn list(&mut self, span: &'static Span) {
        let bucket = bucket_of(span);
        if bucket != span.bucket.get() {
            self.list_in(span, bucket);
        }
    }

    #[inline(never)]
    fn list_in(&mut self, span: &'static Span, bucket: u8) {
        self.unlist(span);
        span.bucket.set(bucket);
        if let Some(list) = self.buckets.get(bucket as usize) {
            list.push(span);
        }
    }

    fn unlist(&mut self, span: &'static Span) {
        if let Some(list) = self.buckets.get(span.bucket.get() as usize) {
            list.remove(span);
        }
        span.bucket.set(UNLISTED);
    }

    /// Keeps a bitmap for the next span, if it is not one in the span itself.
    fn keep_bitmap(&mut self, bitmap: &[Field<u64>]) {
        if bitmap.len() > INLINE_WORDS {
            bitmap[0].set(self.bitmaps as u64);
            self.bitmaps = bitmap.as_ptr().expose_provenance();
        }
    }

    fn take_bitmap(&mut self, class: SizeClass) -> Option<&'static [Field<u64>]> {
        if self.bitmaps == 0 {
            return None;
        }
        let words = class.info().bitmap_words as usize;
        // SAFETY: `keep_bitmap` put it there: metadata of that length, which no
        // span uses any more.
        let bitmap: &[Field<u64>] = unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance(self.bitmaps), words)
        };
        self.bitmaps = bitmap[0].get() as usize;
        bitmap.iter().for_each(|word| word.set(0));
        Some(bitmap)
    }

    /// Returns how many of its pages are given back.
    fn check_span(&self, map: &PageMap, span: &'static Span) -> usize {
        span.check_invariants();
        let released = release::released_pages(map, span);
        span.check_released(&released);
        let bucket = span.bucket.get();
        if bucket != bucket_of(span) {
            fatal::inconsistent("a span is in the wrong list", span.start());
        }
        if let Some(list) = self.buckets.get(bucket as usize)
            && !list.iter().any(|listed| core::ptr::eq(listed, span))
        {
            fatal::inconsistent("a span with free objects is in no list", span.start());
        }
        let window = map.window();
        let inside = |address: usize| {
            let granule = address.wrapping_sub(window.base) >> GRANULE_SHIFT;
            granule < window.granules
        };
        let differs = |address| inside(address) && map.class_of(address) != span.class();
        if differs(span.start()) || differs(span.end() - 1) {
            fatal::inconsistent("the class table differs from a span", span.start());
        }
        released.len()
    }
}
