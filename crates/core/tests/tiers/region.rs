//! Regions: holes and touched pages against arrays.

use proptest::prelude::*;
use thmalloc_core::metadata::Metadata;
use thmalloc_core::os::PAGE_BYTES;
use thmalloc_core::region::{REGION_BYTES, REGION_GRANULES, Region, granule_mask};

use crate::cases;

const PAGES: usize = REGION_BYTES / PAGE_BYTES;

#[allow(unsafe_code)] // Zeroed metadata is a region of no kind.
fn new_region() -> &'static Region {
    let metadata = Metadata::new();
    let piece = metadata.allocate::<Region>().expect("memory");
    // SAFETY: zeroed, aligned, there for good; a region is words only, for
    // which zeros are values.
    unsafe { piece.as_ref() }
}

/// A part of a region: mostly whole pages, sometimes any bytes.
fn parts() -> impl Strategy<Value = (usize, usize)> {
    let pages = (0..PAGES, 1..PAGES).prop_map(|(first, count)| {
        let count = count.min(PAGES - first);
        (first * PAGE_BYTES, count * PAGE_BYTES)
    });
    let few = (0..PAGES, 1..4_usize).prop_map(|(first, count)| {
        let count = count.min(PAGES - first);
        (first * PAGE_BYTES, count * PAGE_BYTES)
    });
    let bytes = (0..REGION_BYTES, 1..REGION_BYTES)
        .prop_map(|(first, count)| (first, count.min(REGION_BYTES - first)));
    prop_oneof![pages, few, bytes]
}

fn pages_of((first, bytes): (usize, usize)) -> std::ops::Range<usize> {
    first / PAGE_BYTES..(first + bytes).div_ceil(PAGE_BYTES)
}

#[test]
fn touched_pages_are_those_of_the_model() {
    let changes = proptest::collection::vec((any::<bool>(), parts()), 1..20);
    let questions = proptest::collection::vec(parts(), 1..10);
    proptest!(cases(400), |(changes in changes, questions in questions)| {
        let region = new_region();
        let mut model = [false; PAGES];
        for (touch, part) in changes {
            match touch {
                true => region.touch(part.0, part.1),
                // Only whole pages are given back.
                false if part.0 % PAGE_BYTES != 0 => continue,
                false => region.untouch(part.0, part.1),
            }
            model[pages_of(part)].fill(touch);
        }
        assert_eq!(region.touched_pages(), model.iter().filter(|&&page| page).count());
        for part in questions {
            let pages = pages_of(part);
            assert_eq!(region.is_touched(part.0, part.1), model[pages.clone()].contains(&true));
            let mut seen = [false; PAGES];
            let mut behind = 0;
            region.each_touched(part.0, part.1, |first, length| {
                assert!(first >= behind && length != 0, "runs go upwards");
                behind = first + length;
                for page in pages_of((first, length)) {
                    assert!(!std::mem::replace(&mut seen[page], true), "page {page} twice");
                }
            });
            for page in 0..PAGES {
                let expected = pages.contains(&page) && model[page];
                assert_eq!(seen[page], expected, "page {page} of {part:?}");
            }
        }
    });
}

/// The first granule of each place with room, and how long its hole is.
fn places(used: u32, count: usize, align: usize) -> Vec<(usize, usize)> {
    let free = |granule: usize| used >> granule & 1 == 0;
    (0..REGION_GRANULES)
        .step_by(align)
        .filter(|&first| first + count <= REGION_GRANULES)
        .filter(|&first| (first..first + count).all(free))
        .map(|first| {
            let before = (0..first).rev().take_while(|&g| free(g)).count();
            let after = (first..REGION_GRANULES).take_while(|&g| free(g)).count();
            (before + after, first)
        })
        .collect()
}

#[test]
fn a_hole_is_found_where_there_is_one_and_it_is_the_smallest() {
    let used = prop_oneof![
        any::<u32>(),
        (any::<u32>(), any::<u32>()).prop_map(|(a, b)| a & b),
        (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(a, b, c)| a & b & c),
        (0..32_usize, 0..33_usize).prop_map(|(first, count)| granule_mask(first, count)),
    ];
    let request = (used, 1..=32_usize, 0..=5_u32);
    proptest!(cases(3000), |((used, count, shift) in request)| {
        let align = 1 << shift;
        let region = new_region_like(used);
        let places_here = places(used, count, align);
        assert_eq!(region.find_hole(count, align), places_here.iter().min().map(|p| p.1));
        let longest = places(used, 1, 1).iter().map(|place| place.0).max().unwrap_or(0);
        assert_eq!(region.find_longest_hole(), longest);
        assert_eq!(region.used_count(), used.count_ones() as usize);
    });
}

/// One region serves all: a mapping for each would be many.
fn new_region_like(used: u32) -> &'static Region {
    static REGION: std::sync::OnceLock<&'static Region> = std::sync::OnceLock::new();
    let region = REGION.get_or_init(new_region);
    region.used.set(used);
    region
}
