//! What readers and checks ask the page heap.
//!
//! Always: nothing here changes anything; an answer is of the moment at which it was given.
//! Lock: the page heap's.

use crate::fatal;
use crate::os;
use crate::page_map::PageMap;
use crate::region::{REGION_BYTES, REGION_GRANULES, Region, RegionKind, granule_in_region};
use crate::size_class::GRANULE_BYTES;

use super::{PageHeap, State, large, region_at};

/// What stands at a region's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Nothing of its own: not the heap's, or inside a run or a large object.
    Nothing,
    /// A run of so many free regions.
    Run(usize),
    /// A parted region, with a bit for each granule in use.
    Parted(u32),
    /// A large object that fills so many regions.
    Large(usize),
}

/// Figures of the page heap, in bytes: as all regions say, one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Mapped for objects.
    pub mapped: usize,
    /// In spans.
    pub in_use: usize,
    /// Free, and possibly holding memory of the system's.
    pub free: usize,
}

impl PageHeap {
    /// Does the address lie in regions of the heap that nobody uses there?
    pub fn is_free(&self, map: &PageMap, address: usize) -> bool {
        let state = self.state.lock();
        let Some(region) = map.region_of(address) else {
            return false;
        };
        if region.kind() == RegionKind::Parted {
            return region.used.get() >> granule_in_region(address) & 1 == 0;
        }
        let mut inside = false;
        state.runs.each(|head| {
            let end = head.start() + head.run.get() as usize * REGION_BYTES;
            inside |= (head.start()..end).contains(&address);
        });
        inside
    }

    /// Counts all regions, for checks.
    pub fn count(&self, map: &PageMap) -> Counted {
        self.state.lock().count(map)
    }

    /// What stands at the beginning of the region at `start`, as of now.
    pub fn piece_at(&self, map: &PageMap, start: usize, region: &Region) -> Piece {
        let _state = self.state.lock();
        match region.kind() {
            RegionKind::None => Piece::Nothing,
            // The last of a run, too, has the run's length.
            RegionKind::Free if region.start() != start => Piece::Nothing,
            RegionKind::Free => Piece::Run(region.run.get() as usize),
            RegionKind::Parted => Piece::Parted(region.used.get()),
            RegionKind::LargeHead => Piece::Large(large::whole_regions(map, region)),
        }
    }

    /// How many free regions follow from `start` on, as of now, where that is
    /// inside a run.
    pub fn rest_of_run(&self, map: &PageMap, start: usize) -> usize {
        let _state = self.state.lock();
        let mut before = start;
        loop {
            before = match before.checked_sub(REGION_BYTES) {
                Some(before) => before,
                None => return 0,
            };
            let Some(region) = map.region_of(before) else {
                return 0;
            };
            match region.kind() {
                RegionKind::None => {}
                RegionKind::Free if region.start() == before => {
                    let run = region.run.get() as usize;
                    return run.saturating_sub((start - before) / REGION_BYTES);
                }
                _ => return 0,
            }
        }
    }

    /// Checks the books against each other; aborts where they differ.
    pub fn check_invariants(&self, map: &PageMap) {
        let state = self.state.lock();
        state.parted.check_invariants(map);
        state.runs.check_invariants(map);
        // Regions of runs and of large objects have no kind of their own but
        // for the first, so count what the lists and the heads say.
        let mut counted = state.runs.regions();
        for (_, region) in map.regions() {
            counted += match region.kind() {
                RegionKind::Parted => 1,
                RegionKind::LargeHead => large::whole_regions(map, region),
                RegionKind::Free | RegionKind::None => 0,
            };
        }
        if counted != state.regions {
            fatal::inconsistent("regions mapped and regions known differ, by", counted);
        }
        let stats = state.count(map);
        let counted = (state.used * GRANULE_BYTES, state.dirty() * os::PAGE_BYTES);
        if counted != (stats.in_use, stats.free) {
            fatal::inconsistent("bytes in use and bytes counted differ", stats.in_use);
        }
    }
}

impl State {
    /// Walks all regions.
    fn count(&self, map: &PageMap) -> Counted {
        let mut stats = Counted {
            mapped: self.regions * REGION_BYTES,
            ..Counted::default()
        };
        let mut free_regions = 0;
        self.runs
            .each(|head| free_regions += head.run.get() as usize);
        let mut free_granules = 0;
        self.parted.each(|region| {
            free_granules += REGION_GRANULES - region.used_count();
            stats.free += touched_free_bytes(region);
        });
        self.runs.each(|head| {
            for index in 0..head.dirty_run.get() as usize {
                let region = region_at(map, head.start() + index * REGION_BYTES);
                stats.free += region.touched_pages() * os::PAGE_BYTES;
            }
        });
        stats.in_use = stats.mapped - free_regions * REGION_BYTES - free_granules * GRANULE_BYTES;
        stats
    }
}

fn touched_free_bytes(region: &Region) -> usize {
    let free = (0..REGION_GRANULES).filter(|granule| region.used.get() >> granule & 1 == 0);
    let pages: usize = free
        .map(|granule| region.touched_in(granule * GRANULE_BYTES, GRANULE_BYTES))
        .sum();
    pages * os::PAGE_BYTES
}
