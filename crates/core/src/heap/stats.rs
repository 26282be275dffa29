//! Where memory is, in six words: *live*, *cached*, *fragmented*, *free*,
//! *metadata*, and *released*, which is address space only.
//!
//! Each page of the heap that the system has given counts once: the five others
//! add up to what is resident, whatever the program does meanwhile. How a page's
//! bytes are shared among the words is as of the moment when its span was looked
//! at.
//!
//! Lock: `standstill` for each region, so that nothing is being given back of it;
//! those of the tiers, one at a time. Nothing is allocated.

use super::Heap;
use crate::central::ClassStats;
use crate::os::{LOOK_PAGES, PAGE_BYTES, PageScan, Resident};
use crate::page_heap::Piece;
use crate::region::{REGION_BYTES, REGION_GRANULES, Region};
use crate::size_class::{GRANULE_BYTES, GRANULE_PAGES, MAX_BATCH, SizeClass};
use crate::span::{Span, SpanKind};

const _: () = assert!(LOOK_PAGES * PAGE_BYTES == REGION_BYTES);

/// Figures of the heap, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapStats {
    /// Objects of the program's, as far as resident, rounded up to their size
    /// classes.
    pub live: usize,
    /// Free objects in the caches of CPUs and in transfer caches, as far as resident.
    pub cached: usize,
    /// What is resident and free in spans that hold others, and what the ends of
    /// spans leave unused.
    pub fragmented: usize,
    /// Resident pages in no span.
    pub free: usize,
    /// Resident pages of the allocator's own books.
    pub metadata: usize,
    /// The sum of these five.
    pub resident: usize,
    /// Pages mapped for objects that have no memory.
    pub released: usize,
    /// The part of `released` that lies in objects of the program's, which has not
    /// touched it.
    pub untouched: usize,
    /// Small objects of the program's, and the bytes of their classes, resident or
    /// not.
    pub small_count: usize,
    /// See `small_count`.
    pub small_bytes: usize,
    /// Large objects, and the bytes that the program may use of them, resident or
    /// not.
    pub large_count: usize,
    /// See `large_count`.
    pub large_bytes: usize,
    /// Mapped for objects.
    pub mapped: usize,
    /// Given back since the heap's first use.
    pub ever_released: usize,
    /// The part of that which was wanted again.
    pub ever_refaulted: usize,
}

/// What is counted as of a page that has no word yet.
struct Count {
    scan: PageScan,
    stats: HeapStats,
    /// Bytes of objects in use on pages without memory.
    off: usize,
}

impl Heap {
    /// The figures of one class, and its free objects in caches.
    pub fn class_stats(&self, class: SizeClass) -> (ClassStats, usize) {
        let cached = self.caches.count(class) + self.transfer[class.number()].len();
        (self.central[class.number()].stats(), cached)
    }

    /// The figures.
    pub fn stats(&self) -> HeapStats {
        self.ensure_started();
        let mut count = Count {
            scan: PageScan::open(),
            stats: HeapStats::default(),
            off: 0,
        };
        for class in SizeClass::all() {
            let (spans, cached) = self.class_stats(class);
            let live = spans.live.saturating_sub(cached);
            count.stats.small_count += live;
            count.stats.small_bytes += live * class.bytes();
        }
        self.count_objects(&mut count);
        self.count_cached(&mut count);
        self.count_books(&mut count);
        let mut stats = count.stats;
        let (released, refaulted) = self.pages.totals().bytes();
        (stats.ever_released, stats.ever_refaulted) = (released, refaulted);
        stats.resident = stats.live + stats.cached + stats.fragmented + stats.free + stats.metadata;
        stats
    }

    /// All that is mapped for objects: cached ones count as live.
    fn count_objects(&self, count: &mut Count) {
        let mut next = 0;
        for (start, region) in self.map.regions() {
            if start < next {
                continue;
            }
            let mut at = start;
            let mut piece = self.pages.piece_at(&self.map, start, region);
            // What was counted may be free by now, and one with what follows.
            if piece == Piece::Nothing && start == next {
                piece = match self.pages.rest_of_run(&self.map, start) {
                    0 => Piece::Nothing,
                    regions => Piece::Run(regions),
                };
            }
            next = start
                + match piece {
                    Piece::Nothing => continue,
                    Piece::Parted(_) => REGION_BYTES,
                    Piece::Run(regions) | Piece::Large(regions) => regions * REGION_BYTES,
                };
            while at < next {
                let _still = self.standstill.lock();
                let resident = count.scan.look(at, LOOK_PAGES);
                let resident = resident.unwrap_or_else(|| self.expected(at, piece));
                count.stats.mapped += REGION_BYTES;
                match piece {
                    Piece::Large(_) => self.count_large_part(count, start, at, &resident),
                    Piece::Parted(used) => self.count_parted(count, at, used, &resident),
                    _ => count.free(resident.count(0, LOOK_PAGES), LOOK_PAGES),
                }
                at += REGION_BYTES;
            }
        }
    }

    /// What the books say is resident, where the system does not: all that is in
    /// use and was not given back, and what is free and not known to be clean.
    fn expected(&self, start: usize, piece: Piece) -> Resident {
        let used = match piece {
            Piece::Nothing | Piece::Run(_) => 0,
            Piece::Parted(used) => used,
            Piece::Large(_) => return Resident::ALL,
        };
        let mut resident = Resident::ALL;
        let region = self.map.region_of(start);
        for page in 0..LOOK_PAGES {
            let at = page * PAGE_BYTES;
            let has = if used >> (page / GRANULE_PAGES) & 1 != 0 {
                let slot = self.map.slot_of(start + at);
                slot.is_none_or(|slot| slot.released() >> (page % GRANULE_PAGES) & 1 == 0)
            } else {
                region.is_some_and(|region: &Region| region.is_touched(at, PAGE_BYTES))
            };
            resident.set(page, has);
        }
        resident
    }

    /// A region that a large object fills.
    fn count_large_part(&self, count: &mut Count, head: usize, at: usize, resident: &Resident) {
        let Some(span) = self.map.slot_of(head) else {
            return;
        };
        if head == at {
            count.note_large(span);
        }
        count.large(span, at, at, at + REGION_BYTES, resident);
    }

    fn count_parted(&self, count: &mut Count, start: usize, used: u32, resident: &Resident) {
        let mut granule = 0;
        while granule < REGION_GRANULES {
            let at = start + granule * GRANULE_BYTES;
            let pages = granule * GRANULE_PAGES;
            let span = self.map.span_of(at).filter(|_| used >> granule & 1 != 0);
            // Read once: it may become shorter, or another, meanwhile.
            let found = span.map(|span| (span, span.end().min(start + REGION_BYTES)));
            let Some((span, end)) = found.filter(|&(_, end)| end > at) else {
                let has = resident.count(pages, pages + GRANULE_PAGES);
                count.free(has, GRANULE_PAGES);
                granule += 1;
                continue;
            };
            if span.kind() != SpanKind::Small || !self.count_small(count, span, start, resident) {
                if span.start() == at {
                    count.note_large(span);
                }
                count.large(span, start, at, end, resident);
            }
            granule += (end - at) / GRANULE_BYTES;
        }
    }

    /// A span of small objects in the region that begins at `start`. False where it
    /// is none any more.
    fn count_small(
        &self,
        count: &mut Count,
        span: &Span,
        start: usize,
        resident: &Resident,
    ) -> bool {
        let class = span.class();
        // As of some moment, of the span that was there: which one, is found out below.
        let first = (span.start().saturating_sub(start) / PAGE_BYTES).min(LOOK_PAGES);
        let pages = (span.granules() * GRANULE_PAGES).min(LOOK_PAGES - first);
        let central = &self.central[class.number()];
        let used = central.used_bytes(class, span, |page| {
            (first + page < LOOK_PAGES) && resident.has(first + page)
        });
        let Some((on, off)) = used else {
            return false;
        };
        let has = resident.count(first, first + pages) * PAGE_BYTES;
        count.stats.live += on;
        count.stats.fragmented += has.saturating_sub(on);
        count.stats.released += pages * PAGE_BYTES - has;
        count.off += off;
        true
    }

    /// Free objects in caches, which were counted as live.
    fn count_cached(&self, count: &mut Count) {
        let mut look = Granule::default();
        let (mut on, mut off) = (0, 0);
        for class in SizeClass::all() {
            let mut visit = |objects: &[usize]| {
                for &object in objects {
                    let (here, gone) = look.bytes(&mut count.scan, object, class.bytes());
                    on += here;
                    off += gone;
                }
            };
            self.caches.each_object(class, &mut visit);
            let transfer = &self.transfer[class.number()];
            let mut first = 0;
            loop {
                let mut objects = [0; MAX_BATCH];
                let found = transfer.copy(first, &mut objects);
                if found == 0 {
                    break;
                }
                visit(&objects[..found]);
                first += found;
            }
        }
        let stats = &mut count.stats;
        // They may have gone there since they were counted as something else.
        stats.cached = on.min(stats.live);
        stats.live -= stats.cached;
        stats.untouched += count.off.saturating_sub(off);
    }

    /// The allocator's own books.
    fn count_books(&self, count: &mut Count) {
        let scan = &mut count.scan;
        let mut pages = 0;
        let mut visit = |start: usize, bytes: usize| {
            let (first, end) = (start & !(PAGE_BYTES - 1), start + bytes);
            let mut at = first;
            while at < end {
                let length = (end - at).div_ceil(PAGE_BYTES).min(LOOK_PAGES);
                if let Some(resident) = scan.look(at, length) {
                    pages += resident.count(0, length);
                }
                at += length * PAGE_BYTES;
            }
        };
        visit(core::ptr::from_ref(self).addr(), size_of::<Self>());
        self.metadata.each_chunk(&mut visit);
        self.map.each_own_range(&mut visit);
        self.caches.each_own_range(&mut visit);
        count.stats.metadata = pages * PAGE_BYTES;
    }
}

impl Count {
    /// Pages of which so many have memory, in no span.
    fn free(&mut self, resident: usize, pages: usize) {
        self.stats.free += resident * PAGE_BYTES;
        self.stats.released += (pages - resident) * PAGE_BYTES;
    }

    fn note_large(&mut self, span: &Span) {
        self.stats.large_count += 1;
        self.stats.large_bytes += span.large_bytes();
    }

    /// The part `[at, end)` of a large object, in the region that begins at
    /// `start`.
    fn large(&mut self, span: &Span, start: usize, at: usize, end: usize, resident: &Resident) {
        let used = (span.start() + span.large_bytes()).clamp(at, end);
        let page = |address: usize| (address - start).div_ceil(PAGE_BYTES);
        let (first, border, last) = (page(at), page(used), page(end));
        let live = resident.count(first, border);
        let rest = resident.count(border, last);
        let stats = &mut self.stats;
        stats.live += live * PAGE_BYTES;
        stats.fragmented += rest * PAGE_BYTES;
        stats.untouched += (border - first - live) * PAGE_BYTES;
        stats.released += (last - first - live - rest) * PAGE_BYTES;
    }
}

/// The granule that was looked at last: objects in a cache are often neighbours.
#[derive(Default)]
struct Granule {
    start: usize,
    resident: Resident,
}

impl Granule {
    fn has(&mut self, scan: &mut PageScan, address: usize) -> bool {
        let start = address & !(GRANULE_BYTES - 1);
        if start != self.start {
            self.start = start;
            self.resident = scan.look(start, GRANULE_PAGES).unwrap_or_default();
        }
        self.resident.has((address - start) / PAGE_BYTES)
    }

    /// How many bytes of an object stand on pages that have memory, and how many do
    /// not.
    fn bytes(&mut self, scan: &mut PageScan, object: usize, bytes: usize) -> (usize, usize) {
        let end = object + bytes;
        let mut at = object;
        let mut on = 0;
        while at < end {
            let part = end.min((at | (PAGE_BYTES - 1)) + 1) - at;
            if self.has(scan, at) {
                on += part;
            }
            at += part;
        }
        (on, bytes - on)
    }
}
