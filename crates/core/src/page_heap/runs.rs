//! Runs of free regions, merged with their neighbours, found by length.
//!
//! Always: no two runs are neighbours. A run's first and last region have the
//! kind `Free` and its length; those between have none. A run that may hold
//! memory of the system's is `dirty`, and such runs are used first.

use crate::fatal;
use crate::page_map::PageMap;
use crate::region::{REGION_BYTES, Region, RegionKind};
use crate::sync::List;

use super::region_at;

/// Lengths with a list of their own; above, a list for each doubling.
const EXACT: usize = 32;
const LISTS: usize = EXACT + 32;

fn list_of(length: usize) -> usize {
    if length <= EXACT {
        length - 1
    } else {
        EXACT + (length / EXACT).ilog2() as usize
    }
}

/// The free runs.
pub struct FreeRuns {
    clean: [List<Region>; LISTS],
    dirty: [List<Region>; LISTS],
}

impl FreeRuns {
    /// None.
    pub const fn new() -> Self {
        Self {
            clean: [const { List::new() }; LISTS],
            dirty: [const { List::new() }; LISTS],
        }
    }

    /// Adds `count` regions, merged with the runs before and after them.
    pub fn add(&mut self, map: &PageMap, start: usize, count: usize, dirty: bool) {
        let (mut start, mut count, mut dirty) = (start, count, dirty);
        if let Some(last) = start
            .checked_sub(REGION_BYTES)
            .and_then(|before| map.region_of(before))
            .filter(|region| region.kind() == RegionKind::Free)
        {
            let length = last.run.get() as usize;
            let head = region_at(map, start - length * REGION_BYTES);
            dirty |= head.is_dirty();
            self.remove(map, head);
            start -= length * REGION_BYTES;
            count += length;
        }
        if let Some(head) = map
            .region_of(start + count * REGION_BYTES)
            .filter(|region| region.kind() == RegionKind::Free)
        {
            dirty |= head.is_dirty();
            count += head.run.get() as usize;
            self.remove(map, head);
        }
        self.insert(map, start, count, dirty);
    }

    /// Takes `count` regions at a multiple of `align` regions, from the
    /// shortest run that has them, a dirty one if possible. Returns the
    /// address of the first.
    pub fn take(&mut self, map: &PageMap, count: usize, align: usize) -> Option<usize> {
        let aligned = |start: usize| start.next_multiple_of(align * REGION_BYTES);
        let fits = |head: &Region| {
            let lead = aligned(head.start()) - head.start();
            lead + count * REGION_BYTES <= head.run.get() as usize * REGION_BYTES
        };
        let shortest = |lists: &[List<Region>; LISTS]| {
            lists[list_of(count)..].iter().find_map(|list| {
                let fitting = list.iter().filter(|&head| fits(head));
                fitting.min_by_key(|head| (head.run.get(), head.start()))
            })
        };
        let head = shortest(&self.dirty).or_else(|| shortest(&self.clean))?;
        let (run_start, length, dirty) = (head.start(), head.run.get() as usize, head.is_dirty());
        let start = aligned(run_start);
        self.remove(map, head);
        let lead = (start - run_start) / REGION_BYTES;
        if lead != 0 {
            self.insert(map, run_start, lead, dirty);
        }
        let rest = length - lead - count;
        if rest != 0 {
            self.insert(map, start + count * REGION_BYTES, rest, dirty);
        }
        Some(start)
    }

    /// Takes `count` regions that begin at `start`, if they are free and the
    /// first of a run.
    pub fn take_at(&mut self, map: &PageMap, start: usize, count: usize) -> bool {
        let head = map
            .region_of(start)
            .filter(|region| region.kind() == RegionKind::Free);
        let Some(head) = head else {
            return false;
        };
        let length = head.run.get() as usize;
        if length < count {
            return false;
        }
        let dirty = head.is_dirty();
        self.remove(map, head);
        if length != count {
            self.insert(map, start + count * REGION_BYTES, length - count, dirty);
        }
        true
    }

    /// Takes a whole run that may hold memory of the system's; its first
    /// region and its length.
    pub fn take_dirty(&mut self, map: &PageMap) -> Option<(&'static Region, usize)> {
        let head = self.dirty.iter().find_map(List::first)?;
        let length = head.run.get() as usize;
        self.remove(map, head);
        Some((head, length))
    }

    /// Takes any whole run.
    pub fn take_any(&mut self, map: &PageMap) -> Option<(&'static Region, usize)> {
        let lists = self.clean.iter().chain(&self.dirty);
        let head = lists.into_iter().find_map(List::first)?;
        let length = head.run.get() as usize;
        self.remove(map, head);
        Some((head, length))
    }

    /// Visits the first region of every run. The visitor changes no list.
    pub fn each(&self, mut visit: impl FnMut(&'static Region)) {
        for list in self.clean.iter().chain(&self.dirty) {
            list.iter().for_each(&mut visit);
        }
    }

    fn insert(&mut self, map: &PageMap, start: usize, count: usize, dirty: bool) {
        let head = region_at(map, start);
        let last = region_at(map, start + (count - 1) * REGION_BYTES);
        head.begin(RegionKind::Free, start);
        last.begin(RegionKind::Free, start + (count - 1) * REGION_BYTES);
        head.run.set(count as u32);
        last.run.set(count as u32);
        head.set_dirty(dirty);
        self.lists(dirty)[list_of(count)].push(head);
    }

    fn remove(&mut self, map: &PageMap, head: &'static Region) {
        let length = head.run.get() as usize;
        self.lists(head.is_dirty())[list_of(length)].remove(head);
        let last = region_at(map, head.start() + (length - 1) * REGION_BYTES);
        head.end();
        last.end();
    }

    fn lists(&mut self, dirty: bool) -> &mut [List<Region>; LISTS] {
        if dirty {
            &mut self.dirty
        } else {
            &mut self.clean
        }
    }

    /// Checks that each run stands where its length says, carries its marks,
    /// has no free neighbour, and is clean only if no page is touched.
    pub fn check_invariants(&self, map: &PageMap) {
        for (lists, dirty) in [(&self.clean, false), (&self.dirty, true)] {
            for (index, list) in lists.iter().enumerate() {
                list.iter()
                    .for_each(|head| check_run(map, head, index, dirty));
            }
        }
    }
}

fn check_run(map: &PageMap, head: &Region, list: usize, dirty: bool) {
    let (start, length) = (head.start(), head.run.get() as usize);
    let end = start + length * REGION_BYTES;
    let last = region_at(map, end - REGION_BYTES);
    if list_of(length) != list || head.is_dirty() != dirty {
        fatal::inconsistent("a free run is in the wrong list", start);
    }
    if head.kind() != RegionKind::Free
        || last.kind() != RegionKind::Free
        || last.run.get() as usize != length
    {
        fatal::inconsistent("a free run is not marked as one", start);
    }
    for neighbour in [start.wrapping_sub(REGION_BYTES), end] {
        let region = map.region_of(neighbour);
        if region.is_some_and(|r| r.kind() == RegionKind::Free) {
            fatal::inconsistent("two free runs are neighbours", start);
        }
    }
    for index in 0..length {
        let region = region_at(map, start + index * REGION_BYTES);
        if !dirty && region.touched_pages() != 0 {
            fatal::inconsistent("a clean run has touched pages", region.start());
        }
        if index != 0 && index != length - 1 && region.kind() != RegionKind::None {
            fatal::inconsistent("a region inside a free run has a kind", region.start());
        }
    }
}
