//! Large objects: whole spans.

use core::ptr::null_mut;

use super::realloc::wastes_little;
use super::{Heap, each_touched, pointer, zero};
use crate::os::{self, PAGE_BYTES};
use crate::page_heap::Content;
use crate::region::{REGION_BYTES, REGION_GRANULES};
use crate::size_class::{GRANULE_BYTES, MAX_SMALL_BYTES};
use crate::span::Span;

/// A large object from this size on, or a part of one, is given back to the system when
/// it is freed: how much of it the program has touched is not known, and a table of
/// a TiB may be nearly empty.
const KEEP_BYTES: usize = 1 << 30;

/// What is asked for zeroed from this size on may be a table that stays nearly
/// empty: pages that had another use are given back for it, not filled with
/// zeros. As large as glibc's `M_MMAP_THRESHOLD_MAX`, from which on it maps.
const SPARSE_BYTES: usize = 32 << 20;

/// Sizes and alignments from 16 TiB on are refused. The system might map them, since it
/// promises no memory by that; but the page map would keep a leaf for each GiB, and every
/// walk over the heap pass all of them, for good.
const MAX_BYTES: usize = 1 << 44;

impl Heap {
    /// A large object. Sizes up to [`MAX_SMALL_BYTES`] come here, too, for their
    /// alignment.
    #[cold]
    #[inline(never)]
    pub fn allocate_large(&self, bytes: usize, align: usize) -> *mut u8 {
        let span = self.take_large(bytes, align, Content::Any);
        span.map_or(null_mut(), |span| pointer(span.start()))
    }

    fn take_large(&self, bytes: usize, align: usize, content: Content) -> Option<&'static Span> {
        if bytes.max(align) >= MAX_BYTES {
            return None;
        }
        self.ensure_started();
        let granules = granules_of(bytes);
        let align = align.div_ceil(GRANULE_BYTES);
        let allocate = || {
            self.pages
                .allocate_large(&self.map, &self.metadata, granules, align, content)
        };
        let span = allocate().or_else(|_| self.reclaim_and_retry(bytes, allocate));
        self.open_window();
        self.look_at_growth();
        self.after_allocation(bytes);
        let span = span.ok()?;
        span.set_large_bytes(usable_bytes(bytes));
        Some(span)
    }

    /// As [`Heap::allocate_large`], zeroed: only pages that had another use are.
    pub fn allocate_large_zeroed(&self, bytes: usize, align: usize) -> *mut u8 {
        let sparse = bytes >= SPARSE_BYTES;
        let content = match sparse {
            true => Content::Sparse,
            false => Content::Any,
        };
        let Some(span) = self.take_large(bytes, align, content) else {
            return null_mut();
        };
        each_touched(&self.map, span, bytes, |pages, run| {
            if !(sparse && decommit(pages, run)) {
                zero(pages, run);
            }
        });
        pointer(span.start())
    }

    /// Takes a large object's span back.
    pub fn free_large(&self, span: &'static Span) {
        let bytes = span.large_bytes();
        if bytes >= KEEP_BYTES && release(span) {
            let whole = span.granules() * GRANULE_BYTES;
            // As of smaller ones, all of it: nobody knows what had memory.
            self.pages.totals().note_released(bytes / PAGE_BYTES);
            self.pages.free_released(&self.map, span, whole);
        } else {
            self.pages.free(&self.map, span, bytes);
        }
        self.after_free(bytes, 1);
    }

    /// Changes a large object's size: in place where it can, else by moving its
    /// pages, else by copying.
    pub(super) fn reallocate_large(&self, span: &'static Span, bytes: usize) -> *mut u8 {
        if bytes >= MAX_BYTES {
            return null_mut();
        }
        let old = span.large_bytes();
        if self.resize_in_place(span, bytes) {
            self.after_resize(old, span.large_bytes());
            return pointer(span.start());
        }
        let granules = granules_of(bytes);
        let moves = bytes > old
            && old >= REGION_BYTES
            && span.start().is_multiple_of(REGION_BYTES)
            && granules > REGION_GRANULES;
        if moves {
            let (pages, map) = (&self.pages, &self.map);
            let new = pages.move_large(map, &self.metadata, span, old, granules);
            if let Ok(Some(new)) = new {
                new.set_large_bytes(usable_bytes(bytes));
                self.after_resize(old, new.large_bytes());
                return pointer(new.start());
            }
        }
        let new = self.allocate(bytes);
        if new.is_null() && bytes <= old {
            return self.keep_whole(pointer(span.start()));
        }
        if !new.is_null() {
            copy(span, new, old.min(bytes));
            self.free_large(span);
        }
        new
    }

    /// A change of size without a malloc and a free counts as one of them, of the
    /// difference, for who gives memory back.
    fn after_resize(&self, old: usize, new: usize) {
        if new < old {
            self.after_free(old - new, 1);
        } else if new > old {
            self.look_at_growth();
            self.after_allocation(new - old);
        }
    }

    fn resize_in_place(&self, span: &'static Span, bytes: usize) -> bool {
        let (old, old_granules) = (span.large_bytes(), span.granules());
        if bytes <= MAX_SMALL_BYTES && !wastes_little(bytes, old) {
            return false;
        }
        let granules = granules_of(bytes);
        let usable = usable_bytes(bytes);
        if granules == old_granules && usable <= old && wastes_little(usable, old) {
            return true;
        }
        if granules > old_granules && !self.pages.extend(&self.map, span, granules) {
            return false;
        }
        if usable < old {
            let (given_up, bytes) = (span.start() + usable, old - usable);
            if bytes >= KEEP_BYTES && decommit(given_up, bytes) {
                self.pages.totals().note_released(bytes / PAGE_BYTES);
            } else {
                self.pages.touch(&self.map, given_up, bytes);
            }
        }
        if granules < old_granules {
            self.pages.shrink(&self.map, span, granules);
        }
        span.set_large_bytes(usable);
        true
    }
}

/// Whole pages: what a large object's owner may use.
fn usable_bytes(bytes: usize) -> usize {
    bytes.max(1).next_multiple_of(PAGE_BYTES)
}

fn granules_of(bytes: usize) -> usize {
    bytes.max(1).div_ceil(GRANULE_BYTES)
}

fn release(span: &Span) -> bool {
    decommit(span.start(), span.granules() * GRANULE_BYTES)
}

fn decommit(start: usize, bytes: usize) -> bool {
    // SAFETY: pages of a large object whose owner has given them up, or has
    // not got them yet; the span is not in the page heap's lists.
    unsafe { os::decommit(pointer(start), bytes) }
}

fn copy(span: &Span, new: *mut u8, bytes: usize) {
    // SAFETY: both objects are the caller's, have that many bytes, and are
    // apart.
    unsafe { new.copy_from_nonoverlapping(pointer(span.start()), bytes) };
}
