//! Spans of small objects, in parted regions.

use crate::bytes::{u8_at, u16_at, u32_at};
use crate::memory::Memory;
use crate::snapshot::{PageOwner, SpanView};
use crate::span::{PageLoad, SmallSpan};
use crate::walk::batch::Batch;
use crate::walk::{Place, Walk};

impl<M: Memory> Walk<'_, M> {
    /// Is the span in a slot one of its class's length?
    pub(super) fn is_class(&self, slot: &[u8], granules: usize) -> bool {
        let class = u8_at(slot, self.layout.span.class_at as usize);
        let class = self.layout.classes.get(class as usize);
        class.is_some_and(|class| class.objects != 0 && class.granules as usize == granules)
    }

    /// Counts a span of small objects.
    pub(super) fn small(
        &mut self,
        batch: &Batch,
        slot_at: usize,
        place: &Place,
        resident: &[bool],
    ) {
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
}
