//! Regions parted into granules, found by how full they are and by their
//! longest hole.
//!
//! A region is *warm* if a page of its holes may hold memory of the system's:
//! what comes next is to go there, where no page is faulted in again. A *tail* is a
//! region that a large object ends in: what lies behind the object's end outlives
//! it, and keeps the regions from being one run again, so tails come second. (So do
//! the donated hugepages of Hunter et al., "Beyond malloc efficiency to fleet
//! efficiency", OSDI 2021, and for that reason.)
//!
//! Always: a parted region with a hole is in the list of its number of granules
//! in use and its longest hole, among the tails, the warm or the cold; a full one
//! is in none.

use crate::fatal;
use crate::page_map::PageMap;
use crate::region::{REGION_GRANULES, Region, RegionKind, granule_mask};
use crate::span::SpanKind;
use crate::sync::List;

const COUNTS: usize = REGION_GRANULES + 1;

/// A region, and the first granule of a hole in it.
type Place = (&'static Region, usize);

/// The parted regions.
pub struct PartedRegions {
    warm: ByFullness,
    cold: ByFullness,
    tails: ByFullness,
}

/// Which lists a region is in.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Group {
    Cold,
    Warm,
    Tail,
}

impl Group {
    fn of(region: &Region) -> Self {
        match (region.is_tail.get() != 0, region.has_touched_hole()) {
            (true, _) => Group::Tail,
            (false, true) => Group::Warm,
            (false, false) => Group::Cold,
        }
    }

    fn noted(region: &Region) -> Self {
        match region.group.get() {
            group if group == Group::Tail as u8 => Group::Tail,
            group if group == Group::Warm as u8 => Group::Warm,
            _ => Group::Cold,
        }
    }
}

struct ByFullness {
    /// By granules in use, then by longest hole.
    lists: [[List<Region>; COUNTS]; COUNTS],
    /// Of each number in use, which longest holes there are, a bit each.
    holes: [u64; COUNTS],
    /// The numbers in use of which there are any, a bit each.
    counts: u64,
}

impl ByFullness {
    const fn new() -> Self {
        Self {
            lists: [const { [const { List::new() }; COUNTS] }; COUNTS],
            holes: [0; COUNTS],
            counts: 0,
        }
    }

    fn find(&self, granules: usize, align: usize) -> Option<Place> {
        // A hole of this length has room whatever its place.
        let enough = granules + align - 1;
        let mut counts = self.counts;
        while counts != 0 {
            let used = counts.ilog2() as usize;
            counts ^= 1 << used;
            let fitting = self.holes[used].unbounded_shr(enough as u32);
            if fitting == 0 {
                continue;
            }
            let hole = enough + fitting.trailing_zeros() as usize;
            let region = self.lists[used][hole].first()?;
            let first = region.find_hole(granules, align)?;
            return Some((region, first));
        }
        None
    }

    fn add(&mut self, region: &'static Region, used: usize, hole: usize) {
        self.lists[used][hole].push(region);
        self.holes[used] |= 1 << hole;
        self.counts |= 1 << used;
    }

    fn remove(&mut self, region: &'static Region, used: usize, hole: usize) {
        self.lists[used][hole].remove(region);
        if self.lists[used][hole].first().is_none() {
            self.holes[used] &= !(1 << hole);
            if self.holes[used] == 0 {
                self.counts &= !(1 << used);
            }
        }
    }

    fn check_invariants(&self, map: &PageMap, group: Group) {
        for (used, lists) in self.lists.iter().enumerate() {
            if (self.counts >> used & 1 != 0) != (self.holes[used] != 0) {
                fatal::inconsistent("a number in use and its bit differ", used);
            }
            for (hole, list) in lists.iter().enumerate() {
                let listed = self.holes[used] >> hole & 1 != 0;
                if listed != list.first().is_some() {
                    fatal::inconsistent("a list of regions and its bit differ", used);
                }
                for region in list.iter() {
                    if region.kind() != RegionKind::Parted
                        || region.used_count() != used
                        || region.find_longest_hole() != hole
                        || Group::of(region) != group
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

impl PartedRegions {
    /// None.
    pub const fn new() -> Self {
        Self {
            warm: ByFullness::new(),
            cold: ByFullness::new(),
            tails: ByFullness::new(),
        }
    }

    /// The fullest warm region with a hole for `granules` at a multiple of
    /// `align`, and of those the one whose longest hole is the smallest; with
    /// the first granule of the hole.
    pub fn find_warm(&self, granules: usize, align: usize) -> Option<Place> {
        self.warm.find(granules, align)
    }

    /// As [`PartedRegions::find_warm`], of the cold regions.
    pub fn find_cold(&self, granules: usize, align: usize) -> Option<Place> {
        self.cold.find(granules, align)
    }

    /// As [`PartedRegions::find_warm`], of those that a large object ends in.
    pub fn find_tail(&self, granules: usize, align: usize) -> Option<Place> {
        self.tails.find(granules, align)
    }

    /// Adds a region that has just become parted.
    pub fn add(&mut self, region: &'static Region) {
        let hole = region.find_longest_hole();
        region.longest_hole.set(hole as u8);
        let group = Group::of(region);
        region.group.set(group as u8);
        if hole != 0 {
            self.lists(group).add(region, region.used_count(), hole);
        }
    }

    /// Takes a region out that stops being parted.
    pub fn remove(&mut self, region: &'static Region) {
        let hole = region.longest_hole.get() as usize;
        if hole != 0 {
            let group = Group::noted(region);
            self.lists(group).remove(region, region.used_count(), hole);
        }
    }

    fn lists(&mut self, group: Group) -> &mut ByFullness {
        match group {
            Group::Cold => &mut self.cold,
            Group::Warm => &mut self.warm,
            Group::Tail => &mut self.tails,
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
        for lists in [&self.warm, &self.cold, &self.tails] {
            for list in lists.lists.as_flattened() {
                list.iter().for_each(&mut visit);
            }
        }
    }

    /// Checks the lists against the regions, and the regions against their
    /// spans' slots.
    pub fn check_invariants(&self, map: &PageMap) {
        self.warm.check_invariants(map, Group::Warm);
        self.cold.check_invariants(map, Group::Cold);
        self.tails.check_invariants(map, Group::Tail);
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
