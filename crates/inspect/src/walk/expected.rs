//! What the books say of a parted region's pages, where the system does not.

use thmalloc_format::{SPAN_LARGE, SPAN_SMALL};

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::layout::Layout;
use crate::walk::batch::Batch;

/// Marks those that have memory, by what was handed out, and given back.
pub fn mark(layout: &Layout, region: &[u8], batch: &Batch, slots: usize, resident: &mut [bool]) {
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
