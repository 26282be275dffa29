//! Where the page heap puts spans, and which free memory serves them first.
#![allow(unsafe_code)] // Writes to the spans' pages.

use thmalloc_core::os::{HugePages, PAGE_BYTES};
use thmalloc_core::page_heap::{Content, Piece};
use thmalloc_core::region::{REGION_BYTES, REGION_GRANULES};
use thmalloc_core::size_class::GRANULE_BYTES;
use thmalloc_core::span::Span;

use crate::{Ground, resident_pages};

#[test]
fn a_span_goes_into_the_fullest_region_that_has_a_hole() {
    let ground = Ground::new();
    let take = |granules| ground.take(granules);
    let region = |span: &Span| span.start() & !(REGION_BYTES - 1);
    // One region with 20 granules in use, another one with 25.
    let (first, second) = (take(20), take(25));
    assert_ne!(region(first), region(second));
    assert_eq!(
        region(take(5)),
        region(second),
        "fits both, and the second is fuller"
    );
    assert_eq!(region(take(5)), region(first), "fits the first only");
    assert_eq!(region(take(2)), region(second));
}

#[test]
fn what_a_large_span_leaves_of_its_last_region_serves_others() {
    let ground = Ground::new();
    let Ground { map, pages, .. } = ground;
    let large = ground.take(40);
    let small = ground.take(24);
    assert_eq!(small.start(), large.end());
    pages.check_invariants(map);
}

#[test]
fn a_run_is_known_by_its_first_region_and_from_inside() {
    let ground = Ground::new();
    let Ground { map, pages, .. } = ground;
    let span = ground.take(3 * REGION_GRANULES);
    let start = span.start();
    pages.free(map, span, 0);
    let at = |index: usize| start + index * REGION_BYTES;
    let piece = |index| pages.piece_at(map, at(index), map.region_of(at(index)).expect("a region"));
    let Piece::Run(regions) = piece(0) else {
        panic!("{:?}", piece(0));
    };
    assert!(regions >= 3);
    for index in 1..regions {
        assert_eq!(piece(index), Piece::Nothing, "{index}");
        assert_eq!(pages.rest_of_run(map, at(index)), regions - index);
    }
    let used = ground.take(2 * REGION_GRANULES);
    assert_eq!(used.start(), start);
    assert_eq!(pages.rest_of_run(map, at(1)), 0, "inside a large span");
    assert_eq!(pages.rest_of_run(map, at(2)), 0, "a run begins here");
}

#[test]
fn what_a_large_span_leaves_comes_after_a_warm_hole() {
    let ground = Ground::new();
    let Ground { map, pages, .. } = ground;
    let take = |granules| ground.take(granules);
    // A region of small spans with a warm hole of 16 granules, and a fuller one that
    // a large span ends in, warm, too.
    let (first, hole, last) = (take(2), take(16), take(14));
    let large = take(REGION_GRANULES + 20);
    let behind = take(8);
    assert_eq!(behind.start(), large.end(), "nothing else had room");
    pages.free(map, hole, hole.granules() * GRANULE_BYTES);
    pages.free(map, behind, behind.granules() * GRANULE_BYTES);
    assert_eq!(take(2).start(), first.end());
    // Once the large span is gone, what stands there is no end of it.
    let left = take(14);
    let kept = take(9);
    assert_eq!((left.end(), kept.start()), (last.start(), large.end()));
    pages.free(map, large, large.granules() * GRANULE_BYTES);
    pages.free(map, left, left.granules() * GRANULE_BYTES);
    let region = |span: &Span| span.start() & !(REGION_BYTES - 1);
    assert_eq!(
        region(take(1)),
        region(last),
        "the fullest comes first again"
    );
    pages.check_invariants(map);
}

fn take_regions(ground: &'static Ground, regions: usize) -> &'static Span {
    ground.take(regions * REGION_GRANULES)
}

#[test]
fn a_large_span_goes_where_free_regions_have_memory() {
    let ground = Ground::new();
    let (map, pages) = (&ground.map, &ground.pages);
    let take = |regions| take_regions(ground, regions);
    let free = |span: &'static Span, touched: usize| pages.free(map, span, touched * REGION_BYTES);
    // A run of twelve regions of which those from the sixth on have memory, and before
    // it in the lists a shorter one of which the last page of three has.
    let (short, _between, long, _behind) = (take(3), take(1), take(12), take(1));
    let (first, start) = (short.start(), long.start());
    free(short, 3);
    free(long, 12);
    while pages.release_region(map).is_some() {}
    let (short, front, back) = (take(3), take(5), take(7));
    assert_eq!((short.start(), front.start()), (first, start));
    free(back, 7);
    free(front, 0);
    free(short, 0);
    assert_eq!(pages.count(map).free, 7 * REGION_BYTES);
    let two = take(2);
    assert_eq!(
        two.start(),
        start + 5 * REGION_BYTES,
        "not at the run's beginning"
    );
    let more = take(3);
    assert_eq!(more.start(), two.end(), "nor in the shorter run");
    assert_eq!(pages.count(map).free, 2 * REGION_BYTES);
    // Two regions with memory at the end of each of two runs: the shorter one serves
    // two, the longer one three.
    free(two, 0);
    assert_eq!(take(2).start(), more.end());
    assert_eq!(take(3).start(), start + 4 * REGION_BYTES);
    assert_eq!(pages.count(map).free, 0);
    pages.check_invariants(map);
}

#[test]
fn of_runs_of_one_length_the_one_with_more_memory_serves() {
    let ground = Ground::new();
    let (map, pages) = (&ground.map, &ground.pages);
    let take = |regions| take_regions(ground, regions);
    // All of one mapping.
    pages.free(map, take(9), 0);
    let (_first, cold, _between, warm, _behind) = (take(1), take(3), take(1), take(3), take(1));
    let start = warm.start();
    assert!(cold.start() < start, "the cold one comes first by address");
    pages.free(map, cold, REGION_BYTES);
    pages.free(map, warm, 2 * REGION_BYTES);
    assert_eq!(take(3).start(), start);
    pages.check_invariants(map);
}

#[test]
fn a_large_object_gets_the_pages_of_free_regions_that_lie_apart() {
    let ground = Ground::new();
    let Ground {
        map,
        pages,
        metadata,
    } = ground;
    let take = |granules| ground.take(granules);
    let word = |span: &Span, page: usize| -> *mut u64 {
        std::ptr::with_exposed_provenance_mut(span.start() + page * PAGE_BYTES)
    };
    let full = REGION_BYTES / PAGE_BYTES;
    // All of one mapping, and not its first: what is mapped later is no neighbour of theirs.
    pages.free(map, take(9 * REGION_GRANULES), 0);
    let _first = take(REGION_GRANULES);
    let regions: Vec<_> = (0..8).map(|_| take(REGION_GRANULES)).collect();
    for (index, span) in regions.iter().enumerate() {
        for page in 0..full {
            // SAFETY: a page of the span, which is this test's.
            unsafe { word(span, page).write((index * full + page) as u64 + 1) };
        }
    }
    for span in regions.iter().step_by(2) {
        pages.free(map, span, REGION_BYTES);
    }
    let free = |count: usize| assert_eq!(pages.count(map).free, count * REGION_BYTES);
    free(4);
    // What is to be sparse does not get them.
    let granules = 2 * REGION_GRANULES + 5;
    let large = |content| {
        pages
            .allocate_large(map, metadata, granules, 1, content)
            .expect("memory")
    };
    let sparse = large(Content::Sparse);
    assert_eq!(resident_pages(sparse.start(), 2 * REGION_BYTES), 0);
    free(4);
    // What may have any content does, and the rest of its last region with it.
    let object = large(Content::Any);
    assert_eq!(object.granules(), granules);
    let resident = resident_pages(object.start(), granules * GRANULE_BYTES);
    assert_eq!(resident, granules * GRANULE_BYTES / PAGE_BYTES);
    assert_eq!(pages.count(map).free, 2 * REGION_BYTES - 5 * GRANULE_BYTES);
    pages.check_invariants(map);
    // Neighbours have kept what they had; what was lent is zero.
    for (index, span) in regions.iter().enumerate().skip(1).step_by(2) {
        for page in 0..full {
            // SAFETY: as above.
            let found = unsafe { word(span, page).read() };
            assert_eq!(found, (index * full + page) as u64 + 1);
        }
    }
    // Of three regions wanted one is there.
    let second = large(Content::Any);
    let resident = resident_pages(second.start(), granules * GRANULE_BYTES);
    assert_eq!(resident, full);
    let again = take(REGION_GRANULES);
    for page in 0..full {
        let region = map.region_of(again.start()).expect("covered");
        assert_eq!(region.touched_pages(), 0, "all that was free has moved");
        // SAFETY: as above.
        assert_eq!(unsafe { word(again, page).read() }, 0, "page {page}");
    }
    for span in [sparse, object, second, again] {
        pages.free(map, span, span.granules() * GRANULE_BYTES);
    }
    pages.check_invariants(map);
}

#[test]
fn where_the_system_fills_regions_by_itself_holes_go_back_and_stay_away() {
    let ground = Ground::new();
    let Ground { map, pages, .. } = ground;
    let warm = ground.take(1);
    pages.set_huge_pages(HugePages::Always);
    pages.free(map, warm, 0);
    let spans: Vec<_> = (0..REGION_GRANULES).map(|_| ground.take(1)).collect();
    let start = spans[0].start() & !(REGION_BYTES - 1);
    let fault = || {
        let place: *mut u8 = std::ptr::with_exposed_provenance_mut(spans[0].start());
        // SAFETY: the span is this test's.
        unsafe { place.write_volatile(1) };
    };
    let place = std::ptr::with_exposed_provenance_mut(start);
    // What the system does to every mapping where it always makes hugepages.
    // SAFETY: changes no content.
    unsafe { libc::madvise(place, REGION_BYTES, libc::MADV_HUGEPAGE) };
    fault();
    let filled = resident_pages(start, REGION_BYTES);
    for span in &spans[8..] {
        pages.free(map, span, 0);
    }
    pages.check_invariants(map);
    let region = map.region_of(start).expect("a region");
    while pages.release_hole(map, region).is_some() {}
    let kept = 8 * GRANULE_BYTES;
    assert_eq!(resident_pages(start + kept, REGION_BYTES - kept), 0);
    fault();
    assert_eq!(resident_pages(start + kept, REGION_BYTES - kept), 0);
    let full = REGION_BYTES / PAGE_BYTES;
    if filled != full {
        eprintln!("skipped: the system made no hugepage: {filled} of {full} pages");
    }
    // A system that is told so refuses to make one by itself.
    let refused = !thmalloc_core::os::collapse(place.cast(), REGION_BYTES);
    assert!(refused, "hugepages are forbidden there");
    // What is mapped at the same address later was told nothing.
    for span in &spans[..8] {
        pages.free(map, span, 0);
    }
    assert!(pages.is_settled(region));
    pages.unmap_free(map, 0);
    assert!(!pages.is_settled(region));
}
