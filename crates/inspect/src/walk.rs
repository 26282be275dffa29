//! The walk over a heap: leaf by leaf, region by region, span by span.
//!
//! Always: each page of a region is counted once, whatever the books say; where
//! they do not fit together, because they change or are corrupt, that is
//! counted (`Walk::torn`) and the walk goes on behind it.
//!
//! `batch` copies, `small` and `large` count spans, `view` draws what was counted,
//! `expected` is for systems that do not say which pages have memory.

mod batch;
mod expected;
mod large;
mod small;
mod view;

use thmalloc_format::{REGION_FREE, REGION_LARGE, REGION_PARTED, SPAN_LARGE, SPAN_SMALL};

use crate::bytes::{u8_at, u32_at, u64_at};
use crate::caches::Cached;
use crate::layout::Layout;
use crate::memory::{Fault, Memory};
use crate::snapshot::{Large, RegionView, Words};
use crate::source::{HeapCopy, Source};
use crate::span::SpanCount;
use batch::Batch;
use view::set_resident;

/// Regions whose spans are read at once.
const BATCH: usize = 64;

/// What was counted of a size class.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassCount {
    /// Spans.
    pub spans: u64,
    /// Its objects and bytes.
    pub objects: SpanCount,
    /// Pages of its spans that were given back.
    pub released_pages: u64,
}

/// A walk, and what it has counted so far.
#[derive(Debug)]
pub struct Walk<'a, M> {
    source: &'a Source<'a, M>,
    layout: &'a Layout,
    cached: &'a Cached,
    full: bool,
    /// Where memory is.
    pub words: Words,
    /// By size class.
    pub classes: Vec<ClassCount>,
    /// Large objects.
    pub large: Large,
    /// Regions, if they were asked for.
    pub regions: Vec<RegionView>,
    /// The heap's address space: starts and ends.
    pub ranges: Vec<(u64, u64)>,
    /// The leaves' addresses.
    pub leaves: Vec<u64>,
    /// Bytes in free regions of which it could not be told what has memory.
    pub unknown_free: u64,
    /// How often the books did not fit together.
    pub torn: u64,
    /// The end of the large object before.
    large_end: u64,
}

impl<'a, M: Memory> Walk<'a, M> {
    /// A walk that has not begun.
    pub fn new(source: &'a Source<'a, M>, cached: &'a Cached, full: bool) -> Self {
        Self {
            source,
            layout: source.layout,
            cached,
            full,
            words: Words::default(),
            classes: vec![ClassCount::default(); source.layout.classes.len()],
            large: Large::default(),
            regions: Vec::new(),
            ranges: Vec::new(),
            leaves: Vec::new(),
            unknown_free: 0,
            torn: 0,
            large_end: 0,
        }
    }

    /// Walks over all leaves.
    pub fn run(&mut self, heap: &HeapCopy) -> Result<(), Fault> {
        let map = &self.layout.map;
        let top = heap.u64(map.top_at);
        let first = heap.u64(map.first_leaf_at);
        let end = heap.u64(map.end_leaf_at).min(map.top_length.into());
        if top == 0 || first >= end {
            return Ok(());
        }
        let table = top.saturating_add(first * 8);
        let table = self
            .source
            .gather_sparse(&[(table, (end - first) as usize * 8)])?;
        // The first region that is not counted yet.
        let mut next = 0;
        for (number, entry) in (first..end).zip(table.chunks_exact(8)) {
            let leaf = u64_at(entry, 0);
            if leaf == 0 {
                continue;
            }
            self.leaves.push(leaf);
            let regions = self.layout.leaf_regions() as u64;
            let begin = number * regions;
            if next < begin + regions {
                next = self.leaf(leaf, begin, next.max(begin))?;
            }
        }
        Ok(())
    }

    /// Walks over a leaf whose first region has a number. Returns the number of
    /// the next region to be looked at, which may lie beyond it.
    fn leaf(&mut self, leaf: u64, begin: u64, from: u64) -> Result<u64, Fault> {
        let count = self.layout.leaf_regions();
        let stride = self.layout.region.stride as usize;
        let table = leaf.saturating_add(self.layout.map.regions_at.into());
        let table = self.source.gather_sparse(&[(table, count * stride)])?;
        let mut next = from;
        for (index, regions) in table.chunks(BATCH * stride).enumerate() {
            let first = begin + (index * BATCH) as u64;
            let end = first + (regions.len() / stride) as u64;
            if next >= end {
                continue;
            }
            next = next.max(first);
            if regions
                .chunks(stride)
                .all(|region| u8_at(region, self.layout.region.kind_at as usize) == 0)
            {
                next = end;
                continue;
            }
            let in_leaf = (first - begin) as usize;
            let batch = Batch::read(self.source, leaf, in_leaf, first, regions)?;
            while next < end {
                next = self.region(&batch, next)?;
            }
        }
        Ok(next)
    }

    /// Counts what begins with a region; returns the number of the next one.
    fn region(&mut self, batch: &Batch, number: u64) -> Result<u64, Fault> {
        let layout = self.layout;
        let index = (number - batch.first) as usize;
        let stride = layout.region.stride as usize;
        let region = batch.regions.get(index * stride..).unwrap_or_default();
        let kind = u8_at(region, layout.region.kind_at as usize);
        if kind != 0 {
            self.source.meet_region()?;
        }
        let slots = batch.slots_at.get(index).copied().flatten();
        match (kind, slots) {
            // The end of a run, of which the beginning was another when it was read.
            (REGION_FREE, _)
                if u64_at(region, layout.region.start_at as usize) != self.address(number) =>
            {
                Ok(number + 1)
            }
            (REGION_FREE, _) => self.free_run(region, number),
            (REGION_PARTED, Some(slots)) => {
                self.parted(batch, slots, region, number)?;
                Ok(number + 1)
            }
            (REGION_LARGE, Some(slots)) => self.large_head(batch, slots, number),
            _ => Ok(number + 1),
        }
    }

    fn address(&self, number: u64) -> u64 {
        number << self.layout.region_shift
    }

    fn add_range(&mut self, start: u64, end: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.ranges.push((start, end)),
        }
    }

    /// Regions in no use. Those behind the dirty ones cost nothing.
    fn free_run(&mut self, region: &[u8], number: u64) -> Result<u64, Fault> {
        let layout = self.layout;
        let most = u64::from(layout.map.top_length) * layout.leaf_regions() as u64;
        let run = u64::from(u32_at(region, layout.region.run_at as usize)).max(1);
        let run = run.min(most.saturating_sub(number)).max(1);
        let dirty = u64::from(u32_at(region, layout.region.dirty_run_at as usize)).min(run);
        self.add_range(self.address(number), self.address(number + run));
        let pages = layout.region_pages();
        let clean_bytes = (run - dirty) << layout.region_shift;
        self.words.released = self.words.released.saturating_add(clean_bytes);
        for index in 0..dirty {
            let number = number + index;
            let mut resident = vec![false; pages];
            if !self.source.residency(self.address(number), &mut resident)? {
                self.unknown_free += (dirty - index) << layout.region_shift;
                break;
            }
            self.count_free(&resident);
            self.view(number, |view| set_resident(view, 0, &resident));
        }
        for number in number + dirty..number + run {
            if !self.view(number, |_| ()) {
                break;
            }
        }
        Ok(number + run)
    }

    fn count_free(&mut self, resident: &[bool]) {
        let has = resident.iter().filter(|page| **page).count() as u64;
        self.words.free += has * self.layout.page_bytes;
        self.words.released += (resident.len() as u64 - has) * self.layout.page_bytes;
    }

    /// A region that is parted into granules.
    fn parted(
        &mut self,
        batch: &Batch,
        slots: usize,
        region: &[u8],
        number: u64,
    ) -> Result<(), Fault> {
        let layout = self.layout;
        let start = self.address(number);
        self.add_range(start, self.address(number + 1));
        let mut resident = vec![true; layout.region_pages()];
        if !self.source.residency(start, &mut resident)? {
            expected::mark(layout, region, batch, slots, &mut resident);
        }
        self.view(number, |view| set_resident(view, 0, &resident));
        let used = u32_at(region, layout.region.used_at as usize);
        let pages = layout.granule_pages();
        let count = layout.region_granules() as usize;
        let mut granule = 0;
        while granule < count {
            let address = start + ((granule as u64) << layout.granule_shift);
            let here = &resident[granule * pages..];
            if address < self.large_end {
                // The large object before goes on; it was counted.
                granule += 1;
                continue;
            }
            if used >> granule & 1 == 0 {
                self.count_free(&here[..pages]);
                granule += 1;
                continue;
            }
            let slot_at = slots + granule * layout.span.stride as usize;
            let slot = batch.slots.get(slot_at..).unwrap_or_default();
            let length = u32_at(slot, layout.span.granules_at as usize) as usize;
            let kind = u8_at(slot, layout.span.kind_at as usize);
            let fits = length != 0 && length <= count - granule;
            let place = Place {
                number,
                first_page: granule * pages,
                address,
            };
            granule += match kind {
                SPAN_SMALL if fits && self.is_class(slot, length) => {
                    self.small(batch, slot_at, &place, &here[..length * pages]);
                    length
                }
                SPAN_LARGE if fits => {
                    self.large_inside(slot, &place, &here[..length * pages]);
                    length
                }
                _ => {
                    // Nothing begins here, and yet it is in use: it changes.
                    self.torn += 1;
                    self.count_unknown(&here[..pages]);
                    1
                }
            };
        }
        Ok(())
    }

    /// Memory that something has, but nobody says what.
    fn count_unknown(&mut self, resident: &[bool]) {
        let has = resident.iter().filter(|page| **page).count() as u64;
        self.words.fragmented += has * self.layout.page_bytes;
        self.words.released += (resident.len() as u64 - has) * self.layout.page_bytes;
    }
}

/// Where a span is.
struct Place {
    /// The number of its region.
    number: u64,
    /// Its first page there.
    first_page: usize,
    /// The address of its first byte.
    address: u64,
}
