//! The page heap against a list of live spans: they never overlap, stand where
//! they were asked to, keep what is written into them; what the books call
//! untouched is zero; free neighbours merge, all of them.
#![allow(unsafe_code)] // Writes to the spans' pages.

use std::collections::BTreeMap;

use proptest::prelude::*;
use thmalloc_core::os::PAGE_BYTES;
use thmalloc_core::page_heap::Content;
use thmalloc_core::region::{REGION_BYTES, REGION_GRANULES, RegionKind};
use thmalloc_core::size_class::GRANULE_BYTES;
use thmalloc_core::span::{Span, SpanKind};

use crate::{Ground, cases};

#[derive(Clone, Debug)]
enum Step {
    /// A span, whether it adopts what lies free elsewhere, and how many of its
    /// pages are written, in 256ths.
    Allocate {
        granules: usize,
        align: usize,
        adopts: bool,
        written: usize,
    },
    Free(usize),
    /// The system takes the pages first.
    FreeReleased(usize),
    Extend {
        index: usize,
        more: usize,
    },
    Shrink {
        index: usize,
        share: usize,
    },
    Move {
        index: usize,
        more: usize,
    },
    ReleaseFree,
    /// One free region, or one hole.
    ReleaseSome {
        hole: bool,
    },
    UnmapFree,
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1..12_usize,
        3 => 1..200_usize,
        1 => (1..6_usize).prop_map(|regions| regions * REGION_GRANULES),
        1 => (1..5_usize, 0..3_usize).prop_map(|(regions, more)| regions * REGION_GRANULES - 1 + more),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let written = prop_oneof![3 => 0..20_usize, 1 => 0..=256_usize];
    let align = prop_oneof![3 => Just(1_usize), 1 => (0..=7_u32).prop_map(|shift| 1 << shift)];
    let allocate = (lengths(), align, any::<bool>(), written).prop_map(
        |(granules, align, adopts, written)| Step::Allocate {
            granules,
            align,
            adopts,
            written,
        },
    );
    let index = any::<usize>;
    let step = prop_oneof![
        30 => allocate,
        22 => index().prop_map(Step::Free),
        3 => index().prop_map(Step::FreeReleased),
        10 => (index(), 1..80_usize).prop_map(|(index, more)| Step::Extend { index, more }),
        6 => (index(), 0..256_usize).prop_map(|(index, share)| Step::Shrink { index, share }),
        3 => (index(), 0..100_usize).prop_map(|(index, more)| Step::Move { index, more }),
        3 => Just(Step::ReleaseFree),
        4 => any::<bool>().prop_map(|hole| Step::ReleaseSome { hole }),
        1 => Just(Step::UnmapFree),
    ];
    proptest::collection::vec(step, 1..150)
}

/// A live span, and its pages that were written.
struct Live {
    span: &'static Span,
    start: usize,
    granules: usize,
    written: usize,
    seed: u64,
}

impl Live {
    fn bytes(&self) -> usize {
        self.granules * GRANULE_BYTES
    }

    /// The beginning of a page.
    fn word(start: usize, page: usize) -> *mut u64 {
        std::ptr::with_exposed_provenance_mut(start + page * PAGE_BYTES)
    }

    fn stamp(&self, page: usize) -> u64 {
        self.seed << 32 | page as u64 | 1 << 63
    }

    fn write(&mut self, pages: usize) {
        self.written = pages;
        for page in 0..pages {
            // SAFETY: a page of the span, which is the model's alone.
            unsafe { Self::word(self.start, page).write(self.stamp(page)) };
        }
    }

    /// Are the first pages as they were written?
    fn check(&self, pages: usize) {
        for page in 0..pages.min(self.written) {
            // SAFETY: as above.
            let word = unsafe { Self::word(self.start, page).read() };
            assert_eq!(
                word,
                self.stamp(page),
                "page {page} of the span at {:#x}",
                self.start
            );
        }
    }
}

struct Model {
    ground: &'static Ground,
    live: Vec<Live>,
    ranges: BTreeMap<usize, usize>,
    seed: u64,
}

impl Model {
    fn new() -> Self {
        Self {
            ground: Ground::new(),
            live: Vec::new(),
            ranges: BTreeMap::new(),
            seed: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        let Ground {
            map,
            pages,
            metadata,
        } = self.ground;
        match *step {
            Step::Allocate {
                granules,
                align,
                adopts,
                written,
            } => {
                let span = match adopts {
                    true => pages.allocate_large(map, metadata, granules, align, Content::Any),
                    false => pages.allocate(map, metadata, granules, align),
                };
                let span = span.expect("memory");
                assert!(
                    span.start().is_multiple_of(align * GRANULE_BYTES),
                    "{:#x}",
                    span.start()
                );
                self.add(span, granules);
                let live = self.live.last_mut().expect("just added");
                live.write(live.bytes() / PAGE_BYTES * written / 256);
            }
            Step::Free(index) => {
                if let Some(live) = self.remove(index) {
                    pages.free(map, live.span, live.written * PAGE_BYTES);
                }
            }
            Step::FreeReleased(index) => {
                if let Some(live) = self.remove(index) {
                    let start = std::ptr::with_exposed_provenance_mut(live.start);
                    // SAFETY: the span is the model's, and given up.
                    let done = unsafe { thmalloc_core::os::decommit(start, live.bytes()) };
                    assert!(done, "the system takes pages back");
                    pages.free_released(map, live.span, live.bytes());
                }
            }
            Step::Extend { index, more } => self.extend(index, more),
            Step::Shrink { index, share } => {
                if let Some(live) = self.remove(index) {
                    let granules = (live.granules * share / 256).max(1);
                    let kept = granules * GRANULE_BYTES / PAGE_BYTES;
                    if granules < live.granules {
                        pages.touch(map, live.start, live.written * PAGE_BYTES);
                        pages.shrink(map, live.span, granules);
                    }
                    let written = live.written.min(kept);
                    self.put_back(Live {
                        granules,
                        written,
                        ..live
                    });
                }
            }
            Step::Move { index, more } => self.relocate(index, more),
            Step::ReleaseFree => {
                while self.release_some(false).is_some() || self.release_some(true).is_some() {}
                assert_eq!(pages.count(map).free, 0, "free and not given back");
            }
            Step::ReleaseSome { hole } => {
                let before = pages.count(map).free;
                let released = self.release_some(hole).unwrap_or(0);
                assert_eq!(pages.count(map).free, before - released);
            }
            Step::UnmapFree => {
                pages.unmap_free(map, 0);
                assert_eq!(
                    self.free_regions().len(),
                    0,
                    "free regions that are still mapped"
                );
            }
        }
    }

    /// Gives a region or a hole back, if there is any, and returns the bytes.
    fn release_some(&self, hole: bool) -> Option<usize> {
        let Ground { map, pages, .. } = self.ground;
        let released = match hole {
            false => pages.release_region(map),
            true => map
                .regions()
                .find_map(|(_, region)| pages.release_hole(map, region)),
        }?;
        assert!(!released.refused);
        Some(released.pages * PAGE_BYTES)
    }

    fn extend(&mut self, index: usize, more: usize) {
        let Ground { map, pages, .. } = self.ground;
        let Some(live) = self.remove(index) else {
            return;
        };
        let granules = live.granules + more;
        let room = self.room_behind(&live, more);
        let done = pages.extend(map, live.span, granules);
        assert_eq!(
            done, room,
            "{} and {more} granules at {:#x}",
            live.granules, live.start
        );
        let granules = if done { granules } else { live.granules };
        self.put_back(Live { granules, ..live });
    }

    /// Is what follows the span free, and may the span go there? Beyond its
    /// region it takes whole regions, and only if it begins with one.
    fn room_behind(&self, live: &Live, more: usize) -> bool {
        let end = live.start + live.bytes();
        let border = end.next_multiple_of(REGION_BYTES);
        let mut new_end = end + more * GRANULE_BYTES;
        if new_end > border {
            if !live.start.is_multiple_of(REGION_BYTES) {
                return false;
            }
            new_end = new_end.next_multiple_of(REGION_BYTES);
        }
        (end..new_end)
            .step_by(GRANULE_BYTES)
            .all(|granule| self.ground.pages.is_free(&self.ground.map, granule))
    }

    /// Only what begins with a region moves by remapping.
    fn relocate(&mut self, index: usize, more: usize) {
        let Ground {
            map,
            pages,
            metadata,
        } = self.ground;
        let Some(live) = self.remove(index) else {
            return;
        };
        if live.granules < REGION_GRANULES || !live.start.is_multiple_of(REGION_BYTES) {
            return self.put_back(live);
        }
        let bytes = live.written * PAGE_BYTES;
        let granules = live.granules + more;
        match pages.move_large(map, metadata, live.span, bytes, granules) {
            Ok(Some(span)) => {
                let (start, granules) = (span.start(), span.granules());
                assert!(start.is_multiple_of(REGION_BYTES));
                self.put_back(Live {
                    span,
                    start,
                    granules,
                    ..live
                });
            }
            Ok(None) => self.put_back(live),
            Err(_) => panic!("no memory to move to"),
        }
        let moved = self.live.last().expect("put back");
        moved.check(usize::MAX);
    }

    /// Takes a new span in; what the books call untouched must be zero.
    fn add(&mut self, span: &'static Span, granules: usize) {
        self.seed += 1;
        let live = Live {
            span,
            start: span.start(),
            granules,
            written: 0,
            seed: self.seed,
        };
        assert_eq!(span.granules(), granules);
        assert_eq!(span.kind(), SpanKind::Large);
        for page in 0..live.bytes() / PAGE_BYTES {
            let address = live.start + page * PAGE_BYTES;
            let region = self.ground.map.region_of(address).expect("covered");
            if !region.is_touched(address % REGION_BYTES, PAGE_BYTES) {
                // SAFETY: a page of the span, which is the model's alone.
                let word = unsafe { Live::word(live.start, page).read() };
                assert_eq!(word, 0, "an untouched page at {address:#x}");
            }
        }
        self.put_back(live);
    }

    fn put_back(&mut self, live: Live) {
        let end = live.start + live.bytes();
        let before = self.ranges.range(..end).next_back();
        assert!(
            before.is_none_or(|(_, &behind)| behind <= live.start),
            "two spans overlap"
        );
        self.ranges.insert(live.start, end);
        self.live.push(live);
    }

    fn remove(&mut self, index: usize) -> Option<Live> {
        let index = index.checked_rem(self.live.len())?;
        let live = self.live.swap_remove(index);
        live.check(usize::MAX);
        self.ranges.remove(&live.start);
        Some(live)
    }

    /// All regions in free runs.
    fn free_regions(&self) -> Vec<usize> {
        let mut regions = Vec::new();
        let mut behind = 0;
        for (start, region) in self.ground.map.regions() {
            if region.kind() == RegionKind::Free && start >= behind {
                assert!(
                    start > behind || behind == 0,
                    "two runs are neighbours at {start:#x}"
                );
                behind = start + region.run.get() as usize * REGION_BYTES;
                regions.extend((start..behind).step_by(REGION_BYTES));
            }
        }
        regions
    }

    fn compare(&self) {
        let Ground { map, pages, .. } = self.ground;
        pages.check_invariants(map);
        let stats = pages.count(map);
        let live: usize = self.live.iter().map(Live::bytes).sum();
        assert_eq!(stats.in_use, live);
        self.free_regions();
    }

    /// From each granule of the heap to its span, and no other.
    fn compare_map(&self) {
        let Ground { map, pages, .. } = self.ground;
        for live in &self.live {
            for granule in 0..live.granules {
                let address = live.start + granule * GRANULE_BYTES + 77;
                let found = map
                    .span_of(address)
                    .or_else(|| map.large_span_around(address));
                let found = found.map(std::ptr::from_ref);
                assert_eq!(
                    found,
                    Some(std::ptr::from_ref(live.span)),
                    "granule {granule}"
                );
                assert!(!pages.is_free(map, address));
            }
        }
        for start in self.free_regions() {
            for address in (start..start + REGION_BYTES).step_by(GRANULE_BYTES) {
                assert!(map.span_of(address).is_none(), "a span at {address:#x}");
                assert!(map.large_span_around(address).is_none());
                assert!(pages.is_free(map, address));
            }
        }
    }

    /// Frees all: what is left are runs of free regions, each as long as can be.
    fn finish(mut self) {
        let Ground { map, pages, .. } = self.ground;
        self.compare_map();
        while let Some(live) = self.remove(0) {
            pages.free(map, live.span, live.written * PAGE_BYTES);
        }
        self.compare();
        let mapped = pages.count(map).mapped;
        assert_eq!(
            self.free_regions().len() * REGION_BYTES,
            mapped,
            "all regions are free"
        );
        assert_eq!(pages.unmap_free(map, 0), mapped);
    }
}

#[test]
fn spans_agree_with_the_model() {
    proptest!(cases(60), |(steps in steps())| {
        let mut model = Model::new();
        for (count, step) in steps.iter().enumerate() {
            model.run(step);
            model.compare();
            if count % 16 == 15 {
                model.compare_map();
            }
        }
        model.finish();
    });
}
