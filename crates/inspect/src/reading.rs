//! One reading of a heap: everything copied, counted, and checked for having
//! stood still meanwhile.

use thmalloc_format::{SCAVENGER_GONE, SCAVENGER_OFF, SCAVENGER_RUNNING, SLEEP_ASLEEP};

use crate::bytes::u64_at;
use crate::caches::{self, Cached};
use crate::layout::Layout;
use crate::memory::{Fault, Memory};
use crate::snapshot::{
    ClassView, CpuCacheView, Large, RegionView, Scavenger, ScavengerState, Totals, Words,
};
pub use crate::source::Budget;
use crate::source::{HeapCopy, Source};
use crate::walk::Walk;

/// A heap, read once.
#[derive(Debug)]
pub struct Reading {
    /// Where memory is.
    pub words: Words,
    /// Running totals.
    pub totals: Totals,
    /// Size classes that have spans.
    pub classes: Vec<ClassView>,
    /// CPU caches.
    pub cpu_caches: Vec<CpuCacheView>,
    /// Large objects.
    pub large: Large,
    /// Who gives memory back.
    pub scavenger: Scavenger,
    /// Regions, if they were asked for.
    pub regions: Vec<RegionView>,
    /// Are the caches entered by restartable sequences?
    pub rseq: bool,
    /// Is residency known page by page?
    pub by_page: bool,
    /// Sections of locks that were entered meanwhile; 0: it is exact.
    pub changes: u64,
    /// All memory of the heap and its books: starts and ends, in order, and
    /// apart.
    pub ranges: Vec<(u64, u64)>,
}

/// A mapping of books is looked at, and the one before it, so often.
const MOST_CHUNKS: usize = 1 << 16;

/// Reads a heap. `now` is the time of CLOCK_MONOTONIC, in nanoseconds.
pub fn read(
    memory: &impl Memory,
    layout: &Layout,
    budget: &Budget,
    full: bool,
    now: u64,
) -> Result<Reading, Fault> {
    let source = Source::new(memory, layout, budget);
    let heap = HeapCopy::read(&source)?;
    let before = generations(layout, &heap);
    let cached = Cached::read(&source, &heap)?;
    let mut walk = Walk::new(&source, &cached, full);
    walk.run(&heap)?;
    let books = books(&source, &heap, &cached, &walk.leaves)?;
    let mut words = walk.words;
    let page_bytes = layout.page_bytes;
    for &(start, end) in &books {
        let pages = (end - start) / page_bytes;
        source.each_part(start, pages, |_, resident| {
            let has = resident.iter().filter(|page| **page).count() as u64;
            words.metadata += has * page_bytes;
        })?;
    }
    let dirty = heap.u64(layout.pages.runs_dirty_at);
    let dirty = dirty.saturating_mul(page_bytes).min(walk.unknown_free);
    words.free += dirty;
    words.released = words.released.saturating_add(walk.unknown_free - dirty);
    if !source.by_page() && words.metadata == 0 {
        words.metadata = heap.u64(layout.metadata.used_at);
    }
    words.resident = [
        words.live,
        words.cached,
        words.fragmented,
        words.free,
        words.metadata,
    ]
    .iter()
    .fold(0, |sum, word| sum.saturating_add(*word));

    let after_heap = HeapCopy::read(&source)?;
    let mut changes = sections(&before, &generations(layout, &after_heap));
    let slots = caches::generations(&source, &after_heap)?;
    changes += sections(&cached.generations, &slots);
    changes += walk.torn;

    let classes = class_views(layout, &walk);
    let (large, regions, ranges) = (walk.large, walk.regions, walk.ranges);
    Ok(Reading {
        words,
        totals: totals(layout, &heap),
        classes,
        large,
        scavenger: scavenger(layout, &heap, now),
        regions,
        rseq: heap.u8(layout.caches.mode_at) == 1,
        by_page: source.by_page(),
        changes,
        ranges: merged(ranges.into_iter().chain(books).collect()),
        cpu_caches: cached.slots,
    })
}

/// The generations of all locks in the heap's variable.
fn generations(layout: &Layout, heap: &HeapCopy) -> Vec<u32> {
    let (central, transfer) = (&layout.central, &layout.transfer);
    let mut generations = vec![
        heap.u32(layout.pages.generation_at),
        heap.u32(layout.metadata.generation_at),
    ];
    for class in 1..layout.classes.len() {
        let of = |first, stride, at| heap.u32_of(first, stride, class, at);
        generations.push(of(central.first_at, central.stride, central.generation_at));
        generations.push(of(
            transfer.first_at,
            transfer.stride,
            transfer.generation_at,
        ));
    }
    generations
}

/// How many sections were entered between two looks at generations, or had been
/// and were not left.
fn sections(before: &[u32], after: &[u32]) -> u64 {
    let one = |(&before, &after): (&u32, &u32)| {
        // Two numbers a section; an odd one is of a section that is not over.
        let first = before & !1;
        u64::from(after.wrapping_sub(first).div_ceil(2))
    };
    let known: u64 = before.iter().zip(after).map(one).sum();
    known + before.len().abs_diff(after.len()) as u64
}

fn class_views(layout: &Layout, walk: &Walk<'_, impl Memory>) -> Vec<ClassView> {
    let mut views = Vec::new();
    let mut below = 0;
    for (number, (class, count)) in layout.classes.iter().zip(&walk.classes).enumerate().skip(1) {
        let waste = (class.bytes - below).saturating_sub(1);
        below = class.bytes;
        if count.spans == 0 {
            continue;
        }
        views.push(ClassView {
            class: number as u32,
            bytes: class.bytes,
            live: count.objects.live,
            cached: count.objects.cached,
            free: count.objects.free,
            spans: count.spans,
            span_bytes: u64::from(class.granules) << layout.granule_shift,
            span_objects: class.objects.into(),
            released_pages: count.released_pages,
            fragmented: count.objects.fragmented,
            resident: count.objects.resident,
            waste_at_most: waste * count.objects.live,
        });
    }
    views
}

fn totals(layout: &Layout, heap: &HeapCopy) -> Totals {
    let (central, transfer) = (&layout.central, &layout.transfer);
    let large = heap.u64(layout.pages.large_drawn_at);
    let mut drawn = large.saturating_mul(layout.page_bytes);
    for (class, info) in layout.classes.iter().enumerate().skip(1) {
        let of = |first, stride, at| heap.u64_of(first, stride, class, at);
        let objects = of(central.first_at, central.stride, central.drawn_at).saturating_add(of(
            transfer.first_at,
            transfer.stride,
            transfer.drawn_at,
        ));
        drawn = drawn.saturating_add(objects.saturating_mul(info.bytes));
    }
    Totals {
        drawn,
        released: heap.u64(layout.scavenger.released_at),
        refaulted: heap.u64(layout.scavenger.refaulted_at),
    }
}

fn scavenger(layout: &Layout, heap: &HeapCopy, now: u64) -> Scavenger {
    let part = &layout.scavenger;
    let time = |at| Some(heap.u64(at)).filter(|&time| time != 0);
    let ago = |at| time(at).map(|time| now.saturating_sub(time) / 1_000_000);
    let state = match heap.u32(part.state_at) {
        SCAVENGER_RUNNING if heap.u32(part.sleep_at) == SLEEP_ASLEEP => ScavengerState::Asleep,
        SCAVENGER_RUNNING => ScavengerState::Waiting,
        SCAVENGER_GONE => ScavengerState::Gone,
        SCAVENGER_OFF => ScavengerState::Off,
        _ => ScavengerState::InLine,
    };
    let next = time(part.next_turn_at).filter(|_| state == ScavengerState::Waiting);
    Scavenger {
        state,
        delay_ms: heap.u64(part.delay_at) / 1_000_000,
        last_turn_ago_ms: ago(part.turn_ended_at),
        next_turn_in_ms: next.map(|next| next.saturating_sub(now) / 1_000_000),
        last_release_ago_ms: ago(part.released_when_at),
    }
}

/// The memory of the books: starts and ends of whole pages, in order, and apart.
fn books(
    source: &Source<'_, impl Memory>,
    heap: &HeapCopy,
    cached: &Cached,
    leaves: &[u64],
) -> Result<Vec<(u64, u64)>, Fault> {
    let layout = source.layout;
    let map = &layout.map;
    let mut pieces = vec![
        (layout.heap, layout.heap_bytes as u64),
        (heap.u64(map.top_at), u64::from(map.top_length) * 8),
        (
            heap.u64(map.class_table_at),
            heap.u64(map.class_table_length_at),
        ),
    ];
    pieces.extend(leaves.iter().map(|&leaf| (leaf, map.leaf_bytes.into())));
    pieces.extend(&cached.memory);
    let mut chunk = heap.u64(layout.metadata.newest_at);
    for _ in 0..MOST_CHUNKS {
        if chunk == 0 {
            break;
        }
        let head = source.read(chunk, 16)?;
        pieces.push((chunk, u64_at(&head, 8)));
        chunk = u64_at(&head, 0);
    }
    let page = layout.page_bytes;
    let whole = pieces
        .into_iter()
        .filter(|piece| piece.0 != 0 && piece.1 != 0);
    let whole = whole.map(|(start, bytes)| {
        let end = start
            .saturating_add(bytes.min(1 << 46))
            .min(u64::MAX - page);
        (start - start % page, end.next_multiple_of(page))
    });
    Ok(merged(whole.collect()))
}

/// Ranges in order, those that overlap or touch as one.
pub fn merged(ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut ranges = ranges;
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ if start < end => merged.push((start, end)),
            _ => {}
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_counted_from_the_last_even_number() {
        assert_eq!(sections(&[4, 8], &[4, 8]), 0);
        assert_eq!(sections(&[4, 8], &[6, 8]), 1);
        assert_eq!(sections(&[4], &[5]), 1);
        assert_eq!(sections(&[5], &[5]), 1);
        assert_eq!(sections(&[5], &[6]), 1);
        assert_eq!(sections(&[4], &[10]), 3);
        assert_eq!(sections(&[u32::MAX], &[0]), 1);
        assert_eq!(sections(&[4], &[4, 2]), 1);
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let ranges = vec![(30, 40), (0, 10), (10, 20), (15, 18), (35, 50), (60, 60)];
        assert_eq!(merged(ranges), [(0, 20), (30, 50)]);
    }
}
