//! The walk over a heap: leaf by leaf, region by region, span by span.
//!
//! Always: each page of a region is counted once, whatever the books say; where
//! they do not fit together, because they change or are corrupt, that is
//! counted (`Walk::torn`) and the walk goes on behind it.

use thmalloc_format::{REGION_FREE, REGION_LARGE, REGION_PARTED, SPAN_LARGE, SPAN_SMALL};

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::caches::Cached;
use crate::layout::Layout;
use crate::memory::{Fault, Memory};
use crate::snapshot::{
    LARGEST, Large, LargeObject, PageOwner, PageView, RegionView, SpanView, Words,
};
use crate::source::{HeapCopy, Source};
use crate::span::{PageLoad, SmallSpan, SpanCount};

/// Regions whose spans are read at once.
const BATCH: usize = 64;

/// So many regions are shown one by one: 128 GiB.
const MOST_VIEWS: usize = 1 << 16;

/// So many runs and regions does a walk meet: 4 TiB in small pieces.
const MOST_REGIONS: u64 = 1 << 21;

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
    regions_left: u64,
}

/// A part of a leaf that was copied.
struct Batch {
    /// The number of its first region.
    first: u64,
    /// Their metadata.
    regions: Vec<u8>,
    /// Where the slots of each region begin in `slots`, if it has any.
    slots_at: Vec<Option<usize>>,
    slots: Vec<u8>,
    /// Bitmaps that stand outside of their spans: the slot's place in `slots`,
    /// and the bitmap's in `bitmaps`, in order.
    bitmaps_at: Vec<(usize, usize)>,
    bitmaps: Vec<u8>,
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
            regions_left: MOST_REGIONS,
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
            let batch = self.read_batch(leaf, (first - begin) as usize, first, regions)?;
            while next < end {
                next = self.region(&batch, next)?;
            }
        }
        Ok(next)
    }

    /// Copies the slots of the regions that have spans, and their bitmaps.
    fn read_batch(
        &self,
        leaf: u64,
        in_leaf: usize,
        first: u64,
        regions: &[u8],
    ) -> Result<Batch, Fault> {
        let layout = self.layout;
        let slots_bytes = layout.region_granules() as usize * layout.span.stride as usize;
        let spans = leaf.saturating_add(layout.map.spans_at.into());
        let mut pieces = Vec::new();
        let mut slots_at = Vec::new();
        for (index, region) in regions.chunks(layout.region.stride as usize).enumerate() {
            let kind = u8_at(region, layout.region.kind_at as usize);
            let has = matches!(kind, REGION_PARTED | REGION_LARGE);
            slots_at.push(has.then_some(pieces.len() * slots_bytes));
            if has {
                let at = spans.saturating_add(((in_leaf + index) * slots_bytes) as u64);
                pieces.push((at, slots_bytes));
            }
        }
        let slots = self.source.gather_sparse(&pieces)?;
        let mut pieces = Vec::new();
        let mut bitmaps_at = Vec::new();
        let mut place = 0;
        let stride = layout.span.stride as usize;
        for (index, slot) in slots.chunks(stride).enumerate() {
            let class = u8_at(slot, layout.span.class_at as usize);
            let words = layout
                .classes
                .get(class as usize)
                .map_or(0, |class| class.bitmap_words);
            let small = u8_at(slot, layout.span.kind_at as usize) == SPAN_SMALL;
            if small && words > layout.span.inline_words {
                let bytes = words as usize * 8;
                bitmaps_at.push((index * stride, place));
                pieces.push((u64_at(slot, layout.span.size_or_bitmap_at as usize), bytes));
                place += bytes;
            }
        }
        let bitmaps = self.source.gather(&pieces)?;
        Ok(Batch {
            first,
            regions: regions.to_vec(),
            slots_at,
            slots,
            bitmaps_at,
            bitmaps,
        })
    }

    /// Counts what begins with a region; returns the number of the next one.
    fn region(&mut self, batch: &Batch, number: u64) -> Result<u64, Fault> {
        let layout = self.layout;
        let index = (number - batch.first) as usize;
        let stride = layout.region.stride as usize;
        let region = batch.regions.get(index * stride..).unwrap_or_default();
        let kind = u8_at(region, layout.region.kind_at as usize);
        if kind != 0 {
            let left = self.regions_left.checked_sub(1);
            self.regions_left = left.ok_or(Fault::Corrupt("more regions than any heap has"))?;
        }
        let slots = batch.slots_at.get(index).copied().flatten();
        match (kind, slots) {
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

    /// Lets `fill` fill in the view of a region, if there is to be one. False:
    /// there is none.
    fn view(&mut self, number: u64, fill: impl FnOnce(&mut RegionView)) -> bool {
        if !self.full || self.regions.len() >= MOST_VIEWS {
            return false;
        }
        let address = self.address(number);
        // The last region of a large object is met twice.
        if self
            .regions
            .last()
            .is_none_or(|last| last.address != address)
        {
            let page = PageView {
                owner: PageOwner::Free,
                resident: false,
                live: 0,
            };
            self.regions.push(RegionView {
                address,
                pages: vec![page; self.layout.region_pages()],
                spans: Vec::new(),
            });
        }
        if let Some(view) = self.regions.last_mut() {
            fill(view);
        }
        true
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
            expect(layout, region, batch, slots, &mut resident);
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

    fn is_class(&self, slot: &[u8], granules: usize) -> bool {
        let class = u8_at(slot, self.layout.span.class_at as usize);
        let class = self.layout.classes.get(class as usize);
        class.is_some_and(|class| class.objects != 0 && class.granules as usize == granules)
    }

    /// Memory that something has, but nobody says what.
    fn count_unknown(&mut self, resident: &[bool]) {
        let has = resident.iter().filter(|page| **page).count() as u64;
        self.words.fragmented += has * self.layout.page_bytes;
        self.words.released += (resident.len() as u64 - has) * self.layout.page_bytes;
    }

    fn small(&mut self, batch: &Batch, slot_at: usize, place: &Place, resident: &[bool]) {
        let layout = self.layout;
        let slot = &batch.slots[slot_at..];
        let number = u8_at(slot, layout.span.class_at as usize);
        let class = layout.classes[number as usize];
        let words = class.bitmap_words as usize;
        let bitmap = match batch
            .bitmaps_at
            .binary_search_by_key(&slot_at, |entry| entry.0)
        {
            Ok(found) => batch.bitmaps.get(batch.bitmaps_at[found].1..),
            Err(_) => slot.get(layout.span.words_at as usize..),
        };
        let bitmap = bitmap
            .and_then(|bytes| bytes.get(..words * 8))
            .unwrap_or_default();
        let end = place.address + class.bytes * u64::from(class.objects);
        let span = SmallSpan {
            class,
            start: place.address,
            fresh: u32_at(slot, layout.span.fresh_at as usize),
            bitmap,
            cached: self.cached.inside(place.address, end),
        };
        let mut loads = vec![PageLoad::default(); resident.len()];
        let count = span.count(layout.page_bytes, resident, &mut loads, &mut self.words);
        let granules = resident.len() / layout.granule_pages();
        let stride = layout.span.stride as usize;
        let released = |granule: usize| {
            let slot = slot.get(granule * stride..).unwrap_or_default();
            u64::from(u16_at(slot, layout.span.released_at as usize).count_ones())
        };
        let released_pages: u64 = (0..granules).map(released).sum();
        let tally = &mut self.classes[number as usize];
        tally.spans += 1;
        tally.released_pages += released_pages;
        tally.objects.live += count.live;
        tally.objects.cached += count.cached;
        tally.objects.free += count.free;
        tally.objects.resident += count.resident;
        tally.objects.fragmented += count.fragmented;
        let page_bytes = layout.page_bytes as u32;
        self.view(place.number, |view| {
            let pages = view.pages.iter_mut().skip(place.first_page);
            for (page, load) in pages.zip(&loads) {
                page.owner = PageOwner::Small(number);
                page.live = (u64::from(load.live) * 255 / u64::from(page_bytes)) as u8;
            }
            view.spans.push(SpanView {
                first_page: place.first_page as u32,
                pages: loads.len() as u32,
                address: place.address,
                bytes: loads.len() as u64 * u64::from(page_bytes),
                owner: PageOwner::Small(number),
                object_bytes: class.bytes,
                objects: class.objects,
                live: count.live as u32,
                cached: count.cached as u32,
            });
        });
    }

    /// A large object within a region.
    fn large_inside(&mut self, slot: &[u8], place: &Place, resident: &[bool]) {
        let span_bytes = resident.len() as u64 * self.layout.page_bytes;
        let bytes = u64_at(slot, self.layout.span.size_or_bitmap_at as usize).min(span_bytes);
        let mut object = LargeObject {
            address: place.address,
            bytes,
            resident: 0,
        };
        self.count_large(&mut object, 0, resident);
        self.end_large(object);
        self.view_large(
            place.number,
            place.first_page,
            &object,
            span_bytes,
            resident,
        );
    }

    /// A large object that begins with a region and fills it. Returns the region
    /// behind those that it fills.
    fn large_head(&mut self, batch: &Batch, slots: usize, number: u64) -> Result<u64, Fault> {
        let layout = self.layout;
        let slot = batch.slots.get(slots..).unwrap_or_default();
        let granules = u32_at(slot, layout.span.granules_at as usize);
        let kind = u8_at(slot, layout.span.kind_at as usize);
        let most = u64::from(layout.map.top_length) * layout.leaf_regions() as u64;
        let whole = u64::from(granules / layout.region_granules());
        if kind != SPAN_LARGE || whole == 0 || number + whole > most {
            self.torn += 1;
            return Ok(number + 1);
        }
        let start = self.address(number);
        let span_bytes = u64::from(granules) << layout.granule_shift;
        let bytes = u64_at(slot, layout.span.size_or_bitmap_at as usize).min(span_bytes);
        self.add_range(start, self.address(number + whole));
        self.large_end = start + span_bytes;
        let mut object = LargeObject {
            address: start,
            bytes,
            resident: 0,
        };
        let count = span_bytes / layout.page_bytes;
        let region_pages = layout.region_pages() as u64;
        let source = self.source;
        let known = source.each_part(start, count, |first, resident| {
            self.count_large(&mut object, first, resident);
            // Parts are whole regions, but for the last.
            let regions = number + first / region_pages..;
            for (number, resident) in regions.zip(resident.chunks(region_pages as usize)) {
                self.view_large(number, 0, &object, span_bytes, resident);
            }
        })?;
        // By the books, what is used of it has memory; but nobody has so much.
        let used = bytes.div_ceil(layout.page_bytes);
        let rest = used.saturating_sub(known) * layout.page_bytes;
        if known == 0 {
            self.words.live += rest;
            object.resident += rest;
        } else {
            self.words.released += rest;
            self.words.untouched += rest;
        }
        self.end_large(object);
        Ok(number + whole)
    }

    /// Counts pages of a large object, from its `first` on.
    fn count_large(&mut self, object: &mut LargeObject, first: u64, resident: &[bool]) {
        let page = self.layout.page_bytes;
        let used = object.bytes.div_ceil(page);
        for (number, &resident) in (first..).zip(resident) {
            match (resident, number < used) {
                (true, true) => {
                    self.words.live += page;
                    object.resident += page;
                }
                (true, false) => self.words.fragmented += page,
                (false, inside) => {
                    self.words.released += page;
                    self.words.untouched += if inside { page } else { 0 };
                }
            }
        }
    }

    fn end_large(&mut self, object: LargeObject) {
        let large = &mut self.large;
        large.count += 1;
        large.bytes = large.bytes.saturating_add(object.bytes);
        large.resident = large.resident.saturating_add(object.resident);
        let place = large
            .largest
            .partition_point(|other| other.bytes >= object.bytes);
        if place < LARGEST {
            large.largest.insert(place, object);
            large.largest.truncate(LARGEST);
        }
    }

    fn view_large(
        &mut self,
        number: u64,
        first_page: usize,
        object: &LargeObject,
        span_bytes: u64,
        resident: &[bool],
    ) {
        self.view(number, |view| {
            set_resident(view, first_page, resident);
            for page in view.pages.iter_mut().skip(first_page).take(resident.len()) {
                page.owner = PageOwner::Large;
                page.live = u8::MAX;
            }
            view.spans.push(SpanView {
                first_page: first_page as u32,
                pages: resident.len() as u32,
                address: object.address,
                bytes: span_bytes,
                owner: PageOwner::Large,
                object_bytes: object.bytes,
                objects: 1,
                live: 1,
                cached: 0,
            });
        });
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

fn set_resident(view: &mut RegionView, first: usize, resident: &[bool]) {
    for (page, &resident) in view.pages.iter_mut().skip(first).zip(resident) {
        page.resident = resident;
    }
}

/// What the books say of a parted region's pages, where the system does not.
fn expect(layout: &Layout, region: &[u8], batch: &Batch, slots: usize, resident: &mut [bool]) {
    let touched = |page: usize| {
        let word = layout.region.touched_at as usize + page / 64 * 8;
        u64_at(region, word) >> (page % 64) & 1 != 0
    };
    let used = u32_at(region, layout.region.used_at as usize);
    let granule_pages = layout.granule_pages();
    let stride = layout.span.stride as usize;
    // The end of what was ever handed out of the span at hand, and what of it
    // was given back.
    let mut handed_out = 0;
    for (page, resident) in resident.iter_mut().enumerate() {
        let granule = page / granule_pages;
        if used >> granule & 1 == 0 {
            *resident = touched(page);
            continue;
        }
        let slot = batch
            .slots
            .get(slots + granule * stride..)
            .unwrap_or_default();
        let first_byte = page as u64 * layout.page_bytes;
        if page.is_multiple_of(granule_pages) {
            match u8_at(slot, layout.span.kind_at as usize) {
                SPAN_SMALL => {
                    let class = u8_at(slot, layout.span.class_at as usize) as usize;
                    let bytes = layout.classes.get(class).map_or(0, |class| class.bytes);
                    let fresh = u32_at(slot, layout.span.fresh_at as usize);
                    handed_out = first_byte + u64::from(fresh) * bytes;
                }
                SPAN_LARGE => {
                    let bytes = u64_at(slot, layout.span.size_or_bitmap_at as usize);
                    handed_out = first_byte.saturating_add(bytes);
                }
                _ => {}
            }
        }
        let released = u16_at(slot, layout.span.released_at as usize);
        let released = released >> (page % granule_pages) & 1 != 0;
        *resident = !released && (first_byte < handed_out || touched(page));
    }
}
