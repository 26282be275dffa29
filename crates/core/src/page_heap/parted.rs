//! Regions parted into granules, found by how full they are and by their
//! longest hole.
//!
//! Always: a parted region with a hole is in the list of its number of granules
//! in use and its longest hole; a full one is in none.

use crate::fatal;
use crate::page_map::PageMap;
use crate::region::{REGION_GRANULES, Region, RegionKind, granule_mask};
use crate::span::SpanKind;
use crate::sync::List;

const COUNTS: usize = REGION_GRANULES + 1;

/// The parted regions.
pub struct PartedRegions {
    /// By granules in use, then by longest hole.
    lists: [[List<Region>; COUNTS]; COUNTS],
    /// Of each number in use, which longest holes there are, a bit each.
    holes: [u64; COUNTS],
}

impl PartedRegions {
    /// None.
    pub const fn new() -> Self {
        Self {
            lists: [const { [const { List::new() }; COUNTS] }; COUNTS],
            holes: [0; COUNTS],
        }
    }

    /// The fullest region with a hole for `granules` at a multiple of `align`,
    /// and of those the one whose longest hole is the smallest; with the
    /// first granule of the hole.
    pub fn find(&self, granules: usize, align: usize) -> Option<(&'static Region, usize)> {
        // A hole of this length has room whatever its place.
        let enough = granules + align - 1;
        for used in (0..COUNTS).rev() {
            let fitting = self.holes[used] >> granules << granules;
            if fitting == 0 {
                continue;
            }
            if align > 1 {
                let sure = self.holes[used].unbounded_shr(enough as u32);
                if sure == 0 {
                    continue;
                }
            }
            let hole = if align > 1 {
                (self.holes[used] >> enough << enough).trailing_zeros()
            } else {
                fitting.trailing_zeros()
            };
            let region = self.lists[used][hole as usize].first()?;
            let first = region.find_hole(granules, align)?;
            return Some((region, first));
        }
        None
    }

    /// Adds a region that has just become parted.
    pub fn add(&mut self, region: &'static Region) {
        let hole = region.find_longest_hole();
        region.longest_hole.set(hole as u8);
        if hole != 0 {
            let used = region.used_count();
            self.lists[used][hole].push(region);
            self.holes[used] |= 1 << hole;
        }
    }

    /// Takes a region out that stops being parted.
    pub fn remove(&mut self, region: &'static Region) {
        let hole = region.longest_hole.get() as usize;
        if hole != 0 {
            let used = region.used_count();
            self.lists[used][hole].remove(region);
            if self.lists[used][hole].first().is_none() {
                self.holes[used] &= !(1 << hole);
            }
        }
    }

    /// Notes that granules, all free, are in use from now on.
    pub fn mark_used(&mut self, region: &'static Region, first: usize, granules: usize) {
        let mask = granule_mask(first, granules);
        if region.used.get() & mask != 0 {
            fatal::inconsistent("granules given out twice, in the region", region.start());
        }
        self.remove(region);
        region.used.set(region.used.get() | mask);
        self.add(region);
    }

    /// Notes that granules, all in use, are free from now on.
    pub fn mark_free(&mut self, region: &'static Region, first: usize, granules: usize) {
        let mask = granule_mask(first, granules);
        if region.used.get() & mask != mask {
            fatal::inconsistent("granules taken back twice, in the region", region.start());
        }
        self.remove(region);
        region.used.set(region.used.get() & !mask);
        self.add(region);
    }

    /// Visits every region that has a hole. The visitor changes no list.
    pub fn each(&self, mut visit: impl FnMut(&'static Region)) {
        for list in self.lists.as_flattened() {
            list.iter().for_each(&mut visit);
        }
    }

    /// Checks the lists against the regions, and the regions against their
    /// spans' slots.
    pub fn check_invariants(&self, map: &PageMap) {
        for (used, lists) in self.lists.iter().enumerate() {
            for (hole, list) in lists.iter().enumerate() {
                let listed = self.holes[used] >> hole & 1 != 0;
                if listed != list.first().is_some() {
                    fatal::inconsistent("a list of regions and its bit differ", used);
                }
                for region in list.iter() {
                    if region.kind() != RegionKind::Parted
                        || region.used_count() != used
                        || region.find_longest_hole() != hole
                        || used == 0
                    {
                        fatal::inconsistent("a region is in the wrong list", region.start());
                    }
                    check_slots(map, region);
                }
            }
        }
    }
}

fn check_slots(map: &PageMap, region: &Region) {
    for granule in 0..REGION_GRANULES {
        let address = region.start() + (granule << crate::size_class::GRANULE_SHIFT);
        let kind = map.slot_of(address).map(|slot| slot.kind());
        let free = region.used.get() >> granule & 1 == 0;
        if free != (kind == Some(SpanKind::Free)) {
            fatal::inconsistent("a granule's slot and its bit differ", address);
        }
        if !free && map.span_of(address).is_none() {
            fatal::inconsistent("a granule in use leads to no span", address);
        }
    }
}
