//! The page map: every address leads to its span, or to none.

use proptest::prelude::*;
use thmalloc_core::metadata::Metadata;
use thmalloc_core::page_map::PageMap;
use thmalloc_core::region::{REGION_BYTES, REGION_GRANULES};
use thmalloc_core::size_class::{GRANULE_BYTES, SizeClass};
use thmalloc_core::span::SpanKind;

use crate::{Ground, cases};

#[test]
fn an_address_that_the_heap_never_had_leads_nowhere() {
    let Ground {
        map,
        pages,
        metadata,
    } = Ground::new();
    let nowhere = |address: usize| {
        assert!(map.span_of(address).is_none(), "{address:#x}");
        assert!(map.large_span_around(address).is_none(), "{address:#x}");
        assert_eq!(map.class_of(address), SizeClass::NONE, "{address:#x}");
    };
    let extremes = [
        0,
        1,
        GRANULE_BYTES,
        (1 << 47) - 1,
        1 << 47,
        1 << 63,
        usize::MAX,
    ];
    extremes.into_iter().for_each(nowhere);
    let span = pages.allocate(map, metadata, 3, 1).expect("memory");
    extremes.into_iter().for_each(nowhere);
    nowhere(span.start() + REGION_BYTES * 3);
    nowhere(span.start() - (1 << 30));
    proptest!(cases(2000), |(address in any::<usize>())| {
        if !(span.start()..span.end()).contains(&address) {
            nowhere(address);
        }
    });
}

#[test]
fn slots_are_apart_and_each_granule_has_its_own() {
    let (map, metadata) = (PageMap::new(), Metadata::new());
    let starts = [
        1 << 30,
        (1 << 40) - REGION_BYTES,
        (1 << 47) - 2 * REGION_BYTES,
    ];
    let mut slots = Vec::new();
    for start in starts {
        // Two regions; of the second start, in two leaves.
        map.cover(&metadata, start, 2 * REGION_BYTES)
            .expect("memory");
        for granule in 0..2 * REGION_GRANULES {
            let address = start + granule * GRANULE_BYTES;
            let slot = map.slot_of(address).expect("covered");
            assert_eq!(slot.kind(), SpanKind::Free);
            let last = map.slot_of(address + GRANULE_BYTES - 1).expect("covered");
            assert!(std::ptr::eq(slot, last), "one slot for the whole granule");
            slots.push(std::ptr::from_ref(slot));
        }
    }
    let count = slots.len();
    slots.sort();
    slots.dedup();
    assert_eq!(slots.len(), count);
    assert!(
        map.cover(&metadata, 1 << 47, REGION_BYTES).is_err(),
        "beyond user addresses"
    );
}

#[test]
fn the_class_table_says_what_was_entered() {
    let Ground {
        map,
        pages,
        metadata,
    } = Ground::new();
    let take = || pages.allocate(map, metadata, 5, 1).expect("memory");
    let spans: Vec<_> = (0..40).map(|_| take()).collect();
    assert!(map.window().granules != 0, "a window is reserved");
    let classes: Vec<_> = SizeClass::all().take(spans.len()).collect();
    for (span, &class) in spans.iter().zip(&classes) {
        map.set_class(span, class);
    }
    map.set_class(spans[7], SizeClass::NONE);
    for (index, (span, &class)) in spans.iter().zip(&classes).enumerate() {
        let expected = if index == 7 { SizeClass::NONE } else { class };
        for address in (span.start()..span.end()).step_by(GRANULE_BYTES / 2) {
            assert_eq!(map.class_of(address), expected, "span {index}");
        }
    }
}

#[test]
fn the_same_regions_are_covered_once() {
    let (map, metadata) = (PageMap::new(), Metadata::new());
    map.cover(&metadata, 1 << 40, REGION_BYTES).expect("memory");
    let used = metadata.usage().1;
    let slot = map.slot_of(1 << 40).map(std::ptr::from_ref);
    map.cover(&metadata, 1 << 40, 4 * REGION_BYTES)
        .expect("memory");
    assert_eq!(metadata.usage().1, used, "the GiB has its leaf already");
    assert_eq!(map.slot_of(1 << 40).map(std::ptr::from_ref), slot);
}
