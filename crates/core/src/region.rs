//! Regions: 2 MiB of address space, aligned, the unit of hugepages and of
//! growth. This is their metadata, beside that of their spans.
//!
//! Always: a page whose bit in `touched` is clear is zero and costs no memory,
//! unless a span that is in use covers it. Of a run of free regions, the first
//! and the last carry its length.
//! Lock: the page heap.

use core::mem::offset_of;

use thmalloc_format::{self as format, RegionLayout};

use crate::os::PAGE_BYTES;
use crate::size_class::{GRANULE_BYTES, GRANULE_PAGES, GRANULE_SHIFT};
use crate::sync::{Field, Link, Linked};

/// The logarithm of [`REGION_BYTES`].
pub const REGION_SHIFT: u32 = 21;

/// A region's size.
pub const REGION_BYTES: usize = 1 << REGION_SHIFT;

/// Granules of a region.
pub const REGION_GRANULES: usize = REGION_BYTES / GRANULE_BYTES;

/// Words of a bitmap with a bit a page.
const PAGE_WORDS: usize = REGION_BYTES / PAGE_BYTES / 64;

/// What a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RegionKind {
    /// Not of the heap, or inside a run or a large object.
    None = format::REGION_NONE,
    /// The first or the last of a run of free regions.
    Free = format::REGION_FREE,
    /// Parted into granules, some of them in use.
    Parted = format::REGION_PARTED,
    /// The first of a large object that goes beyond it.
    LargeHead = format::REGION_LARGE,
}

/// A region's metadata: two cache lines.
#[repr(C, align(128))]
pub struct Region {
    touched: [Field<u64>; PAGE_WORDS],
    kind: Field<u8>,
    /// What the system was told about hugepages here, and whether it is not to be told
    /// anything: see `page_heap/huge.rs`.
    pub huge: Field<u8>,
    /// Where the page heap lists it while it is parted; see there.
    pub longest_hole: Field<u8>,
    /// The same: see there.
    pub group: Field<u8>,
    /// The granules in use, a bit each.
    pub used: Field<u32>,
    /// Of the first and the last of a free run: its length in regions.
    pub run: Field<u32>,
    /// Of the first of a free run: how many of its regions, from the first on,
    /// may hold memory of the system's; those behind them are clean.
    pub dirty_run: Field<u32>,
    start: Field<usize>,
    before: Link<Region>,
    after: Link<Region>,
    /// Was it in dense use when the scavenger came by?
    pub was_dense: Field<u8>,
    /// Does it begin with the end of a large object from the region before?
    pub is_tail: Field<u8>,
}

impl Linked for Region {
    fn links(&self) -> (&Link<Self>, &Link<Self>) {
        (&self.before, &self.after)
    }
}

/// The bits of `count` granules from `first` on.
pub fn granule_mask(first: usize, count: usize) -> u32 {
    ((1_u64 << count) - 1).unbounded_shl(first as u32) as u32
}

impl Region {
    /// Where a reader finds its words.
    pub const LAYOUT: RegionLayout = RegionLayout {
        stride: size_of::<Self>() as u32,
        touched_at: offset_of!(Self, touched) as u32,
        kind_at: offset_of!(Self, kind) as u32,
        used_at: offset_of!(Self, used) as u32,
        run_at: offset_of!(Self, run) as u32,
        dirty_run_at: offset_of!(Self, dirty_run) as u32,
        start_at: offset_of!(Self, start) as u32,
        reserved: 0,
    };

    /// What it is.
    pub fn kind(&self) -> RegionKind {
        match self.kind.get() {
            format::REGION_FREE => RegionKind::Free,
            format::REGION_PARTED => RegionKind::Parted,
            format::REGION_LARGE => RegionKind::LargeHead,
            _ => RegionKind::None,
        }
    }

    /// Makes the region at `start` what it is from now on.
    pub fn begin(&self, kind: RegionKind, start: usize) {
        self.kind.set(kind as u8);
        self.start.set(start);
    }

    /// Makes it nothing of its own.
    pub fn end(&self) {
        self.kind.set(RegionKind::None as u8);
    }

    /// The address of its first byte, if it is of any kind; of a run's last region:
    /// of the run's.
    pub fn start(&self) -> usize {
        self.start.get()
    }

    /// Of the first of a free run: may any of its pages hold something?
    pub fn is_dirty(&self) -> bool {
        self.dirty_run.get() != 0
    }

    /// How many granules are in use.
    pub fn used_count(&self) -> usize {
        self.used.get().count_ones() as usize
    }

    /// Notes that pages of `[first, first + bytes)`, counted from the region's
    /// start, may hold something now.
    pub fn touch(&self, first: usize, bytes: usize) {
        self.each_word(first, bytes, |word, bits| word.set(word.get() | bits));
    }

    /// Notes that the pages of `[first, first + bytes)` are zero and cost
    /// nothing.
    pub fn untouch(&self, first: usize, bytes: usize) {
        self.each_word(first, bytes, |word, bits| {
            // Metadata that was never written stays so.
            if word.get() & bits != 0 {
                word.set(word.get() & !bits);
            }
        });
    }

    /// May any page of `[first, first + bytes)` hold something?
    pub fn is_touched(&self, first: usize, bytes: usize) -> bool {
        let mut any = false;
        self.each_word(first, bytes, |word, bits| any |= word.get() & bits != 0);
        any
    }

    /// Calls `visit` with each run of pages of `[first, first + bytes)` that may
    /// hold something, as first byte and length; the last may go beyond `bytes`
    /// to the end of its page.
    pub fn each_touched(&self, first: usize, bytes: usize, mut visit: impl FnMut(usize, usize)) {
        let end = first + bytes;
        let mut at = first & !(PAGE_BYTES - 1);
        while at < end {
            let word = self.touched[at / PAGE_BYTES / 64].get() >> (at / PAGE_BYTES % 64);
            let left = 64 - at / PAGE_BYTES % 64;
            let clear = (word.trailing_zeros() as usize).min(left);
            let set =
                ((word.unbounded_shr(clear as u32)).trailing_ones() as usize).min(left - clear);
            let begin = at + clear * PAGE_BYTES;
            if set != 0 && begin < end {
                let length = (set * PAGE_BYTES).min(end.next_multiple_of(PAGE_BYTES) - begin);
                visit(begin, length);
            }
            at = begin + set * PAGE_BYTES;
        }
    }

    /// How many pages may hold something.
    pub fn touched_pages(&self) -> usize {
        self.touched_in(0, REGION_BYTES)
    }

    /// How many pages of `[first, first + bytes)` may hold something.
    pub fn touched_in(&self, first: usize, bytes: usize) -> usize {
        let mut count = 0;
        self.each_word(first, bytes, |word, bits| {
            count += (word.get() & bits).count_ones() as usize;
        });
        count
    }

    /// The first page that was not touched; the first of all, if there is none.
    pub fn clean_page(&self) -> usize {
        let mut words = self.touched.iter().enumerate();
        let clean = words.find(|(_, word)| word.get() != u64::MAX);
        clean.map_or(0, |(index, word)| {
            index * 64 + word.get().trailing_ones() as usize
        })
    }

    /// May any page of a granule that is not in use hold something?
    pub fn has_touched_hole(&self) -> bool {
        const GRANULES: usize = 64 / GRANULE_PAGES;
        let free = !self.used.get();
        self.touched.iter().enumerate().any(|(index, word)| {
            let free = free >> (index * GRANULES);
            let granule = |i: usize| (u64::from(free >> i & 1) * 0xffff) << (i * GRANULE_PAGES);
            let pages: u64 = (0..GRANULES).map(granule).sum();
            word.get() & pages != 0
        })
    }

    fn each_word(&self, first: usize, bytes: usize, mut visit: impl FnMut(&Field<u64>, u64)) {
        let mut page = first / PAGE_BYTES;
        let end = (first + bytes).div_ceil(PAGE_BYTES);
        while page < end {
            let in_word = (64 - page % 64).min(end - page);
            let bits = (u64::MAX >> (64 - in_word)) << (page % 64);
            visit(&self.touched[page / 64], bits);
            page += in_word;
        }
    }

    /// The longest run of granules not in use.
    pub fn find_longest_hole(&self) -> usize {
        holes(self.used.get())
            .map(|(_, length)| length)
            .max()
            .unwrap_or(0)
    }

    /// The first granule of the smallest hole that takes `count` granules at a
    /// multiple of `align` granules; of one that may hold something there, if
    /// possible.
    pub fn find_hole(&self, count: usize, align: usize) -> Option<usize> {
        holes(self.used.get())
            .filter_map(|(first, length)| {
                let aligned = first.next_multiple_of(align);
                if aligned + count > first + length {
                    return None;
                }
                let cold = !self.is_touched(aligned * GRANULE_BYTES, count * GRANULE_BYTES);
                Some((cold, length, aligned))
            })
            .min()
            .map(|(_, _, first)| first)
    }
}

/// The runs of clear bits: first bit and length.
fn holes(used: u32) -> impl Iterator<Item = (usize, usize)> {
    let mut bit = 0;
    core::iter::from_fn(move || {
        bit += used.unbounded_shr(bit).trailing_ones();
        if bit >= 32 {
            return None;
        }
        let first = bit;
        let length = (used >> bit).trailing_zeros().min(32 - bit);
        bit += length;
        Some((first as usize, length as usize))
    })
}

/// The part of a region's address that counts granules.
pub fn granule_in_region(address: usize) -> usize {
    (address % REGION_BYTES) >> GRANULE_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_the_runs_of_clear_bits() {
        let all = |used| holes(used).collect::<Vec<_>>();
        assert_eq!(all(0), [(0, 32)]);
        assert_eq!(all(u32::MAX), []);
        assert_eq!(all(0b1), [(1, 31)]);
        assert_eq!(all(0x8000_0000), [(0, 31)]);
        assert_eq!(all(0xf00f_00f0), [(0, 4), (8, 8), (20, 8)]);
    }

    #[test]
    fn a_mask_has_one_bit_a_granule() {
        assert_eq!(granule_mask(0, 32), u32::MAX);
        assert_eq!(granule_mask(31, 1), 1 << 31);
        assert_eq!(granule_mask(4, 3), 0b111_0000);
    }
}
