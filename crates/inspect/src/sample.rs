//! Made-up readings, for the tests of what shows them (feature `sample`).
//!
//! Always: the six words, the size classes and the large objects of a reading
//! follow from its pages and spans, as they do in a real one. A sample's heap
//! begins at [`START`] and has no gaps.

use crate::snapshot::{
    ClassView, Consistency, HeapView, JSON_VERSION, LARGEST, Large, LargeObject, PageOwner,
    PageView, Process, RegionView, Resident, Scavenger, ScavengerState, Snapshot, SpanView, Totals,
    Words,
};

/// Where a sample's heap begins.
pub const START: u64 = 0x7f00_0000_0000;
const PAGE_BYTES: u64 = 4096;
const GRANULE_PAGES: usize = 16;
/// Pages of a region.
pub const REGION_PAGES: usize = 512;

/// What a slot of a small span holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// An object of the program's.
    Live,
    /// A free object in a cache.
    Cached,
    /// A free object in its span.
    Free,
}

/// A heap that is made up, span by span, in the order of their addresses.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pages: Vec<PageView>,
    /// With their first page in the heap in place of that in a region.
    spans: Vec<(usize, SpanView)>,
}

/// The size of a class's objects.
pub fn class_bytes(class: u8) -> u64 {
    match u64::from(class) {
        1 => 8,
        class @ 2..=17 => 16 * (class - 1),
        class => {
            let (doubling, step) = ((class - 18) / 8, (class - 18) % 8);
            (256 << doubling) + (step + 1) * (32 << doubling)
        }
    }
}

impl Sample {
    /// An empty heap.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `spans` spans of a class; `slot` says what each object is, by its
    /// number among all that are added here.
    pub fn small(mut self, class: u8, spans: u32, slot: impl Fn(u64) -> Slot) -> Self {
        let object_bytes = class_bytes(class);
        let granules = (4 * object_bytes).div_ceil(GRANULE_PAGES as u64 * PAGE_BYTES);
        let pages = granules as usize * GRANULE_PAGES;
        let bytes = pages as u64 * PAGE_BYTES;
        let objects = bytes / object_bytes;
        for span in 0..u64::from(spans) {
            let left = REGION_PAGES - self.pages.len() % REGION_PAGES;
            if left < pages {
                self = self.free(left, true);
            }
            let mut live_bytes = vec![0; pages];
            let (mut live, mut cached) = (0, 0);
            for object in 0..objects {
                match slot(span * objects + object) {
                    Slot::Live => live += 1,
                    Slot::Cached => cached += 1,
                    Slot::Free => {}
                }
                if slot(span * objects + object) == Slot::Live {
                    let (from, to) = (object * object_bytes, (object + 1) * object_bytes);
                    for page in from / PAGE_BYTES..to.div_ceil(PAGE_BYTES) {
                        let (first, end) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
                        live_bytes[page as usize] += to.min(end) - from.max(first);
                    }
                }
            }
            self.spans.push((
                self.pages.len(),
                SpanView {
                    first_page: 0,
                    pages: pages as u32,
                    address: START + self.pages.len() as u64 * PAGE_BYTES,
                    bytes,
                    owner: PageOwner::Small(class),
                    object_bytes,
                    objects: objects as u32,
                    live,
                    cached,
                },
            ));
            self.pages.extend(live_bytes.iter().map(|&live| PageView {
                owner: PageOwner::Small(class),
                resident: true,
                live: (live * 255 / PAGE_BYTES) as u8,
            }));
        }
        self
    }

    /// Adds a large object of so many pages, the first `touched` of which have
    /// memory.
    pub fn large(mut self, pages: usize, touched: usize) -> Self {
        let bytes = pages as u64 * PAGE_BYTES;
        self.spans.push((
            self.pages.len(),
            SpanView {
                first_page: 0,
                pages: pages as u32,
                address: START + self.pages.len() as u64 * PAGE_BYTES,
                bytes,
                owner: PageOwner::Large,
                object_bytes: bytes,
                objects: 1,
                live: 1,
                cached: 0,
            },
        ));
        self.pages.extend((0..pages).map(|page| PageView {
            owner: PageOwner::Large,
            resident: page < touched,
            live: 255,
        }));
        self
    }

    /// Adds pages in no span, with memory or without.
    pub fn free(mut self, pages: usize, resident: bool) -> Self {
        let page = PageView {
            owner: PageOwner::Free,
            resident,
            live: 0,
        };
        self.pages.resize(self.pages.len() + pages, page);
        self
    }

    /// Gives back all pages in no span, and those of small spans without an
    /// object of the program's.
    pub fn trimmed(mut self) -> Self {
        for page in &mut self.pages {
            if page.owner != PageOwner::Large && page.live == 0 {
                page.resident = false;
            }
        }
        self
    }

    /// A reading of it: of a process that has nothing else.
    pub fn snapshot(mut self) -> Snapshot {
        let rest = self.pages.len().next_multiple_of(REGION_PAGES) - self.pages.len();
        self = self.free(rest, false);
        let size_classes = self.size_classes();
        let large = self.large_objects();
        let bytes = self.words(&size_classes, &large);
        let scavenger = Scavenger {
            state: ScavengerState::Asleep,
            delay_ms: 300,
            last_turn_ago_ms: Some(1200),
            next_turn_in_ms: None,
            last_release_ago_ms: Some(1500),
        };
        let library = "/usr/lib/libthmalloc.so".to_owned();
        Snapshot {
            version: JSON_VERSION,
            process: Process {
                pid: 4711,
                name: "sample".into(),
                command: "sample --made up".into(),
                threads: 2,
                library: library.clone(),
                release: "0.1.0".into(),
                cache_mode: "rseq".into(),
                heaps_left_out: 0,
            },
            time_ms: 1_800_000_000_000,
            consistency: Consistency {
                exact: true,
                attempts: 1,
                changes: 0,
                by_page: true,
            },
            heaps: vec![HeapView {
                library,
                release: "0.1.0".into(),
                cache_mode: "rseq".into(),
                bytes,
                scavenger: scavenger.clone(),
            }],
            bytes,
            resident: Resident {
                total: bytes.resident,
                anonymous: bytes.resident,
                heap: bytes.resident,
                ..Resident::default()
            },
            totals: Totals::default(),
            size_classes,
            cpu_caches: Vec::new(),
            large,
            scavenger,
            regions: self.regions(),
        }
    }

    fn resident(&self, first: usize, pages: u32) -> u64 {
        let pages = &self.pages[first..first + pages as usize];
        pages.iter().filter(|page| page.resident).count() as u64 * PAGE_BYTES
    }

    fn size_classes(&self) -> Vec<ClassView> {
        let mut classes: Vec<ClassView> = Vec::new();
        for class in 1..=97 {
            let spans = self
                .spans
                .iter()
                .filter(|(_, span)| span.owner == PageOwner::Small(class));
            let mut view: Option<ClassView> = None;
            for (first, span) in spans {
                let view = view.get_or_insert_with(|| ClassView {
                    class: class.into(),
                    bytes: span.object_bytes,
                    live: 0,
                    cached: 0,
                    free: 0,
                    spans: 0,
                    span_bytes: span.bytes,
                    span_objects: span.objects.into(),
                    released_pages: 0,
                    fragmented: 0,
                    resident: 0,
                    waste_at_most: 0,
                });
                let resident = self.resident(*first, span.pages);
                let used = u64::from(span.live + span.cached) * span.object_bytes;
                view.live += u64::from(span.live);
                view.cached += u64::from(span.cached);
                view.free += u64::from(span.objects - span.live - span.cached);
                view.spans += 1;
                view.released_pages += u64::from(span.pages) - resident / PAGE_BYTES;
                view.resident += resident;
                view.fragmented += resident.saturating_sub(used);
            }
            classes.extend(view.map(|mut view| {
                let below = if class == 1 {
                    0
                } else {
                    class_bytes(class - 1)
                };
                view.waste_at_most = view.live * (view.bytes - below - 1);
                view
            }));
        }
        classes
    }

    fn large_objects(&self) -> Large {
        let mut largest: Vec<LargeObject> = Vec::new();
        for (first, span) in &self.spans {
            if span.owner == PageOwner::Large {
                largest.push(LargeObject {
                    address: span.address,
                    bytes: span.bytes,
                    resident: self.resident(*first, span.pages),
                });
            }
        }
        largest.sort_by_key(|object| std::cmp::Reverse(object.bytes));
        let mut large = Large {
            count: largest.len() as u64,
            bytes: largest.iter().map(|object| object.bytes).sum(),
            resident: largest.iter().map(|object| object.resident).sum(),
            largest,
        };
        large.largest.truncate(LARGEST);
        large
    }

    fn words(&self, classes: &[ClassView], large: &Large) -> Words {
        let bytes = |pick: fn(&ClassView) -> u64| classes.iter().map(pick).sum::<u64>();
        let pages = |pick: fn(&&PageView) -> bool| {
            self.pages.iter().filter(pick).count() as u64 * PAGE_BYTES
        };
        let mut words = Words {
            live: bytes(|class| class.live * class.bytes) + large.resident,
            cached: bytes(|class| class.cached * class.bytes),
            fragmented: bytes(|class| class.fragmented),
            free: pages(|page| page.owner == PageOwner::Free && page.resident),
            metadata: 1 << 20,
            released: pages(|page| !page.resident),
            untouched: large.bytes - large.resident,
            resident: 0,
        };
        words.resident = words.live + words.cached + words.fragmented + words.free + words.metadata;
        words
    }

    fn regions(&self) -> Vec<RegionView> {
        let region = |(number, pages): (usize, &[PageView])| RegionView {
            address: START + (number * REGION_PAGES) as u64 * PAGE_BYTES,
            pages: pages.to_vec(),
            spans: Vec::new(),
        };
        let mut regions: Vec<_> = self
            .pages
            .chunks(REGION_PAGES)
            .enumerate()
            .map(region)
            .collect();
        for (first, span) in &self.spans {
            let end = first + span.pages as usize;
            let covered = first / REGION_PAGES..end.div_ceil(REGION_PAGES);
            let regions = regions.iter_mut().enumerate();
            for (number, region) in regions.take(covered.end).skip(covered.start) {
                let start = number * REGION_PAGES;
                let from = start.max(*first);
                let mut part = span.clone();
                part.first_page = (from - start) as u32;
                part.pages = (end.min(start + REGION_PAGES) - from) as u32;
                region.spans.push(part);
            }
        }
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_holds_the_sum_rule_and_covers_its_spans() {
        let snapshot = Sample::new()
            .small(4, 3, |object| match object % 3 {
                0 => Slot::Live,
                1 => Slot::Cached,
                _ => Slot::Free,
            })
            .large(1300, 700)
            .free(64, true)
            .small(97, 2, |_| Slot::Live)
            .snapshot();
        let words = snapshot.bytes;
        let covered: u64 = snapshot
            .regions
            .iter()
            .flat_map(|region| &region.pages)
            .map(|page| u64::from(page.resident) * PAGE_BYTES)
            .sum();
        assert_eq!(words.resident, covered + words.metadata);
        assert_eq!(words.untouched, 600 * PAGE_BYTES);
        for region in &snapshot.regions {
            for span in &region.spans {
                let pages = span.first_page..span.first_page + span.pages;
                assert!(
                    pages
                        .clone()
                        .all(|page| region.pages[page as usize].owner == span.owner)
                );
            }
        }
    }

    #[test]
    fn classes_have_the_sizes_of_the_allocator() {
        let sizes = [
            (1, 8),
            (2, 16),
            (17, 256),
            (18, 288),
            (25, 512),
            (97, 262_144),
        ];
        assert!(
            sizes
                .iter()
                .all(|&(class, bytes)| class_bytes(class) == bytes)
        );
    }
}
