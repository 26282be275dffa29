//! Large objects: within a region, or from the start of one over several.

use thmalloc_format::SPAN_LARGE;

use crate::bytes::{u8_at, u32_at, u64_at};
use crate::memory::{Fault, Memory};
use crate::snapshot::{LARGEST, LargeObject, PageOwner, SpanView};
use crate::walk::batch::Batch;
use crate::walk::view::set_resident;
use crate::walk::{Place, Walk};

impl<M: Memory> Walk<'_, M> {
    /// A large object within a region.
    pub(super) fn large_inside(&mut self, slot: &[u8], place: &Place, resident: &[bool]) {
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
    pub(super) fn large_head(
        &mut self,
        batch: &Batch,
        slots: usize,
        number: u64,
    ) -> Result<u64, Fault> {
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
