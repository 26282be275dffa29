//! Pages of free regions elsewhere for a new large object.
//!
//! A large object needs regions in a row. Where no row that is long enough holds
//! memory, but shorter ones do, their pages are moved into the new object
//! (mremap(2), MREMAP_DONTUNMAP) instead of the system filling new ones with
//! zeros while those lie idle: page tables change, nothing is copied. So the
//! free memory of large objects is never too scattered to be used again, and the
//! peak of a load is what lives, not what lies between.
//!
//! Always: a region that lends its pages is a span in use until they have moved,
//! so no lock is held meanwhile, and the books are right at any moment; the span
//! that adopts them has all its regions for itself, and gives up what it does not
//! need of the last one when that is done. What a lender leaves is zero and clean.
//! An object that is to be sparse adopts nothing. What the program has locked (mlock(2))
//! neither lends nor adopts.
//! Lock: the page heap's, to take regions and to give them back.

use crate::metadata::Metadata;
use crate::os::OutOfMemory;
use crate::page_map::PageMap;
use crate::region::{REGION_BYTES, REGION_GRANULES, Region, RegionKind};
use crate::span::Span;

use super::{PageHeap, State, begin_span, huge, region_at, release};

/// A region with fewer pages that hold something may be filled from elsewhere;
/// what it has then goes.
const POOR_PAGES: usize = 128;

/// One with so many may lend them: moving takes as long as five page faults, where
/// another thread runs as eighteen.
const RICH_PAGES: usize = POOR_PAGES + 64;

/// An object adopts the pages of so many regions at the most.
const MAX_LENT: usize = 64;

/// What a new object is to hold at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Anything: the caller clears those pages that had another use, if it is to be zero.
    Any,
    /// Zeros, most of which may never be written to: it gets no memory of others.
    Sparse,
}

/// Regions that lend their pages to a new span.
pub struct Lent {
    spans: [Option<&'static Span>; MAX_LENT],
    count: usize,
    /// How many pages hold something.
    pages: usize,
}

impl Lent {
    /// None.
    fn new() -> Self {
        Self {
            spans: [None; MAX_LENT],
            count: 0,
            pages: 0,
        }
    }

    /// How many pages of them hold something.
    pub fn pages(&self) -> usize {
        self.pages
    }

    fn push(&mut self, span: &'static Span, pages: usize) {
        self.spans[self.count] = Some(span);
        self.count += 1;
        self.pages += pages;
    }

    fn iter(&self) -> impl Iterator<Item = &'static Span> {
        self.spans[..self.count].iter().flatten().copied()
    }
}

impl PageHeap {
    /// A span for a new object of the program's. Unless it is to be sparse, what lies
    /// free elsewhere moves into it.
    pub fn allocate_large(
        &self,
        map: &PageMap,
        metadata: &Metadata,
        granules: usize,
        align: usize,
        content: Content,
    ) -> Result<&'static Span, OutOfMemory> {
        let mut lent = Lent::new();
        let adopts = (content == Content::Any).then_some(&mut lent);
        let span = self.allocate_counted(map, metadata, granules, align, 1, adopts)?;
        if !self.adopt(map, span, &lent) {
            // The object counts already.
            return self.allocate(map, metadata, granules, align);
        }
        if span.granules() != granules {
            self.shrink(map, span, granules);
        }
        Ok(span)
    }

    /// Moves the pages of the regions that were lent into the poor ones of the
    /// span, if they may be. False where the system cannot: the span is given up,
    /// and there will be no moving any more.
    fn adopt(&self, map: &PageMap, span: &'static Span, lent: &Lent) -> bool {
        let mut poor = poor_regions(map, span.start(), span.granules() / REGION_GRANULES);
        let mut failed = None;
        for lender in lent.iter() {
            let lends = failed.is_none() && self.may_move(map, lender.start());
            let to = match lends {
                true => poor.find(|&to| !self.is_locked(map, to)),
                false => None,
            };
            let moved = to.filter(|&to| release::move_region(lender.start(), to));
            if moved.is_none() {
                failed = failed.or(to);
            }
            let mut state = self.state.lock();
            if let Some(to) = moved {
                inherit(region_at(map, lender.start()), region_at(map, to));
            }
            state.free(map, lender, 0);
        }
        if let Some(failed) = failed {
            self.abandon(map, span, failed);
        }
        failed.is_none()
    }
}

impl State {
    /// Takes free regions that hold memory, as many as those `count` free ones
    /// from `start` on that hold little, at the most.
    pub fn lend(&mut self, map: &PageMap, start: usize, count: usize, lent: &mut Lent) {
        if !self.may_move_regions() || !self.runs.has_dirty() {
            return;
        }
        let wanted = poor_regions(map, start, count).take(MAX_LENT).count();
        for _ in 0..wanted {
            let Some(lender) = self.runs.take_scattered(map, is_rich) else {
                return;
            };
            let region = region_at(map, lender);
            let pages = region.touched_pages();
            self.runs_dirty.take(pages);
            self.used += REGION_GRANULES;
            region.begin(RegionKind::LargeHead, lender);
            lent.push(begin_span(map, lender, REGION_GRANULES), pages);
        }
    }
}

/// Enters into the books that the pages of a region have moved to another one.
fn inherit(from: &Region, to: &Region) {
    to.untouch(0, REGION_BYTES);
    from.each_touched(0, REGION_BYTES, |first, bytes| to.touch(first, bytes));
    from.untouch(0, REGION_BYTES);
}

/// The addresses of those of `count` regions from `start` on that hold little.
fn poor_regions(map: &PageMap, start: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count)
        .map(move |index| start + index * REGION_BYTES)
        .filter(|&address| {
            let region = region_at(map, address);
            region.touched_pages() < POOR_PAGES && is_plain(region)
        })
}

fn is_rich(region: &Region) -> bool {
    region.touched_pages() >= RICH_PAGES && is_plain(region)
}

/// Was the system told nothing of its own about hugepages there? What it was told
/// belongs to the mapping, and would move.
fn is_plain(region: &Region) -> bool {
    !huge::is_told(region)
}
