//! A part of a leaf, copied: the metadata of its regions, and of their spans.

use thmalloc_format::{REGION_LARGE, REGION_PARTED, SPAN_SMALL};

use crate::bytes::{u8_at, u64_at};
use crate::memory::{Fault, Memory};
use crate::source::Source;

/// A part of a leaf that was copied.
pub struct Batch {
    /// The number of its first region.
    pub first: u64,
    /// Their metadata.
    pub regions: Vec<u8>,
    /// Where the slots of each region begin in `slots`, if it has any.
    pub slots_at: Vec<Option<usize>>,
    /// See `slots_at`.
    pub slots: Vec<u8>,
    /// Bitmaps that stand outside of their spans: the slot's place in `slots`,
    /// and the bitmap's in `bitmaps`, in order.
    pub bitmaps_at: Vec<(usize, usize)>,
    /// See `bitmaps_at`.
    pub bitmaps: Vec<u8>,
}

impl Batch {
    /// Copies the slots of the regions that have spans, and their bitmaps.
    pub fn read(
        source: &Source<'_, impl Memory>,
        leaf: u64,
        in_leaf: usize,
        first: u64,
        regions: &[u8],
    ) -> Result<Self, Fault> {
        let layout = source.layout;
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
        let slots = source.gather_sparse(&pieces)?;
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
        let bitmaps = source.gather(&pieces)?;
        Ok(Self {
            first,
            regions: regions.to_vec(),
            slots_at,
            slots,
            bitmaps_at,
            bitmaps,
        })
    }
}
