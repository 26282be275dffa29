//! What a walk reads from: a process's memory, so much of it and no more.
//!
//! Always: all that one reading copies, counts and looks up is charged, so that
//! it ends, whatever the counts and addresses in the process say.

use std::cell::Cell;

use crate::bytes::{u32_at, u64_at};
use crate::layout::Layout;
use crate::memory::{Fault, Memory};

/// Bytes that one reading copies at most. Books are a five hundredth of a heap
/// in small pieces: 2 TiB of it.
const MOST_BYTES: u64 = 4 << 30;

/// Pages that one reading looks up at most: 512 GiB.
const MOST_PAGES: u64 = 1 << 27;

/// A piece costs as much as so many bytes.
const PIECE_BYTES: u64 = 64;

/// So many runs and regions does a reading meet: 4 TiB in small pieces.
const MOST_REGIONS: u64 = 1 << 21;

/// So many regions are shown one by one: 128 GiB.
const MOST_VIEWS: u64 = 1 << 16;

/// What one reading may still spend, on all heaps of a process together.
#[derive(Debug)]
pub struct Budget {
    bytes: Cell<u64>,
    pages: Cell<u64>,
    regions: Cell<u64>,
    views: Cell<u64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MOST_BYTES, MOST_PAGES)
    }
}

impl Budget {
    /// So many bytes to copy, and so many pages to look up.
    pub fn new(bytes: u64, pages: u64) -> Self {
        Self {
            bytes: Cell::new(bytes),
            pages: Cell::new(pages),
            regions: Cell::new(MOST_REGIONS),
            views: Cell::new(MOST_VIEWS),
        }
    }
}

/// Takes from what is left; false: there is not as much.
fn charge(left: &Cell<u64>, cost: u64) -> bool {
    let rest = left.get().checked_sub(cost);
    left.set(rest.unwrap_or(left.get()));
    rest.is_some()
}

/// Memory, the heap's layout in it, and what may still be spent on it.
#[derive(Debug)]
pub struct Source<'a, M> {
    memory: &'a M,
    /// The heap's layout.
    pub layout: &'a Layout,
    budget: &'a Budget,
    by_page: Cell<bool>,
}

impl<'a, M: Memory> Source<'a, M> {
    /// A source from which nothing was read yet.
    pub fn new(memory: &'a M, layout: &'a Layout, budget: &'a Budget) -> Self {
        Self {
            memory,
            layout,
            budget,
            by_page: Cell::new(true),
        }
    }

    /// Charges a region, or a run of free ones, that was met.
    pub fn meet_region(&self) -> Result<(), Fault> {
        match charge(&self.budget.regions, 1) {
            true => Ok(()),
            false => Err(Fault::Corrupt("more regions than any heap has")),
        }
    }

    /// May one more region be shown?
    pub fn may_show(&self) -> bool {
        charge(&self.budget.views, 1)
    }

    /// Were all pages looked up that were asked for?
    pub fn by_page(&self) -> bool {
        self.by_page.get()
    }

    /// Copies pieces, an address and a length each, one behind the other.
    pub fn gather(&self, pieces: &[(u64, usize)]) -> Result<Vec<u8>, Fault> {
        let length = pieces.iter().map(|piece| piece.1).sum();
        let cost = length as u64 + pieces.len() as u64 * PIECE_BYTES;
        if !charge(&self.budget.bytes, cost) {
            return Err(Fault::Corrupt("its books are larger than any heap's"));
        }
        let mut into = vec![0; length];
        if length != 0 {
            self.memory.gather(pieces, &mut into)?;
        }
        Ok(into)
    }

    /// Copies `length` bytes.
    pub fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Fault> {
        self.gather(&[(address, length)])
    }

    /// As [`Source::gather`], for memory that was zero before it was written to:
    /// of pages that the process does not have, it makes none.
    pub fn gather_sparse(&self, pieces: &[(u64, usize)]) -> Result<Vec<u8>, Fault> {
        let page = self.layout.page_bytes;
        let mut dense: Vec<(u64, usize)> = Vec::new();
        // Where the bytes of each of these belong.
        let mut places = Vec::new();
        let mut place = 0;
        for &(address, length) in pieces {
            let first = address - address % page;
            let end = address.checked_add(length as u64);
            let end = end.ok_or(Fault::Corrupt("a piece behind the end of memory"))?;
            let mut pages = vec![true; (end - first).div_ceil(page) as usize];
            self.residency(first, &mut pages)?;
            for (index, _) in pages.iter().enumerate().filter(|(_, has)| **has) {
                let from = (first + index as u64 * page).max(address);
                let to = (first + (index as u64 + 1) * page).min(end);
                dense.push((from, (to - from) as usize));
                places.push(place + (from - address) as usize);
            }
            place += length;
        }
        let bytes = self.gather(&dense)?;
        let mut into = vec![0; place];
        let mut from = 0;
        for (&(_, length), &place) in dense.iter().zip(&places) {
            into[place..place + length].copy_from_slice(&bytes[from..from + length]);
            from += length;
        }
        Ok(into)
    }

    /// Which pages from `first` on have memory. Where that cannot be told,
    /// `pages` is as it was, and the answer is false.
    pub fn residency(&self, first: u64, pages: &mut [bool]) -> Result<bool, Fault> {
        let known = charge(&self.budget.pages, pages.len() as u64)
            && self
                .memory
                .residency(first, self.layout.page_bytes, pages)?;
        if !known {
            self.by_page.set(false);
        }
        Ok(known)
    }

    /// Calls `visit` with the pages from `first` on, in parts, the number of the
    /// first of a part first, as far as it can be told which have memory. Returns
    /// how many that were.
    pub fn each_part(
        &self,
        first: u64,
        count: u64,
        mut visit: impl FnMut(u64, &[bool]),
    ) -> Result<u64, Fault> {
        const PART: u64 = 16_384;
        let mut buffer = vec![false; count.min(PART) as usize];
        let mut done = 0;
        while done < count {
            let pages = &mut buffer[..(count - done).min(PART) as usize];
            let at = first.saturating_add(done.saturating_mul(self.layout.page_bytes));
            if !self.residency(at, pages)? {
                break;
            }
            visit(done, pages);
            done += pages.len() as u64;
        }
        Ok(done)
    }
}

/// The heap's variable, copied.
#[derive(Debug)]
pub struct HeapCopy {
    bytes: Vec<u8>,
}

impl HeapCopy {
    /// Copies it: it was zero at first, and most of it may be.
    pub fn read(source: &Source<'_, impl Memory>) -> Result<Self, Fault> {
        let layout = source.layout;
        let bytes = source.gather_sparse(&[(layout.heap, layout.heap_bytes)])?;
        Ok(Self { bytes })
    }

    /// The `u8` at an offset.
    pub fn u8(&self, at: u32) -> u8 {
        crate::bytes::u8_at(&self.bytes, at as usize)
    }

    /// The `u32` at an offset.
    pub fn u32(&self, at: u32) -> u32 {
        u32_at(&self.bytes, at as usize)
    }

    /// The `u64` at an offset.
    pub fn u64(&self, at: u32) -> u64 {
        u64_at(&self.bytes, at as usize)
    }

    /// The `u64` of entry `index` of an array of structures.
    pub fn u64_of(&self, first: u32, stride: u32, index: usize, at: u32) -> u64 {
        u64_at(&self.bytes, offset(first, stride, index, at))
    }

    /// The `u32` of entry `index` of an array of structures.
    pub fn u32_of(&self, first: u32, stride: u32, index: usize, at: u32) -> u32 {
        u32_at(&self.bytes, offset(first, stride, index, at))
    }
}

fn offset(first: u32, stride: u32, index: usize, at: u32) -> usize {
    (stride as usize)
        .saturating_mul(index)
        .saturating_add(first as usize)
        .saturating_add(at as usize)
}
